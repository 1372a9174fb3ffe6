/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/fetch.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

void fetcher_init(struct fetcher *fetcher, struct map *map, struct dev *dev,
		  struct worker_pool *pool)
{
	*fetcher = (struct fetcher){
	    .map = map, .dev = dev, .pool = pool, .lock = PTHREAD_MUTEX_INITIALIZER};
	TAILQ_INIT(&fetcher->order);
	TAILQ_INIT(&fetcher->claims);
}

/* The run of wanted blocks at or after "from": its first index, and its length (0: none). */
static uint32_t fetch_run(uint32_t want, uint32_t from, uint32_t *first)
{
	uint32_t n = 0;

	while (from < FETCH_MAX_BLKS && !(want & 1u << from))
		from++;
	while (from + n < FETCH_MAX_BLKS && want & 1u << (from + n))
		n++;
	*first = from;
	return n;
}

static uint32_t fetch_bits(uint32_t first, uint32_t n)
{
	return (uint32_t)(((UINT64_C(1) << n) - 1) << first);
}

/* Looks up every wanted block: holes, where the others are, and the checksums of these. */
static int fetch_look_up(struct fetch *fetch, struct map_view *view)
{
	uint32_t first;
	uint32_t left;

	for (uint32_t at = 0; (left = fetch_run(fetch->want, at, &first)) > 0;) {
		struct map_lookup found;
		uint32_t n;
		int err = map_begin(view, fetch->oid, lblk(fetch->blk.n + first), left,
				    MAP_FOR_READ, &found, fetch->csums + first);

		if (err < 0)
			return err;
		n = (uint32_t)found.nblks;
		if (found.src.kind == MAP_HOLE)
			fetch->holes |= fetch_bits(first, n);
		else
			for (uint32_t i = 0; i < n; i++)
				fetch->src[first + i] = pblk(found.src.blk.n + i);
		at = first + n;
	}
	return 0;
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* Who has claimed the block, or 0.  Under the lock. */
static uint64_t fetch_claimant(const struct fetcher *fetcher, pblk_t blk)
{
	const struct fetch *other;

	TAILQ_FOREACH (other, &fetcher->claims, claim_link)
		for (uint32_t i = 0; i < other->npieces; i++)
			if (blk.n - other->pieces[i].src.n < other->pieces[i].nblks)
				return other->id;
	return 0;
}

/*
 * Is the block to be read from the device?  Claims are looked at before hints: a block enters memory
 * before its claim ends, so that it is seen in one place or the other.
 */
static bool fetch_must_read(struct fetch *fetch, uint32_t i)
{
	uint64_t claimant;

	if (fetch->cached && blkcache_is_pinned(fetch->cached, fetch->src[i]))
		return false; /* the device does not have it yet */
	claimant = fetch_claimant(fetch->fetcher, fetch->src[i]);
	if (claimant != 0) {
		fetch->rival = claimant;
		return false;
	}
	if (fetch->force & 1u << i)
		return true;
	return !fetch->cached || !blkcache_hint(fetch->cached, fetch->src[i]);
}

static void fetch_add_piece(struct fetch *fetch, uint32_t i)
{
	struct fetch_piece *piece = &fetch->pieces[fetch->npieces];

	if (fetch->npieces > 0 && piece[-1].first + piece[-1].nblks == i &&
	    piece[-1].src.n + piece[-1].nblks == fetch->src[i].n) {
		piece[-1].nblks++;
		return;
	}
	*piece = (struct fetch_piece){fetch->src[i], i, 1};
	fetch->npieces++;
}

/* Claims what has to be read. */
static void fetch_claim(struct fetch *fetch)
{
	struct fetcher *fetcher = fetch->fetcher;
	uint32_t mapped = fetch->want & ~fetch->holes;

	pthread_mutex_lock(&fetcher->lock);
	for (uint32_t i = 0; i < FETCH_MAX_BLKS; i++)
		if (mapped & 1u << i && fetch_must_read(fetch, i))
			fetch_add_piece(fetch, i);
	fetch->claims = fetch->npieces > 0;
	if (fetch->claims)
		TAILQ_INSERT_TAIL(&fetcher->claims, fetch, claim_link);
	pthread_mutex_unlock(&fetcher->lock);
}

static void fetch_unclaim(struct fetch *fetch)
{
	struct fetch_follower *follower;

	if (!fetch->claims)
		return;
	pthread_mutex_lock(&fetch->fetcher->lock);
	TAILQ_REMOVE(&fetch->fetcher->claims, fetch, claim_link);
	pthread_mutex_unlock(&fetch->fetcher->lock);
	while ((follower = STAILQ_FIRST(&fetch->followers))) {
		STAILQ_REMOVE_HEAD(&fetch->followers, link);
		follower->go(follower);
	}
}

bool fetch_follow(struct fetcher *fetcher, uint64_t rival, struct fetch_follower *follower)
{
	struct fetch *fetch;

	ASSERT_LOOP();
	pthread_mutex_lock(&fetcher->lock);
	TAILQ_FOREACH (fetch, &fetcher->claims, claim_link)
		if (fetch->id == rival)
			break;
	pthread_mutex_unlock(&fetcher->lock);
	if (!fetch)
		return false;
	/* only the loop ends claims, so it is still there */
	STAILQ_INSERT_TAIL(&fetch->followers, follower, link);
	return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int fetch_verify(const struct fetch *fetch, const struct fetch_piece *piece)
{
	int err = 0;

	for (uint32_t i = 0; i < piece->nblks; i++) {
		uint32_t blk = piece->first + i;
		uint32_t have = crc32c(0, fetch->bufs[blk], BLK_BYTES);

		if (have == fetch->csums[blk])
			continue;
		log_event(LOG_ERROR, "read-checksum",
			  "object=%" PRIu64 " offset=%" PRIu64 " physical=%" PRIu64
			  " want=%08" PRIx32 " have=%08" PRIx32,
			  fetch->oid, (fetch->blk.n + blk) << BLK_SHIFT, piece->src.n + i,
			  fetch->csums[blk], have);
		err = -ERR_CSUM;
	}
	return err;
}

static int fetch_read(struct fetch *fetch, const struct fetch_piece *piece)
{
	struct iovec iov[FETCH_MAX_BLKS];
	int err;

	for (uint32_t i = 0; i < piece->nblks; i++)
		iov[i] = (struct iovec){fetch->bufs[piece->first + i], BLK_BYTES};
	err = dev_read(fetch->fetcher->dev, piece->src, iov, (int)piece->nblks);
	if (err < 0) {
		log_event(LOG_ERROR, "read-failed",
			  "object=%" PRIu64 " offset=%" PRIu64 " physical=%" PRIu64 " error=%s",
			  fetch->oid, (fetch->blk.n + piece->first) << BLK_SHIFT, piece->src.n,
			  err_name(err));
		return err;
	}
	err = fetch_verify(fetch, piece);
	if (err == 0)
		fetch->read |= fetch_bits(piece->first, piece->nblks);
	return err;
}

static WORKER_FN void fetch_run_job(struct worker_job *job)
{
	struct fetch *fetch = CONTAINER_OF(job, struct fetch, job);
	struct map_view *view;

	ASSERT_WORKER();
	fetch->err = map_view_begin(fetch->fetcher->map, &view);
	if (fetch->err < 0)
		return;
	fetch->err = fetch_look_up(fetch, view);
	map_view_end(view); /* the read may take long: what it reads is kept by the order */
	if (fetch->err == 0)
		fetch_claim(fetch);
	for (uint32_t i = 0; i < fetch->npieces && fetch->err == 0; i++)
		fetch->err = fetch_read(fetch, &fetch->pieces[i]);
}

/* ---- the order ------------------------------------------------------------------------------- */

/* Calls back the barriers that nothing older stands before. */
static void fetch_pass_barriers(struct fetcher *fetcher)
{
	struct fetch_entry *entry;

	while ((entry = TAILQ_FIRST(&fetcher->order)) && entry->passed) {
		TAILQ_REMOVE(&fetcher->order, entry, link);
		entry->passed(entry);
	}
}

void fetch_enter(struct fetcher *fetcher, struct fetch_entry *entry)
{
	ASSERT_LOOP();
	entry->passed = NULL;
	TAILQ_INSERT_TAIL(&fetcher->order, entry, link);
}

void fetch_leave(struct fetcher *fetcher, struct fetch_entry *entry)
{
	ASSERT_LOOP();
	TAILQ_REMOVE(&fetcher->order, entry, link);
	fetch_pass_barriers(fetcher);
}

static LOOP_FN void fetch_job_done(struct worker_job *job)
{
	struct fetch *fetch = CONTAINER_OF(job, struct fetch, job);
	struct fetcher *fetcher = fetch->fetcher;

	TAILQ_REMOVE(&fetcher->order, &fetch->entry, link);
	if (fetch->install)
		fetch->install(fetch);
	fetch_unclaim(fetch);
	fetch->done(fetch);
	fetch_pass_barriers(fetcher);
}

void fetch_start(struct fetcher *fetcher, struct fetch *fetch)
{
	ASSERT_LOOP();
	assert(fetch->want != 0);
	fetch->err = 0;
	fetch->holes = 0;
	fetch->read = 0;
	fetch->rival = 0;
	fetch->npieces = 0;
	fetch->claims = false;
	fetch->id = ++fetcher->last_id;
	fetch->fetcher = fetcher;
	STAILQ_INIT(&fetch->followers);
	fetch->job.run = fetch_run_job;
	fetch->job.done = fetch_job_done;
	fetch_enter(fetcher, &fetch->entry);
	worker_submit(fetcher->pool, &fetch->job);
}

void fetch_barrier(struct fetcher *fetcher, struct fetch_entry *entry,
		   void (*passed)(struct fetch_entry *entry))
{
	ASSERT_LOOP();
	entry->passed = passed;
	TAILQ_INSERT_TAIL(&fetcher->order, entry, link);
	fetch_pass_barriers(fetcher);
}
