/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow over TLS: every call, the connection cut anywhere, in the handshake too; and what it says when
 * one end refuses the other.
 */
#include "tests/unit/aio_fixture.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* More than is taken in one turn, whose end lies in a record that has been taken. */
static void test_answers_of_several_turns(void **state)
{
	static uint8_t out[(1u << 20) + 65536];
	static uint8_t in[sizeof(out)];
	cow_object_t *big;
	fx_t fx;

	(void)state;
	start(&fx);
	/* who sleeps on it does so until the program is ended */
	assert_int_equal(cow_set_timeout(fx.cow, 3600000), 0);
	rnd_fill(out, sizeof(out), 1);
	assert_int_equal(cow_create(fx.cow, "big", sizeof(out)), 0);
	assert_int_equal(cow_open(fx.cow, "big", 0, &big), 0);
	assert_int_equal(cow_pwrite(big, out, sizeof(out), 0), sizeof(out));
	cut_patience(100);
	for (size_t n = 4096; n <= 3 * 4096; n += 4096) {
		size_t len = (1u << 20) + n;

		memset(in, 0, sizeof(in));
		assert_int_equal(cow_pread(big, in, len, 0), len);
		assert_memory_equal(in, out, len);
	}
	cut_patience(0);
	assert_int_equal(cow_close(big), 0);
	fixture_stop(&fx);
}

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
