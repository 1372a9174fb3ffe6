/* SPDX-License-Identifier: BSD-2-Clause */
/* The environment: making it, opening it, its tables. */
#include "server/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "server/kv_priv.h"
#include "server/kv_verify.h"

#define KV_FILE_MODE 0600
#define KV_ENV_FLAGS (MDB_NOSUBDIR | MDB_NOTLS)

static const char *const table_names[KV_NTABLES] = {
    [KV_META] = "meta",	  [KV_NAME] = "name", [KV_OBJ] = "obj",	  [KV_NODE] = "node",
    [KV_NREF] = "nref",	  [KV_XREF] = "xref", [KV_FREE] = "free", [KV_REAP] = "reap",
    [KV_CHILD] = "child", [KV_TTL] = "ttl",
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

/* Readers come and go all the time, and who makes changes visible is not to wait for ever. */
static int kv_layers_lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;
	int rc = pthread_rwlockattr_init(&attr);

	if (rc)
		return rc;
	rc = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	if (!rc)
		rc = pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return rc;
}

/* Not yet open.  NULL: no memory. */
static struct kv_env *kv_env_new(void)
{
	struct kv_env *env = calloc(1, sizeof(*env));

	if (!env)
		return NULL;
	LIST_INIT(&env->snapshots);
	env->active = kv_layer_new();
	if (!env->active)
		goto fail_free;
	if (pthread_mutex_init(&env->stage, NULL))
		goto fail_layer;
	if (pthread_mutex_init(&env->snapshots_lock, NULL))
		goto fail_stage;
	if (kv_layers_lock_init(&env->layers))
		goto fail_snapshots;
	return env;
fail_snapshots:
	pthread_mutex_destroy(&env->snapshots_lock);
fail_stage:
	pthread_mutex_destroy(&env->stage);
fail_layer:
	kv_layer_free(env->active);
fail_free:
	free(env);
	return NULL;
}

void kv_close(struct kv_env *env)
{
	if (!env)
		return;
	mdb_env_close(env->mdb);
	kv_layer_free(env->active);
	kv_layer_free(env->frozen);
	pthread_rwlock_destroy(&env->layers);
	pthread_mutex_destroy(&env->snapshots_lock);
	pthread_mutex_destroy(&env->stage);
	free(env);
}

uint64_t kv_map_bytes(const struct kv_env *env)
{
	return env->map_bytes;
}

int kv_verify_whole(struct kv_env *env)
{
	mdb_filehandle_t fd;

	(void)mdb_env_get_fd(env->mdb, &fd); /* fails only for want of an argument */
	return kv_verify(fd, true);
}

/* Before LMDB sees it: it would make an environment of an empty file, and follow what is damaged. */
static int kv_verify_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT ? -ERR_NOENT : kv_env_error("open", path, errno);
	err = kv_verify(fd, false);
	close(fd);
	return err;
}

int kv_open(const char *path, kv_seal_fn *seal, struct kv_env **env)
{
	struct kv_env *e;
	int err = kv_verify_file(path);
	int rc;

	if (err)
		return err;
	e = kv_env_new();
	if (!e)
		return -ERR_NOMEM;
	rc = kv_open_env(e, path, 0);
	if (!rc)
		rc = kv_open_tables(e, 0);
	if (rc) {
		kv_close(e);
		return kv_env_error("open", path, rc);
	}
	err = kv_pages_read(e, &e->pages);
	if (err) {
		kv_close(e);
		return err;
	}
	e->seal = seal;
	kv_limit_folds(e, UINT64_MAX);
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
	struct kv_env *env = kv_env_new();
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
