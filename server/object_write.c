/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_write.c: writing one range or several, of one object or several.
 *
 * The pages that came with the request become the cache's pages; what the write does not cover of
 * a block is copied into its page from the block as it was.  Ranges that have bytes of one block
 * share its page: the first of them owns the block, the others are "joined" there (page.h).
 *
 * A direct write has its whole blocks placed (object_place.h): the device has them when it is
 * answered, and once committed they are not kept in memory.  Blocks that it covers in part are
 * bounced: they go the way of any write, in the same turn.  On a mapped device, where a copy in
 * memory would be a second one, each write is direct and these are placed as well.
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
#include "server/object_place.h"

_Static_assert(OBJECT_PARTS_MAX == EPOCH_TIED_MAX, "a change of so many can be one set");

struct write_range {
	uint64_t off_bytes;
	struct pagevec pv;
};

struct write_op {
	struct mutate m;
	struct handle *handle;
	uint32_t n;
	struct write_range ranges[]; /* ascending */
};

static uint64_t write_end(const struct write_range *range)
{
	return range->off_bytes + range->pv.len;
}

/* ---- planning -------------------------------------------------------------------------------- */

/* A block belongs to the piece of the first range that has bytes of it, so that all but the first
 * and the last block of a piece are covered. */
static int write_plan(struct mutate *m)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);

	if (op->handle->fixed && write_end(&op->ranges[op->n - 1]) > m->obj->size_bytes)
		return -ERR_FIXED_SIZE;
	m->nwant = 0;
	for (uint32_t i = 0; i < op->n; i++) {
		const struct write_range *range = &op->ranges[i];
		uint32_t owned = range->pv.npages - range->pv.joined;

		if (owned > 0)
			m->want[m->nwant++] = (struct mutate_piece){
			    lblk(blk_of(range->off_bytes).n + range->pv.joined), owned};
	}
	return 0;
}

/* The first range that has bytes of the block. */
static uint32_t write_find(const struct write_op *op, lblk_t blk)
{
	uint32_t lo = 0;
	uint32_t hi = op->n - 1;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (write_end(&op->ranges[mid]) <= blk.n << BLK_SHIFT)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Does the write leave bytes of this block as they are? */
static bool write_keeps(struct mutate *m, lblk_t blk)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);
	uint64_t at = blk.n << BLK_SHIFT;
	uint64_t end = at + BLK_BYTES;
	uint64_t stop = end < m->obj->size_bytes ? end : m->obj->size_bytes;

	for (uint32_t i = write_find(op, blk); i < op->n; i++) {
		const struct write_range *range = &op->ranges[i];

		if (range->off_bytes >= end)
			break;
		if (range->off_bytes > at && at < stop)
			return true;
		at = write_end(range);
	}
	return at < stop;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* The bytes [from, end) of a page are those of the block as it was; none is kept: they are past the
 * end of the object. */
static void write_keep(struct page *page, const struct page *base, uint64_t from, uint64_t end)
{
	if (base)
		memcpy(page->data + from, base->data + from, end - from);
	else
		memset(page->data + from, 0, end - from);
}

/* Completes page k of range i, which owns that block, with the bytes around all ranges in it.  Where
 * it has been placed for nothing, since the block has changed, nobody looks at the page any more. */
static void write_merge(struct write_op *op, uint32_t i, uint32_t k)
{
	struct page *page = op->ranges[i].pv.pages[k];
	lblk_t blk = lblk(blk_of(op->ranges[i].off_bytes).n + k);
	uint64_t start = blk.n << BLK_SHIFT;
	struct page *base;
	uint64_t at = 0;
	uint32_t off;
	uint32_t len;

	pagevec_span(&op->ranges[i].pv, k, &off, &len);
	if (len == BLK_BYTES)
		return;
	base = object_page(op->m.obj, blk);
	for (; i < op->n && op->ranges[i].off_bytes < start + BLK_BYTES; i++) {
		const struct write_range *range = &op->ranges[i];
		uint64_t from = range->off_bytes > start ? range->off_bytes - start : 0;
		uint64_t end = write_end(range) - start;

		write_keep(page, base, at, from);
		at = end < BLK_BYTES ? end : BLK_BYTES;
	}
	write_keep(page, base, at, BLK_BYTES);
}

/* Puts the pages of range i in their places. */
static void write_range(struct write_op *op, uint32_t i)
{
	struct pagevec *pv = &op->ranges[i].pv;
	lblk_t first = blk_of(op->ranges[i].off_bytes);

	for (uint32_t k = pv->joined; k < pv->npages; k++) {
		lblk_t blk = lblk(first.n + k);

		if ((k == 0 || k == pv->npages - 1) && !mutate_is_placed(&op->m, blk))
			write_merge(op, i, k);
		mutate_write(&op->m, blk, page_get(pv->pages[k]));
	}
}

static void write_complete(struct mutate *m)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);

	for (uint32_t i = 0; i < op->n; i++) {
		const struct pagevec *pv = &op->ranges[i].pv;

		if (pv->npages == pv->joined)
			continue;
		write_merge(op, i, pv->joined);
		write_merge(op, i, pv->npages - 1);
	}
}

static int write_apply(struct mutate *m, uint64_t *unused)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);
	struct object *obj = m->obj;
	uint64_t end = write_end(&op->ranges[op->n - 1]);

	(void)unused;
	epoch_touch(obj);
	for (uint32_t i = 0; i < op->n; i++)
		write_range(op, i);
	if (end > obj->size_bytes) {
		obj->size_bytes = end;
		obj->open.meta = true;
	}
	obj->mtime_ns = clock_wall_ns();
	handle_wrote(op->handle);
	return 0;
}

static void write_free(struct mutate *m)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);

	for (uint32_t i = 0; i < op->n; i++)
		pagevec_fini(&op->ranges[i].pv);
	free(op);
}

static const struct mutate_fns write_fns = {.plan = write_plan,
					    .keeps = write_keeps,
					    .apply = write_apply,
					    .free = write_free,
					    .complete = write_complete};

/* ---- past the cache -------------------------------------------------------------------------- */

static void write_place_range(struct place *place, const struct write_range *range, bool mapped)
{
	for (uint32_t k = range->pv.joined; k < range->pv.npages; k++) {
		uint32_t off;
		uint32_t len;

		pagevec_span(&range->pv, k, &off, &len);
		if (len == BLK_BYTES || mapped)
			place_add(place, lblk(blk_of(range->off_bytes).n + k), range->pv.pages[k],
				  len < BLK_BYTES);
	}
}

/* Which of the blocks go to the device first. */
static int write_place(struct write_op *op)
{
	struct place *place;
	uint32_t max = 0;

	for (uint32_t i = 0; i < op->n; i++)
		max += op->ranges[i].pv.npages;
	place = place_new(op->m.obj, max);
	if (!place)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < op->n; i++)
		write_place_range(place, &op->ranges[i], op->m.obj->objs->config.dev->mapped);
	if (place_count(place) == 0) {
		place_free(place);
		place = NULL;
	}
	op->m.place = place;
	return 0;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static struct write_op *write_new(struct handle *handle, uint32_t n, void *ctx)
{
	struct write_op *op = calloc(1, sizeof(*op) + n * sizeof(op->ranges[0]));

	if (!op)
		return NULL;
	if (mutate_init(&op->m, n) < 0) {
		free(op);
		return NULL;
	}
	op->m.fns = &write_fns;
	op->m.obj = handle->obj;
	op->m.ctx = ctx;
	op->handle = handle;
	op->n = n;
	return op;
}

static void write_take(struct write_range *range, uint64_t off_bytes, struct pagevec *pv)
{
	assert(pv->head == (off_bytes & (BLK_BYTES - 1)));
	range->off_bytes = off_bytes;
	range->pv = *pv;
	*pv = (struct pagevec){0};
}

/* Begins; where it cannot even be placed it ends. */
static void write_start(struct write_op *op, bool direct)
{
	if (direct)
		op->m.err = write_place(op);
	mutate_start(&op->m);
}

static void write_one(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, bool direct,
		      object_cb cb, void *ctx)
{
	int err = mutate_refused(handle, off_bytes, pv->len);
	struct write_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && pv->len > 0) {
		op = write_new(handle, 1, ctx);
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		pagevec_fini(pv);
		cb(ctx, err);
		return;
	}
	op->m.cb = cb;
	write_take(&op->ranges[0], off_bytes, pv);
	write_start(op, direct);
}

void object_write(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, object_cb cb,
		  void *ctx)
{
	write_one(handle, off_bytes, pv, object_is_direct(handle), cb, ctx);
}

void object_write_direct(struct handle *handle, uint64_t off_bytes, struct pagevec *pv,
			 object_cb cb, void *ctx)
{
	write_one(handle, off_bytes, pv, true, cb, ctx);
}

/* ---- several ranges -------------------------------------------------------------------------- */

void object_writev(struct handle *handle, const struct object_range *ranges, struct pagevec *pvs,
		   uint32_t n, const uint64_t *if_generation, object_changed_cb cb, void *ctx)
{
	struct object *obj = handle->obj;
	int err = mutate_refused(handle, 0, 0);
	struct write_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0) {
		op = write_new(handle, n, ctx);
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		for (uint32_t i = 0; i < n; i++)
			pagevec_fini(&pvs[i]);
		cb(ctx, err, obj->generation);
		return;
	}
	op->m.changed_cb = cb;
	op->m.conditional = if_generation != NULL;
	op->m.expected = if_generation ? *if_generation : 0;
	for (uint32_t i = 0; i < n; i++)
		write_take(&op->ranges[i], ranges[i].off_bytes, &pvs[i]);
	write_start(op, object_is_direct(handle));
}

/* ---- several objects ------------------------------------------------------------------------- */

static int write_compare_objects(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)(*(struct object *const *)a);
	uintptr_t y = (uintptr_t)(*(struct object *const *)b);

	return (x > y) - (x < y);
}

/* Are two of them of one object? */
static bool write_has_same(const struct object_part *parts, uint32_t n)
{
	struct object *objs[OBJECT_PARTS_MAX];

	for (uint32_t i = 0; i < n; i++)
		objs[i] = parts[i].handle->obj;
	qsort(objs, n, sizeof(objs[0]), write_compare_objects);
	for (uint32_t i = 1; i < n; i++)
		if (objs[i] == objs[i - 1])
			return true;
	return false;
}

/* *at: the part that is refused; it stays where that is none of them. */
static int write_all_refused(const struct object_part *parts, uint32_t n, uint32_t *at)
{
	for (uint32_t i = 0; i < n; i++) {
		int err = mutate_refused(parts[i].handle, 0, 0);

		if (err < 0) {
			*at = i;
			return err;
		}
	}
	return write_has_same(parts, n) ? -ERR_SAME_OBJECT : 0;
}

/* Takes over the vectors.  NULL: no memory, and they are where they were. */
static struct write_op *write_part_new(const struct object_part *part, struct pagevec *pvs)
{
	struct write_op *op = write_new(part->handle, part->nranges, NULL);

	if (!op)
		return NULL;
	op->m.conditional = part->if_generation != NULL;
	op->m.expected = part->if_generation ? *part->if_generation : 0;
	for (uint32_t i = 0; i < part->nranges; i++)
		write_take(&op->ranges[i], part->ranges[i].off_bytes, &pvs[i]);
	return op;
}

/* Makes all parts; on an error those that have been made are to be freed: *made. */
static int write_parts_new(const struct object_part *parts, uint32_t n, struct pagevec *pvs,
			   struct mutate **ms, uint32_t *made)
{
	int err = 0;

	for (uint32_t i = 0; i < n && err == 0; i++) {
		struct write_op *op = write_part_new(&parts[i], pvs);

		if (!op)
			return -ERR_NOMEM;
		ms[(*made)++] = &op->m;
		pvs += parts[i].nranges;
		if (object_is_direct(parts[i].handle))
			err = write_place(op);
	}
	return err;
}

static void write_all_drop(const struct object_part *parts, uint32_t n, struct pagevec *pvs,
			   struct mutate *const *ms, uint32_t made)
{
	for (uint32_t i = 0; i < made; i++)
		mutate_drop(ms[i]);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < parts[i].nranges; k++)
			pagevec_fini(pvs++);
}

void object_write_all(const struct object_part *parts, uint32_t n, struct pagevec *pvs,
		      object_all_cb cb, void *ctx)
{
	struct mutate *ms[OBJECT_PARTS_MAX];
	struct mutate_all *all = NULL;
	uint64_t none = 0;
	uint32_t made = 0;
	uint32_t at = n;
	int err;

	ASSERT_LOOP();
	assert(n > 0 && n <= OBJECT_PARTS_MAX);
	err = write_all_refused(parts, n, &at);
	if (err == 0) {
		all = mutate_all_new(n, cb, ctx);
		err = all ? write_parts_new(parts, n, pvs, ms, &made) : -ERR_NOMEM;
	}
	if (err == 0) {
		mutate_start_all(all, ms);
		return;
	}
	write_all_drop(parts, n, pvs, ms, made);
	free(all);
	cb(ctx, err, at, &none);
}
