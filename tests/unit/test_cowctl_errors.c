/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What cowctl ($COWCTL) says of commands that fail, in part or as a whole, against a store in memory.
 */
#include "common/annot.h"
#include "common/err.h"
#include "tests/unit/cowctl_fixture.h"

/* ---- rm -------------------------------------------------------------------------------------- */

static void test_cowctl_dry_rm_goes_on_as_rm_does(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 8192);
	fake_store_add(f->st, "p", 8192);
	fake_store_fill(f->st, "p", 1);
	run(f, 0, "snap add o@v");
	run(f, 0, "snap add o@w");
	run(f, 5, "rm -n o p none");
	assert_string_equal(f->out, "p\nwould free 4 KiB\n");
	expect_has(f->err, "o: it has 2 versions (-r removes them too)");
	expect_has(f->err, "none: no such object");
	run(f, 3, "rm -n none o p"); /* the first failure gives the status */
	assert_string_equal(f->out, "p\nwould free 4 KiB\n");
	run(f, 5, "--json rm -n o p");
	expect_has(f->out, "\"would_remove\": [\n    \"p\"\n  ]");
	run(f, 5, "rm -n o@v o@v o p");
	assert_string_equal(f->out, "o@v\np\nwould free 4 KiB\n");
	expect_has(f->err, "o: it has 1 version (-r removes them too)");
	run(f, 0, "rm -n o@v o@w o"); /* by then it has none */
	expect_out(f, "o@v\no@w\no\nwould free 0 B\n");
	run(f, 0, "rm o@v o@w o");
	fixture_stop(f);
}

/* ---- two names ------------------------------------------------------------------------------- */

static void test_cowctl_says_which_of_two_names_is_bad(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	fake_store_add(f->st, "p", 1);
	run(f, 0, "snap add o@v");
	expect_error(f, 1, "mv o a//b", "mv: a//b: the new name has \"//\" in it");
	expect_error(f, 1, "mv a//b o", "mv: a//b: the old name has \"//\" in it");
	expect_error(f, 1, "mv --exchange o a//b", "mv: a//b: the second name has \"//\" in it");
	expect_error(f, 1, "mv o p@v", "mv: not two objects");
	expect_error(f, 1, "snap rename o@v .x",
		     "snap rename: o@.x: the new name has a version that begins with");
	expect_error(f, 1, "snap rename o@.x v2",
		     "snap rename: o@.x: the old name has a version that begins with");
	expect_error(f, 1, "snap rename o@v p@v", "snap rename: not two objects");
	fixture_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cowctl_dry_rm_goes_on_as_rm_does),
	    cmocka_unit_test(test_cowctl_says_which_of_two_names_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
