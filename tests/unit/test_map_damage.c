/* SPDX-License-Identifier: BSD-2-Clause */
/* What must not happen to a map: values that are damaged, and one that is full. */
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
	uint64_t c;

	fix_remap(txn, a, 0, 100, 300);
	fix_remap(txn, b, 0, 500, 2);
	c = fix_clone(txn, a, "c");
	fix_remap(txn, c, 10, 600, 1);
	assert_int_equal(map_txn_remove(txn, b), 0);
	fix_commit(txn);
	fix_check(fix);
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
	struct map_lookup l;
	struct map_obj obj;
	int n = 0;

	assert_int_equal(map_obj_by_name(view, "a", &obj),
			 table == KV_NAME || table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_list(view, "", "", count_obj, &n),
			 table == KV_NAME || table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_obj_by_id(view, oid, &obj), table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_get_space(view, &space), table == KV_OBJ ? -ERR_NODE : 0);
	assert_int_equal(map_begin(view, oid, lblk(0), 9, MAP_FOR_READ, &l, NULL),
			 table == KV_OBJ || table == KV_NODE ? -ERR_NODE : 0);
	assert_int_equal(map_each_free(view, fix_sum_free, ranges),
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
	} else if (table == KV_REAP) {
		assert_int_equal(map_txn_reap(txn, 1, &more), -ERR_NODE);
	} else {
		assert_int_equal(map_txn_remap(txn, oid, lblk(140), pblk(700), 4, csums),
				 -ERR_NODE);
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

/* ---- a full map ------------------------------------------------------------------------------ */

#define HEADROOM (64 * 4096)

/* Maps n scattered blocks, so that each takes a leaf. */
static int scatter(struct fix *fix, uint64_t oid, uint64_t *dst, int n, uint64_t *rng)
{
	struct map_txn *txn = fix_begin(fix);
	struct map_freed freed = {0};
	uint64_t next = *dst;
	uint64_t total;
	uint64_t used;
	int err = 0;

	map_meta_usage(fix->map, &used, &total);
	for (; n > 0 && !err; n--, next++) {
		uint32_t csum = (uint32_t)next;
		uint64_t at = fix_rand(rng, 1u << 21);

		err = map_txn_remap(txn, oid, lblk(at), pblk(next), 1, &csum);
	}
	if (err) {
		map_txn_abort(txn);
		return err;
	}
	err = map_txn_commit(txn, &freed);
	free(freed.ranges);
	if (err)
		return err;
	/* what comes next can use all but what was in use before and what was written now */
	assert_true(used + fix->map->replaced_bytes + HEADROOM <= total);
	*dst = next;
	return 0;
}

/* In transactions of n blocks, until one is refused, which leaves all as it was. */
static void fill_up(struct fix *fix, uint64_t oid, uint64_t *dst, int n)
{
	struct check_totals before;
	struct check_totals after;
	uint64_t rng = 5;
	uint64_t again;
	int err;

	do {
		again = rng;
		err = scatter(fix, oid, dst, n, &rng);
	} while (!err);
	assert_int_equal(err, -ERR_NOSPC_META);
	before = fix_check(fix);
	assert_int_equal(scatter(fix, oid, dst, n, &again), -ERR_NOSPC_META);
	after = fix_check(fix);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* Empty objects, until one is refused. */
static void fill_with_names(struct fix *fix)
{
	struct map_freed freed = {0};
	struct map_obj obj;
	char name[200];
	int err = 0;

	for (unsigned int i = 0; !err; i++) {
		struct map_txn *txn = fix_begin(fix);

		(void)snprintf(name, sizeof(name), "%0150u", i);
		err = map_txn_create(txn, name, 1, 1, &obj);
		if (err)
			map_txn_abort(txn);
		else
			err = map_txn_commit(txn, &freed);
		assert_true(i < 10000);
	}
	assert_int_equal(err, -ERR_NOSPC_META);
	fix_check(fix);
}

static int remove_cb(void *ctx, const struct map_obj *obj)
{
	*(uint64_t *)ctx = obj->id;
	return 1;
}

/* One object after the other, each by a transaction of its own. */
static void remove_all(struct fix *fix)
{
	for (;;) {
		struct map_view *view = fix_view(fix);
		struct map_txn *txn;
		uint64_t oid = 0;

		assert_int_equal(map_list(view, "", "", remove_cb, &oid), 0);
		map_view_end(view);
		if (oid == 0)
			return;
		txn = fix_begin(fix);
		assert_int_equal(map_txn_remove(txn, oid), 0);
		fix_commit(txn);
	}
}

/* One call for each transaction: it does as much as there is room for. */
static void reap_all(struct fix *fix, size_t budget)
{
	bool more = true;

	while (more) {
		struct map_txn *txn = fix_begin(fix);

		assert_int_equal(map_txn_reap(txn, budget, &more), 0);
		fix_commit(txn);
	}
}

static void test_full_map_refuses_and_deletes(void **state)
{
	static const int sizes[] = {300, 20};
	struct map_txn *txn;
	struct fix fix;

	(void)state;
	fix_open(&fix, 100000, UINT64_C(1) << 20);
	for (size_t round = 0; round < ARRAY_LEN(sizes); round++) {
		uint64_t dst = 1;
		uint64_t oid;
		uint64_t clone;

		txn = fix_begin(&fix);
		oid = fix_create(txn, "a", 1u << 21);
		fix_remap(txn, oid, 0, dst++, 1);
		clone = fix_clone(txn, oid, "b");
		fix_commit(txn);
		fill_up(&fix, clone, &dst, sizes[round]);
		fill_with_names(&fix);
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_unmap_from(txn, clone, lblk(1000001)), 0);
		fix_commit(txn);
		fix_check(&fix);
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_remove(txn, clone), 0);
		fix_commit(txn);
		reap_all(&fix, round == 0 ? SIZE_MAX : 25);
		remove_all(&fix);
		reap_all(&fix, 1);
		fix_check_empty(&fix);
	}
	fix_close(&fix);
}

/* Changes the first block of each of the first n leaves and maps 200 leaves more. */
static int rewrite_all(struct fix *fix, uint64_t oid, uint64_t n, uint64_t *dst)
{
	static const uint32_t csums[MAP_FANOUT];
	struct map_txn *txn = fix_begin(fix);
	struct map_freed freed = {0};
	int err = 0;

	for (uint64_t i = 0; i < n && !err; i++)
		err = map_txn_remap(txn, oid, lblk(i * MAP_FANOUT), pblk((*dst)++), 1, csums);
	for (uint64_t i = n; i < n + 200 && !err; i++) {
		err = map_txn_remap(txn, oid, lblk(i * MAP_FANOUT), pblk(*dst), MAP_FANOUT, csums);
		*dst += MAP_FANOUT;
	}
	if (err) {
		map_txn_abort(txn);
		return err;
	}
	err = map_txn_commit(txn, &freed);
	free(freed.ranges);
	return err;
}

/* Pages that one commit replaced are in nobody's way at the next. */
static void test_replaced_pages_are_room_again(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t dst = 1;
	uint64_t oid;
	uint64_t used;
	uint64_t total;
	uint64_t n = 0;
	int err;

	(void)state;
	fix_open(&fix, 1u << 20, UINT64_C(4) << 20);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 1u << 20);
	fix_commit(txn);
	while (!(err = rewrite_all(&fix, oid, n, &dst)))
		n += 200;
	assert_int_equal(err, -ERR_NOSPC_META);
	map_meta_usage(fix.map, &used, &total);
	/* each time, the old pages and the new ones, and no third generation of them */
	assert_true(used > total * 2 / 5);
	fix_check(&fix);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_flipped_byte_is_noticed),
	    cmocka_unit_test(test_damage_is_an_error_of_every_user),
	    cmocka_unit_test(test_full_map_refuses_and_deletes),
	    cmocka_unit_test(test_replaced_pages_are_room_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
