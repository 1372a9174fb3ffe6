/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow_wait() beside other threads: it has the place of the one that polls for all, so what others do has to
 * wake it, and who waits behind it has to get the place before callbacks are called.
 */
#include "client/cow.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

#define TIMEOUT_MS 20000u
#define SOON_NS	   (15 * UINT64_C(1000000000)) /* long before a deadline wakes anybody */
#define PENDING	   INT64_MAX

struct fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *obj;
	_Atomic int64_t result; /* of the call that the waiting thread waits for */
	sem_t *before;		/* its callback waits for that, if not NULL */
	bool in_time;
};

/* How often threads gave way. */
static atomic_uint nyields;

int __real_sched_yield(void);
int __wrap_sched_yield(void);

int __wrap_sched_yield(void)
{
	atomic_fetch_add(&nyields, 1);
	return __real_sched_yield();
}

/* A thread, and whether it sleeps. */
struct sleeper {
	struct fixture *fx;
	pthread_t thread;
	atomic_int tid;
	int64_t result;
	sem_t done;
};

static int setup(void **state)
{
	static struct fixture fx;

	memset(&fx, 0, sizeof(fx));
	fx.result = PENDING;
	fx.st = fake_store_new();
	fx.st->hello = fake_hello_reply();
	fake_store_add(fx.st, "a", 1 << 20);
	fake_server_start(&fx.server, false, fake_ops_serve, fx.st);
	fx.cow = cow_new();
	assert_int_equal(cow_set_timeout(fx.cow, TIMEOUT_MS), 0);
	assert_int_equal(cow_connect(fx.cow, fx.server.uri), 0);
	assert_int_equal(cow_open(fx.cow, "a", 0, &fx.obj), 0);
	*state = &fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
	return 0;
}

static bool sleeps(int tid)
{
	char path[64];
	char text[256];
	FILE *f;
	bool got;

	if (tid == 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	assert_non_null(f);
	got = fgets(text, sizeof(text), f) != NULL;
	(void)fclose(f);
	assert_true(got);
	return strstr(text, ") S ") != NULL;
}

static void start(struct sleeper *s, struct fixture *fx, void *(*run)(void *arg))
{
	s->fx = fx;
	s->result = PENDING;
	atomic_init(&s->tid, 0);
	assert_int_equal(sem_init(&s->done, 0, 0), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
	while (!sleeps(atomic_load(&s->tid)))
		(void)sched_yield();
}

static void finish(struct sleeper *s)
{
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	(void)sem_destroy(&s->done);
}

static void done(void *ctx, int64_t result)
{
	struct fixture *fx = ctx;
	struct timespec until;

	fx->in_time = true;
	if (fx->before) {
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += (time_t)(SOON_NS / 1000000000);
		fx->in_time = sem_timedwait(fx->before, &until) == 0;
	}
	fx->result = result;
}

/* Of what only makes the server end the connection. */
static void forget(void *ctx, int64_t result)
{
	(void)ctx;
	assert_true(result == 0 || result == -COW_ESHUTDOWN);
}

/* Then the writes that it has not answered are sent again, by whoever polls. */
static void end_connection(struct fixture *fx)
{
	const struct cow_aio how = {.done = forget, .ctx = fx};

	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(cow_aio_ping(fx->cow, &how, NULL), 0);
}

static void *run_wait(void *arg)
{
	struct sleeper *s = arg;

	atomic_store(&s->tid, (int)syscall(SYS_gettid));
	while (s->fx->result == PENDING)
		s->result = cow_wait(s->fx->cow);
	return NULL;
}

static void *run_write(void *arg)
{
	struct sleeper *s = arg;

	atomic_store(&s->tid, (int)syscall(SYS_gettid));
	s->result = cow_pwrite(s->fx->obj, "y", 1, 0);
	(void)sem_post(&s->done);
	return NULL;
}

/* A write that the server does not answer. */
static uint64_t begin(struct fixture *fx)
{
	const struct cow_aio how = {.done = done, .ctx = fx};
	uint64_t id;

	assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 0, &how, &id), 0);
	return id;
}

static void drain(struct fixture *fx)
{
	while (cow_next_timeout_ms(fx->cow) >= 0)
		assert_true(cow_wait(fx->cow) >= 0);
}

/* Nothing comes by the socket. */
static void test_wait_wakes_for_a_cancel(void **state)
{
	struct fixture *fx = *state;
	struct sleeper waiter;
	uint64_t since = clock_now_ns();
	uint64_t id;

	fx->st->mute_writes = 1;
	id = begin(fx);
	start(&waiter, fx, run_wait);
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	finish(&waiter);
	assert_true(clock_now_ns() - since < SOON_NS);
	assert_int_equal(waiter.result, 1); /* callback */
	assert_int_equal(fx->result, -COW_ECANCELED);
}

/* One whose deadline is before all others. */
static void test_wait_wakes_for_a_deadline(void **state)
{
	struct fixture *fx = *state;
	const struct cow_aio how = {.done = done, .ctx = fx, .timeout_ms = 20};
	struct sleeper waiter;
	uint64_t since = clock_now_ns();
	uint64_t id;

	fx->st->mute_writes = 2;
	id = begin(fx);
	start(&waiter, fx, run_wait);
	assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 0, &how, NULL), 0);
	finish(&waiter);
	assert_true(clock_now_ns() - since < SOON_NS);
	assert_int_equal(fx->result, -COW_ETIMEDOUT);
	fx->result = PENDING;
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	drain(fx);
	assert_int_equal(fx->result, -COW_ECANCELED);
}

/*
 * The callback lasts until the call of another thread, which had left the polling to cow_wait(), has
 * ended; and for that somebody has to see that the connection ends, and make another.
 */
static void test_wait_hands_over_before_callbacks(void **state)
{
	struct fixture *fx = *state;
	struct sleeper waiter;
	struct sleeper writer;
	uint64_t id;

	fx->st->mute_writes = 2;
	id = begin(fx);
	start(&waiter, fx, run_wait);
	fx->before = &writer.done;
	start(&writer, fx, run_write);
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	end_connection(fx);
	finish(&waiter);
	fx->before = NULL;
	assert_true(fx->in_time);
	assert_int_equal(fx->result, -COW_ECANCELED);
	finish(&writer);
	assert_int_equal(writer.result, 1);
	drain(fx);
}

/* What a thread that calls no callbacks has received is told by the descriptor, before and behind the others. */
static void test_wait_leaves_the_descriptor_right(void **state)
{
	struct fixture *fx = *state;
	const struct cow_aio how = {.done = done, .ctx = fx};
	struct pollfd pfd = {.fd = cow_get_fd(fx->cow), .events = POLLIN};

	assert_int_equal(cow_aio_ping(fx->cow, &how, NULL), 0);
	while (fx->result == PENDING)
		assert_true(cow_wait(fx->cow) >= 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(cow_aio_ping(fx->cow, &how, NULL), 0);
	assert_int_equal(cow_next_timeout_ms(fx->cow) > 0, 1);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(cow_process(fx->cow), 1);
	assert_int_equal(poll(&pfd, 1, 0), 0);
}

/* The place is taken: it sleeps at the descriptor. */
static void test_wait_beside_another_call(void **state)
{
	struct fixture *fx = *state;
	struct sleeper writer;
	struct sleeper waiter;
	uint64_t since = clock_now_ns();
	uint64_t id;

	fx->st->mute_writes = 2;
	start(&writer, fx, run_write);
	id = begin(fx);
	start(&waiter, fx, run_wait);
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	finish(&waiter);
	assert_true(clock_now_ns() - since < SOON_NS);
	assert_int_equal(fx->result, -COW_ECANCELED);
	end_connection(fx);
	finish(&writer);
	assert_int_equal(writer.result, 1);
	drain(fx);
}

/* An answer that comes within some microseconds is looked for in the end, unless that is not wanted. */
static void who_waits_looks_before_it_sleeps(void **state)
{
	struct fixture *fx = *state;
	char byte = 0;

	assert_int_equal(cow_set_poll(fx->cow, 1001), -COW_EINVAL);
	assert_int_equal(cow_set_poll(fx->cow, 0), 0);
	atomic_store(&nyields, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), 1);
	assert_int_equal(atomic_load(&nyields), 0);
	assert_int_equal(cow_set_poll(fx->cow, 1000), 0);
	for (int i = 0; i < 100000 && atomic_load(&nyields) == 0; i++)
		assert_int_equal(cow_pread(fx->obj, &byte, 1, 0), 1);
	assert_true(atomic_load(&nyields) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_wait_wakes_for_a_cancel),
	    TEST(test_wait_wakes_for_a_deadline),
	    TEST(test_wait_hands_over_before_callbacks),
	    TEST(test_wait_leaves_the_descriptor_right),
	    TEST(test_wait_beside_another_call),
	    TEST(who_waits_looks_before_it_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
