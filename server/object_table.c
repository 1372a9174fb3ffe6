/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"

static bool object_is_idle(const struct object *obj)
{
	return obj->refs == 0 && !obj->is_busy;
}

static void object_leave_idle(struct object *obj)
{
	if (!object_is_idle(obj))
		return;
	TAILQ_REMOVE(&obj->objs->idle, obj, idle_link);
	obj->objs->nidle--;
}

void object_get(struct object *obj)
{
	ASSERT_LOOP();
	object_leave_idle(obj);
	obj->refs++;
}

void object_put(struct object *obj)
{
	ASSERT_LOOP();
	assert(obj->refs > 0);
	obj->refs--;
	if (!object_is_idle(obj))
		return;
	TAILQ_INSERT_TAIL(&obj->objs->idle, obj, idle_link);
	obj->objs->nidle++;
}

struct object *object_find(struct objects *objs, uint64_t id)
{
	struct object *obj;

	ASSERT_LOOP();
	HASH_FIND(hh, objs->table, &id, sizeof(id), obj);
	return obj;
}

struct object *object_load(struct objects *objs, const struct map_obj *info)
{
	struct object *obj = object_find(objs, info->id);

	if (obj) {
		object_get(obj);
		return obj;
	}
	obj = calloc(1, sizeof(*obj));
	if (!obj)
		return NULL;
	obj->objs = objs;
	obj->id = info->id;
	obj->info = *info;
	obj->size_bytes = info->size_bytes;
	obj->mtime_ns = info->mtime_ns;
	obj->open.truncate = lblk(COMMIT_NO_TRUNCATE);
	obj->unmapped = lblk(COMMIT_NO_TRUNCATE);
	STAILQ_INIT(&obj->open.waiters);
	TAILQ_INIT(&obj->closed);
	TAILQ_INIT(&obj->handles);
	HASH_ADD(hh, objs->table, id, sizeof(obj->id), obj);
	if (!obj->hh.tbl) {
		free(obj);
		return NULL;
	}
	cache_object_init(&obj->cache, objs->cache, obj->id);
	obj->refs = 1;
	return obj;
}

void object_unload(struct object *obj)
{
	struct objects *objs = obj->objs;

	ASSERT_LOOP();
	assert(object_is_idle(obj));
	object_leave_idle(obj);
	HASH_DELETE(hh, objs->table, obj);
	cache_object_fini(&obj->cache);
	free(obj);
	objs->table_seq++;
}

void object_trim_idle(struct objects *objs, unsigned int keep)
{
	struct object *obj;
	struct object *next;

	ASSERT_LOOP();
	TAILQ_FOREACH_SAFE (obj, &objs->idle, idle_link, next) {
		if (objs->nidle <= keep)
			return;
		if (obj->cache.nfetching == 0)
			object_unload(obj);
	}
}

/* ---- names ----------------------------------------------------------------------------------- */

static WORKER_FN void object_lookup_run(struct worker_job *job)
{
	struct object_lookup *lookup = CONTAINER_OF(job, struct object_lookup, job);
	struct map_view *view;

	ASSERT_WORKER();
	lookup->err = map_view_begin(lookup->objs->config.map, &view);
	if (lookup->err < 0)
		return;
	lookup->err = map_obj_by_name(view, lookup->name, &lookup->info);
	map_view_end(view);
}

/* What was looked up is thrown away when a name or the table has changed since: it may be old. */
static LOOP_FN void object_lookup_done(struct worker_job *job)
{
	struct object_lookup *lookup = CONTAINER_OF(job, struct object_lookup, job);
	struct objects *objs = lookup->objs;
	struct object *obj;

	if (lookup->seq != objs->table_seq) {
		lookup->seq = objs->table_seq;
		worker_submit(objs->pool, &lookup->job);
		return;
	}
	if (lookup->err == 0) {
		obj = object_find(objs, lookup->info.id);
		if (obj && obj->removing)
			lookup->err = -ERR_NOENT;
	}
	lookup->found(lookup, lookup->err);
}

int object_lookup(struct objects *objs, const char *name, struct object_lookup *lookup)
{
	int err = name_check(name);

	ASSERT_LOOP();
	if (err < 0)
		return err;
	memcpy(lookup->name, name, strlen(name) + 1);
	lookup->objs = objs;
	lookup->seq = objs->table_seq;
	lookup->job.run = object_lookup_run;
	lookup->job.done = object_lookup_done;
	worker_submit(objs->pool, &lookup->job);
	return 0;
}
