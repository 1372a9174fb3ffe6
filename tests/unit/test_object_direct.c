/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_direct.c: reads and writes past the cache: what is on the device when a write has been
 * answered, what stays in memory, and whose the space is at each moment.
 */
#include "tests/unit/direct_fixture.h"

/* ---- past the cache -------------------------------------------------------------------------- */

static void a_direct_write_is_on_the_device_when_answered(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t before = writes(&d);
	uint64_t syncs = gate_dev_calls(d.e->gate, GATE_SYNC);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(writes(&d), before + 1);
	assert_int_equal(gate_dev_calls(d.e->gate, GATE_SYNC), syncs); /* not durable yet */
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	expect(&d, 0, NBLKS, 2);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(writes(&d), before + 2); /* the record: the data is there */
	assert_int_equal(gate_dev_calls(d.e->gate, GATE_SYNC), syncs + 1);
	end(&d);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	assert_int_equal(byte_of(d.e, "a", NBLKS - 1), 2);
}

static void a_small_one_too(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t before = writes(&d);

	assert_int_equal(engine_write_blk(d.e, d.h, 0, 2), 0);
	assert_int_equal(writes(&d), before + 1);
	assert_int_equal(engine_write_blk(d.e, d.other, 1, 3), 0); /* of the same epoch */
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(writes(&d), before + 3); /* that one, and the record */
	expect(&d, 0, 1, 2);
	expect(&d, 1, 1, 3);
	end(&d);
}

static void a_request_may_ask_for_it(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t before = writes(&d);
	uint8_t bytes[BLK_BYTES] = {7};
	struct pagevec pv = engine_payload(d.e, 0, bytes, BLK_BYTES);
	struct result res = {0};

	object_write_direct(d.other, 0, &pv, engine_done_cb, &res);
	assert_int_equal(engine_wait(d.e, &res), 0);
	assert_int_equal(writes(&d), before + 1);
	expect(&d, 0, 1, 7);
	end(&d);
}

static void what_is_written_is_not_kept(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t reads;

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	engine_flush(d.e);
	assert_int_equal(stats(&d).clean_pages, 0);
	reads = stats(&d).read_nblks;
	expect(&d, 0, 1, 2); /* the buffered handle keeps it, and the direct one finds it */
	assert_int_equal(stats(&d).read_nblks, reads + 1);
	assert_int_equal(engine_write_blks(d.e, d.other, 0, NBLKS, 3), 0);
	engine_flush(d.e);
	assert_true(stats(&d).clean_pages >= NBLKS);
	end(&d);
}

static void what_is_read_is_not_kept(void **state)
{
	struct direct d = begin(state, NBLKS);
	uint8_t bytes[8 * BLK_BYTES];

	for (uint64_t i = 1; i <= 2; i++) {
		assert_int_equal(engine_read(d.e, d.h, 0, bytes, sizeof(bytes)), sizeof(bytes));
		assert_int_equal(bytes[0], 1);
		assert_int_equal(stats(&d).read_nblks, 8 * i);
		assert_int_equal(stats(&d).ahead_nblks, 0);
		assert_int_equal(stats(&d).clean_pages, 0);
	}
	/* in sequence, and nothing is read ahead */
	assert_int_equal(engine_read(d.e, d.h, sizeof(bytes), bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(stats(&d).read_nblks, 24);
	end(&d);
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	(void)pv;
	engine_done_cb(ctx, err);
}

/* One fetch for both: what somebody wants in the cache stays there. */
static void what_others_wait_for_is_kept(void **state)
{
	struct direct d = begin(state, NBLKS);
	struct result direct = {0};
	struct result buffered = {0};

	gate_dev_hold(d.e->gate, GATE_READ);
	object_read(d.h, 0, 8 * BLK_BYTES, read_cb, &direct);
	engine_wait_calls(d.e, GATE_READ, 1);
	object_read(d.other, 0, 4 * BLK_BYTES, read_cb, &buffered);
	engine_settle(d.e);
	gate_dev_open(d.e->gate, GATE_READ);
	assert_int_equal(engine_wait(d.e, &direct), 0);
	assert_int_equal(engine_wait(d.e, &buffered), 0);
	assert_int_equal(stats(&d).read_nblks, 8);
	assert_int_equal(stats(&d).clean_pages, 4);
	end(&d);
}

/* Of another object, that shares the block: it waits for a read whose page is not kept. */
static void who_follows_a_direct_read_reads_for_himself(void **state)
{
	struct direct d = begin(state, NBLKS);
	struct result direct = {0};
	struct result buffered = {0};
	struct handle *clone;

	assert_int_equal(engine_clone(d.e, "a", "b"), 0);
	clone = engine_open(d.e, "b");
	gate_dev_hold(d.e->gate, GATE_READ);
	object_read(d.h, 0, BLK_BYTES, read_cb, &direct);
	engine_wait_calls(d.e, GATE_READ, 1);
	object_read(clone, 0, BLK_BYTES, read_cb, &buffered);
	engine_settle(d.e);
	gate_dev_open(d.e->gate, GATE_READ);
	assert_int_equal(engine_wait(d.e, &direct), 0);
	assert_int_equal(engine_wait(d.e, &buffered), 0);
	assert_int_equal(stats(&d).read_nblks, 2);
	assert_int_equal(stats(&d).clean_pages, 1);
	assert_int_equal(object_close(clone), 0);
	end(&d);
}

static void a_direct_read_sees_what_is_dirty_and_staged(void **state)
{
	struct direct d = begin(state, NBLKS);
	struct result sync = {0};
	uint64_t before = writes(&d);

	assert_int_equal(engine_write_blks(d.e, d.other, 0, NBLKS / 2, 2), 0);
	expect(&d, 0, NBLKS / 2, 2);
	gate_dev_hold(d.e->gate, GATE_WRITE);
	object_fsync(d.other, engine_done_cb, &sync);
	engine_wait_calls(d.e, GATE_WRITE, before + 1);
	expect(&d, 0, NBLKS / 2, 2);
	expect(&d, NBLKS / 2, NBLKS / 2, 1);
	gate_dev_open(d.e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(d.e, &sync), 0);
	end(&d);
}

/* ---- unaligned ------------------------------------------------------------------------------- */

/* Head and tail go through the cache, the blocks between past it. */
static void partial_blocks_are_bounced(void **state)
{
	static const uint64_t off = 100;
	static const uint64_t len = 4 * BLK_BYTES + 50;
	struct direct d = begin(state, 8);
	uint64_t free_before = engine_free_nblks(d.e);
	uint64_t before = writes(&d);
	uint8_t bytes[8 * BLK_BYTES];
	uint8_t want[8 * BLK_BYTES];

	memset(bytes, 9, len);
	memset(want, 1, sizeof(want));
	memset(want + off, 9, len);
	assert_int_equal(engine_write(d.e, d.h, off, bytes, len), 0);
	assert_int_equal(writes(&d), before + 1);
	assert_int_equal(engine_free_nblks(d.e), free_before - 5); /* 3 placed, 2 promised */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(engine_read(d.e, d.h, 0, bytes, sizeof(bytes)), sizeof(bytes));
		assert_memory_equal(bytes, want, sizeof(want));
		engine_flush(d.e);
		assert_int_equal(stats(&d).clean_pages, 2);
	}
	end(&d);
}

static void what_covers_no_block_is_buffered(void **state)
{
	struct direct d = begin(state, 8);
	uint64_t before = writes(&d);
	uint8_t bytes[200];

	memset(bytes, 9, sizeof(bytes));
	assert_int_equal(engine_write(d.e, d.h, BLK_BYTES - 100, bytes, sizeof(bytes)), 0);
	assert_int_equal(writes(&d), before);
	assert_int_equal(engine_blk_byte(d.e, d.other, 1), 9);
	end(&d);
}

/* ---- beside others --------------------------------------------------------------------------- */

static void readers_see_the_old_data_until_it_is_applied(void **state)
{
	struct direct d = begin(state, 8);
	struct result res = {0};

	start_held(&d, 0, 12, 2, &res);
	expect(&d, 0, 8, 1);
	assert_int_equal(object_size(d.h), 8 * BLK_BYTES);
	assert_int_equal(release(&d, &res), 0);
	expect(&d, 0, 12, 2);
	end(&d);
}

/* It is applied when the device has it: what was written meanwhile is older, and gives back what it
 * was promised, or where it was placed. */
static void the_last_to_be_applied_wins(void **state)
{
	struct direct d = begin(state, 8);
	uint64_t free_before = engine_free_nblks(d.e);
	struct result res = {0};

	start_held(&d, 0, 8, 2, &res);
	assert_int_equal(engine_write_blks(d.e, d.other, 2, 3, 3), 0);
	expect(&d, 2, 3, 3);
	assert_int_equal(release(&d, &res), 0);
	expect(&d, 0, 8, 2);
	assert_int_equal(engine_free_nblks(d.e), free_before - 8);
	assert_int_equal(engine_write_blks(d.e, d.other, 2, 3, 4), 0);
	assert_int_equal(engine_free_nblks(d.e), free_before - 8);
	assert_int_equal(engine_write_blks(d.e, d.h, 3, 3, 5), 0);
	assert_int_equal(engine_free_nblks(d.e), free_before - 8);
	for (int round = 0; round < 2; round++) {
		expect(&d, 0, 2, 2);
		expect(&d, 2, 1, 4);
		expect(&d, 3, 3, 5);
		expect(&d, 6, 2, 2);
		engine_flush(d.e);
	}
	end(&d);
	engine_reap(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - 8);
}

/* An epoch is frozen and committed while the write is on its way: it belongs to the next. */
static void an_epoch_may_end_meanwhile(void **state)
{
	struct direct d = begin(state, 8);
	uint64_t before = writes(&d);
	struct result res = {0};
	struct result sync = {0};

	assert_int_equal(engine_write_blk(d.e, d.other, 1, 3), 0);
	start_held(&d, 0, 4, 2, &res);
	object_fsync(d.other, engine_done_cb, &sync);
	engine_wait_calls(d.e, GATE_WRITE, before + 2); /* its record */
	assert_int_equal(release(&d, &res), 0);
	assert_int_equal(engine_wait(d.e, &sync), 0);
	expect(&d, 0, 4, 2);
	end(&d);
	crash(d.e); /* it was not synced */
	assert_int_equal(byte_of(d.e, "a", 0), 1);
	assert_int_equal(byte_of(d.e, "a", 1), 3);
}

static void a_clone_holds_what_was_answered(void **state)
{
	struct direct d = begin(state, 8);
	struct result res = {0};

	assert_int_equal(engine_write_blks(d.e, d.h, 0, 2, 2), 0);
	start_held(&d, 4, 2, 3, &res);
	gate_dev_release(d.e->gate, GATE_WRITE, 1);
	assert_int_equal(engine_wait(d.e, &res), 0);
	gate_dev_open(d.e->gate, GATE_WRITE);
	assert_int_equal(engine_clone(d.e, "a", "b"), 0);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, 8, 4), 0);
	assert_int_equal(byte_of(d.e, "b", 0), 2);
	assert_int_equal(byte_of(d.e, "b", 3), 1);
	assert_int_equal(byte_of(d.e, "b", 4), 3);
	end(&d);
}

static void cuts_take_what_is_placed(void **state)
{
	struct direct d = begin(state, 0);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(engine_zero(d.e, d.h, BLK_BYTES, 10 * BLK_BYTES, false), 0);
	assert_int_equal(engine_free_nblks(d.e), d.empty - (NBLKS - 10));
	expect(&d, 0, 1, 2);
	expect(&d, 1, 10, 0);
	expect(&d, 11, 1, 2);
	/* within a block: it is promised instead */
	assert_int_equal(engine_resize(d.e, d.h, 12 * BLK_BYTES + 1, true), 0);
	assert_int_equal(engine_free_nblks(d.e), d.empty - 3);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(engine_resize(d.e, d.h, 14 * BLK_BYTES, false), 0);
	expect(&d, 11, 1, 2);
	expect(&d, 13, 1, 0);
	end(&d);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - 3);
}

static void what_is_removed_gives_back_its_places(void **state)
{
	struct direct d = begin(state, 0);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	end(&d);
	assert_int_equal(engine_remove(d.e, "a"), 0);
	assert_int_equal(engine_free_nblks(d.e), d.empty);
}

static void a_reset_drops_what_is_placed(void **state)
{
	struct direct d = begin(state, 8);
	struct result gone = {0};
	struct result res = {0};

	assert_int_equal(snapshot(d.e, "a@v"), 0);
	start_held(&d, 0, 8, 2, &res);
	object_reset(d.e->objs, "a@v", engine_info_cb, &gone);
	engine_settle(d.e);
	assert_int_equal(release(&d, &res), 0); /* before it, or behind its gate */
	assert_int_equal(engine_wait(d.e, &gone), 0);
	assert_true(engine_blk_byte(d.e, d.other, 0) == engine_blk_byte(d.e, d.other, 7));
	end(&d);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Writes that wait for memory: each finds it when others have been committed. */
static void many_at_once_take_turns(void **state)
{
	enum { N = 24, EACH = 32 };
	struct direct d = begin(state, 0);
	static uint8_t bytes[EACH * BLK_BYTES];
	struct result res[N];

	memset(res, 0, sizeof(res));
	for (uint64_t i = 0; i < N; i++) {
		struct pagevec pv;

		memset(bytes, (int)i + 1, sizeof(bytes));
		pv = engine_payload(d.e, i * sizeof(bytes), bytes, sizeof(bytes));
		object_write(d.h, i * sizeof(bytes), &pv, engine_done_cb, &res[i]);
	}
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(engine_wait(d.e, &res[i]), 0);
	for (uint64_t i = 0; i < N; i++)
		expect(&d, i * EACH, 1, (uint8_t)(i + 1));
	end(&d);
	engine_flush(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - N * EACH);
}

#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TINY(name)    cmocka_unit_test_setup_teardown(name, engine_setup_tiny, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(a_direct_write_is_on_the_device_when_answered),
	    UNTIMED(a_small_one_too),
	    UNTIMED(a_request_may_ask_for_it),
	    UNTIMED(what_is_written_is_not_kept),
	    UNTIMED(what_is_read_is_not_kept),
	    UNTIMED(what_others_wait_for_is_kept),
	    UNTIMED(who_follows_a_direct_read_reads_for_himself),
	    UNTIMED(a_direct_read_sees_what_is_dirty_and_staged),
	    UNTIMED(partial_blocks_are_bounced),
	    UNTIMED(what_covers_no_block_is_buffered),
	    UNTIMED(readers_see_the_old_data_until_it_is_applied),
	    UNTIMED(the_last_to_be_applied_wins),
	    UNTIMED(an_epoch_may_end_meanwhile),
	    UNTIMED(a_clone_holds_what_was_answered),
	    UNTIMED(cuts_take_what_is_placed),
	    UNTIMED(what_is_removed_gives_back_its_places),
	    UNTIMED(a_reset_drops_what_is_placed),
	    TINY(many_at_once_take_turns),
	};

	return cmocka_run_group_tests_name("object direct", tests, NULL, NULL);
}
