/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands of cowctl ($COWCTL) against a store in memory: what they print and ask, and how they end.
 * What needs a real server is in tests/integration.
 */
#include "common/annot.h"
#include "common/err.h"
#include "tests/unit/cowctl_fixture.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_cowctl_ls(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	run(f, 0, "create --label role=web --label os=debian --ttl 30s a 1M");
	run(f, 0, "create --label role=db b 1M");
	run(f, 0, "create c 1M");
	run(f, 0, "ls --label role");
	expect_out(f, "a\nb\n");
	run(f, 0, "ls --label role=web");
	expect_out(f, "a\n");
	run(f, 0, "ls -H -o name,labels,origin,parent c");
	expect_out(f, "c\t-\t-\t-\n");
	run(f, 0, "ls -l a");
	expect_has(f->out, "NAME");
	expect_has(f->out, "os=debian,role=web");
	expect_has(f->out, "2026-01-01 00:00:31");
	run(f, 0, "--json ls");
	expect_has(f->out, "\"os\": \"debian\"");
	expect_has(f->out, "\"expires\": null");
	expect_error(f, 64, "ls --label a --label b", "only one --label");
	expect_error(f, 64, "ls --label=", "not a label");
	fixture_stop(f);
}

static void test_cowctl_children(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 4096);
	run(f, 0, "snap add o@v");
	run(f, 0, "clone o z");
	run(f, 0, "clone o@v y");
	run(f, 0, "clone o x");
	run(f, 0, "children o");
	expect_out(f, "z\nx\n");
	run(f, 0, "children o@v");
	expect_out(f, "y\n");
	run(f, 0, "clone o@v w");
	run(f, 0, "children -r o"); /* in the order in which they were made */
	expect_out(f, "z\ny\nx\nw\n");
	run(f, 0, "children -r o@v");
	expect_out(f, "y\nw\n");
	run(f, 0, "children -r x");
	expect_out(f, "");
	run(f, 0, "help children");
	expect_has(f->out, "with the clones of its versions");
	expect_error(f, 3, "children -r none", "none: no such object");
	run(f, 0, "--json children x");
	expect_has(f->out, "\"objects\": [\n  ]");
	expect_error(f, 3, "children none", "none: no such object");
	fixture_stop(f);
}

/* ---- versions -------------------------------------------------------------------------------- */

static void test_cowctl_snap(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 4096);
	run(f, 0, "snap add o@b --label why=test");
	run(f, 0, "--json snap create o@a");
	expect_has(f->out, "\"name\": \"o@a\"");
	run(f, 0, "snap ls o");
	expect_out(f, "o@a\no@b\n");
	run(f, 0, "snap list -H -o name,labels,parent o");
	expect_out(f, "o@a\t-\t1\no@b\twhy=test\t1\n");
	expect_error(f, 64, "snap add --ttl=soon o@z", "soon: not a time");
	run(f, 0, "snap add --ttl=1h o@z");
	assert_true(fake_store_find(f->st, "o@z")->info.expires_ns > UINT64_C(3600000000000));
	run(f, 0, "snap rm -y o@z");
	run(f, 0, "snap rename o@a c");
	run(f, 0, "snap rename o@c @d");
	run(f, 0, "snap rename o@d o@e");
	run(f, 0, "snap ls o");
	expect_out(f, "o@b\no@e\n");
	expect_error(f, 4, "snap rename o@e b", "o@b: the name exists already");
	expect_has(f->err, "cowctl snap rm)");
	expect_error(f, 64, "snap rename o@e e", "o@e: both names are the same");
	expect_error(f, 3, "snap rename o@x e2", "o@x: no such version");
	expect_error(f, 3, "snap add none@x", "snap add: none: no such object (cowctl ls ");
	expect_error(f, 64, "snap ls o@e", "o@e: names a version; snap ls takes an object");
	expect_error(f, 64, "snap rename o b", "o: not a version");
	expect_error(f, 64, "snap add o", "o: not a version");
	expect_error(f, 64, "snap rm o", "o: not a version");
	expect_error(f, 64, "snap", "snap what?");
	expect_error(f, 64, "snap ad o@x", "did you mean snap add?");
	run(f, 0, "--json snap rm o@b o@e");
	expect_has(f->out, "\"o@e\"");
	assert_int_equal(f->st->count, 1);
	fixture_stop(f);
}

static void test_cowctl_help_of_two_words(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	run(f, 0, "help snap");
	assert_int_equal(count_lines(f->out), 6);
	expect_has(f->out, "snap rename OBJ@VERSION VERSION");
	run(f, 0, "snap --help");
	assert_int_equal(count_lines(f->out), 6);
	run(f, 0, "help snap add");
	expect_has(f->out, "alias: snap create");
	run(f, 0, "snap rm --help");
	expect_has(f->out, "--dry-run");
	run(f, 0, "--json help snap");
	expect_has(f->out, "\"name\": \"snap ls\"");
	assert_null(strstr(f->out, "\"name\": \"ls\""));
	expect_error(f, 64, "help snap ad", "did you mean snap add?");
	expect_error(f, 64, "help ls snap", "unknown command");
	fixture_stop(f);
}

/* The fields that the help of a command lists, without the blanks. */
static void get_fields(struct fixture *f, const char *command, char fields[CTL_OUTPUT_MAX])
{
	char line[64];
	size_t n = 0;

	(void)snprintf(line, sizeof(line), "help %s", command);
	run(f, 0, line);
	expect_has(f->out, "\nfields: ");
	for (const char *p = strstr(f->out, "\nfields: ") + strlen("\nfields: "); *p != '\n'; p++)
		if (*p != ' ')
			fields[n++] = *p;
	fields[n] = '\0';
}

static void test_cowctl_fields(void **state)
{
	static const char *const lines[][2] = {
	    {"ls", ""},	  {"info", " o"}, {"children", " o"}, {"snap ls", " o"},
	    {"tree", ""}, {"du", " o"},	  {"df", ""},
	};
	static char fields[CTL_OUTPUT_MAX];
	struct fixture *f = fixture_start();
	char line[400];

	(void)state;
	fake_store_add(f->st, "o", 1);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		get_fields(f, lines[i][0], fields);
		(void)snprintf(line, sizeof(line), "%s -H -o %.300s%s", lines[i][0], fields,
			       lines[i][1]);
		run(f, 0, line);
		(void)snprintf(line, sizeof(line), "%s -o unheard-of%s", lines[i][0], lines[i][1]);
		expect_error(f, 64, line, "unheard-of: no such field (there are ");
		(void)snprintf(line, sizeof(line), "%.*s, ", (int)strcspn(fields, ","), fields);
		expect_has(f->err, line);
	}
	expect_error(f, 64, "ls -o mappd", "did you mean mapped?");
	fixture_stop(f);
}

static void test_cowctl_help_of_options(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	run(f, 0, "help ls");
	expect_has(f->out, "--label=KEY[=VALUE] ");
	assert_null(strstr(f->out, "again"));
	run(f, 0, "help create");
	expect_has(f->out, "--label=KEY=VALUE ");
	expect_has(f->out, "again");
	run(f, 0, "help rm");
	expect_has(f->out, "[-n | --wait [--progress=FD]]");
	run(f, 0, "help snap rm");
	expect_has(f->out, "[-n | --wait [--progress=FD]]");
	fixture_stop(f);
}

static void test_cowctl_knows_the_words_of_others(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	expect_error(f, 64, "rename a b", "unknown command rename; did you mean mv?");
	expect_error(f, 64, "move a b", "did you mean mv?");
	expect_error(f, 64, "delete a", "did you mean rm?");
	expect_error(f, 64, "remove a", "did you mean rm?");
	expect_error(f, 64, "destroy a", "did you mean rm?");
	expect_error(f, 64, "rollback a@v", "did you mean reset?");
	expect_error(f, 64, "revert a@v", "did you mean reset?");
	expect_error(f, 64, "snapshot a@v", "did you mean snap add?");
	expect_error(f, 64, "stat a", "did you mean info?");
	expect_error(f, 64, "show a", "did you mean info?");
	expect_error(f, 64, "snap remove a@v", "did you mean snap rm?");
	expect_error(f, 64, "snap rollback a@v", "did you mean reset?");
	expect_error(f, 64, "help delete", "did you mean rm?");
	fixture_stop(f);
}

static void test_cowctl_data_of_a_version(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 3);
	fake_store_fill(f->st, "o", 1);
	run(f, 0, "snap add o@v");
	run(f, 0, "resize --shrink o 0");
	run(f, 0, "cat o@v");
	assert_string_equal(f->out, "x"); /* and two zeros */
	assert_int_equal(f->st->open_flags, MSG_OPEN_READONLY);
	run(f, 0, "cp o@v copy");
	run(f, 0, "cat copy");
	assert_string_equal(f->out, "x");
	run(f, 0, "info -H -o name,size,parent o@v");
	expect_out(f, "o@v\t3\t1\n");
	expect_error(f, 6, "write o@v", "a version is read-only");
	fixture_stop(f);
}

static void test_cowctl_reset(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	run(f, 0, "create o 1");
	run(f, 0, "snap add o@z");
	run(f, 0, "resize o 2");
	run(f, 0, "snap add o@a");
	run(f, 0, "resize o 3");
	run(f, 0, "--json reset o"); /* the one that was made last, whatever it is called */
	expect_has(f->out, "\"version\": \"o@a\"");
	expect_has(f->out, "\"size\": 2");
	run(f, 0, "reset o @z");
	assert_int_equal(fake_store_find(f->st, "o")->info.size_bytes, 1);
	run(f, 0, "reset o@a");
	assert_int_equal(fake_store_find(f->st, "o")->info.size_bytes, 2);
	run(f, 0, "reset o z");
	assert_int_equal(fake_store_find(f->st, "o")->info.size_bytes, 1);
	run(f, 0, "create bare 1");
	expect_error(f, 3, "reset bare", "bare: it has no versions");
	expect_error(f, 3, "reset none", "none: no such object");
	expect_error(f, 3, "reset o @none", "o@none: no such version (cowctl snap ls o shows");
	expect_error(f, 64, "reset o@a @z", "names a version already");
	fixture_stop(f);
}

static void test_cowctl_mv(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "a", 1);
	fake_store_add(f->st, "b", 2);
	run(f, 0, "mv --exchange a b");
	assert_int_equal(fake_store_find(f->st, "a")->info.size_bytes, 2);
	run(f, 0, "--json mv a c");
	expect_has(f->out, "\"to\": \"c\"");
	expect_has(f->out, "\"exchanged\": false");
	assert_null(fake_store_find(f->st, "a"));
	expect_error(f, 4, "mv b c", "mv: c: the name exists already");
	expect_error(f, 3, "mv none c", "mv: none: no such object");
	expect_error(f, 3, "mv --exchange none c", "mv: none: no such object");
	expect_error(f, 3, "mv --exchange c none", "mv: none: no such object");
	expect_error(f, 1, "mv b b@v", "mv: not two objects");
	expect_error(f, 64, "mv b b", "mv: b: both names are the same");
	expect_error(f, 64, "mv --exchange b b", "mv: b: both names are the same");
	fixture_stop(f);
}

/* ---- rm -------------------------------------------------------------------------------------- */

static void test_cowctl_rm_says_what_it_would_do(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 16384);
	fake_store_fill(f->st, "o", 4);
	run(f, 0, "snap add o@v");
	run(f, 0, "clone o c");
	fake_store_fill(f->st, "o", 1);
	run(f, 0, "rm -n -r o");
	expect_out(f, "o\no@v\nwould free 4 KiB\n");
	run(f, 0, "rm -n -r c o o@v o");
	expect_out(f, "c\no\no@v\nwould free 20 KiB\n");
	run(f, 0, "--json snap rm -n o@v");
	expect_has(f->out, "\"would_remove\": [\n    \"o@v\"\n  ]");
	expect_has(f->out, "\"would_free\": 0");
	expect_has(f->out, "\"exact\": true");
	expect_error(f, 5, "rm -n o", "o: it has 1 version (-r removes them too)");
	run(f, 3, "rm -n none c");
	expect_has(f->err, "none: no such object");
	expect_has(f->out, "c\nwould free 0 B\n");
	assert_int_equal(f->st->count, 3);
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 0);
	fixture_stop(f);
}

/* An object with 300 versions of a block each, whose names have so many digits. */
static void add_very_many(struct fixture *f, const char *object, int digits)
{
	char name[256];

	fake_store_add(f->st, object, 4096);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "%s@%0*d", object, digits, i);
		fake_store_add(f->st, name, 4096);
		fake_store_find(f->st, name)->info.parent = 1;
		fake_store_fill(f->st, name, 1);
	}
}

static void test_cowctl_rm_of_very_many(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	add_very_many(f, "o", 3);
	run(f, 0, "rm -n -r o");
	assert_int_equal(count_lines(f->out), 302);
	expect_has(f->out, "would free 1.17 MiB\n");
	assert_int_equal(f->st->requests[WIRE_OP_USAGE], 1);
	run(f, 0, "du -r --if-deleted o");
	expect_has(f->out, "if deleted ");
	fixture_stop(f);
}

/* More than the server tells the exact figure of. */
static void test_cowctl_rm_of_more_than_one_request(void **state)
{
	struct fixture *f = fixture_start();
	char object[192];
	char line[256];

	(void)state;
	memset(object, 'n', sizeof(object) - 1);
	object[sizeof(object) - 1] = '\0';
	add_very_many(f, object, 63);
	(void)snprintf(line, sizeof(line), "rm -n -r %s", object);
	run(f, 0, line);
	expect_has(f->out, "would free at least 1.17 MiB\n");
	assert_int_equal(f->st->requests[WIRE_OP_USAGE], 2);
	fixture_stop(f);
}

static void test_cowctl_rm_with_versions(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	fake_store_add(f->st, "p", 1);
	run(f, 0, "snap add o@v");
	run(f, 0, "snap add o@w");
	expect_error(f, 5, "rm o", "o: the object has versions (-r removes its versions too)");
	run(f, 5, "--json rm o p");
	expect_has(f->out, "\"removed\": [\n    \"p\"\n  ]");
	expect_has(f->out, "\"failed\": [\n    \"o\"\n  ]");
	expect_has(f->out, "\"waited\": false");
	run(f, 0, "rm -r o@v o");
	expect_out(f, "");
	assert_int_equal(f->st->count, 0);
	fake_store_add(f->st, "busy", 1);
	f->st->fail_status = ERR_BUSY;
	(void)snprintf(f->st->fail_name, sizeof(f->st->fail_name), "busy");
	expect_error(f, 5, "rm busy", "as the test wants it");
	assert_null(strstr(f->err, "-r"));
	fixture_stop(f);
}

static void test_cowctl_rm_waits_for_the_space(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	fake_store_add(f->st, "p", 1);
	f->st->reaping = 1000;
	f->st->reap_step = 300;
	run(f, 0, "rm --wait --progress=1 o");
	expect_out(f, "0/100\n30/100\n60/100\n90/100\n99/100\n100/100\n");
	assert_int_equal(f->st->requests[WIRE_OP_REAPING], 5);
	fake_store_add(f->st, "q", 1);
	run(f, 0, "--json rm --wait q");
	expect_has(f->out, "\"failed\": [\n  ]");
	expect_has(f->out, "\"waited\": true");
	f->st->reaping = 1000;
	f->st->reap_step = 0;
	expect_error(f, 7, "rm --wait --timeout=0.05 p", "its space does not come back");
	fake_store_add(f->st, "q", 1);
	run(f, 7, "--json rm --wait --timeout=0.05 q");
	expect_has(f->out, "\"removed\": [\n    \"q\"\n  ]");
	expect_has(f->out, "\"waited\": false");
	assert_int_equal(f->st->count, 0);
	expect_error(f, 64, "rm --wait --progress=99 p", "not an open descriptor");
	fixture_stop(f);
}

static void test_cowctl_rm_takes_no_options_in_vain(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	run(f, 0, "snap add o@v");
	expect_error(f, 64, "rm --progress=1 o", "--progress is that of --wait");
	expect_error(f, 64, "snap rm --progress=1 o@v", "--progress is that of --wait");
	expect_error(f, 64, "rm -n --wait -r o", "-n removes nothing that --wait");
	expect_error(f, 64, "rm -n --progress=1 -r o", "-n removes nothing that --progress");
	assert_int_equal(f->st->count, 2);
	fixture_stop(f);
}

/* Patience is with a store that gives nothing back, not with one that takes its time. */
static void test_cowctl_rm_waits_while_space_comes_back(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	f->st->reaping = 1200;
	f->st->reap_step = 100;
	run(f, 0, "rm --wait --timeout=1.5 o"); /* it asks for longer than that */
	assert_int_equal(f->st->requests[WIRE_OP_REAPING], 13);
	fixture_stop(f);
}

static void test_cowctl_asks_at_a_terminal(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 1);
	fake_store_add(f->st, "p", 1);
	run(f, 0, "snap add o@v");
	run_at_terminal(f, 1, "rm -r o p", "n\n");
	expect_has(f->err, "remove o and its 1 version, p? [y/N]");
	run_at_terminal(f, 1, "reset o", "\n");
	expect_has(f->err, "give o back the content of o@v, and lose what it has now? [y/N]");
	assert_int_equal(f->st->requests[WIRE_OP_RESET], 0);
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 0);
	run_at_terminal(f, 0, "reset o", "y\n");
	run_at_terminal(f, 0, "rm p", "y\n");
	expect_has(f->err, "remove p? [y/N]");
	run_at_terminal(f, 0, "rm -y -r o", "n\n");
	assert_null(strstr(f->err, "[y/N]"));
	assert_int_equal(f->st->count, 0);
	fixture_stop(f);
}

/* ---- tree ------------------------------------------------------------------------------------ */

/* o has the version o@v with the clones b and a; a has c; gone was the origin of d. */
static void add_family(struct fixture *f)
{
	fake_store_add(f->st, "o", 4096);
	run(f, 0, "snap add o@v");
	run(f, 0, "clone o@v b");
	run(f, 0, "clone o@v a");
	run(f, 0, "clone a c");
	run(f, 0, "clone o gone");
	run(f, 0, "clone gone d");
	run(f, 0, "rm gone");
}

static void test_cowctl_tree(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	assert_int_equal(setenv("LC_ALL", "C", 1), 0);
	run(f, 0, "tree");
	expect_out(f, "");
	add_family(f);
	run(f, 0, "tree -o name");
	expect_out(f, "NAME\nd\no\n`-o@v\n  |-a\n  | `-c\n  `-b\n");
	run(f, 0, "tree -H -o name,parent o");
	expect_out(f, "o\t-\no@v\to\na\to@v\nc\ta\nb\to@v\n");
	run(f, 0, "tree -o name a");
	expect_out(f, "NAME\na\n`-c\n");
	run(f, 0, "tree -o name o@v");
	expect_out(f, "NAME\no@v\n|-a\n| `-c\n`-b\n");
	run(f, 0, "tree -o name d");
	expect_out(f, "NAME\nd\n");
	run(f, 0, "--json tree a");
	expect_has(f->out, "\"name\": \"a\",\n      \"parent\": null");
	expect_has(f->out, "\"name\": \"c\",\n      \"parent\": \"a\"");
	run(f, 0, "tree");
	expect_has(f->out, "CREATED");
	expect_error(f, 3, "tree none", "none: no such object (cowctl ls ");
	expect_error(f, 3, "tree o@none", "o@none: no such version (cowctl snap ls o ");
	fixture_stop(f);
}

static void test_cowctl_tree_after_an_exchange(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	add_family(f);
	run(f, 0, "mv --exchange o c"); /* what hangs under what stays, the names do not */
	run(f, 0, "tree -H -o name,parent c");
	expect_out(f, "c\t-\nc@v\tc\na\tc@v\no\ta\nb\tc@v\n");
	fixture_stop(f);
}

/* Clones of clones may go on for ever; a line of the terminal does not. */
static void test_cowctl_tree_that_is_deep(void **state)
{
	struct fixture *f = fixture_start();
	char name[32];

	(void)state;
	for (unsigned int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "n%03u", i);
		fake_store_add(f->st, name, 1);
		fake_store_find(f->st, name)->info.origin = i; /* the id of the one before */
	}
	assert_int_equal(setenv("LC_ALL", "C", 1), 0);
	run(f, 0, "tree -o name n010");
	assert_int_equal(count_lines(f->out), 291);
	expect_has(f->out, "\n`-n011\n  `-n012\n");
	expect_has(strstr(f->out, "n265"), "|-n266\n");
	expect_has(strstr(f->out, "n298"), "`-n299\n");
	run(f, 0, "tree -H -o name,parent n010");
	expect_has(f->out, "\nn299\tn298\n");
	fixture_stop(f);
}

/* Only a broken server says so. */
static void test_cowctl_tree_with_a_circle(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "a", 1);
	fake_store_add(f->st, "b", 1);
	fake_store_find(f->st, "a")->info.origin = 2;
	fake_store_find(f->st, "b")->info.origin = 1;
	run(f, 0, "tree -H -o name,parent a");
	expect_out(f, "a\t-\nb\ta\n");
	fixture_stop(f);
}

/* ---- space ----------------------------------------------------------------------------------- */

static void test_cowctl_du(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	fake_store_add(f->st, "o", 16384);
	fake_store_fill(f->st, "o", 4);
	run(f, 0, "snap add o@v");
	run(f, 0, "clone o c");
	fake_store_fill(f->st, "o", 1);
	run(f, 0, "du -H o");
	expect_out(f, "o\t16384\t4096\t12288\n");
	run(f, 0, "du -H o c o@v o");
	expect_out(f, "o\t16384\t4096\t12288\n"
		      "c\t16384\t0\t16384\n"
		      "o@v\t16384\t0\t16384\n"
		      "total\t49152\t4096\t45056\n");
	run(f, 0, "du -H -r --if-deleted o c");
	expect_out(f, "o\t16384\t4096\t12288\n"
		      "o@v\t16384\t0\t16384\n"
		      "c\t16384\t0\t16384\n"
		      "total\t49152\t4096\t45056\n"
		      "if deleted\t49152\t20480\t28672\n");
	run(f, 0, "--json du --if-deleted o");
	expect_has(f->out, "\"total\": {\n    \"mapped\": 16384");
	expect_has(f->out, "\"if_deleted\": {\n    \"free\": 4096,\n    \"exact\": true");
	run(f, 3, "du -H none c");
	expect_has(f->err, "none: no such object");
	assert_string_equal(f->out, "c\t16384\t0\t16384\n");
	expect_error(f, 3, "du none", "none: no such object");
	fixture_stop(f);
}

static void test_cowctl_df(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->reaping = 5;
	run(f, 0, "df -H -o total,used,free,reserved,mapped,versions,reaping");
	expect_out(f, "1073741824\t519045120\t536870912\t1048576\t805306368\t7\t5\n");
	run(f, 0, "df -H -o meta_total,meta_used,staged,journal,journal_used");
	expect_out(f, "67108864\t65536\t262144\t134217728\t2097152\n");
	run(f, 0, "df -H -o withheld");
	expect_out(f, "16777216\n");
	run(f, 0, "--json df");
	expect_has(f->out, "\"journal_used\": 2097152");
	fixture_stop(f);
}

/* ---- check ----------------------------------------------------------------------------------- */

static void test_cowctl_check(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->report = (struct msg_check_reply){
	    .objects = 3, .nodes = 4, .mapped_bytes = 8192, .shared_bytes = 4096};
	run(f, 0, "check");
	expect_out(f, "all is well: 3 objects and versions, 4 nodes, 8 KiB mapped, 4 KiB of it "
		      "shared\n");
	run(f, 0, "-q check");
	expect_out(f, "");
	run(f, 0, "--json check");
	expect_has(f->out, "\"differences\": 0");
	fixture_stop(f);
}

static void test_cowctl_check_with_differences(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->report = (struct msg_check_reply){
	    .differences = 3, .ntexts = 2, .texts = {{"node 7 is lost"}, {"block 9 is not free"}}};
	run(f, 9, "check");
	assert_string_equal(f->out, "node 7 is lost\nblock 9 is not free\nand 1 more\n");
	expect_has(f->err, "3 differences");
	assert_int_equal(count_lines(f->err), 1);
	run(f, 9, "--json check");
	expect_has(f->out, "\"texts\": [\n    \"node 7 is lost\",");
	fixture_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cowctl_ls),
	    cmocka_unit_test(test_cowctl_children),
	    cmocka_unit_test(test_cowctl_snap),
	    cmocka_unit_test(test_cowctl_help_of_two_words),
	    cmocka_unit_test(test_cowctl_fields),
	    cmocka_unit_test(test_cowctl_help_of_options),
	    cmocka_unit_test(test_cowctl_knows_the_words_of_others),
	    cmocka_unit_test(test_cowctl_data_of_a_version),
	    cmocka_unit_test(test_cowctl_reset),
	    cmocka_unit_test(test_cowctl_mv),
	    cmocka_unit_test(test_cowctl_rm_says_what_it_would_do),
	    cmocka_unit_test(test_cowctl_rm_of_very_many),
	    cmocka_unit_test(test_cowctl_rm_of_more_than_one_request),
	    cmocka_unit_test(test_cowctl_rm_with_versions),
	    cmocka_unit_test(test_cowctl_rm_waits_for_the_space),
	    cmocka_unit_test(test_cowctl_rm_takes_no_options_in_vain),
	    cmocka_unit_test(test_cowctl_rm_waits_while_space_comes_back),
	    cmocka_unit_test(test_cowctl_asks_at_a_terminal),
	    cmocka_unit_test(test_cowctl_tree),
	    cmocka_unit_test(test_cowctl_tree_after_an_exchange),
	    cmocka_unit_test(test_cowctl_tree_that_is_deep),
	    cmocka_unit_test(test_cowctl_tree_with_a_circle),
	    cmocka_unit_test(test_cowctl_du),
	    cmocka_unit_test(test_cowctl_df),
	    cmocka_unit_test(test_cowctl_check),
	    cmocka_unit_test(test_cowctl_check_with_differences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
