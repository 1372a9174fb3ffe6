/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn_tls_cut.c: connections by TLS that are cut off at every byte of what a client sends, of both
 * protocols, by an end of the socket and by a reset: the connection ends, and what was received whole is
 * carried out, and nothing else.
 */
#include "server/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "server/nbd.h"
#include "tests/lib/caught.h"
#include "tests/lib/must.h"
#include "tests/lib/nbd_peer.h"
#include "tests/lib/rnd.h"
#include "tests/lib/tls_hand.h"

#define DATA_BYTES	300u
#define DATA_AT		4000u /* in two blocks */
#define LINES_IN_SECOND 20u

/* What a client says until it is cut off; for the request that counts: where it ends in what is sent. */
struct talk {
	struct tls_hand h;
	struct tls *client;
	size_t limit;
	size_t made_at;
	size_t written_at;
	const uint8_t *data;
};

/* Sends what there is; false: the limit is reached. */
static bool give(struct talk *t)
{
	struct tls_hand *h = &t->h;

	while (h->sent < h->made && h->sent < t->limit)
		if (tls_hand_deliver(h, t->limit - h->sent) == 0)
			tls_hand_pass(h->fx);
	return h->sent < t->limit;
}

static bool shake(struct talk *t)
{
	bool done = false;

	while (!done) {
		done = tls_hand_step(&t->h);
		if (!give(t))
			return false;
		if (!done)
			tls_hand_pass(t->h.fx);
	}
	return true;
}

/* ---- our own protocol ------------------------------------------------------------------------ */

static bool call(struct talk *t)
{
	if (!give(t))
		return false;
	assert_true(tls_hand_recv(&t->h));
	assert_int_equal(t->h.fx->frame.header.status, 0);
	return true;
}

/* True: all of it was said, and answered. */
static bool talk_frames(struct talk *t)
{
	struct msg_write m = {.offset = DATA_AT};
	struct msg_open_reply open;
	uint8_t body[32];
	int n;

	if (!shake(t))
		return false;
	HAND_SEND(&t->h, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1);
	if (!call(t))
		return false;
	HAND_SEND(&t->h, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 65536);
	t->made_at = t->h.made;
	if (!call(t))
		return false;
	HAND_SEND(&t->h, WIRE_OP_OPEN, msg_open, .name = "a");
	if (!call(t))
		return false;
	assert_int_equal(
	    msg_open_reply_decode(t->h.fx->frame.body, t->h.fx->frame.header.body_len, &open), 0);
	m.handle = open.handle;
	n = msg_write_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	tls_hand_send(&t->h, WIRE_OP_WRITE, body, (size_t)n, t->data, DATA_BYTES, 2);
	t->written_at = t->h.made;
	return call(t);
}

/* ---- NBD ------------------------------------------------------------------------------------- */

static bool ask(struct talk *t, uint32_t option, const void *data, size_t len, size_t reply)
{
	uint8_t head[16] = "IHAVEOPT";
	uint8_t buf[128];

	nbd_put(head + 8, 4, option);
	nbd_put(head + 12, 4, len);
	tls_hand_put(&t->h, head, sizeof(head));
	tls_hand_put(&t->h, data, len);
	if (!give(t))
		return false;
	assert_true(tls_hand_read(&t->h, buf, reply));
	assert_int_equal(nbd_get(buf + reply - 8, 4), ACK);
	return true;
}

static bool talk_nbd(struct talk *t)
{
	uint8_t cmd[28] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1};
	uint8_t buf[32];

	t->made_at = 1; /* by another */
	assert_true(tls_hand_read(&t->h, buf, 18));
	tls_hand_put(&t->h, "\0\0\0\3", 4);
	if (!ask(t, 5, "", 0, 20))
		return false;
	tls_hand_begin(&t->h, t->client);
	if (!shake(t) || !ask(t, 7, "\0\0\0\1a\0\0", 7, 32 + 20))
		return false;
	nbd_put(cmd + 16, 8, DATA_AT);
	nbd_put(cmd + 24, 4, DATA_BYTES);
	tls_hand_put(&t->h, cmd, sizeof(cmd));
	tls_hand_put(&t->h, t->data, DATA_BYTES);
	t->written_at = t->h.made;
	if (!give(t))
		return false;
	assert_true(tls_hand_read(&t->h, buf, 16));
	assert_int_equal(nbd_get(buf + 4, 4), 0);
	return true;
}

/* ---- cutting --------------------------------------------------------------------------------- */

static bool only_one_left(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return conn_set_count(fx->set) == 1;
}

/* What another client finds of it; all is as at first behind that. */
static void judge(struct peer_fixture *fx, struct frame_client *c, const struct talk *t, bool nbd)
{
	bool made = t->made_at != 0 && t->limit >= t->made_at;
	bool written = t->written_at != 0 && t->limit >= t->written_at;
	const uint8_t none[DATA_BYTES] = {0};
	uint32_t h;

	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
	if (!made && !nbd) {
		assert_int_equal(CALL(fx, c, WIRE_OP_OPEN, msg_open, .name = "a"), ERR_NOENT);
		return;
	}
	h = peer_open(fx, c, "a", 0);
	peer_assert_reads(fx, c, h, DATA_AT, written ? t->data : none, DATA_BYTES);
	if (nbd)
		assert_int_equal(peer_write(fx, c, h, DATA_AT, none, DATA_BYTES), 0);
	assert_int_equal(CALL(fx, c, WIRE_OP_CLOSE, msg_handle, .handle = h), 0);
	if (!nbd)
		assert_int_equal(CALL(fx, c, WIRE_OP_REMOVE, msg_remove, .name = "a"), 0);
}

/* By a reset once all is read that has come, or by the end of the socket, close behind what was sent. */
static bool cut_after(struct peer_fixture *fx, struct talk *t, bool nbd, bool reset)
{
	bool whole;

	t->made_at = t->written_at = 0;
	if (nbd)
		tls_hand_open(&t->h, fx, &conn_nbd, reset);
	else
		tls_hand_open_tls(&t->h, fx, reset, t->client);
	whole = nbd ? talk_nbd(t) : talk_frames(t);
	if (reset) {
		tls_hand_settle(fx);
		tls_hand_reset(&t->h);
	} else {
		tls_hand_fin(&t->h);
	}
	frame_wait(fx->base, only_one_left, fx);
	tls_hand_close(&t->h);
	return whole;
}

static unsigned int lines_with(const char *text, const char *word)
{
	unsigned int n = 0;

	while ((text = strstr(text, word)) != NULL) {
		text += strlen(word);
		n++;
	}
	return n;
}

static int lowest_free_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

static void cut_everywhere(struct peer_fixture *fx, int how, bool nbd, bool reset, size_t step)
{
	static const struct nbd_config on = {.tls = NBD_TLS_ON};
	struct talk *t = calloc(1, sizeof(*t));
	uint8_t *data = peer_pattern(DATA_BYTES, 3);
	struct frame_client c;
	uint64_t since = clock_now_ms();
	bool whole = false;
	unsigned int lines;
	int fd;

	assert_non_null(t);
	t->data = data;
	t->client = tls_creds.client[how];
	fx->config.nbd = &on;
	peer_reconfigure(fx);
	c = peer_connect(fx);
	conn_set_use_tls(fx->set, tls_creds.server[how]);
	if (nbd)
		assert_int_equal(
		    CALL(fx, &c, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 65536), 0);
	fd = lowest_free_fd();
	for (t->limit = 0; !whole; t->limit += step) {
		whole = cut_after(fx, t, nbd, reset);
		assert_true(whole || t->h.sent == t->limit);
		judge(fx, &c, t, nbd);
	}
	assert_int_equal(lowest_free_fd(), fd);
	lines = lines_with(caught_text(), "event=tls-refused");
	assert_true(lines > 0);
	assert_true(lines <= LINES_IN_SECOND * ((clock_now_ms() - since) / 1000 + 2));
	assert_int_equal(lines_with(caught_text(), "event=protocol-error"), 0);
	close(c.fd);
	free(data);
	free(t);
}

/* Every byte in the plain build, every 6th in those with a sanitizer. */
static size_t step_of(size_t every)
{
	return every * 12 / (size_t)rnd_count("TEST_CUTS", 12);
}

static void test_frames_cut_at_every_byte(void **state)
{
	cut_everywhere(*state, TLS_BY_KEY, false, false, step_of(1));
}

static void test_frames_reset_at_every_byte(void **state)
{
	cut_everywhere(*state, TLS_BY_KEY, false, true, step_of(1));
}

/* What is different is the handshake, which test_stream cuts at each byte. */
static void test_frames_by_certificate_cut(void **state)
{
	cut_everywhere(*state, TLS_BY_CERT, false, false, step_of(13));
}

static void test_frames_by_certificate_reset(void **state)
{
	cut_everywhere(*state, TLS_BY_CERT, false, true, step_of(13));
}

static void test_nbd_cut_at_every_byte(void **state)
{
	cut_everywhere(*state, TLS_BY_KEY, true, false, step_of(1));
}

static void test_nbd_reset_at_every_byte(void **state)
{
	cut_everywhere(*state, TLS_BY_KEY, true, true, step_of(1));
}

static int setup(void **state)
{
	caught_begin();
	return peer_setup(state);
}

static int teardown(void **state)
{
	int err = peer_teardown(state);

	caught_end();
	return err;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_frames_cut_at_every_byte),  TEST(test_frames_reset_at_every_byte),
	    TEST(test_frames_by_certificate_cut), TEST(test_frames_by_certificate_reset),
	    TEST(test_nbd_cut_at_every_byte),	  TEST(test_nbd_reset_at_every_byte),
	};

	must_end_within(600);
	return cmocka_run_group_tests_name("conn-tls-cut", tests, tls_creds_setup,
					   tls_creds_teardown);
}
