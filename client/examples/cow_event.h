/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow_event.h: a handle of libcow in a loop of libevent, in one header to be copied: libcow itself
 * does not need libevent.  It owns its events, not the handle.  The loop's thread only; other threads
 * may use the handle meanwhile.
 *
 *	struct cow_event ev;
 *	cow_event_add(&ev, base, cow);	  callbacks of cow_aio_* come from the loop now
 *	cow_event_update(&ev);		  after calls were begun outside of these callbacks
 *	cow_event_del(&ev);		  before cow_free()
 */
#ifndef COW_EVENT_H
#define COW_EVENT_H

#include <cow.h>
#include <event2/event.h>
#include <stddef.h>

struct cow_event {
	cow_t *cow;
	struct event *ready;
	struct event *timer;
};

/* The timer may stand later than is wanted by a call that was begun since: see to it. */
static inline void cow_event_update(struct cow_event *ev)
{
	int ms = cow_next_timeout_ms(ev->cow);
	struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

	if (ms < 0)
		evtimer_del(ev->timer);
	else
		evtimer_add(ev->timer, &tv);
}

static inline void cow_event_cb(evutil_socket_t fd, short what, void *arg)
{
	struct cow_event *ev = arg;

	(void)fd;
	(void)what;
	cow_process(ev->cow);
	cow_event_update(ev);
}

static inline void cow_event_del(struct cow_event *ev)
{
	if (ev->ready)
		event_free(ev->ready);
	if (ev->timer)
		event_free(ev->timer);
	ev->ready = NULL;
	ev->timer = NULL;
}

/* 0, or -COW_ENOMEM. */
static inline int cow_event_add(struct cow_event *ev, struct event_base *base, cow_t *cow)
{
	int fd = cow_get_fd(cow);

	ev->cow = cow;
	ev->ready = fd < 0 ? NULL : event_new(base, fd, EV_READ | EV_PERSIST, cow_event_cb, ev);
	ev->timer = evtimer_new(base, cow_event_cb, ev);
	if (!ev->ready || !ev->timer || event_add(ev->ready, NULL) < 0) {
		cow_event_del(ev);
		return -COW_ENOMEM;
	}
	cow_event_update(ev);
	return 0;
}

#endif
