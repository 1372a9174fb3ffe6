/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/look.h"
#include "common/thread.h"

STAILQ_HEAD(loop_queue, loop_msg);

struct loop {
	struct event_base *base;
	struct event *wake;
	int wake_fd;
	struct look look; /* before it sleeps */
	bool stopped;
	pthread_mutex_t lock; /* guards the next two */
	bool awake;	      /* it looks at the queue by itself */
	struct loop_queue queue;
};

/* Runs what has been posted; what the messages post themselves runs in the next round.  Returns
 * whether there was anything. */
static bool loop_drain(struct loop *loop)
{
	struct loop_queue batch = STAILQ_HEAD_INITIALIZER(batch);
	struct loop_msg *msg;
	bool any;

	pthread_mutex_lock(&loop->lock);
	any = !STAILQ_EMPTY(&loop->queue);
	STAILQ_CONCAT(&batch, &loop->queue);
	pthread_mutex_unlock(&loop->lock);
	while ((msg = STAILQ_FIRST(&batch))) {
		STAILQ_REMOVE_HEAD(&batch, link);
		msg->fn(msg);
	}
	return any;
}

static void loop_woken(evutil_socket_t fd, short what, void *ctx)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n; /* EAGAIN: somebody's earlier wake-up was for this queue as well */
	(void)what;
	loop_drain(ctx);
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	STAILQ_INIT(&loop->queue);
	loop->look.max_ns = LOOK_MAX_NS;
	loop->look.ignore_own = true;
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0)
		goto fail_free;
	loop->base = event_base_new();
	if (!loop->base)
		goto fail_close_fd;
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, loop_woken, loop);
	if (!loop->wake || event_add(loop->wake, NULL) < 0)
		goto fail_free_base;
	if (pthread_mutex_init(&loop->lock, NULL) != 0)
		goto fail_free_base;
	return loop;

fail_free_base:
	if (loop->wake)
		event_free(loop->wake);
	event_base_free(loop->base);
fail_close_fd:
	close(loop->wake_fd);
fail_free:
	free(loop);
	return NULL;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	event_free(loop->wake);
	event_base_free(loop->base);
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
	return loop->base;
}

/* One look at everything: with EVLOOP_NONBLOCK alone libevent goes on as long as there are events.  Returns
 * whether there was something to do, or negative. */
static int loop_look(struct loop *loop)
{
	bool any = loop_drain(loop);

	if (loop->stopped)
		return true;
	if (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0)
		return -ERR_IO;
	return any || event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1) > 0;
}

/* From now on posting is followed by a wake-up.  False: something has been posted. */
static bool loop_may_sleep(struct loop *loop)
{
	bool may;

	pthread_mutex_lock(&loop->lock);
	may = STAILQ_EMPTY(&loop->queue);
	loop->awake = !may;
	pthread_mutex_unlock(&loop->lock);
	return may;
}

/* Runs what there is to do until there is nothing; then sleeps, and runs what has come. */
static int loop_round(struct loop *loop)
{
	uint64_t since = clock_now_ns();
	uint64_t now = since;
	uint64_t busy;
	int some;

	for (;;) {
		some = loop_look(loop);
		if (some < 0 || loop->stopped)
			return some < 0 ? some : 0;
		now = clock_now_ns();
		if (some) {
			since = now;
			continue;
		}
		if (!look_again(&loop->look, since, now) && loop_may_sleep(loop))
			break;
	}
	busy = clock_thread_ns();
	if (event_base_loop(loop->base, EVLOOP_ONCE) < 0)
		return -ERR_IO;
	busy = clock_thread_ns() - busy;
	(void)event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1);
	pthread_mutex_lock(&loop->lock);
	loop->awake = true;
	pthread_mutex_unlock(&loop->lock);
	now = clock_now_ns() - since;
	look_slept(&loop->look, now > busy ? now - busy : 0);
	return 0;
}

int loop_run(struct loop *loop)
{
	int err = 0;

	thread_set_role(THREAD_LOOP);
	loop->stopped = false;
	while (err == 0 && !loop->stopped)
		err = loop_round(loop);
	pthread_mutex_lock(&loop->lock);
	loop->awake = false;
	pthread_mutex_unlock(&loop->lock);
	return err;
}

void loop_stop(struct loop *loop)
{
	ASSERT_LOOP();
	loop->stopped = true;
	event_base_loopbreak(loop->base);
}

void loop_finish(struct loop *loop)
{
	while (loop_drain(loop))
		;
}

void loop_post(struct loop *loop, struct loop_msg *msg)
{
	const uint64_t one = 1;
	bool asleep;

	pthread_mutex_lock(&loop->lock);
	/* a queue that was not empty has a wake-up on its way already */
	asleep = STAILQ_EMPTY(&loop->queue) && !loop->awake;
	STAILQ_INSERT_TAIL(&loop->queue, msg, link);
	pthread_mutex_unlock(&loop->lock);
	if (asleep && write(loop->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event(LOG_ERROR, "loop-wake", "errno=%d", errno);
}
