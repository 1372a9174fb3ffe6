/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache_fill.c: bringing blocks in.
 *
 * A fetch is of blocks of one folio, and a block is in one fetch at a time.  It ends when each of
 * its blocks has a page that the folio holds, was written or truncated meanwhile, or an error:
 *
 *	started --> read: the page it was read into          --> held, and in blkcache
 *	   ^        a hole: the page of zeros                --> held
 *	   |        skipped, and in blkcache: that page      --> held
 *	   |        skipped, and somebody reads it: wait ---.
 *	   `--------skipped, and gone again: read it --------' (blkcache's hint was old)
 */
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/cache_priv.h"

static_assert(FOLIO_BLKS == FETCH_MAX_BLKS, "a fetch is of one folio");

struct cache_fetch {
	struct fetch fetch;
	struct fetch_follower follower;
	struct folio *folio;
	uint32_t want;			/* what it was started for */
	uint32_t left;			/* of that: has no page yet */
	struct page *pages[FOLIO_BLKS]; /* to read into */
};

static void cache_fetch_submit(struct cache_fetch *cf, uint32_t want, uint32_t force)
{
	cf->fetch.want = want;
	cf->fetch.force = force;
	fetch_start(cf->folio->co->cache->fetcher, &cf->fetch);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Is another fetch under way for it, and is what that brings still wanted? */
static bool cache_waits_on(const struct folio *folio, const struct cache_waiter *waiter,
			   const struct cache_fetch *cf)
{
	const struct cache_fetch *own = waiter->fetch;

	return own && own != cf && !(own->want & folio->dropped);
}

/*
 * Who waits for what others fetch is not told of their errors: it tries for itself.  Who has started a
 * fetch waits for the end of that one, so that it hears of its error: woken by another it would only join
 * it, and several that fail would go on for ever.
 */
static void cache_wake(struct folio *folio, const struct cache_fetch *cf, int err)
{
	struct waiter_list list = STAILQ_HEAD_INITIALIZER(list);
	struct cache_waiter *waiter;

	STAILQ_CONCAT(&list, &folio->waiters);
	while ((waiter = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		if (cache_waits_on(folio, waiter, cf))
			STAILQ_INSERT_TAIL(&folio->waiters, waiter, link);
		else
			waiter->ready(waiter, waiter->fetch == cf ? err : 0);
	}
}

static void cache_fetch_free(struct cache_fetch *cf)
{
	for (uint32_t i = 0; i < FOLIO_BLKS; i++)
		page_put(cf->pages[i]);
	free(cf);
}

static void cache_fetch_finish(struct cache_fetch *cf, int err)
{
	struct folio *folio = cf->folio;
	struct cache_object *co = folio->co;
	struct cache *cache = co->cache;

	folio->fetching &= ~cf->want;
	folio->dropped &= ~cf->want;
	folio->keep &= ~cf->want;
	/* pinned while the waiters look, so that nothing they cause can evict what they wait for */
	cache_wake(folio, cf, err);
	cache_fetch_free(cf);
	folio->pins--;
	cache_folio_settle(folio);
	co->nfetching--;
	cache_shrink(cache);
}

/* ---- the pages ------------------------------------------------------------------------------- */

static void cache_fetch_hold(struct cache_fetch *cf, uint32_t i, struct page *page)
{
	assert(!cf->folio->pages[i]);
	folio_hold(cf->folio, i, page_get(page));
	cf->left &= ~(1u << i);
}

/* The page of a block that was looked up; NULL: it was skipped, and is not in memory.  Who waits for
 * what was read and is not kept reads it for himself. */
static struct page *cache_fetch_page(struct cache_fetch *cf, uint32_t i)
{
	struct cache *cache = cf->folio->co->cache;
	pblk_t src = cf->fetch.src[i];

	if (cf->fetch.holes & 1u << i)
		return page_zero_peek(cache->pool);
	if (!(cf->fetch.read & 1u << i))
		return blkcache_find(cache->clean, src);
	cache->stats.read_nblks++;
	if (cf->folio->keep & 1u << i)
		blkcache_insert(cache->clean, src, cf->pages[i]);
	return cf->pages[i];
}

/* What was looked up is used for blocks that were neither written nor truncated since (invariant 1).
 */
static LOOP_FN void cache_fetch_install(struct fetch *fetch)
{
	struct cache_fetch *cf = CONTAINER_OF(fetch, struct cache_fetch, fetch);
	struct folio *folio = cf->folio;

	cf->left &= ~folio->dropped;
	if (fetch->err < 0)
		return;
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		struct page *page;

		if (!(cf->left & 1u << i))
			continue;
		xlate_set(&folio->co->xlate, folio_blk(folio, i), 1,
			  fetch->holes & 1u << i ? pblk(0) : fetch->src[i]);
		page = cache_fetch_page(cf, i);
		if (page)
			cache_fetch_hold(cf, i, page);
	}
}

/* Reads what is left, whatever a hint says of it. */
static void cache_fetch_again(struct cache_fetch *cf)
{
	if (cf->folio->co->cache->fetcher->stopping)
		cache_fetch_finish(cf, -ERR_SHUTDOWN);
	else
		cache_fetch_submit(cf, cf->left, cf->left);
}

/* The rival has put in what it read, unless it failed. */
static LOOP_FN void cache_fetch_go(struct fetch_follower *follower)
{
	struct cache_fetch *cf = CONTAINER_OF(follower, struct cache_fetch, follower);
	struct folio *folio = cf->folio;

	cf->left &= ~folio->dropped;
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		struct page *page = NULL;

		if (cf->left & 1u << i)
			page = cache_clean_page(folio->co, folio_blk(folio, i), true);
		if (page)
			cache_fetch_hold(cf, i, page);
	}
	if (cf->left)
		cache_fetch_again(cf);
	else
		cache_fetch_finish(cf, 0);
}

static LOOP_FN void cache_fetch_done(struct fetch *fetch)
{
	struct cache_fetch *cf = CONTAINER_OF(fetch, struct cache_fetch, fetch);

	if (fetch->err < 0 || cf->left == 0)
		cache_fetch_finish(cf, fetch->err);
	else if (!fetch_follow(fetch->fetcher, fetch->rival, &cf->follower))
		cache_fetch_again(cf);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static int cache_fetch_start(struct folio *folio, uint32_t want, const struct cache_fetch **started)
{
	struct cache *cache = folio->co->cache;
	struct cache_fetch *cf = calloc(1, sizeof(*cf));

	if (!cf)
		return -ERR_NOMEM;
	cache_shrink(cache); /* before it grows: what it once had of the system's memory it keeps */
	cf->folio = folio;
	cf->want = want;
	cf->left = want;
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		if (!(want & 1u << i))
			continue;
		cf->pages[i] = page_new(cache->pool);
		if (!cf->pages[i]) {
			cache_fetch_free(cf);
			return -ERR_NOMEM;
		}
		cf->fetch.bufs[i] = cf->pages[i]->data;
	}
	cf->fetch.oid = folio->key.oid;
	cf->fetch.blk = folio_blk(folio, 0);
	cf->fetch.cached = cache->clean;
	cf->fetch.install = cache_fetch_install;
	cf->fetch.done = cache_fetch_done;
	cf->follower.go = cache_fetch_go;
	folio->fetching |= want;
	folio->pins++;
	folio->co->nfetching++;
	cache_fetch_submit(cf, want, 0);
	*started = cf;
	return 0;
}

/* Those of the blocks [blk, blk + nblks), of one folio, that are not there. */
static uint32_t cache_missing(struct cache_object *co, lblk_t blk, uint32_t nblks)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);
	uint32_t first = (uint32_t)(blk.n & (FOLIO_BLKS - 1));
	uint32_t missing = 0;

	assert(nblks >= 1 && first + nblks <= FOLIO_BLKS);
	for (uint32_t i = 0; i < nblks; i++)
		if (!(folio && folio->pages[first + i]) &&
		    !cache_clean_page(co, lblk(blk.n + i), false))
			missing |= 1u << (first + i);
	return missing;
}

/* Starts a fetch of those blocks that none is under way for; *started: how many.  "keep": they are
 * wanted in the cache too. */
static int cache_fill_missing(struct cache_object *co, lblk_t blk, uint32_t missing, bool keep,
			      struct cache_waiter *waiter, uint32_t *started)
{
	struct folio *folio = cache_folio_make(co, blk.n >> FOLIO_SHIFT);
	int err = 0;

	if (!folio)
		return -ERR_NOMEM;
	waiter->fetch = NULL;
	if (keep)
		folio->keep |= missing & folio->fetching;
	missing &= ~folio->fetching;
	if (co->cache->fetcher->stopping)
		err = -ERR_SHUTDOWN;
	else if (missing)
		err = cache_fetch_start(folio, missing, &waiter->fetch);
	if (err < 0) {
		cache_folio_settle(folio);
		return err;
	}
	if (keep)
		folio->keep |= missing;
	*started = folio_bits(missing);
	return 0;
}

static int cache_fill_for(struct cache_object *co, lblk_t blk, uint32_t nblks, bool keep,
			  struct cache_waiter *waiter)
{
	uint32_t missing;
	uint32_t started;
	int err;

	ASSERT_LOOP();
	missing = cache_missing(co, blk, nblks);
	assert(missing);
	err = cache_fill_missing(co, blk, missing, keep, waiter, &started);
	if (err < 0)
		return err;
	co->cache->stats.misses += folio_bits(missing);
	STAILQ_INSERT_TAIL(&cache_folio_find(co, blk.n >> FOLIO_SHIFT)->waiters, waiter, link);
	return 0;
}

int cache_fill(struct cache_object *co, lblk_t blk, uint32_t nblks, struct cache_waiter *waiter)
{
	return cache_fill_for(co, blk, nblks, true, waiter);
}

int cache_fill_past(struct cache_object *co, lblk_t blk, uint32_t nblks,
		    struct cache_waiter *waiter)
{
	return cache_fill_for(co, blk, nblks, false, waiter);
}

uint32_t cache_fill_ahead(struct cache_object *co, lblk_t blk, uint32_t nblks,
			  struct cache_waiter *waiter)
{
	struct folio *folio;
	uint32_t missing;
	uint32_t started;

	ASSERT_LOOP();
	missing = cache_missing(co, blk, nblks);
	folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);
	if (folio)
		missing &= ~folio->fetching;
	if (!missing || cache_fill_missing(co, blk, missing, true, waiter, &started) < 0)
		return 0;
	co->cache->stats.ahead_nblks += started;
	STAILQ_INSERT_TAIL(&cache_folio_find(co, blk.n >> FOLIO_SHIFT)->waiters, waiter, link);
	return started;
}
