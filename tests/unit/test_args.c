/* SPDX-License-Identifier: BSD-2-Clause */
/* cowctl's command line: options, "did you mean", and what an argument of cp means. */
#include "client/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "client/commands.h"
#include "client/end.h"
#include "client/near.h"
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

static void test_near_commands(void **state)
{
	(void)state;
	assert_string_equal(commands_near("clnoe"), "clone");
	assert_string_equal(commands_near("lst"), "ls");
	assert_string_equal(commands_near("creat"), "create");
	assert_string_equal(commands_near("resi"), "resize");
	assert_null(commands_near("frobnicate"));
	assert_null(commands_near("q"));
	assert_ptr_equal(commands_find("list"), commands_find("ls"));
	assert_null(commands_find("lis"));
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
	    cmocka_unit_test(test_args_end_and_negative_sizes),
	    cmocka_unit_test(test_args_problems),
	    cmocka_unit_test(test_near_distance),
	    cmocka_unit_test(test_near_commands),
	    cmocka_unit_test(test_end_classify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
