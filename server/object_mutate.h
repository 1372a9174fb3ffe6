/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_mutate.h: what all changes of an object's content have in common (object_mutate.c): a
 * write, a resize, a zeroing each embed a struct mutate and say by its functions what is their own.
 *
 * It is the loop's, from mutate_start() to its "free".
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

	struct mutate_piece *pinned; /* private from here on */
	uint32_t npinned;
	uint32_t pending;
	bool placed; /* it is there */
	int err;
	struct mutate_wait *waits;
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

/* Begins; m->cb is called once, perhaps before this returns. */
void mutate_start(struct mutate *m) LOOP_FN;

/* From "apply": has the block, as it would be now, been written already? */
bool mutate_is_placed(struct mutate *m, lblk_t blk) LOOP_FN;

/* From "apply": the block becomes dirty; takes over the reference to its page. */
void mutate_write(struct mutate *m, lblk_t blk, struct page *page) LOOP_FN;

#endif
