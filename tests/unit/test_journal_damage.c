/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_journal_damage.c: what a replay takes for damage and what for the end, and what it does when
 * the device or its caller fails.
 */
#include "server/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/journal_format.h"
#include "tests/lib/bed.h"

#define NBLKS BED_NBLKS

#define HEAD_BYTES ((uint32_t)sizeof(struct disk_record))

static void assert_damaged(struct bed *bed)
{
	struct journal_pos end = {.seq = 99, .blk = 98};

	assert_int_equal(bed_replay(bed, &end), -ERR_JOURNAL);
	assert_int_equal(end.seq, 99);
	assert_int_equal(end.blk, 98);
}

struct stop {
	uint64_t seq;
	int rc;
	unsigned int ncalls;
};

static int stop_at(void *ctx, const struct journal_found *found)
{
	struct stop *stop = ctx;

	stop->ncalls++;
	return found->pos.seq == stop->seq ? stop->rc : 0;
}

static int replay_stopped(struct bed *bed, struct stop *stop, struct journal_pos *end)
{
	return journal_replay(&bed->fd->dev, &bed->region, bed->key, bed->tail, stop_at, stop, end);
}

static void any_flipped_bit_in_a_durable_record_is_damage(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 2);
	bed_add(bed, 20, 1);
	assert_int_equal(bed_sync(bed), 0);
	bed_put_synced(bed, 2);
	for (uint32_t off = 0; off < HEAD_BYTES + 20; off++) {
		fake_dev_flip(bed->fd, bed_blk(bed, 2), off);
		assert_damaged(bed);
		fake_dev_flip(bed->fd, bed_blk(bed, 2), off);
	}
	bed_check_finds(bed, 3);
}

static void any_flipped_bit_in_the_last_group_is_the_end(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 2);
	bed_put_synced(bed, 2);
	bed_add(bed, 20, 1);
	bed_put(bed, 2);
	for (uint32_t off = 0; off < HEAD_BYTES + 20; off++) {
		fake_dev_flip(bed->fd, bed_blk(bed, 3), off);
		bed_check_finds(bed, 2);
		fake_dev_flip(bed->fd, bed_blk(bed, 3), off);
	}
	bed_check_finds(bed, 4);
}

static void data_that_does_not_fit_is_the_end(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 2);
	bed_put(bed, 3);
	bed_put(bed, 1);
	fake_dev_flip(bed->fd, pblk(bed_blk(bed, 2).n + 2), 77);
	bed_check_finds(bed, 1);
}

static void data_of_a_durable_record_that_does_not_fit_is_damage(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 2);
	bed_put_synced(bed, 3);
	bed_put(bed, 1);
	fake_dev_flip(bed->fd, pblk(bed_blk(bed, 2).n + 2), 77);
	assert_damaged(bed);
}

static void the_damaged_record_at_the_tail_is_seen(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 3; i++)
		bed_put_synced(bed, 2);
	bed_release(bed, 1);
	fake_dev_flip(bed->fd, bed_blk(bed, 2), 70);
	assert_damaged(bed);
	bed_release(bed, 2);
	bed_check_finds(bed, 1);
}

/* Records 3 and 4 are gone; only 5, behind the gap, knows of 2 and of 3. */
static void a_witness_behind_a_gap_is_heard(void **state)
{
	struct bed *bed = *state;

	bed_put(bed, 2);
	bed_put(bed, 2);
	bed_put_synced(bed, 2);
	bed_put(bed, 1);
	bed_put(bed, 1);
	fake_dev_flip(bed->fd, bed_blk(bed, 3), 70);
	fake_dev_flip(bed->fd, bed_blk(bed, 4), 70);
	assert_damaged(bed);
}

static void a_witness_behind_the_end_makes_data_damage(void **state)
{
	struct bed *bed = *state;

	bed_put(bed, 2);
	bed_put(bed, 2);
	assert_int_equal(bed_sync(bed), 0);
	bed_put(bed, 1);
	bed_put(bed, 1);
	fake_dev_flip(bed->fd, bed_blk(bed, 3), 70); /* not durable: the end */
	bed_check_finds(bed, 2);
	assert_true(bed->found[2].durable);
	fake_dev_flip(bed->fd, pblk(bed_blk(bed, 2).n + 1), 70);
	assert_damaged(bed);
}

static void a_witness_at_the_start_of_the_region_is_heard(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 31);
	bed_put_synced(bed, 30);
	bed_release(bed, 1);
	bed_put_synced(bed, 1);
	bed_put_synced(bed, 1);
	bed_put(bed, 3); /* it alone knows of 4 */
	assert_int_equal(bed->places[5].pos.blk, 0);
	fake_dev_flip(bed->fd, bed_blk(bed, 4), 70);
	assert_damaged(bed);
}

static void a_witness_that_is_damaged_is_not_heard(void **state)
{
	struct bed *bed = *state;
	struct journal_pos end;
	struct stop stop = {0};

	bed_put_synced(bed, 2);
	bed_put_synced(bed, 2);
	fake_dev_flip(bed->fd, bed_blk(bed, 1), 70);
	assert_damaged(bed);
	fake_dev_flip(bed->fd, bed_blk(bed, 2), 70);
	assert_int_equal(replay_stopped(bed, &stop, &end), 0);
	assert_int_equal(stop.ncalls, 0);
}

static void a_tail_that_cannot_be_is_damage(void **state)
{
	struct bed *bed = *state;

	bed->tail.blk = NBLKS;
	assert_damaged(bed);
	bed->tail = (struct journal_pos){0};
	assert_damaged(bed);
}

static void an_error_of_the_caller_ends_the_replay(void **state)
{
	struct bed *bed = *state;
	struct journal_pos end = {.seq = 99};
	struct stop stop = {.seq = 2, .rc = -ERR_NOMEM};

	for (int i = 0; i < 3; i++)
		bed_put_synced(bed, 2);
	assert_int_equal(replay_stopped(bed, &stop, &end), -ERR_NOMEM);
	assert_int_equal(stop.ncalls, 2);
	assert_int_equal(end.seq, 99);
}

static void the_next_record_goes_where_one_did_not_fit(void **state)
{
	struct bed *bed = *state;
	struct journal_pos end;
	struct stop stop = {.seq = 3, .rc = 1};

	bed_put_synced(bed, 2);
	bed_put_synced(bed, 3);
	bed_put(bed, 1);
	bed_put(bed, 1);
	assert_int_equal(replay_stopped(bed, &stop, &end), 0);
	assert_int_equal(stop.ncalls, 3);
	assert_int_equal(end.seq, 3);
	assert_int_equal(end.blk, 5);
}

static void a_device_that_cannot_be_read_is_an_error(void **state)
{
	struct bed *bed = *state;
	struct journal_pos end;

	bed_put(bed, 400); /* the second pass has to read again */
	bed_put(bed, 400);
	for (uint64_t nth = 1;; nth++) {
		uint64_t calls = fake_dev_calls(bed->fd, FAKE_READ);
		int err;

		fake_dev_fail(bed->fd, FAKE_READ, nth, 1, -ERR_SHORT_IO);
		err = bed_replay(bed, &end);
		if (fake_dev_calls(bed->fd, FAKE_READ) - calls < nth) {
			assert_int_equal(err, 0);
			assert_true(nth > 8);
			break;
		}
		assert_int_equal(err, -ERR_SHORT_IO);
	}
}

static int flip_second(void *ctx, const struct journal_found *found)
{
	struct bed *bed = ctx;

	assert_int_equal(found->pos.seq, 1);
	fake_dev_flip(bed->fd, bed_blk(bed, 2), 70);
	return 0;
}

static void a_device_that_changes_between_two_reads_is_damaged(void **state)
{
	struct bed *bed = *state;
	struct journal_pos end;

	bed_put(bed, 400);
	bed_put(bed, 400);
	assert_int_equal(journal_replay(&bed->fd->dev, &bed->region, bed->key, bed->tail,
					flip_second, bed, &end),
			 -ERR_JOURNAL);
}

/* Of the device's reads, the one that returns a flipped bit in record 2. */
static struct {
	const struct dev_ops *ops;
	uint64_t countdown;
	uint64_t blk;
} flipping;

static int read_flipped(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	uint64_t nblks = iov[0].iov_len >> BLK_SHIFT;
	int err = flipping.ops->read(dev, blk, iov, iovcnt);

	if (err == 0 && --flipping.countdown == 0 && blk.n <= flipping.blk &&
	    flipping.blk - blk.n < nblks) {
		uint8_t *at = iov[0].iov_base;

		at[(flipping.blk - blk.n) * BLK_BYTES + HEAD_BYTES] ^= 1;
	}
	return err;
}

/* Bodies are compared when they are handed out: each that is must have been checked. */
static void what_is_handed_out_is_what_was_checked(void **state)
{
	const struct dev_ops ops = {.read = read_flipped};
	struct bed *bed = *state;
	struct journal_pos end;

	bed_put(bed, 400);
	bed_put(bed, 400);
	flipping.ops = bed->fd->dev.ops;
	flipping.blk = bed_blk(bed, 2).n;
	bed->fd->dev.ops = &ops;
	for (uint64_t nth = 1; nth < 30; nth++) {
		int err;

		flipping.countdown = nth;
		err = bed_replay(bed, &end);
		assert_true(err == 0 || err == -ERR_JOURNAL);
	}
	bed->fd->dev.ops = flipping.ops;
	bed_check_finds(bed, 2);
}

int main(void)
{
#define TEST(name)	 cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
#define TEST_LARGE(name) cmocka_unit_test_setup_teardown(name, bed_setup_large, bed_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(any_flipped_bit_in_a_durable_record_is_damage),
	    TEST(any_flipped_bit_in_the_last_group_is_the_end),
	    TEST(data_that_does_not_fit_is_the_end),
	    TEST(data_of_a_durable_record_that_does_not_fit_is_damage),
	    TEST(the_damaged_record_at_the_tail_is_seen),
	    TEST(a_witness_behind_a_gap_is_heard),
	    TEST(a_witness_behind_the_end_makes_data_damage),
	    TEST(a_witness_at_the_start_of_the_region_is_heard),
	    TEST(a_witness_that_is_damaged_is_not_heard),
	    TEST(a_tail_that_cannot_be_is_damage),
	    TEST(an_error_of_the_caller_ends_the_replay),
	    TEST(the_next_record_goes_where_one_did_not_fit),
	    TEST_LARGE(a_device_that_cannot_be_read_is_an_error),
	    TEST_LARGE(what_is_handed_out_is_what_was_checked),
	    TEST_LARGE(a_device_that_changes_between_two_reads_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
