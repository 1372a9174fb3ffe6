/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ranges_fixture.h: writes and reads of several ranges of an engine, each write of one byte's value.
 */
#ifndef TESTS_UNIT_RANGES_FIXTURE_H
#define TESTS_UNIT_RANGES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/object_state.h"
#include "tests/lib/engine.h"

#define BLK(n) ((uint64_t)(n)*BLK_BYTES)

/* What a write or a conditional fsync answered. */
struct changed {
	struct result res;
	uint64_t generation;
};

static inline void changed_cb(void *ctx, int err, uint64_t generation)
{
	struct changed *changed = ctx;

	changed->generation = generation;
	engine_done_cb(&changed->res, err);
}

static inline int write_ranges_start(struct engine *e, struct handle *h,
				     const struct object_range *ranges, uint32_t n, uint8_t byte,
				     const uint64_t *if_generation, struct changed *changed)
{
	struct pagevec *pvs;
	uint64_t npages;
	int err = object_payload(ranges, n, &pvs, &npages);

	if (err < 0)
		return err;
	engine_fill(e, pvs, n, byte);
	object_writev(h, ranges, pvs, n, if_generation, changed_cb, changed);
	pagevecs_free(pvs, n);
	return 0;
}

static inline int write_ranges_if(struct engine *e, struct handle *h,
				  const struct object_range *ranges, uint32_t n, uint8_t byte,
				  uint64_t if_generation)
{
	struct changed changed = {0};
	int err = write_ranges_start(e, h, ranges, n, byte, &if_generation, &changed);

	return err < 0 ? err : engine_wait(e, &changed.res);
}

static inline int write_ranges(struct engine *e, struct handle *h,
			       const struct object_range *ranges, uint32_t n, uint8_t byte)
{
	struct changed changed = {0};
	int err = write_ranges_start(e, h, ranges, n, byte, NULL, &changed);

	return err < 0 ? err : engine_wait(e, &changed.res);
}

/* The object holds these bytes and no others. */
static inline void assert_holds(struct engine *e, struct handle *h, const uint8_t *want,
				uint64_t len)
{
	uint8_t *got = malloc(len + 1);

	assert_non_null(got);
	assert_int_equal(engine_read(e, h, 0, got, len + 1), len);
	assert_memory_equal(got, want, len);
	free(got);
}

static inline int ranges_setup(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	e->nworkers = 8; /* some are held back */
	engine_restart(e);
	return 0;
}

/* The object "a" of nblks blocks of ones, none of them in the cache. */
static inline struct handle *open_stored(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);

	assert_int_equal(engine_write_blks(e, h, 0, nblks, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	return engine_open(e, "a");
}

/* A crash: what is not durable is lost. */
static inline struct handle *crash(struct engine *e, struct handle *h)
{
	assert_int_equal(object_close(h), 0);
	engine_stop(e);
	engine_start(e);
	return engine_open(e, "a");
}

#endif
