/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_priv.h: what conn.c (life, budgets, output, events) and conn_in.c (frames coming in) share
 * of a connection.  Nobody else includes it.
 */
#ifndef SERVER_CONN_PRIV_H
#define SERVER_CONN_PRIV_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/wire.h"
#include "server/conn.h"
#include "server/gate.h"
#include "server/session.h"

struct event;
struct evbuffer;

#define CONN_MAGIC 0x434f4e4eu

#define CONN_IN_BYTES	 8192u	      /* a small write in one system call */
#define CONN_SMALL_BYTES (128u << 10) /* what needs no part of the common budgets */

enum conn_state {
	CONN_HEADER,
	CONN_BODY,
	CONN_ADMIT,
	CONN_PAYLOAD,
	CONN_DISCARD,
	CONN_RUN,
	CONN_FINISHING,
	CONN_LINGER,
	CONN_DEAD,
};

struct conn_set {
	struct conn_config config;
	TAILQ_HEAD(, conn) conns;
	unsigned int nconns;
	struct gate send; /* used_bytes: the sum of all pending_bytes */
	struct gate recv; /* used_bytes: the sum of all reserved_bytes */
	struct event *slow_tick;
	bool stopping;
};

struct conn {
	uint32_t magic;
	enum conn_state state;
	struct conn_set *set;
	TAILQ_ENTRY(conn) link;
	struct gate_waiter waiter;
	struct session session;
	int fd;
	bool readable; /* the socket may have more */
	bool writable; /* the socket may take more */
	bool eof;
	bool in_turn;
	bool again;	/* woken in its own turn */
	bool limited;	/* a new request was held back by the limits of this connection */
	bool out_full;	/* between CONN_OUT_HIGH and CONN_OUT_LOW: on the way down */
	bool reading;	/* ev_read is added */
	bool writing;	/* ev_write is added */
	bool slow_held; /* held much of a budget when the slow tick began */
	struct event *ev_read;
	struct event *ev_write;
	struct event *ev_turn;
	struct event *ev_deadline;
	struct evbuffer *out;
	uint64_t pending_bytes;	 /* unsent and promised; its part of set->send */
	uint64_t reserved_bytes; /* its part of set->recv */
	uint64_t moved_bytes;	 /* since the slow tick began */
	int64_t turn_bytes;
	int turn_requests;
	struct wire_header header;
	struct request *req;   /* being received */
	uint8_t *large_body;   /* where it does not fit in "in" */
	uint32_t body_have;    /* of large_body */
	uint32_t payload_have; /* bytes */
	uint32_t payload_vec;  /* where the next ones go: the vector, */
	uint64_t payload_at;   /* and the bytes that it has */
	uint32_t payload_crc;  /* of payload_have bytes */
	uint32_t in_pos;
	uint32_t in_len;
	uint8_t in[CONN_IN_BYTES];
};

/* One turn of reading: until there is nothing more, a limit, or the others' turn. */
void conn_input(struct conn *conn);

/* Whether another request may begin, by the connection's own limits. */
bool conn_may_begin(struct conn *conn);

/* A turn soon, in this pass of the loop; a turn after everybody else has had one. */
void conn_wake(struct conn *conn);
void conn_yield(struct conn *conn);

/* Brings its part of the send budget up to date. */
void conn_account(struct conn *conn);

/* Gives its part of the receive budget back. */
void conn_unreserve(struct conn *conn);

/* It waits for a budget: makes sure that slow holders are looked for. */
void conn_hold(struct conn *conn);

/* Reads no more, and ends when everything is answered and sent. */
void conn_finish(struct conn *conn);

/* The peer broke the protocol: says so and finishes.  "about" ends the text, or is NULL. */
void conn_fault(struct conn *conn, int err, const char *about);

/* Closes the socket.  What is left of the connection goes in a turn of its own. */
void conn_kill(struct conn *conn);

#endif
