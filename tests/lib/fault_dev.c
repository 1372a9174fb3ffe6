/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fault_dev.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"

#define GATE_POLL_NS 5000000

/* One kind of call: how many there were, and which of them fail. */
struct fault {
	const char *name;
	atomic_ulong count;
	unsigned long fail_at; /* 0: none */
	bool ever_after;
};

struct fault_dev {
	struct dev dev;
	struct dev *inner;
	struct fault read;
	struct fault write;
	struct fault sync;
	const char *gate;
	uint64_t gate_from;
	int count_fd; /* -1: none */
};

/* Counts a call; 0 or the planned failure. */
static int fault_next(struct fault_dev *fd, struct fault *f)
{
	unsigned long n = atomic_fetch_add(&f->count, 1) + 1;

	if (fd->count_fd >= 0)
		dprintf(fd->count_fd, "%s %lu\n", f->name, n);
	if (f->fail_at == 0 || n < f->fail_at || (n > f->fail_at && !f->ever_after))
		return 0;
	return -ERR_IO;
}

static void gate_wait(const struct fault_dev *fd, pblk_t blk)
{
	static const struct timespec poll = {0, GATE_POLL_NS};

	while (fd->gate && blk.n >= fd->gate_from && access(fd->gate, F_OK) == 0)
		nanosleep(&poll, NULL);
}

static int fault_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct fault_dev *fd = CONTAINER_OF(dev, struct fault_dev, dev);
	int err = fault_next(fd, &fd->read);

	gate_wait(fd, blk);
	return err < 0 ? err : dev_read(fd->inner, blk, iov, iovcnt);
}

static int fault_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct fault_dev *fd = CONTAINER_OF(dev, struct fault_dev, dev);
	int err = fault_next(fd, &fd->write);

	return err < 0 ? err : dev_write(fd->inner, blk, iov, iovcnt);
}

static int fault_sync(struct dev *dev)
{
	struct fault_dev *fd = CONTAINER_OF(dev, struct fault_dev, dev);
	int err = fault_next(fd, &fd->sync);

	return err < 0 ? err : dev_sync(fd->inner);
}

static void fault_close(struct dev *dev)
{
	struct fault_dev *fd = CONTAINER_OF(dev, struct fault_dev, dev);

	dev_close(fd->inner);
	if (fd->count_fd >= 0)
		close(fd->count_fd);
	free(fd);
}

static const struct dev_ops fault_dev_ops = {
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .close = fault_close,
};

static unsigned long number_of(const char *variable, const char *text, const char **rest)
{
	char *end = NULL;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || end == text)
		errx(EXIT_FAILURE, "%s=%s is not a number", variable, text);
	*rest = end;
	return n;
}

static void fault_plan(struct fault *f, const char *name, const char *variable)
{
	const char *text = getenv(variable);
	const char *rest = "";

	f->name = name;
	if (!text)
		return;
	f->fail_at = number_of(variable, text, &rest);
	f->ever_after = strcmp(rest, "+") == 0;
	if (f->fail_at == 0 || (*rest != '\0' && !f->ever_after))
		errx(EXIT_FAILURE, "%s=%s is not N or N+", variable, text);
}

struct dev *fault_dev_wrap(struct dev *inner)
{
	struct fault_dev *fd = calloc(1, sizeof(*fd));
	const char *from = getenv("COWD_FAULT_GATE_FROM");
	const char *count = getenv("COWD_FAULT_COUNT_FILE");
	const char *rest = "";

	if (!fd)
		err(EXIT_FAILURE, "fault_dev");
	fd->dev =
	    (struct dev){.ops = &fault_dev_ops, .nblks = inner->nblks, .mapped = inner->mapped};
	fd->inner = inner;
	fault_plan(&fd->read, "read", "COWD_FAULT_READ_EIO");
	fault_plan(&fd->write, "write", "COWD_FAULT_WRITE_EIO");
	fault_plan(&fd->sync, "sync", "COWD_FAULT_SYNC_EIO");
	fd->gate = getenv("COWD_FAULT_READ_GATE");
	if (from)
		fd->gate_from = number_of("COWD_FAULT_GATE_FROM", from, &rest);
	if (*rest != '\0')
		errx(EXIT_FAILURE, "COWD_FAULT_GATE_FROM=%s is not a number", from);
	fd->count_fd = count ? open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (count && fd->count_fd < 0)
		err(EXIT_FAILURE, "%s", count);
	return &fd->dev;
}
