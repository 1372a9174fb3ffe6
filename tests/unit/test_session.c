/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_session.c: sessions and the table of operations without a socket, with the engine of
 * tests/lib/fake_object.c: states, handles, refusals and their texts; and the gates that
 * connections wait at.  test_dispatch.c has the operations on names and on the store.
 */
#include "server/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "server/dispatch.h"
#include "server/gate.h"
#include "tests/lib/fake_object.h"
#include "tests/unit/session_fixture.h"

/* ---- states ---------------------------------------------------------------------------------- */

static void test_before_hello_nothing_else_is_allowed(void **state)
{
	struct fixture *fx = *state;
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST};

	for (uint16_t op = 0; op < 40; op++) {
		h.op = op;
		assert_int_equal(dispatch_check(&fx->session, &h),
				 op == WIRE_OP_HELLO ? 0 : -ERR_FRAME_STATE);
	}
	fixture_ready(fx);
	for (uint16_t op = 0; op < 40; op++) {
		h.op = op;
		assert_int_equal(dispatch_check(&fx->session, &h),
				 op == WIRE_OP_HELLO ? -ERR_FRAME_STATE : 0);
	}
}

static void test_only_a_write_may_have_a_payload(void **state)
{
	struct fixture *fx = *state;
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST, .payload_len = 1};

	fixture_ready(fx);
	for (uint16_t op = WIRE_OP_PING; op < WIRE_OP_END; op++) {
		h.op = op;
		assert_int_equal(dispatch_check(&fx->session, &h), op == WIRE_OP_WRITE ||
									   op == WIRE_OP_WRITEV ||
									   op == WIRE_OP_WRITE_ALL
								       ? 0
								       : -ERR_FRAME_LEN);
	}
}

static void test_who_is_refused_is_told_at_hello(void **state)
{
	struct fixture *fx = *state;
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST, .op = WIRE_OP_PING, .id = 9};

	memcpy(fx->session.refusal, "uid 7 may not", sizeof("uid 7 may not"));
	assert_int_equal(dispatch_check(&fx->session, &h), -ERR_FRAME_STATE);
	assert_int_equal(RUN(fx, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1),
			 ERR_PERM);
	assert_text(fx, "not allowed: uid 7 may not");
	assert_int_equal(fx->session.state, SESSION_OVER);
	assert_int_equal(dispatch_check(&fx->session, &h), -ERR_FRAME_STATE);
	h.op = WIRE_OP_HELLO;
	assert_int_equal(dispatch_check(&fx->session, &h), -ERR_FRAME_STATE);
	h.op = 999;
	assert_int_equal(dispatch_check(&fx->session, &h), -ERR_FRAME_STATE);
}

static void test_an_id_is_free_again_after_its_reply(void **state)
{
	struct fixture *fx = *state;
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST, .op = WIRE_OP_PING};
	uint32_t handle;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	handle = fixture_open(fx, "a");
	fake_hold(fx->objs, true);
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC, msg_handle, .handle = handle), -1);
	h.id = fx->next_id;
	assert_int_equal(dispatch_check(&fx->session, &h), -ERR_FRAME_ID);
	fake_hold(fx->objs, false);
	assert_int_equal(dispatch_check(&fx->session, &h), 0);
}

static void test_a_request_that_is_given_up_leaves_nothing(void **state)
{
	struct fixture *fx = *state;
	struct msg_write m = {.offset = 5};
	struct wire_header h = {.op = WIRE_OP_WRITE, .id = 999, .payload_len = 100000};
	struct request *req = NULL;
	uint8_t body[32];
	int n;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	m.handle = fixture_open(fx, "a");
	n = msg_write_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	h.body_len = (uint32_t)n;
	assert_int_equal(dispatch_begin(&fx->session, &h, body, &req), 0);
	assert_int_equal(req->err, 0);
	assert_int_equal(req->npayload, 1);
	assert_int_equal(req->payload->head, 5);
	assert_int_equal(req->payload->len, 100000);
	session_request_end(req);
	assert_int_equal(fx->session.nrequests, 0);
	/* the handle is not pinned any more */
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = m.handle), 0);
	assert_int_equal(fake_open_handles(fx->objs), 0);
}

/* ---- handles --------------------------------------------------------------------------------- */

static void test_close_waits_for_the_requests_before_it(void **state)
{
	struct fixture *fx = *state;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 9), 0);
	h = fixture_open(fx, "a");
	fake_hold(fx->objs, true);
	assert_int_equal(RUN(fx, WIRE_OP_READ, msg_read, .handle = h, .len = 9), -1);
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC, msg_handle, .handle = h), -1);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = h), -1);
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC, msg_handle, .handle = h), ERR_INVAL);
	assert_text(fx, "no such handle: FSYNC");
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = h), ERR_INVAL);
	assert_int_equal(fake_open_handles(fx->objs), 1);
	fake_hold(fx->objs, false);
	assert_int_equal(fx->last.op, WIRE_OP_CLOSE);
	assert_int_equal(fx->last.status, 0);
	assert_int_equal(fx->session.nrequests, 0);
	assert_int_equal(fake_open_handles(fx->objs), 0);
}

static void test_close_tells_a_writeback_error(void **state)
{
	struct fixture *fx = *state;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	h = fixture_open(fx, "a");
	fake_set_close_err(fx->objs, -ERR_WRITEBACK);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = h), ERR_IO);
	assert_text(fx, "writeback failed: a");
	assert_int_equal(fake_open_handles(fx->objs), 0);
	fake_set_close_err(fx->objs, 0);
}

static void test_handles_are_limited_and_not_reused_at_once(void **state)
{
	struct fixture *fx = *state;
	uint32_t h = 0;
	uint32_t first;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	first = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = first), 0);
	assert_int_not_equal(fixture_open(fx, "a"), first);
	for (uint32_t i = 1; i < SESSION_HANDLES_MAX; i++)
		h = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "a"), ERR_LIMIT);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = h), 0);
	assert_int_equal(fixture_open(fx, "a"), h);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = 0), ERR_INVAL);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = UINT32_MAX), ERR_INVAL);
}

static void test_a_failed_open_leaves_no_handle(void **state)
{
	struct fixture *fx = *state;

	fixture_ready(fx);
	for (uint32_t i = 0; i < SESSION_HANDLES_MAX + 5; i++)
		assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "gone"), ERR_NOENT);
	assert_text(fx, "no such object: gone");
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void test_errors_name_what_they_are_about(void **state)
{
	struct fixture *fx = *state;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), ERR_EXIST);
	assert_text(fx, "the name exists already: a");
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "b", .dst = "c"), ERR_NOENT);
	assert_text(fx, "no such object: b");
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a", .dst = "a"), ERR_EXIST);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a", .dst = "none@1"), ERR_NOENT);
	assert_text(fx, "no such object to be a version of: none");
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "x\x1b[31m"), ERR_INVAL);
	assert_text(fx, "invalid object name: x\\x1b[31m has a control character in it");
	fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a"), ERR_BUSY);
	assert_text(fx, "in use: a is held open by pid 1 uid 2 (tester\\x01)");
}

static void test_the_longest_texts_are_bounded(void **state)
{
	struct fixture *fx = *state;
	struct msg_name m;
	uint8_t body[512];
	struct msg_error msg;

	fixture_ready(fx);
	memset(m.name, 1, sizeof(m.name) - 1); /* each is escaped as four bytes */
	m.name[sizeof(m.name) - 1] = '\0';
	assert_int_equal(
	    fixture_run(fx, WIRE_OP_INFO, body, msg_name_encode(body, sizeof(body), &m)),
	    ERR_NOENT);
	assert_int_equal(msg_error_decode(fx->body, fx->body_len, &msg), 0);
	assert_true(strlen(msg.text) > 400);
	for (const char *p = msg.text; *p; p++)
		assert_true(*p >= 0x20);
}

static void test_escape_cuts_between_characters(void **state)
{
	char buf[8];

	(void)state;
	assert_string_equal(session_escape(buf, sizeof(buf), "abc"), "abc");
	assert_string_equal(session_escape(buf, sizeof(buf), "abcdefghij"), "abcdefg");
	assert_string_equal(session_escape(buf, sizeof(buf), "abcdef\xc3\xb6"), "abcdef");
	assert_string_equal(session_escape(buf, sizeof(buf), "abcde\xc3\xb6"), "abcde\xc3\xb6");
	assert_string_equal(session_escape(buf, sizeof(buf), "ab\xff"), "ab\\xff");
	assert_string_equal(session_escape(buf, sizeof(buf), "abcd\n"), "abcd");
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_a_list_fills_its_body_and_goes_on(void **state)
{
	struct fixture *fx = *state;
	static struct msg_info infos[MSG_LIST_MAX];
	struct msg_list m = {.max = 0};
	struct msg_create c = {.size_bytes = 0};
	uint8_t body[1024];
	uint32_t seen = 0;
	uint32_t count;
	bool more = true;

	fixture_ready(fx);
	memset(c.name, 'n', 180);
	for (int i = 0; i < 600; i++) {
		snprintf(c.name + 180, 16, "%05d", i);
		assert_int_equal(fixture_run(fx, WIRE_OP_CREATE, body,
					     msg_create_encode(body, sizeof(body), &c)),
				 0);
	}
	for (unsigned int pages = 0; more; pages++) {
		assert_true(pages < 10);
		assert_int_equal(
		    fixture_run(fx, WIRE_OP_LIST, body, msg_list_encode(body, sizeof(body), &m)),
		    0);
		assert_int_equal(msg_list_reply_decode(fx->body, fx->body_len, infos, MSG_LIST_MAX,
						       &count, &more),
				 0);
		assert_true(count > 0);
		assert_true(count < 600);
		for (uint32_t i = 0; i < count; i++, seen++)
			assert_int_equal(strtol(infos[i].name + 180, NULL, 10), seen);
		memcpy(m.after, infos[count - 1].name, sizeof(m.after));
	}
	assert_int_equal(seen, 600);
}

static void test_differences(void **state)
{
	struct fixture *fx = *state;
	struct msg_diff_reply m;
	struct msg_diff_run ext[4];
	struct msg_info info;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 5000), 0);
	assert_int_equal(msg_info_decode(fx->body, fx->body_len, &info), 0);
	h = fixture_open(fx, "a");
	assert_int_equal(
	    RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h, .offset = 1000, .len = UINT64_MAX), 0);
	assert_int_equal(msg_diff_reply_decode(fx->body, fx->body_len, &m, ext, 4), 0);
	assert_int_equal(m.count, 1);
	assert_int_equal(m.nodes, 7);
	assert_int_equal(m.size_bytes, 5000);
	assert_int_equal(m.older_bytes, 0);
	assert_int_equal(ext[0].len, 4000);
	assert_int_equal(ext[0].kind, MSG_DIFF_DATA);
	assert_int_equal(
	    RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h, .older = info.id, .len = 4096), 0);
	assert_int_equal(msg_diff_reply_decode(fx->body, fx->body_len, &m, ext, 4), 0);
	assert_int_equal(ext[0].len, 4096);
	assert_int_equal(ext[0].kind, MSG_DIFF_SAME);
	assert_int_equal(
	    RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h, .offset = UINT64_MAX, .len = UINT64_MAX),
	    0);
	assert_int_equal(msg_diff_reply_decode(fx->body, fx->body_len, &m, ext, 4), 0);
	assert_int_equal(m.count, 0);
	fake_fail_next(fx->objs, -ERR_NOENT);
	assert_int_equal(RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h, .older = 99, .len = 1),
			 ERR_NOENT);
	fake_fail_next(fx->objs, -ERR_WRITEBACK);
	assert_int_equal(RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h, .len = 1), ERR_IO);
	assert_int_equal(RUN(fx, WIRE_OP_DIFF, msg_diff, .handle = h + 1, .len = 1), ERR_INVAL);
}

static void test_extents_and_space(void **state)
{
	struct fixture *fx = *state;
	struct msg_extent ext[4];
	struct msg_statfs_reply st;
	uint32_t count;
	uint32_t h;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 5000), 0);
	h = fixture_open(fx, "a");
	assert_int_equal(
	    RUN(fx, WIRE_OP_EXTENTS, msg_extents, .handle = h, .offset = 1000, .len = UINT64_MAX),
	    0);
	assert_int_equal(msg_extents_reply_decode(fx->body, fx->body_len, ext, 4, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ext[0].len, 4000);
	assert_int_equal(ext[0].kind, MSG_EXTENT_DATA);
	assert_int_equal(ext[0].flags, 0);
	assert_int_equal(ext[0].physical, 0);
	assert_int_equal(RUN(fx, WIRE_OP_EXTENTS, msg_extents, .handle = h,
			     .flags = MSG_EXTENTS_DETAILS, .offset = 1000, .len = 100),
			 0);
	assert_int_equal(msg_extents_reply_decode(fx->body, fx->body_len, ext, 4, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(ext[0].len, 97);
	assert_int_equal(ext[0].flags, MSG_EXTENT_SHARED);
	assert_int_equal(ext[0].physical, 9192);
	assert_int_equal(ext[1].kind, MSG_EXTENT_ZERO);
	assert_int_equal(ext[1].flags, MSG_EXTENT_DIRTY);
	assert_int_equal(ext[2].kind, MSG_EXTENT_DATA);
	assert_int_equal(ext[2].flags, MSG_EXTENT_DIRTY);
	assert_int_equal(RUN(fx, WIRE_OP_EXTENTS, msg_extents, .handle = h, .offset = UINT64_MAX,
			     .len = UINT64_MAX),
			 0);
	assert_int_equal(msg_extents_reply_decode(fx->body, fx->body_len, ext, 4, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(RUN(fx, WIRE_OP_EXTENTS, msg_extents, .handle = h, .len = 0), 0);
	assert_int_equal(fixture_run(fx, WIRE_OP_STATFS, NULL, 0), 0);
	assert_int_equal(msg_statfs_reply_decode(fx->body, fx->body_len, &st), 0);
	assert_int_equal(st.total_bytes, 1000 * BLK_BYTES);
	assert_int_equal(st.free_bytes, 900 * BLK_BYTES);
	assert_int_equal(st.reserved_bytes, 7 * BLK_BYTES);
	assert_int_equal(st.objects, 1);
	assert_int_equal(st.versions, 14);
	assert_int_equal(st.reaping_bytes, 15 * BLK_BYTES);
	assert_int_equal(st.staged_bytes, 11);
	assert_int_equal(st.journal_bytes, 12);
	assert_int_equal(st.journal_used_bytes, 13);
}

static void test_the_server_tells_where_it_listens(void **state)
{
	struct fixture *fx = *state;
	struct msg_server_reply reply;
	char path[MSG_ADDR_BYTES + 8];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	fixture_ready(fx);
	fx->host.incarnation = 7;
	fx->host.started_ms = clock_now_ms();
	fx->host.nbd_tls = MSG_NBD_TLS_REQUIRE;
	assert_int_equal(fixture_run(fx, WIRE_OP_SERVER, NULL, 0), 0);
	assert_int_equal(msg_server_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.count, 0);
	fx->host.naddrs = MSG_ADDRS_MAX;
	for (unsigned int i = 0; i < MSG_ADDRS_MAX; i++)
		fx->host.addrs[i] = (struct session_addr){.text = path};
	fx->host.addrs[0].text = "unix:/run/x";
	fx->host.addrs[1] = (struct session_addr){.text = "tcp:[::]:10809", .nbd = true};
	assert_int_equal(fixture_run(fx, WIRE_OP_SERVER, NULL, 0), 0);
	assert_int_equal(msg_server_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.incarnation, 7);
	assert_in_range(reply.uptime_ms, 0, 600000);
	assert_int_equal(reply.nbd_tls, MSG_NBD_TLS_REQUIRE);
	assert_string_equal(reply.agent, "cowd/test");
	assert_int_equal(reply.count, MSG_ADDRS_MAX);
	assert_string_equal(reply.addrs[0].text, "unix:/run/x");
	assert_string_equal(reply.addrs[1].text, "nbd+tcp:[::]:10809");
	assert_int_equal(strlen(reply.addrs[31].text), MSG_ADDR_BYTES - 1); /* cut */
	assert_int_equal(fixture_run(fx, WIRE_OP_SERVER, (const uint8_t *)"x", 1), ERR_INVAL);
}

/* ---- gates ----------------------------------------------------------------------------------- */

struct waiter {
	struct gate_waiter w; /* first: wake() gets a pointer to it */
	unsigned int woken;
};

static void count_wake(struct gate_waiter *w)
{
	((struct waiter *)w)->woken++;
}

static void test_a_gate_lets_nobody_pass_who_comes_later(void **state)
{
	struct gate gate;
	struct waiter big = {.w.wake = count_wake};
	struct waiter small = {.w.wake = count_wake};

	(void)state;
	gate_init(&gate, 100);
	gate.used_bytes = 50;
	assert_false(gate_pass(&gate, &big.w, 80, false));
	assert_false(gate_pass(&gate, &small.w, 1, false));
	gate.used_bytes = 20;
	gate_wake(&gate);
	assert_int_equal(big.woken, 1);
	assert_int_equal(small.woken, 0);
	assert_false(gate_pass(&gate, &small.w, 1, false));
	assert_true(gate_pass(&gate, &big.w, 80, false));
	gate.used_bytes += 80;
	assert_int_equal(small.woken, 1); /* its turn now, though there is no room yet */
	assert_false(gate_pass(&gate, &small.w, 1, false));
	gate_leave(&small.w);
	assert_false(gate_has_waiters(&gate));
}

static void test_a_gate_passes_the_too_large_alone_and_nobody_when_shut(void **state)
{
	struct gate gate;
	struct waiter w = {.w.wake = count_wake};

	(void)state;
	gate_init(&gate, 100);
	assert_true(gate_pass(&gate, &w.w, 1000, false));
	gate.used_bytes = 1;
	assert_false(gate_pass(&gate, &w.w, 1000, false));
	gate.used_bytes = 0;
	assert_false(gate_pass(&gate, &w.w, 1, true));
	gate_wake_all(&gate);
	assert_int_equal(w.woken, 1);
	assert_true(gate_pass(&gate, &w.w, 1, false));
	assert_false(gate_has_waiters(&gate));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

static void test_errors_of_a_handle_say_what_the_object_is_called_now(void **state)
{
	struct fixture *fx = *state;
	uint32_t handle;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	handle = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "a", .to = "b"), 0);
	fake_fail_next(fx->objs, -ERR_WRITEBACK);
	assert_int_equal(RUN(fx, WIRE_OP_FSYNC, msg_handle, .handle = handle), ERR_IO);
	assert_text(fx, "writeback failed: b");
	fake_fail_next(fx->objs, -ERR_CSUM);
	assert_int_equal(RUN(fx, WIRE_OP_READ, msg_read, .handle = handle, .len = 1), ERR_CORRUPT);
	assert_text(fx, "block checksum mismatch: b");
	fake_set_close_err(fx->objs, -ERR_WRITEBACK);
	assert_int_equal(RUN(fx, WIRE_OP_CLOSE, msg_handle, .handle = handle), ERR_IO);
	assert_text(fx, "writeback failed: b");
	fake_set_close_err(fx->objs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_before_hello_nothing_else_is_allowed),
	    TEST(test_only_a_write_may_have_a_payload),
	    TEST(test_who_is_refused_is_told_at_hello),
	    TEST(test_an_id_is_free_again_after_its_reply),
	    TEST(test_a_request_that_is_given_up_leaves_nothing),
	    TEST(test_close_waits_for_the_requests_before_it),
	    TEST(test_close_tells_a_writeback_error),
	    TEST(test_handles_are_limited_and_not_reused_at_once),
	    TEST(test_a_failed_open_leaves_no_handle),
	    TEST(test_errors_name_what_they_are_about),
	    TEST(test_errors_of_a_handle_say_what_the_object_is_called_now),
	    TEST(test_the_longest_texts_are_bounded),
	    TEST(test_escape_cuts_between_characters),
	    TEST(test_a_list_fills_its_body_and_goes_on),
	    TEST(test_differences),
	    TEST(test_extents_and_space),
	    TEST(test_the_server_tells_where_it_listens),
	    cmocka_unit_test(test_a_gate_lets_nobody_pass_who_comes_later),
	    cmocka_unit_test(test_a_gate_passes_the_too_large_alone_and_nobody_when_shut),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
