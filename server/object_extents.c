/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_extents.c: where an object has data and where holes, and what of it is dirty or shared.
 *
 * What is dirty, staged or a hole to be is noted first, in the loop; the map is asked afterwards, in
 * a worker.  A block that is committed in between is then in both, never in neither (invariant 8): it
 * is told as it was in the beginning.
 *
 * A view holds commits up, so there is an end to how often one request looks into the map.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_table.h"

/* Look-ups of one request: some 10 ms. */
#define EXTENTS_LOOKUPS_MAX 2048u

/* As of the beginning. */
struct extents_runs {
	struct cache_run *runs;
	size_t n;
	size_t at; /* runs before it end before the block that is asked for */
};

struct extents_op {
	struct worker_job job;
	struct object *obj;
	uint64_t off_bytes;
	uint64_t end_bytes;
	struct extents_runs busy;  /* dirty or staged */
	struct extents_runs holes; /* of epochs that are not in the map */
	object_extents_cb cb;
	void *ctx;
	int err;
	bool details;
	uint32_t nlookups;
	uint32_t max;
	uint32_t n;
	struct object_run runs[];
};

/* Is it of one kind with the run that ends where it begins? */
static bool extents_go_on(const struct object_run *run, const struct object_run *next)
{
	return run->data == next->data && run->zero == next->zero && run->dirty == next->dirty &&
	       run->shared == next->shared &&
	       next->dev_bytes == (run->dev_bytes ? run->dev_bytes + run->len_bytes : 0);
}

/* Adds a run that follows the last one; false: there is no place for another. */
static bool extents_add(struct extents_op *op, const struct object_run *run)
{
	struct object_run *last = op->n > 0 ? &op->runs[op->n - 1] : NULL;

	if (last && extents_go_on(last, run)) {
		last->len_bytes += run->len_bytes;
		return true;
	}
	if (op->n == op->max)
		return false;
	op->runs[op->n++] = *run;
	return true;
}

/* Is blk in a run, and up to which block (not included) does that hold? */
static bool extents_within(struct extents_runs *of, uint64_t blk, uint64_t *until)
{
	const struct cache_run *run;
	uint64_t change;

	while (of->at < of->n && of->runs[of->at].blk.n + of->runs[of->at].nblks <= blk)
		of->at++;
	if (of->at == of->n)
		return false;
	run = &of->runs[of->at];
	change = run->blk.n <= blk ? run->blk.n + run->nblks : run->blk.n;
	if (change < *until)
		*until = change;
	return run->blk.n <= blk;
}

/* What the map says of the range from blk on. */
static int extents_look_up(struct extents_op *op, struct map_view *view, uint64_t blk,
			   uint64_t *until, struct object_run *run)
{
	uint64_t id = op->obj->id;
	uint64_t nblks = *until - blk;
	struct map_lookup found;
	bool shared = false;
	int err;

	if (op->details)
		err = map_begin_shared(view, id, lblk(blk), nblks, &found, &shared);
	else
		err = map_begin(view, id, lblk(blk), nblks, MAP_FOR_READ, &found, NULL);
	if (err < 0)
		return err;
	op->nlookups++;
	*until = blk + found.nblks;
	run->data = found.src.kind != MAP_HOLE;
	run->shared = shared;
	if (op->details && run->data)
		run->dev_bytes = found.src.blk.n << BLK_SHIFT;
	return 0;
}

/* Finds out about the range from blk on: what it is, and where it ends. */
static int extents_next(struct extents_op *op, struct map_view *view, uint64_t blk, uint64_t *until,
			struct object_run *run)
{
	bool zero;

	*run = (struct object_run){.data = extents_within(&op->busy, blk, until)};
	zero = !run->data && extents_within(&op->holes, blk, until);
	if (!run->data && !zero)
		return extents_look_up(op, view, blk, until, run);
	run->zero = op->details && zero;
	run->dirty = op->details;
	return 0;
}

static int extents_walk(struct extents_op *op, struct map_view *view)
{
	uint64_t pos = op->off_bytes;

	while (pos < op->end_bytes && op->nlookups < EXTENTS_LOOKUPS_MAX) {
		uint64_t until = blk_count(op->end_bytes);
		struct object_run run;
		uint64_t end;
		int err = extents_next(op, view, pos >> BLK_SHIFT, &until, &run);

		if (err < 0)
			return err;
		end = until << BLK_SHIFT < op->end_bytes ? until << BLK_SHIFT : op->end_bytes;
		run.len_bytes = end - pos;
		if (run.dev_bytes) /* only the first may begin within a block */
			run.dev_bytes += pos & (BLK_BYTES - 1);
		if (!extents_add(op, &run))
			return 0;
		pos = end;
	}
	return 0;
}

static WORKER_FN void extents_run(struct worker_job *job)
{
	struct extents_op *op = CONTAINER_OF(job, struct extents_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->obj->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = extents_walk(op, view);
	map_view_end(view);
}

static void extents_free(struct extents_op *op)
{
	if (op) {
		free(op->busy.runs);
		free(op->holes.runs);
	}
	free(op);
}

static LOOP_FN void extents_done(struct worker_job *job)
{
	struct extents_op *op = CONTAINER_OF(job, struct extents_op, job);

	op->cb(op->ctx, op->err, op->runs, op->err < 0 ? 0 : op->n);
	object_put(op->obj);
	extents_free(op);
}

/* Cuts the asked range at the object's end; false: nothing of it is left. */
static bool extents_clip(const struct object *obj, uint64_t off_bytes, uint64_t len_bytes,
			 uint64_t *end_bytes)
{
	if (off_bytes >= obj->size_bytes || len_bytes == 0)
		return false;
	*end_bytes = obj->size_bytes;
	if (len_bytes < *end_bytes - off_bytes)
		*end_bytes = off_bytes + len_bytes;
	return true;
}

void object_extents(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, uint32_t max,
		    bool details, object_extents_cb cb, void *ctx)
{
	struct object *obj = handle->obj;
	struct extents_op *op;
	uint64_t end;
	lblk_t first = blk_of(off_bytes);

	ASSERT_LOOP();
	if (max == 0 || !extents_clip(obj, off_bytes, len_bytes, &end)) {
		cb(ctx, 0, NULL, 0);
		return;
	}
	op = calloc(1, sizeof(*op) + max * sizeof(struct object_run));
	if (!op ||
	    cache_busy_runs(&obj->cache, first, blk_count(end) - first.n, &op->busy.runs,
			    &op->busy.n) < 0 ||
	    epoch_hole_runs(obj, first, blk_count(end) - first.n, &op->holes.runs, &op->holes.n) <
		0) {
		extents_free(op);
		cb(ctx, -ERR_NOMEM, NULL, 0);
		return;
	}
	op->obj = obj;
	op->off_bytes = off_bytes;
	op->end_bytes = end;
	op->max = max;
	op->details = details;
	op->cb = cb;
	op->ctx = ctx;
	op->job.run = extents_run;
	op->job.done = extents_done;
	object_get(obj);
	worker_submit(obj->objs->pool, &op->job);
}
