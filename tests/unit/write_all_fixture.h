/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * write_all_fixture.h: one write to several objects of an engine, of one byte's value.  For unit tests;
 * beside object_fixture.h.
 */
#ifndef TESTS_UNIT_WRITE_ALL_FIXTURE_H
#define TESTS_UNIT_WRITE_ALL_FIXTURE_H

#include "tests/unit/object_fixture.h"

#include "server/object_state.h"

#define BLK(n) ((uint64_t)(n)*BLK_BYTES)

/* What a write answered. */
struct answer {
	struct result res;
	uint32_t at;
	uint64_t generation; /* of that */
	uint64_t generations[OBJECT_PARTS_MAX];
	uint32_t n;
};

static inline void answer_cb(void *ctx, int err, uint32_t at, const uint64_t *generations)
{
	struct answer *answer = ctx;

	answer->at = at;
	if (err == 0)
		memcpy(answer->generations, generations, answer->n * sizeof(generations[0]));
	else if (err == -ERR_CHANGED)
		answer->generation = generations[at];
	engine_done_cb(&answer->res, err);
}

/* Begins a write of this byte; an error is one of what is asked for. */
static inline int start(struct engine *e, const struct object_part *parts, uint32_t n, uint8_t byte,
			struct answer *answer)
{
	struct pagevec *pvs;
	uint32_t npvs;
	uint64_t npages;
	int err = object_payload_all(parts, n, &pvs, &npvs, &npages);

	*answer = (struct answer){.n = n};
	if (err < 0)
		return err;
	engine_fill(e, pvs, npvs, byte);
	object_write_all(parts, n, pvs, answer_cb, answer);
	pagevecs_free(pvs, npvs);
	return 0;
}

static inline int write_all(struct engine *e, const struct object_part *parts, uint32_t n,
			    uint8_t byte)
{
	struct answer answer;
	int err = start(e, parts, n, byte, &answer);

	return err < 0 ? err : engine_wait(e, &answer.res);
}

static const struct object_range first_blk[] = {{0, BLK_BYTES}};
static const struct object_range some_bytes[] = {{3, 5}};

static inline struct object_part part(struct handle *h, const struct object_range *range)
{
	return (struct object_part){.handle = h, .ranges = range, .nranges = 1};
}

static inline void close_all(struct handle *const *handles, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(object_close(handles[i]), 0);
}

#define NOBJS 3u

static const char *const names[NOBJS] = {"a", "b", "c"};

/* Objects of 4 durable blocks of 1 each, and nothing in the cache; open. */
static inline void open_stored(struct engine *e, struct handle **h)
{
	for (uint32_t i = 0; i < NOBJS; i++)
		make(e, names[i], 4, 1);
	engine_restart(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		h[i] = engine_open(e, names[i]);
}

/* One range each, the same. */
static inline void parts_of(struct handle *const *h, const struct object_range *range,
			    struct object_part *parts)
{
	for (uint32_t i = 0; i < NOBJS; i++)
		parts[i] = part(h[i], range);
}

static inline void assert_bytes(struct engine *e, struct handle *const *h, uint64_t at,
				uint8_t byte)
{
	for (uint32_t i = 0; i < NOBJS; i++) {
		uint8_t got;

		assert_int_equal(engine_read(e, h[i], at, &got, 1), 1);
		assert_int_equal(got, byte);
	}
}

/* Nothing of a write is left. */
static inline void assert_untouched(struct engine *e, struct handle *const *h)
{
	assert_bytes(e, h, 0, 1);
	assert_bytes(e, h, 3, 1);
	for (uint32_t i = 0; i < NOBJS; i++) {
		assert_int_equal(h[i]->obj->cache.ndirty, 0);
		assert_ptr_equal(h[i]->obj->tie.next, h[i]->obj);
		assert_false(h[i]->obj->has_changed);
	}
	assert_int_equal(space_of(e).reserved_nblks, 0);
}

static inline uint8_t byte_after(struct engine *e, const char *name)
{
	struct map_obj info = {0};

	assert_int_equal(info_of(e, name, &info), 0);
	return info.size_bytes == 0 ? 0 : byte_of(e, name, 0);
}

static inline int setup_mapped(void **state)
{
	engine_map_devices(true);
	return setup_untimed(state);
}

static inline int teardown_mapped(void **state)
{
	engine_map_devices(false);
	return engine_teardown(state);
}

#endif
