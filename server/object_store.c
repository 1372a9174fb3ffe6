/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_store.c: looking at the store as a whole: space, usage, what is being reaped, the checker.
 *
 * What must be exact and takes long (usage, the checker) first waits until all that was committed is
 * in the map proper, and then walks a snapshot of it, which holds nobody up.  Where so much is written
 * meanwhile that the snapshot is in the way it begins again, and in the end is answered -ERR_BUSY.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_op.h"

#define WALK_TRIES 4u

/* ---- space ----------------------------------------------------------------------------------- */

struct space_op {
	struct worker_job job;
	struct objects *objs;
	struct object_space space;
	int err;
	object_space_cb cb;
	object_reaping_cb reaping_cb; /* or this one */
	void *ctx;
};

static WORKER_FN void space_run(struct worker_job *job)
{
	struct space_op *op = CONTAINER_OF(job, struct space_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = map_get_space(view, &op->space.map);
	map_view_end(view);
}

/* Never 0 while there is something: blocks on their way from the map to here count as one. */
static uint64_t space_reaping(const struct space_op *op)
{
	const struct objects *objs = op->objs;
	uint64_t nblks = op->space.map.reap_nblks + checkpoint_freed_nblks(objs->checkpoint) +
			 objs->wb.releasing_nblks;

	return nblks == 0 && commit_reaping(objs->commit) ? 1 : nblks;
}

static LOOP_FN void statfs_done(struct worker_job *job)
{
	struct space_op *op = CONTAINER_OF(job, struct space_op, job);
	struct objects *objs = op->objs;
	struct object_space *space = &op->space;
	struct map_staged staged;

	map_get_staged(objs->config.map, &staged);
	space->total_nblks = objs->total_nblks;
	space->reserved_nblks = alloc_reserved_nblks(objs->alloc);
	space->free_nblks = alloc_free_nblks(objs->alloc) + freeload_left_nblks(objs->freeload) +
			    prepare_held_nblks(objs->prepare) - space->reserved_nblks;
	space->map.reap_nblks = space_reaping(op);
	space->staged_bytes = staged.bytes;
	space->journal_bytes = recover_region(objs->config.map).nblks << BLK_SHIFT;
	space->journal_used_bytes = commit_journal_used(objs->commit) << BLK_SHIFT;
	op->cb(op->ctx, op->err, space);
	free(op);
}

static LOOP_FN void reaping_done(struct worker_job *job)
{
	struct space_op *op = CONTAINER_OF(job, struct space_op, job);

	if (op->err == 0 && op->space.map.reap_nblks == 0)
		(void)checkpoint_want_space(op->objs->checkpoint, false);
	op->reaping_cb(op->ctx, op->err, space_reaping(op));
	free(op);
}

void object_statfs(struct objects *objs, object_space_cb cb, void *ctx)
{
	struct space_op *op = calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op->objs = objs;
	op->cb = cb;
	op->ctx = ctx;
	op->job.run = space_run;
	op->job.done = statfs_done;
	worker_submit(objs->pool, &op->job);
}

void object_reaping(struct objects *objs, object_reaping_cb cb, void *ctx)
{
	struct space_op *op = calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM, 0);
		return;
	}
	op->objs = objs;
	op->reaping_cb = cb;
	op->ctx = ctx;
	op->job.run = space_run;
	op->job.done = reaping_done;
	worker_submit(objs->pool, &op->job);
}

/* ---- usage ----------------------------------------------------------------------------------- */

struct usage_op {
	struct worker_job job;
	struct objects *objs;
	struct objects_settle settle;
	const char *const *specs;
	uint32_t n;
	unsigned int tries;
	int err;
	struct map_usage usage;
	object_usage_cb cb;
	void *ctx;
	uint64_t ids[];
};

static void usage_finish(struct usage_op *op, int err)
{
	struct object_usage usage = {op->usage.mapped_nblks, op->usage.exclusive_nblks};

	op->cb(op->ctx, err, &usage);
	free(op);
}

/* The ids, each once. */
static int usage_look_up(struct usage_op *op, struct map_view *view, uint32_t *nids)
{
	*nids = 0;
	for (uint32_t i = 0; i < op->n; i++) {
		struct map_obj obj;
		uint32_t at = 0;
		int err = map_obj_by_name(view, op->specs[i], &obj);

		if (err < 0)
			return err;
		while (at < *nids && op->ids[at] != obj.id)
			at++;
		if (at == *nids)
			op->ids[(*nids)++] = obj.id;
	}
	return 0;
}

/* What is being written to the map needs the pages that the snapshot holds. */
static bool usage_is_late(void *ctx)
{
	return map_snapshot_is_late(ctx);
}

static WORKER_FN void usage_run(struct worker_job *job)
{
	struct usage_op *op = CONTAINER_OF(job, struct usage_op, job);
	struct map_view *view;
	uint32_t nids;

	ASSERT_WORKER();
	op->err = map_snapshot_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = usage_look_up(op, view, &nids);
	if (op->err == 0)
		op->err = map_usage(view, op->ids, nids, usage_is_late, view, &op->usage);
	if (op->err < 0 && map_snapshot_is_late(view))
		op->err = -ERR_BUSY;
	map_view_end(view);
}

static LOOP_FN void usage_done(struct worker_job *job)
{
	struct usage_op *op = CONTAINER_OF(job, struct usage_op, job);

	if (op->err == -ERR_BUSY && op->tries++ < WALK_TRIES)
		objects_settle(op->objs, &op->settle); /* and from the beginning */
	else
		usage_finish(op, op->err);
}

static LOOP_FN void usage_settled(struct objects_settle *settle, int err)
{
	struct usage_op *op = CONTAINER_OF(settle, struct usage_op, settle);

	if (err < 0) {
		usage_finish(op, err);
		return;
	}
	op->job.run = usage_run;
	op->job.done = usage_done;
	worker_submit(op->objs->pool, &op->job);
}

void object_usage(struct objects *objs, const char *const *specs, uint32_t n, object_usage_cb cb,
		  void *ctx)
{
	struct usage_op *op = calloc(1, sizeof(*op) + n * sizeof(op->ids[0]));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op->objs = objs;
	op->specs = specs;
	op->n = n;
	op->cb = cb;
	op->ctx = ctx;
	op->settle.ready = usage_settled;
	objects_settle(objs, &op->settle);
}

/* ---- the checker ----------------------------------------------------------------------------- */

struct check_op {
	struct worker_job job;
	struct objects *objs;
	struct objects_settle settle;
	struct object_check check;
	unsigned int tries;
	int err;
	object_check_cb cb;
	void *ctx;
	char texts[OBJECT_CHECK_TEXTS_MAX][OBJECT_CHECK_TEXT_BYTES];
};

static void check_finish(struct check_op *op, int err)
{
	op->objs->checking = false;
	op->cb(op->ctx, err, &op->check);
	free(op);
}

static void check_text(void *ctx, const char *text)
{
	struct check_op *op = ctx;
	size_t len = strnlen(text, OBJECT_CHECK_TEXT_BYTES - 1);

	if (op->check.ntexts == OBJECT_CHECK_TEXTS_MAX)
		return;
	memcpy(op->texts[op->check.ntexts], text, len);
	op->texts[op->check.ntexts++][len] = '\0';
}

static WORKER_FN void check_run(struct worker_job *job)
{
	struct check_op *op = CONTAINER_OF(job, struct check_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_snapshot_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = check_view(view, check_text, op, &op->check.totals);
	map_view_end(view);
}

static LOOP_FN void check_done(struct worker_job *job)
{
	struct check_op *op = CONTAINER_OF(job, struct check_op, job);

	if (op->err == -ERR_BUSY && op->tries++ < WALK_TRIES) {
		op->check.ntexts = 0;
		objects_settle(op->objs, &op->settle); /* and from the beginning */
		return;
	}
	if (op->err > 0)
		op->check.differences = (uint64_t)op->err;
	check_finish(op, op->err < 0 ? op->err : 0);
}

static LOOP_FN void check_settled(struct objects_settle *settle, int err)
{
	struct check_op *op = CONTAINER_OF(settle, struct check_op, settle);

	if (err < 0) {
		check_finish(op, err);
		return;
	}
	op->job.run = check_run;
	op->job.done = check_done;
	worker_submit(op->objs->pool, &op->job);
}

void object_check(struct objects *objs, object_check_cb cb, void *ctx)
{
	struct check_op *op = objs->checking ? NULL : calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, objs->checking ? -ERR_BUSY : -ERR_NOMEM, NULL);
		return;
	}
	objs->checking = true;
	op->objs = objs;
	op->check.texts = op->texts;
	op->cb = cb;
	op->ctx = ctx;
	op->settle.ready = check_settled;
	objects_settle(objs, &op->settle);
}
