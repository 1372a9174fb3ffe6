/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_ranges.c: several ranges in one write and in one read: all or nothing, at one moment.
 */
#include "tests/unit/ranges_fixture.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void shadow_write(uint8_t *shadow, const struct object_range *ranges, uint32_t n,
			 uint8_t byte)
{
	for (uint32_t i = 0; i < n; i++)
		memset(shadow + ranges[i].off_bytes, byte, ranges[i].len_bytes);
}

/* Some within one block, some over several, some that meet in a block or at its edge. */
static void ranges_are_written_and_nothing_else(void **state)
{
	static const struct object_range ranges[] = {
	    {10, 20},
	    {40, 1},
	    {BLK(1) - 1, 1},
	    {BLK(2) - 5, BLK(2)},
	    {BLK(4) - 5, 3},
	    {BLK(4) - 1, BLK(2) + 2},
	    {BLK(6) + 2, BLK_BYTES},
	    {BLK(8), BLK_BYTES},
	    {BLK(9), 1},
	    {BLK(10) - 1, 1},
	    {BLK(40), BLK(1) + 1},
	    {BLK(41) + 1, BLK(1) - 1},
	};
	const uint32_t n = ARRAY_LEN(ranges);
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	uint8_t *shadow = malloc(BLK(50));

	assert_non_null(shadow);
	memset(shadow, 1, BLK(50));
	for (uint8_t byte = 2; byte <= 3; byte++) { /* filled from the device; in the cache */
		assert_int_equal(write_ranges(e, h, ranges, n, byte), 0);
		shadow_write(shadow, ranges, n, byte);
		assert_holds(e, h, shadow, BLK(50));
	}
	assert_int_equal(h->obj->cache.ndirty, 12); /* each block once */
	assert_int_equal(engine_fsync(e, h), 0);
	h = crash(e, h);
	assert_holds(e, h, shadow, BLK(50));
	free(shadow);
	assert_int_equal(object_close(h), 0);
}

static void ranges_behind_the_end_grow_the_object(void **state)
{
	static const struct object_range ranges[] = {{5, 5}, {100, 2}, {BLK(3) + 7, 3}};
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 7);
	uint8_t *shadow = calloc(1, BLK(4));

	assert_non_null(shadow);
	assert_int_equal(write_ranges(e, h, ranges, 3, 9), 0);
	shadow_write(shadow, ranges, 3, 9);
	assert_holds(e, h, shadow, BLK(3) + 10);
	assert_int_equal(engine_fsync(e, h), 0);
	h = crash(e, h);
	assert_holds(e, h, shadow, BLK(3) + 10);
	free(shadow);
	assert_int_equal(object_close(h), 0);
}

static void bad_ranges_are_refused(void **state)
{
	static const struct object_range bad[][2] = {
	    {{10, 10}, {19, 1}}, {{10, 10}, {10, 10}},	 {{BLK(3), 1}, {0, 1}},
	    {{10, 0}, {10, 1}},	 {{10, 1}, {BLK(2), 0}},
	};
	static const struct object_range large[][2] = {
	    {{0, 1}, {BLK(BLK_OBJECT_MAX), 1}},
	    {{0, 1}, {BLK(BLK_OBJECT_MAX) - 1, 2}},
	    {{0, 1}, {UINT64_MAX, 1}},
	    {{0, 1}, {1, UINT64_MAX}},
	};
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", BLK(10));

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(write_ranges(e, h, bad[i], 2, 1), -ERR_RANGES);
	for (size_t i = 0; i < ARRAY_LEN(large); i++)
		assert_int_equal(write_ranges(e, h, large[i], 2, 1), -ERR_TOO_LARGE);
	assert_int_equal(object_generation(h), 0);
	assert_int_equal(object_close(h), 0);
}

/* n ranges of a byte, each "every" blocks from the last. */
static struct object_range *spread_new(uint32_t n, uint64_t first, uint64_t every)
{
	struct object_range *ranges = calloc(n, sizeof(*ranges));

	assert_non_null(ranges);
	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (struct object_range){BLK(first + i * every) + 5, 1};
	return ranges;
}

static int write_spread(struct engine *e, struct handle *h, uint32_t n, uint64_t first,
			uint64_t every)
{
	struct object_range *ranges = spread_new(n, first, every);
	int err = write_ranges(e, h, ranges, n, 7);

	free(ranges);
	return err;
}

static void what_is_scattered_has_a_limit(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct object_range two[] = {{0, BLK(EPOCH_MAX_BLKS) - 1}, {BLK(EPOCH_MAX_BLKS) - 1, 1}};

	assert_int_equal(write_spread(e, h, EPOCH_MAX_FOLIOS + 1, 0, FOLIO_BLKS), -ERR_SCATTERED);
	assert_int_equal(object_size(h), 0);
	assert_int_equal(write_spread(e, h, EPOCH_MAX_FOLIOS, 0, FOLIO_BLKS), 0);
	assert_int_equal(h->obj->cache.ndirty_folios, EPOCH_MAX_FOLIOS);
	assert_int_equal(write_spread(e, h, 1024, 1, 2), 0); /* a block of two */
	two[1].len_bytes = 2;
	assert_int_equal(write_ranges(e, h, two, 2, 1), -ERR_SCATTERED);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
}

/* ---- all or nothing -------------------------------------------------------------------------- */

static void a_fill_that_fails_refuses_the_whole(void **state)
{
	static const struct object_range ranges[] = {
	    {BLK(1) + 1, 1}, {BLK(2), BLK_BYTES}, {BLK(40) + 1, 1}};
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	uint64_t had = engine_free_nblks(e);
	uint64_t generation = object_generation(h);
	uint8_t *want = malloc(BLK(50));

	assert_non_null(want);
	memset(want, 1, BLK(50));
	assert_int_equal(engine_blk_byte(e, h, 1), 1); /* the first is there */
	gate_dev_fail_upto(e->gate, GATE_READ, gate_dev_calls(e->gate, GATE_READ) + 1);
	assert_int_equal(write_ranges(e, h, ranges, 3, 9), -ERR_IO);
	assert_int_equal(object_generation(h), generation);
	assert_int_equal(engine_free_nblks(e), had);
	assert_int_equal(h->obj->cache.ndirty, 0);
	assert_holds(e, h, want, BLK(50));
	free(want);
	assert_int_equal(object_close(h), 0);
}

static void no_space_refuses_the_whole(void **state)
{
	static const struct object_range ranges[] = {{BLK(100), BLK_BYTES}, {BLK(200), BLK_BYTES}};
	struct engine *e = *state;
	struct handle *filler = engine_create_open(e, "filler", 0);
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t n = 0;

	while (engine_free_nblks(e) > 1000)
		assert_int_equal(engine_write_blks(e, filler, 500 * n++, 500, 1), 0);
	n *= 500;
	while (engine_free_nblks(e) > 1)
		assert_int_equal(engine_write_blk(e, filler, n++, 1), 0);
	assert_int_equal(write_ranges(e, h, ranges, 2, 1), -ERR_NOSPC);
	assert_int_equal(object_size(h), 0);
	assert_int_equal(engine_free_nblks(e), 1);
	assert_int_equal(write_ranges(e, h, ranges, 1, 1), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(filler), 0);
	engine_remove_all(e);
}

/* Another epoch is closed before it where it would not fit: a crash never shows a part. */
static void a_write_is_of_one_epoch(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	const uint32_t n = 200;
	const uint64_t before = EPOCH_MAX_FOLIOS - n / 2;

	assert_int_equal(write_spread(e, h, (uint32_t)before, 0, FOLIO_BLKS), 0);
	assert_int_equal(write_spread(e, h, n, before * FOLIO_BLKS, FOLIO_BLKS), 0);
	assert_int_equal(h->obj->cache.ndirty, n);
	while (h->obj->nclosed > 0)
		engine_turn(e);
	h = crash(e, h);
	assert_int_equal(object_size(h), BLK((before - 1) * FOLIO_BLKS) + 6);
	assert_int_equal(write_spread(e, h, n, before * FOLIO_BLKS, FOLIO_BLKS), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	h = crash(e, h);
	for (uint32_t i = 0; i < before + n; i++) {
		uint8_t byte;

		assert_int_equal(engine_read(e, h, BLK(i * (uint64_t)FOLIO_BLKS) + 5, &byte, 1), 1);
		assert_int_equal(byte, 7);
	}
	assert_int_equal(object_close(h), 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
	struct result res;
	uint32_t n;
	uint64_t lens[4];
	uint8_t first[4]; /* the first byte of each */
};

static void reading_cb(void *ctx, int err, struct pagevec *pvs)
{
	struct reading *r = ctx;

	for (uint32_t i = 0; i < r->n && err == 0; i++) {
		r->lens[i] = pvs[i].len;
		r->first[i] = pvs[i].len > 0 ? pvs[i].pages[0]->data[pvs[i].head] : 0;
	}
	engine_done_cb(&r->res, err);
}

static void readv_start(struct handle *h, const struct object_range *ranges, uint32_t n,
			struct reading *r)
{
	*r = (struct reading){.n = n};
	object_readv(h, ranges, n, reading_cb, r);
}

static void each_range_is_read_as_far_as_the_object_goes(void **state)
{
	static const struct object_range ranges[] = {
	    {BLK(9) + 4000, 1000}, {0, BLK(3)}, {BLK(10), 1}, {UINT64_MAX, UINT64_MAX}};
	struct engine *e = *state;
	struct handle *h = open_stored(e, 10);
	struct reading r;

	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	readv_start(h, ranges, 4, &r);
	assert_int_equal(engine_wait(e, &r.res), 0);
	assert_int_equal(r.lens[0], 96);
	assert_int_equal(r.first[0], 1);
	assert_int_equal(r.lens[1], BLK(3));
	assert_int_equal(r.first[1], 2);
	assert_int_equal(r.lens[2], 0);
	assert_int_equal(r.lens[3], 0);
	assert_int_equal(object_close(h), 0);
}

/* A read of a block that is there after a while, and of one that is not there yet. */
static void read_half(struct engine *e, struct handle *h, struct reading *r)
{
	static const struct object_range both[] = {{BLK(0), BLK_BYTES}, {BLK(40), BLK(10)}};
	uint64_t reads = gate_dev_calls(e->gate, GATE_READ);

	gate_dev_hold(e->gate, GATE_READ);
	readv_start(h, both, 2, r);
	engine_wait_calls(e, GATE_READ, reads + 2);
	gate_dev_release(e->gate, GATE_READ, 1);
	engine_settle(e); /* what the first has brought is taken */
	assert_false(r->res.done);
}

static void read_rest(struct engine *e, struct reading *r)
{
	assert_false(r->res.done);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &r->res), 0);
}

static void a_read_sees_a_write_beside_it_whole(void **state)
{
	static const struct object_range both[] = {{BLK(0), BLK_BYTES}, {BLK(40), BLK_BYTES}};
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	struct reading r;

	read_half(e, h, &r);
	assert_int_equal(write_ranges(e, h, both, 2, 2), 0);
	read_rest(e, &r);
	assert_int_equal(r.first[0], 2);
	assert_int_equal(r.first[1], 2);
	assert_int_equal(object_close(h), 0);
}

static void a_read_of_one_range_sees_it_whole_too(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 64);
	uint64_t reads = gate_dev_calls(e->gate, GATE_READ);
	struct result res = {0};

	gate_dev_hold(e->gate, GATE_READ);
	object_read(h, BLK(31), BLK(2), engine_read_cb, &res); /* of two folios */
	engine_wait_calls(e, GATE_READ, reads + 2);
	gate_dev_release(e->gate, GATE_READ, 1);
	engine_settle(e);
	assert_false(res.done);
	assert_int_equal(engine_write_blks(e, h, 31, 2, 2), 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(res.pv.pages[0]->data[0], 2);
	assert_int_equal(res.pv.pages[1]->data[0], 2);
	pagevec_fini(&res.pv);
	assert_int_equal(object_close(h), 0);
}

static void a_read_sees_zeros_made_beside_it_whole(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	struct reading r;

	read_half(e, h, &r);
	assert_int_equal(engine_zero(e, h, 0, BLK(50), false), 0);
	read_rest(e, &r);
	assert_int_equal(r.first[0], 0);
	assert_int_equal(r.first[1], 0);
	assert_int_equal(object_close(h), 0);
}

static void a_read_sees_one_size(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	struct reading r;

	read_half(e, h, &r);
	assert_int_equal(engine_resize(e, h, BLK(41), true), 0);
	read_rest(e, &r);
	assert_int_equal(r.lens[0], BLK_BYTES);
	assert_int_equal(r.lens[1], BLK(1));
	assert_int_equal(r.first[1], 1);
	assert_int_equal(engine_resize(e, h, BLK(45), false), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	read_half(e, h, &r);
	assert_int_equal(engine_resize(e, h, BLK(60), false), 0);
	read_rest(e, &r);
	assert_int_equal(r.lens[0], BLK_BYTES);
	assert_int_equal(r.lens[1], BLK(10));
	assert_int_equal(object_close(h), 0);
}

static void a_read_sees_a_reset_whole(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	struct result res = {0};
	struct reading r;

	object_snapshot(e->objs, "a@v", NULL, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(engine_write_blks(e, h, 0, 50, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	read_half(e, h, &r);
	res = (struct result){0};
	object_reset(e->objs, "a@v", engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	read_rest(e, &r);
	assert_int_equal(r.first[0], 1);
	assert_int_equal(r.first[1], 1);
	assert_int_equal(object_close(h), 0);
}

/* What replaces content in the map may be met there before it is done. */
static void a_read_from_the_device_waits_for_a_reset(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 50);
	static const struct object_range both[] = {{BLK(0), BLK_BYTES}, {BLK(40), BLK_BYTES}};
	uint64_t syncs;
	struct result reset = {0};
	struct result res = {0};
	struct reading r;

	object_snapshot(e->objs, "a@v", NULL, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_reset(e->objs, "a@v", engine_info_cb, &reset);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	readv_start(h, both, 2, &r);
	engine_settle(e);
	assert_false(r.res.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &reset), 0);
	assert_int_equal(engine_wait(e, &r.res), 0);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ranges_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(ranges_are_written_and_nothing_else),
	    TEST(ranges_behind_the_end_grow_the_object),
	    TEST(bad_ranges_are_refused),
	    TEST(what_is_scattered_has_a_limit),
	    TEST(a_fill_that_fails_refuses_the_whole),
	    TEST(no_space_refuses_the_whole),
	    TEST(a_write_is_of_one_epoch),
	    TEST(each_range_is_read_as_far_as_the_object_goes),
	    TEST(a_read_sees_a_write_beside_it_whole),
	    TEST(a_read_of_one_range_sees_it_whole_too),
	    TEST(a_read_sees_zeros_made_beside_it_whole),
	    TEST(a_read_sees_one_size),
	    TEST(a_read_sees_a_reset_whole),
	    TEST(a_read_from_the_device_waits_for_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
