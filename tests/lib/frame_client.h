/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame_client.h: a client that speaks raw frames, right or wrong, to a connection in the same
 * thread: whatever it waits for, it runs the loop meanwhile.  Fails the test when nothing can come any
 * more, and whatever there is after 20 s.
 */
#ifndef TESTS_LIB_FRAME_CLIENT_H
#define TESTS_LIB_FRAME_CLIENT_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "proto/wire.h"

struct event_base;

struct frame_client {
	struct event_base *base;
	int fd;
	bool crc; /* payload CRCs were negotiated */
	uint64_t last_id;
};

/* A reply; the payload is in memory for free(). */
struct frame {
	struct wire_header header;
	uint8_t body[WIRE_BODY_MAX];
	uint8_t *payload;
};

/*
 * Something else that the test has in this thread, as a relay: it does what it can once the loop has
 * nothing to do.  Its owner takes it out before it goes.
 */
struct frame_part {
	void (*fn)(struct frame_part *part);
	LIST_ENTRY(frame_part) link;
	bool joined;
};

void frame_join(struct frame_part *part);
void frame_leave(struct frame_part *part);

/* Runs what is due in the loop, and each part once. */
void frame_turn(struct event_base *base);

/* Runs the loop until fn returns true. */
void frame_wait(struct event_base *base, bool (*fn)(void *ctx), void *ctx);

/* Turns until what can happen has happened. */
void frame_settle(struct event_base *base);

/* Sends bytes as they are; false when the server has closed. */
bool frame_send_raw(struct frame_client *c, const void *buf, size_t len);

/* Receives all of len bytes; false at the end of the stream before the first. */
bool frame_recv_raw(struct frame_client *c, void *buf, size_t len) MUST_CHECK;

/* Writes a well-formed request into buf, which has room; returns its length. */
size_t frame_build(struct frame_client *c, uint8_t *buf, uint16_t op, uint64_t id, const void *body,
		   size_t body_len, const void *payload, size_t payload_len);

/* Sends a request and returns its id. */
uint64_t frame_send(struct frame_client *c, uint16_t op, const void *body, size_t body_len,
		    const void *payload, size_t payload_len);

/* Receives a whole reply and checks its checksums; false at the end of the stream. */
bool frame_recv(struct frame_client *c, struct frame *f) MUST_CHECK;

/* Sends a request, receives its reply (id and op are checked), and returns its status. */
uint32_t frame_call(struct frame_client *c, struct frame *f, uint16_t op, const void *body,
		    size_t body_len, const void *payload, size_t payload_len);

/* The text of an error reply. */
const char *frame_error_text(struct frame *f);

#endif
