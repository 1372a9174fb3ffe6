/* SPDX-License-Identifier: BSD-2-Clause */
/* cowctl's command line: options and what they say, commands, "did you mean". */
#include "client/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/attrs.h"
#include "client/commands.h"
#include "client/end.h"
#include "client/near.h"
#include "client/pattern.h"
#include "common/err.h"

#define WORDS_MAX 12

/* Parses words; argv stays valid until the next call. */
static int parse(const char *const *words, struct args *args, char problem[ARGS_PROBLEM_MAX])
{
	static char *argv[WORDS_MAX];
	size_t n = 0;

	for (; words[n]; n++) {
		assert_true(n < WORDS_MAX);
		argv[n] = (char *)(uintptr_t)words[n];
	}
	return args_parse(n, argv, args, problem);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_args_mixed(void **state)
{
	struct args args;
	char problem[ARGS_PROBLEM_MAX];

	(void)state;
	assert_int_equal(
	    parse(WORDS("-u", "cow://h", "cp", "--json", "a", "--progress=3", "-"), &args, problem),
	    0);
	assert_string_equal(args.values[ARGS_URI], "cow://h");
	assert_true(args_has(&args, ARGS_JSON));
	assert_string_equal(args.values[ARGS_PROGRESS], "3");
	assert_int_equal(args.noperands, 3);
	assert_string_equal(args.operands[0], "cp");
	assert_string_equal(args.operands[1], "a");
	assert_string_equal(args.operands[2], "-");
	assert_false(args_has(&args, ARGS_QUIET));
	assert_int_equal(args_not_allowed(&args, ARGS_COMMON), ARGS_PROGRESS);
	assert_int_equal(args_not_allowed(&args, ARGS_COMMON | ARGS_BIT(ARGS_PROGRESS)),
			 ARGS_COUNT);
}

static void test_args_short(void **state)
{
	struct args args;
	char problem[ARGS_PROBLEM_MAX];

	(void)state;
	assert_int_equal(parse(WORDS("-lHoname,size", "-qu", "x"), &args, problem), 0);
	assert_true(args_has(&args, ARGS_LONG));
	assert_true(args_has(&args, ARGS_NO_HEADER));
	assert_string_equal(args.values[ARGS_FIELDS], "name,size");
	assert_string_equal(args.values[ARGS_URI], "x");
	assert_int_equal(args.noperands, 0);
}

/* It takes no argument that is not its own. */
static void test_args_a_value_that_may_be_left_out(void **state)
{
	struct args args;
	char problem[ARGS_PROBLEM_MAX];

	(void)state;
	assert_int_equal(parse(WORDS("--reserve", "o", "1M"), &args, problem), 0);
	assert_true(args_has(&args, ARGS_RESERVE));
	assert_string_equal(args.values[ARGS_RESERVE], "");
	assert_int_equal(args.noperands, 2);
	assert_int_equal(parse(WORDS("o", "--reserve=5M"), &args, problem), 0);
	assert_string_equal(args.values[ARGS_RESERVE], "5M");
	assert_int_equal(parse(WORDS("o", "--reserve"), &args, problem), 0);
	assert_int_equal(args.noperands, 1);
}

static void test_args_end_and_negative_sizes(void **state)
{
	struct args args;
	char problem[ARGS_PROBLEM_MAX];

	(void)state;
	assert_int_equal(parse(WORDS("resize", "a", "-10G"), &args, problem), 0);
	assert_int_equal(args.noperands, 3);
	assert_string_equal(args.operands[2], "-10G");
	assert_int_equal(parse(WORDS("rm", "--", "-y", "--"), &args, problem), 0);
	assert_int_equal(args.noperands, 3);
	assert_string_equal(args.operands[1], "-y");
	assert_string_equal(args.operands[2], "--");
	assert_false(args_has(&args, ARGS_YES));
}

static void expect_problem(const char *const *words, const char *want)
{
	struct args args;
	char problem[ARGS_PROBLEM_MAX] = "";

	assert_int_equal(parse(words, &args, problem), -ERR_INVAL);
	assert_string_equal(problem, want);
}

static void test_args_problems(void **state)
{
	(void)state;
	expect_problem(WORDS("--jsno"), "unknown option --jsno; did you mean --json?");
	expect_problem(WORDS("--tim=3"), "unknown option --tim; did you mean --timeout?");
	expect_problem(WORDS("--xyzzy"), "unknown option --xyzzy");
	expect_problem(WORDS("-qZ"), "unknown option -Z");
	expect_problem(WORDS("--json=1"), "option --json takes no value");
	expect_problem(WORDS("--uri"), "option --uri needs a value: URI");
	expect_problem(WORDS("-u"), "option -u needs a value: URI");
}

static void test_near_distance(void **state)
{
	(void)state;
	assert_int_equal(near_distance("", ""), 0);
	assert_int_equal(near_distance("", "abc"), 3);
	assert_int_equal(near_distance("clone", "clone"), 0);
	assert_int_equal(near_distance("clnoe", "clone"), 1); /* neighbours swapped */
	assert_int_equal(near_distance("clon", "clone"), 1);
	assert_int_equal(near_distance("kitten", "sitting"), 3);
	assert_int_equal(near_distance("a", "123456789012345678901234567890123"), SIZE_MAX);
}

/* What the words of a command line name. */
static const char *find(const char *first, const char *second, size_t want_used)
{
	char *words[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
	size_t used = 0;
	const struct ctl_command *command = commands_find(words, second ? 2 : 1, &used);

	assert_int_equal(used, want_used);
	return command ? command->name : NULL;
}

static const char *unknown(const char *first, const char *second)
{
	static char text[COMMANDS_TEXT_MAX];
	char *words[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};

	return commands_unknown(text, words, second ? 2 : 1);
}

static void test_commands_find(void **state)
{
	(void)state;
	assert_string_equal(find("ls", NULL, 1), "ls");
	assert_string_equal(find("list", "ls", 1), "ls");
	assert_null(find("lis", NULL, 0));
	assert_null(find("lss", NULL, 0));
	assert_string_equal(find("snap", "add", 2), "snap add");
	assert_string_equal(find("snap", "create", 2), "snap add");
	assert_null(find("snap", NULL, 0));
	assert_null(find("snap", "ad", 0));
	assert_null(find("sna", "add", 0));
	assert_true(commands_is_group("snap"));
	assert_false(commands_is_group("sna"));
	assert_false(commands_is_group("ls"));
}

static void test_commands_near(void **state)
{
	(void)state;
	assert_string_equal(unknown("clnoe", "a"), "unknown command clnoe; did you mean clone?");
	assert_string_equal(unknown("lst", NULL), "unknown command lst; did you mean ls?");
	assert_string_equal(unknown("creat", "x"), "unknown command creat; did you mean create?");
	assert_string_equal(unknown("snap", "lst"),
			    "unknown command snap lst; did you mean snap ls?");
	assert_string_equal(unknown("snap", NULL), "snap what? (cowctl help snap)");
	assert_string_equal(unknown("frobnicate", "a"),
			    "unknown command frobnicate (cowctl help lists them)");
	assert_string_equal(unknown("q", NULL), "unknown command q (cowctl help lists them)");
}

/* ---- what options say ------------------------------------------------------------------------ */

static void test_args_labels_are_all_kept(void **state)
{
	static char label[] = "--label=k=v";
	static char *argv[ARGS_LABELS_MAX + 1];
	struct args args;
	char problem[ARGS_PROBLEM_MAX];

	(void)state;
	assert_int_equal(parse(WORDS("--label", "a=1", "x", "--label=b=2"), &args, problem), 0);
	assert_int_equal(args.nlabels, 2);
	assert_string_equal(args.labels[0], "a=1");
	assert_string_equal(args.labels[1], "b=2");
	assert_int_equal(args.noperands, 1);
	for (size_t i = 0; i <= ARGS_LABELS_MAX; i++)
		argv[i] = label;
	assert_int_equal(args_parse(ARGS_LABELS_MAX, argv, &args, problem), 0);
	assert_int_equal(args_parse(ARGS_LABELS_MAX + 1, argv, &args, problem), -ERR_INVAL);
	assert_string_equal(problem, "too many labels");
}

static void expect_ttl(const char *text, uint64_t want)
{
	uint64_t ms = 0;

	assert_int_equal(attrs_parse_ttl(text, &ms), want > 0 ? 0 : -ERR_INVAL);
	assert_int_equal(ms, want);
}

static void test_attrs_ttl(void **state)
{
	(void)state;
	expect_ttl("30s", 30000);
	expect_ttl("15m", 900000);
	expect_ttl("2h", 7200000);
	expect_ttl("7d", 604800000);
	expect_ttl("213503982334d", UINT64_C(213503982334) * 86400000);
	expect_ttl("213503982335d", 0); /* beyond 64 bits */
	expect_ttl("99999999999999999999s", 0);
	expect_ttl("0s", 0);
	expect_ttl("30", 0);
	expect_ttl("h", 0);
	expect_ttl("", 0);
	expect_ttl("-1s", 0);
	expect_ttl(" 1s", 0);
	expect_ttl("1s ", 0);
	expect_ttl("1.5h", 0);
	expect_ttl("1w", 0);
}

static void expect_pattern(const char *text, uint64_t number, const char *want)
{
	struct pattern pattern;
	char *name;

	assert_int_equal(pattern_parse(text, &pattern), 0);
	name = pattern_name(&pattern, number);
	assert_non_null(name);
	assert_string_equal(name, want);
	free(name);
}

static void expect_no_pattern(const char *text)
{
	struct pattern pattern;

	assert_int_equal(pattern_parse(text, &pattern), -ERR_INVAL);
}

static void test_pattern(void **state)
{
	(void)state;
	expect_pattern("vm%d", 0, "vm0");
	expect_pattern("vm%d", 12, "vm12");
	expect_pattern("%d", 7, "7");
	expect_pattern("a%03db", 5, "a005b");
	expect_pattern("a%03db", 12345, "a12345b");
	expect_pattern("%018d", 1, "000000000000000001");
	expect_no_pattern("vm");
	expect_no_pattern("");
	expect_no_pattern("%d%d");
	expect_no_pattern("%d%");
	expect_no_pattern("%");
	expect_no_pattern("%s");
	expect_no_pattern("%3d");
	expect_no_pattern("%0d");
	expect_no_pattern("%00d");
	expect_no_pattern("%019d");
	expect_no_pattern("%09999999999999d");
	expect_no_pattern("%03");
	expect_no_pattern("%ld");
}

static void expect_end(const char *arg, enum end_kind kind, const char *want)
{
	const char *name = NULL;

	assert_int_equal(end_classify(arg, &name), kind);
	assert_string_equal(name, want);
}

static void test_end_classify(void **state)
{
	(void)state;
	expect_end("-", END_STREAM, "-");
	expect_end("/dev/sda", END_FILE, "/dev/sda");
	expect_end("./a", END_FILE, "./a");
	expect_end("../a", END_FILE, "../a");
	expect_end("file:a", END_FILE, "a");
	expect_end("a", END_OBJECT, "a");
	expect_end("dir/a", END_OBJECT, "dir/a");
	expect_end("cow:a", END_OBJECT, "a");
	expect_end("cow:./a", END_OBJECT, "./a"); /* the name is then refused */
	expect_end(".a", END_OBJECT, ".a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_args_mixed),
	    cmocka_unit_test(test_args_short),
	    cmocka_unit_test(test_args_a_value_that_may_be_left_out),
	    cmocka_unit_test(test_args_end_and_negative_sizes),
	    cmocka_unit_test(test_args_problems),
	    cmocka_unit_test(test_near_distance),
	    cmocka_unit_test(test_commands_find),
	    cmocka_unit_test(test_commands_near),
	    cmocka_unit_test(test_args_labels_are_all_kept),
	    cmocka_unit_test(test_attrs_ttl),
	    cmocka_unit_test(test_pattern),
	    cmocka_unit_test(test_end_classify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
