/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop.h: the event loop, and the one way into it from other threads.
 */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include <bsd/sys/queue.h>

#include "common/annot.h"

struct event_base;
struct loop;

/* A message to the loop, embedded in what it is about; one at a time in flight. */
struct loop_msg {
	STAILQ_ENTRY(loop_msg) link;
	void (*fn)(struct loop_msg *msg); /* runs in the loop; may free msg */
};

/* NULL: out of memory or descriptors. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* libevent's base, for events of the loop's own thread. */
struct event_base *loop_base(struct loop *loop);

/* Runs until loop_stop(); the calling thread takes the loop's role.  -ERR_IO. */
int loop_run(struct loop *loop) MUST_CHECK;

/* Ends loop_run() after the current callbacks.  LOOP_FN. */
void loop_stop(struct loop *loop) LOOP_FN;

/* Runs what has been posted and not run, and what that posts: for after loop_run(), when the
 * threads that post have been joined one by one. */
void loop_finish(struct loop *loop);

/* Runs msg->fn in the loop, in the order of posting.  Wakes the loop only if it has to.  ANY_FN. */
void loop_post(struct loop *loop, struct loop_msg *msg) ANY_FN;

#endif
