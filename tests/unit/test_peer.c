/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_peer.c: who is at the other end of a socket, and whether a policy lets them in.
 */
#include "server/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"

static char why[256];

/* A user who is neither root nor whoever runs the test. */
static uid_t stranger(void)
{
	return geteuid() + 4711;
}

static bool refused(const struct peer_policy *policy, uid_t uid)
{
	struct peer peer = {.local = true, .known = true, .uid = uid};

	why[0] = '\0';
	return peer_is_refused(policy, &peer, why, sizeof(why));
}

static void test_root_and_the_own_user_are_let_in(void **state)
{
	static const struct peer_policy none;

	(void)state;
	assert_false(refused(NULL, 0));
	assert_false(refused(&none, 0));
	assert_false(refused(&none, geteuid()));
	assert_true(refused(&none, stranger()));
	assert_true(refused(NULL, stranger()));
}

static void test_a_refusal_names_the_user_and_the_option(void **state)
{
	char want[64];

	(void)state;
	(void)snprintf(want, sizeof(want), "uid %u ", (unsigned int)stranger());
	assert_true(refused(NULL, stranger()));
	assert_non_null(strstr(why, want));
	(void)snprintf(want, sizeof(want), "--allow-user %u ", (unsigned int)stranger());
	assert_non_null(strstr(why, want));
	assert_true(strlen(why) < PEER_REFUSAL_BYTES - 8);
}

static void test_a_policy_adds_users_by_name_and_by_number(void **state)
{
	struct peer_policy policy = {.nusers = 0};
	char number[24];

	(void)state;
	(void)snprintf(number, sizeof(number), "%u", (unsigned int)stranger());
	assert_int_equal(peer_policy_add(&policy, number, why, sizeof(why)), 0);
	assert_int_equal(peer_policy_add(&policy, "root", why, sizeof(why)), 0);
	assert_int_equal(policy.nusers, 2);
	assert_int_equal(policy.users[1], 0);
	assert_false(refused(&policy, stranger()));
	assert_true(refused(&policy, stranger() + 1));
}

static void test_users_that_are_not_there(void **state)
{
	static const char *const users[] = {
	    "no-such-user-here", "-1",	       "4294967295", "1x",
	    "99999999999999999", "4294967296", " 1",	     "0x10"};
	struct peer_policy policy = {.nusers = 0};

	(void)state;
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		assert_int_equal(peer_policy_add(&policy, users[i], why, sizeof(why)), -ERR_INVAL);
		assert_non_null(strstr(why, users[i]));
	}
	assert_int_equal(policy.nusers, 0);
	for (unsigned int i = 0; i < PEER_USERS_MAX; i++)
		assert_int_equal(peer_policy_add(&policy, "5", why, sizeof(why)), 0);
	assert_int_equal(peer_policy_add(&policy, "5", why, sizeof(why)), -ERR_INVAL);
}

static void test_a_unix_socket_has_credentials(void **state)
{
	struct peer peer;
	char want[64];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(fds[1]); /* who has gone since is still known */
	peer_look(fds[0], &peer);
	(void)snprintf(want, sizeof(want), "pid %d uid %u", (int)getpid(), (unsigned int)geteuid());
	assert_true(peer.local && peer.known);
	assert_int_equal(peer.uid, geteuid());
	assert_string_equal(peer.text, want);
	assert_false(peer_is_refused(NULL, &peer, why, sizeof(why)));
	close(fds[0]);
}

/* What the credentials cannot be had of lets nobody in. */
static void test_what_is_no_socket_is_refused(void **state)
{
	struct peer peer;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	peer_look(fds[0], &peer);
	assert_true(peer.local);
	assert_false(peer.known);
	assert_string_equal(peer.text, "unknown");
	assert_true(peer_is_refused(NULL, &peer, why, sizeof(why)));
	assert_non_null(strstr(why, "not known"));
	close(fds[0]);
	close(fds[1]);
}

static void test_tcp_is_judged_elsewhere(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	struct peer peer;
	char want[64];
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	(void)state;
	assert_int_equal(bind(l, (const struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(connect(c, (const struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(c, (struct sockaddr *)&sin, &len), 0);
	fd = accept(l, NULL, NULL);
	peer_look(fd, &peer);
	(void)snprintf(want, sizeof(want), "127.0.0.1:%u", ntohs(sin.sin_port));
	assert_false(peer.local);
	assert_string_equal(peer.text, want);
	assert_false(peer_is_refused(NULL, &peer, why, sizeof(why)));
	close(fd);
	/* a socket that is not connected any more, too */
	peer_look(l, &peer);
	assert_string_equal(peer.text, "unknown");
	assert_false(peer.local);
	close(c);
	close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_root_and_the_own_user_are_let_in),
	    cmocka_unit_test(test_a_refusal_names_the_user_and_the_option),
	    cmocka_unit_test(test_a_policy_adds_users_by_name_and_by_number),
	    cmocka_unit_test(test_users_that_are_not_there),
	    cmocka_unit_test(test_a_unix_socket_has_credentials),
	    cmocka_unit_test(test_what_is_no_socket_is_refused),
	    cmocka_unit_test(test_tcp_is_judged_elsewhere),
	};

	return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
