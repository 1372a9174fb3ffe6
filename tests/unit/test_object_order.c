/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_order.c: the engine while the device is slow: what waits, what goes before what, and
 * what is taken of space and memory meanwhile.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"

/* Without the timer, which would do what is to be tested. */
static int setup_untimed(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

static void write_start(struct engine *e, struct handle *h, uint64_t off, const uint8_t *data,
			uint64_t len, struct result *res)
{
	struct pagevec pv = engine_payload(e, off, data, len);

	object_write(h, off, &pv, engine_done_cb, res);
}

static uint8_t *zeros_new(uint64_t len)
{
	uint8_t *zeros = calloc(1, len);

	assert_non_null(zeros);
	return zeros;
}

/* ---- epochs and clones ----------------------------------------------------------------------- */

static void clone_goes_before(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result first = {0};
	struct result clone = {0};
	struct result second = {0};
	struct handle *c;

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blks(e, h, 0, nblks, 1), 0);
	object_fsync(h, engine_done_cb, &first);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	object_clone(e->objs, "a", "b", NULL, engine_info_cb, &clone);
	engine_wait_clone(e, h);
	assert_int_equal(engine_write_blks(e, h, 0, nblks, 2), 0);
	object_fsync(h, engine_done_cb, &second);
	if (nblks >= ENGINE_WRITTEN_BLKS)
		engine_wait_calls(e, GATE_WRITE, writes + 3); /* data, record; data */
	engine_settle(e);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &clone), 0);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(engine_wait(e, &first), 0);
	c = engine_open(e, "b");
	for (uint64_t i = 0; i < nblks; i++)
		assert_int_equal(engine_blk_byte(e, c, i), 1);
	assert_int_equal(object_close(c), 0);
	assert_int_equal(object_close(h), 0);
}

static void a_clone_goes_before_the_next_epoch(void **state)
{
	clone_goes_before(*state, ENGINE_WRITTEN_BLKS);
}

static void a_clone_goes_before_the_next_small_epoch(void **state)
{
	clone_goes_before(*state, 1);
}

/* A client that goes on as soon as its fsync is answered. */
struct goes_on {
	struct handle *h;
	struct result resize;
	struct result fsync;
};

static void goes_on_cb(void *ctx, int err)
{
	struct goes_on *on = ctx;

	assert_int_equal(err, 0);
	object_resize(on->h, 10 * MIB, false, engine_done_cb, &on->resize);
	object_fsync(on->h, engine_done_cb, &on->fsync);
}

static void a_clone_is_not_overtaken_by_what_a_callback_starts(void **state)
{
	struct engine *e = *state;
	struct goes_on on = {.h = engine_create_open(e, "a", 0)};
	struct result clone = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, on.h, 0, 1), 0);
	object_fsync(on.h, goes_on_cb, &on);
	object_clone(e->objs, "a", "b", NULL, engine_info_cb, &clone);
	engine_wait_clone(e, on.h); /* for the same epoch, behind the fsync */
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &clone), 0);
	assert_int_equal(clone.info.size_bytes, BLK_BYTES);
	assert_int_equal(engine_wait(e, &on.resize), 0);
	assert_int_equal(engine_wait(e, &on.fsync), 0);
	assert_int_equal(object_close(on.h), 0);
}

static void a_closed_truncation_hides_the_map(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result first = {0};
	struct result second = {0};

	assert_int_equal(engine_write_blk(e, h, 40, 7), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* block 40 is on the device only */
	h = engine_open(e, "a");
	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	object_fsync(h, engine_done_cb, &first);
	engine_wait_calls(e, GATE_SYNC, 1);
	assert_int_equal(engine_resize(e, h, BLK_BYTES, true), 0);
	assert_int_equal(engine_resize(e, h, MIB, false), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	object_fsync(h, engine_done_cb, &second);
	gate_dev_release(e->gate, GATE_SYNC, 1);
	assert_int_equal(engine_wait(e, &first), 0);
	engine_wait_calls(e, GATE_SYNC, 2); /* the truncation is on its way, not yet there */
	assert_int_equal(engine_blk_byte(e, h, 40), 0);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(engine_blk_byte(e, h, 40), 0);
	assert_int_equal(object_close(h), 0);
}

static void a_third_fsync_is_closed_when_its_turn_comes(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result sync[3] = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint64_t i = 0; i < ARRAY_LEN(sync); i++) {
		assert_int_equal(
		    engine_write_blks(e, h, i * ENGINE_WRITTEN_BLKS, ENGINE_WRITTEN_BLKS, 1), 0);
		object_fsync(h, engine_done_cb, &sync[i]);
	}
	gate_dev_open(e->gate, GATE_SYNC);
	for (size_t i = 0; i < ARRAY_LEN(sync); i++)
		assert_int_equal(engine_wait(e, &sync[i]), 0);
	assert_int_equal(object_close(h), 0);
}

/* What fits into a record gains nothing by being closed before its turn, and until then others share it. */
static void fsyncs_behind_one_share_an_epoch(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result sync[ENGINE_WRITTEN_BLKS] = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint64_t i = 0; i < ARRAY_LEN(sync); i++) {
		assert_int_equal(engine_write_blk(e, h, i, (uint8_t)(i + 1)), 0);
		object_fsync(h, engine_done_cb, &sync[i]);
		engine_wait_calls(e, GATE_SYNC, syncs + 1);
		engine_settle(e);
	}
	gate_dev_open(e->gate, GATE_SYNC);
	for (size_t i = 0; i < ARRAY_LEN(sync); i++)
		assert_int_equal(engine_wait(e, &sync[i]), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 2);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < ARRAY_LEN(sync); i++)
		assert_int_equal(engine_blk_byte(e, h, i), i + 1);
	assert_int_equal(object_close(h), 0);
}

/* What does not is written while the one before it is being committed, and so is what has grown. */
static void a_large_epoch_is_written_beside_one(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result first = {0};
	struct result second = {0};
	uint64_t writes;

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	object_fsync(h, engine_done_cb, &first);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blk(e, h, 1, 2), 0);
	object_fsync(h, engine_done_cb, &second);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes);
	assert_int_equal(engine_write_blks(e, h, 2, ENGINE_WRITTEN_BLKS, 2), 0);
	engine_wait_calls(e, GATE_WRITE, writes + 1);
	assert_false(first.done || second.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &first), 0);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(object_close(h), 0);
}

static void the_tail_of_the_last_block_is_zeros(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint8_t block[BLK_BYTES];

	memset(block, 1, sizeof(block));
	assert_int_equal(engine_write(e, h, 0, block, 100), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* the block is on the device only, and all of it is overwritten */
	h = engine_open(e, "a");
	assert_int_equal(engine_write(e, h, 0, block, 200), 0);
	assert_int_equal(engine_resize(e, h, BLK_BYTES, false), 0);
	assert_int_equal(engine_read(e, h, 0, block, BLK_BYTES), BLK_BYTES);
	for (uint32_t i = 0; i < BLK_BYTES; i++)
		assert_int_equal(block[i], i < 200);
	assert_int_equal(object_close(h), 0);
}

/* ---- space ----------------------------------------------------------------------------------- */

static void reservations_are_given_back(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	struct handle *h = engine_create_open(e, "a", MIB);

	assert_int_equal(engine_resize(e, h, 5000, true), 0); /* cuts a hole: nothing to write */
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0); /* dirty already */
	assert_int_equal(engine_free_nblks(e), empty - 1);
	assert_int_equal(engine_write_blk(e, h, 9, 1), 0);
	assert_int_equal(engine_resize(e, h, BLK_BYTES, true), 0);
	assert_int_equal(engine_free_nblks(e), empty - 1);
	assert_int_equal(engine_resize(e, h, 0, true), 0);
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(object_close(h), 0);
}

/* One commit makes room for all of them: none waits for another. */
static void all_parked_writes_go_on(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint8_t *zeros = zeros_new(8 * MIB);
	struct result res[4] = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	write_start(e, h, 0, zeros, 8 * MIB, &res[0]);
	for (uint64_t i = 1; i < ARRAY_LEN(res); i++) {
		write_start(e, h, (8 + i) * MIB, zeros, MIB / 2, &res[i]);
		assert_false(res[i].done);
	}
	gate_dev_open(e->gate, GATE_WRITE);
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		assert_int_equal(engine_wait(e, &res[i]), 0);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

/* A write of a fixed size that has waited is about the object as it is by then, not as it was. */
static void a_fixed_size_is_that_of_the_end_of_waiting(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 16 * MIB);
	struct handle *fixed = engine_open_as(e, "a", OBJECT_FIXED);
	uint8_t *zeros = zeros_new(6 * MIB);
	struct result first = {0};
	struct result within = {0};
	struct result beyond = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	write_start(e, h, 0, zeros, 6 * MIB, &first);
	write_start(e, fixed, 7 * MIB, zeros, 4 * MIB, &within);
	write_start(e, fixed, 7 * MIB, zeros, 4 * MIB + 1, &beyond);
	assert_false(within.done || beyond.done);
	assert_int_equal(engine_resize(e, h, 11 * MIB, true), 0);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &within), 0);
	assert_int_equal(engine_wait(e, &beyond), -ERR_FIXED_SIZE);
	assert_int_equal(object_size(h), 11 * MIB);
	assert_int_equal(object_close(fixed), 0);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

static void a_parked_write_is_not_overtaken(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint8_t *zeros = zeros_new(6 * MIB);
	struct result first = {0};
	struct result large = {0};
	struct result small = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	write_start(e, h, 0, zeros, 6 * MIB, &first);
	assert_true(first.done);
	write_start(e, h, 8 * MIB, zeros, 4 * MIB, &large);
	write_start(e, h, 40 * MIB, zeros, BLK_BYTES,
		    &small); /* there would be room for this one */
	assert_false(large.done || small.done);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &small), 0);
	assert_true(large.done);
	assert_int_equal(large.err, 0);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

/* In a full store the old blocks of an overwritten epoch become free behind its answer. */
static void a_parked_write_gets_the_blocks_that_its_epoch_frees(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint8_t *zeros = zeros_new(MIB);
	struct result first = {0};
	struct result second = {0};
	uint64_t rest_bytes;
	uint64_t n = 0;

	while (engine_write(e, h, n * MIB, zeros, MIB) == 0)
		n++;
	assert_int_equal(engine_fsync(e, h), 0);
	rest_bytes = engine_free_nblks(e) * BLK_BYTES;
	assert_in_range(rest_bytes, BLK_BYTES, MIB);
	gate_dev_hold(e->gate, GATE_WRITE);
	write_start(e, h, 0, zeros, rest_bytes, &first);
	assert_true(first.done);
	assert_int_equal(first.err, 0);
	write_start(e, h, 8 * MIB, zeros, rest_bytes, &second);
	assert_false(second.done);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

/* A checkpoint is worth waiting for once: there is nothing more to be had from the next. */
static void a_write_without_room_for_metadata_is_refused(void **state)
{
	struct engine *e = *state;
	uint8_t *zeros = zeros_new(60 * MIB);
	struct handle *h;

	e->cache_bytes = 256 * MIB;
	engine_restart(e);
	h = engine_create_open(e, "a", 0);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_write(e, h, 0, zeros, 60 * MIB), -ERR_NOSPC_META);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

/* ---- memory ---------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* as in sanitizer/allocator_interface.h, which not every compiler brings */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/* What is allocated and not freed.  The C library does not know what a sanitizer allocates. */
static size_t heap_bytes(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return __sanitizer_get_current_allocated_bytes();
#else
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
#endif
}

static void the_heap_is_measured(size_t before)
{
	uint8_t *some = zeros_new(MIB);

	assert_true(heap_bytes() >= before + MIB);
	free(some);
	assert_true(heap_bytes() < before + MIB);
}

static void reading_holes_keeps_to_the_limit(void **state)
{
	struct engine *e = *state;
	uint8_t block[BLK_BYTES];
	struct handle *h;
	size_t before;

	e->cache_bytes = 4 * MIB;
	engine_restart(e);
	h = engine_create_open(e, "a", UINT64_C(1) << 44);
	before = heap_bytes();
	the_heap_is_measured(before);
	for (uint64_t i = 0; i < 40000; i++) /* each of them in a folio of its own */
		assert_int_equal(engine_read(e, h, i * MIB, block, BLK_BYTES), BLK_BYTES);
	assert_true(heap_bytes() < before + 2 * e->cache_bytes);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_clone_goes_before_the_next_epoch),
	    TEST(a_clone_goes_before_the_next_small_epoch),
	    TEST(a_clone_is_not_overtaken_by_what_a_callback_starts),
	    TEST(a_closed_truncation_hides_the_map),
	    TEST(a_third_fsync_is_closed_when_its_turn_comes),
	    TEST(fsyncs_behind_one_share_an_epoch),
	    TEST(a_large_epoch_is_written_beside_one),
	    TEST(the_tail_of_the_last_block_is_zeros),
	    TEST(reservations_are_given_back),
	    TEST(all_parked_writes_go_on),
	    TEST(a_fixed_size_is_that_of_the_end_of_waiting),
	    TEST(a_parked_write_is_not_overtaken),
	    TEST(a_parked_write_gets_the_blocks_that_its_epoch_frees),
	    TEST(a_write_without_room_for_metadata_is_refused),
	    TEST(reading_holes_keeps_to_the_limit),
	};

	return cmocka_run_group_tests_name("object order", tests, NULL, NULL);
}
