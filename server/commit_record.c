/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit_record.c: one record of the commit thread: who may be in it, its bytes, room for it in the
 * journal, and the sync that makes it durable.  What is gathered, and where it goes then, is commit.c's.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/commit_priv.h"
#include "server/record.h"

void commit_fail(struct commit *commit, struct commit_list *list, int err)
{
	struct commit_group *group = commit_group_new(commit);
	struct commit_req *req;

	STAILQ_FOREACH (req, list, link)
		req->err = err;
	STAILQ_CONCAT(&group->reqs, list);
	commit_post_applied(group);
}

/* Did the request's data go to the device before the record, where a failed sync has hurt it? */
static bool commit_is_suspect(const struct commit_req *req, unsigned int gen)
{
	bool wrote = req->change.nblks > 0 && !req->change.inlined;

	return (wrote || req->kind == COMMIT_SYNC) && req->sync_gen != gen;
}

void commit_take_unit(struct commit_list *reqs, struct commit_list *unit)
{
	struct commit_req *req;

	do {
		req = STAILQ_FIRST(reqs);
		STAILQ_REMOVE_HEAD(reqs, link);
		STAILQ_INSERT_TAIL(unit, req, link);
	} while (req->tied);
}

/* Notes which of the unit are innocent, where any of it is suspect. */
static COMMIT_FN bool commit_unit_is_suspect(const struct commit_list *unit, unsigned int gen)
{
	struct commit_req *req;
	bool any = false;

	STAILQ_FOREACH (req, unit, link)
		any = any || commit_is_suspect(req, gen);
	STAILQ_FOREACH (req, unit, link)
		req->innocent = any && !commit_is_suspect(req, gen);
	return any;
}

void commit_drop_suspects(struct commit *commit, struct commit_list *reqs)
{
	unsigned int gen = atomic_load(&commit->sync_gen);
	struct commit_list good = STAILQ_HEAD_INITIALIZER(good);
	struct commit_list bad = STAILQ_HEAD_INITIALIZER(bad);

	while (!STAILQ_EMPTY(reqs)) {
		struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);

		commit_take_unit(reqs, &unit);
		if (commit_unit_is_suspect(&unit, gen))
			STAILQ_CONCAT(&bad, &unit);
		else
			STAILQ_CONCAT(&good, &unit);
	}
	STAILQ_CONCAT(reqs, &good);
	if (!STAILQ_EMPTY(&bad))
		commit_fail(commit, &bad, -ERR_WRITEBACK);
}

/* Makes room for the buffers of so many inlined blocks. */
static int commit_grow_iov(struct commit *commit, uint32_t n)
{
	struct iovec *iov;

	if (n <= commit->iov_cap)
		return 0;
	iov = reallocarray(commit->iov, n, sizeof(*iov));
	if (!iov)
		return -ERR_NOMEM;
	commit->iov = iov;
	commit->iov_cap = n;
	return 0;
}

static int commit_encode_req(struct commit *commit, struct commit_req *req)
{
	struct record *record = &commit->record;
	uint32_t first = record->ndata;

	if (req->kind != COMMIT_CHANGE)
		return 0;
	if (req->change.inlined) {
		int err = commit_grow_iov(commit, first + req->change.nblks);

		if (err < 0)
			return err;
		memcpy(commit->iov + first, req->data, req->change.nblks * sizeof(*req->data));
		for (uint32_t i = 0; i < req->change.nblks; i++)
			req->csums[i] = crc32c(0, req->data[i].iov_base, BLK_BYTES);
		req->change.csums = req->csums;
	}
	return record_add(record, &req->change);
}

static int commit_encode(struct commit *commit, const struct commit_list *reqs)
{
	struct commit_req *req;
	int err = 0;

	record_clear(&commit->record);
	STAILQ_FOREACH (req, reqs, link) {
		err = commit_encode_req(commit, req);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Asks the loop for a checkpoint; once for each time that room is needed. */
static COMMIT_FN void commit_ask_room(struct commit *commit)
{
	struct commit_group *group;

	if (commit->wants_room)
		return;
	commit->wants_room = true;
	group = commit_group_new(commit);
	group->urgent = true;
	commit_post_applied(group);
}

static COMMIT_FN int commit_sync_device(struct commit *commit)
{
	int err = journal_sync(commit->journal);

	if (err == 0)
		return 0;
	atomic_fetch_add(&commit->sync_gen, 1);
	journal_rewind(commit->journal);
	log_event(LOG_ERROR, "journal-sync", "error=%s", err_name(err));
	return err;
}

void commit_answer_syncs(struct commit *commit, struct commit_list *syncs)
{
	struct commit_group *group;

	commit_drop_suspects(commit, syncs);
	if (STAILQ_EMPTY(syncs))
		return;
	group = commit_group_new(commit);
	STAILQ_CONCAT(&group->reqs, syncs);
	commit_post_applied(group);
}

void commit_run_syncs(struct commit *commit, struct commit_list *syncs)
{
	if (STAILQ_EMPTY(syncs))
		return;
	(void)commit_sync_device(commit); /* where it fails, they are found suspect */
	commit_answer_syncs(commit, syncs);
}

/* With the lock held: lets go of it while there are syncs to be made. */
static COMMIT_FN bool commit_run_waiting_syncs(struct commit *commit)
{
	struct commit_list syncs = STAILQ_HEAD_INITIALIZER(syncs);

	STAILQ_CONCAT(&syncs, &commit->gathered_syncs);
	STAILQ_CONCAT(&syncs, &commit->syncs);
	if (STAILQ_EMPTY(&syncs))
		return false;
	pthread_mutex_unlock(&commit->lock);
	commit_run_syncs(commit, &syncs);
	pthread_mutex_lock(&commit->lock);
	return true;
}

/* Waits until the journal has room; -ERR_JOURNAL_FULL where that may never be. */
static COMMIT_FN int commit_make_room(struct commit *commit, uint64_t nblks)
{
	int err = 0;

	pthread_mutex_lock(&commit->lock);
	for (;;) {
		if (commit->folded.seq > 0) {
			journal_release(commit->journal, commit->folded);
			commit->wants_room = false; /* where that is not enough, another */
		}
		commit->folded.seq = 0;
		if (journal_has_room(commit->journal, nblks))
			break;
		if (commit->stuck || commit->stopping || atomic_load(&commit->latched)) {
			err = -ERR_JOURNAL_FULL;
			commit->ended = commit->stopping;
			break;
		}
		commit_ask_room(commit);
		/* the checkpoint that makes room needs one itself */
		if (!commit_run_waiting_syncs(commit))
			pthread_cond_wait(&commit->work, &commit->lock);
	}
	commit->wants_room = false;
	pthread_mutex_unlock(&commit->lock);
	return err;
}

int commit_write(struct commit *commit, const struct commit_list *reqs)
{
	const struct record *record = &commit->record;
	unsigned int gen = atomic_load(&commit->sync_gen); /* this thread alone changes it */
	int err = commit_encode(commit, reqs);

	if (err < 0 || record->len == 0)
		return err;
	err = commit_make_room(commit, journal_record_nblks(record->len, record->ndata));
	if (err == 0 && atomic_load(&commit->sync_gen) != gen)
		err = -ERR_IO; /* of a sync meanwhile: some are suspect now */
	if (err < 0)
		return err;
	err =
	    journal_append(commit->journal, record->bytes, record->len, commit->iov, record->ndata);
	if (err == 0)
		return commit_sync_device(commit);
	journal_rewind(commit->journal);
	log_event(LOG_ERROR, "journal-write", "error=%s", err_name(err));
	return err;
}
