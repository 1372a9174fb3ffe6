/* SPDX-License-Identifier: BSD-2-Clause */
/* Staging: stage transactions, cuts and folds. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "server/cpu.h"
#include "server/kv_priv.h"

/* ---- transactions ---------------------------------------------------------------------------- */

int kv_stage_begin(struct kv_env *env, struct kv_txn **txn)
{
	struct kv_layer *layer = kv_layer_new();
	int err;

	if (!layer)
		return -ERR_NOMEM;
	pthread_mutex_lock(&env->stage);
	err = kv_txn_new(env, KV_KIND_STAGE, MDB_RDONLY, txn);
	if (err) {
		pthread_mutex_unlock(&env->stage);
		kv_layer_free(layer);
		return err;
	}
	(*txn)->layers[KV_PRIVATE] = layer;
	(*txn)->layers[KV_ACTIVE] = env->active;
	(*txn)->layers[KV_FROZEN] = env->frozen;
	return 0;
}

void kv_stage_abort(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;

	kv_layer_free(txn->layers[KV_PRIVATE]);
	kv_txn_drop(txn);
	pthread_mutex_unlock(&env->stage);
}

int kv_stage_commit(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	int err = txn->err;

	if (!err) {
		pthread_rwlock_wrlock(&env->layers);
		kv_layer_merge(txn->layers[KV_PRIVATE], env->active);
		pthread_rwlock_unlock(&env->layers);
		kv_room_update(env);
	}
	kv_stage_abort(txn);
	return err;
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool stage_key_is_good(struct kv_txn *txn, const char *op, enum kv_table table,
			      struct kv_buf key)
{
	if (key.len > 0 && key.len <= KV_KEY_MAX)
		return true;
	(void)kv_txn_error(txn, op, kv_table_name(table), MDB_BAD_VALSIZE);
	return false;
}

/* What there is of a key below the private layer. */
struct stage_below {
	struct kv_entry *active; /* its entry in the active layer, or NULL */
	bool alive;
	struct kv_buf val;   /* while it is alive */
	uint32_t base_bytes; /* as of the last cut: every entry carries them */
};

static int stage_look_below(struct kv_txn *txn, enum kv_table table, struct kv_buf key,
			    struct stage_below *below)
{
	struct kv_entry *active = kv_layer_get(txn->layers[KV_ACTIVE], table, key);
	int err;

	*below = (struct stage_below){.active = active};
	if (active) {
		below->alive = !active->dead;
		below->val = kv_entry_val(active);
		below->base_bytes = active->base_bytes;
		return 0;
	}
	err = kv_get_below(txn, KV_FROZEN, table, key, &below->val);
	if (err && err != -ERR_NOENT)
		return err;
	below->alive = !err;
	below->base_bytes = err ? 0 : kv_page_bytes_of(key.len, below->val.len);
	return 0;
}

/* The entry and base_bytes, where what is alive is known: the length of its value, or 0. */
static void stage_look_known(struct kv_txn *txn, enum kv_table table, struct kv_buf key,
			     size_t old_len, struct stage_below *below)
{
	struct kv_entry *active = kv_layer_get(txn->layers[KV_ACTIVE], table, key);

	*below = (struct stage_below){.active = active};
	if (active)
		below->base_bytes = active->base_bytes;
	else if (old_len > 0)
		below->base_bytes = kv_page_bytes_of(key.len, old_len);
}

/* What is below an entry of the transaction's own has been found out before. */
static void stage_look_own(const struct kv_entry *own, struct stage_below *below)
{
	*below = (struct stage_below){.active = own->below, .base_bytes = own->base_bytes};
}

/* So that one entry more can be set, and the commit has what it needs. */
static bool stage_reserve(struct kv_txn *txn)
{
	struct kv_layer *private = txn->layers[KV_PRIVATE];

	return kv_layer_reserve(private, 1) &&
	       kv_layer_reserve(txn->layers[KV_ACTIVE], private->nentries + 1);
}

/* The new entry of the private layer, or NULL. */
static struct kv_entry *stage_set(struct kv_txn *txn, enum kv_table table, struct kv_buf key,
				  const struct kv_buf *val, const struct stage_below *below)
{
	struct kv_entry *entry =
	    stage_reserve(txn) ? kv_entry_new(key, val, below->base_bytes) : NULL;

	if (!entry) {
		kv_latch(txn, -ERR_NOMEM);
		return NULL;
	}
	entry->below = below->active;
	kv_layer_set(txn->layers[KV_PRIVATE], table, entry);
	return entry;
}

/* Where the value of an entry of the transaction's own can be written over, that is done. */
static bool stage_write_over(struct kv_entry *own, struct kv_buf val)
{
	if (!own || own->dead || own->val_len != val.len)
		return false;
	memmove(own->bytes + own->key_len, val.data, val.len);
	return true;
}

void kv_stage_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val)
{
	struct kv_entry *own = kv_layer_get(txn->layers[KV_PRIVATE], table, key);
	struct stage_below below;

	if (!stage_key_is_good(txn, "put", table, key) || stage_write_over(own, val))
		return;
	if (own)
		stage_look_own(own, &below);
	else if (stage_look_below(txn, table, key, &below))
		return;
	(void)stage_set(txn, table, key, &val, &below);
}

void kv_stage_replace(struct kv_txn *txn, enum kv_table table, struct kv_buf key, size_t old_len,
		      const struct kv_buf *val)
{
	struct kv_entry *own = kv_layer_get(txn->layers[KV_PRIVATE], table, key);
	struct stage_below below;

	if (!stage_key_is_good(txn, "put", table, key))
		return;
	if (own && !val) {
		kv_stage_del(txn, table, key); /* what is below its own is to be looked up */
		return;
	}
	if (!val && old_len == 0) {
		(void)kv_txn_error(txn, "delete", kv_table_name(table), MDB_NOTFOUND);
		return;
	}
	if (val && stage_write_over(own, *val))
		return;
	if (own)
		stage_look_own(own, &below);
	else
		stage_look_known(txn, table, key, old_len, &below);
	(void)stage_set(txn, table, key, val, &below);
}

int kv_stage_edit(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val,
		  uint8_t **bytes)
{
	struct kv_entry *own = kv_layer_get(txn->layers[KV_PRIVATE], table, key);
	struct stage_below below;
	bool staged = true;

	if (!own) {
		int err = stage_look_below(txn, table, key, &below);

		if (err || !below.alive)
			return err ? err : -ERR_NOENT;
		own = stage_set(txn, table, key, &below.val, &below);
		if (!own)
			return -ERR_NOMEM;
		staged = below.val.staged;
	} else if (own->dead) {
		return -ERR_NOENT;
	}
	*val = kv_entry_val(own);
	val->staged = staged;
	*bytes = own->bytes + own->key_len;
	return 0;
}

void kv_stage_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key)
{
	struct kv_entry *own = kv_layer_get(txn->layers[KV_PRIVATE], table, key);
	struct stage_below below;

	if (!stage_key_is_good(txn, "delete", table, key) ||
	    stage_look_below(txn, table, key, &below))
		return;
	if (own ? own->dead : !below.alive)
		(void)kv_txn_error(txn, "delete", kv_table_name(table), MDB_NOTFOUND);
	else if (below.alive)
		(void)stage_set(txn, table, key, NULL, &below);
	else
		kv_layer_remove(txn->layers[KV_PRIVATE], table, key);
}

/* ---- cut ------------------------------------------------------------------------------------- */

int kv_cut(struct kv_env *env)
{
	struct kv_layer *layer = kv_layer_new();

	if (!layer)
		return -ERR_NOMEM;
	pthread_mutex_lock(&env->stage);
	pthread_rwlock_wrlock(&env->layers);
	assert(!env->frozen);
	env->frozen = env->active;
	env->active = layer;
	pthread_rwlock_unlock(&env->layers);
	kv_room_update(env);
	pthread_mutex_unlock(&env->stage);
	return 0;
}

/* ---- fold ------------------------------------------------------------------------------------ */

static MDB_val entry_mdb_key(struct kv_entry *entry)
{
	return (MDB_val){.mv_size = entry->key_len, .mv_data = entry->bytes};
}

/* The last key of a table; len 0: it is empty. */
struct last_key {
	uint8_t bytes[KV_KEY_MAX];
	size_t len;
};

static int fold_last_key(MDB_cursor *cursor, struct last_key *last)
{
	MDB_val k;
	MDB_val v;
	int rc = mdb_cursor_get(cursor, &k, &v, MDB_LAST);

	last->len = 0;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	memcpy(last->bytes, k.mv_data, k.mv_size);
	last->len = k.mv_size;
	return 0;
}

static int fold_put(struct kv_txn *txn, MDB_cursor *cursor, enum kv_table table,
		    struct kv_entry *entry, unsigned int flags)
{
	MDB_val k = entry_mdb_key(entry);
	MDB_val v = {.mv_size = entry->val_len};
	int rc = mdb_cursor_put(cursor, &k, &v, flags | MDB_RESERVE);

	if (rc)
		return rc;
	memcpy(v.mv_data, entry->bytes + entry->key_len, entry->val_len);
	if (txn->env->seal)
		txn->env->seal(table, kv_entry_key(entry), v.mv_data, entry->val_len);
	return 0;
}

/* What comes behind all that is there is appended, which fills pages to the end. */
static int fold_puts(struct kv_txn *txn, struct kv_layer *layer, enum kv_table table)
{
	struct last_key last;
	struct kv_entry *entry;
	struct kv_spot spot;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->mdb, txn->env->dbi[table], &cursor);

	if (rc)
		return rc;
	rc = fold_last_key(cursor, &last);
	for (entry = kv_layer_first(layer, table, &spot); entry; entry = kv_layer_next(&spot)) {
		struct kv_buf beyond = {.data = last.bytes, .len = last.len};
		struct kv_buf key = kv_entry_key(entry);

		if (rc)
			break;
		if (!entry->dead)
			rc = fold_put(txn, cursor, table, entry,
				      kv_key_cmp(key, beyond) > 0 ? MDB_APPEND : 0);
		cpu_give_way();
	}
	mdb_cursor_close(cursor);
	return rc;
}

static int fold_dels(struct kv_txn *txn, struct kv_layer *layer, enum kv_table table)
{
	struct kv_entry *entry;
	struct kv_spot spot;

	for (entry = kv_layer_first(layer, table, &spot); entry; entry = kv_layer_next(&spot)) {
		MDB_val k = entry_mdb_key(entry);
		int rc = entry->dead ? mdb_del(txn->mdb, txn->env->dbi[table], &k, NULL) : 0;

		if (rc && rc != MDB_NOTFOUND)
			return rc;
		cpu_give_way();
	}
	return 0;
}

/* Puts come first: a table that becomes empty in between loses its page until the commit (kv.h). */
static int fold_write(struct kv_env *env, struct kv_layer *layer)
{
	struct kv_txn *txn;
	int err = kv_write_begin(env, &txn);

	if (err)
		return err;
	for (int t = 0; t < KV_NTABLES && !kv_error(txn); t++) {
		enum kv_table table = (enum kv_table)t;
		int rc = fold_puts(txn, layer, table);

		if (!rc)
			rc = fold_dels(txn, layer, table);
		if (rc)
			(void)kv_txn_error(txn, "fold", kv_table_name(table), rc);
	}
	return kv_write_commit(txn);
}

/*
 * A commit that changes nothing, after which the pages that the last one replaced can be used: it
 * writes the first entry of a table again.
 */
static int fold_turn(struct kv_env *env)
{
	struct kv_buf first = {.data = "", .len = 1};
	struct kv_buf key;
	struct kv_buf val;
	struct kv_txn *txn;
	int err = kv_write_begin(env, &txn);

	if (err)
		return err;
	err = kv_find(txn, KV_META, KV_GE, first, &key, &val);
	if (!err) {
		uint8_t key_copy[KV_KEY_MAX];
		uint8_t *val_copy = malloc(val.len + 1);

		if (!val_copy) {
			kv_latch(txn, -ERR_NOMEM);
		} else {
			memcpy(key_copy, key.data, key.len);
			memcpy(val_copy, val.data, val.len);
			kv_put(txn, KV_META, (struct kv_buf){.data = key_copy, .len = key.len},
			       (struct kv_buf){.data = val_copy, .len = val.len});
		}
		free(val_copy);
	}
	return kv_write_commit(txn);
}

/* Returns when all transactions that may see the commit before the last have ended. */
static void fold_wait_for_readers(struct kv_env *env)
{
	pthread_mutex_lock(&env->stage);
	pthread_rwlock_wrlock(&env->layers);
	pthread_rwlock_unlock(&env->layers);
	pthread_mutex_unlock(&env->stage);
}

/* Pages never used before are left alone as long as others do: LMDB wants some in one piece. */
static int fold_make_room(struct kv_env *env, struct kv_layer *layer)
{
	struct kv_pages pages;
	int err = kv_pages_read(env, &pages);

	if (err)
		return err;
	if (pages.pinned > 0 || pages.replaced == 0 ||
	    kv_fold_pages(env, &pages, layer) <= pages.listed - pages.replaced)
		return 0;
	err = fold_turn(env);
	if (!err)
		fold_wait_for_readers(env); /* else they keep the pages out of use */
	return err == -ERR_NOSPC_META ? 0 : err;
}

static struct kv_layer *fold_frozen(struct kv_env *env)
{
	struct kv_layer *frozen;

	pthread_rwlock_rdlock(&env->layers);
	frozen = env->frozen;
	pthread_rwlock_unlock(&env->layers);
	return frozen;
}

/* It is in LMDB: from here on nobody needs the layer. */
static void fold_drop(struct kv_env *env)
{
	struct kv_layer *frozen = env->frozen;
	struct kv_pages pages;
	int err = kv_pages_read(env, &pages);

	pthread_mutex_lock(&env->stage);
	pthread_rwlock_wrlock(&env->layers);
	env->frozen = NULL;
	pthread_rwlock_unlock(&env->layers);
	if (!err) /* else the figures are those of the fold before */
		env->pages = pages;
	env->starved = false;
	kv_room_update(env);
	pthread_mutex_unlock(&env->stage);
	kv_layer_free(frozen);
}

/* Whatever snapshots there are stand in the way. */
static void fold_starve(struct kv_env *env)
{
	pthread_mutex_lock(&env->stage);
	env->starved = true;
	kv_room_update(env);
	pthread_mutex_unlock(&env->stage);
}

int kv_fold(struct kv_env *env)
{
	struct kv_layer *frozen = fold_frozen(env);
	int err;

	if (!frozen)
		return 0;
	err = fold_make_room(env, frozen);
	if (!err)
		err = fold_write(env, frozen);
	if (!err)
		fold_drop(env);
	else if (err == -ERR_NOSPC_META)
		fold_starve(env);
	return err;
}
