/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn.h: the connections: sockets, messages, and how much each may have under way.  Owns the
 * sockets and, through the sessions, the handles.  Loop thread only.
 *
 * Life of a connection (the functions are those of conn.c):
 *
 *	conn_new_tls() --> TLS --.	    and conn_start_tls() in the midst of a protocol
 *				 v
 *	conn_new() --> HEADER -> BODY -> ADMIT -> PAYLOAD or DISCARD -> RUN --> HEADER ...
 *	                  |  a fault of the frame, the peer's end, a stop: conn_finish()
 *	                  v
 *	              FINISHING   reads no more; answers what is in flight and sends it
 *	                  |  conn_linger(), where the peer still sends
 *	                  v
 *	               LINGER     has closed its side; throws away what comes, until the peer's end
 *	                  |  conn_kill(); from any state after a socket error
 *	                  v
 *	                DEAD      no socket; waits for the engine's callbacks: conn_reap() frees it
 *
 * What one client can make the server hold is bounded: requests and reply bytes in flight and
 * unsent bytes for each connection; unsent and promised reply bytes, and payloads half received,
 * for all of them together.  Beyond a bound the connection is not read.  While others wait for the
 * common budgets, a connection that holds a large part of them and does not move is dropped.
 */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/peer.h"
#include "server/session.h"

struct conn_proto;
struct conn_set;
struct loop;
struct tls;
struct nbd_config;

/* The protocols that a connection may speak. */
extern const struct conn_proto conn_frames; /* cowd's own: docs/protocol.md */

struct conn_config {
	struct loop *loop;
	const struct session_host *host;
	const struct peer_policy *policy; /* of unix sockets; NULL: no users beside our own */
	unsigned int conns_max;
	uint64_t send_budget_bytes; /* of all: replies promised or not yet sent */
	uint64_t recv_budget_bytes; /* of all: payloads being received */
	unsigned int handshake_ms;  /* from the connection to a good HELLO */
	unsigned int linger_ms;
	const struct nbd_config *nbd; /* of NBD's connections; NULL: as it is by default */
	unsigned int slow_ms;	      /* the time in which a holder of the budgets must move */
	void (*on_closed)(void *ctx); /* a connection has gone, completely */
	void *ctx;
};

/* NULL: out of memory. */
struct conn_set *conn_set_new(const struct conn_config *config) LOOP_FN;

/* No connection may be left. */
void conn_set_free(struct conn_set *set) LOOP_FN;

unsigned int conn_set_count(const struct conn_set *set);
bool conn_set_is_full(const struct conn_set *set);

/* Takes over a connected socket, whatever the outcome.  -ERR_NOMEM. */
int conn_new(struct conn_set *set, const struct conn_proto *proto, int fd) LOOP_FN MUST_CHECK;

/* The same, but that TLS comes first. */
int conn_new_tls(struct conn_set *set, const struct conn_proto *proto, int fd) LOOP_FN MUST_CHECK;

/* The context of all handshakes that begin from here on: another reference to it. */
void conn_set_use_tls(struct conn_set *set, struct tls *tls) LOOP_FN;

/* Every connection finishes what is in flight, sends it, and closes. */
void conn_set_stop(struct conn_set *set) LOOP_FN;

/* Closes every socket at once.  The connections go when the engine has answered. */
void conn_set_abort(struct conn_set *set) LOOP_FN;

#endif
