/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_tls_fixture.h: clients that speak plain frames to a relay, which speaks TLS to a connection; what
 * the relay sends is counted, and can be cut after any byte.  A test includes it once.
 */
#ifndef TESTS_UNIT_CONN_TLS_FIXTURE_H
#define TESTS_UNIT_CONN_TLS_FIXTURE_H

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/stream.h"
#include "common/tls.h"
#include "server/conn.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"

#define RELAY_BYTES 65536

/* The two ways to know each other. */
static char *dir;
static struct tls *server_tls[2];
static struct tls *client_tls[2];

#define BY_CERT 0
#define BY_KEY	1

/* A way for bytes, one at a time in the buffer. */
struct way {
	uint8_t bytes[RELAY_BYTES];
	size_t at;
	size_t len;
	bool ended; /* where it comes from */
};

struct relay {
	struct frame_part part;
	struct stream tls; /* by "wire" to the server */
	int wire[2];	   /* its other end, and that of the server */
	int plain;	   /* the client's other end */
	struct way up;
	struct way down;
	struct way out;	 /* of the wire, to the server */
	struct way back; /* and from it */
	size_t sent;	 /* to the server */
	size_t limit;	 /* of that: then it is cut */
	bool cut;
	int err; /* of the handshake, or what has failed later */
};

/* ---- the relay ------------------------------------------------------------------------------- */

static bool way_fill(struct way *w, int fd)
{
	ssize_t n;

	if (w->at < w->len || w->ended)
		return false;
	n = recv(fd, w->bytes, sizeof(w->bytes), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		w->ended = true;
	w->at = 0;
	w->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool way_empty(struct way *w, int fd, size_t max)
{
	size_t len = w->len - w->at < max ? w->len - w->at : max;
	ssize_t n = len > 0 ? send(fd, w->bytes + w->at, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n <= 0)
		return false;
	w->at += (size_t)n;
	return true;
}

/* Between the two ends of the wire: the bytes as they are, up to the limit. */
static bool relay_wire(struct relay *r)
{
	bool moved = way_fill(&r->out, r->wire[0]);
	size_t before = r->out.at;

	if (way_empty(&r->out, r->wire[1], r->limit - r->sent)) {
		moved = true;
		r->sent += r->out.at - before;
	}
	moved |= way_fill(&r->back, r->wire[1]);
	moved |= way_empty(&r->back, r->wire[0], SIZE_MAX);
	if (r->back.ended && r->back.at == r->back.len)
		(void)shutdown(r->wire[0], SHUT_WR);
	if (r->sent == r->limit || (r->out.ended && r->out.at == r->out.len))
		(void)shutdown(r->wire[1], SHUT_WR);
	r->cut = r->sent == r->limit;
	return moved;
}

static bool relay_up(struct relay *r)
{
	struct iovec iov;
	ssize_t n;
	bool moved = way_fill(&r->up, r->plain);

	iov = (struct iovec){r->up.bytes + r->up.at, r->up.len - r->up.at};
	if (iov.iov_len == 0) {
		if (r->up.ended && stream_end(&r->tls) < 0)
			r->err = -ERR_CONN;
		return moved;
	}
	n = stream_writev(&r->tls, &iov, 1);
	if (n < 0 && errno != EAGAIN)
		r->err = -ERR_CONN;
	if (n > 0)
		r->up.at += (size_t)n;
	return n > 0 || moved;
}

static bool relay_down(struct relay *r)
{
	struct iovec iov = {r->down.bytes, sizeof(r->down.bytes)};
	ssize_t n;

	if (r->down.at < r->down.len)
		return way_empty(&r->down, r->plain, SIZE_MAX);
	n = stream_readv(&r->tls, &iov, 1);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0)
		r->err = -ERR_CONN;
	if (n == 0) /* the orderly end: whatever else it is, the client's end stays open */
		(void)shutdown(r->plain, SHUT_WR);
	r->down.at = 0;
	r->down.len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static void relay_turn(struct relay *r)
{
	bool moved = true;

	for (int i = 0; moved && i < 100; i++) {
		moved = relay_wire(r);
		if (r->err == 0 && r->tls.tls && stream_is_shaking(&r->tls)) {
			r->err = stream_handshake(&r->tls);
			if (r->err == STREAM_AGAIN)
				r->err = 0;
		} else if (r->err == 0) {
			moved |= relay_up(r);
			if (r->err == 0)
				moved |= relay_down(r);
		}
		moved |= relay_wire(r);
	}
	if (r->err < 0) /* nothing more will come */
		(void)shutdown(r->wire[1], SHUT_WR);
}

static void relay_on_turn(struct frame_part *part)
{
	relay_turn(CONTAINER_OF(part, struct relay, part));
}

/* A client whose bytes go through the relay to a connection; "how" is BY_CERT, BY_KEY or -1: without TLS. */
static struct frame_client relay_open_to(struct relay *r, struct peer_fixture *fx,
					 const struct conn_proto *proto, int how)
{
	struct frame_client c = {.base = fx->base};
	int plain[2], wire[2], server[2];

	memset(r, 0, sizeof(*r));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, plain), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, wire), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, server), 0);
	c.fd = plain[0];
	r->plain = plain[1];
	r->wire[0] = wire[1];
	r->wire[1] = server[1];
	r->limit = SIZE_MAX;
	stream_open(&r->tls, wire[0]);
	if (how >= 0)
		assert_int_equal(stream_start_tls(&r->tls, client_tls[how]), 0);
	r->part.fn = relay_on_turn;
	frame_join(&r->part);
	assert_int_equal(how >= 0 ? conn_new_tls(fx->set, proto, server[0])
				  : conn_new(fx->set, proto, server[0]),
			 0);
	return c;
}

static struct frame_client relay_open(struct relay *r, struct peer_fixture *fx, int how)
{
	return relay_open_to(r, fx, &conn_frames, how);
}

static void relay_close(struct relay *r)
{
	frame_leave(&r->part);
	stream_close(&r->tls);
	close(r->wire[0]);
	close(r->wire[1]);
	close(r->plain);
}

static struct relay *relay_connect(struct peer_fixture *fx, struct frame_client *c, int how)
{
	struct relay *r = malloc(sizeof(*r));

	assert_non_null(r);
	*c = relay_open(r, fx, how);
	assert_int_equal(peer_hello(fx, c, 0), 0);
	return r;
}

static void relay_free(struct relay *r, struct frame_client *c)
{
	relay_close(r);
	free(r);
	close(c->fd);
}

/* ---- standard error -------------------------------------------------------------------------- */

struct capture {
	FILE *file;
	int saved;
};

static struct capture capture_begin(void)
{
	struct capture cap = {.file = tmpfile(), .saved = dup(STDERR_FILENO)};

	assert_non_null(cap.file);
	assert_true(dup2(fileno(cap.file), STDERR_FILENO) >= 0);
	return cap;
}

/* Puts it back; how many lines of it have the text. */
static unsigned int capture_end(struct capture *cap, const char *text)
{
	char line[4096];
	unsigned int n = 0;

	assert_true(dup2(cap->saved, STDERR_FILENO) >= 0);
	close(cap->saved);
	rewind(cap->file);
	while (fgets(line, sizeof(line), cap->file))
		n += strstr(line, text) != NULL;
	(void)fclose(cap->file);
	return n;
}

/* ---- fixture --------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct peer_fixture *fx;

	if (peer_setup(state) < 0)
		return -1;
	fx = *state;
	conn_set_use_tls(fx->set, server_tls[BY_CERT]);
	return 0;
}

/* With these milliseconds for a handshake, and certificates or keys. */
static void use(struct peer_fixture *fx, unsigned int handshake_ms, int how)
{
	fx->config.handshake_ms = handshake_ms;
	peer_reconfigure(fx);
	conn_set_use_tls(fx->set, server_tls[how]);
}

static int group_setup(void **state)
{
	struct tls_server_files server = {0};
	struct tls_client_files client = {.host = "localhost"};
	char text[TLS_TEXT_MAX];
	char psk[128];

	(void)state;
	dir = certs_dir();
	(void)snprintf(psk, sizeof(psk), "%s/keys.psk", dir);
	server.certificates = client.certificates = dir;
	assert_int_equal(tls_server_new(&server, &server_tls[BY_CERT], text), 0);
	assert_int_equal(tls_client_new(&client, &client_tls[BY_CERT], text), 0);
	server.certificates = client.certificates = NULL;
	server.psk = client.psk = psk;
	client.identity = "alice";
	assert_int_equal(tls_server_new(&server, &server_tls[BY_KEY], text), 0);
	assert_int_equal(tls_client_new(&client, &client_tls[BY_KEY], text), 0);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		tls_put(server_tls[i]);
		tls_put(client_tls[i]);
	}
	certs_remove(dir);
	return 0;
}

#endif
