/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/readahead.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sets the window, cut at the end and the limit; false: nothing is left of it. */
static bool readahead_begin(struct readahead *ra, uint64_t begin, uint64_t nblks, uint64_t end,
			    uint32_t max_blks, struct readahead_window *window)
{
	nblks = smaller(nblks, max_blks);
	nblks = begin < end ? smaller(nblks, end - begin) : 0;
	ra->begin = begin;
	ra->nblks = nblks;
	*window = (struct readahead_window){lblk(begin), (uint32_t)nblks};
	return nblks > 0;
}

bool readahead_note(struct readahead *ra, lblk_t blk, uint64_t nblks, bool waited, uint64_t end,
		    uint32_t max_blks, struct readahead_window *window)
{
	uint64_t after = blk.n + nblks;
	uint64_t first = 2 * nblks;
	/* a read that is not aligned begins in the block where the last one ended */
	bool sequential = ra->next > 0 && (blk.n == ra->next || blk.n + 1 == ra->next);

	ra->next = after;
	if (!sequential) {
		ra->nblks = 0;
		return false;
	}
	if (ra->nblks == 0) {
		if (first < READAHEAD_MIN_BLKS)
			first = READAHEAD_MIN_BLKS;
		return waited && readahead_begin(ra, after, first, end, max_blks, window);
	}
	if (after <= ra->begin)
		return false;
	/* who has read past the window needs nothing of it any more */
	return readahead_begin(ra, after > ra->begin + ra->nblks ? after : ra->begin + ra->nblks,
			       2 * ra->nblks, end, max_blks, window);
}

void readahead_stop(struct readahead *ra)
{
	ra->nblks = 0;
}
