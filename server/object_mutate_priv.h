/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_mutate_priv.h: what the files of a change share.  All of it is the loop's.
 */
#ifndef SERVER_OBJECT_MUTATE_PRIV_H
#define SERVER_OBJECT_MUTATE_PRIV_H

#include "server/object_epoch.h"
#include "server/object_mutate.h"

/* Visits the parts of a change, its lead first. */
#define MUTATE_FOREACH(var, of) for (struct mutate *var = (of); var; (var) = (var)->next)

/* Some of it is to go to the device first. */
bool mutate_is_placing(struct mutate *lead) LOOP_FN;

/* What all parts need together, and in "space" what each of them needs of that. */
struct epoch_needs mutate_needs(struct mutate *lead) LOOP_FN;

/* What all parts need beyond what is promised to them; of that none keeps more than it needs. */
uint64_t mutate_lacks_space(struct mutate *lead) LOOP_FN;

/* Is all that it lacks withheld for its objects, so that nobody is passed over? */
bool mutate_is_promised(struct mutate *lead) LOOP_FN;

/* Will it be given more when what goes on with an object of it has ended? */
bool mutate_is_renewing(struct mutate *lead) LOOP_FN;

/* The space of all parts, to be used in this turn, or none: -ERR_NOSPC. */
int mutate_reserve(struct mutate *lead) LOOP_FN MUST_CHECK;

/* So much of a part's promise is not used; so much of what it holds is dirty now, or given back. */
void mutate_unreserve(struct mutate *m, uint64_t nblks) LOOP_FN;
void mutate_unhold(struct mutate *m, uint64_t nblks) LOOP_FN;

#endif
