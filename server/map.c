/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

static struct kv_buf store_key(void)
{
	return (struct kv_buf){.data = MAP_KEY_STORE, .len = sizeof(MAP_KEY_STORE) - 1};
}

/* ---- making ---------------------------------------------------------------------------------- */

static int map_fill(struct kv_txn *kv, void *ctx)
{
	const struct map_geometry *geo = ctx;
	uint64_t first = 1 + geo->journal_nblks; /* block 0 is the device's header */
	uint64_t nblks = geo->dev_nblks - first;
	struct map_state state = {
	    .next_node = 1, .next_object = 1, .journal_seq = 1, .free_nblks = nblks};
	struct disk_store store = {0};

	le32_put(store.version, MAP_VERSION);
	le64_put(store.magic, MAP_MAGIC);
	memcpy(store.uuid, geo->uuid, sizeof(store.uuid));
	le64_put(store.block_bytes, BLK_BYTES);
	le64_put(store.dev_nblks, geo->dev_nblks);
	le64_put(store.journal_nblks, geo->journal_nblks);
	le64_put(store.meta_bytes, geo->meta_bytes);
	map_value_put(kv, KV_META, store_key(), &store, sizeof(store));
	map_state_write(kv, &state);
	return map_free_add(kv, first, nblks);
}

int map_create(const char *path, const struct map_geometry *geo)
{
	struct map_geometry g = *geo;

	if (geo->dev_nblks < 2 || geo->journal_nblks > geo->dev_nblks - 2)
		return -ERR_INVAL;
	return kv_create(path, geo->meta_bytes, map_fill, &g);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Reads what the store is; a value of a version that is not known is not looked into. */
static int map_read_store(struct kv_txn *kv, struct map_geometry *geo)
{
	const struct disk_store *store;
	struct kv_buf val;
	int err = map_value_get(kv, KV_META, store_key(), 16, &val);

	if (err)
		return err == -ERR_NOENT ? -ERR_FORMAT_OTHER : err;
	store = val.data;
	if (le64_get(store->magic) != MAP_MAGIC)
		return -ERR_FORMAT_OTHER;
	if (le32_get(store->version) != MAP_VERSION || val.len < sizeof(*store))
		return -ERR_FORMAT_VERSION;
	if (le64_get(store->features_incompat) & ~MAP_FEATURES_INCOMPAT)
		return -ERR_FORMAT_FEATURE;
	/* there is no way yet to open a store for reading only */
	if (le64_get(store->features_ro) & ~MAP_FEATURES_RO)
		return -ERR_FORMAT_FEATURE;
	if (le64_get(store->block_bytes) != BLK_BYTES)
		return -ERR_FORMAT_VERSION;
	memcpy(geo->uuid, store->uuid, sizeof(geo->uuid));
	geo->dev_nblks = le64_get(store->dev_nblks);
	geo->journal_nblks = le64_get(store->journal_nblks);
	geo->meta_bytes = le64_get(store->meta_bytes);
	return 0;
}

static int map_load(struct map *map)
{
	struct map_state state;
	struct kv_txn *kv;
	int err = kv_read_begin(map->kv, &kv);

	if (err)
		return err;
	err = map_read_store(kv, &map->geo);
	if (!err && map->geo.meta_bytes != kv_map_bytes(map->kv))
		err = -ERR_FORMAT_SIZE;
	if (!err)
		err = map_state_read(kv, &state);
	kv_read_end(kv);
	return err;
}

int map_open(const char *path, struct map **map)
{
	struct map *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ERR_NOMEM;
	err = kv_open(path, map_value_seal, &m->kv);
	if (err)
		goto fail_free;
	err = map_load(m);
	if (err)
		goto fail_close;
	if (pthread_mutex_init(&m->views_lock, NULL)) {
		err = -ERR_NOMEM;
		goto fail_close;
	}
	*map = m;
	return 0;
fail_close:
	kv_close(m->kv);
fail_free:
	free(m);
	return err;
}

void map_limit_folds(struct map *map, uint64_t bytes)
{
	kv_limit_folds(map->kv, bytes);
}

int map_verify_pages(struct map *map)
{
	return kv_verify_whole(map->kv);
}

void map_close(struct map *map)
{
	if (!map)
		return;
	while (map->views) {
		struct map_view *view = map->views;

		map->views = view->next;
		kv_read_end(view->kv);
		free(view);
	}
	pthread_mutex_destroy(&map->views_lock);
	kv_close(map->kv);
	free(map);
}

const struct map_geometry *map_geometry(const struct map *map)
{
	return &map->geo;
}

void map_meta_usage(const struct map *map, uint64_t *used_bytes, uint64_t *total_bytes)
{
	kv_usage(map->kv, used_bytes, total_bytes);
}

/* ---- views ----------------------------------------------------------------------------------- */

static struct map_view *view_take_paused(struct map *map)
{
	struct map_view *view;

	pthread_mutex_lock(&map->views_lock);
	view = map->views;
	if (view)
		map->views = view->next;
	pthread_mutex_unlock(&map->views_lock);
	return view;
}

static int view_new(struct map *map, int (*begin)(struct kv_env *kv, struct kv_txn **txn),
		    struct map_view **view)
{
	struct map_view *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ERR_NOMEM;
	v->map = map;
	err = begin(map->kv, &v->kv);
	if (err) {
		free(v);
		return err;
	}
	*view = v;
	return 0;
}

int map_view_begin(struct map *map, struct map_view **view)
{
	struct map_view *v = view_take_paused(map);
	int err;

	if (!v)
		return view_new(map, kv_read_begin, view);
	err = kv_read_resume(v->kv);
	if (err) {
		kv_read_end(v->kv);
		free(v);
		return err;
	}
	*view = v;
	return 0;
}

int map_snapshot_begin(struct map *map, struct map_view **view)
{
	int err = view_new(map, kv_snapshot_begin, view);

	if (!err)
		(*view)->snapshot = true;
	return err;
}

bool map_snapshot_is_late(const struct map_view *view)
{
	return kv_snapshot_is_late(view->kv);
}

void map_view_end(struct map_view *view)
{
	struct map *map = view->map;

	if (view->snapshot) {
		kv_read_end(view->kv);
		free(view);
		return;
	}
	kv_read_pause(view->kv);
	pthread_mutex_lock(&map->views_lock);
	view->next = map->views;
	map->views = view;
	pthread_mutex_unlock(&map->views_lock);
}

int map_get_tail(struct map_view *view, struct map_tail *tail)
{
	struct map_state state;
	int err = map_state_read(view->kv, &state);

	if (!err)
		*tail = (struct map_tail){.seq = state.journal_seq, .blk = state.journal_blk};
	return err;
}

int map_get_incarnation(struct map_view *view, uint64_t *incarnation, uint64_t *journal_key)
{
	struct map_state state;
	int err = map_state_read(view->kv, &state);

	if (err)
		return err;
	*incarnation = state.incarnation;
	*journal_key = state.journal_key;
	return 0;
}

/* ---- cut and fold ---------------------------------------------------------------------------- */

int map_cut(struct map *map, struct map_tail tail)
{
	struct map_state state;
	struct kv_txn *kv;
	int err;

	ASSERT_MAP();
	err = kv_stage_begin(map->kv, &kv);
	if (err)
		return err;
	err = map_state_read(kv, &state);
	if (err) {
		kv_stage_abort(kv);
		return err;
	}
	state.journal_seq = tail.seq;
	state.journal_blk = tail.blk;
	map_state_write(kv, &state);
	err = kv_stage_commit(kv);
	return err ? err : kv_cut(map->kv);
}

int map_fold(struct map *map)
{
	return kv_fold(map->kv);
}

bool map_must_fold(const struct map *map)
{
	return kv_must_fold(map->kv);
}

bool map_should_fold(const struct map *map)
{
	return kv_should_fold(map->kv);
}

void map_get_staged(const struct map *map, struct map_staged *staged)
{
	struct kv_staged s;

	kv_get_staged(map->kv, &s);
	*staged = (struct map_staged){.entries = s.entries, .bytes = s.bytes};
}
