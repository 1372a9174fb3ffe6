/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * call.h: synchronous calls over the channel.  Only libcow's own files use it; any thread.
 *
 * One thread at a time pumps: it polls the socket for all.  The others sleep on their call's own
 * condition.  When the pumping thread's call is done it hands over to one whose call is not.
 * cow_process() may be called meanwhile: what neither blocks nor is done twice needs no turn.
 *
 * A struct call lives on its caller's stack from call_init() until call_wait() has returned;
 * between call_start() and that, its buffers must stay too.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "client/handle.h"
#include "common/annot.h"

void call_init(struct call *call, enum wire_op op);

/*
 * Names the object that the request is about: its handle's number goes into the body, at this offset,
 * when the request goes out, as it may be another on another connection.  The first object is the one
 * that is changed, or all are (flight.c); all are synced.
 */
void call_bind(struct call *call, cow_object_t *obj, uint32_t handle_at);

/* Instead: any number of them, in an array that stays the caller's and must stay as it is. */
void call_bind_all(struct call *call, struct call_object *bound, uint32_t n);

/* Where the request's body is to be encoded: CHAN_BODY_MAX bytes.  One that is longer is the
 * caller's: req.body. */
uint8_t *call_body(struct call *call);

/* The longest body that the server takes, as far as that is known. */
size_t call_body_max(struct cow *cow);

/* Sends it, after body_len bytes (or a negative error) came of encoding.  Does not fail: a failure
 * is the call's result. */
void call_start(struct cow *cow, struct call *call, int body_len);

/* Waits for the result.  0 or a negative COW_E* code, with the message set. */
int call_wait(struct cow *cow, struct call *call) MUST_CHECK;

/* Waits, and leaves the message alone. */
void call_wait_only(struct cow *cow, struct call *call);

/*
 * For cow_wait(), under the lock, which is released meanwhile: has the place of the thread that polls for
 * all until something comes, or a deadline; what is to be done then, with the events of the socket, is the
 * caller's.  False, at once: another thread has that place.
 */
bool call_sleep_for_aio(struct cow *cow, short *revents) MUST_CHECK;

/* Whoever leaves while nobody pumps wakes one who will: so no call is left without a pump. */
void call_hand_over(struct cow *cow);

/* call_start() and call_wait(). */
int call_run(struct cow *cow, struct call *call, int body_len) MUST_CHECK;

/* The bytes of a payload that fit one request. */
size_t call_payload_max(struct cow *cow);

/* How long poll() is to wait for a time. */
int call_poll_ms(uint64_t deadline_ns);

#endif
