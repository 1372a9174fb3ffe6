/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_checkpoint.c: when a checkpoint starts, what it writes and when, what it lets go of behind it,
 * and what becomes of one that fails.
 */
#include "server/checkpoint.h"

#include <event2/event.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/lib/commits.h"

#define META_BYTES (UINT64_C(4) << 20)
#define NEVER_MS   UINT_MAX
#define OBJ_BLKS   64u /* of every object */

/* Cuts come here: one fails with that; 0: none does. */
static _Atomic int cut_err;

int __real_map_cut(struct map *map, struct map_tail tail);
int __wrap_map_cut(struct map *map, struct map_tail tail);

int __wrap_map_cut(struct map *map, struct map_tail tail)
{
	int err = atomic_exchange(&cut_err, 0);

	return err < 0 ? err : __real_map_cut(map, tail);
}

static int setup(void **state)
{
	*state = commits_new(META_BYTES);
	commits_start_checkpoint(*state, NEVER_MS);
	return 0;
}

/* The tests fold by themselves. */
static int setup_without(void **state)
{
	*state = commits_new(META_BYTES);
	commits_start(*state);
	return 0;
}

/* What is a millisecond old is due. */
static int setup_young(void **state)
{
	*state = commits_new(META_BYTES);
	commits_start_checkpoint(*state, 1);
	return 0;
}

static int teardown(void **state)
{
	commits_free(*state);
	return 0;
}

static void inline_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			pblk_t dst)
{
	commits_inline_init(fx, r, oid, blk, dst);
	r->req.change.size_bytes = OBJ_BLKS * BLK_BYTES;
}

static pblk_t run_inline(struct commits *fx, uint64_t oid, uint64_t blk)
{
	pblk_t dst = commits_take(fx, 1);
	struct commits_req r;

	inline_init(fx, &r, oid, lblk(blk), dst);
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return dst;
}

static pblk_t run_epoch(struct commits *fx, uint64_t oid, uint64_t blk)
{
	pblk_t dst = commits_take(fx, 1);
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(blk), dst);
	r.req.change.size_bytes = OBJ_BLKS * BLK_BYTES;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return dst;
}

static bool is_durable_at(struct commits *fx, pblk_t dst, uint64_t blk)
{
	uint8_t bytes[BLK_BYTES];

	test_pattern(bytes, COMMITS_SEED, lblk(blk));
	return fake_dev_durable(fx->ts->fdev, dst, bytes);
}

static bool is_on_device(struct commits *fx, pblk_t dst, uint64_t blk)
{
	uint8_t bytes[BLK_BYTES];

	test_pattern(bytes, COMMITS_SEED, lblk(blk));
	return fake_dev_holds(fx->ts->fdev, dst, bytes);
}

static uint64_t writes(struct commits *fx)
{
	return fake_dev_calls(fx->ts->fdev, FAKE_WRITE);
}

static uint64_t syncs(struct commits *fx)
{
	return fake_dev_calls(fx->ts->fdev, FAKE_SYNC);
}

/* ---- blocks that were freed ------------------------------------------------------------------ */

static void a_freed_block_waits_for_a_checkpoint(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t old = run_epoch(fx, oid, 0);

	(void)run_epoch(fx, oid, 0);
	assert_true(fx->freed[old.n]);
	assert_true(fx->taken[old.n]);
	assert_int_equal(checkpoint_freed_nblks(fx->checkpoint), 1);
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_false(fx->taken[old.n]);
	assert_int_equal(checkpoint_freed_nblks(fx->checkpoint), 0);
}

/* One whose write fails has cut, and has not ended. */
static void fail_one(struct commits *fx)
{
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(commits_checkpoint(fx), -ERR_IO);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct commits *fx = ctx;

	(void)fd;
	(void)what;
	checkpoint_tick(fx->checkpoint);
}

/* Lets a timer run, as the engine's does, until it is so. */
static void tick_until(struct commits *fx, bool (*done)(void *ctx))
{
	const struct timeval tv = {.tv_usec = 10000};
	struct event *timer = event_new(loop_base(fx->ts->loop), -1, EV_PERSIST, on_tick, fx);

	assert_non_null(timer);
	assert_int_equal(event_add(timer, &tv), 0);
	test_store_run_until(fx->ts, done, fx);
	event_free(timer);
}

static bool is_homed(void *ctx)
{
	const struct commits *fx = ctx;

	return fx->nhomed > 0;
}

static void what_is_freed_behind_the_cut_waits_for_the_next(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t first = run_epoch(fx, oid, 0);
	pblk_t second = run_epoch(fx, oid, 0);

	(void)run_inline(fx, oid, 1);
	fail_one(fx);
	(void)run_epoch(fx, oid, 0);
	assert_true(fx->freed[second.n]);
	assert_int_equal(checkpoint_freed_nblks(fx->checkpoint), 2);
	tick_until(fx, is_homed);
	assert_false(fx->taken[first.n]);
	assert_true(fx->taken[second.n]);
	assert_int_equal(checkpoint_freed_nblks(fx->checkpoint), 1);
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_false(fx->taken[second.n]);
}

static void who_wants_space_gets_a_checkpoint_where_it_helps(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");

	assert_int_equal(commits_checkpoint(fx), 0);
	assert_false(checkpoint_want_space(fx->checkpoint, false));
	(void)run_epoch(fx, oid, 0);
	assert_false(checkpoint_want_space(fx->checkpoint, false)); /* nothing was freed */
	(void)run_epoch(fx, oid, 0);
	assert_true(checkpoint_want_space(fx->checkpoint, false));
	assert_int_equal(commits_checkpoint(fx), 0);
	(void)run_epoch(fx, oid, 1);
	assert_true(checkpoint_want_space(fx->checkpoint, true)); /* for what is staged */
	assert_int_equal(commits_checkpoint(fx), 0);
}

/* As one that cannot be written: it is tried again after a time, and nobody waits for it. */
static void one_that_cannot_cut_is_tried_again(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");

	(void)run_inline(fx, oid, 0);
	(void)run_inline(fx, oid, 0);
	atomic_store(&cut_err, -ERR_NOMEM);
	assert_int_equal(commits_checkpoint(fx), -ERR_NOMEM);
	assert_true(checkpoint_fails(fx->checkpoint));
	assert_false(checkpoint_want_space(fx->checkpoint, true));
	tick_until(fx, is_homed);
	assert_false(checkpoint_fails(fx->checkpoint));
}

static void who_wants_space_does_not_wait_for_a_failing_one(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");

	(void)run_inline(fx, oid, 0);
	(void)run_inline(fx, oid, 0);
	fail_one(fx);
	assert_false(checkpoint_want_space(fx->checkpoint, false));
	assert_false(checkpoint_want_space(fx->checkpoint, true));
}

/* ---- blocks that are not home ---------------------------------------------------------------- */

static void inlined_blocks_are_written_once(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst[5];
	uint64_t before;

	for (uint64_t i = 0; i < 5; i++)
		dst[i] = run_inline(fx, oid, i);
	assert_false(is_on_device(fx, dst[0], 0));
	before = writes(fx);
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_int_equal(writes(fx), before + 1 + 1); /* they lie together; and a mark */
	assert_int_equal(fx->nhomed, 5);
	for (uint64_t i = 0; i < 5; i++)
		assert_true(is_durable_at(fx, dst[i], i));
	(void)commits_create(fx, "b");
	before = writes(fx);
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_int_equal(writes(fx), before + 1);
	assert_int_equal(fx->nhomed, 5);
}

/* More pieces than are written at once. */
static void scattered_blocks_are_all_written(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst[20];

	for (uint64_t i = 0; i < ARRAY_LEN(dst); i++) {
		dst[i] = run_inline(fx, oid, i);
		(void)commits_take(fx, 1);
	}
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_int_equal(fx->nhomed, ARRAY_LEN(dst));
	for (uint64_t i = 0; i < ARRAY_LEN(dst); i++)
		assert_true(is_durable_at(fx, dst[i], i));
}

static void a_superseded_block_is_not_written(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t old = run_inline(fx, oid, 0);
	pblk_t new = run_inline(fx, oid, 0);

	assert_int_equal(fx->ndropped, 1);
	assert_int_equal(commits_checkpoint(fx), 0);
	assert_false(is_on_device(fx, old, 0));
	assert_true(is_durable_at(fx, new, 0));
	assert_int_equal(fx->nhomed, 1);
}

/* The state that was cut names it. */
static void a_block_superseded_behind_the_cut_is_written(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t old = run_inline(fx, oid, 0);
	struct recover_result result;

	fail_one(fx);
	(void)run_inline(fx, oid, 0);
	assert_int_equal(fx->ndropped, 0);
	tick_until(fx, is_homed);
	assert_true(is_durable_at(fx, old, 0));
	commits_crash(fx, &result);
	assert_int_equal(result.records, 1);
}

/* The map is not folded before what it names is durable. */
static void nothing_is_folded_before_the_sync(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct recover_result result;

	(void)run_inline(fx, oid, 0);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(commits_checkpoint(fx), -ERR_WRITEBACK);
	commits_crash(fx, &result);
	assert_int_equal(result.records, 2); /* so they are still needed */
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failed_write_is_repeated(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst = run_inline(fx, oid, 0);
	uint64_t before;

	fail_one(fx);
	assert_int_equal(fx->nhomed, 0);
	assert_true(commit_journal_used(fx->commit) > 0);
	before = writes(fx);
	checkpoint_tick(fx->checkpoint);
	assert_int_equal(writes(fx), before); /* not at once */
	tick_until(fx, is_homed);
	assert_true(is_durable_at(fx, dst, 0));
	assert_int_equal(commit_journal_used(fx->commit), 0);
}

/* A sync that succeeds later says nothing of what was written before the one that failed. */
static void after_a_failed_sync_all_is_written_again(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst = run_inline(fx, oid, 0);

	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(commits_checkpoint(fx), -ERR_WRITEBACK);
	assert_int_equal(fx->nhomed, 0);
	assert_false(is_durable_at(fx, dst, 0));
	tick_until(fx, is_homed);
	assert_true(is_durable_at(fx, dst, 0));
}

/* A sync of somebody else fails between the writes and the checkpoint's own. */
static void a_failed_sync_of_others_counts_too(void **state)
{
	struct commits *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst = run_inline(fx, oid, 0);
	struct commits_req other;
	uint64_t before;

	commits_named_init(fx, &other, CHANGE_CREATE, "b");
	commits_hold_in_sync(&other);
	before = writes(fx);
	(void)checkpoint_want_space(fx->checkpoint, true);
	fake_dev_wait_calls(fd, FAKE_SYNC, syncs(fx));
	while (writes(fx) == before)
		test_store_turn(fx->ts);
	fake_dev_wait_calls(fd, FAKE_WRITE, before + 1);
	fake_dev_fail(fd, FAKE_SYNC, 0, 1, -ERR_IO); /* the one that is held */
	fake_dev_open_gate(fd, FAKE_SYNC);
	fake_dev_wait_calls(fd, FAKE_WRITE, before + 2); /* the record, again: it has failed */
	test_store_run_count(fx->ts, &other.turn, 1);
	assert_int_equal(other.req.err, 0);
	tick_until(fx, is_homed);
	assert_true(is_durable_at(fx, dst, 0));
}

static void commits_fail_where_checkpoints_do(void **state)
{
	struct commits *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	uint64_t oid = commits_create(fx, "a");
	struct commits_req r;

	(void)run_inline(fx, oid, 0);
	fake_dev_fail(fd, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(commits_checkpoint(fx), -ERR_WRITEBACK);
	do { /* the journal fills up; meanwhile commits go on */
		inline_init(fx, &r, oid, lblk(0), commits_take(fx, 1));
		commits_submit(&r);
		while (r.turn == 0 && fx->nurgent == 0)
			test_store_turn(fx->ts);
		assert_int_equal(r.req.err, 0);
	} while (r.turn != 0);
	/* one waits now; the second checkpoint that fails tells it */
	fake_dev_fail(fd, FAKE_WRITE, 1, 1, -ERR_IO);
	tick_until(fx, is_homed);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, -ERR_JOURNAL_FULL);
	(void)run_inline(fx, oid, 1); /* all is well again */
}

/* ---- when ------------------------------------------------------------------------------------ */

static void a_half_full_journal_starts_one(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");

	uint64_t used = commit_journal_used(fx->commit);

	/* it may have ended before the last of them is in the map */
	while (fx->nhomed == 0 && commit_journal_used(fx->commit) <= COMMITS_JOURNAL_NBLKS / 2) {
		(void)run_inline(fx, oid, 0);
		used += 2; /* the record, and its block */
	}
	assert_true(used > COMMITS_JOURNAL_NBLKS / 2);
	test_store_run_until(fx->ts, is_homed, fx);
	assert_int_equal(fx->nurgent, 0);
}

/* The journal goes round and round. */
static void commits_never_end(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_req reqs[8];

	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < ARRAY_LEN(reqs); i++) {
			inline_init(fx, &reqs[i], oid, lblk(i), commits_take(fx, 1));
			commit_submit(fx->commit, &reqs[i].req);
		}
		for (unsigned int i = 0; i < ARRAY_LEN(reqs); i++) {
			test_store_run_count(fx->ts, &reqs[i].turn, 1);
			assert_int_equal(reqs[i].req.err, 0);
		}
	}
	assert_true(fx->nhomed > 0);
}

static void sync_init(struct commits *fx, struct commits_req *sync)
{
	commits_req_init(fx, sync, CHANGE_EPOCH);
	sync->req.kind = COMMIT_SYNC;
}

/* The commit thread takes them together; the sync is the one that a checkpoint waits for. */
static void a_sync_does_not_wait_for_the_room_of_a_change(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_req syncs[2];
	struct commits_req r;
	uint64_t n = 0;

	commit_set_stuck(fx->commit, true); /* fills the journal */
	do {
		inline_init(fx, &r, oid, lblk(0), pblk(COMMITS_DATA + n));
		commits_run(&r);
		n++;
	} while (r.req.err == 0);
	commit_set_stuck(fx->commit, false);
	sync_init(fx, &syncs[0]);
	commits_hold_in_sync(&syncs[0]);
	inline_init(fx, &r, oid, lblk(0), pblk(COMMITS_DATA + n));
	commits_submit(&r);
	sync_init(fx, &syncs[1]);
	commits_submit(&syncs[1]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &syncs[1].turn, 1);
	assert_int_equal(syncs[1].req.err, 0);
	assert_int_equal(r.turn, 0);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, 0);
}

static void what_is_old_is_folded(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	pblk_t dst = run_inline(fx, oid, 0);

	tick_until(fx, is_homed);
	assert_true(is_durable_at(fx, dst, 0));
	assert_int_equal(commit_journal_used(fx->commit), 0);
}

/* No sync for so long, or too many. */
struct rest {
	uint64_t before;
	uint64_t syncs;
	uint64_t since_ms;
};

static bool has_rested(struct commits *fx, struct rest *rest)
{
	if (rest->syncs != syncs(fx))
		*rest = (struct rest){rest->before, syncs(fx), clock_now_ms()};
	return clock_now_ms() >= rest->since_ms + 200 || rest->syncs > rest->before + 5;
}

/* A store that is at rest is left alone: the device may sleep. */
static void one_that_has_ended_is_no_reason_for_another(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct rest rest = {0};

	(void)run_inline(fx, oid, 0);
	assert_int_equal(commits_checkpoint(fx), 0);
	rest = (struct rest){syncs(fx), syncs(fx), clock_now_ms()};
	while (!has_rested(fx, &rest)) {
		checkpoint_tick(fx->checkpoint);
		(void)event_base_loop(loop_base(fx->ts->loop), EVLOOP_NONBLOCK);
	}
	assert_in_range(rest.syncs, rest.before, rest.before + 1);
}

static void who_waits_for_nothing_is_called_at_once(void **state)
{
	struct commits *fx = *state;
	struct commits_wait wait;

	commits_run_until_idle(fx);
	assert_int_equal(commits_checkpoint(fx), 0);
	commits_wait_begin(fx, &wait);
	test_store_run_count(fx->ts, &wait.n, 1);
	assert_int_equal(wait.err, 0);
}

/* What was applied behind the cut of the one that runs is of the next. */
static void who_comes_later_waits_for_the_next(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_wait wait;
	pblk_t dst;

	(void)run_inline(fx, oid, 0);
	fail_one(fx);
	dst = run_inline(fx, oid, 1);
	commits_wait_begin(fx, &wait);
	tick_until(fx, is_homed);
	test_store_run_count(fx->ts, &wait.n, 1);
	assert_int_equal(wait.err, 0);
	assert_true(is_durable_at(fx, dst, 1));
	assert_int_equal(fx->nhomed, 2);
}

static void stopped_it_starts_no_more(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_wait wait;
	struct recover_result result;

	(void)run_inline(fx, oid, 0);
	checkpoint_stop(fx->checkpoint, -ERR_SHUTDOWN);
	commits_wait_begin(fx, &wait);
	assert_int_equal(wait.n, 1);
	assert_int_equal(wait.err, -ERR_SHUTDOWN);
	commits_crash(fx, &result);
	assert_int_equal(fx->nhomed, 0);
	assert_int_equal(result.records, 2);
}

/* As after a block that could not be remembered: what has been cut is not folded. */
static void stopped_after_the_cut_it_folds_nothing(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_wait wait;
	struct recover_result result;

	(void)run_inline(fx, oid, 0);
	commits_wait_begin(fx, &wait);
	checkpoint_stop(fx->checkpoint, -ERR_SHUTDOWN);
	test_store_run_count(fx->ts, &wait.n, 1);
	assert_int_equal(wait.err, -ERR_WRITEBACK);
	checkpoint_tick(fx->checkpoint);
	commits_crash(fx, &result);
	assert_int_equal(fx->nhomed, 0);
	assert_int_equal(result.records, 2);
}

static void who_waits_for_another_attempt_is_told_of_the_stop(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct commits_wait wait;

	(void)run_inline(fx, oid, 0);
	fail_one(fx);
	commits_wait_begin(fx, &wait);
	assert_int_equal(wait.n, 0);
	checkpoint_stop(fx->checkpoint, -ERR_SHUTDOWN);
	assert_int_equal(wait.n, 1);
	assert_int_equal(wait.err, -ERR_SHUTDOWN);
}

#define TEST(name)	   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WITHOUT(name) cmocka_unit_test_setup_teardown(name, setup_without, teardown)
#define TEST_YOUNG(name)   cmocka_unit_test_setup_teardown(name, setup_young, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_freed_block_waits_for_a_checkpoint),
	    TEST(what_is_freed_behind_the_cut_waits_for_the_next),
	    TEST(who_wants_space_gets_a_checkpoint_where_it_helps),
	    TEST(one_that_cannot_cut_is_tried_again),
	    TEST(who_wants_space_does_not_wait_for_a_failing_one),
	    TEST(inlined_blocks_are_written_once),
	    TEST(scattered_blocks_are_all_written),
	    TEST(a_superseded_block_is_not_written),
	    TEST(a_block_superseded_behind_the_cut_is_written),
	    TEST(nothing_is_folded_before_the_sync),
	    TEST(a_failed_write_is_repeated),
	    TEST(after_a_failed_sync_all_is_written_again),
	    TEST(a_failed_sync_of_others_counts_too),
	    TEST(commits_fail_where_checkpoints_do),
	    TEST(a_half_full_journal_starts_one),
	    TEST(commits_never_end),
	    TEST_WITHOUT(a_sync_does_not_wait_for_the_room_of_a_change),
	    TEST_YOUNG(what_is_old_is_folded),
	    TEST_YOUNG(one_that_has_ended_is_no_reason_for_another),
	    TEST(who_waits_for_nothing_is_called_at_once),
	    TEST(who_comes_later_waits_for_the_next),
	    TEST(stopped_it_starts_no_more),
	    TEST(stopped_after_the_cut_it_folds_nothing),
	    TEST(who_waits_for_another_attempt_is_told_of_the_stop),
	};

	return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
