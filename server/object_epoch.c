/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_epoch.c: the open epoch: what is in it, when it is closed, who waits for it.
 */
#include "server/object_epoch.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch_priv.h"
#include "server/object_promise.h"
#include "server/object_table.h"
#include "server/object_tie.h"

bool epoch_open_any(const struct object *obj)
{
	return obj->open.meta || obj->cache.ndirty > 0;
}

/* More changes than one that was lost could have had before it. */
#define GENERATION_SHIFT 32u

uint64_t epoch_next_generation(const struct object *obj)
{
	ASSERT_LOOP();
	return obj->has_changed ? obj->generation + 1
				: ((obj->generation >> GENERATION_SHIFT) + 1) << GENERATION_SHIFT;
}

void epoch_busy(struct object *obj)
{
	if (obj->is_busy)
		return;
	obj->is_busy = true;
	TAILQ_INSERT_TAIL(&obj->objs->busy, obj, busy_link);
}

void epoch_pass_generation(struct object *obj, uint64_t generation, int err)
{
	ASSERT_LOOP();
	obj->generation = generation + (err < 0);
	obj->has_changed = true;
	if (err == 0)
		return;
	/* what failed may be found after a crash: the next commit goes over it, and an fsync asks for it */
	if (!epoch_open_any(obj))
		obj->open.since_ms = clock_now_ms();
	obj->open.meta = true;
	epoch_busy(obj);
}

void epoch_note_placed(struct object *obj, unsigned int sync_gen)
{
	ASSERT_LOOP();
	/* the oldest counts: a sync that has failed since may have been about any of them */
	if (obj->cache.nplaced == 0 || (int)(sync_gen - obj->open.placed_gen) < 0)
		obj->open.placed_gen = sync_gen;
}

void epoch_settle(struct object *obj)
{
	if (!obj->is_busy || epoch_open_any(obj) || !TAILQ_EMPTY(&obj->closed))
		return;
	obj->is_busy = false;
	TAILQ_REMOVE(&obj->objs->busy, obj, busy_link);
}

void epoch_begin(struct object *obj)
{
	ASSERT_LOOP();
	if (!epoch_open_any(obj))
		obj->open.since_ms = clock_now_ms();
	epoch_busy(obj);
}

void epoch_touch(struct object *obj)
{
	ASSERT_LOOP();
	epoch_pass_generation(obj, epoch_next_generation(obj), 0);
	epoch_begin(obj);
}

/* ---- waiters --------------------------------------------------------------------------------- */

void epoch_wake(struct epoch_waiters *from, int err)
{
	struct epoch_waiters list = STAILQ_HEAD_INITIALIZER(list);
	struct epoch_waiter *waiter;

	STAILQ_CONCAT(&list, from);
	while ((waiter = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		waiter->ready(waiter, err);
	}
}

/* True once for each ring, until objs->tie_seq is raised. */
static bool epoch_ring_is_new(struct object *obj)
{
	struct object *lead = obj->tie.lead;
	bool is_new = lead->tie.seen != obj->objs->tie_seq;

	lead->tie.seen = obj->objs->tie_seq;
	return is_new;
}

void epoch_take_waiters(struct object *obj, struct epoch_waiters *to)
{
	if (!epoch_ring_is_new(obj))
		return;
	TIE_FOREACH (other, obj) {
		STAILQ_CONCAT(to, &other->open.waiters);
		other->open.close_wanted = false;
	}
}

/* ---- holes ----------------------------------------------------------------------------------- */

bool epoch_hole_at(const struct object *obj, lblk_t blk, uint64_t *until)
{
	const struct epoch *epoch;
	bool hole = holes_at(&obj->open.holes, blk, until);

	if (obj->nholey == 0 || hole)
		return hole;
	TAILQ_FOREACH (epoch, &obj->closed, link) {
		hole = holes_at(&epoch->holes, blk, until);
		if (hole)
			break;
	}
	return hole;
}

int epoch_hole_runs(const struct object *obj, lblk_t blk, uint64_t nblks, struct cache_run **runs,
		    size_t *nruns)
{
	const struct epoch *epoch;
	uint64_t end = blk.n + nblks;
	size_t max = obj->open.holes.n + 1;
	uint64_t until;

	TAILQ_FOREACH (epoch, &obj->closed, link)
		max += epoch->holes.n;
	*nruns = 0;
	*runs = calloc(max, sizeof(**runs));
	if (!*runs)
		return -ERR_NOMEM;
	for (; blk.n < end; blk = lblk(until)) {
		struct cache_run *last = *nruns > 0 ? &(*runs)[*nruns - 1] : NULL;

		until = end;
		if (!epoch_hole_at(obj, blk, &until))
			continue;
		if (last && last->blk.n + last->nblks == blk.n)
			last->nblks += until - blk.n; /* each run begins where a hole does */
		else
			(*runs)[(*nruns)++] = (struct cache_run){blk, until - blk.n};
	}
	assert(*nruns < max);
	return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* Freezes what is open of the ring.  Where there is no memory for it those who wait are told, and it
 * stays open. */
static int epoch_freeze(struct object *obj)
{
	struct epoch_waiters told = STAILQ_HEAD_INITIALIZER(told);
	int err = set_freeze(obj);

	if (err == 0)
		return 0;
	obj->objs->tie_seq++;
	epoch_take_waiters(obj, &told);
	epoch_wake(&told, err);
	return err;
}

static bool epoch_head_failed(const struct object *obj)
{
	const struct epoch *head = epoch_head(obj);

	return head && set_failed(head->set);
}

static bool epoch_is_in_ring(const struct object *obj)
{
	return obj->tie.next != obj;
}

/* Is anything open in the ring, or waited for? */
static bool epoch_ring_wants(struct object *obj)
{
	TIE_FOREACH (other, obj)
		if (epoch_open_any(other) || !STAILQ_EMPTY(&other->open.waiters))
			return true;
	return false;
}

/* What is in open epochs, of those bounds that one record has. */
struct epoch_load {
	uint64_t nblks;
	uint64_t nfolios;
	uint32_t nholes;
	uint32_t nobjs;
};

static void epoch_add_load(struct object *obj, struct epoch_load *load)
{
	TIE_FOREACH (other, obj) {
		load->nblks += other->cache.ndirty;
		load->nfolios += other->cache.ndirty_folios;
		load->nholes += other->open.holes.n;
		load->nobjs++;
	}
}

/*
 * How many may be closed and not durable behind which the open one is closed.  One that has data to be written is
 * written while another is being committed.  One that fits into its record, or has all of it placed, is submitted
 * behind that in any case, so it takes what comes until then.
 */
static unsigned int epoch_closed_max(const struct object *obj)
{
	const struct cache_object *co = &obj->cache;
	uint64_t inlined = co->nplaced > 0 ? 0 : WRITEBACK_INLINE_BLKS;

	if (epoch_is_in_ring(obj))
		return EPOCH_CLOSED_MAX; /* who leaves may be the one whose turn the others wait for */
	return co->ndirty - co->nplaced > inlined ? EPOCH_CLOSED_MAX : 1;
}

/* Where there is no memory for it who waits is told. */
static int epoch_try_close(struct object *obj)
{
	bool may = true;
	unsigned int max;

	if (!epoch_ring_wants(obj))
		return 0;
	max = epoch_closed_max(obj);
	TIE_FOREACH (other, obj) {
		other->open.close_wanted = true;
		may = may && other->nclosed < max && !epoch_head_failed(other);
	}
	return may ? epoch_freeze(obj) : 0;
}

void epoch_close(struct object *obj)
{
	ASSERT_LOOP();
	(void)epoch_try_close(obj);
}

/* May this much more be in it?  Each hole takes its part of the blocks and folios too: what all of it
 * changes in the map has to go into one transaction. */
static bool epoch_has_room(const struct epoch_load *load, const struct epoch_needs *needs)
{
	uint32_t nholes = load->nholes + needs->hole;
	uint64_t max_blks = EPOCH_MAX_BLKS - nholes * (EPOCH_MAX_BLKS / EPOCH_MAX_HOLES);
	uint64_t max_folios = EPOCH_MAX_FOLIOS - nholes * (EPOCH_MAX_FOLIOS / EPOCH_MAX_HOLES);

	return nholes <= EPOCH_MAX_HOLES && load->nblks + needs->nblks <= max_blks &&
	       load->nfolios + needs->nfolios <= max_folios;
}

bool epoch_is_full(struct object *obj)
{
	struct epoch_load load = {0};

	epoch_add_load(obj, &load);
	return load.nblks >= EPOCH_MAX_BLKS;
}

/* May one more be closed, though that is not wanted of a failed one? */
static bool epoch_may_close(struct object *obj)
{
	TIE_FOREACH (other, obj)
		if (other->nclosed >= EPOCH_CLOSED_MAX)
			return false;
	return true;
}

int epoch_make_room(struct object *obj, const struct epoch_needs *needs)
{
	struct epoch_load load = {0};

	ASSERT_LOOP();
	epoch_add_load(obj, &load);
	if ((load.nblks == 0 && load.nholes == 0) || epoch_has_room(&load, needs))
		return 0;
	if (needs->hole && !epoch_may_close(obj))
		return -ERR_WRITEBACK;
	return epoch_freeze(obj);
}

/* ---- tying ----------------------------------------------------------------------------------- */

bool epoch_is_tied(const struct object *obj)
{
	const struct epoch *epoch;

	if (epoch_is_in_ring(obj))
		return true;
	TAILQ_FOREACH (epoch, &obj->closed, link)
		if (epoch->state != EPOCH_APPLYING && epoch->set->nleft > 1)
			return true;
	return false;
}

bool epoch_is_moving(const struct object *obj)
{
	const struct epoch *epoch;

	TAILQ_FOREACH (epoch, &obj->closed, link)
		if (epoch->state != EPOCH_APPLYING && epoch->set->nmoving > 0)
			return true;
	return false;
}

/* What all rings of these objects have together, without those who would not be in a set. */
static struct epoch_load epoch_load_of(struct object *const *objs, uint32_t n)
{
	struct epoch_load load = {0};

	objs[0]->objs->tie_seq++;
	for (uint32_t i = 0; i < n; i++) {
		if (!epoch_ring_is_new(objs[i]))
			continue;
		set_leave_out(objs[i]);
		epoch_add_load(objs[i], &load);
	}
	return load;
}

/* Closes what is open of all these rings. */
static int epoch_close_rings(struct object *const *objs, uint32_t n)
{
	int err = 0;

	for (uint32_t i = 0; i < n && err == 0; i++)
		if (epoch_ring_wants(objs[i]))
			err = epoch_freeze(objs[i]);
	return err;
}

/* Each of the two rings is wanted closed where one of them is. */
static void epoch_join(struct object *a, struct object *b)
{
	bool wanted = a->open.close_wanted || b->open.close_wanted;

	if (a->tie.lead == b->tie.lead)
		return;
	tie_join(a, b);
	if (!wanted)
		return;
	TIE_FOREACH (obj, a)
		obj->open.close_wanted = true;
}

int epoch_make_room_all(struct object *const *objs, uint32_t n, const struct epoch_needs *needs)
{
	struct epoch_load load;
	int err = 0;

	ASSERT_LOOP();
	if (n < 2)
		return n == 0 ? 0 : epoch_make_room(objs[0], needs);
	load = epoch_load_of(objs, n);
	if (load.nobjs > EPOCH_TIED_MAX || !epoch_has_room(&load, needs)) {
		err = epoch_close_rings(objs, n);
		load = epoch_load_of(objs, n);
	}
	/* those who were left out may be the ones whose turn the others waited for */
	for (uint32_t i = 0; i < n && err == 0; i++)
		if (objs[i]->open.close_wanted)
			err = epoch_try_close(objs[i]);
	if (err == 0 && load.nobjs > EPOCH_TIED_MAX)
		err = -ERR_LIMIT;
	return err;
}

int epoch_tie(struct object *const *objs, uint32_t n, const struct epoch_needs *needs)
{
	int err = epoch_make_room_all(objs, n, needs);

	ASSERT_LOOP();
	for (uint32_t i = 1; i < n && err == 0; i++)
		epoch_join(objs[0], objs[i]);
	return err;
}

void epoch_leave(struct object *obj)
{
	struct object *rest = obj->tie.next;

	ASSERT_LOOP();
	tie_leave(obj);
	/* perhaps it was for this one's turn that they waited */
	if (rest != obj && rest->open.close_wanted && !obj->objs->wb.stopping)
		epoch_close(rest);
}

/* ---- retrying -------------------------------------------------------------------------------- */

void epoch_retry(struct object *obj)
{
	struct epoch *epoch;

	ASSERT_LOOP();
	if (obj->objs->latched)
		return;
	TAILQ_FOREACH (epoch, &obj->closed, link)
		if (epoch->state != EPOCH_APPLYING)
			set_retry(epoch->set);
}

void epoch_reserve_failed(struct objects *objs)
{
	struct object *obj;
	struct epoch *epoch;

	ASSERT_LOOP();
	if (!objs->lacking)
		return;
	objs->lacking = false;
	TAILQ_FOREACH (obj, &objs->busy, busy_link)
		TAILQ_FOREACH (epoch, &obj->closed, link)
			if (epoch->state == EPOCH_FAILED) {
				if (writeback_reserve(&epoch->data->batch) < 0)
					objs->lacking = true;
				object_promise_update(obj);
			}
}

void epoch_retry_due(struct object *obj)
{
	if (clock_now_ms() >= obj->retry_at_ms)
		epoch_retry(obj);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* now: at once, however many are closed. */
static void epoch_sync_open(struct object *obj, struct epoch_waiter *waiter, bool now)
{
	struct epoch *last;

	if (obj->objs->latched) {
		waiter->ready(waiter, -ERR_LATCHED);
		return;
	}
	TIE_FOREACH (other, obj)
		epoch_retry(other); /* where one has failed none of them is closed */
	if (epoch_open_any(obj)) {
		STAILQ_INSERT_TAIL(&obj->open.waiters, waiter, link);
		if (now)
			(void)epoch_freeze(obj); /* who waits is told */
		else
			epoch_close(obj);
		return;
	}
	last = TAILQ_LAST(&obj->closed, epoch_list);
	if (last && last->state != EPOCH_APPLYING)
		STAILQ_INSERT_TAIL(&last->waiters, waiter, link);
	else
		waiter->ready(waiter, 0);
}

void epoch_sync(struct object *obj, struct epoch_waiter *waiter)
{
	ASSERT_LOOP();
	epoch_sync_open(obj, waiter, false);
}

void epoch_sync_now(struct object *obj, struct epoch_waiter *waiter)
{
	ASSERT_LOOP();
	epoch_sync_open(obj, waiter, true);
}

/* Is all that was acknowledged on it durable? */
static bool epoch_is_clean(const struct object *obj)
{
	return !epoch_open_any(obj) && obj->nclosed == 0;
}

void epoch_sync_tied(struct object *obj, struct epoch_waiter *waiter)
{
	bool clean = true;

	ASSERT_LOOP();
	if (!epoch_is_in_ring(obj)) {
		epoch_sync(obj, waiter);
		return;
	}
	TIE_FOREACH (other, obj) {
		epoch_retry(other);
		clean = clean && epoch_is_clean(other);
	}
	if (clean || obj->objs->latched) {
		waiter->ready(waiter, obj->objs->latched ? -ERR_LATCHED : 0);
		return;
	}
	STAILQ_INSERT_TAIL(&obj->open.waiters, waiter, link);
	epoch_close(obj);
}

void epoch_sync_all(struct object *const *objs, uint32_t n, struct epoch_waiter *waiter)
{
	bool clean = true;
	int err = 0;

	ASSERT_LOOP();
	if (n == 1) {
		epoch_sync(objs[0], waiter);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		epoch_retry(objs[i]);
		clean = clean && epoch_is_clean(objs[i]);
	}
	if (n > 0 && objs[0]->objs->latched)
		err = -ERR_LATCHED;
	else if (!clean)
		err = epoch_tie(objs, n, &(struct epoch_needs){0});
	if (clean || err < 0) {
		waiter->ready(waiter, err);
		return;
	}
	STAILQ_INSERT_TAIL(&objs[0]->open.waiters, waiter, link);
	epoch_close(objs[0]);
}

/* ---- at the end ------------------------------------------------------------------------------ */

void epoch_discard(struct object *obj)
{
	struct epoch *epoch;
	struct epoch *next;

	ASSERT_LOOP();
	assert(STAILQ_EMPTY(&obj->open.waiters));
	alloc_unreserve(obj->objs->alloc, cache_punch(&obj->cache, lblk(0), BLK_OBJECT_MAX));
	obj->open.meta = false;
	obj->open.close_wanted = false;
	holes_fini(&obj->open.holes);
	epoch_leave(obj);
	/* at the end of all nothing moves: what is durable and could not be applied the journal has */
	TAILQ_FOREACH_SAFE (epoch, &obj->closed, link, next)
		if (epoch->state == EPOCH_FAILED || epoch->state == EPOCH_WRITTEN ||
		    (epoch->state == EPOCH_APPLYING && obj->objs->wb.stopping))
			epoch_abandon(epoch);
	object_promise_update(obj);
	epoch_settle(obj);
}

bool epoch_any_moving(const struct objects *objs)
{
	const struct object *obj;

	TAILQ_FOREACH (obj, &objs->busy, busy_link) {
		const struct epoch *first = TAILQ_FIRST(&obj->closed);

		if (first && (first->state == EPOCH_APPLYING || first->set->nmoving > 0))
			return true;
	}
	return false;
}
