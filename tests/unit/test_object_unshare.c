/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unsharing in the engine: what the map says afterwards, and what was left alone; how far one call
 * comes; beside writes; without space; what fails on the way; after a crash.
 */
#include "tests/unit/object_map_fixture.h"

#define NBLKS 12u
#define K     BLK_BYTES

struct unshared {
	struct result res;
	uint64_t len;
	uint64_t left;
	uint64_t copied;
};

static void unshared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes,
			uint64_t copied_nblks)
{
	struct unshared *u = ctx;

	u->len = len_bytes;
	u->left = left_bytes;
	u->copied = copied_nblks;
	engine_done_cb(&u->res, err);
}

static void begin(struct unshared *u, struct handle *h, uint64_t off, uint64_t len)
{
	*u = (struct unshared){0};
	object_unshare(h, off, len, unshared_cb, u);
}

/* To the end of the range: how many blocks were copied, or an error. */
static int64_t unshare_all(struct engine *e, struct handle *h, uint64_t off, uint64_t len)
{
	struct unshared u = {.left = len};
	int64_t copied = 0;
	int err = 0;

	while (err == 0 && u.left > 0) {
		begin(&u, h, off, u.left);
		err = engine_wait(e, &u.res);
		assert_true(err < 0 || u.len > 0 || u.left == 0);
		off += u.len;
		copied += (int64_t)u.copied;
	}
	return err < 0 ? err : copied;
}

/* Block b of it is all 1 + b; it has a clone "b". */
static struct handle *make_shared(struct engine *e, uint64_t nblks)
{
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint64_t i = 0; i < nblks; i++)
		assert_int_equal(engine_write_blk(e, h, i, (uint8_t)(1 + i)), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* with nothing in memory */
	return engine_open(e, "a");
}

static void assert_whole(struct engine *e, const char *name, uint64_t nblks)
{
	struct handle *h;
	uint8_t *data = malloc((nblks + 1) * K);

	assert_non_null(data);
	assert_int_equal(open_as(e, name, true, &h), 0);
	assert_int_equal(engine_read(e, h, 0, data, (nblks + 1) * K), nblks * K);
	for (uint64_t i = 0; i < nblks * K; i++)
		if (data[i] != (uint8_t)(1 + i / K))
			fail_msg("%s: byte %u is %02x", name, (unsigned int)i, data[i]);
	free(data);
	assert_int_equal(object_close(h), 0);
}

static void exclusive_cb(void *ctx, int err, const struct object_usage *usage)
{
	struct result *res = ctx;

	if (err == 0)
		res->space.total_nblks = usage->exclusive_nblks;
	engine_done_cb(ctx, err);
}

static uint64_t exclusive(struct engine *e, const char *name)
{
	struct result res = {0};

	object_usage(e->objs, &name, 1, exclusive_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.space.total_nblks;
}

/* ---- what is there afterwards ---------------------------------------------------------------- */

static void what_is_shared_becomes_its_own(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	struct handle *b = engine_open(e, "b");
	uint64_t before = engine_free_nblks(e);
	struct map_obj was, is;

	EXPECT(e, h, "SSSSSSSSSSSS");
	assert_int_equal(exclusive(e, "a"), 0);
	assert_int_equal(info_of(e, "a", &was), 0);
	assert_int_equal(unshare_all(e, h, 0, UINT64_MAX), NBLKS);
	EXPECT(e, h, "DDDDDDDDDDDD");
	EXPECT(e, b, "SSSSSSSSSSSS");
	assert_int_equal(engine_free_nblks(e), before - NBLKS);
	applied(e, h);
	EXPECT(e, h, "EEEEEEEEEEEE");
	EXPECT(e, b, "EEEEEEEEEEEE");
	assert_int_equal(exclusive(e, "a"), NBLKS);
	assert_int_equal(exclusive(e, "b"), NBLKS);
	assert_int_equal(unshare_all(e, h, 0, UINT64_MAX), 0);
	assert_int_equal(info_of(e, "a", &is), 0);
	assert_int_equal(is.generation, was.generation);
	assert_int_equal(is.mtime_ns, was.mtime_ns);
	assert_int_equal(is.size_bytes, was.size_bytes);
	assert_int_equal(is.mapped_nblks, was.mapped_nblks);
	assert_whole(e, "a", NBLKS);
	assert_whole(e, "b", NBLKS);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(b), 0);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), before - NBLKS);
	engine_restart(e);
	assert_whole(e, "a", NBLKS);
	assert_whole(e, "b", NBLKS);
}

/* What is dirty is not copied, a hole stays one, in the map and before; and blocks are whole ones. */
static void only_what_is_shared_is_copied(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);

	assert_int_equal(engine_zero(e, h, 2 * K, K, false), 0);
	assert_int_equal(engine_write_blk(e, h, 3, 4), 0);
	applied(e, h);
	assert_int_equal(engine_zero(e, h, 5 * K, K, false), 0);
	assert_int_equal(engine_write_blk(e, h, 6, 7), 0);
	assert_int_equal(engine_resize(e, h, 20 * K, false), 0);
	EXPECT(e, h, "SS.ESoDSSSSS........");
	assert_int_equal(unshare_all(e, h, K + 1, 7 * K), 4);
	EXPECT(e, h, "SD.EDoDDDSSS........");
	assert_int_equal(unshare_all(e, h, 10 * K - 1, 1), 1);
	assert_int_equal(unshare_all(e, h, 10 * K, 1), 1);
	EXPECT(e, h, "SD.EDoDDDDDS........");
	assert_int_equal(unshare_all(e, h, 20 * K, 1), 0);
	assert_int_equal(unshare_all(e, h, UINT64_MAX, UINT64_MAX), 0);
	assert_int_equal(unshare_all(e, h, 0, 0), 0);
	applied(e, h);
	EXPECT(e, h, "SE.EE.EEEEES........");
	assert_int_equal(engine_blk_byte(e, h, 2), 0);
	assert_int_equal(engine_blk_byte(e, h, 5), 0);
	assert_int_equal(engine_blk_byte(e, h, 9), 10);
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "b", NBLKS);
}

/* While it is on its way it is in no place that another could share. */
static void what_is_staged_is_left_alone(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result synced = {0};

	assert_int_equal(engine_write_blk(e, h, 3, 4), 0);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_fsync(h, engine_done_cb, &synced);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	assert_int_equal(unshare_all(e, h, 2 * K, 3 * K), 2);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &synced), 0);
	applied(e, h);
	EXPECT(e, h, "SSEEESSSSSSS");
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", NBLKS);
}

/* The last block, which the object has in part. */
static void an_end_within_a_block(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	struct unshared u;

	assert_int_equal(engine_resize(e, h, NBLKS * K - 100, true), 0);
	applied(e, h);
	assert_int_equal(engine_clone(e, "a", "c"), 0);
	begin(&u, h, 10 * K + 5, 5 * K);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.len, 2 * K - 105);
	assert_int_equal(u.left, 0);
	assert_int_equal(u.copied, 2);
	applied(e, h);
	EXPECT(e, h, "SSSSSSSSSSEE");
	assert_int_equal(object_close(h), 0);
}

static void shared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	assert_int_equal(len_bytes, 2 * K);
	assert_int_equal(left_bytes, 0);
	engine_done_cb(ctx, err);
}

/* One block in two places of one object, of which each gets its own. */
static void what_an_object_shares_with_itself(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result shared = {0};

	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(engine_write_blk(e, h, i, (uint8_t)(1 + i)), 0);
	object_share(h, 3 * K, h, 0, 2 * K, shared_cb, &shared);
	assert_int_equal(engine_wait(e, &shared), 0);
	EXPECT(e, h, "SSESS");
	assert_int_equal(unshare_all(e, h, 0, UINT64_MAX), 4);
	applied(e, h);
	EXPECT(e, h, "EEEEE");
	assert_int_equal(engine_blk_byte(e, h, 3), 1);
	assert_int_equal(engine_blk_byte(e, h, 4), 2);
	assert_int_equal(object_close(h), 0);
}

/* Written, and not acknowledged as durable: it may be lost, and the content is the same. */
static void after_a_crash(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);

	assert_int_equal(unshare_all(e, h, 0, 5 * K), 5);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(unshare_all(e, h, 5 * K, 5 * K), 5);
	(void)object_close(h);
	crash(e);
	h = engine_open(e, "a");
	EXPECT(e, h, "EEEEESSSSSSS");
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", NBLKS);
	assert_whole(e, "b", NBLKS);
	assert_int_equal(engine_remove(e, "b"), 0);
	engine_reap(e);
	assert_whole(e, "a", NBLKS);
}

/* ---- large ones ------------------------------------------------------------------------------ */

/* One call copies so much and no more, and says so; the cache may be smaller than all of it. */
static void a_large_one_goes_in_parts(void **state)
{
	enum { N = 1300 };
	struct engine *e = *state;
	struct handle *h = make_shared(e, N);
	struct unshared u;

	begin(&u, h, 100, UINT64_MAX);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.copied, 512);
	assert_int_equal(u.len, 512 * K - 100);
	assert_int_equal(u.left, (N - 512) * K);
	assert_int_equal(unshare_all(e, h, 100 + u.len, u.left), N - 512);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(exclusive(e, "a"), N);
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", N);
	assert_whole(e, "b", N);
}

/* Scattered: every second block is shared, in more places than one call has. */
static void a_scattered_one_goes_in_parts(void **state)
{
	enum { N = 300 };
	struct engine *e = *state;
	struct handle *h = make_shared(e, N);
	struct unshared u;

	for (uint64_t i = 0; i < N; i += 2)
		assert_int_equal(engine_write_blk(e, h, i, (uint8_t)(1 + i)), 0);
	applied(e, h);
	begin(&u, h, 0, UINT64_MAX);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.copied, 64);
	assert_int_equal(u.len, 129 * K);
	assert_int_equal(unshare_all(e, h, u.len, u.left), N / 2 - 64);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(exclusive(e, "a"), N);
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", N);
}

/* ---- beside others --------------------------------------------------------------------------- */

static void write_later(struct engine *e, struct handle *h, uint64_t blk, uint8_t byte,
			struct result *res)
{
	uint8_t data[K];
	struct pagevec pv;

	memset(data, byte, sizeof(data));
	pv = engine_payload(e, blk * K, data, sizeof(data));
	object_write(h, blk * K, &pv, engine_done_cb, res);
}

/*
 * Before the blocks are read, and while they are, some of them change: these are not touched, on their way
 * to the device, there already or not.
 */
static void changes_meanwhile(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	struct result res[5] = {0};
	uint64_t reads = gate_dev_calls(e->gate, GATE_READ);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	uint64_t before = engine_free_nblks(e);
	uint8_t data[K];
	struct pagevec pv;
	struct unshared u;

	gate_dev_hold(e->gate, GATE_READ);
	gate_dev_hold(e->gate, GATE_SYNC);
	begin(&u, h, 0, 9 * K);
	object_zero(h, 5 * K, K, false, engine_done_cb, &res[4]);
	assert_true(res[4].done);
	engine_wait_calls(e, GATE_READ, reads + 1);
	write_later(e, h, 1, 77, &res[0]);
	object_zero(h, 3 * K, 2 * K, false, engine_done_cb, &res[1]);
	write_later(e, h, 4, 88, &res[2]);
	object_resize(h, 7 * K, true, engine_done_cb, &res[3]);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(engine_wait(e, &res[i]), 0);
	res[0].done = false;
	object_fsync(h, engine_done_cb, &res[0]);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	memset(data, 7, sizeof(data));
	pv = engine_payload(e, 6 * K, data, sizeof(data));
	res[1].done = false;
	object_write_direct(h, 6 * K, &pv, engine_done_cb, &res[1]);
	assert_int_equal(engine_wait(e, &res[1]), 0);
	assert_false(u.res.done);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.copied, 2);
	EXPECT(e, h, "DDDoDoD");
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &res[0]), 0);
	assert_int_equal(engine_free_nblks(e), before - 5);
	applied(e, h);
	EXPECT(e, h, "EEE.E.E");
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(engine_blk_byte(e, h, 1), 77);
	assert_int_equal(engine_blk_byte(e, h, 3), 0);
	assert_int_equal(engine_blk_byte(e, h, 4), 88);
	assert_int_equal(engine_blk_byte(e, h, 6), 7);
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "b", NBLKS);
}

/* They take turns, those that find nothing to do included. */
static void many_at_once(void **state)
{
	enum { N = 300 };
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	struct unshared *u = calloc(N, sizeof(*u));
	uint64_t reads = gate_dev_calls(e->gate, GATE_READ);
	struct result cut = {0};
	uint64_t copied = 0;

	assert_non_null(u);
	gate_dev_hold(e->gate, GATE_READ);
	begin(&u[0], h, 0, 2 * K);
	engine_wait_calls(e, GATE_READ, reads + 1);
	for (uint64_t i = 1; i < N; i++)
		begin(&u[i], h, i % NBLKS * K, 2 * K);
	object_resize(h, 6 * K, true, engine_done_cb, &cut);
	assert_int_equal(engine_wait(e, &cut), 0);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_READ), reads + 1);
	gate_dev_open(e->gate, GATE_READ);
	for (uint64_t i = 0; i < N; i++) {
		assert_int_equal(engine_wait(e, &u[i].res), 0);
		assert_int_equal(u[i].left, 0);
		copied += u[i].copied;
	}
	assert_int_equal(copied, 6);
	free(u);
	assert_int_equal(object_close(h), 0);
}

static void counted_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes,
		       uint64_t copied_nblks)
{
	uint64_t *count = ctx;

	assert_true(err == 0 && len_bytes == 0 && left_bytes == 0 && copied_nblks == 0);
	*count += 1;
}

/* Those that end while they are begun are a loop, not a depth. */
static void very_many_with_nothing_to_do(void **state)
{
	enum { N = 150000 };
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	uint64_t reads = gate_dev_calls(e->gate, GATE_READ);
	struct result cut = {0};
	uint64_t count = 0;
	struct unshared u;

	gate_dev_hold(e->gate, GATE_READ);
	begin(&u, h, 0, K);
	engine_wait_calls(e, GATE_READ, reads + 1);
	for (uint64_t i = 0; i < N; i++)
		object_unshare(h, 2 * K, K, counted_cb, &count);
	object_resize(h, K, true, engine_done_cb, &cut);
	assert_int_equal(engine_wait(e, &cut), 0);
	assert_int_equal(count, 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.copied, 1);
	assert_int_equal(count, N);
	assert_int_equal(object_close(h), 0);
}

static void a_readonly_one_is_refused(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	struct handle *readonly;
	struct result set = {0};

	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(open_as(e, "a@v", true, &readonly), 0);
	assert_int_equal(unshare_all(e, readonly, 0, K), -ERR_PERM);
	assert_int_equal(object_close(readonly), 0);
	object_set(e->objs, "a", &(struct object_edit){.set_readonly = true, .readonly = true},
		   engine_info_cb, &set);
	assert_int_equal(engine_wait(e, &set), 0);
	assert_int_equal(unshare_all(e, h, 0, K), -ERR_READONLY);
	EXPECT(e, h, "SSSSSSSSSSSS");
	assert_int_equal(object_close(h), 0);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* What there was space for is done and stays, the rest is as it was. */
static void without_space(void **state)
{
	enum { N = 1300, LEFT = 700 };
	struct engine *e = *state;
	struct handle *h = make_shared(e, N);
	struct handle *filler = engine_create_open(e, "filler", 0);
	uint64_t off = 0;
	struct unshared u;

	for (uint64_t free_nblks = engine_free_nblks(e); free_nblks > LEFT;) {
		uint64_t n = free_nblks - LEFT < 512 ? free_nblks - LEFT : 512;

		assert_int_equal(engine_write_blks(e, filler, off, n, 9), 0);
		off += n;
		free_nblks -= n;
	}
	assert_int_equal(engine_fsync(e, filler), 0);
	begin(&u, h, 0, UINT64_MAX);
	assert_int_equal(engine_wait(e, &u.res), 0);
	assert_int_equal(u.copied, 512);
	begin(&u, h, u.len, u.left);
	assert_int_equal(engine_wait(e, &u.res), -ERR_NOSPC);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_free_nblks(e), LEFT - 512);
	assert_int_equal(exclusive(e, "a"), 512);
	assert_whole(e, "a", N);
	assert_int_equal(object_close(filler), 0);
	assert_int_equal(engine_remove(e, "filler"), 0);
	assert_int_equal(unshare_all(e, h, 0, UINT64_MAX), N - 512);
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", N);
	assert_whole(e, "b", N);
}

static void a_block_that_cannot_be_read_fails_it(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_shared(e, NBLKS);
	uint64_t before = engine_free_nblks(e);

	gate_dev_fail_upto(e->gate, GATE_READ, UINT64_MAX);
	assert_true(unshare_all(e, h, 0, UINT64_MAX) < 0);
	gate_dev_fail_upto(e->gate, GATE_READ, 0);
	EXPECT(e, h, "SSSSSSSSSSSS");
	assert_int_equal(engine_free_nblks(e), before);
	assert_int_equal(unshare_all(e, h, 0, UINT64_MAX), NBLKS);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* which brings to the device what nobody has synced */
	h = engine_open(e, "a");
	EXPECT(e, h, "EEEEEEEEEEEE");
	assert_int_equal(object_close(h), 0);
	assert_whole(e, "a", NBLKS);
}

int main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup_untimed, engine_teardown)
#define TINY(f) cmocka_unit_test_setup_teardown(f, engine_setup_tiny, engine_teardown)
	const struct CMUnitTest tests[] = {
	    T(what_is_shared_becomes_its_own),
	    T(only_what_is_shared_is_copied),
	    T(what_is_staged_is_left_alone),
	    T(an_end_within_a_block),
	    T(what_an_object_shares_with_itself),
	    T(after_a_crash),
	    T(a_large_one_goes_in_parts),
	    TINY(a_large_one_goes_in_parts),
	    T(a_scattered_one_goes_in_parts),
	    T(changes_meanwhile),
	    T(many_at_once),
	    T(very_many_with_nothing_to_do),
	    T(a_readonly_one_is_refused),
	    T(without_space),
	    T(a_block_that_cannot_be_read_fails_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
