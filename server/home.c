/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/home.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

int home_add(struct home *home, pblk_t blk, uint8_t *data, void *owner)
{
	struct home_blk *hb = malloc(sizeof(*hb));

	if (!hb)
		return -ERR_NOMEM;
	assert(!home_find(home, blk));
	*hb = (struct home_blk){.blk = blk.n, .data = data, .owner = owner};
	HASH_ADD(hh, home->blks, blk, sizeof(hb->blk), hb);
	if (!hb->hh.tbl) {
		free(hb);
		return -ERR_NOMEM;
	}
	return 0;
}

const struct home_blk *home_find(const struct home *home, pblk_t blk)
{
	struct home_blk *hb;

	HASH_FIND(hh, home->blks, &blk.n, sizeof(blk.n), hb);
	return hb;
}

static void home_remove(struct home *home, struct home_blk *hb,
			void (*fn)(void *ctx, const struct home_blk *hb), void *ctx)
{
	HASH_DELETE(hh, home->blks, hb);
	fn(ctx, hb);
	free(hb);
}

void home_drop(struct home *home, pblk_t blk, uint64_t nblks,
	       void (*fn)(void *ctx, const struct home_blk *hb), void *ctx)
{
	struct home_blk *hb;
	struct home_blk *next;

	if (nblks < home_count(home)) {
		for (uint64_t i = 0; i < nblks; i++) {
			uint64_t n = blk.n + i;

			HASH_FIND(hh, home->blks, &n, sizeof(n), hb);
			if (hb)
				home_remove(home, hb, fn, ctx);
		}
		return;
	}
	HASH_ITER(hh, home->blks, hb, next)
	if (hb->blk >= blk.n && hb->blk - blk.n < nblks)
		home_remove(home, hb, fn, ctx);
}

size_t home_count(const struct home *home)
{
	return HASH_COUNT(home->blks);
}

static int home_cmp(const struct home_blk *a, const struct home_blk *b)
{
	return a->blk < b->blk ? -1 : a->blk > b->blk;
}

void home_sort(struct home *home)
{
	HASH_SORT(home->blks, home_cmp);
}

int home_run(struct home_blk *blk, struct iovec *iov, int max, struct home_blk **next)
{
	uint64_t at = blk->blk;
	int n = 0;

	while (blk && n < max && blk->blk == at + (uint64_t)n) {
		iov[n++] = (struct iovec){blk->data, BLK_BYTES};
		blk = blk->hh.next;
	}
	*next = blk;
	return n;
}

bool home_clear_some(struct home *home, size_t max,
		     void (*fn)(void *ctx, const struct home_blk *hb), void *ctx)
{
	for (size_t i = 0; i < max && home->blks; i++)
		home_remove(home, home->blks, fn, ctx);
	return home->blks;
}

void home_clear(struct home *home, void (*fn)(void *ctx, const struct home_blk *hb), void *ctx)
{
	(void)home_clear_some(home, SIZE_MAX, fn, ctx);
}
