/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: verifying. */
#include "tests/unit/libcow_fixture.h"

#include <string.h>

static int setup(void **state)
{
	struct fixture *fx = fixture_start(state);

	fake_store_add(fx->st, "a", 6 * BLOCK);
	fake_store_fill(fx->st, "a", 6);
	fixture_open(fx, "a");
	return 0;
}

static void damaged(struct fixture *fx, uint32_t i, uint64_t offset, uint64_t len, uint32_t kind)
{
	fx->st->damages[i] = (struct msg_damage){offset, len, kind == 3 ? 0 : BLOCK, kind};
	fx->st->ndamages = i + 1;
}

static void test_a_range_is_asked_for(void **state)
{
	struct fixture *fx = *state;
	struct cow_damage damages[4];
	struct cow_verified v;

	damaged(fx, 0, BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	damaged(fx, 1, 3 * BLOCK, BLOCK, MSG_DAMAGE_READ);
	damaged(fx, 2, 5 * BLOCK, BLOCK, MSG_DAMAGE_METADATA);
	assert_int_equal(cow_verify(fx->obj, 7, 100, UINT64_MAX, 5000, damages, 4, &v), 3);
	assert_true(v.len == 6 * BLOCK - 100 && v.left == 0);
	assert_true(v.read == v.len && v.pending == 4096);
	assert_true(damages[0].offset == BLOCK && damages[0].len == BLOCK);
	assert_int_equal(damages[0].physical, BLOCK);
	assert_int_equal(damages[0].kind, COW_DAMAGE_CHECKSUM);
	assert_int_equal(damages[1].kind, COW_DAMAGE_READ);
	assert_int_equal(damages[2].kind, COW_DAMAGE_METADATA);
	assert_int_equal(damages[2].physical, 0);
	assert_int_equal(fx->st->verified.older, 7);
	assert_int_equal(fx->st->verified.offset, 100);
	assert_int_equal(fx->st->verified.rate, 5000);
	assert_int_equal(fx->st->verified.max, 4);
	assert_int_equal(fx->st->verified.offset + fx->st->verified.len, UINT64_MAX);
	assert_int_equal(cow_verify(fx->obj, 0, 6 * BLOCK, 1, 0, damages, 4, &v), 0);
	assert_true(v.len == 0 && v.left == 0);
}

static void test_a_call_is_one_piece(void **state)
{
	struct fixture *fx = *state;
	struct cow_damage damage;
	struct cow_verified v;

	fx->st->verify_max = 2 * BLOCK;
	damaged(fx, 0, 2 * BLOCK, BLOCK, MSG_DAMAGE_READ);
	assert_int_equal(cow_verify(fx->obj, 0, 5, UINT64_MAX, 0, &damage, 1, &v), 1);
	assert_true(v.len == 2 * BLOCK && v.left == 4 * BLOCK - 5);
	assert_int_equal(fx->st->requests[WIRE_OP_VERIFY], 1);
	assert_int_equal(cow_verify(fx->obj, 0, v.len + 5, v.left, 0, &damage, 1, &v), 1);
	assert_int_equal(damage.offset, 2 * BLOCK); /* the rest of that block */
	assert_int_equal(cow_verify(fx->obj, 0, 3 * BLOCK, BLOCK, 0, &damage, 1, &v), 0);
	assert_true(v.len == BLOCK && v.left == 0);
}

static void test_it_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct cow_damage damage;
	struct cow_verified v;

	assert_int_equal(cow_verify(fx->obj, 0, 0, 1, 0, &damage, 0, &v), -COW_EINVAL);
	assert_int_equal(cow_verify(fx->obj, 0, 0, 1, 4095, &damage, 1, &v), -COW_EINVAL);
	assert_non_null(strstr(cow_error(fx->cow), "4096"));
	assert_int_equal(fx->st->requests[WIRE_OP_VERIFY], 0);
}

/* What is told of where nothing was asked, twice, or without room for it. */
static void test_a_bad_reply_is_the_servers_fault(void **state)
{
	struct fixture *fx = *state;
	struct cow_damage damages[2];
	struct cow_verified v = {.len = 77};

#define ASK(off, len) cow_verify(fx->obj, 0, off, len, 0, damages, 2, &v)
	fx->st->damages_anywhere = true;
	damaged(fx, 0, 0, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(BLOCK, BLOCK), -COW_EPROTO);
	damaged(fx, 0, 2 * BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(BLOCK, BLOCK), -COW_EPROTO);
	damaged(fx, 0, BLOCK, UINT64_MAX - BLOCK + 1, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(BLOCK, BLOCK), -COW_EPROTO);
	damaged(fx, 0, BLOCK, 2 * BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(BLOCK, BLOCK), -COW_EPROTO);
	damaged(fx, 0, BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	damaged(fx, 1, BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(BLOCK, BLOCK), -COW_EPROTO);
	damaged(fx, 2, 2 * BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	damaged(fx, 1, 0, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(v.len, 77);
	damaged(fx, 0, 0, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(0, 3 * BLOCK), 1);
	damaged(fx, 1, BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	damaged(fx, 2, 2 * BLOCK, BLOCK, MSG_DAMAGE_CHECKSUM);
	assert_int_equal(ASK(0, 3 * BLOCK), -COW_EPROTO); /* more than were asked for */
#undef ASK
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_a_range_is_asked_for),
	    TEST(test_a_call_is_one_piece),
	    TEST(test_it_is_refused),
	    TEST(test_a_bad_reply_is_the_servers_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
