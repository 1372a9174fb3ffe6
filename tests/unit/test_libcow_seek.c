/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: zeroing, trimming, range clones, unsharing, and seeking data and holes. */
#include "tests/unit/libcow_fixture.h"

#include <stdbool.h>
#include <string.h>

/* "a", which is empty. */
static int setup(void **state)
{
	struct fixture *fx = fixture_start(state);

	assert_int_equal(cow_create(fx->cow, "a", 0), 0);
	fixture_open(fx, "a");
	return 0;
}

static void put(struct fixture *fx, uint64_t blk)
{
	uint8_t data[BLOCK];

	memset(data, 7, sizeof(data));
	assert_int_equal(cow_pwrite(fx->obj, data, sizeof(data), blk * BLOCK), (ssize_t)BLOCK);
}

static void test_seek_in_an_empty_object(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(cow_seek_data(fx->obj, 0), -COW_ENOENT);
	assert_int_equal(cow_seek_hole(fx->obj, 0), -COW_ENOENT);
	assert_string_equal(cow_error(fx->cow), "behind the end of the object");
}

static void test_seek_finds_the_next_of_its_kind(void **state)
{
	struct fixture *fx = *state;

	put(fx, 2);
	put(fx, 5);
	assert_int_equal(cow_resize(fx->obj, 7 * BLOCK + 100, 0), 0);
	assert_int_equal(cow_seek_data(fx->obj, 0), 2 * BLOCK);
	assert_int_equal(cow_seek_hole(fx->obj, 0), 0);
	assert_int_equal(cow_seek_data(fx->obj, 2 * BLOCK + 9), 2 * BLOCK + 9);
	assert_int_equal(cow_seek_hole(fx->obj, 2 * BLOCK + 9), 3 * BLOCK);
	assert_int_equal(cow_seek_data(fx->obj, 3 * BLOCK), 5 * BLOCK);
	assert_int_equal(cow_seek_data(fx->obj, 6 * BLOCK), -COW_ENOENT);
	assert_string_equal(cow_error(fx->cow), "no more data in the object");
	assert_int_equal(cow_seek_hole(fx->obj, 7 * BLOCK + 99), 7 * BLOCK + 99);
	assert_int_equal(cow_seek_hole(fx->obj, 7 * BLOCK + 100), -COW_ENOENT);
}

/* The end of the object is a hole, where it ends in data. */
static void test_seek_finds_the_end(void **state)
{
	struct fixture *fx = *state;

	put(fx, 0);
	assert_int_equal(cow_seek_hole(fx->obj, 5), BLOCK);
	assert_int_equal(cow_seek_hole(fx->obj, BLOCK), -COW_ENOENT);
}

static void test_seek_over_long_runs(void **state)
{
	struct fixture *fx = *state;

	for (uint64_t blk = 0; blk < 300; blk++)
		put(fx, blk);
	assert_int_equal(cow_seek_hole(fx->obj, 0), 300 * BLOCK);
	put(fx, 1000);
	assert_int_equal(cow_seek_data(fx->obj, 300 * BLOCK), 1000 * BLOCK);
}

static void test_zero_and_trim(void **state)
{
	struct fixture *fx = *state;
	uint8_t buf[4 * BLOCK];

	for (uint64_t blk = 0; blk < 4; blk++)
		put(fx, blk);
	assert_int_equal(cow_zero(fx->obj, 100, BLOCK), 0);
	assert_int_equal(cow_trim(fx->obj, 2 * BLOCK - 1, BLOCK + 2), 0);
	assert_int_equal(cow_pread(fx->obj, buf, sizeof(buf), 0), (ssize_t)sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++) {
		bool zeroed = i >= 100 && i < 100 + BLOCK;
		bool trimmed = i >= 2 * BLOCK && i < 3 * BLOCK;

		assert_int_equal(buf[i], zeroed || trimmed ? 0 : 7);
	}
	assert_int_equal(cow_seek_hole(fx->obj, 0), 2 * BLOCK);
	assert_int_equal(cow_object_size(fx->obj), 0); /* as of the opening */
}

/* One call makes as many requests as the server needs. */
static void test_clone_range(void **state)
{
	struct fixture *fx = *state;
	uint8_t buf[4 * BLOCK];

	for (uint64_t blk = 0; blk < 4; blk++)
		put(fx, blk);
	fx->st->clone_range_max = BLOCK;
	assert_int_equal(cow_clone_range(fx->obj, 0, 0, fx->obj, 4 * BLOCK), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_CLONE_RANGE], 4);
	assert_int_equal(cow_clone_range(fx->obj, 0, 5, fx->obj, 8 * BLOCK), 0);
	assert_int_equal(cow_pread(fx->obj, buf, sizeof(buf), 4 * BLOCK), (ssize_t)sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 7);
	assert_int_equal(cow_pread(fx->obj, buf, sizeof(buf), 8 * BLOCK), 5);
}

/* It comes to the end, and what was copied is told where it does not. */
static void test_unshare(void **state)
{
	struct fixture *fx = *state;
	uint64_t copied = 1;

	for (uint64_t blk = 0; blk < 4; blk++)
		put(fx, blk);
	assert_int_equal(cow_unshare(fx->obj, 9 * BLOCK, 5, &copied), 0);
	assert_int_equal(copied, 0);
	fx->st->unshare_max = BLOCK;
	assert_int_equal(cow_unshare(fx->obj, 5, UINT64_MAX, &copied), 0);
	assert_int_equal(copied, 4 * BLOCK - 5);
	assert_int_equal(fx->st->requests[WIRE_OP_UNSHARE], 1 + 4);
	fx->st->unshare_room = 2 * BLOCK;
	assert_int_equal(cow_unshare(fx->obj, 0, 3 * BLOCK, NULL), -COW_ENOSPC);
	assert_int_equal(cow_unshare(fx->obj, 0, 3 * BLOCK, &copied), -COW_ENOSPC);
	assert_int_equal(copied, 2 * BLOCK);
	assert_int_equal(cow_unshare(fx->obj, 0, 2 * BLOCK, &copied), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_seek_in_an_empty_object),
	    TEST(test_seek_finds_the_next_of_its_kind),
	    TEST(test_seek_finds_the_end),
	    TEST(test_seek_over_long_runs),
	    TEST(test_zero_and_trim),
	    TEST(test_clone_range),
	    TEST(test_unshare),
	};

	return cmocka_run_group_tests_name("libcow_seek", tests, NULL, NULL);
}
