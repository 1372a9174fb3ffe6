/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_unshare.c: blocks that are shared get copies of their own (Linux FALLOC_FL_UNSHARE_RANGE).
 *
 *	queued --> looked up --> filled, reserved --> copies dirty --> answered
 *	  |        a worker       |  object_mutate.c    in one turn
 *	  |        and the map    `- no space, an error: nothing has changed
 *	  `- behind those of all clients that came before
 *
 * The copies are other pages: a clean one belongs to the place on the device where it is, which the
 * others still map (blkcache.h).
 *
 * What was shared is known from the look-up, and may be something else when the copies are made: so
 * each is made of what its block is in that turn, and a block that was written or became a hole is not
 * touched.  One that is no longer shared is copied all the same, which does no harm.  What is staged
 * cannot be shared by a clone that was answered: that came to the map behind it.
 *
 * Only one is under way at a time, and it is bounded: however many are asked for, no more is read and
 * pinned for them than one has.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_mutate.h"

#define UNSHARE_MAX_BLKS   512u /* copied in one turn of the loop */
#define UNSHARE_MAX_PIECES 64u
#define UNSHARE_MAX_RUNS   512u

/* All may go into one epoch: the pieces begin and end within folios. */
static_assert(UNSHARE_MAX_BLKS <= EPOCH_MAX_BLKS, "an epoch");
static_assert(UNSHARE_MAX_BLKS / FOLIO_BLKS + 2 * UNSHARE_MAX_PIECES <= EPOCH_MAX_FOLIOS,
	      "an epoch");

struct unshare_copy {
	lblk_t blk;
	struct page *page;
};

struct unshare_op {
	TAILQ_ENTRY(unshare_op) link; /* of objs->unshares */
	bool begun;
	struct handle *handle;
	uint64_t off_bytes;
	uint64_t len_bytes;
	uint64_t end_bytes;	     /* of the range within the object, as it was looked up */
	uint64_t at_bytes;	     /* so far it is done with the pieces */
	struct mutate_piece *pieces; /* as many as there may be, from its beginning on */
	uint32_t npieces;
	uint32_t nblks; /* of these */
	struct mutate m;
	struct unshare_copy *copies; /* one for each block */
	uint32_t ncopies;
	object_unshare_cb cb;
	void *ctx;
};

static void unshare_next(struct objects *objs);

static void unshare_finish(struct unshare_op *op, int err)
{
	struct objects *objs = op->handle->obj->objs;
	uint64_t left = op->at_bytes < op->end_bytes ? op->end_bytes - op->at_bytes : 0;

	TAILQ_REMOVE(&objs->unshares, op, link);
	if (err < 0)
		op->cb(op->ctx, err, 0, 0, 0);
	else
		op->cb(op->ctx, 0, op->at_bytes - op->off_bytes, left, op->ncopies);
	free(op->pieces);
	free(op->copies);
	free(op);
	unshare_next(objs);
}

/* ---- copying --------------------------------------------------------------------------------- */

static int unshare_plan(struct mutate *m)
{
	const struct unshare_op *op = CONTAINER_OF(m, struct unshare_op, m);

	m->nwant = op->npieces;
	memcpy(m->want, op->pieces, op->npieces * sizeof(op->pieces[0]));
	return 0;
}

static bool unshare_keeps(struct mutate *m, lblk_t blk)
{
	(void)m;
	(void)blk;
	return true;
}

/* Makes a copy of a block if it may still be shared. */
static int unshare_copy(struct unshare_op *op, lblk_t blk, uint64_t *unused)
{
	struct object *obj = op->m.obj;
	struct page *base = object_page(obj, blk);
	struct page *page;

	if (cache_is_busy(&obj->cache, blk) || page_is_zero(base)) {
		*unused += !cache_is_promised(&obj->cache, blk);
		return 0;
	}
	page = page_new(obj->objs->pages);
	if (!page)
		return -ERR_NOMEM;
	memcpy(page->data, base->data, BLK_BYTES);
	op->copies[op->ncopies++] = (struct unshare_copy){blk, page};
	return 0;
}

static int unshare_make_copies(struct unshare_op *op, uint64_t *unused)
{
	int err = 0;

	for (uint32_t i = 0; i < op->npieces; i++) {
		const struct mutate_piece *piece = &op->pieces[i];

		for (uint32_t k = 0; k < piece->nblks && err == 0; k++)
			err = unshare_copy(op, lblk(piece->first.n + k), unused);
	}
	return err;
}

static int unshare_apply(struct mutate *m, uint64_t *unused)
{
	struct unshare_op *op = CONTAINER_OF(m, struct unshare_op, m);
	int err = unshare_make_copies(op, unused);

	if (err < 0) {
		while (op->ncopies > 0)
			page_put(op->copies[--op->ncopies].page);
		return err;
	}
	if (op->ncopies > 0)
		epoch_begin(m->obj);
	for (uint32_t i = 0; i < op->ncopies; i++)
		cache_write(&m->obj->cache, op->copies[i].blk, op->copies[i].page);
	return 0;
}

static void unshare_applied(struct mutate *m)
{
	(void)m; /* it is a part of the operation */
}

static const struct mutate_fns unshare_fns = {
    .plan = unshare_plan, .keeps = unshare_keeps, .apply = unshare_apply, .free = unshare_applied};

static LOOP_FN void unshare_copied(void *ctx, int err)
{
	unshare_finish(ctx, err);
}

static void unshare_start(struct unshare_op *op)
{
	op->m = (struct mutate){
	    .fns = &unshare_fns, .obj = op->handle->obj, .cb = unshare_copied, .ctx = op};
	op->copies = calloc(op->nblks, sizeof(op->copies[0]));
	if (!op->copies || mutate_init_whole(&op->m, op->npieces, op->nblks) < 0)
		unshare_finish(op, -ERR_NOMEM);
	else
		mutate_start(&op->m);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Takes the blocks [blk, end) into the pieces, as far as there is room: up to which one. */
static uint64_t unshare_take(struct unshare_op *op, uint64_t blk, uint64_t end)
{
	struct mutate_piece *last = op->npieces > 0 ? &op->pieces[op->npieces - 1] : NULL;

	if (end - blk > UNSHARE_MAX_BLKS - op->nblks)
		end = blk + UNSHARE_MAX_BLKS - op->nblks;
	if (end == blk)
		return blk;
	if (last && last->first.n + last->nblks == blk)
		last->nblks += (uint32_t)(end - blk);
	else if (op->npieces < UNSHARE_MAX_PIECES)
		op->pieces[op->npieces++] = (struct mutate_piece){lblk(blk), (uint32_t)(end - blk)};
	else
		return blk;
	op->nblks += (uint32_t)(end - blk);
	return end;
}

/* The runs are consecutive from the beginning of the range on. */
static LOOP_FN void unshare_found(void *ctx, int err, const struct object_run *runs, uint32_t n)
{
	struct unshare_op *op = ctx;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t end = op->at_bytes + runs[i].len_bytes;
		uint64_t until = blk_count(end);

		if (runs[i].shared)
			until = unshare_take(op, blk_of(op->at_bytes).n, until);
		if (until < blk_count(end)) {
			if (until << BLK_SHIFT > op->at_bytes)
				op->at_bytes = until << BLK_SHIFT;
			break;
		}
		op->at_bytes = end;
	}
	if (err < 0 || op->npieces == 0)
		unshare_finish(op, err);
	else
		unshare_start(op);
}

/* What of the range is within the object now. */
static void unshare_look(struct unshare_op *op)
{
	uint64_t size = op->handle->obj->size_bytes;

	op->at_bytes = op->off_bytes;
	op->end_bytes = size;
	if (op->off_bytes < size && op->len_bytes < size - op->off_bytes)
		op->end_bytes = op->off_bytes + op->len_bytes;
	op->pieces = calloc(UNSHARE_MAX_PIECES, sizeof(op->pieces[0]));
	if (!op->pieces) {
		unshare_finish(op, -ERR_NOMEM);
		return;
	}
	object_extents(op->handle, op->off_bytes, op->len_bytes, UNSHARE_MAX_RUNS, true,
		       unshare_found, op);
}

/* Begins the next one when none is under way.  One that has nothing to do ends while it is begun. */
static void unshare_next(struct objects *objs)
{
	struct unshare_op *op;

	if (objs->unshare_turn)
		return;
	objs->unshare_turn = true;
	while ((op = TAILQ_FIRST(&objs->unshares)) && !op->begun) {
		op->begun = true;
		unshare_look(op);
	}
	objs->unshare_turn = false;
}

void object_unshare(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
		    object_unshare_cb cb, void *ctx)
{
	struct objects *objs = handle->obj->objs;
	int err = mutate_refused(handle, 0, 0);
	struct unshare_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && off_bytes < handle->obj->size_bytes && len_bytes > 0) {
		op = calloc(1, sizeof(*op));
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		cb(ctx, err, 0, 0, 0);
		return;
	}
	op->handle = handle;
	op->off_bytes = off_bytes;
	op->len_bytes = len_bytes;
	op->cb = cb;
	op->ctx = ctx;
	TAILQ_INSERT_TAIL(&objs->unshares, op, link);
	unshare_next(objs);
}
