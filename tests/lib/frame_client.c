/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/frame_client.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "proto/msg.h"

/*
 * All happens in this thread: so when nothing has come in so many turns of the loop, and no timer of it
 * is due soon, nothing ever will, however slow the machine is.
 */
#define PATIENCE_TURNS	 500u
#define PATIENCE_SECONDS 20

struct patience {
	time_t since;
	unsigned int turns;
};

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static struct patience patience(void)
{
	return (struct patience){.since = now_s()};
}

/* 1, which ends the search: a timer that is due soon. */
static int is_due_soon(const struct event_base *base, const struct event *ev, void *ctx)
{
	struct timeval due, now;

	(void)base;
	(void)ctx;
	if (!event_pending(ev, EV_TIMEOUT, &due))
		return 0;
	(void)gettimeofday(&now, NULL);
	return due.tv_sec - now.tv_sec <= PATIENCE_SECONDS;
}

static LIST_HEAD(, frame_part) parts = LIST_HEAD_INITIALIZER(parts);

void frame_join(struct frame_part *part)
{
	part->joined = true;
	LIST_INSERT_HEAD(&parts, part, link);
}

void frame_leave(struct frame_part *part)
{
	if (part->joined)
		LIST_REMOVE(part, link);
	part->joined = false;
}

void frame_turn(struct event_base *base)
{
	struct frame_part *part;

	assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	LIST_FOREACH (part, &parts, link)
		part->fn(part);
}

/* Fails once the patience is over. */
static void turn(struct event_base *base, struct patience *p)
{
	if (now_s() - p->since > PATIENCE_SECONDS)
		fail_msg("nothing happened for %d s", PATIENCE_SECONDS);
	if (++p->turns == PATIENCE_TURNS) {
		p->turns = 0;
		if (event_base_foreach_event(base, is_due_soon, NULL) == 0)
			fail_msg("nothing happened in %u turns, and nothing is due",
				 PATIENCE_TURNS);
	}
	frame_turn(base);
}

void frame_wait(struct event_base *base, bool (*fn)(void *ctx), void *ctx)
{
	struct patience p = patience();

	while (!fn(ctx))
		turn(base, &p);
}

void frame_settle(struct event_base *base)
{
	for (int i = 0; i < 32; i++)
		frame_turn(base);
}

bool frame_send_raw(struct frame_client *c, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	struct patience left = patience();

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
			left = patience();
		}
		turn(c->base, &left);
	}
	return true;
}

size_t frame_build(struct frame_client *c, uint8_t *buf, uint16_t op, uint64_t id, const void *body,
		   size_t body_len, const void *payload, size_t payload_len)
{
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST,
				.op = op,
				.id = id,
				.body_len = (uint32_t)body_len,
				.payload_len = (uint32_t)payload_len,
				.body_crc = crc32c(0, body, body_len)};

	if (c->crc)
		h.payload_crc = crc32c(0, payload, payload_len);
	wire_header_encode(buf, &h);
	if (body_len > 0)
		memcpy(buf + WIRE_HEADER_BYTES, body, body_len);
	if (payload_len > 0)
		memcpy(buf + WIRE_HEADER_BYTES + body_len, payload, payload_len);
	return WIRE_HEADER_BYTES + body_len + payload_len;
}

uint64_t frame_send(struct frame_client *c, uint16_t op, const void *body, size_t body_len,
		    const void *payload, size_t payload_len)
{
	uint8_t *buf = malloc(WIRE_HEADER_BYTES + body_len + payload_len);
	size_t len;

	assert_non_null(buf);
	len = frame_build(c, buf, op, ++c->last_id, body, body_len, payload, payload_len);
	assert_true(frame_send_raw(c, buf, len));
	free(buf);
	return c->last_id;
}

bool frame_recv_raw(struct frame_client *c, void *buf, size_t len)
{
	uint8_t *p = buf;
	struct patience left = patience();
	size_t have = 0;

	while (have < len) {
		ssize_t n = recv(c->fd, p + have, len - have, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			assert_int_equal(have, 0);
			return false;
		}
		if (n > 0) {
			have += (size_t)n;
			left = patience();
		}
		turn(c->base, &left);
	}
	return true;
}

bool frame_recv(struct frame_client *c, struct frame *f)
{
	uint8_t head[WIRE_HEADER_BYTES];
	struct wire_header *h = &f->header;

	f->payload = NULL;
	if (!frame_recv_raw(c, head, sizeof(head)))
		return false;
	assert_int_equal(
	    wire_header_decode(head, WIRE_MAGIC_REPLY, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, h), 0);
	assert_int_equal(h->flags, 0);
	assert_true(frame_recv_raw(c, f->body, h->body_len));
	assert_int_equal(h->body_crc, crc32c(0, f->body, h->body_len));
	if (h->payload_len > 0) {
		f->payload = malloc(h->payload_len);
		assert_non_null(f->payload);
		assert_true(frame_recv_raw(c, f->payload, h->payload_len));
	}
	assert_int_equal(h->payload_crc, c->crc ? crc32c(0, f->payload, h->payload_len) : 0);
	return true;
}

uint32_t frame_call(struct frame_client *c, struct frame *f, uint16_t op, const void *body,
		    size_t body_len, const void *payload, size_t payload_len)
{
	uint64_t id = frame_send(c, op, body, body_len, payload, payload_len);

	assert_true(frame_recv(c, f));
	assert_int_equal(f->header.id, id);
	assert_int_equal(f->header.op, op);
	return f->header.status;
}

const char *frame_error_text(struct frame *f)
{
	static struct msg_error msg;

	assert_int_not_equal(f->header.status, 0);
	assert_int_equal(msg_error_decode(f->body, f->header.body_len, &msg), 0);
	return msg.text;
}
