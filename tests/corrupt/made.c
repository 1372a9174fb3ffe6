/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/corrupt/made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/era.h"
#include "server/recover.h"
#include "server/store.h"
#include "tests/lib/engine.h"
#include "tests/lib/must.h"

#define STORE_BYTES (UINT64_C(1) << 20)
#define DISK_BLKS   20u
#define DAYS_MS	    UINT64_C(86400000)

static const char disk_labels[] = "owner=test\0tier=small";

unsigned int made_disk_byte(unsigned int blk)
{
	if (blk < 6)
		return 0x10 + blk;
	return blk == 10 || blk == 11 ? 0x20 : 0;
}

static void on_share(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	(void)len_bytes;
	(void)left_bytes;
	engine_done_cb(ctx, err);
}

static void must_wait(struct engine *e, struct result *res)
{
	assert_int_equal(engine_wait(e, res), 0);
}

static void write_disk(struct engine *e, struct handle *h)
{
	for (unsigned int b = 0; b < DISK_BLKS; b++)
		if (made_disk_byte(b) > 0)
			assert_int_equal(engine_write_blk(e, h, b, (uint8_t)made_disk_byte(b)), 0);
	assert_int_equal(engine_fsync(e, h), 0);
}

static void snapshot(struct engine *e, const char *spec)
{
	struct result res = {0};

	object_snapshot(e->objs, spec, NULL, engine_info_cb, &res);
	must_wait(e, &res);
}

static void share(struct engine *e, struct handle *dst, uint64_t to, struct handle *src,
		  uint64_t from, uint64_t nblks)
{
	struct result res = {0};

	object_share(dst, to * BLK_BYTES, src, from * BLK_BYTES, nblks * BLK_BYTES, on_share, &res);
	must_wait(e, &res);
}

/* Written and not inlined: more blocks than a record takes. */
static void fill_first(struct engine *e)
{
	struct object_attrs labelled = {.labels = disk_labels, .labels_len = sizeof(disk_labels)};
	struct object_attrs mortal = {.ttl_ms = 1000 * DAYS_MS};
	struct result created = {0};
	struct result cloned = {0};
	struct handle *disk;
	struct handle *copy;
	struct handle *gone;

	object_create(e->objs, "disk", DISK_BLKS * BLK_BYTES, &labelled, engine_info_cb, &created);
	must_wait(e, &created);
	disk = engine_open(e, "disk");
	write_disk(e, disk);
	snapshot(e, "disk@v1");
	object_clone(e->objs, "disk", "copy", &mortal, engine_info_cb, &cloned);
	must_wait(e, &cloned);
	copy = engine_open(e, "copy");
	assert_int_equal(engine_write_blk(e, copy, 2, 0x42), 0);
	assert_int_equal(engine_write(e, copy, 5 * BLK_BYTES + 100, (const uint8_t *)"partial", 7),
			 0);
	share(e, copy, 14, disk, 0, 3);
	assert_int_equal(engine_fsync(e, copy), 0);
	assert_int_equal(engine_create(e, "nothing", 5000), 0);
	gone = engine_create_open(e, "gone", 20 * BLK_BYTES);
	assert_int_equal(engine_write_blks(e, gone, 0, ENGINE_WRITTEN_BLKS, 0x77), 0);
	assert_int_equal(engine_fsync(e, gone), 0);
	(void)object_close(gone);
	(void)object_close(copy);
	(void)object_close(disk);
}

/* Small writes, each a record of its own with its block in it. */
static void fill_then(struct engine *e)
{
	struct handle *disk = engine_open(e, "disk");

	assert_int_equal(engine_write_blk(e, disk, 3, 0x53), 0);
	assert_int_equal(engine_fsync(e, disk), 0);
	snapshot(e, "disk@v2");
	assert_int_equal(engine_zero(e, disk, 0, BLK_BYTES, false), 0);
	assert_int_equal(engine_fsync(e, disk), 0);
	(void)object_close(disk);
}

static void fill_later(struct engine *e)
{
	struct handle *copy = engine_open(e, "copy");
	struct handle *late;
	struct result res = {0};

	object_rename(e->objs, "nothing", "other", false, engine_done_cb, &res);
	must_wait(e, &res);
	assert_int_equal(engine_resize(e, copy, 16 * BLK_BYTES + 10, true), 0);
	assert_int_equal(engine_fsync(e, copy), 0);
	late = engine_create_open(e, "late", 0);
	assert_int_equal(engine_write_blk(e, late, 1, 0x66), 0);
	assert_int_equal(engine_fsync(e, late), 0);
	(void)object_close(late);
	(void)object_close(copy);
}

/* A block for which there was a hole, and one that is written anew each time. */
static void fill_again(struct engine *e, unsigned int nth)
{
	struct handle *disk = engine_open(e, "disk");

	assert_int_equal(engine_write_blk(e, disk, 12 + nth, (uint8_t)(0x80 + nth)), 0);
	assert_int_equal(engine_fsync(e, disk), 0);
	assert_int_equal(engine_write_blk(e, disk, 10, (uint8_t)(0x90 + nth)), 0);
	assert_int_equal(engine_fsync(e, disk), 0);
	(void)object_close(disk);
}

/* ---- stores ---------------------------------------------------------------------------------- */

/* Straight in the map, so that no reaper is there to take the tree apart. */
static void remove_gone(struct map *map)
{
	struct map_freed freed = {0};
	struct map_view *view;
	struct map_tail tail;
	struct map_txn *txn;
	struct map_obj obj;

	thread_set_role(THREAD_MAP);
	assert_int_equal(map_view_begin(map, &view), 0);
	assert_int_equal(map_get_tail(view, &tail), 0);
	map_view_end(view);
	assert_int_equal(map_txn_begin(map, &txn), 0);
	assert_int_equal(map_txn_obj_by_name(txn, "gone", &obj), 0);
	assert_int_equal(map_txn_remove(txn, obj.id), 0);
	assert_int_equal(map_txn_commit(txn, &freed), 0);
	free(freed.ranges);
	assert_int_equal(map_cut(map, tail), 0);
	assert_int_equal(map_fold(map), 0);
	thread_set_role(THREAD_LOOP);
}

static void close_store(const struct engine *e, bool remove)
{
	struct store_config config = {.dir = e->dir};
	char why[512];
	struct store store;

	assert_int_equal(store_open(&config, &store, why, sizeof(why)), 0);
	if (remove)
		remove_gone(store.map);
	assert_int_equal(recover_close(store.map, store.dev), 0);
	store_close(&store);
}

static void stop_clean(struct engine *e, bool remove)
{
	engine_flush(e);
	engine_stop(e);
	close_store(e, remove);
}

static void store_init(struct engine *e, const char *dir)
{
	struct store_config config = {.dir = e->dir, .size_bytes = STORE_BYTES};
	char why[512];

	*e = (struct engine){
	    .cache_bytes = 16 * MIB, .writeback_ms = ENGINE_NO_TIMER, .nworkers = 1};
	(void)snprintf(e->dir, sizeof(e->dir), "%s/made", dir);
	(void)snprintf(e->map_path, sizeof(e->map_path), "%s/map", e->dir);
	(void)snprintf(e->dev_path, sizeof(e->dev_path), "%s/data", e->dir);
	MUST(store_create(&config, why, sizeof(why)) == 0, "%s", why);
}

static void store_fini(struct engine *e)
{
	static const char *const files[] = {"map", "map-lock", "data", "lock"};
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", e->dir, files[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(e->dir), 0);
}

void made_init(struct made *made, const char *dir)
{
	struct engine e;

	*made = (struct made){0};
	store_init(&e, dir);
	engine_start(&e);
	fill_first(&e);
	stop_clean(&e, true);
	image_take(&made->images[MADE_CLOSED], e.dir);
	engine_start(&e);
	fill_then(&e);
	image_take(&made->images[MADE_EARLIER], e.dir);
	fill_later(&e);
	engine_stop(&e);
	image_take(&made->images[MADE_CRASHED], e.dir);
	engine_start(&e);
	fill_again(&e, 0);
	engine_flush(&e);
	image_take(&made->images[MADE_FOLDED], e.dir);
	for (unsigned int nth = 1; nth < 3; nth++) {
		fill_again(&e, nth);
		engine_flush(&e);
	}
	image_take(&made->images[MADE_ONCE_MORE], e.dir);
	fill_again(&e, 3);
	image_take(&made->images[MADE_BEHIND], e.dir);
	stop_clean(&e, false);
	image_take(&made->images[MADE_LATER], e.dir);
	store_fini(&e);
	store_init(&e, dir);
	engine_start(&e);
	fill_first(&e);
	stop_clean(&e, true);
	image_take(&made->other, e.dir);
	store_fini(&e);
}

void made_fini(struct made *made)
{
	for (int m = 0; m < MADE_NMOMENTS; m++)
		image_fini(&made->images[m]);
	image_fini(&made->other);
}
