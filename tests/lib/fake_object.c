/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_object.h"

#include <assert.h>
#include <bsd/sys/queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "server/blk.h"
#include "tests/lib/fake_priv.h"

/* ---- control --------------------------------------------------------------------------------- */

void due_run(struct objects *objs, struct due *due)
{
	if (objs->hold) {
		STAILQ_INSERT_TAIL(&objs->dues, due, link);
		objs->ndues++;
		return;
	}
	due->fire(due);
	free(due);
}

struct due *due_new(void (*fire)(struct due *due), int err, void *ctx)
{
	struct due *due = calloc(1, sizeof(*due));

	assert(due);
	due->fire = fire;
	due->err = err;
	due->ctx = ctx;
	return due;
}

static void due_fire_first(struct objects *objs)
{
	struct due *due = STAILQ_FIRST(&objs->dues);

	STAILQ_REMOVE_HEAD(&objs->dues, link);
	objs->ndues--;
	due->fire(due);
	free(due);
}

void fake_hold(struct objects *objs, bool hold)
{
	objs->hold = hold;
	while (!objs->hold && objs->ndues > 0)
		due_fire_first(objs);
}

bool fake_is_held(const struct objects *objs)
{
	return objs->hold;
}

void fake_step(struct objects *objs)
{
	for (size_t n = objs->ndues; n > 0; n--)
		due_fire_first(objs);
}

size_t fake_held(const struct objects *objs)
{
	return objs->ndues;
}

void fake_fail_next(struct objects *objs, int err)
{
	objs->fail = err;
}

void fake_set_close_err(struct objects *objs, int err)
{
	objs->close_err = err;
}

void fake_set_crowded(struct objects *objs, bool crowded)
{
	objs->crowded = crowded;
	if (!crowded && objs->on_room)
		objs->on_room(objs->room_ctx);
}

void fake_set_holes(struct objects *objs)
{
	objs->holes = true;
}

size_t fake_direct(const struct objects *objs)
{
	return objs->ndirect;
}

size_t fake_open_handles(const struct objects *objs)
{
	return objs->nhandles;
}

void fake_set_size_max(struct objects *objs, uint64_t bytes)
{
	objs->size_max = bytes;
}

const uint8_t *fake_content(const struct objects *objs, const char *spec, uint64_t *size_bytes)
{
	const struct fake *f = fake_find(objs, spec);

	if (!f)
		return NULL;
	*size_bytes = f->info.size_bytes;
	return f->data;
}

uint64_t fake_writers(const struct objects *objs, const char *spec)
{
	const struct fake *f = fake_find(objs, spec);

	return f ? f->nwriters : 0;
}

size_t fake_count(const struct objects *objs, const char *prefix)
{
	const struct fake *f;
	size_t n = 0;

	TAILQ_FOREACH (f, &objs->fakes, link)
		n += strncmp(f->info.name, prefix, strlen(prefix)) == 0;
	return n;
}

int fake_failure(struct objects *objs)
{
	int err = objs->fail;

	objs->fail = 0;
	return err;
}

static void fire_plain(struct due *due)
{
	due->cb.plain(due->ctx, due->err);
}

static void fire_info(struct due *due)
{
	due->cb.info(due->ctx, due->err, due->err < 0 ? NULL : &due->obj);
}

static void fire_open(struct due *due)
{
	due->cb.open(due->ctx, due->err, due->handle, due->err < 0 ? NULL : &due->obj);
}

static void fire_read(struct due *due)
{
	due->cb.read(due->ctx, due->err, &due->pv);
	pagevec_fini(&due->pv);
}

static void fire_pairs(struct due *due)
{
	due->cb.pairs(due->ctx, due->err, due->at);
}

void fake_answer(struct objects *objs, object_cb cb, void *ctx, int err)
{
	struct due *due = due_new(fire_plain, err, ctx);

	due->cb.plain = cb;
	due_run(objs, due);
}

void fake_answer_info(struct objects *objs, object_info_cb cb, void *ctx, int err,
		      const struct fake *f)
{
	struct due *due = due_new(fire_info, err, ctx);

	due->cb.info = cb;
	if (f)
		due->obj = f->info;
	due_run(objs, due);
}

void fake_answer_pairs(struct objects *objs, object_pairs_cb cb, void *ctx, int err, uint32_t at)
{
	struct due *due = due_new(fire_pairs, err, ctx);

	due->cb.pairs = cb;
	due->at = at;
	due_run(objs, due);
}

/* ---- open objects ---------------------------------------------------------------------------- */

void object_open(struct objects *objs, const char *spec, unsigned int flags, const char *holder,
		 object_open_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, spec);
	struct due *due = due_new(fire_open, f ? fake_failure(objs) : -ERR_NOENT, ctx);

	if (due->err == 0 && f->info.parent != 0 && !(flags & OBJECT_READONLY))
		due->err = -ERR_PERM;
	due->cb.open = cb;
	if (due->err == 0) {
		due->obj = f->info;
		due->handle = calloc(1, sizeof(*due->handle));
		assert(due->handle);
		due->handle->objs = objs;
		due->handle->fake = f;
		due->handle->readonly = flags & OBJECT_READONLY;
		due->handle->direct = flags & OBJECT_DIRECT;
		due->handle->fixed = flags & OBJECT_FIXED;
		snprintf(due->handle->holder, sizeof(due->handle->holder), "%s", holder);
		LIST_INSERT_HEAD(&objs->handles, due->handle, link);
		objs->nhandles++;
		f->nwriters += !due->handle->readonly;
	}
	due_run(objs, due);
}

int object_close(struct handle *handle)
{
	int err = handle->objs->close_err;

	handle->objs->nhandles--;
	LIST_REMOVE(handle, link);
	free(handle);
	return err;
}

/* As the engine reads a hole. */
static bool all_zeros(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

void object_read(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, object_read_cb cb,
		 void *ctx)
{
	struct objects *objs = handle->objs;
	const struct fake *f = handle->fake;
	struct due *due = due_new(fire_read, fake_failure(objs), ctx);
	uint64_t end = off_bytes + len_bytes;
	uint32_t off;
	uint32_t len;

	objs->ndirect += handle->direct;
	due->cb.read = cb;
	if (end > f->info.size_bytes)
		end = f->info.size_bytes;
	if (due->err == 0 && off_bytes < end) {
		int err = pagevec_init(&due->pv, off_bytes % BLK_BYTES, end - off_bytes);
		const uint8_t *from = f->data + off_bytes;

		assert(err == 0);
		for (uint32_t i = 0; i < due->pv.npages; i++) {
			pagevec_span(&due->pv, i, &off, &len);
			due->pv.pages[i] = objs->holes && all_zeros(from, len)
					       ? page_zero(objs->pages)
					       : page_new(objs->pages);
			assert(due->pv.pages[i]);
			if (!page_is_zero(due->pv.pages[i]))
				memcpy(due->pv.pages[i]->data + off, from, len);
			from += len;
		}
	}
	due_run(objs, due);
}

void object_read_direct(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
			object_read_cb cb, void *ctx)
{
	handle->objs->ndirect += !handle->direct;
	object_read(handle, off_bytes, len_bytes, cb, ctx);
}

/* What is not part of the vector must be zeros: the engine checksums whole blocks. */
static void check_padding(const struct pagevec *pv)
{
	uint32_t off;
	uint32_t len;

	for (uint32_t i = 0; i < pv->npages; i++) {
		pagevec_span(pv, i, &off, &len);
		for (uint32_t b = 0; b < BLK_BYTES; b++)
			if (b < off || b >= off + len)
				assert(pv->pages[i]->data[b] == 0);
	}
}

void object_write(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, object_cb cb,
		  void *ctx)
{
	struct fake *f = handle->fake;
	uint64_t end = off_bytes + pv->len;
	int err = handle->readonly ? -ERR_PERM : fake_failure(handle->objs);
	uint32_t off;
	uint32_t len;

	handle->objs->ndirect += handle->direct;
	assert(pv->head == off_bytes % BLK_BYTES);
	check_padding(pv);
	if (err == 0 && end > f->info.size_bytes)
		err = handle->fixed ? -ERR_FIXED_SIZE : fake_resize(f, end);
	for (uint32_t i = 0; err == 0 && i < pv->npages; i++) {
		pagevec_span(pv, i, &off, &len);
		memcpy(f->data + off_bytes, pv->pages[i]->data + off, len);
		off_bytes += len;
	}
	pagevec_fini(pv);
	fake_answer(handle->objs, cb, ctx, err);
}

void object_write_direct(struct handle *handle, uint64_t off_bytes, struct pagevec *pv,
			 object_cb cb, void *ctx)
{
	handle->objs->ndirect += !handle->direct;
	object_write(handle, off_bytes, pv, cb, ctx);
}

void object_fsync(struct handle *handle, object_cb cb, void *ctx)
{
	fake_answer(handle->objs, cb, ctx, fake_failure(handle->objs));
}

void object_fsync_all(struct handle *const *handles, uint32_t n, object_cb cb, void *ctx)
{
	(void)n;
	fake_answer(handles[0]->objs, cb, ctx, fake_failure(handles[0]->objs));
}

int object_tie(struct handle *const *handles, uint32_t n)
{
	(void)n;
	return fake_failure(handles[0]->objs);
}

void object_resize(struct handle *handle, uint64_t size_bytes, bool shrink, object_cb cb, void *ctx)
{
	struct fake *f = handle->fake;
	int err = size_bytes < f->info.size_bytes && !shrink ? -ERR_SHRINK : 0;

	fake_answer(handle->objs, cb, ctx, err < 0 ? err : fake_resize(f, size_bytes));
}

void object_zero(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, bool whole,
		 object_cb cb, void *ctx)
{
	struct fake *f = handle->fake;
	uint64_t end = f->info.size_bytes;

	if (len_bytes < end && off_bytes < end - len_bytes)
		end = off_bytes + len_bytes;
	if (whole && end < f->info.size_bytes)
		end &= ~(uint64_t)(BLK_BYTES - 1);
	if (whole)
		off_bytes = blk_count(off_bytes) << BLK_SHIFT;
	if (off_bytes < end)
		memset(f->data + off_bytes, 0, end - off_bytes);
	fake_answer(handle->objs, cb, ctx, fake_failure(handle->objs));
}

void object_share(struct handle *dst, uint64_t dst_off, struct handle *src, uint64_t src_off,
		  uint64_t len_bytes, object_share_cb cb, void *ctx)
{
	uint64_t end = dst_off + len_bytes;
	int err = fake_failure(dst->objs);

	if (err == 0 && end > dst->fake->info.size_bytes)
		err = fake_resize(dst->fake, end);
	if (err == 0)
		memcpy(dst->fake->data + dst_off, src->fake->data + src_off, len_bytes);
	cb(ctx, err, len_bytes, 0);
}

/* A block of each request is copied, and the rest of it is left. */
void object_unshare(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
		    object_unshare_cb cb, void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	uint64_t left = off_bytes < size ? size - off_bytes : 0;
	int err = handle->readonly ? -ERR_PERM : fake_failure(handle->objs);

	if (left > len_bytes)
		left = len_bytes;
	if (left > BLK_BYTES)
		cb(ctx, err, BLK_BYTES, left - BLK_BYTES, 1);
	else
		cb(ctx, err, left, 0, left > 0);
}

void object_verify_drop(struct handle *handle)
{
	(void)handle; /* each was answered at once */
}

/* A block of each call is read, and the rest of it is left; the second is damaged, and the third, and a
 * call that asks for a rate comes to the end and is told of as many damages as it has room for. */
void object_verify(struct handle *handle, const struct object_verify *what, object_verify_cb cb,
		   void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	uint64_t left = what->off_bytes < size ? size - what->off_bytes : 0;
	int err = fake_failure(handle->objs);
	struct scrub_damage *damages = calloc(what->max, sizeof(*damages));
	struct object_verified got = {
	    .read_nblks = 1, .pending_nblks = what->older, .damages = damages};

	assert(damages);
	if (left > what->len_bytes)
		left = what->len_bytes;
	got.len_bytes = left > BLK_BYTES && what->rate_bytes == 0 ? BLK_BYTES : left;
	got.left_bytes = left - got.len_bytes;
	if (what->rate_bytes > 0)
		got.n = what->max;
	else if (what->off_bytes == BLK_BYTES || what->off_bytes == 2 * BLK_BYTES)
		got.n = 1;
	for (uint32_t i = 0; i < got.n; i++)
		damages[i] = (struct scrub_damage){lblk((what->off_bytes >> BLK_SHIFT) + i), 1,
						   pblk(1000 + i), (enum scrub_kind)(i % 3)};
	cb(ctx, err, err < 0 ? NULL : &got);
	free(damages);
}

/* All of it is data; in details it is shared, and where there is room the last run is a hole that is not
 * committed. */
void object_extents(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, uint32_t max,
		    bool details, object_extents_cb cb, void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	uint64_t len = off_bytes < size ? size - off_bytes : 0;
	struct object_run runs[] = {
	    {.len_bytes = len, .data = true},
	    {.len_bytes = 1, .zero = true, .dirty = true},
	    {.len_bytes = 2, .data = true, .dirty = true},
	};
	uint32_t n = len > 0 ? 1 : 0;

	if (len > len_bytes)
		runs[0].len_bytes = len_bytes;
	assert(max > 0 && len_bytes > 0);
	runs[0].shared = details;
	runs[0].dev_bytes = details ? 8192 + off_bytes : 0;
	if (details && runs[0].len_bytes > 3 && max >= ARRAY_LEN(runs)) {
		runs[0].len_bytes -= 3;
		n = ARRAY_LEN(runs);
	}
	cb(ctx, fake_failure(handle->objs), runs, n);
}

/* Nothing is shared: all of it is data, and all of it differs. */
void object_diff(struct handle *handle, uint64_t older, uint64_t off_bytes, uint64_t len_bytes,
		 uint32_t max, object_diff_cb cb, void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	uint64_t left = off_bytes < size ? size - off_bytes : 0;
	struct object_diff_run run = {.kind = MAP_DIFF_DATA};
	struct object_diff diff = {.size_bytes = size, .nodes = 7, .runs = &run};

	run.len_bytes = left < len_bytes ? left : len_bytes;
	if (older == handle->fake->info.id)
		run.kind = MAP_DIFF_SAME;
	diff.older_bytes = older ? size : 0;
	diff.n = run.len_bytes > 0 ? 1 : 0;
	assert(max > 0);
	cb(ctx, fake_failure(handle->objs), &diff);
}

const char *object_name(const struct handle *handle)
{
	return handle->fake->info.name;
}

uint64_t object_size(const struct handle *handle)
{
	return handle->fake->info.size_bytes;
}

/* ---- the engine ------------------------------------------------------------------------------ */

int objects_new(const struct objects_config *config, struct objects **out)
{
	struct objects *objs = calloc(1, sizeof(*objs));

	(void)config;
	assert(objs);
	TAILQ_INIT(&objs->fakes);
	LIST_INIT(&objs->handles);
	STAILQ_INIT(&objs->dues);
	objs->size_max = UINT64_C(1) << 30;
	objs->pages = page_pool_new();
	assert(objs->pages);
	*out = objs;
	return 0;
}

struct page_pool *objects_pages(struct objects *objs)
{
	return objs->pages;
}

bool objects_crowded(struct objects *objs)
{
	return objs->crowded;
}

/* The tests say when there is room. */
void objects_make_room(struct objects *objs)
{
	(void)objs;
}

void objects_check_room(struct objects *objs)
{
	(void)objs;
}

void objects_on_room(struct objects *objs, void (*fn)(void *ctx), void *ctx)
{
	objs->on_room = fn;
	objs->room_ctx = ctx;
}

void objects_flush(struct objects *objs, object_cb cb, void *ctx)
{
	fake_answer(objs, cb, ctx, fake_failure(objs));
}

void objects_on_latch(struct objects *objs, void (*fn)(void *ctx), void *ctx)
{
	(void)objs;
	(void)fn;
	(void)ctx;
}

void objects_free(struct objects *objs)
{
	struct fake *f;

	assert(objs->ndues == 0 && objs->nhandles == 0);
	while ((f = TAILQ_FIRST(&objs->fakes)))
		fake_free(objs, f);
	page_pool_free(objs->pages);
	free(objs);
}
