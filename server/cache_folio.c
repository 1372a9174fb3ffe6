/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache_folio.c: folios: finding them, what they hold, and their end.
 */
#include <stdlib.h>

#include "common/err.h"
#include "server/cache_priv.h"

/* Folios kept for those to come: two epochs and more of scattered blocks, and a part of the limit. */
#define SPARE_MAX	 4096u
#define SPARE_PART	 128u
#define PAGES_A_CHAIN	 8u /* few of them are in folios of their own */
#define CHAINS_SHIFT_MIN 8u

int cache_folios_init(struct cache *cache)
{
	size_t nchains = (size_t)1 << CHAINS_SHIFT_MIN;

	TAILQ_INIT(&cache->spare);
	cache->hash_shift = 64 - CHAINS_SHIFT_MIN;
	for (; nchains < cache->limit_pages / PAGES_A_CHAIN; nchains *= 2)
		cache->hash_shift--;
	cache->chains = calloc(nchains, sizeof(struct folio *));
	return cache->chains ? 0 : -ERR_NOMEM;
}

void cache_folios_fini(struct cache *cache)
{
	struct folio *folio;
	struct folio *next;

	assert(cache->nfolios == 0);
	TAILQ_FOREACH_SAFE (folio, &cache->spare, object_link, next)
		free(folio);
	free(cache->chains);
}

/* The golden ratio's fraction is what both are multiplied by: the upper bits are the hash. */
static struct folio **folio_chain(const struct cache *cache, struct folio_key key)
{
	uint64_t hash = key.oid * UINT64_C(0x9e3779b97f4a7c15);

	hash = ((hash ^ hash >> 32) + key.idx) * UINT64_C(0x9e3779b97f4a7c15);
	return &cache->chains[hash >> cache->hash_shift];
}

struct folio *cache_folio_find(struct cache_object *co, uint64_t idx)
{
	struct folio_key key = {co->oid, idx};
	struct folio *folio = co->last;

	if (folio && folio->key.idx == idx)
		return folio;
	if (TAILQ_EMPTY(&co->folios))
		return NULL;
	folio = *folio_chain(co->cache, key);
	while (folio && (folio->key.idx != idx || folio->key.oid != co->oid))
		folio = folio->next;
	if (folio)
		co->last = folio;
	return folio;
}

/* One of those that were given back is as a new one. */
static struct folio *folio_new(struct cache *cache)
{
	struct folio *folio = TAILQ_FIRST(&cache->spare);

	if (!folio)
		return calloc(1, sizeof(*folio));
	TAILQ_REMOVE(&cache->spare, folio, object_link);
	cache->nspare--;
	return folio;
}

/* Nothing is in it, and nobody knows it any more. */
static void folio_free(struct cache *cache, struct folio *folio)
{
	assert(!(folio->dirty | folio->placed | folio->staged | folio->held | folio->fetching |
		 folio->pins | folio->dropped | folio->keep));
	free(folio->places);
	folio->places = NULL;
	if (cache->nspare >= SPARE_MAX || cache->nspare >= cache->limit_pages / SPARE_PART) {
		free(folio);
		return;
	}
	TAILQ_INSERT_HEAD(&cache->spare, folio, object_link);
	cache->nspare++;
}

struct folio *cache_folio_make(struct cache_object *co, uint64_t idx)
{
	struct cache *cache = co->cache;
	struct folio *folio = cache_folio_find(co, idx);
	struct folio **chain;

	if (folio)
		return folio;
	folio = folio_new(cache);
	if (!folio)
		return NULL;
	folio->key = (struct folio_key){co->oid, idx};
	folio->co = co;
	STAILQ_INIT(&folio->waiters);
	chain = folio_chain(cache, folio->key);
	folio->next = *chain;
	*chain = folio;
	cache->nfolios++;
	TAILQ_INSERT_TAIL(&co->folios, folio, object_link);
	co->last = folio;
	return folio;
}

static void folio_set_dirty(struct folio *folio, uint32_t dirty)
{
	struct cache_object *co = folio->co;

	assert(!(folio->placed & ~dirty));
	if (folio->dirty == dirty)
		return;
	co->ndirty += folio_bits(dirty);
	co->ndirty -= folio_bits(folio->dirty);
	if (!folio->dirty) {
		co->ndirty_folios++;
		TAILQ_INSERT_TAIL(&co->dirty, folio, dirty_link);
	} else if (!dirty) {
		co->ndirty_folios--;
		TAILQ_REMOVE(&co->dirty, folio, dirty_link);
	}
	folio->dirty = dirty;
}

void cache_folio_set_busy(struct folio *folio, uint32_t dirty, uint32_t staged)
{
	struct cache_object *co = folio->co;
	uint32_t was = folio->dirty | folio->staged;
	uint32_t is = dirty | staged;

	folio_set_dirty(folio, dirty);
	folio->staged = staged;
	if (was == is)
		return;
	co->cache->nbusy += folio_bits(is);
	co->cache->nbusy -= folio_bits(was);
	if (!was)
		TAILQ_INSERT_TAIL(&co->busy, folio, busy_link);
	else if (!is)
		TAILQ_REMOVE(&co->busy, folio, busy_link);
}

void cache_folio_set_unplaced(struct folio *folio, uint32_t mask)
{
	folio->co->nplaced -= folio_bits(folio->placed & mask);
	folio->placed &= ~mask;
}

void cache_folio_unplace(struct folio *folio, uint32_t mask)
{
	struct cache *cache = folio->co->cache;
	uint32_t left = folio->placed & mask;

	cache_folio_set_unplaced(folio, mask);
	while (left) {
		uint32_t first = (uint32_t)__builtin_ctz(left);
		pblk_t at = folio->places[first].at;
		uint32_t n = 0;

		while (first + n < FOLIO_BLKS && left & 1u << (first + n) &&
		       folio->places[first + n].at.n == at.n + n) {
			left &= ~(1u << (first + n));
			n++;
		}
		cache->unplaced(cache->unplaced_ctx, at, n);
	}
}

/* Puts the pages of the masked blocks, which are neither dirty nor staged. */
static void folio_let_go(struct folio *folio, uint32_t mask)
{
	assert(!(mask & (folio->dirty | folio->staged)));
	mask &= folio->held;
	folio->held &= ~mask;
	FOLIO_FOREACH (i, mask) {
		page_put(folio->pages[i]);
		folio->pages[i] = NULL;
	}
}

void cache_folio_drop(struct folio *folio, uint32_t mask)
{
	folio->dropped |= folio->fetching & mask;
	cache_folio_unplace(folio, mask);
	cache_folio_set_busy(folio, folio->dirty & ~mask, folio->staged & ~mask);
	folio_let_go(folio, mask);
}

void cache_folio_settle(struct folio *folio)
{
	struct cache *cache = folio->co->cache;
	uint32_t busy = folio->dirty | folio->staged;
	struct folio **link;

	if (folio->pins > 0)
		return;
	folio_let_go(folio, ~busy);
	if (busy)
		return;
	assert(folio->fetching == 0 && STAILQ_EMPTY(&folio->waiters));
	for (link = folio_chain(cache, folio->key); *link != folio; link = &(*link)->next)
		;
	*link = folio->next;
	cache->nfolios--;
	TAILQ_REMOVE(&folio->co->folios, folio, object_link);
	if (folio->co->last == folio)
		folio->co->last = NULL;
	folio_free(cache, folio);
}
