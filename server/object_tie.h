/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_tie.h: which objects are tied, so that their open epochs are closed together (object_state.h).
 *
 * Tied objects are in a ring, and each object is in exactly one: alone, or with those that it is tied
 * to.  Tying objects makes one ring of theirs.  When the ring's epochs are frozen it falls apart, but
 * for the groups: the objects of a group's handles are always in one ring.  A handle is in one group
 * at most and leaves it when it is closed; what is open then is still closed with the others.
 *
 * Owns the groups: made by the first tie of one of their handles, freed with the last of these.  All
 * of it belongs to the loop.
 */
#ifndef SERVER_OBJECT_TIE_H
#define SERVER_OBJECT_TIE_H

#include "server/object_state.h"

/* Visits all objects of the ring that "of" is in, and that one first.  None may leave meanwhile. */
#define TIE_FOREACH(var, of)                                                 \
	for (struct object *var = (of), *var##_end = NULL; var != var##_end; \
	     var##_end = (of), (var) = (var)->tie.next)

/* The object is alone. */
void tie_init(struct object *obj) LOOP_FN;

/* Makes one ring of the rings of the two. */
void tie_join(struct object *a, struct object *b) LOOP_FN;

/* Takes the object out of its ring. */
void tie_leave(struct object *obj) LOOP_FN;

/* Ties an object that is alone to those of its handles' groups. */
void tie_again(struct object *obj) LOOP_FN;

/* Makes the handles, and those of the groups that they are in, one group.  The rings are the caller's
 * to join.  -ERR_LIMIT: too many; -ERR_NOMEM.  Then nothing has changed. */
int tie_group_make(struct handle *const *handles, uint32_t n) LOOP_FN MUST_CHECK;

/* The handle leaves its group, if it is in one. */
void tie_group_leave(struct handle *handle) LOOP_FN;

#endif
