/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn_limits.c: connections: limits, budgets, and every way in which a connection ends.
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
#include "server/nbd.h"
#include "tests/lib/caught.h"
#include "tests/lib/peer.h"

/* ---- limits ---------------------------------------------------------------------------------- */

static bool held_is_full(void *ctx)
{
	return fake_held(ctx) >= WIRE_INFLIGHT_MAX;
}

static void test_more_requests_than_the_limit_wait(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);

	fake_hold(fx->objs, true);
	for (int i = 0; i < 300; i++)
		SEND(&c, WIRE_OP_FSYNC, msg_handle, .handle = h);
	frame_wait(fx->base, held_is_full, fx->objs);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), WIRE_INFLIGHT_MAX);
	fake_hold(fx->objs, false);
	for (int i = 0; i < 300; i++) {
		assert_true(frame_recv(&c, &fx->frame));
		assert_int_equal(fx->frame.header.status, 0);
	}
	close(c.fd);
}

static void test_a_client_that_never_reads_is_bounded_and_delays_nobody(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client deaf = peer_connect(fx);
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &deaf, "a", MIB);
	size_t pages;

	for (int i = 0; i < 100; i++)
		SEND(&deaf, WIRE_OP_READ, msg_read, .handle = h, .len = MIB);
	frame_settle(fx->base);
	pages = page_pool_used(objects_pages(fx->objs));
	assert_true(pages >= 8 * MIB / BLK_BYTES);
	assert_true(pages <= 10 * MIB / BLK_BYTES);
	assert_int_equal(peer_ping(fx, &c), 0);
	/* it gets everything when it reads at last */
	for (int i = 0; i < 100; i++) {
		assert_true(frame_recv(&deaf, &fx->frame));
		assert_int_equal(fx->frame.header.payload_len, MIB);
		free(fx->frame.payload);
	}
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
	close(deaf.fd);
	close(c.fd);
}

static bool one_conn(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return conn_set_count(fx->set) == 1;
}

static void test_who_holds_the_send_budget_and_does_not_read_is_dropped(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client deaf;
	struct frame_client c;
	uint32_t h;

	fx->config.send_budget_bytes = 3 * MIB;
	fx->config.slow_ms = 30;
	peer_reconfigure(fx);
	deaf = peer_connect(fx);
	h = peer_make(fx, &deaf, "a", 2 * MIB);
	SEND(&deaf, WIRE_OP_READ, msg_read, .handle = h, .len = 2 * MIB);
	frame_settle(fx->base);
	c = peer_connect(fx);
	h = peer_open(fx, &c, "a", 0);
	assert_int_equal(CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .len = 2 * MIB), 0);
	free(fx->frame.payload);
	frame_wait(fx->base, one_conn, fx);
	assert_int_equal(peer_ping(fx, &c), 0);
	close(deaf.fd);
	close(c.fd);
}

static void test_who_holds_the_receive_budget_and_does_not_send_is_dropped(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client slow;
	struct frame_client c;
	uint8_t *data = peer_pattern(2 * MIB, 1);
	uint8_t *frame = malloc(3 * MIB);
	struct msg_write m = {0};
	uint8_t body[32];
	int n;

	assert_non_null(frame);
	fx->config.recv_budget_bytes = 3 * MIB;
	fx->config.slow_ms = 30;
	peer_reconfigure(fx);
	slow = peer_connect(fx);
	m.handle = peer_make(fx, &slow, "a", 0);
	n = msg_write_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	frame_build(&slow, frame, WIRE_OP_WRITE, 50, body, (size_t)n, data, 2 * MIB);
	assert_true(frame_send_raw(&slow, frame, 100000));
	c = peer_connect(fx);
	m.handle = peer_open(fx, &c, "a", 0);
	/* a small write needs no part of the budget */
	assert_int_equal(peer_write(fx, &c, m.handle, 0, data, 4096), 0);
	assert_int_equal(conn_set_count(fx->set), 2);
	assert_int_equal(peer_write(fx, &c, m.handle, 0, data, 2 * MIB), 0);
	assert_int_equal(conn_set_count(fx->set), 1);
	free(data);
	free(frame);
	close(slow.fd);
	close(c.fd);
}

static void test_payloads_wait_while_the_engine_is_crowded(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	struct frame_client other = peer_connect(fx);
	struct msg_write m = {.handle = peer_make(fx, &c, "a", 0)};
	uint8_t *data = peer_pattern(20000, 1);
	uint8_t body[32];
	int n = msg_write_encode(body, sizeof(body), &m);

	assert_true(n > 0);
	fake_set_crowded(fx->objs, true);
	frame_send(&c, WIRE_OP_WRITE, body, (size_t)n, data, 20000);
	frame_settle(fx->base);
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
	assert_int_equal(peer_ping(fx, &other), 0);
	fake_set_crowded(fx->objs, false);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, 0);
	peer_assert_reads(fx, &c, m.handle, 0, data, 20000);
	free(data);
	close(c.fd);
	close(other.fd);
}

static bool two_conns(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return conn_set_count(fx->set) == 2;
}

/* Of those without a handshake the oldest goes, and nobody who has one. */
static void test_who_says_nothing_keeps_nobody_out(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client first;
	struct frame_client second;
	struct frame_client good;
	struct frame_client last;

	fx->config.conns_max = 3;
	peer_reconfigure(fx);
	first = peer_dial(fx);
	second = peer_dial(fx);
	good = peer_connect(fx);
	frame_wait(fx->base, two_conns, fx);
	assert_false(frame_recv(&first, &fx->frame));
	assert_int_equal(peer_hello(fx, &second, 0), 0);
	last = peer_dial(fx);
	assert_true(conn_set_is_full(fx->set));
	assert_int_equal(peer_hello(fx, &last, 0), 0);
	assert_int_equal(peer_ping(fx, &good), 0);
	assert_int_equal(peer_ping(fx, &second), 0);
	assert_int_equal(conn_set_count(fx->set), 3);
	close(first.fd);
	close(second.fd);
	close(good.fd);
	close(last.fd);
}

static void test_the_set_is_full_at_its_limit(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client a;
	struct frame_client b;

	fx->config.conns_max = 2;
	peer_reconfigure(fx);
	a = peer_connect(fx);
	assert_false(conn_set_is_full(fx->set));
	b = peer_connect(fx);
	assert_true(conn_set_is_full(fx->set));
	close(a.fd);
	frame_wait(fx->base, one_conn, fx);
	assert_false(conn_set_is_full(fx->set));
	close(b.fd);
}

/* ---- the end of a connection ----------------------------------------------------------------- */

static bool closed_one(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return fx->closed == 1;
}

static void test_a_lost_connection_waits_for_the_engine(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 3 * MIB);

	fake_hold(fx->objs, true);
	SEND(&c, WIRE_OP_READ, msg_read, .handle = h, .len = 3 * MIB);
	SEND(&c, WIRE_OP_OPEN, msg_open, .name = "a");
	SEND(&c, WIRE_OP_CLOSE, msg_handle, .handle = h);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), 2);
	close(c.fd);
	conn_set_abort(fx->set);
	frame_settle(fx->base);
	assert_int_equal(conn_set_count(fx->set), 1);
	assert_int_equal(fake_open_handles(fx->objs), 2);
	fake_hold(fx->objs, false);
	frame_wait(fx->base, closed_one, fx);
	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
}

static void test_a_cut_in_a_payload_writes_nothing(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	struct msg_write m = {.handle = peer_make(fx, &c, "a", 0)};
	uint8_t *data = peer_pattern(MIB, 1);
	uint8_t *frame = malloc(2 * MIB);
	uint8_t body[32];
	int n = msg_write_encode(body, sizeof(body), &m);

	assert_non_null(frame);
	assert_true(n > 0);
	frame_build(&c, frame, WIRE_OP_WRITE, 50, body, (size_t)n, data, MIB);
	assert_true(frame_send_raw(&c, frame, MIB));
	close(c.fd);
	frame_wait(fx->base, closed_one, fx);
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
	c = peer_connect(fx);
	assert_int_equal(CALL(fx, &c, WIRE_OP_INFO, msg_name, .name = "a"), 0);
	assert_int_equal(le64_get(fx->frame.body + 2 + 1 + 8), 0); /* its size */
	free(data);
	free(frame);
	close(c.fd);
}

static void test_half_close_still_gets_the_answers(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 2 * MIB);

	fake_hold(fx->objs, true);
	SEND(&c, WIRE_OP_READ, msg_read, .handle = h, .len = 2 * MIB);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	frame_settle(fx->base);
	assert_int_equal(conn_set_count(fx->set), 1);
	fake_hold(fx->objs, false);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.payload_len, 2 * MIB);
	free(fx->frame.payload);
	assert_false(frame_recv(&c, &fx->frame));
	frame_wait(fx->base, closed_one, fx);
	close(c.fd);
}

static void test_stop_answers_what_is_in_flight_and_ends_the_rest(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client idle = peer_connect(fx);
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_make(fx, &c, "a", 0);

	fake_hold(fx->objs, true);
	SEND(&c, WIRE_OP_FSYNC, msg_handle, .handle = h);
	frame_settle(fx->base);
	conn_set_stop(fx->set);
	assert_false(frame_recv(&idle, &fx->frame));
	frame_wait(fx->base, one_conn, fx);
	fake_hold(fx->objs, false);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, 0);
	frame_wait(fx->base, peer_none_left, fx);
	close(idle.fd);
	close(c.fd);
}

/* ---- the log --------------------------------------------------------------------------------- */

#define KNOCKS 100

static unsigned int lines_of(const char *event)
{
	unsigned int n = 0;

	for (const char *at = caught_text(); (at = strstr(at, event)); at++)
		n++;
	return n;
}

/* Somebody sends this to a connection, and goes when the server has. */
static void knock(struct peer_fixture *fx, const struct conn_proto *proto, const char *bytes,
		  size_t len)
{
	uint8_t junk[64];
	struct frame_client c = {.base = fx->base};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(conn_new(fx->set, proto, fds[0]), 0);
	c.fd = fds[1];
	if (len > 0)
		assert_true(frame_send_raw(&c, bytes, len));
	while (frame_recv_raw(&c, junk, 1))
		;
	close(c.fd);
	frame_wait(fx->base, peer_none_left, fx);
}

/* Whoever knocks, and at which door: as many lines as can be read. */
static void test_faults_do_not_fill_the_log(void **state)
{
	static const struct {
		const struct conn_proto *proto;
		const char bytes[WIRE_HEADER_BYTES];
		size_t len;
	} doors[] = {
	    {&conn_frames, "junk", WIRE_HEADER_BYTES},
	    {&conn_frames, "\x16\3\1", WIRE_HEADER_BYTES},
	    {&conn_nbd, "junk", 4},
	    {&conn_nbd, "\0\0\0\3IHAVEOPT\0\0\0\3\xff\0\0\0", 20},
	};
	struct peer_fixture *fx = *state;

	log_set_level(LOG_WARN);
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		unsigned int lines;

		caught_begin();
		for (int n = 0; n < KNOCKS; n++)
			knock(fx, doors[i].proto, doors[i].bytes, doors[i].len);
		lines = lines_of("event=protocol-error");
		caught_end();
		assert_true(lines >= 20 && lines < KNOCKS);
		peer_reconfigure(fx);
	}
	log_set_level(LOG_ERROR);
}

static void test_who_says_nothing_does_not_fill_the_log(void **state)
{
	struct peer_fixture *fx = *state;
	unsigned int lines;

	fx->config.handshake_ms = 1;
	peer_reconfigure(fx);
	log_set_level(LOG_INFO);
	caught_begin();
	for (int i = 0; i < KNOCKS; i++)
		knock(fx, &conn_frames, NULL, 0);
	lines = lines_of("event=connection-dropped");
	caught_end();
	log_set_level(LOG_ERROR);
	assert_true(lines >= 20 && lines < KNOCKS);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_more_requests_than_the_limit_wait),
	    TEST(test_a_client_that_never_reads_is_bounded_and_delays_nobody),
	    TEST(test_who_holds_the_send_budget_and_does_not_read_is_dropped),
	    TEST(test_who_holds_the_receive_budget_and_does_not_send_is_dropped),
	    TEST(test_payloads_wait_while_the_engine_is_crowded),
	    TEST(test_who_says_nothing_keeps_nobody_out),
	    TEST(test_the_set_is_full_at_its_limit),
	    TEST(test_a_lost_connection_waits_for_the_engine),
	    TEST(test_a_cut_in_a_payload_writes_nothing),
	    TEST(test_half_close_still_gets_the_answers),
	    TEST(test_stop_answers_what_is_in_flight_and_ends_the_rest),
	    TEST(test_faults_do_not_fill_the_log),
	    TEST(test_who_says_nothing_does_not_fill_the_log),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("conn-limits", tests, NULL, NULL);
}
