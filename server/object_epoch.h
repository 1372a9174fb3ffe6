/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_epoch.h: closing, committing and retrying the epochs of an object, and of several that are
 * tied (object_state.h).
 */
#ifndef SERVER_OBJECT_EPOCH_H
#define SERVER_OBJECT_EPOCH_H

#include "server/object_state.h"

/*
 * The content is about to change, once, in the open epoch: notes when, that the object is busy, and
 * its next generation.
 */
void epoch_touch(struct object *obj) LOOP_FN;

/* A block becomes dirty that is placed: "sync_gen" is from before its data was written. */
void epoch_note_placed(struct object *obj, unsigned int sync_gen) LOOP_FN;

/* The same where blocks become dirty and the content stays: its generation, too. */
void epoch_begin(struct object *obj) LOOP_FN;

/* Is there anything in the open epoch? */
bool epoch_open_any(const struct object *obj) LOOP_FN;

/* Closes the open epoch, and those of the objects that are tied to it, at once or as soon as it may
 * be.  Nothing if all are empty and nobody waits. */
void epoch_close(struct object *obj) LOOP_FN;

/* What a change adds to the open epoch: blocks that become dirty, the folios that do with them, and
 * whether others become a hole. */
struct epoch_needs {
	uint64_t nblks;
	uint64_t nfolios;
	bool hole;
};

/*
 * Where the open epoch, with those that it is tied to, cannot take that too they are closed, since all
 * of it is one record of the journal; for blocks however many are closed (the cache bounds those), for
 * a hole only while that is few, else -ERR_WRITEBACK.  -ERR_NOMEM.
 */
int epoch_make_room(struct object *obj, const struct epoch_needs *needs) LOOP_FN MUST_CHECK;

/*
 * The same for n objects that are about to be changed as one: after it, and in this turn, epoch_tie()
 * closes nothing and cannot fail.  What of them is wanted closed, and may be, is closed here.  Also
 * -ERR_LIMIT, as that.
 */
int epoch_make_room_all(struct object *const *objs, uint32_t n,
			const struct epoch_needs *needs) LOOP_FN MUST_CHECK;

/* The generation that the next change of the content gets. */
uint64_t epoch_next_generation(const struct object *obj) LOOP_FN;

/*
 * A change past the epochs, which was to have this generation, has been made, or has failed with
 * err.  Then a crash may still show it: so nobody else gets that number.
 */
void epoch_pass_generation(struct object *obj, uint64_t generation, int err) LOOP_FN;

/* Has the open epoch, with those that it is tied to, all the blocks that it may? */
bool epoch_is_full(struct object *obj) LOOP_FN;

/*
 * Ties the open epochs of n objects: what is in them now, and what comes until one of them is closed,
 * is committed as one.  What is needed of all of them together is about to be added in this turn: where
 * there is no room for that too, or for so many objects, what is open is closed
 * first; so a change of several objects that calls this and then makes them dirty is in one record.
 * -ERR_LIMIT: with what they are tied to already they are more than EPOCH_TIED_MAX; -ERR_NOMEM.
 */
int epoch_tie(struct object *const *objs, uint32_t n,
	      const struct epoch_needs *needs) LOOP_FN MUST_CHECK;

/* Is the object part of a set with others, or will it be? */
bool epoch_is_tied(const struct object *obj) LOOP_FN;

/* Is an epoch of it, or one in a set with such a one, being written or committed? */
bool epoch_is_moving(const struct object *obj) LOOP_FN;

/*
 * Does an epoch that is not in the map make the block a hole?  *until, which lies behind blk, is
 * lowered to the block up to which that holds.  What is dirty or staged comes before it.
 */
bool epoch_hole_at(const struct object *obj, lblk_t blk, uint64_t *until) LOOP_FN;

/* Those blocks of [blk, blk + nblks), ascending and apart, in an array to be freed.  -ERR_NOMEM. */
int epoch_hole_runs(const struct object *obj, lblk_t blk, uint64_t nblks, struct cache_run **runs,
		    size_t *nruns) LOOP_FN MUST_CHECK;

/* Has what failed epochs lack promised; before others get space. */
void epoch_reserve_failed(struct objects *objs) LOOP_FN;

/* Writes the failed epochs again, with those of their sets; epoch_retry_due() only when their time has
 * come. */
void epoch_retry(struct object *obj) LOOP_FN;
void epoch_retry_due(struct object *obj) LOOP_FN;

/* What kept its epochs from being submitted is no more. */
void epoch_go_on(struct object *obj) LOOP_FN;

/*
 * Calls waiter->ready when everything acknowledged so far is durable (0) or is known not to be;
 * before it returns where there is nothing to wait for.  Closes and retries what it has to.
 */
void epoch_sync(struct object *obj, struct epoch_waiter *waiter) LOOP_FN;

/* The same, of what is acknowledged in this turn and of nothing later: what is open is closed at once. */
void epoch_sync_now(struct object *obj, struct epoch_waiter *waiter) LOOP_FN;

/*
 * The same, and for all that it is tied to: for who changes it by another way than its epochs, so that
 * this comes behind all that was acknowledged before.
 */
void epoch_sync_tied(struct object *obj, struct epoch_waiter *waiter) LOOP_FN;

/*
 * The same for several objects, at one point in time: what is open of them is closed together and
 * committed as one, and until the waiter has returned nothing later of any of them is submitted.
 * Also -ERR_LIMIT, as epoch_tie().
 */
void epoch_sync_all(struct object *const *objs, uint32_t n, struct epoch_waiter *waiter) LOOP_FN;

/*
 * Forgets the open epoch and the closed ones that no thread works on, for an object that goes.  Who
 * holds a reference calls it; nobody may be waiting for what is forgotten.
 */
void epoch_discard(struct object *obj) LOOP_FN;

/* Takes the object out of its ring; what is wanted closed of the others may be closed by that. */
void epoch_leave(struct object *obj) LOOP_FN;

/* Is some object's writeback under way, so that waiting for it makes sense? */
bool epoch_any_moving(const struct objects *objs) LOOP_FN;

#endif
