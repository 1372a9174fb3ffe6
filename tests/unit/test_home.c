/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_home.c: the set of blocks whose data is in the journal only.
 */
#include "server/home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/rnd.h"

#define NBLKS 2048u

/* Stands for the data of a block; only its address counts. */
static uint8_t data_of[NBLKS];

/* What was given back, and how often. */
struct given {
	unsigned int n;
	unsigned int times[NBLKS];
};

static int setup(void **state)
{
	static struct home home;

	home = (struct home){0};
	*state = &home;
	return 0;
}

static void forget(void *ctx, const struct home_blk *hb)
{
	(void)ctx;
	(void)hb;
}

static int teardown(void **state)
{
	home_clear(*state, forget, NULL);
	return 0;
}

static void take(void *ctx, const struct home_blk *hb)
{
	struct given *given = ctx;

	assert_true(hb->blk < NBLKS);
	assert_ptr_equal(hb->data, &data_of[hb->blk]);
	assert_ptr_equal(hb->owner, given);
	given->times[hb->blk]++;
	given->n++;
}

static void add(struct home *home, uint64_t blk, void *owner)
{
	assert_int_equal(home_add(home, pblk(blk), &data_of[blk], owner), 0);
}

static void a_block_is_found_by_its_place(void **state)
{
	struct home *home = *state;
	const struct home_blk *hb;
	int owner;

	assert_null(home_find(home, pblk(7)));
	assert_int_equal(home_count(home), 0);
	add(home, 7, &owner);
	add(home, 9, NULL);
	hb = home_find(home, pblk(7));
	assert_non_null(hb);
	assert_ptr_equal(hb->data, &data_of[7]);
	assert_ptr_equal(hb->owner, &owner);
	assert_int_equal(hb->blk, 7);
	assert_null(home_find(home, pblk(8)));
	assert_int_equal(home_count(home), 2);
}

static void a_dropped_block_is_given_back_once(void **state)
{
	struct home *home = *state;
	struct given given = {0};

	add(home, 7, &given);
	home_drop(home, pblk(7), 1, take, &given);
	assert_int_equal(given.times[7], 1);
	assert_null(home_find(home, pblk(7)));
	home_drop(home, pblk(7), 1, take, &given);
	assert_int_equal(given.n, 1);
	add(home, 7, &given); /* a place is used again */
	assert_int_equal(home_count(home), 1);
}

/* Long and short ranges are looked for in different ways. */
static void a_range_takes_its_blocks_and_no_others(void **state)
{
	struct home *home = *state;
	struct given given = {0};

	for (uint64_t blk = 10; blk < 20; blk++)
		add(home, blk, &given);
	home_drop(home, pblk(12), 3, take, &given);
	assert_int_equal(given.n, 3);
	for (uint64_t blk = 10; blk < 20; blk++)
		assert_int_equal(given.times[blk], blk >= 12 && blk < 15);
	home_drop(home, pblk(16), 1000, take, &given);
	assert_int_equal(given.n, 7);
	for (uint64_t blk = 10; blk < 20; blk++)
		assert_int_equal(given.times[blk], (blk >= 12 && blk < 15) || blk >= 16);
	assert_non_null(home_find(home, pblk(15)));
	assert_null(home_find(home, pblk(16)));
}

static void a_run_is_what_lies_together(void **state)
{
	static const uint64_t blks[] = {30, 12, 11, 31, 10, 14};
	struct home *home = *state;
	struct iovec iov[8];
	struct home_blk *next;

	for (size_t i = 0; i < ARRAY_LEN(blks); i++)
		add(home, blks[i], NULL);
	home_sort(home);
	assert_int_equal(home->blks->blk, 10);
	assert_int_equal(home_run(home->blks, iov, 8, &next), 3);
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(iov[i].iov_base, &data_of[10 + i]);
		assert_int_equal(iov[i].iov_len, BLK_BYTES);
	}
	assert_int_equal(next->blk, 14);
	assert_int_equal(home_run(next, iov, 8, &next), 1);
	assert_int_equal(next->blk, 30);
	assert_int_equal(home_run(next, iov, 8, &next), 2);
	assert_null(next);
}

static void a_run_ends_where_the_vector_does(void **state)
{
	struct home *home = *state;
	struct iovec iov[3];
	struct home_blk *next;

	for (uint64_t blk = 5; blk < 10; blk++)
		add(home, blk, NULL);
	home_sort(home);
	assert_int_equal(home_run(home->blks, iov, 3, &next), 3);
	assert_int_equal(next->blk, 8);
	assert_int_equal(home_run(next, iov, 3, &next), 2);
	assert_null(next);
}

static void clearing_gives_all_back(void **state)
{
	struct home *home = *state;
	struct given given = {0};

	for (uint64_t blk = 0; blk < 100; blk++)
		add(home, blk * 3, &given);
	home_clear(home, take, &given);
	assert_int_equal(given.n, 100);
	for (uint64_t blk = 0; blk < 100; blk++)
		assert_int_equal(given.times[blk * 3], 1);
	assert_int_equal(home_count(home), 0);
	home_clear(home, take, &given);
	assert_int_equal(given.n, 100);
}

/* ---- against an array ------------------------------------------------------------------------ */

static void runs_cover_all_in_order(struct home *home, const bool *there)
{
	struct home_blk *next = NULL;
	uint64_t blk = 0;
	size_t n = 0;

	home_sort(home);
	for (struct home_blk *hb = home->blks; hb; hb = next) {
		struct iovec iov[16];
		int len = home_run(hb, iov, 16, &next);

		assert_in_range(len, 1, 16);
		assert_true(hb->blk >= blk);
		for (int i = 0; i < len; i++) {
			assert_true(there[hb->blk + (uint64_t)i]);
			assert_ptr_equal(iov[i].iov_base, &data_of[hb->blk + (uint64_t)i]);
		}
		blk = hb->blk + (uint64_t)len;
		n += (size_t)len;
	}
	assert_int_equal(n, home_count(home));
}

static void random_sets_are_as_an_array_says(void **state)
{
	struct home *home = *state;
	struct given given = {0};
	struct rnd r = rnd_stream(1);
	bool there[NBLKS] = {false};
	size_t count = 0;

	for (unsigned int step = 0; step < 4000; step++) {
		uint64_t blk = rnd_below(&r, NBLKS);
		uint64_t n = rnd_log(&r, NBLKS - blk);

		if (!rnd_one_in(&r, 8)) {
			if (!there[blk])
				add(home, blk, &given);
			count += !there[blk];
			there[blk] = true;
			continue;
		}
		given = (struct given){0};
		home_drop(home, pblk(blk), n, take, &given);
		for (uint64_t b = 0; b < NBLKS; b++) {
			bool dropped = there[b] && b >= blk && b < blk + n;

			assert_int_equal(given.times[b], dropped);
			there[b] = there[b] && !dropped;
			count -= dropped;
		}
		assert_int_equal(home_count(home), count);
		if (rnd_one_in(&r, 16))
			runs_cover_all_in_order(home, there);
	}
	runs_cover_all_in_order(home, there);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_block_is_found_by_its_place),	  TEST(a_dropped_block_is_given_back_once),
	    TEST(a_range_takes_its_blocks_and_no_others), TEST(a_run_is_what_lies_together),
	    TEST(a_run_ends_where_the_vector_does),	  TEST(clearing_gives_all_back),
	    TEST(random_sets_are_as_an_array_says),
	};

	return cmocka_run_group_tests_name("home", tests, NULL, NULL);
}
