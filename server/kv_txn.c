/* SPDX-License-Identifier: BSD-2-Clause */
/* Transactions and look-ups: LMDB's, and those through the layers above it. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "server/kv_priv.h"

/* ---- any kind -------------------------------------------------------------------------------- */

int kv_latch(struct kv_txn *txn, int err)
{
	if (!txn->err)
		txn->err = err;
	return err;
}

int kv_error(const struct kv_txn *txn)
{
	return txn->err;
}

int kv_txn_error(struct kv_txn *txn, const char *op, const char *table, int rc)
{
	if (rc == MDB_MAP_FULL) {
		log_event(LOG_WARN, "map-full", "op=%s table=%s", op, table);
		return kv_latch(txn, -ERR_NOSPC_META);
	}
	log_event(LOG_ERROR, "map-database", "op=%s table=%s error=\"%s\"", op, table,
		  mdb_strerror(rc));
	return kv_latch(txn, rc == ENOMEM ? -ERR_NOMEM : -ERR_MAP);
}

int kv_txn_new(struct kv_env *env, enum kv_kind kind, unsigned int flags, struct kv_txn **txn)
{
	struct kv_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ERR_NOMEM;
	t->env = env;
	t->kind = kind;
	rc = mdb_txn_begin(env->mdb, NULL, flags, &t->mdb);
	if (rc) {
		int err = kv_txn_error(t, "begin", "-", rc);

		free(t);
		return err;
	}
	*txn = t;
	return 0;
}

/*
 * A cursor that stands in a table while it changes is moved along by LMDB: not something to rely on
 * where nothing is gained, since every look-up seeks anew.
 */
static void kv_drop_cursor(struct kv_txn *txn, enum kv_table table)
{
	if (txn->cursors[table])
		mdb_cursor_close(txn->cursors[table]);
	txn->cursors[table] = NULL;
}

static void kv_close_cursors(struct kv_txn *txn)
{
	for (int t = 0; t < KV_NTABLES; t++)
		kv_drop_cursor(txn, (enum kv_table)t);
}

void kv_txn_drop(struct kv_txn *txn)
{
	kv_close_cursors(txn);
	mdb_txn_abort(txn->mdb);
	free(txn);
}

/* ---- read transactions ----------------------------------------------------------------------- */

/* What the layers are stays so until the lock is released, and LMDB's state is theirs or later. */
static void kv_read_lock(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;

	txn->locked = true;
	txn->layers[KV_ACTIVE] = env->active;
	txn->layers[KV_FROZEN] = env->frozen;
}

static void kv_read_unlock(struct kv_txn *txn)
{
	if (!txn->locked)
		return;
	txn->locked = false;
	pthread_rwlock_unlock(&txn->env->layers);
}

int kv_read_begin(struct kv_env *env, struct kv_txn **txn)
{
	struct kv_txn *t;
	int err;

	pthread_rwlock_rdlock(&env->layers);
	err = kv_txn_new(env, KV_KIND_READ, MDB_RDONLY, &t);
	if (err) {
		pthread_rwlock_unlock(&env->layers);
		return err;
	}
	kv_read_lock(t);
	*txn = t;
	return 0;
}

void kv_read_pause(struct kv_txn *txn)
{
	assert(txn->kind == KV_KIND_READ);
	kv_close_cursors(txn);
	mdb_txn_reset(txn->mdb);
	txn->err = 0;
	kv_read_unlock(txn);
}

int kv_read_resume(struct kv_txn *txn)
{
	int rc;

	pthread_rwlock_rdlock(&txn->env->layers);
	kv_read_lock(txn);
	rc = mdb_txn_renew(txn->mdb);
	return rc ? kv_txn_error(txn, "renew", "-", rc) : 0;
}

void kv_read_end(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	bool snapshot = txn->kind == KV_KIND_SNAPSHOT;
	bool locked = txn->locked;

	if (snapshot) {
		pthread_mutex_lock(&env->snapshots_lock);
		LIST_REMOVE(txn, link);
	}
	kv_txn_drop(txn); /* before the unlocks: who waits for them wants the pages (kv_stage.c) */
	if (snapshot)
		pthread_mutex_unlock(&env->snapshots_lock);
	if (locked)
		pthread_rwlock_unlock(&env->layers);
}

int kv_snapshot_begin(struct kv_env *env, struct kv_txn **txn)
{
	int err;

	/* begun under the lock, so that who counts what snapshots pin sees it */
	pthread_mutex_lock(&env->snapshots_lock);
	err = kv_txn_new(env, KV_KIND_SNAPSHOT, MDB_RDONLY, txn);
	if (!err)
		LIST_INSERT_HEAD(&env->snapshots, *txn, link);
	pthread_mutex_unlock(&env->snapshots_lock);
	return err;
}

bool kv_snapshot_is_late(const struct kv_txn *txn)
{
	return mdb_txn_id(txn->mdb) < atomic_load(&txn->env->late_txn);
}

/* ---- write transactions ---------------------------------------------------------------------- */

int kv_write_begin(struct kv_env *env, struct kv_txn **txn)
{
	return kv_txn_new(env, KV_KIND_WRITE, 0, txn);
}

bool kv_is_write(const struct kv_txn *txn)
{
	return txn->kind == KV_KIND_WRITE;
}

int kv_write_commit(struct kv_txn *txn)
{
	int err = txn->err;
	int rc;

	if (err) {
		kv_txn_drop(txn);
		return err;
	}
	kv_close_cursors(txn);
	/* LMDB runs out of pages only before it writes; after any other error what is on disk may be
	 * the old state or the new */
	rc = mdb_txn_commit(txn->mdb);
	if (rc)
		err = kv_txn_error(txn, "commit", "-", rc);
	if (err == -ERR_NOMEM)
		err = -ERR_MAP;
	free(txn);
	return err;
}

void kv_write_abort(struct kv_txn *txn)
{
	kv_txn_drop(txn);
}

/* ---- looking up in LMDB ---------------------------------------------------------------------- */

static MDB_val kv_val(struct kv_buf buf)
{
	return (MDB_val){.mv_size = buf.len, .mv_data = (void *)(uintptr_t)buf.data};
}

static struct kv_buf kv_buf_of(MDB_val val)
{
	return (struct kv_buf){.data = val.mv_data, .len = val.mv_size};
}

static int db_get(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val)
{
	MDB_val k = kv_val(key);
	MDB_val v;
	int rc = mdb_get(txn->mdb, txn->env->dbi[table], &k, &v);

	if (rc == MDB_NOTFOUND)
		return -ERR_NOENT;
	if (rc)
		return kv_txn_error(txn, "get", kv_table_name(table), rc);
	*val = kv_buf_of(v);
	return 0;
}

/* Places the cursor on the entry that stands in relation "rel" to *k.  Returns LMDB's code. */
static int db_seek(MDB_cursor *cursor, enum kv_rel rel, MDB_val *k, MDB_val *v)
{
	MDB_val key = *k;
	int rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	bool equal;

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (rc == MDB_NOTFOUND) /* all are less */
		return rel == KV_LT || rel == KV_LE ? mdb_cursor_get(cursor, k, v, MDB_LAST) : rc;
	equal = kv_key_cmp(kv_buf_of(*k), kv_buf_of(key)) == 0;
	switch (rel) {
	case KV_LT:
		return mdb_cursor_get(cursor, k, v, MDB_PREV);
	case KV_LE:
		return equal ? 0 : mdb_cursor_get(cursor, k, v, MDB_PREV);
	case KV_GT:
		return equal ? mdb_cursor_get(cursor, k, v, MDB_NEXT) : 0;
	case KV_GE:
	default:
		return 0;
	}
}

/* An entry that was found. */
struct kv_hit {
	struct kv_buf key;
	struct kv_buf val;
};

static int db_find(struct kv_txn *txn, enum kv_table table, enum kv_rel rel, struct kv_buf key,
		   struct kv_hit *hit)
{
	MDB_cursor **cursor = &txn->cursors[table];
	MDB_val k = kv_val(key);
	MDB_val v;
	int rc = 0;

	if (!*cursor)
		rc = mdb_cursor_open(txn->mdb, txn->env->dbi[table], cursor);
	if (!rc)
		rc = db_seek(*cursor, rel, &k, &v);
	if (rc == MDB_NOTFOUND)
		return -ERR_NOENT;
	if (rc)
		return kv_txn_error(txn, "find", kv_table_name(table), rc);
	*hit = (struct kv_hit){.key = kv_buf_of(k), .val = kv_buf_of(v)};
	return 0;
}

/* ---- looking up through the layers ----------------------------------------------------------- */

int kv_get_below(struct kv_txn *txn, unsigned int layer, enum kv_table table, struct kv_buf key,
		 struct kv_buf *val)
{
	for (; layer < KV_NLAYERS; layer++) {
		const struct kv_entry *entry =
		    txn->layers[layer] ? kv_layer_get(txn->layers[layer], table, key) : NULL;

		if (!entry)
			continue;
		if (entry->dead)
			return -ERR_NOENT;
		*val = kv_entry_val(entry);
		return 0;
	}
	return db_get(txn, table, key, val);
}

int kv_get(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val)
{
	return txn->err ? txn->err : kv_get_below(txn, KV_PRIVATE, table, key, val);
}

int kv_edit(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val,
	    uint8_t **bytes)
{
	assert(txn->kind == KV_KIND_STAGE);
	return txn->err ? txn->err : kv_stage_edit(txn, table, key, val, bytes);
}

/* Is a at least as near as b, for who goes up or down? */
static bool is_near(struct kv_buf a, struct kv_buf b, bool up)
{
	int order = kv_key_cmp(a, b);

	return up ? order <= 0 : order >= 0;
}

/*
 * The farthest dead entry that is known to have nothing alive between it and this one; "passed" is
 * the last such entry before it, or NULL.  Only the stage transaction may join.
 */
static struct kv_entry *pass_dead(const struct kv_txn *txn, struct kv_layer *layer,
				  enum kv_table table, struct kv_entry *passed,
				  struct kv_entry *entry, bool up)
{
	if (txn->kind != KV_KIND_STAGE)
		return entry;
	if (passed)
		kv_layer_join(layer, table, up ? passed : entry, up ? entry : passed);
	return kv_layer_run_end(layer, table, entry, up);
}

/*
 * The nearest entry that is alive in a layer and what is below it: that of the layer or of below,
 * whichever is nearer.  Where the layer has a dead one first, the search goes on behind that.
 * Recursive, as deep as there are layers.
 */
static int find_below(struct kv_txn *txn, unsigned int level, enum kv_table table, enum kv_rel rel,
		      struct kv_buf key, struct kv_hit *hit)
{
	bool up = rel == KV_GE || rel == KV_GT;
	struct kv_entry *passed = NULL;
	struct kv_entry *entry;
	struct kv_layer *layer;
	struct kv_spot spot;
	struct kv_hit below;
	bool known = false; /* what below has is known */
	int err = 0;

	while (level < KV_NLAYERS && !txn->layers[level])
		level++;
	if (level == KV_NLAYERS)
		return db_find(txn, table, rel, key, hit);
	layer = txn->layers[level];
	entry = kv_layer_find(layer, table, rel, key, &spot);
	for (;;) {
		if (!known)
			err = find_below(txn, level + 1, table, rel, key, &below);
		known = true;
		if (err && err != -ERR_NOENT)
			return err;
		if (!entry || (!err && !is_near(kv_entry_key(entry), below.key, up))) {
			if (!err)
				*hit = below;
			return err;
		}
		if (!entry->dead) {
			*hit = (struct kv_hit){kv_entry_key(entry), kv_entry_val(entry)};
			return 0;
		}
		passed = pass_dead(txn, layer, table, passed, entry, up);
		key = kv_entry_key(passed);
		rel = up ? KV_GT : KV_LT;
		known = err || !is_near(below.key, key, up);
		if (passed != entry)
			entry = kv_layer_find(layer, table, rel, key, &spot);
		else
			entry = up ? kv_layer_next(&spot) : kv_layer_prev(&spot);
	}
}

int kv_find(struct kv_txn *txn, enum kv_table table, enum kv_rel rel, struct kv_buf key,
	    struct kv_buf *found, struct kv_buf *val)
{
	struct kv_hit hit;
	int err = txn->err ? txn->err : find_below(txn, KV_PRIVATE, table, rel, key, &hit);

	if (err)
		return err;
	*found = hit.key;
	*val = hit.val;
	return 0;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void db_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val)
{
	MDB_val k = kv_val(key);
	MDB_val v = kv_val(val);
	int rc;

	kv_drop_cursor(txn, table);
	rc = mdb_put(txn->mdb, txn->env->dbi[table], &k, &v, 0);
	if (rc)
		(void)kv_txn_error(txn, "put", kv_table_name(table), rc);
}

void kv_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val)
{
	if (txn->err)
		return;
	if (txn->kind == KV_KIND_STAGE)
		kv_stage_put(txn, table, key, val);
	else
		db_put(txn, table, key, val);
}

void kv_replace(struct kv_txn *txn, enum kv_table table, struct kv_buf key, size_t old_len,
		const struct kv_buf *val)
{
	if (txn->err)
		return;
	if (txn->kind == KV_KIND_STAGE)
		kv_stage_replace(txn, table, key, old_len, val);
	else if (val)
		db_put(txn, table, key, *val);
	else
		kv_del(txn, table, key);
}

void kv_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key)
{
	MDB_val k = kv_val(key);
	int rc;

	if (txn->err)
		return;
	if (txn->kind == KV_KIND_STAGE) {
		kv_stage_del(txn, table, key);
		return;
	}
	kv_drop_cursor(txn, table);
	rc = mdb_del(txn->mdb, txn->env->dbi[table], &k, NULL);
	if (rc)
		(void)kv_txn_error(txn, "delete", kv_table_name(table), rc);
}
