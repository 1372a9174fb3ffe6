/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_tie.h"

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

struct object *object_find(const struct objects *objs, uint64_t id)
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
	obj->generation = info->generation;
	obj->counted_nblks = info->reserved_nblks;
	obj->withheld_nblks = map_obj_promised(info);
	LIST_INIT(&obj->reads);
	tie_init(obj);
	STAILQ_INIT(&obj->open.waiters);
	TAILQ_INIT(&obj->closed);
	TAILQ_INIT(&obj->handles);
	TAILQ_INIT(&obj->gate);
	TAILQ_INIT(&obj->gate_waiters);
	HASH_ADD(hh, objs->table, id, sizeof(obj->id), obj);
	if (!obj->hh.tbl) {
		free(obj);
		return NULL;
	}
	cache_object_init(&obj->cache, objs->cache, obj->id);
	obj->refs = 1;
	return obj;
}

void object_note_changed(struct objects *objs, uint64_t id)
{
	objs->changed[objs->change_seq++ % CHANGED_KEPT] = id;
}

void object_unload(struct object *obj)
{
	struct objects *objs = obj->objs;

	ASSERT_LOOP();
	assert(object_is_idle(obj));
	/* the next who loads it takes that for its part of the sum */
	assert(obj->withheld_nblks == map_obj_promised(&obj->info));
	object_leave_idle(obj);
	tie_leave(obj);
	HASH_DELETE(hh, objs->table, obj);
	cache_object_fini(&obj->cache);
	object_note_changed(objs, obj->id);
	holes_fini(&obj->open.holes);
	free(obj);
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
	lookup->err = map_obj_by_name(view, lookup->spec, &lookup->info);
	lookup->other_err = lookup->other[0] == '\0'
				? -ERR_NOENT
				: map_obj_by_name(view, lookup->other, &lookup->other_info);
	map_view_end(view);
}

static bool object_is_of(int err, const struct map_obj *info, uint64_t id)
{
	return err == 0 && (info->id == id || info->parent == id);
}

/*
 * Was an object unloaded since, which in memory was newer than what the look-up has found, or has it
 * another name?
 */
static bool object_lookup_is_old(const struct object_lookup *lookup)
{
	const struct objects *objs = lookup->objs;

	if (objs->change_seq - lookup->seq > CHANGED_KEPT)
		return true;
	for (uint64_t seq = lookup->seq; seq < objs->change_seq; seq++) {
		uint64_t id = objs->changed[seq % CHANGED_KEPT];

		if (object_is_of(lookup->err, &lookup->info, id) ||
		    object_is_of(lookup->other_err, &lookup->other_info, id))
			return true;
	}
	return false;
}

/* An object whose removal is on its way is not found any more. */
static int object_lookup_result(const struct objects *objs, int err, const struct map_obj *info)
{
	const struct object *obj = err == 0 ? object_find(objs, info->id) : NULL;

	return obj && obj->removing ? -ERR_NOENT : err;
}

static LOOP_FN void object_lookup_done(struct worker_job *job)
{
	struct object_lookup *lookup = CONTAINER_OF(job, struct object_lookup, job);
	struct objects *objs = lookup->objs;

	if (objs->wb.stopping) {
		lookup->found(lookup, -ERR_SHUTDOWN);
		return;
	}
	if (object_lookup_is_old(lookup)) {
		lookup->seq = objs->change_seq;
		worker_submit(objs->pool, &lookup->job);
		return;
	}
	lookup->err = object_lookup_result(objs, lookup->err, &lookup->info);
	lookup->other_err = object_lookup_result(objs, lookup->other_err, &lookup->other_info);
	lookup->found(lookup, lookup->err);
}

int object_lookup(struct objects *objs, const char *spec, const char *other,
		  struct object_lookup *lookup)
{
	ASSERT_LOOP();
	if (name_spec_problem(spec) || (other && name_spec_problem(other)))
		return -ERR_BAD_NAME;
	if (objs->wb.stopping)
		return -ERR_SHUTDOWN;
	memcpy(lookup->spec, spec, strlen(spec) + 1);
	lookup->other[0] = '\0';
	if (other)
		memcpy(lookup->other, other, strlen(other) + 1);
	lookup->objs = objs;
	lookup->seq = objs->change_seq;
	lookup->job.run = object_lookup_run;
	lookup->job.done = object_lookup_done;
	worker_submit(objs->pool, &lookup->job);
	return 0;
}
