/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_store.c: looking at the store as a whole: space, usage, what is being reaped, the checker.
 * What must be exact and takes long (usage, the checker) is a walk: object_walk.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_op.h"
#include "server/object_walk.h"

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

/* What everybody may have of it. */
static uint64_t space_free(const struct objects *objs)
{
	const struct alloc *al = objs->alloc;
	uint64_t left = alloc_free_nblks(al) + freeload_left_nblks(objs->freeload) +
			prepare_held_nblks(objs->prepare) - alloc_reserved_nblks(al);
	uint64_t keep = alloc_withheld_nblks(al) + alloc_kept_nblks(al);

	return left > keep ? left - keep : 0;
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
	space->withheld_nblks = alloc_withheld_nblks(objs->alloc);
	space->kept_nblks = alloc_kept_nblks(objs->alloc);
	space->free_nblks = space_free(objs);
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

/* They are answered one after the other, and any number may be asked for meanwhile. */
#define USAGE_BYTES_MAX ((size_t)16 << 20)

struct usage_op {
	struct object_walk walk;
	const char *const *specs;
	uint32_t n;
	struct map_usage usage;
	size_t bytes; /* with what it is asked for: its part of usage_bytes */
	object_usage_cb cb;
	void *ctx;
	uint64_t ids[];
};

static int usage_by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The ids, each once. */
static int usage_look_up(struct usage_op *op, struct map_view *view, uint32_t *nids)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < op->n; i++) {
		struct map_obj obj;
		int err = map_obj_by_name(view, op->specs[i], &obj);

		if (err < 0)
			return err;
		op->ids[i] = obj.id;
	}
	qsort(op->ids, op->n, sizeof(op->ids[0]), usage_by_id);
	for (uint32_t i = 0; i < op->n; i++)
		if (n == 0 || op->ids[n - 1] != op->ids[i])
			op->ids[n++] = op->ids[i];
	*nids = n;
	return 0;
}

/* What is being written to the map needs the pages that the snapshot holds. */
static bool usage_is_late(void *ctx)
{
	return map_snapshot_is_late(ctx);
}

static WORKER_FN int usage_run(struct object_walk *walk, struct map_view *view)
{
	struct usage_op *op = CONTAINER_OF(walk, struct usage_op, walk);
	uint32_t nids;
	int err = usage_look_up(op, view, &nids);

	if (err == 0)
		err = map_usage(view, op->ids, nids, usage_is_late, view, &op->usage);
	return err < 0 && map_snapshot_is_late(view) ? -ERR_LATE : err;
}

static LOOP_FN void usage_ended(struct object_walk *walk, int err)
{
	struct usage_op *op = CONTAINER_OF(walk, struct usage_op, walk);
	struct object_usage usage = {op->usage.mapped_nblks, op->usage.exclusive_nblks};

	walk->objs->usage_bytes -= op->bytes;
	op->cb(op->ctx, err, &usage);
	free(op);
}

/* What stays in memory until it is answered: the names too, and where they are. */
static size_t usage_bytes(const char *const *specs, uint32_t n)
{
	size_t bytes = sizeof(struct usage_op) + n * (sizeof(uint64_t) + sizeof(*specs));

	for (uint32_t i = 0; i < n; i++)
		bytes += strlen(specs[i]) + 1;
	return bytes;
}

void object_usage(struct objects *objs, const char *const *specs, uint32_t n, object_usage_cb cb,
		  void *ctx)
{
	size_t bytes = usage_bytes(specs, n);
	bool fits = bytes <= USAGE_BYTES_MAX - objs->usage_bytes;
	struct usage_op *op = fits ? calloc(1, sizeof(*op) + n * sizeof(op->ids[0])) : NULL;

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, fits ? -ERR_NOMEM : -ERR_USAGES, NULL);
		return;
	}
	objs->usage_bytes += bytes;
	op->bytes = bytes;
	op->specs = specs;
	op->n = n;
	op->cb = cb;
	op->ctx = ctx;
	op->walk.run = usage_run;
	op->walk.ended = usage_ended;
	object_walk_start(objs, &op->walk);
}

/* ---- the checker ----------------------------------------------------------------------------- */

struct check_op {
	struct object_walk walk;
	struct objects *objs;
	struct object_check check;
	object_check_cb cb;
	void *ctx;
	char texts[OBJECT_CHECK_TEXTS_MAX][OBJECT_CHECK_TEXT_BYTES];
};

static void check_text(void *ctx, const char *text)
{
	struct check_op *op = ctx;
	size_t len = strnlen(text, OBJECT_CHECK_TEXT_BYTES - 1);

	if (op->check.ntexts == OBJECT_CHECK_TEXTS_MAX)
		return;
	memcpy(op->texts[op->check.ntexts], text, len);
	op->texts[op->check.ntexts++][len] = '\0';
}

static WORKER_FN int check_run(struct object_walk *walk, struct map_view *view)
{
	struct check_op *op = CONTAINER_OF(walk, struct check_op, walk);

	op->check.ntexts = 0;
	return check_view(view, check_text, op, &op->check.totals);
}

static LOOP_FN void check_ended(struct object_walk *walk, int err)
{
	struct check_op *op = CONTAINER_OF(walk, struct check_op, walk);

	if (err > 0)
		op->check.differences = (uint64_t)err;
	op->objs->checking = false;
	op->cb(op->ctx, err < 0 ? err : 0, &op->check);
	free(op);
}

void object_check(struct objects *objs, object_check_cb cb, void *ctx)
{
	struct check_op *op = objs->checking ? NULL : calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, objs->checking ? -ERR_CHECKING : -ERR_NOMEM, NULL);
		return;
	}
	objs->checking = true;
	op->objs = objs;
	op->check.texts = op->texts;
	op->cb = cb;
	op->ctx = ctx;
	op->walk.run = check_run;
	op->walk.ended = check_ended;
	object_walk_start(objs, &op->walk);
}
