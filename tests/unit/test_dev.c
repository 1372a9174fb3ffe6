/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dev.c: the device in a file: its header, its bounds, and large transfers.
 */
#include "server/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/unit/shut_down_fixture.h"
#include "tests/unit/written.h"

#define NBLKS	     64u
#define HEADER_BYTES 40u /* what the header block holds */

/* Reads of a device come here: so many of them fail. */
static unsigned int nfailing;
static unsigned int nreads;

/* What the kernel was told to forget before any of them. */
static unsigned int nforgotten;

int __real_posix_fadvise(int fd, off_t off, off_t len, int advice);
int __wrap_posix_fadvise(int fd, off_t off, off_t len, int advice);

int __wrap_posix_fadvise(int fd, off_t off, off_t len, int advice)
{
	if (nreads == 0 && off == 0 && len == 0 && advice == POSIX_FADV_DONTNEED)
		nforgotten++;
	return __real_posix_fadvise(fd, off, len, advice);
}

ssize_t __real_preadv(int fd, const struct iovec *iov, int n, off_t off);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t off);

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	nreads++;
	if (nfailing == 0)
		return __real_preadv(fd, iov, n, off);
	nfailing--;
	errno = EIO;
	return -1;
}

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

struct fixture {
	char dir[64];
	char path[96];
	uint8_t *buf; /* NBLKS blocks, aligned */
};

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	nfailing = 0;
	if (!fx)
		return -1;
	snprintf(fx->dir, sizeof(fx->dir), "%s/cowd-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	fx->buf = aligned_alloc(BLK_BYTES, (size_t)NBLKS * BLK_BYTES);
	if (!mkdtemp(fx->dir) || !fx->buf)
		return -1;
	snprintf(fx->path, sizeof(fx->path), "%s/data", fx->dir);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	int rc;

	unlink(fx->path);
	rc = rmdir(fx->dir);
	free(fx->buf);
	free(fx);
	return rc;
}

static struct dev *make(const struct fixture *fx, uint64_t nblks)
{
	struct dev *dev = NULL;

	assert_int_equal(dev_file_create(fx->path, nblks << BLK_SHIFT, 0, uuid), 0);
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	assert_non_null(dev);
	return dev;
}

static void fill(uint8_t *buf, uint32_t nblks, unsigned int seed)
{
	for (uint32_t i = 0; i < nblks; i++)
		memset(buf + (size_t)i * BLK_BYTES, (int)((seed + i) & 0xff), BLK_BYTES);
}

static int read_blks(struct dev *dev, uint64_t blk, uint8_t *buf, uint64_t nblks)
{
	struct iovec iov = {buf, nblks << BLK_SHIFT};

	return dev_read(dev, pblk(blk), &iov, 1);
}

static int write_blks(struct dev *dev, uint64_t blk, uint8_t *buf, uint64_t nblks)
{
	struct iovec iov = {buf, nblks << BLK_SHIFT};

	return dev_write(dev, pblk(blk), &iov, 1);
}

static off_t file_size(const struct fixture *fx)
{
	struct stat st;

	assert_int_equal(stat(fx->path, &st), 0);
	return st.st_size;
}

/* ---- create and open ------------------------------------------------------------------------- */

static void test_create_rounds_down_to_blocks(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev;

	assert_int_equal(dev_file_create(fx->path, NBLKS * BLK_BYTES + 4095, 0, uuid), 0);
	assert_int_equal(file_size(fx), NBLKS * BLK_BYTES);
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	assert_int_equal(dev->nblks, NBLKS);
	dev_close(dev);
}

static void test_create_allocates_everything(void **state)
{
	struct fixture *fx = *state;
	struct stat st;

	assert_int_equal(dev_file_create(fx->path, NBLKS * BLK_BYTES, 0, uuid), 0);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= NBLKS * BLK_BYTES);
}

/* Less than one write, several and a part, and all that there is. */
static void test_create_writes_the_first_blocks(void **state)
{
	static const uint64_t prewrites[] = {0, 1, 7, 256, 257, 599, 600};
	const uint64_t nblks = 601;
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(prewrites); i++) {
		uint64_t n = prewrites[i];
		struct dev *dev;

		assert_int_equal(dev_file_create(fx->path, nblks << BLK_SHIFT, n, uuid), 0);
		assert_int_equal(written_bytes(fx->path), (1 + n) << BLK_SHIFT);
		assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
		assert_int_equal(dev->nblks, nblks);
		for (uint64_t blk = 1; blk < nblks; blk++) {
			memset(fx->buf, 1, BLK_BYTES);
			assert_int_equal(read_blks(dev, blk, fx->buf, 1), 0);
			assert_int_equal(fx->buf[0] | fx->buf[BLK_BYTES - 1], 0);
		}
		dev_close(dev);
		assert_int_equal(unlink(fx->path), 0);
	}
}

static void test_create_writes_no_more_than_there_is(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(dev_file_create(fx->path, NBLKS * BLK_BYTES, NBLKS, uuid), -ERR_INVAL);
	assert_int_equal(access(fx->path, F_OK), -1);
}

static void test_create_leaves_an_existing_file(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);

	fill(fx->buf, 1, 7);
	assert_int_equal(write_blks(dev, 5, fx->buf, 1), 0);
	dev_close(dev);
	assert_int_equal(dev_file_create(fx->path, 2 * NBLKS * BLK_BYTES, 0, uuid), -ERR_EXIST);
	assert_int_equal(file_size(fx), NBLKS * BLK_BYTES);
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	memset(fx->buf, 0, BLK_BYTES);
	assert_int_equal(read_blks(dev, 5, fx->buf, 1), 0);
	assert_int_equal(fx->buf[0], 7);
	dev_close(dev);
}

static void test_create_too_small_leaves_nothing(void **state)
{
	static const uint64_t sizes[] = {0, 1, 4095, 4096, 8191};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(dev_file_create(fx->path, sizes[i], 0, uuid), -ERR_INVAL);
		assert_int_equal(access(fx->path, F_OK), -1);
	}
}

/* Makes writes of this process fail beyond a file offset, as a full file system does. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit lim;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &lim), 0);
	lim.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

static void test_create_without_space_leaves_nothing(void **state)
{
	struct fixture *fx = *state;
	int err;

	limit_file_size((rlim_t)8 * BLK_BYTES);
	err = dev_file_create(fx->path, NBLKS * BLK_BYTES, 0, uuid);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(err, -ERR_NOSPC);
	assert_int_equal(access(fx->path, F_OK), -1);
}

static void test_open_needs_a_file(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = NULL;

	assert_int_equal(dev_file_open(fx->path, uuid, &dev), -ERR_NOENT);
	assert_null(dev);
}

static void assert_open_is_refused(const struct fixture *fx, const uint8_t id[16], int err)
{
	struct dev *dev = NULL;

	assert_int_equal(dev_file_open(fx->path, id, &dev), err);
	assert_null(dev);
}

static void test_open_refuses_another_store(void **state)
{
	struct fixture *fx = *state;
	uint8_t other[16];

	dev_close(make(fx, NBLKS));
	for (size_t i = 0; i < sizeof(uuid); i++) {
		memcpy(other, uuid, sizeof(uuid));
		other[i] ^= 1;
		assert_open_is_refused(fx, other, -ERR_FORMAT_STORE);
	}
}

static void flip_byte(const struct fixture *fx, off_t off)
{
	uint8_t byte;
	int fd = open(fx->path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, off), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, off), 1);
	close(fd);
}

static void test_open_refuses_any_flipped_byte(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev;

	dev_close(make(fx, NBLKS));
	for (off_t off = 0; off < HEADER_BYTES; off++) {
		flip_byte(fx, off);
		assert_open_is_refused(fx, uuid, -ERR_FORMAT_OTHER);
		flip_byte(fx, off);
	}
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	dev_close(dev);
}

static void test_open_refuses_a_truncated_file(void **state)
{
	static const off_t sizes[] = {(NBLKS - 1) * BLK_BYTES,
				      NBLKS * BLK_BYTES - 1,
				      BLK_BYTES,
				      BLK_BYTES - 1,
				      HEADER_BYTES,
				      1,
				      0};
	struct fixture *fx = *state;

	dev_close(make(fx, NBLKS));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(truncate(fx->path, sizes[i]), 0);
		assert_open_is_refused(fx, uuid,
				       sizes[i] < BLK_BYTES ? -ERR_FORMAT_OTHER : -ERR_FORMAT_SIZE);
	}
}

/* What a failed sync has left in the kernel's memory alone is not read. */
static void test_open_forgets_what_the_kernel_has(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = NULL;

	dev_close(make(fx, NBLKS));
	nreads = 0;
	nforgotten = 0;
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	assert_true(nreads > 0);
	assert_int_equal(nforgotten, 1);
	dev_close(dev);
}

/* Whoever asks why is not to take a bad disk for another format. */
static void test_header_that_cannot_be_read_is_an_io_error(void **state)
{
	struct fixture *fx = *state;

	dev_close(make(fx, NBLKS));
	nfailing = 1;
	assert_open_is_refused(fx, uuid, -ERR_IO);
	assert_int_equal(nfailing, 0);
}

static void test_longer_file_has_the_blocks_of_its_header(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev;

	dev_close(make(fx, NBLKS));
	assert_int_equal(truncate(fx->path, 2 * NBLKS * BLK_BYTES), 0);
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	assert_int_equal(dev->nblks, NBLKS);
	assert_int_equal(read_blks(dev, NBLKS, fx->buf, 1), -ERR_IO);
	dev_close(dev);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static void test_written_is_read_after_reopen(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);
	static uint8_t want[(NBLKS - 1) * BLK_BYTES];

	fill(fx->buf, NBLKS - 1, 3);
	memcpy(want, fx->buf, sizeof(want));
	assert_int_equal(write_blks(dev, 1, fx->buf, NBLKS - 1), 0);
	assert_int_equal(dev_sync(dev), 0);
	dev_close(dev);
	assert_int_equal(dev_file_open(fx->path, uuid, &dev), 0);
	memset(fx->buf, 0, sizeof(want));
	assert_int_equal(read_blks(dev, 1, fx->buf, NBLKS - 1), 0);
	assert_memory_equal(fx->buf, want, sizeof(want));
	dev_close(dev);
}

static void test_buffers_of_a_vector_follow_each_other(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);
	struct iovec iov[4];
	static const size_t nblks[] = {1, 3, 2, 1};
	uint8_t *at = fx->buf + 8 * BLK_BYTES;

	fill(fx->buf, NBLKS, 1);
	/* from back to front in memory, so that order on the device is not order in memory */
	for (size_t i = 0; i < ARRAY_LEN(iov); i++) {
		at -= nblks[i] * BLK_BYTES;
		iov[i] = (struct iovec){at, nblks[i] * BLK_BYTES};
	}
	assert_int_equal(dev_write(dev, pblk(10), iov, 4), 0);
	memset(fx->buf, 0, 8 * BLK_BYTES);
	assert_int_equal(read_blks(dev, 10, fx->buf, 7), 0);
	assert_int_equal(fx->buf[0], 1 + 7);
	assert_int_equal(fx->buf[1 * BLK_BYTES], 1 + 4);
	assert_int_equal(fx->buf[3 * BLK_BYTES], 1 + 6);
	assert_int_equal(fx->buf[4 * BLK_BYTES], 1 + 2);
	assert_int_equal(fx->buf[5 * BLK_BYTES], 1 + 3);
	assert_int_equal(fx->buf[6 * BLK_BYTES], 1 + 1);
	dev_close(dev);
}

static void test_vector_longer_than_one_call_takes(void **state)
{
	const uint32_t n = 2 * 1024 + 300;
	struct fixture *fx = *state;
	struct dev *dev = make(fx, n + 1);
	struct iovec *iov = calloc(n, sizeof(*iov));
	uint8_t *buf = aligned_alloc(BLK_BYTES, (size_t)n * BLK_BYTES);

	assert_non_null(iov);
	assert_non_null(buf);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = buf + (size_t)i * BLK_BYTES;

		memset(at, (int)(i % 251), BLK_BYTES);
		iov[i] = (struct iovec){at, BLK_BYTES};
	}
	assert_int_equal(dev_write(dev, pblk(1), iov, (int)n), 0);
	memset(buf, 0xff, (size_t)n * BLK_BYTES);
	assert_int_equal(dev_read(dev, pblk(1), iov, (int)n), 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(buf[(size_t)i * BLK_BYTES], i % 251);
		assert_int_equal(buf[(size_t)i * BLK_BYTES + BLK_BYTES - 1], i % 251);
	}
	free(buf);
	free(iov);
	dev_close(dev);
}

static void test_range_beyond_the_end_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);
	struct iovec two[2] = {{fx->buf, BLK_BYTES}, {fx->buf, BLK_BYTES}};

	fill(fx->buf, NBLKS, 9);
	assert_int_equal(write_blks(dev, NBLKS, fx->buf, 1), -ERR_IO);
	assert_int_equal(write_blks(dev, NBLKS - 1, fx->buf, 2), -ERR_IO);
	assert_int_equal(dev_write(dev, pblk(NBLKS - 1), two, 2), -ERR_IO);
	assert_int_equal(read_blks(dev, NBLKS - 1, fx->buf, 2), -ERR_IO);
	assert_int_equal(read_blks(dev, UINT64_MAX, fx->buf, 1), -ERR_IO);
	assert_int_equal(write_blks(dev, UINT64_MAX >> BLK_SHIFT, fx->buf, 2), -ERR_IO);
	assert_int_equal(write_blks(dev, (UINT64_MAX >> BLK_SHIFT) + 2, fx->buf, 1), -ERR_IO);
	/* nothing of a refused write is there, and the file has not grown */
	assert_int_equal(file_size(fx), NBLKS * BLK_BYTES);
	assert_int_equal(read_blks(dev, NBLKS - 1, fx->buf, 1), 0);
	assert_int_equal(fx->buf[0], 0);
	assert_int_equal(write_blks(dev, NBLKS - 1, fx->buf, 1), 0);
	dev_close(dev);
}

static void test_file_cut_while_open_is_a_short_read(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);

	assert_int_equal(truncate(fx->path, 10 * BLK_BYTES), 0);
	assert_int_equal(read_blks(dev, 8, fx->buf, 2), 0);
	assert_int_equal(read_blks(dev, 8, fx->buf, 4), -ERR_SHORT_IO);
	assert_int_equal(read_blks(dev, 20, fx->buf, 1), -ERR_SHORT_IO);
	dev_close(dev);
}

static void test_write_that_fails_in_the_middle_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);
	struct iovec iov[4];
	int whole;
	int part;

	fill(fx->buf, NBLKS, 9);
	for (int i = 0; i < 4; i++)
		iov[i] = (struct iovec){fx->buf + (size_t)i * BLK_BYTES, BLK_BYTES};
	limit_file_size((rlim_t)10 * BLK_BYTES);
	part = dev_write(dev, pblk(8), iov, 4);
	whole = dev_write(dev, pblk(20), iov, 4);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(part, -ERR_IO);
	assert_int_equal(whole, -ERR_IO);
	assert_int_equal(read_blks(dev, 10, fx->buf, 1), 0);
	assert_int_equal(fx->buf[0], 0);
	dev_close(dev);
}

/* ---- syncing --------------------------------------------------------------------------------- */

static unsigned int syncs;
static bool sync_fails;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	syncs++;
	if (!sync_fails)
		return __real_fdatasync(fd);
	errno = EIO;
	return -1;
}

/* The sync itself returns 0. */
static void test_sync_while_the_file_system_shuts_down_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);

	is_shut_down = true;
	assert_int_equal(dev_sync(dev), -ERR_IO);
	is_shut_down = false;
	assert_int_equal(dev_sync(dev), 0);
	dev_close(dev);
}

/* The kernel says it once. */
static void test_failed_sync_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct dev *dev = make(fx, NBLKS);

	syncs = 0;
	sync_fails = true;
	assert_int_equal(dev_sync(dev), -ERR_IO);
	assert_int_equal(syncs, 1);
	sync_fails = false;
	assert_int_equal(dev_sync(dev), 0);
	assert_int_equal(syncs, 2);
	dev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_create_rounds_down_to_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_create_allocates_everything, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_create_writes_the_first_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_create_writes_no_more_than_there_is, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_create_leaves_an_existing_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_create_too_small_leaves_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_create_without_space_leaves_nothing, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_open_needs_a_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_open_refuses_another_store, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_open_refuses_any_flipped_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_open_refuses_a_truncated_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_open_forgets_what_the_kernel_has, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_header_that_cannot_be_read_is_an_io_error, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_longer_file_has_the_blocks_of_its_header, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_written_is_read_after_reopen, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_buffers_of_a_vector_follow_each_other, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_vector_longer_than_one_call_takes, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_range_beyond_the_end_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_file_cut_while_open_is_a_short_read, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_write_that_fails_in_the_middle_is_an_error, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_failed_sync_is_an_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_while_the_file_system_shuts_down_is_an_error,
					    setup, teardown),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests_name("dev", tests, NULL, NULL);
}
