/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_promise.h: space that is reserved for an object, and kept from the others.
 *
 * An object with a reservation is promised that it can have as many blocks of its own.  Withheld for it is
 * what it has not: its reservation, less what it owns in the map (map.h), less what of it is in memory and
 * has its space already: dirty, frozen, on its way, or reserved for a change that is being made.
 *
 *	a write		reserved: withheld is one less, and one more is reserved
 *	frozen, written	both as they were: the space is another, and it counts alike
 *	in the map	a block that it did not own: owned instead of in memory
 *			one that it owned: withheld again, and what it was before comes back soon
 *
 * It is never moved from one place to another: after whatever it is made of has changed it is computed
 * anew, and the allocator, which has the sum over all objects, is told the difference.  The sum has the
 * objects that are not in memory too: of what is not busy the map knows as much.
 *
 * The sum may for a while be more than what is free: a block that was written over comes back with the
 * next checkpoint.  Then others get nothing, and who has the promise waits, as all do who find no space
 * while some is on its way (object_mutate.c).
 *
 * What is promised may also become more: where blocks of the object become shared it will need others
 * when it writes over them.  So who clones from it asks here first, and the promise counts as renewed from
 * then on: whatever the outcome, it was there.
 *
 * The loop's.
 */
#ifndef SERVER_OBJECT_PROMISE_H
#define SERVER_OBJECT_PROMISE_H

#include "server/object_state.h"

/* To be called after anything has changed that it is made of: see above. */
void object_promise_update(struct object *obj) LOOP_FN;

/*
 * Reserves nblks for a change of the object, of which no block lies at or behind "end": of what is withheld
 * for it, then as others may.  They count as the object's until object_unhold().  -ERR_NOSPC.
 */
int object_reserve(struct object *obj, uint64_t nblks, uint64_t end) LOOP_FN MUST_CHECK;

/* Is all of that withheld for it, so that nobody is passed over who waits for space? */
bool object_is_promised(const struct object *obj, uint64_t nblks) LOOP_FN;

/* Is its promise being renewed, and not to be used before that has ended? */
bool object_is_renewing(const struct object *obj) LOOP_FN;

/* The object has nblks more, or less, in the hands of a change: these are dirty, or given back. */
void object_hold(struct object *obj, uint64_t nblks) LOOP_FN;
void object_unhold(struct object *obj, uint64_t nblks) LOOP_FN;

/*
 * So many of its blocks, BLK_OBJECT_MAX for all, are about to become shared, or something else in place of
 * what it owns: they are promised again from now on, until object_renewed().  -ERR_NOSPC: nothing has changed.
 */
int object_renew(struct object *obj, uint64_t nblks) LOOP_FN MUST_CHECK;
void object_renewed(struct object *obj, uint64_t nblks) LOOP_FN;

/* What was cloned from it, all or a part, is in the map; so much it owns by then. */
void object_set_owned(struct object *obj, uint64_t owned_nblks) LOOP_FN;

/*
 * Its reservation is about to become this.  -ERR_NOSPC: it stays as it is.  Else object_promised() follows,
 * when obj->info says what it is now.
 */
int object_promise(struct object *obj, uint64_t reserved_nblks) LOOP_FN MUST_CHECK;
void object_promised(struct object *obj) LOOP_FN;

/* The same for one that is about to be made; promise_drop() where it was not. */
int promise_take(struct objects *objs, uint64_t reserved_nblks) LOOP_FN MUST_CHECK;
void promise_drop(struct objects *objs, uint64_t reserved_nblks) LOOP_FN;

/* What of its reservation is withheld just now: in place of what the map says it owns, as map_obj_promised()
 * needs it. */
void object_tell_promise(const struct object *obj, struct map_obj *info) LOOP_FN;

/* The object is gone from the map, and its reservation with it. */
void object_promise_end(struct object *obj) LOOP_FN;

/* What all objects have reserved, and what of it is withheld, as a start finds them in the map. */
void promise_begin(struct objects *objs, const struct map_space *space) LOOP_FN;

#endif
