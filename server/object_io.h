/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_io.h: reading, writing and resizing (object.h), as far as other object_*.c files need it.
 */
#ifndef SERVER_OBJECT_IO_H
#define SERVER_OBJECT_IO_H

#include "server/dev.h"
#include "server/object_state.h"

/* Tries the writes again that wait for space or memory; ends those that wait in vain. */
void object_retry_parked(struct objects *objs) LOOP_FN;

/* Removes what has expired and is not in use, one after another. */
void object_expire(struct objects *objs) LOOP_FN;

/* Has its time come?  That it is in use keeps it all the same. */
bool object_has_expired(const struct map_obj *info);

/* A handle of it has been closed: if that was the last one and its time has come, it is removed without
 * waiting for the timer. */
void object_expire_closed(struct object *obj) LOOP_FN;

/*
 * Who replaces content of an object in the map, rather than through the cache, closes its gate: writes
 * that have not been applied wait until it is opened again.  waiter->ready is called when the gate is
 * the waiter's, perhaps before this returns; one at a time, in order.
 */
void object_close_gate(struct object *obj, struct gate_waiter *waiter) LOOP_FN;

/* Reads and writes that waited go on, then who waits for the gate. */
void object_open_gate(struct object *obj) LOOP_FN;

/* Do reads and writes of this handle go past the cache, whether they ask for it or not? */
static inline bool object_is_direct(const struct handle *handle)
{
	return handle->direct || handle->obj->objs->config.dev->mapped;
}

/*
 * The gate is open: reads go on that have fetched something while it was closed.  They may have met
 * what replaces content in the map before it was known here.
 */
void object_step_reads(struct object *obj) LOOP_FN;

/* A write through this handle has been applied: where that was the last one before an fsync that is
 * foreseen its epoch is closed behind the answer. */
void handle_wrote(struct handle *handle) LOOP_FN;

/*
 * The content of these blocks has been replaced: reads under way that have collected pages of them
 * give those back, and collect again.
 */
void object_forget_pages(struct object *obj, lblk_t blk, uint64_t nblks) LOOP_FN;

/*
 * The block's page as the object has it now (no reference is taken): from the cache, or the page of
 * zeros where neither the cache nor the map can have anything.  NULL: it must be filled.
 */
struct page *object_page(struct object *obj, lblk_t blk) LOOP_FN;

#endif
