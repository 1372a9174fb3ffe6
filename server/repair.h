/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * repair.h: mends a map offline, without guessing.  What the objects' own values and the nodes below
 * them say is believed, and is all that is believed: counts, free space, the reap queue, child, ttl,
 * sums and counters are made what these say.  Names, objects' own values, leaves and data are never
 * touched.
 *
 * Where some of what is believed cannot be read or contradicts itself, there may be references that
 * nobody sees.  Then nothing is given back: a count may be raised and a mapped block taken out of the
 * free space, but no count is lowered, no block becomes free, no node goes and the queue stays.
 *
 * "cowd --check --repair" and tests call it.  The map is that of LMDB, with nothing staged above it,
 * and nobody else uses it.  Memory: twice the blocks' part of the checker's, and its nodes.
 */
#ifndef SERVER_REPAIR_H
#define SERVER_REPAIR_H

#include <stdint.h>

#include "common/annot.h"
#include "server/check.h"
#include "server/dev.h"
#include "server/map.h"

struct repair_result {
	uint64_t mended; /* differences of which that was said */
	uint64_t left;	 /* those that were not touched */
};

/*
 * Reports each difference, with what becomes of it, and then mends, durably.  dev is where the
 * journal is, whose records are to be applied to the mended map later on; NULL: there is none.
 *
 * A crash, or an error, in the middle leaves a part of it done, at which a start is no less safe than
 * before, and from which another repair goes on.  Errors: -ERR_JOURNAL, nothing was changed; as of
 * check_map(); as of map_fold().
 */
int repair_map(struct map *map, struct dev *dev, check_report_fn report, void *ctx,
	       struct repair_result *result) MUST_CHECK;

#endif
