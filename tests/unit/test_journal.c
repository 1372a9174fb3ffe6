/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_journal.c: the journal while all goes well: where records lie, and which belong to it.
 */
#include "server/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/journal_format.h"
#include "tests/lib/bed.h"

#define NBLKS BED_NBLKS

#define HEAD_BYTES ((uint32_t)sizeof(struct disk_record))

/* ---- where records lie ----------------------------------------------------------------------- */

static void a_record_is_header_and_body_in_whole_blocks_and_data(void **state)
{
	(void)state;
	assert_int_equal(journal_record_nblks(0, 0), 1);
	assert_int_equal(journal_record_nblks(BLK_BYTES - HEAD_BYTES, 0), 1);
	assert_int_equal(journal_record_nblks(BLK_BYTES - HEAD_BYTES + 1, 0), 2);
	assert_int_equal(journal_record_nblks(1, 5), 6);
	assert_int_equal(journal_record_nblks(JOURNAL_BODY_MAX, UINT32_MAX),
			 UINT64_C(1025) + UINT32_MAX);
}

static void an_empty_journal_replays_nothing(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(journal_used_nblks(bed->journal), 0);
	bed_check_finds(bed, 0);
}

static void what_was_appended_is_replayed_in_order(void **state)
{
	struct bed *bed = *state;

	bed_add(bed, 0, 0);
	bed_add(bed, 100, 1);
	bed_add(bed, BLK_BYTES - HEAD_BYTES, 0);
	bed_add(bed, BLK_BYTES - HEAD_BYTES + 1, 3);
	bed_add(bed, 10000, 2);
	assert_int_equal(journal_used_nblks(bed->journal), 1 + 2 + 1 + 5 + 5);
	assert_int_equal(journal_head(bed->journal).seq, 6);
	assert_int_equal(journal_head(bed->journal).blk, 14);
	bed_check_finds(bed, 5);
}

static void a_record_is_one_write_and_a_sync_one_flush(void **state)
{
	struct bed *bed = *state;

	bed_add(bed, 9000, 4);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_WRITE), 1);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_SYNC), 0);
	assert_int_equal(bed_sync(bed), 0);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_WRITE), 1);
	assert_int_equal(fake_dev_calls(bed->fd, FAKE_SYNC), 1);
}

static void the_padding_is_zeros(void **state)
{
	static const uint8_t zeros[BLK_BYTES];
	struct bed *bed = *state;
	const uint8_t *blk;

	bed_add(bed, 3 * BLK_BYTES, 0);
	bed_add(bed, 20, 0);
	blk = bed->fd->bytes + (size_t)bed_blk(bed, 2).n * BLK_BYTES;
	assert_memory_equal(blk + HEAD_BYTES + 20, zeros, BLK_BYTES - HEAD_BYTES - 20);
}

static void a_record_may_end_where_the_region_ends(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 40);
	bed_put_synced(bed, 22);
	bed_release(bed, 1);
	bed_put_synced(bed, 2);
	assert_int_equal(journal_head(bed->journal).blk, 0);
	assert_int_equal(journal_used_nblks(bed->journal), 24);
	bed_put_synced(bed, 3);
	assert_int_equal(bed->places[4].pos.blk, 0);
	bed_check_finds(bed, 3);
}

static void a_record_that_does_not_fit_before_the_end_goes_to_the_start(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 40);
	bed_put_synced(bed, 21);
	bed_release(bed, 1);
	bed_put_synced(bed, 4);
	assert_int_equal(bed->places[3].pos.blk, 0);
	assert_int_equal(journal_head(bed->journal).blk, 4);
	assert_int_equal(journal_used_nblks(bed->journal), 21 + 3 + 4);
	bed_check_finds(bed, 2);
	bed_release(bed, 2);
	assert_int_equal(journal_used_nblks(bed->journal), 3 + 4);
	bed_check_finds(bed, 1);
	bed_release(bed, 3);
	assert_int_equal(journal_used_nblks(bed->journal), 0);
	bed_check_finds(bed, 0);
}

static void a_full_region_keeps_a_block_free(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 20);
	bed_put_synced(bed, 20);
	assert_true(bed_has_room(bed, 0, 22));
	assert_false(bed_has_room(bed, 0, 23));
	bed_put_synced(bed, 23);
	assert_int_equal(journal_used_nblks(bed->journal), NBLKS - 1);
	assert_false(bed_has_room(bed, 0, 0));
	bed_check_finds(bed, 3);
	bed_release(bed, 1); /* the head is in the last block; what is skipped there counts */
	assert_true(bed_has_room(bed, 0, 18));
	assert_false(bed_has_room(bed, 0, 19));
	bed_put_synced(bed, 19);
	assert_int_equal(journal_used_nblks(bed->journal), NBLKS - 1);
	assert_false(bed_has_room(bed, 0, 0));
	bed_check_finds(bed, 3);
}

static void a_record_as_long_as_the_region_never_fits(void **state)
{
	struct bed *bed = *state;

	assert_true(journal_has_room(bed->journal, NBLKS - 1));
	assert_false(journal_has_room(bed->journal, NBLKS));
	assert_false(journal_has_room(bed->journal, UINT64_MAX));
}

static void a_journal_goes_round_many_times(void **state)
{
	struct bed *bed = *state;

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t nblks = 1 + i * 7 % 13;

		for (uint64_t seq = bed->tail.seq; !bed_has_room(bed, 0, nblks - 1); seq++)
			bed_release(bed, seq);
		bed_put_synced(bed, nblks);
		if (i % 10 == 0)
			bed_check_finds(bed, bed_last_seq(bed) - bed->tail.seq + 1);
	}
	assert_true(bed->tail.seq > 900);
}

static void a_body_may_take_a_quarter_of_the_region(void **state)
{
	struct bed *bed = *state;

	bed_add(bed, NBLKS / 4 * BLK_BYTES, 0);
	assert_int_equal(journal_used_nblks(bed->journal), NBLKS / 4 + 1);
	bed_check_finds(bed, 1);
}

/* Longer than what is read at once, and across its ends. */
static void long_records_are_replayed(void **state)
{
	struct bed *bed = *state;

	bed_put_synced(bed, 700);
	bed_put_synced(bed, 200);
	bed_add(bed, 100 * BLK_BYTES, 300);
	bed_add(bed, 300 * BLK_BYTES, 0);
	bed_put_synced(bed, 1);
	bed_check_finds(bed, 5);
	bed_release(bed, 3);
	bed_put_synced(bed, 900); /* from the region's start */
	bed_put_synced(bed, 1);
	bed_check_finds(bed, 4);
}

/* ---- what belongs to the journal ------------------------------------------------------------- */

static void records_are_durable_up_to_the_sync_that_a_later_one_knows_of(void **state)
{
	struct bed *bed = *state;

	bed_put(bed, 2);
	bed_put_synced(bed, 1);
	bed_put_synced(bed, 3); /* knows of 2 */
	bed_put(bed, 1);	/* these know of 3 */
	bed_put(bed, 1);
	bed_check_finds(bed, 5);
	for (uint64_t seq = 1; seq <= 5; seq++)
		assert_int_equal(bed->found[seq].durable, seq <= 3);
}

static void the_records_of_an_earlier_key_are_not_found(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 6; i++)
		bed_put_synced(bed, 3);
	bed_release(bed, 2);
	bed_restart(bed);
	assert_int_equal(bed->tail.seq, 7);
	bed_check_finds(bed, 0);
	bed_put_synced(bed, 3);
	bed_check_finds(bed, 1);
	bed->key--;
	bed->tail = bed->places[3].pos;
	bed->synced_seq = 6;
	bed_check_finds(bed, 4);
}

static void the_records_of_an_earlier_lap_are_not_found(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 21; i++)
		bed_put_synced(bed, 3);
	bed_release(bed, 21);
	bed_put_synced(bed, 3);
	bed_put_synced(bed, 3); /* behind it lie the records from 3 on */
	bed_check_finds(bed, 2);
	bed_release(bed, 23);
	bed_check_finds(bed, 0);
}

static void a_record_that_does_not_follow_the_one_before_ends_the_journal(void **state)
{
	struct bed *bed = *state;
	struct bed *other = bed_new(NBLKS, 0);

	bed_put(bed, 2);
	bed_put(bed, 1);
	bed_add(other, 50, 1);
	bed_put(other, 1);
	for (uint64_t b = 0; b < 2; b++)
		fake_dev_put(bed->fd, pblk(BED_FIRST + b),
			     other->fd->bytes + (size_t)(BED_FIRST + b) * BLK_BYTES);
	bed->records[0] = other->records[0];
	bed_check_finds(bed, 1);
	bed_free(other);
}

static int found_nothing(void *ctx, const struct journal_found *found)
{
	(void)found;
	++*(unsigned int *)ctx;
	return 0;
}

static unsigned int nfound_of_device(struct bed *bed)
{
	struct journal_pos end = {0};
	unsigned int n = 0;

	assert_int_equal(journal_replay(&bed->fd->dev, &bed->region, bed->key, bed->tail,
					found_nothing, &n, &end),
			 0);
	assert_int_equal(end.seq, bed->tail.seq + n);
	return n;
}

/* A field of the header of record 1, changed to a value with a CRC that fits. */
static void assert_not_a_record(struct bed *bed, size_t off, size_t bytes, uint64_t value)
{
	uint8_t *at = bed->fd->bytes + (size_t)bed_blk(bed, 1).n * BLK_BYTES;
	uint8_t was[BLK_BYTES];
	uint8_t blk[BLK_BYTES];
	uint32_t body_len;

	memcpy(was, at, sizeof(was));
	memcpy(blk, at, sizeof(blk));
	if (bytes == 8)
		le64_put(blk + off, value);
	else
		le32_put(blk + off, (uint32_t)value);
	body_len = le32_get(blk + offsetof(struct disk_record, body_len));
	if (body_len <= BLK_BYTES - HEAD_BYTES)
		le32_put(blk + offsetof(struct disk_record, crc),
			 journal_record_crc(blk, body_len));
	fake_dev_put(bed->fd, bed_blk(bed, 1), blk);
	assert_int_equal(nfound_of_device(bed), 0);
	fake_dev_put(bed->fd, bed_blk(bed, 1), was);
	assert_int_equal(nfound_of_device(bed), 1);
}

#define ASSERT_FIELD_COUNTS(bed, field, value)                        \
	assert_not_a_record(bed, offsetof(struct disk_record, field), \
			    sizeof(((struct disk_record *)NULL)->field), value)

static void a_header_that_makes_no_sense_is_no_record(void **state)
{
	struct bed *bed = *state;

	bed_put(bed, 3);
	assert_int_equal(nfound_of_device(bed), 1);
	ASSERT_FIELD_COUNTS(bed, magic, JOURNAL_MAGIC ^ 1);
	ASSERT_FIELD_COUNTS(bed, version, JOURNAL_VERSION + 1);
	ASSERT_FIELD_COUNTS(bed, key, 6);
	ASSERT_FIELD_COUNTS(bed, key, 8);
	ASSERT_FIELD_COUNTS(bed, seq, 0);
	ASSERT_FIELD_COUNTS(bed, seq, 2);
	ASSERT_FIELD_COUNTS(bed, durable_seq, 1);
	ASSERT_FIELD_COUNTS(bed, durable_seq, UINT64_MAX);
	ASSERT_FIELD_COUNTS(bed, nblks, 2);
	ASSERT_FIELD_COUNTS(bed, nblks, 4);
	ASSERT_FIELD_COUNTS(bed, nblks, UINT64_MAX);
	ASSERT_FIELD_COUNTS(bed, ndata, UINT32_MAX);
	ASSERT_FIELD_COUNTS(bed, body_len, UINT32_MAX);
	ASSERT_FIELD_COUNTS(bed, zero, 1);
}

/* A header with lengths that agree with each other; its CRC fits as far as there are bytes. */
static void put_header(struct bed *bed, uint64_t blk, uint32_t body_len, uint32_t ndata)
{
	uint8_t *at = bed->fd->bytes + (size_t)(BED_FIRST + blk) * BLK_BYTES;
	struct disk_record *d = (struct disk_record *)at;

	le64_put(d->magic, JOURNAL_MAGIC);
	le32_put(d->version, JOURNAL_VERSION);
	le64_put(d->key, bed->key);
	le64_put(d->seq, bed->tail.seq);
	le64_put(d->nblks, journal_record_nblks(body_len, ndata));
	le32_put(d->body_len, body_len);
	le32_put(d->ndata, ndata);
	if (blk + blk_count(HEAD_BYTES + (uint64_t)body_len) <= bed->region.nblks)
		le32_put(d->crc, journal_record_crc(at, body_len));
}

static void a_record_longer_than_allowed_is_none(void **state)
{
	struct bed *bed = *state;

	put_header(bed, 0, NBLKS / 4 * BLK_BYTES, 0);
	assert_int_equal(nfound_of_device(bed), 1);
	put_header(bed, 0, NBLKS / 4 * BLK_BYTES + 1, 0);
	assert_int_equal(nfound_of_device(bed), 0);
}

static void a_record_beyond_the_region_is_none(void **state)
{
	struct bed *bed = *state;

	bed->tail.blk = NBLKS - 3;
	put_header(bed, NBLKS - 3, 10, 2);
	assert_int_equal(nfound_of_device(bed), 1);
	put_header(bed, NBLKS - 3, 10, 3);
	assert_int_equal(nfound_of_device(bed), 0);
	put_header(bed, NBLKS - 3, 3 * BLK_BYTES, 0);
	assert_int_equal(nfound_of_device(bed), 0);
}

int main(void)
{
#define TEST(name)	 cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
#define TEST_LARGE(name) cmocka_unit_test_setup_teardown(name, bed_setup_large, bed_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_record_is_header_and_body_in_whole_blocks_and_data),
	    TEST(an_empty_journal_replays_nothing),
	    TEST(what_was_appended_is_replayed_in_order),
	    TEST(a_record_is_one_write_and_a_sync_one_flush),
	    TEST(the_padding_is_zeros),
	    TEST(a_record_may_end_where_the_region_ends),
	    TEST(a_record_that_does_not_fit_before_the_end_goes_to_the_start),
	    TEST(a_full_region_keeps_a_block_free),
	    TEST(a_record_as_long_as_the_region_never_fits),
	    TEST(a_journal_goes_round_many_times),
	    TEST(a_body_may_take_a_quarter_of_the_region),
	    TEST_LARGE(long_records_are_replayed),
	    TEST(records_are_durable_up_to_the_sync_that_a_later_one_knows_of),
	    TEST(the_records_of_an_earlier_key_are_not_found),
	    TEST(the_records_of_an_earlier_lap_are_not_found),
	    TEST(a_record_that_does_not_follow_the_one_before_ends_the_journal),
	    TEST(a_header_that_makes_no_sense_is_no_record),
	    TEST(a_record_longer_than_allowed_is_none),
	    TEST(a_record_beyond_the_region_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
