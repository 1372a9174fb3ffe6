/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dispatch_ranges.c: the operations on several ranges, at a generation, and on what is shared,
 * before the engine.
 */
#include "tests/unit/session_fixture.h"

static uint64_t told_generation(struct fixture *fx)
{
	struct msg_generation m;

	assert_int_equal(msg_generation_decode(fx->body, fx->body_len, &m), 0);
	return m.generation;
}

static void test_a_conditional_fsync_tells_the_generation(void **state)
{
	struct fixture *fx = *state;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	h = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC_IF, msg_fsync_if, .handle = h), 0);
	assert_int_equal(told_generation(fx), 0);
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC_IF, msg_fsync_if, .handle = h,
			     .flags = MSG_IF_GENERATION, .generation = 1),
			 ERR_CHANGED);
	assert_text(fx, "the object has changed: a is at generation 0");
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC_IF, msg_fsync_if, .handle = h + 1), ERR_INVAL);
}

/* Each block's page is held, however few of its bytes are asked for. */
static void test_reads_of_ranges_promise_their_pages(void **state)
{
	struct fixture *fx = *state;
	struct msg_readv m = {.count = 3, .ranges = {{1, 1}, {4095, 2}, {0, 0}}};
	struct wire_header head = {.op = WIRE_OP_READV, .id = 99};
	struct request *req = NULL;
	uint8_t body[64];
	int n;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	m.handle = fixture_open(fx, "a");
	n = msg_readv_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	head.body_len = (uint32_t)n;
	assert_int_equal(dispatch_begin(&fx->session, &head, body, &req), 0);
	assert_int_equal(req->err, 0);
	assert_true(fx->session.promised_bytes >= 3 * 4096);
	session_request_end(req);
	assert_int_equal(fx->session.promised_bytes, 0);
}

static int begin_writev(struct fixture *fx, const struct msg_writev *m, uint32_t payload_len,
			uint64_t *bytes)
{
	struct wire_header head = {.op = WIRE_OP_WRITEV, .id = 99, .payload_len = payload_len};
	struct request *req = NULL;
	uint8_t body[256];
	int n = msg_writev_encode(body, sizeof(body), m);
	int err;

	assert_true(n > 0);
	head.body_len = (uint32_t)n;
	assert_int_equal(dispatch_begin(&fx->session, &head, body, &req), 0);
	err = req->err;
	*bytes = req->payload_bytes;
	session_request_end(req);
	assert_int_equal(fx->session.nrequests, 0);
	return err;
}

static void test_writes_of_ranges_are_looked_at_before_their_data(void **state)
{
	struct fixture *fx = *state;
	struct msg_writev m = {.count = 3, .ranges = {{1, 1}, {4000, 200}, {4200, 5}}};
	uint64_t bytes;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	m.handle = fixture_open(fx, "a");
	assert_int_equal(begin_writev(fx, &m, 206, &bytes), 0);
	assert_int_equal(bytes, 2 * 4096); /* of both blocks, each once */
	assert_int_equal(begin_writev(fx, &m, 205, &bytes), -ERR_PAYLOAD);
	m.ranges[2].offset = 4199;
	assert_int_equal(begin_writev(fx, &m, 206, &bytes), -ERR_RANGES);
	m.handle++;
	assert_int_equal(begin_writev(fx, &m, 206, &bytes), -ERR_BAD_HANDLE);
}

static void test_an_unsharing_tells_how_far_it_came(void **state)
{
	struct fixture *fx = *state;
	struct msg_unshare_reply reply;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 9000), 0);
	h = fixture_open(fx, "a");
	assert_int_equal(
	    RUN(fx, WIRE_OP_UNSHARE, msg_unshare, .handle = h, .offset = 100, .len = UINT64_MAX),
	    0);
	assert_int_equal(msg_unshare_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.len, 4096);
	assert_int_equal(reply.left, 9000 - 100 - 4096);
	assert_int_equal(reply.copied, 4096);
	assert_int_equal(RUN(fx, WIRE_OP_UNSHARE, msg_unshare, .handle = h + 1), ERR_INVAL);
	fake_fail_next(fx->objs, -ERR_NOSPC);
	assert_int_equal(RUN(fx, WIRE_OP_UNSHARE, msg_unshare, .handle = h, .len = 1), ERR_NOSPC);
}

/* The fake engine tells of as many damages as there may be where a rate is asked for. */
static void test_a_verify_tells_its_damages(void **state)
{
	struct fixture *fx = *state;
	struct msg_verify_reply *reply = calloc(1, sizeof(*reply));
	uint32_t h;

	assert_non_null(reply);
	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 9000), 0);
	h = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_VERIFY, msg_verify, .handle = h, .offset = 4096,
			     .len = UINT64_MAX, .older = 3),
			 0);
	assert_int_equal(msg_verify_reply_decode(fx->body, fx->body_len, reply), 0);
	assert_true(reply->len == 4096 && reply->left == 9000 - 8192);
	assert_true(reply->read == 4096 && reply->pending == 3 * 4096);
	assert_int_equal(reply->count, 1);
	assert_true(reply->damages[0].offset == 4096 && reply->damages[0].len == 4096);
	assert_int_equal(reply->damages[0].physical, 1000 * 4096);
	assert_int_equal(reply->damages[0].kind, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(RUN(fx, WIRE_OP_VERIFY, msg_verify, .handle = h, .max = 3,
			     .len = UINT64_MAX, .rate = 4096),
			 0);
	assert_int_equal(msg_verify_reply_decode(fx->body, fx->body_len, reply), 0);
	assert_int_equal(reply->count, 3);
	assert_int_equal(reply->damages[1].kind, MSG_DAMAGE_READ);
	assert_int_equal(reply->damages[2].kind, MSG_DAMAGE_METADATA);
	assert_int_equal(RUN(fx, WIRE_OP_VERIFY, msg_verify, .handle = h, .len = 1, .rate = 4096),
			 0);
	assert_int_equal(msg_verify_reply_decode(fx->body, fx->body_len, reply), 0);
	assert_int_equal(reply->count, MSG_VERIFY_MAX);
	assert_int_equal(RUN(fx, WIRE_OP_VERIFY, msg_verify, .handle = h + 1), ERR_INVAL);
	fake_fail_next(fx->objs, -ERR_IO);
	assert_int_equal(RUN(fx, WIRE_OP_VERIFY, msg_verify, .handle = h, .len = 1), ERR_IO);
	free(reply);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_conditional_fsync_tells_the_generation),
	    TEST(test_reads_of_ranges_promise_their_pages),
	    TEST(test_writes_of_ranges_are_looked_at_before_their_data),
	    TEST(test_an_unsharing_tells_how_far_it_came),
	    TEST(test_a_verify_tells_its_damages),
	};

	return cmocka_run_group_tests_name("dispatch of ranges", tests, NULL, NULL);
}
