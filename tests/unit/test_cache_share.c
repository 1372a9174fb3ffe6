/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_cache_share.c: one copy in memory for all who map a block, one read for all who want it; and
 * nobody sees through it what is not, or not any more, his.
 */
#include "server/cache.h"

#include <stdio.h>

#include <event2/event.h>

#include "tests/unit/cache_fixture.h"

#define CLONES	  64u
#define SHARED	  64u  /* blocks: half of the cache */
#define FIRST_BLK 100u /* of the device, where map_old() puts them */

struct clone {
	struct cache_object co;
	struct waiter w;
};

static void clone_init(struct fixture *fx, struct clone *clone, unsigned int number)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "clone%u", number);
	cache_object_init(&clone->co, fx->cache, test_store_clone(fx->ts, fx->co.oid, name));
}

static void fill_of(struct clone *clone, uint64_t blk, uint32_t nblks)
{
	clone->w = (struct waiter){.waiter.ready = waiter_ready};
	assert_int_equal(cache_fill(&clone->co, lblk(blk), nblks, &clone->w.waiter), 0);
}

static int fill_now(struct fixture *fx, struct clone *clone, uint64_t blk, uint32_t nblks)
{
	fill_of(clone, blk, nblks);
	test_store_run_flag(fx->ts, &clone->w.ready);
	return clone->w.err;
}

static void assert_has(struct cache_object *co, uint64_t blk, unsigned int seed)
{
	struct page *page = cache_find(co, lblk(blk));
	uint8_t want[BLK_BYTES];

	assert_non_null(page);
	test_pattern(want, seed, lblk(blk));
	assert_memory_equal(page->data, want, BLK_BYTES);
}

static uint64_t reads(struct fixture *fx)
{
	return fake_dev_calls(fx->ts->fdev, FAKE_READ);
}

/* ---- one copy -------------------------------------------------------------------------------- */

static void test_clones_use_the_memory_of_one_copy(void **state)
{
	struct fixture *fx = *state;
	struct clone *clones = calloc(CLONES, sizeof(*clones));

	assert_non_null(clones);
	map_old(fx, SHARED);
	for (uint64_t blk = 0; blk < SHARED; blk += FOLIO_BLKS)
		assert_int_equal(fill(fx, blk, FOLIO_BLKS), 0);
	for (unsigned int i = 0; i < CLONES; i++) {
		clone_init(fx, &clones[i], i);
		for (uint64_t blk = 0; blk < SHARED; blk += FOLIO_BLKS)
			assert_int_equal(fill_now(fx, &clones[i], blk, FOLIO_BLKS), 0);
	}
	for (unsigned int i = 0; i < CLONES; i++)
		for (uint64_t blk = 0; blk < SHARED; blk++)
			assert_ptr_equal(cache_find(&clones[i].co, lblk(blk)),
					 cache_find(&fx->co, lblk(blk)));
	assert_int_equal(reads(fx), SHARED / FOLIO_BLKS);
	assert_int_equal(stats(fx).read_nblks, SHARED);
	assert_int_equal(page_pool_used(fx->ts->pages), SHARED);
	assert_true(stats(fx).xlate_bytes <= (CLONES + 1) * 128);
	for (unsigned int i = 0; i < CLONES; i++)
		cache_object_fini(&clones[i].co);
	assert_int_equal(page_pool_used(fx->ts->pages), SHARED);
	free(clones);
}

static void test_writes_of_parent_and_clone_stay_apart(void **state)
{
	struct fixture *fx = *state;
	struct clone clone;
	struct frozen frozen;

	map_old(fx, 4);
	clone_init(fx, &clone, 0);
	assert_int_equal(fill(fx, 0, 4), 0);
	assert_int_equal(fill_now(fx, &clone, 0, 4), 0);
	write_blk(fx, 1, NEW);
	assert_int_equal(cache_pin(&clone.co, lblk(2), 1), 0);
	cache_write(&clone.co, lblk(2), test_page(fx->ts, NEWER, lblk(2)));
	cache_unpin(&clone.co, lblk(2), 1);
	frozen = freeze(fx);
	commit(fx, &frozen);
	assert_holds(fx, 0, OLD);
	assert_holds(fx, 1, NEW);
	assert_holds(fx, 2, OLD);
	assert_has(&clone.co, 1, OLD);
	assert_has(&clone.co, 2, NEWER);
	assert_has(&clone.co, 3, OLD);
	cache_object_fini(&clone.co);
	assert_holds(fx, 2, OLD);
}

/* What was committed is there for a later clone; what was written since is not. */
static void test_committed_version_is_shared(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;
	struct clone clone;

	write_blk(fx, 5, NEW);
	write_blk(fx, 6, NEW);
	frozen = freeze(fx);
	write_blk(fx, 6, NEWER);
	commit(fx, &frozen);
	test_store_map(fx->ts, fx->co.oid, lblk(5), pblk(DST), 2, NEW);
	clone_init(fx, &clone, 0);
	assert_int_equal(fill_now(fx, &clone, 5, 2), 0);
	assert_has(&clone.co, 5, NEW);
	assert_has(&clone.co, 6, NEW);
	assert_holds(fx, 6, NEWER);
	assert_int_equal(reads(fx), 0);
	/* the newer one is dropped: what is left is what the map says, once it is asked */
	assert_int_equal(cache_punch(&fx->co, lblk(6), BLK_OBJECT_MAX - 6), 1);
	assert_empty(fx, 6);
	assert_holds(fx, 5, NEW);
	cache_object_fini(&clone.co);
}

static void test_truncated_before_its_commit_stays_away(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	write_blk(fx, 5, NEW);
	frozen = freeze(fx);
	assert_int_equal(cache_punch(&fx->co, lblk(0), BLK_OBJECT_MAX), 0);
	commit(fx, &frozen);
	assert_empty(fx, 5);
	assert_non_null(cache_page_at(fx->cache, pblk(DST)));
}

static void test_reused_block_never_shows_old_data(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;

	write_blk(fx, 5, NEW);
	frozen = freeze(fx);
	commit(fx, &frozen);
	assert_int_equal(cache_punch(&fx->co, lblk(5), BLK_OBJECT_MAX - 5), 0);
	assert_non_null(cache_page_at(fx->cache, pblk(DST)));
	cache_freed(fx->cache, pblk(DST), 1);
	assert_null(cache_page_at(fx->cache, pblk(DST)));
	test_store_map(fx->ts, fx->co.oid, lblk(9), pblk(DST), 1, NEWER);
	assert_int_equal(fill(fx, 9, 1), 0);
	assert_holds(fx, 9, NEWER);
	assert_int_equal(reads(fx), 1);
}

/* ---- one read -------------------------------------------------------------------------------- */

static void test_two_who_want_a_block_read_it_once(void **state)
{
	struct fixture *fx = *state;
	struct clone clone;
	struct waiter w;

	map_old(fx, 8);
	clone_init(fx, &clone, 0);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w, 0, 4);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	fill_of(&clone, 2, 6); /* two of them are being read */
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 2);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &clone.w.ready);
	test_store_run_flag(fx->ts, &w.ready);
	assert_int_equal(w.err, 0);
	assert_int_equal(clone.w.err, 0);
	for (uint64_t blk = 0; blk < 4; blk++)
		assert_holds(fx, blk, OLD);
	for (uint64_t blk = 2; blk < 8; blk++)
		assert_has(&clone.co, blk, OLD);
	assert_ptr_equal(cache_find(&clone.co, lblk(2)), cache_find(&fx->co, lblk(2)));
	assert_int_equal(stats(fx).read_nblks, 8);
	assert_int_equal(reads(fx), 2);
	assert_int_equal(page_pool_used(fx->ts->pages), 8);
	cache_object_fini(&clone.co);
}

/* Three follow one, and are there before it: no device call of theirs is ever made. */
static void test_followers_wait_for_the_reader(void **state)
{
	struct fixture *fx = *state;
	struct clone clones[3];
	struct waiter w;

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	for (unsigned int i = 0; i < 3; i++)
		clone_init(fx, &clones[i], i);
	fill_start(fx, &w, 0, 4);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	for (unsigned int i = 0; i < 3; i++)
		fill_of(&clones[i], 0, 4);
	/* a way through the free worker and back: they are waiting */
	assert_int_equal(fill(fx, 1000, 1), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_false(clones[i].w.ready);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	for (unsigned int i = 0; i < 3; i++) {
		test_store_run_flag(fx->ts, &clones[i].w.ready);
		assert_has(&clones[i].co, 3, OLD);
		cache_object_fini(&clones[i].co);
	}
	assert_true(w.ready);
	assert_int_equal(reads(fx), 1);
}

static void test_who_followed_a_failure_reads_for_itself(void **state)
{
	struct fixture *fx = *state;
	struct clone clone;
	struct waiter w;

	map_old(fx, 4);
	clone_init(fx, &clone, 0);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 1, -ERR_IO);
	fill_start(fx, &w, 0, 4);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	fill_of(&clone, 0, 4);
	assert_int_equal(fill(fx, 1000, 1), 0);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &clone.w.ready);
	assert_true(w.ready);
	assert_int_equal(w.err, -ERR_IO);
	assert_int_equal(clone.w.err, 0);
	assert_has(&clone.co, 0, OLD);
	assert_int_equal(reads(fx), 2);
	cache_object_fini(&clone.co);
}

/* Written and committed while it waits for the other's read: what comes is not for it. */
static void test_write_while_following(void **state)
{
	struct fixture *fx = *state;
	struct clone clone;
	struct frozen frozen;
	struct waiter w;

	map_old(fx, 4);
	clone_init(fx, &clone, 0);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_of(&clone, 0, 4);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	fill_start(fx, &w, 0, 4);
	assert_int_equal(fill(fx, 1000, 1), 0);
	for (uint64_t blk = 0; blk < 4; blk++)
		write_blk(fx, blk, NEW);
	frozen = freeze(fx);
	commit(fx, &frozen);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w.ready);
	assert_int_equal(w.err, 0);
	for (uint64_t blk = 0; blk < 4; blk++)
		assert_holds(fx, blk, NEW);
	test_store_run_flag(fx->ts, &clone.w.ready);
	assert_has(&clone.co, 0, OLD);
	cache_object_fini(&clone.co);
}

/* A worker was told that the blocks are in memory, and then they were not any more. */
static void test_old_hint_costs_a_second_fetch(void **state)
{
	struct fixture *fx = *state;
	struct clone clone;
	struct waiter w[2];

	map_old(fx, 4);
	clone_init(fx, &clone, 0);
	assert_int_equal(fill(fx, 0, 4), 0);
	fill_of(&clone, 0, 4);
	/* when both workers are stopped in these, the one before has been looked up */
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w[0], FAR, 1);
	fill_start(fx, &w[1], FAR + FOLIO_BLKS, 1);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 3);
	cache_freed(fx->cache, pblk(FIRST_BLK), 4);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &clone.w.ready);
	assert_int_equal(clone.w.err, 0);
	for (uint64_t blk = 0; blk < 4; blk++)
		assert_has(&clone.co, blk, OLD);
	assert_int_equal(reads(fx), 4);
	test_store_run_flag(fx->ts, &w[1].ready);
	test_store_run_flag(fx->ts, &w[0].ready);
	cache_object_fini(&clone.co);
}

/* ---- races ----------------------------------------------------------------------------------- */

/* Written, frozen and committed, all while a fetch of the old version is under way. */
static void test_commit_during_a_fill_wins(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;
	struct waiter w;

	map_old(fx, 4);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w, 0, 4);
	write_blk(fx, 1, NEW);
	frozen = freeze(fx);
	commit(fx, &frozen);
	assert_int_equal(cache_busy_pages(fx->cache), 0);
	assert_holds(fx, 1, NEW);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &w.ready);
	assert_int_equal(w.err, 0);
	assert_holds(fx, 0, OLD);
	assert_holds(fx, 1, NEW);
	assert_holds(fx, 2, OLD);
	press(fx);
	assert_empty(fx, 1);
}

static bool nothing_is_fetched(void *ctx)
{
	const struct cache_object *co = ctx;

	return co->nfetching == 0;
}

/* Truncated while two fills of the folio are under way: of both nothing is left. */
static void test_truncate_drops_what_two_fills_bring(void **state)
{
	struct fixture *fx = *state;
	struct waiter w[2];

	map_old(fx, 8);
	assert_int_equal(cache_pin(&fx->co, lblk(0), 1), 0); /* the folio outlives the fills */
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fill_start(fx, &w[0], 0, 2);
	fill_start(fx, &w[1], 4, 2);
	assert_int_equal(fx->co.nfetching, 2);
	assert_int_equal(cache_punch(&fx->co, lblk(1), BLK_OBJECT_MAX - 1), 0);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_until(fx->ts, nothing_is_fetched, &fx->co);
	assert_true(w[0].ready && w[1].ready);
	assert_holds(fx, 0, OLD);
	assert_empty(fx, 1);
	assert_empty(fx, 4);
	assert_int_equal(fill(fx, 4, 2), 0); /* the next one is not concerned */
	assert_holds(fx, 4, OLD);
	cache_unpin(&fx->co, lblk(0), 1);
}

/* What is clean goes from the object, and where it was is not remembered. */
static void test_truncate_forgets_what_is_clean(void **state)
{
	struct fixture *fx = *state;

	map_old(fx, 4);
	assert_int_equal(fill(fx, 0, 4), 0);
	assert_int_equal(cache_punch(&fx->co, lblk(2), BLK_OBJECT_MAX - 2), 0);
	assert_holds(fx, 1, OLD);
	assert_empty(fx, 2);
	assert_empty(fx, 3);
}

/* ---- not at home yet ------------------------------------------------------------------------- */

static void test_away_blocks_stay_in_memory(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;
	struct clone clone;

	cache_away(fx->cache, pblk(DST), 2);
	write_blk(fx, 5, NEW);
	write_blk(fx, 6, NEW);
	frozen = freeze(fx);
	commit(fx, &frozen);
	test_store_map(fx->ts, fx->co.oid, lblk(5), pblk(DST), 2, NEW);
	fake_dev_flip(fx->ts->fdev, pblk(DST), 0); /* the device does not have it */
	press(fx);
	assert_int_equal(stats(fx).away_nblks, 2);
	assert_non_null(cache_page_at(fx->cache, pblk(DST))); /* a look that is no use */
	clone_init(fx, &clone, 0);
	assert_int_equal(fill_now(fx, &clone, 5, 2), 0);
	assert_has(&clone.co, 6, NEW);
	cache_home(fx->cache, pblk(DST), 2);
	assert_int_equal(stats(fx).away_nblks, 0);
	press(fx);
	assert_empty(fx, 5);
	assert_int_equal(fill(fx, 5, 1), -ERR_CSUM); /* now it is read from there */
	fake_dev_flip(fx->ts->fdev, pblk(DST), 0);
	cache_object_fini(&clone.co);
}

/* The map has the change already, the loop has not heard of it: nothing is read meanwhile. */
static void test_away_block_is_waited_for(void **state)
{
	struct fixture *fx = *state;
	struct frozen frozen;
	struct clone clone;

	cache_away(fx->cache, pblk(DST), 1);
	write_blk(fx, 5, NEW);
	frozen = freeze(fx);
	test_store_map(fx->ts, fx->co.oid, lblk(5), pblk(DST), 1, NEW);
	fake_dev_flip(fx->ts->fdev, pblk(DST), 0);
	clone_init(fx, &clone, 0);
	fill_of(&clone, 5, 1);
	for (int turn = 0; turn < 20; turn++) {
		assert_int_equal(event_base_loop(loop_base(fx->ts->loop), EVLOOP_ONCE), 0);
		assert_false(clone.w.ready);
	}
	commit(fx, &frozen);
	test_store_run_flag(fx->ts, &clone.w.ready);
	assert_int_equal(clone.w.err, 0);
	assert_has(&clone.co, 5, NEW);
	assert_int_equal(reads(fx), 0);
	cache_object_fini(&clone.co);
}

/* ---- a cache of almost nothing --------------------------------------------------------------- */

struct looker {
	struct waiter w;
	struct cache_object *co;
	uint64_t blk;
};

static void looker_ready(struct cache_waiter *waiter, int err)
{
	struct waiter *w = CONTAINER_OF(waiter, struct waiter, waiter);
	struct looker *looker = CONTAINER_OF(w, struct looker, w);

	waiter_ready(waiter, err);
	for (uint64_t i = 0; i < FOLIO_BLKS; i++)
		assert_has(looker->co, looker->blk + i, OLD);
}

static void test_who_waited_finds_it_however_small_the_cache(void **state)
{
	struct fixture *fx = *state;
	struct cache *tiny = cache_new(fx->ts->pages, &fx->fetcher, 1, DEV_NBLKS);
	struct cache_object co;

	assert_non_null(tiny);
	cache_object_init(&co, tiny, fx->co.oid);
	for (uint64_t i = 0; i < 8; i++) {
		struct looker looker = {
		    .w.waiter.ready = looker_ready, .co = &co, .blk = FAR + i * FOLIO_BLKS};

		assert_int_equal(cache_fill(&co, lblk(looker.blk), FOLIO_BLKS, &looker.w.waiter),
				 0);
		test_store_run_flag(fx->ts, &looker.w.ready);
		assert_int_equal(looker.w.err, 0);
		assert_true(page_pool_used(fx->ts->pages) <= 1);
	}
	cache_object_fini(&co);
	cache_free(tiny);
}

/* ---- ahead ----------------------------------------------------------------------------------- */

static void test_fill_ahead_of_what_is_missing_only(void **state)
{
	struct fixture *fx = *state;
	struct waiter w = {.waiter.ready = waiter_ready};
	struct waiter second;

	map_old(fx, 16);
	assert_int_equal(fill(fx, 0, 4), 0);
	assert_int_equal(cache_fill_ahead(&fx->co, lblk(0), 4, &w.waiter), 0);
	assert_int_equal(cache_fill_ahead(&fx->co, lblk(0), 16, &w.waiter), 12);
	assert_int_equal(cache_fill_ahead(&fx->co, lblk(8), 8, &w.waiter), 0); /* on their way */
	fill_start(fx, &second, 8, 8);
	test_store_run_flag(fx->ts, &w.ready);
	assert_true(second.ready);
	assert_holds(fx, 15, OLD);
	assert_int_equal(stats(fx).ahead_nblks, 12);
	assert_int_equal(stats(fx).misses, 12);
	assert_int_equal(reads(fx), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_clones_use_the_memory_of_one_copy),
	    TEST(test_writes_of_parent_and_clone_stay_apart),
	    TEST(test_committed_version_is_shared),
	    TEST(test_truncated_before_its_commit_stays_away),
	    TEST(test_reused_block_never_shows_old_data),
	    TEST(test_two_who_want_a_block_read_it_once),
	    TEST(test_followers_wait_for_the_reader),
	    TEST(test_who_followed_a_failure_reads_for_itself),
	    TEST(test_write_while_following),
	    TEST(test_old_hint_costs_a_second_fetch),
	    TEST(test_commit_during_a_fill_wins),
	    TEST(test_truncate_drops_what_two_fills_bring),
	    TEST(test_truncate_forgets_what_is_clean),
	    TEST(test_away_blocks_stay_in_memory),
	    TEST(test_away_block_is_waited_for),
	    TEST(test_who_waited_finds_it_however_small_the_cache),
	    TEST(test_fill_ahead_of_what_is_missing_only),
	};

	return cmocka_run_group_tests_name("cache_share", tests, NULL, NULL);
}
