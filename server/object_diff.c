/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_diff.c: where an object differs from another one, or from nothing.
 *
 *	object_diff --> both brought to the map --> one piece, in a worker --> callback
 *	                diff_sync(), diff_mark()     diff_run(): one view      diff_done()
 *
 * What is dirty or staged is not compared, but committed first, as for a clone: then the map says all.
 * Each object is seen as of one of its commits, which holds at least what was acknowledged before the
 * call, and both by one view.  Between two calls nothing is held: who asks piece by piece about an
 * object that is being written meanwhile gets each piece as of another moment.  Versions stay as they
 * are, and nothing of them has to be waited for.
 *
 * Where something goes wrong: an object that cannot be written back fails the call, since nobody knows
 * what is in the map; the older one may go at any time, and then it is not found; a client that goes
 * away leaves one piece to be finished.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_table.h"

/* A view is held for so many nodes of the map, and commits may wait for it. */
#define DIFF_NODES 1024u

struct diff_op {
	struct objects *objs;
	struct object *newer; /* referenced */
	struct object *older; /* referenced while it is waited for: until then it is not removed */
	uint64_t older_id;
	uint64_t off_bytes;
	uint64_t len_bytes;
	struct epoch_waiter waiter;
	struct commit_req mark;
	struct worker_job job;
	bool sync_older; /* it is next */
	bool was_busy;	 /* something was not in the map: perhaps it still is on its way */
	uint32_t max;
	int err;
	struct object_diff diff;
	object_diff_cb cb;
	void *ctx;
	struct map_diff_run *found;
	struct object_diff_run runs[];
};

static LOOP_FN void diff_end(struct diff_op *op, int err)
{
	op->diff.runs = op->runs;
	op->cb(op->ctx, err, &op->diff);
	object_put(op->newer);
	free(op->found);
	free(op);
}

/* ---- the piece ------------------------------------------------------------------------------- */

/* Blocks into bytes: the asked range begins and ends anywhere in a block. */
static void diff_take(struct diff_op *op, const struct map_diff *found, uint64_t end_bytes)
{
	uint64_t pos = op->off_bytes;
	uint64_t blk = found->blk.n;

	for (uint32_t i = 0; i < found->nruns; i++) {
		uint64_t end;

		blk += found->runs[i].nblks;
		end = blk << BLK_SHIFT < end_bytes ? blk << BLK_SHIFT : end_bytes;
		op->runs[i] = (struct object_diff_run){end - pos, found->runs[i].kind};
		pos = end;
	}
	op->diff.n = found->nruns;
	op->diff.nodes = found->nodes;
}

static int diff_sizes(struct diff_op *op, struct map_view *view)
{
	struct map_obj info;
	int err = map_obj_by_id(view, op->newer->id, &info);

	if (err == 0)
		op->diff.size_bytes = info.size_bytes;
	if (err == 0 && op->older_id)
		err = map_obj_by_id(view, op->older_id, &info);
	if (err == 0 && op->older_id)
		op->diff.older_bytes = info.size_bytes;
	return err;
}

static int diff_look(struct diff_op *op, struct map_view *view)
{
	struct map_diff found = {.blk = blk_of(op->off_bytes),
				 .max_runs = op->max,
				 .max_nodes = DIFF_NODES,
				 .runs = op->found};
	int err = diff_sizes(op, view);
	uint64_t end = op->diff.size_bytes;

	if (err < 0 || op->len_bytes == 0 || op->off_bytes >= end)
		return err;
	if (op->len_bytes < end - op->off_bytes)
		end = op->off_bytes + op->len_bytes;
	found.nblks = blk_count(end) - found.blk.n;
	err = map_diff(view, op->older_id, op->newer->id, &found);
	if (err == 0)
		diff_take(op, &found, end);
	return err;
}

static WORKER_FN void diff_run(struct worker_job *job)
{
	struct diff_op *op = CONTAINER_OF(job, struct diff_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = diff_look(op, view);
	map_view_end(view);
}

static LOOP_FN void diff_done(struct worker_job *job)
{
	struct diff_op *op = CONTAINER_OF(job, struct diff_op, job);

	diff_end(op, op->err);
}

/* ---- bringing both to the map ---------------------------------------------------------------- */

static LOOP_FN void diff_marked(struct commit_req *mark)
{
	struct diff_op *op = CONTAINER_OF(mark, struct diff_op, mark);
	int err = mark->err;

	if (op->objs->wb.stopping) /* no worker is left, perhaps */
		err = -ERR_SHUTDOWN;
	if (err < 0) {
		diff_end(op, err);
		return;
	}
	op->job.run = diff_run;
	op->job.done = diff_done;
	worker_submit(op->objs->pool, &op->job);
}

/* What is durable is applied in order: behind this mark it is in the map. */
static void diff_mark(struct diff_op *op)
{
	op->mark = (struct commit_req){.kind = COMMIT_MARK, .done = diff_marked};
	if (!op->was_busy || op->objs->wb.stopping)
		diff_marked(&op->mark);
	else
		commit_submit(op->objs->commit, &op->mark);
}

static void diff_sync(struct diff_op *op, struct object *obj)
{
	if (epoch_open_any(obj) || !TAILQ_EMPTY(&obj->closed))
		op->was_busy = true;
	epoch_sync(obj, &op->waiter);
}

/* Of an object that is not in memory all is in the map. */
static void diff_sync_older(struct diff_op *op)
{
	struct object *older = object_find(op->objs, op->older_id);

	op->sync_older = false;
	if (!older) {
		diff_mark(op);
	} else if (older->removing) {
		diff_end(op, -ERR_NOENT);
	} else {
		object_get(older);
		op->older = older;
		diff_sync(op, older);
	}
}

static LOOP_FN void diff_synced(struct epoch_waiter *waiter, int err)
{
	struct diff_op *op = CONTAINER_OF(waiter, struct diff_op, waiter);

	if (op->older)
		object_put(op->older);
	op->older = NULL;
	if (err < 0)
		diff_end(op, err);
	else if (op->sync_older)
		diff_sync_older(op);
	else
		diff_mark(op);
}

void object_diff(struct handle *handle, uint64_t older, uint64_t off_bytes, uint64_t len_bytes,
		 uint32_t max, object_diff_cb cb, void *ctx)
{
	struct object *newer = handle->obj;
	struct diff_op *op = calloc(1, sizeof(*op) + max * sizeof(struct object_diff_run));

	ASSERT_LOOP();
	assert(max > 0);
	if (op)
		op->found = calloc(max, sizeof(*op->found));
	if (!op || !op->found) {
		free(op);
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op->objs = newer->objs;
	op->newer = newer;
	op->older_id = older;
	op->sync_older = older != 0 && older != newer->id;
	op->off_bytes = off_bytes;
	op->len_bytes = len_bytes;
	op->max = max;
	op->cb = cb;
	op->ctx = ctx;
	op->waiter.ready = diff_synced;
	object_get(newer);
	diff_sync(op, newer);
}
