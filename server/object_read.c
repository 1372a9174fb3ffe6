/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_read.c: reading, and reading ahead.
 *
 * A read collects references to pages.  What is missing is filled, folio by folio; what a fill
 * brought is collected when it ends, and when all fills of a round have ended the read looks for
 * what is missing still.  Pages once collected are kept, so that it comes to its end however small
 * the cache is; but not those of blocks that are changed meanwhile.  So in any turn of the loop what
 * has been collected is what the object holds then, and in the last one, when nothing is missing,
 * all of it: the content of one moment, of however many ranges.
 *
 * A direct read uses what is in the cache, as it must where that is newer than the device, and what it
 * brings is there for it and for whoever waits for the same, and not kept; it reads nothing ahead.
 *
 * What is read ahead is asked for after what is read.  Nobody waits for it, and its errors are those
 * of who will read it.  It holds no reference on the object: the cache's fetches keep that in memory
 * (object_state.h), and a removal need not wait.
 */
#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

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
	uint32_t range;
	uint32_t first; /* the pages of it that it waits for */
	uint32_t n;
};

struct read_op {
	struct object *obj;
	LIST_ENTRY(read_op) link; /* while it is on the object's list */
	bool listed;
	bool direct;
	uint64_t size_bytes; /* of the object, when the vectors were made */
	uint32_t n;	     /* ranges */
	struct pagevec *pvs; /* one for each, behind them in memory */
	uint32_t pending;    /* fills of this round */
	int err;
	object_read_cb cb;
	void *ctx;
	struct read_wait *waits; /* one for each fill of a round; NULL: there was none */
	uint32_t nwaits;
	uint32_t waits_cap;
	struct object_range ranges[];
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

/* The bytes of a range that an object of this size has. */
static uint64_t read_len(const struct object_range *range, uint64_t size_bytes)
{
	uint64_t len = range->off_bytes < size_bytes ? size_bytes - range->off_bytes : 0;

	return len < range->len_bytes ? len : range->len_bytes;
}

/* Gives back what range r has collected of the blocks [from, end). */
static void read_forget(struct read_op *op, uint32_t r, uint64_t from, uint64_t end)
{
	struct pagevec *pv = &op->pvs[r];
	uint64_t first = blk_of(op->ranges[r].off_bytes).n;
	uint64_t i = from > first ? from - first : 0;
	uint64_t stop = end > first ? end - first : 0;

	for (; i < stop && i < pv->npages; i++) {
		page_put(pv->pages[i]);
		pv->pages[i] = NULL;
	}
}

void object_forget_pages(struct object *obj, lblk_t blk, uint64_t nblks)
{
	struct read_op *op;

	ASSERT_LOOP();
	LIST_FOREACH (op, &obj->reads, link)
		for (uint32_t r = 0; r < op->n; r++)
			read_forget(op, r, blk.n, blk.n + nblks);
}

static void read_drop(struct read_op *op)
{
	for (uint32_t r = 0; r < op->n; r++)
		pagevec_fini(&op->pvs[r]);
	free(op->waits);
	op->waits = NULL;
}

/* Makes the vectors, as long as the object has bytes for them. */
static int read_plan(struct read_op *op)
{
	read_drop(op);
	op->size_bytes = op->obj->size_bytes;
	op->waits_cap = 0;
	for (uint32_t r = 0; r < op->n; r++) {
		const struct object_range *range = &op->ranges[r];
		uint64_t len = read_len(range, op->size_bytes);
		int err = pagevec_init(&op->pvs[r], range->off_bytes & (BLK_BYTES - 1), len);

		if (err < 0)
			return err;
		op->waits_cap += op->pvs[r].npages / FOLIO_BLKS + 2;
	}
	return 0;
}

static void read_finish(struct read_op *op)
{
	struct pagevec none = {0};

	if (op->listed)
		LIST_REMOVE(op, link);
	op->cb(op->ctx, op->err, op->err < 0 ? &none : op->pvs);
	read_drop(op);
	object_put(op->obj);
	free(op);
}

static lblk_t read_blk(const struct read_op *op, uint32_t r, uint32_t i)
{
	return lblk(blk_of(op->ranges[r].off_bytes).n + i);
}

/* Collects what is there of n pages.  How many are missing from the first such one to the last. */
static uint32_t read_collect(struct read_op *op, uint32_t r, uint32_t i, uint32_t n,
			     uint32_t *first)
{
	struct page **pages = op->pvs[r].pages;
	uint32_t span = 0;

	for (uint32_t end = i + n; i < end; i++) {
		struct page *page = pages[i] ? NULL : object_page(op->obj, read_blk(op, r, i));

		if (page)
			pages[i] = page_get(page);
		if (pages[i])
			continue;
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
		(void)read_collect(op, wait->range, wait->first, wait->n, &first);
	if (--op->pending == 0)
		read_step(op);
}

/* Starts the fill of what is missing in [first, first + n), all of one folio. */
static void read_fill(struct read_op *op, uint32_t r, uint32_t first, uint32_t n)
{
	struct read_wait *wait;
	int err;

	if (!op->waits)
		op->waits = calloc(op->waits_cap, sizeof(*op->waits));
	if (!op->waits) {
		op->err = -ERR_NOMEM;
		return;
	}
	wait = &op->waits[op->nwaits++];
	*wait = (struct read_wait){
	    .waiter.ready = read_filled, .op = op, .range = r, .first = first, .n = n};
	err = (op->direct ? cache_fill_past : cache_fill)(&op->obj->cache, read_blk(op, r, first),
							  n, &wait->waiter);
	if (err < 0)
		op->err = err;
	else
		op->pending++;
}

/* Collects what is there of a range, and starts the fills of what is not, but of no hole; where holes
 * make them more than there are waits, the others are of the next round. */
static void read_range(struct read_op *op, uint32_t r)
{
	uint32_t npages = op->pvs[r].npages;
	uint32_t n;

	for (uint32_t i = 0; i < npages && op->nwaits < op->waits_cap && op->err == 0; i += n) {
		lblk_t blk = read_blk(op, r, i);
		uint64_t until = (blk.n | (FOLIO_BLKS - 1)) + 1;
		uint32_t first;
		uint32_t span;

		if (blk.n + (npages - i) < until)
			until = blk.n + (npages - i);
		(void)object_is_mapped(op->obj, blk, &until);
		n = (uint32_t)(until - blk.n);
		span = read_collect(op, r, i, n, &first);
		if (span > 0)
			read_fill(op, r, first, span);
	}
}

/* The size may have changed since the last round: then it begins again. */
static void read_round(struct read_op *op)
{
	if (op->err == 0 && op->size_bytes != op->obj->size_bytes)
		op->err = read_plan(op);
	op->nwaits = 0;
	for (uint32_t r = 0; r < op->n && op->err == 0; r++)
		read_range(op, r);
}

/* More than a block could be of two contents while content is being replaced in the map. */
static bool read_may_be_torn(const struct read_op *op)
{
	return op->obj->gated && op->err == 0 && (op->n > 1 || op->pvs[0].npages > 1);
}

static void read_step(struct read_op *op)
{
	read_round(op);
	if (op->pending == 0 && !read_may_be_torn(op))
		read_finish(op);
}

void object_step_reads(struct object *obj)
{
	struct read_op *op;
	struct read_op *next;

	ASSERT_LOOP();
	LIST_FOREACH_SAFE (op, &obj->reads, link, next)
		if (op->pending == 0)
			read_step(op);
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
	objects_check_room(op->objs); /* perhaps nobody asks for them */
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
	lblk_t first = read_blk(op, 0, 0);
	struct readahead_window window;
	uint64_t until = BLK_OBJECT_MAX;

	if (!object_is_mapped(obj, first, &until) ||
	    !readahead_note(&handle->ahead, first, op->pvs[0].npages, op->pending > 0, until,
			    ahead_room(obj->objs), &window))
		return;
	if (ahead_start(obj, window) == 0)
		readahead_stop(&handle->ahead);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static struct read_op *read_new(struct object *obj, const struct object_range *ranges, uint32_t n)
{
	struct read_op *op =
	    calloc(1, sizeof(*op) + n * (sizeof(op->ranges[0]) + sizeof(op->pvs[0])));

	if (!op)
		return NULL;
	static_assert(alignof(struct object_range) >= alignof(struct pagevec), "what is behind");
	op->pvs = (struct pagevec *)&op->ranges[n];
	op->obj = obj;
	op->n = n;
	memcpy(op->ranges, ranges, n * sizeof(ranges[0]));
	return op;
}

static void read_start(struct handle *handle, const struct object_range *ranges, uint32_t n,
		       bool direct, object_read_cb cb, void *ctx)
{
	struct object *obj = handle->obj;
	struct pagevec none = {0};
	struct read_op *op = read_new(obj, ranges, n);

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM, &none);
		return;
	}
	op->direct = direct;
	op->cb = cb;
	op->ctx = ctx;
	object_get(obj);
	op->err = read_plan(op);
	read_round(op);
	if (op->err == 0 && n == 1 && op->pvs[0].npages > 0 && !direct)
		ahead_note(handle, op);
	if (op->pending == 0) {
		read_finish(op);
		return;
	}
	op->listed = true;
	LIST_INSERT_HEAD(&obj->reads, op, link);
}

void object_readv(struct handle *handle, const struct object_range *ranges, uint32_t n,
		  object_read_cb cb, void *ctx)
{
	read_start(handle, ranges, n, object_is_direct(handle), cb, ctx);
}

void object_read(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, object_read_cb cb,
		 void *ctx)
{
	struct object_range range = {off_bytes, len_bytes};

	read_start(handle, &range, 1, object_is_direct(handle), cb, ctx);
}

void object_read_direct(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
			object_read_cb cb, void *ctx)
{
	struct object_range range = {off_bytes, len_bytes};

	read_start(handle, &range, 1, true, cb, ctx);
}
