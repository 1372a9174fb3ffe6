/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_cut.c: what takes blocks away from an object: resizing, zeroing, trimming.
 *
 * Whole blocks become a hole of the open epoch; of a block that is covered in part the bytes become
 * zeros, and it is written like any other.  Of a hole nothing is written.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_mutate.h"

/* The bytes [from, end) of a block become zeros. */
struct cut_edge {
	lblk_t blk;
	uint32_t from;
	uint32_t end;
	struct page *page; /* the block as it will be; NULL: as it is, a hole */
};

struct cut_op {
	struct mutate m;
	bool resize; /* to off_bytes; else the bytes [off_bytes, end_bytes) become zeros */
	bool shrink; /* resize: it may */
	bool whole;  /* only blocks that are covered as a whole */
	uint64_t off_bytes;
	uint64_t end_bytes;
	struct cut_edge edges[MUTATE_PIECES]; /* as planned */
	lblk_t hole;
	uint64_t hole_nblks;
};

/* ---- planning -------------------------------------------------------------------------------- */

static void cut_plan_edge(struct cut_op *op, uint64_t off_bytes, uint64_t end_bytes)
{
	uint32_t from = (uint32_t)(off_bytes & (BLK_BYTES - 1));
	lblk_t blk = blk_of(off_bytes);

	if (op->whole)
		return;
	op->edges[op->m.nwant] = (struct cut_edge){
	    .blk = blk, .from = from, .end = from + (uint32_t)(end_bytes - off_bytes)};
	op->m.want[op->m.nwant++] = (struct mutate_piece){blk, 1};
}

static void cut_plan_hole(struct cut_op *op, lblk_t blk, uint64_t end_blk)
{
	op->hole = blk;
	op->hole_nblks = end_blk - blk.n;
	op->m.punches = op->hole_nblks > 0;
}

static int cut_plan_resize(struct cut_op *op, uint64_t size_bytes)
{
	lblk_t from = lblk(blk_count(op->off_bytes));

	if (op->off_bytes >= size_bytes)
		return 0;
	if (!op->shrink)
		return -ERR_SHRINK;
	if (op->off_bytes < from.n << BLK_SHIFT)
		cut_plan_edge(op, op->off_bytes, from.n << BLK_SHIFT);
	cut_plan_hole(op, from, BLK_OBJECT_MAX);
	return 0;
}

/* The bytes of [off, end), all in front of the object's end but for the rest of the last block,
 * which is zeros. */
static void cut_plan_zero(struct cut_op *op, uint64_t size_bytes)
{
	uint64_t off = op->off_bytes;
	uint64_t end =
	    op->end_bytes < size_bytes ? op->end_bytes : blk_count(size_bytes) << BLK_SHIFT;
	uint64_t first = blk_count(off);
	uint64_t last = end >> BLK_SHIFT;

	if (off >= size_bytes)
		return;
	if (first > last) { /* within a block */
		cut_plan_edge(op, off, end);
		return;
	}
	if (off < first << BLK_SHIFT)
		cut_plan_edge(op, off, first << BLK_SHIFT);
	if (last << BLK_SHIFT < end)
		cut_plan_edge(op, last << BLK_SHIFT, end);
	cut_plan_hole(op, lblk(first), last);
}

static int cut_plan(struct mutate *m)
{
	struct cut_op *op = CONTAINER_OF(m, struct cut_op, m);

	m->nwant = 0;
	m->punches = false;
	op->hole_nblks = 0;
	if (op->resize)
		return cut_plan_resize(op, m->obj->size_bytes);
	cut_plan_zero(op, m->obj->size_bytes);
	return 0;
}

static bool cut_keeps(struct mutate *m, lblk_t blk)
{
	(void)m;
	(void)blk;
	return true;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* Makes the page of an edge; none where all of the block is zeros already. */
static int cut_make_page(struct cut_op *op, struct cut_edge *edge, uint64_t *unused)
{
	struct object *obj = op->m.obj;
	struct page *base = object_page(obj, edge->blk);

	if (page_is_zero(base)) {
		*unused += !cache_is_promised(&obj->cache, edge->blk);
		return 0;
	}
	edge->page = page_new(obj->objs->pages);
	if (!edge->page)
		return -ERR_NOMEM;
	memcpy(edge->page->data, base->data, BLK_BYTES);
	memset(edge->page->data + edge->from, 0, edge->end - edge->from);
	return 0;
}

static int cut_make_pages(struct cut_op *op, uint64_t *unused)
{
	int err = op->m.punches ? holes_reserve(&op->m.obj->open.holes) : 0;

	for (uint32_t i = 0; i < op->m.nwant && err == 0; i++)
		err = cut_make_page(op, &op->edges[i], unused);
	return err;
}

static int cut_apply(struct mutate *m, uint64_t *unused)
{
	struct cut_op *op = CONTAINER_OF(m, struct cut_op, m);
	struct object *obj = m->obj;
	int err = cut_make_pages(op, unused);

	if (err < 0)
		return err;
	if (!op->resize && m->nwant == 0 && op->hole_nblks == 0)
		return 0; /* nothing of the range is within the object */
	epoch_touch(obj);
	alloc_unreserve(obj->objs->alloc, cache_punch(&obj->cache, op->hole, op->hole_nblks));
	holes_add(&obj->open.holes, op->hole, op->hole_nblks);
	object_forget_pages(obj, op->hole, op->hole_nblks);
	for (uint32_t i = 0; i < m->nwant; i++) {
		if (op->edges[i].page)
			cache_write(&obj->cache, op->edges[i].blk, op->edges[i].page);
		op->edges[i].page = NULL;
	}
	if (op->resize)
		obj->size_bytes = op->off_bytes;
	obj->open.meta = true;
	obj->mtime_ns = clock_wall_ns();
	return 0;
}

static void cut_free(struct mutate *m)
{
	struct cut_op *op = CONTAINER_OF(m, struct cut_op, m);

	for (uint32_t i = 0; i < MUTATE_PIECES; i++)
		page_put(op->edges[i].page);
	free(op);
}

static const struct mutate_fns cut_fns = {
    .plan = cut_plan, .keeps = cut_keeps, .apply = cut_apply, .free = cut_free};

/* ---- beginning ------------------------------------------------------------------------------- */

static struct cut_op *cut_new(struct object *obj, object_cb cb, void *ctx)
{
	struct cut_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	mutate_init_some(&op->m);
	op->m.fns = &cut_fns;
	op->m.obj = obj;
	op->m.cb = cb;
	op->m.ctx = ctx;
	return op;
}

void object_resize(struct handle *handle, uint64_t size_bytes, bool shrink, object_cb cb, void *ctx)
{
	struct object *obj = handle->obj;
	int err = mutate_refused(handle, size_bytes, 0);
	struct cut_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && size_bytes < obj->size_bytes && !shrink)
		err = -ERR_SHRINK;
	if (err == 0 && size_bytes != obj->size_bytes) {
		op = cut_new(obj, cb, ctx);
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		cb(ctx, err);
		return;
	}
	op->resize = true;
	op->shrink = shrink;
	op->off_bytes = size_bytes;
	mutate_start(&op->m);
}

void object_zero(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, bool whole,
		 object_cb cb, void *ctx)
{
	int err = mutate_refused(handle, 0, 0);
	struct cut_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && off_bytes < handle->obj->size_bytes && len_bytes > 0) {
		op = cut_new(handle->obj, cb, ctx);
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		cb(ctx, err);
		return;
	}
	op->whole = whole;
	op->off_bytes = off_bytes;
	op->end_bytes = len_bytes < UINT64_MAX - off_bytes ? off_bytes + len_bytes : UINT64_MAX;
	mutate_start(&op->m);
}
