/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names_fixture.h: a connection to a server with a store in memory that does what docs/protocol.md says.
 * A test includes it once.
 */
#ifndef TESTS_UNIT_NAMES_FIXTURE_H
#define TESTS_UNIT_NAMES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "client/cow.h"
#include "common/annot.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

struct fixture {
	struct fake_server server;
	struct fake_store *st;
	cow_t *cow;
};

static inline void fixture_start(struct fixture *f)
{
	f->st = fake_store_new();
	fake_server_start(&f->server, false, fake_ops_serve, f->st);
	f->cow = cow_new();
	assert_non_null(f->cow);
	assert_int_equal(cow_set_timeout(f->cow, 20000), 0);
	assert_int_equal(cow_connect(f->cow, f->server.uri), 0);
}

static inline void fixture_stop(struct fixture *f)
{
	cow_free(f->cow);
	fake_server_stop(&f->server);
	assert_false(f->st->over_batch);
	fake_store_free(f->st);
}

static inline void expect_error(const struct fixture *f, int got, int code, const char *part)
{
	if (got != -code)
		fail_msg("got %d, wanted %d: %s", got, -code, cow_error(f->cow));
	if (!strstr(cow_error(f->cow), part))
		fail_msg("\"%s\" has no \"%s\"", cow_error(f->cow), part);
}

static inline unsigned int all_requests(const struct fixture *f)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(f->st->requests); i++)
		n += f->st->requests[i];
	return n;
}

#endif
