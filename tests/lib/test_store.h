/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_store.h: a small store for unit tests: a map in a temporary directory, a fake device, a
 * loop, a worker pool and a page pool.  It owns all of them.  The test's own thread is the loop's;
 * where something is changed directly in the map it plays the commit thread for a moment, so a real
 * one must not be running then.
 *
 * Failures to set up end the program: a test that cannot be set up has failed.
 */
#ifndef TESTS_LIB_TEST_STORE_H
#define TESTS_LIB_TEST_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/loop.h"
#include "server/map.h"
#include "server/page.h"
#include "server/worker.h"
#include "tests/lib/fake_dev.h"

struct test_store {
	char dir[64];
	char path[96]; /* of the map */
	struct map *map;
	struct fake_dev *fdev;
	struct loop *loop;
	struct worker_pool *workers;
	struct page_pool *pages;
};

/* A store of this many device blocks and bytes for metadata; an alarm ends a test that hangs. */
struct test_store *test_store_open(uint64_t nblks, uint64_t meta_bytes);

/* The same with a journal of so many blocks, behind the header block. */
struct test_store *test_store_open_journal(uint64_t nblks, uint64_t meta_bytes,
					   uint64_t journal_nblks);

/* The power is cut: the map is as of its last fold, the device as of its last sync. */
void test_store_crash(struct test_store *ts);

/*
 * Joins the workers, runs what they posted, has the checker look at the map (every difference is
 * printed and ends the program), and removes all of it.  Every page must have been put.
 */
void test_store_close(struct test_store *ts);

/* Waits for events and runs what they cause. */
void test_store_turn(struct test_store *ts);

/* Runs the loop until done(ctx) is true. */
void test_store_run_until(struct test_store *ts, bool (*done)(void *ctx), void *ctx);

/* Runs the loop until *flag is true; until *count is at least n. */
void test_store_run_flag(struct test_store *ts, const bool *flag);
void test_store_run_count(struct test_store *ts, const unsigned int *count, unsigned int n);

/* An object straight in the map; its id. */
uint64_t test_store_create(struct test_store *ts, const char *name, uint64_t size_bytes);

/* A clone of an object, straight in the map; its id. */
uint64_t test_store_clone(struct test_store *ts, uint64_t oid, const char *name);

/* Removes it: its tree goes to the reap queue. */
void test_store_remove(struct test_store *ts, uint64_t oid);

/*
 * Maps blocks of an object to free blocks of the device, straight in the map, after putting
 * test_pattern(seed, logical block) there.
 */
void test_store_map(struct test_store *ts, uint64_t oid, lblk_t blk, pblk_t dst, uint32_t nblks,
		    unsigned int seed);

/* The bytes of a block that no other seed or block number has. */
void test_pattern(uint8_t buf[BLK_BYTES], unsigned int seed, lblk_t blk);

/* A page with that pattern; ends the program where there is no memory. */
struct page *test_page(struct test_store *ts, unsigned int seed, lblk_t blk);

/* Looks up one block: where it lies, or 0 for a hole; its checksum where csum is not NULL. */
pblk_t test_store_where(struct test_store *ts, uint64_t oid, lblk_t blk, uint32_t *csum);

/* The object as the map has it; false: there is none. */
bool test_store_obj(struct test_store *ts, uint64_t oid, struct map_obj *obj);

#endif
