/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_set.c: changing the attributes of what there is: labels, time to live, read-only, reservation.
 *
 * The name is claimed, so what is read of the attributes is what they are until the change, which
 * has all of them as they will be, is in the map: edits of several clients follow each other.
 *
 * What is written is kept from changing in this order, so that what was acknowledged is durable when
 * the answer comes, and nothing is written behind it:
 *
 *	gated --> epochs durable --> committed --> obj->info.readonly --> gate open
 *	writes and                                 they are refused       those that waited, too
 *	range clones wait
 *
 * Where a step fails the gate opens, and the object is as it was.
 *
 * What is reserved is promised from before the change is submitted on.  How much of it is withheld depends on
 * what the object is known to own, which is less than the truth where others have let go of what they shared
 * with it.  So it is counted first, in a snapshot and before the name is claimed, since that may take long;
 * and where more is found this is committed, with the attributes as they are, before the rest is decided.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_io.h"
#include "server/object_op.h"
#include "server/object_promise.h"
#include "server/object_walk.h"

/* How many may wait for their walks: each has the memory of its request, also of a client that is gone. */
#define SET_COUNTS_MAX 1024u

struct set_op {
	struct name_op name;
	struct object_edit edit; /* points to the two below */
	char edits[LABELS_MAX_BYTES];
	char expected[LABELS_MAX_BYTES];
	struct change wanted; /* while what was found is committed */
	struct object_walk walk;
	struct map_owned owned; /* what it found; nblks 0: nothing */
	bool promised;
	bool gated;
};

static_assert(offsetof(struct set_op, name) == 0, "freed as one");

static struct set_op *set_of(struct name_op *op)
{
	return CONTAINER_OF(op, struct set_op, name);
}

static void set_finish(struct name_op *op, int err, const struct map_obj *info)
{
	struct objects *objs = op->objs;

	if (set_of(op)->promised)
		object_promised(op->obj);
	if (set_of(op)->gated)
		object_open_gate(op->obj);
	name_finish(op, err, info);
	if (!TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* there may be less reserved */
}

static LOOP_FN void set_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);
	struct object *obj = op->obj;

	if (req->err == 0) {
		obj->info = req->obj;
		object_promised(obj);
		set_of(op)->promised = false;
		req->obj.size_bytes = obj->size_bytes;
		req->obj.mtime_ns = obj->mtime_ns;
		req->obj.generation = obj->generation;
		object_tell_promise(obj, &req->obj);
	}
	set_finish(op, req->err, &req->obj);
}

/* All that was acknowledged is durable, and nothing more is written. */
static LOOP_FN void set_synced(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);

	if (err < 0)
		set_finish(op, err, NULL);
	else
		name_submit(op, CHANGE_SET, set_committed);
}

static LOOP_FN void set_gated(struct gate_waiter *gate)
{
	struct name_op *op = CONTAINER_OF(gate, struct name_op, gate);

	set_of(op)->gated = true;
	op->waiter.ready = set_synced;
	epoch_sync(op->obj, &op->waiter);
}

/* What the attributes will be. */
static int set_fill(struct set_op *set, const struct map_obj *now)
{
	const struct object_edit *edit = &set->edit;
	struct change *change = &set->name.commit.change;
	size_t len;
	int err;

	if (now->parent && (edit->set_readonly || edit->set_reserved))
		return -ERR_PERM;
	if (!label_hold(now->labels, now->labels_len, edit->expected, edit->expected_len))
		return -ERR_LABELS_OTHER;
	err = label_edit(now->labels, edit->replace ? 0 : now->labels_len, edit->edits,
			 edit->edits_len, set->name.labels, &len);
	if (err < 0)
		return err;
	change->oid = now->id;
	change->labels = set->name.labels;
	change->labels_len = (uint32_t)len;
	change->readonly = edit->set_readonly ? edit->readonly : now->readonly;
	change->reserved_nblks = edit->set_reserved ? edit->reserved_nblks : now->reserved_nblks;
	if (!edit->set_ttl)
		change->expires_ns = now->expires_ns;
	return 0;
}

/* The object is known to own what it does. */
static void set_go_on(struct name_op *op)
{
	int err = object_promise(op->obj, op->commit.change.reserved_nblks);

	set_of(op)->promised = err == 0;
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	if (!op->commit.change.readonly || op->lookup.info.readonly) {
		name_submit(op, CHANGE_SET, set_committed);
		return;
	}
	op->gate.ready = set_gated;
	object_close_gate(op->obj, &op->gate);
}

static LOOP_FN void set_regained(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	if (req->err < 0) {
		name_finish(op, req->err, NULL);
		return;
	}
	op->obj->info = req->obj;
	object_promise_update(op->obj);
	op->commit = (struct commit_req){.change = set_of(op)->wanted};
	set_go_on(op);
}

/* Commits that the object owns more than was known, and nothing else. */
static void set_regain(struct set_op *set)
{
	struct name_op *op = &set->name;
	const struct map_obj *now = &op->lookup.info;

	set->wanted = op->commit.change;
	op->commit.change = (struct change){
	    .oid = now->id,
	    .expires_ns = now->expires_ns,
	    .readonly = now->readonly,
	    .labels = now->labels,
	    .labels_len = now->labels_len,
	    .reserved_nblks = now->reserved_nblks,
	    .regained_nblks = set->owned.nblks - set->owned.obj.owned_nblks,
	    .owned_seq = set->owned.obj.owned_seq,
	};
	name_submit(op, CHANGE_SET, set_regained);
}

static LOOP_FN void set_found(struct name_op *op, int err)
{
	struct set_op *set = set_of(op);
	const struct map_owned *owned = &set->owned;

	if (err == 0)
		err = set_fill(set, &op->lookup.info);
	if (err == 0)
		err = name_load(op, &op->lookup.info);
	if (err < 0)
		name_finish(op, err, NULL);
	else if (owned->nblks > owned->obj.owned_nblks && owned->obj.id == op->obj->id)
		set_regain(set);
	else
		set_go_on(op);
}

/* ---- what the object owns -------------------------------------------------------------------- */

static bool set_is_late(void *ctx)
{
	return map_snapshot_is_late(ctx);
}

static WORKER_FN int set_walk_run(struct object_walk *walk, struct map_view *view)
{
	struct set_op *set = CONTAINER_OF(walk, struct set_op, walk);
	int err = map_owned(view, set->name.spec, set_is_late, view, &set->owned);

	return err < 0 && map_snapshot_is_late(view) ? -ERR_LATE : err;
}

/* Where it could not be counted what is known of it has to do. */
static LOOP_FN void set_walk_ended(struct object_walk *walk, int err)
{
	struct set_op *set = CONTAINER_OF(walk, struct set_op, walk);

	set->name.objs->ncounts--;
	if (err < 0)
		set->owned = (struct map_owned){0};
	if (err < 0 && err != -ERR_NOENT && err != -ERR_LATE)
		name_finish(&set->name, err, NULL);
	else
		name_begin(&set->name, set->edit.edits_len > 0 || set->edit.ttl_ms > 0);
}

static void set_walk(struct set_op *set)
{
	struct objects *objs = set->name.objs;

	if (objs->ncounts == SET_COUNTS_MAX) {
		name_finish(&set->name, -ERR_COUNTS, NULL);
		return;
	}
	objs->ncounts++;
	set->walk.run = set_walk_run;
	set->walk.ended = set_walk_ended;
	object_walk_start(objs, &set->walk);
}

/* Checks what was asked for, and copies it. */
static int set_take(struct set_op *set, const char *spec, const struct object_edit *edit)
{
	if (name_spec_problem(spec))
		return -ERR_BAD_NAME;
	if (label_edits_problem(edit->edits, edit->edits_len) ||
	    label_edits_problem(edit->expected, edit->expected_len))
		return -ERR_INVAL;
	if (edit->set_reserved && edit->reserved_nblks > BLK_OBJECT_MAX)
		return -ERR_TOO_LARGE;
	set->edit = *edit;
	set->edit.edits = set->edits;
	set->edit.expected = set->expected;
	if (edit->edits_len > 0)
		memcpy(set->edits, edit->edits, edit->edits_len);
	if (edit->expected_len > 0)
		memcpy(set->expected, edit->expected, edit->expected_len);
	memcpy(set->name.spec, spec, strlen(spec) + 1);
	return name_expiry(edit->ttl_ms, &set->name.commit.change.expires_ns);
}

void object_set(struct objects *objs, const char *spec, const struct object_edit *edit,
		object_info_cb cb, void *ctx)
{
	struct set_op *set = calloc(1, sizeof(*set));
	struct name_op *op;
	int err;

	ASSERT_LOOP();
	if (!set) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op = &set->name; /* the first member: name_finish() frees both */
	name_init(op, objs, cb, NULL, ctx);
	err = set_take(set, spec, edit);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->found = set_found;
	claim_add(&op->claim, op->spec, true);
	if (edit->set_reserved && edit->reserved_nblks > 0 && !strchr(spec, '@')) {
		set_walk(set);
		return;
	}
	/* to take something away there must always be room */
	name_begin(op, edit->edits_len > 0 || edit->ttl_ms > 0);
}
