/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_priv.h: what the files of kv share: the environment and transactions.  For kv*.c only; nothing
 * else sees LMDB.
 */
#ifndef SERVER_KV_PRIV_H
#define SERVER_KV_PRIV_H

#include <bsd/sys/queue.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/kv.h"
#include "server/kv_layer.h"

/* What of LMDB's pages a table has. */
struct kv_table_pages {
	uint64_t leaves;
	uint64_t branches;
	uint64_t depth;
};

/* The pages of the file as of LMDB's last commit. */
struct kv_pages {
	uint64_t last_txn;
	uint64_t used;
	uint64_t listed;   /* once used and free now */
	uint64_t replaced; /* of these, by the last commit: reusable after the next */
	uint64_t pinned;   /* of these, by commits that a snapshot is older than */
	struct kv_table_pages tables[KV_NTABLES];
};

LIST_HEAD(kv_txns, kv_txn);

struct kv_env {
	MDB_env *mdb;
	MDB_dbi dbi[KV_NTABLES];
	kv_seal_fn *seal; /* or NULL */
	uint64_t map_bytes;
	uint64_t page_bytes;
	uint64_t fold_pages_max; /* does not change while anybody uses it */

	pthread_mutex_t stage;
	pthread_rwlock_t layers;
	struct kv_layer *active; /* these two change under both locks */
	struct kv_layer *frozen; /* or NULL */

	pthread_mutex_t snapshots_lock;
	struct kv_txns snapshots;
	_Atomic uint64_t late_txn; /* snapshots of states before this one are in the way */

	struct kv_pages pages; /* as of the last fold; under "stage" */
	bool starved;	       /* the last fold did not fit; under "stage" */

	/* what kv_room.c makes of all this, for any thread */
	_Atomic uint64_t used_bytes;
	_Atomic uint64_t staged_entries;
	_Atomic uint64_t staged_bytes;
	atomic_bool must_fold;
	atomic_bool should_fold;
};

enum kv_kind { KV_KIND_READ, KV_KIND_SNAPSHOT, KV_KIND_STAGE, KV_KIND_WRITE };

/* The layers that a transaction sees, from the top; what it does not see is NULL. */
enum { KV_PRIVATE, KV_ACTIVE, KV_FROZEN, KV_NLAYERS };

struct kv_txn {
	struct kv_env *env;
	enum kv_kind kind;
	MDB_txn *mdb;
	MDB_cursor *cursors[KV_NTABLES];
	struct kv_layer *layers[KV_NLAYERS];
	bool locked; /* KV_KIND_READ: holds "layers" */
	int err;
	LIST_ENTRY(kv_txn) link; /* KV_KIND_SNAPSHOT */
};

/* ---- kv_txn.c -------------------------------------------------------------------------------- */

/* A transaction of LMDB; flags is MDB_RDONLY or 0.  Logs its errors. */
int kv_txn_new(struct kv_env *env, enum kv_kind kind, unsigned int flags,
	       struct kv_txn **txn) MUST_CHECK;

/* Ends it without any effect and frees it; locks are the caller's. */
void kv_txn_drop(struct kv_txn *txn);

/* Logs and latches an error of LMDB. */
int kv_txn_error(struct kv_txn *txn, const char *op, const char *table, int rc);

/* kv_get() from one layer on downward. */
int kv_get_below(struct kv_txn *txn, unsigned int layer, enum kv_table table, struct kv_buf key,
		 struct kv_buf *val) MUST_CHECK;

/* ---- kv_stage.c: a stage transaction's changes ----------------------------------------------- */

void kv_stage_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val);
void kv_stage_replace(struct kv_txn *txn, enum kv_table table, struct kv_buf key, size_t old_len,
		      const struct kv_buf *val);
void kv_stage_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key);
int kv_stage_edit(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val,
		  uint8_t **bytes) MUST_CHECK;

/* ---- kv_room.c ------------------------------------------------------------------------------- */

/* Of the last commit. */
int kv_pages_read(struct kv_env *env, struct kv_pages *pages) MUST_CHECK;

/* An upper bound of the pages that folding a layer takes up. */
uint64_t kv_fold_pages(const struct kv_env *env, const struct kv_pages *pages,
		       const struct kv_layer *layer);

/* Makes the figures for other threads anew; "stage" is held, or nobody else is there. */
void kv_room_update(struct kv_env *env);

#endif
