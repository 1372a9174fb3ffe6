/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_fixture.h: operations of the engine on names and on the store, each run to its end, and
 * engines that start as a test needs them.  For unit tests on tests/lib/engine.h.
 */
#ifndef TESTS_UNIT_OBJECT_FIXTURE_H
#define TESTS_UNIT_OBJECT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"

#define FIXTURE_FOUND_MAX 32u

/* Names, of a list. */
struct found {
	bool done;
	int err;
	uint32_t n;
	bool more;
	struct map_obj objs[FIXTURE_FOUND_MAX];
};

/* Without the timer, which would do what is to be tested. */
static inline int setup_untimed(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

/* With a timer that runs as often as it may. */
static inline int setup_ticking(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = 1;
	engine_restart(e);
	return 0;
}

/* It ends as a process does that is killed, and starts again. */
static inline void crash(struct engine *e)
{
	engine_stop(e);
	engine_start(e);
}

static inline void opened_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct result *res = ctx;

	res->handle = handle;
	engine_info_cb(ctx, err, info);
}

static inline void listed_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct found *found = ctx;

	assert_true(n <= FIXTURE_FOUND_MAX);
	if (n > 0)
		memcpy(found->objs, objs, n * sizeof(*objs));
	found->n = n;
	found->more = more;
	found->err = err;
	found->done = true;
}

static inline int found_wait(struct engine *e, struct found *found)
{
	while (!found->done)
		engine_turn(e);
	return found->err;
}

static inline int snapshot(struct engine *e, const char *spec)
{
	struct result res = {0};

	object_snapshot(e->objs, spec, NULL, engine_info_cb, &res);
	return engine_wait(e, &res);
}

static inline int reset(struct engine *e, const char *spec)
{
	struct result res = {0};

	object_reset(e->objs, spec, engine_info_cb, &res);
	return engine_wait(e, &res);
}

static inline int rename_to(struct engine *e, const char *from, const char *to)
{
	struct result res = {0};

	object_rename(e->objs, from, to, false, engine_done_cb, &res);
	return engine_wait(e, &res);
}

static inline int exchange(struct engine *e, const char *a, const char *b)
{
	struct result res = {0};

	object_rename(e->objs, a, b, true, engine_done_cb, &res);
	return engine_wait(e, &res);
}

static inline int remove_all(struct engine *e, const char *spec)
{
	struct result res = {0};

	object_remove(e->objs, spec, true, engine_done_cb, &res);
	return engine_wait(e, &res);
}

static inline int info_of(struct engine *e, const char *spec, struct map_obj *info)
{
	struct result res = {0};

	object_info(e->objs, spec, engine_info_cb, &res);
	if (engine_wait(e, &res) == 0)
		*info = res.info;
	return res.err;
}

static inline bool exists(struct engine *e, const char *spec)
{
	struct map_obj info;
	int err = info_of(e, spec, &info);

	assert_true(err == 0 || err == -ERR_NOENT);
	return err == 0;
}

static inline int open_as(struct engine *e, const char *spec, unsigned int flags, struct handle **h)
{
	struct result res = {0};

	object_open(e->objs, spec, flags, "test", opened_cb, &res);
	*h = engine_wait(e, &res) == 0 ? res.handle : NULL;
	return res.err;
}

/* The first byte of a block of what the spec names. */
static inline uint8_t byte_of(struct engine *e, const char *spec, uint64_t blk)
{
	struct handle *h;
	uint8_t byte;

	assert_int_equal(open_as(e, spec, OBJECT_READONLY, &h), 0);
	byte = engine_blk_byte(e, h, blk);
	assert_int_equal(object_close(h), 0);
	return byte;
}

/* An object of so many blocks, all of these bytes, and durable; closed. */
static inline void make(struct engine *e, const char *name, uint64_t nblks, uint8_t byte)
{
	struct handle *h = engine_create_open(e, name, 0);

	for (uint64_t i = 0; i < nblks; i++)
		assert_int_equal(engine_write_blk(e, h, i, byte), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
}

/* An object that expires in so many milliseconds. */
static inline struct map_obj make_mortal(struct engine *e, const char *name, uint64_t ttl_ms)
{
	const struct object_attrs attrs = {.ttl_ms = ttl_ms};
	struct result res = {0};

	object_create(e->objs, name, 0, &attrs, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_true(res.info.expires_ns > 0);
	return res.info;
}

/*
 * One that is open when it expires.  It may be gone before it can be opened: then it is made again,
 * to live twice as long.  How long it lives, in milliseconds.
 */
static inline uint64_t make_mortal_open(struct engine *e, const char *name, struct handle **h)
{
	for (uint64_t ttl_ms = 10;; ttl_ms *= 2) {
		int err;

		(void)make_mortal(e, name, ttl_ms);
		err = open_as(e, name, false, h);
		if (err == 0)
			return ttl_ms;
		assert_int_equal(err, -ERR_NOENT);
	}
}

static inline void reaping_cb(void *ctx, int err, uint64_t nblks)
{
	struct result *res = ctx;

	res->space.free_nblks = nblks;
	engine_done_cb(ctx, err);
}

static inline uint64_t reaping(struct engine *e)
{
	struct result res = {0};

	object_reaping(e->objs, reaping_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.space.free_nblks;
}

static inline void space_cb(void *ctx, int err, const struct object_space *space)
{
	struct result *res = ctx;

	if (err == 0)
		res->space = *space;
	engine_done_cb(ctx, err);
}

static inline struct object_space space_of(struct engine *e)
{
	struct result res = {0};

	object_statfs(e->objs, space_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.space;
}

#endif
