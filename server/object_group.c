/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_group.c: clones and versions of several objects, of one point in time.
 *
 *	all names claimed --> looked up, one after another --> what is open of the sources closed as one
 *	set, durable --> all changes submitted as one unit --> answered
 *
 * Between the set and the unit nothing later of any source is submitted (epoch_sync_all()), so each
 * copy holds exactly what the set made of its source; and no crash shows some of them only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_op.h"
#include "server/object_promise.h"
#include "server/record.h"

/* What may be asked for at once: each takes some 3 KiB while it waits. */
#define GROUP_PAIRS_MAX 8192u

struct group_item {
	struct group_op *group;
	struct object *obj; /* the source, referenced once it has been looked up */
	bool renewing;	    /* what it has reserved */
	struct commit_req commit;
};

struct group_op {
	struct name_op name; /* the first member: name_finish() frees all of it */
	const struct object_pair *pairs;
	struct group_item *items;
	struct object **sources;
	uint32_t n;
	uint32_t at;	  /* the pair that is being looked at; n: none */
	uint32_t pending; /* changes that are not answered */
	int err;
	object_pairs_cb cb;
	void *ctx;
	struct claim_name names[];
};

static_assert(offsetof(struct group_op, name) == 0, "freed as one");

static struct group_op *group_of(struct name_op *op)
{
	return CONTAINER_OF(op, struct group_op, name);
}

/* The operation's own callback: name_finish() calls it. */
static LOOP_FN void group_ended(void *ctx, int err)
{
	struct group_op *group = ctx;
	struct objects *objs = group->name.objs;

	objs->npairs -= group->n;
	group->cb(group->ctx, err, group->at);
	for (uint32_t i = 0; i < group->n && group->items; i++) {
		struct group_item *item = &group->items[i];

		if (item->renewing)
			object_renewed(item->obj, BLK_OBJECT_MAX);
		if (item->obj)
			object_put(item->obj);
	}
	free(group->items);
	free(group->sources);
	if (!TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* who waited for what is promised */
}

/* ---- are they good? -------------------------------------------------------------------------- */

/* The version's part of what is made, or NULL: an object. */
static const char *pair_version(const struct object_pair *pair)
{
	const char *at = strchr(pair->dst, '@');

	return at ? at + 1 : NULL;
}

static int pair_check(const struct object_pair *pair)
{
	size_t len = strlen(pair->src);

	if (name_spec_problem(pair->src) || name_spec_problem(pair->dst))
		return -ERR_BAD_NAME;
	if (!pair_version(pair))
		return 0;
	return strncmp(pair->src, pair->dst, len) == 0 && pair->dst[len] == '@' ? 0 : -ERR_INVAL;
}

/* Those before it are good. */
static int group_check(const struct group_op *group, uint32_t at)
{
	int err = pair_check(&group->pairs[at]);

	for (uint32_t i = 0; i < at && err == 0; i++)
		if (strcmp(group->pairs[i].dst, group->pairs[at].dst) == 0)
			err = -ERR_SAME_NAME;
	return err;
}

/* ---- committed ------------------------------------------------------------------------------- */

static LOOP_FN void group_committed(struct commit_req *req)
{
	struct group_item *item = CONTAINER_OF(req, struct group_item, commit);
	struct group_op *group = item->group;

	if (req->err < 0)
		group->err = req->err;
	else
		object_set_owned(item->obj, req->source_owned_nblks);
	if (--group->pending == 0)
		name_finish(&group->name, group->err, NULL);
}

/* The sources' set is durable, and nothing later of any of them has been submitted. */
static LOOP_FN void group_synced(struct epoch_waiter *waiter, int err)
{
	struct name_op *op = CONTAINER_OF(waiter, struct name_op, waiter);
	struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);
	struct group_op *group = group_of(op);
	uint64_t now = clock_wall_ns();

	if (err == 0 && op->objs->wb.stopping)
		err = -ERR_SHUTDOWN;
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	group->pending = group->n;
	for (uint32_t i = 0; i < group->n; i++) {
		struct commit_req *req = &group->items[i].commit;

		req->change.oid = op->objs->next_object++;
		req->change.time_ns = now;
		req->done = group_committed;
		STAILQ_INSERT_TAIL(&unit, req, link);
	}
	commit_submit_unit(op->objs->commit, &unit);
}

/* ---- looked up ------------------------------------------------------------------------------- */

static void group_sync(struct group_op *group)
{
	struct objects *objs = group->name.objs;
	size_t bytes = 0;

	for (uint32_t i = 0; i < group->n; i++) {
		group->sources[i] = group->items[i].obj;
		bytes += record_change_len(&group->items[i].commit.change);
	}
	if (bytes > commit_unit_max(objs->commit)) {
		name_finish(&group->name, -ERR_LIMIT, NULL);
		return;
	}
	group->name.waiter.ready = group_synced;
	epoch_sync_all(group->sources, group->n, &group->name.waiter);
}

/* Looks for what the next pair names; behind the last goes on. */
static void group_next(struct group_op *group)
{
	const struct object_pair *pair = &group->pairs[group->at];
	struct name_op *op = &group->name;

	if (group->at == group->n) {
		group_sync(group);
		return;
	}
	memcpy(op->spec, pair->src, strlen(pair->src) + 1);
	memcpy(op->other, pair->dst, strlen(pair->dst) + 1);
	name_look_up(op);
}

static LOOP_FN void group_found(struct name_op *op, int err)
{
	struct group_op *group = group_of(op);
	struct group_item *item = &group->items[group->at];
	const struct object_pair *pair = &group->pairs[group->at];
	struct change *change = &item->commit.change;

	if (err == 0 && op->lookup.other_err != -ERR_NOENT)
		err = op->lookup.other_err < 0 ? op->lookup.other_err : -ERR_EXIST;
	if (err == 0)
		item->obj = object_load(op->objs, &op->lookup.info);
	if (err == 0)
		err = item->obj ? object_renew(item->obj, BLK_OBJECT_MAX) : -ERR_NOMEM;
	if (err < 0) {
		name_finish(op, err, NULL);
		return;
	}
	item->renewing = true;
	item->group = group;
	*change = op->commit.change; /* the attributes */
	change->kind = CHANGE_CLONE;
	change->other = item->obj->id;
	change->parent = pair_version(pair) ? item->obj->id : 0;
	change->name = pair_version(pair) ? pair_version(pair) : pair->dst;
	group->at++;
	group_next(group);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* 0, or why it is refused; group->at is the pair that is to blame. */
static int group_begin(struct group_op *group, const struct object_attrs *attrs)
{
	struct name_op *op = &group->name;
	int err = 0;

	for (group->at = 0; group->at < group->n; group->at++) {
		err = group_check(group, group->at);
		if (err < 0)
			return err;
		claim_add(&op->claim, group->pairs[group->at].src, false);
		claim_add(&op->claim, group->pairs[group->at].dst, true);
	}
	err = name_set_attrs(op, attrs);
	if (err < 0)
		return err;
	group->items = calloc(group->n, sizeof(*group->items));
	group->sources = calloc(group->n, sizeof(struct object *));
	return group->items && group->sources ? 0 : -ERR_NOMEM;
}

void object_clone_all(struct objects *objs, const struct object_pair *pairs, uint32_t n,
		      const struct object_attrs *attrs, object_pairs_cb cb, void *ctx)
{
	struct group_op *group = NULL;
	uint32_t max = 4 * n; /* two specs, each with its object */
	int err;

	ASSERT_LOOP();
	if (n > 0 && n <= OBJECT_GROUP_MAX && objs->npairs + n > GROUP_PAIRS_MAX) {
		cb(ctx, -ERR_PAIRS, n);
		return;
	}
	if (n > 0 && n <= OBJECT_GROUP_MAX)
		group = calloc(1, sizeof(*group) + max * sizeof(group->names[0]));
	if (!group) {
		cb(ctx, n == 0 ? 0 : n > OBJECT_GROUP_MAX ? -ERR_LIMIT : -ERR_NOMEM, n);
		return;
	}
	objs->npairs += n;
	group->pairs = pairs;
	group->n = n;
	group->cb = cb;
	group->ctx = ctx;
	name_init(&group->name, objs, NULL, group_ended, group);
	claim_init(&group->name.claim, group->names, max);
	err = group_begin(group, attrs);
	if (err < 0) {
		name_finish(&group->name, err, NULL);
		return;
	}
	group->name.found = group_found;
	/* what name_begin() looks up first, as group_next() does for the others */
	memcpy(group->name.spec, pairs[0].src, strlen(pairs[0].src) + 1);
	memcpy(group->name.other, pairs[0].dst, strlen(pairs[0].dst) + 1);
	group->at = 0;
	name_begin(&group->name, true);
}
