/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_tls.c: the handshake of TLS on a connection: before its protocol, or where that asks for it.
 *
 * Nothing of TLS is made before the first byte has come, and none of the protocol's bytes is read before
 * the handshake is over.  It stands under the same deadline as the handshake of the protocol.  A step of it
 * costs much more than what any request does in a turn: so all handshakes share a few steps in each pass of
 * the loop, in order of arrival, however many there are.
 */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/tls.h"
#include "server/conn_priv.h"

#define TLS_RECORD_HANDSHAKE 22 /* the first byte of each handshake */
#define TLS_REASON_BYTES     (4u * TLS_TEXT_MAX)

void conn_start_tls(struct conn *conn)
{
	assert(conn_has_tls(conn) && !conn->req && conn->session.nrequests == 0);
	if (conn->state >= CONN_FINISHING)
		return;
	conn->in_pos = 0;
	conn->in_len = 0;
	conn->state = CONN_TLS;
}

/* Says why there will be no connection, and ends it. */
static enum conn_step tls_refuse(struct conn *conn, const char *reason)
{
	char quoted[TLS_REASON_BYTES];

	if (log_rate_pass(&conn->set->tls_refusals, "tls-refused", clock_now_ms()))
		log_event(LOG_WARN, "tls-refused", "client=\"%s\" reason=%s", conn->session.holder,
			  log_quote(quoted, sizeof(quoted), reason));
	conn_finish(conn);
	return STEP_WAIT;
}

void conn_tls_failed(struct conn *conn)
{
	char quoted[TLS_REASON_BYTES];

	if (conn_is_tls(conn) && (errno == EPROTO || errno == EACCES) && conn_may_log_fault(conn))
		log_event(LOG_WARN, "protocol-error", "client=\"%s\" error=TLS reason=%s",
			  conn->session.holder,
			  log_quote(quoted, sizeof(quoted), stream_text(&conn->stream)));
}

/* Looks at the first byte, and leaves it where it is: what speaks no TLS is told apart. */
static enum conn_step tls_look(struct conn *conn)
{
	unsigned char first;
	ssize_t n = recv(conn->stream.fd, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return STEP_WAIT;
	if (n <= 0) {
		conn_kill(conn);
		return STEP_WAIT;
	}
	if (first != TLS_RECORD_HANDSHAKE)
		return tls_refuse(conn, "the client does not speak TLS");
	return STEP_ON;
}

/* Whether it may go on in this pass of the loop.  If not it is woken in a later one. */
static bool tls_may_step(struct conn *conn)
{
	static const struct timeval next_pass = {0, 0};
	struct conn_set *set = conn->set;

	if (!gate_pass(&set->shakes, &conn->waiter, 1, false))
		return false;
	set->shakes.used_bytes++;
	if (!event_pending(set->shake_tick, EV_TIMEOUT, NULL) &&
	    event_add(set->shake_tick, &next_pass) < 0)
		set->shakes.used_bytes = 0; /* rather no limit than nobody who lifts it */
	return true;
}

void conn_set_shake_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct conn_set *set = ctx;

	(void)fd;
	(void)what;
	set->shakes.used_bytes = 0;
	gate_wake(&set->shakes);
}

enum conn_step conn_step_tls(struct conn *conn)
{
	enum conn_step step = STEP_ON;
	int err;

	if (outq_bytes(&conn->out) > 0)
		return STEP_WAIT;
	if (!conn_is_tls(conn))
		step = tls_look(conn);
	if (step != STEP_ON || !tls_may_step(conn))
		return STEP_WAIT;
	if (!conn_is_tls(conn) && stream_start_tls(&conn->stream, conn->set->tls) < 0)
		return tls_refuse(conn, err_text(-ERR_NOMEM));
	err = stream_handshake(&conn->stream);
	if (err == STREAM_AGAIN)
		return STEP_WAIT;
	if (err < 0)
		return tls_refuse(conn, stream_text(&conn->stream));
	session_set_identity(&conn->session, stream_peer_name(&conn->stream));
	log_event(LOG_DEBUG, "tls", "client=\"%s\"", conn->session.holder);
	conn->readable = true; /* with the end of the handshake more may have come */
	conn->state = CONN_HEADER;
	return STEP_ON;
}
