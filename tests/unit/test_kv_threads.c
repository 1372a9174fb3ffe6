/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_kv_threads.c: readers and snapshots beside commits and folds.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "common/annot.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
#include "tests/unit/kv_fixture.h"

#define MIB (UINT64_C(1) << 20)

/*
 * Of NKEYS keys NTOKENS are there: a transaction moves some of them, and raises the number that all
 * of their values have.  So whoever looks counts NTOKENS of one value.
 */
enum { NKEYS = 400, NTOKENS = 60, READERS = 8, SNAPSHOTS = 1 };

/* Transactions.  A sanitizer looks for what needs fewer. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define TURNS 400u
#else
#define TURNS 1500u
#endif

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

	while (!atomic_load(&ring->stop)) {
		MUST(kv_read_begin(ring->fix.env, &txn) == 0, "begin");
		ring_look(txn);
		kv_read_pause(txn);
		MUST(kv_read_resume(txn) == 0, "resume");
		ring_look(txn);
		kv_read_end(txn);
		atomic_fetch_add(&ring->looks, 1);
	}
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
	for (uint64_t i = 2; i < TURNS || atomic_load(&ring->looks) < 400; i++) {
		memcpy(before, tokens, sizeof(before));
		if (!ring_turn(ring, tokens, &rnd, i))
			memcpy(tokens, before, sizeof(before));
		if (rnd_one_in(&rnd, 2))
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readers_beside_commits_and_folds),
	};

	must_end_within(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
