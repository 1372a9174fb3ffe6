/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cowd_record.c: cowd with a trace of all that it and LMDB have the store's files do (trace.h): the calls of
 * the C library that change files or sync them are replaced by these.  Where COWD_RECORD names no trace it
 * is cowd.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/daemon.h"
#include "tests/record/trace.h"

#define FDS_MAX 1024

static struct trace_head *record;

/* Of each descriptor: its file, or -1; and whether its writes are durable at once. */
static struct {
	int file;
	int now;
} fds[FDS_MAX];

static int file_of(int fd)
{
	return record && fd >= 0 && fd < FDS_MAX ? fds[fd].file - 1 : -1;
}

/* "data" and "map" of the store, by their names. */
static void note_open(int fd, const char *path, int flags)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (fd < 0 || fd >= FDS_MAX)
		return;
	fds[fd].file = strcmp(name, "data") == 0  ? TRACE_DATA + 1
		       : strcmp(name, "map") == 0 ? TRACE_MAP + 1
						  : 0;
	fds[fd].now = (flags & O_DSYNC) != 0;
}

static int any_open(const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);

	note_open(fd, path, flags);
	return fd;
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return any_open(path, flags, mode);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		fds[fd].file = 0;
	return (int)syscall(SYS_close, fd);
}

/* ---- writes ---------------------------------------------------------------------------------- */

static uint64_t write_begins(int fd, const struct iovec *iov, int n, off_t off)
{
	struct trace_entry entry = {.kind = TRACE_WRITE,
				    .file = (uint32_t)file_of(fd),
				    .off = (uint64_t)off,
				    .now = (uint32_t)fds[fd].now};
	uint8_t *bytes;
	size_t at = 0;
	uint64_t where;

	for (int i = 0; i < n; i++)
		entry.len += iov[i].iov_len;
	bytes = malloc(entry.len + 1);
	if (!bytes)
		_exit(98);
	for (int i = 0; i < n; i++) {
		memcpy(bytes + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	where = trace_add(record, &entry, bytes);
	free(bytes);
	return where;
}

static void ends(int fd, enum trace_kind kind, uint64_t of, int64_t result)
{
	struct trace_entry entry = {
	    .kind = kind, .file = (uint32_t)file_of(fd), .of = of, .result = result};
	int saved = errno;

	(void)trace_add(record, &entry, NULL);
	errno = saved;
}

static ssize_t any_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	uint64_t of = 0;
	ssize_t done;

	if (file_of(fd) >= 0)
		of = write_begins(fd, iov, n, off);
	done = syscall(SYS_pwritev, fd, iov, n, off, 0);
	if (of > 0)
		ends(fd, TRACE_WRITE_END, of, done);
	return done;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return any_pwritev(fd, &iov, 1, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return any_pwritev(fd, iov, n, off);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	uint64_t of = 0;
	ssize_t done;

	if (file_of(fd) >= 0)
		of = write_begins(fd, iov, n, syscall(SYS_lseek, fd, 0, SEEK_CUR));
	done = syscall(SYS_writev, fd, iov, n);
	if (of > 0)
		ends(fd, TRACE_WRITE_END, of, done);
	return done;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return file_of(fd) >= 0 ? writev(fd, &iov, 1) : syscall(SYS_write, fd, buf, len);
}

/* ---- syncs, and what nobody does to an open store --------------------------------------------- */

static int any_sync(int fd, long call)
{
	struct trace_entry entry = {.kind = TRACE_SYNC, .file = (uint32_t)file_of(fd)};
	uint64_t of = file_of(fd) >= 0 ? trace_add(record, &entry, NULL) : 0;
	int rc = (int)syscall(call, fd);

	if (of > 0)
		ends(fd, TRACE_SYNC_END, of, rc);
	return rc;
}

int fdatasync(int fd)
{
	return any_sync(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return any_sync(fd, SYS_fsync);
}

static void other(int fd)
{
	struct trace_entry entry = {.kind = TRACE_OTHER, .file = (uint32_t)file_of(fd)};

	if (file_of(fd) >= 0)
		(void)trace_add(record, &entry, NULL);
}

int ftruncate(int fd, off_t len)
{
	other(fd);
	return (int)syscall(SYS_ftruncate, fd, len);
}

int posix_fallocate(int fd, off_t off, off_t len)
{
	other(fd);
	return syscall(SYS_fallocate, fd, 0, off, len) < 0 ? errno : 0;
}

int main(int argc, char **argv)
{
	const char *path = getenv(TRACE_ENV);

	if (path) {
		record = trace_open(path);
		if (!record)
			return 97;
	}
	return daemon_run(argc, argv, NULL);
}
