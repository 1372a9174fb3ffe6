/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_list.c: looking at objects by name: info, lists, holders.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_op.h"
#include "server/object_promise.h"

/* Puts what memory knows better into what the map said. */
static void info_update(const struct objects *objs, struct map_obj *info)
{
	const struct object *obj = object_find(objs, info->id);

	if (!obj)
		return;
	info->size_bytes = obj->size_bytes;
	info->mtime_ns = obj->mtime_ns;
	info->generation = obj->generation;
	object_tell_promise(obj, info);
}

static LOOP_FN void info_found(struct object_lookup *lookup, int err)
{
	struct name_op *op = CONTAINER_OF(lookup, struct name_op, lookup);

	if (err == 0)
		info_update(op->objs, &lookup->info);
	name_finish(op, err, &lookup->info);
}

void object_info(struct objects *objs, const char *spec, object_info_cb cb, void *ctx)
{
	struct name_op *op = name_new(objs, cb, NULL, ctx);
	int err;

	if (!op)
		return;
	op->lookup.found = info_found;
	err = object_lookup(objs, spec, NULL, &op->lookup);
	if (err < 0)
		name_finish(op, err, NULL);
}

const char *object_holder(struct objects *objs, const char *spec, const char **held)
{
	size_t len = strlen(spec);
	const struct object *obj;
	const struct object *next;

	ASSERT_LOOP();
	HASH_ITER(hh, objs->table, obj, next)
	{
		const char *name = obj->info.name;
		bool named =
		    strncmp(name, spec, len) == 0 && (name[len] == '\0' || name[len] == '@');

		if (named && !TAILQ_EMPTY(&obj->handles)) {
			*held = name;
			return TAILQ_FIRST(&obj->handles)->holder;
		}
	}
	return NULL;
}

/* ---- lists ----------------------------------------------------------------------------------- */

enum list_what { LIST_OBJECTS, LIST_VERSIONS, LIST_CHILDREN };

struct list_op {
	struct worker_job job;
	struct objects *objs;
	enum list_what what;
	char spec[NAME_MAX_BYTES + 1]; /* or the prefix */
	char after[NAME_MAX_BYTES + 1];
	uint64_t after_id;
	char label[LABEL_MAX_BYTES + 1];
	uint32_t max;
	object_list_cb cb;
	void *ctx;
	int err;
	bool more;
	uint32_t n;
	uint32_t cap;
	struct map_obj *found; /* made when a worker looks: many may wait for one */
};

#define LIST_CAP_MIN 16u

static int list_grow(struct list_op *op)
{
	uint32_t cap = op->cap ? 2 * op->cap : LIST_CAP_MIN;
	struct map_obj *found = realloc(op->found, cap * sizeof(*found));

	if (!found)
		return -ERR_NOMEM;
	op->found = found;
	op->cap = cap;
	return 0;
}

static int list_add(void *ctx, const struct map_obj *info)
{
	struct list_op *op = ctx;

	if (op->label[0] && !label_match(info->labels, info->labels_len, op->label))
		return 0;
	if (op->n == op->max) {
		op->more = true;
		return 1;
	}
	if (op->n == op->cap) {
		int err = list_grow(op);

		if (err < 0)
			return err;
	}
	op->found[op->n++] = *info;
	return 0;
}

static int list_walk(struct list_op *op, struct map_view *view)
{
	struct map_obj of;
	int err;

	if (op->what == LIST_OBJECTS)
		return map_list(view, op->spec, op->after, list_add, op);
	err = map_obj_by_name(view, op->spec, &of);
	if (err < 0)
		return err;
	if (op->what == LIST_VERSIONS)
		return map_list_versions(view, of.id, op->after, list_add, op);
	return map_list_children(view, of.id, op->after_id, list_add, op);
}

static WORKER_FN void list_run(struct worker_job *job)
{
	struct list_op *op = CONTAINER_OF(job, struct list_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = list_walk(op, view);
	map_view_end(view);
}

static LOOP_FN void list_done(struct worker_job *job)
{
	struct list_op *op = CONTAINER_OF(job, struct list_op, job);

	for (uint32_t i = 0; i < op->n && op->err == 0; i++)
		info_update(op->objs, &op->found[i]);
	op->cb(op->ctx, op->err, op->found, op->err < 0 ? 0 : op->n, op->more);
	free(op->found);
	free(op);
}

static void list_begin(struct objects *objs, enum list_what what, const char *spec,
		       const char *after, uint64_t after_id, const char *label, uint32_t max,
		       object_list_cb cb, void *ctx)
{
	struct list_op *op = NULL;
	int err = 0;

	ASSERT_LOOP();
	if (strlen(spec) > NAME_MAX_BYTES || strlen(after) > NAME_MAX_BYTES)
		err = -ERR_BAD_NAME;
	else if (strlen(label) > LABEL_MAX_BYTES)
		err = -ERR_INVAL;
	else
		op = calloc(1, sizeof(*op));
	if (!op) {
		cb(ctx, err < 0 ? err : -ERR_NOMEM, NULL, 0, false);
		return;
	}
	op->objs = objs;
	op->what = what;
	memcpy(op->spec, spec, strlen(spec) + 1);
	memcpy(op->after, after, strlen(after) + 1);
	memcpy(op->label, label, strlen(label) + 1);
	op->after_id = after_id;
	op->max = max;
	op->cb = cb;
	op->ctx = ctx;
	op->job.run = list_run;
	op->job.done = list_done;
	worker_submit(objs->pool, &op->job);
}

void object_list(struct objects *objs, const char *prefix, const char *after, const char *label,
		 uint32_t max, object_list_cb cb, void *ctx)
{
	list_begin(objs, LIST_OBJECTS, prefix, after, 0, label, max, cb, ctx);
}

void object_versions(struct objects *objs, const char *name, const char *after, uint32_t max,
		     object_list_cb cb, void *ctx)
{
	list_begin(objs, LIST_VERSIONS, name, after, 0, "", max, cb, ctx);
}

void object_children(struct objects *objs, const char *spec, uint64_t after, uint32_t max,
		     object_list_cb cb, void *ctx)
{
	list_begin(objs, LIST_CHILDREN, spec, "", after, "", max, cb, ctx);
}
