/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_set.c: attributes by libcow, against a real daemon: what many clients do at once counts, what
 * cannot be is refused with its code, and all of it is there after a kill.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"

#define CLIENTS 8
#define ROUNDS	25

struct fixture {
	struct daemon d;
	cow_t *cow;
};

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	daemon_init(&fx->d, NULL);
	daemon_start(&fx->d);
	fx->cow = daemon_connect(&fx->d, DAEMON_UNIX);
	assert_int_equal(cow_create(fx->cow, "a", 1 << 20), 0);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	cow_free(fx->cow);
	daemon_stop(&fx->d);
	daemon_check(&fx->d);
	daemon_fini(&fx->d);
	free(fx);
	return 0;
}

static void killed_and_started(struct fixture *fx)
{
	cow_free(fx->cow);
	daemon_kill(&fx->d);
	daemon_start(&fx->d);
	fx->cow = daemon_connect(&fx->d, DAEMON_TCP);
}

/* The labels, "key=value" each with a blank behind it. */
static void expect_labels(struct fixture *fx, const char *spec, const char *want)
{
	struct cow_info info;
	char got[1024] = "";
	size_t n = 0;

	assert_int_equal(cow_get_info(fx->cow, spec, &info), 0);
	for (size_t i = 0; i < info.nlabels; i++)
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s=%s ", info.labels[i].key,
				      info.labels[i].value);
	cow_info_clear(&info);
	assert_string_equal(got, want);
}

/* ---- one client ------------------------------------------------------------------------------ */

static void test_attributes_are_set_one_by_one(void **state)
{
	struct fixture *fx = *state;
	struct cow_info info;

	assert_int_equal(cow_set_label(fx->cow, "a", "os", "debian"), 0);
	assert_int_equal(cow_set_label(fx->cow, "a", "env", ""), 0);
	assert_int_equal(cow_set_label(fx->cow, "a", "os", "b=c"), 0);
	expect_labels(fx, "a", "env= os=b=c ");
	assert_int_equal(cow_unset_label(fx->cow, "a", "env"), 0);
	assert_int_equal(cow_unset_label(fx->cow, "a", "none"), 0);
	assert_int_equal(cow_set_ttl(fx->cow, "a", 3600000), 0);
	assert_int_equal(cow_set_readonly(fx->cow, "a", 1), 0);
	killed_and_started(fx);
	expect_labels(fx, "a", "os=b=c ");
	assert_int_equal(cow_get_info(fx->cow, "a", &info), 0);
	assert_true(info.expires_ns > info.ctime_ns);
	assert_int_equal(info.readonly, 1);
	cow_info_clear(&info);
	assert_int_equal(cow_set_ttl(fx->cow, "a", 0), 0);
	assert_int_equal(cow_set_readonly(fx->cow, "a", 0), 0);
	killed_and_started(fx);
	assert_int_equal(cow_get_info(fx->cow, "a", &info), 0);
	assert_int_equal(info.expires_ns, 0);
	assert_int_equal(info.readonly, 0);
	cow_info_clear(&info);
}

static void test_a_change_of_many_is_one(void **state)
{
	struct fixture *fx = *state;
	const struct cow_label labels[] = {{"z", "1"}, {"b", NULL}, {"a", "2"}};
	const struct cow_label expect[] = {{"lock", NULL}, {"b", "0"}};
	struct cow_edit edit = {
	    .flags = COW_SET_TTL | COW_SET_READONLY,
	    .ttl_ms = 60000,
	    .labels = labels,
	    .nlabels = 3,
	    .expect = expect,
	    .nexpect = 2,
	};
	struct cow_info info;

	assert_int_equal(cow_set(fx->cow, "a", &edit, &info), -COW_EBUSY);
	assert_string_equal(cow_error(fx->cow), "the labels are not as expected: a");
	expect_labels(fx, "a", "");
	assert_int_equal(cow_set_label(fx->cow, "a", "b", "0"), 0);
	assert_int_equal(cow_set(fx->cow, "a", &edit, &info), 0);
	assert_int_equal(info.nlabels, 2);
	assert_string_equal(info.labels[0].key, "a");
	assert_int_equal(info.readonly, 1);
	assert_true(info.expires_ns > 0);
	cow_info_clear(&info);
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EBUSY); /* there is no "b" */
	edit = (struct cow_edit){.flags = COW_SET_REPLACE, .labels = labels, .nlabels = 1};
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), 0);
	expect_labels(fx, "a", "z=1 ");
}

static void test_what_cannot_be_is_refused(void **state)
{
	struct fixture *fx = *state;
	const struct cow_label twice[] = {{"a", "1"}, {"a", NULL}};
	const struct cow_label nokey = {NULL, "1"};
	struct cow_edit edit = {.flags = 32};

	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EINVAL);
	edit.flags = COW_SET_READONLY | COW_SET_WRITABLE;
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EINVAL);
	edit = (struct cow_edit){.ttl_ms = 1};
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EINVAL);
	edit = (struct cow_edit){.labels = twice, .nlabels = 2};
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EINVAL);
	edit = (struct cow_edit){.expect = &nokey, .nexpect = 1};
	assert_int_equal(cow_set(fx->cow, "a", &edit, NULL), -COW_EINVAL);
	assert_string_equal(cow_error(fx->cow), "the expected labels are incomplete");
	assert_int_equal(cow_set_label(fx->cow, "a", "k", NULL), -COW_EINVAL);
	assert_int_equal(cow_set_label(fx->cow, "a", "k k", "v"), -COW_EINVAL);
	assert_int_equal(cow_set_label(fx->cow, "a", "k", "\x01"), -COW_EINVAL);
	assert_int_equal(cow_set_ttl(fx->cow, "a", UINT64_C(3155760000001)), -COW_EINVAL);
	assert_int_equal(cow_set_ttl(fx->cow, "b", 0), -COW_ENOENT);
	assert_int_equal(cow_set_ttl(fx->cow, "-", 0), -COW_EINVAL);
	assert_int_equal(cow_snap(fx->cow, "a@v", NULL, 0), 0);
	assert_int_equal(cow_set_readonly(fx->cow, "a@v", 0), -COW_EPERM);
	assert_int_equal(cow_set_label(fx->cow, "a@v", "k", "v"), 0);
	expect_labels(fx, "a@v", "k=v ");
	expect_labels(fx, "a", "");
}

/* ---- several clients ------------------------------------------------------------------------- */

/* Another client makes it read-only: a handle that is open for writing notices. */
static void test_an_open_handle_is_refused(void **state)
{
	struct fixture *fx = *state;
	cow_t *other = daemon_connect(&fx->d, DAEMON_TCP);
	cow_object_t *obj;
	cow_object_t *again;
	char byte = 'y';

	assert_int_equal(cow_open(other, "a", 0, &obj), 0);
	assert_int_equal(cow_pwrite(obj, "x", 1, 0), 1);
	assert_int_equal(cow_set_readonly(fx->cow, "a", 1), 0);
	assert_int_equal(cow_pwrite(obj, "y", 1, 0), -COW_EPERM);
	assert_string_equal(cow_error(other), "the object is read-only: a");
	assert_int_equal(cow_resize(obj, 5, COW_RESIZE_SHRINK), -COW_EPERM);
	assert_int_equal(cow_zero(obj, 0, 1), -COW_EPERM);
	assert_int_equal(cow_trim(obj, 0, 4096), -COW_EPERM);
	assert_int_equal(cow_open(other, "a", 0, &again), -COW_EPERM);
	killed_and_started(fx);
	assert_int_equal(cow_close(obj), -COW_ECONN);
	cow_free(other);
	assert_int_equal(cow_open(fx->cow, "a", COW_OPEN_READONLY, &obj), 0);
	assert_int_equal(cow_pread(obj, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x'); /* it was not fsynced: becoming read-only has done that */
	assert_int_equal(cow_close(obj), 0);
	assert_int_equal(cow_set_readonly(fx->cow, "a", 0), 0);
}

struct client {
	struct fixture *fx;
	pthread_t thread;
	unsigned int number;
	unsigned int taken;
};

/* Sets labels of its own, and counts how often it had the one that only one can have. */
static void *client_main(void *arg)
{
	struct client *cl = arg;
	cow_t *cow = daemon_connect(&cl->fx->d, cl->number % 2 ? DAEMON_TCP : DAEMON_UNIX);
	const struct cow_label none = {"lock", NULL};
	char key[16];
	char me[16];
	const struct cow_label mine = {"lock", me};
	const struct cow_edit take = {.labels = &mine, .nlabels = 1, .expect = &none, .nexpect = 1};
	const struct cow_edit give = {.labels = &none, .nlabels = 1, .expect = &mine, .nexpect = 1};

	(void)snprintf(me, sizeof(me), "%u", cl->number);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int err;

		(void)snprintf(key, sizeof(key), "k%u", cl->number);
		MUST(cow_set_label(cow, "a", key, me) == 0, "%s", cow_error(cow));
		err = cow_set(cow, "a", &take, NULL);
		MUST(err == 0 || err == -COW_EBUSY, "%s", cow_error(cow));
		if (err < 0)
			continue;
		cl->taken++;
		MUST(cow_set(cow, "a", &give, NULL) == 0, "%s", cow_error(cow));
	}
	cow_free(cow);
	return NULL;
}

static void test_clients_do_not_lose_each_others_changes(void **state)
{
	struct client clients[CLIENTS] = {{0}};
	struct fixture *fx = *state;
	unsigned int taken = 0;

	for (unsigned int i = 0; i < CLIENTS; i++) {
		clients[i].fx = fx;
		clients[i].number = i;
		MUST(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) == 0,
		     "thread");
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		MUST(pthread_join(clients[i].thread, NULL) == 0, "join");
		taken += clients[i].taken;
	}
	assert_true(taken > 0);
	expect_labels(fx, "a", "k0=0 k1=1 k2=2 k3=3 k4=4 k5=5 k6=6 k7=7 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_attributes_are_set_one_by_one),
	    TEST(test_a_change_of_many_is_one),
	    TEST(test_what_cannot_be_is_refused),
	    TEST(test_an_open_handle_is_refused),
	    TEST(test_clients_do_not_lose_each_others_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
