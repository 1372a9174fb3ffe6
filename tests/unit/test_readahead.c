/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_readahead.c: which reads are in sequence, and how windows follow each other.
 */
#include "server/readahead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define END  1000000u
#define NONE 0u, 0u

static struct readahead ra;

static int setup(void **state)
{
	(void)state;
	ra = (struct readahead){0};
	return 0;
}

/* A read of nblks from blk on, and the window that it begins (of 0 blocks: none). */
static void assert_read_to(uint64_t blk, uint64_t nblks, bool waited, uint64_t end, uint64_t want,
			   uint32_t want_nblks)
{
	struct readahead_window window = {lblk(77), 77};
	bool began =
	    readahead_note(&ra, lblk(blk), nblks, waited, end, READAHEAD_MAX_BLKS, &window);

	assert_int_equal(began, want_nblks > 0);
	if (!began)
		return;
	assert_int_equal(window.blk.n, want);
	assert_int_equal(window.nblks, want_nblks);
}

static void assert_read(uint64_t blk, uint64_t nblks, bool waited, uint64_t want,
			uint32_t want_nblks)
{
	assert_read_to(blk, nblks, waited, END, want, want_nblks);
}

static void test_second_read_in_sequence_begins(void **state)
{
	(void)state;
	assert_read(100, 4, true, NONE);
	assert_read(104, 4, true, 108, READAHEAD_MIN_BLKS);
}

static void test_first_window_is_twice_a_large_read(void **state)
{
	(void)state;
	assert_read(0, 100, true, NONE);
	assert_read(100, 100, true, 200, 200);
}

static void test_reads_that_jump_begin_nothing(void **state)
{
	(void)state;
	for (uint64_t i = 1; i < 1000; i++)
		assert_read(i * 7919 % 100003, 1, true, NONE);
	for (uint64_t i = 1000; i > 0; i--) /* backwards */
		assert_read(i * 4, 4, true, NONE);
}

static void test_what_is_in_memory_begins_nothing(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_read(i * 8, 8, false, NONE);
	assert_read(800, 8, true, 808, READAHEAD_MIN_BLKS);
}

/* Reads within a block, or across two, as of who reads 1,000 bytes at a time. */
static void test_reads_that_are_not_aligned_are_in_sequence(void **state)
{
	(void)state;
	assert_read(10, 1, true, NONE);
	assert_read(10, 2, true, 12, READAHEAD_MIN_BLKS);
	assert_read(11, 1, false, NONE);
	assert_read(11, 2, false, 12 + READAHEAD_MIN_BLKS, 2 * READAHEAD_MIN_BLKS);
}

static void test_windows_double_up_to_the_most(void **state)
{
	uint64_t begin = 8;
	uint32_t nblks = READAHEAD_MIN_BLKS;

	(void)state;
	assert_read(0, 4, true, NONE);
	assert_read(4, 4, true, begin, nblks);
	for (int i = 0; i < 10; i++) {
		uint64_t at = begin;

		begin += nblks;
		nblks = 2 * nblks < READAHEAD_MAX_BLKS ? 2 * nblks : READAHEAD_MAX_BLKS;
		assert_read(at, 4, false, begin, nblks); /* as soon as the reader is in it */
		for (at += 4; at < begin; at += 4)
			assert_read(at, 4, false, NONE);
	}
	assert_int_equal(nblks, READAHEAD_MAX_BLKS);
}

static void test_jump_ends_it(void **state)
{
	(void)state;
	assert_read(0, 4, true, NONE);
	assert_read(4, 4, true, 8, 32);
	assert_read(5000, 4, true, NONE);
	assert_read(5004, 4, true, 5008, 32);
	/* and back into the old window */
	assert_read(8, 4, false, NONE);
	assert_read(12, 4, false, NONE);
}

static void test_who_overtakes_gets_a_window_ahead(void **state)
{
	(void)state;
	assert_read(0, 4, true, NONE);
	assert_read(4, 4, true, 8, 32);
	assert_read(8, 100, true, 108, 64);
}

static void test_windows_end_with_the_object(void **state)
{
	(void)state;
	assert_read_to(0, 4, true, 20, NONE);
	assert_read_to(4, 4, true, 20, 8, 12);
	assert_read_to(8, 4, false, 20, NONE);
	assert_read_to(12, 8, true, 20, NONE);
	assert_read_to(20, 4, true, 10, NONE); /* which has become smaller */
}

static void test_stopped_until_somebody_waits(void **state)
{
	(void)state;
	assert_read(0, 4, true, NONE);
	assert_read(4, 4, true, 8, 32);
	assert_read(8, 4, false, 40, 64);
	readahead_stop(&ra);
	for (uint64_t blk = 12; blk < 200; blk += 4)
		assert_read(blk, 4, false, NONE);
	assert_read(200, 4, true, 204, 32);
}

static void test_no_room(void **state)
{
	struct readahead_window window;

	(void)state;
	assert_read(0, 4, true, NONE);
	assert_false(readahead_note(&ra, lblk(4), 4, true, END, 0, &window));
	assert_true(readahead_note(&ra, lblk(8), 4, true, END, 7, &window));
	assert_int_equal(window.blk.n, 12);
	assert_int_equal(window.nblks, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_second_read_in_sequence_begins, setup),
	    cmocka_unit_test_setup(test_first_window_is_twice_a_large_read, setup),
	    cmocka_unit_test_setup(test_reads_that_jump_begin_nothing, setup),
	    cmocka_unit_test_setup(test_what_is_in_memory_begins_nothing, setup),
	    cmocka_unit_test_setup(test_reads_that_are_not_aligned_are_in_sequence, setup),
	    cmocka_unit_test_setup(test_windows_double_up_to_the_most, setup),
	    cmocka_unit_test_setup(test_jump_ends_it, setup),
	    cmocka_unit_test_setup(test_who_overtakes_gets_a_window_ahead, setup),
	    cmocka_unit_test_setup(test_windows_end_with_the_object, setup),
	    cmocka_unit_test_setup(test_stopped_until_somebody_waits, setup),
	    cmocka_unit_test_setup(test_no_room, setup),
	};

	return cmocka_run_group_tests_name("readahead", tests, NULL, NULL);
}
