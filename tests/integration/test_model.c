/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on objects and their clones, against a model in memory, with restarts between.
 * $TEST_SEED and $TEST_OPS repeat a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cow.h"
#include "common/annot.h"
#include "tests/lib/ctl.h"
#include "tests/lib/daemon.h"
#include "tests/lib/model.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define OBJECTS	    12
#define CONNECTIONS 2
#define WRITE_MAX   (3u << 20)
#define DENSE_MAX   (8u << 20) /* the largest dense object */
#define WINDOW_MAX  (2u << 20) /* a sparse object has data in windows of about this */
#define OPS_DEFAULT 20000u
#define RESTARTS    4u

/* Where the windows of a sparse object begin. */
static const uint64_t windows[] = {0, (UINT64_C(1) << 30) + 12345, (UINT64_C(1) << 40) - 1000001};

struct file {
	bool live;
	bool sparse;
	char name[32];
	struct model model;
	cow_object_t *handles[CONNECTIONS];
};

struct world {
	struct daemon d;
	cow_t *cow[CONNECTIONS];
	int kinds[CONNECTIONS];
	struct rnd rnd;
	struct file files[OBJECTS];
	unsigned int names; /* given out */
	uint8_t *data;	    /* random bytes to write */
	uint8_t *want;
	uint8_t *got;
	uint64_t op;
};

#define OK(call) ok_at(w, (call), #call, __LINE__)

static void ok_at(struct world *w, ssize_t result, const char *call, int line)
{
	if (result >= 0)
		return;
	must_failed(__FILE__, line, call, "%s; %s; %s (operation %" PRIu64 ", seed %" PRIu64 ")",
		    cow_strerror((int)result), cow_error(w->cow[0]), cow_error(w->cow[1]), w->op,
		    rnd_seed());
}

/* ---- picking --------------------------------------------------------------------------------- */

static struct file *pick_live(struct world *w)
{
	size_t start = rnd_below(&w->rnd, OBJECTS);

	for (size_t i = 0; i < OBJECTS; i++) {
		struct file *f = &w->files[(start + i) % OBJECTS];

		if (f->live)
			return f;
	}
	return NULL;
}

static struct file *pick_free(struct world *w)
{
	for (size_t i = 0; i < OBJECTS; i++) {
		if (!w->files[i].live)
			return &w->files[i];
	}
	return NULL;
}

/* A range for a read or a write, within what the object may become. */
static void pick_range(struct world *w, const struct file *f, uint64_t *off, size_t *len)
{
	size_t n = (size_t)rnd_log(&w->rnd, WRITE_MAX);

	if (f->sparse) {
		*off = windows[rnd_below(&w->rnd, ARRAY_LEN(windows))];
		*off += rnd_below(&w->rnd, WINDOW_MAX);
	} else {
		*off = rnd_below(&w->rnd, DENSE_MAX);
		if (n > DENSE_MAX - *off)
			n = (size_t)(DENSE_MAX - *off);
	}
	if (rnd_one_in(&w->rnd, 3))
		*off -= *off % 4096;
	*len = n;
}

static cow_object_t *handle_of(struct world *w, struct file *f)
{
	size_t c = rnd_below(&w->rnd, CONNECTIONS);

	if (!f->handles[c]) {
		OK(cow_open(w->cow[c], f->name, 0, &f->handles[c]));
		MUST(cow_object_size(f->handles[c]) == f->model.size, "size of %s", f->name);
	}
	return f->handles[c];
}

static void close_handles(struct world *w, struct file *f)
{
	for (size_t c = 0; c < CONNECTIONS; c++) {
		if (f->handles[c])
			OK(cow_close(f->handles[c]));
		f->handles[c] = NULL;
	}
}

static void name_file(struct world *w, struct file *f)
{
	(void)snprintf(f->name, sizeof(f->name), "dir/object-%u", w->names++);
	f->live = true;
}

static cow_t *any_cow(struct world *w)
{
	return w->cow[rnd_below(&w->rnd, CONNECTIONS)];
}

/* ---- the operations -------------------------------------------------------------------------- */

static void op_create(struct world *w, struct file *f)
{
	struct file *made = pick_free(w);

	if (f)
		MUST(cow_create(any_cow(w), f->name, 1) == -COW_EEXIST, "%s", f->name);
	if (!made)
		return;
	name_file(w, made);
	made->sparse = rnd_one_in(&w->rnd, 3);
	made->model.size = rnd_below(&w->rnd, DENSE_MAX);
	OK(cow_create(any_cow(w), made->name, made->model.size));
}

static void op_clone(struct world *w, struct file *f)
{
	struct file *made = pick_free(w);

	if (!made)
		return;
	name_file(w, made);
	made->sparse = f->sparse;
	model_copy(&made->model, &f->model);
	OK(cow_clone(any_cow(w), f->name, made->name));
}

static void op_remove(struct world *w, struct file *f)
{
	if (pick_free(w) && !rnd_one_in(&w->rnd, 4))
		return;
	if (f->handles[0] || f->handles[1])
		MUST(cow_remove(any_cow(w), f->name) == -COW_EBUSY, "%s is open", f->name);
	close_handles(w, f);
	OK(cow_remove(any_cow(w), f->name));
	MUST(cow_remove(any_cow(w), f->name) == -COW_ENOENT, "%s is gone", f->name);
	model_fini(&f->model);
	f->live = false;
}

static void op_write(struct world *w, struct file *f)
{
	const uint8_t *data;
	uint64_t off;
	size_t len;

	pick_range(w, f, &off, &len);
	data = w->data + rnd_below(&w->rnd, WRITE_MAX);
	OK(cow_pwrite(handle_of(w, f), data, len, off));
	model_write(&f->model, off, data, len);
}

static void op_read(struct world *w, struct file *f)
{
	uint64_t off;
	size_t len, want;
	ssize_t got;

	pick_range(w, f, &off, &len);
	if (rnd_one_in(&w->rnd, 10))
		off = f->model.size - (f->model.size < len ? 0 : len / 2);
	want = model_read(&f->model, off, w->want, len);
	got = cow_pread(handle_of(w, f), w->got, len, off);
	OK(got);
	MUST((size_t)got == want, "%s at %" PRIu64 ": %zd bytes of %zu", f->name, off, got, want);
	for (size_t i = 0; i < want; i++)
		MUST(w->got[i] == w->want[i],
		     "%s: byte %" PRIu64 " (size %" PRIu64 ", read from %" PRIu64 " on) is %02x,"
		     " not %02x; operation %" PRIu64 ", seed %" PRIu64,
		     f->name, off + i, f->model.size, off, w->got[i], w->want[i], w->op,
		     rnd_seed());
}

static void op_resize(struct world *w, struct file *f)
{
	uint64_t size;
	size_t len;

	pick_range(w, f, &size, &len);
	if (size < f->model.size)
		MUST(cow_resize(handle_of(w, f), size, 0) == -COW_EINVAL, "%s shrank", f->name);
	OK(cow_resize(handle_of(w, f), size, COW_RESIZE_SHRINK));
	model_resize(&f->model, size);
}

static void op_extents(struct world *w, struct file *f)
{
	struct cow_extent ext[7];
	uint64_t off, end, at;
	size_t len;
	ssize_t n = 1;

	pick_range(w, f, &off, &len);
	end = off + len < f->model.size ? off + len : f->model.size;
	for (at = off; at < end;) {
		n = cow_get_extents(handle_of(w, f), at, end - at, ext, ARRAY_LEN(ext));
		OK(n);
		MUST(n > 0, "%s: no extent at %" PRIu64 " of %" PRIu64, f->name, at, end);
		for (ssize_t i = 0; i < n; i++) {
			MUST(ext[i].offset == at && ext[i].len > 0, "extents are consecutive");
			at += ext[i].len;
			MUST(at <= end, "%s: past the end", f->name);
			MUST(ext[i].kind == COW_EXTENT_DATA ||
				 model_is_zero(&f->model, ext[i].offset, ext[i].len),
			     "%s: data in a hole at %" PRIu64 " length %" PRIu64, f->name,
			     ext[i].offset, ext[i].len);
		}
	}
	MUST(cow_get_extents(handle_of(w, f), f->model.size, 1, ext, 1) == 0, "beyond the end");
}

static void op_info(struct world *w, struct file *f)
{
	struct cow_info info;

	OK(cow_get_info(any_cow(w), f->name, &info));
	MUST(info.size == f->model.size && strcmp(info.name, f->name) == 0, "%s", f->name);
	cow_info_clear(&info);
}

static void op_fsync(struct world *w, struct file *f)
{
	OK(cow_fsync(handle_of(w, f)));
}

struct op_row {
	void (*run)(struct world *w, struct file *f);
	unsigned int weight;
};

static const struct op_row ops[] = {
    {op_write, 42}, {op_read, 28},  {op_fsync, 5},  {op_resize, 5},	{op_extents, 5},
    {op_clone, 4},  {op_remove, 3}, {op_create, 2}, {close_handles, 3}, {op_info, 3},
};

static void run_one(struct world *w)
{
	struct file *f = pick_live(w);
	uint64_t pick = rnd_below(&w->rnd, 100);
	size_t i = 0;

	if (!f) {
		op_create(w, NULL);
		return;
	}
	while (pick >= ops[i].weight)
		pick -= ops[i++].weight;
	ops[i].run(w, f);
}

/* ---- restarts -------------------------------------------------------------------------------- */

static void connect_all(struct world *w)
{
	for (size_t c = 0; c < CONNECTIONS; c++)
		w->cow[c] = daemon_connect(&w->d, w->kinds[c]);
}

static void disconnect_all(struct world *w)
{
	for (size_t i = 0; i < OBJECTS; i++)
		close_handles(w, &w->files[i]);
	for (size_t c = 0; c < CONNECTIONS; c++)
		cow_free(w->cow[c]);
}

/* All that is there by "cowctl cat", and of a sparse object each window and the holes' edges. */
static void compare_file(struct world *w, const struct file *f)
{
	const char *uri = w->d.uri[w->kinds[0]];
	uint64_t off = 0, len = 0;

	if (f->model.size <= DENSE_MAX + WRITE_MAX) {
		ctl_compare(uri, f->name, &f->model, 0, f->model.size);
		return;
	}
	while (model_next_run(&f->model, &off, &len)) {
		ctl_compare(uri, f->name, &f->model, off, len + 5000);
		off += len;
	}
	ctl_compare(uri, f->name, &f->model, f->model.size - 1, 2);
}

static void compare_all(struct world *w)
{
	struct cow_info *infos;
	size_t count, live = 0;

	OK(cow_list(w->cow[0], "dir/", &infos, &count));
	for (size_t i = 0; i < OBJECTS; i++) {
		if (!w->files[i].live)
			continue;
		live++;
		op_info(w, &w->files[i]);
		compare_file(w, &w->files[i]);
	}
	MUST(count == live, "%zu objects, not %zu", count, live);
	cow_list_free(infos, count);
}

static void restart(struct world *w)
{
	disconnect_all(w);
	daemon_stop(&w->d);
	daemon_check(&w->d);
	daemon_start(&w->d);
	connect_all(w);
	compare_all(w);
}

/* What was removed is free again in the end: all but what the store had when it was new. */
static void remove_all(struct world *w, uint64_t free_bytes)
{
	struct cow_statfs st = {.free = 0};

	for (size_t i = 0; i < OBJECTS; i++) {
		struct file *f = &w->files[i];

		if (!f->live)
			continue;
		close_handles(w, f);
		OK(cow_remove(w->cow[0], f->name));
		model_fini(&f->model);
		f->live = false;
	}
	while (st.free != free_bytes)
		OK(cow_get_statfs(w->cow[0], &st));
	MUST(st.objects == 0 && st.mapped == 0, "something is left");
}

static uint8_t *need_buffer(size_t len)
{
	uint8_t *p = malloc(len);

	MUST(p, "memory");
	return p;
}

static void run_world(const struct daemon_config *config, int kind0, int kind1, uint64_t stream)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t count = rnd_env("TEST_OPS", OPS_DEFAULT);
	struct cow_statfs st;

	MUST(w, "memory");
	must_end_within(800);
	w->rnd = rnd_stream(stream);
	w->kinds[0] = kind0;
	w->kinds[1] = kind1;
	w->data = need_buffer(2 * WRITE_MAX);
	w->want = need_buffer(WRITE_MAX);
	w->got = need_buffer(WRITE_MAX);
	rnd_fill(w->data, 2 * WRITE_MAX, rnd_u64(&w->rnd));
	daemon_init(&w->d, config);
	daemon_start(&w->d);
	connect_all(w);
	OK(cow_get_statfs(w->cow[0], &st));
	for (w->op = 1; w->op <= count; w->op++) {
		run_one(w);
		if (w->op % (count / RESTARTS + 1) == 0)
			restart(w);
	}
	restart(w);
	remove_all(w, st.free);
	disconnect_all(w);
	daemon_stop(&w->d);
	daemon_check(&w->d);
	daemon_fini(&w->d);
	free(w->data);
	free(w->want);
	free(w->got);
	free(w);
}

static void test_model_unix(void **state)
{
	(void)state;
	run_world(NULL, DAEMON_UNIX, DAEMON_UNIX, 1);
}

/* Most of the data does not fit in memory: blocks are evicted, and writes must wait. */
static void test_model_tcp_small_cache(void **state)
{
	struct daemon_config config = {.cache = "16M", .writeback_ms = "50", .size = "400M"};

	(void)state;
	run_world(&config, DAEMON_TCP, DAEMON_UNIX, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model_unix),
	    cmocka_unit_test(test_model_tcp_small_cache),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
