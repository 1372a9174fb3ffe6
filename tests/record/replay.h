/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay.h: a store's two files as they may be after a power cut anywhere in a recording: what has been
 * synced is there, and of the rest any sectors, for each file apart: the sync of one is none for the
 * other.  One thread.
 */
#ifndef TESTS_RECORD_REPLAY_H
#define TESTS_RECORD_REPLAY_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/rnd.h"
#include "tests/record/trace.h"
#include "tests/sim/verify.h"

struct replay_write {
	TAILQ_ENTRY(replay_write) link;
	uint64_t of; /* the entry */
	uint64_t blk;
	uint32_t sectors; /* that it has */
	struct image_blk *bytes;
	bool whole;   /* the call has returned */
	bool covered; /* by the sync that is under way */
};

TAILQ_HEAD(replay_writes, replay_write);

struct replay_file {
	struct image now;     /* with all writes that have begun */
	struct image durable; /* what a power cut leaves for sure */
	struct replay_writes writes;
	uint64_t nwrites;
	uint64_t nsyncs; /* writes that are synced by themselves not counted */
};

struct replay {
	const struct trace_head *trace;
	uint64_t at; /* of the next entry */
	struct replay_file files[TRACE_NFILES];
};

/* Begins with the files as they are; as another one did, of which no step was taken. */
void replay_init(struct replay *r, const struct trace_head *trace,
		 const char *const paths[TRACE_NFILES]);
void replay_again(struct replay *r, const struct replay *first);
void replay_fini(struct replay *r);

/* One entry on; it, or NULL at the end. */
const struct trace_entry *replay_step(struct replay *r);

/* What a power cut here may leave. */
void replay_cut(const struct replay *r, struct rnd *rnd, struct left *left);

/* Is the file as all writes have made it? */
bool replay_equals(const struct replay *r, enum trace_file file, const char *path);

#endif
