/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commits.h: a test store with a commit thread, and requests that remember when they were answered.
 * Owns both; the test's thread is the loop's.  For unit tests: what must hold is asserted.
 */
#ifndef TESTS_LIB_COMMITS_H
#define TESTS_LIB_COMMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/commit.h"
#include "tests/lib/test_store.h"

#define COMMITS_DEV_NBLKS 4096u
#define COMMITS_SEED	  3u /* of the data that epochs write */

struct commits {
	struct test_store *ts;
	struct commit *commit;	/* NULL while it is stopped */
	unsigned int nanswered; /* by done(); gives each request its turn */
	unsigned int nfreed;	/* blocks; each may become free once */
	bool freed[COMMITS_DEV_NBLKS];
	unsigned int nlatched;
	unsigned int answered_when_latched;
};

/* A request and what became of it. */
struct commits_req {
	struct commit_req req;
	struct commits *fx;
	unsigned int turn; /* when it was answered, from 1 */
	struct commit_extent extent;
	uint32_t csum;
	uint8_t bytes[BLK_BYTES];
};

/* A new store; its commit thread is not yet running. */
struct commits *commits_new(uint64_t meta_bytes);
void commits_free(struct commits *fx);

/* The thread is stopped while a test changes the map itself; what was submitted is committed. */
void commits_start(struct commits *fx);
void commits_stop(struct commits *fx);

/* Runs the loop until nothing is submitted or being reaped. */
void commits_run_until_idle(struct commits *fx);

void commits_req_init(struct commits *fx, struct commits_req *r, enum commit_kind kind);
void commits_named_init(struct commits *fx, struct commits_req *r, enum commit_kind kind,
			const char *name);

/* Writes one block, as writeback does, and makes the epoch that maps it. */
void commits_epoch_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			pblk_t dst);

void commits_submit(struct commits_req *r);

/* Submits it and runs the loop until it is answered. */
void commits_run(struct commits_req *r);

/* Creates an object; its id. */
uint64_t commits_create(struct commits *fx, const char *name);

/*
 * Submits "head", which needs a sync, and comes back when the commit thread stands in that sync:
 * what is submitted until the gate is opened is of one group.
 */
void commits_hold_in_sync(struct commits_req *head);

#endif
