/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_faults.c: the engine when the device or the map fails, when an object is removed
 * while something of it is under way, and when it is stopped in the middle.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"

#define HANG_S 600u

/* Without the timer, which would do what is to be tested. */
static int setup_untimed(void **state)
{
	struct engine *e;

	assert_int_equal(engine_setup(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	(void)pv;
	engine_done_cb(ctx, err);
}

static void opened_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct result *res = ctx;

	res->handle = handle;
	engine_info_cb(ctx, err, info);
}

/* The object "a" of nblks blocks, none of them in the cache. */
static struct handle *open_stored(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint64_t i = 0; i < nblks; i++)
		assert_int_equal(engine_write_blk(e, h, i, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	return engine_open(e, "a");
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The failed epoch, the one behind it, and the open one: who waits for any of them hears of it. */
static void failure_is_told(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);
	struct handle *other = engine_open(e, "a");
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result sync[3] = {0};
	struct handle *late;

	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint64_t i = 0; i < ARRAY_LEN(sync); i++) {
		assert_int_equal(engine_write_blks(e, h, i * nblks, nblks, 1), 0);
		object_fsync(h, engine_done_cb, &sync[i]);
	}
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	gate_dev_fail_upto(e->gate, GATE_SYNC, syncs + 2);
	gate_dev_open(e->gate, GATE_SYNC);
	for (size_t i = 0; i < ARRAY_LEN(sync); i++)
		assert_int_equal(engine_wait(e, &sync[i]), -ERR_WRITEBACK);
	assert_int_equal(engine_fsync(e, h), 0); /* writes it again; h has been told */
	late = engine_open(e, "a"); /* nothing that this one has to do with has failed */
	assert_int_equal(engine_fsync(e, late), 0);
	assert_int_equal(object_close(late), 0);
	assert_int_equal(object_close(other), -ERR_WRITEBACK);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < ARRAY_LEN(sync) * nblks; i++)
		assert_int_equal(engine_blk_byte(e, h, i), 1);
	assert_int_equal(object_close(h), 0);
}

static void a_failure_is_told_to_all_who_wait(void **state)
{
	failure_is_told(*state, ENGINE_WRITTEN_BLKS);
}

static void a_failure_of_small_epochs_is_told_to_all_who_wait(void **state)
{
	failure_is_told(*state, 1);
}

/* Both attempts, of the data or of the record. */
static void timer_writes_again(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	struct result info = {0};

	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_write_blks(e, h, 0, nblks, 1), 0);
	while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 3)
		engine_turn(e); /* nobody asks for it */
	assert_int_equal(engine_fsync(e, h), -ERR_WRITEBACK);
	assert_int_equal(engine_fsync(e, h), 0);
	engine_flush(e); /* it is durable: now it is in the map too */
	object_info(e->objs, "a", engine_info_cb, &info);
	assert_int_equal(engine_wait(e, &info), 0);
	assert_int_equal(info.info.mapped_nblks, nblks);
	assert_int_equal(object_close(h), 0);
}

static void the_timer_writes_a_failed_epoch_again(void **state)
{
	timer_writes_again(*state, ENGINE_WRITTEN_BLKS);
}

static void the_timer_writes_a_small_failed_epoch_again(void **state)
{
	timer_writes_again(*state, 1);
}

/* What was written before a failed sync is not used again, nor is what was written elsewhere. */
static void failed_syncs_cost_the_space_that_was_written(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t empty = engine_free_nblks(e);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);

	gate_dev_fail_upto(e->gate, GATE_SYNC, syncs + 2);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_fsync(e, h), -ERR_WRITEBACK);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_free_nblks(e), empty - UINT64_C(3) * ENGINE_WRITTEN_BLKS);
	assert_int_equal(object_close(h), 0);
	engine_restart(e);
	assert_int_equal(engine_free_nblks(e), empty - ENGINE_WRITTEN_BLKS);
}

static void a_bad_block_does_not_fail_reads_of_its_neighbours(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 8);
	struct result bad = {0};
	struct result good = {0};

	gate_dev_hold(e->gate, GATE_READ);
	gate_dev_fail_upto(e->gate, GATE_READ, 1);
	object_read(h, 5 * BLK_BYTES, BLK_BYTES, read_cb, &bad);
	engine_wait_calls(e, GATE_READ, 1);
	object_read(h, 0, BLK_BYTES, read_cb, &good); /* of the same folio */
	engine_wait_calls(e, GATE_READ, 2);
	gate_dev_release(e->gate, GATE_READ, 1);
	assert_int_equal(engine_wait(e, &bad), -ERR_IO);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &good), 0);
	assert_int_equal(object_close(h), 0);
}

/* ---- removal --------------------------------------------------------------------------------- */

static void what_is_being_removed_cannot_be_opened(void **state)
{
	struct engine *e = *state;
	struct handle *b = engine_create_open(e, "b", 0);
	struct result sync = {0};
	struct result gone = {0};
	struct result open = {0};
	struct result info;
	uint64_t syncs;

	assert_int_equal(engine_create(e, "a", 0), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, b, 0, 1), 0);
	object_fsync(b, engine_done_cb, &sync);
	engine_wait_calls(e, GATE_SYNC, syncs + 1); /* what is submitted now waits behind it */
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	do { /* it is being looked up for the removal */
		info = (struct result){0};
		object_info(e->objs, "a", engine_info_cb, &info);
	} while (engine_wait(e, &info) == 0);
	assert_int_equal(info.err, -ERR_NOENT);
	object_open(e->objs, "a", 0, "test", opened_cb, &open);
	assert_int_equal(engine_wait(e, &open), -ERR_NOENT);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &gone), 0);
	assert_int_equal(engine_wait(e, &sync), 0);
	assert_int_equal(object_close(b), 0);
}

/*
 * The read of block 0 and that of block 2 are held, and end without their fetches: block 0 is
 * overwritten, block 2 truncated away.  So the object can go while a fetch is under way.
 */
static void an_object_goes_before_its_last_fetch(void **state)
{
	struct engine *e = *state;
	struct handle *h = open_stored(e, 8);
	struct result first = {0};
	struct result second = {0};
	struct result hole = {0};

	gate_dev_hold(e->gate, GATE_READ);
	object_read(h, 0, BLK_BYTES, read_cb, &first);
	engine_wait_calls(e, GATE_READ, 1);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	object_read(h, 2 * BLK_BYTES, BLK_BYTES, read_cb, &second);
	engine_wait_calls(e, GATE_READ, 2);
	assert_int_equal(engine_resize(e, h, 32 * BLK_BYTES, false), 0);
	object_read(h, 20 * BLK_BYTES, BLK_BYTES, read_cb, &hole); /* needs no device */
	assert_int_equal(engine_wait(e, &hole), 0);
	assert_true(first.done); /* has looked again when that fetch of the folio ended */
	assert_false(second.done);
	assert_int_equal(engine_resize(e, h, 0, true), 0);
	assert_int_equal(engine_resize(e, h, 32 * BLK_BYTES, true), 0);
	gate_dev_release(e->gate, GATE_READ, 1);
	assert_int_equal(engine_wait(e, &second), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	gate_dev_open(e->gate, GATE_READ);
	engine_settle(e);
}

/* Two epochs, of which the first has failed for good and the second is being written. */
static void remove_commits_nothing_behind_a_failed_epoch(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result sync[2] = {0};
	struct result gone = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	for (uint64_t i = 0; i < ARRAY_LEN(sync); i++) {
		assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
		object_fsync(h, engine_done_cb, &sync[i]);
		engine_wait_calls(e, GATE_WRITE, writes + i + 1);
	}
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 1);
	gate_dev_release(e->gate, GATE_WRITE, 1);
	engine_wait_calls(e, GATE_WRITE, writes + 3); /* the second attempt of the first epoch */
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 3);
	gate_dev_release(e->gate, GATE_WRITE, 2);
	assert_int_equal(engine_wait(e, &sync[0]), -ERR_IO);
	assert_int_equal(engine_wait(e, &sync[1]), -ERR_IO);
	engine_wait_calls(e, GATE_WRITE, writes + 4); /* the second attempt of the second epoch */
	(void)object_close(h);
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	engine_settle(e);
	assert_false(gone.done);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &gone), 0);
	/* the removal's own record */
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 5);
	assert_int_equal(gate_dev_calls(e->gate, GATE_SYNC), syncs + 1);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The first is being committed, the second is written: the store keeps one or both. */
static void stop_with_two_closed_epochs(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint8_t byte;

	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint8_t i = 1; i <= 2; i++) {
		assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, i), 0);
		while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 1 + i)
			engine_turn(e); /* the timer closes it: data, record; data */
	}
	engine_settle(e);
	assert_int_equal(object_close(h), 0);
	gate_dev_open(e->gate, GATE_SYNC);
	engine_stop(e);
	engine_check(e);
	engine_start(e);
	h = engine_open(e, "a");
	byte = engine_blk_byte(e, h, 0);
	assert_true(byte == 1 || byte == 2);
	for (uint64_t i = 1; i < ENGINE_WRITTEN_BLKS; i++)
		assert_int_equal(engine_blk_byte(e, h, i), byte);
	assert_int_equal(object_close(h), 0);
}

/* The data, or the record. */
static void stop_while_failing(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);

	gate_dev_hold(e->gate, GATE_WRITE);
	gate_dev_fail_upto(e->gate, GATE_WRITE, UINT64_MAX);
	assert_int_equal(engine_write_blks(e, h, 0, nblks, 1), 0);
	while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 1)
		engine_turn(e); /* the timer closes it */
	assert_int_equal(object_close(h), 0);
	gate_dev_open(e->gate, GATE_WRITE);
	engine_stop(e);
	engine_check(e);
	engine_start(e);
	h = engine_open(e, "a");
	assert_int_equal(object_size(h), 0);
	assert_int_equal(object_close(h), 0);
}

static void stop_while_a_write_fails(void **state)
{
	stop_while_failing(*state, ENGINE_WRITTEN_BLKS);
}

static void stop_while_a_record_fails(void **state)
{
	stop_while_failing(*state, 1);
}

/* Makes LMDB's writes fail, since they lie beyond this offset; the device's too. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit lim;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &lim), 0);
	lim.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

/* A checkpoint is about to sync the device: what it writes next is the map. */
static void hold_before_the_fold(struct engine *e, struct result *flush)
{
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);

	gate_dev_hold(e->gate, GATE_SYNC);
	objects_flush(e->objs, engine_done_cb, flush);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
}

/* An engine that is latched is not freed: it is a process's own, and ends with it. */
static _Noreturn void remove_in_a_latched_engine(struct engine *e)
{
	struct result flush = {0};
	struct result gone = {0};
	struct handle *h;
	uint64_t writes;

	(void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion ends the process */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)alarm(HANG_S);
	engine_start(e);
	h = engine_create_open(e, "a", 0);
	hold_before_the_fold(e, &flush);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
	while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 1)
		engine_turn(e); /* the timer closes it */
	assert_int_equal(object_close(h), 0);
	limit_file_size(1);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &flush), -ERR_MAP);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(engine_create(e, "b", 0), -ERR_LATCHED);
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	engine_settle(e);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &gone), -ERR_LATCHED);
	_exit(EXIT_SUCCESS);
}

static void remove_after_the_latch_is_answered(void **state)
{
	struct engine *e = *state;
	int status = -1;
	pid_t pid;

	engine_stop(e);
	pid = fork();
	if (pid == 0)
		remove_in_a_latched_engine(e);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	engine_start(e);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
	assert_int_equal(engine_create(e, "a", 0), -ERR_EXIST); /* it was answered before */
}

#define TIMED(name)   cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(a_failure_is_told_to_all_who_wait),
	    UNTIMED(a_failure_of_small_epochs_is_told_to_all_who_wait),
	    TIMED(the_timer_writes_a_failed_epoch_again),
	    TIMED(the_timer_writes_a_small_failed_epoch_again),
	    UNTIMED(failed_syncs_cost_the_space_that_was_written),
	    UNTIMED(a_bad_block_does_not_fail_reads_of_its_neighbours),
	    UNTIMED(what_is_being_removed_cannot_be_opened),
	    UNTIMED(an_object_goes_before_its_last_fetch),
	    UNTIMED(remove_commits_nothing_behind_a_failed_epoch),
	    TIMED(stop_with_two_closed_epochs),
	    TIMED(stop_while_a_write_fails),
	    TIMED(stop_while_a_record_fails),
	    TIMED(remove_after_the_latch_is_answered),
	};

	return cmocka_run_group_tests_name("object faults", tests, NULL, NULL);
}
