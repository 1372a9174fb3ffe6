/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every asynchronous call of libcow, canceled at every byte of its request and of its reply, and where
 * it waits: one callback, with -COW_ECANCELED; the buffers are the caller's again; and the connection
 * goes on, with the late reply swallowed.  By TLS, where bytes are those of records, the same at fewer
 * of them.
 */
#include <sys/socket.h>

#include "tests/lib/certs.h"
#include "tests/lib/rnd.h"
#include "tests/unit/aio_fixture.h"

#define SPOILED	    0x5a
#define LARGE_BYTES 40000u
#define RECORD_MORE 22u /* bytes that a record of TLS is longer than what is in it */

struct exchange {
	size_t first; /* bytes sent by the function that begins the call */
	size_t received;
};

/* How many bytes a call is, undisturbed. */
static struct exchange measure(fx_t *fx, const struct aio_call *call)
{
	struct exchange x;

	fixture_prepare(fx, call);
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	(void)fixture_begin(fx, call);
	x.first = cut_sent();
	fixture_finish(fx);
	if (fx->result < 0)
		fail_msg("%s: %s", call->name, cow_error(fx->cow));
	x.received = cut_received();
	fixture_undo(fx, call);
	return x;
}

static void assert_data(const uint8_t *data, uint8_t seed)
{
	uint8_t wanted[DATA_BYTES];

	fixture_pattern(wanted, seed);
	assert_memory_equal(data, wanted, DATA_BYTES);
}

/* Cancels what is under way, takes the buffers back, and lets the rest of the exchange happen. */
static void cancel(fx_t *fx, const struct aio_call *call, uint64_t id)
{
	fx->inside = true;
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	fx->inside = false;
	assert_int_equal(cow_next_timeout_ms(fx->cow), 0);
	assert_int_equal(cow_process(fx->cow), 1);
	assert_int_equal(fx->calls, 1);
	assert_int_equal(fx->result, -COW_ECANCELED);
	assert_string_equal(cow_error(fx->cow), "canceled");
	assert_int_equal(cow_aio_cancel(fx->cow, id), -COW_ENOENT);
	memset(fx->data, SPOILED, sizeof(fx->data));
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_int_equal(cow_process(fx->cow), 0);
	assert_int_equal(fx->calls, 1);
	for (size_t i = 0; i < sizeof(fx->data); i++)
		assert_int_equal(fx->data[i], SPOILED);
	fixture_undo(fx, call);
}

/* A write is there as it was meant to be, or not at all. */
static void assert_written(fx_t *fx, uint8_t seed)
{
	uint8_t data[DATA_BYTES];

	assert_int_equal(cow_pread(fx->obj, data, sizeof(data), DATA_AT), (ssize_t)sizeof(data));
	assert_data(data, seed);
}

/*
 * A request of which a byte was sent is sent to its end.  By TLS so is one of which nothing was: its record
 * is made, and nothing else can take its place.
 */
static bool is_begun(size_t sent)
{
	return sent > 0 || fixture_tls;
}

static void cancel_while_sending(fx_t *fx, const struct aio_call *call, size_t sent)
{
	uint8_t before = fx->seed;
	uint64_t id;

	fixture_prepare(fx, call);
	cut_limit(sent, CUT_NEVER, false);
	id = fixture_begin(fx, call);
	assert_int_equal(cut_sent(), sent);
	cancel(fx, call, id);
	if (call->traits & AIO_WRITES)
		assert_written(fx, is_begun(sent) ? fx->seed : before);
	if (!is_begun(sent))
		fx->seed = before;
}

static void cancel_while_receiving(fx_t *fx, const struct aio_call *call, size_t received)
{
	uint64_t id;

	fixture_prepare(fx, call);
	cut_limit(CUT_NEVER, received, false);
	id = fixture_begin(fx, call);
	while (cut_received() < received)
		fixture_turn(fx);
	cancel(fx, call, id);
	if (call->traits & AIO_WRITES)
		assert_written(fx, fx->seed);
}

/* Its result stands, and is told. */
static void cancel_when_done(fx_t *fx, const struct aio_call *call)
{
	uint64_t id;

	fixture_prepare(fx, call);
	id = fixture_begin(fx, call);
	assert_int_equal(cow_ping(fx->cow), 0); /* receives both replies */
	assert_int_equal(fx->calls, 0);
	if (call->traits & AIO_PAGES) {
		cancel(fx, call, id);
		return;
	}
	assert_int_equal(cow_aio_cancel(fx->cow, id), -COW_ENOENT);
	assert_int_equal(cow_process(fx->cow), 1);
	assert_int_equal(fx->calls, 1);
	assert_true(fx->result >= 0);
	fixture_undo(fx, call);
}

/* At every byte; or at every one in so many, which are others with each call. */
static void cancel_everywhere(bool tcp, size_t step)
{
	fx_t fx;

	fixture_start(&fx, tcp, WIRE_INFLIGHT_MAX);
	(void)measure(&fx, &aio_calls[4]); /* the data is that of a seed from now on */
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++) {
		struct exchange x = measure(&fx, &aio_calls[i]);

		for (size_t n = i % step; n <= x.first; n += step)
			cancel_while_sending(&fx, &aio_calls[i], n);
		for (size_t n = i % step; n < x.received; n += step)
			cancel_while_receiving(&fx, &aio_calls[i], n);
		cancel_when_done(&fx, &aio_calls[i]);
		(void)measure(&fx, &aio_calls[i]);
	}
	/* no number of an open object was forgotten, but for the one that is open */
	assert_int_equal(fx.st->requests[WIRE_OP_OPEN], fx.st->requests[WIRE_OP_CLOSE] + 1);
	fixture_stop(&fx);
}

static void test_cancel_at_every_byte(void **state)
{
	(void)state;
	cancel_everywhere(false, 1);
}

static void test_cancel_at_every_byte_with_checksums(void **state)
{
	(void)state;
	cancel_everywhere(true, 1);
}

static void test_cancel_at_many_bytes(void **state)
{
	(void)state;
	cancel_everywhere(true, 7 * rnd_share());
}

static void large_pattern(uint8_t data[LARGE_BYTES], size_t seed)
{
	for (size_t i = 0; i < LARGE_BYTES; i++)
		data[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

/* Given up when so much of it is sent, and its buffer used for something else at once. */
static void cancel_large(fx_t *fx, size_t sent)
{
	static uint8_t data[LARGE_BYTES], wanted[LARGE_BYTES];
	const struct cow_aio how = {.done = fixture_done, .ctx = fx};
	uint64_t id;

	fx->calls = 0;
	large_pattern(data, sent);
	cut_limit(sent, CUT_NEVER, false);
	assert_int_equal(cow_aio_pwrite(fx->obj, data, LARGE_BYTES, 0, &how, &id), 0);
	assert_int_equal(cut_sent(), sent);
	assert_int_equal(cow_aio_cancel(fx->cow, id), 0);
	memset(data, SPOILED, sizeof(data));
	assert_int_equal(cow_process(fx->cow), 1);
	assert_int_equal(fx->result, -COW_ECANCELED);
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	assert_int_equal(cow_pread(fx->obj, data, LARGE_BYTES, 0), LARGE_BYTES);
	assert_int_equal(fx->calls, 1);
	large_pattern(wanted, sent);
	assert_memory_equal(data, wanted, LARGE_BYTES);
}

/* What is left of a write that is begun goes out as it was: of TLS a part of a record, and further ones. */
static void test_cancel_a_write_of_several_records(void **state)
{
	static const size_t records[] = {16384 + RECORD_MORE, 2 * (16384 + RECORD_MORE)};
	fx_t fx;

	(void)state;
	fixture_start(&fx, true, WIRE_INFLIGHT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		for (size_t n = records[i] - 2; n <= records[i] + 2; n++)
			cancel_large(&fx, n);
		cancel_large(&fx, records[i] - 10000);
	}
	cancel_large(&fx, LARGE_BYTES); /* all but its last bytes */
	assert_int_equal(cow_fsync(fx.obj), 0);
	fixture_stop(&fx);
}

static void count_done(void *ctx, int64_t result)
{
	unsigned int *n = ctx;

	assert_int_equal(result, 0);
	(*n)++;
}

/* The server takes one request at a time: what is begun behind it is not sent. */
static void test_cancel_what_is_queued(void **state)
{
	size_t ping_bytes = WIRE_HEADER_BYTES + (fixture_tls ? RECORD_MORE : 0);
	unsigned int pings = 0;
	const struct cow_aio how = {.done = count_done, .ctx = &pings};
	fx_t fx;

	(void)state;
	fixture_start(&fx, false, 1);
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++) {
		uint64_t id;

		fixture_prepare(&fx, &aio_calls[i]);
		cut_limit(CUT_NEVER, 0, false);
		assert_int_equal(cow_aio_ping(fx.cow, &how, NULL), 0);
		id = fixture_begin(&fx, &aio_calls[i]);
		assert_int_equal(cut_sent(), ping_bytes);
		assert_int_equal(cow_aio_cancel(fx.cow, id), 0);
		assert_int_equal(cow_process(fx.cow), 1);
		assert_int_equal(fx.result, -COW_ECANCELED);
		cut_limit(CUT_NEVER, CUT_NEVER, false);
		while (pings == i)
			fixture_turn(&fx);
		fixture_undo(&fx, &aio_calls[i]);
		assert_int_equal(cow_ping(fx.cow), 0); /* and what it sends by itself is answered */
	}
	assert_int_equal(fx.st->requests[WIRE_OP_OPEN], fx.st->requests[WIRE_OP_CLOSE] + 1);
	fixture_stop(&fx);
}

/* There is no server any more: what is begun waits for one. */
static void test_cancel_what_waits_for_a_connection(void **state)
{
	fx_t fx;
	uint64_t id;

	(void)state;
	fixture_start(&fx, false, WIRE_INFLIGHT_MAX);
	cut_limit(CUT_NEVER, 0, true);
	(void)shutdown(fx.server.listen_fd, SHUT_RDWR);
	id = fixture_begin(&fx, &aio_calls[0]);
	fixture_turn(&fx); /* the connection ends */
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i++) {
		if (i > 0 && (aio_calls[i].prepare || aio_calls[i].begin == begin_close))
			continue;
		if (i > 0)
			id = fixture_begin(&fx, &aio_calls[i]);
		assert_int_equal(cow_process(fx.cow), 0);
		assert_int_equal(cow_aio_cancel(fx.cow, id), 0);
		assert_int_equal(cow_process(fx.cow), 1);
		assert_int_equal(fx.calls, 1);
		assert_int_equal(fx.result, -COW_ECANCELED);
	}
	/* with nothing under way there is nothing to do until something is */
	assert_int_equal(cow_next_timeout_ms(fx.cow), -1);
	fixture_stop(&fx);
}

static void free_with(const struct aio_call *call, size_t send_bytes, size_t recv_bytes)
{
	fx_t fx;
	const struct cow_aio how = {.done = fixture_done, .ctx = &fx};

	fixture_start(&fx, false, WIRE_INFLIGHT_MAX);
	fixture_prepare(&fx, call);
	cut_limit(send_bytes, recv_bytes, false);
	(void)fixture_begin(&fx, call);
	while (send_bytes == CUT_NEVER && cut_received() < recv_bytes)
		fixture_turn(&fx);
	assert_int_equal(cow_aio_close(fx.obj, &how, NULL), 0);
	for (size_t i = 0; fx.pair[0] && i < ARRAY_LEN(fx.pair); i++)
		assert_int_equal(cow_aio_close(fx.pair[i], &how, NULL), 0);
	cow_free(fx.cow);
	assert_int_equal(fx.calls, fx.pair[0] ? 4 : 2);
	assert_int_equal(fx.result, -COW_ECANCELED);
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	fake_server_stop(&fx.server);
	fake_store_free(fx.st);
}

/* Each of these takes a connection of its own, by TLS a handshake. */
static size_t calls_step(void)
{
	return fixture_tls ? 4 : 1;
}

/* cow_free() ends what is under way, whatever it has come to, with its callback. */
static void test_free_with_calls_under_way(void **state)
{
	size_t step = fixture_tls ? 21 : 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i += calls_step()) {
		for (size_t n = 0; n <= 42; n += step) {
			free_with(&aio_calls[i], n, CUT_NEVER);
			if (n < 40)
				free_with(&aio_calls[i], CUT_NEVER, n);
		}
	}
}

/* Its result was there, but was not asked for. */
static void test_free_with_results_undelivered(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(aio_calls); i += calls_step()) {
		fx_t fx;

		fixture_start(&fx, false, WIRE_INFLIGHT_MAX);
		fixture_prepare(&fx, &aio_calls[i]);
		(void)fixture_begin(&fx, &aio_calls[i]);
		assert_int_equal(cow_close(fx.obj), 0); /* receives both replies */
		undo_pair(&fx);
		assert_int_equal(fx.calls, 0);
		cow_free(fx.cow);
		assert_int_equal(fx.calls, 1);
		assert_int_equal(fx.result, -COW_ECANCELED);
		fake_server_stop(&fx.server);
		fake_store_free(fx.st);
	}
}

static char *dir;

static int use_tls(void **state)
{
	(void)state;
	fixture_tls = dir;
	return 0;
}

static int use_none(void **state)
{
	(void)state;
	fixture_tls = NULL;
	return 0;
}

static int setup_all(void **state)
{
	(void)state;
	dir = certs_dir();
	return 0;
}

static int teardown_all(void **state)
{
	(void)state;
	certs_remove(dir);
	return 0;
}

#define BY_TLS(fn)                                         \
	{                                                  \
#fn "_by_tls", fn, use_tls, use_none, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cancel_at_every_byte),
	    cmocka_unit_test(test_cancel_at_every_byte_with_checksums),
	    cmocka_unit_test(test_cancel_a_write_of_several_records),
	    cmocka_unit_test(test_cancel_what_is_queued),
	    cmocka_unit_test(test_cancel_what_waits_for_a_connection),
	    cmocka_unit_test(test_free_with_calls_under_way),
	    cmocka_unit_test(test_free_with_results_undelivered),
	    BY_TLS(test_cancel_at_many_bytes),
	    BY_TLS(test_cancel_a_write_of_several_records),
	    BY_TLS(test_cancel_what_is_queued),
	    BY_TLS(test_cancel_what_waits_for_a_connection),
	    BY_TLS(test_free_with_calls_under_way),
	    BY_TLS(test_free_with_results_undelivered),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
