/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.h: is the map what its invariants say?  The checker believes nothing that can be computed:
 * it walks from the names and the reap queue through all trees, counts, and compares with what the
 * tables and the counters say.  Tests and "cowd --check" call it.  It changes nothing.
 *
 * It holds one view for as long as it takes: not for a map that is being written at a high rate.
 * Memory: 4 bytes per block of the device that is mapped, and some 80 per node.
 */
#ifndef SERVER_CHECK_H
#define SERVER_CHECK_H

#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/map.h"

struct check_totals {
	uint64_t objects; /* versions not included */
	uint64_t versions;
	uint64_t nodes;
	uint64_t shared_nodes; /* that are referred to more than once */
	uint64_t mapped_nblks; /* of the device */
	uint64_t shared_nblks; /* of these, reached by several objects, versions or queued trees */
	uint64_t free_nblks;
	uint64_t reap_entries;	 /* trees still to be released: no fault */
	uint64_t verified_nblks; /* by check_data() */
};

/* Gets a sentence about each difference, without a full stop or newline. */
typedef void (*check_report_fn)(void *ctx, const char *text);

/* Reads blocks of the data device; 0 or a negative error. */
typedef int (*check_read_fn)(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf);

/*
 * Compares names, objects, versions, what leads to them, nodes, mapped blocks, both kinds of
 * counts, free space, the counters, and the CRC of every value.  Returns the number of differences,
 * or a negative error (-ERR_MAP, -ERR_NOMEM) where it could not be finished.  The totals are valid
 * unless it is negative.
 */
int check_map(struct map *map, check_report_fn report, void *ctx,
	      struct check_totals *totals) MUST_CHECK;

/* The same for a view that the caller holds.  -ERR_LATE: it is a snapshot, and late. */
int check_view(struct map_view *view, check_report_fn report, void *ctx,
	       struct check_totals *totals) MUST_CHECK;

/*
 * Reads the blocks that each leaf maps and compares their checksums.  Only totals->verified_nblks
 * is set.  Returns as check_map(); a block that cannot be read is a difference.
 */
int check_data(struct map *map, check_read_fn read, check_report_fn report, void *ctx,
	       struct check_totals *totals) MUST_CHECK;

#endif
