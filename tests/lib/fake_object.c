/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_object.h"

#include <assert.h>
#include <bsd/sys/queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/name.h"
#include "proto/wire.h"

struct fake {
	TAILQ_ENTRY(fake) link;
	struct map_obj info;
	uint8_t *data;
};

struct handle {
	struct objects *objs;
	struct fake *fake;
	bool readonly;
	char holder[512];
	LIST_ENTRY(handle) link;
};

/* A callback that is due. */
struct due {
	STAILQ_ENTRY(due) link;
	void (*fire)(struct due *due);
	union {
		object_cb plain;
		object_info_cb info;
		object_open_cb open;
		object_read_cb read;
	} cb;
	void *ctx;
	int err;
	struct map_obj obj;
	struct handle *handle;
	struct pagevec pv;
};

struct objects {
	TAILQ_HEAD(, fake) fakes; /* by name */
	LIST_HEAD(, handle) handles;
	STAILQ_HEAD(, due) dues;
	size_t ndues;
	size_t nhandles;
	uint64_t next_id;
	struct page_pool *pages;
	bool hold;
	bool crowded;
	int fail;
	int close_err;
	void (*on_room)(void *ctx);
	void *room_ctx;
};

/* ---- control --------------------------------------------------------------------------------- */

static void due_run(struct objects *objs, struct due *due)
{
	if (objs->hold) {
		STAILQ_INSERT_TAIL(&objs->dues, due, link);
		objs->ndues++;
		return;
	}
	due->fire(due);
	free(due);
}

static struct due *due_new(void (*fire)(struct due *due), int err, void *ctx)
{
	struct due *due = calloc(1, sizeof(*due));

	assert(due);
	due->fire = fire;
	due->err = err;
	due->ctx = ctx;
	return due;
}

void fake_hold(struct objects *objs, bool hold)
{
	struct due *due;

	objs->hold = hold;
	while (!objs->hold && (due = STAILQ_FIRST(&objs->dues))) {
		STAILQ_REMOVE_HEAD(&objs->dues, link);
		objs->ndues--;
		due->fire(due);
		free(due);
	}
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

size_t fake_open_handles(const struct objects *objs)
{
	return objs->nhandles;
}

/* The planned failure, once. */
static int take_failure(struct objects *objs)
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

static void answer(struct objects *objs, object_cb cb, void *ctx, int err)
{
	struct due *due = due_new(fire_plain, err, ctx);

	due->cb.plain = cb;
	due_run(objs, due);
}

static void answer_info(struct objects *objs, object_info_cb cb, void *ctx, int err,
			const struct fake *f)
{
	struct due *due = due_new(fire_info, err, ctx);

	due->cb.info = cb;
	if (f)
		due->obj = f->info;
	due_run(objs, due);
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct fake *fake_find(const struct objects *objs, const char *name)
{
	struct fake *f;

	TAILQ_FOREACH (f, &objs->fakes, link)
		if (strcmp(f->info.name, name) == 0)
			return f;
	return NULL;
}

static int fake_resize(struct fake *f, uint64_t size)
{
	uint8_t *data;

	if (size > (UINT64_C(1) << 30))
		return -ERR_TOO_LARGE;
	data = realloc(f->data, size ? size : 1);
	assert(data);
	if (size > f->info.size_bytes)
		memset(data + f->info.size_bytes, 0, size - f->info.size_bytes);
	f->data = data;
	f->info.size_bytes = size;
	return 0;
}

static int fake_make(struct objects *objs, const char *name, uint64_t size, struct fake **out)
{
	struct fake *f;
	struct fake *next;
	int err = take_failure(objs);

	if (err == 0)
		err = name_check(name);
	if (err == 0 && fake_find(objs, name))
		err = -ERR_EXIST;
	if (err < 0)
		return err;
	f = calloc(1, sizeof(*f));
	assert(f);
	f->info.id = ++objs->next_id;
	snprintf(f->info.name, sizeof(f->info.name), "%s", name);
	err = fake_resize(f, size);
	if (err < 0) {
		free(f);
		return err;
	}
	TAILQ_FOREACH (next, &objs->fakes, link)
		if (strcmp(next->info.name, name) > 0)
			break;
	if (next)
		TAILQ_INSERT_BEFORE(next, f, link);
	else
		TAILQ_INSERT_TAIL(&objs->fakes, f, link);
	*out = f;
	return 0;
}

void object_create(struct objects *objs, const char *name, uint64_t size_bytes, object_info_cb cb,
		   void *ctx)
{
	struct fake *f = NULL;
	int err = fake_make(objs, name, size_bytes, &f);

	answer_info(objs, cb, ctx, err, f);
}

void object_clone(struct objects *objs, const char *src, const char *dst, object_info_cb cb,
		  void *ctx)
{
	const struct fake *from = fake_find(objs, src);
	struct fake *f = NULL;
	int err = from ? fake_make(objs, dst, from->info.size_bytes, &f) : -ERR_NOENT;

	if (f) {
		memcpy(f->data, from->data, from->info.size_bytes);
		f->info.origin = from->info.id;
	}
	answer_info(objs, cb, ctx, err, f);
}

void object_remove(struct objects *objs, const char *name, object_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, name);
	int err = f ? take_failure(objs) : -ERR_NOENT;

	if (err == 0 && object_holder(objs, name))
		err = -ERR_BUSY;
	if (err == 0) {
		TAILQ_REMOVE(&objs->fakes, f, link);
		free(f->data);
		free(f);
	}
	answer(objs, cb, ctx, err);
}

void object_info(struct objects *objs, const char *name, object_info_cb cb, void *ctx)
{
	const struct fake *f = fake_find(objs, name);

	answer_info(objs, cb, ctx, f ? take_failure(objs) : -ERR_NOENT, f);
}

void object_list(struct objects *objs, const char *prefix, const char *after, uint32_t max,
		 object_list_cb cb, void *ctx)
{
	struct map_obj *found = NULL;
	const struct fake *f;
	bool more = false;
	uint32_t n = 0;

	TAILQ_FOREACH (f, &objs->fakes, link) {
		if (strncmp(f->info.name, prefix, strlen(prefix)) != 0 ||
		    strcmp(f->info.name, after) <= 0)
			continue;
		if (n == max) {
			more = true;
			break;
		}
		found = realloc(found, (n + 1) * sizeof(*found));
		assert(found);
		found[n++] = f->info;
	}
	cb(ctx, take_failure(objs), found, n, more);
	free(found);
}

void object_statfs(struct objects *objs, object_space_cb cb, void *ctx)
{
	struct object_space space = {.total_nblks = 1000, .free_nblks = 900, .reserved_nblks = 7};

	space.map.objects = objs->next_id;
	cb(ctx, take_failure(objs), &space);
}

const char *object_holder(struct objects *objs, const char *name)
{
	const struct handle *h;

	LIST_FOREACH (h, &objs->handles, link)
		if (strcmp(h->fake->info.name, name) == 0)
			return h->holder;
	return NULL;
}

/* ---- open objects ---------------------------------------------------------------------------- */

void object_open(struct objects *objs, const char *name, bool readonly, const char *holder,
		 object_open_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, name);
	struct due *due = due_new(fire_open, f ? take_failure(objs) : -ERR_NOENT, ctx);

	due->cb.open = cb;
	if (due->err == 0) {
		due->obj = f->info;
		due->handle = calloc(1, sizeof(*due->handle));
		assert(due->handle);
		due->handle->objs = objs;
		due->handle->fake = f;
		due->handle->readonly = readonly;
		snprintf(due->handle->holder, sizeof(due->handle->holder), "%s", holder);
		LIST_INSERT_HEAD(&objs->handles, due->handle, link);
		objs->nhandles++;
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

void object_read(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, object_read_cb cb,
		 void *ctx)
{
	struct objects *objs = handle->objs;
	const struct fake *f = handle->fake;
	struct due *due = due_new(fire_read, take_failure(objs), ctx);
	uint64_t end = off_bytes + len_bytes;
	uint32_t off;
	uint32_t len;

	due->cb.read = cb;
	if (end > f->info.size_bytes)
		end = f->info.size_bytes;
	if (due->err == 0 && off_bytes < end) {
		int err = pagevec_init(&due->pv, off_bytes % BLK_BYTES, end - off_bytes);
		const uint8_t *from = f->data + off_bytes;

		assert(err == 0);
		for (uint32_t i = 0; i < due->pv.npages; i++) {
			due->pv.pages[i] = page_new(objs->pages);
			assert(due->pv.pages[i]);
			pagevec_span(&due->pv, i, &off, &len);
			memcpy(due->pv.pages[i]->data + off, from, len);
			from += len;
		}
	}
	due_run(objs, due);
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
	int err = handle->readonly ? -ERR_PERM : take_failure(handle->objs);
	uint32_t off;
	uint32_t len;

	assert(pv->head == off_bytes % BLK_BYTES);
	check_padding(pv);
	if (err == 0 && end > f->info.size_bytes)
		err = fake_resize(f, end);
	for (uint32_t i = 0; err == 0 && i < pv->npages; i++) {
		pagevec_span(pv, i, &off, &len);
		memcpy(f->data + off_bytes, pv->pages[i]->data + off, len);
		off_bytes += len;
	}
	pagevec_fini(pv);
	answer(handle->objs, cb, ctx, err);
}

void object_fsync(struct handle *handle, object_cb cb, void *ctx)
{
	answer(handle->objs, cb, ctx, take_failure(handle->objs));
}

void object_resize(struct handle *handle, uint64_t size_bytes, bool shrink, object_cb cb, void *ctx)
{
	struct fake *f = handle->fake;
	int err = size_bytes < f->info.size_bytes && !shrink ? -ERR_SHRINK : 0;

	answer(handle->objs, cb, ctx, err < 0 ? err : fake_resize(f, size_bytes));
}

void object_extents(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, uint32_t max,
		    object_extents_cb cb, void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	struct object_run run = {.data = true};

	run.len_bytes = off_bytes < size ? size - off_bytes : 0;
	if (run.len_bytes > len_bytes)
		run.len_bytes = len_bytes;
	assert(max > 0 && len_bytes > 0);
	cb(ctx, take_failure(handle->objs), &run, run.len_bytes > 0 ? 1 : 0);
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
	answer(objs, cb, ctx, take_failure(objs));
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
	while ((f = TAILQ_FIRST(&objs->fakes))) {
		TAILQ_REMOVE(&objs->fakes, f, link);
		free(f->data);
		free(f);
	}
	page_pool_free(objs->pages);
	free(objs);
}
