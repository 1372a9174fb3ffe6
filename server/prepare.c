/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/prepare.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

#define WRITE_MAX_BLKS	   256u	 /* 1 MiB: how long a pause may have to wait */
#define WINDOW_EXTENTS_MAX 1024u /* the loop passes over so many at a time */

enum prepare_state { PREPARE_IDLE, PREPARE_LOOKING, PREPARE_WRITING };

struct prepare {
	struct prepare_config config;
	enum prepare_state state;
	bool stopping;
	bool failed; /* a write did: none is tried any more */
	atomic_bool paused;
	uint8_t *zeros; /* a block of them */
	struct worker_job job;

	/* The window, as block numbers: all of it before "pos" has been prepared. */
	uint64_t start;
	uint64_t pos;
	uint64_t end;
	uint64_t run_end; /* unwritten from pos up to here */

	pblk_t blk; /* taken out: the worker's to write */
	uint64_t nblks;
	uint64_t written; /* of these */
	int err;
};

static void prepare_step(struct prepare *prep);

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t prepare_write_nblks(const struct prepare *prep)
{
	uint64_t left = prep->nblks - prep->written;

	return left < WRITE_MAX_BLKS ? left : WRITE_MAX_BLKS;
}

static WORKER_FN void prepare_write_run(struct worker_job *job)
{
	struct prepare *prep = CONTAINER_OF(job, struct prepare, job);
	struct iovec iov[WRITE_MAX_BLKS];

	ASSERT_WORKER();
	for (uint32_t i = 0; i < WRITE_MAX_BLKS; i++)
		iov[i] = (struct iovec){prep->zeros, BLK_BYTES};
	while (prep->written < prep->nblks && !atomic_load(&prep->paused)) {
		uint64_t n = prepare_write_nblks(prep);

		prep->err =
		    dev_write(prep->config.dev, pblk(prep->blk.n + prep->written), iov, (int)n);
		if (prep->err < 0)
			break;
		prep->written += n;
	}
}

static void prepare_give_back(struct prepare *prep, uint64_t blk, uint64_t nblks)
{
	if (nblks > 0 && alloc_add(prep->config.alloc, pblk(blk), nblks) < 0)
		log_event(LOG_WARN, "free-blocks-lost-until-restart",
			  "physical=%" PRIu64 " blocks=%" PRIu64, blk, nblks);
}

static LOOP_FN void prepare_write_done(struct worker_job *job)
{
	struct prepare *prep = CONTAINER_OF(job, struct prepare, job);
	uint64_t bad = prep->err < 0 ? prepare_write_nblks(prep) : 0;
	uint64_t at = prep->blk.n + prep->written;
	uint64_t end = prep->blk.n + prep->nblks;

	prepare_give_back(prep, prep->blk.n, prep->written);
	/* what could not be written is not used again before the next start */
	prepare_give_back(prep, at + bad, end - at - bad);
	if (prep->err < 0) {
		log_event(LOG_ERROR, "prepare-stopped",
			  "physical=%" PRIu64 " blocks=%" PRIu64 " error=%s", at, bad,
			  err_name(prep->err));
		prep->failed = true;
	}
	prep->pos = at;
	prep->nblks = 0;
	prep->state = PREPARE_IDLE;
	prep->config.space(prep->config.ctx);
	prepare_step(prep);
}

/* Takes the next free blocks of the unwritten run out of the allocator. */
static bool prepare_take(struct prepare *prep)
{
	pblk_t blk;
	uint64_t n = 0;

	if (prep->pos < prep->run_end)
		n = alloc_find(prep->config.alloc, pblk(prep->pos), &blk);
	if (n == 0 || blk.n >= prep->run_end) {
		if (prep->pos < prep->run_end)
			prep->pos = prep->run_end;
		return false;
	}
	if (n > prep->run_end - blk.n)
		n = prep->run_end - blk.n;
	if (n > PREPARE_PIECE_NBLKS)
		n = PREPARE_PIECE_NBLKS;
	if (alloc_take_range(prep->config.alloc, blk, n) < 0) {
		prep->pos = prep->run_end; /* no memory */
		return false;
	}
	prep->blk = blk;
	prep->nblks = n;
	prep->written = 0;
	prep->err = 0;
	return true;
}

/* ---- looking --------------------------------------------------------------------------------- */

static WORKER_FN void prepare_look_run(struct worker_job *job)
{
	struct prepare *prep = CONTAINER_OF(job, struct prepare, job);
	pblk_t first;
	uint64_t n;

	ASSERT_WORKER();
	n = dev_unwritten(prep->config.dev, pblk(prep->pos), prep->end - prep->pos, &first);
	prep->pos = n > 0 ? first.n : prep->end;
	prep->run_end = prep->pos + n;
}

static LOOP_FN void prepare_look_done(struct worker_job *job)
{
	struct prepare *prep = CONTAINER_OF(job, struct prepare, job);

	prep->state = PREPARE_IDLE;
	prepare_step(prep);
}

static uint64_t prepare_window_end(const struct prepare *prep)
{
	uint64_t left = PREPARE_WINDOW_NBLKS;
	uint64_t end = prep->start;

	for (unsigned int i = 0; i < WINDOW_EXTENTS_MAX && left > 0; i++) {
		pblk_t blk;
		uint64_t n = alloc_find(prep->config.alloc, pblk(end), &blk);

		if (n == 0)
			break;
		if (n > left)
			n = left;
		left -= n;
		end = blk.n + n;
	}
	return end;
}

/* Moves the window to where the allocator is.  False: all of it has been prepared. */
static bool prepare_aim(struct prepare *prep)
{
	uint64_t start = alloc_next(prep->config.alloc).n;

	if (start == prep->start)
		return prep->pos < prep->end;
	if (start < prep->start || prep->pos < start) {
		if (start < prep->pos || prep->run_end < start)
			prep->run_end = start;
		prep->pos = start;
	}
	prep->start = start;
	prep->end = prepare_window_end(prep);
	return prep->pos < prep->end;
}

/* ---- when ------------------------------------------------------------------------------------ */

static bool prepare_may_go_on(const struct prepare *prep)
{
	const struct alloc *al = prep->config.alloc;

	if (prep->stopping || prep->failed || atomic_load(&prep->paused))
		return false;
	return alloc_free_nblks(al) - alloc_reserved_nblks(al) >=
		   PREPARE_PIECE_NBLKS + PREPARE_SLACK_NBLKS &&
	       prep->config.idle(prep->config.ctx);
}

static void prepare_submit(struct prepare *prep, enum prepare_state state)
{
	bool writes = state == PREPARE_WRITING;

	prep->state = state;
	prep->job.run = writes ? prepare_write_run : prepare_look_run;
	prep->job.done = writes ? prepare_write_done : prepare_look_done;
	worker_submit(prep->config.pool, &prep->job);
}

/* What is next, if anything. */
static void prepare_step(struct prepare *prep)
{
	if (!prepare_may_go_on(prep) || !prepare_aim(prep))
		return;
	if (prepare_take(prep))
		prepare_submit(prep, PREPARE_WRITING);
	else if (prep->pos < prep->end)
		prepare_submit(prep, PREPARE_LOOKING);
}

void prepare_tick(struct prepare *prep)
{
	ASSERT_LOOP();
	if (prep->state != PREPARE_IDLE)
		return;
	atomic_store(&prep->paused, false);
	prepare_step(prep);
}

void prepare_pause(struct prepare *prep)
{
	ASSERT_LOOP();
	atomic_store(&prep->paused, true);
}

uint64_t prepare_held_nblks(const struct prepare *prep)
{
	ASSERT_LOOP();
	return prep->nblks;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct prepare *prepare_new(const struct prepare_config *config)
{
	struct prepare *prep = calloc(1, sizeof(*prep));

	if (!prep)
		return NULL;
	prep->zeros = aligned_alloc(BLK_BYTES, BLK_BYTES);
	if (!prep->zeros) {
		free(prep);
		return NULL;
	}
	memset(prep->zeros, 0, BLK_BYTES);
	prep->config = *config;
	return prep;
}

void prepare_stop(struct prepare *prep)
{
	prep->stopping = true;
	atomic_store(&prep->paused, true);
}

void prepare_free(struct prepare *prep)
{
	if (!prep)
		return;
	assert(prep->state == PREPARE_IDLE);
	free(prep->zeros);
	free(prep);
}
