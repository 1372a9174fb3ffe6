/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_tls.c: who is let in, and who is not and for which reason: certificates and pre-shared keys
 * that are wrong in one way each, and files that cannot be used; and what a client may cost.
 */
#include "tests/unit/tls_fixture.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tls_priv.h"

static char *dir;	/* as they should be */
static char *broken;	/* what a test changes; its own CA */
static char *keys;	/* DIR/keys.psk */
static struct cert *ca; /* of "broken" */

static char *in(const char *folder, const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

static int setup_all(void **state)
{
	(void)state;
	dir = certs_dir();
	keys = in(dir, "keys.psk");
	return 0;
}

static int teardown_all(void **state)
{
	(void)state;
	certs_remove(dir);
	free(keys);
	return 0;
}

static void put_cert(const struct cert_spec *spec, const struct cert *issuer, bool server)
{
	struct cert *cert = cert_new(spec, issuer);

	cert_write(cert, broken, server ? "server-cert.pem" : "client-cert.pem");
	cert_write_key(cert, broken, server ? "server-key.pem" : "client-key.pem", 0600);
	cert_free(cert);
}

/* A directory whose CA signs what the test wants. */
static int setup(void **state)
{
	static const struct cert_spec spec = {.subject = "another CA", .is_ca = true};
	static const struct cert_spec server = {.subject = "s", .names = "DNS:localhost"};
	static const struct cert_spec client = {
	    .subject = "c", .names = "email:c@test,DNS:c.test,URI:spiffe://test/c,IP:192.0.2.7"};

	(void)state;
	broken = certs_dir();
	ca = cert_new(&spec, NULL);
	cert_write(ca, broken, "ca-cert.pem");
	put_cert(&server, ca, true);
	put_cert(&client, ca, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cert_free(ca);
	certs_remove(broken);
	return 0;
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void expect_in(struct tls *client, struct tls *server, const char *name)
{
	struct pair p;

	pair_start(&p, client, server);
	if (p.client_err != 0 || p.server_err != 0)
		fail_msg("client: %s; server: %s", stream_text(&p.client), stream_text(&p.server));
	assert_string_equal(stream_peer_name(&p.server), name);
	expect_passes(&p.client, &p.server);
	expect_passes(&p.server, &p.client);
	pair_close(&p);
}

/* The client is refused with a text for the server's log, and hears another one. */
static void expect_client_refused(struct tls *client, struct tls *server, const char *why,
				  const char *heard)
{
	struct pair p;
	char buf[8];

	pair_start(&p, client, server);
	expect_text(&p.server, why);
	assert_int_equal(p.server_err, -ERR_PERM);
	if (p.client_err == 0) { /* it hears of it by its first read */
		assert_int_equal(get(&p.client, buf, sizeof(buf)), -1);
		assert_int_equal(errno, EACCES);
	} else {
		assert_int_equal(p.client_err, -ERR_PERM);
	}
	expect_text(&p.client, heard);
	pair_close(&p);
}

static void expect_server_refused(struct tls *client, struct tls *server, const char *why,
				  const char *heard)
{
	struct pair p;

	pair_start(&p, client, server);
	assert_int_equal(p.client_err, -ERR_PERM);
	expect_text(&p.client, why);
	assert_int_equal(p.server_err, -ERR_PERM);
	expect_text(&p.server, heard);
	pair_close(&p);
}

static void test_certificates_are_let_in(void **state)
{
	(void)state;
	expect_in(client_of(dir, NULL, NULL), server_of(dir, NULL, NULL), "client.test");
	expect_in(client_of(dir, NULL, NULL), server_of(dir, NULL, "client.test"), "client.test");
	expect_in(client_of(dir, NULL, NULL), server_of(dir, keys, NULL), "client.test");
}

static void test_keys_are_let_in(void **state)
{
	(void)state;
	expect_in(client_of(NULL, keys, "alice"), server_of(NULL, keys, NULL), "alice");
	expect_in(client_of(NULL, keys, "bob"), server_of(NULL, keys, "bob"), "bob");
	expect_in(client_of(NULL, keys, "bob"), server_of(dir, keys, "bob"), "bob");
}

static void test_every_type_of_name_is_known(void **state)
{
	static const char *const names[] = {"c@test", "c.test", "C.Test", "spiffe://test/c",
					    "192.0.2.7"};
	static const char *const others[] = {"C@test",	       "c",	  "c.test.",   "*.test",
					     "spiffe://test/", "another", "192.0.2.70"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		expect_in(client_of(broken, NULL, NULL), server_of(broken, NULL, names[i]),
			  i == 2 ? "c.test" : names[i]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		expect_client_refused(
		    client_of(broken, NULL, NULL), server_of(broken, NULL, others[i]),
		    "the identity 'c@test' is not allowed", "certificate unknown");
}

/* By way of another CA, whose certificate the file has behind the own one. */
static void test_a_chain_of_certificates(void **state)
{
	const struct cert_spec middle_spec = {.subject = "between", .is_ca = true};
	const struct cert_spec spec = {.subject = "c", .names = "DNS:far.test"};
	struct cert *middle = cert_new(&middle_spec, ca);
	struct cert *cert = cert_new(&spec, middle);

	(void)state;
	cert_write_key(cert, broken, "client-key.pem", 0600);
	cert_write_chain(cert, middle, broken, "client-cert.pem");
	expect_in(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL), "far.test");
	cert_write(cert, broken, "client-cert.pem");
	expect_client_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
			      "unable to get local issuer", "unknown CA");
	cert_free(cert);
	cert_free(middle);
}

/* ---- others of our own kind ------------------------------------------------------------------ */

static struct cert *other_ca(void)
{
	static const struct cert_spec spec = {.subject = "a third CA", .is_ca = true};

	return cert_new(&spec, NULL);
}

static void test_a_client_of_another_ca(void **state)
{
	const struct cert_spec spec = {.subject = "c", .names = "DNS:c.test"};
	struct cert *other = other_ca();

	(void)state;
	put_cert(&spec, other, false);
	cert_free(other);
	expect_client_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
			      "client's certificate is refused: unable to get local issuer",
			      "server has ended it: unknown CA");
}

static void test_a_server_of_another_ca(void **state)
{
	const struct cert_spec spec = {.subject = "s", .names = "DNS:localhost"};
	struct cert *other = other_ca();

	(void)state;
	put_cert(&spec, other, true);
	cert_free(other);
	expect_server_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
			      "server's certificate is refused: unable to get local issuer",
			      "client has ended it: unknown CA");
}

static void expect_wrong_server(const char *names)
{
	const struct cert_spec spec = {.subject = "localhost", .names = names};

	put_cert(&spec, ca, true);
	expect_server_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
			      "the server's certificate is not for 'localhost'",
			      "client has ended it: certificate unknown");
}

static void test_a_server_of_another_name(void **state)
{
	(void)state;
	expect_wrong_server("DNS:other");
	expect_wrong_server("DNS:localhost.test,DNS:*,DNS:local*,DNS:ocalhost,IP:127.0.0.1");
	expect_wrong_server("email:localhost,URI:localhost");
	expect_wrong_server(NULL); /* the common name does not count */
}

static void expect_revoked(bool server)
{
	const struct cert_spec spec = {.subject = "r", .names = "DNS:localhost"};
	struct cert *cert = cert_new(&spec, ca);

	cert_write(cert, broken, server ? "server-cert.pem" : "client-cert.pem");
	cert_write_key(cert, broken, server ? "server-key.pem" : "client-key.pem", 0600);
	cert_write_crl(ca, cert, broken, "ca-crl.pem");
	if (server)
		expect_server_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
				      "certificate revoked", "certificate revoked");
	else
		expect_client_refused(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL),
				      "certificate revoked", "certificate revoked");
	cert_free(cert);
}

static void test_revoked_certificates(void **state)
{
	(void)state;
	cert_write_crl(ca, NULL, broken, "ca-crl.pem");
	expect_in(client_of(broken, NULL, NULL), server_of(broken, NULL, NULL), "c@test");
	expect_revoked(false);
	expect_revoked(true);
}

static void test_a_wrong_key_of_an_identity(void **state)
{
	char *wrong = in(broken, "other.psk");

	(void)state;
	certs_write_text(broken, "other.psk", "alice:000102030405060708090a0b0c0d0e0f\n", 0600);
	expect_client_refused(client_of(NULL, wrong, NULL), server_of(NULL, keys, NULL),
			      "key of the identity is wrong", "");
	free(wrong);
}

static void test_an_unknown_identity(void **state)
{
	char *wrong = in(broken, "other.psk");

	(void)state;
	certs_write_text(broken, "other.psk", "mallory:000102030405060708090a0b0c0d0e0f\n", 0600);
	expect_client_refused(client_of(NULL, wrong, NULL), server_of(NULL, keys, NULL),
			      "the identity 'mallory' is unknown", "");
	expect_client_refused(client_of(NULL, keys, "alice"), server_of(NULL, keys, "bob"),
			      "the identity 'alice' is not allowed", "");
	/* a server that has certificates too asks for one */
	expect_server_refused(client_of(NULL, wrong, NULL), server_of(dir, keys, NULL),
			      "server's certificate is refused",
			      "the identity 'mallory' is unknown");
	free(wrong);
}

/* One call decrypts 64 records, however short they are, and says that there are more. */
static void test_short_records_take_several_reads(void **state)
{
	struct pair p;
	char buf[200];

	(void)state;
	pair_start(&p, client_of(dir, NULL, NULL), server_of(dir, NULL, NULL));
	for (int i = 0; i < 150; i++)
		assert_int_equal(put(&p.client, "x", 1), 1);
	assert_int_equal(get(&p.server, buf, sizeof(buf)), 64);
	assert_true(stream_is_pending(&p.server));
	assert_int_equal(get(&p.server, buf, sizeof(buf)), 64);
	assert_true(stream_is_pending(&p.server));
	assert_int_equal(get(&p.server, buf, sizeof(buf)), 22);
	assert_false(stream_is_pending(&p.server));
	pair_close(&p);
}

/* Whether a server finds the key of "alice" behind n identities that it does not know. */
static bool finds_alice_behind(struct tls *server, unsigned int n)
{
	struct tls_peer peer = {.name = ""};
	SSL *ssl = tls_session(server, &peer);
	SSL_SESSION *sess = NULL;
	bool found;

	assert_non_null(ssl);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(tls_psk_find(ssl, (const unsigned char *)"nobody", 6, &sess), 1);
		assert_null(sess);
	}
	assert_int_equal(tls_psk_find(ssl, (const unsigned char *)"alice", 5, &sess), 1);
	found = sess != NULL;
	SSL_SESSION_free(sess);
	SSL_free(ssl);
	return found;
}

/* A hello may name thousands: the library asks for each, and those behind the first 16 are not looked for. */
static void test_a_client_names_too_many_identities(void **state)
{
	struct tls *server = server_of(NULL, keys, NULL);

	(void)state;
	assert_true(finds_alice_behind(server, 0));
	assert_true(finds_alice_behind(server, 15));
	assert_false(finds_alice_behind(server, 16));
	assert_false(finds_alice_behind(server, 1000));
	tls_put(server);
}

static void test_one_has_keys_and_the_other_certificates(void **state)
{
	(void)state;
	expect_client_refused(client_of(dir, NULL, NULL), server_of(NULL, keys, NULL),
			      "client has no key that is known", "");
	expect_server_refused(client_of(NULL, keys, "bob"), server_of(dir, NULL, NULL),
			      "server's certificate is refused", "unknown CA");
}

/* ---- clients that do not look at what they have ---------------------------------------------- */

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	struct stream server;
};

static void raw_open(struct raw *raw, bool with_cert)
{
	int fds[2];
	char *cert = in(broken, "client-cert.pem");
	char *key = in(broken, "client-key.pem");
	struct tls *tls = server_of(broken, NULL, NULL);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	raw->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(raw->ctx);
	if (with_cert) {
		assert_int_equal(SSL_CTX_use_certificate_file(raw->ctx, cert, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(raw->ctx, key, SSL_FILETYPE_PEM), 1);
	}
	raw->ssl = SSL_new(raw->ctx);
	assert_non_null(raw->ssl);
	assert_int_equal(SSL_set_fd(raw->ssl, fds[0]), 1);
	SSL_set_connect_state(raw->ssl);
	stream_open(&raw->server, fds[1]);
	assert_int_equal(stream_start_tls(&raw->server, tls), 0);
	tls_put(tls);
	free(cert);
	free(key);
}

static void raw_close(struct raw *raw)
{
	(void)close(SSL_get_fd(raw->ssl));
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->ctx);
	stream_close(&raw->server);
}

static void expect_raw_refused(struct raw *raw, int err, const char *why)
{
	int got = STREAM_AGAIN;

	for (int i = 0; i < 100 && got == STREAM_AGAIN; i++) {
		(void)SSL_do_handshake(raw->ssl);
		got = stream_handshake(&raw->server);
	}
	assert_int_equal(got, err);
	expect_text(&raw->server, why);
	raw_close(raw);
}

static void expect_cert_refused(const struct cert_spec *spec, bool self_signed, const char *why)
{
	struct raw raw;

	put_cert(spec, self_signed ? NULL : ca, false);
	raw_open(&raw, true);
	expect_raw_refused(&raw, -ERR_PERM, why);
}

static void test_certificates_that_are_not_good(void **state)
{
	const struct cert_spec expired = {.subject = "c", .from = -7200, .to = -60};
	const struct cert_spec early = {.subject = "c", .from = 3600};
	const struct cert_spec alone = {.subject = "c", .names = "DNS:client.test"};

	(void)state;
	expect_cert_refused(&expired, false, "certificate has expired");
	expect_cert_refused(&early, false, "certificate is not yet valid");
	expect_cert_refused(&alone, true, "self-signed certificate");
}

static void test_a_client_without_a_certificate(void **state)
{
	struct raw raw;

	(void)state;
	raw_open(&raw, false);
	expect_raw_refused(&raw, -ERR_PERM, "the client has no certificate");
}

static void test_a_client_of_an_older_version(void **state)
{
	struct raw raw;

	(void)state;
	raw_open(&raw, true);
	assert_int_equal(SSL_set_max_proto_version(raw.ssl, TLS1_2_VERSION), 1);
	expect_raw_refused(&raw, -ERR_PROTO, "unsupported protocol");
}

static void test_a_client_that_does_not_speak_it(void **state)
{
	struct raw raw;

	(void)state;
	raw_open(&raw, true);
	assert_int_equal(write(SSL_get_fd(raw.ssl), "GET / HTTP/1.0\r\n\r\n", 18), 18);
	expect_raw_refused(&raw, -ERR_PROTO, "http request");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void expect_no_server(int err, const char *psk, const char *file, const char *why)
{
	struct tls_server_files files = {.certificates = psk ? NULL : broken, .psk = psk};
	char text[TLS_TEXT_MAX] = "";
	struct tls *tls = NULL;

	assert_int_equal(tls_server_new(&files, &tls, text), err);
	if (!strstr(text, file) || !strstr(text, why))
		fail_msg("%s", text);
}

static void test_files_that_are_missing(void **state)
{
	static const char *const names[] = {"server-key.pem", "server-cert.pem", "ca-cert.pem"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = in(broken, names[i]);

		assert_int_equal(unlink(path), 0);
		expect_no_server(-ERR_NOENT, NULL, path, "No such file");
		free(path);
	}
}

static void test_files_that_are_something_else(void **state)
{
	static const char *const names[] = {"server-key.pem", "server-cert.pem", "ca-cert.pem",
					    "ca-crl.pem"};
	static const char *const whys[] = {"has no private key", "has no certificate",
					   "has no certificate", "has no revocation list"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		certs_write_text(broken, names[i], "nothing\n", 0600);
		expect_no_server(-ERR_INVAL, NULL, names[i], whys[i]);
		if (i == 2)
			cert_write(ca, broken, names[2]);
	}
}

/* Nobody writes into it: who waited for that would wait until the alarm. */
static void test_a_pipe_is_not_waited_for(void **state)
{
	char *path = in(broken, "server-key.pem");

	(void)state;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)alarm(20);
	expect_no_server(-ERR_INVAL, NULL, path, "not a regular file");
	expect_no_server(-ERR_INVAL, path, path, "not a regular file");
	(void)alarm(0);
	free(path);
}

static void test_files_that_are_cut(void **state)
{
	(void)state;
	certs_write_text(broken, "server-cert.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n", 0644);
	expect_no_server(-ERR_INVAL, NULL, "server-cert.pem", "bad end line");
}

static void test_a_key_of_another_certificate(void **state)
{
	struct cert *other = cert_new(&(struct cert_spec){.subject = "x"}, NULL);

	(void)state;
	cert_write_key(other, broken, "server-key.pem", 0600);
	expect_no_server(-ERR_INVAL, NULL, "server-key.pem",
			 "does not fit the certificate in server-cert.pem");
	cert_free(other);
}

static void test_an_own_certificate_that_is_not_valid(void **state)
{
	const struct cert_spec expired = {.subject = "s", .from = -7200, .to = -60};
	const struct cert_spec early = {.subject = "s", .from = 3600};

	(void)state;
	put_cert(&expired, ca, true);
	expect_no_server(-ERR_INVAL, NULL, "server-cert.pem", "has expired");
	put_cert(&early, ca, true);
	expect_no_server(-ERR_INVAL, NULL, "server-cert.pem", "is not yet valid");
}

static void test_secrets_that_others_can_read(void **state)
{
	char *path = in(broken, "server-key.pem");
	char *psk = in(broken, "keys.psk");

	(void)state;
	assert_int_equal(chmod(path, 0604), 0);
	expect_no_server(-ERR_PERM, NULL, path, "others can use it");
	assert_int_equal(chmod(path, 0640), 0);
	tls_put(server_of(broken, NULL, NULL));
	assert_int_equal(chmod(psk, 0644), 0);
	expect_no_server(-ERR_PERM, psk, psk, "others can use it");
	free(path);
	free(psk);
}

static void test_keys_that_are_none(void **state)
{
	static const char *const lines[] = {
	    "",
	    "\n\n",
	    "alice\n",
	    ":000102030405060708090a0b0c0d0e0f\n",
	    "alice:\n",
	    "alice:000102030405060708090a0b0c0d0e\n",
	    "alice:000102030405060708090a0b0c0d0e0f0\n",
	    "alice:000102030405060708090a0b0c0d0e0g\n",
	    "a:000102030405060708090a0b0c0d0e0f\na:000102030405060708090a0b0c0d0e0f\n",
	};
	static const char *const whys[] = {"has no keys",
					   "has no keys",
					   "line 1: not a line",
					   "line 1: not a line",
					   "line 1: a key that is not",
					   "line 1: a key that is not",
					   "line 1: a key that is not",
					   "line 1: a key that is not",
					   "line 2: an identity that is there twice"};
	char *psk = in(broken, "other.psk");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		certs_write_text(broken, "other.psk", lines[i], 0600);
		expect_no_server(-ERR_INVAL, psk, psk, whys[i]);
	}
	free(psk);
}

static void test_a_client_names_one_of_several_keys(void **state)
{
	struct tls_client_files files = {.psk = keys, .host = "localhost"};
	char text[TLS_TEXT_MAX] = "";
	struct tls *tls = NULL;

	(void)state;
	assert_int_equal(tls_client_new(&files, &tls, text), -ERR_INVAL);
	assert_non_null(strstr(text, "several identities"));
	files.identity = "carol";
	assert_int_equal(tls_client_new(&files, &tls, text), -ERR_NOENT);
	assert_non_null(strstr(text, "no key of 'carol'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_certificates_are_let_in),
	    T(test_keys_are_let_in),
	    T(test_every_type_of_name_is_known),
	    T(test_a_chain_of_certificates),
	    T(test_a_client_of_another_ca),
	    T(test_a_server_of_another_ca),
	    T(test_a_server_of_another_name),
	    T(test_revoked_certificates),
	    T(test_a_wrong_key_of_an_identity),
	    T(test_an_unknown_identity),
	    T(test_short_records_take_several_reads),
	    T(test_a_client_names_too_many_identities),
	    T(test_one_has_keys_and_the_other_certificates),
	    T(test_certificates_that_are_not_good),
	    T(test_a_client_without_a_certificate),
	    T(test_a_client_of_an_older_version),
	    T(test_a_client_that_does_not_speak_it),
	    T(test_files_that_are_missing),
	    T(test_files_that_are_something_else),
	    T(test_a_pipe_is_not_waited_for),
	    T(test_files_that_are_cut),
	    T(test_a_key_of_another_certificate),
	    T(test_an_own_certificate_that_is_not_valid),
	    T(test_secrets_that_others_can_read),
	    T(test_keys_that_are_none),
	    T(test_a_client_names_one_of_several_keys),
#undef T
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
