/* SPDX-License-Identifier: BSD-2-Clause */
/* How other programs reach an object: URIs for libcow, and for clients of NBD. */
#include "client/reach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/uri.h"
#include "common/annot.h"

static void expect_uri(const char *uri, const char *object, const char *want)
{
	char *got = reach_uri(uri, object);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void what_it_names_is_replaced(void **state)
{
	(void)state;
	expect_uri("cow://host", "a", "cow://host/a");
	expect_uri("cow://host/", "a", "cow://host/a");
	expect_uri("cow://host/b", "a", "cow://host/a");
	expect_uri("cow://[::1]:5/b/c", "d/e", "cow://[::1]:5/d/e");
	expect_uri("cow+unix:///?socket=/x", "a", "cow+unix:///a?socket=/x");
	expect_uri("cow+unix:///b?socket=/x%20y", "a", "cow+unix:///a?socket=/x%20y");
	expect_uri("cows://me@host:7/b?tls-psk-file=/k&tls-hostname=h", "a",
		   "cows://me@host:7/a?tls-psk-file=/k&tls-hostname=h");
	expect_uri("cows://host?tls-psk-file=/k", "a", "cows://host/a?tls-psk-file=/k");
}

static void what_has_a_meaning_is_escaped(void **state)
{
	struct uri uri = {0};
	const char *problem;
	char *text = reach_uri("cow://host", "a b/ö#&+:=\"");

	(void)state;
	assert_string_equal(text, "cow://host/a%20b/%C3%B6%23%26%2B%3A%3D%22");
	assert_int_equal(uri_parse(text, &uri, &problem), 0);
	assert_string_equal(uri.object, "a b/ö#&+:=\"");
	uri_clear(&uri);
	free(text);
}

/* Who has another environment finds it as well. */
static void the_local_socket_is_written_out(void **state)
{
	char *path = uri_local_socket();
	char want[256];

	(void)state;
	assert_non_null(path);
	(void)snprintf(want, sizeof(want), "cow+unix:///a?socket=%s", path);
	expect_uri(NULL, "a", want);
	expect_uri("cow+unix:///", "a", want);
	expect_uri("cow+unix:///b", "a", want);
	free(path);
}

/* ---- NBD ------------------------------------------------------------------------------------- */

#define EXPECT_NBD(uri, tls, want, ...)                                \
	do {                                                           \
		const char *addrs_[] = {__VA_ARGS__};                  \
		expect_nbd(uri, tls, want, addrs_, ARRAY_LEN(addrs_)); \
	} while (0)

static void expect_nbd(const char *uri, unsigned int tls, const char *want, const char **addrs,
		       size_t n)
{
	const struct cow_service service = {.nbd_tls = tls, .addrs = addrs, .naddrs = n};
	char *got;

	assert_int_equal(reach_nbd(uri, &service, "a b", &got), 0);
	if (want) {
		assert_non_null(got);
		assert_string_equal(got, want);
	} else {
		assert_null(got);
	}
	free(got);
}

#define SOCKET "cow+unix:///x?socket=/run/s"

static void without_nbd_there_is_none(void **state)
{
	(void)state;
	EXPECT_NBD(SOCKET, 0, NULL, "unix:/run/s", "tcp:127.0.0.1:7117", "nbd+new:x", "");
	expect_nbd(SOCKET, 0, NULL, NULL, 0);
}

static void a_socket_is_preferred_on_a_socket(void **state)
{
	(void)state;
	EXPECT_NBD(SOCKET, 0, "nbd+unix:///a%20b?socket=/run/n", "nbd+tcp:10.0.0.1:5",
		   "nbd+unix:/run/n", "nbd+unix:/run/m");
	EXPECT_NBD(NULL, 0, "nbd+unix:///a%20b?socket=/run/n%3F", "nbd+tcp:127.0.0.1:5",
		   "nbd+unix:/run/n?");
	EXPECT_NBD(SOCKET, 0, "nbd://10.0.0.1:5/a%20b", "unix:/run/s", "nbd+tcp:10.0.0.1:5");
	EXPECT_NBD("cow://localhost", 0, "nbd://127.0.0.1:5/a%20b", "nbd+unix:/run/n",
		   "nbd+tcp:127.0.0.1:5");
	EXPECT_NBD("cow://127.0.0.1", 0, "nbd+unix:///a%20b?socket=/run/n", "nbd+unix:/run/n");
	EXPECT_NBD("cow://[::1]:1", 0, "nbd+unix:///a%20b?socket=/run/n", "nbd+unix:/run/n");
}

static void what_is_elsewhere_is_of_no_use(void **state)
{
	(void)state;
	EXPECT_NBD("cow://far", 0, NULL, "nbd+unix:/run/n");
	EXPECT_NBD("cow://far", 0, NULL, "nbd+tcp:127.0.0.1:5", "nbd+tcp:[::1]:5",
		   "nbd+tcp:localhost:5");
	EXPECT_NBD("cow://far", 0, "nbd://10.0.0.1:5/a%20b", "nbd+tcp:127.0.0.1:5",
		   "nbd+tcp:10.0.0.1:5");
}

static void an_address_of_all_is_the_host_of_the_connection(void **state)
{
	(void)state;
	EXPECT_NBD("cow://far:7117/x", 0, "nbd://far:5/a%20b", "nbd+tcp:0.0.0.0:5");
	EXPECT_NBD("cow://[fe80::1]:7117", 0, "nbd://[fe80::1]:5/a%20b", "nbd+tcp:[::]:5");
	EXPECT_NBD(SOCKET, 0, "nbd://127.0.0.1:5/a%20b", "nbd+tcp:0.0.0.0:5");
	EXPECT_NBD(SOCKET, 0, "nbd://[::1]:5/a%20b", "nbd+tcp:[::]:5");
}

/* One set of credentials is for both protocols; what libnbd has no name for stays out. */
static void tls_is_used_where_it_must_be(void **state)
{
	static const char uri[] =
	    "cows://me@far:7/x?tls-hostname=h&tls-certificates=/c&tls-psk-file=/k%26";

	(void)state;
	for (unsigned int tls = COW_NBD_TLS_ON; tls <= COW_NBD_TLS_REQUIRE; tls++)
		EXPECT_NBD(uri, tls, "nbds://me@far:5/a%20b?tls-certificates=/c&tls-psk-file=/k%26",
			   "nbd+tcp:0.0.0.0:5");
	EXPECT_NBD(uri, COW_NBD_TLS_OFF, "nbd://far:5/a%20b", "nbd+tcp:0.0.0.0:5");
	EXPECT_NBD("cow://far", COW_NBD_TLS_ON, "nbd://far:5/a%20b", "nbd+tcp:0.0.0.0:5");
	EXPECT_NBD("cows://me@localhost?tls-psk-file=/k", COW_NBD_TLS_ON,
		   "nbd+unix:///a%20b?socket=/n", "nbd+unix:/n");
	EXPECT_NBD("cows://far", COW_NBD_TLS_REQUIRE, "nbds://far:5/a%20b", "nbd+tcp:[::]:5");
	EXPECT_NBD("cow://far?x", COW_NBD_TLS_REQUIRE, "nbds://far:5/a%20b", "nbd+tcp:[::]:5");
	EXPECT_NBD("cows://me@localhost?tls-psk-file=/k", COW_NBD_TLS_REQUIRE,
		   "nbds+unix:///a%20b?socket=/n&tls-psk-file=/k", "nbd+unix:/n");
	EXPECT_NBD(SOCKET, COW_NBD_TLS_REQUIRE, "nbds+unix:///a%20b?socket=/n", "nbd+unix:/n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_it_names_is_replaced),
	    cmocka_unit_test(what_has_a_meaning_is_escaped),
	    cmocka_unit_test(the_local_socket_is_written_out),
	    cmocka_unit_test(without_nbd_there_is_none),
	    cmocka_unit_test(a_socket_is_preferred_on_a_socket),
	    cmocka_unit_test(what_is_elsewhere_is_of_no_use),
	    cmocka_unit_test(an_address_of_all_is_the_host_of_the_connection),
	    cmocka_unit_test(tls_is_used_where_it_must_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
