/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen.h: the sockets that clients connect to.  Owns the socket, and for a unix socket its name
 * in the file system.  Loop thread only.
 */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/annot.h"

struct listener;
struct loop;

struct listen_config {
	struct loop *loop;
	bool insecure_plaintext; /* TCP beyond loopback is allowed */
	bool everybody;		 /* may connect to a unix socket: who it is will be looked at */
	/* Takes over a connected socket.  False: accept no more until listener_resume(). */
	bool (*accept)(void *ctx, int fd);
	bool (*accept_tls)(void *ctx, int fd); /* on tls: addresses; NULL: there are none */
	void *ctx;
};

/*
 * Listens on "unix:PATH", "tcp:HOST:PORT" or "tls:HOST:PORT" (HOST an address, a name, or [::1]; a name's first
 * address is taken; port 0: any).  A socket file that nobody listens on is replaced.  On failure
 * "why" says what was wrong with what: -ERR_INVAL (no such address), -ERR_BUSY (somebody listens
 * there), -ERR_EXIST (the path is no socket), -ERR_PERM (not loopback), -ERR_NOMEM, -ERR_NOENT,
 * -ERR_IO.
 */
int listener_open(const struct listen_config *config, const char *addr, struct listener **listener,
		  char *why, size_t why_len) LOOP_FN MUST_CHECK;

/*
 * Writes the address of the socket where clients look for one, and makes its directory.  -ERR_INVAL: there
 * is no such place; or why the directory cannot be made.
 */
int listen_default(char *addr, size_t len, char *why, size_t why_len) MUST_CHECK;

/* Closes the socket and removes its name if it is still this one.  NULL is allowed. */
void listener_close(struct listener *listener) LOOP_FN;

/* The address, with the real port. */
const char *listener_addr(const struct listener *listener);

void listener_resume(struct listener *listener) LOOP_FN;

#endif
