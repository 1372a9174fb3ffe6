/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commits.h: a test store with a journal and commit threads, and requests that remember when they
 * became durable and were answered.  Owns both; the test's thread is the loop's.  For unit tests:
 * what must hold is asserted.
 */
#ifndef TESTS_LIB_COMMITS_H
#define TESTS_LIB_COMMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/checkpoint.h"
#include "server/commit.h"
#include "server/recover.h"
#include "tests/lib/test_store.h"

#define COMMITS_DEV_NBLKS     4096u
#define COMMITS_JOURNAL_NBLKS 128u
#define COMMITS_META_BYTES    (UINT64_C(4) << 20)
#define COMMITS_DATA	      1000u /* physical blocks from here on are the tests' */
#define COMMITS_SEED	      3u    /* of the data that epochs write */

struct commits {
	struct test_store *ts;
	struct commit *commit;	       /* NULL while it is stopped */
	struct checkpoint *checkpoint; /* or NULL: tests fold themselves */
	struct worker_pool *pool;      /* the checkpoint's */
	struct journal_region region;
	uint64_t next_oid;
	unsigned int nturns;	/* events so far; gives each its turn */
	unsigned int nanswered; /* by done() */
	uint64_t generation;	/* of the last epoch that was asked for */
	unsigned int nfreed;	/* blocks; each may become free once */
	bool freed[COMMITS_DEV_NBLKS];
	unsigned int nunmapped; /* told by a checkpoint, of what is freed, once of each */
	bool unmapped[COMMITS_DEV_NBLKS];
	bool
	    taken[COMMITS_DEV_NBLKS]; /* commits_take(): mapped, about to be, or freed too lately */
	unsigned int nhomed;	      /* blocks that a checkpoint has brought home */
	unsigned int ndropped;	      /* blocks that were freed before one did */
	unsigned int nlatched;
	unsigned int nurgent; /* progress() calls that were */
	unsigned int answered_when_latched;
};

/* A request and what became of it. */
struct commits_req {
	struct commit_req req;
	struct commits *fx;
	unsigned int durable; /* turn, from 1 */
	unsigned int turn;    /* when it was answered, from 1 */
	struct change_extent extent;
	struct iovec iov;
	uint32_t csum;
	char name[NAME_MAX_BYTES + 1];
	_Alignas(BLK_BYTES) uint8_t bytes[BLK_BYTES];
};

/* A new store; its commit threads are not yet running. */
struct commits *commits_new(uint64_t meta_bytes);
void commits_free(struct commits *fx);

/* cmocka's: *state is a new store with COMMITS_META_BYTES, its threads running or not yet. */
int commits_setup(void **state);
int commits_setup_stopped(void **state);
int commits_teardown(void **state);

/* The threads are stopped while a test changes the map itself; what was submitted is committed, and
 * in the map proper. */
void commits_start(struct commits *fx);
void commits_stop(struct commits *fx);

/*
 * The same with a checkpoint: it starts by itself where the journal is half full, or at
 * checkpoint_tick() where something is older than that.  Freed blocks can be taken again behind it.
 */
void commits_start_checkpoint(struct commits *fx, unsigned int age_ms);

/* Who waits for a checkpoint: how often it was told, and the last error. */
struct commits_wait {
	struct checkpoint_waiter waiter;
	unsigned int n;
	int err;
};

/* Asks for one; *wait is told of it. */
void commits_wait_begin(struct commits *fx, struct commits_wait *wait);

/* Waits for one; its error. */
int commits_checkpoint(struct commits *fx);

/* So many free blocks in one piece; the map must not know of what was taken and never mapped. */
pblk_t commits_take(struct commits *fx, uint32_t nblks);

/* For the done() of an inlined request with one extent or several: copies of its blocks are kept. */
void commits_keep_home(struct commits *fx, const struct commit_req *req);

/* The threads are stopped, and nothing is folded. */
void commits_kill(struct commits *fx);

/*
 * The power is cut, what was written to the device since the last sync is gone, and so is all that
 * the map has in memory; then the store is recovered.  The threads are stopped before and after.
 */
void commits_crash(struct commits *fx, struct recover_result *result);

/* Cuts and folds the map, as a checkpoint does that has nothing to bring home. */
void commits_fold(struct commits *fx);

/* The first half of that: the position it was cut at, for the second. */
struct journal_pos commits_cut(struct commits *fx);
void commits_fold_cut(struct commits *fx, struct journal_pos tail);

/* Runs the loop until nothing is submitted or being reaped. */
void commits_run_until_idle(struct commits *fx);

void commits_req_init(struct commits *fx, struct commits_req *r, enum change_kind kind);

/* With a name, and for what is made an id. */
void commits_named_init(struct commits *fx, struct commits_req *r, enum change_kind kind,
			const char *name);

/* Writes one block, as writeback does, and makes the epoch that maps it. */
void commits_epoch_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			pblk_t dst);

/* The same with the block in the record. */
void commits_inline_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			 pblk_t dst);

void commits_submit(struct commits_req *r);

/* Submits it and runs the loop until it is answered. */
void commits_run(struct commits_req *r);

/* Creates an object; its id. */
uint64_t commits_create(struct commits *fx, const char *name);

/*
 * Submits "head" and comes back when the commit thread stands in its sync: what is submitted until
 * the gate is opened is of one group.
 */
void commits_hold_in_sync(struct commits_req *head);

#endif
