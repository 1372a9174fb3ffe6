/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_name.c: what is done to objects by name: create, clone, remove, info, list.
 *
 * Changes of names go through the commit queue, in order with the epochs that they depend on.  The
 * table's sequence is raised with each, so that a look-up under way is made again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_table.h"

/* One operation on names; the members that it uses depend on what it is. */
struct name_op {
	struct objects *objs;
	struct object_lookup lookup;
	struct object *obj; /* referenced */
	struct epoch_waiter waiter;
	struct commit_req commit;
	object_info_cb info_cb;
	object_cb cb;
	void *ctx;
};

static void name_finish(struct name_op *op, int err, const struct map_obj *info)
{
	struct object *obj = op->obj;

	if (op->info_cb)
		op->info_cb(op->ctx, err, info);
	else
		op->cb(op->ctx, err);
	if (obj)
		object_put(obj);
	free(op);
}

static struct name_op *name_new(struct objects *objs, object_info_cb info_cb, object_cb cb,
				void *ctx)
{
	struct name_op *op = calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op)
		return NULL;
	op->objs = objs;
	op->info_cb = info_cb;
	op->cb = cb;
	op->ctx = ctx;
	return op;
}

/* Starts the look-up that most operations begin with. */
static void name_look_up(struct name_op *op, const char *name,
			 void (*found)(struct object_lookup *lookup, int err))
{
	int err;

	op->lookup.found = found;
	err = object_lookup(op->objs, name, &op->lookup);
	if (err < 0)
		name_finish(op, err, NULL);
}

static void name_submit(struct name_op *op, enum commit_kind kind,
			void (*done)(struct commit_req *req))
{
	op->commit.kind = kind;
	op->commit.time_ns = clock_wall_ns();
	op->commit.truncate = lblk(COMMIT_NO_TRUNCATE);
	op->commit.done = done;
	commit_submit(op->objs->commit, &op->commit);
}

static LOOP_FN void name_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	op->objs->table_seq++;
	name_finish(op, req->err, &req->obj);
}

/* What makes the map grow needs the room that deletion must find. */
static int name_may_grow(const struct objects *objs)
{
	uint64_t used;
	uint64_t total;

	map_meta_usage(objs->config.map, &used, &total);
	return used > total - total / META_RESERVE_PART ? -ERR_NOSPC_META : 0;
}

/* ---- create ---------------------------------------------------------------------------------- */

void object_create(struct objects *objs, const char *name, uint64_t size_bytes, object_info_cb cb,
		   void *ctx)
{
	struct name_op *op;
	int err = name_check(name);

	if (err == 0 && size_bytes > BLK_OBJECT_MAX << BLK_SHIFT)
		err = -ERR_TOO_LARGE;
	if (err == 0)
		err = name_may_grow(objs);
	op = err == 0 ? name_new(objs, cb, NULL, ctx) : NULL;
	if (!op) {
		cb(ctx, err < 0 ? err : -ERR_NOMEM, NULL);
		return;
	}
	memcpy(op->commit.name, name, strlen(name) + 1);
	op->commit.size_bytes = size_bytes;
	name_submit(op, COMMIT_CREATE, name_committed);
}

/* ---- clone ----------------------------------------------------------------------------------- */

/* The source's epoch is committed, and nothing of it has been submitted since. */
static LOOP_FN void clone_synced(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);

	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->commit.oid = op->obj->id;
	name_submit(op, COMMIT_CLONE, name_committed);
}

static LOOP_FN void clone_found(struct object_lookup *lookup, int err)
{
	struct name_op *op = CONTAINER_OF(lookup, struct name_op, lookup);

	if (err == 0) {
		op->obj = object_load(op->objs, &lookup->info);
		err = op->obj ? 0 : -ERR_NOMEM;
	}
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->waiter.ready = clone_synced;
	epoch_sync(op->obj, &op->waiter);
}

void object_clone(struct objects *objs, const char *src, const char *dst, object_info_cb cb,
		  void *ctx)
{
	struct name_op *op;
	int err = name_check(dst);

	if (err == 0)
		err = name_may_grow(objs);
	op = err == 0 ? name_new(objs, cb, NULL, ctx) : NULL;
	if (!op) {
		cb(ctx, err < 0 ? err : -ERR_NOMEM, NULL);
		return;
	}
	memcpy(op->commit.name, dst, strlen(dst) + 1);
	name_look_up(op, src, clone_found);
}

/* ---- remove ---------------------------------------------------------------------------------- */

static void remove_step(struct name_op *op);

static LOOP_FN void remove_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);
	struct object *obj = op->obj;
	int err = req->err;

	op->objs->table_seq++;
	obj->size_bytes = obj->info.size_bytes;
	obj->removing = err == 0; /* nobody finds it any more, however long it stays in memory */
	op->obj = NULL;
	object_put(obj);
	/* after an error too: what was thrown away is not its content */
	if (obj->cache.nfetching == 0)
		object_unload(obj);
	name_finish(op, err, NULL);
}

static LOOP_FN void remove_settled(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);

	/* else what was not written is not needed any more */
	if (err == -ERR_LATCHED && op->objs->latched) {
		op->obj->removing = false;
		name_finish(op, err, NULL);
		return;
	}
	remove_step(op);
}

/* Throws away what is not written; waits for what is being written; then removes. */
static void remove_step(struct name_op *op)
{
	struct object *obj = op->obj;

	epoch_discard(obj);
	if (obj->nclosed > 0) {
		op->waiter.ready = remove_settled;
		epoch_sync(obj, &op->waiter);
		return;
	}
	op->commit.oid = obj->id;
	name_submit(op, COMMIT_REMOVE, remove_committed);
}

static LOOP_FN void remove_found(struct object_lookup *lookup, int err)
{
	struct name_op *op = CONTAINER_OF(lookup, struct name_op, lookup);
	struct object *obj;

	if (err == 0) {
		obj = object_find(op->objs, lookup->info.id);
		if (obj && obj->refs > 0)
			err = -ERR_BUSY;
	}
	if (err == 0) {
		op->obj = object_load(op->objs, &lookup->info);
		err = op->obj ? 0 : -ERR_NOMEM;
	}
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->obj->removing = true;
	remove_step(op);
}

void object_remove(struct objects *objs, const char *name, object_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, NULL, cb, ctx);

	if (!op) {
		cb(ctx, -ERR_NOMEM);
		return;
	}
	name_look_up(op, name, remove_found);
}

/* ---- info ------------------------------------------------------------------------------------ */

/* Puts what memory knows better into what the map said. */
static void info_update(struct objects *objs, struct map_obj *info)
{
	const struct object *obj = object_find(objs, info->id);

	if (!obj)
		return;
	info->size_bytes = obj->size_bytes;
	info->mtime_ns = obj->mtime_ns;
}

static LOOP_FN void info_found(struct object_lookup *lookup, int err)
{
	struct name_op *op = CONTAINER_OF(lookup, struct name_op, lookup);

	if (err == 0)
		info_update(op->objs, &lookup->info);
	name_finish(op, err, &lookup->info);
}

void object_info(struct objects *objs, const char *name, object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);

	if (!op) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	name_look_up(op, name, info_found);
}

const char *object_holder(struct objects *objs, const char *name)
{
	const struct object *obj;
	const struct object *next;

	ASSERT_LOOP();
	HASH_ITER(hh, objs->table, obj, next)
	if (strcmp(obj->info.name, name) == 0 && !TAILQ_EMPTY(&obj->handles))
		return TAILQ_FIRST(&obj->handles)->holder;
	return NULL;
}

/* ---- list ------------------------------------------------------------------------------------ */

struct list_op {
	struct worker_job job;
	struct objects *objs;
	char prefix[NAME_MAX_BYTES + 1];
	char after[NAME_MAX_BYTES + 1];
	uint32_t max;
	object_list_cb cb;
	void *ctx;
	int err;
	bool more;
	uint32_t n;
	struct map_obj found[];
};

static int list_add(void *ctx, const struct map_obj *info)
{
	struct list_op *op = ctx;

	if (op->n == op->max) {
		op->more = true;
		return 1;
	}
	op->found[op->n++] = *info;
	return 0;
}

static WORKER_FN void list_run(struct worker_job *job)
{
	struct list_op *op = CONTAINER_OF(job, struct list_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = map_list(view, op->prefix, op->after, list_add, op);
	map_view_end(view);
}

static LOOP_FN void list_done(struct worker_job *job)
{
	struct list_op *op = CONTAINER_OF(job, struct list_op, job);

	for (uint32_t i = 0; i < op->n && op->err == 0; i++)
		info_update(op->objs, &op->found[i]);
	op->cb(op->ctx, op->err, op->found, op->err < 0 ? 0 : op->n, op->more);
	free(op);
}

void object_list(struct objects *objs, const char *prefix, const char *after, uint32_t max,
		 object_list_cb cb, void *ctx)
{
	struct list_op *op = NULL;
	int err = 0;

	ASSERT_LOOP();
	if (strlen(prefix) > NAME_MAX_BYTES || strlen(after) > NAME_MAX_BYTES)
		err = -ERR_BAD_NAME;
	else
		op = calloc(1, sizeof(*op) + max * sizeof(struct map_obj));
	if (!op) {
		cb(ctx, err < 0 ? err : -ERR_NOMEM, NULL, 0, false);
		return;
	}
	op->objs = objs;
	memcpy(op->prefix, prefix, strlen(prefix) + 1);
	memcpy(op->after, after, strlen(after) + 1);
	op->max = max;
	op->cb = cb;
	op->ctx = ctx;
	op->job.run = list_run;
	op->job.done = list_done;
	worker_submit(objs->pool, &op->job);
}
