/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_blkcache.c: what stays in memory and what goes, and what others are told of it.
 */
#include "server/blkcache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/thread.h"

#define LIMIT	  1000u
#define DEV_NBLKS 100000u

struct fixture {
	struct page_pool *pool;
	struct blkcache *bc;
};

static int setup(void **state)
{
	static struct fixture fx;

	thread_set_role(THREAD_LOOP);
	fx.pool = page_pool_new();
	fx.bc = blkcache_new(LIMIT, DEV_NBLKS);
	*state = &fx;
	return fx.pool && fx.bc ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	blkcache_free(fx->bc);
	assert_int_equal(page_pool_used(fx->pool), 0);
	page_pool_free(fx->pool);
	return 0;
}

/* A page with the block's number in it, that only the cache refers to afterwards. */
static void put(struct fixture *fx, uint64_t blk)
{
	struct page *page = page_new(fx->pool);

	assert_non_null(page);
	memcpy(page->data, &blk, sizeof(blk));
	blkcache_insert(fx->bc, pblk(blk), page);
	page_put(page);
}

static bool holds(struct fixture *fx, uint64_t blk)
{
	struct page *page = blkcache_peek(fx->bc, pblk(blk));
	uint64_t have;

	assert_int_equal(blkcache_hint(fx->bc, pblk(blk)), page != NULL);
	if (!page)
		return false;
	memcpy(&have, page->data, sizeof(have));
	assert_int_equal(have, blk);
	return true;
}

static void use(struct fixture *fx, uint64_t blk, int times)
{
	for (int i = 0; i < times; i++)
		assert_non_null(blkcache_find(fx->bc, pblk(blk)));
}

static struct blkcache_stats stats(struct fixture *fx)
{
	struct blkcache_stats s;

	blkcache_get_stats(fx->bc, &s);
	return s;
}

/* Down to the limit, as who inserts does. */
static void keep_limit(struct fixture *fx)
{
	while (stats(fx).pages > LIMIT)
		assert_true(blkcache_evict(fx->bc, stats(fx).pages - LIMIT) > 0);
}

static void scan(struct fixture *fx, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		put(fx, first + i);
		keep_limit(fx);
	}
}

static void test_what_is_put_in_is_found(void **state)
{
	struct fixture *fx = *state;

	assert_false(holds(fx, 5));
	for (uint64_t blk = 1; blk <= 3 * LIMIT; blk++)
		put(fx, blk * 7);
	for (uint64_t blk = 1; blk <= 3 * LIMIT; blk++)
		assert_true(holds(fx, blk * 7));
	assert_false(holds(fx, 8));
	assert_int_equal(stats(fx).pages, 3 * LIMIT);
	assert_int_equal(page_pool_used(fx->pool), 3 * LIMIT);
	assert_false(blkcache_hint(fx->bc, pblk(DEV_NBLKS + 1000000)));
}

static void test_the_first_page_of_a_block_stays(void **state)
{
	struct fixture *fx = *state;
	struct page *other = page_new(fx->pool);
	struct page *first;

	put(fx, 9);
	first = blkcache_peek(fx->bc, pblk(9));
	blkcache_insert(fx->bc, pblk(9), other);
	assert_ptr_equal(blkcache_peek(fx->bc, pblk(9)), first);
	assert_int_equal(other->refs, 1);
	assert_int_equal(stats(fx).pages, 1);
	page_put(other);
}

static void test_drop_of_a_range(void **state)
{
	struct fixture *fx = *state;
	struct page *seen;

	for (uint64_t blk = 0; blk < 300; blk++)
		put(fx, blk);
	seen = page_get(blkcache_peek(fx->bc, pblk(150)));
	blkcache_drop(fx->bc, pblk(63), 130);
	for (uint64_t blk = 0; blk < 300; blk++)
		assert_int_equal(holds(fx, blk), blk < 63 || blk >= 193);
	assert_int_equal(stats(fx).pages, 170);
	assert_int_equal(stats(fx).evicted, 0);
	assert_int_equal(seen->refs, 1); /* who has it keeps it */
	page_put(seen);
	blkcache_drop(fx->bc, pblk(0), DEV_NBLKS);
	assert_int_equal(page_pool_used(fx->pool), 0);
}

static void test_evict_takes_what_is_asked_for(void **state)
{
	struct fixture *fx = *state;

	for (uint64_t blk = 0; blk < 100; blk++)
		put(fx, blk);
	assert_int_equal(blkcache_evict(fx->bc, 30), 30);
	assert_int_equal(stats(fx).pages, 70);
	assert_int_equal(stats(fx).evicted, 30);
	assert_false(holds(fx, 29)); /* the oldest */
	assert_true(holds(fx, 30));
	assert_int_equal(blkcache_evict(fx->bc, 1000), 70);
	assert_int_equal(blkcache_evict(fx->bc, 1), 0);
}

static void test_a_scan_leaves_what_is_used_often(void **state)
{
	struct fixture *fx = *state;

	for (uint64_t blk = 0; blk < LIMIT / 2; blk++) {
		put(fx, blk);
		use(fx, blk, 2);
	}
	scan(fx, 10000, 4 * LIMIT);
	for (uint64_t blk = 0; blk < LIMIT / 2; blk++)
		assert_true(holds(fx, blk));
	/* and not for ever: what is not used any more goes, when others are used more */
	for (uint64_t round = 0; round < 20; round++) {
		for (uint64_t blk = 0; blk < LIMIT; blk++) {
			if (!holds(fx, 50000 + blk))
				put(fx, 50000 + blk);
			use(fx, 50000 + blk, 2);
			keep_limit(fx);
		}
	}
	for (uint64_t blk = 0; blk < LIMIT / 2; blk++)
		assert_false(holds(fx, blk));
}

/* One use is what a reader makes of what was read ahead for it. */
static void test_one_use_is_no_reason_to_stay(void **state)
{
	struct fixture *fx = *state;

	put(fx, 1);
	use(fx, 1, 1);
	put(fx, 2);
	use(fx, 2, 2);
	scan(fx, 10000, 2 * LIMIT);
	assert_false(holds(fx, 1));
	assert_true(holds(fx, 2));
}

/* Puts 50 blocks in, scans, puts them in again, scans: how many are there in the end. */
static unsigned int come_back(struct fixture *fx, uint64_t first, uint64_t between)
{
	unsigned int n = 0;

	scan(fx, first, 50);
	scan(fx, first + 1000, between);
	for (uint64_t blk = first; blk < first + 50; blk++)
		assert_false(holds(fx, blk));
	scan(fx, first, 50);
	scan(fx, first + 10000, 2 * LIMIT);
	for (uint64_t blk = first; blk < first + 50; blk++)
		n += holds(fx, blk);
	return n;
}

static void test_noted_blocks_come_back_to_stay(void **state)
{
	struct fixture *fx = *state;

	scan(fx, 90000, LIMIT);
	assert_true(come_back(fx, 0, LIMIT + LIMIT / 4) >= 40);
	/* after a longer time they are as any other */
	assert_int_equal(come_back(fx, 20000, 4 * LIMIT), 0);
}

static void test_pages_in_use_elsewhere_are_spared(void **state)
{
	struct fixture *fx = *state;
	struct page *held[40];

	for (uint64_t blk = 0; blk < 40; blk++) {
		put(fx, blk);
		held[blk] = page_get(blkcache_peek(fx->bc, pblk(blk)));
	}
	put(fx, 100);
	put(fx, 101);
	use(fx, 101, 3); /* so that it is in the main queue */
	assert_int_equal(blkcache_evict(fx->bc, 10), 2);
	for (uint64_t blk = 0; blk < 40; blk++) {
		assert_true(holds(fx, blk));
		page_put(held[blk]);
	}
	assert_int_equal(blkcache_evict(fx->bc, 100), 40);
}

/* Nor do they stand in the way of others: there are more of them than one call looks at. */
static void test_pages_in_use_are_passed_by(void **state)
{
	struct fixture *fx = *state;
	struct page *held[40];

	for (uint64_t blk = 0; blk < 40; blk++) {
		put(fx, blk);
		use(fx, blk, 3);
		held[blk] = page_get(blkcache_peek(fx->bc, pblk(blk)));
	}
	put(fx, 100); /* so few that it would be the turn of the others */
	put(fx, 101);
	assert_int_equal(blkcache_evict(fx->bc, 10), 2);
	for (uint64_t blk = 0; blk < 40; blk++) {
		assert_true(holds(fx, blk));
		page_put(held[blk]);
	}
}

static void test_pinned_stay_until_unpinned(void **state)
{
	struct fixture *fx = *state;

	put(fx, 10);
	blkcache_pin(fx->bc, pblk(10), 3); /* two of them come later */
	put(fx, 11);
	put(fx, 12);
	put(fx, 13);
	assert_int_equal(stats(fx).pinned, 3);
	assert_int_equal(blkcache_evict(fx->bc, 100), 1);
	for (uint64_t blk = 10; blk < 13; blk++) {
		assert_true(holds(fx, blk));
		assert_true(blkcache_is_pinned(fx->bc, pblk(blk)));
	}
	assert_false(blkcache_is_pinned(fx->bc, pblk(9)) || blkcache_is_pinned(fx->bc, pblk(13)));
	blkcache_pin(fx->bc, pblk(11), 1);
	assert_int_equal(stats(fx).pinned, 3);
	blkcache_unpin(fx->bc, pblk(0), 12);
	assert_int_equal(stats(fx).pinned, 1);
	assert_int_equal(blkcache_evict(fx->bc, 100), 2);
	assert_true(holds(fx, 12));
	blkcache_drop(fx->bc, pblk(12), 1);
	assert_false(holds(fx, 12) || blkcache_is_pinned(fx->bc, pblk(12)));
	assert_int_equal(stats(fx).pinned, 0);
}

static void test_forgotten_is_what_is_not_pinned(void **state)
{
	struct fixture *fx = *state;
	struct page *held;

	for (uint64_t blk = 100; blk < 300; blk++)
		if (blk % 3 != 0)
			put(fx, blk);
	blkcache_pin(fx->bc, pblk(150), 20);
	held = page_get(blkcache_peek(fx->bc, pblk(200)));
	use(fx, 202, 3);
	blkcache_forget(fx->bc, pblk(110), 100);
	for (uint64_t blk = 100; blk < 300; blk++) {
		bool gone = (blk >= 110 && blk < 150) || (blk >= 170 && blk < 210);

		assert_int_equal(holds(fx, blk), blk % 3 != 0 && !gone);
		assert_int_equal(blkcache_is_pinned(fx->bc, pblk(blk)), blk >= 150 && blk < 170);
	}
	assert_int_equal(stats(fx).pinned, 20);
	assert_int_equal(stats(fx).evicted, 0);
	page_put(held);
	assert_int_equal(page_pool_used(fx->pool), stats(fx).pages);
	blkcache_forget(fx->bc, pblk(0), DEV_NBLKS);
	assert_int_equal(stats(fx).pages, 13); /* of the pinned ones */
}

struct asker {
	struct blkcache *bc;
	unsigned int seen;
};

static void *asker_run(void *ctx)
{
	struct asker *asker = ctx;

	/* 7 is always there, 8 never, the others come and go */
	for (int i = 0; i < 20000; i++) {
		asker->seen += blkcache_hint(asker->bc, pblk((uint64_t)(i % 64)));
		if (!blkcache_hint(asker->bc, pblk(7)) || blkcache_hint(asker->bc, pblk(8)) ||
		    !blkcache_is_pinned(asker->bc, pblk(7)))
			return asker;
	}
	return NULL;
}

static void test_hints_are_for_any_thread(void **state)
{
	struct fixture *fx = *state;
	struct asker asker = {.bc = fx->bc};
	pthread_t thread;
	void *failed;

	blkcache_pin(fx->bc, pblk(7), 1);
	put(fx, 7);
	assert_int_equal(pthread_create(&thread, NULL, asker_run, &asker), 0);
	for (int round = 0; round < 500; round++) {
		for (uint64_t blk = 0; blk < 64; blk++)
			if (blk != 8)
				put(fx, blk);
		assert_int_equal(blkcache_evict(fx->bc, 64), 62);
	}
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_what_is_put_in_is_found),
	    TEST(test_the_first_page_of_a_block_stays),
	    TEST(test_drop_of_a_range),
	    TEST(test_evict_takes_what_is_asked_for),
	    TEST(test_a_scan_leaves_what_is_used_often),
	    TEST(test_one_use_is_no_reason_to_stay),
	    TEST(test_noted_blocks_come_back_to_stay),
	    TEST(test_pages_in_use_elsewhere_are_spared),
	    TEST(test_pages_in_use_are_passed_by),
	    TEST(test_pinned_stay_until_unpinned),
	    TEST(test_forgotten_is_what_is_not_pinned),
	    TEST(test_hints_are_for_any_thread),
	};

	return cmocka_run_group_tests_name("blkcache", tests, NULL, NULL);
}
