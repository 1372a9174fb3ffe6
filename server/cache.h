/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache.h: the buffer cache: the blocks of objects that are in memory, in folios of 32 blocks.
 *
 * A block is uptodate when its folio has a page for it.  Pages never change once they are here: a
 * write puts another page in place (page.h), so whoever holds a reference keeps what it saw.
 *
 *	           cache_fill                cache_freeze            cache_committed
 *	empty -> filling -> clean   dirty ---------------> staged -------------------> clean
 *	  ^                   |       ^ |                    |
 *	  `-- eviction -------'       | `-- cache_write -----'  (a new version is dirty; the frozen
 *	                 cache_write -'                          one lives on in its batch)
 *
 * "dirty": in the object's open epoch.  "staged": frozen, on its way to the device and the map, and
 * not to be found there yet.  A block is evicted only when it is neither and its folio not pinned;
 * so what is not in the cache is in the map (or is a hole that the object knows of).
 *
 * Only the loop thread is here.  The cache keeps to its limit by evicting the folios that were used
 * least recently; dirty and staged blocks it cannot evict, object_write.c bounds them.
 */
#ifndef SERVER_CACHE_H
#define SERVER_CACHE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/fetch.h"
#include "server/page.h"
#include "server/writeback.h"

#define FOLIO_SHIFT 5
#define FOLIO_BLKS  (1u << FOLIO_SHIFT)

struct cache;
struct cache_fetch;
struct folio;

TAILQ_HEAD(folio_list, folio);

/* One object's part of the cache, embedded in the object. */
struct cache_object {
	struct cache *cache;
	uint64_t oid;
	struct folio_list folios; /* all of it */
	struct folio_list busy;	  /* those with dirty or staged blocks */
	uint64_t ndirty;	  /* blocks */
	uint64_t nfetching;	  /* fetches under way */
};

/* Waits for blocks to be filled in; embedded in the operation. */
struct cache_waiter {
	STAILQ_ENTRY(cache_waiter) link;
	const struct cache_fetch *fetch; /* private: started for it, or NULL */
	/* err: the fetch that was started for it failed.  On 0 look again: the blocks are there,
	 * or were truncated away, or have to be fetched for it. */
	void (*ready)(struct cache_waiter *waiter, int err);
};

/* NULL: out of memory.  limit_pages bounds pool's pages in use as far as eviction can. */
struct cache *cache_new(struct page_pool *pool, struct fetcher *fetcher, size_t limit_pages);
void cache_free(struct cache *cache);

/* Dirty and staged blocks of all objects. */
size_t cache_busy_pages(const struct cache *cache);

void cache_object_init(struct cache_object *co, struct cache *cache, uint64_t oid) LOOP_FN;

/* Drops every block, dirty ones too; no fetch may be under way and nothing pinned. */
void cache_object_fini(struct cache_object *co) LOOP_FN;

/* The block's page (no reference is taken), or NULL when it is not uptodate. */
struct page *cache_find(struct cache_object *co, lblk_t blk) LOOP_FN;

/* Is the block in the object's open epoch? */
bool cache_is_dirty(struct cache_object *co, lblk_t blk) LOOP_FN;

/*
 * Brings in those of the blocks [blk, blk + nblks), all of one folio, that are not uptodate: at
 * least one is not.  The waiter is called later, once, when a fetch of the folio has ended; then
 * look again. -ERR_NOMEM: it is not called.
 */
int cache_fill(struct cache_object *co, lblk_t blk, uint32_t nblks,
	       struct cache_waiter *waiter) LOOP_FN MUST_CHECK;

/*
 * Makes sure that cache_write() of these blocks cannot fail, and keeps what is there from being
 * evicted until the same range is unpinned.  -ERR_NOMEM: nothing is pinned.
 */
int cache_pin(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN MUST_CHECK;
void cache_unpin(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN;

/* Puts a page in place and makes the block dirty; takes over the reference.  The block is pinned.
 */
void cache_write(struct cache_object *co, lblk_t blk, struct page *page) LOOP_FN;

/*
 * Moves all dirty blocks into a new array, in ascending order, each with a reference for the
 * taker; they are staged now.  -ERR_NOMEM: nothing has changed.
 */
int cache_freeze(struct cache_object *co, struct writeback_blk **blks,
		 uint32_t *nblks) LOOP_FN MUST_CHECK;

/* The frozen version is in the map: where the block still holds it, it is clean now. */
void cache_committed(struct cache_object *co, const struct writeback_blk *blks,
		     uint32_t nblks) LOOP_FN;

/* Drops everything from blk on, and what fetches under way will bring of it.  Returns how many of
 * the dropped blocks were dirty. */
uint64_t cache_truncate(struct cache_object *co, lblk_t blk) LOOP_FN;

/* A run of blocks that the map does not know of yet. */
struct cache_run {
	lblk_t blk;
	uint64_t nblks;
};

/* The dirty and staged blocks in [blk, blk + nblks), in ascending order, in an array to be freed.
 * -ERR_NOMEM. */
int cache_busy_runs(struct cache_object *co, lblk_t blk, uint64_t nblks, struct cache_run **runs,
		    size_t *nruns) LOOP_FN MUST_CHECK;

/* Evicts what it can until the pool is within the limit. */
void cache_shrink(struct cache *cache) LOOP_FN;

#endif
