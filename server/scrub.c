/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/scrub.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

/* What one piece may cost beside the blocks that it reads. */
#define SCRUB_PIECES  64u
#define SCRUB_LOOKUPS 2048u
#define SCRUB_RUNS    64u
#define SCRUB_NODES   512u
#define SCRUB_MS      100u /* a device that is slow, or tries bad sectors again: after so long it ends */

/* What lies in one piece on the device, or is to lie there. */
struct scrub_piece {
	uint64_t blk;
	pblk_t at;
	uint32_t first; /* of the blocks that have room in the buffer */
	uint32_t nblks;
	bool away; /* in the journal only */
};

struct scrub_plan {
	struct scrub *scrub;
	struct map_view *view;
	uint64_t pos; /* planned up to here */
	uint32_t nlookups;
	uint32_t npieces;
	uint32_t nblks; /* of these */
	struct scrub_piece pieces[SCRUB_PIECES];
	uint32_t csums[SCRUB_MAX_BLKS];
};

/* ---- damages --------------------------------------------------------------------------------- */

/* Blocks in one piece, after those that were noted before; false: there is no room. */
static bool scrub_note(struct scrub *s, const struct scrub_damage *damage)
{
	struct scrub_damage *last = s->n > 0 ? &s->damages[s->n - 1] : NULL;

	if (last && last->kind == damage->kind && last->kind != SCRUB_MAP &&
	    last->blk.n + last->nblks == damage->blk.n &&
	    last->at.n + last->nblks == damage->at.n) {
		last->nblks += damage->nblks;
		return true;
	}
	if (s->n == s->max)
		return false;
	s->damages[s->n++] = *damage;
	return true;
}

static void scrub_log(const struct scrub *s)
{
	static const char *const events[] = {[SCRUB_CSUM] = "verify-checksum",
					     [SCRUB_READ] = "verify-read-failed",
					     [SCRUB_MAP] = "verify-metadata"};

	for (uint32_t i = 0; i < s->n; i++) {
		const struct scrub_damage *d = &s->damages[i];

		log_event(LOG_ERROR, events[d->kind],
			  "object=%" PRIu64 " offset=%" PRIu64 " bytes=%" PRIu64
			  " physical=%" PRIu64,
			  s->oid, d->blk.n << BLK_SHIFT, d->nblks << BLK_SHIFT, d->at.n);
	}
}

/* ---- planning -------------------------------------------------------------------------------- */

/* Is what was looked up on the device?  To be asked after the look-up: who gives a block up leaves it
 * pinned. */
static bool scrub_is_away(const struct scrub *s, uint64_t at)
{
	return s->cached && blkcache_is_pinned(s->cached, pblk(at));
}

/* Takes one mapped run, whose checksums are in place, as far as there is room. */
static bool plan_take(struct scrub_plan *plan, uint64_t at, uint32_t nblks)
{
	uint32_t i = 0;

	while (i < nblks) {
		bool away = scrub_is_away(plan->scrub, at + i);
		uint32_t n = 1;

		if (plan->npieces == SCRUB_PIECES)
			return false;
		while (i + n < nblks && scrub_is_away(plan->scrub, at + i + n) == away)
			n++;
		plan->pieces[plan->npieces++] =
		    (struct scrub_piece){plan->pos, pblk(at + i), plan->nblks + i, n, away};
		plan->pos += n;
		i += n;
	}
	return true;
}

/* Whatever is below a value that is damaged.  Told in order: what is planned is read before it. */
static bool plan_lost(struct scrub_plan *plan, uint64_t nblks)
{
	const struct scrub_damage lost = {lblk(plan->pos), nblks, pblk(0), SCRUB_MAP};

	if (plan->npieces > 0 || !scrub_note(plan->scrub, &lost))
		return false;
	plan->pos += nblks;
	return true;
}

/* The range up to "end", which somebody else does not have in the same place.  > 0: full. */
static int plan_range(struct scrub_plan *plan, uint64_t end)
{
	struct scrub *s = plan->scrub;
	bool on = true;

	while (on && plan->pos < end) {
		uint32_t room = s->max_blks - plan->nblks;
		struct map_lookup found;
		uint32_t n;
		int err;

		if (room == 0 || plan->nlookups++ == SCRUB_LOOKUPS)
			return 1;
		/* of what is not mapped all is told, of what is mapped as much as has room */
		err = map_begin_past(plan->view, s->oid, lblk(plan->pos), end - plan->pos, &found,
				     NULL);
		if (err == 0 && found.src.kind == MAP_MAPPED)
			err = map_begin_past(plan->view, s->oid, lblk(plan->pos),
					     found.nblks < room ? found.nblks : room, &found,
					     plan->csums + plan->nblks);
		if (err < 0)
			return err;
		n = (uint32_t)found.nblks;
		if (found.src.kind == MAP_LOST) {
			on = plan_lost(plan, found.nblks);
		} else if (found.src.kind == MAP_MAPPED) {
			on = plan_take(plan, found.src.blk.n, n);
			plan->nblks += n;
		} else {
			plan->pos += found.nblks;
		}
	}
	return on ? 0 : 1;
}

/* Only what the older one does not have in the same place; > 0: full. */
static int plan_difference(struct scrub_plan *plan, const struct map_diff *diff)
{
	int err = 0;

	for (uint32_t i = 0; i < diff->nruns && err == 0; i++) {
		uint64_t end = plan->pos + diff->runs[i].nblks;

		if (diff->runs[i].kind == MAP_DIFF_DATA)
			err = plan_range(plan, end);
		else
			plan->pos = end;
	}
	return err;
}

static int plan_make(struct scrub_plan *plan)
{
	struct scrub *s = plan->scrub;
	struct map_diff_run runs[SCRUB_RUNS];
	struct map_diff diff = {.blk = lblk(s->blk),
				.nblks = s->end - s->blk,
				.max_runs = SCRUB_RUNS,
				.max_nodes = SCRUB_NODES,
				.runs = runs};
	int err = -ERR_NOENT;

	if (s->older)
		err = map_diff(plan->view, s->older, s->oid, &diff);
	if (err == 0)
		err = plan_difference(plan, &diff);
	else if (err == -ERR_NOENT || err == -ERR_NODE) /* nothing is left out, and all is told */
		err = plan_range(plan, s->end);
	return err < 0 ? err : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int scrub_read(const struct scrub *s, const struct scrub_piece *piece, uint32_t i,
		      uint32_t nblks)
{
	struct iovec iov = {s->buf + (size_t)(piece->first + i) * BLK_BYTES,
			    (size_t)nblks * BLK_BYTES};

	return dev_read(s->dev, pblk(piece->at.n + i), &iov, 1);
}

/* Is that block of the object still there?  What cannot be looked up any more is. */
static bool scrub_still_maps(const struct scrub *s, uint64_t blk, uint64_t at)
{
	struct map_lookup found;
	struct map_view *view;
	int err = map_view_begin(s->map, &view);

	if (err < 0)
		return true;
	err = map_begin(view, s->oid, lblk(blk), 1, MAP_FOR_READ, &found, NULL);
	map_view_end(view);
	if (err == -ERR_NOENT)
		return false;
	return err < 0 || (found.src.kind == MAP_MAPPED && found.src.blk.n == at);
}

/* One block that is bad: false where there is no room to tell of it. */
static bool scrub_bad(struct scrub *s, uint64_t blk, uint64_t at, enum scrub_kind kind)
{
	const struct scrub_damage damage = {lblk(blk), 1, pblk(at), kind};

	return !scrub_still_maps(s, blk, at) || scrub_note(s, &damage);
}

/* Block i of a piece, which is read again by itself where the piece could not be. */
static bool scrub_block(struct scrub_plan *plan, const struct scrub_piece *piece, uint32_t i,
			bool again)
{
	struct scrub *s = plan->scrub;
	uint32_t at = piece->first + i;
	bool on = true;

	if (again && scrub_read(s, piece, i, 1) < 0)
		on = scrub_bad(s, piece->blk + i, piece->at.n + i, SCRUB_READ);
	else if (crc32c(0, s->buf + (size_t)at * BLK_BYTES, BLK_BYTES) != plan->csums[at])
		on = scrub_bad(s, piece->blk + i, piece->at.n + i, SCRUB_CSUM);
	if (on) {
		s->read_nblks++;
		s->next = piece->blk + i + 1;
	}
	return on;
}

static bool scrub_is_late(uint64_t since_ms)
{
	return clock_now_ms() - since_ms >= SCRUB_MS;
}

/* false: there is no room for what was found, or it has taken too long. */
static bool scrub_piece(struct scrub_plan *plan, const struct scrub_piece *piece, uint64_t since_ms)
{
	struct scrub *s = plan->scrub;
	bool again;

	s->next = piece->blk; /* what is before it is done */
	if (piece->away) {
		s->pending_nblks += piece->nblks;
		s->next += piece->nblks;
		return true;
	}
	again = scrub_read(s, piece, 0, piece->nblks) < 0;
	for (uint32_t i = 0; i < piece->nblks; i++)
		if (!scrub_block(plan, piece, i, again) || (again && scrub_is_late(since_ms)))
			return false;
	return !scrub_is_late(since_ms);
}

/* Up to the end of what was planned, if it comes so far. */
static void scrub_pieces(struct scrub_plan *plan)
{
	uint64_t since_ms = clock_now_ms();

	for (uint32_t i = 0; i < plan->npieces; i++)
		if (!scrub_piece(plan, &plan->pieces[i], since_ms))
			return;
	plan->scrub->next = plan->pos;
}

int scrub_run(struct scrub *s)
{
	struct scrub_plan plan = {.scrub = s, .pos = s->blk};
	int err;

	ASSERT_WORKER();
	assert(s->blk < s->end && s->max > 0 && s->max_blks > 0 && s->max_blks <= SCRUB_MAX_BLKS);
	s->next = s->blk;
	s->read_nblks = 0;
	s->pending_nblks = 0;
	s->n = 0;
	err = map_view_begin(s->map, &plan.view);
	if (err < 0)
		return err;
	err = plan_make(&plan);
	map_view_end(
	    plan.view); /* the reads may take long: the order of fetches keeps what they read */
	if (err < 0)
		return err;
	scrub_pieces(&plan);
	scrub_log(s);
	return 0;
}
