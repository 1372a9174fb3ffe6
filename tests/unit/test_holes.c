/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of holes, against a map of bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/holes.h"
#include "tests/lib/rnd.h"

#define NBLKS 200u

static void add(struct holes *holes, uint64_t blk, uint64_t n)
{
	assert_int_equal(holes_reserve(holes), 0);
	holes_add(holes, lblk(blk), n);
}

/* Ascending, none empty, and none touches the next. */
static void assert_in_order(const struct holes *holes)
{
	for (uint32_t i = 0; i < holes->n; i++) {
		assert_true(holes->ranges[i].nblks > 0);
		if (i > 0)
			assert_true(holes->ranges[i - 1].blk.n + holes->ranges[i - 1].nblks <
				    holes->ranges[i].blk.n);
	}
}

static void assert_as(const struct holes *holes, const bool *want)
{
	for (uint64_t blk = 0; blk < NBLKS; blk++) {
		uint64_t end = blk + 1;
		uint64_t until = NBLKS;
		uint64_t near = blk + 1;

		while (end < NBLKS && want[end] == want[blk])
			end++;
		assert_int_equal(holes_at(holes, lblk(blk), &until), want[blk]);
		assert_int_equal(until, end);
		assert_int_equal(holes_at(holes, lblk(blk), &near), want[blk]);
		assert_int_equal(near, blk + 1);
	}
}

static void random_ranges_are_kept_and_joined(void **state)
{
	struct rnd rnd = {7};

	(void)state;
	for (unsigned int round = 0; round < 300; round++) {
		struct holes holes = {0};
		bool want[NBLKS] = {false};

		for (unsigned int i = 0; i < 20; i++) {
			uint64_t blk = rnd_below(&rnd, NBLKS);
			uint64_t n = rnd_below(&rnd, rnd_one_in(&rnd, 4) ? NBLKS - blk : 5);

			n = n < NBLKS - blk ? n : NBLKS - blk;
			add(&holes, blk, n);
			memset(&want[blk], true, n);
			assert_in_order(&holes);
			assert_as(&holes, want);
		}
		holes_fini(&holes);
		assert_int_equal(holes.n, 0);
	}
}

static void what_touches_is_one(void **state)
{
	struct holes holes = {0};

	(void)state;
	add(&holes, 10, 5);
	add(&holes, 20, 5);
	assert_int_equal(holes.n, 2);
	add(&holes, 15, 5);
	assert_int_equal(holes.n, 1);
	assert_int_equal(holes.ranges[0].blk.n, 10);
	assert_int_equal(holes.ranges[0].nblks, 15);
	add(&holes, 3, 0);
	assert_int_equal(holes.n, 1);
	add(&holes, 4, BLK_OBJECT_MAX - 4);
	assert_int_equal(holes.n, 1);
	assert_int_equal(holes.ranges[0].blk.n, 4);
	assert_int_equal(holes.ranges[0].nblks, BLK_OBJECT_MAX - 4);
	holes_fini(&holes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_ranges_are_kept_and_joined),
	    cmocka_unit_test(what_touches_is_one),
	};

	return cmocka_run_group_tests_name("holes", tests, NULL, NULL);
}
