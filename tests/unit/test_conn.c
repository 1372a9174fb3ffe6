/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn.c: connections: the handshake, frames good and bad, payloads of every shape.
 */
#include "server/conn.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "proto/msg.h"
#include "tests/lib/peer.h"

/* ---- handshake and faults -------------------------------------------------------------------- */

static void test_hello_without_a_common_version_may_be_repeated(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);

	assert_int_equal(CALL(fx, &c, WIRE_OP_HELLO, msg_hello, .version_min = 2, .version_max = 9),
			 ERR_NOTSUP);
	assert_int_equal(peer_hello(fx, &c, UINT64_MAX), 0);
	assert_int_equal(peer_ping(fx, &c), 0);
	close(c.fd);
}

static void test_request_before_hello_is_a_fault(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);

	frame_send(&c, WIRE_OP_PING, NULL, 0, NULL, 0);
	peer_assert_faulted(fx, &c, "not allowed in this state");
}

static void test_second_hello_is_a_fault(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);

	SEND(&c, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1);
	peer_assert_faulted(fx, &c, "not allowed in this state");
}

static void test_body_over_4k_before_hello_is_a_fault(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);
	uint8_t body[WIRE_BODY_HELLO_MAX + 1] = {0};

	frame_send(&c, WIRE_OP_HELLO, body, sizeof(body), NULL, 0);
	peer_assert_faulted(fx, &c, "length");
}

static void test_bad_magic_closes_without_an_answer(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);

	assert_true(frame_send_raw(&c, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: *\r\n", 44));
	assert_false(frame_recv(&c, &fx->frame));
	close(c.fd);
}

/* Sends a PING whose byte at "at" is changed; with "sign" the header's CRC fits all the same. */
static void send_changed(struct frame_client *c, size_t at, bool sign)
{
	uint8_t buf[WIRE_HEADER_BYTES];
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST, .op = WIRE_OP_PING, .id = 77};

	if (sign && at == 6)
		h.flags = 1;
	if (sign && at == 16)
		h.status = 1;
	if (sign && at == 20)
		h.body_len = WIRE_BODY_MAX + 1;
	if (sign && at == 24)
		h.payload_len = 1;
	if (sign && at == 28)
		h.body_crc = 1;
	wire_header_encode(buf, &h);
	if (!sign)
		buf[at] ^= 0x10;
	assert_true(frame_send_raw(c, buf, sizeof(buf)));
}

static void test_bad_headers_are_faults(void **state)
{
	static const struct {
		size_t at;
		bool sign;
		const char *text;
	} cases[] = {
	    {5, false, "checksum"}, {39, false, "checksum"}, {6, true, "flags"},
	    {16, true, "status"},   {20, true, "length"},    {24, true, "length"},
	    {28, true, "checksum"},
	};
	struct peer_fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct frame_client c = peer_connect(fx);

		fx->closed = 0;
		send_changed(&c, cases[i].at, cases[i].sign);
		peer_assert_faulted(fx, &c, cases[i].text);
	}
}

static void test_id_in_flight_is_a_fault(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);
	uint64_t id;

	fake_hold(fx->objs, true);
	id = SEND(&c, WIRE_OP_FSYNC, msg_handle, .handle = h);
	c.last_id--;
	SEND(&c, WIRE_OP_FSYNC, msg_handle, .handle = h);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, ERR_PROTO);
	/* what is in flight is still answered before the end */
	fake_hold(fx->objs, false);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, 0);
	assert_int_equal(fx->frame.header.id, id);
	assert_false(frame_recv(&c, &fx->frame));
	close(c.fd);
}

static void test_handshake_deadline(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;

	fx->config.handshake_ms = 30;
	peer_reconfigure(fx);
	c = peer_dial(fx);
	assert_false(frame_recv(&c, &fx->frame));
	close(c.fd);
	frame_wait(fx->base, peer_none_left, fx);
}

static void test_unknown_operation_and_bad_body_are_answers(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint8_t *junk = peer_pattern(100000, 0);

	assert_int_equal(frame_call(&c, &fx->frame, 999, junk, 9000, junk, 100000), ERR_NOTSUP);
	assert_non_null(strstr(frame_error_text(&fx->frame), "999"));
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_OPEN, junk, 3, NULL, 0), ERR_INVAL);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_WRITE, junk, 65536, junk, 50000),
			 ERR_INVAL);
	assert_int_equal(peer_write(fx, &c, 5, 0, junk, 70000), ERR_INVAL);
	assert_int_equal(peer_ping(fx, &c), 0);
	free(junk);
	close(c.fd);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void test_writes_of_every_shape_arrive(void **state)
{
	static const struct {
		uint64_t offset;
		size_t len;
	} shapes[] = {{0, 1},	      {4095, 2},	{1, 4095},	{4096, 4096},
		      {100, 8040},    {7, 8192},	{12288, 65536}, {333, 262144},
		      {4000, 300000}, {5, 3 * MIB + 1}, {8190, 1000000}};
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);
	uint32_t h;

	assert_int_equal(peer_hello(fx, &c, WIRE_FEATURE_PAYLOAD_CRC), 0);
	h = peer_make(fx, &c, "a", 0);
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		uint8_t *data = peer_pattern(shapes[i].len, (uint8_t)i);

		assert_int_equal(peer_write(fx, &c, h, shapes[i].offset, data, shapes[i].len), 0);
		peer_assert_reads(fx, &c, h, shapes[i].offset, data, shapes[i].len);
		free(data);
	}
	close(c.fd);
}

static void test_a_frame_may_come_byte_by_byte(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);
	struct msg_write m = {.handle = h, .offset = 4090};
	uint8_t body[32];
	uint8_t frame[256];
	uint8_t *data = peer_pattern(100, 3);
	int n = msg_write_encode(body, sizeof(body), &m);
	size_t len;

	assert_true(n > 0);
	len = frame_build(&c, frame, WIRE_OP_WRITE, 5, body, (size_t)n, data, 100);
	for (size_t i = 0; i < len; i++)
		assert_true(frame_send_raw(&c, frame + i, 1));
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, 0);
	peer_assert_reads(fx, &c, h, 4090, data, 100);
	free(data);
	close(c.fd);
}

static void test_pipelined_writes_keep_their_frames(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);
	uint8_t *data = peer_pattern(40 * 5000, 9);

	for (uint32_t i = 0; i < 40; i++) {
		struct msg_write m = {.handle = h, .offset = i * 5000};
		uint8_t body[32];
		int n = msg_write_encode(body, sizeof(body), &m);

		assert_true(n > 0);
		frame_send(&c, WIRE_OP_WRITE, body, (size_t)n, data + i * 5000, 5000);
	}
	for (int i = 0; i < 40; i++) {
		assert_true(frame_recv(&c, &fx->frame));
		assert_int_equal(fx->frame.header.status, 0);
	}
	peer_assert_reads(fx, &c, h, 0, data, 40 * 5000);
	free(data);
	close(c.fd);
}

/* A payload of many ranges goes into their pages, wherever it is cut on its way. */
static void test_ranges_are_written_and_read(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	struct msg_writev w = {.handle = peer_make(fx, &c, "a", 0), .count = 200};
	struct msg_readv r = {.handle = w.handle, .count = 200};
	uint8_t *body = malloc(MSG_RANGES_BYTES_MAX);
	struct msg_readv_reply *reply = malloc(sizeof(*reply));
	uint32_t len = 0;
	uint8_t *data;
	int n;

	assert_non_null(body);
	assert_non_null(reply);
	for (uint32_t i = 0, at = 7; i < w.count; i++) { /* many share a block with others */
		w.ranges[i] = (struct msg_range){at, 1 + i * 37 % 3000};
		at += w.ranges[i].len + i % 5;
		len += w.ranges[i].len;
		r.ranges[i] = w.ranges[i];
	}
	data = peer_pattern(len, 3);
	n = msg_writev_encode(body, MSG_RANGES_BYTES_MAX, &w);
	assert_true(n > 0);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_WRITEV, body, (size_t)n, data, len), 0);
	assert_int_equal(fx->frame.header.body_len, 8);
	n = msg_readv_encode(body, MSG_RANGES_BYTES_MAX, &r);
	assert_true(n > 0);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_READV, body, (size_t)n, "", 0), 0);
	assert_int_equal(fx->frame.header.payload_len, len);
	assert_memory_equal(fx->frame.payload, data, len);
	free(fx->frame.payload);
	assert_int_equal(msg_readv_reply_decode(fx->frame.body, fx->frame.header.body_len, reply),
			 0);
	for (uint32_t i = 0; i < r.count; i++)
		assert_int_equal(reply->lens[i], r.ranges[i].len);
	/* refused: its payload is thrown away, and the next frame is found */
	w.count = 2;
	w.ranges[1].offset = 0;
	n = msg_writev_encode(body, MSG_RANGES_BYTES_MAX, &w);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_WRITEV, body, (size_t)n, data,
				    w.ranges[0].len + w.ranges[1].len),
			 ERR_INVAL);
	peer_assert_reads(fx, &c, w.handle, r.ranges[0].offset, data, r.ranges[0].len);
	free(data);
	free(body);
	free(reply);
	close(c.fd);
}

/* By a handle, or by the request: what asks for it gets there, and nothing else does. */
static void test_direct_requests_are_direct(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);
	struct msg_write m = {.handle = h, .flags = MSG_IO_DIRECT};
	uint8_t body[32];
	int n = msg_write_encode(body, sizeof(body), &m);

	assert_true(n > 0);
	assert_int_equal(peer_write(fx, &c, h, 0, (const uint8_t *)"0123", 4), 0);
	peer_assert_reads(fx, &c, h, 0, (const uint8_t *)"0123", 4);
	assert_int_equal(fake_direct(fx->objs), 0);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_WRITE, body, (size_t)n, "4567", 4), 0);
	assert_int_equal(fake_direct(fx->objs), 1);
	assert_int_equal(
	    CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .flags = MSG_IO_DIRECT, .len = 4), 0);
	assert_memory_equal(fx->frame.payload, "4567", 4);
	free(fx->frame.payload);
	assert_int_equal(fake_direct(fx->objs), 2);
	h = peer_open(fx, &c, "a", MSG_OPEN_DIRECT);
	assert_int_equal(peer_write(fx, &c, h, 0, (const uint8_t *)"89ab", 4), 0);
	peer_assert_reads(fx, &c, h, 0, (const uint8_t *)"89ab", 4);
	assert_int_equal(fake_direct(fx->objs), 4);
	assert_int_equal(CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .flags = 2, .len = 4),
			 ERR_INVAL);
	close(c.fd);
}

static void test_a_bad_payload_checksum_writes_nothing(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_dial(fx);
	struct msg_write m = {.offset = 0};
	uint8_t body[32];
	uint8_t frame[256];
	uint8_t data[64] = {1};
	uint64_t other_id = 99;
	size_t len;
	int n;

	assert_int_equal(peer_hello(fx, &c, WIRE_FEATURE_PAYLOAD_CRC), 0);
	m.handle = peer_make(fx, &c, "a", 0);
	n = msg_write_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	len = frame_build(&c, frame, WIRE_OP_WRITE, other_id, body, (size_t)n, data, sizeof(data));
	frame[len - 1] ^= 1;
	assert_true(frame_send_raw(&c, frame, len));
	peer_assert_faulted(fx, &c, "checksum");
	c = peer_connect(fx);
	assert_int_equal(CALL(fx, &c, WIRE_OP_INFO, msg_name, .name = "a"), 0);
	assert_int_equal(le64_get(fx->frame.body + 2 + 1 + 8), 0); /* its size */
	close(c.fd);
}

static void test_errors_of_writes_and_reads_are_answers(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "disk", 100);
	uint32_t ro = peer_open(fx, &c, "disk", MSG_OPEN_READONLY);
	uint8_t data[10] = {0};

	assert_int_equal(peer_write(fx, &c, ro, 0, data, 10), ERR_PERM);
	assert_int_equal(peer_write(fx, &c, h, UINT64_MAX - 3, data, 10), ERR_INVAL);
	assert_int_equal(peer_write(fx, &c, h, WIRE_OBJECT_SIZE_MAX - 9, data, 10), ERR_INVAL);
	assert_int_equal(peer_write(fx, &c, h, 0, data, 0), 0);
	fake_fail_next(fx->objs, -ERR_NOSPC);
	assert_int_equal(peer_write(fx, &c, h, 0, data, 10), ERR_NOSPC);
	assert_non_null(strstr(frame_error_text(&fx->frame), "disk"));
	fake_fail_next(fx->objs, -ERR_CSUM);
	assert_int_equal(CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .len = 10), ERR_CORRUPT);
	assert_int_equal(
	    CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .offset = UINT64_MAX, .len = 10), 0);
	assert_int_equal(fx->frame.header.payload_len, 0);
	assert_int_equal(CALL(fx, &c, WIRE_OP_RESIZE, msg_resize, .handle = h, .size_bytes = 5),
			 ERR_INVAL);
	assert_int_equal(CALL(fx, &c, WIRE_OP_RESIZE, msg_resize, .handle = h, .size_bytes = 5,
			      .flags = MSG_RESIZE_SHRINK),
			 0);
	close(c.fd);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_hello_without_a_common_version_may_be_repeated),
	    TEST(test_request_before_hello_is_a_fault),
	    TEST(test_second_hello_is_a_fault),
	    TEST(test_body_over_4k_before_hello_is_a_fault),
	    TEST(test_bad_magic_closes_without_an_answer),
	    TEST(test_bad_headers_are_faults),
	    TEST(test_id_in_flight_is_a_fault),
	    TEST(test_handshake_deadline),
	    TEST(test_unknown_operation_and_bad_body_are_answers),
	    TEST(test_writes_of_every_shape_arrive),
	    TEST(test_a_frame_may_come_byte_by_byte),
	    TEST(test_pipelined_writes_keep_their_frames),
	    TEST(test_ranges_are_written_and_read),
	    TEST(test_direct_requests_are_direct),
	    TEST(test_a_bad_payload_checksum_writes_nothing),
	    TEST(test_errors_of_writes_and_reads_are_answers),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
