/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/conn.h"

#include <assert.h>
#include <bsd/sys/queue.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "common/tls.h"
#include "server/conn_priv.h"
#include "server/gate.h"
#include "server/loop.h"
#include "server/outq.h"

#define CONN_TURN_OUT_BYTES (4u << 20)
#define CONN_DISCARD_READS  256
#define CONN_SEND_PIECES    128
#define CONN_SLOW_BYTES	    (64u << 10)
#define CONN_SOCKET_BYTES   (256u << 10)
#define CONN_COPY_BYTES	    1024u /* fewer are not worth the page that they keep */

/* ---- budgets and turns ----------------------------------------------------------------------- */

void conn_wake(struct conn *conn)
{
	if (conn->in_turn)
		conn->again = true;
	else
		event_active(conn->ev_turn, EV_TIMEOUT, 0);
}

void conn_yield(struct conn *conn)
{
	static const struct timeval at_once = {0, 0};

	if (event_add(conn->ev_turn, &at_once) < 0)
		conn_kill(conn);
}

static void conn_waiter_wake(struct gate_waiter *w)
{
	conn_wake(CONTAINER_OF(w, struct conn, waiter));
}

void conn_account(struct conn *conn)
{
	struct gate *send = &conn->set->send;
	uint64_t now = 0;
	uint64_t before = conn->pending_bytes;

	if (conn->state != CONN_DEAD)
		now = outq_bytes(&conn->out) + conn->session.promised_bytes;
	if (conn->state == CONN_ADMIT)
		now -= conn->req->promise_bytes; /* it is still asking for that */
	conn->pending_bytes = now;
	send->used_bytes += now - before;
	if (now < before)
		gate_wake(send);
}

void conn_unreserve(struct conn *conn)
{
	struct gate *recv = &conn->set->recv;

	if (conn->reserved_bytes == 0)
		return;
	recv->used_bytes -= conn->reserved_bytes;
	conn->reserved_bytes = 0;
	gate_wake(recv);
}

/* Whether it keeps a large part of a common budget from others. */
static bool conn_is_holder(const struct conn *conn)
{
	return conn->reserved_bytes > 0 || outq_bytes(&conn->out) > CONN_SMALL_BYTES;
}

static bool conn_set_has_waiters(const struct conn_set *set)
{
	return gate_has_waiters(&set->send) || gate_has_waiters(&set->recv);
}

/* Begins the measured time: who holds much now has to move until the next tick. */
static void conn_set_begin_slow(struct conn_set *set)
{
	struct timeval tv = {.tv_sec = set->config.slow_ms / 1000,
			     .tv_usec = set->config.slow_ms % 1000 * 1000};
	struct conn *conn;

	TAILQ_FOREACH (conn, &set->conns, link) {
		conn->moved_bytes = 0;
		conn->slow_held = conn_is_holder(conn);
	}
	if (event_add(set->slow_tick, &tv) < 0)
		log_event(LOG_ERROR, "slow-tick", "error=NOMEM");
}

static void conn_set_slow_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct conn_set *set = ctx;
	struct conn *conn;

	(void)fd;
	(void)what;
	if (!conn_set_has_waiters(set))
		return;
	TAILQ_FOREACH (conn, &set->conns, link) {
		if (!conn->slow_held || !conn_is_holder(conn) ||
		    conn->moved_bytes >= CONN_SLOW_BYTES || conn->state == CONN_DEAD)
			continue;
		log_event(LOG_WARN, "connection-dropped", "reason=slow client=\"%s\" unsent=%zu",
			  conn->session.holder, outq_bytes(&conn->out));
		conn_kill(conn);
	}
	conn_set_begin_slow(set);
}

void conn_hold(struct conn *conn)
{
	struct conn_set *set = conn->set;

	if (!event_pending(set->slow_tick, EV_TIMEOUT, NULL))
		conn_set_begin_slow(set);
}

static void conn_set_deadline(struct conn *conn, unsigned int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (conn->state != CONN_DEAD && event_add(conn->ev_deadline, &tv) < 0)
		conn_kill(conn);
}

/* ---- the end of a connection ----------------------------------------------------------------- */

/* Forgets a request that has not been received completely. */
static void conn_drop_partial(struct conn *conn)
{
	if (conn->req)
		session_request_end(conn->req);
	conn->req = NULL;
	conn_unreserve(conn);
	gate_leave(&conn->waiter);
}

void conn_finish(struct conn *conn)
{
	if (conn->state >= CONN_FINISHING)
		return;
	conn->state = CONN_FINISHING;
	if (conn->proto->finish)
		conn->proto->finish(conn);
	conn_drop_partial(conn);
	conn_account(conn);
}

void conn_kill(struct conn *conn)
{
	if (conn->state == CONN_DEAD)
		return;
	conn_drop_partial(conn);
	conn->state = CONN_DEAD;
	event_del(conn->ev_read);
	event_del(conn->ev_write);
	event_del(conn->ev_deadline);
	stream_close(&conn->stream);
	outq_fini(&conn->out);
	conn_account(conn);
	conn_wake(conn);
}

static void conn_free(struct conn *conn)
{
	struct event *const events[] = {conn->ev_read, conn->ev_write, conn->ev_turn,
					conn->ev_deadline};

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	if (conn->own)
		conn->proto->close(conn);
	outq_fini(&conn->out);
	stream_close(&conn->stream);
	conn->magic = 0;
	free(conn);
}

/* Frees a dead connection once the engine has answered all of its requests. */
static void conn_reap(struct conn *conn)
{
	struct conn_set *set = conn->set;

	if (conn->session.nrequests > 0)
		session_hurry(&conn->session);
	if (conn->session.nrequests > 0)
		return;
	if (conn->proto->end && !conn->proto->end(conn))
		return;
	log_event(LOG_DEBUG, "disconnect", "client=\"%s\"", conn->session.holder);
	session_fini(&conn->session);
	TAILQ_REMOVE(&set->conns, conn, link);
	set->nconns--;
	conn_free(conn);
	if (set->config.on_closed)
		set->config.on_closed(set->config.ctx);
}

/* Throws away a part of what has come, by TLS unseen; as recv(2). */
static ssize_t conn_recv_nothing(struct conn *conn)
{
	return recv(conn->stream.fd, conn->in, sizeof(conn->in), MSG_DONTWAIT);
}

/* Throws it all away, so that a close does not reset the connection. */
static void conn_discard_input(struct conn *conn)
{
	for (int i = 0; i < CONN_DISCARD_READS; i++)
		if (conn_recv_nothing(conn) <= 0)
			return;
}

/* Everything is sent, but for the end; false: it has to wait until that can be written. */
static bool conn_end(struct conn *conn)
{
	bool told = conn->eof && !conn_is_tls(conn); /* nobody reads it any more */
	int err = told ? -ERR_CONN : stream_end(&conn->stream);

	if (err == STREAM_AGAIN && !conn->ending)
		conn_set_deadline(conn, conn->set->config.linger_ms);
	conn->ending = err == STREAM_AGAIN;
	if (err < 0 || (conn->eof && !conn->ending))
		conn_kill(conn);
	return conn->state != CONN_DEAD && !conn->ending;
}

/* A close now would reset a peer that still sends, before it has read what it was sent. */
static void conn_linger(struct conn *conn)
{
	if (!conn_end(conn))
		return;
	if (conn->set->stopping) { /* an idle peer would take its time */
		conn_discard_input(conn);
		conn_kill(conn);
		return;
	}
	conn->state = CONN_LINGER;
	conn_set_deadline(conn, conn->set->config.linger_ms);
}

static void conn_linger_read(struct conn *conn)
{
	ssize_t n = conn_recv_nothing(conn);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_kill(conn);
}

bool conn_may_log_fault(struct conn *conn)
{
	return log_rate_pass(&conn->set->faults, "protocol-error", clock_now_ms());
}

void conn_refuse(struct conn *conn, int err)
{
	if (conn_may_log_fault(conn))
		log_event(LOG_WARN, "protocol-error", "client=\"%s\" error=%s reason=\"%s\"",
			  conn->session.holder, err_name(err), err_text(err));
	conn_finish(conn);
	conn_set_deadline(conn, conn->set->config.handshake_ms);
}

/*
 * A unix socket takes 208 KiB unless it is told otherwise, so that each MiB of a reply would be five passes of
 * the loop and of its reader.  Those of other kinds grow by themselves, and not after they were told.
 */
static void conn_widen(struct conn *conn)
{
	const int bytes = CONN_SOCKET_BYTES; /* the kernel takes it twice, within its limit */
	int domain = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(conn->stream.fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	    domain == AF_UNIX)
		(void)setsockopt(conn->stream.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void conn_set_ready(struct conn *conn)
{
	if (!conn->ready)
		conn_widen(conn);
	conn->ready = true;
	event_del(conn->ev_deadline);
}

/* ---- output ---------------------------------------------------------------------------------- */

int conn_add(struct conn *conn, const void *data, size_t len)
{
	return outq_add(&conn->out, data, len);
}

/* Gives the references of a vector's pages to the output; of a few bytes a copy. */
int conn_add_pages(struct conn *conn, struct pagevec *pv)
{
	int err = 0;

	for (uint32_t i = 0; i < pv->npages && err == 0; i++) {
		uint32_t off;
		uint32_t len;

		pagevec_span(pv, i, &off, &len);
		if (len < CONN_COPY_BYTES) { /* who has the vector puts the page */
			err = outq_add(&conn->out, pv->pages[i]->data + off, len);
			continue;
		}
		err = outq_add_page(&conn->out, pv->pages[i], off, len);
		if (err == 0)
			pv->pages[i] = NULL;
	}
	return err;
}

/* The session's reply callback: also called for a dead connection. */
static void conn_reply(struct session *session, const struct session_reply *reply)
{
	struct conn *conn = CONTAINER_OF(session, struct conn, session);

	assert(conn->magic == CONN_MAGIC);
	if (conn->state != CONN_DEAD) {
		int err = conn->proto->reply(conn, reply);

		conn_account(conn);
		if (err < 0)
			conn_kill(conn);
	}
	for (uint32_t i = 0; i < reply->npayload; i++)
		pagevec_fini(&reply->payload[i]);
	if (!conn->in_turn)
		conn_wake(conn);
}

/* Sends a part of what is there; as write(2). */
static ssize_t conn_send(struct conn *conn)
{
	struct iovec iov[CONN_SEND_PIECES];
	int n = outq_peek(&conn->out, iov, CONN_SEND_PIECES);
	ssize_t sent = stream_writev(&conn->stream, iov, n);

	if (sent > 0)
		outq_drop(&conn->out, (size_t)sent);
	return sent;
}

static void conn_output(struct conn *conn)
{
	size_t left = outq_bytes(&conn->out);
	size_t sent = 0;

	if (left == 0)
		return;
	while (left > 0 && conn->writable && sent < CONN_TURN_OUT_BYTES) {
		ssize_t n = conn_send(conn);

		if (n < 0 && errno != EAGAIN) {
			conn_tls_failed(conn);
			conn_kill(conn);
			return;
		}
		if (n < 0)
			conn->writable = false;
		else
			sent += (size_t)n;
		left = outq_bytes(&conn->out);
	}
	conn->moved_bytes += sent;
	conn_account(conn);
	objects_check_room(conn->set->config.host->objs);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void conn_watch(struct conn *conn, struct event *ev, bool *added, bool want)
{
	if (*added == want)
		return;
	if ((want ? event_add(ev, NULL) : event_del(ev)) < 0)
		conn_kill(conn);
	else
		*added = want;
}

/* The poll() events that the connection waits for. */
static short conn_wants(const struct conn *conn)
{
	bool held = conn->waiter.gate != NULL;
	bool unsent = outq_bytes(&conn->out) > 0;
	bool read = conn->state < CONN_FINISHING && !held && !conn->limited && !conn->waiting;

	if (conn->state == CONN_LINGER)
		return POLLIN;
	if (conn->state == CONN_TLS && (unsent || held)) /* what comes is for the handshake */
		return unsent ? POLLOUT : 0;
	return stream_events(&conn->stream, read, unsent || conn->ending);
}

/* Decides what the connection waits for next; may free it. */
static void conn_settle(struct conn *conn)
{
	bool unsent = outq_bytes(&conn->out) > 0;

	if (conn->state == CONN_FINISHING && conn->session.nrequests == 0 && !unsent)
		conn_linger(conn);
	if (conn->state == CONN_HEADER && conn->limited && conn_may_begin(conn)) {
		conn->limited = false;
		conn->again = true;
	}
	if (conn->state != CONN_DEAD)
		conn_watch(conn, conn->ev_read, &conn->reading, conn_wants(conn) & POLLIN);
	if (conn->state != CONN_DEAD)
		conn_watch(conn, conn->ev_write, &conn->writing, conn_wants(conn) & POLLOUT);
	if (conn->state == CONN_DEAD)
		conn_reap(conn);
	else if (conn->again)
		conn_yield(conn);
}

static void conn_turn(struct conn *conn)
{
	assert(conn->magic == CONN_MAGIC);
	conn->in_turn = true;
	conn->again = false;
	if (conn->state == CONN_LINGER)
		conn_linger_read(conn);
	if (conn->state != CONN_DEAD)
		conn_output(conn); /* first: it may lift a limit of the input */
	conn_input(conn);
	if (conn->state != CONN_DEAD)
		conn_output(conn);
	conn->in_turn = false;
	conn_settle(conn);
}

/* By TLS either direction may have waited for what has come. */
static void conn_on_socket(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *conn = ctx;

	(void)fd;
	if ((what & EV_READ) || conn_is_tls(conn))
		conn->readable = true;
	if ((what & EV_WRITE) || conn_is_tls(conn))
		conn->writable = true;
	conn_turn(conn);
}

static void conn_on_turn(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	conn_turn(ctx);
}

/* Of who was refused the log has a line. */
static void conn_log_drop(struct conn *conn, const char *reason)
{
	enum log_level level = conn->state == CONN_LINGER && !conn->ready ? LOG_DEBUG : LOG_INFO;

	if (level == LOG_INFO &&
	    !log_rate_pass(&conn->set->drops, "connection-dropped", clock_now_ms()))
		return;
	log_event(level, "connection-dropped", "reason=%s client=\"%s\"", reason,
		  conn->session.holder);
}

static void conn_on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *conn = ctx;

	(void)fd;
	(void)what;
	conn_log_drop(conn, conn->ready ? "does-not-end" : "no-handshake");
	conn_kill(conn);
}

/* ---- making and stopping --------------------------------------------------------------------- */

/* Who may not use the server is told so when they say HELLO. */
static void conn_judge(struct conn *conn, const struct peer *peer)
{
	struct session *session = &conn->session;
	struct conn_set *set = conn->set;

	if (!peer_is_refused(set->config.policy, peer, session->refusal, sizeof(session->refusal)))
		return;
	if (log_rate_pass(&set->refusals, "refused", clock_now_ms()))
		log_event(LOG_WARN, "refused", "client=\"%s\" reason=\"%s\"", session->holder,
			  session->refusal);
}

static int conn_make_events(struct conn *conn)
{
	struct event_base *base = loop_base(conn->set->config.loop);

	int fd = conn->stream.fd;

	conn->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, conn_on_socket, conn);
	conn->ev_write = event_new(base, fd, EV_WRITE | EV_PERSIST, conn_on_socket, conn);
	conn->ev_turn = evtimer_new(base, conn_on_turn, conn);
	conn->ev_deadline = evtimer_new(base, conn_on_deadline, conn);
	return conn->ev_read && conn->ev_write && conn->ev_turn && conn->ev_deadline ? 0
										     : -ERR_NOMEM;
}

/* Where the set is full who has been longest without a handshake goes, but for the last to come: so those who
 * do not go on keep nobody out. */
static void conn_set_make_room(struct conn_set *set)
{
	struct conn *conn;

	if (!conn_set_is_full(set))
		return;
	TAILQ_FOREACH (conn, &set->conns, link)
		if (!conn->ready && conn->state != CONN_DEAD)
			break;
	if (!conn || !TAILQ_NEXT(conn, link))
		return;
	conn_log_drop(conn, "crowded");
	conn_kill(conn);
}

/* In the state that it begins in. */
static int conn_make(struct conn_set *set, const struct conn_proto *proto, int fd,
		     enum conn_state state)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct peer peer;
	const int on = 1;

	ASSERT_LOOP();
	if (!conn) {
		close(fd);
		return -ERR_NOMEM;
	}
	conn->magic = CONN_MAGIC;
	conn->set = set;
	conn->state = state;
	conn->proto = proto;
	stream_open(&conn->stream, fd);
	outq_init(&conn->out, objects_pages(set->config.host->objs));
	conn->writable = true;
	conn->waiter.wake = conn_waiter_wake;
	if (evutil_make_socket_nonblocking(fd) < 0 || conn_make_events(conn) < 0 ||
	    proto->open(conn) < 0) {
		conn_free(conn);
		return -ERR_NOMEM;
	}
	/* not of every kind of socket */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	peer_look(fd, &peer);
	session_init(&conn->session, set->config.host, conn_reply, peer.text);
	conn_judge(conn, &peer);
	TAILQ_INSERT_TAIL(&set->conns, conn, link);
	set->nconns++;
	log_event(LOG_DEBUG, "connect", "client=\"%s\"", peer.text);
	conn_set_deadline(conn, set->config.handshake_ms);
	conn_wake(conn);
	conn_set_make_room(set);
	return 0;
}

int conn_new(struct conn_set *set, const struct conn_proto *proto, int fd)
{
	return conn_make(set, proto, fd, CONN_HEADER);
}

int conn_new_tls(struct conn_set *set, const struct conn_proto *proto, int fd)
{
	assert(set->tls);
	return conn_make(set, proto, fd, CONN_TLS);
}

static void conn_set_on_room(void *ctx)
{
	struct conn_set *set = ctx;

	gate_wake_all(&set->recv);
}

static void conn_set_free_events(struct conn_set *set)
{
	if (set->slow_tick)
		event_free(set->slow_tick);
	if (set->shake_tick)
		event_free(set->shake_tick);
}

struct conn_set *conn_set_new(const struct conn_config *config)
{
	struct conn_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->config = *config;
	TAILQ_INIT(&set->conns);
	gate_init(&set->send, config->send_budget_bytes);
	gate_init(&set->recv, config->recv_budget_bytes);
	gate_init(&set->shakes, CONN_SHAKES_MAX);
	set->slow_tick = evtimer_new(loop_base(config->loop), conn_set_slow_tick, set);
	set->shake_tick = evtimer_new(loop_base(config->loop), conn_set_shake_tick, set);
	if (!set->slow_tick || !set->shake_tick) {
		conn_set_free_events(set);
		free(set);
		return NULL;
	}
	objects_on_room(config->host->objs, conn_set_on_room, set);
	return set;
}

void conn_set_free(struct conn_set *set)
{
	if (!set)
		return;
	assert(set->nconns == 0);
	objects_on_room(set->config.host->objs, NULL, NULL);
	conn_set_free_events(set);
	tls_put(set->tls);
	free(set);
}

void conn_set_use_tls(struct conn_set *set, struct tls *tls)
{
	struct tls *before = set->tls;

	set->tls = tls_get(tls);
	tls_put(before);
}

unsigned int conn_set_count(const struct conn_set *set)
{
	return set->nconns;
}

bool conn_set_is_full(const struct conn_set *set)
{
	return set->nconns >= set->config.conns_max;
}

void conn_set_stop(struct conn_set *set)
{
	struct conn *conn;

	set->stopping = true;
	TAILQ_FOREACH (conn, &set->conns, link) {
		conn_finish(conn);
		conn_wake(conn);
	}
}

void conn_set_abort(struct conn_set *set)
{
	struct conn *conn;

	set->stopping = true;
	TAILQ_FOREACH (conn, &set->conns, link)
		conn_kill(conn);
}
