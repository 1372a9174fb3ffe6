/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/record/replay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/must.h"

static bool is_zero(const uint8_t *bytes)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, BLK_BYTES - 1) == 0;
}

static int open_file(const char *path, uint64_t *nblks)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	MUST(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	*nblks = (uint64_t)st.st_size / BLK_BYTES;
	return fd;
}

static void load_file(struct image *image, const char *path)
{
	uint8_t bytes[BLK_BYTES];
	uint64_t nblks;
	int fd = open_file(path, &nblks);

	image_init(image, nblks);
	for (uint64_t b = 0; b < nblks; b++) {
		MUST(pread(fd, bytes, sizeof(bytes), (off_t)(b * BLK_BYTES)) == BLK_BYTES, "%s",
		     path);
		if (!is_zero(bytes)) {
			struct image_blk *blk = image_blk_new(bytes);

			image_set(image, b, blk);
			image_blk_put(blk);
		}
	}
	(void)close(fd);
}

void replay_init(struct replay *r, const struct trace_head *trace,
		 const char *const paths[TRACE_NFILES])
{
	*r = (struct replay){.trace = trace};
	for (int f = 0; f < TRACE_NFILES; f++) {
		load_file(&r->files[f].now, paths[f]);
		image_copy(&r->files[f].durable, &r->files[f].now);
		TAILQ_INIT(&r->files[f].writes);
	}
}

void replay_again(struct replay *r, const struct replay *first)
{
	*r = (struct replay){.trace = first->trace};
	for (int f = 0; f < TRACE_NFILES; f++) {
		image_copy(&r->files[f].now, &first->files[f].now);
		image_copy(&r->files[f].durable, &first->files[f].now);
		TAILQ_INIT(&r->files[f].writes);
	}
}

/* ---- one entry ------------------------------------------------------------------------------- */

/* Brings a write to the durable copy, all of it or none. */
static void write_ends(struct replay_file *file, struct replay_write *w, bool lands)
{
	if (lands)
		image_put(&file->durable, w->blk, w->bytes, w->sectors);
	TAILQ_REMOVE(&file->writes, w, link);
	image_blk_put(w->bytes);
	free(w);
}

/* The bytes [off, off + len) of a block change. */
static void write_begins(struct replay_file *file, uint64_t of, uint64_t blk, uint32_t off,
			 uint32_t len, const uint8_t *bytes)
{
	struct replay_write *w = calloc(1, sizeof(*w));
	uint8_t all[BLK_BYTES];

	MUST(w && blk < file->now.nblks, "a write");
	image_read(&file->now, blk, all);
	memcpy(all + off, bytes, len);
	w->of = of;
	w->blk = blk;
	w->bytes = image_blk_new(all);
	for (uint32_t s = off / IMAGE_SECTOR_BYTES; s <= (off + len - 1) / IMAGE_SECTOR_BYTES; s++)
		w->sectors |= 1u << s;
	image_put(&file->now, blk, w->bytes, IMAGE_ALL);
	TAILQ_INSERT_TAIL(&file->writes, w, link);
}

static void step_write(struct replay *r, const struct trace_entry *e, uint64_t of)
{
	const uint8_t *bytes = (const uint8_t *)(e + 1);
	uint64_t at = 0;

	r->files[e->file].nwrites++;
	while (at < e->len) {
		uint32_t off = (uint32_t)((e->off + at) % BLK_BYTES);
		uint32_t len = BLK_BYTES - off;

		if (len > e->len - at)
			len = (uint32_t)(e->len - at);
		write_begins(&r->files[e->file], of, (e->off + at) / BLK_BYTES, off, len,
			     bytes + at);
		at += len;
	}
}

static void step_write_end(struct replay *r, const struct trace_entry *e)
{
	struct replay_file *file = &r->files[e->file];
	const struct trace_entry *begin = trace_at(r->trace, e->of);
	struct replay_write *w;
	struct replay_write *next;

	MUST(e->result == (int64_t)begin->len, "a write that failed");
	TAILQ_FOREACH_SAFE (w, &file->writes, link, next) {
		if (w->of != e->of)
			continue;
		w->whole = true;
		if (begin->now)
			write_ends(file, w, true);
	}
}

static void step_sync(struct replay *r, const struct trace_entry *e)
{
	struct replay_write *w;

	r->files[e->file].nsyncs++;
	TAILQ_FOREACH (w, &r->files[e->file].writes, link)
		w->covered = w->whole;
}

static void step_sync_end(struct replay *r, const struct trace_entry *e)
{
	struct replay_file *file = &r->files[e->file];
	struct replay_write *w;
	struct replay_write *next;

	MUST(e->result == 0, "a sync that failed");
	TAILQ_FOREACH_SAFE (w, &file->writes, link, next)
		if (w->covered)
			write_ends(file, w, true);
}

const struct trace_entry *replay_step(struct replay *r)
{
	const struct trace_entry *e = trace_at(r->trace, r->at);
	uint64_t where;

	if (!e)
		return NULL;
	where = (uint64_t)((const uint8_t *)e - (const uint8_t *)r->trace);
	r->at = where + e->bytes;
	switch ((enum trace_kind)e->kind) {
	case TRACE_WRITE:
		step_write(r, e, where);
		break;
	case TRACE_WRITE_END:
		step_write_end(r, e);
		break;
	case TRACE_SYNC:
		step_sync(r, e);
		break;
	case TRACE_SYNC_END:
		step_sync_end(r, e);
		break;
	case TRACE_OTHER:
		MUST(false, "a file of an open store was truncated or allocated");
		break;
	case TRACE_MARK:
		break;
	}
	return e;
}

void replay_fini(struct replay *r)
{
	for (int f = 0; f < TRACE_NFILES; f++) {
		struct replay_file *file = &r->files[f];

		while (!TAILQ_EMPTY(&file->writes))
			write_ends(file, TAILQ_FIRST(&file->writes), false);
		image_fini(&file->now);
		image_fini(&file->durable);
	}
}

/* ---- a power cut ----------------------------------------------------------------------------- */

/* None of what was not synced, all of it, any of it, any sectors; all but one, or only one. */
static void cut_file(const struct replay_file *file, struct rnd *rnd, struct image *left)
{
	uint64_t way = rnd_below(rnd, 6);
	uint64_t one = 0;
	uint64_t n = 0;
	struct replay_write *w;

	image_copy(left, &file->durable);
	TAILQ_FOREACH (w, &file->writes, link)
		n++;
	if (n > 0)
		one = rnd_below(rnd, n);
	TAILQ_FOREACH (w, &file->writes, link) {
		bool is_one = one-- == 0;
		uint32_t sectors = 0;

		if (way == 1 || (way == 2 && rnd_one_in(rnd, 2)) || (way == 4 && !is_one) ||
		    (way == 5 && is_one))
			sectors = w->sectors;
		else if (way == 3)
			sectors = w->sectors & (uint32_t)rnd_below(rnd, IMAGE_ALL + 1);
		if (sectors > 0)
			image_put(left, w->blk, w->bytes, sectors);
	}
}

void replay_cut(const struct replay *r, struct rnd *rnd, struct left *left)
{
	cut_file(&r->files[TRACE_DATA], rnd, &left->image);
	cut_file(&r->files[TRACE_MAP], rnd, &left->map.pages);
}

bool replay_equals(const struct replay *r, enum trace_file file, const char *path)
{
	const struct image *now = &r->files[file].now;
	bool equals = true;
	uint64_t nblks;
	int fd = open_file(path, &nblks);

	for (uint64_t b = 0; b < nblks && equals; b++) {
		uint8_t bytes[BLK_BYTES];
		uint8_t ours[BLK_BYTES];

		MUST(pread(fd, bytes, sizeof(bytes), (off_t)(b * BLK_BYTES)) == BLK_BYTES, "%s",
		     path);
		image_read(now, b, ours);
		equals = memcmp(bytes, ours, BLK_BYTES) == 0;
	}
	(void)close(fd);
	return equals && nblks == now->nblks;
}
