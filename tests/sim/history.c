/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"

void history_init(struct history *h)
{
	memset(h, 0, sizeof(*h));
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		struct history_obj *o = &h->objs[i];

		o->bytes = oom_calloc(1, HISTORY_BYTES);
		o->before = oom_calloc(1, HISTORY_BYTES);
	}
}

void history_fini(struct history *h)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		free(h->objs[i].bytes);
		free(h->objs[i].before);
		free(h->objs[i].steps);
	}
}

uint32_t history_csum(const uint8_t *blk)
{
	if (blk[0] == 0 && memcmp(blk, blk + 1, BLK_BYTES - 1) == 0)
		return 0;
	return crc32c(0, blk, BLK_BYTES);
}

static struct history_state *history_last(const struct history_obj *o)
{
	return &o->steps[o->n - 1].state;
}

uint64_t history_size(const struct history_obj *o)
{
	return history_last(o)->size;
}

static bool attrs_equal(const struct history_attrs *a, const struct history_attrs *b)
{
	return a->reserved_nblks == b->reserved_nblks && a->expires_ns == b->expires_ns &&
	       a->readonly == b->readonly;
}

bool history_allows_attrs(const struct history_obj *o, const struct history_attrs *attrs)
{
	struct history_attrs sent = o->attrs_sent;

	if (o->life == HISTORY_COMING && sent.expires_ns > 0)
		sent.expires_ns = attrs->expires_ns; /* when that is the answer says */
	return attrs_equal(&o->attrs, attrs) || attrs_equal(&sent, attrs);
}

bool history_is_late(const struct history_obj *o, uint64_t now_ns)
{
	return o->attrs.expires_ns > 0 && o->attrs.expires_ns <= now_ns;
}

static void history_untie(struct history *h, const struct history_obj *o);

/* Another state, like the last one. */
static struct history_state *history_push(struct history_obj *o)
{
	if (o->n == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 16;
		o->steps = oom_reallocarray(o->steps, o->cap, sizeof(*o->steps));
	}
	if (o->n > 0)
		o->steps[o->n] = o->steps[o->n - 1];
	else
		memset(&o->steps[0], 0, sizeof(o->steps[0]));
	return &o->steps[o->n++].state;
}

void history_begin(struct history *h, struct history_obj *o, const char *spec,
		   const struct history_obj *src, uint64_t size)
{
	o->life = HISTORY_COMING;
	o->attrs = (struct history_attrs){0};
	o->attrs_sent = o->attrs;
	history_untie(h, o);
	o->n = 0;
	o->synced = 0;
	o->pending = false;
	(void)snprintf(o->spec, sizeof(o->spec), "%s", spec);
	history_push(o)->size = size;
	if (src) {
		o->steps[0].state = *history_last(src);
		memcpy(o->bytes, src->bytes, HISTORY_BYTES);
	} else {
		memset(o->bytes, 0, HISTORY_BYTES);
	}
}

void history_end(struct history_obj *o)
{
	o->life = HISTORY_NONE;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Before the first change of an operation. */
static struct history_state *history_open(struct history_obj *o)
{
	if (!o->pending) {
		(void)history_push(o);
		o->steps[o->n - 1].seq = UINT64_MAX;
		o->pending = true;
		o->kept = 0;
		o->kept_end = 0;
	}
	return history_last(o);
}

/* These bytes are about to change. */
static void history_keep(struct history_obj *o, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	if (o->kept == o->kept_end)
		o->kept = o->kept_end = off;
	if (off < o->kept) {
		memcpy(o->before + off, o->bytes + off, o->kept - off);
		o->kept = off;
	}
	if (end > o->kept_end) {
		memcpy(o->before + o->kept_end, o->bytes + o->kept_end, end - o->kept_end);
		o->kept_end = end;
	}
}

/* These bytes have changed. */
static void history_sum(struct history_obj *o, uint64_t off, uint64_t len)
{
	uint64_t end = len > 0 ? (off + len - 1) / BLK_BYTES + 1 : 0;

	for (uint64_t b = off / BLK_BYTES; b < end; b++)
		history_last(o)->csums[b] = history_csum(o->bytes + b * BLK_BYTES);
}

void history_write(struct history_obj *o, uint64_t off, const uint8_t *bytes, uint64_t len)
{
	struct history_state *state = history_open(o);

	MUST(len <= HISTORY_BYTES && off <= HISTORY_BYTES - len, "too large");
	history_keep(o, off, len);
	memcpy(o->bytes + off, bytes, len);
	if (off + len > state->size)
		state->size = off + len;
	history_sum(o, off, len);
}

void history_zero(struct history_obj *o, uint64_t off, uint64_t len)
{
	(void)history_open(o);
	history_keep(o, off, len);
	memset(o->bytes + off, 0, len); /* behind the end all is zero */
	history_sum(o, off, len);
}

void history_resize(struct history_obj *o, uint64_t size)
{
	struct history_state *state = history_open(o);
	uint64_t old = state->size;

	state->size = size;
	if (size < old) {
		history_keep(o, size, old - size);
		memset(o->bytes + size, 0, old - size);
		history_sum(o, size, old - size);
	}
}

void history_become(struct history_obj *o, const struct history_obj *src)
{
	struct history_state *state = history_open(o);

	*state = *history_last(src);
	history_keep(o, 0, HISTORY_BYTES);
	memcpy(o->bytes, src->bytes, HISTORY_BYTES);
}

void history_sent(struct history_obj *o)
{
	(void)history_open(o);
}

bool history_changes(const struct history_obj *o)
{
	return o->pending && memcmp(&o->steps[o->n - 1].state, &o->steps[o->n - 2].state,
				    sizeof(struct history_state)) != 0;
}

void history_answered(struct history *h, struct history_obj *o, bool done)
{
	bool changes = history_changes(o);

	MUST(o->pending, "an answer to nothing");
	o->pending = false;
	o->steps[o->n - 1].seq = ++h->seq;
	if (done && changes) /* what has changed nothing is in no order with others */
		return;
	o->n--;
	memcpy(o->bytes + o->kept, o->before + o->kept, o->kept_end - o->kept);
}

uint32_t history_mark(const struct history_obj *o)
{
	return o->n - 1 - o->pending;
}

void history_synced(struct history_obj *o, uint32_t mark)
{
	if (mark > o->synced)
		o->synced = mark;
}

/* ---- after a power cut ----------------------------------------------------------------------- */

bool history_allows(const struct history_obj *o, const struct history_state *state, uint32_t *k)
{
	for (uint32_t i = o->synced; i < o->n; i++) {
		if (memcmp(&o->steps[i].state, state, sizeof(*state)) == 0) {
			*k = i;
			return true;
		}
	}
	return false;
}

/* Is the object as it was when "seq" operations had been answered? */
static bool history_was(const struct history_obj *o, uint64_t seq,
			const struct history_state *state)
{
	uint32_t k = 0;

	while (k + 1 < o->n && o->steps[k + 1].seq <= seq)
		k++;
	return k >= o->synced && memcmp(&o->steps[k].state, state, sizeof(*state)) == 0;
}

/* Is it as it was at that moment, or at some moment before? */
static bool history_was_before(const struct history_obj *o, uint64_t seq,
			       const struct history_state *state)
{
	uint32_t k = o->synced;

	while (k < o->n && (k == 0 || o->steps[k].seq <= seq)) {
		if (memcmp(&o->steps[k].state, state, sizeof(*state)) == 0)
			return true;
		k++;
	}
	return false;
}

typedef bool history_was_fn(const struct history_obj *o, uint64_t seq,
			    const struct history_state *state);

static bool history_tie_fits(const struct history *h, const struct history_tie *tie, uint64_t seq,
			     const struct history_state *const *states, history_was_fn *was)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (tie->objs & (1u << i) && states[i] && !was(&h->objs[i], seq, states[i]))
			return false;
	return true;
}

static void history_tell_tie(const struct history *h, const struct history_tie *tie,
			     const struct history_state *const *states)
{
	(void)fprintf(stderr, "tied since answer %llu, of %llu:\n", (unsigned long long)tie->seq,
		      (unsigned long long)h->seq);
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		const struct history_obj *o = &h->objs[i];

		if (!(tie->objs & (1u << i)) || !states[i])
			continue;
		(void)fprintf(stderr, "  %s: as after", o->spec);
		for (uint32_t k = o->synced; k < o->n; k++)
			if (memcmp(&o->steps[k].state, states[i], sizeof(*states[i])) == 0)
				(void)fprintf(stderr, " %llu", (unsigned long long)o->steps[k].seq);
		(void)fprintf(stderr, "; changed by");
		for (uint32_t k = o->synced; k < o->n; k++)
			(void)fprintf(stderr, " %llu", (unsigned long long)o->steps[k].seq);
		(void)fprintf(stderr, "\n");
	}
}

bool history_allows_tied(const struct history *h, const struct history_state *const *states)
{
	for (unsigned int t = 0; t < h->nties; t++) {
		const struct history_tie *tie = &h->ties[t];
		bool fits = history_tie_fits(h, tie, tie->seq, states, history_was_before);

		for (uint64_t seq = tie->seq; !fits && seq <= h->seq; seq++)
			fits = history_tie_fits(h, tie, seq, states, history_was);
		if (!fits) {
			history_tell_tie(h, tie, states);
			return false;
		}
	}
	return true;
}

bool history_is_tied(const struct history *h, unsigned int i)
{
	for (unsigned int t = 0; t < h->nties; t++)
		if (h->ties[t].objs & (1u << i))
			return true;
	return false;
}

void history_tie_ended(struct history *h, unsigned int i)
{
	for (unsigned int t = 0; t < h->nties; t++)
		h->ties[t].objs &= ~(1u << i);
}

bool history_tie(struct history *h, unsigned int i, unsigned int j)
{
	uint32_t objs = (1u << i) | (1u << j);

	if (h->nties == HISTORY_TIES)
		return false;
	for (unsigned int t = h->nties; t-- > 0;) /* what is tied later holds all of before */
		if (h->ties[t].objs & objs)
			objs |= h->ties[t].objs;
	h->ties[h->nties++] = (struct history_tie){objs, h->seq};
	return true;
}

/* ---- changes of several objects ---------------------------------------------------------------- */

struct history_unit *history_unit(struct history *h, uint32_t objs)
{
	struct history_unit *unit = NULL;

	for (unsigned int u = 0; u < HISTORY_UNITS && !unit; u++)
		if (h->units[u].objs == 0)
			unit = &h->units[u];
	if (!unit)
		return NULL;
	unit->objs = objs;
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (objs & (1u << i))
			unit->steps[i] = h->objs[i].n - 1;
	return unit;
}

void history_unit_answered(struct history *h, struct history_unit *unit, bool done)
{
	uint64_t seq = h->seq;

	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		struct history_obj *o = &h->objs[i];

		if (!(unit->objs & (1u << i)))
			continue;
		h->seq = seq; /* all at one time */
		history_answered(h, o, done);
		if (o->n - 1 != unit->steps[i])
			unit->objs &= ~(1u << i); /* of this one it has changed nothing */
	}
}

/* Is one of the states from step "from" to before step "end"? */
static bool history_is_within(const struct history_obj *o, uint32_t from, uint32_t end,
			      const struct history_state *state)
{
	for (uint32_t k = from < o->synced ? o->synced : from; k < end; k++)
		if (memcmp(&o->steps[k].state, state, sizeof(*state)) == 0)
			return true;
	return false;
}

bool history_allows_units(const struct history *h, const struct history_state *const *states)
{
	for (unsigned int u = 0; u < HISTORY_UNITS; u++) {
		const struct history_unit *unit = &h->units[u];
		bool with = true;
		bool without = true;

		for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
			const struct history_obj *o = &h->objs[i];

			if (!(unit->objs & (1u << i)) || !states[i])
				continue;
			with = with && history_is_within(o, unit->steps[i], o->n, states[i]);
			without = without && history_is_within(o, 0, unit->steps[i], states[i]);
		}
		if (!with && !without)
			return false;
	}
	return true;
}

/* It is another object from now on. */
static void history_untie(struct history *h, const struct history_obj *o)
{
	for (unsigned int u = 0; u < HISTORY_UNITS; u++)
		h->units[u].objs &= ~(1u << (o - h->objs));
	history_tie_ended(h, (unsigned int)(o - h->objs));
}

void history_settle(struct history *h, struct history_obj *o, const struct history_state *state,
		    const uint8_t *bytes)
{
	o->life = HISTORY_THERE;
	history_untie(h, o);
	o->n = 0;
	o->synced = 0;
	o->pending = false;
	*history_push(o) = *state;
	memcpy(o->bytes, bytes, HISTORY_BYTES);
}
