/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_name.c: making objects, clones and versions, and giving them other names.
 *
 * Whether a change can be made is decided here, while its names are claimed; then it goes through
 * the commit queue, in order with the epochs that it depends on.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_op.h"
#include "server/object_promise.h"

/* ---- create ---------------------------------------------------------------------------------- */

/* What was taken for it stays withheld, where it was made. */
static LOOP_FN void create_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	if (req->err < 0)
		promise_drop(op->objs, req->change.reserved_nblks);
	name_committed(req);
}

static LOOP_FN void create_found(struct name_op *op, int err)
{
	if (err == 0)
		err = -ERR_EXIST;
	else if (err == -ERR_NOENT)
		err = promise_take(op->objs, op->commit.change.reserved_nblks);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->commit.change.oid = op->objs->next_object++;
	op->commit.change.name = op->spec;
	name_submit(op, CHANGE_CREATE, create_committed);
}

void object_create(struct objects *objs, const char *name, uint64_t size_bytes,
		   const struct object_attrs *attrs, object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);
	int err = name_check(name);

	if (!op)
		return;
	if (err == 0 && (size_bytes > BLK_OBJECT_MAX << BLK_SHIFT ||
			 (attrs && attrs->reserved_nblks > BLK_OBJECT_MAX)))
		err = -ERR_TOO_LARGE;
	if (err == 0)
		err = name_set_attrs(op, attrs);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	memcpy(op->spec, name, strlen(name) + 1);
	op->commit.change.size_bytes = size_bytes;
	op->commit.change.reserved_nblks = attrs ? attrs->reserved_nblks : 0;
	op->found = create_found;
	claim_add(&op->claim, op->spec, true);
	name_begin(op, true);
}

/* ---- clone and snapshot ---------------------------------------------------------------------- */

static LOOP_FN void clone_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	if (req->err == 0)
		object_set_owned(op->obj, req->source_owned_nblks);
	name_committed(req);
}

/* The source's epoch is durable, and nothing of it has been submitted since. */
static LOOP_FN void clone_synced(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);

	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->commit.change.oid = op->objs->next_object++;
	op->commit.change.other = op->obj->id;
	name_submit(op, CHANGE_CLONE, clone_committed);
}

/* The object is there that the clone becomes a version of. */
static LOOP_FN void clone_parent_found(struct name_op *op, int err)
{
	if (err < 0) {
		name_finish(op, err == -ERR_NOENT ? -ERR_NO_PARENT : err, NULL);
		return;
	}
	op->commit.change.parent = op->lookup.info.id;
	op->commit.change.name = strchr(op->other, '@') + 1;
	op->waiter.ready = clone_synced;
	epoch_sync(op->obj, &op->waiter);
}

/* op->spec becomes the object of the version that is to be made. */
static void clone_find_parent(struct name_op *op)
{
	size_t len = strcspn(op->other, "@");

	memcpy(op->spec, op->other, len);
	op->spec[len] = '\0';
	op->found = clone_parent_found;
	name_look_up(op);
}

static LOOP_FN void clone_found(struct name_op *op, int err)
{
	if (err == 0 && op->lookup.other_err != -ERR_NOENT)
		err = op->lookup.other_err < 0 ? op->lookup.other_err : -ERR_EXIST;
	if (err == 0)
		err = name_load(op, &op->lookup.info);
	if (err == 0)
		err = name_renew(op);
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	if (strchr(op->other, '@') && !op->flag) { /* a version of another object */
		clone_find_parent(op);
		return;
	}
	if (op->flag) { /* a version of it */
		op->commit.change.parent = op->obj->id;
		op->commit.change.name = strchr(op->other, '@') + 1;
	} else {
		op->commit.change.name = op->other;
	}
	op->waiter.ready = clone_synced;
	epoch_sync(op->obj, &op->waiter);
}

/* op->spec is what is cloned, op->other what is made. */
static void clone_begin(struct name_op *op, const struct object_attrs *attrs)
{
	int err = name_set_attrs(op, attrs);

	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->found = clone_found;
	claim_add(&op->claim, op->spec, false);
	claim_add(&op->claim, op->other, true);
	name_begin(op, true);
}

void object_clone(struct objects *objs, const char *src, const char *dst,
		  const struct object_attrs *attrs, object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);

	if (!op)
		return;
	if (name_spec_problem(src) || name_spec_problem(dst)) {
		name_finish(op, -ERR_BAD_NAME, NULL);
		return;
	}
	memcpy(op->spec, src, strlen(src) + 1);
	memcpy(op->other, dst, strlen(dst) + 1);
	clone_begin(op, attrs);
}

void object_snapshot(struct objects *objs, const char *spec, const struct object_attrs *attrs,
		     object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);

	if (!op || !name_take_version(op, spec))
		return;
	op->flag = true;
	clone_begin(op, attrs);
}

/* ---- rename ---------------------------------------------------------------------------------- */

/* Objects in memory say their names: of an object, and of its versions. */
static void rename_in_memory(struct objects *objs, uint64_t oid, const char *name)
{
	struct object *obj;
	struct object *next;

	object_note_changed(objs, oid);
	HASH_ITER(hh, objs->table, obj, next)
	{
		const char *at = obj->info.parent == oid ? strchr(obj->info.name, '@') : NULL;
		char version[NAME_VERSION_MAX + 2];

		if (at) {
			memcpy(version, at, strlen(at) + 1);
			memcpy(obj->info.name, name, strlen(name));
			memcpy(obj->info.name + strlen(name), version, strlen(version) + 1);
		} else if (obj->id == oid) {
			memcpy(obj->info.name, name, strlen(name) + 1);
		}
	}
}

static LOOP_FN void rename_committed(struct commit_req *req)
{
	struct name_op *op = CONTAINER_OF(req, struct name_op, commit);

	if (req->err == 0) {
		rename_in_memory(op->objs, op->lookup.info.id, op->other);
		if (op->flag)
			rename_in_memory(op->objs, op->lookup.other_info.id, op->spec);
	}
	name_finish(op, req->err, NULL);
}

static LOOP_FN void rename_found(struct name_op *op, int err)
{
	int other_err = op->lookup.other_err;

	if (err == 0 && op->flag)
		err = other_err;
	else if (err == 0 && other_err != -ERR_NOENT)
		err = other_err < 0 ? other_err : -ERR_EXIST;
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	op->commit.change.oid = op->lookup.info.id;
	op->commit.change.other = op->flag ? op->lookup.other_info.id : 0;
	op->commit.change.name = op->other;
	if (strchr(op->other, '@'))
		op->commit.change.name = strchr(op->other, '@') + 1;
	name_submit(op, op->flag ? CHANGE_EXCHANGE : CHANGE_RENAME, rename_committed);
}

/* Two objects, or two versions of one. */
static int rename_check(const char *from, const char *to, bool exchange)
{
	const char *from_at;
	const char *to_at;

	if (name_spec_problem(from) || name_spec_problem(to))
		return -ERR_BAD_NAME;
	if (strcmp(from, to) == 0)
		return -ERR_SAME_NAME;
	from_at = strchr(from, '@');
	to_at = strchr(to, '@');
	if (!from_at && !to_at)
		return 0;
	if (exchange || !from_at || !to_at || from_at - from != to_at - to ||
	    memcmp(from, to, (size_t)(from_at - from)) != 0)
		return -ERR_INVAL;
	return 0;
}

void object_rename(struct objects *objs, const char *from, const char *to, bool exchange,
		   object_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, NULL, cb, ctx);
	int err = rename_check(from, to, exchange);

	if (!op)
		return;
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	memcpy(op->spec, from, strlen(from) + 1);
	memcpy(op->other, to, strlen(to) + 1);
	op->flag = exchange;
	op->found = rename_found;
	claim_add(&op->claim, op->spec, true);
	claim_add(&op->claim, op->other, true);
	name_begin(op, false);
}
