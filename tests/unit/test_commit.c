/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_commit.c: the commit thread: order, groups, failed syncs, freed blocks, a full map, and a
 * map that has failed.
 */
#include "server/commit.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

#define META_BYTES (UINT64_C(4) << 20)
#define META_SMALL (UINT64_C(512) << 10)
#define GROUP	   600u /* more objects than a small map takes */
#define KEPT	   100u

static int setup_stopped(void **state)
{
	*state = commits_new(META_BYTES);
	return 0;
}

static int setup(void **state)
{
	*state = commits_new(META_BYTES);
	commits_start(*state);
	return 0;
}

static int setup_small(void **state)
{
	*state = commits_new(META_SMALL);
	commits_start(*state);
	return 0;
}

static int teardown(void **state)
{
	commits_free(*state);
	return 0;
}

/* ---- results --------------------------------------------------------------------------------- */

static void test_each_kind_has_its_result(void **state)
{
	struct commits *fx = *state;
	struct commits_req r;
	struct map_obj obj;
	uint64_t oid = commits_create(fx, "first");

	assert_true(test_store_obj(fx->ts, oid, &obj));
	assert_string_equal(obj.name, "first");
	assert_int_equal(obj.size_bytes, BLK_BYTES);
	assert_int_equal(obj.ctime_ns, 5);

	commits_epoch_init(fx, &r, oid, lblk(7), pblk(100));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.id, oid);
	assert_int_equal(r.req.obj.size_bytes, 8 * BLK_BYTES);
	assert_int_equal(r.req.obj.mapped_nblks, 1);
	assert_int_equal(r.req.obj.mtime_ns, 6);
	assert_true(r.req.obj.generation > obj.generation);

	commits_named_init(fx, &r, COMMIT_CLONE, "second");
	r.req.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.origin, oid);
	assert_int_equal(test_store_where(fx->ts, r.req.obj.id, lblk(7), NULL).n, 100);

	commits_req_init(fx, &r, COMMIT_REMOVE);
	r.req.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_false(test_store_obj(fx->ts, oid, &obj));
}

static void test_answered_means_durable(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	uint32_t csum = 0;

	commits_epoch_init(fx, &r, oid, lblk(3), pblk(50));
	assert_false(fake_dev_durable(fx->ts->fdev, pblk(50), r.bytes));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_true(fake_dev_durable(fx->ts->fdev, pblk(50), r.bytes));
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), &csum).n, 50);
	assert_int_equal(csum, r.csum);
}

static void test_nothing_is_mapped_before_the_sync(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), pblk(50));
	commits_hold_in_sync(&r);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 0);
	assert_true(commit_busy(fx->commit));
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &r.turn, 1);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 50);
}

/* The truncation of an epoch comes before its extents. */
static void test_epoch_truncates_first(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), pblk(50));
	commits_run(&r);
	commits_epoch_init(fx, &r, oid, lblk(9), pblk(51));
	commits_run(&r);
	commits_epoch_init(fx, &r, oid, lblk(5), pblk(52));
	r.req.truncate = lblk(3);
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.mapped_nblks, 1);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(9), NULL).n, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(5), NULL).n, 52);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 2);
	assert_true(fx->freed[50] && fx->freed[51]);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void test_answers_come_in_order(void **state)
{
	struct commits *fx = *state;
	struct commits_req rs[100];
	uint64_t oid = commits_create(fx, "object");
	char name[16];

	fx->nanswered = 0;
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		if (i % 3 == 0) {
			commits_epoch_init(fx, &rs[i], oid, lblk(i), pblk(100 + i));
		} else {
			snprintf(name, sizeof(name), "n%u", i);
			commits_named_init(fx, &rs[i], COMMIT_CREATE, name);
		}
		commits_submit(&rs[i]);
	}
	test_store_run_count(fx->ts, &fx->nanswered, ARRAY_LEN(rs));
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		assert_int_equal(rs[i].req.err, 0);
		assert_int_equal(rs[i].turn, i + 1);
		if (i > 3 && i % 3 == 0)
			assert_true(rs[i].req.obj.generation > rs[i - 3].req.obj.generation);
	}
}

static void test_group_shares_one_sync(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req rs[20];

	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 0);
	commits_epoch_init(fx, &head, oid, lblk(0), pblk(10));
	commits_hold_in_sync(&head);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		commits_epoch_init(fx, &rs[i], oid, lblk(1 + i), pblk(11 + i));
		commits_submit(&rs[i]);
	}
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &rs[ARRAY_LEN(rs) - 1].turn, 1);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 2);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		assert_int_equal(rs[i].req.err, 0);
		assert_true(fake_dev_durable(fx->ts->fdev, pblk(11 + i), rs[i].bytes));
	}
}

static void test_no_sync_without_data(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_req_init(fx, &r, COMMIT_EPOCH);
	r.req.oid = oid;
	r.req.size_bytes = 12345;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(r.req.obj.size_bytes, 12345);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 0);
}

static void test_harmless_errors_leave_the_group_alone(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req r[6];

	commits_epoch_init(fx, &head, oid, lblk(0), pblk(10));
	commits_hold_in_sync(&head);
	commits_named_init(fx, &r[0], COMMIT_CREATE, "a");
	commits_named_init(fx, &r[1], COMMIT_CREATE, "a");
	commits_epoch_init(fx, &r[2], oid, lblk(1), pblk(11));
	commits_req_init(fx, &r[3], COMMIT_REMOVE);
	r[3].req.oid = oid + 1000;
	commits_named_init(fx, &r[4], COMMIT_CLONE, "object");
	r[4].req.oid = oid;
	commits_named_init(fx, &r[5], COMMIT_CREATE, "b");
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		commits_submit(&r[i]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &r[5].turn, 1);
	assert_int_equal(head.req.err, 0);
	assert_int_equal(r[0].req.err, 0);
	assert_int_equal(r[1].req.err, -ERR_EXIST);
	assert_int_equal(r[2].req.err, 0);
	assert_int_equal(r[3].req.err, -ERR_NOENT);
	assert_int_equal(r[4].req.err, -ERR_EXIST);
	assert_int_equal(r[5].req.err, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(1), NULL).n, 11);
	assert_int_equal(fx->nlatched, 0);
}

/*
 * A request that spoils the transaction fails alone; the others are applied again without it.  A
 * name that another request has taken is taken again, and one that the spoiler wanted is free.
 */
static void test_spoiled_transaction_is_made_again(void **state)
{
	static const int want[] = {0, -ERR_EXIST, 0, -ERR_TOO_LARGE, -ERR_TOO_LARGE, 0, 0};
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req r[ARRAY_LEN(want)];
	struct map_obj obj;

	commits_epoch_init(fx, &head, oid, lblk(0), pblk(10));
	commits_hold_in_sync(&head);
	commits_named_init(fx, &r[0], COMMIT_CREATE, "a");
	commits_named_init(fx, &r[1], COMMIT_CREATE, "a");
	commits_epoch_init(fx, &r[2], oid, lblk(1), pblk(11));
	commits_epoch_init(fx, &r[3], oid, lblk(2), pblk(12));
	r[3].extent.blk = lblk(BLK_OBJECT_MAX);
	commits_named_init(fx, &r[4], COMMIT_CREATE, "b");
	r[4].req.size_bytes = UINT64_MAX;
	commits_named_init(fx, &r[5], COMMIT_CREATE, "b");
	commits_epoch_init(fx, &r[6], oid, lblk(3), pblk(13));
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		commits_submit(&r[i]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &r[6].turn, 1);
	for (size_t i = 0; i < ARRAY_LEN(r); i++) {
		assert_int_equal(r[i].req.err, want[i]);
		assert_int_equal(r[i].turn, head.turn + i + 1);
	}
	assert_true(test_store_obj(fx->ts, r[0].req.obj.id, &obj));
	assert_int_equal(test_store_where(fx->ts, oid, lblk(1), NULL).n, 11);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 13);
	assert_int_equal(r[6].req.obj.mapped_nblks, 3);
	assert_int_equal(fx->nlatched, 0);
}

/* ---- failed syncs ---------------------------------------------------------------------------- */

static void test_failed_sync_fails_the_epoch(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	unsigned int gen = commit_sync_gen(fx->commit);
	struct commits_req r;

	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	commits_epoch_init(fx, &r, oid, lblk(3), pblk(50));
	commits_run(&r);
	assert_int_equal(r.req.err, -ERR_WRITEBACK);
	assert_int_equal(commit_sync_gen(fx->commit), gen + 1);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 0);
	assert_int_equal(fx->nlatched, 0);
	/* written again elsewhere, it is well */
	commits_epoch_init(fx, &r, oid, lblk(3), pblk(60));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(3), NULL).n, 60);
	assert_true(fake_dev_durable(fx->ts->fdev, pblk(60), r.bytes));
}

/* In the group whose sync fails, what has no data does not depend on it. */
static void test_failed_sync_spares_what_has_no_data(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req data;
	struct commits_req size;
	struct commits_req name;

	commits_epoch_init(fx, &head, oid, lblk(0), pblk(50));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &data, oid, lblk(1), pblk(51));
	commits_req_init(fx, &size, COMMIT_EPOCH);
	size.req.oid = oid;
	size.req.size_bytes = 777;
	commits_named_init(fx, &name, COMMIT_CREATE, "name");
	commits_submit(&data);
	commits_submit(&size);
	commits_submit(&name);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &name.turn, 1);
	assert_int_equal(head.req.err, 0);
	assert_int_equal(data.req.err, -ERR_WRITEBACK);
	assert_int_equal(size.req.err, 0);
	assert_int_equal(name.req.err, 0);
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

	commits_epoch_init(fx, &before, oid, lblk(1), pblk(51));
	commits_epoch_init(fx, &bad, oid, lblk(0), pblk(50));
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	commits_run(&bad);
	assert_int_equal(bad.req.err, -ERR_WRITEBACK);

	commits_epoch_init(fx, &head, oid, lblk(2), pblk(52));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &after[0], oid, lblk(3), pblk(53));
	commits_epoch_init(fx, &after[1], oid, lblk(4), pblk(54));
	commits_submit(&after[0]);
	commits_submit(&before);
	commits_submit(&after[1]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &after[1].turn, 1);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 3);
	assert_int_equal(head.req.err, 0);
	assert_int_equal(after[0].req.err, 0);
	assert_int_equal(before.req.err, -ERR_WRITEBACK);
	assert_int_equal(after[1].req.err, 0);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(1), NULL).n, 0);
	assert_true(fake_dev_durable(fx->ts->fdev, pblk(54), after[1].bytes));
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
	commits_epoch_init(fx, &head, oid, lblk(0), pblk(50));
	commits_hold_in_sync(&head);
	commits_epoch_init(fx, &during, oid, lblk(1), pblk(51));
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &head.turn, 1);
	commits_epoch_init(fx, &after, oid, lblk(2), pblk(52));
	commits_submit(&during);
	commits_submit(&after);
	test_store_run_count(fx->ts, &after.turn, 1);
	assert_int_equal(head.req.err, -ERR_WRITEBACK);
	assert_int_equal(during.req.err, -ERR_WRITEBACK);
	assert_int_equal(after.req.err, 0);
}

/* ---- freed blocks and the reaper ------------------------------------------------------------- */

static void test_overwritten_blocks_are_reported(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(3), pblk(50));
	commits_run(&r);
	assert_int_equal(fx->nfreed, 0);
	commits_epoch_init(fx, &r, oid, lblk(3), pblk(51));
	commits_run(&r);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 1);
	assert_true(fx->freed[50]);
}

static void test_removed_object_is_reaped(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;

	commits_stop(fx);
	test_store_map(fx->ts, oid, lblk(0), pblk(100), 300, COMMITS_SEED);
	test_store_map(fx->ts, oid, lblk(100000), pblk(1000), 10, COMMITS_SEED);
	commits_start(fx);
	commits_req_init(fx, &r, COMMIT_REMOVE);
	r.req.oid = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 310);
	assert_true(fx->freed[100] && fx->freed[399]);
	assert_true(fx->freed[1000] && fx->freed[1009]);
}

static void test_shared_blocks_go_with_the_last_clone(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req clone;
	struct commits_req r;

	commits_stop(fx);
	test_store_map(fx->ts, oid, lblk(0), pblk(100), 300, COMMITS_SEED);
	commits_start(fx);
	commits_named_init(fx, &clone, COMMIT_CLONE, "clone");
	clone.req.oid = oid;
	commits_run(&clone);
	commits_req_init(fx, &r, COMMIT_REMOVE);
	r.req.oid = oid;
	commits_run(&r);
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 0);
	commits_req_init(fx, &r, COMMIT_REMOVE);
	r.req.oid = clone.req.obj.id;
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
		test_store_map(fx->ts, oid, lblk((uint64_t)i * MAP_FANOUT), pblk(10 + i), 1,
			       COMMITS_SEED);
	commits_start(fx);
	commits_req_init(fx, &r, COMMIT_REMOVE);
	r.req.oid = oid;
	commits_submit(&r);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		snprintf(name, sizeof(name), "n%u", i);
		commits_named_init(fx, &rs[i], COMMIT_CREATE, name);
		commits_run(&rs[i]);
		assert_int_equal(rs[i].req.err, 0);
	}
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 300);
}

/* What an earlier run left in the reap queue is released by the next. */
static void test_start_goes_on_reaping(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = test_store_create(fx->ts, "object", BLK_BYTES);

	test_store_map(fx->ts, oid, lblk(0), pblk(100), 20, COMMITS_SEED);
	test_store_remove(fx->ts, oid);
	commits_start(fx);
	assert_true(commit_busy(fx->commit));
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, 20);
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
		commits_named_init(fx, &rs[i], COMMIT_CREATE, name);
		commits_submit(&rs[i]);
	}
	commits_stop(fx);
	loop_finish(fx->ts->loop);
	for (unsigned int i = 0; i < ARRAY_LEN(rs); i++) {
		assert_int_equal(rs[i].turn, i + 1);
		assert_int_equal(rs[i].req.err, 0);
		assert_true(test_store_obj(fx->ts, rs[i].req.obj.id, &obj));
	}
}

static void test_full_map_refuses_and_recovers(void **state)
{
	struct commits *fx = *state;
	struct commits_req r;
	char name[NAME_MAX_BYTES + 1];
	uint64_t first = 0;
	unsigned int n = 0;

	do {
		/* long names fill a small map soon */
		snprintf(name, sizeof(name), "%0200u", n++);
		commits_named_init(fx, &r, COMMIT_CREATE, name);
		commits_run(&r);
		if (first == 0)
			first = r.req.obj.id;
		assert_true(n < 10000);
	} while (r.req.err == 0);
	assert_int_equal(r.req.err, -ERR_NOSPC_META);
	assert_true(n > 10);
	assert_int_equal(fx->nlatched, 0);
	/* deletion is admitted, and makes room */
	for (uint64_t oid = first; oid < first + n - 1; oid++) {
		commits_req_init(fx, &r, COMMIT_REMOVE);
		r.req.oid = oid;
		commits_run(&r);
		assert_int_equal(r.req.err, 0);
	}
	commits_create(fx, "again");
}

/* A group of which only a part fits: the part that fits is committed. */
static void test_group_too_large_for_the_map(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req *rs = calloc(GROUP, sizeof(*rs));
	char name[NAME_MAX_BYTES + 1];
	unsigned int nok = 0;

	assert_non_null(rs);
	commits_epoch_init(fx, &head, oid, lblk(0), pblk(10));
	commits_hold_in_sync(&head);
	for (unsigned int i = 0; i < GROUP; i++) {
		snprintf(name, sizeof(name), "%0200u", i);
		commits_named_init(fx, &rs[i], COMMIT_CREATE, name);
		commits_submit(&rs[i]);
	}
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &rs[GROUP - 1].turn, 1);
	for (unsigned int i = 0; i < GROUP; i++) {
		struct map_obj obj;

		assert_true(rs[i].req.err == 0 || rs[i].req.err == -ERR_NOSPC_META);
		if (rs[i].req.err == 0) {
			assert_true(test_store_obj(fx->ts, rs[i].req.obj.id, &obj));
			assert_string_equal(obj.name, rs[i].req.name);
			nok++;
		}
	}
	assert_true(nok > 10 && nok < GROUP);
	assert_int_equal(fx->nlatched, 0);
	free(rs);
}

/* One by one a name is free where the request that had it in the attempt with all is refused. */
static void test_name_of_a_refused_request_is_free(void **state)
{
	struct commits *fx = *state;
	struct commits_req head;
	struct commits_req *rs = calloc(GROUP, sizeof(*rs));
	const unsigned int last = GROUP - 1;
	char name[NAME_MAX_BYTES + 1];
	uint64_t oid;

	assert_non_null(rs);
	oid = commits_create(fx, "0");
	commits_epoch_init(fx, &head, oid, lblk(0), pblk(10));
	for (unsigned int i = 0; i < GROUP; i++) {
		/* two of the last name, and between them what makes room again */
		snprintf(name, sizeof(name), "%0200u", i == last ? last - KEPT - 1 : i);
		commits_named_init(fx, &rs[i], COMMIT_CREATE, name);
		if (i < KEPT)
			commits_run(&rs[i]);
		if (i >= last - KEPT && i < last) {
			commits_req_init(fx, &rs[i], COMMIT_REMOVE);
			rs[i].req.oid = rs[i - (last - KEPT)].req.obj.id;
		}
	}
	commits_hold_in_sync(&head);
	for (unsigned int i = KEPT; i < GROUP; i++)
		commits_submit(&rs[i]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &rs[last].turn, 1);
	assert_int_equal(rs[last - KEPT - 1].req.err, -ERR_NOSPC_META);
	assert_int_equal(rs[last].req.err, 0);
	free(rs);
}

/* Makes LMDB's writes fail, since they lie beyond this offset. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit lim;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &lim), 0);
	lim.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

static void test_failed_map_commit_latches(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r[3];
	struct commits_req late;

	commits_run_until_idle(fx);
	fx->nanswered = 0;
	for (unsigned int i = 0; i < ARRAY_LEN(r); i++)
		commits_epoch_init(fx, &r[i], oid, lblk(i), pblk(100 + i));
	limit_file_size(1);
	commits_hold_in_sync(&r[0]);
	commits_submit(&r[1]);
	commits_submit(&r[2]);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &fx->nlatched, 1);
	assert_int_equal(fx->answered_when_latched, 1);
	test_store_run_count(fx->ts, &fx->nanswered, 3);
	for (unsigned int i = 0; i < ARRAY_LEN(r); i++)
		assert_int_equal(r[i].req.err, -ERR_LATCHED);
	limit_file_size(RLIM_INFINITY);
	/* the cause is gone: it stays latched all the same, and tells it once */
	commits_named_init(fx, &late, COMMIT_CREATE, "late");
	commits_run(&late);
	assert_int_equal(late.req.err, -ERR_LATCHED);
	assert_int_equal(fx->nlatched, 1);
	assert_int_equal(fx->nfreed, 0);
}

#define TEST(name)	   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SMALL(name)   cmocka_unit_test_setup_teardown(name, setup_small, teardown)
#define TEST_STOPPED(name) cmocka_unit_test_setup_teardown(name, setup_stopped, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_each_kind_has_its_result),
	    TEST(test_answered_means_durable),
	    TEST(test_nothing_is_mapped_before_the_sync),
	    TEST(test_epoch_truncates_first),
	    TEST(test_answers_come_in_order),
	    TEST(test_group_shares_one_sync),
	    TEST(test_no_sync_without_data),
	    TEST(test_harmless_errors_leave_the_group_alone),
	    TEST(test_spoiled_transaction_is_made_again),
	    TEST(test_failed_sync_fails_the_epoch),
	    TEST(test_failed_sync_spares_what_has_no_data),
	    TEST(test_later_sync_does_not_resurrect),
	    TEST(test_write_during_a_failing_sync_fails),
	    TEST(test_overwritten_blocks_are_reported),
	    TEST(test_removed_object_is_reaped),
	    TEST(test_shared_blocks_go_with_the_last_clone),
	    TEST(test_long_reaping_does_not_hold_up_others),
	    TEST_STOPPED(test_start_goes_on_reaping),
	    TEST_STOPPED(test_free_commits_and_answers_what_was_submitted),
	    TEST_SMALL(test_full_map_refuses_and_recovers),
	    TEST_SMALL(test_group_too_large_for_the_map),
	    TEST_SMALL(test_name_of_a_refused_request_is_free),
	    TEST(test_failed_map_commit_latches),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
