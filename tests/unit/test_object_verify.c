/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verifying in the engine: what is read and what is left out; damages of all kinds.
 * test_object_verify_turns.c has what goes on meanwhile.
 */
#include "tests/unit/object_verify_fixture.h"

#include "common/thread.h"
#include "server/cache.h"
#include "server/map_priv.h"

/* ---- what is read ---------------------------------------------------------------------------- */

static void what_is_mapped_is_read_and_nothing_else(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct verified v;

	assert_int_equal(engine_zero(e, h, 4 * K, 4 * K, false), 0);
	assert_int_equal(engine_resize(e, h, UINT64_C(1) << 50, false), 0);
	applied(e, h);
	assert_int_equal(RUN(e, h, &v, 0), 1);
	assert_int_equal(v.got.len_bytes, UINT64_C(1) << 50);
	assert_int_equal(v.got.read_nblks, NBLKS - 4);
	assert_int_equal(RUN(e, h, &v, .off_bytes = 8 * K - 1, .len_bytes = 2), 1);
	assert_int_equal(v.got.len_bytes, 2);
	assert_int_equal(v.got.read_nblks, 1);
	assert_int_equal(RUN(e, h, &v, .off_bytes = 8 * K + 1, .len_bytes = K), 1);
	assert_int_equal(v.got.read_nblks, 2);
	assert_int_equal(RUN(e, h, &v, .off_bytes = NBLKS * K), 1);
	assert_int_equal(v.got.read_nblks, 0);
	v = (struct verified){0};
	object_verify(h, &(struct object_verify){.max = 1}, verified_cb, &v);
	assert_true(v.res.done && v.got.len_bytes == 0 && v.got.left_bytes == 0);
	BEGIN(&v, h, .off_bytes = UINT64_C(1) << 50);
	assert_true(v.res.done && v.got.len_bytes == 0 && v.got.left_bytes == 0);
	assert_int_equal(object_close(h), 0);
}

static struct cache_stats stats(struct engine *e)
{
	struct cache_stats s;

	objects_cache_stats(e->objs, &s);
	return s;
}

/* What is in memory is read from the device all the same, and what is not stays out of it. */
static void it_goes_past_the_cache(void **state)
{
	struct engine *e = *state;
	uint64_t nblks =
	    e->cache_bytes < MIB * 4 ? 700 : 64; /* more than a tiny one has, or less */
	struct handle *h = make_open(e, nblks);
	uint8_t *buf = malloc(16 * K);
	struct cache_stats before;
	uint64_t calls;

	assert_non_null(buf);
	assert_int_equal(engine_read(e, h, 0, buf, 16 * K), 16 * K);
	free(buf);
	engine_settle(e);
	before = stats(e);
	calls = reads(e);
	assert_well(e, h, nblks);
	assert_true(reads(e) > calls);
	assert_int_equal(stats(e).clean_pages, before.clean_pages);
	assert_int_equal(stats(e).evicted_nblks, before.evicted_nblks);
	assert_int_equal(stats(e).read_nblks, before.read_nblks);
	calls = reads(e);
	assert_int_equal(engine_blk_byte(e, h, 3), 1);
	assert_int_equal(reads(e), calls + (e->mapped ? 1 : 0));
	assert_int_equal(object_close(h), 0);
}

/* A block that came with its record is not in its place before the checkpoint. */
static void what_is_in_the_journal_only_is_pending(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	struct verified v;

	assert_int_equal(engine_write_blk(e, h, 5, 9), 0);
	assert_int_equal(RUN(e, h, &v, 0), 1); /* not durable: the old one is what the device has */
	assert_int_equal(v.got.read_nblks, NBLKS);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(RUN(e, h, &v, 0), 1);
	assert_int_equal(v.got.len_bytes, NBLKS * K);
	assert_int_equal(v.got.read_nblks, NBLKS - 1);
	assert_int_equal(v.got.pending_nblks, 1);
	assert_int_equal(v.got.n, 0);
	engine_flush(e);
	assert_well(e, h, NBLKS);
	assert_int_equal(object_close(h), 0);
}

/* What fsync has answered is looked at, though the map may not have it yet. */
static void what_is_durable_is_looked_at(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);

	for (uint64_t i = 1; i < 20; i++) {
		assert_int_equal(engine_write_blks(e, h, i * NBLKS, NBLKS, 1), 0);
		assert_int_equal(engine_fsync(e, h), 0);
		assert_well(e, h, i * NBLKS);
	}
	assert_int_equal(object_close(h), 0);
}

static void what_an_older_one_has_is_left_out(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, 600);
	struct verified v;
	struct map_obj a = {0};
	struct handle *b;
	uint64_t bad = place_of(e, h, 300);

	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(info_of(e, "a", &a), 0);
	b = engine_open(e, "b");
	assert_int_equal(RUN(e, b, &v, .older = a.id), 1);
	assert_int_equal(v.got.len_bytes, 600 * K);
	assert_int_equal(v.got.read_nblks, 0);
	assert_int_equal(engine_write_blks(e, b, 100, NBLKS, 2), 0);
	assert_int_equal(engine_zero(e, b, 500 * K, 10 * K, false), 0);
	applied(e, b);
	flip(e, bad);
	assert_true(RUN(e, b, &v, .older = a.id) > 0);
	assert_int_equal(v.got.read_nblks, NBLKS);
	assert_int_equal(v.got.n, 0);
	assert_true(RUN(e, b, &v, 0) > 0);
	assert_int_equal(v.got.read_nblks, 590);
	assert_damage(&v, 0, 300, 1, bad, SCRUB_CSUM);
	assert_true(RUN(e, b, &v, .older = a.id + 100) > 0); /* there is none */
	assert_int_equal(v.got.read_nblks, 590);
	assert_true(RUN(e, h, &v, .older = a.id) > 0); /* it itself */
	assert_int_equal(v.got.read_nblks, 600);
	assert_int_equal(v.got.n, 1);
	flip(e, bad);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(b), 0);
}

/* ---- damages --------------------------------------------------------------------------------- */

/* The reader has a good page, and will not notice. */
static void a_bad_block_is_found(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t at = place_of(e, h, 0);
	struct verified v;

	assert_int_equal(engine_blk_byte(e, h, 7), 1);
	flip(e, at + 7);
	assert_int_equal(RUN(e, h, &v, 0), 1);
	assert_int_equal(v.got.read_nblks, NBLKS);
	assert_int_equal(v.got.n, 1);
	assert_damage(&v, 0, 7, 1, at + 7, SCRUB_CSUM);
	flip(e, at + 8);
	flip(e, at + 20);
	assert_int_equal(RUN(e, h, &v, 0), 1);
	assert_int_equal(v.got.n, 2);
	assert_damage(&v, 0, 7, 2, at + 7, SCRUB_CSUM);
	assert_damage(&v, 1, 20, 1, at + 20, SCRUB_CSUM);
	assert_int_equal(RUN(e, h, &v, .off_bytes = 8 * K + 5, .len_bytes = 1), 1);
	assert_damage(&v, 0, 8, 1, at + 8, SCRUB_CSUM);
	for (uint64_t i = 7; i <= 20; i += i == 7 ? 1 : 12)
		flip(e, at + i);
	assert_well(e, h, NBLKS);
	assert_int_equal(object_close(h), 0);
}

/* With room for one damage a call ends before the second. */
static void more_damages_than_there_is_room_for(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t at = place_of(e, h, 0);
	struct verified v;

	for (uint64_t i = 0; i < 4; i++)
		flip(e, at + 2 * i + 1);
	BEGIN(&v, h, .max = 1);
	assert_int_equal(engine_wait(e, &v.res), 0);
	assert_int_equal(v.got.n, 1);
	assert_int_equal(v.got.len_bytes, 3 * K);
	assert_int_equal(v.got.left_bytes, (NBLKS - 3) * K);
	assert_int_equal(RUN(e, h, &v, .max = 1), 4);
	assert_int_equal(v.got.n, 4);
	assert_int_equal(v.got.read_nblks, NBLKS);
	for (uint32_t i = 0; i < 4; i++) {
		assert_damage(&v, i, 2 * i + 1, 1, at + 2 * i + 1, SCRUB_CSUM);
		flip(e, at + 2 * i + 1);
	}
	assert_int_equal(object_close(h), 0);
}

/* A run that cannot be read is tried block by block. */
static void what_cannot_be_read(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, NBLKS);
	uint64_t at = place_of(e, h, 0);
	struct verified v;

	gate_dev_fail_upto(e->gate, GATE_READ, reads(e) + 4);
	assert_true(RUN(e, h, &v, 0) > 0);
	assert_int_equal(v.got.n, 1);
	assert_damage(&v, 0, 0, 3, at, SCRUB_READ);
	assert_int_equal(v.got.read_nblks, NBLKS);
	flip(e, at + 2);
	gate_dev_fail_upto(e->gate, GATE_READ, reads(e) + 2);
	assert_true(RUN(e, h, &v, 0) > 0);
	assert_int_equal(v.got.n, 2);
	assert_damage(&v, 0, 0, 1, at, SCRUB_READ);
	assert_damage(&v, 1, 2, 1, at + 2, SCRUB_CSUM);
	flip(e, at + 2);
	assert_well(e, h, NBLKS);
	assert_int_equal(object_close(h), 0);
}

/* Changes a bit of a node's value in the map, or changes it back. */
static void flip_node(struct engine *e, uint64_t id)
{
	struct map_key key = map_key(id);
	uint8_t bad[MAP_VALUE_MAX];
	struct kv_buf val;
	struct kv_txn *kv;

	thread_set_role(THREAD_MAP); /* whose thread has nothing to do */
	assert_int_equal(kv_write_begin(e->map->kv, &kv), 0);
	assert_int_equal(kv_get(kv, KV_NODE, map_key_buf(&key), &val), 0);
	memcpy(bad, val.data, val.len);
	bad[val.len - 1] ^= 1;
	kv_put(kv, KV_NODE, map_key_buf(&key), (struct kv_buf){.data = bad, .len = val.len});
	assert_int_equal(kv_write_commit(kv), 0);
	thread_set_role(THREAD_LOOP);
}

static uint64_t child_of(struct engine *e, uint64_t node, unsigned int slot)
{
	struct map_node_view found;
	struct map_view *view;
	uint64_t id;

	assert_int_equal(map_view_begin(e->map, &view), 0);
	assert_int_equal(map_node_read(view->kv, node, &found), 0);
	id = map_node_child(&found, slot);
	map_view_end(view);
	return id;
}

static uint64_t root_of(struct engine *e, const char *name)
{
	struct map_object obj;
	struct map_view *view;
	struct map_obj info = {0};

	assert_int_equal(info_of(e, name, &info), 0);
	assert_int_equal(map_view_begin(e->map, &view), 0);
	assert_int_equal(map_object_read(view->kv, info.id, &obj), 0);
	map_view_end(view);
	return obj.root;
}

/* It is told with what it hides, and what is before and behind it is verified. */
static void a_bad_node_hides_what_is_below_it(void **state)
{
	struct engine *e = *state;
	struct handle *h = make_open(e, 400);
	uint64_t root = root_of(e, "a");
	uint64_t leaf = child_of(e, root, 1);
	uint64_t last = child_of(e, root, 3);
	struct verified v;
	struct map_obj a = {0};
	struct handle *b;
	uint64_t at;

	assert_int_equal(info_of(e, "a", &a), 0);
	flip_node(e, leaf);
	assert_true(RUN(e, h, &v, 0) > 0);
	assert_int_equal(v.got.len_bytes, 400 * K);
	assert_int_equal(v.got.n, 1);
	assert_damage(&v, 0, 128, 128, 0, SCRUB_MAP);
	assert_int_equal(v.got.read_nblks, 400 - 128);
	flip_node(e, last);
	assert_true(RUN(e, h, &v, .max = 1) > 0);
	assert_int_equal(v.got.n, 2);
	assert_damage(&v, 1, 384, 16, 0, SCRUB_MAP); /* to the end of the object */
	assert_int_equal(RUN(e, h, &v, .off_bytes = 130 * K, .len_bytes = 2 * K), 1);
	assert_damage(&v, 0, 130, 2, 0, SCRUB_MAP);
	flip_node(e, last);
	at = place_of(e, h, 5);
	flip(e, at); /* in order, though the other is met first */
	assert_true(RUN(e, h, &v, 0) > 0);
	assert_int_equal(v.got.n, 2);
	assert_damage(&v, 0, 5, 1, at, SCRUB_CSUM);
	flip(e, at);
	at = place_of(e, h, 256);
	flip(e, at); /* there is no room for it beside the other */
	assert_true(RUN(e, h, &v, .max = 1) >= 2);
	assert_int_equal(v.got.n, 2);
	assert_damage(&v, 1, 256, 1, at, SCRUB_CSUM);
	flip(e, at);
	flip_node(e, root);
	assert_int_equal(RUN(e, h, &v, 0), 1);
	assert_damage(&v, 0, 0, 400, 0, SCRUB_MAP);
	flip_node(e, root);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	b = engine_open(e, "b");
	assert_int_equal(engine_write_blks(e, b, 0, NBLKS, 2), 0);
	applied(e, b);
	flip_node(e, root); /* of the older one: nothing is left out */
	assert_true(RUN(e, b, &v, .older = a.id) > 0);
	assert_int_equal(v.got.n, 1);
	assert_int_equal(v.got.read_nblks, 400 - 128);
	flip_node(e, root);
	flip_node(e, leaf);
	assert_well(e, b, 400);
	assert_int_equal(object_close(b), 0);
	assert_int_equal(object_close(h), 0);
}

static int group_setup(void **state)
{
	(void)state;
	engine_map_devices(true);
	return 0;
}

int main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup_small, engine_teardown)
#define TINY(f) cmocka_unit_test_setup_teardown(f, setup_tiny, engine_teardown)
	const struct CMUnitTest tests[] = {
	    T(what_is_mapped_is_read_and_nothing_else),
	    T(it_goes_past_the_cache),
	    TINY(it_goes_past_the_cache),
	    T(what_is_in_the_journal_only_is_pending),
	    T(what_is_durable_is_looked_at),
	    T(what_an_older_one_has_is_left_out),
	    T(a_bad_block_is_found),
	    T(more_damages_than_there_is_room_for),
	    T(what_cannot_be_read),
	    T(a_bad_node_hides_what_is_below_it),
	};
	const struct CMUnitTest mapped[] = {
	    T(it_goes_past_the_cache),
	    T(a_bad_block_is_found),
	    T(what_cannot_be_read),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	return failed + cmocka_run_group_tests(mapped, group_setup, NULL);
}
