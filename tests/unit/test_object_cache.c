/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine reads from the device, and what it does not: clones share what is in memory, scans
 * do not drive out what is used, reading in sequence reads ahead; and the memory that all takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/cache.h"
#include "tests/lib/engine.h"

#define CLONES 64
#define CHUNK  (UINT64_C(128) << 10)
#define NCHUNK 64u /* in 8 MiB */

static uint8_t buf[MIB];

static int setup(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

/* A byte that depends on the block, as the first of it. */
static uint8_t tag(uint64_t blk)
{
	return (uint8_t)(blk * 7 % 251 + 1);
}

/* An object of that size on the device, nothing of it in memory. */
static struct handle *make_cold(struct engine *e, const char *name, uint64_t size)
{
	struct handle *h = engine_create_open(e, name, size);

	for (uint64_t off = 0; off < size; off += sizeof(buf)) {
		for (uint64_t at = 0; at < sizeof(buf); at += BLK_BYTES)
			memset(buf + at, tag((off + at) / BLK_BYTES), BLK_BYTES);
		assert_int_equal(engine_write(e, h, off, buf, sizeof(buf)), 0);
	}
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	return engine_open(e, name);
}

static void read_at(struct engine *e, struct handle *h, uint64_t off, uint64_t len)
{
	assert_int_equal(engine_read(e, h, off, buf, len), (int64_t)len);
	for (uint64_t at = 0; at < len; at += BLK_BYTES) {
		assert_int_equal(buf[at], tag((off + at) / BLK_BYTES));
		assert_int_equal(buf[at + BLK_BYTES - 1], tag((off + at) / BLK_BYTES));
	}
}

/* All of an object of that size, in pieces, so often. */
static void read_all(struct engine *e, struct handle *h, uint64_t size, uint64_t piece, int rounds)
{
	for (int round = 0; round < rounds; round++)
		for (uint64_t off = 0; off < size; off += piece)
			read_at(e, h, off, piece);
}

static struct cache_stats stats(struct engine *e)
{
	struct cache_stats s;

	objects_cache_stats(e->objs, &s);
	return s;
}

/* Until so many bytes have been read from the device, whoever asked for them. */
static void wait_read(struct engine *e, uint64_t len)
{
	while (stats(e).read_nblks < len / BLK_BYTES)
		(void)engine_free_nblks(e);
}

/* ---- clones ---------------------------------------------------------------------------------- */

static void clones_of_an_object_are_read_once(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", MIB);
	uint64_t calls;
	char name[16];

	read_at(e, h, 0, MIB);
	calls = gate_dev_calls(e->gate, GATE_READ);
	for (int i = 0; i < CLONES; i++) {
		struct handle *clone;

		(void)snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(engine_clone(e, "a", name), 0);
		clone = engine_open(e, name);
		read_at(e, clone, 0, MIB);
		assert_int_equal(object_close(clone), 0);
	}
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), calls);
	assert_int_equal(stats(e).clean_pages, MIB / BLK_BYTES);
	assert_int_equal(stats(e).read_nblks, MIB / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

/* Written by one of two, committed, its old blocks used again by a third. */
static void writes_after_a_clone_are_seen_by_one(void **state)
{
	struct engine *e = *state;
	struct handle *a = make_cold(e, "a", MIB);
	struct handle *b;

	read_at(e, a, 0, MIB);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	b = engine_open(e, "b");
	read_at(e, b, 0, MIB);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(engine_write_blk(e, a, 7, (uint8_t)(100 + round)), 0);
		assert_int_equal(engine_write_blk(e, b, 8, (uint8_t)(200 + round)), 0);
		assert_int_equal(engine_fsync(e, a), 0);
		assert_int_equal(engine_fsync(e, b), 0);
		assert_int_equal(engine_blk_byte(e, a, 7), 100 + round);
		assert_int_equal(engine_blk_byte(e, a, 8), tag(8));
		assert_int_equal(engine_blk_byte(e, b, 7), tag(7));
		assert_int_equal(engine_blk_byte(e, b, 8), 200 + round);
	}
	assert_int_equal(object_close(b), 0);
	assert_int_equal(object_close(a), 0);
}

/* One object after the other gets the blocks of the one removed before it, and one that the journal alone
 * had when it was written over. */
static void reused_blocks_show_what_is_theirs(void **state)
{
	struct engine *e = *state;
	struct handle *small = engine_create_open(e, "small", 0);
	uint64_t before;

	assert_int_equal(engine_write_blk(e, small, 0, 1), 0);
	assert_int_equal(engine_fsync(e, small), 0);
	before = engine_free_nblks(e);
	for (int round = 0; round < 8; round++) {
		struct handle *h = engine_create_open(e, "x", 0);

		memset(buf, 10 + round, sizeof(buf));
		for (uint64_t off = 0; off < 32 * MIB; off += MIB)
			assert_int_equal(engine_write(e, h, off, buf, MIB), 0);
		assert_int_equal(engine_fsync(e, h), 0);
		for (uint64_t off = 0; off < 32 * MIB; off += MIB) {
			assert_int_equal(engine_read(e, h, off, buf, MIB), MIB);
			for (uint64_t at = 0; at < MIB; at += 512)
				assert_int_equal(buf[at], 10 + round);
		}
		assert_int_equal(object_close(h), 0);
		assert_int_equal(engine_remove(e, "x"), 0);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(engine_write_blk(e, small, 0, (uint8_t)(100 + i)), 0);
			assert_int_equal(engine_fsync(e, small), 0);
		}
		engine_reap(e);
		assert_int_equal(engine_free_nblks(e), before);
	}
	assert_int_equal(object_close(small), 0);
}

/* Turns until so many blocks are in memory; so many syncs until then, and none of a checkpoint's. */
static void wait_clean(struct engine *e, size_t nblks, uint64_t syncs)
{
	while (stats(e).clean_pages != nblks)
		engine_turn(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs);
}

/*
 * What nothing maps any more does not wait for a checkpoint to leave; what a clone maps stays, and goes with
 * the clone.
 */
static void what_nothing_maps_leaves_memory(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", MIB);
	const size_t nblks = MIB / BLK_BYTES;
	uint64_t syncs;

	read_at(e, h, 0, MIB);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	for (int round = 0; round < 4; round++) {
		assert_int_equal(engine_write_blks(e, h, 0, nblks, (uint8_t)round), 0);
		assert_int_equal(engine_fsync(e, h), 0);
		wait_clean(e, 2 * nblks, ++syncs);
	}
	assert_int_equal(engine_zero(e, h, 0, MIB / 2, true), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	wait_clean(e, nblks + nblks / 2, ++syncs);
	assert_int_equal(engine_remove(e, "b"), 0);
	wait_clean(e, nblks / 2, ++syncs);
	assert_int_equal(stats(e).evicted_nblks, 0);
	assert_int_equal(object_close(h), 0);
}

/* ---- scans ----------------------------------------------------------------------------------- */

static void scan_leaves_what_is_used(void **state)
{
	struct engine *e = *state;
	struct handle *hot = make_cold(e, "hot", 2 * MIB);
	struct handle *scan;
	uint64_t hits;
	uint64_t calls;

	assert_int_equal(object_close(hot), 0);
	scan = make_cold(e, "scan", 64 * MIB); /* four times the cache */
	hot = engine_open(e, "hot");
	for (int round = 0; round < 3; round++)
		for (uint64_t off = 0; off < 2 * MIB; off += MIB)
			read_at(e, hot, off, MIB);
	for (uint64_t off = 0; off < 64 * MIB; off += MIB)
		read_at(e, scan, off, MIB);
	engine_settle(e);
	assert_true(stats(e).evicted_nblks >= 48 * MIB / BLK_BYTES);
	hits = stats(e).hits;
	calls = gate_dev_calls(e->gate, GATE_READ);
	for (uint64_t off = 0; off < 2 * MIB; off += MIB)
		read_at(e, hot, off, MIB);
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), calls);
	assert_int_equal(stats(e).hits - hits, 2 * MIB / BLK_BYTES);
	assert_int_equal(object_close(hot), 0);
	assert_int_equal(object_close(scan), 0);
}

/* ---- ahead ----------------------------------------------------------------------------------- */

static void reading_in_sequence_reads_ahead(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 8 * MIB);

	read_at(e, h, 0, CHUNK);
	assert_int_equal(stats(e).ahead_nblks, 0);
	read_at(e, h, CHUNK, CHUNK);
	assert_int_equal(stats(e).ahead_nblks, 2 * CHUNK / BLK_BYTES);
	for (uint64_t i = 2; i < NCHUNK; i++) {
		/* a slow reader finds what has been asked for */
		wait_read(e, 2 * CHUNK + stats(e).ahead_nblks * BLK_BYTES);
		read_at(e, h, i * CHUNK, CHUNK);
	}
	assert_int_equal(stats(e).misses, 2 * CHUNK / BLK_BYTES);
	assert_int_equal(stats(e).read_nblks, 8 * MIB / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

static void reading_at_random_reads_nothing_ahead(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 8 * MIB);

	for (uint64_t i = 0; i < NCHUNK; i++)
		read_at(e, h, i * 37 % NCHUNK * CHUNK, BLK_BYTES);
	assert_int_equal(stats(e).ahead_nblks, 0);
	assert_int_equal(stats(e).read_nblks, NCHUNK);
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), NCHUNK);
	assert_int_equal(object_close(h), 0);
}

/* What is in memory is not read ahead, nor does anybody look for it again and again. */
static void reading_what_is_there_reads_nothing(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 4 * MIB);
	uint64_t calls;
	uint64_t ahead;

	for (uint64_t off = 0; off < 4 * MIB; off += CHUNK)
		read_at(e, h, off, CHUNK);
	wait_read(e, 4 * MIB);
	calls = gate_dev_calls(e->gate, GATE_READ);
	ahead = stats(e).ahead_nblks;
	for (uint64_t off = 0; off < 4 * MIB; off += CHUNK)
		read_at(e, h, off, CHUNK);
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), calls);
	assert_int_equal(stats(e).ahead_nblks, ahead);
	assert_int_equal(object_close(h), 0);
}

/* A window of which nothing is missing is the last, until the reader has to wait again. */
static void reading_ahead_stops_at_what_is_there(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 8 * MIB);

	for (uint64_t i = 16; i-- > 2;)
		read_at(e, h, i * CHUNK, CHUNK);
	for (uint64_t i = 0; i < 16; i++)
		read_at(e, h, i * CHUNK, CHUNK);
	assert_int_equal(stats(e).ahead_nblks, 0);
	read_at(e, h, 16 * CHUNK, CHUNK);
	assert_int_equal(stats(e).ahead_nblks, 2 * CHUNK / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

/* To the end and not further; what was cut off is not looked for, though the map still has it. */
static void nothing_is_read_ahead_past_the_end(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 2 * MIB);

	assert_int_equal(engine_resize(e, h, 4 * CHUNK, true), 0);
	assert_int_equal(engine_resize(e, h, 2 * MIB, false), 0);
	for (uint64_t i = 0; i < 4; i++)
		read_at(e, h, i * CHUNK, CHUNK);
	assert_int_equal(engine_read(e, h, 4 * CHUNK, buf, CHUNK), (int64_t)CHUNK);
	assert_int_equal(buf[0], 0);
	engine_settle(e);
	assert_int_equal(stats(e).read_nblks, 4 * CHUNK / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

static void errors_ahead_are_nobodys(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_cold(e, "a", 8 * MIB);
	uint64_t calls;

	read_at(e, h, 0, CHUNK);
	read_at(e, h, CHUNK, CHUNK);
	wait_read(e, 4 * CHUNK);
	calls = gate_dev_calls(e->gate, GATE_READ);
	gate_dev_fail_upto(e->gate, GATE_READ, calls + 1000);
	read_at(e, h, 2 * CHUNK, CHUNK); /* is there, and begins the next window */
	engine_wait_calls(e, GATE_READ, calls + 1);
	gate_dev_fail_upto(e->gate, GATE_READ, 0);
	for (uint64_t i = 3; i < NCHUNK; i++)
		read_at(e, h, i * CHUNK, CHUNK);
	assert_int_equal(object_close(h), 0);
}

/* Two reads that begin a window. */
static void begin_window(struct engine *e, struct handle *h)
{
	read_at(e, h, 0, CHUNK);
	read_at(e, h, CHUNK, CHUNK);
}

/* The device stands still while the next window is asked for. */
static void hold_window(struct engine *e, struct handle *h)
{
	uint64_t calls = gate_dev_calls(e->gate, GATE_READ);

	gate_dev_hold(e->gate, GATE_READ);
	read_at(e, h, 2 * CHUNK, CHUNK);
	engine_wait_calls(e, GATE_READ, calls + 1);
}

static void removal_does_not_wait_for_what_is_read_ahead(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	e->cache_bytes = 2 * MIB; /* windows of one fetch: not all workers stand still */
	h = make_cold(e, "a", 8 * MIB);
	begin_window(e, h);
	wait_read(e, 3 * CHUNK);
	hold_window(e, h);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	gate_dev_open(e->gate, GATE_READ);
	engine_stop(e);
	engine_start(e);
}

/* One of two who want the same would read it again, as the other has failed: but not any more. */
static void stopping_starts_no_further_reads(void **state)
{
	struct engine *e = *state;
	struct handle *a;
	struct handle *b;
	uint64_t calls;

	e->cache_bytes = 2 * MIB;
	a = make_cold(e, "a", 8 * MIB);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	b = engine_open(e, "b");
	begin_window(e, a);
	wait_read(e, 3 * CHUNK);
	begin_window(e, b);
	hold_window(e, a);
	calls = gate_dev_calls(e->gate, GATE_READ);
	read_at(e, b, 2 * CHUNK, CHUNK);
	engine_settle(e); /* the second waits for the first now */
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), calls);
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
	gate_dev_fail_upto(e->gate, GATE_READ, calls);
	gate_dev_open(e->gate, GATE_READ);
	engine_stop(e);
	engine_start(e);
}

/* Each part of a read that is larger than the cache is kept as it comes. */
static void large_read_in_a_tiny_cache_reads_once(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	e->cache_bytes = MIB / 16;
	h = make_cold(e, "a", 2 * MIB);
	read_all(e, h, 2 * MIB, MIB, 1);
	assert_int_equal(stats(e).read_nblks, 2 * MIB / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

/* In a cache with room for little. */
static void reading_ahead_in_a_tiny_cache(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	e->cache_bytes = MIB;
	engine_restart(e);
	h = make_cold(e, "a", 8 * MIB);
	read_all(e, h, 8 * MIB, CHUNK, 3);
	engine_settle(e);
	/* each block once a round, or twice where it was driven out before it was read */
	assert_in_range(stats(e).read_nblks, 3 * (8 - 1) * MIB / BLK_BYTES,
			6 * 8 * MIB / BLK_BYTES);
	assert_true(stats(e).clean_pages <= MIB / BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

#define SMALL_CACHE (16 * MIB)
#define WRITES_MAX  32u

static size_t used_bytes(struct engine *e)
{
	return page_pool_used(objects_pages(e->objs)) * BLK_BYTES;
}

static LOOP_FN void count_room(void *ctx)
{
	++*(unsigned int *)ctx;
}

/*
 * Writes that wait for a slow device.  Who receives payloads is told to stop while there is room for those
 * that are on their way, a quarter of the cache, and is told when there is again.
 */
static void writes_that_wait_keep_to_the_cache(void **state)
{
	struct engine *e = *state;
	struct result results[WRITES_MAX] = {0};
	unsigned int told = 0;
	struct handle *h;
	unsigned int n = 0;

	e->cache_bytes = SMALL_CACHE;
	engine_restart(e);
	h = engine_create_open(e, "a", 0);
	objects_on_room(e->objs, count_room, &told);
	gate_dev_hold(e->gate, GATE_WRITE);
	while (n < WRITES_MAX && !objects_crowded(e->objs)) {
		struct pagevec pv;

		memset(buf, (int)n + 1, sizeof(buf));
		pv = engine_payload(e, n * MIB, buf, MIB);
		object_write(h, n * MIB, &pv, engine_done_cb, &results[n]);
		n++;
	}
	assert_in_range(used_bytes(e), SMALL_CACHE - SMALL_CACHE / 4,
			SMALL_CACHE - SMALL_CACHE / 8);
	assert_false(results[n - 1].done);
	assert_int_equal(told, 0);
	gate_dev_open(e->gate, GATE_WRITE);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(engine_wait(e, &results[i]), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(told, 1);
	assert_false(objects_crowded(e->objs));
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(engine_blk_byte(e, h, i * MIB / BLK_BYTES), i + 1);
	objects_on_room(e->objs, NULL, NULL);
	assert_int_equal(object_close(h), 0);
}

/* What can be evicted keeps nobody out; and an eighth is left to what is staged, before anything is. */
static void a_full_cache_is_not_crowded(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	e->cache_bytes = SMALL_CACHE;
	engine_restart(e);
	h = make_cold(e, "a", 2 * SMALL_CACHE);
	read_all(e, h, 2 * SMALL_CACHE, MIB, 2);
	engine_settle(e);
	assert_in_range(used_bytes(e), SMALL_CACHE - SMALL_CACHE / 4 + 1,
			SMALL_CACHE - SMALL_CACHE / 8);
	assert_false(objects_crowded(e->objs));
	assert_int_equal(object_close(h), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(clones_of_an_object_are_read_once),
	    TEST(writes_after_a_clone_are_seen_by_one),
	    TEST(reused_blocks_show_what_is_theirs),
	    TEST(what_nothing_maps_leaves_memory),
	    TEST(scan_leaves_what_is_used),
	    TEST(reading_in_sequence_reads_ahead),
	    TEST(reading_at_random_reads_nothing_ahead),
	    TEST(reading_what_is_there_reads_nothing),
	    TEST(reading_ahead_stops_at_what_is_there),
	    TEST(nothing_is_read_ahead_past_the_end),
	    TEST(errors_ahead_are_nobodys),
	    TEST(removal_does_not_wait_for_what_is_read_ahead),
	    TEST(stopping_starts_no_further_reads),
	    TEST(large_read_in_a_tiny_cache_reads_once),
	    TEST(reading_ahead_in_a_tiny_cache),
	    TEST(writes_that_wait_keep_to_the_cache),
	    TEST(a_full_cache_is_not_crowded),
	};

	return cmocka_run_group_tests_name("object_cache", tests, NULL, NULL);
}
