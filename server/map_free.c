/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The free table: ranges of physical blocks that no leaf maps, apart from each other and never
 * adjacent.
 *
 * What replaces an entry is put before the entry is deleted: each time a table becomes empty LMDB
 * loses its page until the next commit (kv.h), and a new store has one range that every write cuts.
 */
#include <inttypes.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/map_priv.h"

struct free_range {
	uint64_t blk;
	uint64_t nblks;
};

/* The range whose start stands in relation "rel" to blk; where there is none, nblks is 0. */
static int free_find(struct kv_txn *kv, enum kv_rel rel, uint64_t blk, struct free_range *range)
{
	struct kv_buf val;
	int err = map_num_find(kv, KV_FREE, rel, blk, sizeof(struct disk_free), &range->blk, &val);

	if (err) {
		range->nblks = 0;
		return err == -ERR_NOENT ? 0 : err;
	}
	range->nblks = le64_get(((const struct disk_free *)val.data)->nblks);
	if (range->nblks == 0 || range->nblks > UINT64_MAX - range->blk)
		return map_num_bad(KV_FREE, range->blk, "number of blocks");
	return 0;
}

static void free_put(struct kv_txn *kv, uint64_t blk, uint64_t nblks)
{
	struct disk_free val = {0};

	if (nblks == 0)
		return;
	le64_put(val.nblks, nblks);
	map_num_put(kv, KV_FREE, blk, &val, sizeof(val));
}

static int free_mismatch(const char *what, uint64_t blk, uint64_t nblks)
{
	log_event(LOG_ERROR, "map-free-space", "problem=\"%s\" block=%" PRIu64 " nblks=%" PRIu64,
		  what, blk, nblks);
	return -ERR_NODE;
}

int map_free_take(struct kv_txn *kv, uint64_t blk, uint64_t nblks)
{
	struct free_range range;
	int err = free_find(kv, KV_LE, blk, &range);

	if (err)
		return err;
	if (range.nblks == 0 || range.blk + range.nblks <= blk ||
	    range.blk + range.nblks - blk < nblks)
		return free_mismatch("allocated blocks are not free", blk, nblks);
	free_put(kv, blk + nblks, range.blk + range.nblks - (blk + nblks));
	free_put(kv, range.blk, blk - range.blk);
	if (range.blk == blk)
		map_num_del(kv, KV_FREE, blk);
	return kv_error(kv);
}

int map_free_add(struct kv_txn *kv, uint64_t blk, uint64_t nblks)
{
	struct free_range before;
	struct free_range after;
	uint64_t start = blk;
	uint64_t end = blk + nblks;
	int err = free_find(kv, KV_LE, blk, &before);

	if (!err)
		err = free_find(kv, KV_GT, blk, &after);
	if (err)
		return err;
	if ((before.nblks > 0 && before.blk + before.nblks > blk) ||
	    (after.nblks > 0 && after.blk < end))
		return free_mismatch("freed blocks are free already", blk, nblks);
	if (after.nblks > 0 && after.blk == end)
		end += after.nblks;
	if (before.nblks > 0 && before.blk + before.nblks == blk)
		start = before.blk;
	free_put(kv, start, end - start);
	if (end > blk + nblks)
		map_num_del(kv, KV_FREE, after.blk);
	return kv_error(kv);
}

int map_each_free(struct map_view *view, pblk_t from,
		  int (*fn)(void *ctx, pblk_t blk, uint64_t nblks), void *ctx)
{
	struct free_range range;
	int err = free_find(view->kv, KV_GE, from.n, &range);

	while (!err && range.nblks > 0) {
		err = fn(ctx, pblk(range.blk), range.nblks);
		if (!err)
			err = free_find(view->kv, KV_GT, range.blk, &range);
	}
	return err < 0 ? err : 0;
}
