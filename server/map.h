/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map.h: the block map: names, objects, shared extent trees, reference counts and free space, all
 * in one LMDB environment.  The only user of LMDB (kv.c) is below it.
 *
 * Reading goes through a view: a consistent snapshot, of any thread, one thread at a time, held for
 * one look-up and never across a wait.  Writing goes through a transaction, of the commit thread
 * only; nothing of it is seen by a view until it has been committed, and then all.
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
 *  - free is exactly the complement of the blocks that some leaf maps, header block excepted.
 *  - a node's "mapped" is the sum over its slots; an object's that of its root.
 *  - every value carries its own key and a CRC and is checked when read: -ERR_NODE.
 */
#ifndef SERVER_MAP_H
#define SERVER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
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
	uint64_t dev_nblks;  /* of the data device, header block included */
	uint64_t meta_bytes; /* size of the map file, preallocated */
};

struct map_obj {
	uint64_t id; /* never 0, never reused */
	uint64_t size_bytes;
	uint64_t mapped_nblks;
	uint64_t generation; /* of the last commit */
	uint64_t ctime_ns;
	uint64_t mtime_ns;
	uint64_t origin; /* id of the object it was cloned from, or 0 */
	char name[NAME_MAX_BYTES + 1];
};

struct map_space {
	uint64_t meta_total_bytes;
	uint64_t meta_used_bytes;
	uint64_t mapped_nblks; /* sum over all objects */
	uint64_t objects;
};

/* ---- the environment ------------------------------------------------------------------------- */

/*
 * Makes an empty map in the file at path, durable: free space is all blocks of the device but the
 * header.  -ERR_INVAL (a device of less than two blocks), -ERR_EXIST, -ERR_NOSPC, -ERR_NOSPC_META
 * (meta_bytes does not even hold an empty map), -ERR_MAP.
 */
int map_create(const char *path, const struct map_geometry *geo) MUST_CHECK;

/*
 * Opens it; once per process.  -ERR_NOENT, -ERR_FORMAT_... (not a map of this version, or a feature
 * that is not known), -ERR_NODE, -ERR_MAP.
 */
int map_open(const char *path, struct map **map) MUST_CHECK;

/* No view or transaction may be open. */
void map_close(struct map *map);

const struct map_geometry *map_geometry(const struct map *map);

/* ---- reading --------------------------------------------------------------------------------- */

int map_view_begin(struct map *map, struct map_view **view) MUST_CHECK;
void map_view_end(struct map_view *view);

/* -ERR_NOENT, -ERR_NODE, -ERR_MAP. */
int map_obj_by_name(struct map_view *view, const char *name, struct map_obj *obj) MUST_CHECK;
int map_obj_by_id(struct map_view *view, uint64_t id, struct map_obj *obj) MUST_CHECK;

/*
 * Objects whose names begin with prefix and are greater than after (either may be ""), in order of
 * bytes.  fn returns 0 to go on, > 0 to stop, < 0 to fail with that.
 */
int map_list(struct map_view *view, const char *prefix, const char *after,
	     int (*fn)(void *ctx, const struct map_obj *obj), void *ctx) MUST_CHECK;

/* Sums and counters; costs one pass over the objects. */
int map_get_space(struct map_view *view, struct map_space *space) MUST_CHECK;

/* Every free range, in ascending order. */
int map_each_free(struct map_view *view, int (*fn)(void *ctx, pblk_t blk, uint64_t nblks),
		  void *ctx) MUST_CHECK;

enum map_kind {
	MAP_HOLE,     /* reads as zeros */
	MAP_MAPPED,   /* on the device */
	MAP_DELALLOC, /* will be allocated at writeback: the destination of a buffered write */
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

/* One at a time.  -ERR_MAP, -ERR_NOMEM. */
int map_txn_begin(struct map *map, struct map_txn **txn) COMMIT_FN MUST_CHECK;

/*
 * Commits, durably, and frees the transaction in every case.  *freed (owned by the caller, free()
 * its ranges) lists what became free.  -ERR_NOSPC_META: nothing happened.  -ERR_MAP: the outcome is
 * unknown; the process must take no more writes and end (invariant 9).
 */
int map_txn_commit(struct map_txn *txn, struct map_freed *freed) COMMIT_FN MUST_CHECK;

/* Forgets all of it.  NULL is allowed. */
void map_txn_abort(struct map_txn *txn) COMMIT_FN;

/*
 * A function below that fails with -ERR_NOENT, -ERR_EXIST or -ERR_BUSY has changed nothing, and the
 * transaction goes on; after any other error it can only be aborted.
 */
int map_txn_obj(struct map_txn *txn, uint64_t oid, struct map_obj *obj) COMMIT_FN MUST_CHECK;
int map_txn_obj_by_name(struct map_txn *txn, const char *name,
			struct map_obj *obj) COMMIT_FN MUST_CHECK;
int map_txn_create(struct map_txn *txn, const char *name, uint64_t size_bytes, uint64_t now_ns,
		   struct map_obj *obj) COMMIT_FN MUST_CHECK;

/* Constant time: the clone shares the source's root. */
int map_txn_clone(struct map_txn *txn, uint64_t src, const char *dst, uint64_t now_ns,
		  struct map_obj *obj) COMMIT_FN MUST_CHECK;

/* Constant time: the tree goes to the reap queue. */
int map_txn_remove(struct map_txn *txn, uint64_t oid) COMMIT_FN MUST_CHECK;

/*
 * Maps [blk, blk + nblks) of the object to the extent at dst, which must be free in the map, and
 * drops what was mapped there.  csums has nblks checksums.
 */
int map_txn_remap(struct map_txn *txn, uint64_t oid, lblk_t blk, pblk_t dst, uint64_t nblks,
		  const uint32_t *csums) COMMIT_FN MUST_CHECK;

/* Makes everything from blk on a hole.  Whole subtrees go to the reap queue. */
int map_txn_unmap_from(struct map_txn *txn, uint64_t oid, lblk_t blk) COMMIT_FN MUST_CHECK;

/* Sets size and mtime, and raises the generation; *obj gets the result. */
int map_txn_update(struct map_txn *txn, uint64_t oid, uint64_t size_bytes, uint64_t mtime_ns,
		   struct map_obj *obj) COMMIT_FN MUST_CHECK;

/* Raises the number that tells one start of the server from the next, and returns it. */
int map_txn_next_incarnation(struct map_txn *txn, uint64_t *incarnation) COMMIT_FN MUST_CHECK;

/*
 * Releases at most max_nodes nodes from the reap queue, at least one, and no more than there is
 * room for: to be called once in a transaction.  *more: the queue is not empty.  A block whose last
 * reference goes becomes free in this transaction.
 */
int map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more) COMMIT_FN MUST_CHECK;

/* The bytes of the map file in use, as of the last commit, and its size.  Any thread. */
void map_meta_usage(const struct map *map, uint64_t *used_bytes, uint64_t *total_bytes);

#endif
