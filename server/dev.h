/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dev.h: the data device: blocks of BLK_BYTES behind a table of functions, so that tests can put
 * one that fails, delays or forgets in place of the real one.
 *
 * Any thread may call read, write and unwritten; read and write transfer all or fail.  A write is durable when a sync
 * that began after it has returned 0.  After a failed sync nothing is known of the writes before
 * it: the caller must not simply sync again (invariant 9).
 *
 * A device that is mapped (dev_mapped.c) is memory: a read or a write is a copy, and the blocks of a
 * write are where they stay when it returns.
 *
 * Block 0 is the device's header (dev_file.c): the store's uuid, so that a data file is never used
 * with another store's map.
 */
#ifndef SERVER_DEV_H
#define SERVER_DEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/annot.h"
#include "server/blk.h"

struct dev;

struct dev_ops {
	int (*read)(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt);
	int (*write)(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt);
	int (*sync)(struct dev *dev);
	/* may be NULL */
	uint64_t (*unwritten)(struct dev *dev, pblk_t from, uint64_t within_nblks, pblk_t *first);
	void (*close)(struct dev *dev);
};

struct dev {
	const struct dev_ops *ops;
	uint64_t nblks; /* the header block included */
	bool mapped;	/* its bytes are in memory already: a cache would keep them twice */
};

/* 0, -ERR_IO or -ERR_SHORT_IO.  Buffers are aligned to BLK_BYTES and whole blocks. */
static inline MUST_CHECK int dev_read(struct dev *dev, pblk_t blk, const struct iovec *iov,
				      int iovcnt)
{
	return dev->ops->read(dev, blk, iov, iovcnt);
}

/* 0, -ERR_IO, -ERR_SHORT_IO or -ERR_NOSPC. */
static inline MUST_CHECK int dev_write(struct dev *dev, pblk_t blk, const struct iovec *iov,
				       int iovcnt)
{
	return dev->ops->write(dev, blk, iov, iovcnt);
}

static inline MUST_CHECK int dev_sync(struct dev *dev)
{
	return dev->ops->sync(dev);
}

/*
 * The first run, within so many blocks from "from" on, that has space but was never written, so that
 * a first write to it costs more than others: its length; 0: none, or the device does not tell.
 */
static inline uint64_t dev_unwritten(struct dev *dev, pblk_t from, uint64_t within_nblks,
				     pblk_t *first)
{
	return dev->ops->unwritten ? dev->ops->unwritten(dev, from, within_nblks, first) : 0;
}

static inline void dev_close(struct dev *dev)
{
	if (dev)
		dev->ops->close(dev);
}

/*
 * dev_file.c: a regular file or a block device.  Create makes and preallocates a file of size_bytes
 * (rounded down to blocks, at least 2), writes the header and, with zeros, the prewrite_nblks blocks
 * behind it, so that no later write to these has to turn allocated blocks into written ones.  File,
 * header and zeros are durable, the directory's entry is the caller's to sync.  A block device is
 * used as it is, but for what is written.  -ERR_EXIST, -ERR_NOSPC, -ERR_IO, -ERR_INVAL (too small);
 * after an error there is no file.  Open checks the header against uuid: -ERR_FORMAT_... when it is
 * not this store's.
 */
int dev_file_create(const char *path, uint64_t size_bytes, uint64_t prewrite_nblks,
		    const uint8_t uuid[16]) MUST_CHECK;
int dev_file_open(const char *path, const uint8_t uuid[16], struct dev **dev) MUST_CHECK;

/* Behind a sync of this file or directory that has returned 0: 0, or -1 and errno, where the file system dropped
 * beside it what was to be synced. */
int dev_file_confirm(int fd) MUST_CHECK;

/* dev_mapped.c: such a file through a mapping.  -ERR_NOT_FILE for what is no regular file.  One thread,
 * before the others start: it takes SIGBUS, and hands on what is not its own to who had it. */
int dev_mapped_open(const char *path, const uint8_t uuid[16], struct dev **dev) MUST_CHECK;

#endif
