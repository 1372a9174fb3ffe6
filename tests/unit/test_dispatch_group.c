/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dispatch_group.c: the operations on several objects at once, from a request to its reply:
 * what is pinned, what is refused, and which of several the text is about.
 */
#include "tests/unit/session_fixture.h"

static int setup(void **state)
{
	struct fixture *fx;

	assert_int_equal(fixture_setup(state), 0);
	fx = *state;
	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "b"), 0);
	return 0;
}

static int run_handles(struct fixture *fx, uint16_t op, uint32_t first, uint32_t second)
{
	return RUN(fx, op, msg_handles, .count = 2, .handles = {{first}, {second}});
}

static int run_pairs(struct fixture *fx, const struct msg_pair *pairs, uint16_t n, uint64_t ttl_ms)
{
	struct msg_clone_all m = {.ttl_ms = ttl_ms, .count = n};
	uint8_t body[2048];

	return fixture_run(fx, WIRE_OP_CLONE_ALL, body,
			   msg_clone_all_encode(body, sizeof(body), &m, pairs));
}

static void test_handles_are_looked_up(void **state)
{
	static const uint16_t ops[] = {WIRE_OP_TIE, WIRE_OP_FSYNC_ALL};
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	uint32_t b = fixture_open(fx, "b");

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		assert_int_equal(run_handles(fx, ops[i], a, b), 0);
		assert_int_equal(fx->body_len, 0);
		assert_int_equal(run_handles(fx, ops[i], a, a), 0);
		assert_int_equal(run_handles(fx, ops[i], a, 99), ERR_INVAL);
		fake_fail_next(fx->objs, -ERR_LIMIT);
		assert_int_equal(run_handles(fx, ops[i], a, b), ERR_LIMIT);
	}
	/* nothing is pinned any more */
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = a), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = b), 0);
}

static void test_a_close_waits_for_an_fsync_of_several(void **state)
{
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	uint32_t b = fixture_open(fx, "b");
	unsigned int before;

	fake_hold(fx->objs, true);
	assert_int_equal(run_handles(fx, WIRE_OP_FSYNC_ALL, a, b), -1);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = b), -1);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = a), -1);
	assert_int_equal(run_handles(fx, WIRE_OP_FSYNC_ALL, a, b), ERR_INVAL);
	before = fx->replies;
	fake_hold(fx->objs, false);
	assert_int_equal(fx->replies, before + 3);
	assert_int_equal(fx->last.status, 0);
	assert_int_equal(run_handles(fx, WIRE_OP_TIE, a, b), ERR_INVAL);
}

static void test_pairs_are_made(void **state)
{
	static const struct msg_pair pairs[] = {{"a", "a@v"}, {"b", "b2"}};
	struct fixture *fx = *state;

	assert_int_equal(run_pairs(fx, pairs, 2, 0), 0);
	assert_int_equal(fx->body_len, 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a@v"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "b2"), 0);
}

static void test_the_text_says_which_pair(void **state)
{
	static const struct {
		struct msg_pair second;
		int status;
		const char *text;
	} cases[] = {
	    {{"none", "x"}, ERR_NOENT, "no such object: none"},
	    {{"b", "a"}, ERR_EXIST, "the name exists already: a"},
	    {{"b", "a@v"},
	     ERR_INVAL,
	     "invalid argument: a@v cannot be made of b: a version is of its own object"},
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct msg_pair pairs[] = {{"a", "y"}, cases[i].second};

		assert_int_equal(run_pairs(fx, pairs, 2, 0), cases[i].status);
		assert_text(fx, cases[i].text);
		assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "y"), ERR_NOENT);
	}
	fake_fail_next(fx->objs, -ERR_LIMIT);
	assert_int_equal(run_pairs(fx, (const struct msg_pair[]){{"a", "y"}}, 1, 0), ERR_LIMIT);
	assert_text(fx, "a limit was reached: too much for one commit");
	fake_fail_next(fx->objs, -ERR_NOSPC_META);
	assert_int_equal(run_pairs(fx, (const struct msg_pair[]){{"a", "y"}}, 1, 0), ERR_NOSPC);
	assert_text(fx, "no space left for metadata");
}

/* ---- one write to several -------------------------------------------------------------------- */

/* Begins a WRITE_ALL of bytes of 7; NULL: it is refused, with *err, before its payload is read. */
static struct request *begin_write_all(struct fixture *fx, const struct msg_write_all *m,
				       uint32_t payload_len, int *err)
{
	struct wire_header head = {
	    .op = WIRE_OP_WRITE_ALL, .id = ++fx->next_id, .payload_len = payload_len};
	struct request *req = NULL;
	uint8_t body[1024];
	int n = msg_write_all_encode(body, sizeof(body), m);

	assert_true(n > 0);
	head.body_len = (uint32_t)n;
	assert_int_equal(dispatch_begin(&fx->session, &head, body, &req), 0);
	*err = req->err;
	if (*err == 0)
		return req;
	dispatch_run(req); /* it is answered */
	return NULL;
}

/* Its outcome; -1: it is not answered yet. */
static int run_write_all(struct fixture *fx, const struct msg_write_all *m, uint32_t payload_len)
{
	unsigned int before = fx->replies;
	int err;
	struct request *req = begin_write_all(fx, m, payload_len, &err);

	for (uint32_t v = 0; req && v < req->npayload; v++) {
		for (uint32_t i = 0; i < req->payload[v].npages; i++) {
			struct page *page =
			    pagevecs_page(objects_pages(fx->objs), req->payload, v, i);

			memset(page->data, 7, BLK_BYTES);
		}
	}
	if (req)
		dispatch_run(req);
	return fx->replies == before ? -1 : (int)fx->last.status;
}

static struct msg_write_all write_of(uint32_t a, uint32_t b)
{
	return (struct msg_write_all){
	    .count = 3,
	    .ranges = {{.handle = a, .offset = 10, .len = 5},
		       {.handle = a, .offset = 4000, .len = 200},
		       {.handle = b, .offset = 4090, .len = 1}},
	};
}

static void test_a_write_of_several_is_looked_at_before_its_data(void **state)
{
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	uint32_t b = fixture_open(fx, "b");
	struct msg_write_all m = write_of(a, b);
	struct request *req;
	int err;

	req = begin_write_all(fx, &m, 206, &err);
	assert_non_null(req);
	assert_int_equal(req->npayload, 3);
	assert_int_equal(req->payload_bytes, 3 * BLK_BYTES);
	assert_true(req->payload[1].joined && !req->payload[2].joined);
	session_request_end(req);
	assert_null(begin_write_all(fx, &m, 205, &err));
	assert_int_equal(err, -ERR_PAYLOAD);
	m.ranges[2].handle = 99;
	assert_null(begin_write_all(fx, &m, 206, &err));
	assert_int_equal(err, -ERR_BAD_HANDLE);
	m.ranges[0].handle = b;
	m.ranges[2].handle = b;
	assert_null(begin_write_all(fx, &m, 206, &err));
	assert_int_equal(err, -ERR_SAME_OBJECT);
	m = write_of(a, b);
	m.ranges[1].offset = 14;
	assert_null(begin_write_all(fx, &m, 206, &err));
	assert_int_equal(err, -ERR_RANGES);
	/* nothing is pinned any more */
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = a), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = b), 0);
}

static void test_a_write_of_several_answers_for_each(void **state)
{
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	uint32_t b = fixture_open(fx, "b");
	struct msg_write_all m = write_of(b, a);
	struct msg_generations reply;

	assert_int_equal(run_write_all(fx, &m, 206), 0);
	m = write_of(a, b);
	assert_int_equal(run_write_all(fx, &m, 206), 0);
	m.ranges[2].flags = MSG_IF_GENERATION;
	m.ranges[2].generation = 2;
	assert_int_equal(run_write_all(fx, &m, 206), 0);
	assert_int_equal(msg_generations_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.count, 2);
	assert_int_equal(reply.generations[0], 3);
	assert_int_equal(reply.generations[1], 3);
	assert_int_equal(run_write_all(fx, &m, 206), ERR_CHANGED);
	assert_text(fx, "the object has changed: b is at generation 3");
	m.ranges[0].flags = MSG_IF_GENERATION;
	assert_int_equal(run_write_all(fx, &m, 206), ERR_CHANGED);
	assert_text(fx, "the object has changed: a is at generation 3");
}

static void test_a_refused_write_of_several_says_why(void **state)
{
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	struct msg_write_all m = write_of(a, 0);
	struct msg_open_reply reader;

	assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "b", .flags = MSG_OPEN_READONLY),
			 0);
	assert_int_equal(msg_open_reply_decode(fx->body, fx->body_len, &reader), 0);
	m.ranges[2].handle = reader.handle;
	assert_int_equal(run_write_all(fx, &m, 206), ERR_PERM);
	assert_text(fx, "not allowed: b");
	m.ranges[2].handle = fixture_open(fx, "b");
	fake_fail_next(fx->objs, -ERR_LIMIT);
	assert_int_equal(run_write_all(fx, &m, 206), ERR_LIMIT);
	assert_text(fx, "a limit was reached: so many are tied to each other");
	fake_fail_next(fx->objs, -ERR_NOSPC);
	assert_int_equal(run_write_all(fx, &m, 206), ERR_NOSPC);
	assert_text(fx, "no space left in the store");
}

static void test_a_close_waits_for_a_write_of_several(void **state)
{
	struct fixture *fx = *state;
	uint32_t a = fixture_open(fx, "a");
	uint32_t b = fixture_open(fx, "b");
	struct msg_write_all m = write_of(a, b);
	unsigned int before;

	fake_hold(fx->objs, true);
	assert_int_equal(run_write_all(fx, &m, 206), -1);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = b), -1);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = a), -1);
	before = fx->replies;
	fake_hold(fx->objs, false);
	assert_int_equal(fx->replies, before + 3);
	assert_int_equal(run_write_all(fx, &m, 206), ERR_INVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_handles_are_looked_up),
	    TEST(test_a_close_waits_for_an_fsync_of_several),
	    TEST(test_pairs_are_made),
	    TEST(test_the_text_says_which_pair),
	    TEST(test_a_write_of_several_is_looked_at_before_its_data),
	    TEST(test_a_write_of_several_answers_for_each),
	    TEST(test_a_refused_write_of_several_says_why),
	    TEST(test_a_close_waits_for_a_write_of_several),
	};

	return cmocka_run_group_tests_name("dispatch group", tests, NULL, NULL);
}
