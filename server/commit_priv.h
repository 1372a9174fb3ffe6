/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit_priv.h: what the commit thread (commit.c) and the map thread (mapper.c) share: a group of
 * requests on its way, and the latch.
 *
 *	a group		made by			moved by		ends in
 *	of requests	commit.c, for a record	commit.c -> mapper.c	commit_applied() in the loop
 *	that failed	commit.c		-			commit_applied() in the loop
 *	of the reaper	mapper.c		-			commit_applied() in the loop
 *
 * While a group is with the map thread the loop may read its list of requests (commit_durable()), and
 * changes nothing.
 *
 * What is committed with one record is one group, or several: each is answered alone, and applied alone,
 * so that a clone does not wait for the writes behind it; but groups of small records that nobody waits
 * for ("calm") share a transaction.  A unit (commit.h) is never parted.
 */
#ifndef SERVER_COMMIT_PRIV_H
#define SERVER_COMMIT_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/commit.h"
#include "server/record.h"

struct commit_group {
	struct loop_msg durable;
	struct loop_msg applied;
	STAILQ_ENTRY(commit_group) link; /* in the map thread's queue */
	struct commit *commit;
	struct commit_list reqs;
	struct journal_pos next; /* behind its record */
	bool more;		 /* groups of the same record follow */
	bool calm;		 /* a whole record, and nobody waits for it to be in the map */
	uint32_t leaves;	 /* what its record may cost the map: of the last one of that */
	struct map_freed freed;
	bool from_map; /* the map thread has seen it */
	bool reaping;  /* then: the reap queue is not empty */
	bool changed;  /* the map */
	bool urgent;   /* somebody waits for a checkpoint */
};

struct mapper;

struct commit {
	struct commit_config config;
	struct mapper *mapper;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the next seven */
	pthread_cond_t work;
	struct commit_list queue;
	struct commit_list
	    syncs; /* COMMIT_SYNC: a checkpoint may wait for it, and the queue for that */
	struct journal_pos folded; /* seq 0: nothing to release */
	uint32_t applying;	   /* what the records that the map thread has may cost: leaves */
	bool map_waits;		   /* for a checkpoint: so commits do not wait for it */
	bool stopping;
	bool stuck;

	/* of the commit thread */
	struct commit_list
	    gathered_syncs; /* to be answered with the record that is being written */
	uint32_t leaves;    /* what the record that is being written may cost the map */
	struct journal *journal;
	struct record record;
	struct iovec *iov; /* of the record's data */
	uint32_t iov_cap;
	bool wants_room; /* the loop has been told */
	bool ended;	 /* a change found no room at the end: none behind it is taken */

	atomic_bool latched;
	atomic_uint sync_gen;

	/* of the loop */
	unsigned int submitted;	 /* not yet answered */
	struct journal_pos head; /* behind the last record that is durable */
	struct journal_pos tail;
	bool reaping;
	bool answering; /* the freed blocks of a group are still to be handed over */
	bool latch_told;
};

/* An empty group.  Ends the process where there is no memory: nothing could be answered any more. */
struct commit_group *commit_group_new(struct commit *commit) ANY_FN;

/* Answers every request of the group, by "done".  From the commit or the map thread. */
void commit_post_applied(struct commit_group *group) ANY_FN;

/* The map thread has done with records of this cost; it waits for a checkpoint, or no more. */
void commit_record_applied(struct commit *commit, uint32_t leaves) MAP_FN;
void commit_map_waits(struct commit *commit, bool waits) MAP_FN;

/* ---- a record (commit_record.c) -------------------------------------------------------------- */

/* Moves the first unit of a list to another, which is empty. */
void commit_take_unit(struct commit_list *reqs, struct commit_list *unit) COMMIT_FN;

/* Answers the requests of a list with an error. */
void commit_fail(struct commit *commit, struct commit_list *list, int err) COMMIT_FN;

/* Fails those units of a list that must not be committed because of a failed sync. */
void commit_drop_suspects(struct commit *commit, struct commit_list *reqs) COMMIT_FN;

/* Writes the record of the requests and syncs.  After an error nothing of it counts. */
int commit_write(struct commit *commit, const struct commit_list *reqs) COMMIT_FN MUST_CHECK;

/* Answers what only asks for a sync: one has just been made; or is made here. */
void commit_answer_syncs(struct commit *commit, struct commit_list *syncs) COMMIT_FN;
void commit_run_syncs(struct commit *commit, struct commit_list *syncs) COMMIT_FN;

/* ---- the latch ------------------------------------------------------------------------------- */

/* Durable, and cannot be applied: nothing more is taken. */
void commit_latch(struct commit *commit, const char *why, int err) ANY_FN;

#endif
