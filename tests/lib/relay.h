/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relay.h: TLS in front of a server that has none: a thread that passes on what comes by a stream of
 * TLS to a plain socket, and back, until either ends.  An end goes on as an end, and a cut as a cut.
 */
#ifndef TESTS_LIB_RELAY_H
#define TESTS_LIB_RELAY_H

#include <pthread.h>

#include "common/tls.h"

/* One connection. */
struct relay {
	pthread_t thread;
	struct tls *tls;
	int outer; /* TLS */
	int inner; /* plain */
};

/*
 * Takes over the server's end of a connection, and begins.  Returns the socket for the server: it has
 * it plain, and closes it.
 */
int relay_start(struct relay *r, int fd, struct tls *tls);

/* The same to the server on a unix socket. */
void relay_start_to(struct relay *r, int fd, struct tls *tls, const char *path);

/* Waits until it has ended. */
void relay_join(struct relay *r);

#endif
