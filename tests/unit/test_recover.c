/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_recover.c: what a start makes of the journal: it goes on from the map's state, stops at what
 * was never whole, refuses what was and is not any more, and may be cut short anywhere.
 */
#include "server/era.h"
#include "server/recover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

#define META_BYTES	 (UINT64_C(4) << 20)
#define SMALL_META_BYTES (UINT64_C(1) << 20)
#define AT(n)		 pblk(COMMITS_DATA + (n))

static int setup(void **state)
{
	*state = commits_new(META_BYTES);
	commits_start(*state);
	return 0;
}

static int setup_small(void **state)
{
	*state = commits_new(SMALL_META_BYTES);
	commits_start(*state);
	return 0;
}

static int teardown(void **state)
{
	commits_free(*state);
	return 0;
}

static int recover(struct commits *fx, struct recover_result *result)
{
	return recover_run(fx->ts->map, &fx->ts->fdev->dev, result);
}

/* The process ends, and another one opens the map. */
static void reopen(struct commits *fx)
{
	map_close(fx->ts->map);
	assert_int_equal(map_open(fx->ts->path, &fx->ts->map), 0);
}

static void run_inline(struct commits *fx, uint64_t oid, unsigned int n)
{
	struct commits_req r;

	commits_inline_init(fx, &r, oid, lblk(n), AT(n));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
}

static void run_epoch(struct commits *fx, uint64_t oid, unsigned int n)
{
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(n), AT(n));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
}

static uint64_t where(struct commits *fx, uint64_t oid, uint64_t blk)
{
	return test_store_where(fx->ts, oid, lblk(blk), NULL).n;
}

static bool is_home(struct commits *fx, unsigned int n)
{
	uint8_t bytes[BLK_BYTES];

	test_pattern(bytes, COMMITS_SEED, lblk(n));
	return fake_dev_durable(fx->ts->fdev, AT(n), bytes);
}

static bool all_survive(void *ctx, uint64_t sector)
{
	(void)ctx;
	(void)sector;
	return true;
}

/* The threads end; the sync that they stand in has no effect, and nothing that they do then. */
static void end_in_sync(struct commits *fx)
{
	fake_dev_off(fx->ts->fdev);
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	commits_kill(fx);
}

/* ---- what is found --------------------------------------------------------------------------- */

static void an_empty_journal_has_nothing_to_apply(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct recover_result first = {0};
	struct recover_result second = {0};

	run_inline(fx, oid, 0);
	commits_crash(fx, &first);
	assert_int_equal(first.records, 2);
	commits_crash(fx, &second);
	assert_int_equal(second.records, 0);
	assert_int_equal(second.changes, 0);
	assert_int_equal(second.head.seq, first.head.seq);
	assert_int_equal(second.head.blk, first.head.blk);
	assert_int_equal(where(fx, oid, 0), AT(0).n);
}

static void each_start_has_a_number_and_a_key_of_its_own(void **state)
{
	struct commits *fx = *state;
	struct recover_result first = {0};
	struct recover_result second = {0};

	commits_crash(fx, &first);
	commits_crash(fx, &second);
	assert_true(first.incarnation > 0);
	assert_int_equal(second.incarnation, first.incarnation + 1);
	assert_true(second.journal_key != first.journal_key);
}

static void the_result_counts_what_was_applied(void **state)
{
	struct commits *fx = *state;
	struct recover_result result = {0};
	uint64_t oid = commits_create(fx, "a");

	run_inline(fx, oid, 0);
	run_epoch(fx, oid, 1);
	run_epoch(fx, oid, 2);
	commits_crash(fx, &result);
	assert_int_equal(result.records, 4);
	assert_int_equal(result.changes, 4);
	assert_int_equal(result.nblks, 3);
}

static void only_what_is_behind_the_last_fold_is_applied(void **state)
{
	struct commits *fx = *state;
	struct recover_result result = {0};
	uint64_t oid = commits_create(fx, "a");

	run_epoch(fx, oid, 0);
	commits_fold(fx);
	run_epoch(fx, oid, 1);
	commits_crash(fx, &result);
	assert_int_equal(result.records, 1);
	assert_int_equal(where(fx, oid, 0), AT(0).n);
	assert_int_equal(where(fx, oid, 1), AT(1).n);
}

static void an_inlined_block_is_brought_home(void **state)
{
	struct commits *fx = *state;
	struct recover_result result;
	uint64_t oid = commits_create(fx, "a");

	run_inline(fx, oid, 0);
	run_inline(fx, oid, 1);
	commits_crash(fx, &result);
	assert_true(is_home(fx, 0) && is_home(fx, 1));
	assert_int_equal(where(fx, oid, 0), AT(0).n);
	assert_int_equal(where(fx, oid, 1), AT(1).n);
}

static void a_superseded_inlined_block_is_not_written(void **state)
{
	struct commits *fx = *state;
	struct recover_result result;
	uint64_t oid = commits_create(fx, "a");
	struct commits_req r;
	uint64_t writes;

	run_inline(fx, oid, 0);
	commits_epoch_init(fx, &r, oid, lblk(0), AT(50));
	commits_run(&r);
	commits_kill(fx);
	test_store_crash(fx->ts);
	writes = fake_dev_calls(fx->ts->fdev, FAKE_WRITE);
	assert_int_equal(recover(fx, &result), 0);
	/* that it starts, and that it has */
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_WRITE), writes + 2);
	assert_false(is_home(fx, 0));
	assert_int_equal(where(fx, oid, 0), AT(50).n);
}

/* A killed process leaves its writes in caches: they must not be lost to a power cut behind it. */
static void what_a_killed_process_left_is_synced(void **state)
{
	struct commits *fx = *state;
	struct recover_result result;
	uint64_t oid = commits_create(fx, "a");
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(0), AT(0));
	commits_hold_in_sync(&r);
	end_in_sync(fx);
	fake_dev_on(fx->ts->fdev);
	reopen(fx);
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(where(fx, oid, 0), AT(0).n);
	test_store_crash(fx->ts);
	assert_int_equal(where(fx, oid, 0), AT(0).n);
	assert_true(is_home(fx, 0));
}

/* ---- what was never whole -------------------------------------------------------------------- */

static void a_change_whose_data_was_lost_never_happened(void **state)
{
	struct commits *fx = *state;
	struct recover_result result = {0};
	uint64_t oid = commits_create(fx, "a");
	uint8_t zeros[BLK_BYTES] = {0};
	struct commits_req r;

	run_epoch(fx, oid, 0);
	commits_epoch_init(fx, &r, oid, lblk(1), AT(1));
	commits_hold_in_sync(&r);
	fake_dev_land(fx->ts->fdev, all_survive, NULL);
	fake_dev_put(fx->ts->fdev, AT(1), zeros);
	end_in_sync(fx);
	commits_crash(fx, &result);
	assert_int_equal(result.records, 2);
	assert_int_equal(where(fx, oid, 0), AT(0).n);
	assert_int_equal(where(fx, oid, 1), 0);
}

static void a_torn_inlined_block_ends_the_journal(void **state)
{
	struct commits *fx = *state;
	struct recover_result result = {0};
	uint64_t oid = commits_create(fx, "a");
	uint64_t at = fx->region.first.n;
	struct commits_req r;

	run_inline(fx, oid, 0);
	commits_inline_init(fx, &r, oid, lblk(1), AT(1));
	commits_hold_in_sync(&r);
	fake_dev_land(fx->ts->fdev, all_survive, NULL);
	/* two records were before it: one of a block, one of two; it is a block, then its data */
	fake_dev_flip(fx->ts->fdev, pblk(at + 4), 100);
	end_in_sync(fx);
	commits_crash(fx, &result);
	assert_int_equal(result.records, 2);
	assert_int_equal(where(fx, oid, 1), 0);
	assert_true(is_home(fx, 0));
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void is_refused_and_nothing_changes(struct commits *fx, uint64_t oid)
{
	struct fake_dev *fd = fx->ts->fdev;
	uint64_t writes = fake_dev_calls(fd, FAKE_WRITE);
	struct recover_result result = {.records = 77};
	struct recover_preview *preview = NULL;
	struct map_obj obj;

	assert_int_equal(recover(fx, &result), -ERR_JOURNAL);
	assert_int_equal(result.records, 77);
	assert_int_equal(fake_dev_calls(fd, FAKE_WRITE), writes);
	reopen(fx);
	assert_false(test_store_obj(fx->ts, oid, &obj));
	assert_int_equal(recover_preview(fx->ts->map, &fd->dev, &result, &preview), -ERR_JOURNAL);
	assert_null(preview);
	reopen(fx);
	assert_false(test_store_obj(fx->ts, oid, &obj));
}

/* Three records, and a fourth that says that they are durable. */
static uint64_t leave_four_records(struct commits *fx)
{
	uint64_t oid = commits_create(fx, "a");

	run_inline(fx, oid, 0);
	run_inline(fx, oid, 1);
	(void)commits_create(fx, "b");
	commits_kill(fx);
	test_store_crash(fx->ts);
	return oid;
}

static void a_damaged_durable_record_is_refused(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = leave_four_records(fx);
	struct recover_result result;

	fake_dev_flip(fx->ts->fdev, fx->region.first, 80);
	is_refused_and_nothing_changes(fx, oid);
	fake_dev_flip(fx->ts->fdev, fx->region.first, 80); /* as it was: all of it is there */
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(result.records, 4);
	assert_int_equal(where(fx, oid, 1), AT(1).n);
}

static void damaged_inlined_data_of_a_durable_record_is_refused(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = leave_four_records(fx);
	struct recover_result result;

	fake_dev_flip(fx->ts->fdev, pblk(fx->region.first.n + 2), 80);
	is_refused_and_nothing_changes(fx, oid);
	fake_dev_flip(fx->ts->fdev, pblk(fx->region.first.n + 2), 80);
	assert_int_equal(recover(fx, &result), 0);
	assert_true(is_home(fx, 0));
}

static void a_device_that_cannot_be_read_stops_it(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = leave_four_records(fx);
	struct recover_result result;
	struct map_obj obj;

	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 100, -ERR_IO);
	assert_int_equal(recover(fx, &result), -ERR_IO);
	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 0, 0);
	reopen(fx);
	assert_false(test_store_obj(fx->ts, oid, &obj));
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(result.records, 4);
}

/* Whichever read of the journal it is: what cannot be read is no end of what was committed. */
static void no_read_that_fails_ends_the_journal(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct recover_result result;
	uint64_t nth = 2; /* the first is of the places (era.h) */
	uint64_t before;

	run_epoch(fx, oid, 0);
	run_epoch(fx, oid, 1);
	commits_kill(fx);
	test_store_crash(fx->ts);
	for (;; nth++) {
		before = fake_dev_calls(fx->ts->fdev, FAKE_READ);
		fake_dev_fail(fx->ts->fdev, FAKE_READ, nth, 1, -ERR_IO);
		if (recover(fx, &result) == 0)
			break;
		reopen(fx);
	}
	assert_true(nth > 3);
	assert_true(fake_dev_calls(fx->ts->fdev, FAKE_READ) - before < nth);
	assert_int_equal(result.records, 3);
}

/* ---- looking only ---------------------------------------------------------------------------- */

static void a_preview_shows_all_and_changes_nothing(void **state)
{
	struct commits *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	uint64_t oid = commits_create(fx, "a");
	uint8_t *before = malloc((size_t)fd->dev.nblks * BLK_BYTES);
	uint8_t blks[3 * BLK_BYTES];
	uint8_t want[BLK_BYTES];
	struct recover_preview *preview;
	struct recover_result result;
	struct map_obj obj;

	assert_non_null(before);
	run_epoch(fx, oid, 0);
	run_inline(fx, oid, 1);
	run_epoch(fx, oid, 2);
	commits_kill(fx);
	test_store_crash(fx->ts);
	memcpy(before, fd->bytes, (size_t)fd->dev.nblks * BLK_BYTES);
	assert_int_equal(recover_preview(fx->ts->map, &fd->dev, &result, &preview), 0);
	assert_int_equal(result.records, 4);
	assert_int_equal(where(fx, oid, 1), AT(1).n);
	assert_int_equal(recover_read(preview, AT(0), 3, blks), 0);
	for (uint64_t i = 0; i < 3; i++) {
		test_pattern(want, COMMITS_SEED, lblk(i));
		assert_memory_equal(blks + i * BLK_BYTES, want, BLK_BYTES);
	}
	recover_preview_free(preview);
	reopen(fx);
	assert_memory_equal(before, fd->bytes, (size_t)fd->dev.nblks * BLK_BYTES);
	assert_false(test_store_obj(fx->ts, oid, &obj));
	free(before);
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(result.records, 4);
}

static void freeing_no_preview_does_nothing(void **state)
{
	(void)state;
	recover_preview_free(NULL);
}

/* ---- more than one fold ---------------------------------------------------------------------- */

#define MANY	   200u
#define NLABELS	   4u
#define LABELS_LEN 200u /* of each, its terminator included */

/* Objects with long labels, more than one fold can write, all in the journal. */
static void leave_many(struct commits *fx, uint64_t oid)
{
	struct commits_req *reqs = aligned_alloc(BLK_BYTES, MANY * sizeof(*reqs));
	char labels[NLABELS * LABELS_LEN];

	assert_non_null(reqs);
	memset(labels, 'x', sizeof(labels));
	for (unsigned int i = 0; i < NLABELS; i++) {
		labels[i * LABELS_LEN] = (char)('a' + i);
		labels[i * LABELS_LEN + 1] = '=';
		labels[(i + 1) * LABELS_LEN - 1] = '\0';
	}
	run_inline(fx, oid, 0);
	for (unsigned int i = 0; i < MANY; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "many%u", i);
		commits_named_init(fx, &reqs[i], CHANGE_CREATE, name);
		reqs[i].req.change.labels = labels;
		reqs[i].req.change.labels_len = sizeof(labels);
		if (i == 0)
			commits_hold_in_sync(&reqs[i]);
		else
			commits_submit(&reqs[i]);
	}
	fake_dev_open_gate(fx->ts->fdev, FAKE_SYNC);
	test_store_run_count(fx->ts, &reqs[MANY - 1].durable, 1);
	commits_kill(fx);
	free(reqs);
	test_store_crash(fx->ts);
}

static uint64_t nobjects(struct commits *fx)
{
	struct map_space space;
	struct map_view *view;

	assert_int_equal(map_view_begin(fx->ts->map, &view), 0);
	assert_int_equal(map_get_space(view, &space), 0);
	map_view_end(view);
	return space.objects;
}

static void more_than_one_fold_can_take_is_folded_in_parts(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "first");
	struct recover_result result;
	uint64_t syncs;

	leave_many(fx, oid);
	syncs = fake_dev_calls(fx->ts->fdev, FAKE_SYNC);
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(result.changes, MANY + 2);
	assert_true(fake_dev_calls(fx->ts->fdev, FAKE_SYNC) >= syncs + 3);
	test_store_crash(fx->ts);
	assert_int_equal(nobjects(fx), MANY + 1);
	assert_true(is_home(fx, 0));
}

/* Each start comes as far as one fold. */
static void fold_one_after_the_other(struct commits *fx)
{
	struct recover_result result;
	unsigned int nfolds = 0;

	do {
		fake_dev_off_at(fx->ts->fdev, FAKE_SYNC, 2);
		assert_int_equal(recover(fx, &result), -ERR_IO);
		test_store_crash(fx->ts);
		nfolds++;
		assert_true(is_home(fx, 0));
		assert_true(nfolds < MANY);
	} while (nobjects(fx) < MANY + 1);
	assert_true(nfolds >= 2);
	assert_int_equal(recover(fx, &result), 0);
	assert_int_equal(result.changes, 0);
	assert_int_equal(nobjects(fx), MANY + 1);
}

/* Whichever of the folds is the last before the power goes, the next start goes on from there. */
static void cut_short_between_folds_it_goes_on(void **state)
{
	struct commits *fx = *state;

	leave_many(fx, commits_create(fx, "first"));
	fold_one_after_the_other(fx);
}

/* A stop that came before the last commits: its tail is not that of the folds behind it. */
static void cut_short_behind_a_stop_it_goes_on(void **state)
{
	struct commits *fx = *state;

	leave_many(fx, commits_create(fx, "first"));
	assert_int_equal(recover_close(fx->ts->map, &fx->ts->fdev->dev), 0);
	fold_one_after_the_other(fx);
}

/* ---- copies of another time ------------------------------------------------------------------ */

#define TIMES 5u

static size_t dev_bytes(const struct commits *fx)
{
	return (size_t)fx->ts->fdev->dev.nblks * BLK_BYTES;
}

static uint8_t *copy_data(const struct commits *fx)
{
	uint8_t *copy = malloc(dev_bytes(fx));

	assert_non_null(copy);
	memcpy(copy, fx->ts->fdev->bytes, dev_bytes(fx));
	return copy;
}

static void restore_data(struct commits *fx, const uint8_t *copy)
{
	memcpy(fx->ts->fdev->bytes, copy, dev_bytes(fx));
	memcpy(fx->ts->fdev->durable, copy, dev_bytes(fx));
}

/* Of the same run, behind each of its folds; the newest has all that the map needs. */
static void data_of_a_fold_before_is_refused(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct recover_preview *preview;
	struct recover_result result;
	uint8_t *copies[TIMES];

	for (unsigned int i = 0; i < TIMES; i++) {
		run_epoch(fx, oid, i);
		commits_fold(fx);
		copies[i] = copy_data(fx);
	}
	commits_kill(fx);
	for (unsigned int i = 0; i < TIMES; i++) {
		int want = i + 1 < TIMES ? -ERR_DATA_OLD : 0;

		restore_data(fx, copies[i]);
		reopen(fx);
		assert_int_equal(
		    recover_preview(fx->ts->map, &fx->ts->fdev->dev, &result, &preview), want);
		if (want == 0)
			recover_preview_free(preview);
		reopen(fx);
		assert_int_equal(recover(fx, &result), want);
		free(copies[i]);
	}
	assert_int_equal(result.records, 0);
	assert_int_equal(where(fx, oid, TIMES - 1), AT(TIMES - 1).n);
}

/* As a stop leaves it, too: the map has no records behind its tail then. */
static void data_from_before_a_stop_is_refused(void **state)
{
	struct commits *fx = *state;
	uint64_t oid = commits_create(fx, "a");
	struct recover_result result;
	uint8_t *copy;

	run_epoch(fx, oid, 0);
	copy = copy_data(fx);
	commits_stop(fx);
	assert_int_equal(recover_close(fx->ts->map, &fx->ts->fdev->dev), 0);
	restore_data(fx, copy);
	free(copy);
	assert_int_equal(recover(fx, &result), -ERR_DATA_OLD);
}

/*
 * That a start has begun is durable when it ends: the first sync behind it may fail, and who makes it again
 * knows nothing of that place.
 */
static void a_start_is_known_before_anything_is_committed(void **state)
{
	struct commits *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	pblk_t places = pblk(fx->region.first.n + fx->region.nblks);
	struct recover_result result;
	bool closed;

	commits_crash(fx, &result);
	fake_dev_fail(fd, FAKE_SYNC, 1, 1, -ERR_IO);
	assert_int_equal(dev_sync(&fd->dev), -ERR_IO);
	assert_int_equal(dev_sync(&fd->dev), 0);
	fake_dev_cut(fd);
	assert_int_equal(era_check(&fd->dev, places, result.incarnation - 1, 1, &closed),
			 -ERR_MAP_OLD);
}

#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_empty_journal_has_nothing_to_apply),
	    TEST(each_start_has_a_number_and_a_key_of_its_own),
	    TEST(the_result_counts_what_was_applied),
	    TEST(only_what_is_behind_the_last_fold_is_applied),
	    TEST(an_inlined_block_is_brought_home),
	    TEST(a_superseded_inlined_block_is_not_written),
	    TEST(what_a_killed_process_left_is_synced),
	    TEST(a_change_whose_data_was_lost_never_happened),
	    TEST(a_torn_inlined_block_ends_the_journal),
	    TEST(a_damaged_durable_record_is_refused),
	    TEST(damaged_inlined_data_of_a_durable_record_is_refused),
	    TEST(a_device_that_cannot_be_read_stops_it),
	    TEST(no_read_that_fails_ends_the_journal),
	    TEST(a_preview_shows_all_and_changes_nothing),
	    TEST(freeing_no_preview_does_nothing),
	    TEST_SMALL(more_than_one_fold_can_take_is_folded_in_parts),
	    TEST_SMALL(cut_short_between_folds_it_goes_on),
	    TEST_SMALL(cut_short_behind_a_stop_it_goes_on),
	    TEST(data_of_a_fold_before_is_refused),
	    TEST(data_from_before_a_stop_is_refused),
	    TEST(a_start_is_known_before_anything_is_committed),
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
