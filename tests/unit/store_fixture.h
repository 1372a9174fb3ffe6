/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_fixture.h: a directory for a store, and what the tests of store.c ask of it.  It owns the
 * directory and all that is made in it.  For the tests of this folder, in one thread.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "server/check.h"
#include "server/store.h"

#define NBLKS	   256u
#define SIZE_BYTES ((uint64_t)NBLKS * BLK_BYTES)

struct fixture {
	char root[64];
	char dir[80];	 /* the store */
	char device[80]; /* for its data elsewhere; in a directory of its own */
	char path[160];	 /* of at() */
	char why[512];
	struct store_config config; /* dir and SIZE_BYTES */
};

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int remove_tree(const char *path)
{
	return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *at(struct fixture *fx, const char *name)
{
	assert_true((size_t)snprintf(fx->path, sizeof(fx->path), "%s/%s", fx->root, name) <
		    sizeof(fx->path));
	return fx->path;
}

static inline int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	if (!fx)
		return -1;
	snprintf(fx->root, sizeof(fx->root), "%s/cowd-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(fx->root))
		return -1;
	snprintf(fx->dir, sizeof(fx->dir), "%s/s", fx->root);
	snprintf(fx->device, sizeof(fx->device), "%s/devs/d", fx->root);
	if (mkdir(at(fx, "devs"), 0700) < 0)
		return -1;
	fx->config = (struct store_config){.dir = fx->dir, .size_bytes = SIZE_BYTES};
	*state = fx;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fx = *state;
	int rc = remove_tree(fx->root);

	free(fx);
	return rc;
}

static inline void make_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static inline void make_dir(struct fixture *fx, const char *name)
{
	assert_int_equal(mkdir(at(fx, name), 0700), 0);
}

static inline void make_file_at(struct fixture *fx, const char *name, const char *text)
{
	make_file(at(fx, name), text);
}

static inline bool is_there(struct fixture *fx, const char *name)
{
	struct stat st;

	return lstat(at(fx, name), &st) == 0;
}

/* How many names there are in a directory. */
static inline unsigned int count_names(const char *path)
{
	const struct dirent *entry;
	unsigned int n = 0;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

static inline void assert_why(const struct fixture *fx, const char *part)
{
	if (!strstr(fx->why, part))
		fail_msg("'%s' does not say '%s'", fx->why, part);
}

static inline int probe(struct fixture *fx)
{
	fx->why[0] = '\0';
	return store_probe(&fx->config, fx->why, sizeof(fx->why));
}

static inline int create(struct fixture *fx)
{
	fx->why[0] = '\0';
	return store_create(&fx->config, fx->why, sizeof(fx->why));
}

static inline void must_create(struct fixture *fx)
{
	int err = create(fx);

	if (err < 0)
		fail_msg("create: %s: %s", err_name(err), fx->why);
}

static inline int open_store(struct fixture *fx, struct store *store)
{
	fx->why[0] = '\0';
	return store_open(&fx->config, store, fx->why, sizeof(fx->why));
}

static inline struct store must_open(struct fixture *fx)
{
	struct store store = {.lock_fd = -1};
	int err = open_store(fx, &store);

	if (err < 0)
		fail_msg("open: %s: %s", err_name(err), fx->why);
	return store;
}

static inline void print_difference(void *ctx, const char *text)
{
	(void)ctx;
	print_error("%s\n", text);
}

/* It opens, has its size, and the checker finds no difference. */
static inline void assert_is_whole(struct fixture *fx)
{
	struct store store = must_open(fx);
	struct check_totals totals;

	assert_int_equal(store.dev->nblks, NBLKS);
	assert_int_equal(check_map(store.map, print_difference, NULL, &totals), 0);
	assert_int_equal(totals.objects, 0);
	assert_int_equal(totals.free_nblks, NBLKS - 1 - STORE_JOURNAL_MIN);
	store_close(&store);
}

static inline void assert_open_is_refused(struct fixture *fx, int err, const char *part)
{
	struct store store = {.lock_fd = -7};

	assert_int_equal(open_store(fx, &store), err);
	assert_int_equal(store.lock_fd, -7);
	assert_why(fx, part);
}

#define STORE_CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
