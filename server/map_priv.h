/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map_priv.h: what the files of the map share.  For map*.c, check*.c, repair*.c and their tests only.
 *
 * From below: kv.c (tables of bytes), map_value.c (checked values), map_node.c (nodes as bytes and
 * in memory), map_count.c, map_ref.c and map_free.c (counts, references and free space), map_name.c
 * and map_obj.c (names and objects), map_txn.c (the objects and nodes that a transaction holds),
 * map_edit.c, map_tree.c and map_reap.c (what changes objects and trees), map_list.c, map_lookup.c,
 * map_usage.c and map_diff.c (what reads them), map.c (the environment and its views).
 *
 *	a node		made by			moved by		ends by
 *	in the tables	map_txn_commit		map_txn_commit		map_node_delete
 *	in memory	map_node_get (loaded),	tree_* in map_tree.c	map_node_delete,
 *			map_node_new		(then "dirty")		end of the transaction
 */
#ifndef SERVER_MAP_PRIV_H
#define SERVER_MAP_PRIV_H

#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/kv.h"
#include "server/map.h"
#include "server/map_format.h"

#define MAP_SLOT_MASK  (MAP_FANOUT - 1)
#define MAP_HEIGHT_MAX 6 /* 128^6 blocks are more than BLK_OBJECT_MAX */

static_assert((UINT64_C(1) << (MAP_FANOUT_SHIFT * MAP_HEIGHT_MAX)) >= BLK_OBJECT_MAX, "height");

/* The blocks under one slot of a node at this level; that of level "height" is a whole tree's. */
static inline uint64_t map_slot_nblks(unsigned int level)
{
	return UINT64_C(1) << (MAP_FANOUT_SHIFT * level);
}

/* The slot of block "blk" in a node at this level. */
static inline unsigned int map_slot(uint64_t blk, unsigned int level)
{
	return (unsigned int)(blk >> (MAP_FANOUT_SHIFT * level)) & MAP_SLOT_MASK;
}

struct map {
	struct kv_env *kv;
	struct map_geometry geo;
	pthread_mutex_t views_lock;
	struct map_view *views; /* paused, for reuse; under views_lock */
};

struct map_view {
	struct map *map;
	struct kv_txn *kv;
	struct map_view *next;
	bool snapshot; /* never paused */
};

/* ---- map_value.c: values that are checked when read ------------------------------------------ */

/* The key of a number. */
struct map_key {
	uint8_t bytes[8];
};

struct map_key map_key(uint64_t n);
struct kv_buf map_key_buf(const struct map_key *key);

/*
 * The value of a key, at least min_len bytes; its CRC is verified unless it is staged.  -ERR_NOENT,
 * -ERR_NODE (logged), or the transaction's latched error.
 */
int map_value_get(struct kv_txn *kv, enum kv_table table, struct kv_buf key, size_t min_len,
		  struct kv_buf *val) MUST_CHECK;

/* The same for a value that kv_find() has found. */
int map_value_check(enum kv_table table, struct kv_buf key, struct kv_buf val,
		    size_t min_len) MUST_CHECK;

/* Fills in the CRC, which is the first 4 bytes of val. */
void map_value_seal(enum kv_table table, struct kv_buf key, void *val, size_t len);

/* Puts a value whose first 4 bytes are the CRC's; that is filled in on its way into LMDB. */
void map_value_put(struct kv_txn *kv, enum kv_table table, struct kv_buf key, void *val,
		   size_t len);

/* Logs that a value is bad in itself though its CRC fits; returns -ERR_NODE. */
int map_value_bad(enum kv_table table, struct kv_buf key, const char *why);

/* The same with a number for a key; here a value has exactly len bytes. */
int map_num_get(struct kv_txn *kv, enum kv_table table, uint64_t key, size_t len,
		struct kv_buf *val) MUST_CHECK;
int map_num_find(struct kv_txn *kv, enum kv_table table, enum kv_rel rel, uint64_t key, size_t len,
		 uint64_t *found, struct kv_buf *val) MUST_CHECK;

void map_num_put(struct kv_txn *kv, enum kv_table table, uint64_t key, void *val, size_t len);

/* As kv_replace(); val NULL: deletes. */
void map_num_replace(struct kv_txn *kv, enum kv_table table, uint64_t key, size_t old_len,
		     void *val, size_t len);
void map_num_del(struct kv_txn *kv, enum kv_table table, uint64_t key);
int map_num_bad(enum kv_table table, uint64_t key, const char *why);

/* Keys of two numbers, whose values say nothing more. */
struct map_pair {
	uint64_t a;
	uint64_t b;
};

struct map_pair_key {
	uint8_t bytes[16];
};

struct map_pair_key map_pair_key(struct map_pair pair);
struct kv_buf map_pair_key_buf(const struct map_pair_key *key);

/* -ERR_NOENT, or as map_value_get(). */
int map_pair_get(struct kv_txn *kv, enum kv_table table, struct map_pair pair) MUST_CHECK;

/* The first that is greater than *pair, into it. */
int map_pair_next(struct kv_txn *kv, enum kv_table table, struct map_pair *pair) MUST_CHECK;
void map_pair_put(struct kv_txn *kv, enum kv_table table, struct map_pair pair);
void map_pair_del(struct kv_txn *kv, enum kv_table table, struct map_pair pair);
int map_pair_bad(enum kv_table table, struct map_pair pair, const char *why);

/* ---- map_node.c: nodes ----------------------------------------------------------------------- */

/* A node as it lies in LMDB's memory, found well-formed. */
struct map_node_view {
	const uint8_t *bytes;
	uint64_t id;
	uint64_t mapped;
	unsigned int level;
	unsigned int nextents;
};

/* Extents of a leaf: a run of slots that are mapped to consecutive physical blocks. */
struct map_leaf_run {
	unsigned int slot;
	unsigned int nblks;
	uint64_t blk;
	const uint8_t *csums; /* 4 bytes each, or NULL */
};

/* A node in the memory of a transaction. */
struct map_node {
	RB_ENTRY(map_node) entry;
	uint64_t id;
	uint64_t mapped;
	unsigned int level;
	bool dirty;
	bool fresh;	     /* made by this transaction: not on disk */
	uint64_t owned_turn; /* the transaction's nref_turn when the node had one reference; or 0 */
	union {
		uint64_t child[MAP_FANOUT]; /* node ids, 0: hole */
		struct {
			uint64_t blk[MAP_FANOUT]; /* physical, 0: hole */
			uint32_t csum[MAP_FANOUT];
		} leaf;
	} u;
};

/* -ERR_NODE where the bytes are no node; the CRC has been verified. */
int map_node_parse(struct kv_buf val, uint64_t id, struct map_node_view *view) MUST_CHECK;

/* The node of a tree.  A node that does not exist is -ERR_NODE too. */
int map_node_read(struct kv_txn *kv, uint64_t id, struct map_node_view *view) MUST_CHECK;

/* The child in a slot, or 0. */
bool map_node_has_child(const struct map_node_view *view, unsigned int slot);
uint64_t map_node_child(const struct map_node_view *view, unsigned int slot);

/* The i-th run of a leaf, csums left out. */
struct map_leaf_run map_node_run(const struct map_node_view *view, unsigned int i);

/* The run of a leaf that covers slot, or else the hole there (blk 0), cut to begin at slot. */
struct map_leaf_run map_node_run_at(const struct map_node_view *view, unsigned int slot);

void map_node_decode(const struct map_node_view *view, struct map_node *node);

/* Writes all but the CRC; returns the length. */
size_t map_node_encode(const struct map_node *node, uint8_t bytes[MAP_VALUE_MAX]);

/* The number of slots from slot on that are mapped to consecutive blocks, or are all holes. */
unsigned int map_leaf_run_len(const struct map_node *leaf, unsigned int slot, unsigned int end);

/* ---- map_name.c: names ----------------------------------------------------------------------- */

/* A name as a key: of an object, or of a version in the namespace of its parent. */
struct map_name_key {
	uint8_t bytes[1 + NAME_MAX_BYTES];
	size_t len;
};

/* Only the first NAME_OBJECT_MAX bytes of a name are taken. */
struct map_name_key map_name_key(uint64_t parent, const char *name);
struct kv_buf map_name_key_buf(const struct map_name_key *key);

/* The parts of a key that was found; false: it is none.  parent 0: of an object. */
bool map_name_parse(struct kv_buf key, uint64_t *parent, char name[NAME_MAX_BYTES + 1]);

int map_name_read(struct kv_txn *kv, uint64_t parent, const char *name, uint64_t *oid) MUST_CHECK;

/* What a spec refers to, and the key of the name that says so. */
int map_spec_read(struct kv_txn *kv, const char *spec, struct map_name_key *key,
		  uint64_t *oid) MUST_CHECK;
void map_name_put(struct kv_txn *kv, uint64_t parent, const char *name, uint64_t oid);
void map_name_del(struct kv_txn *kv, uint64_t parent, const char *name);

/* ---- map_obj.c: objects ---------------------------------------------------------------------- */

/* Here pub.name is, of a version, its own part only. */
struct map_object {
	RB_ENTRY(map_object) entry;
	struct map_obj pub;
	uint64_t root; /* 0: nothing is mapped */
	unsigned int height;
	bool dirty;
	bool fresh;
	uint64_t
	    counted_reserved; /* its parts of the counters: they follow when the transaction ends */
	uint64_t counted_promised;
};

int map_object_read(struct kv_txn *kv, uint64_t oid, struct map_object *obj) MUST_CHECK;

/* The object of an entry that kv_find() has found; -ERR_NODE. */
int map_object_found(struct kv_buf key, struct kv_buf val, struct map_object *obj) MUST_CHECK;
void map_object_write(struct kv_txn *kv, const struct map_object *obj);

/* As others see it, with the whole name; parent is that of a version, or NULL. */
void map_object_tell(const struct map_object *obj, const struct map_object *parent,
		     struct map_obj *pub);

/* It has an entry in child. */
static inline bool map_is_child(const struct map_obj *pub)
{
	return pub->origin != 0 && pub->parent == 0;
}

/* ---- map_count.c: reference counts ----------------------------------------------------------- */

#define MAP_COUNTS_NONE UINT64_MAX

/* A chunk of a table of counts, and what it was given; stored before the next one is loaded. */
struct map_counts {
	struct kv_txn *kv;
	enum kv_table table;
	uint64_t chunk; /* or MAP_COUNTS_NONE */
	size_t stored_len;
	bool dirty;
	uint64_t counts[MAP_COUNTS];
	uint64_t
	    edited; /* while there is none: one with a byte for each count; or MAP_COUNTS_NONE */
	uint8_t *bytes; /* the counts of that, where they are stored */
};

struct map_counts map_counts_of(struct kv_txn *kv, enum kv_table table);

/* The counts of a value that has been checked; -ERR_NODE (logged). */
int map_counts_parse(enum kv_table table, uint64_t chunk, struct kv_buf val,
		     uint64_t counts[MAP_COUNTS]) MUST_CHECK;

/* The count at "at", and how many of the n from there on have the same: those of one chunk. */
int map_counts_get(struct map_counts *c, uint64_t at, uint64_t n, uint64_t *same,
		   uint64_t *count) MUST_CHECK;

/* Gives the n that map_counts_get() has told of last, or the first of them, another count. */
void map_counts_set(struct map_counts *c, uint64_t at, uint64_t n, uint64_t count);

/* One more for each of the n from "at" on, mostly where they are stored. */
int map_counts_inc(struct map_counts *c, uint64_t at, uint64_t n) MUST_CHECK;

/* The last one is to be stored too. */
int map_counts_store(struct map_counts *c) MUST_CHECK;

/* ---- map_ref.c, map_free.c: references and free space ---------------------------------------- */

/* n neighbours from "at" on. */
struct map_run {
	uint64_t at;
	uint64_t n;
};

/* One reference more to each of these nodes or blocks, of KV_NREF or KV_XREF.  Sorts the runs. */
int map_refs_inc(struct kv_txn *kv, enum kv_table table, struct map_run *runs,
		 size_t nruns) MUST_CHECK;

/* The number of references to a node that has any. */
int map_nref_get(struct kv_txn *kv, uint64_t node, uint64_t *count) MUST_CHECK;
int map_nref_inc(struct map_txn *txn, uint64_t node) MUST_CHECK;

/* Takes one reference away where there are others.  *last: there is no other, nothing was done. */
int map_nref_dec(struct kv_txn *kv, uint64_t node, bool *last) MUST_CHECK;

/* How many slots of leaves map block blk, and how many blocks from there on, at most nblks, as many
 * do: these, or the first of them. */
int map_xref_get(struct kv_txn *kv, uint64_t blk, uint64_t nblks, uint64_t *same,
		 uint64_t *count) MUST_CHECK;

/*
 * One slot less maps them; what none maps any more becomes free and is noted in the transaction.
 */
int map_xref_dec(struct map_txn *txn, uint64_t blk, uint64_t nblks) MUST_CHECK;

/*
 * Notes that a transaction takes blocks out of the free space, or frees them.  Counters are the caller's.
 */
int map_space_note(struct map_txn *txn, struct map_run run, bool freed) MUST_CHECK;

/*
 * Makes the free space what has been noted: all errors below, latched.  What was freed is told when the
 * transaction has been committed.
 */
int map_space_settle(struct map_txn *txn) MUST_CHECK;

/* Out of the free space; not all of it free: -ERR_NODE.  Into it; some of it free: -ERR_NODE. */
int map_free_take(struct kv_txn *kv, uint64_t blk, uint64_t nblks) MUST_CHECK;
int map_free_add(struct kv_txn *kv, uint64_t blk, uint64_t nblks) MUST_CHECK;

/* ---- map_txn.c: what a transaction holds ----------------------------------------------------- */

RB_HEAD(map_nodes, map_node);
RB_HEAD(map_objects, map_object);

struct map_state {
	uint64_t next_node;
	uint64_t next_object;
	uint64_t incarnation;
	uint64_t journal_seq; /* of the first record that is not in the map */
	uint64_t journal_blk;
	uint64_t journal_key;
	uint64_t objects;
	uint64_t versions;
	uint64_t mapped_nblks; /* sum over all objects and versions */
	uint64_t free_nblks;
	uint64_t reap_nblks; /* mapped by the trees in the reap queue */
	uint64_t reserved_nblks;
	uint64_t promised_nblks;
};

struct map_note {
	struct map_run run;
	size_t nr;  /* in the order in which they were made */
	bool freed; /* else taken */
};

struct map_notes {
	struct map_note *notes;
	size_t n;
	size_t cap;
};

struct map_txn {
	struct map *map;
	struct kv_txn *kv;
	struct map_state state;
	bool state_dirty;
	struct map_nodes nodes;
	struct map_objects objects;
	uint64_t nref_turn; /* from 1 on: another whenever a node has got a reference more */
	struct map_notes notes;
	struct map_freed freed;
};

int map_state_read(struct kv_txn *kv, struct map_state *state) MUST_CHECK;
void map_state_write(struct kv_txn *kv, const struct map_state *state);

/* For changing it. */
static inline struct map_state *map_txn_state(struct map_txn *txn)
{
	txn->state_dirty = true;
	return &txn->state;
}

/* Latches all errors but those that leave the transaction as it was; returns err. */
int map_txn_result(struct map_txn *txn, int err);

/* *some: there is room for this transaction to go on.  One that removes bit by bit asks. */
int map_txn_has_room(struct map_txn *txn, bool *some) MUST_CHECK;

/* Pointers stay good until the node or object is deleted or the transaction ends. */
int map_node_get(struct map_txn *txn, uint64_t id, struct map_node **node) MUST_CHECK;

/* The blocks mapped below it, without keeping it. */
int map_node_mapped(struct map_txn *txn, uint64_t id, uint64_t *nblks) MUST_CHECK;
int map_node_new(struct map_txn *txn, unsigned int level, struct map_node **node) MUST_CHECK;
void map_node_delete(struct map_txn *txn, struct map_node *node);

int map_object_get(struct map_txn *txn, uint64_t oid, struct map_object **obj) MUST_CHECK;
int map_object_new(struct map_txn *txn, uint64_t oid, struct map_object **obj) MUST_CHECK;

/*
 * So many blocks have become the object's own, and so many may be no longer: they were given up, or others
 * have them too.  Where more may be lost than were known the count begins anew from none.
 */
void map_object_own(struct map_object *obj, uint64_t gained, uint64_t lost);

/* Nothing that it maps is its own alone. */
void map_object_disown(struct map_object *obj);

/* What has been given up so far in this transaction and belonged to one object alone: blocks, and trees
 * with all that they map. */
static inline uint64_t map_txn_given_up(const struct map_txn *txn)
{
	return txn->state.free_nblks + txn->state.reap_nblks;
}
void map_object_delete(struct map_txn *txn, struct map_object *obj);

/* ---- map_reap.c ------------------------------------------------------------------------------ */

/*
 * Gives up a reference to a tree, which maps nblks: it is lowered, or if it is the last, goes to
 * the reap queue.
 */
int map_reap_add(struct map_txn *txn, uint64_t node, uint64_t nblks) MUST_CHECK;

#endif
