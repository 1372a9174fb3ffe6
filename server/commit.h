/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit.h: makes changes permanent, in the order in which they were submitted, and applies them to
 * the map in that order.  Owns two threads: the commit thread, which writes the journal, and the map
 * thread (mapper.h), the only one that changes the map.
 *
 *	submitted --gather--> record --append, sync--> durable --apply--> applied
 *	                        commit thread          (loop)   map thread  (loop)
 *
 * Everything that has been submitted when the commit thread comes by goes into one record, with one
 * device sync (group commit).  "durable" is called in the loop when that sync has succeeded:
 * what fsyncs wait for.  "done" is called when the change is in the map, so that every look-up that
 * begins afterwards sees it; or instead of both, with the error, when it could not be made durable:
 * then it is not in the map and never will be, unless the process dies before anything else is
 * committed.  At the end (commit_free()) what finds no room fails with all that is behind it.
 *
 * A sync that fails says nothing of what was written before it, and a later one that succeeds does
 * not either (invariant 9).  So each request carries the number of failed syncs from when its writes
 * began; where that has changed it fails with -ERR_WRITEBACK, and writeback writes it elsewhere.
 * What is in the record alone is written again, once, over the record that failed.  All syncs of the
 * device are made by this one thread, because the kernel tells an error to one caller only.
 *
 * Requests that are submitted as one list are a unit: they share a record, are applied in one
 * transaction of the map, fail together, and each of their callbacks is made in the same turn of the
 * loop as that of the others.  So neither a crash nor a look-up sees a part of them.
 *
 * A change that is durable and cannot be applied means a damaged map: the queue is latched, all that
 * follows is answered -ERR_LATCHED, and the daemon must end; its record stays in the journal.
 */
#ifndef SERVER_COMMIT_H
#define SERVER_COMMIT_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/annot.h"
#include "server/change.h"
#include "server/dev.h"
#include "server/journal.h"
#include "server/loop.h"
#include "server/map.h"

/* One request goes into one record: so many blocks at most. */
#define COMMIT_MAX_BLKS 8192u

enum commit_kind {
	COMMIT_CHANGE,
	COMMIT_SYNC, /* no change: done after a sync that covers the writes since sync_gen was asked */
	COMMIT_MARK, /* no change: done when all that was submitted before is in the map */
};

struct commit_req {
	enum commit_kind kind;
	struct change change;
	/* inlined: a buffer for each block, and room for their checksums, which the commit thread
	 * fills in; change.csums points there */
	const struct iovec *data;
	uint32_t *csums;
	unsigned int sync_gen; /* commit_sync_gen() from before the first of their writes */
	void (*durable)(
	    struct commit_req *req);	      /* LOOP_FN, or NULL; frees nothing of the request */
	void (*done)(struct commit_req *req); /* LOOP_FN; may free the request */

	int err;	    /* result */
	bool innocent;	    /* result: it failed only because another of its unit did */
	struct map_obj obj; /* result: the object created, cloned or changed */
	uint64_t
	    source_owned_nblks; /* result: what the object owns that all or a part was cloned from */

	STAILQ_ENTRY(commit_req) link;
	bool tied; /* private: the next one is of the same unit */
};

STAILQ_HEAD(commit_list, commit_req);

struct commit;

struct commit_config {
	struct loop *loop;
	struct map *map;
	struct dev *dev;
	struct journal_region region;
	uint64_t journal_key;
	struct journal_pos head; /* of the empty journal; the map holds all that was before it */
	/* LOOP_FN: blocks that changes or the reaper gave up; after the done calls of all that was applied
	 * with them.  They may be used again when a checkpoint has passed that, and no earlier. */
	void (*freed)(void *ctx, const struct map_freed *freed);
	/* LOOP_FN: the fill of the journal may have changed; "changed": the map has;
	 * "urgent": commits or the map thread wait for a checkpoint */
	void (*progress)(void *ctx, bool changed, bool urgent);
	/* LOOP_FN: called once, after the requests concerned were answered */
	void (*latched)(void *ctx);
	void *ctx;
};

/* Starts the threads; the map thread begins with what is in the reap queue.  NULL: no memory, no
 * thread. */
struct commit *commit_new(const struct commit_config *config);

/* Commits and applies what was submitted, joins the threads, gives the last answers
 * (loop_finish()).  Reaping is left for the next start. */
void commit_free(struct commit *commit);

/* Queues a request; it is answered by req->done. */
void commit_submit(struct commit *commit, struct commit_req *req) LOOP_FN;

/*
 * Queues a unit of changes, and empties the list.  Together they have no more blocks than one may,
 * no more inlined ones than commit_inline_max(), and their changes take no more than
 * commit_unit_max() bytes (record_change_len()).
 */
void commit_submit_unit(struct commit *commit, struct commit_list *unit) LOOP_FN;
size_t commit_unit_max(const struct commit *commit);

/* So many blocks of a unit may be inlined: a record has to fit the journal. */
uint32_t commit_inline_max(const struct commit *commit);

/* The number of failed syncs so far. */
unsigned int commit_sync_gen(const struct commit *commit);

/* Something is queued or on its way into the map, so that space may become free. */
bool commit_busy(const struct commit *commit) LOOP_FN;

/* Trees are being taken apart, or wait for a checkpoint to go on, or the last of their blocks has not
 * been told of yet. */
bool commit_reaping(const struct commit *commit) LOOP_FN;

/* For a timer: where there was no memory to take a tree apart, that is tried again. */
void commit_tick(struct commit *commit) LOOP_FN;

/* Blocks of the journal in use, as of the last record. */
uint64_t commit_journal_used(const struct commit *commit) LOOP_FN;

/* Refuses everything from now on with -ERR_LATCHED: the caller has met what cannot be mended. */
void commit_refuse(struct commit *commit) LOOP_FN;

/* ---- for the checkpoint ---------------------------------------------------------------------- */

struct commit_cut {
	/* LOOP_FN: the map is frozen as of "tail"; done and freed of all before it were called */
	void (*done)(struct commit_cut *cut);
	struct journal_pos tail;
	int err;

	struct loop_msg msg; /* private */
};

/* Has the map thread cut between two records (map_cut()).  One at a time; nothing is frozen. */
void commit_cut_map(struct commit *commit, struct commit_cut *cut) LOOP_FN;

/* What was frozen is durable in the map: the journal before tail may be written over. */
void commit_folded(struct commit *commit, struct journal_pos tail) LOOP_FN;

/* While set, requests that find the journal full fail with -ERR_JOURNAL_FULL instead of waiting:
 * checkpoints fail. */
void commit_set_stuck(struct commit *commit, bool stuck) LOOP_FN;

#endif
