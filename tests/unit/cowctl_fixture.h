/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cowctl_fixture.h: cowctl ($COWCTL) against a store in memory, a command line at a time, for its
 * unit tests.
 */
#ifndef TESTS_UNIT_COWCTL_FIXTURE_H
#define TESTS_UNIT_COWCTL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/ctl.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

struct fixture {
	struct fake_server server;
	struct fake_store *st;
	char out[CTL_OUTPUT_MAX];
	char err[CTL_OUTPUT_MAX];
};

static inline struct fixture *fixture_start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->st = fake_store_new();
	fake_server_start(&f->server, false, fake_ops_serve, f->st);
	assert_int_equal(setenv("COW_URI", f->server.uri, 1), 0);
	return f;
}

static inline void fixture_stop(struct fixture *f)
{
	fake_server_stop(&f->server);
	assert_false(f->st->over_batch);
	fake_store_free(f->st);
	free(f);
}

static inline void run(struct fixture *f, int want, const char *line)
{
	int status = ctl_run(line, f->out, f->err);

	if (status != want)
		fail_msg("%s: status %d\n%s%s", line, status, f->out, f->err);
}

static inline void run_at_terminal(struct fixture *f, int want, const char *line,
				   const char *answer)
{
	assert_int_equal(ctl_run_at_terminal(line, answer, f->out, f->err), want);
}

static inline void expect_out(const struct fixture *f, const char *want)
{
	assert_string_equal(f->out, want);
	assert_string_equal(f->err, "");
}

static inline void expect_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" has no \"%s\"", text, part);
}

static inline size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static inline void expect_error(struct fixture *f, int want, const char *line, const char *part)
{
	run(f, want, line);
	expect_has(f->err, part);
	assert_string_equal(f->out, "");
	assert_int_equal(count_lines(f->err), 1);
}

#endif
