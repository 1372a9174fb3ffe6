/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: several objects at one point in time, and one write to several. */
#include "client/cow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

struct fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *objs[2]; /* "a", "b" */
};

static int setup(void **state)
{
	static struct fixture fx;

	fx.st = fake_store_new();
	fake_server_start(&fx.server, false, fake_ops_serve, fx.st);
	fx.cow = cow_new();
	assert_int_equal(cow_connect(fx.cow, fx.server.uri), 0);
	assert_int_equal(cow_create(fx.cow, "a", 0), 0);
	assert_int_equal(cow_create(fx.cow, "b", 0), 0);
	assert_int_equal(cow_open(fx.cow, "a", 0, &fx.objs[0]), 0);
	assert_int_equal(cow_open(fx.cow, "b", 0, &fx.objs[1]), 0);
	*state = &fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	(void)cow_close(fx->objs[0]);
	(void)cow_close(fx->objs[1]);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
	return 0;
}

static void test_open_objects_are_one_request(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(cow_group_tie(fx->objs, 2), 0);
	assert_int_equal(cow_group_fsync(fx->objs, 2), 0);
	assert_int_equal(cow_group_fsync(fx->objs, 1), 0);
	assert_int_equal(cow_group_fsync(fx->objs, 0), 0);
	assert_int_equal(cow_group_tie(fx->objs, 0), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_TIE], 1);
	assert_int_equal(fx->st->requests[WIRE_OP_FSYNC_ALL], 2);
}

/* A new connection would not be tied, and what is written on it not in order: so there is none. */
static void test_a_group_ends_with_its_connection(void **state)
{
	struct fixture *fx = *state;
	cow_object_t *again;

	assert_int_equal(cow_group_tie(fx->objs, 1), 0);
	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_fsync(fx->objs[0]), -COW_ECONN);
	assert_non_null(strstr(cow_error(fx->cow), "group"));
	assert_int_equal(cow_group_fsync(fx->objs, 2), -COW_ECONN);
	assert_int_equal(cow_fsync(fx->objs[1]), 0);
	assert_int_equal(cow_open(fx->cow, "a", 0, &again), 0);
	assert_int_equal(cow_fsync(again), 0);
	assert_int_equal(cow_close(again), 0);
}

static void test_names_are_one_request(void **state)
{
	static const struct cow_pair pairs[] = {{"a", "a@v"}, {"b", "b@v"}, {"a", "c"}};
	static const struct cow_label label = {"k", "v"};
	static const struct cow_attrs attrs = {.labels = &label, .nlabels = 1};
	struct fixture *fx = *state;
	struct cow_info info;

	assert_int_equal(cow_group_clone(fx->cow, pairs, 3, &attrs), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_CLONE_ALL], 1);
	assert_int_equal(cow_get_info(fx->cow, "b@v", &info), 0);
	assert_int_equal(info.nlabels, 1);
	cow_info_clear(&info);
	assert_int_equal(cow_group_clone(fx->cow, pairs, 3, NULL), -COW_EEXIST);
	assert_non_null(strstr(cow_error(fx->cow), "a@v"));
}

static void test_long_names_fit_as_far_as_a_body_goes(void **state)
{
	struct cow_pair pairs[COW_GROUP_MAX];
	char names[COW_GROUP_MAX][256];
	char sources[COW_GROUP_MAX][256];
	struct fixture *fx = *state;

	for (size_t i = 0; i < COW_GROUP_MAX; i++) {
		memset(sources[i], 'n', 191);
		memcpy(sources[i] + 191, "@", 2);
		memset(sources[i] + 192, 'v', 63);
		sources[i][255] = '\0';
		memset(names[i], (int)('a' + i % 26), 190 - i);
		names[i][190 - i] = '\0';
		pairs[i] = (struct cow_pair){sources[i], names[i]};
	}
	assert_int_equal(cow_group_clone(fx->cow, pairs, COW_GROUP_MAX, NULL), -COW_ENOENT);
	memcpy(names, sources, sizeof(names));
	assert_int_equal(cow_group_clone(fx->cow, pairs, COW_GROUP_MAX, NULL), -COW_EINVAL);
}

static void test_mistakes(void **state)
{
	static const struct cow_pair bad[] = {{"a", "x"}, {"b", "y@"}};
	static const struct cow_pair none[] = {{"a", "x"}, {NULL, "y"}};
	cow_object_t *many[COW_GROUP_MAX + 1];
	struct cow_pair pairs[COW_GROUP_MAX + 1];
	struct fixture *fx = *state;

	for (size_t i = 0; i <= COW_GROUP_MAX; i++) {
		many[i] = fx->objs[0];
		pairs[i] = bad[0];
	}
	assert_int_equal(cow_group_tie(many, COW_GROUP_MAX + 1), -COW_EINVAL);
	assert_int_equal(cow_group_fsync(many, COW_GROUP_MAX + 1), -COW_EINVAL);
	assert_int_equal(cow_group_fsync(many, COW_GROUP_MAX), 0);
	assert_int_equal(cow_group_clone(fx->cow, pairs, COW_GROUP_MAX + 1, NULL), -COW_EINVAL);
	assert_int_equal(cow_group_clone(fx->cow, pairs, 0, NULL), -COW_EINVAL);
	assert_int_equal(cow_group_clone(fx->cow, bad, 2, NULL), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "name 2 of 2"));
	assert_int_equal(cow_group_clone(fx->cow, none, 2, NULL), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "source 2 of 2"));
}

static void test_open_objects_are_of_one_connection(void **state)
{
	struct fixture *fx = *state;
	cow_object_t *objs[2] = {fx->objs[0]};
	struct fake_server second;
	cow_t *cow = cow_new();

	fake_server_start(&second, false, fake_ops_serve, fx->st);
	assert_int_equal(cow_connect(cow, second.uri), 0);
	assert_int_equal(cow_open(cow, "b", 0, &objs[1]), 0);
	assert_int_equal(cow_group_fsync(objs, 2), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "one connection"));
	assert_int_equal(cow_group_tie(objs, 2), -COW_EINVAL);
	assert_int_equal(cow_close(objs[1]), 0);
	cow_free(cow);
	fake_server_stop(&second);
}

/* ---- one write to several -------------------------------------------------------------------- */

static char text[] = "onetwothree";
static const struct cow_range two[] = {{2, text, 3}, {4094, text + 3, 3}};
static const struct cow_range one[] = {{0, text + 6, 5}};

#define FIRST 1u /* the generation that an object of the store in memory begins with */

static void writes_of(struct fixture *fx, struct cow_write *writes)
{
	writes[0] = (struct cow_write){.obj = fx->objs[0], .ranges = two, .count = 2};
	writes[1] = (struct cow_write){.obj = fx->objs[1], .ranges = one, .count = 1};
}

static void assert_read(cow_object_t *obj, uint64_t offset, const char *want)
{
	char got[8] = "";

	assert_int_equal(cow_pread(obj, got, strlen(want), offset), (ssize_t)strlen(want));
	assert_string_equal(got, want);
}

static void test_a_write_to_several_is_one_request(void **state)
{
	struct fixture *fx = *state;
	struct cow_write writes[2];

	writes_of(fx, writes);
	assert_int_equal(cow_write_all(writes, 2), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITE_ALL], 1);
	assert_int_equal(writes[0].generation, FIRST + 1);
	assert_read(fx->objs[0], 2, "one");
	assert_read(fx->objs[0], 4094, "two");
	assert_read(fx->objs[1], 0, "three");
	assert_int_equal(cow_write_all(writes + 1, 1), 0); /* not by way of another buffer */
	assert_int_equal(writes[0].generation, FIRST + 1);
	assert_int_equal(writes[1].generation, FIRST + 2);
	assert_int_equal(cow_write_all(writes, 0), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITE_ALL], 2);
}

static void test_a_condition_holds_for_all(void **state)
{
	struct fixture *fx = *state;
	struct cow_write writes[2];
	uint64_t seen = FIRST;

	writes_of(fx, writes);
	writes[1].if_generation = &seen;
	assert_int_equal(cow_write_all(writes, 2), 0);
	writes[0].generation = 77;
	assert_int_equal(cow_write_all(writes, 2), -COW_ECHANGED);
	assert_int_equal(writes[0].generation, 77);
	seen = writes[1].generation;
	assert_int_equal(cow_write_all(writes, 2), 0);
	assert_int_equal(writes[0].generation, FIRST + 2);
}

static void test_writes_that_cannot_be(void **state)
{
	static const struct cow_range large[] = {{0, NULL, 33554432}};
	struct cow_range ranges[COW_RANGES_MAX];
	struct cow_write many[COW_WRITES_MAX + 1];
	struct fixture *fx = *state;
	struct cow_write writes[2];

	writes_of(fx, writes);
	writes[0].obj = writes[1].obj;
	assert_int_equal(cow_write_all(writes, 2), -COW_EINVAL);
	writes_of(fx, writes);
	writes[0].count = 0;
	assert_int_equal(cow_write_all(writes, 2), -COW_EINVAL);
	writes[0] = (struct cow_write){.obj = fx->objs[0], .ranges = large, .count = 1};
	assert_int_equal(cow_write_all(writes, 2), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "longer"));
	for (size_t i = 0; i < COW_RANGES_MAX; i++)
		ranges[i] = (struct cow_range){2 * i, text, 1};
	writes[0] =
	    (struct cow_write){.obj = fx->objs[0], .ranges = ranges, .count = COW_RANGES_MAX - 1};
	assert_int_equal(cow_write_all(writes, 2), 0);
	writes[0].count++;
	assert_int_equal(cow_write_all(writes, 2), -COW_EINVAL);
	for (size_t i = 0; i <= COW_WRITES_MAX; i++)
		many[i] = (struct cow_write){.obj = fx->objs[i % 2], .ranges = one, .count = 1};
	assert_int_equal(cow_write_all(many, COW_WRITES_MAX + 1), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "512"));
	writes_of(fx, writes);
	fx->st->short_by = 1;
	assert_int_equal(cow_write_all(writes, 2), -COW_EPROTO);
	fx->st->short_by = 0;
	assert_int_equal(fx->st->requests[WIRE_OP_WRITE_ALL], 2);
}

/* Each object is told of what a restart may have lost. */
static void test_a_restart_is_told_of_each(void **state)
{
	struct fixture *fx = *state;
	struct cow_write writes[2];

	writes_of(fx, writes);
	assert_int_equal(cow_write_all(writes, 2), 0);
	fx->st->hello = fake_hello_reply();
	fx->st->hello.incarnation++;
	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_fsync(fx->objs[1]), -COW_ERESTARTED);
	assert_int_equal(cow_fsync(fx->objs[0]), -COW_ERESTARTED);
	assert_int_equal(cow_fsync(fx->objs[0]), 0);
}

/* Sent again where it is not answered, if that does no harm: under a condition it might. */
static void test_what_has_a_condition_is_not_sent_again(void **state)
{
	struct fixture *fx = *state;
	struct cow_write writes[2];
	uint64_t seen = FIRST + 1;

	writes_of(fx, writes);
	fx->st->shuts_down = WIRE_OP_WRITE_ALL;
	assert_int_equal(cow_write_all(writes, 2), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITE_ALL], 1);
	writes[1].if_generation = &seen;
	fx->st->shuts_down = WIRE_OP_WRITE_ALL;
	assert_int_equal(cow_write_all(writes, 2), -COW_ESHUTDOWN);
	assert_int_equal(fx->st->requests[WIRE_OP_WRITE_ALL], 1);
}

struct ended {
	unsigned int calls;
	int64_t result;
};

static void ended(void *ctx, int64_t result)
{
	struct ended *e = ctx;

	e->calls++;
	e->result = result;
}

static void await(struct fixture *fx, const struct ended *e, unsigned int calls)
{
	while (e->calls < calls)
		assert_true(cow_wait(fx->cow) >= 0);
	assert_int_equal(e->calls, calls);
}

static void test_an_asynchronous_write_to_several(void **state)
{
	struct fixture *fx = *state;
	struct ended e = {0};
	const struct cow_aio how = {.done = ended, .ctx = &e};
	struct cow_write writes[2];

	writes_of(fx, writes);
	assert_int_equal(cow_aio_write_all(writes, 2, &how, NULL), 0);
	writes[0].ranges = NULL; /* they are not looked at any more, the data may be */
	await(fx, &e, 1);
	assert_int_equal(e.result, 0);
	assert_int_equal(writes[1].generation, FIRST + 1);
	assert_read(fx->objs[1], 0, "three");
	writes_of(fx, writes);
	writes[0].count = 0;
	assert_int_equal(cow_aio_write_all(writes, 2, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_write_all(writes, 0, &how, NULL), -COW_EINVAL);
	writes_of(fx, writes);
	assert_int_equal(cow_aio_write_all(writes, 2, NULL, NULL), -COW_EINVAL);
	fx->st->short_by = 1;
	assert_int_equal(cow_aio_write_all(writes, 2, &how, NULL), 0);
	await(fx, &e, 2);
	fx->st->short_by = 0;
	assert_int_equal(e.result, -COW_EPROTO);
	assert_non_null(strstr(cow_error(fx->cow), "other objects"));
	/* objects that are closed meanwhile */
	assert_int_equal(cow_aio_write_all(writes, 2, &how, NULL), 0);
	assert_int_equal(cow_close(fx->objs[0]), 0);
	assert_int_equal(cow_close(fx->objs[1]), 0);
	await(fx, &e, 3);
	assert_int_equal(cow_open(fx->cow, "a", 0, &fx->objs[0]), 0);
	assert_int_equal(cow_open(fx->cow, "b", 0, &fx->objs[1]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_open_objects_are_one_request),
	    TEST(test_a_group_ends_with_its_connection),
	    TEST(test_names_are_one_request),
	    TEST(test_long_names_fit_as_far_as_a_body_goes),
	    TEST(test_mistakes),
	    TEST(test_open_objects_are_of_one_connection),
	    TEST(test_a_write_to_several_is_one_request),
	    TEST(test_a_condition_holds_for_all),
	    TEST(test_writes_that_cannot_be),
	    TEST(test_a_restart_is_told_of_each),
	    TEST(test_what_has_a_condition_is_not_sent_again),
	    TEST(test_an_asynchronous_write_to_several),
	};

	return cmocka_run_group_tests_name("libcow_group", tests, NULL, NULL);
}
