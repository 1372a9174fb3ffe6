/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: several ranges in one request, and what is done only at a certain generation. */
#include "tests/unit/libcow_fixture.h"

#include <string.h>

/* "a", of 100 bytes. */
static int setup(void **state)
{
	struct fixture *fx = fixture_start(state);

	assert_int_equal(cow_create(fx->cow, "a", 100), 0);
	fixture_open(fx, "a");
	return 0;
}

static void test_ranges_go_where_they_belong(void **state)
{
	struct fixture *fx = *state;
	char text[] = "onetwothree";
	char a[8] = "", b[8] = "", c[8] = "";
	const struct cow_range out[] = {{2, text, 3}, {10, text + 3, 3}, {97, text + 6, 5}};
	const struct cow_range in[] = {{97, c, 7}, {2, a, 3}, {10, b, 3}, {1000, b, 1}};
	size_t got[4];
	uint64_t before = 0;
	uint64_t after = 0;

	assert_int_equal(cow_fsync_if(fx->obj, NULL, &before), 0);
	assert_int_equal(cow_writev(fx->obj, out, 3, NULL, &after), 0);
	assert_int_equal(after, before + 1);
	assert_int_equal(cow_readv(fx->obj, in, 4, got), 5 + 3 + 3);
	assert_string_equal(a, "one");
	assert_string_equal(b, "two");
	assert_string_equal(c, "three");
	assert_int_equal(got[0], 5);
	assert_int_equal(got[1], 3);
	assert_int_equal(got[2], 3);
	assert_int_equal(got[3], 0);
	assert_int_equal(cow_readv(fx->obj, in + 1, 1, NULL), 3);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITEV], 1);
}

static void test_of_another_generation_nothing_is_done(void **state)
{
	struct fixture *fx = *state;
	uint64_t seen;
	uint64_t next;
	uint64_t unused = 5;
	char byte = 0;

	assert_int_equal(cow_fsync_if(fx->obj, NULL, &seen), 0);
	assert_int_equal(cow_write_if(fx->obj, "x", 1, 7, seen, &next), 0);
	assert_int_equal(cow_write_if(fx->obj, "y", 1, 7, seen, &unused), -COW_ECHANGED);
	assert_int_equal(unused, 5);
	assert_int_equal(cow_fsync_if(fx->obj, &seen, &unused), -COW_ECHANGED);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 7), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(cow_write_if(fx->obj, "z", 1, 7, next, NULL), 0);
	assert_int_equal(cow_fsync_if(fx->obj, NULL, NULL), 0);
}

static void test_what_is_too_much_is_not_sent(void **state)
{
	static struct cow_range many[COW_RANGES_MAX + 1];
	struct fixture *fx = *state;
	const struct cow_range long_one = {0, many, ((size_t)32 << 20) + 1};
	const struct cow_range long_two[] = {{0, many, 1}, {1, many, (size_t)32 << 20}};

	assert_int_equal(cow_writev(fx->obj, many, 0, NULL, NULL), -COW_EINVAL);
	assert_int_equal(cow_writev(fx->obj, many, COW_RANGES_MAX + 1, NULL, NULL), -COW_EINVAL);
	assert_int_equal(cow_readv(fx->obj, &long_one, 1, NULL), -COW_EINVAL);
	assert_int_equal(cow_writev(fx->obj, long_two, 2, NULL, NULL), -COW_EINVAL);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITEV], 0);
	assert_int_equal(fx->st->requests[WIRE_OP_READV], 0);
	assert_int_equal(cow_readv(fx->obj, many, COW_RANGES_MAX, NULL), 0);
}

static void test_lengths_that_do_not_fit_are_refused(void **state)
{
	struct fixture *fx = *state;
	char buf[20];
	const struct cow_range in[] = {{0, buf, 10}, {20, buf + 10, 10}};

	fx->st->short_by = 1;
	assert_int_equal(cow_readv(fx->obj, in, 2, NULL), -COW_EPROTO);
	fx->st->short_by = (uint32_t)-1; /* longer than asked for */
	assert_int_equal(cow_readv(fx->obj, in, 2, NULL), -COW_EPROTO);
	fx->st->short_by = 0;
	assert_int_equal(cow_readv(fx->obj, in, 2, NULL), 20);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_ranges_go_where_they_belong),
	    TEST(test_of_another_generation_nothing_is_done),
	    TEST(test_what_is_too_much_is_not_sent),
	    TEST(test_lengths_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests_name("libcow ranges", tests, NULL, NULL);
}
