/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_full.c: a store that is filled: by writes, by clones and writes to them, by metadata.
 * Each time the request that met it is refused and nothing that was answered is lost; everything can
 * be removed, and then the store is as empty as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"

#define CLONES	   200u
#define NAMES_MAX  20000u
#define WRITES_MAX 200000u

/* A map that is full before the device is. */
static int setup_small_map(void **state)
{
	return engine_setup_sized(state, 100 * MIB, 2 * MIB);
}

/* One that the device fits into, though a removal of all of it is more than a fold takes at once. */
static int setup_midsize_map(void **state)
{
	return engine_setup_sized(state, 100 * MIB, 8 * MIB);
}

static uint64_t space_empty(struct engine *e)
{
	engine_reap(e);
	return engine_free_nblks(e);
}

/* All that is in the store goes, and its space comes back to the block. */
static void empty_it(struct engine *e, uint64_t empty)
{
	engine_remove_all(e);
	assert_int_equal(space_empty(e), empty);
	engine_check_online(e);
	assert_int_equal(engine_create(e, "again", MIB), 0);
	assert_int_equal(engine_remove(e, "again"), 0);
}

static void filled_by_writes(void **state)
{
	struct engine *e = *state;
	uint64_t empty = space_empty(e);
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t n = 0;
	int err;

	while ((err = engine_write_blk(e, h, 3 * n, (uint8_t)n)) == 0)
		n++;
	assert_int_equal(err, -ERR_NOSPC);
	assert_int_equal(n, empty);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < n; i += 7)
		assert_int_equal(engine_blk_byte(e, h, 3 * i), (uint8_t)i);
	/* what overwrites needs space too, which what it replaces gives back only later */
	assert_int_equal(engine_write_blk(e, h, 0, 9), -ERR_NOSPC);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(object_close(h), 0);
	empty_it(e, empty);
}

/* The last write that each clone has taken, plus 1. */
static void filled_by_clones(void **state)
{
	struct engine *e = *state;
	uint64_t empty = space_empty(e);
	struct handle *h = engine_create_open(e, "golden", 0);
	uint64_t wrote[CLONES] = {0};
	char name[32];
	unsigned int i = 0;
	int err = 0;

	for (uint64_t blk = 0; blk < 1024; blk++)
		assert_int_equal(engine_write_blk(e, h, blk, 1), 0);
	assert_int_equal(object_close(h), 0);
	for (i = 0; i < CLONES && err == 0; i++) {
		(void)snprintf(name, sizeof(name), "clone-%u", i);
		assert_int_equal(engine_clone(e, "golden", name), 0);
		h = engine_open(e, name);
		for (uint64_t blk = 0; blk < 1024 && err == 0; blk += 2) {
			err = engine_write_blk(e, h, blk, (uint8_t)(2 + i));
			if (err == 0)
				wrote[i] = blk + 1;
		}
		assert_int_equal(engine_fsync(e, h), 0);
		assert_int_equal(object_close(h), 0);
	}
	assert_int_equal(err, -ERR_NOSPC);
	engine_restart(e);
	while (i-- > 0) {
		(void)snprintf(name, sizeof(name), "clone-%u", i);
		h = engine_open(e, name);
		for (uint64_t blk = 0; blk < 1024; blk += 31)
			assert_int_equal(engine_blk_byte(e, h, blk),
					 blk % 2 == 0 && blk < wrote[i] ? (uint8_t)(2 + i) : 1);
		assert_int_equal(object_close(h), 0);
	}
	empty_it(e, empty);
}

static void filled_by_names(void **state)
{
	struct engine *e = *state;
	uint64_t empty = space_empty(e);
	char name[192];
	unsigned int n = 0;
	int err = 0;

	while (err == 0) {
		(void)snprintf(name, sizeof(name), "%0180u", n);
		err = engine_create(e, name, MIB);
		n += err == 0;
		assert_true(n < NAMES_MAX);
	}
	assert_int_equal(err, -ERR_NOSPC_META);
	assert_true(n > 100);
	engine_restart(e);
	for (unsigned int i = 0; i < n; i += 13) {
		(void)snprintf(name, sizeof(name), "%0180u", i);
		assert_int_equal(object_close(engine_open(e, name)), 0);
	}
	empty_it(e, empty);
}

/* Far from each other, so that each takes leaves of its own: of the object, and of its clones. */
static void filled_by_scattered_writes(void **state)
{
	struct engine *e = *state;
	uint64_t empty = space_empty(e);
	struct handle *h = engine_create_open(e, "a", 0);
	char name[32];
	uint64_t n = 0;
	int err = 0;

	while (err == 0) {
		err = engine_write_blk(e, h, (n * 1000003) % (UINT64_C(1) << 30), (uint8_t)n);
		n += err == 0;
		assert_true(n < WRITES_MAX);
		if (err == 0 && n % 1000 == 0) {
			(void)snprintf(name, sizeof(name), "c%llu", (unsigned long long)n);
			err = engine_clone(e, "a", name);
		}
	}
	assert_int_equal(err, -ERR_NOSPC_META);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < n; i += 97)
		assert_int_equal(engine_blk_byte(e, h, (i * 1000003) % (UINT64_C(1) << 30)),
				 (uint8_t)i);
	assert_int_equal(object_close(h), 0);
	empty_it(e, empty);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
#define SMALL_MAP(name) cmocka_unit_test_setup_teardown(name, setup_small_map, engine_teardown)

/* Nothing that is removed comes back while checkpoints fail: who waits for it is told so, whatever
 * the reaper has left to do. */
static void no_space_while_checkpoints_fail(void **state)
{
	enum { STEP = 128 };
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct handle *other = engine_create_open(e, "b", 0);
	struct result removed = {0};
	uint64_t syncs;
	uint64_t n = 0;

	while (engine_write_blk(e, h, STEP * n, 1) == 0)
		n++;
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_flush(e);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_remove(e->objs, "a", false, engine_done_cb, &removed);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	gate_dev_release(e->gate, GATE_SYNC, 1); /* that of the removal */
	assert_int_equal(engine_wait(e, &removed), 0);
	gate_dev_fail_upto(e->gate, GATE_SYNC, UINT64_MAX);
	gate_dev_open(e->gate, GATE_SYNC);
	engine_settle(e);
	assert_int_equal(engine_write_blk(e, other, 0, 1), -ERR_NOSPC);
	gate_dev_fail_upto(e->gate, GATE_SYNC, 0);
	assert_int_equal(object_close(other), 0);
	engine_remove_all(e);
	engine_reap(e);
}

/* The timer would write again, and what is to be shown is who gets the space. */
static int setup_untimed(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup_sized(state, 16 * MIB, 8 * MIB), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

/*
 * Its blocks were written to a place that failed and is in quarantine.  What comes free is for them,
 * and not for a write that waits for space, though that comes first.
 */
static void what_was_acknowledged_gets_space_first(void **state)
{
	enum { N = 64 };
	struct engine *e = *state;
	struct handle *a = engine_create_open(e, "a", 0);
	struct handle *late = engine_create_open(e, "late", 0);
	struct handle *h = engine_create_open(e, "removed", 0);
	uint64_t blk = 0;

	assert_int_equal(engine_write_blks(e, h, 0, N, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	h = engine_create_open(e, "rest", 0);
	while (engine_free_nblks(e) > N)
		assert_int_equal(engine_write_blk(e, h, blk++, 3), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_write_blks(e, a, 0, N, 2), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 1);
	assert_int_equal(engine_fsync(e, a), -ERR_NOSPC);
	assert_int_equal(engine_free_nblks(e), 0);
	assert_int_equal(engine_remove(e, "removed"), 0);
	assert_int_equal(engine_write_blk(e, late, 0, 4), -ERR_NOSPC);
	assert_int_equal(engine_fsync(e, a), 0);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(engine_blk_byte(e, a, i), 2);
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(late), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(filled_by_writes),
	    TEST(filled_by_clones),
	    SMALL_MAP(filled_by_names),
	    SMALL_MAP(filled_by_scattered_writes),
	    cmocka_unit_test_setup_teardown(what_was_acknowledged_gets_space_first, setup_untimed,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(no_space_while_checkpoints_fail, setup_midsize_map,
					    engine_teardown),
	};

	return cmocka_run_group_tests_name("object_full", tests, NULL, NULL);
}
