/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_outq.c: what waits to be sent comes out in order, whole, and once; and no page is kept.
 */
#include "server/outq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "common/thread.h"

#define MODEL_BYTES (1u << 20)
#define MODEL_STEPS 20000
#define MANY	    (4 * OUTQ_KEPT_PIECES)

static struct page_pool *pool;
static struct outq q;
static uint8_t next_byte;

static int setup(void **state)
{
	(void)state;
	thread_set_role(THREAD_LOOP);
	pool = page_pool_new();
	outq_init(&q, pool);
	return pool ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	outq_fini(&q);
	page_pool_free(pool); /* asserts that all are back */
	return 0;
}

static struct page *page_of(uint8_t byte)
{
	struct page *page = page_new(pool);

	assert_non_null(page);
	memset(page->data, byte, BLK_BYTES);
	return page;
}

static void add(const char *text)
{
	assert_int_equal(outq_add(&q, text, strlen(text)), 0);
}

/* Sends nothing, and looks at all of it. */
static void assert_waits(const char *text)
{
	struct iovec iov[8];
	int n = outq_peek(&q, iov, 8);
	size_t at = 0;

	for (int i = 0; i < n; i++) {
		assert_true(at + iov[i].iov_len <= strlen(text));
		assert_memory_equal(iov[i].iov_base, text + at, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	assert_int_equal(at, strlen(text));
	assert_int_equal(outq_bytes(&q), strlen(text));
}

static void test_copies_are_one_piece(void **state)
{
	struct iovec iov[2];

	(void)state;
	add("abc");
	add("de");
	assert_waits("abcde");
	assert_int_equal(outq_peek(&q, iov, 2), 1);
	outq_drop(&q, 4);
	add("f");
	assert_waits("ef");
	assert_int_equal(page_pool_used(pool), 1);
	outq_drop(&q, 2);
	assert_waits("");
	assert_int_equal(page_pool_used(pool), 0);
}

static void test_copies_are_of_the_time_when_they_were_added(void **state)
{
	char text[] = "abc";

	(void)state;
	add(text);
	text[0] = 'x';
	assert_waits("abc");
}

static void test_a_page_is_kept_until_it_is_sent(void **state)
{
	struct page *page = page_of('p');

	(void)state;
	add("a");
	assert_int_equal(outq_add_page(&q, page_get(page), 5, 3), 0);
	add("b");
	assert_waits("apppb");
	outq_drop(&q, 3);
	assert_int_equal(page->refs, 2);
	assert_waits("pb");
	outq_drop(&q, 1);
	assert_int_equal(page->refs, 1);
	page_put(page);
	assert_waits("b");
}

static void test_pages_in_a_row_are_one_piece(void **state)
{
	struct page *a = page_of('a');
	struct page *b = page_of('b');
	struct page *c = page_of('c');
	struct iovec iov[4];

	(void)state;
	assert_ptr_equal(b->data, a->data + BLK_BYTES);
	assert_int_equal(outq_add_page(&q, a, 100, BLK_BYTES - 100), 0);
	assert_int_equal(outq_add_page(&q, b, 0, BLK_BYTES), 0);
	assert_int_equal(outq_add_page(&q, c, 1, 10), 0);
	assert_int_equal(outq_peek(&q, iov, 4), 2);
	assert_ptr_equal(iov[0].iov_base, a->data + 100);
	assert_int_equal(iov[0].iov_len, 2 * BLK_BYTES - 100);
	assert_ptr_equal(iov[1].iov_base, c->data + 1);
	assert_int_equal(iov[1].iov_len, 10);
}

static void test_no_more_pieces_than_are_asked_for(void **state)
{
	struct iovec iov[3] = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		add("head");
		assert_int_equal(outq_add_page(&q, page_of('p'), 0, 1), 0);
	}
	assert_int_equal(outq_peek(&q, iov, 2), 2);
	assert_null(iov[2].iov_base);
	assert_int_equal(outq_peek(&q, iov, 0), 0);
}

static void test_a_long_queue_keeps_no_room(void **state)
{
	struct page *page = page_of('p');

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(outq_add_page(&q, page_get(page), 0, 1), 0);
	assert_true(q.cap >= MANY);
	outq_drop(&q, MANY - 1);
	assert_true(q.cap >= MANY);
	outq_drop(&q, 1);
	assert_int_equal(page->refs, 1);
	assert_true(q.cap <= OUTQ_KEPT_PIECES);
	page_put(page);
	add("again");
	assert_waits("again");
}

static void test_what_is_not_sent_is_given_back(void **state)
{
	struct page *page = page_of('p');

	(void)state;
	add("head");
	assert_int_equal(outq_add_page(&q, page_get(page), 0, BLK_BYTES), 0);
	outq_drop(&q, 1);
	outq_fini(&q);
	assert_int_equal(page->refs, 1);
	assert_int_equal(outq_bytes(&q), 0);
	page_put(page);
	assert_int_equal(page_pool_used(pool), 0);
}

/* ---- a model: bytes that count up ------------------------------------------------------------ */

static void model_add(size_t len, bool page)
{
	uint8_t bytes[2 * BLK_BYTES];
	uint32_t off = (uint32_t)(rand() % 100);

	for (size_t i = 0; i < len; i++)
		bytes[i] = next_byte++;
	if (page) {
		struct page *p = page_of(0);

		memcpy(p->data + off, bytes, len);
		assert_int_equal(outq_add_page(&q, p, off, (uint32_t)len), 0);
	} else {
		assert_int_equal(outq_add(&q, bytes, len), 0);
	}
}

/* Takes some of what is shown; *sent: the byte that is next. */
static void model_send(uint8_t *sent)
{
	struct iovec iov[4];
	int n = outq_peek(&q, iov, 1 + rand() % 4);
	size_t shown = 0;
	size_t take;

	assert_int_equal(n == 0, outq_bytes(&q) == 0);
	for (int i = 0; i < n; i++)
		for (size_t j = 0; j < iov[i].iov_len; j++)
			assert_int_equal(((const uint8_t *)iov[i].iov_base)[j],
					 (uint8_t)(*sent + shown++));
	take = shown > 0 ? (size_t)rand() % (shown + 1) : 0;
	if (rand() % 2 == 0)
		take = shown;
	outq_drop(&q, take);
	*sent += (uint8_t)take;
}

static void test_random_additions_come_out_in_order(void **state)
{
	uint8_t sent = 0;

	(void)state;
	srand(1);
	next_byte = 0;
	for (int i = 0; i < MODEL_STEPS; i++) {
		size_t left = outq_bytes(&q);

		if (rand() % 3 == 0 && left < MODEL_BYTES)
			model_add(1 + (size_t)rand() % (2 * BLK_BYTES), false);
		else if (rand() % 2 == 0 && left < MODEL_BYTES)
			model_add(1 + (size_t)rand() % (BLK_BYTES - 100), true);
		else
			model_send(&sent);
	}
	while (outq_bytes(&q) > 0)
		model_send(&sent);
	assert_int_equal(sent, next_byte);
	assert_int_equal(page_pool_used(pool), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_copies_are_one_piece),
	    TEST(test_copies_are_of_the_time_when_they_were_added),
	    TEST(test_a_page_is_kept_until_it_is_sent),
	    TEST(test_pages_in_a_row_are_one_piece),
	    TEST(test_no_more_pieces_than_are_asked_for),
	    TEST(test_a_long_queue_keeps_no_room),
	    TEST(test_what_is_not_sent_is_given_back),
	    TEST(test_random_additions_come_out_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
