/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_commit.c: the commit and the map thread: order, groups, failed syncs and records, cuts, and a
 * map that cannot take what is durable.  A full journal: test_commit_full.c; freed blocks and the
 * reaper: test_commit_reap.c; records applied together: test_commit_batch.c.
 */
#include "server/commit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

#define AT(n) pblk(COMMITS_DATA + (n))

static uint64_t where(struct commits *fx, uint64_t oid, uint64_t blk)
{
	return test_store_where(fx->ts, oid, lblk(blk), NULL).n;
}

/* ---- results --------------------------------------------------------------------------------- */

static void test_create_epoch_clone_and_remove(void **state)
{
	struct commits *fx = *state;
	struct commits_req r;
	struct map_obj obj;
	uint64_t oid = commits_create(fx, "first");

	assert_true(test_store_obj(fx->ts, oid, &obj));
	assert_string_equal(obj.name, "first");
	assert_int_equal(obj.size_bytes, BLK_BYTES);
	assert_int_equal(obj.ctime_ns, 5);

	commits_epoch_init(fx, &r, oid, lblk(7), AT(100));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.id, oid);
	assert_int_equal(r.req.obj.size_bytes, 8 * BLK_BYTES);
	assert_int_equal(r.req.obj.mapped_nblks, 1);
	assert_int_equal(r.req.obj.mtime_ns, 6);
	assert_true(r.req.obj.generation > obj.generation);

	commits_named_init(fx, &r, CHANGE_CLONE, "second");
	r.req.change.other = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.origin, oid);
	assert_int_equal(where(fx, r.req.obj.id, 7), AT(100).n);

	commits_req_init(fx, &r, CHANGE_REMOVE);
	r.req.change.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_false(test_store_obj(fx->ts, oid, &obj));
}

static void test_version_rename_exchange_and_reset(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");
	uint64_t b = commits_create(fx, "b");
	struct commits_req version;
	struct commits_req r;
	struct map_obj obj;

	commits_epoch_init(fx, &r, a, lblk(0), AT(0));
	commits_run(&r);
	commits_named_init(fx, &version, CHANGE_CLONE, "v1");
	version.req.change.other = a;
	version.req.change.parent = a;
	commits_run(&version);
	assert_int_equal(version.req.err, 0);
	assert_string_equal(version.req.obj.name, "a@v1");
	commits_epoch_init(fx, &r, a, lblk(0), AT(1));
	commits_run(&r);
	commits_req_init(fx, &r, CHANGE_RESET);
	r.req.change.oid = a;
	r.req.change.other = version.req.obj.id;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(where(fx, a, 0), AT(0).n);
	commits_run_until_idle(fx);
	assert_true(fx->freed[AT(1).n]);
	commits_req_init(fx, &r, CHANGE_EXCHANGE);
	r.req.change.oid = a;
	r.req.change.other = b;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	commits_named_init(fx, &r, CHANGE_RENAME, "c");
	r.req.change.oid = b;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_true(test_store_obj(fx->ts, a, &obj));
	assert_string_equal(obj.name, "b");
	assert_true(test_store_obj(fx->ts, b, &obj));
	assert_string_equal(obj.name, "c");
}

static void test_durable_comes_first_then_the_map(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	uint32_t csum = 0;

	commits_epoch_init(fx, &r, oid, lblk(3), AT(50));
	commits_submit(&r);
	test_store_run_count(fx->ts, &r.durable, 1);
	assert_true(fake_dev_durable(fx->ts->fdev, AT(50), r.bytes));
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_true(r.turn > r.durable);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), &csum).n, AT(50).n);
	assert_int_equal(csum, r.csum);
}

static void test_nothing_is_mapped_before_the_sync(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), AT(50));
	commits_hold_in_sync(&r);
	assert_int_equal(where(fx, oid, 3), 0);
	assert_true(commit_busy(fx->commit));
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(where(fx, oid, 3), AT(50).n);
}

static void test_inlined_block_is_durable_in_its_record(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	uint64_t writes = fake_dev_calls(fx->ts->fdev, FAKE_WRITE);
	uint64_t syncs = fake_dev_calls(fx->ts->fdev, FAKE_SYNC);
	struct recover_result result;
	struct commits_req r;

	commits_inline_init(fx, &r, oid, lblk(3), AT(50));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), writes + 1);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), syncs + 1);
	assert_false(fake_dev_holds(fx->ts->fdev, AT(50), r.bytes));
	commits_crash(fx, &result);
	assert_int_equal(result.records, 2);
	assert_true(fake_dev_durable(fx->ts->fdev, AT(50), r.bytes));
	assert_int_equal(where(fx, oid, 3), AT(50).n);
}

/* The holes of an epoch come before its extents. */
static void test_holes_of_an_epoch_come_first(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	const struct change_hole hole = {lblk(3), BLK_OBJECT_MAX - 3};
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), AT(50));
	commits_run(&r);
	commits_epoch_init(fx, &r, oid, lblk(9), AT(51));
	commits_run(&r);
	commits_epoch_init(fx, &r, oid, lblk(5), AT(52));
	r.req.change.holes = &hole;
	r.req.change.nholes = 1;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.mapped_nblks, 1);
	assert_int_equal(where(fx, oid, 3), 0);
	assert_int_equal(where(fx, oid, 9), 0);
	assert_int_equal(where(fx, oid, 5), AT(52).n);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 2);
	assert_true(fx->freed[AT(50).n] && fx->freed[AT(51).n]);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void test_answers_come_in_order(void **state)
{
	struct commits *fx = *state;
	struct commits_req *rs = aligned_alloc(BLK_BYTES, 100 * sizeof(*rs));
	uint64_t oid = commits_create(fx, "object");
	char name[16];

	fx->nanswered = 0;
	for (unsigned int i = 0; i < 100; i++) {
		if (i % 3 == 0) {
			commits_epoch_init(fx, &rs[i], oid, lblk(i), AT(i));
		} else {
			snprintf(name, sizeof(name), "n%u", i);
			commits_named_init(fx, &rs[i], CHANGE_CREATE, name);
		}
		commits_submit(&rs[i]);
	}
	test_store_run_count(fx->ts, &fx->nanswered, 100);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(rs[i].req.err, 0);
		assert_true(rs[i].turn > rs[i].durable);
		if (i > 0) {
			assert_true(rs[i].turn > rs[i - 1].turn);
			assert_true(rs[i].durable > rs[i - 1].durable);
		}
		if (i > 3 && i % 3 == 0)
			assert_true(rs[i].req.obj.generation > rs[i - 3].req.obj.generation);
	}
	free(rs);
}

static void test_group_shares_one_record_and_one_sync(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	uint64_t syncs = fake_dev_calls(fx->ts->fdev, FAKE_SYNC);
	uint64_t writes;
	struct commits_req head;
	struct commits_req rs[20];

	commits_inline_init(fx, &head, oid, lblk(0), AT(0));
	commits_hold_in_sync(&head);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		commits_inline_init(fx, &rs[i], oid, lblk(1 + i), AT(1 + i));
		commits_submit(&rs[i]);
	}
	writes = fake_dev_calls(fx->ts->fdev, FAKE_WRITE);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &rs[ARRAY_LEN(rs) - 1].turn, 1);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), syncs + 2);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), writes + 1);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++)
		assert_int_equal(rs[i].req.err, 0);
}

/* Who only wants a sync leaves no record; who only waits for the map causes nothing. */
static void test_sync_and_mark_leave_no_record(void **state)
{
	struct commits *fx = *state;
	uint64_t syncs = fake_dev_calls(fx->ts->fdev, FAKE_SYNC);
	uint64_t writes = fake_dev_calls(fx->ts->fdev, FAKE_WRITE);
	struct commits_req r;

	commits_req_init(fx, &r, CHANGE_EPOCH);
	r.req.kind = COMMIT_SYNC;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), syncs + 1);
	commits_req_init(fx, &r, CHANGE_EPOCH);
	r.req.kind = COMMIT_MARK;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), syncs + 1);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), writes);
	assert_int_equal(commit_journal_used(fx->commit), 0);
}

/* ---- failed syncs and records ---------------------------------------------------------------- */

static void test_failed_sync_fails_the_epoch(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	unsigned int gen = commit_sync_gen(fx->commit);
	struct commits_req r;

	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	commits_epoch_init(fx, &r, oid, lblk(3), AT(50));
	commits_run(&r);
	assert_int_equal(r.req.err, -ERR_WRITEBACK);
	assert_int_equal(r.durable, 0);
	assert_int_equal(commit_sync_gen(fx->commit), gen + 1);
	assert_int_equal(where(fx, oid, 3), 0);
	assert_int_equal(fx->nlatched, 0);
	/* written again elsewhere, it is well */
	commits_epoch_init(fx, &r, oid, lblk(3), AT(60));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(where(fx, oid, 3), AT(60).n);
	assert_true(fake_dev_durable(fx->ts->fdev, AT(60), r.bytes));
}

/* What is in the record alone is written again with it. */
static void test_failed_sync_spares_what_is_in_the_record(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct recover_result result;
	struct commits_req head;
	struct commits_req data;
	struct commits_req inlined;
	struct commits_req name;
	struct map_obj obj;

	commits_epoch_init(fx, &head, oid, lblk(0), AT(50));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &data, oid, lblk(1), AT(51));
	commits_inline_init(fx, &inlined, oid, lblk(2), AT(52));
	commits_named_init(fx, &name, CHANGE_CREATE, "name");
	commits_submit(&data);
	commits_submit(&inlined);
	commits_submit(&name);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &name.turn, 1);
	assert_int_equal(head.req.err, 0);
	assert_int_equal(data.req.err, -ERR_WRITEBACK);
	assert_int_equal(inlined.req.err, 0);
	assert_int_equal(name.req.err, 0);
	commits_crash(fx, &result);
	assert_int_equal(where(fx, oid, 0), AT(50).n);
	assert_int_equal(where(fx, oid, 1), 0);
	assert_int_equal(where(fx, oid, 2), AT(52).n);
	assert_true(fake_dev_durable(fx->ts->fdev, AT(52), inlined.bytes));
	assert_true(test_store_obj(fx->ts, name.req.change.oid, &obj));
}

/*
 * Three epochs in one group whose sync succeeds: what was written before an earlier sync failed
 * fails all the same, what was written after it does not.
 */
static void test_later_sync_does_not_resurrect(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req bad;
	struct commits_req head;
	struct commits_req before;
	struct commits_req after[2];

	commits_epoch_init(fx, &before, oid, lblk(1), AT(51));
	commits_epoch_init(fx, &bad, oid, lblk(0), AT(50));
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	commits_run(&bad);
	assert_int_equal(bad.req.err, -ERR_WRITEBACK);

	commits_epoch_init(fx, &head, oid, lblk(2), AT(52));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &after[0], oid, lblk(3), AT(53));
	commits_epoch_init(fx, &after[1], oid, lblk(4), AT(54));
	commits_submit(&after[0]);
	commits_submit(&before);
	commits_submit(&after[1]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &after[1].turn, 1);
	assert_int_equal(head.req.err, 0);
	assert_int_equal(after[0].req.err, 0);
	assert_int_equal(before.req.err, -ERR_WRITEBACK);
	assert_int_equal(after[1].req.err, 0);
	assert_int_equal(where(fx, oid, 1), 0);
	assert_true(fake_dev_durable(fx->ts->fdev, AT(54), after[1].bytes));
}

/* Written while a sync that will fail is under way: doubtful too. */
static void test_write_during_a_failing_sync_fails(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req during;
	struct commits_req after;

	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	commits_epoch_init(fx, &head, oid, lblk(0), AT(50));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &during, oid, lblk(1), AT(51));
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &head.turn, 1);
	commits_epoch_init(fx, &after, oid, lblk(2), AT(52));
	commits_submit(&during);
	commits_submit(&after);
	test_store_run_count(fx->ts, &after.turn, 1);
	assert_int_equal(head.req.err, -ERR_WRITEBACK);
	assert_int_equal(during.req.err, -ERR_WRITEBACK);
	assert_int_equal(after.req.err, 0);
}

/* It is tried once more; what fails then has never happened. */
static void test_record_that_cannot_be_written(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct recover_result result;
	struct commits_req r, good;
	struct map_obj obj;

	commits_named_init(fx, &r, CHANGE_CREATE, "once");
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	commits_inline_init(fx, &r, oid, lblk(0), AT(0));
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 2, -ERR_IO);
	commits_run(&r);
	assert_int_equal(r.req.err, -ERR_WRITEBACK);
	assert_int_equal(r.durable, 0);
	assert_int_equal(where(fx, oid, 0), 0);
	commits_inline_init(fx, &good, oid, lblk(1), AT(1));
	commits_run(&good);
	assert_int_equal(good.req.err, 0);
	commits_crash(fx, &result);
	assert_int_equal(where(fx, oid, 0), 0);
	assert_int_equal(where(fx, oid, 1), AT(1).n);
	assert_true(test_store_obj(fx->ts, oid + 1, &obj));
}

/* ---- the cut --------------------------------------------------------------------------------- */

/* After a crash the map is what was folded and what the journal has beyond. */
static void test_crash_after_a_cut(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct recover_result result;
	struct commits_req r;

	for (unsigned int i = 0; i < 30; i++) {
		if (i % 10 == 5)
			commits_fold(fx);
		commits_epoch_init(fx, &r, oid, lblk(i), AT(i));
		commits_run(&r);
		assert_int_equal(r.req.err, 0);
	}
	commits_crash(fx, &result);
	assert_int_equal(result.records, 5);
	for (unsigned int i = 0; i < 30; i++)
		assert_int_equal(where(fx, oid, i), AT(i).n);
}

/* What is answered in turns is of one record nevertheless: a cut waits for its end. */
static void test_cut_never_divides_a_record(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct recover_result result;
	struct commits_req rs[16];
	struct commits_req head;
	struct map_obj obj;
	char name[16];

	for (unsigned int round = 0; round < 20; round++) {
		commits_epoch_init(fx, &head, oid, lblk(0), AT(20 * round));
		commits_hold_in_sync(&head);
		for (unsigned int i = 0; i < ARRAY_LEN(rs); i += 2) {
			snprintf(name, sizeof(name), "n%u-%u", round, i);
			commits_named_init(fx, &rs[i], CHANGE_CREATE, name);
			commits_submit(&rs[i]);
			commits_epoch_init(fx, &rs[i + 1], oid, lblk(1 + i),
					   AT(20 * round + 1 + i));
			commits_submit(&rs[i + 1]);
		}
		fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
		test_store_run_count(fx->ts, &rs[0].turn, 1);
		commits_fold(fx);
		test_store_run_count(fx->ts, &rs[ARRAY_LEN(rs) - 1].turn, 1);
	}
	commits_crash(fx, &result);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i += 2) {
		assert_true(test_store_obj(fx->ts, rs[i].req.obj.id, &obj));
		assert_int_equal(where(fx, oid, 1 + i), AT(20 * 19 + 1 + i).n);
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

static void test_free_commits_and_answers_what_was_submitted(void **state)
{
	struct commits *fx = *state;
	struct commits_req rs[20];
	struct map_obj obj;
	char name[16];

	commits_start(fx);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		snprintf(name, sizeof(name), "n%u", i);
		commits_named_init(fx, &rs[i], CHANGE_CREATE, name);
		commits_submit(&rs[i]);
	}
	commit_free(fx->commit);
	fx->commit = NULL;
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		assert_true(rs[i].turn > 0);
		assert_int_equal(rs[i].req.err, 0);
		assert_true(test_store_obj(fx->ts, rs[i].req.obj.id, &obj));
	}
}

/* Durable, and the map cannot take it: nothing more is committed, and that is told once. */
static void test_change_that_cannot_be_applied_latches(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req bad;
	struct commits_req late;

	commits_run_until_idle(fx);
	fx->nanswered = 0;
	commits_epoch_init(fx, &bad, oid + 1000, lblk(0), AT(0));
	commits_run(&bad);
	assert_true(bad.durable > 0);
	assert_int_equal(bad.req.err, -ERR_LATCHED);
	assert_int_equal(fx->nlatched, 1);
	assert_int_equal(fx->answered_when_latched, 1);
	commits_named_init(fx, &late, CHANGE_CREATE, "late");
	commits_run(&late);
	assert_int_equal(late.req.err, -ERR_LATCHED);
	assert_int_equal(late.durable, 0);
	assert_int_equal(fx->nlatched, 1);
	assert_int_equal(fx->nfreed, 0);
}

static void cut_done(struct commit_cut *cut)
{
	cut->done = NULL;
}

/* A part of the record is in the map: that is neither the state before it nor the one behind it. */
static void test_part_of_a_record_is_never_cut(void **state)
{
	struct commits *fx = *state;
	struct commit_cut cut = {.done = cut_done};
	struct commits_req head;
	struct commits_req made;
	struct commits_req bad;

	commits_named_init(fx, &head, CHANGE_CREATE, "head");
	commits_hold_in_sync(&head);
	commits_named_init(fx, &made, CHANGE_CREATE, "made");
	commits_submit(&made);
	commits_epoch_init(fx, &bad, made.req.change.oid + 1000, lblk(0), AT(0));
	commits_submit(&bad);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &bad.turn, 1);
	assert_int_equal(made.req.err, 0);
	assert_int_equal(bad.req.err, -ERR_LATCHED);
	commit_cut_map(fx->commit, &cut);
	while (cut.done)
		test_store_turn(fx->ts);
	assert_int_equal(cut.err, -ERR_LATCHED);
}

static void test_refused_is_latched(void **state)
{
	struct commits_req r;

	commit_refuse(((struct commits *)*state)->commit);
	commits_named_init(*state, &r, CHANGE_CREATE, "name");
	commits_run(&r);
	assert_int_equal(r.req.err, -ERR_LATCHED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, commits_setup, commits_teardown)
#define TEST_STOPPED(name) \
	cmocka_unit_test_setup_teardown(name, commits_setup_stopped, commits_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_create_epoch_clone_and_remove),
	    TEST(test_version_rename_exchange_and_reset),
	    TEST(test_durable_comes_first_then_the_map),
	    TEST(test_nothing_is_mapped_before_the_sync),
	    TEST(test_inlined_block_is_durable_in_its_record),
	    TEST(test_holes_of_an_epoch_come_first),
	    TEST(test_answers_come_in_order),
	    TEST(test_group_shares_one_record_and_one_sync),
	    TEST(test_sync_and_mark_leave_no_record),
	    TEST(test_failed_sync_fails_the_epoch),
	    TEST(test_failed_sync_spares_what_is_in_the_record),
	    TEST(test_later_sync_does_not_resurrect),
	    TEST(test_write_during_a_failing_sync_fails),
	    TEST(test_record_that_cannot_be_written),
	    TEST(test_crash_after_a_cut),
	    TEST(test_cut_never_divides_a_record),
	    TEST_STOPPED(test_free_commits_and_answers_what_was_submitted),
	    TEST(test_change_that_cannot_be_applied_latches),
	    TEST(test_part_of_a_record_is_never_cut),
	    TEST(test_refused_is_latched),
	};

	return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
