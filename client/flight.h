/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flight.h: calls under way, from their start to their result, whatever becomes of the connection;
 * handle.h has their states.  Owns nothing but the lists in struct cow.  All under the lock.
 */
#ifndef CLIENT_FLIGHT_H
#define CLIENT_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/handle.h"
#include "common/annot.h"

/* Starts a call whose body is encoded. */
void flight_start(struct cow *cow, struct call *call);

/* The same, but it is parked in any case: for who must not use the channel. */
void flight_start_parked(struct cow *cow, struct call *call);

/* Every parked call that can go on does, or fails. */
void flight_unpark(struct cow *cow);

/* When the first call must have ended; HANDLE_NEVER. */
uint64_t flight_deadline_ns(const struct cow *cow);

/* Ends the calls whose time is over. */
void flight_expire(struct cow *cow, uint64_t now_ns);

/* Ends a call that is PARKED or GIVEN, at once. */
void flight_give_up(struct call *call, int err, const char *text);

/* After a connection was made to a server that did not restart: changes that may yet be carried out
 * on an older one are not sent again. */
void flight_drop_doubtful(struct cow *cow);

/* The changes of an object that no fsync has covered. */
bool flight_is_dirty(const struct cow_object *obj) MUST_CHECK;

/* Closes, in the background, a number that the server has given out on this connection. */
void flight_close_handle(struct cow *cow, uint32_t wire_handle);

/* An object was opened: it is in the list from now on. */
void flight_object_opened(struct cow_object *obj, const struct msg_open_reply *reply);

/* It will not be open again, for a reason in static storage. */
void flight_set_gone(struct cow_object *obj, int err, const char *text);

/* It is not used any more: the server closes it too, if it has not yet.  Frees with the last
 * reference. */
void flight_object_closed(struct cow_object *obj);
void flight_object_put(struct cow_object *obj);

#endif
