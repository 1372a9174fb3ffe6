/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "tests/lib/relay.h"

/* A test that cannot be set up has failed. */
static void fake_must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void fake_serve(struct fake_server *s, struct fake_conn *conn)
{
	struct relay relay;

	if (s->tls)
		conn->fd = relay_start(&relay, conn->fd, s->tls);
	s->serve(conn);
	(void)close(conn->fd);
	if (s->tls)
		relay_join(&relay);
}

static void *fake_main(void *arg)
{
	struct fake_server *s = arg;
	int one = 1;

	for (unsigned int n = 0;; n++) {
		struct fake_conn conn = {.number = n, .ctx = s->ctx};

		conn.fd = accept(s->listen_fd, NULL, NULL);
		if (conn.fd < 0)
			return NULL;
		if (!s->path[0]) /* as the real one: replies do not wait for each other */
			fake_must(
			    setsockopt(conn.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0,
			    "TCP_NODELAY");
		fake_serve(s, &conn);
	}
}

static void fake_listen_unix(struct fake_server *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/cow-fake-XXXXXX");
	fake_must(mkdtemp(s->dir) != NULL, "mkdtemp");
	(void)snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
	(void)snprintf(s->uri, sizeof(s->uri), "cow+unix:///?socket=%s", s->path);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s->path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fake_must(bind(s->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "bind");
}

static void fake_listen_tcp(struct fake_server *s)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);

	s->path[0] = '\0';
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fake_must(bind(s->listen_fd, (struct sockaddr *)&addr, len) == 0, "bind");
	fake_must(getsockname(s->listen_fd, (struct sockaddr *)&addr, &len) == 0, "getsockname");
	(void)snprintf(s->uri, sizeof(s->uri), "cow://127.0.0.1:%u", ntohs(addr.sin_port));
}

static void fake_begin(struct fake_server *s, fake_serve_fn serve, void *ctx)
{
	s->serve = serve;
	s->ctx = ctx;
	fake_must(listen(s->listen_fd, 16) == 0, "listen");
	fake_must(pthread_create(&s->thread, NULL, fake_main, s) == 0, "pthread_create");
}

void fake_server_start(struct fake_server *s, bool tcp, fake_serve_fn serve, void *ctx)
{
	s->tls = NULL;
	if (tcp)
		fake_listen_tcp(s);
	else
		fake_listen_unix(s);
	fake_begin(s, serve, ctx);
}

void fake_server_start_tls(struct fake_server *s, fake_serve_fn serve, void *ctx, const char *dir)
{
	char psk[160];
	struct tls_server_files files = {.certificates = dir, .psk = psk};
	char text[TLS_TEXT_MAX];
	char host[160];

	(void)snprintf(psk, sizeof(psk), "%s/keys.psk", dir);
	fake_must(tls_server_new(&files, &s->tls, text) == 0, "credentials");
	fake_listen_tcp(s);
	(void)snprintf(host, sizeof(host), "%s", strchr(s->uri, ':'));
	(void)snprintf(s->uri, sizeof(s->uri), "cows%s?tls-certificates=%s", host, dir);
	fake_begin(s, serve, ctx);
}

void fake_server_stop(struct fake_server *s)
{
	(void)shutdown(s->listen_fd, SHUT_RDWR); /* accept() returns */
	(void)pthread_join(s->thread, NULL);
	(void)close(s->listen_fd);
	tls_put(s->tls);
	if (s->path[0]) {
		(void)unlink(s->path);
		(void)rmdir(s->dir);
	}
}

/* ---- frames ---------------------------------------------------------------------------------- */

static bool fake_read(int fd, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = recv(fd, (uint8_t *)buf + got, len - got, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

bool fake_recv(struct fake_conn *conn, struct fake_frame *f)
{
	uint8_t head[WIRE_HEADER_BYTES];

	f->payload = NULL;
	if (!fake_read(conn->fd, head, sizeof(head)))
		return false;
	errno = EPROTO;
	fake_must(wire_header_decode(head, WIRE_MAGIC_REQUEST, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX,
				     &f->h) == 0,
		  "request header");
	if (!fake_read(conn->fd, f->body, f->h.body_len))
		return false;
	fake_must(crc32c(0, f->body, f->h.body_len) == f->h.body_crc, "request body");
	if (f->h.payload_len == 0)
		return true;
	f->payload = malloc(f->h.payload_len);
	fake_must(f->payload != NULL, "malloc");
	if (!fake_read(conn->fd, f->payload, f->h.payload_len)) {
		fake_frame_clear(f);
		return false;
	}
	errno = EPROTO;
	fake_must(f->h.payload_crc == (conn->crc ? crc32c(0, f->payload, f->h.payload_len) : 0),
		  "request payload");
	return true;
}

void fake_frame_clear(struct fake_frame *f)
{
	free(f->payload);
	f->payload = NULL;
}

uint8_t *fake_build(const struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		    const void *body, size_t body_len, const void *payload, size_t payload_len,
		    size_t *len)
{
	struct wire_header h = {
	    .magic = WIRE_MAGIC_REPLY,
	    .op = f->h.op,
	    .id = f->h.id,
	    .status = status,
	    .body_len = (uint32_t)body_len,
	    .payload_len = (uint32_t)payload_len,
	    .body_crc = crc32c(0, body, body_len),
	    .payload_crc = conn->crc ? crc32c(0, payload, payload_len) : 0,
	};
	uint8_t *out;

	*len = WIRE_HEADER_BYTES + body_len + payload_len;
	out = malloc(*len);
	fake_must(out != NULL, "malloc");
	wire_header_encode(out, &h);
	if (body_len > 0)
		memcpy(out + WIRE_HEADER_BYTES, body, body_len);
	if (payload_len > 0)
		memcpy(out + WIRE_HEADER_BYTES + body_len, payload, payload_len);
	return out;
}

void fake_send(struct fake_conn *conn, const void *bytes, size_t len)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(conn->fd, (const uint8_t *)bytes + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		sent += (size_t)n;
	}
}

void fake_reply(struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		const void *body, size_t body_len, const void *payload, size_t payload_len)
{
	size_t len;
	uint8_t *bytes = fake_build(conn, f, status, body, body_len, payload, payload_len, &len);

	fake_send(conn, bytes, len);
	free(bytes);
}

void fake_reply_error(struct fake_conn *conn, const struct fake_frame *f, uint32_t status,
		      const char *text)
{
	struct msg_error m = {0};
	uint8_t body[WIRE_TEXT_MAX + 2];
	int n;

	(void)snprintf(m.text, sizeof(m.text), "%s", text);
	n = msg_error_encode(body, sizeof(body), &m);
	errno = EPROTO;
	fake_must(n > 0, "error body");
	fake_reply(conn, f, status, body, (size_t)n, NULL, 0);
}

struct msg_hello_reply fake_hello_reply(void)
{
	return (struct msg_hello_reply){
	    .version = WIRE_VERSION,
	    .block_bytes = 4096,
	    .body_max = WIRE_BODY_MAX,
	    .payload_max = WIRE_PAYLOAD_MAX,
	    .inflight_max = WIRE_INFLIGHT_MAX,
	    .incarnation = 7,
	    .store_uuid = {0xc0, 0x01},
	    .agent = "fake/1",
	};
}

bool fake_hello(struct fake_conn *conn, const struct msg_hello_reply *m)
{
	struct msg_hello_reply reply = m ? *m : fake_hello_reply();
	struct fake_frame f;
	struct msg_hello hello;
	uint8_t body[256];
	int n;

	if (!fake_recv(conn, &f))
		return false;
	errno = EPROTO;
	fake_must(f.h.op == WIRE_OP_HELLO && msg_hello_decode(f.body, f.h.body_len, &hello) == 0,
		  "HELLO");
	reply.features |= hello.features;
	n = msg_hello_reply_encode(body, sizeof(body), &reply);
	fake_must(n > 0, "HELLO reply");
	fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	conn->crc = reply.features & WIRE_FEATURE_PAYLOAD_CRC;
	return true;
}
