/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_limits.c: what an epoch may hold, and what failing attempts to write one cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/object_state.h"
#include "tests/lib/engine.h"

/* Without the timer, which would do what is to be tested; and all of the device may be dirty. */
static int setup(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	e->cache_bytes = 200 * MIB;
	engine_restart(e);
	return 0;
}

/* ---- epochs ---------------------------------------------------------------------------------- */

/* One is one record of the journal and one transaction of the map, however slow the device is. */
static void an_epoch_is_closed_when_it_is_full(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result first = {0};
	struct result second = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
	object_fsync(h, engine_done_cb, &first);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 2), 0);
	object_fsync(h, engine_done_cb, &second);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(engine_write_blks(e, h, i * 3000, 3000, 3), 0);
	assert_int_equal(h->obj->nclosed, 2 + 1); /* the last one of 6,000 */
	assert_int_equal(h->obj->cache.ndirty, 3000);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_wait(e, &first), 0);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(object_close(h), 0);
}

/* What is dirty already can be written again without end. */
static void a_full_epoch_takes_what_it_has(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint8_t i = 1; i <= 4; i++)
		assert_int_equal(engine_write_blks(e, h, 0, 6000, i), 0);
	assert_int_equal(h->obj->nclosed, 0);
	assert_int_equal(h->obj->cache.ndirty, 6000);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, 5999), 4);
	assert_int_equal(object_close(h), 0);
}

/* ---- records that cannot be written ---------------------------------------------------------- */

static void a_failed_record_costs_no_inlined_blocks(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t had = engine_free_nblks(e);

	assert_int_equal(engine_write_blks(e, h, 0, WRITEBACK_INLINE_BLKS, 1), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	assert_int_equal(engine_fsync(e, h), -ERR_WRITEBACK);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_free_nblks(e), had - WRITEBACK_INLINE_BLKS);
	assert_int_equal(object_close(h), 0);
}

static void a_failed_record_costs_no_written_blocks(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t had = engine_free_nblks(e);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	struct result fsync = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
	object_fsync(h, engine_done_cb, &fsync);
	engine_wait_calls(e, GATE_WRITE, writes + 1); /* the data */
	gate_dev_release(e->gate, GATE_WRITE, 1);
	engine_wait_calls(e, GATE_WRITE, writes + 2); /* the record, twice */
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 3);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &fsync), 0);
	assert_int_equal(engine_free_nblks(e), had - ENGINE_WRITTEN_BLKS);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_epoch_is_closed_when_it_is_full),
	    TEST(a_full_epoch_takes_what_it_has),
	    TEST(a_failed_record_costs_no_inlined_blocks),
	    TEST(a_failed_record_costs_no_written_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
