/* SPDX-License-Identifier: BSD-2-Clause */
/* The allocator against a bitmap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/alloc.h"

static uint64_t test_rand(uint64_t *state, uint64_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % below;
}

static void take(struct alloc *al, uint64_t want, uint64_t blk, uint64_t nblks)
{
	pblk_t at;
	uint64_t got;

	alloc_take(al, want, &at, &got);
	assert_int_equal(at.n, blk);
	assert_int_equal(got, nblks);
}

static void test_reservation_bounds_what_is_promised(void **state)
{
	struct alloc *al = alloc_new();

	(void)state;
	assert_non_null(al);
	assert_int_equal(alloc_reserve(al, 1), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, 0), 0);
	assert_int_equal(alloc_add(al, pblk(1), 10), 0);
	assert_int_equal(alloc_reserve(al, 7), 0);
	assert_int_equal(alloc_reserve(al, 4), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, UINT64_MAX), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, 3), 0);
	assert_int_equal(alloc_reserve(al, 1), -ERR_NOSPC);
	alloc_unreserve(al, 4);
	take(al, 5, 1, 5);
	assert_int_equal(alloc_free_nblks(al), 5);
	assert_int_equal(alloc_reserved_nblks(al), 1);
	assert_int_equal(alloc_reserve(al, 5), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, 4), 0);
	alloc_free(al);
}

static void test_takes_the_whole_where_it_fits(void **state)
{
	struct alloc *al = alloc_new();

	(void)state;
	assert_int_equal(alloc_add(al, pblk(10), 4), 0);
	assert_int_equal(alloc_add(al, pblk(20), 8), 0);
	assert_int_equal(alloc_add(al, pblk(40), 6), 0);
	assert_int_equal(alloc_reserve(al, 18), 0);
	take(al, 5, 20, 5);
	take(al, 5, 40, 5); /* onwards from 25, where 3 are left */
	take(al, 4, 10, 4); /* around the end */
	take(al, 4, 25, 3); /* nothing is large enough: the largest */
	take(al, 1, 45, 1);
	assert_int_equal(alloc_free_nblks(al), 0);
	assert_int_equal(alloc_reserved_nblks(al), 0);
	alloc_free(al);
}

static void test_freed_neighbours_become_one(void **state)
{
	struct alloc *al = alloc_new();

	(void)state;
	assert_int_equal(alloc_add(al, pblk(10), 5), 0);
	assert_int_equal(alloc_add(al, pblk(20), 5), 0);
	assert_int_equal(alloc_add(al, pblk(15), 5), 0); /* both sides */
	assert_int_equal(alloc_add(al, pblk(25), 1), 0); /* before */
	assert_int_equal(alloc_add(al, pblk(8), 2), 0);	 /* after */
	assert_int_equal(alloc_reserve(al, 18), 0);
	take(al, 18, 8, 18);
	alloc_free(al);
}

static void test_a_range_is_taken_out_whole_or_not(void **state)
{
	struct alloc *al = alloc_new();

	(void)state;
	assert_int_equal(alloc_take_range(al, pblk(1), 1), -ERR_BUSY);
	assert_int_equal(alloc_add(al, pblk(10), 20), 0);
	assert_int_equal(alloc_take_range(al, pblk(9), 2), -ERR_BUSY);
	assert_int_equal(alloc_take_range(al, pblk(29), 2), -ERR_BUSY);
	assert_int_equal(alloc_take_range(al, pblk(30), 1), -ERR_BUSY);
	assert_int_equal(alloc_reserve(al, 16), 0);
	assert_int_equal(alloc_take_range(al, pblk(14), 5), -ERR_NOSPC);
	assert_int_equal(alloc_take_range(al, pblk(14), 4), 0);
	assert_int_equal(alloc_free_nblks(al), 16);
	assert_int_equal(alloc_take_range(al, pblk(14), 4), -ERR_BUSY);
	take(al, 12, 18, 12);
	take(al, 4, 10, 4);
	assert_int_equal(alloc_free_nblks(al), 0);
	alloc_free(al);
}

/* ---- random ---------------------------------------------------------------------------------- */

#define MODEL_NBLKS 600

struct model {
	bool free[MODEL_NBLKS];
	uint64_t next;
	uint64_t nfree;
	uint64_t reserved;
};

static uint64_t model_run(const struct model *m, uint64_t blk)
{
	uint64_t n = 0;

	while (blk + n < MODEL_NBLKS && m->free[blk + n])
		n++;
	return n;
}

/* The first extent at or behind "from" of at least n blocks; MODEL_NBLKS: none. */
static uint64_t model_find(const struct model *m, uint64_t from, uint64_t n)
{
	for (uint64_t b = 0; b < MODEL_NBLKS; b++)
		if (b >= from && m->free[b] && (b == 0 || !m->free[b - 1]) && model_run(m, b) >= n)
			return b;
	return MODEL_NBLKS;
}

static void model_take(struct model *m, struct alloc *al, uint64_t want)
{
	uint64_t longest = 0;
	uint64_t at;

	for (uint64_t b = 0; b < MODEL_NBLKS; b++)
		if (model_run(m, b) > longest)
			longest = model_run(m, b);
	if (want > longest)
		want = longest;
	at = model_find(m, m->next, want);
	if (at == MODEL_NBLKS)
		at = model_find(m, 0, want);
	for (uint64_t i = 0; i < want; i++)
		m->free[at + i] = false;
	m->next = at + want;
	m->nfree -= want;
	m->reserved -= want;
	take(al, want, at, want);
}

static void model_add(struct model *m, struct alloc *al, uint64_t blk, uint64_t n)
{
	uint64_t run = 0;

	while (run < n && blk + run < MODEL_NBLKS && !m->free[blk + run])
		run++;
	if (run == 0)
		return;
	assert_int_equal(alloc_add(al, pblk(blk), run), 0);
	for (uint64_t i = 0; i < run; i++)
		m->free[blk + i] = true;
	m->nfree += run;
}

static void model_take_range(struct model *m, struct alloc *al, uint64_t blk, uint64_t n)
{
	int want = n > m->nfree - m->reserved ? -ERR_NOSPC : 0;

	if (model_run(m, blk) < n)
		want = -ERR_BUSY;
	assert_int_equal(alloc_take_range(al, pblk(blk), n), want);
	for (uint64_t i = 0; i < n && want == 0; i++)
		m->free[blk + i] = false;
	m->nfree -= want == 0 ? n : 0;
}

static void model_check_find(const struct model *m, const struct alloc *al, uint64_t from)
{
	uint64_t next = model_find(m, m->next, 1);
	uint64_t n;
	pblk_t blk;

	if (next == MODEL_NBLKS)
		next = model_find(m, 0, 1);
	assert_int_equal(alloc_next(al).n, next == MODEL_NBLKS ? 0 : next);
	while (from < MODEL_NBLKS && !m->free[from])
		from++;
	n = model_run(m, from);
	assert_int_equal(alloc_find(al, pblk(from), &blk), n);
	if (n > 0)
		assert_int_equal(blk.n, from);
}

static void test_random_against_bitmap(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct alloc *al = alloc_new();
		struct model m = {0};
		uint64_t rng = seed;

		for (int i = 0; i < 3000; i++) {
			uint64_t n = 1 + test_rand(&rng, seed % 2 ? 4 : 40);
			uint64_t op = test_rand(&rng, 6);
			bool fits = n <= m.nfree - m.reserved;

			if (op < 2)
				model_add(&m, al, test_rand(&rng, MODEL_NBLKS), n);
			else if (op == 2) {
				assert_int_equal(alloc_reserve(al, n), fits ? 0 : -ERR_NOSPC);
				m.reserved += fits ? n : 0;
			} else if (op == 3 && m.reserved >= n)
				model_take(&m, al, n);
			else if (op == 4 && m.reserved > 0 && n % 4 == 0) {
				alloc_unreserve(al, 1);
				m.reserved--;
			} else if (op == 5)
				model_take_range(&m, al, test_rand(&rng, MODEL_NBLKS), n);
			model_check_find(&m, al, test_rand(&rng, MODEL_NBLKS));
			assert_int_equal(alloc_free_nblks(al), m.nfree);
			assert_int_equal(alloc_reserved_nblks(al), m.reserved);
		}
		alloc_free(al);
	}
}

static void test_what_is_withheld_is_not_for_everybody(void **state)
{
	struct alloc *al = alloc_new();

	(void)state;
	assert_non_null(al);
	assert_int_equal(alloc_add(al, pblk(1), 100), 0);
	alloc_withhold(al, 0, 30);
	alloc_withhold(al, 0, 20);
	alloc_keep_back(al, 10);
	assert_true(alloc_keeps(al, 0));
	assert_int_equal(alloc_reserve(al, 41), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, 40), 0);
	assert_int_equal(alloc_reserve(al, 1), -ERR_NOSPC);
	assert_int_equal(alloc_reserve(al, 0), 0);

	/* who has 30 of the 50 takes these, and what is kept back where it returns */
	assert_int_equal(alloc_reserve_beyond(al, 31, 30, false), -ERR_NOSPC);
	assert_int_equal(alloc_reserve_beyond(al, 41, 30, true), -ERR_NOSPC);
	assert_int_equal(alloc_reserve_beyond(al, 40, 30, true), 0);
	alloc_withhold(al, 30, 0);
	assert_int_equal(alloc_withheld_nblks(al), 20);
	assert_int_equal(alloc_kept_nblks(al), 10);
	assert_false(alloc_keeps(al, 9)); /* of the 30, 20 are there */
	assert_true(alloc_keeps(al, 10));
	assert_int_equal(alloc_reserve_due(al, 21), -ERR_NOSPC);
	assert_int_equal(alloc_reserve_due(al, 20), 0);
	assert_int_equal(alloc_reserved_nblks(al), 100);

	/* more is withheld than there is: nobody else gets anything */
	alloc_unreserve(al, 15);
	assert_int_equal(alloc_reserve(al, 1), -ERR_NOSPC);
	assert_int_equal(alloc_reserve_beyond(al, 16, 15, true), -ERR_NOSPC);
	assert_int_equal(alloc_reserve_due(al, 15), 0);
	alloc_unreserve(al, 100);
	alloc_withhold(al, 20, 0);
	alloc_keep_back(al, 0);
	assert_int_equal(alloc_reserve(al, 100), 0);
	alloc_unreserve(al, 100);
	alloc_free(al);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reservation_bounds_what_is_promised),
	    cmocka_unit_test(test_takes_the_whole_where_it_fits),
	    cmocka_unit_test(test_freed_neighbours_become_one),
	    cmocka_unit_test(test_a_range_is_taken_out_whole_or_not),
	    cmocka_unit_test(test_what_is_withheld_is_not_for_everybody),
	    cmocka_unit_test(test_random_against_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
