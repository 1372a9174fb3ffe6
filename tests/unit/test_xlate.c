/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_xlate.c: what was said last of a block is what is known of it, or nothing is.  TEST_SEED
 * replays the random one.
 */
#include "server/xlate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/thread.h"
#include "tests/lib/rnd.h"

#define LARGE ((size_t)64 << 20)
#define LEAF  128u /* blocks that are remembered together */

struct fixture {
	struct xlate *xlate;
	struct xlate_object a;
	struct xlate_object b;
};

static void fixture_make(struct fixture *fx, size_t budget)
{
	fx->xlate = xlate_new(budget);
	assert_non_null(fx->xlate);
	xlate_object_init(&fx->a, fx->xlate);
	xlate_object_init(&fx->b, fx->xlate);
}

static int setup(void **state)
{
	static struct fixture fx;

	thread_set_role(THREAD_LOOP);
	fixture_make(&fx, LARGE);
	*state = &fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	xlate_forget(&fx->a, lblk(0), BLK_OBJECT_MAX);
	xlate_forget(&fx->b, lblk(0), BLK_OBJECT_MAX);
	xlate_free(fx->xlate); /* asserts that nothing is left */
	return 0;
}

static void assert_at(struct xlate_object *xo, uint64_t blk, uint64_t want)
{
	pblk_t at = pblk(0);

	assert_int_equal(xlate_find(xo, lblk(blk), &at), XLATE_MAPPED);
	assert_int_equal(at.n, want);
}

static void assert_kind(struct xlate_object *xo, uint64_t blk, enum xlate_kind kind)
{
	pblk_t at = pblk(77);

	assert_int_equal(xlate_find(xo, lblk(blk), &at), kind);
	assert_int_equal(at.n, 77); /* written for a mapped block only */
}

static void test_a_range_is_known_and_nothing_else(void **state)
{
	struct fixture *fx = *state;

	xlate_set(&fx->a, lblk(100), 300, pblk(5000));
	assert_kind(&fx->a, 99, XLATE_UNKNOWN);
	for (uint64_t i = 0; i < 300; i++)
		assert_at(&fx->a, 100 + i, 5000 + i);
	assert_kind(&fx->a, 400, XLATE_UNKNOWN);
	assert_kind(&fx->b, 200, XLATE_UNKNOWN);
	xlate_set(&fx->b, lblk(200), 1, pblk(0));
	assert_kind(&fx->b, 200, XLATE_HOLE);
	assert_at(&fx->a, 200, 5100);
}

static void test_the_last_word_counts(void **state)
{
	struct fixture *fx = *state;

	xlate_set(&fx->a, lblk(0), LEAF, pblk(1000));
	xlate_set(&fx->a, lblk(10), 20, pblk(0));
	xlate_set(&fx->a, lblk(15), 1, pblk(9000));
	assert_at(&fx->a, 9, 1009);
	assert_kind(&fx->a, 10, XLATE_HOLE);
	assert_kind(&fx->a, 14, XLATE_HOLE);
	assert_at(&fx->a, 15, 9000);
	assert_kind(&fx->a, 29, XLATE_HOLE);
	assert_at(&fx->a, 30, 1030);
	assert_at(&fx->a, LEAF - 1, 1000 + LEAF - 1);
}

static void test_physical_numbers_of_48_bits(void **state)
{
	struct fixture *fx = *state;
	const uint64_t large = (UINT64_C(1) << 48) - 8;

	xlate_set(&fx->a, lblk((UINT64_C(1) << 38) - 8), 8, pblk(large));
	assert_at(&fx->a, (UINT64_C(1) << 38) - 1, large + 7);
	assert_kind(&fx->a, 7, XLATE_UNKNOWN);
}

static void test_forget_from_a_block_on(void **state)
{
	struct fixture *fx = *state;

	xlate_set(&fx->a, lblk(0), 4 * LEAF, pblk(1000));
	xlate_set(&fx->b, lblk(0), 4 * LEAF, pblk(1000));
	xlate_forget(&fx->a, lblk(LEAF + 5), BLK_OBJECT_MAX - LEAF - 5);
	assert_at(&fx->a, LEAF + 4, 1000 + LEAF + 4);
	for (uint64_t blk = LEAF + 5; blk < 4 * LEAF; blk++)
		assert_kind(&fx->a, blk, XLATE_UNKNOWN);
	assert_at(&fx->b, 3 * LEAF, 1000 + 3 * LEAF);
	xlate_forget(&fx->a, lblk(LEAF), BLK_OBJECT_MAX - LEAF);
	assert_kind(&fx->a, LEAF, XLATE_UNKNOWN);
	assert_at(&fx->a, LEAF - 1, 1000 + LEAF - 1);
}

static void test_a_leaf_of_one_extent_is_small(void **state)
{
	struct fixture *fx = *state;

	/* block by block, in two directions: it comes to one extent all the same */
	for (uint64_t i = 0; i < LEAF; i += 2)
		xlate_set(&fx->b, lblk(i), 2, pblk(1000 + i));
	assert_true(xlate_bytes(fx->xlate) < 128);
	for (uint64_t leaf = 1; leaf < 100; leaf++)
		xlate_set(&fx->b, lblk(leaf * LEAF), LEAF, pblk(7000 * leaf));
	assert_true(xlate_bytes(fx->xlate) < 100 * 128);
	assert_at(&fx->b, LEAF - 1, 1000 + LEAF - 1);
}

static void test_budget_drops_what_was_not_used_longest(void **state)
{
	struct fixture tiny;
	const uint64_t n = 1000;

	(void)state;
	fixture_make(&tiny, 100 * 128);
	xlate_set(&tiny.a, lblk(0), LEAF, pblk(1000));
	for (uint64_t i = 1; i <= n; i++) {
		xlate_set(&tiny.b, lblk(i * LEAF), 1, pblk(i));
		assert_true(xlate_bytes(tiny.xlate) <= 100 * 128);
		assert_at(&tiny.a, 5, 1005); /* used again and again */
	}
	assert_at(&tiny.b, n * LEAF, n);
	assert_at(&tiny.b, (n - 90) * LEAF, n - 90);
	assert_kind(&tiny.b, LEAF, XLATE_UNKNOWN);
	xlate_forget(&tiny.a, lblk(0), BLK_OBJECT_MAX);
	xlate_forget(&tiny.b, lblk(0), BLK_OBJECT_MAX);
	xlate_free(tiny.xlate);
}

/* The one that has just been set stays, whatever the budget. */
static void test_no_budget_at_all(void **state)
{
	struct fixture none;

	(void)state;
	fixture_make(&none, 0);
	xlate_set(&none.a, lblk(0), LEAF, pblk(1000));
	xlate_set(&none.a, lblk(LEAF), LEAF, pblk(2000));
	assert_kind(&none.a, 0, XLATE_UNKNOWN);
	assert_at(&none.a, LEAF, 2000);
	xlate_forget(&none.a, lblk(0), BLK_OBJECT_MAX);
	xlate_free(none.xlate);
}

#define MANY 3000u /* leaves: more than are freed at once */

static void set_many(struct xlate_object *xo, uint64_t at)
{
	for (uint64_t i = 0; i < MANY; i++)
		xlate_set(xo, lblk(i * LEAF), LEAF, pblk(at + i * LEAF));
}

static void test_much_is_forgotten_at_once_and_given_back_by_and_by(void **state)
{
	struct fixture *fx = *state;
	size_t bytes;
	size_t kept;

	set_many(&fx->a, 1000);
	bytes = xlate_bytes(fx->xlate);
	xlate_forget(&fx->a, lblk(0), BLK_OBJECT_MAX);
	kept = xlate_bytes(fx->xlate);
	assert_in_range(kept, bytes / 2, bytes);
	for (uint64_t i = 0; i < MANY; i++) {
		assert_kind(&fx->a, i * LEAF + 7, XLATE_UNKNOWN);
		assert_true(kept == 0 || xlate_bytes(fx->xlate) < kept);
		kept = xlate_bytes(fx->xlate);
	}
	assert_int_equal(kept, 0);
}

static void test_what_is_learned_behind_that_is_known(void **state)
{
	struct fixture *fx = *state;

	set_many(&fx->a, 1000);
	xlate_set(&fx->b, lblk(0), LEAF, pblk(5000000));
	xlate_forget(&fx->a, lblk(0), BLK_OBJECT_MAX);
	set_many(&fx->a, 9000000);
	for (uint64_t blk = 0; blk < MANY * LEAF; blk += 11)
		assert_at(&fx->a, blk, 9000000 + blk);
	assert_at(&fx->b, 5, 5000005);
	xlate_forget(&fx->a, lblk(0), BLK_OBJECT_MAX);
	xlate_forget(&fx->a, lblk(0), BLK_OBJECT_MAX);
	assert_kind(&fx->a, 0, XLATE_UNKNOWN);
	assert_at(&fx->b, 5, 5000005);
}

/* It may forget more than it was told to, and is never wrong. */
static void test_much_is_forgotten_in_the_middle(void **state)
{
	struct fixture *fx = *state;
	pblk_t at;

	set_many(&fx->a, 1000);
	xlate_forget(&fx->a, lblk(LEAF), (uint64_t)(MANY - 2) * LEAF);
	for (uint64_t blk = 0; blk < MANY * LEAF; blk += 3) {
		bool inside = blk >= LEAF && blk < (MANY - 1) * LEAF;

		if (xlate_find(&fx->a, lblk(blk), &at) == XLATE_UNKNOWN)
			continue;
		assert_false(inside);
		assert_int_equal(at.n, 1000 + blk);
	}
}

static void test_what_was_forgotten_goes_before_what_is_known(void **state)
{
	struct fixture small;
	const size_t budget = (MANY + 100) * 128;

	(void)state;
	fixture_make(&small, budget);
	for (uint64_t i = 0; i < 100; i++)
		xlate_set(&small.b, lblk(i * LEAF), LEAF, pblk(7000 * (i + 1)));
	set_many(&small.a, 1000);
	xlate_forget(&small.a, lblk(0), BLK_OBJECT_MAX);
	set_many(&small.a, 9000000);
	assert_true(xlate_bytes(small.xlate) <= budget);
	for (uint64_t i = 0; i < 100; i++)
		assert_at(&small.b, i * LEAF, 7000 * (i + 1));
	xlate_forget(&small.a, lblk(0), BLK_OBJECT_MAX);
	xlate_forget(&small.b, lblk(0), BLK_OBJECT_MAX);
	xlate_free(small.xlate);
}

#define MODEL_BLKS (3 * LEAF)
#define UNKNOWN	   UINT64_MAX

/* Mostly small ranges; numbers that often continue those of the block before. */
static void model_set(struct rnd *r, struct xlate_object *xo, uint64_t *model)
{
	uint64_t blk = rnd_below(r, MODEL_BLKS);
	uint64_t n = 1 + rnd_below(r, rnd_log(r, MODEL_BLKS - blk));
	uint64_t at = 10000 + rnd_below(r, 1000);

	if (rnd_one_in(r, 2))
		at = 1000 + blk;
	if (rnd_one_in(r, 5))
		at = 0;
	xlate_set(xo, lblk(blk), n, pblk(at));
	for (uint64_t i = 0; i < n; i++)
		model[blk + i] = at == 0 ? 0 : at + i;
}

static void test_random_changes_against_a_model(void **state)
{
	struct fixture *fx = *state;
	struct rnd r = rnd_stream(1);
	uint64_t model[MODEL_BLKS];

	memset(model, 0xff, sizeof(model));
	for (int step = 0; step < 20000; step++) {
		if (rnd_one_in(&r, 50)) {
			uint64_t blk = rnd_below(&r, MODEL_BLKS);

			xlate_forget(&fx->a, lblk(blk), BLK_OBJECT_MAX - blk);
			memset(model + blk, 0xff, (MODEL_BLKS - blk) * sizeof(*model));
		} else {
			model_set(&r, &fx->a, model);
		}
		for (uint64_t blk = 0; blk < MODEL_BLKS; blk++) {
			if (model[blk] == UNKNOWN)
				assert_kind(&fx->a, blk, XLATE_UNKNOWN);
			else if (model[blk] == 0)
				assert_kind(&fx->a, blk, XLATE_HOLE);
			else
				assert_at(&fx->a, blk, model[blk]);
		}
	}
	assert_true(xlate_bytes(fx->xlate) <= 3 * (128 + LEAF * 8 + 16));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_range_is_known_and_nothing_else),
	    TEST(test_the_last_word_counts),
	    TEST(test_physical_numbers_of_48_bits),
	    TEST(test_forget_from_a_block_on),
	    TEST(test_a_leaf_of_one_extent_is_small),
	    TEST(test_budget_drops_what_was_not_used_longest),
	    TEST(test_no_budget_at_all),
	    TEST(test_much_is_forgotten_at_once_and_given_back_by_and_by),
	    TEST(test_what_is_learned_behind_that_is_known),
	    TEST(test_much_is_forgotten_in_the_middle),
	    TEST(test_what_was_forgotten_goes_before_what_is_known),
	    TEST(test_random_changes_against_a_model),
	};

	return cmocka_run_group_tests_name("xlate", tests, NULL, NULL);
}
