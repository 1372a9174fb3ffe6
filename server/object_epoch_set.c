/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_epoch_set.c: epochs from their freezing to the map, in sets (object_state.h).
 */
#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch_priv.h"
#include "server/object_promise.h"
#include "server/object_table.h"
#include "server/object_tie.h"

/* A device that fails gets less and less to do: each attempt quarantines what it fails to write. */
#define RETRY_MS_MIN 1000u
#define RETRY_MS_MAX 60000u

/* There is one for each object of a set, changed or not. */
static_assert(sizeof(struct epoch) <= 128, "an epoch");

static void set_advance(struct epoch_set *set);

/* Visits the epochs of a set that are not gone. */
#define SET_FOREACH(var, set)                                                              \
	for (struct epoch *var = (set)->epochs; (var) < (set)->epochs + (set)->n; (var)++) \
		if ((var)->state != EPOCH_GONE)

/* ---- lives ----------------------------------------------------------------------------------- */

static void set_free_if_gone(struct epoch_set *set)
{
	if (set->nleft > 0 || set->holds > 0)
		return;
	if (!set->durable)
		TAILQ_REMOVE(&set->objs->sets, set, link);
	free(set->datas);
	free(set);
}

/* While waiters run the set and its objects stay, whatever they let go of. */
static void set_hold(struct epoch_set *set)
{
	set->holds++;
	SET_FOREACH (epoch, set) {
		assert(!epoch->held);
		object_get(epoch->obj);
		epoch->held = true;
	}
}

static void set_release(struct epoch_set *set)
{
	for (uint32_t i = 0; i < set->n; i++) {
		if (!set->epochs[i].held)
			continue;
		set->epochs[i].held = false;
		object_put(set->epochs[i].obj);
	}
	set->holds--;
	set_free_if_gone(set);
}

void epoch_forget(struct epoch *epoch)
{
	struct object *obj = epoch->obj;
	struct epoch_set *set = epoch->set;

	TAILQ_REMOVE(&obj->closed, epoch, link);
	if (epoch->state != EPOCH_APPLYING)
		obj->nclosed--;
	obj->nholey -= epoch->holes.n > 0;
	holes_fini(&epoch->holes);
	if (epoch->data)
		writeback_batch_fini(&epoch->data->batch);
	set->nfailed -= epoch->state == EPOCH_FAILED;
	set->nleft--;
	epoch->state = EPOCH_GONE;
	set_free_if_gone(set);
	object_promise_update(obj);
}

struct epoch *epoch_head(const struct object *obj)
{
	struct epoch *epoch = TAILQ_FIRST(&obj->closed);

	while (epoch && epoch->state == EPOCH_APPLYING)
		epoch = TAILQ_NEXT(epoch, link);
	return epoch;
}

/* ---- going on -------------------------------------------------------------------------------- */

static void object_advance(struct object *obj)
{
	struct epoch *head = epoch_head(obj);

	if (head)
		set_advance(head->set);
}

void epoch_go_on(struct object *obj)
{
	ASSERT_LOOP();
	object_advance(obj);
}

/* Goes on with what waited for epochs of these objects to move; the set is held. */
static void set_go_on(struct epoch_set *set)
{
	struct objects *objs = set->objs;

	for (uint32_t i = 0; i < set->n; i++)
		if (set->epochs[i].held)
			object_advance(set->epochs[i].obj);
	for (uint32_t i = 0; i < set->n; i++) {
		struct object *obj = set->epochs[i].obj;

		if (set->epochs[i].held && obj->open.close_wanted)
			epoch_close(obj);
	}
	for (uint32_t i = 0; i < set->n; i++)
		if (set->epochs[i].held)
			epoch_settle(set->epochs[i].obj);
	set_release(set);
	objs->progress(objs);
}

/* ---- failing --------------------------------------------------------------------------------- */

bool set_failed(const struct epoch_set *set)
{
	return set->nfailed > 0 && set->nmoving == 0;
}

/* Can it be committed only behind one whose waiters are told? */
static bool set_is_behind(struct epoch_set *set)
{
	SET_FOREACH (epoch, set) {
		const struct epoch *prev = TAILQ_PREV(epoch, epoch_list, link);

		if (prev && prev->set->told)
			return true;
	}
	return false;
}

/* Moves those who wait for the set, or behind it for its objects, to the list. */
static void set_take_waiters(struct epoch_set *set, struct epoch_waiters *to)
{
	set->told = true;
	SET_FOREACH (epoch, set) {
		STAILQ_CONCAT(to, &epoch->waiters);
		epoch_take_waiters(epoch->obj, to);
	}
}

/* Nothing behind a failed set can be committed before it: all who wait for that are told. */
static void set_fail(struct epoch_set *failed)
{
	struct epoch_waiters told = STAILQ_HEAD_INITIALIZER(told);
	uint64_t now = clock_now_ms();
	struct epoch_set *set;

	SET_FOREACH (epoch, failed) {
		struct object *obj = epoch->obj;

		obj->err_seq++;
		obj->retry_gap_ms = obj->retry_gap_ms == 0 ? RETRY_MS_MIN : 2 * obj->retry_gap_ms;
		if (obj->retry_gap_ms > RETRY_MS_MAX)
			obj->retry_gap_ms = RETRY_MS_MAX;
		obj->retry_at_ms = now + obj->retry_gap_ms;
	}
	failed->objs->tie_seq++;
	set_take_waiters(failed, &told);
	for (set = TAILQ_NEXT(failed, link); set; set = TAILQ_NEXT(set, link))
		if (set_is_behind(set))
			set_take_waiters(set, &told);
	for (set = failed; set; set = TAILQ_NEXT(set, link))
		set->told = false;
	set_hold(failed);
	epoch_wake(&told, failed->err);
	set_go_on(failed);
}

/* One of its epochs has come to rest. */
static void set_rest(struct epoch_set *set)
{
	set->nmoving--;
	if (set_failed(set))
		set_fail(set);
	else
		set_advance(set);
}

/* ---- durable, applied ------------------------------------------------------------------------ */

/*
 * The waiters run before a later epoch of any of the objects is submitted: clones that waited for the
 * set are then the next in the commit queue, and hold exactly what it made of its objects.
 */
static void set_durable(struct epoch_set *set)
{
	struct epoch_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);

	set->durable = true;
	TAILQ_REMOVE(&set->objs->sets, set, link);
	set_hold(set);
	SET_FOREACH (epoch, set) {
		assert(epoch == epoch_head(epoch->obj));
		epoch->state = EPOCH_APPLYING;
		epoch->obj->nclosed--;
		epoch->obj->retry_gap_ms = 0;
		epoch->obj->waking = true;
		STAILQ_CONCAT(&waiters, &epoch->waiters);
	}
	epoch_wake(&waiters, 0);
	SET_FOREACH (epoch, set) {
		epoch->obj->waking = false;
		if (!epoch->data)
			epoch_forget(epoch);
	}
	set_go_on(set);
}

static LOOP_FN void epoch_durable(struct writeback_batch *batch)
{
	struct epoch_set *set = CONTAINER_OF(batch, struct epoch_data, batch)->epoch->set;

	if (--set->nmoving == 0) /* a unit is durable in one turn */
		set_durable(set);
}

static LOOP_FN void set_passed(struct loop_msg *msg)
{
	struct epoch_set *set = CONTAINER_OF(msg, struct epoch_set, msg);

	set->nmoving--;
	set_durable(set);
	set->holds--;
	set_free_if_gone(set);
}

/* It is in the map: its blocks are clean. */
static void epoch_applied(struct epoch *epoch)
{
	struct object *obj = epoch->obj;
	struct objects *objs = obj->objs;
	const struct change *change = &epoch->data->batch.commit.change;

	assert(epoch == TAILQ_FIRST(&obj->closed) && epoch->state == EPOCH_APPLYING);
	obj->info = epoch->data->batch.commit.obj;
	cache_committed(&obj->cache, epoch->data->batch.blks, epoch->data->batch.nblks,
			change->extents, change->nextents);
	if (change->inlined)
		objs->keep_home(objs, &epoch->data->batch);
	epoch_forget(epoch);
	object_get(obj);
	epoch_settle(obj);
	object_put(obj);
	objs->progress(objs);
}

static LOOP_FN void epoch_done(struct writeback_batch *batch, int err)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch_data, batch)->epoch;

	if (err == 0) {
		epoch_applied(epoch);
		return;
	}
	if (epoch->state == EPOCH_APPLYING)
		return; /* latched: what is true is found out by the next start */
	epoch->state = EPOCH_FAILED;
	epoch->set->nfailed++;
	epoch->set->err = err;
	epoch->obj->objs->lacking = true; /* perhaps: epoch_reserve_failed() looks */
	object_promise_update(epoch->obj);
	set_rest(epoch->set);
}

/* ---- written, submitted ---------------------------------------------------------------------- */

void epoch_abandon(struct epoch *epoch)
{
	struct epoch_set *set = epoch->set;

	ASSERT_LOOP();
	set->holds++;
	epoch_forget(epoch);
	set_advance(set);
	set->holds--;
	set_free_if_gone(set);
}

/* Of an object that has been removed. */
static void epoch_drop(struct epoch *epoch)
{
	struct epoch_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
	struct epoch_set *set = epoch->set;

	STAILQ_CONCAT(&waiters, &epoch->waiters);
	set->holds++;
	epoch_forget(epoch);
	set_rest(set);
	set->holds--;
	set_free_if_gone(set);
	epoch_wake(&waiters, 0);
}

static LOOP_FN void epoch_written(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch_data, batch)->epoch;

	epoch->state = EPOCH_WRITTEN;
	if (epoch->obj->removed)
		epoch_drop(epoch);
	else
		set_rest(epoch->set);
}

/* Are all of it written, and is nothing before it? */
static bool set_is_ready(struct epoch_set *set)
{
	if (set->durable || set->nleft == 0 || set->nmoving > 0 || set->nfailed > 0 ||
	    set->objs->wb.stopping)
		return false;
	SET_FOREACH (epoch, set)
		if (epoch != epoch_head(epoch->obj) || epoch->obj->waking ||
		    epoch->obj->removal_sent)
			return false;
	return true;
}

/* Submits it when it is its turn. */
static void set_advance(struct epoch_set *set)
{
	struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);

	if (!set_is_ready(set))
		return;
	SET_FOREACH (epoch, set) {
		if (!epoch->data)
			continue;
		epoch->state = EPOCH_COMMITTING;
		set->nmoving++;
		writeback_commit(&epoch->data->batch, &unit);
	}
	if (!STAILQ_EMPTY(&unit)) {
		commit_submit_unit(set->objs->commit, &unit);
		return;
	}
	/* by way of the loop: who calls this may be looking at the objects */
	set->nmoving++;
	set->holds++;
	set->msg.fn = set_passed;
	loop_post(set->objs->config.loop, &set->msg);
}

/* Begins to write those of its epochs that are in this state. */
static void set_start(struct epoch_set *set, enum epoch_state from)
{
	set->holds++;
	SET_FOREACH (epoch, set)
		set->nmoving += epoch->state == from && epoch->data;
	if (set->nmoving > 0)
		prepare_pause(set->objs->prepare);
	else
		set_advance(set);
	SET_FOREACH (epoch, set) {
		if (epoch->state != from || !epoch->data)
			continue;
		set->nfailed -= from == EPOCH_FAILED;
		epoch->state = EPOCH_WRITING;
		writeback_start(&set->objs->wb, &epoch->data->batch);
	}
	set->holds--;
	set_free_if_gone(set);
}

void set_retry(struct epoch_set *set)
{
	if (set_failed(set))
		set_start(set, EPOCH_FAILED);
	else
		set_advance(set);
}

/* ---- freezing -------------------------------------------------------------------------------- */

static bool epoch_is_needed(const struct object *obj)
{
	return epoch_open_any(obj) || obj->refs > 0;
}

void set_leave_out(struct object *obj)
{
	struct object *next = obj->tie.next;

	ASSERT_LOOP();
	for (uint32_t left = obj->tie.lead->tie.n; left > 1; left--) {
		struct object *other = next;

		next = other->tie.next;
		if (epoch_is_needed(other))
			continue;
		other->open.close_wanted = false;
		tie_leave(other);
	}
}

static uint32_t set_count_open(struct object *obj)
{
	uint32_t n = 0;

	TIE_FOREACH (other, obj)
		n += epoch_open_any(other);
	return n;
}

/* Everything that freezing needs; NULL: out of memory. */
static struct epoch_set *set_new(struct object *obj, struct cache_freezing **freezing)
{
	uint32_t n = obj->tie.lead->tie.n;
	struct epoch_set *set = calloc(1, sizeof(*set) + n * sizeof(set->epochs[0]));
	struct cache_freezing *fz = calloc(n, sizeof(*fz));
	struct epoch_data *datas = calloc(set_count_open(obj) + 1, sizeof(*datas));
	uint32_t i = 0;
	int err = set && fz && datas ? 0 : -ERR_NOMEM;

	TIE_FOREACH (other, obj) {
		if (err == 0 && epoch_open_any(other))
			err = cache_freeze_prepare(&other->cache, &fz[i]);
		i++;
	}
	if (err == 0) {
		set->objs = obj->objs;
		set->datas = datas;
		set->n = n;
		set->nleft = n;
		*freezing = fz;
		return set;
	}
	for (i = 0; fz && i < n; i++)
		cache_freeze_drop(&fz[i]);
	free(fz);
	free(datas);
	free(set);
	return NULL;
}

static void epoch_fill(struct epoch *epoch, struct object *obj, struct cache_freezing *fz)
{
	struct writeback_batch *batch = &epoch->data->batch;
	struct change *change = &batch->commit.change;

	epoch->data->epoch = epoch;
	cache_freeze_now(&obj->cache, fz, &batch->blks, &batch->nblks);
	epoch->state = EPOCH_WRITING;
	batch->placed_gen = obj->open.placed_gen;
	batch->written = epoch_written;
	batch->durable = epoch_durable;
	batch->done = epoch_done;
	change->oid = obj->id;
	change->size_bytes = obj->size_bytes;
	change->time_ns = obj->mtime_ns;
	change->generation = obj->generation;
	epoch->holes = obj->open.holes;
	obj->open.holes = (struct holes){0};
	obj->nholey += epoch->holes.n > 0;
	change->holes = epoch->holes.ranges;
	change->nholes = epoch->holes.n;
	obj->open.meta = false;
}

/* data: for what is open; NULL: nothing is. */
static void epoch_freeze(struct epoch_set *set, struct epoch *epoch, struct object *obj,
			 struct cache_freezing *fz, struct epoch_data *data)
{
	epoch->obj = obj;
	epoch->set = set;
	epoch->state = EPOCH_WRITTEN;
	epoch->data = data;
	if (data)
		epoch_fill(epoch, obj, fz);
	STAILQ_INIT(&epoch->waiters);
	STAILQ_CONCAT(&epoch->waiters, &obj->open.waiters);
	obj->open.close_wanted = false;
	TAILQ_INSERT_TAIL(&obj->closed, epoch, link);
	obj->nclosed++;
	epoch_busy(obj);
}

/* As many of its small epochs travel in the record as that has room for; the others are written. */
static void set_choose_inlined(struct epoch_set *set)
{
	uint32_t left = commit_inline_max(set->objs->commit);

	SET_FOREACH (epoch, set) {
		struct writeback_batch *batch = epoch->data ? &epoch->data->batch : NULL;

		if (!batch)
			continue;
		batch->outlined = batch->nblks > WRITEBACK_INLINE_BLKS || batch->nblks > left;
		left -= batch->outlined ? 0 : batch->nblks;
	}
}

int set_freeze(struct object *obj)
{
	struct cache_freezing *fz;
	struct epoch_data *data;
	struct epoch_set *set;
	uint32_t i = 0;

	ASSERT_LOOP();
	set_leave_out(obj);
	set = set_new(obj, &fz);
	if (!set)
		return -ERR_NOMEM;
	data = set->datas;
	TIE_FOREACH (other, obj) {
		bool open = epoch_open_any(other);

		epoch_freeze(set, &set->epochs[i], other, &fz[i], open ? data : NULL);
		data += open;
		i++;
	}
	free(fz);
	TAILQ_INSERT_TAIL(&obj->objs->sets, set, link);
	set_choose_inlined(set);
	SET_FOREACH (epoch, set)
		tie_leave(epoch->obj);
	SET_FOREACH (epoch, set)
		tie_again(epoch->obj);
	set_start(set, EPOCH_WRITING);
	return 0;
}
