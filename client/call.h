/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * call.h: synchronous calls over the channel.  Only libcow's own files use it; any thread.
 *
 * One thread at a time pumps: it polls the socket for all.  The others sleep on their call's own
 * condition.  When the pumping thread's call is done it hands over to one whose call is not.
 *
 * A struct call lives on its caller's stack from call_init() until call_wait() has returned;
 * between call_start() and that, its buffers must stay too.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/chan.h"
#include "client/handle.h"
#include "common/annot.h"

/* Takes the body of a success apart into ctx; runs once, under the lock, in any thread. */
typedef int (*call_decode_fn)(void *ctx, const uint8_t *body, size_t len);

struct call {
	struct chan_request req;
	uint64_t session; /* that it belongs to; 0: whichever is there */
	bool handshake;	  /* is allowed before the connection is ready */
	call_decode_fn decode;
	void *ctx;

	bool done;
	int err; /* 0 or a negative class of common/err.h */
	uint32_t payload_len;
	char text[WIRE_TEXT_MAX];
	pthread_cond_t cond;
	TAILQ_ENTRY(call) waiter_link;
};

void call_init(struct call *call, enum wire_op op);

/* Where the request's body is to be encoded: CHAN_BODY_MAX bytes.  One that is longer is the
 * caller's: req.body. */
uint8_t *call_body(struct call *call);

/* Sends it, after body_len bytes (or a negative error) came of encoding.  Does not fail: a failure
 * is the call's result. */
void call_start(struct cow *cow, struct call *call, int body_len);

/* Waits for the result.  0 or a negative COW_E* code, with the message set. */
int call_wait(struct cow *cow, struct call *call) MUST_CHECK;

/* Waits, and leaves the message alone. */
void call_wait_only(struct cow *cow, struct call *call);

/* call_start() and call_wait(). */
int call_run(struct cow *cow, struct call *call, int body_len) MUST_CHECK;

#endif
