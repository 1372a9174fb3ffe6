/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session.h: what one client is to the engine: how far its handshake is, its handles, its requests
 * in flight.  Knows no socket: answers go out through the callback of its owner (a connection).
 * Loop thread only.
 *
 * Lives of what is in it:
 *
 *	request	 session_request_new()  when its body has been read
 *		 session_request_end()  with its reply, exactly one; frees it
 *	slot	 session_slot_new()     when OPEN begins
 *		 session_slot_drop()    when OPEN failed, CLOSE is answered, or the session ends
 *
 * A slot is pinned by the requests that use it.  CLOSE waits for them; a new request on a slot that
 * is closing is refused.  A session ends when no request is left: then its handles close.
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "proto/msg.h"
#include "proto/wire.h"
#include "server/object.h"
#include "server/page.h"
#include "server/peer.h"

#define SESSION_HANDLES_MAX  1024u
#define SESSION_NAME_BYTES   128u /* of an identity, as it is shown */
#define SESSION_PEER_BYTES   (PEER_TEXT_BYTES + SESSION_NAME_BYTES + 4)
#define SESSION_HOLDER_BYTES (SESSION_PEER_BYTES + MSG_AGENT_BYTES * 4 + 8)

enum session_state {
	SESSION_NEW,   /* nothing but HELLO */
	SESSION_READY, /* everything but HELLO */
	SESSION_OVER,  /* nothing: it was refused */
};

/* Where the server listens. */
struct session_addr {
	const char *text; /* "unix:PATH"...; its owner's */
	bool nbd;
};

/* What all sessions of a server share; read only. */
struct session_host {
	struct objects *objs;
	uint8_t store_uuid[16];
	uint64_t incarnation;
	const char *agent;   /* the server's name and version */
	uint64_t started_ms; /* clock_now_ms(), when it began to serve */
	uint32_t nbd_tls;    /* MSG_NBD_TLS_* */
	uint16_t naddrs;
	struct session_addr addrs[MSG_ADDRS_MAX];
};

struct request;
struct session;

/* An open object. */
struct session_slot {
	uint32_t number;
	uint32_t users;		 /* requests under way on it, CLOSE not counted */
	struct handle *handle;	 /* NULL while OPEN is under way */
	struct request *closing; /* the CLOSE that waits for the users, or NULL */
};

/* Several, each once, in the order in which they were named first. */
struct session_slots {
	uint32_t n;
	struct session_slot *slot[];
};

/* A reply on its way out.  The pages of "payload", one vector after the other, are the callee's from
 * then on; the array is not. */
struct session_reply {
	struct wire_header header; /* all but the checksums and the body's length */
	const uint8_t *body;
	uint32_t body_len;
	struct pagevec *payload; /* or NULL */
	uint32_t npayload;
};

typedef void (*session_reply_fn)(struct session *session, const struct session_reply *reply);

struct session {
	const struct session_host *host;
	session_reply_fn reply;
	enum session_state state;
	uint64_t features;		   /* negotiated */
	char refusal[PEER_REFUSAL_BYTES];  /* why the peer may not use the server; "": it may */
	char peer[SESSION_PEER_BYTES];	   /* and its identity, where it has one */
	char holder[SESSION_HOLDER_BYTES]; /* peer and agent, for messages to other clients */
	LIST_HEAD(, request) requests;
	uint32_t nrequests;
	struct request *spare;	 /* the memory of one that has ended, for the next; or NULL */
	uint64_t promised_bytes; /* the most that replies of requests under way will carry */
	struct session_slot **slots;
	uint32_t nslots; /* of the array; empty ones are NULL */
	uint32_t last_slot;
};

struct dispatch_row;

#define REQUEST_MAGIC 0x52455155u

/* One request, from its body to its reply.  What is in "m" depends on the row. */
struct request {
	uint32_t magic; /* checked when it comes back from the engine */
	LIST_ENTRY(request) link;
	struct session *session;
	const struct dispatch_row *row; /* NULL: an operation that is not known */
	struct session_slot *slot;	/* pinned, or NULL */
	struct session_slots *slots;	/* others that are, from malloc(), or NULL */
	struct wire_header header;
	int err;		 /* refused before it began: the answer */
	uint64_t promise_bytes;	 /* its part of the session's promised_bytes */
	void *beside;		 /* what "m" has no room for, from malloc(), or NULL */
	struct pagevec *payload; /* to be filled, one after the other, by who reads it; or NULL */
	uint32_t npayload;
	uint64_t payload_bytes; /* of memory that it takes */
	struct pagevec whole;	/* the payload of a request that has a single vector */
	union {
		struct msg_hello hello;
		struct msg_create create;
		struct msg_open open;
		struct msg_handle handle;
		struct msg_handles handles;
		struct msg_name name;
		struct msg_list list;
		struct msg_clone clone;
		struct msg_read read;
		struct msg_write write;
		struct msg_resize resize;
		struct msg_zero zero;
		struct msg_clone_range clone_range;
		struct msg_unshare unshare;
		struct msg_fsync_if fsync_if;
		struct msg_extents extents;
		struct msg_diff diff;
		struct msg_verify verify;
		struct msg_snap snap;
		struct msg_remove remove;
		struct msg_versions versions;
		struct msg_children children;
		struct msg_rename rename;
		struct msg_set set;
	} m;
};

/* peer says who the client is ("pid 4711 uid 0", "127.0.0.1:5022"); copied, cut to fit. */
void session_init(struct session *session, const struct session_host *host, session_reply_fn reply,
		  const char *peer);

/* The client has proved that it is this one: goes with what is said of it. */
void session_set_identity(struct session *session, const char *name);

/* The client has gone: requests that wait for their time do so no longer. */
void session_hurry(struct session *session);

/* Closes what is still open.  No request may be left. */
void session_fini(struct session *session);

/* The handshake is done: notes the agent and what was agreed. */
void session_set_ready(struct session *session, const char *agent, uint64_t features);

/* Whether a request with this id is in flight. */
bool session_has_request(const struct session *session, uint64_t id);

/* NULL: out of memory. */
struct request *session_request_new(struct session *session, const struct wire_header *header);

/* Pins the slots of handles that the client named.  -ERR_BAD_HANDLE: one is none, or is closing;
 * -ERR_NOMEM. */
int session_pin_all(struct request *req, const struct msg_handle *handles, uint32_t n) MUST_CHECK;

/* Takes the pinned slots from the request, without the pins; to be freed.  NULL: there are none. */
struct session_slots *session_unpin_all(struct request *req);

/* Unpins its slots, forgets its promise, frees its payload, what is beside it, and the request. */
void session_request_end(struct request *req);

/* Frees the payload, as far as it has come. */
void session_drop_payload(struct request *req);

/* Announces the most that the reply will carry. */
void session_promise(struct request *req, uint64_t bytes);

/* A free slot, for an OPEN.  -ERR_LIMIT, -ERR_NOMEM. */
int session_slot_new(struct session *session, struct session_slot **slot) MUST_CHECK;

/* Closes the handle, if there is one, and frees the slot; what object_close() said. */
int session_slot_drop(struct session *session, struct session_slot *slot);

/* The slot of a handle that the client named; NULL: there is none, or it is closing. */
struct session_slot *session_slot_find(const struct session *session, uint32_t number);

/* Copies text with control characters and bad UTF-8 escaped, cut to fit; returns buf. */
const char *session_escape(char *buf, size_t len, const char *text);

#endif
