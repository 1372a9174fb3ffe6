/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_mutate_space.c: what a change needs of space, and has of it.
 *
 *	reserved	promises that a part keeps from one turn to the next
 *	nheld		these, what it has placed, and what it has been given in this turn: for as long as
 *			it is not dirty it counts as the object's by this (object_promise.h)
 */
#include <assert.h>

#include "common/thread.h"
#include "server/object_mutate_priv.h"
#include "server/object_place.h"
#include "server/object_promise.h"

bool mutate_is_placing(struct mutate *lead)
{
	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead)
		if (m->place && !lead->placed)
			return true;
	return false;
}

/* Does the block need a promise?  What is to be placed needs one, what is placed none.  A block that
 * was placed before has none to hand on: it owns a block, not a promise. */
static bool mutate_needs_space(struct mutate *m, lblk_t blk, bool promised)
{
	if (m->place && !m->lead->placed && place_has(m->place, blk))
		return true;
	return !promised && !mutate_is_placed(m, blk);
}

/* Adds what a part needs; folios each once, since pieces ascend. */
static void mutate_add_needs(struct mutate *m, struct epoch_needs *needs)
{
	struct cache_object *co = &m->obj->cache;
	uint64_t counted = UINT64_MAX;

	needs->hole = needs->hole || m->punches;
	m->space = 0;
	for (uint32_t i = 0; i < m->npinned; i++) {
		for (uint32_t k = 0; k < m->pinned[i].nblks; k++) {
			lblk_t blk = lblk(m->pinned[i].first.n + k);
			uint64_t folio = blk.n >> FOLIO_SHIFT;
			bool promised = cache_is_promised(co, blk);

			needs->nblks += !promised && (co->nplaced == 0 || !cache_is_dirty(co, blk));
			m->space += mutate_needs_space(m, blk, promised);
			needs->nfolios += folio != counted && !cache_is_dirty_folio(co, blk);
			counted = folio;
		}
	}
}

struct epoch_needs mutate_needs(struct mutate *lead)
{
	struct epoch_needs needs = {0};

	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead)
		mutate_add_needs(m, &needs);
	return needs;
}

void mutate_unreserve(struct mutate *m, uint64_t nblks)
{
	ASSERT_LOOP();
	alloc_unreserve(m->obj->objs->alloc, nblks);
}

/* The block behind the last one that a part makes dirty. */
static uint64_t mutate_end(const struct mutate *m)
{
	const struct mutate_piece *last = m->npinned > 0 ? &m->pinned[m->npinned - 1] : NULL;

	return last ? last->first.n + last->nblks : 0;
}

void mutate_unhold(struct mutate *m, uint64_t nblks)
{
	ASSERT_LOOP();
	assert(nblks <= m->nheld);
	m->nheld -= nblks;
	object_unhold(m->obj, nblks);
}

/* Gives up what was placed and is useless, and keeps a promise for it. */
static void mutate_trade(struct mutate *m)
{
	uint64_t n = m->place && m->lead->placed ? place_drop_stale(m->place) : 0;

	if (alloc_reserve_due(m->obj->objs->alloc, n) == 0)
		m->reserved += n;
	else
		mutate_unhold(m, n);
}

uint64_t mutate_lacks_space(struct mutate *lead)
{
	uint64_t lacks = 0;

	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead) {
		mutate_trade(m);
		if (m->reserved > m->space) {
			mutate_unreserve(m, m->reserved - m->space);
			mutate_unhold(m, m->reserved - m->space);
			m->reserved = m->space;
		}
		lacks += m->space - m->reserved;
	}
	return lacks;
}

bool mutate_is_promised(struct mutate *lead)
{
	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead)
		if (!object_is_promised(m->obj, m->space - m->reserved))
			return false;
	return true;
}

bool mutate_is_renewing(struct mutate *lead)
{
	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead)
		if (object_is_renewing(m->obj))
			return true;
	return false;
}

int mutate_reserve(struct mutate *lead)
{
	ASSERT_LOOP();
	MUTATE_FOREACH (m, lead) {
		int err = object_reserve(m->obj, m->space - m->reserved, mutate_end(m));

		if (err == 0) {
			m->nheld += m->space - m->reserved;
			continue;
		}
		for (struct mutate *done = lead; done != m; done = done->next) {
			mutate_unreserve(done, done->space - done->reserved);
			mutate_unhold(done, done->space - done->reserved);
		}
		return err;
	}
	MUTATE_FOREACH (m, lead)
		m->reserved = 0; /* the caller sees to it */
	return 0;
}
