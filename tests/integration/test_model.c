/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on objects, their clones and their versions, against a model in memory, with
 * restarts between; through the cache, past it, and both at once.
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

#include "common/annot.h"
#include "tests/integration/model_world.h"
#include "tests/lib/check_extents.h"

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

static struct version *pick_version(struct world *w, struct file *f, bool live)
{
	size_t start = rnd_below(&w->rnd, VERSIONS);

	for (size_t i = 0; i < VERSIONS; i++) {
		struct version *v = &f->versions[(start + i) % VERSIONS];

		if (v->live == live)
			return v;
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
		OK(cow_open(w->cow[c], f->name, w->flags[c], &f->handles[c]));
		MUST(cow_object_size(f->handles[c]) == f->model.size, "size of %s", f->name);
	}
	return f->handles[c];
}

static unsigned int io_flags(struct world *w)
{
	return w->mixed && rnd_one_in(&w->rnd, 2) ? COW_IO_DIRECT : 0;
}

static void name_file(struct world *w, struct file *f)
{
	(void)snprintf(f->name, sizeof(f->name), "dir/object-%u", w->names++);
	f->live = true;
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
	struct version *v = rnd_one_in(&w->rnd, 2) ? pick_version(w, f, true) : NULL;
	struct file *made = pick_free(w);

	if (!made)
		return;
	name_file(w, made);
	made->sparse = f->sparse;
	model_copy(&made->model, v ? &v->model : &f->model);
	OK(cow_clone(any_cow(w), spec_of(f, v).text, made->name));
}

static void op_remove(struct world *w, struct file *f)
{
	if (pick_free(w) && !rnd_one_in(&w->rnd, 4))
		return;
	if (f->handles[0] || f->handles[1])
		MUST(cow_remove(any_cow(w), f->name) == -COW_EBUSY, "%s is open", f->name);
	world_close_handles(w, f);
	if (pick_version(w, f, true)) {
		MUST(cow_remove(any_cow(w), f->name) == -COW_EBUSY, "%s has versions", f->name);
		OK(cow_remove_with(any_cow(w), f->name, COW_REMOVE_VERSIONS));
	} else {
		OK(cow_remove(any_cow(w), f->name));
	}
	MUST(cow_remove(any_cow(w), f->name) == -COW_ENOENT, "%s is gone", f->name);
	world_forget(f);
}

/* A version is made, or the one there is removed or gets another name. */
static void op_version(struct world *w, struct file *f)
{
	struct version *v = pick_version(w, f, false);
	struct spec old;

	if (v) {
		(void)snprintf(v->name, sizeof(v->name), "v%u", w->names++);
		v->mortal = rnd_one_in(&w->rnd, 2);
		OK(cow_snap_with(any_cow(w), spec_of(f, v).text,
				 &(struct cow_attrs){.ttl_ms = v->mortal ? TTL_MS : 0}));
		model_copy(&v->model, &f->model);
		v->live = true;
		return;
	}
	v = pick_version(w, f, true);
	old = spec_of(f, v);
	if (rnd_one_in(&w->rnd, 3)) {
		(void)snprintf(v->name, sizeof(v->name), "v%u", w->names++);
		OK(cow_rename(any_cow(w), old.text, spec_of(f, v).text, 0));
	} else {
		OK(cow_remove(any_cow(w), old.text));
		model_fini(&v->model);
		v->live = false;
	}
}

/* Handles stay open over a reset, but only the one that is asked tells of the new size. */
static void op_reset(struct world *w, struct file *f)
{
	struct version *v = pick_version(w, f, true);

	if (!v)
		return;
	if (rnd_one_in(&w->rnd, 2))
		world_close_handles(w, f);
	OK(cow_reset(any_cow(w), spec_of(f, v).text, NULL));
	model_fini(&f->model);
	model_copy(&f->model, &v->model);
}

/* Another name, or that of another object, which gets its: handles and versions go along. */
static void op_rename(struct world *w, struct file *f)
{
	struct file *other = pick_live(w);
	char old[sizeof(f->name)];

	memcpy(old, f->name, sizeof(old));
	if (other == f || rnd_one_in(&w->rnd, 2)) {
		name_file(w, f);
		OK(cow_rename(any_cow(w), old, f->name, 0));
		return;
	}
	MUST(cow_rename(any_cow(w), f->name, other->name, 0) == -COW_EEXIST, "%s", other->name);
	OK(cow_rename(any_cow(w), f->name, other->name, COW_RENAME_EXCHANGE));
	memcpy(f->name, other->name, sizeof(old));
	memcpy(other->name, old, sizeof(old));
}

static void op_write(struct world *w, struct file *f)
{
	const uint8_t *data;
	uint64_t off;
	size_t len;

	pick_range(w, f, &off, &len);
	data = w->data + rnd_below(&w->rnd, WRITE_MAX);
	OK(cow_pwrite_with(handle_of(w, f), data, len, off, io_flags(w)));
	model_write(&f->model, off, data, len);
}

#define RANGES 12u

/* Ascending, from off on, in len bytes; some share a block.  Returns how many. */
static size_t split_ranges(struct world *w, uint64_t off, size_t len, struct cow_range *ranges)
{
	uint8_t *from = w->data + rnd_below(&w->rnd, WRITE_MAX);
	size_t at = 0;
	size_t n = 0;

	while (n < RANGES && at < len) {
		size_t part = 1 + (size_t)rnd_log(&w->rnd, (len - at) / 2);

		ranges[n++] = (struct cow_range){off + at, from + at, part};
		at += part + (size_t)rnd_log(&w->rnd, 5000) - 1;
	}
	return n;
}

/* Sometimes at its generation, and then at the one before too, which nobody has any more. */
static void op_write_ranges(struct world *w, struct file *f)
{
	cow_object_t *h = handle_of(w, f);
	struct cow_range ranges[RANGES];
	uint64_t generation, off, old;
	size_t len, n;

	pick_range(w, f, &off, &len);
	n = split_ranges(w, off, len, ranges);
	if (n == 0)
		return;
	OK(cow_fsync_if(h, NULL, &old));
	OK(cow_writev(h, ranges, n, rnd_one_in(&w->rnd, 2) ? &old : NULL, &generation));
	MUST(generation > old, "%s: generation %" PRIu64, f->name, generation);
	MUST(cow_writev(h, ranges, 1, &old, NULL) == -COW_ECHANGED, "%s", f->name);
	for (size_t i = 0; i < n; i++)
		model_write(&f->model, ranges[i].offset, ranges[i].buf, ranges[i].len);
}

static void op_read_ranges(struct world *w, struct file *f)
{
	struct cow_range ranges[RANGES];
	size_t got[RANGES];
	size_t n = 1 + rnd_below(&w->rnd, RANGES);

	for (size_t i = 0; i < n; i++) {
		pick_range(w, f, &ranges[i].offset, &ranges[i].len);
		ranges[i].len = ranges[i].len % (WRITE_MAX / RANGES);
		ranges[i].buf = w->got + i * (WRITE_MAX / RANGES);
	}
	OK(cow_readv(handle_of(w, f), ranges, n, got));
	for (size_t i = 0; i < n; i++) {
		size_t want = model_read(&f->model, ranges[i].offset, w->want, ranges[i].len);

		MUST(got[i] == want && memcmp(ranges[i].buf, w->want, want) == 0,
		     "%s: range %zu, at %" PRIu64 " length %zu, has %zu", f->name, i,
		     ranges[i].offset, ranges[i].len, got[i]);
	}
}

static void compare_read(struct world *w, const char *name, const struct model *model,
			 cow_object_t *handle, uint64_t off, size_t len)
{
	size_t want = model_read(model, off, w->want, len);
	ssize_t got = cow_pread_with(handle, w->got, len, off, io_flags(w));

	OK(got);
	MUST((size_t)got == want, "%s at %" PRIu64 ": %zd bytes of %zu", name, off, got, want);
	for (size_t i = 0; i < want; i++)
		MUST(w->got[i] == w->want[i],
		     "%s: byte %" PRIu64 " (size %" PRIu64 ", read from %" PRIu64 " on) is %02x,"
		     " not %02x; operation %" PRIu64 ", seed %" PRIu64,
		     name, off + i, model->size, off, w->got[i], w->want[i], w->op, rnd_seed());
}

static void op_read(struct world *w, struct file *f)
{
	uint64_t off;
	size_t len;

	pick_range(w, f, &off, &len);
	if (rnd_one_in(&w->rnd, 10))
		off = f->model.size - (f->model.size < len ? 0 : len / 2);
	compare_read(w, f->name, &f->model, handle_of(w, f), off, len);
}

static void op_read_version(struct world *w, struct file *f)
{
	struct version *v = pick_version(w, f, true);
	cow_object_t *handle;
	uint64_t off;
	size_t len;

	if (!v)
		return;
	pick_range(w, f, &off, &len);
	OK(cow_open(any_cow(w), spec_of(f, v).text, COW_OPEN_READONLY, &handle));
	MUST(cow_object_size(handle) == v->model.size, "size of %s", spec_of(f, v).text);
	compare_read(w, spec_of(f, v).text, &v->model, handle, off, len);
	OK(cow_close(handle));
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

static void op_zero(struct world *w, struct file *f)
{
	uint64_t off;
	size_t len;

	pick_range(w, f, &off, &len);
	OK(cow_zero(handle_of(w, f), off, len));
	model_zero(&f->model, off, len);
}

/* Whole blocks of the range; the object's end ends its last one. */
static void op_trim(struct world *w, struct file *f)
{
	uint64_t off, first, end;
	size_t len;

	pick_range(w, f, &off, &len);
	OK(cow_trim(handle_of(w, f), off, len));
	first = (off + TRIM_BYTES - 1) / TRIM_BYTES * TRIM_BYTES;
	end = off + len;
	if (end < f->model.size)
		end = end / TRIM_BYTES * TRIM_BYTES;
	if (first < end)
		model_zero(&f->model, first, end - first);
}

/* The handle of both has to be of one connection. */
static cow_object_t *handle_on(struct world *w, struct file *f, size_t c)
{
	if (!f->handles[c])
		OK(cow_open(w->cow[c], f->name, 0, &f->handles[c]));
	return f->handles[c];
}

/* Where the two ranges of one object overlap it is refused; beyond the end of the source too. */
static void op_clone_range(struct world *w, struct file *dst)
{
	struct file *src = rnd_one_in(&w->rnd, 4) ? dst : pick_live(w);
	size_t c = rnd_below(&w->rnd, CONNECTIONS);
	uint64_t to, from, apart;
	size_t len, unused;
	bool fits;
	int err;

	pick_range(w, dst, &to, &len);
	pick_range(w, src, &from, &unused);
	from -= from % TRIM_BYTES;
	from += to % TRIM_BYTES;
	if (rnd_one_in(&w->rnd, 3) && from < src->model.size && src->model.size - from < WRITE_MAX)
		len = (size_t)(src->model.size - from);
	fits = from <= src->model.size && len <= src->model.size - from;
	apart = from < to ? to - from : from - to;
	err = cow_clone_range(handle_on(w, src, c), from, len, handle_on(w, dst, c), to);
	if (len > 0 && (!fits || (src == dst && apart < len))) {
		MUST(err == -COW_EINVAL, "%s to %s", src->name, dst->name);
		return;
	}
	OK(err);
	len = model_read(&src->model, from, w->want, len);
	model_write(&dst->model, to, w->want, len);
}

/* Only committed data has a place, and can be shared; without details nothing is said of it. */
static void check_details(const struct file *f, const struct cow_extent *ext, bool details)
{
	bool dirty = ext->flags == COW_EXTENT_DIRTY;
	bool placed = ext->kind == COW_EXTENT_DATA && !dirty && details;

	MUST((ext->physical != 0) == placed && (placed || dirty || ext->flags == 0) &&
		 (details || ext->flags == 0) &&
		 (ext->kind == COW_EXTENT_DATA || dirty == (ext->kind == COW_EXTENT_ZERO)),
	     "%s: kind %d, flags %u, place %" PRIu64, f->name, ext->kind, ext->flags,
	     ext->physical);
}

/* Nothing that can be read changes, nor the generation; and nothing of the range is shared, but with
 * what was cloned from it meanwhile, which nobody does here. */
static void op_unshare(struct world *w, struct file *f)
{
	struct cow_extent ext[16];
	struct cow_info before, after;
	uint64_t off;
	size_t len;
	ssize_t n;

	pick_range(w, f, &off, &len);
	OK(cow_get_info(any_cow(w), f->name, &before));
	OK(cow_unshare(handle_of(w, f), off, len, NULL));
	OK(cow_get_info(any_cow(w), f->name, &after));
	MUST(before.generation == after.generation && before.mtime_ns == after.mtime_ns,
	     "%s: unsharing is no change", f->name);
	cow_info_clear(&before);
	cow_info_clear(&after);
	n = len > 0 ? cow_map(handle_of(w, f), off, len, ext, ARRAY_LEN(ext)) : 0;
	OK(n);
	for (ssize_t i = 0; i < n; i++)
		MUST(!(ext[i].flags & COW_EXTENT_SHARED), "%s: shared at %" PRIu64, f->name,
		     ext[i].offset);
}

static void op_extents(struct world *w, struct file *f)
{
	ssize_t (*report)(cow_object_t *, uint64_t, uint64_t, struct cow_extent *, size_t) =
	    rnd_one_in(&w->rnd, 2) ? cow_map : cow_get_extents;
	struct cow_extent ext[7];
	uint64_t off, end, at;
	size_t len;
	ssize_t n = 1;

	pick_range(w, f, &off, &len);
	end = off + len < f->model.size ? off + len : f->model.size;
	for (at = off; at < end;) {
		n = report(handle_of(w, f), at, end - at, ext, ARRAY_LEN(ext));
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
			check_details(f, &ext[i], report == cow_map);
		}
	}
	MUST(cow_get_extents(handle_of(w, f), f->model.size, 1, ext, 1) == 0, "beyond the end");
	check_seek(handle_of(w, f), &f->model, off);
}

static void op_diff(struct world *w, struct file *f)
{
	struct file *g = pick_live(w);
	const struct version *v = rnd_below(&w->rnd, 2) ? pick_version(w, g, true) : NULL;
	struct cow_info info;

	OK(cow_get_info(any_cow(w), spec_of(g, v).text, &info));
	check_diff(handle_of(w, f), &f->model, info.id, v ? &v->model : &g->model);
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
    {op_write, 20},	      {op_read, 17},	       {op_fsync, 5},	    {op_resize, 5},
    {op_extents, 4},	      {op_clone, 4},	       {op_remove, 3},	    {op_create, 2},
    {op_version, 3},	      {op_reset, 2},	       {op_rename, 2},	    {op_read_version, 2},
    {world_close_handles, 3}, {world_compare_info, 2}, {op_zero, 2},	    {op_trim, 2},
    {op_clone_range, 3},      {op_write_ranges, 5},    {op_read_ranges, 3}, {op_diff, 2},
    {world_group, 4},	      {world_set, 2},	       {op_unshare, 3},
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

static uint8_t *need_buffer(size_t len)
{
	uint8_t *p = malloc(len);

	MUST(p, "memory");
	return p;
}

static struct world *world_new(int kind0, int kind1, uint64_t stream)
{
	struct world *w = calloc(1, sizeof(*w));

	MUST(w, "memory");
	w->rnd = rnd_stream(stream);
	w->kinds[0] = kind0;
	w->kinds[1] = kind1;
	return w;
}

/* And frees it. */
static void run_world(struct world *w, const struct daemon_config *config, uint64_t count)
{
	struct cow_statfs st;

	must_end_within(400 + (unsigned int)(count / 50));
	w->data = need_buffer(2 * WRITE_MAX);
	w->want = need_buffer(WRITE_MAX);
	w->got = need_buffer(WRITE_MAX);
	rnd_fill(w->data, 2 * WRITE_MAX, rnd_u64(&w->rnd));
	daemon_init(&w->d, config);
	daemon_start(&w->d);
	world_connect(w);
	OK(cow_get_statfs(w->cow[0], &st));
	for (w->op = 1; w->op <= count; w->op++) {
		run_one(w);
		if (w->op % (count / RESTARTS + 1) == 0)
			world_restart(w);
	}
	world_restart(w);
	world_remove_all(w, st.free);
	world_disconnect(w);
	daemon_stop(&w->d);
	daemon_check(&w->d);
	daemon_fini(&w->d);
	free(w->data);
	free(w->want);
	free(w->got);
	free(w);
}

static uint64_t op_count(void)
{
	return rnd_count("TEST_OPS", OPS_DEFAULT);
}

static void test_model_unix(void **state)
{
	(void)state;
	run_world(world_new(DAEMON_UNIX, DAEMON_UNIX, 1), NULL, op_count());
}

/* Most of the data does not fit in memory: blocks are evicted, and writes must wait. */
static void test_model_tcp_small_cache(void **state)
{
	struct daemon_config config = {.cache = "16M", .writeback_ms = "50", .size = "600M"};

	(void)state;
	run_world(world_new(DAEMON_TCP, DAEMON_UNIX, 2), &config, op_count());
}

/* Every handle is direct. */
static void test_model_direct(void **state)
{
	struct world *w = world_new(DAEMON_UNIX, DAEMON_UNIX, 3);

	(void)state;
	w->flags[0] = COW_OPEN_DIRECT;
	w->flags[1] = COW_OPEN_DIRECT;
	run_world(w, NULL, op_count() / OPS_PART);
}

/* Of two handles of an object one is direct, and the other in each second request; epochs end in
 * between. */
static void test_model_mixed_small_cache(void **state)
{
	struct daemon_config config = {.cache = "16M", .writeback_ms = "50", .size = "600M"};
	struct world *w = world_new(DAEMON_UNIX, DAEMON_UNIX, 4);

	(void)state;
	w->flags[1] = COW_OPEN_DIRECT;
	w->mixed = true;
	run_world(w, &config, op_count() / OPS_PART);
}

/* The device is mapped: every write is placed, and what is read is not kept. */
static void test_model_mapped(void **state)
{
	struct daemon_config config = {.device = "dax:"};

	(void)state;
	run_world(world_new(DAEMON_UNIX, DAEMON_UNIX, 5), &config, op_count() / OPS_PART);
}

/* Now and then through the mapping, and now and then not, with a direct handle on each object. */
static void test_model_mapped_mixed(void **state)
{
	struct daemon_config config = {
	    .device = "dax:", .cache = "16M", .writeback_ms = "50", .size = "600M"};
	struct world *w = world_new(DAEMON_UNIX, DAEMON_UNIX, 6);

	(void)state;
	w->flags[0] = COW_OPEN_DIRECT;
	w->remaps = true;
	run_world(w, &config, op_count() / OPS_PART);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model_unix),	 cmocka_unit_test(test_model_tcp_small_cache),
	    cmocka_unit_test(test_model_direct), cmocka_unit_test(test_model_mixed_small_cache),
	    cmocka_unit_test(test_model_mapped), cmocka_unit_test(test_model_mapped_mixed),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
