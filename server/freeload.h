/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * freeload.h: brings the free space of the map into the allocator, so that the start of a store does not
 * take longer the more fragmented its free space is: the first ranges at once, the others by a
 * worker, piece by piece, while the store is served already.
 *
 *	freeload_new           freeload_start                         (a worker)
 *	 the first ones ------------> the next ones, from the same snapshot --.
 *	                                  ^                                   v
 *	                                  `------- into the allocator <-------'---> ended
 *
 * All of it is read from one snapshot, of the time before anything was allocated.  What is not loaded
 * yet is nobody's: it is in use by nothing, and nobody can allocate it.  So it overlaps neither with what
 * is allocated nor with what is freed meanwhile, and both go on as ever.
 *
 * Owns the snapshot.  The snapshot keeps pages of the map from being used again, so it is walked to
 * its end without a break once it is in the way of folds.
 */
#ifndef SERVER_FREELOAD_H
#define SERVER_FREELOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/alloc.h"
#include "server/map.h"
#include "server/worker.h"

#define FREELOAD_FIRST 4096u /* ranges that are loaded at once */
#define FREELOAD_CHUNK 1024u /* and then at a time, so that the loop is not held up */

struct freeload;

/*
 * Loads the first ranges.  All that was committed has been folded, and nothing is allocated yet.
 * -ERR_NOMEM, -ERR_MAP, -ERR_NODE.
 */
int freeload_new(struct map *map, struct alloc *alloc, struct freeload **out) MUST_CHECK;

/* Loads the others; progress(ctx), LOOP_FN, is called after each piece and at the end. */
void freeload_start(struct freeload *fl, struct worker_pool *pool, void (*progress)(void *ctx),
		    void *ctx) LOOP_FN;

/* There may be more free space than the allocator knows. */
bool freeload_is_busy(const struct freeload *fl) LOOP_FN;

/* So many blocks more. */
uint64_t freeload_left_nblks(const struct freeload *fl) LOOP_FN;

/* It ends with the piece that is under way. */
void freeload_stop(struct freeload *fl) LOOP_FN;

/* The threads have ended, and what they posted has run.  NULL is allowed. */
void freeload_free(struct freeload *fl);

#endif
