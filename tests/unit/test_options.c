/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_options.c: the command line of cowd: what is taken, what is refused, and in which words.
 */
#include "server/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"

static char why[512];

#define PARSE(options, ...)                                   \
	parse(options, (const char *[]){"cowd", __VA_ARGS__}, \
	      sizeof((const char *[]){"cowd", __VA_ARGS__}) / sizeof(char *))

/* getopt wants an array that it may write to, with a NULL behind. */
static int parse(struct options *o, const char *const *args, size_t n)
{
	static char copies[40][64];
	char *argv[41] = {NULL};

	assert_true(n <= 40);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(args[i]);

		assert_true(len < sizeof(copies[i]));
		memcpy(copies[i], args[i], len + 1);
		argv[i] = copies[i];
	}
	why[0] = '\0';
	return options_parse((int)n, argv, o, why, sizeof(why));
}

static void test_defaults(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store", "/s"), 0);
	assert_int_equal(o.action, OPTIONS_SERVE);
	assert_string_equal(o.store, "/s");
	assert_null(o.device);
	assert_int_equal(o.size_bytes, 0);
	assert_int_equal(o.nlisten, 0);
	assert_false(o.insecure_plaintext);
	assert_int_equal(o.cache_bytes, OPTIONS_CACHE_DEF);
	assert_false(o.cache_prealloc);
	assert_int_equal(o.workers, OPTIONS_WORKERS_DEF);
	assert_int_equal(o.log_level, LOG_INFO);
	assert_int_equal(o.ready_fd, -1);
}

static void test_everything_at_once(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store=/s", "--size", "1G", "--listen", "unix:/a",
			       "--listen=tcp:127.0.0.1:0", "--device", "/dev/x", "--cache", "64MiB",
			       "--log", "debug", "--workers", "2", "--writeback-ms", "50",
			       "--verify-rate", "64K", "--insecure-plaintext", "--ready-fd", "7",
			       "--cache-prealloc"),
			 0);
	assert_int_equal(o.action, OPTIONS_SERVE);
	assert_int_equal(o.size_bytes, 1 << 30);
	assert_int_equal(o.nlisten, 2);
	assert_string_equal(o.listen[0], "unix:/a");
	assert_string_equal(o.listen[1], "tcp:127.0.0.1:0");
	assert_string_equal(o.device, "/dev/x");
	assert_int_equal(o.cache_bytes, 64 << 20);
	assert_true(o.cache_prealloc);
	assert_int_equal(o.log_level, LOG_DEBUG);
	assert_int_equal(o.workers, 2);
	assert_int_equal(o.writeback_ms, 50);
	assert_int_equal(o.verify_rate, 65536);
	assert_true(o.insecure_plaintext);
	assert_int_equal(o.ready_fd, 7);
}

static void test_version_and_help_need_nothing_else(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--version"), 0);
	assert_int_equal(o.action, OPTIONS_VERSION);
	assert_int_equal(PARSE(&o, "--help", "--nonsense"), 0);
	assert_int_equal(o.action, OPTIONS_HELP);
	assert_non_null(strstr(options_help(), "--insecure-plaintext"));
}

static void test_slips_of_the_fingers(void **state)
{
	static const struct {
		const char *typed;
		const char *why;
	} cases[] = {
	    {"--stroe", "did you mean --store?"},
	    {"--lisen=unix:/a", "did you mean --listen?"},
	    {"--chekc", "did you mean --check?"},
	    {"--repare", "did you mean --repair?"},
	    {"--frobnicate", "unknown option '--frobnicate': see cowd --help"},
	    {"-x", "unknown option '-x'"},
	    {"-xy", "unknown option '-x'"},
	    {"--init=yes", "--init"},
	    {"extra", "'extra' is not an option"},
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(PARSE(&o, "--store", "/s", cases[i].typed), -ERR_INVAL);
		assert_non_null(strstr(why, cases[i].why));
	}
}

static void test_a_device_may_be_mapped(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store=/s", "--device", "/dev/x"), 0);
	assert_false(o.mapped);
	assert_int_equal(PARSE(&o, "--store=/s", "--device", "dax:/pmem/x"), 0);
	assert_true(o.mapped);
	assert_string_equal(o.device, "/pmem/x");
	assert_int_equal(PARSE(&o, "--store=/s", "--device", "./dax:x"), 0);
	assert_false(o.mapped);
	assert_string_equal(o.device, "./dax:x");
}

static void test_bad_values_are_named(void **state)
{
	static const struct {
		const char *option;
		const char *value;
	} cases[] = {
	    {"--size", "ten"},		{"--size", "0"},	   {"--size", "4096"},
	    {"--size", "-1"},		{"--cache", "1M"},	   {"--cache", "64Q"},
	    {"--workers", "0"},		{"--workers", "65"},	   {"--workers", "2x"},
	    {"--workers", "-1"},	{"--writeback-ms", ""},	   {"--writeback-ms", "600001"},
	    {"--verify-rate", "65535"}, {"--verify-rate", "fast"}, {"--ready-fd", "-1"},
	    {"--log", "loud"},		{"--listen", "foo:1"},	   {"--device", "dax:"},
	    {"--device", ""},		{"--allow-user", ""},	   {"--listen", "tls"},
	    {"--tls-psk", ""},		{"--tls-allow", ""},	   {"--tls-certificates", ""},
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(PARSE(&o, "--store", "/s", cases[i].option, cases[i].value),
				 -ERR_INVAL);
		assert_non_null(strstr(why, cases[i].option));
		assert_non_null(strstr(why, cases[i].value));
	}
}

static void test_what_is_missing_or_contradicts(void **state)
{
	struct options o = {.workers = 77};

	(void)state;
	assert_int_equal(PARSE(&o, "--size", "1G"), -ERR_INVAL);
	assert_non_null(strstr(why, "--store"));
	assert_int_equal(PARSE(&o, "--store", ""), -ERR_INVAL);
	assert_int_equal(PARSE(&o, "--store"), -ERR_INVAL);
	assert_non_null(strstr(why, "--store needs a value"));
	assert_int_equal(PARSE(&o, "--store", "/s", "--init", "--check"), -ERR_INVAL);
	assert_int_equal(PARSE(&o, "--store", "/s", "--check", "--size", "1G"), -ERR_INVAL);
	assert_int_equal(o.workers, 77); /* written on success only */
}

/* What would have no effect is refused, also where it is what is done without it. */
static void test_init_and_check_take_nothing_about_serving(void **state)
{
	static const char *const options[] = {
	    "--listen=unix:/a",	     "--cache=256M",	    "--workers=4",
	    "--ready-fd=7",	     "--writeback-ms=1000", "--verify-rate=1M",
	    "--insecure-plaintext",  "--allow-user=0",	    "--tls-psk=/p",
	    "--tls-certificates=/c", "--tls-allow=a"};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		char want[64];

		(void)snprintf(want, sizeof(want),
			       "--check takes no %.*s:", (int)strcspn(options[i], "="), options[i]);
		assert_int_equal(PARSE(&o, "--store", "/s", "--check", options[i]), -ERR_INVAL);
		assert_memory_equal(why, want, strlen(want));
		assert_int_equal(PARSE(&o, "--store", "/s", options[i], "--init"), -ERR_INVAL);
		assert_memory_equal(why, "--init takes no --", strlen("--init takes no --"));
	}
	assert_int_equal(
	    PARSE(&o, "--store", "/s", "--init", "--size", "1G", "--device", "/d", "--log", "warn"),
	    0);
	assert_int_equal(o.action, OPTIONS_INIT);
	assert_int_equal(PARSE(&o, "--store", "/s", "--check", "--device", "/d", "--log", "warn"),
			 0);
	assert_int_equal(o.action, OPTIONS_CHECK);
	assert_false(o.repair);
}

static void test_repair_goes_with_check(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store", "/s", "--repair", "--check"), 0);
	assert_int_equal(o.action, OPTIONS_CHECK);
	assert_true(o.repair);
	assert_int_equal(PARSE(&o, "--store", "/s", "--repair"), -ERR_INVAL);
	assert_string_equal(why, "--repair goes with --check");
	assert_int_equal(PARSE(&o, "--store", "/s", "--init", "--repair"), -ERR_INVAL);
	assert_string_equal(why, "--repair goes with --check");
}

static void test_listen_has_a_limit(void **state)
{
	const char *args[3 + 2 * (OPTIONS_LISTEN_MAX + 1)] = {"cowd", "--store", "/s"};
	struct options o;

	(void)state;
	for (size_t i = 3; i < sizeof(args) / sizeof(args[0]); i += 2) {
		args[i] = "--listen";
		args[i + 1] = "unix:/a";
	}
	assert_int_equal(parse(&o, args, sizeof(args) / sizeof(args[0]) - 2), 0);
	assert_int_equal(o.nlisten, OPTIONS_LISTEN_MAX);
	assert_int_equal(parse(&o, args, sizeof(args) / sizeof(args[0])), -ERR_INVAL);
	assert_non_null(strstr(why, "16 times"));
}

static void test_users_are_about_unix_sockets(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store=/s", "--allow-user=nobody", "--allow-user", "7"), 0);
	assert_int_equal(o.nallow_user, 2);
	assert_string_equal(o.allow_user[0], "nobody");
	assert_string_equal(o.allow_user[1], "7");
	assert_int_equal(PARSE(&o, "--store=/s", "--listen=tcp:h:1", "--allow-user=7"), -ERR_INVAL);
	assert_string_equal(why, "--allow-user is about unix sockets, and none is served");
	assert_int_equal(
	    PARSE(&o, "--store=/s", "--listen=tcp:h:1", "--allow-user=7", "--listen=unix:/a"), 0);
}

static void test_tls_needs_credentials_and_they_need_a_use(void **state)
{
	static const struct {
		const char *args[2];
		const char *why;
	} cases[] = {
	    {{"--listen=tls:h:1"}, "--listen tls: needs --tls-certificates or --tls-psk"},
	    {{"--tls-allow=a"}, "--tls-allow needs --tls-certificates or --tls-psk"},
	    {{"--tls-psk=/p"}, "nothing uses"},
	    {{"--tls-certificates=/c", "--listen=tcp:h:1"}, "nothing uses"},
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *args[4] = {"cowd", "--store=/s", cases[i].args[0], cases[i].args[1]};

		assert_int_equal(parse(&o, args, args[3] ? 4 : 3), -ERR_INVAL);
		assert_memory_equal(why, cases[i].why, strlen(cases[i].why));
	}
	assert_int_equal(PARSE(&o, "--store=/s", "--listen=tls:[::1]:7118", "--tls-certificates=/c",
			       "--tls-psk", "/p", "--tls-allow=one", "--tls-allow", "two"),
			 0);
	assert_string_equal(o.tls_certificates, "/c");
	assert_string_equal(o.tls_psk, "/p");
	assert_int_equal(o.ntls_allow, 2);
	assert_string_equal(o.tls_allow[1], "two");
}

static void test_nbd_has_tls_where_there_are_credentials(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--nbd=tcp:[::1]"), 0);
	assert_int_equal(o.nnbd, 2);
	assert_string_equal(o.nbd[1], "tcp:[::1]");
	assert_int_equal(o.nbd_tls, OPTIONS_NBD_TLS_OFF);
	assert_false(o.nbd_clones);
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--tls-psk=/p", "--nbd-clones"),
			 0);
	assert_int_equal(o.nbd_tls, OPTIONS_NBD_TLS_ON);
	assert_true(o.nbd_clones);
	assert_int_equal(
	    PARSE(&o, "--store=/s", "--nbd=unix:/n", "--tls-psk=/p", "--nbd-tls=require"), 0);
	assert_int_equal(o.nbd_tls, OPTIONS_NBD_TLS_REQUIRE);
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--nbd-tls=off", "--tls-psk=/p",
			       "--listen=tls:h:1"),
			 0);
	assert_int_equal(o.nbd_tls, OPTIONS_NBD_TLS_OFF);
}

static void test_nbd_that_does_not_fit_together(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=tls:h:1"), -ERR_INVAL);
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=udp:h"), -ERR_INVAL);
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--nbd-tls=maybe"), -ERR_INVAL);
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd-tls=off"), -ERR_INVAL);
	assert_non_null(strstr(why, "--nbd-tls needs --nbd"));
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd-clones"), -ERR_INVAL);
	assert_non_null(strstr(why, "--nbd-clones needs --nbd"));
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--nbd-tls=on"), -ERR_INVAL);
	assert_non_null(strstr(why, "--nbd-tls on and require need"));
	assert_int_equal(PARSE(&o, "--store=/s", "--nbd=unix:/n", "--nbd-tls=off", "--tls-psk=/p"),
			 -ERR_INVAL);
	assert_non_null(strstr(why, "nothing uses"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_everything_at_once),
	    cmocka_unit_test(test_version_and_help_need_nothing_else),
	    cmocka_unit_test(test_slips_of_the_fingers),
	    cmocka_unit_test(test_a_device_may_be_mapped),
	    cmocka_unit_test(test_bad_values_are_named),
	    cmocka_unit_test(test_what_is_missing_or_contradicts),
	    cmocka_unit_test(test_init_and_check_take_nothing_about_serving),
	    cmocka_unit_test(test_repair_goes_with_check),
	    cmocka_unit_test(test_listen_has_a_limit),
	    cmocka_unit_test(test_users_are_about_unix_sockets),
	    cmocka_unit_test(test_tls_needs_credentials_and_they_need_a_use),
	    cmocka_unit_test(test_nbd_has_tls_where_there_are_credentials),
	    cmocka_unit_test(test_nbd_that_does_not_fit_together),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
