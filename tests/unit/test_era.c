/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_era.c: every state that the two places can be in, against what the map says: what a crash in any
 * start can leave is let in, and what only a copy of another time can be is not.
 */
#include "server/era.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/caught.h"
#include "tests/lib/fake_dev.h"

#define FIRST pblk(5)
#define TAIL  70u

static int setup(void **state)
{
	*state = fake_dev_new(16);
	caught_begin();
	return 0;
}

static int teardown(void **state)
{
	caught_end();
	dev_close(&((struct fake_dev *)*state)->dev);
	return 0;
}

static void put(struct fake_dev *fd, uint64_t incarnation, enum era_state state, uint64_t tail_seq)
{
	assert_int_equal(era_write(&fd->dev, FIRST, incarnation, state, tail_seq), 0);
}

static void assert_says(struct fake_dev *fd, uint64_t incarnation, int want, bool want_closed)
{
	bool closed = !want_closed;

	caught_clear();
	assert_int_equal(era_check(&fd->dev, FIRST, incarnation, TAIL, &closed), want);
	if (want == 0)
		assert_int_equal(closed, want_closed);
	else
		assert_true(caught_has("event=device-starts ", err_name(want)));
}

/* The n-th start, up to some step, behind n - 1 that ended in some way. */
static void each_step_of_each_start_is_let_in(void **state)
{
	struct fake_dev *fd = *state;

	assert_says(fd, 0, 0, false);
	for (uint64_t n = 1; n < 6; n++) {
		put(fd, n, ERA_PREPARED, 0);
		assert_says(fd, n - 1, 0, n % 2 == 1 && n > 1);
		assert_says(fd, n, 0, false);
		put(fd, n, ERA_BEGUN, 0);
		assert_says(fd, n, 0, false);
		if (n % 2 == 0) {
			put(fd, n, ERA_CLOSED, TAIL);
			assert_says(fd, n, 0, true);
		}
		assert_string_equal(caught_text(), "");
	}
}

static void a_map_of_a_run_before_is_refused(void **state)
{
	struct fake_dev *fd = *state;

	for (uint64_t n = 1; n < 6; n++) {
		put(fd, n, ERA_PREPARED, 0);
		put(fd, n, ERA_BEGUN, 0);
		for (uint64_t map = 0; map < n; map++)
			assert_says(fd, map, -ERR_MAP_OLD, false);
	}
	put(fd, 5, ERA_CLOSED, TAIL + 1);
	assert_says(fd, 5, -ERR_MAP_OLD, false);
	put(fd, 6, ERA_PREPARED, 0);
	assert_says(fd, 4, -ERR_MAP_OLD, false);
}

static void data_of_a_run_before_is_refused(void **state)
{
	struct fake_dev *fd = *state;

	assert_says(fd, 1, -ERR_DATA_OLD, false); /* of a store that was just made */
	for (uint64_t n = 1; n < 6; n++) {
		put(fd, n, ERA_PREPARED, 0);
		put(fd, n, ERA_BEGUN, 0);
		for (uint64_t map = n + 1; map < n + 5; map++)
			assert_says(fd, map, -ERR_DATA_OLD, false);
	}
	put(fd, 5, ERA_CLOSED, TAIL - 1);
	assert_says(fd, 5, -ERR_DATA_OLD, false);
}

/* It says nothing, whichever byte it is; the other one does. */
static void a_damaged_place_keeps_nobody_out(void **state)
{
	struct fake_dev *fd = *state;

	put(fd, 7, ERA_BEGUN, 0);
	put(fd, 8, ERA_BEGUN, 0);
	for (unsigned int blk = 5; blk < 7; blk++) {
		for (uint32_t off = 0; off < 32; off++) {
			fake_dev_flip(fd, pblk(blk), off);
			assert_says(fd, 8, 0, false);
			assert_true(caught_has("event=device-starts-damaged", NULL));
			fake_dev_flip(fd, pblk(blk), off);
		}
	}
	fake_dev_flip(fd, pblk(5), 9);
	assert_says(fd, 9, -ERR_DATA_OLD, false);
	assert_says(fd, 6, -ERR_MAP_OLD, false);
	fake_dev_flip(fd, pblk(6), 9);
	assert_says(fd, 8, 0, false);
}

/* As one that is damaged: a bad sector keeps nobody out, as long as the other place can be read. */
static void a_place_that_cannot_be_read_says_nothing(void **state)
{
	struct fake_dev *fd = *state;
	bool closed;

	put(fd, 1, ERA_BEGUN, 0);
	put(fd, 2, ERA_BEGUN, 0);
	for (uint64_t nth = 1; nth <= 2; nth++) {
		fake_dev_fail(fd, FAKE_READ, nth, 1, -ERR_IO);
		assert_int_equal(era_check(&fd->dev, FIRST, 2, TAIL, &closed), 0);
	}
	fake_dev_fail(fd, FAKE_READ, 1, 2, -ERR_IO);
	assert_int_equal(era_check(&fd->dev, FIRST, 2, TAIL, &closed), -ERR_IO);
	fake_dev_fail(fd, FAKE_READ, 1, 1, -ERR_IO);
	assert_int_equal(era_check(&fd->dev, FIRST, 4, TAIL, &closed), -ERR_DATA_OLD);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
	struct fake_dev *fd = *state;

	fake_dev_fail(fd, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(era_write(&fd->dev, FIRST, 2, ERA_PREPARED, 0), -ERR_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(each_step_of_each_start_is_let_in),
	    TEST(a_map_of_a_run_before_is_refused),
	    TEST(data_of_a_run_before_is_refused),
	    TEST(a_damaged_place_keeps_nobody_out),
	    TEST(a_place_that_cannot_be_read_says_nothing),
	    TEST(a_place_that_cannot_be_written_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
