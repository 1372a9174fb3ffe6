/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dev_file.c: a regular file or block device as data device.
 *
 * Direct I/O where the file system takes it: the blocks have a cache of their own above, and the
 * page cache would only keep them twice and hide write errors until a sync.
 */
#include "server/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/dev_priv.h"

/* The header block: magic, version, uuid, blocks, CRC-32C of what is before it. */
#define DEV_MAGIC     UINT64_C(0x31564544574f43) /* "COWDEV1" */
#define DEV_VERSION   2u
#define DEV_CRC_OFF   36u
#define DEV_IOV_BATCH 1024 /* IOV_MAX of Linux */

#define DEV_FIEMAP_EXTENTS 64u /* asked for at once */

#define DEV_PREWRITE_BYTES (UINT32_C(1) << 20) /* of one write */

struct dev_file {
	struct dev dev;
	int fd;
};

static void dev_header_encode(uint8_t *blk, const uint8_t uuid[16], uint64_t nblks)
{
	memset(blk, 0, BLK_BYTES);
	le64_put(blk, DEV_MAGIC);
	le32_put(blk + 8, DEV_VERSION);
	memcpy(blk + 12, uuid, 16);
	le64_put(blk + 28, nblks);
	le32_put(blk + DEV_CRC_OFF, crc32c(0, blk, DEV_CRC_OFF));
}

static int dev_header_check(const uint8_t *blk, const uint8_t uuid[16], uint64_t *nblks)
{
	if (le64_get(blk) != DEV_MAGIC ||
	    le32_get(blk + DEV_CRC_OFF) != crc32c(0, blk, DEV_CRC_OFF))
		return -ERR_FORMAT_OTHER;
	if (le32_get(blk + 8) != DEV_VERSION)
		return -ERR_FORMAT_VERSION;
	if (memcmp(blk + 12, uuid, 16) != 0)
		return -ERR_FORMAT_STORE;
	*nblks = le64_get(blk + 28);
	return 0;
}

uint64_t dev_iov_bytes(const struct iovec *iov, int iovcnt)
{
	uint64_t sum = 0;

	for (int i = 0; i < iovcnt; i++)
		sum += iov[i].iov_len;
	return sum;
}

int dev_check_range(const struct dev *dev, pblk_t blk, uint64_t len_bytes)
{
	if (blk.n < dev->nblks && len_bytes <= (dev->nblks - blk.n) << BLK_SHIFT)
		return 0;
	log_event(LOG_ERROR, "device-range", "block=%llu bytes=%llu", (unsigned long long)blk.n,
		  (unsigned long long)len_bytes);
	return -ERR_IO;
}

/* One system call's worth: all of iov or an error; a short transfer is finished buffer by buffer.
 */
static int dev_file_transfer(int fd, bool write, off_t off, const struct iovec *iov, int iovcnt)
{
	ssize_t n;
	uint64_t done;

	do
		n = write ? pwritev(fd, iov, iovcnt, off) : preadv(fd, iov, iovcnt, off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ENOSPC ? -ERR_NOSPC : -ERR_IO;
	done = (uint64_t)n;
	for (int i = 0; i < iovcnt; i++) {
		size_t len = iov[i].iov_len;
		size_t have = done < len ? (size_t)done : len;

		done -= have;
		while (have < len) {
			uint8_t *p = (uint8_t *)iov[i].iov_base + have;

			n = write ? pwrite(fd, p, len - have, off + (off_t)have)
				  : pread(fd, p, len - have, off + (off_t)have);
			if (n < 0 && errno == EINTR)
				continue;
			if (n == 0)
				return -ERR_SHORT_IO;
			if (n < 0)
				return errno == ENOSPC ? -ERR_NOSPC : -ERR_IO;
			have += (size_t)n;
		}
		off += (off_t)len;
	}
	return 0;
}

static int dev_file_vec(struct dev *dev, bool write, pblk_t blk, const struct iovec *iov,
			int iovcnt)
{
	struct dev_file *df = CONTAINER_OF(dev, struct dev_file, dev);
	off_t off = (off_t)(blk.n << BLK_SHIFT);
	uint64_t len = dev_iov_bytes(iov, iovcnt);
	int err = dev_check_range(dev, blk, len);

	if (err < 0)
		return err;
	while (iovcnt > 0 && err == 0) {
		int n = iovcnt < DEV_IOV_BATCH ? iovcnt : DEV_IOV_BATCH;

		err = dev_file_transfer(df->fd, write, off, iov, n);
		off += (off_t)dev_iov_bytes(iov, n);
		iov += n;
		iovcnt -= n;
	}
	if (err < 0)
		log_event(LOG_ERROR, write ? "device-write" : "device-read",
			  "block=%llu bytes=%llu error=%s errno=%d", (unsigned long long)blk.n,
			  (unsigned long long)len, err_name(err), errno);
	return err;
}

static int dev_file_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	return dev_file_vec(dev, false, blk, iov, iovcnt);
}

static int dev_file_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	return dev_file_vec(dev, true, blk, iov, iovcnt);
}

/*
 * XFS that shuts itself down, after an error of its log, drops what the log does not have yet: that blocks of a
 * preallocated file were written, for one.  A sync that is under way then finds nothing to wait for and returns 0
 * (xfs_file_fsync() in fs/xfs/xfs_file.c asks whether it is shut down before it looks whether the inode is pinned).
 * By then it tells who asks for attributes that it is shut down (xfs_vn_getattr() in fs/xfs/xfs_iops.c).  Not for
 * times: who has seen one is owed another one after the next write, and each sync would have to write the inode
 * (inode_set_ctime_current() in fs/inode.c).
 */
int dev_file_confirm(int fd)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
}

static int dev_file_sync(struct dev *dev)
{
	struct dev_file *df = CONTAINER_OF(dev, struct dev_file, dev);

	if (fdatasync(df->fd) == 0 && dev_file_confirm(df->fd) == 0)
		return 0;
	log_event(LOG_ERROR, "device-sync", "errno=%d", errno);
	return -ERR_IO;
}

/* A file system's answer about some extents of a file. */
union dev_file_extents {
	struct fiemap map;
	uint8_t bytes[sizeof(struct fiemap) + DEV_FIEMAP_EXTENTS * sizeof(struct fiemap_extent)];
};

/* False: it does not answer, or there is nothing more. */
static bool dev_file_ask_extents(int fd, uint64_t off, uint64_t end, union dev_file_extents *ext)
{
	ext->map = (struct fiemap){
	    .fm_start = off, .fm_length = end - off, .fm_extent_count = DEV_FIEMAP_EXTENTS};
	return ioctl(fd, FS_IOC_FIEMAP, &ext->map) == 0 && ext->map.fm_mapped_extents > 0;
}

/* Cuts [off, end) down to its first run of unwritten bytes; false: there is none. */
static bool dev_file_find_unwritten(int fd, uint64_t *off, uint64_t *end)
{
	union dev_file_extents answer;

	while (*off < *end && dev_file_ask_extents(fd, *off, *end, &answer)) {
		for (uint32_t i = 0; i < answer.map.fm_mapped_extents; i++) {
			const struct fiemap_extent *ext = &answer.map.fm_extents[i];
			uint64_t ext_end = ext->fe_logical + ext->fe_length;

			if (ext_end <= *off || ext->fe_logical >= *end)
				return false; /* it was not asked for these */
			if (ext->fe_flags & FIEMAP_EXTENT_UNWRITTEN) {
				*off = ext->fe_logical > *off ? ext->fe_logical : *off;
				*end = ext_end < *end ? ext_end : *end;
				return true;
			}
			*off = ext_end;
		}
	}
	return false;
}

/* A block that is unwritten in part counts as unwritten. */
uint64_t dev_file_find_run(int fd, const struct dev *dev, pblk_t from, uint64_t within_nblks,
			   pblk_t *first)
{
	uint64_t off = from.n << BLK_SHIFT;
	uint64_t end;

	if (from.n >= dev->nblks)
		return 0;
	if (within_nblks > dev->nblks - from.n)
		within_nblks = dev->nblks - from.n;
	end = (from.n + within_nblks) << BLK_SHIFT;
	if (!dev_file_find_unwritten(fd, &off, &end))
		return 0;
	*first = pblk(off >> BLK_SHIFT);
	return blk_count(end) - first->n;
}

static uint64_t dev_file_unwritten(struct dev *dev, pblk_t from, uint64_t within_nblks,
				   pblk_t *first)
{
	struct dev_file *df = CONTAINER_OF(dev, struct dev_file, dev);

	return dev_file_find_run(df->fd, dev, from, within_nblks, first);
}

static void dev_file_close(struct dev *dev)
{
	struct dev_file *df = CONTAINER_OF(dev, struct dev_file, dev);

	close(df->fd);
	free(df);
}

static const struct dev_ops dev_file_ops = {
    .read = dev_file_read,
    .write = dev_file_write,
    .sync = dev_file_sync,
    .unwritten = dev_file_unwritten,
    .close = dev_file_close,
};

/* The size of a regular file or block device in bytes. */
static int dev_file_size(int fd, uint64_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -ERR_IO;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? -ERR_IO : 0;
	if (!S_ISREG(st.st_mode))
		return -ERR_INVAL;
	*bytes = (uint64_t)st.st_size;
	return 0;
}

/* Opens what is to become a device: a new file of the wanted size, or a block device as it is. */
static int dev_file_make(const char *path, uint64_t size_bytes, int *fd_out, bool *made)
{
	struct stat st;
	int fd;
	int rc;

	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode)) {
		fd = open(path, O_RDWR | O_CLOEXEC | O_EXCL);
		if (fd < 0)
			return err_from_errno(errno);
		*fd_out = fd;
		return 0;
	}
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_from_errno(errno);
	rc = posix_fallocate(fd, 0, (off_t)size_bytes);
	if (rc != 0) {
		close(fd);
		unlink(path);
		return rc == EFBIG ? -ERR_NOSPC : err_from_errno(rc);
	}
	*made = true;
	*fd_out = fd;
	return 0;
}

/* Zeros to blocks [1, 1 + nblks), through a buffer that holds some. */
static int dev_file_prewrite(int fd, uint8_t *buf, uint64_t nblks)
{
	int err = 0;

	memset(buf, 0, DEV_PREWRITE_BYTES);
	for (uint64_t blk = 1; blk <= nblks && err == 0;) {
		uint64_t n = DEV_PREWRITE_BYTES >> BLK_SHIFT;
		struct iovec iov = {.iov_base = buf};

		if (n > nblks + 1 - blk)
			n = nblks + 1 - blk;
		iov.iov_len = n << BLK_SHIFT;
		err = dev_file_transfer(fd, true, (off_t)(blk << BLK_SHIFT), &iov, 1);
		blk += n;
	}
	return err;
}

static int dev_file_format(int fd, uint64_t nblks, uint64_t prewrite_nblks, const uint8_t uuid[16])
{
	uint8_t *buf = aligned_alloc(BLK_BYTES, DEV_PREWRITE_BYTES);
	uint64_t have = 0;
	int err;

	if (!buf)
		return -ERR_NOMEM;
	err = dev_file_size(fd, &have);
	if (err == 0 && have >> BLK_SHIFT < nblks)
		err = -ERR_INVAL;
	if (err == 0)
		err = dev_file_prewrite(fd, buf, prewrite_nblks);
	if (err == 0) {
		dev_header_encode(buf, uuid, nblks);
		if (pwrite(fd, buf, BLK_BYTES, 0) != BLK_BYTES || fsync(fd) < 0)
			err = errno == ENOSPC ? -ERR_NOSPC : -ERR_IO;
	}
	free(buf);
	return err;
}

int dev_file_create(const char *path, uint64_t size_bytes, uint64_t prewrite_nblks,
		    const uint8_t uuid[16])
{
	uint64_t nblks = size_bytes >> BLK_SHIFT;
	bool made = false;
	int err;
	int fd = -1;

	if (nblks < 2 || prewrite_nblks > nblks - 1)
		return -ERR_INVAL;
	err = dev_file_make(path, nblks << BLK_SHIFT, &fd, &made);
	if (err < 0)
		return err;
	err = dev_file_format(fd, nblks, prewrite_nblks, uuid);
	close(fd);
	if (err < 0 && made)
		(void)unlink(path);
	return err;
}

/* A descriptor with direct I/O where that works, else without. */
static int dev_file_open_fd(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);

	if (fd < 0 && errno == EINVAL) {
		log_event(LOG_WARN, "device-buffered", "reason=no-direct-io");
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return fd;
}

int dev_file_probe(int fd, const uint8_t uuid[16], uint64_t *nblks)
{
	struct iovec iov = {.iov_base = aligned_alloc(BLK_BYTES, BLK_BYTES), .iov_len = BLK_BYTES};
	uint8_t *blk = iov.iov_base;
	uint64_t bytes = 0;
	int err;

	if (!blk)
		return -ERR_NOMEM;
	/* After a sync that failed the kernel may have blocks in memory, as clean ones, that the device never
	 * got: a start after that is to see what a power cut would leave. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	err = dev_file_size(fd, &bytes);
	if (err == 0 && bytes < BLK_BYTES)
		err = -ERR_FORMAT_OTHER;
	if (err == 0)
		err = dev_file_transfer(fd, false, 0, &iov, 1);
	if (err == 0)
		err = dev_header_check(blk, uuid, nblks);
	if (err == 0 && bytes >> BLK_SHIFT < *nblks)
		err = -ERR_FORMAT_SIZE;
	free(blk);
	return err;
}

int dev_file_open(const char *path, const uint8_t uuid[16], struct dev **dev)
{
	struct dev_file *df = calloc(1, sizeof(*df));
	int err;

	if (!df)
		return -ERR_NOMEM;
	df->fd = dev_file_open_fd(path);
	err = df->fd < 0 ? err_from_errno(errno) : dev_file_probe(df->fd, uuid, &df->dev.nblks);
	if (err < 0) {
		if (df->fd >= 0)
			close(df->fd);
		free(df);
		return err;
	}
	df->dev.ops = &dev_file_ops;
	*dev = &df->dev;
	return 0;
}
