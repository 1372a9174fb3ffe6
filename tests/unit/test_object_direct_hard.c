/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_direct_hard.c: direct writes on a device that fails, and on one that is full: what was
 * answered stays, and whose the space is.
 */
#include "tests/unit/direct_fixture.h"

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failed_write_changes_nothing(void **state)
{
	struct direct d = begin(state, 8);
	uint64_t free_before;

	assert_int_equal(engine_write_blk(d.e, d.other, 1, 3), 0);
	free_before = engine_free_nblks(d.e);
	gate_dev_fail_upto(d.e->gate, GATE_WRITE, writes(&d) + 2); /* both attempts */
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), -ERR_IO);
	assert_int_equal(object_size(d.h), 8 * BLK_BYTES);
	expect(&d, 0, 1, 1);
	expect(&d, 1, 1, 3);
	expect(&d, 2, 6, 1);
	/* where it failed is not used again before the next start */
	assert_int_equal(engine_free_nblks(d.e), free_before - UINT64_C(2) * NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, 4, 4), 0);
	expect(&d, 0, 4, 4);
	assert_int_equal(engine_fsync(d.e, d.h), 0); /* nobody has to be told of it */
	end(&d);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - 8);
}

/* Its edges were to be bounced: what they were promised comes back too. */
static void a_failed_write_of_partial_blocks_keeps_no_space(void **state)
{
	static const uint8_t bytes[4 * BLK_BYTES];
	struct direct d = begin(state, 8);
	uint64_t free_before = engine_free_nblks(d.e);

	gate_dev_fail_upto(d.e->gate, GATE_WRITE, writes(&d) + 2);
	assert_int_equal(engine_write(d.e, d.h, 100, bytes, sizeof(bytes)), -ERR_IO);
	assert_int_equal(engine_free_nblks(d.e), free_before - UINT64_C(2) * 3);
	expect(&d, 0, 8, 1);
	end(&d);
}

static void one_failure_is_met_elsewhere(void **state)
{
	struct direct d = begin(state, 8);

	gate_dev_fail_upto(d.e->gate, GATE_WRITE, writes(&d) + 1);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, 8, 2), 0);
	engine_flush(d.e);
	expect(&d, 0, 8, 2);
	end(&d);
}

static void a_crash_before_the_commit_leaks_nothing(void **state)
{
	struct direct d = begin(state, 8);

	assert_int_equal(engine_write_blks(d.e, d.h, 4, NBLKS, 2), 0);
	end(&d);
	engine_stop(d.e);
	engine_check(d.e);
	engine_start(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - 8);
	assert_int_equal(byte_of(d.e, "a", 7), 1);
}

/* The sync of its own commit fails: it is written again from memory, elsewhere. */
static void what_is_placed_is_written_again_after_a_failed_sync(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t before = writes(&d);
	uint64_t syncs = gate_dev_calls(d.e->gate, GATE_SYNC);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, syncs + 1);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(writes(&d), before + 5); /* data and record, twice; the first is wiped */
	assert_int_equal(engine_free_nblks(d.e), d.empty - UINT64_C(2) * NBLKS);
	expect(&d, 0, NBLKS, 2);
	end(&d);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	assert_int_equal(byte_of(d.e, "a", NBLKS - 1), 2);
}

/* A sync fails before its epoch is closed: a later one that succeeds proves nothing for it. */
static void a_sync_that_failed_before_counts_too(void **state)
{
	struct direct d = begin(state, 0);
	struct handle *b = engine_create_open(d.e, "b", 0);
	uint64_t syncs;
	uint64_t before;

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	syncs = gate_dev_calls(d.e->gate, GATE_SYNC);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, syncs + 1);
	assert_int_equal(engine_write_blk(d.e, b, 0, 1), 0);
	assert_int_equal(engine_fsync(d.e, b), 0); /* in its record alone: written again with it */
	assert_int_equal(engine_write_blks(d.e, d.h, NBLKS, NBLKS, 3), 0); /* this is good */
	before = writes(&d);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(writes(&d), before + 2); /* all of it in one piece, and the record */
	expect(&d, 0, NBLKS, 2);
	expect(&d, NBLKS, NBLKS, 3);
	end(&d);
	assert_int_equal(object_close(b), 0);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - UINT64_C(2) * NBLKS - 1);
}

/* Both attempts fail: who asks is told, and the data is there for the next. */
static void a_failed_epoch_with_places_is_kept(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t syncs = gate_dev_calls(d.e->gate, GATE_SYNC);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, syncs + 2);
	assert_int_equal(engine_fsync(d.e, d.h), -ERR_WRITEBACK);
	expect(&d, 0, NBLKS, 2);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(object_close(d.other), -ERR_WRITEBACK);
	assert_int_equal(object_close(d.h), 0);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	assert_int_equal(byte_of(d.e, "a", NBLKS - 1), 2);
}

/* Its places were good when the record failed, and are suspect after the sync: nobody gets them. */
static void suspect_places_are_not_given_back(void **state)
{
	struct direct d = begin(state, 0);

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	gate_dev_fail_upto(d.e->gate, GATE_WRITE, writes(&d) + 2);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, gate_dev_calls(d.e->gate, GATE_SYNC) + 1);
	assert_int_equal(engine_fsync(d.e, d.h), -ERR_WRITEBACK);
	assert_int_equal(object_close(d.other), -ERR_WRITEBACK);
	assert_int_equal(object_close(d.h), 0);
	assert_int_equal(engine_remove(d.e, "a"), 0);
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	engine_restart(d.e);
	assert_int_equal(engine_free_nblks(d.e), d.empty);
}

/* The record fails, and no sync: where the data is is as good as before. */
static void a_failed_record_keeps_the_places(void **state)
{
	struct direct d = begin(state, 0);
	uint64_t before;

	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	before = writes(&d);
	gate_dev_fail_upto(d.e->gate, GATE_WRITE, before + 2); /* of the commit thread */
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(writes(&d), before + 4); /* and wiping it, record; no data */
	assert_int_equal(engine_free_nblks(d.e), d.empty - NBLKS);
	end(&d);
	engine_restart(d.e);
	assert_int_equal(byte_of(d.e, "a", 0), 2);
}

/* ---- space ----------------------------------------------------------------------------------- */

static void no_space_is_met_by_the_write(void **state)
{
	struct direct d = begin(state, 8);
	uint64_t chunk = 256;
	uint64_t n = 8;
	int err = 0;

	while (chunk > 0) {
		err = engine_write_blks(d.e, d.h, n, chunk, 2);
		if (err == 0)
			n += chunk;
		else
			chunk /= 2;
		assert_true(err == 0 || err == -ERR_NOSPC);
	}
	assert_int_equal(engine_free_nblks(d.e), 0);
	assert_int_equal(object_size(d.h), n * BLK_BYTES);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, 4, 3), -ERR_NOSPC);
	expect(&d, 0, 8, 1);
	expect(&d, n - 1, 1, 2);
	assert_int_equal(engine_fsync(d.e, d.h), 0); /* what was answered has its space */
	assert_int_equal(engine_zero(d.e, d.h, 100 * BLK_BYTES, 100 * BLK_BYTES, false), 0);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, 4, 3), 0); /* waits for it */
	expect(&d, 0, 4, 3);
	end(&d);
}

/* Writes more of the object than it had, so that this many blocks are free. */
static void fill_but(struct direct *d, uint64_t left)
{
	for (uint64_t blk = 1000; engine_free_nblks(d->e) > left;) {
		uint64_t n = engine_free_nblks(d->e) - left;

		n = n < 256 ? n : 256;
		assert_int_equal(engine_write_blks(d->e, d->h, blk, n, 9), 0);
		blk += n;
	}
	assert_int_equal(engine_fsync(d->e, d->h), 0);
	engine_flush(d->e);
}

/* Whole blocks to be placed, and one at either end to be bounced: all are reserved before any is
 * placed, and the write that has not all of them goes on holding nothing. */
static void all_space_is_there_before_any_is_placed(void **state)
{
	static uint8_t bytes[4 * BLK_BYTES];
	struct direct d = begin(state, 0);
	struct result res[2] = {0};
	uint64_t before;

	fill_but(&d, 9); /* each needs 5 */
	before = writes(&d);
	gate_dev_hold(d.e->gate, GATE_WRITE);
	for (uint64_t i = 0; i < 2; i++) {
		uint64_t off = i * 100 * BLK_BYTES + 100;
		struct pagevec pv;

		memset(bytes, (int)i + 1, sizeof(bytes));
		pv = engine_payload(d.e, off, bytes, sizeof(bytes));
		object_write(d.h, off, &pv, engine_done_cb, &res[i]);
		engine_wait_calls(d.e, GATE_WRITE, before + 1); /* the edges are filled */
		engine_settle(d.e);
		assert_int_equal(writes(&d), before + 1);
	}
	gate_dev_open(d.e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(d.e, &res[0]), 0);
	assert_int_equal(engine_wait(d.e, &res[1]), -ERR_NOSPC);
	assert_int_equal(engine_free_nblks(d.e), 4);
	end(&d);
}

/* ---- a failed sync on a full device ---------------------------------------------------------- */

/* What the device has of blocks of this byte is lost, as what a failed sync was about may be.  How many
 * there were. */
static uint32_t lose(struct direct *d, uint8_t byte)
{
	uint8_t want[BLK_BYTES];
	uint8_t got[BLK_BYTES];
	uint32_t n = 0;
	FILE *file = fopen(d->e->dev_path, "r+");

	assert_non_null(file);
	memset(want, byte, sizeof(want));
	for (long at = 0; fread(got, sizeof(got), 1, file) == 1; at += (long)BLK_BYTES) {
		if (memcmp(got, want, sizeof(got)) != 0)
			continue;
		assert_int_equal(fseek(file, at, SEEK_SET), 0);
		memset(got, 0xee, sizeof(got));
		assert_int_equal(fwrite(got, sizeof(got), 1, file), 1);
		assert_int_equal(fseek(file, at + (long)BLK_BYTES, SEEK_SET), 0);
		n++;
	}
	assert_int_equal(fclose(file), 0);
	return n;
}

/* An fsync whose first n syncs fail, and with these all blocks of that byte. */
static int fsync_losing(struct direct *d, uint32_t n, uint8_t byte)
{
	uint64_t syncs = gate_dev_calls(d->e->gate, GATE_SYNC);
	struct result res = {0};

	gate_dev_hold(d->e->gate, GATE_SYNC);
	object_fsync(d->h, engine_done_cb, &res);
	gate_dev_fail_upto(d->e->gate, GATE_SYNC, syncs + n);
	for (uint32_t i = 1; i <= n; i++) {
		engine_wait_calls(d->e, GATE_SYNC, syncs + i);
		assert_int_equal(lose(d, byte), NBLKS);
		gate_dev_release(d->e->gate, GATE_SYNC, 1);
	}
	gate_dev_open(d->e->gate, GATE_SYNC);
	return engine_wait(d->e, &res);
}

/* The blocks are there after a crash, and every other one is where it is on the device. */
static void expect_after_crash(struct direct *d, uint8_t byte)
{
	end(d);
	engine_stop(d->e);
	engine_check(d->e);
	engine_start(d->e);
	for (uint64_t i = 0; i < NBLKS; i++)
		assert_int_equal(byte_of(d->e, "a", i), byte);
	assert_int_equal(byte_of(d->e, "a", 1000), 9);
}

/* The data that a sync failed about is written once more, where it was; no space is asked for. */
static void what_is_placed_needs_no_space_after_a_failed_sync(void **state)
{
	struct direct d = begin(state, 0);

	fill_but(&d, NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(engine_free_nblks(d.e), 0);
	assert_int_equal(fsync_losing(&d, 1, 2), 0);
	assert_int_equal(engine_free_nblks(d.e), 0);
	expect_after_crash(&d, 2);
}

/* The same for what its epoch has written. */
static void nor_does_what_was_written(void **state)
{
	struct direct d = begin(state, 0);

	fill_but(&d, NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.other, 0, NBLKS, 2), 0);
	assert_int_equal(fsync_losing(&d, 1, 2), 0);
	expect_after_crash(&d, 2);
}

/* The sync fails before the epoch is closed, and only that one. */
static void nor_does_what_was_placed_before_it(void **state)
{
	struct direct d = begin(state, 0);
	struct handle *b = engine_create_open(d.e, "b", 0);
	uint64_t syncs;

	fill_but(&d, NBLKS + 1);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(engine_write_blk(d.e, b, 0, 1), 0);
	syncs = gate_dev_calls(d.e->gate, GATE_SYNC);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, syncs + 1);
	assert_int_equal(engine_fsync(d.e, b), 0);
	assert_int_equal(lose(&d, 2), NBLKS);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(object_close(b), 0);
	expect_after_crash(&d, 2);
}

/* Each of several failed syncs is told of, and none as a want of space. */
static void failed_syncs_are_no_want_of_space(void **state)
{
	struct direct d = begin(state, 0);

	fill_but(&d, NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(fsync_losing(&d, 2, 2), -ERR_WRITEBACK);
	assert_int_equal(fsync_losing(&d, 2, 2), -ERR_WRITEBACK);
	assert_int_equal(fsync_losing(&d, 1, 2), 0);
	assert_int_equal(object_close(d.other), -ERR_WRITEBACK);
	d.other = engine_open(d.e, "a");
	expect_after_crash(&d, 2);
}

/* When space comes free it is for what is suspect, and not for a write that comes then. */
static void what_is_suspect_gets_space_first(void **state)
{
	struct direct d = begin(state, 0);

	make(d.e, "gone", NBLKS, 7);
	fill_but(&d, NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	assert_int_equal(fsync_losing(&d, 2, 2), -ERR_WRITEBACK);
	assert_int_equal(engine_remove(d.e, "gone"), 0);
	engine_reap(d.e);
	assert_int_equal(engine_write_blk(d.e, d.h, 500, 5), -ERR_NOSPC);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(engine_free_nblks(d.e), 0);
	assert_int_equal(object_close(d.other), -ERR_WRITEBACK);
	d.other = engine_open(d.e, "a");
	expect_after_crash(&d, 2);
	assert_int_equal(engine_free_nblks(d.e), NBLKS); /* where they were first */
}

/* They cannot be written where they are: that is quarantined, and they lack space from then on. */
static void a_place_that_fails_again_is_quarantined(void **state)
{
	struct direct d = begin(state, 0);
	struct result res = {0};
	uint64_t before;

	make(d.e, "gone", NBLKS, 7);
	fill_but(&d, NBLKS);
	assert_int_equal(engine_write_blks(d.e, d.h, 0, NBLKS, 2), 0);
	before = writes(&d);
	gate_dev_hold(d.e->gate, GATE_WRITE);
	gate_dev_fail_upto(d.e->gate, GATE_SYNC, gate_dev_calls(d.e->gate, GATE_SYNC) + 1);
	object_fsync(d.h, engine_done_cb, &res);
	gate_dev_release(d.e->gate, GATE_WRITE, 1); /* the record */
	engine_wait_calls(d.e, GATE_WRITE, before + 2);
	gate_dev_fail_upto(d.e->gate, GATE_WRITE, before + 2);
	gate_dev_open(d.e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(d.e, &res), -ERR_IO);
	expect(&d, 0, NBLKS, 2);
	assert_int_equal(engine_fsync(d.e, d.h), -ERR_NOSPC);
	assert_int_equal(engine_remove(d.e, "gone"), 0);
	engine_reap(d.e);
	assert_int_equal(engine_fsync(d.e, d.h), 0);
	assert_int_equal(object_close(d.other), -ERR_WRITEBACK);
	d.other = engine_open(d.e, "a");
	assert_int_equal(engine_free_nblks(d.e), 0);
	expect_after_crash(&d, 2);
}

#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(a_failed_write_changes_nothing),
	    UNTIMED(a_failed_write_of_partial_blocks_keeps_no_space),
	    UNTIMED(one_failure_is_met_elsewhere),
	    UNTIMED(a_crash_before_the_commit_leaks_nothing),
	    UNTIMED(what_is_placed_is_written_again_after_a_failed_sync),
	    UNTIMED(a_sync_that_failed_before_counts_too),
	    UNTIMED(a_failed_epoch_with_places_is_kept),
	    UNTIMED(suspect_places_are_not_given_back),
	    UNTIMED(a_failed_record_keeps_the_places),
	    UNTIMED(no_space_is_met_by_the_write),
	    UNTIMED(all_space_is_there_before_any_is_placed),
	    UNTIMED(what_is_placed_needs_no_space_after_a_failed_sync),
	    UNTIMED(nor_does_what_was_written),
	    UNTIMED(nor_does_what_was_placed_before_it),
	    UNTIMED(failed_syncs_are_no_want_of_space),
	    UNTIMED(what_is_suspect_gets_space_first),
	    UNTIMED(a_place_that_fails_again_is_quarantined),
	};

	return cmocka_run_group_tests_name("object direct hard", tests, NULL, NULL);
}
