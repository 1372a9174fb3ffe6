/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_recover_crash.c: a store on which changes of all kinds are made while checkpoints run loses its
 * power anywhere, and once more while it recovers.  After each start it must be as after a prefix of
 * the changes, in the order in which they were submitted, with all that were answered as durable, and
 * of what was submitted as a unit with all or nothing.
 *
 * TEST_ROUNDS power cuts, of a history that goes on behind each of them.
 */
#include "server/recover.h"

#include <event2/event.h>
#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "server/check.h"
#include "tests/lib/commits.h"
#include "tests/lib/rnd.h"
#include "tests/lib/world.h"

#define META_BYTES  (UINT64_C(4) << 20)
#define ROUNDS	    200u
#define OPS_MAX	    40u
#define EXTENTS_MAX 3u
#define HOLES_MAX   4u
#define OP_BLKS_MAX 24u
#define NNAMES	    6u
#define UNIT_MAX    5u /* changes that are submitted as one */

/* A change on its way. */
struct op {
	struct commit_req req;
	struct sim *sim;
	struct change_hole holes[HOLES_MAX];
	struct change_share share;
	struct change_extent extents[EXTENTS_MAX];
	uint32_t csums[OP_BLKS_MAX]; /* what the commit thread makes of them */
	uint32_t known[OP_BLKS_MAX];
	struct iovec iov[OP_BLKS_MAX];
	uint8_t *data;
	char name[16];
	char label[24];
	bool durable;
	bool done;
};

struct sim {
	struct commits *fx;
	struct rnd rnd;
	struct op ops[OPS_MAX];
	struct world states[OPS_MAX + 1]; /* before each of them, and after the last */
	bool within[OPS_MAX + 1];	  /* a unit: nothing may ever look like this */
	unsigned int nops;
	unsigned int ndurable;
	uint64_t nfilled; /* blocks of content so far */
	uint64_t now_ns;
	uint64_t survive_bits; /* of sectors that are torn */
	unsigned int survive;  /* of four: none, all, some */
	/* so that it is seen that the rounds are not all alike */
	unsigned int nlost;	 /* changes that were not answered, and are gone */
	unsigned int nkept;	 /* that were not answered, and are there */
	unsigned int nrecrashed; /* recoveries that did not come to their end */
	unsigned int nunits;	 /* that were gone as a whole */
	struct checkpoint_waiter waiter;
	bool waiting;
};

static void report(void *ctx, const char *text)
{
	(void)ctx;
	print_error("difference: %s\n", text);
}

static uint64_t below(struct sim *sim, uint64_t n)
{
	return rnd_below(&sim->rnd, n);
}

/* ---- making up changes ----------------------------------------------------------------------- */

/* Any object (versions: or version) that there is, or NULL. */
static struct world_obj *pick(struct sim *sim, struct world *w, bool versions)
{
	struct world_obj *found[WORLD_OBJS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		if (w->objs[i].id != 0 && (versions || w->objs[i].parent == 0))
			found[n++] = &w->objs[i];
	return n > 0 ? found[below(sim, n)] : NULL;
}

static struct world_obj *pick_version(struct sim *sim, struct world *w)
{
	struct world_obj *obj = pick(sim, w, true);

	return obj && obj->parent != 0 ? obj : NULL;
}

/* A name that is not in use, if the first choice is one. */
static bool make_name(struct sim *sim, struct op *op, const struct world *w, uint64_t parent)
{
	(void)snprintf(op->name, sizeof(op->name), "%c%u", parent ? 'v' : 'n',
		       (unsigned int)below(sim, NNAMES));
	op->req.change.name = op->name;
	return !world_has(w, parent, op->name);
}

static void make_label(struct sim *sim, struct op *op)
{
	struct change *change = &op->req.change;

	change->labels = "";
	if (rnd_one_in(&sim->rnd, 2))
		return;
	(void)snprintf(op->label, sizeof(op->label), "k=%" PRIu64, sim->now_ns);
	change->labels = op->label;
	change->labels_len = (uint32_t)strlen(op->label) + 1;
}

static bool make_new(struct sim *sim, struct op *op, struct world *w)
{
	struct change *change = &op->req.change;
	const struct world_obj *src = change->kind == CHANGE_CLONE ? pick(sim, w, true) : NULL;
	const struct world_obj *parent =
	    src && rnd_one_in(&sim->rnd, 2) ? pick(sim, w, false) : NULL;

	if ((change->kind == CHANGE_CLONE && !src) || !world_unused(w))
		return false;
	change->oid = sim->fx->next_oid++;
	change->other = src ? src->id : 0;
	change->parent = parent ? parent->id : 0;
	change->size_bytes = below(sim, WORLD_BLKS * BLK_BYTES);
	if (!parent && rnd_one_in(&sim->rnd, 3))
		change->expires_ns = 1 + below(sim, 1000);
	make_label(sim, op);
	return make_name(sim, op, w, change->parent);
}

/* Fills in one block of a change. */
static void make_blk(struct sim *sim, struct op *op, uint32_t at)
{
	uint8_t *bytes = op->data + (size_t)at * BLK_BYTES;

	rnd_fill(bytes, BLK_BYTES, ++sim->nfilled);
	op->known[at] = crc32c(0, bytes, BLK_BYTES);
	op->iov[at] = (struct iovec){bytes, BLK_BYTES};
}

/* Extents, ascending and apart, below blk "end". */
static void make_extents(struct sim *sim, struct op *op, uint64_t end)
{
	struct change *change = &op->req.change;
	uint64_t from = 0;

	for (uint32_t e = 0; e < EXTENTS_MAX && from < end; e++) {
		uint64_t blk = from + below(sim, end - from);
		uint64_t n = 1 + below(sim, OP_BLKS_MAX / EXTENTS_MAX);

		n = n < end - blk ? n : end - blk;
		op->extents[change->nextents++] = (struct change_extent){
		    lblk(blk), commits_take(sim->fx, (uint32_t)n), (uint32_t)n};
		for (uint64_t i = 0; i < n; i++)
			make_blk(sim, op, change->nblks++);
		from = blk + n + 1;
		if (rnd_one_in(&sim->rnd, 2))
			break;
	}
	change->extents = op->extents;
}

/* Now and then some; and what a smaller size cuts off. */
static void make_holes(struct sim *sim, struct op *op, uint64_t old_end, uint64_t end)
{
	struct change *change = &op->req.change;
	uint64_t from = 0;

	while (from < end && change->nholes < HOLES_MAX - 1 && rnd_one_in(&sim->rnd, 4)) {
		uint64_t blk = from + below(sim, end - from);
		uint64_t n = 1 + below(sim, end - blk);

		op->holes[change->nholes++] = (struct change_hole){lblk(blk), n};
		from = blk + n + 1;
	}
	if (end < old_end)
		op->holes[change->nholes++] = (struct change_hole){lblk(end), BLK_OBJECT_MAX - end};
	change->holes = op->holes;
}

/* Now and then some blocks of another object, or of the same one. */
static void make_share(struct sim *sim, struct op *op, struct world *w, uint64_t end)
{
	struct change *change = &op->req.change;
	uint64_t blk = below(sim, end);
	uint64_t src_blk = rnd_one_in(&sim->rnd, 2) ? blk : below(sim, end);
	uint64_t most = end - (blk > src_blk ? blk : src_blk);
	uint64_t apart = blk < src_blk ? src_blk - blk : blk - src_blk;

	op->share = (struct change_share){.blk = lblk(blk),
					  .src = pick(sim, w, true)->id,
					  .src_blk = lblk(src_blk),
					  .nblks = 1 + below(sim, most)};
	if (op->share.src == change->oid && apart < op->share.nblks)
		return;
	change->shares = &op->share;
	change->nshares = 1;
}

static bool make_epoch(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *obj = pick(sim, w, false);
	struct change *change = &op->req.change;
	uint64_t old_end;
	uint64_t end;

	if (!obj)
		return false;
	old_end = blk_count(obj->size_bytes);
	end = rnd_one_in(&sim->rnd, 3) ? below(sim, WORLD_BLKS) : old_end;
	change->oid = obj->id;
	change->size_bytes = end == old_end ? obj->size_bytes : end * BLK_BYTES;
	make_holes(sim, op, old_end, end);
	if (end > 0 && rnd_one_in(&sim->rnd, 4))
		make_share(sim, op, w, end);
	change->inlined = rnd_one_in(&sim->rnd, 2);
	if (end > 0 && !rnd_one_in(&sim->rnd, 8))
		make_extents(sim, op, end);
	if (change->nblks == 0)
		change->inlined = false;
	op->req.data = op->iov;
	op->req.csums = op->csums;
	change->csums = change->inlined ? op->csums : op->known;
	return true;
}

static bool make_remove(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *obj = pick(sim, w, true);

	if (!obj || world_nversions(w, obj->id) > 0)
		return false;
	op->req.change.oid = obj->id;
	return true;
}

static bool make_rename(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *obj = pick(sim, w, true);

	if (!obj)
		return false;
	op->req.change.oid = obj->id;
	return make_name(sim, op, w, obj->parent);
}

static bool make_exchange(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *a = pick(sim, w, false);
	const struct world_obj *b = pick(sim, w, false);

	if (!a || a == b)
		return false;
	op->req.change.oid = a->id;
	op->req.change.other = b->id;
	return true;
}

static bool make_reset(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *version = pick_version(sim, w);

	if (!version)
		return false;
	op->req.change.oid = version->parent;
	op->req.change.other = version->id;
	return true;
}

static bool make_set(struct sim *sim, struct op *op, struct world *w)
{
	const struct world_obj *obj = pick(sim, w, true);
	struct change *change = &op->req.change;

	if (!obj)
		return false;
	change->oid = obj->id;
	change->readonly = obj->parent == 0 && rnd_one_in(&sim->rnd, 3);
	if (rnd_one_in(&sim->rnd, 3))
		change->expires_ns = 1 + below(sim, 1000);
	make_label(sim, op);
	return true;
}

/* Fills in a change that can be made, half of the time an epoch. */
static void make_change(struct sim *sim, struct op *op, struct world *w)
{
	bool made = false;

	while (!made) {
		uint64_t kind = 1 + below(sim, 2 * CHANGE_KIND_LAST);
		uint8_t *data = op->data;

		*op = (struct op){.sim = sim, .data = data};
		op->req.change.kind =
		    kind > CHANGE_KIND_LAST ? CHANGE_EPOCH : (enum change_kind)kind;
		op->req.change.time_ns = ++sim->now_ns;
		op->req.sync_gen = commit_sync_gen(sim->fx->commit);
		switch (op->req.change.kind) {
		case CHANGE_CREATE:
		case CHANGE_CLONE:
			made = make_new(sim, op, w);
			break;
		case CHANGE_EPOCH:
			made = make_epoch(sim, op, w);
			break;
		case CHANGE_REMOVE:
			made = make_remove(sim, op, w);
			break;
		case CHANGE_RENAME:
			made = make_rename(sim, op, w);
			break;
		case CHANGE_EXCHANGE:
			made = make_exchange(sim, op, w);
			break;
		case CHANGE_RESET:
			made = make_reset(sim, op, w);
			break;
		case CHANGE_SET:
			made = make_set(sim, op, w);
			break;
		}
	}
}

/* ---- until the power goes -------------------------------------------------------------------- */

static void op_durable(struct commit_req *req)
{
	struct op *op = CONTAINER_OF(req, struct op, req);

	op->durable = true;
	assert_ptr_equal(op, &op->sim->ops[op->sim->ndurable++]);
}

static void op_done(struct commit_req *req)
{
	struct op *op = CONTAINER_OF(req, struct op, req);

	op->done = true;
	assert_true(op->durable == (req->err == 0));
	if (req->err == 0 && req->change.inlined)
		commits_keep_home(op->sim->fx, req);
}

/* False: the power went while its data was written. */
static bool write_data(struct op *op)
{
	const struct change *change = &op->req.change;
	uint32_t at = 0;

	for (uint32_t e = 0; e < change->nextents && !change->inlined; e++) {
		uint32_t n = change->extents[e].nblks;

		if (dev_write(&op->sim->fx->ts->fdev->dev, change->extents[e].dst, &op->iov[at],
			      (int)n) < 0)
			return false;
		at += n;
	}
	return true;
}

static void checkpoint_ready(struct checkpoint_waiter *waiter, int err)
{
	(void)err;
	CONTAINER_OF(waiter, struct sim, waiter)->waiting = false;
}

/* Sometimes a checkpoint is wanted; sometimes a change is waited for. */
static void run_on(struct sim *sim, struct op *op)
{
	if (!sim->waiting && rnd_one_in(&sim->rnd, 6)) {
		sim->waiting = true;
		sim->waiter.ready = checkpoint_ready;
		checkpoint_wait(sim->fx->checkpoint, &sim->waiter);
	}
	if (rnd_one_in(&sim->rnd, 3))
		test_store_run_flag(sim->fx->ts, &op->done);
	else
		(void)event_base_loop(loop_base(sim->fx->ts->loop), EVLOOP_NONBLOCK);
}

static void plan_power_cut(struct sim *sim)
{
	struct fake_dev *fd = sim->fx->ts->fdev;

	if (rnd_one_in(&sim->rnd, 2))
		fake_dev_off_at(fd, FAKE_WRITE, 1 + below(sim, 2 * OPS_MAX));
	else
		fake_dev_off_at(fd, FAKE_SYNC, 1 + below(sim, OPS_MAX));
}

/* Makes one change more, and puts it on the list.  False: the power went. */
static bool add_change(struct sim *sim, struct commit_list *unit)
{
	struct op *op = &sim->ops[sim->nops];
	struct world *now = &sim->states[sim->nops];

	make_change(sim, op, now);
	op->req.durable = op_durable;
	op->req.done = op_done;
	if (!write_data(op))
		return false;
	sim->states[sim->nops + 1] = *now;
	world_apply(&sim->states[++sim->nops], &op->req.change, op->known);
	sim->within[sim->nops] = false;
	STAILQ_INSERT_TAIL(unit, &op->req, link);
	return true;
}

/* One change, or a unit of several.  False: the power went before it was submitted. */
static bool submit(struct sim *sim)
{
	struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);
	uint64_t n = rnd_one_in(&sim->rnd, 3) ? 2 + below(sim, UNIT_MAX - 1) : 1;
	unsigned int first = sim->nops;

	while (n > 0 && sim->nops < OPS_MAX && add_change(sim, &unit))
		n--;
	for (unsigned int i = first + 1; i < sim->nops; i++)
		sim->within[i] = true;
	if (n > 0 && sim->nops < OPS_MAX) {
		sim->nops = first;
		return false;
	}
	commit_submit_unit(sim->fx->commit, &unit);
	return true;
}

static void run_until_cut(struct sim *sim)
{
	struct fake_dev *fd = sim->fx->ts->fdev;

	sim->nops = 0;
	sim->ndurable = 0;
	sim->waiting = false;
	plan_power_cut(sim);
	while (sim->nops < OPS_MAX && !fake_dev_is_off(fd) && submit(sim))
		run_on(sim, &sim->ops[sim->nops - 1]);
	fake_dev_off_at(fd, FAKE_WRITE, 1);
	fake_dev_off_at(fd, FAKE_SYNC, 1);
	commits_kill(sim->fx);
}

/* ---- what is left ---------------------------------------------------------------------------- */

static bool survives(void *ctx, uint64_t sector)
{
	const struct sim *sim = ctx;

	if (sim->survive < 2)
		return sim->survive == 1;
	return sim->survive_bits >> (sector * UINT64_C(0x9e3779b97f4a7c15) >> 58) & 1;
}

/* The power goes, and comes again. */
static void crash(struct sim *sim)
{
	sim->survive = (unsigned int)below(sim, 4);
	sim->survive_bits = rnd_u64(&sim->rnd);
	if (rnd_one_in(&sim->rnd, 2))
		sim->survive_bits |= rnd_u64(&sim->rnd) | rnd_u64(&sim->rnd);
	fake_dev_land(sim->fx->ts->fdev, survives, sim);
	test_store_crash(sim->fx->ts);
}

/* How many changes the view shows; all of the durable ones are among them. */
static unsigned int nops_in(struct sim *sim)
{
	struct map_view *view;
	unsigned int n;

	assert_int_equal(map_view_begin(sim->fx->ts->map, &view), 0);
	for (n = sim->ndurable; n <= sim->nops; n++)
		if (!sim->within[n] && world_matches(&sim->states[n], view))
			break;
	map_view_end(view);
	assert_in_range(n, sim->ndurable, sim->nops);
	return n;
}

static int read_device(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct iovec iov = {buf, nblks * BLK_BYTES};

	return dev_read(ctx, blk, &iov, 1);
}

static int read_preview(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	return recover_read(ctx, blk, nblks, buf);
}

/* What a look without a change shows is what a start will find. */
static unsigned int nops_in_preview(struct sim *sim)
{
	struct test_store *ts = sim->fx->ts;
	struct fake_dev *fd = ts->fdev;
	uint64_t writes = fake_dev_calls(fd, FAKE_WRITE);
	uint64_t syncs = fake_dev_calls(fd, FAKE_SYNC);
	struct recover_preview *preview;
	struct recover_result result;
	struct check_totals totals;
	unsigned int n;

	assert_int_equal(recover_preview(ts->map, &fd->dev, &result, &preview), 0);
	n = nops_in(sim);
	assert_int_equal(check_data(ts->map, read_preview, report, preview, &totals), 0);
	recover_preview_free(preview);
	assert_int_equal(fake_dev_calls(fd, FAKE_WRITE), writes);
	assert_int_equal(fake_dev_calls(fd, FAKE_SYNC), syncs);
	map_close(ts->map);
	assert_int_equal(map_open(ts->path, &ts->map), 0);
	return n;
}

/* The power goes in the middle of a recovery, or the device fails it. */
static void recover_in_vain(struct sim *sim)
{
	struct test_store *ts = sim->fx->ts;
	bool cut = rnd_one_in(&sim->rnd, 2);
	struct recover_result result;

	if (cut && rnd_one_in(&sim->rnd, 2))
		fake_dev_off_at(ts->fdev, FAKE_SYNC, 1);
	else if (cut)
		fake_dev_off_at(ts->fdev, FAKE_WRITE, 1 + below(sim, 4));
	else
		fake_dev_fail(ts->fdev, FAKE_WRITE, 1 + below(sim, 4), 1, -ERR_IO);
	if (recover_run(ts->map, &ts->fdev->dev, &result) < 0)
		sim->nrecrashed++;
	fake_dev_fail(ts->fdev, FAKE_WRITE, 1, 0, 0);
	if (cut) {
		crash(sim);
		return;
	}
	map_close(ts->map); /* the process ends, and a new one begins */
	assert_int_equal(map_open(ts->path, &ts->map), 0);
}

static void check_store(struct sim *sim)
{
	struct test_store *ts = sim->fx->ts;
	struct check_totals totals;

	assert_int_equal(check_map(ts->map, report, NULL, &totals), 0);
	assert_int_equal(check_data(ts->map, read_device, report, &ts->fdev->dev, &totals), 0);
}

static void recover(struct sim *sim)
{
	struct test_store *ts = sim->fx->ts;
	struct recover_result result;
	unsigned int n;

	crash(sim);
	n = nops_in_preview(sim);
	while (rnd_one_in(&sim->rnd, 2))
		recover_in_vain(sim);
	assert_int_equal(recover_run(ts->map, &ts->fdev->dev, &result), 0);
	assert_int_equal(nops_in(sim), n);
	if (rnd_one_in(&sim->rnd, 2)) /* what a recovery has made is durable */
		crash(sim);
	assert_int_equal(nops_in(sim), n);
	check_store(sim);
	sim->nunits += n < sim->nops && sim->within[n + 1];
	sim->nkept += n - sim->ndurable;
	sim->nlost += sim->nops - n;
	sim->states[0] = sim->states[n];
}

/* What a run is worth nothing without; a share of the rounds may be too few for it. */
static bool has_seen_all(const struct sim *sim)
{
	return sim->nlost > 0 && sim->nkept > 0 && sim->nrecrashed > 0 && sim->nunits > 0;
}

static void a_start_finds_a_prefix_with_all_that_was_answered(void **state)
{
	uint64_t rounds = rnd_count("TEST_ROUNDS", ROUNDS);
	struct sim *sim = calloc(1, sizeof(*sim));

	(void)state;
	assert_non_null(sim);
	sim->rnd = rnd_stream(1);
	sim->fx = commits_new(META_BYTES);
	for (unsigned int i = 0; i < OPS_MAX; i++) {
		sim->ops[i].data = aligned_alloc(BLK_BYTES, (size_t)OP_BLKS_MAX * BLK_BYTES);
		assert_non_null(sim->ops[i].data);
	}
	for (uint64_t round = 0; round < rounds || (round < ROUNDS && !has_seen_all(sim));
	     round++) {
		commits_start_checkpoint(sim->fx, UINT_MAX);
		run_until_cut(sim);
		recover(sim);
	}
	assert_true(has_seen_all(sim));
	for (unsigned int i = 0; i < OPS_MAX; i++)
		free(sim->ops[i].data);
	commits_free(sim->fx);
	free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_start_finds_a_prefix_with_all_that_was_answered),
	};

	return cmocka_run_group_tests_name("recovery after power cuts", tests, NULL, NULL);
}
