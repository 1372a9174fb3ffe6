/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sim/ops_priv.h"
#include "tests/sim/sched.h"

#define WRITE_MAX (UINT64_C(24) << BLK_SHIFT)

/* ---- answers --------------------------------------------------------------------------------- */

bool op_lacks_space(int err)
{
	return err == -ERR_NOSPC || err == -ERR_NOSPC_META || err == -ERR_JOURNAL_FULL;
}

/* Does what the operation works with not need to be there any more? */
static bool op_is_late(struct op *op)
{
	uint64_t now = sched_now_ns();

	return history_is_late(op_obj(op), now) || history_is_late(op_other(op), now);
}

static bool op_is_readonly(const struct op *op)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (op->all & (1u << i) && op->run->history->objs[i].attrs.readonly)
			return true;
	return false;
}

/* What the operation may be refused with, in a run without faults too. */
static bool op_may_be_refused(struct op *op, int err)
{
	if (err == -ERR_NOSPC && op->promised && !op->run->faults)
		return false;
	return op_lacks_space(err) || (err == -ERR_CHANGED && op->refused) ||
	       (err == -ERR_READONLY && op_is_readonly(op)) ||
	       (err == -ERR_NOENT && op_is_late(op));
}

/* May an operation of this run be refused with that? */
static void judge_err(const struct run *run, struct op *op, int err)
{
	MUST(err == 0 || op_may_be_refused(op, err) ||
		 (run->faults &&
		  (err_class(err) == ERR_IO || err == -ERR_IO || err == -ERR_WRITEBACK ||
		   err == -ERR_LATCHED || err == -ERR_NOMEM)),
	     "an operation failed: %s", err_name(err));
	MUST(err < 0 || !op->refused, "an operation is done though its condition does not hold");
	if (err < 0)
		run->stats->refused++;
}

static void ops_tell(const struct run *run, const char *what, struct op *op, int err)
{
	if (run->tells)
		(void)printf("%llu %s %s %s %s: %s\n", (unsigned long long)run->history->seq, what,
			     op->kind, op_obj(op)->spec, op->j != op->i ? op_other(op)->spec : "",
			     err_name(err));
}

void op_done(void *ctx, int err)
{
	struct op *op = ctx;
	struct run *run = op->run;

	judge_err(run, op, err);
	ops_tell(run, "answered", op, err);
	run_stats_note(run->stats, sched_now_ns() ^ (uint64_t)op->i << 56 ^ (uint64_t)(-err) << 48);
	run->under_way--;
	op->answered(op, err);
	free(op);
}

void op_info_done(void *ctx, int err, const struct map_obj *info)
{
	struct op *op = ctx;

	if (err == 0)
		op->attrs = (struct history_attrs){.reserved_nblks = info->reserved_nblks,
						   .expires_ns = info->expires_ns,
						   .readonly = info->readonly};
	op_done(op, err);
}

struct op *op_new(struct run *run, unsigned int i, void (*answered)(struct op *op, int err))
{
	struct op *op = oom_calloc(1, sizeof(*op));

	*op = (struct op){
	    .run = run, .i = i, .j = i, .all = 1u << i, .kind = run->kind, .answered = answered};
	ops_tell(run, "begins", op, 0);
	run->under_way++;
	run->stats->ops++;
	return op;
}

struct op *op_busy(struct run *run, unsigned int i, void (*answered)(struct op *op, int err))
{
	run->at[i].busy = true;
	return op_new(run, i, answered);
}

/* ---- content --------------------------------------------------------------------------------- */

bool op_is_promised(const struct run *run, uint32_t objs)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (objs & (1u << i) && run->history->objs[i].attrs.reserved_nblks < HISTORY_BLKS)
			return false;
	return run->history->fits;
}

const uint64_t *op_condition(struct op *op, unsigned int i, uint64_t *generation)
{
	struct run *run = op->run;
	uint64_t roll = op_below(run, 8);

	if (roll >= 3)
		return NULL;
	*generation = object_generation(run->at[i].handle) + (roll == 0) - (roll == 1);
	op->refused = op->refused || roll < 2;
	return generation;
}

static void change_answered(struct op *op, int err)
{
	op->run->at[op->i].busy = false;
	MUST(err < 0 || !op_is_readonly(op) || !history_changes(op_obj(op)),
	     "what is read-only has changed");
	history_answered(op->run->history, op_obj(op), err == 0);
}

/* One that changes the content of an object. */
static struct op *op_change(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, change_answered);

	op->promised = op_is_promised(run, op->all);
	return op;
}

static struct pagevec payload(struct run *run, uint64_t off, const uint8_t *bytes, uint64_t len)
{
	struct pagevec pv;

	oom_arm(false);
	MUST(pagevec_init(&pv, (uint32_t)(off % BLK_BYTES), len) == 0, "memory");
	for (uint32_t i = 0; i < pv.npages; i++) {
		uint32_t at;
		uint32_t n;

		pv.pages[i] = page_new(objects_pages(run->objs));
		MUST(pv.pages[i], "memory");
		memset(pv.pages[i]->data, 0xee, BLK_BYTES);
		pagevec_span(&pv, i, &at, &n);
		memcpy(pv.pages[i]->data + at, bytes, n);
		bytes += n;
	}
	oom_arm(true);
	return pv;
}

/* A range of an object, often of whole blocks; *len is at least 1. */
static void pick_range(struct run *run, uint64_t max, uint64_t *off, uint64_t *len)
{
	*off = op_below(run, HISTORY_BYTES);
	*len = rnd_log(&run->rnd, max);
	if (op_below(run, 2)) {
		*off &= ~(uint64_t)(BLK_BYTES - 1);
		*len = (*len + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
	}
	if (*len > HISTORY_BYTES - *off)
		*len = HISTORY_BYTES - *off;
}

static void begin_write(struct run *run, unsigned int i)
{
	struct op *op = op_change(run, i);
	static uint8_t bytes[WRITE_MAX];
	struct pagevec pv;

	pick_range(run, WRITE_MAX, &op->off, &op->len);
	rnd_fill(bytes, op->len, rnd_u64(&run->rnd));
	history_write(op_obj(op), op->off, bytes, op->len);
	pv = payload(run, op->off, bytes, op->len);
	if (op_below(run, 4) == 0)
		object_write_direct(run->at[i].handle, op->off, &pv, op_done, op);
	else
		object_write(run->at[i].handle, op->off, &pv, op_done, op);
}

static void op_changed(void *ctx, int err, uint64_t generation)
{
	(void)generation;
	op_done(ctx, err);
}

uint32_t op_pick_ranges(struct run *run, struct object_range *ranges)
{
	uint32_t n = 1 + (uint32_t)op_below(run, RANGES_MAX);
	uint64_t off = op_below(run, HISTORY_BYTES / 2);

	for (uint32_t r = 0; r < n; r++) {
		ranges[r].off_bytes = off;
		ranges[r].len_bytes = rnd_log(&run->rnd, RANGE_BYTES);
		off += ranges[r].len_bytes + rnd_log(&run->rnd, 4 * BLK_BYTES);
	}
	return n;
}

void op_fill_range(struct run *run, struct history_obj *o, const struct object_range *range,
		   struct pagevec *pvs, uint32_t v)
{
	uint8_t bytes[RANGE_BYTES];
	const uint8_t *p = bytes;

	rnd_fill(bytes, range->len_bytes, rnd_u64(&run->rnd));
	history_write(o, range->off_bytes, bytes, range->len_bytes);
	for (uint32_t k = 0; k < pvs[v].npages; k++) {
		struct page *page = pagevecs_page(objects_pages(run->objs), pvs, v, k);
		uint32_t at;
		uint32_t len;

		MUST(page, "memory");
		pagevec_span(&pvs[v], k, &at, &len);
		memcpy(page->data + at, p, len);
		p += len;
	}
}

static void begin_writev(struct run *run, unsigned int i)
{
	struct op *op = op_change(run, i);
	struct object_range ranges[RANGES_MAX];
	uint32_t n = op_pick_ranges(run, ranges);
	struct pagevec *pvs;
	uint64_t generation;
	uint64_t npages;

	oom_arm(false);
	MUST(object_payload(ranges, n, &pvs, &npages) == 0, "memory");
	for (uint32_t r = 0; r < n; r++)
		op_fill_range(run, op_obj(op), &ranges[r], pvs, r);
	oom_arm(true);
	object_writev(run->at[i].handle, ranges, pvs, n, op_condition(op, i, &generation),
		      op_changed, op);
	free(pvs);
}

/* ---- holes, sizes ---------------------------------------------------------------------------- */

static void begin_zero(struct run *run, unsigned int i)
{
	struct op *op = op_change(run, i);
	bool whole = op_below(run, 3) == 0;
	uint64_t from;
	uint64_t end;

	pick_range(run, HISTORY_BYTES, &op->off, &op->len);
	from = op->off;
	end = op->off + op->len;
	if (whole) { /* only whole blocks, and the last one of the object counts as one */
		uint64_t size = history_size(op_obj(op));

		from = (from + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
		if (end < size)
			end &= ~(uint64_t)(BLK_BYTES - 1);
	}
	if (end > from)
		history_zero(op_obj(op), from, end - from);
	else
		history_sent(op_obj(op));
	object_zero(run->at[i].handle, op->off, op->len, whole, op_done, op);
}

static void begin_resize(struct run *run, unsigned int i)
{
	struct op *op = op_change(run, i);
	uint64_t size = op_below(run, HISTORY_BYTES + 1);

	if (op_below(run, 2))
		size &= ~(uint64_t)(BLK_BYTES - 1);
	history_resize(op_obj(op), size);
	object_resize(run->at[i].handle, size, true, op_done, op);
}

static void unshare_answered(struct op *op, int err)
{
	(void)err; /* the content stays in any case */
	op->run->at[op->i].busy = false;
}

static void op_unshared(void *ctx, int err, uint64_t len, uint64_t left, uint64_t copied)
{
	(void)len;
	(void)left;
	(void)copied;
	op_done(ctx, err);
}

static void begin_unshare(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, unshare_answered);

	object_unshare(run->at[i].handle, 0, HISTORY_BYTES, op_unshared, op);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void op_read(void *ctx, int err, struct pagevec *pv)
{
	struct op *op = ctx;
	const struct history_obj *o = op_obj(op);
	uint64_t size = history_size(o);
	uint64_t want = op->off >= size ? 0 : size - op->off;
	const uint8_t *p = o->bytes + op->off;

	if (want > op->len)
		want = op->len;
	if (err == 0) {
		MUST(pv->len == want, "%s: a read of another length", o->spec);
		for (uint32_t k = 0; k < pv->npages; k++) {
			uint32_t at;
			uint32_t n;

			pagevec_span(pv, k, &at, &n);
			MUST(memcmp(pv->pages[k]->data + at, p, n) == 0, "%s: wrong bytes",
			     o->spec);
			p += n;
		}
	}
	op_done(op, err);
}

static void read_answered(struct op *op, int err)
{
	(void)err;
	op->run->at[op->i].busy = false;
}

static void begin_read(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, read_answered);

	pick_range(run, HISTORY_BYTES, &op->off, &op->len);
	if (op_below(run, 4) == 0)
		object_read_direct(run->at[i].handle, op->off, op->len, op_read, op);
	else
		object_read(run->at[i].handle, op->off, op->len, op_read, op);
}

/* Whatever goes on beside it, what the device has is what the map says; it may be unable to read it. */
static void op_verified(void *ctx, int err, const struct object_verified *verified)
{
	struct op *op = ctx;

	for (uint32_t k = 0; err == 0 && k < verified->n; k++)
		MUST(verified->damages[k].kind == SCRUB_READ, "%s: damage of kind %d at block %u",
		     op_obj(op)->spec, (int)verified->damages[k].kind,
		     (unsigned int)verified->damages[k].blk.n);
	op_done(op, err);
}

static void begin_verify(struct run *run, unsigned int i)
{
	const struct object_verify what = {.len_bytes = HISTORY_BYTES, .max = 8};

	object_verify(run->at[i].handle, &what, op_verified, op_busy(run, i, read_answered));
}

/* ---- durability ------------------------------------------------------------------------------ */

void op_fsynced(struct op *op, int err)
{
	op->run->at[op->i].light--;
	if (err == 0)
		history_synced(op_obj(op), op->mark);
}

static void begin_fsync(struct run *run, unsigned int i)
{
	struct op *op = op_new(run, i, op_fsynced);

	run->at[i].light++;
	op->mark = history_mark(op_obj(op));
	object_fsync(run->at[i].handle, op_done, op);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void open_answered(struct op *op, int err)
{
	(void)err;
	op->run->at[op->i].busy = false;
}

static void op_opened(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct op *op = ctx;

	if (err == 0) {
		MUST(info->size_bytes == history_size(op_obj(op)), "%s: another size", info->name);
		op->run->at[op->i].handle = handle;
		op->run->at[op->i].id = info->id;
	}
	op_done(op, err);
}

void ops_open(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, open_answered);

	object_open(run->objs, op_obj(op)->spec, 0, "sim", op_opened, op);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static struct {
	const char *name;
	unsigned int weight;
	void (*begin)(struct run *run, unsigned int i);
} kinds[] = {
    {"write", 40, begin_write},	       {"writev", 8, begin_writev},
    {"write-all", 6, begin_write_all}, {"zero", 8, begin_zero},
    {"resize", 6, begin_resize},       {"fsync", 12, begin_fsync},
    {"read", 10, begin_read},	       {"unshare", 3, begin_unshare},
    {"clone", 6, begin_clone},	       {"reset", 2, begin_reset},
    {"remove", 3, begin_remove},       {"fsync_all", 3, begin_fsync_all},
    {"share", 4, begin_share},	       {"tie", 1, begin_tie},
    {"reserve", 3, begin_reserve},     {"readonly", 1, begin_readonly},
    {"extents", 3, begin_extents},     {"diff", 2, begin_diff},
    {"verify", 6, begin_verify},
};

bool ops_weigh(const char *name, unsigned int weight)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		if (strcmp(kinds[k].name, name) != 0)
			continue;
		kinds[k].weight = weight;
		return true;
	}
	return false;
}

/* Of a version, or of an object that is not open.  False: it is open. */
static bool ops_begin_closed(struct run *run, unsigned int i)
{
	const struct history_obj *o = &run->history->objs[i];

	run->kind = "of version";
	if (o->version && history_is_late(o, sched_now_ns()))
		begin_look_for(run, i);
	else if (o->version && op_below(run, 8) == 0)
		(op_below(run, 2) ? begin_clone : begin_remove)(run, i);
	if (o->version || run->at[i].handle)
		return o->version;
	if (o->attrs.readonly)
		begin_readonly(run, i);
	else
		ops_open(run, i);
	return true;
}

void ops_begin(struct run *run)
{
	unsigned int i = (unsigned int)op_below(run, HISTORY_OBJS);
	const struct history_obj *o = &run->history->objs[i];
	uint64_t roll = 0;
	size_t k = 0;

	run->kind = "create";
	if (o->life == HISTORY_NONE && !run->at[i].busy && op_below(run, 3) == 0)
		begin_create(run);
	if (o->life != HISTORY_THERE || run->at[i].busy)
		return;
	if (ops_begin_closed(run, i))
		return;
	if (o->attrs.readonly && op_below(run, 2) == 0) {
		begin_readonly(run, i);
		return;
	}
	for (k = 0; k < ARRAY_LEN(kinds); k++)
		roll += kinds[k].weight;
	roll = op_below(run, roll);
	for (k = 0; roll >= kinds[k].weight; k++)
		roll -= kinds[k].weight;
	run->kind = kinds[k].name;
	kinds[k].begin(run, i);
}
