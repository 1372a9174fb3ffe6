/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writeback.h: takes a frozen set of blocks to the device and into the map.
 *
 * A batch is owned by who made it (an epoch of object_epoch.c) until its callbacks.  Its pages do
 * not change while it lives (page.h), its extents are allocated here, now, and its space was
 * reserved when the blocks became dirty.
 *
 *	  writeback_start        all writes done           writeback_commit      in the map
 *	idle ----------> writing ----------------> written ----------------> committing -> done
 *	                    |                                                     |
 *	                    `--- error: what failed is quarantined; once more to other extents; then
 *	                         done(err): nothing of it is in the map, the pages are still there
 *
 * Data is never overwritten: the map refers to the old extents until the commit.  A small batch is
 * not written at all: its blocks travel in the journal's record (inlined), and a checkpoint writes
 * them to their extents.
 * A block of a batch may have its place already: its data was written before the batch was made
 * (cache.h).  It is not written again, as long as no sync has failed since.
 *
 * After a failed sync all that the batch has on the device is suspect: places from before, and what an
 * attempt has written, which are places too from then on.  All of it is written again, from memory, to
 * other extents; and where there is no space for these to the same places, which no map names and nobody
 * reads.  That is no second sync of what may be lost: the device gets the data anew, and the sync that
 * follows is about that.  So it needs no space that was not reserved when the blocks became dirty.
 *
 *	place	--a sync fails--> suspect --space--> quarantined; the block is reserved again
 *	  ^                          |
 *	  `---- written again -------'--that write fails--> quarantined; the block lacks space
 *
 * The other way round, an owner may want nothing but the writing, for blocks that will be committed
 * in a batch to come: "only_places".  When that is written writeback_note_places() says where each
 * block is; what the owner does not take over is given back with the batch.
 *
 * A quarantined extent is not used again before the next start.  It is a piece of at most 1 MiB
 * whose write failed, or after a failed sync what has been written elsewhere, or not at all since.
 */
#ifndef SERVER_WRITEBACK_H
#define SERVER_WRITEBACK_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/annot.h"
#include "server/alloc.h"
#include "server/blk.h"
#include "server/commit.h"
#include "server/dev.h"
#include "server/fetch.h"
#include "server/page.h"
#include "server/worker.h"

struct writeback {
	struct loop *loop;
	struct alloc *alloc;
	struct dev *dev;
	struct worker_pool *pool;
	struct fetcher *fetcher;
	struct commit *commit;
	unsigned int releasing; /* freed sets that wait for reads to end, or for their turn */
	uint64_t releasing_nblks;
	bool stopping; /* the threads end: nothing is submitted to them any more */
	/* LOOP_FN: these blocks will be in the map, and their data not on the device */
	void (*on_inline)(void *ctx, pblk_t blk, uint64_t nblks);
	/* LOOP_FN: freed blocks are about to become allocatable */
	void (*on_reuse)(void *ctx, pblk_t blk, uint64_t nblks);
	/* LOOP_FN: blocks have become allocatable */
	void (*on_space)(void *ctx);
	void *ctx;
};

/* A batch of at most so many blocks is inlined. */
#define WRITEBACK_INLINE_BLKS 16u

struct writeback_write;

struct writeback_blk {
	lblk_t blk;
	struct page *page; /* a reference of the batch's */
	pblk_t placed;	   /* where its data is on the device already; 0: nowhere */
	uint32_t csum;	   /* of what is placed */
};

struct writeback_batch {
	/* the owner fills these in; blocks in ascending order, those that are not placed reserved in
	 * alloc */
	struct commit_req commit; /* oid, size_bytes, time_ns, holes of its change */
	struct writeback_blk *blks;
	uint32_t nblks;
	bool outlined;		 /* it is not to be inlined, however small it is */
	unsigned int placed_gen; /* commit_sync_gen() from before what is placed was written */
	bool only_places;
	/* LOOP_FN: the data is written; the owner calls writeback_commit() when it is its turn */
	void (*written)(struct writeback_batch *batch);
	/* LOOP_FN: it is durable; "done" follows when it is in the map */
	void (*durable)(struct writeback_batch *batch);
	/* LOOP_FN: it is in the map, or err says why not; the batch is the owner's again.  Never
	 * called from within writeback_start(). */
	void (*done)(struct writeback_batch *batch, int err);

	/* private */
	struct writeback *wb;
	struct change_extent *extents;
	uint32_t nextents_cap;
	uint32_t *csums;
	struct iovec *iov; /* of the blocks, where they are inlined */
	uint32_t writes_left;
	SLIST_HEAD(, writeback_write) ended_writes; /* of this attempt */
	uint32_t attempts;
	int err;
	struct loop_msg ended; /* brings err to done() */
	uint32_t nreserved;    /* of its blocks, promised by alloc (else taken, or given up) */
	uint32_t nplaced;      /* of its blocks: it owns their places */
	uint32_t nlacking;     /* of its blocks: neither promised nor anywhere */
	bool again;	       /* this attempt writes these once more, where they are */
	bool holds;	       /* inlined: its extents are allocated and not yet the map's */
};

/*
 * Allocates and writes.  A batch without blocks is written at once.  After done() with an error it
 * may be started again.  It keeps the promise of its space meanwhile; for what is in quarantine now
 * that is given anew, and where there is no space for it done() gets -ERR_NOSPC: writeback_reserve().
 */
void writeback_start(struct writeback *wb, struct writeback_batch *batch) LOOP_FN;

/* Has what a failed batch lacks promised, or as much of it as there is, and other extents for what is
 * suspect; -ERR_NOSPC: that is not all.  Before others get space: what is in the batch has been
 * acknowledged. */
int writeback_reserve(struct writeback_batch *batch) LOOP_FN MUST_CHECK;

/* How many of its blocks have their space: promised, taken or written.  All, but of one that has failed. */
uint64_t writeback_held_nblks(const struct writeback_batch *batch) LOOP_FN;

/* Puts the written batch on a list, to be submitted to the commit thread in this turn: alone, or as a
 * unit with others (commit_submit_unit()). */
void writeback_commit(struct writeback_batch *batch, struct commit_list *unit) LOOP_FN;

/* The batch is written and only_places: says where and with what checksum, in blks. */
void writeback_note_places(struct writeback_batch *batch) LOOP_FN;

/* The place of that block of such a batch is the caller's now. */
pblk_t writeback_take_place(struct writeback_batch *batch, uint32_t i) LOOP_FN;

/* These blocks were taken out of alloc, and nothing refers to them. */
void writeback_give_back(struct writeback *wb, pblk_t blk, uint64_t nblks) LOOP_FN;

/* Puts the pages and frees the arrays; what is reserved or allocated is given back.  The batch was
 * started, and no thread is at work on it. */
void writeback_batch_fini(struct writeback_batch *batch) LOOP_FN;

/* So much is given back to the allocator in one turn of the loop: pieces, and blocks, of which each may
 * be in memory. */
#define WRITEBACK_REUSE_RANGES 32u
#define WRITEBACK_REUSE_BLKS   512u

/* Lets freed blocks be allocated again once no read that may see them is under way. */
void writeback_release(struct writeback *wb, const struct map_freed *freed) LOOP_FN;

#endif
