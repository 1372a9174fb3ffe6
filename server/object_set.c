/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_set.c: changing the attributes of what there is: labels, time to live, read-only.
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
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_io.h"
#include "server/object_op.h"

struct set_op {
	struct name_op name;
	struct object_edit edit; /* points to the two below */
	char edits[LABELS_MAX_BYTES];
	char expected[LABELS_MAX_BYTES];
	bool gated;
};

static_assert(offsetof(struct set_op, name) == 0, "freed as one");

static struct set_op *set_of(struct name_op *op)
{
	return CONTAINER_OF(op, struct set_op, name);
}

static void set_finish(struct name_op *op, int err, const struct map_obj *info)
{
	if (set_of(op)->gated)
		object_open_gate(op->obj);
	name_finish(op, err, info);
}

static LOOP_FN void set_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);
	struct object *obj = op->obj;

	if (req->err == 0) {
		obj->info = req->obj;
		req->obj.size_bytes = obj->size_bytes;
		req->obj.mtime_ns = obj->mtime_ns;
		req->obj.generation = obj->generation;
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

	if (now->parent && edit->set_readonly)
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
	if (!edit->set_ttl)
		change->expires_ns = now->expires_ns;
	return 0;
}

static LOOP_FN void set_found(struct name_op *op, int err)
{
	struct set_op *set = set_of(op);

	if (err == 0)
		err = set_fill(set, &op->lookup.info);
	if (err == 0)
		err = name_load(op, &op->lookup.info);
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

/* Checks what was asked for, and copies it. */
static int set_take(struct set_op *set, const char *spec, const struct object_edit *edit)
{
	if (name_spec_problem(spec))
		return -ERR_BAD_NAME;
	if (label_edits_problem(edit->edits, edit->edits_len) ||
	    label_edits_problem(edit->expected, edit->expected_len))
		return -ERR_INVAL;
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
	/* to take something away there must always be room */
	name_begin(op, edit->edits_len > 0 || edit->ttl_ms > 0);
}
