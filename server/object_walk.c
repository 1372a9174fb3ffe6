/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_walk.h"

#include <assert.h>

#include "common/err.h"
#include "common/thread.h"

#define WALK_TRIES 4u

static void walk_begin(struct object_walk *walk);

static void walk_end(struct object_walk *walk, int err)
{
	struct objects *objs = walk->objs;

	TAILQ_REMOVE(&objs->walks, walk, link);
	if (!TAILQ_EMPTY(&objs->walks))
		walk_begin(TAILQ_FIRST(&objs->walks));
	walk->ended(walk, err);
}

static WORKER_FN void walk_run(struct worker_job *job)
{
	struct object_walk *walk = CONTAINER_OF(job, struct object_walk, job);
	struct map_view *view;

	ASSERT_WORKER();
	walk->err = map_snapshot_begin(walk->objs->config.map, &view);
	if (walk->err < 0)
		return;
	walk->err = walk->run(walk, view);
	map_view_end(view);
}

static LOOP_FN void walk_done(struct worker_job *job)
{
	struct object_walk *walk = CONTAINER_OF(job, struct object_walk, job);

	if (walk->err == -ERR_LATE && walk->tries++ < WALK_TRIES && !walk->objs->wb.stopping)
		walk_begin(walk); /* and from the beginning */
	else
		walk_end(walk, walk->err);
}

static LOOP_FN void walk_settled(struct objects_settle *settle, int err)
{
	struct object_walk *walk = CONTAINER_OF(settle, struct object_walk, settle);

	if (walk->objs->wb.stopping) /* no worker is left, perhaps */
		err = -ERR_SHUTDOWN;
	if (err < 0) {
		walk_end(walk, err);
		return;
	}
	walk->job.run = walk_run;
	walk->job.done = walk_done;
	worker_submit(walk->objs->pool, &walk->job);
}

static void walk_begin(struct object_walk *walk)
{
	walk->settle.ready = walk_settled;
	objects_settle(walk->objs, &walk->settle);
}

void object_walk_start(struct objects *objs, struct object_walk *walk)
{
	bool alone = TAILQ_EMPTY(&objs->walks);

	ASSERT_LOOP();
	walk->objs = objs;
	TAILQ_INSERT_TAIL(&objs->walks, walk, link);
	if (alone)
		walk_begin(walk);
}

void object_walk_stop(struct objects *objs)
{
	struct object_walk *first = TAILQ_FIRST(&objs->walks);
	struct object_walk *walk;

	ASSERT_LOOP();
	while (first && (walk = TAILQ_NEXT(first, link))) {
		TAILQ_REMOVE(&objs->walks, walk, link);
		walk->ended(walk, -ERR_SHUTDOWN);
	}
}
