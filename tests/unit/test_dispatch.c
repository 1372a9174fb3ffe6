/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dispatch.c: the operations on names and on the store, without a socket, with the engine of
 * tests/lib/fake_object.c: what of a request reaches the engine, what of its answer the client, and
 * the texts of what is refused.
 */
#include "server/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/name.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "tests/lib/fake_object.h"
#include "tests/unit/session_fixture.h"

#define LABELS(text)                               \
	{                                          \
		.len = sizeof(text), .bytes = text \
	}

/* The info that the last reply is. */
static struct msg_info info_of(struct fixture *fx)
{
	struct msg_info info;

	assert_int_equal(fx->last.status, 0);
	assert_int_equal(msg_info_decode(fx->body, fx->body_len, &info), 0);
	return info;
}

/* Makes "a" with the versions "a@1" to "a@N". */
static void make_versions(struct fixture *fx, unsigned int n)
{
	struct msg_snap m = {.labels.len = 0};
	uint8_t body[512];

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 8192), 0);
	for (unsigned int i = 1; i <= n; i++) {
		snprintf(m.name, sizeof(m.name), "a@%u", i);
		assert_int_equal(
		    fixture_run(fx, WIRE_OP_SNAP, body, msg_snap_encode(body, sizeof(body), &m)),
		    0);
	}
}

/* The names of the list that the last reply is, each with a blank behind it. */
static const char *list_of(struct fixture *fx, bool *more)
{
	static struct msg_info infos[MSG_LIST_MAX];
	static char names[1024];
	uint32_t count;
	size_t len = 0;

	assert_int_equal(fx->last.status, 0);
	assert_int_equal(
	    msg_list_reply_decode(fx->body, fx->body_len, infos, MSG_LIST_MAX, &count, more), 0);
	names[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s ", infos[i].name);
	assert_true(len < sizeof(names));
	return names;
}

static void assert_list(struct fixture *fx, const char *names, bool more)
{
	bool got;

	assert_string_equal(list_of(fx, &got), names);
	assert_int_equal(got, more);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void test_a_create_answers_with_what_it_made(void **state)
{
	struct fixture *fx = *state;
	struct msg_info info;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 8192,
			     .ttl_ms = 5000, .labels = LABELS("os=debian\0tier=1")),
			 0);
	info = info_of(fx);
	assert_string_equal(info.name, "a");
	assert_int_equal(info.size_bytes, 8192);
	assert_int_equal(info.expires_ns, UINT64_C(5000000000));
	assert_int_equal(info.parent, 0);
	assert_int_equal(info.labels.len, sizeof("os=debian\0tier=1"));
	assert_memory_equal(info.labels.bytes, "os=debian\0tier=1", info.labels.len);
}

static void test_a_clone_gets_its_own_labels_and_time(void **state)
{
	struct fixture *fx = *state;
	struct msg_info info;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .size_bytes = 8192,
			     .labels = LABELS("os=debian")),
			 0);
	info = info_of(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a", .dst = "b", .ttl_ms = 7,
			     .labels = LABELS("by=me")),
			 0);
	assert_int_equal(info_of(fx).origin, info.id);
	info = info_of(fx);
	assert_string_equal(info.name, "b");
	assert_int_equal(info.expires_ns, 7000000);
	assert_int_equal(info.labels.len, 6);
	assert_string_equal(info.labels.bytes, "by=me");
}

static void test_a_version_is_made_and_counted(void **state)
{
	struct fixture *fx = *state;
	struct msg_info info;
	uint64_t parent;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a"), 0);
	parent = info_of(fx).id;
	assert_int_equal(
	    RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "a@v", .ttl_ms = 7, .labels = LABELS("k=v")),
	    0);
	info = info_of(fx);
	assert_string_equal(info.name, "a@v");
	assert_int_equal(info.parent, parent);
	assert_int_equal(info.expires_ns, 7000000);
	assert_string_equal(info.labels.bytes, "k=v");
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a"), 0);
	assert_int_equal(info_of(fx).nversions, 2);
}

static void test_what_cannot_be_made_a_version_is_named(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "a@1"), ERR_EXIST);
	assert_text(fx, "the name exists already: a@1");
	assert_int_equal(RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "gone@1"), ERR_NOENT);
	assert_text(fx, "no such object: gone");
	assert_int_equal(RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "a"), ERR_INVAL);
	assert_text(fx, "invalid argument: a is no version, as \"object@version\" is");
	assert_int_equal(RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "a@"), ERR_INVAL);
	assert_text(fx, "invalid object name: a@ has an empty version");
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "b@1"), ERR_INVAL);
	assert_text(fx, "invalid object name: b@1 has '@', '%' or '?' in it");
}

static void test_bad_labels_reach_nobody(void **state)
{
	struct fixture *fx = *state;

	fixture_ready(fx);
	assert_int_equal(
	    RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a", .labels = LABELS("b=1\0a=1")),
	    ERR_INVAL);
	assert_text(fx, "invalid argument: the labels are not in the order of their keys, or have "
			"one twice");
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a"), ERR_NOENT);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	assert_int_equal(
	    RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a", .dst = "b", .labels = LABELS("k")),
	    ERR_INVAL);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "b"), ERR_NOENT);
	assert_int_equal(RUN(fx, WIRE_OP_SNAP, msg_snap, .name = "a@1", .labels = LABELS("k\x01=")),
			 ERR_INVAL);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a@1"), ERR_NOENT);
}

/* As many bytes as an info can have: the names' and the labels' bounds together. */
static void test_the_largest_info_fits_every_reply(void **state)
{
	struct fixture *fx = *state;
	struct msg_create c = {.size_bytes = 0};
	struct msg_snap s = {.labels.len = LABELS_MAX_BYTES};
	struct msg_open o = {.flags = MSG_OPEN_READONLY};
	struct msg_open_reply opened;
	uint8_t body[2048];
	size_t len = 0;
	bool more;

	fixture_ready(fx);
	memset(c.name, 'n', NAME_OBJECT_MAX);
	memset(s.name, 'n', NAME_MAX_BYTES);
	s.name[NAME_OBJECT_MAX] = '@';
	while (len < LABELS_MAX_BYTES)
		len += 1 + (size_t)snprintf(s.labels.bytes + len, 17, "key-%03zu=%.*s", len / 16, 7,
					    "valuevalue");
	memcpy(o.name, s.name, sizeof(o.name));
	assert_int_equal(
	    fixture_run(fx, WIRE_OP_CREATE, body, msg_create_encode(body, sizeof(body), &c)), 0);
	assert_int_equal(
	    fixture_run(fx, WIRE_OP_SNAP, body, msg_snap_encode(body, sizeof(body), &s)), 0);
	assert_int_equal(fx->body_len, 2 + 255 + 96 + 2 + 1024);
	assert_memory_equal(info_of(fx).labels.bytes, s.labels.bytes, LABELS_MAX_BYTES);
	assert_int_equal(
	    fixture_run(fx, WIRE_OP_OPEN, body, msg_open_encode(body, sizeof(body), &o)), 0);
	assert_int_equal(msg_open_reply_decode(fx->body, fx->body_len, &opened), 0);
	assert_memory_equal(opened.info.labels.bytes, s.labels.bytes, LABELS_MAX_BYTES);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .max = 0), 0);
	assert_int_equal(strlen(list_of(fx, &more)), NAME_OBJECT_MAX + 1);
}

/* ---- changing -------------------------------------------------------------------------------- */

static void test_a_rename_moves_and_an_exchange_swaps(void **state)
{
	struct fixture *fx = *state;
	uint64_t a;

	fixture_ready(fx);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a"), 0);
	a = info_of(fx).id;
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "b"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "a", .to = "c"), 0);
	assert_int_equal(fx->body_len, 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "c"), 0);
	assert_int_equal(info_of(fx).id, a);
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "b", .to = "c",
			     .flags = MSG_RENAME_EXCHANGE),
			 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "b"), 0);
	assert_int_equal(info_of(fx).id, a);
}

static void test_a_rename_says_which_name_is_wrong(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "b"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "a", .to = "b"), ERR_EXIST);
	assert_text(fx, "the name exists already: b");
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "x", .to = "y"), ERR_NOENT);
	assert_text(fx, "no such object: x");
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "b", .to = "y",
			     .flags = MSG_RENAME_EXCHANGE),
			 ERR_NOENT);
	assert_text(fx, "no such object: b and y, not both are there");
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "b", .to = "a@2"), ERR_INVAL);
	assert_text(fx, "invalid argument: b and a@2 are not two objects or two versions of one");
	assert_int_equal(RUN(fx, WIRE_OP_RENAME, msg_rename, .from = "b", .to = "-b"), ERR_INVAL);
	assert_text(fx, "invalid object name: -b begins with '-', '+', '.' or '/'");
}

static void test_a_reset_answers_with_the_object(void **state)
{
	struct fixture *fx = *state;
	uint32_t h;

	make_versions(fx, 1);
	h = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_RESIZE, msg_resize, .handle = h, .size_bytes = 20000), 0);
	assert_int_equal(RUN(fx, WIRE_OP_RESET, msg_name, .name = "a@1"), 0);
	assert_string_equal(info_of(fx).name, "a");
	assert_int_equal(info_of(fx).size_bytes, 8192);
	assert_int_equal(RUN(fx, WIRE_OP_RESET, msg_name, .name = "a@2"), ERR_NOENT);
	assert_text(fx, "no such object: a@2");
	assert_int_equal(RUN(fx, WIRE_OP_RESET, msg_name, .name = "a"), ERR_INVAL);
	assert_text(fx, "invalid argument: a is no version, as \"object@version\" is");
}

static void test_a_set_reaches_the_object(void **state)
{
	struct fixture *fx = *state;
	struct msg_info info;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a",
			     .flags = MSG_SET_TTL | MSG_SET_READONLY, .ttl_ms = 3,
			     .edits = LABELS("k=v\0l=w")),
			 0);
	info = info_of(fx);
	assert_string_equal(info.name, "a");
	assert_int_equal(info.expires_ns, 3000000);
	assert_int_equal(info.flags, MSG_INFO_READONLY);
	assert_memory_equal(info.labels.bytes, "k=v\0l=w", 8);
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a", .flags = MSG_SET_WRITABLE), 0);
	info = info_of(fx);
	assert_int_equal(info.expires_ns, 3000000);
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.labels.len, 8);
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a", .flags = MSG_SET_REPLACE,
			     .edits = LABELS("l"), .expect = LABELS("k=v\0m")),
			 0);
	assert_int_equal(info_of(fx).labels.len, 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a@1"), 0);
	assert_int_equal(info_of(fx).flags, MSG_INFO_READONLY); /* as every version */
}

static void test_a_set_that_is_refused_says_why(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "b"), ERR_NOENT);
	assert_text(fx, "no such object: b");
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a", .expect = LABELS("k=v")),
			 ERR_BUSY);
	assert_text(fx, "the labels are not as expected: a");
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a@1", .flags = MSG_SET_READONLY),
			 ERR_PERM);
	assert_text(fx, "not allowed: a@1 is a version, which is always read-only");
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a", .edits = LABELS("b\0a")),
			 ERR_INVAL);
	assert_text(fx, "invalid argument: the labels are not in the order of their keys, or have "
			"one twice");
	assert_int_equal(RUN(fx, WIRE_OP_SET, msg_set, .name = "a", .expect = LABELS("b\x01")),
			 ERR_INVAL);
	assert_text(fx, "invalid argument: the expected labels have a key that is not 1 to 63 of "
			"A-Z a-z 0-9 . _ / -");
	fake_fail_next(fx->objs, -ERR_READONLY);
	assert_int_equal(RUN(fx, WIRE_OP_RESET, msg_name, .name = "a@1"), ERR_PERM);
	assert_text(fx, "the object is read-only: a");
}

static void test_a_zeroing_goes_to_the_object(void **state)
{
	struct fixture *fx = *state;
	uint32_t h;

	make_versions(fx, 1);
	h = fixture_open(fx, "a");
	assert_int_equal(
	    RUN(fx, WIRE_OP_ZERO, msg_zero, .handle = h, .offset = 5, .len = UINT64_MAX), 0);
	assert_int_equal(fx->body_len, 0);
	fake_fail_next(fx->objs, -ERR_IO);
	assert_int_equal(
	    RUN(fx, WIRE_OP_ZERO, msg_zero, .handle = h, .len = 1, .flags = MSG_ZERO_WHOLE),
	    ERR_IO);
}

static void test_a_range_clone_names_two_handles(void **state)
{
	struct fixture *fx = *state;
	struct msg_clone_range_reply reply;
	uint32_t h;

	make_versions(fx, 1);
	h = fixture_open(fx, "a");
	assert_int_equal(RUN(fx, WIRE_OP_CLONE_RANGE, msg_clone_range, .src = h, .dst = h,
			     .dst_offset = 8192, .len = 4096),
			 0);
	assert_int_equal(msg_clone_range_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.len, 4096);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE_RANGE, msg_clone_range, .src = h, .dst = h + 1),
			 ERR_INVAL);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE_RANGE, msg_clone_range, .src = h + 1, .dst = h),
			 ERR_INVAL);
	assert_text(fx, "no such handle");
	fake_fail_next(fx->objs, -ERR_OVERLAP);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE_RANGE, msg_clone_range, .src = h, .dst = h),
			 ERR_INVAL);
	assert_text(fx, "the two ranges overlap: a");
}

/* ---- removing -------------------------------------------------------------------------------- */

static void test_an_object_with_versions_goes_only_with_them(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 3);
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a"), ERR_BUSY);
	assert_text(fx, "the object has versions: a has 3");
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a@2"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a"), ERR_BUSY);
	assert_text(fx, "the object has versions: a has 2");
	assert_int_equal(
	    RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a", .flags = MSG_REMOVE_VERSIONS), 0);
	assert_int_equal(fx->body_len, 0);
	assert_int_equal(RUN(fx, WIRE_OP_INFO, msg_name, .name = "a@1"), ERR_NOENT);
}

static void test_an_object_that_vanishes_while_its_versions_are_counted(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	fake_hold(fx->objs, true);
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a"), -1);
	assert_int_equal(
	    RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a", .flags = MSG_REMOVE_VERSIONS), -1);
	fake_hold(fx->objs, false);
	assert_int_equal(fx->session.nrequests, 0);
	assert_int_equal(fx->last.status, 0);
}

static void test_who_holds_a_version_is_named(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "a@1", .flags = MSG_OPEN_READONLY),
			 0);
	assert_int_equal(RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a@1"), ERR_BUSY);
	assert_text(fx, "in use: a@1 is held open by pid 1 uid 2 (tester\\x01)");
	assert_int_equal(
	    RUN(fx, WIRE_OP_REMOVE, msg_remove, .name = "a", .flags = MSG_REMOVE_VERSIONS),
	    ERR_BUSY);
	assert_text(fx, "in use: a@1 is held open by pid 1 uid 2 (tester\\x01)");
}

static void test_a_version_is_opened_read_only_or_not_at_all(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "a@1"), ERR_PERM);
	assert_text(fx, "not allowed: a@1 is a version, which is read-only");
	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_int_equal(RUN(fx, WIRE_OP_OPEN, msg_open, .name = "a@1", .flags = MSG_OPEN_READONLY),
			 0);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_a_list_is_of_objects_and_by_label(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 2);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "b", .labels = LABELS("k=1")),
			 0);
	assert_int_equal(
	    RUN(fx, WIRE_OP_CREATE, msg_create, .name = "c", .labels = LABELS("k=2\0kk=1")), 0);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .max = 0), 0);
	assert_list(fx, "a b c ", false);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .label = "k"), 0);
	assert_list(fx, "b c ", false);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .label = "k=2"), 0);
	assert_list(fx, "c ", false);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .label = "k", .max = 1), 0);
	assert_list(fx, "b ", true);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .label = "k", .prefix = "c"), 0);
	assert_list(fx, "c ", false);
	assert_int_equal(RUN(fx, WIRE_OP_LIST, msg_list, .label = "k", .after = "c"), 0);
	assert_list(fx, "", false);
}

static void test_versions_go_on_behind_the_last(void **state)
{
	struct fixture *fx = *state;

	make_versions(fx, 3);
	assert_int_equal(RUN(fx, WIRE_OP_CREATE, msg_create, .name = "a2"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_VERSIONS, msg_versions, .name = "a"), 0);
	assert_list(fx, "a@1 a@2 a@3 ", false);
	assert_int_equal(RUN(fx, WIRE_OP_VERSIONS, msg_versions, .name = "a", .max = 2), 0);
	assert_list(fx, "a@1 a@2 ", true);
	assert_int_equal(
	    RUN(fx, WIRE_OP_VERSIONS, msg_versions, .name = "a", .after = "a@2", .max = 2), 0);
	assert_list(fx, "a@3 ", false);
	/* also behind one that is not there */
	assert_int_equal(RUN(fx, WIRE_OP_VERSIONS, msg_versions, .name = "a", .after = "a@11"), 0);
	assert_list(fx, "a@2 a@3 ", false);
	assert_int_equal(RUN(fx, WIRE_OP_VERSIONS, msg_versions, .name = "gone"), ERR_NOENT);
	assert_text(fx, "no such object: gone");
}

static void test_versions_behind_another_object_are_refused(void **state)
{
	struct fixture *fx = *state;
	static const char *const bad[] = {"a2@1", "a", "1", "@1", "b@1"};
	struct msg_versions m = {.name = "a"};
	uint8_t body[600];

	make_versions(fx, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memcpy(m.after, bad[i], strlen(bad[i]) + 1);
		assert_int_equal(fixture_run(fx, WIRE_OP_VERSIONS, body,
					     msg_versions_encode(body, sizeof(body), &m)),
				 ERR_INVAL);
		assert_text(fx, "invalid argument: \"after\" is of another object");
	}
}

static void test_children_go_on_behind_the_last(void **state)
{
	struct fixture *fx = *state;
	static struct msg_info infos[MSG_LIST_MAX];
	uint32_t count;
	bool more;

	make_versions(fx, 1);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a@1", .dst = "z"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a@1", .dst = "y"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CLONE, msg_clone, .src = "a", .dst = "x"), 0);
	assert_int_equal(RUN(fx, WIRE_OP_CHILDREN, msg_children, .name = "a@1"), 0);
	assert_list(fx, "z y ", false);
	assert_int_equal(RUN(fx, WIRE_OP_CHILDREN, msg_children, .name = "a"), 0);
	assert_list(fx, "x ", false);
	assert_int_equal(RUN(fx, WIRE_OP_CHILDREN, msg_children, .name = "a@1", .max = 1), 0);
	assert_list(fx, "z ", true);
	assert_int_equal(
	    msg_list_reply_decode(fx->body, fx->body_len, infos, MSG_LIST_MAX, &count, &more), 0);
	assert_int_equal(
	    RUN(fx, WIRE_OP_CHILDREN, msg_children, .name = "a@1", .after = infos[0].id, .max = 1),
	    0);
	assert_list(fx, "y ", false);
	assert_int_equal(RUN(fx, WIRE_OP_CHILDREN, msg_children, .name = "gone"), ERR_NOENT);
	assert_text(fx, "no such object: gone");
}

/* ---- the store ------------------------------------------------------------------------------- */

static int usage(struct fixture *fx, const char *const *specs, uint32_t n)
{
	uint8_t body[1024];

	return fixture_run(fx, WIRE_OP_USAGE, body, msg_usage_encode(body, sizeof(body), specs, n));
}

static void test_usage_is_of_all_that_are_named(void **state)
{
	struct fixture *fx = *state;
	const char *const specs[] = {"a", "a@1", "gone"};
	struct msg_usage_reply reply;

	make_versions(fx, 1);
	assert_int_equal(usage(fx, specs, 2), 0);
	assert_int_equal(msg_usage_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.mapped_bytes, 16384);
	assert_int_equal(reply.exclusive_bytes, 4096);
	assert_int_equal(usage(fx, specs, 3), ERR_NOENT);
	assert_text(fx, "no such object: one of those named");
	assert_int_equal(usage(fx, specs + 2, 1), ERR_NOENT);
	assert_text(fx, "no such object: gone");
	fake_fail_next(fx->objs, -ERR_LATE);
	assert_int_equal(usage(fx, specs, 1), ERR_BUSY);
	assert_text(fx, "too much was written meanwhile for an exact answer; try again when less is"
			" written");
}

static void test_a_usage_of_nothing_is_malformed(void **state)
{
	struct fixture *fx = *state;
	const uint8_t none[] = {0, 0};

	fixture_ready(fx);
	assert_int_equal(fixture_run(fx, WIRE_OP_USAGE, none, sizeof(none)), ERR_INVAL);
	assert_text(fx, "malformed request: USAGE");
}

static void test_reaping_is_told_in_bytes(void **state)
{
	struct fixture *fx = *state;
	struct msg_reaping_reply reply;

	fixture_ready(fx);
	assert_int_equal(fixture_run(fx, WIRE_OP_REAPING, NULL, 0), 0);
	assert_int_equal(msg_reaping_reply_decode(fx->body, fx->body_len, &reply), 0);
	assert_int_equal(reply.reaping_bytes, 15 * BLK_BYTES);
	fake_fail_next(fx->objs, -ERR_MAP);
	assert_int_equal(fixture_run(fx, WIRE_OP_REAPING, NULL, 0), ERR_IO);
}

static void test_a_check_tells_figures_and_texts(void **state)
{
	struct fixture *fx = *state;
	struct msg_check_reply *reply = calloc(1, sizeof(*reply));
	const char *last;

	assert_non_null(reply);
	fixture_ready(fx);
	assert_int_equal(fixture_run(fx, WIRE_OP_CHECK, NULL, 0), 0);
	assert_int_equal(msg_check_reply_decode(fx->body, fx->body_len, reply), 0);
	assert_int_equal(reply->differences, 100);
	assert_int_equal(reply->objects, 7); /* with versions */
	assert_int_equal(reply->nodes, 2);
	assert_int_equal(reply->mapped_bytes, 3 * BLK_BYTES);
	assert_int_equal(reply->shared_bytes, 4 * BLK_BYTES);
	assert_int_equal(reply->free_bytes, 5 * BLK_BYTES);
	assert_int_equal(reply->ntexts, MSG_CHECK_TEXTS_MAX);
	assert_string_equal(reply->texts[0].text, "node 7: count 2,\\x1b found 3");
	last = reply->texts[MSG_CHECK_TEXTS_MAX - 1].text;
	assert_int_equal(strspn(last, "x"), WIRE_TEXT_MAX - 1);
	free(reply);
	fake_fail_next(fx->objs, -ERR_CHECKING);
	assert_int_equal(fixture_run(fx, WIRE_OP_CHECK, NULL, 0), ERR_BUSY);
	assert_text(fx, "another check is under way");
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A request as dispatch_begin() makes it, with a body that decodes. */
static struct request *begin(struct fixture *fx, uint16_t op)
{
	/* fits each of them: an empty name, and zeros */
	static const uint8_t zeros[32];
	static const struct {
		uint16_t op;
		uint32_t len;
	} bodies[] = {{WIRE_OP_LIST, 10}, {WIRE_OP_VERSIONS, 8}, {WIRE_OP_CHILDREN, 14}};
	struct wire_header h = {.op = op, .id = ++fx->next_id};
	struct request *req = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		if (bodies[i].op == op)
			h.body_len = bodies[i].len;
	assert_int_equal(dispatch_begin(&fx->session, &h, zeros, &req), 0);
	assert_int_equal(req->err, 0);
	return req;
}

static void test_large_replies_are_promised(void **state)
{
	static const uint16_t ops[] = {WIRE_OP_LIST, WIRE_OP_VERSIONS, WIRE_OP_CHILDREN,
				       WIRE_OP_CHECK};
	struct fixture *fx = *state;

	fixture_ready(fx);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		struct request *req = begin(fx, ops[i]);

		assert_int_equal(fx->session.promised_bytes, WIRE_BODY_MAX);
		session_request_end(req);
		assert_int_equal(fx->session.promised_bytes, 0);
	}
}

static void test_a_usage_that_is_given_up_leaves_nothing(void **state)
{
	struct fixture *fx = *state;
	const uint8_t body[] = {1, 0, 1, 0, 'a'};
	struct wire_header h = {.op = WIRE_OP_USAGE, .body_len = sizeof(body)};
	struct request *req = NULL;

	fixture_ready(fx);
	assert_int_equal(dispatch_begin(&fx->session, &h, body, &req), 0);
	assert_int_equal(req->err, 0);
	assert_non_null(req->beside);
	session_request_end(req);
	assert_int_equal(fx->session.nrequests, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_create_answers_with_what_it_made),
	    TEST(test_a_clone_gets_its_own_labels_and_time),
	    TEST(test_a_version_is_made_and_counted),
	    TEST(test_what_cannot_be_made_a_version_is_named),
	    TEST(test_bad_labels_reach_nobody),
	    TEST(test_the_largest_info_fits_every_reply),
	    TEST(test_a_rename_moves_and_an_exchange_swaps),
	    TEST(test_a_rename_says_which_name_is_wrong),
	    TEST(test_a_reset_answers_with_the_object),
	    TEST(test_a_set_reaches_the_object),
	    TEST(test_a_set_that_is_refused_says_why),
	    TEST(test_a_zeroing_goes_to_the_object),
	    TEST(test_a_range_clone_names_two_handles),
	    TEST(test_an_object_with_versions_goes_only_with_them),
	    TEST(test_an_object_that_vanishes_while_its_versions_are_counted),
	    TEST(test_who_holds_a_version_is_named),
	    TEST(test_a_version_is_opened_read_only_or_not_at_all),
	    TEST(test_a_list_is_of_objects_and_by_label),
	    TEST(test_versions_go_on_behind_the_last),
	    TEST(test_versions_behind_another_object_are_refused),
	    TEST(test_children_go_on_behind_the_last),
	    TEST(test_usage_is_of_all_that_are_named),
	    TEST(test_a_usage_of_nothing_is_malformed),
	    TEST(test_reaping_is_told_in_bytes),
	    TEST(test_a_check_tells_figures_and_texts),
	    TEST(test_large_replies_are_promised),
	    TEST(test_a_usage_that_is_given_up_leaves_nothing),
	};

	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
