/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_kv_room.c: the room for folds: what does not fit, what is in the way, and whether what is kept
 * for a fold is enough.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "server/kv_priv.h"
#include "tests/lib/must.h"
#include "tests/unit/kv_fixture.h"

#define MIB (UINT64_C(1) << 20)

/* What does not fit stays frozen, and is seen as before. */
static void test_fold_without_room_changes_nothing(void **state)
{
	enum { N = 700 }; /* of which two take a page */
	struct kv_txn *txn;
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MIB);
	txn = kvfix_stage(&fix);
	assert_true(kv_stage_has_room(txn));
	for (uint64_t n = 0; n < N; n++)
		kvfix_put(txn, KV_NODE, n, 2000);
	assert_false(kv_stage_has_room(txn));
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_true(kv_must_fold(fix.env));
	assert_int_equal(kv_cut(fix.env), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kv_fold(fix.env), -ERR_NOSPC_META);
		txn = kvfix_stage(&fix);
		kvfix_put(txn, KV_NODE, (uint64_t)i, 1);
		kvfix_del(txn, KV_NODE, N - 1 - (uint64_t)i);
		assert_int_equal(kv_stage_commit(txn), 0);
		txn = kvfix_read(&fix);
		for (uint64_t n = 0; n < N; n++)
			assert_int_equal(kvfix_has(txn, KV_NODE, n), n < N - 1 - (uint64_t)i);
		kv_read_end(txn);
		assert_true(kv_must_fold(fix.env));
	}
	kvfix_reopen(&fix);
	txn = kvfix_read(&fix);
	assert_false(kvfix_has(txn, KV_NODE, 0));
	kv_read_end(txn);
	kvfix_close(&fix);
}

static void rewrite(struct kvfix *fix, size_t n)
{
	struct kv_txn *txn = kvfix_stage(fix);

	for (uint64_t i = 0; i < n; i++)
		kvfix_put(txn, KV_NODE, i, 2000);
	assert_int_equal(kv_stage_commit(txn), 0);
}

/* Rewrites the same entries, as often as pages last or n times; returns how often. */
static int rewrite_until_late(struct kvfix *fix, const struct kv_txn *snapshot, int n)
{
	int i;

	for (i = 0; i < n && !kv_snapshot_is_late(snapshot); i++) {
		rewrite(fix, 60);
		kvfix_cut_and_fold(fix);
	}
	return i;
}

/* A snapshot keeps pages from being used; it learns so before a fold finds none. */
static void test_snapshot_is_told_that_it_is_in_the_way(void **state)
{
	struct kv_txn *snapshot;
	struct kv_txn *other;
	struct kvfix fix = {0};
	int err = 0;

	(void)state;
	kvfix_open(&fix, MIB);
	assert_int_equal(kv_snapshot_begin(fix.env, &snapshot), 0);
	assert_int_not_equal(rewrite_until_late(&fix, snapshot, 1000), 1000);
	assert_false(kvfix_has(snapshot, KV_NODE, 0));
	/* one that begins now sees what is there now */
	assert_int_equal(kv_snapshot_begin(fix.env, &other), 0);
	assert_false(kv_snapshot_is_late(other));
	assert_true(kvfix_has(other, KV_NODE, 0));
	kv_read_end(other);
	/* and who does not listen makes folds fail, not commits; all are late then */
	while (!err) {
		rewrite(&fix, 60);
		assert_int_equal(kv_cut(fix.env), 0);
		assert_int_equal(kv_snapshot_begin(fix.env, &other), 0);
		assert_false(kv_snapshot_is_late(other));
		err = kv_fold(fix.env);
		if (err)
			assert_true(kv_snapshot_is_late(other));
		kv_read_end(other);
	}
	assert_int_equal(err, -ERR_NOSPC_META);
	assert_false(kvfix_has(snapshot, KV_NODE, 0));
	kv_read_end(snapshot);
	assert_int_equal(kv_fold(fix.env), 0);
	/* without them there is no end */
	for (int i = 0; i < 20; i++) {
		rewrite(&fix, 60);
		kvfix_cut_and_fold(&fix);
	}
	assert_int_equal(kv_snapshot_begin(fix.env, &snapshot), 0);
	assert_false(kv_snapshot_is_late(snapshot));
	kv_read_end(snapshot);
	kvfix_close(&fix);
}

/* The old pages and the new ones, and no third generation of them: 90 of 256 pages each time. */
static void test_replaced_pages_are_room_again(void **state)
{
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MIB);
	for (int i = 0; i < 10; i++) {
		rewrite(&fix, 180);
		kvfix_cut_and_fold(&fix);
	}
	kvfix_close(&fix);
}

static void test_usage_counts_what_is_staged(void **state)
{
	struct kv_txn *txn;
	struct kvfix fix = {0};
	uint64_t total;
	uint64_t empty;
	uint64_t staged;
	uint64_t folded;

	(void)state;
	kvfix_open(&fix, 4 * MIB);
	kv_usage(fix.env, &empty, &total);
	assert_int_equal(total, 2 * MIB);
	rewrite(&fix, 100);
	kv_usage(fix.env, &staged, &total);
	assert_true(staged >= empty + 100 * 2000 && staged <= empty + 3 * 100 * 2000);
	assert_int_equal(kv_cut(fix.env), 0);
	kv_usage(fix.env, &folded, &total);
	assert_int_equal(folded, staged);
	assert_int_equal(kv_fold(fix.env), 0);
	kv_usage(fix.env, &folded, &total);
	assert_true(folded >= empty + 100 * 2000 && folded <= staged);
	/* what only takes the place of something does not add to it */
	rewrite(&fix, 100);
	kv_usage(fix.env, &staged, &total);
	assert_int_equal(staged, folded);
	kvfix_cut_and_fold(&fix);
	txn = kvfix_stage(&fix);
	for (uint64_t i = 0; i < 100; i++)
		kvfix_del(txn, KV_NODE, i);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	kv_usage(fix.env, &staged, &total);
	assert_true(staged <= empty + 8 * 4096);
	kvfix_reopen(&fix);
	kv_usage(fix.env, &folded, &total);
	assert_int_equal(folded, staged);
	kvfix_close(&fix);
}

/* ---- what a fold takes up -------------------------------------------------------------------- */

/* As many leaves as n, each with a large value and two small ones, which are less than a quarter. */
static void fill_unevenly(struct kvfix *fix, uint64_t n)
{
	struct kv_txn *txn = kvfix_stage(fix);

	for (uint64_t i = 0; i < n; i++) {
		kvfix_put(txn, KV_NODE, 4 * i, 2000);
		kvfix_put(txn, KV_NODE, 4 * i + 1, 400);
		kvfix_put(txn, KV_NODE, 4 * i + 2, 400);
	}
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(fix);
}

/* A leaf that a delete leaves nearly empty takes from its neighbour: two pages for one change. */
static void test_a_fold_takes_no_more_than_is_kept_for_it(void **state)
{
	enum { N = 400 };
	struct kvfix fix = {0};
	struct kv_pages before;
	struct kv_pages after;
	struct kv_txn *txn;
	uint64_t bound;

	(void)state;
	kvfix_open(&fix, 16 * MIB);
	fill_unevenly(&fix, N);
	txn = kvfix_stage(&fix);
	for (uint64_t i = 0; i < N; i += 4)
		kvfix_del(txn, KV_NODE, 4 * i);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_int_equal(kv_cut(fix.env), 0);
	assert_int_equal(kv_pages_read(fix.env, &before), 0);
	assert_int_equal(before.tables[KV_NODE].leaves, N);
	bound = kv_fold_pages(fix.env, &before, fix.env->frozen);
	assert_int_equal(kv_fold(fix.env), 0);
	assert_int_equal(kv_pages_read(fix.env, &after), 0);
	assert_true(after.replaced >= 2 * (N / 4));
	assert_true(after.replaced <= bound);
	kvfix_close(&fix);
}

/* What goes here and there leaves pages as they are: it makes no room for what comes. */
static void test_usage_takes_nothing_off_for_deletes(void **state)
{
	struct kvfix fix = {0};
	struct kv_txn *txn;
	uint64_t total;
	uint64_t staged;
	uint64_t folded;

	(void)state;
	kvfix_open(&fix, 16 * MIB);
	txn = kvfix_stage(&fix);
	for (uint64_t i = 0; i < 400; i++)
		kvfix_put(txn, KV_NODE, i, 1000);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	txn = kvfix_stage(&fix);
	for (uint64_t i = 0; i < 400; i += 3)
		kvfix_del(txn, KV_NODE, i);
	for (uint64_t i = 0; i < 130; i++)
		kvfix_put(txn, KV_NODE, 1000 + i, 1000);
	assert_int_equal(kv_stage_commit(txn), 0);
	kv_usage(fix.env, &staged, &total);
	kvfix_cut_and_fold(&fix);
	kv_usage(fix.env, &folded, &total);
	assert_true(folded <= staged);
	kvfix_close(&fix);
}

/* ---- who reads meanwhile --------------------------------------------------------------------- */

struct folding {
	struct kvfix *fix;
	atomic_bool ended;
	int err;
};

static void *folding_main(void *arg)
{
	struct folding *f = arg;

	f->err = kv_fold(f->fix->env);
	atomic_store(&f->ended, true);
	return NULL;
}

/*
 * Only with the pages that the last fold replaced there are enough, and somebody reads who began
 * before: the fold waits for that, it does not fail.
 */
static void test_a_fold_waits_for_who_keeps_its_pages(void **state)
{
	struct folding f = {0};
	struct kvfix fix = {0};
	struct kv_pages pages;
	struct kv_txn *reader;
	uint64_t last_txn;
	pthread_t thread;

	(void)state;
	kvfix_open(&fix, MIB);
	for (int i = 0; i < 3; i++) {
		rewrite(&fix, 180);
		kvfix_cut_and_fold(&fix);
	}
	rewrite(&fix, 180);
	assert_int_equal(kv_cut(fix.env), 0);
	reader = kvfix_read(&fix);
	assert_int_equal(kv_pages_read(fix.env, &pages), 0);
	last_txn = pages.last_txn;
	f.fix = &fix;
	assert_int_equal(pthread_create(&thread, NULL, folding_main, &f), 0);
	do {
		assert_int_equal(kv_pages_read(fix.env, &pages), 0);
	} while (pages.last_txn == last_txn); /* until the turn, and a good while longer */
	for (int i = 0; i < 100000 && !atomic_load(&f.ended); i++)
		assert_true(kvfix_has(reader, KV_NODE, 179));
	kv_read_end(reader);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f.err, 0);
	kvfix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fold_without_room_changes_nothing),
	    cmocka_unit_test(test_snapshot_is_told_that_it_is_in_the_way),
	    cmocka_unit_test(test_replaced_pages_are_room_again),
	    cmocka_unit_test(test_usage_counts_what_is_staged),
	    cmocka_unit_test(test_a_fold_takes_no_more_than_is_kept_for_it),
	    cmocka_unit_test(test_usage_takes_nothing_off_for_deletes),
	    cmocka_unit_test(test_a_fold_waits_for_who_keeps_its_pages),
	};

	must_end_within(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
