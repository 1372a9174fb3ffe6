/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map_format.h: the values of the map's tables as they are on disk, byte by byte.  All integers are
 * little-endian arrays of bytes, so that nothing here has padding or needs alignment; keys that are
 * numbers are 8 bytes big-endian, so that they sort as numbers.  Used by map_*.c and check.c only.
 *
 * Every value begins with a CRC-32C over the table's number (one byte), the key, and the rest of
 * the value: a value that is read under another key, or in another table, does not fit.
 *
 *	table	key			value
 *	meta	"store"			disk_store
 *	meta	"state"			disk_state
 *	name	namespace 0, name	disk_name
 *	obj	object id		disk_obj, then the name
 *	node	node id			disk_inner, then a child id for each bit that is set; or
 *					disk_node (level 0), then n extents, then a CRC-32C for
 *					each mapped block
 *	nref	node id			disk_nref	only where 2 or more
 *	xref	physical block		disk_xref	only where 2 or more
 *	free	physical block		disk_free
 *	reap	sequence		disk_reap
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

#define MAP_KEY_STORE	   "store"
#define MAP_KEY_STATE	   "state"
#define MAP_NAMESPACE_MAIN 0

#define MAP_MAGIC   UINT64_C(0x70616d2d64776f63) /* "cowd-map" */
#define MAP_VERSION 1

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
	uint8_t meta_bytes[8];
	uint8_t features_compat[8];
	uint8_t features_ro[8];
	uint8_t features_incompat[8];
};

/* The counters: what they gave out is never given out again. */
struct disk_state {
	uint8_t crc[4];
	uint8_t zero[4];
	uint8_t next_node[8];
	uint8_t next_object[8];
	uint8_t incarnation[8];
};

struct disk_name {
	uint8_t crc[4];
	uint8_t oid[8];
};

struct disk_obj {
	uint8_t crc[4];
	uint8_t height;
	uint8_t name_len;
	uint8_t zero[2];
	uint8_t id[8];
	uint8_t root[8];
	uint8_t size_bytes[8];
	uint8_t mapped_nblks[8];
	uint8_t generation[8];
	uint8_t ctime_ns[8];
	uint8_t mtime_ns[8];
	uint8_t origin[8];
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

struct disk_extent {
	uint8_t slot;
	uint8_t last; /* blocks less one */
	uint8_t blk[6];
};

struct disk_inner {
	struct disk_node head;
	uint8_t present[MAP_FANOUT / 8]; /* bit s of byte s / 8 */
};

struct disk_nref {
	uint8_t crc[4];
	uint8_t count[8];
};

struct disk_xref {
	uint8_t crc[4];
	uint8_t nblks[8];
	uint8_t count[8];
};

struct disk_free {
	uint8_t crc[4];
	uint8_t nblks[8];
};

struct disk_reap {
	uint8_t crc[4];
	uint8_t node[8];
};

#define MAP_LEAF_MAX \
	(sizeof(struct disk_node) + MAP_FANOUT * (sizeof(struct disk_extent) + sizeof(uint32_t)))
#define MAP_INNER_MAX (sizeof(struct disk_inner) + MAP_FANOUT * sizeof(uint64_t))

static_assert(sizeof(struct disk_store) == 80, "layout");
static_assert(sizeof(struct disk_state) == 32, "layout");
static_assert(sizeof(struct disk_obj) == 72, "layout");
static_assert(sizeof(struct disk_node) == 24, "layout");
static_assert(sizeof(struct disk_extent) == 8, "layout");
static_assert(sizeof(struct disk_inner) == 40, "layout");
static_assert(sizeof(struct disk_xref) == 20, "layout");
static_assert(MAP_LEAF_MAX <= MAP_VALUE_MAX, "a leaf fits inline in a page");
static_assert(MAP_INNER_MAX <= MAP_VALUE_MAX, "an inner node fits inline in a page");
static_assert(sizeof(struct disk_obj) + NAME_MAX_BYTES <= MAP_VALUE_MAX, "an object fits inline");

#endif
