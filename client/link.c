/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/link.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/flight.h"
#include "common/clock.h"
#include "common/err.h"

/* Smaller limits than these would not let every request through. */
#define LINK_PAYLOAD_LEAST 4096u

#define LINK_BACKOFF_MIN_MS 10u
#define LINK_BACKOFF_MAX_MS 1000u
#define LINK_DIAL_MS	    10000u /* then the attempt is made anew */

void link_init(struct cow *cow)
{
	chan_init(&cow->chan);
	cow->link.state = LINK_DOWN;
	cow->link.fd = -1;
	TAILQ_INIT(&cow->calls);
	TAILQ_INIT(&cow->parked);
	TAILQ_INIT(&cow->waiters);
	TAILQ_INIT(&cow->objects);
}

static uint64_t link_after(uint64_t now_ns, unsigned int ms)
{
	return now_ns + (uint64_t)ms * UINT64_C(1000000);
}

/* ---- who polls ------------------------------------------------------------------------------- */

void link_pollfd(const struct cow *cow, int *fd, short *events)
{
	*fd = -1;
	*events = 0;
	if (cow->link.state == LINK_DIALING) {
		*fd = cow->link.fd;
		*events = POLLOUT;
	} else if (cow->chan.alive) {
		*fd = cow->chan.stream.fd;
		*events = chan_events(&cow->chan);
	}
}

uint64_t link_deadline_ns(const struct cow *cow)
{
	const struct link *link = &cow->link;
	uint64_t deadline_ns = flight_deadline_ns(cow);

	if (chan_is_pending(&cow->chan)) /* poll() does not know of it */
		return 0;
	if ((link->state == LINK_DIALING ||
	     (link->state == LINK_LOST && !TAILQ_EMPTY(&cow->parked))) &&
	    link->retry_ns < deadline_ns)
		return link->retry_ns;
	return deadline_ns;
}

void link_signal(struct cow *cow)
{
	if (cow->polling && cow->aio.waiting > 0)
		(void)eventfd_write(cow->wake_fd, 1);
	if (cow->aio.event_fd < 0 || cow->aio.signaled)
		return;
	cow->aio.signaled = true;
	(void)eventfd_write(cow->aio.event_fd, 1);
}

static void link_unwatch(struct aio_set *aio)
{
	if (aio->watched_fd >= 0)
		(void)epoll_ctl(aio->epoll_fd, EPOLL_CTL_DEL, aio->watched_fd, NULL);
	aio->watched_fd = -1;
}

/* Without memory for it cow_process() is called all the time, and tries again. */
static void link_watch(struct cow *cow)
{
	struct aio_set *aio = &cow->aio;
	struct epoll_event ev = {.events = 0};
	short events;
	int fd;

	if (aio->epoll_fd < 0)
		return;
	link_pollfd(cow, &fd, &events);
	if (fd >= 0 && fd == aio->watched_fd && events == aio->watched_events)
		return;
	if (fd != aio->watched_fd)
		link_unwatch(aio);
	if (fd < 0)
		return;
	ev.events = (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u);
	if (epoll_ctl(aio->epoll_fd, aio->watched_fd < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) <
	    0) {
		link_signal(cow);
		return;
	}
	aio->watched_fd = fd;
	aio->watched_events = events;
}

/* Whoever polls must look again when there is more to send, another socket, or an earlier deadline. */
static void link_wake(struct cow *cow)
{
	uint64_t deadline_ns = link_deadline_ns(cow);
	short events;
	int fd;

	link_pollfd(cow, &fd, &events);
	if (cow->polling && (fd != cow->pump_fd || (events & ~cow->pump_events) ||
			     deadline_ns < cow->pump_deadline_ns))
		(void)eventfd_write(cow->wake_fd, 1);
	if (deadline_ns < cow->aio.told_ns)
		link_signal(cow);
}

/* ---- objects --------------------------------------------------------------------------------- */

/* An OPEN of an object that is the application's already. */
struct link_reopen {
	struct call call;
	struct cow_object *obj;
	struct msg_open_reply reply;
};

static int link_decode_open(void *ctx, const uint8_t *body, size_t len)
{
	return msg_open_reply_decode(body, len, ctx);
}

static void link_reopened(struct call *call)
{
	struct link_reopen *re = CONTAINER_OF(call, struct link_reopen, call);
	struct cow_object *obj = re->obj;
	struct cow *cow = obj->cow;

	obj->reopening = NULL;
	cow->unpark = true;
	if (call->err == 0 && re->reply.info.id == obj->id) {
		flight_object_opened(obj, &re->reply);
	} else if (call->err == 0) {
		flight_close_handle(cow, re->reply.handle);
		flight_set_gone(obj, -ERR_NOENT,
				"the object was renamed or removed while there was no connection");
	} else if (call->err == -ERR_CONN || call->err == -ERR_SHUTDOWN) {
		obj->state = OBJECT_LOST;
	} else {
		flight_set_gone(obj, call->err,
				"the object could not be opened again on a new connection");
	}
	free(re);
}

static void link_reopen(struct cow *cow, struct cow_object *obj)
{
	struct link_reopen *re = calloc(1, sizeof(*re));
	struct msg_open m = {.flags = obj->flags};
	int n;

	if (!re) {
		flight_set_gone(obj, -ERR_NOMEM,
				"the object could not be opened again on a new connection");
		return;
	}
	memcpy(m.name, obj->spec, sizeof(m.name));
	re->obj = obj;
	re->call.req.op = WIRE_OP_OPEN;
	re->call.req.body = re->call.req.inline_body;
	n = msg_open_encode(re->call.req.inline_body, CHAN_BODY_MAX, &m);
	assert(n > 0);
	re->call.req.body_len = (uint32_t)n;
	re->call.session = cow->session;
	re->call.decode = link_decode_open;
	re->call.ctx = &re->reply;
	re->call.ended = link_reopened;
	obj->state = OBJECT_OPENING;
	obj->reopening = &re->call;
	flight_start_parked(cow, &re->call);
}

/* What one handle wrote is missing for all that are open on the object. */
static void link_mark_restarted(struct cow *cow, struct cow_object *dirty)
{
	struct cow_object *obj;

	dirty->synced = dirty->acked;
	TAILQ_FOREACH (obj, &cow->objects, link)
		if (obj->id == dirty->id && obj->state != OBJECT_GONE)
			obj->restarted = true;
}

static void link_reopen_all(struct cow *cow, bool restarted, bool same_store)
{
	struct cow_object *obj;

	TAILQ_FOREACH (obj, &cow->objects, link)
		if (restarted && flight_is_dirty(obj))
			link_mark_restarted(cow, obj);
	TAILQ_FOREACH (obj, &cow->objects, link) {
		if (obj->state != OBJECT_LOST)
			continue;
		if (obj->tied)
			flight_set_gone(obj, -ERR_CONN,
					"the group that it was tied to ended with its connection");
		else if (cow->reconnect && same_store)
			link_reopen(cow, obj);
		else
			flight_set_gone(obj, -ERR_CONN,
					"the object was opened on an earlier connection");
	}
}

/* ---- making one ------------------------------------------------------------------------------ */

static int link_decode_hello(void *ctx, const uint8_t *body, size_t len)
{
	return msg_hello_reply_decode(body, len, ctx);
}

/* The payload CRC is for wires that may change bits: a unix socket does not. */
static uint64_t link_features(bool crc)
{
	return crc ? WIRE_FEATURE_PAYLOAD_CRC : 0;
}

int link_encode_hello(struct cow *cow, struct call *hello, struct msg_hello_reply *reply, bool crc)
{
	struct msg_hello m = {
	    .version_min = WIRE_VERSION,
	    .version_max = WIRE_VERSION,
	    .features = link_features(crc),
	};

	memcpy(m.agent, cow->agent, sizeof(m.agent));
	hello->handshake = true;
	hello->decode = link_decode_hello;
	hello->ctx = reply;
	return msg_hello_encode(hello->req.inline_body, CHAN_BODY_MAX, &m);
}

static const char *link_hello_problem(const struct msg_hello_reply *m, uint64_t asked)
{
	if (m->version != WIRE_VERSION)
		return "the server chose an unknown version of the protocol";
	if (m->features & ~asked)
		return "the server chose features that were not asked for";
	if (m->body_max < CHAN_BODY_MAX || m->payload_max < LINK_PAYLOAD_LEAST ||
	    m->inflight_max < 1)
		return "the server's limits are too low";
	return NULL;
}

const char *link_accept(struct cow *cow, const struct msg_hello_reply *reply, bool crc)
{
	const char *problem = link_hello_problem(reply, link_features(crc));
	struct msg_hello_reply last = cow->server;
	uint32_t payload_max = reply->payload_max;
	bool same_store = memcmp(last.store_uuid, reply->store_uuid, sizeof(last.store_uuid)) == 0;
	bool restarted = !same_store || last.incarnation != reply->incarnation;

	if (problem)
		return problem;
	if (payload_max > WIRE_PAYLOAD_MAX)
		payload_max = WIRE_PAYLOAD_MAX;
	chan_set_limits(&cow->chan, reply->features, WIRE_BODY_MAX, payload_max,
			reply->inflight_max);
	cow->server = *reply;
	cow->link.state = LINK_READY;
	cow->link.crc = crc;
	cow->link.backoff_ms = 0;
	cow->link.text[0] = '\0';
	cow->unpark = true;
	if (!restarted)
		flight_drop_doubtful(cow);
	link_reopen_all(cow, restarted, same_store);
	return NULL;
}

static int link_open(struct cow *cow, int fd, struct tls *tls)
{
	int err;

	link_unwatch(&cow->aio);
	chan_close(&cow->chan);
	err = chan_open(&cow->chan, fd, tls);
	if (err < 0)
		return err;
	cow->session++;
	cow->link.state = LINK_HELLO;
	return 0;
}

static void link_stop_dialing(struct cow *cow)
{
	if (cow->link.fd < 0)
		return;
	link_unwatch(&cow->aio);
	(void)close(cow->link.fd);
	cow->link.fd = -1;
}

int link_adopt(struct cow *cow, int fd, struct tls *tls)
{
	link_stop_dialing(cow);
	return link_open(cow, fd, tls);
}

/* ---- making another -------------------------------------------------------------------------- */

static void link_failed(struct cow *cow, uint64_t now_ns)
{
	struct link *link = &cow->link;

	link->backoff_ms *= 2;
	if (link->backoff_ms < LINK_BACKOFF_MIN_MS)
		link->backoff_ms = LINK_BACKOFF_MIN_MS;
	if (link->backoff_ms > LINK_BACKOFF_MAX_MS)
		link->backoff_ms = LINK_BACKOFF_MAX_MS;
	link->retry_ns = link_after(now_ns, link->backoff_ms);
	link->state = LINK_LOST;
}

static void link_connected(struct cow *cow, int fd, uint64_t now_ns)
{
	struct call *hello = &cow->link.hello;
	int n;

	if (link_open(cow, fd, cow->link.tls) < 0) {
		(void)close(fd);
		link_failed(cow, now_ns);
		return;
	}
	memset(hello, 0, sizeof(*hello));
	hello->req.op = WIRE_OP_HELLO;
	hello->req.body = hello->req.inline_body;
	n = link_encode_hello(cow, hello, &cow->link.hello_reply, cow->link.crc);
	assert(n > 0);
	hello->req.body_len = (uint32_t)n;
	flight_start(cow, hello);
}

static void link_dialed(struct cow *cow, int result, int fd, uint64_t now_ns)
{
	struct link *link = &cow->link;

	if (result == DIAL_PENDING) {
		if (link->state != LINK_DIALING)
			link->retry_ns = link_after(now_ns, LINK_DIAL_MS);
		link->fd = fd;
		link->state = LINK_DIALING;
	} else if (result == 0) {
		link->fd = -1; /* the channel's now */
		link_connected(cow, fd, now_ns);
	} else {
		link_stop_dialing(cow);
		link_failed(cow, now_ns);
	}
}

static void link_step_lost(struct cow *cow, uint64_t now_ns)
{
	int fd = -1;
	int result;

	if (TAILQ_EMPTY(&cow->parked) || now_ns < cow->link.retry_ns)
		return;
	result = dial_begin(&cow->link.addr, &fd, cow->link.text);
	link_dialed(cow, result, fd, now_ns);
}

static void link_step_dialing(struct cow *cow, uint64_t now_ns)
{
	int result = dial_end(cow->link.fd, cow->link.text);

	if (result == 0) /* it will be watched as the channel's */
		link_unwatch(&cow->aio);
	if (result == DIAL_PENDING && now_ns >= cow->link.retry_ns)
		result = -ERR_TIMEOUT;
	link_dialed(cow, result, cow->link.fd, now_ns);
}

/* The handshake of a connection that was made again has ended, or is under way. */
static void link_step_hello(struct cow *cow)
{
	const struct call *hello = &cow->link.hello;
	const char *problem;

	if (cow->connecting || !cow->chan.alive || hello->state != CALL_DONE)
		return;
	if (hello->err == -ERR_SHUTDOWN) {
		chan_kill(&cow->chan, CHAN_LOST, NULL, 0, -ERR_CONN, "the server is shutting down",
			  "");
		return;
	}
	problem =
	    hello->err < 0 ? hello->text : link_accept(cow, &cow->link.hello_reply, cow->link.crc);
	if (problem)
		chan_kill(&cow->chan, CHAN_CLOSED, NULL, 0, -ERR_CONN,
			  "the server did not accept another connection", problem);
}

/* ---- losing one ------------------------------------------------------------------------------ */

static void link_objects_lost(struct cow *cow)
{
	struct cow_object *obj;

	TAILQ_FOREACH (obj, &cow->objects, link)
		if (obj->state == OBJECT_OPEN)
			obj->state = OBJECT_LOST;
}

/* Notices the end of the channel. */
static void link_check(struct cow *cow, uint64_t now_ns)
{
	struct link *link = &cow->link;
	bool was_ready = link->state == LINK_READY;

	if (cow->chan.alive || link->state < LINK_HELLO)
		return;
	link_objects_lost(cow);
	cow->unpark = true;
	if (cow->connecting || !cow->reconnect || cow->chan.end == CHAN_CLOSED) {
		link->state = LINK_DOWN;
	} else if (was_ready) {
		link->state = LINK_LOST;
		link->retry_ns = now_ns;
	} else {
		link_failed(cow, now_ns);
	}
}

void link_connect_begun(struct cow *cow)
{
	cow->connecting = true;
	link_stop_dialing(cow);
	cow->link.state = LINK_DOWN;
}

void link_connect_ended(struct cow *cow)
{
	cow->connecting = false;
	if (cow->link.state == LINK_DOWN && !TAILQ_EMPTY(&cow->parked)) {
		cow->link.state = LINK_LOST;
		cow->link.retry_ns = clock_now_ns();
	}
	link_settle(cow);
}

void link_close(struct cow *cow)
{
	link_stop_dialing(cow);
	link_unwatch(&cow->aio);
	chan_close(&cow->chan);
	cow->link.state = LINK_DOWN;
	link_objects_lost(cow);
	flight_unpark(cow);
}

/* ---- driving --------------------------------------------------------------------------------- */

static void link_step(struct cow *cow, short revents, uint64_t now_ns)
{
	uint64_t received = cow->chan.received;

	if (cow->link.state == LINK_LOST)
		link_step_lost(cow, now_ns);
	else if (cow->link.state == LINK_DIALING)
		link_step_dialing(cow, now_ns);
	if (cow->link.state >= LINK_HELLO)
		chan_process(&cow->chan, revents);
	if (cow->chan.received != received)
		cow->heard_ns = now_ns;
	if (cow->link.state == LINK_HELLO)
		link_step_hello(cow);
	link_check(cow, now_ns);
}

/* A call that is parked may dial, and what is sent may show the end of a connection. */
void link_settle(struct cow *cow)
{
	uint64_t now_ns = clock_now_ns();

	link_check(cow, now_ns);
	while (cow->unpark)
		flight_unpark(cow);
	if (cow->link.state == LINK_LOST)
		link_step_lost(cow, now_ns);
	link_watch(cow);
	link_wake(cow);
}

void link_drive(struct cow *cow, short revents)
{
	uint64_t now_ns = clock_now_ns();

	link_step(cow, revents, now_ns);
	flight_expire(cow, now_ns);
	link_settle(cow);
}
