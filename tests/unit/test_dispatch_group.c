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
	     "invalid argument: a@v cannot be made of b: a version is of its own object, and does "
	     "not expire"},
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_handles_are_looked_up),
	    TEST(test_a_close_waits_for_an_fsync_of_several),
	    TEST(test_pairs_are_made),
	    TEST(test_the_text_says_which_pair),
	};

	return cmocka_run_group_tests_name("dispatch group", tests, NULL, NULL);
}
