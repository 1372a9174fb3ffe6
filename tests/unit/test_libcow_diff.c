/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: where objects differ. */
#include "tests/unit/libcow_fixture.h"

#include <stdbool.h>
#include <string.h>

static uint64_t id_of(cow_t *cow, const char *spec)
{
	struct cow_info info;
	uint64_t id;

	assert_int_equal(cow_get_info(cow, spec, &info), 0);
	id = info.id;
	cow_info_clear(&info);
	return id;
}

/* "b", a clone of "a", which has 6 blocks of data. */
static int setup(void **state)
{
	struct fixture *fx = fixture_start(state);

	fake_store_add(fx->st, "a", 6 * BLOCK);
	fake_store_fill(fx->st, "a", 6);
	assert_int_equal(cow_clone(fx->cow, "a", "b"), 0);
	fixture_open(fx, "b");
	return 0;
}

static void test_diff_has_all_three_kinds(void **state)
{
	struct fixture *fx = *state;
	struct cow_extent ext[8];
	struct cow_diff diff;

	assert_int_equal(cow_pwrite(fx->obj, "x", 1, 2 * BLOCK), 1);
	assert_int_equal(cow_zero(fx->obj, 4 * BLOCK, BLOCK), 0);
	assert_int_equal(cow_diff(fx->obj, id_of(fx->cow, "a"), 100, UINT64_MAX, ext, 8, &diff), 5);
	assert_int_equal(ext[0].offset, 100);
	assert_int_equal(ext[0].len, 2 * BLOCK - 100);
	assert_int_equal(ext[0].kind, COW_EXTENT_SAME);
	assert_int_equal(ext[1].offset, 2 * BLOCK);
	assert_int_equal(ext[1].len, BLOCK);
	assert_int_equal(ext[1].kind, COW_EXTENT_DATA);
	assert_int_equal(ext[2].kind, COW_EXTENT_SAME);
	assert_int_equal(ext[3].offset, 4 * BLOCK);
	assert_int_equal(ext[3].kind, COW_EXTENT_HOLE);
	assert_int_equal(ext[4].offset + ext[4].len, 6 * BLOCK);
	assert_int_equal(diff.size, 6 * BLOCK);
	assert_int_equal(diff.older_size, 6 * BLOCK);
	assert_int_equal(diff.nodes, 3);
}

static void test_diff_to_nothing_and_to_itself(void **state)
{
	struct fixture *fx = *state;
	struct cow_extent ext[8];
	struct cow_diff diff;

	assert_int_equal(cow_diff(fx->obj, 0, 0, UINT64_MAX, ext, 8, &diff), 1);
	assert_int_equal(ext[0].kind, COW_EXTENT_DATA);
	assert_int_equal(diff.older_size, 0);
	assert_int_equal(cow_diff(fx->obj, id_of(fx->cow, "b"), 0, UINT64_MAX, ext, 8, NULL), 1);
	assert_int_equal(ext[0].kind, COW_EXTENT_SAME);
	assert_int_equal(
	    cow_diff(fx->obj, id_of(fx->cow, "a"), 6 * BLOCK, UINT64_MAX, ext, 8, NULL), 0);
}

static void test_diff_in_pieces(void **state)
{
	struct fixture *fx = *state;
	struct cow_extent ext[2];
	uint64_t at = 0;
	unsigned int calls = 0;

	for (uint64_t blk = 0; blk < 6; blk += 2)
		assert_int_equal(cow_pwrite(fx->obj, "x", 1, blk * BLOCK), 1);
	while (at < 6 * BLOCK) {
		ssize_t n = cow_diff(fx->obj, id_of(fx->cow, "a"), at, UINT64_MAX, ext, 2, NULL);

		assert_int_equal(n, 2);
		assert_int_equal(ext[0].offset, at);
		at = ext[1].offset + ext[1].len;
		calls++;
	}
	assert_int_equal(calls, 3);
}

static void test_diff_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct cow_extent ext;

	assert_int_equal(cow_diff(fx->obj, 999, 0, 1, &ext, 1, NULL), -COW_ENOENT);
	assert_int_equal(cow_diff(fx->obj, id_of(fx->cow, "a"), 0, 1, &ext, 0, NULL), -COW_EINVAL);
	assert_string_equal(cow_error(fx->cow), "no room for any extent");
}

/* More than was asked for, and then nothing more. */
static void serve_too_much(struct fake_conn *conn)
{
	static const struct msg_diff_run ext = {4097, MSG_DIFF_SAME};
	struct msg_diff_reply reply = {.count = 1};
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a"}};
	struct fake_frame f;
	uint8_t body[512];
	int n;

	if (!fake_hello(conn, NULL))
		return;
	while (fake_recv(conn, &f)) {
		if (f.h.op == WIRE_OP_OPEN)
			n = msg_open_reply_encode(body, sizeof(body), &open);
		else
			n = msg_diff_reply_encode(body, sizeof(body), &reply, &ext);
		fake_reply(conn, &f, 0, body, (size_t)n, NULL, 0);
	}
}

static void test_diff_out_of_range_is_the_servers_fault(void **state)
{
	struct fake_server server;
	struct cow_extent extent;
	cow_t *cow = cow_new();
	cow_object_t *obj;

	(void)state;
	fake_server_start(&server, false, serve_too_much, NULL);
	assert_int_equal(cow_connect(cow, server.uri), 0);
	assert_int_equal(cow_open(cow, "a", COW_OPEN_READONLY, &obj), 0);
	assert_int_equal(cow_diff(obj, 0, 0, 4097, &extent, 1, NULL), 1);
	assert_int_equal(cow_diff(obj, 0, 0, 4096, &extent, 1, NULL), -COW_EPROTO);
	assert_true(cow_close(obj) < 0); /* answered with a diff */
	cow_free(cow);
	fake_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_diff_has_all_three_kinds),
	    TEST(test_diff_to_nothing_and_to_itself),
	    TEST(test_diff_in_pieces),
	    TEST(test_diff_is_refused),
	    cmocka_unit_test(test_diff_out_of_range_is_the_servers_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
