/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate.h: a budget of bytes that connections share, and those that wait for a part of it, in the
 * order in which they came.  Owns neither the waiters nor the bytes.  Loop thread only.
 *
 * Only the first in the queue may pass, so that one that needs much is not overtaken for ever by
 * those that need little.  Whoever frees bytes wakes the first with gate_wake().
 */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

struct gate;

/* Embedded in what waits.  Zeroed: does not wait. */
struct gate_waiter {
	TAILQ_ENTRY(gate_waiter) link;
	struct gate *gate;		     /* where it waits, or NULL */
	void (*wake)(struct gate_waiter *w); /* try again; must not run the retry itself */
};

struct gate {
	uint64_t budget_bytes;
	uint64_t used_bytes; /* kept by the owner */
	TAILQ_HEAD(, gate_waiter) waiters;
};

void gate_init(struct gate *gate, uint64_t budget_bytes);

/*
 * Whether w may go ahead with "bytes" more; if not it waits from now on, where it does not already.
 * "shut" holds it back whatever the budget.  More than the whole budget passes when nothing is
 * used.
 */
bool gate_pass(struct gate *gate, struct gate_waiter *w, uint64_t bytes, bool shut) MUST_CHECK;

/* Waits no more, and lets the next one try.  Not waiting is allowed. */
void gate_leave(struct gate_waiter *w);

/* Lets the first, or all of the waiters, try again. */
void gate_wake(struct gate *gate);
void gate_wake_all(struct gate *gate);

static inline bool gate_has_waiters(const struct gate *gate)
{
	return !TAILQ_EMPTY(&gate->waiters);
}

#endif
