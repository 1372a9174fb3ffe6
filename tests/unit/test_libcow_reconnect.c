/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow after a connection was lost: what a restart of the server means for what was not fsynced,
 * and what becomes of calls that cannot go on.  test_libcow_cut.c has every byte of each call.
 */
#include "client/cow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

#define MS UINT64_C(1000000)

#define PENDING 77 /* not a result of any call here */

struct fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *obj; /* "a" */
};

static int setup(void **state)
{
	static struct fixture fx;

	fx.st = fake_store_new();
	fx.st->hello = fake_hello_reply();
	fake_store_add(fx.st, "a", 65536);
	fake_server_start(&fx.server, false, fake_ops_serve, fx.st);
	fx.cow = cow_new();
	assert_int_equal(cow_set_timeout(fx.cow, 20000), 0);
	assert_int_equal(cow_connect(fx.cow, fx.server.uri), 0);
	assert_int_equal(cow_open(fx.cow, "a", 0, &fx.obj), 0);
	*state = &fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
	return 0;
}

/* The server goes with the next request of this kind, and comes back. */
static void lose(struct fixture *fx, bool restarts)
{
	fx->st->hello.incarnation += restarts;
	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(cow_ping(fx->cow), 0);
}

static void put(cow_object_t *obj)
{
	assert_int_equal(cow_pwrite(obj, "data", 4, 100), 4);
}

static void test_restart_is_told_once(void **state)
{
	struct fixture *fx = *state;

	put(fx->obj);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_non_null(strstr(cow_error(fx->cow), "restarted"));
	assert_int_equal(cow_fsync(fx->obj), 0);
	lose(fx, true); /* with nothing written since */
	assert_int_equal(cow_fsync(fx->obj), 0);
	put(fx->obj);
	lose(fx, true);
	lose(fx, true); /* twice, and still one loss */
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_int_equal(cow_fsync(fx->obj), 0);
	assert_int_equal(cow_close(fx->obj), 0);
}

static void test_restart_after_an_fsync(void **state)
{
	struct fixture *fx = *state;

	put(fx->obj);
	assert_int_equal(cow_fsync(fx->obj), 0);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), 0);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* The server still has what it acknowledged. */
static void test_no_restart(void **state)
{
	struct fixture *fx = *state;
	char data[4];

	put(fx->obj);
	lose(fx, false);
	assert_int_equal(cow_pread(fx->obj, data, 4, 100), 4);
	assert_memory_equal(data, "data", 4);
	assert_int_equal(cow_fsync(fx->obj), 0);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* Zeroing, trimming and resizing are changes, too; reading is none. */
static void test_restart_after_other_changes(void **state)
{
	struct fixture *fx = *state;
	char byte;

	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), 1);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), 0);
	assert_int_equal(cow_zero(fx->obj, 0, 1), 0);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_int_equal(cow_trim(fx->obj, 0, 8192), 0);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_int_equal(cow_resize(fx->obj, 70000, 0), 0);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* Each handle on the object is told, as each may have to do with what was written; no other is. */
static void test_restart_is_told_to_each_handle(void **state)
{
	struct fixture *fx = *state;
	cow_object_t *second;
	cow_object_t *other;

	fake_store_add(fx->st, "b", 4096);
	assert_int_equal(cow_open(fx->cow, "a", 0, &second), 0);
	assert_int_equal(cow_open(fx->cow, "b", 0, &other), 0);
	put(fx->obj);
	lose(fx, true);
	assert_int_equal(cow_fsync(second), -COW_ERESTARTED);
	assert_int_equal(cow_fsync(other), 0);
	assert_int_equal(cow_fsync(second), 0);
	assert_int_equal(cow_close(second), 0);
	assert_int_equal(cow_close(other), 0);
	assert_int_equal(cow_close(fx->obj), -COW_ERESTARTED); /* the last chance */
}

static void save(void *ctx, int64_t result)
{
	int64_t *to = ctx;

	*to = result;
}

/* It was sent to the server that then restarted, and says so when it is answered by the next. */
static void test_restart_under_an_fsync(void **state)
{
	struct fixture *fx = *state;
	int64_t results[2] = {PENDING, PENDING};
	const struct cow_aio how[2] = {{.done = save, .ctx = &results[0]},
				       {.done = save, .ctx = &results[1]}};

	put(fx->obj);
	fx->st->hello.incarnation++;
	fx->st->shuts_down = WIRE_OP_FSYNC;
	assert_int_equal(cow_aio_fsync(fx->obj, &how[0], NULL), 0);
	assert_int_equal(cow_aio_fsync(fx->obj, &how[1], NULL), 0);
	while (results[0] == PENDING || results[1] == PENDING)
		assert_true(cow_wait(fx->cow) >= 0);
	/* one of the two, whichever is answered first */
	assert_int_equal(results[0] + results[1], -COW_ERESTARTED);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* What is written while an fsync is under way is not covered by it, though it is answered first. */
static void test_restart_after_a_write_beside_an_fsync(void **state)
{
	struct fixture *fx = *state;
	int64_t results[2] = {PENDING, PENDING};
	const struct cow_aio how[2] = {{.done = save, .ctx = &results[0]},
				       {.done = save, .ctx = &results[1]}};

	put(fx->obj);
	fx->st->overtaken = WIRE_OP_FSYNC;
	assert_int_equal(cow_aio_fsync(fx->obj, &how[0], NULL), 0);
	assert_int_equal(cow_aio_pwrite(fx->obj, "more", 4, 200, &how[1], NULL), 0);
	while (results[1] == PENDING)
		assert_true(cow_wait(fx->cow) >= 0);
	while (results[0] == PENDING)
		assert_true(cow_wait(fx->cow) >= 0);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], 4);
	lose(fx, true);
	assert_int_equal(cow_fsync(fx->obj), -COW_ERESTARTED);
	assert_int_equal(cow_close(fx->obj), 0);
}

static void test_close_without_a_connection(void **state)
{
	struct fixture *fx = *state;
	cow_object_t *clean;
	int64_t result = 1;
	const struct cow_aio how = {.done = save, .ctx = &result};
	uint64_t id;

	assert_int_equal(cow_open(fx->cow, "a", COW_OPEN_READONLY, &clean), 0);
	put(fx->obj);
	(void)shutdown(fx->server.listen_fd, SHUT_RDWR);
	fx->st->shuts_down = WIRE_OP_READ;
	assert_int_equal(cow_aio_pread(clean, &result, 1, 0, &how, &id), 0);
	while (cow_next_timeout_ms(fx->cow) > 1000)
		(void)cow_wait(fx->cow); /* until another connection is tried every now and then */
	assert_int_equal(cow_close(clean), 0);
	assert_int_equal(cow_close(fx->obj), -COW_ECONN);
	assert_non_null(strstr(cow_error(fx->cow), "not fsynced"));
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	assert_int_equal(cow_process(fx->cow), 1);
	assert_int_equal(result, -COW_ECANCELED);
}

static void test_object_is_gone(void **state)
{
	struct fixture *fx = *state;
	char byte;

	fake_store_lock(fx->st);
	fake_store_drop(fx->st, fake_store_find(fx->st, "a"));
	fake_store_unlock(fx->st);
	lose(fx, false);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ENOENT);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* The name is another object's now. */
static void test_object_was_replaced(void **state)
{
	struct fixture *fx = *state;
	cow_object_t *now;

	assert_int_equal(cow_rename(fx->cow, "a", "b", 0), 0);
	assert_int_equal(cow_create(fx->cow, "a", 4096), 0);
	put(fx->obj); /* it is open still */
	lose(fx, false);
	assert_int_equal(cow_pwrite(fx->obj, "x", 1, 0), -COW_ENOENT);
	assert_non_null(strstr(cow_error(fx->cow), "renamed or removed"));
	assert_int_equal(cow_open(fx->cow, "a", 0, &now), 0);
	assert_int_equal(cow_object_size(now), 4096);
	assert_int_equal(cow_close(now), 0);
	assert_int_equal(cow_close(fx->obj), -COW_ECONN);
	/* the number of the wrong one was given back */
	assert_int_equal(fx->st->requests[WIRE_OP_CLOSE], 2);
}

static void test_another_store(void **state)
{
	struct fixture *fx = *state;
	char byte;

	put(fx->obj);
	fx->st->hello.store_uuid[3] ^= 1;
	lose(fx, false);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ECONN);
	assert_int_equal(cow_close(fx->obj), -COW_ERESTARTED);
}

/* A server that refuses work because it ends: what may wait for the next one does. */
static void test_shutdown_is_waited_out(void **state)
{
	struct fixture *fx = *state;
	char data[4];

	fx->st->shuts_down = WIRE_OP_WRITE;
	put(fx->obj);
	fx->st->shuts_down = WIRE_OP_READ;
	assert_int_equal(cow_pread(fx->obj, data, 4, 100), 4);
	fx->st->shuts_down = WIRE_OP_CREATE;
	assert_int_equal(cow_create(fx->cow, "new", 1), -COW_ESHUTDOWN);
	assert_int_equal(cow_ping(fx->cow), 0); /* on the next connection */
	assert_int_equal(cow_create(fx->cow, "new", 1), 0);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* Nobody is there any more: what waits ends in its time, and what does not need the server at once. */
static void test_deadline_without_a_server(void **state)
{
	struct fixture *fx = *state;
	uint64_t begun;
	char byte;

	assert_int_equal(cow_set_timeout(fx->cow, 60), 0);
	fx->st->shuts_down = WIRE_OP_READ;
	(void)shutdown(fx->server.listen_fd, SHUT_RDWR);
	begun = clock_now_ns();
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ETIMEDOUT);
	assert_true(clock_now_ns() - begun >= 60 * MS);
	assert_non_null(strstr(cow_error(fx->cow), "Connection refused"));
	assert_int_equal(cow_ping(fx->cow), -COW_ETIMEDOUT);
	assert_int_equal(cow_close(fx->obj), 0);
}

/* Silence for the whole timeout: a change that the server may yet carry out is not sent again, unless
 * it has restarted; what does no harm is. */
static void test_silence(void **state)
{
	struct fixture *fx = *state;
	int64_t results[2] = {PENDING, PENDING};
	/* when the first has waited so long, the silence was longer than the handle's 300 ms */
	struct cow_aio how[2] = {{.done = save, .ctx = &results[0], .timeout_ms = 1000},
				 {.done = save, .ctx = &results[1], .timeout_ms = 600000}};

	for (unsigned int restarts = 0; restarts < 2; restarts++) {
		assert_int_equal(cow_set_timeout(fx->cow, 300), 0);
		fake_store_lock(fx->st); /* it may still be at what was given up before */
		fx->st->mute_writes = 2; /* what comes again is answered */
		fx->st->hello.incarnation += restarts;
		fake_store_unlock(fx->st);
		results[0] = results[1] = PENDING;
		assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 0, &how[0], NULL), 0);
		assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 1, &how[1], NULL), 0);
		while (results[0] == PENDING)
			(void)cow_wait(fx->cow);
		assert_int_equal(results[0], -COW_ETIMEDOUT);
		assert_int_equal(cow_set_timeout(fx->cow, 20000), 0);
		while (results[1] == PENDING)
			(void)cow_wait(fx->cow);
		assert_int_equal(results[1], restarts ? 1 : -COW_ECONN);
	}
	assert_int_equal(cow_close(fx->obj), 0);
}

static void test_reconnect_is_off(void **state)
{
	struct fixture *fx = *state;
	char byte;

	assert_int_equal(cow_set_reconnect(fx->cow, 0), 0);
	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(cow_ping(fx->cow), -COW_ESHUTDOWN);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ECONN);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ECONN);
	assert_int_equal(cow_connect(fx->cow, fx->server.uri), 0);
	assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), -COW_ECONN);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_close(fx->obj), -COW_ECONN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_restart_is_told_once),
	    TEST(test_restart_after_an_fsync),
	    TEST(test_no_restart),
	    TEST(test_restart_after_other_changes),
	    TEST(test_restart_is_told_to_each_handle),
	    TEST(test_restart_under_an_fsync),
	    TEST(test_restart_after_a_write_beside_an_fsync),
	    TEST(test_close_without_a_connection),
	    TEST(test_object_is_gone),
	    TEST(test_object_was_replaced),
	    TEST(test_another_store),
	    TEST(test_shutdown_is_waited_out),
	    TEST(test_deadline_without_a_server),
	    TEST(test_silence),
	    TEST(test_reconnect_is_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
