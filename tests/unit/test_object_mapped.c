/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_mapped.c: the engine on a mapped device: every write is placed, of whatever alignment, and
 * nothing of it is kept in memory.
 */
#include "tests/unit/object_fixture.h"

#include <sys/stat.h>

#include "server/cache.h"

#define SIZE (8 * BLK_BYTES)

struct mapped {
	struct engine *e;
	struct handle *h;
	uint64_t empty;
	uint8_t want[SIZE];
};

/* The object "a" of 8 durable blocks of 1, and nothing in the cache. */
static struct mapped begin(void **state)
{
	struct mapped m = {.e = *state};

	m.empty = engine_free_nblks(m.e);
	make(m.e, "a", 8, 1);
	engine_restart(m.e);
	m.h = engine_open(m.e, "a");
	memset(m.want, 1, SIZE);
	return m;
}

static uint64_t writes(struct mapped *m)
{
	return gate_dev_calls(m->e->gate, GATE_WRITE);
}

static struct cache_stats stats(struct mapped *m)
{
	struct cache_stats s;

	objects_cache_stats(m->e->objs, &s);
	return s;
}

static void expect(struct mapped *m)
{
	uint8_t got[SIZE];

	assert_int_equal(engine_read(m->e, m->h, 0, got, SIZE), SIZE);
	assert_memory_equal(got, m->want, SIZE);
}

/* Begins a write of a byte. */
static void start(struct mapped *m, uint64_t off, uint64_t len, uint8_t byte, struct result *res)
{
	uint8_t bytes[SIZE];
	struct pagevec pv;

	memset(bytes, byte, len);
	memset(m->want + off, byte, len);
	pv = engine_payload(m->e, off, bytes, len);
	object_write(m->h, off, &pv, engine_done_cb, res);
}

static int write_byte(struct mapped *m, uint64_t off, uint64_t len, uint8_t byte)
{
	struct result res = {0};

	start(m, off, len, byte, &res);
	return engine_wait(m->e, &res);
}

/* Head and tail are copied from where the block was, and the new block is complete in its place. */
static void a_write_of_any_alignment_is_placed(void **state)
{
	struct mapped m = begin(state);
	uint64_t before = writes(&m);

	assert_int_equal(write_byte(&m, 100, 4 * BLK_BYTES, 2), 0);
	assert_int_equal(writes(&m), before + 1); /* 5 blocks in one piece */
	assert_int_equal(engine_free_nblks(m.e), m.empty - 8 - 5);
	expect(&m);
	assert_int_equal(write_byte(&m, 7 * BLK_BYTES + 5, 3, 3), 0);
	assert_int_equal(writes(&m), before + 2);
	expect(&m);
	assert_int_equal(engine_fsync(m.e, m.h), 0);
	assert_int_equal(writes(&m), before + 3); /* the record, and nothing in it */
	engine_flush(m.e);
	assert_int_equal(stats(&m).clean_pages, 0);
	expect(&m);
	assert_int_equal(stats(&m).clean_pages, 0); /* nor what is read */
	assert_int_equal(object_close(m.h), 0);
	engine_restart(m.e);
	m.h = engine_open(m.e, "a");
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

static void a_write_past_the_end_is_placed(void **state)
{
	struct mapped m = begin(state);
	uint64_t before = writes(&m);
	uint8_t byte = 5;

	assert_int_equal(engine_write(m.e, m.h, 9 * BLK_BYTES + 7, &byte, 1), 0);
	assert_int_equal(writes(&m), before + 1);
	assert_int_equal(engine_resize(m.e, m.h, 20 * BLK_BYTES, false), 0);
	assert_int_equal(engine_blk_byte(m.e, m.h, 9), 0);
	assert_int_equal(engine_blk_byte(m.e, m.h, 12), 0);
	assert_int_equal(engine_read(m.e, m.h, 9 * BLK_BYTES + 7, &byte, 1), 1);
	assert_int_equal(byte, 5);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

/* Two writes to one block are placed with what it was: the later one gets the bytes of the first. */
static void a_block_that_changes_meanwhile_is_completed_again(void **state)
{
	struct mapped m = begin(state);
	uint64_t before = writes(&m);
	struct result first = {0};
	struct result second = {0};

	gate_dev_hold(m.e->gate, GATE_WRITE);
	start(&m, 100, BLK_BYTES, 2, &first);
	engine_wait_calls(m.e, GATE_WRITE, before + 1);
	start(&m, 10, 20, 3, &second);
	engine_wait_calls(m.e, GATE_WRITE, before + 2);
	gate_dev_release(m.e->gate, GATE_WRITE, 1);
	assert_int_equal(engine_wait(m.e, &first), 0);
	gate_dev_open(m.e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(m.e, &second), 0);
	expect(&m);
	assert_int_equal(engine_free_nblks(m.e), m.empty - 8 - 2);
	engine_flush(m.e);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
	engine_reap(m.e);
	assert_int_equal(engine_free_nblks(m.e), m.empty - 8);
}

/* Writes as much of the object as leaves so many blocks free. */
static void fill(struct mapped *m, uint64_t left)
{
	for (uint64_t blk = 100; engine_free_nblks(m->e) > left; blk++)
		assert_int_equal(engine_write_blk(m->e, m->h, blk, 9), 0);
	engine_flush(m->e);
	assert_int_equal(engine_free_nblks(m->e), left);
}

/*
 * Two writes to one block, which is a hole, take the last two blocks of a full store.  One of these is
 * useless when the first write has been applied, and no other comes free.
 */
static void a_useless_place_is_no_want_of_space(void **state)
{
	struct mapped m = begin(state);
	struct result first = {0};
	struct result second = {0};
	uint64_t before;

	assert_int_equal(engine_zero(m.e, m.h, 7 * BLK_BYTES, BLK_BYTES, true), 0);
	memset(m.want + 7 * BLK_BYTES, 0, BLK_BYTES);
	engine_flush(m.e);
	engine_reap(m.e);
	fill(&m, 2);
	before = writes(&m);
	gate_dev_hold(m.e->gate, GATE_WRITE);
	start(&m, 7 * BLK_BYTES, 5, 2, &first);
	engine_wait_calls(m.e, GATE_WRITE, before + 1);
	start(&m, 7 * BLK_BYTES + 5, 5, 3, &second);
	engine_wait_calls(m.e, GATE_WRITE, before + 2);
	gate_dev_release(m.e->gate, GATE_WRITE, 1);
	assert_int_equal(engine_wait(m.e, &first), 0);
	engine_settle(m.e);
	gate_dev_release(m.e->gate, GATE_WRITE, 1);
	assert_int_equal(engine_wait(m.e, &second), 0); /* and nothing can be committed for it */
	assert_int_equal(engine_free_nblks(m.e), 1);	/* where the first was */
	gate_dev_open(m.e->gate, GATE_WRITE);
	expect(&m);
	engine_flush(m.e);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

/* The block is cut while it is on its way: what the write kept of it is zeros now. */
static void a_block_that_is_cut_meanwhile_is_completed_again(void **state)
{
	struct mapped m = begin(state);
	uint64_t before = writes(&m);
	struct result res = {0};

	gate_dev_hold(m.e->gate, GATE_WRITE);
	start(&m, BLK_BYTES + 10, 20, 3, &res);
	engine_wait_calls(m.e, GATE_WRITE, before + 1);
	assert_int_equal(engine_zero(m.e, m.h, 0, SIZE, false), 0);
	gate_dev_open(m.e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(m.e, &res), 0);
	memset(m.want, 0, SIZE);
	memset(m.want + BLK_BYTES + 10, 3, 20);
	expect(&m);
	engine_flush(m.e);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

static void cuts_of_placed_blocks(void **state)
{
	struct mapped m = begin(state);

	assert_int_equal(write_byte(&m, 0, SIZE, 2), 0);
	assert_int_equal(engine_zero(m.e, m.h, 100, SIZE - 200, false), 0);
	memset(m.want + 100, 0, SIZE - 200);
	expect(&m);
	assert_int_equal(engine_free_nblks(m.e), m.empty - 8 - 2);
	engine_flush(m.e);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

static void a_failed_write_is_an_error_and_changes_nothing(void **state)
{
	struct mapped m = begin(state);
	uint8_t was[SIZE];

	memcpy(was, m.want, SIZE);
	gate_dev_fail_upto(m.e->gate, GATE_WRITE, writes(&m) + 2);
	assert_int_equal(write_byte(&m, 100, 3 * BLK_BYTES, 2), -ERR_IO);
	memcpy(m.want, was, SIZE);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
	crash(m.e);
	assert_int_equal(engine_free_nblks(m.e), m.empty - 8);
	m.h = engine_open(m.e, "a");
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
}

/* The file is cut under the mapping: errors, and no other bytes; what is there still is read. */
static void a_file_that_was_cut_is_an_error(void **state)
{
	struct mapped m = begin(state);
	uint8_t got[SIZE];
	struct stat st;

	assert_int_equal(object_close(m.h), 0);
	engine_stop(m.e);
	engine_start(m.e); /* here: the test framework sets a handler of its own for each test */
	m.h = engine_open(m.e, "a");
	assert_int_equal(stat(m.e->dev_path, &st), 0);
	assert_int_equal(truncate(m.e->dev_path, 4 * MIB + BLK_BYTES), 0); /* behind the journal */
	assert_int_equal(engine_read(m.e, m.h, 0, got, SIZE), -ERR_IO);
	assert_int_equal(engine_write_blk(m.e, m.h, 0, 2), -ERR_IO);
	assert_int_equal(truncate(m.e->dev_path, st.st_size), 0);
	assert_int_equal(engine_read(m.e, m.h, 0, got, SIZE),
			 -ERR_CSUM); /* zeros are not the data */
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(engine_write_blk(m.e, m.h, i, 1), 0);
	expect(&m);
	assert_int_equal(object_close(m.h), 0);
	engine_flush(m.e);
}

static int setup(void **state)
{
	engine_map_devices(true);
	return setup_untimed(state);
}

#define MAPPED(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MAPPED(a_write_of_any_alignment_is_placed),
	    MAPPED(a_write_past_the_end_is_placed),
	    MAPPED(a_block_that_changes_meanwhile_is_completed_again),
	    MAPPED(a_useless_place_is_no_want_of_space),
	    MAPPED(a_block_that_is_cut_meanwhile_is_completed_again),
	    MAPPED(cuts_of_placed_blocks),
	    MAPPED(a_failed_write_is_an_error_and_changes_nothing),
	    MAPPED(a_file_that_was_cut_is_an_error),
	};

	return cmocka_run_group_tests_name("object mapped", tests, NULL, NULL);
}
