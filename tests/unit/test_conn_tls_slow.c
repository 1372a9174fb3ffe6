/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn_tls_slow.c: clients by TLS that are slow, stop, or are many at once, in the handshake and after
 * it: others are served meanwhile, and what it costs is bounded.
 */
#include "server/conn.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/conn_priv.h"
#include "server/nbd.h"
#include "tests/lib/must.h"
#include "tests/lib/nbd_peer.h"
#include "tests/lib/tls_hand.h"

#define MANY 40

static void use(struct peer_fixture *fx, int how)
{
	static const struct nbd_config on = {.tls = NBD_TLS_ON};

	fx->config.nbd = &on;
	peer_reconfigure(fx);
	conn_set_use_tls(fx->set, tls_creds.server[how]);
}

static struct tls_hand *hand_new(size_t n)
{
	struct tls_hand *h = calloc(n, sizeof(*h));

	assert_non_null(h);
	return h;
}

static struct tls_hand *hand_connect(struct peer_fixture *fx, int how)
{
	struct tls_hand *h = hand_new(1);

	tls_hand_open_tls(h, fx, false, tls_creds.client[how]);
	tls_hand_shake(h);
	tls_hand_hello(h);
	return h;
}

static void hand_free(struct tls_hand *h)
{
	tls_hand_close(h);
	free(h);
}

/* ---- many handshakes ------------------------------------------------------------------------- */

static bool has_answer(const struct tls_hand *h)
{
	char byte;

	return recv(h->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static unsigned int answers(const struct tls_hand *h, size_t n)
{
	unsigned int count = 0;

	for (size_t i = 0; i < n; i++)
		count += has_answer(&h[i]);
	return count;
}

/*
 * All have sent what the server needs for its next step.  In each pass of the loop some of them get on, the
 * first ones first, and whoever has requests is answered in the same pass.
 */
static void test_handshakes_take_turns(void **state)
{
	struct peer_fixture *fx = *state;
	struct tls_hand *h = hand_new(MANY);
	struct tls_hand *other;
	unsigned int before = 0;

	use(fx, TLS_BY_KEY);
	other = hand_connect(fx, TLS_BY_KEY);
	for (size_t i = 0; i < MANY; i++) {
		tls_hand_open_tls(&h[i], fx, false, tls_creds.client[TLS_BY_KEY]);
		assert_false(tls_hand_step(&h[i]));
		tls_hand_flush(&h[i]);
	}
	while (before < MANY) {
		unsigned int n;

		tls_hand_send(other, WIRE_OP_PING, NULL, 0, NULL, 0, 1);
		tls_hand_flush(other);
		tls_hand_pass(fx);
		assert_true(has_answer(other));
		assert_true(tls_hand_recv(other));
		n = answers(h, MANY);
		assert_true(n > before && n <= before + CONN_SHAKES_MAX);
		for (size_t i = 0; i < MANY; i++) /* nobody has been overtaken */
			assert_int_equal(has_answer(&h[i]), i < n);
		before = n;
	}
	for (size_t i = 0; i < MANY; i++) {
		tls_hand_shake(&h[i]);
		tls_hand_hello(&h[i]);
		tls_hand_close(&h[i]);
	}
	hand_free(other);
	free(h);
}

/* Who waits for its turn and goes away, or is dropped, is not missed. */
static void test_handshakes_that_wait_and_end(void **state)
{
	struct peer_fixture *fx = *state;
	struct tls_hand *h = hand_new(MANY);

	use(fx, TLS_BY_KEY);
	for (size_t i = 0; i < MANY; i++) {
		tls_hand_open_tls(&h[i], fx, false, tls_creds.client[TLS_BY_KEY]);
		assert_false(tls_hand_step(&h[i]));
		tls_hand_flush(&h[i]);
	}
	tls_hand_pass(fx);
	assert_int_equal(answers(h, MANY), CONN_SHAKES_MAX);
	for (size_t i = 0; i < MANY; i += 2)
		tls_hand_close(&h[i]);
	for (size_t i = 1; i < MANY; i += 2)
		tls_hand_shake(&h[i]);
	conn_set_abort(fx->set);
	frame_wait(fx->base, peer_none_left, fx);
	for (size_t i = 1; i < MANY; i += 2)
		tls_hand_close(&h[i]);
	free(h);
}

/* ---- slow handshakes ------------------------------------------------------------------------- */

static void test_a_handshake_byte_by_byte(void **state)
{
	struct peer_fixture *fx = *state;
	struct tls_hand *h = hand_new(1);
	struct tls_hand *other;

	use(fx, TLS_BY_CERT);
	other = hand_connect(fx, TLS_BY_CERT);
	tls_hand_open_tls(h, fx, false, tls_creds.client[TLS_BY_CERT]);
	for (bool done = false; !done; tls_hand_pass(fx)) {
		done = tls_hand_step(h);
		while (h->sent < h->made) {
			assert_int_equal(tls_hand_deliver(h, 1), 1);
			tls_hand_pass(fx);
			if (h->sent % 64 != 0)
				continue;
			tls_hand_send(other, WIRE_OP_PING, NULL, 0, NULL, 0, 1);
			tls_hand_flush(other);
			assert_true(tls_hand_recv(other));
		}
	}
	h->made = h->sent = 0;
	tls_hand_hello(h);
	hand_free(h);
	hand_free(other);
}

/* A client that stops before, in or behind its first flight, or in its second. */
static void stall(struct tls_hand *h, unsigned int where)
{
	static const size_t first[] = {0, 1, 100, TLS_HAND_ALL};

	assert_false(tls_hand_step(h));
	(void)tls_hand_deliver(h, first[where < 3 ? where : 3]);
	if (where < 4)
		return;
	while (!tls_hand_step(h))
		tls_hand_pass(h->fx);
	(void)tls_hand_deliver(h, 20);
}

/* The connection made last, and when it is to be dropped. */
static struct conn *deadline_of_last(struct peer_fixture *fx, struct timeval *when)
{
	struct conn *conn = NULL;
	struct conn *last = NULL;

	TAILQ_FOREACH (conn, &fx->set->conns, link)
		last = conn;
	assert_non_null(last);
	assert_true(event_pending(last->ev_deadline, EV_TIMEOUT, when));
	return last;
}

/* The deadline is that of the connection's beginning, however far it came since; here it comes at once. */
static void expect_dropped(struct peer_fixture *fx, const struct timeval *since)
{
	unsigned int before = conn_set_count(fx->set);
	struct timeval when;
	struct conn *conn = deadline_of_last(fx, &when);

	assert_true(timercmp(since, &when, ==));
	event_active(conn->ev_deadline, EV_TIMEOUT, 0);
	tls_hand_settle(fx);
	assert_int_equal(conn_set_count(fx->set), before - 1);
}

static void test_handshakes_that_stop(void **state)
{
	struct peer_fixture *fx = *state;
	struct tls_hand *other;
	struct tls_hand *h = hand_new(1);
	struct timeval when;
	uint8_t buf[64];

	use(fx, TLS_BY_KEY);
	other = hand_connect(fx, TLS_BY_KEY);
	for (unsigned int i = 0; i < 10; i++) {
		if (i < 5) {
			tls_hand_open_tls(h, fx, false, tls_creds.client[TLS_BY_KEY]);
			(void)deadline_of_last(fx, &when);
		} else {
			tls_hand_open(h, fx, &conn_nbd, false);
			(void)deadline_of_last(fx, &when);
			tls_hand_put(h, "\0\0\0\3IHAVEOPT\0\0\0\5\0\0\0\0", 20);
			tls_hand_flush(h);
			assert_true(tls_hand_read(h, buf, 18 + 20));
			tls_hand_begin(h, tls_creds.client[TLS_BY_KEY]);
		}
		stall(h, i % 5);
		tls_hand_settle(fx);
		tls_hand_send(other, WIRE_OP_PING, NULL, 0, NULL, 0, 1);
		tls_hand_flush(other);
		assert_true(tls_hand_recv(other));
		expect_dropped(fx, &when);
		tls_hand_close(h);
	}
	hand_free(other);
	free(h);
}

/* ---- slow requests --------------------------------------------------------------------------- */

/* Nothing of a record is known before its last byte has come. */
static void test_a_record_byte_by_byte(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct tls_hand *h;
	uint8_t *data = peer_pattern(4096, 1);
	struct msg_write m = {0};
	struct msg_open_reply open;
	uint8_t body[32];
	int n;

	use(fx, TLS_BY_KEY);
	h = hand_connect(fx, TLS_BY_KEY);
	c = peer_connect(fx);
	(void)peer_make(fx, &c, "a", 4096);
	HAND_SEND(h, WIRE_OP_OPEN, msg_open, .name = "a");
	tls_hand_flush(h);
	assert_true(tls_hand_recv(h));
	assert_int_equal(msg_open_reply_decode(fx->frame.body, fx->frame.header.body_len, &open),
			 0);
	m.handle = open.handle;
	n = msg_write_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	tls_hand_send(h, WIRE_OP_WRITE, body, (size_t)n, data, 4096, 1);
	while (h->made - h->sent > 1) {
		assert_int_equal(tls_hand_deliver(h, 1), 1);
		tls_hand_pass(fx);
		if (h->sent % 256 == 0)
			assert_int_equal(peer_ping(fx, &c), 0);
	}
	tls_hand_settle(fx);
	peer_assert_reads(fx, &c, 1, 0, (uint8_t[4096]){0}, 4096);
	tls_hand_flush(h);
	assert_true(tls_hand_recv(h));
	assert_int_equal(fx->frame.header.status, 0);
	peer_assert_reads(fx, &c, 1, 0, data, 4096);
	free(data);
	close(c.fd);
	hand_free(h);
}

static void test_who_stops_reading_an_answer_is_dropped(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct tls_hand *deaf;
	uint8_t some[8192];
	uint32_t h;

	fx->config.send_budget_bytes = 3 * MIB;
	fx->config.slow_ms = 30;
	use(fx, TLS_BY_KEY);
	deaf = hand_connect(fx, TLS_BY_KEY);
	c = peer_connect(fx);
	h = peer_make(fx, &c, "a", 2 * MIB);
	HAND_SEND(deaf, WIRE_OP_OPEN, msg_open, .name = "a");
	HAND_SEND(deaf, WIRE_OP_READ, msg_read, .handle = 1, .len = 2 * MIB);
	tls_hand_flush(deaf);
	assert_true(tls_hand_recv(deaf));
	assert_true(tls_hand_read(deaf, some, sizeof(some))); /* and no more */
	/* for the same again there is no room, until it is dropped */
	assert_int_equal(CALL(fx, &c, WIRE_OP_READ, msg_read, .handle = h, .len = 2 * MIB), 0);
	free(fx->frame.payload);
	assert_int_equal(conn_set_count(fx->set), 1);
	assert_int_equal(peer_ping(fx, &c), 0);
	close(c.fd);
	hand_free(deaf);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_handshakes_take_turns),	 TEST(test_handshakes_that_wait_and_end),
	    TEST(test_a_handshake_byte_by_byte), TEST(test_handshakes_that_stop),
	    TEST(test_a_record_byte_by_byte),	 TEST(test_who_stops_reading_an_answer_is_dropped),
	};

	must_end_within(600);
	return cmocka_run_group_tests_name("conn-tls-slow", tests, tls_creds_setup,
					   tls_creds_teardown);
}
