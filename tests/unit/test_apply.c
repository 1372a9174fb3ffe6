/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes of every kind, applied; and that applying them again gives the same map. */
#include "common/crc32c.h"
#include "server/apply.h"
#include "tests/unit/map_fixture.h"

static unsigned int yields;

/* In place of the C library's: what gives way is counted. */
int sched_yield(void)
{
	yields++;
	return 0;
}

static struct map_obj apply(struct fix *fix, const struct change *change, int want)
{
	struct map_txn *txn = fix_begin(fix);
	struct map_obj obj;

	memset(&obj, 0x55, sizeof(obj));
	assert_int_equal(apply_change(txn, change, &obj), want);
	fix_commit(txn);
	return obj;
}

static struct map_extent block_of(struct fix *fix, uint64_t oid, uint64_t blk, uint32_t *csum)
{
	struct map_view *view = fix_view(fix);
	struct map_lookup l;

	assert_int_equal(map_begin(view, oid, lblk(blk), 1, MAP_FOR_READ, &l, csum), 0);
	map_view_end(view);
	return l.src;
}

static const struct change create_a = {
    .kind = CHANGE_CREATE,
    .oid = 5,
    .name = "a",
    .size_bytes = 100 * BLK_BYTES,
    .time_ns = 10,
    .expires_ns = 99,
    .labels = "k=v",
    .labels_len = 4,
};

static const struct change_extent extents[] = {
    {.blk = {2}, .dst = {100}, .nblks = 3},
    {.blk = {50}, .dst = {300}, .nblks = 2},
};
static const uint32_t csums[] = {11, 12, 13, 21, 22};

static const struct change write_a = {
    .kind = CHANGE_EPOCH,
    .oid = 5,
    .size_bytes = 52 * BLK_BYTES,
    .time_ns = 20,
    .generation = 21,
    .extents = extents,
    .nextents = ARRAY_LEN(extents),
    .nblks = ARRAY_LEN(csums),
    .csums = csums,
};

static const struct change snapshot_a = {
    .kind = CHANGE_CLONE,
    .oid = 7,
    .other = 5,
    .parent = 5,
    .name = "v",
    .time_ns = 30,
};

static const struct change clone_v = {
    .kind = CHANGE_CLONE,
    .oid = 8,
    .other = 7,
    .name = "b",
    .time_ns = 40,
    .expires_ns = 100,
};

static void test_create(void **state)
{
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	obj = apply(&fix, &create_a, 0);
	assert_int_equal(obj.id, 5);
	assert_string_equal(obj.name, "a");
	assert_int_equal(obj.size_bytes, 100 * BLK_BYTES);
	assert_int_equal(obj.ctime_ns, 10);
	assert_int_equal(obj.expires_ns, 99);
	assert_int_equal(obj.labels_len, 4);
	assert_string_equal(obj.labels, "k=v");
	apply(&fix, &create_a, -ERR_EXIST);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_epoch(void **state)
{
	const struct change_hole hole = {lblk(3), BLK_OBJECT_MAX - 3};
	struct change cut = write_a;
	struct map_obj obj;
	struct fix fix;
	uint32_t csum;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	obj = apply(&fix, &write_a, 0);
	assert_int_equal(obj.size_bytes, 52 * BLK_BYTES);
	assert_int_equal(obj.mtime_ns, 20);
	assert_int_equal(obj.generation, 21);
	assert_int_equal(obj.mapped_nblks, 5);
	assert_int_equal(block_of(&fix, 5, 4, &csum).blk.n, 102);
	assert_int_equal(csum, 13);
	assert_int_equal(block_of(&fix, 5, 51, &csum).blk.n, 301);
	assert_int_equal(csum, 22);
	/* first the truncation, then what was written behind it */
	cut.holes = &hole;
	cut.nholes = 1;
	cut.extents = (struct change_extent[]){{.blk = {60}, .dst = {500}, .nblks = 1}};
	cut.nextents = 1;
	cut.size_bytes = 61 * BLK_BYTES;
	obj = apply(&fix, &cut, 0);
	assert_int_equal(obj.mapped_nblks, 2);
	assert_int_equal(block_of(&fix, 5, 2, &csum).blk.n, 100);
	assert_int_equal(block_of(&fix, 5, 3, &csum).kind, MAP_HOLE);
	assert_int_equal(block_of(&fix, 5, 60, &csum).blk.n, 500);
	assert_int_equal(csum, 11);
	cut.oid = 6;
	apply(&fix, &cut, -ERR_NOENT);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_clone_and_version(void **state)
{
	struct map_obj obj;
	struct fix fix;
	uint32_t csum;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	apply(&fix, &write_a, 0);
	obj = apply(&fix, &snapshot_a, 0);
	assert_string_equal(obj.name, "a@v");
	assert_int_equal(obj.parent, 5);
	assert_int_equal(obj.expires_ns, 0);
	obj = apply(&fix, &clone_v, 0);
	assert_string_equal(obj.name, "b");
	assert_int_equal(obj.origin, 7);
	assert_int_equal(obj.expires_ns, 100);
	assert_int_equal(block_of(&fix, 8, 2, &csum).blk.n, 100);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_remove(void **state)
{
	static const struct map_obj zeros;
	struct change remove = {.kind = CHANGE_REMOVE, .oid = 5};
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	apply(&fix, &snapshot_a, 0);
	apply(&fix, &remove, -ERR_BUSY);
	remove.oid = 7;
	obj = apply(&fix, &remove, 0);
	assert_memory_equal(&obj, &zeros, sizeof(obj));
	remove.oid = 5;
	apply(&fix, &remove, 0);
	apply(&fix, &remove, -ERR_NOENT);
	fix_check_empty(&fix);
	fix_close(&fix);
}

static void test_names(void **state)
{
	struct change change = {.kind = CHANGE_RENAME, .oid = 7, .name = "w"};
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	apply(&fix, &snapshot_a, 0);
	apply(&fix, &clone_v, 0);
	assert_string_equal(apply(&fix, &change, 0).name, "a@w");
	apply(&fix, &change, -ERR_EXIST);
	change = (struct change){.kind = CHANGE_EXCHANGE, .oid = 8, .other = 5};
	assert_string_equal(apply(&fix, &change, 0).name, "a");
	change = (struct change){.kind = CHANGE_EXCHANGE, .oid = 8, .other = 7};
	apply(&fix, &change, -ERR_PERM);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_reset(void **state)
{
	struct change reset = {
	    .kind = CHANGE_RESET, .oid = 5, .other = 7, .time_ns = 70, .generation = 71};
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	apply(&fix, &snapshot_a, 0);
	apply(&fix, &write_a, 0);
	obj = apply(&fix, &reset, 0);
	assert_int_equal(obj.size_bytes, 100 * BLK_BYTES);
	assert_int_equal(obj.mapped_nblks, 0);
	assert_int_equal(obj.mtime_ns, 70);
	assert_int_equal(obj.generation, 71);
	fix_check(&fix);
	fix_close(&fix);
}

/* Is there an entry in ttl for this object, at this time? */
static bool expires_at(struct fix *fix, uint64_t oid, uint64_t expires_ns)
{
	struct map_view *view = fix_view(fix);
	struct map_pair pair = {expires_ns, oid};
	int err = map_pair_get(view->kv, KV_TTL, pair);

	map_view_end(view);
	assert_true(err == 0 || err == -ERR_NOENT);
	return err == 0;
}

static void test_set(void **state)
{
	struct change set = {.kind = CHANGE_SET,
			     .oid = 5,
			     .expires_ns = 120,
			     .readonly = true,
			     .labels = "a=1\0k=w",
			     .labels_len = 8};
	struct change late = write_a;
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &set, -ERR_NOENT);
	apply(&fix, &create_a, 0);
	apply(&fix, &write_a, 0);
	assert_true(expires_at(&fix, 5, 99));
	obj = apply(&fix, &set, 0);
	assert_int_equal(obj.expires_ns, 120);
	assert_true(obj.readonly);
	assert_int_equal(obj.labels_len, 8);
	assert_memory_equal(obj.labels, "a=1\0k=w", 8);
	assert_int_equal(obj.generation, 21); /* of its content */
	assert_int_equal(obj.mtime_ns, 20);
	assert_int_equal(obj.mapped_nblks, 5);
	assert_false(expires_at(&fix, 5, 99));
	assert_true(expires_at(&fix, 5, 120));
	fix_check(&fix);
	/* what was acknowledged before is in the map after it */
	late.extents = (struct change_extent[]){{.blk = {2}, .dst = {500}, .nblks = 1}};
	late.nextents = 1;
	late.nblks = 1;
	obj = apply(&fix, &late, 0);
	assert_true(obj.readonly);
	set = (struct change){.kind = CHANGE_SET, .oid = 5, .labels = ""};
	obj = apply(&fix, &set, 0);
	assert_int_equal(obj.expires_ns, 0);
	assert_false(obj.readonly);
	assert_int_equal(obj.labels_len, 0);
	assert_false(expires_at(&fix, 5, 120));
	fix_check(&fix);
	fix_close(&fix);
}

/* A version has labels and a time to live of its own, and nothing of a clone is its source's. */
static void test_set_of_a_version(void **state)
{
	struct change set = {.kind = CHANGE_SET, .oid = 7, .expires_ns = 50, .labels = ""};
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	set.oid = 5;
	set.readonly = true;
	apply(&fix, &set, 0);
	set.oid = 7;
	assert_false(apply(&fix, &snapshot_a, 0).readonly);
	apply(&fix, &set, -ERR_PERM);
	set.readonly = false;
	obj = apply(&fix, &set, 0);
	assert_string_equal(obj.name, "a@v");
	assert_int_equal(obj.expires_ns, 50);
	assert_true(expires_at(&fix, 7, 50));
	obj = apply(&fix, &clone_v, 0);
	assert_int_equal(obj.expires_ns, 100);
	assert_false(obj.readonly);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_no_such_kind(void **state)
{
	struct change change = {.kind = (enum change_kind)77};
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	assert_int_equal(apply_change(txn, &change, &obj), -ERR_INVAL);
	map_txn_abort(txn);
	fix_close(&fix);
}

/* A checksum over all entries of all tables. */
static uint32_t map_crc(struct fix *fix)
{
	struct map_view *view = fix_view(fix);
	uint32_t crc = 0;

	for (int t = 0; t < KV_NTABLES; t++) {
		uint8_t key[KV_KEY_MAX] = {0};
		struct kv_buf at = {.data = key, .len = 1};
		struct kv_buf found;
		struct kv_buf val;

		while (kv_find(view->kv, (enum kv_table)t, KV_GT, at, &found, &val) == 0) {
			crc = crc32c(crc, found.data, found.len);
			crc = crc32c(crc, val.data, val.len);
			memcpy(key, found.data, found.len);
			at.len = found.len;
		}
	}
	map_view_end(view);
	return crc;
}

static uint32_t run_of_changes(size_t each)
{
	static const struct change rename = {.kind = CHANGE_RENAME, .oid = 7, .name = "w"};
	static const struct change reset = {.kind = CHANGE_RESET, .oid = 8, .other = 5};
	static const struct change set = {
	    .kind = CHANGE_SET, .oid = 8, .expires_ns = 7, .labels = "x=y", .labels_len = 4};
	static const struct change remove = {.kind = CHANGE_REMOVE, .oid = 7};
	const struct change *const all[] = {&create_a, &write_a, &snapshot_a, &clone_v,
					    &rename,   &reset,	 &set,	      &remove};
	struct map_txn *txn = NULL;
	struct map_obj obj;
	struct fix fix;
	uint32_t crc;

	fix_open(&fix, 1000, FIX_META_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (!txn)
			txn = fix_begin(&fix);
		assert_int_equal(apply_change(txn, all[i], &obj), 0);
		if (i % each == each - 1 || i + 1 == ARRAY_LEN(all)) {
			fix_commit(txn);
			txn = NULL;
		}
	}
	fix_check(&fix);
	crc = map_crc(&fix);
	fix_close(&fix);
	return crc;
}

static void test_same_changes_give_the_same_map(void **state)
{
	uint32_t crc = run_of_changes(1);

	(void)state;
	assert_int_equal(run_of_changes(1), crc);
	assert_int_equal(run_of_changes(2), crc);
	assert_int_equal(run_of_changes(100), crc);
}

#define MANY 2000u

/* How often since the last time; the work took more than it may go on without. */
static void assert_gave_way(void)
{
	assert_in_range(yields, 2, UINT32_MAX);
	yields = 0;
}

/* Applying, folding and taking apart: each is of thousands of pieces, and takes milliseconds. */
static void test_long_work_gives_way(void **state)
{
	static struct change_extent many[MANY];
	static uint32_t sums[MANY];
	const struct change remove = {.kind = CHANGE_REMOVE, .oid = 5};
	struct change write = write_a;
	struct fix fix;
	bool more = true;

	(void)state;
	fix_open(&fix, 4 * MANY, 16 * FIX_META_BYTES);
	apply(&fix, &create_a, 0);
	for (uint32_t i = 0; i < MANY; i++)
		many[i] = (struct change_extent){lblk(2 * i), pblk(100 + 2 * i), 1};
	write.extents = many;
	write.nextents = write.nblks = MANY;
	write.csums = sums;
	write.size_bytes = 2 * MANY * BLK_BYTES;
	yields = 0;
	apply(&fix, &write, 0);
	assert_gave_way();
	assert_int_equal(map_cut(fix.map, (struct map_tail){.seq = 1}), 0);
	assert_int_equal(map_fold(fix.map), 0);
	assert_gave_way();
	apply(&fix, &remove, 0);
	yields = 0;
	while (more) {
		struct map_txn *txn = fix_begin(&fix);

		assert_int_equal(map_txn_reap(txn, 64, &more), 0);
		fix_commit(txn);
	}
	assert_gave_way();
	fix_check(&fix);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_create),
	    cmocka_unit_test(test_epoch),
	    cmocka_unit_test(test_clone_and_version),
	    cmocka_unit_test(test_remove),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_reset),
	    cmocka_unit_test(test_set),
	    cmocka_unit_test(test_set_of_a_version),
	    cmocka_unit_test(test_no_such_kind),
	    cmocka_unit_test(test_same_changes_give_the_same_map),
	    cmocka_unit_test(test_long_work_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
