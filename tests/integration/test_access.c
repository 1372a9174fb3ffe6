/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_access.c: which users a real daemon lets in by its unix socket.  Each client is a process of its
 * own that has given up root; who is not root has nothing to give up, and only sees that he is let in.
 */
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/raw.h"

#define STRANGER     65534
#define STRANGER_ARG "65534"
#define OTHER_ARG    "65533"

static void daemon_begin(struct daemon *d, const char *option, const char *user)
{
	struct daemon_config config = {.args = {option, user}};

	daemon_init(d, &config);
	MUST(chmod(d->dir, 0711) == 0, "%s", d->dir);
	daemon_start(d);
}

static void daemon_end(struct daemon *d)
{
	daemon_stop(d);
	daemon_fini(d);
}

static mode_t socket_mode(const struct daemon *d)
{
	struct stat st;

	MUST(lstat(d->socket, &st) == 0, "%s", d->socket);
	return st.st_mode & 07777;
}

/* In a child: is nobody from here on. */
static void give_up_root(void)
{
	if (setgroups(0, NULL) < 0 || setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
		_exit(99);
}

static int wait_for(pid_t pid)
{
	int status = 0;

	MUST(pid > 0 && waitpid(pid, &status, 0) == pid, "child");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Connects as a stranger; what cow_connect() gives and, where it fails, what it says. */
static int connect_as_stranger(const struct daemon *d, char *said, size_t len)
{
	int out[2];
	ssize_t n;
	pid_t pid;

	MUST(pipe2(out, O_CLOEXEC) == 0, "pipe");
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		cow_t *cow = cow_new();
		int err;

		give_up_root();
		err = cow ? cow_connect(cow, d->uri[DAEMON_UNIX]) : -COW_ENOMEM;
		if (err == 0)
			err = cow_create(cow, "of-a-stranger", 4096);
		(void)dprintf(out[1], "%s", err == 0 ? "" : cow_error(cow));
		_exit(-err);
	}
	(void)close(out[1]);
	n = read(out[0], said, len - 1);
	said[n > 0 ? n : 0] = '\0';
	(void)close(out[0]);
	return -wait_for(pid);
}

/* The exit status of "cowctl ping" as a stranger, who may not be able to reach the program by its path. */
static int cowctl_as_stranger(const struct daemon *d)
{
	const char *args[] = {"cowctl", "-u", d->uri[DAEMON_UNIX], "ping", NULL};
	int fd = open(getenv("COWCTL"), O_RDONLY);
	pid_t pid;

	MUST(fd >= 0, "COWCTL");
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		(void)dup2(null, STDERR_FILENO);
		give_up_root();
		(void)fexecve(fd, (char *const *)(uintptr_t)args, environ);
		_exit(98);
	}
	(void)close(fd);
	return wait_for(pid);
}

/* A stranger who goes on after the refusal: there is one answer, and the end. */
static int insist_as_stranger(const struct daemon *d)
{
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct raw_bytes b = {.p = NULL};
		struct wire_header h;
		struct raw r;

		give_up_root();
		raw_open(&r, d, DAEMON_UNIX);
		raw_add_hello(&r, &b, 0);
		raw_add_hello(&r, &b, 0);
		raw_add_ping(&r, &b);
		raw_send(&r, b.p, b.len);
		if (!raw_recv(&r, &h) || h.status != COW_EPERM)
			_exit(1);
		_exit(raw_recv(&r, &h) ? 2 : 0);
	}
	return wait_for(pid);
}

static size_t count_in_log(const struct daemon *d, const char *text)
{
	FILE *f = fopen(d->log, "re");
	char line[4096];
	size_t n = 0;

	MUST(f, "%s", d->log);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	(void)fclose(f);
	return n;
}

static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("not root: there is nobody else to connect as\n");
	return false;
}

static void test_the_socket_is_for_the_owner_alone(void **state)
{
	struct daemon d;
	char said[512];
	cow_t *cow;

	(void)state;
	daemon_begin(&d, NULL, NULL);
	assert_int_equal(socket_mode(&d), 0600);
	cow = daemon_connect(&d, DAEMON_UNIX);
	assert_int_equal(cow_create(cow, "own", 4096), 0);
	cow_free(cow);
	if (is_root()) /* the file system keeps a stranger out */
		assert_int_equal(connect_as_stranger(&d, said, sizeof(said)), -COW_EPERM);
	assert_int_equal(count_in_log(&d, "event=refused"), 0);
	daemon_end(&d);
}

static void test_who_reaches_the_socket_all_the_same_is_refused(void **state)
{
	struct daemon d;
	char said[512];

	(void)state;
	daemon_begin(&d, NULL, NULL);
	assert_int_equal(chmod(d.socket, 0666), 0);
	if (is_root()) {
		assert_int_equal(connect_as_stranger(&d, said, sizeof(said)), -COW_EPERM);
		assert_non_null(strstr(said, "uid " STRANGER_ARG));
		assert_non_null(strstr(said, "--allow-user " STRANGER_ARG));
		assert_int_equal(count_in_log(&d, "event=refused"), 1);
		assert_int_equal(cowctl_as_stranger(&d), 6);
		assert_int_equal(count_in_log(&d,
					      "uid " STRANGER_ARG "\" reason=\"uid " STRANGER_ARG
					      " may not use this server"),
				 2);
		assert_int_equal(insist_as_stranger(&d), 0);
	}
	daemon_end(&d);
}

static void test_who_is_allowed_is_let_in(void **state)
{
	struct daemon d;
	char said[512];

	(void)state;
	daemon_begin(&d, "--allow-user", STRANGER_ARG);
	assert_int_equal(socket_mode(&d), 0666);
	if (is_root()) {
		assert_int_equal(connect_as_stranger(&d, said, sizeof(said)), 0);
		assert_int_equal(cowctl_as_stranger(&d), 0);
	}
	assert_int_equal(count_in_log(&d, "event=refused"), 0);
	daemon_end(&d);
}

static void test_one_who_is_allowed_lets_no_other_in(void **state)
{
	struct daemon d;
	char said[512];
	cow_t *cow;

	(void)state;
	daemon_begin(&d, "--allow-user", OTHER_ARG);
	assert_int_equal(socket_mode(&d), 0666);
	if (is_root()) {
		assert_int_equal(connect_as_stranger(&d, said, sizeof(said)), -COW_EPERM);
		assert_int_equal(cowctl_as_stranger(&d), 6);
	}
	cow = daemon_connect(&d, DAEMON_UNIX);
	assert_int_equal(cow_remove(cow, "of-a-stranger"), -COW_ENOENT);
	cow_free(cow);
	daemon_end(&d);
}

static void test_a_user_that_does_not_exist_is_wrong_usage(void **state)
{
	struct daemon_config config = {.args = {"--allow-user", "no-such-user-here"}};
	struct daemon d;

	(void)state;
	daemon_init(&d, &config);
	daemon_spawn(&d);
	assert_int_equal(daemon_wait(&d), 64);
	assert_int_equal(
	    count_in_log(&d, "cowd: --allow-user: there is no user 'no-such-user-here'"), 1);
	assert_int_equal(access(d.store, F_OK), -1);
	daemon_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_socket_is_for_the_owner_alone),
	    cmocka_unit_test(test_who_reaches_the_socket_all_the_same_is_refused),
	    cmocka_unit_test(test_who_is_allowed_is_let_in),
	    cmocka_unit_test(test_one_who_is_allowed_lets_no_other_in),
	    cmocka_unit_test(test_a_user_that_does_not_exist_is_wrong_usage),
	};

	must_end_within(300);
	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
