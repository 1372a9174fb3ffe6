/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_set.c: changing labels, times to live and read-only of what there is, beside all that
 * may be under way on it, and that it is there after a crash.
 */
#include "common/clock.h"
#include "tests/unit/object_fixture.h"

#define NS_PER_MS UINT64_C(1000000)

static void set_start(struct engine *e, const char *spec, const struct object_edit *edit,
		      struct result *res)
{
	object_set(e->objs, spec, edit, engine_info_cb, res);
}

static int set(struct engine *e, const char *spec, const struct object_edit *edit)
{
	struct result res = {0};

	set_start(e, spec, edit, &res);
	return engine_wait(e, &res);
}

#define LABELS(text)                                      \
	(struct object_edit)                              \
	{                                                 \
		.edits = text, .edits_len = sizeof(text), \
	}

static int set_ttl(struct engine *e, const char *spec, uint64_t ttl_ms)
{
	return set(e, spec, &(struct object_edit){.set_ttl = true, .ttl_ms = ttl_ms});
}

static int set_readonly(struct engine *e, const char *spec, bool readonly)
{
	return set(e, spec, &(struct object_edit){.set_readonly = true, .readonly = readonly});
}

static struct map_obj info(struct engine *e, const char *spec)
{
	struct map_obj obj;

	assert_int_equal(info_of(e, spec, &obj), 0);
	return obj;
}

static void expect_labels(struct engine *e, const char *spec, const char *want, size_t len)
{
	struct map_obj obj = info(e, spec);

	assert_int_equal(obj.labels_len, len);
	assert_memory_equal(obj.labels, want, len);
}

#define EXPECT_LABELS(e, spec, want) expect_labels(e, spec, want, sizeof(want))

/* ---- labels ---------------------------------------------------------------------------------- */

static void labels_are_edited_and_stay(void **state)
{
	struct engine *e = *state;
	struct object_edit edit = LABELS("b=1\0d=2");
	struct map_obj before;
	struct map_obj after;

	make(e, "a", 2, 1);
	assert_int_equal(set(e, "a", &edit), 0); /* applied behind what was written */
	before = info(e, "a");
	EXPECT_LABELS(e, "a", "b=1\0d=2");
	crash(e); /* durable when answered */
	EXPECT_LABELS(e, "a", "b=1\0d=2");
	edit = LABELS("a=0\0b\0d=3");
	assert_int_equal(set(e, "a", &edit), 0);
	EXPECT_LABELS(e, "a", "a=0\0d=3");
	edit = LABELS("c=9");
	edit.replace = true;
	assert_int_equal(set(e, "a", &edit), 0);
	EXPECT_LABELS(e, "a", "c=9");
	assert_int_equal(set(e, "a", &(struct object_edit){.replace = true}), 0);
	after = info(e, "a");
	assert_int_equal(after.labels_len, 0);
	assert_int_equal(after.generation, before.generation);
	assert_int_equal(after.mtime_ns, before.mtime_ns);
	assert_int_equal(byte_of(e, "a", 1), 1);
}

/* Each is made of what the one before has left, though both were asked for at once. */
static void edits_at_the_same_time_all_count(void **state)
{
	static const char *const keys[] = {"a=1", "b=2", "c=3", "d=4", "e=5", "f=6"};
	struct engine *e = *state;
	struct result res[ARRAY_LEN(keys)] = {{0}};

	make(e, "o", 1, 1);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		set_start(e, "o", &(struct object_edit){.edits = keys[i], .edits_len = 4}, &res[i]);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_int_equal(engine_wait(e, &res[i]), 0);
	EXPECT_LABELS(e, "o", "a=1\0b=2\0c=3\0d=4\0e=5\0f=6");
}

/* Of several that want the same label where there is none, one gets it. */
static void an_expectation_decides_who_is_first(void **state)
{
	static const char *const mine[] = {"owner=x", "owner=y", "owner=z"};
	struct engine *e = *state;
	struct result res[ARRAY_LEN(mine)] = {{0}};
	struct object_edit edit = {.expected = "owner", .expected_len = sizeof("owner")};

	make(e, "o", 1, 1);
	for (size_t i = 0; i < ARRAY_LEN(mine); i++) {
		edit.edits = mine[i];
		edit.edits_len = sizeof("owner=x");
		set_start(e, "o", &edit, &res[i]);
	}
	assert_int_equal(engine_wait(e, &res[0]), 0);
	assert_int_equal(engine_wait(e, &res[1]), -ERR_LABELS_OTHER);
	assert_int_equal(engine_wait(e, &res[2]), -ERR_LABELS_OTHER);
	EXPECT_LABELS(e, "o", "owner=x");
	edit = LABELS("owner");
	edit.expected = "owner=y";
	edit.expected_len = sizeof("owner=y");
	edit.set_ttl = true;
	edit.ttl_ms = 1;
	assert_int_equal(set(e, "o", &edit), -ERR_LABELS_OTHER);
	assert_int_equal(info(e, "o").expires_ns, 0); /* nothing of it was done */
	EXPECT_LABELS(e, "o", "owner=x");
	edit.expected = "owner=x";
	edit.set_ttl = false;
	edit.ttl_ms = 0;
	assert_int_equal(set(e, "o", &edit), 0);
	assert_int_equal(info(e, "o").labels_len, 0);
}

static void what_cannot_be_is_refused(void **state)
{
	struct engine *e = *state;
	char big[LABELS_MAX_BYTES];
	struct object_edit edit;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	edit = LABELS("b=1\0a=1");
	assert_int_equal(set(e, "a", &edit), -ERR_INVAL);
	edit = (struct object_edit){.expected = "b\0b", .expected_len = 4};
	assert_int_equal(set(e, "a", &edit), -ERR_INVAL);
	assert_int_equal(set_readonly(e, "a@v", true), -ERR_PERM);
	assert_int_equal(set_readonly(e, "a@v", false), -ERR_PERM);
	assert_int_equal(set_ttl(e, "none", 1000), -ERR_NOENT);
	assert_int_equal(set_ttl(e, "a@none", 1000), -ERR_NOENT);
	assert_int_equal(set_ttl(e, "a@", 1000), -ERR_BAD_NAME);
	assert_int_equal(set_ttl(e, "a", UINT64_MAX), -ERR_INVAL);
	for (size_t i = 0; i < 4; i++) { /* 1024 bytes, and no more */
		(void)snprintf(big + i * 256, 256, "k%zu=%0252d", i, 0);
		big[i * 256 + 255] = '\0';
	}
	assert_int_equal(set(e, "a", &(struct object_edit){.edits = big, .edits_len = 1024}), 0);
	edit = LABELS("z=");
	assert_int_equal(set(e, "a", &edit), -ERR_LABELS_LONG);
	expect_labels(e, "a", big, sizeof(big));
}

static void a_version_has_labels_and_a_time_of_its_own(void **state)
{
	struct engine *e = *state;
	struct object_edit edit = LABELS("keep=no");

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(set(e, "a@v", &edit), 0);
	EXPECT_LABELS(e, "a@v", "keep=no");
	assert_int_equal(info(e, "a").labels_len, 0);
	assert_int_equal(set_ttl(e, "a@v", 1), 0);
	while (info(e, "a").nversions > 0)
		engine_turn(e);
	assert_false(exists(e, "a@v"));
}

/* ---- times to live --------------------------------------------------------------------------- */

static void a_time_to_live_is_set_moved_and_cleared(void **state)
{
	struct engine *e = *state;
	struct object_edit edit = LABELS("a=1");
	uint64_t before = clock_wall_ns();
	uint64_t expires;

	make(e, "a", 1, 1);
	assert_int_equal(set_ttl(e, "a", 3600000), 0);
	expires = info(e, "a").expires_ns;
	assert_true(expires >= before + 3600000 * NS_PER_MS);
	assert_true(expires <= clock_wall_ns() + 3600000 * NS_PER_MS);
	assert_int_equal(set(e, "a", &edit), 0); /* which says nothing of it */
	crash(e);
	assert_int_equal(info(e, "a").expires_ns, expires);
	engine_check_online(e);
	assert_int_equal(set_ttl(e, "a", 7200000), 0);
	assert_true(info(e, "a").expires_ns > expires);
	engine_check_online(e);
	assert_int_equal(set_ttl(e, "a", 0), 0);
	assert_int_equal(info(e, "a").expires_ns, 0);
	engine_check_online(e);
	assert_int_equal(set_ttl(e, "a", 1), 0);
	while (exists(e, "a"))
		engine_turn(e);
}

/* It is removed when it is closed, unless it has got more time until then. */
static void what_has_expired_and_is_open_can_live_on(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t ttl_ms = make_mortal_open(e, "a", &h);
	uint64_t until_ns = clock_wall_ns() + (ttl_ms + 300) * NS_PER_MS;

	while (clock_wall_ns() < until_ns) /* many ticks find it in use */
		engine_turn(e);
	assert_int_equal(engine_write_blk(e, h, 0, 7), 0);
	assert_int_equal(set_ttl(e, "a", 0), 0);
	assert_int_equal(object_close(h), 0);
	until_ns = clock_wall_ns() + 300 * NS_PER_MS;
	while (clock_wall_ns() < until_ns)
		engine_turn(e);
	assert_int_equal(byte_of(e, "a", 0), 7);
}

/* Whether "a", which the timer found expired while its time was being cleared, has stayed. */
static bool cleared_while_it_expires(struct engine *e, uint64_t ttl_ms)
{
	uint64_t until_ns = make_mortal(e, "a", ttl_ms).expires_ns + 300 * NS_PER_MS;
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	const struct object_edit edit = {.set_ttl = true};
	struct result res = {0};

	gate_dev_hold(e->gate, GATE_SYNC);
	set_start(e, "a", &edit, &res);
	while (!res.done &&
	       (gate_dev_calls(e->gate, GATE_SYNC) == syncs || clock_wall_ns() < until_ns))
		engine_turn(e);
	gate_dev_open(e->gate, GATE_SYNC);
	if (engine_wait(e, &res) == 0)
		return true;
	assert_int_equal(res.err, -ERR_NOENT);
	return false;
}

/* The timer has seen the old time, and waits for the name: it must look again. */
static void a_time_cleared_while_the_timer_waits_counts(void **state)
{
	struct engine *e = *state;
	uint64_t until_ns;

	for (uint64_t ttl_ms = 100; !cleared_while_it_expires(e, ttl_ms); ttl_ms *= 2)
		;
	until_ns = clock_wall_ns() + 300 * NS_PER_MS;
	while (clock_wall_ns() < until_ns)
		engine_turn(e);
	assert_true(exists(e, "a"));
}

/* ---- read-only ------------------------------------------------------------------------------- */

static void nothing_changes_what_is_read_only(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	struct handle *ro;

	make(e, "a", 2, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0); /* and not fsynced */
	assert_int_equal(set_readonly(e, "a", true), 0);
	assert_true(info(e, "a").readonly);
	assert_int_equal(engine_write_blk(e, h, 1, 3), -ERR_READONLY);
	assert_int_equal(engine_resize(e, h, 0, true), -ERR_READONLY);
	assert_int_equal(engine_resize(e, h, MIB, false), -ERR_READONLY);
	assert_int_equal(engine_resize(e, h, 2 * BLK_BYTES, false), -ERR_READONLY); /* as it is */
	assert_int_equal(engine_zero(e, h, 0, BLK_BYTES, false), -ERR_READONLY);
	assert_int_equal(reset(e, "a@v"), -ERR_READONLY);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 2);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(open_as(e, "a", false, &h), -ERR_READONLY);
	crash(e); /* what was written before is durable, and it is read-only still */
	assert_int_equal(open_as(e, "a", false, &h), -ERR_READONLY);
	assert_int_equal(open_as(e, "a", true, &ro), 0);
	assert_int_equal(engine_blk_byte(e, ro, 0), 2);
	assert_int_equal(engine_blk_byte(e, ro, 1), 1);
	assert_int_equal(object_close(ro), 0);
}

static void its_name_is_not_read_only(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 1, 1);
	assert_int_equal(set_readonly(e, "a", true), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_false(info(e, "b").readonly);
	h = engine_open(e, "b");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(rename_to(e, "a", "c"), 0);
	assert_int_equal(open_as(e, "c", false, &h), -ERR_READONLY);
	assert_int_equal(set_ttl(e, "c", 3600000), 0); /* and leaves it as it is */
	assert_true(info(e, "c").readonly);
	assert_int_equal(remove_all(e, "c"), 0);
}

static void a_handle_can_be_written_again_when_it_ends(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 1, 1);
	h = engine_open(e, "a");
	assert_int_equal(set_readonly(e, "a", true), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), -ERR_READONLY);
	assert_int_equal(set_readonly(e, "a", false), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 3), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_false(info(e, "a").readonly);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 3);
}

/*
 * A write that comes while it becomes read-only waits, and is refused with it; what was acknowledged
 * before is durable with the answer.  Where that fails, the write is done, and it is not read-only.
 */
static void write_during_set(struct engine *e, bool fails)
{
	const struct object_edit edit = {.set_readonly = true, .readonly = true};
	struct result setting = {0};
	struct result writing = {0};
	uint8_t byte = 9;
	struct pagevec pv;
	struct handle *h;
	uint64_t syncs;

	make(e, "a", 2, 1);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	set_start(e, "a", &edit, &setting);
	engine_wait_calls(e, GATE_SYNC, syncs + 1); /* of what was written */
	pv = engine_payload(e, BLK_BYTES, &byte, 1);
	object_write(h, BLK_BYTES, &pv, engine_done_cb, &writing);
	engine_settle(e);
	assert_false(writing.done);
	assert_false(setting.done);
	if (fails)
		gate_dev_fail_upto(e->gate, GATE_WRITE, gate_dev_calls(e->gate, GATE_WRITE) + 2);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &setting) == 0, !fails);
	assert_int_equal(engine_wait(e, &writing), fails ? 0 : -ERR_READONLY);
	assert_int_equal(engine_blk_byte(e, h, 1), fails ? 9 : 1);
	assert_int_equal(info(e, "a").readonly, !fails);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 2);
	assert_int_equal(byte_of(e, "a", 1), 1);
}

static void shared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	(void)len_bytes;
	(void)left_bytes;
	engine_done_cb(ctx, err);
}

/* So does a range clone into it, which has no block of its own to write. */
static void a_range_clone_that_comes_meanwhile_is_refused(void **state)
{
	const struct object_edit edit = {.set_readonly = true, .readonly = true};
	struct engine *e = *state;
	struct result setting = {0};
	struct result sharing = {0};
	struct handle *a;
	struct handle *b;
	uint64_t syncs;

	make(e, "a", 2, 1);
	make(e, "b", 2, 5);
	a = engine_open(e, "a");
	b = engine_open(e, "b");
	assert_int_equal(engine_write_blk(e, a, 0, 2), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	set_start(e, "a", &edit, &setting);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	object_share(a, 0, b, 0, 0, shared_cb, &sharing);
	engine_settle(e);
	assert_false(sharing.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &setting), 0);
	assert_int_equal(engine_wait(e, &sharing), -ERR_READONLY);
	sharing.done = false;
	object_share(a, 0, b, 0, 0, shared_cb, &sharing);
	assert_int_equal(engine_wait(e, &sharing), -ERR_READONLY);
	assert_int_equal(engine_blk_byte(e, a, 0), 2);
	sharing.done = false;
	object_share(b, 0, a, 0, 0, shared_cb, &sharing); /* and out of it */
	assert_int_equal(engine_wait(e, &sharing), 0);
	assert_int_equal(engine_blk_byte(e, b, 0), 2);
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
}

/* One that is under way is waited for, and what it made is there. */
static void a_range_clone_that_has_begun_is_done(void **state)
{
	const struct object_edit edit = {.set_readonly = true, .readonly = true};
	struct engine *e = *state;
	struct result setting = {0};
	struct result sharing = {0};
	struct handle *a;
	struct handle *b;
	uint64_t syncs;

	make(e, "a", 2, 1);
	make(e, "b", 2, 5);
	a = engine_open(e, "a");
	b = engine_open(e, "b");
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_share(a, 0, b, 0, 0, shared_cb, &sharing);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	set_start(e, "a", &edit, &setting);
	engine_settle(e);
	assert_false(setting.done);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &sharing), 0);
	assert_int_equal(engine_wait(e, &setting), 0);
	assert_true(info(e, "a").readonly);
	assert_int_equal(engine_blk_byte(e, a, 0), 5);
	assert_int_equal(engine_write_blk(e, a, 0, 2), -ERR_READONLY);
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
}

static void a_write_that_comes_meanwhile_is_refused(void **state)
{
	write_during_set(*state, false);
}

static void a_write_that_comes_meanwhile_is_done_where_it_fails(void **state)
{
	write_during_set(*state, true);
}

#define TICKING(name) cmocka_unit_test_setup_teardown(name, setup_ticking, engine_teardown)
#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(labels_are_edited_and_stay),
	    UNTIMED(edits_at_the_same_time_all_count),
	    UNTIMED(an_expectation_decides_who_is_first),
	    UNTIMED(what_cannot_be_is_refused),
	    TICKING(a_version_has_labels_and_a_time_of_its_own),
	    TICKING(a_time_to_live_is_set_moved_and_cleared),
	    TICKING(what_has_expired_and_is_open_can_live_on),
	    TICKING(a_time_cleared_while_the_timer_waits_counts),
	    UNTIMED(nothing_changes_what_is_read_only),
	    UNTIMED(its_name_is_not_read_only),
	    UNTIMED(a_handle_can_be_written_again_when_it_ends),
	    UNTIMED(a_range_clone_that_comes_meanwhile_is_refused),
	    UNTIMED(a_range_clone_that_has_begun_is_done),
	    UNTIMED(a_write_that_comes_meanwhile_is_refused),
	    UNTIMED(a_write_that_comes_meanwhile_is_done_where_it_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
