/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_remove.c: what gives content up: removing objects and versions, removing what has expired,
 * and resetting an object to one of its versions.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/object_io.h"
#include "server/object_op.h"
#include "server/object_promise.h"
#include "server/object_tie.h"

/* ---- remove ---------------------------------------------------------------------------------- */

struct remove_op {
	struct name_op name;
	struct worker_job job; /* looks for the next version */
	struct map_obj next;
	uint64_t only; /* not 0: the object that the name must be of, and that must have expired */
	bool synced;   /* it was tied, and its epochs were given time to become durable */
	int err;
};

static void remove_step(struct name_op *op);
static void remove_clear(struct name_op *op);
static void remove_next(struct remove_op *rm);

static struct remove_op *remove_of(struct name_op *op)
{
	return CONTAINER_OF(op, struct remove_op, name);
}

/* The object stays. */
static void remove_failed(struct name_op *op, int err)
{
	struct object *obj = op->obj;

	obj->removal_sent = false;
	obj->removing = false;
	epoch_go_on(obj);
	name_finish(op, err, NULL);
}

static LOOP_FN void remove_cleared(struct epoch_waiter *waiter, int err)
{
	(void)err; /* nobody wants it */
	remove_clear(CONTAINER_OF(waiter, struct name_op, waiter));
}

/* It is removed.  Throws away what is not written, and waits for what is being written; nobody finds
 * the object any more, however long it stays in memory. */
static void remove_clear(struct name_op *op)
{
	struct object *obj = op->obj;
	bool more = op->flag && obj->id != op->lookup.info.id;

	epoch_discard(obj);
	if (obj->nclosed > 0 && !op->objs->latched) {
		op->waiter.ready = remove_cleared;
		epoch_sync(obj, &op->waiter);
		return;
	}
	op->obj = NULL;
	object_put(obj);
	if (obj->cache.nfetching == 0 && obj->refs == 0 && !obj->is_busy)
		object_unload(obj);
	if (more)
		remove_next(remove_of(op));
	else
		name_finish(op, 0, NULL);
}

static LOOP_FN void remove_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	if (req->err < 0) {
		remove_failed(op, req->err);
		return;
	}
	op->obj->removed = true;
	object_promise_end(op->obj);
	remove_clear(op);
}

static LOOP_FN void remove_settled(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);
	bool stopping = op->objs->wb.stopping; /* nothing that is submitted now is answered */

	/* else what was not written is not needed any more */
	if (stopping || (err == -ERR_LATCHED && op->objs->latched))
		remove_failed(op, stopping ? -ERR_SHUTDOWN : err);
	else
		remove_step(op);
}

/*
 * Must its epochs become durable first, so that nobody sees those that they are tied to without them?
 * Where that has failed, the removal is made before the others get theirs: they wait for it.
 */
static bool remove_must_sync(struct remove_op *rm)
{
	struct object *obj = rm->name.obj;
	bool must = epoch_is_tied(obj) && (!rm->synced || epoch_is_moving(obj));

	rm->synced = true;
	return must;
}

/* What is not written is not needed any more, if the removal becomes durable: until then it is kept. */
static void remove_step(struct name_op *op)
{
	struct object *obj = op->obj;

	if (!epoch_open_any(obj))
		epoch_leave(obj); /* there is nothing of it that others could be seen without */
	if (remove_must_sync(remove_of(op))) {
		op->waiter.ready = remove_settled;
		epoch_sync(obj, &op->waiter);
		return;
	}
	obj->removal_sent = true;
	op->commit.change.oid = obj->id;
	name_submit(op, CHANGE_REMOVE, remove_committed);
}

static void remove_one(struct name_op *op, const struct map_obj *info)
{
	const struct object *obj = object_find(op->objs, info->id);
	int err = obj && obj->refs > 0 ? -ERR_BUSY : 0;

	if (err == 0)
		err = name_load(op, info);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->obj->removing = true;
	remove_of(op)->synced = false;
	remove_step(op);
}

static int remove_take_version(void *ctx, const struct map_obj *info)
{
	struct remove_op *rm = ctx;

	rm->next = *info;
	return 1;
}

static WORKER_FN void remove_next_run(struct worker_job *job)
{
	struct remove_op *rm = CONTAINER_OF(job, struct remove_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	rm->next.id = 0;
	rm->err = map_view_begin(rm->name.objs->config.map, &view);
	if (rm->err < 0)
		return;
	rm->err = map_list_versions(view, rm->name.lookup.info.id, "", remove_take_version, rm);
	map_view_end(view);
}

static LOOP_FN void remove_last_found(struct name_op *op, int err)
{
	if (err < 0)
		name_finish(op, err, NULL);
	else
		remove_one(op, &op->lookup.info);
}

/* Whoever had the object open may have written to it while its versions went. */
static void remove_last(struct name_op *op)
{
	op->found = remove_last_found;
	name_look_up(op);
}

/* Is it open, or any version of it? */
static bool remove_is_open(const struct objects *objs, uint64_t id)
{
	const struct object *obj;
	const struct object *next;

	HASH_ITER(hh, objs->table, obj, next)
	{
		if ((obj->id == id || obj->info.parent == id) && !TAILQ_EMPTY(&obj->handles))
			return true;
	}
	return false;
}

static LOOP_FN void remove_next_done(struct worker_job *job)
{
	struct remove_op *rm = CONTAINER_OF(job, struct remove_op, job);

	/* before any version goes, and before each */
	if (rm->err == 0 && remove_is_open(rm->name.objs, rm->name.lookup.info.id))
		rm->err = -ERR_BUSY;
	if (rm->err < 0)
		name_finish(&rm->name, rm->err, NULL);
	else if (rm->next.id)
		remove_one(&rm->name, &rm->next);
	else
		remove_last(&rm->name);
}

/* Goes on with a version that is left, or else with the object. */
static void remove_next(struct remove_op *rm)
{
	if (rm->name.objs->wb.stopping) {
		name_finish(&rm->name, -ERR_SHUTDOWN, NULL);
		return;
	}
	rm->job.run = remove_next_run;
	rm->job.done = remove_next_done;
	worker_submit(rm->name.objs->pool, &rm->job);
}

static LOOP_FN void remove_found(struct name_op *op, int err)
{
	const struct map_obj *info = &op->lookup.info;
	uint64_t only = remove_of(op)->only;

	if (err == 0 && only != 0 && (info->id != only || !object_has_expired(info)))
		err = -ERR_NOENT; /* it was renamed meanwhile, or given more time */
	if (err == 0 && info->nversions > 0 && !op->flag)
		err = -ERR_HAS_VERSIONS;
	if (err < 0)
		name_finish(op, err, NULL);
	else if (info->nversions > 0)
		remove_next(remove_of(op));
	else
		remove_one(op, info);
}

static void remove_begin(struct objects *objs, const char *spec, uint64_t only, bool versions,
			 object_cb cb, void *ctx)
{
	struct remove_op *rm = calloc(1, sizeof(*rm));
	struct name_op *op;

	ASSERT_LOOP();
	if (!rm || name_spec_problem(spec)) {
		cb(ctx, rm ? -ERR_BAD_NAME : -ERR_NOMEM);
		free(rm);
		return;
	}
	rm->only = only;
	op = &rm->name; /* the first member: name_finish() frees both */
	name_init(op, objs, NULL, cb, ctx);
	memcpy(op->spec, spec, strlen(spec) + 1);
	op->flag = versions;
	op->found = remove_found;
	claim_add(&op->claim, op->spec, true);
	name_begin(op, false);
}

void object_remove(struct objects *objs, const char *spec, bool versions, object_cb cb, void *ctx)
{
	remove_begin(objs, spec, 0, versions, cb, ctx);
}

static_assert(offsetof(struct remove_op, name) == 0, "freed as one");

/* ---- what has expired ------------------------------------------------------------------------ */

struct expire_op {
	struct worker_job job;
	struct objects *objs;
	uint64_t expires_ns; /* of the last one looked at */
	uint64_t oid;
	int err;
	struct map_obj info;
};

static void expire_next(struct expire_op *op);

bool object_has_expired(const struct map_obj *info)
{
	return info->expires_ns != 0 && info->expires_ns <= clock_wall_ns();
}

/* From the first one again, where one of those that were passed by has been closed meanwhile. */
static void expire_end(struct expire_op *op, bool stop)
{
	struct objects *objs = op->objs;
	bool again = objs->expire_again && !stop;

	objs->expiring = false;
	objs->expire_again = false;
	free(op);
	if (again)
		object_expire(objs);
}

static WORKER_FN void expire_run(struct worker_job *job)
{
	struct expire_op *op = CONTAINER_OF(job, struct expire_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = map_next_expiry(view, &op->expires_ns, &op->oid);
	if (op->err == 0)
		op->err = map_obj_by_id(view, op->oid, &op->info);
	map_view_end(view);
}

static void expire_log(const struct expire_op *op)
{
	char name[4 * NAME_MAX_BYTES + 8];

	log_event(LOG_INFO, "expired", "object=%llu name=%s", (unsigned long long)op->oid,
		  log_quote(name, sizeof(name), op->info.name));
}

static LOOP_FN void expire_removed(void *ctx, int err)
{
	struct expire_op *op = ctx;

	if (err == 0)
		expire_log(op);
	/* what is in use is looked at again when it is closed, and at the next tick */
	expire_next(op);
}

static LOOP_FN void expire_done(struct worker_job *job)
{
	struct expire_op *op = CONTAINER_OF(job, struct expire_op, job);

	if (op->err < 0 || op->expires_ns > clock_wall_ns() || op->objs->wb.stopping) {
		expire_end(op, op->objs->wb.stopping);
		return;
	}
	remove_begin(op->objs, op->info.name, op->oid, true, expire_removed, op);
}

static void expire_next(struct expire_op *op)
{
	if (op->objs->wb.stopping || op->objs->latched) {
		expire_end(op, true);
		return;
	}
	op->job.run = expire_run;
	op->job.done = expire_done;
	worker_submit(op->objs->pool, &op->job);
}

void object_expire_closed(struct object *obj)
{
	struct objects *objs = obj->objs;

	ASSERT_LOOP();
	if (!TAILQ_EMPTY(&obj->handles) || !object_has_expired(&obj->info))
		return;
	objs->expire_again = objs->expiring; /* it may have been passed by */
	object_expire(objs);
}

void object_expire(struct objects *objs)
{
	struct expire_op *op;

	ASSERT_LOOP();
	if (objs->expiring || objs->latched)
		return;
	op = calloc(1, sizeof(*op));
	if (!op)
		return;
	op->objs = objs;
	objs->expiring = true;
	expire_next(op);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void reset_finish(struct name_op *op, int err, const struct map_obj *info)
{
	object_open_gate(op->obj);
	name_finish(op, err, info);
}

static LOOP_FN void reset_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);
	struct object *obj = op->obj;

	epoch_pass_generation(obj, req->change.generation, req->err);
	if (req->err == 0) {
		alloc_unreserve(op->objs->alloc, cache_punch(&obj->cache, lblk(0), BLK_OBJECT_MAX));
		object_forget_pages(obj, lblk(0), BLK_OBJECT_MAX);
		obj->info = req->obj;
		obj->size_bytes = req->obj.size_bytes;
		obj->mtime_ns = req->obj.mtime_ns;
		object_promise_update(obj);
	}
	reset_finish(op, req->err, &req->obj);
}

/* All that was written to it, or to what it is tied to, is durable, and nothing more is written to
 * it. */
static LOOP_FN void reset_synced(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);

	if (err < 0) {
		reset_finish(op, err, NULL);
		return;
	}
	op->commit.change.oid = op->obj->id;
	op->commit.change.other = op->lookup.other_info.id;
	op->commit.change.generation = epoch_next_generation(op->obj);
	name_submit(op, CHANGE_RESET, reset_committed);
}

static LOOP_FN void reset_gated(struct gate_waiter *gate)
{
	struct name_op *op = CONTAINER_OF(gate, struct name_op, gate);

	op->waiter.ready = reset_synced;
	epoch_sync_tied(op->obj, &op->waiter);
}

static LOOP_FN void reset_found(struct name_op *op, int err)
{
	if (err == 0)
		err = op->lookup.other_err;
	if (err == 0)
		err = name_load(op, &op->lookup.info);
	if (err == 0 && op->obj->info.readonly)
		err = -ERR_READONLY;
	if (err == 0)
		err = name_renew(op);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->gate.ready = reset_gated;
	object_close_gate(op->obj, &op->gate);
}

void object_reset(struct objects *objs, const char *spec, object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);

	if (!op || !name_take_version(op, spec))
		return;
	op->found = reset_found;
	claim_add(&op->claim, op->spec, true);
	claim_add(&op->claim, op->other, false);
	name_begin(op, true);
}
