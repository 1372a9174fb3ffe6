/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dial.h: opens the socket to a server: dial() blocks, until a deadline; dial_begin() goes to where
 * dial() has been and does not.  Any thread.
 */
#ifndef CLIENT_DIAL_H
#define CLIENT_DIAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "client/uri.h"
#include "common/annot.h"

#define DIAL_TEXT_MAX 512

/* Where a server was found. */
struct dial_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/*
 * Makes a connected, close-on-exec socket, to be used with MSG_DONTWAIT.  -ERR_CONN, -ERR_TIMEOUT,
 * -ERR_PERM, -ERR_INVAL (a path too long for a socket) or -ERR_NOMEM; "text" then says what failed.
 * The deadline does not cover the resolver, which has time limits of its own.
 */
int dial(const struct uri *uri, uint64_t deadline_ns, int *fd, struct dial_addr *addr,
	 char text[DIAL_TEXT_MAX]) MUST_CHECK;

#define DIAL_PENDING 1

/*
 * Begins to connect to an address again.  0: connected; DIAL_PENDING: poll *fd for POLLOUT and ask
 * dial_end(); errors as dial() has them, and *fd is not set.
 */
int dial_begin(const struct dial_addr *addr, int *fd, char text[DIAL_TEXT_MAX]) MUST_CHECK;

/* How it stands.  As dial_begin(); the descriptor stays the caller's. */
int dial_end(int fd, char text[DIAL_TEXT_MAX]) MUST_CHECK;

#endif
