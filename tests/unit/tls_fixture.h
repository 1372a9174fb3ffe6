/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_fixture.h: two streams over a pair of sockets, and credentials for them.  A test includes it
 * once.
 */
#ifndef TESTS_UNIT_TLS_FIXTURE_H
#define TESTS_UNIT_TLS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/err.h"
#include "common/stream.h"
#include "common/tls.h"
#include "tests/lib/certs.h"

struct pair {
	struct stream client;
	struct stream server;
	int client_err; /* of the handshakes */
	int server_err;
};

static struct tls *server_of(const char *dir, const char *psk, const char *allow)
{
	struct tls_server_files files = {
	    .certificates = dir, .psk = psk, .allow = &allow, .allow_count = allow ? 1 : 0};
	char text[TLS_TEXT_MAX] = "";
	struct tls *tls = NULL;
	int err = tls_server_new(&files, &tls, text);

	if (err != 0)
		fail_msg("%s", text);
	return tls;
}

static inline struct tls *client_of(const char *dir, const char *psk, const char *identity)
{
	struct tls_client_files files = {
	    .certificates = dir, .psk = psk, .identity = identity, .host = "localhost"};
	char text[TLS_TEXT_MAX] = "";
	struct tls *tls = NULL;
	int err = tls_client_new(&files, &tls, text);

	if (err != 0)
		fail_msg("%s", text);
	return tls;
}

/* Plain. */
static inline void pair_open(struct pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	*p = (struct pair){0};
	stream_open(&p->client, fds[0]);
	stream_open(&p->server, fds[1]);
}

/* Both handshakes until neither has to wait for the other any more. */
static inline void pair_shake(struct pair *p)
{
	p->client_err = p->server_err = STREAM_AGAIN;
	for (int i = 0; i < 100; i++) {
		if (p->client_err == STREAM_AGAIN)
			p->client_err = stream_handshake(&p->client);
		if (p->server_err == STREAM_AGAIN)
			p->server_err = stream_handshake(&p->server);
	}
}

/* Gives the references away. */
static inline void pair_start(struct pair *p, struct tls *client, struct tls *server)
{
	pair_open(p);
	assert_int_equal(stream_start_tls(&p->client, client), 0);
	assert_int_equal(stream_start_tls(&p->server, server), 0);
	tls_put(client);
	tls_put(server);
	pair_shake(p);
}

static inline void pair_close(struct pair *p)
{
	stream_close(&p->client);
	stream_close(&p->server);
}

static ssize_t get(struct stream *s, void *buf, size_t len)
{
	struct iovec iov = {buf, len};

	return stream_readv(s, &iov, 1);
}

static ssize_t put(struct stream *s, const void *buf, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return stream_writev(s, &iov, 1);
}

static void expect_text(const struct stream *s, const char *part)
{
	if (!strstr(stream_text(s), part))
		fail_msg("'%s' is not in '%s'", part, stream_text(s));
}

/* One end says something, and the other end hears it. */
static inline void expect_passes(struct stream *from, struct stream *to)
{
	char buf[8] = "";

	assert_int_equal(put(from, "hello", 5), 5);
	assert_int_equal(get(to, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(get(to, buf, sizeof(buf)), -1);
	assert_int_equal(errno, EAGAIN);
}

#endif
