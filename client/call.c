/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/errors.h"
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

static void call_fail(struct call *call, int err, const char *text)
{
	call->done = true;
	call->err = err;
	(void)snprintf(call->text, sizeof(call->text), "%s", text);
}

/* Under the lock; the thread that waits may be another. */
static void call_done_cb(struct chan_request *req, const struct chan_reply *reply)
{
	struct call *call = CONTAINER_OF(req, struct call, req);

	if (reply->err < 0)
		call_fail(call, reply->err, reply->text);
	else if (call->decode && call->decode(call->ctx, reply->body, reply->body_len) < 0)
		call_fail(call, -ERR_PROTO, "the server sent a malformed reply");
	else if (!call->decode && reply->body_len > 0)
		call_fail(call, -ERR_PROTO, "the server sent a reply that is too long");
	else
		call->payload_len = reply->payload_len;
	call->done = true;
	(void)pthread_cond_signal(&call->cond);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Why the call cannot go out on the connection as it is; NULL if it can. */
static const char *call_obstacle(const struct cow *cow, const struct call *call)
{
	if (!cow->chan.alive)
		return cow->chan.reason;
	if (!cow->ready && !call->handshake)
		return "not connected";
	if (call->session != 0 && call->session != cow->session)
		return "the object was opened on an earlier connection";
	return NULL;
}

/* The pumping thread must look again when there is more to send, or an earlier deadline. */
static void call_wake_pump(struct cow *cow, const struct call *call)
{
	if (cow->pumping &&
	    ((chan_events(&cow->chan) & POLLOUT) || call->req.deadline_ns < cow->pump_deadline_ns))
		(void)eventfd_write(cow->wake_fd, 1);
}

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
	const char *obstacle;

	if (body_len < 0) {
		call_fail(call, -ERR_INVAL, "the request is too long");
		return;
	}
	call->req.body_len = (uint32_t)body_len;
	call->req.done = call_done_cb;
	if (call_needs_crc(cow, call))
		chan_request_crc(&call->req);
	(void)pthread_mutex_lock(&cow->lock);
	obstacle = call_obstacle(cow, call);
	if (obstacle) {
		call_fail(call, -ERR_CONN, obstacle);
	} else {
		call->req.deadline_ns =
		    clock_now_ns() + (uint64_t)cow->timeout_ms * UINT64_C(1000000);
		chan_submit(&cow->chan, &call->req);
		call_wake_pump(cow, call);
	}
	(void)pthread_mutex_unlock(&cow->lock);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int call_poll_ms(uint64_t deadline_ns)
{
	uint64_t now = clock_now_ns();
	uint64_t ms = now < deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 0;

	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Under the lock, which is released while it polls. */
static void call_pump_once(struct cow *cow)
{
	struct pollfd fds[2] = {
	    {.fd = cow->chan.fd, .events = chan_events(&cow->chan)},
	    {.fd = cow->wake_fd, .events = POLLIN},
	};
	eventfd_t drained;
	int n;

	cow->pump_deadline_ns = chan_deadline_ns(&cow->chan);
	(void)pthread_mutex_unlock(&cow->lock);
	n = poll(fds, 2, call_poll_ms(cow->pump_deadline_ns));
	if (n > 0 && fds[1].revents)
		(void)eventfd_read(cow->wake_fd, &drained);
	(void)pthread_mutex_lock(&cow->lock);
	chan_process(&cow->chan, n > 0 ? fds[0].revents : 0, clock_now_ns());
}

static void call_pump(struct cow *cow, const struct call *call)
{
	cow->pumping = true;
	while (!call->done)
		call_pump_once(cow);
	cow->pumping = false;
	(void)pthread_cond_broadcast(&cow->idle);
}

/* Whoever leaves while nobody pumps wakes one who will: so no call is left without a pump. */
static void call_hand_over(struct cow *cow)
{
	struct call *other;

	if (cow->pumping)
		return;
	TAILQ_FOREACH (other, &cow->waiters, waiter_link) {
		if (!other->done) {
			(void)pthread_cond_signal(&other->cond);
			return;
		}
	}
}

void call_wait_only(struct cow *cow, struct call *call)
{
	(void)pthread_mutex_lock(&cow->lock);
	while (!call->done) {
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
