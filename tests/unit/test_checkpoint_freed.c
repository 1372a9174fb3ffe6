/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_checkpoint_freed.c: what a checkpoint tells of blocks that nothing maps any more, before it lets go
 * of them.
 */
#include "server/checkpoint.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/commits.h"

static int setup(void **state)
{
	*state = commits_new(COMMITS_META_BYTES);
	commits_start_checkpoint(*state, UINT_MAX);
	return 0;
}

/* Writes the first block of an object; where it is now. */
static pblk_t run_epoch(struct commits *fx, uint64_t oid)
{
	pblk_t dst = commits_take(fx, 1);
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(0), dst);
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return dst;
}

static void blocks_that_nothing_maps_are_told_before_it(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t old = run_epoch(fx, oid);

	(void)run_epoch(fx, oid);
	test_store_run_count(fx->ts, &fx->nunmapped, 1);
	assert_true(fx->unmapped[old.n]);
	assert_int_equal(checkpoint_freed_nblks(fx->checkpoint), 1);
	(void)run_epoch(fx, oid);
	test_store_run_count(fx->ts, &fx->nunmapped, 2);
	assert_int_equal(commits_checkpoint(fx), 0);
	(void)run_epoch(fx, oid);
	test_store_run_count(fx->ts, &fx->nunmapped, 3);
	assert_int_equal(fx->nunmapped, 3);
}

/* Comes into the loop behind each turn that tells of what was freed. */
struct turns {
	struct loop_msg msg;
	struct commits *fx;
	unsigned int told; /* at the last one */
	unsigned int most; /* in one of them */
	unsigned int n;
	unsigned int want;
	bool done;
};

static void on_turn(struct loop_msg *msg)
{
	struct turns *turns = CONTAINER_OF(msg, struct turns, msg);
	unsigned int more = turns->fx->nunmapped - turns->told;

	turns->n += more > 0;
	turns->most = more > turns->most ? more : turns->most;
	turns->told += more;
	turns->done = turns->told == turns->want;
	if (!turns->done)
		loop_post(turns->fx->ts->loop, msg);
}

static void what_a_change_frees_is_told_in_turns(void **state)
{
	struct commits *fx = *state;
	struct map_range ranges[] = {{pblk(1000), 511},
				     {pblk(1600), 1},
				     {pblk(1700), 1},
				     {pblk(1800), 1100},
				     {pblk(3000), 3}};
	struct map_freed freed = {.ranges = ranges, .n = 5, .cap = 5};
	struct turns turns = {.msg = {.fn = on_turn}, .fx = fx, .want = 511 + 1 + 1 + 1100 + 3};

	for (size_t i = 0; i < freed.n; i++)
		memset(&fx->freed[ranges[i].blk.n], 1, ranges[i].nblks * sizeof(bool));
	checkpoint_freed(fx->checkpoint, &freed);
	assert_int_equal(fx->nunmapped, 0);
	loop_post(fx->ts->loop, &turns.msg);
	test_store_run_flag(fx->ts, &turns.done);
	assert_int_equal(turns.most, 512);
	assert_int_equal(turns.n, 4);
	for (size_t i = 0; i < freed.n; i++)
		for (uint64_t b = 0; b < ranges[i].nblks; b++)
			assert_true(fx->unmapped[ranges[i].blk.n + b]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, commits_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(blocks_that_nothing_maps_are_told_before_it),
	    TEST(what_a_change_frees_is_told_in_turns),
	};

	return cmocka_run_group_tests_name("checkpoint_freed", tests, NULL, NULL);
}
