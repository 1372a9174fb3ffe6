/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_object_ranges.c: the engine in memory: several ranges of an object or of several, generations.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "server/blk.h"
#include "tests/lib/fake_priv.h"

static void fire_readv(struct due *due)
{
	due->cb.read(due->ctx, due->err, due->pvs);
	pagevecs_free(due->pvs, due->npvs);
}

static void fire_changed(struct due *due)
{
	due->cb.changed(due->ctx, due->err, due->obj.generation);
}

static void copy_range(struct handle *handle, struct pagevec *pv, uint64_t off_bytes, uint64_t end)
{
	const uint8_t *from = handle->fake->data + off_bytes;
	uint32_t off;
	uint32_t len;
	int err = pagevec_init(pv, off_bytes % BLK_BYTES, end - off_bytes);

	assert(err == 0);
	for (uint32_t i = 0; i < pv->npages; i++) {
		pv->pages[i] = page_new(handle->objs->pages);
		assert(pv->pages[i]);
		pagevec_span(pv, i, &off, &len);
		memcpy(pv->pages[i]->data + off, from, len);
		from += len;
	}
}

void object_readv(struct handle *handle, const struct object_range *ranges, uint32_t n,
		  object_read_cb cb, void *ctx)
{
	uint64_t size = handle->fake->info.size_bytes;
	struct due *due = due_new(fire_readv, fake_failure(handle->objs), ctx);

	due->cb.read = cb;
	due->npvs = n;
	due->pvs = calloc(n, sizeof(*due->pvs));
	assert(due->pvs);
	for (uint32_t i = 0; i < n && due->err == 0; i++) {
		uint64_t off = ranges[i].off_bytes;
		uint64_t len = ranges[i].len_bytes;

		if (off < size)
			copy_range(handle, &due->pvs[i], off, len < size - off ? off + len : size);
	}
	due_run(handle->objs, due);
}

static void answer_changed(struct handle *handle, object_changed_cb cb, void *ctx, int err)
{
	struct due *due = due_new(fire_changed, err, ctx);

	due->cb.changed = cb;
	due->obj.generation = handle->fake->info.generation;
	due_run(handle->objs, due);
}

/* The bytes of a range are where they belong, whatever shares their pages. */
static int write_range(struct fake *f, uint64_t off_bytes, const struct pagevec *pv)
{
	uint64_t end = off_bytes + pv->len;
	int err = end > f->info.size_bytes ? fake_resize(f, end) : 0;
	uint32_t off;
	uint32_t len;

	assert(pv->head == off_bytes % BLK_BYTES);
	for (uint32_t i = 0; err == 0 && i < pv->npages; i++) {
		pagevec_span(pv, i, &off, &len);
		memcpy(f->data + off_bytes, pv->pages[i]->data + off, len);
		off_bytes += len;
	}
	return err;
}

void object_writev(struct handle *handle, const struct object_range *ranges, struct pagevec *pvs,
		   uint32_t n, const uint64_t *if_generation, object_changed_cb cb, void *ctx)
{
	struct fake *f = handle->fake;
	int err = handle->readonly ? -ERR_PERM : fake_failure(handle->objs);

	if (err == 0 && if_generation && *if_generation != f->info.generation)
		err = -ERR_CHANGED;
	for (uint32_t i = 0; i < n; i++) {
		if (err == 0)
			err = write_range(f, ranges[i].off_bytes, &pvs[i]);
		pagevec_fini(&pvs[i]);
	}
	f->info.generation += err == 0;
	answer_changed(handle, cb, ctx, err);
}

static void fire_all(struct due *due)
{
	due->cb.all(due->ctx, due->err, due->at, due->generations);
	free(due->generations);
}

/* Why a part is refused, or 0. */
static int part_failure(const struct object_part *part)
{
	if (part->handle->readonly)
		return -ERR_PERM;
	return part->if_generation && *part->if_generation != part->handle->fake->info.generation
		   ? -ERR_CHANGED
		   : 0;
}

static int write_part(const struct object_part *part, const struct pagevec *pvs)
{
	int err = 0;

	for (uint32_t i = 0; i < part->nranges && err == 0; i++)
		err = write_range(part->handle->fake, part->ranges[i].off_bytes, &pvs[i]);
	part->handle->fake->info.generation++;
	return err;
}

void object_write_all(const struct object_part *parts, uint32_t n, struct pagevec *pvs,
		      object_all_cb cb, void *ctx)
{
	struct objects *objs = parts[0].handle->objs;
	struct due *due = due_new(fire_all, fake_failure(objs), ctx);

	due->cb.all = cb;
	due->at = n;
	due->generations = calloc(n, sizeof(due->generations[0]));
	assert(due->generations);
	for (uint32_t i = 0; i < n && due->err == 0; i++) {
		due->err = part_failure(&parts[i]);
		due->at = due->err < 0 ? i : n;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (due->err == 0)
			due->err = write_part(&parts[i], pvs);
		due->generations[i] = parts[i].handle->fake->info.generation;
		for (uint32_t k = 0; k < parts[i].nranges; k++)
			pagevec_fini(pvs++);
	}
	due_run(objs, due);
}

void object_fsync_if(struct handle *handle, const uint64_t *if_generation, object_changed_cb cb,
		     void *ctx)
{
	int err = fake_failure(handle->objs);

	if (err == 0 && if_generation && *if_generation != handle->fake->info.generation)
		err = -ERR_CHANGED;
	answer_changed(handle, cb, ctx, err);
}
