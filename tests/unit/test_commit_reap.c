/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_commit_reap.c: the map thread: which blocks it tells of as freed, and taking trees apart beside
 * what others commit.
 */
#include "server/commit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/lib/commits.h"

#define SMALL_META_BYTES (UINT64_C(1024) << 10)
#define TINY_META_BYTES	 (UINT64_C(512) << 10)
#define AT(n)		 pblk(COMMITS_DATA + (n))

static void test_overwritten_blocks_are_reported(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), AT(50));
	commits_run(&r);
	assert_int_equal(fx->nfreed, 0);
	commits_epoch_init(fx, &r, oid, lblk(3), AT(51));
	commits_run(&r);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 1);
	assert_true(fx->freed[AT(50).n]);
}

static void test_removed_object_is_reaped(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_stop(fx);
	test_store_map(fx->ts, oid, lblk(0), AT(0), 300, COMMITS_SEED);
	test_store_map(fx->ts, oid, lblk(100000), AT(1000), 10, COMMITS_SEED);
	commits_start(fx);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 310);
	assert_true(fx->freed[AT(0).n] && fx->freed[AT(299).n]);
	assert_true(fx->freed[AT(1000).n] && fx->freed[AT(1009).n]);
}

static void test_shared_blocks_go_with_the_last_clone(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req clone;
	struct commits_req r;

	commits_stop(fx);
	test_store_map(fx->ts, oid, lblk(0), AT(0), 300, COMMITS_SEED);
	commits_start(fx);
	commits_named_init(fx, &clone, CHANGE_CLONE, "clone");
	clone.req.change.other = oid;
	commits_run(&clone);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_run(&r);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 0);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = clone.req.obj.id;
	commits_run(&r);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 300);
}

/* More nodes than one reaping transaction takes, with other requests among them. */
static void test_long_reaping_does_not_hold_up_others(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	struct commits_req rs[30];
	char name[16];

	commits_stop(fx);
	for (uint32_t i = 0; i < 300; i++)
		test_store_map(fx->ts, oid, lblk((uint64_t)i * MAP_FANOUT), AT(10 + i), 1,
			       COMMITS_SEED);
	commits_start(fx);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_submit(&r);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		snprintf(name, sizeof(name), "n%u", i);
		commits_named_init(fx, &rs[i], CHANGE_CREATE, name);
		commits_run(&rs[i]);
		assert_int_equal(rs[i].req.err, 0);
	}
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 300);
}

/* In a map where not all that a removal stages fits half of a fold. */
static int setup_small(void **state)
{
	*state = commits_new(SMALL_META_BYTES);
	commits_start(*state);
	return 0;
}

/* The reaper stops where others still have room, and goes on behind the fold that it asks for. */
static void test_reaping_leaves_room_to_others(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	unsigned int folds = 0;
	struct commits_req r;
	char name[16];

	commits_stop(fx);
	for (uint32_t i = 0; i < 1500;
	     i++) /* neither side by side in the object nor on the device */
		test_store_map(fx->ts, oid, lblk(i), AT(i % 2 * 1500 + i), 1, COMMITS_SEED);
	commits_start(fx);
	commits_fold(fx);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	fx->nurgent = 0;
	commits_run(&r);
	while (commit_reaping(fx->commit)) {
		while (commit_reaping(fx->commit) && fx->nurgent == 0)
			test_store_turn(fx->ts);
		if (!commit_reaping(fx->commit))
			break;
		assert_true(map_should_fold(fx->ts->map));
		assert_false(map_must_fold(fx->ts->map));
		snprintf(name, sizeof(name), "n%u", folds++);
		commits_named_init(fx, &r, CHANGE_CREATE, name);
		commits_run(&r);
		assert_int_equal(r.req.err, 0);
		fx->nurgent = 0;
		commits_fold(fx);
	}
	assert_true(folds > 0);
	assert_int_equal(fx->nfreed, 1500);
}

/* In a map that is full before the journal is. */
static int setup_tiny(void **state)
{
	*state = commits_new(TINY_META_BYTES);
	commits_start(*state);
	return 0;
}

/* Creates objects until no other can be applied before a fold; the next one, which waits, is *r. */
static void fill_map(struct commits *fx, struct commits_req *r, const char *prefix)
{
	unsigned int n = 0;
	char name[32];

	do {
		(void)snprintf(name, sizeof(name), "%s-%u", prefix, n++);
		commits_named_init(fx, r, CHANGE_CREATE, name);
		if (!map_must_fold(fx->ts->map))
			commits_run(r);
	} while (r->turn > 0);
	commits_submit(r);
	while (r->durable == 0)
		test_store_turn(fx->ts);
}

/* How much that leaves is known behind it, so nobody asks for another one before. */
static void test_who_waits_for_a_fold_asks_for_no_other(void **state)
{
	const struct timespec while_it_might_ask = {.tv_nsec = 50000000};
	struct commits *fx = *state;
	struct commits_req r;
	struct journal_pos tail;

	commits_run_until_idle(
	    fx); /* the reaper, which begins with the threads, would ask sooner */
	fx->nurgent = 0;
	fill_map(fx, &r, "before");
	while (fx->nurgent == 0)
		test_store_turn(fx->ts);
	tail = commits_cut(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(fx->nurgent, 1);
	fill_map(fx, &r, "beside");
	(void)nanosleep(&while_it_might_ask, NULL);
	commits_fold_cut(fx, tail);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(fx->nurgent, 1);
	fill_map(fx, &r, "behind");
	while (fx->nurgent == 1)
		test_store_turn(fx->ts);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
}

/* What an earlier run left in the reap queue is released by the next. */
static void test_start_goes_on_reaping(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = test_store_create(fx->ts, "object", BLK_BYTES);

	test_store_map(fx->ts, oid, lblk(0), AT(0), 20, COMMITS_SEED);
	test_store_remove(fx->ts, oid);
	commits_start(fx);
	assert_true(commit_reaping(fx->commit));
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 20);
}

/* The linker has the map thread call these. */
static atomic_uint failures; /* to come */
static atomic_uint reapings;
static atomic_ullong first_ns; /* when the first of these began */
static atomic_int failure;

int __real_map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more);
int __wrap_map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more);

int __wrap_map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more)
{
	if (atomic_fetch_add(&reapings, 1) == 0)
		atomic_store(&first_ns, clock_now_ns());
	if (atomic_load(&failures) == 0)
		return __real_map_txn_reap(txn, max_nodes, more);
	atomic_fetch_sub(&failures, 1);
	return atomic_load(&failure);
}

/* Removes an object, and turns until its reaping has failed. */
static void remove_without_memory(struct commits *fx, int err)
{
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_stop(fx);
	test_store_map(fx->ts, oid, lblk(0), AT(0), 20, COMMITS_SEED);
	commits_start(fx);
	commits_run_until_idle(fx);
	atomic_store(&failure, err);
	atomic_store(&failures, 1);
	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_run(&r);
	while (atomic_load(&failures) > 0)
		test_store_turn(fx->ts);
	commits_named_init(fx, &r, CHANGE_CREATE, "other"); /* behind it */
	commits_run(&r);
}

static void test_reaping_goes_on_when_there_is_memory_again(void **state)
{
	struct commits *fx = *state;
	unsigned int before;

	remove_without_memory(fx, -ERR_NOMEM);
	before = atomic_load(&reapings);
	assert_true(commit_reaping(fx->commit));
	assert_int_equal(fx->nfreed, 0);
	atomic_store(&failures, 1);
	commit_tick(fx->commit);
	while (atomic_load(&failures) > 0)
		test_store_turn(fx->ts);
	assert_int_equal(atomic_load(&reapings), before + 1); /* at the tick, and not before */
	commit_tick(fx->commit);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 20);
}

static uint64_t remove_one(struct commits *fx)
{
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	uint64_t since = clock_now_ns();

	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return since;
}

/* Who has removed something has its answer, and a processor, before that is taken apart. */
static void test_reaping_begins_later(void **state)
{
	struct commits *fx = *state;
	uint64_t since;

	commits_run_until_idle(fx); /* what a start begins with */
	atomic_store(&reapings, 0);
	since = remove_one(fx);
	commits_run_until_idle(fx);
	assert_true(atomic_load(&reapings) > 0);
	assert_true(atomic_load(&first_ns) >= since + 1000000);
}

static void test_removals_without_end_do_not_put_it_off(void **state)
{
	struct commits *fx = *state;

	commits_run_until_idle(fx);
	atomic_store(&reapings, 0);
	for (int i = 0; i < 20; i++) {
		uint64_t since = remove_one(fx);

		while (clock_now_ns() < since + 300000)
			; /* so that four of them take as long as the first has to wait */
	}
	assert_true(atomic_load(&reapings) > 0);
}

/* What is damaged is not tried again and again, and nobody waits for it. */
static void test_reaping_of_what_is_damaged_ends(void **state)
{
	struct commits *fx = *state;

	remove_without_memory(fx, -ERR_CORRUPT);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, commits_setup, commits_teardown)
#define TEST_STOPPED(name) \
	cmocka_unit_test_setup_teardown(name, commits_setup_stopped, commits_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_overwritten_blocks_are_reported),
	    TEST(test_removed_object_is_reaped),
	    TEST(test_shared_blocks_go_with_the_last_clone),
	    TEST(test_long_reaping_does_not_hold_up_others),
	    cmocka_unit_test_setup_teardown(test_reaping_leaves_room_to_others, setup_small,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(test_who_waits_for_a_fold_asks_for_no_other, setup_tiny,
					    commits_teardown),
	    TEST(test_reaping_begins_later),
	    TEST(test_removals_without_end_do_not_put_it_off),
	    TEST(test_reaping_goes_on_when_there_is_memory_again),
	    TEST(test_reaping_of_what_is_damaged_ends),
	    TEST_STOPPED(test_start_goes_on_reaping),
	};

	return cmocka_run_group_tests_name("commit_reap", tests, NULL, NULL);
}
