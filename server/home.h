/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * home.h: blocks whose data is in the journal only: inlined changes have put it there, and the place
 * that the map names for it has not been written yet.  A checkpoint brings them home before the map's
 * state that names them becomes durable.
 *
 * A set of blocks by their physical number.  It refers to their data and owns nothing of it; "owner"
 * is what its user wants to be given back.  Pure; one thread at a time.
 */
#ifndef SERVER_HOME_H
#define SERVER_HOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/annot.h"
#include "server/blk.h"

struct home_blk {
	uint64_t blk; /* physical */
	uint8_t *data;
	void *owner;
	UT_hash_handle hh; /* in the order of blk after home_sort() */
};

/* Zeroed to begin with. */
struct home {
	struct home_blk *blks;
};

/* The block is not in the set.  -ERR_NOMEM. */
int home_add(struct home *home, pblk_t blk, uint8_t *data, void *owner) MUST_CHECK;

/* NULL: it is not in the set. */
const struct home_blk *home_find(const struct home *home, pblk_t blk);

/* Takes every block of a range out and calls fn for it: nothing refers to it any more. */
void home_drop(struct home *home, pblk_t blk, uint64_t nblks,
	       void (*fn)(void *ctx, const struct home_blk *hb), void *ctx);

size_t home_count(const struct home *home);

/* Brings the blocks into the order of their places. */
void home_sort(struct home *home);

/*
 * After home_sort(): the run of consecutive places that begins with blk, at most max, into iov;
 * returns its length.  *next: the block behind it, or NULL.
 */
int home_run(struct home_blk *blk, struct iovec *iov, int max, struct home_blk **next);

/* Takes out at most max blocks, in their order, and calls fn for each; true: there are more. */
bool home_clear_some(struct home *home, size_t max,
		     void (*fn)(void *ctx, const struct home_blk *hb), void *ctx);

/* Empties the set. */
void home_clear(struct home *home, void (*fn)(void *ctx, const struct home_blk *hb), void *ctx);

#endif
