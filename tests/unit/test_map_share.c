/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What trees share: how many nodes a write below them, a truncation or a shared range costs, and what
 * stays of the other.
 */
#include "tests/unit/map_fixture.h"

/* Clones that all live, removed in an order given by a stride. */
static void clones_removed_in_order(uint64_t stride)
{
	enum { N = 17 };
	uint64_t oids[N];
	struct map_txn *txn;
	struct fix fix;
	char name[32];

	fix_open(&fix, 20000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oids[0] = fix_create(txn, "clone-0", 2000);
	fix_remap(txn, oids[0], 0, 1, 2000);
	for (uint64_t i = 1; i < N; i++) {
		(void)snprintf(name, sizeof(name), "clone-%u", (unsigned int)i);
		oids[i] = fix_clone(txn, oids[(i - 1) / 2], name);
		fix_remap(txn, oids[i], i * 100, 3000 + i * 200, 150);
	}
	fix_commit(txn);
	fix_check(&fix);
	for (uint64_t i = 0; i < N; i++) {
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_remove(txn, oids[i * stride % N]), 0);
		fix_commit(txn);
		fix_check(&fix);
		fix_reap_all(&fix, 1);
		fix_check(&fix);
	}
	fix_check_empty(&fix);
	fix_close(&fix);
}

static void test_clones_removed_in_any_order(void **state)
{
	(void)state;
	clones_removed_in_order(1);
	clones_removed_in_order(16);
	clones_removed_in_order(5);
	clones_removed_in_order(7);
}

/* A write below shared nodes copies those on its path and no others; another one there, none. */
static void test_first_write_copies_its_path_only(void **state)
{
	enum { HEIGHT = 3, STEP = 128, LEAVES = 300 };
	struct map_txn *txn;
	struct map_obj clone;
	struct fix fix;
	uint64_t nodes;
	uint64_t src;

	(void)state;
	fix_open(&fix, 50000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	src = fix_create(txn, "source", LEAVES * STEP);
	for (uint64_t i = 0; i < LEAVES; i++)
		fix_remap(txn, src, i * STEP, 10 + 3 * i, 2);
	assert_int_equal(fix_try_clone(txn, src, "clone", &clone), 0);
	fix_commit(txn);
	nodes = fix_check(&fix).nodes;
	assert_int_equal(nodes, LEAVES + 3 + 1);
	txn = fix_begin(&fix);
	fix_remap(txn, clone.id, 200 * STEP, 10000, 1);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).nodes, nodes + HEIGHT);
	txn = fix_begin(&fix);
	fix_remap(txn, clone.id, 200 * STEP + 1, 10001, 1);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).nodes, nodes + HEIGHT);
	txn = fix_begin(&fix);
	fix_remap(txn, src, 201 * STEP, 10002, 1); /* the upper two are its own by now */
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).nodes, nodes + HEIGHT + 1);
	fix_close(&fix);
}

/* Truncating a clone leaves the other as it was; what only the clone had becomes free at once
 * within the last leaf, and by reaping elsewhere. */
static void test_truncated_clone_leaves_its_source(void **state)
{
	struct map_txn *txn;
	struct map_view *view;
	struct map_lookup l;
	struct map_obj obj;
	struct fix fix;
	uint64_t src;
	uint64_t dst;

	(void)state;
	fix_open(&fix, 50000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	src = fix_create(txn, "source", 20000);
	fix_remap(txn, src, 0, 1, 20000);
	dst = fix_clone(txn, src, "clone");
	assert_int_equal(map_txn_unmap(txn, dst, lblk(130), BLK_OBJECT_MAX - 130), 0);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).mapped_nblks, 20000);
	view = fix_view(&fix);
	assert_int_equal(map_begin(view, dst, lblk(128), 9, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.nblks, 2);
	assert_int_equal(map_begin(view, dst, lblk(130), 9, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.src.kind, MAP_HOLE);
	assert_int_equal(map_begin(view, src, lblk(130), 9, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.src.blk.n, 131);
	assert_int_equal(map_obj_by_id(view, src, &obj), 0);
	assert_int_equal(obj.mapped_nblks, 20000);
	assert_int_equal(map_obj_by_id(view, dst, &obj), 0);
	assert_int_equal(obj.mapped_nblks, 130);
	map_view_end(view);

	txn = fix_begin(&fix);
	assert_int_equal(map_txn_unmap(txn, src, lblk(129), BLK_OBJECT_MAX - 129), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 10);
	/* block 129 is still the clone's */
	assert_int_equal(fix_check(&fix).mapped_nblks, 130);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_unmap(txn, src, lblk(0), BLK_OBJECT_MAX - 0), 0);
	assert_int_equal(map_txn_remove(txn, dst), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 10);
	assert_int_equal(fix_check(&fix).mapped_nblks, 0);
	fix_close(&fix);
}

static void test_overlapping_ranges_are_not_shared(void **state)
{
	static const uint64_t at[][2] = {{0, 0}, {0, 9}, {9, 0}};
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 100);
	fix_remap(txn, oid, 0, 1, 100);
	fix_commit(txn);
	for (size_t i = 0; i < 3; i++) {
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_share(txn, oid, lblk(at[i][0]), oid, lblk(at[i][1]), 10),
				 -ERR_INVAL);
		map_txn_abort(txn);
	}
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_share(txn, oid, lblk(10), oid, lblk(0), 10), 0);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).mapped_nblks, 90); /* 10 to 19 gave theirs up */
	fix_close(&fix);
}

/* What lies alike is shared by its nodes: their number counts, and not that of the blocks. */
static void test_ranges_that_lie_alike_share_nodes(void **state)
{
	static const uint64_t delta[] = {0, 128, 16384, 1};
	static const uint64_t nodes[] = {3, 5, 3, 304};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct map_txn *txn;
		struct fix fix;
		uint64_t before;
		uint64_t src;
		uint64_t dst;

		fix_open(&fix, 50000, FIX_META_BYTES);
		txn = fix_begin(&fix);
		src = fix_create(txn, "source", 300 * MAP_FANOUT);
		fix_remap(txn, src, 0, 1, 300 * MAP_FANOUT);
		dst = fix_create(txn, "clone", 600 * MAP_FANOUT);
		fix_commit(txn);
		before = fix_check(&fix).nodes;
		txn = fix_begin(&fix);
		assert_int_equal(
		    map_txn_share(txn, dst, lblk(delta[i]), src, lblk(0), 299 * MAP_FANOUT + 5), 0);
		fix_commit(txn);
		/* of its own: the last leaf, those between it and the root */
		assert_int_equal(fix_check(&fix).nodes - before, nodes[i]);
		fix_close(&fix);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_clones_removed_in_any_order),
	    cmocka_unit_test(test_first_write_copies_its_path_only),
	    cmocka_unit_test(test_truncated_clone_leaves_its_source),
	    cmocka_unit_test(test_overlapping_ranges_are_not_shared),
	    cmocka_unit_test(test_ranges_that_lie_alike_share_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
