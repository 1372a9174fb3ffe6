/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conn_tls.c: connections by TLS: the same frames as without it, whatever is cut, held back or
 * broken on the way; and TLS that begins in the midst of a protocol.
 */
#include "server/conn.h"

#include "server/conn_priv.h"
#include "tests/unit/conn_tls_fixture.h"

#define ABORTS 1000

/* ---- frames ---------------------------------------------------------------------------------- */

static void test_requests_of_every_size(void **state)
{
	static const size_t sizes[] = {1, 100, 4096, 16384, 16385, 100000, 3 * MIB + 1};
	struct peer_fixture *fx = *state;

	for (int how = BY_CERT; how <= BY_KEY; how++) {
		struct frame_client c;
		struct relay *r;
		uint32_t h;

		conn_set_use_tls(fx->set, server_tls[how]);
		r = relay_connect(fx, &c, how);
		h = peer_make(fx, &c, how == BY_KEY ? "k" : "c", 0);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *data = peer_pattern(sizes[i], (uint8_t)i);

			assert_int_equal(peer_write(fx, &c, h, i * 5, data, sizes[i]), 0);
			peer_assert_reads(fx, &c, h, i * 5, data, sizes[i]);
			free(data);
		}
		relay_free(r, &c);
		frame_wait(fx->base, peer_none_left, fx);
	}
}

/* Many requests in one record: those that are decrypted and wait are seen by no poll(). */
static void test_pipelined_requests_are_all_answered(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, BY_CERT);
	uint8_t *many = malloc(300 * WIRE_HEADER_BYTES);
	size_t len = 0;

	assert_non_null(many);
	for (uint64_t i = 0; i < 300; i++)
		len += frame_build(&c, many + len, WIRE_OP_PING, 1000 + i, NULL, 0, NULL, 0);
	assert_true(frame_send_raw(&c, many, len));
	free(many);
	for (uint64_t i = 0; i < 300; i++) {
		assert_true(frame_recv(&c, &fx->frame));
		assert_int_equal(fx->frame.header.id, 1000 + i);
	}
	assert_int_equal(peer_ping(fx, &c), 0);
	relay_free(r, &c);
}

static bool held_is_full(void *ctx)
{
	return fake_held(ctx) == WIRE_INFLIGHT_MAX;
}

/* What was held back by a limit goes on when that is lifted, though nothing comes any more. */
static void test_requests_beyond_a_limit_wait_in_the_stream(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, BY_CERT);
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
	relay_free(r, &c);
}

static bool replies_are_many(void *ctx)
{
	return page_pool_used(objects_pages(ctx)) >= 4 * MIB / BLK_BYTES;
}

static void test_who_never_reads_is_bounded(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client deaf;
	struct frame_client c = {.base = fx->base};
	struct relay *r = relay_connect(fx, &deaf, BY_CERT);
	struct relay *other = relay_connect(fx, &c, BY_CERT);
	uint32_t h = peer_make(fx, &deaf, "a", MIB);
	size_t pages;

	for (int i = 0; i < 100; i++)
		SEND(&deaf, WIRE_OP_READ, msg_read, .handle = h, .len = MIB);
	frame_wait(fx->base, replies_are_many, fx->objs);
	for (int i = 0; i < 10; i++)
		frame_settle(fx->base);
	pages = page_pool_used(objects_pages(fx->objs));
	assert_true(pages <= 10 * MIB / BLK_BYTES);
	assert_int_equal(peer_ping(fx, &c), 0);
	for (int i = 0; i < 100; i++) {
		assert_true(frame_recv(&deaf, &fx->frame));
		assert_int_equal(fx->frame.header.payload_len, MIB);
		free(fx->frame.payload);
	}
	assert_int_equal(page_pool_used(objects_pages(fx->objs)), 0);
	relay_free(r, &deaf);
	relay_free(other, &c);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static bool is_at_end(void *ctx)
{
	char byte;

	return recv(((struct frame_client *)ctx)->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void test_a_stop_ends_the_stream_in_order(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, BY_CERT);

	conn_set_stop(fx->set);
	frame_wait(fx->base, is_at_end, &c);
	assert_int_equal(r->err, 0); /* a close_notify, and no cut */
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);
}

static void test_an_end_of_the_client_is_answered_with_one(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, BY_CERT);

	/* what was asked before the end is answered */
	frame_send(&c, WIRE_OP_PING, NULL, 0, NULL, 0);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	assert_true(frame_recv(&c, &fx->frame));
	frame_wait(fx->base, is_at_end, &c);
	assert_int_equal(r->err, 0);
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);
}

static void test_a_fault_is_answered_before_the_end(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, BY_CERT);

	frame_send(&c, WIRE_OP_HELLO, NULL, 0, NULL, 0);
	assert_true(frame_recv(&c, &fx->frame));
	assert_int_equal(fx->frame.header.status, ERR_PROTO);
	frame_wait(fx->base, is_at_end, &c);
	assert_int_equal(r->err, 0);
	relay_free(r, &c);
	frame_wait(fx->base, peer_none_left, fx);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

/* The bytes that a client sends until its HELLO is answered. */
static size_t count_bytes(struct peer_fixture *fx, int how)
{
	struct frame_client c;
	struct relay *r = relay_connect(fx, &c, how);
	size_t n = r->sent;

	relay_free(r, &c);
	frame_wait(fx->base, peer_none_left, fx);
	return n;
}

static void cut_after(struct peer_fixture *fx, struct relay *r, int how, size_t limit)
{
	struct frame_client c = relay_open(r, fx, how);

	r->limit = limit;
	SEND(&c, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1,
	     .agent = "test/1\x1b"); /* as long as that of peer_hello() */
	frame_wait(fx->base, peer_none_left, fx);
	assert_true(r->cut);
	relay_close(r);
	close(c.fd);
}

/* Cut off at any byte it leaves nothing, and the server serves on. */
static void test_cut_at_every_byte(void **state)
{
	struct peer_fixture *fx = *state;
	struct relay *r = malloc(sizeof(*r));
	struct capture cap = capture_begin();

	assert_non_null(r);
	for (int how = BY_CERT; how <= BY_KEY; how++) {
		size_t n;

		use(fx, 60000, how);
		n = count_bytes(fx, how);
		/* a handshake with certificates is larger, and dearer; its signatures differ in length */
		for (size_t limit = 0; limit < n - (how == BY_CERT ? 8 : 0);
		     limit += how == BY_KEY ? 1 : 29)
			cut_after(fx, r, how, limit);
		assert_true(count_bytes(fx, how) > 0);
	}
	free(r);
	assert_true(capture_end(&cap, "event=tls-refused") > 0);
}

struct dribble {
	struct peer_fixture *fx;
	struct frame_client *good;
	struct relay *slow;
};

/* One byte more of a handshake, if it is not the last, while somebody else is served. */
static bool slow_are_gone(void *ctx)
{
	struct dribble *d = ctx;

	if (d->slow->out.at < d->slow->out.len - 1)
		(void)way_empty(&d->slow->out, d->slow->wire[1], 1);
	assert_int_equal(peer_ping(d->fx, d->good), 0);
	return conn_set_count(d->fx->set) == 1;
}

/* Who does not come to an end with the handshake is dropped, and others are served meanwhile. */
static void test_handshakes_that_do_not_end(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c, slow[3];
	struct relay *good;
	struct relay *r = calloc(3, sizeof(*r));

	assert_non_null(r);
	use(fx, 400, BY_KEY);
	for (size_t i = 0; i < 3; i++) {
		slow[i] = relay_open(&r[i], fx, BY_KEY);
		frame_leave(&r[i].part); /* from here on by hand */
	}
	good = relay_connect(fx, &c, BY_KEY);
	/* nothing, one byte, and a byte at a time */
	assert_int_equal(stream_handshake(&r[1].tls), STREAM_AGAIN);
	assert_int_equal(stream_handshake(&r[2].tls), STREAM_AGAIN);
	assert_true(way_fill(&r[1].out, r[1].wire[0]) && way_fill(&r[2].out, r[2].wire[0]));
	assert_true(way_empty(&r[1].out, r[1].wire[1], 1));
	frame_wait(fx->base, slow_are_gone, &(struct dribble){.fx = fx, .good = &c, .slow = &r[2]});
	assert_int_equal(peer_ping(fx, &c), 0);
	for (size_t i = 0; i < 3; i++) {
		relay_close(&r[i]);
		close(slow[i].fd);
	}
	free(r);
	relay_free(good, &c);
}

static void test_plaintext_where_tls_is_spoken(void **state)
{
	struct peer_fixture *fx = *state;
	struct capture cap = capture_begin();
	struct frame_client c = {.base = fx->base};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(conn_new_tls(fx->set, &conn_frames, fds[0]), 0);
	c.fd = fds[1];
	SEND(&c, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1);
	assert_false(frame_recv(&c, &fx->frame));
	close(c.fd);
	frame_wait(fx->base, peer_none_left, fx);
	assert_int_equal(capture_end(&cap, "event=tls-refused client=\"pid "), 1);
}

static void test_tls_where_it_is_not_spoken(void **state)
{
	struct peer_fixture *fx = *state;
	struct capture cap = capture_begin();
	struct relay *r = malloc(sizeof(*r));
	struct frame_client c;

	assert_non_null(r);
	c = relay_open(r, fx, -1);
	assert_int_equal(stream_start_tls(&r->tls, client_tls[BY_CERT]), 0);
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);
	assert_int_equal(capture_end(&cap, "error=FRAME_MAGIC reason=\"the client speaks TLS"), 1);
}

/* Bytes that are no records, before the handshake is over and after it. */
static void test_garbage(void **state)
{
	struct peer_fixture *fx = *state;
	struct capture cap = capture_begin();
	struct frame_client c;
	struct relay *r;
	uint8_t junk[2000];

	memset(junk, 0x5a, sizeof(junk));
	junk[0] = 22; /* looks like a handshake */
	r = malloc(sizeof(*r));
	assert_non_null(r);
	c = relay_open(r, fx, BY_KEY);
	frame_leave(&r->part);
	assert_int_equal(send(r->wire[1], junk, sizeof(junk), 0), sizeof(junk));
	assert_int_equal(shutdown(r->wire[1], SHUT_WR), 0);
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);

	r = relay_connect(fx, &c, BY_CERT);
	junk[0] = 23;
	assert_int_equal(send(r->wire[1], junk, sizeof(junk), 0), sizeof(junk));
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);
	/* both are told of: the one as it begins, the other as an error */
	assert_int_equal(capture_end(&cap, " reason="), 2);
	r = relay_connect(fx, &c, BY_CERT);
	assert_int_equal(peer_ping(fx, &c), 0);
	relay_free(r, &c);
}

#define KNOCKS 90 /* fewer than there may be connections: none goes for the next one */

/* Refusals are as many lines as can be read, whoever knocks. */
static void test_refusals_do_not_fill_the_log(void **state)
{
	struct peer_fixture *fx = *state;
	struct capture cap = capture_begin();
	unsigned int lines;

	for (int i = 0; i < KNOCKS; i++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(conn_new_tls(fx->set, &conn_frames, fds[0]), 0);
		assert_int_equal(send(fds[1], "knock", 5, 0), 5);
		close(fds[1]);
	}
	frame_wait(fx->base, peer_none_left, fx);
	lines = capture_end(&cap, "event=tls-refused");
	assert_true(lines >= 20 && lines < KNOCKS);
}

static void test_many_connect_and_abort(void **state)
{
	struct peer_fixture *fx = *state;
	struct relay *r = malloc(sizeof(*r));
	struct capture cap = capture_begin();

	assert_non_null(r);
	use(fx, 60000, BY_KEY);
	for (int i = 0; i < ABORTS; i++) {
		struct frame_client c = relay_open(r, fx, BY_KEY);

		SEND(&c, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1);
		for (int turns = i % 16; turns > 0; turns--)
			frame_turn(fx->base);
		relay_close(r);
		close(c.fd);
	}
	frame_wait(fx->base, peer_none_left, fx);
	free(r);
	(void)capture_end(&cap, "");
	assert_true(count_bytes(fx, BY_KEY) > 0);
}

static void test_abort_in_the_midst_of_handshakes(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct relay *r = malloc(sizeof(*r));

	assert_non_null(r);
	c = relay_open(r, fx, BY_CERT);
	relay_turn(r);
	frame_settle(fx->base);
	conn_set_abort(fx->set);
	frame_wait(fx->base, peer_none_left, fx);
	relay_free(r, &c);
}

/* ---- credentials that change ----------------------------------------------------------------- */

static void test_connections_keep_the_context_that_they_began_with(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client before, during, after;
	struct relay *b = relay_connect(fx, &before, BY_CERT);
	struct relay *d = malloc(sizeof(*d));
	struct relay *a;

	assert_non_null(d);
	during = relay_open(d, fx, BY_CERT);
	frame_leave(&d->part);
	relay_turn(d); /* its first bytes are there */
	frame_settle(fx->base);
	conn_set_use_tls(fx->set, server_tls[BY_KEY]);
	assert_int_equal(peer_ping(fx, &before), 0);
	frame_join(&d->part);
	assert_int_equal(peer_hello(fx, &during, 0), 0);
	a = relay_connect(fx, &after, BY_KEY);
	assert_int_equal(peer_ping(fx, &before), 0);
	assert_int_equal(peer_ping(fx, &after), 0);
	relay_free(b, &before);
	relay_free(d, &during);
	relay_free(a, &after);
}

/* ---- TLS in the midst ------------------------------------------------------------------------ */

/* A protocol of one byte: 'S' begins TLS, and any other one comes back as it is. */
static int byte_open(struct conn *conn)
{
	(void)conn;
	return 0;
}

static void byte_close(struct conn *conn)
{
	(void)conn;
}

static enum conn_step byte_header(struct conn *conn)
{
	uint8_t byte;

	if (conn_in_avail(conn) < 1)
		return STEP_MORE;
	byte = conn->in[conn->in_pos++];
	assert_int_equal(conn_add(conn, &byte, 1), 0);
	if (byte == 'S')
		conn_start_tls(conn);
	return STEP_ON;
}

static const struct conn_proto byte_proto = {
    .open = byte_open, .close = byte_close, .header = byte_header};

static uint8_t byte_of(struct frame_client *c)
{
	uint8_t byte = 0;

	assert_true(frame_recv_raw(c, &byte, 1));
	return byte;
}

/* A connection of that protocol.  What is said without TLS is said by "plain", and not by the relay. */
static struct relay *midst_open(struct peer_fixture *fx, struct frame_client *c,
				struct frame_client *plain)
{
	struct relay *r = malloc(sizeof(*r));

	assert_non_null(r);
	*c = relay_open_to(r, fx, &byte_proto, -1);
	frame_leave(&r->part);
	*plain = (struct frame_client){.base = fx->base, .fd = r->wire[1]};
	return r;
}

/* The first bytes of the handshake: they are in r->out, and the relay does not send them itself. */
static void midst_shake(struct relay *r)
{
	assert_int_equal(stream_start_tls(&r->tls, client_tls[BY_CERT]), 0);
	assert_int_equal(stream_handshake(&r->tls), STREAM_AGAIN);
	assert_true(way_fill(&r->out, r->wire[0]));
	r->out.at = r->out.len;
}

/* From here on the relay has the connection. */
static void midst_secure(struct relay *r, struct frame_client *c)
{
	if (!r->tls.tls)
		assert_int_equal(stream_start_tls(&r->tls, client_tls[BY_CERT]), 0);
	frame_join(&r->part);
	assert_true(frame_send_raw(c, "xyz", 3));
	assert_int_equal(byte_of(c), 'x');
	assert_int_equal(byte_of(c), 'y');
	assert_int_equal(byte_of(c), 'z');
	relay_free(r, c);
}

static void assert_plain(struct frame_client *plain, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(byte_of(plain), 'a');
	assert_int_equal(byte_of(plain), 'S');
}

static void test_tls_in_the_midst_of_a_protocol(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c, plain;
	struct relay *r = midst_open(fx, &c, &plain);

	/* what stands behind the S, in plain text, is thrown away */
	assert_true(frame_send_raw(&plain, "aSEVIL", 6));
	assert_plain(&plain, 1);
	frame_settle(fx->base);
	midst_secure(r, &c);
}

/*
 * A client that does not wait for the answer to its S: the handshake is there, and not read with what
 * stands before it, when the answer has still to be sent.
 */
static void test_answers_go_out_before_a_handshake_that_is_early(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c, plain;
	struct relay *r = midst_open(fx, &c, &plain);
	uint8_t bytes[CONN_IN_BYTES + 4096];

	midst_shake(r);
	assert_true(r->out.len <= sizeof(bytes) - CONN_IN_BYTES);
	memset(bytes, 'a', CONN_IN_BYTES - 1);
	bytes[CONN_IN_BYTES - 1] = 'S';
	memcpy(bytes + CONN_IN_BYTES, r->out.bytes, r->out.len);
	assert_int_equal(send(plain.fd, bytes, CONN_IN_BYTES + r->out.len, 0),
			 CONN_IN_BYTES + r->out.len);
	assert_plain(&plain, CONN_IN_BYTES - 1);
	midst_secure(r, &c);
}

/* The same, where the client has not read what came before: it takes many turns to be sent. */
static void test_a_handshake_waits_for_answers_that_nobody_reads(void **state)
{
	struct peer_fixture *fx = *state;
	struct frame_client c, plain;
	struct relay *r = midst_open(fx, &c, &plain);
	struct conn *conn = TAILQ_FIRST(&fx->set->conns);
	uint8_t bytes[65536];
	const int small = 4096;

	assert_int_equal(setsockopt(conn->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)),
			 0);
	midst_shake(r);
	memset(bytes, 'a', sizeof(bytes));
	assert_true(frame_send_raw(&plain, bytes, sizeof(bytes)));
	assert_true(frame_send_raw(&plain, "S", 1));
	frame_settle(fx->base);
	assert_int_equal(conn->state, CONN_TLS);
	assert_true(frame_send_raw(&plain, r->out.bytes, r->out.len));
	frame_settle(fx->base);
	assert_true(outq_bytes(&conn->out) > 0);
	assert_null(conn->stream.tls);
	assert_false(conn->reading); /* it would find the handshake again and again */
	assert_plain(&plain, sizeof(bytes));
	midst_secure(r, &c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_requests_of_every_size),
	    TEST(test_pipelined_requests_are_all_answered),
	    TEST(test_requests_beyond_a_limit_wait_in_the_stream),
	    TEST(test_who_never_reads_is_bounded),
	    TEST(test_a_stop_ends_the_stream_in_order),
	    TEST(test_an_end_of_the_client_is_answered_with_one),
	    TEST(test_a_fault_is_answered_before_the_end),
	    TEST(test_cut_at_every_byte),
	    TEST(test_handshakes_that_do_not_end),
	    TEST(test_plaintext_where_tls_is_spoken),
	    TEST(test_tls_where_it_is_not_spoken),
	    TEST(test_garbage),
	    TEST(test_refusals_do_not_fill_the_log),
	    TEST(test_many_connect_and_abort),
	    TEST(test_abort_in_the_midst_of_handshakes),
	    TEST(test_connections_keep_the_context_that_they_began_with),
	    TEST(test_tls_in_the_midst_of_a_protocol),
	    TEST(test_answers_go_out_before_a_handshake_that_is_early),
	    TEST(test_a_handshake_waits_for_answers_that_nobody_reads),
	};

	return cmocka_run_group_tests_name("conn-tls", tests, group_setup, group_teardown);
}
