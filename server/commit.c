/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/commit.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/commit_priv.h"
#include "server/mapper.h"
#include "server/record.h"

#define COMMIT_ATTEMPTS 2u /* to write a record */

/*
 * What may be on its way into the map before another record is written.  Where changes cost the map
 * more than a record costs the device, commits go at the map's speed, so that nobody finds a long queue
 * before him.
 */
#define APPLYING_LEAVES	  RECORD_LEAVES
#define LEAVES_PER_RECORD 8u /* as much as these it costs by itself */

/* The part of the journal that the inlined blocks of a unit may take, or so many of them. */
#define INLINE_PART 16u
#define INLINE_MIN  16u

/* What a record may cost the map, in leaves: each may have to be copied, with the counts of 128 blocks. */
#define RECORD_LEAVES 768u
/* Of these a change may share 4,096, and of holes have 32: as much of a transaction as all leaves. */
#define SHARED_PER_LEAF 5u
#define LEAVES_PER_HOLE 24u

/* ---- answers, in the loop -------------------------------------------------------------------- */

static LOOP_FN void commit_durable(struct loop_msg *msg)
{
	struct commit_group *group = CONTAINER_OF(msg, struct commit_group, durable);
	struct commit *commit = group->commit;
	bool grown = commit->head.seq != group->next.seq;
	struct commit_req *req;

	ASSERT_LOOP();
	commit->head = group->next;
	STAILQ_FOREACH (req, &group->reqs, link)
		if (req->durable)
			req->durable(req);
	if (grown)
		commit->config.progress(commit->config.ctx, false, false);
}

static LOOP_FN void commit_applied(struct loop_msg *msg)
{
	struct commit_group *group = CONTAINER_OF(msg, struct commit_group, applied);
	struct commit *commit = group->commit;
	struct commit_req *req;

	ASSERT_LOOP();
	if (group->from_map)
		commit->reaping = group->reaping;
	/* who hears of it below may ask at once for a checkpoint of it */
	if (group->changed)
		commit->config.progress(commit->config.ctx, true, false);
	commit->answering = true;
	while ((req = STAILQ_FIRST(&group->reqs))) {
		STAILQ_REMOVE_HEAD(&group->reqs, link);
		commit->submitted--;
		req->done(req);
	}
	commit->answering = false;
	commit->config.freed(commit->config.ctx, &group->freed);
	if (atomic_load(&commit->latched) && !commit->latch_told) {
		commit->latch_told = true;
		commit_set_stuck(commit, true); /* nobody waits for room any more */
		commit->config.latched(commit->config.ctx);
	}
	if (group->changed || group->urgent)
		commit->config.progress(commit->config.ctx, group->changed, group->urgent);
	free(group->freed.ranges);
	free(group);
}

struct commit_group *commit_group_new(struct commit *commit)
{
	struct commit_group *group = calloc(1, sizeof(*group));

	if (!group) {
		/* without it nothing can be answered any more, and nothing has been promised */
		log_event(LOG_ERROR, "out-of-memory", "in=commit");
		abort();
	}
	group->commit = commit;
	group->durable.fn = commit_durable;
	group->applied.fn = commit_applied;
	STAILQ_INIT(&group->reqs);
	return group;
}

void commit_post_applied(struct commit_group *group)
{
	loop_post(group->commit->config.loop, &group->applied);
}

void commit_latch(struct commit *commit, const char *why, int err)
{
	if (!atomic_exchange(&commit->latched, true))
		log_event(LOG_ERROR, "commit-latched", "by=%s error=%s", why, err_name(err));
}

/* ---- one round ------------------------------------------------------------------------------- */

/* Is a record that could not be written worth another attempt? */
static bool commit_may_retry(int err)
{
	return err_class(err) == ERR_IO && err != -ERR_WRITEBACK && err != -ERR_LATCHED &&
	       err != -ERR_JOURNAL_FULL;
}

/* Costs the map little, and is answered when it is there: an epoch's fsync is answered before. */
static bool commit_is_brief(const struct commit_req *req)
{
	return req->kind != COMMIT_CHANGE || req->change.kind != CHANGE_EPOCH;
}

/* Is somebody answered when it is in the map?  A range clone is, too. */
static bool commit_is_awaited(const struct commit_req *req)
{
	return commit_is_brief(req) || req->change.nshares > 0;
}

/* Takes from reqs what is applied and answered together: up to the last before an epoch. */
static COMMIT_FN struct commit_group *commit_next_group(struct commit *commit,
							struct commit_list *reqs)
{
	struct commit_group *group = commit_group_new(commit);
	struct commit_req *req;
	bool ends = false;

	group->calm = true;
	while (!ends && (req = STAILQ_FIRST(reqs))) {
		const struct commit_req *next = STAILQ_NEXT(req, link);

		ends = next && !req->tied && commit_is_brief(req) && !commit_is_brief(next);
		group->calm = group->calm && !commit_is_awaited(req);
		STAILQ_REMOVE_HEAD(reqs, link);
		STAILQ_INSERT_TAIL(&group->reqs, req, link);
	}
	group->next = journal_head(commit->journal);
	group->more = !STAILQ_EMPTY(reqs);
	return group;
}

/* Hands over what is durable. */
static COMMIT_FN void commit_submit_groups(struct commit *commit, struct commit_list *reqs)
{
	bool whole = true;

	pthread_mutex_lock(&commit->lock);
	commit->applying += commit->leaves;
	pthread_mutex_unlock(&commit->lock);
	while (!STAILQ_EMPTY(reqs)) {
		struct commit_group *group = commit_next_group(commit, reqs);

		group->calm = group->calm && whole && !group->more;
		group->leaves = group->more ? 0 : commit->leaves;
		whole = !group->more;
		loop_post(commit->config.loop, &group->durable);
		mapper_submit(commit->mapper, group);
	}
}

/* True: the device has been synced. */
static COMMIT_FN bool commit_process(struct commit *commit, struct commit_list *reqs)
{
	int err = commit->ended ? -ERR_JOURNAL_FULL : 0;

	if (atomic_load(&commit->latched))
		err = -ERR_LATCHED;
	for (unsigned int attempt = 0; err == 0; attempt++) {
		commit_drop_suspects(commit, reqs);
		if (STAILQ_EMPTY(reqs))
			return false;
		err = commit_write(commit, reqs);
		if (err == 0)
			break;
		if (commit_may_retry(err) && attempt + 1 < COMMIT_ATTEMPTS)
			err = 0;
	}
	if (err < 0) {
		commit_fail(commit, reqs, commit_may_retry(err) ? -ERR_WRITEBACK : err);
		return false;
	}
	commit_submit_groups(commit, reqs);
	return commit->record.len > 0;
}

void commit_record_applied(struct commit *commit, uint32_t leaves)
{
	pthread_mutex_lock(&commit->lock);
	if (commit->applying >= APPLYING_LEAVES && commit->applying - leaves < APPLYING_LEAVES)
		pthread_cond_signal(&commit->work);
	commit->applying -= leaves;
	pthread_mutex_unlock(&commit->lock);
}

void commit_map_waits(struct commit *commit, bool waits)
{
	pthread_mutex_lock(&commit->lock);
	commit->map_waits = waits;
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* May changes be taken, or is the map too far behind? */
static bool commit_may_take(const struct commit *commit)
{
	return commit->applying < APPLYING_LEAVES || commit->map_waits || commit->stopping ||
	       atomic_load(&commit->latched);
}

/* What a record costs so far. */
struct commit_cost {
	uint32_t leaves;
	uint32_t nblks;
	size_t body;
};

/* What is shared counts its nodes or blocks, of which it has no more than go into a transaction. */
static uint32_t commit_shared_leaves(const struct change *change)
{
	uint32_t leaves = 0;

	for (uint32_t i = 0; i < change->nshares; i++) {
		uint64_t n = change->shares[i].nblks / SHARED_PER_LEAF + 1;

		leaves += n < RECORD_LEAVES ? (uint32_t)n : RECORD_LEAVES;
	}
	return leaves;
}

/* Adds the first unit of the queue. */
static COMMIT_FN void commit_add_cost(const struct commit *commit, struct commit_cost *cost)
{
	const struct commit_req *req = STAILQ_FIRST(&commit->queue);
	bool tied;

	do {
		const struct change *change = &req->change;

		if (req->kind == COMMIT_CHANGE)
			cost->body += record_change_len(change);
		if (change->inlined)
			cost->body += (size_t)change->nblks * BLK_BYTES;
		cost->nblks += change->nblks;
		cost->leaves += change->nextents + change->nblks / MAP_FANOUT + 1 +
				commit_shared_leaves(change) + change->nholes * LEAVES_PER_HOLE;
		tied = req->tied;
		req = STAILQ_NEXT(req, link);
	} while (tied);
}

/* Moves what goes into one record from the queue to the list. */
static COMMIT_FN void commit_take(struct commit *commit, struct commit_list *list)
{
	size_t body_max = commit_unit_max(commit);
	struct commit_cost cost = {0};

	commit->leaves = LEAVES_PER_RECORD;
	while (!STAILQ_EMPTY(&commit->queue)) {
		struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);

		commit_add_cost(commit, &cost);
		if (!STAILQ_EMPTY(list) && (cost.nblks > COMMIT_MAX_BLKS ||
					    cost.leaves > RECORD_LEAVES || cost.body > body_max))
			break;
		commit_take_unit(&commit->queue, &unit);
		STAILQ_CONCAT(list, &unit);
		commit->leaves = cost.leaves + LEAVES_PER_RECORD;
	}
}

/* Takes what waits; waits for something.  False: the thread is to end. */
static COMMIT_FN bool commit_gather(struct commit *commit, struct commit_list *list)
{
	STAILQ_INIT(list);
	pthread_mutex_lock(&commit->lock);
	while (STAILQ_EMPTY(&commit->syncs) && !commit->stopping &&
	       (STAILQ_EMPTY(&commit->queue) || !commit_may_take(commit)))
		pthread_cond_wait(&commit->work, &commit->lock);
	STAILQ_CONCAT(&commit->gathered_syncs, &commit->syncs);
	if (commit_may_take(commit))
		commit_take(commit, list);
	pthread_mutex_unlock(&commit->lock);
	return !STAILQ_EMPTY(list) || !STAILQ_EMPTY(&commit->gathered_syncs);
}

static void *commit_main(void *arg)
{
	struct commit *commit = arg;
	struct commit_list list;

	thread_set_role(THREAD_COMMIT);
	pthread_setname_np(pthread_self(), "commit");
	while (commit_gather(commit, &list)) {
		/* a record's sync is one for them too; without one, or where it failed, they need
		 * their own */
		if (STAILQ_EMPTY(&list) || !commit_process(commit, &list))
			commit_run_syncs(commit, &commit->gathered_syncs);
		else
			commit_answer_syncs(commit, &commit->gathered_syncs);
	}
	return NULL;
}

struct commit *commit_new(const struct commit_config *config)
{
	struct commit *commit = calloc(1, sizeof(*commit));

	if (!commit)
		return NULL;
	commit->config = *config;
	commit->reaping = true;
	commit->head = config->head;
	commit->tail = config->head;
	STAILQ_INIT(&commit->queue);
	STAILQ_INIT(&commit->syncs);
	STAILQ_INIT(&commit->gathered_syncs);
	if (pthread_mutex_init(&commit->lock, NULL) != 0)
		goto fail_free;
	if (pthread_cond_init(&commit->work, NULL) != 0)
		goto fail_destroy_lock;
	if (journal_open(config->dev, &config->region, config->journal_key, config->head,
			 &commit->journal) < 0)
		goto fail_destroy_cond;
	commit->mapper = mapper_new(commit); /* may use all of it from now on */
	if (!commit->mapper)
		goto fail_close_journal;
	if (pthread_create(&commit->thread, NULL, commit_main, commit) != 0)
		goto fail_free_mapper;
	return commit;

fail_free_mapper:
	mapper_free(commit->mapper);
	loop_finish(config->loop); /* what it has posted refers to the struct */
fail_close_journal:
	journal_close(commit->journal);
fail_destroy_cond:
	pthread_cond_destroy(&commit->work);
fail_destroy_lock:
	pthread_mutex_destroy(&commit->lock);
fail_free:
	free(commit);
	return NULL;
}

void commit_free(struct commit *commit)
{
	if (!commit)
		return;
	pthread_mutex_lock(&commit->lock);
	commit->stopping = true;
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
	pthread_join(commit->thread, NULL);
	mapper_free(commit->mapper);
	loop_finish(commit->config.loop); /* the answers on their way refer to the struct */
	journal_close(commit->journal);
	record_fini(&commit->record);
	free(commit->iov);
	pthread_cond_destroy(&commit->work);
	pthread_mutex_destroy(&commit->lock);
	free(commit);
}

void commit_submit(struct commit *commit, struct commit_req *req)
{
	ASSERT_LOOP();
	req->err = 0;
	req->innocent = false;
	req->tied = false;
	commit->submitted++;
	pthread_mutex_lock(&commit->lock);
	if (req->kind == COMMIT_SYNC)
		STAILQ_INSERT_TAIL(&commit->syncs, req, link);
	else
		STAILQ_INSERT_TAIL(&commit->queue, req, link);
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
}

void commit_submit_unit(struct commit *commit, struct commit_list *unit)
{
	struct commit_req *req;

	ASSERT_LOOP();
	STAILQ_FOREACH (req, unit, link) {
		assert(req->kind == COMMIT_CHANGE);
		req->err = 0;
		req->innocent = false;
		req->tied = STAILQ_NEXT(req, link) != NULL;
		commit->submitted++;
	}
	pthread_mutex_lock(&commit->lock);
	STAILQ_CONCAT(&commit->queue, unit);
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
}

size_t commit_unit_max(const struct commit *commit)
{
	size_t quarter = commit->config.region.nblks * BLK_BYTES / 4;

	return quarter < JOURNAL_BODY_MAX ? quarter : JOURNAL_BODY_MAX;
}

uint32_t commit_inline_max(const struct commit *commit)
{
	uint64_t part = commit->config.region.nblks / INLINE_PART;

	return part < INLINE_MIN	? INLINE_MIN
	       : part > COMMIT_MAX_BLKS ? COMMIT_MAX_BLKS
					: (uint32_t)part;
}

unsigned int commit_sync_gen(const struct commit *commit)
{
	return atomic_load(&commit->sync_gen);
}

bool commit_busy(const struct commit *commit)
{
	ASSERT_LOOP();
	return commit->submitted > 0 || commit->answering;
}

bool commit_reaping(const struct commit *commit)
{
	ASSERT_LOOP();
	return commit->reaping;
}

void commit_tick(struct commit *commit)
{
	ASSERT_LOOP();
	mapper_tick(commit->mapper);
}

uint64_t commit_journal_used(const struct commit *commit)
{
	uint64_t nblks = commit->config.region.nblks;

	ASSERT_LOOP();
	return (commit->head.blk + nblks - commit->tail.blk) % nblks;
}

void commit_refuse(struct commit *commit)
{
	ASSERT_LOOP();
	commit_latch(commit, "checkpoint", -ERR_MAP);
	commit_set_stuck(commit, true);
	mapper_wake(commit->mapper); /* it waits for a fold that does not come */
}

/* ---- for the checkpoint ---------------------------------------------------------------------- */

void commit_cut_map(struct commit *commit, struct commit_cut *cut)
{
	mapper_cut(commit->mapper, cut);
}

void commit_folded(struct commit *commit, struct journal_pos tail)
{
	ASSERT_LOOP();
	commit->tail = tail;
	pthread_mutex_lock(&commit->lock);
	commit->folded = tail;
	commit->stuck = false;
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
	mapper_folded(commit->mapper);
}

void commit_set_stuck(struct commit *commit, bool stuck)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&commit->lock);
	commit->stuck = stuck;
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
}
