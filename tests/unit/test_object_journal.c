/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_journal.c: the engine over its journal: small writes whose blocks are there only, until
 * a checkpoint brings them home; what a checkpoint makes free; a device that fails one.
 */
#include "server/recover.h"
#include "tests/unit/object_fixture.h"

/* Drives everything out of the cache that can go. */
static void squeeze(struct engine *e)
{
	uint64_t nblks = 2 * e->cache_bytes / BLK_BYTES;
	uint8_t *buf = malloc(MIB);
	struct handle *h;

	assert_non_null(buf);
	assert_int_equal(open_as(e, "large", true, &h), 0);
	for (uint64_t off = 0; off < nblks * BLK_BYTES; off += MIB)
		assert_int_equal(engine_read(e, h, off, buf, MIB), MIB);
	assert_int_equal(object_close(h), 0);
	free(buf);
}

/* An object that is larger than the cache, and home; the cache is small. */
static void make_large(struct engine *e)
{
	uint8_t *bytes;
	struct handle *h;

	e->cache_bytes = 2 * MIB;
	engine_restart(e);
	bytes = calloc(1, MIB);
	assert_non_null(bytes);
	memset(bytes, 7, MIB);
	h = engine_create_open(e, "large", 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(engine_write(e, h, i * MIB, bytes, MIB), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_flush(e);
	free(bytes);
}

static void a_small_write_is_written_to_the_journal_only(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 1);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
	assert_int_equal(object_close(h), 0);
}

/* The device has nothing to read there yet. */
static void what_is_not_home_is_not_read_from_the_device(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make_large(e);
	make(e, "a", 8, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	squeeze(e);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 3, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	squeeze(e);
	for (uint64_t i = 0; i < 8; i++) {
		assert_int_equal(engine_blk_byte(e, h, i), i == 3 ? 2 : 1);
		assert_int_equal(byte_of(e, "b", i), 1);
		assert_int_equal(byte_of(e, "a@v", i), 1);
	}
	assert_int_equal(object_close(h), 0);
}

static void what_is_home_is_read_from_the_device(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t reads;

	make_large(e);
	make(e, "a", 8, 1);
	engine_flush(e);
	squeeze(e);
	h = engine_open(e, "a");
	reads = gate_dev_calls(e->gate, GATE_READ);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(engine_blk_byte(e, h, i), 1);
	assert_true(gate_dev_calls(e->gate, GATE_READ) > reads);
	assert_int_equal(object_close(h), 0);
}

/* Its object is gone, a clone still maps it. */
static void what_is_not_home_outlives_its_object(void **state)
{
	struct engine *e = *state;

	make_large(e);
	make(e, "a", 8, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	squeeze(e);
	assert_int_equal(byte_of(e, "b", 7), 1);
	engine_flush(e);
	squeeze(e);
	assert_int_equal(byte_of(e, "b", 7), 1);
	crash(e);
	assert_int_equal(byte_of(e, "b", 7), 1);
}

static void after_a_crash_small_writes_are_there(void **state)
{
	struct engine *e = *state;

	make(e, "a", 8, 1);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "a", 7), 1);
	crash(e);
	assert_int_equal(byte_of(e, "a", 7), 1);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void a_flush_leaves_nothing_to_recover(void **state)
{
	struct engine *e = *state;
	struct recover_preview *preview;
	struct recover_result result;
	struct dev *dev;

	make(e, "a", 8, 1);
	engine_flush(e);
	assert_int_equal(space_of(e).journal_used_bytes, 0);
	engine_stop(e);
	assert_int_equal(map_open(e->map_path, &e->map), 0);
	assert_int_equal(dev_file_open(e->dev_path, map_geometry(e->map)->uuid, &dev), 0);
	assert_int_equal(recover_preview(e->map, dev, &result, &preview), 0);
	assert_int_equal(result.records, 0);
	recover_preview_free(preview);
	dev_close(dev);
	map_close(e->map);
	engine_start(e);
	assert_int_equal(byte_of(e, "a", 7), 1);
}

static void an_overwritten_block_is_free_behind_a_checkpoint(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint8_t i = 1; i <= 5; i++) {
		assert_int_equal(engine_write_blk(e, h, 0, i), 0);
		assert_int_equal(engine_fsync(e, h), 0);
	}
	assert_int_equal(engine_create(e, "b", 0), 0); /* in the map, and all of "a" before it */
	assert_int_equal(engine_free_nblks(e), empty - 5);
	assert_int_equal(space_of(e).map.reap_nblks, 4);
	engine_flush(e);
	while (space_of(e).map.reap_nblks > 0)
		; /* they are released behind the fetches of that time */
	assert_int_equal(engine_free_nblks(e), empty - 1);
	assert_int_equal(object_close(h), 0);
}

/* The journal of 4 MiB goes round several times, and whoever writes waits for no timer. */
static void a_long_row_of_small_writes_goes_on(void **state)
{
	struct engine *e = *state;
	uint64_t journal_nblks = space_of(e).journal_bytes / BLK_BYTES;
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint64_t i = 0; i < 2 * journal_nblks; i++) {
		assert_int_equal(engine_write_blk(e, h, i % 50, (uint8_t)i), 0);
		assert_int_equal(engine_fsync(e, h), 0);
	}
	assert_true(space_of(e).journal_used_bytes < journal_nblks * BLK_BYTES);
	assert_int_equal(object_close(h), 0);
	crash(e);
	for (uint64_t b = 0; b < 50; b++) {
		uint64_t last = (2 * journal_nblks - 1 - b) / 50 * 50 + b;

		assert_int_equal(byte_of(e, "a", b), (uint8_t)last);
	}
}

static int flush(struct engine *e)
{
	struct result res = {0};

	objects_flush(e->objs, engine_done_cb, &res);
	return engine_wait(e, &res);
}

/* The timer tries again after a second; until then all is in the journal. */
static void a_checkpoint_that_fails_loses_nothing(void **state)
{
	struct engine *e = *state;

	make(e, "a", 8, 1);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 1);
	assert_int_equal(flush(e), -ERR_IO);
	assert_int_equal(byte_of(e, "a", 7), 1);
	make(e, "b", 8, 2);
	while (space_of(e).journal_used_bytes > 0)
		(void)flush(e);
	assert_int_equal(byte_of(e, "a", 7), 1);
	assert_int_equal(byte_of(e, "b", 7), 2);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 1);
	make(e, "c", 8, 3); /* its record is written again */
	crash(e);
	assert_int_equal(byte_of(e, "a", 7), 1);
	assert_int_equal(byte_of(e, "b", 7), 2);
	assert_int_equal(byte_of(e, "c", 7), 3);
}

static void after_a_failed_checkpoint_a_start_has_all(void **state)
{
	struct engine *e = *state;

	make(e, "a", 8, 1);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 1);
	assert_int_equal(flush(e), -ERR_IO);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "a", 7), 1);
}

/* Nobody asks for it, and nothing else is done. */
static void what_is_written_becomes_durable_in_time(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct map_obj info = {0};

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h, 9, ENGINE_WRITTEN_BLKS, 2), 0);
	while (info.mapped_nblks < 1 + ENGINE_WRITTEN_BLKS) {
		engine_turn(e);
		assert_int_equal(info_of(e, "a", &info), 0);
	}
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "a", 9), 2);
}

#define TEST(name)	   cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TEST_TICKING(name) cmocka_unit_test_setup_teardown(name, setup_ticking, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_small_write_is_written_to_the_journal_only),
	    TEST(what_is_not_home_is_not_read_from_the_device),
	    TEST(what_is_home_is_read_from_the_device),
	    TEST(what_is_not_home_outlives_its_object),
	    TEST(after_a_crash_small_writes_are_there),
	    TEST(a_flush_leaves_nothing_to_recover),
	    TEST(an_overwritten_block_is_free_behind_a_checkpoint),
	    TEST(a_long_row_of_small_writes_goes_on),
	    TEST_TICKING(what_is_written_becomes_durable_in_time),
	    TEST_TICKING(a_checkpoint_that_fails_loses_nothing),
	    TEST(after_a_failed_checkpoint_a_start_has_all),
	};

	return cmocka_run_group_tests_name("object journal", tests, NULL, NULL);
}
