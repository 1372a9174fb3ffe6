/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_promise.c: space that is reserved for an object: others find it taken, and its own writes
 * never find a full store, buffered, direct and mapped, the first time and whenever they write over it.
 */
#include "tests/unit/promise_fixture.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void owner_writes(struct engine *e, enum promise_way way)
{
	uint64_t empty = engine_free_nblks(e);
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	assert_int_equal(withheld(e, "own"), OWN);
	assert_int_equal(engine_free_nblks(e), empty - 2 * OWN);
	assert_int_equal(fill(e, "others"), empty - 2 * OWN);
	assert_int_equal(engine_free_nblks(e), 0);
	h = open_way(e, "own", way);
	write_all(e, h, OWN, 50, 1);
	assert_int_equal(withheld(e, "own"), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(withheld(e, "own"), 0);
	expect_exact(e);
	for (uint8_t round = 2; round < 12; round++)
		write_all(e, h, OWN, round % 3 == 0 ? OWN : 70, round); /* with no fsync between */
	expect_all(e, h, OWN, 11);
	expect_exact(e);
	assert_int_equal(space_of(e).withheld_nblks, 0);
	assert_int_equal(engine_free_nblks(e), 0);
	assert_int_equal(object_close(h), 0);
	engine_remove_all(e);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(space_of(e).withheld_nblks, 0);
}

static void the_owner_writes_all_of_it_and_over_it(void **state)
{
	owner_writes(*state, WAY_BUFFERED);
}

static void the_owner_writes_past_the_cache(void **state)
{
	owner_writes(*state, WAY_DIRECT);
}

/* Bytes here and there, so that blocks are completed and bounced. */
static void the_owner_writes_parts_of_blocks(void **state)
{
	struct engine *e = *state;
	struct handle *direct;
	struct handle *h;
	uint8_t bytes[3 * BLK_BYTES];

	memset(bytes, 5, sizeof(bytes));
	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	direct = open_way(e, "own", WAY_DIRECT);
	for (uint64_t i = 0; i < 900; i++) {
		uint64_t off = i * 7919 % (OWN - 3) * BLK_BYTES + i * 31 % BLK_BYTES;

		assert_int_equal(
		    engine_write(e, i % 2 ? h : direct, off, bytes, 1 + i * 613 % (2 * BLK_BYTES)),
		    0);
		if (i % 100 == 0)
			assert_int_equal(engine_fsync(e, h), 0);
	}
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(direct), 0);
	expect_exact(e);
}

/* One whose reservation is less than its size has it until it owns as much; then it competes. */
static void a_part_is_promised_until_it_is_owned(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", 4 * OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 64, 1);
	assert_int_equal(engine_write_blk(e, h, OWN, 1), -ERR_NOSPC);
	assert_int_equal(engine_write_blk(e, h, 0, 2), -ERR_NOSPC);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), -ERR_NOSPC);
	assert_int_equal(withheld(e, "own"), 0);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* A write beyond the reservation takes no part of what is kept back for those that stay within. */
static void growing_beyond_it_is_a_matter_of_free_space(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 64, 1);
	assert_int_equal(engine_write_blk(e, h, OWN, 1), -ERR_NOSPC);
	write_all(e, h, OWN, OWN, 2);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* ---- what comes back ------------------------------------------------------------------------- */

/*
 * What is written over comes back with a checkpoint: until then more is withheld than there is.  Others are
 * refused meanwhile, and the owner waits, and gets it.
 */
static void more_is_withheld_than_is_free_for_a_while(void **state)
{
	struct engine *e = *state;
	struct result writes[3] = {{0}};
	struct result synced[3] = {{0}};
	struct result other = {0};
	uint8_t *bytes = calloc(OWN, BLK_BYTES);
	struct handle *others;
	struct pagevec pv;
	struct handle *h;
	uint64_t syncs;

	assert_non_null(bytes);
	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	others = open_way(e, "others", WAY_BUFFERED);
	write_all(e, h, OWN, OWN, 1);
	expect_exact(e);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	for (size_t i = 0; i < 3; i++) {
		pv = engine_payload(e, 0, bytes, OWN * BLK_BYTES);
		object_write(h, 0, &pv, engine_done_cb, &writes[i]);
		object_fsync(h, engine_done_cb, &synced[i]);
	}
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	pv = engine_payload(e, 0, bytes, BLK_BYTES);
	object_write(others, 0, &pv, engine_done_cb, &other);
	engine_settle(e);
	assert_true(writes[0].done); /* of what is kept back for it */
	assert_false(writes[1].done);
	assert_false(other.done);
	gate_dev_open(e->gate, GATE_SYNC);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(engine_wait(e, &writes[i]), 0);
		assert_int_equal(engine_wait(e, &synced[i]), 0);
	}
	assert_int_equal(engine_wait(e, &other), -ERR_NOSPC);
	free(bytes);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(others), 0);
	expect_exact(e);
}

static void what_is_trimmed_is_promised_again(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 100, 1);
	assert_int_equal(engine_zero(e, h, 0, 100 * BLK_BYTES, true), 0);
	assert_int_equal(withheld(e, "own"), 100); /* of these nothing had been frozen, perhaps */
	assert_int_equal(engine_fsync(e, h), 0);
	expect_exact(e);
	assert_int_equal(withheld(e, "own"), 100);
	assert_int_equal(engine_resize(e, h, 0, true), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	expect_exact(e);
	assert_int_equal(withheld(e, "own"), OWN);
	engine_reap(e);
	assert_int_equal(fill(e, "more"), 0);
	write_all(e, h, OWN, 100, 2);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

static void a_removal_gives_it_back_at_once(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	assert_int_equal(engine_write_blks(e, h, 0, 10, 1), 0);
	assert_int_equal(object_close(h), 0); /* nothing of it is durable */
	assert_int_equal(engine_remove(e, "own"), 0);
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	assert_int_equal(reserve(e, "own", 0), 0);
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(reserve(e, "own", 5), 0);
	assert_int_equal(rename_to(e, "own", "other"), 0);
	assert_int_equal(withheld(e, "other"), 5);
	assert_int_equal(engine_free_nblks(e), empty - 10);
	expect_exact(e);
}

/* ---- giving it ------------------------------------------------------------------------------- */

static void more_than_there_is_is_refused(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	struct map_obj info;

	assert_int_equal(create_reserved(e, "own", OWN, empty / 2 + 1), -ERR_NOSPC);
	assert_int_equal(create_reserved(e, "own", OWN, UINT64_MAX), -ERR_TOO_LARGE);
	assert_false(exists(e, "own"));
	assert_int_equal(engine_free_nblks(e), empty);
	assert_int_equal(create_reserved(e, "own", 0, empty / 2),
			 0); /* and as much to be kept back */
	assert_int_equal(engine_free_nblks(e), empty % 2);
	assert_int_equal(create_reserved(e, "own", OWN, 1), -ERR_EXIST);
	assert_int_equal(engine_create(e, "b", 0), 0);
	assert_int_equal(reserve(e, "b", 1), -ERR_NOSPC);
	assert_int_equal(reserve(e, "own", empty / 2 + 1), -ERR_NOSPC);
	assert_int_equal(reserve(e, "own", BLK_OBJECT_MAX + 1), -ERR_TOO_LARGE);
	assert_int_equal(info_of(e, "own", &info), 0);
	assert_int_equal(info.reserved_nblks, empty / 2);
	assert_int_equal(engine_free_nblks(e), empty % 2);
	assert_int_equal(reserve(e, "own", OWN), 0);
	assert_int_equal(reserve(e, "b", OWN), 0);
	assert_int_equal(engine_free_nblks(e), empty - 4 * OWN);
	assert_int_equal(snapshot(e, "b@v"), 0);
	assert_int_equal(reserve(e, "b@v", 1), -ERR_PERM);
	expect_exact(e);
}

static void it_is_there_after_a_crash(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, 1), 0);
	assert_int_equal(reserve(e, "own", OWN), 0);
	crash(e);
	assert_int_equal(engine_free_nblks(e), empty - 2 * OWN); /* it is not in memory */
	assert_int_equal(withheld(e, "own"), OWN);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, 100, 100, 1);
	assert_int_equal(engine_fsync(e, h), 0);
	write_all(e, h, 50, 50, 2);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(withheld(e, "own"), OWN - 100);
	assert_int_equal(space_of(e).withheld_nblks, OWN - 100);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 60, 3);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	expect_exact(e);
	assert_int_equal(space_of(e).withheld_nblks, 0);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 60, 4);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* Two that write at once, each all that it may and twice, while others want what there is. */
static void owners_do_not_take_from_each_other(void **state)
{
	enum { PIECE = 30, N = 240, WRITES = 2 * N / PIECE };
	struct engine *e = *state;
	struct result writes[3][WRITES] = {{{0}}};
	struct handle *h[3];
	uint8_t *bytes = calloc(PIECE, BLK_BYTES);

	assert_non_null(bytes);
	assert_int_equal(create_reserved(e, "a", N, N), 0);
	assert_int_equal(create_reserved(e, "b", N, N), 0);
	(void)fill(e, "others");
	h[0] = open_way(e, "others", WAY_BUFFERED);
	h[1] = open_way(e, "a", WAY_BUFFERED);
	h[2] = open_way(e, "b", WAY_DIRECT);
	for (uint64_t i = 0; i < WRITES; i++) {
		uint64_t off = i * PIECE % N * BLK_BYTES;

		for (size_t k = 0; k < 3; k++) {
			struct pagevec pv = engine_payload(e, off, bytes, PIECE * BLK_BYTES);

			object_write(h[k], off, &pv, engine_done_cb, &writes[k][i]);
		}
	}
	for (size_t i = 0; i < WRITES; i++) {
		(void)engine_wait(e, &writes[0][i]); /* which may find space just then, or not */
		assert_int_equal(engine_wait(e, &writes[1][i]), 0);
		assert_int_equal(engine_wait(e, &writes[2][i]), 0);
	}
	for (size_t k = 0; k < 3; k++)
		assert_int_equal(object_close(h[k]), 0);
	free(bytes);
	expect_exact(e);
	assert_int_equal(space_of(e).withheld_nblks, 0);
}

/* What it reserves is counted from the moment it is asked for: two cannot have the same. */
static void two_that_ask_at_once_get_no_more_than_there_is(void **state)
{
	struct engine *e = *state;
	uint64_t most = engine_free_nblks(e) / 2;
	struct result a = {0};
	struct result b = {0};

	assert_int_equal(engine_create(e, "a", 0), 0);
	assert_int_equal(engine_create(e, "b", 0), 0);
	reserve_start(e, "a", most, &a);
	reserve_start(e, "b", most, &b);
	(void)engine_wait(e, &a);
	(void)engine_wait(e, &b);
	assert_int_equal(a.err + b.err, -ERR_NOSPC);
	expect_exact(e);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_promise, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_owner_writes_all_of_it_and_over_it),
	    TEST(the_owner_writes_past_the_cache),
	    TEST(the_owner_writes_parts_of_blocks),
	    TEST(a_part_is_promised_until_it_is_owned),
	    TEST(growing_beyond_it_is_a_matter_of_free_space),
	    TEST(more_is_withheld_than_is_free_for_a_while),
	    TEST(what_is_trimmed_is_promised_again),
	    TEST(a_removal_gives_it_back_at_once),
	    TEST(more_than_there_is_is_refused),
	    TEST(it_is_there_after_a_crash),
	    TEST(owners_do_not_take_from_each_other),
	    TEST(two_that_ask_at_once_get_no_more_than_there_is),
	};
	int failed = cmocka_run_group_tests_name("object_promise", tests, NULL, NULL);

	engine_map_devices(true);
	return failed + cmocka_run_group_tests_name("object_promise_mapped", tests, NULL, NULL);
}
