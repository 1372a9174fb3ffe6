/* SPDX-License-Identifier: BSD-2-Clause */
/* cowctl's commands about clones that go by themselves, and about the server, against a store in memory. */
#include "common/err.h"
#include "tests/unit/cowctl_fixture.h"

static struct fixture *fixture_with_golden(void)
{
	struct fixture *f = fixture_start();

	fake_store_add(f->st, "golden", 4096);
	return f;
}

static void listens(struct fixture *f, const char *addr)
{
	(void)snprintf(f->st->server.addrs[f->st->server.count++].text, MSG_ADDR_BYTES, "%s", addr);
}

static void it_has_a_clone_and_knows_where(void **state)
{
	struct fixture *f = fixture_with_golden();

	(void)state;
	listens(f, "unix:/x");
	listens(f, "nbd+tcp:127.0.0.1:5");
	listens(f, "nbd+unix:/n");
	run(f, 0, "with-clone --name=c golden -- printenv COW_OBJECT NBD_URI");
	expect_out(f, "c\nnbd+unix:///c?socket=/n\n");
	assert_int_equal(f->st->requests[WIRE_OP_CLONE], 1);
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 1);
	assert_int_equal(f->st->requests[WIRE_OP_OPEN], 1);
	assert_int_equal(f->st->requests[WIRE_OP_CLOSE], 1);
	assert_int_equal(f->st->count, 1);
	f->st->server.nbd_tls = MSG_NBD_TLS_REQUIRE;
	run(f, 0, "--json with-clone --name=c golden -- printenv NBD_URI");
	expect_out(f, "nbds+unix:///c?socket=/n\n");
	f->st->server.count = 1;
	run(f, 1, "with-clone golden -- printenv NBD_URI");
	expect_out(f, "");
	run(f, 1, "-v with-clone golden -- printenv NBD_URI");
	expect_has(f->err, "no $NBD_URI");
	fixture_stop(f);
}

/* Without it a cowctl that dies would leave the clone for ever. */
static void the_clone_is_mortal(void **state)
{
	struct fixture *f = fixture_with_golden();

	(void)state;
	f->st->remove_fails = 1;
	f->st->remove_status = ERR_IO;
	run(f, 0, "with-clone --name=c --label k=v golden -- true");
	expect_has(f->err, "c: not removed, as the test wants it (the server's log says more); the "
			   "clone goes when nobody uses it any more");
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 1); /* it is no use to try again */
	assert_int_equal(f->st->requests[WIRE_OP_SET], 1);
	assert_in_range(fake_store_find(f->st, "c")->info.expires_ns, f->st->now_ns + 1,
			f->st->now_ns + UINT64_C(1000000000));
	run(f, 1, "with-clone --name=d --keep-on-failure golden -- false");
	assert_string_equal(f->err, "cowctl: with-clone: d: the clone is kept\n");
	assert_int_equal(fake_store_find(f->st, "d")->info.expires_ns, 0);
	fixture_stop(f);
}

static void what_is_in_use_is_tried_again(void **state)
{
	struct fixture *f = fixture_with_golden();

	(void)state;
	f->st->remove_fails = 3;
	f->st->remove_status = ERR_BUSY;
	run(f, 7, "with-clone golden -- sh -c exit\t7"); /* blanks would be words */
	expect_out(f, "");
	assert_int_equal(f->st->requests[WIRE_OP_REMOVE], 4);
	assert_int_equal(f->st->count, 1);
	fixture_stop(f);
}

static void mistakes_make_no_clone(void **state)
{
	struct fixture *f = fixture_with_golden();

	(void)state;
	expect_error(f, 64, "with-clone golden", "too few arguments");
	expect_error(f, 64, "with-clone --name=a@b golden true", "a@b: names a version");
	expect_error(f, 64, "with-clone --ttl=1w golden true", "1w: not a time");
	expect_error(f, 64, "with-clone -N 2 golden true", "it takes no option --count");
	expect_error(f, 64, "with-clone golden true --name", "--name");
	assert_int_equal(f->st->requests[WIRE_OP_CLONE], 0);
	expect_error(f, 3, "with-clone gold true", "gold: no such object");
	expect_error(f, 4, "with-clone --name=golden golden true",
		     "golden: the name exists already");
	expect_error(f, 1, "with-clone --name=.a golden true", ".a: ");
	expect_error(f, 127, "with-clone golden /nonexistent/x", "/nonexistent/x: No such file");
	expect_error(f, 126, "with-clone golden /", "/: Permission denied");
	assert_int_equal(f->st->count, 1);
	run(f, 0, "help with-clone");
	expect_has(f->out, "how long the clone outlives cowctl");
	fixture_stop(f);
}

static void the_server_says_what_it_is(void **state)
{
	struct fixture *f = fixture_start();

	(void)state;
	f->st->server = (struct msg_server_reply){
	    .incarnation = 3, .uptime_ms = 61500, .nbd_tls = 1, .agent = "cowd/x"};
	listens(f, "unix:/x");
	listens(f, "nbd+tcp:[::]:5");
	run(f, 0, "server");
	expect_out(f, "cowd/x, start 3 on this store, up for 61 s\nunix:/x\nnbd+tcp:[::]:5\n"
		      "TLS for NBD: on\n");
	run(f, 0, "--json server");
	expect_has(f->out, "\"agent\": \"cowd/x\"");
	expect_has(f->out, "\"uptime_ms\": 61500");
	expect_has(f->out, "\"nbd_tls\": \"on\"");
	expect_error(f, 64, "server x", "too many arguments");
	fixture_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_has_a_clone_and_knows_where),
	    cmocka_unit_test(the_clone_is_mortal),
	    cmocka_unit_test(what_is_in_use_is_tried_again),
	    cmocka_unit_test(mistakes_make_no_clone),
	    cmocka_unit_test(the_server_says_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
