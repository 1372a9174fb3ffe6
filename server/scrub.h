/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scrub.h: reads what an object maps from the device, whatever is in memory of it, and compares it with
 * the checksums in the map: one piece at a time, in a worker, into a buffer of the caller's.
 *
 *	planned in one view --> read, compared --> what is bad looked up once more --> told
 *
 * From before the view until the end the caller counts as a fetch (fetch_enter()), so that nothing that
 * the view maps is written over meanwhile.  What is mapped is on the device, but for blocks whose data is
 * in the journal only: these are pinned (blkcache.h), also when they have been given up since, and are
 * counted as pending, not read.  What is bad and is not mapped there any more was replaced: it is no
 * damage.  A value of the map that is damaged is told of with what it hides, and passed by.
 *
 * It owns nothing and keeps nothing between two pieces.
 */
#ifndef SERVER_SCRUB_H
#define SERVER_SCRUB_H

#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/blkcache.h"
#include "server/dev.h"
#include "server/map.h"

#define SCRUB_MAX_BLKS 256u /* that are read in one piece */

enum scrub_kind {
	SCRUB_CSUM, /* the data does not fit its checksum */
	SCRUB_READ, /* the device cannot read it */
	SCRUB_MAP,  /* where it is cannot be told: a value of the map is damaged */
};

/* Blocks in one piece, and where they are on the device (0: SCRUB_MAP). */
struct scrub_damage {
	lblk_t blk;
	uint64_t nblks;
	pblk_t at;
	enum scrub_kind kind;
};

struct scrub {
	struct map *map;
	struct dev *dev;
	const struct blkcache *cached;
	uint64_t oid;
	/* an object or version that was scrubbed: what it has in the same place is not read again; 0, or one
	 * that is not there: none */
	uint64_t older;
	uint64_t blk;	   /* the range, at least one block */
	uint64_t end;	   /* the block behind it */
	uint32_t max_blks; /* to be read at most: 1 to SCRUB_MAX_BLKS */
	uint8_t *buf;	   /* for so many blocks, aligned to one */
	uint32_t max;	   /* the room in damages: at least 1 */
	struct scrub_damage *damages;

	uint64_t next; /* results: done up to this block, at least one */
	uint64_t read_nblks;
	uint64_t pending_nblks;
	uint32_t n; /* damages, in ascending order */
};

/* It logs each damage.  -ERR_NOENT: the object; -ERR_MAP, -ERR_NOMEM. */
int scrub_run(struct scrub *scrub) WORKER_FN MUST_CHECK;

#endif
