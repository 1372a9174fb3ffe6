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

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

STAILQ_HEAD(loop_queue, loop_msg);

struct loop {
	struct event_base *base;
	struct event *wake;
	int wake_fd;
	pthread_mutex_t lock; /* guards queue */
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

int loop_run(struct loop *loop)
{
	thread_set_role(THREAD_LOOP);
	return event_base_dispatch(loop->base) < 0 ? -ERR_IO : 0;
}

void loop_stop(struct loop *loop)
{
	ASSERT_LOOP();
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
	bool was_empty;

	pthread_mutex_lock(&loop->lock);
	was_empty = STAILQ_EMPTY(&loop->queue);
	STAILQ_INSERT_TAIL(&loop->queue, msg, link);
	pthread_mutex_unlock(&loop->lock);
	/* a queue that was not empty has a wake-up on its way already */
	if (was_empty && write(loop->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event(LOG_ERROR, "loop-wake", "errno=%d", errno);
}
