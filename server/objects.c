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
#include "common/size.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_promise.h"
#include "server/object_table.h"
#include "server/object_walk.h"

#define IDLE_OBJECTS_MAX  4096u
#define TIMER_MS_MIN	  20u
#define PREALLOC_REST	  4u /* of the cache, for what is not pages */
#define HOME_PART	  8u /* of the cache, for blocks that are in the journal only */
#define CROWD_REST	  4u /* of the cache, for payloads that have been let in */
#define MIB		  (UINT64_C(1) << 20)
#define CHECKPOINT_AGE_MS 5000u

/* Space or memory may have become free. */
static LOOP_FN void objects_progress(struct objects *objs)
{
	cache_shrink(objs->cache);
	epoch_reserve_failed(objs);
	object_retry_parked(objs);
	objects_check_room(objs);
}

static LOOP_FN void objects_space(void *ctx)
{
	objects_progress(ctx);
}

static LOOP_FN void objects_reuse(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct objects *objs = ctx;

	cache_freed(objs->cache, blk, nblks);
}

static LOOP_FN void objects_unmapped(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct objects *objs = ctx;

	cache_unmapped(objs->cache, blk, nblks);
}

/* Blocks that nothing refers to any more: they may be used again after the next checkpoint. */
static LOOP_FN void objects_freed(void *ctx, const struct map_freed *freed)
{
	struct objects *objs = ctx;

	if (!objs->checkpoint) /* it could not be made: this is the end already */
		return;
	checkpoint_freed(objs->checkpoint, freed);
	if (!TAILQ_EMPTY(&objs->parked))
		objects_progress(objs); /* perhaps there was nothing to wait for */
}

uint64_t objects_map_bytes(uint64_t cache_bytes)
{
	return size_within(cache_bytes / 8, 32 * MIB, 128 * MIB);
}

/*
 * What is staged takes its part of the cache's limit.  Pages keep the memory that they once had, so what it and
 * the pages of folds take in busy times is left to them in others, too.
 */
static void objects_count_staged(struct objects *objs)
{
	uint64_t left = objects_map_bytes(objs->config.cache_bytes);
	struct map_staged staged;

	map_get_staged(objs->config.map, &staged);
	cache_set_beside(objs->cache, staged.bytes > left ? staged.bytes : left);
}

static LOOP_FN void objects_committed(void *ctx, bool changed, bool urgent)
{
	struct objects *objs = ctx;

	objects_count_staged(objs);
	if (objs->checkpoint)
		checkpoint_progress(objs->checkpoint, changed, urgent);
}

/* What a dirty block was placed in: no map has named it, so it is free at once. */
static LOOP_FN void objects_unplaced(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct objects *objs = ctx;

	writeback_give_back(&objs->wb, blk, nblks);
}

/* A checkpoint has passed the freeing of these. */
static LOOP_FN void objects_release(void *ctx, const struct map_freed *freed)
{
	struct objects *objs = ctx;

	writeback_release(&objs->wb, freed);
	objects_progress(objs);
}

static LOOP_FN void objects_latched(void *ctx)
{
	struct objects *objs = ctx;

	if (objs->latched) /* what has met it and the commit queue tell of it, each on its own */
		return;
	objs->latched = true;
	/* what is not in the map as it should be must not be folded, and the journal has it */
	if (objs->checkpoint)
		checkpoint_stop(objs->checkpoint, -ERR_LATCHED);
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
	objects_count_staged(objs);
	commit_tick(objs->commit);
	checkpoint_tick(objs->checkpoint);
	prepare_tick(objs->prepare);
	object_expire(objs);
	object_trim_idle(objs, IDLE_OBJECTS_MAX);
	objects_progress(objs);
}

/* ---- blocks whose data is in the journal only ------------------------------------------------ */

static LOOP_FN void objects_homed(void *ctx, const struct home_blk *hb)
{
	struct objects *objs = ctx;

	cache_home(objs->cache, pblk(hb->blk), 1);
	page_put(hb->owner);
}

/* Who looked it up before it went may still find it: it stays pinned until it is used again. */
static LOOP_FN void objects_home_dropped(void *ctx, const struct home_blk *hb)
{
	(void)ctx;
	page_put(hb->owner);
}

static LOOP_FN void objects_inline(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct objects *objs = ctx;

	cache_away(objs->cache, blk, nblks);
}

static int objects_keep_page(struct objects *objs, pblk_t blk, struct page *page)
{
	int err = checkpoint_add_home(objs->checkpoint, blk, page->data, page);

	if (err == 0)
		page_get(page);
	return err;
}

static LOOP_FN void objects_keep_home(struct objects *objs, const struct writeback_batch *batch)
{
	const struct change *change = &batch->commit.change;
	uint32_t at = 0;

	for (uint32_t e = 0; e < change->nextents; e++) {
		const struct change_extent *ext = &change->extents[e];

		for (uint32_t i = 0; i < ext->nblks; i++, at++) {
			if (objects_keep_page(objs, pblk(ext->dst.n + i), batch->blks[at].page) ==
			    0)
				continue;
			/* the next checkpoint would lose it: the journal still has it */
			log_event(LOG_ERROR, "out-of-memory", "in=home");
			commit_refuse(objs->commit);
			objects_latched(objs);
		}
	}
}

/* ---- starting -------------------------------------------------------------------------------- */

static int objects_load_space(struct objects *objs)
{
	struct map_space space;
	struct map_view *view;
	int err;

	objs->total_nblks = map_geometry(objs->config.map)->dev_nblks - 1 -
			    map_geometry(objs->config.map)->journal_nblks;
	objs->alloc = alloc_new();
	if (!objs->alloc)
		return -ERR_NOMEM;
	err = map_view_begin(objs->config.map, &view);
	if (err < 0)
		return err;
	err = map_next_object(view, &objs->next_object);
	if (err == 0)
		err = map_get_space(view, &space);
	map_view_end(view);
	if (err < 0)
		return err;
	promise_begin(objs, &space);
	return freeload_new(objs->config.map, objs->alloc, &objs->freeload);
}

static int objects_start_cache(struct objects *objs)
{
	size_t limit = objs->config.cache_bytes >> BLK_SHIFT;

	objs->dirty_limit = limit / 2;
	objs->crowd_limit = limit - limit / CROWD_REST;
	objs->pages = page_pool_new();
	if (!objs->pages)
		return -ERR_NOMEM;
	if (objs->config.cache_prealloc) {
		int err = page_pool_prealloc(objs->pages, limit - limit / PREALLOC_REST);

		if (err < 0)
			return err;
	}
	objs->cache = cache_new(objs->pages, &objs->fetcher, limit, objs->config.dev->nblks);
	if (!objs->cache)
		return -ERR_NOMEM;
	cache_on_unplaced(objs->cache, objects_unplaced, objs);
	objects_count_staged(objs);
	return 0;
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

static struct checkpoint *objects_new_checkpoint(struct objects *objs)
{
	struct checkpoint_config config = {
	    .loop = objs->config.loop,
	    .map = objs->config.map,
	    .dev = objs->config.dev,
	    .pool = objs->pool,
	    .fold_pool = objs->fold_pool,
	    .commit = objs->commit,
	    .journal_nblks = recover_region(objs->config.map).nblks,
	    .home_max = (objs->config.cache_bytes >> BLK_SHIFT) / HOME_PART,
	    .staged_max = size_within(objs->config.cache_bytes / 8, 32 * MIB, 64 * MIB),
	    .age_ms = CHECKPOINT_AGE_MS,
	    .homed = objects_homed,
	    .dropped = objects_home_dropped,
	    .unmapped = objects_unmapped,
	    .release = objects_release,
	    .latched = objects_latched,
	    .ctx = objs,
	};

	return checkpoint_new(&config);
}

/* Is there nothing that the device or those who wait for space would be kept from? */
static LOOP_FN bool objects_idle(void *ctx)
{
	const struct objects *objs = ctx;

	return TAILQ_EMPTY(&objs->parked) && TAILQ_EMPTY(&objs->fetcher.order) &&
	       objs->nplacing == 0 && !epoch_any_moving(objs) && !objs->latched;
}

static int objects_start_prepare(struct objects *objs)
{
	struct prepare_config config = {
	    .alloc = objs->alloc,
	    .dev = objs->config.dev,
	    .pool = objs->pool,
	    .idle = objects_idle,
	    .space = objects_space,
	    .ctx = objs,
	};

	objs->prepare = prepare_new(&config);
	return objs->prepare ? 0 : -ERR_NOMEM;
}

static int objects_start_threads(struct objects *objs)
{
	struct commit_config commit = {
	    .loop = objs->config.loop,
	    .map = objs->config.map,
	    .dev = objs->config.dev,
	    .region = recover_region(objs->config.map),
	    .journal_key = objs->config.journal_key,
	    .head = objs->config.journal_head,
	    .freed = objects_freed,
	    .progress = objects_committed,
	    .latched = objects_latched,
	    .ctx = objs,
	};
	int err;

	objs->pool = worker_pool_new(objs->config.loop, objs->config.nworkers);
	objs->fold_pool = worker_pool_new(objs->config.loop, 1);
	if (!objs->pool || !objs->fold_pool)
		return -ERR_NOMEM;
	fetcher_init(&objs->fetcher, objs->config.map, objs->config.dev, objs->pool);
	objs->commit = commit_new(&commit);
	if (!objs->commit)
		return -ERR_NOMEM;
	objs->checkpoint = objects_new_checkpoint(objs);
	if (!objs->checkpoint)
		return -ERR_NOMEM;
	objs->wb = (struct writeback){
	    .loop = objs->config.loop,
	    .alloc = objs->alloc,
	    .dev = objs->config.dev,
	    .pool = objs->pool,
	    .fetcher = &objs->fetcher,
	    .commit = objs->commit,
	    .on_inline = objects_inline,
	    .on_reuse = objects_reuse,
	    .on_space = objects_space,
	    .ctx = objs,
	};
	err = objects_start_prepare(objs);
	if (err == 0)
		freeload_start(objs->freeload, objs->pool, objects_space, objs);
	return err;
}

int objects_new(const struct objects_config *config, struct objects **out)
{
	struct objects *objs = calloc(1, sizeof(*objs));
	int err;

	if (!objs)
		return -ERR_NOMEM;
	objs->config = *config;
	objs->progress = objects_progress;
	objs->keep_home = objects_keep_home;
	TAILQ_INIT(&objs->busy);
	TAILQ_INIT(&objs->sets);
	TAILQ_INIT(&objs->idle);
	TAILQ_INIT(&objs->parked);
	TAILQ_INIT(&objs->claims);
	TAILQ_INIT(&objs->walks);
	TAILQ_INIT(&objs->unshares);
	TAILQ_INIT(&objs->verify.queue);
	TAILQ_INIT(&objs->verify.held);
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

/* ---- waiting for the map ----------------------------------------------------------------------- */

static LOOP_FN void settle_folded(struct checkpoint_waiter *waiter, int err)
{
	struct objects_settle *settle = CONTAINER_OF(waiter, struct objects_settle, waiter);

	settle->ready(settle, err);
}

static LOOP_FN void settle_applied(struct commit_req *req)
{
	struct objects_settle *settle = CONTAINER_OF(req, struct objects_settle, mark);

	if (req->err < 0) {
		settle->ready(settle, req->err);
		return;
	}
	settle->waiter.ready = settle_folded;
	checkpoint_wait(settle->objs->checkpoint, &settle->waiter);
}

bool objects_may_grow(const struct objects *objs)
{
	uint64_t used;
	uint64_t total;

	map_meta_usage(objs->config.map, &used, &total);
	return used <= total - total / META_RESERVE_PART;
}

void objects_settle(struct objects *objs, struct objects_settle *settle)
{
	ASSERT_LOOP();
	settle->objs = objs;
	settle->mark = (struct commit_req){.kind = COMMIT_MARK, .done = settle_applied};
	commit_submit(objs->commit, &settle->mark);
}

/* ---- stopping -------------------------------------------------------------------------------- */

struct flush_op {
	struct objects *objs;
	unsigned int pending;
	int err;
	struct objects_settle settle;
	object_cb cb;
	void *ctx;
};

struct flush_wait {
	struct epoch_waiter waiter;
	struct flush_op *op;
	struct object *obj; /* referenced: it is not removed meanwhile */
};

static LOOP_FN void flush_settled(struct objects_settle *settle, int err)
{
	struct flush_op *op = CONTAINER_OF(settle, struct flush_op, settle);

	op->cb(op->ctx, op->err < 0 ? op->err : err);
	free(op);
}

static void flush_one_done(struct flush_op *op, int err)
{
	if (err < 0 && op->err == 0)
		op->err = err;
	if (--op->pending > 0)
		return;
	op->settle.ready = flush_settled;
	objects_settle(op->objs, &op->settle);
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
	objs->on_latch = NULL; /* it ends in any case */
	objs->wb.stopping = true;
	objs->fetcher.stopping = true;
	object_walk_stop(objs);
	object_verify_stop(objs);
	if (objs->checkpoint)
		checkpoint_stop(objs->checkpoint, -ERR_SHUTDOWN);
	if (objs->prepare)
		prepare_stop(objs->prepare);
	if (objs->freeload)
		freeload_stop(objs->freeload);
	/* who may still submit to the other is joined first */
	worker_pool_free(objs->pool);
	worker_pool_free(objs->fold_pool);
	loop_finish(objs->config.loop);
	commit_free(objs->commit);
	checkpoint_free(objs->checkpoint);
	prepare_free(objs->prepare);
	freeload_free(objs->freeload);
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

void objects_cache_stats(const struct objects *objs, struct cache_stats *stats)
{
	cache_get_stats(objs->cache, stats);
}

void objects_make_room(struct objects *objs)
{
	cache_shrink(objs->cache);
}

bool objects_crowded(struct objects *objs)
{
	ASSERT_LOOP();
	if (cache_held_pages(objs->cache) <= objs->crowd_limit)
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
