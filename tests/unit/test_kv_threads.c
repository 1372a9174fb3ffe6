/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers and snapshots beside commits and folds, and folds that have no room.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "common/annot.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
#include "tests/unit/kv_fixture.h"

#define MIB (UINT64_C(1) << 20)

/* ---- beside each other ----------------------------------------------------------------------- */

/*
 * Of NKEYS keys NTOKENS are there: a transaction moves some of them, and raises the number that all
 * of their values have.  So whoever looks counts NTOKENS of one value.
 */
enum { NKEYS = 400, NTOKENS = 60, READERS = 3, SNAPSHOTS = 1 };

struct ring {
	struct kvfix fix;
	atomic_bool stop;
	atomic_uint looks;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool folding; /* under lock: the folder has something to do */
	bool ending;
};

static void ring_look(struct kv_txn *txn)
{
	uint8_t first[8] = {0};
	struct kvfix_key at = {{0}};
	struct kv_buf found;
	struct kv_buf val;
	enum kv_rel rel = KV_GE;
	unsigned int n = 0;

	while (kv_find(txn, KV_FREE, rel, kvfix_buf(&at), &found, &val) == 0) {
		MUST(val.len == 8, "value");
		if (n++ == 0)
			memcpy(first, val.data, 8);
		MUST(memcmp(first, val.data, 8) == 0, "values of two transactions");
		memcpy(at.bytes, found.data, 8);
		MUST(kv_get(txn, KV_FREE, kvfix_buf(&at), &val) == 0, "get");
		rel = KV_GT;
	}
	MUST(n == NTOKENS, "%u tokens", n);
}

static void *reader_main(void *arg)
{
	struct ring *ring = arg;
	struct kv_txn *txn;

	MUST(kv_read_begin(ring->fix.env, &txn) == 0, "begin");
	while (!atomic_load(&ring->stop)) {
		ring_look(txn);
		kv_read_pause(txn);
		atomic_fetch_add(&ring->looks, 1);
		MUST(kv_read_resume(txn) == 0, "resume");
	}
	kv_read_end(txn);
	return NULL;
}

static void *snapshot_main(void *arg)
{
	struct ring *ring = arg;

	while (!atomic_load(&ring->stop)) {
		struct kv_txn *txn;

		MUST(kv_snapshot_begin(ring->fix.env, &txn) == 0, "begin");
		for (int i = 0; i < 5; i++)
			ring_look(txn);
		kv_read_end(txn);
	}
	return NULL;
}

static void *folder_main(void *arg)
{
	struct ring *ring = arg;

	pthread_mutex_lock(&ring->lock);
	while (!ring->ending || ring->folding) {
		if (!ring->folding) {
			pthread_cond_wait(&ring->changed, &ring->lock);
			continue;
		}
		pthread_mutex_unlock(&ring->lock);
		MUST(kv_fold(ring->fix.env) == 0, "fold");
		pthread_mutex_lock(&ring->lock);
		ring->folding = false;
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

static void ring_put(struct kv_txn *txn, uint64_t n, uint64_t number)
{
	struct kvfix_key key = kvfix_key(n);
	struct kvfix_key val = kvfix_key(number);

	kv_put(txn, KV_FREE, kvfix_buf(&key), kvfix_buf(&val));
}

/* True: it was committed. */
static bool ring_turn(struct ring *ring, bool tokens[NKEYS], struct rnd *rnd, uint64_t number)
{
	struct kv_txn *txn = kvfix_stage(&ring->fix);
	unsigned int moves = (unsigned int)rnd_below(rnd, 10);

	while (moves-- > 0) {
		uint64_t from = rnd_below(rnd, NKEYS);
		uint64_t to = rnd_below(rnd, NKEYS);

		if (!tokens[from] || tokens[to])
			continue;
		kvfix_del(txn, KV_FREE, from);
		ring_put(txn, to, number);
		tokens[from] = false;
		tokens[to] = true;
	}
	for (uint64_t n = 0; n < NKEYS; n++)
		if (tokens[n])
			ring_put(txn, n, number);
	ring_look(txn);
	if (rnd_one_in(rnd, 10)) {
		kv_latch(txn, -ERR_BUSY);
		assert_int_equal(kv_stage_commit(txn), -ERR_BUSY);
		return false;
	}
	assert_int_equal(kv_stage_commit(txn), 0);
	return true;
}

/* Hands what is staged to the folder, unless it is busy. */
static void ring_cut(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	if (!ring->folding) {
		assert_int_equal(kv_cut(ring->fix.env), 0);
		ring->folding = true;
		pthread_cond_signal(&ring->changed);
	}
	pthread_mutex_unlock(&ring->lock);
}

static void ring_write(struct ring *ring)
{
	struct rnd rnd = rnd_stream(2);
	bool tokens[NKEYS] = {false};
	bool before[NKEYS];

	for (uint64_t n = 0; n < NTOKENS; n++)
		tokens[n] = true;
	for (uint64_t i = 2; i < 400 || atomic_load(&ring->looks) < 400; i++) {
		memcpy(before, tokens, sizeof(before));
		if (!ring_turn(ring, tokens, &rnd, i))
			memcpy(tokens, before, sizeof(before));
		if (rnd_one_in(&rnd, 5))
			ring_cut(ring);
	}
}

static void ring_stop(struct ring *ring)
{
	atomic_store(&ring->stop, true);
	pthread_mutex_lock(&ring->lock);
	ring->ending = true;
	pthread_cond_signal(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

static void test_readers_beside_commits_and_folds(void **state)
{
	enum { THREADS = READERS + SNAPSHOTS + 1 };
	struct ring ring = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	pthread_t threads[THREADS];
	struct kv_txn *txn;

	(void)state;
	kvfix_open(&ring.fix, 16 * MIB);
	txn = kvfix_stage(&ring.fix);
	for (uint64_t n = 0; n < NTOKENS; n++)
		ring_put(txn, n, 1);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&ring.fix);
	for (size_t i = 0; i < THREADS; i++) {
		void *(*fn)(void *) = i < READERS		? reader_main
				      : i < READERS + SNAPSHOTS ? snapshot_main
								: folder_main;

		assert_int_equal(pthread_create(&threads[i], NULL, fn, &ring), 0);
	}
	ring_write(&ring);
	ring_stop(&ring);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	kvfix_cut_and_fold(&ring.fix);
	kvfix_reopen(&ring.fix);
	txn = kvfix_read(&ring.fix);
	ring_look(txn);
	kv_read_end(txn);
	kvfix_close(&ring.fix);
}

/* ---- room ------------------------------------------------------------------------------------ */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readers_beside_commits_and_folds),
	    cmocka_unit_test(test_fold_without_room_changes_nothing),
	    cmocka_unit_test(test_snapshot_is_told_that_it_is_in_the_way),
	    cmocka_unit_test(test_replaced_pages_are_room_again),
	    cmocka_unit_test(test_usage_counts_what_is_staged),
	};

	must_end_within(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
