/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker finds what it is for: each test plants one difference, by values whose checksums fit,
 * and looks for the sentence about it.
 */
#include "common/crc32c.h"
#include "common/cursor.h"
#include "server/map_priv.h"
#include "tests/unit/map_fixture.h"

/*
 * The store that the differences are planted in: "a" has 300 blocks at 100, "c" is its clone with
 * block 10 at 600, and a tree of 2 blocks at 500 is in the reap queue.  Leaves 1, 3 and 4 and root
 * 2 are those of "a", 5 that of the removed object, root 6 and leaf 7 those of "c".
 */
struct world {
	struct fix fix;
	struct kv_txn *kv;
	uint64_t a;
	uint64_t c;
	uint64_t root_a;
	uint64_t root_c;
	uint64_t leaf_a; /* the first */
	uint64_t leaf_c;
	uint64_t shared; /* the second leaf of both */
};

static uint64_t child_of(struct kv_txn *kv, uint64_t id, unsigned int slot)
{
	struct map_node_view node;

	assert_int_equal(map_node_read(kv, id, &node), 0);
	return map_node_child(&node, slot);
}

static void world_open(struct world *w)
{
	struct map_object obj;
	struct map_txn *txn;
	uint64_t b;

	memset(w, 0, sizeof(*w));
	fix_open(&w->fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&w->fix);
	w->a = fix_create(txn, "a", 1000);
	b = fix_create(txn, "b", 1000);
	fix_remap(txn, w->a, 0, 100, 300);
	fix_remap(txn, b, 0, 500, 2);
	w->c = fix_clone(txn, w->a, "c");
	fix_remap(txn, w->c, 10, 600, 1);
	assert_int_equal(map_txn_remove(txn, b), 0);
	fix_commit(txn);
	fix_check(&w->fix);
	assert_int_equal(kv_write_begin(w->fix.map->kv, &w->kv), 0);
	assert_int_equal(map_object_read(w->kv, w->a, &obj), 0);
	w->root_a = obj.root;
	assert_int_equal(map_object_read(w->kv, w->c, &obj), 0);
	w->root_c = obj.root;
	w->leaf_a = child_of(w->kv, w->root_a, 0);
	w->leaf_c = child_of(w->kv, w->root_c, 0);
	w->shared = child_of(w->kv, w->root_a, 1);
	assert_int_equal(child_of(w->kv, w->root_c, 1), w->shared);
	assert_int_not_equal(w->leaf_a, w->leaf_c);
}

/* The number of differences is as expected, and the report has this text. */
static void world_expect(struct world *w, int n, const char *text)
{
	struct fix_report report = {0};
	struct check_totals totals;
	int found;

	assert_int_equal(kv_write_commit(w->kv), 0);
	found = check_map(w->fix.map, fix_report, &report, &totals);
	if (found != n || !strstr(report.text, text))
		fail_msg("%d differences, not %d with \"%s\":\n%s", found, n, text, report.text);
	fix_close(&w->fix);
}

/* ---- values to plant ------------------------------------------------------------------------- */

static void put_nref(struct world *w, uint64_t node, uint64_t count)
{
	struct disk_nref val = {0};

	le64_put(val.count, count);
	map_num_put(w->kv, KV_NREF, node, &val, sizeof(val));
}

static void put_xref(struct world *w, uint64_t blk, uint64_t nblks, uint64_t count)
{
	struct disk_xref val = {0};

	le64_put(val.nblks, nblks);
	le64_put(val.count, count);
	map_num_put(w->kv, KV_XREF, blk, &val, sizeof(val));
}

static void put_free(struct world *w, uint64_t blk, uint64_t nblks)
{
	struct disk_free val = {0};

	le64_put(val.nblks, nblks);
	map_num_put(w->kv, KV_FREE, blk, &val, sizeof(val));
}

static void put_name(struct world *w, const char *name, uint64_t oid)
{
	struct map_name_key key = map_name_key(name);
	struct disk_name val = {0};

	le64_put(val.oid, oid);
	map_value_put(w->kv, KV_NAME, map_name_key_buf(&key), &val, sizeof(val));
}

static void load_node(struct world *w, uint64_t id, struct map_node *node)
{
	struct map_node_view view;

	memset(node, 0, sizeof(*node));
	assert_int_equal(map_node_read(w->kv, id, &view), 0);
	map_node_decode(&view, node);
}

static void store_node(struct world *w, const struct map_node *node)
{
	uint8_t bytes[MAP_VALUE_MAX];
	size_t len = map_node_encode(node, bytes);

	map_num_put(w->kv, KV_NODE, node->id, bytes, len);
}

/* ---- nodes and their counts ------------------------------------------------------------------ */

static void test_nref(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	put_nref(&w, w.shared, 3);
	world_expect(&w, 1, "nref says 3 references to node");
	world_open(&w);
	map_num_del(w.kv, KV_NREF, w.shared);
	world_expect(&w, 1, "nref has no entry for node");
	world_open(&w);
	put_nref(&w, w.leaf_a, 2);
	world_expect(&w, 1, "there are 1");
	world_open(&w);
	put_nref(&w, 12345, 2);
	world_expect(&w, 1, "nref says 2 references to node 12345, there are 0");
}

static void test_nodes(void **state)
{
	struct map_node node;
	struct world w;

	(void)state;
	world_open(&w);
	load_node(&w, w.leaf_a, &node);
	node.id = 0xffff;
	store_node(&w, &node);
	world_expect(&w, 2, "nothing refers to node 65535");
	world_open(&w);
	map_num_del(w.kv, KV_NODE, w.leaf_c);
	world_expect(&w, 4, "is missing or damaged"); /* xref twice, and block 600 */
	world_open(&w);
	load_node(&w, w.root_a, &node);
	node.mapped++;
	store_node(&w, &node);
	world_expect(&w, 1, "says 301 blocks are mapped, there are 300");
	world_open(&w);
	load_node(&w, w.root_a, &node);
	node.level = 2;
	store_node(&w, &node);
	world_expect(&w, 7, "is of level 2"); /* what it refers to is not counted */
}

static void test_objects(void **state)
{
	struct map_object obj;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(map_object_read(w.kv, w.a, &obj), 0);
	obj.pub.mapped_nblks = 299;
	map_object_write(w.kv, &obj);
	world_expect(&w, 1, "says 299 blocks are mapped, there are 300");
	world_open(&w);
	assert_int_equal(map_object_read(w.kv, w.a, &obj), 0);
	obj.pub.size_bytes = 299 * BLK_BYTES;
	map_object_write(w.kv, &obj);
	world_expect(&w, 1, "but its block 299 is mapped");
	world_open(&w);
	assert_int_equal(map_object_read(w.kv, w.a, &obj), 0);
	obj.pub.id = 1000;
	obj.root = 0;
	obj.height = 0;
	obj.pub.mapped_nblks = 0;
	(void)snprintf(obj.pub.name, sizeof(obj.pub.name), "late");
	map_object_write(w.kv, &obj);
	put_name(&w, "late", 1000);
	world_expect(&w, 1, "has an id that was not given out yet");
}

static void test_names_and_objects(void **state)
{
	struct map_name_key key = map_name_key("a");
	struct world w;

	(void)state;
	world_open(&w);
	put_name(&w, "stray", 77);
	world_expect(&w, 1, "name \"stray\" refers to object 77, which is missing");
	world_open(&w);
	put_name(&w, "alias", w.a);
	world_expect(&w, 1, "which has another name");
	world_open(&w);
	kv_del(w.kv, KV_NAME, map_name_key_buf(&key));
	world_expect(&w, 1, "says that its name is \"a\", which is missing");
	world_open(&w);
	put_name(&w, "a", w.c);
	world_expect(&w, 2, "which refers to object");
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Blocks 100 to 227 but 110 are mapped by two leaves. */
static void test_xref(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_num_del(w.kv, KV_XREF, 100);
	world_expect(&w, 1, "xref has no entry for blocks 100+10, which 2 leaves map");
	world_open(&w);
	put_xref(&w, 100, 10, 3);
	world_expect(&w, 1, "xref says 3 leaves map blocks 100+10, there are 2");
	world_open(&w);
	put_xref(&w, 100, 11, 2);
	world_expect(&w, 2, "xref says 2 leaves map blocks 110+1, there are 1");
	world_open(&w);
	put_xref(&w, 100, 5, 2);
	put_xref(&w, 105, 5, 2);
	world_expect(&w, 1, "or that of its neighbour");
	world_open(&w);
	put_xref(&w, 990, 20, 2);
	world_expect(&w, 1, "is not on the device");
	world_open(&w);
	put_xref(&w, 101, 3, 2);
	world_expect(&w, 1, "overlaps the one before");
}

static void test_free_space(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	put_free(&w, 601, 398);
	world_expect(&w, 1, "blocks 999+1 are neither mapped nor free");
	world_open(&w);
	map_num_del(w.kv, KV_FREE, 400);
	world_expect(&w, 1, "blocks 400+100 are neither mapped nor free");
	world_open(&w);
	put_free(&w, 400, 101);
	world_expect(&w, 1, "blocks 500+1 are free, but 1 leaves map them");
	world_open(&w);
	put_free(&w, 410, 10);
	world_expect(&w, 1, "overlaps the one before");
	world_open(&w);
	put_free(&w, 601, 400);
	world_expect(&w, 2, "is not on the device");
	world_open(&w);
	put_free(&w, 601, 100);
	put_free(&w, 701, 299);
	world_expect(&w, 1, "is not one with its neighbour");
	world_open(&w);
	put_free(&w, 0, 1);
	world_expect(&w, 1, "free range 0+1");
}

static void test_leaves(void **state)
{
	struct map_node node;
	struct world w;

	(void)state;
	/* the same block twice in a leaf; xref cannot say that */
	world_open(&w);
	load_node(&w, w.shared, &node);
	node.u.leaf.blk[5] = node.u.leaf.blk[77];
	store_node(&w, &node);
	world_expect(&w, 3, "twice");
	world_open(&w);
	load_node(&w, w.shared, &node);
	node.u.leaf.blk[127] = 1000;
	store_node(&w, &node);
	world_expect(&w, 2, "maps physical block 1000, beyond the end of the device");
	/* a block of another object: allocated twice */
	world_open(&w);
	load_node(&w, w.shared, &node);
	node.u.leaf.blk[127] = 600;
	store_node(&w, &node);
	world_expect(&w, 2, "xref has no entry for blocks 600+1, which 2 leaves map");
}

static void test_counters_and_keys(void **state)
{
	struct map_state counters = {.next_node = 2, .next_object = 100};
	uint8_t key[3] = {1, 2, 3};
	uint8_t val[12] = {0};
	struct world w;

	(void)state;
	world_open(&w);
	map_state_write(w.kv, &counters);
	world_expect(&w, 6, "has an id that was not given out yet");
	world_open(&w);
	map_value_put(w.kv, KV_NREF, (struct kv_buf){key, sizeof(key)}, val, sizeof(val));
	world_expect(&w, 1, "nref has a key of 3 bytes");
}

static void test_reap_queue(void **state)
{
	struct disk_reap val = {0};
	struct world w;

	(void)state;
	world_open(&w);
	map_num_del(w.kv, KV_REAP, 1);
	world_expect(&w, 2, "nothing refers to node");
	world_open(&w);
	le64_put(val.node, w.root_a);
	map_num_put(w.kv, KV_REAP, 2, &val, sizeof(val));
	world_expect(&w, 1, "nref has no entry for node");
}

/* A tree in the queue may be somebody else's as well: only the queue's reference goes. */
static void test_queued_tree_that_is_shared(void **state)
{
	struct disk_reap val = {0};
	struct map_view *view;
	struct map_lookup l;
	struct world w;

	(void)state;
	world_open(&w);
	le64_put(val.node, w.root_a);
	map_num_put(w.kv, KV_REAP, 2, &val, sizeof(val));
	put_nref(&w, w.root_a, 2);
	assert_int_equal(kv_write_commit(w.kv), 0);
	assert_int_equal(fix_check(&w.fix).reap_entries, 2);
	fix_reap_all(&w.fix, 1);
	assert_int_equal(fix_check(&w.fix).reap_entries, 0);
	view = fix_view(&w.fix);
	assert_int_equal(map_begin(view, w.a, lblk(0), 1, MAP_FOR_READ, &l, NULL), 0);
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
	    cmocka_unit_test(test_nref),       cmocka_unit_test(test_nodes),
	    cmocka_unit_test(test_objects),    cmocka_unit_test(test_names_and_objects),
	    cmocka_unit_test(test_xref),       cmocka_unit_test(test_free_space),
	    cmocka_unit_test(test_leaves),     cmocka_unit_test(test_counters_and_keys),
	    cmocka_unit_test(test_reap_queue), cmocka_unit_test(test_queued_tree_that_is_shared),
	    cmocka_unit_test(test_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
