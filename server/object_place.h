/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_place.h: the blocks of a change whose data goes to the device before the change is applied,
 * and so past the cache: direct writes, and all writes on a mapped device.
 *
 *	place_add --> place_start: extents allocated, written --> place_take: the dirty block has its
 *	                 |  by workers (writeback.h)                place, and owns it (cache.h)
 *	                 `- failed on two attempts: nothing has changed
 *
 * What is allocated and was not taken is given back by place_free(): it was never in a map.  Nobody
 * else knows of these blocks until their epoch is committed.
 *
 * It is the loop's, and belongs to one struct mutate.
 */
#ifndef SERVER_OBJECT_PLACE_H
#define SERVER_OBJECT_PLACE_H

#include "server/object_state.h"

struct place;

/* For at most max blocks.  NULL: no memory. */
struct place *place_new(struct object *obj, uint32_t max) LOOP_FN;

/* The next block, in ascending order, and its page; "partial": bytes of it are those of the block as
 * it is, and are in the page before place_start(). */
void place_add(struct place *place, lblk_t blk, struct page *page, bool partial) LOOP_FN;

uint32_t place_count(const struct place *place) LOOP_FN;

/* Is the block one of these? */
bool place_has(struct place *place, lblk_t blk) LOOP_FN;

/*
 * The blocks are pinned, and reserved.  done() is called later, once.  -ERR_NOMEM: it is not, and
 * they are still reserved.  After an error, here or there, only place_free() is left.
 */
int place_start(struct place *place, void (*done)(void *ctx, int err),
		void *ctx) LOOP_FN MUST_CHECK;

/* Has the block a place that holds what it would be now?  A partial one has not where the block has
 * changed meanwhile. */
bool place_holds(struct place *place, lblk_t blk) LOOP_FN;

/* Gives those places up that hold what their blocks would not be any more: how many. */
uint64_t place_drop_stale(struct place *place) LOOP_FN;

/* The block, which has, becomes dirty and placed; takes over the reference to its page. */
void place_take(struct place *place, lblk_t blk, struct page *page) LOOP_FN;

/* It is not being written; NULL is allowed. */
void place_free(struct place *place) LOOP_FN;

#endif
