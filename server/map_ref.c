/* SPDX-License-Identifier: BSD-2-Clause */
/* References to nodes and to physical blocks, and what happens when the last one goes. */
#include <stdlib.h>

#include "common/err.h"
#include "server/map_priv.h"

/* ---- nodes ----------------------------------------------------------------------------------- */

int map_nref_get(struct kv_txn *kv, uint64_t node, uint64_t *count)
{
	struct map_counts counts = map_counts_of(kv, KV_NREF);
	uint64_t same;

	return map_counts_get(&counts, node, 1, &same, count);
}

int map_nref_inc(struct map_txn *txn, uint64_t node)
{
	struct map_counts counts = map_counts_of(txn->kv, KV_NREF);
	int err = map_counts_inc(&counts, node, 1);

	txn->nref_turn++;
	return err ? err : map_counts_store(&counts);
}

int map_nref_dec(struct kv_txn *kv, uint64_t node, bool *last)
{
	struct map_counts counts = map_counts_of(kv, KV_NREF);
	uint64_t count;
	uint64_t same;
	int err = map_counts_get(&counts, node, 1, &same, &count);

	if (err)
		return err;
	*last = count == 1;
	if (!*last)
		map_counts_set(&counts, node, 1, count - 1);
	return map_counts_store(&counts);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int run_cmp(const void *a, const void *b)
{
	const struct map_run *x = a;
	const struct map_run *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

int map_refs_inc(struct kv_txn *kv, enum kv_table table, struct map_run *runs, size_t nruns)
{
	struct map_counts counts = map_counts_of(kv, table);
	int err = 0;

	qsort(runs, nruns, sizeof(runs[0]), run_cmp);
	for (size_t i = 0; i < nruns && !err; i++)
		err = map_counts_inc(&counts, runs[i].at, runs[i].n);
	return err ? err : map_counts_store(&counts);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

int map_xref_get(struct kv_txn *kv, uint64_t blk, uint64_t nblks, uint64_t *same, uint64_t *count)
{
	struct map_counts counts = map_counts_of(kv, KV_XREF);

	return map_counts_get(&counts, blk, nblks, same, count);
}

/* No leaf maps these blocks any more. */
static int xref_release(struct map_txn *txn, const struct map_run *run)
{
	if (run->n == 0)
		return 0;
	map_txn_state(txn)->free_nblks += run->n;
	return map_space_note(txn, *run, true);
}

int map_xref_dec(struct map_txn *txn, uint64_t blk, uint64_t nblks)
{
	struct map_counts counts = map_counts_of(txn->kv, KV_XREF);
	struct map_run last = {.at = blk}; /* without a leaf, and not released yet */
	uint64_t same;
	int err = 0;

	for (; nblks > 0 && !err; blk += same, nblks -= same) {
		uint64_t count;

		err = map_counts_get(&counts, blk, nblks, &same, &count);
		if (err)
			break;
		if (count == 1) {
			last.n += same;
			continue;
		}
		map_counts_set(&counts, blk, same, count - 1);
		err = xref_release(txn, &last);
		last = (struct map_run){.at = blk + same};
	}
	if (!err)
		err = xref_release(txn, &last);
	return err ? err : map_counts_store(&counts);
}
