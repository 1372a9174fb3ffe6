/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow over TLS: every call, the connection cut anywhere, in the handshake too; and what it says when
 * one end refuses the other.
 */
#include "tests/unit/aio_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stream.h"
#include "tests/lib/certs.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

static char *dir;

static int setup_all(void **state)
{
	(void)state;
	must_end_within(600);
	dir = certs_dir();
	fixture_tls = dir;
	return 0;
}

static int teardown_all(void **state)
{
	(void)state;
	certs_remove(dir);
	return 0;
}

static void start(fx_t *fx)
{
	fixture_start(fx, true, WIRE_INFLIGHT_MAX);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int64_t run(fx_t *fx, const struct aio_call *call, size_t send_bytes, size_t recv_bytes)
{
	fixture_prepare(fx, call);
	cut_limit(send_bytes, recv_bytes, true);
	(void)fixture_begin(fx, call);
	fixture_finish(fx);
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_process(fx->cow), 0);
	assert_int_equal(fx->calls, 1);
	fixture_undo(fx, call);
	return fx->result;
}

static void test_every_call(void **state)
{
	fx_t fx;

	(void)state;
	start(&fx);
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++)
		if (run(&fx, &aio_calls[i], CUT_NEVER, CUT_NEVER) < 0)
			fail_msg("%s: %s", aio_calls[i].name, cow_error(fx.cow));
	fixture_stop(&fx);
}

/* ---- a server that decides about its records --------------------------------------------------- */

#define RECORD_MORE 22u	       /* bytes that a record is longer than what is in it */
#define TURN_BYTES  (1u << 20) /* what the client takes in one turn, at least */
#define STAGE_BYTES 16384u     /* with a header, at most */
#define BIG_BYTES   (TURN_BYTES + 2 * STAGE_BYTES)

static _Atomic size_t record_bytes; /* of what the server sends */
static uint8_t big[BIG_BYTES];

static void wait_for(const struct stream *s, bool read, bool write)
{
	struct pollfd pfd = {.fd = s->fd, .events = stream_events(s, read, write)};

	MUST(poll(&pfd, 1, -1) > 0, "poll");
}

/* False: the client has gone. */
static bool get_all(struct stream *s, void *buf, size_t len)
{
	for (size_t have = 0; have < len;) {
		const struct iovec iov = {(uint8_t *)buf + have, len - have};
		ssize_t n = stream_readv(s, &iov, 1);

		if (n < 0 && errno == EAGAIN)
			wait_for(s, true, false);
		else if (n <= 0)
			return false;
		else
			have += (size_t)n;
	}
	return true;
}

static void put_records(struct stream *s, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t left = len - at;
		const struct iovec iov = {(uint8_t *)(uintptr_t)data + at,
					  left < record_bytes ? left : record_bytes};
		ssize_t n = stream_writev(s, &iov, 1);

		MUST(n > 0 || errno == EAGAIN, "a record is not sent");
		if (n < 0)
			wait_for(s, false, true);
		else
			at += (size_t)n;
	}
}

/* Of the operations that the test needs: the body, and where the payload is. */
static int answer(const struct fake_frame *f, uint8_t *body, size_t max, size_t *at, size_t *len)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct msg_open_reply opened = {.handle = 1, .info = {.id = 1, .name = "big"}};
	struct msg_read m;

	*at = *len = 0;
	switch (f->h.op) {
	case WIRE_OP_HELLO:
		return msg_hello_reply_encode(body, max, &hello);
	case WIRE_OP_OPEN:
		opened.info.size_bytes = sizeof(big);
		return msg_open_reply_encode(body, max, &opened);
	case WIRE_OP_READ:
		MUST(msg_read_decode(f->body, f->h.body_len, &m) == 0, "READ");
		*at = m.offset;
		*len = m.len;
		return 0;
	default:
		return 0;
	}
}

static void serve_records(struct fake_conn *conn)
{
	struct stream s;
	struct fake_frame f = {0};
	uint8_t head[WIRE_HEADER_BYTES];
	uint8_t body[WIRE_BODY_MAX];
	size_t at;
	size_t len;

	stream_open(&s, dup(conn->fd));
	MUST(stream_start_tls(&s, conn->ctx) == 0, "out of memory");
	while (stream_handshake(&s) == STREAM_AGAIN)
		wait_for(&s, true, true);
	while (get_all(&s, head, sizeof(head))) {
		uint8_t *bytes;
		int n;

		MUST(wire_header_decode(head, WIRE_MAGIC_REQUEST, WIRE_BODY_MAX, 0, &f.h) == 0 &&
			 get_all(&s, f.body, f.h.body_len),
		     "a request");
		n = answer(&f, body, sizeof(body), &at, &len);
		MUST(n >= 0, "an answer");
		bytes = fake_build(conn, &f, 0, body, (size_t)n, big + at, len, &len);
		put_records(&s, bytes, len);
		free(bytes);
	}
	stream_close(&s);
}

struct record_fixture {
	struct fake_server server;
	struct tls *tls;
	cow_t *cow;
	cow_object_t *obj;
};

static void records_start(struct record_fixture *fx)
{
	struct tls_server_files files = {.certificates = dir};
	char text[TLS_TEXT_MAX];
	char uri[256];

	rnd_fill(big, sizeof(big), 1);
	record_bytes = 16384;
	MUST(tls_server_new(&files, &fx->tls, text) == 0, "%s", text);
	fake_server_start(&fx->server, true, serve_records, fx->tls);
	(void)snprintf(uri, sizeof(uri), "cows%s?tls-certificates=%s", strchr(fx->server.uri, ':'),
		       dir);
	fx->cow = cow_new();
	assert_int_equal(cow_connect(fx->cow, uri), 0);
	/* who sleeps on what has come does so for an hour */
	assert_int_equal(cow_set_timeout(fx->cow, 3600000), 0);
	assert_int_equal(cow_open(fx->cow, "big", 0, &fx->obj), 0);
}

static void records_stop(struct record_fixture *fx)
{
	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	tls_put(fx->tls);
}

static void set_result(void *ctx, int64_t result)
{
	*(int64_t *)ctx = result;
}

/* A read by the twin that does not wait, as a program's loop has it. */
static int64_t read_in_a_loop(struct record_fixture *fx, void *buf, size_t len)
{
	int64_t result = 0;
	const struct cow_aio how = {.done = set_result, .ctx = &result};

	assert_int_equal(cow_aio_pread(fx->obj, buf, len, 0, &how, NULL), 0);
	while (result == 0) {
		struct pollfd pfd = {.fd = cow_get_fd(fx->cow), .events = POLLIN};

		(void)poll(&pfd, 1, cow_next_timeout_ms(fx->cow));
		assert_true(cow_process(fx->cow) >= 0);
	}
	return result;
}

/*
 * An answer of so many bytes in records of this size.  Returns whether a turn ended when all of it had
 * come, and the rest was in the library.
 */
static bool read_answer(struct record_fixture *fx, bool waits, size_t record, size_t frame)
{
	static uint8_t in[BIG_BYTES];
	size_t len = frame - WIRE_HEADER_BYTES;
	unsigned int polls;

	record_bytes = record;
	memset(in, 0, len);
	cut_answer(frame + (frame + record - 1) / record * RECORD_MORE);
	if (waits)
		assert_int_equal(cow_pread(fx->obj, in, len, 0), len);
	else
		assert_int_equal(read_in_a_loop(fx, in, len), len);
	polls = cut_answered();
	assert_memory_equal(in, big, len);
	return polls > 0;
}

/*
 * A turn ends where the rest of an answer lies in a record that has been decrypted, or in one that was
 * received with the one before it: whoever waits goes on without a word of poll().
 */
static void test_answers_of_several_turns(void **state)
{
	static const size_t records[] = {1024, 4096, 16384};
	static const size_t more[] = {1, 200, STAGE_BYTES + 1, STAGE_BYTES + 200, 2 * STAGE_BYTES};
	struct record_fixture fx;

	(void)state;
	records_start(&fx);
	for (int waits = 0; waits <= 1; waits++) {
		unsigned int seen = 0;

		for (size_t i = 0; i < ARRAY_LEN(records); i++)
			for (size_t k = 0; k < ARRAY_LEN(more); k++)
				seen += read_answer(&fx, waits, records[i], TURN_BYTES + more[k]);
		assert_true(seen > 0); /* else it would show nothing */
	}
	records_stop(&fx);
}

/* ---- cuts ----------------------------------------------------------------------------------- */

/* How many bytes go out at once, and come back. */
static void measure(fx_t *fx, const struct aio_call *call, size_t *sent, size_t *received)
{
	fixture_prepare(fx, call);
	assert_int_equal(cow_fsync(fx->obj), 0); /* all of the last connection has come */
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	(void)fixture_begin(fx, call);
	*sent = cut_sent();
	fixture_finish(fx);
	*received = cut_received();
	fixture_undo(fx, call);
}

static void expect(const struct aio_call *call, const char *where, size_t at, int64_t got, bool ok)
{
	if (ok ? got < 0 : got != -COW_ECONN)
		fail_msg("%s, cut at byte %zu %s: %lld", call->name, at, where, (long long)got);
}

static void cut_call(fx_t *fx, const struct aio_call *call, size_t step)
{
	size_t sent;
	size_t received;

	measure(fx, call, &sent, &received);
	for (size_t n = 0; n < sent; n += step)
		expect(call, "of the request", n, run(fx, call, n, CUT_NEVER), true);
	for (size_t n = 0; n < received; n += step)
		expect(call, "of the reply", n, run(fx, call, CUT_NEVER, n),
		       call->traits & AIO_REPEATS);
}

/* Each cut takes another handshake, so that only of some calls every byte is tried. */
static void test_cut_in_every_call(void **state)
{
	size_t step = 200 / (size_t)rnd_count("TEST_CUTS", 4);
	fx_t fx;

	(void)state;
	start(&fx);
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++)
		cut_call(&fx, &aio_calls[i], step);
	fixture_stop(&fx);
}

/* A connection that is not made again: what is cut is an error, and gives nothing. */
static void cut_list(fx_t *fx, size_t at)
{
	struct cow_info *infos = NULL;
	size_t count = 77;
	cow_t *cow = cow_new();

	assert_int_equal(cow_set_reconnect(cow, 0), 0);
	assert_int_equal(cow_connect(cow, fx->server.uri), 0);
	cut_limit(CUT_NEVER, at, true);
	if (cow_list(cow, "", &infos, &count) == 0) {
		assert_true(cut_received() <= at);
		assert_int_equal(count, 5);
		cow_list_free(infos, count);
		at = CUT_NEVER;
	}
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	cow_free(cow);
	if (at == CUT_NEVER)
		fx->calls = 1;
}

/* A server alone: it serves one connection at a time. */
static void start_alone(fx_t *fx)
{
	start(fx);
	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fx->calls = 0;
}

static void stop_alone(fx_t *fx)
{
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
}

static void test_a_cut_is_no_end_of_a_list(void **state)
{
	fx_t fx;

	(void)state;
	start_alone(&fx);
	for (size_t n = 0; fx.calls == 0; n += 7)
		cut_list(&fx, n);
	stop_alone(&fx);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void test_cut_while_connecting(void **state)
{
	size_t step = 40 / (size_t)rnd_count("TEST_CUTS", 4);
	bool whole = false;
	fx_t fx;

	(void)state;
	start_alone(&fx);
	for (size_t n = 0; !whole; n += step) {
		fx.cow = cow_new();
		cut_limit(CUT_NEVER, n, true);
		whole = cow_connect(fx.cow, fx.server.uri) == 0;
		if (!whole)
			assert_int_equal(cow_connect(fx.cow, "nonsense"), -COW_EINVAL);
		cut_limit(CUT_NEVER, CUT_NEVER, false);
		cow_free(fx.cow);
		assert_true(!whole || n > 500); /* a certificate, at least */
	}
	stop_alone(&fx);
}

/* The first connection is cut, and the one after that anywhere in its handshake. */
static void test_cut_while_connecting_again(void **state)
{
	const struct aio_call *read = &aio_calls[3];
	size_t step = 60 / (size_t)rnd_count("TEST_CUTS", 4);
	size_t whole = 0;
	fx_t fx;

	(void)state;
	start(&fx);
	for (size_t n = 0; whole == 0; n += step) {
		cut_limit(0, CUT_NEVER, true);
		(void)fixture_begin(&fx, read);
		cut_limit(CUT_NEVER, n, true);
		while (fx.calls == 0 && cut_received() < n)
			fixture_turn(&fx);
		if (fx.calls > 0)
			whole = n;
		else
			fixture_finish(&fx);
		assert_int_equal(fx.result, DATA_BYTES);
		assert_int_equal(cow_process(fx.cow), 0);
	}
	assert_true(whole > 500);
	fixture_stop(&fx);
}

/* What is begun and given up is sent to its end all the same, so that the connection stays. */
static void test_giving_up_what_is_begun(void **state)
{
	const struct aio_call *write = &aio_calls[4];
	size_t received;
	size_t sent;
	fx_t fx;

	(void)state;
	start(&fx);
	measure(&fx, write, &sent, &received);
	assert_int_equal(cow_set_reconnect(fx.cow, 0), 0);
	for (size_t n = 0; n < sent; n++) {
		uint64_t id;

		cut_limit(n, CUT_NEVER, false);
		id = fixture_begin(&fx, write);
		assert_int_equal(cow_aio_cancel(fx.cow, id), 0);
		fixture_finish(&fx);
		assert_int_equal(fx.result, -COW_ECANCELED);
		cut_limit(CUT_NEVER, CUT_NEVER, false);
		assert_int_equal(cow_ping(fx.cow), 0);
	}
	fixture_stop(&fx);
}

/* ---- being refused --------------------------------------------------------------------------- */

static void expect_connect(const char *uri, int err, const char *why)
{
	cow_t *cow = cow_new();
	int got = cow_connect(cow, uri);

	if (got != err || !strstr(cow_error(cow), why))
		fail_msg("%s: %d, %s", uri, got, cow_error(cow));
	cow_free(cow);
}

/* As the server's URI, but for the parameters. */
static void expect_with(const fx_t *fx, const char *params, int err, const char *why)
{
	char uri[512];

	(void)snprintf(uri, sizeof(uri), "%.*s?%s", (int)strcspn(fx->server.uri, "?"),
		       fx->server.uri, params);
	expect_connect(uri, err, why);
}

/* A client's certificate of a CA that nobody knows. */
static void put_client(const char *where)
{
	static const struct cert_spec ca_spec = {.subject = "another CA", .is_ca = true};
	static const struct cert_spec spec = {.subject = "c", .names = "DNS:c.test"};
	struct cert *ca = cert_new(&ca_spec, NULL);
	struct cert *cert = cert_new(&spec, ca);

	cert_write(cert, where, "client-cert.pem");
	cert_write_key(cert, where, "client-key.pem", 0600);
	cert_free(cert);
	cert_free(ca);
}

static void test_who_is_refused_is_told_why(void **state)
{
	char *other = certs_dir();
	char params[128];
	fx_t fx;

	(void)state;
	start_alone(&fx);
	(void)snprintf(params, sizeof(params), "tls-certificates=%s", other);
	expect_with(&fx, params, -COW_EPERM, "the server's certificate is refused");
	certs_copy(dir, other, "ca-cert.pem");
	put_client(other);
	expect_with(&fx, params, -COW_EPERM, "the server has ended it: unknown CA");
	(void)snprintf(params, sizeof(params), "tls-certificates=%s&tls-hostname=other.test", dir);
	expect_with(&fx, params, -COW_EPERM, "is not for 'other.test'");
	(void)snprintf(params, sizeof(params), "tls-certificates=%s&tls-hostname=localhost", dir);
	expect_with(&fx, params, 0, "");
	expect_with(&fx, "tls-certificates=/nowhere", -COW_EINVAL,
		    "/nowhere/ca-cert.pem: No such file");
	certs_remove(other);
	stop_alone(&fx);
}

static void expect_with_key(const fx_t *fx, const char *identity, const char *psk_dir,
			    const char *name, int err, const char *why)
{
	const char *host = fx->server.uri + strlen("cows://");
	char uri[512];

	(void)snprintf(uri, sizeof(uri), "cows://%s%.*s/?tls-psk-file=%s/%s", identity,
		       (int)strcspn(host, "?"), host, psk_dir, name);
	expect_connect(uri, err, why);
}

static void test_keys(void **state)
{
	char *other = certs_dir();
	fx_t fx;

	(void)state;
	start_alone(&fx);
	expect_with_key(&fx, "alice@", dir, "keys.psk", 0, "");
	expect_with_key(&fx, "%62ob@", dir, "keys.psk", 0, "");
	expect_with_key(&fx, "", dir, "keys.psk", -COW_EINVAL, "several identities");
	expect_with_key(&fx, "eve@", dir, "keys.psk", -COW_EINVAL, "has no key of 'eve'");
	certs_write_text(other, "other.psk", "bob:00112233445566778899aabbccddeeff\n", 0600);
	expect_with_key(&fx, "", other, "other.psk", -COW_EPERM, "perhaps the key is wrong");
	certs_write_text(other, "other.psk", "bob:00112233445566778899aabbccddeeff\n", 0644);
	expect_with_key(&fx, "", other, "other.psk", -COW_EPERM, "others can use it");
	certs_remove(other);
	stop_alone(&fx);
}

static void serve_text(struct fake_conn *conn)
{
	char buf[256];

	fake_send(conn, "HTTP/1.0 400 Bad Request\r\n\r\n", 28);
	while (recv(conn->fd, buf, sizeof(buf), 0) > 0)
		;
}

static void serve_nothing(struct fake_conn *conn)
{
	char buf[256];

	while (recv(conn->fd, buf, sizeof(buf), 0) > 0)
		;
}

static void serve_end(struct fake_conn *conn)
{
	(void)conn;
}

static void expect_server(fake_serve_fn serve, int err, const char *why)
{
	struct fake_server server;
	char uri[256];
	cow_t *cow = cow_new();
	int got;

	fake_server_start(&server, true, serve, NULL);
	(void)snprintf(uri, sizeof(uri), "cows%s?tls-certificates=%s", strchr(server.uri, ':'),
		       dir);
	assert_int_equal(cow_set_timeout(cow, err == -COW_ETIMEDOUT ? 100 : 20000), 0);
	got = cow_connect(cow, uri);
	if (got != err || !strstr(cow_error(cow), why))
		fail_msg("%d, %s", got, cow_error(cow));
	cow_free(cow);
	fake_server_stop(&server);
}

static void test_servers_without_tls(void **state)
{
	(void)state;
	expect_server(serve_text, -COW_ECONN, "TLS: wrong version number");
	expect_server(serve_nothing, -COW_ETIMEDOUT, "");
	expect_server(serve_end, -COW_ECONN, "connection was");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_call),
	    cmocka_unit_test(test_answers_of_several_turns),
	    cmocka_unit_test(test_cut_in_every_call),
	    cmocka_unit_test(test_a_cut_is_no_end_of_a_list),
	    cmocka_unit_test(test_cut_while_connecting),
	    cmocka_unit_test(test_cut_while_connecting_again),
	    cmocka_unit_test(test_giving_up_what_is_begun),
	    cmocka_unit_test(test_who_is_refused_is_told_why),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_servers_without_tls),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
