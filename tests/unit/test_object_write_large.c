/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_write_large.c: one write to several objects: how much it may be, of what there may be too
 * little for it, and past the cache.
 */
#include "tests/unit/write_all_fixture.h"

static void set_cache(struct engine *e, uint64_t bytes)
{
	e->cache_bytes = bytes;
	engine_restart(e);
}

/* ---- how much -------------------------------------------------------------------------------- */

/* What is open of one of them leaves no room: it is closed first, and nothing of the write is in it. */
static void what_is_open_is_closed_before_a_record_is_too_large(void **state)
{
	static const struct object_range blks[] = {{0, BLK(200)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];

	set_cache(e, 256 * MIB); /* an epoch fits twice, with nothing written */
	open_stored(e, h);
	parts_of(h, blks, parts);
	assert_int_equal(engine_write_blks(e, h[0], 1000, EPOCH_MAX_BLKS - 400, 9), 0);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_int_equal(h[0]->obj->nclosed, 1);
	assert_int_equal(h[1]->obj->nclosed, 0);
	for (uint32_t i = 0; i < NOBJS; i++) {
		assert_int_equal(h[i]->obj->cache.ndirty, 200);
		assert_ptr_equal(h[i]->obj->tie.lead, h[0]->obj->tie.lead);
	}
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_fsync(e, h[2]), 0);
	close_all(h, NOBJS);
	crash(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(byte_after(e, names[i]), 2);
}

/* One that fills the epoch, and before that the memory, closes it, though not before its last part. */
static void a_full_epoch_has_all_of_it(void **state)
{
	static const struct object_range half[] = {{0, BLK(EPOCH_MAX_BLKS / 2)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];

	set_cache(e, 48 * MIB); /* half of an epoch is much for it */
	open_stored(e, h);
	parts_of(h, half, parts);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(write_all(e, parts, 2, 2), 0);
	assert_int_equal(h[0]->obj->nclosed, 1);
	assert_int_equal(h[1]->obj->nclosed, 1);
	assert_ptr_equal(TAILQ_FIRST(&h[0]->obj->closed)->set,
			 TAILQ_FIRST(&h[1]->obj->closed)->set);
	gate_dev_open(e->gate, GATE_WRITE);
	close_all(h, NOBJS);
}

static struct handle *nth(struct engine *e, uint32_t i)
{
	char name[16];

	snprintf(name, sizeof(name), "o%u", i);
	return engine_create_open(e, name, 0);
}

static void so_many_objects_as_a_set_has(void **state)
{
	struct engine *e = *state;
	struct handle *h[OBJECT_PARTS_MAX + 1];
	struct object_part parts[OBJECT_PARTS_MAX];
	struct answer answer;

	for (uint32_t i = 0; i < ARRAY_LEN(h); i++)
		h[i] = nth(e, i);
	for (uint32_t i = 0; i < OBJECT_PARTS_MAX; i++)
		parts[i] = part(h[i], first_blk);
	/* with one more that is tied to one of them they are too many */
	assert_int_equal(object_tie(&h[OBJECT_PARTS_MAX - 1], 2), 0);
	assert_int_equal(start(e, parts, OBJECT_PARTS_MAX, 2, &answer), 0);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_LIMIT);
	assert_int_equal(answer.at, OBJECT_PARTS_MAX);
	assert_int_equal(object_size(h[0]), 0);
	assert_int_equal(object_close(h[OBJECT_PARTS_MAX]), 0);
	assert_int_equal(engine_write_blk(e, h[OBJECT_PARTS_MAX - 1], 0, 1), 0);
	assert_int_equal(engine_fsync(e, h[OBJECT_PARTS_MAX - 1]), 0); /* lets go of it */
	assert_int_equal(write_all(e, parts, OBJECT_PARTS_MAX, 2), 0);
	assert_int_equal(engine_fsync(e, h[7]), 0);
	close_all(h, OBJECT_PARTS_MAX);
	crash(e);
	for (uint32_t i = 0; i < OBJECT_PARTS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "o%u", i);
		assert_int_equal(byte_of(e, name, 0), 2);
	}
}

/* An object of all free blocks but n. */
static struct handle *fill_up(struct engine *e, uint64_t n)
{
	struct handle *h = engine_create_open(e, "full", 0);
	uint64_t nblks = engine_free_nblks(e) - n;
	uint64_t done = 0;

	while (done < nblks) {
		uint64_t some = nblks - done < 1024 ? nblks - done : 1024;

		assert_int_equal(engine_write_blks(e, h, done, some, 5), 0);
		done += some;
	}
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_free_nblks(e), n);
	return h;
}

static void no_space_for_all_though_for_each(void **state)
{
	static const struct object_range blks[] = {{BLK(8), BLK(40)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct handle *full;

	open_stored(e, h);
	parts_of(h, blks, parts);
	full = fill_up(e, 100);
	assert_int_equal(write_all(e, parts, NOBJS, 2), -ERR_NOSPC);
	assert_untouched(e, h);
	assert_int_equal(engine_free_nblks(e), 100);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(object_size(h[i]), BLK(4));
	assert_int_equal(write_all(e, parts, 2, 2), 0);
	assert_int_equal(write_all(e, parts, 2, 3), 0); /* takes no more */
	assert_int_equal(write_all(e, parts, NOBJS, 2), -ERR_NOSPC);
	assert_int_equal(engine_blk_byte(e, h[0], 8), 3);
	close_all(h, NOBJS);
	assert_int_equal(object_close(full), 0);
}

/* Neither has both halves of what it needs while the other waits for one. */
static void two_that_lack_space_do_not_wait_for_each_other(void **state)
{
	static const struct object_range blks[] = {{BLK(8), BLK(40)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct answer answers[2];
	struct handle *full;
	int errs;

	open_stored(e, h);
	parts_of(h, blks, parts);
	full = fill_up(e, 110);
	assert_int_equal(start(e, parts, 2, 2, &answers[0]), 0);
	assert_int_equal(start(e, parts + 1, 2, 3, &answers[1]), 0);
	(void)engine_wait(e, &answers[0].res);
	(void)engine_wait(e, &answers[1].res);
	errs = answers[0].res.err + answers[1].res.err;
	assert_int_equal(answers[0].res.err, 0);
	assert_int_equal(errs, -ERR_NOSPC);
	close_all(h, NOBJS);
	assert_int_equal(object_close(full), 0);
}

/* ---- past the cache -------------------------------------------------------------------------- */

/* "a" and "c" are open for direct writes, "b" is not. */
static void open_direct(struct engine *e, struct handle **h)
{
	open_stored(e, h);
	for (uint32_t i = 0; i < NOBJS; i += 2) {
		assert_int_equal(object_close(h[i]), 0);
		assert_int_equal(open_as(e, names[i], OBJECT_DIRECT, &h[i]), 0);
	}
}

static const struct object_range unaligned[] = {{100, BLK(3)}};

static void each_handle_says_the_way(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t writes;
	uint64_t free;

	open_direct(e, h);
	parts_of(h, unaligned, parts);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	free = engine_free_nblks(e);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 2);
	assert_int_equal(h[0]->obj->cache.nplaced, 2);
	assert_int_equal(h[1]->obj->cache.nplaced, 0);
	assert_int_equal(h[2]->obj->cache.nplaced, 2);
	assert_int_equal(engine_free_nblks(e), free - 12);
	assert_bytes(e, h, 99, 1);
	assert_bytes(e, h, 100, 2);
	assert_bytes(e, h, 99 + BLK(3), 2);
	assert_bytes(e, h, 100 + BLK(3), 1);
	assert_int_equal(engine_fsync(e, h[1]), 0);
	close_all(h, NOBJS);
	crash(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(byte_of(e, names[i], 1), 2);
}

static void a_placing_that_fails_leaves_all_as_it_was(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t free;

	open_direct(e, h);
	parts_of(h, unaligned, parts);
	free = engine_free_nblks(e);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 8);
	assert_int_equal(write_all(e, parts, NOBJS, 2), -ERR_IO);
	assert_untouched(e, h);
	gate_dev_fail_upto(e->gate, GATE_WRITE, 0);
	/* what failed to be written is not used again: two attempts of two blocks, of each of two */
	assert_int_equal(engine_free_nblks(e), free - 8);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_bytes(e, h, 100, 2);
	close_all(h, NOBJS);
}

/* One part has failed for good while the second attempt of the other is on its way. */
static void a_placing_that_fails_waits_for_the_others(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t writes;
	uint64_t free;
	struct answer answer;

	open_direct(e, h);
	parts_of(h, unaligned, parts);
	free = engine_free_nblks(e);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	engine_wait_calls(e, GATE_WRITE, writes + 2);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 3);
	gate_dev_release(e->gate, GATE_WRITE, 2);
	engine_wait_calls(e, GATE_WRITE, writes + 4);
	gate_dev_release(e->gate, GATE_WRITE, 1);
	engine_settle(e);
	assert_false(answer.res.done);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_IO);
	assert_untouched(e, h);
	assert_int_equal(engine_free_nblks(e), free - 6); /* three attempts have failed */
	close_all(h, NOBJS);
}

/* While the data of one part is on its way a condition of another fails. */
static void what_was_placed_is_given_back(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t seen;
	uint64_t free;
	struct answer answer;

	open_direct(e, h);
	parts_of(h, unaligned, parts);
	seen = object_generation(h[1]);
	parts[1].if_generation = &seen;
	free = engine_free_nblks(e);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	engine_settle(e);
	assert_false(answer.res.done);
	assert_int_equal(engine_write_blk(e, h[1], 9, 9), 0);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_CHANGED);
	assert_int_equal(engine_free_nblks(e), free - 1);
	assert_bytes(e, h, 100, 1);
	close_all(h, NOBJS);
}

/* Both have placed one part, and lack the space for the other: the first to fail gives its back. */
static void two_that_have_placed_do_not_wait_for_each_other(void **state)
{
	static const struct object_range blks[] = {{BLK(8), BLK(40)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[2][2];
	struct answer answers[2];
	struct handle *full;

	open_direct(e, h);
	parts[0][0] = part(h[0], blks);
	parts[0][1] = part(h[1], blks);
	parts[1][0] = part(h[2], blks);
	parts[1][1] = part(h[1], blks);
	full = fill_up(e, 100);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(start(e, parts[0], 2, 2, &answers[0]), 0);
	assert_int_equal(start(e, parts[1], 2, 3, &answers[1]), 0);
	engine_settle(e);
	assert_int_equal(engine_free_nblks(e), 20);
	gate_dev_open(e->gate, GATE_WRITE);
	(void)engine_wait(e, &answers[0].res);
	(void)engine_wait(e, &answers[1].res);
	assert_int_equal(answers[0].res.err + answers[1].res.err, -ERR_NOSPC);
	assert_int_equal(engine_free_nblks(e), 20);
	close_all(h, NOBJS);
	assert_int_equal(object_close(full), 0);
}

/* Every part of every alignment is placed, and reads see all of it. */
static void on_a_mapped_device_all_is_placed(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];

	open_stored(e, h);
	parts_of(h, unaligned, parts);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(h[i]->obj->cache.nplaced, 4);
	assert_bytes(e, h, 99, 1);
	assert_bytes(e, h, 100, 2);
	assert_bytes(e, h, 99 + BLK(3), 2);
	assert_bytes(e, h, 100 + BLK(3), 1);
	assert_int_equal(engine_fsync(e, h[2]), 0);
	assert_int_equal(write_all(e, parts, NOBJS, 3), 0);
	close_all(h, NOBJS);
	crash(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(byte_of(e, names[i], 1), 2);
}

#define TEST(name)	  cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TEST_MAPPED(name) cmocka_unit_test_setup_teardown(name, setup_mapped, teardown_mapped)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_open_is_closed_before_a_record_is_too_large),
	    TEST(a_full_epoch_has_all_of_it),
	    TEST(so_many_objects_as_a_set_has),
	    TEST(no_space_for_all_though_for_each),
	    TEST(two_that_lack_space_do_not_wait_for_each_other),
	    TEST(each_handle_says_the_way),
	    TEST(a_placing_that_fails_leaves_all_as_it_was),
	    TEST(a_placing_that_fails_waits_for_the_others),
	    TEST(what_was_placed_is_given_back),
	    TEST(two_that_have_placed_do_not_wait_for_each_other),
	    TEST_MAPPED(on_a_mapped_device_all_is_placed),
	};

	return cmocka_run_group_tests_name("object write large", tests, NULL, NULL);
}
