/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_write.c: writing and resizing.
 *
 * A write is applied in one piece, in one turn of the loop: so it belongs to one epoch, and a crash
 * leaves all of it or nothing.  Before that:
 *
 *	pinned --> filled --> room in memory --> space reserved --> applied --> answered
 *	   |          |              |                 |
 *	   |          |              `---- parked -----'- no space: nothing has changed
 *	   |          `- a fill failed
 *	   `- no memory
 *
 * Filled: the first and the last block, where the write covers them in part and they are not
 * uptodate.
 *
 * The pages that came with the request become the cache's pages; what the write does not cover of
 * its first and last block is copied into them from the block as it was.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_table.h"

struct write_op {
	struct object *obj;
	struct pagevec pv; /* empty for a truncation */
	uint64_t off_bytes;
	lblk_t first;
	uint32_t nblks;
	bool resize; /* to off_bytes: the only block is the one that the new end cuts */
	bool shrink; /* resize: it may */
	uint32_t pending;
	int err;
	struct cache_waiter waits[2]; /* of the first and the last block */
	object_cb cb;
	void *ctx;
	TAILQ_ENTRY(write_op) parked_link;
};

static void write_step(struct write_op *op);

static void write_finish(struct write_op *op, int err)
{
	struct object *obj = op->obj;
	object_cb cb = op->cb;
	void *ctx = op->ctx;

	if (op->nblks > 0)
		cache_unpin(&obj->cache, op->first, op->nblks);
	pagevec_fini(&op->pv);
	free(op);
	cb(ctx, err);
	cache_shrink(obj->objs->cache);
	objects_check_room(obj->objs);
	object_put(obj);
}

/* ---- filling --------------------------------------------------------------------------------- */

static void write_filled(struct write_op *op, int err)
{
	if (err < 0)
		op->err = err;
	if (--op->pending == 0)
		write_step(op);
}

static LOOP_FN void write_first_filled(struct cache_waiter *waiter, int err)
{
	write_filled(CONTAINER_OF(waiter, struct write_op, waits[0]), err);
}

static LOOP_FN void write_last_filled(struct cache_waiter *waiter, int err)
{
	write_filled(CONTAINER_OF(waiter, struct write_op, waits[1]), err);
}

/* Does the op keep bytes that its block i has now? */
static bool write_keeps(const struct write_op *op, uint32_t i)
{
	uint64_t end = (op->first.n + i) << BLK_SHIFT;
	uint32_t off;
	uint32_t len;

	if (op->resize)
		return true;
	pagevec_span(&op->pv, i, &off, &len);
	end += off + len;
	return off > 0 || (off + len < BLK_BYTES && end < op->obj->size_bytes);
}

/* Starts the fill of block i if it is needed. */
static void write_fill(struct write_op *op, uint32_t i, struct cache_waiter *waiter)
{
	lblk_t blk = lblk(op->first.n + i);
	int err;

	if (!write_keeps(op, i) || object_page(op->obj, blk))
		return;
	err = cache_fill(&op->obj->cache, blk, 1, waiter);
	if (err < 0)
		op->err = err;
	else
		op->pending++;
}

/* True: the first and the last block can be merged now, or op->err is set. */
static bool write_filled_in(struct write_op *op)
{
	if (op->nblks == 0 || op->err < 0)
		return true;
	write_fill(op, 0, &op->waits[0]);
	if (op->nblks > 1 && op->err == 0)
		write_fill(op, op->nblks - 1, &op->waits[1]);
	return op->pending == 0;
}

/* ---- room and space -------------------------------------------------------------------------- */

static void write_close_all(struct objects *objs)
{
	struct object *obj;
	struct object *next;

	TAILQ_FOREACH_SAFE (obj, &objs->busy, busy_link, next)
		epoch_close(obj);
}

/* Waits until something was written back or freed; fails with err if nothing is under way. */
static void write_park(struct write_op *op, int err)
{
	struct objects *objs = op->obj->objs;

	write_close_all(objs);
	prepare_pause(objs->prepare);
	if (prepare_held_nblks(objs->prepare) > 0 || freeload_is_busy(objs->freeload) ||
	    epoch_any_moving(objs) || commit_busy(objs->commit) || objs->wb.releasing > 0 ||
	    (commit_reaping(objs->commit) && !checkpoint_fails(objs->checkpoint)) ||
	    checkpoint_want_space(objs->checkpoint, err == -ERR_NOSPC_META))
		TAILQ_INSERT_TAIL(&objs->parked, op, parked_link);
	else
		write_finish(op, err);
}

void object_retry_parked(struct objects *objs)
{
	struct write_list list = TAILQ_HEAD_INITIALIZER(list);
	struct write_op *op;

	ASSERT_LOOP();
	TAILQ_CONCAT(&list, &objs->parked, parked_link);
	while ((op = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, op, parked_link);
		write_step(op);
		if (!TAILQ_EMPTY(&objs->parked))
			break; /* no room for this one: the others keep their places behind it */
	}
	TAILQ_CONCAT(&objs->parked, &list, parked_link);
}

void object_open_gate(struct object *obj)
{
	struct write_list list = TAILQ_HEAD_INITIALIZER(list);
	struct write_op *op;

	ASSERT_LOOP();
	obj->gated = false;
	TAILQ_CONCAT(&list, &obj->gate, parked_link);
	while ((op = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, op, parked_link);
		write_step(op);
	}
}

/* The blocks that are not in the open epoch yet, so that each needs a reservation. */
static uint64_t write_needs(const struct write_op *op)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < op->nblks; i++)
		n += !cache_is_dirty(&op->obj->cache, lblk(op->first.n + i));
	return n;
}

/* True: the op may be applied, its space is reserved.  Else it is parked or finished. */
static bool write_admit(struct write_op *op)
{
	struct objects *objs = op->obj->objs;
	int err = epoch_make_room(op->obj, write_needs(op));
	uint64_t needs = write_needs(op); /* of the next epoch, where that was closed */
	size_t busy = cache_busy_pages(objs->cache);
	uint64_t meta_used;
	uint64_t meta_total;

	if (err < 0) {
		write_finish(op, err);
		return false;
	}
	if (needs == 0)
		return true;
	if (!TAILQ_EMPTY(&objs->parked)) { /* not past those that wait */
		TAILQ_INSERT_TAIL(&objs->parked, op, parked_link);
		return false;
	}
	if (busy > 0 && busy + needs > objs->dirty_limit) {
		write_park(op, -ERR_WRITEBACK);
		return false;
	}
	map_meta_usage(objs->config.map, &meta_used, &meta_total);
	meta_used += (busy + needs) * META_BLK_BYTES;
	if (meta_used > meta_total - meta_total / META_RESERVE_PART) {
		write_park(op, -ERR_NOSPC_META);
		return false;
	}
	if (alloc_reserve(objs->alloc, needs) < 0) {
		write_park(op, -ERR_NOSPC);
		return false;
	}
	return true;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* Completes block i of the payload with the bytes around it. */
static void write_merge(struct write_op *op, uint32_t i)
{
	struct page *page = op->pv.pages[i];
	struct page *base;
	uint32_t off;
	uint32_t len;

	pagevec_span(&op->pv, i, &off, &len);
	if (len == BLK_BYTES)
		return;
	base = object_page(op->obj, lblk(op->first.n + i));
	if (base) {
		memcpy(page->data, base->data, off);
		memcpy(page->data + off + len, base->data + off + len, BLK_BYTES - off - len);
	} else { /* nothing is kept: what is not covered is past the end of the object */
		memset(page->data, 0, off);
		memset(page->data + off + len, 0, BLK_BYTES - off - len);
	}
}

static void write_apply(struct write_op *op)
{
	struct object *obj = op->obj;
	uint64_t end = op->off_bytes + op->pv.len;

	epoch_touch(obj);
	write_merge(op, 0);
	if (op->nblks > 1)
		write_merge(op, op->nblks - 1);
	for (uint32_t i = 0; i < op->nblks; i++) {
		cache_write(&obj->cache, lblk(op->first.n + i), op->pv.pages[i]);
		op->pv.pages[i] = NULL;
	}
	if (end > obj->size_bytes) {
		obj->size_bytes = end;
		obj->open.meta = true;
	}
	obj->mtime_ns = clock_wall_ns();
}

/* The cut block with zeros from the new end on; NULL in *page where it is zeros already. */
static int write_cut_page(struct write_op *op, struct page **page)
{
	struct page_pool *pool = op->obj->objs->pages;
	struct page *base = object_page(op->obj, op->first);
	size_t keep = op->off_bytes & (BLK_BYTES - 1);

	*page = NULL;
	if (page_is_zero(base))
		return 0;
	*page = page_new(pool);
	if (!*page)
		return -ERR_NOMEM;
	memcpy((*page)->data, base->data, keep);
	memset((*page)->data + keep, 0, BLK_BYTES - keep);
	return 0;
}

static void write_apply_truncate(struct write_op *op, struct page *cut)
{
	struct object *obj = op->obj;
	lblk_t from = lblk(blk_count(op->off_bytes));

	epoch_touch(obj);
	alloc_unreserve(obj->objs->alloc, cache_truncate(&obj->cache, from));
	if (from.n < obj->open.truncate.n)
		obj->open.truncate = from;
	if (from.n < obj->unmapped.n)
		obj->unmapped = from;
	if (cut)
		cache_write(&obj->cache, op->first, cut);
}

static void write_apply_resize(struct write_op *op)
{
	struct object *obj = op->obj;
	struct page *cut = NULL;
	uint64_t needs = op->nblks > 0 ? write_needs(op) : 0;

	bool shrink = op->off_bytes < obj->size_bytes; /* the size may have changed meanwhile */

	if (op->nblks > 0 && shrink && write_cut_page(op, &cut) < 0) {
		alloc_unreserve(obj->objs->alloc, needs);
		write_finish(op, -ERR_NOMEM);
		return;
	}
	if (!cut)
		alloc_unreserve(obj->objs->alloc, needs);
	epoch_touch(obj);
	if (shrink)
		write_apply_truncate(op, cut);
	obj->open.meta = true;
	obj->size_bytes = op->off_bytes;
	obj->mtime_ns = clock_wall_ns();
	write_finish(op, 0);
}

/* Starts writeback early enough that writers seldom wait for it. */
static void write_kick(struct object *obj)
{
	struct objects *objs = obj->objs;

	if (obj->cache.ndirty >= EPOCH_MAX_BLKS ||
	    (cache_busy_pages(objs->cache) > objs->dirty_limit / 2 && obj->cache.ndirty > 0))
		epoch_close(obj);
}

/* Does the new end of a resize cut a block? */
static bool write_cuts(const struct write_op *op)
{
	return op->off_bytes < op->obj->size_bytes && (op->off_bytes & (BLK_BYTES - 1)) != 0;
}

/* A resize behind a gate: of an object whose size may have changed.  True: it goes on. */
static bool write_resize_again(struct write_op *op)
{
	if (op->off_bytes < op->obj->size_bytes && !op->shrink)
		op->err = -ERR_SHRINK;
	if (op->err < 0 || op->nblks > 0 || !write_cuts(op))
		return true;
	op->err = cache_pin(&op->obj->cache, op->first, 1);
	if (op->err == 0)
		op->nblks = 1;
	return write_filled_in(op);
}

/* Takes the op as far as it comes; called again when what it waits for has happened. */
static void write_step(struct write_op *op)
{
	struct object *obj = op->obj;

	if (obj->objs->latched)
		op->err = -ERR_LATCHED;
	if (!write_filled_in(op))
		return;
	if (obj->gated && op->err == 0) {
		TAILQ_INSERT_TAIL(&obj->gate, op, parked_link);
		return;
	}
	if (op->resize && !write_resize_again(op))
		return;
	if (op->err < 0) {
		write_finish(op, op->err);
		return;
	}
	if (op->nblks > 0 && !write_admit(op))
		return;
	if (op->resize) {
		write_apply_resize(op);
		return;
	}
	write_apply(op);
	write_kick(obj);
	write_finish(op, 0);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static struct write_op *write_new(struct object *obj, uint64_t off_bytes, object_cb cb, void *ctx)
{
	struct write_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->obj = obj;
	op->off_bytes = off_bytes;
	op->first = blk_of(off_bytes);
	op->waits[0].ready = write_first_filled;
	op->waits[1].ready = write_last_filled;
	op->cb = cb;
	op->ctx = ctx;
	object_get(obj);
	return op;
}

static void write_begin(struct write_op *op)
{
	int err = 0;

	if (op->nblks > 0)
		err = cache_pin(&op->obj->cache, op->first, op->nblks);
	if (err < 0) {
		op->nblks = 0;
		write_finish(op, err);
		return;
	}
	write_step(op);
}

static int write_refused(const struct handle *handle, uint64_t off_bytes, uint64_t len)
{
	if (handle->readonly)
		return -ERR_PERM;
	if (off_bytes > BLK_OBJECT_MAX << BLK_SHIFT ||
	    len > (BLK_OBJECT_MAX << BLK_SHIFT) - off_bytes)
		return -ERR_TOO_LARGE;
	return handle->obj->objs->latched ? -ERR_LATCHED : 0;
}

void object_write(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, object_cb cb,
		  void *ctx)
{
	int err = write_refused(handle, off_bytes, pv->len);
	struct write_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && pv->len > 0) {
		op = write_new(handle->obj, off_bytes, cb, ctx);
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		pagevec_fini(pv);
		cb(ctx, err);
		return;
	}
	assert(pv->head == (off_bytes & (BLK_BYTES - 1)));
	op->pv = *pv;
	op->nblks = pv->npages;
	*pv = (struct pagevec){0};
	write_begin(op);
}

void object_resize(struct handle *handle, uint64_t size_bytes, bool shrink, object_cb cb, void *ctx)
{
	struct object *obj = handle->obj;
	int err = write_refused(handle, size_bytes, 0);
	struct write_op *op;

	ASSERT_LOOP();
	if (err == 0 && size_bytes < obj->size_bytes && !shrink)
		err = -ERR_SHRINK;
	if (err < 0 || size_bytes == obj->size_bytes) {
		cb(ctx, err);
		return;
	}
	op = write_new(obj, size_bytes, cb, ctx);
	if (!op) {
		cb(ctx, -ERR_NOMEM);
		return;
	}
	op->resize = true;
	op->shrink = shrink;
	if (write_cuts(op))
		op->nblks = 1;
	write_begin(op);
}
