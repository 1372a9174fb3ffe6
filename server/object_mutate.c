/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_mutate.c: how a change of an object's content comes to be applied: all of it, however many
 * pieces, in one turn of the loop.  So it belongs to one epoch, and a crash leaves all of it or
 * nothing; who reads sees the same.
 *
 *	planned, pinned --> filled --> room in memory --> space reserved --> applied --> answered
 *	   |                  |             |                 |
 *	   |                  |             `---- parked -----'- no space: nothing has changed
 *	   |                  `- a fill failed
 *	   `- no memory; or another generation than the change is for
 *
 * Filled: the first and the last block of a piece, or each of a "whole" one, where something of them is
 * kept and they are not uptodate.
 *
 * A change that goes past the cache takes a round through the device first:
 *
 *	planned, pinned --> filled --> room in memory --> space reserved --> placed --> planned ...
 *
 * Nothing of the object has changed by then, and others may change it meanwhile.  So it is planned and
 * filled once more, and applied in one turn as any other: those of its blocks that are placed need no
 * reservation, they own their space.  Until it is applied, and if it fails, all that is in the cache
 * of these blocks stays as it was; then they take its place, as with a write in memory (invariant 11).
 */
#include "server/object_mutate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_place.h"
#include "server/object_table.h"

static void mutate_step(struct mutate *m);

static void mutate_unpin(struct mutate *m)
{
	while (m->npinned > 0) {
		m->npinned--;
		cache_unpin(&m->obj->cache, m->pinned[m->npinned].first,
			    m->pinned[m->npinned].nblks);
	}
}

static void mutate_fini(struct mutate *m)
{
	if (m->want == m->some_want)
		return;
	free(m->want);
	free(m->pinned);
	free(m->waits);
}

/* "generation": of the object as the change has left it. */
static void mutate_finish_at(struct mutate *m, int err, uint64_t generation)
{
	struct object *obj = m->obj;
	object_changed_cb changed_cb = m->changed_cb;
	object_cb cb = m->cb;
	void *ctx = m->ctx;

	mutate_unpin(m);
	mutate_fini(m);
	place_free(m->place);
	m->fns->free(m);
	if (changed_cb)
		changed_cb(ctx, err, generation);
	else
		cb(ctx, err);
	cache_shrink(obj->objs->cache);
	objects_check_room(obj->objs);
	object_put(obj);
}

static void mutate_finish(struct mutate *m, int err)
{
	mutate_finish_at(m, err, m->obj->generation);
}

/* ---- filling --------------------------------------------------------------------------------- */

static LOOP_FN void mutate_filled(struct cache_waiter *waiter, int err)
{
	struct mutate *m = CONTAINER_OF(waiter, struct mutate_wait, waiter)->m;

	if (err < 0)
		m->err = err;
	if (--m->pending == 0)
		mutate_step(m);
}

static bool mutate_lacks(struct mutate *m, lblk_t blk)
{
	return m->fns->keeps(m, blk) && !object_page(m->obj, blk);
}

/* Starts the fill of blocks of one folio, of which the first is lacking. */
static void mutate_start_fill(struct mutate *m, lblk_t blk, uint32_t nblks,
			      struct mutate_wait *wait)
{
	int err;

	*wait = (struct mutate_wait){.waiter.ready = mutate_filled, .m = m};
	err = (m->place ? cache_fill_past : cache_fill)(&m->obj->cache, blk, nblks, &wait->waiter);
	if (err < 0)
		m->err = err;
	else
		m->pending++;
}

/* Starts the fill of a block if it is needed. */
static void mutate_fill(struct mutate *m, lblk_t blk, struct mutate_wait *wait)
{
	if (m->err == 0 && mutate_lacks(m, blk))
		mutate_start_fill(m, blk, 1, wait);
}

/* The same for all blocks of a piece, each of which has a wait: in runs, since what is a hole of an
 * epoch is never fetched. */
static void mutate_fill_whole(struct mutate *m, const struct mutate_piece *piece,
			      struct mutate_wait *waits)
{
	uint32_t n;

	for (uint32_t i = 0; i < piece->nblks && m->err == 0; i += n > 0 ? n : 1) {
		lblk_t blk = lblk(piece->first.n + i);
		uint32_t max = FOLIO_BLKS - (uint32_t)(blk.n & (FOLIO_BLKS - 1));

		if (max > piece->nblks - i)
			max = piece->nblks - i;
		for (n = 0; n < max && mutate_lacks(m, lblk(blk.n + n)); n++)
			;
		if (n > 0)
			mutate_start_fill(m, blk, n, &waits[i]);
	}
}

/* True: what is kept can be merged now, or m->err is set. */
static bool mutate_filled_in(struct mutate *m)
{
	uint32_t nblks = 0;

	if (m->err < 0)
		return true;
	for (uint32_t i = 0; i < m->npinned; i++) {
		const struct mutate_piece *piece = &m->pinned[i];

		if (m->whole) {
			mutate_fill_whole(m, piece, &m->waits[nblks]);
			nblks += piece->nblks;
			continue;
		}
		mutate_fill(m, piece->first, &m->waits[2 * i]);
		if (piece->nblks > 1)
			mutate_fill(m, lblk(piece->first.n + piece->nblks - 1),
				    &m->waits[2 * i + 1]);
	}
	return m->pending == 0;
}

/* ---- planning -------------------------------------------------------------------------------- */

static int mutate_pin(struct mutate *m)
{
	int err = 0;

	for (uint32_t i = 0; i < m->nwant && err == 0; i++) {
		err = cache_pin(&m->obj->cache, m->want[i].first, m->want[i].nblks);
		if (err == 0)
			m->pinned[m->npinned++] = m->want[i];
	}
	return err;
}

static bool mutate_is_pinned(const struct mutate *m)
{
	bool same = m->npinned == m->nwant;

	for (uint32_t i = 0; i < m->nwant && same; i++)
		same = m->pinned[i].first.n == m->want[i].first.n &&
		       m->pinned[i].nblks == m->want[i].nblks;
	return same;
}

/* The object may have changed since the last step: what is pinned is what the change is about. */
static void mutate_plan(struct mutate *m)
{
	if (m->obj->objs->latched)
		m->err = -ERR_LATCHED;
	if (m->err == 0 && m->obj->info.readonly)
		m->err = -ERR_READONLY; /* since it began */
	if (m->err == 0 && m->conditional && m->obj->generation != m->expected)
		m->err = -ERR_CHANGED;
	if (m->err == 0)
		m->err = m->fns->plan(m);
	if (m->err < 0 || mutate_is_pinned(m))
		return;
	mutate_unpin(m);
	m->err = mutate_pin(m);
}

/* ---- room and space -------------------------------------------------------------------------- */

static void mutate_close_all(struct objects *objs)
{
	struct object *obj;
	struct object *next;

	TAILQ_FOREACH_SAFE (obj, &objs->busy, busy_link, next)
		epoch_close(obj);
}

/* Waits until something was written back or freed; fails with err if nothing is under way. */
static void mutate_park(struct mutate *m, int err)
{
	struct objects *objs = m->obj->objs;

	mutate_close_all(objs);
	prepare_pause(objs->prepare);
	if (prepare_held_nblks(objs->prepare) > 0 || freeload_is_busy(objs->freeload) ||
	    epoch_any_moving(objs) || commit_busy(objs->commit) || objs->wb.releasing > 0 ||
	    objs->nplacing > 0 ||
	    (commit_reaping(objs->commit) && !checkpoint_fails(objs->checkpoint)) ||
	    checkpoint_want_space(objs->checkpoint, err == -ERR_NOSPC_META))
		TAILQ_INSERT_TAIL(&objs->parked, m, link);
	else
		mutate_finish(m, err);
}

void object_retry_parked(struct objects *objs)
{
	struct mutate_list list = TAILQ_HEAD_INITIALIZER(list);
	struct mutate *m;

	ASSERT_LOOP();
	TAILQ_CONCAT(&list, &objs->parked, link);
	while ((m = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, m, link);
		mutate_step(m);
		if (!TAILQ_EMPTY(&objs->parked))
			break; /* no room for this one: the others keep their places behind it */
	}
	TAILQ_CONCAT(&objs->parked, &list, link);
}

void object_close_gate(struct object *obj, struct gate_waiter *waiter)
{
	ASSERT_LOOP();
	if (obj->gated) {
		TAILQ_INSERT_TAIL(&obj->gate_waiters, waiter, link);
		return;
	}
	obj->gated = true;
	waiter->ready(waiter);
}

/* Who waited at the gate goes on, as long as it stays open. */
static void gate_pass(struct object *obj)
{
	struct mutate_list list = TAILQ_HEAD_INITIALIZER(list);
	struct mutate *m;

	object_step_reads(obj);
	TAILQ_CONCAT(&list, &obj->gate, link);
	while ((m = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, m, link);
		mutate_step(m);
	}
}

void object_open_gate(struct object *obj)
{
	struct gate_waiter *waiter;

	ASSERT_LOOP();
	obj->gated = false;
	if (obj->opening)
		return; /* by a waiter that has ended at once: the loop below goes on */
	obj->opening = true;
	while (!obj->gated) {
		gate_pass(obj);
		waiter = TAILQ_FIRST(&obj->gate_waiters);
		if (!waiter || obj->gated)
			break;
		TAILQ_REMOVE(&obj->gate_waiters, waiter, link);
		obj->gated = true;
		waiter->ready(waiter);
	}
	obj->opening = false;
}

struct mutate_needs {
	struct epoch_needs epoch; /* blocks that are not in the open one yet, and folios */
	uint64_t space;		  /* blocks that need a reservation */
};

/*
 * What the change needs; folios each once, since pieces ascend.  What is to be placed needs its space
 * first; what is placed needs none.  A block that was placed before has none to hand on: it owns a
 * block, not a promise.
 */
static struct mutate_needs mutate_needs(struct mutate *m)
{
	struct cache_object *co = &m->obj->cache;
	struct mutate_needs needs = {.epoch.hole = m->punches};
	uint64_t counted = UINT64_MAX;

	if (m->place && !m->placed) {
		needs.epoch.nblks = place_count(m->place);
		needs.space = needs.epoch.nblks;
		return needs;
	}
	for (uint32_t i = 0; i < m->npinned; i++) {
		for (uint32_t k = 0; k < m->pinned[i].nblks; k++) {
			lblk_t blk = lblk(m->pinned[i].first.n + k);
			uint64_t folio = blk.n >> FOLIO_SHIFT;
			bool promised = cache_is_promised(co, blk);

			needs.epoch.nblks +=
			    !promised && (co->nplaced == 0 || !cache_is_dirty(co, blk));
			needs.space += !promised && !mutate_is_placed(m, blk);
			needs.epoch.nfolios += folio != counted && !cache_is_dirty_folio(co, blk);
			counted = folio;
		}
	}
	return needs;
}

/*
 * True: the change may be applied, or placed, the space for *space blocks is reserved.  Else it is
 * parked or finished.
 */
static bool mutate_admit(struct mutate *m, uint64_t *space)
{
	struct objects *objs = m->obj->objs;
	bool placing = m->place && !m->placed;
	struct mutate_needs needs = mutate_needs(m);
	int err = placing ? 0 : epoch_make_room(m->obj, &needs.epoch);
	size_t busy = cache_busy_pages(objs->cache);
	uint64_t meta_used;
	uint64_t meta_total;

	needs = mutate_needs(m); /* of the next epoch, where that was closed */
	*space = needs.space;
	if (err == -ERR_WRITEBACK) {
		mutate_park(m, err);
		return false;
	}
	if (err < 0) {
		mutate_finish(m, err);
		return false;
	}
	if (needs.epoch.nblks == 0 && needs.space == 0)
		return true; /* a hole gives space back: it waits for none */
	if (needs.space > 0 && !TAILQ_EMPTY(&objs->parked)) { /* not past those that wait */
		TAILQ_INSERT_TAIL(&objs->parked, m, link);
		return false;
	}
	if (busy > 0 && busy + needs.epoch.nblks > objs->dirty_limit) {
		mutate_park(m, -ERR_WRITEBACK);
		return false;
	}
	map_meta_usage(objs->config.map, &meta_used, &meta_total);
	meta_used += (busy + needs.epoch.nblks) * META_BLK_BYTES;
	if (meta_used > meta_total - meta_total / META_RESERVE_PART) {
		mutate_park(m, -ERR_NOSPC_META);
		return false;
	}
	if (alloc_reserve(objs->alloc, needs.space) < 0) {
		mutate_park(m, -ERR_NOSPC);
		return false;
	}
	return true;
}

/* ---- the steps ------------------------------------------------------------------------------- */

/* Starts writeback early enough that writers seldom wait for it. */
static void mutate_kick(struct object *obj)
{
	struct objects *objs = obj->objs;

	if (epoch_is_full(obj) ||
	    (cache_busy_pages(objs->cache) > objs->dirty_limit / 2 && obj->cache.ndirty > 0))
		epoch_close(obj);
}

static LOOP_FN void mutate_placed(void *ctx, int err)
{
	struct mutate *m = ctx;
	struct objects *objs = m->obj->objs;

	objs->nplacing--;
	m->placed = true;
	if (err < 0)
		m->err = err;
	mutate_step(m);
	if (!TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* who waited for this one */
}

/* To the device, with what is kept of blocks as they are now. */
static void mutate_place(struct mutate *m, uint64_t space)
{
	struct objects *objs = m->obj->objs;
	int err;

	if (m->fns->complete)
		m->fns->complete(m);
	objs->nplacing++;
	err = place_start(m->place, mutate_placed, m);
	if (err == 0)
		return;
	objs->nplacing--;
	alloc_unreserve(objs->alloc, space);
	mutate_finish(m, err);
}

bool mutate_is_placed(struct mutate *m, lblk_t blk)
{
	ASSERT_LOOP();
	return m->place && place_holds(m->place, blk);
}

void mutate_write(struct mutate *m, lblk_t blk, struct page *page)
{
	struct objects *objs = m->obj->objs;

	ASSERT_LOOP();
	if (!mutate_is_placed(m, blk)) {
		cache_write(&m->obj->cache, blk, page);
		return;
	}
	if (cache_is_promised(&m->obj->cache, blk))
		alloc_unreserve(objs->alloc, 1); /* it owns a block instead */
	place_take(m->place, blk, page);
}

static void mutate_apply(struct mutate *m, uint64_t space)
{
	struct object *obj = m->obj;
	uint64_t unused = 0;
	int err = m->fns->apply(m, &unused);
	uint64_t generation = obj->generation; /* others may be applied before the answer */

	alloc_unreserve(obj->objs->alloc, err < 0 ? space : unused);
	for (uint32_t i = 0; i < m->npinned && err == 0; i++)
		object_forget_pages(obj, m->pinned[i].first, m->pinned[i].nblks);
	if (err == 0)
		mutate_kick(obj);
	mutate_finish_at(m, err, generation);
}

/* There is room, and space. */
static void mutate_go_on(struct mutate *m, uint64_t space)
{
	if (m->place && !m->placed)
		mutate_place(m, space);
	else
		mutate_apply(m, space);
}

/* Takes the change as far as it comes; called again when what it waits for has happened. */
static void mutate_step(struct mutate *m)
{
	struct object *obj = m->obj;
	uint64_t space;

	mutate_plan(m);
	if (!mutate_filled_in(m))
		return;
	if (obj->gated && !m->has_gate && m->err == 0) {
		TAILQ_INSERT_TAIL(&obj->gate, m, link);
		return;
	}
	if (m->err < 0)
		mutate_finish(m, m->err);
	else if (mutate_admit(m, &space))
		mutate_go_on(m, space);
}

int mutate_refused(const struct handle *handle, uint64_t off_bytes, uint64_t len)
{
	ASSERT_LOOP();
	if (handle->readonly)
		return -ERR_PERM;
	if (handle->obj->info.readonly)
		return -ERR_READONLY;
	if (off_bytes > BLK_OBJECT_MAX << BLK_SHIFT ||
	    len > (BLK_OBJECT_MAX << BLK_SHIFT) - off_bytes)
		return -ERR_TOO_LARGE;
	return handle->obj->objs->latched ? -ERR_LATCHED : 0;
}

void mutate_init_some(struct mutate *m)
{
	ASSERT_LOOP();
	m->max = MUTATE_PIECES;
	m->want = m->some_want;
	m->pinned = m->some_pinned;
	m->waits = m->some_waits;
}

static int mutate_alloc(struct mutate *m, uint32_t max, size_t nwaits)
{
	m->max = max;
	m->want = calloc(max, sizeof(*m->want));
	m->pinned = calloc(max, sizeof(*m->pinned));
	m->waits = calloc(nwaits, sizeof(*m->waits));
	if (m->want && m->pinned && m->waits)
		return 0;
	mutate_fini(m);
	return -ERR_NOMEM;
}

int mutate_init(struct mutate *m, uint32_t max)
{
	ASSERT_LOOP();
	mutate_init_some(m);
	return max <= MUTATE_PIECES ? 0 : mutate_alloc(m, max, 2 * (size_t)max);
}

int mutate_init_whole(struct mutate *m, uint32_t max, uint32_t nblks)
{
	ASSERT_LOOP();
	m->whole = true;
	return mutate_alloc(m, max, nblks);
}

void mutate_start(struct mutate *m)
{
	ASSERT_LOOP();
	assert(m->max > 0);
	object_get(m->obj);
	mutate_step(m);
}
