/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_walk.h: long walks through a snapshot of the map, one at a time, so that what else the
 * workers have to do waits for no more than one of them.
 *
 * A walk sees all that was committed when it began: before each try, what is committed is folded into
 * the map proper.  Nobody is held up by a snapshot; where so much is written meanwhile that it is in
 * the way the walk begins again, and in the end has failed with -ERR_LATE.
 */
#ifndef SERVER_OBJECT_WALK_H
#define SERVER_OBJECT_WALK_H

#include "server/object_state.h"

/* Embedded in the operation that it is part of. */
struct object_walk {
	/* WORKER_FN: -ERR_LATE: the snapshot is in the way */
	int (*run)(struct object_walk *walk, struct map_view *view);
	/* LOOP_FN: what the last run returned, or why there was none; may free the walk */
	void (*ended)(struct object_walk *walk, int err);

	struct objects *objs; /* private from here on */
	struct worker_job job;
	struct objects_settle settle;
	unsigned int tries;
	int err;
	TAILQ_ENTRY(object_walk) link; /* of objs->walks: the first is under way */
};

/* run and ended are set, the rest is 0.  Begins when those that were started before have ended. */
void object_walk_start(struct objects *objs, struct object_walk *walk) LOOP_FN;

/* The engine stops: those that have not begun end with -ERR_SHUTDOWN. */
void object_walk_stop(struct objects *objs) LOOP_FN;

#endif
