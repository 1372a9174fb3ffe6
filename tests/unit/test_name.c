/* SPDX-License-Identifier: BSD-2-Clause */
/* What objects and versions may be called, and what labels may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/annot.h"
#include "common/err.h"
#include "common/label.h"
#include "common/name.h"

/* ---- name ------------------------------------------------------------------------------------ */

static void test_name_good(void **state)
{
	static const char *const good[] = {
	    "a",
	    "images/debian-12.5_amd64",
	    "with blank",
	    "a.b/-c/+d/.e",
	    "gr\xc3\xb6\xc3\x9f"
	    "e",
	    "\xe2\x82\xac",	/* U+20AC */
	    "\xed\x9f\xbf",	/* U+D7FF, the last before the surrogates */
	    "\xee\x80\x80",	/* U+E000, the first after them */
	    "\xf0\x90\x80\x80", /* U+10000 */
	    "\xf4\x8f\xbf\xbf", /* U+10FFFF */
	    "\xc2\xa0",		/* U+00A0, the first after C1 */
	};
	char longest[NAME_OBJECT_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_null(name_problem(good[i]));
		assert_int_equal(name_check(good[i]), 0);
	}
	memset(longest, 'n', sizeof(longest));
	longest[NAME_OBJECT_MAX] = '\0';
	assert_int_equal(name_check(longest), 0);
	longest[NAME_OBJECT_MAX] = 'n';
	longest[NAME_OBJECT_MAX + 1] = '\0';
	assert_string_equal(name_problem(longest), "is longer than 191 bytes");
}

static void test_name_bad(void **state)
{
	static const struct {
		const char *name;
		const char *problem;
	} bad[] = {
	    {"", "is empty"},
	    {"-a", "begins with '-', '+', '.' or '/'"},
	    {"+a", "begins with '-', '+', '.' or '/'"},
	    {".a", "begins with '-', '+', '.' or '/'"},
	    {"/a", "begins with '-', '+', '.' or '/'"},
	    {"a/", "ends in '/'"},
	    {"a//b", "has \"//\" in it"},
	    {"a@b", "has '@', '%' or '?' in it"},
	    {"a%b", "has '@', '%' or '?' in it"},
	    {"a?b", "has '@', '%' or '?' in it"},
	    {"a\nb", "has a control character in it"},
	    {"a\x1f", "has a control character in it"},
	    {"a\x7f", "has a control character in it"},
	    {"a\xc2\x80", "has a control character in it"}, /* U+0080 */
	    {"a\xc2\x9f", "has a control character in it"}, /* U+009F */
	    {"a\x80", "is not valid UTF-8"},		    /* no start */
	    {"a\xc3", "is not valid UTF-8"},		    /* cut */
	    {"a\xc3z", "is not valid UTF-8"},
	    {"a\xe2\x82", "is not valid UTF-8"},
	    {"a\xf0\x90\x80", "is not valid UTF-8"},
	    {"a\xc0\xaf", "is not valid UTF-8"},     /* overlong '/' */
	    {"a\xc1\xbf", "is not valid UTF-8"},     /* overlong */
	    {"a\xe0\x9f\xbf", "is not valid UTF-8"}, /* overlong */
	    {"a\xf0\x8f\xbf\xbf", "is not valid UTF-8"},
	    {"a\xed\xa0\x80", "is not valid UTF-8"},	 /* U+D800 */
	    {"a\xed\xbf\xbf", "is not valid UTF-8"},	 /* U+DFFF */
	    {"a\xf4\x90\x80\x80", "is not valid UTF-8"}, /* U+110000 */
	    {"a\xf5\x80\x80\x80", "is not valid UTF-8"},
	    {"a\xff", "is not valid UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *problem = name_problem(bad[i].name);

		assert_non_null(problem);
		assert_string_equal(problem, bad[i].problem);
		assert_int_equal(name_check(bad[i].name), -ERR_BAD_NAME);
	}
}

static void test_name_split(void **state)
{
	char object[NAME_OBJECT_MAX + 1];
	char version[NAME_VERSION_MAX + 1];
	char longest[NAME_MAX_BYTES + 2];

	(void)state;
	assert_int_equal(name_split("a/b", object, version), 0);
	assert_string_equal(object, "a/b");
	assert_string_equal(version, "");
	assert_int_equal(name_split("a/b@v 1.\xc3\xa9", object, version), 0);
	assert_string_equal(object, "a/b");
	assert_string_equal(version, "v 1.\xc3\xa9");
	memset(longest, 'n', sizeof(longest));
	longest[NAME_OBJECT_MAX] = '@';
	longest[NAME_MAX_BYTES] = '\0';
	assert_int_equal(name_split(longest, object, version), 0);
	assert_int_equal(strlen(object), NAME_OBJECT_MAX);
	assert_int_equal(strlen(version), NAME_VERSION_MAX);
	longest[NAME_MAX_BYTES] = 'n';
	longest[NAME_MAX_BYTES + 1] = '\0';
	assert_int_equal(name_split(longest, object, version), -ERR_BAD_NAME);
	assert_string_equal(name_spec_problem(longest), "has a version longer than 63 bytes");
	assert_int_equal(strlen(version), NAME_VERSION_MAX);
	assert_int_equal(name_check_version("2024-01-31"), 0);
	assert_int_equal(name_check_version(""), -ERR_BAD_NAME);
	assert_int_equal(name_check_version("a/b"), -ERR_BAD_NAME);
}

static void test_name_bad_spec(void **state)
{
	static const struct {
		const char *spec;
		const char *problem;
	} bad[] = {
	    {"", "is empty"},
	    {"@v", "is empty"},
	    {"a/@v", "ends in '/'"},
	    {"-a@v", "begins with '-', '+', '.' or '/'"},
	    {"a\xc3@v", "is not valid UTF-8"},
	    {"a@", "has an empty version"},
	    {"a@-v", "has a version that begins with '-', '+' or '.'"},
	    {"a@.v", "has a version that begins with '-', '+' or '.'"},
	    {"a@/v", "has a version with '/' in it"},
	    {"a@v/", "has a version with '/' in it"},
	    {"a@v@w", "has a version with '@', '%' or '?' in it"},
	    {"a@v%", "has a version with '@', '%' or '?' in it"},
	    {"a@v\n", "has a version with a control character in it"},
	    {"a@v\xff", "has a version that is not valid UTF-8"},
	};
	char object[NAME_OBJECT_MAX + 1];
	char version[NAME_VERSION_MAX + 1];

	(void)state;
	assert_null(name_spec_problem("a"));
	assert_null(name_spec_problem("a@v"));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_non_null(name_spec_problem(bad[i].spec));
		assert_string_equal(name_spec_problem(bad[i].spec), bad[i].problem);
		assert_int_equal(name_split(bad[i].spec, object, version), -ERR_BAD_NAME);
	}
}

/* ---- labels ---------------------------------------------------------------------------------- */

/* The labels of a string literal, its own terminator being the last one's. */
#define LABELS(s) s, sizeof(s)

static void test_labels(void **state)
{
	static const struct {
		const char *labels;
		size_t len;
		const char *problem;
	} sets[] = {
	    {NULL, 0, NULL},
	    {LABELS("a="), NULL},
	    {LABELS("a=b=c\0a.b=\xc3\xa9\0b/C-9_=x y"), NULL},
	    {LABELS(""), "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -"},
	    {LABELS("a"), "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -"},
	    {LABELS("=b"), "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -"},
	    {LABELS("a b=c"), "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -"},
	    {LABELS("a=1\0"), "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -"},
	    {"a=1", 3, "have no end"},
	    {LABELS("b=1\0a=1"), "are not in the order of their keys, or have one twice"},
	    {LABELS("a=1\0a=2"), "are not in the order of their keys, or have one twice"},
	    {LABELS("a.b=1\0a=2"), "are not in the order of their keys, or have one twice"},
	    {LABELS("a=\xff"), "have a value that is not valid UTF-8"},
	    {LABELS("a=\n"), "have a value with a control character in it"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		const char *problem = label_problem(sets[i].labels, sets[i].len);

		assert_int_equal(label_check(sets[i].labels, sets[i].len),
				 sets[i].problem ? -ERR_INVAL : 0);
		assert_int_equal(problem != NULL, sets[i].problem != NULL);
		if (problem)
			assert_string_equal(problem, sets[i].problem);
	}
}

static void test_labels_have_limits(void **state)
{
	char labels[LABELS_MAX_BYTES + 1];

	(void)state;
	memset(labels, 'k', sizeof(labels));
	labels[LABEL_KEY_MAX] = '=';
	labels[LABEL_KEY_MAX + 1 + LABEL_VALUE_MAX] = '\0';
	assert_null(label_problem(labels, LABEL_KEY_MAX + LABEL_VALUE_MAX + 2));
	labels[LABEL_KEY_MAX + 1 + LABEL_VALUE_MAX] = 'v';
	labels[LABEL_KEY_MAX + 2 + LABEL_VALUE_MAX] = '\0';
	assert_string_equal(label_problem(labels, LABEL_KEY_MAX + LABEL_VALUE_MAX + 3),
			    "have a value longer than 255 bytes");
	labels[LABEL_KEY_MAX] = 'k';
	labels[LABEL_KEY_MAX + 1] = '=';
	labels[LABEL_KEY_MAX + 2] = '\0';
	assert_int_equal(label_check(labels, LABEL_KEY_MAX + 3), -ERR_INVAL);
	/* 256 labels of 4 bytes are the most that fit */
	for (size_t i = 0; i < LABELS_MAX_BYTES; i += 4) {
		labels[i] = (char)('A' + i / 4 / 16);
		labels[i + 1] = (char)('A' + i / 4 % 16);
		labels[i + 2] = '=';
		labels[i + 3] = '\0';
	}
	labels[LABELS_MAX_BYTES] = '\0';
	assert_null(label_problem(labels, LABELS_MAX_BYTES));
	assert_string_equal(label_problem(labels, sizeof(labels)),
			    "are longer than 1024 bytes in all");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_name_good),  cmocka_unit_test(test_name_bad),
	    cmocka_unit_test(test_name_split), cmocka_unit_test(test_name_bad_spec),
	    cmocka_unit_test(test_labels),     cmocka_unit_test(test_labels_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
