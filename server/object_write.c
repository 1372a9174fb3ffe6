/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_write.c: writing.
 *
 * The pages that came with the request become the cache's pages; what the write does not cover of
 * its first and last block is copied into them from the block as it was.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"
#include "server/object_mutate.h"

struct write_op {
	struct mutate m;
	struct pagevec pv;
	uint64_t off_bytes;
};

static int write_plan(struct mutate *m)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);

	m->want[0] = (struct mutate_piece){blk_of(op->off_bytes), op->pv.npages};
	m->nwant = 1;
	return 0;
}

/* Does the write leave bytes of this block as they are? */
static bool write_keeps(struct mutate *m, lblk_t blk)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);
	uint64_t end = blk.n << BLK_SHIFT;
	uint32_t off;
	uint32_t len;

	pagevec_span(&op->pv, (uint32_t)(blk.n - blk_of(op->off_bytes).n), &off, &len);
	end += off + len;
	return off > 0 || (off + len < BLK_BYTES && end < m->obj->size_bytes);
}

/* Completes block i of the payload with the bytes around it. */
static void write_merge(struct write_op *op, uint32_t i)
{
	struct page *page = op->pv.pages[i];
	struct page *base;
	uint32_t off;
	uint32_t len;

	pagevec_span(&op->pv, i, &off, &len);
	if (len == BLK_BYTES)
		return;
	base = object_page(op->m.obj, lblk(blk_of(op->off_bytes).n + i));
	if (base) {
		memcpy(page->data, base->data, off);
		memcpy(page->data + off + len, base->data + off + len, BLK_BYTES - off - len);
	} else { /* nothing is kept: what is not covered is past the end of the object */
		memset(page->data, 0, off);
		memset(page->data + off + len, 0, BLK_BYTES - off - len);
	}
}

static int write_apply(struct mutate *m, uint64_t *unused)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);
	struct object *obj = m->obj;
	lblk_t first = blk_of(op->off_bytes);
	uint64_t end = op->off_bytes + op->pv.len;

	(void)unused;
	epoch_touch(obj);
	write_merge(op, 0);
	if (op->pv.npages > 1)
		write_merge(op, op->pv.npages - 1);
	for (uint32_t i = 0; i < op->pv.npages; i++) {
		cache_write(&obj->cache, lblk(first.n + i), op->pv.pages[i]);
		op->pv.pages[i] = NULL;
	}
	if (end > obj->size_bytes) {
		obj->size_bytes = end;
		obj->open.meta = true;
	}
	obj->mtime_ns = clock_wall_ns();
	return 0;
}

static void write_free(struct mutate *m)
{
	struct write_op *op = CONTAINER_OF(m, struct write_op, m);

	pagevec_fini(&op->pv);
	free(op);
}

static const struct mutate_fns write_fns = {
    .plan = write_plan, .keeps = write_keeps, .apply = write_apply, .free = write_free};

void object_write(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, object_cb cb,
		  void *ctx)
{
	int err = mutate_refused(handle, off_bytes, pv->len);
	struct write_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && pv->len > 0) {
		op = calloc(1, sizeof(*op));
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		pagevec_fini(pv);
		cb(ctx, err);
		return;
	}
	assert(pv->head == (off_bytes & (BLK_BYTES - 1)));
	op->m.fns = &write_fns;
	op->m.obj = handle->obj;
	op->m.cb = cb;
	op->m.ctx = ctx;
	op->off_bytes = off_bytes;
	op->pv = *pv;
	*pv = (struct pagevec){0};
	mutate_start(&op->m);
}
