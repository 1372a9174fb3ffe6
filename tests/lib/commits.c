/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/commits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/crc32c.h"

static void on_freed(void *ctx, const struct map_freed *freed)
{
	struct commits *fx = ctx;

	for (size_t i = 0; i < freed->n; i++) {
		for (uint64_t b = 0; b < freed->ranges[i].nblks; b++) {
			uint64_t blk = freed->ranges[i].blk.n + b;

			assert_true(blk > 0 && blk < COMMITS_DEV_NBLKS);
			assert_false(fx->freed[blk]);
			fx->freed[blk] = true;
			fx->nfreed++;
		}
	}
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

	return !commit_busy(fx->commit);
}

void commits_start(struct commits *fx)
{
	const struct commit_config config = {.loop = fx->ts->loop,
					     .map = fx->ts->map,
					     .dev = &fx->ts->fdev->dev,
					     .freed = on_freed,
					     .latched = on_latched,
					     .ctx = fx};

	fx->commit = commit_new(&config);
	assert_non_null(fx->commit);
}

void commits_stop(struct commits *fx)
{
	commit_free(fx->commit);
	fx->commit = NULL;
}

struct commits *commits_new(uint64_t meta_bytes)
{
	struct commits *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	fx->ts = test_store_open(COMMITS_DEV_NBLKS, meta_bytes);
	return fx;
}

void commits_free(struct commits *fx)
{
	commit_free(fx->commit);
	test_store_close(fx->ts);
	free(fx);
}

void commits_run_until_idle(struct commits *fx)
{
	test_store_run_until(fx->ts, is_idle, fx);
}

static void request_done(struct commit_req *req)
{
	struct commits_req *r = CONTAINER_OF(req, struct commits_req, req);

	assert_int_equal(r->turn, 0);
	r->turn = ++r->fx->nanswered;
}

void commits_req_init(struct commits *fx, struct commits_req *r, enum commit_kind kind)
{
	*r = (struct commits_req){.fx = fx};
	r->req.kind = kind;
	r->req.done = request_done;
	r->req.truncate = lblk(COMMIT_NO_TRUNCATE);
}

void commits_named_init(struct commits *fx, struct commits_req *r, enum commit_kind kind,
			const char *name)
{
	commits_req_init(fx, r, kind);
	snprintf(r->req.name, sizeof(r->req.name), "%s", name);
	r->req.size_bytes = BLK_BYTES;
	r->req.time_ns = 5;
}

void commits_epoch_init(struct commits *fx, struct commits_req *r, uint64_t oid, lblk_t blk,
			pblk_t dst)
{
	struct iovec iov = {r->bytes, BLK_BYTES};

	commits_req_init(fx, r, COMMIT_EPOCH);
	r->req.oid = oid;
	r->req.size_bytes = (blk.n + 1) << BLK_SHIFT;
	r->req.time_ns = 6;
	r->req.sync_gen = commit_sync_gen(fx->commit);
	test_pattern(r->bytes, COMMITS_SEED, blk);
	assert_int_equal(dev_write(&fx->ts->fdev->dev, dst, &iov, 1), 0);
	r->csum = crc32c(0, r->bytes, BLK_BYTES);
	r->extent = (struct commit_extent){blk, dst, 1};
	r->req.extents = &r->extent;
	r->req.nextents = 1;
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

	commits_named_init(fx, &r, COMMIT_CREATE, name);
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
