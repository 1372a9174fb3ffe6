/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc.h: the free blocks of the data device, in memory.  Pure: no I/O, no clock.
 *
 * The map's free table is the durable truth; this is its copy minus what has been handed out and
 * not yet committed.  A crash forgets it, and so leaks nothing.  One thread: the loop.
 *
 * Space is promised before it is used: a block is reserved when it becomes dirty, and an allocation
 * uses up a reservation, so that writeback never meets a full device (invariant 3).
 * Always: reserved <= free.
 *
 * Beside that some of what is free and not reserved is not for everybody: what is withheld for objects that
 * have a reservation (object_promise.h), and what is kept back so that these can write over what they have.
 * That may be more than there is just now.
 */
#ifndef SERVER_ALLOC_H
#define SERVER_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"

struct alloc;

/* Empty: everything is in use.  NULL: out of memory. */
struct alloc *alloc_new(void);
void alloc_free(struct alloc *al);

/* Makes blocks free: at start from the map, later when a freed extent may be reused.  Merges with
 * its neighbours; overlap with a free block is a bug (assert).  -ERR_NOMEM. */
int alloc_add(struct alloc *al, pblk_t blk, uint64_t nblks) MUST_CHECK;

/* Promises nblks; -ERR_NOSPC when fewer than that are free and neither promised nor withheld or kept
 * back. */
int alloc_reserve(struct alloc *al, uint64_t nblks) MUST_CHECK;

/* The same where they are due: withheld for who asks, or for what has been acknowledged.  -ERR_NOSPC when
 * fewer are free and not promised. */
int alloc_reserve_due(struct alloc *al, uint64_t nblks) MUST_CHECK;

/* The same for who needs more than the "own" that are withheld for it.  "returns": it may use what is kept
 * back, since as many come back to it. */
int alloc_reserve_beyond(struct alloc *al, uint64_t nblks, uint64_t own, bool returns) MUST_CHECK;

/* One part of what is withheld becomes another; whether there is as much is the caller's to ask. */
void alloc_withhold(struct alloc *al, uint64_t was_nblks, uint64_t is_nblks);

/* So many are kept back. */
void alloc_keep_back(struct alloc *al, uint64_t nblks);

/* Is all that is withheld and kept back there, with what is coming? */
bool alloc_keeps(const struct alloc *al, uint64_t coming_nblks);

/* Takes a promise back. */
void alloc_unreserve(struct alloc *al, uint64_t nblks);

/*
 * Takes up to nblks contiguous blocks out of the free ones and out of the promise; *got is at least
 * 1 and as many as can be had in one piece: the whole where some free extent is large enough
 * (ascending from where the last allocation ended, so that what is written together lies together),
 * else the largest.  Cannot fail while reserved >= nblks >= 1.
 */
void alloc_take(struct alloc *al, uint64_t nblks, pblk_t *blk, uint64_t *got);

/* Where a single block would be allocated now; 0 where nothing is free. */
pblk_t alloc_next(const struct alloc *al);

/* The first free block at or behind "from", and how many follow each other from there on; 0: none. */
uint64_t alloc_find(const struct alloc *al, pblk_t from, pblk_t *blk);

/*
 * Takes exactly these blocks out of the free ones, and of no promise: for who gives them back with
 * alloc_add().  -ERR_BUSY: they are not all free; -ERR_NOSPC: too much is promised; -ERR_NOMEM.
 */
int alloc_take_range(struct alloc *al, pblk_t blk, uint64_t nblks) MUST_CHECK;

uint64_t alloc_free_nblks(const struct alloc *al);
uint64_t alloc_reserved_nblks(const struct alloc *al);
uint64_t alloc_withheld_nblks(const struct alloc *al);
uint64_t alloc_kept_nblks(const struct alloc *al);

#endif
