/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_in.c: what comes in: a machine of one small function for each state, run until it needs bytes
 * that are not there, waits for a budget, or has had its turn.  Headers and bodies are the protocol's.
 *
 * Small messages are taken out of a buffer that one system call fills; a payload that does not fit in
 * it is read from the socket into its pages, with what follows it into the buffer.
 */
#include "server/conn_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/uio.h>

#include "common/err.h"
#include "proto/wire.h"

#define CONN_OUT_HIGH	   (8u << 20)
#define CONN_OUT_LOW	   (4u << 20)
#define CONN_PROMISED_MAX  (64u << 20)
#define CONN_TURN_BYTES	   (1 << 20) /* read in one turn, before others have theirs */
#define CONN_TURN_REQUESTS 64
#define CONN_READ_PAGES	   64 /* allocated ahead of the bytes */

/* ---- input ----------------------------------------------------------------------------------- */

ssize_t conn_recv(struct conn *conn, const struct iovec *iov, int niov)
{
	return stream_readv(&conn->stream, iov, niov);
}

/* The outcome of a read of at most "room" bytes; true when there are some. */
static bool conn_got(struct conn *conn, ssize_t n, size_t room)
{
	if (n < 0 && errno == EAGAIN) {
		conn->readable = false;
		return false;
	}
	if (n < 0) {
		conn_tls_failed(conn);
		conn_kill(conn);
		return false;
	}
	if (n == 0) {
		conn->eof = true;
		conn_finish(conn);
		return false;
	}
	conn->readable = (size_t)n == room || stream_is_pending(&conn->stream);
	conn->turn_bytes -= n;
	conn->moved_bytes += (uint64_t)n;
	return true;
}

/* Reads into "in"; true when something came. */
static bool conn_fill(struct conn *conn)
{
	uint32_t have = conn_in_avail(conn);
	size_t room = sizeof(conn->in) - have;
	struct iovec iov = {.iov_base = conn->in + have, .iov_len = room};
	ssize_t n;

	if (!conn->readable)
		return false;
	memmove(conn->in, conn->in + conn->in_pos, have);
	conn->in_pos = 0;
	conn->in_len = have;
	n = conn_recv(conn, &iov, 1);
	if (!conn_got(conn, n, room))
		return false;
	conn->in_len += (uint32_t)n;
	return true;
}

bool conn_may_begin(struct conn *conn)
{
	size_t unsent = outq_bytes(&conn->out);

	if (unsent > CONN_OUT_HIGH)
		conn->out_full = true;
	else if (unsent < CONN_OUT_LOW)
		conn->out_full = false;
	return !conn->out_full && conn->session.nrequests < WIRE_INFLIGHT_MAX &&
	       conn->session.promised_bytes <= CONN_PROMISED_MAX;
}

void conn_begun(struct conn *conn, struct request *req, uint32_t payload_len)
{
	if (conn->state >= CONN_FINISHING) { /* what led to it has ended the connection */
		session_request_end(req);
		return;
	}
	conn->req = req;
	conn->turn_requests--;
	conn->payload_len = payload_len;
	conn->payload_have = 0;
	conn->payload_vec = 0;
	conn->payload_at = 0;
	conn->state = CONN_ADMIT;
}

struct request *conn_take(struct conn *conn)
{
	struct request *req = conn->req;

	conn->req = NULL;
	conn->state = CONN_HEADER;
	return req;
}

/* A part of the memory for payloads.  A small one waits only while the engine is crowded. */
static bool conn_admit_payload(struct conn *conn, uint64_t len)
{
	struct conn_set *set = conn->set;
	bool crowded = objects_crowded(set->config.host->objs);

	if (len <= CONN_SMALL_BYTES && !crowded) {
		gate_leave(&conn->waiter);
		return true;
	}
	if (!gate_pass(&set->recv, &conn->waiter, len, crowded))
		return false;
	conn->reserved_bytes = len;
	set->recv.used_bytes += len;
	return true;
}

/* A part of the memory for replies. */
static bool conn_admit_reply(struct conn *conn, uint64_t bytes)
{
	if (conn->pending_bytes + bytes <= CONN_SMALL_BYTES) {
		gate_leave(&conn->waiter);
		return true;
	}
	return gate_pass(&conn->set->send, &conn->waiter, bytes, false);
}

static enum conn_step conn_step_admit(struct conn *conn)
{
	struct request *req = conn->req;
	bool payload = req->payload && req->err == 0;
	bool pass = payload ? conn_admit_payload(conn, req->payload_bytes)
			    : conn_admit_reply(conn, req->promise_bytes);

	if (!pass) {
		conn_hold(conn);
		return STEP_WAIT;
	}
	if (payload)
		conn->state = CONN_PAYLOAD;
	else
		conn->state = conn->payload_len > 0 ? CONN_DISCARD : CONN_RUN;
	conn_account(conn);
	return STEP_ON;
}

/*
 * Describes where the next bytes of the payload go: at most max pieces, *bytes in all.  Fewer than
 * one: out of memory.
 */
static int conn_payload_iov(struct conn *conn, struct iovec *iov, int max, size_t *bytes)
{
	struct page_pool *pool = objects_pages(conn->set->config.host->objs);
	struct request *req = conn->req;
	uint32_t v = conn->payload_vec;
	uint64_t have = conn->payload_at;
	int n = 0;

	*bytes = 0;
	while (n < max && v < req->npayload) {
		uint64_t at = req->payload[v].head + have;
		uint32_t i = (uint32_t)(at >> BLK_SHIFT);
		struct page *page = pagevecs_page(pool, req->payload, v, i);
		uint32_t off;
		uint32_t len;

		if (!page)
			break;
		pagevec_span(&req->payload[v], i, &off, &len);
		iov[n].iov_base = page->data + at % BLK_BYTES;
		iov[n].iov_len = off + len - at % BLK_BYTES;
		*bytes += iov[n].iov_len;
		have += iov[n++].iov_len;
		if (have == req->payload[v].len) {
			v++;
			have = 0;
		}
	}
	return n;
}

/* Where the bytes behind the next n go. */
static void conn_payload_skip(struct conn *conn, size_t n)
{
	const struct request *req = conn->req;

	while (n > 0 && conn->payload_vec < req->npayload) {
		uint64_t left = req->payload[conn->payload_vec].len - conn->payload_at;
		uint64_t part = n < left ? n : left;

		conn->payload_at += part;
		n -= part;
		if (part == left) {
			conn->payload_vec++;
			conn->payload_at = 0;
		}
	}
}

/* n more bytes have come, where iov says. */
static void conn_payload_came(struct conn *conn, const struct iovec *iov, size_t n)
{
	conn->payload_have += (uint32_t)n;
	conn_payload_skip(conn, n);
	if (!conn->proto->came)
		return;
	for (int i = 0; n > 0; i++) {
		size_t part = iov[i].iov_len < n ? iov[i].iov_len : n;

		conn->proto->came(conn, iov[i].iov_base, part);
		n -= part;
	}
}

/* Takes the part of the payload that is in "in" already. */
static void conn_payload_copy(struct conn *conn, const struct iovec *iov, size_t n)
{
	size_t left = n;

	for (int i = 0; left > 0; i++) {
		size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

		memcpy(iov[i].iov_base, conn->in + conn->in_pos, part);
		conn->in_pos += (uint32_t)part;
		left -= part;
	}
	conn_payload_came(conn, iov, n);
}

/* Reads the payload into its pages and what follows it into "in", which is empty. */
static enum conn_step conn_payload_read(struct conn *conn, struct iovec *iov, int niov,
					size_t bytes)
{
	size_t room = bytes + sizeof(conn->in);
	ssize_t n;

	if (!conn->readable)
		return STEP_WAIT;
	iov[niov].iov_base = conn->in;
	iov[niov].iov_len = sizeof(conn->in);
	if (bytes < conn->payload_len - conn->payload_have)
		room = bytes;
	n = conn_recv(conn, iov, room == bytes ? niov : niov + 1);
	if (!conn_got(conn, n, room))
		return STEP_WAIT;
	conn->in_pos = 0;
	conn->in_len = (size_t)n > bytes ? (uint32_t)((size_t)n - bytes) : 0;
	conn_payload_came(conn, iov, (size_t)n - conn->in_len);
	return STEP_ON;
}

static enum conn_step conn_step_payload(struct conn *conn)
{
	struct iovec iov[CONN_READ_PAGES + 1];
	size_t bytes;
	size_t avail = conn_in_avail(conn);
	int niov;

	if (conn->payload_have == conn->payload_len) {
		conn_unreserve(conn);
		conn->state = CONN_RUN;
		return STEP_ON;
	}
	objects_make_room(conn->set->config.host->objs);
	niov = conn_payload_iov(conn, iov, CONN_READ_PAGES, &bytes);
	if (niov == 0) {
		conn->req->err = -ERR_NOMEM;
		session_drop_payload(conn->req);
		conn_unreserve(conn);
		conn->state = CONN_DISCARD;
		return STEP_ON;
	}
	if (avail == 0)
		return conn_payload_read(conn, iov, niov, bytes);
	conn_payload_copy(conn, iov, avail < bytes ? avail : bytes);
	return STEP_ON;
}

/* Throws away the payload of a request that is refused. */
static enum conn_step conn_step_discard(struct conn *conn)
{
	uint32_t left = conn->payload_len - conn->payload_have;
	struct iovec iov = {.iov_base = conn->in + conn->in_pos, .iov_len = conn_in_avail(conn)};

	if (iov.iov_len > left)
		iov.iov_len = left;
	conn->in_pos += (uint32_t)iov.iov_len;
	conn_payload_came(conn, &iov, iov.iov_len);
	if (conn->payload_have < conn->payload_len)
		return STEP_MORE;
	conn->state = CONN_RUN;
	return STEP_ON;
}

static enum conn_step conn_step(struct conn *conn)
{
	switch (conn->state) {
	case CONN_HEADER:
		conn->limited = !conn_may_begin(conn);
		return conn->limited ? STEP_WAIT : conn->proto->header(conn);
	case CONN_BODY:
		return conn->proto->body(conn);
	case CONN_ADMIT:
		return conn_step_admit(conn);
	case CONN_PAYLOAD:
		return conn_step_payload(conn);
	case CONN_DISCARD:
		return conn_step_discard(conn);
	case CONN_RUN:
		return conn->proto->run(conn);
	case CONN_TLS:
		return conn_step_tls(conn);
	case CONN_FINISHING:
	case CONN_LINGER:
	case CONN_DEAD:
		break;
	}
	return STEP_WAIT;
}

void conn_input(struct conn *conn)
{
	conn->turn_bytes = CONN_TURN_BYTES;
	conn->turn_requests = CONN_TURN_REQUESTS;
	while (conn->state < CONN_FINISHING) {
		enum conn_step step;

		if (conn->turn_bytes <= 0 || conn->turn_requests <= 0) {
			conn_yield(conn);
			return;
		}
		step = conn_step(conn);
		if (step == STEP_WAIT || (step == STEP_MORE && !conn_fill(conn)))
			return;
	}
}
