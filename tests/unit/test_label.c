/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_label.c: choosing by a label, editing labels.  What labels may be is in test_name.c.
 */
#include "common/label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"

static const char labels[] = "k=\0key=1\0key2=a=b\0z=1";

static bool match(const char *wanted)
{
	return label_match(labels, sizeof(labels), wanted);
}

static void test_a_key_matches_as_a_whole(void **state)
{
	(void)state;
	assert_true(match("k"));
	assert_true(match("key"));
	assert_true(match("key2"));
	assert_true(match("z"));
	assert_false(match("ke"));
	assert_false(match("key22"));
	assert_false(match("1"));
}

static void test_a_value_matches_as_a_whole(void **state)
{
	(void)state;
	assert_true(match("k="));
	assert_true(match("key=1"));
	assert_true(match("key2=a=b"));
	assert_false(match("key="));
	assert_false(match("key2=a"));
	assert_false(match("key2=a=b="));
	assert_false(match("k=1"));
}

static void test_no_labels_match_nothing(void **state)
{
	(void)state;
	assert_false(label_match(NULL, 0, "k"));
	assert_false(label_match(labels, 3, "key"));
}

/* ---- editing --------------------------------------------------------------------------------- */

static void expect_edit(const char *edits, size_t edits_len, const char *want, size_t want_len)
{
	char out[LABELS_MAX_BYTES];
	size_t len = 77;

	assert_null(label_edits_problem(edits, edits_len));
	assert_int_equal(label_edit(labels, sizeof(labels), edits, edits_len, out, &len), 0);
	assert_int_equal(len, want_len);
	assert_memory_equal(out, want, len);
	assert_null(label_problem(out, len));
}

#define EXPECT_EDIT(edits, want) expect_edit(edits, sizeof(edits), want, sizeof(want))

static void test_edits_set_and_take_away(void **state)
{
	(void)state;
	expect_edit("", 0, labels, sizeof(labels));
	EXPECT_EDIT("key=2", "k=\0key=2\0key2=a=b\0z=1");
	EXPECT_EDIT("key", "k=\0key2=a=b\0z=1");
	EXPECT_EDIT("a=0", "a=0\0k=\0key=1\0key2=a=b\0z=1");
	EXPECT_EDIT("zz=9", "k=\0key=1\0key2=a=b\0z=1\0zz=9");
	EXPECT_EDIT("ke=7", "k=\0ke=7\0key=1\0key2=a=b\0z=1");
	EXPECT_EDIT("a=1\0k\0key\0key2=\0m=\0z", "a=1\0key2=\0m=");
	expect_edit("k\0key\0key2\0z", sizeof("k\0key\0key2\0z"), "", 0);
	expect_edit("a\0kez\0zz", sizeof("a\0kez\0zz"), labels, sizeof(labels));
}

static void test_edits_of_no_labels(void **state)
{
	static const char edits[] = "a=1\0b\0c=2";
	char out[LABELS_MAX_BYTES];
	size_t len;

	(void)state;
	assert_int_equal(label_edit(NULL, 0, edits, sizeof(edits), out, &len), 0);
	assert_int_equal(len, sizeof("a=1\0c=2"));
	assert_memory_equal(out, "a=1\0c=2", len);
	assert_int_equal(label_edit(NULL, 0, NULL, 0, out, &len), 0);
	assert_int_equal(len, 0);
}

/* As many as there may be, and not one byte more. */
static void test_edits_keep_to_the_limit(void **state)
{
	char full[LABELS_MAX_BYTES];
	char out[LABELS_MAX_BYTES];
	size_t len = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(full); i += 4) {
		full[i] = (char)('A' + i / 4 / 26 % 26);
		full[i + 1] = (char)('A' + i / 4 % 26);
		full[i + 2] = '=';
		full[i + 3] = '\0';
	}
	assert_null(label_problem(full, sizeof(full)));
	assert_int_equal(label_edit(full, sizeof(full), "z=", 3, out, &len), -ERR_LABELS_LONG);
	assert_int_equal(label_edit(full, sizeof(full), "AA=1", 5, out, &len), -ERR_LABELS_LONG);
	assert_int_equal(len, 77);
	assert_int_equal(label_edit(full, sizeof(full), "AA\0zz=", 7, out, &len), 0);
	assert_int_equal(len, sizeof(full));
}

#define HOLD(expected) label_hold(labels, sizeof(labels), expected, sizeof(expected))

static void test_what_is_expected(void **state)
{
	(void)state;
	assert_true(label_hold(labels, sizeof(labels), "", 0));
	assert_true(HOLD("key=1"));
	assert_true(HOLD("k=\0z=1"));
	assert_true(HOLD("a\0ke\0key=1"));
	assert_false(HOLD("key=2"));
	assert_false(HOLD("key="));
	assert_false(HOLD("key"));
	assert_false(HOLD("key=1\0z"));
	assert_false(HOLD("a="));
	assert_true(label_hold(NULL, 0, "a", 2));
	assert_false(label_hold(NULL, 0, "a=", 3));
}

static void test_edits_are_in_order(void **state)
{
	(void)state;
	assert_non_null(label_edits_problem("b\0a=1", sizeof("b\0a=1")));
	assert_non_null(label_edits_problem("a\0a=1", sizeof("a\0a=1")));
	assert_non_null(label_edits_problem("a b", sizeof("a b")));
	assert_non_null(label_edits_problem("a=\1", sizeof("a=\1")));
	assert_non_null(label_problem("a", sizeof("a"))); /* labels have values */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_key_matches_as_a_whole),
	    cmocka_unit_test(test_a_value_matches_as_a_whole),
	    cmocka_unit_test(test_no_labels_match_nothing),
	    cmocka_unit_test(test_edits_set_and_take_away),
	    cmocka_unit_test(test_edits_of_no_labels),
	    cmocka_unit_test(test_edits_keep_to_the_limit),
	    cmocka_unit_test(test_what_is_expected),
	    cmocka_unit_test(test_edits_are_in_order),
	};

	return cmocka_run_group_tests_name("label", tests, NULL, NULL);
}
