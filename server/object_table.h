/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_table.h: the objects that are in memory, and finding an object by its name.
 */
#ifndef SERVER_OBJECT_TABLE_H
#define SERVER_OBJECT_TABLE_H

#include "server/object_state.h"

/* A reference keeps the struct; the last one makes it idle. */
void object_get(struct object *obj) LOOP_FN;
void object_put(struct object *obj) LOOP_FN;

/* The object with this id if it is in memory; no reference is taken. */
struct object *object_find(const struct objects *objs, uint64_t id) LOOP_FN;

/* The object that info describes, made if it is not in memory, with a reference.  NULL: no memory.
 */
struct object *object_load(struct objects *objs, const struct map_obj *info) LOOP_FN;

/* What a look-up that is under way has found of this object, or of a version of it, is old. */
void object_note_changed(struct objects *objs, uint64_t id) LOOP_FN;

/* Takes an object without references out of memory. */
void object_unload(struct object *obj) LOOP_FN;

/* Takes the longest idle objects out of memory until at most "keep" are left. */
void object_trim_idle(struct objects *objs, unsigned int keep) LOOP_FN;

/* Looks up one or two specs in the map, in a worker.  Embedded in an operation. */
struct object_lookup {
	char spec[NAME_MAX_BYTES + 1];
	char other[NAME_MAX_BYTES + 1]; /* "": none */
	/* LOOP_FN: err is 0 and info holds, or -ERR_NOENT...: other_err and other_info likewise.  It
	 * stays true as long as the names are claimed. */
	void (*found)(struct object_lookup *lookup, int err);
	struct map_obj info;
	int other_err;
	struct map_obj other_info;

	struct worker_job job; /* private */
	struct objects *objs;
	uint64_t seq;
	int err;
};

/* other may be NULL.  -ERR_BAD_NAME, -ERR_SHUTDOWN: found() is not called. */
int object_lookup(struct objects *objs, const char *spec, const char *other,
		  struct object_lookup *lookup) LOOP_FN MUST_CHECK;

#endif
