/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's handle and channel against a scripted server: faults of the peer, and what a caller is
 * told of them.  Calls that carry data, and threads, are in test_libcow_io.c.
 */
#include "client/cow.h"

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

#include "common/cursor.h"
#include "common/crc32c.h"
#include "tests/lib/fake_server.h"

/* A handle connected to a server that follows the script. */
struct fixture {
	struct fake_server server;
	cow_t *cow;
};

static void fixture_start(struct fixture *f, bool tcp, fake_serve_fn serve, void *ctx)
{
	fake_server_start(&f->server, tcp, serve, ctx);
	f->cow = cow_new();
	assert_non_null(f->cow);
	assert_int_equal(cow_set_reconnect(f->cow, 0), 0); /* see test_libcow_reconnect.c */
}

static void fixture_connect(struct fixture *f, bool tcp, fake_serve_fn serve, void *ctx)
{
	fixture_start(f, tcp, serve, ctx);
	if (cow_connect(f->cow, f->server.uri) != 0)
		fail_msg("connect: %s", cow_error(f->cow));
}

static void fixture_stop(struct fixture *f)
{
	cow_free(f->cow);
	fake_server_stop(&f->server);
}

static void expect_error(const struct fixture *f, int got, int code, const char *part)
{
	if (got != -code)
		fail_msg("got %d, wanted %d: %s", got, -code, cow_error(f->cow));
	if (!strstr(cow_error(f->cow), part))
		fail_msg("\"%s\" has no \"%s\"", cow_error(f->cow), part);
}

/* Answers PING and CLOSE, and OPEN with handle 3 and size 64 KiB, until the client goes. */
static void serve_plain(struct fake_conn *conn)
{
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a", .size_bytes = 65536}};
	struct fake_frame f;
	uint8_t body[512];

	if (!fake_hello(conn, NULL))
		return;
	while (fake_recv(conn, &f)) {
		int n =
		    f.h.op == WIRE_OP_OPEN ? msg_open_reply_encode(body, sizeof(body), &open) : 0;

		fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
		fake_frame_clear(&f);
	}
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void test_libcow_connect(void **state)
{
	struct fixture f;
	struct cow_server server;

	(void)state;
	fixture_start(&f, false, serve_plain, NULL);
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "not connected");
	expect_error(&f, cow_get_server(f.cow, &server), COW_ECONN, "not connected");
	assert_int_equal(cow_connect(f.cow, f.server.uri), 0);
	assert_int_equal(cow_get_server(f.cow, &server), 0);
	assert_int_equal(server.version, 1);
	assert_int_equal(server.block_size, 4096);
	assert_int_equal(server.incarnation, 7);
	assert_int_equal(server.store_uuid[0], 0xc0);
	assert_string_equal(server.agent, "fake/1");
	assert_int_equal(cow_ping(f.cow), 0);
	expect_error(&f, cow_connect(f.cow, f.server.uri), COW_EBUSY, "already connected");
	fixture_stop(&f);
}

static void test_libcow_connect_default_uri(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, true, serve_plain, NULL);
	assert_int_equal(setenv("COW_URI", f.server.uri, 1), 0);
	assert_int_equal(cow_connect(f.cow, NULL), 0);
	assert_int_equal(cow_ping(f.cow), 0);
	assert_int_equal(unsetenv("COW_URI"), 0);
	fixture_stop(&f);
}

static void test_libcow_connect_nobody(void **state)
{
	cow_t *cow = cow_new();
	char uri[200];

	(void)state;
	assert_int_equal(cow_connect(cow, "cow+unix:///?socket=/nonexistent/s"), -COW_ECONN);
	assert_non_null(strstr(cow_error(cow), "/nonexistent/s: No such file"));
	assert_int_equal(cow_connect(cow, "cow://127.0.0.1:1"), -COW_ECONN);
	assert_non_null(strstr(cow_error(cow), "127.0.0.1 port 1: Connection refused"));
	assert_int_equal(cow_connect(cow, "ftp://x"), -COW_EINVAL);
	assert_non_null(strstr(cow_error(cow), "the URI ftp://x begins neither"));
	(void)snprintf(uri, sizeof(uri), "cow+unix:///?socket=/%0120d", 0);
	assert_int_equal(cow_connect(cow, uri), -COW_EINVAL);
	assert_non_null(strstr(cow_error(cow), "too long for a socket"));
	cow_free(cow);
}

static void serve_bad_hello(struct fake_conn *conn)
{
	struct fake_frame f;

	while (fake_hello(conn, conn->ctx) && fake_recv(conn, &f))
		fake_frame_clear(&f);
}

static void expect_bad_hello(const struct msg_hello_reply *m, const char *part)
{
	struct fixture f;

	fixture_start(&f, false, serve_bad_hello, (void *)(uintptr_t)m);
	expect_error(&f, cow_connect(f.cow, f.server.uri), COW_EPROTO, part);
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "not connected");
	fixture_stop(&f);
}

static void test_libcow_hello_refused(void **state)
{
	struct msg_hello_reply m = fake_hello_reply();

	(void)state;
	m.version = 2;
	expect_bad_hello(&m, "unknown version");
	m = fake_hello_reply();
	m.features = 2;
	expect_bad_hello(&m, "features that were not asked for");
	m = fake_hello_reply();
	m.inflight_max = 0;
	expect_bad_hello(&m, "limits are too low");
	m = fake_hello_reply();
	m.payload_max = 0;
	expect_bad_hello(&m, "limits are too low");
	m = fake_hello_reply();
	m.body_max = 100;
	expect_bad_hello(&m, "limits are too low");
}

static void serve_no_version(struct fake_conn *conn)
{
	struct fake_frame f;

	if (fake_recv(conn, &f))
		fake_reply_error(conn, &f, COW_ENOTSUP, "no common version: 2 to 3");
}

static void test_libcow_hello_error_reply(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, false, serve_no_version, NULL);
	expect_error(&f, cow_connect(f.cow, f.server.uri), COW_ENOTSUP, "no common version: 2");
	fixture_stop(&f);
}

/* ---- broken replies -------------------------------------------------------------------------- */

/* A reply to PING or READ, changed by one of these; then the client is waited for. */
typedef void (*spoil_fn)(uint8_t *bytes, size_t len);

struct spoiled {
	spoil_fn spoil;
	size_t payload_len;
};

static void seal_header(uint8_t *bytes)
{
	le32_put(bytes + 36, crc32c(0, bytes, 36));
}

static void spoil_magic(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[0] ^= 1;
	seal_header(bytes);
}

static void spoil_header_crc(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[36] ^= 1;
}

static void spoil_body_crc(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[28] ^= 1;
	seal_header(bytes);
}

static void spoil_id(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[8] ^= 0x40;
	seal_header(bytes);
}

static void spoil_op(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[4] = WIRE_OP_FSYNC;
	seal_header(bytes);
}

static void spoil_flags(uint8_t *bytes, size_t len)
{
	(void)len;
	bytes[6] = 1;
	seal_header(bytes);
}

static void spoil_body_len(uint8_t *bytes, size_t len)
{
	(void)len;
	le32_put(bytes + 20, WIRE_BODY_MAX + 1);
	seal_header(bytes);
}

static void spoil_payload_len_max(uint8_t *bytes, size_t len)
{
	(void)len;
	le32_put(bytes + 24, UINT32_MAX);
	seal_header(bytes);
}

/* More than the 16 bytes that the test reads. */
static void spoil_payload_len(uint8_t *bytes, size_t len)
{
	(void)len;
	le32_put(bytes + 24, 17);
	seal_header(bytes);
}

static void spoil_status(uint8_t *bytes, size_t len)
{
	(void)len;
	le32_put(bytes + 16, COW_EIO); /* an error has a text, and no payload */
	seal_header(bytes);
}

static void spoil_payload(uint8_t *bytes, size_t len)
{
	bytes[len - 1] ^= 0x80;
}

static void serve_spoiled(struct fake_conn *conn)
{
	static const uint8_t payload[16] = "0123456789abcde";
	const struct spoiled *sp = conn->ctx;
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a", .size_bytes = 16}};
	struct fake_frame f;
	uint8_t body[512];
	uint8_t *bytes;
	size_t len;
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	if (!fake_hello(conn, NULL) || !fake_recv(conn, &f))
		return;
	fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	if (!fake_recv(conn, &f))
		return;
	bytes = fake_build(conn, &f, 0, NULL, 0, payload, sp->payload_len, &len);
	sp->spoil(bytes, len);
	fake_send(conn, bytes, len);
	free(bytes);
	while (fake_recv(conn, &f))
		fake_frame_clear(&f);
}

/* Everything on the connection fails with the code, and later calls find it dead. */
static void expect_spoiled(bool tcp, spoil_fn spoil, size_t payload_len, int code, const char *part)
{
	struct spoiled sp = {spoil, payload_len};
	struct fixture f;
	cow_object_t *obj;
	char buf[16];

	fixture_connect(&f, tcp, serve_spoiled, &sp);
	assert_int_equal(cow_open(f.cow, "a", 0, &obj), 0);
	if (payload_len > 0)
		expect_error(&f, (int)cow_pread(obj, buf, sizeof(buf), 0), code, part);
	else
		expect_error(&f, cow_fsync(obj), code, part);
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "the connection was given up");
	expect_error(&f, cow_close(obj), COW_ECONN, "the connection was given up");
	fixture_stop(&f);
}

static void test_libcow_wrong_magic(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_magic, 0, COW_EPROTO, "magic");
}

static void test_libcow_wrong_crc(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_header_crc, 0, COW_EPROTO, "checksum");
	expect_spoiled(false, spoil_body_crc, 0, COW_EPROTO, "checksum");
}

static void test_libcow_wrong_payload_crc(void **state)
{
	(void)state;
	expect_spoiled(true, spoil_payload, 16, COW_EINTEGRITY, "checksum of the data");
}

static void test_libcow_unknown_id(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_id, 0, COW_EPROTO, "reply to no request");
}

static void test_libcow_wrong_op_and_flags(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_op, 16, COW_EPROTO, "another operation");
	expect_spoiled(false, spoil_flags, 0, COW_EPROTO, "unknown flags");
}

static void test_libcow_oversized_lengths(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_body_len, 0, COW_EPROTO, "out of bounds");
	expect_spoiled(false, spoil_payload_len_max, 16, COW_EPROTO, "out of bounds");
	expect_spoiled(false, spoil_payload_len, 16, COW_EPROTO, "more data than was asked");
	expect_spoiled(false, spoil_payload_len, 0, COW_EPROTO, "more data than was asked");
}

static void test_libcow_malformed_error_reply(void **state)
{
	(void)state;
	expect_spoiled(false, spoil_status, 0, COW_EPROTO, "malformed error");
	expect_spoiled(false, spoil_status, 16, COW_EPROTO, "error with a payload");
}

/* ---- cut replies ----------------------------------------------------------------------------- */

/* The n-th connection gets n bytes of the reply; byte by byte, to meet every state's end. */
static void serve_cut(struct fake_conn *conn)
{
	static const uint8_t payload[16] = "0123456789abcde";
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a", .size_bytes = 16}};
	struct fake_frame f;
	uint8_t body[512];
	uint8_t *bytes;
	size_t len;
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	if (!fake_hello(conn, NULL) || !fake_recv(conn, &f))
		return;
	fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	if (!fake_recv(conn, &f))
		return;
	bytes = fake_build(conn, &f, 0, NULL, 0, payload, sizeof(payload), &len);
	for (size_t i = 0; i < conn->number && i < len; i++)
		fake_send(conn, bytes + i, 1);
	free(bytes);
	(void)shutdown(conn->fd, SHUT_WR);
	while (fake_recv(conn, &f))
		fake_frame_clear(&f);
}

static void test_libcow_cut_at_every_byte(void **state)
{
	const size_t whole = WIRE_HEADER_BYTES + 16;
	struct fixture f;
	cow_object_t *obj;
	char buf[16];

	(void)state;
	fixture_start(&f, false, serve_cut, NULL);
	for (size_t cut = 0; cut <= whole; cut++) {
		assert_int_equal(cow_connect(f.cow, f.server.uri), 0);
		assert_int_equal(cow_open(f.cow, "a", 0, &obj), 0);
		if (cut < whole) {
			expect_error(&f, (int)cow_pread(obj, buf, sizeof(buf), 0), COW_ECONN,
				     "closed the connection");
		} else {
			assert_int_equal(cow_pread(obj, buf, sizeof(buf), 0), 16);
			assert_string_equal(buf, "0123456789abcde");
		}
		(void)cow_close(obj);
	}
	fixture_stop(&f);
}

/* ---- error replies --------------------------------------------------------------------------- */

/* The status is that of the name's first byte; the text has control characters in it. */
static void serve_errors(struct fake_conn *conn)
{
	struct fake_frame f;
	struct msg_remove m;

	if (!fake_hello(conn, NULL))
		return;
	while (fake_recv(conn, &f)) {
		if (f.h.op == WIRE_OP_REMOVE && msg_remove_decode(f.body, f.h.body_len, &m) == 0)
			fake_reply_error(conn, &f, (uint32_t)strtoul(m.name, NULL, 10),
					 m.name[2] ? "" : "no\033[1m such\nthing");
		else
			fake_reply(conn, &f, 0, NULL, 0, NULL, 0);
	}
}

static void test_libcow_error_replies(void **state)
{
	struct fixture f;
	char name[16];

	(void)state;
	fixture_connect(&f, false, serve_errors, NULL);
	for (int code = 1; code <= COW_ERESTARTED; code++) {
		(void)snprintf(name, sizeof(name), "%02d", code);
		expect_error(&f, cow_remove(f.cow, name), code, "no?[1m such?thing");
		(void)snprintf(name, sizeof(name), "%02d+", code);
		expect_error(&f, cow_remove(f.cow, name), code, cow_strerror(-code));
	}
	expect_error(&f, cow_remove(f.cow, "999"), COW_EPROTO, "unknown status");
	assert_int_equal(cow_ping(f.cow), 0);
	fixture_stop(&f);
}

static void serve_fatal(struct fake_conn *conn)
{
	struct fake_frame f;

	if (!fake_hello(conn, NULL) || !fake_recv(conn, &f))
		return;
	f.h.id = 0;
	f.h.op = 77;
	fake_reply_error(conn, &f, COW_EPROTO, "frame checksum mismatch");
}

static void test_libcow_error_for_the_connection(void **state)
{
	struct fixture f;

	(void)state;
	fixture_connect(&f, false, serve_fatal, NULL);
	expect_error(&f, cow_ping(f.cow), COW_EPROTO, "frame checksum mismatch");
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "ended the connection with an error");
	fixture_stop(&f);
}

/* Answers a write when only its header has arrived, and closes. */
static void serve_early_error(struct fake_conn *conn)
{
	uint8_t head[WIRE_HEADER_BYTES];
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a"}};
	struct fake_frame f;
	uint8_t body[512];
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	if (!fake_hello(conn, NULL) || !fake_recv(conn, &f))
		return;
	fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	if (recv(conn->fd, head, sizeof(head), MSG_WAITALL) != sizeof(head) ||
	    wire_header_decode(head, WIRE_MAGIC_REQUEST, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &f.h) < 0)
		return;
	fake_reply_error(conn, &f, COW_ESHUTDOWN, "going down");
	(void)shutdown(conn->fd, SHUT_WR);
}

static void test_libcow_answer_before_the_request_is_sent(void **state)
{
	const size_t len = 16u << 20;
	void *data = calloc(1, len);
	struct fixture f;
	cow_object_t *obj;

	(void)state;
	assert_non_null(data);
	fixture_connect(&f, false, serve_early_error, NULL);
	assert_int_equal(cow_open(f.cow, "a", 0, &obj), 0);
	expect_error(&f, (int)cow_pwrite(obj, data, len, 0), COW_ESHUTDOWN, "going down");
	expect_error(&f, cow_close(obj), COW_ECONN, "ended the connection");
	fixture_stop(&f);
	free(data);
}

/* ---- arguments, messages --------------------------------------------------------------------- */

static void test_libcow_arguments(void **state)
{
	struct fixture f;
	cow_object_t *obj;
	char agent[80];
	struct cow_extent ext;

	(void)state;
	fixture_connect(&f, false, serve_plain, NULL);
	memset(agent, 'x', sizeof(agent));
	agent[64] = '\0';
	expect_error(&f, cow_set_agent(f.cow, agent), COW_EINVAL, "63 bytes");
	expect_error(&f, cow_set_timeout(f.cow, 0), COW_EINVAL, "at least 1");
	expect_error(&f, cow_create(f.cow, "a@b", 1), COW_EINVAL, "name has '@'");
	expect_error(&f, cow_remove(f.cow, ""), COW_EINVAL, "name is empty");
	expect_error(&f, cow_remove(f.cow, NULL), COW_EINVAL, "name is missing");
	expect_error(&f, cow_clone(f.cow, "a", "-b"), COW_EINVAL, "name begins with");
	expect_error(&f, cow_open(f.cow, "a", 8, &obj), COW_EINVAL, "flags");
	assert_int_equal(cow_open(f.cow, "a", 0, &obj), 0);
	assert_int_equal(cow_object_size(obj), 65536);
	expect_error(&f, cow_resize(obj, 1, 8), COW_EINVAL, "flags");
	expect_error(&f, (int)cow_get_extents(obj, 0, 1, &ext, 0), COW_EINVAL, "no room");
	expect_error(&f, (int)cow_pread(obj, agent, 2, UINT64_MAX), COW_EINVAL, "too large");
	assert_int_equal(cow_resize(obj, 5, COW_RESIZE_SHRINK), 0);
	assert_int_equal(cow_object_size(obj), 5);
	assert_int_equal(cow_close(obj), 0);
	assert_int_equal(cow_close(NULL), 0);
	fixture_stop(&f);
}

static void test_libcow_message_of_its_own_handle(void **state)
{
	cow_t *first = cow_new();
	cow_t *second = cow_new();

	(void)state;
	assert_string_equal(cow_error(first), "");
	assert_int_equal(cow_ping(first), -COW_ECONN);
	assert_string_equal(cow_error(second), "");
	assert_int_equal(cow_set_timeout(second, 0), -COW_EINVAL);
	assert_string_equal(cow_error(first), "not connected");
	assert_non_null(strstr(cow_error(second), "at least 1"));
	cow_free(first);
	first = cow_new();
	assert_string_equal(cow_error(first), "");
	cow_free(first);
	cow_free(second);
	cow_free(NULL);
}

static void test_libcow_texts(void **state)
{
	(void)state;
	assert_string_equal(cow_version(), "0.1.0");
	assert_string_equal(cow_strerror(-COW_ENOENT), "no such object");
	assert_string_equal(cow_strerror(COW_ENOENT), "no such object");
	assert_string_equal(cow_strerror(0), "success");
	assert_string_equal(cow_strerror(-99), "unknown error");
	assert_string_equal(cow_strerror(102), "unknown error");
}

/* ---- time and loss --------------------------------------------------------------------------- */

/* Answers nothing after the handshake; ends when the client has gone. */
static void serve_silence(struct fake_conn *conn)
{
	struct fake_frame f;

	if (!fake_hello(conn, NULL))
		return;
	while (fake_recv(conn, &f))
		fake_frame_clear(&f);
}

static void test_libcow_timeout(void **state)
{
	struct fixture f;

	(void)state;
	fixture_connect(&f, false, serve_silence, NULL);
	assert_int_equal(cow_set_timeout(f.cow, 20), 0);
	expect_error(&f, cow_ping(f.cow), COW_ETIMEDOUT, "did not answer in time");
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "did not answer in time");
	fixture_stop(&f);
}

/* Accepts and says nothing at all. */
static void serve_mute(struct fake_conn *conn)
{
	struct fake_frame f;

	while (fake_recv(conn, &f))
		fake_frame_clear(&f);
}

static void test_libcow_timeout_of_the_handshake(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, false, serve_mute, NULL);
	assert_int_equal(cow_set_timeout(f.cow, 20), 0);
	expect_error(&f, cow_connect(f.cow, f.server.uri), COW_ETIMEDOUT, "did not answer");
	fixture_stop(&f);
}

/* The first connection ends after one request, without an answer. */
static void serve_then_drop(struct fake_conn *conn)
{
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a"}};
	struct fake_frame f;
	uint8_t body[512];
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	if (conn->number > 0) {
		serve_plain(conn);
		return;
	}
	if (!fake_hello(conn, NULL) || !fake_recv(conn, &f))
		return;
	fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	if (fake_recv(conn, &f))
		fake_frame_clear(&f);
}

static void test_libcow_connects_again(void **state)
{
	struct fixture f;
	cow_object_t *old;
	cow_object_t *obj;
	char byte = 0;

	(void)state;
	fixture_connect(&f, false, serve_then_drop, NULL);
	assert_int_equal(cow_open(f.cow, "a", 0, &old), 0);
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "");
	expect_error(&f, cow_ping(f.cow), COW_ECONN, "the connection was lost");
	assert_int_equal(cow_connect(f.cow, f.server.uri), 0);
	assert_int_equal(cow_open(f.cow, "a", 0, &obj), 0);
	/* the old handle's number is valid on the new connection, but names another thing there */
	expect_error(&f, (int)cow_pwrite(old, &byte, 1, 0), COW_ECONN, "earlier connection");
	expect_error(&f, cow_close(old), COW_ECONN, "earlier connection");
	assert_int_equal(cow_pwrite(obj, &byte, 1, 0), 1);
	assert_int_equal(cow_close(obj), 0);
	fixture_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_libcow_connect),
	    cmocka_unit_test(test_libcow_connect_default_uri),
	    cmocka_unit_test(test_libcow_connect_nobody),
	    cmocka_unit_test(test_libcow_hello_refused),
	    cmocka_unit_test(test_libcow_hello_error_reply),
	    cmocka_unit_test(test_libcow_wrong_magic),
	    cmocka_unit_test(test_libcow_wrong_crc),
	    cmocka_unit_test(test_libcow_wrong_payload_crc),
	    cmocka_unit_test(test_libcow_unknown_id),
	    cmocka_unit_test(test_libcow_wrong_op_and_flags),
	    cmocka_unit_test(test_libcow_oversized_lengths),
	    cmocka_unit_test(test_libcow_malformed_error_reply),
	    cmocka_unit_test(test_libcow_cut_at_every_byte),
	    cmocka_unit_test(test_libcow_error_replies),
	    cmocka_unit_test(test_libcow_error_for_the_connection),
	    cmocka_unit_test(test_libcow_answer_before_the_request_is_sent),
	    cmocka_unit_test(test_libcow_arguments),
	    cmocka_unit_test(test_libcow_message_of_its_own_handle),
	    cmocka_unit_test(test_libcow_texts),
	    cmocka_unit_test(test_libcow_timeout),
	    cmocka_unit_test(test_libcow_timeout_of_the_handshake),
	    cmocka_unit_test(test_libcow_connects_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
