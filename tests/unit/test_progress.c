/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/progress.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/err.h"

static void test_progress_percent(void **state)
{
	(void)state;
	assert_int_equal(progress_percent(0, 0), 100);
	assert_int_equal(progress_percent(0, 1), 0);
	assert_int_equal(progress_percent(1, 1), 100);
	assert_int_equal(progress_percent(2, 1), 100);
	assert_int_equal(progress_percent(99, 100), 99);
	assert_int_equal(progress_percent(999, 1000), 99);
	assert_int_equal(progress_percent(1, 3), 33);
	assert_int_equal(progress_percent(UINT64_MAX - 1, UINT64_MAX), 99);
	assert_int_equal(progress_percent(UINT64_MAX / 2, UINT64_MAX), 49);
}

static void test_progress_line(void **state)
{
	char buf[PROGRESS_LINE_MAX];

	(void)state;
	progress_line(buf, NULL, 0, 2048, 0);
	assert_string_equal(buf, "[>                       ]   0 %  0 B of 2 KiB  0 B/s");
	progress_line(buf, NULL, 1024, 2048, 1000000000);
	assert_string_equal(buf, "[============>           ]  50 %  1 KiB of 2 KiB  1 KiB/s");
	progress_line(buf, NULL, 2048, 2048, 500000000);
	assert_string_equal(buf, "[========================] 100 %  2 KiB of 2 KiB  4 KiB/s");
	progress_line(buf, NULL, 2048, PROGRESS_UNKNOWN, 2000000000);
	assert_string_equal(buf, "2 KiB  1 KiB/s");
	progress_line(buf, "clones", 1024, 4096, 500000000);
	assert_string_equal(buf, "[======>                 ]  25 %  1024 of 4096 clones  2048/s");
	progress_line(buf, "clones", 7, PROGRESS_UNKNOWN, 1000000000);
	assert_string_equal(buf, "7 clones  7/s");
	/* the widest */
	progress_line(buf, NULL, UINT64_MAX - 2, UINT64_MAX - 1, 1);
	assert_non_null(strstr(buf, "99 %"));
	progress_line(buf, "clones", UINT64_MAX - 2, UINT64_MAX - 1, 1);
	assert_non_null(strstr(buf, "18446744073709551614 clones"));
}

static void test_progress_fd(void **state)
{
	static const char *const bad[] = {"", "x", "1x", "-1", "99999999999", "1000000", " "};
	int fd = -1;
	int fds[2];
	char text[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(progress_parse_fd(bad[i], &fd), -ERR_INVAL);
	assert_int_equal(fd, -1);
	assert_int_equal(pipe(fds), 0);
	(void)snprintf(text, sizeof(text), "%d", fds[1]);
	assert_int_equal(progress_parse_fd(text, &fd), 0);
	assert_int_equal(fd, fds[1]);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(progress_parse_fd(text, &fd), -ERR_INVAL);
}

/* Runs a copy of four updates, and returns what a program would have read. */
static void run_lines(uint64_t total, bool success, char *out, size_t len)
{
	struct progress p;
	int fds[2];
	ssize_t n;

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	progress_start(&p, PROGRESS_LINES, fds[1], NULL, total, 0);
	progress_update(&p, 10, 1);
	progress_update(&p, 10, 2);
	progress_update(&p, 555, 3);
	progress_update(&p, 1000, 4);
	progress_end(&p, success);
	n = read(fds[0], out, len - 1);
	assert_true(n >= 0);
	out[n] = '\0';
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void test_progress_lines(void **state)
{
	char out[200];

	(void)state;
	run_lines(1000, true, out, sizeof(out));
	assert_string_equal(out, "0/100\n1/100\n55/100\n99/100\n100/100\n");
	/* a failed command never says 100 */
	run_lines(1000, false, out, sizeof(out));
	assert_string_equal(out, "0/100\n1/100\n55/100\n99/100\n");
	run_lines(PROGRESS_UNKNOWN, true, out, sizeof(out));
	assert_string_equal(out, "0/100\n100/100\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_progress_percent),
	    cmocka_unit_test(test_progress_line),
	    cmocka_unit_test(test_progress_fd),
	    cmocka_unit_test(test_progress_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
