/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_fixture.h: a map to plant faults in, for the unit tests of the checker, and what plants
 * them: values whose checksums fit, by a transaction of the database.
 */
#ifndef TESTS_UNIT_CHECK_FIXTURE_H
#define TESTS_UNIT_CHECK_FIXTURE_H

#include "common/cursor.h"
#include "server/check_priv.h"
#include "tests/unit/map_fixture.h"

/*
 * The store that the faults are planted in.  "a" has 300 blocks at 100 and two versions, of which
 * "v" is like it and "w" is like it was when empty; "c" is a clone of it with block 10 at 600, and
 * expires at 70; a tree of 2 blocks at 500 is in the reap queue.
 *
 *	1 a	root_a -> leaf_a, shared, ...		3 a@w	nothing
 *	2 b	removed					4 a@v	root_a
 *	5 c	root_c -> leaf_c, shared, ...
 *
 * Blocks 100 to 227 but 110 are mapped by two leaves.
 */
struct world {
	struct fix fix;
	struct kv_txn *kv;
	uint64_t root_a;
	uint64_t root_c;
	uint64_t root_b;
	uint64_t leaf_a; /* the first */
	uint64_t leaf_c;
	uint64_t shared; /* the second leaf of both */
};

enum { OID_A = 1, OID_B, OID_W, OID_V, OID_C };

static inline uint64_t child_of(struct kv_txn *kv, uint64_t id, unsigned int slot)
{
	struct map_node_view node;

	assert_int_equal(map_node_read(kv, id, &node), 0);
	return map_node_child(&node, slot);
}

static inline struct map_object load_obj(struct world *w, uint64_t oid)
{
	struct map_object obj = {0};

	assert_int_equal(map_object_read(w->kv, oid, &obj), 0);
	return obj;
}

static inline void world_fill(struct fix *fix)
{
	struct map_txn *txn = fix_begin(fix);
	struct map_new new;
	struct map_obj obj;

	assert_int_equal(fix_create(txn, "a", 1000), OID_A);
	assert_int_equal(fix_create(txn, "b", 1000), OID_B);
	assert_int_equal(fix_version(txn, OID_A, "w"), OID_W);
	fix_remap(txn, OID_A, 0, 100, 300);
	fix_remap(txn, OID_B, 0, 500, 2);
	assert_int_equal(fix_version(txn, OID_A, "v"), OID_V);
	new = fix_new(txn, "c", 0, 2);
	new.expires_ns = 70;
	new.labels = "k=v";
	new.labels_len = 4;
	assert_int_equal(map_txn_clone(txn, OID_A, &new, &obj), 0);
	assert_int_equal(obj.id, OID_C);
	fix_remap(txn, OID_C, 10, 600, 1);
	fix_commit(txn);
}

static inline void world_open(struct world *w)
{
	struct map_txn *txn;

	memset(w, 0, sizeof(*w));
	fix_open(&w->fix, 1000, UINT64_C(2) << 20);
	world_fill(&w->fix);
	assert_int_equal(kv_read_begin(w->fix.map->kv, &w->kv), 0);
	w->root_b = load_obj(w, OID_B).root;
	kv_read_end(w->kv);
	txn = fix_begin(&w->fix);
	assert_int_equal(map_txn_remove(txn, OID_B), 0);
	fix_commit(txn);
	fix_check(&w->fix);
	fix_fold(&w->fix); /* what is planted lies below what is staged */
	assert_int_equal(kv_write_begin(w->fix.map->kv, &w->kv), 0);
	w->root_a = load_obj(w, OID_A).root;
	w->root_c = load_obj(w, OID_C).root;
	w->leaf_a = child_of(w->kv, w->root_a, 0);
	w->leaf_c = child_of(w->kv, w->root_c, 0);
	w->shared = child_of(w->kv, w->root_a, 1);
	assert_int_equal(child_of(w->kv, w->root_c, 1), w->shared);
	assert_int_not_equal(w->leaf_a, w->leaf_c);
}

/* ---- values to plant ------------------------------------------------------------------------- */

/* Those of n neighbours, all in one chunk. */
static inline void put_counts(struct world *w, enum kv_table table, uint64_t at, uint64_t n,
			      uint64_t count)
{
	struct map_counts counts = map_counts_of(w->kv, table);
	uint64_t same;
	uint64_t old;

	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(map_counts_get(&counts, at + i, 1, &same, &old), 0);
		map_counts_set(&counts, at + i, 1, count);
	}
	assert_int_equal(map_counts_store(&counts), 0);
}

/* A chunk of counts, as they are. */
static inline void put_chunk(struct world *w, enum kv_table table, uint64_t chunk,
			     unsigned int width, size_t len, const uint8_t *counts)
{
	uint8_t bytes[MAP_VALUE_MAX] = {0};
	struct disk_counts *head = (struct disk_counts *)bytes;

	head->width = (uint8_t)width;
	memcpy(head + 1, counts, len - sizeof(*head));
	map_num_put(w->kv, table, chunk, bytes, len);
}

static inline void put_nref(struct world *w, uint64_t node, uint64_t count)
{
	put_counts(w, KV_NREF, node, 1, count);
}

static inline void put_xref(struct world *w, uint64_t blk, uint64_t nblks, uint64_t count)
{
	put_counts(w, KV_XREF, blk, nblks, count);
}

static inline void put_free(struct world *w, uint64_t blk, uint64_t nblks)
{
	struct disk_free val = {0};

	le64_put(val.nblks, nblks);
	map_num_put(w->kv, KV_FREE, blk, &val, sizeof(val));
}

static inline void put_reap(struct world *w, uint64_t seq, uint64_t node)
{
	struct disk_reap val = {0};

	le64_put(val.node, node);
	map_num_put(w->kv, KV_REAP, seq, &val, sizeof(val));
}

static inline struct map_node load_node(struct world *w, uint64_t id)
{
	struct map_node_view view;
	struct map_node node = {0};

	assert_int_equal(map_node_read(w->kv, id, &view), 0);
	map_node_decode(&view, &node);
	return node;
}

static inline void store_node(struct world *w, const struct map_node *node)
{
	uint8_t bytes[MAP_VALUE_MAX];
	size_t len = map_node_encode(node, bytes);

	map_num_put(w->kv, KV_NODE, node->id, bytes, len);
}

static inline struct map_state load_state(struct world *w)
{
	struct map_state counters = {0};

	assert_int_equal(map_state_read(w->kv, &counters), 0);
	return counters;
}

#endif
