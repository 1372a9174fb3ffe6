/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Differences in the engine: what is dirty, staged, a hole or cut off is counted in, of any two objects
 * and versions; and what stands in the way.
 */
#include "tests/unit/object_fixture.h"

#define NBLKS 40u

struct diffed {
	struct result res;
	uint64_t size_bytes;
	uint64_t older_bytes;
	uint32_t n;
	struct object_diff_run runs[64];
};

static void diffed_cb(void *ctx, int err, const struct object_diff *diff)
{
	struct diffed *d = ctx;

	if (err == 0) {
		assert_true(diff->n <= 64);
		d->size_bytes = diff->size_bytes;
		d->older_bytes = diff->older_bytes;
		d->n = diff->n;
		if (diff->n > 0)
			memcpy(d->runs, diff->runs, diff->n * sizeof(diff->runs[0]));
	}
	engine_done_cb(&d->res, err);
}

static int diff_range(struct engine *e, struct handle *h, uint64_t older, uint64_t off,
		      uint64_t len, uint32_t max, struct diffed *d)
{
	memset(d, 0, sizeof(*d));
	object_diff(h, older, off, len, max, diffed_cb, d);
	return engine_wait(e, &d->res);
}

static uint64_t id_of(struct engine *e, const char *spec)
{
	struct map_obj info = {0};

	assert_int_equal(info_of(e, spec, &info), 0);
	return info.id;
}

/* The kinds of all blocks, a letter for each: "=" same, "o" hole, "x" data. */
static void kinds_of(struct engine *e, struct handle *h, uint64_t older, char kinds[NBLKS + 1])
{
	uint64_t pos = 0;

	memset(kinds, 0, NBLKS + 1);
	while (pos < object_size(h)) {
		struct diffed d;

		assert_int_equal(diff_range(e, h, older, pos, UINT64_MAX - pos, 3, &d), 0);
		assert_in_range(d.n, 1, 3);
		for (uint32_t i = 0; i < d.n; i++) {
			assert_int_equal(d.runs[i].len_bytes % BLK_BYTES, 0);
			memset(kinds + pos / BLK_BYTES, "=ox"[d.runs[i].kind],
			       d.runs[i].len_bytes / BLK_BYTES);
			pos += d.runs[i].len_bytes;
		}
	}
}

static void assert_kinds(struct engine *e, struct handle *h, const char *older, const char *kinds)
{
	char got[NBLKS + 1];

	kinds_of(e, h, older ? id_of(e, older) : 0, got);
	assert_string_equal(got, kinds);
}

/* ---- what is counted in ---------------------------------------------------------------------- */

static void what_was_written_is_counted_in_at_once(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 8, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	h = engine_open(e, "b");
	assert_kinds(e, h, "a", "========");
	assert_kinds(e, h, NULL, "xxxxxxxx");
	assert_int_equal(engine_write_blk(e, h, 2, 7), 0);
	assert_kinds(e, h, "a", "==x=====");
	/* the same again, while it is on its way */
	assert_int_equal(engine_write_blk(e, h, 2, 8), 0);
	assert_int_equal(engine_write_blk(e, h, 7, 8), 0);
	assert_kinds(e, h, "a", "==x====x");
	/* a hole that is in no map yet */
	assert_int_equal(engine_zero(e, h, 4 * BLK_BYTES, 2 * BLK_BYTES, false), 0);
	assert_kinds(e, h, "a", "==x=oo=x");
	assert_kinds(e, h, NULL, "xxxx==xx");
	/* growing is a hole on both sides */
	assert_int_equal(engine_resize(e, h, 10 * BLK_BYTES, false), 0);
	assert_kinds(e, h, "a", "==x=oo=x==");
	assert_int_equal(engine_resize(e, h, 3 * BLK_BYTES, true), 0);
	assert_kinds(e, h, "a", "==x");
	assert_int_equal(object_close(h), 0);
}

static void what_was_written_to_the_older_is_counted_in_too(void **state)
{
	struct engine *e = *state;
	struct handle *a, *b;

	make(e, "a", 8, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	a = engine_open(e, "a");
	b = engine_open(e, "b");
	assert_int_equal(engine_write_blk(e, a, 1, 9), 0);
	assert_kinds(e, b, "a", "=x======");
	assert_kinds(e, a, "b", "=x======");
	assert_int_equal(engine_zero(e, a, 5 * BLK_BYTES, BLK_BYTES, false), 0);
	assert_kinds(e, b, "a", "=x===x==");
	assert_kinds(e, a, "b", "=x===o==");
	assert_kinds(e, a, "a", "========");
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
}

static void versions_and_strangers(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 6, 1);
	make(e, "stranger", 3, 1);
	assert_int_equal(snapshot(e, "a@1"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 3, 2), 0);
	assert_int_equal(snapshot(e, "a@2"), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 3), 0);
	assert_kinds(e, h, "a@1", "x==x==");
	assert_kinds(e, h, "a@2", "x=====");
	assert_kinds(e, h, "stranger", "xxxxxx");
	assert_int_equal(object_close(h), 0);
	assert_int_equal(open_as(e, "a@2", true, &h), 0);
	assert_kinds(e, h, "a@1", "===x==");
	assert_kinds(e, h, "a", "x=====");
	assert_int_equal(object_close(h), 0);
	assert_int_equal(open_as(e, "stranger", true, &h), 0);
	assert_kinds(e, h, "a@1", "xxx");
	assert_int_equal(object_close(h), 0);
}

static void ranges_begin_and_end_within_blocks(void **state)
{
	struct engine *e = *state;
	uint8_t byte = 5;
	struct diffed d;
	struct handle *h;
	uint64_t a;

	make(e, "a", 4, 1);
	a = id_of(e, "a");
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	h = engine_open(e, "b");
	assert_int_equal(engine_write(e, h, 4 * BLK_BYTES + 10, &byte, 1), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 2), 0);
	assert_int_equal(diff_range(e, h, a, 100, UINT64_MAX, 64, &d), 0);
	assert_int_equal(d.size_bytes, 4 * BLK_BYTES + 11);
	assert_int_equal(d.older_bytes, 4 * BLK_BYTES);
	assert_int_equal(d.n, 4);
	assert_int_equal(d.runs[0].len_bytes, BLK_BYTES - 100);
	assert_int_equal(d.runs[0].kind, MAP_DIFF_SAME);
	assert_int_equal(d.runs[1].len_bytes, BLK_BYTES);
	assert_int_equal(d.runs[1].kind, MAP_DIFF_DATA);
	assert_int_equal(d.runs[2].len_bytes, 2 * BLK_BYTES);
	assert_int_equal(d.runs[3].len_bytes, 11);
	assert_int_equal(d.runs[3].kind, MAP_DIFF_DATA);
	assert_int_equal(diff_range(e, h, a, BLK_BYTES + 1, 2, 64, &d), 0);
	assert_int_equal(d.n, 1);
	assert_int_equal(d.runs[0].len_bytes, 2);
	assert_int_equal(d.runs[0].kind, MAP_DIFF_DATA);
	assert_int_equal(diff_range(e, h, a, 0, 0, 64, &d), 0);
	assert_int_equal(d.n, 0);
	assert_int_equal(diff_range(e, h, a, d.size_bytes, 1, 64, &d), 0);
	assert_int_equal(d.n, 0);
	assert_int_equal(object_close(h), 0);
}

/* ---- what stands in the way ------------------------------------------------------------------ */

static void what_is_gone_is_not_found(void **state)
{
	struct engine *e = *state;
	struct diffed d;
	struct handle *h;
	uint64_t a;

	make(e, "a", 4, 1);
	a = id_of(e, "a");
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	h = engine_open(e, "b");
	assert_int_equal(diff_range(e, h, a + 1000, 0, 1, 1, &d), -ERR_NOENT);
	assert_int_equal(diff_range(e, h, a, 0, 1, 1, &d), 0);
	/* it holds nothing back */
	assert_int_equal(engine_remove(e, "a"), 0);
	assert_int_equal(diff_range(e, h, a, 0, 1, 1, &d), -ERR_NOENT);
	assert_int_equal(object_close(h), 0);
}

static void what_cannot_be_written_back_cannot_be_compared(void **state)
{
	struct engine *e = *state;
	struct handle *a, *b;
	struct diffed d;
	uint64_t id;

	make(e, "a", 4, 1);
	make(e, "b", 4, 1);
	a = engine_open(e, "a");
	b = engine_open(e, "b");
	id = id_of(e, "a");
	assert_int_equal(engine_write_blks(e, a, 0, ENGINE_WRITTEN_BLKS, 3), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, UINT64_MAX);
	assert_true(diff_range(e, b, id, 0, UINT64_MAX, 1, &d) < 0);
	assert_true(diff_range(e, a, 0, 0, UINT64_MAX, 1, &d) < 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, 0);
	assert_int_equal(diff_range(e, b, id, 0, UINT64_MAX, 1, &d), 0);
	assert_int_equal(d.older_bytes, ENGINE_WRITTEN_BLKS * BLK_BYTES);
	(void)object_close(a);
	assert_int_equal(object_close(b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
	    TEST(what_was_written_is_counted_in_at_once),
	    TEST(what_was_written_to_the_older_is_counted_in_too),
	    TEST(versions_and_strangers),
	    TEST(ranges_begin_and_end_within_blocks),
	    TEST(what_is_gone_is_not_found),
	    TEST(what_cannot_be_written_back_cannot_be_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
