/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_priv.h: what the files of the checker share: check_obj.c compares names and objects,
 * check_tree.c walks and counts, check_space.c compares blocks, check_data.c reads data, check.c
 * does the rest.  repair*.c runs the same comparisons and goes by what they have counted.
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

/* What a difference is about: all that repair.c has to know of it. */
enum check_fault {
	CHECK_META,	    /* what the store is; the counters as a whole */
	CHECK_NAME,	    /* a name, or what it leads to */
	CHECK_OBJECT,	    /* something that only the object's own value says */
	CHECK_OBJECT_VALUE, /* an object cannot be read */
	CHECK_NODE,	    /* nor can a node below an object */
	CHECK_LEAF,	    /* a leaf below an object maps what is no block for data */
	CHECK_CLAIM,	    /* a block is mapped with two checksums */
	CHECK_DATA,	    /* a block of data cannot be read, or is another */
	CHECK_NVERSIONS,    /* how many versions an object says it has */
	CHECK_OWNED,	    /* how many blocks it says it owns */
	CHECK_SUM,	    /* mapped blocks, of an object or an inner node */
	CHECK_ID,	    /* an id that was not given out */
	CHECK_LINK,	    /* child or ttl, of an object that is there */
	CHECK_LINK_STRAY,   /* the same, damaged or of one that is not */
	CHECK_QUEUE,	    /* the reap queue, or below it */
	CHECK_ORPHAN,	    /* a node that nothing refers to */
	CHECK_NREF_LOW,
	CHECK_NREF_HIGH,
	CHECK_NREF_VALUE,
	CHECK_XREF_LOW,
	CHECK_XREF_HIGH,
	CHECK_XREF_VALUE,
	CHECK_FREE_MAPPED, /* free, and mapped */
	CHECK_FREE_LEAK,   /* neither */
	CHECK_FREE_SHAPE,  /* no range, or not by itself */
	CHECK_FREE_VALUE,
	CHECK_COUNTER,
	CHECK_NFAULTS,
};

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
	bool queued;  /* below the reap queue alone */
};

RB_HEAD(check_nodes, check_node);

struct check {
	struct map_view *view;
	check_report_fn report;
	void *ctx;
	/* who wants to know more: instead of report, which may be NULL then */
	void (*judge)(struct check *c, enum check_fault fault, const char *text);
	bool without_queue; /* as if the reap queue were empty */
	bool claims;	    /* look for blocks that are mapped with two checksums */
	uint64_t differences;
	uint64_t faults[CHECK_NFAULTS];
	struct check_totals totals;
	struct map_state state;
	bool state_known;
	bool unsure;	    /* something is damaged that the sums may need */
	bool lost;	    /* something names an object that is not there */
	bool in_queue;	    /* the walk is below the reap queue */
	bool queue_shared;  /* a tree in the queue is referred to from elsewhere, too */
	uint64_t last_node; /* the highest ids that are in use */
	uint64_t last_object;
	uint64_t object_nblks;	 /* mapped by all objects and versions */
	uint64_t reap_nblks;	 /* by the trees in the reap queue */
	uint64_t reserved_nblks; /* by all objects */
	uint64_t promised_nblks; /* of these, what they do not own */
	STAILQ_HEAD(, check_owner) owners;
	struct check_nodes nodes;
	uint64_t dev_nblks;
	uint64_t first_blk; /* behind the header and the journal */
	uint32_t *counts;   /* for each block of the device, the leaves that map it */
	uint32_t *csums;    /* with "claims": the checksum that the first of them has */
	uint64_t pos;	    /* in a table of blocks: all before have been compared */
	bool pos_joins;	    /* a range of free blocks ends there */
};

/* Counts a difference and reports it. */
void check_differ(struct check *c, enum check_fault fault, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What is wrong with something that was met in a tree: fault, or that it is the queue's. */
enum check_fault check_queued(const struct check *c, enum check_fault fault);

/* What a value that cannot be used means; id NULL: its key is none. */
enum check_fault check_fault_of(struct check *c, enum kv_table table, const uint64_t *id);

/*
 * All comparisons of a view; how they are made is set in c beforehand, and all else is zero.  What has
 * been counted stays in c, and needs the view no longer, until check_fini(), which is to be called in
 * any case.
 */
int check_run(struct check *c, struct map_view *view) MUST_CHECK;
void check_fini(struct check *c);

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

/* How many names of versions an object has. */
int check_count_versions(struct kv_txn *kv, uint64_t oid, uint64_t *n) MUST_CHECK;

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

/* NULL: it was not met. */
struct check_node *check_node_find(struct check *c, uint64_t id);

/* In the order of ids: the first that is not less than this, and the one behind; NULL at the end. */
struct check_node *check_node_from(struct check *c, uint64_t id);
struct check_node *check_node_next(struct check_node *node);

/* Notes that a node has been seen; *first: for the first time.  For walks that do not count. */
int check_see(struct check *c, uint64_t id, bool *first) MUST_CHECK;

/* After all references have been counted: the node and nref tables. */
int check_node_table(struct check *c) MUST_CHECK;
int check_nref_table(struct check *c) MUST_CHECK;

void check_nodes_free(struct check *c);

/* ---- check_space.c --------------------------------------------------------------------------- */

/* The number of blocks from blk on, before end, that have the same count. */
uint64_t check_same_count(const struct check *c, uint64_t blk, uint64_t end);

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
