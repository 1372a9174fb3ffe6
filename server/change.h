/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * change.h: one logical change of the store, as a plain struct: what a commit request asks for, what
 * a record of the journal holds (record.h), and what is applied to the map (apply.h).
 *
 * A change names everything that it decides: ids of new objects and physical blocks included.  So
 * applying it to the same map again gives the same map, and recovery is nothing but that.  A change
 * that has been submitted can be applied: who submits it has looked (object_name.c).
 *
 * What a struct points to belongs to who filled it in.  Which members count depends on the kind.
 */
#ifndef SERVER_CHANGE_H
#define SERVER_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/blk.h"

/* The numbers are on disk. */
enum change_kind {
	CHANGE_EPOCH = 1,    /* oid: holes, shares, extents, then size, mtime and generation */
	CHANGE_CREATE = 2,   /* oid (new), name, size, expires, reserved, labels */
	CHANGE_CLONE = 3,    /* oid (new) of other; with parent: as its version "name" */
	CHANGE_REMOVE = 4,   /* oid */
	CHANGE_RENAME = 5,   /* oid, name */
	CHANGE_EXCHANGE = 6, /* oid and other swap their names */
	CHANGE_RESET = 7,    /* oid gets the content and size of other, and a generation */
	CHANGE_SET =
	    8, /* oid, expires, read-only, reserved, labels: all its attributes from now on; regained */
};

#define CHANGE_KIND_LAST CHANGE_SET

/* Blocks of an object and where their data is. */
struct change_extent {
	lblk_t blk;
	pblk_t dst;
	uint32_t nblks;
};

/* Blocks of an object that become a hole; to BLK_OBJECT_MAX where nothing behind stays. */
struct change_hole {
	lblk_t blk;
	uint64_t nblks;
};

/* Blocks of an object that become what "src" has at src_blk; there the two may be one object. */
struct change_share {
	lblk_t blk;
	uint64_t src;
	lblk_t src_blk;
	uint64_t nblks;
};

struct change {
	enum change_kind kind;
	uint64_t oid;
	uint64_t other;
	uint64_t parent; /* 0: a clone is an object of its own */
	uint64_t size_bytes;
	uint64_t time_ns;
	uint64_t generation; /* of the content, when this is applied */
	uint64_t expires_ns; /* 0: never */
	uint64_t reserved_nblks;
	uint64_t regained_nblks; /* these two as of map_attrs */
	uint64_t owned_seq;
	const struct change_hole *holes; /* ascending and apart */
	uint32_t nholes;
	const struct change_share *shares; /* made one after the other */
	uint32_t nshares;
	const struct change_extent *extents; /* ascending and apart */
	uint32_t nextents;
	uint32_t nblks;	       /* of all extents */
	const uint32_t *csums; /* CRC-32C of each of these blocks, one after the other */
	bool inlined;	       /* the data of the blocks is in the journal's record */
	bool readonly;	       /* its content does not change */
	const char *name;      /* an object's, or of a version the part behind '@' */
	const char *labels;    /* "key=value" strings, each with its terminator */
	uint32_t labels_len;   /* of all of them, terminators included */
};

#endif
