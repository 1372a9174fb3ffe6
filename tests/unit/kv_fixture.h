/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_fixture.h: an environment of tables in a directory of its own, for the unit tests of kv.
 */
#ifndef TESTS_UNIT_KV_FIXTURE_H
#define TESTS_UNIT_KV_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/kv.h"

struct kvfix {
	char dir[256];
	char path[300];
	kv_seal_fn *seal; /* or NULL; set before it is opened */
	struct kv_env *env;
};

static inline int kvfix_fill(struct kv_txn *txn, void *ctx)
{
	(void)ctx;
	/* as a map has it */
	kv_put(txn, KV_META, (struct kv_buf){.data = "state", .len = 5},
	       (struct kv_buf){.data = "first", .len = 5});
	return kv_error(txn);
}

static inline void kvfix_open(struct kvfix *fix, uint64_t map_bytes)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(fix->dir, sizeof(fix->dir), "%s/kv-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(fix->dir));
	(void)snprintf(fix->path, sizeof(fix->path), "%s/map", fix->dir);
	assert_int_equal(kv_create(fix->path, map_bytes, kvfix_fill, NULL), 0);
	assert_int_equal(kv_open(fix->path, fix->seal, &fix->env), 0);
}

/* What is staged is lost, as in a crash. */
static inline void kvfix_reopen(struct kvfix *fix)
{
	kv_close(fix->env);
	assert_int_equal(kv_open(fix->path, fix->seal, &fix->env), 0);
}

static inline void kvfix_close(struct kvfix *fix)
{
	char lock[320];

	kv_close(fix->env);
	(void)snprintf(lock, sizeof(lock), "%s-lock", fix->path);
	unlink(fix->path);
	unlink(lock);
	assert_int_equal(rmdir(fix->dir), 0);
}

static inline struct kv_txn *kvfix_stage(struct kvfix *fix)
{
	struct kv_txn *txn = NULL;

	assert_int_equal(kv_stage_begin(fix->env, &txn), 0);
	return txn;
}

static inline struct kv_txn *kvfix_read(struct kvfix *fix)
{
	struct kv_txn *txn = NULL;

	assert_int_equal(kv_read_begin(fix->env, &txn), 0);
	return txn;
}

static inline void kvfix_cut_and_fold(struct kvfix *fix)
{
	assert_int_equal(kv_cut(fix->env), 0);
	assert_int_equal(kv_fold(fix->env), 0);
}

/* A number as a key. */
struct kvfix_key {
	uint8_t bytes[8];
};

static inline struct kvfix_key kvfix_key(uint64_t n)
{
	struct kvfix_key key;

	be64_put(key.bytes, n);
	return key;
}

static inline struct kv_buf kvfix_buf(const struct kvfix_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = sizeof(key->bytes)};
}

static inline void kvfix_put(struct kv_txn *txn, enum kv_table table, uint64_t n, size_t val_len)
{
	static const uint8_t zeros[8192];
	struct kvfix_key key = kvfix_key(n);

	assert_true(val_len <= sizeof(zeros));
	kv_put(txn, table, kvfix_buf(&key), (struct kv_buf){.data = zeros, .len = val_len});
}

static inline void kvfix_del(struct kv_txn *txn, enum kv_table table, uint64_t n)
{
	struct kvfix_key key = kvfix_key(n);

	kv_del(txn, table, kvfix_buf(&key));
}

static inline bool kvfix_has(struct kv_txn *txn, enum kv_table table, uint64_t n)
{
	struct kvfix_key key = kvfix_key(n);
	struct kv_buf val;
	int err = kv_get(txn, table, kvfix_buf(&key), &val);

	assert_true(err == 0 || err == -ERR_NOENT);
	return err == 0;
}

#endif
