/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of 128 blocks is a leaf: runs, ascending and apart.  A leaf of one run has it in
 * itself.  The leaves of an object are a tree, those of all objects a list by last use.
 *
 *	leaf_add --> in an object's tree --> leaf_free
 *	                  |
 *	                  | its tree is disowned, in one step
 *	                  v
 *	             among the disowned --> xlate_bury, two whenever something is asked or learned
 *
 * What is known of a million extents is 16,000 leaves, 10 ms of the loop: so much is never freed at once.
 */
#include "server/xlate.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/thread.h"

#define LEAF_SHIFT 7
#define LEAF_BLKS  (1u << LEAF_SHIFT)
#define HEAP_BYTES 16u	/* what an allocation costs beside its own bytes */
#define FREE_MAX   512u /* leaves that are freed at once: 0.3 ms */
#define BURY_TURN  2u	/* of the disowned with each block asked for, and each leaf that is set */

/* Blocks first to last of the leaf; at: physical block of the first, 0 for a hole. */
struct xlate_run {
	uint64_t at : 48;
	uint64_t first : 8;
	uint64_t last : 8;
};

struct xlate_leaf {
	RB_ENTRY(xlate_leaf) tree;
	TAILQ_ENTRY(xlate_leaf) lru_link;
	union {
		struct xlate_object *xo;
		struct xlate_leaf *next; /* of the disowned, of which nobody else's tree knows */
	};
	uint64_t idx; /* of the leaf in the object */
	union {
		struct xlate_run one; /* cap 1 */
		struct xlate_run *many;
	};
	uint16_t nruns; /* at least 1 */
	uint16_t cap;
};

static_assert(sizeof(struct xlate_run) == 8, "a run is one word");
static_assert(sizeof(struct xlate_leaf) + HEAP_BYTES <= 128, "a leaf of one extent is small");

struct xlate {
	TAILQ_HEAD(, xlate_leaf) lru; /* longest not used first; the disowned are among them */
	struct xlate_leaf *disowned;  /* roots of trees */
	size_t bytes;
	size_t budget;
};

static int xlate_compare(const struct xlate_leaf *a, const struct xlate_leaf *b)
{
	return a->idx < b->idx ? -1 : a->idx > b->idx;
}

RB_GENERATE_INTERNAL(xlate_leaves, xlate_leaf, tree, xlate_compare, static __attribute__((unused)))

struct xlate *xlate_new(size_t budget_bytes)
{
	struct xlate *xlate = calloc(1, sizeof(*xlate));

	if (!xlate)
		return NULL;
	xlate->budget = budget_bytes;
	TAILQ_INIT(&xlate->lru);
	return xlate;
}

size_t xlate_bytes(const struct xlate *xlate)
{
	return xlate->bytes;
}

void xlate_object_init(struct xlate_object *xo, struct xlate *xlate)
{
	*xo = (struct xlate_object){.xlate = xlate};
	RB_INIT(&xo->leaves);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static struct xlate_run *leaf_runs(struct xlate_leaf *leaf)
{
	return leaf->cap == 1 ? &leaf->one : leaf->many;
}

static size_t leaf_bytes(const struct xlate_leaf *leaf)
{
	size_t bytes = sizeof(*leaf) + HEAP_BYTES;

	return leaf->cap == 1 ? bytes : bytes + HEAP_BYTES + leaf->cap * sizeof(struct xlate_run);
}

/* It is in no tree any more. */
static void leaf_release(struct xlate *xlate, struct xlate_leaf *leaf)
{
	xlate->bytes -= leaf_bytes(leaf);
	TAILQ_REMOVE(&xlate->lru, leaf, lru_link);
	if (leaf->cap > 1)
		free(leaf->many);
	free(leaf);
}

static void leaf_free(struct xlate_leaf *leaf)
{
	struct xlate_object *xo = leaf->xo;

	if (xo->last == leaf)
		xo->last = NULL;
	RB_REMOVE(xlate_leaves, &xo->leaves, leaf);
	leaf_release(xo->xlate, leaf);
}

static void leaf_disown(struct xlate *xlate, struct xlate_leaf *root)
{
	if (!root)
		return;
	root->next = xlate->disowned;
	xlate->disowned = root;
}

/* Frees up to n of the disowned. */
static void xlate_bury(struct xlate *xlate, unsigned int n)
{
	struct xlate_leaf *leaf;

	for (; n > 0 && (leaf = xlate->disowned); n--) {
		xlate->disowned = leaf->next;
		leaf_disown(xlate, RB_LEFT(leaf, tree));
		leaf_disown(xlate, RB_RIGHT(leaf, tree));
		leaf_release(xlate, leaf);
	}
}

/* Forgets all of an object, however much that is, in one step. */
static void xlate_disown(struct xlate_object *xo)
{
	leaf_disown(xo->xlate, RB_ROOT(&xo->leaves));
	RB_INIT(&xo->leaves);
	xo->last = NULL;
}

void xlate_free(struct xlate *xlate)
{
	if (!xlate)
		return;
	xlate_bury(xlate, UINT_MAX);
	assert(TAILQ_EMPTY(&xlate->lru) && xlate->bytes == 0);
	free(xlate);
}

/* The object's leaf, as the one used last; NULL: there is none. */
static struct xlate_leaf *leaf_find(struct xlate_object *xo, uint64_t idx)
{
	struct xlate *xlate = xo->xlate;
	struct xlate_leaf key = {.idx = idx};
	struct xlate_leaf *leaf = xo->last;

	if (!leaf || leaf->idx != idx)
		leaf = RB_FIND(xlate_leaves, &xo->leaves, &key);
	if (!leaf)
		return NULL;
	xo->last = leaf;
	if (TAILQ_NEXT(leaf, lru_link)) {
		TAILQ_REMOVE(&xlate->lru, leaf, lru_link);
		TAILQ_INSERT_TAIL(&xlate->lru, leaf, lru_link);
	}
	return leaf;
}

/* A leaf that knows this one run; nothing is known where there is no memory. */
static void leaf_add(struct xlate_object *xo, uint64_t idx, struct xlate_run run)
{
	struct xlate_leaf *leaf = calloc(1, sizeof(*leaf));

	if (!leaf)
		return;
	leaf->xo = xo;
	leaf->idx = idx;
	leaf->one = run;
	leaf->nruns = 1;
	leaf->cap = 1;
	RB_INSERT(xlate_leaves, &xo->leaves, leaf);
	TAILQ_INSERT_TAIL(&xo->xlate->lru, leaf, lru_link);
	xo->last = leaf;
	xo->xlate->bytes += leaf_bytes(leaf);
}

/* Room for n runs, with those that it has; false: there is no memory. */
static bool leaf_make_room(struct xlate_leaf *leaf, uint32_t n)
{
	struct xlate *xlate = leaf->xo->xlate;
	struct xlate_run *bigger;
	struct xlate_run one = leaf->one;
	uint16_t cap = leaf->cap;

	while (cap < n)
		cap = (uint16_t)(cap * 2);
	if (cap == leaf->cap)
		return true;
	bigger = realloc(leaf->cap == 1 ? NULL : leaf->many, cap * sizeof(*bigger));
	if (!bigger)
		return false;
	if (leaf->cap == 1)
		bigger[0] = one;
	xlate->bytes -= leaf_bytes(leaf);
	leaf->many = bigger;
	leaf->cap = cap;
	xlate->bytes += leaf_bytes(leaf);
	return true;
}

/* Puts n runs in the place of those from lo to before hi; forgets the leaf where there is no memory. */
static void leaf_splice(struct xlate_leaf *leaf, uint32_t lo, uint32_t hi,
			const struct xlate_run *with, uint32_t n)
{
	struct xlate_run *runs;
	uint32_t behind = leaf->nruns - hi;

	if (lo + n + behind == 0 || !leaf_make_room(leaf, lo + n + behind)) {
		leaf_free(leaf);
		return;
	}
	runs = leaf_runs(leaf);
	if (lo + n != hi)
		memmove(runs + lo + n, runs + hi, behind * sizeof(*runs));
	memcpy(runs + lo, with, n * sizeof(*runs));
	leaf->nruns = (uint16_t)(lo + n + behind);
	assert(lo == 0 || lo == leaf->nruns || runs[lo - 1].last < runs[lo].first);
	assert(lo + n == 0 || behind == 0 || runs[lo + n - 1].last < runs[lo + n].first);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static struct xlate_run run_make(uint64_t first, uint64_t last, uint64_t at)
{
	/* the masks say no more than the widths of the fields */
	return (struct xlate_run){
	    .at = at & UINT64_C(0xffffffffffff), .first = first & 0xff, .last = last & 0xff};
}

/* The part of a run from "first" to "last". */
static struct xlate_run run_clip(struct xlate_run run, uint64_t first, uint64_t last)
{
	return run_make(first, last, run.at == 0 ? 0 : run.at + (first - run.first));
}

/* Appends a run, joining it to the one before where they are of one piece. */
static void run_append(struct xlate_run *runs, uint32_t *n, struct xlate_run run)
{
	struct xlate_run *prev = *n > 0 ? &runs[*n - 1] : NULL;

	if (prev && prev->last + 1u == run.first &&
	    (prev->at == 0 ? run.at == 0 : run.at == prev->at + (run.first - prev->first)))
		prev->last = run.last;
	else
		runs[(*n)++] = run;
}

/* The first run, from that one on, that ends at or behind a block of the leaf, or how many there are. */
static uint32_t leaf_search(struct xlate_leaf *leaf, uint32_t low, uint32_t blk)
{
	const struct xlate_run *runs = leaf_runs(leaf);
	uint32_t high = leaf->nruns;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (runs[mid].last < blk)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * What the leaf knows but for [first, last], where it knows "with", or nothing if that is NULL.  Of the
 * runs there, and those that touch it, what is before and behind is left.
 */
static void leaf_replace(struct xlate_leaf *leaf, uint32_t first, uint32_t last,
			 const struct xlate_run *with)
{
	const struct xlate_run *old = leaf_runs(leaf);
	struct xlate_run runs[3];
	uint32_t lo = leaf_search(leaf, 0, first > 0 ? first - 1 : 0);
	uint32_t hi = leaf_search(leaf, lo, last + 1);
	uint32_t n = 0;

	if (lo < leaf->nruns && old[lo].first < first)
		run_append(runs, &n,
			   old[lo].last < first ? old[lo]
						: run_clip(old[lo], old[lo].first, first - 1));
	if (with)
		run_append(runs, &n, *with);
	if (hi < leaf->nruns && old[hi].first <= last + 1) {
		run_append(runs, &n,
			   old[hi].first > last ? old[hi]
						: run_clip(old[hi], last + 1, old[hi].last));
		hi++;
	}
	leaf_splice(leaf, lo, hi, runs, n);
}

/* The run that holds a block of the leaf, or NULL. */
static const struct xlate_run *leaf_run(struct xlate_leaf *leaf, uint32_t blk)
{
	const struct xlate_run *runs = leaf_runs(leaf);
	uint32_t i = leaf_search(leaf, 0, blk);

	return i < leaf->nruns && runs[i].first <= blk ? &runs[i] : NULL;
}

enum xlate_kind xlate_find(struct xlate_object *xo, lblk_t blk, pblk_t *at)
{
	struct xlate_leaf *leaf;
	const struct xlate_run *run;
	uint32_t in_leaf = (uint32_t)(blk.n & (LEAF_BLKS - 1));

	ASSERT_LOOP();
	xlate_bury(xo->xlate, BURY_TURN);
	leaf = leaf_find(xo, blk.n >> LEAF_SHIFT);
	run = leaf ? leaf_run(leaf, in_leaf) : NULL;
	if (!run)
		return XLATE_UNKNOWN;
	if (run->at == 0)
		return XLATE_HOLE;
	*at = pblk(run->at + (in_leaf - run->first));
	return XLATE_MAPPED;
}

/* What is over the budget goes, the disowned first, but for the leaf that was used last. */
static void xlate_keep_budget(struct xlate *xlate)
{
	struct xlate_leaf *leaf;

	while (xlate->bytes > xlate->budget && xlate->disowned)
		xlate_bury(xlate, 1);
	while (xlate->bytes > xlate->budget && (leaf = TAILQ_FIRST(&xlate->lru)) &&
	       TAILQ_NEXT(leaf, lru_link))
		leaf_free(leaf);
}

void xlate_set(struct xlate_object *xo, lblk_t blk, uint64_t nblks, pblk_t at)
{
	ASSERT_LOOP();
	while (nblks > 0) {
		uint64_t idx = blk.n >> LEAF_SHIFT;
		uint32_t first = (uint32_t)(blk.n & (LEAF_BLKS - 1));
		uint32_t n = nblks < LEAF_BLKS - first ? (uint32_t)nblks : LEAF_BLKS - first;
		struct xlate_run run = run_make(first, first + n - 1, at.n);
		struct xlate_leaf *leaf = leaf_find(xo, idx);

		if (leaf)
			leaf_replace(leaf, first, first + n - 1, &run);
		else
			leaf_add(xo, idx, run);
		xlate_bury(xo->xlate, BURY_TURN);
		xlate_keep_budget(xo->xlate);
		blk.n += n;
		nblks -= n;
		if (at.n > 0)
			at.n += n;
	}
}

void xlate_forget(struct xlate_object *xo, lblk_t blk, uint64_t nblks)
{
	struct xlate_leaf key = {.idx = blk.n >> LEAF_SHIFT};
	uint64_t last = blk.n + nblks - 1;
	struct xlate_leaf *leaf;
	struct xlate_leaf *next;
	uint32_t nfreed = 0;

	ASSERT_LOOP();
	if (nblks == 0)
		return;
	if (nblks == BLK_OBJECT_MAX) {
		xlate_disown(xo);
		return;
	}
	for (leaf = RB_NFIND(xlate_leaves, &xo->leaves, &key);
	     leaf && leaf->idx <= last >> LEAF_SHIFT; leaf = next) {
		uint32_t from = leaf->idx > key.idx ? 0 : (uint32_t)(blk.n & (LEAF_BLKS - 1));
		uint32_t to = LEAF_BLKS - 1;

		next = RB_NEXT(xlate_leaves, &xo->leaves, leaf);
		if (leaf->idx == last >> LEAF_SHIFT)
			to = (uint32_t)(last & (LEAF_BLKS - 1));
		if (nfreed == FREE_MAX) {
			xlate_disown(xo); /* and what else is known of the object: it may be */
			return;
		}
		if (from == 0 && to == LEAF_BLKS - 1) {
			leaf_free(leaf);
			nfreed++;
		} else {
			leaf_replace(leaf, from, to, NULL);
		}
	}
}
