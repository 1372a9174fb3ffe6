/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_handle.c: opening and closing, alone or tied to others, and what a handle is told of failed
 * writeback.
 *
 * Each object counts the failures of its writeback, each handle remembers the count that it was
 * told of last (Linux's errseq_t): so everyone who had the object open hears of a failure once, at
 * the next fsync or close.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_promise.h"
#include "server/object_table.h"
#include "server/object_tie.h"

struct open_op {
	struct objects *objs;
	struct object_lookup lookup;
	struct handle *handle; /* allocated beforehand */
	object_open_cb cb;
	void *ctx;
};

static void open_fail(struct open_op *op, int err)
{
	op->cb(op->ctx, err, NULL, NULL);
	free(op->handle);
	free(op);
}

static LOOP_FN void open_found(struct object_lookup *lookup, int err)
{
	struct open_op *op = CONTAINER_OF(lookup, struct open_op, lookup);
	struct handle *handle = op->handle;
	struct object *obj = NULL;

	if (err == 0 && lookup->info.parent && !handle->readonly)
		err = -ERR_PERM; /* a version */
	if (err == 0) {
		obj = object_load(op->objs, &lookup->info);
		err = obj ? 0 : -ERR_NOMEM;
	}
	if (err == 0 && obj->info.readonly && !handle->readonly) {
		object_put(obj);
		err = -ERR_READONLY;
	}
	if (err < 0) {
		open_fail(op, err);
		return;
	}
	handle->obj = obj;
	handle->err_seen = obj->err_seq;
	TAILQ_INSERT_TAIL(&obj->handles, handle, link);
	lookup->info.size_bytes = obj->size_bytes;
	object_tell_promise(obj, &lookup->info);
	lookup->info.mtime_ns = obj->mtime_ns;
	lookup->info.generation = obj->generation;
	op->cb(op->ctx, 0, handle, &lookup->info);
	free(op);
}

void object_open(struct objects *objs, const char *name, unsigned int flags, const char *holder,
		 object_open_cb cb, void *ctx)
{
	struct open_op *op = calloc(1, sizeof(*op));
	struct handle *handle = calloc(1, sizeof(*handle));
	int err;

	ASSERT_LOOP();
	if (!op || !handle) {
		free(op);
		free(handle);
		cb(ctx, -ERR_NOMEM, NULL, NULL);
		return;
	}
	op->objs = objs;
	op->handle = handle;
	op->cb = cb;
	op->ctx = ctx;
	handle->readonly = flags & OBJECT_READONLY;
	handle->direct = flags & OBJECT_DIRECT;
	handle->fixed = flags & OBJECT_FIXED;
	(void)snprintf(handle->holder, sizeof(handle->holder), "%s", holder);
	op->lookup.found = open_found;
	err = object_lookup(objs, name, NULL, &op->lookup);
	if (err < 0)
		open_fail(op, err);
}

/* -ERR_WRITEBACK where the handle has something to be told; it is told now. */
static int handle_tell(struct handle *handle)
{
	bool news = handle->err_seen != handle->obj->err_seq;

	handle->err_seen = handle->obj->err_seq;
	return news ? -ERR_WRITEBACK : 0;
}

int object_close(struct handle *handle)
{
	struct object *obj = handle->obj;
	int err;

	ASSERT_LOOP();
	err = handle_tell(handle);
	TAILQ_REMOVE(&obj->handles, handle, link);
	tie_group_leave(handle);
	free(handle);
	object_expire_closed(obj);
	object_put(obj);
	return err;
}

const char *object_name(const struct handle *handle)
{
	ASSERT_LOOP();
	return handle->obj->info.name;
}

uint64_t object_size(const struct handle *handle)
{
	ASSERT_LOOP();
	return handle->obj->size_bytes;
}

uint64_t object_generation(const struct handle *handle)
{
	ASSERT_LOOP();
	return handle->obj->generation;
}

/* ---- fsync ----------------------------------------------------------------------------------- */

/* Behind the answer to the write. */
static LOOP_FN void handle_foresee(struct loop_msg *msg)
{
	struct object *obj = CONTAINER_OF(msg, struct object, foreseen_msg);

	obj->foreseen = false;
	if (obj->nclosed == 0)
		epoch_close(obj);
	object_put(obj);
}

void handle_wrote(struct handle *handle)
{
	struct object *obj = handle->obj;

	ASSERT_LOOP();
	if (++handle->foresight.nwrites != handle->foresight.due || obj->foreseen)
		return;
	obj->foreseen = true;
	obj->foreseen_msg.fn = handle_foresee;
	object_get(obj);
	loop_post(obj->objs->config.loop, &obj->foreseen_msg);
}

static void handle_synced(struct handle *handle)
{
	struct foresight *f = &handle->foresight;

	f->due = f->nwrites == f->nlast ? f->nwrites : 0;
	f->nlast = f->nwrites;
	f->nwrites = 0;
}

struct fsync_op {
	struct epoch_waiter waiter;
	struct handle *handle;
	uint64_t generation; /* that it makes durable */
	object_cb cb;	     /* or changed_cb */
	object_changed_cb changed_cb;
	void *ctx;
};

static LOOP_FN void fsync_ready(struct epoch_waiter *waiter, int err)
{
	struct fsync_op *op = CONTAINER_OF(waiter, struct fsync_op, waiter);
	int told = handle_tell(op->handle);

	if (err == 0)
		err = told;
	if (op->changed_cb)
		op->changed_cb(op->ctx, err, op->generation);
	else
		op->cb(op->ctx, err);
	free(op);
}

/* NULL: out of memory. */
static struct fsync_op *fsync_new(struct handle *handle, void *ctx)
{
	struct fsync_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->waiter.ready = fsync_ready;
	op->handle = handle;
	op->generation = handle->obj->generation;
	op->ctx = ctx;
	handle_synced(handle);
	return op;
}

void object_fsync(struct handle *handle, object_cb cb, void *ctx)
{
	struct fsync_op *op = fsync_new(handle, ctx);

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM);
		return;
	}
	op->cb = cb;
	epoch_sync(handle->obj, &op->waiter);
}

void object_fsync_if(struct handle *handle, const uint64_t *if_generation, object_changed_cb cb,
		     void *ctx)
{
	uint64_t generation = handle->obj->generation;
	bool changed = if_generation && *if_generation != generation;
	struct fsync_op *op = changed ? NULL : fsync_new(handle, ctx);

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, changed ? -ERR_CHANGED : -ERR_NOMEM, generation);
		return;
	}
	op->changed_cb = cb;
	epoch_sync(handle->obj, &op->waiter);
}

/* ---- several objects ------------------------------------------------------------------------- */

struct fsync_all_op {
	struct epoch_waiter waiter;
	object_cb cb;
	void *ctx;
	uint32_t n;
	struct handle *handles[];
};

static LOOP_FN void fsync_all_ready(struct epoch_waiter *waiter, int err)
{
	struct fsync_all_op *op = CONTAINER_OF(waiter, struct fsync_all_op, waiter);

	for (uint32_t i = 0; i < op->n; i++) {
		int told = handle_tell(op->handles[i]);

		err = err < 0 ? err : told;
	}
	op->cb(op->ctx, err);
	free(op);
}

/* The objects of the handles; some may be named twice. */
static struct object **handle_objects(struct handle *const *handles, uint32_t n)
{
	struct object **objs = calloc(n, sizeof(struct object *));

	for (uint32_t i = 0; objs && i < n; i++)
		objs[i] = handles[i]->obj;
	return objs;
}

void object_fsync_all(struct handle *const *handles, uint32_t n, object_cb cb, void *ctx)
{
	struct fsync_all_op *op = calloc(1, sizeof(*op) + n * sizeof(struct handle *));
	struct object **objs = n > 0 ? handle_objects(handles, n) : NULL;

	ASSERT_LOOP();
	if (n == 0 || n > OBJECT_GROUP_MAX || !op || !objs) {
		free(op);
		free(objs);
		cb(ctx, n == 0 ? 0 : n > OBJECT_GROUP_MAX ? -ERR_LIMIT : -ERR_NOMEM);
		return;
	}
	op->waiter.ready = fsync_all_ready;
	op->cb = cb;
	op->ctx = ctx;
	op->n = n;
	memcpy(op->handles, handles, n * sizeof(struct handle *));
	epoch_sync_all(objs, n, &op->waiter);
	free(objs);
}

int object_tie(struct handle *const *handles, uint32_t n)
{
	struct object **objs;
	int err;

	ASSERT_LOOP();
	if (n == 0)
		return 0;
	objs = handle_objects(handles, n);
	if (!objs)
		return -ERR_NOMEM;
	/* what is open on any of them is closed with the others from now on: that harms nobody */
	err = epoch_tie(objs, n, &(struct epoch_needs){0});
	if (err == 0)
		err = tie_group_make(handles, n);
	free(objs);
	return err;
}
