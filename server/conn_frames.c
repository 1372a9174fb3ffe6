/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_frames.c: a connection that speaks cowd's own protocol: the frames of proto/wire.h, in and out.
 */
#include "server/conn_priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "proto/wire.h"
#include "server/dispatch.h"

/* The frame that is being received. */
struct frame_in {
	struct wire_header header;
	uint8_t *large_body;  /* where it does not fit in "in" */
	uint32_t body_have;   /* of large_body */
	uint32_t payload_crc; /* of what has come */
};

static int frames_open(struct conn *conn)
{
	conn->own = calloc(1, sizeof(struct frame_in));
	return conn->own ? 0 : -ERR_NOMEM;
}

static void frames_close(struct conn *conn)
{
	struct frame_in *in = conn->own;

	free(in->large_body);
	free(in);
}

/* The peer broke the protocol: says so and finishes.  "about" ends the text, or is NULL. */
static enum conn_step frames_fault(struct conn *conn, int err, const char *about)
{
	const struct frame_in *in = conn->own;

	if (err != -ERR_FRAME_MAGIC) /* else there is nothing to answer to */
		dispatch_fault(&conn->session, &in->header, err, about);
	conn_refuse(conn, err);
	return STEP_WAIT;
}

/* Whether the peer begins as TLS does: a record of a handshake, of any version. */
static bool frames_is_tls(const uint8_t *bytes)
{
	return bytes[0] == 22 && bytes[1] == 3;
}

/* There is no answer that it would understand. */
static enum conn_step frames_refuse_tls(struct conn *conn)
{
	if (conn_may_log_fault(conn))
		log_event(
		    LOG_WARN, "protocol-error",
		    "client=\"%s\" error=FRAME_MAGIC reason=\"the client speaks TLS, which is not "
		    "spoken at this address\"",
		    conn->session.holder);
	conn_finish(conn);
	return STEP_WAIT;
}

static enum conn_step frames_header(struct conn *conn)
{
	struct frame_in *in = conn->own;
	int err;

	if (conn_in_avail(conn) < WIRE_HEADER_BYTES)
		return STEP_MORE;
	err = wire_header_decode(conn->in + conn->in_pos, WIRE_MAGIC_REQUEST,
				 conn->ready ? WIRE_BODY_MAX : WIRE_BODY_HELLO_MAX,
				 conn->ready ? WIRE_PAYLOAD_MAX : 0, &in->header);
	if (err == -ERR_FRAME_MAGIC && frames_is_tls(conn->in + conn->in_pos))
		return frames_refuse_tls(conn);
	if (err == 0)
		err = dispatch_check(&conn->session, &in->header);
	if (err < 0)
		return frames_fault(conn, err,
				    err == -ERR_PROTO ? "flags or status is not 0" : NULL);
	conn->in_pos += WIRE_HEADER_BYTES;
	conn->state = CONN_BODY;
	return STEP_ON;
}

/* Collects a body that is larger than "in"; true when it is there. */
static bool frames_collect_body(struct conn *conn)
{
	struct frame_in *in = conn->own;
	uint32_t want = in->header.body_len - in->body_have;
	uint32_t n = conn_in_avail(conn) < want ? conn_in_avail(conn) : want;

	memcpy(in->large_body + in->body_have, conn->in + conn->in_pos, n);
	conn->in_pos += n;
	in->body_have += n;
	return in->body_have == in->header.body_len;
}

/* The body is at "body": makes a request of it. */
static enum conn_step frames_take_body(struct conn *conn, const uint8_t *body)
{
	struct frame_in *in = conn->own;
	struct request *req;

	if (crc32c(0, body, in->header.body_len) != in->header.body_crc)
		return frames_fault(conn, -ERR_FRAME_CRC, "body");
	if (dispatch_begin(&conn->session, &in->header, body, &req) < 0) {
		conn_kill(conn);
		return STEP_WAIT;
	}
	in->payload_crc = 0;
	conn_begun(conn, req, in->header.payload_len);
	return STEP_ON;
}

static enum conn_step frames_body(struct conn *conn)
{
	struct frame_in *in = conn->own;
	uint32_t len = in->header.body_len;
	enum conn_step step;

	if (len <= sizeof(conn->in)) {
		if (conn_in_avail(conn) < len)
			return STEP_MORE;
		step = frames_take_body(conn, conn->in + conn->in_pos);
		conn->in_pos += len;
		return step;
	}
	if (!in->large_body) {
		in->body_have = 0;
		in->large_body = malloc(len);
		if (!in->large_body) {
			conn_kill(conn);
			return STEP_WAIT;
		}
	}
	if (!frames_collect_body(conn))
		return STEP_MORE;
	step = frames_take_body(conn, in->large_body);
	free(in->large_body);
	in->large_body = NULL;
	return step;
}

static void frames_came(struct conn *conn, const void *data, size_t len)
{
	struct frame_in *in = conn->own;

	if (conn->session.features & WIRE_FEATURE_PAYLOAD_CRC)
		in->payload_crc = crc32c(in->payload_crc, data, len);
}

static enum conn_step frames_run(struct conn *conn)
{
	const struct frame_in *in = conn->own;

	if ((conn->session.features & WIRE_FEATURE_PAYLOAD_CRC) &&
	    in->payload_crc != in->header.payload_crc)
		return frames_fault(conn, -ERR_FRAME_CRC, "payload");
	dispatch_run(conn_take(conn));
	conn_account(conn);
	if (conn->session.state == SESSION_OVER)
		conn_finish(conn);
	if (!conn->ready && conn->session.state == SESSION_READY)
		conn_set_ready(conn);
	return STEP_ON;
}

static int frames_reply(struct conn *conn, const struct session_reply *reply)
{
	struct wire_header header = reply->header;
	uint8_t head[WIRE_HEADER_BYTES];
	int err;

	header.body_len = reply->body_len;
	header.body_crc = crc32c(0, reply->body, reply->body_len);
	wire_header_encode(head, &header);
	err = conn_add(conn, head, sizeof(head));
	if (err == 0 && reply->body_len > 0)
		err = conn_add(conn, reply->body, reply->body_len);
	for (uint32_t i = 0; i < reply->npayload && err == 0; i++)
		err = conn_add_pages(conn, &reply->payload[i]);
	return err;
}

const struct conn_proto conn_frames = {
    .open = frames_open,
    .close = frames_close,
    .header = frames_header,
    .body = frames_body,
    .came = frames_came,
    .run = frames_run,
    .reply = frames_reply,
};
