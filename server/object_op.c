/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_op.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_promise.h"

static void name_answer(struct name_op *op, int err, const struct map_obj *info)
{
	if (op->info_cb)
		op->info_cb(op->ctx, err, info);
	else
		op->cb(op->ctx, err);
}

void name_finish(struct name_op *op, int err, const struct map_obj *info)
{
	struct objects *objs = op->objs;
	bool renewed = op->obj && op->renewing_nblks > 0;

	ASSERT_LOOP();
	name_answer(op, err, info);
	if (op->obj) {
		object_renewed(op->obj, op->renewing_nblks);
		object_put(op->obj);
	}
	claim_put(objs, &op->claim);
	free(op);
	if (renewed && !TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* who waited for the promise */
}

struct name_op *name_new(struct objects *objs, object_info_cb info_cb, object_cb cb, void *ctx)
{
	struct name_op *op = calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		if (info_cb)
			info_cb(ctx, -ERR_NOMEM, NULL);
		else
			cb(ctx, -ERR_NOMEM);
		return NULL;
	}
	name_init(op, objs, info_cb, cb, ctx);
	return op;
}

void name_init(struct name_op *op, struct objects *objs, object_info_cb info_cb, object_cb cb,
	       void *ctx)
{
	op->objs = objs;
	op->info_cb = info_cb;
	op->cb = cb;
	op->ctx = ctx;
	claim_init(&op->claim, op->names, CLAIM_NAMES_MAX);
}

int name_set_attrs(struct name_op *op, const struct object_attrs *attrs)
{
	struct change *change = &op->commit.change;

	if (!attrs)
		return 0;
	if (attrs->labels_len > sizeof(op->labels) ||
	    label_check(attrs->labels, attrs->labels_len) < 0)
		return -ERR_INVAL;
	if (attrs->labels_len > 0)
		memcpy(op->labels, attrs->labels, attrs->labels_len);
	change->labels = op->labels;
	change->labels_len = attrs->labels_len;
	return name_expiry(attrs->ttl_ms, &change->expires_ns);
}

bool name_take_version(struct name_op *op, const char *spec)
{
	char version[NAME_VERSION_MAX + 1];
	char object[NAME_OBJECT_MAX + 1];
	int err = name_split(spec, object, version);

	if (err == 0 && version[0] == '\0')
		err = -ERR_INVAL;
	if (err < 0) {
		name_finish(op, err, NULL);
		return false;
	}
	memcpy(op->spec, object, strlen(object) + 1);
	memcpy(op->other, spec, strlen(spec) + 1);
	return true;
}

/* ---- claimed, room, looked up ---------------------------------------------------------------- */

static LOOP_FN void name_looked_up(struct object_lookup *lookup, int err)
{
	struct name_op *op = CONTAINER_OF(lookup, struct name_op, lookup);

	op->found(op, err);
}

void name_look_up(struct name_op *op)
{
	int err;

	op->lookup.found = name_looked_up;
	err = object_lookup(op->objs, op->spec, op->other[0] ? op->other : NULL, &op->lookup);
	if (err < 0)
		name_finish(op, err, NULL);
}

static LOOP_FN void name_granted(struct object_claim *claim, int err)
{
	struct name_op *op = CONTAINER_OF(claim, struct name_op, claim);

	if (err < 0)
		name_finish(op, err, NULL);
	else
		name_look_up(op);
}

static LOOP_FN void name_settled(struct objects_settle *settle, int err)
{
	struct name_op *op = CONTAINER_OF(settle, struct name_op, settle);

	if (err == 0 && !objects_may_grow(op->objs))
		err = -ERR_NOSPC_META;
	if (err < 0)
		name_finish(op, err, NULL);
	else
		claim_take(op->objs, &op->claim);
}

void name_begin(struct name_op *op, bool grows)
{
	op->claim.granted = name_granted;
	if (op->objs->latched) {
		name_finish(op, -ERR_LATCHED, NULL);
	} else if (grows && !objects_may_grow(op->objs)) {
		op->settle.ready = name_settled;
		objects_settle(op->objs, &op->settle);
	} else {
		claim_take(op->objs, &op->claim);
	}
}

int name_load(struct name_op *op, const struct map_obj *info)
{
	op->obj = object_load(op->objs, info);
	return op->obj ? 0 : -ERR_NOMEM;
}

int name_renew(struct name_op *op)
{
	int err = object_renew(op->obj, BLK_OBJECT_MAX);

	if (err == 0)
		op->renewing_nblks = BLK_OBJECT_MAX;
	return err;
}

#define NS_PER_MS UINT64_C(1000000)

int name_expiry(uint64_t ttl_ms, uint64_t *expires_ns)
{
	uint64_t now_ns = clock_wall_ns();

	if (ttl_ms > (UINT64_MAX - now_ns) / NS_PER_MS)
		return -ERR_INVAL;
	*expires_ns = ttl_ms > 0 ? now_ns + ttl_ms * NS_PER_MS : 0;
	return 0;
}

/* ---- committing ------------------------------------------------------------------------------ */

void name_submit(struct name_op *op, enum change_kind kind, void (*done)(struct commit_req *req))
{
	op->commit.change.kind = kind;
	op->commit.change.time_ns = clock_wall_ns();
	op->commit.done = done;
	if (op->objs->wb.stopping) {
		op->commit.err = -ERR_SHUTDOWN;
		done(&op->commit);
		return;
	}
	commit_submit(op->objs->commit, &op->commit);
}

void name_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	name_finish(op, req->err, &req->obj);
}
