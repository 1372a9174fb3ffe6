/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_stream_keys.c: a stream whose other end changes keys.
 */
#include "tests/unit/tls_fixture.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/must.h"

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

/* A client that is not of our making, through with its handshake. */
static SSL *raw_client(struct stream *server)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls *tls = server_of(dir, NULL, NULL);
	char path[256];
	int fds[2];
	SSL *ssl;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	(void)snprintf(path, sizeof(path), "%s/client-cert.pem", dir);
	assert_int_equal(SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM), 1);
	(void)snprintf(path, sizeof(path), "%s/client-key.pem", dir);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	assert_non_null(ssl);
	assert_int_equal(SSL_set_fd(ssl, fds[0]), 1);
	stream_open(server, fds[1]);
	assert_int_equal(stream_start_tls(server, tls), 0);
	tls_put(tls);
	for (int i = 0; i < 10; i++) {
		(void)SSL_connect(ssl);
		assert_true(stream_handshake(server) >= 0);
	}
	assert_false(stream_is_shaking(server));
	return ssl;
}

static void raw_free(SSL *ssl)
{
	(void)close(SSL_get_fd(ssl));
	SSL_free(ssl);
}

static void update_keys(SSL *ssl)
{
	assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_do_handshake(ssl), 1);
}

static void test_keys_may_change(void **state)
{
	struct stream server;
	SSL *ssl = raw_client(&server);
	char buf[8];

	(void)state;
	for (int i = 0; i < 5; i++) {
		update_keys(ssl);
		assert_int_equal(SSL_write(ssl, "hello", 5), 5);
		assert_int_equal(get(&server, buf, sizeof(buf)), 5);
		assert_int_equal(put(&server, "hello", 5), 5);
		assert_int_equal(SSL_read(ssl, buf, sizeof(buf)), 5);
	}
	raw_free(ssl);
	stream_close(&server);
}

static void test_keys_may_not_change_all_the_time(void **state)
{
	struct stream server;
	SSL *ssl = raw_client(&server);
	char buf[8];
	ssize_t n = -1;
	int count = 0;

	(void)state;
	for (errno = EAGAIN; n < 0 && errno == EAGAIN && count < 1000; count++) {
		update_keys(ssl);
		n = get(&server, buf, sizeof(buf));
	}
	assert_int_equal(n, -1);
	assert_int_equal(errno, EPROTO);
	assert_true(count > 16 && count < 64);
	expect_text(&server, "changed too often");
	raw_free(ssl);
	stream_close(&server);
}

/* Fills the socket with bytes that are no records; how many. */
static size_t fill(int fd)
{
	static const char junk[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = send(fd, junk, sizeof(junk), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	while ((n = send(fd, junk, 1, MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

static void drain(int fd, size_t len)
{
	char junk[4096];

	while (len > 0) {
		ssize_t n = recv(fd, junk, len < sizeof(junk) ? len : sizeof(junk), 0);

		assert_true(n > 0);
		len -= (size_t)n;
	}
}

/* Who only reads is woken to answer, and does; no byte of it is sent twice. */
static void test_an_answer_to_changed_keys_that_has_to_wait(void **state)
{
	struct stream server;
	SSL *ssl = raw_client(&server);
	struct pollfd pfd = {.fd = server.fd};
	char buf[8];
	size_t len = fill(server.fd);

	(void)state;
	for (int i = 0; i < 3; i++) {
		update_keys(ssl);
		assert_int_equal(get(&server, buf, sizeof(buf)), -1);
		assert_int_equal(errno, EAGAIN);
	}
	pfd.events = stream_events(&server, true, false);
	assert_int_equal(pfd.events, POLLIN | POLLOUT);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	drain(SSL_get_fd(ssl), len);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_true(stream_may_read(&server, pfd.revents));
	assert_int_equal(get(&server, buf, sizeof(buf)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(stream_events(&server, true, false), POLLIN);
	assert_int_equal(put(&server, "hello", 5), 5);
	assert_int_equal(SSL_read(ssl, buf, sizeof(buf)), 5);
	raw_free(ssl);
	stream_close(&server);
}

/* An end waits for it, too. */
static void test_an_end_behind_an_answer_that_has_to_wait(void **state)
{
	struct stream server;
	SSL *ssl = raw_client(&server);
	char buf[8];
	size_t len = fill(server.fd);

	(void)state;
	update_keys(ssl);
	assert_int_equal(get(&server, buf, sizeof(buf)), -1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(stream_end(&server), STREAM_AGAIN);
	drain(SSL_get_fd(ssl), len);
	assert_int_equal(stream_end(&server), 0);
	assert_int_equal(SSL_read(ssl, buf, sizeof(buf)), 0);
	assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN);
	raw_free(ssl);
	stream_close(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_keys_may_change),
	    cmocka_unit_test(test_keys_may_not_change_all_the_time),
	    cmocka_unit_test(test_an_answer_to_changed_keys_that_has_to_wait),
	    cmocka_unit_test(test_an_end_behind_an_answer_that_has_to_wait),
	};

	must_end_within(600);
	return cmocka_run_group_tests(tests, setup, teardown);
}
