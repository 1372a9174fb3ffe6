/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_store_crash.c: a crash at each step of making a store, and what it leaves beside it.
 */
#include "server/store.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/unit/store_fixture.h"

static void test_leftovers_are_removed(void **state)
{
	static const char *const files[] = {"lock", "map", "map.tmp", "map.tmp-lock", "data"};
	struct fixture *fx = *state;
	char name[64];

	make_dir(fx, "s.new-empty0");
	make_dir(fx, "s.new-locked");
	make_file_at(fx, "s.new-locked/lock", "");
	make_dir(fx, "s.new-all000");
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(name, sizeof(name), "s.new-all000/%s", files[i]);
		make_file_at(fx, name, i == 0 ? "" : "x");
	}
	must_create(fx);
	assert_int_equal(count_names(fx->root), 2);
	assert_is_whole(fx);
}

static void test_nothing_else_beside_is_touched(void **state)
{
	static const char *const dirs[] = {"s.new",	    "s.new-",	     "s.newabcdef",
					   "sx.new-abcdef", "s.new-backup1", "x.new-abcdef"};
	struct fixture *fx = *state;
	char name[64];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		make_dir(fx, dirs[i]);
		snprintf(name, sizeof(name), "%s/lock", dirs[i]);
		make_file_at(fx, name, "");
	}
	make_file_at(fx, "s.new-afile0", "");
	make_dir(fx, "s.new-photos");
	make_file_at(fx, "s.new-photos/data", "");
	make_dir(fx, "s.new-thesis");
	make_file_at(fx, "s.new-thesis/lock", "");
	make_file_at(fx, "s.new-thesis/notes", "");
	must_create(fx);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(name, sizeof(name), "%s/lock", dirs[i]);
		assert_true(is_there(fx, name));
	}
	assert_true(is_there(fx, "s.new-afile0"));
	assert_true(is_there(fx, "s.new-photos/data"));
	assert_true(is_there(fx, "s.new-thesis/notes"));
}

static void test_unfinished_store_of_a_living_process_is_left(void **state)
{
	struct fixture *fx = *state;
	int fd;

	make_dir(fx, "s.new-living");
	make_file_at(fx, "s.new-living/lock", "");
	make_file_at(fx, "s.new-living/map", "x");
	fd = open(at(fx, "s.new-living/lock"), O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	must_create(fx);
	assert_true(is_there(fx, "s.new-living/map"));
	assert_true(is_there(fx, "s.new-living/lock"));
	close(fd);
}

/* A store may have such a name, and nobody may be using it. */
static void test_store_that_is_named_like_a_leftover_is_left(void **state)
{
	struct fixture *fx = *state;
	char backup[80];
	struct store store;

	snprintf(backup, sizeof(backup), "%s/s.new-backup", fx->root);
	fx->config.dir = backup;
	must_create(fx);
	fx->config.dir = fx->dir;
	must_create(fx);
	fx->config.dir = backup;
	assert_is_whole(fx);
	store = must_open(fx);
	store_close(&store);
	assert_int_equal(remove_tree(fx->dir), 0);
	fx->config.dir = fx->dir;
	must_create(fx);
	fx->config.dir = backup;
	assert_is_whole(fx);
}

/* What happens to files is unchanged by these, whatever their arguments. */
static bool changes_no_file(uint64_t nr)
{
	static const long calls[] = {
	    SYS_read,	      SYS_pread64,	  SYS_lseek,	  SYS_close,	SYS_fstat,
	    SYS_getrandom,    SYS_mmap,		  SYS_munmap,	  SYS_mprotect, SYS_madvise,
	    SYS_brk,	      SYS_getdents64,	  SYS_futex,	  SYS_getpid,	SYS_gettid,
	    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_newfstatat,
	};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (nr == (uint64_t)calls[i])
			return true;
	return false;
}

/* One creation in a child that stops before each system call. */
struct traced {
	pid_t pid;
	unsigned int kill_at; /* before which call that may change a file, from 1; 0: never */
	unsigned int calls;   /* so far */
	const char *dir;      /* whose syncs are counted */
	unsigned int syncs;
};

static void traced_count_sync(struct traced *t, const struct __ptrace_syscall_info *info)
{
	char link[64];
	char path[PATH_MAX];
	ssize_t n;

	if (info->entry.nr != SYS_fsync || !t->dir)
		return;
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)t->pid, (int)info->entry.args[0]);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	t->syncs += strcmp(path, t->dir) == 0;
}

/* Whether the child is to be killed here. */
static bool traced_call(struct traced *t)
{
	struct __ptrace_syscall_info info;

	assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, (void *)sizeof(info), &info) > 0);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY || changes_no_file(info.entry.nr))
		return false;
	traced_count_sync(t, &info);
	return ++t->calls == t->kill_at;
}

static void traced_start(struct traced *t, struct fixture *fx)
{
	int status;

	t->pid = fork();
	assert_true(t->pid >= 0);
	if (t->pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) != 0)
			_exit(2);
		_exit(create(fx) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, t->pid, NULL,
				(void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
			 0);
}

/* Returns whether the child was killed; it has made the store otherwise. */
static bool traced_create(struct traced *t, struct fixture *fx)
{
	int status;

	traced_start(t, fx);
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, t->pid, NULL, NULL), 0);
		assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
		if (!WIFSTOPPED(status))
			break;
		assert_int_equal(WSTOPSIG(status), SIGTRAP | 0x80);
		if (traced_call(t)) {
			assert_int_equal(kill(t->pid, SIGKILL), 0);
			assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
			assert_true(WIFSIGNALED(status));
			return true;
		}
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return false;
}

/* Makes what the crash left a store; returns whether it was one already. */
static bool recover(struct fixture *fx)
{
	bool published = probe(fx) == 0;

	if (!published) {
		assert_int_equal(probe(fx), -ERR_NOENT);
		/* a file elsewhere may be anybody's: it is not removed, but named */
		if (fx->config.device && is_there(fx, "devs/d")) {
			assert_int_equal(create(fx), -ERR_EXIST);
			assert_why(fx, fx->device);
			assert_int_equal(unlink(fx->device), 0);
		}
		must_create(fx);
	}
	assert_int_equal(count_names(fx->root), 2);
	assert_int_equal(count_names(fx->dir), fx->config.device ? 2 : 3);
	assert_is_whole(fx);
	return published;
}

static void kill_at_each_step(struct fixture *fx)
{
	unsigned int published = 0;
	unsigned int n = 0;

	for (;;) {
		struct traced t = {.kill_at = ++n};

		if (!traced_create(&t, fx))
			break;
		if (recover(fx))
			published++;
		else
			assert_int_equal(published, 0);
		assert_int_equal(remove_tree(fx->dir), 0);
		(void)unlink(fx->device);
	}
	/* the last steps, and only these, come after the rename */
	assert_in_range(published, 1, 10);
	assert_true(n > 25);
	assert_is_whole(fx);
}

static void test_killed_at_each_step_it_can_be_made_again(void **state)
{
	kill_at_each_step(*state);
}

static void test_killed_at_each_step_with_a_device_elsewhere(void **state)
{
	struct fixture *fx = *state;

	fx->config.device = fx->device;
	kill_at_each_step(fx);
}

static void test_directories_are_synced(void **state)
{
	struct fixture *fx = *state;
	struct traced parent = {.dir = fx->root};
	struct traced devs = {.dir = at(fx, "devs")};

	fx->config.device = fx->device;
	assert_false(traced_create(&devs, fx));
	assert_int_equal(devs.syncs, 1);
	assert_int_equal(remove_tree(fx->dir), 0);
	assert_int_equal(unlink(fx->device), 0);
	assert_false(traced_create(&parent, fx));
	assert_int_equal(parent.syncs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STORE_CASE(test_leftovers_are_removed),
	    STORE_CASE(test_nothing_else_beside_is_touched),
	    STORE_CASE(test_unfinished_store_of_a_living_process_is_left),
	    STORE_CASE(test_store_that_is_named_like_a_leftover_is_left),
	    STORE_CASE(test_killed_at_each_step_it_can_be_made_again),
	    STORE_CASE(test_killed_at_each_step_with_a_device_elsewhere),
	    STORE_CASE(test_directories_are_synced),
	};

	return cmocka_run_group_tests_name("store-crash", tests, NULL, NULL);
}
