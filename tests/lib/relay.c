/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/stream.h"
#include "tests/lib/must.h"

#define RELAY_BYTES 65536u

struct half {
	uint8_t buf[RELAY_BYTES];
	size_t len;
	size_t pos;
	bool ended; /* nothing more comes */
	bool cut;   /* and that was no orderly end */
};

struct ends {
	struct stream outer;
	struct stream inner;
	struct half in; /* from the outer to the inner */
	struct half out;
};

static void half_read(struct half *h, struct stream *from)
{
	struct iovec iov = {h->buf, sizeof(h->buf)};
	ssize_t n;

	if (h->pos < h->len || h->ended)
		return;
	n = stream_readv(from, &iov, 1);
	h->pos = 0;
	h->len = n > 0 ? (size_t)n : 0;
	h->ended = n == 0 || (n < 0 && errno != EAGAIN);
	h->cut = n < 0 && h->ended;
}

static void half_write(struct half *h, struct stream *to)
{
	struct iovec iov = {h->buf + h->pos, h->len - h->pos};
	ssize_t n;

	if (h->pos == h->len)
		return;
	n = stream_writev(to, &iov, 1);
	if (n > 0)
		h->pos += (size_t)n;
	if (n < 0 && errno != EAGAIN) {
		h->pos = h->len;
		h->ended = true;
		h->cut = true;
	}
}

static void relay_wait(const struct ends *e)
{
	struct pollfd fds[] = {
	    {.fd = e->outer.fd,
	     .events = stream_events(&e->outer, e->in.pos == e->in.len, e->out.pos < e->out.len)},
	    {.fd = e->inner.fd,
	     .events = stream_events(&e->inner, e->out.pos == e->out.len, e->in.pos < e->in.len)}};
	bool more = e->in.pos == e->in.len && stream_is_pending(&e->outer);

	(void)poll(fds, 2, more ? 0 : -1);
}

static bool relay_shake(struct stream *s)
{
	struct pollfd pfd = {.fd = s->fd};
	int err;

	while ((err = stream_handshake(s)) == STREAM_AGAIN) {
		pfd.events = stream_events(s, true, false);
		(void)poll(&pfd, 1, -1);
	}
	return err == 0;
}

static bool half_is_over(const struct half *h)
{
	return h->ended && h->pos == h->len;
}

static void relay_pass(struct ends *e)
{
	while (!half_is_over(&e->in) && !half_is_over(&e->out)) {
		half_read(&e->in, &e->outer);
		half_write(&e->in, &e->inner);
		half_read(&e->out, &e->inner);
		half_write(&e->out, &e->outer);
		if (!half_is_over(&e->in) && !half_is_over(&e->out))
			relay_wait(e);
	}
	if (half_is_over(&e->out) && !e->out.cut && stream_end(&e->outer) != 0)
		e->out.cut = true;
}

/* A refused client hears why, because what it still sends is read. */
static void relay_linger(const struct stream *s)
{
	uint8_t buf[4096];

	(void)shutdown(s->fd, SHUT_WR);
	while (recv(s->fd, buf, sizeof(buf), 0) > 0)
		;
}

static void *relay_main(void *arg)
{
	struct relay *r = arg;
	static _Thread_local struct ends e;

	e = (struct ends){.in = {.len = 0}};
	stream_open(&e.outer, r->outer);
	stream_open(&e.inner, r->inner);
	MUST(stream_start_tls(&e.outer, r->tls) == 0, "out of memory");
	if (relay_shake(&e.outer))
		relay_pass(&e);
	else
		relay_linger(&e.outer);
	stream_close(&e.outer);
	stream_close(&e.inner);
	tls_put(r->tls);
	return NULL;
}

static void relay_begin(struct relay *r, int outer, int inner, struct tls *tls)
{
	r->outer = outer;
	r->inner = inner;
	r->tls = tls_get(tls);
	MUST(pthread_create(&r->thread, NULL, relay_main, r) == 0, "no thread");
}

int relay_start(struct relay *r, int fd, struct tls *tls)
{
	int fds[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "no sockets");
	relay_begin(r, fd, fds[0], tls);
	return fds[1];
}

void relay_start_to(struct relay *r, int fd, struct tls *tls, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int inner = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	MUST(inner >= 0, "no socket");
	MUST(connect(inner, (struct sockaddr *)&addr, sizeof(addr)) == 0, "%s", path);
	relay_begin(r, fd, inner, tls);
}

void relay_join(struct relay *r)
{
	MUST(pthread_join(r->thread, NULL) == 0, "no thread to join");
}
