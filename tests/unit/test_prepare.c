/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_prepare.c: unwritten space is written ahead of the allocator, and only that; what else is to be
 * done goes first; and a real file, asked before and after.
 */
#include "server/prepare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"
#include "tests/lib/test_store.h"

#define PIECE	   PREPARE_PIECE_NBLKS
#define LEAST	   (PREPARE_PIECE_NBLKS + PREPARE_SLACK_NBLKS)
#define FREE_NBLKS (LEAST + 3000)
#define DEV_NBLKS  (PREPARE_WINDOW_NBLKS + 20000)
#define WRITE_BLKS 256u /* of one call */
#define SEED	   5u

struct fixture {
	struct test_store *ts;
	struct fake_dev *fdev;
	struct alloc *alloc;
	struct prepare *prep;
	bool idle;
	unsigned int asked; /* whether it is idle */
	unsigned int spaces;
};

static bool fx_idle(void *ctx)
{
	struct fixture *fx = ctx;

	fx->asked++;
	return fx->idle;
}

static void fx_space(void *ctx)
{
	struct fixture *fx = ctx;

	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	fx->spaces++;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct prepare_config config;

	if (!fx)
		return -1;
	fx->ts = test_store_open(DEV_NBLKS, UINT64_C(4) << 20);
	fx->fdev = fx->ts->fdev;
	fx->alloc = alloc_new();
	fx->idle = true;
	config = (struct prepare_config){.alloc = fx->alloc,
					 .dev = &fx->fdev->dev,
					 .pool = fx->ts->workers,
					 .idle = fx_idle,
					 .space = fx_space,
					 .ctx = fx};
	fx->prep = prepare_new(&config);
	if (!fx->alloc || !fx->prep)
		return -1;
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	prepare_stop(fx->prep);
	while (prepare_held_nblks(fx->prep) > 0)
		test_store_turn(fx->ts);
	test_store_close(fx->ts);
	prepare_free(fx->prep);
	alloc_free(fx->alloc);
	free(fx);
	return 0;
}

static void add_free(struct fixture *fx, uint64_t blk, uint64_t nblks)
{
	assert_int_equal(alloc_add(fx->alloc, pblk(blk), nblks), 0);
}

static uint64_t unwritten(struct fixture *fx, uint64_t blk, uint64_t nblks)
{
	return fake_dev_count_unwritten(fx->fdev, pblk(blk), nblks);
}

static bool range_is_written(void *ctx)
{
	struct fixture *fx = ctx;

	return unwritten(fx, 1, FREE_NBLKS) == 0 && prepare_held_nblks(fx->prep) == 0;
}

/* The blocks from 1 on are free and never written. */
static void set_up_free(struct fixture *fx)
{
	add_free(fx, 1, FREE_NBLKS);
	fake_dev_set_unwritten(fx->fdev, pblk(1), FREE_NBLKS);
}

static void hold_first_piece(struct fixture *fx)
{
	fake_dev_hold(fx->fdev, FAKE_WRITE);
	prepare_tick(fx->prep);
	while (prepare_held_nblks(fx->prep) == 0)
		test_store_turn(fx->ts);
	fake_dev_wait_calls(fx->fdev, FAKE_WRITE, 1);
}

static void run_until_given_back(struct fixture *fx)
{
	unsigned int before = fx->spaces;

	test_store_run_count(fx->ts, &fx->spaces, before + 1);
}

static uint64_t take(struct fixture *fx, uint64_t nblks)
{
	uint64_t got;
	pblk_t blk;

	assert_int_equal(alloc_reserve(fx->alloc, nblks), 0);
	alloc_take(fx->alloc, nblks, &blk, &got);
	assert_int_equal(got, nblks);
	return blk.n;
}

/* ---- what is written ------------------------------------------------------------------------- */

static void space_is_written_before_it_is_allocated(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	prepare_tick(fx->prep);
	test_store_run_until(fx->ts, range_is_written, fx);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS);
	assert_int_equal(take(fx, FREE_NBLKS), 1);
}

static void what_is_in_use_is_never_touched(void **state)
{
	struct fixture *fx = *state;
	uint8_t data[BLK_BYTES];

	memset(data, 0xd5, sizeof(data));
	set_up_free(fx);
	for (uint64_t b = 7; b < FREE_NBLKS; b += 500) {
		assert_int_equal(alloc_take_range(fx->alloc, pblk(b), 3), 0);
		for (uint64_t i = 0; i < 3; i++)
			fake_dev_put(fx->fdev, pblk(b + i), data);
	}
	assert_int_equal(unwritten(fx, 1, FREE_NBLKS), FREE_NBLKS);
	prepare_tick(fx->prep);
	while (unwritten(fx, 1, FREE_NBLKS) >
		   FREE_NBLKS - alloc_free_nblks(fx->alloc) - prepare_held_nblks(fx->prep) ||
	       prepare_held_nblks(fx->prep) > 0)
		test_store_turn(fx->ts);
	for (uint64_t b = 7; b < FREE_NBLKS; b += 500) {
		assert_int_equal(unwritten(fx, b, 3), 3);
		for (uint64_t i = 0; i < 3; i++)
			assert_true(fake_dev_holds(fx->fdev, pblk(b + i), data));
	}
}

static void what_was_written_is_not_written_again(void **state)
{
	struct fixture *fx = *state;
	uint8_t old[BLK_BYTES];

	memset(old, 0x11, sizeof(old));
	add_free(fx, 1, FREE_NBLKS);
	fake_dev_put(fx->fdev, pblk(99), old);
	fake_dev_put(fx->fdev, pblk(200), old);
	fake_dev_set_unwritten(fx->fdev, pblk(100), 100);
	prepare_tick(fx->prep);
	test_store_run_until(fx->ts, range_is_written, fx);
	assert_true(fake_dev_holds(fx->fdev, pblk(99), old));
	assert_true(fake_dev_holds(fx->fdev, pblk(200), old));
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE), 1);
}

static bool window_is_done(void *ctx)
{
	struct fixture *fx = ctx;

	return unwritten(fx, PREPARE_WINDOW_NBLKS - 10, 11) == 0 &&
	       prepare_held_nblks(fx->prep) == 0;
}

/* Only the last blocks of the window and those behind it are unwritten. */
static void the_window_moves_with_the_allocator(void **state)
{
	struct fixture *fx = *state;
	uint64_t end = PREPARE_WINDOW_NBLKS + 1;

	add_free(fx, 1, DEV_NBLKS - 1);
	fake_dev_set_unwritten(fx->fdev, pblk(end - 10), 1000);
	prepare_tick(fx->prep);
	test_store_run_until(fx->ts, window_is_done, fx);
	prepare_tick(fx->prep);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	assert_int_equal(unwritten(fx, end, 990), 990);
	assert_int_equal(take(fx, 40), 1);
	prepare_tick(fx->prep);
	run_until_given_back(fx);
	assert_int_equal(unwritten(fx, end, 40), 0);
	assert_int_equal(unwritten(fx, end + 40, 950), 950);
}

static void the_window_goes_back_with_the_allocator(void **state)
{
	struct fixture *fx = *state;

	add_free(fx, 1000, FREE_NBLKS);
	prepare_tick(fx->prep);
	while (fx->asked < 2) /* it has looked */
		test_store_turn(fx->ts);
	assert_int_equal(take(fx, FREE_NBLKS), 1000);
	add_free(fx, 10, FREE_NBLKS / 2);
	add_free(fx, 10 + FREE_NBLKS / 2, FREE_NBLKS / 2);
	fake_dev_set_unwritten(fx->fdev, pblk(10), 20);
	prepare_tick(fx->prep);
	run_until_given_back(fx);
	assert_int_equal(unwritten(fx, 10, 20), 0);
}

/* ---- what goes first ------------------------------------------------------------------------- */

static void one_piece_is_taken_out_at_a_time(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	hold_first_piece(fx);
	assert_int_equal(prepare_held_nblks(fx->prep), PIECE);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS - PIECE);
	prepare_tick(fx->prep);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS - PIECE);
	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	test_store_run_until(fx->ts, range_is_written, fx);
}

static void a_pause_ends_it_after_one_write(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	hold_first_piece(fx);
	prepare_pause(fx->prep);
	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	run_until_given_back(fx);
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE), 1);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS);
	assert_int_equal(unwritten(fx, 1, FREE_NBLKS), FREE_NBLKS - WRITE_BLKS);
	prepare_tick(fx->prep);
	test_store_run_until(fx->ts, range_is_written, fx);
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE),
			 (FREE_NBLKS + WRITE_BLKS - 1) / WRITE_BLKS);
}

static void nothing_is_begun_while_others_are_at_work(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	fx->idle = false;
	prepare_tick(fx->prep);
	assert_int_equal(fx->asked, 1);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS);
	fx->idle = true;
	hold_first_piece(fx);
	fx->idle = false;
	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	run_until_given_back(fx);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	assert_int_equal(unwritten(fx, 1, FREE_NBLKS), FREE_NBLKS - PIECE);
}

static void short_space_is_left_alone(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	assert_int_equal(alloc_reserve(fx->alloc, FREE_NBLKS - LEAST + 1), 0);
	prepare_tick(fx->prep);
	assert_int_equal(fx->asked, 0);
	alloc_unreserve(fx->alloc, 1);
	hold_first_piece(fx);
	assert_int_equal(alloc_reserve(fx->alloc, PREPARE_SLACK_NBLKS), 0);
	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	run_until_given_back(fx);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE), PIECE / WRITE_BLKS);
}

static void a_write_that_fails_ends_it(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	fake_dev_fail(fx->fdev, FAKE_WRITE, 3, 1, -ERR_IO);
	prepare_tick(fx->prep);
	run_until_given_back(fx);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS - WRITE_BLKS);
	assert_int_equal(alloc_take_range(fx->alloc, pblk(1 + 2 * WRITE_BLKS), 1), -ERR_BUSY);
	assert_int_equal(alloc_take_range(fx->alloc, pblk(1 + 3 * WRITE_BLKS - 1), 1), -ERR_BUSY);
	assert_int_equal(alloc_take_range(fx->alloc, pblk(1), 2 * WRITE_BLKS), 0);
	assert_int_equal(alloc_take_range(fx->alloc, pblk(1 + 3 * WRITE_BLKS), PIECE), 0);
	prepare_tick(fx->prep);
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE), 3);
	assert_int_equal(prepare_held_nblks(fx->prep), 0);
}

static void nothing_is_begun_after_a_stop(void **state)
{
	struct fixture *fx = *state;

	set_up_free(fx);
	hold_first_piece(fx);
	prepare_stop(fx->prep);
	fake_dev_open_gate(fx->fdev, FAKE_WRITE);
	run_until_given_back(fx);
	prepare_tick(fx->prep);
	assert_int_equal(fx->asked, 2);
	assert_int_equal(alloc_free_nblks(fx->alloc), FREE_NBLKS);
	assert_int_equal(fake_dev_calls(fx->fdev, FAKE_WRITE), 1);
}

/* ---- a real file ----------------------------------------------------------------------------- */

static int setup_engine(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->cache_bytes = 128 * MIB;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

/* From here on the timer runs, and the engine prepares. */
static void engine_prepare(struct engine *e)
{
	e->writeback_ms = 40;
	engine_restart(e);
	gate_dev_hold(e->gate, GATE_WRITE);
	e->gate->tells_unwritten = true;
}

static uint64_t file_unwritten(const struct engine *e)
{
	uint64_t sum = 0;
	uint64_t n;
	pblk_t at = pblk(0);

	while ((n = dev_unwritten(e->gate->inner, at, UINT64_MAX, &at)) > 0) {
		sum += n;
		at.n += n;
	}
	return sum;
}

/* Some file systems do not tell: then nothing is ever known to be unwritten. */
static bool file_tells(const struct engine *e)
{
	uint64_t n = file_unwritten(e);

	assert_true(n == 0 || n == e->gate->dev.nblks - 1 - 4 * MIB / BLK_BYTES);
	return n > 0;
}

static void a_file_is_written_ahead_and_its_data_left_alone(void **state)
{
	struct engine *e = *state;
	bool tells = file_tells(e);
	struct handle *h = engine_create_open(e, "a", 0);
	uint8_t *data = malloc(MIB);
	uint64_t total;

	assert_non_null(data);
	memset(data, 7, MIB);
	assert_int_equal(engine_write(e, h, 0, data, MIB), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	total = engine_free_nblks(e);
	engine_prepare(e);
	gate_dev_open(e->gate, GATE_WRITE);
	while (file_unwritten(e) > 0)
		assert_int_equal(engine_free_nblks(e), total);
	for (int i = 0; i < 5 && !tells; i++)
		engine_turn(e); /* of the timer */
	assert_true(tells || gate_dev_calls(e->gate, GATE_WRITE) == 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_read(e, h, 0, data, MIB), MIB);
	for (uint32_t i = 0; i < MIB; i++)
		assert_int_equal(data[i], 7);
	assert_int_equal(object_close(h), 0);
	free(data);
}

static void runs_of_a_file_are_found_exactly(void **state)
{
	struct engine *e = *state;
	struct dev *dev = e->gate->inner;
	uint64_t from = 1 + 4 * MIB / BLK_BYTES;
	uint8_t *blk = aligned_alloc(BLK_BYTES, BLK_BYTES);
	struct iovec iov = {blk, BLK_BYTES};
	pblk_t first;

	assert_non_null(blk);
	memset(blk, 3, BLK_BYTES);
	assert_int_equal(dev_unwritten(dev, pblk(0), from, &first), 0);
	assert_int_equal(dev_unwritten(dev, pblk(dev->nblks), 1, &first), 0);
	if (file_tells(e)) {
		assert_int_equal(dev_unwritten(dev, pblk(0), from + 5, &first), 5);
		assert_int_equal(first.n, from);
		assert_int_equal(dev_write(dev, pblk(from + 10), &iov, 1), 0);
		assert_int_equal(dev_unwritten(dev, pblk(from + 2), UINT64_MAX, &first), 8);
		assert_int_equal(first.n, from + 2);
		assert_int_equal(dev_unwritten(dev, pblk(from + 10), 1, &first), 0);
		assert_int_equal(dev_unwritten(dev, pblk(from + 10), 3, &first), 2);
		assert_int_equal(first.n, from + 11);
	} else {
		assert_int_equal(dev_unwritten(dev, pblk(from), UINT64_MAX, &first), 0);
	}
	free(blk);
}

/* Runs the loop until the engine has taken a piece out and its first write is held back. */
static bool engine_hold_piece(struct engine *e)
{
	bool tells = file_unwritten(e) > 0;

	if (tells)
		engine_wait_calls(e, GATE_WRITE, 1);
	return tells;
}

static void no_write_is_refused_for_what_is_prepared(void **state)
{
	struct engine *e = *state;
	uint64_t total_bytes = engine_free_nblks(e) * BLK_BYTES;
	uint64_t at = 0;
	uint8_t *zeros = calloc(1, 24 * MIB);
	struct result res[2] = {0};
	struct pagevec pv[2];
	struct handle *h = engine_create_open(e, "a", 0);

	assert_non_null(zeros);
	for (; at + 25 * MIB <= total_bytes; at += MIB)
		assert_int_equal(engine_write(e, h, at, zeros, MIB), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_prepare(e);
	h = engine_open(e, "a");
	total_bytes -= at;
	pv[0] = engine_payload(e, at, zeros, 24 * MIB);
	pv[1] = engine_payload(e, at, zeros, total_bytes - 24 * MIB + BLK_BYTES);
	if (engine_hold_piece(e)) {
		assert_int_equal(engine_free_nblks(e) * BLK_BYTES, total_bytes);
		object_write(h, at, &pv[0], engine_done_cb, &res[0]);
		assert_false(res[0].done);
		gate_dev_release(e->gate, GATE_WRITE, 1);
	} else {
		object_write(h, at, &pv[0], engine_done_cb, &res[0]);
	}
	assert_int_equal(engine_wait(e, &res[0]), 0);
	gate_dev_open(e->gate, GATE_WRITE);
	object_write(h, at + 24 * MIB, &pv[1], engine_done_cb, &res[1]);
	assert_int_equal(engine_wait(e, &res[1]), -ERR_NOSPC);
	assert_int_equal(object_close(h), 0);
	free(zeros);
}

static void an_epoch_goes_before_it(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result res = {0};
	uint64_t left;

	assert_int_equal(object_close(h), 0);
	engine_prepare(e);
	h = engine_open(e, "a");
	if (engine_hold_piece(e)) {
		left = file_unwritten(e);
		assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
		object_fsync(h, engine_done_cb, &res);
		gate_dev_release(e->gate, GATE_WRITE, 2); /* of the piece, and the record */
		assert_int_equal(engine_wait(e, &res), 0);
		while (file_unwritten(e) > left - WRITE_BLKS) /* the record may have been faster */
			engine_settle(e);
		engine_settle(e);
		assert_int_equal(file_unwritten(e), left - WRITE_BLKS);
	}
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(space_is_written_before_it_is_allocated, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_in_use_is_never_touched, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_written_is_not_written_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_window_moves_with_the_allocator, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_window_goes_back_with_the_allocator, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(one_piece_is_taken_out_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_pause_ends_it_after_one_write, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_begun_while_others_are_at_work, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(short_space_is_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_write_that_fails_ends_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_begun_after_a_stop, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_file_is_written_ahead_and_its_data_left_alone,
					    setup_engine, engine_teardown),
	    cmocka_unit_test_setup_teardown(runs_of_a_file_are_found_exactly, setup_engine,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(no_write_is_refused_for_what_is_prepared, setup_engine,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(an_epoch_goes_before_it, setup_engine, engine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
