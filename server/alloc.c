/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The free extents are in one tree, in the order of their blocks.  Each also knows the longest
 * extent of its subtree, so that "the first one from here on that is long enough" is one walk down.
 */
#include "server/alloc.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"

struct extent;
static void extent_augment(struct extent *ext);

#define RB_AUGMENT(ext) extent_augment(ext)
#include <bsd/sys/tree.h>

struct extent {
	RB_ENTRY(extent) entry;
	uint64_t blk;
	uint64_t nblks;
	uint64_t longest; /* of this and all below */
};

RB_HEAD(extents, extent);

struct alloc {
	struct extents extents;
	uint64_t free_nblks;
	uint64_t reserved_nblks;
	uint64_t withheld_nblks;
	uint64_t kept_nblks;
	uint64_t next; /* where the last allocation ended */
};

static void extent_augment(struct extent *ext)
{
	const struct extent *left = RB_LEFT(ext, entry);
	const struct extent *right = RB_RIGHT(ext, entry);

	ext->longest = ext->nblks;
	if (left && left->longest > ext->longest)
		ext->longest = left->longest;
	if (right && right->longest > ext->longest)
		ext->longest = right->longest;
}

static int extent_cmp(const struct extent *a, const struct extent *b)
{
	return a->blk < b->blk ? -1 : a->blk > b->blk;
}

RB_GENERATE_INTERNAL(extents, extent, entry, extent_cmp, static __attribute__((unused)))

/* The tree's own calls reach only the nodes that it moves: what is above is done here. */
static void extent_resize(struct extent *ext, uint64_t nblks)
{
	ext->nblks = nblks;
	for (; ext; ext = RB_PARENT(ext, entry))
		extent_augment(ext);
}

static void extent_insert(struct alloc *al, struct extent *ext)
{
	ext->longest = ext->nblks;
	RB_INSERT(extents, &al->extents, ext);
	extent_resize(ext, ext->nblks);
}

static void extent_remove(struct alloc *al, struct extent *ext)
{
	extent_resize(ext, 0);
	RB_REMOVE(extents, &al->extents, ext);
	free(ext);
}

/* The last extent that begins at or before blk; NULL: none. */
static struct extent *extent_before(const struct alloc *al, uint64_t blk)
{
	struct extent *ext = RB_ROOT(&al->extents);
	struct extent *found = NULL;

	while (ext) {
		if (ext->blk <= blk) {
			found = ext;
			ext = RB_RIGHT(ext, entry);
		} else {
			ext = RB_LEFT(ext, entry);
		}
	}
	return found;
}

/* The first extent of a subtree, which has one, that is long enough. */
static struct extent *extent_first_in(struct extent *ext, uint64_t nblks)
{
	for (;;) {
		struct extent *left = RB_LEFT(ext, entry);

		if (left && left->longest >= nblks)
			ext = left;
		else if (ext->nblks >= nblks)
			return ext;
		else
			ext = RB_RIGHT(ext, entry);
	}
}

/* The first extent that begins at or behind blk and is long enough; NULL: none. */
static struct extent *extent_first_from(const struct alloc *al, uint64_t blk, uint64_t nblks)
{
	struct extent *ext = RB_ROOT(&al->extents);
	struct extent *last = NULL;

	/* down to where blk belongs; the last turn to the left is the first extent behind it */
	while (ext) {
		if (ext->blk >= blk) {
			last = ext;
			ext = RB_LEFT(ext, entry);
		} else {
			ext = RB_RIGHT(ext, entry);
		}
	}
	/* from there up: each extent and then all to the right of it */
	for (ext = last; ext; ext = RB_PARENT(ext, entry)) {
		struct extent *right = RB_RIGHT(ext, entry);

		if (ext->blk < blk)
			continue;
		if (ext->nblks >= nblks)
			return ext;
		if (right && right->longest >= nblks)
			return extent_first_in(right, nblks);
	}
	return NULL;
}

/* Takes [blk, end) out of the extent that has it. */
static int extent_cut(struct alloc *al, struct extent *ext, uint64_t blk, uint64_t end)
{
	uint64_t ext_end = ext->blk + ext->nblks;

	if (ext->blk < blk && end < ext_end) {
		struct extent *behind = calloc(1, sizeof(*behind));

		if (!behind)
			return -ERR_NOMEM;
		behind->blk = end;
		behind->nblks = ext_end - end;
		extent_resize(ext, blk - ext->blk);
		extent_insert(al, behind);
	} else if (ext->blk < blk) {
		extent_resize(ext, blk - ext->blk);
	} else if (end < ext_end) {
		ext->blk = end; /* its place in the order is the same */
		extent_resize(ext, ext_end - end);
	} else {
		extent_remove(al, ext);
	}
	return 0;
}

struct alloc *alloc_new(void)
{
	struct alloc *al = calloc(1, sizeof(*al));

	if (al)
		RB_INIT(&al->extents);
	return al;
}

void alloc_free(struct alloc *al)
{
	struct extent *ext;

	if (!al)
		return;
	while ((ext = RB_ROOT(&al->extents)))
		extent_remove(al, ext);
	free(al);
}

int alloc_add(struct alloc *al, pblk_t blk, uint64_t nblks)
{
	struct extent *before = extent_before(al, blk.n);
	struct extent *after =
	    before ? RB_NEXT(extents, &al->extents, before) : RB_MIN(extents, &al->extents);
	uint64_t end = blk.n + nblks;
	bool joins_before = before && before->blk + before->nblks == blk.n;
	bool joins_after = after && after->blk == end;

	assert(nblks > 0);
	assert(!before || before->blk + before->nblks <= blk.n);
	assert(!after || end <= after->blk);
	if (joins_before) {
		uint64_t longer = before->nblks + nblks;

		if (joins_after) {
			longer += after->nblks;
			extent_remove(al, after);
		}
		extent_resize(before, longer);
	} else if (joins_after) {
		after->blk = blk.n; /* its place in the order is the same */
		extent_resize(after, after->nblks + nblks);
	} else {
		struct extent *ext = calloc(1, sizeof(*ext));

		if (!ext)
			return -ERR_NOMEM;
		ext->blk = blk.n;
		ext->nblks = nblks;
		extent_insert(al, ext);
	}
	al->free_nblks += nblks;
	return 0;
}

/* Reserves nblks where "keep" are left then. */
static int alloc_reserve_keep(struct alloc *al, uint64_t nblks, uint64_t keep)
{
	uint64_t left = al->free_nblks - al->reserved_nblks;

	if (nblks > 0 && (keep > left || nblks > left - keep))
		return -ERR_NOSPC;
	al->reserved_nblks += nblks;
	return 0;
}

int alloc_reserve_due(struct alloc *al, uint64_t nblks)
{
	return alloc_reserve_keep(al, nblks, 0);
}

int alloc_reserve_beyond(struct alloc *al, uint64_t nblks, uint64_t own, bool returns)
{
	assert(own <= al->withheld_nblks);
	return alloc_reserve_keep(al, nblks,
				  al->withheld_nblks - own + (returns ? 0 : al->kept_nblks));
}

int alloc_reserve(struct alloc *al, uint64_t nblks)
{
	return alloc_reserve_beyond(al, nblks, 0, false);
}

void alloc_withhold(struct alloc *al, uint64_t was_nblks, uint64_t is_nblks)
{
	assert(was_nblks <= al->withheld_nblks);
	al->withheld_nblks += is_nblks - was_nblks;
}

void alloc_keep_back(struct alloc *al, uint64_t nblks)
{
	al->kept_nblks = nblks;
}

bool alloc_keeps(const struct alloc *al, uint64_t coming_nblks)
{
	return al->withheld_nblks + al->kept_nblks <=
	       al->free_nblks - al->reserved_nblks + coming_nblks;
}

void alloc_unreserve(struct alloc *al, uint64_t nblks)
{
	assert(nblks <= al->reserved_nblks);
	al->reserved_nblks -= nblks;
}

void alloc_take(struct alloc *al, uint64_t nblks, pblk_t *blk, uint64_t *got)
{
	struct extent *root = RB_ROOT(&al->extents);
	struct extent *ext;

	assert(nblks > 0 && nblks <= al->reserved_nblks && root);
	if (nblks > root->longest)
		nblks = root->longest;
	ext = extent_first_from(al, al->next, nblks);
	if (!ext)
		ext = extent_first_in(root, nblks);
	*blk = pblk(ext->blk);
	*got = nblks;
	al->next = ext->blk + nblks;
	al->free_nblks -= nblks;
	al->reserved_nblks -= nblks;
	(void)extent_cut(al, ext, blk->n, al->next); /* at its start nothing new is needed */
}

pblk_t alloc_next(const struct alloc *al)
{
	const struct extent *ext = extent_first_from(al, al->next, 1);

	if (!ext && RB_ROOT(&al->extents))
		ext = extent_first_in(RB_ROOT(&al->extents), 1);
	return pblk(ext ? ext->blk : 0);
}

uint64_t alloc_find(const struct alloc *al, pblk_t from, pblk_t *blk)
{
	const struct extent *ext = extent_before(al, from.n);
	uint64_t skip = ext ? from.n - ext->blk : 0;

	if (!ext || skip >= ext->nblks) {
		ext = extent_first_from(al, from.n, 1);
		skip = 0;
	}
	if (!ext)
		return 0;
	*blk = pblk(ext->blk + skip);
	return ext->nblks - skip;
}

int alloc_take_range(struct alloc *al, pblk_t blk, uint64_t nblks)
{
	struct extent *ext = extent_before(al, blk.n);
	int err;

	if (!ext || blk.n - ext->blk > ext->nblks || nblks > ext->nblks - (blk.n - ext->blk))
		return -ERR_BUSY;
	if (nblks > al->free_nblks - al->reserved_nblks)
		return -ERR_NOSPC;
	err = extent_cut(al, ext, blk.n, blk.n + nblks);
	if (err == 0)
		al->free_nblks -= nblks;
	return err;
}

uint64_t alloc_free_nblks(const struct alloc *al)
{
	return al->free_nblks;
}

uint64_t alloc_reserved_nblks(const struct alloc *al)
{
	return al->reserved_nblks;
}

uint64_t alloc_withheld_nblks(const struct alloc *al)
{
	return al->withheld_nblks;
}

uint64_t alloc_kept_nblks(const struct alloc *al)
{
	return al->kept_nblks;
}
