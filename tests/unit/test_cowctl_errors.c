/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What cowctl ($COWCTL) says of commands that fail, in part or as a whole, against a store in memory.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "client/ctl.h"
#include "client/end.h"
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

/* ---- JSON ------------------------------------------------------------------------------------ */

/* An operand may be any bytes; a character U+FFFD stands for each that is no UTF-8. */
static void test_cowctl_json_is_utf8_whatever_the_operands_are(void **state)
{
	struct fixture *f = fixture_start();
	char dir[] = "/tmp/cowd-test-XXXXXX";
	char path[64];
	char line[256];
	FILE *file;

	(void)state;
	fake_store_add(f->st, "p", 1);
	run(f, 1, "--json rm a\xff\xc3 caf\xc3\xa9\xe2\x82 p");
	expect_has(f->out, "\"a\xef\xbf\xbd\xef\xbf\xbd\",\n");
	expect_has(f->out, "\"caf\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"\n");
	expect_has(f->out, "\"removed\": [\n    \"p\"\n  ]");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/\xfe", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(line, sizeof(line), "--json cp %s o", path);
	run(f, 0, line);
	(void)snprintf(line, sizeof(line), "\"source\": \"%s/\xef\xbf\xbd\"", dir);
	expect_has(f->out, line);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	fixture_stop(f);
}

/* ---- cp -------------------------------------------------------------------------------------- */

static void test_cowctl_has_a_status_for_the_trouble_of_files(void **state)
{
	static const int statuses[][2] = {
	    {ENOENT, CTL_NOT_FOUND},  {EACCES, CTL_NOT_ALLOWED}, {EPERM, CTL_NOT_ALLOWED},
	    {EROFS, CTL_NOT_ALLOWED}, {ENOSPC, CTL_NO_SPACE},	 {EDQUOT, CTL_NO_SPACE},
	    {EISDIR, CTL_ERROR},
	};
	struct copy_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		assert_int_equal(end_fail_errno(&error, END_FILE, statuses[i][0], "f"), -1);
		assert_int_equal(error.status, statuses[i][1]);
		assert_string_equal(error.subject, "f");
		assert_string_equal(error.text, strerror(statuses[i][0]));
	}
}

/* The write of a copy is not answered in time, and the connection given up. */
static void expect_lost_copy(struct fixture *f)
{
	char path[] = "/tmp/cowd-test-XXXXXX";
	char line[128];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "data", 4), 4);
	assert_int_equal(close(fd), 0);
	f->st->mute_writes = UINT_MAX;
	(void)snprintf(line, sizeof(line), "--timeout=1 cp %s o", path);
	run(f, CTL_UNREACHABLE, line);
	assert_int_equal(unlink(path), 0);
	expect_has(f->err, "cowctl: cp: o: ");
}

/* The server may see later than cowctl that the connection has ended. */
static void test_cowctl_cp_removes_what_it_left_when_it_can(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->remove_fails = 3;
	f->st->remove_status = ERR_BUSY;
	expect_lost_copy(f);
	assert_int_equal(count_lines(f->err), 1);
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 4);
	assert_int_equal(f->st->count, 0);
	fixture_stop(f);
}

static void test_cowctl_cp_says_why_it_leaves_something(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->remove_fails = 1;
	f->st->remove_status = ERR_PERM;
	expect_lost_copy(f);
	expect_has(f->err, "o: it is incomplete and could not be removed: not removed, as the");
	assert_int_equal(count_lines(f->err), 2);
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 1);
	assert_int_equal(f->st->count, 1);
	fixture_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cowctl_dry_rm_goes_on_as_rm_does),
	    cmocka_unit_test(test_cowctl_says_which_of_two_names_is_bad),
	    cmocka_unit_test(test_cowctl_json_is_utf8_whatever_the_operands_are),
	    cmocka_unit_test(test_cowctl_has_a_status_for_the_trouble_of_files),
	    cmocka_unit_test(test_cowctl_cp_removes_what_it_left_when_it_can),
	    cmocka_unit_test(test_cowctl_cp_says_why_it_leaves_something),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
