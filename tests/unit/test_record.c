/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_record.c: changes as bytes and back; what is malformed is refused.
 */
#include "server/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"

#define OID   UINT64_C(0x1122334455667788)
#define OTHER UINT64_C(0x99aabbccddeeff01)

static const char labels[] = "os=debian\0tier=\0x=a=b"; /* and the terminator */

static const struct change_extent extents[] = {
    {{5}, {1000}, 2},
    {{7}, {500}, 1}, /* next to it, elsewhere on the device */
    {{BLK_OBJECT_MAX - 3}, {(UINT64_C(1) << 48) - 3}, 3},
};
static const uint32_t csums[] = {0, 1, UINT32_MAX, 0x80000000, 5, 6};

static const struct change_hole holes[] = {
    {{4}, 1},
    {{6}, 2},
    {{9}, BLK_OBJECT_MAX - 9},
};

static const struct change epoch = {
    .kind = CHANGE_EPOCH,
    .oid = OID,
    .size_bytes = BLK_OBJECT_MAX << BLK_SHIFT,
    .time_ns = 123456789,
    .holes = holes,
    .nholes = 3,
    .extents = extents,
    .nextents = 3,
    .nblks = 6,
    .csums = csums,
    .inlined = true,
};

static const struct change changes[] = {
    {.kind = CHANGE_EPOCH, .oid = OID, .size_bytes = 5},
    {.kind = CHANGE_CREATE,
     .oid = OID,
     .size_bytes = 77,
     .time_ns = 8,
     .expires_ns = 9,
     .name = "an/object",
     .labels = labels,
     .labels_len = sizeof(labels)},
    {.kind = CHANGE_CREATE, .oid = 1, .name = "b"},
    {.kind = CHANGE_CLONE,
     .oid = OID,
     .other = OTHER,
     .parent = 3,
     .time_ns = UINT64_MAX,
     .expires_ns = 10,
     .name = "v1",
     .labels = labels,
     .labels_len = sizeof(labels)},
    {.kind = CHANGE_REMOVE, .oid = OID},
    {.kind = CHANGE_RENAME, .oid = OID, .name = "new"},
    {.kind = CHANGE_EXCHANGE, .oid = OID, .other = OTHER},
    {.kind = CHANGE_RESET, .oid = OID, .other = OTHER, .time_ns = 4},
};

static void add(struct record *record, const struct change *change)
{
	size_t len = record->len;

	assert_int_equal(record_add(record, change), 0);
	assert_int_equal(record->len, len + record_change_len(change));
}

static void assert_same_string(const char *a, const char *b)
{
	if (b)
		assert_string_equal(a, b);
	else
		assert_null(a);
}

/* Members that do not belong to the kind are not there. */
static void assert_same(const struct change *got, const struct change *want)
{
	assert_int_equal(got->kind, want->kind);
	assert_int_equal(got->oid, want->oid);
	assert_int_equal(got->other, want->other);
	assert_int_equal(got->parent, want->parent);
	assert_int_equal(got->size_bytes, want->size_bytes);
	assert_int_equal(got->time_ns, want->time_ns);
	assert_int_equal(got->expires_ns, want->expires_ns);
	assert_int_equal(got->nholes, want->nholes);
	for (uint32_t i = 0; i < want->nholes; i++) {
		assert_int_equal(got->holes[i].blk.n, want->holes[i].blk.n);
		assert_int_equal(got->holes[i].nblks, want->holes[i].nblks);
	}
	assert_int_equal(got->inlined, want->inlined);
	assert_int_equal(got->nextents, want->nextents);
	assert_int_equal(got->nblks, want->nblks);
	for (uint32_t i = 0; i < want->nextents; i++) {
		assert_int_equal(got->extents[i].blk.n, want->extents[i].blk.n);
		assert_int_equal(got->extents[i].dst.n, want->extents[i].dst.n);
		assert_int_equal(got->extents[i].nblks, want->extents[i].nblks);
	}
	for (uint32_t i = 0; i < want->nblks; i++)
		assert_int_equal(got->csums[i], want->csums[i]);
	assert_same_string(got->name, want->name);
	assert_int_equal(got->labels_len, want->labels_len);
	if (want->labels_len > 0)
		assert_memory_equal(got->labels, want->labels, want->labels_len);
}

static void assert_ends(struct record_reader *reader, uint32_t ndata)
{
	for (int i = 0; i < 2; i++) {
		assert_int_equal(record_next(reader), 0);
		assert_int_equal(reader->ndata, ndata);
	}
	record_reader_fini(reader);
}

/* ---- what is written is read ----------------------------------------------------------------- */

static void every_kind_makes_the_round(void **state)
{
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		record_clear(&record);
		add(&record, &changes[i]);
		reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
		assert_int_equal(record_next(&reader), 1);
		assert_same(&reader.change, &changes[i]);
		assert_ends(&reader, 0);
	}
	record_fini(&record);
}

static void a_body_holds_changes_in_order(void **state)
{
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		add(&record, &changes[i]);
		add(&record, &epoch);
	}
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		assert_int_equal(record_next(&reader), 1);
		assert_same(&reader.change, &changes[i]);
		assert_int_equal(record_next(&reader), 1);
		assert_same(&reader.change, &epoch);
	}
	assert_ends(&reader, ARRAY_LEN(changes) * epoch.nblks);
	record_fini(&record);
}

static void an_empty_body_has_no_change(void **state)
{
	struct record_reader reader = {0};

	(void)state;
	assert_ends(&reader, 0);
}

static void inlined_blocks_are_counted(void **state)
{
	struct change apart = epoch;
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	apart.inlined = false;
	add(&record, &apart);
	assert_int_equal(record.ndata, 0);
	add(&record, &epoch);
	assert_int_equal(record.ndata, 6);
	add(&record, &apart);
	add(&record, &epoch);
	assert_int_equal(record.ndata, 12);
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(record_next(&reader), 1);
		assert_int_equal(reader.change.inlined, i % 2);
		assert_int_equal(reader.ndata, i >= 2 ? 6 : 0);
	}
	assert_ends(&reader, 12);
	record_clear(&record);
	assert_int_equal(record.ndata, 0);
	assert_int_equal(record.len, 0);
	record_fini(&record);
}

/* The flag says where an epoch's data is; another kind has none. */
static void only_an_epoch_is_inlined(void **state)
{
	struct change change = changes[1];
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	change.inlined = true;
	change.nblks = 3;
	add(&record, &change);
	assert_int_equal(record.ndata, 0);
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	assert_int_equal(record_next(&reader), 1);
	assert_same(&reader.change, &changes[1]);
	assert_ends(&reader, 0);
	record_fini(&record);
}

static void the_longest_name_and_labels_make_the_round(void **state)
{
	char name[256] = "";
	char long_labels[RECORD_LABELS_MAX];
	struct change change = {.kind = CHANGE_CREATE,
				.oid = 1,
				.name = name,
				.labels = long_labels,
				.labels_len = sizeof(long_labels)};
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	memset(name, 'n', 255);
	memset(long_labels, 'l', sizeof(long_labels));
	long_labels[1] = '=';
	long_labels[sizeof(long_labels) - 1] = '\0';
	add(&record, &change);
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	assert_int_equal(record_next(&reader), 1);
	assert_same(&reader.change, &change);
	assert_ends(&reader, 0);
	record_fini(&record);
}

static void an_epoch_may_have_very_many_extents(void **state)
{
	enum { N = 100000 };
	struct change_extent *ext = calloc(N, sizeof(*ext));
	uint32_t *sums = calloc((size_t)2 * N, sizeof(*sums));
	struct change many = {
	    .kind = CHANGE_EPOCH, .extents = ext, .nextents = N, .nblks = 2 * N, .csums = sums};
	struct record record = {0};
	struct record_reader reader;

	(void)state;
	assert_non_null(ext);
	assert_non_null(sums);
	for (uint32_t i = 0; i < N; i++)
		ext[i] = (struct change_extent){lblk(3 * (uint64_t)i), pblk(9 + i), 2};
	for (uint32_t i = 0; i < 2 * N; i++)
		sums[i] = i * 7;
	add(&record, &epoch);
	add(&record, &many);
	add(&record, &epoch);
	reader = (struct record_reader){.bytes = record.bytes, .len = record.len};
	assert_int_equal(record_next(&reader), 1);
	assert_same(&reader.change, &epoch);
	assert_int_equal(record_next(&reader), 1);
	assert_same(&reader.change, &many);
	assert_int_equal(record_next(&reader), 1);
	assert_same(&reader.change, &epoch);
	assert_ends(&reader, 12);
	record_fini(&record);
	free(ext);
	free(sums);
}

/* Byte by byte as record.c's head has it: these bytes are on disk. */
static void the_layout_is_that_on_disk(void **state)
{
	static const uint8_t want[] = {
	    1,	  1,	0,    0,    92,	  0,	0,    0,		/* head */
	    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,		/* oid */
	    3,	  2,	0,    0,    0,	  0,	0,    0,		/* size */
	    9,	  0,	0,    0,    0,	  0,	0,    0,		/* time */
	    1,	  0,	0,    0,					/* holes */
	    1,	  0,	0,    0,    3,	  0,	0,    0,		/* extents, blocks */
	    2,	  1,	0,    0,    0,	  0,	0,    0,		/* blk */
	    8,	  0,	0,    0,    0,	  0,	0,    0,		/* nblks */
	    6,	  0,	0,    0,    0,	  0,	0,    0,		/* blk */
	    0,	  0,	0,    0,    0,	  1,	0,    0,    3, 0, 0, 0, /* dst, nblks */
	    4,	  3,	2,    1,    5,	  0,	0,    0,    6, 0, 0, 0, /* CRCs */
	};
	static const uint8_t want_clone[] = {
	    3, 0, 0,   0,   59,	 0, 0, 0,				/* head */
	    1, 0, 0,   0,   0,	 0, 0, 0,   2,	 0,   0, 0, 0, 0, 0, 0, /* oid, other */
	    3, 0, 0,   0,   0,	 0, 0, 0,   4,	 0,   0, 0, 0, 0, 0, 0, /* parent, time */
	    5, 0, 0,   0,   0,	 0, 0, 0,				/* expires */
	    3, 0, 'v', '-', '1', 4, 0, 'k', '=', 'v', 0,		/* name, labels */
	};
	const struct change_extent ext = {lblk(6), pblk(UINT64_C(1) << 40), 3};
	const struct change_hole hole = {lblk(0x102), 8};
	const uint32_t sums[] = {0x01020304, 5, 6};
	const struct change change = {.kind = CHANGE_EPOCH,
				      .oid = OID,
				      .size_bytes = 515,
				      .time_ns = 9,
				      .holes = &hole,
				      .nholes = 1,
				      .extents = &ext,
				      .nextents = 1,
				      .nblks = 3,
				      .csums = sums,
				      .inlined = true};
	const struct change clone = {.kind = CHANGE_CLONE,
				     .oid = 1,
				     .other = 2,
				     .parent = 3,
				     .time_ns = 4,
				     .expires_ns = 5,
				     .name = "v-1",
				     .labels = "k=v",
				     .labels_len = 4};
	struct record record = {0};

	(void)state;
	add(&record, &change);
	assert_int_equal(record.len, sizeof(want));
	assert_memory_equal(record.bytes, want, sizeof(want));
	record_clear(&record);
	add(&record, &clone);
	assert_int_equal(record.len, sizeof(want_clone));
	assert_memory_equal(record.bytes, want_clone, sizeof(want_clone));
	record_fini(&record);
}

/* ---- what is refused ------------------------------------------------------------------------- */

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
	assert_refused(&changes[4], 0, 1, 8);
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
	NHOLES = 32,
	NEXTENTS = 36,
	NBLKS = 40,
	HOLE = 44,
	HOLE_NBLKS = 8,
	EXTENT = HOLE + 16 * 3, /* behind the holes of "epoch" */
	BLK = 0,
	DST = 8,
	LEN = 16
};

static size_t hole_off(uint32_t i, uint32_t member)
{
	return HOLE + 16 * (size_t)i + member;
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

static void data_where_there_is_none_is_refused(void **state)
{
	(void)state;
	assert_refused(&epoch, extent_off(0, DST), 8, 0);
	assert_refused(&epoch, extent_off(2, DST), 8, (UINT64_C(1) << 48) - 2);
	assert_refused(&epoch, extent_off(2, DST), 8, (UINT64_C(1) << 48) + 1);
	assert_refused(&epoch, extent_off(2, DST), 8, UINT64_MAX);
}

/* Where the name of a CREATE of this length begins, and its labels. */
enum { NAME = 40 };

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
	    cmocka_unit_test(every_kind_makes_the_round),
	    cmocka_unit_test(a_body_holds_changes_in_order),
	    cmocka_unit_test(an_empty_body_has_no_change),
	    cmocka_unit_test(inlined_blocks_are_counted),
	    cmocka_unit_test(only_an_epoch_is_inlined),
	    cmocka_unit_test(the_longest_name_and_labels_make_the_round),
	    cmocka_unit_test(an_epoch_may_have_very_many_extents),
	    cmocka_unit_test(the_layout_is_that_on_disk),
	    cmocka_unit_test(a_body_that_is_cut_is_refused),
	    cmocka_unit_test(a_length_that_does_not_fit_is_refused),
	    cmocka_unit_test(an_unknown_head_is_refused),
	    cmocka_unit_test(counts_that_do_not_fit_are_refused),
	    cmocka_unit_test(extents_whose_sum_overflows_are_refused),
	    cmocka_unit_test(extents_that_are_not_ascending_and_apart_are_refused),
	    cmocka_unit_test(an_extent_of_no_blocks_is_refused),
	    cmocka_unit_test(extents_beyond_an_object_are_refused),
	    cmocka_unit_test(data_where_there_is_none_is_refused),
	    cmocka_unit_test(names_that_cannot_be_are_refused),
	    cmocka_unit_test(labels_that_cannot_be_are_refused),
	    cmocka_unit_test(a_reader_counts_only_what_it_has_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
