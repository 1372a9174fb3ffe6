/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What libcow's calls give to a name: labels, times to live, reserved space; against a store in memory.
 */
#include "client/cow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/names_fixture.h"

static void test_attributes_of_a_new_object(void **state)
{
	const struct cow_label labels[] = {{"b", "2"}, {"a-b", ""}, {"a", "x=y"}};
	const struct cow_attrs attrs = {.ttl_ms = 1500, .labels = labels, .nlabels = 3};
	struct cow_info info;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create_with(f.cow, "o", 5, &attrs), 0);
	assert_int_equal(cow_get_info(f.cow, "o", &info), 0);
	assert_string_equal(info.name, "o");
	assert_int_equal(info.size, 5);
	assert_int_equal(info.expires_ns - f.st->now_ns, UINT64_C(1500000000));
	assert_int_equal(info.nlabels, 3);
	assert_string_equal(info.labels[0].key, "a");
	assert_string_equal(info.labels[0].value, "x=y");
	assert_string_equal(info.labels[1].key, "a-b");
	assert_string_equal(info.labels[1].value, "");
	assert_string_equal(info.labels[2].key, "b");
	assert_string_equal(info.labels[2].value, "2");
	cow_info_clear(&info);
	assert_null(info.labels);
	fixture_stop(&f);
}

static void test_attributes_of_a_version(void **state)
{
	const struct cow_label label = {"k", "v"};
	const struct cow_attrs attrs = {.ttl_ms = 1500, .labels = &label, .nlabels = 1};
	struct cow_info info;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "o", 5), 0);
	assert_int_equal(cow_snap_with(f.cow, "o@v", &attrs), 0);
	assert_int_equal(cow_get_info(f.cow, "o@v", &info), 0);
	assert_int_equal(info.expires_ns - f.st->now_ns, UINT64_C(1500000000));
	assert_string_equal(info.labels[0].value, "v");
	cow_info_clear(&info);
	assert_int_equal(cow_snap_with(f.cow, "o@w", NULL), 0);
	assert_int_equal(cow_get_info(f.cow, "o@w", &info), 0);
	assert_int_equal(info.expires_ns, 0);
	assert_int_equal(info.nlabels, 0);
	cow_info_clear(&info);
	fixture_stop(&f);
}

static void test_reservations(void **state)
{
	const struct cow_attrs attrs = {.reserved = 8192};
	const struct cow_edit forgot = {.reserved = 1};
	struct cow_info info;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create_with(f.cow, "o", 5, &attrs), 0);
	assert_int_equal(cow_clone_with(f.cow, "o", "c", &attrs), -COW_EINVAL);
	assert_int_equal(cow_clone(f.cow, "o", "c"), 0);
	assert_int_equal(cow_set(f.cow, "o", &forgot, NULL), -COW_EINVAL);
	assert_int_equal(cow_get_info(f.cow, "o", &info), 0);
	assert_int_equal(info.reserved, 8192);
	assert_int_equal(info.withheld, 8192);
	cow_info_clear(&info);
	assert_int_equal(cow_set_reserved(f.cow, "c", 4096), 0);
	assert_int_equal(fake_store_find(f.st, "c")->info.reserved_bytes, 4096);
	assert_int_equal(cow_set_reserved(f.cow, "c", 0), 0);
	assert_int_equal(fake_store_find(f.st, "c")->info.reserved_bytes, 0);
	fixture_stop(&f);
}

static void test_attributes_of_a_clone_are_its_own(void **state)
{
	const struct cow_label label = {"k", "v"};
	const struct cow_attrs attrs = {.ttl_ms = 1, .labels = &label, .nlabels = 1};
	struct cow_info info;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create_with(f.cow, "o", 5, &attrs), 0);
	assert_int_equal(cow_clone(f.cow, "o", "plain"), 0);
	assert_int_equal(cow_clone_with(f.cow, "plain", "c", &attrs), 0);
	assert_int_equal(cow_get_info(f.cow, "plain", &info), 0);
	assert_int_equal(info.nlabels, 0);
	assert_int_equal(info.expires_ns, 0);
	assert_int_equal(info.origin, 1);
	cow_info_clear(&info);
	assert_int_equal(cow_get_info(f.cow, "c", &info), 0);
	assert_int_equal(info.nlabels, 1);
	assert_string_equal(info.labels[0].value, "v");
	assert_int_not_equal(info.expires_ns, 0);
	assert_int_equal(info.origin, 2);
	cow_info_clear(&info);
	fixture_stop(&f);
}

static void expect_bad_labels(const struct fixture *f, const struct cow_label *labels, size_t n,
			      const char *part)
{
	const struct cow_attrs attrs = {.labels = labels, .nlabels = n};

	expect_error(f, cow_create_with(f->cow, "o", 1, &attrs), COW_EINVAL, part);
	expect_error(f, cow_snap(f->cow, "o@v", labels, n), COW_EINVAL, part);
}

static void test_bad_attributes_are_not_sent(void **state)
{
	struct cow_label many[400];
	char value[300];
	char keys[26][2];
	struct cow_attrs old = {.ttl_ms = UINT64_C(3155760000001)};
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (size_t i = 0; i < 400; i++)
		many[i] = (struct cow_label){"k", "v"};
	expect_bad_labels(&f, many, 2, "have one twice");
	expect_bad_labels(&f, many, 400, "too many");
	expect_bad_labels(&f, &(struct cow_label){"k", value}, 1, "a value longer than 255");
	expect_bad_labels(&f, &(struct cow_label){"a=b", "c"}, 1, "a key with '='");
	expect_bad_labels(&f, &(struct cow_label){"", "c"}, 1, "have a key");
	expect_bad_labels(&f, &(struct cow_label){NULL, "c"}, 1, "incomplete");
	expect_bad_labels(&f, &(struct cow_label){"k", NULL}, 1, "incomplete");
	value[200] = '\0';
	for (size_t i = 0; i < 26; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "%c", 'a' + (char)i);
		many[i] = (struct cow_label){keys[i], value};
	}
	expect_bad_labels(&f, many, 6, "longer than 1024 bytes");
	expect_bad_labels(&f, many, 26, "longer than 1024 bytes");
	expect_error(&f, cow_create_with(f.cow, "o", 1, &old), COW_EINVAL, "100 years");
	expect_error(&f, cow_clone_with(f.cow, "o", "p", &old), COW_EINVAL, "100 years");
	expect_error(&f, cow_snap_with(f.cow, "o@v", &old), COW_EINVAL, "100 years");
	old.ttl_ms--;
	assert_int_equal(all_requests(&f), 0);
	assert_int_equal(cow_create_with(f.cow, "o", 1, &old), 0);
	fixture_stop(&f);
}

/* 1024 bytes are allowed: five labels of "k=", 202 or 203 bytes, and the end. */
static void test_labels_up_to_the_limit(void **state)
{
	struct cow_label labels[5];
	struct cow_info info;
	char values[5][256];
	struct fixture f;

	(void)state;
	fixture_start(&f);
	for (size_t i = 0; i < 5; i++) {
		size_t len = i < 1 ? 201 : 202;

		memset(values[i], 'v', len);
		values[i][len] = '\0';
		labels[i] =
		    (struct cow_label){(const char *[]){"a", "b", "c", "d", "e"}[i], values[i]};
	}
	assert_int_equal(cow_create(f.cow, "o", 1), 0);
	assert_int_equal(cow_snap(f.cow, "o@v", labels, 5), 0);
	assert_int_equal(cow_get_info(f.cow, "o@v", &info), 0);
	assert_int_equal(info.nlabels, 5);
	assert_string_equal(info.labels[4].value, values[4]);
	cow_info_clear(&info);
	(void)snprintf(values[0], sizeof(values[0]), "%0*d", 202, 0);
	expect_error(&f, cow_snap(f.cow, "o@w", labels, 5), COW_EINVAL, "longer than 1024 bytes");
	fixture_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_attributes_of_a_new_object),
	    cmocka_unit_test(test_attributes_of_a_version),
	    cmocka_unit_test(test_reservations),
	    cmocka_unit_test(test_attributes_of_a_clone_are_its_own),
	    cmocka_unit_test(test_bad_attributes_are_not_sent),
	    cmocka_unit_test(test_labels_up_to_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
