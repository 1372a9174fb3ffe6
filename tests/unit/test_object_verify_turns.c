/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verifying in the engine beside writes, resets and reads; how far one call comes; the rates; the end.
 */
#include "tests/unit/object_verify_fixture.h"

#include "common/clock.h"

#define PIECE	  SCRUB_MAX_BLKS
#define A_QUARTER 4u /* of a second: what a piece has at most, at its rate */

/* ---- meanwhile ------------------------------------------------------------------------------- */

/* Of a bad block that is read just now, and replaced meanwhile, nobody has to know. */
static void what_is_replaced_meanwhile_is_no_damage(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t at = place_of(e, h, 0);
	uint64_t calls = reads(e);
	struct verified v;

	flip(e, at + 3);
	flip(e, at + 23);
	gate_dev_hold(e->gate, GATE_READ);
	BEGIN(&v, h, 0);
	engine_wait_calls(e, GATE_READ, calls + 1);
	assert_int_equal(engine_write_blks(e, h, 0, NBLKS - 1, 2), 0);
	applied(e, h);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_int_equal(v.got.n, 1); /* that one still is there */
	assert_damage(&v, 0, 23, 1, at + 23, SCRUB_CSUM);
	flip(e, at + 3);
	flip(e, at + 23);
	assert_well(e, h, NBLKS);
	assert_int_equal(object_close(h), 0);
}

static void reset_meanwhile(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct verified v;
	uint64_t calls;
	uint64_t at;

	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blks(e, h, 0, NBLKS, 2), 0);
	engine_flush(e);
	at = place_of(e, h, 0);
	flip(e, at);
	calls = reads(e);
	gate_dev_hold(e->gate, GATE_READ);
	BEGIN(&v, h, 0);
	engine_wait_calls(e, GATE_READ, calls + 1);
	assert_int_equal(remove_all(e, "a"), -ERR_BUSY); /* it is open */
	assert_int_equal(reset(e, "a@v"), 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_int_equal(v.got.n, 0);
	flip(e, at);
	assert_well(e, h, NBLKS);
	assert_int_equal(object_close(h), 0);
}

/* What is being read is not used again before that has ended. */
static void what_is_given_up_meanwhile_stays(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t before = engine_free_nblks(e);
	uint64_t calls = reads(e);
	struct verified v;

	gate_dev_hold(e->gate, GATE_READ);
	BEGIN(&v, h, 0);
	engine_wait_calls(e, GATE_READ, calls + 1);
	assert_int_equal(engine_write_blks(e, h, 0, NBLKS, 2), 0);
	engine_flush(e); /* a checkpoint has passed that */
	engine_settle(e);
	assert_int_equal(engine_free_nblks(e), before - NBLKS);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_int_equal(v.got.n, 0);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), before);
	assert_int_equal(object_close(h), 0);
}

/* One is under way at a time, and readers go on beside it. */
static void many_at_once(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct handle *other = engine_create_open(e, "b", 0);
	uint64_t calls = reads(e);
	struct verified v[20];

	assert_int_equal(engine_write_blks(e, other, 0, 2, 7), 0);
	gate_dev_hold(e->gate, GATE_READ);
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		BEGIN(&v[i], h, 0);
	engine_wait_calls(e, GATE_READ, calls + 1);
	engine_settle(e);
	assert_int_equal(reads(e), calls + 1);
	assert_int_equal(engine_blk_byte(e, other, 1), 7);
	gate_dev_open(e->gate, GATE_READ);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_int_equal(engine_wait(e, &v[i].res), 0);
		assert_int_equal(v[i].got.read_nblks, NBLKS);
	}
	assert_int_equal(object_close(other), 0);
	assert_int_equal(object_close(h), 0);
}

/* ---- how far it comes ------------------------------------------------------------------------ */

static void a_large_one_goes_in_pieces(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, 3 * PIECE + 1);
	struct verified v;

	BEGIN(&v, h, 0);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_true(v.got.read_nblks > 0 && v.got.read_nblks <= PIECE);
	assert_int_equal(v.got.len_bytes, v.got.read_nblks * K);
	assert_int_equal(v.got.left_bytes, (3 * PIECE + 1) * K - v.got.len_bytes);
	assert_true(RUN(e, h, &v, 0) >= 4);
	assert_int_equal(v.got.read_nblks, 3 * PIECE + 1);
	assert_int_equal(object_close(h), 0);
}

/* Every second block: no two are neighbours on the device's side of the map. */
static void a_scattered_one_goes_in_pieces(void **state)
{
	enum { N = 200 };
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct verified v;

	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(engine_write_blk(e, h, 2 * i, 1), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	BEGIN(&v, h, 0);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_true(v.got.read_nblks <= 64 && v.got.left_bytes > 0);
	assert_true(RUN(e, h, &v, 0) >= 4);
	assert_int_equal(v.got.read_nblks, N);
	assert_int_equal(v.got.len_bytes, (2 * N - 1) * K);
	assert_int_equal(object_close(h), 0);
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* No piece is more than a quarter of a second's, and together they take their time; meanwhile others are
 * not held up. */
static void a_rate_is_kept(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct handle *other = engine_open(e, "a");
	uint64_t rate = UINT64_C(1) << 18; /* 64 blocks a second */
	struct verified slow;
	struct verified v;
	uint64_t begun = clock_now_ns();

	BEGIN(&slow, h, .rate_bytes = rate);
	engine_settle(e);
	assert_well(e, other, NBLKS);
	assert_int_equal(engine_wait(e, &slow.res), 0);
	assert_int_equal(slow.got.read_nblks, 64 / A_QUARTER);
	assert_true(RUN(e, h, &v, .off_bytes = slow.got.len_bytes, .rate_bytes = rate) > 0);
	assert_int_equal(v.got.read_nblks, NBLKS - 64 / A_QUARTER);
	/* 24 blocks, less 20 ms that may be made up for */
	assert_true(clock_now_ns() - begun >= UINT64_C(354000000));
	BEGIN(&v, h, .rate_bytes = 1); /* a block at a time, each of more than an hour */
	engine_settle(e);
	assert_false(v.res.done);
	object_verify_stop(e->objs);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_int_equal(v.got.len_bytes, K);
	assert_int_equal(object_close(other), 0);
	assert_int_equal(object_close(h), 0);
}

/* That of the engine is one for all. */
static void the_engine_has_a_rate(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct verified v[2];
	uint64_t begun;

	assert_int_equal(object_close(h), 0);
	e->verify_rate = UINT64_C(1) << 19; /* 128 blocks a second */
	engine_restart(e);
	h = engine_open(e, "a");
	begun = clock_now_ns();
	BEGIN(&v[0], h, 0);
	BEGIN(&v[1], h, 0);
	assert_int_equal(engine_wait(e, &v[0].res), 0);
	assert_false(v[1].res.done);
	assert_int_equal(engine_wait(e, &v[1].res), 0);
	assert_int_equal(v[0].got.read_nblks + v[1].got.read_nblks, 2 * NBLKS);
	assert_true(clock_now_ns() - begun >= UINT64_C(166000000));
	assert_int_equal(object_close(h), 0);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What is under way is finished, what waits is told. */
static void the_end_meanwhile(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t calls = reads(e);
	struct verified v[3];

	gate_dev_hold(e->gate, GATE_READ);
	for (size_t i = 0; i < 2; i++)
		BEGIN(&v[i], h, 0);
	engine_wait_calls(e, GATE_READ, calls + 1);
	object_verify_stop(e->objs);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &v[0].res), 0);
	assert_int_equal(v[0].got.read_nblks, NBLKS);
	assert_int_equal(engine_wait(e, &v[1].res), -ERR_SHUTDOWN);
	BEGIN(&v[2], h, 0);
	assert_int_equal(engine_wait(e, &v[2].res), -ERR_SHUTDOWN);
	assert_int_equal(object_close(h), 0);
}

static int group_setup(void **state)
{
	(void)state;
	engine_map_devices(true);
	return 0;
}

/* Nothing waits for who has gone, and others go on. */
static void the_client_goes(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct handle *other = engine_open(e, "a");
	uint64_t calls = reads(e);
	struct verified held;
	struct verified v[4];

	BEGIN(&held, h, .rate_bytes = 1); /* for more than an hour */
	engine_wait_calls(e, GATE_READ, calls + 1);
	engine_settle(e);
	gate_dev_hold(e->gate, GATE_READ);
	BEGIN(&v[0], h, .rate_bytes = 1);
	BEGIN(&v[1], h, .rate_bytes = 1);
	BEGIN(&v[2], other, 0);
	BEGIN(&v[3], h, 0);
	engine_wait_calls(e, GATE_READ, calls + 2);
	object_verify_drop(h);
	assert_int_equal(engine_wait(e, &held.res), 0);
	assert_int_equal(engine_wait(e, &v[1].res), -ERR_CONN);
	assert_int_equal(engine_wait(e, &v[3].res), -ERR_CONN);
	assert_false(v[0].res.done || v[2].res.done);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &v[0].res), 0);
	assert_int_equal(engine_wait(e, &v[2].res), 0);
	assert_int_equal(v[2].got.read_nblks, NBLKS);
	assert_int_equal(object_close(other), 0);
	assert_int_equal(object_close(h), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_small, engine_teardown)
	const struct CMUnitTest tests[] = {
	    T(what_is_replaced_meanwhile_is_no_damage),
	    T(reset_meanwhile),
	    T(what_is_given_up_meanwhile_stays),
	    T(many_at_once),
	    T(a_large_one_goes_in_pieces),
	    T(a_scattered_one_goes_in_pieces),
	    T(a_rate_is_kept),
	    T(the_engine_has_a_rate),
	    T(the_end_meanwhile),
	    T(the_client_goes),
	};
	const struct CMUnitTest mapped[] = {
	    T(what_is_replaced_meanwhile_is_no_damage),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	return failed + cmocka_run_group_tests(mapped, group_setup, NULL);
}
