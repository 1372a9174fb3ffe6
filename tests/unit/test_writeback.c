/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_writeback.c: batches on their way to the device and into the map, and what becomes of their
 * space when the device, the map or the sync refuse.
 */
#include "server/writeback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "tests/lib/test_store.h"

#define DEV_NBLKS  4096u
#define META_BYTES (UINT64_C(4) << 20)

struct fixture {
	struct test_store *ts;
	struct alloc *alloc;
	struct fetcher fetcher;
	struct commit *commit;
	struct writeback wb;
	uint64_t oid;
	unsigned int nspace; /* calls of on_space */
	bool release;	     /* freed blocks go back to the allocator */
};

/* A batch and what became of it. */
struct epoch {
	struct writeback_batch batch;
	struct fixture *fx;
	unsigned int seed;
	bool starting; /* within writeback_start() */
	bool wait;     /* written batches are not committed by themselves */
	unsigned int nwritten;
	unsigned int ndone;
	int err;
};

static void on_freed(void *ctx, const struct map_freed *freed)
{
	struct fixture *fx = ctx;

	if (fx->release)
		writeback_release(&fx->wb, freed);
}

static void on_latched(void *ctx)
{
	(void)ctx;
	fail_msg("the map has failed");
}

static void on_space(void *ctx)
{
	struct fixture *fx = ctx;

	fx->nspace++;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct commit_config config = {.freed = on_freed, .latched = on_latched, .ctx = fx};

	if (!fx)
		return -1;
	fx->ts = test_store_open(DEV_NBLKS, META_BYTES);
	fx->oid = test_store_create(fx->ts, "object", 0);
	fx->alloc = alloc_new();
	fetcher_init(&fx->fetcher, fx->ts->map, &fx->ts->fdev->dev, fx->ts->workers);
	config.loop = fx->ts->loop;
	config.map = fx->ts->map;
	config.dev = &fx->ts->fdev->dev;
	fx->commit = commit_new(&config);
	if (!fx->alloc || !fx->commit)
		return -1;
	fx->wb = (struct writeback){.loop = fx->ts->loop,
				    .alloc = fx->alloc,
				    .dev = &fx->ts->fdev->dev,
				    .pool = fx->ts->workers,
				    .fetcher = &fx->fetcher,
				    .commit = fx->commit,
				    .on_space = on_space,
				    .ctx = fx};
	fx->release = true;
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	commit_free(fx->commit);
	test_store_close(fx->ts);
	assert_int_equal(fx->wb.releasing, 0);
	assert_int_equal(alloc_reserved_nblks(fx->alloc), 0);
	alloc_free(fx->alloc);
	free(fx);
	return 0;
}

static void give_space(struct fixture *fx, uint64_t blk, uint64_t nblks)
{
	assert_int_equal(alloc_add(fx->alloc, pblk(blk), nblks), 0);
}

static void assert_space(const struct fixture *fx, uint64_t free_nblks, uint64_t reserved_nblks)
{
	assert_int_equal(alloc_free_nblks(fx->alloc), free_nblks);
	assert_int_equal(alloc_reserved_nblks(fx->alloc), reserved_nblks);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void epoch_written(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	epoch->nwritten++;
	assert_int_equal(epoch->ndone, 0);
	if (!epoch->wait)
		writeback_commit(batch);
}

static void epoch_done(struct writeback_batch *batch, int err)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	assert_false(epoch->starting);
	assert_int_equal(epoch->ndone, 0);
	epoch->ndone++;
	epoch->err = err;
}

/* A batch of the blocks lblks[0..n), reserved, with the pattern of the seed. */
static void epoch_init(struct fixture *fx, struct epoch *epoch, unsigned int seed,
		       const uint64_t *lblks, uint32_t n)
{
	*epoch = (struct epoch){.fx = fx, .seed = seed};
	epoch->batch.commit.oid = fx->oid;
	epoch->batch.commit.truncate = lblk(COMMIT_NO_TRUNCATE);
	epoch->batch.commit.time_ns = 9;
	epoch->batch.written = epoch_written;
	epoch->batch.done = epoch_done;
	epoch->batch.nblks = n;
	if (n == 0)
		return;
	epoch->batch.commit.size_bytes = (lblks[n - 1] + 1) << BLK_SHIFT;
	assert_int_equal(alloc_reserve(fx->alloc, n), 0);
	epoch->batch.blks = calloc(n, sizeof(epoch->batch.blks[0]));
	assert_non_null(epoch->batch.blks);
	for (uint32_t i = 0; i < n; i++) {
		lblk_t blk = lblk(lblks[i]);

		epoch->batch.blks[i] = (struct writeback_blk){blk, test_page(fx->ts, seed, blk)};
	}
}

/* The same for the n blocks from "first". */
static void epoch_init_run(struct fixture *fx, struct epoch *epoch, unsigned int seed,
			   uint64_t first, uint32_t n)
{
	uint64_t *lblks = calloc(n, sizeof(*lblks));

	assert_non_null(lblks);
	for (uint32_t i = 0; i < n; i++)
		lblks[i] = first + i;
	epoch_init(fx, epoch, seed, lblks, n);
	free(lblks);
}

static void epoch_start(struct epoch *epoch)
{
	epoch->ndone = 0;
	epoch->starting = true;
	writeback_start(&epoch->fx->wb, &epoch->batch);
	epoch->starting = false;
}

static int epoch_run(struct epoch *epoch)
{
	epoch_start(epoch);
	test_store_run_count(epoch->fx->ts, &epoch->ndone, 1);
	return epoch->err;
}

/* Every block of the batch is in the map, with its checksum, on the device, and durable. */
static void assert_committed(const struct epoch *epoch)
{
	struct test_store *ts = epoch->fx->ts;
	uint8_t want[BLK_BYTES];
	uint32_t csum = 0;

	for (uint32_t i = 0; i < epoch->batch.nblks; i++) {
		lblk_t blk = epoch->batch.blks[i].blk;
		pblk_t where = test_store_where(ts, epoch->fx->oid, blk, &csum);

		assert_int_not_equal(where.n, 0);
		test_pattern(want, epoch->seed, blk);
		assert_memory_equal(epoch->batch.blks[i].page->data, want, BLK_BYTES);
		assert_int_equal(csum, crc32c(0, want, BLK_BYTES));
		assert_true(fake_dev_durable(ts->fdev, where, want));
	}
}

static void assert_not_committed(const struct epoch *epoch)
{
	for (uint32_t i = 0; i < epoch->batch.nblks; i++)
		assert_int_equal(
		    test_store_where(epoch->fx->ts, epoch->fx->oid, epoch->batch.blks[i].blk, NULL)
			.n,
		    0);
}

/* ---- where blocks go ------------------------------------------------------------------------- */

static void test_batch_in_one_piece(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 7, 10);
	assert_space(fx, 50, 10);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.batch.commit.nextents, 1);
	assert_int_equal(epoch.batch.commit.obj.size_bytes, 17 * BLK_BYTES);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, 10);
	assert_int_equal(epoch.batch.commit.obj.mtime_ns, 9);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), 1);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 40, 0);
}

static void test_nothing_is_committed_until_asked(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 4);
	epoch.wait = true;
	epoch_start(&epoch);
	test_store_run_count(fx->ts, &epoch.nwritten, 1);
	assert_not_committed(&epoch);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 0);
	writeback_commit(&epoch.batch);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
}

static void test_fragmented_space(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 3);
	give_space(fx, 200, 5);
	give_space(fx, 300, 2);
	epoch_init_run(fx, &epoch, 2, 0, 10);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), 3);
	assert_int_equal(epoch.batch.commit.nextents, 3);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_sparse_blocks(void **state)
{
	static const uint64_t lblks[] = {0, 1, 5, 100, 101, 102, 127, 128, 5000, 1000000};
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init(fx, &epoch, 3, lblks, ARRAY_LEN(lblks));
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.batch.commit.nextents, 6);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, ARRAY_LEN(lblks));
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), 1);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 40, 0);
}

static void test_sparse_blocks_in_fragmented_space(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	uint64_t lblks[60];

	for (uint64_t i = 0; i < 30; i++)
		give_space(fx, 100 + 10 * i, 1 + i % 4);
	for (uint64_t i = 0; i < ARRAY_LEN(lblks); i++)
		lblks[i] = i + i / 3; /* runs of 3 */
	epoch_init(fx, &epoch, 4, lblks, ARRAY_LEN(lblks));
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, ARRAY_LEN(lblks));
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_int_equal(alloc_reserved_nblks(fx->alloc), 0);
}

static void test_large_batch_is_written_by_several(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 1, DEV_NBLKS - 1);
	epoch_init_run(fx, &epoch, 5, 3, 600);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), 3);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 1);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, DEV_NBLKS - 601, 0);
}

static void test_batch_without_blocks(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	epoch_init(fx, &epoch, 0, NULL, 0);
	epoch.batch.commit.size_bytes = 4711;
	epoch.wait = true;
	epoch_start(&epoch);
	assert_int_equal(epoch.nwritten, 1);
	writeback_commit(&epoch.batch);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, 0);
	assert_int_equal(epoch.batch.commit.obj.size_bytes, 4711);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), 0);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 0);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_rewrite_goes_elsewhere(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	pblk_t first;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 4);
	assert_int_equal(epoch_run(&epoch), 0);
	first = test_store_where(fx->ts, fx->oid, lblk(0), NULL);
	writeback_batch_fini(&epoch.batch);
	epoch_init_run(fx, &epoch, 2, 0, 4);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	assert_int_not_equal(test_store_where(fx->ts, fx->oid, lblk(0), NULL).n, first.n);
	writeback_batch_fini(&epoch.batch);
	/* the old extent is allocatable again */
	test_store_run_count(fx->ts, &fx->nspace, 1);
	assert_space(fx, 46, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_write_error_goes_to_other_extents(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 20);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(test_store_where(fx->ts, fx->oid, lblk(0), NULL).n, 110);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_one_of_several_writes_fails(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	for (uint64_t nth = 1; nth <= 3; nth++) {
		give_space(fx, nth * 1000, 3);
		give_space(fx, nth * 1000 + 100, 3);
		give_space(fx, nth * 1000 + 200, 3);
		give_space(fx, nth * 1000 + 300, 3);
		give_space(fx, nth * 1000 + 400, 3);
		give_space(fx, nth * 1000 + 500, 3);
		epoch_init_run(fx, &epoch, 1, 1000 * nth, 9);
		fake_dev_fail(fx->ts->fdev, FAKE_WRITE, nth, 1, -ERR_SHORT_IO);
		assert_int_equal(epoch_run(&epoch), 0);
		assert_committed(&epoch);
		writeback_batch_fini(&epoch.batch);
		/* of 18: 9 in use, 3 in quarantine, and 6 that were written for nothing */
		assert_space(fx, nth * 6, 0);
	}
}

static void test_two_write_errors_fail_the_batch(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	struct epoch other;
	uint8_t want[BLK_BYTES];

	give_space(fx, 100, 100);
	epoch_init_run(fx, &other, 9, 500, 5);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	assert_space(fx, 100, 15);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_int_equal(epoch.nwritten, 0);
	assert_not_committed(&epoch);
	/* two attempts in quarantine; only the other's promise is left */
	assert_space(fx, 80, 5);
	for (uint32_t i = 0; i < 10; i++) {
		test_pattern(want, 1, lblk(i));
		assert_memory_equal(epoch.batch.blks[i].page->data, want, BLK_BYTES);
	}
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 80, 5);
	assert_int_equal(epoch_run(&other), 0);
	writeback_batch_fini(&other.batch);
	assert_space(fx, 75, 0);
}

static void test_failed_batch_may_be_started_again(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 4, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_space(fx, 30, 0);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_space(fx, 10, 0);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	assert_space(fx, 0, 0);
	writeback_batch_fini(&epoch.batch);
}

static void test_no_space_for_another_attempt(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 19);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_NOSPC);
	assert_not_committed(&epoch);
	assert_space(fx, 9, 0);
	/* the same when it is started again, and all is well when there is space */
	assert_int_equal(epoch_run(&epoch), -ERR_NOSPC);
	assert_space(fx, 9, 0);
	give_space(fx, 200, 1);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_failed_sync_is_written_again(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 2);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_SYNC), 2);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 30, 0);
}

static void test_two_failed_syncs_fail_the_batch(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_not_committed(&epoch);
	assert_space(fx, 30, 0);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 20, 0);
}

/* The map refuses: nothing is wrong with the extents, so they are free again. */
static void test_refused_commit_gives_the_space_back(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 8);
	give_space(fx, 200, 50);
	epoch_init_run(fx, &epoch, 1, 0, 55);
	epoch.batch.commit.oid = fx->oid + 1000;
	assert_int_equal(epoch_run(&epoch), -ERR_NOENT);
	assert_space(fx, 58, 0);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 58, 0);
}

/* ---- freed blocks ---------------------------------------------------------------------------- */

static void release(struct fixture *fx, uint64_t blk, uint64_t nblks)
{
	struct map_range range = {pblk(blk), nblks};
	const struct map_freed freed = {.ranges = &range, .n = 1, .cap = 1};

	writeback_release(&fx->wb, &freed);
}

static void test_release_without_reads_is_at_once(void **state)
{
	struct fixture *fx = *state;
	const struct map_freed none = {0};

	release(fx, 100, 5);
	assert_space(fx, 5, 0);
	assert_int_equal(fx->nspace, 1);
	assert_int_equal(fx->wb.releasing, 0);
	writeback_release(&fx->wb, &none);
	assert_int_equal(fx->nspace, 1);
}

struct read {
	struct fetch fetch;
	bool ended;
	uint8_t buf[BLK_BYTES];
};

static void read_done(struct fetch *fetch)
{
	CONTAINER_OF(fetch, struct read, fetch)->ended = true;
}

/*
 * A fetch has looked up the old extent and stands before its read while the block is overwritten:
 * the old extent is free in the map, but not to be allocated, and the fetch gets the old bytes.
 */
static void test_freed_blocks_wait_for_older_reads(void **state)
{
	struct fixture *fx = *state;
	struct read old = {.fetch = {.oid = fx->oid, .want = 1, .done = read_done}};
	struct epoch epoch;
	uint8_t want[BLK_BYTES];

	give_space(fx, 100, 2);
	epoch_init_run(fx, &epoch, 8, 0, 1);
	assert_int_equal(epoch_run(&epoch), 0);
	writeback_batch_fini(&epoch.batch);
	old.fetch.bufs[0] = old.buf;
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fetch_start(&fx->fetcher, &old.fetch);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	epoch_init_run(fx, &epoch, 1, 0, 1);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	test_store_run_count(fx->ts, &fx->wb.releasing, 1);
	assert_space(fx, 0, 0);
	assert_int_equal(fx->nspace, 0);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_count(fx->ts, &fx->nspace, 1);
	assert_true(old.ended);
	assert_int_equal(old.fetch.err, 0);
	test_pattern(want, 8, lblk(0));
	assert_memory_equal(old.buf, want, BLK_BYTES);
	assert_space(fx, 1, 0);
	assert_int_equal(fx->wb.releasing, 0);
	writeback_batch_fini(&epoch.batch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_batch_in_one_piece),
	    TEST(test_nothing_is_committed_until_asked),
	    TEST(test_fragmented_space),
	    TEST(test_sparse_blocks),
	    TEST(test_sparse_blocks_in_fragmented_space),
	    TEST(test_large_batch_is_written_by_several),
	    TEST(test_batch_without_blocks),
	    TEST(test_rewrite_goes_elsewhere),
	    TEST(test_write_error_goes_to_other_extents),
	    TEST(test_one_of_several_writes_fails),
	    TEST(test_two_write_errors_fail_the_batch),
	    TEST(test_failed_batch_may_be_started_again),
	    TEST(test_no_space_for_another_attempt),
	    TEST(test_failed_sync_is_written_again),
	    TEST(test_two_failed_syncs_fail_the_batch),
	    TEST(test_refused_commit_gives_the_space_back),
	    TEST(test_release_without_reads_is_at_once),
	    TEST(test_freed_blocks_wait_for_older_reads),
	};

	return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
