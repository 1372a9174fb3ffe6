/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map.h: the block map: names, objects, versions, shared extent trees, reference counts and free
 * space, all in one LMDB environment.  The only user of LMDB (kv.c) is below it.
 *
 * Reading goes through a view: a consistent state, of any thread, held for one look-up and never
 * across a wait, since commits wait for it; a thread has one at a time.  Writing goes through a
 * transaction, of the map thread only; nothing of it is seen by a view until it has been committed,
 * and then all.
 *
 * A commit is in memory: it stages its changes over what LMDB holds.  A cut freezes what is staged,
 * as the state before a position of the journal, and a fold makes that durable, together with the
 * position: so LMDB always holds exactly what the journal's records before it did.
 *
 *	map_txn_commit	visible		the journal has made it durable before
 *	map_cut		frozen
 *	map_fold	in LMDB		freed blocks are reusable, the journal's space too
 *
 * A tree is a radix tree over block numbers with one fixed fan-out (MAP_FANOUT): a slot of an inner
 * node is a hole or a child; a leaf lists the extents of its span and a CRC-32C for every mapped
 * block.  Trees of different objects share nodes (Rodeh, "B-trees, shadowing, and clones", 2008):
 * who changes a shared node copies it first, which raises the counts of what it refers to.
 *
 * Invariants:
 *  - nref[node] is the number of references to a node (from objects, nodes and the reap queue),
 *    kept only where it is 2 or more.
 *  - xref[block] is the number of leaves that map a physical block, kept only where 2 or more.
 *  - free is exactly the complement of the blocks that some leaf maps, header block and journal
 *    excepted.
 *  - a node's "mapped" is the sum over its slots; an object's that of its root.
 *  - a version is an object with a parent.  Its name is in the parent's namespace, nothing but its
 *    name, labels and time to live changes any more, and the parent stays while it has versions.
 *  - an object's "owned" is at most the number of blocks that it maps and nothing else does: no other
 *    slot, and no other reference to a node on the way there.
 *  - child has the objects with an origin (versions are no children), ttl those that expire, and
 *    the counters are what a pass over the tables would find.
 *  - every value carries its own key and a CRC and is checked when read: -ERR_NODE.
 */
#ifndef SERVER_MAP_H
#define SERVER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/label.h"
#include "common/name.h"
#include "server/blk.h"

#define MAP_FANOUT_SHIFT 7
#define MAP_FANOUT	 (1u << MAP_FANOUT_SHIFT)

struct map;
struct map_view;
struct map_txn;

/* What is fixed when a store is made. */
struct map_geometry {
	uint8_t uuid[16];
	uint64_t dev_nblks;	/* of the data device, header block included */
	uint64_t journal_nblks; /* of these, right behind the header block: the journal's, with the
				   two that say what has been started (era.h) */
	uint64_t meta_bytes;	/* size of the map file, preallocated */
};

#define MAP_LABELS_MAX LABELS_MAX_BYTES

/* An object or a version. */
struct map_obj {
	uint64_t id; /* never 0, never reused */
	uint64_t size_bytes;
	uint64_t mapped_nblks;
	uint64_t generation; /* of the content: see object_state.h */
	uint64_t ctime_ns;
	uint64_t mtime_ns;
	uint64_t origin;	 /* id of what it was cloned from, or 0; it may be gone */
	uint64_t parent;	 /* of a version: the object's id; else 0 */
	uint64_t expires_ns;	 /* 0: never */
	uint64_t reserved_nblks; /* space that it is promised; of a version 0 */
	uint64_t owned_nblks;	 /* of those mapped at least so many are nobody else's */
	uint64_t owned_seq;	 /* how often that was not counted but set: see map_attrs */
	uint32_t nversions;
	bool readonly; /* the engine does not let its content change; a version's never does */
	uint32_t labels_len;
	char labels[MAP_LABELS_MAX];   /* as in common/label.h */
	char name[NAME_MAX_BYTES + 1]; /* of a version "object@version" */
};

struct map_space {
	uint64_t meta_total_bytes;
	uint64_t meta_used_bytes;
	uint64_t mapped_nblks; /* sum over all objects and versions */
	uint64_t objects;
	uint64_t versions;
	uint64_t free_nblks;
	uint64_t reap_nblks; /* mapped by the trees that are still to be released, shared or not */
	uint64_t reserved_nblks; /* by all objects */
	uint64_t promised_nblks; /* of these, what each does not own yet: map_obj_promised() */
};

/* What an object has reserved and has no blocks of its own for yet. */
static inline uint64_t map_obj_promised(const struct map_obj *obj)
{
	return obj->owned_nblks < obj->reserved_nblks ? obj->reserved_nblks - obj->owned_nblks : 0;
}

/* ---- the environment ------------------------------------------------------------------------- */

/*
 * Makes an empty map in the file at path, durable: free space is all blocks of the device but the
 * header and the journal.  -ERR_INVAL (no such block), -ERR_EXIST, -ERR_NOSPC, -ERR_NOSPC_META
 * (meta_bytes does not even hold an empty map), -ERR_MAP.
 */
int map_create(const char *path, const struct map_geometry *geo) MUST_CHECK;

/*
 * Opens it; once per process.  -ERR_NOENT, -ERR_FORMAT_... (not a map of this version, or a feature
 * that is not known), -ERR_PAGE, -ERR_NODE, -ERR_MAP.
 */
int map_open(const char *path, struct map **map) MUST_CHECK;

/* Bounds the memory that a fold takes for new pages (kv_limit_folds()); to be called before all else. */
void map_limit_folds(struct map *map, uint64_t bytes);

/*
 * Looks at every page of its file, those that opening a large one leaves out too; before anything is
 * folded.  -ERR_PAGE, -ERR_NOMEM, -ERR_MAP.
 */
int map_verify_pages(struct map *map) MUST_CHECK;

/*
 * Looks at every reference count: where there is none it is 1, and who changes a node believes that, so one
 * that is damaged, or lies under another's key, has to be seen before.  -ERR_NODE (logged), -ERR_NOMEM,
 * -ERR_MAP.
 */
int map_verify_counts(struct map *map) MUST_CHECK;

/* No view or transaction may be open. */
void map_close(struct map *map);

const struct map_geometry *map_geometry(const struct map *map);

/* ---- reading --------------------------------------------------------------------------------- */

int map_view_begin(struct map *map, struct map_view **view) MUST_CHECK;
void map_view_end(struct map_view *view);

/*
 * A view of the last fold's state that holds nobody up, for long walks; map_view_end() ends it.  Once
 * it is late it keeps folds from being written: to be ended, and the walk begun again.
 */
int map_snapshot_begin(struct map *map, struct map_view **view) MUST_CHECK;
bool map_snapshot_is_late(const struct map_view *view);

/* By "object" or "object@version".  -ERR_NOENT, -ERR_NODE, -ERR_MAP. */
int map_obj_by_name(struct map_view *view, const char *spec, struct map_obj *obj) MUST_CHECK;
int map_obj_by_id(struct map_view *view, uint64_t id, struct map_obj *obj) MUST_CHECK;

/* Returns 0 to go on, > 0 to stop, < 0 to fail with that. */
typedef int (*map_list_fn)(void *ctx, const struct map_obj *obj);

/*
 * Objects, without their versions, whose names begin with prefix and are greater than after (either
 * may be ""), in order of bytes.
 */
int map_list(struct map_view *view, const char *prefix, const char *after, map_list_fn fn,
	     void *ctx) MUST_CHECK;

/* The versions of an object whose own names are greater than after (""), in order of bytes. */
int map_list_versions(struct map_view *view, uint64_t oid, const char *after, map_list_fn fn,
		      void *ctx) MUST_CHECK;

/*
 * Objects that were cloned from this object or version, and not from one of its versions, whose ids
 * are greater than after_id, in order of ids.  It need not exist any more.
 */
int map_list_children(struct map_view *view, uint64_t oid, uint64_t after_id, map_list_fn fn,
		      void *ctx) MUST_CHECK;

/*
 * The next object to expire after the one that *expires_ns and *oid name, 0 and 0 for the first, into
 * the two.  -ERR_NOENT.
 */
int map_next_expiry(struct map_view *view, uint64_t *expires_ns, uint64_t *oid) MUST_CHECK;

/* Greater than the id of every object that there ever was. */
int map_next_object(struct map_view *view, uint64_t *oid) MUST_CHECK;

/* Of the journal: the first record that is not in the map; in a new map the first of all. */
struct map_tail {
	uint64_t seq;
	uint64_t blk; /* counted from the journal's first */
};

int map_get_tail(struct map_view *view, struct map_tail *tail) MUST_CHECK;

/* The number of the last start of the server on this store, and the key of the journal's records
 * since. */
int map_get_incarnation(struct map_view *view, uint64_t *incarnation,
			uint64_t *journal_key) MUST_CHECK;

/* Counters; constant time. */
int map_get_space(struct map_view *view, struct map_space *space) MUST_CHECK;

/*
 * Every free range that begins at or behind "from", in ascending order.  fn returns 0 to go on, > 0 to
 * stop, < 0 to fail with that.
 */
int map_each_free(struct map_view *view, pblk_t from,
		  int (*fn)(void *ctx, pblk_t blk, uint64_t nblks), void *ctx) MUST_CHECK;

struct map_usage {
	uint64_t mapped_nblks;	  /* sum over them; a block that several map counts in each */
	uint64_t exclusive_nblks; /* would become free if all of them were removed, and released */
};

/*
 * What n objects or versions use.  One that is named twice counts once.  The cost is that of
 * reading what would be released, and memory for what of it is referred to more than once;
 * stop(ctx) is asked at each node: -ERR_SHUTDOWN when it says so.  -ERR_NOENT: one of them.
 */
int map_usage(struct map_view *view, const uint64_t *oids, size_t n, bool (*stop)(void *ctx),
	      void *ctx, struct map_usage *usage) MUST_CHECK;

/* What map_owned() finds out: the object, and how many blocks are its own alone. */
struct map_owned {
	struct map_obj obj;
	uint64_t nblks;
};

/*
 * Counts them exactly, for what map_attrs corrects.  The cost is that of reading the nodes that the object
 * does not share, and none where it is known that all blocks are its own; stop() as of map_usage().
 */
int map_owned(struct map_view *view, const char *spec, bool (*stop)(void *ctx), void *ctx,
	      struct map_owned *owned) MUST_CHECK;

enum map_diff_kind {
	MAP_DIFF_SAME, /* holes in both, or the same physical blocks */
	MAP_DIFF_HOLE, /* a hole in the newer, data in the older */
	MAP_DIFF_DATA, /* data in the newer; in the older a hole, or other physical blocks */
};

struct map_diff_run {
	uint64_t nblks;
	enum map_diff_kind kind;
};

struct map_diff {
	lblk_t blk; /* the range that is asked for: at least one block */
	uint64_t nblks;
	uint32_t max_runs;  /* at least 1: the room in runs */
	uint32_t max_nodes; /* stops when so many have been read; but not before the first block */
	struct map_diff_run *runs;
	uint32_t nruns; /* results */
	uint32_t nodes; /* of the map that were read */
};

/*
 * Where the mapping of two objects or versions differs, whatever their relation: runs that follow
 * each other from the asked block on, to the end of the range or, where a bound stops it, less far.
 * older 0: nothing, holes only.  It reads what the two do not share, and no data: other blocks may
 * hold the same.  -ERR_NOENT: one of them.
 */
int map_diff(struct map_view *view, uint64_t older, uint64_t newer,
	     struct map_diff *diff) MUST_CHECK;

enum map_kind {
	MAP_HOLE,     /* reads as zeros */
	MAP_MAPPED,   /* on the device */
	MAP_DELALLOC, /* will be allocated at writeback: the destination of a buffered write */
	MAP_LOST,     /* of map_begin_past() only: the value that would tell is damaged */
};

enum map_intent { MAP_FOR_READ, MAP_FOR_WRITE };

struct map_extent {
	enum map_kind kind;
	pblk_t blk; /* MAP_MAPPED only */
};

/*
 * One look-up (Linux iomap's iomap and srcmap): where blocks go, and where what is not written of
 * them is read from.  Both hold for the whole range, which begins at the asked block.
 */
struct map_lookup {
	lblk_t blk;
	uint64_t nblks;	       /* at least 1, at most what was asked */
	struct map_extent dst; /* for reading: the same as src */
	struct map_extent src;
};

/*
 * Looks up [blk, blk + nblks).  csums, where not NULL, has room for nblks and gets the checksum of
 * each block of a mapped source.  An object that does not exist: -ERR_NOENT.
 */
int map_begin(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
	      enum map_intent intent, struct map_lookup *lookup, uint32_t *csums) MUST_CHECK;

/*
 * The same for reading, and whether these blocks are mapped from elsewhere too: by another object or
 * version, by one that was removed and is not taken apart yet, or by another part of this one.  That
 * holds for all of them; *shared is false for a hole.  The cost is a look-up more for each node on the
 * way, down to the first that is shared, and one for the blocks.
 */
int map_begin_shared(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
		     struct map_lookup *lookup, bool *shared) MUST_CHECK;

/*
 * map_begin() for reading, for who goes on behind what is damaged: where a value on the way is, it succeeds
 * all the same, and the source is MAP_LOST for as many blocks as are below that value.
 */
int map_begin_past(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
		   struct map_lookup *lookup, uint32_t *csums) MUST_CHECK;

/* ---- writing --------------------------------------------------------------------------------- */

/* Blocks that a transaction freed; reusable only by the rule of invariant 6. */
struct map_range {
	pblk_t blk;
	uint64_t nblks;
};

struct map_freed {
	struct map_range *ranges;
	size_t n;
	size_t cap;
};

/* One at a time, and none where map_must_fold() says so.  -ERR_MAP, -ERR_NOMEM. */
int map_txn_begin(struct map *map, struct map_txn **txn) MAP_FN MUST_CHECK;

/*
 * Makes the changes visible to views, and frees the transaction in every case.  *freed (owned by the
 * caller, free() its ranges) lists what became free.  The latched error: nothing happened.
 */
int map_txn_commit(struct map_txn *txn, struct map_freed *freed) MAP_FN MUST_CHECK;

/* Forgets all of it.  NULL is allowed. */
void map_txn_abort(struct map_txn *txn) MAP_FN;

/*
 * A function below that fails with -ERR_NOENT, -ERR_EXIST, -ERR_BUSY or -ERR_PERM has changed
 * nothing, and the transaction goes on; after any other error it can only be aborted.
 */
int map_txn_obj(struct map_txn *txn, uint64_t oid, struct map_obj *obj) MAP_FN MUST_CHECK;
int map_txn_obj_by_name(struct map_txn *txn, const char *spec,
			struct map_obj *obj) MAP_FN MUST_CHECK;

/* The owned_nblks of an object as this transaction has left it. */
int map_txn_owned(struct map_txn *txn, uint64_t oid, uint64_t *nblks) MAP_FN MUST_CHECK;

/* What a new object begins with. */
struct map_new {
	uint64_t oid;	  /* was never in use */
	const char *name; /* an object's, or of a version the part behind '@' */
	uint64_t parent;  /* 0: an object */
	uint64_t size_bytes;
	uint64_t time_ns;
	uint64_t expires_ns; /* 0: never */
	uint64_t reserved_nblks;
	const char *labels;
	uint32_t labels_len;
};

/*
 * An empty object.  -ERR_EXIST: the name or the id is in use.  -ERR_BAD_NAME, -ERR_INVAL (labels).
 */
int map_txn_create(struct map_txn *txn, const struct map_new *new,
		   struct map_obj *obj) MAP_FN MUST_CHECK;

/*
 * Constant time: the clone, or the new version of the parent, shares the root and has the size of
 * src.  As map_txn_create(); -ERR_PERM: the parent is a version.
 */
int map_txn_clone(struct map_txn *txn, uint64_t src, const struct map_new *new,
		  struct map_obj *obj) MAP_FN MUST_CHECK;

/* Constant time: the tree goes to the reap queue.  -ERR_BUSY: it has versions. */
int map_txn_remove(struct map_txn *txn, uint64_t oid) MAP_FN MUST_CHECK;

/*
 * Gives an object, or a version (then the part behind '@'), a name that is not in use: -ERR_EXIST.
 */
int map_txn_rename(struct map_txn *txn, uint64_t oid, const char *name) MAP_FN MUST_CHECK;

/* Two objects get each other's names; their versions stay with them.  -ERR_PERM: of versions. */
int map_txn_exchange(struct map_txn *txn, uint64_t a, uint64_t b) MAP_FN MUST_CHECK;

/*
 * Constant time: the object gets what src maps and its size; what it mapped goes to the reap queue.
 * -ERR_PERM: it is a version.
 */
int map_txn_reset(struct map_txn *txn, uint64_t oid, uint64_t src, uint64_t now_ns,
		  uint64_t generation, struct map_obj *obj) MAP_FN MUST_CHECK;

/* All that can be set of an object or a version that exists, beside its name. */
struct map_attrs {
	uint64_t expires_ns; /* 0: never */
	bool readonly;
	const char *labels;
	uint32_t labels_len;
	uint64_t reserved_nblks;
	/*
	 * So many blocks more were the object's own than its owned_nblks said, in some view where owned_seq
	 * was this.  While that number is the same owned_nblks has changed by no more than what it stands
	 * for: so it may be raised by as much now.  Else they are ignored.
	 */
	uint64_t regained_nblks;
	uint64_t owned_seq;
};

/*
 * They are these from now on; content, times and generation stay.  -ERR_INVAL: the labels.  -ERR_PERM:
 * a version, and read-only, which it is anyway, or a reservation.
 */
int map_txn_set(struct map_txn *txn, uint64_t oid, const struct map_attrs *attrs,
		struct map_obj *obj) MAP_FN MUST_CHECK;

/*
 * Maps [blk, blk + nblks) of the object to the extent at dst, which must be free in the map (else the
 * commit fails with -ERR_NODE), and drops what was mapped there.  csums has nblks checksums.  Here and in
 * the next three, -ERR_PERM: it is a version.
 */
int map_txn_remap(struct map_txn *txn, uint64_t oid, lblk_t blk, pblk_t dst, uint64_t nblks,
		  const uint32_t *csums) MAP_FN MUST_CHECK;

/* Makes [blk, blk + nblks) a hole.  Whole subtrees go to the reap queue. */
int map_txn_unmap(struct map_txn *txn, uint64_t oid, lblk_t blk, uint64_t nblks) MAP_FN MUST_CHECK;

/*
 * [blk, blk + nblks) of the object becomes what src, which may be the same object, has at src_blk: it
 * refers to the same blocks of the device.  Where the distance of the two is a multiple of what a node
 * covers, the nodes in between are shared, and the cost is that of their number; else that of the
 * blocks'.  -ERR_INVAL: the ranges overlap.
 */
int map_txn_share(struct map_txn *txn, uint64_t oid, lblk_t blk, uint64_t src, lblk_t src_blk,
		  uint64_t nblks) MAP_FN MUST_CHECK;

/* Sets size, mtime and generation; *obj gets the result. */
int map_txn_update(struct map_txn *txn, uint64_t oid, uint64_t size_bytes, uint64_t mtime_ns,
		   uint64_t generation, struct map_obj *obj) MAP_FN MUST_CHECK;

/* Raises the number that tells one start of the server from the next, and returns it. */
int map_txn_next_incarnation(struct map_txn *txn, uint64_t journal_key,
			     uint64_t *incarnation) MAP_FN MUST_CHECK;

/*
 * Releases at most max_nodes nodes from the reap queue, at least one, fewer where they map many
 * pieces of the device, and no more than there is room for: to be called once in a transaction.
 * *more: the queue is not empty.  A block whose last reference goes becomes free in this transaction.
 */
int map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more) MAP_FN MUST_CHECK;

/* ---- making it durable ----------------------------------------------------------------------- */

/*
 * Freezes what is staged as the state before "tail"; the next map_fold() makes it durable.  Between
 * transactions, and nothing is frozen already.  -ERR_NOMEM, -ERR_MAP, -ERR_NODE: nothing is frozen.
 */
int map_cut(struct map *map, struct map_tail tail) MAP_FN MUST_CHECK;

/*
 * Writes what is frozen, durably; beside views and transactions, one at a time.  -ERR_NOMEM: nothing
 * happened, it is still frozen; so does -ERR_NOSPC_META, which comes only where a snapshot is late.
 * -ERR_MAP: the outcome is unknown; the process must take no more writes and end (invariant 9).
 */
int map_fold(struct map *map) ANY_FN MUST_CHECK;

/*
 * What is staged is as much as one fold can be sure to write, with one transaction more: no other may
 * be begun before a fold has ended.  That one transaction may make 24,576 changes (three for each
 * block that is remapped); in a map below 384 MiB, what changes a quarter of its pages.
 */
bool map_must_fold(const struct map *map) ANY_FN;

/* What is staged is half as much: who is in no hurry waits for a fold, and leaves the rest to others. */
bool map_should_fold(const struct map *map) ANY_FN;

struct map_staged {
	uint64_t entries; /* of all tables, frozen ones included */
	uint64_t bytes;	  /* of memory */
};

void map_get_staged(const struct map *map, struct map_staged *staged) ANY_FN;

/*
 * The bytes of the map file in use as of the last fold, with an estimate of what is staged, and how
 * many there may be: what folds need is not counted.  Who makes the map grow asks this before, and
 * leaves a part of it to who comes behind; removing needs none.
 */
void map_meta_usage(const struct map *map, uint64_t *used_bytes, uint64_t *total_bytes) ANY_FN;

#endif
