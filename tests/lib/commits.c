/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/commits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/era.h"

static void on_freed(void *ctx, const struct map_freed *freed)
{
	struct commits *fx = ctx;

	for (size_t i = 0; i < freed->n; i++) {
		for (uint64_t b = 0; b < freed->ranges[i].nblks; b++) {
			uint64_t blk = freed->ranges[i].blk.n + b;

			assert_true(blk > COMMITS_JOURNAL_NBLKS + ERA_NBLKS &&
				    blk < COMMITS_DEV_NBLKS);
			assert_false(fx->freed[blk]);
			fx->freed[blk] = true;
			fx->nfreed++;
		}
	}
	if (fx->checkpoint)
		checkpoint_freed(fx->checkpoint, freed);
}

static void on_progress(void *ctx, bool changed, bool urgent)
{
	struct commits *fx = ctx;

	fx->nurgent += urgent;
	if (fx->checkpoint)
		checkpoint_progress(fx->checkpoint, changed, urgent);
}

static void on_latched(void *ctx)
{
	struct commits *fx = ctx;

	fx->nlatched++;
	fx->answered_when_latched = fx->nanswered;
}

static bool is_idle(void *ctx)
{
	struct commits *fx = ctx;

	return !commit_busy(fx->commit) && !commit_reaping(fx->commit);
}

static int load_free(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct commits *fx = ctx;

	for (uint64_t b = 0; b < nblks; b++)
		fx->taken[blk.n + b] = false;
	return 0;
}

static void load_space(struct commits *fx)
{
	struct map_view *view;

	memset(fx->freed, 0, sizeof(fx->freed));
	memset(fx->unmapped, 0, sizeof(fx->unmapped));
	memset(fx->taken, 1, sizeof(fx->taken));
	assert_int_equal(map_view_begin(fx->ts->map, &view), 0);
	assert_int_equal(map_each_free(view, pblk(0), load_free, fx), 0);
	map_view_end(view);
}

int commits_setup_stopped(void **state)
{
	*state = commits_new(COMMITS_META_BYTES);
	return 0;
}

int commits_setup(void **state)
{
	*state = commits_new(COMMITS_META_BYTES);
	commits_start(*state);
	return 0;
}

int commits_teardown(void **state)
{
	commits_free(*state);
	return 0;
}

void commits_start(struct commits *fx)
{
	struct recover_result recovered;
	struct commit_config config = {.loop = fx->ts->loop,
				       .map = fx->ts->map,
				       .dev = &fx->ts->fdev->dev,
				       .region = fx->region,
				       .freed = on_freed,
				       .progress = on_progress,
				       .latched = on_latched,
				       .ctx = fx};

	assert_int_equal(recover_run(fx->ts->map, &fx->ts->fdev->dev, &recovered), 0);
	config.journal_key = recovered.journal_key;
	config.head = recovered.head;
	load_space(fx); /* before the reaper frees anything that is not folded */
	fx->commit = commit_new(&config);
	assert_non_null(fx->commit);
}

/* ---- with a checkpoint ----------------------------------------------------------------------- */

static void on_homed(void *ctx, const struct home_blk *hb)
{
	struct commits *fx = ctx;

	fx->nhomed++;
	free(hb->owner);
}

static void on_dropped(void *ctx, const struct home_blk *hb)
{
	struct commits *fx = ctx;

	fx->ndropped++;
	free(hb->owner);
}

static void on_unmapped(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct commits *fx = ctx;

	for (uint64_t at = blk.n; at < blk.n + nblks; at++) {
		assert_true(fx->freed[at]);
		assert_false(fx->unmapped[at]);
		fx->unmapped[at] = true;
	}
	fx->nunmapped += (unsigned int)nblks;
}

/* Called without blocks where a checkpoint has failed too: without power it will not be repeated. */
static void on_release(void *ctx, const struct map_freed *freed)
{
	struct commits *fx = ctx;

	for (size_t i = 0; i < freed->n; i++) {
		for (uint64_t b = 0; b < freed->ranges[i].nblks; b++) {
			uint64_t blk = freed->ranges[i].blk.n + b;

			assert_true(fx->freed[blk]);
			fx->freed[blk] = false;
			fx->unmapped[blk] = false;
			fx->taken[blk] = false;
		}
	}
	if (fake_dev_is_off(fx->ts->fdev))
		commit_set_stuck(fx->commit, true);
}

pblk_t commits_take(struct commits *fx, uint32_t nblks)
{
	uint32_t n = 0;
	uint64_t blk;

	for (blk = 1 + COMMITS_JOURNAL_NBLKS + ERA_NBLKS; n < nblks; blk++) {
		assert_true(blk < COMMITS_DEV_NBLKS);
		n = fx->taken[blk] ? 0 : n + 1;
	}
	memset(&fx->taken[blk - nblks], 1, nblks * sizeof(bool));
	return pblk(blk - nblks);
}

void commits_start_checkpoint(struct commits *fx, unsigned int age_ms)
{
	struct checkpoint_config config = {.loop = fx->ts->loop,
					   .map = fx->ts->map,
					   .dev = &fx->ts->fdev->dev,
					   .journal_nblks = fx->region.nblks,
					   .home_max = COMMITS_DEV_NBLKS,
					   .staged_max = UINT64_MAX,
					   .age_ms = age_ms,
					   .homed = on_homed,
					   .dropped = on_dropped,
					   .unmapped = on_unmapped,
					   .release = on_release,
					   .latched = on_latched,
					   .ctx = fx};

	commits_start(fx);
	fx->pool = worker_pool_new(fx->ts->loop, 2);
	assert_non_null(fx->pool);
	config.pool = fx->pool;
	config.fold_pool = fx->pool;
	config.commit = fx->commit;
	fx->checkpoint = checkpoint_new(&config);
	assert_non_null(fx->checkpoint);
}

void commits_keep_home(struct commits *fx, const struct commit_req *req)
{
	const struct change *change = &req->change;
	uint32_t at = 0;

	for (uint32_t e = 0; e < change->nextents; e++) {
		const struct change_extent *ext = &change->extents[e];

		for (uint32_t i = 0; i < ext->nblks; i++, at++) {
			uint8_t *copy = aligned_alloc(BLK_BYTES, BLK_BYTES);

			assert_non_null(copy);
			memcpy(copy, req->data[at].iov_base, BLK_BYTES);
			assert_int_equal(
			    checkpoint_add_home(fx->checkpoint, pblk(ext->dst.n + i), copy, copy),
			    0);
		}
	}
}

static void wait_ready(struct checkpoint_waiter *waiter, int err)
{
	struct commits_wait *wait = CONTAINER_OF(waiter, struct commits_wait, waiter);

	wait->n++;
	wait->err = err;
}

void commits_wait_begin(struct commits *fx, struct commits_wait *wait)
{
	*wait = (struct commits_wait){.waiter = {.ready = wait_ready}};
	checkpoint_wait(fx->checkpoint, &wait->waiter);
}

int commits_checkpoint(struct commits *fx)
{
	struct commits_wait wait;

	commits_wait_begin(fx, &wait);
	test_store_run_count(fx->ts, &wait.n, 1);
	return wait.err;
}

void commits_kill(struct commits *fx)
{
	if (fx->checkpoint) {
		checkpoint_stop(fx->checkpoint, -ERR_SHUTDOWN);
		worker_pool_free(fx->pool);
		loop_finish(fx->ts->loop);
	}
	commit_free(fx->commit);
	checkpoint_free(fx->checkpoint);
	fx->commit = NULL;
	fx->checkpoint = NULL;
	fx->pool = NULL;
}

/* ---- without --------------------------------------------------------------------------------- */

struct fold {
	struct commit_cut cut;
	bool done;
};

static void fold_cut_done(struct commit_cut *cut)
{
	CONTAINER_OF(cut, struct fold, cut)->done = true;
}

struct journal_pos commits_cut(struct commits *fx)
{
	struct fold fold = {.cut = {.done = fold_cut_done}};

	commit_cut_map(fx->commit, &fold.cut);
	test_store_run_flag(fx->ts, &fold.done);
	assert_int_equal(fold.cut.err, 0);
	return fold.cut.tail;
}

void commits_fold_cut(struct commits *fx, struct journal_pos tail)
{
	assert_int_equal(recover_mark(fx->ts->map, &fx->ts->fdev->dev, tail.seq), 0);
	assert_int_equal(dev_sync(&fx->ts->fdev->dev), 0);
	assert_int_equal(map_fold(fx->ts->map), 0);
	commit_folded(fx->commit, tail);
}

void commits_fold(struct commits *fx)
{
	commits_fold_cut(fx, commits_cut(fx));
}

void commits_stop(struct commits *fx)
{
	test_store_run_until(fx->ts, is_idle, fx);
	if (fx->checkpoint)
		assert_int_equal(commits_checkpoint(fx), 0);
	else
		commits_fold(fx);
	commits_kill(fx);
}

void commits_crash(struct commits *fx, struct recover_result *result)
{
	commits_kill(fx);
	test_store_crash(fx->ts);
	assert_int_equal(recover_run(fx->ts->map, &fx->ts->fdev->dev, result), 0);
}

struct commits *commits_new(uint64_t meta_bytes)
{
	struct commits *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	fx->ts = test_store_open_journal(COMMITS_DEV_NBLKS, meta_bytes,
					 COMMITS_JOURNAL_NBLKS + ERA_NBLKS);
	fx->region = recover_region(fx->ts->map);
	fx->next_oid = 1;
	return fx;
}

void commits_free(struct commits *fx)
{
	commits_kill(fx);
	test_store_close(fx->ts);
	free(fx);
}

void commits_run_until_idle(struct commits *fx)
{
	test_store_run_until(fx->ts, is_idle, fx);
}

static void request_durable(struct commit_req *req)
{
	struct commits_req *r = CONTAINER_OF(req, struct commits_req, req);

	assert_int_equal(r->durable, 0);
	assert_int_equal(r->turn, 0);
	r->durable = ++r->fx->nturns;
}

static void request_done(struct commit_req *req)
{
	struct commits_req *r = CONTAINER_OF(req, struct commits_req, req);

	assert_int_equal(r->turn, 0);
	r->turn = ++r->fx->nturns;
	r->fx->nanswered++;
	if (r->fx->checkpoint && req->err == 0 && req->change.inlined)
		commits_keep_home(r->fx, req);
}

void commits_req_init(struct commits *fx, struct commits_req *r, enum change_kind kind)
{
	*r = (struct commits_req){.fx = fx};
	r->req.change.kind = kind;
	r->req.change.time_ns = 5;
	r->req.sync_gen = commit_sync_gen(fx->commit);
	r->req.durable = request_durable;
	r->req.done = request_done;
}

void commits_named_init(struct commits *fx, struct commits_req *r, enum change_kind kind,
			const char *name)
{
	commits_req_init(fx, r, kind);
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->req.change.name = r->name;
	r->req.change.size_bytes = BLK_BYTES;
	if (kind == CHANGE_CREATE || kind == CHANGE_CLONE)
		r->req.change.oid = fx->next_oid++;
}

static void epoch_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
		       pblk_t dst)
{
	commits_req_init(fx, r, CHANGE_EPOCH);
	r->req.change.oid = oid;
	r->req.change.size_bytes = (blk.n + 1) << BLK_SHIFT;
	r->req.change.time_ns = 6;
	r->req.change.generation = ++fx->generation;
	test_pattern(r->bytes, COMMITS_SEED, blk);
	r->extent = (struct change_extent){blk, dst, 1};
	r->req.change.extents = &r->extent;
	r->req.change.nextents = 1;
	r->req.change.nblks = 1;
}

void commits_epoch_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			pblk_t dst)
{
	struct iovec iov = {r->bytes, BLK_BYTES};

	epoch_init(fx, r, oid, blk, dst);
	assert_int_equal(dev_write(&fx->ts->fdev->dev, dst, &iov, 1), 0);
	r->csum = crc32c(0, r->bytes, BLK_BYTES);
	r->req.change.csums = &r->csum;
}

void commits_inline_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			 pblk_t dst)
{
	epoch_init(fx, r, oid, blk, dst);
	r->iov = (struct iovec){r->bytes, BLK_BYTES};
	r->req.change.inlined = true;
	r->req.data = &r->iov;
	r->req.csums = &r->csum;
}

void commits_submit(struct commits_req *r)
{
	commit_submit(r->fx->commit, &r->req);
	assert_int_equal(r->turn, 0);
}

void commits_run(struct commits_req *r)
{
	commits_submit(r);
	test_store_run_count(r->fx->ts, &r->turn, 1);
}

uint64_t commits_create(struct commits *fx, const char *name)
{
	struct commits_req r;

	commits_named_init(fx, &r, CHANGE_CREATE, name);
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return r.req.obj.id;
}

void commits_hold_in_sync(struct commits_req *head)
{
	struct fake_dev *fd = head->fx->ts->fdev;
	uint64_t before = fake_dev_calls(fd, FAKE_SYNC);

	fake_dev_hold(fd, FAKE_SYNC);
	commits_submit(head);
	fake_dev_wait_calls(fd, FAKE_SYNC, before + 1);
}
