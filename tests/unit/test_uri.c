/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "client/cow.h"
#include "common/err.h"

static void expect_uri(const char *text, const char *host, const char *port, const char *path,
		       const char *object)
{
	const char *want[] = {host, port, path, object};
	struct uri uri = {0};
	const char *problem = NULL;
	const char *const *got = (const char *const *)&uri;

	if (uri_parse(text, &uri, &problem) != 0)
		fail_msg("%s: %s", text, problem);
	for (size_t i = 0; i < 4; i++) {
		if (want[i])
			assert_string_equal(got[i], want[i]);
		else
			assert_null(got[i]);
	}
	uri_clear(&uri);
	assert_null(uri.host);
	assert_null(uri.object);
}

static void test_uri_tcp(void **state)
{
	(void)state;
	expect_uri("cow://host", "host", "7117", NULL, NULL);
	expect_uri("cow://host/", "host", "7117", NULL, NULL);
	expect_uri("cow://host:1", "host", "1", NULL, NULL);
	expect_uri("cow://host:65535/a", "host", "65535", NULL, "a");
	expect_uri("cow://10.0.0.1:7000/a/b", "10.0.0.1", "7000", NULL, "a/b");
	expect_uri("cow://[::1]", "::1", "7117", NULL, NULL);
	expect_uri("cow://[fe80::1]:70/x", "fe80::1", "70", NULL, "x");
}

static void test_uri_unix(void **state)
{
	(void)state;
	expect_uri("cow+unix:///", NULL, NULL, NULL, NULL);
	expect_uri("cow+unix:///disk", NULL, NULL, NULL, "disk");
	expect_uri("cow+unix:///?socket=/run/s", NULL, NULL, "/run/s", NULL);
	expect_uri("cow+unix:///a/b?socket=/x%20y", NULL, NULL, "/x y", "a/b");
}

static void test_uri_escapes(void **state)
{
	(void)state;
	expect_uri("cow://h/a%20b%c3%A4", "h", "7117", NULL, "a b\xc3\xa4");
	expect_uri("cow://h/%25", "h", "7117", NULL, "%");
}

static void test_uri_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "disk",
	    "http://h/",
	    "cow:/h",
	    "cow://",
	    "cow:///a",
	    "cow://:1",
	    "cow://h:",
	    "cow://h:0",
	    "cow://h:65536",
	    "cow://h:123456",
	    "cow://h:1x/",
	    "cow://h:-1",
	    "cow://[::1",
	    "cow://[]",
	    "cow://[::1]x",
	    "cow://h/a?x=1",
	    "cow://h?socket=/s",
	    "cow://h/a%",
	    "cow://h/a%2",
	    "cow://h/a%zz",
	    "cow://h/a%00",
	    "cow+unix://host/a",
	    "cow+unix:///a?",
	    "cow+unix:///a?sock=/s",
	    "cow+unix:///a?socket=",
	    "cow+unix:///a?socket=s",
	    "cow+unix:///a?socket=/s&x=1",
	    "cow+unix:///a?socket=/%00",
	};
	struct uri uri = {.host = (char *)(uintptr_t) "untouched"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *problem = NULL;

		if (uri_parse(bad[i], &uri, &problem) != -ERR_INVAL)
			fail_msg("\"%s\" was not refused", bad[i]);
		assert_non_null(problem);
		assert_string_equal(uri.host, "untouched");
	}
}

static void expect_tls(const char *text, const char *identity, const char *certificates,
		       const char *psk, const char *hostname)
{
	const char *want[] = {"h", "7118", "o", identity, certificates, psk, hostname};
	struct uri uri = {0};
	const char *problem = NULL;

	if (uri_parse(text, &uri, &problem) != 0)
		fail_msg("%s: %s", text, problem);
	const char *got[] = {uri.host,	       uri.port, uri.object,  uri.identity,
			     uri.certificates, uri.psk,	 uri.hostname};

	assert_true(uri.tls);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (want[i])
			assert_string_equal(got[i], want[i]);
		else
			assert_null(got[i]);
	}
	uri_clear(&uri);
}

static void test_uri_tls(void **state)
{
	(void)state;
	expect_uri("cows://host", "host", "7118", NULL, NULL);
	expect_uri("cows://[::1]:70/a/b", "::1", "70", NULL, "a/b");
	expect_tls("cows://h/o", NULL, NULL, NULL, NULL);
	expect_tls("cows://h/o?tls-certificates=/a%20b", NULL, "/a b", NULL, NULL);
	expect_tls("cows://h/o?tls-psk-file=/k", NULL, NULL, "/k", NULL);
	expect_tls("cows://al%40ice@h/o?tls-hostname=n&tls-psk-file=/k", "al@ice", NULL, "/k", "n");
	expect_tls("cows://h/o?tls-certificates=/d&tls-hostname=n", NULL, "/d", NULL, "n");
}

static void test_uri_tls_refused(void **state)
{
	static const char *const bad[] = {
	    "cows://",
	    "cows:///o",
	    "cows://@h?tls-psk-file=/k",
	    "cows://alice@h",
	    "cows://alice@h?tls-certificates=/d",
	    "cows://alice@?tls-psk-file=/k",
	    "cows://a%00@h?tls-psk-file=/k",
	    "cows://h?",
	    "cows://h?tls-certificates",
	    "cows://h?tls-certificates=",
	    "cows://h?tls-certificates=d",
	    "cows://h?tls-psk-file=k",
	    "cows://h?tls-hostname=",
	    "cows://h?tls-hostname=a&tls-hostname=a",
	    "cows://h?tls-hostname=a&",
	    "cows://h?tls-certificates=/d&tls-psk-file=/k",
	    "cows://h?socket=/s",
	    "cows://h?tls-verify-peer=0",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct uri uri = {0};
		const char *problem = NULL;

		if (uri_parse(bad[i], &uri, &problem) != -ERR_INVAL)
			fail_msg("\"%s\" was not refused", bad[i]);
		assert_non_null(problem);
	}
}

static void test_uri_certificates(void **state)
{
	char *path = uri_certificates();

	(void)state;
	assert_non_null(path);
	if (geteuid() == 0)
		assert_string_equal(path, "/etc/pki/cowd");
	else
		assert_non_null(strstr(path, "/pki/cowd"));
	free(path);
}

static void test_uri_object_of_cow_h(void **state)
{
	char *name = NULL;

	(void)state;
	assert_int_equal(cow_uri_object("cow://h/a/b", &name), 0);
	assert_string_equal(name, "a/b");
	free(name);
	assert_int_equal(cow_uri_object("cow://h", &name), 0);
	assert_null(name);
	assert_int_equal(cow_uri_object("nonsense", &name), -COW_EINVAL);
	assert_int_equal(cow_uri_object(NULL, &name), -COW_EINVAL);
}

static void test_uri_environment(void **state)
{
	char *path;

	(void)state;
	assert_int_equal(setenv("COW_URI", "cow://h", 1), 0);
	assert_string_equal(uri_from_environment(), "cow://h");
	assert_int_equal(setenv("COW_URI", "", 1), 0);
	assert_null(uri_from_environment());
	/* a directory without a socket in it */
	assert_int_equal(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1), 0);
	path = uri_local_socket();
	assert_string_equal(path, "/run/cowd/cowd.sock");
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uri_tcp),	     cmocka_unit_test(test_uri_unix),
	    cmocka_unit_test(test_uri_escapes),	     cmocka_unit_test(test_uri_refused),
	    cmocka_unit_test(test_uri_tls),	     cmocka_unit_test(test_uri_tls_refused),
	    cmocka_unit_test(test_uri_certificates), cmocka_unit_test(test_uri_object_of_cow_h),
	    cmocka_unit_test(test_uri_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
