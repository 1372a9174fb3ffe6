/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/raw.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "tests/lib/must.h"

/* ---- the socket ------------------------------------------------------------------------------ */

static int raw_socket_unix(const struct daemon *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", d->socket);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "%s", d->socket);
	return fd;
}

static int raw_socket_tcp(const struct daemon *d)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(d->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "%u", d->port);
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0, "nodelay");
	return fd;
}

void raw_open(struct raw *r, const struct daemon *d, int kind)
{
	memset(r, 0, sizeof(*r));
	r->fd = kind == DAEMON_TCP ? raw_socket_tcp(d) : raw_socket_unix(d);
	r->id = 1;
	r->body = malloc(WIRE_BODY_MAX);
	MUST(r->body, "memory");
}

void raw_close(struct raw *r)
{
	(void)close(r->fd);
	free(r->body);
	free(r->payload);
	memset(r, 0, sizeof(*r));
	r->fd = -1;
}

void raw_send(struct raw *r, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len > 0) {
		ssize_t n = send(r->fd, p, len, MSG_NOSIGNAL);

		MUST(n > 0, "send");
		p += n;
		len -= (size_t)n;
	}
}

bool raw_send_drain(struct raw *r, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t sink[16384];

	while (len > 0) {
		struct pollfd pfd = {.fd = r->fd, .events = POLLIN | POLLOUT};
		ssize_t n;

		MUST(poll(&pfd, 1, -1) == 1, "poll");
		if (pfd.revents & (POLLIN | POLLHUP | POLLERR)) {
			n = recv(r->fd, sink, sizeof(sink), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				return false;
		}
		if (!(pfd.revents & POLLOUT))
			continue;
		n = send(r->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return false;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

bool raw_readable(const struct raw *r)
{
	struct pollfd pfd = {.fd = r->fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

/* All of it, or false at the end of the stream (or its reset). */
static bool raw_recv_all(struct raw *r, uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(r->fd, buf, len, 0);

		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

bool raw_recv(struct raw *r, struct wire_header *h)
{
	uint8_t header[WIRE_HEADER_BYTES];
	int err;

	if (!raw_recv_all(r, header, sizeof(header)))
		return false;
	err = wire_header_decode(header, WIRE_MAGIC_REPLY, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, h);
	MUST(err == 0, "a reply's header is not well formed: %d", err);
	MUST(h->flags == 0 && (h->payload_len == 0 || h->op == WIRE_OP_READ), "a reply's header");
	if (!r->payload && h->payload_len > 0) {
		r->payload = malloc(WIRE_PAYLOAD_MAX);
		MUST(r->payload, "memory");
	}
	if (!raw_recv_all(r, r->body, h->body_len) || !raw_recv_all(r, r->payload, h->payload_len))
		return false;
	MUST(crc32c(0, r->body, h->body_len) == h->body_crc, "the CRC of a reply's body");
	if (r->crc && h->payload_len > 0)
		MUST(crc32c(0, r->payload, h->payload_len) == h->payload_crc, "a payload's CRC");
	return true;
}

size_t raw_finish(struct raw *r)
{
	struct wire_header h;
	size_t n = 0;

	(void)shutdown(r->fd, SHUT_WR);
	while (raw_recv(r, &h))
		n++;
	return n;
}

void raw_drain(struct raw *r)
{
	uint8_t sink[16384];

	(void)shutdown(r->fd, SHUT_WR);
	while (recv(r->fd, sink, sizeof(sink), 0) > 0)
		;
}

/* ---- frames ---------------------------------------------------------------------------------- */

void raw_bytes_add(struct raw_bytes *b, const void *p, size_t len)
{
	if (len == 0)
		return;
	if (b->len + len > b->max) {
		b->max = (b->len + len) * 2;
		b->p = realloc(b->p, b->max);
		MUST(b->p, "memory");
	}
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

void raw_bytes_free(struct raw_bytes *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

void raw_reseal(uint8_t *frame, const struct wire_header *h)
{
	wire_header_encode(frame, h);
}

size_t raw_frame(struct raw *r, struct raw_bytes *b, enum wire_op op, const void *body,
		 size_t body_len, const void *payload, size_t payload_len)
{
	struct wire_header h = {
	    .magic = WIRE_MAGIC_REQUEST,
	    .op = (uint16_t)op,
	    .id = r->id++,
	    .body_len = (uint32_t)body_len,
	    .payload_len = (uint32_t)payload_len,
	    .body_crc = crc32c(0, body, body_len),
	    .payload_crc = r->crc ? crc32c(0, payload, payload_len) : 0,
	};
	uint8_t header[WIRE_HEADER_BYTES];
	size_t at = b->len;

	wire_header_encode(header, &h);
	raw_bytes_add(b, header, sizeof(header));
	raw_bytes_add(b, body, body_len);
	raw_bytes_add(b, payload, payload_len);
	return at;
}

/* Adds the frame of an encoded body; n is what the encoder returned. */
static size_t raw_add(struct raw *r, struct raw_bytes *b, enum wire_op op, const uint8_t *body,
		      int n)
{
	MUST(n >= 0, "encode: %d", n);
	return raw_frame(r, b, op, body, (size_t)n, NULL, 0);
}

size_t raw_add_hello(struct raw *r, struct raw_bytes *b, uint64_t features)
{
	struct msg_hello m = {WIRE_VERSION, WIRE_VERSION, features, "raw"};
	uint8_t body[128];

	return raw_add(r, b, WIRE_OP_HELLO, body, msg_hello_encode(body, sizeof(body), &m));
}

size_t raw_add_ping(struct raw *r, struct raw_bytes *b)
{
	return raw_frame(r, b, WIRE_OP_PING, "", 0, "", 0);
}

size_t raw_add_open(struct raw *r, struct raw_bytes *b, const char *name, uint32_t flags)
{
	struct msg_open m = {.flags = flags};
	uint8_t body[512];

	(void)snprintf(m.name, sizeof(m.name), "%s", name);
	return raw_add(r, b, WIRE_OP_OPEN, body, msg_open_encode(body, sizeof(body), &m));
}

size_t raw_add_read(struct raw *r, struct raw_bytes *b, uint32_t handle, uint64_t off, uint32_t len)
{
	struct msg_read m = {.handle = handle, .offset = off, .len = len};
	uint8_t body[64];

	return raw_add(r, b, WIRE_OP_READ, body, msg_read_encode(body, sizeof(body), &m));
}

size_t raw_add_write(struct raw *r, struct raw_bytes *b, uint32_t handle, uint64_t off,
		     const void *data, size_t len)
{
	struct msg_write m = {.handle = handle, .offset = off};
	uint8_t body[64];
	int n = msg_write_encode(body, sizeof(body), &m);

	MUST(n >= 0, "encode: %d", n);
	return raw_frame(r, b, WIRE_OP_WRITE, body, (size_t)n, data, len);
}

bool raw_add_ranges(struct raw *r, struct raw_bytes *b, struct rnd *rnd, enum wire_op op,
		    uint32_t handle, const void *data)
{
	uint32_t len = (uint32_t)rnd_log(rnd, 3000);
	struct msg_readv reads = {.handle = handle, .count = 2, .ranges = {{0, len}, {len, len}}};
	struct msg_writev writes = {
	    .handle = handle, .count = 2, .ranges = {{5, len}, {5000, len}}};
	struct msg_fsync_if sync = {handle, MSG_IF_GENERATION, rnd_below(rnd, 2)};
	struct msg_unshare unsharing = {handle, len, 3 * (uint64_t)len};
	struct msg_verify verifying = {
	    .handle = handle, .offset = len, .len = len, .rate = len & 1};
	size_t payload_len = 0;
	uint8_t body[64];
	int n;

	if (op == WIRE_OP_READV) {
		n = msg_readv_encode(body, sizeof(body), &reads);
	} else if (op == WIRE_OP_WRITEV) {
		n = msg_writev_encode(body, sizeof(body), &writes);
		payload_len = 2 * len + rnd_one_in(rnd, 8);
	} else if (op == WIRE_OP_FSYNC_IF) {
		n = msg_fsync_if_encode(body, sizeof(body), &sync);
	} else if (op == WIRE_OP_UNSHARE) {
		n = msg_unshare_encode(body, sizeof(body), &unsharing);
	} else if (op == WIRE_OP_VERIFY) {
		n = msg_verify_encode(body, sizeof(body), &verifying);
	} else {
		return false;
	}
	MUST(n >= 0, "encode: %d", n);
	(void)raw_frame(r, b, op, body, (size_t)n, data, payload_len);
	return true;
}

size_t raw_add_fsync(struct raw *r, struct raw_bytes *b, uint32_t handle)
{
	struct msg_handle m = {handle};
	uint8_t body[64];

	return raw_add(r, b, WIRE_OP_FSYNC, body, msg_handle_encode(body, sizeof(body), &m));
}

/* ---- exchanges ------------------------------------------------------------------------------- */

void raw_expect(struct raw *r, const struct raw_bytes *b, uint32_t status)
{
	struct wire_header h;

	raw_send(r, b->p, b->len);
	MUST(raw_recv(r, &h), "the connection was closed");
	MUST(h.status == status, "status %u, not %u", h.status, status);
}

void raw_connect(struct raw *r, const struct daemon *d, int kind, bool crc)
{
	struct raw_bytes b = {0};

	raw_open(r, d, kind);
	(void)raw_add_hello(r, &b, crc ? WIRE_FEATURE_PAYLOAD_CRC : 0);
	raw_expect(r, &b, 0);
	r->crc = crc;
	raw_bytes_free(&b);
}

uint32_t raw_open_object(struct raw *r, const char *name)
{
	struct raw_bytes b = {0};

	(void)raw_add_open(r, &b, name, 0);
	raw_expect(r, &b, 0);
	raw_bytes_free(&b);
	return le32_get(r->body);
}
