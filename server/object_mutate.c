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
 *
 * While it waits to be placed it holds nothing, and then all that it needs: the blocks that are not
 * placed are reserved with the others.  A place that has become useless, since its block has changed
 * meanwhile, is traded for a reservation.  So what has been placed waits for space only where a block
 * that was dirty has been committed since, and of two such writes none keeps from the other what it
 * does not use.
 *
 * A change of several objects takes the same steps, each for all of its parts before the next:
 *
 *	all planned, pinned --> all filled --> all gates open --> room for the sum --> space for all
 *	    --> tied, all applied --> answered
 */
#include "server/object_mutate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_mutate_priv.h"
#include "server/object_place.h"
#include "server/object_promise.h"
#include "server/object_table.h"

/* A part cannot be, so the change cannot. */
static void mutate_fail(struct mutate *m, int err)
{
	struct mutate_all *all = m->all;

	m->lead->err = err;
	for (uint32_t i = 0; all && i < all->n; i++) {
		if (all->objs[i] != m->obj)
			continue;
		all->at = i;
		all->generations[i] = m->obj->generation;
	}
}

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

static void mutate_free(struct mutate *m)
{
	mutate_unpin(m);
	mutate_fini(m);
	alloc_unreserve(m->obj->objs->alloc, m->reserved);
	place_free(m->place);
	object_unhold(m->obj, m->nheld);
	m->fns->free(m);
}

static void mutate_finish_all(struct mutate *lead, int err)
{
	struct objects *objs = lead->obj->objs;
	struct mutate_all *all = lead->all;
	struct mutate *next;

	for (struct mutate *m = lead; m; m = next) {
		next = m->next;
		mutate_free(m);
	}
	all->cb(all->ctx, err, all->at, all->generations);
	cache_shrink(objs->cache);
	objects_check_room(objs);
	for (uint32_t i = 0; i < all->n; i++)
		object_put(all->objs[i]);
	free(all);
}

/* "generation": of the object as the change has left it. */
static void mutate_finish_at(struct mutate *m, int err, uint64_t generation)
{
	struct object *obj = m->obj;
	object_changed_cb changed_cb = m->changed_cb;
	object_cb cb = m->cb;
	void *ctx = m->ctx;

	if (m->all) {
		mutate_finish_all(m, err);
		return;
	}
	mutate_free(m);
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
		mutate_fail(m, err);
	if (--m->lead->pending == 0)
		mutate_step(m->lead);
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
		mutate_fail(m, err);
	else
		m->lead->pending++;
}

/* Starts the fill of a block if it is needed. */
static void mutate_fill(struct mutate *m, lblk_t blk, struct mutate_wait *wait)
{
	if (m->lead->err == 0 && mutate_lacks(m, blk))
		mutate_start_fill(m, blk, 1, wait);
}

/* The same for all blocks of a piece, each of which has a wait: in runs, since what is a hole of an
 * epoch is never fetched. */
static void mutate_fill_whole(struct mutate *m, const struct mutate_piece *piece,
			      struct mutate_wait *waits)
{
	uint32_t n;

	for (uint32_t i = 0; i < piece->nblks && m->lead->err == 0; i += n > 0 ? n : 1) {
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

static void mutate_fill_in(struct mutate *m)
{
	uint32_t nblks = 0;

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
}

/* True: what is kept can be merged now, or there is an error. */
static bool mutate_filled_in(struct mutate *lead)
{
	MUTATE_FOREACH (m, lead)
		if (lead->err == 0)
			mutate_fill_in(m);
	return lead->pending == 0;
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

static int mutate_plan_part(struct mutate *m)
{
	int err;

	if (m->obj->info.readonly)
		return -ERR_READONLY; /* since it began */
	if (m->conditional && m->obj->generation != m->expected)
		return -ERR_CHANGED;
	err = m->fns->plan(m);
	if (err < 0 || mutate_is_pinned(m))
		return err;
	mutate_unpin(m);
	return mutate_pin(m);
}

/* The objects may have changed since the last step: what is pinned is what the change is about. */
static void mutate_plan(struct mutate *lead)
{
	if (lead->obj->objs->latched)
		lead->err = -ERR_LATCHED;
	MUTATE_FOREACH (m, lead) {
		int err = lead->err == 0 ? mutate_plan_part(m) : 0;

		if (err < 0)
			mutate_fail(m, err);
	}
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
	    objs->nplacing > 0 || mutate_is_renewing(m) ||
	    (commit_reaping(objs->commit) && !checkpoint_fails(objs->checkpoint)) ||
	    checkpoint_want_space(objs->checkpoint, err == -ERR_NOSPC_META))
		TAILQ_INSERT_TAIL(&objs->parked, m, link);
	else
		mutate_finish(m, err);
}

/* Room in the open epoch, or in those of all parts together. */
static int mutate_make_room(struct mutate *lead, const struct epoch_needs *needs)
{
	const struct mutate_all *all = lead->all;

	if (mutate_is_placing(lead))
		return 0;
	return all ? epoch_make_room_all(all->objs, all->n, needs)
		   : epoch_make_room(lead->obj, needs);
}

/*
 * True: the change may be applied, or placed, its space is reserved.  Else it is parked or finished.
 */
static bool mutate_admit(struct mutate *m)
{
	struct objects *objs = m->obj->objs;
	struct epoch_needs needs = mutate_needs(m);
	int err = mutate_make_room(m, &needs);
	size_t busy = cache_busy_pages(objs->cache);
	uint64_t meta_used;
	uint64_t meta_total;
	uint64_t lacks;

	needs = mutate_needs(m); /* of the next epoch, where that was closed */
	lacks = mutate_lacks_space(m);
	if (err == -ERR_WRITEBACK) {
		mutate_park(m, err);
		return false;
	}
	if (err < 0) {
		mutate_finish(m, err);
		return false;
	}
	if (needs.nblks == 0 && lacks == 0) /* a hole gives space back: it waits for none */
		return mutate_reserve(m) == 0;
	if (lacks > 0 && !TAILQ_EMPTY(&objs->parked) &&
	    !mutate_is_promised(m)) { /* not past those that wait */
		TAILQ_INSERT_TAIL(&objs->parked, m, link);
		return false;
	}
	if (busy > 0 && busy + needs.nblks > objs->dirty_limit) {
		mutate_park(m, -ERR_WRITEBACK);
		return false;
	}
	map_meta_usage(objs->config.map, &meta_used, &meta_total);
	meta_used += (busy + needs.nblks) * META_BLK_BYTES;
	if (meta_used > meta_total - meta_total / META_RESERVE_PART) {
		mutate_park(m, -ERR_NOSPC_META);
		return false;
	}
	if (mutate_reserve(m) < 0) {
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

	if (epoch_is_full(obj) || obj->open.close_wanted ||
	    (cache_busy_pages(objs->cache) > objs->dirty_limit / 2 && obj->cache.ndirty > 0))
		epoch_close(obj);
}

static LOOP_FN void mutate_placed(void *ctx, int err)
{
	struct mutate *m = ctx;
	struct mutate *lead = m->lead;
	struct objects *objs = m->obj->objs;

	objs->nplacing--;
	if (err < 0)
		mutate_fail(m, err);
	if (--lead->pending > 0)
		return;
	lead->placed = true;
	mutate_step(lead);
	if (!TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* who waited for this one */
}

static int mutate_place_part(struct mutate *m)
{
	int err;

	if (m->fns->complete)
		m->fns->complete(m);
	err = place_start(m->place, mutate_placed, m);
	if (err < 0)
		return err;
	m->reserved -= place_count(m->place);
	m->obj->objs->nplacing++;
	m->lead->pending++;
	return 0;
}

/* To the device, with what is kept of blocks as they are now. */
static void mutate_place(struct mutate *lead)
{
	MUTATE_FOREACH (m, lead)
		m->reserved = m->space;
	MUTATE_FOREACH (m, lead) {
		int err = m->place && lead->err == 0 ? mutate_place_part(m) : 0;

		if (err < 0)
			mutate_fail(m, err);
	}
	if (lead->pending == 0)
		mutate_finish(lead, lead->err);
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

static int mutate_apply_part(struct mutate *m)
{
	uint64_t unused = 0;
	int err = m->fns->apply(m, &unused);

	mutate_unreserve(m, err < 0 ? m->space : unused);
	mutate_unhold(m, m->nheld); /* dirty now, or given back */
	for (uint32_t i = 0; i < m->npinned && err == 0; i++)
		object_forget_pages(m->obj, m->pinned[i].first, m->pinned[i].nblks);
	return err;
}

/* All parts, into epochs that are closed together.  None is closed before the last is applied. */
static void mutate_apply_all(struct mutate *lead)
{
	struct mutate_all *all = lead->all;
	uint32_t i = 0;
	int err = epoch_tie(all->objs, all->n, &(struct epoch_needs){0});

	assert(err == 0); /* there is room for all of it */
	MUTATE_FOREACH (m, lead) {
		err = mutate_apply_part(m);
		assert(err == 0);
		all->generations[i++] = m->obj->generation;
	}
	mutate_kick(lead->obj);
	mutate_finish_all(lead, 0);
}

static void mutate_apply(struct mutate *m)
{
	int err;
	uint64_t generation;

	if (m->all) {
		mutate_apply_all(m);
		return;
	}
	err = mutate_apply_part(m);
	generation = m->obj->generation; /* others may be applied before the answer */
	if (err == 0)
		mutate_kick(m->obj);
	mutate_finish_at(m, err, generation);
}

/* There is room, and space. */
static void mutate_go_on(struct mutate *m)
{
	if (mutate_is_placing(m))
		mutate_place(m);
	else
		mutate_apply(m);
}

/* An object of it whose gate is closed, where that keeps it waiting; or NULL. */
static struct object *mutate_gated(struct mutate *lead)
{
	MUTATE_FOREACH (m, lead)
		if (m->obj->gated && !m->has_gate)
			return m->obj;
	return NULL;
}

void mutate_step(struct mutate *m)
{
	struct object *gated;

	ASSERT_LOOP();
	mutate_plan(m);
	if (!mutate_filled_in(m))
		return;
	gated = m->err == 0 ? mutate_gated(m) : NULL;
	if (gated)
		TAILQ_INSERT_TAIL(&gated->gate, m, link);
	else if (m->err < 0)
		mutate_finish(m, m->err);
	else if (mutate_admit(m))
		mutate_go_on(m);
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

void mutate_drop(struct mutate *m)
{
	ASSERT_LOOP();
	mutate_free(m);
}

void mutate_start(struct mutate *m)
{
	ASSERT_LOOP();
	assert(m->max > 0);
	m->lead = m;
	object_get(m->obj);
	mutate_step(m);
}

struct mutate_all *mutate_all_new(uint32_t n, object_all_cb cb, void *ctx)
{
	struct mutate_all *all =
	    calloc(1, sizeof(*all) + n * (sizeof(all->generations[0]) + sizeof(all->objs[0])));

	ASSERT_LOOP();
	if (!all)
		return NULL;
	all->cb = cb;
	all->ctx = ctx;
	all->n = n;
	all->at = n;
	all->objs = (struct object **)(all->generations + n);
	return all;
}

void mutate_start_all(struct mutate_all *all, struct mutate *const *parts)
{
	ASSERT_LOOP();
	for (uint32_t i = 0; i < all->n; i++) {
		assert(parts[i]->max > 0);
		parts[i]->all = all;
		parts[i]->lead = parts[0];
		parts[i]->next = i + 1 < all->n ? parts[i + 1] : NULL;
		all->objs[i] = parts[i]->obj;
		object_get(parts[i]->obj);
	}
	mutate_step(parts[0]);
}
