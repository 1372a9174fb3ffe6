/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_mutate.h: what all changes of an object's content have in common (object_mutate.c): a
 * write, a resize, a zeroing each embed a struct mutate and say by its functions what is their own.
 *
 * It is the loop's, from mutate_start() to its "free".
 *
 * A change of several objects is a list of these, its parts, of which each has another object.  Its
 * first part leads: it is what waits, and has the outcome; a change of one object leads itself.  All
 * parts take each step together, so that they are applied in one turn, and as they are tied then
 * (object_epoch.h) a crash shows all of them or none.  What is held, of all parts, while it waits:
 *
 *	for a fill		  pins
 *	for a gate, any of them	  pins; once it has been placed, its places and the space of the rest
 *	parked			  the same, and of that no more than it needs now
 *	for a placing		  pins; the space of all of it
 *
 * Neither keeps another change from going on; space does, so who is parked is tried again whenever
 * something has come to rest, and fails when nothing is under way that may give back any: of two that
 * have been placed and lack space for others the first to fail gives back what the other one needs.
 * Nothing is reserved in parts, and nobody is tied, before all of it can be placed or applied.
 */
#ifndef SERVER_OBJECT_MUTATE_H
#define SERVER_OBJECT_MUTATE_H

#include "server/object_state.h"

/* Blocks that become dirty when the change is applied; the first and the last may be covered in
 * part. */
struct mutate_piece {
	lblk_t first;
	uint32_t nblks;
};

#define MUTATE_PIECES 2u /* without memory for more */

struct mutate;

/* One for the first block of each piece, and one for its last; or one for each block. */
struct mutate_wait {
	struct cache_waiter waiter;
	struct mutate *m;
};

struct mutate_fns {
	/*
	 * Says in m->want and m->nwant what would become dirty as the object is now: pieces ascending
	 * and apart, at most m->max.  Called again when the object may have changed.  -ERR_*: the
	 * change is refused.
	 */
	int (*plan)(struct mutate *m);
	/* Is something kept of what the block is now, so that it has to be there? */
	bool (*keeps)(struct mutate *m, lblk_t blk);
	/* All is there, and reserved: in one turn; calls epoch_touch(), or epoch_begin().  -ERR_NOMEM: nothing
	 * has changed.  *unused: how many of the reserved blocks did not become dirty. */
	int (*apply)(struct mutate *m, uint64_t *unused);
	void (*free)(struct mutate *m);
	/* Puts what is kept of those blocks into their pages that m->place has in part; NULL: none. */
	void (*complete)(struct mutate *m);
};

/* What the parts of a change of several objects have in common: in one piece, from calloc(), and freed
 * behind its callback. */
struct mutate_all {
	object_all_cb cb;
	void *ctx;
	uint32_t n;
	uint32_t at;	      /* the part that an error is about; n: none of them */
	struct object **objs; /* of the parts, in order */
	uint64_t generations[];
};

struct mutate {
	const struct mutate_fns *fns; /* these and has_gate are the caller's, the others 0 */
	struct object *obj;
	object_cb cb; /* or changed_cb */
	object_changed_cb changed_cb;
	void *ctx;
	bool conditional; /* -ERR_CHANGED unless the object's generation is "expected" */
	uint64_t expected;
	struct place *place; /* blocks of it that go to the device first; NULL: none does */

	bool whole;   /* every block of a piece is filled; mutate_init_whole() sets these three */
	uint32_t max; /* mutate_init() the other two */
	struct mutate_piece *want;
	uint32_t nwant;
	bool punches;  /* the epoch gets another hole: see plan */
	bool has_gate; /* it is for who closed the object's gate, and does not wait there */

	struct mutate_all *all; /* or NULL; mutate_start_all() sets these three */
	struct mutate *next;	/* part */
	struct mutate *lead;

	struct mutate_piece *pinned; /* private from here on */
	uint32_t npinned;
	uint64_t space;	   /* blocks that it needs; reserved for it, in the turn that takes them */
	uint64_t reserved; /* of these, from one turn to the next */
	uint64_t nheld;	   /* blocks that are in its hands: reserved, or placed and not dirty yet */
	struct mutate_wait *waits;
	uint32_t pending; /* these three and the link are the lead's */
	bool placed;	  /* it is there */
	int err;
	struct mutate_piece some_want[MUTATE_PIECES];
	struct mutate_piece some_pinned[MUTATE_PIECES];
	struct mutate_wait some_waits[2 * MUTATE_PIECES];
	TAILQ_ENTRY(mutate) link; /* parked, or at the object's gate */
};

/* Room for MUTATE_PIECES; for more.  -ERR_NOMEM: nothing was taken. */
void mutate_init_some(struct mutate *m) LOOP_FN;
int mutate_init(struct mutate *m, uint32_t max) LOOP_FN MUST_CHECK;

/* The same for max pieces of at most nblks blocks together, of which each block may be kept. */
int mutate_init_whole(struct mutate *m, uint32_t max, uint32_t nblks) LOOP_FN MUST_CHECK;

/* Is the change allowed on this handle and within what an object may have? */
int mutate_refused(const struct handle *handle, uint64_t off_bytes,
		   uint64_t len) LOOP_FN MUST_CHECK;

/* Takes the change as far as it comes; called again, of a lead, when what it waits for has happened. */
void mutate_step(struct mutate *m) LOOP_FN;

/* Instead of beginning: frees all of it. */
void mutate_drop(struct mutate *m) LOOP_FN;

/* Begins; m->cb is called once, perhaps before this returns. */
void mutate_start(struct mutate *m) LOOP_FN;

/* For n parts, to be started by mutate_start_all().  NULL: no memory. */
struct mutate_all *mutate_all_new(uint32_t n, object_all_cb cb, void *ctx) LOOP_FN;

/* Begins the parts, all->n of them and each of another object, as one change; all->cb takes the place of
 * theirs.  "apply" of a part does not fail. */
void mutate_start_all(struct mutate_all *all, struct mutate *const *parts) LOOP_FN;

/* From "apply": has the block, as it would be now, been written already? */
bool mutate_is_placed(struct mutate *m, lblk_t blk) LOOP_FN;

/* From "apply": the block becomes dirty; takes over the reference to its page. */
void mutate_write(struct mutate *m, lblk_t blk, struct page *page) LOOP_FN;

#endif
