/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_group.c: clones and versions of several objects at one point in time: all or none of
 * them, whatever refuses one, and what each holds while its source is written.
 */
#include "tests/unit/object_fixture.h"

struct cloned {
	struct result res;
	uint32_t at;
};

static void cloned_cb(void *ctx, int err, uint32_t at)
{
	struct cloned *cloned = ctx;

	cloned->at = at;
	engine_done_cb(&cloned->res, err);
}

static void clone_all_start(struct engine *e, const struct object_pair *pairs, uint32_t n,
			    struct cloned *cloned)
{
	*cloned = (struct cloned){0};
	object_clone_all(e->objs, pairs, n, NULL, cloned_cb, cloned);
}

static int clone_all(struct engine *e, const struct object_pair *pairs, uint32_t n, uint32_t *at)
{
	struct cloned cloned;

	clone_all_start(e, pairs, n, &cloned);
	(void)engine_wait(e, &cloned.res);
	*at = cloned.at;
	return cloned.res.err;
}

/* Refused because of pair "at", and nothing is made. */
static void assert_refused(struct engine *e, const struct object_pair *pairs, uint32_t n, int err,
			   uint32_t at)
{
	struct object_space before = space_of(e);
	struct object_space after;
	uint32_t got;

	assert_int_equal(clone_all(e, pairs, n, &got), err);
	assert_int_equal(got, at);
	after = space_of(e);
	assert_int_equal(after.map.objects, before.map.objects);
	assert_int_equal(after.map.versions, before.map.versions);
}

static void close_all(struct handle *const *handles, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(object_close(handles[i]), 0);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void clones_and_versions_are_made_as_one(void **state)
{
	static const struct object_pair pairs[] = {
	    {"a", "a@v"}, {"b", "b@v"}, {"a", "a2"}, {"a@old", "old"}};
	struct engine *e = *state;
	struct map_obj infos[ARRAY_LEN(pairs)];
	uint64_t writes;
	uint32_t at;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	assert_int_equal(snapshot(e, "a@old"), 0);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	assert_int_equal(clone_all(e, pairs, ARRAY_LEN(pairs), &at), 0);
	assert_int_equal(at, ARRAY_LEN(pairs));
	assert_int_equal(gate_dev_calls(e->gate, GATE_WRITE), writes + 1);
	crash(e);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		assert_int_equal(info_of(e, pairs[i].dst, &infos[i]), 0);
		assert_int_equal(infos[i].ctime_ns, infos[0].ctime_ns);
	}
	assert_true(infos[0].parent != 0 && infos[1].parent != 0);
	assert_true(infos[2].parent == 0 && infos[3].parent == 0);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
	assert_int_equal(byte_of(e, "b@v", 0), 2);
	assert_int_equal(byte_of(e, "a2", 0), 1);
	assert_int_equal(byte_of(e, "old", 0), 1);
}

static void each_gets_the_attributes(void **state)
{
	static const char label[] = "k=v";
	static const struct object_attrs attrs = {
	    .ttl_ms = 3600000, .labels = label, .labels_len = sizeof(label)};
	static const struct object_pair pairs[] = {{"a", "a2"}, {"b", "b2"}, {"b", "b@v"}};
	struct engine *e = *state;
	struct cloned cloned = {0};
	struct map_obj info;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	object_clone_all(e->objs, pairs, ARRAY_LEN(pairs), &attrs, cloned_cb, &cloned);
	assert_int_equal(engine_wait(e, &cloned.res), 0);
	crash(e);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		assert_int_equal(info_of(e, pairs[i].dst, &info), 0);
		assert_int_equal(info.labels_len, sizeof(label));
		assert_string_equal(info.labels, label);
		assert_true(info.expires_ns > 0);
	}
}

/*
 * "a" and "b" get the same number one after the other, while versions of both are made and the device
 * is slow: "b" is never ahead of "a" in a pair of them.
 */
static void versions_are_of_one_point_in_time(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	struct object_pair pairs[8][2];
	struct cloned cloned[ARRAY_LEN(pairs)];
	char names[ARRAY_LEN(pairs)][2][16];

	for (uint8_t i = 0; i < ARRAY_LEN(pairs); i++) {
		uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
		uint64_t nblks = i % 3 == 0 ? 1 : ENGINE_WRITTEN_BLKS;
		uint8_t odd = (uint8_t)(2 * i + 1);
		uint8_t even = (uint8_t)(2 * i + 2);

		if (i % 2 == 0)
			gate_dev_hold(e->gate, GATE_SYNC);
		for (uint8_t k = 0; k < 2; k++) {
			snprintf(names[i][k], sizeof(names[i][k]), "%c@v%u", 'a' + k, i);
			pairs[i][k] = (struct object_pair){k ? "b" : "a", names[i][k]};
		}
		assert_int_equal(engine_write_blks(e, h[0], 0, nblks, odd), 0);
		assert_int_equal(engine_write_blk(e, h[1], 0, odd), 0);
		assert_int_equal(engine_write_blk(e, h[0], 0, even), 0);
		clone_all_start(e, pairs[i], 2, &cloned[i]);
		if (i % 2 == 0)
			engine_wait_calls(e, GATE_SYNC, syncs + 1);
		assert_int_equal(engine_write_blk(e, h[1], 0, even), 0);
		gate_dev_open(e->gate, GATE_SYNC);
	}
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		assert_int_equal(engine_wait(e, &cloned[i].res), 0);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		uint8_t a = byte_of(e, names[i][0], 0);
		uint8_t b = byte_of(e, names[i][1], 0);

		assert_true(a >= 2 * i + 2); /* all that was acknowledged before */
		assert_true(b == a || b == a - 1);
	}
	assert_int_equal(object_close(h[0]), 0);
	assert_int_equal(object_close(h[1]), 0);
}

/* What was written behind it is not in it, whoever goes on first when the set is durable. */
static void a_group_is_not_overtaken_by_a_later_epoch(void **state)
{
	static const struct object_pair pairs[] = {{"a", "a@v"}, {"b", "b@v"}};
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result later[2] = {0};
	struct cloned cloned;

	gate_dev_hold(e->gate, GATE_SYNC);
	assert_int_equal(engine_write_blks(e, h[0], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_int_equal(engine_write_blk(e, h[1], 0, 1), 0);
	clone_all_start(e, pairs, ARRAY_LEN(pairs), &cloned);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(engine_write_blk(e, h[i], 0, 2), 0);
		object_fsync(h[i], engine_done_cb, &later[i]);
	}
	engine_settle(e);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &cloned.res), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(engine_wait(e, &later[i]), 0);
		assert_int_equal(byte_of(e, pairs[i].dst, 0), 1);
		assert_int_equal(object_close(h[i]), 0);
	}
}

/* A client that goes on with both objects as soon as its fsync of one is answered. */
struct goes_on {
	struct handle *h[2];
	struct result resize[2];
	struct result fsync[2];
};

static void goes_on_cb(void *ctx, int err)
{
	struct goes_on *on = ctx;

	assert_int_equal(err, 0);
	for (size_t i = 0; i < 2; i++) {
		object_resize(on->h[i], 10 * MIB, false, engine_done_cb, &on->resize[i]);
		object_fsync(on->h[i], engine_done_cb, &on->fsync[i]);
	}
}

static void a_group_is_not_overtaken_by_what_a_callback_starts(void **state)
{
	static const struct object_pair pairs[] = {{"a", "a@v"}, {"b", "b@v"}};
	struct engine *e = *state;
	struct goes_on on = {.h = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)}};
	struct handle *c = engine_create_open(e, "c", 0);
	struct handle *const tied[] = {on.h[0], on.h[1], c};
	struct result first = {0};
	struct cloned cloned;

	/* all is closed as often as it may be, so what follows waits for one set */
	assert_int_equal(object_tie(tied, ARRAY_LEN(tied)), 0);
	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint8_t i = 0; i < 2; i++) {
		assert_int_equal(engine_write_blk(e, c, 0, i), 0);
		object_fsync(c, engine_done_cb, &first);
	}
	assert_int_equal(engine_write_blk(e, on.h[0], 0, 1), 0);
	assert_int_equal(engine_write_blk(e, on.h[1], 0, 1), 0);
	object_fsync(on.h[0], goes_on_cb, &on);
	clone_all_start(e, pairs, ARRAY_LEN(pairs), &cloned);
	engine_wait_clone(e, on.h[1]); /* for the same set, behind the fsync */
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &cloned.res), 0);
	for (size_t i = 0; i < 2; i++) {
		struct map_obj info = {0};

		assert_int_equal(engine_wait(e, &on.resize[i]), 0);
		assert_int_equal(engine_wait(e, &on.fsync[i]), 0);
		assert_int_equal(info_of(e, pairs[i].dst, &info), 0);
		assert_int_equal(info.size_bytes, BLK_BYTES);
	}
	close_all(tied, ARRAY_LEN(tied));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void what_refuses_one_refuses_all(void **state)
{
	static const struct {
		struct object_pair pairs[3];
		int err;
		uint32_t at;
	} cases[] = {
	    {{{"a", "x"}, {"no", "y"}, {"b", "z"}}, -ERR_NOENT, 1},
	    {{{"a", "x"}, {"b", "y"}, {"b", "a"}}, -ERR_EXIST, 2},
	    {{{"a", "a@v"}, {"b", "b@w"}, {"a", "a@w"}}, -ERR_EXIST, 2},
	    {{{"a", "x"}, {"b", "y"}, {"b", "x"}}, -ERR_SAME_NAME, 2},
	    {{{"a", "x"}, {"x", "y"}, {"b", "z"}}, -ERR_NOENT, 1},
	    {{{"a", "b@x"}, {"b", "y"}, {"b", "z"}}, -ERR_INVAL, 0},
	    {{{"a@w", "a@x"}, {"b", "y"}, {"b", "z"}}, -ERR_INVAL, 0},
	    {{{"a", "x"}, {"b", ""}, {"b", "z"}}, -ERR_BAD_NAME, 1},
	    {{{"a", "x"}, {"@", "y"}, {"b", "z"}}, -ERR_BAD_NAME, 1},
	};
	struct engine *e = *state;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	assert_int_equal(snapshot(e, "a@w"), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_refused(e, cases[i].pairs, 3, cases[i].err, cases[i].at);
	assert_int_equal(engine_create(e, "x", 0), 0); /* nothing is claimed any more */
	assert_int_equal(engine_remove(e, "a@w"), 0);
}

static void a_group_has_a_limit(void **state)
{
	struct object_pair pairs[OBJECT_GROUP_MAX + 1];
	char names[OBJECT_GROUP_MAX + 1][16];
	struct engine *e = *state;
	uint32_t at;

	make(e, "a", 1, 1);
	for (uint32_t i = 0; i < ARRAY_LEN(pairs); i++) {
		snprintf(names[i], sizeof(names[i]), "c%u", i);
		pairs[i] = (struct object_pair){"a", names[i]};
	}
	assert_refused(e, pairs, ARRAY_LEN(pairs), -ERR_LIMIT, ARRAY_LEN(pairs));
	assert_int_equal(clone_all(e, pairs, OBJECT_GROUP_MAX, &at), 0);
	assert_int_equal(byte_of(e, names[OBJECT_GROUP_MAX - 1], 0), 1);
	assert_int_equal(clone_all(e, pairs, 0, &at), 0);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failing_device_makes_none(void **state)
{
	static const struct object_pair pairs[] = {{"a", "a@v"}, {"b", "b@v"}};
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	uint64_t writes = gate_dev_calls(e->gate, GATE_WRITE);
	uint32_t at;

	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2);
	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	assert_refused(e, pairs, ARRAY_LEN(pairs), -ERR_IO, ARRAY_LEN(pairs));
	assert_int_equal(clone_all(e, pairs, ARRAY_LEN(pairs), &at), 0);
	writes = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_fail_upto(e->gate, GATE_WRITE, writes + 2); /* both attempts at their record */
	assert_refused(e, (const struct object_pair[]){{"a", "a2"}, {"b", "b2"}}, 2, -ERR_WRITEBACK,
		       2);
	assert_int_equal(object_close(h[0]), -ERR_WRITEBACK);
	assert_int_equal(object_close(h[1]), -ERR_WRITEBACK);
	crash(e);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
	assert_int_equal(byte_of(e, "b@v", 0), 1);
	assert_false(exists(e, "a2"));
	assert_false(exists(e, "b2"));
}

/* The data of one may be lost, that of the other travels in the record: both are written once more. */
static void a_failed_sync_of_large_and_small_is_made_good(void **state)
{
	struct engine *e = *state;
	struct handle *h[] = {engine_create_open(e, "a", 0), engine_create_open(e, "b", 0)};
	struct result fsync = {0};

	assert_int_equal(engine_write_blk(e, h[0], 0, 1), 0);
	assert_int_equal(engine_write_blks(e, h[1], 0, ENGINE_WRITTEN_BLKS, 1), 0);
	gate_dev_fail_upto(e->gate, GATE_SYNC, gate_dev_calls(e->gate, GATE_SYNC) + 1);
	object_fsync_all(h, ARRAY_LEN(h), engine_done_cb, &fsync);
	assert_int_equal(engine_wait(e, &fsync), 0);
	close_all(h, ARRAY_LEN(h));
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "b", ENGINE_WRITTEN_BLKS - 1), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(clones_and_versions_are_made_as_one),
	    TEST(each_gets_the_attributes),
	    TEST(versions_are_of_one_point_in_time),
	    TEST(a_group_is_not_overtaken_by_a_later_epoch),
	    TEST(a_group_is_not_overtaken_by_what_a_callback_starts),
	    TEST(what_refuses_one_refuses_all),
	    TEST(a_group_has_a_limit),
	    TEST(a_failing_device_makes_none),
	    TEST(a_failed_sync_of_large_and_small_is_made_good),
	};

	return cmocka_run_group_tests_name("object group", tests, NULL, NULL);
}
