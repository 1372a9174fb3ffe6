/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"

#define WRITE_MAX  (UINT64_C(24) << BLK_SHIFT)
#define RANGES_MAX 4u

struct op {
	struct run *run;
	unsigned int i; /* the object */
	unsigned int j; /* the other one: of a clone, the new one */
	uint32_t mark;	/* of an fsync */
	uint32_t other_mark;
	uint64_t off;
	uint64_t len;
	const char *kind;
	void (*answered)(struct op *op, int err);
};

static uint64_t below(struct run *run, uint64_t n)
{
	return rnd_below(&run->rnd, n);
}

static struct history_obj *obj_of(struct op *op)
{
	return &op->run->history->objs[op->i];
}

static struct history_obj *other_of(struct op *op)
{
	return &op->run->history->objs[op->j];
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool err_is_space(int err)
{
	return err == -ERR_NOSPC || err == -ERR_NOSPC_META || err == -ERR_JOURNAL_FULL;
}

/* May an operation of this run be refused with that? */
static void judge_err(const struct run *run, int err)
{
	MUST(err == 0 || err_is_space(err) ||
		 (run->faults &&
		  (err_class(err) == ERR_IO || err == -ERR_IO || err == -ERR_WRITEBACK ||
		   err == -ERR_LATCHED || err == -ERR_NOMEM)),
	     "an operation failed: %s", err_name(err));
	if (err < 0)
		run->stats->refused++;
}

static void ops_tell(const struct run *run, const char *what, struct op *op, int err)
{
	if (run->tells)
		(void)printf("%llu %s %s %s %s: %s\n", (unsigned long long)run->history->seq, what,
			     op->kind, obj_of(op)->spec, op->j != op->i ? other_of(op)->spec : "",
			     err_name(err));
}

static void op_done(void *ctx, int err)
{
	struct op *op = ctx;
	struct run *run = op->run;

	judge_err(run, err);
	ops_tell(run, "answered", op, err);
	run->under_way--;
	op->answered(op, err);
	free(op);
}

static void op_info_done(void *ctx, int err, const struct map_obj *info)
{
	(void)info;
	op_done(ctx, err);
}

static struct op *op_new(struct run *run, unsigned int i, void (*answered)(struct op *op, int err))
{
	struct op *op = oom_calloc(1, sizeof(*op));

	*op = (struct op){.run = run, .i = i, .j = i, .kind = run->kind, .answered = answered};
	ops_tell(run, "begins", op, 0);
	run->under_way++;
	run->stats->ops++;
	return op;
}

/* The same, of one that keeps others from the object. */
static struct op *op_busy(struct run *run, unsigned int i, void (*answered)(struct op *op, int err))
{
	run->at[i].busy = true;
	return op_new(run, i, answered);
}

/* ---- content --------------------------------------------------------------------------------- */

static void change_answered(struct op *op, int err)
{
	op->run->at[op->i].busy = false;
	history_answered(op->run->history, obj_of(op), err == 0);
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
	*off = below(run, HISTORY_BYTES);
	*len = rnd_log(&run->rnd, max);
	if (below(run, 2)) {
		*off &= ~(uint64_t)(BLK_BYTES - 1);
		*len = (*len + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
	}
	if (*len > HISTORY_BYTES - *off)
		*len = HISTORY_BYTES - *off;
}

static void begin_write(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, change_answered);
	uint8_t *bytes = oom_calloc(1, WRITE_MAX);
	struct pagevec pv;

	pick_range(run, WRITE_MAX, &op->off, &op->len);
	rnd_fill(bytes, op->len, rnd_u64(&run->rnd));
	history_write(obj_of(op), op->off, bytes, op->len);
	pv = payload(run, op->off, bytes, op->len);
	free(bytes);
	if (below(run, 4) == 0)
		object_write_direct(run->at[i].handle, op->off, &pv, op_done, op);
	else
		object_write(run->at[i].handle, op->off, &pv, op_done, op);
}

static void op_changed(void *ctx, int err, uint64_t generation)
{
	(void)generation;
	op_done(ctx, err);
}

/* Several ranges, perhaps of one block. */
static void begin_writev(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, change_answered);
	struct object_range ranges[RANGES_MAX];
	uint8_t bytes[2 * BLK_BYTES];
	uint32_t n = 1 + (uint32_t)below(run, RANGES_MAX);
	uint64_t off = below(run, HISTORY_BYTES / 2);
	struct pagevec *pvs;
	uint64_t npages;

	for (uint32_t r = 0; r < n; r++) {
		ranges[r].off_bytes = off;
		ranges[r].len_bytes = rnd_log(&run->rnd, sizeof(bytes));
		off += ranges[r].len_bytes + rnd_log(&run->rnd, 4 * BLK_BYTES);
	}
	oom_arm(false);
	MUST(object_payload(ranges, n, &pvs, &npages) == 0, "memory");
	for (uint32_t r = 0; r < n; r++) {
		const uint8_t *p = bytes;

		rnd_fill(bytes, ranges[r].len_bytes, rnd_u64(&run->rnd));
		history_write(obj_of(op), ranges[r].off_bytes, bytes, ranges[r].len_bytes);
		for (uint32_t k = 0; k < pvs[r].npages; k++) {
			uint32_t at;
			uint32_t len;
			struct page *page = pagevecs_page(objects_pages(run->objs), pvs, r, k);

			MUST(page, "memory");
			pagevec_span(&pvs[r], k, &at, &len);
			memcpy(page->data + at, p, len);
			p += len;
		}
	}
	oom_arm(true);
	object_writev(run->at[i].handle, ranges, pvs, n, NULL, op_changed, op);
	free(pvs);
}

static void begin_zero(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, change_answered);
	bool whole = below(run, 3) == 0;
	uint64_t from;
	uint64_t end;

	pick_range(run, HISTORY_BYTES, &op->off, &op->len);
	from = op->off;
	end = op->off + op->len;
	if (whole) { /* only whole blocks, and the last one of the object counts as one */
		uint64_t size = history_size(obj_of(op));

		from = (from + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
		if (end < size)
			end &= ~(uint64_t)(BLK_BYTES - 1);
	}
	if (end > from)
		history_zero(obj_of(op), from, end - from);
	else
		history_sent(obj_of(op));
	object_zero(run->at[i].handle, op->off, op->len, whole, op_done, op);
}

static void begin_resize(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, change_answered);
	uint64_t size = below(run, HISTORY_BYTES + 1);

	if (below(run, 2))
		size &= ~(uint64_t)(BLK_BYTES - 1);
	history_resize(obj_of(op), size);
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
	const struct history_obj *o = obj_of(op);
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
	if (below(run, 4) == 0)
		object_read_direct(run->at[i].handle, op->off, op->len, op_read, op);
	else
		object_read(run->at[i].handle, op->off, op->len, op_read, op);
}

/* ---- durability ------------------------------------------------------------------------------ */

static void fsync_answered(struct op *op, int err)
{
	op->run->at[op->i].light--;
	if (err == 0)
		history_synced(obj_of(op), op->mark);
}

static void begin_fsync(struct run *run, unsigned int i)
{
	struct op *op = op_new(run, i, fsync_answered);

	run->at[i].light++;
	op->mark = history_mark(obj_of(op));
	object_fsync(run->at[i].handle, op_done, op);
}

static void fsync_all_answered(struct op *op, int err)
{
	op->run->at[op->j].light--;
	if (err == 0)
		history_synced(other_of(op), op->other_mark);
	fsync_answered(op, err);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* One that does not exist; HISTORY_OBJS: there is none. */
static unsigned int pick_unused(const struct run *run)
{
	unsigned int i = 0;

	while (i < HISTORY_OBJS && (run->history->objs[i].life != HISTORY_NONE || run->at[i].busy))
		i++;
	return i;
}

/* An operation on names failed by a fault: whether it comes to be after all is seen at the next start. */
static void names_failed(struct run *run, int err)
{
	if (err < 0 && !err_is_space(err))
		run->latched = true;
}

static void made_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	run->at[op->j].busy = false;
	names_failed(run, err);
	if (err == 0) {
		other_of(op)->life = HISTORY_THERE;
		if (op->i != op->j)
			history_synced(obj_of(op), op->mark);
		if (!other_of(op)->version)
			ops_open(run, op->j);
	} else if (!run->latched) {
		history_end(other_of(op));
	}
}

static void begin_create(struct run *run)
{
	unsigned int j = pick_unused(run);
	struct history_obj *o = &run->history->objs[j];
	char spec[24];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	(void)snprintf(spec, sizeof(spec), "o%u", j);
	o->version = false;
	history_begin(run->history, o, spec, NULL, below(run, HISTORY_BYTES + 1));
	op = op_busy(run, j, made_answered);
	object_create(run->objs, spec, history_size(o), NULL, op_info_done, op);
}

static void begin_clone(struct run *run, unsigned int i)
{
	unsigned int j = pick_unused(run);
	struct history_obj *src = &run->history->objs[i];
	struct history_obj *dst = &run->history->objs[j];
	char spec[24];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	dst->version = !src->version && below(run, 2);
	dst->parent = i;
	if (dst->version)
		(void)snprintf(spec, sizeof(spec), "%s@v%u", src->spec, run->history->nversions++);
	else
		(void)snprintf(spec, sizeof(spec), "o%u", j);
	history_begin(run->history, dst, spec, src, 0);
	op = op_busy(run, i, made_answered);
	run->at[j].busy = true;
	op->j = j;
	op->mark = history_mark(src);
	if (dst->version)
		object_snapshot(run->objs, spec, NULL, op_info_done, op);
	else
		object_clone(run->objs, src->spec, spec, NULL, op_info_done, op);
}

/* A version of the object that is free; HISTORY_OBJS: there is none. */
static unsigned int pick_version(const struct run *run, unsigned int i, bool free_only)
{
	unsigned int v = 0;

	for (; v < HISTORY_OBJS; v++) {
		const struct history_obj *o = &run->history->objs[v];

		if (o->life != HISTORY_NONE && o->version && o->parent == i &&
		    !(free_only && (run->at[v].busy || o->life != HISTORY_THERE)))
			break;
	}
	return v;
}

static void reset_answered(struct op *op, int err)
{
	op->run->at[op->j].busy = false;
	op->run->at[op->i].busy = false;
	names_failed(op->run, err);
	if (op->run->latched)
		return;
	history_answered(op->run->history, obj_of(op), err == 0);
	if (err == 0)
		history_synced(obj_of(op), history_mark(obj_of(op)));
}

static void begin_reset(struct run *run, unsigned int i)
{
	unsigned int v = pick_version(run, i, true);
	struct op *op;

	if (v == HISTORY_OBJS || run->at[i].light > 0 || history_is_tied(run->history, i))
		return; /* of one that is tied it is not in the order of the others */
	op = op_busy(run, i, reset_answered);
	run->at[v].busy = true;
	op->j = v;
	history_become(obj_of(op), other_of(op));
	object_reset(run->objs, other_of(op)->spec, op_info_done, op);
}

static void remove_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	names_failed(run, err);
	if (err == 0)
		history_end(obj_of(op));
	else if (!run->latched)
		obj_of(op)->life = HISTORY_THERE;
}

static void begin_remove(struct run *run, unsigned int i)
{
	struct op *op;

	if (pick_version(run, i, false) < HISTORY_OBJS || run->at[i].light > 0)
		return;
	if (run->at[i].handle)
		(void)object_close(run->at[i].handle);
	run->at[i].handle = NULL;
	op = op_busy(run, i, remove_answered);
	obj_of(op)->life = HISTORY_GOING;
	object_remove(run->objs, obj_of(op)->spec, false, op_done, op);
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
		MUST(info->size_bytes == history_size(obj_of(op)), "%s: another size", info->name);
		op->run->at[op->i].handle = handle;
	}
	op_done(op, err);
}

void ops_open(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, open_answered);

	object_open(run->objs, obj_of(op)->spec, 0, "sim", op_opened, op);
}

/* ---- two objects ----------------------------------------------------------------------------- */

/* Another open object, on which nothing is going on; HISTORY_OBJS: there is none. */
static unsigned int pick_other(struct run *run, unsigned int i)
{
	unsigned int k = (unsigned int)below(run, HISTORY_OBJS);

	for (unsigned int n = 0; n < HISTORY_OBJS; n++, k = (k + 1) % HISTORY_OBJS)
		if (k != i && run->at[k].handle && !run->at[k].busy)
			return k;
	return HISTORY_OBJS;
}

static void begin_fsync_all(struct run *run, unsigned int i)
{
	unsigned int j = pick_other(run, i);
	struct handle *handles[2];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	op = op_new(run, i, fsync_all_answered);
	op->j = j;
	run->at[i].light++;
	run->at[j].light++;
	op->mark = history_mark(obj_of(op));
	op->other_mark = history_mark(other_of(op));
	handles[0] = run->at[i].handle;
	handles[1] = run->at[j].handle;
	object_fsync_all(handles, 2, op_done, op);
}

static void share_answered(struct op *op, int err)
{
	op->run->at[op->j].busy = false;
	op->run->at[op->i].busy = false;
	names_failed(op->run, err);
	if (op->run->latched)
		return;
	history_answered(op->run->history, obj_of(op), err == 0);
	if (err == 0)
		history_synced(obj_of(op), history_mark(obj_of(op)));
}

static void op_shared(void *ctx, int err, uint64_t len, uint64_t left)
{
	struct op *op = ctx;

	MUST(err < 0 || (len == op->len && left == 0), "a range clone in part");
	op_done(op, err);
}

/* A range clone; between objects, or within one. */
static void begin_share(struct run *run, unsigned int i)
{
	unsigned int j = below(run, 4) == 0 ? i : pick_other(run, i);
	uint64_t size = j < HISTORY_OBJS ? history_size(&run->history->objs[j]) : 0;
	uint64_t src_off;
	uint64_t dst_off;
	struct op *op;
	uint64_t len;

	if (size == 0 || history_is_tied(run->history, i))
		return;
	src_off = below(run, size);
	len = 1 + below(run, size - src_off);
	dst_off = (below(run, HISTORY_BLKS) << BLK_SHIFT) + src_off % BLK_BYTES;
	if (len > HISTORY_BYTES - dst_off)
		len = HISTORY_BYTES - dst_off;
	if (i == j && src_off < dst_off + len && dst_off < src_off + len)
		return;
	op = op_busy(run, i, share_answered);
	run->at[j].busy = true;
	op->j = j;
	op->len = len;
	history_write(obj_of(op), dst_off, other_of(op)->bytes + src_off, len);
	object_share(run->at[i].handle, dst_off, run->at[j].handle, src_off, len, op_shared, op);
}

static void ops_tie(struct handle *const *handles)
{
	oom_arm(false);
	MUST(object_tie(handles, 2) == 0, "objects can be tied");
	oom_arm(true);
}

/* From now on the two are committed in one order. */
static void begin_tie(struct run *run, unsigned int i)
{
	unsigned int j = pick_other(run, i);
	struct handle *handles[2] = {run->at[i].handle,
				     j < HISTORY_OBJS ? run->at[j].handle : NULL};

	if (j < HISTORY_OBJS && history_tie(run->history, i, j))
		ops_tie(handles);
	if (run->tells && j < HISTORY_OBJS)
		(void)printf("%llu tie o%u o%u\n", (unsigned long long)run->history->seq, i, j);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned int weight;
	void (*begin)(struct run *run, unsigned int i);
} kinds[] = {
    {"write", 40, begin_write},	   {"writev", 8, begin_writev},	      {"zero", 8, begin_zero},
    {"resize", 6, begin_resize},   {"fsync", 12, begin_fsync},	      {"read", 10, begin_read},
    {"unshare", 3, begin_unshare}, {"clone", 6, begin_clone},	      {"reset", 2, begin_reset},
    {"remove", 3, begin_remove},   {"fsync_all", 3, begin_fsync_all}, {"share", 4, begin_share},
    {"tie", 1, begin_tie},
};

void ops_begin(struct run *run)
{
	unsigned int i = (unsigned int)below(run, HISTORY_OBJS);
	const struct history_obj *o = &run->history->objs[i];
	uint64_t roll = 0;
	size_t k = 0;

	if (o->life == HISTORY_NONE && !run->at[i].busy && below(run, 3) == 0)
		run->kind = "create", begin_create(run);
	if (o->life != HISTORY_THERE || run->at[i].busy)
		return;
	run->kind = "of version";
	if (o->version) {
		if (below(run, 8) == 0)
			(below(run, 2) ? begin_clone : begin_remove)(run, i);
		return;
	}
	if (!run->at[i].handle) {
		ops_open(run, i);
		return;
	}
	for (k = 0; k < ARRAY_LEN(kinds); k++)
		roll += kinds[k].weight;
	roll = below(run, roll);
	for (k = 0; roll >= kinds[k].weight; k++)
		roll -= kinds[k].weight;
	run->kind = kinds[k].name;
	kinds[k].begin(run, i);
}
