/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/mapfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "server/kv.h"
#include "tests/lib/must.h"

static struct rnd *failing;
static uint32_t failing_one_in;
static uint64_t commits; /* so far, of whatever environment */

int __real_kv_write_commit(struct kv_txn *txn);
int __wrap_kv_write_commit(struct kv_txn *txn);

/* Takes a page, if it is another one. */
static void mapfile_page(struct mapfile *mf, uint64_t n, const uint8_t *bytes)
{
	static const uint8_t zeros[BLK_BYTES];
	const struct image_blk *has = image_at(&mf->pages, n);
	struct image_blk *blk = NULL;

	if (memcmp(bytes, has ? has->bytes : zeros, BLK_BYTES) == 0)
		return;
	blk = image_blk_new(bytes);
	image_set(&mf->pages, n, blk);
	image_blk_put(blk);
}

/* The pages that the file has, by number, up to the last; the others are zeros. */
static uint64_t file_end(int fd)
{
	off_t end = 0;
	off_t data;

	while ((data = lseek(fd, end, SEEK_DATA)) >= 0) /* a file that was put ends in a hole */
		end = lseek(fd, data, SEEK_HOLE);
	return ((uint64_t)end + BLK_BYTES - 1) / BLK_BYTES;
}

void mapfile_take(struct mapfile *mf, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t bytes[BLK_BYTES];
	struct stat st;
	uint64_t end;

	MUST(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	mapfile_fini(mf);
	image_init(&mf->pages, (uint64_t)st.st_size / BLK_BYTES);
	end = file_end(fd);
	MUST(end > 0, "%s", path);
	for (uint64_t n = 0; n < end; n++) {
		MUST(pread(fd, bytes, BLK_BYTES, (off_t)(n * BLK_BYTES)) == BLK_BYTES, "%s", path);
		mapfile_page(mf, n, bytes);
	}
	(void)close(fd);
}

/* The file, mapped, with what is there, or nothing. */
static uint8_t *file_map(const char *path, uint64_t npages, int flags)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	uint8_t *mem;

	MUST(fd >= 0 && ftruncate(fd, (off_t)(npages * BLK_BYTES)) == 0, "%s", path);
	mem = mmap(NULL, npages * BLK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(mem != MAP_FAILED, "%s", path);
	(void)close(fd);
	return mem;
}

void mapfile_put(const struct mapfile *mf, const char *path)
{
	uint8_t *mem = file_map(path, mf->pages.nblks, O_TRUNC);
	uint64_t end = image_end(&mf->pages);

	for (uint64_t n = 0; n < end; n++)
		image_read(&mf->pages, n, mem + n * BLK_BYTES);
	MUST(munmap(mem, mf->pages.nblks * BLK_BYTES) == 0, "%s", path);
}

void mapfile_copy(struct mapfile *dst, const struct mapfile *src)
{
	struct image old = dst->pages;

	image_copy(&dst->pages, &src->pages);
	image_fini(&old);
}

void mapfile_fini(struct mapfile *mf)
{
	image_fini(&mf->pages);
}

/* ---- a place --------------------------------------------------------------------------------- */

void mapplace_fini(struct mapplace *place)
{
	if (place->mem)
		MUST(munmap(place->mem, place->has.pages.nblks * BLK_BYTES) == 0, "%s",
		     place->path);
	mapfile_fini(&place->has);
	*place = (struct mapplace){0};
}

/* What LMDB has written since it was looked at. */
static void mapplace_look(struct mapplace *place)
{
	uint64_t end;
	int fd;

	if (place->commits == commits)
		return;
	fd = open(place->path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0, "%s", place->path);
	end = file_end(fd);
	(void)close(fd);
	for (uint64_t n = 0; n < end; n++)
		mapfile_page(&place->has, n, place->mem + n * BLK_BYTES);
	place->commits = commits;
}

static void mapplace_open(struct mapplace *place, const char *path, uint64_t npages)
{
	if (place->mem && place->has.pages.nblks == npages && strcmp(place->path, path) == 0)
		return;
	mapplace_fini(place);
	MUST((size_t)snprintf(place->path, sizeof(place->path), "%s", path) < sizeof(place->path),
	     "%s", path);
	place->mem = file_map(path, npages, O_TRUNC);
	place->commits = commits;
	image_init(&place->has.pages, npages);
}

void mapplace_put(struct mapplace *place, const struct mapfile *mf, const char *path)
{
	uint64_t end = image_end(&mf->pages);

	mapplace_open(place, path, mf->pages.nblks);
	mapplace_look(place);
	if (end < image_end(&place->has.pages))
		end = image_end(&place->has.pages);
	for (uint64_t n = 0; n < end; n++)
		if (image_at(&place->has.pages, n) != image_at(&mf->pages, n))
			image_read(&mf->pages, n, place->mem + n * BLK_BYTES);
	mapfile_copy(&place->has, mf);
}

void mapplace_take(struct mapplace *place, struct mapfile *mf)
{
	mapplace_look(place);
	mapfile_copy(mf, &place->has);
}

/* ---- commits that fail ----------------------------------------------------------------------- */

uint64_t mapfile_commits(void)
{
	return commits;
}

void mapfile_fail(struct rnd *rnd, uint32_t one_in)
{
	failing = rnd;
	failing_one_in = one_in;
}

int __wrap_kv_write_commit(struct kv_txn *txn)
{
	commits++;
	if (!failing || !rnd_one_in(failing, failing_one_in))
		return __real_kv_write_commit(txn);
	if (rnd_one_in(failing, 2))
		kv_write_abort(txn);
	else
		(void)!__real_kv_write_commit(txn); /* it may want memory that is refused, too */
	return -ERR_MAP;
}
