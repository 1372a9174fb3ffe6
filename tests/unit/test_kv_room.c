/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_kv_room.c: the room for folds: what does not fit, what is in the way, and whether what is kept
 * for a fold is enough.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "server/kv_priv.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
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

/* The first of the three values in each of n full leaves becomes as long as that; what that may take up. */
static uint64_t reckon_change_in_full_leaves(struct kvfix *fix, uint64_t n, size_t len)
{
	struct kv_txn *txn = kvfix_stage(fix);
	struct kv_pages before;

	for (uint64_t i = 0; i < 3 * n; i++)
		kvfix_put(txn, KV_NODE, i, 1340);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(fix);
	txn = kvfix_stage(fix);
	for (uint64_t i = 0; i < 3 * n; i += 3)
		kvfix_put(txn, KV_NODE, i, len);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_int_equal(kv_cut(fix->env), 0);
	assert_int_equal(kv_pages_read(fix->env, &before), 0);
	assert_int_equal(before.tables[KV_NODE].leaves, n);
	return kv_fold_pages(fix->env, &before, fix->env->frozen);
}

static uint64_t fold_and_count(struct kvfix *fix)
{
	struct kv_pages before;
	struct kv_pages after;

	assert_int_equal(kv_pages_read(fix->env, &before), 0);
	assert_int_equal(kv_fold(fix->env), 0);
	assert_int_equal(kv_pages_read(fix->env, &after), 0);
	return after.used + after.replaced - before.used;
}

/* A value that is larger than before may find its leaf full: two pages for one change. */
static void test_room_is_kept_for_values_that_grow(void **state)
{
	enum { N = 300 };
	struct kvfix fix = {0};
	uint64_t bound;
	uint64_t taken;

	(void)state;
	kvfix_open(&fix, 16 * MIB);
	bound = reckon_change_in_full_leaves(&fix, N, 1340 + 20);
	taken = fold_and_count(&fix);
	assert_true(taken >= 2 * N);
	assert_true(taken <= bound);
	kvfix_close(&fix);
}

/* One that is not has the room of what it replaces: else folds would come twice as often as they need. */
static void test_no_room_is_kept_for_values_that_do_not_grow(void **state)
{
	enum { N = 300, LITTLE = 30 };
	struct kvfix fix = {0};

	(void)state;
	for (size_t less = 0; less < 2; less++) {
		uint64_t bound;

		kvfix_open(&fix, 16 * MIB);
		bound = reckon_change_in_full_leaves(&fix, N, 1340 - less);
		assert_true(bound <= N + LITTLE);
		assert_true(fold_and_count(&fix) <= bound);
		kvfix_close(&fix);
	}
}

/* One value of 2000 bytes after the other is written again, in transactions of their own, until folds are due. */
static uint64_t rewrite_until_due(struct kvfix *fix, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n && !kv_must_fold(fix->env); i++) {
		struct kv_txn *txn = kvfix_stage(fix);

		kvfix_put(txn, KV_NODE, 2 * i, 2000); /* of a leaf each */
		assert_int_equal(kv_stage_commit(txn), 0);
	}
	return i;
}

/* Folds become smaller, and more; what may be in use is the same. */
static void test_memory_of_folds_is_limited(void **state)
{
	enum { N = 2500, LIMIT = 1000 };
	struct kvfix fix = {0};
	uint64_t used;
	uint64_t whole;
	uint64_t limited;

	(void)state;
	kvfix_open(&fix, 64 * MIB);
	for (uint64_t i = 0; i < 2 * N; i += 2 * 180) {
		struct kv_txn *txn = kvfix_stage(&fix);

		for (uint64_t k = i; k < 2 * N && k < i + 2 * 180; k++)
			kvfix_put(txn, KV_NODE, k, 2000);
		assert_int_equal(kv_stage_commit(txn), 0);
		kvfix_cut_and_fold(&fix);
	}
	assert_int_equal(rewrite_until_due(&fix, N), N);
	kvfix_cut_and_fold(&fix);
	kv_usage(fix.env, &used, &whole);
	kv_limit_folds(fix.env, LIMIT * 4096);
	kv_usage(fix.env, &used, &limited);
	assert_int_equal(limited, whole);
	for (int i = 0; i < 3; i++) {
		uint64_t n = rewrite_until_due(&fix, N);

		assert_true(n > LIMIT * 9 / 10 && n <= LIMIT);
		assert_int_equal(kv_cut(fix.env), 0);
		assert_false(kv_must_fold(fix.env));
		assert_true(fold_and_count(&fix) <= LIMIT);
	}
	kvfix_close(&fix);
}

/* What is in one table: the length of the value of each key, or 0. */
#define NKEYS	20000
#define LEN_MAX 2000
struct filled {
	enum kv_table table;
	bool even; /* all values of one length, as of what is free */
	size_t len[NKEYS];
};

/* Of every four values that there are so many grow, or go. */
struct change {
	uint64_t grow;
	uint64_t go;
};

static size_t new_length(const struct filled *f, struct rnd *rnd)
{
	if (f->even)
		return 12;
	return rnd_one_in(rnd, 3) ? 1560 : rnd_log(rnd, LEN_MAX);
}

static size_t larger_length(const struct filled *f, struct rnd *rnd, size_t len)
{
	size_t more = 1 + rnd_below(rnd, 12);

	return f->even || len + more > LEN_MAX ? len : len + more;
}

static void change_one(struct kv_txn *txn, struct filled *f, struct rnd *rnd,
		       const struct change *change, uint64_t key)
{
	size_t *len = &f->len[key];

	if (*len > 0 && rnd_below(rnd, 4) < change->go) {
		kvfix_del(txn, f->table, key);
		*len = 0;
		return;
	}
	if (*len == 0)
		*len = new_length(f, rnd);
	else if (rnd_below(rnd, 4) < change->grow)
		*len = larger_length(f, rnd, *len);
	kvfix_put(txn, f->table, key, *len);
}

/* Keys far from each other, or one behind the other. */
static void change_some(struct kv_txn *txn, struct filled *f, struct rnd *rnd)
{
	struct change change = {.grow = rnd_below(rnd, 5), .go = rnd_below(rnd, 5)};
	uint64_t step = rnd_one_in(rnd, 2) ? 1 : NKEYS / 7 + rnd_below(rnd, NKEYS / 7);
	uint64_t key = rnd_below(rnd, NKEYS);

	for (uint64_t n = rnd_log(rnd, NKEYS); n > 0; n--) {
		change_one(txn, f, rnd, &change, key);
		key = (key + step) % NKEYS;
	}
}

static void fold_within_bound(struct kvfix *fix)
{
	struct kv_pages before;
	uint64_t bound;

	assert_int_equal(kv_pages_read(fix->env, &before), 0);
	bound = kv_fold_pages(fix->env, &before, fix->env->frozen);
	assert_true(fold_and_count(fix) <= bound);
}

/* Whatever changes: much and little, large and small, in place or not, before a fold or behind a cut. */
static void test_no_fold_takes_more_than_was_reckoned(void **state)
{
	static struct filled nodes = {.table = KV_NODE};
	static struct filled ranges = {.table = KV_FREE, .even = true};
	struct rnd rnd = rnd_stream(1);
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, 256 * MIB);
	for (uint64_t n = rnd_count("TEST_FOLDS", 200); n > 0; n--) {
		for (uint64_t txns = 1 + rnd_below(&rnd, 2); txns > 0; txns--) {
			struct kv_txn *txn = kvfix_stage(&fix);

			change_some(txn, &nodes, &rnd);
			change_some(txn, &ranges, &rnd);
			assert_int_equal(kv_stage_commit(txn), 0);
		}
		if (fix.env->frozen)
			fold_within_bound(&fix);
		assert_int_equal(kv_cut(fix.env), 0);
	}
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
	    cmocka_unit_test(test_room_is_kept_for_values_that_grow),
	    cmocka_unit_test(test_no_room_is_kept_for_values_that_do_not_grow),
	    cmocka_unit_test(test_memory_of_folds_is_limited),
	    cmocka_unit_test(test_no_fold_takes_more_than_was_reckoned),
	    cmocka_unit_test(test_usage_takes_nothing_off_for_deletes),
	    cmocka_unit_test(test_a_fold_waits_for_who_keeps_its_pages),
	};

	must_end_within(300);
	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
