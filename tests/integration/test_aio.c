/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's asynchronous calls while the server is killed and started again: each callback comes once
 * and in its time, what was acknowledged and not fsynced is reported by the next fsync, and what is
 * written afterwards is there.
 */
#include "client/cow.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "tests/lib/daemon.h"

#define NOBJECTS 4u
#define NSLOTS	 8u /* of each object, with one write under way in each */
#define SLOT	 5000u
#define ROUNDS	 6u
#define MS	 UINT64_C(1000000)

struct writer;

struct slot {
	struct writer *writer;
	uint64_t offset;
	uint64_t number; /* of its last write that was begun */
	bool busy;
	uint8_t data[SLOT];
};

struct writer {
	struct fixture *fx;
	cow_object_t *obj;
	struct slot slots[NSLOTS];
};

struct fixture {
	struct daemon daemon;
	cow_t *cow;
	bool stop;
	unsigned int busy;
	unsigned int done;
	struct writer writers[NOBJECTS];
};

static void slot_fill(const struct slot *slot, uint8_t *data)
{
	for (size_t i = 0; i < SLOT; i++)
		data[i] = (uint8_t)(slot->number + slot->offset / SLOT + i / 512);
}

static void slot_begin(struct slot *slot);

static void slot_done(void *ctx, int64_t result)
{
	struct slot *slot = ctx;
	struct fixture *fx = slot->writer->fx;

	if (result != SLOT)
		fail_msg("write: %lld: %s", (long long)result, cow_error(fx->cow));
	assert_true(slot->busy); /* once */
	slot->busy = false;
	fx->busy--;
	fx->done++;
	if (!fx->stop)
		slot_begin(slot);
}

static void slot_begin(struct slot *slot)
{
	const struct cow_aio how = {.done = slot_done, .ctx = slot};

	slot->number++;
	slot->busy = true;
	slot->writer->fx->busy++;
	slot_fill(slot, slot->data);
	assert_int_equal(
	    cow_aio_pwrite(slot->writer->obj, slot->data, SLOT, slot->offset, &how, NULL), 0);
}

static void begin_all(struct fixture *fx)
{
	fx->stop = false;
	for (unsigned int i = 0; i < NOBJECTS; i++)
		for (unsigned int k = 0; k < NSLOTS; k++)
			slot_begin(&fx->writers[i].slots[k]);
}

static void turn(struct fixture *fx)
{
	struct pollfd pfd = {.fd = cow_get_fd(fx->cow), .events = (short)cow_get_events(fx->cow)};

	assert_true(poll(&pfd, 1, cow_next_timeout_ms(fx->cow)) >= 0);
	assert_true(cow_process(fx->cow) >= 0);
}

static void end_all(struct fixture *fx)
{
	fx->stop = true;
	while (fx->busy > 0)
		turn(fx);
}

static void fixture_start(struct fixture *fx)
{
	char name[16];

	memset(fx, 0, sizeof(*fx));
	daemon_init(&fx->daemon, NULL);
	daemon_start(&fx->daemon);
	fx->cow = daemon_connect(&fx->daemon, DAEMON_UNIX);
	assert_int_equal(cow_set_reconnect(fx->cow, 1), 0);
	for (unsigned int i = 0; i < NOBJECTS; i++) {
		struct writer *w = &fx->writers[i];

		(void)snprintf(name, sizeof(name), "o%u", i);
		assert_int_equal(cow_create(fx->cow, name, 1 << 20), 0);
		assert_int_equal(cow_open(fx->cow, name, 0, &w->obj), 0);
		w->fx = fx;
		for (unsigned int k = 0; k < NSLOTS; k++) {
			w->slots[k].writer = w;
			w->slots[k].offset = (uint64_t)k * SLOT;
		}
	}
}

static void fixture_stop(struct fixture *fx)
{
	for (unsigned int i = 0; i < NOBJECTS; i++)
		(void)cow_close(fx->writers[i].obj);
	cow_free(fx->cow);
	daemon_fini(&fx->daemon);
}

static void check_all(struct fixture *fx)
{
	uint8_t wanted[SLOT];
	uint8_t got[SLOT];

	for (unsigned int i = 0; i < NOBJECTS; i++) {
		for (unsigned int k = 0; k < NSLOTS; k++) {
			const struct slot *slot = &fx->writers[i].slots[k];

			slot_fill(slot, wanted);
			assert_int_equal(cow_pread(fx->writers[i].obj, got, SLOT, slot->offset),
					 SLOT);
			assert_memory_equal(got, wanted, SLOT);
		}
	}
}

/* Writers go on through the end of their server; none of them has ever fsynced. */
static void test_killed_and_restarted(void **state)
{
	static struct fixture fx;
	unsigned int done;

	(void)state;
	fixture_start(&fx);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		begin_all(&fx);
		done = fx.done;
		while (fx.done < done + 50 + 37 * round)
			turn(&fx);
		daemon_kill(&fx.daemon);
		if (round % 2 == 0) /* it may see that nobody is there, or not */
			turn(&fx);
		daemon_start(&fx.daemon);
		done = fx.done;
		while (fx.done < done + 100)
			turn(&fx);
		end_all(&fx);
		for (unsigned int i = 0; i < NOBJECTS; i++) {
			assert_int_equal(cow_fsync(fx.writers[i].obj), -COW_ERESTARTED);
			assert_int_equal(cow_fsync(fx.writers[i].obj), 0);
		}
		check_all(&fx);
	}
	/* fsynced, and nothing written since: nothing can have been lost */
	daemon_kill(&fx.daemon);
	daemon_start(&fx.daemon);
	for (unsigned int i = 0; i < NOBJECTS; i++)
		assert_int_equal(cow_fsync(fx.writers[i].obj), 0);
	check_all(&fx);
	fixture_stop(&fx);
}

/* One that ends in order refuses what it does not do any more; the next does it. */
static void test_stopped_and_started(void **state)
{
	static struct fixture fx;
	unsigned int done;

	(void)state;
	fixture_start(&fx);
	for (unsigned int round = 0; round < 3; round++) {
		begin_all(&fx);
		done = fx.done;
		while (fx.done < done + 100)
			turn(&fx);
		daemon_stop(&fx.daemon);
		daemon_start(&fx.daemon);
		end_all(&fx);
		check_all(&fx);
	}
	fixture_stop(&fx);
}

/* ---- under a condition ----------------------------------------------------------------------- */

#define PENDING INT64_MAX

static void save(void *ctx, int64_t result)
{
	int64_t *to = ctx;

	assert_true(*to == PENDING); /* once */
	*to = result;
}

/* The server ends when the call has been begun, and comes back. */
static void cut_off(struct fixture *fx, bool kill)
{
	if (!kill)
		return;
	daemon_kill(&fx->daemon);
	daemon_start(&fx->daemon);
}

/* Begins a call, beside the writers', and waits for its result. */
#define RUN(fx, kill, call, ...)                                          \
	({                                                                \
		int64_t got_ = PENDING;                                   \
		const struct cow_aio how_ = {.done = save, .ctx = &got_}; \
		assert_int_equal(call(__VA_ARGS__, &how_, NULL), 0);      \
		cut_off(fx, kill);                                        \
		while (got_ == PENDING)                                   \
			turn(fx);                                         \
		got_;                                                     \
	})

/* A number that stands in two places, which are written together if nobody else has written. */
struct counter {
	cow_object_t *obj;
	uint64_t durable; /* it never is less */
	uint64_t tried;	  /* nor more */
};

#define FAR_AWAY ((UINT64_C(1) << 20) - 8)

static uint64_t counter_read(struct fixture *fx, const struct counter *c, bool kill)
{
	uint64_t both[2] = {0, 0};
	const struct cow_range ranges[] = {{0, &both[0], 8}, {FAR_AWAY, &both[1], 8}};
	size_t got[2];

	assert_int_equal(RUN(fx, kill, cow_aio_readv, c->obj, ranges, 2, got), 16);
	assert_int_equal(both[0], both[1]);
	assert_in_range(both[0], c->durable, c->tried);
	return both[0];
}

/* What is durable is so for good, which is asked for until no restart came between. */
static uint64_t counter_sync(struct fixture *fx, struct counter *c, bool kill)
{
	uint64_t number = 0;
	uint64_t generation = 0;
	int64_t result = -COW_ERESTARTED;

	while (result == -COW_ERESTARTED) {
		number = counter_read(fx, c, false);
		result = RUN(fx, kill, cow_aio_fsync_if, c->obj, NULL, &generation);
		kill = false;
	}
	assert_int_equal(result, 0);
	c->durable = number;
	return generation;
}

static void counter_add(struct fixture *fx, struct counter *c, bool kill, unsigned int *made)
{
	uint64_t generation = counter_sync(fx, c, false);
	uint64_t next = counter_read(fx, c, false) + 1;
	uint64_t both[2] = {next, next};
	const struct cow_range ranges[] = {{0, &both[0], 8}, {FAR_AWAY, &both[1], 8}};
	uint64_t now = 0;
	int64_t result;

	c->tried = next;
	result = RUN(fx, kill, cow_aio_writev, c->obj, ranges, 2, &generation, &now);
	if (result == 0) {
		assert_true(now > generation);
		(*made)++;
	} else {
		assert_true(kill && (result == -COW_ECONN || result == -COW_ECHANGED));
	}
}

/* Once carried out, an addition is there once, whatever the client was told. */
static void test_killed_under_a_condition(void **state)
{
	static struct fixture fx;
	struct counter c = {.durable = 0};
	cow_object_t *objs[NOBJECTS];
	unsigned int made = 0;

	(void)state;
	fixture_start(&fx);
	assert_int_equal(cow_create(fx.cow, "counter", 1 << 20), 0);
	assert_int_equal(cow_open(fx.cow, "counter", 0, &c.obj), 0);
	for (unsigned int i = 0; i < NOBJECTS; i++)
		objs[i] = fx.writers[i].obj;
	begin_all(&fx);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < 5; i++)
			counter_add(&fx, &c, false, &made);
		counter_add(&fx, &c, round % 3 == 0, &made);
		(void)counter_read(&fx, &c, round % 3 == 1);
		(void)counter_sync(&fx, &c, round % 3 == 2);
	}
	end_all(&fx);
	assert_true(made >= 5 * ROUNDS);
	assert_true(counter_read(&fx, &c, false) >= made - ROUNDS);
	/* whatever was written before the last restart may be gone, and is told of once for all */
	assert_int_equal(RUN(&fx, false, cow_aio_group_fsync, objs, NOBJECTS), -COW_ERESTARTED);
	assert_int_equal(RUN(&fx, false, cow_aio_group_fsync, objs, NOBJECTS), 0);
	check_all(&fx);
	assert_int_equal(cow_close(c.obj), 0);
	fixture_stop(&fx);
}

static void timed_out(void *ctx, int64_t result)
{
	unsigned int *n = ctx;

	assert_int_equal(result, -COW_ETIMEDOUT);
	(*n)++;
}

/* Nobody comes back: each call ends at its own deadline. */
static void test_killed_for_good(void **state)
{
	static struct fixture fx;
	static uint8_t data[SLOT];
	unsigned int n = 0;
	struct cow_aio how = {.done = timed_out, .ctx = &n};
	uint64_t begun;

	(void)state;
	fixture_start(&fx);
	daemon_kill(&fx.daemon);
	begun = clock_now_ns();
	for (unsigned int i = 0; i < 10; i++) {
		how.timeout_ms = 100 + 20 * i;
		assert_int_equal(cow_aio_pwrite(fx.writers[0].obj, data, SLOT, 0, &how, NULL), 0);
		assert_int_equal(cow_aio_ping(fx.cow, &how, NULL), 0);
	}
	while (n < 20)
		turn(&fx);
	assert_true(clock_now_ns() - begun >= 280 * MS);
	assert_true(clock_now_ns() - begun < 20000 * MS);
	assert_int_equal(n, 20);
	fixture_stop(&fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_killed_and_restarted),
	    cmocka_unit_test(test_stopped_and_started),
	    cmocka_unit_test(test_killed_under_a_condition),
	    cmocka_unit_test(test_killed_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
