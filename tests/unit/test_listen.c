/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_listen.c: the sockets that clients connect to: their addresses, who may have them, and the
 * two ways in which accepting pauses.
 */
#include "server/listen.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/loop.h"
#include "tests/lib/caught.h"
#include "tests/lib/must.h"

#define MAX_CLIENTS 64

struct fixture {
	char root[64];
	char path[80]; /* of the socket */
	char addr[96]; /* "unix:" and path */
	char why[512];
	struct loop *loop;
	struct listen_config config;
	int accepted[MAX_CLIENTS];
	unsigned int naccepted;
	unsigned int by_tls;
	unsigned int full_at; /* that many accepted: no more */
};

static bool on_accept(void *ctx, int fd)
{
	struct fixture *fx = ctx;

	MUST(fx->naccepted < MAX_CLIENTS, "%u accepted", fx->naccepted);
	fx->accepted[fx->naccepted++] = fd;
	return fx->naccepted != fx->full_at;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	if (!fx)
		return -1;
	must_end_within(60);
	snprintf(fx->root, sizeof(fx->root), "%s/cowd-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	fx->loop = loop_new();
	if (!mkdtemp(fx->root) || !fx->loop)
		return -1;
	snprintf(fx->path, sizeof(fx->path), "%s/sock", fx->root);
	snprintf(fx->addr, sizeof(fx->addr), "unix:%s", fx->path);
	fx->config = (struct listen_config){.loop = fx->loop, .accept = on_accept, .ctx = fx};
	thread_set_role(THREAD_LOOP);
	*state = fx;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	int rc = nftw(fx->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

	for (unsigned int i = 0; i < fx->naccepted; i++)
		close(fx->accepted[i]);
	loop_free(fx->loop);
	free(fx);
	return rc;
}

static struct listener *must_listen(struct fixture *fx, const char *addr)
{
	struct listener *l = NULL;
	int err = listener_open(&fx->config, addr, &l, fx->why, sizeof(fx->why));

	if (err < 0)
		fail_msg("%s: %s: %s", addr, err_name(err), fx->why);
	assert_non_null(l);
	return l;
}

static void assert_refused(struct fixture *fx, const char *addr, int err, const char *part)
{
	struct listener *l = NULL;

	assert_int_equal(listener_open(&fx->config, addr, &l, fx->why, sizeof(fx->why)), err);
	assert_null(l);
	if (!strstr(fx->why, part))
		fail_msg("'%s' does not say '%s'", fx->why, part);
}

static int connect_unix(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* One round of the loop; an alarm ends a wait for what does not come. */
static void run_once(struct fixture *fx)
{
	assert_int_equal(event_base_loop(loop_base(fx->loop), EVLOOP_ONCE), 0);
}

static void run_until_accepted(struct fixture *fx, unsigned int n)
{
	while (fx->naccepted < n)
		run_once(fx);
}

/* Runs what is ready now, and what that makes ready. */
static void run_what_is_ready(struct fixture *fx)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(event_base_loop(loop_base(fx->loop), EVLOOP_NONBLOCK), 0);
}

static bool is_socket(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* A bound socket that nobody listens on: what a server that died leaves. */
static void make_stale_socket(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
}

/* ---- unix sockets ---------------------------------------------------------------------------- */

static void test_unix_is_made_accepts_and_is_removed(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int client;

	assert_string_equal(listener_addr(l), fx->addr);
	client = connect_unix(fx->path);
	run_until_accepted(fx, 1);
	assert_true(fcntl(fx->accepted[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fx->accepted[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(fx->accepted[0], fx->why, sizeof(fx->why)), 1);
	listener_close(l);
	assert_int_equal(access(fx->path, F_OK), -1);
	listener_close(NULL);
	close(client);
}

static void test_unix_is_for_the_owner_alone(void **state)
{
	struct fixture *fx = *state;
	mode_t before = umask(0);
	struct listener *l = must_listen(fx, fx->addr);
	struct stat st;

	assert_int_equal(umask(before), 0);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	listener_close(l);
}

static void test_unix_may_be_for_everybody(void **state)
{
	struct fixture *fx = *state;
	mode_t before = umask(077);
	struct listener *l;
	struct stat st;

	fx->config.everybody = true;
	l = must_listen(fx, fx->addr);
	assert_int_equal(umask(before), 077);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	listener_close(l);
}

static void test_unix_stale_socket_is_replaced(void **state)
{
	struct fixture *fx = *state;
	struct listener *l;
	struct stat st;
	int client;

	make_stale_socket(fx->path);
	l = must_listen(fx, fx->addr);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	client = connect_unix(fx->path);
	run_until_accepted(fx, 1);
	listener_close(l);
	assert_int_equal(access(fx->path, F_OK), -1);
	close(client);
}

static void test_unix_live_socket_is_left(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int client;

	assert_refused(fx, fx->addr, -ERR_BUSY, fx->path);
	run_until_accepted(fx, 1); /* the question whether somebody is there */
	client = connect_unix(fx->path);
	run_until_accepted(fx, 2);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(fx->accepted[1], fx->why, sizeof(fx->why)), 1);
	listener_close(l);
	close(client);
}

static void test_unix_other_file_is_left(void **state)
{
	struct fixture *fx = *state;
	char target[96];
	int fd = open(fx->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;

	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	assert_refused(fx, fx->addr, -ERR_EXIST, fx->path);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(unlink(fx->path), 0);

	/* nor is a link followed to a stale socket */
	snprintf(target, sizeof(target), "%s/target", fx->root);
	make_stale_socket(target);
	assert_int_equal(symlink("target", fx->path), 0);
	assert_refused(fx, fx->addr, -ERR_EXIST, fx->path);
	assert_true(is_socket(target));
}

static void test_unix_paths_that_cannot_be(void **state)
{
	struct fixture *fx = *state;
	struct sockaddr_un sun;
	char addr[sizeof("unix:") + sizeof(sun.sun_path)];

	memset(addr, 'a', sizeof(addr) - 1);
	addr[sizeof(addr) - 1] = '\0';
	memcpy(addr, "unix:", 5);
	assert_int_equal(strlen(addr + 5), sizeof(sun.sun_path));
	assert_refused(fx, addr, -ERR_INVAL, addr + 5);
	assert_int_equal(access(addr + 5, F_OK), -1);
	assert_refused(fx, "unix:", -ERR_INVAL, "1 to");
	assert_refused(fx, "unix:/nonexistent-directory/sock", -ERR_NOENT, "/nonexistent");
}

static void test_unix_longest_path(void **state)
{
	struct fixture *fx = *state;
	struct sockaddr_un sun;
	char addr[sizeof("unix:") + sizeof(sun.sun_path) - 1];
	int n = snprintf(addr, sizeof(addr), "%s", fx->addr);
	struct listener *l;

	memset(addr + n, 'a', sizeof(addr) - 1 - (size_t)n);
	addr[sizeof(addr) - 1] = '\0';
	assert_int_equal(strlen(addr + 5), sizeof(sun.sun_path) - 1);
	l = must_listen(fx, addr);
	assert_string_equal(listener_addr(l), addr);
	assert_true(is_socket(addr + 5));
	listener_close(l);
	assert_false(is_socket(addr + 5));
}

static void test_close_leaves_what_took_its_place(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);

	assert_int_equal(unlink(fx->path), 0);
	make_stale_socket(fx->path);
	listener_close(l);
	assert_true(is_socket(fx->path));
}

/* ---- tcp ------------------------------------------------------------------------------------- */

static uint16_t port_of(const struct listener *l)
{
	const char *colon = strrchr(listener_addr(l), ':');

	assert_non_null(colon);
	return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static int connect_tcp(uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

static void test_tcp_port_0_gets_a_real_one(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, "tcp:127.0.0.1:0");
	char addr[64];
	int client;

	assert_true(port_of(l) != 0);
	snprintf(addr, sizeof(addr), "tcp:127.0.0.1:%u", port_of(l));
	assert_string_equal(listener_addr(l), addr);
	client = connect_tcp(port_of(l));
	run_until_accepted(fx, 1);
	assert_refused(fx, addr, -ERR_BUSY, addr);
	/* closed by the server first: the port is free again all the same */
	close(fx->accepted[--fx->naccepted]);
	listener_close(l);
	listener_close(must_listen(fx, addr));
	close(client);
}

static bool on_accept_tls(void *ctx, int fd)
{
	struct fixture *fx = ctx;

	fx->by_tls++;
	return on_accept(ctx, fd);
}

static void test_tls_is_told_apart_and_may_be_beyond_loopback(void **state)
{
	struct fixture *fx = *state;
	struct listener *l;
	int client;

	assert_refused(fx, "tls:127.0.0.1:0", -ERR_INVAL, "tls:127.0.0.1:0"); /* not asked for */
	fx->config.accept_tls = on_accept_tls;
	l = must_listen(fx, "tls:0.0.0.0:0");
	assert_memory_equal(listener_addr(l), "tls:0.0.0.0:", 12);
	listener_close(l);
	l = must_listen(fx, "tls:127.0.0.1:0");
	assert_memory_equal(listener_addr(l), "tls:127.0.0.1:", 14);
	client = connect_tcp(port_of(l));
	run_until_accepted(fx, 1);
	assert_int_equal(fx->by_tls, 1);
	listener_close(l);
	close(client);
	assert_refused(fx, "tls:nowhere", -ERR_INVAL, "tls:HOST:PORT");
}

static void test_tcp_beyond_loopback_is_refused(void **state)
{
	static const char *const addrs[] = {"tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:192.0.2.1:0",
					    "tcp:128.0.0.1:0", "tcp:[2001:db8::1]:0"};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++)
		assert_refused(fx, addrs[i], -ERR_PERM, "--insecure-plaintext");
}

static void test_tcp_beyond_loopback_where_that_is_allowed(void **state)
{
	struct fixture *fx = *state;
	struct listener *l;
	int client;

	fx->config.insecure_plaintext = true;
	l = must_listen(fx, "tcp:0.0.0.0:0");
	client = connect_tcp(port_of(l));
	run_until_accepted(fx, 1);
	listener_close(l);
	close(client);
}

static void test_bad_addresses(void **state)
{
	static const char *const addrs[] = {
	    "",
	    "unix",
	    "/tmp/sock",
	    "udp:127.0.0.1:1",
	    "TCP:127.0.0.1:1",
	    "tcp:",
	    "tcp:1",
	    "tcp::1",
	    "tcp:127.0.0.1",
	    "tcp:127.0.0.1:",
	    "tcp:127.0.0.1:http",
	    "tcp:127.0.0.1:-1",
	    "tcp:127.0.0.1:+1",
	    "tcp:127.0.0.1: 1",
	    "tcp:127.0.0.1:65536",
	    "tcp:127.0.0.1:70000",
	    "tcp:127.0.0.1:4294967296",
	    "tcp:127.0.0.1:18446744073709551617",
	    "tcp:::1:0",
	    "tcp:[]:0",
	    "tcp:[::1:0",
	    "tcp:[::1]",
	    "tcp:[::1]0",
	    "tcp:127.0.0.256:0",
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
		struct listener *l = NULL;
		int err = listener_open(&fx->config, addrs[i], &l, fx->why, sizeof(fx->why));

		if (err != -ERR_INVAL)
			fail_msg("'%s': %s", addrs[i], err_name(err));
		assert_null(l);
		if (!strstr(fx->why, addrs[i]))
			fail_msg("'%s' does not name '%s'", fx->why, addrs[i]);
	}
}

static void test_tcp_host_longer_than_any(void **state)
{
	struct fixture *fx = *state;
	static char addr[2000];

	memset(addr, 'a', sizeof(addr) - 1);
	memcpy(addr, "tcp:", 4);
	memcpy(addr + sizeof(addr) - 3, ":1", 3);
	assert_refused(fx, addr, -ERR_INVAL, "tcp:aaaa");
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void test_full_pauses_until_resumed(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int clients[4];

	listener_resume(l); /* not paused: nothing to do */
	fx->full_at = 2;
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = connect_unix(fx->path);
	run_until_accepted(fx, 2);
	run_what_is_ready(fx);
	assert_int_equal(fx->naccepted, 2);
	fx->full_at = 3;
	listener_resume(l);
	run_until_accepted(fx, 3);
	run_what_is_ready(fx);
	assert_int_equal(fx->naccepted, 3);
	fx->full_at = 0;
	listener_resume(l);
	run_until_accepted(fx, 4);
	listener_close(l);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
}

/* As many lines as can be read, however often there is room for one more. */
static void test_full_does_not_fill_the_log(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int clients[MAX_CLIENTS];
	unsigned int lines = 0;

	caught_begin();
	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		fx->full_at = i + 1;
		listener_resume(l);
		clients[i] = connect_unix(fx->path);
		run_until_accepted(fx, i + 1);
	}
	for (const char *at = caught_text(); (at = strstr(at, "event=listen-full")); at++)
		lines++;
	caught_end();
	assert_true(lines >= 20 && lines < MAX_CLIENTS);
	listener_close(l);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
}

/* The log of this process, which goes to its standard error, in a file for a while. */
struct capture {
	int file;
	int saved;
};

static struct capture capture_begin(const struct fixture *fx)
{
	struct capture cap = {.saved = dup(STDERR_FILENO)};
	char path[96];

	snprintf(path, sizeof(path), "%s/log", fx->root);
	cap.file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(cap.saved >= 0 && cap.file >= 0);
	assert_int_equal(dup2(cap.file, STDERR_FILENO), STDERR_FILENO);
	return cap;
}

static void capture_end(const struct capture *cap)
{
	(void)dup2(cap->saved, STDERR_FILENO);
	close(cap->saved);
	close(cap->file);
}

/* How often accept failed. */
static unsigned int accept_errors(const struct capture *cap)
{
	static const char event[] = "event=accept ";
	char text[4096];
	ssize_t len = pread(cap->file, text, sizeof(text) - 1, 0);
	unsigned int n = 0;

	MUST(len >= 0, "no log");
	text[len] = '\0';
	for (const char *at = text; (at = strstr(at, event)); at += strlen(event))
		n++;
	return n;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* No more descriptors for this process than it has; returns one to close. */
static int use_up_descriptors(struct rlimit *before)
{
	struct rlimit lim;
	int last = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

	assert_true(last >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
	lim = *before;
	lim.rlim_cur = (rlim_t)last + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &lim), 0);
	return last;
}

/* A pause that is over does not keep the other kind from ending.  Returns a new client. */
static int pause_and_resume(struct fixture *fx, struct listener *l)
{
	int client = connect_unix(fx->path);

	fx->full_at = 1;
	run_until_accepted(fx, 1);
	listener_resume(l);
	close(client);
	return connect_unix(fx->path);
}

/*
 * Three failures have two pauses of 100 ms between them; without pauses they would come at once.
 * The loop's clock is coarse, so they may seem shorter.
 */
static void test_no_descriptor_pauses_and_does_not_spin(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int client = pause_and_resume(fx, l);
	struct capture cap = capture_begin(fx);
	struct rlimit before;
	int last = use_up_descriptors(&before);
	double start = now_s();
	unsigned int naccepted;
	unsigned int errors;
	double took;

	while (accept_errors(&cap) < 3 && fx->naccepted == 1)
		run_once(fx);
	took = now_s() - start;
	naccepted = fx->naccepted;
	run_what_is_ready(fx);
	errors = accept_errors(&cap);
	close(last);
	run_until_accepted(fx, 2);
	capture_end(&cap);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(naccepted, 1);
	assert_true(took > 0.15);
	assert_in_range(errors, 3, 4);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(fx->accepted[1], fx->why, sizeof(fx->why)), 1);
	listener_close(l);
	close(client);
}

static void test_close_while_pausing(void **state)
{
	struct fixture *fx = *state;
	struct listener *l = must_listen(fx, fx->addr);
	int client = connect_unix(fx->path);
	struct capture cap = capture_begin(fx);
	struct rlimit before;
	int last = use_up_descriptors(&before);

	while (accept_errors(&cap) < 1)
		run_once(fx);
	close(last);
	listener_close(l);
	capture_end(&cap);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	run_what_is_ready(fx);
	assert_int_equal(fx->naccepted, 0);
	close(client);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_unix_is_made_accepts_and_is_removed),
	    CASE(test_unix_is_for_the_owner_alone),
	    CASE(test_unix_may_be_for_everybody),
	    CASE(test_unix_stale_socket_is_replaced),
	    CASE(test_unix_live_socket_is_left),
	    CASE(test_unix_other_file_is_left),
	    CASE(test_unix_paths_that_cannot_be),
	    CASE(test_unix_longest_path),
	    CASE(test_close_leaves_what_took_its_place),
	    CASE(test_tcp_port_0_gets_a_real_one),
	    CASE(test_tcp_beyond_loopback_is_refused),
	    CASE(test_tcp_beyond_loopback_where_that_is_allowed),
	    CASE(test_tls_is_told_apart_and_may_be_beyond_loopback),
	    CASE(test_bad_addresses),
	    CASE(test_tcp_host_longer_than_any),
	    CASE(test_full_pauses_until_resumed),
	    CASE(test_full_does_not_fill_the_log),
	    CASE(test_no_descriptor_pauses_and_does_not_spin),
	    CASE(test_close_while_pausing),
	};

	return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
