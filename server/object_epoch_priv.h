/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_epoch_priv.h: what object_epoch.c (the open epoch) and object_epoch_set.c (the frozen ones)
 * share.  Nobody else includes it.
 */
#ifndef SERVER_OBJECT_EPOCH_PRIV_H
#define SERVER_OBJECT_EPOCH_PRIV_H

#include "server/object_epoch.h"

/* The object is on the busy list from now on. */
void epoch_busy(struct object *obj) LOOP_FN;

/* Takes the object off the busy list when nothing is left to write. */
void epoch_settle(struct object *obj) LOOP_FN;

/* Moves the waiters of all open epochs of the ring to the list; nobody wants it closed any more. */
void epoch_take_waiters(struct object *obj, struct epoch_waiters *to) LOOP_FN;

/* Calls all of a list. */
void epoch_wake(struct epoch_waiters *from, int err) LOOP_FN;

/* The oldest epoch that is not durable; or NULL. */
struct epoch *epoch_head(const struct object *obj) LOOP_FN;

/* It has failed, and is not being written again. */
bool set_failed(const struct epoch_set *set) LOOP_FN;

/* Takes those of the ring out of it that have nothing open and that nobody uses; "obj" itself stays. */
void set_leave_out(struct object *obj) LOOP_FN;

/*
 * Freezes what is open of all objects of the ring, as one set, and begins to write it.  -ERR_NOMEM:
 * nothing has changed.
 */
int set_freeze(struct object *obj) LOOP_FN MUST_CHECK;

/* Writes what has failed of it again, or submits it, if it is its turn. */
void set_retry(struct epoch_set *set) LOOP_FN;

/* Takes an epoch that no thread works on out of its object and its set. */
void epoch_forget(struct epoch *epoch) LOOP_FN;

/* So, too, of an object that goes: the others of the set may have waited for it, and go on. */
void epoch_abandon(struct epoch *epoch) LOOP_FN;

#endif
