/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch.h: what is done with a request: one table row and one function per operation.  Owns
 * nothing; the front end (a connection) calls, in this order and on the loop thread,
 *
 *	dispatch_check()  with the header: may this frame come now?
 *	dispatch_begin()  with the body: a request, or one that is refused already
 *	dispatch_run()	  when its payload has been read into req->payload (or thrown away, where
 *			  req->err is set or payload_len is 0)
 *
 * and gets exactly one session_reply for each request that it runs.  A request that it cannot
 * finish reading is given up with session_request_end().
 */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "proto/wire.h"
#include "server/session.h"

/*
 * Judges a header that decoded well: 0, or the fault that ends the connection: -ERR_FRAME_STATE,
 * -ERR_FRAME_ID, -ERR_PROTO (flags or status not 0), -ERR_FRAME_LEN (a payload where none belongs).
 */
int dispatch_check(const struct session *session, const struct wire_header *h) LOOP_FN MUST_CHECK;

/*
 * Reads a body.  On success *req is in flight; where it is refused (unknown operation, body that
 * does not decode, no such handle) its err is set.  -ERR_NOMEM.
 */
int dispatch_begin(struct session *session, const struct wire_header *h, const uint8_t *body,
		   struct request **req) LOOP_FN MUST_CHECK;

/* Does it, and ends it with its reply, perhaps before this returns. */
void dispatch_run(struct request *req) LOOP_FN;

/* Answers a frame that no request was made of.  "about" ends the text, or is NULL. */
void dispatch_fault(struct session *session, const struct wire_header *h, int err,
		    const char *about) LOOP_FN;

#endif
