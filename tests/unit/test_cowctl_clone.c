/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of cowctl ($COWCTL) that make many clones, or do something to several objects at one point in
 * time, against a store in memory. */
#include "tests/unit/cowctl_fixture.h"

#include <unistd.h>

static void test_cowctl_clone_many(void **state)
{
	struct fixture *f = fixture_start();
	const struct fake_entry *e;

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	run(f, 0, "clone -N 100 --ttl=1h --label role=web --label n= golden vm%03d");
	expect_out(f, "");
	assert_int_equal(f->st->count, 101);
	e = fake_store_find(f->st, "vm099");
	assert_non_null(e);
	assert_int_equal(e->info.origin, 1);
	assert_int_equal(e->info.labels.len, sizeof("n=") + sizeof("role=web"));
	assert_true(e->info.expires_ns > UINT64_C(3600000000000));
	run(f, 0, "--json clone -N 2 vm000 x%d");
	expect_has(f->out, "\"names\": [\n    \"x0\",\n    \"x1\"\n  ]");
	expect_has(f->out, "\"origin\": \"vm000\"");
	fixture_stop(f);
}

static void test_cowctl_clone_many_says_what_was_made(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	fake_store_add(f->st, "vm3", 4096);
	fake_store_add(f->st, "vm5", 4096);
	run(f, 4, "clone -N 8 golden vm%d");
	expect_has(f->err, "clone: vm3: the name exists already");
	expect_has(f->err, "failed: vm3, vm5; made: vm0 to vm2, vm4, vm6 to vm7\n");
	assert_string_equal(f->out, "");
	assert_non_null(fake_store_find(f->st, "vm7"));
	run(f, 4, "--json clone -N 4 golden vm%d");
	expect_has(f->err, "failed: vm0 to vm3; made: none\n");
	expect_has(f->out, "\"names\": [\n  ]");
	run(f, 3, "clone -N 2 none vm%d");
	expect_has(f->err, "clone: none: no such object");
	fixture_stop(f);
}

static void test_cowctl_several_at_one_point_in_time(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "a", 4096);
	fake_store_add(f->st, "b", 4096);
	run(f, 0, "snap add --label by=me a@v b@v");
	expect_out(f, "");
	assert_int_equal(f->st->requests[WIRE_OP_CLONE_ALL], 1);
	assert_int_equal(f->st->requests[WIRE_OP_SNAP], 0);
	assert_int_equal(fake_store_find(f->st, "b@v")->info.labels.len, sizeof("by=me"));
	run(f, 0, "--json snap add a@w b@w");
	expect_has(f->out, "\"names\": [\n    \"a@w\",\n    \"b@w\"\n  ]");
	run(f, 0, "--json clone-all a@v a2 b b2");
	expect_has(f->out, "\"names\": [\n    \"a2\",\n    \"b2\"\n  ]");
	run(f, 0, "fsync a b a2");
	expect_out(f, "");
	assert_int_equal(f->st->requests[WIRE_OP_FSYNC_ALL], 1);
	run(f, 0, "--json fsync a b");
	expect_has(f->out, "\"names\": [\n    \"a\",\n    \"b\"\n  ]");
	run(f, 0, "--json fsync a");
	expect_has(f->out, "\"name\": \"a\"");
	fixture_stop(f);
}

static void test_cowctl_several_mistakes(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "a", 4096);
	fake_store_add(f->st, "b", 4096);
	expect_error(f, 64, "snap add a@v b", "b: not a version");
	expect_error(f, 64, "clone-all a a2 b", "b is given no DST");
	expect_error(f, 64, "clone-all a", "clone-all");
	expect_error(f, 3, "fsync a none", "fsync: none: no such object");
	expect_error(f, 3, "snap add a@v none@v", "none@v");
	expect_error(f, 4, "clone-all a x b a", "clone-all: a");
	expect_error(f, 1, "clone-all a x b @", "name 2 of 2");
	assert_int_equal(f->st->count, 2);
	fixture_stop(f);
}

/* A file of its own, to be unlinked. */
static void put_file(const char *text, char path[200])
{
	const char *dir = getenv("TMPDIR");
	int fd;

	(void)snprintf(path, 200, "%s/cowctl-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static void test_cowctl_write_all(void **state)
{
	struct fixture *f = fixture_start();
	char line[700];
	char one[200];
	char two[200];
	const uint8_t *data;

	(void)state;
	fake_store_add(f->st, "a", 4096);
	fake_store_add(f->st, "b", 4096);
	put_file("one", one);
	put_file("three", two);
	(void)snprintf(line, sizeof(line), "write-all a 7 %s b 0 %s a 1 %s", one, one, two);
	run(f, 0, line);
	expect_out(f, "");
	assert_int_equal(f->st->requests[WIRE_OP_WRITE_ALL], 1);
	assert_int_equal(f->st->requests[WIRE_OP_FSYNC], 0);
	data = fake_store_find(f->st, "a")->blocks[0]->data;
	assert_memory_equal(data, "\0three\0one\0", 11);
	assert_memory_equal(fake_store_find(f->st, "b")->blocks[0]->data, "one\0", 4);
	(void)snprintf(line, sizeof(line), "--json write-all --fsync a 7 %s b 0 %s a 1 %s", one,
		       one, two);
	run(f, 0, line);
	expect_has(f->out, "\"name\": \"a\",\n      \"bytes\": 8,\n      \"generation\": 3");
	expect_has(f->out, "\"name\": \"b\",\n      \"bytes\": 3,\n      \"generation\": 3");
	expect_has(f->out, "\"fsync\": true");
	assert_int_equal(f->st->requests[WIRE_OP_FSYNC], 1);
	assert_int_equal(unlink(one) + unlink(two), 0);
	fixture_stop(f);
}

static void test_cowctl_write_all_mistakes(void **state)
{
	struct fixture *f = fixture_start();
	char line[700];
	char one[200];
	char none[200];

	(void)state;
	fake_store_add(f->st, "a", 4096);
	put_file("one", one);
	put_file("", none);
	expect_error(f, 64, "write-all a 0", "write-all");
	expect_error(f, 64, "write-all a 0 f b", "b is given no OFFSET and FILE");
	expect_error(f, 64, "write-all a x f", "x");
	expect_error(f, 1, "write-all a 0 /none/there", "/none/there: No such file");
	(void)snprintf(line, sizeof(line), "write-all a 0 %s", none);
	expect_error(f, 1, line, "nothing to be written");
	assert_int_equal(truncate(none, (32 << 20) - 2), 0);
	(void)snprintf(line, sizeof(line), "write-all a 0 %s a 32M %s", one, none);
	expect_error(f, 1, line, "at most 32 MiB are written at once");
	(void)snprintf(line, sizeof(line), "write-all a 0 %s none 0 %s", one, one);
	expect_error(f, 3, line, "none: no such object");
	assert_int_equal(f->st->requests[WIRE_OP_WRITE_ALL], 0);
	assert_int_equal(unlink(one) + unlink(none), 0);
	fixture_stop(f);
}

static void test_cowctl_clone_mistakes(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	expect_error(f, 64, "clone -N 2 golden vm", "a pattern has one %d");
	expect_error(f, 64, "clone golden vm%d", "needs -N COUNT");
	expect_error(f, 64, "clone -N 0 golden vm%d", "from 1 to 1000000");
	expect_error(f, 64, "clone -N 1000001 golden vm%d", "from 1 to 1000000");
	expect_error(f, 64, "clone -N 2x golden vm%d", "from 1 to 1000000");
	expect_error(f, 64, "clone --ttl=soon golden vm", "soon: not a time");
	expect_error(f, 64, "clone --label=x golden vm", "x: not a label");
	expect_error(f, 1, "clone --label=-=x --label=-=y golden vm", "one twice");
	expect_error(f, 1, "clone golden@ vm", "an empty version");
	expect_error(f, 1, "clone -N 3 golden @%d", "clone: @2: the object's name");
	expect_error(f, 1, "clone -N 3 golden@ vm%d", "clone: golden@: the object's name");
	expect_error(f, 64, "clone --progress=1 golden vm", "-N COUNT");
	expect_error(f, 64, "clone -N 2 --progress=99 golden vm%d", "not an open descriptor");
	expect_error(f, 3, "clone golden@v vm",
		     "golden@v: no such version (cowctl snap ls golden ");
	expect_error(f, 4, "clone golden golden", "golden: the name exists already");
	assert_int_equal(f->st->count, 1);
	fixture_stop(f);
}

/* A number that makes the name too long is found before the clones of those that do not. */
static void test_cowctl_clone_checks_all_names_first(void **state)
{
	struct fixture *f = fixture_start();
	char line[256];

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	(void)snprintf(line, sizeof(line), "clone -N 2000 golden %0188d%%d", 0);
	expect_error(f, 1, line, "the object's name");
	assert_int_equal(f->st->requests[WIRE_OP_CLONE], 0);
	fixture_stop(f);
}

static void test_cowctl_clone_shows_how_far_it_is(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	run(f, 0, "clone -N 1500 --progress=1 golden vm%d");
	expect_out(f, "0/100\n68/100\n99/100\n100/100\n");
	assert_int_equal(f->st->count, 1501);
	run(f, 4, "clone -N 1500 --progress=1 golden vm%d");
	assert_string_equal(f->out, "0/100\n");
	assert_int_equal(count_lines(f->err), 2);
	fixture_stop(f);
}

/* A failure in a later piece: what came before it was made, what comes after it was not tried. */
static void test_cowctl_clone_ends_at_a_failure(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "golden", 4096);
	fake_store_add(f->st, "vm1024", 4096);
	run(f, 4, "clone -N 4000 golden vm%d");
	expect_has(f->err, "failed: vm1024; made: vm0 to vm1023, vm1025");
	assert_null(strstr(f->err, "vm3999"));
	fixture_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cowctl_clone_many),
	    cmocka_unit_test(test_cowctl_clone_many_says_what_was_made),
	    cmocka_unit_test(test_cowctl_several_at_one_point_in_time),
	    cmocka_unit_test(test_cowctl_several_mistakes),
	    cmocka_unit_test(test_cowctl_write_all),
	    cmocka_unit_test(test_cowctl_write_all_mistakes),
	    cmocka_unit_test(test_cowctl_clone_mistakes),
	    cmocka_unit_test(test_cowctl_clone_checks_all_names_first),
	    cmocka_unit_test(test_cowctl_clone_shows_how_far_it_is),
	    cmocka_unit_test(test_cowctl_clone_ends_at_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
