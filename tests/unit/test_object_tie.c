/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_tie.c: objects whose epochs are committed together: what is in a set, what goes before
 * what, what becomes of it when the device fails or when one of its objects goes.
 */
#include "tests/unit/object_fixture.h"

static int tie(struct handle *a, struct handle *b)
{
	struct handle *const handles[] = {a, b};

	return object_tie(handles, ARRAY_LEN(handles));
}

static void fsync_both_start(struct handle *a, struct handle *b, struct result *res)
{
	struct handle *const handles[] = {a, b};

	object_fsync_all(handles, ARRAY_LEN(handles), engine_done_cb, res);
}

static int fsync_both(struct engine *e, struct handle *a, struct handle *b)
{
	struct result res = {0};

	fsync_both_start(a, b, &res);
	return engine_wait(e, &res);
}

static void close_all(struct handle *const *handles, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(object_close(handles[i]), 0);
}

/* The first byte of an object, after a crash; 0 where it has none. */
static uint8_t byte_after(struct engine *e, const char *name)
{
	struct map_obj info = {0};

	assert_int_equal(info_of(e, name, &info), 0);
	return info.size_bytes == 0 ? 0 : byte_of(e, name, 0);
}

static void assert_after_crash(struct engine *e, uint8_t a, uint8_t b)
{
	crash(e);
	assert_int_equal(byte_after(e, "a"), a);
	assert_int_equal(byte_after(e, "b"), b);
}

/* ---- one record ------------------------------------------------------------------------------ */

static void an_fsync_of_several_is_one_record(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);

	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 1);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0); /* there is nothing */
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

static void what_is_tied_is_closed_by_an_fsync_of_one(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(tie(h[0], h[1]), 0);
	for (uint8_t i = 1; i <= 3; i++) { /* it goes on */
		assert_int_equal(engine_write_blk(e, h[1], 0, i), 0);
		assert_int_equal(engine_write_blk(e, h[0], 0, i), 0);
		assert_int_equal(engine_fsync(e, h[0]), 0);
	}
	assert_int_equal(engine_write_blk(e, h[1], 0, 9), 0);
	close_all(h, 2);
	assert_after_crash(e, 3, 3);
}

static void an_fsync_of_several_ties_them_once_only(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 2), 0);
	assert_int_equal(engine_fsync(e, h[0]), 0);
	close_all(h, 2);
	assert_after_crash(e, 2, 1);
}

static void sets_that_share_an_object_are_one(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0),
			      engine_create_open(e, "c", 0), engine_open(e, "b")};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(tie(h[3], h[2]), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h[2], 0, 1), 0);
	assert_int_equal(engine_fsync(e, h[2]), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 1);
	close_all(h, 4);
	crash(e);
	assert_int_equal(byte_after(e, "a"), 1);
	assert_int_equal(byte_after(e, "c"), 1);
}

static void a_closed_handle_is_tied_no_more(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(object_close(h[0]), 0);
	h[0] = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	assert_int_equal(engine_fsync(e, h[1]), 0); /* what was open is closed with it */
	assert_int_equal(engine_write_blk(e, h[0], 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(engine_fsync(e, h[1]), 0);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

/* A set has no more than one epoch may have: here in folios. */
static void what_is_too_much_for_a_record_is_closed_before(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t calls = gate_dev_calls(e->gate, GATE_WRITE);

	assert_int_equal(tie(h[0], h[1]), 0);
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(engine_write_blk(e, h[0], i * 64, 1), 0);
		assert_int_equal(engine_write_blk(e, h[1], i * 64, 1), 0);
	}
	engine_wait_calls(e, GATE_WRITE, calls + 1);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(engine_blk_byte(e, h[0], 499 * 64), 1);
	close_all(h, 2);
	assert_after_crash(e, 1, 1);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* Two sets over the same objects, in either order, and both on their way. */
static void sets_do_not_wait_in_a_circle(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	struct result sync[4] = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint8_t i = 0; i < ARRAY_LEN(sync); i++) {
		assert_int_equal(engine_write_blks(e, h[i % 2], 0, ENGINE_WRITTEN_BLKS, i), 0);
		assert_int_equal(engine_write_blk(e, h[1 - i % 2], 0, i), 0);
		fsync_both_start(h[i % 2], h[1 - i % 2], &sync[i]);
	}
	engine_settle(e);
	gate_dev_open(e->gate, GATE_SYNC);
	for (size_t i = 0; i < ARRAY_LEN(sync); i++)
		assert_int_equal(engine_wait(e, &sync[i]), 0);
	close_all(h, 2);
	assert_after_crash(e, ARRAY_LEN(sync) - 1, ARRAY_LEN(sync) - 1);
}

/* Nothing is open: it waits for what is closed, of each of them. */
static void an_fsync_of_several_waits_for_what_is_closed(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result sync[3] = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	object_fsync(h[0], engine_done_cb, &sync[0]);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	object_fsync(h[1], engine_done_cb, &sync[1]);
	fsync_both_start(h[0], h[1], &sync[2]);
	gate_dev_release(e->gate, GATE_SYNC, 1);
	assert_int_equal(engine_wait(e, &sync[0]), 0);
	engine_settle(e);
	assert_false(sync[2].done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &sync[2]), 0);
	assert_true(sync[1].done);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

/* A set that changes only "b" stands behind one that changes only "a", and that fails. */
static void tied_sets_follow_each_other(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	struct result sync[2] = {0};

	assert_int_equal(tie(h[0], h[1]), 0);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	object_fsync(h[0], engine_done_cb, &sync[0]);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	object_fsync(h[1], engine_done_cb, &sync[1]);
	engine_wait_calls(e, GATE_WRITE, writes + 1);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_true(engine_wait(e, &sync[0]) < 0);
	assert_true(engine_wait(e, &sync[1]) < 0);
	assert_int_equal(object_close(h[0]), 0);
	assert_int_equal(object_close(h[1]), 0);
	assert_after_crash(e, 0, 0);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The data of "b" cannot be written: "a", which could be committed, must not be. */
static void what_fails_for_one_fails_for_all(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t empty = engine_free_nblks(e);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 2), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), -ERR_IO);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 2);
	/* what failed is in quarantine, and what is promised is promised */
	assert_int_equal(engine_free_nblks(e), empty - 1 - 3 * (uint64_t)ENGINE_WRITTEN_BLKS);
	assert_int_equal(engine_blk_byte(e, h[0], 0), 1);
	assert_int_equal(engine_blk_byte(e, h[1], 0), 2);
	assert_int_equal(engine_fsync(e, h[0]), 0); /* of one: all are written again */
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

static void a_failed_set_leaves_nothing_after_a_crash(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 2), 0);
	assert_true(fsync_both(e, h[0], h[1]) < 0);
	close_all(h, 2);
	assert_after_crash(e, 0, 0);
}

/* Every handle of all of them is told, once. */
static void a_failed_set_is_told_to_all_handles(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	struct handle *other = engine_open(e, "a");

	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 2), 0);
	assert_true(fsync_both(e, h[0], h[1]) < 0);
	assert_int_equal(engine_fsync(e, other), -ERR_WRITEBACK);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(object_close(other), 0);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

/* "c" is tied to "b" by a later set, and has nothing to do with what fails. */
static void who_waits_behind_a_failed_set_is_told(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0),
			      engine_create_open(e, "c", 0)};
	struct result sync[2] = {0};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	fsync_both_start(h[0], h[1], &sync[0]);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h[2], 0, 2), 0);
	fsync_both_start(h[2], h[1], &sync[1]);
	engine_wait_calls(e, GATE_WRITE, writes + 1);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_true(engine_wait(e, &sync[0]) < 0);
	assert_true(engine_wait(e, &sync[1]) < 0);
	assert_int_equal(fsync_both(e, h[2], h[1]), 0);
	close_all(h, 3);
	assert_after_crash(e, 1, 2);
	assert_int_equal(byte_after(e, "c"), 2);
}

/* What was written before the failed sync is written elsewhere; the small one had nothing there. */
static void a_failed_sync_costs_a_set_a_second_attempt(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	gate_dev_fail_upto(e->gate, GATE_SYNC, gate_dev_calls(e->gate, GATE_SYNC) + 1);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 2), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	/* data, record; data, what may be left of the record, record */
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 5);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

static void a_record_that_fails_fails_for_all(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), -ERR_WRITEBACK);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 4); /* one wipes */
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

static void the_timer_writes_a_failed_set_again(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	assert_int_equal(tie(h[0], h[1]), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 2), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 4)
		engine_turn(e); /* nobody asks for it */
	assert_int_equal(object_close(h[0]), -ERR_WRITEBACK);
	assert_int_equal(object_close(h[1]), -ERR_WRITEBACK);
	engine_flush(e);
	assert_after_crash(e, 1, 2);
}

/* ---- what goes, what is made of it ----------------------------------------------------------- */

/* Its part of the set is not given up while the others keep theirs. */
static void a_tied_object_is_removed_with_its_set_durable(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(object_close(h[0]), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	assert_int_equal(object_close(h[1]), 0);
	crash(e);
	assert_false(exists(e, "a"));
	assert_int_equal(byte_after(e, "b"), 2);
}

static void a_tied_object_whose_writes_fail_can_be_removed(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t empty = engine_free_nblks(e);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(object_close(h[0]), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_remove(e, "a"), 0);
	assert_int_equal(engine_free_nblks(e), empty - 1 - 2 * (uint64_t)ENGINE_WRITTEN_BLKS);
	assert_int_equal(engine_fsync(e, h[1]), -ERR_WRITEBACK); /* it is told; nothing is lost */
	assert_int_equal(engine_fsync(e, h[1]), 0);
	assert_int_equal(object_close(h[1]), 0);
	crash(e);
	assert_false(exists(e, "a"));
	assert_int_equal(byte_after(e, "b"), 2);
}

/* What was written of the others is committed then; nobody has to ask. */
static void who_is_left_of_a_failed_set_goes_on(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(object_close(h[0]), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_remove(e, "a"), 0);
	engine_wait_calls(e, GATE_WRITE, writes + 4); /* the removal's record, and that of b */
	engine_settle(e);
	assert_int_equal(object_close(h[1]), -ERR_WRITEBACK); /* it is told */
	crash(e);
	assert_false(exists(e, "a"));
	assert_int_equal(byte_after(e, "b"), 2);
}

/* Neither what was to be made durable before, nor the removal: all is as if nobody had asked. */
static void a_removal_of_a_tied_object_that_fails_gives_nothing_up(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(object_close(h[0]), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, UINT64_MAX);
	assert_int_equal(engine_remove(e, "a"), -ERR_WRITEBACK);
	h[0] = engine_open(e, "a");
	assert_int_equal(engine_blk_byte(e, h[0], 0), 1);
	assert_int_equal(engine_blk_byte(e, h[0], ENGINE_WRITTEN_BLKS - 1), 1);
	gate_dev_fail_upto(e->gate, GATE_WRITE, 0);
	assert_int_equal(engine_fsync(e, h[1]), -ERR_WRITEBACK); /* it is told of what failed */
	assert_int_equal(engine_fsync(e, h[0]), 0);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
}

static void a_tied_object_can_be_reset(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(engine_blk_byte(e, h[0], 0), 1);
	assert_int_equal(engine_write_blk(e, h[1], 0, 3), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 3), 0);
	assert_int_equal(engine_fsync(e, h[1]), 0);
	close_all(h, 2);
	assert_after_crash(e, 3, 3);
}

/* What is to be closed of the others waits for the turn of the one that leaves them. */
static void who_is_removed_holds_up_nobody(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes;
	struct result reset = {0};
	struct result removed = {0};

	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	assert_int_equal(snapshot(e, "b@v"), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(engine_fsync(e, h[1]), 0);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_hold(e->gate, GATE_WRITE);
	for (uint64_t i = 1; i <= 2; i++) {
		assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
		engine_wait_calls(e, GATE_WRITE, writes + i); /* closed by the timer */
	}
	assert_int_equal(tie(h[0], h[1]), 0);
	object_reset(e->objs, "b@v", engine_info_cb, &reset);
	engine_settle(e);
	assert_int_equal(object_close(h[0]), 0);
	object_remove(e->objs, "a", false, engine_done_cb, &removed);
	engine_settle(e);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &removed), 0);
	assert_int_equal(engine_wait(e, &reset), 0);
	assert_int_equal(engine_blk_byte(e, h[1], 0), 1);
	assert_int_equal(object_close(h[1]), 0);
}

/* What changes an object by another way than its epochs keeps the order too. */
static void a_reset_comes_behind_what_was_acknowledged(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 2), 0);
	assert_int_equal(fsync_both(e, h[0], h[1]), 0);
	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 3), 0);
	assert_int_equal(reset(e, "a@v"), 0);
	close_all(h, 2);
	assert_after_crash(e, 1, 3);
}

static void shared_cb(void *ctx, int err, uint64_t done, uint64_t left)
{
	(void)done;
	(void)left;
	engine_done_cb(ctx, err);
}

static void a_range_clone_comes_behind_what_was_acknowledged(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	struct handle *src = engine_create_open(e, "c", 0);
	struct result res = {0};

	assert_int_equal(engine_write_blk(e, src, 0, 7), 0);
	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 3), 0);
	object_share(h[0], 0, src, 0, BLK_BYTES, shared_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	close_all(h, 2);
	assert_int_equal(object_close(src), 0);
	assert_after_crash(e, 7, 3);
}

static void a_snapshot_of_a_tied_object_closes_the_set(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};

	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 3), 0);
	close_all(h, 2);
	assert_after_crash(e, 1, 2);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Each of them would travel in the record, and all together are larger than the journal. */
static void many_small_epochs_of_a_set_find_room(void **state)
{
	struct engine *e = *state;
	struct handle *h[OBJECT_GROUP_MAX];
	struct result res = {0};
	char name[16];

	for (uint32_t i = 0; i < ARRAY_LEN(h); i++) {
		snprintf(name, sizeof(name), "o%u", i);
		h[i] = engine_create_open(e, name, 0);
	}
	assert_true(ARRAY_LEN(h) * WRITEBACK_INLINE_BLKS * BLK_BYTES > space_of(e).journal_bytes);
	assert_int_equal(object_tie(h, ARRAY_LEN(h)), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(h); i++)
		assert_int_equal(engine_write_blks(e, h[i], 0, WRITEBACK_INLINE_BLKS - 1, 7), 0);
	object_fsync_all(h, ARRAY_LEN(h), engine_done_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	close_all(h, ARRAY_LEN(h));
	crash(e);
	for (uint32_t i = 0; i < ARRAY_LEN(h); i++) {
		snprintf(name, sizeof(name), "o%u", i);
		assert_int_equal(byte_of(e, name, WRITEBACK_INLINE_BLKS - 2), 7);
	}
}

#define MANY 640u

/* Groups of the most handles, each tied to the one before by an object of its. */
static void there_is_a_limit_to_what_is_tied(void **state)
{
	struct engine *e = *state;
	struct handle *h[MANY];
	struct handle *again[MANY / OBJECT_GROUP_MAX];
	uint32_t n = 0;
	int err = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "o%u", i);
		h[i] = engine_create_open(e, name, 0);
	}
	assert_int_equal(object_tie(h, OBJECT_GROUP_MAX + 1), -ERR_LIMIT);
	for (; n < ARRAY_LEN(again) && err == 0; n++) {
		struct handle **group = h + (size_t)n * (OBJECT_GROUP_MAX - 1);

		again[n] = engine_open(e, object_name(group[OBJECT_GROUP_MAX - 1]));
		err = object_tie(group, OBJECT_GROUP_MAX - 1);
		if (err == 0)
			err = tie(again[n], group[0]);
	}
	assert_int_equal(err, -ERR_LIMIT);
	assert_int_equal(n, ARRAY_LEN(again));
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_fsync(e, h[0]), 0);
	close_all(again, n);
	close_all(h, MANY);
}

#define ROUNDS 5u /* together more than may be tied */

/* One object stays; what else it was tied to is closed again, with all of it written. */
static void what_was_closed_again_does_not_count(void **state)
{
	struct engine *e = *state;
	struct handle *h[OBJECT_GROUP_MAX];
	char name[16];

	h[0] = engine_create_open(e, "stays", 0);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 1; i < ARRAY_LEN(h); i++) {
			snprintf(name, sizeof(name), "o%u-%u", round, i);
			h[i] = engine_create_open(e, name, 0);
		}
		assert_int_equal(object_tie(h, ARRAY_LEN(h)), 0);
		close_all(h + 1, ARRAY_LEN(h) - 1);
	}
	/* those of the last one that have something open are closed with it */
	h[1] = engine_open(e, name);
	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	assert_int_equal(object_close(h[1]), 0);
	assert_int_equal(engine_write_blk(e, h[0], 0, 2), 0);
	h[1] = engine_create_open(e, "last", 0);
	assert_int_equal(tie(h[0], h[1]), 0);
	assert_int_equal(engine_fsync(e, h[0]), 0);
	close_all(h, 2);
	crash(e);
	assert_int_equal(byte_of(e, "stays", 0), 2);
	assert_int_equal(byte_of(e, name, 0), 1);
}

#define TEST(name)	   cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TEST_TICKING(name) cmocka_unit_test_setup_teardown(name, setup_ticking, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_fsync_of_several_is_one_record),
	    TEST(what_is_tied_is_closed_by_an_fsync_of_one),
	    TEST(an_fsync_of_several_ties_them_once_only),
	    TEST(sets_that_share_an_object_are_one),
	    TEST(a_closed_handle_is_tied_no_more),
	    TEST(what_is_too_much_for_a_record_is_closed_before),
	    TEST(sets_do_not_wait_in_a_circle),
	    TEST(an_fsync_of_several_waits_for_what_is_closed),
	    TEST(tied_sets_follow_each_other),
	    TEST(what_fails_for_one_fails_for_all),
	    TEST(a_failed_set_leaves_nothing_after_a_crash),
	    TEST(a_failed_set_is_told_to_all_handles),
	    TEST(who_waits_behind_a_failed_set_is_told),
	    TEST(a_failed_sync_costs_a_set_a_second_attempt),
	    TEST(a_record_that_fails_fails_for_all),
	    TEST_TICKING(the_timer_writes_a_failed_set_again),
	    TEST(a_tied_object_is_removed_with_its_set_durable),
	    TEST(a_tied_object_whose_writes_fail_can_be_removed),
	    TEST(who_is_left_of_a_failed_set_goes_on),

	    TEST(a_removal_of_a_tied_object_that_fails_gives_nothing_up),
	    TEST(a_tied_object_can_be_reset),
	    TEST_TICKING(who_is_removed_holds_up_nobody),
	    TEST(a_reset_comes_behind_what_was_acknowledged),
	    TEST(a_range_clone_comes_behind_what_was_acknowledged),
	    TEST(a_snapshot_of_a_tied_object_closes_the_set),
	    TEST(many_small_epochs_of_a_set_find_room),
	    TEST(there_is_a_limit_to_what_is_tied),
	    TEST(what_was_closed_again_does_not_count),
	};

	return cmocka_run_group_tests_name("object tie", tests, NULL, NULL);
}
