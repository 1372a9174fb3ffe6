/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_gate.c: changes that wait: for space or memory, in one list for all objects; and at the gate of
 * an object whose content is about to be replaced.  A change of several objects waits at one gate after
 * the other, as one.
 */
#include <assert.h>

#include "common/thread.h"
#include "server/object_io.h"
#include "server/object_mutate.h"

/* Is something withheld for an object of it? */
static bool gate_is_promised(const struct mutate *m)
{
	while (m && m->obj->withheld_nblks == 0)
		m = m->next;
	return m != NULL;
}

/* Those that the first does not stand in the way of: what they need is withheld for them. */
static void gate_retry_promised(struct objects *objs, struct mutate_list *list)
{
	struct mutate_list rest = TAILQ_HEAD_INITIALIZER(rest);
	struct mutate *m;

	while (objs->reserved_nblks > 0 && (m = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, m, link);
		if (gate_is_promised(m))
			mutate_step(m);
		else
			TAILQ_INSERT_TAIL(&rest, m, link);
	}
	TAILQ_CONCAT(&rest, list, link);
	TAILQ_CONCAT(list, &rest, link);
}

void object_retry_parked(struct objects *objs)
{
	struct mutate_list list = TAILQ_HEAD_INITIALIZER(list);
	struct mutate *m;

	ASSERT_LOOP();
	TAILQ_CONCAT(&list, &objs->parked, link);
	while ((m = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, m, link);
		mutate_step(m);
		if (!TAILQ_EMPTY(&objs->parked))
			break; /* no room for this one: the others keep their places behind it */
	}
	gate_retry_promised(objs, &list);
	TAILQ_CONCAT(&objs->parked, &list, link);
}

void object_close_gate(struct object *obj, struct gate_waiter *waiter)
{
	ASSERT_LOOP();
	if (obj->gated) {
		TAILQ_INSERT_TAIL(&obj->gate_waiters, waiter, link);
		return;
	}
	obj->gated = true;
	waiter->ready(waiter);
}

/* Who waited at the gate goes on, as long as it stays open. */
static void gate_pass(struct object *obj)
{
	struct mutate_list list = TAILQ_HEAD_INITIALIZER(list);
	struct mutate *m;

	object_step_reads(obj);
	TAILQ_CONCAT(&list, &obj->gate, link);
	while ((m = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, m, link);
		mutate_step(m);
	}
}

void object_open_gate(struct object *obj)
{
	struct gate_waiter *waiter;

	ASSERT_LOOP();
	obj->gated = false;
	if (obj->opening)
		return; /* by a waiter that has ended at once: the loop below goes on */
	obj->opening = true;
	while (!obj->gated) {
		gate_pass(obj);
		waiter = TAILQ_FIRST(&obj->gate_waiters);
		if (!waiter || obj->gated)
			break;
		TAILQ_REMOVE(&obj->gate_waiters, waiter, link);
		obj->gated = true;
		waiter->ready(waiter);
	}
	obj->opening = false;
}
