/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow_fixture.h: a connection with one open object, to a server with a store in memory.  A test
 * includes it once, and has a setup of its own, of fixture_start(), what is to be there, and
 * fixture_open().
 */
#ifndef TESTS_UNIT_LIBCOW_FIXTURE_H
#define TESTS_UNIT_LIBCOW_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/fake_ops.h"
#include "tests/lib/fake_store.h"

#define BLOCK UINT64_C(4096)

struct fixture {
	struct fake_store *st;
	struct fake_server server;
	cow_t *cow;
	cow_object_t *obj;
};

static struct fixture *fixture_start(void **state)
{
	static struct fixture fx;

	fx.st = fake_store_new();
	fake_server_start(&fx.server, false, fake_ops_serve, fx.st);
	fx.cow = cow_new();
	assert_int_equal(cow_connect(fx.cow, fx.server.uri), 0);
	*state = &fx;
	return &fx;
}

static void fixture_open(struct fixture *fx, const char *name)
{
	assert_int_equal(cow_open(fx->cow, name, 0, &fx->obj), 0);
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(cow_close(fx->obj), 0);
	cow_free(fx->cow);
	fake_server_stop(&fx->server);
	fake_store_free(fx->st);
	return 0;
}

#endif
