/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_common.c: the small modules of common/: errors, log lines, sizes, names, checksum, cursor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "common/size.h"

/* ---- err ------------------------------------------------------------------------------------- */

static const int all_errs[] = {
#define X(name, num, text) ERR_##name,
    ERR_CLASSES(X)
#undef X
#define X(name, class, text) ERR_##name,
	ERR_SPECIFIC(X)
#undef X
};

static void test_err_table_is_unique(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all_errs); i++) {
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(all_errs[i], all_errs[j]);
			assert_string_not_equal(err_name(all_errs[i]), err_name(all_errs[j]));
			assert_string_not_equal(err_text(all_errs[i]), err_text(all_errs[j]));
		}
	}
}

static void test_err_classes_are_closed(void **state)
{
	(void)state;
	assert_int_equal(err_class(0), 0);
	for (size_t i = 0; i < ARRAY_LEN(all_errs); i++) {
		enum err class = err_class(all_errs[i]);

		assert_int_equal(err_class(-all_errs[i]), class);
		assert_in_range(class, 1, 19);
		assert_int_equal(err_class((int)class), class);
		if (all_errs[i] < ERR_CLASS_BASE)
			assert_int_equal(class, all_errs[i]);
	}
	assert_int_equal(err_class(ERR_END), ERR_IO);
	assert_int_equal(err_class(99), ERR_IO);
}

/* The numbers that peers and programs have been told; they may not move. */
static void test_err_class_numbers_are_stable(void **state)
{
	static const char *const names[] = {
	    "OK",   "INVAL",	"NOENT",  "EXIST",   "BUSY",	 "PERM",      "NOSPC",
	    "IO",   "CORRUPT",	"NOMEM",  "PROTO",   "NOTSUP",	 "LIMIT",     "TIMEOUT",
	    "CONN", "SHUTDOWN", "FORMAT", "CHANGED", "CANCELED", "RESTARTED",
	};

	(void)state;
	for (int i = 0; i < (int)ARRAY_LEN(names); i++)
		assert_string_equal(err_name(i), names[i]);
	assert_string_equal(err_name(20), "UNKNOWN");
	assert_string_equal(err_text(-20), "unknown error");
}

static void test_err_classes_of_frames(void **state)
{
	(void)state;
	assert_int_equal(err_class(-ERR_FRAME_MAGIC), ERR_PROTO);
	assert_int_equal(err_class(-ERR_FRAME_CRC), ERR_PROTO);
	assert_int_equal(err_class(-ERR_FRAME_LEN), ERR_PROTO);
	assert_int_equal(err_class(-ERR_FRAME_ID), ERR_PROTO);
	assert_int_equal(err_class(-ERR_FRAME_STATE), ERR_PROTO);
	assert_int_equal(err_class(-ERR_FRAME_OP), ERR_NOTSUP);
	assert_int_equal(err_class(-ERR_FRAME_BODY), ERR_INVAL);
	assert_int_equal(err_class(-ERR_VERSION), ERR_NOTSUP);
}

static void test_err_from_errno(void **state)
{
	(void)state;
	assert_int_equal(err_from_errno(0), 0);
	assert_int_equal(err_from_errno(ENOENT), -ERR_NOENT);
	assert_int_equal(err_from_errno(EDQUOT), -ERR_NOSPC);
	assert_int_equal(err_from_errno(EROFS), -ERR_PERM);
	assert_int_equal(err_from_errno(EPIPE), -ERR_CONN);
	assert_int_equal(err_from_errno(EIO), -ERR_IO);
	assert_int_equal(err_from_errno(EXDEV), -ERR_IO);
}

/* ---- log ------------------------------------------------------------------------------------- */

struct capture {
	FILE *file;
	int saved_stderr;
};

static void capture_begin(struct capture *cap)
{
	cap->file = tmpfile();
	assert_non_null(cap->file);
	cap->saved_stderr = dup(STDERR_FILENO);
	assert_true(cap->saved_stderr >= 0);
	assert_true(dup2(fileno(cap->file), STDERR_FILENO) >= 0);
}

/* Puts stderr back and returns what was written to it, to be freed. */
static char *capture_end(struct capture *cap)
{
	off_t len = lseek(fileno(cap->file), 0, SEEK_END);
	char *text = calloc(1, (size_t)len + 1);

	assert_true(dup2(cap->saved_stderr, STDERR_FILENO) >= 0);
	assert_int_equal(close(cap->saved_stderr), 0);
	assert_non_null(text);
	assert_int_equal(pread(fileno(cap->file), text, (size_t)len, 0), len);
	assert_int_equal(fclose(cap->file), 0);
	return text;
}

static void test_log_line_has_a_time(void **state)
{
	struct capture cap;
	struct tm tm = {0};
	char *text;
	const char *rest;
	time_t stamp;

	(void)state;
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	capture_begin(&cap);
	log_event(LOG_WARN, "disk-slow", "ms=%d path=%s", 12, "\"a\"");
	text = capture_end(&cap);
	assert_memory_equal(text, "time=", 5);
	rest = strptime(text + 5, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(rest);
	stamp = timegm(&tm);
	assert_in_range(time(NULL) - stamp, 0, 60);
	assert_int_equal(strspn(rest + 1, "0123456789"), 3);
	assert_int_equal(rest[0], '.');
	assert_string_equal(rest + 4, "Z level=warn event=disk-slow ms=12 path=\"a\"\n");
	free(text);
}

static void test_log_line_for_the_journal(void **state)
{
	struct capture cap;
	char *text;

	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	log_set_level(LOG_DEBUG);
	capture_begin(&cap);
	log_event(LOG_ERROR, "a", "k=%d", 1);
	log_event(LOG_WARN, "b", "%s", "");
	log_event(LOG_INFO, "c", "k=two\nlines\t.");
	log_event(LOG_DEBUG, "d", "k=1");
	log_set_level(LOG_INFO);
	log_event(LOG_DEBUG, "unseen", "k=1");
	text = capture_end(&cap);
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	assert_string_equal(text, "<3>level=error event=a k=1\n"
				  "<4>level=warn event=b \n"
				  "<6>level=info event=c k=two lines .\n"
				  "<7>level=debug event=d k=1\n");
	free(text);
}

static void test_log_line_is_cut(void **state)
{
	struct capture cap;
	char value[5000];
	char *text;
	size_t len;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	capture_begin(&cap);
	log_event(LOG_INFO, "long", "k=%s", value);
	errno = EXDEV;
	log_event(LOG_INFO, "next", "k=1");
	assert_int_equal(errno, EXDEV);
	text = capture_end(&cap);
	len = strcspn(text, "\n");
	assert_in_range(len, 2000, 2048);
	assert_int_equal(text[len - 1], 'v');
	assert_non_null(strstr(text + len, "event=next k=1\n"));
	free(text);
}

/* Lines that others can cause are bounded, and what is left out is counted. */
static void test_log_rate(void **state)
{
	struct log_rate rate = {.lines = 0};
	struct capture cap;
	unsigned int passed = 0;
	char *text;

	(void)state;
	capture_begin(&cap);
	for (int i = 0; i < 1000; i++)
		passed += log_rate_pass(&rate, "knock", 5000 + (uint64_t)i % 1000);
	assert_int_equal(passed, 20);
	assert_true(log_rate_pass(&rate, "knock", 6000));
	assert_true(log_rate_pass(&rate, "knock", 6001));
	text = capture_end(&cap);
	assert_non_null(strstr(text, "level=warn event=lines-dropped of=knock lines=980\n"));
	assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
	free(text);
}

#define LOG_THREADS 4
#define LOG_LINES   200

static void *log_many(void *arg)
{
	for (int i = 0; i < LOG_LINES; i++)
		log_event(LOG_INFO, "thread", "who=%c fill=%0500d end=1", *(char *)arg, i);
	return NULL;
}

static void test_log_lines_of_threads_do_not_mix(void **state)
{
	static char who[LOG_THREADS] = {'a', 'b', 'c', 'd'};
	pthread_t threads[LOG_THREADS];
	struct capture cap;
	size_t lines = 0;
	char *text;
	char *next;

	(void)state;
	capture_begin(&cap);
	for (int i = 0; i < LOG_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, &who[i]), 0);
	for (int i = 0; i < LOG_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	next = text = capture_end(&cap);
	for (char *line = strsep(&next, "\n"); line && *line; line = strsep(&next, "\n"), lines++) {
		assert_memory_equal(line, "time=", 5);
		assert_int_equal(strlen(line), strlen("time=2026-01-02T03:04:05.678Z ") +
						   strlen("level=info event=thread who=a fill=") +
						   500 + strlen(" end=1"));
		assert_string_equal(line + strlen(line) - 6, " end=1");
	}
	assert_int_equal(lines, LOG_THREADS * LOG_LINES);
	free(text);
}

static void test_log_parse_level(void **state)
{
	enum log_level level = LOG_INFO;

	(void)state;
	assert_int_equal(log_parse_level("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_parse_level("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_parse_level("DEBUG", &level), -ERR_INVAL);
	assert_int_equal(log_parse_level("", &level), -ERR_INVAL);
	assert_int_equal(level, LOG_DEBUG);
}

static void test_log_quote(void **state)
{
	static const struct {
		const char *text;
		const char *quoted;
	} rows[] = {
	    {"", "\"\""},
	    {"plain text", "\"plain text\""},
	    {"a\"b\\c", "\"a\\\"b\\\\c\""},
	    {"a\nb\tc\x7f", "\"a\\x0ab\\x09c\\x7f\""},
	    {"gr\xc3\xb6\xc3\x9f"
	     "e",
	     "\"gr\xc3\xb6\xc3\x9f"
	     "e\""},
	    {"\xff\xc3", "\"\\xff\\xc3\""},
	    {"\xc2\x9b", "\"\\xc2\\x9b\""}, /* a C1 control: terminals obey it */
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(log_quote(buf, sizeof(buf), rows[i].text), rows[i].quoted);
}

static void test_log_quote_is_cut_between_characters(void **state)
{
	char buf[8];

	(void)state;
	assert_string_equal(log_quote(buf, 8, "abcdefgh"), "\"abcde\"");
	assert_string_equal(log_quote(buf, 8, "abcd\n"), "\"abcd\"");
	assert_string_equal(log_quote(buf, 8, "abcd\xc3\xb6"), "\"abcd\"");
	assert_string_equal(log_quote(buf, 3, "abc"), "\"\"");
	assert_string_equal(log_quote(buf, 2, "abc"), "");
	buf[0] = 'x';
	assert_ptr_equal(log_quote(buf, 0, "abc"), buf);
	assert_int_equal(buf[0], 'x');
}

/* ---- size ------------------------------------------------------------------------------------ */

static void test_size_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
	    {"0", 0},
	    {"4096", 4096},
	    {"0064", 64},
	    {"64k", 65536},
	    {"64K", 65536},
	    {"64KiB", 65536},
	    {"64kB", 64000},
	    {"1M", 1048576},
	    {"1MiB", 1048576},
	    {"1MB", 1000000},
	    {"3G", UINT64_C(3221225472)},
	    {"3GiB", UINT64_C(3221225472)},
	    {"3GB", UINT64_C(3000000000)},
	    {"2T", UINT64_C(2199023255552)},
	    {"2TiB", UINT64_C(2199023255552)},
	    {"2TB", UINT64_C(2000000000000)},
	    {"9223372036854775807", INT64_MAX},
	    {"8388607T", UINT64_C(8388607) << 40},
	};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bytes = 1;
		assert_int_equal(size_parse(rows[i].text, &bytes), 0);
		assert_int_equal(bytes, rows[i].bytes);
	}
}

static void test_size_parse_refuses(void **state)
{
	static const char *const junk[] = {
	    "",	    " 1",  "1 ",  "-1",	 "+1",	 "k",	 "1.5G",
	    "0x10", "1e3", "1kk", "1KB", "1kiB", "1mib", "1m",
	    "1g",   "1P",  "1B",  "1 M", "1M1",	 "KiB",	 "99999999999999999999x",
	};
	static const char *const large[] = {
	    "9223372036854775808",
	    "18446744073709551615",
	    "18446744073709551616",
	    "99999999999999999999",
	    "8388608T",
	    "9007199254740992k",
	    "9223372036854775807k",
	    "92233720368547758070",
	};
	uint64_t bytes = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(junk); i++)
		assert_int_equal(size_parse(junk[i], &bytes), -ERR_INVAL);
	for (size_t i = 0; i < ARRAY_LEN(large); i++)
		assert_int_equal(size_parse(large[i], &bytes), -ERR_TOO_LARGE);
	assert_int_equal(bytes, 7);
}

static void test_size_format(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
	    {0, "0 B"},
	    {512, "512 B"},
	    {999, "999 B"},
	    {1000, "0.98 KiB"},
	    {1024, "1 KiB"},
	    {1536, "1.5 KiB"},
	    {10239, "10 KiB"},
	    {10240, "10 KiB"},
	    {102348, "99.9 KiB"},
	    {102399, "100 KiB"},
	    {999 * 1024, "999 KiB"},
	    {999 * 1024 + 512, "0.98 MiB"},
	    {1048576, "1 MiB"},
	    {UINT64_C(1610612736), "1.5 GiB"},
	    {UINT64_C(1) << 40, "1 TiB"},
	    {UINT64_C(1) << 50, "1 PiB"},
	    {UINT64_C(1) << 60, "1 EiB"},
	    {UINT64_C(1) << 60 | UINT64_C(1) << 58, "1.25 EiB"},
	    {UINT64_MAX, "16 EiB"},
	};
	char buf[SIZE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(size_format(buf, rows[i].bytes), rows[i].text);
		assert_string_equal(buf, rows[i].text);
	}
}

/* ---- crc32c ---------------------------------------------------------------------------------- */

/* RFC 3720, appendix B.4. */
static void test_crc32c_of_the_rfc(void **state)
{
	static const uint8_t read_command[48] = {
	    0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	    0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
	    0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
	    0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	uint8_t buf[32];

	(void)state;
	memset(buf, 0, sizeof(buf));
	assert_int_equal(crc32c(0, buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(crc32c(0, buf, sizeof(buf)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(buf); i++)
		buf[i] = i;
	assert_int_equal(crc32c(0, buf, sizeof(buf)), 0x46dd794e);
	for (uint8_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, buf, sizeof(buf)), 0x113fdb5c);
	assert_int_equal(crc32c(0, read_command, sizeof(read_command)), 0xd9963a56);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void test_crc32c_continues(void **state)
{
	(void)state;
	for (size_t i = 0; i <= 9; i++)
		assert_int_equal(crc32c(crc32c(0, "123456789", i), "123456789" + i, 9 - i),
				 0xe3069283);
}

/* ---- cursor ---------------------------------------------------------------------------------- */

static void test_cursor_is_little_endian(void **state)
{
	static const uint8_t want[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e, 0x0d,
				       0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x02, 0x00, 'h',  'i',  0xfe};
	uint8_t buf[sizeof(want)];
	struct cursor c = cursor_over(buf, sizeof(buf));
	char text[3];
	uint8_t byte;

	(void)state;
	cursor_put_u8(&c, 0x01);
	cursor_put_u16(&c, 0x0203);
	cursor_put_u32(&c, 0x04050607);
	cursor_put_u64(&c, UINT64_C(0x08090a0b0c0d0e0f));
	cursor_put_str(&c, "hi");
	cursor_put_bytes(&c, "\xfe", 1);
	assert_false(c.bad);
	assert_int_equal(cursor_left(&c), 0);
	assert_memory_equal(buf, want, sizeof(want));

	c = cursor_over(want, sizeof(want));
	assert_int_equal(cursor_u8(&c), 0x01);
	assert_int_equal(cursor_u16(&c), 0x0203);
	assert_int_equal(cursor_u32(&c), 0x04050607);
	assert_int_equal(cursor_u64(&c), UINT64_C(0x08090a0b0c0d0e0f));
	cursor_get_str(&c, text, sizeof(text));
	assert_string_equal(text, "hi");
	cursor_get_bytes(&c, &byte, 1);
	assert_int_equal(byte, 0xfe);
	assert_false(c.bad);
}

static void test_cursor_latches_its_first_error(void **state)
{
	uint8_t buf[4] = {1, 2, 3, 4};
	struct cursor c = cursor_over(buf, 3);
	uint8_t out[2] = {9, 9};

	(void)state;
	assert_int_equal(cursor_u32(&c), 0);
	assert_true(c.bad);
	assert_int_equal(cursor_left(&c), 0);
	/* there are bytes left, but what they mean is lost */
	assert_int_equal(cursor_u8(&c), 0);
	cursor_get_bytes(&c, out, sizeof(out));
	assert_int_equal(out[0] + out[1], 0);
	cursor_put_u8(&c, 7);
	assert_int_equal(buf[0], 1);

	c = cursor_over(buf, 3);
	cursor_put_u32(&c, 0);
	assert_true(c.bad);
	assert_int_equal(buf[0], 1);

	c = cursor_over(buf, 3);
	assert_null(cursor_take(&c, SIZE_MAX));
	assert_true(c.bad);
}

static void test_cursor_bounds_strings(void **state)
{
	static const uint8_t wire[] = {3, 0, 'a', 'b', 'c'};
	static const uint8_t with_nul[] = {3, 0, 'a', 0, 'c'};
	struct cursor c = cursor_over(wire, sizeof(wire));
	char text[4] = "xyz";
	char *huge = malloc(65537);

	(void)state;
	cursor_get_str(&c, text, 4);
	assert_false(c.bad);
	assert_string_equal(text, "abc");
	c = cursor_over(wire, sizeof(wire));
	cursor_get_str(&c, text, 3);
	assert_true(c.bad);
	assert_string_equal(text, "");
	c = cursor_over(wire, sizeof(wire) - 1);
	cursor_get_str(&c, text, 4);
	assert_true(c.bad);
	c = cursor_over(with_nul, sizeof(with_nul));
	cursor_get_str(&c, text, 4);
	assert_true(c.bad);

	assert_non_null(huge);
	memset(huge, 'h', 65536);
	huge[65536] = '\0';
	c = cursor_over(huge, 65537);
	cursor_put_str(&c, huge);
	assert_true(c.bad);
	free(huge);
}

static void test_big_endian_keys_sort_by_number(void **state)
{
	static const uint64_t numbers[] = {0,	      1, 255, 256, UINT32_MAX, UINT64_C(1) << 32,
					   UINT64_MAX};
	uint8_t a[8];
	uint8_t b[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		be64_put(a, numbers[i]);
		assert_int_equal(be64_get(a), numbers[i]);
		if (i > 0)
			assert_true(memcmp(b, a, sizeof(a)) < 0);
		memcpy(b, a, sizeof(b));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_err_table_is_unique),
	    cmocka_unit_test(test_err_classes_are_closed),
	    cmocka_unit_test(test_err_class_numbers_are_stable),
	    cmocka_unit_test(test_err_classes_of_frames),
	    cmocka_unit_test(test_err_from_errno),
	    cmocka_unit_test(test_log_line_has_a_time),
	    cmocka_unit_test(test_log_line_for_the_journal),
	    cmocka_unit_test(test_log_line_is_cut),
	    cmocka_unit_test(test_log_rate),
	    cmocka_unit_test(test_log_lines_of_threads_do_not_mix),
	    cmocka_unit_test(test_log_parse_level),
	    cmocka_unit_test(test_log_quote),
	    cmocka_unit_test(test_log_quote_is_cut_between_characters),
	    cmocka_unit_test(test_size_parse),
	    cmocka_unit_test(test_size_parse_refuses),
	    cmocka_unit_test(test_size_format),
	    cmocka_unit_test(test_crc32c_of_the_rfc),
	    cmocka_unit_test(test_crc32c_continues),
	    cmocka_unit_test(test_cursor_is_little_endian),
	    cmocka_unit_test(test_cursor_latches_its_first_error),
	    cmocka_unit_test(test_cursor_bounds_strings),
	    cmocka_unit_test(test_big_endian_keys_sort_by_number),
	};

	return cmocka_run_group_tests_name("common", tests, NULL, NULL);
}
