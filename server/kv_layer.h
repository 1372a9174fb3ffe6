/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_layer.h: changes of the tables in memory: for each table an ordered set of entries, each a
 * value to put or, dead, a key to delete.  Layers lie on top of each other and on LMDB's tables; an
 * entry hides those of its key below.  Owns its entries.  For kv*.c only, which see to it that nobody
 * looks while something changes.
 *
 * Leaves: a search costs what it has to wait for memory, so a table is a tree of leaves, each with
 * some tens of neighbouring entries and what most comparisons of their keys need.  Entries stay where
 * they are in memory.  A leaf that is full is split, which takes a new one: kv_layer_reserve() has
 * them ready before, so that a merge, the one step of a commit, cannot fail for want of memory.
 *
 * Runs: where many neighbours are dead, a search would have to pass each of them again and again.  So
 * who has found two dead entries with nothing alive between them, in this layer or below, has them
 * joined to a run, which is passed in one step.  An entry that comes alive within a run splits it.
 * Only the stage transaction knows of runs; they are apart from the entries, so that others can read
 * these meanwhile.
 */
#ifndef SERVER_KV_LAYER_H
#define SERVER_KV_LAYER_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/kv.h"

struct kv_entry {
	struct kv_entry *below; /* that of its key in the layer it will be merged into; or NULL */
	uint64_t prefix; /* the first 8 bytes of the key, big-endian: most comparisons end there */
	uint32_t key_len;
	uint32_t val_len;
	uint32_t
	    base_bytes; /* of the key's entry at the last cut, as on a page; 0: there was none */
	bool dead;
	uint8_t bytes[]; /* key, value */
};

#define KV_LEAF_MAX 48u

/* Never empty in a tree. */
struct kv_leaf {
	union {
		RB_ENTRY(kv_leaf) link;
		struct kv_leaf *next; /* of the spare ones */
	};
	unsigned int n;
	uint64_t prefixes[KV_LEAF_MAX]; /* of the entries */
	struct kv_entry *entries[KV_LEAF_MAX];
};

/* A place in a table; good until the table changes. */
struct kv_spot {
	struct kv_leaf *leaf;
	unsigned int at;
};

/* From its lowest to its highest entry all are dead, and nothing below is alive between them. */
struct kv_run {
	RB_ENTRY(kv_run) link;
	struct kv_entry *lo;
	struct kv_entry *hi;
};

RB_HEAD(kv_leaves, kv_leaf);
RB_HEAD(kv_runs, kv_run);

/* What a table's changes come to.  Bytes are those of entries on a page. */
struct kv_count {
	uint64_t puts;
	uint64_t dels;
	uint64_t put_bytes;
	uint64_t base_bytes; /* of what puts replace */
	uint64_t grows;	     /* puts that are larger than what they replace */
	uint64_t grow_bytes; /* of these */
};

struct kv_layer {
	struct kv_leaves leaves[KV_NTABLES];
	struct kv_runs runs[KV_NTABLES];
	struct kv_count counts[KV_NTABLES];
	uint64_t nentries;
	uint64_t mem_bytes;
	uint64_t nleaves; /* of all tables */
	uint64_t nspares;
	struct kv_leaf *spares;
};

static inline struct kv_buf kv_entry_key(const struct kv_entry *entry)
{
	return (struct kv_buf){.data = entry->bytes, .len = entry->key_len};
}

static inline struct kv_buf kv_entry_val(const struct kv_entry *entry)
{
	return (struct kv_buf){
	    .data = entry->bytes + entry->key_len, .len = entry->val_len, .staged = true};
}

/* The order of keys: as bytes, the shorter first.  That of LMDB. */
int kv_key_cmp(struct kv_buf a, struct kv_buf b);

/* The bytes that an entry takes up on a page; never 0. */
uint32_t kv_page_bytes_of(size_t key_len, size_t val_len);

/* val NULL: dead.  NULL: no memory. */
struct kv_entry *kv_entry_new(struct kv_buf key, const struct kv_buf *val, uint32_t base_bytes);

/* NULL: no memory. */
struct kv_layer *kv_layer_new(void);

/* NULL is allowed. */
void kv_layer_free(struct kv_layer *layer);

/* The entry of a key, or NULL. */
struct kv_entry *kv_layer_get(struct kv_layer *layer, enum kv_table table, struct kv_buf key);

/* The nearest entry, dead or not, whose key stands in relation "rel" to key, or NULL. */
struct kv_entry *kv_layer_find(struct kv_layer *layer, enum kv_table table, enum kv_rel rel,
			       struct kv_buf key, struct kv_spot *spot);

/* All entries, dead ones too, in the order of their keys; NULL: that was the last. */
struct kv_entry *kv_layer_first(struct kv_layer *layer, enum kv_table table, struct kv_spot *spot);
struct kv_entry *kv_layer_next(struct kv_spot *spot);
struct kv_entry *kv_layer_prev(struct kv_spot *spot);

/*
 * Makes sure that n entries can be set, whatever is removed in between; what was ready before counts.
 * Nobody who only looks notices.  False: no memory.
 */
bool kv_layer_reserve(struct kv_layer *layer, uint64_t n) MUST_CHECK;

/* Takes the entry, in the place of another of its key; or its value, and frees it.  Reserved before. */
void kv_layer_set(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry);

/* Removes and frees the entry of a key, if there is one; it is alive. */
void kv_layer_remove(struct kv_layer *layer, enum kv_table table, struct kv_buf key);

/*
 * Moves all of upper into lower, on which it lies, and where as many entries as it has are reserved;
 * allocates nothing that it depends on.  Where an entry says which one is below it, that is still so.
 */
void kv_layer_merge(struct kv_layer *upper, struct kv_layer *lower);

/* a < b, both dead, and nothing alive between them. */
void kv_layer_join(struct kv_layer *layer, enum kv_table table, struct kv_entry *a,
		   struct kv_entry *b);

/* The highest (or else lowest) entry of the run that a dead entry is in; itself if in none. */
struct kv_entry *kv_layer_run_end(struct kv_layer *layer, enum kv_table table,
				  struct kv_entry *entry, bool highest);

#endif
