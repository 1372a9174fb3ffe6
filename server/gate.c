/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/gate.h"

void gate_init(struct gate *gate, uint64_t budget_bytes)
{
	*gate = (struct gate){.budget_bytes = budget_bytes};
	TAILQ_INIT(&gate->waiters);
}

static bool gate_fits(const struct gate *gate, uint64_t bytes)
{
	if (gate->used_bytes == 0)
		return true;
	return gate->used_bytes <= gate->budget_bytes &&
	       bytes <= gate->budget_bytes - gate->used_bytes;
}

bool gate_pass(struct gate *gate, struct gate_waiter *w, uint64_t bytes, bool shut)
{
	bool first = TAILQ_EMPTY(&gate->waiters) || TAILQ_FIRST(&gate->waiters) == w;

	if (first && !shut && gate_fits(gate, bytes)) {
		gate_leave(w);
		return true;
	}
	if (w->gate != gate) {
		gate_leave(w);
		w->gate = gate;
		TAILQ_INSERT_TAIL(&gate->waiters, w, link);
	}
	return false;
}

void gate_leave(struct gate_waiter *w)
{
	struct gate *gate = w->gate;

	if (!gate)
		return;
	TAILQ_REMOVE(&gate->waiters, w, link);
	w->gate = NULL;
	gate_wake(gate);
}

void gate_wake(struct gate *gate)
{
	struct gate_waiter *w = TAILQ_FIRST(&gate->waiters);

	if (w)
		w->wake(w);
}

void gate_wake_all(struct gate *gate)
{
	struct gate_waiter *w;

	TAILQ_FOREACH (w, &gate->waiters, link)
		w->wake(w);
}
