/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_generation.c: the generation of an object: that each change of its content has its own,
 * for ever, and what is done only if it is a certain one.
 */
#include "tests/unit/ranges_fixture.h"

static const struct object_range one_byte[] = {{BLK(3) + 1, 1}};

static uint64_t generation_by_name(struct engine *e, const char *name)
{
	struct result res = {0};

	object_info(e->objs, name, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.info.generation;
}

static void each_change_of_content_counts(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", BLK(10));
	uint64_t last = object_generation(h);
	struct object_edit edit = {.edits = "k=v", .edits_len = 4};
	struct result res = {0};

	for (unsigned int i = 0; i < 6; i++) {
		switch (i) {
		case 0:
		case 1: /* with what was there already */
			assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
			break;
		case 2:
			assert_int_equal(engine_zero(e, h, 0, 10, false), 0);
			break;
		case 3:
			assert_int_equal(engine_resize(e, h, BLK(20), false), 0);
			break;
		case 4:
			assert_int_equal(engine_resize(e, h, BLK(5), true), 0);
			break;
		case 5:
			assert_int_equal(write_ranges(e, h, one_byte, 1, 1), 0);
			break;
		}
		assert_true(object_generation(h) > last);
		last = object_generation(h);
		assert_int_equal(generation_by_name(e, "a"), last);
	}
	object_set(e->objs, "a", &edit, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(res.info.generation, last);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_resize(e, h, BLK(5), false), 0);
	assert_int_equal(engine_zero(e, h, BLK(5), BLK(5), false), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(object_generation(h), last);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	assert_int_equal(generation_by_name(e, "a"), last);
	assert_int_equal(generation_by_name(e, "b"), 0);
}

static void a_generation_that_was_lost_does_not_come_again(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", BLK(10));
	uint64_t durable;
	uint64_t lost;

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	durable = object_generation(h);
	for (uint8_t i = 2; i < 50; i++)
		assert_int_equal(engine_write_blk(e, h, 0, i), 0);
	lost = object_generation(h);
	h = crash(e, h);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_generation(h), durable);
	assert_int_equal(write_ranges_if(e, h, one_byte, 1, 9, lost), -ERR_CHANGED);
	assert_int_equal(write_ranges_if(e, h, one_byte, 1, 9, durable), 0);
	assert_true(object_generation(h) > lost);
	assert_int_equal(object_close(h), 0);
}

static void a_write_is_made_if_nothing_has_changed(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 10);
	struct handle *other = engine_open(e, "a");
	uint64_t seen = object_generation(h);
	struct changed changed = {0};
	struct result res = {0};

	assert_int_equal(write_ranges_start(e, h, one_byte, 1, 2, &seen, &changed), 0);
	assert_int_equal(engine_wait(e, &changed.res), 0);
	assert_int_equal(changed.generation, object_generation(h));
	assert_true(changed.generation > seen);
	assert_int_equal(write_ranges_if(e, other, one_byte, 1, 3, seen), -ERR_CHANGED);
	assert_int_equal(object_generation(h), changed.generation);
	assert_int_equal(h->obj->cache.ndirty, 1);
	assert_int_equal(engine_blk_byte(e, h, 3), 1);
	assert_int_equal(write_ranges_if(e, other, one_byte, 1, 3, changed.generation), 0);

	seen = object_generation(h);
	object_snapshot(e->objs, "a@v", NULL, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(object_generation(h), seen);
	res.done = false;
	object_reset(e->objs, "a@v", engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(res.info.generation, object_generation(h));
	assert_int_equal(write_ranges_if(e, other, one_byte, 1, 3, seen), -ERR_CHANGED);
	assert_int_equal(object_close(other), 0);
	h = crash(e, h);
	assert_int_equal(object_generation(h), res.info.generation);
	assert_int_equal(object_close(h), 0);
}

/* Both have looked before either is applied, and wait for the device. */
static void of_two_at_once_one_is_made(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 10);
	uint64_t seen = object_generation(h);
	struct changed first = {0};
	struct changed second = {0};
	uint8_t byte;

	gate_dev_hold(e->gate, GATE_READ);
	assert_int_equal(write_ranges_start(e, h, one_byte, 1, 2, &seen, &first), 0);
	assert_int_equal(write_ranges_start(e, h, one_byte, 1, 3, &seen, &second), 0);
	engine_settle(e);
	assert_false(first.res.done || second.res.done);
	gate_dev_open(e->gate, GATE_READ);
	(void)engine_wait(e, &first.res);
	(void)engine_wait(e, &second.res);
	assert_true((first.res.err == 0) != (second.res.err == 0));
	assert_int_equal(first.res.err + second.res.err, -ERR_CHANGED);
	assert_int_equal(first.generation, second.generation);
	assert_int_equal(engine_read(e, h, one_byte[0].off_bytes, &byte, 1), 1);
	assert_int_equal(byte, first.res.err == 0 ? 2 : 3);
	assert_int_equal(object_close(h), 0);
}

static int fsync_if(struct engine *e, struct handle *h, const uint64_t *seen, uint64_t *generation)
{
	struct changed changed = {0};

	object_fsync_if(h, seen, changed_cb, &changed);
	*generation = 0;
	if (engine_wait(e, &changed.res) == 0)
		*generation = changed.generation;
	return changed.res.err;
}

static void an_fsync_is_made_if_nothing_has_changed(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", BLK(10));
	uint64_t made;
	uint64_t seen;
	uint64_t old;

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	old = object_generation(h);
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	seen = object_generation(h);
	assert_int_equal(fsync_if(e, h, &old, &made), -ERR_CHANGED);
	assert_int_equal(h->obj->cache.ndirty, 1); /* nothing was begun */
	assert_int_equal(fsync_if(e, h, &seen, &made), 0);
	assert_int_equal(made, seen);
	assert_int_equal(engine_write_blk(e, h, 0, 3), 0);
	assert_int_equal(fsync_if(e, h, NULL, &made), 0);
	assert_int_equal(made, object_generation(h));
	h = crash(e, h);
	assert_int_equal(object_generation(h), made);
	assert_int_equal(engine_blk_byte(e, h, 0), 3);
	assert_int_equal(object_close(h), 0);
}

/* The record of a reset that fails may yet be found after a crash, by a number nobody else has. */
static void a_reset_that_fails_leaves_its_number_unused(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", BLK(10));
	struct result res = {0};
	uint64_t seen;

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	object_snapshot(e->objs, "a@v", NULL, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	seen = object_generation(h);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	res.done = false;
	object_reset(e->objs, "a@v", engine_info_cb, &res);
	assert_true(engine_wait(e, &res) < 0);
	assert_int_equal(object_generation(h), seen + 2);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ranges_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_change_of_content_counts),
	    TEST(a_generation_that_was_lost_does_not_come_again),
	    TEST(a_write_is_made_if_nothing_has_changed),
	    TEST(of_two_at_once_one_is_made),
	    TEST(an_fsync_is_made_if_nothing_has_changed),
	    TEST(a_reset_that_fails_leaves_its_number_unused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
