/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * prepare.h: writes areas of the data file once, ahead of the allocator.
 *
 * A file's space is allocated when the file is made, and not yet written: the file system has to note
 * the first write to each block, and the next sync waits for its journal.  So that no write of a
 * client pays for that, zeros go before it, while nothing else is to be done:
 *
 *	     from the timer       an unwritten run           free blocks of it taken out
 *	IDLE -------------> LOOKING -----------> (the loop) -------------------------> WRITING
 *	  ^                 (a worker)               ^                                (a worker)
 *	  `--- not idle, or the window is done ------'---------- given back --------------'
 *
 * The window is the free space that the allocator comes to next.  What is in use is never touched: it
 * may hold data.  What is taken out is free space that nobody can reserve meanwhile, so it is little,
 * it is left alone where space is short, and it comes back soon after prepare_pause().
 *
 * Owns the blocks that it has taken out.  All of it is of the loop.
 */
#ifndef SERVER_PREPARE_H
#define SERVER_PREPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/alloc.h"
#include "server/dev.h"
#include "server/worker.h"

/* Free space ahead of the allocator that is prepared. */
#define PREPARE_WINDOW_NBLKS (UINT64_C(256) << (20 - BLK_SHIFT))

/* The most that is taken out of the allocator, and what is always left in it. */
#define PREPARE_PIECE_NBLKS (UINT64_C(8) << (20 - BLK_SHIFT))
#define PREPARE_SLACK_NBLKS (UINT64_C(16) << (20 - BLK_SHIFT))

struct prepare;

struct prepare_config {
	struct alloc *alloc;
	struct dev *dev;
	struct worker_pool *pool;
	/* LOOP_FN: is nothing else to be done? */
	bool (*idle)(void *ctx);
	/* LOOP_FN: blocks have become allocatable */
	void (*space)(void *ctx);
	void *ctx;
};

/* NULL: out of memory. */
struct prepare *prepare_new(const struct prepare_config *config);

/* From the timer: starts where there is something to prepare. */
void prepare_tick(struct prepare *prep) LOOP_FN;

/* Something else is to be done: it stops after the write of a worker that is under way. */
void prepare_pause(struct prepare *prep) LOOP_FN;

/* Blocks that are taken out, and come back. */
uint64_t prepare_held_nblks(const struct prepare *prep) LOOP_FN;

/* Nothing is started any more. */
void prepare_stop(struct prepare *prep) LOOP_FN;

/* The threads have ended, and what they posted has run.  NULL is allowed. */
void prepare_free(struct prepare *prep);

#endif
