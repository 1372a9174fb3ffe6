/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * aio_fixture.h: every asynchronous call of libcow, as a table, on a store in memory.  A test includes
 * it once; it owns the server, the connection and what the calls give out.
 */
#ifndef TESTS_UNIT_AIO_FIXTURE_H
#define TESTS_UNIT_AIO_FIXTURE_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "client/cow.h"
#include "common/annot.h"
#include "tests/lib/cut.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

#define DATA_BYTES 300u
#define DATA_AT	   3900u /* across a block's end */

struct aio_fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *obj;     /* "a" */
	cow_object_t *pair[2]; /* "b" and "e", where a call wants them: prepare_pair() */
	unsigned int calls;    /* of the callback */
	int64_t result;	       /* that it got last */
	bool inside;	       /* the test is in a function that must not call back */
	cow_object_t *opened;  /* what calls give out */
	cow_object_t *closing; /* to be closed by the call */
	struct cow_info info;
	struct cow_info *infos;
	size_t count;
	struct cow_statfs statfs;
	struct cow_usage usage;
	struct cow_report report;
	struct cow_service service;
	uint64_t reaping;
	struct cow_extent ext[8];
	struct cow_diff diff;
	struct cow_damage damages[4];
	struct cow_verified verified;
	uint64_t copied;
	uint64_t generation;
	size_t got[2];
	uint8_t data[DATA_BYTES];
	struct cow_range ranges[3];
	struct cow_write writes[2];
	uint8_t seed; /* of the data of the last write that was begun */
};

static void fixture_done(void *ctx, int64_t result)
{
	struct aio_fixture *fx = ctx;

	assert_false(fx->inside);
	fx->calls++;
	fx->result = result;
}

static void fixture_pattern(uint8_t *data, uint8_t seed)
{
	for (size_t i = 0; i < DATA_BYTES; i++)
		data[i] = (uint8_t)(i * 7 + seed);
}

/* ---- the calls ------------------------------------------------------------------------------- */

typedef struct aio_fixture fx_t;
typedef const struct cow_aio how_t;

#define AIO_REPEATS 1u /* is sent again on another connection */
#define AIO_PAGES \
	2u /* is more than one request: whether there is a next is looked at by cow_process() */
#define AIO_WRITES 4u /* writes fx->data, of a new seed, to DATA_AT */

struct aio_call {
	const char *name;
	unsigned int traits;
	void (*prepare)(fx_t *fx);
	int (*begin)(fx_t *fx, how_t *how, uint64_t *id);
	void (*undo)(fx_t *fx); /* whatever it came to */
};

static int begin_ping(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_ping(fx->cow, how, id);
}

static int begin_open(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_open(fx->cow, "a", 0, &fx->opened, how, id);
}

static void undo_open(fx_t *fx)
{
	assert_int_equal(cow_close(fx->opened), 0);
	fx->opened = NULL;
}

static void prepare_close(fx_t *fx)
{
	assert_int_equal(cow_open(fx->cow, "a", 0, &fx->closing), 0);
}

static int begin_close(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_close(fx->closing, how, id);
}

static int begin_pread(fx_t *fx, how_t *how, uint64_t *id)
{
	memset(fx->data, 0, sizeof(fx->data));
	return cow_aio_pread(fx->obj, fx->data, DATA_BYTES, DATA_AT, how, id);
}

static int begin_pwrite(fx_t *fx, how_t *how, uint64_t *id)
{
	fixture_pattern(fx->data, ++fx->seed);
	return cow_aio_pwrite(fx->obj, fx->data, DATA_BYTES, DATA_AT, how, id);
}

/* Else the object would have to be told of what a restart may have lost. */
static void undo_pwrite(fx_t *fx)
{
	assert_int_equal(cow_fsync(fx->obj), 0);
}

static int begin_pread_with(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_pread_with(fx->obj, fx->data, DATA_BYTES, DATA_AT, COW_IO_DIRECT, how, id);
}

static int begin_pwrite_with(fx_t *fx, how_t *how, uint64_t *id)
{
	fixture_pattern(fx->data, ++fx->seed);
	return cow_aio_pwrite_with(fx->obj, fx->data, DATA_BYTES, DATA_AT, COW_IO_DIRECT, how, id);
}

/* In two pieces.  They are on the stack: an array of ranges is copied. */
static int begin_readv(fx_t *fx, how_t *how, uint64_t *id)
{
	const struct cow_range ranges[] = {{DATA_AT + 200, fx->data + 200, DATA_BYTES - 200},
					   {DATA_AT, fx->data, 200}};

	return cow_aio_readv(fx->obj, ranges, 2, fx->got, how, id);
}

static int begin_writev(fx_t *fx, how_t *how, uint64_t *id)
{
	const struct cow_range ranges[] = {{DATA_AT, fx->data, 200},
					   {DATA_AT + 200, fx->data + 200, DATA_BYTES - 200}};

	fixture_pattern(fx->data, ++fx->seed);
	return cow_aio_writev(fx->obj, ranges, 2, NULL, NULL, how, id);
}

static void prepare_write_if(fx_t *fx)
{
	assert_int_equal(cow_fsync_if(fx->obj, NULL, &fx->generation), 0);
}

static int begin_write_if(fx_t *fx, how_t *how, uint64_t *id)
{
	fixture_pattern(fx->data, ++fx->seed);
	return cow_aio_write_if(fx->obj, fx->data, DATA_BYTES, DATA_AT, fx->generation,
				&fx->generation, how, id);
}

static int begin_fsync_if(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_fsync_if(fx->obj, NULL, &fx->generation, how, id);
}

static void prepare_pair(fx_t *fx)
{
	assert_int_equal(cow_open(fx->cow, "b", 0, &fx->pair[0]), 0);
	assert_int_equal(cow_open(fx->cow, "e", 0, &fx->pair[1]), 0);
}

/* Tied ones are gone with a connection that was lost, and say so. */
static void undo_pair(fx_t *fx)
{
	for (size_t i = 0; i < ARRAY_LEN(fx->pair); i++) {
		(void)cow_close(fx->pair[i]);
		fx->pair[i] = NULL;
	}
}

/* The same bytes, in two pieces, and one of another object. */
static int begin_write_all(fx_t *fx, how_t *how, uint64_t *id)
{
	fixture_pattern(fx->data, ++fx->seed);
	fx->ranges[0] = (struct cow_range){DATA_AT, fx->data, 200};
	fx->ranges[1] = (struct cow_range){DATA_AT + 200, fx->data + 200, DATA_BYTES - 200};
	fx->ranges[2] = (struct cow_range){DATA_AT, fx->data, 1};
	fx->writes[0] = (struct cow_write){.obj = fx->obj, .ranges = fx->ranges, .count = 2};
	fx->writes[1] =
	    (struct cow_write){.obj = fx->pair[0], .ranges = fx->ranges + 2, .count = 1};
	return cow_aio_write_all(fx->writes, 2, how, id);
}

static void undo_write_all(fx_t *fx)
{
	undo_pwrite(fx);
	undo_pair(fx);
}

static int begin_group_fsync(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_group_fsync(fx->pair, 2, how, id);
}

static int begin_group_tie(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_group_tie(fx->pair, 2, how, id);
}

static int begin_fsync(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_fsync(fx->obj, how, id);
}

static int begin_resize(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_resize(fx->obj, 65536, COW_RESIZE_SHRINK, how, id);
}

static int begin_zero(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_zero(fx->obj, 12288, 4096, how, id);
}

static int begin_trim(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_trim(fx->obj, 16384, 4096, how, id);
}

static int begin_extents(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_get_extents(fx->obj, 0, 65536, fx->ext, ARRAY_LEN(fx->ext), how, id);
}

static int begin_map(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_map(fx->obj, 0, 65536, fx->ext, ARRAY_LEN(fx->ext), how, id);
}

static int begin_clone_range(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_clone_range(fx->obj, 20480, 4096, fx->obj, 28672, how, id);
}

static int begin_unshare(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_unshare(fx->obj, 0, 12288, &fx->copied, how, id);
}

static int begin_verify(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_verify(fx->obj, 0, 0, 65536, 0, fx->damages, ARRAY_LEN(fx->damages),
			      &fx->verified, how, id);
}

static int begin_seek_data(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_seek_data(fx->obj, 0, how, id);
}

/* It is data to its end, which takes a second request to be known. */
static int begin_seek_hole(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_seek_hole(fx->pair[1], 0, how, id);
}

static int begin_diff(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_diff(fx->obj, 0, 0, 65536, fx->ext, ARRAY_LEN(fx->ext), &fx->diff, how, id);
}

static int begin_group_clone(fx_t *fx, how_t *how, uint64_t *id)
{
	const struct cow_pair pairs[] = {{"a", "new"}, {"b", "b@new"}};
	const struct cow_label label = {"k", "v"};
	const struct cow_attrs attrs = {.labels = &label, .nlabels = 1};

	return cow_aio_group_clone(fx->cow, pairs, 2, &attrs, how, id);
}

static void undo_group_clone(fx_t *fx)
{
	(void)cow_remove(fx->cow, "new");
	(void)cow_remove(fx->cow, "b@new");
}

static int begin_set(fx_t *fx, how_t *how, uint64_t *id)
{
	const struct cow_label label = {"k", "v"};
	const struct cow_edit edit = {.labels = &label, .nlabels = 1};

	return cow_aio_set(fx->cow, "c", &edit, &fx->info, how, id);
}

static int begin_create(fx_t *fx, how_t *how, uint64_t *id)
{
	const struct cow_label label = {"k", "v"};
	const struct cow_attrs attrs = {.labels = &label, .nlabels = 1};

	return cow_aio_create(fx->cow, "new", 4096, &attrs, how, id);
}

static void undo_create(fx_t *fx)
{
	(void)cow_remove(fx->cow, "new");
}

static int begin_clone(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_clone(fx->cow, "a", "new", NULL, how, id);
}

static int begin_snap(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_snap(fx->cow, "a@new", NULL, how, id);
}

static void undo_snap(fx_t *fx)
{
	(void)cow_remove(fx->cow, "a@new");
}

static int begin_reset(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_reset(fx->cow, "b@v", &fx->info, how, id);
}

static void undo_info(fx_t *fx)
{
	cow_info_clear(&fx->info);
}

static void prepare_new(fx_t *fx)
{
	assert_int_equal(cow_create(fx->cow, "new", 1), 0);
}

static int begin_rename(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_rename(fx->cow, "new", "newer", 0, how, id);
}

static void undo_rename(fx_t *fx)
{
	(void)cow_remove(fx->cow, "new");
	(void)cow_remove(fx->cow, "newer");
}

static int begin_remove(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_remove(fx->cow, "new", 0, how, id);
}

static int begin_info(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_get_info(fx->cow, "a", &fx->info, how, id);
}

static int begin_list(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_list(fx->cow, NULL, NULL, &fx->infos, &fx->count, how, id);
}

static int begin_versions(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_list_versions(fx->cow, "b", &fx->infos, &fx->count, how, id);
}

static int begin_children(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_list_children(fx->cow, "a", &fx->infos, &fx->count, how, id);
}

static void undo_list(fx_t *fx)
{
	cow_list_free(fx->infos, fx->count);
	fx->infos = NULL;
	fx->count = 0;
}

static int begin_statfs(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_get_statfs(fx->cow, &fx->statfs, how, id);
}

static int begin_usage(fx_t *fx, how_t *how, uint64_t *id)
{
	static const char *const specs[] = {"a", "b@v"};

	return cow_aio_get_usage(fx->cow, specs, 2, &fx->usage, how, id);
}

static int begin_reaping(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_get_reaping(fx->cow, &fx->reaping, how, id);
}

static int begin_check(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_check(fx->cow, &fx->report, how, id);
}

static void undo_check(fx_t *fx)
{
	cow_report_clear(&fx->report);
}

static int begin_service(fx_t *fx, how_t *how, uint64_t *id)
{
	return cow_aio_get_service(fx->cow, &fx->service, how, id);
}

static void undo_service(fx_t *fx)
{
	cow_service_clear(&fx->service);
}

static const struct aio_call aio_calls[] = {
    {"ping", AIO_REPEATS, NULL, begin_ping, NULL},
    {"open", AIO_REPEATS, NULL, begin_open, undo_open},
    {"close", AIO_REPEATS, prepare_close, begin_close, NULL},
    {"pread", AIO_REPEATS, NULL, begin_pread, NULL},
    {"pwrite", AIO_REPEATS | AIO_WRITES, NULL, begin_pwrite, undo_pwrite},
    {"pread_with", AIO_REPEATS, NULL, begin_pread_with, NULL},
    {"pwrite_with", AIO_REPEATS | AIO_WRITES, NULL, begin_pwrite_with, undo_pwrite},
    {"readv", AIO_REPEATS, NULL, begin_readv, NULL},
    {"writev", AIO_REPEATS | AIO_WRITES, NULL, begin_writev, undo_pwrite},
    {"write_if", AIO_WRITES, prepare_write_if, begin_write_if, undo_pwrite},
    {"write_all", AIO_REPEATS | AIO_WRITES, prepare_pair, begin_write_all, undo_write_all},
    {"fsync", AIO_REPEATS, NULL, begin_fsync, NULL},
    {"fsync_if", AIO_REPEATS, NULL, begin_fsync_if, NULL},
    {"group_fsync", AIO_REPEATS, prepare_pair, begin_group_fsync, undo_pair},
    {"group_tie", 0, prepare_pair, begin_group_tie, undo_pair},
    {"resize", AIO_REPEATS, NULL, begin_resize, undo_pwrite},
    {"zero", AIO_REPEATS, NULL, begin_zero, undo_pwrite},
    {"trim", AIO_REPEATS, NULL, begin_trim, undo_pwrite},
    {"get_extents", AIO_REPEATS, NULL, begin_extents, NULL},
    {"map", AIO_REPEATS, NULL, begin_map, NULL},
    {"seek_data", AIO_REPEATS | AIO_PAGES, NULL, begin_seek_data, NULL},
    {"seek_hole", AIO_REPEATS | AIO_PAGES, prepare_pair, begin_seek_hole, undo_pair},
    {"diff", AIO_REPEATS, NULL, begin_diff, NULL},
    {"verify", AIO_REPEATS, NULL, begin_verify, NULL},
    {"clone_range", AIO_REPEATS | AIO_PAGES, NULL, begin_clone_range, undo_pwrite},
    {"unshare", AIO_REPEATS | AIO_PAGES, NULL, begin_unshare, undo_pwrite},
    {"create", 0, NULL, begin_create, undo_create},
    {"clone", 0, NULL, begin_clone, undo_create},
    {"group_clone", 0, NULL, begin_group_clone, undo_group_clone},
    {"snap", 0, NULL, begin_snap, undo_snap},
    {"reset", 0, NULL, begin_reset, undo_info},
    {"set", 0, NULL, begin_set, undo_info},
    {"rename", 0, prepare_new, begin_rename, undo_rename},
    {"remove", 0, prepare_new, begin_remove, undo_create},
    {"get_info", AIO_REPEATS, NULL, begin_info, undo_info},
    {"list", AIO_REPEATS | AIO_PAGES, NULL, begin_list, undo_list},
    {"list_versions", AIO_REPEATS | AIO_PAGES, NULL, begin_versions, undo_list},
    {"list_children", AIO_REPEATS | AIO_PAGES, NULL, begin_children, undo_list},
    {"get_statfs", AIO_REPEATS, NULL, begin_statfs, NULL},
    {"get_usage", AIO_REPEATS, NULL, begin_usage, NULL},
    {"get_reaping", AIO_REPEATS, NULL, begin_reaping, NULL},
    {"check", 0, NULL, begin_check, undo_check},
    {"get_service", AIO_REPEATS, NULL, begin_service, undo_service},
};

/* ---- running them ---------------------------------------------------------------------------- */

static void fixture_prepare(fx_t *fx, const struct aio_call *call)
{
	if (call->prepare)
		call->prepare(fx);
}

static void fixture_undo(fx_t *fx, const struct aio_call *call)
{
	if (call->undo)
		call->undo(fx);
}

static uint64_t fixture_begin(fx_t *fx, const struct aio_call *call)
{
	const struct cow_aio how = {.done = fixture_done, .ctx = fx};
	uint64_t id = 0;

	fx->calls = 0;
	fx->inside = true;
	assert_int_equal(call->begin(fx, &how, &id), 0);
	fx->inside = false;
	assert_true(id > 0);
	assert_int_equal(fx->calls, 0);
	return id;
}

/* Waits for the event, as a program's loop does, and no longer than the handle wants. */
static void fixture_turn(fx_t *fx)
{
	struct pollfd pfd = {.fd = cow_get_fd(fx->cow), .events = (short)cow_get_events(fx->cow)};
	int timeout_ms = cow_next_timeout_ms(fx->cow);

	assert_true(timeout_ms >= 0); /* something is under way, and so has a deadline */
	assert_true(poll(&pfd, 1, timeout_ms) >= 0);
	assert_true(cow_process(fx->cow) >= 0);
}

static void fixture_finish(fx_t *fx)
{
	while (fx->calls == 0)
		fixture_turn(fx);
	assert_int_equal(fx->calls, 1);
}

static void fixture_make_store(fx_t *fx, uint32_t inflight_max)
{
	memset(fx, 0, sizeof(*fx));
	fx->st = fake_store_new();
	fx->st->hello = fake_hello_reply();
	fx->st->hello.inflight_max = inflight_max;
	fx->st->server.count = 1;
	(void)snprintf(fx->st->server.addrs[0].text, sizeof(fx->st->server.addrs[0].text), "u");
	fx->st->report.ntexts = 1;
	(void)snprintf(fx->st->report.texts[0].text, sizeof(fx->st->report.texts[0].text), "x");
	fx->st->list_max = 2;
	fake_store_add(fx->st, "a", 65536);
	fake_store_fill(fx->st, "a", 8);
	fake_store_add(fx->st, "b", 65536);
	fake_store_add(fx->st, "c", 0);
	fake_store_add(fx->st, "e", 4096);
	fake_store_fill(fx->st, "e", 1);
	fx->st->unshare_max = 8192;
}

/* With TLS by the credentials in that directory (certs.h); NULL: plain. */
static const char *fixture_tls;

static void fixture_start(fx_t *fx, bool tcp, uint32_t inflight_max)
{
	fixture_make_store(fx, inflight_max);
	if (fixture_tls)
		fake_server_start_tls(&fx->server, fake_ops_serve, fx->st, fixture_tls);
	else
		fake_server_start(&fx->server, tcp, fake_ops_serve, fx->st);
	fx->cow = cow_new();
	assert_int_equal(cow_set_timeout(fx->cow, 20000), 0);
	assert_int_equal(cow_connect(fx->cow, fx->server.uri), 0);
	assert_int_equal(cow_snap(fx->cow, "b@v", NULL, 0), 0);
	assert_int_equal(cow_clone(fx->cow, "a", "d"), 0);
	assert_int_equal(cow_open(fx->cow, "a", 0, &fx->obj), 0);
	assert_true(cow_get_fd(fx->cow) >= 0);
}

static void fixture_stop(fx_t *fx)
{
	cut_limit(CUT_NEVER, CUT_NEVER, false);
	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
}

#endif
