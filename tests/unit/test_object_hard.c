/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What file systems with shared blocks have met as hard: a block that is shared a million times, an
 * object of a million extents, no space for what shares, ends that were cut.
 */
#include "tests/unit/object_fixture.h"

#define K	BLK_BYTES
#define MILLION (UINT64_C(1) << 20)
#define STEP_NBLKS \
	UINT64_C(4094) /* no multiple of what a leaf covers: each leaf is one of its own */

static int setup_large_map(void **state)
{
	return engine_setup_sized(state, 64 * MIB, 512 * MIB);
}

static int setup_small(void **state)
{
	return engine_setup_sized(state, 24 * MIB, 64 * MIB);
}

static void shared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	(void)len_bytes;
	(void)left_bytes;
	engine_done_cb(ctx, err);
}

static int share(struct engine *e, struct handle *dst, uint64_t dst_off, struct handle *src,
		 uint64_t src_off, uint64_t len)
{
	struct result res = {0};

	object_share(dst, dst_off, src, src_off, len, shared_cb, &res);
	return engine_wait(e, &res);
}

/* "a" of so many blocks, all of which are its first one. */
static struct handle *make_shared(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t n = 1;

	assert_int_equal(engine_write_blk(e, h, 0, 9), 0);
	while (n < STEP_NBLKS) {
		uint64_t more = n < STEP_NBLKS - n ? n : STEP_NBLKS - n;

		assert_int_equal(share(e, h, n * K, h, 0, more * K), 0);
		n += more;
	}
	while (n < nblks) {
		uint64_t more = STEP_NBLKS < nblks - n ? STEP_NBLKS : nblks - n;

		assert_int_equal(share(e, h, n * K, h, 0, more * K), 0);
		n += more;
	}
	return h;
}

/*
 * Each of its blocks is an extent and the same block of the device: it is read, cloned, reset,
 * written to anywhere and cut as any other, and in the end there is not a block left of it.
 */
static void a_block_that_is_shared_a_million_times(void **state)
{
	struct engine *e = *state;
	struct map_obj info;
	struct handle *clone;
	struct handle *h;
	uint64_t empty;

	engine_reap(e);
	empty = engine_free_nblks(e);
	h = make_shared(e, MILLION);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), empty - 1);
	assert_int_equal(info_of(e, "a", &info), 0);
	assert_int_equal(info.mapped_nblks, MILLION);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_clone(e, "a@v", "b"), 0);
	clone = engine_open(e, "b");
	for (uint64_t blk = 0; blk < MILLION; blk += MILLION / 64 + 1) {
		assert_int_equal(engine_blk_byte(e, clone, blk), 9);
		assert_int_equal(engine_write_blk(e, clone, blk, 1), 0);
	}
	assert_int_equal(object_close(clone), 0);
	assert_int_equal(engine_resize(e, h, (MILLION / 2 + 77) * K, true), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, MILLION / 2 + 76), 9);
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(object_size(h), MILLION * K);
	assert_int_equal(engine_blk_byte(e, h, MILLION - 1), 9);
	assert_int_equal(object_close(h), 0);
	engine_check_online(e);
	assert_int_equal(byte_of(e, "b", 0), 1);
	engine_remove_all(e);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), empty);
}

/* The bytes of an object that begin at a multiple of a block, written until there is no space. */
static uint64_t fill(struct engine *e, struct handle *h)
{
	uint64_t n = 0;
	int err;

	while ((err = engine_write_blk(e, h, n, 5)) == 0)
		n++;
	assert_int_equal(err, -ERR_NOSPC);
	return n;
}

/* On a full store what needs no block is done, and what needs one fails and has changed nothing. */
static void no_space_for_the_edges_of_a_clone(void **state)
{
	struct engine *e = *state;
	struct handle *src = engine_create_open(e, "src", 0);
	struct handle *dst = engine_create_open(e, "dst", 0);
	struct handle *rest = engine_create_open(e, "rest", 0);

	assert_int_equal(engine_write_blks(e, src, 0, 20, 1), 0);
	assert_int_equal(engine_write_blks(e, dst, 0, 20, 2), 0);
	assert_int_equal(engine_fsync(e, src), 0);
	assert_int_equal(snapshot(e, "dst@v"), 0);
	(void)fill(e, rest);
	assert_int_equal(engine_fsync(e, rest), 0);
	(void)fill(e, rest);
	assert_int_equal(share(e, dst, 5, src, 5, 8 * K), -ERR_NOSPC);
	assert_int_equal(engine_blk_byte(e, dst, 1), 2);
	assert_int_equal(share(e, dst, 2 * K, src, 0, 8 * K), 0);
	assert_int_equal(engine_blk_byte(e, dst, 1), 2);
	assert_int_equal(engine_blk_byte(e, dst, 2), 1);
	assert_int_equal(engine_clone(e, "dst", "clone"), 0);
	assert_int_equal(reset(e, "dst@v"), 0);
	assert_int_equal(engine_blk_byte(e, dst, 2), 2);
	assert_int_equal(byte_of(e, "clone", 2), 1);
	/* as soon as there is space it goes on, and no block is lost */
	assert_int_equal(engine_resize(e, rest, 0, true), 0);
	assert_int_equal(share(e, dst, 5, src, 5, 8 * K), 0);
	assert_int_equal(object_close(rest), 0);
	assert_int_equal(object_close(src), 0);
	assert_int_equal(object_close(dst), 0);
	engine_check_online(e);
}

/* What is behind an end that was cut and is not committed yet is nobody's, and zeros where it grows. */
static void a_range_up_to_an_end_that_was_cut(void **state)
{
	struct engine *e = *state;
	struct handle *src = engine_create_open(e, "src", 0);
	struct handle *dst = engine_create_open(e, "dst", 0);
	uint8_t buf[3 * K];

	assert_int_equal(engine_write_blks(e, src, 0, 20, 1), 0);
	assert_int_equal(engine_write_blks(e, dst, 0, 20, 2), 0);
	assert_int_equal(engine_fsync(e, src), 0);
	assert_int_equal(engine_fsync(e, dst), 0);
	assert_int_equal(engine_resize(e, src, 5 * K + 100, true), 0);
	assert_int_equal(engine_resize(e, dst, 3 * K + 9, true), 0);
	assert_int_equal(share(e, dst, 0, src, 0, 6 * K), -ERR_RANGE);
	assert_int_equal(share(e, dst, 10 * K, src, 4 * K, 0), 0);
	assert_int_equal(object_size(dst), 11 * K + 100);
	assert_int_equal(engine_resize(e, dst, 13 * K, false), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(engine_read(e, dst, 3 * K, buf, sizeof(buf)), sizeof(buf));
		for (size_t i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], i < 9 ? 2 : 0);
		assert_int_equal(engine_read(e, dst, 10 * K, buf, sizeof(buf)), sizeof(buf));
		for (size_t i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], i < K + 100 ? 1 : 0);
		assert_int_equal(engine_fsync(e, dst), 0);
		assert_int_equal(object_close(dst), 0);
		(void)object_close(src);
		crash(e);
		dst = engine_open(e, "dst");
		src = engine_open(e, "src");
	}
	assert_int_equal(object_close(src), 0);
	assert_int_equal(object_close(dst), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_block_that_is_shared_a_million_times, setup_large_map,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(no_space_for_the_edges_of_a_clone, setup_small,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(a_range_up_to_an_end_that_was_cut, setup_untimed,
					    engine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
