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
#define XLATE_PART_MAX	4u /* but of a tiny limit no more than this */

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
	if (!cache->clean || !cache->xlate) {
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
	assert(!cache->folios && cache->nbusy == 0);
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
}

/* ---- folios ---------------------------------------------------------------------------------- */

struct folio *cache_folio_find(struct cache_object *co, uint64_t idx)
{
	struct folio_key key = {co->oid, idx};
	struct folio *folio;

	if (TAILQ_EMPTY(&co->folios))
		return NULL;
	HASH_FIND(hh, co->cache->folios, &key, sizeof(key), folio);
	return folio;
}

struct folio *cache_folio_make(struct cache_object *co, uint64_t idx)
{
	struct cache *cache = co->cache;
	struct folio *folio = cache_folio_find(co, idx);

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
	TAILQ_INSERT_TAIL(&co->folios, folio, object_link);
	return folio;
}

/* Sets the dirty and staged masks, and keeps the counters and the busy list true. */
static void folio_set_busy(struct folio *folio, uint32_t dirty, uint32_t staged)
{
	struct cache_object *co = folio->co;
	uint32_t was = folio->dirty | folio->staged;
	uint32_t is = dirty | staged;

	assert(!(folio->placed & ~dirty));
	co->ndirty += folio_bits(dirty);
	co->ndirty -= folio_bits(folio->dirty);
	co->ndirty_folios += dirty != 0;
	co->ndirty_folios -= folio->dirty != 0;
	co->cache->nbusy += folio_bits(is);
	co->cache->nbusy -= folio_bits(was);
	if (!was && is)
		TAILQ_INSERT_TAIL(&co->busy, folio, busy_link);
	if (was && !is)
		TAILQ_REMOVE(&co->busy, folio, busy_link);
	folio->dirty = dirty;
	folio->staged = staged;
}

/* The masked blocks are not placed any more; where they were is the caller's to see to. */
static void folio_set_unplaced(struct folio *folio, uint32_t mask)
{
	folio->co->nplaced -= folio_bits(folio->placed & mask);
	folio->placed &= ~mask;
}

/* Gives up the places of the masked blocks, those in one piece together. */
static void folio_unplace(struct folio *folio, uint32_t mask)
{
	struct cache *cache = folio->co->cache;
	uint32_t left = folio->placed & mask;

	folio_set_unplaced(folio, mask);
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
	for (uint32_t i = 0; i < FOLIO_BLKS; i++) {
		if (mask & 1u << i) {
			page_put(folio->pages[i]);
			folio->pages[i] = NULL;
		}
	}
}

/* Forgets the masked blocks, whatever they are, and what a fetch under way will bring of them. */
static void folio_drop(struct folio *folio, uint32_t mask)
{
	folio->dropped |= folio->fetching & mask;
	folio_unplace(folio, mask);
	folio_set_busy(folio, folio->dirty & ~mask, folio->staged & ~mask);
	folio_let_go(folio, mask);
}

void cache_folio_settle(struct folio *folio)
{
	struct cache *cache = folio->co->cache;
	uint32_t busy = folio->dirty | folio->staged;

	if (folio->pins > 0)
		return;
	folio_let_go(folio, ~busy);
	if (busy)
		return;
	assert(folio->fetching == 0 && STAILQ_EMPTY(&folio->waiters));
	HASH_DELETE(hh, cache->folios, folio);
	TAILQ_REMOVE(&folio->co->folios, folio, object_link);
	free(folio->places);
	free(folio);
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

void cache_shrink(struct cache *cache)
{
	/* a folio takes about an eighth of a page itself */
	size_t used = page_pool_used(cache->pool) + HASH_COUNT(cache->folios) / 8 +
		      (xlate_bytes(cache->xlate) >> BLK_SHIFT);
	size_t over = used > cache->limit_pages ? used - cache->limit_pages : 0;

	ASSERT_LOOP();
	if (over > 0)
		(void)blkcache_evict(cache->clean, over < SHRINK_PAGES ? over : SHRINK_PAGES);
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
	folio_unplace(folio, folio_bit(blk));
	page_put(folio->pages[i]);
	folio->pages[i] = page;
	folio->dropped |= folio->fetching & folio_bit(blk);
	folio_set_busy(folio, folio->dirty | folio_bit(blk), folio->staged);
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
		struct writeback_blk *wb = &blks[*n];

		if (!(folio->dirty & 1u << i))
			continue;
		*wb = (struct writeback_blk){.blk = folio_blk(folio, i),
					     .page = page_get(folio->pages[i])};
		if (folio->placed & 1u << i) {
			wb->placed = folio->places[i].at;
			wb->csum = folio->places[i].csum;
		}
		(*n)++;
	}
	folio_set_unplaced(folio, UINT32_MAX);
	folio_set_busy(folio, 0, folio->staged | folio->dirty);
}

int cache_freeze_prepare(struct cache_object *co, struct cache_freezing *fz)
{
	int err;

	ASSERT_LOOP();
	*fz = (struct cache_freezing){.blks = calloc(co->ndirty + 1, sizeof(*fz->blks))};
	if (!fz->blks)
		return -ERR_NOMEM;
	err = cache_sorted_busy(co, 0, UINT64_MAX, &fz->folios, &fz->nfolios);
	if (err < 0)
		cache_freeze_drop(fz);
	return err;
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
		folio_freeze(fz->folios[i], fz->blks, nblks);
	assert(co->ndirty == 0);
	*blks = fz->blks;
	fz->blks = NULL;
	cache_freeze_drop(fz);
}

/*
 * The block's frozen version is in the map.  True: it is what the block is now.  Else the block was
 * truncated away, or a newer version is there.
 */
static bool cache_unstage(struct cache_object *co, const struct writeback_blk *wb)
{
	struct folio *folio = cache_folio_find(co, wb->blk.n >> FOLIO_SHIFT);

	if (!folio || folio->pages[wb->blk.n & (FOLIO_BLKS - 1)] != wb->page)
		return false;
	folio_set_busy(folio, folio->dirty, folio->staged & ~folio_bit(wb->blk));
	cache_folio_settle(folio);
	return true;
}

/* One extent; its blocks begin at blks. */
static void cache_commit_extent(struct cache_object *co, const struct writeback_blk *blks,
				const struct change_extent *ext)
{
	uint32_t known = 0; /* blocks up to i that are of one piece for xlate */

	for (uint32_t i = 0; i < ext->nblks; i++) {
		assert(blks[i].blk.n == ext->blk.n + i);
		if (blks[i].placed.n == 0)
			blkcache_insert(co->cache->clean, pblk(ext->dst.n + i), blks[i].page);
		if (cache_unstage(co, &blks[i])) {
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
	folio_drop(folio,
		   folio_mask_from(folio, blk) & ~folio_mask_from(folio, lblk(blk.n + nblks)));
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
