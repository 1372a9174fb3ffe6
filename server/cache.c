/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/err.h"
#include "common/thread.h"

static_assert(FOLIO_BLKS == FETCH_MAX_BLKS, "a fetch is of one folio");

#define SHRINK_FOLIOS 256 /* looked at in one call: bounds the time that it takes */

STAILQ_HEAD(waiter_list, cache_waiter);

struct folio_key {
	uint64_t oid;
	uint64_t idx; /* of the folio in the object */
};

/* Block masks have bit i for block idx * FOLIO_BLKS + i. */
struct folio {
	struct folio_key key;
	struct cache_object *co;
	struct page *pages[FOLIO_BLKS]; /* NULL: not uptodate */
	uint32_t dirty;
	uint32_t staged;   /* and the page is the last frozen one, or dirty as well */
	uint32_t fetching; /* a fetch of these is under way */
	uint32_t pins;	   /* cache_pin() calls, and one for a fetch */
	struct waiter_list waiters;
	UT_hash_handle hh;
	TAILQ_ENTRY(folio) lru_link;
	TAILQ_ENTRY(folio) object_link;
	TAILQ_ENTRY(folio) busy_link; /* while dirty or staged */
};

/* A fetch of blocks of one folio. */
struct cache_fetch {
	struct fetch fetch;
	struct folio *folio;
	struct page *pages[FOLIO_BLKS];
	uint32_t dropped; /* truncated away meanwhile */
	TAILQ_ENTRY(cache_fetch) link;
};

struct cache {
	struct page_pool *pool;
	struct fetcher *fetcher;
	size_t limit_pages;
	size_t nbusy;	      /* blocks dirty or staged */
	struct folio *folios; /* uthash by key */
	struct folio_list lru;
	TAILQ_HEAD(, cache_fetch) fetches;
};

struct cache *cache_new(struct page_pool *pool, struct fetcher *fetcher, size_t limit_pages)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->pool = pool;
	cache->fetcher = fetcher;
	cache->limit_pages = limit_pages;
	TAILQ_INIT(&cache->lru);
	TAILQ_INIT(&cache->fetches);
	return cache;
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	assert(!cache->folios && cache->nbusy == 0);
	free(cache);
}

size_t cache_busy_pages(const struct cache *cache)
{
	return cache->nbusy;
}

void cache_object_init(struct cache_object *co, struct cache *cache, uint64_t oid)
{
	*co = (struct cache_object){.cache = cache, .oid = oid};
	TAILQ_INIT(&co->folios);
	TAILQ_INIT(&co->busy);
}

/* ---- folios ---------------------------------------------------------------------------------- */

static uint32_t folio_bit(lblk_t blk)
{
	return 1u << (blk.n & (FOLIO_BLKS - 1));
}

static uint32_t folio_range(lblk_t blk, uint32_t nblks)
{
	uint32_t first = (uint32_t)(blk.n & (FOLIO_BLKS - 1));

	assert(nblks >= 1 && first + nblks <= FOLIO_BLKS);
	return (uint32_t)(((UINT64_C(1) << nblks) - 1) << first);
}

static unsigned int bits(uint32_t mask)
{
	return (unsigned int)__builtin_popcount(mask);
}

static struct folio *folio_find(struct cache_object *co, uint64_t idx)
{
	struct folio_key key = {co->oid, idx};
	struct folio *folio;

	HASH_FIND(hh, co->cache->folios, &key, sizeof(key), folio);
	return folio;
}

static struct folio *folio_make(struct cache_object *co, uint64_t idx)
{
	struct cache *cache = co->cache;
	struct folio *folio = folio_find(co, idx);

	if (folio)
		return folio;
	folio = calloc(1, sizeof(*folio));
	if (!folio)
		return NULL;
	folio->key = (struct folio_key){co->oid, idx};
	folio->co = co;
	STAILQ_INIT(&folio->waiters);
	HASH_ADD(hh, cache->folios, key, sizeof(folio->key), folio);
	if (!folio->hh.tbl) {
		free(folio);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&cache->lru, folio, lru_link);
	TAILQ_INSERT_TAIL(&co->folios, folio, object_link);
	return folio;
}

static void folio_touch(struct folio *folio)
{
	struct cache *cache = folio->co->cache;

	TAILQ_REMOVE(&cache->lru, folio, lru_link);
	TAILQ_INSERT_TAIL(&cache->lru, folio, lru_link);
}

/* Sets the dirty and staged masks, and keeps the counters and the busy list true. */
static void folio_set_busy(struct folio *folio, uint32_t dirty, uint32_t staged)
{
	struct cache_object *co = folio->co;
	uint32_t was = folio->dirty | folio->staged;
	uint32_t is = dirty | staged;

	co->ndirty += bits(dirty);
	co->ndirty -= bits(folio->dirty);
	co->cache->nbusy += bits(is);
	co->cache->nbusy -= bits(was);
	if (!was && is)
		TAILQ_INSERT_TAIL(&co->busy, folio, busy_link);
	if (was && !is)
		TAILQ_REMOVE(&co->busy, folio, busy_link);
	folio->dirty = dirty;
	folio->staged = staged;
}

/* Drops the pages of the masked blocks. */
static void folio_drop(struct folio *folio, uint32_t mask)
{
	folio_set_busy(folio, folio->dirty & ~mask, folio->staged & ~mask);
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		if (mask & 1u << i) {
			page_put(folio->pages[i]);
			folio->pages[i] = NULL;
		}
	}
}

static void folio_free(struct folio *folio)
{
	struct cache *cache = folio->co->cache;

	assert(folio->pins == 0 && STAILQ_EMPTY(&folio->waiters));
	folio_drop(folio, UINT32_MAX);
	HASH_DELETE(hh, cache->folios, folio);
	TAILQ_REMOVE(&cache->lru, folio, lru_link);
	TAILQ_REMOVE(&folio->co->folios, folio, object_link);
	free(folio);
}

/* A folio takes about a ninth of a page itself; that of holes has no pages that the pool counts. */
static bool cache_is_full(const struct cache *cache)
{
	return page_pool_used(cache->pool) + HASH_COUNT(cache->folios) / 8 > cache->limit_pages;
}

void cache_shrink(struct cache *cache)
{
	ASSERT_LOOP();
	for (unsigned int i = 0; i < SHRINK_FOLIOS; i++) {
		struct folio *folio = TAILQ_FIRST(&cache->lru);
		uint32_t busy;

		if (!folio || !cache_is_full(cache))
			return;
		busy = folio->dirty | folio->staged;
		if (folio->pins == 0 && !busy) {
			folio_free(folio);
			continue;
		}
		if (folio->pins == 0)
			folio_drop(folio, ~busy);
		folio_touch(folio); /* what must stay does not stand in the way again at once */
	}
}

void cache_object_fini(struct cache_object *co)
{
	struct folio *folio;

	ASSERT_LOOP();
	assert(co->nfetching == 0);
	while ((folio = TAILQ_FIRST(&co->folios)))
		folio_free(folio);
}

struct page *cache_find(struct cache_object *co, lblk_t blk)
{
	struct folio *folio;

	ASSERT_LOOP();
	folio = folio_find(co, blk.n >> FOLIO_SHIFT);
	if (!folio)
		return NULL;
	folio_touch(folio);
	return folio->pages[blk.n & (FOLIO_BLKS - 1)];
}

bool cache_is_dirty(struct cache_object *co, lblk_t blk)
{
	struct folio *folio = folio_find(co, blk.n >> FOLIO_SHIFT);

	return folio && folio->dirty & folio_bit(blk);
}

/* ---- filling --------------------------------------------------------------------------------- */

static uint32_t folio_uptodate(const struct folio *folio)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < FOLIO_BLKS; i++)
		if (folio->pages[i])
			mask |= 1u << i;
	return mask;
}

/* Who waits for what others fetch is not told of their errors: it tries for itself. */
static void cache_wake(struct folio *folio, const struct cache_fetch *cf, int err)
{
	struct waiter_list list = STAILQ_HEAD_INITIALIZER(list);
	struct cache_waiter *waiter;

	STAILQ_CONCAT(&list, &folio->waiters);
	while ((waiter = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		waiter->ready(waiter, waiter->fetch == cf ? err : 0);
	}
}

/* Installs what a fetch brought, except where a write or a truncation was faster. */
static void cache_install(struct cache_fetch *cf)
{
	struct folio *folio = cf->folio;
	uint32_t use = cf->fetch.err < 0 ? 0 : cf->fetch.want & ~cf->dropped;

	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		struct page *page = cf->pages[i];

		if (!page)
			continue;
		if (!(use & 1u << i) || folio->pages[i]) {
			page_put(page);
		} else if (cf->fetch.holes & 1u << i) {
			page_put(page);
			folio->pages[i] = page_zero(folio->co->cache->pool);
		} else {
			folio->pages[i] = page;
		}
	}
}

static LOOP_FN void cache_fetch_done(struct fetch *fetch)
{
	struct cache_fetch *cf = CONTAINER_OF(fetch, struct cache_fetch, fetch);
	struct folio *folio = cf->folio;
	struct cache *cache = folio->co->cache;
	int err = fetch->err;

	cache_install(cf);
	folio->fetching &= ~fetch->want;
	TAILQ_REMOVE(&cache->fetches, cf, link);
	/* pinned while the waiters look, so that nothing they cause can evict what they wait for */
	cache_wake(folio, cf, err);
	free(cf);
	folio->pins--;
	folio->co->nfetching--;
	cache_shrink(cache);
}

static void cache_fetch_abandon(struct cache_fetch *cf)
{
	for (uint32_t i = 0; i < FOLIO_BLKS; i++)
		page_put(cf->pages[i]);
	free(cf);
}

static int cache_fetch_start(struct folio *folio, uint32_t want, const struct cache_fetch **started)
{
	struct cache *cache = folio->co->cache;
	struct cache_fetch *cf = calloc(1, sizeof(*cf));

	if (!cf)
		return -ERR_NOMEM;
	cf->folio = folio;
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		if (!(want & 1u << i))
			continue;
		cf->pages[i] = page_new(cache->pool);
		if (!cf->pages[i]) {
			cache_fetch_abandon(cf);
			return -ERR_NOMEM;
		}
		cf->fetch.bufs[i] = cf->pages[i]->data;
	}
	cf->fetch.oid = folio->key.oid;
	cf->fetch.blk = lblk(folio->key.idx << FOLIO_SHIFT);
	cf->fetch.want = want;
	cf->fetch.done = cache_fetch_done;
	folio->fetching |= want;
	folio->pins++;
	folio->co->nfetching++;
	TAILQ_INSERT_TAIL(&cache->fetches, cf, link);
	fetch_start(cache->fetcher, &cf->fetch);
	*started = cf;
	return 0;
}

int cache_fill(struct cache_object *co, lblk_t blk, uint32_t nblks, struct cache_waiter *waiter)
{
	struct folio *folio;
	uint32_t missing;
	int err = 0;

	ASSERT_LOOP();
	folio = folio_make(co, blk.n >> FOLIO_SHIFT);
	if (!folio)
		return -ERR_NOMEM;
	missing = folio_range(blk, nblks) & ~folio_uptodate(folio);
	assert(missing);
	missing &= ~folio->fetching;
	waiter->fetch = NULL;
	if (missing)
		err = cache_fetch_start(folio, missing, &waiter->fetch);
	if (err == 0)
		STAILQ_INSERT_TAIL(&folio->waiters, waiter, link);
	return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

int cache_pin(struct cache_object *co, lblk_t blk, uint64_t nblks)
{
	uint64_t first = blk.n >> FOLIO_SHIFT;
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;

	ASSERT_LOOP();
	for (uint64_t idx = first; idx <= last; idx++) {
		struct folio *folio = folio_make(co, idx);

		if (!folio) {
			while (idx-- > first)
				folio_find(co, idx)->pins--;
			return -ERR_NOMEM;
		}
		folio->pins++;
	}
	return 0;
}

void cache_unpin(struct cache_object *co, lblk_t blk, uint64_t nblks)
{
	uint64_t first = blk.n >> FOLIO_SHIFT;
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;

	ASSERT_LOOP();
	for (uint64_t idx = first; idx <= last; idx++) {
		struct folio *folio = folio_find(co, idx);

		assert(folio && folio->pins > 0);
		folio->pins--;
	}
}

void cache_write(struct cache_object *co, lblk_t blk, struct page *page)
{
	struct folio *folio = folio_find(co, blk.n >> FOLIO_SHIFT);
	uint32_t i = (uint32_t)(blk.n & (FOLIO_BLKS - 1));

	ASSERT_LOOP();
	assert(folio && folio->pins > 0);
	page_put(folio->pages[i]);
	folio->pages[i] = page;
	folio_set_busy(folio, folio->dirty | folio_bit(blk), folio->staged);
	folio_touch(folio);
}

static int folio_compare(const void *a, const void *b)
{
	const struct folio *fa = *(const struct folio *const *)a;
	const struct folio *fb = *(const struct folio *const *)b;

	return fa->key.idx < fb->key.idx ? -1 : fa->key.idx > fb->key.idx;
}

/* The busy folios of an object that have a block of [first, last], sorted; NULL with *n 0 if none.
 */
static int cache_sorted_busy(struct cache_object *co, uint64_t first_idx, uint64_t last_idx,
			     struct folio ***sorted, size_t *n)
{
	struct folio **list = NULL;
	struct folio *folio;
	size_t count = 0;

	TAILQ_FOREACH (folio, &co->busy, busy_link)
		count += folio->key.idx >= first_idx && folio->key.idx <= last_idx;
	if (count > 0) {
		list = malloc(count * sizeof(struct folio *));
		if (!list)
			return -ERR_NOMEM;
	}
	*n = 0;
	TAILQ_FOREACH (folio, &co->busy, busy_link)
		if (folio->key.idx >= first_idx && folio->key.idx <= last_idx)
			list[(*n)++] = folio;
	if (*n > 1)
		qsort(list, *n, sizeof(struct folio *), folio_compare);
	*sorted = list;
	return 0;
}

static void folio_freeze(struct folio *folio, struct writeback_blk *blks, uint32_t *n)
{
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		if (folio->dirty & 1u << i)
			blks[(*n)++] = (struct writeback_blk){
			    lblk((folio->key.idx << FOLIO_SHIFT) + i), page_get(folio->pages[i])};
	}
	folio_set_busy(folio, 0, folio->staged | folio->dirty);
}

int cache_freeze(struct cache_object *co, struct writeback_blk **blks, uint32_t *nblks)
{
	struct writeback_blk *list;
	struct folio **folios;
	size_t nfolios;
	uint32_t n = 0;
	int err;

	ASSERT_LOOP();
	list = calloc(co->ndirty + 1, sizeof(*list));
	if (!list)
		return -ERR_NOMEM;
	err = cache_sorted_busy(co, 0, UINT64_MAX, &folios, &nfolios);
	if (err < 0) {
		free(list);
		return err;
	}
	for (size_t i = 0; i < nfolios; i++)
		folio_freeze(folios[i], list, &n);
	free(folios);
	assert(co->ndirty == 0);
	*blks = list;
	*nblks = n;
	return 0;
}

void cache_committed(struct cache_object *co, const struct writeback_blk *blks, uint32_t nblks)
{
	ASSERT_LOOP();
	for (uint32_t i = 0; i < nblks; i++) {
		struct folio *folio = folio_find(co, blks[i].blk.n >> FOLIO_SHIFT);
		uint32_t bit = folio_bit(blks[i].blk);

		/* else truncated away, or a newer version is there */
		if (folio && folio->pages[blks[i].blk.n & (FOLIO_BLKS - 1)] == blks[i].page)
			folio_set_busy(folio, folio->dirty, folio->staged & ~bit);
	}
	cache_shrink(co->cache);
}

static uint32_t folio_mask_from(const struct folio *folio, lblk_t blk)
{
	uint64_t first = folio->key.idx << FOLIO_SHIFT;

	if (blk.n <= first)
		return UINT32_MAX;
	return blk.n >= first + FOLIO_BLKS ? 0 : UINT32_MAX << (blk.n - first);
}

uint64_t cache_truncate(struct cache_object *co, lblk_t blk)
{
	struct cache_fetch *cf;
	struct folio *folio;
	struct folio *next;
	uint64_t ndirty = co->ndirty;

	ASSERT_LOOP();
	TAILQ_FOREACH (cf, &co->cache->fetches, link)
		if (cf->folio->co == co)
			cf->dropped |= folio_mask_from(cf->folio, blk);
	TAILQ_FOREACH_SAFE (folio, &co->folios, object_link, next) {
		uint32_t mask = folio_mask_from(folio, blk);

		if (mask == UINT32_MAX && folio->pins == 0)
			folio_free(folio);
		else if (mask)
			folio_drop(folio, mask);
	}
	return ndirty - co->ndirty;
}

/* Adds the masked blocks of a folio to the runs, joining them to the last one where they touch. */
static void cache_add_runs(struct cache_run *runs, size_t *n, const struct folio *folio,
			   uint32_t mask)
{
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		uint64_t blk = (folio->key.idx << FOLIO_SHIFT) + i;

		if (!(mask & 1u << i))
			continue;
		if (*n > 0 && runs[*n - 1].blk.n + runs[*n - 1].nblks == blk)
			runs[*n - 1].nblks++;
		else
			runs[(*n)++] = (struct cache_run){lblk(blk), 1};
	}
}

int cache_busy_runs(struct cache_object *co, lblk_t blk, uint64_t nblks, struct cache_run **runs,
		    size_t *nruns)
{
	uint64_t first = blk.n >> FOLIO_SHIFT;
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;
	struct folio **folios;
	size_t n;
	int err = cache_sorted_busy(co, first, last, &folios, &n);

	if (err < 0)
		return err;
	*nruns = 0;
	*runs = calloc(n * (FOLIO_BLKS / 2) + 1, sizeof(**runs));
	if (!*runs) {
		free(folios);
		return -ERR_NOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t mask = folios[i]->dirty | folios[i]->staged;

		mask &= folio_mask_from(folios[i], blk);
		mask &= ~folio_mask_from(folios[i], lblk(blk.n + nblks));
		cache_add_runs(*runs, nruns, folios[i], mask);
	}
	free(folios);
	return 0;
}
