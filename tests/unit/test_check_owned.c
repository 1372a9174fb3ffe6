/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker finds where an object owns less than it says, and where what is reserved and promised is
 * not the sum over all objects.
 */
#include "tests/unit/check_fixture.h"

/* Plants it; n differences are found, and one of them says so. */
static void find(void (*plant)(struct world *w), int n, const char *words)
{
	struct fix_report report = {0};
	struct check_totals totals;
	struct world w;
	int found;

	world_open(&w);
	plant(&w);
	assert_int_equal(kv_write_commit(w.kv), 0);
	found = check_map(w.fix.map, fix_report, &report, &totals);
	if (found != n || !strstr(report.text, words))
		fail_msg("%d differences, not %d with \"%s\":\n%s", found, n, words, report.text);
	fix_close(&w.fix);
}

static void put_owned(struct world *w, uint64_t oid, uint64_t owned, uint64_t reserved)
{
	struct map_object obj = load_obj(w, oid);

	obj.pub.owned_nblks = owned;
	obj.pub.reserved_nblks = reserved;
	map_object_write(w->kv, &obj);
}

static void put_sums(struct world *w, uint64_t reserved, uint64_t promised)
{
	struct map_state counters = load_state(w);

	counters.reserved_nblks = reserved;
	counters.promised_nblks = promised;
	map_state_write(w->kv, &counters);
}

/* Object 5 has block 10 alone, in a leaf of its own; the others of that leaf another one maps, too. */
static void more_than_it_has(struct world *w)
{
	put_owned(w, OID_C, 2, 0);
}

/* Another object has the root, too. */
static void what_is_shared(struct world *w)
{
	put_owned(w, OID_A, 1, 0);
}

static void where_there_is_nothing(struct world *w)
{
	put_owned(w, OID_W, 1, 0);
}

static void more_reserved_than_may_be(struct world *w)
{
	put_owned(w, OID_C, 1, BLK_OBJECT_MAX + 1);
}

static void reserved_by_a_version(struct world *w)
{
	put_owned(w, OID_V, 0, 1);
}

static void sum_reserved(struct world *w)
{
	put_sums(w, 1, 0);
}

static void sum_promised(struct world *w)
{
	put_owned(w, OID_C, 1, 4);
	put_sums(w, 4, 4);
}

static void test_objects_that_say_more_than_they_own(void **state)
{
	(void)state;
	find(more_than_it_has, 1, "object 5 says it owns 2 blocks, of its own are 1");
	find(what_is_shared, 1, "object 1 says it owns 1 blocks, of its own are 0");
	find(where_there_is_nothing, 1, "object 3 says it owns 1 blocks, it has none");
}

static void test_reservations_that_cannot_be(void **state)
{
	(void)state;
	find(more_reserved_than_may_be, 13, "object 5 is damaged");
	find(reserved_by_a_version, 3, "object 4 is damaged");
}

static void test_sums_that_are_wrong(void **state)
{
	(void)state;
	find(sum_reserved, 1, "the counter of reserved blocks says 1, there are 0");
	find(sum_promised, 1, "the counter of promised blocks says 4, there are 3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_objects_that_say_more_than_they_own),
	    cmocka_unit_test(test_reservations_that_cannot_be),
	    cmocka_unit_test(test_sums_that_are_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
