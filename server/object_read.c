/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_read.c: reading, and reading ahead.
 *
 * A read collects references to pages.  What is missing is filled, folio by folio; what a fill
 * brought is collected when it ends, and when all fills of a round have ended the read looks for
 * what is missing still.  Pages once collected are kept, so that it comes to its end however small
 * the cache is.
 *
 * What is read ahead is asked for after what is read.  Nobody waits for it, and its errors are those
 * of who will read it.  It holds no reference on the object: the cache's fetches keep that in memory
 * (object_state.h), and a removal need not wait.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_table.h"

/* Parts of the cache that may be filled ahead: by all together, and in one piece. */
#define AHEAD_PART_ALL 8u
#define AHEAD_PART_ONE 16u

struct read_op;

struct read_wait {
	struct cache_waiter waiter;
	struct read_op *op;
	uint32_t first; /* the pages that it waits for */
	uint32_t n;
};

struct read_op {
	struct object *obj;
	struct pagevec pv;
	lblk_t first;
	uint32_t pending; /* fills of this round */
	int err;
	object_read_cb cb;
	void *ctx;
	struct read_wait *waits; /* one for each fill of a round */
	uint32_t nwaits;
	uint32_t waits_cap;
};

static void read_step(struct read_op *op);

/*
 * May the map be asked for the block?  Else it reads as zeros, unless it is dirty or staged.  *until
 * is lowered to the block up to which that holds.
 */
static bool object_is_mapped(const struct object *obj, lblk_t blk, uint64_t *until)
{
	uint64_t end = blk_count(obj->size_bytes);

	if (blk.n >= end)
		return false;
	if (end < *until)
		*until = end;
	return !epoch_hole_at(obj, blk, until);
}

struct page *object_page(struct object *obj, lblk_t blk)
{
	struct page *page = cache_find(&obj->cache, blk);
	uint64_t until = blk.n + 1;

	if (!page && !object_is_mapped(obj, blk, &until))
		page = page_zero_peek(obj->objs->pages);
	return page;
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

/* Collects what is there of n pages.  How many are missing from the first such one to the last. */
static uint32_t read_collect(struct read_op *op, uint32_t i, uint32_t n, uint32_t *first)
{
	uint32_t span = 0;

	for (uint32_t end = i + n; i < end; i++) {
		struct page *page = op->pv.pages[i];

		if (page)
			continue;
		page = object_page(op->obj, lblk(op->first.n + i));
		if (page) {
			op->pv.pages[i] = page_get(page);
			continue;
		}
		if (span == 0)
			*first = i;
		span = i - *first + 1;
	}
	return span;
}

static LOOP_FN void read_filled(struct cache_waiter *waiter, int err)
{
	struct read_wait *wait = CONTAINER_OF(waiter, struct read_wait, waiter);
	struct read_op *op = wait->op;
	uint32_t first;

	if (err < 0)
		op->err = err;
	else
		(void)read_collect(op, wait->first, wait->n, &first);
	if (--op->pending == 0)
		read_step(op);
}

/* Starts the fill of what is missing in [first, first + n), all of one folio. */
static void read_fill(struct read_op *op, uint32_t first, uint32_t n)
{
	struct read_wait *wait = &op->waits[op->nwaits++];
	int err;

	*wait = (struct read_wait){.waiter.ready = read_filled, .op = op, .first = first, .n = n};
	err = cache_fill(&op->obj->cache, lblk(op->first.n + first), n, &wait->waiter);
	if (err < 0)
		op->err = err;
	else
		op->pending++;
}

/* Collects what is there, and starts the fills of what is not, but of no hole; where holes make them
 * more than there are waits, the others are of the next round. */
static void read_round(struct read_op *op)
{
	uint32_t n;

	op->nwaits = 0;
	for (uint32_t i = 0; i < op->pv.npages && op->nwaits < op->waits_cap && op->err == 0;
	     i += n) {
		lblk_t blk = lblk(op->first.n + i);
		uint64_t until = (blk.n | (FOLIO_BLKS - 1)) + 1;
		uint32_t first;
		uint32_t span;

		if (op->first.n + op->pv.npages < until)
			until = op->first.n + op->pv.npages;
		(void)object_is_mapped(op->obj, blk, &until);
		n = (uint32_t)(until - blk.n);
		span = read_collect(op, i, n, &first);
		if (span > 0)
			read_fill(op, first, span);
	}
}

static void read_step(struct read_op *op)
{
	if (op->err == 0)
		read_round(op);
	if (op->pending == 0)
		read_finish(op);
}

/* ---- ahead ----------------------------------------------------------------------------------- */

struct ahead_op;

struct ahead_wait {
	struct cache_waiter waiter;
	struct ahead_op *op;
};

struct ahead_op {
	struct objects *objs;
	uint32_t pending;
	uint32_t nblks;
	struct ahead_wait waits[READAHEAD_MAX_BLKS / FOLIO_BLKS + 1];
};

/* The most blocks that may be read ahead in one piece now. */
static uint32_t ahead_room(const struct objects *objs)
{
	size_t limit = objs->config.cache_bytes >> BLK_SHIFT;
	size_t all = limit / AHEAD_PART_ALL;
	size_t room = limit / AHEAD_PART_ONE;

	if (page_pool_used(objs->pages) > limit + all || objs->ahead_nblks >= all)
		return 0;
	if (all - objs->ahead_nblks < room)
		room = all - objs->ahead_nblks;
	return room < READAHEAD_MAX_BLKS ? (uint32_t)room : READAHEAD_MAX_BLKS;
}

static void ahead_put(struct ahead_op *op)
{
	if (--op->pending > 0)
		return;
	op->objs->ahead_nblks -= op->nblks;
	free(op);
}

static LOOP_FN void ahead_filled(struct cache_waiter *waiter, int err)
{
	(void)err;
	ahead_put(CONTAINER_OF(waiter, struct ahead_wait, waiter)->op);
}

/* How many blocks are being read now. */
static uint32_t ahead_start(struct object *obj, struct readahead_window window)
{
	struct ahead_op *op = calloc(1, sizeof(*op));
	uint64_t end = window.blk.n + window.nblks;
	uint32_t started = 0;
	uint32_t i = 0;

	if (!op)
		return 0;
	op->objs = obj->objs;
	op->pending = 1;
	for (uint64_t blk = window.blk.n; blk < end; i++) {
		uint64_t next = (blk | (FOLIO_BLKS - 1)) + 1;
		uint32_t n = (uint32_t)((next < end ? next : end) - blk);

		op->waits[i] = (struct ahead_wait){.waiter.ready = ahead_filled, .op = op};
		n = cache_fill_ahead(&obj->cache, lblk(blk), n, &op->waits[i].waiter);
		op->pending += n > 0;
		started += n;
		blk = next;
	}
	op->nblks = started;
	obj->objs->ahead_nblks += started;
	ahead_put(op);
	return started;
}

static void ahead_note(struct handle *handle, const struct read_op *op)
{
	struct object *obj = handle->obj;
	struct readahead_window window;
	uint64_t until = BLK_OBJECT_MAX;

	if (!object_is_mapped(obj, op->first, &until) ||
	    !readahead_note(&handle->ahead, op->first, op->pv.npages, op->pending > 0, until,
			    ahead_room(obj->objs), &window))
		return;
	if (ahead_start(obj, window) == 0)
		readahead_stop(&handle->ahead);
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
	op->waits_cap = op->pv.npages / FOLIO_BLKS + 2;
	op->waits = calloc(op->waits_cap, sizeof(struct read_wait));
	if (!op->waits)
		op->err = -ERR_NOMEM;
	else
		read_round(op);
	if (op->err == 0 && op->pv.npages > 0)
		ahead_note(handle, op);
	if (op->pending == 0)
		read_finish(op);
}
