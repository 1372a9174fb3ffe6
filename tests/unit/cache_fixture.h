/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache_fixture.h: a small cache in front of a small store, for the tests of the cache; each
 * operation checked, and run to its end where it can be.
 */
#ifndef TESTS_UNIT_CACHE_FIXTURE_H
#define TESTS_UNIT_CACHE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/cache.h"
#include "tests/lib/test_store.h"

#define DEV_NBLKS  8192u
#define META_BYTES (UINT64_C(4) << 20)
#define LIMIT	   128u	 /* pages: 4 folios */
#define DST	   4000u /* what is committed goes to blocks from here on */
#define FAR	   100000u
#define FAR_FOLIOS 40u
#define OLD	   1u /* seed of what is on the device */
#define NEW	   2u
#define NEWER	   3u

struct fixture {
	struct test_store *ts;
	struct fetcher fetcher;
	struct cache *cache;
	struct cache_object co;
	uint64_t next_dst;
};

static inline int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	if (!fx)
		return -1;
	fx->ts = test_store_open(DEV_NBLKS, META_BYTES);
	fetcher_init(&fx->fetcher, fx->ts->map, &fx->ts->fdev->dev, fx->ts->workers);
	fx->cache = cache_new(fx->ts->pages, &fx->fetcher, LIMIT, DEV_NBLKS);
	if (!fx->cache)
		return -1;
	fx->next_dst = DST;
	cache_object_init(&fx->co, fx->cache,
			  test_store_create(fx->ts, "object", UINT64_C(1) << 40));
	/* far from the others, so that eviction has pages to gain */
	test_store_map(fx->ts, fx->co.oid, lblk(FAR), pblk(1000), FAR_FOLIOS * FOLIO_BLKS, OLD);
	*state = fx;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fx = *state;

	cache_object_fini(&fx->co);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
	cache_free(fx->cache);
	test_store_close(fx->ts);
	free(fx);
	return 0;
}

/* Blocks [0, nblks) of the object are on the device. */
static inline void map_old(struct fixture *fx, uint32_t nblks)
{
	test_store_map(fx->ts, fx->co.oid, lblk(0), pblk(100), nblks, OLD);
}

struct waiter {
	struct cache_waiter waiter;
	bool ready;
	int err;
};

static inline void waiter_ready(struct cache_waiter *waiter, int err)
{
	struct waiter *w = CONTAINER_OF(waiter, struct waiter, waiter);

	assert_false(w->ready);
	w->ready = true;
	w->err = err;
}

static inline void fill_start(struct fixture *fx, struct waiter *w, uint64_t blk, uint32_t nblks)
{
	*w = (struct waiter){.waiter.ready = waiter_ready};
	assert_int_equal(cache_fill(&fx->co, lblk(blk), nblks, &w->waiter), 0);
	assert_false(w->ready);
}

static inline int fill(struct fixture *fx, uint64_t blk, uint32_t nblks)
{
	struct waiter w;

	fill_start(fx, &w, blk, nblks);
	test_store_run_flag(fx->ts, &w.ready);
	return w.err;
}

static inline void write_blk(struct fixture *fx, uint64_t blk, unsigned int seed)
{
	assert_int_equal(cache_pin(&fx->co, lblk(blk), 1), 0);
	cache_write(&fx->co, lblk(blk), test_page(fx->ts, seed, lblk(blk)));
	cache_unpin(&fx->co, lblk(blk), 1);
}

static inline void assert_holds(struct fixture *fx, uint64_t blk, unsigned int seed)
{
	struct page *page = cache_find(&fx->co, lblk(blk));
	uint8_t want[BLK_BYTES];

	assert_non_null(page);
	test_pattern(want, seed, lblk(blk));
	assert_memory_equal(page->data, want, BLK_BYTES);
}

static inline void assert_empty(struct fixture *fx, uint64_t blk)
{
	assert_null(cache_find(&fx->co, lblk(blk)));
}

struct frozen {
	struct writeback_blk *blks;
	uint32_t nblks;
};

static inline struct frozen freeze(struct fixture *fx)
{
	struct cache_freezing freezing;
	struct frozen frozen = {0};

	assert_int_equal(cache_freeze_prepare(&fx->co, &freezing), 0);
	cache_freeze_now(&fx->co, &freezing, &frozen.blks, &frozen.nblks);
	assert_int_equal(fx->co.ndirty, 0);
	return frozen;
}

static inline void frozen_free(struct frozen *frozen)
{
	for (uint32_t i = 0; i < frozen->nblks; i++)
		page_put(frozen->blks[i].page);
	free(frozen->blks);
}

/* To blocks one after the other; the map and the device know nothing of it. */
static inline void commit_to(struct cache_object *co, struct frozen *frozen, uint64_t dst)
{
	struct change_extent *extents = calloc(frozen->nblks + 1, sizeof(*extents));
	uint32_t n = 0;

	assert_non_null(extents);
	for (uint32_t i = 0; i < frozen->nblks; i++) {
		lblk_t blk = frozen->blks[i].blk;

		if (n > 0 && extents[n - 1].blk.n + extents[n - 1].nblks == blk.n)
			extents[n - 1].nblks++;
		else
			extents[n++] = (struct change_extent){blk, pblk(dst + i), 1};
	}
	cache_committed(co, frozen->blks, frozen->nblks, extents, n);
	free(extents);
	frozen_free(frozen);
}

static inline void commit(struct fixture *fx, struct frozen *frozen)
{
	uint64_t dst = fx->next_dst;

	fx->next_dst += frozen->nblks;
	commit_to(&fx->co, frozen, dst);
}

static inline struct cache_stats stats(struct fixture *fx)
{
	struct cache_stats s;

	cache_get_stats(fx->cache, &s);
	return s;
}

/* Fills so much that everything that can be evicted is. */
static inline void press(struct fixture *fx)
{
	for (uint64_t i = 0; i < FAR_FOLIOS; i++)
		assert_int_equal(fill(fx, FAR + i * FOLIO_BLKS, FOLIO_BLKS), 0);
}

#endif
