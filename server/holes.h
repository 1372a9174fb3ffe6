/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holes.h: blocks that an epoch makes holes, as ascending ranges that do not touch.
 *
 * Belongs to whoever it is embedded in; no thread rule of its own.
 */
#ifndef SERVER_HOLES_H
#define SERVER_HOLES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/change.h"

struct holes {
	struct change_hole *ranges;
	uint32_t n;
	uint32_t cap;
};

/* Makes sure that the next holes_add() has room.  -ERR_NOMEM. */
int holes_reserve(struct holes *holes) MUST_CHECK;

/* Adds blocks; what touches them is joined.  Room was made for it; of 0 blocks nothing is added. */
void holes_add(struct holes *holes, lblk_t blk, uint64_t nblks);

/* Is blk in it?  *until, which lies behind blk, is lowered to the block up to which that holds. */
bool holes_at(const struct holes *holes, lblk_t blk, uint64_t *until);

/* Frees it: it is empty, and may be used again. */
void holes_fini(struct holes *holes);

#endif
