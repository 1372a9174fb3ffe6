/* SPDX-License-Identifier: BSD-2-Clause */
/* Which blocks are shared, against counting who maps what. */
#include "tests/unit/map_fixture.h"

#define DEV_NBLKS 20000
#define OBJ_NBLKS 18000
#define NOBJS	  7

static bool shared_at(struct fix *fix, uint64_t oid, uint64_t blk, uint64_t nblks,
		      struct map_lookup *l)
{
	struct map_view *view = fix_view(fix);
	bool shared = true;

	assert_int_equal(map_begin_shared(view, oid, lblk(blk), nblks, l, &shared), 0);
	map_view_end(view);
	return shared;
}

/* Of all the range this holds. */
static void expect(struct fix *fix, uint64_t oid, uint64_t blk, uint64_t nblks, bool shared)
{
	struct map_lookup l;

	for (; nblks > 0; blk += l.nblks, nblks -= l.nblks) {
		assert_int_equal(shared_at(fix, oid, blk, nblks, &l), shared);
		assert_int_equal(l.src.kind, MAP_MAPPED);
		assert_int_equal(l.dst.blk.n, l.src.blk.n);
		assert_int_equal(l.blk.n, blk);
	}
}

static void expect_hole(struct fix *fix, uint64_t oid, uint64_t blk, uint64_t nblks)
{
	struct map_lookup l;

	for (; nblks > 0; blk += l.nblks, nblks -= l.nblks) {
		assert_false(shared_at(fix, oid, blk, nblks, &l));
		assert_int_equal(l.src.kind, MAP_HOLE);
	}
}

/* ---- one after the other --------------------------------------------------------------------- */

static void test_a_clone_shares_until_one_is_written(void **state)
{
	struct map_txn *txn;
	struct map_lookup l;
	uint64_t a;
	uint64_t b;
	struct fix fix;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", OBJ_NBLKS);
	fix_remap(txn, a, 0, 100, 300);
	fix_commit(txn);
	expect(&fix, a, 0, 300, false);
	expect_hole(&fix, a, 300, 1000);
	txn = fix_begin(&fix);
	b = fix_clone(txn, a, "b");
	fix_commit(txn);
	expect(&fix, a, 0, 300, true);
	expect(&fix, b, 0, 300, true);
	expect_hole(&fix, b, 300, 1000); /* of what nobody maps, nobody maps a part */
	/* one block: its leaf is copied, whose other blocks are shared by two leaves now */
	txn = fix_begin(&fix);
	fix_remap(txn, b, 10, 1000, 1);
	fix_commit(txn);
	expect(&fix, b, 0, 10, true);
	expect(&fix, b, 10, 1, false);
	expect(&fix, b, 11, 289, true);
	expect(&fix, a, 0, 10, true);
	expect(&fix, a, 10, 1, false);
	expect(&fix, a, 11, 289, true);
	/* it is a part of one run in the leaf, and of another answer */
	assert_true(shared_at(&fix, a, 5, 100, &l));
	assert_int_equal(l.nblks, 5);
	fix_fold(&fix);
	expect(&fix, a, 11, 289, true);
	fix_close(&fix);
}

/* What was removed counts until it is taken apart; a version counts like any other. */
static void test_what_goes_does_not_share_any_more(void **state)
{
	struct map_txn *txn;
	uint64_t a;
	uint64_t b;
	uint64_t v;
	struct fix fix;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", OBJ_NBLKS);
	fix_remap(txn, a, 0, 100, 300);
	v = fix_version(txn, a, "v");
	b = fix_clone(txn, a, "b");
	fix_remap(txn, b, 0, 1000, 1);
	fix_commit(txn);
	expect(&fix, a, 0, 300, true);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, v), 0);
	assert_int_equal(map_txn_remove(txn, b), 0);
	fix_commit(txn);
	expect(&fix, a, 1, 299, true);
	fix_reap_all(&fix, 10);
	expect(&fix, a, 0, 300, false);
	fix_check(&fix);
	fix_close(&fix);
}

/* Of whole nodes, and of single blocks; within one object, too. */
static void test_range_clones_share(void **state)
{
	struct map_txn *txn;
	uint64_t a;
	uint64_t b;
	struct fix fix;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", OBJ_NBLKS);
	b = fix_create(txn, "b", OBJ_NBLKS);
	fix_remap(txn, a, 0, 100, 600);
	assert_int_equal(map_txn_share(txn, b, lblk(MAP_FANOUT), a, lblk(0), 2 * MAP_FANOUT), 0);
	fix_commit(txn);
	expect(&fix, a, 0, 2 * MAP_FANOUT, true);
	expect(&fix, b, MAP_FANOUT, 2 * MAP_FANOUT, true);
	expect(&fix, a, 2 * MAP_FANOUT, 600 - 2 * MAP_FANOUT, false);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_share(txn, a, lblk(1003), a, lblk(500), 10), 0);
	fix_commit(txn);
	expect(&fix, a, 490, 10, false);
	expect(&fix, a, 500, 10, true);
	expect(&fix, a, 1003, 10, true);
	expect(&fix, a, 510, 90, false);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_what_is_not_there(void **state)
{
	struct map_view *view;
	struct map_lookup l;
	struct fix fix;
	bool shared;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	view = fix_view(&fix);
	assert_int_equal(map_begin_shared(view, 7, lblk(0), 1, &l, &shared), -ERR_NOENT);
	map_view_end(view);
	fix_close(&fix);
}

/* ---- at random ------------------------------------------------------------------------------- */

/* A range of the i-th object becomes one of another, at the same place or elsewhere. */
static void share_from_another(uint64_t *rng, struct map_txn *txn, const uint64_t *oids,
			       unsigned int i, uint64_t blk, uint64_t n)
{
	uint64_t src_blk = fix_rand(rng, 2) ? blk : fix_rand(rng, OBJ_NBLKS - n);

	assert_int_equal(
	    map_txn_share(txn, oids[i], lblk(blk), oids[fix_rand(rng, i)], lblk(src_blk), n), 0);
}

static void random_changes(struct fix *fix, uint64_t *rng, uint64_t oids[NOBJS], uint64_t *dst)
{
	struct map_txn *txn = fix_begin(fix);
	char name[32];

	for (unsigned int i = 0; i < NOBJS; i++) {
		(void)snprintf(name, sizeof(name), "object-%u", i);
		oids[i] = i > 0 && fix_rand(rng, 6) ? fix_clone(txn, oids[fix_rand(rng, i)], name)
						    : fix_create(txn, name, OBJ_NBLKS);
		for (uint64_t j = fix_rand(rng, 25); j > 0; j--) {
			uint64_t n = 1 + fix_rand(rng, fix_rand(rng, 3) ? 5 : 400);
			uint64_t of = oids[fix_rand(rng, i + 1)];
			uint64_t blk = fix_rand(rng, OBJ_NBLKS - n);

			if (fix_rand(rng, 5) == 0) {
				assert_int_equal(map_txn_unmap(txn, of, lblk(blk), n), 0);
			} else if (i > 0 && fix_rand(rng, 5) == 0) {
				share_from_another(rng, txn, oids, i, blk, n);
			} else if (*dst + n <= DEV_NBLKS) {
				fix_remap(txn, of, blk, *dst, n);
				*dst += n;
			}
		}
	}
	fix_commit(txn);
}

/* Where each block is, and how often each block of the device is mapped, by looking at each alone. */
static void count_all(struct fix *fix, const uint64_t oids[NOBJS], uint64_t *at,
		      unsigned int *counts)
{
	struct map_view *view = fix_view(fix);

	memset(counts, 0, DEV_NBLKS * sizeof(*counts));
	for (size_t i = 0; i < NOBJS; i++) {
		for (uint64_t blk = 0; blk < OBJ_NBLKS && oids[i]; blk++) {
			struct map_lookup l;

			assert_int_equal(
			    map_begin(view, oids[i], lblk(blk), 1, MAP_FOR_READ, &l, NULL), 0);
			at[i * OBJ_NBLKS + blk] = l.src.kind == MAP_HOLE ? 0 : l.src.blk.n;
			counts[l.src.blk.n] += l.src.kind != MAP_HOLE;
		}
	}
	map_view_end(view);
}

static void compare(struct fix *fix, uint64_t oid, const uint64_t *at, const unsigned int *counts,
		    uint64_t from)
{
	struct map_view *view = fix_view(fix);

	while (from < OBJ_NBLKS) {
		struct map_lookup l;
		bool shared;

		assert_int_equal(
		    map_begin_shared(view, oid, lblk(from), OBJ_NBLKS - from, &l, &shared), 0);
		assert_true(l.nblks > 0 && l.nblks <= OBJ_NBLKS - from);
		for (uint64_t i = 0; i < l.nblks; i++) {
			uint64_t want = l.src.kind == MAP_HOLE ? 0 : l.src.blk.n + i;

			assert_int_equal(at[from + i], want);
			assert_int_equal(want && counts[want] > 1, shared);
		}
		from += l.nblks;
	}
	map_view_end(view);
}

static void test_random_families(void **state)
{
	unsigned int *counts = calloc(DEV_NBLKS, sizeof(*counts));
	uint64_t *at = calloc((size_t)NOBJS * OBJ_NBLKS, sizeof(*at));

	(void)state;
	assert_non_null(counts);
	assert_non_null(at);
	for (uint64_t seed = 1; seed <= 10; seed++) {
		uint64_t oids[NOBJS];
		uint64_t rng = seed;
		uint64_t dst = 1;
		struct map_txn *txn;
		struct fix fix;
		size_t gone;

		fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
		random_changes(&fix, &rng, oids, &dst);
		gone = fix_rand(&rng, NOBJS);
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_remove(txn, oids[gone]), 0);
		fix_commit(txn);
		oids[gone] = 0;
		fix_reap_all(&fix, 100);
		if (seed % 2)
			fix_reopen(&fix);
		count_all(&fix, oids, at, counts);
		for (size_t i = 0; i < NOBJS; i++) {
			if (!oids[i])
				continue;
			compare(&fix, oids[i], at + i * OBJ_NBLKS, counts, 0);
			compare(&fix, oids[i], at + i * OBJ_NBLKS, counts,
				fix_rand(&rng, OBJ_NBLKS));
		}
		fix_close(&fix);
	}
	free(counts);
	free(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_clone_shares_until_one_is_written),
	    cmocka_unit_test(test_what_goes_does_not_share_any_more),
	    cmocka_unit_test(test_range_clones_share),
	    cmocka_unit_test(test_what_is_not_there),
	    cmocka_unit_test(test_random_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
