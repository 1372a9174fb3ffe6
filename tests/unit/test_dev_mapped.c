/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dev_mapped.c: a device that is a mapping: the same bytes as by reads and writes of the file, and
 * an error where the mapping has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/dev.h"
#include "server/dev_flush.h"
#include "tests/unit/shut_down_fixture.h"

#define NBLKS	   32u
#define CAUGHT	   42
#define LINE_BYTES 64u

static const uint8_t uuid[16] = {1, 2, 3};

struct fixture {
	char dir[256];
	char path[300];
	struct dev *dev;
	uint8_t *buf; /* 4 blocks */
};

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(fx);
	(void)snprintf(fx->dir, sizeof(fx->dir), "%s/cowd-mapped-XXXXXX",
		       tmp ? tmp : "/var/tmp"); /* a disk, rather than memory */
	assert_non_null(mkdtemp(fx->dir));
	(void)snprintf(fx->path, sizeof(fx->path), "%s/data", fx->dir);
	assert_int_equal(dev_file_create(fx->path, NBLKS << BLK_SHIFT, 0, uuid), 0);
	fx->buf = aligned_alloc(BLK_BYTES, 4 * BLK_BYTES);
	assert_non_null(fx->buf);
	*state = fx;
	return 0;
}

static int setup_open(void **state)
{
	struct fixture *fx;

	assert_int_equal(setup(state), 0);
	fx = *state;
	assert_int_equal(dev_mapped_open(fx->path, uuid, &fx->dev), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	dev_close(fx->dev);
	assert_int_equal(unlink(fx->path), 0);
	assert_int_equal(rmdir(fx->dir), 0);
	free(fx->buf);
	free(fx);
	return 0;
}

/* Writes n blocks of a byte; reads n blocks, which are of that byte. */
static int put(struct fixture *fx, struct dev *dev, uint64_t blk, size_t n, uint8_t byte)
{
	struct iovec iov[4];

	memset(fx->buf, byte, n * BLK_BYTES);
	for (size_t i = 0; i < n; i++)
		iov[i] = (struct iovec){fx->buf + i * BLK_BYTES, BLK_BYTES};
	return dev_write(dev, pblk(blk), iov, (int)n);
}

static int get(struct fixture *fx, struct dev *dev, uint64_t blk, size_t n, uint8_t byte)
{
	struct iovec iov = {fx->buf, n * BLK_BYTES};
	int err;

	memset(fx->buf, (uint8_t)~byte, n * BLK_BYTES);
	err = dev_read(dev, pblk(blk), &iov, 1);
	for (size_t i = 0; i < n * BLK_BYTES && err == 0; i++)
		assert_int_equal(fx->buf[i], byte);
	return err;
}

static void reads_what_was_written(void **state)
{
	struct fixture *fx = *state;
	struct dev *file;

	assert_true(fx->dev->mapped);
	assert_int_equal(fx->dev->nblks, NBLKS);
	assert_int_equal(put(fx, fx->dev, 3, 4, 7), 0);
	assert_int_equal(get(fx, fx->dev, 3, 4, 7), 0);
	assert_int_equal(get(fx, fx->dev, 7, 1, 0), 0);
	assert_int_equal(dev_sync(fx->dev), 0);
	/* the same device by reads and writes, and back */
	assert_int_equal(dev_file_open(fx->path, uuid, &file), 0);
	assert_false(file->mapped);
	assert_int_equal(get(fx, file, 3, 4, 7), 0);
	assert_int_equal(put(fx, file, NBLKS - 1, 1, 8), 0);
	assert_int_equal(dev_sync(file), 0);
	dev_close(file);
	assert_int_equal(get(fx, fx->dev, NBLKS - 1, 1, 8), 0);
}

static void refuses_what_is_beyond_its_end(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(put(fx, fx->dev, NBLKS - 1, 2, 1), -ERR_IO);
	assert_int_equal(get(fx, fx->dev, NBLKS, 1, 1), -ERR_IO);
	assert_int_equal(get(fx, fx->dev, UINT64_MAX, 1, 1), -ERR_IO);
	assert_int_equal(get(fx, fx->dev, NBLKS - 1, 1, 0), 0);
}

static void tells_what_is_unwritten(void **state)
{
	struct fixture *fx = *state;
	struct dev *file;
	pblk_t first = pblk(0);
	pblk_t same = pblk(0);
	uint64_t n;

	assert_int_equal(put(fx, fx->dev, 3, 4, 7), 0);
	assert_int_equal(dev_sync(fx->dev), 0);
	assert_int_equal(dev_file_open(fx->path, uuid, &file), 0);
	n = dev_unwritten(file, pblk(1), NBLKS - 1, &first);
	assert_int_equal(dev_unwritten(fx->dev, pblk(1), NBLKS - 1, &same), n);
	assert_int_equal(same.n, first.n);
	dev_close(file);
}

static void opens_only_what_it_can_map(void **state)
{
	struct fixture *fx = *state;
	static const uint8_t other[16] = {9};
	struct dev *dev;

	assert_int_equal(dev_mapped_open(fx->dir, uuid, &dev), -ERR_NOT_FILE);
	assert_int_equal(dev_mapped_open("/dev/null", uuid, &dev), -ERR_NOT_FILE);
	assert_int_equal(dev_mapped_open("/nonexistent/data", uuid, &dev), -ERR_NOENT);
	assert_int_equal(dev_mapped_open(fx->path, other, &dev), -ERR_FORMAT_STORE);
	assert_int_equal(truncate(fx->path, (NBLKS - 1) << BLK_SHIFT), 0);
	assert_int_equal(dev_mapped_open(fx->path, uuid, &dev), -ERR_FORMAT_SIZE);
}

/* ---- places that are not there ---------------------------------------------------------------- */

static void a_file_that_was_cut_is_an_error(void **state)
{
	struct fixture *fx = *state;

	/* here, since a handler of the test framework's is set for each test */
	assert_int_equal(dev_mapped_open(fx->path, uuid, &fx->dev), 0);
	assert_int_equal(put(fx, fx->dev, 3, 4, 7), 0);
	assert_int_equal(truncate(fx->path, 5 << BLK_SHIFT), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get(fx, fx->dev, 5, 1, 7), -ERR_IO);
		assert_int_equal(get(fx, fx->dev, 3, 4, 7), -ERR_IO);
		assert_int_equal(put(fx, fx->dev, 6, 1, 9), -ERR_IO);
		assert_int_equal(get(fx, fx->dev, 3, 2, 7), 0); /* goes on with what it has */
	}
	assert_int_equal(put(fx, fx->dev, 4, 1, 8), 0);
	assert_int_equal(truncate(fx->path, NBLKS << BLK_SHIFT), 0);
	assert_int_equal(get(fx, fx->dev, 5, 4, 0), 0);
	assert_int_equal(put(fx, fx->dev, 5, 4, 9), 0);
	assert_int_equal(get(fx, fx->dev, 5, 4, 9), 0);
}

/* Touches memory that has no file behind it, beside a device. */
static void touch_nothing(struct fixture *fx)
{
	volatile uint8_t *bytes;
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(dev_mapped_open(fx->path, uuid, &fx->dev), 0);
	assert_int_equal(truncate(fx->path, 5 << BLK_SHIFT), 0);
	assert_int_equal(get(fx, fx->dev, 6, 1, 0), -ERR_IO);
	bytes = mmap(NULL, BLK_BYTES, PROT_READ, MAP_SHARED, fileno(f), 0);
	assert_true(bytes != MAP_FAILED);
	(void)bytes[0];
}

static void on_sigbus(int sig)
{
	(void)sig;
	_exit(CAUGHT);
}

/* The way that a process ends which does that; "handler": it had one before the device. */
static int end_of(struct fixture *fx, void (*handler)(int sig))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGBUS, handler);
		touch_nothing(fx);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void another_sigbus_goes_to_who_had_it(void **state)
{
	int status = end_of(*state, on_sigbus);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), CAUGHT);
}

static void another_sigbus_ends_the_process(void **state)
{
	int status = end_of(*state, SIG_DFL);

	/* a sanitizer turns it into an exit of its own */
	assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) ||
		    (WIFEXITED(status) && WEXITSTATUS(status) != 0));
}

/* ---- syncing --------------------------------------------------------------------------------- */

static unsigned int msyncs;
static bool msync_fails;

int __real_msync(void *addr, size_t len, int flags);
int __wrap_msync(void *addr, size_t len, int flags);

int __wrap_msync(void *addr, size_t len, int flags)
{
	assert_int_equal(len, NBLKS << BLK_SHIFT);
	assert_int_equal(flags, MS_SYNC);
	msyncs++;
	if (!msync_fails)
		return __real_msync(addr, len, flags);
	errno = EIO;
	return -1;
}

/* Memory itself, where each copy is durable when it has been flushed. */
static bool is_memory(const struct fixture *fx)
{
	int fd = open(fx->path, O_RDWR | O_CLOEXEC);
	void *bytes =
	    mmap(NULL, BLK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);

	close(fd);
	return bytes != MAP_FAILED && munmap(bytes, BLK_BYTES) == 0;
}

static void a_failed_sync_is_an_error(void **state)
{
	struct fixture *fx = *state;
	unsigned int each = is_memory(fx) && dev_flush_usable() ? 0 : 1;

	msyncs = 0;
	msync_fails = true;
	assert_int_equal(dev_sync(fx->dev), each ? -ERR_IO : 0);
	msync_fails = false;
	assert_int_equal(dev_sync(fx->dev), 0);
	assert_int_equal(msyncs, 2 * each);
}

/* msync() itself returns 0. */
static void a_sync_while_the_file_system_shuts_down_is_an_error(void **state)
{
	struct fixture *fx = *state;
	bool syncs = !is_memory(fx) || !dev_flush_usable();

	is_shut_down = true;
	assert_int_equal(dev_sync(fx->dev), syncs ? -ERR_IO : 0);
	is_shut_down = false;
	assert_int_equal(dev_sync(fx->dev), 0);
}

/* ---- flushing -------------------------------------------------------------------------------- */

static void flushing_changes_nothing(void **state)
{
	struct fixture *fx = *state;

	if (!dev_flush_usable())
		return; /* a processor without the instruction: a device says "msync" there */
	for (size_t i = 0; i < BLK_BYTES; i++)
		fx->buf[i] = (uint8_t)(i * 7);
	for (size_t off = 0; off <= LINE_BYTES; off += 13)
		for (size_t len = 0; len <= 3 * LINE_BYTES; len += 31)
			dev_flush(fx->buf + off, len);
	dev_flush(fx->buf, 4 * BLK_BYTES);
	for (size_t i = 0; i < BLK_BYTES; i++)
		assert_int_equal(fx->buf[i], (uint8_t)(i * 7));
}

#define CLOSED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OPEN(name)   cmocka_unit_test_setup_teardown(name, setup_open, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CLOSED(another_sigbus_goes_to_who_had_it),
	    CLOSED(another_sigbus_ends_the_process),
	    OPEN(reads_what_was_written),
	    OPEN(refuses_what_is_beyond_its_end),
	    OPEN(tells_what_is_unwritten),
	    CLOSED(opens_only_what_it_can_map),
	    CLOSED(a_file_that_was_cut_is_an_error),
	    OPEN(a_failed_sync_is_an_error),
	    OPEN(a_sync_while_the_file_system_shuts_down_is_an_error),
	    CLOSED(flushing_changes_nothing),
	};

	return cmocka_run_group_tests_name("dev mapped", tests, NULL, NULL);
}
