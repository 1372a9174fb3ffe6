/* SPDX-License-Identifier: BSD-2-Clause */
/* What libcow leaves behind when a call fails: the messages of a thread, and results. */
#include "client/cow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/annot.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

/* The linker puts it in the place of calloc(): see local.mk. */
void *__wrap_calloc(size_t n, size_t size);
void *__real_calloc(size_t n, size_t size);

static _Thread_local bool no_memory;

void *__wrap_calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __real_calloc(n, size);
}

static void fail_once(cow_t *cow)
{
	assert_int_equal(cow_set_timeout(cow, 0), -COW_EINVAL);
}

static void new_handles(cow_t **handles, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		handles[i] = cow_new();
		assert_non_null(handles[i]);
	}
}

static void free_handles(cow_t **handles, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cow_free(handles[i]);
}

static void test_errors_are_kept_of_the_four_handles_used_last(void **state)
{
	cow_t *handles[5];

	(void)state;
	new_handles(handles, ARRAY_LEN(handles));
	for (size_t i = 0; i < 4; i++)
		fail_once(handles[i]);
	fail_once(handles[0]);
	fail_once(handles[4]);
	assert_string_equal(cow_error(handles[1]), ""); /* the one that makes room */
	assert_string_not_equal(cow_error(handles[0]), "");
	for (size_t i = 2; i < 5; i++)
		assert_string_not_equal(cow_error(handles[i]), "");
	free_handles(handles, ARRAY_LEN(handles));
}

static void test_errors_stay_when_the_handle_is_used_with_success(void **state)
{
	struct fake_store *st = fake_store_new();
	struct fake_server server;
	cow_t *handles[5];

	(void)state;
	fake_server_start(&server, false, fake_ops_serve, st);
	new_handles(handles, ARRAY_LEN(handles));
	assert_int_equal(cow_connect(handles[0], server.uri), 0);
	for (size_t i = 0; i < 4; i++)
		fail_once(handles[i]);
	assert_int_equal(cow_ping(handles[0]), 0);
	fail_once(handles[4]);
	assert_string_equal(cow_error(handles[1]), "");
	assert_string_not_equal(cow_error(handles[0]), "");
	free_handles(handles, ARRAY_LEN(handles));
	fake_server_stop(&server);
	fake_store_free(st);
}

static void test_errors_leave_no_result_of_a_clone_unset(void **state)
{
	const char *const names[] = {"a", "b", "c"};
	int results[ARRAY_LEN(names)] = {77, 77, 77};
	cow_t *cow = cow_new();
	int err;

	(void)state;
	assert_non_null(cow);
	no_memory = true;
	err = cow_clone_many(cow, "o", names, ARRAY_LEN(names), NULL, results);
	no_memory = false;
	assert_int_equal(err, -COW_ENOMEM);
	assert_string_equal(cow_error(cow), "out of memory");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(results[i], COW_CLONE_NOT_TRIED);
	cow_free(cow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_errors_are_kept_of_the_four_handles_used_last),
	    cmocka_unit_test(test_errors_stay_when_the_handle_is_used_with_success),
	    cmocka_unit_test(test_errors_leave_no_result_of_a_clone_unset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
