/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv.h: ordered tables of bytes with transactions: the few things that the map needs of LMDB, which
 * no other module includes, and above LMDB the changes that are staged in memory.  Owns the
 * environment (the file and its lock file), the tables' handles, the staged layers, and the rules of
 * their use:
 *
 *	              private --kv_stage_commit--> active --kv_cut--> frozen --kv_fold--> LMDB
 *	              |______ seen by the stage transaction that makes the changes ___________|
 *	                                           |______ seen by read transactions _________|
 *	                                                          seen by snapshots:  |_______|
 *
 *  - what is staged is lost with the process; who needs it durable has it in a journal too;
 *  - a fold is one LMDB transaction; each of these is synced: no flag that trades that away is set,
 *    and no write goes through the memory map;
 *  - the file has its full size from the start, so that neither a full file system nor a file cut
 *    short shows up as a signal in the middle of a look-up;
 *  - one stage transaction at a time, and one fold, which may run beside it; read transactions of
 *    any thread, but of one thread one at a time, and short: a stage commit waits for them;
 *  - bytes that a look-up returns are valid until the next change in the same transaction, or until
 *    a read transaction is paused.
 *
 * A transaction latches its first error: later calls do nothing and return it, and a commit becomes
 * an abort.  "Not found" is no such error.
 *
 * Locks, taken in this order: "stage" is held from the begin of a stage transaction to its end, and
 * by who swaps layers; "layers" is held for reading by read transactions, for writing by who makes
 * changes visible or swaps layers; "snapshots" guards the list of these.
 */
#ifndef SERVER_KV_H
#define SERVER_KV_H

#include <stdbool.h>
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
	KV_CHILD = 8,
	KV_TTL = 9,
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
	bool staged; /* of a value that was looked up: it is in memory only, and not sealed */
};

/*
 * Called for each value on its way into LMDB, which it may change: a checksum is needed there, and
 * not for what is looked up and changed in memory.
 */
typedef void kv_seal_fn(enum kv_table table, struct kv_buf key, void *val, size_t len);

/* "node", for messages. */
const char *kv_table_name(enum kv_table table);

/*
 * Makes an environment of map_bytes with empty tables, has "fill" put the first values, and gives
 * it its place at path, durably: it is there whole or not at all.  -ERR_EXIST, -ERR_NOSPC,
 * -ERR_MAP, or what fill returned.
 */
int kv_create(const char *path, uint64_t map_bytes, int (*fill)(struct kv_txn *txn, void *ctx),
	      void *ctx) MUST_CHECK;

/*
 * Once per process and environment; seal may be NULL.  The pages of a file that is not large are looked
 * at before, of a large one those that lead to the others (kv_verify.h).  -ERR_NOENT, -ERR_FORMAT_...,
 * -ERR_PAGE, -ERR_MAP.
 */
int kv_open(const char *path, kv_seal_fn *seal, struct kv_env **env) MUST_CHECK;

/* Looks at all pages, as of the last fold, while none is under way.  -ERR_PAGE (logged), -ERR_NOMEM,
 * -ERR_MAP. */
int kv_verify_whole(struct kv_env *env) MUST_CHECK;

/* All transactions have ended.  NULL is allowed. */
void kv_close(struct kv_env *env);

/* The size of the file, and so the most it will hold. */
uint64_t kv_map_bytes(const struct kv_env *env);

/* A read transaction sees what was committed or staged when it began or was last resumed. */
int kv_read_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;
void kv_read_pause(struct kv_txn *txn);
int kv_read_resume(struct kv_txn *txn) MUST_CHECK;
void kv_read_end(struct kv_txn *txn);

/*
 * A read transaction that sees LMDB's state of the last fold only, and holds nobody up: for long
 * walks.  Ended by kv_read_end(), never paused.  Pages that folds replace meanwhile cannot be used
 * again before it has ended: see kv_snapshot_is_late().
 */
int kv_snapshot_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;

/*
 * The snapshot stands in the way of folds, which may fail with -ERR_NOSPC_META until it has ended.
 * Who walks one asks now and then, and begins again.
 */
bool kv_snapshot_is_late(const struct kv_txn *txn);

/*
 * A write transaction of LMDB itself: for the first values of a new environment, and for tests that
 * plant something.  What is staged lies above what it writes and is not seen by it.  Values go as
 * they are, not sealed.
 */
int kv_write_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;
bool kv_is_write(const struct kv_txn *txn);

/*
 * Commits, durably, and frees the transaction in every case.  -ERR_NOSPC_META or the latched error:
 * nothing happened.  -ERR_MAP from the commit itself: the outcome is unknown.
 */
int kv_write_commit(struct kv_txn *txn) MUST_CHECK;
void kv_write_abort(struct kv_txn *txn);

/* ---- staging --------------------------------------------------------------------------------- */

/*
 * A stage transaction changes a private layer over all that is there; nobody else sees it before the
 * commit, which is in memory: it is durable when it has been folded.  Begin, end and cut are of one
 * thread.
 */
int kv_stage_begin(struct kv_env *env, struct kv_txn **txn) MUST_CHECK;

/* Frees the transaction in every case.  The latched error: nothing happened. */
int kv_stage_commit(struct kv_txn *txn) MUST_CHECK;
void kv_stage_abort(struct kv_txn *txn);

/*
 * Freezes what is staged; later changes go to a new layer above.  Between stage transactions, and
 * nothing is frozen already.  -ERR_NOMEM: nothing happened.
 */
int kv_cut(struct kv_env *env) MUST_CHECK;

/*
 * Writes what is frozen into LMDB, in one durable transaction, and drops the frozen layer; nothing to
 * do where none is.  One thread at a time, any that is in no transaction.  -ERR_NOSPC_META,
 * -ERR_NOMEM: nothing happened, it is still frozen.  -ERR_MAP: the outcome is unknown.
 */
int kv_fold(struct kv_env *env) MUST_CHECK;

struct kv_staged {
	uint64_t entries; /* frozen ones included */
	uint64_t bytes;	  /* of memory */
};

/* What is staged.  Any thread. */
void kv_get_staged(const struct kv_env *env, struct kv_staged *staged);

/* ---- room ------------------------------------------------------------------------------------ */

/*
 * A fold writes new pages beside those that it replaces, and must never fail for want of them.  So a
 * part of the file is kept for that, and what is staged is bounded by it.
 */

/*
 * A fold takes up to "bytes" of new pages, or 128 MiB or a quarter of the file if that is less, beside
 * what one transaction changes: LMDB has them in memory until its commit, and keeps that for the next
 * one.  Without it they may be as many as these.  To be called before anybody else uses env.
 */
void kv_limit_folds(struct kv_env *env, uint64_t bytes);

/*
 * The bytes in use after the last fold with an estimate of what is staged, and how many there may
 * be: the file without what folds need.  Any thread.
 */
void kv_usage(const struct kv_env *env, uint64_t *used_bytes, uint64_t *total_bytes);

/*
 * What is staged is as much as one fold is sure to write, with one transaction more of up to
 * KV_TXN_CHANGES changes (in a small file: of as many pages as a quarter of it): no other may be
 * begun before a fold has ended.  Any thread.
 */
bool kv_must_fold(const struct kv_env *env);

/*
 * What is staged is half as much: who is in no hurry waits for a fold, so that the others can go on
 * until that has ended.  Any thread.
 */
bool kv_should_fold(const struct kv_env *env);

#define KV_TXN_CHANGES (3u * 8192u)

/* The same inside a stage transaction, with what it has done so far: may it go on? */
bool kv_stage_has_room(const struct kv_txn *txn);

/* ---- entries --------------------------------------------------------------------------------- */

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

/*
 * kv_get() in a stage transaction for who changes a few bytes of the value, within its length: *bytes
 * is where, valid until the key is changed otherwise.  val->staged says what the value was before; it
 * is staged now, so who finds it bad latches an error.
 */
int kv_edit(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val,
	    uint8_t **bytes) MUST_CHECK;

/* Sets the value of a key, new or not.  Errors are latched. */
void kv_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val);

/*
 * Removes an entry; one that is not there is an error of the database, for who deletes knows.  In a
 * write transaction, when it was the last of its table, LMDB gives up the table's page and will not
 * use it again within this transaction: where something takes its place, put that first.
 */
void kv_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key);

/*
 * kv_put(), or where val is NULL kv_del(), for who has looked the key up in this transaction and has
 * not changed it since, which saves the search below: old_len is the length of the value that is
 * there, 0 where there is none.  For values that are not empty.
 */
void kv_replace(struct kv_txn *txn, enum kv_table table, struct kv_buf key, size_t old_len,
		const struct kv_buf *val);

#endif
