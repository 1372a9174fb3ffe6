/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch.h: brings blocks of an object from the device: map look-up, read, checksum, all in a
 * worker.  It never returns a byte that does not fit its checksum (invariant 13).
 *
 * It also knows which physical blocks somebody may still be reading: a fetch looks up the map and
 * reads later, so a block freed meanwhile must not be written again before the fetch has ended.
 * fetch_barrier() tells when all that were under way have (invariant 6).
 */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/dev.h"
#include "server/map.h"
#include "server/page.h"
#include "server/worker.h"

#define FETCH_MAX_BLKS 32u

/* What stands in the order of beginnings: a fetch or a barrier. */
struct fetch_entry {
	TAILQ_ENTRY(fetch_entry) link;
	void (*passed)(struct fetch_entry *entry); /* a barrier's callback; NULL for a fetch */
};

TAILQ_HEAD(fetch_order, fetch_entry);

struct fetcher {
	struct map *map;
	struct dev *dev;
	struct worker_pool *pool;
	struct fetch_order order; /* oldest first; never begins with a barrier */
};

/* One request: the caller fills in the upper half and keeps the struct until done is called. */
struct fetch {
	uint64_t oid;
	lblk_t blk;			   /* the first block that "want" may name */
	uint32_t want;			   /* bit i: block blk + i */
	uint8_t *bufs[FETCH_MAX_BLKS];	   /* BLK_BYTES for each wanted block */
	void (*done)(struct fetch *fetch); /* LOOP_FN; may free the fetch */

	int err;	/* result: 0, or no buffer is to be used */
	uint32_t holes; /* result: wanted blocks that are holes; their buffers are untouched */

	struct worker_job job; /* private from here on */
	struct fetch_entry entry;
	struct fetcher *fetcher;
};

void fetcher_init(struct fetcher *fetcher, struct map *map, struct dev *dev,
		  struct worker_pool *pool);

void fetch_start(struct fetcher *fetcher, struct fetch *fetch) LOOP_FN;

/* Calls passed(entry) when every fetch begun before has ended: at once where there is none. */
void fetch_barrier(struct fetcher *fetcher, struct fetch_entry *entry,
		   void (*passed)(struct fetch_entry *entry)) LOOP_FN;

#endif
