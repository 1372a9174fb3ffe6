/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/copy.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "client/ctl.h"

#define TOTAL_BYTES 1000003u
#define CHUNK_BYTES 4096u

/* Both ends in memory; every fifth piece of the source is a hole. */
struct ends {
	struct copy_source source;
	struct copy_sink sink;
	uint8_t *from;
	uint8_t *to;
	uint64_t pos;
	uint64_t fail_at;  /* offset of the piece that fails in put(); UINT64_MAX: none */
	uint64_t fail_get; /* likewise in next() */
	uint64_t late;	   /* the piece whose fetch() ends after next() has failed */
	atomic_bool failed;
	atomic_bool ended; /* a thread has been told of the end */
	bool interrupted;  /* it is, then, while the last piece is being put */
	pthread_mutex_t lock;
	uint64_t next_put; /* where an ordered sink must be written to next */
	bool out_of_order;
};

static struct ends *of_source(struct copy_source *src)
{
	return CONTAINER_OF(src, struct ends, source);
}

static struct ends *of_sink(struct copy_sink *sink)
{
	return CONTAINER_OF(sink, struct ends, sink);
}

static int ends_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct ends *e = of_source(src);
	uint64_t left = TOTAL_BYTES - e->pos;

	if (e->pos == e->fail_get) {
		atomic_store(&e->failed, true);
		return copy_fail(error, 7, "source", "broken at %u", (unsigned int)e->pos);
	}
	piece->offset = e->pos;
	piece->hole = e->pos / CHUNK_BYTES % 5 == 4;
	piece->len = left < piece->buf_len ? left : piece->buf_len;
	e->pos += piece->len;
	atomic_store(&e->ended, left == 0);
	return 0;
}

static int ends_fetch(struct copy_source *src, const struct copy_piece *piece,
		      struct copy_error *error)
{
	struct ends *e = of_source(src);
	const struct timespec tick = {.tv_nsec = 1000000};

	(void)error;
	if (piece->offset == e->late) {
		while (!atomic_load(&e->failed))
			nanosleep(&tick, NULL);
		for (int i = 0; i < 50; i++) /* whoever has met it may say so meanwhile */
			nanosleep(&tick, NULL);
	}
	memcpy(piece->buf, e->from + piece->offset, piece->len);
	return 0;
}

static int ends_put(struct copy_sink *sink, const struct copy_piece *piece,
		    struct copy_error *error)
{
	const struct timespec tick = {.tv_nsec = 1000000};
	struct ends *e = of_sink(sink);

	if (piece->offset == e->fail_at)
		return copy_fail(error, 8, "sink", "full");
	if (e->interrupted && piece->offset + piece->len == TOTAL_BYTES) {
		while (!atomic_load(&e->ended))
			nanosleep(&tick, NULL);
		(void)raise(SIGINT);
	}
	(void)pthread_mutex_lock(&e->lock);
	if (piece->offset != e->next_put)
		e->out_of_order = true;
	e->next_put += piece->len;
	(void)pthread_mutex_unlock(&e->lock);
	if (!piece->hole)
		memcpy(e->to + piece->offset, piece->buf, piece->len);
	return 0;
}

static void ends_init(struct ends *e)
{
	*e = (struct ends){
	    .source = {.next = ends_next, .fetch = ends_fetch},
	    .sink = {.put = ends_put},
	    .from = malloc(TOTAL_BYTES),
	    .to = calloc(1, TOTAL_BYTES),
	    .fail_at = UINT64_MAX,
	    .fail_get = UINT64_MAX,
	    .late = UINT64_MAX,
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	};
	assert_non_null(e->from);
	assert_non_null(e->to);
	for (size_t i = 0; i < TOTAL_BYTES; i++)
		e->from[i] = i / CHUNK_BYTES % 5 == 4 ? 0 : (uint8_t)(i * 7 + i / 251);
}

static void ends_fini(struct ends *e)
{
	free(e->from);
	free(e->to);
}

static int ends_run(struct ends *e, unsigned int nthreads, struct copy_result *result,
		    struct copy_error *error)
{
	struct progress progress = {.kind = PROGRESS_NONE};

	return copy_run(&e->source, &e->sink, nthreads, CHUNK_BYTES, &progress, result, error);
}

static void test_copy_all(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	for (unsigned int nthreads = 1; nthreads <= COPY_THREADS; nthreads++) {
		ends_init(&e);
		assert_int_equal(ends_run(&e, nthreads, &result, &error), 0);
		assert_memory_equal(e.to, e.from, TOTAL_BYTES);
		assert_int_equal(result.total_bytes, TOTAL_BYTES);
		assert_int_equal(result.data_bytes, TOTAL_BYTES - 48 * CHUNK_BYTES - 579);
		ends_fini(&e);
	}
}

static void test_copy_in_order(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	ends_init(&e);
	e.sink.ordered = true;
	assert_int_equal(ends_run(&e, COPY_THREADS, &result, &error), 0);
	assert_false(e.out_of_order);
	assert_memory_equal(e.to, e.from, TOTAL_BYTES);
	ends_fini(&e);
}

static void test_copy_failing_sink(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	for (int ordered = 0; ordered < 2; ordered++) {
		ends_init(&e);
		e.sink.ordered = ordered;
		e.fail_at = 10 * CHUNK_BYTES;
		assert_int_equal(ends_run(&e, COPY_THREADS, &result, &error), -1);
		assert_int_equal(error.status, 8);
		assert_string_equal(error.subject, "sink");
		assert_string_equal(error.text, "full");
		/* in order, only what threads had in hand was begun beside the failing piece */
		assert_true(!ordered || e.pos <= (10 + COPY_THREADS) * CHUNK_BYTES);
		ends_fini(&e);
	}
}

static void test_copy_failing_source(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	ends_init(&e);
	e.fail_get = 20 * CHUNK_BYTES;
	assert_int_equal(ends_run(&e, COPY_THREADS, &result, &error), -1);
	assert_int_equal(error.status, 7);
	assert_string_equal(error.text, "broken at 81920");
	ends_fini(&e);
}

/* What comes before the fault is put, however late it is fetched: who goes on later need not send it again. */
static void test_copy_before_a_failing_source(void **state)
{
	struct ends e;
	struct copy_result result;
	struct copy_error error;

	(void)state;
	for (uint64_t late = 0; late < COPY_THREADS - 1; late++) {
		ends_init(&e);
		e.sink.ordered = true;
		e.late = late * CHUNK_BYTES;
		e.fail_get = (COPY_THREADS - 1) * CHUNK_BYTES;
		assert_int_equal(ends_run(&e, COPY_THREADS, &result, &error), -1);
		assert_string_equal(error.subject, "source");
		assert_int_equal(e.next_put, e.fail_get);
		assert_int_equal(result.total_bytes, e.fail_get);
		assert_memory_equal(e.from, e.to, e.fail_get);
		ends_fini(&e);
	}
}

/* Whoever has put the last piece then looks for the next one, and nobody is left who could wake him. */
static void test_copy_interrupted_at_the_end(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	ends_init(&e);
	e.sink.ordered = true;
	e.interrupted = true;
	assert_int_equal(ctl_catch_interrupts(), 0);
	assert_int_equal(ends_run(&e, 2, &result, &error), 0);
	assert_int_equal(ctl_interrupted(), SIGINT);
	assert_memory_equal(e.to, e.from, TOTAL_BYTES);
	ends_fini(&e);
}

static void test_copy_interrupted(void **state)
{
	struct copy_result result;
	struct copy_error error;
	struct ends e;

	(void)state;
	for (int ordered = 0; ordered < 2; ordered++) {
		ends_init(&e);
		e.sink.ordered = ordered;
		assert_int_equal(ends_run(&e, COPY_THREADS, &result, &error), -1);
		assert_string_equal(error.text, "interrupted");
		assert_int_equal(result.total_bytes, 0);
		ends_fini(&e);
	}
}

/* ---- zeros ----------------------------------------------------------------------------------- */

static void test_copy_is_zero(void **state)
{
	uint8_t buf[300] = {0};

	(void)state;
	assert_true(copy_is_zero(buf, 0));
	assert_true(copy_is_zero(buf, sizeof(buf)));
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = 1;
		assert_false(copy_is_zero(buf, sizeof(buf)));
		buf[i] = 0;
	}
}

static void expect_data(const struct copy_piece *piece, size_t *from, size_t begin, size_t len)
{
	assert_int_equal(copy_next_data(piece, from), len);
	assert_int_equal(*from, begin);
	*from += len;
}

/* Zeros are skipped in units that lie at multiples of their size in the destination. */
static void test_copy_next_data(void **state)
{
	enum { RUN = COPY_RUN_BYTES };
	uint8_t *buf = calloc(6, RUN);
	struct copy_piece piece = {.offset = 0, .len = 6 * RUN, .buf = buf};
	size_t from = 0;

	(void)state;
	assert_non_null(buf);
	assert_int_equal(copy_next_data(&piece, &from), 0);
	buf[2 * RUN - 1] = 1;
	buf[2 * RUN] = 1;
	buf[5 * RUN] = 1;
	from = 0;
	expect_data(&piece, &from, RUN, 2 * RUN);
	expect_data(&piece, &from, 5 * RUN, RUN);
	assert_int_equal(copy_next_data(&piece, &from), 0);
	/* the same bytes 100 later: the first unit ends 100 bytes earlier */
	piece.offset = 100;
	from = 0;
	expect_data(&piece, &from, 2 * RUN - 100, RUN);
	expect_data(&piece, &from, 5 * RUN - 100, RUN);
	assert_int_equal(copy_next_data(&piece, &from), 0);
	/* a tail shorter than a unit counts */
	piece.offset = 0;
	piece.len = 5 * RUN + 1;
	from = 3 * RUN;
	expect_data(&piece, &from, 5 * RUN, 1);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_copy_all),
	    cmocka_unit_test(test_copy_in_order),
	    cmocka_unit_test(test_copy_failing_sink),
	    cmocka_unit_test(test_copy_failing_source),
	    cmocka_unit_test(test_copy_before_a_failing_source),
	    cmocka_unit_test(test_copy_is_zero),
	    cmocka_unit_test(test_copy_next_data),
	    /* the signal stays: all that is copied behind it is interrupted */
	    cmocka_unit_test(test_copy_interrupted_at_the_end),
	    cmocka_unit_test(test_copy_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
