/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/peer.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/loop.h"

static void count_closed(void *ctx)
{
	struct peer_fixture *fx = ctx;

	fx->closed++;
}

int peer_setup(void **state)
{
	struct peer_fixture *fx = calloc(1, sizeof(*fx));
	struct objects_config config = {0};

	assert_non_null(fx);
	thread_set_role(THREAD_LOOP);
	fx->loop = loop_new();
	assert_non_null(fx->loop);
	fx->base = loop_base(fx->loop);
	assert_int_equal(objects_new(&config, &fx->objs), 0);
	fx->host = (struct session_host){
	    .objs = fx->objs, .store_uuid = {1, 2, 3}, .incarnation = 42, .agent = "cowd/test"};
	fx->config = (struct conn_config){
	    .loop = fx->loop,
	    .host = &fx->host,
	    .conns_max = 100,
	    .send_budget_bytes = 256 * MIB,
	    .recv_budget_bytes = 256 * MIB,
	    .handshake_ms = 60000,
	    .linger_ms = 60000,
	    .slow_ms = 60000,
	    .on_closed = count_closed,
	    .ctx = fx,
	};
	fx->set = conn_set_new(&fx->config);
	assert_non_null(fx->set);
	*state = fx;
	return 0;
}

void peer_reconfigure(struct peer_fixture *fx)
{
	conn_set_free(fx->set);
	fx->set = conn_set_new(&fx->config);
	assert_non_null(fx->set);
}

bool peer_none_left(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return conn_set_count(fx->set) == 0;
}

int peer_teardown(void **state)
{
	struct peer_fixture *fx = *state;

	conn_set_abort(fx->set);
	fake_hold(fx->objs, false);
	frame_wait(fx->base, peer_none_left, fx);
	conn_set_free(fx->set);
	objects_free(fx->objs);
	loop_free(fx->loop);
	free(fx);
	return 0;
}

struct frame_client peer_dial(struct peer_fixture *fx)
{
	struct frame_client c = {.base = fx->base};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(conn_new(fx->set, &conn_frames, fds[0]), 0);
	c.fd = fds[1];
	return c;
}

uint32_t peer_hello(struct peer_fixture *fx, struct frame_client *c, uint64_t features)
{
	struct msg_hello m = {.version_min = 1, .version_max = 1, .features = features};
	struct msg_hello_reply reply;
	uint8_t body[128];
	int n;

	memcpy(m.agent, "test/1\x1b", 8);
	n = msg_hello_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	if (frame_call(c, &fx->frame, WIRE_OP_HELLO, body, (size_t)n, NULL, 0) == 0) {
		assert_int_equal(
		    msg_hello_reply_decode(fx->frame.body, fx->frame.header.body_len, &reply), 0);
		assert_int_equal(reply.features, features & WIRE_FEATURES);
		assert_int_equal(reply.incarnation, 42);
		assert_int_equal(reply.inflight_max, WIRE_INFLIGHT_MAX);
		assert_string_equal(reply.agent, "cowd/test");
		c->crc = reply.features & WIRE_FEATURE_PAYLOAD_CRC;
	}
	return fx->frame.header.status;
}

struct frame_client peer_connect(struct peer_fixture *fx)
{
	struct frame_client c = peer_dial(fx);

	assert_int_equal(peer_hello(fx, &c, 0), 0);
	return c;
}

uint32_t peer_open(struct peer_fixture *fx, struct frame_client *c, const char *name,
		   uint32_t flags)
{
	struct msg_open m = {.flags = flags};
	struct msg_open_reply reply;
	uint8_t body[512];
	int n;

	memcpy(m.name, name, strlen(name) + 1);
	n = msg_open_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	assert_int_equal(frame_call(c, &fx->frame, WIRE_OP_OPEN, body, (size_t)n, NULL, 0), 0);
	assert_int_equal(msg_open_reply_decode(fx->frame.body, fx->frame.header.body_len, &reply),
			 0);
	assert_string_equal(reply.info.name, name);
	return reply.handle;
}

uint32_t peer_make(struct peer_fixture *fx, struct frame_client *c, const char *name, uint64_t size)
{
	struct msg_create m = {.size_bytes = size};
	uint8_t body[512];
	int n;

	memcpy(m.name, name, strlen(name) + 1);
	n = msg_create_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	assert_int_equal(frame_call(c, &fx->frame, WIRE_OP_CREATE, body, (size_t)n, NULL, 0), 0);
	return peer_open(fx, c, name, 0);
}

uint8_t *peer_pattern(size_t len, uint8_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + seed);
	return p;
}

uint32_t peer_write(struct peer_fixture *fx, struct frame_client *c, uint32_t handle,
		    uint64_t offset, const uint8_t *data, size_t len)
{
	struct msg_write m = {.handle = handle, .offset = offset};
	uint8_t body[32];
	int n = msg_write_encode(body, sizeof(body), &m);

	assert_true(n > 0);
	return frame_call(c, &fx->frame, WIRE_OP_WRITE, body, (size_t)n, data, len);
}

void peer_assert_reads(struct peer_fixture *fx, struct frame_client *c, uint32_t handle,
		       uint64_t offset, const uint8_t *data, size_t len)
{
	assert_int_equal(CALL(fx, c, WIRE_OP_READ, msg_read, .handle = handle, .offset = offset,
			      .len = (uint32_t)len),
			 0);
	assert_int_equal(fx->frame.header.payload_len, len);
	assert_memory_equal(fx->frame.payload, data, len);
	free(fx->frame.payload);
}

uint32_t peer_ping(struct peer_fixture *fx, struct frame_client *c)
{
	return frame_call(c, &fx->frame, WIRE_OP_PING, NULL, 0, NULL, 0);
}

void peer_assert_faulted(struct peer_fixture *fx, struct frame_client *c, const char *text)
{
	assert_true(frame_recv(c, &fx->frame));
	assert_int_equal(fx->frame.header.status, ERR_PROTO);
	assert_non_null(strstr(frame_error_text(&fx->frame), text));
	assert_false(frame_recv(c, &fx->frame));
	close(c->fd);
	frame_wait(fx->base, peer_none_left, fx);
	assert_int_equal(fx->closed, 1);
}
