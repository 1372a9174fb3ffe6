/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_writeback.c: batches on their way to the device and into the map, and what becomes of their
 * space when the device, the map or the sync refuse.  Each commit is one write more, of the journal's
 * record.  Small batches: test_writeback_inline.c.
 */
#include <string.h>

#include "server/era.h"
#include "tests/unit/writeback_fixture.h"

/* ---- where blocks go ------------------------------------------------------------------------- */

static void test_batch_in_one_piece(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 7, 20);
	assert_space(fx, 50, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.batch.commit.change.nextents, 1);
	assert_int_equal(epoch.batch.commit.obj.size_bytes, 27 * BLK_BYTES);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, 20);
	assert_int_equal(epoch.batch.commit.obj.mtime_ns, 9);
	assert_int_equal(calls(fx, FAKE_WRITE), 1 + 1);
	assert_int_equal(fx->ninlined, 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 30, 0);
}

static void test_nothing_is_committed_until_asked(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	epoch.wait = true;
	epoch_start(&epoch);
	test_store_run_count(fx->ts, &epoch.nwritten, 1);
	assert_not_committed(&epoch);
	assert_int_equal(calls(fx, FAKE_SYNC), 0);
	batch_commit(&epoch.batch);
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
	give_space(fx, 300, 12);
	epoch_init_run(fx, &epoch, 2, 0, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(calls(fx, FAKE_WRITE), 3 + 1);
	assert_int_equal(epoch.batch.commit.change.nextents, 3);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_sparse_blocks(void **state)
{
	static const uint64_t lblks[] = {0,   1,   5,	100, 101, 102, 127, 128,  200,
					 201, 202, 203, 204, 205, 206, 207, 5000, 1000000};
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init(fx, &epoch, 3, lblks, ARRAY_LEN(lblks));
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.batch.commit.change.nextents, 7);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, ARRAY_LEN(lblks));
	assert_int_equal(calls(fx, FAKE_WRITE), 1 + 1);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 50 - ARRAY_LEN(lblks), 0);
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

	give_space(fx, 100, 1000);
	epoch_init_run(fx, &epoch, 5, 3, 600);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(calls(fx, FAKE_WRITE), 3 + 1);
	assert_int_equal(calls(fx, FAKE_SYNC), 1);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 400, 0);
}

static void test_batch_without_blocks(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	epoch_init(fx, &epoch, 0, NULL, 0);
	epoch.batch.commit.change.size_bytes = 4711;
	epoch.wait = true;
	epoch_start(&epoch);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(calls(fx, FAKE_WRITE), 0);
	batch_commit(&epoch.batch);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, 0);
	assert_int_equal(epoch.batch.commit.obj.size_bytes, 4711);
	assert_int_equal(calls(fx, FAKE_WRITE), 1);
	assert_int_equal(calls(fx, FAKE_SYNC), 1);
	assert_int_equal(fx->ninlined, 0);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_rewrite_goes_elsewhere(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	pblk_t first;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	first = test_store_where(fx->ts, fx->oid, lblk(0), NULL);
	writeback_batch_fini(&epoch.batch);
	epoch_init_run(fx, &epoch, 2, 0, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	assert_int_not_equal(test_store_where(fx->ts, fx->oid, lblk(0), NULL).n, first.n);
	writeback_batch_fini(&epoch.batch);
	/* the old extent is allocatable again */
	test_store_run_count(fx->ts, &fx->nspace, 1);
	assert_space(fx, 30, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_write_error_goes_to_other_extents(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 40);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(test_store_where(fx->ts, fx->oid, lblk(0), NULL).n, 120);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

static void test_one_of_several_writes_fails(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	for (uint64_t nth = 1; nth <= 3; nth++) {
		for (uint64_t i = 0; i < 6; i++)
			give_space(fx, nth * 1000 + i * 100, 7);
		epoch_init_run(fx, &epoch, 1, 1000 * nth, 21);
		fake_dev_fail(fx->ts->fdev, FAKE_WRITE, nth, 1, -ERR_SHORT_IO);
		assert_int_equal(epoch_run(&epoch), 0);
		assert_committed(&epoch);
		writeback_batch_fini(&epoch.batch);
		/* of 42: 21 in use, 7 in quarantine, and 14 that were written for nothing */
		assert_space(fx, nth * 14, 0);
	}
}

static void test_two_write_errors_fail_the_batch(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	struct epoch other;
	uint8_t want[BLK_BYTES];

	give_space(fx, 100, 100);
	epoch_init_run(fx, &other, 9, 500, 25);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	assert_space(fx, 100, 45);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_int_equal(epoch.nwritten, 0);
	assert_not_committed(&epoch);
	/* two attempts in quarantine; for the third there is a promise as before */
	assert_space(fx, 60, 45);
	for (uint32_t i = 0; i < 20; i++) {
		test_pattern(want, 1, lblk(i));
		assert_memory_equal(epoch.batch.blks[i].page->data, want, BLK_BYTES);
	}
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 60, 25);
	assert_int_equal(epoch_run(&other), 0);
	writeback_batch_fini(&other.batch);
	assert_space(fx, 35, 0);
}

static void test_failed_batch_may_be_started_again(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 100);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 4, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_space(fx, 60, 20);
	assert_int_equal(epoch_run(&epoch), -ERR_IO);
	assert_space(fx, 20, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	assert_space(fx, 0, 0);
	writeback_batch_fini(&epoch.batch);
}

static void test_no_space_for_another_attempt(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 39);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_NOSPC);
	assert_not_committed(&epoch);
	assert_space(fx, 19, 19);
	/* the same when it is started again, and all is well when there is space */
	assert_int_equal(epoch_run(&epoch), -ERR_NOSPC);
	assert_space(fx, 19, 19);
	give_space(fx, 200, 1);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

/* One of two pieces is in quarantine: the space of the other is nobody else's. */
static void test_failed_batch_keeps_what_there_is(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 20);
	give_space(fx, 200, 20);
	epoch_init_run(fx, &epoch, 1, 0, 40);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_NOSPC);
	assert_space(fx, 20, 20);
	give_space(fx, 300, 50);
	assert_int_equal(writeback_reserve(&epoch.batch), 0);
	assert_space(fx, 70, 40);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 30, 0);
}

static void test_failed_sync_is_written_again(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 2);
	assert_int_equal(calls(fx, FAKE_SYNC), 2);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 10, 0);
}

/* It fails behind the batch's writes and before the batch is committed, for another's sake. */
static void test_failed_sync_of_another_counts(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	struct epoch other;

	give_space(fx, 100, 70);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	epoch.wait = true;
	epoch_start(&epoch);
	test_store_run_count(fx->ts, &epoch.nwritten, 1);
	epoch_init_run(fx, &other, 2, 5, 1);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&other), 0);
	epoch.wait = false;
	batch_commit(&epoch.batch);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, 0);
	assert_int_equal(epoch.nwritten, 2);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	writeback_batch_fini(&other.batch);
}

static void sync_done(struct commit_req *req)
{
	assert_int_equal(req->err, -ERR_WRITEBACK);
}

/* Leaves no room for another record. */
static void fill_journal(struct fixture *fx)
{
	struct epoch epoch;

	while (commit_journal_used(fx->commit) < JOURNAL_NBLKS - ERA_NBLKS - 1) {
		epoch_init_run(fx, &epoch, 1, 0, 17);
		assert_int_equal(epoch_run(&epoch), 0);
		writeback_batch_fini(&epoch.batch);
	}
}

/* It fails while the batch waits for room in the journal, which then never comes. */
static void test_failed_sync_before_a_full_journal_counts(void **state)
{
	struct fixture *fx = *state;
	struct commit_req sync = {.kind = COMMIT_SYNC, .done = sync_done};
	struct epoch epoch;

	give_space(fx, 100, 100);
	fill_journal(fx);
	epoch_init_run(fx, &epoch, 2, 0, 20);
	epoch_start(&epoch);
	test_store_run_count(fx->ts, &fx->nurgent, 1);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	sync.sync_gen = commit_sync_gen(fx->commit);
	commit_submit(fx->commit, &sync);
	while (commit_sync_gen(fx->commit) == sync.sync_gen)
		test_store_turn(fx->ts);
	commit_set_stuck(fx->commit, true);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, -ERR_JOURNAL_FULL);
	assert_space(fx, 100 - 17 - 20, 20); /* its own are not used again */
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 100 - 17 - 20, 0);
}

static void test_two_failed_syncs_fail_the_batch(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 70);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_int_equal(epoch.ndurable, 0);
	assert_not_committed(&epoch);
	assert_space(fx, 30, 20);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 10, 0);
}

/* Without space for others the blocks stay where the failed syncs have left them, and when nobody wants
 * them any more nothing else gets these. */
static void test_suspect_places_are_not_given_back(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 20);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_int_equal(epoch.batch.nplaced, 20);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

/* Nothing is wrong with the extents. */
static void test_batch_that_is_not_committed_gives_its_space_back(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 8);
	give_space(fx, 200, 50);
	epoch_init_run(fx, &epoch, 1, 0, 55);
	epoch.wait = true;
	epoch_start(&epoch);
	test_store_run_count(fx->ts, &epoch.nwritten, 1);
	assert_space(fx, 3, 0);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 58, 0);
}

/* It is durable, and the map does not take it: what is true is found out by the next start. */
static void test_batch_that_the_map_refuses_keeps_its_space(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	epoch.batch.commit.change.oid = fx->oid + 1000;
	assert_int_equal(epoch_run(&epoch), -ERR_LATCHED);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.ndurable, 1);
	test_store_run_count(fx->ts, &fx->nlatched, 1);
	assert_space(fx, 30, 20);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 30, 0);
}

static void test_batch_of_a_stopping_engine_is_not_written(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 20);
	fx->wb.stopping = true;
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_int_equal(calls(fx, FAKE_WRITE), 0);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 50, 0);
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
	assert_int_equal(fx->nreused, 5);
	assert_int_equal(fx->free_then, 0);
	assert_int_equal(fx->wb.releasing, 0);
	writeback_release(&fx->wb, &none);
	assert_int_equal(fx->nspace, 1);
}

/* Others have their turn in between, and who waits for space hears of each part. */
static void test_release_of_many_pieces_takes_turns(void **state)
{
	enum { N = 2 * WRITEBACK_REUSE_RANGES + 7 };
	struct fixture *fx = *state;
	struct map_range *ranges = calloc(N, sizeof(*ranges));
	const struct map_freed freed = {.ranges = ranges, .n = N, .cap = N};
	unsigned int turns = 1;

	assert_non_null(ranges);
	for (uint64_t i = 0; i < N; i++)
		ranges[i] = (struct map_range){pblk(100 + i), 1};
	writeback_release(&fx->wb, &freed);
	free(ranges);
	assert_space(fx, WRITEBACK_REUSE_RANGES, 0);
	assert_int_equal(fx->wb.releasing_nblks, N - WRITEBACK_REUSE_RANGES);
	for (; fx->wb.releasing > 0; turns++) {
		uint64_t before = fx->nreused;

		test_store_turn(fx->ts);
		assert_true(fx->nreused - before <= WRITEBACK_REUSE_RANGES);
	}
	assert_int_equal(turns, 3);
	assert_int_equal(fx->nspace, turns);
	assert_space(fx, N, 0);
	assert_int_equal(fx->wb.releasing_nblks, 0);
}

/* A piece is given back in parts, and the next one from where the turn ends. */
static void test_release_of_large_pieces_takes_turns(void **state)
{
	enum { LARGE = WRITEBACK_REUSE_BLKS + 7, SMALL = 30 };
	struct fixture *fx = *state;
	struct map_range ranges[] = {{pblk(100), LARGE}, {pblk(100 + LARGE + 1), SMALL}};
	const struct map_freed freed = {.ranges = ranges, .n = 2, .cap = 2};
	pblk_t at;

	writeback_release(&fx->wb, &freed);
	assert_space(fx, WRITEBACK_REUSE_BLKS, 0);
	assert_int_equal(fx->nreused, WRITEBACK_REUSE_BLKS);
	assert_int_equal(fx->wb.releasing_nblks, 7 + SMALL);
	assert_int_equal(fx->wb.releasing, 1);
	test_store_turn(fx->ts);
	assert_int_equal(fx->wb.releasing, 0);
	assert_int_equal(fx->wb.releasing_nblks, 0);
	assert_int_equal(fx->nspace, 2);
	assert_int_equal(fx->nreused, LARGE + SMALL);
	assert_space(fx, LARGE + SMALL, 0);
	assert_int_equal(alloc_find(fx->alloc, pblk(100), &at), LARGE);
	assert_int_equal(alloc_find(fx->alloc, pblk(100 + LARGE), &at), SMALL);
	assert_int_equal(at.n, 100 + LARGE + 1);
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

	give_space(fx, 100, 34);
	epoch_init_run(fx, &epoch, 8, 0, 17);
	assert_int_equal(epoch_run(&epoch), 0);
	writeback_batch_fini(&epoch.batch);
	old.fetch.bufs[0] = old.buf;
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	fetch_start(&fx->fetcher, &old.fetch);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, fx->calls[FAKE_READ] + 1);
	epoch_init_run(fx, &epoch, 1, 0, 17);
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
	assert_space(fx, 17, 0);
	assert_int_equal(fx->nreused, 17);
	assert_int_equal(fx->free_then, 0);
	assert_int_equal(fx->wb.releasing, 0);
	writeback_batch_fini(&epoch.batch);
}

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
	    TEST(test_failed_batch_keeps_what_there_is),
	    TEST(test_failed_sync_is_written_again),
	    TEST(test_failed_sync_of_another_counts),
	    TEST(test_failed_sync_before_a_full_journal_counts),
	    TEST(test_two_failed_syncs_fail_the_batch),
	    TEST(test_suspect_places_are_not_given_back),
	    TEST(test_batch_that_is_not_committed_gives_its_space_back),
	    TEST(test_batch_that_the_map_refuses_keeps_its_space),
	    TEST(test_batch_of_a_stopping_engine_is_not_written),
	    TEST(test_release_without_reads_is_at_once),
	    TEST(test_release_of_many_pieces_takes_turns),
	    TEST(test_release_of_large_pieces_takes_turns),
	    TEST(test_freed_blocks_wait_for_older_reads),
	};

	return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
