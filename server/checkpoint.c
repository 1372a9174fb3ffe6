/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/recover.h"

#define HOME_WRITES   4u   /* at once: reads are not to wait behind them all */
#define HOME_RUN_BLKS 256  /* of one write */
#define HOMED_BLKS    64u  /* in one turn of the loop: others have theirs between */
#define UNMAPPED_BLKS 512u /* likewise */
#define RETRY_MS      1000u
#define STUCK_FAILS   2u /* so many in a row: commits do not wait for room any more */

enum checkpoint_state {
	CHECKPOINT_IDLE,
	CHECKPOINT_CUTTING,
	CHECKPOINT_HOMING,
	CHECKPOINT_SYNCING,
	CHECKPOINT_FOLDING,
	CHECKPOINT_ENDING, /* the cache is told what is at home */
	CHECKPOINT_RETRY,  /* from the start, where nothing is cut; else from bringing home */
};

STAILQ_HEAD(checkpoint_waiters, checkpoint_waiter);

struct checkpoint_write {
	struct worker_job job;
	struct checkpoint *cp;
	pblk_t dst;
	int n;
	int err;
	struct iovec iov[HOME_RUN_BLKS];
};

/* Freed blocks, of one time between two cuts. */
struct checkpoint_freed {
	struct map_freed list;
	uint64_t nblks;
	size_t told;	     /* so many of the list the cache knows of, */
	uint64_t told_nblks; /* and so much of the next */
};

struct checkpoint {
	struct checkpoint_config config;
	enum checkpoint_state state;
	bool stopping;
	int stop_err; /* what who waits is told then */
	bool again;   /* another one is wanted after this one */

	/* since the last cut */
	struct home home;
	struct checkpoint_freed freed;
	struct loop_msg unmapped; /* the next turn of telling of them */
	bool telling;
	struct checkpoint_waiters waiters;
	uint64_t since_ms; /* the first change was applied; 0: there is none */

	/* of the one under way */
	struct home homing;
	struct checkpoint_freed cut_freed;
	struct checkpoint_waiters cut_waiters;
	struct commit_cut cut;
	bool is_cut;
	struct home_blk *next_home;
	unsigned int writes;
	int err;
	struct commit_req sync;
	struct worker_job job; /* sorting, the mark, the fold */
	struct loop_msg msg;   /* the next turn of the end */
	unsigned int fails;    /* in a row */
	uint64_t retry_at_ms;
};

static void checkpoint_home(struct checkpoint *cp);

/* ---- freed blocks ---------------------------------------------------------------------------- */

static int freed_append(struct checkpoint_freed *freed, const struct map_freed *more)
{
	struct map_freed *list = &freed->list;

	if (list->n + more->n > list->cap) {
		size_t cap = 2 * (list->n + more->n);
		struct map_range *ranges = reallocarray(list->ranges, cap, sizeof(*ranges));

		if (!ranges)
			return -ERR_NOMEM;
		list->ranges = ranges;
		list->cap = cap;
	}
	memcpy(list->ranges + list->n, more->ranges, more->n * sizeof(more->ranges[0]));
	list->n += more->n;
	for (size_t i = 0; i < more->n; i++)
		freed->nblks += more->ranges[i].nblks;
	return 0;
}

static void freed_fini(struct checkpoint_freed *freed)
{
	free(freed->list.ranges);
	*freed = (struct checkpoint_freed){0};
}

static void checkpoint_homed(void *ctx, const struct home_blk *hb)
{
	struct checkpoint *cp = ctx;

	cp->config.homed(cp->config.ctx, hb);
}

static void checkpoint_dropped(void *ctx, const struct home_blk *hb)
{
	struct checkpoint *cp = ctx;

	cp->config.dropped(cp->config.ctx, hb);
}

/* Tells of up to so many of them; false: of all. */
static bool freed_tell(struct checkpoint *cp, uint64_t max_nblks)
{
	struct checkpoint_freed *freed = &cp->freed;

	while (freed->told < freed->list.n) {
		const struct map_range *range = &freed->list.ranges[freed->told];
		uint64_t left = range->nblks - freed->told_nblks;
		uint64_t nblks = left < max_nblks ? left : max_nblks;

		if (nblks == 0)
			return true;
		cp->config.unmapped(cp->config.ctx, pblk(range->blk.n + freed->told_nblks), nblks);
		max_nblks -= nblks;
		freed->told_nblks += nblks;
		if (freed->told_nblks < range->nblks)
			return true;
		freed->told++;
		freed->told_nblks = 0;
	}
	return false;
}

/* A change may free a million blocks. */
static LOOP_FN void checkpoint_tell_unmapped(struct loop_msg *msg)
{
	struct checkpoint *cp = CONTAINER_OF(msg, struct checkpoint, unmapped);

	cp->telling = freed_tell(cp, UNMAPPED_BLKS);
	if (cp->telling)
		loop_post(cp->config.loop, &cp->unmapped);
}

void checkpoint_freed(struct checkpoint *cp, const struct map_freed *freed)
{
	ASSERT_LOOP();
	if (freed->n == 0)
		return;
	for (size_t i = 0; i < freed->n; i++)
		home_drop(&cp->home, freed->ranges[i].blk, freed->ranges[i].nblks,
			  checkpoint_dropped, cp);
	if (freed_append(&cp->freed, freed) < 0) {
		log_event(LOG_WARN, "free-blocks-lost-until-restart", "ranges=%zu", freed->n);
		return;
	}
	if (cp->telling)
		return;
	cp->telling = true;
	loop_post(cp->config.loop, &cp->unmapped);
}

bool checkpoint_fails(const struct checkpoint *cp)
{
	ASSERT_LOOP();
	return cp->state == CHECKPOINT_RETRY;
}

uint64_t checkpoint_freed_nblks(const struct checkpoint *cp)
{
	return cp->freed.nblks + cp->cut_freed.nblks;
}

int checkpoint_add_home(struct checkpoint *cp, pblk_t blk, uint8_t *data, void *owner)
{
	ASSERT_LOOP();
	return home_add(&cp->home, blk, data, owner);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void checkpoint_call(struct checkpoint_waiters *from, int err)
{
	struct checkpoint_waiters list = STAILQ_HEAD_INITIALIZER(list);
	struct checkpoint_waiter *waiter;

	STAILQ_CONCAT(&list, from);
	while ((waiter = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		waiter->ready(waiter, err);
	}
}

static void checkpoint_start(struct checkpoint *cp);
static bool checkpoint_is_due(const struct checkpoint *cp);

static void checkpoint_ended(struct checkpoint *cp)
{
	struct checkpoint_freed freed = cp->cut_freed;

	cp->state = CHECKPOINT_IDLE;
	cp->cut_freed = (struct checkpoint_freed){0};
	cp->config.release(cp->config.ctx, &freed.list);
	freed_fini(&freed);
	checkpoint_call(&cp->cut_waiters, 0);
	if (cp->state == CHECKPOINT_IDLE &&
	    (cp->again || !STAILQ_EMPTY(&cp->waiters) || checkpoint_is_due(cp)))
		checkpoint_start(cp);
}

static LOOP_FN void checkpoint_tell_homed(struct loop_msg *msg)
{
	struct checkpoint *cp = CONTAINER_OF(msg, struct checkpoint, msg);

	if (home_clear_some(&cp->homing, HOMED_BLKS, checkpoint_homed, cp))
		loop_post(cp->config.loop, msg);
	else
		checkpoint_ended(cp);
}

static void checkpoint_end(struct checkpoint *cp)
{
	cp->state = CHECKPOINT_ENDING;
	cp->is_cut = false;
	cp->fails = 0;
	commit_folded(cp->config.commit, cp->cut.tail);
	cp->msg.fn = checkpoint_tell_homed;
	checkpoint_tell_homed(&cp->msg);
}

/* What is frozen stays so, and is brought home once more later; or it is cut once more. */
static void checkpoint_fail(struct checkpoint *cp, int err)
{
	const struct map_freed none = {0};

	log_event(LOG_ERROR, "checkpoint", "error=%s cut=%s", err_name(err),
		  cp->is_cut ? "yes" : "no");
	cp->state = CHECKPOINT_RETRY;
	cp->retry_at_ms = clock_now_ms() + RETRY_MS;
	if (++cp->fails >= STUCK_FAILS)
		commit_set_stuck(cp->config.commit, true);
	checkpoint_call(&cp->cut_waiters, err);
	checkpoint_call(&cp->waiters, err);
	if (err == -ERR_MAP && cp->is_cut) {
		commit_refuse(cp->config.commit);
		cp->config.latched(cp->config.ctx);
	}
	cp->config.release(cp->config.ctx, &none); /* who waits for space waits for nothing now */
}

/* ---- folding --------------------------------------------------------------------------------- */

static WORKER_FN void checkpoint_fold_run(struct worker_job *job)
{
	struct checkpoint *cp = CONTAINER_OF(job, struct checkpoint, job);

	cp->err = map_fold(cp->config.map);
}

static LOOP_FN void checkpoint_fold_done(struct worker_job *job)
{
	struct checkpoint *cp = CONTAINER_OF(job, struct checkpoint, job);

	if (cp->err < 0)
		checkpoint_fail(cp, cp->err);
	else
		checkpoint_end(cp);
}

static LOOP_FN void checkpoint_synced(struct commit_req *req)
{
	struct checkpoint *cp = CONTAINER_OF(req, struct checkpoint, sync);

	if (req->err < 0 || cp->stopping) {
		checkpoint_fail(cp, req->err < 0 ? req->err : -ERR_WRITEBACK);
		return;
	}
	cp->state = CHECKPOINT_FOLDING;
	cp->job.run = checkpoint_fold_run;
	cp->job.done = checkpoint_fold_done;
	worker_submit(cp->config.fold_pool, &cp->job);
}

/* ---- bringing blocks home -------------------------------------------------------------------- */

static bool checkpoint_gives_up(struct checkpoint *cp)
{
	if (cp->err == 0 && !cp->stopping)
		return false;
	checkpoint_fail(cp, cp->err < 0 ? cp->err : -ERR_WRITEBACK);
	return true;
}

/* The sync is the commit thread's: it knows of those that failed. */
static void checkpoint_sync(struct checkpoint *cp)
{
	if (checkpoint_gives_up(cp))
		return;
	cp->state = CHECKPOINT_SYNCING;
	cp->sync.kind = COMMIT_SYNC;
	cp->sync.done = checkpoint_synced;
	commit_submit(cp->config.commit, &cp->sync);
}

static WORKER_FN void checkpoint_mark_run(struct worker_job *job)
{
	struct checkpoint *cp = CONTAINER_OF(job, struct checkpoint, job);

	cp->err = recover_mark(cp->config.map, cp->config.dev, cp->cut.tail.seq);
}

static LOOP_FN void checkpoint_mark_done(struct worker_job *job)
{
	checkpoint_sync(CONTAINER_OF(job, struct checkpoint, job));
}

/* By the thread of the folds, which has nothing else to do. */
static void checkpoint_mark(struct checkpoint *cp)
{
	if (checkpoint_gives_up(cp))
		return;
	cp->job.run = checkpoint_mark_run;
	cp->job.done = checkpoint_mark_done;
	worker_submit(cp->config.fold_pool, &cp->job);
}

static WORKER_FN void checkpoint_write_run(struct worker_job *job)
{
	struct checkpoint_write *w = CONTAINER_OF(job, struct checkpoint_write, job);

	w->err = dev_write(w->cp->config.dev, w->dst, w->iov, w->n);
}

static LOOP_FN void checkpoint_write_done(struct worker_job *job)
{
	struct checkpoint_write *w = CONTAINER_OF(job, struct checkpoint_write, job);
	struct checkpoint *cp = w->cp;

	if (w->err < 0)
		cp->err = w->err;
	free(w);
	cp->writes--;
	checkpoint_home(cp);
}

/* Keeps some writes under way; when all have ended goes on. */
static void checkpoint_home(struct checkpoint *cp)
{
	while (cp->next_home && cp->writes < HOME_WRITES && cp->err == 0 && !cp->stopping) {
		struct checkpoint_write *w = malloc(sizeof(*w));

		if (!w) {
			cp->err = -ERR_NOMEM;
			break;
		}
		w->cp = cp;
		w->err = 0;
		w->dst = pblk(cp->next_home->blk);
		w->n = home_run(cp->next_home, w->iov, HOME_RUN_BLKS, &cp->next_home);
		w->job.run = checkpoint_write_run;
		w->job.done = checkpoint_write_done;
		cp->writes++;
		worker_submit(cp->config.pool, &w->job);
	}
	if (cp->writes == 0)
		checkpoint_mark(cp);
}

static void checkpoint_home_all(struct checkpoint *cp)
{
	cp->state = CHECKPOINT_HOMING;
	cp->err = 0;
	cp->sync.sync_gen = commit_sync_gen(cp->config.commit);
	cp->next_home = cp->homing.blks;
	checkpoint_home(cp);
}

/* ---- cutting --------------------------------------------------------------------------------- */

static WORKER_FN void checkpoint_sort_run(struct worker_job *job)
{
	home_sort(&CONTAINER_OF(job, struct checkpoint, job)->homing);
}

static LOOP_FN void checkpoint_sort_done(struct worker_job *job)
{
	checkpoint_home_all(CONTAINER_OF(job, struct checkpoint, job));
}

/* All that was applied before the cut has been told to the loop, and nothing that came after it. */
static LOOP_FN void checkpoint_cut_done(struct commit_cut *cut)
{
	struct checkpoint *cp = CONTAINER_OF(cut, struct checkpoint, cut);

	if (cut->err < 0) {
		checkpoint_fail(cp, cut->err);
		return;
	}
	cp->is_cut = true;
	cp->homing = cp->home;
	cp->home = (struct home){0};
	cp->cut_freed = cp->freed;
	cp->freed = (struct checkpoint_freed){0};
	cp->since_ms = 0;
	STAILQ_CONCAT(&cp->cut_waiters, &cp->waiters);
	cp->err = 0;
	if (checkpoint_gives_up(cp))
		return;
	cp->state = CHECKPOINT_HOMING;
	cp->job.run = checkpoint_sort_run;
	cp->job.done = checkpoint_sort_done;
	worker_submit(cp->config.fold_pool, &cp->job);
}

static void checkpoint_start(struct checkpoint *cp)
{
	cp->again = false;
	if (cp->stopping) {
		checkpoint_call(&cp->waiters, cp->stop_err);
		return;
	}
	cp->state = CHECKPOINT_CUTTING;
	cp->cut.done = checkpoint_cut_done;
	commit_cut_map(cp->config.commit, &cp->cut);
}

/* ---- when ------------------------------------------------------------------------------------ */

static bool checkpoint_is_due(const struct checkpoint *cp)
{
	struct map_staged staged;

	if (commit_journal_used(cp->config.commit) > cp->config.journal_nblks / 2 ||
	    home_count(&cp->home) > cp->config.home_max)
		return true;
	if (cp->since_ms > 0 && clock_now_ms() - cp->since_ms >= cp->config.age_ms)
		return true;
	map_get_staged(cp->config.map, &staged);
	return staged.bytes > cp->config.staged_max;
}

void checkpoint_progress(struct checkpoint *cp, bool changed, bool urgent)
{
	ASSERT_LOOP();
	if (changed && cp->since_ms == 0)
		cp->since_ms = clock_now_ms();
	if (cp->state == CHECKPOINT_IDLE && (urgent || checkpoint_is_due(cp)))
		checkpoint_start(cp);
	else
		cp->again = cp->again || urgent;
}

void checkpoint_tick(struct checkpoint *cp)
{
	bool again =
	    cp->state == CHECKPOINT_RETRY && !cp->stopping && clock_now_ms() >= cp->retry_at_ms;

	ASSERT_LOOP();
	if (again && cp->is_cut)
		checkpoint_home_all(cp);
	else if (again)
		checkpoint_start(cp);
	else if (cp->state == CHECKPOINT_IDLE && cp->since_ms > 0 && checkpoint_is_due(cp))
		checkpoint_start(cp);
}

void checkpoint_wait(struct checkpoint *cp, struct checkpoint_waiter *waiter)
{
	ASSERT_LOOP();
	if (cp->stopping) {
		waiter->ready(waiter, cp->stop_err);
		return;
	}
	if (cp->state == CHECKPOINT_IDLE && cp->since_ms == 0) {
		waiter->ready(waiter, 0);
		return;
	}
	STAILQ_INSERT_TAIL(&cp->waiters, waiter, link);
	if (cp->state == CHECKPOINT_IDLE)
		checkpoint_start(cp);
}

bool checkpoint_want_space(struct checkpoint *cp, bool meta)
{
	bool useful = cp->freed.nblks > 0 || (meta && cp->since_ms > 0);

	ASSERT_LOOP();
	if (cp->state == CHECKPOINT_RETRY)
		return false;
	if (useful && cp->state == CHECKPOINT_IDLE)
		checkpoint_start(cp);
	else
		cp->again = cp->again || useful;
	return cp->state != CHECKPOINT_IDLE;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct checkpoint *checkpoint_new(const struct checkpoint_config *config)
{
	struct checkpoint *cp = calloc(1, sizeof(*cp));

	if (!cp)
		return NULL;
	cp->config = *config;
	cp->unmapped.fn = checkpoint_tell_unmapped;
	STAILQ_INIT(&cp->waiters);
	STAILQ_INIT(&cp->cut_waiters);
	return cp;
}

void checkpoint_stop(struct checkpoint *cp, int err)
{
	cp->stopping = true;
	cp->stop_err = err;
	if (cp->state == CHECKPOINT_IDLE || cp->state == CHECKPOINT_RETRY)
		checkpoint_call(&cp->waiters, err);
}

void checkpoint_free(struct checkpoint *cp)
{
	if (!cp)
		return;
	home_clear(&cp->home, checkpoint_dropped, cp);
	home_clear(&cp->homing, checkpoint_dropped, cp);
	freed_fini(&cp->freed);
	freed_fini(&cp->cut_freed);
	free(cp);
}
