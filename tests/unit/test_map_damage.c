/* SPDX-License-Identifier: BSD-2-Clause */
/* Values that are damaged are noticed by who reads them. */
#include "common/cursor.h"
#include "server/map_priv.h"
#include "tests/unit/map_fixture.h"

/* ---- damage ---------------------------------------------------------------------------------- */

/* A map that has something in every table. */
static uint64_t fill_all_tables(struct fix *fix)
{
	struct map_txn *txn = fix_begin(fix);
	uint64_t a = fix_create(txn, "a", 1000);
	uint64_t b = fix_create(txn, "b", 1000);
	struct map_new new;
	struct map_obj obj;

	fix_remap(txn, a, 0, 100, 300);
	fix_remap(txn, b, 0, 500, 2);
	new = fix_new(txn, "c", 0, 2);
	new.expires_ns = 77;
	assert_int_equal(map_txn_clone(txn, a, &new, &obj), 0);
	fix_remap(txn, obj.id, 10, 600, 1);
	assert_int_equal(map_txn_remove(txn, b), 0);
	fix_commit(txn);
	fix_check(fix);
	fix_fold(fix);
	return a;
}

/* Every changed byte of the table's first value is noticed, under an own key as well. */
static void flip_table(struct kv_txn *kv, enum kv_table table)
{
	struct kv_buf first = {.data = "", .len = 1};
	uint8_t other[8] = {0xff};
	uint8_t good[MAP_VALUE_MAX];
	uint8_t key[KV_KEY_MAX];
	struct kv_buf found;
	struct kv_buf val;
	struct kv_buf k;

	assert_int_equal(kv_find(kv, table, KV_GE, first, &found, &val), 0);
	memcpy(key, found.data, found.len);
	memcpy(good, val.data, val.len);
	k = (struct kv_buf){.data = key, .len = found.len};
	for (size_t i = 0; i<val.len; i += val.len> 100 ? 17 : 1) {
		uint8_t bad[MAP_VALUE_MAX];

		memcpy(bad, good, val.len);
		bad[i] ^= (uint8_t)(1u << (i % 8));
		kv_put(kv, table, k, (struct kv_buf){.data = bad, .len = val.len});
		assert_int_equal(map_value_get(kv, table, k, 1, &found), -ERR_NODE);
	}
	kv_put(kv, table, k, (struct kv_buf){.data = good, .len = val.len - 1});
	assert_int_equal(map_value_get(kv, table, k, 1, &found), -ERR_NODE);
	kv_put(kv, table, k, (struct kv_buf){.data = good, .len = 0});
	assert_int_equal(map_value_get(kv, table, k, 0, &found), -ERR_NODE);
	kv_put(kv, table, k, (struct kv_buf){.data = good, .len = val.len});
	assert_int_equal(map_value_get(kv, table, k, 1, &found), 0);
	k = (struct kv_buf){.data = other, .len = sizeof(other)};
	kv_put(kv, table, k, (struct kv_buf){.data = good, .len = val.len});
	assert_int_equal(map_value_get(kv, table, k, 1, &found), -ERR_NODE);
}

static void test_every_flipped_byte_is_noticed(void **state)
{
	struct kv_txn *kv;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	fill_all_tables(&fix);
	assert_int_equal(kv_write_begin(fix.map->kv, &kv), 0);
	for (int t = 0; t < KV_NTABLES; t++)
		flip_table(kv, (enum kv_table)t);
	kv_write_abort(kv);
	fix_check(&fix);
	fix_close(&fix);
}

/* Changes the last byte of every value of a table. */
static void damage_table(struct fix *fix, enum kv_table table)
{
	uint8_t key[KV_KEY_MAX] = {0};
	struct kv_buf at = {.data = key, .len = 1};
	struct kv_buf found;
	struct kv_buf val;
	struct kv_txn *kv;

	assert_int_equal(kv_write_begin(fix->map->kv, &kv), 0);
	while (kv_find(kv, table, KV_GT, at, &found, &val) == 0) {
		uint8_t bad[MAP_VALUE_MAX];

		memcpy(key, found.data, found.len);
		at.len = found.len;
		memcpy(bad, val.data, val.len);
		bad[val.len - 1] ^= 0x10;
		kv_put(kv, table, at, (struct kv_buf){.data = bad, .len = val.len});
	}
	assert_int_equal(kv_write_commit(kv), 0);
}

static int count_obj(void *ctx, const struct map_obj *obj)
{
	(void)obj;
	++*(int *)ctx;
	return 0;
}

static void damaged_reads(struct fix *fix, enum kv_table table, uint64_t oid)
{
	struct map_view *view = fix_view(fix);
	uint64_t ranges[2] = {0, 0};
	struct map_space space;
	uint64_t expires_ns = 0;
	struct map_lookup l;
	struct map_obj obj;
	uint64_t id = 0;
	int n = 0;

	assert_int_equal(map_obj_by_name(view, "a", &obj),
			 table == KV_NAME || table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_list(view, "", "", count_obj, &n),
			 table == KV_NAME || table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_obj_by_id(view, oid, &obj), table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_list_children(view, oid, 0, count_obj, &n),
			 table == KV_CHILD || table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_next_expiry(view, &expires_ns, &id), table == KV_TTL ? -ERR_NODE : 0);
	assert_int_equal(map_get_space(view, &space), table == KV_META ? -ERR_NODE : 0);
	assert_int_equal(map_next_object(view, &id), table == KV_META ? -ERR_NODE : 0);
	assert_int_equal(map_begin(view, oid, lblk(0), 9, MAP_FOR_READ, &l, NULL),
			 table == KV_OBJ || table == KV_NODE ? -ERR_NODE : 0);
	assert_int_equal(map_each_free(view, pblk(0), fix_sum_free, ranges),
			 table == KV_FREE ? -ERR_NODE : 0);
	map_view_end(view);
}

static void damaged_writes(struct fix *fix, enum kv_table table, uint64_t oid)
{
	struct map_freed freed = {0};
	uint32_t csums[4] = {0};
	struct map_txn *txn;
	bool more;
	int err = map_txn_begin(fix->map, &txn);

	assert_int_equal(err, table == KV_META ? -ERR_NODE : 0);
	if (err)
		return;
	if (table == KV_NAME || table == KV_OBJ) {
		struct map_obj obj;

		assert_int_equal(map_txn_obj_by_name(txn, "a", &obj), -ERR_NODE);
	} else if (table == KV_CHILD || table == KV_TTL) {
		/* nothing that changes the map reads them */
		map_txn_abort(txn);
		return;
	} else if (table == KV_REAP) {
		assert_int_equal(map_txn_reap(txn, 1, &more), -ERR_NODE);
	} else { /* of the free space it is the commit that reads */
		assert_int_equal(map_txn_remap(txn, oid, lblk(140), pblk(700), 4, csums),
				 table == KV_FREE ? 0 : -ERR_NODE);
	}
	assert_int_equal(map_txn_commit(txn, &freed), -ERR_NODE);
}

static void test_damage_is_an_error_of_every_user(void **state)
{
	(void)state;
	for (int t = 0; t < KV_NTABLES; t++) {
		struct fix_report report = {0};
		struct check_totals totals;
		struct fix fix;
		uint64_t oid;

		fix_open(&fix, 1000, FIX_META_BYTES);
		oid = fill_all_tables(&fix);
		damage_table(&fix, (enum kv_table)t);
		damaged_reads(&fix, (enum kv_table)t, oid);
		damaged_writes(&fix, (enum kv_table)t, oid);
		assert_true(check_map(fix.map, fix_report, &report, &totals) > 0);
		fix_close(&fix);
	}
}

/* Makes the first leaf of the object, whose tree has two levels, what the root is. */
static void put_root_for_leaf(struct fix *fix, uint64_t oid)
{
	struct map_node_view root;
	uint8_t bytes[MAP_VALUE_MAX];
	struct map_object obj;
	struct kv_txn *kv;
	struct kv_buf val;
	struct map_key key;
	uint64_t leaf;

	assert_int_equal(kv_write_begin(fix->map->kv, &kv), 0);
	assert_int_equal(map_object_read(kv, oid, &obj), 0);
	assert_int_equal(obj.height, 2);
	assert_int_equal(map_node_read(kv, obj.root, &root), 0);
	leaf = map_node_child(&root, 0);
	key = map_key(obj.root);
	assert_int_equal(map_value_get(kv, KV_NODE, map_key_buf(&key), 1, &val), 0);
	memcpy(bytes, val.data, val.len);
	le64_put(((struct disk_node *)bytes)->id, leaf);
	key = map_key(leaf);
	map_value_put(kv, KV_NODE, map_key_buf(&key), bytes, val.len);
	assert_int_equal(kv_write_commit(kv), 0);
}

/* A node that is good by itself is not taken where the tree asks for one of another level. */
static void test_a_node_of_another_level_is_noticed(void **state)
{
	uint32_t csums[1] = {0};
	struct map_view *view;
	struct map_txn *txn;
	struct map_lookup l;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	oid = fill_all_tables(&fix);
	put_root_for_leaf(&fix, oid);
	view = fix_view(&fix);
	assert_int_equal(map_begin(view, oid, lblk(0), 9, MAP_FOR_READ, &l, NULL), -ERR_NODE);
	map_view_end(view);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remap(txn, oid, lblk(0), pblk(700), 1, csums), -ERR_NODE);
	map_txn_abort(txn);
	fix_close(&fix);
}

/* ---- free space ------------------------------------------------------------------------------ */

/* Blocks 10 to 17 are in use, the others free. */
static void test_freed_was_not_free(void **state)
{
	static const struct map_run bad[] = {{9, 1}, {18, 1}, {5, 1},  {5, 3},
					     {9, 2}, {17, 2}, {8, 20}, {10, 9}};
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 50);
	fix_remap(txn, oid, 0, 10, 8);
	fix_commit(txn);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		txn = fix_begin(&fix);
		assert_int_equal(map_space_note(txn, bad[i], true), 0);
		assert_int_equal(map_space_settle(txn), -ERR_NODE);
		assert_int_equal(map_txn_commit(txn, &(struct map_freed){0}), -ERR_NODE);
	}
	txn = fix_begin(&fix);
	assert_int_equal(map_space_note(txn, (struct map_run){12, 1}, true), 0);
	assert_int_equal(map_space_note(txn, (struct map_run){14, 1}, true), 0);
	assert_int_equal(map_space_note(txn, (struct map_run){12, 1}, true), 0);
	assert_int_equal(map_txn_commit(txn, &(struct map_freed){0}), -ERR_NODE);
	fix_check(&fix);
	fix_close(&fix);
}

/* The same blocks are taken, freed, taken and freed in one transaction, and others between. */
static void test_space_keeps_its_order(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 50);
	fix_remap(txn, oid, 0, 30, 8);
	fix_commit(txn);
	txn = fix_begin(&fix);
	fix_remap(txn, oid, 8, 10, 8);
	fix_remap(txn, oid, 0, 20, 8);
	fix_remap(txn, oid, 8, 28, 4); /* half of it was freed; in the place of 10 to 13 */
	fix_remap(txn, oid, 16, 10, 2);
	fix_remap(txn, oid, 16, 12, 2);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).free_nblks, 99 - 18);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_freed_was_not_free),
	    cmocka_unit_test(test_space_keeps_its_order),
	    cmocka_unit_test(test_every_flipped_byte_is_noticed),
	    cmocka_unit_test(test_damage_is_an_error_of_every_user),
	    cmocka_unit_test(test_a_node_of_another_level_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
