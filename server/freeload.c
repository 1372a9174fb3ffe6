/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/freeload.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

struct freeload {
	struct alloc *alloc;
	struct map_view *view; /* the snapshot; NULL when all has been read */
	struct worker_job job;
	struct worker_pool *pool;
	void (*progress)(void *ctx);
	void *ctx;
	bool stopping;
	uint64_t left_nblks;
	uint64_t from; /* everything before has been read */

	/* a piece: the worker's while its job is under way */
	struct map_range *ranges;
	size_t n;
	size_t cap;
	size_t want;
	bool more; /* there are others behind */
	int err;
};

/* ---- reading, in a worker -------------------------------------------------------------------- */

static int freeload_grow(struct freeload *fl)
{
	size_t cap = fl->cap > 0 ? 2 * fl->cap : FREELOAD_CHUNK;
	struct map_range *ranges;

	if (fl->n < fl->cap)
		return 0;
	ranges = reallocarray(fl->ranges, cap, sizeof(*ranges));
	if (!ranges)
		return -ERR_NOMEM;
	fl->ranges = ranges;
	fl->cap = cap;
	return 0;
}

static int freeload_take(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct freeload *fl = ctx;
	int err;

	if (fl->n >= fl->want && !map_snapshot_is_late(fl->view)) {
		fl->more = true;
		return 1;
	}
	err = freeload_grow(fl);
	if (err < 0)
		return err;
	fl->ranges[fl->n++] = (struct map_range){blk, nblks};
	fl->from = blk.n + nblks;
	return 0;
}

static void freeload_read(struct freeload *fl, size_t want)
{
	fl->n = 0;
	fl->want = want;
	fl->more = false;
	fl->err = map_each_free(fl->view, pblk(fl->from), freeload_take, fl);
}

static WORKER_FN void freeload_run(struct worker_job *job)
{
	ASSERT_WORKER();
	freeload_read(CONTAINER_OF(job, struct freeload, job), FREELOAD_CHUNK);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static void freeload_end(struct freeload *fl)
{
	if (fl->view)
		map_view_end(fl->view);
	fl->view = NULL;
	fl->left_nblks = 0;
	free(fl->ranges);
	fl->ranges = NULL;
}

/* Adds what has been read, before an error too. */
static int freeload_add(struct freeload *fl)
{
	int err = 0;

	for (size_t i = 0; i < fl->n && err == 0; i++) {
		const struct map_range *range = &fl->ranges[i];

		err = alloc_add(fl->alloc, range->blk, range->nblks);
		if (err == 0)
			fl->left_nblks -= range->nblks;
	}
	return err < 0 ? err : fl->err;
}

static void freeload_submit(struct freeload *fl);

static LOOP_FN void freeload_done(struct worker_job *job)
{
	struct freeload *fl = CONTAINER_OF(job, struct freeload, job);

	int err = freeload_add(fl);

	if (err < 0)
		log_event(LOG_ERROR, "free-blocks-lost-until-restart",
			  "blocks=%" PRIu64 " error=%s", fl->left_nblks, err_name(err));
	if (err < 0 || !fl->more)
		freeload_end(fl);
	else if (!fl->stopping)
		freeload_submit(fl);
	fl->progress(fl->ctx);
}

static void freeload_submit(struct freeload *fl)
{
	fl->job.run = freeload_run;
	fl->job.done = freeload_done;
	worker_submit(fl->pool, &fl->job);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int freeload_begin(struct freeload *fl, struct map *map)
{
	struct map_space space;
	int err = map_snapshot_begin(map, &fl->view);

	if (err < 0) {
		fl->view = NULL;
		return err;
	}
	err = map_get_space(fl->view, &space);
	if (err < 0)
		return err;
	fl->left_nblks = space.free_nblks;
	freeload_read(fl, FREELOAD_FIRST);
	err = freeload_add(fl);
	if (!fl->more)
		freeload_end(fl);
	return err;
}

int freeload_new(struct map *map, struct alloc *alloc, struct freeload **out)
{
	struct freeload *fl = calloc(1, sizeof(*fl));
	int err;

	if (!fl)
		return -ERR_NOMEM;
	fl->alloc = alloc;
	err = freeload_begin(fl, map);
	if (err < 0) {
		freeload_free(fl);
		return err;
	}
	*out = fl;
	return 0;
}

void freeload_start(struct freeload *fl, struct worker_pool *pool, void (*progress)(void *ctx),
		    void *ctx)
{
	ASSERT_LOOP();
	fl->pool = pool;
	fl->progress = progress;
	fl->ctx = ctx;
	if (fl->view)
		freeload_submit(fl);
}

bool freeload_is_busy(const struct freeload *fl)
{
	ASSERT_LOOP();
	return fl->view && !fl->stopping;
}

uint64_t freeload_left_nblks(const struct freeload *fl)
{
	ASSERT_LOOP();
	return fl->left_nblks;
}

void freeload_stop(struct freeload *fl)
{
	ASSERT_LOOP();
	fl->stopping = true;
}

void freeload_free(struct freeload *fl)
{
	if (!fl)
		return;
	freeload_end(fl);
	free(fl);
}
