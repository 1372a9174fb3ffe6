/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's asynchronous calls: results, the descriptor, deadlines, many at once, and several threads
 * on one handle.  Canceling is in test_libcow_cancel.c, lost connections in test_libcow_cut.c.
 */
#include "client/cow.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

#define NMANY	 2000u
#define NTHREADS 4u
#define NEACH	 300u
#define PENDING	 INT64_MAX

struct fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *obj; /* "a" */
};

static void fixture_start(struct fixture *fx, const struct msg_hello_reply *hello)
{
	fx->st = fake_store_new();
	fx->st->hello = *hello;
	fake_store_add(fx->st, "a", 1 << 20);
	fake_server_start(&fx->server, false, fake_ops_serve, fx->st);
	fx->cow = cow_new();
	assert_int_equal(cow_set_timeout(fx->cow, 20000), 0);
	assert_int_equal(cow_connect(fx->cow, fx->server.uri), 0);
	assert_int_equal(cow_open(fx->cow, "a", 0, &fx->obj), 0);
}

static int setup(void **state)
{
	static struct fixture fx;
	struct msg_hello_reply hello = fake_hello_reply();

	fixture_start(&fx, &hello);
	*state = &fx;
	return 0;
}

static void fixture_stop(struct fixture *fx)
{
	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
}

static int teardown(void **state)
{
	fixture_stop(*state);
	return 0;
}

static void save(void *ctx, int64_t result)
{
	int64_t *to = ctx;

	assert_true(*to == PENDING);
	*to = result;
}

static int64_t await(struct fixture *fx, const int64_t *result)
{
	while (*result == PENDING)
		assert_true(cow_wait(fx->cow) >= 0);
	return *result;
}

/* Begins a call and waits for its result. */
#define RUN(fx, call, ...)                                                \
	({                                                                \
		int64_t got_ = PENDING;                                   \
		const struct cow_aio how_ = {.done = save, .ctx = &got_}; \
		assert_int_equal(call(__VA_ARGS__, &how_, NULL), 0);      \
		assert_true(got_ == PENDING);                             \
		await(fx, &got_);                                         \
	})

/* ---- results --------------------------------------------------------------------------------- */

static void test_aio_data(void **state)
{
	struct fixture *fx = *state;
	struct cow_extent ext[4];
	char data[16];

	assert_int_equal(RUN(fx, cow_aio_pwrite, fx->obj, "hello", 5, 4094), 5);
	assert_int_equal(RUN(fx, cow_aio_pread, fx->obj, data, 5, 4094), 5);
	assert_memory_equal(data, "hello", 5);
	assert_int_equal(RUN(fx, cow_aio_pread, fx->obj, data, 16, (1 << 20) - 3), 3);
	assert_int_equal(RUN(fx, cow_aio_get_extents, fx->obj, 0, 1 << 20, ext, 4), 2);
	assert_int_equal(ext[0].kind, COW_EXTENT_DATA);
	assert_int_equal(ext[0].len, 8192);
	assert_int_equal(ext[1].offset, 8192);
	assert_int_equal(RUN(fx, cow_aio_zero, fx->obj, 4095, 1), 0);
	assert_int_equal(RUN(fx, cow_aio_trim, fx->obj, 4096, 4096), 0);
	assert_int_equal(RUN(fx, cow_aio_pread, fx->obj, data, 5, 4094), 5);
	assert_memory_equal(data, "h\0\0\0\0", 5);
	assert_int_equal(RUN(fx, cow_aio_resize, fx->obj, 5000, COW_RESIZE_SHRINK), 0);
	assert_int_equal(cow_object_size(fx->obj), 5000);
	assert_int_equal(RUN(fx, cow_aio_fsync, fx->obj), 0);
}

static void test_aio_names(void **state)
{
	struct fixture *fx = *state;
	const struct cow_label label = {"k", "v"};
	const struct cow_attrs attrs = {.labels = &label, .nlabels = 1};
	struct cow_info info;
	struct cow_info *infos;
	cow_object_t *obj;
	size_t count;

	assert_int_equal(RUN(fx, cow_aio_create, fx->cow, "n", 8192, &attrs), 0);
	assert_int_equal(RUN(fx, cow_aio_create, fx->cow, "n", 8192, NULL), -COW_EEXIST);
	assert_string_equal(cow_error(fx->cow), "the name exists already");
	assert_int_equal(RUN(fx, cow_aio_clone, fx->cow, "n", "c", NULL), 0);
	assert_int_equal(RUN(fx, cow_aio_snap, fx->cow, "n@1", &attrs), 0);
	assert_int_equal(RUN(fx, cow_aio_rename, fx->cow, "c", "d", 0), 0);
	assert_int_equal(RUN(fx, cow_aio_reset, fx->cow, "n@1", NULL), 0);
	assert_int_equal(RUN(fx, cow_aio_get_info, fx->cow, "n", &info), 0);
	assert_string_equal(info.labels[0].value, "v");
	cow_info_clear(&info);
	fx->st->list_max = 1;
	assert_int_equal(RUN(fx, cow_aio_list, fx->cow, NULL, NULL, &infos, &count), 0);
	assert_int_equal(count, 3);
	assert_string_equal(infos[0].name, "a");
	assert_string_equal(infos[2].name, "n");
	cow_list_free(infos, count);
	assert_int_equal(RUN(fx, cow_aio_list, fx->cow, "", "k=v", &infos, &count), 0);
	assert_int_equal(count, 1);
	cow_list_free(infos, count);
	assert_int_equal(RUN(fx, cow_aio_list_versions, fx->cow, "n", &infos, &count), 0);
	assert_string_equal(infos[0].name, "n@1");
	cow_list_free(infos, count);
	assert_int_equal(RUN(fx, cow_aio_list_children, fx->cow, "n", &infos, &count), 0);
	assert_string_equal(infos[0].name, "d");
	cow_list_free(infos, count);
	assert_int_equal(RUN(fx, cow_aio_open, fx->cow, "n@1", COW_OPEN_READONLY, &obj), 0);
	assert_int_equal(cow_object_size(obj), 8192);
	assert_int_equal(RUN(fx, cow_aio_close, obj), 0);
	assert_int_equal(RUN(fx, cow_aio_remove, fx->cow, "n", COW_REMOVE_VERSIONS), 0);
	assert_int_equal(RUN(fx, cow_aio_open, fx->cow, "n", 0, &obj), -COW_ENOENT);
}

static void test_aio_store(void **state)
{
	struct fixture *fx = *state;
	const char *const specs[] = {"a"};
	struct cow_statfs st;
	struct cow_usage usage;
	struct cow_report report;
	struct cow_service service;
	uint64_t bytes = 0;

	fake_store_fill(fx->st, "a", 3);
	fx->st->server = (struct msg_server_reply){.uptime_ms = 11,
						   .nbd_tls = 1,
						   .agent = "x/1",
						   .count = 2,
						   .addrs = {{"unix:/a"}, {"tcp:b:1"}}};
	fx->st->reaping = 5;
	fx->st->report.nodes = 9;
	assert_int_equal(RUN(fx, cow_aio_ping, fx->cow), 0);
	assert_int_equal(RUN(fx, cow_aio_get_statfs, fx->cow, &st), 0);
	assert_int_equal(st.versions, 7);
	assert_int_equal(RUN(fx, cow_aio_get_usage, fx->cow, specs, 1, &usage), 0);
	assert_int_equal(usage.exclusive, 3 * FAKE_BLOCK_BYTES);
	assert_int_equal(RUN(fx, cow_aio_get_reaping, fx->cow, &bytes), 0);
	assert_int_equal(bytes, 5);
	assert_int_equal(RUN(fx, cow_aio_check, fx->cow, &report), 0);
	assert_int_equal(report.nodes, 9);
	cow_report_clear(&report);
	assert_int_equal(RUN(fx, cow_aio_get_service, fx->cow, &service), 0);
	assert_int_equal(service.uptime_ms, 11);
	assert_int_equal(service.nbd_tls, COW_NBD_TLS_ON);
	assert_string_equal(service.agent, "x/1");
	assert_int_equal(service.naddrs, 2);
	assert_string_equal(service.addrs[1], "tcp:b:1");
	cow_service_clear(&service);
}

/* The arrays are gone before the calls have ended: they are copied. */
static void test_aio_ranges(void **state)
{
	struct fixture *fx = *state;
	char text[] = "onetwothree";
	char a[8] = "", b[8] = "";
	struct cow_range out[] = {{2, text, 3}, {10, text + 3, 3}, {(1 << 20) - 2, text + 6, 5}};
	struct cow_range in[] = {{(1 << 20) + 1, a, 7}, {10, b, 3}};
	const struct cow_range none = {0, text, 0};
	int64_t wrote = PENDING;
	int64_t read = PENDING;
	const struct cow_aio write_how = {.done = save, .ctx = &wrote};
	const struct cow_aio read_how = {.done = save, .ctx = &read};
	uint64_t seen = 0;
	uint64_t next = 0;
	uint64_t unused = 5;
	size_t got[2];

	assert_int_equal(RUN(fx, cow_aio_fsync_if, fx->obj, NULL, &seen), 0);
	assert_int_equal(cow_aio_writev(fx->obj, out, 3, &seen, &next, &write_how, NULL), 0);
	memset(out, 0, sizeof(out));
	assert_int_equal(await(fx, &wrote), 0);
	assert_int_equal(next, seen + 1);
	assert_int_equal(cow_aio_readv(fx->obj, in, 2, got, &read_how, NULL), 0);
	memset(in, 0, sizeof(in));
	assert_int_equal(await(fx, &read), 2 + 3);
	assert_string_equal(a, "ee");
	assert_string_equal(b, "two");
	assert_int_equal(got[0], 2);
	assert_int_equal(got[1], 3);
	assert_int_equal(RUN(fx, cow_aio_write_if, fx->obj, "x", 1, 7, seen, &unused),
			 -COW_ECHANGED);
	assert_int_equal(RUN(fx, cow_aio_writev, fx->obj, &none, 1, &seen, &unused), -COW_ECHANGED);
	assert_int_equal(RUN(fx, cow_aio_fsync_if, fx->obj, &seen, &unused), -COW_ECHANGED);
	assert_int_equal(unused, 5);
	assert_int_equal(RUN(fx, cow_aio_write_if, fx->obj, "x", 1, 7, next, NULL), 0);
	assert_int_equal(RUN(fx, cow_aio_fsync_if, fx->obj, NULL, NULL), 0);
	assert_int_equal(RUN(fx, cow_aio_readv, fx->obj, (&(struct cow_range){7, a, 1}), 1, NULL),
			 1);
	assert_int_equal(a[0], 'x');
	fx->st->short_by = 1;
	assert_int_equal(RUN(fx, cow_aio_readv, fx->obj, (&(struct cow_range){7, a, 1}), 1, NULL),
			 -COW_EPROTO);
	assert_string_equal(cow_error(fx->cow), "the server sent other ranges");
}

static void test_aio_flags(void **state)
{
	struct fixture *fx = *state;
	char data[4];

	assert_int_equal(RUN(fx, cow_aio_pwrite_with, fx->obj, "data", 4, 1, COW_IO_DIRECT), 4);
	assert_int_equal(fx->st->io_flags, COW_IO_DIRECT);
	assert_int_equal(RUN(fx, cow_aio_pread, fx->obj, data, 4, 1), 4);
	assert_int_equal(fx->st->io_flags, 0);
	assert_int_equal(RUN(fx, cow_aio_pread_with, fx->obj, data, 4, 1, COW_IO_DIRECT), 4);
	assert_int_equal(fx->st->io_flags, COW_IO_DIRECT);
	assert_memory_equal(data, "data", 4);
}

static void test_aio_where_data_is(void **state)
{
	struct fixture *fx = *state;
	const int64_t blk = FAKE_BLOCK_BYTES;
	struct cow_extent ext[4];
	struct cow_diff diff;
	uint64_t copied = 1;

	fake_store_fill(fx->st, "a", 300);
	assert_int_equal(RUN(fx, cow_aio_resize, fx->obj, 300u * FAKE_BLOCK_BYTES, 1), 0);
	assert_int_equal(RUN(fx, cow_aio_seek_data, fx->obj, 5), 5);
	assert_int_equal(RUN(fx, cow_aio_seek_hole, fx->obj, 5), 300 * blk);
	assert_int_equal(RUN(fx, cow_aio_seek_hole, fx->obj, 300u * FAKE_BLOCK_BYTES), -COW_ENOENT);
	assert_string_equal(cow_error(fx->cow), "behind the end of the object");
	assert_int_equal(RUN(fx, cow_aio_trim, fx->obj, 2u * FAKE_BLOCK_BYTES, UINT64_MAX), 0);
	assert_int_equal(RUN(fx, cow_aio_seek_hole, fx->obj, 5), 2 * blk);
	assert_int_equal(RUN(fx, cow_aio_seek_data, fx->obj, 2u * FAKE_BLOCK_BYTES), -COW_ENOENT);
	assert_string_equal(cow_error(fx->cow), "no more data in the object");
	assert_int_equal(RUN(fx, cow_aio_diff, fx->obj, 0, 100, UINT64_MAX, ext, 4, &diff), 2);
	assert_int_equal(ext[0].len, 2 * blk - 100);
	assert_int_equal(ext[0].kind, COW_EXTENT_DATA);
	assert_int_equal(ext[1].kind, COW_EXTENT_SAME);
	assert_int_equal(diff.size, 300 * blk);
	assert_int_equal(RUN(fx, cow_aio_diff, fx->obj, 999, 0, 1, ext, 4, NULL), -COW_ENOENT);
	fx->st->unshare_max = FAKE_BLOCK_BYTES;
	assert_int_equal(RUN(fx, cow_aio_unshare, fx->obj, 5, 4 * FAKE_BLOCK_BYTES, &copied), 0);
	assert_int_equal(copied, 4 * blk);
	assert_int_equal(fx->st->requests[WIRE_OP_UNSHARE], 4);
	fx->st->unshare_room = 2 * FAKE_BLOCK_BYTES;
	assert_int_equal(RUN(fx, cow_aio_unshare, fx->obj, 0, UINT64_MAX, &copied), -COW_ENOSPC);
	assert_int_equal(copied, 2 * blk);
	assert_int_equal(RUN(fx, cow_aio_unshare, fx->obj, 0, UINT64_MAX, NULL), -COW_ENOSPC);
}

#define NPAIRS 40u

/* So many that the request is longer than most; the names are gone before it has ended. */
static void test_aio_groups(void **state)
{
	struct fixture *fx = *state;
	static char names[NPAIRS][128];
	struct cow_pair pairs[NPAIRS];
	int64_t got = PENDING;
	const struct cow_aio how = {.done = save, .ctx = &got};
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture other;
	cow_object_t *objs[3] = {fx->obj};
	struct cow_info info;

	for (size_t i = 0; i < NPAIRS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "clone-%0100zu", i);
		pairs[i] = (struct cow_pair){"a", names[i]};
	}
	assert_int_equal(cow_aio_group_clone(fx->cow, pairs, NPAIRS, NULL, &how, NULL), 0);
	memset(names, 0, sizeof(names));
	memset(pairs, 0, sizeof(pairs));
	assert_int_equal(await(fx, &got), 0);
	(void)snprintf(names[0], sizeof(names[0]), "clone-%0100u", NPAIRS - 1);
	assert_int_equal(cow_get_info(fx->cow, names[0], &info), 0);
	cow_info_clear(&info);
	pairs[0] = (struct cow_pair){"a", names[0]};
	assert_int_equal(RUN(fx, cow_aio_group_clone, fx->cow, pairs, 1, NULL), -COW_EEXIST);
	assert_int_equal(cow_open(fx->cow, names[0], 0, &objs[1]), 0);
	assert_int_equal(RUN(fx, cow_aio_group_fsync, objs, 2), 0);
	assert_int_equal(RUN(fx, cow_aio_group_tie, objs, 2), 0);
	assert_int_equal(fx->st->requests[WIRE_OP_TIE], 1);
	fixture_start(&other, &hello);
	objs[2] = other.obj;
	got = PENDING;
	assert_int_equal(cow_aio_group_fsync(objs, 3, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_group_tie(objs, 0, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_group_clone(fx->cow, pairs, 0, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_process(fx->cow), 0);
	assert_int_equal(cow_close(objs[1]), 0);
	fixture_stop(&other);
}

/* What is refused at once has no callback. */
static void test_aio_refused_at_once(void **state)
{
	struct fixture *fx = *state;
	int64_t got = PENDING;
	const struct cow_aio how = {.done = save, .ctx = &got};
	const struct cow_aio none = {.done = NULL};
	cow_object_t *obj;
	struct cow_extent ext;
	struct cow_damage damage;
	struct cow_verified verified;
	char byte = 0;
	const struct cow_range large = {0, &byte, ((size_t)32 << 20) + 1};
	const struct cow_range two[] = {{0, &byte, 1}, {9, &byte, 1}};

	assert_int_equal(cow_aio_ping(fx->cow, NULL, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_ping(fx->cow, &none, NULL), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "callback"));
	assert_int_equal(cow_aio_create(fx->cow, "a@b", 1, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_remove(fx->cow, "a", 8, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_open(fx->cow, "a", 8, &obj, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_open(fx->cow, "a", 0, &obj, NULL, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_resize(fx->obj, 1, 8, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_pread(fx->obj, &byte, 2, UINT64_MAX, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_get_extents(fx->obj, 0, 1, &ext, 0, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_pread_with(fx->obj, &byte, 1, 0, 8, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_diff(fx->obj, 0, 0, 1, &ext, 0, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_verify(fx->obj, 0, 0, 1, 0, &damage, 0, &verified, &how, NULL),
			 -COW_EINVAL);
	assert_int_equal(cow_aio_verify(fx->obj, 0, 0, 1, 4095, &damage, 1, &verified, &how, NULL),
			 -COW_EINVAL);
	assert_int_equal(cow_aio_readv(fx->obj, &large, 0, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_readv(fx->obj, &large, 1, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_writev(fx->obj, &large, 1, NULL, NULL, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_writev(fx->obj, two, 2, NULL, NULL, NULL, NULL), -COW_EINVAL);
	assert_int_equal(cow_aio_group_fsync(&fx->obj, 129, &how, NULL), -COW_EINVAL);
	assert_int_equal(cow_next_timeout_ms(fx->cow), -1);
	assert_int_equal(cow_process(fx->cow), 0);
	assert_int_equal(cow_wait(fx->cow), 0); /* there is nothing to wait for */
	assert_true(got == PENDING);
}

/* One that never was connected: the callback says so, and not the call. */
static void test_aio_not_connected(void **state)
{
	cow_t *cow = cow_new();
	struct fixture fx = {.cow = cow};
	int64_t got = PENDING;
	const struct cow_aio how = {.done = save, .ctx = &got};

	(void)state;
	assert_int_equal(cow_aio_ping(cow, &how, NULL), 0);
	assert_int_equal(cow_next_timeout_ms(cow), 0);
	assert_int_equal(await(&fx, &got), -COW_ECONN);
	assert_string_equal(cow_error(cow), "not connected");
	cow_free(cow);
}

/* ---- the descriptor, deadlines --------------------------------------------------------------- */

static bool is_ready(cow_t *cow)
{
	struct pollfd pfd = {.fd = cow_get_fd(cow), .events = (short)cow_get_events(cow)};

	return poll(&pfd, 1, 0) == 1;
}

/* Ready when something is to be done, and not when nothing is; the same on every connection. */
static void test_aio_descriptor(void **state)
{
	struct fixture *fx = *state;
	int fd = cow_get_fd(fx->cow);
	int64_t got = PENDING;
	const struct cow_aio how = {.done = save, .ctx = &got};
	struct pollfd pfd = {.fd = fd, .events = (short)cow_get_events(fx->cow)};

	assert_false(is_ready(fx->cow));
	assert_int_equal(cow_aio_ping(fx->cow, &how, NULL), 0);
	while (got == PENDING) {
		assert_int_equal(poll(&pfd, 1, cow_next_timeout_ms(fx->cow)), 1);
		assert_in_range(cow_process(fx->cow), 0, 1);
	}
	assert_int_equal(got, 0);
	assert_false(is_ready(fx->cow));
	/* received by a synchronous call, but told by the descriptor's owner */
	got = PENDING;
	assert_int_equal(cow_aio_ping(fx->cow, &how, NULL), 0);
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_true(got == PENDING);
	assert_true(is_ready(fx->cow));
	assert_int_equal(cow_process(fx->cow), 1);
	assert_false(is_ready(fx->cow));
	fx->st->shuts_down = WIRE_OP_PING;
	assert_int_equal(RUN(fx, cow_aio_ping, fx->cow), 0);
	assert_int_equal(cow_get_fd(fx->cow), fd);
	/* what was sent beside it on the new connection may be answered only now: nobody is to be told */
	while (is_ready(fx->cow))
		assert_int_equal(cow_process(fx->cow), 0);
}

/* Each call has its own, and the connection goes on. */
static void test_aio_deadline(void **state)
{
	struct fixture *fx = *state;
	int64_t got = PENDING;
	int64_t other = PENDING;
	const struct cow_aio how = {.done = save, .ctx = &got, .timeout_ms = 30};
	const struct cow_aio longer = {.done = save, .ctx = &other};
	uint64_t begun = clock_now_ns();

	fx->st->mute_writes = 2;
	assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 0, &longer, NULL), 0);
	assert_int_equal(cow_aio_pwrite(fx->obj, "x", 1, 0, &how, NULL), 0);
	assert_in_range(cow_next_timeout_ms(fx->cow), 0, 31);
	assert_int_equal(await(fx, &got), -COW_ETIMEDOUT);
	assert_true(clock_now_ns() - begun >= 30 * UINT64_C(1000000));
	assert_true(clock_now_ns() - begun < 15000 * UINT64_C(1000000));
	assert_non_null(strstr(cow_error(fx->cow), "in time"));
	assert_int_equal(cow_ping(fx->cow), 0);
	assert_true(other == PENDING);
	assert_int_equal(fx->st->requests[WIRE_OP_OPEN], 1); /* on the same connection */
	fx->st->shuts_down = WIRE_OP_PING;		     /* the next answers the other one */
	assert_int_equal(await(fx, (assert_int_equal(cow_ping(fx->cow), 0), &other)), 1);
}

/* ---- many ------------------------------------------------------------------------------------ */

struct many {
	uint8_t data[NMANY];
	unsigned int done;
	int64_t sum;
};

static void many_done(void *ctx, int64_t result)
{
	struct many *many = ctx;

	many->done++;
	many->sum += result;
}

/* Far more than the server takes at once. */
static void test_aio_many(void **state)
{
	struct many many = {.done = 0};
	const struct cow_aio how = {.done = many_done, .ctx = &many};
	struct msg_hello_reply hello = fake_hello_reply();
	uint8_t back[NMANY];
	struct fixture fx;

	(void)state;
	hello.inflight_max = 3;
	fixture_start(&fx, &hello);
	for (unsigned int i = 0; i < NMANY; i++) {
		many.data[i] = (uint8_t)(i * 13);
		assert_int_equal(cow_aio_pwrite(fx.obj, &many.data[i], 1, i, &how, NULL), 0);
	}
	assert_int_equal(many.done, 0);
	while (many.done < NMANY)
		assert_true(cow_wait(fx.cow) >= 0);
	assert_int_equal(many.sum, NMANY);
	assert_int_equal(cow_pread(fx.obj, back, sizeof(back), 0), NMANY);
	assert_memory_equal(back, many.data, NMANY);
	fixture_stop(&fx);
}

/* A transfer longer than a request is cut, and is one call all the same. */
static void test_aio_long_transfer(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	const size_t len = 100001;
	uint8_t *data = malloc(len);
	uint8_t *back = calloc(1, len + 1000);
	struct fixture fx;

	(void)state;
	assert_true(data && back);
	hello.payload_max = 4096;
	hello.inflight_max = 5;
	fixture_start(&fx, &hello);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i / 7);
	assert_int_equal(cow_resize(fx.obj, 0, COW_RESIZE_SHRINK), 0);
	assert_int_equal(RUN(&fx, cow_aio_pwrite, fx.obj, data, len, 0), (int64_t)len);
	assert_int_equal(RUN(&fx, cow_aio_pread, fx.obj, back, len + 1000, 0), (int64_t)len);
	assert_memory_equal(back, data, len);
	assert_int_equal(fx.st->requests[WIRE_OP_WRITE], len / 4096 + 1);
	fixture_stop(&fx);
	free(data);
	free(back);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct shared {
	struct fixture fx;
	atomic_uint done;
	atomic_uint begun;
	atomic_bool stop;
};

static void shared_done(void *ctx, int64_t result)
{
	struct shared *sh = ctx;

	assert_true(result >= 0 || result == -COW_ECANCELED);
	atomic_fetch_add(&sh->done, 1);
}

static void *shared_loop(void *arg)
{
	struct shared *sh = arg;

	while (!atomic_load(&sh->stop) || atomic_load(&sh->done) < atomic_load(&sh->begun))
		(void)cow_wait(sh->fx.cow);
	return NULL;
}

/* Begins calls, cancels some, and makes synchronous ones in between. */
static void *shared_worker(void *arg)
{
	struct shared *sh = arg;
	const struct cow_aio how = {.done = shared_done, .ctx = sh};
	static uint8_t data[64];
	uint8_t byte;
	uint64_t id;

	for (unsigned int i = 0; i < NEACH; i++) {
		if (cow_aio_pwrite(sh->fx.obj, data, sizeof(data), 64u * i, &how, &id) < 0 ||
		    (i % 5 == 0 && cow_aio_fsync(sh->fx.obj, &how, NULL) < 0))
			return arg;
		atomic_fetch_add(&sh->begun, 1 + (i % 5 == 0));
		if (i % 3 == 0)
			(void)cow_aio_cancel(sh->fx.cow, id);
		if (i % 7 == 0 && cow_pread(sh->fx.obj, &byte, 1, i) != 1)
			return arg;
		if (i % 11 == 0 && cow_process(sh->fx.cow) < 0)
			return arg;
	}
	return NULL;
}

/* On one object; the server goes away now and then. */
static void run_threads(bool lossy)
{
	static struct shared sh;
	struct msg_hello_reply hello = fake_hello_reply();
	pthread_t threads[NTHREADS];
	const struct cow_aio how = {.done = shared_done, .ctx = &sh};
	pthread_t loop;
	void *failed;

	memset(&sh, 0, sizeof(sh));
	fixture_start(&sh.fx, &hello);
	sh.fx.st->shuts_down = lossy ? WIRE_OP_FSYNC : WIRE_OP_END;
	assert_int_equal(pthread_create(&loop, NULL, shared_loop, &sh), 0);
	for (unsigned int i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, shared_worker, &sh), 0);
	for (unsigned int i = 0; i < NTHREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	/* the loop may wait for what a worker has processed: it gets something of its own */
	atomic_fetch_add(&sh.begun, 1);
	atomic_store(&sh.stop, true);
	assert_int_equal(cow_aio_ping(sh.fx.cow, &how, NULL), 0);
	assert_int_equal(pthread_join(loop, NULL), 0);
	assert_int_equal(atomic_load(&sh.done), atomic_load(&sh.begun));
	fixture_stop(&sh.fx);
}

static void test_aio_threads(void **state)
{
	(void)state;
	run_threads(false);
}

static void test_aio_threads_and_a_lost_connection(void **state)
{
	(void)state;
	run_threads(true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_aio_data),
	    TEST(test_aio_names),
	    TEST(test_aio_store),
	    TEST(test_aio_ranges),
	    TEST(test_aio_flags),
	    TEST(test_aio_where_data_is),
	    TEST(test_aio_groups),
	    TEST(test_aio_refused_at_once),
	    cmocka_unit_test(test_aio_not_connected),
	    TEST(test_aio_descriptor),
	    TEST(test_aio_deadline),
	    cmocka_unit_test(test_aio_many),
	    cmocka_unit_test(test_aio_long_transfer),
	    cmocka_unit_test(test_aio_threads),
	    cmocka_unit_test(test_aio_threads_and_a_lost_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
