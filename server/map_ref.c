/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reference counts, of nodes (nref) and of physical blocks (xref).  A count of 1 is not stored, so
 * that what was never cloned costs nothing.
 *
 * xref holds ranges with equal counts: they are split where a count changes in the middle, and
 * merged again where neighbours become equal.
 */
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

#define FREED_CAP_FIRST 16

/* ---- nodes ----------------------------------------------------------------------------------- */

int map_nref_get(struct kv_txn *kv, uint64_t node, uint64_t *count)
{
	struct kv_buf val;
	uint64_t n = 1;
	int err = map_num_get(kv, KV_NREF, node, sizeof(struct disk_nref), &val);

	if (!err) {
		n = le64_get(((const struct disk_nref *)val.data)->count);
		if (n < 2)
			err = map_num_bad(KV_NREF, node, "count");
	}
	if (err && err != -ERR_NOENT)
		return err;
	*count = n;
	return 0;
}

static void nref_set(struct kv_txn *kv, uint64_t node, uint64_t count)
{
	struct disk_nref val = {0};

	le64_put(val.count, count);
	if (count > 1)
		map_num_put(kv, KV_NREF, node, &val, sizeof(val));
	else
		map_num_del(kv, KV_NREF, node);
}

int map_nref_inc(struct kv_txn *kv, uint64_t node)
{
	uint64_t count;
	int err = map_nref_get(kv, node, &count);

	if (err)
		return err;
	nref_set(kv, node, count + 1);
	return kv_error(kv);
}

int map_nref_dec(struct kv_txn *kv, uint64_t node, bool *last)
{
	uint64_t count;
	int err = map_nref_get(kv, node, &count);

	if (err)
		return err;
	*last = count == 1;
	if (count > 1)
		nref_set(kv, node, count - 1);
	return kv_error(kv);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

struct xref {
	uint64_t blk;
	uint64_t nblks; /* 0: no such entry */
	uint64_t count;
};

static uint64_t xref_end(const struct xref *xref)
{
	return xref->blk + xref->nblks;
}

/* The entry whose start stands in relation "rel" to blk. */
static int xref_find(struct kv_txn *kv, enum kv_rel rel, uint64_t blk, struct xref *xref)
{
	const struct disk_xref *disk;
	struct kv_buf val;
	int err = map_num_find(kv, KV_XREF, rel, blk, sizeof(*disk), &xref->blk, &val);

	if (err) {
		xref->nblks = 0;
		return err == -ERR_NOENT ? 0 : err;
	}
	disk = val.data;
	xref->nblks = le64_get(disk->nblks);
	xref->count = le64_get(disk->count);
	if (xref->nblks == 0 || xref->nblks > UINT64_MAX - xref->blk || xref->count < 2)
		return map_num_bad(KV_XREF, xref->blk, "range or count");
	return 0;
}

static void xref_put(struct kv_txn *kv, uint64_t blk, uint64_t nblks, uint64_t count)
{
	struct disk_xref val = {0};

	le64_put(val.nblks, nblks);
	le64_put(val.count, count);
	map_num_put(kv, KV_XREF, blk, &val, sizeof(val));
}

/*
 * Gives a range a new count; it is an entry of its own, or none covers any of it.  It becomes one
 * with its neighbours where the counts are equal.  As in map_free.c, puts come before deletes.
 */
static int xref_set(struct kv_txn *kv, uint64_t blk, uint64_t nblks, uint64_t old, uint64_t count)
{
	uint64_t start = blk;
	uint64_t end = blk + nblks;
	struct xref before;
	struct xref after;
	int err = xref_find(kv, KV_LT, blk, &before);

	if (!err)
		err = xref_find(kv, KV_GE, end, &after);
	if (err)
		return err;
	if (count > 1) {
		if (after.nblks > 0 && after.blk == end && after.count == count)
			end = xref_end(&after);
		if (before.nblks > 0 && xref_end(&before) == blk && before.count == count)
			start = before.blk;
		xref_put(kv, start, end - start, count);
	}
	if (old > 1 && (count < 2 || start < blk))
		map_num_del(kv, KV_XREF, blk);
	if (end > blk + nblks)
		map_num_del(kv, KV_XREF, after.blk);
	return kv_error(kv);
}

/*
 * The first part of [blk, end) that has one count throughout: its end and count.  Where an entry
 * covers it, the entry is split, so that the part is one of its own.
 */
static int xref_cut(struct kv_txn *kv, uint64_t blk, uint64_t end, uint64_t *cut_end,
		    uint64_t *count)
{
	struct xref xref;
	int err = xref_find(kv, KV_LE, blk, &xref);

	if (err)
		return err;
	if (xref.nblks > 0 && xref_end(&xref) > blk) {
		*cut_end = xref_end(&xref) < end ? xref_end(&xref) : end;
		*count = xref.count;
		if (*cut_end < xref_end(&xref))
			xref_put(kv, *cut_end, xref_end(&xref) - *cut_end, xref.count);
		if (xref.blk < blk)
			xref_put(kv, xref.blk, blk - xref.blk, xref.count);
		xref_put(kv, blk, *cut_end - blk, xref.count);
		return kv_error(kv);
	}
	err = xref_find(kv, KV_GT, blk, &xref);
	if (err)
		return err;
	*cut_end = xref.nblks > 0 && xref.blk < end ? xref.blk : end;
	*count = 1;
	return 0;
}

int map_xref_inc(struct kv_txn *kv, uint64_t blk, uint64_t nblks)
{
	uint64_t end = blk + nblks;

	while (blk < end) {
		uint64_t cut_end;
		uint64_t count;
		int err = xref_cut(kv, blk, end, &cut_end, &count);

		if (!err)
			err = xref_set(kv, blk, cut_end - blk, count, count + 1);
		if (err)
			return err;
		blk = cut_end;
	}
	return 0;
}

static int freed_add(struct map_freed *freed, uint64_t blk, uint64_t nblks)
{
	struct map_range *last = freed->n > 0 ? &freed->ranges[freed->n - 1] : NULL;

	if (last && last->blk.n + last->nblks == blk) {
		last->nblks += nblks;
		return 0;
	}
	if (freed->n == freed->cap) {
		size_t cap = freed->cap > 0 ? 2 * freed->cap : FREED_CAP_FIRST;
		struct map_range *ranges = reallocarray(freed->ranges, cap, sizeof(*freed->ranges));

		if (!ranges)
			return -ERR_NOMEM;
		freed->ranges = ranges;
		freed->cap = cap;
	}
	freed->ranges[freed->n++] = (struct map_range){.blk = pblk(blk), .nblks = nblks};
	return 0;
}

int map_xref_dec(struct kv_txn *kv, uint64_t blk, uint64_t nblks, struct map_freed *freed)
{
	uint64_t end = blk + nblks;

	while (blk < end) {
		uint64_t cut_end;
		uint64_t count;
		int err = xref_cut(kv, blk, end, &cut_end, &count);

		if (err)
			return err;
		if (count > 1) {
			err = xref_set(kv, blk, cut_end - blk, count, count - 1);
		} else {
			err = map_free_add(kv, blk, cut_end - blk);
			if (!err)
				err = freed_add(freed, blk, cut_end - blk);
		}
		if (err)
			return err;
		blk = cut_end;
	}
	return 0;
}
