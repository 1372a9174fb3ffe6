/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The input side of a channel:
 *
 *	  +-> CHAN_HEADER --in_header--> CHAN_BODY --in_body--> CHAN_PAYLOAD --in_payload--+
 *	  |                                            (also when there is no payload)     |
 *	  +-----------------------------------in_finish------------------------------------+
 *
 * Header and body are staged in ch->in; while a header is awaited at most CHAN_STAGE_BYTES are
 * taken from the socket: small replies come in one call with their payloads, several at a time, and of large
 * ones hardly anything is copied twice.  A body stays where it is in ch->in until its payload is
 * complete: nothing else is staged meanwhile.
 */
#include "client/chan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/crc32c.h"
#include "common/err.h"

/* Bytes taken from the socket in one turn, so that the lock is not held for long. */
#define IN_TURN_BYTES (1u << 20)

static bool in_bad(struct chan *ch, const char *text)
{
	chan_kill(ch, CHAN_CLOSED, NULL, 0, -ERR_PROTO,
		  "the connection was given up: protocol error", text);
	return false;
}

static size_t in_avail(const struct chan *ch)
{
	return ch->in_len - ch->in_pos;
}

/* ---- finished replies ------------------------------------------------------------------------ */

/* A status that this library does not know is the server's mistake. */
static int in_status(uint32_t status, const char **text)
{
	switch (status) {
#define X(name, num, string) \
	case num:            \
		return -ERR_##name;
		ERR_CLASSES(X)
#undef X
	default:
		*text = "the server answered with an unknown status";
		return -ERR_PROTO;
	}
}

/* An answer to nobody, or to a request that is still being sent, precedes the end. */
static void in_fatal(struct chan *ch, const struct chan_reply *reply)
{
	chan_kill(ch, reply->err == -ERR_SHUTDOWN ? CHAN_LOST : CHAN_CLOSED, ch->cur, reply->err,
		  reply->err, "the server ended the connection with an error", reply->text);
}

static void in_finish_error(struct chan *ch, const uint8_t *body)
{
	struct msg_error error;
	struct chan_reply reply = {.text = error.text};

	if (msg_error_decode(body, ch->reply.body_len, &error) < 0) {
		(void)in_bad(ch, "the server sent a malformed error reply");
		return;
	}
	reply.err = in_status(ch->reply.status, &reply.text);
	if (!ch->cur || !ch->cur->sent)
		in_fatal(ch, &reply);
	else
		chan_finish(ch, ch->cur, &reply);
}

static bool in_payload_is_bad(const struct chan *ch)
{
	return ch->features & WIRE_FEATURE_PAYLOAD_CRC && ch->payload_crc != ch->reply.payload_crc;
}

static void in_finish_success(struct chan *ch, const uint8_t *body)
{
	struct chan_reply reply = {
	    .text = "",
	    .body = body,
	    .body_len = ch->reply.body_len,
	    .payload_len = ch->reply.payload_len,
	};

	if (in_payload_is_bad(ch))
		chan_kill(ch, CHAN_CLOSED, ch->cur, -ERR_CORRUPT, -ERR_CONN,
			  "the connection was given up: it corrupts data",
			  "the checksum of the data received does not fit");
	else
		chan_finish(ch, ch->cur, &reply);
}

static bool in_finish(struct chan *ch)
{
	const uint8_t *body = ch->in + ch->body_pos;

	ch->state = CHAN_HEADER;
	if (ch->reply.status != 0)
		in_finish_error(ch, body);
	else
		in_finish_success(ch, body);
	ch->cur = NULL;
	return ch->alive;
}

/* ---- the states: each returns whether the next may run --------------------------------------- */

/* Whether the header is one that the request could be answered with. */
static const char *in_header_problem(const struct wire_header *h, const struct chan_request *req)
{
	if (h->flags != 0)
		return "the server sent a reply with unknown flags";
	if (h->status != 0)
		return h->payload_len > 0 ? "the server sent an error with a payload" : NULL;
	if (!req)
		return "the server sent a reply to no request";
	if (!req->sent)
		return "the server answered a request before it was sent";
	if (h->op != req->op)
		return "the server sent a reply to another operation";
	if (h->payload_len > req->into_len)
		return "the server sent more data than was asked for";
	return NULL;
}

static bool in_header(struct chan *ch)
{
	const char *problem;
	int err;

	if (in_avail(ch) < WIRE_HEADER_BYTES)
		return false;
	err = wire_header_decode(ch->in + ch->in_pos, WIRE_MAGIC_REPLY, ch->body_max,
				 ch->payload_max, &ch->reply);
	if (err < 0)
		return in_bad(ch, err_text(err));
	ch->cur = chan_find(ch, ch->reply.id);
	/* an answer to a header that arrived broken repeats what was read, right or not */
	if (ch->cur && ch->reply.status != 0 && ch->reply.op != ch->cur->op)
		ch->cur = NULL;
	problem = in_header_problem(&ch->reply, ch->cur);
	if (problem)
		return in_bad(ch, problem);
	ch->in_pos += WIRE_HEADER_BYTES;
	ch->state = CHAN_BODY;
	return true;
}

static bool in_body(struct chan *ch)
{
	if (in_avail(ch) < ch->reply.body_len)
		return false;
	if (crc32c(0, ch->in + ch->in_pos, ch->reply.body_len) != ch->reply.body_crc)
		return in_bad(ch, err_text(-ERR_FRAME_CRC));
	ch->body_pos = ch->in_pos;
	ch->in_pos += ch->reply.body_len;
	ch->payload_got = 0;
	ch->payload_crc = 0;
	ch->state = CHAN_PAYLOAD;
	return true;
}

static void in_payload_add(struct chan *ch, const uint8_t *data, size_t len)
{
	if (ch->features & WIRE_FEATURE_PAYLOAD_CRC)
		ch->payload_crc = crc32c(ch->payload_crc, data, len);
	ch->payload_got += (uint32_t)len;
}

/* The first bytes of a payload may have been staged behind its header. */
static bool in_payload(struct chan *ch)
{
	size_t left = ch->reply.payload_len - ch->payload_got;
	size_t n = in_avail(ch) < left ? in_avail(ch) : left;

	if (left == 0)
		return in_finish(ch);
	if (n > 0) {
		if (ch->cur->into)
			memcpy((uint8_t *)ch->cur->into + ch->payload_got, ch->in + ch->in_pos, n);
		in_payload_add(ch, ch->in + ch->in_pos, n);
		ch->in_pos += n;
	}
	return n == left && in_finish(ch);
}

static bool in_step(struct chan *ch)
{
	switch (ch->state) {
	case CHAN_HEADER:
		return in_header(ch);
	case CHAN_BODY:
		return in_body(ch);
	case CHAN_PAYLOAD:
		return in_payload(ch);
	}
	return false;
}

/* ---- the socket ------------------------------------------------------------------------------ */

/*
 * Where one end refuses the other, that is the answer to the first request, HELLO, whatever else waits
 * for the connection: the same would come of another one.  So of what is no TLS.
 */
void chan_broken(struct chan *ch, int errnum)
{
	const char *why = stream_text(&ch->stream);
	char text[TLS_TEXT_MAX + 64];

	if (errnum == 0)
		(void)snprintf(text, sizeof(text), "the server closed the connection");
	else if (errnum == EACCES || errnum == EPROTO)
		(void)snprintf(text, sizeof(text), "TLS: %s", why);
	else
		(void)snprintf(text, sizeof(text), "the connection was lost: %s",
			       *why ? why : strerror(errnum));
	if (errnum == EACCES)
		chan_kill(ch, CHAN_CLOSED, TAILQ_FIRST(&ch->all), -ERR_PERM, -ERR_CONN,
			  "the connection was refused", text);
	else if (errnum == EPROTO)
		chan_kill(ch, CHAN_CLOSED, TAILQ_FIRST(&ch->all), -ERR_CONN, -ERR_CONN,
			  "the connection was given up: TLS failed", text);
	else
		chan_kill(ch, CHAN_LOST, NULL, 0, -ERR_CONN, "the connection was lost", text);
}

/* Bytes received; 0 when there are none now, or none ever again (the channel is dead then). */
static size_t in_recv(struct chan *ch, void *buf, size_t len)
{
	struct iovec iov = {buf, len};
	ssize_t n = stream_readv(&ch->stream, &iov, 1);

	if (n > 0) {
		ch->received += (size_t)n;
		return (size_t)n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	chan_broken(ch, n == 0 ? 0 : errno);
	return 0;
}

static size_t in_fill_stage(struct chan *ch, size_t *want)
{
	size_t n;

	if (ch->in_pos > 0) {
		memmove(ch->in, ch->in + ch->in_pos, in_avail(ch));
		ch->in_len -= ch->in_pos;
		ch->in_pos = 0;
	}
	*want = ch->state == CHAN_BODY ? ch->reply.body_len - ch->in_len
				       : CHAN_STAGE_BYTES - ch->in_len;
	n = in_recv(ch, ch->in + ch->in_len, *want);
	ch->in_len += n;
	return n;
}

/* An orphan's payload goes nowhere: by way of what is left of "in", where nothing is staged. */
static size_t in_fill_payload(struct chan *ch, size_t *want)
{
	struct chan_request *cur = ch->cur;
	uint8_t *into = cur->into ? (uint8_t *)cur->into + ch->payload_got : ch->in + ch->in_len;
	size_t max = cur->into ? IN_TURN_BYTES : CHAN_STAGE_BYTES;
	size_t left = ch->reply.payload_len - ch->payload_got;
	size_t n;

	*want = left < max ? left : max;
	n = in_recv(ch, into, *want);
	if (n > 0)
		in_payload_add(ch, into, n);
	return n;
}

void chan_receive(struct chan *ch)
{
	size_t turn = 0;
	size_t want;
	size_t n;

	do {
		n = ch->state == CHAN_PAYLOAD ? in_fill_payload(ch, &want)
					      : in_fill_stage(ch, &want);
		turn += n;
		if (n > 0)
			while (in_step(ch))
				;
		/* fewer than asked for: the socket is empty, and another call would only say so */
	} while (ch->alive && (n == want || chan_is_pending(ch)) && turn < IN_TURN_BYTES);
}
