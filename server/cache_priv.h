/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache_priv.h: what the files of the cache share: folios.  Nobody else includes it.  All of it
 * belongs to the loop thread.
 */
#ifndef SERVER_CACHE_PRIV_H
#define SERVER_CACHE_PRIV_H

#include <assert.h>
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "server/blkcache.h"
#include "server/cache.h"

STAILQ_HEAD(waiter_list, cache_waiter);

struct folio_key {
	uint64_t oid;
	uint64_t idx; /* of the folio in the object */
};

/* Where the data of a dirty block has been written, ahead of its epoch. */
struct folio_place {
	pblk_t at;
	uint32_t csum;
};

/*
 * Block masks have bit i for block idx * FOLIO_BLKS + i.  A page is there for a block that is dirty
 * or staged; for another only while the folio is pinned.
 */
struct folio {
	struct folio_key key;
	struct cache_object *co;
	struct page *pages[FOLIO_BLKS];
	struct folio_place *places; /* FOLIO_BLKS of them, or NULL: none was ever needed */
	uint32_t dirty;
	uint32_t placed;   /* of those: they own their place on the device, and no reservation */
	uint32_t staged;   /* and the page is the last frozen one, or dirty as well */
	uint32_t fetching; /* a fetch of these is under way */
	uint32_t dropped;  /* of those: written or truncated meanwhile, what comes is old */
	uint32_t keep;	   /* of those: somebody wants them kept for others */
	uint32_t pins;	   /* cache_pin() calls, and one for each fetch */
	struct waiter_list waiters;
	UT_hash_handle hh;
	TAILQ_ENTRY(folio) object_link;
	TAILQ_ENTRY(folio) busy_link; /* while dirty or staged */
};

struct cache {
	struct page_pool *pool;
	struct fetcher *fetcher;
	struct blkcache *clean;
	struct xlate *xlate;
	size_t limit_pages;
	size_t nbusy; /* blocks dirty or staged */
	void (*unplaced)(void *ctx, pblk_t blk, uint64_t nblks);
	void *unplaced_ctx;
	struct folio *folios;	  /* uthash by key */
	struct cache_stats stats; /* the counters in it */
};

static inline uint32_t folio_bit(lblk_t blk)
{
	return 1u << (blk.n & (FOLIO_BLKS - 1));
}

static inline uint32_t folio_bits(uint32_t mask)
{
	return (uint32_t)__builtin_popcount(mask);
}

static inline lblk_t folio_blk(const struct folio *folio, uint32_t i)
{
	return lblk((folio->key.idx << FOLIO_SHIFT) + i);
}

struct folio *cache_folio_find(struct cache_object *co, uint64_t idx);

/* Finds or makes it; NULL: out of memory. */
struct folio *cache_folio_make(struct cache_object *co, uint64_t idx);

/* To be called after anything in it has come to an end: it lets go of what it need not hold, and
 * frees itself when that is all. */
void cache_folio_settle(struct folio *folio);

/* The page of a block that is neither dirty nor staged, by where it is; NULL: to be filled.  "use":
 * somebody wants its bytes. */
struct page *cache_clean_page(struct cache_object *co, lblk_t blk, bool use);

#endif
