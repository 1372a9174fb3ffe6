/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_epoch.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_table.h"

/* A device that fails gets less and less to do: each attempt quarantines what it fails to write. */
#define RETRY_MS_MIN 1000u
#define RETRY_MS_MAX 60000u

static void epoch_advance(struct object *obj);

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

void epoch_pass_generation(struct object *obj, uint64_t generation, int err)
{
	ASSERT_LOOP();
	obj->generation = generation + (err < 0);
	obj->has_changed = true;
}

void epoch_touch(struct object *obj)
{
	ASSERT_LOOP();
	epoch_pass_generation(obj, epoch_next_generation(obj), 0);
	if (!epoch_open_any(obj))
		obj->open.since_ms = clock_now_ms();
	if (obj->is_busy)
		return;
	obj->is_busy = true;
	TAILQ_INSERT_TAIL(&obj->objs->busy, obj, busy_link);
}

/* Takes the object off the busy list when nothing is left to write. */
static void epoch_settle(struct object *obj)
{
	struct objects *objs = obj->objs;

	if (!obj->is_busy || epoch_open_any(obj) || !TAILQ_EMPTY(&obj->closed))
		return;
	obj->is_busy = false;
	TAILQ_REMOVE(&objs->busy, obj, busy_link);
}

static void epoch_wake(struct epoch_waiters *from, int err)
{
	struct epoch_waiters list = STAILQ_HEAD_INITIALIZER(list);
	struct epoch_waiter *waiter;

	STAILQ_CONCAT(&list, from);
	while ((waiter = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		waiter->ready(waiter, err);
	}
}

static void epoch_forget(struct epoch *epoch)
{
	struct object *obj = epoch->obj;

	TAILQ_REMOVE(&obj->closed, epoch, link);
	if (epoch->state != EPOCH_APPLYING)
		obj->nclosed--;
	obj->nholey -= epoch->holes.n > 0;
	holes_fini(&epoch->holes);
	writeback_batch_fini(&epoch->batch);
	free(epoch);
}

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

/* Nothing after a failed epoch can be committed before it: all who wait are told. */
static void epoch_fail(struct epoch *epoch, int err)
{
	struct object *obj = epoch->obj;
	struct epoch_waiters told = STAILQ_HEAD_INITIALIZER(told);

	epoch->state = EPOCH_FAILED;
	obj->objs->lacking = true; /* perhaps: epoch_reserve_failed() looks */
	obj->err_seq++;
	obj->retry_gap_ms = obj->retry_gap_ms == 0 ? RETRY_MS_MIN : 2 * obj->retry_gap_ms;
	if (obj->retry_gap_ms > RETRY_MS_MAX)
		obj->retry_gap_ms = RETRY_MS_MAX;
	obj->retry_at_ms = clock_now_ms() + obj->retry_gap_ms;
	for (; epoch; epoch = TAILQ_NEXT(epoch, link))
		STAILQ_CONCAT(&told, &epoch->waiters);
	STAILQ_CONCAT(&told, &obj->open.waiters);
	obj->open.close_wanted = false;
	epoch_wake(&told, err);
}

/* The oldest epoch that is not durable. */
static struct epoch *epoch_head(const struct object *obj)
{
	struct epoch *epoch = TAILQ_FIRST(&obj->closed);

	while (epoch && epoch->state == EPOCH_APPLYING)
		epoch = TAILQ_NEXT(epoch, link);
	return epoch;
}

/* Goes on with what waited for an epoch to move. */
static void epoch_go_on(struct object *obj)
{
	struct objects *objs = obj->objs;

	epoch_advance(obj);
	if (obj->open.close_wanted)
		epoch_close(obj);
	epoch_settle(obj);
	object_put(obj);
	objs->progress(objs);
}

/*
 * The waiters run before the next epoch is submitted: a clone that waited for this one is then the
 * next in the commit queue, and holds exactly what the epoch made of the object.
 */
static LOOP_FN void epoch_durable(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);
	struct object *obj = epoch->obj;

	assert(epoch == epoch_head(obj));
	object_get(obj); /* the waiters may let go of it */
	epoch->state = EPOCH_APPLYING;
	obj->nclosed--;
	obj->retry_gap_ms = 0;
	obj->waking = true;
	epoch_wake(&epoch->waiters, 0);
	obj->waking = false;
	epoch_go_on(obj);
}

/* It is in the map: its blocks are clean. */
static void epoch_applied(struct epoch *epoch)
{
	struct object *obj = epoch->obj;
	struct objects *objs = obj->objs;
	const struct change *change = &epoch->batch.commit.change;

	assert(epoch == TAILQ_FIRST(&obj->closed) && epoch->state == EPOCH_APPLYING);
	obj->info = epoch->batch.commit.obj;
	cache_committed(&obj->cache, epoch->batch.blks, epoch->batch.nblks, change->extents,
			change->nextents);
	if (change->inlined)
		objs->keep_home(objs, &epoch->batch);
	epoch_forget(epoch);
}

static LOOP_FN void epoch_done(struct writeback_batch *batch, int err)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);
	struct object *obj = epoch->obj;

	if (err < 0 && epoch->state == EPOCH_APPLYING)
		return;	 /* latched: what is true is found out by the next start */
	object_get(obj); /* the waiters may let go of it */
	if (err < 0)
		epoch_fail(epoch, err);
	else
		epoch_applied(epoch);
	epoch_go_on(obj);
}

/* Of an object that is being removed: its predecessor may be forgotten, so it is not committed. */
static void epoch_drop(struct epoch *epoch)
{
	struct epoch_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);

	STAILQ_CONCAT(&waiters, &epoch->waiters);
	epoch_forget(epoch);
	epoch_wake(&waiters, 0);
}

static LOOP_FN void epoch_written(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	epoch->state = EPOCH_WRITTEN;
	if (epoch->obj->removing)
		epoch_drop(epoch);
	else
		epoch_advance(epoch->obj);
}

/* Submits the oldest epoch when it is its turn. */
static void epoch_advance(struct object *obj)
{
	struct epoch *head = epoch_head(obj);

	if (!head || head->state != EPOCH_WRITTEN || obj->waking || obj->objs->wb.stopping)
		return;
	head->state = EPOCH_COMMITTING;
	writeback_commit(&head->batch);
}

static void epoch_start(struct epoch *epoch)
{
	prepare_pause(epoch->obj->objs->prepare);
	epoch->state = EPOCH_WRITING;
	writeback_start(&epoch->obj->objs->wb, &epoch->batch);
}

static bool epoch_head_failed(const struct object *obj)
{
	const struct epoch *head = epoch_head(obj);

	return head && head->state == EPOCH_FAILED;
}

/* Freezes what is open.  Where there is no memory for it those who wait are told, and it stays
 * open. */
static void epoch_freeze(struct object *obj)
{
	struct change *change;
	struct epoch *epoch;

	obj->open.close_wanted = false;
	epoch = calloc(1, sizeof(*epoch));
	if (!epoch || cache_freeze(&obj->cache, &epoch->batch.blks, &epoch->batch.nblks) < 0) {
		free(epoch);
		epoch_wake(&obj->open.waiters, -ERR_NOMEM);
		return;
	}
	epoch->obj = obj;
	epoch->batch.written = epoch_written;
	epoch->batch.durable = epoch_durable;
	epoch->batch.done = epoch_done;
	change = &epoch->batch.commit.change;
	change->oid = obj->id;
	change->size_bytes = obj->size_bytes;
	change->time_ns = obj->mtime_ns;
	change->generation = obj->generation;
	epoch->holes = obj->open.holes;
	obj->open.holes = (struct holes){0};
	obj->nholey += epoch->holes.n > 0;
	change->holes = epoch->holes.ranges;
	change->nholes = epoch->holes.n;
	STAILQ_INIT(&epoch->waiters);
	STAILQ_CONCAT(&epoch->waiters, &obj->open.waiters);
	obj->open.meta = false;
	TAILQ_INSERT_TAIL(&obj->closed, epoch, link);
	obj->nclosed++;
	epoch_start(epoch);
}

void epoch_close(struct object *obj)
{
	ASSERT_LOOP();
	if (!epoch_open_any(obj))
		return;
	obj->open.close_wanted = true;
	if (obj->nclosed < EPOCH_CLOSED_MAX && !epoch_head_failed(obj))
		epoch_freeze(obj);
}

/* May this much more be in the open epoch?  Each hole takes its part of the blocks and folios too:
 * what all of it changes in the map has to go into one transaction. */
static bool epoch_has_room(const struct object *obj, const struct epoch_needs *needs)
{
	const struct cache_object *co = &obj->cache;
	uint32_t nholes = obj->open.holes.n + needs->hole;
	uint64_t max_blks = EPOCH_MAX_BLKS - nholes * (EPOCH_MAX_BLKS / EPOCH_MAX_HOLES);
	uint64_t max_folios = EPOCH_MAX_FOLIOS - nholes * (EPOCH_MAX_FOLIOS / EPOCH_MAX_HOLES);

	return nholes <= EPOCH_MAX_HOLES && co->ndirty + needs->nblks <= max_blks &&
	       co->ndirty_folios + needs->nfolios <= max_folios;
}

int epoch_make_room(struct object *obj, const struct epoch_needs *needs)
{
	ASSERT_LOOP();
	if ((obj->cache.ndirty == 0 && obj->open.holes.n == 0) || epoch_has_room(obj, needs))
		return 0;
	if (needs->hole && obj->nclosed >= EPOCH_CLOSED_MAX)
		return -ERR_WRITEBACK;
	epoch_freeze(obj);
	return obj->cache.ndirty == 0 && obj->open.holes.n == 0 ? 0 : -ERR_NOMEM;
}

void epoch_retry(struct object *obj)
{
	struct epoch *epoch;

	ASSERT_LOOP();
	if (obj->objs->latched)
		return;
	TAILQ_FOREACH (epoch, &obj->closed, link)
		if (epoch->state == EPOCH_FAILED)
			epoch_start(epoch);
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
			if (epoch->state == EPOCH_FAILED && writeback_reserve(&epoch->batch) < 0)
				objs->lacking = true;
}

void epoch_retry_due(struct object *obj)
{
	if (clock_now_ms() >= obj->retry_at_ms)
		epoch_retry(obj);
}

void epoch_sync(struct object *obj, struct epoch_waiter *waiter)
{
	struct epoch *last;

	ASSERT_LOOP();
	if (obj->objs->latched) {
		waiter->ready(waiter, -ERR_LATCHED);
		return;
	}
	epoch_retry(obj);
	if (epoch_open_any(obj)) {
		STAILQ_INSERT_TAIL(&obj->open.waiters, waiter, link);
		epoch_close(obj);
		return;
	}
	last = TAILQ_LAST(&obj->closed, epoch_list);
	if (last && last->state != EPOCH_APPLYING)
		STAILQ_INSERT_TAIL(&last->waiters, waiter, link);
	else
		waiter->ready(waiter, 0);
}

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
	TAILQ_FOREACH_SAFE (epoch, &obj->closed, link, next)
		if (epoch->state == EPOCH_FAILED || epoch->state == EPOCH_WRITTEN)
			epoch_forget(epoch);
	epoch_settle(obj);
}

bool epoch_any_moving(const struct objects *objs)
{
	const struct object *obj;

	TAILQ_FOREACH (obj, &objs->busy, busy_link)
		if (!TAILQ_EMPTY(&obj->closed) && !epoch_head_failed(obj))
			return true;
	return false;
}
