/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_page.c: reference counts of pages, the zero page, and the spans of page vectors.
 */
#include "server/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"

#define MANY 1100u /* more than two slabs of the pool */

static int setup(void **state)
{
	thread_set_role(THREAD_LOOP);
	*state = page_pool_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	page_pool_free(*state);
	return 0;
}

static void test_last_put_gives_the_page_back(void **state)
{
	struct page_pool *pool = *state;
	struct page *page = page_new(pool);

	assert_non_null(page);
	assert_int_equal(page->refs, 1);
	assert_int_equal(page_pool_used(pool), 1);
	assert_ptr_equal(page_get(page), page);
	page_put(page);
	assert_int_equal(page_pool_used(pool), 1);
	page_put(page);
	assert_int_equal(page_pool_used(pool), 0);
	page_put(NULL);
	assert_int_equal(page_pool_used(pool), 0);
}

static void test_page_in_use_is_not_handed_out_again(void **state)
{
	struct page_pool *pool = *state;
	struct page *kept = page_new(pool);
	struct page *gone = page_new(pool);
	struct page *next[2];

	memset(kept->data, 0xa5, BLK_BYTES);
	page_put(gone);
	for (int i = 0; i < 2; i++) {
		next[i] = page_new(pool);
		assert_ptr_not_equal(next[i]->data, kept->data);
		memset(next[i]->data, 0, BLK_BYTES);
	}
	assert_int_equal(kept->data[0], 0xa5);
	assert_int_equal(kept->data[BLK_BYTES - 1], 0xa5);
	page_put(kept);
	page_put(next[0]);
	page_put(next[1]);
}

static int compare_ptrs(const void *a, const void *b)
{
	const uint8_t *pa = *(uint8_t *const *)a;
	const uint8_t *pb = *(uint8_t *const *)b;

	return pa < pb ? -1 : pa > pb;
}

static void test_many_pages_are_aligned_and_apart(void **state)
{
	struct page_pool *pool = *state;
	static struct page *pages[MANY];
	static uint8_t *data[MANY];

	for (unsigned int i = 0; i < MANY; i++) {
		pages[i] = page_new(pool);
		assert_non_null(pages[i]);
		data[i] = pages[i]->data;
		assert_int_equal((uintptr_t)data[i] % BLK_BYTES, 0);
		data[i][0] = 1;
		data[i][BLK_BYTES - 1] = 1;
	}
	assert_int_equal(page_pool_used(pool), MANY);
	qsort(data, MANY, sizeof(data[0]), compare_ptrs);
	for (unsigned int i = 1; i < MANY; i++)
		assert_true(data[i] - data[i - 1] >= BLK_BYTES);
	for (unsigned int i = 0; i < MANY; i++)
		page_put(pages[i]);
	assert_int_equal(page_pool_used(pool), 0);
}

/* Pages that the process has been given so far. */
static long faults(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_minflt + usage.ru_majflt;
}

static void test_memory_that_is_taken_at_once_is_there(void **state)
{
	struct page_pool *pool = *state;
	struct page *pages[MANY];
	long before;

	assert_int_equal(page_pool_prealloc(pool, MANY), 0);
	assert_int_equal(page_pool_used(pool), 0);
	before = faults();
	for (unsigned int i = 0; i < MANY; i++) {
		pages[i] = page_new(pool);
		memset(pages[i]->data, 0xa5, BLK_BYTES);
	}
	assert_in_range(faults() - before, 0, MANY / 10);
	for (unsigned int i = 0; i < MANY; i++)
		page_put(pages[i]);
}

static void test_more_memory_than_there_could_be_is_refused(void **state)
{
	struct page_pool *pool = *state;
	struct page *page;

	assert_int_equal(page_pool_prealloc(pool, SIZE_MAX / BLK_BYTES / 4), -ERR_NOMEM);
	page = page_new(pool);
	assert_non_null(page);
	page_put(page);
}

static void test_zero_page_is_never_freed(void **state)
{
	static const uint8_t zeros[BLK_BYTES];
	struct page_pool *pool = *state;
	struct page *zero = page_zero_peek(pool);
	struct page *page;

	assert_true(page_is_zero(zero));
	assert_memory_equal(zero->data, zeros, BLK_BYTES);
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(page_zero(pool), zero);
	assert_ptr_equal(page_get(zero), zero);
	assert_int_equal(page_pool_used(pool), 0);
	for (int i = 0; i < 1001; i++)
		page_put(zero);
	assert_int_equal(page_pool_used(pool), 0);
	page = page_new(pool);
	assert_ptr_not_equal(page, zero);
	assert_false(page_is_zero(page));
	memset(page->data, 0xff, BLK_BYTES);
	assert_memory_equal(page_zero_peek(pool)->data, zeros, BLK_BYTES);
	page_put(page);
}

/* The spans cover exactly the bytes from head on, in order, and no page is without any. */
static void check_spans(uint32_t head, uint64_t len)
{
	struct pagevec pv;
	uint64_t at = head;
	uint32_t off;
	uint32_t n;

	assert_int_equal(pagevec_init(&pv, head, len), 0);
	assert_int_equal(pv.head, head);
	assert_int_equal(pv.len, len);
	for (uint32_t i = 0; i < pv.npages; i++) {
		assert_null(pv.pages[i]);
		pagevec_span(&pv, i, &off, &n);
		assert_true(n > 0 && off + n <= BLK_BYTES);
		assert_int_equal((uint64_t)i * BLK_BYTES + off, at);
		at += n;
	}
	assert_int_equal(at, head + len);
	pagevec_fini(&pv);
}

static void test_spans_of_all_heads(void **state)
{
	static const uint64_t lens[] = {0,
					1,
					2,
					511,
					512,
					4094,
					4095,
					4096,
					4097,
					8191,
					8192,
					8193,
					12287,
					12289,
					32u << BLK_SHIFT,
					(32u << BLK_SHIFT) + 1};

	(void)state;
	for (uint32_t head = 0; head < BLK_BYTES; head++)
		for (size_t i = 0; i < ARRAY_LEN(lens); i++)
			check_spans(head, lens[i]);
}

static void test_spans_of_all_lengths(void **state)
{
	static const uint32_t heads[] = {0, 1, 2048, 4094, 4095};

	(void)state;
	for (uint64_t len = 0; len <= 3 * BLK_BYTES + 1; len++)
		for (size_t i = 0; i < ARRAY_LEN(heads); i++)
			check_spans(heads[i], len);
}

static void test_vector_fini_puts_what_is_there(void **state)
{
	struct page_pool *pool = *state;
	struct page *shared = page_new(pool);
	struct pagevec pv;

	assert_int_equal(pagevec_init(&pv, 100, 4 * BLK_BYTES), 0);
	assert_int_equal(pv.npages, 5);
	pv.pages[0] = page_new(pool);
	pv.pages[1] = page_get(shared);
	pv.pages[3] = page_zero(pool);
	assert_int_equal(page_pool_used(pool), 2);
	pagevec_fini(&pv);
	assert_int_equal(pv.npages, 0);
	assert_null(pv.pages);
	assert_int_equal(page_pool_used(pool), 1);
	assert_int_equal(shared->refs, 1);
	pagevec_fini(&pv);
	page_put(shared);
}

static void test_empty_vector_has_no_pages(void **state)
{
	struct pagevec pv = {.npages = 7};

	(void)state;
	assert_int_equal(pagevec_init(&pv, 0, 0), 0);
	assert_int_equal(pv.npages, 0);
	pagevec_fini(&pv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_last_put_gives_the_page_back),
	    cmocka_unit_test(test_page_in_use_is_not_handed_out_again),
	    cmocka_unit_test(test_many_pages_are_aligned_and_apart),
	    cmocka_unit_test(test_memory_that_is_taken_at_once_is_there),
	    cmocka_unit_test(test_more_memory_than_there_could_be_is_refused),
	    cmocka_unit_test(test_zero_page_is_never_freed),
	    cmocka_unit_test(test_spans_of_all_heads),
	    cmocka_unit_test(test_spans_of_all_lengths),
	    cmocka_unit_test(test_vector_fini_puts_what_is_there),
	    cmocka_unit_test(test_empty_vector_has_no_pages),
	};

	return cmocka_run_group_tests_name("page", tests, setup, teardown);
}
