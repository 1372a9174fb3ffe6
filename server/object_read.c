/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_read.c: reading.
 *
 * A read collects references to pages.  What is missing is filled, folio by folio, and when all
 * fills of a round have ended the read looks again.  Pages once collected are kept, so that it
 * comes to its end however small the cache is.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_io.h"
#include "server/object_table.h"

struct read_op;

struct read_wait {
	struct cache_waiter waiter;
	struct read_op *op;
};

struct read_op {
	struct object *obj;
	struct pagevec pv;
	lblk_t first;
	uint32_t pending; /* fills of this round */
	int err;
	object_read_cb cb;
	void *ctx;
	struct read_wait *waits; /* one for each folio */
	uint32_t nwaits;
};

static void read_step(struct read_op *op);

/* The first block that reads as zeros whatever the map says of it. */
static uint64_t object_map_end(const struct object *obj)
{
	uint64_t end = blk_count(obj->size_bytes);

	return obj->unmapped.n < end ? obj->unmapped.n : end;
}

struct page *object_page(struct object *obj, lblk_t blk)
{
	struct page *page = cache_find(&obj->cache, blk);

	if (page)
		return page;
	if (blk.n >= object_map_end(obj))
		return page_zero_peek(obj->objs->pages);
	return NULL;
}

static void read_finish(struct read_op *op)
{
	struct pagevec none = {0};

	op->cb(op->ctx, op->err, op->err < 0 ? &none : &op->pv);
	pagevec_fini(&op->pv);
	object_put(op->obj);
	free(op->waits);
	free(op);
}

static LOOP_FN void read_filled(struct cache_waiter *waiter, int err)
{
	struct read_op *op = CONTAINER_OF(waiter, struct read_wait, waiter)->op;

	if (err < 0)
		op->err = err;
	if (--op->pending == 0)
		read_step(op);
}

/* Collects what is there.  The index of the first block that is not, or npages. */
static uint32_t read_collect(struct read_op *op, uint32_t i)
{
	for (; i < op->pv.npages; i++) {
		struct page *page = op->pv.pages[i];

		if (page)
			continue;
		page = object_page(op->obj, lblk(op->first.n + i));
		if (!page)
			return i;
		op->pv.pages[i] = page_get(page);
	}
	return i;
}

/*
 * Starts the fill of block i and those after it in its folio, as far as the map is to be asked for
 * them; returns the first not concerned.
 */
static uint32_t read_fill(struct read_op *op, uint32_t i)
{
	uint64_t blk = op->first.n + i;
	uint64_t in_map = object_map_end(op->obj) - blk;
	uint32_t in_folio = FOLIO_BLKS - (uint32_t)(blk & (FOLIO_BLKS - 1));
	uint32_t left = op->pv.npages - i;
	uint32_t n = left < in_folio ? left : in_folio;
	struct read_wait *wait = &op->waits[op->nwaits++];
	int err;

	if (in_map < n)
		n = (uint32_t)
		    in_map; /* at least 1: object_page() said that block i is in the map */
	wait->waiter.ready = read_filled;
	wait->op = op;
	err = cache_fill(&op->obj->cache, lblk(blk), n, &wait->waiter);
	if (err < 0)
		op->err = err;
	else
		op->pending++;
	return i + n;
}

static void read_step(struct read_op *op)
{
	uint32_t i = op->err < 0 ? op->pv.npages : 0;

	op->nwaits = 0;
	while (op->err == 0 && (i = read_collect(op, i)) < op->pv.npages)
		i = read_fill(op, i);
	if (op->pending == 0)
		read_finish(op);
}

void object_read(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, object_read_cb cb,
		 void *ctx)
{
	struct object *obj = handle->obj;
	struct pagevec none = {0};
	struct read_op *op;
	uint64_t len = 0;

	ASSERT_LOOP();
	if (off_bytes < obj->size_bytes)
		len = obj->size_bytes - off_bytes;
	if (len > len_bytes)
		len = len_bytes;
	op = calloc(1, sizeof(*op));
	if (!op || pagevec_init(&op->pv, (uint32_t)(off_bytes & (BLK_BYTES - 1)), len) < 0) {
		free(op);
		cb(ctx, -ERR_NOMEM, &none);
		return;
	}
	op->first = blk_of(off_bytes);
	op->cb = cb;
	op->ctx = ctx;
	op->obj = obj;
	object_get(obj);
	op->waits = calloc(op->pv.npages / FOLIO_BLKS + 2, sizeof(struct read_wait));
	if (!op->waits)
		op->err = -ERR_NOMEM;
	read_step(op);
}
