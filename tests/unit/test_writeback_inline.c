/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_writeback_inline.c: batches that are so small that their blocks travel in the journal's
 * record: they are not written, and what becomes of them and of their space.
 */
#include "tests/unit/writeback_fixture.h"

/* The power is cut, and the store recovered: what was in the record is where the map says. */
static void crash(struct fixture *fx)
{
	commit_free(fx->commit);
	test_store_crash(fx->ts);
	fx->commit = start_commit(fx);
	fx->wb.commit = fx->commit;
	assert_non_null(fx->commit);
}

static void assert_not_on_device(const struct epoch *epoch, const pblk_t *where)
{
	uint8_t want[BLK_BYTES];

	for (uint32_t i = 0; i < epoch->batch.nblks; i++) {
		test_pattern(want, epoch->seed, epoch->batch.blks[i].blk);
		assert_false(fake_dev_holds(epoch->fx->ts->fdev, where[i], want));
	}
}

static void test_small_batch_is_in_its_record(void **state)
{
	struct fixture *fx = *state;
	pblk_t where[WRITEBACK_INLINE_BLKS];
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 7, WRITEBACK_INLINE_BLKS);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.batch.commit.obj.mapped_nblks, WRITEBACK_INLINE_BLKS);
	assert_int_equal(calls(fx, FAKE_WRITE), 1);
	assert_int_equal(calls(fx, FAKE_SYNC), 1);
	assert_mapped(&epoch, where);
	assert_not_on_device(&epoch, where);
	assert_space(fx, 50 - WRITEBACK_INLINE_BLKS, 0);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 50 - WRITEBACK_INLINE_BLKS, 0);
}

static void test_one_block_more_is_written(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 7, WRITEBACK_INLINE_BLKS + 1);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(calls(fx, FAKE_WRITE), 1 + 1);
	assert_int_equal(fx->ninlined, 0);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
}

static void test_small_sparse_batch_in_fragmented_space(void **state)
{
	static const uint64_t lblks[] = {0, 1, 5, 100, 101, 102, 127, 128, 5000, 1000000};
	struct fixture *fx = *state;
	pblk_t where[ARRAY_LEN(lblks)];
	struct epoch epoch;

	give_space(fx, 100, 1);
	give_space(fx, 200, 3);
	give_space(fx, 300, 6);
	epoch_init(fx, &epoch, 3, lblks, ARRAY_LEN(lblks));
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(calls(fx, FAKE_WRITE), 1);
	assert_int_equal(fx->ninlined, ARRAY_LEN(lblks));
	assert_mapped(&epoch, where);
	assert_not_on_device(&epoch, where);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

/* Before that nobody can find them in the map. */
static void test_inlined_blocks_are_told_of_when_they_are_committed(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 3);
	epoch.wait = true;
	epoch_start(&epoch);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(fx->ninlined, 0);
	batch_commit(&epoch.batch);
	assert_int_equal(fx->ninlined, 3);
	test_store_run_count(fx->ts, &epoch.ndone, 1);
	assert_int_equal(epoch.err, 0);
	assert_int_equal(fx->ninlined, 3);
	writeback_batch_fini(&epoch.batch);
}

/* Its data is in the record, which is written again. */
static void test_failed_sync_costs_a_small_batch_nothing(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), 0);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(calls(fx, FAKE_SYNC), 2);
	assert_space(fx, 40, 0);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
}

/* Nothing was written to its extents; and a record that did not become part of the journal, though it
 * may be on the device, is wiped before the next one counts. */
static void test_small_batch_that_fails_may_be_started_again(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_SYNC, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.ndurable, 0);
	assert_not_committed(&epoch);
	assert_int_equal(fx->nreused, 10);
	assert_space(fx, 50, 10);
	assert_int_equal(epoch_run(&epoch), 0);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 40, 0);
}

/* What was acknowledged has its space whoever else wants some: invariant 3. */
static void test_small_batch_that_fails_keeps_its_space(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 10);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	fake_dev_fail(fx->ts->fdev, FAKE_WRITE, 1, 2, -ERR_IO);
	assert_int_equal(epoch_run(&epoch), -ERR_WRITEBACK);
	assert_space(fx, 10, 10);
	assert_int_equal(alloc_reserve(fx->wb.alloc, 1), -ERR_NOSPC);
	assert_int_equal(epoch_run(&epoch), 0);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
	assert_space(fx, 0, 0);
}

/* With the journal full and nobody to make room, and again when there is some. */
static void test_small_batch_that_finds_the_journal_full(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;
	uint64_t n = 0;
	int err;

	give_space(fx, 100, 100);
	commit_set_stuck(fx->commit, true);
	for (;;) {
		epoch_init_run(fx, &epoch, 1, 16 * n, 16);
		err = epoch_run(&epoch);
		if (err < 0)
			break;
		writeback_batch_fini(&epoch.batch);
		n++;
	}
	assert_int_equal(n, 3);
	assert_int_equal(err, -ERR_JOURNAL_FULL);
	assert_int_equal(epoch.nwritten, 1);
	assert_int_equal(epoch.ndurable, 0);
	assert_space(fx, 100 - 16 * n, 16);
	crash(fx);
	assert_not_committed(&epoch);
	assert_int_equal(epoch_run(&epoch), 0);
	crash(fx);
	assert_committed(&epoch);
	writeback_batch_fini(&epoch.batch);
}

static void test_small_batch_that_is_not_committed_gives_its_space_back(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 3);
	give_space(fx, 200, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	epoch.wait = true;
	epoch_start(&epoch);
	assert_int_equal(epoch.nwritten, 1);
	assert_space(fx, 43, 0);
	writeback_batch_fini(&epoch.batch);
	assert_int_equal(fx->nreused, 10);
	assert_space(fx, 53, 0);
}

static void test_small_batch_that_the_map_refuses_keeps_its_space(void **state)
{
	struct fixture *fx = *state;
	struct epoch epoch;

	give_space(fx, 100, 50);
	epoch_init_run(fx, &epoch, 1, 0, 10);
	epoch.batch.commit.change.oid = fx->oid + 1000;
	assert_int_equal(epoch_run(&epoch), -ERR_LATCHED);
	assert_int_equal(epoch.ndurable, 1);
	test_store_run_count(fx->ts, &fx->nlatched, 1);
	assert_space(fx, 40, 10);
	writeback_batch_fini(&epoch.batch);
	assert_int_equal(fx->nreused, 0);
	assert_space(fx, 40, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_small_batch_is_in_its_record),
	    TEST(test_one_block_more_is_written),
	    TEST(test_small_sparse_batch_in_fragmented_space),
	    TEST(test_inlined_blocks_are_told_of_when_they_are_committed),
	    TEST(test_failed_sync_costs_a_small_batch_nothing),
	    TEST(test_small_batch_that_fails_may_be_started_again),
	    TEST(test_small_batch_that_fails_keeps_its_space),
	    TEST(test_small_batch_that_finds_the_journal_full),
	    TEST(test_small_batch_that_is_not_committed_gives_its_space_back),
	    TEST(test_small_batch_that_the_map_refuses_keeps_its_space),
	};

	return cmocka_run_group_tests_name("writeback of small batches", tests, NULL, NULL);
}
