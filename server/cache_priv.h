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

#include "common/bits.h"
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
	struct folio *next; /* of its chain */
	struct cache_object *co;
	uint32_t dirty;
	uint32_t placed;   /* of those: they own their place on the device, and no reservation */
	uint32_t staged;   /* and the page is the last frozen one, or dirty as well */
	uint32_t held;	   /* there is a page */
	uint32_t fetching; /* a fetch of these is under way */
	uint32_t pins;	   /* cache_pin() calls, and one for each fetch */
	TAILQ_ENTRY(folio) dirty_link; /* while dirty */
	TAILQ_ENTRY(folio) busy_link;  /* while dirty or staged */
	TAILQ_ENTRY(folio) object_link;
	struct folio_place *places; /* FOLIO_BLKS of them, or NULL: none was ever needed */
	uint32_t
	    dropped;   /* of what is fetched: written or truncated meanwhile, what comes is old */
	uint32_t keep; /* of what is fetched: somebody wants them kept for others */
	struct waiter_list waiters;
	struct page *pages[FOLIO_BLKS];
};

/* To sort them by, without a look at each. */
struct folio_ref {
	uint64_t idx;
	struct folio *folio;
};

struct cache {
	struct page_pool *pool;
	struct fetcher *fetcher;
	struct blkcache *clean;
	struct xlate *xlate;
	size_t limit_pages;
	size_t beside_bytes; /* of others, as the limit holds for them too */
	size_t nbusy;	     /* blocks dirty or staged */
	void (*unplaced)(void *ctx, pblk_t blk, uint64_t nblks);
	void *unplaced_ctx;
	struct folio **chains; /* all folios, by the hash of the key; sized once */
	unsigned int hash_shift;
	size_t nfolios;
	struct folio_list spare; /* without anything in them, to be used again */
	size_t nspare;
	struct cache_stats stats; /* the counters in it */
};

static inline uint32_t folio_bit(lblk_t blk)
{
	return 1u << (blk.n & (FOLIO_BLKS - 1));
}

static inline uint32_t folio_bits(uint32_t mask)
{
	return bits_count32(mask);
}

/* Visits the numbers of the bits of a mask. */
#define FOLIO_FOREACH(i, mask)                                                               \
	for (uint32_t left_ = (mask), i; left_ && ((i) = (uint32_t)__builtin_ctz(left_), 1); \
	     left_ &= left_ - 1)

/* The block, which had no page, has that one; takes over the reference. */
static inline void folio_hold(struct folio *folio, uint32_t i, struct page *page)
{
	folio->pages[i] = page;
	folio->held |= 1u << i;
}

static inline lblk_t folio_blk(const struct folio *folio, uint32_t i)
{
	return lblk((folio->key.idx << FOLIO_SHIFT) + i);
}

/* The table of them; -ERR_NOMEM.  At the end none is left. */
int cache_folios_init(struct cache *cache) MUST_CHECK;
void cache_folios_fini(struct cache *cache);

struct folio *cache_folio_find(struct cache_object *co, uint64_t idx);

/* Finds or makes it; NULL: out of memory. */
struct folio *cache_folio_make(struct cache_object *co, uint64_t idx);

/* To be called after anything in it has come to an end: it lets go of what it need not hold, and
 * frees itself when that is all. */
void cache_folio_settle(struct folio *folio);

/* Sets the dirty and staged masks, and keeps the counters and the lists true. */
void cache_folio_set_busy(struct folio *folio, uint32_t dirty, uint32_t staged);

/* The masked blocks are not placed any more; where they were is the caller's to see to. */
void cache_folio_set_unplaced(struct folio *folio, uint32_t mask);

/* Gives up the places of the masked blocks, those in one piece together. */
void cache_folio_unplace(struct folio *folio, uint32_t mask);

/* Forgets the masked blocks, whatever they are, and what a fetch under way will bring of them. */
void cache_folio_drop(struct folio *folio, uint32_t mask);

/* The page of a block that is neither dirty nor staged, by where it is; NULL: to be filled.  "use":
 * somebody wants its bytes. */
struct page *cache_clean_page(struct cache_object *co, lblk_t blk, bool use);

#endif
