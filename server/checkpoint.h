/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * checkpoint.h: brings what is committed from the journal and the staged map into the map proper, and
 * so makes room in the journal and lets freed blocks be used again.  Runs beside commits and delays
 * none.
 *
 *	        start          cut by the map thread   inlined blocks, mark    device synced
 *	IDLE ----------> CUTTING -----------------> HOMING ----------------> SYNCING --------.
 *	  ^                                            ^                        |            v
 *	  |                                            `-- RETRY <-- error -----'<------- FOLDING
 *	  `--- freed blocks handed over, waiters called --- ENDING <-- journal released -----'
 *
 * The mark is written last: who finds it on the device finds all that it is of (era.h).
 *
 * It starts when the journal is half full, the staged map large, many blocks are not yet home, when
 * the oldest change in the journal has some age, or when somebody waits for one.
 *
 * Owns the set of blocks that are not yet home (home.h), each with a reference to its page, and the
 * list of freed blocks that may not be used before the next checkpoint (invariant 6), of which it tells the
 * cache meanwhile.  All of it is of the loop, but for what a worker sorts at the beginning of HOMING.
 */
#ifndef SERVER_CHECKPOINT_H
#define SERVER_CHECKPOINT_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/commit.h"
#include "server/dev.h"
#include "server/home.h"
#include "server/map.h"
#include "server/worker.h"

struct checkpoint;

struct checkpoint_config {
	struct loop *loop;
	struct map *map;
	struct dev *dev;
	struct worker_pool *pool;
	struct worker_pool *fold_pool; /* for folds: they wait for no read, write or walk */
	struct commit *commit;
	uint64_t journal_nblks; /* of the whole region */
	size_t home_max;	/* blocks not yet home that start one */
	uint64_t staged_max;	/* bytes of the staged map that do */
	unsigned int age_ms;	/* the longest time that a change stays in the journal only */
	/* LOOP_FN: the block has been written where the map says */
	void (*homed)(void *ctx, const struct home_blk *hb);
	/* LOOP_FN: it is not mapped any more, and will not be written */
	void (*dropped)(void *ctx, const struct home_blk *hb);
	/* LOOP_FN: nothing maps these blocks any more; told in turns, and not of those that a cut finds untold */
	void (*unmapped)(void *ctx, pblk_t blk, uint64_t nblks);
	/* LOOP_FN: these blocks were freed, and a checkpoint has passed that */
	void (*release)(void *ctx, const struct map_freed *freed);
	/* LOOP_FN: the map's outcome is unknown: nothing more may be committed */
	void (*latched)(void *ctx);
	void *ctx;
};

/* Waits for a checkpoint; embedded. */
struct checkpoint_waiter {
	STAILQ_ENTRY(checkpoint_waiter) link;
	void (*ready)(struct checkpoint_waiter *waiter, int err); /* LOOP_FN */
};

/* NULL: out of memory. */
struct checkpoint *checkpoint_new(const struct checkpoint_config *config);

/* Nothing is started any more and nothing is folded that is not being folded already; who waits is
 * told err, or will be.  The threads may go on. */
void checkpoint_stop(struct checkpoint *cp, int err) LOOP_FN;

/* The threads have ended. */
void checkpoint_free(struct checkpoint *cp);

/* A change with inlined data is in the map: the block is to be written later.  Where there is no
 * memory to remember it -ERR_NOMEM. */
int checkpoint_add_home(struct checkpoint *cp, pblk_t blk, uint8_t *data,
			void *owner) LOOP_FN MUST_CHECK;

/* Blocks that were freed by what has been applied. */
void checkpoint_freed(struct checkpoint *cp, const struct map_freed *freed) LOOP_FN;

/* Something was committed; changed: and is in the map.  urgent: somebody waits for room. */
void checkpoint_progress(struct checkpoint *cp, bool changed, bool urgent) LOOP_FN;

/* From the timer. */
void checkpoint_tick(struct checkpoint *cp) LOOP_FN;

/* Calls back when everything that is applied now has been folded; at once where it has. */
void checkpoint_wait(struct checkpoint *cp, struct checkpoint_waiter *waiter) LOOP_FN;

/* The last one failed, and until one succeeds nothing that was freed can be used again. */
bool checkpoint_fails(const struct checkpoint *cp) LOOP_FN;

/* Blocks that were freed and wait for a checkpoint. */
uint64_t checkpoint_freed_nblks(const struct checkpoint *cp) LOOP_FN;

/*
 * For who waits for space: starts one if blocks were freed, or for metadata if anything is staged,
 * whose place in the map is not known exactly before.  True if one is under way.
 */
bool checkpoint_want_space(struct checkpoint *cp, bool meta) LOOP_FN;

#endif
