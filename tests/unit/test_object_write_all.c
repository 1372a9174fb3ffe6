/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_write_all.c: one write to several objects: that all of it is there or nothing, whatever
 * it waits for, whatever fails, and after a crash.
 */
#include "tests/unit/write_all_fixture.h"

#include "server/object_io.h"

/* ---- one change ------------------------------------------------------------------------------ */

static void all_are_written(void **state)
{
	static const struct object_range scattered[] = {{1, 2}, {100, BLK_BYTES}, {BLK(9), 1}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct answer answer;

	open_stored(e, h);
	parts_of(h, some_bytes, parts);
	parts[1] = (struct object_part){.handle = h[1], .ranges = scattered, .nranges = 3};
	assert_int_equal(start(e, parts, NOBJS, 7, &answer), 0);
	assert_int_equal(engine_wait(e, &answer.res), 0);
	for (uint32_t i = 0; i < NOBJS; i++) {
		assert_true(answer.generations[i] > 0);
		assert_int_equal(answer.generations[i], object_generation(h[i]));
	}
	assert_int_equal(object_size(h[0]), BLK(4));
	assert_int_equal(object_size(h[1]), BLK(9) + 1);
	assert_int_equal(engine_blk_byte(e, h[0], 0), 1);
	for (uint64_t at = 0; at < BLK(9) + 1; at += at < 200 ? 1 : 97) {
		bool wrote =
		    (at >= 1 && at < 3) || (at >= 100 && at < 100 + BLK_BYTES) || at == BLK(9);
		uint8_t got;

		assert_int_equal(engine_read(e, h[1], at, &got, 1), 1);
		assert_int_equal(got, wrote ? 7 : at < BLK(4) ? 1 : 0);
	}
	close_all(h, NOBJS);
}

static void it_is_one_record(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t writes;

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	assert_int_equal(engine_fsync(e, h[1]), 0); /* of one of them */
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 1);
	assert_int_equal(write_all(e, parts, NOBJS, 3), 0); /* is lost */
	close_all(h, NOBJS);
	crash(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(byte_after(e, names[i]), 2);
}

/* Each shares an object with the one before. */
static void a_chain_of_them_is_one_record(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	assert_int_equal(write_all(e, parts, 2, 2), 0);
	assert_int_equal(write_all(e, parts + 1, 2, 3), 0);
	assert_int_equal(engine_fsync(e, h[0]), 0);
	close_all(h, NOBJS);
	crash(e);
	assert_int_equal(byte_after(e, "a"), 2);
	assert_int_equal(byte_after(e, "b"), 3);
	assert_int_equal(byte_after(e, "c"), 3);
}

/* Every failing call of the device, then a crash. */
static void a_crash_at_any_time_shows_all_or_nothing(void **state)
{
	static const struct object_range large[] = {{0, BLK(ENGINE_WRITTEN_BLKS)}};
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	bool seen[2] = {false};

	for (uint32_t i = 0; i < NOBJS; i++)
		h[i] = engine_create_open(e, names[i], 0);
	close_all(h, NOBJS);
	for (uint64_t n = 0; n < 16; n++) {
		uint8_t byte = (uint8_t)(n + 2);
		uint8_t before = byte_after(e, "a");
		uint8_t after;

		for (uint32_t i = 0; i < NOBJS; i++)
			h[i] = engine_open(e, names[i]);
		parts_of(h, first_blk, parts);
		parts[n % NOBJS] = part(h[n % NOBJS], large);
		assert_int_equal(write_all(e, parts, NOBJS, byte), 0);
		gate_dev_fail_upto(e->gate, n % 2 ? GATE_SYNC : GATE_WRITE,
				   gate_dev_calls(e->gate, n % 2 ? GATE_SYNC : GATE_WRITE) + n / 2);
		(void)engine_fsync(e, h[n % NOBJS]);
		for (uint32_t i = 0; i < NOBJS; i++)
			(void)object_close(h[i]);
		crash(e);
		after = byte_after(e, "a");
		assert_true(after == before || after == byte);
		seen[after == byte] = true;
		for (uint32_t i = 1; i < NOBJS; i++)
			assert_int_equal(byte_after(e, names[i]), after);
	}
	assert_true(seen[0] && seen[1]);
}

/* A version of each, of one point in time, has all of it or nothing. */
static void clones_of_one_moment_have_all_or_nothing(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(write_all(e, parts, NOBJS, 3), 0);
	close_all(h, NOBJS);
	crash(e);
	assert_int_equal(byte_of(e, "a@v", 0), 2);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(byte_after(e, names[i]), 2);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void ranges_that_cannot_be(void **state)
{
	static const struct object_range descending[] = {{BLK(1), 1}, {0, 1}};
	static const struct object_range overlapping[] = {{0, 10}, {9, 1}};
	static const struct object_range half[] = {{0, BLK(EPOCH_MAX_BLKS / 2)}};
	static const struct object_range more[] = {{0, BLK(EPOCH_MAX_BLKS / 2) + 1}};
	struct engine *e = *state;
	struct object_part parts[2] = {part(NULL, some_bytes)};
	struct answer answer;

	parts[1] = (struct object_part){.ranges = descending, .nranges = 2};
	assert_int_equal(start(e, parts, 2, 2, &answer), -ERR_RANGES);
	parts[1].ranges = overlapping;
	assert_int_equal(start(e, parts, 2, 2, &answer), -ERR_RANGES);
	parts[1].nranges = 0;
	assert_int_equal(start(e, parts, 2, 2, &answer), -ERR_RANGES);
	parts[0] = part(NULL, half);
	parts[1] = part(NULL, more);
	assert_int_equal(start(e, parts, 2, 2, &answer), -ERR_SCATTERED);
}

static void what_may_not_be_written(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct object_edit edit = {.set_readonly = true, .readonly = true};
	struct handle *again;
	struct handle *reader;
	struct handle *version;
	struct answer answer;
	struct result res = {0};

	open_stored(e, h);
	assert_int_equal(snapshot(e, "b@v"), 0);
	assert_int_equal(open_as(e, "b", OBJECT_READONLY, &reader), 0);
	assert_int_equal(open_as(e, "b@v", OBJECT_READONLY, &version), 0);
	again = engine_open(e, "a");
	parts_of(h, first_blk, parts);
	parts[1].handle = reader;
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(answer.res.err, -ERR_PERM);
	assert_int_equal(answer.at, 1);
	parts[1].handle = version;
	assert_int_equal(write_all(e, parts, NOBJS, 2), -ERR_PERM);
	parts[1].handle = again;
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(answer.res.err, -ERR_SAME_OBJECT);
	assert_int_equal(answer.at, NOBJS);
	parts[1].handle = h[1];
	object_set(e->objs, "c", &edit, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(answer.res.err, -ERR_READONLY);
	assert_int_equal(answer.at, 2);
	assert_untouched(e, h);
	close_all(h, NOBJS);
	assert_int_equal(object_close(again), 0);
	assert_int_equal(object_close(reader), 0);
	assert_int_equal(object_close(version), 0);
}

/* ---- conditions ------------------------------------------------------------------------------ */

static void one_condition_of_three_fails(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t seen[NOBJS];
	uint64_t other;
	struct answer answer;

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	for (uint32_t i = 0; i < NOBJS; i++) {
		seen[i] = object_generation(h[i]);
		parts[i].if_generation = &seen[i];
	}
	other = seen[2] + 1;
	parts[2].if_generation = &other;
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_CHANGED);
	assert_int_equal(answer.at, 2);
	assert_int_equal(answer.generation, seen[2]);
	assert_untouched(e, h);
	parts[2].if_generation = &seen[2];
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_bytes(e, h, 0, 2);
	assert_int_equal(write_all(e, parts, NOBJS, 3), -ERR_CHANGED);
	parts[0].if_generation = NULL; /* any */
	assert_int_equal(write_all(e, parts, 1, 4), 0);
	close_all(h, NOBJS);
}

/* It is compared in the turn in which all is applied. */
static void a_condition_fails_while_it_waits(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	uint64_t seen;
	struct answer answer;

	open_stored(e, h);
	parts_of(h, some_bytes, parts);
	seen = object_generation(h[1]);
	parts[1].if_generation = &seen;
	gate_dev_hold(e->gate, GATE_READ);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	engine_settle(e);
	assert_false(answer.res.done);
	assert_int_equal(engine_write_blk(e, h[1], 1, 9), 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_CHANGED);
	assert_int_equal(answer.at, 1);
	assert_int_equal(answer.generation, object_generation(h[1]));
	assert_bytes(e, h, 3, 1);
	assert_int_equal(h[0]->obj->cache.ndirty + h[2]->obj->cache.ndirty, 0);
	close_all(h, NOBJS);
}

/* ---- what it waits for, and what fails meanwhile --------------------------------------------- */

static void a_fill_that_fails_leaves_all_as_it_was(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct answer answer;
	uint8_t byte;

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	parts[1].ranges = some_bytes; /* the only one that has to be read */
	gate_dev_fail_upto(e->gate, GATE_READ, gate_dev_calls(e->gate, GATE_READ) + 1);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_IO);
	assert_int_equal(answer.at, 1);
	assert_untouched(e, h);
	assert_int_equal(write_all(e, parts, NOBJS, 2), 0);
	assert_int_equal(engine_read(e, h[1], 3, &byte, 1), 1);
	assert_int_equal(byte, 2);
	close_all(h, NOBJS);
}

/* A block whose checksum is wrong on the device. */
static void a_part_of_bad_data_leaves_all_as_it_was(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct answer answer;
	struct result res = {0};
	FILE *file;

	open_stored(e, h);
	assert_int_equal(engine_map(e, h[2], 0, BLK_BYTES, &res), 0);
	close_all(h, NOBJS);
	engine_stop(e);
	file = fopen(e->dev_path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)res.runs[0].dev_bytes + 77, SEEK_SET), 0);
	assert_int_equal(fputc(0x5a, file), 0x5a);
	assert_int_equal(fclose(file), 0);
	engine_start(e);
	for (uint32_t i = 0; i < NOBJS; i++)
		h[i] = engine_open(e, names[i]);
	parts_of(h, some_bytes, parts);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	assert_int_equal(engine_wait(e, &answer.res), -ERR_CSUM);
	assert_int_equal(answer.at, 2);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_int_equal(h[i]->obj->cache.ndirty, 0);
	assert_int_equal(write_all(e, parts, 2, 2), 0);
	close_all(h, NOBJS);
	/* for the check behind the test */
	assert_int_equal(engine_remove(e, "c"), 0);
}

struct owner {
	struct gate_waiter waiter;
	bool has;
};

static void owner_ready(struct gate_waiter *waiter)
{
	CONTAINER_OF(waiter, struct owner, waiter)->has = true;
}

/* Of three objects two are about to be replaced, one after the other. */
static void it_waits_at_every_gate(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[NOBJS];
	struct owner owners[2] = {{.waiter.ready = owner_ready}, {.waiter.ready = owner_ready}};
	struct answer answer;

	open_stored(e, h);
	parts_of(h, first_blk, parts);
	object_close_gate(h[1]->obj, &owners[0].waiter);
	object_close_gate(h[2]->obj, &owners[1].waiter);
	assert_true(owners[0].has && owners[1].has);
	assert_int_equal(start(e, parts, NOBJS, 2, &answer), 0);
	engine_settle(e);
	assert_false(answer.res.done);
	assert_bytes(e, h, 0, 1);
	assert_int_equal(engine_write_blk(e, h[0], 1, 9), 0); /* it is in nobody's way */
	object_open_gate(h[1]->obj);
	engine_settle(e);
	assert_false(answer.res.done);
	assert_int_equal(engine_write_blk(e, h[1], 1, 9), 0);
	assert_bytes(e, h, 0, 1);
	object_open_gate(h[2]->obj);
	assert_int_equal(engine_wait(e, &answer.res), 0);
	assert_bytes(e, h, 0, 2);
	close_all(h, NOBJS);
}

/* Two over the same objects, in opposite order, that both wait for the device: one is behind the other
 * on all of them. */
static void two_that_overlap_are_one_after_the_other(void **state)
{
	struct engine *e = *state;
	struct handle *h[NOBJS];
	struct object_part parts[2][NOBJS];
	struct answer answers[2];
	uint8_t byte;

	open_stored(e, h);
	parts_of(h, some_bytes, parts[0]);
	for (uint32_t i = 0; i < NOBJS; i++)
		parts[1][NOBJS - 1 - i] = parts[0][i];
	gate_dev_hold(e->gate, GATE_READ);
	assert_int_equal(start(e, parts[0], NOBJS, 2, &answers[0]), 0);
	assert_int_equal(start(e, parts[1], NOBJS, 3, &answers[1]), 0);
	engine_settle(e);
	assert_false(answers[0].res.done || answers[1].res.done);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &answers[0].res), 0);
	assert_int_equal(engine_wait(e, &answers[1].res), 0);
	assert_int_equal(engine_read(e, h[0], 3, &byte, 1), 1);
	assert_true(byte == 2 || byte == 3);
	assert_bytes(e, h, 3, byte);
	for (uint32_t i = 0; i < NOBJS; i++)
		assert_true(
		    byte == 3 ? answers[1].generations[NOBJS - 1 - i] > answers[0].generations[i]
			      : answers[0].generations[i] > answers[1].generations[NOBJS - 1 - i]);
	close_all(h, NOBJS);
}

#define TEST(name)	  cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TEST_MAPPED(name) cmocka_unit_test_setup_teardown(name, setup_mapped, teardown_mapped)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(all_are_written),
	    TEST(it_is_one_record),
	    TEST(a_chain_of_them_is_one_record),
	    TEST(a_crash_at_any_time_shows_all_or_nothing),
	    TEST(clones_of_one_moment_have_all_or_nothing),
	    TEST(ranges_that_cannot_be),
	    TEST(what_may_not_be_written),
	    TEST(one_condition_of_three_fails),
	    TEST(a_condition_fails_while_it_waits),
	    TEST(a_fill_that_fails_leaves_all_as_it_was),
	    TEST(a_part_of_bad_data_leaves_all_as_it_was),
	    TEST(it_waits_at_every_gate),
	    TEST(two_that_overlap_are_one_after_the_other),
	    TEST_MAPPED(all_are_written),
	    TEST_MAPPED(a_crash_at_any_time_shows_all_or_nothing),
	    TEST_MAPPED(a_condition_fails_while_it_waits),
	};

	return cmocka_run_group_tests_name("object write all", tests, NULL, NULL);
}
