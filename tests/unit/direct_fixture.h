/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * direct_fixture.h: an object that is open for direct I/O and once more through the cache.  For unit tests
 * on tests/lib/engine.h.
 */
#ifndef TESTS_UNIT_DIRECT_FIXTURE_H
#define TESTS_UNIT_DIRECT_FIXTURE_H

#include "server/cache.h"
#include "tests/unit/object_fixture.h"

#define NBLKS 40u /* more than a folio's, and than what a record takes with it */

struct direct {
	struct engine *e;
	struct handle *h;     /* direct */
	struct handle *other; /* buffered, of the same object */
	uint64_t empty;	      /* free blocks without the object's data */
};

/* The object "a" of so many durable blocks of 1, open by both handles, and nothing in the cache. */
static inline struct direct begin(void **state, uint64_t nblks)
{
	struct direct d = {.e = *state};

	d.empty = engine_free_nblks(d.e);
	assert_int_equal(engine_create(d.e, "a", 0), 0);
	if (nblks > 0) {
		d.other = engine_open(d.e, "a");
		assert_int_equal(engine_write_blks(d.e, d.other, 0, nblks, 1), 0);
		assert_int_equal(engine_fsync(d.e, d.other), 0);
		assert_int_equal(object_close(d.other), 0);
		engine_restart(d.e);
	}
	assert_int_equal(open_as(d.e, "a", OBJECT_DIRECT, &d.h), 0);
	d.other = engine_open(d.e, "a");
	return d;
}

static inline void end(struct direct *d)
{
	assert_int_equal(object_close(d->h), 0);
	assert_int_equal(object_close(d->other), 0);
}

/* The blocks [blk, blk + n) read as that byte by both handles. */
static inline void expect(struct direct *d, uint64_t blk, uint64_t n, uint8_t byte)
{
	for (uint64_t i = blk; i < blk + n; i++) {
		assert_int_equal(engine_blk_byte(d->e, d->other, i), byte);
		assert_int_equal(engine_blk_byte(d->e, d->h, i), byte);
	}
}

static inline uint64_t writes(struct direct *d)
{
	return gate_dev_calls(d->e->gate, GATE_WRITE);
}

static inline struct cache_stats stats(struct direct *d)
{
	struct cache_stats s;

	objects_cache_stats(d->e->objs, &s);
	return s;
}

/* A direct write of whole blocks that has reached the device, and is held there. */
static inline void start_held(struct direct *d, uint64_t blk, uint64_t n, uint8_t byte,
			      struct result *res)
{
	uint8_t *bytes = malloc(n * BLK_BYTES);
	uint64_t before = writes(d);
	struct pagevec pv;

	assert_non_null(bytes);
	memset(bytes, byte, n * BLK_BYTES);
	pv = engine_payload(d->e, blk * BLK_BYTES, bytes, n * BLK_BYTES);
	free(bytes);
	gate_dev_hold(d->e->gate, GATE_WRITE);
	object_write(d->h, blk * BLK_BYTES, &pv, engine_done_cb, res);
	engine_wait_calls(d->e, GATE_WRITE, before + 1);
	assert_false(res->done);
}

static inline int release(struct direct *d, struct result *res)
{
	gate_dev_open(d->e->gate, GATE_WRITE);
	return engine_wait(d->e, res);
}

#endif
