/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/nbd_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "server/nbd.h"

#define CHUNK_MAX (1u << 25)

void nbd_put(uint8_t *p, size_t n, uint64_t v)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

uint64_t nbd_get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* ---- the handshake --------------------------------------------------------------------------- */

struct nbd_peer nbd_peer_dial(struct peer_fixture *fx)
{
	struct nbd_peer p = {.c.base = fx->base};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(conn_new(fx->set, &conn_nbd, fds[0]), 0);
	p.c.fd = fds[1];
	return p;
}

struct nbd_peer nbd_peer_greet(struct peer_fixture *fx, uint32_t flags)
{
	struct nbd_peer p = nbd_peer_dial(fx);
	uint8_t buf[18];

	assert_true(frame_recv_raw(&p.c, buf, sizeof(buf)));
	assert_memory_equal(buf, "NBDMAGICIHAVEOPT\0\3", 18);
	nbd_put(buf, 4, flags);
	assert_true(frame_send_raw(&p.c, buf, 4));
	return p;
}

void nbd_peer_send_opt(struct nbd_peer *p, uint32_t option, const void *data, size_t len)
{
	uint8_t head[16] = "IHAVEOPT";

	nbd_put(head + 8, 4, option);
	nbd_put(head + 12, 4, len);
	assert_true(frame_send_raw(&p->c, head, sizeof(head)));
	if (len > 0)
		(void)frame_send_raw(&p->c, data, len);
}

static void note_name(struct nbd_peer *p, const uint8_t *name, size_t len)
{
	size_t used = strlen(p->names);

	assert_true(used + len + 2 < sizeof(p->names));
	memcpy(p->names + used, name, len);
	memcpy(p->names + used + len, "\n", 2);
}

static void note_reply(struct nbd_peer *p, uint32_t type, const uint8_t *data, size_t len)
{
	p->nreplies++;
	if (type == SERVER) {
		assert_true(len >= 4 && nbd_get(data, 4) <= len - 4);
		note_name(p, data + 4, nbd_get(data, 4));
	} else if (type == CONTEXT) {
		assert_true(len > 4);
		note_name(p, data + 4, len - 4);
	} else {
		assert_int_equal(type, INFO);
		if (nbd_get(data, 2) == 0) {
			assert_int_equal(len, 12);
			p->size = nbd_get(data + 2, 8);
			p->flags = (uint16_t)nbd_get(data + 10, 2);
		} else if (nbd_get(data, 2) != 3) {
			note_name(p, data + 2, len - 2);
		} else {
			assert_int_equal(len, 14);
			assert_memory_equal(data + 2, "\0\0\0\1\0\0\x10\0\2\0\0\0", 12);
		}
	}
}

uint32_t nbd_peer_opt_reply(struct nbd_peer *p, uint32_t option)
{
	uint8_t head[20];
	uint8_t data[4096];

	p->names[0] = '\0';
	p->nreplies = 0;
	while (frame_recv_raw(&p->c, head, sizeof(head))) {
		uint32_t type = (uint32_t)nbd_get(head + 12, 4);
		size_t len = nbd_get(head + 16, 4);

		assert_memory_equal(head, "\x00\x03\xe8\x89\x04\x55\x65\xa9", 8);
		assert_int_equal(nbd_get(head + 8, 4), option);
		assert_true(len < sizeof(data));
		if (len > 0)
			assert_true(frame_recv_raw(&p->c, data, len));
		if (type == ACK || type >= REP_ERR(0)) {
			assert_true(len < sizeof(p->text) && (type != ACK || len == 0));
			memcpy(p->text, data, len);
			p->text[len] = '\0';
			return type;
		}
		note_reply(p, type, data, len);
	}
	return 0;
}

uint32_t nbd_peer_opt(struct nbd_peer *p, uint32_t option, const void *data, size_t len)
{
	uint32_t type;

	nbd_peer_send_opt(p, option, data, len);
	type = nbd_peer_opt_reply(p, option);
	if (type == ACK && (option == 8 || option == 11))
		p->chunks = true;
	if (type == ACK && option == 11)
		p->extended = true;
	return type;
}

uint32_t nbd_peer_go(struct nbd_peer *p, uint32_t option, const char *name)
{
	uint8_t data[8192];
	size_t len = strlen(name);

	nbd_put(data, 4, len);
	memcpy(data + 4, name, len);
	memcpy(data + 4 + len, "\0\3\0\1\0\2\0\3", 8);
	return nbd_peer_opt(p, option, data, len + 12);
}

uint32_t nbd_peer_meta(struct nbd_peer *p, uint32_t option, const char *name, uint32_t n,
		       const char *const *queries)
{
	uint8_t data[8192];
	size_t at = 4 + strlen(name);

	nbd_put(data, 4, strlen(name));
	memcpy(data + 4, name, strlen(name));
	nbd_put(data + at, 4, n);
	at += 4;
	for (uint32_t i = 0; i < n; i++) {
		size_t len = strlen(queries[i]);

		nbd_put(data + at, 4, len);
		memcpy(data + at + 4, queries[i], len);
		at += 4 + len;
	}
	return nbd_peer_opt(p, option, data, at);
}

struct nbd_peer nbd_peer_connect(struct peer_fixture *fx, const char *name, int how)
{
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	if (how > 0)
		assert_int_equal(nbd_peer_opt(&p, how == 1 ? 8 : 11, NULL, 0), ACK);
	assert_int_equal(nbd_peer_go(&p, 7, name), ACK);
	return p;
}

/* ---- transmission ---------------------------------------------------------------------------- */

uint64_t nbd_peer_send(struct nbd_peer *p, uint16_t type, uint16_t flags, uint64_t offset,
		       uint64_t len, const void *payload, size_t payload_len)
{
	size_t head = p->extended ? 32 : 28;
	uint8_t *buf = malloc(head + payload_len);

	assert_non_null(buf);
	if (p->extended && type == 1)
		flags |= 32;
	nbd_put(buf, 4, p->extended ? 0x21e41c71 : 0x25609513);
	nbd_put(buf + 4, 2, flags);
	nbd_put(buf + 6, 2, type);
	nbd_put(buf + 8, 8, ++p->cookie);
	nbd_put(buf + 16, 8, offset);
	nbd_put(buf + 24, head - 24, len);
	if (payload_len > 0)
		memcpy(buf + head, payload, payload_len);
	(void)frame_send_raw(&p->c, buf, head + payload_len);
	free(buf);
	return p->cookie;
}

static void take_error(struct nbd_answer *a, const uint8_t *body, size_t len)
{
	size_t text = nbd_get(body + 4, 2);

	assert_true(len >= 6 && text <= len - 6 && text < sizeof(a->text));
	a->error = (uint32_t)nbd_get(body, 4);
	assert_int_not_equal(a->error, 0);
	memcpy(a->text, body + 6, text);
	a->text[text] = '\0';
}

static void take_content(struct nbd_answer *a, uint16_t type, const uint8_t *body, size_t len)
{
	uint64_t offset = nbd_get(body, 8);
	uint64_t n = type == 1 ? len - 8 : nbd_get(body + 8, 4);

	assert_true(len > 8 && n > 0);
	assert_non_null(a->data);
	assert_true(offset >= a->offset);
	if (type == 1)
		memcpy(a->data + (offset - a->offset), body + 8, n);
	else
		memset(a->data + (offset - a->offset), 0, n);
	a->nholes += type == 2;
	a->have += n;
}

static void take_status(struct nbd_answer *a, bool extended, const uint8_t *body, size_t len)
{
	size_t n = extended ? 8 : 4;
	size_t at = n;

	assert_int_equal((len - n) % (2 * n), 0);
	assert_true(a->nstatus + len / n <= ARRAY_LEN(a->status));
	a->status[a->nstatus++] = (uint32_t)nbd_get(body, 4);
	if (extended)
		assert_int_equal(nbd_get(body + 4, 4), (len - n) / (2 * n));
	for (; at < len; at += n)
		a->status[a->nstatus++] = (uint32_t)nbd_get(body + at, n);
}

static void take_chunk(struct nbd_peer *p, struct nbd_answer *a, uint16_t type, size_t len)
{
	uint8_t *body = malloc(len + 1);

	assert_non_null(body);
	assert_true(len <= CHUNK_MAX + 8);
	if (len > 0)
		assert_true(frame_recv_raw(&p->c, body, len));
	a->nchunks++;
	if (type >= 0x8000)
		take_error(a, body, len);
	else if (type == 1 || type == 2)
		take_content(a, type, body, len);
	else if (type == (p->extended ? 6 : 5))
		take_status(a, p->extended, body, len);
	else
		assert_true(type == 0 && len == 0);
	free(body);
}

/* A simple reply, of which the magic has been read. */
static void recv_simple(struct nbd_peer *p, struct nbd_answer *a, uint64_t read_len)
{
	uint8_t head[12];

	assert_false(p->extended);
	assert_true(frame_recv_raw(&p->c, head, sizeof(head)));
	a->error = (uint32_t)nbd_get(head, 4);
	a->cookie = nbd_get(head + 4, 8);
	assert_true(!p->chunks || read_len == 0);
	if (a->error == 0 && read_len > 0) {
		assert_true(frame_recv_raw(&p->c, a->data, read_len));
		a->have = read_len;
	}
}

/* The rest of a chunk; true: it was the last. */
static bool recv_chunk(struct nbd_peer *p, struct nbd_answer *a)
{
	size_t rest = p->extended ? 28 : 16;
	uint8_t head[28];

	assert_true(frame_recv_raw(&p->c, head, rest));
	a->cookie = nbd_get(head + 4, 8);
	if (p->extended)
		assert_int_equal(nbd_get(head + 12, 8), a->offset);
	take_chunk(p, a, (uint16_t)nbd_get(head + 2, 2),
		   p->extended ? nbd_get(head + 20, 8) : nbd_get(head + 12, 4));
	return head[1] & 1;
}

bool nbd_peer_recv(struct nbd_peer *p, struct nbd_answer *a, uint64_t read_len)
{
	uint8_t magic[4];

	do {
		if (!frame_recv_raw(&p->c, magic, sizeof(magic)))
			return false;
		if (nbd_get(magic, 4) == 0x67446698) {
			recv_simple(p, a, read_len);
			return true;
		}
		assert_true(p->chunks);
		assert_int_equal(nbd_get(magic, 4), p->extended ? 0x6e8a278c : 0x668e33ef);
	} while (!recv_chunk(p, a));
	return true;
}

uint32_t nbd_peer_call(struct nbd_peer *p, struct nbd_answer *a, uint16_t type, uint16_t flags,
		       uint64_t offset, uint64_t len, const void *payload)
{
	uint8_t *data = a->data;
	uint64_t cookie;

	*a = (struct nbd_answer){.data = data, .offset = offset};
	cookie = nbd_peer_send(p, type, flags, offset, len, payload, payload ? len : 0);
	assert_true(nbd_peer_recv(p, a, type == 0 ? len : 0));
	assert_int_equal(a->cookie, cookie);
	return a->error;
}
