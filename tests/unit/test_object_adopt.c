/* SPDX-License-Identifier: BSD-2-Clause */
/* Clones that become versions of another object. */
#include "tests/unit/object_fixture.h"

static void a_clone_becomes_a_version_of_another_object(void **state)
{
	struct engine *e = *state;
	struct map_obj a, v;
	struct handle *h;

	make(e, "a", 4, 1);
	make(e, "b", 2, 2);
	h = engine_open(e, "b");
	assert_int_equal(engine_write_blk(e, h, 1, 3), 0); /* in memory only */
	assert_int_equal(engine_clone(e, "b", "a@v"), 0);
	assert_int_equal(engine_write_blk(e, h, 1, 4), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(info_of(e, "a", &a), 0);
	assert_int_equal(info_of(e, "a@v", &v), 0);
	assert_int_equal(a.nversions, 1);
	assert_int_equal(v.parent, a.id);
	assert_int_equal(v.size_bytes, 2 * BLK_BYTES);
	assert_int_equal(byte_of(e, "a@v", 0), 2);
	assert_int_equal(byte_of(e, "a@v", 1), 3);
	assert_int_equal(byte_of(e, "a", 1), 1);
	/* it is a version like any other, also after a crash and without what it was made of */
	crash(e);
	assert_int_equal(remove_all(e, "b"), 0);
	assert_int_equal(engine_remove(e, "a"), -ERR_HAS_VERSIONS);
	assert_int_equal(reset(e, "a@v"), 0);
	assert_int_equal(byte_of(e, "a", 1), 3);
	assert_int_equal(info_of(e, "a", &a), 0);
	assert_int_equal(a.size_bytes, 2 * BLK_BYTES);
	assert_int_equal(remove_all(e, "a"), 0);
	engine_reap(e);
}

static void of_a_version_and_of_itself(void **state)
{
	struct engine *e = *state;

	make(e, "a", 2, 1);
	make(e, "b", 2, 2);
	assert_int_equal(snapshot(e, "b@1"), 0);
	assert_int_equal(engine_clone(e, "b@1", "a@b1"), 0);
	assert_int_equal(engine_clone(e, "a@b1", "a@again"), 0);
	assert_int_equal(engine_clone(e, "a", "a@self"), 0);
	assert_int_equal(byte_of(e, "a@again", 0), 2);
	assert_int_equal(byte_of(e, "a@self", 0), 1);
}

static void it_may_expire(void **state)
{
	const struct object_attrs attrs = {.ttl_ms = 3600000};
	struct engine *e = *state;
	struct result res = {0};
	struct map_obj info;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	object_clone(e->objs, "b", "a@v", &attrs, engine_info_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	assert_true(res.info.expires_ns > 0);
	crash(e);
	assert_int_equal(info_of(e, "a@v", &info), 0);
	assert_int_equal(info.expires_ns, res.info.expires_ns);
	assert_int_equal(info_of(e, "a", &info), 0);
	assert_int_equal(info.expires_ns, 0);
}

static void what_is_refused(void **state)
{
	struct engine *e = *state;

	make(e, "a", 1, 1);
	make(e, "b", 1, 2);
	assert_int_equal(engine_clone(e, "b", "none@v"), -ERR_NO_PARENT);
	assert_int_equal(engine_clone(e, "none", "a@v"), -ERR_NOENT);
	assert_int_equal(engine_clone(e, "b", "a@"), -ERR_BAD_NAME);
	assert_int_equal(engine_clone(e, "b", "a@v"), 0);
	assert_int_equal(engine_clone(e, "b", "a@v"), -ERR_EXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
	    TEST(a_clone_becomes_a_version_of_another_object),
	    TEST(of_a_version_and_of_itself),
	    TEST(it_may_expire),
	    TEST(what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
