/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dial.h: opens the socket to a server.  Blocks, until a deadline; any thread.
 */
#ifndef CLIENT_DIAL_H
#define CLIENT_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "client/uri.h"
#include "common/annot.h"

#define DIAL_TEXT_MAX 512

/*
 * Makes a connected, close-on-exec socket, to be used with MSG_DONTWAIT.  -ERR_CONN, -ERR_TIMEOUT,
 * -ERR_PERM, -ERR_INVAL (a path too long for a socket) or -ERR_NOMEM; "text" then says what failed.
 * The deadline does not cover the resolver, which has time limits of its own.
 */
int dial(const struct uri *uri, uint64_t deadline_ns, int *fd, char text[DIAL_TEXT_MAX]) MUST_CHECK;

#endif
