/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_cache.c: the states of a cached block, one test for each arrow of the diagram in cache.h and
 * for what may happen in between.
 */
#include "server/cache.h"

#include "tests/unit/cache_fixture.h"

/* ---- filling --------------------------------------------------------------------------------- */

static void test_fill_makes_blocks_uptodate(void **state)
{
	struct fixture *fx = *state;

	map_old(fx, 8);
	assert_empty(fx, 2);
	assert_int_equal(fill(fx, 2, 3), 0);
	assert_empty(fx, 1);
	for (uint64_t blk = 2; blk < 5; blk++) {
		assert_holds(fx, blk, OLD);
		assert_false(cache_is_dirty(&fx->co, lblk(blk)));
	}
	assert_empty(fx, 5);
	assert_int_equal(page_pool_used(fx->ts->pages), 3);
	assert_int_equal(fx->co.nfetching, 0);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
}

static void test_hole_is_the_zero_page(void **state)
{
	struct fixture *fx = *state;

	map_old(fx, 2);
	assert_int_equal(fill(fx, 0, FOLIO_BLKS), 0);
	assert_holds(fx, 1, OLD);
	for (uint64_t blk = 2; blk < FOLIO_BLKS; blk++)
		assert_true(page_is_zero(cache_find(&fx->co, lblk(blk))));
	assert_int_equal(page_pool_used(fx->ts->pages), 2);
}

static void test_fill_reads_only_what_is_missing(void **state)
{
	struct fixture *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	struct waiter w[3];

	map_old(fx, 16);
	assert_int_equal(fill(fx, 0, 4), 0);
	assert_int_equal(fake_dev_calls(fd, FAKE_READ), 1);
	/* uptodate ones are not read again: damage is not noticed */
	fake_dev_flip(fd, pblk(100), 0);
	assert_int_equal(fill(fx, 0, 8), 0);
	assert_int_equal(fake_dev_calls(fd, FAKE_READ), 2);
	/* nor those of a fetch that is under way */
	fake_dev_hold(fd, FAKE_READ);
	fill_start(fx, &w[0], 8, 4);
	fill_start(fx, &w[1], 8, 4);
	fill_start(fx, &w[2], 9, 1);
	assert_int_equal(fx->co.nfetching, 1);
	fake_dev_open_gate(fd, FAKE_READ);
	test_store_run_flag(fx->ts, &w[2].ready);
	assert_true(w[0].ready && w[1].ready);
	assert_int_equal(fake_dev_calls(fd, FAKE_READ), 3);
	for (uint64_t blk = 0; blk < 12; blk++)
		assert_holds(fx, blk, OLD);
	fake_dev_flip(fd, pblk(100), 0);
}

static void test_failed_fill_leaves_blocks_empty(void **state)
{
	struct fixture *fx = *state;
	struct waiter w[2];

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 1, -ERR_IO);
	fill_start(fx, &w[0], 0, 4);
	fill_start(fx, &w[1], 1, 1);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w[1].ready);
	assert_true(w[0].ready);
	assert_int_equal(w[0].err, -ERR_IO);
	assert_int_equal(w[1].err, 0); /* not its fetch: it looks again */
	assert_empty(fx, 0);
	assert_int_equal(page_pool_used(fx->ts->pages), 0);
	fake_dev_flip(fx->ts->fdev, pblk(101), 5);
	assert_int_equal(fill(fx, 0, 4), -ERR_CSUM);
	assert_empty(fx, 0);
	fake_dev_flip(fx->ts->fdev, pblk(101), 5);
	assert_int_equal(fill(fx, 0, 4), 0);
	assert_holds(fx, 3, OLD);
}

/* Whatever order they end in: else who is woken by the others' only joins its own, and never hears. */
static void test_each_hears_of_the_fetch_that_it_started(void **state)
{
	struct fixture *fx = *state;
	struct waiter w[3];

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 3, -ERR_IO);
	for (unsigned int i = 0; i < 3; i++)
		fill_start(fx, &w[i], i, 1);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	for (unsigned int i = 0; i < 3; i++) {
		test_store_run_flag(fx->ts, &w[i].ready);
		assert_int_equal(w[i].err, -ERR_IO);
	}
	assert_int_equal(fill(fx, 0, 3), 0);
}

/* A waiter that fills the rest of its folio from its callback. */
struct chained {
	struct waiter first;
	struct waiter second;
	struct fixture *fx;
};

static void chained_ready(struct cache_waiter *waiter, int err)
{
	struct waiter *w = CONTAINER_OF(waiter, struct waiter, waiter);
	struct chained *chained = CONTAINER_OF(w, struct chained, first);

	waiter_ready(waiter, err);
	assert_holds(chained->fx, 0, OLD);
	fill_start(chained->fx, &chained->second, 4, 4);
}

static void test_waiter_may_fill_again(void **state)
{
	struct fixture *fx = *state;
	struct chained chained = {.first.waiter.ready = chained_ready, .fx = fx};

	map_old(fx, 8);
	assert_int_equal(cache_fill(&fx->co, lblk(0), 4, &chained.first.waiter), 0);
	test_store_run_flag(fx->ts, &chained.second.ready);
	assert_int_equal(chained.second.err, 0);
	for (uint64_t blk = 0; blk < 8; blk++)
		assert_holds(fx, blk, OLD);
}

/* ---- what happens during a fill -------------------------------------------------------------- */

static void test_write_during_a_fill_wins(void **state)
{
	struct fixture *fx = *state;
	struct waiter w;

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w, 0, 4);
	write_blk(fx, 1, NEW);
	assert_holds(fx, 1, NEW);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w.ready);
	assert_int_equal(w.err, 0);
	assert_holds(fx, 0, OLD);
	assert_holds(fx, 1, NEW);
	assert_true(cache_is_dirty(&fx->co, lblk(1)));
	assert_holds(fx, 2, OLD);
	assert_false(cache_is_dirty(&fx->co, lblk(2)));
	assert_int_equal(page_pool_used(fx->ts->pages), 4);
}

static void test_truncate_during_a_fill_drops_what_comes(void **state)
{
	struct fixture *fx = *state;
	struct waiter w;

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w, 0, 4);
	assert_int_equal(cache_punch(&fx->co, lblk(2), BLK_OBJECT_MAX - 2), 0);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w.ready);
	assert_int_equal(w.err, 0);
	assert_holds(fx, 0, OLD);
	assert_holds(fx, 1, OLD);
	assert_empty(fx, 2);
	assert_empty(fx, 3);
	assert_int_equal(page_pool_used(fx->ts->pages), 2);
}

/* A truncation of everything while two folios are being filled, and a write behind it. */
static void test_truncate_to_nothing_during_fills(void **state)
{
	struct fixture *fx = *state;
	struct waiter w[2];

	map_old(fx, 2 * FOLIO_BLKS);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w[0], 0, FOLIO_BLKS);
	fill_start(fx, &w[1], FOLIO_BLKS, FOLIO_BLKS);
	assert_int_equal(cache_punch(&fx->co, lblk(0), BLK_OBJECT_MAX), 0);
	write_blk(fx, FOLIO_BLKS + 3, NEW);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w[0].ready);
	test_store_run_flag(fx->ts, &w[1].ready);
	for (uint64_t blk = 0; blk < 2 * FOLIO_BLKS; blk++) {
		if (blk == FOLIO_BLKS + 3)
			assert_holds(fx, blk, NEW);
		else
			assert_empty(fx, blk);
	}
	assert_int_equal(page_pool_used(fx->ts->pages), 1);
}

/* The fetch of one object's blocks is not touched by another's truncation. */
static void test_truncate_of_another_object_during_a_fill(void **state)
{
	struct fixture *fx = *state;
	struct cache_object other;
	struct waiter w;

	map_old(fx, 4);
	cache_object_init(&other, fx->cache, fx->co.oid + 1);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w, 0, 4);
	assert_int_equal(cache_punch(&other, lblk(0), BLK_OBJECT_MAX), 0);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w.ready);
	assert_holds(fx, 3, OLD);
	cache_object_fini(&other);
}

/* ---- dirty and staged ------------------------------------------------------------------------ */

static void test_write_makes_dirty(void **state)
{
	struct fixture *fx = *state;
	struct page *seen;

	map_old(fx, 4);
	assert_int_equal(fill(fx, 0, 4), 0);
	seen = page_get(cache_find(&fx->co, lblk(1)));
	write_blk(fx, 1, NEW);
	assert_true(cache_is_dirty(&fx->co, lblk(1)));
	assert_false(cache_is_dirty(&fx->co, lblk(0)));
	assert_int_equal(fx->co.ndirty, 1);
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	/* who looked before keeps what it saw */
	assert_ptr_not_equal(seen, cache_find(&fx->co, lblk(1)));
	write_blk(fx, 1, NEWER);
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	assert_holds(fx, 1, NEWER);
	page_put(seen);
}

static void test_frozen_is_staged_until_committed(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	write_blk(fx, 5, NEW);
	frozen = freeze(fx);
	assert_int_equal(frozen.nblks, 1);
	assert_int_equal(frozen.blks[0].blk.n, 5);
	assert_ptr_equal(frozen.blks[0].page, cache_find(&fx->co, lblk(5)));
	assert_int_equal(frozen.blks[0].page->refs, 2);
	assert_false(cache_is_dirty(&fx->co, lblk(5)));
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	commit(fx, &frozen);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
	assert_holds(fx, 5, NEW);
}

static void test_freeze_is_in_ascending_order(void **state)
{
	static const uint64_t blks[] = {700, 3, 64, 32, 31, 1, 0, 999999, 65, 33, 63, 2};
	static const uint64_t sorted[] = {0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 700, 999999};
	struct fixture *fx = *state;
	struct frozen frozen;
	uint8_t want[BLK_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(blks); i++)
		write_blk(fx, blks[i], NEW);
	assert_int_equal(fx->co.ndirty, ARRAY_LEN(blks));
	frozen = freeze(fx);
	assert_int_equal(frozen.nblks, ARRAY_LEN(sorted));
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
		assert_int_equal(frozen.blks[i].blk.n, sorted[i]);
		test_pattern(want, NEW, lblk(sorted[i]));
		assert_memory_equal(frozen.blks[i].page->data, want, BLK_BYTES);
	}
	commit(fx, &frozen);
}

static void test_rewrite_while_staged_is_a_new_version(void **state)
{
	struct fixture *fx = *state;
	struct frozen first;
	struct frozen second;
	uint8_t want[BLK_BYTES];

	write_blk(fx, 5, NEW);
	write_blk(fx, 6, NEW);
	first = freeze(fx);
	write_blk(fx, 5, NEWER);
	assert_true(cache_is_dirty(&fx->co, lblk(5)));
	assert_int_equal(fx->co.ndirty, 1);
	assert_int_equal(cache_busy_pages(fx->cache), 2);
	assert_holds(fx, 5, NEWER);
	test_pattern(want, NEW, lblk(5));
	assert_memory_equal(first.blks[0].page->data, want, BLK_BYTES);
	/* the commit of the old version does not clean the new one */
	commit(fx, &first);
	assert_true(cache_is_dirty(&fx->co, lblk(5)));
	assert_int_equal(fx->co.ndirty, 1);
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	assert_holds(fx, 5, NEWER);
	second = freeze(fx);
	assert_int_equal(second.nblks, 1);
	assert_int_equal(second.blks[0].blk.n, 5);
	commit(fx, &second);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
}

/* Both versions are frozen when the old one is committed. */
static void test_two_frozen_versions(void **state)
{
	struct fixture *fx = *state;
	struct frozen first;
	struct frozen second;

	write_blk(fx, 5, NEW);
	first = freeze(fx);
	write_blk(fx, 5, NEWER);
	second = freeze(fx);
	commit(fx, &first);
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	press(fx);
	assert_holds(fx, 5, NEWER);
	commit(fx, &second);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
	press(fx);
	assert_empty(fx, 5);
}

static void test_truncate_drops_dirty_and_staged(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	write_blk(fx, 4, NEW);
	write_blk(fx, 40, NEW);
	write_blk(fx, 41, NEW);
	frozen = freeze(fx);
	write_blk(fx, 3, NEWER);
	write_blk(fx, 41, NEWER);
	write_blk(fx, 42, NEWER);
	write_blk(fx, 9999, NEWER);
	assert_int_equal(fx->co.ndirty, 4);
	assert_int_equal(cache_busy_pages(fx->cache), 6);
	assert_int_equal(cache_punch(&fx->co, lblk(41), BLK_OBJECT_MAX - 41), 3);
	assert_int_equal(fx->co.ndirty, 1);
	assert_int_equal(cache_busy_pages(fx->cache), 3);
	assert_holds(fx, 40, NEW);
	assert_empty(fx, 41);
	assert_empty(fx, 42);
	assert_empty(fx, 9999);
	/* the batch keeps its own, and its commit finds nothing of 41 to clean */
	write_blk(fx, 41, OLD);
	commit(fx, &frozen);
	assert_true(cache_is_dirty(&fx->co, lblk(41)));
	assert_int_equal(cache_busy_pages(fx->cache), 2);
	assert_int_equal(cache_punch(&fx->co, lblk(0), BLK_OBJECT_MAX), 2);
	/* what was committed is still what those blocks of the device hold */
	assert_int_equal(page_pool_used(fx->ts->pages), 3);
	cache_freed(fx->cache, pblk(DST), 3);
	assert_int_equal(page_pool_used(fx->ts->pages), 0);
}

static void test_objects_do_not_mix(void **state)
{
	struct fixture *fx = *state;
	struct cache_object other;
	struct frozen none;

	cache_object_init(&other, fx->cache, fx->co.oid + 1);
	assert_null(cache_find(&other, lblk(7)));
	assert_int_equal(cache_pin(&other, lblk(0), 100), 0);
	for (uint64_t blk = 0; blk < 100; blk++)
		cache_write(&other, lblk(blk), test_page(fx->ts, NEW, lblk(blk)));
	cache_unpin(&other, lblk(0), 100);
	none = freeze(fx);
	assert_int_equal(none.nblks, 0);
	frozen_free(&none);
	write_blk(fx, 7, NEWER);
	cache_object_fini(&other); /* dirty or not */
	assert_int_equal(cache_busy_pages(fx->cache), 1);
	assert_int_equal(page_pool_used(fx->ts->pages), 1);
	assert_holds(fx, 7, NEWER);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void assert_runs(struct fixture *fx, uint64_t blk, uint64_t nblks,
			const struct cache_run *want, size_t nwant)
{
	struct cache_run *runs = NULL;
	size_t n = 99;

	assert_int_equal(cache_busy_runs(&fx->co, lblk(blk), nblks, &runs, &n), 0);
	assert_int_equal(n, nwant);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(runs[i].blk.n, want[i].blk.n);
		assert_int_equal(runs[i].nblks, want[i].nblks);
	}
	free(runs);
}

static void test_busy_runs(void **state)
{
	/* the first four are frozen, and 30 is written again */
	static const uint64_t blks[] = {64, 33, 31, 30, 32, 12, 10, 11};
	static const struct cache_run all[] = {{{10}, 3}, {{30}, 4}, {{64}, 1}};
	static const struct cache_run clipped[] = {{{11}, 2}, {{30}, 2}};
	static const struct cache_run inside[] = {{{31}, 2}};
	static const struct cache_run newer[] = {{{10}, 3}, {{30}, 1}, {{32}, 1}};
	struct cache_run other[FOLIO_BLKS / 2]; /* every second block: the most that there can be */
	struct fixture *fx = *state;
	struct frozen frozen;

	map_old(fx, 4);
	assert_int_equal(fill(fx, 0, 8), 0);
	for (size_t i = 0; i < 4; i++)
		write_blk(fx, blks[i], NEW);
	frozen = freeze(fx);
	for (size_t i = 3; i < ARRAY_LEN(blks); i++)
		write_blk(fx, blks[i], NEWER);
	assert_runs(fx, 0, 1000, all, 3);
	assert_runs(fx, 0, BLK_OBJECT_MAX, all, 3);
	assert_runs(fx, 11, 21, clipped, 2);
	assert_runs(fx, 31, 2, inside, 1);
	assert_runs(fx, 0, 10, NULL, 0);
	assert_runs(fx, 13, 17, NULL, 0);
	assert_runs(fx, 65, 1000, NULL, 0);
	assert_runs(fx, 64, 1, &all[2], 1);
	for (uint64_t i = 0; i < ARRAY_LEN(other); i++) {
		write_blk(fx, 96 + 2 * i, NEW);
		other[i] = (struct cache_run){lblk(96 + 2 * i), 1};
	}
	assert_runs(fx, 65, 1000, other, ARRAY_LEN(other));
	commit(fx, &frozen);
	assert_runs(fx, 0, 96, newer, 3);
}

/* ---- eviction -------------------------------------------------------------------------------- */

static void test_eviction_keeps_to_the_limit(void **state)
{
	struct fixture *fx = *state;

	for (uint64_t i = 0; i < FAR_FOLIOS; i++) {
		assert_int_equal(fill(fx, FAR + i * FOLIO_BLKS, FOLIO_BLKS), 0);
		assert_true(page_pool_used(fx->ts->pages) <= LIMIT);
		/* what has just been brought in is there for who waited for it */
		assert_holds(fx, FAR + i * FOLIO_BLKS, OLD);
	}
	assert_true(page_pool_used(fx->ts->pages) > LIMIT - LIMIT / 8);
	assert_empty(fx, FAR);
}

/* What others have leaves less to the cache, but an eighth of it is the most. */
static void test_what_is_beside_is_part_of_the_limit(void **state)
{
	struct fixture *fx = *state;
	const size_t most = LIMIT / 8;

	cache_set_beside(fx->cache, UINT64_MAX);
	press(fx);
	assert_in_range(page_pool_used(fx->ts->pages), LIMIT - 2 * most, LIMIT - most);
	cache_set_beside(fx->cache, 0);
	press(fx);
	assert_in_range(page_pool_used(fx->ts->pages), LIMIT - most + 1, LIMIT);
	cache_set_beside(fx->cache, most / 2 * BLK_BYTES);
	cache_shrink(fx->cache);
	assert_true(page_pool_used(fx->ts->pages) <= LIMIT - most / 2);
}

static void test_scan_leaves_what_is_used_often(void **state)
{
	struct fixture *fx = *state;
	struct cache_stats before;

	map_old(fx, FOLIO_BLKS);
	assert_int_equal(fill(fx, 0, FOLIO_BLKS), 0);
	for (int round = 0; round < 3; round++)
		for (uint64_t blk = 0; blk < FOLIO_BLKS; blk++)
			assert_holds(fx, blk, OLD);
	press(fx); /* ten times the cache */
	before = stats(fx);
	for (uint64_t blk = 0; blk < FOLIO_BLKS; blk++)
		assert_holds(fx, blk, OLD);
	assert_int_equal(stats(fx).hits - before.hits, FOLIO_BLKS);
	assert_int_equal(before.read_nblks, (1 + FAR_FOLIOS) * FOLIO_BLKS);
	assert_int_equal(before.misses, before.read_nblks);
	assert_int_equal(before.evicted_nblks + page_pool_used(fx->ts->pages), before.read_nblks);
}

static void test_eviction_spares_dirty_and_staged(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	map_old(fx, FOLIO_BLKS);
	assert_int_equal(fill(fx, 0, FOLIO_BLKS), 0);
	write_blk(fx, 1, NEW);
	frozen = freeze(fx);
	write_blk(fx, 2, NEW);
	press(fx);
	assert_empty(fx, 0);
	assert_empty(fx, 3);
	assert_holds(fx, 1, NEW);
	assert_holds(fx, 2, NEW);
	assert_true(page_pool_used(fx->ts->pages) <= LIMIT);
	commit(fx, &frozen);
	press(fx);
	assert_empty(fx, 1);
	assert_holds(fx, 2, NEW);
	assert_true(cache_is_dirty(&fx->co, lblk(2)));
}

/* What is filled in while it is pinned stays, until it is pinned no more. */
static void test_what_is_filled_while_pinned_stays(void **state)
{
	struct fixture *fx = *state;

	map_old(fx, 2 * FOLIO_BLKS);
	assert_int_equal(cache_pin(&fx->co, lblk(FOLIO_BLKS - 1), 2), 0);
	assert_int_equal(cache_pin(&fx->co, lblk(FOLIO_BLKS), 1), 0);
	assert_int_equal(fill(fx, 0, FOLIO_BLKS), 0);
	assert_int_equal(fill(fx, FOLIO_BLKS, FOLIO_BLKS), 0);
	press(fx);
	for (uint64_t blk = 0; blk < 2 * FOLIO_BLKS; blk++)
		assert_holds(fx, blk, OLD);
	cache_unpin(&fx->co, lblk(FOLIO_BLKS - 1), 2);
	press(fx);
	assert_empty(fx, 0);
	assert_holds(fx, FOLIO_BLKS, OLD);
	cache_unpin(&fx->co, lblk(FOLIO_BLKS), 1);
	press(fx);
	assert_empty(fx, FOLIO_BLKS);
}

/* More dirty blocks than the limit: nothing of them goes, and the rest does not stay. */
static void test_dirty_beyond_the_limit(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	for (uint64_t blk = 0; blk < 3 * LIMIT; blk++)
		write_blk(fx, blk * 7, NEW);
	cache_shrink(fx->cache);
	assert_int_equal(page_pool_used(fx->ts->pages), 3 * LIMIT);
	for (uint64_t blk = 0; blk < 3 * LIMIT; blk++)
		assert_holds(fx, blk * 7, NEW);
	frozen = freeze(fx);
	assert_int_equal(frozen.nblks, 3 * LIMIT);
	commit(fx, &frozen);
	cache_shrink(fx->cache);
	assert_true(page_pool_used(fx->ts->pages) <= LIMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_fill_makes_blocks_uptodate),
	    TEST(test_hole_is_the_zero_page),
	    TEST(test_fill_reads_only_what_is_missing),
	    TEST(test_failed_fill_leaves_blocks_empty),
	    TEST(test_each_hears_of_the_fetch_that_it_started),
	    TEST(test_waiter_may_fill_again),
	    TEST(test_write_during_a_fill_wins),
	    TEST(test_truncate_during_a_fill_drops_what_comes),
	    TEST(test_truncate_to_nothing_during_fills),
	    TEST(test_truncate_of_another_object_during_a_fill),
	    TEST(test_write_makes_dirty),
	    TEST(test_frozen_is_staged_until_committed),
	    TEST(test_freeze_is_in_ascending_order),
	    TEST(test_rewrite_while_staged_is_a_new_version),
	    TEST(test_two_frozen_versions),
	    TEST(test_truncate_drops_dirty_and_staged),
	    TEST(test_objects_do_not_mix),
	    TEST(test_busy_runs),
	    TEST(test_eviction_keeps_to_the_limit),
	    TEST(test_what_is_beside_is_part_of_the_limit),
	    TEST(test_scan_leaves_what_is_used_often),
	    TEST(test_eviction_spares_dirty_and_staged),
	    TEST(test_what_is_filled_while_pinned_stays),
	    TEST(test_dirty_beyond_the_limit),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
