/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_verify_fixture.h: verifying in the engine, call by call or to the end, and damages of the device
 * behind its back.  For unit tests on tests/lib/engine.h.
 */
#ifndef TESTS_UNIT_OBJECT_VERIFY_FIXTURE_H
#define TESTS_UNIT_OBJECT_VERIFY_FIXTURE_H

#include "tests/unit/object_fixture.h"

#include <fcntl.h>

#define K	BLK_BYTES
#define NBLKS	24u /* more than are inlined */
#define DAMAGES 8u

struct verified {
	struct result res;
	struct object_verified got;
	struct scrub_damage damages[DAMAGES];
};

static inline void verified_cb(void *ctx, int err, const struct object_verified *got)
{
	struct verified *v = ctx;

	if (err == 0) {
		assert_true(got->n <= DAMAGES);
		v->got = *got;
		if (got->n > 0)
			memcpy(v->damages, got->damages, got->n * sizeof(v->damages[0]));
	} else {
		assert_null(got);
	}
	engine_done_cb(&v->res, err);
}

static inline void begin(struct verified *v, struct handle *h, const struct object_verify *what)
{
	struct object_verify w = *what;

	*v = (struct verified){0};
	w.max = w.max ? w.max : DAMAGES;
	w.len_bytes = w.len_bytes ? w.len_bytes : UINT64_MAX;
	object_verify(h, &w, verified_cb, v);
}

#define BEGIN(v, h, ...) begin(v, h, &(struct object_verify){__VA_ARGS__})

/* To the end of the range, the damages of all calls together; how many calls, or an error. */
static inline int run(struct engine *e, struct handle *h, struct verified *all,
		      const struct object_verify *what)
{
	struct object_verify w = *what;
	struct verified v = {.got = {.left_bytes = 1}};
	int calls = 0;

	*all = (struct verified){0};
	for (; v.got.left_bytes > 0; calls++) {
		begin(&v, h, &w);
		if (engine_wait(e, &v.res) < 0)
			return v.res.err;
		assert_true(v.got.len_bytes > 0 || v.got.left_bytes == 0);
		assert_true(all->got.n + v.got.n <= DAMAGES);
		memcpy(all->damages + all->got.n, v.damages, v.got.n * sizeof(v.damages[0]));
		all->got.n += v.got.n;
		all->got.len_bytes += v.got.len_bytes;
		all->got.read_nblks += v.got.read_nblks;
		all->got.pending_nblks += v.got.pending_nblks;
		w.off_bytes += v.got.len_bytes;
		w.len_bytes = v.got.left_bytes;
	}
	return calls;
}

#define RUN(e, h, v, ...) run(e, h, v, &(struct object_verify){__VA_ARGS__})

static inline void assert_damage(const struct verified *v, uint32_t i, uint64_t blk, uint64_t nblks,
				 uint64_t at, enum scrub_kind kind)
{
	assert_true(i < v->got.n);
	assert_int_equal(v->damages[i].blk.n, blk);
	assert_int_equal(v->damages[i].nblks, nblks);
	assert_int_equal(v->damages[i].at.n, at);
	assert_int_equal(v->damages[i].kind, kind);
}

/* Waits until what was written before is in the map: a change behind it is. */
static inline void applied(struct engine *e, struct handle *h)
{
	struct result res = {0};

	assert_int_equal(engine_fsync(e, h), 0);
	object_set(e->objs, object_name(h), &(struct object_edit){.edits_len = 0}, engine_info_cb,
		   &res);
	assert_int_equal(engine_wait(e, &res), 0);
}

/* An object, all of whose blocks are on the device, and nothing of it in memory. */
static inline struct handle *make_open(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);

	assert_int_equal(engine_write_blks(e, h, 0, nblks, 1), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	return engine_open(e, "a");
}

/* Where the device has a block. */
static inline uint64_t place_of(struct engine *e, struct handle *h, uint64_t blk)
{
	struct result res = {0};

	assert_int_equal(engine_map(e, h, blk * K, K, &res), 0);
	assert_true(res.nruns == 1 && res.runs[0].dev_bytes > 0);
	return res.runs[0].dev_bytes / K;
}

/* Changes a bit of it behind the back of all, or changes it back. */
static inline void flip(struct engine *e, uint64_t at)
{
	int fd = open(e->dev_path, O_RDWR | O_CLOEXEC);
	off_t off = (off_t)(at * K + 77);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, off), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, off), 1);
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

static inline uint64_t reads(struct engine *e)
{
	return gate_dev_calls(e->gate, GATE_READ);
}

static inline void assert_well(struct engine *e, struct handle *h, uint64_t nblks)
{
	struct verified v;

	assert_true(RUN(e, h, &v, 0) > 0);
	assert_int_equal(v.got.read_nblks, nblks);
	assert_int_equal(v.got.pending_nblks, 0);
	assert_int_equal(v.got.n, 0);
}

/* A store that is made fast, without the timer, which would bring home what is in the journal. */
static inline int setup_with(void **state, uint64_t cache_bytes)
{
	struct engine *e;

	assert_int_equal(engine_setup_sized(state, 16 * MIB, 16 * MIB), 0);
	e = *state;
	e->cache_bytes = cache_bytes;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

static inline int setup_small(void **state)
{
	return setup_with(state, 16 * MIB);
}

static inline int setup_tiny(void **state)
{
	return setup_with(state, MIB);
}

#endif
