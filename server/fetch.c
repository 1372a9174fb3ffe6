/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/fetch.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

/* A piece of a fetch that lies in one piece on the device. */
struct fetch_piece {
	pblk_t src;
	uint32_t first; /* index of its first block in the fetch */
	uint32_t nblks;
};

void fetcher_init(struct fetcher *fetcher, struct map *map, struct dev *dev,
		  struct worker_pool *pool)
{
	*fetcher = (struct fetcher){.map = map, .dev = dev, .pool = pool};
	TAILQ_INIT(&fetcher->order);
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

/* Looks up every wanted block: holes, pieces to read, and the checksums of their blocks. */
static int fetch_look_up(struct fetch *fetch, struct map_view *view, struct fetch_piece *pieces,
			 uint32_t *npieces, uint32_t *csums)
{
	uint32_t first;
	uint32_t left;

	*npieces = 0;
	for (uint32_t at = 0; (left = fetch_run(fetch->want, at, &first)) > 0;) {
		struct map_lookup found;
		uint32_t n;
		int err = map_begin(view, fetch->oid, lblk(fetch->blk.n + first), left,
				    MAP_FOR_READ, &found, csums + first);

		if (err < 0)
			return err;
		n = (uint32_t)found.nblks;
		if (found.src.kind == MAP_MAPPED)
			pieces[(*npieces)++] = (struct fetch_piece){found.src.blk, first, n};
		else
			fetch->holes |= (uint32_t)(((UINT64_C(1) << n) - 1) << first);
		at = first + n;
	}
	return 0;
}

static int fetch_verify(const struct fetch *fetch, const struct fetch_piece *piece,
			const uint32_t *csums)
{
	int err = 0;

	for (uint32_t i = 0; i < piece->nblks; i++) {
		uint32_t blk = piece->first + i;
		uint32_t have = crc32c(0, fetch->bufs[blk], BLK_BYTES);

		if (have == csums[blk])
			continue;
		log_event(LOG_ERROR, "read-checksum",
			  "object=%" PRIu64 " offset=%" PRIu64 " physical=%" PRIu64
			  " want=%08" PRIx32 " have=%08" PRIx32,
			  fetch->oid, (fetch->blk.n + blk) << BLK_SHIFT, piece->src.n + i,
			  csums[blk], have);
		err = -ERR_CSUM;
	}
	return err;
}

static int fetch_read(struct fetch *fetch, const struct fetch_piece *piece, const uint32_t *csums)
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
	return fetch_verify(fetch, piece, csums);
}

static WORKER_FN void fetch_run_job(struct worker_job *job)
{
	struct fetch *fetch = CONTAINER_OF(job, struct fetch, job);
	struct fetch_piece pieces[FETCH_MAX_BLKS];
	uint32_t csums[FETCH_MAX_BLKS];
	uint32_t npieces = 0;
	struct map_view *view;

	ASSERT_WORKER();
	fetch->err = map_view_begin(fetch->fetcher->map, &view);
	if (fetch->err < 0)
		return;
	fetch->err = fetch_look_up(fetch, view, pieces, &npieces, csums);
	map_view_end(view); /* the read may take long: what it reads is kept by the order */
	for (uint32_t i = 0; i < npieces && fetch->err == 0; i++)
		fetch->err = fetch_read(fetch, &pieces[i], csums);
}

/* Calls back the barriers that nothing older stands before. */
static void fetch_pass_barriers(struct fetcher *fetcher)
{
	struct fetch_entry *entry;

	while ((entry = TAILQ_FIRST(&fetcher->order)) && entry->passed) {
		TAILQ_REMOVE(&fetcher->order, entry, link);
		entry->passed(entry);
	}
}

static LOOP_FN void fetch_job_done(struct worker_job *job)
{
	struct fetch *fetch = CONTAINER_OF(job, struct fetch, job);
	struct fetcher *fetcher = fetch->fetcher;

	TAILQ_REMOVE(&fetcher->order, &fetch->entry, link);
	fetch->done(fetch);
	fetch_pass_barriers(fetcher);
}

void fetch_start(struct fetcher *fetcher, struct fetch *fetch)
{
	ASSERT_LOOP();
	assert(fetch->want != 0);
	fetch->err = 0;
	fetch->holes = 0;
	fetch->fetcher = fetcher;
	fetch->job.run = fetch_run_job;
	fetch->job.done = fetch_job_done;
	fetch->entry.passed = NULL;
	TAILQ_INSERT_TAIL(&fetcher->order, &fetch->entry, link);
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
