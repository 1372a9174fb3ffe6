/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map is mended before the journal is applied to it: a record that is applied where a count is too low
 * changes in place what others share.
 */
#include "server/offline.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/uio.h>

#include "common/err.h"
#include "server/check.h"
#include "server/recover.h"
#include "server/repair.h"

static void print_difference(void *ctx, const char *text)
{
	(void)ctx;
	printf("%s\n", text);
}

static int read_recovered(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	return recover_read(ctx, blk, nblks, buf);
}

static int read_device(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct iovec iov = {buf, nblks * BLK_BYTES};

	return dev_read(ctx, blk, &iov, 1);
}

/* ---- checking -------------------------------------------------------------------------------- */

/* Prints the differences and a summary; their number, or a negative error. */
static int check_all(struct map *map, check_read_fn read, void *ctx, uint64_t records)
{
	struct check_totals totals = {0};
	struct check_totals data = {0};
	int differences = check_map(map, print_difference, ctx, &totals);
	int more = 0;

	if (differences >= 0)
		more = check_data(map, read, print_difference, ctx, &data);
	if (differences < 0 || more < 0)
		return differences < 0 ? differences : more;
	differences += more < INT_MAX - differences ? more : INT_MAX - differences;
	printf("%" PRIu64 " records in the journal\n", records);
	printf("%" PRIu64 " objects, %" PRIu64 " nodes (%" PRIu64 " shared), %" PRIu64
	       " blocks mapped (%" PRIu64 " shared), %" PRIu64 " free, %" PRIu64
	       " verified: %d difference%s\n",
	       totals.objects, totals.nodes, totals.shared_nodes, totals.mapped_nblks,
	       totals.shared_nblks, totals.free_nblks, data.verified_nblks, differences,
	       differences == 1 ? "" : "s");
	return differences;
}

/* What is found where the journal cannot be read to its end. */
static int journal_is_damaged(void)
{
	printf(
	    "the journal is damaged: what was committed after the damaged record cannot be had\n");
	return 1;
}

int offline_check(struct store *store)
{
	struct recover_preview *preview;
	struct recover_result recovered;
	int found = recover_preview(store->map, store->dev, &recovered, &preview);

	if (found == -ERR_JOURNAL)
		return journal_is_damaged();
	if (found < 0)
		return found;
	found = check_all(store->map, read_recovered, preview, recovered.records);
	recover_preview_free(preview);
	return found;
}

/* ---- mending --------------------------------------------------------------------------------- */

static int repair_once(struct store *store, struct repair_result *result)
{
	int err = repair_map(store->map, store->dev, print_difference, NULL, result);

	if (!err && result->mended + result->left > 0)
		printf("%" PRIu64 " mended, %" PRIu64 " not touched\n", result->mended,
		       result->left);
	return err;
}

int offline_repair(struct store *store)
{
	struct recover_result recovered;
	struct repair_result result;
	int err = map_verify_pages(store->map);

	if (!err)
		err = repair_once(store, &result);
	if (!err && result.left > 0)
		return offline_check(store);
	if (!err)
		err = recover_run(store->map, store->dev, &recovered);
	if (!err && recovered.records > 0)
		printf("%" PRIu64 " record%s of the journal applied\n", recovered.records,
		       recovered.records == 1 ? "" : "s");
	if (!err)
		err = repair_once(store, &result);
	if (!err)
		return check_all(store->map, read_device, store->dev, 0);
	return err == -ERR_JOURNAL ? journal_is_damaged() : err;
}
