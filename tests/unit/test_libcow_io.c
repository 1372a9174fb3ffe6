/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's transfers, lists and threads against a scripted server that keeps one object in memory.
 * It answers when it has "batch" requests in hand, the last one first: so a client that has fewer
 * in flight than it should meets its timeout.
 */
#include "client/cow.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "common/cursor.h"
#include "tests/lib/fake_server.h"

#define OBJECT_BYTES (1u << 20)
#define BATCH_MAX    16u
#define NTHREADS     4u

struct store {
	struct msg_hello_reply hello;
	unsigned int batch;
	uint64_t fail_offset; /* a write there is answered with NOSPC; UINT64_MAX: none */
	size_t size;
	uint8_t data[OBJECT_BYTES];
	size_t requests; /* data requests that were seen */
	uint32_t flags;	 /* of the last one */
	bool over_limit; /* more was in flight than the limits allow */
};

struct fixture {
	struct fake_server server;
	struct store *store;
	cow_t *cow;
	cow_object_t *obj;
};

/* ---- the server ------------------------------------------------------------------------------ */

static void store_open(struct fake_conn *conn, const struct fake_frame *f)
{
	const struct store *st = conn->ctx;
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a", .size_bytes = st->size}};
	uint8_t body[512];
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	fake_reply(conn, f, 0, body, (size_t)n, NULL, 0);
}

static void store_read(struct fake_conn *conn, const struct fake_frame *f)
{
	struct store *st = conn->ctx;
	struct msg_read m;
	size_t len;

	if (msg_read_decode(f->body, f->h.body_len, &m) < 0)
		return;
	st->flags = m.flags;
	len = m.offset < st->size ? st->size - m.offset : 0;
	fake_reply(conn, f, 0, NULL, 0, len > 0 ? st->data + m.offset : NULL,
		   len < m.len ? len : m.len);
}

static void store_write(struct fake_conn *conn, const struct fake_frame *f)
{
	struct store *st = conn->ctx;
	struct msg_write m;

	if (msg_write_decode(f->body, f->h.body_len, &m) < 0)
		return;
	st->flags = m.flags;
	if (m.offset == st->fail_offset || m.offset + f->h.payload_len > OBJECT_BYTES) {
		fake_reply_error(conn, f, COW_ENOSPC, "full");
		return;
	}
	memcpy(st->data + m.offset, f->payload, f->h.payload_len);
	if (m.offset + f->h.payload_len > st->size)
		st->size = m.offset + f->h.payload_len;
	fake_reply(conn, f, 0, NULL, 0, NULL, 0);
}

static void store_answer(struct fake_conn *conn, const struct fake_frame *f)
{
	struct store *st = conn->ctx;

	st->requests += f->h.op == WIRE_OP_READ || f->h.op == WIRE_OP_WRITE;
	if (f->h.op == WIRE_OP_OPEN)
		store_open(conn, f);
	else if (f->h.op == WIRE_OP_READ)
		store_read(conn, f);
	else if (f->h.op == WIRE_OP_WRITE)
		store_write(conn, f);
	else
		fake_reply(conn, f, 0, NULL, 0, NULL, 0);
}

/* Data operations are gathered, all others are answered at once. */
static void serve_store(struct fake_conn *conn)
{
	struct store *st = conn->ctx;
	struct fake_frame *held = calloc(BATCH_MAX, sizeof(*held));
	unsigned int n = 0;
	char byte;

	if (!held || !fake_hello(conn, &st->hello)) {
		free(held);
		return;
	}
	while (fake_recv(conn, &held[n])) {
		if (held[n].h.op != WIRE_OP_READ && held[n].h.op != WIRE_OP_WRITE) {
			store_answer(conn, &held[n]);
			continue;
		}
		if (++n < st->batch)
			continue;
		if (n == st->hello.inflight_max &&
		    recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
			st->over_limit = true;
		while (n > 0) {
			store_answer(conn, &held[--n]);
			fake_frame_clear(&held[n]);
		}
	}
	while (n > 0)
		fake_frame_clear(&held[--n]);
	free(held);
}

static void fixture_start(struct fixture *f, bool tcp, const struct msg_hello_reply *hello,
			  unsigned int batch)
{
	f->store = calloc(1, sizeof(*f->store));
	assert_non_null(f->store);
	f->store->hello = hello ? *hello : fake_hello_reply();
	f->store->batch = batch;
	f->store->fail_offset = UINT64_MAX;
	fake_server_start(&f->server, tcp, serve_store, f->store);
	f->cow = cow_new();
	assert_non_null(f->cow);
	assert_int_equal(cow_set_timeout(f->cow, 20000), 0);
	assert_int_equal(cow_connect(f->cow, f->server.uri), 0);
	assert_int_equal(cow_open(f->cow, "a", 0, &f->obj), 0);
}

static void fixture_stop(struct fixture *f)
{
	assert_int_equal(cow_close(f->obj), 0);
	cow_free(f->cow);
	fake_server_stop(&f->server);
	assert_false(f->store->over_limit);
	free(f->store);
}

static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		buf[i] = (uint8_t)(seed >> 24);
	}
}

/* ---- transfers ------------------------------------------------------------------------------- */

#define CHUNK 4096u

/* Eight whole requests, in two windows of four. */
static void test_io_four_requests_in_flight(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t out[8 * CHUNK];
	uint8_t in[8 * CHUNK];

	(void)state;
	hello.payload_max = CHUNK;
	fixture_start(&f, false, &hello, 4);
	fill(out, sizeof(out), 1);
	assert_int_equal(cow_pwrite(f.obj, out, sizeof(out), 77), sizeof(out));
	assert_int_equal(f.store->requests, 8);
	assert_int_equal(cow_pread(f.obj, in, sizeof(in), 77), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(f.store->requests, 16);
	fixture_stop(&f);
}

static void test_io_splits_at_the_payload_limit(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t out[3 * CHUNK];
	uint8_t in[3 * CHUNK];

	(void)state;
	hello.payload_max = CHUNK;
	fixture_start(&f, false, &hello, 1);
	fill(out, sizeof(out), 2);
	for (size_t len = 2 * CHUNK - 1; len <= 2 * CHUNK + 1; len++) {
		f.store->requests = 0;
		assert_int_equal(cow_pwrite(f.obj, out, len, 5), len);
		assert_int_equal(f.store->requests, len <= 2 * CHUNK ? 2 : 3);
		memset(in, 0, sizeof(in));
		assert_int_equal(cow_pread(f.obj, in, len, 5), len);
		assert_memory_equal(in, out, len);
	}
	assert_int_equal(cow_pwrite(f.obj, out, 0, 5), 0);
	assert_int_equal(cow_pread(f.obj, in, 0, 5), 0);
	fixture_stop(&f);
}

static void test_io_flags_go_with_each_request(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t buf[2 * CHUNK] = {1};

	(void)state;
	hello.payload_max = CHUNK;
	fixture_start(&f, false, &hello, 1);
	assert_int_equal(cow_pwrite_with(f.obj, buf, sizeof(buf), 0, COW_IO_DIRECT), sizeof(buf));
	assert_int_equal(f.store->flags, MSG_IO_DIRECT);
	assert_int_equal(cow_pread(f.obj, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(f.store->flags, 0);
	assert_int_equal(cow_pread_with(f.obj, buf, sizeof(buf), 0, COW_IO_DIRECT), sizeof(buf));
	assert_int_equal(f.store->flags, MSG_IO_DIRECT);
	f.store->requests = 0;
	assert_int_equal(cow_pread_with(f.obj, buf, sizeof(buf), 0, 2), -COW_EINVAL);
	assert_int_equal(cow_pwrite_with(f.obj, buf, sizeof(buf), 0, COW_IO_DIRECT | 4),
			 -COW_EINVAL);
	assert_int_equal(f.store->requests, 0);
	fixture_stop(&f);
}

static void test_io_short_read_at_the_end(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t out[2 * CHUNK + 100];
	uint8_t in[6 * CHUNK];

	(void)state;
	hello.payload_max = CHUNK;
	fixture_start(&f, false, &hello, 1);
	fill(out, sizeof(out), 3);
	assert_int_equal(cow_pwrite(f.obj, out, sizeof(out), 0), sizeof(out));
	assert_int_equal(cow_pread(f.obj, in, sizeof(in), 0), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(cow_pread(f.obj, in, sizeof(in), 2 * CHUNK), 100);
	assert_int_equal(cow_pread(f.obj, in, sizeof(in), sizeof(out)), 0);
	assert_int_equal(cow_pread(f.obj, in, sizeof(in), UINT64_C(1) << 40), 0);
	fixture_stop(&f);
}

static void test_io_error_in_the_middle(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t out[8 * CHUNK];

	(void)state;
	hello.payload_max = CHUNK;
	fixture_start(&f, false, &hello, 1);
	f.store->fail_offset = 2 * CHUNK;
	fill(out, sizeof(out), 4);
	/* the third is the one that fails: those in flight beside it end too, and none follows */
	assert_int_equal(cow_pwrite(f.obj, out, sizeof(out), 0), -COW_ENOSPC);
	assert_string_equal(cow_error(f.cow), "full");
	assert_in_range(f.store->requests, 3, 6);
	assert_int_equal(cow_ping(f.cow), 0);
	fixture_stop(&f);
}

static void test_io_limit_of_requests_in_flight(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct fixture f;
	uint8_t out[16 * CHUNK];

	(void)state;
	hello.payload_max = CHUNK;
	hello.inflight_max = 2;
	fixture_start(&f, false, &hello, 2);
	fill(out, sizeof(out), 5);
	assert_int_equal(cow_pwrite(f.obj, out, sizeof(out), 0), sizeof(out));
	assert_memory_equal(f.store->data, out, sizeof(out));
	fixture_stop(&f);
}

static void test_io_over_tcp_with_checksums(void **state)
{
	struct fixture f;
	uint8_t *out = malloc(OBJECT_BYTES);
	uint8_t *in = malloc(OBJECT_BYTES);

	(void)state;
	assert_non_null(out);
	assert_non_null(in);
	fixture_start(&f, true, NULL, 1);
	fill(out, OBJECT_BYTES, 6);
	/* the fake server checks the CRC of what it receives */
	assert_int_equal(cow_pwrite(f.obj, out, OBJECT_BYTES, 0), OBJECT_BYTES);
	assert_int_equal(cow_pread(f.obj, in, OBJECT_BYTES, 0), OBJECT_BYTES);
	assert_memory_equal(in, out, OBJECT_BYTES);
	fixture_stop(&f);
	free(out);
	free(in);
}

/* A unix socket takes a part of it at a time. */
static void test_io_more_than_the_socket_takes(void **state)
{
	struct fixture f;
	uint8_t *out = malloc(OBJECT_BYTES);

	(void)state;
	assert_non_null(out);
	fixture_start(&f, false, NULL, 1);
	fill(out, OBJECT_BYTES, 7);
	assert_int_equal(cow_pwrite(f.obj, out, OBJECT_BYTES, 0), OBJECT_BYTES);
	assert_memory_equal(f.store->data, out, OBJECT_BYTES);
	fixture_stop(&f);
	free(out);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct worker {
	struct fixture *f;
	pthread_t thread;
	unsigned int number;
	unsigned int rounds;
	int result;
	char message[128];
};

static void workers_run(struct fixture *f, struct worker *w, unsigned int rounds,
			void *(*fn)(void *))
{
	for (unsigned int i = 0; i < NTHREADS; i++) {
		w[i] = (struct worker){.f = f, .number = i, .rounds = rounds};
		assert_int_equal(pthread_create(&w[i].thread, NULL, fn, &w[i]), 0);
	}
	for (unsigned int i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
}

/* Writes and reads a range of its own. */
static void *worker_own_range(void *arg)
{
	struct worker *w = arg;
	uint64_t base = w->number * UINT64_C(65536);
	uint8_t out[5000];
	uint8_t in[5000];

	for (unsigned int i = 0; i < w->rounds; i++) {
		uint64_t offset = base + i * 13u;

		fill(out, sizeof(out), w->number * 1000u + i);
		if (cow_pwrite(w->f->obj, out, sizeof(out), offset) != sizeof(out) ||
		    cow_pread(w->f->obj, in, sizeof(in), offset) != sizeof(in) ||
		    memcmp(in, out, sizeof(in)) != 0)
			w->result = -1;
	}
	return NULL;
}

/* Every answer waits for the requests of all threads, and comes in the reverse order. */
static void test_io_threads_with_replies_out_of_order(void **state)
{
	struct worker w[NTHREADS];
	struct fixture f;

	(void)state;
	fixture_start(&f, false, NULL, NTHREADS);
	workers_run(&f, w, 50, worker_own_range);
	for (unsigned int i = 0; i < NTHREADS; i++)
		assert_int_equal(w[i].result, 0);
	fixture_stop(&f);
}

static void test_io_threads_over_tcp(void **state)
{
	struct msg_hello_reply hello = fake_hello_reply();
	struct worker w[NTHREADS];
	struct fixture f;

	(void)state;
	hello.payload_max = CHUNK; /* so that each call has two requests */
	hello.inflight_max = 3;
	fixture_start(&f, true, &hello, 1);
	workers_run(&f, w, 200, worker_own_range);
	for (unsigned int i = 0; i < NTHREADS; i++)
		assert_int_equal(w[i].result, 0);
	fixture_stop(&f);
}

static void *worker_read_once(void *arg)
{
	struct worker *w = arg;
	uint8_t byte;

	w->result = (int)cow_pread(w->f->obj, &byte, 1, 0);
	(void)snprintf(w->message, sizeof(w->message), "%s", cow_error(w->f->cow));
	return NULL;
}

/* The server never has enough requests to answer: one call meets its deadline, the others find the
 * connection dead, and each thread has its own message. */
static void test_io_timeout_with_threads(void **state)
{
	struct worker w[NTHREADS];
	struct fixture f;
	unsigned int timed_out = 0;

	(void)state;
	fixture_start(&f, false, NULL, BATCH_MAX - 1);
	assert_int_equal(cow_set_timeout(f.cow, 50), 0);
	assert_int_equal(cow_set_reconnect(f.cow, 0), 0);
	workers_run(&f, w, 1, worker_read_once);
	for (unsigned int i = 0; i < NTHREADS; i++) {
		timed_out += w[i].result == -COW_ETIMEDOUT;
		assert_true(w[i].result == -COW_ETIMEDOUT || w[i].result == -COW_ECONN);
		assert_non_null(strstr(w[i].message, "did not answer in time"));
	}
	assert_int_equal(timed_out, 1);
	assert_string_equal(cow_error(f.cow), "");
	assert_int_equal(cow_close(f.obj), -COW_ECONN);
	cow_free(f.cow);
	fake_server_stop(&f.server);
	free(f.store);
}

/* ---- lists, extents, figures ----------------------------------------------------------------- */

struct lists {
	bool unsorted;
	bool endless; /* says "more" without an entry */
};

/* Three pages of two names each: "n0" to "n5". */
static void serve_list(struct fake_conn *conn, const struct fake_frame *f)
{
	const struct lists *ls = conn->ctx;
	struct msg_info info = {.size_bytes = 42};
	struct msg_list m;
	uint8_t body[1024];
	size_t used = MSG_LIST_HEAD_BYTES;
	unsigned int first;

	if (msg_list_decode(f->body, f->h.body_len, &m) < 0)
		return;
	first = m.after[0] ? (unsigned int)(m.after[1] - '0') + 1 : 0;
	for (unsigned int i = first; !ls->endless && i < first + 2; i++) {
		info.id = i;
		(void)snprintf(info.name, sizeof(info.name), "n%u", ls->unsorted ? 5 - i : i);
		if (msg_list_add(body, sizeof(body), &used, &info) < 0)
			return;
	}
	msg_list_finish(body, ls->endless ? 0 : 2, first + 2 < 6);
	fake_reply(conn, f, 0, body, used, NULL, 0);
}

static void serve_extents(struct fake_conn *conn, const struct fake_frame *f)
{
	static const struct msg_extent ext[] = {
	    {.len = 4096, .kind = MSG_EXTENT_DATA, .flags = MSG_EXTENT_SHARED, .physical = 12388},
	    {.len = 8192, .kind = MSG_EXTENT_ZERO, .flags = MSG_EXTENT_DIRTY},
	};
	uint8_t body[64];
	int n = msg_extents_reply_encode(body, sizeof(body), ext, 2);

	fake_reply(conn, f, 0, body, (size_t)n, NULL, 0);
}

static void serve_open(struct fake_conn *conn, const struct fake_frame *f)
{
	struct msg_open_reply open = {.handle = 3, .info = {.name = "a"}};
	uint8_t body[512];
	int n = msg_open_reply_encode(body, sizeof(body), &open);

	fake_reply(conn, f, 0, body, (size_t)n, NULL, 0);
}

static void serve_info(struct fake_conn *conn, const struct fake_frame *f)
{
	struct msg_info info = {"a", 1, 2, 3, 4, 5, 6, 7, .parent = 0};
	uint8_t body[512];
	int n = msg_info_encode(body, sizeof(body), &info);

	fake_reply(conn, f, 0, body, (size_t)n, NULL, 0);
}

static void serve_statfs(struct fake_conn *conn, const struct fake_frame *f)
{
	struct msg_statfs_reply st = {4096, 100, 50, 10, 90, 30, 20, 5, .versions = 0};
	uint8_t body[128];
	int n = msg_statfs_reply_encode(body, sizeof(body), &st);

	fake_reply(conn, f, 0, body, (size_t)n, NULL, 0);
}

static void serve_questions(struct fake_conn *conn)
{
	struct fake_frame f;

	if (!fake_hello(conn, NULL))
		return;
	while (fake_recv(conn, &f)) {
		if (f.h.op == WIRE_OP_LIST)
			serve_list(conn, &f);
		else if (f.h.op == WIRE_OP_EXTENTS)
			serve_extents(conn, &f);
		else if (f.h.op == WIRE_OP_OPEN)
			serve_open(conn, &f);
		else if (f.h.op == WIRE_OP_INFO || f.h.op == WIRE_OP_CLONE)
			serve_info(conn, &f);
		else if (f.h.op == WIRE_OP_STATFS)
			serve_statfs(conn, &f);
		else
			fake_reply(conn, &f, 0, "x", 1, NULL, 0); /* malformed: a body too many */
	}
}

static cow_t *questions_start(struct fake_server *server, struct lists *ls)
{
	cow_t *cow = cow_new();

	fake_server_start(server, false, serve_questions, ls);
	assert_non_null(cow);
	assert_int_equal(cow_connect(cow, server->uri), 0);
	return cow;
}

static void test_io_list_in_pages(void **state)
{
	struct lists ls = {0};
	struct fake_server server;
	cow_t *cow = questions_start(&server, &ls);
	struct cow_info *infos;
	size_t count;
	char name[16];

	(void)state;
	assert_int_equal(cow_list(cow, "n", &infos, &count), 0);
	assert_int_equal(count, 6);
	for (unsigned int i = 0; i < 6; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_string_equal(infos[i].name, name);
		assert_int_equal(infos[i].id, i);
		assert_int_equal(infos[i].size, 42);
	}
	cow_list_free(infos, count);
	cow_free(cow);
	fake_server_stop(&server);
}

static void test_io_list_that_would_not_end(void **state)
{
	struct lists unsorted = {.unsorted = true};
	struct lists endless = {.endless = true};
	struct lists *both[] = {&unsorted, &endless};
	struct cow_info *infos = NULL;
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fake_server server;
		cow_t *cow = questions_start(&server, both[i]);

		assert_int_equal(cow_list(cow, NULL, &infos, &count), -COW_EPROTO);
		assert_null(infos);
		cow_free(cow);
		fake_server_stop(&server);
	}
}

static void test_io_extents(void **state)
{
	struct lists ls = {0};
	struct fake_server server;
	cow_t *cow = questions_start(&server, &ls);
	struct cow_extent ext[4];
	cow_object_t *obj;

	(void)state;
	assert_int_equal(cow_open(cow, "a", COW_OPEN_READONLY, &obj), 0);
	assert_int_equal(cow_get_extents(obj, 100, UINT64_MAX, ext, 4), 2);
	assert_int_equal(ext[0].offset, 100);
	assert_int_equal(ext[0].len, 4096);
	assert_int_equal(ext[0].kind, COW_EXTENT_DATA);
	assert_int_equal(ext[0].flags, COW_EXTENT_SHARED);
	assert_int_equal(ext[0].physical, 12388);
	assert_int_equal(ext[1].offset, 4196);
	assert_int_equal(ext[1].kind, COW_EXTENT_ZERO);
	assert_int_equal(cow_map(obj, 100, UINT64_MAX, ext, 4), 2);
	assert_int_equal(ext[1].flags, COW_EXTENT_DIRTY);
	assert_int_equal(ext[1].physical, 0);
	assert_int_equal(cow_get_extents(obj, 0, 12287, ext, 4), -COW_EPROTO);
	assert_int_equal(cow_get_extents(obj, 0, 12288, ext, 1), -COW_EPROTO);
	assert_int_equal(cow_map(obj, 0, 12288, ext, 1), -COW_EPROTO);
	assert_int_equal(cow_close(obj),
			 -COW_EPROTO); /* the malformed reply of serve_questions() */
	cow_free(cow);
	fake_server_stop(&server);
}

static void test_io_info_and_statfs(void **state)
{
	struct lists ls = {0};
	struct fake_server server;
	cow_t *cow = questions_start(&server, &ls);
	struct cow_statfs st;
	struct cow_info info;

	(void)state;
	assert_int_equal(cow_get_info(cow, "a", &info), 0);
	assert_string_equal(info.name, "a");
	assert_int_equal(info.id, 1);
	assert_int_equal(info.size, 2);
	assert_int_equal(info.mapped, 3);
	assert_int_equal(info.generation, 4);
	assert_int_equal(info.ctime_ns, 5);
	assert_int_equal(info.mtime_ns, 6);
	assert_int_equal(info.origin, 7);
	cow_info_clear(&info);
	assert_int_equal(cow_get_statfs(cow, &st), 0);
	assert_int_equal(st.block_size, 4096);
	assert_int_equal(st.total, 100);
	assert_int_equal(st.free, 50);
	assert_int_equal(st.reserved, 10);
	assert_int_equal(st.mapped, 90);
	assert_int_equal(st.meta_total, 30);
	assert_int_equal(st.meta_used, 20);
	assert_int_equal(st.objects, 5);
	assert_int_equal(cow_clone(cow, "a", "b"), 0);
	assert_int_equal(cow_remove(cow, "a"), -COW_EPROTO);
	cow_free(cow);
	fake_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_io_four_requests_in_flight),
	    cmocka_unit_test(test_io_splits_at_the_payload_limit),
	    cmocka_unit_test(test_io_flags_go_with_each_request),
	    cmocka_unit_test(test_io_short_read_at_the_end),
	    cmocka_unit_test(test_io_error_in_the_middle),
	    cmocka_unit_test(test_io_limit_of_requests_in_flight),
	    cmocka_unit_test(test_io_over_tcp_with_checksums),
	    cmocka_unit_test(test_io_more_than_the_socket_takes),
	    cmocka_unit_test(test_io_threads_with_replies_out_of_order),
	    cmocka_unit_test(test_io_threads_over_tcp),
	    cmocka_unit_test(test_io_timeout_with_threads),
	    cmocka_unit_test(test_io_list_in_pages),
	    cmocka_unit_test(test_io_list_that_would_not_end),
	    cmocka_unit_test(test_io_extents),
	    cmocka_unit_test(test_io_info_and_statfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
