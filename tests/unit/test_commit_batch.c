/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_commit_batch.c: records that wait for the map thread: which of them share a transaction of the
 * map, and what becomes of them.
 */
#include "server/commit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

#define AT(n)	 pblk(COMMITS_DATA + (n))
#define RECORDS	 10u
#define MANY_BLK 1000u /* of another leaf than the first blocks are of */

/* ---- the map thread, held before a transaction ------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut;
	bool waiting;
	unsigned int nbegun;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int __real_map_txn_begin(struct map *map, struct map_txn **txn);
int __wrap_map_txn_begin(struct map *map, struct map_txn **txn);

int __wrap_map_txn_begin(struct map *map, struct map_txn **txn)
{
	pthread_mutex_lock(&gate.lock);
	gate.nbegun++;
	gate.waiting = gate.shut;
	pthread_cond_broadcast(&gate.changed);
	while (gate.shut)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.waiting = false;
	pthread_mutex_unlock(&gate.lock);
	return __real_map_txn_begin(map, txn);
}

static void gate_set(bool shut)
{
	pthread_mutex_lock(&gate.lock);
	gate.shut = shut;
	gate.nbegun = 0;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static unsigned int gate_begun(void)
{
	unsigned int n;

	pthread_mutex_lock(&gate.lock);
	n = gate.nbegun;
	pthread_mutex_unlock(&gate.lock);
	return n;
}

/* Submits it, and comes back when it is durable. */
static void commit_durably(struct commits_req *r)
{
	commits_submit(r);
	test_store_run_count(r->fx->ts, &r->durable, 1);
}

/* What is durable is with the map thread, too: it gets it behind that, but before anything else is done. */
static void hand_over(struct commits *fx)
{
	struct commits_req r;

	commits_req_init(fx, &r, CHANGE_EPOCH);
	r.req.kind = COMMIT_SYNC;
	commits_run(&r);
}

/* The map thread stands before a transaction for this epoch; the gate is shut. */
static void hold_with(struct commits *fx, struct commits_req *r, uint64_t oid)
{
	commits_run_until_idle(fx);
	gate_set(true);
	commits_epoch_init(fx, r, oid, lblk(0), AT(0));
	commit_durably(r);
	pthread_mutex_lock(&gate.lock);
	while (!gate.waiting)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_small_epochs_share_a_transaction(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	static struct commits_req r[RECORDS];
	struct commits_req head;

	hold_with(fx, &head, oid);
	for (unsigned int i = 0; i < RECORDS; i++) {
		commits_epoch_init(fx, &r[i], oid, lblk(1 + i / 2), AT(1 + i));
		commit_durably(&r[i]);
	}
	hand_over(fx);
	gate_set(false);
	for (unsigned int i = 0; i < RECORDS; i++) {
		test_store_run_count(fx->ts, &r[i].turn, 1);
		assert_int_equal(r[i].req.err, 0);
		assert_true(r[i].turn > (i > 0 ? r[i - 1].turn : head.turn));
	}
	assert_int_equal(gate_begun(), 1);
	for (unsigned int i = 0; i < RECORDS; i++)
		assert_int_equal(test_store_where(fx->ts, oid, lblk(1 + i / 2), NULL).n,
				 AT(1 + (i | 1)).n);
	/* those that the later ones have replaced are free, and no others */
	commits_run_until_idle(fx);
	assert_int_equal(fx->nfreed, RECORDS / 2);
	for (unsigned int i = 0; i < RECORDS; i++)
		assert_int_equal(fx->freed[AT(1 + i).n], i % 2 == 0);
}

static void test_names_have_a_transaction_of_their_own(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req clone;
	struct commits_req before;
	struct commits_req behind;

	hold_with(fx, &head, oid);
	commits_epoch_init(fx, &before, oid, lblk(0), AT(1));
	commit_durably(&before);
	commits_named_init(fx, &clone, CHANGE_CLONE, "clone");
	clone.req.change.other = oid;
	commit_durably(&clone);
	commits_epoch_init(fx, &behind, oid, lblk(0), AT(2));
	commit_durably(&behind);
	hand_over(fx);
	gate_set(false);
	test_store_run_count(fx->ts, &behind.turn, 1);
	assert_int_equal(gate_begun(), 3);
	assert_true(head.turn < before.turn && before.turn < clone.turn &&
		    clone.turn < behind.turn);
	assert_int_equal(test_store_where(fx->ts, clone.req.obj.id, lblk(0), NULL).n, AT(1).n);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(0), NULL).n, AT(2).n);
}

static void test_a_mark_comes_behind_what_rests(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req r;
	struct commits_req mark;

	commits_epoch_init(fx, &r, oid, lblk(MANY_BLK), AT(1));
	commit_durably(&r);
	commits_req_init(fx, &mark, CHANGE_EPOCH);
	mark.req.kind = COMMIT_MARK;
	commits_run(&mark);
	assert_int_equal(mark.req.err, 0);
	assert_true(r.turn > 0 && r.turn < mark.turn);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(MANY_BLK), NULL).n, AT(1).n);
}

static void test_a_cut_comes_between_records(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct recover_result result;
	struct commits_req r[2];

	for (unsigned int i = 0; i < 2; i++) {
		commits_epoch_init(fx, &r[i], oid, lblk(i), AT(i));
		commit_durably(&r[i]);
	}
	commits_fold(fx); /* whatever of them is in the map by now */
	commits_crash(fx, &result);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(test_store_where(fx->ts, oid, lblk(i), NULL).n, AT(i).n);
}

static void test_what_cannot_be_applied_fails_all(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "object");
	struct commits_req head;
	struct commits_req r[3];

	hold_with(fx, &head, oid);
	for (unsigned int i = 0; i < 3; i++) {
		commits_epoch_init(fx, &r[i], i == 1 ? oid + 1 : oid, lblk(i), AT(1 + i));
		commit_durably(&r[i]);
	}
	hand_over(fx);
	gate_set(false);
	test_store_run_count(fx->ts, &r[2].turn, 1);
	assert_int_equal(head.req.err, 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(r[i].req.err, -ERR_LATCHED);
	test_store_run_count(fx->ts, &fx->nlatched, 1);
	assert_int_equal(test_store_where(fx->ts, oid, lblk(1), NULL).n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_small_epochs_share_a_transaction, commits_setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(test_names_have_a_transaction_of_their_own,
					    commits_setup, commits_teardown),
	    cmocka_unit_test_setup_teardown(test_a_mark_comes_behind_what_rests, commits_setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(test_a_cut_comes_between_records, commits_setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(test_what_cannot_be_applied_fails_all, commits_setup,
					    commits_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
