/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_record.c: changes as bytes and back.
 */
#include "tests/unit/record_fixture.h"

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
	assert_int_equal(got->generation, want->generation);
	assert_int_equal(got->expires_ns, want->expires_ns);
	assert_int_equal(got->readonly, want->readonly);
	assert_int_equal(got->reserved_nblks, want->reserved_nblks);
	assert_int_equal(got->regained_nblks, want->regained_nblks);
	assert_int_equal(got->owned_seq, want->owned_seq);
	assert_int_equal(got->nholes, want->nholes);
	for (uint32_t i = 0; i < want->nholes; i++) {
		assert_int_equal(got->holes[i].blk.n, want->holes[i].blk.n);
		assert_int_equal(got->holes[i].nblks, want->holes[i].nblks);
	}
	assert_int_equal(got->nshares, want->nshares);
	for (uint32_t i = 0; i < want->nshares; i++) {
		assert_int_equal(got->shares[i].blk.n, want->shares[i].blk.n);
		assert_int_equal(got->shares[i].src, want->shares[i].src);
		assert_int_equal(got->shares[i].src_blk.n, want->shares[i].src_blk.n);
		assert_int_equal(got->shares[i].nblks, want->shares[i].nblks);
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
	    1,	  1,	0,    0,    136,  0,	0,    0,		/* head */
	    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,		/* oid */
	    3,	  2,	0,    0,    0,	  0,	0,    0,		/* size */
	    9,	  0,	0,    0,    0,	  0,	0,    0,		/* time */
	    11,	  0,	0,    0,    0,	  0,	0,    0,		/* generation */
	    1,	  0,	0,    0,					/* holes */
	    1,	  0,	0,    0,					/* shares */
	    1,	  0,	0,    0,    3,	  0,	0,    0,		/* extents, blocks */
	    2,	  1,	0,    0,    0,	  0,	0,    0,		/* blk */
	    8,	  0,	0,    0,    0,	  0,	0,    0,		/* nblks */
	    3,	  1,	0,    0,    0,	  0,	0,    0,		/* blk */
	    0x01, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,		/* src */
	    4,	  1,	0,    0,    0,	  0,	0,    0,		/* src_blk */
	    7,	  0,	0,    0,    0,	  0,	0,    0,		/* nblks */
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
	const struct change_share share = {lblk(0x103), OTHER, lblk(0x104), 7};
	const uint32_t sums[] = {0x01020304, 5, 6};
	const struct change change = {.kind = CHANGE_EPOCH,
				      .oid = OID,
				      .size_bytes = 515,
				      .time_ns = 9,
				      .generation = 11,
				      .holes = &hole,
				      .nholes = 1,
				      .shares = &share,
				      .nshares = 1,
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
