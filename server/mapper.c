/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/mapper.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/apply.h"
#include "server/cpu.h"

#define REAP_NODES   64	      /* of one transaction: bounds how long a group can wait behind it */
#define REAP_RECORDS 8	      /* so many records go before reaping when there are always more */
#define REAP_NS	     1000000u /* behind a removal: who asked for it is answered, and awake, before */

/*
 * Small records that nobody waits for are applied together: the object, its leaves and the counters
 * are read and written once for all of them, and the thread is woken once.  So they wait until they may
 * cost so much, or so long.
 */
#define BATCH_LEAVES 256u
#define BATCH_NS     1000000u

#define NS_PER_S 1000000000u

STAILQ_HEAD(group_list, commit_group);

struct mapper {
	struct commit *commit;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the next eight */
	pthread_cond_t work;
	struct group_list queue;
	uint32_t queued_leaves; /* of these */
	unsigned int nhurried;	/* of these, not calm */
	uint64_t due_ns;	/* when calm ones are applied nevertheless */
	struct commit_cut *cut;
	bool stopping;
	bool reap_rests; /* for want of memory, until mapper_tick() */
	bool waits;	 /* for a fold: the loop has been told, or what it folds is cut */

	/* of the thread */
	struct journal_pos applied; /* behind the last record that is in the map */
	bool within; /* a part of the next one is there too: nothing may come between */
	bool reap_more;
	uint64_t reap_due_ns;
	unsigned int records; /* since the last reaping */
	bool behind;	      /* the commit thread has been told, and does not wait for this one */
};

enum mapper_task { MAPPER_STOP, MAPPER_CUT, MAPPER_APPLY, MAPPER_REAP };

static bool mapper_latched(const struct mapper *m)
{
	return atomic_load(&m->commit->latched);
}

static bool mapper_feeds_reaper(const struct commit_req *req)
{
	const struct change *change = &req->change;

	if (req->kind != COMMIT_CHANGE)
		return false;
	return change->kind == CHANGE_REMOVE || change->kind == CHANGE_RESET ||
	       (change->kind == CHANGE_EPOCH && change->nholes + change->nshares > 0);
}

static int mapper_apply_reqs(struct mapper *m, struct commit_group *group, struct map_txn *txn)
{
	struct commit_req *req;

	STAILQ_FOREACH (req, &group->reqs, link) {
		int err = 0;

		if (req->kind == COMMIT_CHANGE) {
			err = apply_change(txn, &req->change, &req->obj);
			if (err == 0)
				err =
				    apply_source_owned(txn, &req->change, &req->source_owned_nblks);
			group->changed = true;
		}
		if (err < 0) {
			log_event(LOG_ERROR, "apply", "kind=%d object=%" PRIu64 " error=%s",
				  (int)req->change.kind, req->change.oid, err_name(err));
			return err;
		}
		if (mapper_feeds_reaper(req) && !m->reap_more) {
			m->reap_more = true;
			m->reap_due_ns = clock_now_ns() + REAP_NS;
		}
	}
	return 0;
}

/* One transaction for all groups: views see all of them or nothing.  What becomes free is the last
 * one's. */
static MAP_FN int mapper_apply_groups(struct mapper *m, struct group_list *groups)
{
	struct commit_group *group;
	struct map_txn *txn;
	int err = map_txn_begin(m->commit->config.map, &txn);

	if (err < 0)
		return err;
	STAILQ_FOREACH (group, groups, link) {
		err = mapper_apply_reqs(m, group, txn);
		if (err < 0) {
			map_txn_abort(txn);
			return err;
		}
	}
	return map_txn_commit(txn, &STAILQ_LAST(groups, commit_group, link)->freed);
}

static MAP_FN void mapper_answer(struct mapper *m, struct commit_group *group, int err)
{
	bool more = group->more;
	uint32_t leaves = group->leaves;
	struct commit_req *req;

	if (err < 0) {
		STAILQ_FOREACH (req, &group->reqs, link)
			req->err = -ERR_LATCHED;
	} else {
		m->within = more;
		if (!more)
			m->applied = group->next;
	}
	group->from_map = true;
	group->reaping = m->reap_more && !mapper_latched(m);
	commit_post_applied(group);
	if (more)
		return;
	m->records++;
	commit_record_applied(m->commit, leaves);
}

static MAP_FN void mapper_run_groups(struct mapper *m, struct group_list *groups)
{
	int err = mapper_latched(m) ? -ERR_LATCHED : mapper_apply_groups(m, groups);
	struct commit_group *group;

	if (err < 0)
		commit_latch(m->commit, "apply", err);
	while ((group = STAILQ_FIRST(groups))) {
		STAILQ_REMOVE_HEAD(groups, link);
		mapper_answer(m, group, err);
	}
}

static MAP_FN void mapper_rest(struct mapper *m)
{
	pthread_mutex_lock(&m->lock);
	m->reap_rests = true;
	pthread_mutex_unlock(&m->lock);
}

/* Releases a bounded part of the reap queue.  What is damaged there is left for the next start. */
static MAP_FN void mapper_run_reap(struct mapper *m)
{
	struct commit_group *group = commit_group_new(m->commit);
	struct map_txn *txn;
	bool more = false;
	int err = map_txn_begin(m->commit->config.map, &txn);

	if (err == 0) {
		err = map_txn_reap(txn, REAP_NODES, &more);
		if (err == 0)
			err = map_txn_commit(txn, &group->freed);
		else
			map_txn_abort(txn);
	}
	if (err < 0)
		log_event(LOG_ERROR, "reap", "error=%s", err_name(err));
	m->records = 0;
	group->changed = err == 0;
	m->reap_more = err == 0 ? more : err_class(err) == ERR_NOMEM;
	if (err < 0)
		mapper_rest(m);
	group->from_map = true;
	group->reaping = m->reap_more;
	commit_post_applied(group);
}

static MAP_FN void mapper_run_cut(struct mapper *m, struct commit_cut *cut)
{
	struct map_tail tail = {m->applied.seq, m->applied.blk};

	/* latched within a record: what is staged is neither before it nor behind it */
	cut->err = m->within ? -ERR_LATCHED : map_cut(m->commit->config.map, tail);
	cut->tail = m->applied;
	if (cut->err == 0) { /* where it failed the next one comes by itself */
		pthread_mutex_lock(&m->lock);
		m->waits = true;
		pthread_mutex_unlock(&m->lock);
	}
	loop_post(m->commit->config.loop, &cut->msg);
}

static void mapper_set_behind(struct mapper *m, bool behind)
{
	if (m->behind == behind)
		return;
	m->behind = behind;
	commit_map_waits(m->commit, behind);
}

/* Tells the loop, once, that something waits for a checkpoint.  How much room the one under way leaves is
 * known when it has ended: until then tables are taken for as large as they may become. */
static void mapper_ask_checkpoint(struct mapper *m)
{
	struct commit_group *group;

	if (m->waits)
		return;
	m->waits = true;
	group = commit_group_new(m->commit);
	group->urgent = true;
	commit_post_applied(group);
}

/* Moves the next group from the queue to the list, or several calm ones; with the lock held. */
static void mapper_take(struct mapper *m, struct group_list *groups)
{
	struct commit_group *group = STAILQ_FIRST(&m->queue);
	uint32_t leaves = 0;
	bool calm;

	STAILQ_INIT(groups);
	do {
		calm = group->calm;
		leaves += group->leaves;
		m->queued_leaves -= group->leaves;
		m->nhurried -= !calm;
		STAILQ_REMOVE_HEAD(&m->queue, link);
		STAILQ_INSERT_TAIL(groups, group, link);
		group = STAILQ_FIRST(&m->queue);
	} while (group && calm && group->calm && leaves + group->leaves <= BATCH_LEAVES);
}

/* May what is queued wait for more? */
static bool mapper_may_rest(const struct mapper *m)
{
	return m->nhurried == 0 && m->queued_leaves < BATCH_LEAVES && !m->stopping &&
	       !mapper_latched(m) && clock_now_ns() < m->due_ns;
}

/* Waits for something to do, or until then; 0: for however long that is. */
static void mapper_wait(struct mapper *m, uint64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
				 .tv_nsec = (long)(until_ns % NS_PER_S)};

	if (until_ns > 0)
		(void)pthread_cond_clockwait(&m->work, &m->lock, CLOCK_MONOTONIC, &until);
	else
		pthread_cond_wait(&m->work, &m->lock);
}

/* When what is queued rests no more, or when reaping is due; 0: neither is waited for. */
static uint64_t mapper_until(const struct mapper *m, bool rests, bool early)
{
	uint64_t until_ns = rests ? m->due_ns : 0;

	return early && (!rests || m->reap_due_ns < until_ns) ? m->reap_due_ns : until_ns;
}

/* What is to be done next; waits for it, with the lock held. */
static enum mapper_task mapper_next(struct mapper *m)
{
	for (;;) {
		bool idle = STAILQ_EMPTY(&m->queue);
		bool rests = !idle && mapper_may_rest(m);
		bool full = map_must_fold(m->commit->config.map);
		bool crowded = map_should_fold(m->commit->config.map);
		bool reap = m->reap_more && !m->reap_rests && !mapper_latched(m) && !m->stopping;
		bool early = reap && clock_now_ns() < m->reap_due_ns;

		if (m->within && !mapper_latched(m)) {
			if (!idle)
				return MAPPER_APPLY;
			pthread_cond_wait(&m->work, &m->lock); /* the next group is under way */
			continue;
		}
		if (m->cut)
			return MAPPER_CUT;
		if (reap && !early && !crowded && (idle || rests || m->records >= REAP_RECORDS))
			return MAPPER_REAP;
		if (reap && crowded)
			mapper_ask_checkpoint(m);
		/* what is applied to stop is never folded, so it need not fit */
		if (!idle && !rests && (!full || m->stopping || mapper_latched(m))) {
			mapper_set_behind(m, false);
			return MAPPER_APPLY;
		}
		if (idle && m->stopping)
			return MAPPER_STOP;
		if (full)
			mapper_set_behind(m, true);
		if (full && !idle)
			mapper_ask_checkpoint(m);
		mapper_wait(m, mapper_until(m, rests, early));
	}
}

static void *mapper_main(void *arg)
{
	struct mapper *m = arg;
	enum mapper_task task;

	thread_set_role(THREAD_MAP);
	pthread_setname_np(pthread_self(), "map");
	cpu_waits_its_turn(); /* else it takes that of the loop, which is woken with it */
	do {
		struct commit_cut *cut = NULL;
		struct group_list groups;

		pthread_mutex_lock(&m->lock);
		task = mapper_next(m);
		if (task == MAPPER_APPLY) {
			mapper_take(m, &groups);
		} else if (task == MAPPER_CUT) {
			cut = m->cut;
			m->cut = NULL;
		}
		pthread_mutex_unlock(&m->lock);
		if (task == MAPPER_APPLY)
			mapper_run_groups(m, &groups);
		else if (task == MAPPER_CUT)
			mapper_run_cut(m, cut);
		else if (task == MAPPER_REAP)
			mapper_run_reap(m);
	} while (task != MAPPER_STOP);
	return NULL;
}

struct mapper *mapper_new(struct commit *commit)
{
	struct mapper *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->commit = commit;
	m->applied = commit->config.head;
	m->reap_more = true;
	STAILQ_INIT(&m->queue);
	if (pthread_mutex_init(&m->lock, NULL) != 0)
		goto fail_free;
	if (pthread_cond_init(&m->work, NULL) != 0)
		goto fail_destroy_lock;
	if (pthread_create(&m->thread, NULL, mapper_main, m) != 0)
		goto fail_destroy_cond;
	return m;

fail_destroy_cond:
	pthread_cond_destroy(&m->work);
fail_destroy_lock:
	pthread_mutex_destroy(&m->lock);
fail_free:
	free(m);
	return NULL;
}

void mapper_free(struct mapper *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	pthread_cond_destroy(&m->work);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void mapper_submit(struct mapper *m, struct commit_group *group)
{
	pthread_mutex_lock(&m->lock);
	if (STAILQ_EMPTY(&m->queue)) {
		m->due_ns = clock_now_ns() + BATCH_NS;
		pthread_cond_signal(&m->work);
	}
	STAILQ_INSERT_TAIL(&m->queue, group, link);
	m->nhurried += !group->calm;
	m->queued_leaves += group->leaves;
	if (m->nhurried > 0 || m->queued_leaves >= BATCH_LEAVES)
		pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
}

static LOOP_FN void mapper_cut_done(struct loop_msg *msg)
{
	struct commit_cut *cut = CONTAINER_OF(msg, struct commit_cut, msg);

	cut->done(cut);
}

void mapper_cut(struct mapper *m, struct commit_cut *cut)
{
	ASSERT_LOOP();
	cut->msg.fn = mapper_cut_done;
	pthread_mutex_lock(&m->lock);
	assert(!m->cut);
	m->cut = cut;
	pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
}

void mapper_folded(struct mapper *m)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&m->lock);
	m->waits = false;
	pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
}

void mapper_wake(struct mapper *m)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&m->lock);
	pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
}

void mapper_tick(struct mapper *m)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&m->lock);
	if (m->reap_rests) {
		m->reap_rests = false;
		pthread_cond_signal(&m->work);
	}
	pthread_mutex_unlock(&m->lock);
}
