/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine, one operation after the other or many at once, against a model in memory.  TEST_SEED
 * replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"
#include "tests/lib/rnd.h"

static uint64_t rng;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

/* ---- a model --------------------------------------------------------------------------------- */

#define MODEL_OBJECTS 6
#define MODEL_MAX     (3 * MIB)

struct model {
	bool exists;
	uint64_t size;
	uint8_t *bytes; /* MODEL_MAX; zeros from size on */
	struct handle *handle;
};

static struct model models[MODEL_OBJECTS];

static const char *model_name(int i)
{
	static char name[16];

	(void)snprintf(name, sizeof(name), "obj/%d", i);
	return name;
}

static void model_compare(struct engine *e, struct model *m, uint64_t off, uint64_t len)
{
	static uint8_t buf[MODEL_MAX];
	uint64_t want = off >= m->size ? 0 : m->size - off < len ? m->size - off : len;

	assert_int_equal(engine_read(e, m->handle, off, buf, len), (int64_t)want);
	for (uint64_t i = 0; i < want; i++)
		if (buf[i] != m->bytes[off + i]) {
			uint64_t j = i;
			while (j < want && buf[j] != m->bytes[off + j])
				j++;
			fprintf(stderr,
				"DIFF at %lu (blk %lu +%lu) len>=%lu have %02x want %02x size %lu "
				"m%ld\n",
				off + i, (off + i) / 4096, (off + i) % 4096, j - i, buf[i],
				m->bytes[off + i], m->size, m - models);
			break;
		}
	assert_memory_equal(buf, m->bytes + off, want);
	assert_int_equal(object_size(m->handle), m->size);
}

static void model_write(struct engine *e, struct model *m)
{
	static uint8_t data[MODEL_MAX];
	uint64_t len = 1 + rnd(UINT64_C(1) << (1 + rnd(20)));
	uint64_t off = rnd(MODEL_MAX - len);

	if (rnd(3) == 0)
		off &= ~(uint64_t)(BLK_BYTES - 1);
	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(rng >> (i % 56)) ^ (uint8_t)i;
	assert_int_equal(engine_write(e, m->handle, off, data, len), 0);
	memcpy(m->bytes + off, data, len);
	if (off + len > m->size)
		m->size = off + len;
}

static void model_resize(struct engine *e, struct model *m)
{
	uint64_t size = rnd(MODEL_MAX);

	if (size < m->size)
		assert_int_equal(engine_resize(e, m->handle, size, false), -ERR_SHRINK);
	assert_int_equal(engine_resize(e, m->handle, size, true), 0);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

/* Zeros, or with "whole" only blocks that are covered as a whole, to the end of the object. */
static void model_zero(struct engine *e, struct model *m)
{
	uint64_t len = 1 + rnd(UINT64_C(1) << (1 + rnd(21)));
	uint64_t off = rnd(MODEL_MAX);
	uint64_t end;
	bool whole = rnd(2) == 0;

	if (rnd(3) == 0)
		off &= ~(uint64_t)(BLK_BYTES - 1);
	assert_int_equal(engine_zero(e, m->handle, off, len, whole), 0);
	end = off + len < m->size ? off + len : m->size;
	if (whole && end < m->size)
		end &= ~(uint64_t)(BLK_BYTES - 1);
	if (whole)
		off = (off + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
	if (off < end)
		memset(m->bytes + off, 0, end - off);
}

static void model_clone(struct engine *e, int from, int to)
{
	struct model *src = &models[from];
	struct model *dst = &models[to];
	char name[16];

	(void)snprintf(name, sizeof(name), "%s", model_name(from));
	if (dst->exists) {
		assert_int_equal(engine_clone(e, name, model_name(to)), -ERR_EXIST);
		assert_int_equal(engine_remove(e, model_name(to)), -ERR_BUSY);
		(void)object_close(dst->handle);
		assert_int_equal(engine_remove(e, model_name(to)), 0);
	}
	assert_int_equal(engine_clone(e, name, model_name(to)), 0);
	dst->exists = true;
	dst->handle = engine_open(e, model_name(to));
	dst->size = src->size;
	memcpy(dst->bytes, src->bytes, MODEL_MAX);
}

/* Holes must read as zeros, and the runs must cover the object. */
static void model_extents(struct engine *e, struct model *m)
{
	struct result res = {0};
	uint64_t pos = 0;

	while (pos < m->size) {
		assert_int_equal(engine_extents(e, m->handle, pos, m->size - pos, &res), 0);
		assert_true(res.nruns > 0);
		for (uint32_t i = 0; i < res.nruns; i++) {
			const struct object_run *run = &res.runs[i];

			assert_true(run->len_bytes <= m->size - pos);
			for (uint64_t k = 0; !run->data && k < run->len_bytes; k++)
				assert_int_equal(m->bytes[pos + k], 0);
			pos += run->len_bytes;
		}
	}
}

static void model_restart(struct engine *e)
{
	for (int i = 0; i < MODEL_OBJECTS; i++)
		if (models[i].exists)
			assert_int_equal(object_close(models[i].handle), 0);
	engine_flush(e);
	engine_stop(e);
	engine_check(e);
	engine_start(e);
	for (int i = 0; i < MODEL_OBJECTS; i++) {
		if (!models[i].exists)
			continue;
		models[i].handle = engine_open(e, model_name(i));
		model_compare(e, &models[i], 0, MODEL_MAX);
	}
}

static void model_step(struct engine *e)
{
	int i = (int)rnd(MODEL_OBJECTS);
	struct model *m = &models[i];
	int to;

	if (!m->exists)
		return;
	switch (rnd(16)) {
	case 0:
		to = (int)rnd(MODEL_OBJECTS);
		if (to != i)
			model_clone(e, i, to);
		break;
	case 1:
		model_resize(e, m);
		break;
	case 2:
		assert_int_equal(engine_fsync(e, m->handle), 0);
		break;
	case 3:
		model_extents(e, m);
		break;
	case 4:
		model_zero(e, m);
		break;
	case 5:
	case 6:
	case 7:
		model_compare(e, m, rnd(MODEL_MAX), rnd(MODEL_MAX / 4));
		break;
	default:
		model_write(e, m);
		break;
	}
}

static void model_matches_over_restarts(void **state)
{
	struct engine *e = *state;

	for (int i = 0; i < MODEL_OBJECTS; i++)
		models[i] = (struct model){.bytes = calloc(1, MODEL_MAX)};
	models[0].exists = true;
	assert_int_equal(engine_create(e, model_name(0), 12345), 0);
	models[0].size = 12345;
	models[0].handle = engine_open(e, model_name(0));
	for (int round = 0; round < 6; round++) {
		for (uint64_t n = rnd_count("TEST_STEPS", 300); n > 0; n--)
			model_step(e);
		model_restart(e);
	}
	for (int i = 0; i < MODEL_OBJECTS; i++) {
		if (models[i].exists)
			assert_int_equal(object_close(models[i].handle), 0);
		free(models[i].bytes);
	}
}

/* ---- single behaviours ----------------------------------------------------------------------- */

static void names_are_checked_and_kept_apart(void **state)
{
	struct engine *e = *state;
	struct result res = {0};

	assert_int_equal(engine_create(e, "a", 10), 0);
	assert_int_equal(engine_create(e, "a", 10), -ERR_EXIST);
	assert_int_equal(engine_create(e, "-a", 10), -ERR_BAD_NAME);
	assert_int_equal(engine_create(e, "b", UINT64_MAX), -ERR_TOO_LARGE);
	assert_int_equal(engine_clone(e, "missing", "b"), -ERR_NOENT);
	assert_int_equal(engine_clone(e, "a", "a"), -ERR_EXIST);
	assert_int_equal(engine_remove(e, "missing"), -ERR_NOENT);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	object_info(e->objs, "a", engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), -ERR_NOENT);
	res.done = false;
	object_info(e->objs, "b", engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(res.info.size_bytes, 10);
}

/* To the last byte that an object may have, and not one more. */
static void a_write_ends_within_the_largest_object(void **state)
{
	const uint64_t most = BLK_OBJECT_MAX << BLK_SHIFT;
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	assert_int_equal(engine_write(e, h, most - 1, (const uint8_t *)"ab", 2), -ERR_TOO_LARGE);
	assert_int_equal(engine_write(e, h, most, (const uint8_t *)"a", 1), -ERR_TOO_LARGE);
	assert_int_equal(object_size(h), 0);
	assert_int_equal(engine_write(e, h, most - 2, (const uint8_t *)"ab", 2), 0);
	assert_int_equal(object_size(h), most);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
}

static void a_crash_keeps_what_was_synced(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint8_t buf[8192];
	uint8_t want[8192];

	memset(want, 0x11, sizeof(want));
	assert_int_equal(engine_create(e, "a", 8192), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write(e, h, 0, want, 8192), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	memset(buf, 0x22, sizeof(buf));
	assert_int_equal(engine_write(e, h, 100, buf, 5000), 0);
	assert_int_equal(object_close(h), 0);
	engine_stop(e);
	engine_start(e);
	h = engine_open(e, "a");
	assert_int_equal(engine_read(e, h, 0, buf, 8192), 8192);
	assert_memory_equal(buf, want, 8192);
	assert_int_equal(object_close(h), 0);
}

static void a_clone_holds_what_was_acknowledged_before_it(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	struct handle *c;
	uint8_t buf[100];

	assert_int_equal(engine_create(e, "a", 0), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write(e, h, 5000, (const uint8_t *)"before", 6), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(engine_write(e, h, 5000, (const uint8_t *)"later!", 6), 0);
	c = engine_open(e, "b");
	assert_int_equal(engine_read(e, c, 5000, buf, 100), 6);
	assert_memory_equal(buf, "before", 6);
	assert_int_equal(engine_write(e, c, 5003, (const uint8_t *)"X", 1), 0);
	assert_int_equal(engine_read(e, h, 5000, buf, 100), 6);
	assert_memory_equal(buf, "later!", 6);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(c), 0);
}

static void truncate_then_grow_shows_zeros(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint8_t *data = malloc(MIB);
	uint8_t *zeros = calloc(1, MIB);

	assert_non_null(data);
	assert_non_null(zeros);
	memset(data, 0x5a, MIB);
	assert_int_equal(engine_create(e, "a", 0), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write(e, h, 0, data, MIB), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_stop(e);
	engine_start(e); /* nothing in the cache: the read must not fill from what is cut off */
	h = engine_open(e, "a");
	assert_int_equal(engine_resize(e, h, 5000, true), 0);
	assert_int_equal(engine_resize(e, h, MIB, false), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(engine_read(e, h, 0, data, MIB), (int64_t)MIB);
		assert_memory_equal(data + 5000, zeros, MIB - 5000);
	}
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_stop(e);
	engine_start(e);
	h = engine_open(e, "a");
	assert_int_equal(engine_read(e, h, 5000, data, MIB), (int64_t)(MIB - 5000));
	assert_memory_equal(data, zeros, MIB - 5000);
	assert_int_equal(engine_read(e, h, 0, data, 5000), 5000);
	assert_int_equal(data[4999], 0x5a);
	assert_int_equal(object_close(h), 0);
	free(data);
	free(zeros);
}

/* A full store refuses the write that met it, loses nothing, and can be emptied. */
static void a_full_store_says_so_and_recovers(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	uint8_t *data = malloc(MIB);
	uint8_t *back = malloc(MIB);
	struct handle *h;
	uint64_t n = 0;
	int err;

	assert_non_null(data);
	assert_non_null(back);
	assert_int_equal(engine_create(e, "a", 0), 0);
	h = engine_open(e, "a");
	for (;; n++) {
		memset(data, (int)n + 1, MIB);
		err = engine_write(e, h, n * MIB, data, MIB);
		if (err < 0)
			break;
	}
	assert_int_equal(err, -ERR_NOSPC);
	assert_true(n > 80 && n < 96);
	assert_int_equal(engine_fsync(e, h), 0);
	for (uint64_t i = 0; i < n; i++) {
		memset(data, (int)i + 1, MIB);
		assert_int_equal(engine_read(e, h, i * MIB, back, MIB), (int64_t)MIB);
		assert_memory_equal(back, data, MIB);
	}
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	/* the blocks come back behind the answer: a write that needs them waits for them */
	assert_int_equal(engine_create(e, "b", 0), 0);
	h = engine_open(e, "b");
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(engine_write(e, h, i * MIB, data, MIB), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "b"), 0);
	engine_reap(e);
	while (engine_free_nblks(e) != empty)
		engine_turn(e);
	free(data);
	free(back);
}

#define MANY 200

/* Many writes in flight at once, to blocks that they share: each is applied whole. */
static void many_writes_at_once_are_all_applied(void **state)
{
	struct engine *e = *state;
	struct result res[MANY] = {0};
	uint8_t buf[MANY * 100];
	struct handle *h;

	assert_int_equal(engine_create(e, "a", 1 * MIB), 0);
	h = engine_open(e, "a");
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(engine_write(e, h, 0, buf, sizeof(buf)), 0);
	assert_int_equal(object_close(h), 0);
	engine_flush(e);
	engine_stop(e);
	engine_start(e); /* so that the writes must fill */
	h = engine_open(e, "a");
	for (int i = 0; i < MANY; i++) {
		uint8_t part[50];
		struct pagevec pv;

		memset(part, i, sizeof(part));
		pv = engine_payload(e, (uint64_t)i * 100, part, sizeof(part));
		object_write(h, (uint64_t)i * 100, &pv, engine_done_cb, &res[i]);
		if (i % 10 == 0) {
			struct result sync = {0};

			object_fsync(h, engine_done_cb, &sync);
			if (i % 20 == 0)
				assert_int_equal(engine_wait(e, &sync), 0);
			else
				while (!sync.done)
					engine_turn(e);
		}
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(engine_wait(e, &res[i]), 0);
	assert_int_equal(engine_read(e, h, 0, buf, sizeof(buf)), (int64_t)sizeof(buf));
	for (int i = 0; i < MANY * 100; i++)
		assert_int_equal(buf[i], i % 100 < 50 ? i / 100 : 0xff);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
#define TINY(name)                                                                       \
	{                                                                                \
#name " in a tiny cache", name, engine_setup_tiny, engine_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(names_are_checked_and_kept_apart),
	    TEST(a_write_ends_within_the_largest_object),
	    TEST(a_crash_keeps_what_was_synced),
	    TEST(a_clone_holds_what_was_acknowledged_before_it),
	    TEST(truncate_then_grow_shows_zeros),
	    TEST(a_full_store_says_so_and_recovers),
	    TEST(many_writes_at_once_are_all_applied),
	    TEST(model_matches_over_restarts),
	    TINY(a_crash_keeps_what_was_synced),
	    TINY(a_clone_holds_what_was_acknowledged_before_it),
	    TINY(truncate_then_grow_shows_zeros),
	    TINY(a_full_store_says_so_and_recovers),
	    TINY(many_writes_at_once_are_all_applied),
	    TINY(model_matches_over_restarts),
	};
	const char *seed = getenv("TEST_SEED");

	rng = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) | 1;
	printf("TEST_SEED=%llu\n", (unsigned long long)rng);
	if (cmocka_run_group_tests_name("object", tests, NULL, NULL) != 0)
		return EXIT_FAILURE;
	engine_map_devices(true);
	return cmocka_run_group_tests_name("object, mapped", tests, NULL, NULL);
}
