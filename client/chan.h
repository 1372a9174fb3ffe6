/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chan.h: the client's end of one connection: the requests under way keyed by id, the queue of what
 * is still to be sent, and the state machine that takes replies apart and reads payloads straight
 * into the caller's buffer.  Never blocks and has no clock: whoever drives it polls the socket for
 * chan_events() and calls chan_process().
 *
 * It owns the socket, by a stream; where that is one of TLS its handshake comes first, and what is
 * submitted meanwhile waits in the queue.  It has no lock: one thread at a time, so the handle's mutex is held around
 * every call but chan_request_crc().
 *
 * Life of a request: the caller makes it and keeps it and its buffers alive; chan_submit() links
 * it; exactly one call of done() unlinks it, with the reply or with the reason why none will come; or
 * chan_abandon() does, without a call.  done() must not call the channel.
 *
 *	chan_submit()
 *	     |
 *	  queued ---------> started -------> sent ----> being received ----> done()
 *	  of the frame      some of it       all        in_header() of its
 *	  nothing is sent   may be sent                 reply has found it
 *
 * What chan_abandon() does: one that is queued is forgotten.  Of one that is started the server will
 * have, or has, the frame, and will answer: an orphan takes its place, with a copy of what is still
 * to be sent and no buffer for the reply, keeps its id and its part of the server's limit, and ends
 * with the reply or the connection.
 */
#ifndef CLIENT_CHAN_H
#define CLIENT_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/annot.h"
#include "common/stream.h"
#include "proto/msg.h"
#include "proto/wire.h"

#define CHAN_BODY_MAX	 1600u /* the largest body that is in its request */
#define CHAN_BUCKETS	 64u
#define CHAN_STAGE_BYTES 16384u
#define CHAN_IN_BYTES	 (WIRE_HEADER_BYTES + WIRE_BODY_MAX + CHAN_STAGE_BYTES)

_Static_assert(CHAN_STAGE_BYTES <= WIRE_BODY_MAX,
	       "there is room for a stage behind what is staged");
_Static_assert(
    CHAN_BODY_MAX >= 2u * (2u + MSG_NAME_BYTES) + 8u + 2u + LABELS_MAX_BYTES,
    "every request body but those of USAGE, READV, WRITEV, WRITE_ALL and CLONE_ALL fits");

struct chan_request;

/* What a request came to.  The pointers are valid during done() only. */
struct chan_reply {
	int err;	      /* 0 or a negative class of common/err.h */
	const char *text;     /* of an error; may be "" */
	const uint8_t *body;  /* of a success */
	size_t body_len;      /* bytes */
	uint32_t payload_len; /* bytes that are in the request's "into" */
	bool lost;	      /* an error: no answer came before the connection ended */
};

typedef void (*chan_done_cb)(struct chan_request *req, const struct chan_reply *reply);

struct chan_request {
	/* The caller's. */
	enum wire_op op;
	const uint8_t *body; /* inline_body, or the caller's */
	uint32_t body_len;
	const void *payload;
	uint32_t payload_len;
	uint32_t payload_crc; /* chan_request_crc() */
	void *into;	      /* where the reply's payload goes; NULL in an orphan */
	uint32_t into_len;
	chan_done_cb done;

	/* The channel's. */
	uint64_t id;
	bool started; /* its first byte may have been sent: it is in the table */
	bool sent;    /* its last byte was */
	TAILQ_ENTRY(chan_request) all_link;
	TAILQ_ENTRY(chan_request) out_link;
	LIST_ENTRY(chan_request) bucket_link;
	uint8_t head[WIRE_HEADER_BYTES];
	uint8_t inline_body[CHAN_BODY_MAX];
};

TAILQ_HEAD(chan_list, chan_request);
LIST_HEAD(chan_bucket, chan_request);

enum chan_state { CHAN_HEADER, CHAN_BODY, CHAN_PAYLOAD };

/* Why a channel is not alive. */
enum chan_end {
	CHAN_CLOSED, /* never opened, closed, or given up because of what the peer sent */
	CHAN_LOST,   /* the peer or the network ended it: another connection may do better */
	CHAN_SILENT, /* given up because nothing came; what was sent may still be carried out, late */
};

struct chan {
	struct stream stream; /* closed: never opened, or closed */
	bool alive;
	enum chan_end end;  /* while it is not alive */
	bool out_broken;    /* sending failed: what the server still had to say is read */
	const char *reason; /* why it is not alive; static storage */
	uint64_t features;
	uint32_t body_max;
	uint32_t payload_max;
	uint32_t inflight_max;

	uint64_t next_id;
	uint32_t inflight;    /* requests in the table */
	struct chan_list all; /* every request without a reply, oldest first */
	struct chan_list out; /* those not wholly sent */
	size_t out_bytes;     /* of the first of them, already sent */
	struct chan_bucket table[CHAN_BUCKETS];

	enum chan_state state;
	struct wire_header reply;
	struct chan_request *cur; /* whom the reply is for; NULL: nobody, and it is an error */
	uint32_t payload_got;
	uint32_t payload_crc;
	size_t in_pos; /* the first byte of "in" that was not taken */
	size_t in_len;
	size_t body_pos;   /* while the payload comes: where the body is in "in" */
	uint64_t received; /* bytes, of all connections */
	uint8_t in[CHAN_IN_BYTES];
};

void chan_init(struct chan *ch);

/*
 * Takes over fd, a connected stream socket, to be used with these credentials (NULL: as it is).  The
 * limits are those before HELLO.  -ERR_NOMEM: the channel stays closed, and fd the caller's.
 */
int chan_open(struct chan *ch, int fd, struct tls *tls) MUST_CHECK;

/* What HELLO agreed on. */
void chan_set_limits(struct chan *ch, uint64_t features, uint32_t body_max, uint32_t payload_max,
		     uint32_t inflight_max);

/* Fails every request and closes the socket.  Nobody may be polling it. */
void chan_close(struct chan *ch);

/* The CRC of a request's payload.  ANY_FN, without the lock. */
void chan_request_crc(struct chan_request *req);

/* Takes the request and sends what the socket takes.  The channel is alive. */
void chan_submit(struct chan *ch, struct chan_request *req);

/* The poll() events to wait for. */
short chan_events(const struct chan *ch);

/* Whether chan_process() has something to do whatever poll() says. */
bool chan_is_pending(const struct chan *ch);

/* Sends and receives what can be without blocking (a bounded amount). */
void chan_process(struct chan *ch, short revents);

/* Whether something of a request has been sent; if not, the server will never know of it. */
bool chan_is_begun(const struct chan *ch, const struct chan_request *req) MUST_CHECK;

/* What becomes of the reply to a request that was abandoned; as done(), but req is freed after it. */
typedef void (*chan_late_fn)(void *ctx, const struct chan_reply *reply);

/*
 * Unlinks the request without a call of done(): it and its buffers are the caller's again.  late, if
 * not NULL, is called when the reply comes, and not if none does.  -ERR_NOMEM: unlinked all the same,
 * but the channel has to be killed, as nobody is there for the reply.
 */
int chan_abandon(struct chan *ch, struct chan_request *req, chan_late_fn late,
		 void *ctx) MUST_CHECK;

/*
 * The connection is of no more use: "culprit" (may be NULL) ends with err and the text, the others
 * with others_err as lost.  The socket is shut down, so that who polls it wakes up, and stays open.
 */
void chan_kill(struct chan *ch, enum chan_end end, struct chan_request *culprit, int err,
	       int others_err, const char *reason, const char *text);

/* Of chan_in.c: reads and handles what has arrived; gives the channel up for an error of its stream. */
void chan_receive(struct chan *ch);
void chan_broken(struct chan *ch, int errnum);

/* For chan_in.c: finishes a request; finds one by its id. */
void chan_finish(struct chan *ch, struct chan_request *req, const struct chan_reply *reply);
struct chan_request *chan_find(struct chan *ch, uint64_t id) MUST_CHECK;

#endif
