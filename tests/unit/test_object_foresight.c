/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_foresight.c: where a client's fsyncs come after as many writes each time, the device has the
 * next ones before it is asked; and where they do not it is left alone.
 */
#include "tests/unit/object_fixture.h"

static void write_n(struct engine *e, struct handle *h, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(engine_write_blk(e, h, i, (uint8_t)(i + 1)), 0);
}

static void write_and_sync(struct engine *e, struct handle *h, unsigned int n)
{
	write_n(e, h, n);
	assert_int_equal(engine_fsync(e, h), 0);
}

/* So many syncs of the device come of so many writes alone. */
static void assert_syncs_of(struct engine *e, struct handle *h, unsigned int n, uint64_t syncs)
{
	uint64_t before;

	engine_settle(e);
	before = gate_dev_calls(e->gate, GATE_SYNC);
	write_n(e, h, n);
	engine_wait_calls(e, GATE_SYNC, before + syncs);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), before + syncs);
}

static void the_third_is_foreseen(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	write_and_sync(e, h, 1);
	assert_syncs_of(e, h, 1, 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_syncs_of(e, h, 1, 1);
	assert_int_equal(object_close(h), 0);
}

static void as_many_writes_as_before(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	write_and_sync(e, h, 3);
	write_and_sync(e, h, 3);
	assert_syncs_of(e, h, 2, 0);
	assert_syncs_of(e, h, 1, 1);
	assert_int_equal(object_close(h), 0);
}

static void no_number_no_foresight(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	write_and_sync(e, h, 1);
	write_and_sync(e, h, 2);
	assert_syncs_of(e, h, 3, 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_fsync(e, h), 0); /* twice after none */
	assert_syncs_of(e, h, 3, 0);
	assert_int_equal(object_close(h), 0);
}

/* Then the device has been asked once for nothing. */
static void a_wrong_guess_is_the_last(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	write_and_sync(e, h, 1);
	write_and_sync(e, h, 1);
	assert_syncs_of(e, h, 5, 1);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_syncs_of(e, h, 5, 0);
	assert_int_equal(object_close(h), 0);
}

/* The fsync waits for what is under way already. */
static void it_is_one_sync(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result fsync = {0};
	uint64_t syncs;

	write_and_sync(e, h, 1);
	write_and_sync(e, h, 1);
	engine_settle(e);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	write_n(e, h, 1);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	object_fsync(h, engine_done_cb, &fsync);
	engine_settle(e);
	assert_false(fsync.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &fsync), 0);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
	assert_int_equal(object_close(h), 0);
}

/* Each client has its own habits, on whatever object. */
static void others_are_not_meant(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct handle *other = engine_open(e, "a");

	write_and_sync(e, h, 1);
	write_and_sync(e, h, 1);
	assert_syncs_of(e, other, 1, 0);
	assert_syncs_of(e, h, 1, 1);
	assert_int_equal(object_close(other), 0);
	assert_int_equal(object_close(h), 0);
}

/* Many clients have one commit under way, and what comes meanwhile is for the next. */
static void what_comes_meanwhile_waits(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct handle *other = engine_open(e, "a");
	uint64_t syncs;

	for (int i = 0; i < 2; i++) {
		write_and_sync(e, h, 1);
		write_and_sync(e, other, 1);
	}
	engine_settle(e);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	write_n(e, h, 1);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	write_n(e, other, 1);
	engine_settle(e);
	gate_dev_open(e->gate, GATE_SYNC);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
	assert_int_equal(engine_fsync(e, other), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 2);
	assert_int_equal(object_close(other), 0);
	assert_int_equal(object_close(h), 0);
}

/* Before its turn has come. */
static void who_foresees_may_go(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result write = {0};
	struct result removal = {0};
	uint8_t data[BLK_BYTES];
	struct pagevec pv;

	memset(data, 9, sizeof(data));
	write_and_sync(e, h, 1);
	write_and_sync(e, h, 1);
	pv = engine_payload(e, 0, data, sizeof(data));
	object_write(h, 0, &pv, engine_done_cb, &write);
	assert_true(write.done);
	assert_int_equal(object_close(h), 0);
	object_remove(e->objs, "a", false, engine_done_cb, &removal);
	assert_int_equal(engine_wait(e, &removal), 0);
	engine_settle(e);

	h = engine_create_open(e, "b", 0);
	write_and_sync(e, h, 1);
	write_and_sync(e, h, 1);
	pv = engine_payload(e, 0, data, sizeof(data));
	write = (struct result){0};
	object_write(h, 0, &pv, engine_done_cb, &write);
	assert_true(write.done);
	assert_int_equal(object_close(h), 0);
	engine_stop(e); /* a crash */
	engine_start(e);
	h = engine_open(e, "b");
	assert_true(engine_blk_byte(e, h, 0) == 1 || engine_blk_byte(e, h, 0) == 9);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_third_is_foreseen),
	    TEST(as_many_writes_as_before),
	    TEST(no_number_no_foresight),
	    TEST(a_wrong_guess_is_the_last),
	    TEST(it_is_one_sync),
	    TEST(others_are_not_meant),
	    TEST(what_comes_meanwhile_waits),
	    TEST(who_foresees_may_go),
	};

	return cmocka_run_group_tests_name("object_foresight", tests, NULL, NULL);
}
