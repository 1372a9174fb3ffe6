/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map_format.h: the values of the map's tables as they are on disk, byte by byte.  All integers are
 * little-endian arrays of bytes, so that nothing here has padding or needs alignment; keys that are
 * numbers are 8 bytes big-endian, so that they sort as numbers.  Used by map_*.c, check*.c and repair*.c only.
 *
 * Every value begins with a CRC-32C over the table's number (one byte), the key, and the rest of
 * the value: a value that is read under another key, or in another table, does not fit.
 *
 *	table	key			value
 *	meta	"store"			disk_store
 *	meta	"state"			disk_state
 *	name	namespace 0, name	disk_name
 *	name	namespace 1, object id,	disk_name
 *		name of the version
 *	obj	object id		disk_obj, then the name (of a version: its own part), then
 *					the labels
 *	node	node id			disk_inner, then a child id for each bit that is set; or
 *					disk_node (level 0), then n extents, then a CRC-32C for
 *					each mapped block
 *	nref	node id / 64		disk_counts, then the references to each of 64 nodes:
 *					only where one has 2 or more
 *	xref	physical block / 64	the same: leaves that map each of 64 blocks
 *	free	physical block		disk_free
 *	reap	sequence		disk_reap
 *	child	origin, object id	disk_mark	each object with an origin
 *	ttl	time, object id		disk_mark	each object or version that expires
 */
#ifndef SERVER_MAP_FORMAT_H
#define SERVER_MAP_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "common/name.h"
#include "server/map.h"

/* An LMDB page of 4096 bytes holds two nodes of this size with keys of 8 bytes; a larger value
 * would take pages of its own. */
#define MAP_VALUE_MAX 2022

/* So many neighbours have their counts in one value. */
#define MAP_COUNTS	      64
#define MAP_COUNTS_LEN(width) (sizeof(struct disk_counts) + (width) * (size_t)MAP_COUNTS)

#define MAP_KEY_STORE	      "store"
#define MAP_KEY_STATE	      "state"
#define MAP_NAMESPACE_MAIN    0
#define MAP_NAMESPACE_VERSION 1

#define MAP_MAGIC   UINT64_C(0x70616d2d64776f63) /* "cowd-map" */
#define MAP_VERSION 4

/* Feature bits.  A bit that is not known: compatible, ignored; read-only, the map must not be
 * written; incompatible, it must not be read either. */
#define MAP_FEATURES_RO	      UINT64_C(0)
#define MAP_FEATURES_INCOMPAT UINT64_C(0)

struct disk_store {
	uint8_t crc[4];
	uint8_t version[4];
	uint8_t magic[8];
	uint8_t uuid[16];
	uint8_t block_bytes[8];
	uint8_t dev_nblks[8];
	uint8_t journal_nblks[8];
	uint8_t meta_bytes[8];
	uint8_t features_compat[8];
	uint8_t features_ro[8];
	uint8_t features_incompat[8];
};

/*
 * The ids and the incarnation: what was given out is never given out again.  The journal's first
 * record that is not in the map.  The counters are what a pass over the tables would find:
 * reap_nblks is the sum of what the trees in the reap queue map, shared or not; promised_nblks that
 * of what each object has reserved and does not own.
 */
struct disk_state {
	uint8_t crc[4];
	uint8_t zero[4];
	uint8_t next_node[8];
	uint8_t next_object[8];
	uint8_t incarnation[8];
	uint8_t journal_seq[8];
	uint8_t journal_blk[8];
	uint8_t journal_key[8]; /* of the records from there on */
	uint8_t objects[8];
	uint8_t versions[8];
	uint8_t mapped_nblks[8]; /* of all objects and versions */
	uint8_t free_nblks[8];
	uint8_t reap_nblks[8];
	uint8_t reserved_nblks[8]; /* by all objects */
	uint8_t promised_nblks[8];
};

struct disk_name {
	uint8_t crc[4];
	uint8_t oid[8];
};

struct disk_obj {
	uint8_t crc[4];
	uint8_t height;
	uint8_t name_len;
	uint8_t labels_len[2];
	uint8_t id[8];
	uint8_t root[8];
	uint8_t size_bytes[8];
	uint8_t mapped_nblks[8];
	uint8_t generation[8];
	uint8_t ctime_ns[8];
	uint8_t mtime_ns[8];
	uint8_t origin[8];
	uint8_t parent[8]; /* of a version; else 0 */
	uint8_t expires_ns[8];
	uint8_t nversions[4];
	uint8_t readonly; /* 0 or 1; of a version 0 */
	uint8_t zero[3];
	uint8_t reserved_nblks[8]; /* of a version 0 */
	uint8_t owned_nblks[8];	   /* at least so many of those mapped nothing else refers to */
	uint8_t owned_seq[8];	   /* how often that was not counted but set */
};

/* The head of both kinds of node. */
struct disk_node {
	uint8_t crc[4];
	uint8_t level;
	uint8_t nextents; /* leaf: 1 to 128; else 0 */
	uint8_t zero[2];
	uint8_t id[8];
	uint8_t mapped_nblks[8];
};

/* Read and written as one number of 8 bytes. */
struct disk_extent {
	uint8_t slot;
	uint8_t last; /* blocks less one */
	uint8_t blk[6];
};

struct disk_inner {
	struct disk_node head;
	uint8_t present[MAP_FANOUT / 8]; /* bit s of byte s / 8 */
};

/* MAP_COUNTS counts of 1 or more follow, each of as many bytes as the largest needs. */
struct disk_counts {
	uint8_t crc[4];
	uint8_t width; /* 1, 2, 4 or 8 */
	uint8_t zero[3];
};

struct disk_free {
	uint8_t crc[4];
	uint8_t nblks[8];
};

struct disk_reap {
	uint8_t crc[4];
	uint8_t node[8];
};

/* Its key says all. */
struct disk_mark {
	uint8_t crc[4];
};

#define MAP_LEAF_MAX \
	(sizeof(struct disk_node) + MAP_FANOUT * (sizeof(struct disk_extent) + sizeof(uint32_t)))
#define MAP_INNER_MAX (sizeof(struct disk_inner) + MAP_FANOUT * sizeof(uint64_t))

static_assert(sizeof(struct disk_store) == 88, "layout");
static_assert(sizeof(struct disk_state) == 112, "layout");
static_assert(sizeof(struct disk_obj) == 120, "layout");
static_assert(sizeof(struct disk_node) == 24, "layout");
static_assert(sizeof(struct disk_extent) == 8, "layout");
static_assert(sizeof(struct disk_inner) == 40, "layout");
static_assert(sizeof(struct disk_counts) == 8, "layout");
static_assert(MAP_LEAF_MAX <= MAP_VALUE_MAX, "a leaf fits inline in a page");
static_assert(MAP_COUNTS_LEN(8) <= MAP_VALUE_MAX, "counts fit inline");
static_assert(MAP_INNER_MAX <= MAP_VALUE_MAX, "an inner node fits inline in a page");
#define MAP_OBJ_MAX (sizeof(struct disk_obj) + NAME_OBJECT_MAX + MAP_LABELS_MAX)

static_assert(MAP_OBJ_MAX <= MAP_VALUE_MAX, "an object fits inline");

#endif
