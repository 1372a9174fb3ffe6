/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_fetch.c: what comes from the device is verified, holes are told apart, and barriers pass
 * when what was begun before them has ended.
 */
#include "server/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/test_store.h"

#define DEV_NBLKS  1024u
#define META_BYTES (UINT64_C(4) << 20)
#define UNTOUCHED  0x5a
#define SEED	   11u

struct fixture {
	struct test_store *ts;
	struct fetcher fetcher;
	uint64_t oid;
};

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	if (!fx)
		return -1;
	fx->ts = test_store_open(DEV_NBLKS, META_BYTES);
	fetcher_init(&fx->fetcher, fx->ts->map, &fx->ts->fdev->dev, fx->ts->workers);
	fx->oid = test_store_create(fx->ts, "object", UINT64_C(1) << 40);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	test_store_close(fx->ts);
	free(fx);
	return 0;
}

/* One fetch with buffers of its own. */
struct request {
	struct fetch fetch;
	bool installed;
	bool ended;
	unsigned int ndone;
	uint8_t bufs[FETCH_MAX_BLKS][BLK_BYTES];
};

static void request_done(struct fetch *fetch)
{
	struct request *req = CONTAINER_OF(fetch, struct request, fetch);

	req->ended = true;
	req->ndone++;
}

static void request_install(struct fetch *fetch)
{
	CONTAINER_OF(fetch, struct request, fetch)->installed = true;
}

/* Blocks that are not wanted have no buffer at all. */
static struct request *request_new(struct fixture *fx, uint64_t blk, uint32_t want)
{
	struct request *req = calloc(1, sizeof(*req));

	assert_non_null(req);
	memset(req->bufs, UNTOUCHED, sizeof(req->bufs));
	req->fetch.oid = fx->oid;
	req->fetch.blk = lblk(blk);
	req->fetch.want = want;
	req->fetch.install = request_install;
	req->fetch.done = request_done;
	for (uint32_t i = 0; i < FETCH_MAX_BLKS; i++)
		if (want & 1u << i)
			req->fetch.bufs[i] = req->bufs[i];
	return req;
}

static struct request *request_start(struct fixture *fx, uint64_t blk, uint32_t want)
{
	struct request *req = request_new(fx, blk, want);

	fetch_start(&fx->fetcher, &req->fetch);
	assert_false(req->ended);
	return req;
}

static struct request *request_run(struct fixture *fx, uint64_t blk, uint32_t want)
{
	struct request *req = request_start(fx, blk, want);

	test_store_run_flag(fx->ts, &req->ended);
	assert_int_equal(req->ndone, 1);
	return req;
}

static void assert_untouched(const struct request *req, uint32_t i)
{
	for (uint32_t at = 0; at < BLK_BYTES; at++)
		assert_int_equal(req->bufs[i][at], UNTOUCHED);
}

static void assert_block(const struct request *req, uint32_t i)
{
	uint8_t want[BLK_BYTES];

	test_pattern(want, SEED, lblk(req->fetch.blk.n + i));
	assert_memory_equal(req->bufs[i], want, BLK_BYTES);
}

/* ---- what is brought ------------------------------------------------------------------------- */

static void test_holes_are_flagged_and_untouched(void **state)
{
	struct fixture *fx = *state;
	struct request *req = request_run(fx, 64, UINT32_MAX);

	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.holes, UINT32_MAX);
	for (uint32_t i = 0; i < FETCH_MAX_BLKS; i++)
		assert_untouched(req, i);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_READ), 0);
	free(req);
}

static void test_last_block_of_an_object_may_be_asked_for(void **state)
{
	struct fixture *fx = *state;
	struct request *req = request_run(fx, BLK_OBJECT_MAX - 1, 1);

	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.holes, 1);
	free(req);
}

static void test_mapped_blocks_are_read_in_one_piece(void **state)
{
	struct fixture *fx = *state;
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(32), pblk(100), 32, SEED);
	req = request_run(fx, 32, UINT32_MAX);
	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.holes, 0);
	for (uint32_t i = 0; i < FETCH_MAX_BLKS; i++)
		assert_block(req, i);
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_READ), 1);
	free(req);
}

static void test_fetch_across_a_leaf_boundary(void **state)
{
	struct fixture *fx = *state;
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(MAP_FANOUT - 8), pblk(100), 16, SEED);
	req = request_run(fx, MAP_FANOUT - 8, 0xffff);
	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.holes, 0);
	for (uint32_t i = 0; i < 16; i++)
		assert_block(req, i);
	free(req);
}

/* Physical pieces out of order, holes, and blocks that are not wanted, in one request. */
static void test_mixture(void **state)
{
	struct fixture *fx = *state;
	static const uint32_t masks[] = {UINT32_MAX, 1,		  0x80000000, 0x55555555,
					 0xaaaaaaaa, 0x00ffff00,  0xf0003c0f, 0x0fffc3f0,
					 0x00000c06, 0x80000001u, 0x18001008};
	const uint32_t mapped = 0xf0003c0fu;
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(300), 4, SEED);
	test_store_map(fx->ts, fx->oid, lblk(10), pblk(200), 2, SEED);
	test_store_map(fx->ts, fx->oid, lblk(12), pblk(150), 2, SEED);
	test_store_map(fx->ts, fx->oid, lblk(28), pblk(400), 4, SEED);
	for (size_t m = 0; m < ARRAY_LEN(masks); m++) {
		uint32_t want = masks[m];

		req = request_run(fx, 0, want);
		assert_int_equal(req->fetch.err, 0);
		assert_int_equal(req->fetch.holes, want & ~mapped);
		for (uint32_t i = 0; i < FETCH_MAX_BLKS; i++) {
			if (want & mapped & 1u << i)
				assert_block(req, i);
			else
				assert_untouched(req, i);
		}
		free(req);
	}
}

static void test_every_flipped_byte_is_an_error(void **state)
{
	static const uint32_t offs[] = {0, 1, 2047, 4094, 4095};
	struct fixture *fx = *state;
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 8, SEED);
	for (size_t i = 0; i < ARRAY_LEN(offs); i++) {
		for (uint32_t blk = 0; blk < 8; blk++) {
			fake_dev_flip(fx->ts->fdev, pblk(100 + blk), offs[i]);
			req = request_run(fx, 0, 0xff);
			assert_int_equal(req->fetch.err, -ERR_CSUM);
			free(req);
			fake_dev_flip(fx->ts->fdev, pblk(100 + blk), offs[i]);
		}
	}
	req = request_run(fx, 0, 0xff);
	assert_int_equal(req->fetch.err, 0);
	free(req);
}

static void test_block_of_another_place_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct request *req;
	uint8_t buf[BLK_BYTES];

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 2, SEED);
	test_pattern(buf, SEED, lblk(1));
	fake_dev_put(fx->ts->fdev, pblk(100), buf);
	req = request_run(fx, 0, 3);
	assert_int_equal(req->fetch.err, -ERR_CSUM);
	free(req);
	/* what is not asked for is not looked at */
	req = request_run(fx, 0, 2);
	assert_int_equal(req->fetch.err, 0);
	assert_block(req, 1);
	free(req);
}

static void test_read_error_of_any_piece_is_returned(void **state)
{
	struct fixture *fx = *state;
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 2, SEED);
	test_store_map(fx->ts, fx->oid, lblk(4), pblk(200), 2, SEED);
	test_store_map(fx->ts, fx->oid, lblk(8), pblk(300), 2, SEED);
	for (uint32_t nth = 1; nth <= 3; nth++) {
		fake_dev_fail(fx->ts->fdev, FAKE_READ, nth, 1, -ERR_SHORT_IO);
		req = request_run(fx, 0, 0x3ff);
		assert_int_equal(req->fetch.err, -ERR_SHORT_IO);
		free(req);
	}
	fake_dev_fail(fx->ts->fdev, FAKE_READ, 1, 0, 0);
	req = request_run(fx, 0, 0x3ff);
	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.holes, 0xcc);
	free(req);
}

static void test_unknown_object_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct request *req;

	fx->oid += 1000;
	req = request_run(fx, 0, 1);
	assert_int_equal(req->fetch.err, -ERR_NOENT);
	free(req);
}

static void heap_request_done(struct fetch *fetch)
{
	struct request *req = CONTAINER_OF(fetch, struct request, fetch);

	*(bool *)(void *)req->fetch.bufs[1] = true;
	free(req);
}

static void test_done_may_free_the_fetch(void **state)
{
	struct fixture *fx = *state;
	struct request *req = request_start(fx, 0, 1);
	bool ended = false;

	req->fetch.done = heap_request_done;
	req->fetch.bufs[1] = (uint8_t *)&ended; /* not wanted, so nobody's */
	test_store_run_flag(fx->ts, &ended);
}

/* ---- what is not read ------------------------------------------------------------------------ */

/* Blocks 0 to 7 are mapped, and 2 to 5 are in memory. */
static struct blkcache *some_in_memory(struct fixture *fx)
{
	struct blkcache *bc = blkcache_new(64, DEV_NBLKS);

	assert_non_null(bc);
	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 8, SEED);
	for (uint64_t i = 2; i < 6; i++) {
		struct page *page = test_page(fx->ts, SEED, lblk(i));

		blkcache_insert(bc, pblk(100 + i), page);
		page_put(page);
	}
	return bc;
}

static struct request *request_cached(struct fixture *fx, const struct blkcache *bc, uint32_t want,
				      uint32_t force)
{
	struct request *req = request_new(fx, 0, want);

	req->fetch.cached = bc;
	req->fetch.force = force;
	fetch_start(&fx->fetcher, &req->fetch);
	return req;
}

static void test_what_is_in_memory_is_not_read(void **state)
{
	struct fixture *fx = *state;
	struct blkcache *bc = some_in_memory(fx);
	struct request *req = request_cached(fx, bc, 0x1ff, 0);

	test_store_run_flag(fx->ts, &req->ended);
	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.read, 0xc3);
	assert_int_equal(req->fetch.holes, 0x100);
	assert_int_equal(req->fetch.rival, 0);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(req->fetch.src[i].n, 100 + i);
		if (0xc3 & 1u << i)
			assert_block(req, i);
		else
			assert_untouched(req, i);
	}
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_READ), 2);
	free(req);
	blkcache_free(bc);
}

static void test_forced_blocks_are_read_all_the_same(void **state)
{
	struct fixture *fx = *state;
	struct blkcache *bc = some_in_memory(fx);
	struct request *req;

	blkcache_pin(bc, pblk(105), 1); /* but for what the device does not have */
	req = request_cached(fx, bc, 0xff, 0x38);
	test_store_run_flag(fx->ts, &req->ended);
	assert_int_equal(req->fetch.read, 0xdb);
	assert_block(req, 3);
	assert_untouched(req, 2);
	assert_untouched(req, 5);
	free(req);
	blkcache_free(bc);
}

struct follower {
	struct fetch_follower follower;
	struct request *rival;
	bool went;
};

static void follower_go(struct fetch_follower *f)
{
	struct follower *follower = CONTAINER_OF(f, struct follower, follower);

	/* behind the install, before the rival's own end */
	assert_true(follower->rival->installed);
	assert_false(follower->rival->ended);
	follower->went = true;
}

static void test_what_another_reads_can_be_followed(void **state)
{
	struct fixture *fx = *state;
	struct follower follower = {.follower.go = follower_go};
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 8, SEED);
	fake_dev_hold(fx->ts->fdev, FAKE_READ);
	follower.rival = request_start(fx, 2, 3);
	fake_dev_wait_calls(fx->ts->fdev, FAKE_READ, 1);
	req = request_start(fx, 2, 2); /* all of it is being read: ends without the device */
	test_store_run_flag(fx->ts, &req->ended);
	assert_int_equal(req->fetch.err, 0);
	assert_int_equal(req->fetch.read | req->fetch.holes, 0);
	assert_true(req->fetch.rival != 0);
	assert_true(fetch_follow(&fx->fetcher, req->fetch.rival, &follower.follower));
	assert_false(follower.went);
	fake_dev_open_gate(fx->ts->fdev, FAKE_READ);
	test_store_run_flag(fx->ts, &follower.rival->ended);
	assert_true(follower.went);
	assert_false(fetch_follow(&fx->fetcher, req->fetch.rival, &follower.follower));
	assert_int_equal(fake_dev_calls(fx->ts->fdev, FAKE_READ), 1);
	free(follower.rival);
	free(req);
	req = request_run(fx, 2, 2); /* there is no claim on it any more */
	assert_block(req, 1);
	free(req);
}

/* ---- barriers -------------------------------------------------------------------------------- */

struct barrier {
	struct fetch_entry entry;
	bool passed;
};

static void barrier_passed(struct fetch_entry *entry)
{
	struct barrier *barrier = CONTAINER_OF(entry, struct barrier, entry);

	assert_false(barrier->passed);
	barrier->passed = true;
}

static void barrier_set(struct fixture *fx, struct barrier *barrier)
{
	barrier->passed = false;
	fetch_barrier(&fx->fetcher, &barrier->entry, barrier_passed);
}

static void test_barrier_passes_at_once_without_fetches(void **state)
{
	struct fixture *fx = *state;
	struct barrier barrier;
	struct request *req;

	barrier_set(fx, &barrier);
	assert_true(barrier.passed);
	req = request_run(fx, 0, 1);
	free(req);
	barrier_set(fx, &barrier);
	assert_true(barrier.passed);
}

static void test_barrier_waits_for_older_fetches_only(void **state)
{
	struct fixture *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	struct barrier first;
	struct barrier second;
	struct request *older;
	struct request *newer;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 2, SEED);
	fake_dev_hold(fd, FAKE_READ);
	older = request_start(fx, 0, 1);
	fake_dev_wait_calls(fd, FAKE_READ, 1); /* it is the one that is released first */
	barrier_set(fx, &first);
	newer = request_start(fx, 1, 1);
	barrier_set(fx, &second);
	assert_false(first.passed || second.passed);
	fake_dev_wait_calls(fd, FAKE_READ, 2);
	fake_dev_release(fd, FAKE_READ, 1);
	test_store_run_flag(fx->ts, &first.passed);
	assert_true(older->ended);
	assert_false(newer->ended || second.passed);
	fake_dev_release(fd, FAKE_READ, 1);
	test_store_run_flag(fx->ts, &second.passed);
	assert_true(newer->ended);
	free(older);
	free(newer);
}

static void test_all_barriers_behind_one_fetch_are_passed(void **state)
{
	struct fixture *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	struct barrier barriers[2];
	struct request *req;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 1, SEED);
	fake_dev_hold(fd, FAKE_READ);
	req = request_start(fx, 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(barriers); i++) {
		barrier_set(fx, &barriers[i]);
		assert_false(barriers[i].passed);
	}
	fake_dev_open_gate(fd, FAKE_READ);
	test_store_run_flag(fx->ts, &req->ended);
	for (size_t i = 0; i < ARRAY_LEN(barriers); i++)
		assert_true(barriers[i].passed);
	free(req);
}

static void test_barrier_is_not_passed_by_a_younger_fetch(void **state)
{
	struct fixture *fx = *state;
	struct fake_dev *fd = fx->ts->fdev;
	struct barrier barrier;
	struct request *slow;
	struct request *fast;

	test_store_map(fx->ts, fx->oid, lblk(0), pblk(100), 1, SEED);
	fake_dev_hold(fd, FAKE_READ);
	slow = request_start(fx, 0, 1);
	fast = request_start(fx, 5, 1); /* a hole: needs no device */
	barrier_set(fx, &barrier);
	test_store_run_flag(fx->ts, &fast->ended);
	assert_false(slow->ended || barrier.passed);
	fake_dev_open_gate(fd, FAKE_READ);
	test_store_run_flag(fx->ts, &barrier.passed);
	assert_true(slow->ended);
	free(slow);
	free(fast);
}

struct barrier_from_done {
	struct request *req;
	struct fixture *fx;
	struct barrier barrier;
	bool passed_inside;
};

static struct barrier_from_done from_done;

static void done_sets_barrier(struct fetch *fetch)
{
	assert_ptr_equal(fetch, &from_done.req->fetch);
	barrier_set(from_done.fx, &from_done.barrier);
	from_done.passed_inside = from_done.barrier.passed;
	from_done.req->ended = true;
}

/* The fetch that has ended is no longer in the way of a barrier set by its callback. */
static void test_barrier_from_the_last_done(void **state)
{
	struct fixture *fx = *state;

	from_done = (struct barrier_from_done){.fx = fx};
	from_done.req = request_start(fx, 0, 1);
	from_done.req->fetch.done = done_sets_barrier;
	test_store_run_flag(fx->ts, &from_done.req->ended);
	assert_true(from_done.passed_inside);
	free(from_done.req);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_holes_are_flagged_and_untouched, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_last_block_of_an_object_may_be_asked_for, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_mapped_blocks_are_read_in_one_piece, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_fetch_across_a_leaf_boundary, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mixture, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_every_flipped_byte_is_an_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_block_of_another_place_is_an_error, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_read_error_of_any_piece_is_returned, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_unknown_object_is_an_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_done_may_free_the_fetch, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_in_memory_is_not_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_forced_blocks_are_read_all_the_same, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_what_another_reads_can_be_followed, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_barrier_passes_at_once_without_fetches, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_barrier_waits_for_older_fetches_only, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_all_barriers_behind_one_fetch_are_passed, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_barrier_is_not_passed_by_a_younger_fetch, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_barrier_from_the_last_done, setup, teardown),
	};

	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
