/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache.h: the buffer cache.  What is clean is known by its physical block, so that one copy serves
 * every object that maps it; what is dirty or on its way is known by object and block.
 *
 *	folios    (object, block)     dirty, staged, or held for who has asked for it
 *	xlate.h   (object, block) ->  a hole, or a physical block
 *	blkcache  physical block ->   a clean page
 *
 * Pages never change once they are here: a write puts another page in place (page.h), so whoever
 * holds a reference keeps what it saw.
 *
 *	           cache_fill              cache_freeze_now          cache_committed
 *	empty -> filling -> clean   dirty ---------------> staged -------------------> clean
 *	  ^                   |       ^ |                    |
 *	  `-- eviction -------'       | `-- cache_write -----'  (a new version is dirty; the frozen
 *	                 cache_write -'                          one lives on in its batch)
 *
 * "dirty": in the object's open epoch.  "staged": frozen, on its way to the device and the map, and
 * not to be found there yet.  Such a block is never evicted; so what is not in the cache is in the
 * map (or is a hole that the object knows of).
 *
 * "placed": dirty, and its data is on the device already, in blocks that no map names (cache_place()).
 * The folio owns these blocks until the epoch is frozen, then the batch does; what is written over or
 * dropped before that gives them back.  Nobody reads them there meanwhile: who looks for the block
 * finds the page.  Once committed such a block is past the cache: only its translation is kept.
 *
 * A folio is there while it has dirty or staged blocks, is pinned, or is being filled; and while it
 * is there for one of the latter two it holds what is filled in, so that who waited finds it however
 * small the cache is.
 *
 * Only the loop thread is here.  The cache keeps to its limit by evicting clean pages (blkcache.h);
 * dirty and staged blocks it cannot evict, object_write.c bounds them.
 */
#ifndef SERVER_CACHE_H
#define SERVER_CACHE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/change.h"
#include "server/fetch.h"
#include "server/page.h"
#include "server/writeback.h"
#include "server/xlate.h"

#define FOLIO_SHIFT 5
#define FOLIO_BLKS  (1u << FOLIO_SHIFT)

struct cache;
struct cache_fetch;
struct folio;
struct folio_ref;

TAILQ_HEAD(folio_list, folio);

/* One object's part of the cache, embedded in the object. */
struct cache_object {
	struct cache *cache;
	uint64_t oid;
	struct xlate_object xlate;
	struct folio_list folios; /* all of it */
	struct folio_list busy;	  /* those with dirty or staged blocks */
	struct folio_list dirty;  /* those with dirty ones */
	struct folio *last;	  /* the one asked for last, or NULL */
	uint64_t ndirty;	  /* blocks */
	uint64_t nplaced;	  /* of these */
	uint64_t ndirty_folios;	  /* that they are in */
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

/*
 * For a device of dev_nblks blocks.  limit_pages bounds the pool's pages in use, and what the cache
 * needs to know of them, as far as eviction can.  NULL: out of memory.
 */
struct cache *cache_new(struct page_pool *pool, struct fetcher *fetcher, size_t limit_pages,
			uint64_t dev_nblks);
void cache_free(struct cache *cache);

/* fn is LOOP_FN: blocks of the device in which a dirty block was placed, and that are nobody's now. */
void cache_on_unplaced(struct cache *cache, void (*fn)(void *ctx, pblk_t blk, uint64_t nblks),
		       void *ctx);

/* Dirty and staged blocks of all objects. */
size_t cache_busy_pages(const struct cache *cache);

void cache_object_init(struct cache_object *co, struct cache *cache, uint64_t oid) LOOP_FN;

/* Drops every block, dirty ones too; no fetch may be under way and nothing pinned. */
void cache_object_fini(struct cache_object *co) LOOP_FN;

/* The block's page (no reference is taken), the page of zeros for a hole, or NULL: to be filled. */
struct page *cache_find(struct cache_object *co, lblk_t blk) LOOP_FN;

/* Is the block in the object's open epoch?  In that or a frozen one?  In the open one, and has a
 * reservation, since it is not placed?  Is any block of its folio in that epoch? */
bool cache_is_dirty(struct cache_object *co, lblk_t blk) LOOP_FN;
bool cache_is_busy(struct cache_object *co, lblk_t blk) LOOP_FN;
bool cache_is_promised(struct cache_object *co, lblk_t blk) LOOP_FN;
bool cache_is_dirty_folio(struct cache_object *co, lblk_t blk) LOOP_FN;

/*
 * Brings in those of the blocks [blk, blk + nblks), all of one folio, that cache_find() does not
 * find: at least one.  The waiter is called later, once: when the fetch has ended that was started for
 * it, or, where all is on its way already or was written meanwhile, any of the folio; what it brought is
 * there while the waiter looks again.  -ERR_NOMEM, -ERR_SHUTDOWN: the waiter is not
 * called.
 */
int cache_fill(struct cache_object *co, lblk_t blk, uint32_t nblks,
	       struct cache_waiter *waiter) LOOP_FN MUST_CHECK;

/*
 * The same for who goes past the cache: what it brings is there while the waiter looks, and is not
 * kept, unless somebody else has asked for it meanwhile by one of the other calls.
 */
int cache_fill_past(struct cache_object *co, lblk_t blk, uint32_t nblks,
		    struct cache_waiter *waiter) LOOP_FN MUST_CHECK;

/*
 * The same for who thinks that the blocks will be wanted: how many of them are being fetched for it
 * now.  0, where all are there or on their way or there is no memory: the waiter is not called.
 */
uint32_t cache_fill_ahead(struct cache_object *co, lblk_t blk, uint32_t nblks,
			  struct cache_waiter *waiter) LOOP_FN MUST_CHECK;

/*
 * Makes sure that cache_write() of these blocks cannot fail, and holds what is filled in of them
 * from now on until the same range is unpinned.  -ERR_NOMEM: nothing is pinned.
 */
int cache_pin(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN MUST_CHECK;
void cache_unpin(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN;

/* Puts a page in place and makes the block dirty; takes over the reference.  The block is pinned.
 */
void cache_write(struct cache_object *co, lblk_t blk, struct page *page) LOOP_FN;

/*
 * The same for a page whose data, of this checksum, is on the device: takes over the block there too.
 * cache_make_places() has been called since these blocks were pinned; -ERR_NOMEM.
 */
int cache_make_places(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN MUST_CHECK;
void cache_place(struct cache_object *co, lblk_t blk, struct page *page, pblk_t at,
		 uint32_t csum) LOOP_FN;

/* The memory that a freezing needs, taken beforehand.  Zeroed: none. */
struct cache_freezing {
	struct writeback_blk *blks;
	struct folio_ref *folios;
	size_t nfolios;
};

/*
 * Freezing moves all dirty blocks into a new array, in ascending order, each with a reference for the
 * taker; they are staged now.  It cannot fail once it has been prepared; nothing becomes dirty
 * between.  -ERR_NOMEM: nothing has changed.
 */
int cache_freeze_prepare(struct cache_object *co, struct cache_freezing *fz) LOOP_FN MUST_CHECK;
void cache_freeze_now(struct cache_object *co, struct cache_freezing *fz,
		      struct writeback_blk **blks, uint32_t *nblks) LOOP_FN;
void cache_freeze_drop(struct cache_freezing *fz);

/*
 * The frozen versions are in the map, at these extents, which name the same blocks in the same
 * order.  They are clean blocks of the device now, for every object, but for those that were placed;
 * and where the block still holds this version it is not staged any more.
 */
void cache_committed(struct cache_object *co, const struct writeback_blk *blks, uint32_t nblks,
		     const struct change_extent *extents, uint32_t nextents) LOOP_FN;

/* Drops [blk, blk + nblks), and what fetches under way will bring of it.  Returns how many of the
 * dropped blocks had a reservation. */
uint64_t cache_punch(struct cache_object *co, lblk_t blk, uint64_t nblks) LOOP_FN;

/* A run of blocks that the map does not know of yet. */
struct cache_run {
	lblk_t blk;
	uint64_t nblks;
};

/* The dirty and staged blocks in [blk, blk + nblks), in ascending order, in an array to be freed.
 * -ERR_NOMEM. */
int cache_busy_runs(struct cache_object *co, lblk_t blk, uint64_t nblks, struct cache_run **runs,
		    size_t *nruns) LOOP_FN MUST_CHECK;

/* ---- blocks of the device -------------------------------------------------------------------- */

/* Nothing maps these blocks any more: what is evictable of them gives way to what somebody may look for.
 * Who has looked them up before reads them from the device, where they still are. */
void cache_unmapped(struct cache *cache, pblk_t blk, uint64_t nblks) LOOP_FN;

/* These blocks are about to be allocated again: what was there is forgotten. */
void cache_freed(struct cache *cache, pblk_t blk, uint64_t nblks) LOOP_FN;

/*
 * The data of these blocks is committed before it is written to them.  To be called before the
 * change is submitted: from then on nobody reads the blocks from the device, and once committed they
 * stay in memory.  That ends with cache_home(), when they have been written, or will not be.
 */
void cache_away(struct cache *cache, pblk_t blk, uint64_t nblks) LOOP_FN;
void cache_home(struct cache *cache, pblk_t blk, uint64_t nblks) LOOP_FN;

/* Which of them are so, for who reads from the device by other means: blkcache_is_pinned(). */
const struct blkcache *cache_clean_blks(const struct cache *cache);

/* The committed page of a block of the device (no reference is taken), or NULL: not in memory. */
struct page *cache_page_at(struct cache *cache, pblk_t blk) LOOP_FN;

/*
 * Pages in use that are not among the clean ones, and so do not give way: dirty and staged ones, payloads, what is
 * being filled, and what is still to be sent of blocks that are evicted or other by now.
 */
size_t cache_held_pages(const struct cache *cache) LOOP_FN;

/* Others have so much memory, for which the limit holds too, up to an eighth of it. */
void cache_set_beside(struct cache *cache, uint64_t bytes) LOOP_FN;

/* Evicts until the limit is kept, as far as a bounded number of looks comes. */
void cache_shrink(struct cache *cache) LOOP_FN;

struct cache_stats {
	uint64_t hits;	      /* blocks found, but by who had waited for them to be filled */
	uint64_t misses;      /* blocks that had to be waited for */
	uint64_t read_nblks;  /* from the device */
	uint64_t ahead_nblks; /* asked for by cache_fill_ahead() */
	uint64_t evicted_nblks;
	uint64_t away_nblks; /* now: cache_away() */
	size_t clean_pages;  /* now */
	size_t xlate_bytes;  /* now */
};

void cache_get_stats(const struct cache *cache, struct cache_stats *stats) LOOP_FN;

#endif
