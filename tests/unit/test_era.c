/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_era.c: every state that the places of starts and marks can be in, against what the map says: what a
 * crash in any start or fold can leave is let in, and what only a copy of another time can be is not.
 */
#include "server/era.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/caught.h"
#include "tests/lib/fake_dev.h"
#include "tests/lib/rnd.h"

#define FIRST pblk(5)
#define TAIL  70u
#define NBLKS 16u

static int setup(void **state)
{
	*state = fake_dev_new(NBLKS);
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

static void mark(struct fake_dev *fd, uint64_t incarnation, uint64_t tail_seq)
{
	assert_int_equal(era_mark(&fd->dev, FIRST, incarnation, tail_seq), 0);
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
		if (n > 1)
			assert_says(fd, n - 1, 0, n % 2 == 1);
		put(fd, n, ERA_PREPARED, TAIL);
		assert_says(fd, n - 1, 0, false); /* it may have begun to fold */
		assert_says(fd, n, 0, false);
		put(fd, n, ERA_BEGUN, TAIL);
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
		put(fd, n, ERA_PREPARED, TAIL);
		put(fd, n, ERA_BEGUN, TAIL);
		for (uint64_t map = 0; map < n; map++)
			assert_says(fd, map, -ERR_MAP_OLD, false);
	}
	put(fd, 5, ERA_CLOSED, TAIL + 1);
	assert_says(fd, 5, -ERR_MAP_OLD, false);
	put(fd, 6, ERA_PREPARED, TAIL);
	assert_says(fd, 4, -ERR_MAP_OLD, false);
}

static void data_of_a_run_before_is_refused(void **state)
{
	struct fake_dev *fd = *state;

	assert_says(fd, 1, -ERR_DATA_OLD, false); /* of a store that was just made */
	for (uint64_t n = 1; n < 6; n++) {
		put(fd, n, ERA_PREPARED, TAIL);
		put(fd, n, ERA_BEGUN, TAIL);
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

	put(fd, 7, ERA_BEGUN, TAIL);
	put(fd, 8, ERA_BEGUN, TAIL);
	mark(fd, 8, TAIL);
	for (unsigned int blk = 5; blk < 5 + ERA_NBLKS; blk++) {
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

	put(fd, 1, ERA_BEGUN, TAIL);
	put(fd, 2, ERA_BEGUN, 1);
	mark(fd, 2, TAIL);
	for (uint64_t n = 1; n <= ERA_NBLKS + 1; n++) {
		/* all at once, and then each of those before one */
		fake_dev_fail(fd, FAKE_READ, 1, n, -ERR_IO);
		assert_says(fd, 2, n > ERA_NSTARTS ? -ERR_IO : 0, false);
	}
	fake_dev_fail(fd, FAKE_READ, 1, 2, -ERR_IO);
	assert_says(fd, 4, -ERR_DATA_OLD, false);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
	struct fake_dev *fd = *state;

	fake_dev_fail(fd, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(era_write(&fd->dev, FIRST, 2, ERA_PREPARED, TAIL), -ERR_IO);
}

/* ---- folds ----------------------------------------------------------------------------------- */

#define FOLDS 7u

/* The data of each fold with the map of each: data is never older, and the map may be. */
static void data_of_a_fold_before_is_refused(void **state)
{
	static uint8_t data[FOLDS][NBLKS * BLK_BYTES];
	struct fake_dev *fd = *state;
	bool closed;

	put(fd, 3, ERA_BEGUN, TAIL);
	for (unsigned int i = 0; i < FOLDS; i++) {
		if (i > 0)
			mark(fd, 3, TAIL + i);
		memcpy(data[i], fd->bytes, sizeof(data[i]));
	}
	for (unsigned int d = 0; d < FOLDS; d++) {
		memcpy(fd->bytes, data[d], sizeof(data[d]));
		for (unsigned int m = 0; m < FOLDS; m++)
			assert_int_equal(era_check(&fd->dev, FIRST, 3, TAIL + m, &closed),
					 d < m ? -ERR_DATA_OLD : 0);
		put(fd, 3, ERA_CLOSED, TAIL + d);
		for (unsigned int m = 0; m < FOLDS; m++)
			assert_int_equal(era_check(&fd->dev, FIRST, 3, TAIL + m, &closed),
					 d < m	 ? -ERR_DATA_OLD
					 : d > m ? -ERR_MAP_OLD
						 : 0);
	}
}

/* A mark of another run says nothing of this one. */
static void a_mark_is_of_one_run(void **state)
{
	struct fake_dev *fd = *state;

	put(fd, 3, ERA_BEGUN, TAIL - 1);
	mark(fd, 2, TAIL);
	assert_says(fd, 3, -ERR_DATA_OLD, false);
	mark(fd, 4, TAIL);
	assert_says(fd, 3, -ERR_DATA_OLD, false);
	mark(fd, 3, TAIL);
	assert_says(fd, 3, 0, false);
}

/* What stopped, and began to fold what it had found in the journal. */
static void a_fold_behind_a_stop_is_let_in(void **state)
{
	struct fake_dev *fd = *state;

	put(fd, 3, ERA_CLOSED, TAIL - 1);
	assert_says(fd, 3, -ERR_DATA_OLD, false);
	mark(fd, 3, TAIL);
	assert_says(fd, 3, 0, false);
	put(fd, 3, ERA_CLOSED, TAIL);
	assert_says(fd, 3, 0, true);
	mark(fd, 3, TAIL + 1);
	assert_says(fd, 3, 0, false);
}

/* ---- crashes --------------------------------------------------------------------------------- */

static bool survives(void *ctx, uint64_t sector)
{
	(void)sector;
	return rnd_one_in(ctx, 2);
}

/* Up to a fold or into it, what the map has behind that: of what is not synced any sector may be there. */
static uint64_t fold(struct fake_dev *fd, struct rnd *rnd, uint64_t incarnation, uint64_t tail)
{
	uint64_t next = tail + rnd_below(rnd, 3);

	for (;;) {
		mark(fd, incarnation, next);
		fake_dev_land(fd, survives, rnd);
		if (rnd_one_in(rnd, 4))
			return tail;
		if (!rnd_one_in(rnd, 4))
			break;
		fake_dev_fail(fd, FAKE_SYNC, 1, 1, -ERR_IO);
		assert_int_equal(dev_sync(&fd->dev), -ERR_IO);
	}
	assert_int_equal(dev_sync(&fd->dev), 0);
	return rnd_one_in(rnd, 8) ? tail : next; /* or the fold has failed */
}

/* Begins the next run, or is cut off before the map has it. */
static uint64_t start(struct fake_dev *fd, struct rnd *rnd, uint64_t incarnation, uint64_t tail)
{
	put(fd, incarnation + 1, ERA_PREPARED, tail);
	fake_dev_land(fd, survives, rnd);
	if (rnd_one_in(rnd, 4))
		return incarnation;
	assert_int_equal(dev_sync(&fd->dev), 0);
	if (rnd_one_in(rnd, 4))
		return incarnation + 1;
	put(fd, incarnation + 1, ERA_BEGUN, tail);
	fake_dev_land(fd, survives, rnd);
	if (!rnd_one_in(rnd, 4))
		assert_int_equal(dev_sync(&fd->dev), 0);
	return incarnation + 1;
}

/* Whenever the power goes: in a start, in a fold, in one that goes on behind a crash. */
static void no_crash_keeps_anybody_out(void **state)
{
	struct fake_dev *fd = *state;
	struct rnd rnd = rnd_stream(1);
	uint64_t incarnation = 0;
	uint64_t tail = TAIL;
	bool closed;

	for (unsigned int round = 0; round < 20000; round++) {
		if (incarnation > 0 && rnd_one_in(&rnd, 2))
			tail = fold(fd, &rnd, incarnation, tail);
		else if (incarnation > 0 && rnd_one_in(&rnd, 8))
			put(fd, incarnation, ERA_CLOSED, tail);
		else
			incarnation = start(fd, &rnd, incarnation, tail);
		if (rnd_one_in(&rnd, 2))
			continue;
		fake_dev_land(fd, survives, &rnd);
		fake_dev_cut(fd);
		caught_clear();
		assert_int_equal(era_check(&fd->dev, FIRST, incarnation, tail, &closed), 0);
		assert_string_equal(caught_text(), "");
	}
	assert_true(incarnation > 1000 && tail > TAIL + 1000);
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
	    TEST(data_of_a_fold_before_is_refused),
	    TEST(a_mark_is_of_one_run),
	    TEST(a_fold_behind_a_stop_is_let_in),
	    TEST(no_crash_keeps_anybody_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
