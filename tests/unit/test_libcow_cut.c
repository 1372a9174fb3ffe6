/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every asynchronous call of libcow, with the connection cut at every byte of its request and of its
 * reply (with sanitizers at one byte in SHARE): it succeeds on the next one where that does no harm, else it says that it may have been
 * carried out; one callback in any case.
 */
#include "tests/lib/daemon.h"
#include "tests/unit/aio_fixture.h"

#define SHARE 3u

/* Begins it with a limit at which the connection ends, and returns its result. */
static int64_t run_cut(fx_t *fx, const struct aio_call *call, size_t send_bytes, size_t recv_bytes)
{
	fixture_prepare(fx, call);
	cut_limit(send_bytes, recv_bytes, true);
	(void)fixture_begin(fx, call);
	fixture_finish(fx);
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_process(fx->cow), 0);
	assert_int_equal(fx->calls, 1);
	fixture_undo(fx, call);
	return fx->result;
}

static void expect(const struct aio_call *call, const char *where, size_t at, int64_t got, bool ok)
{
	if (ok ? got < 0 : got != -COW_ECONN)
		fail_msg("%s, cut at byte %zu %s: %lld", call->name, at, where, (long long)got);
}

static void cut_call(fx_t *fx, const struct aio_call *call)
{
	static size_t begin;
	size_t step = daemon_is_instrumented() ? SHARE : 1;
	size_t first;
	size_t received;

	fixture_prepare(fx, call);
	assert_int_equal(cow_fsync(fx->obj), 0); /* all of the last connection has come */
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	(void)fixture_begin(fx, call);
	first = cut_sent();
	fixture_finish(fx);
	received = cut_received();
	fixture_undo(fx, call);
	begin = (begin + 1) % step; /* for each call, and by each kind of socket, others */
	/* not whole: it was not carried out, and is sent again */
	for (size_t n = begin; n < first; n += step)
		expect(call, "of the request", n, run_cut(fx, call, n, CUT_NEVER), true);
	for (size_t n = begin; n < received; n += step)
		expect(call, "of the reply", n, run_cut(fx, call, CUT_NEVER, n),
		       call->traits & AIO_REPEATS);
}

static void cut_everywhere(bool tcp)
{
	fx_t fx;

	fixture_start(&fx, tcp, WIRE_INFLIGHT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++)
		cut_call(&fx, &aio_calls[i]);
	fixture_stop(&fx);
}

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	cut_everywhere(false);
}

static void test_cut_at_every_byte_with_checksums(void **state)
{
	(void)state;
	cut_everywhere(true);
}

/* A read, the first connection after it cut, and the one after that cut at every byte of the
 * handshake, of opening the object again, and of the reply. */
static void test_cut_while_connecting_again(void **state)
{
	const struct aio_call *read = &aio_calls[3];
	uint64_t whole = 0;
	fx_t fx;

	(void)state;
	fixture_start(&fx, false, WIRE_INFLIGHT_MAX);
	for (size_t n = 0; whole == 0; n++) {
		cut_limit(0, CUT_NEVER, true);
		(void)fixture_begin(&fx, read);
		cut_limit(CUT_NEVER, n, true);
		while (fx.calls == 0 && cut_received() < n)
			fixture_turn(&fx);
		if (fx.calls > 0)
			whole = n;
		else
			fixture_finish(&fx);
		assert_int_equal(fx.calls, 1);
		assert_int_equal(fx.result, DATA_BYTES);
		assert_int_equal(cow_process(fx.cow), 0);
	}
	/* headers of three replies, and the data, at least */
	assert_true(whole > 3 * WIRE_HEADER_BYTES + DATA_BYTES);
	fixture_stop(&fx);
}

/* The data that was read is that of the last attempt, and a write is there once it succeeded. */
static void test_cut_keeps_data(void **state)
{
	uint8_t wanted[DATA_BYTES];
	fx_t fx;

	(void)state;
	fixture_start(&fx, true, WIRE_INFLIGHT_MAX);
	for (size_t n = 0; n < 60; n += 3) {
		assert_int_equal(run_cut(&fx, &aio_calls[4], n < 30 ? n * 20 : CUT_NEVER,
					 n < 30 ? CUT_NEVER : n - 30),
				 DATA_BYTES);
		assert_int_equal(run_cut(&fx, &aio_calls[3], CUT_NEVER, n * 10), DATA_BYTES);
		fixture_pattern(wanted, fx.seed);
		assert_memory_equal(fx.data, wanted, DATA_BYTES);
	}
	fixture_stop(&fx);
}

/* Each call whose request has several objects waits for a connection while one of them is closed. */
static void close_while_waiting(int (*begin)(fx_t *fx, how_t *how, uint64_t *id))
{
	const struct aio_call call = {"of a pair", 0, NULL, begin, NULL};
	fx_t fx;

	fixture_start(&fx, false, WIRE_INFLIGHT_MAX);
	prepare_pair(&fx);
	cut_limit(0, CUT_NEVER, true);
	(void)fixture_begin(&fx, &call);
	assert_int_equal(cow_close(fx.pair[1]), 0);
	fx.pair[1] = NULL;
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	fixture_finish(&fx);
	assert_int_equal(fx.result, -COW_EINVAL);
	assert_string_equal(cow_error(fx.cow), "the object was closed");
	undo_pair(&fx);
	fixture_stop(&fx);
}

static int begin_clone_range_of_pair(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_clone_range(fx->pair[1], 0, 4096, fx->pair[0], 0, how, id);
}

static void test_objects_stay_until_the_callback(void **state)
{
	(void)state;
	close_while_waiting(begin_group_fsync);
	close_while_waiting(begin_group_tie);
	close_while_waiting(begin_clone_range_of_pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut_at_every_byte),
	    cmocka_unit_test(test_cut_at_every_byte_with_checksums),
	    cmocka_unit_test(test_cut_while_connecting_again),
	    cmocka_unit_test(test_cut_keeps_data),
	    cmocka_unit_test(test_objects_stay_until_the_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
