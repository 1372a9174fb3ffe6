/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib/rig.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/figures.h"
#include "common/crc32c.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/commit.h"
#include "server/loop.h"

#define RIG_WORKERS 8

/* ---- the store ------------------------------------------------------------------------------- */

static uint64_t journal_nblks(const struct rig *rig)
{
	return rig->config.journal_bytes >> BLK_SHIFT;
}

void rig_make(struct rig *rig, const struct rig_config *config)
{
	struct map_geometry geo = {.journal_nblks = config->journal_bytes >> BLK_SHIFT,
				   .meta_bytes = config->meta_bytes};
	const char *parent = getenv("BENCH_DIR");
	uint64_t file_nblks = 1 + geo.journal_nblks;
	int err;

	*rig = (struct rig){.config = *config};
	geo.dev_nblks = file_nblks + (config->data_bytes >> BLK_SHIFT);
	if (config->real_data)
		file_nblks = geo.dev_nblks;
	(void)snprintf(rig->dir, sizeof(rig->dir), "%s/cowd-bench-XXXXXX",
		       parent ? parent : "/var/tmp");
	MUST(mkdtemp(rig->dir), "%s", rig->dir);
	(void)snprintf(rig->map_path, sizeof(rig->map_path), "%s/map", rig->dir);
	(void)snprintf(rig->dev_path, sizeof(rig->dev_path), "%s/data", rig->dir);
	err = map_create(rig->map_path, &geo);
	MUST(err == 0, "map: %s", err_text(err));
	err = dev_file_create(rig->dev_path, file_nblks << BLK_SHIFT, geo.journal_nblks, geo.uuid);
	MUST(err == 0, "data: %s", err_text(err));
}

void rig_remove(struct rig *rig)
{
	char lock[sizeof(rig->map_path) + 8];

	(void)snprintf(lock, sizeof(lock), "%s-lock", rig->map_path);
	(void)unlink(lock);
	MUST(unlink(rig->map_path) == 0 && unlink(rig->dev_path) == 0 && rmdir(rig->dir) == 0, "%s",
	     rig->dir);
}

void rig_open(struct rig *rig)
{
	const struct map_geometry *geo;
	struct dev *dev;
	int err = map_open(rig->map_path, &rig->map);

	MUST(err == 0, "map: %s", err_text(err));
	geo = map_geometry(rig->map);
	err = dev_file_open(rig->dev_path, geo->uuid, &dev);
	MUST(err == 0, "data: %s", err_text(err));
	rig->dev = region_dev_new(dev, geo->dev_nblks, journal_nblks(rig));
}

void rig_close(struct rig *rig)
{
	dev_close(&rig->dev->dev);
	map_close(rig->map);
	rig->map = NULL;
}

void rig_recover(struct rig *rig)
{
	int err = recover_run(rig->map, &rig->dev->dev, &rig->recovered);

	MUST(err == 0, "recovery: %s", err_text(err));
}

void rig_load(struct rig *rig)
{
	struct objects_config config = {.map = rig->map,
					.dev = &rig->dev->dev,
					.journal_key = rig->recovered.journal_key,
					.journal_head = rig->recovered.head,
					.cache_bytes = rig->config.cache_bytes,
					.nworkers = RIG_WORKERS,
					.writeback_ms = rig->config.writeback_ms};
	int err;

	thread_set_role(THREAD_LOOP);
	rig->loop = loop_new();
	MUST(rig->loop, "loop");
	config.loop = rig->loop;
	err = objects_new(&config, &rig->objs);
	MUST(err == 0, "engine: %s", err_text(err));
}

void rig_start(struct rig *rig)
{
	rig_open(rig);
	rig_recover(rig);
	rig_load(rig);
}

void rig_stop(struct rig *rig)
{
	objects_free(rig->objs);
	loop_free(rig->loop);
	MUST(recover_close(rig->map, &rig->dev->dev) == 0, "closing");
	rig_close(rig);
}

/* ---- the engine ------------------------------------------------------------------------------ */

void rig_done_cb(void *ctx, int err)
{
	struct rig_result *res = ctx;

	res->err = err;
	res->done = true;
}

void rig_info_cb(void *ctx, int err, const struct map_obj *info)
{
	(void)info;
	rig_done_cb(ctx, err);
}

static void rig_open_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct rig_result *res = ctx;

	(void)info;
	res->handle = handle;
	rig_done_cb(ctx, err);
}

static void rig_space_cb(void *ctx, int err, const struct object_space *space)
{
	struct rig_result *res = ctx;

	if (err == 0)
		res->space = *space;
	rig_done_cb(ctx, err);
}

void rig_turn(struct rig *rig)
{
	MUST(event_base_loop(loop_base(rig->loop), EVLOOP_ONCE) == 0, "event loop");
}

void rig_wait(struct rig *rig, struct rig_result *res)
{
	while (!res->done)
		rig_turn(rig);
	MUST(res->err == 0, "%s", err_text(res->err));
}

void rig_create(struct rig *rig, const char *name, uint64_t size_bytes)
{
	struct rig_result res = {0};

	object_create(rig->objs, name, size_bytes, NULL, rig_info_cb, &res);
	rig_wait(rig, &res);
}

void rig_clone(struct rig *rig, const char *src, const char *dst)
{
	struct rig_result res = {0};

	object_clone(rig->objs, src, dst, NULL, rig_info_cb, &res);
	rig_wait(rig, &res);
}

void rig_snapshot(struct rig *rig, const char *spec)
{
	struct rig_result res = {0};

	object_snapshot(rig->objs, spec, NULL, rig_info_cb, &res);
	rig_wait(rig, &res);
}

struct handle *rig_open_object_as(struct rig *rig, const char *name, unsigned int flags)
{
	struct rig_result res = {0};

	object_open(rig->objs, name, flags, "bench", rig_open_cb, &res);
	rig_wait(rig, &res);
	return res.handle;
}

struct handle *rig_open_object(struct rig *rig, const char *name)
{
	return rig_open_object_as(rig, name, 0);
}

void rig_fsync(struct rig *rig, struct handle *handle)
{
	struct rig_result res = {0};

	object_fsync(handle, rig_done_cb, &res);
	rig_wait(rig, &res);
}

void rig_flush(struct rig *rig)
{
	struct rig_result res = {0};

	objects_flush(rig->objs, rig_done_cb, &res);
	rig_wait(rig, &res);
}

uint64_t rig_meta_bytes(struct rig *rig)
{
	struct rig_result res = {0};

	object_statfs(rig->objs, rig_space_cb, &res);
	rig_wait(rig, &res);
	return res.space.map.meta_used_bytes;
}

struct pagevec rig_zeros(struct rig *rig, uint64_t off, uint32_t nblks)
{
	struct pagevec pv;

	MUST(off % BLK_BYTES == 0, "offset");
	MUST(pagevec_init(&pv, 0, (uint64_t)nblks << BLK_SHIFT) == 0, "memory");
	for (uint32_t i = 0; i < nblks; i++) {
		pv.pages[i] = page_new(objects_pages(rig->objs));
		MUST(pv.pages[i], "memory");
		memset(pv.pages[i]->data, 0, BLK_BYTES);
	}
	return pv;
}

/* ---- many operations ------------------------------------------------------------------------- */

struct runner {
	struct rig *rig;
	const struct rig_run *run;
	uint64_t begun;
	uint64_t ended;
	unsigned int under_way;
};

static void runner_ended(struct runner *r, int err)
{
	MUST(err == 0, "%s", err_text(err));
	r->ended++;
	r->under_way--;
}

static void runner_synced(void *ctx, int err)
{
	runner_ended(ctx, err);
}

static void runner_written(void *ctx, int err)
{
	struct runner *r = ctx;

	if (err == 0 && r->run->fsync_each)
		object_fsync(r->run->handle, runner_synced, r);
	else
		runner_ended(r, err);
}

static void runner_read(void *ctx, int err, struct pagevec *pv)
{
	(void)pv;
	runner_ended(ctx, err);
}

static void runner_begin(struct runner *r)
{
	const struct rig_run *run = r->run;
	uint64_t off = run->at(run->ctx, r->begun++) << BLK_SHIFT;

	r->under_way++;
	if (run->write) {
		struct pagevec pv = rig_zeros(r->rig, off, run->nblks);

		object_write(run->handle, off, &pv, runner_written, r);
	} else {
		object_read(run->handle, off, (uint64_t)run->nblks << BLK_SHIFT, runner_read, r);
	}
}

void rig_run(struct rig *rig, const struct rig_run *run)
{
	struct runner r = {.rig = rig, .run = run};

	while (r.ended < run->n) {
		while (r.begun < run->n && r.under_way < run->depth)
			runner_begin(&r);
		if (r.under_way > 0)
			rig_turn(rig);
	}
}

/* ---- filling the map ------------------------------------------------------------------------- */

uint32_t rig_zero_csum(void)
{
	static const uint8_t zeros[BLK_BYTES];

	return crc32c(0, zeros, BLK_BYTES);
}

static void fill_txn_begin(struct rig_fill *fill)
{
	int err;

	if (fill->txn)
		return;
	err = map_txn_begin(fill->rig->map, &fill->txn);
	MUST(err == 0, "map: %s", err_text(err));
	fill->nblks = 0;
}

static void fill_fold(struct rig_fill *fill)
{
	int err = map_cut(fill->rig->map, fill->tail);

	if (err == 0)
		err = map_fold(fill->rig->map);
	MUST(err == 0, "fold: %s", err_text(err));
}

static void fill_txn_commit(struct rig_fill *fill)
{
	struct map_freed freed = {0};
	int err;

	if (!fill->txn)
		return;
	err = map_txn_commit(fill->txn, &freed);
	MUST(err == 0 && freed.n == 0, "map: %s", err_text(err));
	free(freed.ranges);
	fill->txn = NULL;
	if (map_must_fold(fill->rig->map))
		fill_fold(fill);
}

void rig_fill_begin(struct rig_fill *fill, struct rig *rig)
{
	struct map_view *view;
	int err = map_view_begin(rig->map, &view);

	MUST(err == 0, "map: %s", err_text(err));
	*fill = (struct rig_fill){.rig = rig, .next_dst = 1 + journal_nblks(rig)};
	err = map_get_tail(view, &fill->tail);
	if (err == 0)
		err = map_next_object(view, &fill->next_oid);
	map_view_end(view);
	MUST(err == 0, "map: %s", err_text(err));
	thread_set_role(THREAD_MAP);
}

uint64_t rig_fill_create(struct rig_fill *fill, const char *name, uint64_t size_bytes)
{
	struct map_new new = {
	    .oid = fill->next_oid++, .name = name, .size_bytes = size_bytes, .time_ns = 1};
	struct map_obj obj;
	int err;

	fill_txn_begin(fill);
	err = map_txn_create(fill->txn, &new, &obj);
	MUST(err == 0, "%s: %s", name, err_text(err));
	return obj.id;
}

void rig_fill_map(struct rig_fill *fill, uint64_t oid, uint64_t blk, uint64_t dst, uint32_t nblks)
{
	static uint32_t csums[COMMIT_MAX_BLKS];
	int err;

	MUST(nblks <= COMMIT_MAX_BLKS, "blocks");
	if (csums[0] == 0)
		for (size_t i = 0; i < ARRAY_LEN(csums); i++)
			csums[i] = rig_zero_csum();
	if (fill->nblks + nblks > COMMIT_MAX_BLKS)
		fill_txn_commit(fill);
	fill_txn_begin(fill);
	err = map_txn_remap(fill->txn, oid, lblk(blk), pblk(dst), nblks, csums);
	MUST(err == 0, "remap: %s", err_text(err));
	fill->nblks += nblks;
}

void rig_fill_end(struct rig_fill *fill)
{
	fill_txn_commit(fill);
	fill_fold(fill);
	thread_set_role(THREAD_LOOP);
}
