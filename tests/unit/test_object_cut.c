/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Zeroing, trimming and shrinking in the engine: over dirty, staged and committed blocks, beside
 * writeback and reads, and after a crash.
 */
#include "tests/unit/object_fixture.h"

#define NBLKS 64u

/* "a" of NBLKS blocks, each with the byte 1 + its number; "synced": in the map, none in memory. */
static struct handle *setup_filled(struct engine *e, bool synced)
{
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint64_t blk = 0; blk < NBLKS; blk++)
		assert_int_equal(engine_write_blk(e, h, blk, (uint8_t)(1 + blk)), 0);
	if (!synced)
		return h;
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	return engine_open(e, "a");
}

/* Blocks [from, end) are zeros, the others as they were. */
static void assert_zeroed(struct engine *e, struct handle *h, uint64_t from, uint64_t end)
{
	for (uint64_t blk = 0; blk < NBLKS; blk++)
		assert_int_equal(engine_blk_byte(e, h, blk),
				 blk >= from && blk < end ? 0 : 1 + blk);
}

/* Where the object has data, as one run after the other. */
static void assert_hole(struct engine *e, struct handle *h, uint64_t from, uint64_t end)
{
	struct result res = {0};

	assert_int_equal(engine_extents(e, h, 0, NBLKS * BLK_BYTES, &res), 0);
	assert_int_equal(res.nruns, 3);
	assert_true(res.runs[0].data && !res.runs[1].data && res.runs[2].data);
	assert_int_equal(res.runs[0].len_bytes, from * BLK_BYTES);
	assert_int_equal(res.runs[1].len_bytes, (end - from) * BLK_BYTES);
}

static void crash_open(struct engine *e, struct handle **h)
{
	(void)object_close(*h);
	crash(e);
	*h = engine_open(e, "a");
}

/* ---- what is there afterwards ---------------------------------------------------------------- */

static void check_zeroed_over(struct engine *e, bool synced)
{
	struct handle *h = setup_filled(e, synced);

	assert_int_equal(engine_zero(e, h, 10 * BLK_BYTES, 30 * BLK_BYTES, false), 0);
	assert_zeroed(e, h, 10, 40);
	assert_hole(e, h, 10, 40);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_zeroed(e, h, 10, 40);
	assert_hole(e, h, 10, 40);
	crash_open(e, &h);
	assert_zeroed(e, h, 10, 40);
	assert_hole(e, h, 10, 40);
	assert_int_equal(object_close(h), 0);
}

static void zero_over_dirty_data(void **state)
{
	check_zeroed_over(*state, false);
}

static void zero_over_committed_data(void **state)
{
	check_zeroed_over(*state, true);
}

/* Both ends of the range within a block: those keep what is outside of it. */
static void edges_keep_what_is_outside(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	uint8_t buf[4 * BLK_BYTES];

	assert_int_equal(engine_zero(e, h, BLK_BYTES + 100, 2 * BLK_BYTES + 7, false), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(engine_read(e, h, BLK_BYTES, buf, sizeof(buf)), sizeof(buf));
		for (size_t i = 0; i < sizeof(buf); i++)
			assert_int_equal(
			    buf[i], i >= 100 && i < 2 * BLK_BYTES + 107 ? 0 : 2 + i / BLK_BYTES);
		assert_int_equal(engine_fsync(e, h), 0);
		crash_open(e, &h);
	}
	assert_int_equal(object_close(h), 0);
}

/* No block as a whole, within a hole, and a hole that is never committed: nothing is left over. */
static void nothing_is_left_of_what_was_zeroed(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	uint8_t buf[BLK_BYTES];

	assert_int_equal(engine_resize(e, h, 2 * NBLKS * BLK_BYTES, false), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_zero(e, h, NBLKS * BLK_BYTES + 100, 50, true), 0);
	crash_open(e, &h);
	assert_int_equal(engine_zero(e, h, 100, 50, false), 0);
	assert_int_equal(engine_read(e, h, 0, buf, sizeof(buf)), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i >= 100 && i < 150 ? 0 : 1);
	assert_int_equal(engine_zero(e, h, 0, 9 * BLK_BYTES, false), 0);
	crash_open(e, &h);
	assert_zeroed(e, h, 0, 0);
	assert_int_equal(engine_zero(e, h, 0, 9 * BLK_BYTES, false), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
}

/* The same as a trim: the blocks at the edges stay as they are. */
static void trim_leaves_what_is_covered_in_part(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);

	assert_int_equal(engine_zero(e, h, BLK_BYTES + 100, 2 * BLK_BYTES + 7, true), 0);
	assert_zeroed(e, h, 2, 3);
	assert_int_equal(engine_zero(e, h, 100, 50, true), 0);
	assert_zeroed(e, h, 2, 3);
	assert_int_equal(object_close(h), 0);
}

/* The last block ends with the object: a range up to there covers it. */
static void the_end_of_the_object_ends_its_last_block(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct result res = {0};

	assert_int_equal(engine_resize(e, h, 10 * BLK_BYTES + 5, true), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_zero(e, h, 10 * BLK_BYTES, UINT64_MAX, true), 0);
	assert_int_equal(object_size(h), 10 * BLK_BYTES + 5);
	assert_int_equal(engine_extents(e, h, 0, UINT64_MAX, &res), 0);
	assert_int_equal(res.nruns, 2);
	assert_int_equal(res.runs[0].len_bytes, 10 * BLK_BYTES);
	assert_int_equal(engine_zero(e, h, 10 * BLK_BYTES + 5, 100, false), 0);
	assert_int_equal(engine_zero(e, h, UINT64_MAX, UINT64_MAX, false), 0);
	assert_int_equal(object_size(h), 10 * BLK_BYTES + 5);
	assert_int_equal(object_close(h), 0);
}

static void space_comes_back(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t before;

	h = engine_create_open(e, "a", 0);
	assert_int_equal(engine_fsync(e, h), 0);
	before = engine_free_nblks(e);
	assert_int_equal(engine_write_blks(e, h, 0, 1000, 7), 0);
	assert_int_equal(engine_zero(e, h, 0, 500 * BLK_BYTES, false), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_free_nblks(e), before - 500);
	assert_int_equal(engine_zero(e, h, 0, UINT64_MAX, true), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	engine_reap(e);
	while (engine_free_nblks(e) != before)
		engine_turn(e);
	assert_int_equal(object_close(h), 0);
}

/* A hole needs no space: it can be made in a store that has none, and makes room. */
static void a_full_store_takes_a_trim(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t blk = 0;
	int err;

	do {
		err = engine_write_blks(e, h, blk, 256, 9);
		blk += 256;
	} while (err == 0);
	assert_int_equal(err, -ERR_NOSPC);
	assert_int_equal(engine_zero(e, h, 0, 1024 * BLK_BYTES, true), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(engine_write_blks(e, h, 256 * i, 256, 3), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, 1023), 3);
	assert_int_equal(engine_blk_byte(e, h, 1024), 9);
	assert_int_equal(object_close(h), 0);
}

static void a_clone_keeps_what_its_source_zeroes(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct handle *c;

	assert_int_equal(engine_clone(e, "a", "b"), 0);
	c = engine_open(e, "b");
	assert_int_equal(engine_zero(e, h, 0, 20 * BLK_BYTES, false), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_zeroed(e, h, 0, 20);
	assert_zeroed(e, c, 0, 0);
	assert_int_equal(engine_zero(e, c, 30 * BLK_BYTES, UINT64_MAX, true), 0);
	assert_int_equal(engine_clone(e, "b", "c"), 0);
	assert_int_equal(object_close(c), 0);
	c = engine_open(e, "c");
	assert_zeroed(e, c, 30, NBLKS);
	assert_zeroed(e, h, 0, 20);
	assert_int_equal(object_close(c), 0);
	assert_int_equal(object_close(h), 0);
}

static void a_version_cannot_be_zeroed(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct handle *v = NULL;

	assert_int_equal(object_close(h), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(open_as(e, "a@v", true, &v), 0);
	assert_int_equal(engine_zero(e, v, 0, BLK_BYTES, false), -ERR_PERM);
	assert_int_equal(object_close(v), 0);
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	struct result *res = ctx;

	res->pv = *pv;
	*pv = (struct pagevec){0};
	engine_done_cb(ctx, err);
}

/* ---- beside writeback and reads -------------------------------------------------------------- */

/* Blocks are zeroed while they are being written, and written again: each state is what comes last,
 * also when the older epochs are committed behind it. */
static void zero_and_write_while_older_data_is_being_written(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct result sync[2] = {0};

	assert_int_equal(engine_write_blks(e, h, 0, NBLKS, 0x80), 0);
	gate_dev_hold(e->gate, GATE_WRITE);
	object_fsync(h, engine_done_cb, &sync[0]);
	engine_settle(e);
	assert_int_equal(engine_zero(e, h, 0, 32 * BLK_BYTES, false), 0);
	for (uint64_t blk = 0; blk < NBLKS; blk++)
		assert_int_equal(engine_blk_byte(e, h, blk), blk < 32 ? 0 : 0x80);
	object_fsync(h, engine_done_cb, &sync[1]);
	engine_settle(e);
	assert_int_equal(engine_write_blk(e, h, 5, 0x55), 0);
	assert_int_equal(engine_zero(e, h, 6 * BLK_BYTES, BLK_BYTES, false), 0);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &sync[0]), 0);
	assert_int_equal(engine_wait(e, &sync[1]), 0);
	for (int round = 0; round < 2; round++) {
		for (uint64_t blk = 0; blk < NBLKS; blk++)
			assert_int_equal(engine_blk_byte(e, h, blk), blk == 5	? 0x55
								     : blk < 32 ? 0
										: 0x80);
		assert_int_equal(engine_fsync(e, h), 0);
		crash_open(e, &h);
	}
	assert_int_equal(object_close(h), 0);
}

/* Holes of the open epoch within one that is on its way: together they are one. */
static void holes_within_a_hole_are_one(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct result sync = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_zero(e, h, 10 * BLK_BYTES, 40 * BLK_BYTES, true), 0);
	object_fsync(h, engine_done_cb, &sync);
	engine_settle(e);
	for (uint64_t blk = 12; blk < 50; blk += 3)
		assert_int_equal(engine_zero(e, h, blk * BLK_BYTES, BLK_BYTES, true), 0);
	assert_hole(e, h, 10, 50);
	assert_zeroed(e, h, 10, 50);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &sync), 0);
	assert_hole(e, h, 10, 50);
	assert_int_equal(object_close(h), 0);
}

/* A read that began before is answered, and what it brings is not taken for the block of now. */
static void zero_while_a_read_brings_the_blocks(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	struct result read = {0};

	gate_dev_hold(e->gate, GATE_READ);
	object_read(h, 0, NBLKS * BLK_BYTES, read_cb, &read);
	engine_settle(e);
	assert_int_equal(engine_zero(e, h, 3 * BLK_BYTES, 7 * BLK_BYTES, false), 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &read), 0);
	pagevec_fini(&read.pv);
	assert_zeroed(e, h, 3, 10);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_zeroed(e, h, 3, 10);
	assert_int_equal(object_close(h), 0);
}

/* What lies between two blocks that are read is not fetched if it is a hole to be: it would be known
 * as the block's content when the hole is in the map. */
static void holes_between_missing_blocks_stay_holes(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);
	uint8_t *buf = malloc(NBLKS * BLK_BYTES);

	assert_non_null(buf);
	for (uint64_t blk = 1; blk < NBLKS; blk += 2)
		assert_int_equal(engine_zero(e, h, blk * BLK_BYTES, BLK_BYTES, true), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(engine_read(e, h, 0, buf, NBLKS * BLK_BYTES), NBLKS * BLK_BYTES);
		for (uint64_t blk = 0; blk < NBLKS; blk++)
			assert_int_equal(buf[blk * BLK_BYTES + 9], blk % 2 == 1 ? 0 : 1 + blk);
		assert_int_equal(engine_fsync(e, h), 0);
	}
	assert_int_equal(object_close(h), 0);
	free(buf);
}

/* More holes than one epoch takes, while none can be committed: the others wait and are not lost. */
static void very_many_holes_wait_for_their_epoch(void **state)
{
	enum { N = 500 };
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result *res = calloc(N, sizeof(*res));
	unsigned int ndone = 0;

	assert_non_null(res);
	assert_int_equal(engine_write_blks(e, h, 0, 2 * N, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	gate_dev_hold(e->gate, GATE_SYNC);
	for (unsigned int i = 0; i < N; i++)
		object_zero(h, 2 * i * BLK_BYTES, BLK_BYTES, true, engine_done_cb, &res[i]);
	engine_settle(e);
	for (unsigned int i = 0; i < N; i++)
		ndone += res[i].done;
	assert_true(ndone > 32 && ndone < 200);
	gate_dev_open(e->gate, GATE_SYNC);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(engine_wait(e, &res[i]), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	crash_open(e, &h);
	for (uint64_t blk = 0; blk < 2 * N; blk++)
		assert_int_equal(engine_blk_byte(e, h, blk), blk % 2);
	assert_int_equal(object_close(h), 0);
	free(res);
}

/* Without an fsync: a prefix of what was acknowledged, the hole whole or not at all. */
static void a_crash_keeps_a_prefix(void **state)
{
	struct engine *e = *state;
	struct handle *h = setup_filled(e, true);

	assert_int_equal(engine_zero(e, h, 8 * BLK_BYTES, 8 * BLK_BYTES, false), 0);
	crash_open(e, &h);
	assert_zeroed(e, h, 0, 0); /* nothing was written back */
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(zero_over_dirty_data),
	    TEST(zero_over_committed_data),
	    TEST(edges_keep_what_is_outside),
	    TEST(nothing_is_left_of_what_was_zeroed),
	    TEST(trim_leaves_what_is_covered_in_part),
	    TEST(the_end_of_the_object_ends_its_last_block),
	    cmocka_unit_test_setup_teardown(space_comes_back, engine_setup, engine_teardown),
	    cmocka_unit_test_setup_teardown(a_full_store_takes_a_trim, engine_setup,
					    engine_teardown),
	    TEST(a_clone_keeps_what_its_source_zeroes),
	    TEST(a_version_cannot_be_zeroed),
	    TEST(zero_and_write_while_older_data_is_being_written),
	    TEST(holes_within_a_hole_are_one),
	    TEST(zero_while_a_read_brings_the_blocks),
	    TEST(holes_between_missing_blocks_stay_holes),
	    TEST(very_many_holes_wait_for_their_epoch),
	    TEST(a_crash_keeps_a_prefix),
	};

	return cmocka_run_group_tests_name("object_cut", tests, NULL, NULL);
}
