/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_removal.c: giving up content through the engine: versions, what expires, removals
 * that fail, and what waits for a reset.
 */
#include "common/clock.h"
#include "server/object_epoch.h"
#include "server/object_table.h"
#include "tests/unit/object_fixture.h"

/* ---- with the versions ----------------------------------------------------------------------- */

static void a_version_is_removed_once(void **state)
{
	struct engine *e = *state;

	assert_int_equal(engine_create(e, "a", MIB), 0);
	assert_int_equal(snapshot(e, "a@1"), 0);
	assert_int_equal(snapshot(e, "a@2"), 0);
	assert_int_equal(remove_all(e, "a@1"), 0);
	assert_false(exists(e, "a@1"));
	assert_true(exists(e, "a@2"));
	assert_int_equal(remove_all(e, "a"), 0);
	assert_false(exists(e, "a@2"));
	assert_false(exists(e, "a"));
	assert_int_equal(engine_create(e, "b", MIB), 0);
}

static void nothing_goes_of_what_is_open(void **state)
{
	static const char *const open[] = {"a", "a@2"};
	struct engine *e = *state;

	assert_int_equal(engine_create(e, "a", MIB), 0);
	assert_int_equal(snapshot(e, "a@1"), 0);
	assert_int_equal(snapshot(e, "a@2"), 0);
	for (int i = 0; i < 2; i++) {
		struct handle *h;

		assert_int_equal(open_as(e, open[i], true, &h), 0);
		assert_int_equal(remove_all(e, "a"), -ERR_BUSY);
		assert_true(exists(e, "a@1"));
		assert_int_equal(object_close(h), 0);
	}
	assert_int_equal(remove_all(e, "a"), 0);
	assert_false(exists(e, "a@1"));
}

/*
 * What was written and not fsynced before the handle was closed becomes durable while the versions
 * go.  Where the removal then fails, the object is what that has made of it.
 */
static void a_failed_removal_keeps_what_was_written_while_versions_went(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result gone = {0};
	uint64_t syncs;

	assert_int_equal(snapshot(e, "a@1"), 0);
	assert_int_equal(snapshot(e, "a@2"), 0);
	assert_int_equal(engine_write_blk(e, h, 3, 7), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(object_close(h), 0);
	engine_wait_calls(e, GATE_SYNC, syncs + 1); /* the timer has closed the epoch */
	object_remove(e->objs, "a", true, engine_done_cb, &gone);
	engine_settle(e); /* it has looked the object up, and waits behind the epoch */
	gate_dev_release(e->gate, GATE_SYNC, 1);
	engine_wait_calls(e, GATE_SYNC, syncs + 2);
	gate_dev_release(e->gate, GATE_SYNC, 1);
	engine_wait_calls(e, GATE_SYNC, syncs + 3); /* the second version's */
	object_trim_idle(e->objs, 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &gone), -ERR_WRITEBACK);
	assert_false(exists(e, "a@2"));
	h = engine_open(e, "a");
	assert_int_equal(object_size(h), 4 * BLK_BYTES);
	assert_int_equal(engine_blk_byte(e, h, 3), 7);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
}

/* ---- what expires ---------------------------------------------------------------------------- */

/* Whether "a" was still there to change names with "b", until after its time. */
static bool swapped_while_it_expires(struct engine *e, uint64_t ttl_ms)
{
	uint64_t until_ns = make_mortal(e, "a", ttl_ms).expires_ns + 300 * UINT64_C(1000000);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result swap = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	object_rename(e->objs, "a", "b", true, engine_done_cb, &swap);
	while (!swap.done &&
	       (gate_dev_calls(e->gate, GATE_SYNC) == syncs || clock_wall_ns() < until_ns))
		engine_turn(e); /* the timer has found "a" meanwhile */
	gate_dev_open(e->gate, GATE_SYNC);
	if (engine_wait(e, &swap) == 0)
		return true;
	assert_int_equal(swap.err, -ERR_NOENT);
	return false;
}

/* The name that an expired object had is no reason to remove what has it now. */
static void what_got_the_name_of_an_expired_object_stays(void **state)
{
	struct engine *e = *state;

	assert_int_equal(engine_create(e, "b", MIB), 0);
	for (uint64_t ttl_ms = 100; !swapped_while_it_expires(e, ttl_ms); ttl_ms *= 2)
		;
	while (exists(e, "b"))
		engine_turn(e);
	assert_true(exists(e, "a"));
}

/* Not a version either, as long as somebody has the object open. */
static void an_expired_object_that_is_open_keeps_its_versions(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t ttl_ms = make_mortal_open(e, "a", &h);
	uint64_t until_ns = clock_wall_ns() + (ttl_ms + 300) * UINT64_C(1000000);

	assert_int_equal(snapshot(e, "a@1"), 0);
	while (clock_wall_ns() < until_ns)
		engine_turn(e);
	assert_true(exists(e, "a@1"));
	assert_int_equal(object_close(h), 0);
	while (exists(e, "a"))
		engine_turn(e);
	assert_false(exists(e, "a@1"));
}

static int snapshot_mortal(struct engine *e, const char *spec, uint64_t ttl_ms)
{
	const struct object_attrs attrs = {.ttl_ms = ttl_ms};
	struct result res = {0};

	object_snapshot(e->objs, spec, &attrs, engine_info_cb, &res);
	return engine_wait(e, &res);
}

/* The time is the version's alone: its object, and a clone of it, stay. */
static void a_version_expires_by_itself(void **state)
{
	struct engine *e = *state;
	struct map_obj a, v;

	make(e, "a", 2, 7);
	assert_int_equal(snapshot_mortal(e, "a@keep", UINT64_C(3600000)), 0);
	assert_int_equal(engine_clone(e, "a@keep", "clone"), 0);
	assert_int_equal(info_of(e, "a@keep", &a), 0);
	assert_true(a.expires_ns > clock_wall_ns());
	assert_int_equal(snapshot_mortal(e, "a@brief", 1), 0);
	while (exists(e, "a@brief"))
		engine_turn(e);
	crash(e);
	assert_int_equal(info_of(e, "a@keep", &v), 0);
	assert_int_equal(v.expires_ns, a.expires_ns);
	assert_int_equal(info_of(e, "a", &a), 0);
	assert_int_equal(a.expires_ns, 0);
	assert_int_equal(a.nversions, 1);
	assert_int_equal(info_of(e, "clone", &v), 0);
	assert_int_equal(v.expires_ns, 0);
	assert_int_equal(byte_of(e, "clone", 1), 7);
}

/* It may be gone before it can be opened: then it is made again, to live twice as long. */
static void a_version_that_is_open_outlives_its_time(void **state)
{
	struct engine *e = *state;
	struct handle *h = NULL;
	uint64_t until_ns = 0;

	make(e, "a", 1, 7);
	for (uint64_t ttl_ms = 10; !h; ttl_ms *= 2) {
		assert_int_equal(snapshot_mortal(e, "a@v", ttl_ms), 0);
		until_ns = clock_wall_ns() + (ttl_ms + 300) * UINT64_C(1000000);
		if (open_as(e, "a@v", true, &h) < 0)
			h = NULL;
	}
	while (clock_wall_ns() < until_ns)
		engine_turn(e);
	assert_true(exists(e, "a@v"));
	assert_int_equal(object_close(h), 0);
	while (exists(e, "a@v"))
		engine_turn(e);
	assert_true(exists(e, "a"));
}

/* A throw-away clone: of "base", it has expired, and it is open.  There is no timer. */
static struct handle *open_expired_clone(struct engine *e, const char *name)
{
	const struct object_attrs attrs = {.ttl_ms = 1};
	struct result res = {0};

	object_clone(e->objs, "base", name, &attrs, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	while (clock_wall_ns() < res.info.expires_ns)
		;
	return engine_open(e, name);
}

/* By the last close alone, and not by one before it. */
static void a_clone_that_has_expired_goes_when_it_is_closed(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	struct handle *ro;

	make(e, "base", 2, 7);
	h = open_expired_clone(e, "a");
	assert_int_equal(open_as(e, "a", true, &ro), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(object_close(h), 0);
	engine_settle(e);
	assert_true(exists(e, "a"));
	assert_int_equal(engine_blk_byte(e, ro, 0), 1);
	assert_int_equal(engine_blk_byte(e, ro, 1), 7);
	assert_int_equal(object_close(ro), 0);
	while (exists(e, "a"))
		engine_turn(e);
	assert_int_equal(byte_of(e, "base", 0), 7);
}

/* What was open when the walk through the expired ones came by is closed while that is at another. */
static void what_is_closed_while_another_one_expires_is_not_forgotten(void **state)
{
	struct engine *e = *state;
	struct handle *first;
	struct handle *second;
	uint64_t syncs;

	make(e, "base", 1, 7);
	first = open_expired_clone(e, "first");
	second = open_expired_clone(e, "second");
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(object_close(second), 0);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	assert_int_equal(object_close(first), 0);
	gate_dev_open(e->gate, GATE_SYNC);
	while (exists(e, "first") || exists(e, "second"))
		engine_turn(e);
}

/* And not before its new time either, though others go meanwhile. */
static void a_clone_that_is_given_more_time_while_open_stays(void **state)
{
	const struct object_edit edit = {.set_ttl = true, .ttl_ms = 3600000};
	struct engine *e = *state;
	struct result res = {0};
	struct handle *h;

	make(e, "base", 1, 7);
	h = open_expired_clone(e, "a");
	object_set(e->objs, "a", &edit, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_true(res.info.expires_ns > clock_wall_ns());
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(open_expired_clone(e, "b")), 0);
	while (exists(e, "b"))
		engine_turn(e);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 7);
}

/* Whoever comes first, the one who asks or the time: it is gone with the answer. */
static void a_clone_is_removed_explicitly_when_it_is_closed(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	int err;

	make(e, "base", 1, 7);
	h = open_expired_clone(e, "a");
	assert_int_equal(engine_remove(e, "a"), -ERR_BUSY);
	assert_int_equal(object_close(h), 0);
	err = engine_remove(e, "a");
	assert_true(err == 0 || err == -ERR_NOENT);
	assert_false(exists(e, "a"));
}

/* ---- removals that fail ---------------------------------------------------------------------- */

/* What fails is answered at once, and so before what is durable has reached the map: it counts. */
static void a_failed_removal_keeps_what_is_not_in_the_map(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result gone = {0};
	struct map_view *view;
	uint64_t writes;

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(object_close(h), 0);
	engine_wait_calls(e, GATE_SYNC, syncs + 1); /* the timer has closed the epoch */
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	engine_settle(e);
	assert_int_equal(map_view_begin(e->map, &view), 0); /* nothing is applied */
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	gate_dev_open(e->gate, GATE_SYNC);
	while (gate_dev_calls(e->gate, GATE_WRITE) < writes + 2)
		engine_turn(e);
	assert_int_equal(engine_wait(e, &gone), -ERR_WRITEBACK);
	map_view_end(view);
	h = engine_open(e, "a");
	assert_int_equal(object_size(h), BLK_BYTES);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
}

/* Nobody finds it meanwhile, and when the removal has failed it is as it was, with what no fsync covers. */
static void a_failed_removal_gives_nothing_up(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t generation;

	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_write_blks(e, h, 5, ENGINE_WRITTEN_BLKS, 2), 0);
	generation = object_generation(h);
	assert_int_equal(object_close(h), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	assert_int_equal(engine_remove(e, "a"), -ERR_WRITEBACK);
	h = engine_open(e, "a");
	assert_int_equal(object_size(h), (5 + ENGINE_WRITTEN_BLKS) * BLK_BYTES);
	assert_int_equal(object_generation(h), generation);
	assert_int_equal(engine_blk_byte(e, h, 4), 1);
	assert_int_equal(engine_blk_byte(e, h, 5), 2);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 5), 2);
	assert_int_equal(engine_remove(e, "a"), 0);
}

/* It was tied, and nothing of it is: others could not be seen without it. */
static void a_failed_removal_of_what_was_tied_changes_nothing(void **state)
{
	struct engine *e = *state;
	struct handle *handles[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t generation;
	struct handle *h;

	assert_int_equal(object_tie(handles, 2), 0);
	assert_int_equal(engine_write_blk(e, handles[0], 0, 1), 0);
	assert_int_equal(engine_fsync(e, handles[0]), 0);
	generation = object_generation(handles[0]);
	assert_int_equal(object_close(handles[0]), 0);
	gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	assert_int_equal(engine_remove(e, "a"), -ERR_WRITEBACK);
	h = engine_open(e, "a");
	assert_int_equal(object_generation(h), generation);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(object_close(handles[1]), 0);
}

/*
 * Of an epoch that is written while the removal is on its way it is not known whether it is wanted: it
 * is committed when that has failed, or dropped.
 */
static void removal_beside_a_write(struct engine *e, bool fails)
{
	uint64_t empty = engine_free_nblks(e);
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	struct result gone = {0};

	gate_dev_hold(e->gate, GATE_WRITE);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 3), 0);
	assert_int_equal(object_close(h), 0);
	engine_wait_calls(e, GATE_WRITE, writes + 1); /* the timer has closed the epoch */
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	engine_wait_calls(e, GATE_WRITE, writes + 2);
	gate_dev_release(e->gate, GATE_WRITE, 1);
	engine_settle(e);
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 2);
	if (fails)
		gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 3);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &gone), fails ? -ERR_WRITEBACK : 0);
	engine_settle(e);
	if (fails) {
		engine_flush(e);
		crash(e);
		assert_int_equal(byte_of(e, "a", 0), 3);
		return;
	}
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 2);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), empty);
}

static void what_is_written_beside_a_failed_removal_is_committed(void **state)
{
	removal_beside_a_write(*state, true);
}

static void what_is_written_beside_a_removal_is_dropped(void **state)
{
	removal_beside_a_write(*state, false);
}

/* Its pages are in a worker's hands when the removal is durable: it ends behind that. */
static void a_removal_waits_for_what_is_being_written(void **state)
{
	struct engine *e = *state;
	struct result gone = {0};
	struct result read = {0};
	struct handle *other;
	struct handle *h;
	struct object *obj;
	uint64_t writes;
	uint64_t reads;

	e->nworkers = 1;
	make(e, "other", 1, 9);
	engine_restart(e);
	other = engine_open(e, "other");
	h = engine_create_open(e, "a", 0);
	obj = object_find(e->objs, 2);
	assert_non_null(obj);
	assert_int_equal(engine_write_blks(e, h, 0, ENGINE_WRITTEN_BLKS, 3), 0);
	assert_int_equal(object_close(h), 0);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_hold(e->gate, GATE_WRITE);
	object_remove(e->objs, "a", false, engine_done_cb, &gone);
	engine_wait_calls(e, GATE_WRITE, writes + 1); /* its record */
	reads = gate_dev_calls(e->gate, GATE_READ);
	gate_dev_hold(e->gate, GATE_READ);
	object_read(other, 0, BLK_BYTES, engine_read_cb, &read);
	while (gate_dev_calls(e->gate, GATE_READ) == reads)
		;	  /* the worker has it */
	epoch_close(obj); /* as the timer does; no worker is free */
	gate_dev_open(e->gate, GATE_WRITE);
	while (!obj->removed)
		engine_turn(e);
	assert_false(gone.done);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &gone), 0);
	assert_int_equal(engine_wait(e, &read), 0);
	pagevec_fini(&read.pv);
	assert_int_equal(object_close(other), 0);
	assert_false(exists(e, "a"));
}

/* ---- reset ----------------------------------------------------------------------------------- */

/* A resize that has begun before a reset ends behind it, of an object of another size. */
static void resize_during_reset(struct engine *e, bool shrink, int want)
{
	struct handle *h = engine_create_open(e, "a", 0);
	uint64_t syncs;
	struct result reset = {0};
	struct result resize = {0};
	uint8_t bytes[BLK_BYTES];

	assert_int_equal(engine_write_blks(e, h, 0, 10, 7), 0);
	assert_int_equal(snapshot(e, "a@1"), 0);
	assert_int_equal(engine_resize(e, h, 1000, true), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_reset(e->objs, "a@1", engine_info_cb, &reset);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	object_resize(h, 5000, shrink, engine_done_cb, &resize);
	engine_settle(e);
	assert_false(resize.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &reset), 0);
	assert_int_equal(engine_wait(e, &resize), want);
	assert_int_equal(object_size(h), want == 0 ? 5000 : 10 * BLK_BYTES);
	if (want == 0)
		assert_int_equal(engine_resize(e, h, 10 * BLK_BYTES, false), 0);
	assert_int_equal(engine_read(e, h, BLK_BYTES, bytes, BLK_BYTES), BLK_BYTES);
	assert_int_equal(bytes[0], 7);
	assert_int_equal(bytes[BLK_BYTES - 1], want == 0 ? 0 : 7);
	assert_int_equal(object_close(h), 0);
}

static void a_resize_behind_a_reset_zeroes_what_it_cuts(void **state)
{
	resize_during_reset(*state, true, 0);
}

static void a_growth_behind_a_reset_does_not_shrink(void **state)
{
	resize_during_reset(*state, false, -ERR_SHRINK);
}

#define TIMED(name)   cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(a_version_is_removed_once),
	    UNTIMED(nothing_goes_of_what_is_open),
	    TIMED(a_failed_removal_keeps_what_was_written_while_versions_went),
	    TIMED(what_got_the_name_of_an_expired_object_stays),
	    TIMED(an_expired_object_that_is_open_keeps_its_versions),
	    TIMED(a_version_expires_by_itself),
	    TIMED(a_version_that_is_open_outlives_its_time),
	    UNTIMED(a_clone_that_has_expired_goes_when_it_is_closed),
	    UNTIMED(what_is_closed_while_another_one_expires_is_not_forgotten),
	    UNTIMED(a_clone_that_is_given_more_time_while_open_stays),
	    UNTIMED(a_clone_is_removed_explicitly_when_it_is_closed),
	    TIMED(a_failed_removal_keeps_what_is_not_in_the_map),
	    UNTIMED(a_failed_removal_gives_nothing_up),
	    UNTIMED(a_failed_removal_of_what_was_tied_changes_nothing),
	    TIMED(what_is_written_beside_a_failed_removal_is_committed),
	    TIMED(what_is_written_beside_a_removal_is_dropped),
	    UNTIMED(a_removal_waits_for_what_is_being_written),
	    UNTIMED(a_resize_behind_a_reset_zeroes_what_it_cuts),
	    UNTIMED(a_growth_behind_a_reset_does_not_shrink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
