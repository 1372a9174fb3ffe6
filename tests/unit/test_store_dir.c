/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_store_dir.c: a store as a directory: what is one, making it, and what opening refuses.
 */
#include "server/store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "server/era.h"
#include "server/recover.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/written.h"

/* ---- probe ----------------------------------------------------------------------------------- */

static void test_probe_of_nothing(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(probe(fx), -ERR_NOENT);
	assert_why(fx, fx->dir);
	make_dir(fx, "s");
	assert_int_equal(probe(fx), -ERR_NOENT);
	assert_why(fx, fx->dir);
	assert_open_is_refused(fx, -ERR_NOENT, fx->dir);
	assert_int_equal(count_names(fx->dir), 0);
}

static void test_probe_of_something_else(void **state)
{
	struct fixture *fx = *state;

	make_dir(fx, "s");
	make_file_at(fx, "s/notes", "mine");
	assert_int_equal(probe(fx), -ERR_FORMAT);
	assert_why(fx, "not a store");
	assert_int_equal(create(fx), -ERR_FORMAT);
	assert_open_is_refused(fx, -ERR_FORMAT, "not a store");
	assert_int_equal(count_names(fx->dir), 1);
}

static void test_probe_of_a_file(void **state)
{
	struct fixture *fx = *state;

	make_file_at(fx, "s", "mine");
	assert_int_equal(probe(fx), -ERR_FORMAT);
	assert_why(fx, "not a directory");
	assert_int_equal(create(fx), -ERR_FORMAT);
	assert_int_equal(count_names(fx->root), 2);
}

static void test_probe_of_a_store(void **state)
{
	struct fixture *fx = *state;

	must_create(fx);
	assert_int_equal(probe(fx), 0);
	assert_int_equal(create(fx), -ERR_EXIST);
	assert_why(fx, fx->dir);
	assert_is_whole(fx);
}

/* ---- create ---------------------------------------------------------------------------------- */

static void test_create_where_nothing_is(void **state)
{
	struct fixture *fx = *state;

	must_create(fx);
	assert_int_equal(count_names(fx->root), 2);
	assert_int_equal(count_names(fx->dir), 3);
	assert_true(is_there(fx, "s/lock") && is_there(fx, "s/map") && is_there(fx, "s/data"));
	assert_is_whole(fx);
}

static void test_create_in_an_empty_directory(void **state)
{
	struct fixture *fx = *state;

	make_dir(fx, "s");
	must_create(fx);
	assert_int_equal(count_names(fx->root), 2);
	assert_is_whole(fx);
}

static void test_create_with_slashes_at_the_end(void **state)
{
	struct fixture *fx = *state;
	char slashes[96];

	snprintf(slashes, sizeof(slashes), "%s///", fx->dir);
	fx->config.dir = slashes;
	must_create(fx);
	assert_int_equal(count_names(fx->root), 2);
	assert_is_whole(fx);
	fx->config.dir = fx->dir;
	assert_is_whole(fx);
}

static void test_create_needs_the_parent(void **state)
{
	struct fixture *fx = *state;

	fx->config.dir = "/nonexistent-parent/s";
	assert_int_equal(create(fx), -ERR_NOENT);
	assert_why(fx, fx->config.dir);
}

static void test_create_checks_the_size(void **state)
{
	static const uint64_t sizes[] = {0, 1, BLK_BYTES, STORE_BLKS_MIN * BLK_BYTES - 1};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fx->config.size_bytes = sizes[i];
		assert_int_equal(create(fx), -ERR_INVAL);
		assert_why(fx, sizes[i] ? "at least 66 blocks" : "--size");
	}
	/* the size of a file is not taken for that of the store */
	make_file(fx->device, "");
	assert_int_equal(truncate(fx->device, (off_t)SIZE_BYTES), 0);
	fx->config.device = fx->device;
	fx->config.size_bytes = 0;
	assert_int_equal(create(fx), -ERR_INVAL);
	assert_int_equal(count_names(fx->root), 1);
}

static void test_smallest_store_of_a_broken_number_of_blocks(void **state)
{
	struct fixture *fx = *state;
	struct store store;

	fx->config.size_bytes = STORE_BLKS_MIN * BLK_BYTES + 100;
	must_create(fx);
	store = must_open(fx);
	assert_int_equal(store.dev->nblks, STORE_BLKS_MIN);
	assert_int_equal(map_geometry(store.map)->journal_nblks, STORE_JOURNAL_MIN);
	store_close(&store);
}

static void test_create_leaves_a_device_that_exists(void **state)
{
	struct fixture *fx = *state;
	struct stat st;

	make_file(fx->device, "mine");
	fx->config.device = fx->device;
	assert_int_equal(create(fx), -ERR_EXIST);
	assert_why(fx, fx->device);
	assert_int_equal(stat(fx->device, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(count_names(fx->root), 1);
}

static void test_create_leaves_a_link_to_nothing(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(symlink("nothing", fx->device), 0);
	fx->config.device = fx->device;
	assert_int_equal(create(fx), -ERR_EXIST);
	assert_true(is_there(fx, "devs/d"));
	assert_int_equal(count_names(fx->root), 1);
}

/* Publishing fails, all else being done: nothing of it stays. */
static void test_create_at_a_link_leaves_nothing(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(symlink("devs", fx->dir), 0);
	fx->config.device = at(fx, "d");
	assert_true(create(fx) < 0);
	assert_why(fx, fx->dir);
	assert_false(is_there(fx, "d"));
	assert_true(is_there(fx, "s"));
	assert_int_equal(count_names(fx->root), 2);
	assert_int_equal(count_names(at(fx, "devs")), 0);
}

static void test_create_in_a_directory_that_cannot_be_replaced(void **state)
{
	struct fixture *fx = *state;
	char dot[96];

	make_dir(fx, "s");
	snprintf(dot, sizeof(dot), "%s/.", fx->dir);
	fx->config.dir = dot;
	assert_int_equal(create(fx), -ERR_INVAL);
	assert_why(fx, dot);
	assert_int_equal(count_names(fx->dir), 0);
	assert_int_equal(count_names(fx->root), 2);
}

/* Makes writes of this process fail beyond a file offset, as a full file system does. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit lim;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &lim), 0);
	lim.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

/* The limits let it come as far as LMDB's header, its tables, the map's size, and the data. */
static void test_create_that_finds_no_space_leaves_nothing(void **state)
{
	static const rlim_t limits[] = {0, BLK_BYTES, 8 * BLK_BYTES, 64 * BLK_BYTES,
					STORE_META_MIN};
	struct fixture *fx = *state;

	for (size_t i = 0; i < 2 * ARRAY_LEN(limits); i++) {
		int err;

		fx->config.device = i % 2 ? fx->device : NULL;
		fx->config.size_bytes = STORE_META_MIN + SIZE_BYTES;
		limit_file_size(limits[i / 2]);
		err = create(fx);
		limit_file_size(RLIM_INFINITY);
		assert_true(err < 0);
		assert_why(fx, fx->root);
		assert_int_equal(count_names(fx->root), 1);
		assert_int_equal(count_names(at(fx, "devs")), 0);
		assert_int_equal(probe(fx), -ERR_NOENT);
	}
	fx->config.size_bytes = SIZE_BYTES;
	must_create(fx);
	assert_is_whole(fx);
}

/* ---- open ------------------------------------------------------------------------------------ */

static void test_device_elsewhere(void **state)
{
	struct fixture *fx = *state;

	fx->config.device = fx->device;
	must_create(fx);
	assert_true(is_there(fx, "devs/d"));
	assert_false(is_there(fx, "s/data"));
	assert_is_whole(fx);
	fx->config.device = NULL;
	assert_open_is_refused(fx, -ERR_INVAL, "--device");
	assert_int_equal(unlink(fx->device), 0);
	fx->config.device = fx->device;
	assert_open_is_refused(fx, -ERR_NOENT, fx->device);
}

/* The same file, mapped or not, from one start to the next. */
static void test_device_mapped(void **state)
{
	struct fixture *fx = *state;

	fx->config.device = fx->device;
	fx->config.mapped = true;
	must_create(fx);
	assert_is_whole(fx);
	fx->config.mapped = false;
	assert_is_whole(fx);
	fx->config.mapped = true;
	assert_int_equal(truncate(fx->device, (off_t)SIZE_BYTES / 2), 0);
	assert_open_is_refused(fx, -ERR_FORMAT_SIZE, fx->device);
}

static void test_only_a_file_is_mapped(void **state)
{
	struct fixture *fx = *state;

	fx->config.device = "/dev/null";
	fx->config.mapped = true;
	assert_int_equal(create(fx), -ERR_NOT_FILE);
	assert_why(fx, "not a regular file");
	assert_false(is_there(fx, "s"));
}

static void test_device_beside_data_inside_is_refused(void **state)
{
	struct fixture *fx = *state;

	must_create(fx);
	fx->config.device = fx->device;
	assert_open_is_refused(fx, -ERR_INVAL, fx->device);
	fx->config.device = NULL;
	assert_is_whole(fx);
}

static void test_open_twice_in_one_process(void **state)
{
	struct fixture *fx = *state;
	struct store store;
	char pid[32];

	must_create(fx);
	store = must_open(fx);
	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	assert_open_is_refused(fx, -ERR_LOCKED, pid);
	store_close(&store);
	assert_int_equal(store.lock_fd, -1);
	assert_is_whole(fx);
}

/* Holds the store until the other end of the pipe closes. */
static void hold_store(struct fixture *fx, int opened, int end)
{
	struct store store;
	char byte = 0;

	if (open_store(fx, &store) < 0 || write(opened, &byte, 1) != 1)
		_exit(1);
	_exit(read(end, &byte, 1) == 0 ? 0 : 1);
}

static void test_open_while_another_process_has_it(void **state)
{
	struct fixture *fx = *state;
	int opened[2];
	int end[2];
	char text[32];
	int status;
	pid_t pid;

	must_create(fx);
	assert_int_equal(pipe2(opened, O_CLOEXEC), 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(end[1]);
		hold_store(fx, opened[1], end[0]);
	}
	close(opened[1]);
	close(end[0]);
	assert_int_equal(read(opened[0], text, 1), 1);
	snprintf(text, sizeof(text), "pid %d", (int)pid);
	assert_open_is_refused(fx, -ERR_LOCKED, text);
	assert_int_equal(create(fx), -ERR_EXIST);
	close(end[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(opened[0]);
	assert_is_whole(fx);
}

static void test_holder_that_is_not_in_the_lock(void **state)
{
	struct fixture *fx = *state;
	int fd;

	must_create(fx);
	fd = open(at(fx, "s/lock"), O_RDWR | O_TRUNC | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_open_is_refused(fx, -ERR_LOCKED, "another process");
	close(fd);
	assert_is_whole(fx);
}

static void test_open_with_another_size(void **state)
{
	struct fixture *fx = *state;

	must_create(fx);
	fx->config.size_bytes = SIZE_BYTES + BLK_BYTES;
	assert_open_is_refused(fx, -ERR_INVAL, "another size");
	fx->config.size_bytes = SIZE_BYTES - 1;
	assert_open_is_refused(fx, -ERR_INVAL, "another size");
	fx->config.size_bytes = 0;
	assert_is_whole(fx);
	fx->config.size_bytes = SIZE_BYTES + BLK_BYTES - 1;
	assert_is_whole(fx);
}

static void test_open_with_data_of_another_store(void **state)
{
	struct fixture *fx = *state;
	char other[80];

	snprintf(other, sizeof(other), "%s/other", fx->root);
	must_create(fx);
	fx->config.dir = other;
	must_create(fx);
	fx->config.dir = fx->dir;
	snprintf(other, sizeof(other), "%s/other/data", fx->root);
	assert_int_equal(rename(other, at(fx, "s/data")), 0);
	assert_open_is_refused(fx, -ERR_FORMAT_STORE, at(fx, "s/data"));
}

static void test_open_with_data_cut_short(void **state)
{
	struct fixture *fx = *state;

	must_create(fx);
	assert_int_equal(truncate(at(fx, "s/data"), (off_t)SIZE_BYTES - 1), 0);
	assert_open_is_refused(fx, -ERR_FORMAT_SIZE, at(fx, "s/data"));
}

static void test_open_with_a_map_cut_short(void **state)
{
	static const off_t sizes[] = {(off_t)STORE_META_MIN - 1,
				      (off_t)STORE_META_MIN / 2,
				      3 * BLK_BYTES,
				      2 * BLK_BYTES,
				      BLK_BYTES,
				      BLK_BYTES - 1,
				      1,
				      0};
	struct fixture *fx = *state;
	struct store store;

	must_create(fx);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(truncate(at(fx, "s/map"), sizes[i]), 0);
		assert_int_equal(err_class(open_store(fx, &store)), ERR_FORMAT);
		assert_why(fx, at(fx, "s/map"));
	}
}

/* Without an orderly end as well: it is durable before the start goes on. */
static void test_incarnation_grows_at_each_start(void **state)
{
	struct fixture *fx = *state;
	uint64_t last = 0;
	uint64_t last_key = 0;

	must_create(fx);
	for (int i = 0; i < 4; i++) {
		struct store store = must_open(fx);
		struct recover_result now;

		assert_int_equal(recover_run(store.map, store.dev, &now), 0);
		assert_true(now.incarnation > last);
		assert_true(now.journal_key != last_key);
		assert_int_equal(now.records, 0);
		last = now.incarnation;
		last_key = now.journal_key;
		store_close(&store);
	}
	assert_is_whole(fx);
}

/* All of it has been written before, so that a record costs one flush. */
static void test_the_journal_lies_behind_the_header(void **state)
{
	struct fixture *fx = *state;
	struct journal_region region;
	struct store store;

	fx->config.size_bytes = 2 * STORE_JOURNAL_MIN * STORE_JOURNAL_SHARE * BLK_BYTES;
	must_create(fx);
	store = must_open(fx);
	region = recover_region(store.map);
	assert_int_equal(region.first.n, 1);
	assert_int_equal(region.nblks, 8 * STORE_JOURNAL_MIN - ERA_NBLKS); /* a 16th */
	assert_int_equal(written_bytes(at(fx, "s/data")),
			 (1 + region.nblks + ERA_NBLKS) * BLK_BYTES);
	store_close(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STORE_CASE(test_probe_of_nothing),
	    STORE_CASE(test_probe_of_something_else),
	    STORE_CASE(test_probe_of_a_file),
	    STORE_CASE(test_probe_of_a_store),
	    STORE_CASE(test_create_where_nothing_is),
	    STORE_CASE(test_create_in_an_empty_directory),
	    STORE_CASE(test_create_with_slashes_at_the_end),
	    STORE_CASE(test_create_needs_the_parent),
	    STORE_CASE(test_create_checks_the_size),
	    STORE_CASE(test_smallest_store_of_a_broken_number_of_blocks),
	    STORE_CASE(test_create_leaves_a_device_that_exists),
	    STORE_CASE(test_create_leaves_a_link_to_nothing),
	    STORE_CASE(test_create_at_a_link_leaves_nothing),
	    STORE_CASE(test_create_in_a_directory_that_cannot_be_replaced),
	    STORE_CASE(test_create_that_finds_no_space_leaves_nothing),
	    STORE_CASE(test_device_elsewhere),
	    STORE_CASE(test_device_mapped),
	    STORE_CASE(test_only_a_file_is_mapped),
	    STORE_CASE(test_device_beside_data_inside_is_refused),
	    STORE_CASE(test_open_twice_in_one_process),
	    STORE_CASE(test_open_while_another_process_has_it),
	    STORE_CASE(test_holder_that_is_not_in_the_lock),
	    STORE_CASE(test_open_with_another_size),
	    STORE_CASE(test_open_with_data_of_another_store),
	    STORE_CASE(test_open_with_data_cut_short),
	    STORE_CASE(test_open_with_a_map_cut_short),
	    STORE_CASE(test_incarnation_grows_at_each_start),
	    STORE_CASE(test_the_journal_lies_behind_the_header),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests_name("store-dir", tests, NULL, NULL);
}
