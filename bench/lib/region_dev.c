/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib/region_dev.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/figures.h"

static uint64_t iov_nblks(const struct iovec *iov, int iovcnt)
{
	uint64_t bytes = 0;

	for (int i = 0; i < iovcnt; i++)
		bytes += iov[i].iov_len;
	return bytes >> BLK_SHIFT;
}

static enum region region_of(const struct region_dev *rd, pblk_t blk)
{
	return blk.n < rd->data_from ? REGION_JOURNAL : REGION_DATA;
}

/* No transfer is partly there: the end lies between the journal and the data, or behind all. */
static bool is_there(const struct region_dev *rd, pblk_t blk)
{
	return blk.n < rd->inner->nblks;
}

static int region_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct region_dev *rd = CONTAINER_OF(dev, struct region_dev, dev);

	atomic_fetch_add(&rd->regions[region_of(rd, blk)].read_nblks, iov_nblks(iov, iovcnt));
	if (is_there(rd, blk))
		return dev_read(rd->inner, blk, iov, iovcnt);
	for (int i = 0; i < iovcnt; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	return 0;
}

static int region_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct region_dev *rd = CONTAINER_OF(dev, struct region_dev, dev);
	uint64_t nblks = iov_nblks(iov, iovcnt);

	atomic_fetch_add(&rd->regions[region_of(rd, blk)].written_nblks, nblks);
	if (!is_there(rd, blk))
		return 0;
	atomic_fetch_add(&rd->passed_nblks, nblks);
	return dev_write(rd->inner, blk, iov, iovcnt);
}

static int region_sync(struct dev *dev)
{
	struct region_dev *rd = CONTAINER_OF(dev, struct region_dev, dev);

	atomic_fetch_add(&rd->syncs, 1);
	return dev_sync(rd->inner);
}

static void region_close(struct dev *dev)
{
	struct region_dev *rd = CONTAINER_OF(dev, struct region_dev, dev);

	dev_close(rd->inner);
	free(rd);
}

static const struct dev_ops region_dev_ops = {
    .read = region_read,
    .write = region_write,
    .sync = region_sync,
    .close = region_close,
};

struct region_dev *region_dev_new(struct dev *inner, uint64_t nblks, uint64_t journal_nblks)
{
	struct region_dev *rd = calloc(1, sizeof(*rd));

	MUST(rd, "memory");
	rd->dev = (struct dev){.ops = &region_dev_ops, .nblks = nblks};
	rd->inner = inner;
	rd->data_from = 1 + journal_nblks;
	return rd;
}
