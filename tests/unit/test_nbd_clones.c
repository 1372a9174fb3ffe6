/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd_clones.c: exports that are a copy of the connection's own: made, used, and given back whatever
 * happens.
 */
#include "server/nbd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "tests/unit/nbd_fixture.h"

/* ---- clones ---------------------------------------------------------------------------------- */

static bool no_handles(void *ctx)
{
	const struct peer_fixture *fx = ctx;

	return fake_open_handles(fx->objs) == 0;
}

static void assert_objects(struct peer_fixture *fx, uint32_t count)
{
	struct frame_client c = peer_connect(fx);

	assert_int_equal(CALL(fx, &c, WIRE_OP_LIST, msg_list, .max = 100), 0);
	assert_int_equal(le32_get(fx->frame.body), count);
	close(c.fd);
}

static void test_a_clone_goes_with_its_connection(void **state)
{
	static const struct nbd_config clones = {.clones = true};
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_answer b = {0};
	struct nbd_peer p[2];
	uint8_t byte;

	make(fx, "a");
	snap(fx, "a@v");
	frame_wait(fx->base, peer_none_left, fx);
	fx->config.nbd = &clones;
	peer_reconfigure(fx);
	p[0] = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_go(&p[0], 6, "+clone:a@v"), ACK);
	assert_string_equal(p[0].names, "+clone:a@v\na version, read-only\n");
	assert_int_equal(p[0].flags, 0xe6d); /* another one for each connection, and writable */
	assert_int_equal(nbd_peer_go(&p[0], 6, "+clone:b"), ERR_UNKNOWN_);
	assert_objects(fx, 1);
	assert_int_equal(nbd_peer_go(&p[0], 7, "+clone:a@v"), ACK);
	p[1] = nbd_peer_connect(fx, "+clone:a", 0);
	assert_objects(fx, 3);
	assert_int_equal(nbd_peer_call(&p[0], &a, 1, 0, 0, 1, "x"), 0);
	b.data = &byte;
	assert_int_equal(nbd_peer_call(&p[1], &b, 0, 0, 0, 1, NULL), 0);
	assert_int_equal(byte, 0);
	nbd_peer_send(&p[0], 2, 0, 0, 0, NULL, 0);
	close(p[0].c.fd);
	close(p[1].c.fd);
	frame_wait(fx->base, no_handles, fx);
	frame_wait(fx->base, peer_none_left, fx);
	assert_objects(fx, 1);
}

static void start_with_clones(struct peer_fixture *fx)
{
	static const struct nbd_config clones = {.clones = true};

	frame_wait(fx->base, peer_none_left, fx);
	fx->config.nbd = &clones;
	peer_reconfigure(fx);
}

/* Lets the one answer go that the engine holds back, and waits for what comes of it. */
static void let_one_go(struct peer_fixture *fx)
{
	assert_int_equal(fake_held(fx->objs), 1);
	fake_hold(fx->objs, false);
	fake_hold(fx->objs, true);
	frame_settle(fx->base);
}

/* A client whose clone is made, and is about to be opened; behind that it asks for "a". */
static struct nbd_peer go_to_open(struct peer_fixture *fx)
{
	static const char go[] = "\0\0\0\x08+clone:a\0\0";
	struct nbd_peer p;

	make(fx, "a");
	start_with_clones(fx);
	p = nbd_peer_greet(fx, 3);
	fake_hold(fx->objs, true);
	nbd_peer_send_opt(&p, 7, go, sizeof(go) - 1);
	nbd_peer_send_opt(&p, 7, "\0\0\0\1a\0\0", 7);
	frame_settle(fx->base);
	let_one_go(fx);			     /* INFO */
	fake_fail_next(fx->objs, -ERR_CSUM); /* OPEN, once CLONE is answered */
	let_one_go(fx);
	return p;
}

static void test_a_clone_that_cannot_be_opened_is_given_back(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p = go_to_open(fx);

	fake_hold(fx->objs, false);
	assert_int_equal(nbd_peer_opt_reply(&p, 7), ERR_UNKNOWN_);
	assert_non_null(strstr(p.text, "checksum"));
	assert_int_equal(nbd_peer_opt_reply(&p, 7), ACK);
	assert_objects(fx, 1);
	assert_int_equal(nbd_peer_call(&p, &a, 1, 0, 0, 1, "x"), 0);
	close(p.c.fd);
	frame_wait(fx->base, peer_none_left, fx);
	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_objects(fx, 1);
}

/* One that stays is the connection's until its end, so that the next GO would find it. */
static void test_a_clone_that_stays_ends_it(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = go_to_open(fx);

	fake_fail_next(fx->objs, -ERR_IO); /* REMOVE, once OPEN is answered */
	let_one_go(fx);
	fake_hold(fx->objs, false);
	assert_int_equal(nbd_peer_opt_reply(&p, 7), ERR_UNKNOWN_);
	assert_closed(fx, &p);
	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_objects(fx, 1);
}

static void test_a_clone_is_no_export(void **state)
{
	static const char *const names[] = {"nbd-clone/7-1", "+clone:nbd-clone/7-1"};
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "nbd-clone/7-1");
	start_with_clones(fx);
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(nbd_peer_go(&p, 6, names[i]), ERR_UNKNOWN_);
		assert_int_equal(nbd_peer_go(&p, 7, names[i]), ERR_UNKNOWN_);
		assert_non_null(strstr(p.text, "its own"));
		assert_int_equal(nbd_peer_meta(&p, 9, names[i], 0, NULL), ERR_UNKNOWN_);
	}
	close(p.c.fd);
}

static void test_who_goes_while_the_engine_works(void **state)
{
	static const struct nbd_config clones = {.clones = true};
	static const char go[] = "\0\0\0\x08+clone:a\0\0";
	struct peer_fixture *fx = *state;

	make(fx, "a");
	frame_wait(fx->base, peer_none_left, fx);
	fx->config.nbd = &clones;
	peer_reconfigure(fx);
	for (int answers = 0; answers < 3; answers++) { /* INFO, CLONE, OPEN */
		struct nbd_peer p = nbd_peer_greet(fx, 3);

		fake_hold(fx->objs, true);
		nbd_peer_send_opt(&p, 7, go, sizeof(go) - 1);
		frame_settle(fx->base);
		for (int i = 0; i < answers; i++) {
			fake_hold(fx->objs, false);
			fake_hold(fx->objs, true);
			frame_settle(fx->base);
		}
		conn_set_abort(fx->set);
		fake_hold(fx->objs, false);
		frame_wait(fx->base, peer_none_left, fx);
		close(p.c.fd);
		fx->config.nbd = &clones;
		peer_reconfigure(fx);
		assert_int_equal(fake_open_handles(fx->objs), 0);
		assert_objects(fx, 1);
		frame_wait(fx->base, peer_none_left, fx);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_clone_goes_with_its_connection),
	    TEST(test_a_clone_that_cannot_be_opened_is_given_back),
	    TEST(test_a_clone_that_stays_ends_it),
	    TEST(test_a_clone_is_no_export),
	    TEST(test_who_goes_while_the_engine_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
