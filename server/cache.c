/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/cache.h"

#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/cache_priv.h"

#define PUNCH_FOLIOS	64u  /* so many are looked up one by one */
#define SHRINK_PAGES	512u /* evicted in one call: bounds the time that it takes */
#define XLATE_PART	16u  /* of the limit */
#define XLATE_BYTES_MIN ((size_t)1 << 20)
#define BESIDE_PART	8u
#define FOLIO_BYTES	512u /* about, with what the allocator and the table add */
#define XLATE_PART_MAX	4u   /* but of a tiny limit no more than this */

static size_t cache_xlate_budget(size_t limit_pages)
{
	size_t most = (limit_pages << BLK_SHIFT) / XLATE_PART_MAX;
	size_t budget = (limit_pages << BLK_SHIFT) / XLATE_PART;

	if (budget < XLATE_BYTES_MIN)
		budget = XLATE_BYTES_MIN;
	return budget < most ? budget : most;
}

struct cache *cache_new(struct page_pool *pool, struct fetcher *fetcher, size_t limit_pages,
			uint64_t dev_nblks)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->pool = pool;
	cache->fetcher = fetcher;
	cache->limit_pages = limit_pages;
	cache->clean = blkcache_new(limit_pages, dev_nblks);
	cache->xlate = xlate_new(cache_xlate_budget(limit_pages));
	if (cache_folios_init(cache) < 0 || !cache->clean || !cache->xlate) {
		cache_free(cache);
		return NULL;
	}
	return cache;
}

void cache_on_unplaced(struct cache *cache, void (*fn)(void *ctx, pblk_t blk, uint64_t nblks),
		       void *ctx)
{
	cache->unplaced = fn;
	cache->unplaced_ctx = ctx;
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	assert(cache->nbusy == 0);
	cache_folios_fini(cache);
	blkcache_free(cache->clean);
	xlate_free(cache->xlate);
	free(cache);
}

size_t cache_busy_pages(const struct cache *cache)
{
	return cache->nbusy;
}

void cache_get_stats(const struct cache *cache, struct cache_stats *stats)
{
	struct blkcache_stats clean;

	ASSERT_LOOP();
	blkcache_get_stats(cache->clean, &clean);
	*stats = cache->stats;
	stats->evicted_nblks = clean.evicted;
	stats->away_nblks = clean.pinned;
	stats->clean_pages = clean.pages;
	stats->xlate_bytes = xlate_bytes(cache->xlate);
}

void cache_object_init(struct cache_object *co, struct cache *cache, uint64_t oid)
{
	*co = (struct cache_object){.cache = cache, .oid = oid};
	xlate_object_init(&co->xlate, cache->xlate);
	TAILQ_INIT(&co->folios);
	TAILQ_INIT(&co->busy);
	TAILQ_INIT(&co->dirty);
}

void cache_object_fini(struct cache_object *co)
{
	ASSERT_LOOP();
	assert(co->nfetching == 0);
	(void)cache_punch(co, lblk(0), BLK_OBJECT_MAX);
	assert(TAILQ_EMPTY(&co->folios));
}

/* ---- finding --------------------------------------------------------------------------------- */

struct page *cache_clean_page(struct cache_object *co, lblk_t blk, bool use)
{
	struct cache *cache = co->cache;
	pblk_t at;

	switch (xlate_find(&co->xlate, blk, &at)) {
	case XLATE_HOLE:
		return page_zero_peek(cache->pool);
	case XLATE_MAPPED:
		return use ? blkcache_find(cache->clean, at) : blkcache_peek(cache->clean, at);
	case XLATE_UNKNOWN:
		break;
	}
	return NULL;
}

struct page *cache_find(struct cache_object *co, lblk_t blk)
{
	struct folio *folio;
	struct page *page;

	ASSERT_LOOP();
	folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);
	page = folio ? folio->pages[blk.n & (FOLIO_BLKS - 1)] : NULL;
	if (page) {
		co->cache->stats.hits += ((folio->dirty | folio->staged) & folio_bit(blk)) != 0;
		return page;
	}
	page = cache_clean_page(co, blk, true);
	co->cache->stats.hits += page != NULL;
	return page;
}

bool cache_is_dirty(struct cache_object *co, lblk_t blk)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);

	return folio && folio->dirty & folio_bit(blk);
}

bool cache_is_busy(struct cache_object *co, lblk_t blk)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);

	return folio && (folio->dirty | folio->staged) & folio_bit(blk);
}

bool cache_is_dirty_folio(struct cache_object *co, lblk_t blk)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);

	return folio && folio->dirty;
}

bool cache_is_promised(struct cache_object *co, lblk_t blk)
{
	const struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);

	return folio && folio->dirty & ~folio->placed & folio_bit(blk);
}

/* ---- memory ---------------------------------------------------------------------------------- */

void cache_set_beside(struct cache *cache, uint64_t bytes)
{
	size_t most = (cache->limit_pages << BLK_SHIFT) / BESIDE_PART;

	ASSERT_LOOP();
	cache->beside_bytes = bytes < most ? (size_t)bytes : most;
}

size_t cache_held_pages(const struct cache *cache)
{
	struct blkcache_stats clean;

	blkcache_get_stats(cache->clean, &clean);
	return page_pool_used(cache->pool) - clean.pages;
}

void cache_shrink(struct cache *cache)
{
	size_t bytes = page_pool_used_bytes(cache->pool) + blkcache_bytes(cache->clean) +
		       (cache->nfolios + cache->nspare) * FOLIO_BYTES + xlate_bytes(cache->xlate) +
		       cache->beside_bytes;
	size_t used = bytes >> BLK_SHIFT;
	size_t over = used > cache->limit_pages ? used - cache->limit_pages : 0;

	ASSERT_LOOP();
	if (over > 0)
		(void)blkcache_evict(cache->clean, over < SHRINK_PAGES ? over : SHRINK_PAGES);
}

void cache_unmapped(struct cache *cache, pblk_t blk, uint64_t nblks)
{
	blkcache_forget(cache->clean, blk, nblks);
}

void cache_freed(struct cache *cache, pblk_t blk, uint64_t nblks)
{
	blkcache_drop(cache->clean, blk, nblks);
}

void cache_away(struct cache *cache, pblk_t blk, uint64_t nblks)
{
	blkcache_pin(cache->clean, blk, nblks);
}

void cache_home(struct cache *cache, pblk_t blk, uint64_t nblks)
{
	blkcache_unpin(cache->clean, blk, nblks);
}

const struct blkcache *cache_clean_blks(const struct cache *cache)
{
	return cache->clean;
}

struct page *cache_page_at(struct cache *cache, pblk_t blk)
{
	return blkcache_peek(cache->clean, blk);
}

/* ---- writing --------------------------------------------------------------------------------- */

int cache_pin(struct cache_object *co, lblk_t blk, uint64_t nblks)
{
	uint64_t first = blk.n >> FOLIO_SHIFT;
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;

	ASSERT_LOOP();
	for (uint64_t idx = first; idx <= last; idx++) {
		struct folio *folio = cache_folio_make(co, idx);

		if (!folio) {
			if (idx > first)
				cache_unpin(co, blk, (idx << FOLIO_SHIFT) - blk.n);
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
		struct folio *folio = cache_folio_find(co, idx);

		assert(folio && folio->pins > 0);
		folio->pins--;
		cache_folio_settle(folio);
	}
}

void cache_write(struct cache_object *co, lblk_t blk, struct page *page)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);
	uint32_t i = (uint32_t)(blk.n & (FOLIO_BLKS - 1));

	ASSERT_LOOP();
	assert(folio && folio->pins > 0);
	cache_folio_unplace(folio, folio_bit(blk));
	page_put(folio->pages[i]);
	folio_hold(folio, i, page);
	folio->dropped |= folio->fetching & folio_bit(blk);
	cache_folio_set_busy(folio, folio->dirty | folio_bit(blk), folio->staged);
}

int cache_make_places(struct cache_object *co, lblk_t blk, uint64_t nblks)
{
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;

	ASSERT_LOOP();
	for (uint64_t idx = blk.n >> FOLIO_SHIFT; idx <= last; idx++) {
		struct folio *folio = cache_folio_find(co, idx);

		assert(folio && folio->pins > 0);
		if (!folio->places)
			folio->places = calloc(FOLIO_BLKS, sizeof(*folio->places));
		if (!folio->places)
			return -ERR_NOMEM;
	}
	return 0;
}

void cache_place(struct cache_object *co, lblk_t blk, struct page *page, pblk_t at, uint32_t csum)
{
	struct folio *folio = cache_folio_find(co, blk.n >> FOLIO_SHIFT);

	assert(folio && folio->places && at.n != 0);
	cache_write(co, blk, page);
	folio->places[blk.n & (FOLIO_BLKS - 1)] = (struct folio_place){at, csum};
	folio->placed |= folio_bit(blk);
	co->nplaced++;
}

static int folio_compare(const void *a, const void *b)
{
	const struct folio_ref *x = a;
	const struct folio_ref *y = b;

	return x->idx < y->idx ? -1 : x->idx > y->idx;
}

/* What was written in sequence is sorted already. */
static void folio_sort(struct folio_ref *refs, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (refs[i - 1].idx > refs[i].idx) {
			qsort(refs, n, sizeof(*refs), folio_compare);
			return;
		}
	}
}

/* The busy folios of an object that have a block of [first, last], sorted; NULL with *n 0 if none.
 */
static int cache_sorted_busy(struct cache_object *co, uint64_t first_idx, uint64_t last_idx,
			     struct folio_ref **sorted, size_t *n)
{
	struct folio_ref *list = NULL;
	struct folio *folio;
	size_t count = 0;

	TAILQ_FOREACH (folio, &co->busy, busy_link)
		count += folio->key.idx >= first_idx && folio->key.idx <= last_idx;
	if (count > 0) {
		list = malloc(count * sizeof(*list));
		if (!list)
			return -ERR_NOMEM;
	}
	*n = 0;
	TAILQ_FOREACH (folio, &co->busy, busy_link)
		if (folio->key.idx >= first_idx && folio->key.idx <= last_idx)
			list[(*n)++] = (struct folio_ref){folio->key.idx, folio};
	folio_sort(list, *n);
	*sorted = list;
	return 0;
}

static void folio_freeze(struct folio *folio, struct writeback_blk *blks, uint32_t *n)
{
	FOLIO_FOREACH (i, folio->dirty) {
		struct writeback_blk *wb = &blks[*n];

		*wb = (struct writeback_blk){.blk = folio_blk(folio, i),
					     .page = page_get(folio->pages[i])};
		if (folio->placed & 1u << i) {
			wb->placed = folio->places[i].at;
			wb->csum = folio->places[i].csum;
		}
		(*n)++;
	}
	cache_folio_set_unplaced(folio, UINT32_MAX);
	cache_folio_set_busy(folio, 0, folio->staged | folio->dirty);
}

int cache_freeze_prepare(struct cache_object *co, struct cache_freezing *fz)
{
	struct folio *folio;

	ASSERT_LOOP();
	*fz = (struct cache_freezing){
	    .blks = malloc((co->ndirty + 1) * sizeof(*fz->blks)),
	    .folios = malloc((co->ndirty_folios + 1) * sizeof(*fz->folios)),
	};
	if (!fz->blks || !fz->folios) {
		cache_freeze_drop(fz);
		return -ERR_NOMEM;
	}
	TAILQ_FOREACH (folio, &co->dirty, dirty_link)
		fz->folios[fz->nfolios++] = (struct folio_ref){folio->key.idx, folio};
	assert(fz->nfolios == co->ndirty_folios);
	folio_sort(fz->folios, fz->nfolios);
	return 0;
}

void cache_freeze_drop(struct cache_freezing *fz)
{
	free(fz->blks);
	free(fz->folios);
	*fz = (struct cache_freezing){0};
}

void cache_freeze_now(struct cache_object *co, struct cache_freezing *fz,
		      struct writeback_blk **blks, uint32_t *nblks)
{
	ASSERT_LOOP();
	*nblks = 0;
	for (size_t i = 0; i < fz->nfolios; i++)
		folio_freeze(fz->folios[i].folio, fz->blks, nblks);
	assert(co->ndirty == 0);
	*blks = fz->blks;
	fz->blks = NULL;
	cache_freeze_drop(fz);
}

/*
 * The frozen versions of these blocks of one folio are in the map.  Returns those whose version is what
 * the block is now: the others were truncated away, or a newer version is there.
 */
static uint32_t cache_unstage(struct cache_object *co, const struct writeback_blk *blks,
			      uint32_t nblks)
{
	struct folio *folio = cache_folio_find(co, blks->blk.n >> FOLIO_SHIFT);
	uint32_t same = 0;

	if (!folio)
		return 0;
	for (uint32_t i = 0; i < nblks; i++)
		if (folio->pages[blks[i].blk.n & (FOLIO_BLKS - 1)] == blks[i].page)
			same |= folio_bit(blks[i].blk);
	cache_folio_set_busy(folio, folio->dirty, folio->staged & ~same);
	cache_folio_settle(folio);
	return same;
}

/* One extent; its blocks begin at blks. */
static void cache_commit_extent(struct cache_object *co, const struct writeback_blk *blks,
				const struct change_extent *ext)
{
	uint32_t known = 0; /* blocks up to i that are of one piece for xlate */
	uint32_t same = 0;  /* of the folio of i */

	for (uint32_t i = 0; i < ext->nblks; i++) {
		uint32_t left = FOLIO_BLKS - (uint32_t)(blks[i].blk.n & (FOLIO_BLKS - 1));

		assert(blks[i].blk.n == ext->blk.n + i);
		if (blks[i].placed.n == 0)
			blkcache_insert(co->cache->clean, pblk(ext->dst.n + i), blks[i].page);
		if (i == 0 || left == FOLIO_BLKS)
			same = cache_unstage(co, &blks[i],
					     left < ext->nblks - i ? left : ext->nblks - i);
		if (same & folio_bit(blks[i].blk)) {
			known++;
			continue;
		}
		xlate_set(&co->xlate, lblk(ext->blk.n + i - known), known,
			  pblk(ext->dst.n + i - known));
		known = 0;
	}
	xlate_set(&co->xlate, lblk(ext->blk.n + ext->nblks - known), known,
		  pblk(ext->dst.n + ext->nblks - known));
}

void cache_committed(struct cache_object *co, const struct writeback_blk *blks, uint32_t nblks,
		     const struct change_extent *extents, uint32_t nextents)
{
	uint32_t at = 0;

	ASSERT_LOOP();
	for (uint32_t i = 0; i < nextents; i++) {
		cache_commit_extent(co, blks + at, &extents[i]);
		at += extents[i].nblks;
	}
	assert(at == nblks);
	(void)nblks;
	cache_shrink(co->cache);
}

static uint32_t folio_mask_from(const struct folio *folio, lblk_t blk)
{
	uint64_t first = folio->key.idx << FOLIO_SHIFT;

	if (blk.n <= first)
		return UINT32_MAX;
	return blk.n >= first + FOLIO_BLKS ? 0 : UINT32_MAX << (blk.n - first);
}

/* Drops what of the folio is in [blk, blk + nblks). */
static void cache_punch_folio(struct folio *folio, lblk_t blk, uint64_t nblks)
{
	cache_folio_drop(folio, folio_mask_from(folio, blk) &
				    ~folio_mask_from(folio, lblk(blk.n + nblks)));
	cache_folio_settle(folio);
}

uint64_t cache_punch(struct cache_object *co, lblk_t blk, uint64_t nblks)
{
	uint64_t first = blk.n >> FOLIO_SHIFT;
	uint64_t last = (blk.n + nblks - 1) >> FOLIO_SHIFT;
	uint64_t promised = co->ndirty - co->nplaced;
	struct folio *folio;
	struct folio *next;

	ASSERT_LOOP();
	if (nblks == 0)
		return 0;
	if (last - first < PUNCH_FOLIOS) {
		for (uint64_t idx = first; idx <= last; idx++) {
			folio = cache_folio_find(co, idx);
			if (folio)
				cache_punch_folio(folio, blk, nblks);
		}
	} else {
		TAILQ_FOREACH_SAFE (folio, &co->folios, object_link, next)
			cache_punch_folio(folio, blk, nblks);
	}
	xlate_forget(&co->xlate, blk, nblks);
	return promised - (co->ndirty - co->nplaced);
}

/* Adds the masked blocks of a folio to the runs, joining them to the last one where they touch. */
static void cache_add_runs(struct cache_run *runs, size_t *n, const struct folio *folio,
			   uint32_t mask)
{
	FOLIO_FOREACH (i, mask) {
		uint64_t blk = (folio->key.idx << FOLIO_SHIFT) + i;

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
	struct folio_ref *folios;
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
		const struct folio *folio = folios[i].folio;
		uint32_t mask = folio->dirty | folio->staged;

		mask &= folio_mask_from(folio, blk);
		mask &= ~folio_mask_from(folio, lblk(blk.n + nblks));
		cache_add_runs(*runs, nruns, folio, mask);
	}
	free(folios);
	return 0;
}
