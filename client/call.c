/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/call.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "client/errors.h"
#include "client/flight.h"
#include "client/link.h"
#include "common/clock.h"
#include "common/err.h"

void call_init(struct call *call, enum wire_op op)
{
	/* all but the buffers at its end, which the encoders fill in */
	memset(&call->req, 0, offsetof(struct chan_request, head));
	memset((char *)call + sizeof(call->req), 0, sizeof(*call) - sizeof(call->req));
	call->req.op = op;
	call->req.body = call->req.inline_body;
	call->cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}

uint8_t *call_body(struct call *call)
{
	return call->req.inline_body;
}

void call_bind(struct call *call, cow_object_t *obj, uint32_t handle_at)
{
	assert(call->nbound < CALL_OBJECTS);
	call->bound = call->some_bound;
	call->bound[call->nbound++] = (struct call_object){.obj = obj, .handle_at = handle_at};
}

void call_bind_all(struct call *call, struct call_object *bound, uint32_t n)
{
	call->bound = bound;
	call->nbound = n;
}

static void call_fail(struct call *call, int err, const char *text)
{
	call->state = CALL_DONE;
	call->err = err;
	(void)snprintf(call->text, sizeof(call->text), "%s", text);
}

/* ---- starting -------------------------------------------------------------------------------- */

static bool call_needs_crc(struct cow *cow, const struct call *call)
{
	bool negotiated;

	if (call->req.payload_len == 0)
		return false;
	(void)pthread_mutex_lock(&cow->lock);
	negotiated = cow->chan.features & WIRE_FEATURE_PAYLOAD_CRC;
	(void)pthread_mutex_unlock(&cow->lock);
	return negotiated;
}

void call_start(struct cow *cow, struct call *call, int body_len)
{
	if (body_len < 0) {
		call_fail(call, -ERR_INVAL, "the request is too long");
		return;
	}
	call->req.body_len = (uint32_t)body_len;
	call->has_crc = call_needs_crc(cow, call);
	if (call->has_crc) /* not under the lock: it takes its time */
		chan_request_crc(&call->req);
	(void)pthread_mutex_lock(&cow->lock);
	flight_start(cow, call);
	link_settle(cow);
	(void)pthread_mutex_unlock(&cow->lock);
}

size_t call_payload_max(struct cow *cow)
{
	size_t max;

	(void)pthread_mutex_lock(&cow->lock);
	max = cow->chan.payload_max;
	(void)pthread_mutex_unlock(&cow->lock);
	return max > 0 ? max : WIRE_PAYLOAD_MAX;
}

/* ---- waiting --------------------------------------------------------------------------------- */

int call_poll_ms(uint64_t deadline_ns)
{
	uint64_t now = clock_now_ns();
	uint64_t ms = now < deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 0;

	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* poll(), which looks for a while before it sleeps.  Of the thread that pumps, without the lock. */
static int call_poll(struct cow *cow, struct pollfd fds[2], uint64_t deadline_ns)
{
	uint64_t since = clock_now_ns();
	uint64_t now;
	int n;

	do {
		n = poll(fds, 2, 0);
		now = clock_now_ns();
		if (n != 0 || now >= deadline_ns)
			return n;
	} while (look_again(&cow->look, since, now));
	n = poll(fds, 2, call_poll_ms(deadline_ns));
	if (n >= 0)
		look_slept(&cow->look, clock_now_ns() - since);
	return n;
}

/* The events of the socket.  Under the lock, which is released while it polls. */
static short call_sleep(struct cow *cow)
{
	struct pollfd fds[2] = {{.fd = -1}, {.fd = cow->wake_fd, .events = POLLIN}};
	eventfd_t drained;
	int n;

	link_pollfd(cow, &fds[0].fd, &fds[0].events);
	cow->pump_fd = fds[0].fd;
	cow->pump_events = fds[0].events;
	cow->pump_deadline_ns = link_deadline_ns(cow);
	cow->polling = true;
	cow->look.max_ns = cow->poll_us * UINT64_C(1000);
	(void)pthread_mutex_unlock(&cow->lock);
	n = call_poll(cow, fds, cow->pump_deadline_ns);
	if (n > 0 && fds[1].revents)
		(void)eventfd_read(cow->wake_fd, &drained);
	(void)pthread_mutex_lock(&cow->lock);
	cow->polling = false;
	return n > 0 ? fds[0].revents : 0;
}

static void call_pump(struct cow *cow, const struct call *call)
{
	cow->pumping = true;
	while (call->state != CALL_DONE)
		link_drive(cow, call_sleep(cow));
	cow->pumping = false;
}

void call_hand_over(struct cow *cow)
{
	struct call *other;

	if (cow->pumping)
		return;
	TAILQ_FOREACH (other, &cow->waiters, waiter_link) {
		if (other->state != CALL_DONE) {
			(void)pthread_cond_signal(&other->cond);
			return;
		}
	}
}

bool call_sleep_for_aio(struct cow *cow, short *revents)
{
	if (cow->pumping)
		return false;
	cow->pumping = true;
	*revents = call_sleep(cow);
	cow->pumping = false;
	return true;
}

void call_wait_only(struct cow *cow, struct call *call)
{
	(void)pthread_mutex_lock(&cow->lock);
	while (call->state != CALL_DONE) {
		if (!cow->pumping) {
			call_pump(cow, call);
			continue;
		}
		TAILQ_INSERT_TAIL(&cow->waiters, call, waiter_link);
		(void)pthread_cond_wait(&call->cond, &cow->lock);
		TAILQ_REMOVE(&cow->waiters, call, waiter_link);
	}
	call_hand_over(cow);
	(void)pthread_mutex_unlock(&cow->lock);
}

int call_wait(struct cow *cow, struct call *call)
{
	call_wait_only(cow, call);
	if (call->err < 0)
		return errors_set(cow, call->err, call->text);
	errors_touch(cow);
	return 0;
}

int call_run(struct cow *cow, struct call *call, int body_len)
{
	call_start(cow, call, body_len);
	return call_wait(cow, call);
}

size_t call_body_max(struct cow *cow)
{
	size_t max = WIRE_BODY_MAX;

	(void)pthread_mutex_lock(&cow->lock);
	if (cow->link.state == LINK_READY && cow->server.body_max < max)
		max = cow->server.body_max;
	(void)pthread_mutex_unlock(&cow->lock);
	return max;
}
