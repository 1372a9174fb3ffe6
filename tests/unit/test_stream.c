/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_stream.c: bytes through a plain stream and through TLS: ends and cuts, one byte at a time, a
 * lot of it, and both directions at once.
 */
#include "tests/unit/tls_fixture.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

static char *dir;

static int setup(void **state)
{
	(void)state;
	dir = certs_dir();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	certs_remove(dir);
	return 0;
}

static void start(struct pair *p)
{
	pair_start(p, client_of(dir, NULL, NULL), server_of(dir, NULL, NULL));
	assert_int_equal(p->client_err, 0);
	assert_int_equal(p->server_err, 0);
}

static void test_plain_bytes_pass(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(stream_handshake(&p.client), 0);
	expect_passes(&p.client, &p.server);
	expect_passes(&p.server, &p.client);
	assert_int_equal(stream_events(&p.client, true, false), POLLIN);
	assert_int_equal(stream_events(&p.client, true, true), POLLIN | POLLOUT);
	pair_close(&p);
}

static void test_tls_bytes_pass(void **state)
{
	struct pair p;

	(void)state;
	start(&p);
	assert_string_equal(stream_peer_name(&p.server), "client.test");
	assert_string_equal(stream_peer_name(&p.client), "localhost");
	expect_passes(&p.client, &p.server);
	expect_passes(&p.server, &p.client);
	pair_close(&p);
}

static void end_one_way(struct pair *p)
{
	char buf[8];

	assert_int_equal(put(&p->client, "last", 4), 4);
	assert_int_equal(stream_end(&p->client), 0);
	assert_int_equal(get(&p->server, buf, sizeof(buf)), 4);
	assert_int_equal(get(&p->server, buf, sizeof(buf)), 0);
	assert_int_equal(get(&p->server, buf, sizeof(buf)), 0);
	/* the other way goes on */
	assert_int_equal(put(&p->server, "back", 4), 4);
	assert_int_equal(get(&p->client, buf, sizeof(buf)), 4);
	assert_int_equal(stream_end(&p->server), 0);
	assert_int_equal(get(&p->client, buf, sizeof(buf)), 0);
}

static void test_an_end_is_an_end(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	end_one_way(&p);
	pair_close(&p);
	start(&p);
	end_one_way(&p);
	pair_close(&p);
}

static void test_a_cut_is_no_end(void **state)
{
	struct pair p;
	char buf[8];

	(void)state;
	start(&p);
	assert_int_equal(put(&p.client, "last", 4), 4);
	assert_int_equal(shutdown(p.client.fd, SHUT_WR), 0);
	assert_int_equal(get(&p.server, buf, sizeof(buf)), 4);
	assert_true(stream_is_pending(&p.server));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(get(&p.server, buf, sizeof(buf)), -1);
		assert_int_equal(errno, ECONNRESET);
		expect_text(&p.server, "cut");
	}
	pair_close(&p);
}

/* ---- a wire between the two, which the test carries on --------------------------------------- */

struct wire {
	struct pair p;
	int fds[2];	  /* the test's: on the client's side, on the server's */
	size_t passed[2]; /* from the client, from the server */
	size_t limit[2];
	bool cut;
};

static void wire_open(struct wire *w, struct tls *client, struct tls *server)
{
	int fds[2][2];

	*w = (struct wire){.limit = {SIZE_MAX, SIZE_MAX}};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds[i]), 0);
		w->fds[i] = fds[i][1];
	}
	stream_open(&w->p.client, fds[0][0]);
	stream_open(&w->p.server, fds[1][0]);
	assert_int_equal(stream_start_tls(&w->p.client, client), 0);
	assert_int_equal(stream_start_tls(&w->p.server, server), 0);
}

static void wire_close(struct wire *w)
{
	pair_close(&w->p);
	(void)close(w->fds[0]);
	(void)close(w->fds[1]);
}

/* Up to so many bytes one way; at the limit the connection is cut, both ways. */
static void wire_pass_one(struct wire *w, int from, size_t max)
{
	size_t left = w->limit[from] - w->passed[from];
	char buf[4096];
	ssize_t n;

	if (max > sizeof(buf))
		max = sizeof(buf);
	n = recv(w->fds[from], buf, max < left ? max : left, MSG_DONTWAIT);
	if (n == 0 && left > 0)
		(void)shutdown(w->fds[1 - from], SHUT_WR);
	if (n > 0) {
		assert_int_equal(send(w->fds[1 - from], buf, (size_t)n, MSG_NOSIGNAL), n);
		w->passed[from] += (size_t)n;
	}
	if (w->passed[from] == w->limit[from]) {
		(void)shutdown(w->fds[0], SHUT_RDWR);
		(void)shutdown(w->fds[1], SHUT_RDWR);
		w->cut = true;
	}
}

static void wire_pass(struct wire *w, size_t max)
{
	for (int i = 0; i < 2 && !w->cut; i++)
		wire_pass_one(w, i, max);
}

/* ---- a question, its end, an answer, its end ------------------------------------------------- */

struct talk {
	struct stream *s;
	const char *says;
	bool asks;
	bool said;
	bool ended; /* its own end is sent */
	bool heard; /* the other's end */
	bool failed;
	size_t len;
	char buf[64];
};

static void talk_fail(struct talk *t)
{
	t->failed = true;
	assert_true(*stream_text(t->s) != '\0');
}

static void talk_read(struct talk *t)
{
	ssize_t n = get(t->s, t->buf + t->len, sizeof(t->buf) - t->len);

	if (n > 0)
		t->len += (size_t)n;
	t->heard = n == 0;
	if (n < 0 && errno != EAGAIN)
		talk_fail(t);
}

static void talk_write(struct talk *t)
{
	int err;

	if (!t->said) {
		ssize_t n = put(t->s, t->says, strlen(t->says));

		if (n < 0 && errno != EAGAIN)
			t->ended = true; /* a reader learns why */
		t->said = n > 0;
		return;
	}
	err = stream_end(t->s);
	t->ended = err != STREAM_AGAIN;
}

static void talk_step(struct talk *t)
{
	int err = stream_handshake(t->s);

	if (t->failed || err == STREAM_AGAIN)
		return;
	if (err < 0) {
		talk_fail(t);
		return;
	}
	if (!t->ended && (t->asks || t->heard))
		talk_write(t);
	if (!t->heard)
		talk_read(t);
}

static bool talk_is_over(const struct talk *t)
{
	return t->failed || (t->heard && t->ended);
}

/* True if all of it went through. */
static bool talk(struct wire *w, size_t max)
{
	struct talk client = {.s = &w->p.client, .says = "a question", .asks = true};
	struct talk server = {.s = &w->p.server, .says = "the answer"};

	for (int i = 0; i < 20000 && !(talk_is_over(&client) && talk_is_over(&server)); i++) {
		talk_step(&client);
		talk_step(&server);
		wire_pass(w, max);
	}
	assert_true(talk_is_over(&client));
	assert_true(talk_is_over(&server));
	/* an end is heard behind all that was said, and never else */
	assert_true(!server.heard ||
		    (server.len == 10 && memcmp(server.buf, "a question", 10) == 0));
	assert_true(!client.heard ||
		    (client.len == 10 && memcmp(client.buf, "the answer", 10) == 0));
	return client.heard && server.heard;
}

static void cut_everywhere(struct tls *client, struct tls *server, int from, size_t step)
{
	bool whole = false;

	for (size_t n = 0; !whole; n += step) {
		struct wire w;

		wire_open(&w, client, server);
		w.limit[from] = n;
		whole = talk(&w, SIZE_MAX);
		assert_true(whole || w.cut);
		wire_close(&w);
	}
	tls_put(client);
	tls_put(server);
}

static void test_cut_at_every_byte(void **state)
{
	size_t step = 20 / (size_t)rnd_count("TEST_CUTS", 20); /* of 1 where tests are quick */
	char keys[256];

	(void)state;
	(void)snprintf(keys, sizeof(keys), "%s/keys.psk", dir);
	for (int from = 0; from < 2; from++) {
		cut_everywhere(client_of(NULL, keys, "bob"), server_of(NULL, keys, NULL), from, 1);
		cut_everywhere(client_of(dir, NULL, NULL), server_of(dir, NULL, NULL), from, step);
	}
}

static void test_byte_by_byte(void **state)
{
	struct tls *client = client_of(dir, NULL, NULL);
	struct tls *server = server_of(dir, NULL, NULL);
	struct wire w;

	(void)state;
	wire_open(&w, client, server);
	assert_true(talk(&w, 1));
	wire_close(&w);
	tls_put(client);
	tls_put(server);
}

/* ---- much of it ------------------------------------------------------------------------------ */

#define MUCH (4u << 20)
#define MANY 9 /* pieces */

struct flow {
	struct stream *s;
	size_t sent;
	size_t got;
	struct rnd rnd;
	uint64_t out; /* the number of what is sent */
	uint64_t in;
};

static uint8_t byte_at(uint64_t number, size_t at)
{
	return (uint8_t)((at * 31 + (at >> 11)) ^ number);
}

/* Pieces of any length, up to "max" bytes in all. */
static int cut_up(struct flow *f, uint8_t *buf, size_t max, struct iovec iov[MANY])
{
	int count = 0;

	for (; count < MANY && max > 0; count++) {
		size_t n = (size_t)rnd_log(&f->rnd, 40000);

		n = n < max ? n : max;
		iov[count] = (struct iovec){buf, n};
		buf += n;
		max -= n;
	}
	return count;
}

/* The bytes lie elsewhere each time, and those that were begun are there again. */
static bool flow_send(struct flow *f)
{
	static uint8_t room[2][MANY * 40000];
	static unsigned int turn;
	uint8_t *buf = room[turn++ % 2];
	size_t max = MUCH - f->sent < sizeof(room[0]) ? MUCH - f->sent : sizeof(room[0]);
	struct iovec iov[MANY + 1];
	int count;
	ssize_t n;

	for (size_t i = 0; i < max; i++)
		buf[i] = byte_at(f->out, f->sent + i);
	count = cut_up(f, buf, max, iov);
	if (stream_is_begun(f->s)) {
		iov[0] = (struct iovec){buf, max};
		count = 1;
	}
	if (count == 0)
		return false;
	n = stream_writev(f->s, iov, count);
	assert_true(n > 0 || errno == EAGAIN);
	f->sent += n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool flow_receive(struct flow *f)
{
	static uint8_t buf[MANY * 40000];
	struct iovec iov[MANY];
	int count = cut_up(f, buf, sizeof(buf), iov);
	ssize_t n = stream_readv(f->s, iov, count);

	assert_true(n > 0 || (n < 0 && errno == EAGAIN));
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != byte_at(f->in, f->got + (size_t)i))
			fail_msg("byte %zu is wrong", f->got + (size_t)i);
	f->got += n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* Waits as an event loop does: what is pending is not waited for. */
static void flow_wait(struct flow *a, struct flow *b)
{
	struct pollfd fds[] = {
	    {.fd = a->s->fd, .events = stream_events(a->s, a->got < MUCH, a->sent < MUCH)},
	    {.fd = b->s->fd, .events = stream_events(b->s, b->got < MUCH, b->sent < MUCH)}};
	bool pending = stream_is_pending(a->s) || stream_is_pending(b->s);

	assert_true(poll(fds, 2, pending ? 0 : 10000) > 0 || pending);
}

static void test_much_both_ways(void **state)
{
	struct pair p;
	struct flow a = {.rnd = rnd_stream(1), .out = 1, .in = 2, .s = &p.client};
	struct flow b = {.rnd = rnd_stream(2), .out = 2, .in = 1, .s = &p.server};

	(void)state;
	start(&p);
	while (a.got < MUCH || b.got < MUCH) {
		bool moved = flow_send(&a);

		moved |= flow_send(&b);
		if (a.got < MUCH && (stream_is_pending(a.s) || rnd_one_in(&a.rnd, 2)))
			moved |= flow_receive(&a);
		if (b.got < MUCH && (stream_is_pending(b.s) || rnd_one_in(&b.rnd, 2)))
			moved |= flow_receive(&b);
		if (!moved)
			flow_wait(&a, &b);
	}
	pair_close(&p);
}

static void test_small_pieces_share_a_record(void **state)
{
	struct tls *client = client_of(dir, NULL, NULL);
	struct tls *server = server_of(dir, NULL, NULL);
	static char piece[1000];
	static char into[64][700];
	struct iovec iov[64];
	struct wire w;
	size_t before;

	(void)state;
	wire_open(&w, client, server);
	while (stream_is_shaking(&w.p.client) || stream_is_shaking(&w.p.server)) {
		assert_true(stream_handshake(&w.p.client) >= 0);
		assert_true(stream_handshake(&w.p.server) >= 0);
		wire_pass(&w, SIZE_MAX);
	}
	before = w.passed[0];
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){piece, sizeof(piece)};
	assert_int_equal(stream_writev(&w.p.client, iov, 40), 40000);
	for (int i = 0; i < 20; i++)
		wire_pass(&w, SIZE_MAX);
	assert_int_equal(w.passed[0] - before, 40000 + 3 * 22); /* three records */
	for (int i = 0; i < 64; i++)
		iov[i] = (struct iovec){into[i], sizeof(into[i])};
	assert_int_equal(stream_readv(&w.p.server, iov, 64), 40000);
	assert_false(stream_is_pending(&w.p.server));
	wire_close(&w);
	tls_put(client);
	tls_put(server);
}

/* What poll() does not know of is told, record by record. */
static void test_what_is_left_of_a_record_is_pending(void **state)
{
	struct pair p;
	char buf[8];

	(void)state;
	start(&p);
	assert_int_equal(put(&p.client, "0123456789", 10), 10);
	assert_false(stream_is_pending(&p.server));
	assert_true(stream_may_read(&p.server, POLLIN));
	assert_false(stream_may_read(&p.server, POLLOUT));
	assert_int_equal(get(&p.server, buf, 4), 4);
	assert_true(stream_is_pending(&p.server));
	assert_true(stream_may_read(&p.server, 0));
	assert_int_equal(get(&p.server, buf, 8), 6);
	assert_false(stream_is_pending(&p.server));
	pair_close(&p);
}

/* ---- what the other end may do --------------------------------------------------------------- */

/* A client hears why it is refused though it was writing when the connection ended. */
static void test_a_broken_write_leaves_what_is_to_be_read(void **state)
{
	struct pair p;
	char buf[8];

	(void)state;
	pair_start(&p, client_of(dir, NULL, NULL), server_of(dir, NULL, "another"));
	assert_int_equal(p.client_err, 0);
	assert_int_equal(p.server_err, -ERR_PERM);
	stream_close(&p.server);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(put(&p.client, "hello", 5), -1);
		assert_int_equal(errno, EPIPE);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(get(&p.client, buf, sizeof(buf)), -1);
		assert_int_equal(errno, EACCES);
		expect_text(&p.client, "the server has ended it");
	}
	stream_close(&p.client);
}

/* What was sent in plain before the handshake is not part of what is read behind it. */
static void test_tls_in_the_middle(void **state)
{
	struct tls *client = client_of(dir, NULL, NULL);
	struct tls *server = server_of(dir, NULL, NULL);
	struct pair p;

	(void)state;
	pair_open(&p);
	expect_passes(&p.client, &p.server);
	expect_passes(&p.server, &p.client);
	assert_int_equal(stream_start_tls(&p.client, client), 0);
	assert_int_equal(stream_start_tls(&p.server, server), 0);
	tls_put(client);
	tls_put(server);
	pair_shake(&p);
	assert_int_equal(p.client_err, 0);
	assert_int_equal(p.server_err, 0);
	expect_passes(&p.client, &p.server);
	pair_close(&p);
}

/* Data that comes with the last message of a handshake waits for the first read. */
static void test_data_behind_the_handshake_is_pending(void **state)
{
	struct tls *client = client_of(dir, NULL, NULL);
	struct tls *server = server_of(dir, NULL, NULL);
	struct pair p;
	char buf[8];

	(void)state;
	pair_open(&p);
	assert_int_equal(stream_start_tls(&p.client, client), 0);
	assert_int_equal(stream_start_tls(&p.server, server), 0);
	tls_put(client);
	tls_put(server);
	assert_int_equal(stream_handshake(&p.client), STREAM_AGAIN);
	assert_int_equal(stream_events(&p.client, true, true), POLLIN);
	assert_int_equal(stream_handshake(&p.server), STREAM_AGAIN);
	assert_int_equal(stream_handshake(&p.client), 0);
	assert_int_equal(put(&p.client, "hello", 5), 5);
	assert_int_equal(stream_handshake(&p.server), 0);
	assert_true(stream_is_pending(&p.server));
	assert_int_equal(get(&p.server, buf, sizeof(buf)), 5);
	pair_close(&p);
}

/* ---- without memory -------------------------------------------------------------------------- */

static size_t allocations; /* until one fails; 0: none does */

static bool fails(void)
{
	return allocations > 0 && --allocations == 0;
}

static void *some_malloc(size_t len, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(len);
}

static void *some_realloc(void *old, size_t len, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(old, len);
}

static void some_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

static void test_a_stream_without_memory(void **state)
{
	struct tls *server = server_of(dir, NULL, NULL);
	struct pair p;
	int err = -1;

	(void)state;
	for (size_t n = 1; err != 0; n++) {
		pair_open(&p);
		allocations = n;
		err = stream_start_tls(&p.server, server);
		allocations = 0;
		assert_true(err == 0 || err == -ERR_NOMEM);
		assert_true(err == 0 || !p.server.tls);
		if (err != 0) /* plain, as before */
			expect_passes(&p.client, &p.server);
		pair_close(&p);
	}
	tls_put(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain_bytes_pass),
	    cmocka_unit_test(test_tls_bytes_pass),
	    cmocka_unit_test(test_an_end_is_an_end),
	    cmocka_unit_test(test_a_cut_is_no_end),
	    cmocka_unit_test(test_cut_at_every_byte),
	    cmocka_unit_test(test_byte_by_byte),
	    cmocka_unit_test(test_much_both_ways),
	    cmocka_unit_test(test_small_pieces_share_a_record),
	    cmocka_unit_test(test_what_is_left_of_a_record_is_pending),
	    cmocka_unit_test(test_a_broken_write_leaves_what_is_to_be_read),
	    cmocka_unit_test(test_tls_in_the_middle),
	    cmocka_unit_test(test_data_behind_the_handshake_is_pending),
	    cmocka_unit_test(test_a_stream_without_memory),
	};

	if (CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) != 1)
		return 1;
	must_end_within(600);
	return cmocka_run_group_tests(tests, setup, teardown);
}
