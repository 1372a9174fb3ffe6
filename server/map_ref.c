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
 * The first part of a range that has one count throughout, and its neighbours, as far as they may
 * become one with it: those that touch it, or others that do not.
 */
struct xref_part {
	uint64_t blk;
	uint64_t end;
	uint64_t count;
	bool stored; /* there is an entry that begins at blk */
	struct xref before;
	struct xref after;
};

/*
 * The entry that covers blk, where there is one (else its count is 1 and nblks 0), and how far into
 * [blk, end) its count holds.
 */
static int xref_at(struct kv_txn *kv, uint64_t blk, uint64_t end, struct xref *at,
		   uint64_t *part_end)
{
	struct xref next;
	int err = xref_find(kv, KV_LE, blk, at);

	if (err)
		return err;
	if (at->nblks > 0 && xref_end(at) > blk) {
		*part_end = xref_end(at) < end ? xref_end(at) : end;
		return 0;
	}
	*at = (struct xref){.blk = blk, .count = 1};
	err = xref_find(kv, KV_GT, blk, &next);
	if (err)
		return err;
	*part_end = next.nblks > 0 && next.blk < end ? next.blk : end;
	return 0;
}

/* No entry covers the part's first block: the one before it is "at", what follows limits it. */
static int xref_part_bare(struct kv_txn *kv, uint64_t end, const struct xref *at,
			  struct xref_part *part)
{
	int err = xref_find(kv, KV_GT, part->blk, &part->after);

	part->before = *at;
	part->count = 1;
	part->end = !err && part->after.nblks > 0 && part->after.blk < end ? part->after.blk : end;
	return err;
}

/* Entry "at" covers the part's first block: what of it lies outside of the part is split off. */
static int xref_part_covered(struct kv_txn *kv, uint64_t end, const struct xref *at,
			     struct xref_part *part)
{
	int err = 0;

	part->count = at->count;
	part->end = xref_end(at) < end ? xref_end(at) : end;
	part->stored = at->blk == part->blk;
	if (part->end < xref_end(at)) {
		part->after = (struct xref){part->end, xref_end(at) - part->end, at->count};
		xref_put(kv, part->after.blk, part->after.nblks, at->count);
	} else {
		err = xref_find(kv, KV_GE, part->end, &part->after);
	}
	if (err)
		return err;
	if (part->stored)
		return xref_find(kv, KV_LT, part->blk, &part->before);
	part->before = (struct xref){at->blk, part->blk - at->blk, at->count};
	xref_put(kv, at->blk, part->before.nblks, at->count);
	return 0;
}

/* The first part of [blk, end), to be given another count, or, where that is 1, to be freed. */
static int xref_cut(struct kv_txn *kv, uint64_t blk, uint64_t end, struct xref_part *part)
{
	struct xref at;
	int err = xref_find(kv, KV_LE, blk, &at);

	*part = (struct xref_part){.blk = blk};
	if (!err && at.nblks > 0 && xref_end(&at) > blk)
		err = xref_part_covered(kv, end, &at, part);
	else if (!err)
		err = xref_part_bare(kv, end, &at, part);
	return err ? err : kv_error(kv);
}

/*
 * Gives the part a new count.  It becomes one with its neighbours where the counts are equal.  As in
 * map_free.c, puts come before deletes.
 */
static int xref_set(struct kv_txn *kv, const struct xref_part *part, uint64_t count)
{
	const struct xref *before = &part->before;
	const struct xref *after = &part->after;
	uint64_t start = part->blk;
	uint64_t end = part->end;

	if (count > 1) {
		if (after->nblks > 0 && after->blk == end && after->count == count)
			end = xref_end(after);
		if (before->nblks > 0 && xref_end(before) == start && before->count == count)
			start = before->blk;
		xref_put(kv, start, end - start, count);
	}
	if (part->stored && (count < 2 || start < part->blk))
		map_num_del(kv, KV_XREF, part->blk);
	if (end > part->end)
		map_num_del(kv, KV_XREF, after->blk);
	return kv_error(kv);
}

int map_xref_inc(struct kv_txn *kv, uint64_t blk, uint64_t nblks)
{
	uint64_t end = blk + nblks;

	while (blk < end) {
		struct xref_part part;
		int err = xref_cut(kv, blk, end, &part);

		if (!err)
			err = xref_set(kv, &part, part.count + 1);
		if (err)
			return err;
		blk = part.end;
	}
	return 0;
}

int map_xref_get(struct kv_txn *kv, uint64_t blk, uint64_t nblks, uint64_t *same, uint64_t *count)
{
	struct xref xref;
	uint64_t end;
	int err = xref_at(kv, blk, blk + nblks, &xref, &end);

	if (err)
		return err;
	*same = end - blk;
	*count = xref.count;
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

/* No leaf maps these blocks any more. */
static int xref_release(struct map_txn *txn, uint64_t blk, uint64_t nblks)
{
	int err = map_free_add(txn->kv, blk, nblks);

	if (!err)
		err = freed_add(&txn->freed, blk, nblks);
	if (!err)
		map_txn_state(txn)->free_nblks += nblks;
	return err;
}

int map_xref_dec(struct map_txn *txn, uint64_t blk, uint64_t nblks)
{
	struct kv_txn *kv = txn->kv;
	uint64_t end = blk + nblks;

	while (blk < end) {
		struct xref_part part;
		int err = xref_cut(kv, blk, end, &part);

		if (err)
			return err;
		if (part.count > 1)
			err = xref_set(kv, &part, part.count - 1);
		else
			err = xref_release(txn, blk, part.end - blk);
		if (err)
			return err;
		blk = part.end;
	}
	return 0;
}
