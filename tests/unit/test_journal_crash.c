/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_journal_crash.c: the journal across power cuts and failures of the device.  After each a
 * replay must find records of one history, with all that was synced (bed_check()).
 */
#include "server/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/bed.h"
#include "tests/lib/rnd.h"

#define NBLKS	BED_NBLKS
#define PER_BLK (BLK_BYTES / FAKE_SECTOR_BYTES)

static int setup(void **state)
{
	*state = bed_new(NBLKS, 0);
	return 0;
}

static int teardown(void **state)
{
	bed_free(*state);
	return 0;
}

static bool all_survive(void *ctx, uint64_t sector)
{
	(void)ctx;
	(void)sector;
	return true;
}

/* The sync fails, though what was written has reached the device. */
static void sync_fails_late(struct bed *bed)
{
	fake_dev_land(bed->fd, all_survive, NULL);
	fake_dev_fail(bed->fd, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(bed_sync(bed), -ERR_IO);
	bed_rewind(bed);
}

/* ---- torn groups ----------------------------------------------------------------------------- */

/* Which sectors survive: of a range, those whose bit is set, or that are on one side of a cut. */
struct cut {
	uint64_t first; /* sector of the device */
	uint64_t upto;	/* all below survive */
	uint64_t lost;	/* but this */
	uint64_t bits;	/* of the sectors, or blocks, from first on */
	uint64_t per_bit;
};

static bool cut_survives(void *ctx, uint64_t sector)
{
	const struct cut *cut = ctx;

	if (cut->per_bit)
		return cut->bits >> ((sector - cut->first) / cut->per_bit) & 1;
	return sector < cut->upto && sector != cut->lost;
}

/* A copy of the device of a bed, to make many cuts of one state. */
struct copy {
	uint8_t *bytes;
	uint8_t *durable;
	bool *pending;
};

static void *copy_of(const void *mem, size_t len)
{
	void *to = malloc(len);

	assert_non_null(to);
	memcpy(to, mem, len);
	return to;
}

static struct copy copy_take(const struct fake_dev *fd)
{
	size_t len = fd->dev.nblks * BLK_BYTES;

	return (struct copy){copy_of(fd->bytes, len), copy_of(fd->durable, len),
			     copy_of(fd->pending, fd->dev.nblks * sizeof(bool))};
}

static void copy_put(const struct copy *copy, struct fake_dev *fd)
{
	size_t len = fd->dev.nblks * BLK_BYTES;

	memcpy(fd->bytes, copy->bytes, len);
	memcpy(fd->durable, copy->durable, len);
	memcpy(fd->pending, copy->pending, fd->dev.nblks * sizeof(bool));
}

static void copy_free(struct copy *copy)
{
	free(copy->bytes);
	free(copy->durable);
	free(copy->pending);
}

static uint64_t nfound_after_cut(struct bed *bed, const struct copy *copy, struct cut cut)
{
	copy_put(copy, bed->fd);
	bed_crash(bed, cut_survives, &cut);
	bed_check(bed);
	return bed->nfound;
}

/*
 * Two groups that are synced, then one of three records that is not: 4 has a block and one of data;
 * 5 has a block; 6 has 12 sectors in two blocks, and one of data.
 */
static struct cut last_group(struct bed *bed)
{
	bed_put_synced(bed, 3);
	bed_put(bed, 1);
	bed_put_synced(bed, 2);
	bed_put(bed, 2);
	bed_put(bed, 1);
	assert_int_equal(bed_append(bed, 6000, 1), 0);
	return (struct cut){.first = bed_blk(bed, 4).n * PER_BLK};
}

static void a_group_is_cut_behind_any_sector(void **state)
{
	struct bed *bed = *state;
	struct cut cut = last_group(bed);
	struct copy copy = copy_take(bed->fd);

	cut.lost = UINT64_MAX;
	for (uint64_t n = 0; n <= 6 * PER_BLK; n++) {
		cut.upto = cut.first + n;
		assert_int_equal(nfound_after_cut(bed, &copy, cut),
				 3 + (n >= 16) + (n >= 17) + (n == 48));
	}
	copy_free(&copy);
}

static void any_one_sector_of_a_group_is_lost(void **state)
{
	struct bed *bed = *state;
	struct cut cut = last_group(bed);
	struct copy copy = copy_take(bed->fd);

	cut.upto = UINT64_MAX;
	for (uint64_t n = 0; n < 6 * PER_BLK; n++) {
		bool head = n % PER_BLK == 0;

		cut.lost = cut.first + n;
		if (n / PER_BLK == 0)
			assert_int_equal(nfound_after_cut(bed, &copy, cut), head ? 3 : 6);
		else if (n / PER_BLK == 1)
			assert_int_equal(nfound_after_cut(bed, &copy, cut), 3);
		else if (n / PER_BLK == 2)
			assert_int_equal(nfound_after_cut(bed, &copy, cut), head ? 4 : 6);
		else if (n / PER_BLK == 4)
			assert_int_equal(nfound_after_cut(bed, &copy, cut),
					 n % PER_BLK < 4 ? 5 : 6);
		else
			assert_int_equal(nfound_after_cut(bed, &copy, cut), 5);
	}
	copy_free(&copy);
}

static void any_subset_of_the_blocks_of_a_group_survives(void **state)
{
	struct bed *bed = *state;
	struct cut cut = last_group(bed);
	struct copy copy = copy_take(bed->fd);

	cut.per_bit = PER_BLK;
	for (cut.bits = 0; cut.bits < 64; cut.bits++) {
		uint64_t want = 3;

		want += (cut.bits & 3) == 3;
		want += (cut.bits & 7) == 7;
		want += cut.bits == 63;
		assert_int_equal(nfound_after_cut(bed, &copy, cut), want);
	}
	copy_free(&copy);
}

/* Over the remains of an earlier lap, where no sector is zeros. */
static void any_subset_of_the_sectors_of_a_record_survives(void **state)
{
	struct bed *bed = *state;
	struct cut cut = {.per_bit = 1};
	struct copy copy;

	for (int i = 0; i < 7; i++) {
		assert_int_equal(bed_append(bed, 8 * BLK_BYTES + 4000, 0), 0);
		assert_int_equal(bed_sync(bed), 0);
		bed_release(bed, bed_last_seq(bed));
	}
	bed_put_synced(bed, 1);
	assert_int_equal(bed_append(bed, 4000, 0), 0);
	cut.first = bed_blk(bed, 9).n * PER_BLK;
	copy = copy_take(bed->fd);
	for (cut.bits = 0; cut.bits < 256; cut.bits++)
		assert_int_equal(nfound_after_cut(bed, &copy, cut), 1 + (cut.bits == 255));
	copy_free(&copy);
}

static void the_next_run_goes_on_behind_what_survived(void **state)
{
	struct bed *bed = *state;
	struct cut cut = last_group(bed);

	cut.per_bit = PER_BLK;
	cut.bits = 59; /* record 5 is lost */
	bed_crash(bed, cut_survives, &cut);
	bed_restart(bed);
	assert_int_equal(bed->tail.seq, 5);
	bed_put(bed, 1); /* as long as the one that was lost: 6 of the last run follows */
	assert_int_equal(bed_sync(bed), 0);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 1);
}

/* ---- records that were taken back ------------------------------------------------------------ */

static void after_a_rewind_the_head_is_behind_the_last_sync(void **state)
{
	struct bed *bed = *state;
	struct journal_pos synced;

	bed_put_synced(bed, 3);
	synced = journal_head(bed->journal);
	bed_put(bed, 2);
	bed_put(bed, 2);
	assert_int_equal(journal_used_nblks(bed->journal), 7);
	fake_dev_fail(bed->fd, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(bed_sync(bed), -ERR_IO);
	bed_rewind(bed);
	assert_int_equal(journal_head(bed->journal).seq, synced.seq);
	assert_int_equal(journal_head(bed->journal).blk, synced.blk);
	assert_int_equal(journal_used_nblks(bed->journal), 3);
	bed_put_synced(bed, 1);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 2);
}

static void a_failed_sync_makes_nothing_durable(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 1);
	bed_put(bed, 1);
	sync_fails_late(bed);
	bed_put(bed, 1); /* knows of record 1 only */
	bed_crash(bed, all_survive, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 2);
	assert_true(bed->found[1].durable);
	assert_false(bed->found[2].durable);
}

/* A record of the new history is as long as the one it replaces: behind it lies one of the old. */
static void taken_back_records_do_not_follow_those_in_their_place(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 3);
	bed_put(bed, 2);
	bed_put(bed, 2);
	bed_put(bed, 2);
	sync_fails_late(bed);
	bed_put_synced(bed, 2);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 2);
}

/* As above, and nobody knows the CRC of the record before any more. */
static void taken_back_records_are_not_found_at_the_tail(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 3);
	bed_put(bed, 2);
	bed_put(bed, 2);
	sync_fails_late(bed);
	bed_put_synced(bed, 2);
	bed_release(bed, 2);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 0);
}

/* A short one at the end of the region is replaced by a long one at the start. */
static void a_taken_back_record_does_not_hide_the_one_at_the_start(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 31);
	bed_put_synced(bed, 31);
	bed_release(bed, 1);
	bed_put(bed, 2);
	sync_fails_late(bed);
	bed_put_synced(bed, 3);
	assert_int_equal(bed->places[3].pos.blk, 0);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 2);
}

static void a_failed_write_that_landed_does_not_hide_the_one_at_the_start(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 31);
	bed_put_synced(bed, 31);
	bed_release(bed, 1);
	bed->fd->failed_writes_land = true;
	fake_dev_fail(bed->fd, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(bed_append(bed, 0, 1), -ERR_IO);
	assert_int_equal(journal_head(bed->journal).seq, 3);
	bed_put_synced(bed, 3);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 2);
}

/* The group before the record that failed is synced without another. */
static void a_failed_write_is_remembered_across_a_sync(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 31);
	bed_put_synced(bed, 28);
	bed_release(bed, 1);
	bed_put(bed, 3);
	bed->fd->failed_writes_land = true;
	fake_dev_fail(bed->fd, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(bed_append(bed, 0, 1), -ERR_IO);
	assert_int_equal(bed_sync(bed), 0);
	bed_put_synced(bed, 3);
	assert_int_equal(bed->places[4].pos.blk, 0);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 3);
}

/* It lands behind what has been wiped since the rewind. */
static void a_failed_write_behind_what_was_wiped_is_wiped_too(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 31);
	bed_put_synced(bed, 28);
	bed_release(bed, 1);
	bed_put(bed, 1);
	sync_fails_late(bed);
	bed_put(bed, 1);
	bed->fd->failed_writes_land = true;
	fake_dev_fail(bed->fd, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(bed_append(bed, 0, 1), -ERR_IO);
	bed_put_synced(bed, 5);
	assert_int_equal(bed->places[4].pos.blk, 0);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 3);
}

/* Several are taken back, longer than one write wipes, across the end of the region. */
static void all_of_what_was_taken_back_is_wiped(void **state)
{
	struct bed *bed = bed_new(2048, 1500);
	uint64_t first;

	(void)state;
	bed_put_synced(bed, 3);
	first = journal_head(bed->journal).blk;
	for (int i = 0; i < 60; i++)
		bed_put(bed, 25);
	sync_fails_late(bed);
	bed_put_synced(bed, 25);
	bed_release(bed, 2);
	bed_crash(bed, NULL, NULL);
	for (uint64_t n = 25; n < 1500; n++) {
		static const uint8_t zeros[BLK_BYTES];

		assert_true(fake_dev_durable(bed->fd, pblk(BED_FIRST + (first + n) % 2048), zeros));
	}
	bed_check(bed);
	assert_int_equal(bed->nfound, 0);
	bed_free(bed);
}

static void wiping_that_fails_is_tried_again(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 3);
	bed_put(bed, 2);
	bed_put(bed, 2);
	sync_fails_late(bed);
	bed->fd->failed_writes_land = true;
	fake_dev_fail(bed->fd, FAKE_WRITE, 1, 2, -ERR_IO);
	assert_int_equal(bed_append(bed, 0, 1), -ERR_IO);
	assert_int_equal(bed_append(bed, 0, 1), -ERR_IO);
	bed_put_synced(bed, 2);
	bed_release(bed, 2);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 0);
}

/* The wiping itself was not made durable: it is done again. */
static void wiping_is_repeated_after_another_failed_sync(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 3);
	bed_put(bed, 2);
	bed_put(bed, 2);
	sync_fails_late(bed);
	bed_put(bed, 1);
	fake_dev_fail(bed->fd, FAKE_SYNC, 1, 1, -ERR_IO); /* and the device has lost it all */
	assert_int_equal(bed_sync(bed), -ERR_IO);
	bed_rewind(bed);
	bed_put_synced(bed, 2);
	bed_release(bed, 2);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 0);
}

static void what_is_wiped_is_not_wiped_again(void **state)
{
	struct bed *bed = *state;
	uint64_t calls;

	bed_put(bed, 4);
	sync_fails_late(bed);
	bed_put(bed, 1);
	calls = fake_dev_calls(bed->fd, FAKE_WRITE);
	bed_put(bed, 1);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_WRITE), calls + 1);
	assert_int_equal(bed_sync(bed), 0);
	bed_put_synced(bed, 1);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_WRITE), calls + 2);
	bed_crash(bed, NULL, NULL);
	bed_check(bed);
	assert_int_equal(bed->nfound, 3);
}

/* ---- a long random life ---------------------------------------------------------------------- */

static bool some_survive(void *ctx, uint64_t sector)
{
	struct rnd *rnd = ctx;

	(void)sector;
	return !rnd_one_in(rnd, 12);
}

static bool whole_blocks_survive(void *ctx, uint64_t sector)
{
	const struct rnd *rnd = ctx;
	struct rnd r = {rnd->state ^ (sector / PER_BLK) * UINT64_C(0x9e3779b97f4a7c15)};

	return !rnd_one_in(&r, 6);
}

static void life_append(struct bed *bed, struct rnd *rnd)
{
	uint32_t body_len = rnd_one_in(rnd, 3) ? (uint32_t)rnd_log(rnd, 15000) : 60;
	uint32_t ndata = (uint32_t)rnd_below(rnd, 4);

	if (!bed_has_room(bed, body_len, ndata))
		return;
	if (rnd_one_in(rnd, 20)) {
		bed->fd->failed_writes_land = rnd_one_in(rnd, 2);
		fake_dev_fail(bed->fd, FAKE_WRITE, 1, 1, -ERR_IO);
		assert_int_equal(bed_append(bed, body_len, ndata), -ERR_IO);
		return;
	}
	assert_int_equal(bed_append(bed, body_len, ndata), 0);
}

static void life_fail_sync(struct bed *bed, struct rnd *rnd)
{
	if (rnd_one_in(rnd, 2))
		fake_dev_land(bed->fd, whole_blocks_survive, rnd);
	fake_dev_fail(bed->fd, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(bed_sync(bed), -ERR_IO);
	bed_rewind(bed);
}

static void life_crash(struct bed *bed, struct rnd *rnd)
{
	bool whole = rnd_one_in(rnd, 2);

	bed_crash(bed, whole ? whole_blocks_survive : some_survive, rnd);
	bed_check(bed); /* and the recovery is cut short */
	bed_restart(bed);
}

static void a_random_life(void **state)
{
	struct rnd rnd = rnd_stream(1);
	struct bed *bed = *state;

	for (int i = 0; i < 15000; i++) {
		uint64_t what = rnd_below(&rnd, 100);

		if (what < 55)
			life_append(bed, &rnd);
		else if (what < 80)
			assert_int_equal(bed_sync(bed), 0);
		else if (what < 86)
			life_fail_sync(bed, &rnd);
		else if (what < 96 && bed->synced_seq >= bed->tail.seq)
			bed_release(bed, bed->tail.seq +
					     rnd_below(&rnd, bed->synced_seq - bed->tail.seq + 1));
		else if (what >= 97)
			life_crash(bed, &rnd);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_group_is_cut_behind_any_sector),
	    TEST(any_one_sector_of_a_group_is_lost),
	    TEST(any_subset_of_the_blocks_of_a_group_survives),
	    TEST(any_subset_of_the_sectors_of_a_record_survives),
	    TEST(the_next_run_goes_on_behind_what_survived),
	    TEST(after_a_rewind_the_head_is_behind_the_last_sync),
	    TEST(a_failed_sync_makes_nothing_durable),
	    TEST(taken_back_records_do_not_follow_those_in_their_place),
	    TEST(taken_back_records_are_not_found_at_the_tail),
	    TEST(a_taken_back_record_does_not_hide_the_one_at_the_start),
	    TEST(a_failed_write_that_landed_does_not_hide_the_one_at_the_start),
	    TEST(a_failed_write_is_remembered_across_a_sync),
	    TEST(a_failed_write_behind_what_was_wiped_is_wiped_too),
	    cmocka_unit_test(all_of_what_was_taken_back_is_wiped),
	    TEST(wiping_that_fails_is_tried_again),
	    TEST(wiping_is_repeated_after_another_failed_sync),
	    TEST(what_is_wiped_is_not_wiped_again),
	    TEST(a_random_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
