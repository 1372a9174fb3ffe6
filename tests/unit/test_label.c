/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_label.c: choosing by a label.  What labels may be is in test_name.c.
 */
#include "common/label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_key_matches_as_a_whole),
	    cmocka_unit_test(test_a_value_matches_as_a_whole),
	    cmocka_unit_test(test_no_labels_match_nothing),
	};

	return cmocka_run_group_tests_name("label", tests, NULL, NULL);
}
