/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * promise_fixture.h: a small store with objects that have reserved space, and others that fill it.
 */
#ifndef TESTS_UNIT_PROMISE_FIXTURE_H
#define TESTS_UNIT_PROMISE_FIXTURE_H

#include "tests/unit/object_fixture.h"

#define OWN 600u /* blocks that "own" has reserved: as many are kept back for its overwrites */

/* What a write is made by; on a mapped device each is placed. */
enum promise_way { WAY_BUFFERED, WAY_DIRECT };

static inline int setup_promise(void **state)
{
	return engine_setup_sized(state, 16 * MIB, 16 * MIB);
}

static inline int create_reserved(struct engine *e, const char *name, uint64_t size_nblks,
				  uint64_t reserved)
{
	const struct object_attrs attrs = {.reserved_nblks = reserved};
	struct result res = {0};

	object_create(e->objs, name, size_nblks * BLK_BYTES, &attrs, engine_info_cb, &res);
	return engine_wait(e, &res);
}

static inline void reserve_start(struct engine *e, const char *name, uint64_t nblks,
				 struct result *res)
{
	const struct object_edit edit = {.set_reserved = true, .reserved_nblks = nblks};

	object_set(e->objs, name, &edit, engine_info_cb, res);
}

static inline int reserve(struct engine *e, const char *name, uint64_t nblks)
{
	struct result res = {0};

	reserve_start(e, name, nblks, &res);
	return engine_wait(e, &res);
}

/* What is withheld for the object now. */
static inline uint64_t withheld(struct engine *e, const char *name)
{
	struct map_obj info = {0};

	assert_int_equal(info_of(e, name, &info), 0);
	return map_obj_promised(&info);
}

/* With nothing in memory the engine withholds what the map says, to the block; also after a start. */
static inline void expect_exact(struct engine *e)
{
	struct object_space space;

	engine_flush(e);
	space = space_of(e);
	assert_int_equal(space.withheld_nblks, space.map.promised_nblks);
	engine_check_online(e);
}

/* Writes all that others may, one block after another, and makes it durable: how many. */
static inline uint64_t fill(struct engine *e, const char *name)
{
	struct handle *h = engine_create_open(e, name, 0);
	uint64_t n = 0;
	int err;

	while ((err = engine_write_blks(e, h, n, 8, 7)) == 0)
		n += 8;
	assert_int_equal(err, -ERR_NOSPC);
	while ((err = engine_write_blk(e, h, n, 7)) == 0)
		n++;
	assert_int_equal(err, -ERR_NOSPC);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	return n;
}

static inline struct handle *open_way(struct engine *e, const char *name, enum promise_way way)
{
	struct handle *h;

	assert_int_equal(open_as(e, name, way == WAY_DIRECT ? OBJECT_DIRECT : 0, &h), 0);
	return h;
}

/* All blocks of [0, n) in pieces; each write has to succeed. */
static inline void write_all(struct engine *e, struct handle *h, uint64_t n, uint64_t piece,
			     uint8_t byte)
{
	for (uint64_t blk = 0; blk < n; blk += piece)
		assert_int_equal(
		    engine_write_blks(e, h, blk, piece < n - blk ? piece : n - blk, byte), 0);
}

static inline void expect_all(struct engine *e, struct handle *h, uint64_t n, uint8_t byte)
{
	for (uint64_t blk = 0; blk < n; blk++)
		assert_int_equal(engine_blk_byte(e, h, blk), byte);
}

#endif
