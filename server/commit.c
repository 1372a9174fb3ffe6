/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/commit.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

#define REAP_NODES  256 /* of one transaction: bounds how long a commit can wait behind it */
#define REAP_GROUPS 8	/* so many groups go before reaping when there are always more */

STAILQ_HEAD(commit_list, commit_req);

/* What one transaction did, on its way to the loop. */
struct commit_group {
	struct loop_msg msg;
	struct commit *commit;
	struct commit_list reqs;
	struct map_freed freed;
	bool reaping; /* the reap queue is not empty */
	bool latched;
};

struct commit {
	struct commit_config config;
	pthread_t thread;
	pthread_mutex_t lock; /* guards queue and stopping */
	pthread_cond_t work;
	struct commit_list queue;
	bool stopping;

	/* of the commit thread */
	bool reap_more;
	bool latched;
	atomic_uint sync_gen;

	/* of the loop */
	unsigned int submitted; /* not yet answered */
	bool reaping;
	bool answering; /* the freed blocks of a group are still to be handed over */
	bool latch_told;
};

static int commit_apply_epoch(struct map_txn *txn, struct commit_req *req)
{
	const uint32_t *csums = req->csums;
	int err = 0;

	if (req->truncate.n != COMMIT_NO_TRUNCATE)
		err = map_txn_unmap_from(txn, req->oid, req->truncate);
	for (uint32_t i = 0; i < req->nextents && err == 0; i++) {
		const struct commit_extent *ext = &req->extents[i];

		err = map_txn_remap(txn, req->oid, ext->blk, ext->dst, ext->nblks, csums);
		csums += ext->nblks;
	}
	if (err == 0)
		err = map_txn_update(txn, req->oid, req->size_bytes, req->time_ns, &req->obj);
	return err;
}

static int commit_apply(struct map_txn *txn, struct commit_req *req)
{
	switch (req->kind) {
	case COMMIT_EPOCH:
		return commit_apply_epoch(txn, req);
	case COMMIT_CREATE:
		return map_txn_create(txn, req->name, req->size_bytes, req->time_ns, &req->obj);
	case COMMIT_CLONE:
		return map_txn_clone(txn, req->oid, req->name, req->time_ns, &req->obj);
	case COMMIT_REMOVE:
		return map_txn_remove(txn, req->oid);
	}
	return -ERR_INVAL;
}

/* The map's own contract: after these the transaction is as before and goes on. */
static bool commit_harmless(int err)
{
	return err == -ERR_NOENT || err == -ERR_EXIST || err == -ERR_BUSY;
}

/* Applies the requests that have not failed, until one spoils the transaction; *spoiled then. */
static void commit_apply_some(struct map_txn *txn, struct commit_group *group, bool *spoiled)
{
	struct commit_req *req;

	*spoiled = false;
	STAILQ_FOREACH (req, &group->reqs, link) {
		if (commit_harmless(req->err))
			req->err = 0; /* of an earlier attempt, which did not count */
		if (req->err < 0)
			continue;
		req->err = commit_apply(txn, req);
		if (req->err == 0 || commit_harmless(req->err))
			continue;
		log_event(LOG_ERROR, "commit-request", "kind=%d object=%" PRIu64 " error=%s",
			  (int)req->kind, req->oid, err_name(req->err));
		*spoiled = true;
		return;
	}
}

/*
 * One transaction with all requests that can be applied: each that cannot keeps its error, and
 * where it spoiled the transaction another is made without it.
 */
static int commit_apply_all(struct commit *commit, struct commit_group *group)
{
	struct map_txn *txn;
	bool spoiled;
	int err;

	for (;;) {
		err = map_txn_begin(commit->config.map, &txn);
		if (err < 0)
			return err;
		commit_apply_some(txn, group, &spoiled);
		if (!spoiled)
			return map_txn_commit(txn, &group->freed);
		map_txn_abort(txn);
	}
}

static void commit_fail_all(struct commit_group *group, int err)
{
	struct commit_req *req;

	STAILQ_FOREACH (req, &group->reqs, link)
		if (req->err == 0)
			req->err = err;
}

static bool commit_needs_sync(const struct commit_group *group)
{
	const struct commit_req *req;

	STAILQ_FOREACH (req, &group->reqs, link)
		if (req->kind == COMMIT_EPOCH && req->nextents > 0)
			return true;
	return false;
}

/* Syncs, and fails the requests whose writes a failed sync, now or earlier, has made doubtful. */
static void commit_sync(struct commit *commit, struct commit_group *group)
{
	struct commit_req *req;
	unsigned int gen;

	if (!commit_needs_sync(group))
		return;
	if (dev_sync(commit->config.dev) < 0)
		atomic_fetch_add(&commit->sync_gen, 1);
	gen = atomic_load(&commit->sync_gen);
	STAILQ_FOREACH (req, &group->reqs, link)
		if (req->kind == COMMIT_EPOCH && req->nextents > 0 && req->sync_gen != gen)
			req->err = -ERR_WRITEBACK;
}

/*
 * Commits one group that has been synced; every request of it has its result afterwards.
 * -ERR_NOSPC_META is returned, with nothing done, where the transaction as a whole was too large.
 */
static COMMIT_FN int commit_group_run(struct commit *commit, struct commit_group *group)
{
	int err = commit_apply_all(commit, group);

	if (err == -ERR_NOSPC_META)
		return err;
	if (err == -ERR_MAP) {
		log_event(LOG_ERROR, "commit-latched", "error=%s", err_name(err));
		commit->latched = true;
		commit_fail_all(group, -ERR_LATCHED);
	} else if (err < 0) {
		commit_fail_all(group, err);
	}
	return 0;
}

static struct commit_group *commit_group_new(struct commit *commit)
{
	struct commit_group *group = calloc(1, sizeof(*group));

	if (!group) {
		/* without it nothing can be answered any more, and nothing has been promised */
		log_event(LOG_ERROR, "out-of-memory", "in=commit");
		abort();
	}
	group->commit = commit;
	STAILQ_INIT(&group->reqs);
	return group;
}

static LOOP_FN void commit_answer(struct loop_msg *msg)
{
	struct commit_group *group = CONTAINER_OF(msg, struct commit_group, msg);
	struct commit *commit = group->commit;
	struct commit_req *req;

	ASSERT_LOOP();
	commit->reaping = group->reaping;
	commit->answering = true;
	while ((req = STAILQ_FIRST(&group->reqs))) {
		STAILQ_REMOVE_HEAD(&group->reqs, link);
		commit->submitted--;
		req->done(req);
	}
	commit->answering = false;
	commit->config.freed(commit->config.ctx, &group->freed);
	if (group->latched && !commit->latch_told) {
		commit->latch_told = true;
		commit->config.latched(commit->config.ctx);
	}
	free(group->freed.ranges);
	free(group);
}

static bool commit_feeds_reaper(const struct commit_req *req)
{
	return req->kind == COMMIT_REMOVE ||
	       (req->kind == COMMIT_EPOCH && req->truncate.n != COMMIT_NO_TRUNCATE);
}

static COMMIT_FN void commit_post(struct commit *commit, struct commit_group *group)
{
	struct commit_req *req;

	STAILQ_FOREACH (req, &group->reqs, link)
		if (req->err == 0 && commit_feeds_reaper(req))
			commit->reap_more = true;
	group->reaping = commit->reap_more && !commit->latched;
	group->latched = commit->latched;
	group->msg.fn = commit_answer;
	loop_post(commit->config.loop, &group->msg);
}

/* Each request in a transaction of its own: for when all of them together were too large. */
static COMMIT_FN void commit_one_by_one(struct commit *commit, struct commit_group *group)
{
	struct commit_req *req;

	while ((req = STAILQ_FIRST(&group->reqs))) {
		struct commit_group *single = commit_group_new(commit);

		STAILQ_REMOVE_HEAD(&group->reqs, link);
		STAILQ_INSERT_TAIL(&single->reqs, req, link);
		if (commit_harmless(req->err))
			req->err = 0; /* of the attempt with all, which did not count */
		if (commit->latched)
			commit_fail_all(single, -ERR_LATCHED);
		else if (req->err == 0 && commit_group_run(commit, single) < 0)
			req->err = -ERR_NOSPC_META;
		commit_post(commit, single);
	}
	free(group->freed.ranges);
	free(group);
}

static COMMIT_FN void commit_process(struct commit *commit, struct commit_group *group)
{
	if (commit->latched) {
		commit_fail_all(group, -ERR_LATCHED);
	} else {
		commit_sync(commit, group);
		if (commit_group_run(commit, group) < 0) {
			commit_one_by_one(commit, group);
			return;
		}
	}
	commit_post(commit, group);
}

/* Releases a bounded part of the reap queue. */
static COMMIT_FN void commit_reap(struct commit *commit)
{
	struct commit_group *group = commit_group_new(commit);
	struct map_txn *txn;
	bool more = false;
	int err = map_txn_begin(commit->config.map, &txn);

	if (err == 0) {
		err = map_txn_reap(txn, REAP_NODES, &more);
		if (err == 0)
			err = map_txn_commit(txn, &group->freed);
		else
			map_txn_abort(txn);
	}
	commit->reap_more = more && err == 0;
	if (err < 0) {
		log_event(LOG_ERROR, "reap", "error=%s", err_name(err));
		commit->latched = commit->latched || err == -ERR_MAP;
	}
	commit_post(commit, group);
}

/* Takes everything that waits.  False: the thread is to end. */
static COMMIT_FN bool commit_gather(struct commit *commit, struct commit_list *list)
{
	bool go_on;

	STAILQ_INIT(list);
	pthread_mutex_lock(&commit->lock);
	while (STAILQ_EMPTY(&commit->queue) && !commit->stopping &&
	       !(commit->reap_more && !commit->latched))
		pthread_cond_wait(&commit->work, &commit->lock);
	STAILQ_CONCAT(list, &commit->queue);
	go_on = !commit->stopping || !STAILQ_EMPTY(list);
	pthread_mutex_unlock(&commit->lock);
	return go_on;
}

static void *commit_main(void *arg)
{
	struct commit *commit = arg;
	struct commit_list list;
	unsigned int groups = 0; /* since the last reaping */

	thread_set_role(THREAD_COMMIT);
	while (commit_gather(commit, &list)) {
		bool idle = STAILQ_EMPTY(&list);

		if (!idle) {
			struct commit_group *group = commit_group_new(commit);

			STAILQ_CONCAT(&group->reqs, &list);
			commit_process(commit, group);
			groups++;
		}
		if (commit->reap_more && !commit->latched && (idle || groups >= REAP_GROUPS)) {
			commit_reap(commit);
			groups = 0;
		}
	}
	return NULL;
}

struct commit *commit_new(const struct commit_config *config)
{
	struct commit *commit = calloc(1, sizeof(*commit));

	if (!commit)
		return NULL;
	commit->config = *config;
	commit->reap_more = true;
	commit->reaping = true;
	STAILQ_INIT(&commit->queue);
	if (pthread_mutex_init(&commit->lock, NULL) != 0)
		goto fail_free;
	if (pthread_cond_init(&commit->work, NULL) != 0)
		goto fail_destroy_lock;
	if (pthread_create(&commit->thread, NULL, commit_main, commit) != 0)
		goto fail_destroy_cond;
	return commit;

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
	loop_finish(commit->config.loop); /* the answers on their way refer to the struct */
	pthread_cond_destroy(&commit->work);
	pthread_mutex_destroy(&commit->lock);
	free(commit);
}

void commit_submit(struct commit *commit, struct commit_req *req)
{
	ASSERT_LOOP();
	req->err = 0;
	commit->submitted++;
	pthread_mutex_lock(&commit->lock);
	STAILQ_INSERT_TAIL(&commit->queue, req, link);
	pthread_cond_signal(&commit->work);
	pthread_mutex_unlock(&commit->lock);
}

unsigned int commit_sync_gen(const struct commit *commit)
{
	return atomic_load(&commit->sync_gen);
}

bool commit_busy(const struct commit *commit)
{
	ASSERT_LOOP();
	return commit->submitted > 0 || commit->reaping || commit->answering;
}
