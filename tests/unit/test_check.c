/* SPDX-License-Identifier: BSD-2-Clause */
/* The checker: what it counts, what is no fault, and the data.  Faults: test_check_planted.c. */
#include "common/crc32c.h"
#include "tests/unit/check_fixture.h"

/* ---- the map --------------------------------------------------------------------------------- */

static void test_totals(void **state)
{
	struct check_totals totals;
	struct world w;

	(void)state;
	world_open(&w);
	kv_write_abort(w.kv);
	totals = fix_check(&w.fix);
	assert_int_equal(totals.objects, 2);
	assert_int_equal(totals.versions, 2);
	assert_int_equal(totals.nodes, 7);
	assert_int_equal(totals.shared_nodes, 3);
	assert_int_equal(totals.mapped_nblks, 303);
	assert_int_equal(totals.shared_nblks,
			 300); /* what "a" has: its version has all of it too */
	assert_int_equal(totals.free_nblks, 999 - 303);
	assert_int_equal(totals.reap_entries, 1);
	fix_close(&w.fix);
}

/* However many share a tree, and whether as a whole or in part. */
static void test_shared_blocks_count_once(void **state)
{
	struct check_totals totals;
	struct map_txn *txn;
	struct fix fix;
	uint64_t clone;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 2000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 100000);
	fix_remap(txn, oid, 0, 100, 300);
	fix_remap(txn, oid, 90000, 500, 2); /* a tree of three levels */
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).shared_nblks, 0);
	txn = fix_begin(&fix);
	clone = fix_clone(txn, oid, "b");
	(void)fix_clone(txn, oid, "c");
	fix_commit(txn);
	totals = fix_check(&fix);
	assert_int_equal(totals.mapped_nblks, 302);
	assert_int_equal(totals.shared_nblks, 302);
	txn = fix_begin(&fix);
	fix_remap(txn, clone, 7, 600, 1);
	fix_commit(txn);
	totals = fix_check(&fix);
	assert_int_equal(totals.mapped_nblks, 303);
	assert_int_equal(totals.shared_nblks, 302); /* "a" and "c" share all that they have */
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, oid), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 64);
	totals = fix_check(&fix);
	assert_int_equal(totals.mapped_nblks, 303);
	assert_int_equal(totals.shared_nblks, 301); /* all but what each has in block 7 */
	fix_close(&fix);
}

/* A tree in the queue may be somebody else's as well: only the queue's reference goes. */
static void test_queued_tree_that_is_shared(void **state)
{
	struct map_state counters;
	struct map_view *view;
	struct map_lookup l;
	struct world w;

	(void)state;
	world_open(&w);
	put_reap(&w, 2, w.root_a);
	put_nref(&w, w.root_a, 3);
	counters = load_state(&w);
	counters.reap_nblks += 300;
	map_state_write(w.kv, &counters);
	assert_int_equal(kv_write_commit(w.kv), 0);
	assert_int_equal(fix_check(&w.fix).reap_entries, 2);
	fix_reap_all(&w.fix, 1);
	assert_int_equal(fix_check(&w.fix).reap_entries, 0);
	view = fix_view(&w.fix);
	assert_int_equal(map_begin(view, OID_A, lblk(0), 1, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.src.blk.n, 100);
	map_view_end(view);
	fix_close(&w.fix);
}

/* ---- data ------------------------------------------------------------------------------------ */

struct disk {
	struct fix_report report; /* first: the report function's context is this */
	uint64_t flipped;
	uint64_t unreadable;
};

static void block_bytes(uint64_t blk, uint8_t buf[BLK_BYTES])
{
	memset(buf, (int)(blk & 0xff), BLK_BYTES);
}

static int disk_read(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct disk *disk = ctx;

	for (uint64_t i = 0; i < nblks; i++) {
		uint64_t b = blk.n + i;

		if (b == disk->unreadable)
			return -ERR_IO;
		block_bytes(b, buf + i * BLK_BYTES);
		if (b == disk->flipped)
			buf[i * BLK_BYTES + 4095] ^= 1;
	}
	return 0;
}

static void test_data(void **state)
{
	struct check_totals totals;
	uint8_t block[BLK_BYTES];
	uint32_t csums[200];
	struct disk disk = {0};
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	for (uint64_t i = 0; i < ARRAY_LEN(csums); i++) {
		block_bytes(50 + i, block);
		csums[i] = crc32c(0, block, sizeof(block));
	}
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 1000);
	assert_int_equal(map_txn_remap(txn, oid, lblk(30), pblk(50), 200, csums), 0);
	fix_commit(txn);
	assert_int_equal(check_data(fix.map, disk_read, fix_report, &disk, &totals), 0);
	assert_int_equal(totals.verified_nblks, 200);
	disk.flipped = 249;
	assert_int_equal(check_data(fix.map, disk_read, fix_report, &disk, &totals), 1);
	assert_non_null(strstr(disk.report.text, "object 1 \"a\" offset 937984: block 249"));
	disk.flipped = 0;
	disk.unreadable = 60;
	assert_int_equal(check_data(fix.map, disk_read, fix_report, &disk, &totals), 1);
	assert_non_null(strstr(disk.report.text, "cannot be read"));
	assert_int_equal(totals.verified_nblks, 102);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_totals),
	    cmocka_unit_test(test_shared_blocks_count_once),
	    cmocka_unit_test(test_queued_tree_that_is_shared),
	    cmocka_unit_test(test_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
