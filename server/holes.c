/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/holes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define HOLES_CAP_MIN 4u

static uint64_t hole_end(const struct change_hole *hole)
{
	return hole->blk.n + hole->nblks;
}

int holes_reserve(struct holes *holes)
{
	uint32_t cap = holes->cap > 0 ? 2 * holes->cap : HOLES_CAP_MIN;
	struct change_hole *ranges;

	if (holes->n < holes->cap)
		return 0;
	ranges = reallocarray(holes->ranges, cap, sizeof(*ranges));
	if (!ranges)
		return -ERR_NOMEM;
	holes->ranges = ranges;
	holes->cap = cap;
	return 0;
}

/* The first range that ends at "blk" or behind it; n where there is none. */
static uint32_t holes_find(const struct holes *holes, uint64_t blk)
{
	uint32_t lo = 0;
	uint32_t hi = holes->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (hole_end(&holes->ranges[mid]) < blk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void holes_add(struct holes *holes, lblk_t blk, uint64_t nblks)
{
	uint64_t first = blk.n;
	uint64_t end = blk.n + nblks;
	uint32_t i = holes_find(holes, first);
	uint32_t next = i;

	if (nblks == 0)
		return;
	for (; next < holes->n && holes->ranges[next].blk.n <= end; next++) {
		if (holes->ranges[next].blk.n < first)
			first = holes->ranges[next].blk.n;
		if (hole_end(&holes->ranges[next]) > end)
			end = hole_end(&holes->ranges[next]);
	}
	assert(next > i || holes->n < holes->cap);
	memmove(&holes->ranges[i + 1], &holes->ranges[next],
		(holes->n - next) * sizeof(*holes->ranges));
	holes->ranges[i] = (struct change_hole){lblk(first), end - first};
	holes->n = holes->n - next + i + 1;
}

bool holes_at(const struct holes *holes, lblk_t blk, uint64_t *until)
{
	uint32_t i = holes_find(holes, blk.n + 1);
	bool within = i < holes->n && holes->ranges[i].blk.n <= blk.n;
	uint64_t change;

	if (i == holes->n)
		return false;
	change = within ? hole_end(&holes->ranges[i]) : holes->ranges[i].blk.n;
	if (change < *until)
		*until = change;
	return within;
}

void holes_fini(struct holes *holes)
{
	free(holes->ranges);
	*holes = (struct holes){0};
}
