/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conform_libcow.c: runs tests/conformance/script.txt by libcow, one case for each section, and counts
 * its lines: those that are for the wire only are left to conform_cowproto.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/conformance/script.h"
#include "tests/conformance/verbs.h"
#include "tests/lib/must.h"

#define SECONDS	      800
#define UNTIL_SECONDS 60

static struct script script;
static struct verbs_run run;
static unsigned int ran, left;

/* What is wrong with the line, if anything. */
static char problem[512];

#define WRONG(...) ((void)snprintf(problem, sizeof(problem), __VA_ARGS__), false)

/* ---- checks ---------------------------------------------------------------------------------- */

static const char *status_name(int code)
{
	static const char *const names[] = {
	    "ok",   "INVAL",	"NOENT",  "EXIST",   "BUSY",	 "PERM",     "NOSPC",
	    "IO",   "CORRUPT",	"NOMEM",  "PROTO",   "NOTSUP",	 "LIMIT",    "TIMEOUT",
	    "CONN", "SHUTDOWN", "FORMAT", "CHANGED", "CANCELED", "RESTARTED"};

	MUST(code <= 0 && (size_t)-code < sizeof(names) / sizeof(names[0]), "code %d", code);
	return names[-code];
}

static bool holds(int cmp, const char *op)
{
	switch (op[0]) {
	case '=':
		return cmp == 0;
	case '!':
		return cmp != 0;
	case '<':
		return op[1] == '=' ? cmp <= 0 : cmp < 0;
	default:
		return op[1] == '=' ? cmp >= 0 : cmp > 0;
	}
}

static int compare(const struct verbs_value *v, const char *want)
{
	uint64_t number;
	uint8_t *data;
	char *extents;
	size_t len;
	int cmp;

	switch (v->kind) {
	case VERBS_NUMBER:
		number = script_number(&run.vars, want);
		return v->number < number ? -1 : v->number > number;
	case VERBS_DATA:
		data = script_data(&run.vars, want, &len);
		cmp = v->number != len || memcmp(v->text, data, len) != 0;
		free(data);
		return cmp;
	case VERBS_EXTENTS:
		extents = script_extents(&run.vars, want);
		cmp = strcmp(v->text, extents);
		free(extents);
		return cmp;
	case VERBS_TEXT:
		break;
	}
	return strcmp(v->text, want);
}

static bool check_value(const struct verbs_value *v, const char *op, size_t op_len,
			const char *want)
{
	if (op_len == 2 && strncmp(op, "=>", 2) == 0) {
		MUST(v->kind == VERBS_NUMBER, "only a number can be kept");
		script_keep(&run.vars, want, v->number);
		return true;
	}
	if (op[0] == '~' ? strstr(v->text, want) != NULL : holds(compare(v, want), op))
		return true;
	if (v->kind == VERBS_NUMBER)
		return WRONG("not so: %s%.*s%s; it is %llu", v->key, (int)op_len, op, want,
			     (unsigned long long)v->number);
	return WRONG("not so: %s%.*s%.100s; it is %.100s", v->key, (int)op_len, op, want,
		     v->kind == VERBS_DATA ? "other data" : v->text);
}

/* One word behind the outcome. */
static bool check_word(const struct verbs_result *r, const char *word)
{
	size_t key_len = strcspn(word, "=<>!~");
	const char *op = word + key_len;
	size_t op_len = op[0] && (op[1] == '=' || (op[0] == '=' && op[1] == '>')) ? 2 : 1;

	MUST(op[0], "%s is no check", word);
	for (size_t i = 0; i < r->n; i++)
		if (strlen(r->values[i].key) == key_len &&
		    strncmp(r->values[i].key, word, key_len) == 0)
			return check_value(&r->values[i], op, op_len, op + op_len);
	return WRONG("there is no %.*s in the answer", (int)key_len, word);
}

static bool check_all(const struct script_line *line, unsigned int index, int code,
		      const struct verbs_result *r)
{
	bool good = true;

	MUST(line->nexpected > 0, "line %u expects nothing", line->number);
	if (strcmp(status_name(code), line->expected[0]) != 0)
		return WRONG("the outcome is %s: %s", status_name(code),
			     code < 0 ? r->values[0].text : "");
	for (size_t i = 1; good && i < line->nexpected; i++) {
		char *word = script_expand(line->expected[i], index);

		good = check_word(r, word);
		free(word);
	}
	return good;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* The last one of this store. */
static void store_end(void)
{
	if (!run.made)
		return;
	if (run.d.pid != 0)
		daemon_stop(&run.d);
	if (!run.damaged)
		daemon_check(&run.d);
	daemon_fini(&run.d);
	run.made = false;
}

static void store_new(uint64_t size)
{
	struct daemon_config config = {.size = run.size, .writeback_ms = run.writeback_ms};

	store_end();
	(void)snprintf(run.size, sizeof(run.size), "%llu", (unsigned long long)size);
	daemon_init(&run.d, &config);
	run.made = true;
	run.damaged = false;
	daemon_start(&run.d);
}

static void damage(uint64_t at)
{
	int fd = open(run.d.device, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	MUST(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1, "%s", run.d.device);
	byte ^= 1;
	MUST(pwrite(fd, &byte, 1, (off_t)at) == 1, "%s", run.d.device);
	(void)close(fd);
	run.damaged = true;
}

static void control(const struct script_line *line)
{
	struct verbs_args args;
	char action[16];
	uint64_t size, at, writeback;

	verbs_args_init(&args, line, 0, &run.vars);
	(void)snprintf(action, sizeof(action), "%s", verbs_text(&args, "do"));
	size = verbs_number(&args, "size");
	at = verbs_number(&args, "at");
	writeback = verbs_number(&args, "writeback");
	verbs_args_done(&args, line);
	verbs_drop_all(&run);
	if (writeback)
		(void)snprintf(run.writeback_ms, sizeof(run.writeback_ms), "%llu",
			       (unsigned long long)writeback);
	if (strcmp(action, "new") == 0)
		store_new(size);
	else if (strcmp(action, "damage") == 0)
		damage(at);
	else if (strcmp(action, "check") == 0)
		daemon_check(&run.d);
	else if (strcmp(action, "kill") == 0)
		daemon_kill(&run.d);
	else if (strcmp(action, "term") == 0 || strcmp(action, "stop") == 0)
		daemon_stop(&run.d);
	else
		MUST(strcmp(action, "start") == 0, "line %u", line->number);
	if (strcmp(action, "kill") == 0 || strcmp(action, "term") == 0 ||
	    strcmp(action, "start") == 0)
		daemon_start(&run.d);
}

/* ---- sections -------------------------------------------------------------------------------- */

static bool line_ask(const struct script_line *line, unsigned int index)
{
	struct verbs_result result = {.n = 0};
	struct verbs_args args;
	bool good;
	int code;

	verbs_args_init(&args, line, index, &run.vars);
	code = verbs_call(&run, line, &args, &result);
	verbs_args_done(&args, line);
	good = check_all(line, index, code, &result);
	verbs_result_clear(&result);
	return good;
}

/* One with "until" is done again as long as it comes out otherwise. */
static bool line_run(const struct script_line *line, unsigned int index)
{
	struct timespec begin, now;
	bool good;

	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		good = line_ask(line, index);
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!good && line->until && now.tv_sec - begin.tv_sec < UNTIL_SECONDS);
	return good;
}

static void test_section(void **state)
{
	const struct script_section *section = *state;

	run.vars.n = 0;
	verbs_drop_all(&run);
	for (size_t i = 0; i < section->nlines; i++) {
		const struct script_line *line = &section->lines[i];
		bool is_control = strcmp(line->verb, "server") == 0;

		if (line->wire) {
			left++;
			continue;
		}
		if (is_control)
			control(line);
		for (unsigned int n = 0; !is_control && n < line->times; n++)
			if (!line_run(line, n))
				fail_msg("line %u, time %u: %s\n%s", line->number, n, line->text,
					 problem);
		ran++;
	}
}

static void test_the_last_store(void **state)
{
	(void)state;
	verbs_drop_all(&run);
	store_end();
}

static void test_all_lines_were_run(void **state)
{
	(void)state;
	assert_int_equal(ran, script.both);
	assert_int_equal(left, script.wire);
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	const char *srcdir = getenv("srcdir");
	char path[4096];
	int failed;

	must_end_within(SECONDS);
	(void)snprintf(path, sizeof(path), "%s/tests/conformance/script.txt",
		       srcdir ? srcdir : ".");
	script_load(&script, argc > 1 ? argv[1] : path);
	(void)snprintf(run.writeback_ms, sizeof(run.writeback_ms), "600000");
	tests = calloc(script.nsections + 2, sizeof(*tests));
	MUST(tests, "out of memory");
	for (size_t i = 0; i < script.nsections; i++)
		tests[i] = (struct CMUnitTest){.name = script.sections[i].name,
					       .test_func = test_section,
					       .initial_state = &script.sections[i]};
	tests[script.nsections] = (struct CMUnitTest)cmocka_unit_test(test_the_last_store);
	tests[script.nsections + 1] = (struct CMUnitTest)cmocka_unit_test(test_all_lines_were_run);
	failed = _cmocka_run_group_tests("conform_libcow", tests, script.nsections + 2, NULL, NULL);
	free(tests);
	script_free(&script);
	return failed;
}
