/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sweep/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sweep/fault.h"

#define FDS_MAX 256

enum file { FILE_OTHER, FILE_DATA, FILE_MAP, FILE_LOCK };

static struct {
	struct simdev *sd;
	const char *data_path;
	const char *map_path;
	char lock_path[128];
	struct mapfile durable;
	unsigned int under_way;
	bool lost; /* a sync of the map has failed: what was written before it never is */
	/* where the device fails next, behind what was transferred in part */
	bool bad_write;
	off_t bad_off; /* 0: nowhere */
	struct {
		enum file file;
		bool now; /* writes are durable at once */
	} fds[FDS_MAX];
} calls;

void calls_begin(const char *data_path, const char *map_path, struct simdev *sd)
{
	calls.data_path = data_path;
	calls.map_path = map_path;
	(void)snprintf(calls.lock_path, sizeof(calls.lock_path), "%s-lock", map_path);
	calls.sd = sd;
	calls.lost = false;
	calls.bad_off = 0;
	calls.under_way = 0;
	mapfile_take(&calls.durable, map_path);
}

bool calls_under_way(void)
{
	return calls.under_way > 0;
}

void calls_cut(struct rnd *rnd, struct mapfile *left)
{
	if (rnd_one_in(rnd, 2))
		mapfile_copy(left, &calls.durable);
	else
		mapfile_take(left, calls.map_path);
}

static enum file file_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? calls.fds[fd].file : FILE_OTHER;
}

static bool is_map(int fd)
{
	return file_of(fd) == FILE_MAP || file_of(fd) == FILE_LOCK;
}

/* What a call on the map fails with; 0: it does not.  *done: it is carried out nevertheless. */
static int map_fails(int fd, enum fault_point point, enum fault_kind *kind)
{
	*kind = is_map(fd) ? fault_next(point) : FAULT_NONE;
	switch (*kind) {
	case FAULT_EIO:
	case FAULT_EIO_DONE:
		return EIO;
	case FAULT_ENOSPC:
		return ENOSPC;
	case FAULT_EINTR:
		return EINTR;
	case FAULT_NOMEM:
		return ENOMEM;
	case FAULT_DELAY:
		fault_delay();
		return 0;
	default:
		return 0;
	}
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum file file_named(const char *path)
{
	if (!calls.sd)
		return FILE_OTHER;
	if (strcmp(path, calls.data_path) == 0)
		return FILE_DATA;
	if (strcmp(path, calls.map_path) == 0)
		return FILE_MAP;
	return strcmp(path, calls.lock_path) == 0 ? FILE_LOCK : FILE_OTHER;
}

int open(const char *path, int flags, ...)
{
	enum file file = file_named(path);
	va_list ap;
	mode_t mode;
	int fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if ((file == FILE_MAP || file == FILE_LOCK) && fault_next(FAULT_MAP_OPEN) != FAULT_NONE) {
		errno = EIO;
		return -1;
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd >= 0 && fd < FDS_MAX) {
		calls.fds[fd].file = file;
		calls.fds[fd].now = (flags & O_DSYNC) != 0;
	}
	return fd;
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		calls.fds[fd].file = FILE_OTHER;
	return (int)syscall(SYS_close, fd);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	enum fault_kind kind;
	int fails = map_fails(fd, FAULT_MAP_MMAP, &kind);

	if (fails) {
		errno = fails;
		return MAP_FAILED;
	}
	/* NOLINTNEXTLINE: the kernel's answer is an address */
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

off_t lseek(int fd, off_t off, int whence)
{
	enum fault_kind kind;
	int fails = map_fails(fd, FAULT_MAP_SEEK, &kind);

	if (fails) {
		errno = fails;
		return -1;
	}
	return syscall(SYS_lseek, fd, off, whence);
}

int ftruncate(int fd, off_t len)
{
	enum fault_kind kind;
	int fails = map_fails(fd, FAULT_MAP_SIZE, &kind);

	if (fails) {
		errno = fails;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, len);
}

/* ---- the device ------------------------------------------------------------------------------ */

/* Whole blocks that hold len bytes from off on, with what is there. */
struct bounce {
	uint64_t blk;
	uint64_t n;
	struct iovec iov;
	size_t at; /* of the bytes */
};

static void bounce_init(struct bounce *b, off_t off, size_t len)
{
	uint64_t end = ((uint64_t)off + len + BLK_BYTES - 1) >> BLK_SHIFT;

	b->blk = (uint64_t)off >> BLK_SHIFT;
	b->n = end - b->blk;
	b->at = (size_t)off % BLK_BYTES;
	b->iov.iov_len = b->n << BLK_SHIFT;
	b->iov.iov_base = oom_calloc(b->n, BLK_BYTES);
	for (uint64_t i = 0; i < b->n; i++)
		image_read(&calls.sd->now, b->blk + i,
			   (uint8_t *)b->iov.iov_base + (i << BLK_SHIFT));
}

/* len bytes from the buffers to p, or to them. */
static void bounce_copy(uint8_t *p, const struct iovec *iov, size_t len, bool to_iov)
{
	for (; len > 0; iov++) {
		size_t n = len < iov->iov_len ? len : iov->iov_len;

		if (to_iov)
			memcpy(iov->iov_base, p, n);
		else
			memcpy(p, iov->iov_base, n);
		p += n;
		len -= n;
	}
}

static ssize_t data_move(bool write, const struct iovec *iov, size_t len, off_t off, bool fails)
{
	struct simdev *sd = calls.sd;
	struct bounce b;
	int err;

	bounce_init(&b, off, len);
	sd->fail_one_in[SIMDEV_WRITE] = fails;
	calls.under_way++;
	if (write) {
		bounce_copy((uint8_t *)b.iov.iov_base + b.at, iov, len, false);
		err = dev_write(&sd->dev, pblk(b.blk), &b.iov, 1);
	} else {
		err = dev_read(&sd->dev, pblk(b.blk), &b.iov, 1);
		bounce_copy((uint8_t *)b.iov.iov_base + b.at, iov, len, true);
	}
	calls.under_way--;
	free(b.iov.iov_base);
	return err < 0 ? -1 : (ssize_t)len;
}

/* The half, in whole sectors where it can be. */
static size_t data_half(size_t len)
{
	size_t half = len / 2;

	return half >= IMAGE_SECTOR_BYTES ? half & ~(size_t)(IMAGE_SECTOR_BYTES - 1) : len - half;
}

/* The errno of what is left to be done is to be set behind it: other threads go on meanwhile. */
static ssize_t data_fail(bool write, const struct iovec *iov, size_t len, off_t off, int error)
{
	if (write && error != EINTR)
		(void)data_move(write, iov, len, off, true);
	errno = error;
	return -1;
}

static ssize_t data_call(bool write, const struct iovec *iov, int n, off_t off)
{
	enum fault_kind kind = fault_next(write ? FAULT_DATA_WRITE : FAULT_DATA_READ);
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (calls.bad_off != 0 && calls.bad_off == off && calls.bad_write == write) {
		calls.bad_off = 0;
		return data_fail(write, iov, len, off, EIO);
	}
	switch (kind) {
	case FAULT_EIO:
		return data_fail(write, iov, len, off, EIO);
	case FAULT_ENOSPC:
		return data_fail(write, iov, len, off, ENOSPC);
	case FAULT_EINTR:
		return data_fail(write, iov, len, off, EINTR);
	case FAULT_EIO_DONE:
		(void)data_move(write, iov, len, off, false);
		errno = EIO;
		return -1;
	case FAULT_SHORT_EIO:
		calls.bad_write = write;
		calls.bad_off = off + (off_t)data_half(len);
		return data_move(write, iov, data_half(len), off, false);
	case FAULT_SHORT:
		return data_move(write, iov, data_half(len), off, false);
	case FAULT_DELAY:
		fault_delay();
		return data_move(write, iov, len, off, false);
	default:
		return data_move(write, iov, len, off, false);
	}
}

static int data_sync(void)
{
	enum fault_kind kind = fault_next(FAULT_DATA_SYNC);
	bool fails = kind == FAULT_EIO || kind == FAULT_ENOSPC;
	int err;

	if (kind == FAULT_DELAY)
		fault_delay();
	calls.sd->fail_one_in[SIMDEV_SYNC] = fails;
	calls.under_way++;
	err = dev_sync(&calls.sd->dev);
	calls.under_way--;
	if (err == 0 && kind != FAULT_EIO_DONE)
		return 0;
	errno = kind == FAULT_ENOSPC ? ENOSPC : EIO;
	return -1;
}

/* ---- the map --------------------------------------------------------------------------------- */

/* What was written on a descriptor whose writes are durable when they have returned. */
static void map_wrote(int fd, const struct iovec *iov, off_t off, ssize_t len)
{
	struct image *pages = &calls.durable.pages;
	uint64_t n = (uint64_t)off / BLK_BYTES;
	size_t begin = (size_t)off % BLK_BYTES;
	uint8_t bytes[BLK_BYTES];
	struct image_blk *blk;

	if (file_of(fd) != FILE_MAP || !calls.fds[fd].now || len <= 0 || calls.lost)
		return;
	MUST(n < pages->nblks && begin + (size_t)len <= BLK_BYTES, "a meta page");
	image_read(pages, n, bytes);
	bounce_copy(bytes + begin, iov, (size_t)len, false);
	blk = image_blk_new(bytes);
	image_set(pages, n, blk);
	image_blk_put(blk);
}

/* off -1: where the file is. */
static ssize_t map_write(int fd, const struct iovec *iov, int n, off_t off)
{
	enum fault_kind kind;
	int fails = map_fails(fd, FAULT_MAP_WRITE, &kind);
	struct iovec half = {iov->iov_base, iov->iov_len / 2};
	bool cut = kind == FAULT_SHORT || kind == FAULT_SHORT_EIO;
	ssize_t done;

	if (fails && kind != FAULT_EIO_DONE) {
		errno = fails;
		return -1;
	}
	if (cut) {
		iov = &half;
		n = 1;
	}
	done = off < 0 ? syscall(SYS_writev, fd, iov, n) : syscall(SYS_pwritev, fd, iov, n, off, 0);
	map_wrote(fd, iov, off, done);
	if (!fails)
		return done;
	errno = fails;
	return -1;
}

static int map_sync(int fd, long call)
{
	enum fault_kind kind;
	int fails = map_fails(fd, FAULT_MAP_SYNC, &kind);
	bool armed;

	if (fails && kind != FAULT_EIO_DONE) {
		calls.lost = true;
		errno = fails;
		return -1;
	}
	armed = fault_arm(false);
	if (file_of(fd) == FILE_MAP && !calls.lost)
		mapfile_take(&calls.durable, calls.map_path);
	(void)fault_arm(armed);
	if (!fails)
		return (int)syscall(call, fd);
	errno = fails;
	return -1;
}

/* ---- in place of the C library's ------------------------------------------------------------- */

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	if (file_of(fd) == FILE_DATA)
		return data_call(false, iov, n, off);
	return syscall(SYS_preadv, fd, iov, n, off, 0);
}

ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
	struct iovec iov = {buf, len};
	enum fault_kind kind;
	int fails;

	if (file_of(fd) == FILE_DATA)
		return data_call(false, &iov, 1, off);
	fails = map_fails(fd, FAULT_MAP_READ, &kind);
	if (fails) {
		errno = fails;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, kind == FAULT_SHORT ? len / 2 : len, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return file_of(fd) == FILE_DATA ? data_call(true, iov, n, off) : map_write(fd, iov, n, off);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return pwritev(fd, &iov, 1, off);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return map_write(fd, iov, n, -1);
}

int fdatasync(int fd)
{
	return file_of(fd) == FILE_DATA ? data_sync() : map_sync(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return file_of(fd) == FILE_DATA ? data_sync() : map_sync(fd, SYS_fsync);
}
