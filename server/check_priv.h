/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_priv.h: what the files of the checker share: check_obj.c compares names and objects,
 * check_tree.c walks and counts, check_space.c compares blocks, check_data.c reads data, check.c
 * does the rest.
 */
#ifndef SERVER_CHECK_PRIV_H
#define SERVER_CHECK_PRIV_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/check.h"
#include "server/map_priv.h"

/* What an object says it owns, and what the nodes have shown. */
struct check_owner {
	STAILQ_ENTRY(check_owner) link;
	uint64_t oid;
	uint64_t says;
	uint64_t found;
};

/* What the walk has found out about a node. */
struct check_node {
	RB_ENTRY(check_node) entry;
	uint64_t id;
	uint64_t refs;
	uint64_t mapped;
	uint64_t end;		     /* blocks up to the last one mapped, from the node's first */
	const struct check_node *up; /* the first node that referred to it, of a higher level */
	struct check_owner *owner; /* of a root: of one of the objects that refer to it, or NULL */
	unsigned int level;
	bool bad;     /* it or something below cannot be read: the rest is not known */
	bool counted; /* has an entry in nref */
};

RB_HEAD(check_nodes, check_node);

struct check {
	struct map_view *view;
	check_report_fn report;
	void *ctx;
	uint64_t differences;
	struct check_totals totals;
	struct map_state state;
	bool state_known;
	bool unsure;		 /* something is damaged that the sums may need */
	uint64_t object_nblks;	 /* mapped by all objects and versions */
	uint64_t reap_nblks;	 /* by the trees in the reap queue */
	uint64_t reserved_nblks; /* by all objects */
	uint64_t promised_nblks; /* of these, what they do not own */
	STAILQ_HEAD(, check_owner) owners;
	struct check_nodes nodes;
	uint64_t dev_nblks;
	uint64_t first_blk; /* behind the header and the journal */
	uint32_t *counts;   /* for each block of the device, the leaves that map it */
	uint64_t pos;	    /* in a table of blocks: all before have been compared */
	bool pos_joins;	    /* a range of free blocks ends there */
};

/* Counts a difference and reports it. */
void check_differ(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What the checker returns: err, or how many differences there are. */
int check_result(const struct check *c, int err);

/* A copy of the key that an iteration has reached. */
struct check_pos {
	uint8_t bytes[KV_KEY_MAX];
	size_t len;
};

/* Less than every key of a table. */
#define CHECK_POS_FIRST  \
	{                \
		.len = 1 \
	}

struct kv_buf check_pos_key(const struct check_pos *pos);

/* The next entry, -ERR_NOENT at the end; *good: the value is, and has at least len bytes. */
int check_step(struct check *c, enum kv_table table, size_t len, struct check_pos *pos,
	       struct kv_buf *val, bool *good) MUST_CHECK;

/*
 * Calls fn for each entry whose value is good and at least len bytes; the others are reported.  For
 * tables whose keys are numbers.
 */
int check_each(struct check *c, enum kv_table table, size_t len,
	       int (*fn)(struct check *c, uint64_t key, struct kv_buf val)) MUST_CHECK;

/* The same for a table of counts, chunk by chunk. */
int check_counts(struct check *c, enum kv_table table,
		 void (*fn)(struct check *c, uint64_t chunk,
			    const uint64_t counts[MAP_COUNTS])) MUST_CHECK;

/* The same for a table whose keys are two numbers and say all. */
int check_pairs(struct check *c, enum kv_table table,
		int (*fn)(struct check *c, struct map_pair pair)) MUST_CHECK;

/* ---- check_obj.c ----------------------------------------------------------------------------- */

int check_name_table(struct check *c) MUST_CHECK;
int check_object(struct check *c, uint64_t oid, struct kv_buf val) MUST_CHECK;
int check_child_table(struct check *c) MUST_CHECK;
int check_ttl_table(struct check *c) MUST_CHECK;

/* ---- check_tree.c ---------------------------------------------------------------------------- */

#define CHECK_ANY_LEVEL (-1)

/*
 * Counts a reference to a node; the first one walks what is below.  "by" and its id say what
 * refers to it.
 */
int check_ref(struct check *c, uint64_t id, int level, const char *by, uint64_t by_id,
	      struct check_node **node) MUST_CHECK;

/* The root of a tree is that of an object which says that it owns blocks of it. */
int check_own(struct check *c, struct check_node *root, const struct map_obj *obj) MUST_CHECK;

/* After the node table: none of these objects owns less than it says. */
void check_owners(struct check *c);

/* Notes that a node has been seen; *first: for the first time.  For walks that do not count. */
int check_see(struct check *c, uint64_t id, bool *first) MUST_CHECK;

/* After all references have been counted: the node and nref tables. */
int check_node_table(struct check *c) MUST_CHECK;
int check_nref_table(struct check *c) MUST_CHECK;

void check_nodes_free(struct check *c);

/* ---- check_space.c --------------------------------------------------------------------------- */

/* Notes the blocks that a leaf maps. */
void check_count_leaf(struct check *c, const struct map_node_view *leaf);

/*
 * After all leaves have been counted, for a leaf that several objects or versions reach: its blocks
 * are shared though no other leaf maps them.
 */
void check_share_leaf(struct check *c, const struct map_node_view *leaf);

/* Likewise: how many of the leaf's blocks no other slot maps. */
uint64_t check_single_blks(const struct check *c, const struct map_node_view *leaf);

/* After all leaves have been counted: the xref and free tables. */
int check_xref_table(struct check *c) MUST_CHECK;
int check_free_table(struct check *c) MUST_CHECK;

#endif
