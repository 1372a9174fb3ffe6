/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_record_refused.c: bodies of records that are malformed are refused.
 */
#include "tests/unit/record_fixture.h"

/* A body in memory of exactly its length, so that a sanitizer sees a read past it. */
static int read_all(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);
	struct record_reader reader = {.bytes = exact, .len = len};
	int rc;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	do
		rc = record_next(&reader);
	while (rc > 0);
	if (rc < 0)
		assert_int_equal(record_next(&reader), rc);
	record_reader_fini(&reader);
	free(exact);
	return rc;
}

/* The bytes of one change with n of them at "off" replaced by a little-endian number. */
static int read_patched(const struct change *change, size_t off, size_t n, uint64_t value)
{
	struct record record = {0};
	int rc;

	add(&record, change);
	assert_int_equal(read_all(record.bytes, record.len), 0);
	assert_true(off + n <= record.len);
	for (size_t i = 0; i < n; i++)
		record.bytes[off + i] = (uint8_t)(value >> (8 * i));
	rc = read_all(record.bytes, record.len);
	record_fini(&record);
	return rc;
}

static void assert_refused(const struct change *change, size_t off, size_t n, uint64_t value)
{
	assert_int_equal(read_patched(change, off, n, value), -ERR_JOURNAL);
}

static void a_body_that_is_cut_is_refused(void **state)
{
	struct record record = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		record_clear(&record);
		add(&record, i == 0 ? &epoch : &changes[i]);
		for (size_t len = 1; len < record.len; len++)
			assert_int_equal(read_all(record.bytes, len), -ERR_JOURNAL);
	}
	record_fini(&record);
}

static void a_length_that_does_not_fit_is_refused(void **state)
{
	struct record record = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		const struct change *change = i == 0 ? &epoch : &changes[i];
		uint32_t len = (uint32_t)record_change_len(change);

		record_clear(&record);
		add(&record, change);
		add(&record, &changes[4]); /* there are bytes enough behind it */
		for (uint32_t n = 0; n < len + 12; n++) {
			le32_put(record.bytes + 4, n);
			assert_int_equal(read_all(record.bytes, record.len),
					 n == len ? 0 : -ERR_JOURNAL);
		}
		le32_put(record.bytes + 4, UINT32_MAX);
		assert_int_equal(read_all(record.bytes, record.len), -ERR_JOURNAL);
	}
	record_fini(&record);
}

static void an_unknown_head_is_refused(void **state)
{
	(void)state;
	assert_refused(&changes[4], 0, 1, 0);
	assert_refused(&changes[4], 0, 1, CHANGE_KIND_LAST + 1);
	assert_refused(&changes[4], 0, 1, 255);
	assert_refused(&changes[4], 1, 1, 1); /* only an epoch has data */
	assert_refused(&epoch, 1, 1, 2);
	assert_refused(&epoch, 1, 1, 3);
	assert_refused(&epoch, 2, 1, 1);
	assert_refused(&epoch, 3, 1, 1);
}

/* Where the numbers of an epoch are. */
enum {
	SIZE = 16,
	NHOLES = 40,
	NSHARES = 44,
	NEXTENTS = 48,
	NBLKS = 52,
	HOLE = 56,
	HOLE_NBLKS = 8,
	SHARE = HOLE + 16 * 3, /* behind the holes of "epoch" */
	SHARE_SRC = 8,
	SHARE_SRC_BLK = 16,
	SHARE_NBLKS = 24,
	EXTENT = SHARE + 32 * 3,
	BLK = 0,
	DST = 8,
	LEN = 16
};

static size_t hole_off(uint32_t i, uint32_t member)
{
	return HOLE + 16 * (size_t)i + member;
}

static size_t share_off(uint32_t i, uint32_t member)
{
	return SHARE + 32 * (size_t)i + member;
}

static size_t extent_off(uint32_t i, uint32_t member)
{
	return EXTENT + 20 * (size_t)i + member;
}

static void counts_that_do_not_fit_are_refused(void **state)
{
	static const uint64_t counts[] = {0, 1, 2, 4, 7, 0x7fffffff, 0x80000000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		assert_refused(&epoch, NEXTENTS, 4, counts[i]);
		assert_refused(&epoch, NBLKS, 4, counts[i]);
		assert_refused(&epoch, NHOLES, 4, counts[i]);
		assert_refused(&epoch, NSHARES, 4, counts[i]);
	}
	/* an extent less and 5 checksums more, in as many bytes */
	assert_refused(&epoch, NEXTENTS, 8, 2 | UINT64_C(11) << 32);
}

static void extents_whose_sum_overflows_are_refused(void **state)
{
	const struct change_extent ext[] = {{{1}, {5}, 1}, {{UINT64_C(1) << 34}, {6}, 2}};
	struct change change = epoch;
	struct record record = {0};

	(void)state;
	change.extents = ext;
	change.nextents = 2;
	change.nblks = 3;
	add(&record, &change);
	le32_put(record.bytes + extent_off(0, LEN), UINT32_C(1) << 31);
	le32_put(record.bytes + extent_off(1, LEN), (UINT32_C(1) << 31) + 3);
	assert_int_equal(read_all(record.bytes, record.len), -ERR_JOURNAL);
	record_fini(&record);
}

static void extents_that_are_not_ascending_and_apart_are_refused(void **state)
{
	(void)state;
	assert_refused(&epoch, extent_off(0, BLK), 8, 6);
	assert_refused(&epoch, extent_off(1, BLK), 8, 6);
	assert_refused(&epoch, extent_off(1, BLK), 8, 0);
	assert_refused(&epoch, extent_off(2, BLK), 8, 7);
	assert_int_equal(read_patched(&epoch, extent_off(0, BLK), 8, 0), 0);
	assert_int_equal(read_patched(&epoch, extent_off(2, BLK), 8, 8), 0);
}

static void an_extent_of_no_blocks_is_refused(void **state)
{
	(void)state;
	assert_refused(&epoch, extent_off(1, LEN), 4, 0);
	for (uint32_t i = 0; i < 3; i++) { /* and where the sum is right */
		struct change_extent ext[] = {{{1}, {5}, 2}, {{4}, {6}, 2}, {{7}, {9}, 2}};
		struct change change = epoch;
		struct record record = {0};

		ext[i].nblks = 0;
		change.extents = ext;
		change.nblks = 4;
		add(&record, &change);
		assert_int_equal(read_all(record.bytes, record.len), -ERR_JOURNAL);
		record_fini(&record);
	}
}

static void extents_beyond_an_object_are_refused(void **state)
{
	(void)state;
	assert_refused(&epoch, extent_off(2, BLK), 8, BLK_OBJECT_MAX - 2);
	assert_refused(&epoch, extent_off(2, BLK), 8, BLK_OBJECT_MAX);
	assert_refused(&epoch, extent_off(2, BLK), 8, BLK_OBJECT_MAX + 1);
	assert_refused(&epoch, extent_off(2, BLK), 8, UINT64_MAX - 1);
	assert_refused(&epoch, hole_off(2, BLK), 8, BLK_OBJECT_MAX + 1);
	assert_refused(&epoch, hole_off(2, BLK), 8, UINT64_MAX - 1);
	assert_refused(&epoch, hole_off(2, HOLE_NBLKS), 8, BLK_OBJECT_MAX - 8);
	assert_refused(&epoch, hole_off(2, HOLE_NBLKS), 8, UINT64_MAX);
	assert_refused(&epoch, hole_off(1, BLK), 8, 4); /* within the first */
	assert_int_equal(read_patched(&epoch, hole_off(1, BLK), 8, 5), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_refused(&epoch, hole_off(i, HOLE_NBLKS), 8, 0);
	assert_refused(&epoch, SIZE, 8, (BLK_OBJECT_MAX << BLK_SHIFT) + 1);
	assert_refused(&changes[1], SIZE, 8, (BLK_OBJECT_MAX << BLK_SHIFT) + 1);
	assert_int_equal(read_patched(&changes[1], SIZE, 8, BLK_OBJECT_MAX << BLK_SHIFT), 0);
}

static void shares_that_cannot_be_are_refused(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		assert_refused(&epoch, share_off(i, SHARE_NBLKS), 8, 0);
		assert_refused(&epoch, share_off(i, SHARE_NBLKS), 8, UINT64_MAX);
		assert_refused(&epoch, share_off(i, BLK), 8, BLK_OBJECT_MAX - 1);
		assert_refused(&epoch, share_off(i, SHARE_SRC_BLK), 8, BLK_OBJECT_MAX - 1);
	}
	/* of the object itself they may touch */
	assert_refused(&epoch, share_off(1, SHARE_NBLKS), 8, 4);
	assert_refused(&epoch, share_off(1, BLK), 8, 1);
	assert_refused(&epoch, share_off(1, BLK), 8, 5);
	assert_int_equal(read_patched(&epoch, share_off(1, BLK), 8, 6), 0);
	assert_refused(&epoch, share_off(2, SHARE_SRC), 8, OID);
}

static void data_where_there_is_none_is_refused(void **state)
{
	(void)state;
	assert_refused(&epoch, extent_off(0, DST), 8, 0);
	assert_refused(&epoch, extent_off(2, DST), 8, (UINT64_C(1) << 48) - 2);
	assert_refused(&epoch, extent_off(2, DST), 8, (UINT64_C(1) << 48) + 1);
	assert_refused(&epoch, extent_off(2, DST), 8, UINT64_MAX);
}

/* Where the name of a CREATE of this length begins, and its labels. */
enum { RESERVED = 40, NAME = 48 };

static void names_that_cannot_be_are_refused(void **state)
{
	const size_t len = strlen(changes[1].name);
	char name[257] = "";
	struct change change = {.kind = CHANGE_RENAME, .name = name};
	struct record record = {0};

	(void)state;
	for (size_t i = 0; i < len; i++)
		assert_refused(&changes[1], NAME + 2 + i, 1, 0);
	assert_refused(&changes[1], NAME, 2, UINT16_MAX);
	assert_refused(&changes[1], NAME, 2, len - 1);
	assert_refused(&changes[1], NAME, 2, len + 1);
	add(&record, &change); /* empty */
	assert_int_equal(read_all(record.bytes, record.len), -ERR_JOURNAL);
	record_clear(&record);
	memset(name, 'n', 256);
	add(&record, &change);
	assert_int_equal(read_all(record.bytes, record.len), -ERR_JOURNAL);
	record_fini(&record);
}

static int read_labels(const char *bytes, uint32_t len)
{
	struct change change = changes[3];
	struct record record = {0};
	int rc;

	change.labels = bytes;
	change.labels_len = len;
	add(&record, &change);
	rc = read_all(record.bytes, record.len);
	record_fini(&record);
	return rc;
}

#define READ_LABELS(text) read_labels(text, sizeof(text))

static void labels_that_cannot_be_are_refused(void **state)
{
	const size_t at = NAME + 2 + strlen(changes[1].name);
	uint8_t *long_labels = malloc(2000);
	struct record record = {0};

	(void)state;
	assert_int_equal(READ_LABELS("k=v"), 0);
	assert_int_equal(READ_LABELS("k="), 0);
	assert_int_equal(READ_LABELS("k=v\0l=w"), 0);
	assert_int_equal(READ_LABELS(""), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("k"), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("=v"), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("k=v\0"), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("\0k=v"), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("k=v\0l\0m=w"), -ERR_JOURNAL);
	assert_int_equal(READ_LABELS("k=v\0=w"), -ERR_JOURNAL);
	assert_int_equal(read_labels("k=v", 3), -ERR_JOURNAL);
	assert_int_equal(read_labels("k=v\0l=w", 7), -ERR_JOURNAL);
	assert_refused(&changes[1], at, 2, sizeof(labels) - 1);
	assert_refused(&changes[1], at, 2, sizeof(labels) + 1);
	assert_refused(&changes[1], at, 2, 0);
	/* one byte more than allowed */
	assert_non_null(long_labels);
	add(&record, &changes[2]);
	memcpy(long_labels, record.bytes, record.len);
	memset(long_labels + record.len, '=', RECORD_LABELS_MAX + 1);
	memset(long_labels + record.len, 'k', 1);
	long_labels[record.len + RECORD_LABELS_MAX] = 0;
	le16_put(long_labels + record.len - 2, RECORD_LABELS_MAX + 1);
	le32_put(long_labels + 4, (uint32_t)record.len + RECORD_LABELS_MAX + 1);
	assert_int_equal(read_all(long_labels, record.len + RECORD_LABELS_MAX + 1), -ERR_JOURNAL);
	record_fini(&record);
	free(long_labels);
}

static void attributes_that_cannot_be_are_refused(void **state)
{
	enum { READONLY = 24, SET_RESERVED = 25, SET_LABELS = 49 };
	const struct change *set = &changes[8];

	(void)state;
	assert_int_equal(set->kind, CHANGE_SET);
	assert_int_equal(read_patched(set, READONLY, 1, 0), 0);
	assert_refused(set, READONLY, 1, 2);
	assert_refused(set, READONLY, 1, 255);
	assert_refused(set, SET_LABELS, 2, sizeof(labels) - 1);
	assert_int_equal(read_patched(set, SET_RESERVED, 8, BLK_OBJECT_MAX), 0);
	assert_refused(set, SET_RESERVED, 8, BLK_OBJECT_MAX + 1);
	assert_int_equal(read_patched(&changes[1], RESERVED, 8, BLK_OBJECT_MAX), 0);
	assert_refused(&changes[1], RESERVED, 8, BLK_OBJECT_MAX + 1);
}

static void a_reader_counts_only_what_it_has_read(void **state)
{
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	add(&record, &epoch);
	add(&record, &changes[4]);
	record.bytes[record_change_len(&epoch)] = 99;
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	assert_int_equal(record_next(&reader), 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(record_next(&reader), -ERR_JOURNAL);
		assert_int_equal(reader.ndata, 0);
	}
	record_reader_fini(&reader);
	record_fini(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_body_that_is_cut_is_refused),
	    cmocka_unit_test(a_length_that_does_not_fit_is_refused),
	    cmocka_unit_test(an_unknown_head_is_refused),
	    cmocka_unit_test(counts_that_do_not_fit_are_refused),
	    cmocka_unit_test(extents_whose_sum_overflows_are_refused),
	    cmocka_unit_test(extents_that_are_not_ascending_and_apart_are_refused),
	    cmocka_unit_test(an_extent_of_no_blocks_is_refused),
	    cmocka_unit_test(extents_beyond_an_object_are_refused),
	    cmocka_unit_test(shares_that_cannot_be_are_refused),
	    cmocka_unit_test(data_where_there_is_none_is_refused),
	    cmocka_unit_test(names_that_cannot_be_are_refused),
	    cmocka_unit_test(labels_that_cannot_be_are_refused),
	    cmocka_unit_test(attributes_that_cannot_be_are_refused),
	    cmocka_unit_test(a_reader_counts_only_what_it_has_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
