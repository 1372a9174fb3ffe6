/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dev_mapped.c: a regular file as data device, through a mapping of all of it: reads and writes are
 * copies.  Meant for persistent memory under a file system with DAX.
 *
 * Where the file system and the processor allow it the mapping is MAP_SYNC: what is written is flushed
 * out of the processor's caches by the thread that wrote it, and durable then; a sync has nothing to
 * do.  Elsewhere the mapping is that of the page cache, and a sync is an msync() of it all.
 *
 * A copy that meets a bad place, or the end of a file that was cut, is a SIGBUS.  It ends the copy with
 * an error, as a failed read or write of another device; a SIGBUS of anything else goes where it went
 * before.  Nobody but the copies looks at the mapping: checksums are of what was copied out.
 */
#include "server/dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "server/dev_flush.h"
#include "server/dev_priv.h"

struct dev_mapped {
	struct dev dev;
	int fd;
	uint8_t *bytes; /* all blocks */
	bool flushes;	/* each write is durable; else syncs make it so */
};

/* ---- SIGBUS ---------------------------------------------------------------------------------- */

/* A copy under way in this thread. */
struct dev_mapped_copy {
	sigjmp_buf env;
	const struct dev_mapped *dm;
};

static _Thread_local struct dev_mapped_copy *volatile dev_mapped_copying;

/* Who had the signal before. */
static struct sigaction dev_mapped_other;

static bool dev_mapped_is_in(const struct dev_mapped *dm, const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)dm->bytes < dm->dev.nblks << BLK_SHIFT;
}

static void dev_mapped_on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct dev_mapped_copy *copy = dev_mapped_copying;

	if (copy && dev_mapped_is_in(copy->dm, info->si_addr))
		siglongjmp(copy->env, 1);
	if (dev_mapped_other.sa_flags & SA_SIGINFO) {
		dev_mapped_other.sa_sigaction(sig, info, context);
	} else if (dev_mapped_other.sa_handler != SIG_DFL &&
		   dev_mapped_other.sa_handler != SIG_IGN) {
		dev_mapped_other.sa_handler(sig);
	} else {
		(void)signal(sig, SIG_DFL); /* it happens again, and ends the process */
	}
}

/* In front of who has it now. */
static void dev_mapped_take_sigbus(void)
{
	struct sigaction sa = {.sa_sigaction = dev_mapped_on_sigbus, .sa_flags = SA_SIGINFO};
	struct sigaction now;

	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, NULL, &now) < 0 ||
	    ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == dev_mapped_on_sigbus))
		return;
	dev_mapped_other = now;
	(void)sigaction(SIGBUS, &sa, NULL);
}

/* ---- copying --------------------------------------------------------------------------------- */

static void dev_mapped_move(bool write, uint8_t *at, const struct iovec *iov, int iovcnt)
{
	for (int i = 0; i < iovcnt; i++) {
		if (write)
			memcpy(at, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, at, iov[i].iov_len);
		at += iov[i].iov_len;
	}
}

/* False: the mapping has a bad place there. */
static bool dev_mapped_try(const struct dev_mapped *dm, bool write, uint8_t *at,
			   const struct iovec *iov, int iovcnt)
{
	struct dev_mapped_copy copy = {.dm = dm};

	if (sigsetjmp(copy.env, 1) != 0) { /* the jump unblocks the signal */
		dev_mapped_copying = NULL;
		return false;
	}
	dev_mapped_copying = &copy;
	atomic_signal_fence(memory_order_seq_cst);
	dev_mapped_move(write, at, iov, iovcnt);
	if (write && dm->flushes)
		dev_flush(at, dev_iov_bytes(iov, iovcnt));
	atomic_signal_fence(memory_order_seq_cst);
	dev_mapped_copying = NULL;
	return true;
}

static int dev_mapped_vec(struct dev *dev, bool write, pblk_t blk, const struct iovec *iov,
			  int iovcnt)
{
	struct dev_mapped *dm = CONTAINER_OF(dev, struct dev_mapped, dev);
	uint64_t len = dev_iov_bytes(iov, iovcnt);
	int err = dev_check_range(dev, blk, len);

	if (err < 0)
		return err;
	if (dev_mapped_try(dm, write, dm->bytes + (blk.n << BLK_SHIFT), iov, iovcnt))
		return 0;
	log_event(LOG_ERROR, write ? "device-write" : "device-read",
		  "block=%llu bytes=%llu error=sigbus", (unsigned long long)blk.n,
		  (unsigned long long)len);
	return -ERR_IO;
}

static int dev_mapped_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	return dev_mapped_vec(dev, false, blk, iov, iovcnt);
}

static int dev_mapped_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	return dev_mapped_vec(dev, true, blk, iov, iovcnt);
}

static int dev_mapped_sync(struct dev *dev)
{
	struct dev_mapped *dm = CONTAINER_OF(dev, struct dev_mapped, dev);

	if (dm->flushes)
		return 0;
	if (msync(dm->bytes, dev->nblks << BLK_SHIFT, MS_SYNC) == 0 &&
	    dev_file_confirm(dm->fd) == 0)
		return 0;
	log_event(LOG_ERROR, "device-sync", "errno=%d", errno);
	return -ERR_IO;
}

static uint64_t dev_mapped_unwritten(struct dev *dev, pblk_t from, uint64_t within_nblks,
				     pblk_t *first)
{
	struct dev_mapped *dm = CONTAINER_OF(dev, struct dev_mapped, dev);

	return dev_file_find_run(dm->fd, dev, from, within_nblks, first);
}

static void dev_mapped_close(struct dev *dev)
{
	struct dev_mapped *dm = CONTAINER_OF(dev, struct dev_mapped, dev);

	(void)munmap(dm->bytes, dev->nblks << BLK_SHIFT);
	close(dm->fd);
	free(dm);
}

static const struct dev_ops dev_mapped_ops = {
    .read = dev_mapped_read,
    .write = dev_mapped_write,
    .sync = dev_mapped_sync,
    .unwritten = dev_mapped_unwritten,
    .close = dev_mapped_close,
};

/* ---- opening --------------------------------------------------------------------------------- */

static int dev_mapped_map(struct dev_mapped *dm)
{
	size_t len = dm->dev.nblks << BLK_SHIFT;
	void *bytes = MAP_FAILED;

	if (dev_flush_usable())
		bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
			     dm->fd, 0);
	dm->flushes = bytes != MAP_FAILED;
	if (!dm->flushes)
		bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, dm->fd, 0);
	if (bytes == MAP_FAILED)
		return err_from_errno(errno);
	dm->bytes = bytes;
	log_event(LOG_INFO, "device-mapped", "bytes=%zu durable-by=%s", len,
		  dm->flushes ? "cache-flush" : "msync");
	return 0;
}

/* The descriptor of a regular file. */
static int dev_mapped_open_fd(const char *path, int *fd_out)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == EISDIR ? -ERR_NOT_FILE : err_from_errno(errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ERR_NOT_FILE;
	}
	*fd_out = fd;
	return 0;
}

int dev_mapped_open(const char *path, const uint8_t uuid[16], struct dev **dev)
{
	struct dev_mapped *dm = calloc(1, sizeof(*dm));
	int err;

	if (!dm)
		return -ERR_NOMEM;
	err = dev_mapped_open_fd(path, &dm->fd);
	if (err < 0) {
		free(dm);
		return err;
	}
	err = dev_file_probe(dm->fd, uuid, &dm->dev.nblks);
	if (err == 0)
		err = dev_mapped_map(dm);
	if (err < 0) {
		close(dm->fd);
		free(dm);
		return err;
	}
	dev_mapped_take_sigbus();
	dm->dev.ops = &dev_mapped_ops;
	dm->dev.mapped = true;
	*dev = &dm->dev;
	return 0;
}
