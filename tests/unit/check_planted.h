/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_planted.h: faults to plant in the store of check_fixture.h, by values whose checksums fit or by a
 * bad one, for the tests of the checker and of the repair.
 */
#ifndef TESTS_UNIT_CHECK_PLANTED_H
#define TESTS_UNIT_CHECK_PLANTED_H

#include "tests/unit/check_fixture.h"

/* Changes a bit of the last byte of a table's first value that is greater than key. */
static inline void damage(struct world *w, enum kv_table table, const void *key, size_t len)
{
	struct kv_buf at = {.data = key, .len = len};
	uint8_t bad_key[KV_KEY_MAX];
	uint8_t bad[MAP_VALUE_MAX];
	struct kv_buf found;
	struct kv_buf val;

	assert_int_equal(kv_find(w->kv, table, KV_GT, at, &found, &val), 0);
	memcpy(bad_key, found.data, found.len);
	memcpy(bad, val.data, val.len);
	bad[val.len - 1] ^= 1;
	kv_put(w->kv, table, (struct kv_buf){.data = bad_key, .len = found.len},
	       (struct kv_buf){.data = bad, .len = val.len});
}

static inline void damage_first(struct world *w, enum kv_table table)
{
	damage(w, table, "", 1);
}

/* ---- nodes and their counts ------------------------------------------------------------------ */

static inline void nref_high(struct world *w)
{
	put_nref(w, w->shared, 3);
}

static inline void nref_low(struct world *w)
{
	put_nref(w, w->root_a, 3);
	put_reap(w, 2, w->root_a);
	put_reap(w, 3, w->root_a);
}

static inline void nref_missing(struct world *w)
{
	put_nref(w, w->shared, 1);
}

static inline void nref_extra(struct world *w)
{
	put_nref(w, w->leaf_a, 2);
}

static inline void nref_of_nothing(struct world *w)
{
	put_nref(w, 12345, 2);
}

static inline void node_unreachable(struct world *w)
{
	struct map_node node = load_node(w, w->leaf_a);

	node.id = 0xffff;
	store_node(w, &node);
}

static inline void leaf_missing(struct world *w)
{
	map_num_del(w->kv, KV_NODE, w->leaf_c);
}

static inline void node_sum(struct world *w)
{
	struct map_node node = load_node(w, w->root_a);

	node.mapped++;
	store_node(w, &node);
}

static inline void node_level(struct world *w)
{
	struct map_node node = load_node(w, w->root_a);

	node.level = 2;
	store_node(w, &node);
}

static inline void next_node_low(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.next_node = w->leaf_c;
	map_state_write(w->kv, &counters);
}

/* ---- objects --------------------------------------------------------------------------------- */

static inline void obj_mapped(struct world *w)
{
	struct map_object obj = load_obj(w, OID_A);

	obj.pub.mapped_nblks = 299;
	map_object_write(w->kv, &obj);
}

static inline void obj_size(struct world *w)
{
	struct map_object obj = load_obj(w, OID_A);

	obj.pub.size_bytes = 299 * BLK_BYTES;
	map_object_write(w->kv, &obj);
}

static inline void obj_too_large(struct world *w)
{
	struct map_object obj = load_obj(w, OID_A);

	obj.pub.size_bytes = UINT64_MAX;
	map_object_write(w->kv, &obj);
}

static inline void obj_height(struct world *w)
{
	struct map_object obj = load_obj(w, OID_C);

	obj.height = 3;
	map_object_write(w->kv, &obj);
}

static inline void obj_root_missing(struct world *w)
{
	struct map_object obj = load_obj(w, OID_V);

	obj.root = 4321;
	map_object_write(w->kv, &obj);
}

static inline void obj_labels(struct world *w)
{
	struct map_object obj = load_obj(w, OID_C);

	memcpy(obj.pub.labels, "k:v", 4);
	map_object_write(w->kv, &obj);
}

/* Only an object is made so; a version is anyway. */
static inline void version_readonly(struct world *w)
{
	struct map_object obj = load_obj(w, OID_V);

	obj.pub.readonly = true;
	map_object_write(w->kv, &obj);
}

static inline void next_object_low(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.next_object = OID_C;
	map_state_write(w->kv, &counters);
}

/* ---- names, versions, child, ttl ------------------------------------------------------------- */

static inline void name_to_nothing(struct world *w)
{
	map_name_put(w->kv, 0, "stray", 77);
}

static inline void name_alias(struct world *w)
{
	map_name_put(w->kv, 0, "alias", OID_A);
}

static inline void name_missing(struct world *w)
{
	map_name_del(w->kv, 0, "a");
}

static inline void name_of_other(struct world *w)
{
	map_name_put(w->kv, 0, "a", OID_C);
}

static inline void name_key(struct world *w)
{
	struct disk_name val = {0};

	map_value_put(w->kv, KV_NAME, (struct kv_buf){.data = "\2name", .len = 5}, &val,
		      sizeof(val));
}

static inline void version_name_missing(struct world *w)
{
	map_name_del(w->kv, OID_A, "v");
}

static inline void version_name_stray(struct world *w)
{
	map_name_put(w->kv, OID_C, "v", OID_V);
}

static inline void version_without_parent(struct world *w)
{
	struct map_object obj = load_obj(w, OID_V);

	map_name_del(w->kv, OID_A, "v");
	obj.pub.parent = 99;
	map_object_write(w->kv, &obj);
	map_name_put(w->kv, 99, "v", OID_V);
}

static inline void version_of_version(struct world *w)
{
	struct map_object obj = load_obj(w, OID_V);

	map_name_del(w->kv, OID_A, "v");
	obj.pub.parent = OID_W;
	map_object_write(w->kv, &obj);
	map_name_put(w->kv, OID_W, "v", OID_V);
}

static inline void nversions_wrong(struct world *w)
{
	struct map_object obj = load_obj(w, OID_A);

	obj.pub.nversions = 1;
	map_object_write(w->kv, &obj);
}

static inline void child_missing(struct world *w)
{
	map_pair_del(w->kv, KV_CHILD, (struct map_pair){OID_A, OID_C});
}

static inline void child_extra(struct world *w)
{
	map_pair_put(w->kv, KV_CHILD, (struct map_pair){OID_V, OID_C});
}

static inline void child_is_version(struct world *w)
{
	map_pair_put(w->kv, KV_CHILD, (struct map_pair){OID_A, OID_V});
}

static inline void child_of_nothing(struct world *w)
{
	map_pair_put(w->kv, KV_CHILD, (struct map_pair){OID_A, 99});
}

static inline void ttl_missing(struct world *w)
{
	map_pair_del(w->kv, KV_TTL, (struct map_pair){70, OID_C});
}

static inline void ttl_extra(struct world *w)
{
	map_pair_put(w->kv, KV_TTL, (struct map_pair){60, OID_A});
}

static inline void ttl_of_nothing(struct world *w)
{
	map_pair_put(w->kv, KV_TTL, (struct map_pair){60, 99});
}

static inline void pair_key(struct world *w)
{
	struct disk_mark val = {0};

	map_value_put(w->kv, KV_TTL, (struct kv_buf){.data = "\1\2\3", .len = 3}, &val,
		      sizeof(val));
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static inline void xref_missing(struct world *w)
{
	put_xref(w, 100, 10, 1);
}

static inline void xref_count(struct world *w)
{
	put_xref(w, 100, 10, 3);
}

static inline void xref_too_long(struct world *w)
{
	put_xref(w, 100, 11, 2);
}

static inline void xref_short(struct world *w)
{
	put_xref(w, 109, 1, 1);
}

static inline void xref_extra(struct world *w)
{
	put_xref(w, 600, 1, 2);
}

static inline void xref_beyond(struct world *w)
{
	put_xref(w, 1000, 1, 2);
}

/* Those of the chunk that there is, but one of them. */
static inline void plant_chunk(struct world *w, unsigned int width, size_t len, unsigned int at,
			       uint8_t count)
{
	uint8_t counts[MAP_COUNTS * 8] = {0};

	for (unsigned int i = 0; i < MAP_COUNTS; i++)
		counts[i * width] = i < 36 || i == 46 ? 1 : 2;
	counts[at * width] = count;
	put_chunk(w, KV_XREF, 1, width, len, counts);
}

static inline void xref_of_none(struct world *w)
{
	plant_chunk(w, 1, MAP_COUNTS_LEN(1), 46, 0);
}

static inline void xref_too_wide(struct world *w)
{
	plant_chunk(w, 2, MAP_COUNTS_LEN(2), 46, 1);
}

static inline void xref_odd_width(struct world *w)
{
	plant_chunk(w, 3, MAP_COUNTS_LEN(3), 46, 1);
}

static inline void xref_cut_short(struct world *w)
{
	plant_chunk(w, 1, MAP_COUNTS_LEN(1) - 1, 46, 1);
}

static inline void xref_of_ones(struct world *w)
{
	const uint8_t ones[MAP_COUNTS] = {[0 ... MAP_COUNTS - 1] = 1};

	put_chunk(w, KV_XREF, 2, 1, MAP_COUNTS_LEN(1), ones);
}

static inline void xref_far_beyond(struct world *w)
{
	put_xref(w, 64000, 1, 2);
}

/* A chunk under a key that is the same number modulo 2^64. */
static inline void move_chunk(struct world *w, enum kv_table table, uint64_t chunk)
{
	struct map_key key = map_key(chunk);
	uint8_t bytes[MAP_VALUE_MAX];
	struct kv_buf val;
	size_t len;

	assert_int_equal(map_value_get(w->kv, table, map_key_buf(&key), 1, &val), 0);
	len = val.len;
	memcpy(bytes, val.data, len);
	map_num_put(w->kv, table, chunk + (UINT64_MAX / MAP_COUNTS + 1), bytes, len);
	map_num_del(w->kv, table, chunk);
}

static inline void nref_of_no_chunk(struct world *w)
{
	move_chunk(w, KV_NREF, w->shared / MAP_COUNTS);
}

static inline void xref_of_no_chunk(struct world *w)
{
	move_chunk(w, KV_XREF, 3);
}

static inline void mapped_twice(struct world *w)
{
	struct map_node node = load_node(w, w->shared);

	node.u.leaf.blk[127] = 600;
	store_node(w, &node);
}

static inline void mapped_twice_in_leaf(struct world *w)
{
	struct map_node node = load_node(w, w->shared);

	node.u.leaf.blk[5] = node.u.leaf.blk[77];
	store_node(w, &node);
}

static inline void mapped_beyond(struct world *w)
{
	struct map_node node = load_node(w, w->shared);

	node.u.leaf.blk[127] = 1000;
	store_node(w, &node);
}

static inline void free_leaks(struct world *w)
{
	put_free(w, 601, 398);
}

static inline void free_missing(struct world *w)
{
	map_num_del(w->kv, KV_FREE, 400);
}

static inline void free_mapped(struct world *w)
{
	put_free(w, 400, 101);
}

static inline void free_overlaps(struct world *w)
{
	put_free(w, 410, 10);
}

static inline void free_beyond(struct world *w)
{
	put_free(w, 601, 400);
}

static inline void free_not_merged(struct world *w)
{
	put_free(w, 601, 100);
	put_free(w, 701, 299);
}

static inline void free_header(struct world *w)
{
	put_free(w, 0, 1);
}

/* ---- queue, counters ------------------------------------------------------------------------- */

static inline void reap_missing(struct world *w)
{
	map_num_del(w->kv, KV_REAP, 1);
}

static inline void reap_of_nothing(struct world *w)
{
	put_reap(w, 2, 4321);
}

static inline void reap_of_used(struct world *w)
{
	put_reap(w, 2, w->root_c);
}

static inline void count_objects(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.objects = 3;
	map_state_write(w->kv, &counters);
}

static inline void count_versions(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.versions = 1;
	map_state_write(w->kv, &counters);
}

static inline void count_mapped(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.mapped_nblks++;
	map_state_write(w->kv, &counters);
}

static inline void count_free(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.free_nblks--;
	map_state_write(w->kv, &counters);
}

static inline void count_reap(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.reap_nblks = 0;
	map_state_write(w->kv, &counters);
}

static inline void counters_missing(struct world *w)
{
	kv_del(w->kv, KV_META,
	       (struct kv_buf){.data = MAP_KEY_STATE, .len = sizeof(MAP_KEY_STATE) - 1});
}

/* ---- damage in each table -------------------------------------------------------------------- */

static inline void bad_state(struct world *w)
{
	damage_first(w, KV_META);
}

static inline void bad_store(struct world *w)
{
	damage(w, KV_META, MAP_KEY_STATE, sizeof(MAP_KEY_STATE) - 1);
}

static inline void bad_name(struct world *w)
{
	damage_first(w, KV_NAME);
}

static inline void bad_version_name(struct world *w)
{
	damage(w, KV_NAME, "\1", 1);
}

static inline void bad_obj(struct world *w)
{
	damage_first(w, KV_OBJ);
}

static inline void bad_node(struct world *w)
{
	struct map_key key = map_key(w->root_b - 1);

	damage(w, KV_NODE, key.bytes, sizeof(key.bytes));
}

static inline void bad_nref(struct world *w)
{
	damage_first(w, KV_NREF);
}

static inline void bad_xref(struct world *w)
{
	damage_first(w, KV_XREF);
}

static inline void bad_free(struct world *w)
{
	damage_first(w, KV_FREE);
}

static inline void bad_reap(struct world *w)
{
	damage_first(w, KV_REAP);
}

static inline void bad_child(struct world *w)
{
	damage_first(w, KV_CHILD);
}

static inline void bad_ttl(struct world *w)
{
	damage_first(w, KV_TTL);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* What a repair does of what comes of a fault: all, nothing, or a part. */
enum outcome { MENDED, LEFT, BOTH };

/* Where a fault lies: two in one place cannot be planted together. */
enum place {
	AT_NREF = 1 << 0,
	AT_XREF = 1 << 1,
	AT_FREE = 1 << 2,
	AT_REAP = 1 << 3,
	AT_CHILD = 1 << 4,
	AT_TTL = 1 << 5,
	AT_STATE = 1 << 6,
	AT_STORE = 1 << 7,
	AT_OBJ = 1 << 8,
	AT_NAME = 1 << 9,
	AT_NODE = 1 << 10,
};

/* One fault, the number of differences that come of it, and the words about it. */
struct planted {
	const char *name;
	void (*plant)(struct world *w);
	int n;
	enum outcome outcome;
	unsigned int places;
	const char *words;
};

#define P(fn, n, outcome, places, words)           \
	{                                          \
#fn, fn, n, outcome, places, words \
	}

static struct planted planted[] = {
    P(nref_high, 1, MENDED, AT_NREF, "nref says 3 references to node"),
    P(nref_low, 2, MENDED, AT_NREF | AT_REAP, "nref says 3 references to node 1, there are 4"),
    P(nref_missing, 1, MENDED, AT_NREF, "nref has no count of node"),
    P(nref_extra, 1, MENDED, AT_NREF, "nref says 2 references to node 2, there are 1"),
    P(nref_of_nothing, 1, MENDED, AT_NREF, "nref says 2 references to node 12345, there are 0"),
    P(node_unreachable, 2, MENDED, AT_NODE, "nothing refers to node 65535"),
    P(leaf_missing, 6, LEFT, AT_NODE, "refers, is missing or damaged"),
    P(node_sum, 1, MENDED, AT_NODE, "node 1 says 301 blocks are mapped, there are 300"),
    P(node_level, 10, LEFT, AT_NODE, "node 1 is of level 2, object 1 refers to it as level 1"),
    P(next_node_low, 1, MENDED, AT_STATE, "has an id that was not given out yet"),
    P(obj_mapped, 1, MENDED, AT_OBJ, "object 1 says 299 blocks are mapped, there are 300"),
    P(obj_size, 1, LEFT, AT_OBJ, "object 1 has 1224704 bytes, but its block 299 is mapped"),
    P(obj_too_large, 1, LEFT, AT_OBJ, "object 1 is larger than an object can be"),
    P(obj_height, 9, LEFT, AT_OBJ, "node 6 is of level 1, object 5 refers to it as level 2"),
    P(obj_root_missing, 2, LEFT, AT_OBJ,
      "node 4321, to which object 4 refers, is missing or damaged"),
    P(obj_labels, 1, LEFT, AT_OBJ, "the labels of object 5 have a key that"),
    P(version_readonly, 3, LEFT, AT_OBJ, "object 4 is damaged"),
    P(next_object_low, 1, MENDED, AT_STATE, "object 5 has an id that was not given out yet"),
    P(name_to_nothing, 1, LEFT, AT_NAME, "name \"stray\" refers to object 77, which is missing"),
    P(name_alias, 1, LEFT, AT_NAME, "name \"alias\" refers to object 1, which has another name"),
    P(name_missing, 1, LEFT, AT_NAME, "object 1 says that its name is \"a\", which is missing"),
    P(name_of_other, 2, LEFT, AT_NAME,
      "object 1 says that its name is \"a\", which refers to object 5"),
    P(name_key, 1, LEFT, AT_NAME, "a name has a key of 5 bytes in namespace 2"),
    P(version_name_missing, 2, LEFT, AT_NAME,
      "its name is \"v\" among the versions of object 1, which is missing"),
    P(version_name_stray, 2, LEFT, AT_NAME,
      "name \"v\" among the versions of object 5 refers to object 4, which"),
    P(version_without_parent, 2, LEFT, AT_OBJ | AT_NAME,
      "object 4 is a version of object 99, which is missing"),
    P(version_of_version, 3, LEFT, AT_OBJ | AT_NAME,
      "object 4 is a version of object 3, which is a version itself"),
    P(nversions_wrong, 1, MENDED, AT_OBJ, "object 1 says it has 1 versions, there are 2"),
    P(child_missing, 1, MENDED, AT_CHILD, "child has no entry for object 5 under 1"),
    P(child_extra, 1, MENDED, AT_CHILD,
      "child has object 5 under origin 4, which is no clone of that"),
    P(child_is_version, 1, MENDED, AT_CHILD,
      "child has object 4 under origin 1, which is no clone of that"),
    P(child_of_nothing, 1, MENDED, AT_CHILD,
      "child has object 99 under origin 1, which is missing"),
    P(ttl_missing, 1, MENDED, AT_TTL, "ttl has no entry for object 5 under 70"),
    P(ttl_extra, 1, MENDED, AT_TTL, "ttl has object 1 under time 60, which expires at 0"),
    P(ttl_of_nothing, 1, MENDED, AT_TTL, "ttl has object 99 under time 60, which is missing"),
    P(pair_key, 1, MENDED, AT_TTL, "ttl has a key of 3 bytes"),
    P(xref_missing, 1, MENDED, AT_XREF, "xref has no count of blocks 100+10, which 2 slots map"),
    P(xref_count, 1, MENDED, AT_XREF, "xref says 3 slots map blocks 100+10, there are 2"),
    P(xref_too_long, 1, MENDED, AT_XREF, "xref says 2 slots map blocks 110+1, there are 1"),
    P(xref_short, 1, MENDED, AT_XREF, "xref has no count of blocks 109+1, which 2 slots map"),
    P(xref_extra, 1, MENDED, AT_XREF, "xref says 2 slots map blocks 600+1, there are 1"),
    P(xref_of_none, 3, MENDED, AT_XREF, "xref value of 1 is damaged"),
    P(xref_too_wide, 3, MENDED, AT_XREF, "xref value of 1 is damaged"),
    P(xref_odd_width, 3, MENDED, AT_XREF, "xref value of 1 is damaged"),
    P(xref_cut_short, 3, MENDED, AT_XREF, "xref value of 1 is damaged"),
    P(xref_of_ones, 2, MENDED, AT_XREF, "xref value of 2 is damaged"),
    P(xref_beyond, 1, MENDED, AT_XREF,
      "xref has a count of block 1000, which is not on the device"),
    P(xref_far_beyond, 1, MENDED, AT_XREF,
      "xref has a count of block 64000, which is not on the device"),
    P(nref_of_no_chunk, 4, MENDED, AT_NREF, "which is of no chunk"),
    P(xref_of_no_chunk, 2, MENDED, AT_XREF, "which is of no chunk"),
    P(mapped_twice, 3, BOTH, AT_NODE, "xref has no count of blocks 600+1, which 2 slots map"),
    P(mapped_twice_in_leaf, 2, BOTH, AT_NODE,
      "xref has no count of blocks 305+1, which 2 slots map"),
    P(mapped_beyond, 2, LEFT, AT_NODE, "maps physical block 1000, beyond the end of the device"),
    P(free_leaks, 2, MENDED, AT_FREE, "blocks 999+1 are neither mapped nor free"),
    P(free_missing, 2, MENDED, AT_FREE, "blocks 400+100 are neither mapped nor free"),
    P(free_mapped, 2, MENDED, AT_FREE, "blocks 500+1 are free, but 1 slots map them"),
    P(free_overlaps, 1, MENDED, AT_FREE, "free range 410+10 is empty, overlaps the one before"),
    P(free_beyond, 3, MENDED, AT_FREE,
      "free range 601+400 is empty, overlaps the one before or is not on"),
    P(free_not_merged, 1, MENDED, AT_FREE, "free range 701+299 is not one with its neighbour"),
    P(free_header, 1, MENDED, AT_FREE, "free range 0+1"),
    P(reap_missing, 3, MENDED, AT_REAP, "blocks 500+2 are neither mapped nor free"),
    P(reap_of_nothing, 1, MENDED, AT_REAP,
      "node 4321, to which reap entry 2 refers, is missing or damaged"),
    P(reap_of_used, 3, MENDED, AT_REAP, "nref has no count of node"),
    P(count_objects, 1, MENDED, AT_STATE, "the counter of objects says 3, there are 2"),
    P(count_versions, 1, MENDED, AT_STATE, "the counter of versions says 1, there are 2"),
    P(count_mapped, 1, MENDED, AT_STATE, "the counter of mapped blocks says 901, there are 900"),
    P(count_free, 1, MENDED, AT_STATE, "the counter of free blocks says 695, there are 696"),
    P(count_reap, 1, MENDED, AT_STATE, "the counter of blocks to reap says 0, there are 2"),
    P(counters_missing, 1, LEFT, AT_STATE, "the counters are missing or damaged"),
    P(bad_state, 1, LEFT, AT_STATE, "the counters are missing or damaged"),
    P(bad_store, 1, LEFT, AT_STORE, "meta value \"store\" is damaged"),
    P(bad_name, 2, LEFT, AT_NAME, "the value of name \"a\" is damaged"),
    P(bad_version_name, 2, LEFT, AT_NAME,
      "the value of name \"v\" among the versions of object 1 is damaged"),
    P(bad_obj, 5, LEFT, AT_OBJ, "obj value of 1 is damaged"),
    P(bad_node, 3, MENDED, AT_NODE, "node 5, to which reap entry 1 refers, is missing or damaged"),
    P(bad_nref, 4, MENDED, AT_NREF, "nref value of 0 is damaged"),
    P(bad_xref, 3, MENDED, AT_XREF, "xref value of 1 is damaged"),
    P(bad_free, 2, MENDED, AT_FREE, "free value of 1 is damaged"),
    P(bad_reap, 3, MENDED, AT_REAP, "reap value of 1 is damaged"),
    P(bad_child, 1, MENDED, AT_CHILD, "child value of 1, 5 is damaged"),
    P(bad_ttl, 1, MENDED, AT_TTL, "ttl value of 70, 5 is damaged"),
};

#endif
