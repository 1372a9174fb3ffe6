/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"

/* LMDB's own two tables, and its two header pages. */
#define KV_FREE_DBI   0
#define KV_MAIN_DBI   1
#define KV_META_PAGES 2

/* What any commit writes: a path of each of LMDB's own tables, and records of free pages. */
#define KV_COMMIT_PAGES 8

#define KV_FILE_MODE 0600
#define KV_ENV_FLAGS (MDB_NOSUBDIR | MDB_NOTLS)

struct kv_env {
	MDB_env *mdb;
	MDB_dbi dbi[KV_NTABLES];
	uint64_t map_bytes;
	uint64_t page_bytes;
};

struct kv_txn {
	struct kv_env *env;
	MDB_txn *mdb;
	MDB_cursor *cursors[KV_NTABLES];
	uint64_t changes[KV_NTABLES]; /* puts and deletes */
	uint64_t leaves[KV_NTABLES];  /* pages when the table was first changed */
	uint64_t emptied;	      /* times that a table became empty */
	int err;
};

static const char *const table_names[KV_NTABLES] = {
    [KV_META] = "meta", [KV_NAME] = "name", [KV_OBJ] = "obj",	[KV_NODE] = "node",
    [KV_NREF] = "nref", [KV_XREF] = "xref", [KV_FREE] = "free", [KV_REAP] = "reap",
};

const char *kv_table_name(enum kv_table table)
{
	return table_names[table];
}

/* ---- the environment ------------------------------------------------------------------------- */

/*
 * Translates an error of the environment or of a file beside it, and logs it: but not that the file
 * is no environment, since the error says all of that.
 */
static int kv_env_error(const char *op, const char *path, int rc)
{
	char quoted[256];

	if (rc == MDB_INVALID || rc == MDB_NOTFOUND)
		return -ERR_FORMAT_OTHER;
	if (rc == MDB_VERSION_MISMATCH)
		return -ERR_FORMAT_VERSION;
	log_event(LOG_ERROR, "map-file", "op=%s path=%s error=\"%s\"", op,
		  log_quote(quoted, sizeof(quoted), path), mdb_strerror(rc));
	switch (rc) {
	case ENOSPC:
		return -ERR_NOSPC;
	case ENOMEM:
		return -ERR_NOMEM;
	default:
		return -ERR_MAP;
	}
}

/* Opens the tables; flags is MDB_CREATE or 0. */
static int kv_open_tables(struct kv_env *env, unsigned int flags)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, flags ? 0 : MDB_RDONLY, &txn);

	if (rc)
		return rc;
	for (int t = 0; t < KV_NTABLES; t++) {
		rc = mdb_dbi_open(txn, table_names[t], flags, &env->dbi[t]);
		if (rc) {
			mdb_txn_abort(txn);
			return rc;
		}
	}
	return mdb_txn_commit(txn);
}

/* map_bytes 0: as the file's header says.  Returns LMDB's code. */
static int kv_open_env(struct kv_env *env, const char *path, uint64_t map_bytes)
{
	MDB_envinfo info;
	MDB_stat stat;
	int rc = mdb_env_create(&env->mdb);

	if (rc)
		return rc;
	rc = mdb_env_set_maxdbs(env->mdb, KV_NTABLES);
	if (!rc && map_bytes > 0)
		rc = mdb_env_set_mapsize(env->mdb, map_bytes);
	if (!rc)
		rc = mdb_env_open(env->mdb, path, KV_ENV_FLAGS, KV_FILE_MODE);
	if (!rc)
		rc = mdb_env_info(env->mdb, &info);
	if (!rc)
		rc = mdb_env_stat(env->mdb, &stat);
	if (rc)
		return rc;
	env->map_bytes = info.me_mapsize;
	env->page_bytes = stat.ms_psize;
	return 0;
}

void kv_close(struct kv_env *env)
{
	if (!env)
		return;
	mdb_env_close(env->mdb);
	free(env);
}

uint64_t kv_map_bytes(const struct kv_env *env)
{
	return env->map_bytes;
}

int kv_open(const char *path, struct kv_env **env)
{
	struct stat st;
	struct kv_env *e;
	int rc;

	if (stat(path, &st))
		return errno == ENOENT ? -ERR_NOENT : kv_env_error("stat", path, errno);
	/* LMDB would make an environment of an empty file */
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return kv_env_error("open", path, MDB_INVALID);
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ERR_NOMEM;
	rc = kv_open_env(e, path, 0);
	/* a file cut short: reading beyond its end would be a signal */
	if (!rc && e->map_bytes > (uint64_t)st.st_size) {
		kv_close(e);
		return -ERR_FORMAT_SIZE;
	}
	if (!rc)
		rc = kv_open_tables(e, 0);
	if (rc) {
		kv_close(e);
		return kv_env_error("open", path, rc);
	}
	*env = e;
	return 0;
}

/* ---- making one ------------------------------------------------------------------------------ */

/* Syncs the directory that path is in. */
static int kv_sync_parent(const char *path)
{
	char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int fd = -1;
	int rc = 0;

	if (!dir)
		return -ERR_NOMEM;
	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		rc = errno;
	if (fd >= 0)
		close(fd);
	free(dir);
	return rc ? kv_env_error("sync-directory", path, rc) : 0;
}

/* Gives the file its full size, with all blocks allocated, and syncs it. */
static int kv_preallocate(const char *path, uint64_t map_bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int rc = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)map_bytes);

	if (!rc && fsync(fd))
		rc = errno;
	if (fd >= 0)
		close(fd);
	return rc ? kv_env_error("preallocate", path, rc) : 0;
}

static int kv_fill(struct kv_env *env, int (*fill)(struct kv_txn *txn, void *ctx), void *ctx)
{
	struct kv_txn *txn;
	int err = kv_write_begin(env, &txn);

	if (err)
		return err;
	err = fill(txn, ctx);
	if (err)
		kv_latch(txn, err);
	return kv_write_commit(txn);
}

/* Makes the environment at its temporary path and closes it again. */
static int kv_build(const char *path, uint64_t map_bytes,
		    int (*fill)(struct kv_txn *txn, void *ctx), void *ctx)
{
	struct kv_env *env = calloc(1, sizeof(*env));
	int err = 0;
	int rc;

	if (!env)
		return -ERR_NOMEM;
	rc = kv_open_env(env, path, map_bytes);
	if (!rc)
		rc = kv_open_tables(env, MDB_CREATE);
	if (rc)
		err = kv_env_error("create", path, rc);
	else
		err = kv_fill(env, fill, ctx);
	kv_close(env);
	return err;
}

int kv_create(const char *path, uint64_t map_bytes, int (*fill)(struct kv_txn *txn, void *ctx),
	      void *ctx)
{
	char *tmp = NULL;
	char *lock = NULL;
	int err = -ERR_NOMEM;

	if (access(path, F_OK) == 0)
		return -ERR_EXIST;
	if (asprintf(&tmp, "%s.tmp", path) < 0)
		return -ERR_NOMEM;
	if (asprintf(&lock, "%s-lock", tmp) < 0)
		goto free_tmp;
	/* what a crash in the middle of this left behind */
	unlink(tmp);
	unlink(lock);
	err = kv_build(tmp, map_bytes, fill, ctx);
	unlink(lock);
	if (!err)
		err = kv_preallocate(tmp, map_bytes);
	if (!err && rename(tmp, path))
		err = kv_env_error("rename", path, errno);
	if (!err)
		err = kv_sync_parent(path);
	else
		unlink(tmp);
	free(lock);
free_tmp:
	free(tmp);
	return err;
}

/* ---- transactions ---------------------------------------------------------------------------- */

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

/* Logs and latches an error of LMDB. */
static int kv_txn_error(struct kv_txn *txn, const char *op, const char *table, int rc)
{
	if (rc == MDB_MAP_FULL) {
		log_event(LOG_WARN, "map-full", "op=%s table=%s", op, table);
		return kv_latch(txn, -ERR_NOSPC_META);
	}
	log_event(LOG_ERROR, "map-database", "op=%s table=%s error=\"%s\"", op, table,
		  mdb_strerror(rc));
	return kv_latch(txn, rc == ENOMEM ? -ERR_NOMEM : -ERR_MAP);
}

static int kv_begin(struct kv_env *env, unsigned int flags, struct kv_txn **txn)
{
	struct kv_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ERR_NOMEM;
	t->env = env;
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

int kv_read_begin(struct kv_env *env, struct kv_txn **txn)
{
	return kv_begin(env, MDB_RDONLY, txn);
}

void kv_read_pause(struct kv_txn *txn)
{
	kv_close_cursors(txn);
	mdb_txn_reset(txn->mdb);
	txn->err = 0;
}

int kv_read_resume(struct kv_txn *txn)
{
	int rc = mdb_txn_renew(txn->mdb);

	return rc ? kv_txn_error(txn, "renew", "-", rc) : 0;
}

void kv_read_end(struct kv_txn *txn)
{
	kv_close_cursors(txn);
	mdb_txn_abort(txn->mdb);
	free(txn);
}

int kv_write_begin(struct kv_env *env, struct kv_txn **txn)
{
	return kv_begin(env, 0, txn);
}

int kv_write_commit(struct kv_txn *txn)
{
	int err = txn->err;
	int rc;

	kv_close_cursors(txn);
	if (err) {
		mdb_txn_abort(txn->mdb);
	} else {
		/* LMDB runs out of pages only before it writes; after any other error what is on
		 * disk may be the old state or the new */
		rc = mdb_txn_commit(txn->mdb);
		if (rc)
			err = kv_txn_error(txn, "commit", "-", rc);
		if (err == -ERR_NOMEM)
			err = -ERR_MAP;
	}
	free(txn);
	return err;
}

void kv_write_abort(struct kv_txn *txn)
{
	kv_close_cursors(txn);
	mdb_txn_abort(txn->mdb);
	free(txn);
}

/* ---- entries --------------------------------------------------------------------------------- */

static MDB_val kv_val(struct kv_buf buf)
{
	return (MDB_val){.mv_size = buf.len, .mv_data = (void *)(uintptr_t)buf.data};
}

static struct kv_buf kv_buf_of(MDB_val val)
{
	return (struct kv_buf){.data = val.mv_data, .len = val.mv_size};
}

int kv_get(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf *val)
{
	MDB_val k = kv_val(key);
	MDB_val v;
	int rc;

	if (txn->err)
		return txn->err;
	rc = mdb_get(txn->mdb, txn->env->dbi[table], &k, &v);
	if (rc == MDB_NOTFOUND)
		return -ERR_NOENT;
	if (rc)
		return kv_txn_error(txn, "get", table_names[table], rc);
	*val = kv_buf_of(v);
	return 0;
}

/* Places the cursor on the entry that stands in relation "rel" to *k.  Returns LMDB's code. */
static int kv_seek(MDB_cursor *cursor, enum kv_rel rel, MDB_val *k, MDB_val *v)
{
	MDB_val key = *k;
	int rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	bool equal;

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (rc == MDB_NOTFOUND) /* all are less */
		return rel == KV_LT || rel == KV_LE ? mdb_cursor_get(cursor, k, v, MDB_LAST) : rc;
	equal = k->mv_size == key.mv_size && memcmp(k->mv_data, key.mv_data, key.mv_size) == 0;
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

int kv_find(struct kv_txn *txn, enum kv_table table, enum kv_rel rel, struct kv_buf key,
	    struct kv_buf *found, struct kv_buf *val)
{
	MDB_cursor **cursor = &txn->cursors[table];
	MDB_val k = kv_val(key);
	MDB_val v;
	int rc = 0;

	if (txn->err)
		return txn->err;
	if (!*cursor)
		rc = mdb_cursor_open(txn->mdb, txn->env->dbi[table], cursor);
	if (!rc)
		rc = kv_seek(*cursor, rel, &k, &v);
	if (rc == MDB_NOTFOUND)
		return -ERR_NOENT;
	if (rc)
		return kv_txn_error(txn, "find", table_names[table], rc);
	*found = kv_buf_of(k);
	*val = kv_buf_of(v);
	return 0;
}

static int kv_stat(struct kv_txn *txn, MDB_dbi dbi, MDB_stat *stat)
{
	int rc = txn->err ? 0 : mdb_stat(txn->mdb, dbi, stat);

	if (rc)
		return kv_txn_error(txn, "stat", "-", rc);
	return txn->err;
}

/* Before each change. */
static int kv_note_change(struct kv_txn *txn, enum kv_table table)
{
	MDB_stat stat;

	kv_drop_cursor(txn, table);
	if (txn->changes[table]++ == 0) {
		int err = kv_stat(txn, txn->env->dbi[table], &stat);

		if (err)
			return err;
		txn->leaves[table] = stat.ms_leaf_pages;
	}
	return 0;
}

static void kv_put_flags(struct kv_txn *txn, enum kv_table table, struct kv_buf key,
			 struct kv_buf val, unsigned int flags)
{
	MDB_val k = kv_val(key);
	MDB_val v = kv_val(val);
	int rc;

	if (txn->err)
		return;
	if (kv_note_change(txn, table))
		return;
	rc = mdb_put(txn->mdb, txn->env->dbi[table], &k, &v, flags);
	if (rc)
		(void)kv_txn_error(txn, "put", table_names[table], rc);
}

void kv_put(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val)
{
	kv_put_flags(txn, table, key, val, 0);
}

void kv_append(struct kv_txn *txn, enum kv_table table, struct kv_buf key, struct kv_buf val)
{
	kv_put_flags(txn, table, key, val, MDB_APPEND);
}

void kv_del(struct kv_txn *txn, enum kv_table table, struct kv_buf key)
{
	MDB_val k = kv_val(key);
	MDB_stat stat;
	int rc;

	if (txn->err)
		return;
	if (kv_note_change(txn, table))
		return;
	rc = mdb_del(txn->mdb, txn->env->dbi[table], &k, NULL);
	if (rc)
		(void)kv_txn_error(txn, "delete", table_names[table], rc);
	else if (kv_stat(txn, txn->env->dbi[table], &stat) == 0 && stat.ms_entries == 0)
		txn->emptied++;
}

/* ---- figures --------------------------------------------------------------------------------- */

int kv_used_bytes(struct kv_txn *txn, uint64_t *bytes)
{
	uint64_t pages = KV_META_PAGES;

	for (int t = -2; t < KV_NTABLES; t++) {
		MDB_dbi dbi = t == -2 ? KV_FREE_DBI : t == -1 ? KV_MAIN_DBI : txn->env->dbi[t];
		MDB_stat stat;
		int err = kv_stat(txn, dbi, &stat);

		if (err)
			return err;
		pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	}
	*bytes = pages * txn->env->page_bytes;
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

int kv_dirty_bytes(struct kv_txn *txn, uint64_t *bytes)
{
	uint64_t pages = KV_COMMIT_PAGES + txn->emptied;

	for (int t = 0; t < KV_NTABLES; t++) {
		uint64_t changes = txn->changes[t];
		MDB_stat stat;
		int err = kv_stat(txn, txn->env->dbi[t], &stat);

		if (err)
			return err;
		/* each change touches one path; a leaf that is split was counted by who split it */
		pages += least(changes, most(txn->leaves[t], stat.ms_leaf_pages));
		pages += least(changes * stat.ms_depth, stat.ms_branch_pages);
	}
	/* the list of the pages that were replaced: 8 bytes each */
	pages += pages * sizeof(uint64_t) / txn->env->page_bytes;
	*bytes = pages * txn->env->page_bytes;
	return 0;
}
