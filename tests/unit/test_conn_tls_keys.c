/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn_tls_keys.c: what a client may send by TLS behind the handshake, beside its data: keys that
 * change, messages and records that have no place there, and an end in the midst of requests.
 */
#include "server/conn_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/nbd.h"
#include "tests/lib/caught.h"
#include "tests/lib/must.h"
#include "tests/lib/nbd_peer.h"
#include "tests/lib/tls_hand.h"

#define UPDATES_MAX 32 /* that are taken without any data */
#define BIG	    (4u * MIB)

/* ---- fixture --------------------------------------------------------------------------------- */

struct world {
	struct peer_fixture *fx;
	struct frame_client c; /* without TLS, which is served all the time */
	uint32_t handle;       /* of "a", of BIG bytes, */
	uint8_t *data;	       /* with this content */
	struct tls_hand h;
};

static int setup(void **state)
{
	static const struct nbd_config on = {.tls = NBD_TLS_ON};
	struct world *w = calloc(1, sizeof(*w));
	void *fx;

	assert_non_null(w);
	if (peer_setup(&fx) < 0)
		return -1;
	w->fx = fx;
	w->fx->config.nbd = &on;
	peer_reconfigure(w->fx);
	conn_set_use_tls(w->fx->set, tls_creds.server[TLS_BY_KEY]);
	w->c = peer_connect(w->fx);
	w->handle = peer_make(w->fx, &w->c, "a", BIG);
	w->data = peer_pattern(BIG, 1);
	w->h.fd = -1;
	assert_int_equal(peer_write(w->fx, &w->c, w->handle, 0, w->data, BIG), 0);
	caught_begin();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *fx = w->fx;

	caught_end();
	tls_hand_close(&w->h);
	close(w->c.fd);
	free(w->data);
	free(w);
	return peer_teardown(&fx);
}

/* A client that has opened "a", as the only handle of its own. */
static void begin(struct world *w)
{
	tls_hand_open_tls(&w->h, w->fx, false, tls_creds.client[TLS_BY_KEY]);
	tls_hand_shake(&w->h);
	tls_hand_hello(&w->h);
	HAND_SEND(&w->h, WIRE_OP_OPEN, msg_open, .name = "a");
	tls_hand_flush(&w->h);
	assert_true(tls_hand_recv(&w->h));
	assert_int_equal(w->fx->frame.header.status, 0);
}

static void finish(struct world *w)
{
	tls_hand_close(&w->h);
	w->h.ssl = NULL;
	w->h.fd = -1;
}

static bool only_one_left(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return conn_set_count(fx->set) == 1;
}

/* It is over, the log says why, and others are served. */
static void expect_ended(struct world *w, const char *reason)
{
	frame_wait(w->fx->base, only_one_left, w->fx);
	if (reason && !caught_has("event=protocol-error", reason))
		fail_msg("no '%s' in %s", reason, caught_text());
	assert_int_equal(peer_ping(w->fx, &w->c), 0);
	caught_clear();
	w->fx->set->faults =
	    (struct log_rate){0}; /* there are more here than the log takes in a second */
	finish(w);
}

static void expect_pong(struct world *w)
{
	uint64_t id = tls_hand_send(&w->h, WIRE_OP_PING, NULL, 0, NULL, 0, 1);

	tls_hand_flush(&w->h);
	assert_true(tls_hand_recv(&w->h));
	assert_int_equal(w->fx->frame.header.id, id);
	assert_int_equal(w->fx->frame.header.status, 0);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Before, within and between requests. */
static void test_keys_change_within_requests(void **state)
{
	struct world *w = *state;
	struct msg_write m = {.handle = 1, .offset = 77};
	uint8_t body[32];
	uint8_t frame[2048];
	uint8_t *data = peer_pattern(1000, 9);
	int n = msg_write_encode(body, sizeof(body), &m);
	size_t len = frame_build(&w->c, frame, WIRE_OP_WRITE, 500, body, (size_t)n, data, 1000);

	begin(w);
	for (size_t at = 0; at < len; at += 100) {
		tls_hand_change_keys(&w->h, at % 200 == 0);
		tls_hand_put(&w->h, frame + at, len - at < 100 ? len - at : 100);
		if (at % 300 == 0)
			tls_hand_flush(&w->h);
		tls_hand_pass(w->fx);
	}
	tls_hand_flush(&w->h);
	assert_true(tls_hand_recv(&w->h));
	assert_int_equal(w->fx->frame.header.id, 500);
	assert_int_equal(w->fx->frame.header.status, 0);
	peer_assert_reads(w->fx, &w->c, w->handle, 77, data, 1000);
	for (int i = 0; i < 5; i++) {
		tls_hand_change_keys(&w->h, true);
		expect_pong(w);
	}
	free(data);
}

/* The answer to a change of keys has to wait for the rest of a record that is sent in part. */
static void test_keys_change_while_an_answer_is_stuck(void **state)
{
	struct world *w = *state;
	uint8_t head[WIRE_HEADER_BYTES];
	uint8_t *got = malloc(BIG);

	assert_non_null(got);
	begin(w);
	HAND_SEND(&w->h, WIRE_OP_READ, msg_read, .handle = 1, .len = BIG);
	tls_hand_flush(&w->h);
	tls_hand_settle(w->fx);
	for (int i = 0; i < 5; i++) {
		tls_hand_change_keys(&w->h, true);
		tls_hand_send(&w->h, WIRE_OP_PING, NULL, 0, NULL, 0, 1);
		tls_hand_flush(&w->h);
		tls_hand_settle(w->fx);
		assert_int_equal(peer_ping(w->fx, &w->c), 0);
	}
	assert_true(tls_hand_read(&w->h, head, sizeof(head)));
	assert_true(tls_hand_read(&w->h, got, BIG));
	assert_memory_equal(got, w->data, BIG);
	for (int i = 0; i < 5; i++)
		assert_true(tls_hand_recv(&w->h));
	expect_pong(w);
	free(got);
}

static void test_keys_may_not_change_all_the_time(void **state)
{
	struct world *w = *state;

	for (int stuck = 0; stuck < 2; stuck++) {
		begin(w);
		if (stuck)
			HAND_SEND(&w->h, WIRE_OP_READ, msg_read, .handle = 1, .len = BIG);
		for (int i = 0; i < UPDATES_MAX; i++) {
			tls_hand_change_keys(&w->h, true);
			tls_hand_flush(&w->h);
			tls_hand_pass(w->fx);
		}
		tls_hand_settle(w->fx);
		assert_int_equal(conn_set_count(w->fx->set), 2);
		if (!stuck)
			expect_pong(w);
		tls_hand_change_keys(&w->h, true);
		tls_hand_flush(&w->h);
		expect_ended(w, "changed too often");
	}
}

/* ---- what has no place there ----------------------------------------------------------------- */

struct oddity {
	const char *name;
	const char *bytes;
	size_t len;
	uint8_t type; /* of a record by the keys; 0: as it is */
	unsigned int times;
	size_t padding;
};

#define MESSAGE(name, bytes)                                           \
	{                                                              \
		name, bytes, sizeof(bytes) - 1, TLS_TYPE_MESSAGE, 1, 0 \
	}

static const char too_much[16385];

static const struct oddity oddities[] = {
    MESSAGE("a hello of a client", "\1\0\0\0"),
    MESSAGE("a hello of a server", "\2\0\0\0"),
    MESSAGE("a ticket", "\4\0\0\15\0\0\0\1\0\0\0\0\0\0\1x\0\0"),
    MESSAGE("an end of early data", "\5\0\0\0"),
    MESSAGE("extensions", "\10\0\0\2\0\0"),
    MESSAGE("a certificate", "\13\0\0\4\0\0\0\0"),
    MESSAGE("a request for a certificate", "\15\0\0\3\0\0\0"),
    MESSAGE("a signature", "\17\0\0\4\4\3\0\0"),
    MESSAGE("an end of the handshake", "\24\0\0\4abcd"),
    MESSAGE("a hash", "\376\0\0\0"),
    MESSAGE("a message of no kind", "\143\0\0\0"),
    MESSAGE("a change of keys of no kind", "\30\0\0\1\2"),
    MESSAGE("an empty change of keys", "\30\0\0\0"),
    MESSAGE("a long change of keys", "\30\0\0\2\0\0"),
    MESSAGE("a part of a message", "\30\0\0"),
    MESSAGE("no message", ""),
    {"a change of ciphers", "\1", 1, TLS_TYPE_CCS, 1, 0},
    {"warnings", "\1\132", 2, TLS_TYPE_ALERT, 100, 0},
    {"half an alert", "\1", 1, TLS_TYPE_ALERT, 1, 0},
    {"records without data", "", 0, TLS_TYPE_DATA, 100, 0},
    {"a type that is none", "x", 1, 99, 1, 0},
    {"a record with too much in it", too_much, sizeof(too_much), TLS_TYPE_DATA, 1, 0},
    {"a record that is too long", "", 0, TLS_TYPE_DATA, 1, 16700},
    {"an end in plain text", "\25\3\3\0\2\1\0", 7, 0, 1, 0},
    {"data in plain text", "\27\3\3\0\4COWQ", 9, 0, 1, 0},
    {"another version", "\27\3\1\0\1x", 6, 0, 1, 0},
};

static void put_oddity(struct tls_hand *h, const struct oddity *o)
{
	for (unsigned int i = 0; i < o->times; i++)
		if (o->type != 0)
			tls_hand_forge(h, o->type, o->bytes, o->len, o->padding);
		else
			tls_hand_put_plain(h, o->bytes, o->len);
}

/* A request as it would be sent behind that. */
static void put_create(struct world *w, const char *name)
{
	struct msg_create m = {.size_bytes = 4096};
	uint8_t body[256];
	uint8_t frame[512];
	int n;

	memcpy(m.name, name, strlen(name) + 1);
	n = msg_create_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	tls_hand_forge(&w->h, TLS_TYPE_DATA, frame,
		       frame_build(&w->c, frame, WIRE_OP_CREATE, 900, body, (size_t)n, NULL, 0), 9);
}

static void begin_to_forge(struct world *w)
{
	tls_hand_open_tls(&w->h, w->fx, false, tls_creds.client[TLS_BY_KEY]);
	tls_hand_shake(&w->h);
}

static void put_hello(struct world *w)
{
	struct msg_hello m = {.version_min = 1, .version_max = 1};
	uint8_t body[256];
	uint8_t frame[512];
	int n = msg_hello_encode(body, sizeof(body), &m);

	assert_true(n > 0);
	tls_hand_forge(&w->h, TLS_TYPE_DATA, frame,
		       frame_build(&w->c, frame, WIRE_OP_HELLO, 800, body, (size_t)n, NULL, 0), 0);
}

static void test_what_has_no_place_behind_the_handshake(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(oddities) / sizeof(oddities[0]); i++) {
		begin_to_forge(w);
		put_hello(w);
		put_create(w, "before");
		put_oddity(&w->h, &oddities[i]);
		put_create(w, "behind");
		(void)tls_hand_deliver(&w->h, TLS_HAND_ALL);
		print_message("%s\n", oddities[i].name);
		expect_ended(w, "error=TLS");
		assert_int_equal(CALL(w->fx, &w->c, WIRE_OP_OPEN, msg_open, .name = "behind"),
				 ERR_NOENT);
		assert_int_equal(CALL(w->fx, &w->c, WIRE_OP_REMOVE, msg_remove, .name = "before"),
				 0);
	}
}

/* What is strange and may be. */
static void test_what_may_be_sent_behind_the_handshake(void **state)
{
	struct world *w = *state;

	begin_to_forge(w);
	put_hello(w);
	for (size_t i = 0; i < 10; i++)
		tls_hand_forge(&w->h, TLS_TYPE_DATA, "", 0, i * 100);
	put_create(w, "new");
	tls_hand_flush(&w->h);
	for (int i = 0; i < 2; i++) {
		assert_true(tls_hand_recv(&w->h));
		assert_int_equal(w->fx->frame.header.status, 0);
	}
	assert_int_equal(CALL(w->fx, &w->c, WIRE_OP_OPEN, msg_open, .name = "new"), 0);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static bool one_is_held(void *ctx)
{
	return fake_held(ctx) == 1;
}

/* All that was asked before the end is answered; and what was not asked in full is not carried out. */
static void test_an_end_in_the_midst_of_requests(void **state)
{
	struct world *w = *state;
	struct msg_write m = {.handle = 1};
	uint8_t body[32];
	uint8_t frame[2048];
	uint8_t byte;
	int n = msg_write_encode(body, sizeof(body), &m);
	size_t len =
	    frame_build(&w->c, frame, WIRE_OP_WRITE, 500, body, (size_t)n, w->data + 1, 1000);

	begin(w);
	fake_hold(w->fx->objs, true);
	HAND_SEND(&w->h, WIRE_OP_FSYNC, msg_handle, .handle = 1);
	tls_hand_send(&w->h, WIRE_OP_PING, NULL, 0, NULL, 0, 1);
	tls_hand_put(&w->h, frame, len - 1);
	tls_hand_say_end(&w->h);
	tls_hand_flush(&w->h);
	frame_wait(w->fx->base, one_is_held, w->fx->objs);
	assert_true(tls_hand_recv(&w->h));
	assert_int_equal(w->fx->frame.header.op, WIRE_OP_PING);
	fake_hold(w->fx->objs, false);
	assert_true(tls_hand_recv(&w->h));
	assert_int_equal(w->fx->frame.header.op, WIRE_OP_FSYNC);
	assert_int_equal(w->fx->frame.header.status, 0);
	assert_false(tls_hand_read(&w->h, &byte, 1));
	assert_int_equal(tls_hand_get(&w->h, &byte, 1), 0); /* in order */
	expect_ended(w, NULL);
	peer_assert_reads(w->fx, &w->c, w->handle, 0, w->data, 1000);
}

static void test_what_comes_behind_an_end_is_nothing(void **state)
{
	struct world *w = *state;

	begin_to_forge(w);
	put_hello(w);
	tls_hand_forge(&w->h, TLS_TYPE_ALERT, "\1\0", 2, 0);
	put_create(w, "behind");
	tls_hand_flush(&w->h);
	assert_true(tls_hand_recv(&w->h));
	expect_ended(w, NULL);
	assert_int_equal(CALL(w->fx, &w->c, WIRE_OP_OPEN, msg_open, .name = "behind"), ERR_NOENT);
}

static void test_an_end_in_the_midst_of_a_command_of_nbd(void **state)
{
	struct world *w = *state;
	uint8_t cmd[28] = {0x25, 0x60, 0x95, 0x13};
	uint8_t *buf = malloc(16 + MIB);

	assert_non_null(buf);
	tls_hand_open(&w->h, w->fx, &conn_nbd, false);
	tls_hand_put(&w->h, "\0\0\0\3IHAVEOPT\0\0\0\5\0\0\0\0", 20);
	tls_hand_flush(&w->h);
	assert_true(tls_hand_read(&w->h, buf, 18 + 20));
	tls_hand_begin(&w->h, tls_creds.client[TLS_BY_KEY]);
	tls_hand_shake(&w->h);
	tls_hand_put(&w->h, "IHAVEOPT\0\0\0\7\0\0\0\7\0\0\0\1a\0\0", 23);
	nbd_put(cmd + 24, 4, MIB);
	tls_hand_flush(&w->h);
	assert_true(tls_hand_read(&w->h, buf, 32 + 20));
	tls_hand_put(&w->h, cmd, sizeof(cmd)); /* a READ, and a WRITE that ends too early */
	cmd[7] = 1;
	tls_hand_put(&w->h, cmd, sizeof(cmd));
	tls_hand_put(&w->h, w->data + 1, 5000);
	tls_hand_say_end(&w->h);
	tls_hand_flush(&w->h);
	assert_true(tls_hand_read(&w->h, buf, 16 + MIB));
	assert_int_equal(nbd_get(buf + 4, 4), 0);
	assert_memory_equal(buf + 16, w->data, MIB);
	assert_false(tls_hand_read(&w->h, buf, 1));
	assert_int_equal(tls_hand_get(&w->h, buf, 1), 0);
	expect_ended(w, NULL);
	peer_assert_reads(w->fx, &w->c, w->handle, 0, w->data, 5000);
	free(buf);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_keys_change_within_requests),
	    TEST(test_keys_change_while_an_answer_is_stuck),
	    TEST(test_keys_may_not_change_all_the_time),
	    TEST(test_what_has_no_place_behind_the_handshake),
	    TEST(test_what_may_be_sent_behind_the_handshake),
	    TEST(test_an_end_in_the_midst_of_requests),
	    TEST(test_what_comes_behind_an_end_is_nothing),
	    TEST(test_an_end_in_the_midst_of_a_command_of_nbd),
	};

	must_end_within(600);
	return cmocka_run_group_tests_name("conn-tls-keys", tests, tls_creds_setup,
					   tls_creds_teardown);
}
