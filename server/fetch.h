/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch.h: brings blocks of an object from the device: map look-up, read, checksum, all in a
 * worker.  It never returns a byte that does not fit its checksum (invariant 13).
 *
 * What is in memory already (blkcache.h), or on its way there for another fetch, it looks up but does
 * not read: each block of the device is read once, however many objects share it.
 *
 * It also knows which physical blocks somebody may still be reading: a fetch looks up the map and
 * reads later, so a block freed meanwhile must not be written again before the fetch has ended.
 * fetch_barrier() tells when all that were under way have (invariant 6).
 *
 *	fetch_start --> look up, claim, read, verify --> install --> followers go --> done
 *	                       (a worker)                         (the loop)
 */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include <bsd/sys/queue.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/blkcache.h"
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

/* Waits for the fetch of somebody else. */
struct fetch_follower {
	STAILQ_ENTRY(fetch_follower) link;
	void (*go)(struct fetch_follower *follower); /* LOOP_FN */
};

/* A piece of a fetch that lies in one piece on the device. */
struct fetch_piece {
	pblk_t src;
	uint32_t first; /* index of its first block in the fetch */
	uint32_t nblks;
};

struct fetch;

struct fetcher {
	struct map *map;
	struct dev *dev;
	struct worker_pool *pool;
	struct fetch_order order; /* oldest first; never begins with a barrier */
	uint64_t last_id;
	bool stopping;	      /* the workers end: nothing is started any more */
	pthread_mutex_t lock; /* guards the list of claims, and the pieces of who is on it */
	TAILQ_HEAD(, fetch) claims;
};

/* One request: the caller fills in the upper part and keeps the struct until done is called. */
struct fetch {
	uint64_t oid;
	lblk_t blk;		       /* the first block that "want" may name */
	uint32_t want;		       /* bit i: block blk + i */
	uint32_t force;		       /* of these, to be read even if they seem to be in memory */
	const struct blkcache *cached; /* NULL: nothing is in memory */
	uint8_t *bufs[FETCH_MAX_BLKS]; /* BLK_BYTES for each wanted block */
	/* LOOP_FN, or NULL: to put what was read where others find it, before they are told */
	void (*install)(struct fetch *fetch);
	void (*done)(struct fetch *fetch); /* LOOP_FN; may free the fetch */

	/* The result.  A wanted block that is neither a hole nor read was skipped: it is in memory, or
	 * it was, or somebody else reads it. */
	int err;		    /* 0, or no buffer is to be used and nothing else is known */
	uint32_t holes;		    /* their buffers are untouched */
	uint32_t read;		    /* their buffers are filled in, and verified */
	pblk_t src[FETCH_MAX_BLKS]; /* where they are, but for holes */
	uint64_t rival;		    /* for fetch_follow(): one who reads a skipped block, or 0 */

	struct worker_job job; /* private from here on */
	struct fetch_entry entry;
	struct fetcher *fetcher;
	uint64_t id;
	uint32_t csums[FETCH_MAX_BLKS];
	struct fetch_piece pieces[FETCH_MAX_BLKS]; /* claimed: nobody else reads them */
	uint32_t npieces;
	bool claims;
	TAILQ_ENTRY(fetch) claim_link;
	STAILQ_HEAD(, fetch_follower) followers;
};

void fetcher_init(struct fetcher *fetcher, struct map *map, struct dev *dev,
		  struct worker_pool *pool);

void fetch_start(struct fetcher *fetcher, struct fetch *fetch) LOOP_FN;

/*
 * Calls follower->go() when the fetch of that number has been installed, or has failed; false: it
 * has already.
 */
bool fetch_follow(struct fetcher *fetcher, uint64_t rival,
		  struct fetch_follower *follower) LOOP_FN MUST_CHECK;

/*
 * For who looks up and reads by other means: between the two calls it counts as a fetch, so that what a view
 * of that time maps is not allocated anew.  fetch_leave() may call the barriers of others.
 */
void fetch_enter(struct fetcher *fetcher, struct fetch_entry *entry) LOOP_FN;
void fetch_leave(struct fetcher *fetcher, struct fetch_entry *entry) LOOP_FN;

/* Calls passed(entry) when every fetch begun before has ended: at once where there is none. */
void fetch_barrier(struct fetcher *fetcher, struct fetch_entry *entry,
		   void (*passed)(struct fetch_entry *entry)) LOOP_FN;

#endif
