/* SPDX-License-Identifier: BSD-2-Clause */
/* What objects use alone, against what their removal frees. */
#include "tests/unit/map_fixture.h"

#define DEV_NBLKS 20000
#define NOBJS	  8

static bool go_on(void *ctx)
{
	(void)ctx;
	return false;
}

/* Stops at the node that makes the count 0. */
static bool stop_at(void *ctx)
{
	return --*(int *)ctx == 0;
}

static struct map_usage usage_of(struct fix *fix, const uint64_t *oids, size_t n)
{
	struct map_usage usage = {0};
	struct map_view *view = fix_view(fix);

	assert_int_equal(map_usage(view, oids, n, go_on, NULL, &usage), 0);
	map_view_end(view);
	return usage;
}

/* The blocks that become free when they are removed; nothing has changed afterwards. */
static uint64_t freed_by_removal(struct fix *fix, const uint64_t *oids, size_t n)
{
	struct map_txn *txn = fix_begin(fix);
	uint64_t nblks = 0;
	bool more = true;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(map_txn_remove(txn, oids[i]), 0);
	while (more)
		assert_int_equal(map_txn_reap(txn, 1000, &more), 0);
	for (size_t i = 0; i < txn->freed.n; i++)
		nblks += txn->freed.ranges[i].nblks;
	map_txn_abort(txn);
	return nblks;
}

static void test_alone_and_shared(void **state)
{
	struct map_usage usage;
	struct map_txn *txn;
	struct fix fix;
	uint64_t oids[4];

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oids[0] = fix_create(txn, "a", 5000);
	fix_remap(txn, oids[0], 0, 100, 5000);
	oids[1] = fix_clone(txn, oids[0], "b");
	fix_remap(txn, oids[1], 10, 6000, 1);
	oids[2] = fix_create(txn, "c", 300);
	fix_remap(txn, oids[2], 0, 7000, 300);
	oids[3] = fix_create(txn, "empty", 300);
	fix_commit(txn);
	usage = usage_of(&fix, oids, 1);
	assert_int_equal(usage.mapped_nblks, 5000);
	assert_int_equal(usage.exclusive_nblks, 1); /* what b has written elsewhere */
	usage = usage_of(&fix, oids + 1, 1);
	assert_int_equal(usage.exclusive_nblks, 1);
	usage = usage_of(&fix, oids, 2);
	assert_int_equal(usage.mapped_nblks, 10000);
	assert_int_equal(usage.exclusive_nblks, 5001);
	usage = usage_of(&fix, oids, 4);
	assert_int_equal(usage.mapped_nblks, 10300);
	assert_int_equal(usage.exclusive_nblks, 5301);
	usage = usage_of(&fix, oids + 3, 1);
	assert_int_equal(usage.mapped_nblks, 0);
	assert_int_equal(usage.exclusive_nblks, 0);
	usage = usage_of(&fix, oids, 0);
	assert_int_equal(usage.exclusive_nblks, 0);
	fix_close(&fix);
}

static void test_named_twice_counts_once(void **state)
{
	struct map_usage usage;
	struct map_txn *txn;
	struct fix fix;
	uint64_t oids[3];

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oids[0] = fix_create(txn, "a", 500);
	fix_remap(txn, oids[0], 0, 100, 500);
	fix_clone(txn, oids[0], "b");
	oids[1] = fix_create(txn, "c", 500);
	oids[2] = oids[0];
	fix_commit(txn);
	usage = usage_of(&fix, oids, 3);
	assert_int_equal(usage.mapped_nblks, 500);
	assert_int_equal(usage.exclusive_nblks, 0);
	fix_close(&fix);
}

/* What is still in the reap queue holds what it refers to. */
static void test_queued_trees_are_outside(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t a;
	uint64_t b;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 500);
	fix_remap(txn, a, 0, 100, 500);
	b = fix_clone(txn, a, "b");
	fix_remap(txn, b, 0, 1000, 1);
	assert_int_equal(map_txn_remove(txn, b), 0);
	fix_commit(txn);
	assert_int_equal(usage_of(&fix, &a, 1).exclusive_nblks, 1);
	fix_reap_all(&fix, 100);
	assert_int_equal(usage_of(&fix, &a, 1).exclusive_nblks, 500);
	fix_close(&fix);
}

static void test_stop_and_missing(void **state)
{
	struct map_usage usage;
	struct map_view *view;
	struct map_txn *txn;
	struct fix fix;
	uint64_t oids[2];
	int left = 3;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oids[0] = fix_create(txn, "a", 500);
	oids[1] = 99;
	fix_remap(txn, oids[0], 0, 100, 500);
	fix_commit(txn);
	view = fix_view(&fix);
	assert_int_equal(map_usage(view, oids, 2, go_on, NULL, &usage), -ERR_NOENT);
	assert_int_equal(map_usage(view, oids, 1, stop_at, &left, &usage), -ERR_SHUTDOWN);
	assert_int_equal(left, 0);
	left = 6; /* a root and four leaves are asked about */
	assert_int_equal(map_usage(view, oids, 1, stop_at, &left, &usage), 0);
	assert_int_equal(left, 1);
	map_view_end(view);
	fix_close(&fix);
}

/* Clones of clones, each written to here and there, with new blocks only. */
static void random_family(struct fix *fix, uint64_t *rng, uint64_t oids[NOBJS])
{
	struct map_txn *txn = fix_begin(fix);
	uint64_t dst = 1;
	char name[32];

	for (unsigned int i = 0; i < NOBJS; i++) {
		uint64_t from = i > 0 ? oids[fix_rand(rng, i)] : 0;

		(void)snprintf(name, sizeof(name), "object-%u", i);
		oids[i] = i > 0 && fix_rand(rng, 6) ? fix_clone(txn, from, name)
						    : fix_create(txn, name, 40000);
		for (uint64_t j = fix_rand(rng, 30); j > 0; j--) {
			uint64_t n = 1 + fix_rand(rng, fix_rand(rng, 3) ? 5 : 400);
			uint64_t of = oids[fix_rand(rng, i + 1)];

			if (dst + n > DEV_NBLKS)
				break;
			fix_remap(txn, of, fix_rand(rng, 18000), dst, n);
			dst += n;
		}
	}
	fix_commit(txn);
}

static void test_random_families(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		uint64_t oids[NOBJS];
		uint64_t rng = seed;
		struct fix fix;

		fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
		random_family(&fix, &rng, oids);
		fix_reap_all(&fix, 100);
		fix_check(&fix);
		for (int round = 0; round < 20; round++) {
			size_t first = fix_rand(&rng, NOBJS);
			size_t n = 1 + fix_rand(&rng, NOBJS - first);

			assert_int_equal(usage_of(&fix, oids + first, n).exclusive_nblks,
					 freed_by_removal(&fix, oids + first, n));
		}
		assert_int_equal(usage_of(&fix, oids, NOBJS).exclusive_nblks,
				 fix_check(&fix).mapped_nblks);
		fix_close(&fix);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_alone_and_shared),
	    cmocka_unit_test(test_named_twice_counts_once),
	    cmocka_unit_test(test_queued_trees_are_outside),
	    cmocka_unit_test(test_stop_and_missing),
	    cmocka_unit_test(test_random_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
