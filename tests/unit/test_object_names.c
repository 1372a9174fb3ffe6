/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_names.c: versions, clones, other names, removal: what is found under which name, who
 * may do what meanwhile, and that it is there after a crash.
 */
#include "tests/unit/object_fixture.h"

/* ---- versions -------------------------------------------------------------------------------- */

static void a_version_is_what_was_acknowledged(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct map_obj info;

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0); /* and not made durable */
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 2), 0);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
	assert_int_equal(engine_blk_byte(e, h, 0), 2);
	assert_int_equal(info_of(e, "a@v", &info), 0);
	assert_int_equal(info.size_bytes, BLK_BYTES);
	assert_string_equal(info.name, "a@v");
	assert_int_equal(info_of(e, "a", &info), 0);
	assert_int_equal(info.nversions, 1);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
}

static void a_version_is_read_only(void **state)
{
	struct engine *e = *state;
	struct pagevec pv;
	struct handle *h;
	struct result res = {0};
	uint8_t byte = 9;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(open_as(e, "a@v", false, &h), -ERR_PERM);
	assert_int_equal(open_as(e, "a@v", true, &h), 0);
	pv = engine_payload(e, 0, &byte, 1);
	object_write(h, 0, &pv, engine_done_cb, &res);
	assert_int_equal(engine_wait(e, &res), -ERR_PERM);
	assert_int_equal(engine_resize(e, h, 0, true), -ERR_PERM);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
}

static void a_snapshot_needs_a_free_name_of_an_object(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(snapshot(e, "a@v"), -ERR_EXIST);
	assert_int_equal(snapshot(e, "b@v"), -ERR_NOENT);
	assert_int_equal(snapshot(e, "a"), -ERR_INVAL);
	assert_int_equal(snapshot(e, "a@v@w"), -ERR_BAD_NAME);
	assert_int_equal(snapshot(e, "a@"), -ERR_BAD_NAME);
}

static void versions_are_listed_in_order(void **state)
{
	struct engine *e = *state;
	struct found all = {0};
	struct found some = {0};
	struct found rest = {0};
	struct found none = {0};

	make(e, "a", 1, 1);
	make(e, "ab", 1, 1);
	assert_int_equal(snapshot(e, "ab@v0"), 0);
	assert_int_equal(snapshot(e, "a@v2"), 0);
	assert_int_equal(snapshot(e, "a@v1"), 0);
	assert_int_equal(snapshot(e, "a@v3"), 0);
	object_versions(e->objs, "a", "", 8, listed_cb, &all);
	assert_int_equal(found_wait(e, &all), 0);
	assert_int_equal(all.n, 3);
	assert_false(all.more);
	assert_string_equal(all.objs[0].name, "a@v1");
	assert_string_equal(all.objs[1].name, "a@v2");
	assert_string_equal(all.objs[2].name, "a@v3");
	object_versions(e->objs, "a", "", 2, listed_cb, &some);
	assert_int_equal(found_wait(e, &some), 0);
	assert_int_equal(some.n, 2);
	assert_true(some.more);
	object_versions(e->objs, "a", "v2", 2, listed_cb, &rest);
	assert_int_equal(found_wait(e, &rest), 0);
	assert_int_equal(rest.n, 1);
	assert_false(rest.more);
	assert_string_equal(rest.objs[0].name, "a@v3");
	object_versions(e->objs, "c", "", 2, listed_cb, &none);
	assert_int_equal(found_wait(e, &none), -ERR_NOENT);
}

static void a_version_can_be_cloned(void **state)
{
	struct engine *e = *state;
	struct map_obj version;
	struct map_obj info;
	struct handle *h;

	make(e, "a", 2, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(engine_clone(e, "a@v", "b"), 0);
	assert_int_equal(byte_of(e, "b", 0), 1);
	assert_int_equal(info_of(e, "a@v", &version), 0);
	assert_int_equal(info_of(e, "b", &info), 0);
	assert_int_equal(info.origin, version.id);
	assert_int_equal(info.parent, 0);
	assert_int_equal(info.size_bytes, 2 * BLK_BYTES);
	assert_int_equal(object_close(h), 0);
	h = engine_open(e, "b"); /* it can be written, and the version does not notice */
	assert_int_equal(engine_write_blk(e, h, 0, 3), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(byte_of(e, "a@v", 0), 1);
	assert_int_equal(remove_all(e, "a"), 0);
	assert_int_equal(byte_of(e, "b", 1), 1);
}

/* A clone that is made while the source is written holds the first so many of its writes. */
static void a_clone_holds_a_prefix_of_the_writes(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 64 * BLK_BYTES);
	struct result clone[4] = {0};
	struct result sync = {0};

	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(engine_write_blk(e, h, i, 1), 0);
		if (i % 16 == 8) {
			char name[] = {'c', (char)('0' + i / 16), '\0'};

			object_fsync(h, engine_done_cb, &sync);
			object_clone(e->objs, "a", name, NULL, engine_info_cb, &clone[i / 16]);
		}
	}
	for (uint64_t k = 0; k < 4; k++) {
		char name[] = {'c', (char)('0' + k), '\0'};
		bool written = true;

		assert_int_equal(engine_wait(e, &clone[k]), 0);
		for (uint64_t i = 0; i < 64; i++) {
			uint8_t byte = byte_of(e, name, i);

			assert_true(i > 16 * k + 8 || byte == 1);
			assert_true(written || byte == 0);
			written = byte == 1;
		}
	}
	assert_int_equal(object_close(h), 0);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void a_reset_brings_content_and_size_back(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 2, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 3), 0);
	assert_int_equal(engine_write_blk(e, h, 5, 3), 0); /* these two are dirty */
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(object_size(h), 2 * BLK_BYTES);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(engine_blk_byte(e, h, 1), 1);
	assert_int_equal(engine_write_blk(e, h, 1, 4), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(byte_of(e, "a@v", 1), 1);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "a", 1), 4);
}

static void a_reset_undoes_a_truncation(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 8, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_resize(e, h, BLK_BYTES, true), 0);
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(object_size(h), 8 * BLK_BYTES);
	assert_int_equal(engine_blk_byte(e, h, 7), 1);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, 7), 1);
	assert_int_equal(object_close(h), 0);
}

static void a_reset_is_to_a_version_of_the_object(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	assert_int_equal(reset(e, "a"), -ERR_INVAL);
	assert_int_equal(reset(e, "a@v"), -ERR_NOENT);
	assert_int_equal(reset(e, "b@v"), -ERR_NOENT);
}

static void start_write(struct engine *e, struct handle *h, uint64_t off, uint64_t len,
			uint8_t byte, struct result *res)
{
	uint8_t bytes[BLK_BYTES];
	struct pagevec pv;

	memset(bytes, byte, sizeof(bytes));
	pv = engine_payload(e, off, bytes, len);
	object_write(h, off, &pv, engine_done_cb, res);
}

static void writes_wait_for_a_reset_and_land_behind_it(void **state)
{
	struct engine *e = *state;
	struct result reset_res = {0};
	struct result write = {0};
	struct result cut = {0};
	struct handle *h;
	uint64_t syncs;

	make(e, "a", 4, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 2), 0);
	syncs = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_reset(e->objs, "a@v", engine_info_cb, &reset_res);
	engine_wait_calls(e, GATE_SYNC, syncs + 1); /* for the dirty blocks */
	engine_settle(e);
	start_write(e, h, BLK_BYTES, BLK_BYTES, 3, &write);
	object_resize(h, 3 * BLK_BYTES, true, engine_done_cb, &cut);
	engine_settle(e);
	assert_false(reset_res.done || write.done || cut.done);
	assert_int_equal(engine_blk_byte(e, h, 0), 2); /* who reads does not wait */
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &reset_res), 0);
	assert_int_equal(engine_wait(e, &write), 0);
	assert_int_equal(engine_wait(e, &cut), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(engine_blk_byte(e, h, 1), 3);
	assert_int_equal(object_size(h), 3 * BLK_BYTES);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "a", 1), 3);
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	(void)pv;
	engine_done_cb(ctx, err);
}

/* What a slow read brings of the old content is not taken for the new. */
static void a_read_under_way_does_not_bring_the_old_content_back(void **state)
{
	struct engine *e = *state;
	struct result read = {0};
	struct result write = {0};
	uint8_t bytes[BLK_BYTES];
	struct handle *h;

	make(e, "a", 40, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(engine_write_blk(e, h, i, 2), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* nothing is in the cache */
	h = engine_open(e, "a");
	gate_dev_hold(e->gate, GATE_READ);
	object_read(h, 0, BLK_BYTES, read_cb, &read);
	start_write(e, h, 20 * BLK_BYTES + 10, 100, 3, &write); /* fills the block first */
	engine_wait_calls(e, GATE_READ, 2);
	assert_int_equal(reset(e, "a@v"), 0);
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &read), 0);
	assert_int_equal(engine_wait(e, &write), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(engine_read(e, h, 20 * BLK_BYTES, bytes, BLK_BYTES), BLK_BYTES);
	for (uint32_t i = 0; i < BLK_BYTES; i++)
		assert_int_equal(bytes[i], i >= 10 && i < 110 ? 3 : 1);
	assert_int_equal(object_close(h), 0);
}

static void after_a_failed_reset_writes_go_on(void **state)
{
	struct engine *e = *state;
	struct result write = {0};
	struct result res = {0};
	struct handle *h;
	uint64_t before;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	before = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_reset(e->objs, "a@v", engine_info_cb, &res);
	engine_wait_calls(e, GATE_SYNC, before + 1);
	start_write(e, h, BLK_BYTES, BLK_BYTES, 3, &write);
	gate_dev_fail_upto(e->gate, GATE_SYNC, before + 2); /* both attempts */
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &res), -ERR_WRITEBACK);
	assert_int_equal(engine_wait(e, &write), 0);
	assert_int_equal(engine_fsync(e, h), -ERR_WRITEBACK); /* is told of it */
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 2);
	assert_int_equal(engine_blk_byte(e, h, 1), 3);
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
}

/* ---- other names ----------------------------------------------------------------------------- */

static void open_handles_go_on_under_another_name(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct map_obj info;
	const char *held;

	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(rename_to(e, "a", "b"), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_false(exists(e, "a") || exists(e, "a@v"));
	assert_int_equal(byte_of(e, "b", 1), 2);
	assert_int_equal(byte_of(e, "b@v", 0), 1); /* versions follow */
	assert_int_equal(info_of(e, "b@v", &info), 0);
	assert_string_equal(info.name, "b@v");
	assert_null(object_holder(e->objs, "a", &held));
	assert_string_equal(object_holder(e->objs, "b", &held), "test");
	assert_string_equal(object_name(h), "b");
	assert_int_equal(engine_create(e, "a", 0), 0); /* the name is free */
	assert_int_equal(object_close(h), 0);
	crash(e);
	assert_int_equal(byte_of(e, "b", 0), 2);
	assert_int_equal(byte_of(e, "b@v", 0), 1);
}

static void a_version_can_be_renamed(void **state)
{
	struct engine *e = *state;
	struct handle *h;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(open_as(e, "a@v", true, &h), 0);
	assert_int_equal(rename_to(e, "a@v", "a@w"), 0);
	assert_false(exists(e, "a@v"));
	assert_string_equal(object_name(h), "a@w");
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(byte_of(e, "a@w", 0), 1);
}

static void a_rename_needs_a_free_name_of_its_kind(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(snapshot(e, "a@w"), 0);
	assert_int_equal(rename_to(e, "a", "b"), -ERR_EXIST);
	assert_int_equal(rename_to(e, "a", "a"), -ERR_SAME_NAME);
	assert_int_equal(rename_to(e, "a@v", "a@v"), -ERR_SAME_NAME);
	assert_int_equal(rename_to(e, "c", "c"), -ERR_SAME_NAME);
	assert_int_equal(exchange(e, "a", "a"), -ERR_SAME_NAME);
	assert_int_equal(rename_to(e, "c", "d"), -ERR_NOENT);
	assert_int_equal(rename_to(e, "a@v", "a@w"), -ERR_EXIST);
	assert_int_equal(rename_to(e, "a@v", "b@v"), -ERR_INVAL);
	assert_int_equal(rename_to(e, "a@v", "c"), -ERR_INVAL);
	assert_int_equal(rename_to(e, "a", "b@x"), -ERR_INVAL);
	assert_int_equal(rename_to(e, "a", "/"), -ERR_BAD_NAME);
	assert_int_equal(byte_of(e, "a", 0), 1);
	assert_int_equal(byte_of(e, "b", 0), 2);
}

static void an_exchange_swaps_names_and_nothing_else(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	const char *held;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(exchange(e, "a", "b"), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 1); /* stays with its object */
	assert_int_equal(byte_of(e, "a", 0), 2);
	assert_int_equal(byte_of(e, "b", 0), 1);
	assert_int_equal(byte_of(e, "b@v", 0), 1);
	assert_false(exists(e, "a@v"));
	assert_null(object_holder(e->objs, "a", &held));
	assert_non_null(object_holder(e->objs, "b", &held));
	assert_int_equal(object_close(h), 0);
	assert_int_equal(exchange(e, "a", "c"), -ERR_NOENT);
	assert_int_equal(exchange(e, "c", "a"), -ERR_NOENT);
	assert_int_equal(exchange(e, "b@v", "b@w"), -ERR_INVAL);
	crash(e);
	assert_int_equal(byte_of(e, "a", 0), 2);
	assert_int_equal(byte_of(e, "b@v", 0), 1);
}

/* ---- removal --------------------------------------------------------------------------------- */

static void an_object_with_versions_stays(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(snapshot(e, "a@w"), 0);
	assert_int_equal(engine_remove(e, "a"), -ERR_HAS_VERSIONS);
	assert_int_equal(engine_remove(e, "a@v"), 0);
	assert_false(exists(e, "a@v"));
	assert_int_equal(engine_remove(e, "a"), -ERR_HAS_VERSIONS);
	assert_int_equal(engine_remove(e, "a@w"), 0);
	assert_int_equal(engine_remove(e, "a"), 0);
	assert_false(exists(e, "a"));
}

static void an_object_goes_with_its_versions(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	make(e, "ab", 1, 1);
	assert_int_equal(snapshot(e, "ab@v"), 0);
	for (char c = '0'; c <= '9'; c++) {
		char spec[] = {'a', '@', c, '\0'};

		assert_int_equal(snapshot(e, spec), 0);
	}
	assert_int_equal(remove_all(e, "a"), 0);
	assert_false(exists(e, "a") || exists(e, "a@0") || exists(e, "a@9"));
	assert_true(exists(e, "ab") && exists(e, "ab@v"));
	assert_int_equal(remove_all(e, "a"), -ERR_NOENT);
	crash(e);
	assert_false(exists(e, "a") || exists(e, "a@5"));
	assert_int_equal(space_of(e).map.versions, 1);
}

static void what_is_open_is_not_removed(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	const char *held;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "a");
	assert_int_equal(remove_all(e, "a"), -ERR_BUSY);
	assert_true(exists(e, "a"));
	assert_int_equal(object_close(h), 0);
	if (!exists(e, "a@v"))
		assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(open_as(e, "a@v", true, &h), 0);
	assert_string_equal(object_holder(e->objs, "a", &held), "test");
	assert_string_equal(held, "a@v");
	assert_int_equal(remove_all(e, "a"), -ERR_BUSY);
	assert_int_equal(engine_remove(e, "a@v"), -ERR_BUSY);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(remove_all(e, "a"), 0);
}

/* ---- two at once ----------------------------------------------------------------------------- */

static void of_two_that_create_one_name_one_does(void **state)
{
	struct engine *e = *state;
	struct result res[3] = {0};

	make(e, "src", 1, 1);
	for (unsigned int i = 0; i < 2; i++)
		object_create(e->objs, "a", 0, NULL, engine_info_cb, &res[i]);
	object_clone(e->objs, "src", "a", NULL, engine_info_cb, &res[2]);
	assert_int_equal(engine_wait(e, &res[0]), 0);
	assert_int_equal(engine_wait(e, &res[1]), -ERR_EXIST);
	assert_int_equal(engine_wait(e, &res[2]), -ERR_EXIST);
}

static void of_two_that_remove_one_does(void **state)
{
	struct engine *e = *state;
	struct result res[2] = {0};

	make(e, "a", 1, 1);
	for (unsigned int i = 0; i < 2; i++)
		object_remove(e->objs, "a", false, engine_done_cb, &res[i]);
	assert_int_equal(engine_wait(e, &res[0]), 0);
	assert_int_equal(engine_wait(e, &res[1]), -ERR_NOENT);
}

/* Either it is removed or it is opened, whoever comes first, at any distance. */
static void what_is_removed_is_not_opened(void **state)
{
	struct engine *e = *state;

	for (unsigned int round = 0; round < 60; round++) {
		struct result removed = {0};
		struct result opened = {0};

		make(e, "a", 1, 1);
		if (round % 2)
			object_open(e->objs, "a", 0, "test", opened_cb, &opened);
		else
			object_remove(e->objs, "a", false, engine_done_cb, &removed);
		for (unsigned int i = round / 4; i > 0 && !opened.done && !removed.done; i--)
			engine_turn(e);
		if (round % 2)
			object_remove(e->objs, "a", false, engine_done_cb, &removed);
		else
			object_open(e->objs, "a", 0, "test", opened_cb, &opened);
		(void)engine_wait(e, &removed);
		if (engine_wait(e, &opened) == 0) {
			assert_int_equal(removed.err, -ERR_BUSY);
			assert_int_equal(engine_blk_byte(e, opened.handle, 0), 1);
			assert_int_equal(object_close(opened.handle), 0);
			assert_int_equal(engine_remove(e, "a"), 0);
		} else {
			assert_int_equal(opened.err, -ERR_NOENT);
			assert_int_equal(removed.err, 0);
		}
	}
}

static void what_is_looked_at_is_not_changed_meanwhile(void **state)
{
	struct engine *e = *state;
	struct result res[5] = {0};

	make(e, "a", 1, 1);
	object_snapshot(e->objs, "a@v", NULL, engine_info_cb, &res[0]);
	object_remove(e->objs, "a", false, engine_done_cb, &res[1]);
	object_clone(e->objs, "a", "b", NULL, engine_info_cb, &res[2]);
	object_rename(e->objs, "a", "c", false, engine_done_cb, &res[3]);
	object_clone(e->objs, "c@v", "d", NULL, engine_info_cb, &res[4]);
	assert_int_equal(engine_wait(e, &res[0]), 0);
	assert_int_equal(engine_wait(e, &res[1]), -ERR_HAS_VERSIONS);
	assert_int_equal(engine_wait(e, &res[2]), 0);
	assert_int_equal(engine_wait(e, &res[3]), 0);
	assert_int_equal(engine_wait(e, &res[4]), 0);
	assert_int_equal(byte_of(e, "b", 0), 1);
	assert_int_equal(byte_of(e, "d", 0), 1);
}

static void a_version_goes_before_or_after_a_reset_to_it(void **state)
{
	struct engine *e = *state;
	struct result removed = {0};
	struct result res = {0};

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	object_reset(e->objs, "a@v", engine_info_cb, &res);
	object_remove(e->objs, "a@v", false, engine_done_cb, &removed);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_int_equal(engine_wait(e, &removed), 0);
	assert_int_equal(byte_of(e, "a", 0), 1);
}

/* What is answered is durable. */
static void names_survive_a_crash(void **state)
{
	struct engine *e = *state;
	struct found found = {0};

	assert_int_equal(engine_create(e, "a", 5), 0);
	assert_int_equal(engine_create(e, "b", 0), 0);
	assert_int_equal(engine_clone(e, "a", "c"), 0);
	assert_int_equal(engine_remove(e, "b"), 0);
	crash(e);
	object_list(e->objs, "", "", "", 8, listed_cb, &found);
	assert_int_equal(found_wait(e, &found), 0);
	assert_int_equal(found.n, 2);
	assert_string_equal(found.objs[0].name, "a");
	assert_string_equal(found.objs[1].name, "c");
	assert_int_equal(found.objs[1].size_bytes, 5);
	assert_int_equal(found.objs[1].origin, found.objs[0].id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_version_is_what_was_acknowledged),
	    TEST(a_version_is_read_only),
	    TEST(a_snapshot_needs_a_free_name_of_an_object),
	    TEST(versions_are_listed_in_order),
	    TEST(a_version_can_be_cloned),
	    TEST(a_clone_holds_a_prefix_of_the_writes),
	    TEST(a_reset_brings_content_and_size_back),
	    TEST(a_reset_undoes_a_truncation),
	    TEST(a_reset_is_to_a_version_of_the_object),
	    TEST(writes_wait_for_a_reset_and_land_behind_it),
	    TEST(a_read_under_way_does_not_bring_the_old_content_back),
	    TEST(after_a_failed_reset_writes_go_on),
	    TEST(open_handles_go_on_under_another_name),
	    TEST(a_version_can_be_renamed),
	    TEST(a_rename_needs_a_free_name_of_its_kind),
	    TEST(an_exchange_swaps_names_and_nothing_else),
	    TEST(an_object_with_versions_stays),
	    TEST(an_object_goes_with_its_versions),
	    TEST(what_is_open_is_not_removed),
	    TEST(of_two_that_create_one_name_one_does),
	    TEST(of_two_that_remove_one_does),
	    TEST(what_is_removed_is_not_opened),
	    TEST(what_is_looked_at_is_not_changed_meanwhile),
	    TEST(a_version_goes_before_or_after_a_reset_to_it),
	    TEST(names_survive_a_crash),
	};

	return cmocka_run_group_tests_name("object names", tests, NULL, NULL);
}
