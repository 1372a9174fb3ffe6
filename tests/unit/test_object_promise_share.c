/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_promise_share.c: reserved space of objects whose blocks become shared, and their own again; of
 * objects whose writing fails; and all that can happen to them, in any order.
 */
#include "tests/unit/promise_fixture.h"

struct answer {
	struct result res;
	uint32_t at;
};

static void pairs_cb(void *ctx, int err, uint32_t at)
{
	struct answer *answer = ctx;

	answer->at = at;
	engine_done_cb(&answer->res, err);
}

static int clone_all(struct engine *e, const struct object_pair *pairs, uint32_t n, uint32_t *at)
{
	struct answer answer = {.at = 99};

	object_clone_all(e->objs, pairs, n, NULL, pairs_cb, &answer);
	(void)engine_wait(e, &answer.res);
	*at = answer.at;
	return answer.res.err;
}

static void shared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	(void)len_bytes;
	(void)left_bytes;
	engine_done_cb(ctx, err);
}

static int share_bytes(struct engine *e, struct handle *dst, uint64_t dst_off, struct handle *src,
		       uint64_t src_off, uint64_t len)
{
	struct result res = {0};

	object_share(dst, dst_off, src, src_off, len, shared_cb, &res);
	return engine_wait(e, &res);
}

static int share(struct engine *e, struct handle *dst, struct handle *src, uint64_t nblks)
{
	return share_bytes(e, dst, 0, src, 0, nblks * BLK_BYTES);
}

/* "own", which owns all that it has reserved, in a store that is full; it has a version "old", of nothing. */
static struct handle *begin_full(struct engine *e)
{
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	assert_int_equal(snapshot(e, "own@old"), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, OWN, 1);
	assert_int_equal(engine_fsync(e, h), 0);
	(void)fill(e, "others");
	assert_int_equal(withheld(e, "own"), 0);
	assert_int_equal(engine_free_nblks(e), 0);
	return h;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void copies_of_it_need_what_it_would_write_anew(void **state)
{
	const struct object_pair pairs[] = {{"others", "x"}, {"own", "y"}, {"own", "own@v"}};
	struct engine *e = *state;
	struct handle *h = begin_full(e);
	struct handle *dst = engine_create_open(e, "dst", 0);
	uint32_t at;

	assert_int_equal(engine_clone(e, "own", "copy"), -ERR_NOSPC);
	assert_int_equal(snapshot(e, "own@v"), -ERR_NOSPC);
	assert_int_equal(clone_all(e, pairs, ARRAY_LEN(pairs), &at), -ERR_NOSPC);
	assert_int_equal(at, 1);
	assert_int_equal(reset(e, "own@old"), -ERR_NOSPC);
	assert_int_equal(share(e, dst, h, 1), -ERR_NOSPC);
	assert_int_equal(share_bytes(e, h, 300 * BLK_BYTES, h, 0, 5 * BLK_BYTES), -ERR_NOSPC);
	assert_false(exists(e, "copy") || exists(e, "own@v") || exists(e, "x") || exists(e, "y"));
	assert_int_equal(withheld(e, "own"), 0);
	expect_exact(e);
	write_all(e, h, OWN, 70, 2);				/* nothing has changed */
	assert_int_equal(engine_clone(e, "others", "copy"), 0); /* which has reserved nothing */

	assert_int_equal(remove_all(e, "copy"), 0);
	assert_int_equal(remove_all(e, "others"), 0);
	engine_reap(e);
	assert_int_equal(clone_all(e, pairs + 2, 1, &at), 0);
	assert_int_equal(withheld(e, "own"), OWN);
	assert_int_equal(engine_clone(e, "own", "copy"), 0); /* all is promised anew already */
	(void)fill(e, "others");
	for (uint8_t i = 3; i < 6; i++)
		write_all(e, h, OWN, 70, i);
	expect_all(e, h, OWN, 5);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(dst), 0);
	assert_int_equal(byte_of(e, "copy", 7), 2);
	expect_exact(e);
}

static void a_range_needs_as_many_blocks_as_become_shared(void **state)
{
	enum { N = 50 };
	struct engine *e = *state;
	struct handle *dst;
	struct handle *h;

	make(e, "spare", N, 9);
	h = begin_full(e);
	dst = engine_create_open(e, "dst", 0);
	assert_int_equal(remove_all(e, "spare"), 0);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), N);
	assert_int_equal(share(e, dst, h, N + 1), -ERR_NOSPC);
	assert_int_equal(share(e, dst, h, N), 0);
	assert_int_equal(withheld(e, "own"), N);
	assert_int_equal(engine_free_nblks(e), 0);
	assert_int_equal(engine_write_blk(e, dst, N, 3), -ERR_NOSPC);
	write_all(e, h, N, N, 2);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(withheld(e, "own"), 0);
	write_all(e, h, OWN, 70, 4);
	expect_all(e, dst, N, 1);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(dst), 0);
	expect_exact(e);
}

/* The old content goes to be taken apart, the new one belongs to the version. */
static void a_reset_promises_all_of_it_anew(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, 200, 50, 1);
	assert_int_equal(snapshot(e, "own@v"), 0);
	write_all(e, h, 300, 50, 2);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(withheld(e, "own"), OWN - 300);
	write_all(e, h, 10, 10, 3);
	assert_int_equal(reset(e, "own@v"), 0);
	assert_int_equal(withheld(e, "own"), OWN);
	expect_exact(e);
	(void)fill(e, "others");
	write_all(e, h, OWN, 50, 4);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

static void begin_write(struct engine *e, struct handle *h, uint64_t blk, uint64_t n, uint8_t byte,
			struct result *res)
{
	uint8_t *bytes = malloc(n * BLK_BYTES);
	struct pagevec pv;

	assert_non_null(bytes);
	memset(bytes, byte, n * BLK_BYTES);
	pv = engine_payload(e, blk * BLK_BYTES, bytes, n * BLK_BYTES);
	free(bytes);
	object_write(h, blk * BLK_BYTES, &pv, engine_done_cb, res);
}

/* Written while the clone is being made: what comes before its moment is shared, and what comes after not. */
static void what_is_written_beside_a_clone_is_counted_once(void **state)
{
	struct engine *e = *state;
	struct result cloned = {0};
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, 200, 50, 1);
	object_clone(e->objs, "own", "copy", NULL, engine_info_cb, &cloned);
	write_all(e, h, 100, 5, 2);
	assert_int_equal(engine_wait(e, &cloned), 0);
	write_all(e, h, 50, 5, 3);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
	assert_true(withheld(e, "own") >= OWN - 100);
}

/* Until the clone is there all of the promise is: what is written meanwhile is of what is free for all. */
static void beside_a_clone_nothing_is_taken_from_others(void **state)
{
	struct engine *e = *state;
	struct result cloned = {0};
	struct result beside[3] = {0};
	struct handle *other;
	struct handle *h;

	make(e, "spare", OWN + 10, 9);
	assert_int_equal(create_reserved(e, "other", OWN, OWN), 0);
	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	other = open_way(e, "other", WAY_BUFFERED);
	write_all(e, h, OWN, OWN, 1);
	assert_int_equal(engine_fsync(e, h), 0);
	(void)fill(e, "others");
	assert_int_equal(remove_all(e, "spare"), 0);
	engine_reap(e);
	engine_flush(e);
	assert_int_equal(engine_write_blk(e, h, 2 * OWN, 2), 0); /* the clone waits for it */
	gate_dev_hold(e->gate, GATE_SYNC);
	object_clone(e->objs, "own", "copy", NULL, engine_info_cb, &cloned);
	engine_wait_clone(e, h);
	for (unsigned int i = 0; i < ARRAY_LEN(beside); i++)
		begin_write(e, h, 3 * OWN + i * (OWN / 2), OWN / 2, 3, &beside[i]);
	engine_settle(e);
	assert_false(cloned.done);
	assert_false(beside[2].done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &cloned), 0);
	for (unsigned int i = 0; i < ARRAY_LEN(beside); i++)
		(void)engine_wait(e, &beside[i]);
	write_all(e, other, OWN, OWN, 5);
	assert_int_equal(engine_fsync(e, other), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(other), 0);
	expect_exact(e);
}

/* ---- counted anew ---------------------------------------------------------------------------- */

static void what_others_have_let_go_is_found_when_it_is_set(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t left;

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 50, 1);
	assert_int_equal(engine_clone(e, "own", "copy"), 0);
	assert_int_equal(remove_all(e, "copy"), 0);
	engine_reap(e);
	left = engine_free_nblks(e);
	assert_int_equal(withheld(e, "own"), OWN);
	write_all(e, h, 10, 10, 2);
	assert_int_equal(reserve(e, "own", OWN), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(withheld(e, "own"), 0);
	expect_exact(e);
	assert_true(engine_free_nblks(e) >= left + OWN - 10);
	(void)fill(e, "others");
	write_all(e, h, OWN, 50, 3);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* What it turns out to own counts when it is decided whether there is as much. */
static void what_is_owned_needs_no_space(void **state)
{
	struct engine *e = *state;
	uint64_t empty = engine_free_nblks(e);
	uint64_t n = empty / 2;
	struct handle *h;

	make(e, "own", n, 1);
	assert_int_equal(engine_clone(e, "own", "copy"), 0);
	assert_int_equal(reserve(e, "own", n), -ERR_NOSPC);
	assert_int_equal(remove_all(e, "copy"), 0);
	engine_reap(e);
	assert_int_equal(reserve(e, "own", n + 2), -ERR_NOSPC);
	assert_int_equal(withheld(e, "own"), 0); /* there is no reservation */
	assert_int_equal(reserve(e, "own", n), 0);
	assert_int_equal(withheld(e, "own"), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, n, 100, 2);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* A clone that is made while it is counted makes the count void. */
static void a_clone_comes_between(void **state)
{
	struct engine *e = *state;
	struct result reserved = {0};
	struct result cloned = {0};

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	assert_int_equal(engine_clone(e, "own", "old"), 0);
	for (int i = 0; i < 20; i++) {
		struct handle *h = open_way(e, "own", WAY_BUFFERED);

		write_all(e, h, 300, 50, (uint8_t)i);
		assert_int_equal(object_close(h), 0);
		assert_int_equal(engine_clone(e, "own", "copy"), 0);
		assert_int_equal(remove_all(e, "copy"), 0);
		engine_reap(e);
		reserved.done = false;
		cloned.done = false;
		reserve_start(e, "own", OWN, &reserved);
		for (int turn = 0; turn < i; turn++)
			engine_turn(e);
		object_clone(e->objs, "own", "copy", NULL, engine_info_cb, &cloned);
		assert_int_equal(engine_wait(e, &reserved), 0);
		assert_int_equal(engine_wait(e, &cloned), 0);
		expect_exact(e);
		assert_int_equal(withheld(e, "own"), OWN);
		assert_int_equal(remove_all(e, "copy"), 0);
	}
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The timer would write it again. */
static int setup_untimed_promise(void **state)
{
	struct engine *e;

	assert_int_equal(setup_promise(state), 0);
	e = *state;
	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	return 0;
}

static void what_fails_stays_the_objects(void **state)
{
	enum { N = 100 };
	static const enum gate_op ops[] = {GATE_WRITE, GATE_SYNC};

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		struct engine *e = *state;
		struct handle *h;

		assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
		h = open_way(e, "own", WAY_BUFFERED);
		assert_int_equal(engine_write_blks(e, h, 0, N, 1), 0);
		gate_dev_fail_upto(e->gate, ops[i], UINT64_MAX);
		assert_true(engine_fsync(e, h) < 0);
		assert_int_equal(withheld(e, "own"), OWN - N);
		assert_int_equal(engine_write_blks(e, h, N, N, 1), 0);
		assert_int_equal(withheld(e, "own"), OWN - 2 * N);
		gate_dev_fail_upto(e->gate, ops[i], 0);
		assert_int_equal(engine_fsync(e, h), 0);
		expect_exact(e);
		assert_int_equal(withheld(e, "own"), OWN - 2 * N);
		assert_int_equal(engine_write_blks(e, h, 0, N, 2), 0);
		gate_dev_fail_upto(e->gate, ops[i], UINT64_MAX);
		assert_true(engine_fsync(e, h) < 0);
		gate_dev_fail_upto(e->gate, ops[i], 0);
		(void)object_close(h);
		assert_int_equal(remove_all(e, "own"), 0); /* with what had failed */
		expect_exact(e);
		assert_int_equal(space_of(e).withheld_nblks, 0);
	}
}

/* Both places that it was written to are in quarantine, and there is no other: it is promised again. */
static void what_lacks_space_is_withheld_again(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "spare", OWN, 9);
	assert_int_equal(create_reserved(e, "own", OWN, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	write_all(e, h, OWN, 100, 1);
	assert_int_equal(withheld(e, "own"), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, UINT64_MAX);
	assert_true(engine_fsync(e, h) < 0);
	assert_int_equal(withheld(e, "own"), OWN);
	gate_dev_fail_upto(e->gate, GATE_WRITE, 0);
	assert_int_equal(remove_all(e, "spare"), 0);
	engine_reap(e);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(withheld(e, "own"), 0);
	expect_all(e, h, OWN, 1);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* What was to be placed, and could not be. */
static void a_direct_write_that_fails_gives_it_back(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	h = open_way(e, "own", WAY_DIRECT);
	gate_dev_fail_upto(e->gate, GATE_WRITE, UINT64_MAX);
	assert_int_equal(engine_write_blks(e, h, 0, 40, 1), -ERR_IO);
	assert_int_equal(withheld(e, "own"), OWN);
	gate_dev_fail_upto(e->gate, GATE_WRITE, 0);
	assert_int_equal(engine_write_blks(e, h, 0, 40, 1), 0);
	assert_int_equal(withheld(e, "own"), OWN - 40);
	assert_int_equal(engine_write_blks(e, h, 0, 40, 2), 0);
	assert_int_equal(withheld(e, "own"), OWN - 40);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* What is on its way to the device counts, though nothing is dirty yet. */
static void what_is_being_placed_is_not_withheld(void **state)
{
	struct engine *e = *state;
	struct result written = {0};
	uint8_t *bytes = calloc(40, BLK_BYTES);
	struct pagevec pv;
	struct handle *h;

	assert_non_null(bytes);
	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	h = open_way(e, "own", WAY_DIRECT);
	gate_dev_hold(e->gate, GATE_WRITE);
	pv = engine_payload(e, 0, bytes, 40 * BLK_BYTES);
	object_write(h, 0, &pv, engine_done_cb, &written);
	engine_settle(e);
	assert_false(written.done);
	assert_int_equal(withheld(e, "own"), OWN - 40);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &written), 0);
	assert_int_equal(withheld(e, "own"), OWN - 40);
	free(bytes);
	assert_int_equal(object_close(h), 0);
	expect_exact(e);
}

/* A write within what is withheld passes those who wait for space that it would not take from them. */
static void the_owner_does_not_wait_behind_others(void **state)
{
	struct engine *e = *state;
	struct result other = {0};
	struct handle *others;
	struct handle *h;
	struct pagevec pv;
	uint8_t bytes[BLK_BYTES] = {0};
	uint64_t syncs;

	assert_int_equal(create_reserved(e, "own", 0, OWN), 0);
	(void)fill(e, "others");
	h = open_way(e, "own", WAY_BUFFERED);
	others = open_way(e, "others", WAY_BUFFERED);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	pv = engine_payload(e, 0, bytes, BLK_BYTES);
	object_write(others, 0, &pv, engine_done_cb, &other);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	assert_false(other.done);
	write_all(e, h, 100, 10, 2);
	assert_false(other.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &other), -ERR_NOSPC);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(others), 0);
	expect_exact(e);
}

/* ---- in any order ---------------------------------------------------------------------------- */

#define RANDOM_OBJS 4u

struct random_run {
	struct engine *e;
	uint64_t rng;
	char names[RANDOM_OBJS][8];
};

static uint64_t random_below(struct random_run *r, uint64_t below)
{
	r->rng = r->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (r->rng >> 33) % below;
}

static const char *random_name(struct random_run *r)
{
	return r->names[random_below(r, RANDOM_OBJS)];
}

static void random_content(struct random_run *r)
{
	uint64_t blk = random_below(r, 300);
	uint64_t n = 1 + random_below(r, 80);
	unsigned int flags = random_below(r, 2) ? OBJECT_DIRECT : 0;
	struct handle *h;
	struct handle *to;

	if (open_as(r->e, random_name(r), flags, &h) < 0)
		return;
	switch (random_below(r, 6)) {
	case 0:
		(void)engine_zero(r->e, h, blk * BLK_BYTES + 5, n * BLK_BYTES, blk % 2);
		break;
	case 1:
		(void)engine_resize(r->e, h, blk * BLK_BYTES, true);
		break;
	case 2:
		if (open_as(r->e, random_name(r), 0, &to) == 0) {
			(void)share_bytes(r->e, to, random_below(r, 300) * BLK_BYTES + blk % 2, h,
					  blk * BLK_BYTES + blk % 2, n * BLK_BYTES);
			assert_int_equal(object_close(to), 0);
		}
		break;
	default:
		(void)engine_write_blks(r->e, h, blk, n, (uint8_t)n);
	}
	if (random_below(r, 4) == 0)
		assert_int_equal(engine_fsync(r->e, h), 0);
	assert_int_equal(object_close(h), 0);
}

static void random_names(struct random_run *r)
{
	const char *name = random_name(r);
	char version[16];

	(void)snprintf(version, sizeof(version), "%s@v", name);
	switch (random_below(r, 8)) {
	case 0:
		(void)snapshot(r->e, version);
		break;
	case 1:
		(void)engine_remove(r->e, version);
		break;
	case 2:
		(void)reset(r->e, version);
		break;
	case 3:
		(void)remove_all(r->e, name);
		break;
	case 4:
		(void)engine_clone(r->e, random_name(r), name);
		break;
	case 5:
		(void)create_reserved(r->e, name, 0, random_below(r, 300));
		break;
	default:
		(void)reserve(r->e, name, random_below(r, 400));
	}
}

static void whatever_happens_it_is_exact_in_the_end(void **state)
{
	struct random_run r = {.e = *state, .rng = 5};

	for (uint32_t i = 0; i < RANDOM_OBJS; i++)
		(void)snprintf(r.names[i], sizeof(r.names[i]), "o%u", i);
	for (int i = 0; i < 600; i++) {
		if (random_below(&r, 2))
			random_content(&r);
		else
			random_names(&r);
		if (i % 40 == 0)
			expect_exact(r.e);
		if (i % 150 == 0)
			engine_restart(r.e);
		if (i % 200 == 0)
			crash(r.e);
	}
	expect_exact(r.e);
	engine_remove_all(r.e);
	engine_reap(r.e);
	assert_int_equal(space_of(r.e).withheld_nblks, 0);
	assert_int_equal(space_of(r.e).map.reserved_nblks, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_promise, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(copies_of_it_need_what_it_would_write_anew),
	    TEST(a_range_needs_as_many_blocks_as_become_shared),
	    TEST(a_reset_promises_all_of_it_anew),
	    TEST(what_is_written_beside_a_clone_is_counted_once),
	    TEST(beside_a_clone_nothing_is_taken_from_others),
	    TEST(what_others_have_let_go_is_found_when_it_is_set),
	    TEST(what_is_owned_needs_no_space),
	    TEST(a_clone_comes_between),
	    cmocka_unit_test_setup_teardown(what_fails_stays_the_objects, setup_untimed_promise,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(what_lacks_space_is_withheld_again,
					    setup_untimed_promise, engine_teardown),
	    TEST(a_direct_write_that_fails_gives_it_back),
	    TEST(what_is_being_placed_is_not_withheld),
	    cmocka_unit_test_setup_teardown(the_owner_does_not_wait_behind_others,
					    setup_untimed_promise, engine_teardown),
	    TEST(whatever_happens_it_is_exact_in_the_end),
	};

	return cmocka_run_group_tests_name("object_promise_share", tests, NULL, NULL);
}
