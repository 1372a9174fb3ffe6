/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv.h: ordered tables of bytes with transactions: the few things that the map needs of LMDB, which
 * no other file includes.  Owns the environment (the file and its lock file), the tables' handles,
 * and the rules of their use:
 *
 *  - every commit is synced; no flag that trades that away is set, and no write goes through the
 *    memory map;
 *  - the file has its full size from the start, so that neither a full file system nor a file cut
 *    short shows up as a signal in the middle of a look-up;
 *  - one write transaction at a time, of one thread; read transactions of any thread;
 *  - bytes that a look-up returns live in the map: they are valid until the next change in the same
 *    transaction, or until a read transaction is paused.
 *
 * A transaction latches its first error: later calls do nothing and return it, and a commit becomes
 * an abort.  "Not found" is no such error.
 */
#ifndef SERVER_KV_H
#define SERVER_KV_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

/* The numbers are part of the format of the map's values: they go into the checksums. */
enum kv_table {
	KV_META = 0,
	KV_NAME = 1,
	KV_OBJ = 2,
	KV_NODE = 3,
	KV_NREF = 4,
	KV_XREF = 5,
	KV_FREE = 6,
	KV_REAP = 7,
	KV_NTABLES,
};

/* Which key kv_find() looks for, relative to the one it is given. */
enum kv_rel { KV_LT, KV_LE, KV_GE, KV_GT };

#define KV_KEY_MAX 511

struct kv_env;
struct kv_txn;

struct kv_buf {
	const void *data;
	size_t len;
};

/* "node", for messages. */
const char *kv_table_name(enum kv_table table);

/*
 * Makes an environment of map_bytes with empty tables, has "fill" put the first values, and gives
 * it its place at path, durably: it is there whole or not at all.  -ERR_EXIST, -ERR_NOSPC,
 * -ERR_MAP, or what fill returned.
 */
int kv_create(const char *path, uint64_t map_bytes, int (*fill)(struct kv_txn *txn, void *ctx),
	      void *ctx) MUST_CHECK;

/* Once per process and environment.  -ERR_NOENT, -ERR_FORMAT, -ERR_MAP. */
int kv_open(const char *path, struct kv_env **env) MUST_CHECK;

/* All transactions have ended.  NULL is allowed. */
void kv_close(struct kv_env *env);

/* The size of the file, and so the most it will hold. */
uint64_t kv_map_bytes(const struct kv_env *env);

/* A read transaction sees what was committed when it began or was last resumed. */
int kv_read_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;
void kv_read_pause(struct kv_txn *txn);
int kv_read_resume(struct kv_txn *txn) MUST_CHECK;
void kv_read_end(struct kv_txn *txn);

int kv_write_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;

/*
 * Commits, durably, and frees the transaction in every case.  -ERR_NOSPC_META or the latched error:
 * nothing happened.  -ERR_MAP from the commit itself: the outcome is unknown.
 */
int kv_write_commit(struct kv_txn *txn) MUST_CHECK;
void kv_write_abort(struct kv_txn *txn);

/* Latches err (negative) unless one is latched already; returns err. */
int kv_latch(struct kv_txn *txn, int err);

/* The latched error, or 0. */
int kv_error(const struct kv_txn *txn);

/* -ERR_NOENT or the latched error. */
int kv_get(struct kv_txn *txn, enum kv_table table, struct kv_buf key,
	   struct kv_buf *val) MUST_CHECK;

/*
 * The nearest entry whose key stands in relation "rel" to key (KV_GE: the first that is equal or
 * greater).  A step of an iteration is KV_GT of the last key.
 */
int kv_find(struct kv_txn *txn, enum kv_table table, enum kv_rel rel, struct kv_buf key,
	    struct kv_buf *found, struct kv_buf *val) MUST_CHECK;

/* Sets the value of a key, new or not.  Errors are latched. */
void kv_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val);

/* The same for a key beyond all others of the table: fills pages to the end. */
void kv_append(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val);

/*
 * Removes an entry; one that is not there is an error of the database, for who deletes knows.  When
 * it was the last of its table, LMDB gives up the table's page and will not use it again within
 * this transaction: where something takes its place, put that first.
 */
void kv_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key);

/* The bytes in use by all tables as the transaction sees them. */
int kv_used_bytes(struct kv_txn *txn, uint64_t *bytes) MUST_CHECK;

/*
 * An upper bound of what this write transaction has taken up so far.  Pages are never changed in
 * place, and those that it replaces can be used again only by the transaction after the next: so
 * what must fit into the file is what was in use before, plus this.
 */
int kv_dirty_bytes(struct kv_txn *txn, uint64_t *bytes) MUST_CHECK;

#endif
