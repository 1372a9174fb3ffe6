/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Room for folds.  LMDB never changes a page in place, and the pages that a commit replaces can be
 * used again only by the commit after the next (an empty one will do, kv_stage.c).  So:
 *
 *	in use before + all pages that the fold makes <= size of the file
 *
 * must hold for a fold of what is staged and of one transaction more.  Who makes tables grow leaves
 * (kv_usage) what that takes: ROOM_STAGE_PAGES and ROOM_TXN_PAGES, in a small file half of it, for a
 * fold cannot make more pages than there are and the new ones.
 */
#include <assert.h>
#include <string.h>

#include "server/kv_priv.h"

/* LMDB's own two tables, and its two header pages. */
#define KV_FREE_DBI   0
#define KV_MAIN_DBI   1
#define KV_META_PAGES 2

/* Of one fold, far from where LMDB spills; less where kv_limit_folds() says so. */
#define ROOM_STAGE_PAGES UINT64_C(32768)
#define ROOM_TXN_PAGES	 ((uint64_t)KV_TXN_CHANGES)

/* What any commit writes, whatever it changes: a path of each of LMDB's own tables, and records of
 * free pages.  A fold may need two. */
#define ROOM_COMMIT_PAGES 8

/* The fewest children that a split leaves a branch page with, whose keys are as long as names. */
#define ROOM_BRANCH_MIN 7

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- what LMDB has --------------------------------------------------------------------------- */

static int pages_of(struct kv_txn *txn, MDB_dbi dbi, uint64_t *used, struct kv_table_pages *table)
{
	MDB_stat stat;
	int rc = mdb_stat(txn->mdb, dbi, &stat);

	if (rc)
		return kv_txn_error(txn, "stat", "-", rc);
	*used += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	*table = (struct kv_table_pages){
	    .leaves = stat.ms_leaf_pages, .branches = stat.ms_branch_pages, .depth = stat.ms_depth};
	return 0;
}

/*
 * The numbers of pages that the commits from "first" on have replaced: each left a list of them, its
 * length first.  "last": those of this commit alone.
 */
static int pages_freed_since(struct kv_txn *txn, uint64_t first, uint64_t last, uint64_t *sum,
			     uint64_t *of_last)
{
	size_t id = first;
	size_t npages;
	MDB_val k = {.mv_size = sizeof(id), .mv_data = &id};
	MDB_cursor *cursor;
	MDB_val v;
	int rc = mdb_cursor_open(txn->mdb, KV_FREE_DBI, &cursor);

	*sum = 0;
	*of_last = 0;
	if (rc)
		return kv_txn_error(txn, "find", "free pages", rc);
	for (rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); !rc;
	     rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		memcpy(&npages, v.mv_data, sizeof(npages)); /* they lie anywhere in a page */
		memcpy(&id, k.mv_data, sizeof(id));
		*sum += npages;
		if (id == last)
			*of_last = npages;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : kv_txn_error(txn, "find", "free pages", rc);
}

static uint64_t oldest_snapshot(struct kv_env *env, uint64_t none)
{
	const struct kv_txn *txn;
	uint64_t oldest = none;

	pthread_mutex_lock(&env->snapshots_lock);
	LIST_FOREACH (txn, &env->snapshots, link)
		oldest = least(oldest, mdb_txn_id(txn->mdb));
	pthread_mutex_unlock(&env->snapshots_lock);
	return oldest;
}

static int pages_measure(struct kv_txn *txn, struct kv_pages *pages)
{
	struct kv_env *env = txn->env;
	struct kv_pages p = {.last_txn = mdb_txn_id(txn->mdb), .used = KV_META_PAGES};
	struct kv_table_pages own;
	uint64_t oldest = oldest_snapshot(env, UINT64_MAX);
	uint64_t sum;
	MDB_envinfo info;
	int err;

	err = pages_of(txn, KV_FREE_DBI, &p.used, &own);
	if (!err)
		err = pages_of(txn, KV_MAIN_DBI, &p.used, &own);
	for (int t = 0; t < KV_NTABLES && !err; t++)
		err = pages_of(txn, env->dbi[t], &p.used, &p.tables[t]);
	if (!err)
		err = pages_freed_since(txn, least(oldest, p.last_txn), p.last_txn, &sum,
					&p.replaced);
	if (err)
		return err;
	if (oldest <= p.last_txn)
		p.pinned = sum;
	(void)mdb_env_info(env->mdb, &info); /* fails only for want of an argument */
	p.listed = info.me_last_pgno + 1 - p.used;
	*pages = p;
	return 0;
}

int kv_pages_read(struct kv_env *env, struct kv_pages *pages)
{
	struct kv_txn *txn;
	int err = kv_txn_new(env, KV_KIND_SNAPSHOT, MDB_RDONLY, &txn);

	if (err)
		return err;
	err = pages_measure(txn, pages);
	kv_txn_drop(txn);
	return err;
}

/* ---- what changes take up -------------------------------------------------------------------- */

/*
 * Each put that is larger than what it replaces may split a leaf: a full one at once, then again when as
 * much has come as fills half.  Another finds the room of what it replaces.
 */
static uint64_t count_splits(const struct kv_env *env, const struct kv_count *count,
			     uint64_t leaves)
{
	return least(count->grows, leaves + 2 * count->grow_bytes / env->page_bytes + 1);
}

/* Those of a table as they may be after a fold of these changes. */
static struct kv_table_pages table_grown(const struct kv_env *env, struct kv_table_pages table,
					 const struct kv_count *count)
{
	uint64_t splits = count_splits(env, count, table.leaves);

	table.leaves += splits;
	if (splits > 0) {
		table.branches += splits / ROOM_BRANCH_MIN + 1;
		table.depth++;
	}
	return table;
}

/* Each change touches one path; what a delete leaves of a page may go to the next, or come from it. */
static uint64_t table_dirty(const struct kv_env *env, const struct kv_table_pages *table,
			    const struct kv_count *count)
{
	struct kv_table_pages after = table_grown(env, *table, count);
	uint64_t n = count->puts + 2 * count->dels;

	return least(n, table->leaves) + (after.leaves - table->leaves) +
	       least(n * table->depth, table->branches) + (after.branches - table->branches);
}

/* With a list of the pages that were replaced: a number for each. */
static uint64_t pages_of_fold(const struct kv_env *env, uint64_t dirty)
{
	return dirty + (dirty + 1) * sizeof(size_t) / env->page_bytes + 1 + 2 * ROOM_COMMIT_PAGES;
}

uint64_t kv_fold_pages(const struct kv_env *env, const struct kv_pages *pages,
		       const struct kv_layer *layer)
{
	uint64_t dirty = 0;

	for (int t = 0; t < KV_NTABLES; t++)
		dirty += table_dirty(env, &pages->tables[t], &layer->counts[t]);
	return pages_of_fold(env, dirty);
}

/* ---- what that leaves ------------------------------------------------------------------------ */

static uint64_t total_pages(const struct kv_env *env)
{
	return env->map_bytes / env->page_bytes;
}

static uint64_t stage_pages_kept(const struct kv_env *env)
{
	return least(ROOM_STAGE_PAGES, total_pages(env) / 4);
}

static uint64_t stage_pages_max(const struct kv_env *env)
{
	return least(env->fold_pages_max, stage_pages_kept(env));
}

static uint64_t txn_pages_max(const struct kv_env *env)
{
	return least(ROOM_TXN_PAGES, total_pages(env) / 4);
}

/* Pages that the fold after the next can use. */
static uint64_t pages_left(const struct kv_env *env)
{
	uint64_t taken = env->pages.used + env->pages.pinned;

	/* while there are snapshots the pages that are replaced now are not to be had again */
	if (env->frozen && env->pages.pinned > 0) {
		taken += kv_fold_pages(env, &env->pages, env->frozen);
	} else if (env->frozen) {
		for (int t = 0; t < KV_NTABLES; t++)
			taken +=
			    count_splits(env, &env->frozen->counts[t], env->pages.tables[t].leaves);
	}
	return total_pages(env) - least(total_pages(env), taken);
}

static struct kv_count count_sum(const struct kv_count *a, const struct kv_count *b)
{
	return (struct kv_count){.puts = a->puts + b->puts,
				 .dels = a->dels + b->dels,
				 .put_bytes = a->put_bytes + b->put_bytes,
				 .base_bytes = a->base_bytes + b->base_bytes,
				 .grows = a->grows + b->grows,
				 .grow_bytes = a->grow_bytes + b->grow_bytes};
}

/* The pages that a fold of what is active takes up, after that of what is frozen. */
static uint64_t staged_pages(const struct kv_env *env, const struct kv_layer *private)
{
	static const struct kv_count none;
	uint64_t dirty = 0;

	for (int t = 0; t < KV_NTABLES; t++) {
		struct kv_count count =
		    count_sum(&env->active->counts[t], private ? &private->counts[t] : &none);
		struct kv_table_pages table = table_grown(
		    env, env->pages.tables[t], env->frozen ? &env->frozen->counts[t] : &none);

		dirty += table_dirty(env, &table, &count);
	}
	return pages_of_fold(env, dirty);
}

bool kv_stage_has_room(const struct kv_txn *txn)
{
	const struct kv_env *env = txn->env;
	uint64_t pages = staged_pages(env, txn->layers[KV_PRIVATE]);

	assert(txn->kind == KV_KIND_STAGE);
	return pages < stage_pages_max(env) && pages < pages_left(env);
}

/* An estimate: what comes new fills pages by half, what goes leaves them as they are. */
static uint64_t layer_growth(const struct kv_env *env, const struct kv_layer *layer)
{
	uint64_t pages = 0;

	for (int t = 0; layer && t < KV_NTABLES; t++) {
		const struct kv_count *count = &layer->counts[t];

		if (count->put_bytes > count->base_bytes)
			pages += 2 * (count->put_bytes - count->base_bytes) / env->page_bytes + 1;
	}
	return pages;
}

void kv_room_update(struct kv_env *env)
{
	const struct kv_layer *frozen = env->frozen;
	uint64_t staged = staged_pages(env, NULL);
	uint64_t left = pages_left(env);
	uint64_t late = 0;
	uint64_t entries = env->active->nentries + (frozen ? frozen->nentries : 0);
	uint64_t used =
	    env->pages.used + layer_growth(env, env->active) + layer_growth(env, frozen);
	uint64_t room = least(stage_pages_max(env), left - least(left, txn_pages_max(env)));
	bool must =
	    entries > 0 && (staged >= stage_pages_max(env) || staged + txn_pages_max(env) > left);

	atomic_store(&env->used_bytes, used * env->page_bytes);
	atomic_store(&env->staged_entries, entries);
	atomic_store(&env->staged_bytes, env->active->mem_bytes + (frozen ? frozen->mem_bytes : 0));
	atomic_store(&env->must_fold, must);
	atomic_store(&env->should_fold, entries > 0 && (must || staged >= room / 2));
	if (env->starved)
		late = UINT64_MAX;
	else if (stage_pages_max(env) + txn_pages_max(env) > left)
		late = env->pages.last_txn;
	atomic_store(&env->late_txn, late);
}

void kv_limit_folds(struct kv_env *env, uint64_t bytes)
{
	env->fold_pages_max = bytes / env->page_bytes;
	kv_room_update(env);
}

/* ---- for any thread -------------------------------------------------------------------------- */

void kv_usage(const struct kv_env *env, uint64_t *used_bytes, uint64_t *total_bytes)
{
	uint64_t kept = stage_pages_kept(env) + txn_pages_max(env);

	*used_bytes = atomic_load(&env->used_bytes);
	*total_bytes = (total_pages(env) - kept) * env->page_bytes;
}

void kv_get_staged(const struct kv_env *env, struct kv_staged *staged)
{
	*staged = (struct kv_staged){.entries = atomic_load(&env->staged_entries),
				     .bytes = atomic_load(&env->staged_bytes)};
}

bool kv_must_fold(const struct kv_env *env)
{
	return atomic_load(&env->must_fold);
}

bool kv_should_fold(const struct kv_env *env)
{
	return atomic_load(&env->should_fold);
}
