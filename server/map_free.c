/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The free table: ranges of physical blocks that no leaf maps, apart from each other and never
 * adjacent.
 *
 * What replaces an entry is put before the entry is deleted: each time a table becomes empty LMDB
 * loses its page until the next commit (kv.h), and a new store has one range that every write cuts.
 *
 * A transaction notes what it takes and what it frees, and changes the table when it ends, or asks for
 * room: then neighbours have become one range, and the look-ups go up through the table.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/map_priv.h"

#define NOTES_CAP_FIRST 16

struct free_range {
	uint64_t blk;
	uint64_t nblks;
};

static int free_range_of(struct kv_buf val, struct free_range *range)
{
	range->nblks = le64_get(((const struct disk_free *)val.data)->nblks);
	if (range->nblks == 0 || range->nblks > UINT64_MAX - range->blk)
		return map_num_bad(KV_FREE, range->blk, "number of blocks");
	return 0;
}

/* The range whose start stands in relation "rel" to blk; where there is none, nblks is 0. */
static int free_find(struct kv_txn *kv, enum kv_rel rel, uint64_t blk, struct free_range *range)
{
	struct kv_buf val;
	int err = map_num_find(kv, KV_FREE, rel, blk, sizeof(struct disk_free), &range->blk, &val);

	if (err) {
		range->nblks = 0;
		return err == -ERR_NOENT ? 0 : err;
	}
	return free_range_of(val, range);
}

/* old: a range that was found to start there, or NULL: none does. */
static void free_put(struct kv_txn *kv, uint64_t blk, uint64_t nblks, const struct free_range *old)
{
	struct disk_free val = {0};

	if (nblks == 0)
		return;
	le64_put(val.nblks, nblks);
	map_num_replace(kv, KV_FREE, blk, old ? sizeof(val) : 0, &val, sizeof(val));
}

static void free_del(struct kv_txn *kv, const struct free_range *range)
{
	map_num_replace(kv, KV_FREE, range->blk, sizeof(struct disk_free), NULL, 0);
}

/* The range behind one block that is not free; all that is asked of it is whether it touches that. */
static int free_touching(struct kv_txn *kv, uint64_t blk, struct free_range *range)
{
	struct kv_buf val;
	int err = map_num_get(kv, KV_FREE, blk, sizeof(struct disk_free), &val);

	*range = (struct free_range){.blk = blk};
	if (err)
		return err == -ERR_NOENT ? 0 : err;
	return free_range_of(val, range);
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
	/* no other range begins there: none overlaps another */
	free_put(kv, blk + nblks, range.blk + range.nblks - (blk + nblks), NULL);
	free_put(kv, range.blk, blk - range.blk, &range);
	if (range.blk == blk)
		free_del(kv, &range);
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
		err =
		    nblks == 1 ? free_touching(kv, end, &after) : free_find(kv, KV_GT, blk, &after);
	if (err)
		return err;
	if ((before.nblks > 0 && before.blk + before.nblks > blk) ||
	    (after.nblks > 0 && after.blk < end))
		return free_mismatch("freed blocks are free already", blk, nblks);
	if (after.nblks > 0 && after.blk == end)
		end += after.nblks;
	if (before.nblks > 0 && before.blk + before.nblks == blk)
		start = before.blk;
	free_put(kv, start, end - start, start < blk ? &before : NULL);
	if (end > blk + nblks)
		free_del(kv, &after);
	return kv_error(kv);
}

/* ---- what a transaction takes and frees ------------------------------------------------------ */

int map_space_note(struct map_txn *txn, struct map_run run, bool freed)
{
	struct map_notes *list = &txn->notes;
	struct map_note *last = list->n > 0 ? &list->notes[list->n - 1] : NULL;

	if (last && last->freed == freed && last->run.at + last->run.n == run.at) {
		last->run.n += run.n;
		return 0;
	}
	if (list->n == list->cap) {
		size_t cap = list->cap > 0 ? 2 * list->cap : NOTES_CAP_FIRST;
		struct map_note *notes = reallocarray(list->notes, cap, sizeof(*notes));

		if (!notes)
			return -ERR_NOMEM;
		list->notes = notes;
		list->cap = cap;
	}
	list->notes[list->n] = (struct map_note){.run = run, .nr = list->n, .freed = freed};
	list->n++;
	return 0;
}

static int note_cmp_place(const void *a, const void *b)
{
	const struct map_note *x = a;
	const struct map_note *y = b;

	return x->run.at < y->run.at ? -1 : x->run.at > y->run.at;
}

static int note_cmp_time(const void *a, const void *b)
{
	const struct map_note *x = a;
	const struct map_note *y = b;

	return x->nr < y->nr ? -1 : x->nr > y->nr;
}

/*
 * Puts the notes in the order of their places, neighbours joined, where none has a block in common with
 * another: then it does not matter which was first.  Else their order stays.
 */
static void notes_sort(struct map_notes *list)
{
	struct map_note *notes = list->notes;
	size_t n = 0;

	qsort(notes, list->n, sizeof(notes[0]), note_cmp_place);
	for (size_t i = 1; i < list->n; i++)
		if (notes[i].run.at - notes[i - 1].run.at < notes[i - 1].run.n) {
			qsort(notes, list->n, sizeof(notes[0]), note_cmp_time);
			return;
		}
	for (size_t i = 1; i < list->n; i++)
		if (notes[i].freed == notes[n].freed &&
		    notes[i].run.at == notes[n].run.at + notes[n].run.n)
			notes[n].run.n += notes[i].run.n;
		else
			notes[++n] = notes[i];
	list->n = n + 1;
}

/* For who is told of it when the transaction has ended. */
static int freed_add(struct map_freed *freed, const struct map_run *run)
{
	if (freed->n == freed->cap) {
		size_t cap = freed->cap > 0 ? 2 * freed->cap : NOTES_CAP_FIRST;
		struct map_range *ranges = reallocarray(freed->ranges, cap, sizeof(*ranges));

		if (!ranges)
			return -ERR_NOMEM;
		freed->ranges = ranges;
		freed->cap = cap;
	}
	freed->ranges[freed->n++] = (struct map_range){.blk = pblk(run->at), .nblks = run->n};
	return 0;
}

int map_space_settle(struct map_txn *txn)
{
	struct map_notes *list = &txn->notes;
	int err = kv_error(txn->kv);

	if (err || list->n == 0)
		return err;
	notes_sort(list);
	for (size_t i = 0; i < list->n && !err; i++) {
		const struct map_run *run = &list->notes[i].run;

		if (list->notes[i].freed) {
			err = map_free_add(txn->kv, run->at, run->n);
			if (!err)
				err = freed_add(&txn->freed, run);
		} else {
			err = map_free_take(txn->kv, run->at, run->n);
		}
	}
	list->n = 0;
	return err ? kv_latch(txn->kv, err) : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

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
