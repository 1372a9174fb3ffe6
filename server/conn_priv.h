/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_priv.h: what the files of a connection share: conn.c has its life, budgets, output and events,
 * conn_in.c what comes in; and each protocol a file with its table of functions, struct conn_proto.
 * Nobody else includes it.
 */
#ifndef SERVER_CONN_PRIV_H
#define SERVER_CONN_PRIV_H

#include <bsd/sys/queue.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"
#include "common/stream.h"
#include "server/conn.h"
#include "server/gate.h"
#include "server/outq.h"
#include "server/session.h"

struct conn;
struct event;
struct iovec;

#define CONN_MAGIC 0x434f4e4eu

#define CONN_IN_BYTES	 8192u	      /* a small write in one system call */
#define CONN_SMALL_BYTES (128u << 10) /* what needs no part of the common budgets */
#define CONN_SHAKES_MAX	 8u	      /* steps of handshakes in one pass of the loop */

enum conn_state {
	CONN_HEADER,
	CONN_BODY,
	CONN_ADMIT,
	CONN_PAYLOAD,
	CONN_DISCARD,
	CONN_RUN,
	CONN_TLS, /* what was to be sent goes out, then there is the handshake of TLS */
	CONN_FINISHING,
	CONN_LINGER,
	CONN_DEAD,
};

/* What a step of the input machine leaves to do. */
enum conn_step {
	STEP_ON,   /* the next step */
	STEP_MORE, /* more bytes into "in" */
	STEP_WAIT, /* nothing until the next turn */
};

/*
 * What a protocol does with a connection.  A message is: a header and a body, which the protocol takes
 * out of "in" and makes a request of (dispatch_begin()); the room that this needs (CONN_ADMIT); its
 * payload, into the request's pages or thrown away; and run().
 */
struct conn_proto {
	/* Makes and frees conn->own.  -ERR_NOMEM. */
	int (*open)(struct conn *conn);
	void (*close)(struct conn *conn);
	/* Nothing more is taken: answers what would wait for another turn; or NULL. */
	void (*finish)(struct conn *conn);
	/* The connection is dead, and everything is answered: asks for what is to be done before its
	 * handles close, or NULL.  False: it has, and is called again when that is answered. */
	bool (*end)(struct conn *conn);
	/* The steps of CONN_HEADER and CONN_BODY.  They end in CONN_ADMIT, with conn->req and
	 * conn->payload_len, or with a message that needed no request in CONN_HEADER. */
	enum conn_step (*header)(struct conn *conn);
	enum conn_step (*body)(struct conn *conn);
	/* Bytes of the payload have come; or NULL. */
	void (*came)(struct conn *conn, const void *data, size_t len);
	/* The request is complete: takes it, and runs it. */
	enum conn_step (*run)(struct conn *conn);
	/* Puts a reply into conn->out.  Of the payload it takes what it puts there.  -ERR_NOMEM. */
	int (*reply)(struct conn *conn, const struct session_reply *reply);
};

struct conn_set {
	struct conn_config config;
	TAILQ_HEAD(, conn) conns;
	unsigned int nconns;
	struct gate send;   /* used_bytes: the sum of all pending_bytes */
	struct gate recv;   /* used_bytes: the sum of all reserved_bytes */
	struct gate shakes; /* steps of handshakes in this pass of the loop, in place of bytes */
	struct event *slow_tick;
	struct event *shake_tick; /* the next pass */
	/* Lines that whoever reaches a socket can cause. */
	struct log_rate refusals;
	struct log_rate tls_refusals;
	struct log_rate faults;
	struct log_rate drops;
	struct tls *tls; /* for handshakes that begin; NULL: there is no TLS */
	bool stopping;
};

struct conn {
	uint32_t magic;
	enum conn_state state;
	struct conn_set *set;
	const struct conn_proto *proto;
	void *own; /* the protocol's */
	TAILQ_ENTRY(conn) link;
	struct gate_waiter waiter;
	struct session session;
	struct stream stream;
	bool readable; /* the stream may have more */
	bool writable; /* the stream may take more */
	bool eof;
	bool ending; /* the end of what we send is written in part */
	bool ready;  /* the handshake is done */
	bool in_turn;
	bool again;	/* woken in its own turn */
	bool waiting;	/* the protocol waits for an answer, before it takes more input */
	bool limited;	/* a new request was held back by the limits of this connection */
	bool out_full;	/* between CONN_OUT_HIGH and CONN_OUT_LOW: on the way down */
	bool reading;	/* ev_read is added */
	bool writing;	/* ev_write is added */
	bool slow_held; /* held much of a budget when the slow tick began */
	struct event *ev_read;
	struct event *ev_write;
	struct event *ev_turn;
	struct event *ev_deadline;
	struct outq out;
	uint64_t pending_bytes;	 /* unsent and promised; its part of set->send */
	uint64_t reserved_bytes; /* its part of set->recv */
	uint64_t moved_bytes;	 /* since the slow tick began */
	int64_t turn_bytes;
	int turn_requests;
	struct request *req;   /* being received */
	uint32_t payload_len;  /* bytes */
	uint32_t payload_have; /* of them */
	uint32_t payload_vec;  /* where the next ones go: the vector, */
	uint64_t payload_at;   /* and the bytes that it has */
	uint32_t in_pos;
	uint32_t in_len;
	uint8_t in[CONN_IN_BYTES];
};

/* One turn of reading: until there is nothing more, a limit, or the others' turn. */
void conn_input(struct conn *conn);

/* The bytes in "in" that were not taken. */
static inline uint32_t conn_in_avail(const struct conn *conn)
{
	return conn->in_len - conn->in_pos;
}

/* The header and the body of a request are there: what follows is this much of a payload. */
void conn_begun(struct conn *conn, struct request *req, uint32_t payload_len);

/* The request, complete, to be run; the next message may come. */
struct request *conn_take(struct conn *conn);

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

/* Appends bytes, or pages without copying them, to what is sent.  -ERR_NOMEM. */
int conn_add(struct conn *conn, const void *data, size_t len) MUST_CHECK;
int conn_add_pages(struct conn *conn, struct pagevec *pv) MUST_CHECK;

/* Reads what the socket has: as stream_readv(). */
ssize_t conn_recv(struct conn *conn, const struct iovec *iov, int niov) MUST_CHECK;

/* The step of CONN_TLS. */
enum conn_step conn_step_tls(struct conn *conn);

/* Another pass of the loop has begun: handshakes go on, of those first that have waited.  ctx: the set. */
void conn_set_shake_tick(evutil_socket_t fd, short what, void *ctx);

/* A read or write by TLS has failed, with errno: the log says what of it is the peer's fault. */
void conn_tls_failed(struct conn *conn);

/* Whether TLS can begin, and whether it has. */
static inline bool conn_has_tls(const struct conn *conn)
{
	return conn->set->tls && !conn->stream.tls;
}

static inline bool conn_is_tls(const struct conn *conn)
{
	return conn->stream.tls;
}

/*
 * TLS from here on, where conn_has_tls() and nothing is in flight: what has been read and not taken is
 * forgotten, what is to be sent goes out as it is, then there is the handshake, and CONN_HEADER after it.
 * What the protocol itself has agreed on before is the protocol's to forget.
 */
void conn_start_tls(struct conn *conn);

/* The handshake is done: its deadline does not hold any more. */
void conn_set_ready(struct conn *conn);

/* Reads no more, and ends when everything is answered and sent. */
void conn_finish(struct conn *conn);

/* Whether the log takes one more line on a peer that broke the protocol. */
bool conn_may_log_fault(struct conn *conn) MUST_CHECK;

/* As conn_finish(), because the peer broke the protocol: the log says so, and there is a deadline. */
void conn_refuse(struct conn *conn, int err);

/* Closes the socket.  What is left of the connection goes in a turn of its own. */
void conn_kill(struct conn *conn);

#endif
