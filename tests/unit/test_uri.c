/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

static void test_uri_tls_not_supported(void **state)
{
	struct uri uri;
	const char *problem = NULL;

	(void)state;
	assert_int_equal(uri_parse("cows://h/a", &uri, &problem), -ERR_NOTSUP);
	assert_non_null(problem);
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
	    cmocka_unit_test(test_uri_tcp),
	    cmocka_unit_test(test_uri_unix),
	    cmocka_unit_test(test_uri_escapes),
	    cmocka_unit_test(test_uri_refused),
	    cmocka_unit_test(test_uri_tls_not_supported),
	    cmocka_unit_test(test_uri_object_of_cow_h),
	    cmocka_unit_test(test_uri_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
