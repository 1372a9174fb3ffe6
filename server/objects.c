/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * objects.c: the engine as a whole: starting, stopping, the timer, and what wakes whom.
 */
#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_table.h"

#define IDLE_OBJECTS_MAX 4096u
#define TIMER_MS_MIN	 20u

/* Space or memory may have become free. */
static LOOP_FN void objects_progress(struct objects *objs)
{
	cache_shrink(objs->cache);
	object_retry_parked(objs);
	objects_check_room(objs);
}

static LOOP_FN void objects_space(void *ctx)
{
	objects_progress(ctx);
}

static LOOP_FN void objects_freed(void *ctx, const struct map_freed *freed)
{
	struct objects *objs = ctx;

	writeback_release(&objs->wb, freed);
	if (!TAILQ_EMPTY(&objs->parked))
		objects_progress(objs); /* perhaps there was nothing to wait for */
}

static LOOP_FN void objects_latched(void *ctx)
{
	struct objects *objs = ctx;

	objs->latched = true;
	object_retry_parked(objs);
	if (objs->on_latch)
		objs->on_latch(objs->latch_ctx);
}

/* Closes open epochs that are old enough, writes failed ones again, frees idle objects. */
static LOOP_FN void objects_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct objects *objs = ctx;
	uint64_t now = clock_now_ms();
	struct object *obj;
	struct object *next;

	(void)fd;
	(void)what;
	TAILQ_FOREACH_SAFE (obj, &objs->busy, busy_link, next) {
		epoch_retry_due(obj);
		if (epoch_open_any(obj) &&
		    now - obj->open.since_ms >= objs->config.writeback_ms / 2)
			epoch_close(obj);
	}
	object_trim_idle(objs, IDLE_OBJECTS_MAX);
	objects_progress(objs);
}

/* ---- starting -------------------------------------------------------------------------------- */

static int objects_load_free(void *ctx, pblk_t blk, uint64_t nblks)
{
	return alloc_add(ctx, blk, nblks);
}

static int objects_load_space(struct objects *objs)
{
	struct map_view *view;
	int err;

	objs->total_nblks = map_geometry(objs->config.map)->dev_nblks - 1;
	objs->alloc = alloc_new();
	if (!objs->alloc)
		return -ERR_NOMEM;
	err = map_view_begin(objs->config.map, &view);
	if (err < 0)
		return err;
	err = map_each_free(view, objects_load_free, objs->alloc);
	map_view_end(view);
	return err;
}

static int objects_start_cache(struct objects *objs)
{
	size_t limit = objs->config.cache_bytes >> BLK_SHIFT;

	objs->dirty_limit = limit / 2;
	objs->crowd_limit = limit + limit / 4;
	objs->pages = page_pool_new();
	if (!objs->pages)
		return -ERR_NOMEM;
	objs->cache = cache_new(objs->pages, &objs->fetcher, limit);
	return objs->cache ? 0 : -ERR_NOMEM;
}

static int objects_start_timer(struct objects *objs)
{
	unsigned int ms = objs->config.writeback_ms / 2;
	struct timeval tv;

	if (ms < TIMER_MS_MIN)
		ms = TIMER_MS_MIN;
	tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (int)(ms % 1000) * 1000};
	objs->timer = event_new(loop_base(objs->config.loop), -1, EV_PERSIST, objects_tick, objs);
	return objs->timer && event_add(objs->timer, &tv) == 0 ? 0 : -ERR_NOMEM;
}

static int objects_start_threads(struct objects *objs)
{
	struct commit_config commit = {
	    .loop = objs->config.loop,
	    .map = objs->config.map,
	    .dev = objs->config.dev,
	    .freed = objects_freed,
	    .latched = objects_latched,
	    .ctx = objs,
	};

	objs->pool = worker_pool_new(objs->config.loop, objs->config.nworkers);
	if (!objs->pool)
		return -ERR_NOMEM;
	fetcher_init(&objs->fetcher, objs->config.map, objs->config.dev, objs->pool);
	objs->commit = commit_new(&commit);
	if (!objs->commit)
		return -ERR_NOMEM;
	objs->wb = (struct writeback){
	    .loop = objs->config.loop,
	    .alloc = objs->alloc,
	    .dev = objs->config.dev,
	    .pool = objs->pool,
	    .fetcher = &objs->fetcher,
	    .commit = objs->commit,
	    .on_space = objects_space,
	    .ctx = objs,
	};
	return 0;
}

int objects_new(const struct objects_config *config, struct objects **out)
{
	struct objects *objs = calloc(1, sizeof(*objs));
	int err;

	if (!objs)
		return -ERR_NOMEM;
	objs->config = *config;
	objs->progress = objects_progress;
	TAILQ_INIT(&objs->busy);
	TAILQ_INIT(&objs->idle);
	TAILQ_INIT(&objs->parked);
	err = objects_load_space(objs);
	if (err == 0)
		err = objects_start_cache(objs);
	if (err == 0)
		err = objects_start_timer(objs);
	if (err == 0)
		err = objects_start_threads(objs);
	if (err < 0) {
		objects_free(objs);
		return err;
	}
	*out = objs;
	return 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

struct flush_op {
	struct objects *objs;
	unsigned int pending;
	int err;
	object_cb cb;
	void *ctx;
};

struct flush_wait {
	struct epoch_waiter waiter;
	struct flush_op *op;
	struct object *obj; /* referenced: it is not removed meanwhile */
};

static void flush_one_done(struct flush_op *op, int err)
{
	if (err < 0 && op->err == 0)
		op->err = err;
	if (--op->pending > 0)
		return;
	op->cb(op->ctx, op->err);
	free(op);
}

static LOOP_FN void flush_ready(struct epoch_waiter *waiter, int err)
{
	struct flush_wait *wait = CONTAINER_OF(waiter, struct flush_wait, waiter);
	struct flush_op *op = wait->op;

	object_put(wait->obj);
	free(wait);
	flush_one_done(op, err);
}

void objects_flush(struct objects *objs, object_cb cb, void *ctx)
{
	struct flush_op *op = calloc(1, sizeof(*op));
	struct object *obj;
	struct object *next;

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM);
		return;
	}
	*op = (struct flush_op){.objs = objs, .pending = 1, .cb = cb, .ctx = ctx};
	TAILQ_FOREACH_SAFE (obj, &objs->busy, busy_link, next) {
		struct flush_wait *wait;

		if (obj->removing)
			continue; /* its content is not wanted any more */
		wait = calloc(1, sizeof(*wait));
		op->pending++;
		if (!wait) {
			flush_one_done(op, -ERR_NOMEM);
			continue;
		}
		wait->waiter.ready = flush_ready;
		wait->op = op;
		wait->obj = obj;
		object_get(obj);
		epoch_sync(obj, &wait->waiter);
	}
	flush_one_done(op, 0);
}

/* Forgets what could not be written, and every object. */
static void objects_unload_all(struct objects *objs)
{
	struct object *obj;

	while ((obj = TAILQ_FIRST(&objs->busy))) {
		object_get(obj);
		epoch_discard(obj);
		assert(!obj->is_busy);
		object_put(obj);
	}
	object_trim_idle(objs, 0);
	assert(!objs->table);
}

void objects_free(struct objects *objs)
{
	if (!objs)
		return;
	if (objs->timer)
		event_free(objs->timer);
	objs->wb.stopping = true;
	/* who may still submit to the other is joined first */
	worker_pool_free(objs->pool);
	loop_finish(objs->config.loop);
	commit_free(objs->commit);
	if (objs->table)
		objects_unload_all(objs);
	cache_free(objs->cache);
	page_pool_free(objs->pages);
	alloc_free(objs->alloc);
	free(objs);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct page_pool *objects_pages(struct objects *objs)
{
	return objs->pages;
}

bool objects_crowded(struct objects *objs)
{
	ASSERT_LOOP();
	if (page_pool_used(objs->pages) <= objs->crowd_limit)
		return false;
	objs->was_crowded = true; /* who was told waits for on_room */
	return true;
}

void objects_check_room(struct objects *objs)
{
	if (!objs->was_crowded || objects_crowded(objs))
		return;
	objs->was_crowded = false;
	if (objs->on_room)
		objs->on_room(objs->room_ctx);
}

void objects_on_room(struct objects *objs, void (*fn)(void *ctx), void *ctx)
{
	objs->on_room = fn;
	objs->room_ctx = ctx;
}

void objects_on_latch(struct objects *objs, void (*fn)(void *ctx), void *ctx)
{
	objs->on_latch = fn;
	objs->latch_ctx = ctx;
}

struct statfs_op {
	struct worker_job job;
	struct objects *objs;
	struct object_space space;
	int err;
	object_space_cb cb;
	void *ctx;
};

static WORKER_FN void statfs_run(struct worker_job *job)
{
	struct statfs_op *op = CONTAINER_OF(job, struct statfs_op, job);
	struct map_view *view;

	ASSERT_WORKER();
	op->err = map_view_begin(op->objs->config.map, &view);
	if (op->err < 0)
		return;
	op->err = map_get_space(view, &op->space.map);
	map_view_end(view);
}

static LOOP_FN void statfs_done(struct worker_job *job)
{
	struct statfs_op *op = CONTAINER_OF(job, struct statfs_op, job);
	const struct alloc *al = op->objs->alloc;

	op->space.total_nblks = op->objs->total_nblks;
	op->space.reserved_nblks = alloc_reserved_nblks(al);
	op->space.free_nblks = alloc_free_nblks(al) - op->space.reserved_nblks;
	op->cb(op->ctx, op->err, &op->space);
	free(op);
}

void object_statfs(struct objects *objs, object_space_cb cb, void *ctx)
{
	struct statfs_op *op = calloc(1, sizeof(*op));

	ASSERT_LOOP();
	if (!op) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op->objs = objs;
	op->cb = cb;
	op->ctx = ctx;
	op->job.run = statfs_run;
	op->job.done = statfs_done;
	worker_submit(objs->pool, &op->job);
}
