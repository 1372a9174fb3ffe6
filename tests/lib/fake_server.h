/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_server.h: a server for tests of the client, scripted by the test: it accepts connections one
 * after the other in a thread of its own and calls the test's function for each.  It owns the
 * thread and the sockets.  What it writes is a correct frame unless the script changes its bytes.
 */
#ifndef TESTS_LIB_FAKE_SERVER_H
#define TESTS_LIB_FAKE_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/tls.h"
#include "proto/msg.h"
#include "proto/wire.h"

struct fake_conn {
	int fd;
	unsigned int number; /* counts connections from 0 */
	bool crc;	     /* payload CRCs were negotiated */
	void *ctx;	     /* the test's */
};

typedef void (*fake_serve_fn)(struct fake_conn *conn);

struct fake_server {
	struct tls *tls; /* fake_server_start_tls() */
	int listen_fd;
	char dir[64];
	char path[96]; /* "" for TCP */
	char uri[256];
	fake_serve_fn serve;
	void *ctx;
	pthread_t thread;
};

struct fake_frame {
	struct wire_header h;
	uint8_t body[WIRE_BODY_MAX];
	uint8_t *payload; /* heap; NULL if there is none */
};

/* Listens, on a unix socket or on a TCP port of 127.0.0.1, and starts the thread. */
void fake_server_start(struct fake_server *s, bool tcp, fake_serve_fn serve, void *ctx);

/* As by TCP, with TLS in front of the script: the credentials are those of DIR (certs.h),
 * certificates and keys. */
void fake_server_start_tls(struct fake_server *s, fake_serve_fn serve, void *ctx, const char *dir);

/* Waits for the script in progress to return, and ends the thread. */
void fake_server_stop(struct fake_server *s);

/* Reads a request; false when the client is gone.  The payload is to be freed with
 * fake_frame_clear(). */
bool fake_recv(struct fake_conn *conn, struct fake_frame *f) MUST_CHECK;
void fake_frame_clear(struct fake_frame *f);

/* Makes the reply to a request, as bytes in memory for free(). */
uint8_t *fake_build(const struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		    const void *body, size_t body_len, const void *payload, size_t payload_len,
		    size_t *len);

/* Writes it all; a client that is gone is no error. */
void fake_send(struct fake_conn *conn, const void *bytes, size_t len);

/* fake_build() and fake_send(). */
void fake_reply(struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		const void *body, size_t body_len, const void *payload, size_t payload_len);

void fake_reply_error(struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		      const char *text);

/* A HELLO reply with usual values; block size 4096, the largest limits. */
struct msg_hello_reply fake_hello_reply(void);

/* Receives HELLO and answers it with m (NULL: fake_hello_reply()), the client's features added. */
bool fake_hello(struct fake_conn *conn, const struct msg_hello_reply *m) MUST_CHECK;

#endif
