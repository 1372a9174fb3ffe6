/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_stream.c: bytes through a plain stream and through TLS: ends and cuts, one byte at a time, a
 * lot of it, and both directions at once.
 */
#include "tests/unit/tls_fixture.h"

#include <openssl/ssl.h>
#include <stdlib.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain_bytes_pass),
	    cmocka_unit_test(test_tls_bytes_pass),
	    cmocka_unit_test(test_an_end_is_an_end),
	    cmocka_unit_test(test_a_cut_is_no_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
