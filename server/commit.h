/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit.h: makes changes permanent, in the order in which they were submitted.
 *
 * One thread gathers what has been submitted, syncs the device once, applies all of it to the map
 * in one transaction, commits that, and answers (invariants 4 and 5).  Between groups it releases
 * what is in the reap queue, a bounded number of nodes at a time.
 *
 *	submitted --commit_gather--> synced --commit_apply--> applied --map_txn_commit--> answered
 *
 * A request that cannot be applied fails alone; the others of its group are applied again without
 * it.  A map commit that fails has an unknown outcome: the queue is latched, all that follows is
 * answered -ERR_LATCHED, and the daemon must end (invariant 9).
 *
 * A sync that fails says nothing of what was written before it, and a later one that succeeds does
 * not either.  So each epoch carries the number of failed syncs from when its writes began; where
 * that has changed the request fails with -ERR_WRITEBACK, and writeback writes it elsewhere.
 */
#ifndef SERVER_COMMIT_H
#define SERVER_COMMIT_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/dev.h"
#include "server/loop.h"
#include "server/map.h"

enum commit_kind {
	COMMIT_EPOCH,  /* oid: truncate, extents, size, mtime */
	COMMIT_CREATE, /* name, size */
	COMMIT_CLONE,  /* oid: the source; name: the clone */
	COMMIT_REMOVE, /* oid */
};

struct commit_extent {
	lblk_t blk;
	pblk_t dst;
	uint32_t nblks;
};

#define COMMIT_NO_TRUNCATE UINT64_MAX

struct commit_req {
	enum commit_kind kind;
	uint64_t oid;
	uint64_t size_bytes;
	uint64_t time_ns;
	char name[NAME_MAX_BYTES + 1];
	lblk_t truncate; /* first, everything from here becomes a hole; or COMMIT_NO_TRUNCATE */
	struct commit_extent *extents; /* then these, written but not synced */
	uint32_t nextents;
	const uint32_t *csums; /* of the extents' blocks, one after the other */
	unsigned int sync_gen; /* commit_sync_gen() from before the first of their writes */
	void (*done)(struct commit_req *req); /* LOOP_FN; may free the request */

	int err;	    /* result */
	struct map_obj obj; /* result: the object created, cloned or changed */

	STAILQ_ENTRY(commit_req) link; /* private */
};

struct commit;

struct commit_config {
	struct loop *loop;
	struct map *map;
	struct dev *dev;
	/* LOOP_FN: blocks that became free by a commit; after the requests' done calls */
	void (*freed)(void *ctx, const struct map_freed *freed);
	/* LOOP_FN: called once, after the requests concerned were answered */
	void (*latched)(void *ctx);
	void *ctx;
};

/* Starts the thread, which begins with what an earlier run left in the reap queue.  NULL: no
 * memory, no thread. */
struct commit *commit_new(const struct commit_config *config);

/* Commits what was submitted, joins the thread, gives the last answers (loop_finish()).  Reaping is
 * left for the next start. */
void commit_free(struct commit *commit);

/* Queues a request; it is answered by req->done. */
void commit_submit(struct commit *commit, struct commit_req *req) LOOP_FN;

/* The number of failed syncs so far. */
unsigned int commit_sync_gen(const struct commit *commit);

/* Something is queued or being reaped, so that more space may become free. */
bool commit_busy(const struct commit *commit) LOOP_FN;

#endif
