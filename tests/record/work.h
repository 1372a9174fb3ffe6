/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * work.h: operations that a client has a server do, each noted in the recording when it is sent and when
 * it is answered, and what they make of a history: the same when they are done and when the recording is
 * replayed.  One thread, one operation at a time.
 */
#ifndef TESTS_RECORD_WORK_H
#define TESTS_RECORD_WORK_H

#include "client/cow.h"
#include "tests/lib/rnd.h"
#include "tests/record/trace.h"
#include "tests/sim/history.h"

#define WORK_OPS_MAX 4096u

enum work_kind {
	WORK_WRITE,
	WORK_DIRECT,
	WORK_ZERO,
	WORK_RESIZE,
	WORK_FSYNC,
	WORK_CREATE,
	WORK_CLONE,
	WORK_SNAP,
	WORK_RESET,
	WORK_REMOVE,
	WORK_REAP /* asks what is being reaped, which has a checkpoint made */
};

struct work_op {
	enum work_kind kind;
	unsigned int i; /* the object */
	unsigned int j; /* the other one: of a clone, the new one */
	uint64_t off;	/* of a resize or a new object: its size */
	uint64_t len;
	uint64_t number; /* of content or name */
	uint32_t mark;	 /* of an fsync, or of the source of a clone */
};

struct work {
	cow_t *cow;
	cow_object_t *handles[HISTORY_OBJS];
	struct history history;
	struct trace_head *trace;
	struct rnd rnd;
	struct work_op *ops;
	uint32_t n;
};

/* Does so many operations. */
void work_run(struct work *work, uint32_t nops);

/* The mark that an entry of the recording is: what the history is from then on. */
void work_replay(struct work *work, struct history *history, const struct trace_entry *mark);

#endif
