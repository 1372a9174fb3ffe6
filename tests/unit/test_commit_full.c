/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_commit_full.c: the commit thread when the journal is full: who waits, who does not, and what
 * a failed sync means for them.
 */
#include "server/commit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

#define AT(n) pblk(COMMITS_DATA + (n))

static uint64_t where(struct commits *fx, uint64_t oid, uint64_t blk)
{
	return test_store_where(fx->ts, oid, lblk(blk), NULL).n;
}

/* Submits what "init" makes until one of them waits for room: that is *r, the nth. */
static unsigned int fill(struct commits *fx, uint64_t oid, struct commits_req *r,
			 void (*init)(struct commits *fx, struct commits_req *r, uint64_t oid,
				      lblk_t blk, pblk_t dst))
{
	unsigned int n = 0;

	fx->nurgent = 0;
	do {
		init(fx, r, oid, lblk(n), AT(n));
		commits_submit(r);
		while (r->turn == 0 && fx->nurgent == 0)
			test_store_turn(fx->ts);
		assert_true(++n < COMMITS_JOURNAL_NBLKS);
	} while (fx->nurgent == 0);
	assert_int_equal(r->turn, 0);
	assert_true(commit_journal_used(fx->commit) > COMMITS_JOURNAL_NBLKS - 4);
	return n;
}

/* A checkpoint asks for one, and it is not behind what waits for the checkpoint. */
static int run_sync(struct commits *fx)
{
	struct commits_req sync;

	commits_req_init(fx, &sync, CHANGE_EPOCH);
	sync.req.kind = COMMIT_SYNC;
	commits_run(&sync);
	return sync.req.err;
}

/* Commits wait for room and say so; what a cut and a fold have passed is room. */
static void test_full_journal_waits_for_a_fold(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	(void)fill(fx, oid, &r, commits_inline_init);
	assert_int_equal(run_sync(fx), 0);
	assert_int_equal(r.turn, 0);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, 0);
	assert_true(commit_journal_used(fx->commit) < 8);
}

/* What it had written before is suspect, though its record and a sync come behind. */
static void test_failed_sync_fails_who_waits_for_room(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	unsigned int n = fill(fx, oid, &r, commits_epoch_init);

	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(run_sync(fx), -ERR_WRITEBACK);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, -ERR_WRITEBACK);
	assert_int_equal(r.durable, 0);
	assert_int_equal(where(fx, oid, n - 1), 0);
	assert_int_equal(where(fx, oid, n - 2), COMMITS_DATA + n - 2);
}

/* The record holds what would be lost. */
static void test_failed_sync_spares_inlined_blocks_that_wait_for_room(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	(void)fill(fx, oid, &r, commits_inline_init);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 3, -ERR_IO);
	for (int i = 0; i < 3; i++)
		assert_int_equal(run_sync(fx), -ERR_WRITEBACK);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, 0);
	assert_true(r.durable > 0);
}

/* A checkpoint's sync, and who will wait for that checkpoint, are found together. */
static void test_sync_goes_before_who_comes_with_it(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head, sync, r;

	for (uint64_t n = 0; commit_journal_used(fx->commit) + 2 < COMMITS_JOURNAL_NBLKS; n++) {
		commits_inline_init(fx, &r, oid, lblk(n), AT(n));
		commits_run(&r);
		assert_int_equal(r.req.err, 0);
	}
	commits_req_init(fx, &head, CHANGE_EPOCH);
	head.req.kind = COMMIT_SYNC;
	commits_req_init(fx, &sync, CHANGE_EPOCH);
	sync.req.kind = COMMIT_SYNC;
	commits_inline_init(fx, &r, oid, lblk(500), AT(500));
	commits_hold_in_sync(&head);
	commits_submit(&r);
	commits_submit(&sync);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &sync.turn, 1);
	assert_int_equal(sync.req.err, 0);
	assert_int_equal(r.turn, 0);
	commits_fold(fx);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, 0);
}

/* At the end nobody makes room: what is behind a change that finds none fails too, though it fits. */
static void test_end_leaves_a_prefix(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req behind;
	struct commits_req r;

	(void)commits_create(fx, "another"); /* one block is left over */
	(void)fill(fx, oid, &r, commits_inline_init);
	commits_named_init(fx, &behind, CHANGE_CREATE, "behind");
	commits_submit(&behind);
	commits_kill(fx);
	assert_int_equal(r.req.err, -ERR_JOURNAL_FULL);
	assert_int_equal(behind.req.err, -ERR_JOURNAL_FULL);
	assert_int_equal(behind.durable, 0);
}

static void test_full_journal_fails_while_checkpoints_do(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	unsigned int n = 0;

	commit_set_stuck(fx->commit, true);
	do {
		commits_inline_init(fx, &r, oid, lblk(n), AT(n));
		commits_run(&r);
		assert_true(++n < COMMITS_JOURNAL_NBLKS);
	} while (r.req.err == 0);
	assert_int_equal(r.req.err, -ERR_JOURNAL_FULL);
	commits_fold(fx);
	commits_inline_init(fx, &r, oid, lblk(n), AT(n));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
}

/* The map thread waits for a fold that never comes then. */
static void test_refusing_answers_who_waits_for_the_map(void **state)
{
	struct commits *fx = *state;
	struct commits_req r;
	unsigned int n = 0;

	fx->nurgent = 0;
	do {
		char name[32];

		(void)snprintf(name, sizeof(name), "name-%u", n++);
		commits_named_init(fx, &r, CHANGE_CREATE, name);
		commits_submit(&r);
		while (r.turn == 0 && fx->nurgent == 0)
			test_store_turn(fx->ts);
		if (fx->nurgent > 0 && !map_must_fold(fx->ts->map)) {
			commits_fold(fx); /* it was the journal that is full */
			fx->nurgent = 0;
			test_store_run_count(fx->ts, &r.turn, 1);
		}
	} while (fx->nurgent == 0);
	while (r.durable == 0)
		test_store_turn(fx->ts);
	assert_int_equal(r.turn, 0);
	commit_refuse(fx->commit);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(r.req.err, -ERR_LATCHED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, commits_setup, commits_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_full_journal_waits_for_a_fold),
	    TEST(test_failed_sync_fails_who_waits_for_room),
	    TEST(test_failed_sync_spares_inlined_blocks_that_wait_for_room),
	    TEST(test_sync_goes_before_who_comes_with_it),
	    TEST(test_end_leaves_a_prefix),
	    TEST(test_full_journal_fails_while_checkpoints_do),
	    TEST(test_refusing_answers_who_waits_for_the_map),
	};

	return cmocka_run_group_tests_name("commit to a full journal", tests, NULL, NULL);
}
