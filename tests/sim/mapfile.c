/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/mapfile.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "server/kv.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"

#define PIECE 4096u

static struct rnd *failing;
static uint32_t failing_one_in;

int __real_kv_write_commit(struct kv_txn *txn);
int __wrap_kv_write_commit(struct kv_txn *txn);

static void mapfile_reserve(struct mapfile *mf, size_t len)
{
	if (mf->cap >= len)
		return;
	mf->bytes = oom_reallocarray(mf->bytes, 1, len);
	mf->cap = len;
}

static bool is_zero(const uint8_t *p)
{
	return p[0] == 0 && memcmp(p, p + 1, PIECE - 1) == 0;
}

void mapfile_take(struct mapfile *mf, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t end = 0;
	off_t data;

	MUST(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	while ((data = lseek(fd, end, SEEK_DATA)) >= 0) /* a file that was put ends in a hole */
		end = lseek(fd, data, SEEK_HOLE);
	MUST(end > 0, "%s", path);
	mapfile_reserve(mf, (size_t)end);
	MUST(pread(fd, mf->bytes, (size_t)end, 0) == end, "%s", path);
	mf->len = (size_t)end;
	while (mf->len >= PIECE && is_zero(mf->bytes + mf->len - PIECE))
		mf->len -= PIECE;
	mf->file_bytes = (uint64_t)st.st_size;
	(void)close(fd);
}

void mapfile_put(const struct mapfile *mf, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && pwrite(fd, mf->bytes, mf->len, 0) == (ssize_t)mf->len &&
		 ftruncate(fd, (off_t)mf->file_bytes) == 0,
	     "%s", path);
	(void)close(fd);
}

void mapfile_copy(struct mapfile *dst, const struct mapfile *src)
{
	mapfile_reserve(dst, src->len);
	memcpy(dst->bytes, src->bytes, src->len);
	dst->len = src->len;
	dst->file_bytes = src->file_bytes;
}

void mapfile_fini(struct mapfile *mf)
{
	free(mf->bytes);
	*mf = (struct mapfile){0};
}

void mapfile_fail(struct rnd *rnd, uint32_t one_in)
{
	failing = rnd;
	failing_one_in = one_in;
}

int __wrap_kv_write_commit(struct kv_txn *txn)
{
	if (!failing || !rnd_one_in(failing, failing_one_in))
		return __real_kv_write_commit(txn);
	if (rnd_one_in(failing, 2))
		kv_write_abort(txn);
	else
		MUST(__real_kv_write_commit(txn) == 0, "a commit");
	return -ERR_MAP;
}
