/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_claim.h: who may change which name.  An operation that looks at names and then changes them
 * claims them first, so that what it has found out is still true when its change is committed: a
 * change that has been submitted cannot fail for what somebody else does to the name.
 *
 * A claim is exclusive (the name will be made, changed or removed) or shared (it must stay as it is).
 * A spec "name@version" also needs a shared claim of the name.  All names of a claim are granted
 * together, so no two claims wait for each other; who comes later waits behind whoever it conflicts
 * with.  Belongs to the loop.
 */
#ifndef SERVER_OBJECT_CLAIM_H
#define SERVER_OBJECT_CLAIM_H

#include "server/object_state.h"

#define CLAIM_NAMES_MAX 4u /* of an operation on one or two specs */

struct claim_name {
	char name[NAME_MAX_BYTES + 1];
	bool exclusive;
};

/* Embedded in the operation; claim_init() to begin with. */
struct object_claim {
	struct claim_name *names;
	unsigned int max;
	unsigned int n;
	/* LOOP_FN: every name is the claim's; or there was no memory for that.  May be called before
	 * claim_take() returns. */
	void (*granted)(struct object_claim *claim, int err);

	TAILQ_ENTRY(object_claim) link; /* private from here on */
	bool held;
};

/* Empty, with room for so many names in the operation's array: two for each spec that is added. */
void claim_init(struct object_claim *claim, struct claim_name *names, unsigned int max);

/* Adds a spec, and for a version a shared claim of its object's name.  The same name may be added
 * twice: exclusive wins. */
void claim_add(struct object_claim *claim, const char *spec, bool exclusive);

void claim_take(struct objects *objs, struct object_claim *claim) LOOP_FN;

/* Gives the names back, if they were granted; those that waited for them are granted theirs. */
void claim_put(struct objects *objs, struct object_claim *claim) LOOP_FN;

#endif
