/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_share.c: a range clone (Linux FICLONERANGE): a range of an object becomes what a range of
 * another one, or of the same one, is.
 *
 * Whole blocks are shared, in the map; of a block at the edge that is covered in part the bytes are
 * copied, through the cache.  Both go into one change, as an epoch of the destination's own, so it is
 * there as a whole or not at all.
 *
 *	gated --> synced --> planned --> edges --> started, source synced --> committed --> in the map
 *	writes of the  ^      ^           |        the source is as it was    in the turn in which the
 *	destination    |      |- the source's      at this moment             source's epoch is durable
 *	wait           |      |  size changed
 *	               `- back: the source's content is being replaced, which is waited for first
 *
 * The source's writes do not wait: what it has when it is started is closed at once, and what is
 * written later is of another epoch.  Since the change is submitted in the turn in which that epoch is
 * durable, nothing comes between.  Who waits for the gate of the source holds none meanwhile: so no two
 * wait for each other.  The
 * destination's wait, so that nothing of it is dirty or on its way, and the change is never written
 * again later, when the source is another.  An edge is one block of each of the two.
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
#include "server/object_promise.h"
#include "server/object_table.h"

#define SHARE_EDGES MUTATE_PIECES

/* So many nodes, or blocks, are shared in one change: it has to go into one transaction of the map. */
#define SHARE_MAX_UNITS 4096u

/* The bytes [from, end) of a block of the destination come from the same ones of the source's. */
struct share_edge {
	lblk_t blk;
	lblk_t src_blk;
	uint32_t from;
	uint32_t end;
};

struct share_plan {
	uint64_t len_bytes;
	uint64_t left_bytes;	   /* for another change */
	struct change_share share; /* nblks 0: no whole block */
	struct share_edge edges[SHARE_EDGES];
	uint32_t nedges;
};

struct share_op {
	struct object *dst;
	struct object *src;
	uint64_t dst_off;
	uint64_t src_off;
	uint64_t asked_len; /* 0: to the end of the source */
	struct share_plan plan;
	struct page *pages[SHARE_EDGES]; /* the edges as they will be */
	uint32_t nreserved;		 /* blocks, for them */
	uint32_t nheld;			 /* the same, until they are in the map */
	uint64_t nrenewing;		 /* blocks of the source */
	struct gate_waiter gate;
	struct gate_waiter src_gate;
	struct loop_msg msg;
	struct objects_settle settle;
	struct epoch_waiter waiter;
	struct mutate m;
	uint32_t npinned; /* edges of the source */
	uint32_t pending; /* fills of them */
	int fill_err;
	struct cache_waiter waits[SHARE_EDGES];
	struct writeback_batch batch;
	bool written;
	bool submitted;
	object_share_cb cb;
	void *ctx;
};

static void share_prepare(struct share_op *op);
static void share_source(struct share_op *op);

/* ---- planning -------------------------------------------------------------------------------- */

/* The most blocks of one change: what lies alike in both goes by nodes. */
static uint64_t share_max_nblks(uint64_t dst_blk, uint64_t src_blk)
{
	uint64_t unit = 1;
	uint64_t bigger;

	while ((bigger = unit * MAP_FANOUT) <= BLK_OBJECT_MAX && (dst_blk - src_blk) % bigger == 0)
		unit = bigger;
	return unit > BLK_OBJECT_MAX / SHARE_MAX_UNITS ? BLK_OBJECT_MAX : unit * SHARE_MAX_UNITS;
}

static void share_add_edge(struct share_plan *plan, uint64_t dst, uint64_t src, uint64_t len)
{
	uint32_t from = (uint32_t)(dst & (BLK_BYTES - 1));

	assert(plan->nedges < SHARE_EDGES && from + len <= BLK_BYTES);
	plan->edges[plan->nedges++] =
	    (struct share_edge){blk_of(dst), blk_of(src), from, from + (uint32_t)len};
}

/*
 * The range, within the source and of some length, in edges and whole blocks.  A block that is the
 * end of both is whole, because the bytes behind are zeros in both.
 */
static void share_split(const struct share_op *op, struct share_plan *plan, bool both_end)
{
	uint64_t end = op->dst_off + plan->len_bytes;
	uint64_t first = blk_count(op->dst_off);
	uint64_t last = both_end ? blk_count(end) : end >> BLK_SHIFT;
	uint64_t away = op->dst_off - op->src_off; /* modulo 2^64 */
	uint64_t max = share_max_nblks(first, blk_of((first << BLK_SHIFT) - away).n);

	if (first << BLK_SHIFT > op->dst_off)
		share_add_edge(plan, op->dst_off, op->src_off,
			       (end < first << BLK_SHIFT ? end : first << BLK_SHIFT) - op->dst_off);
	if (end <= first << BLK_SHIFT)
		return;
	if (last - first > max) {
		last = first + max;
		end = last << BLK_SHIFT;
		plan->left_bytes = plan->len_bytes - (end - op->dst_off);
		plan->len_bytes = end - op->dst_off;
	}
	plan->share = (struct change_share){.blk = lblk(first),
					    .src = op->src->id,
					    .src_blk = blk_of((first << BLK_SHIFT) - away),
					    .nblks = last - first};
	if (end > last << BLK_SHIFT)
		share_add_edge(plan, last << BLK_SHIFT, (last << BLK_SHIFT) - away,
			       end - (last << BLK_SHIFT));
}

/* What is to be done as the two are now. */
static int share_make_plan(const struct share_op *op, struct share_plan *plan)
{
	uint64_t src_size = op->src->size_bytes;
	uint64_t apart =
	    op->dst_off < op->src_off ? op->src_off - op->dst_off : op->dst_off - op->src_off;

	*plan = (struct share_plan){.len_bytes = op->asked_len};
	if (op->src_off > src_size || op->asked_len > src_size - op->src_off)
		return -ERR_RANGE;
	if (op->asked_len == 0)
		plan->len_bytes = src_size - op->src_off;
	if (plan->len_bytes > (BLK_OBJECT_MAX << BLK_SHIFT) - op->dst_off)
		return -ERR_TOO_LARGE;
	if (op->dst == op->src && apart < plan->len_bytes)
		return -ERR_OVERLAP;
	if (plan->len_bytes > 0)
		share_split(op, plan,
			    op->src_off + plan->len_bytes == src_size &&
				op->dst_off + plan->len_bytes >= op->dst->size_bytes);
	return 0;
}

static bool share_plan_holds(const struct share_op *op)
{
	struct share_plan now;

	return share_make_plan(op, &now) == 0 && now.len_bytes == op->plan.len_bytes &&
	       now.share.nblks == op->plan.share.nblks && now.nedges == op->plan.nedges;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void share_unpin(struct share_op *op)
{
	for (; op->npinned > 0; op->npinned--)
		cache_unpin(&op->src->cache, op->plan.edges[op->npinned - 1].src_blk, 1);
}

/* Gives up what was made for the plan. */
static void share_drop_plan(struct share_op *op)
{
	share_unpin(op);
	for (uint32_t i = 0; i < SHARE_EDGES; i++) {
		page_put(op->pages[i]);
		op->pages[i] = NULL;
	}
	alloc_unreserve(op->dst->objs->alloc, op->nreserved);
	op->nreserved = 0;
	object_unhold(op->dst, op->nheld);
	op->nheld = 0;
}

static void share_finish(struct share_op *op, int err)
{
	struct objects *objs = op->dst->objs;

	if (op->batch.wb)
		writeback_batch_fini(&op->batch);
	share_drop_plan(op);
	object_renewed(op->src, op->nrenewing);
	object_open_gate(op->dst);
	op->cb(op->ctx, err, err < 0 ? 0 : op->plan.len_bytes, err < 0 ? 0 : op->plan.left_bytes);
	object_put(op->dst);
	object_put(op->src);
	cache_shrink(objs->cache);
	objects_check_room(objs);
	free(op);
	if (!TAILQ_EMPTY(&objs->parked))
		objs->progress(objs); /* who waited for what is promised */
}

/* ---- committing ------------------------------------------------------------------------------ */

static LOOP_FN void share_durable(struct writeback_batch *batch)
{
	(void)batch; /* it is answered when it is in the map */
}

/* In the map: what the cache knows of the range is old. */
static void share_applied(struct share_op *op)
{
	struct object *dst = op->dst;
	const struct change *change = &op->batch.commit.change;

	(void)cache_punch(&dst->cache, op->plan.share.blk, op->plan.share.nblks);
	object_forget_pages(dst, op->plan.share.blk, op->plan.share.nblks);
	for (uint32_t i = 0; i < op->batch.nblks; i++) {
		(void)cache_punch(&dst->cache, op->batch.blks[i].blk, 1);
		object_forget_pages(dst, op->batch.blks[i].blk, 1);
	}
	cache_committed(&dst->cache, op->batch.blks, op->batch.nblks, change->extents,
			change->nextents);
	if (change->inlined)
		dst->objs->keep_home(dst->objs, &op->batch);
	dst->info = op->batch.commit.obj;
	dst->size_bytes = change->size_bytes;
	dst->mtime_ns = change->time_ns;
	if (change->nshares > 0)
		object_set_owned(op->src, op->batch.commit.source_owned_nblks);
	object_promise_update(dst);
}

static LOOP_FN void share_done(struct writeback_batch *batch, int err)
{
	struct share_op *op = CONTAINER_OF(batch, struct share_op, batch);

	epoch_pass_generation(op->dst, batch->commit.change.generation, err);
	if (err == 0)
		share_applied(op);
	share_finish(op, err);
}

/* Called again where a commit failed: the source may be another by now. */
static LOOP_FN void share_written(struct writeback_batch *batch)
{
	struct share_op *op = CONTAINER_OF(batch, struct share_op, batch);

	op->written = true;
	if (op->submitted) {
		/* a crash may show the record all the same: its number is nobody's */
		epoch_pass_generation(op->dst, batch->commit.change.generation, batch->commit.err);
		share_finish(op, batch->commit.err);
	}
}

/* The source's epoch is durable, and nothing of it has been submitted since. */
static LOOP_FN void share_src_synced(struct epoch_waiter *waiter, int err)
{
	struct share_op *op = CONTAINER_OF(waiter, struct share_op, waiter);
	struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);

	if (err == 0 && op->dst->objs->wb.stopping)
		err = -ERR_SHUTDOWN;
	if (err < 0) {
		share_finish(op, err);
		return;
	}
	op->submitted = true;
	writeback_commit(&op->batch, &unit);
	commit_submit_unit(op->dst->objs->commit, &unit);
}

/* The batch gets the edges, at most two blocks, which go into the record. */
static int share_fill_batch(struct share_op *op)
{
	struct writeback_batch *batch = &op->batch;
	struct change *change = &batch->commit.change;
	uint64_t end = op->dst_off + op->plan.len_bytes;

	batch->blks = calloc(SHARE_EDGES, sizeof(*batch->blks));
	if (!batch->blks)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < op->plan.nedges; i++) {
		batch->blks[i] =
		    (struct writeback_blk){.blk = op->plan.edges[i].blk, .page = op->pages[i]};
		op->pages[i] = NULL;
	}
	batch->nblks = op->plan.nedges;
	op->nreserved = 0; /* the batch's */
	batch->written = share_written;
	batch->durable = share_durable;
	batch->done = share_done;
	change->oid = op->dst->id;
	change->size_bytes = end > op->dst->size_bytes ? end : op->dst->size_bytes;
	change->time_ns = clock_wall_ns();
	change->generation = epoch_next_generation(op->dst);
	change->shares = &op->plan.share;
	change->nshares = op->plan.share.nblks > 0;
	return 0;
}

/* What of the source becomes shared is promised to it again. */
static int share_renew(struct share_op *op)
{
	int err = object_renew(op->src, op->plan.share.nblks);

	if (err == 0)
		op->nrenewing = op->plan.share.nblks;
	return err;
}

/* The moment of the clone: what the source has now. */
static void share_start(struct share_op *op)
{
	int err = share_renew(op);

	if (err == 0)
		err = share_fill_batch(op);
	if (err < 0) {
		share_finish(op, err);
		return;
	}
	share_unpin(op);
	writeback_start(&op->dst->objs->wb, &op->batch);
	if (!op->written)
		return; /* it failed, and share_done() will be called */
	op->waiter.ready = share_src_synced;
	epoch_sync_now(op->src, &op->waiter);
}

/* ---- the edges ------------------------------------------------------------------------------- */

static void share_filled(struct share_op *op, int err)
{
	if (err < 0)
		op->fill_err = err;
	if (--op->pending == 0)
		share_source(op);
}

static LOOP_FN void share_filled_0(struct cache_waiter *waiter, int err)
{
	share_filled(CONTAINER_OF(waiter, struct share_op, waits[0]), err);
}

static LOOP_FN void share_filled_1(struct cache_waiter *waiter, int err)
{
	share_filled(CONTAINER_OF(waiter, struct share_op, waits[1]), err);
}

/* Brings in the source's blocks at the edges; true: all are there. */
static bool share_fill(struct share_op *op)
{
	struct cache_object *co = &op->src->cache;

	for (; op->npinned < op->plan.nedges && op->fill_err == 0; op->npinned++) {
		op->fill_err = cache_pin(co, op->plan.edges[op->npinned].src_blk, 1);
		if (op->fill_err < 0)
			break;
	}
	for (uint32_t i = 0; i < op->plan.nedges && op->fill_err == 0; i++) {
		lblk_t blk = op->plan.edges[i].src_blk;

		if (object_page(op->src, blk))
			continue;
		op->waits[i].ready = i == 0 ? share_filled_0 : share_filled_1;
		op->fill_err = cache_fill(co, blk, 1, &op->waits[i]);
		op->pending += op->fill_err == 0;
	}
	return op->pending == 0;
}

/* The source's content is about to be another in the map: begins again when it is. */
static void share_step_back(struct share_op *op)
{
	share_drop_plan(op);
	object_close_gate(op->src, &op->src_gate);
	object_open_gate(op->dst);
}

static LOOP_FN void share_src_replaced(struct gate_waiter *gate)
{
	struct share_op *op = CONTAINER_OF(gate, struct share_op, src_gate);

	object_open_gate(op->src);
	object_close_gate(op->dst, &op->gate);
}

static void share_source(struct share_op *op)
{
	if (op->fill_err == 0 && op->src != op->dst && op->src->gated) {
		share_step_back(op);
		return;
	}
	if (!share_fill(op))
		return;
	if (op->fill_err < 0) {
		share_finish(op, op->fill_err);
		return;
	}
	if (!share_plan_holds(op)) {
		share_drop_plan(op);
		share_prepare(op);
		return;
	}
	for (uint32_t i = 0; i < op->plan.nedges; i++) {
		const struct share_edge *edge = &op->plan.edges[i];
		const struct page *page = object_page(op->src, edge->src_blk);

		memcpy(op->pages[i]->data + edge->from, page->data + edge->from,
		       edge->end - edge->from);
	}
	share_start(op);
}

/* ---- the destination's blocks at the edges --------------------------------------------------- */

static int share_want(struct mutate *m)
{
	const struct share_op *op = CONTAINER_OF(m, struct share_op, m);

	m->nwant = op->plan.nedges;
	for (uint32_t i = 0; i < m->nwant; i++)
		m->want[i] = (struct mutate_piece){op->plan.edges[i].blk, 1};
	return 0;
}

static bool share_keeps(struct mutate *m, lblk_t blk)
{
	(void)m;
	(void)blk;
	return true;
}

/* Takes what the blocks are now; they are not changed here. */
static int share_take(struct mutate *m, uint64_t *unused)
{
	struct share_op *op = CONTAINER_OF(m, struct share_op, m);

	(void)unused;
	for (uint32_t i = 0; i < op->plan.nedges; i++) {
		op->pages[i] = page_new(op->dst->objs->pages);
		if (!op->pages[i])
			return -ERR_NOMEM;
		memcpy(op->pages[i]->data, object_page(op->dst, op->plan.edges[i].blk)->data,
		       BLK_BYTES);
	}
	return 0;
}

static void share_taken(struct mutate *m)
{
	(void)m; /* it is a part of the operation */
}

static const struct mutate_fns share_fns = {
    .plan = share_want, .keeps = share_keeps, .apply = share_take, .free = share_taken};

static LOOP_FN void share_reserved(void *ctx, int err)
{
	struct share_op *op = ctx;

	if (err < 0) {
		share_finish(op, err);
		return;
	}
	op->nreserved = op->plan.nedges; /* none of them was dirty: the object is synced */
	op->nheld = op->nreserved;
	object_hold(op->dst, op->nheld);
	share_source(op);
}

static void share_prepare(struct share_op *op)
{
	int err = share_make_plan(op, &op->plan);

	if (err < 0 || op->plan.len_bytes == 0) {
		share_finish(op, err);
	} else if (op->plan.nedges == 0) {
		share_source(op);
	} else {
		op->m = (struct mutate){.fns = &share_fns,
					.obj = op->dst,
					.cb = share_reserved,
					.ctx = op,
					.has_gate = true};
		mutate_init_some(&op->m);
		mutate_start(&op->m);
	}
}

/* ---- the beginning --------------------------------------------------------------------------- */

static LOOP_FN void share_go_on(struct loop_msg *msg)
{
	share_prepare(CONTAINER_OF(msg, struct share_op, msg));
}

/* All that was written to the destination, or to what it is tied to, is durable, and nothing more is
 * written to it. */
static LOOP_FN void share_dst_synced(struct epoch_waiter *waiter, int err)
{
	struct share_op *op = CONTAINER_OF(waiter, struct share_op, waiter);

	if (err < 0) {
		share_finish(op, err);
	} else if (op->dst->waking) {
		/* others that wait for this moment are not to find what comes after it */
		op->msg.fn = share_go_on;
		loop_post(op->dst->objs->config.loop, &op->msg);
	} else {
		share_prepare(op);
	}
}

static LOOP_FN void share_settled(struct objects_settle *settle, int err)
{
	struct share_op *op = CONTAINER_OF(settle, struct share_op, settle);

	if (err == 0 && !objects_may_grow(op->dst->objs))
		err = -ERR_NOSPC_META;
	if (err < 0) {
		share_finish(op, err);
		return;
	}
	op->waiter.ready = share_dst_synced;
	epoch_sync_tied(op->dst, &op->waiter);
}

static LOOP_FN void share_gated(struct gate_waiter *gate)
{
	struct share_op *op = CONTAINER_OF(gate, struct share_op, gate);
	struct objects *objs = op->dst->objs;

	if (op->dst->info.readonly) { /* since it began */
		share_finish(op, -ERR_READONLY);
		return;
	}
	op->settle.ready = share_settled;
	if (objects_may_grow(objs))
		share_settled(&op->settle, 0);
	else
		objects_settle(objs, &op->settle);
}

void object_share(struct handle *dst, uint64_t dst_off, struct handle *src, uint64_t src_off,
		  uint64_t len_bytes, object_share_cb cb, void *ctx)
{
	int err = mutate_refused(dst, dst_off, len_bytes);
	struct share_op *op = NULL;

	ASSERT_LOOP();
	if (err == 0 && ((dst_off ^ src_off) & (BLK_BYTES - 1)) != 0)
		err = -ERR_UNALIGNED;
	if (err == 0) {
		op = calloc(1, sizeof(*op));
		err = op ? 0 : -ERR_NOMEM;
	}
	if (!op) {
		cb(ctx, err, 0, 0);
		return;
	}
	op->dst = dst->obj;
	op->src = src->obj;
	op->dst_off = dst_off;
	op->src_off = src_off;
	op->asked_len = len_bytes;
	op->cb = cb;
	op->ctx = ctx;
	object_get(op->dst);
	object_get(op->src);
	op->gate.ready = share_gated;
	op->src_gate.ready = share_src_replaced;
	object_close_gate(op->dst, &op->gate);
}
