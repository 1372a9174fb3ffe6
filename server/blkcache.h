/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkcache.h: clean blocks in memory, by where they are on the device, so that one copy serves every
 * object that maps the block.
 *
 * It owns a reference on each page that it has, and the two bitmaps that other threads may look at;
 * all else is the loop's.  A page here holds what a look-up of the map that says "physical block P"
 * means: it was read and verified, or is what has been committed to P.  It leaves before P can be
 * allocated again (cache_freed()).
 *
 * What stays is decided by S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are all you need
 * for cache eviction", SOSP 2023), so that one long scan does not drive out what is used often:
 *
 *	insert --> small (a tenth) --used twice or more--> main --not used since--> out
 *	             `-- else --> out, its number noted        ^  `--used--> main again
 *	insert of a noted number ------------------------------'
 *
 * Pinned blocks are those that the device does not have yet: what is in memory of them stays until
 * they are unpinned, and nobody may read them from the device.
 *
 * Every call looks at a bounded number of pages.  The tables are sized once and never move.
 */
#ifndef SERVER_BLKCACHE_H
#define SERVER_BLKCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/page.h"

struct blkcache;

/* For about limit_pages pages of a device of dev_nblks blocks.  NULL: out of memory. */
struct blkcache *blkcache_new(size_t limit_pages, uint64_t dev_nblks);
/* Puts its pages; NULL is allowed. */
void blkcache_free(struct blkcache *bc);

/* The block's page (no reference is taken) or NULL.  Finding it counts as a use, a peek does not. */
struct page *blkcache_find(struct blkcache *bc, pblk_t blk) LOOP_FN;
struct page *blkcache_peek(const struct blkcache *bc, pblk_t blk) LOOP_FN;

/*
 * Puts a page in, with a reference of its own.  Where there is one for the block it stays, and the
 * other is left alone.  Never the page of zeros, nor a page that is in here for another block.
 */
void blkcache_insert(struct blkcache *bc, pblk_t blk, struct page *page) LOOP_FN;

/* Forgets what it has of these blocks, pinned or not. */
void blkcache_drop(struct blkcache *bc, pblk_t blk, uint64_t nblks) LOOP_FN;

/* The same, but for those that are pinned: what an eviction may do at any time. */
void blkcache_forget(struct blkcache *bc, pblk_t blk, uint64_t nblks) LOOP_FN;

/*
 * Evicts up to want pages; returns how many.  Fewer where it would have to look at too many, or
 * where all others are pinned or referenced elsewhere too (evicting those gains nothing).
 */
size_t blkcache_evict(struct blkcache *bc, size_t want) LOOP_FN;

/* Blocks that the device does not have yet, in memory or about to be put in. */
void blkcache_pin(struct blkcache *bc, pblk_t blk, uint64_t nblks) LOOP_FN;
void blkcache_unpin(struct blkcache *bc, pblk_t blk, uint64_t nblks) LOOP_FN;

/* Is it here?  A hint: it may have changed by the time that the caller acts. */
bool blkcache_hint(const struct blkcache *bc, pblk_t blk) ANY_FN;

/* True from before the change that maps a pinned block was submitted until the device has it. */
bool blkcache_is_pinned(const struct blkcache *bc, pblk_t blk) ANY_FN;

struct blkcache_stats {
	size_t pages;
	uint64_t pinned;  /* blocks */
	uint64_t evicted; /* pages since the beginning */
};

/* The memory of its tables, but for those that go by the blocks of the device. */
size_t blkcache_bytes(const struct blkcache *bc);

void blkcache_get_stats(const struct blkcache *bc, struct blkcache_stats *stats) LOOP_FN;

#endif
