/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep_ops.c: the operations of a workload, and what their answers say of the history.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sim/sched.h"
#include "tests/sweep/sweep.h"

#define RANGES 3u /* of a writev: these lie a block and a half apart */

static const char *const texts[] = {
#define X(name, text) text,
    STEPS(X)
#undef X
};

const char *step_text(enum step_what what)
{
	return texts[what];
}

static struct history_obj *op_obj(const struct op *op)
{
	return &op->s->history.objs[op->step->i];
}

static struct history_obj *op_other(const struct op *op)
{
	return &op->s->history.objs[op->step->j];
}

/* ---- answers --------------------------------------------------------------------------------- */

/* What a fault at each point may make an operation fail with, beside a refusal of the latched engine. */
static bool may_fail_by(const struct fault_plan *plan, int err)
{
	switch (plan->point) {
	case FAULT_DATA_READ:
	case FAULT_DATA_WRITE:
	case FAULT_DATA_SYNC:
		return (err_class(err) == ERR_IO && err != -ERR_MAP && err != -ERR_LATCHED) ||
		       (plan->kind == FAULT_ENOSPC && err_class(err) == ERR_NOSPC);
	case FAULT_MEMORY:
		return err_class(err) == ERR_NOMEM || err_class(err) == ERR_IO;
	default:
		return err == -ERR_MAP || err == -ERR_LATCHED || err == -ERR_WRITEBACK ||
		       (plan->kind == FAULT_NOMEM && err == -ERR_NOMEM) ||
		       (plan->kind == FAULT_ENOSPC && err == -ERR_NOSPC) ||
		       (plan->kind == FAULT_SHORT && err_class(err) == ERR_FORMAT);
	}
}

bool sweep_may_fail(const struct sweep *s, int err)
{
	if (s->work->full && err == -ERR_NOSPC)
		return true;
	return fault_hits() > 0 && s->plan.kind != FAULT_DELAY && s->plan.kind != FAULT_EINTR &&
	       may_fail_by(&s->plan, err);
}

static void op_tell(const struct op *op, const char *what, int err)
{
	if (op->s->tells)
		(void)printf("%9llu us %s %s %u %u: %s\n",
			     (unsigned long long)(sched_now_ns() / 1000 % 1000000000), what,
			     texts[op->step->what], op->step->i, op->step->j, err_name(err));
}

static void op_end(struct op *op, int err);

/* Every answer comes here. */
static void op_done(void *ctx, int err)
{
	struct op *op = ctx;
	bool armed = fault_arm(false);

	MUST(op->answers == 0, "%s is answered twice", texts[op->step->what]);
	MUST(err == 0 || sweep_may_fail(op->s, err), "%s failed: %s", texts[op->step->what],
	     err_name(err));
	op_tell(op, "answered", err);
	op->answers++;
	op->err = err;
	op->s->under_way--;
	op->s->answered_ns = sched_now_ns();
	op_end(op, err);
	(void)fault_arm(armed);
}

static void op_info(void *ctx, int err, const struct map_obj *info)
{
	(void)info;
	op_done(ctx, err);
}

static void op_changed(void *ctx, int err, uint64_t generation)
{
	(void)generation;
	op_done(ctx, err);
}

static void op_all(void *ctx, int err, uint32_t at, const uint64_t *generations)
{
	(void)at;
	(void)generations;
	op_done(ctx, err);
}

static void op_pairs(void *ctx, int err, uint32_t at)
{
	(void)at;
	op_done(ctx, err);
}

static void op_shared(void *ctx, int err, uint64_t len, uint64_t left)
{
	const struct op *op = ctx;

	MUST(err < 0 || (len == op->step->len && left == 0), "a range clone in part");
	op_done(ctx, err);
}

static void op_unshared(void *ctx, int err, uint64_t len, uint64_t left, uint64_t copied)
{
	(void)len;
	(void)left;
	(void)copied;
	op_done(ctx, err);
}

static void op_reaping(void *ctx, int err, uint64_t nblks)
{
	(void)nblks;
	op_done(ctx, err);
}

static void op_opened(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct op *op = ctx;
	struct sweep_obj *at = &op->s->at[op->step->i];

	if (err == 0) {
		MUST(info->size_bytes == history_size(op_obj(op)), "%s: another size", info->name);
		at->handles[at->handles[0] != NULL] = handle;
	}
	op_done(op, err);
}

/* ---- what an answer means -------------------------------------------------------------------- */

/* Something is durable from now on. */
static void op_synced(struct op *op, struct history_obj *o, uint32_t mark)
{
	op->s->durables++;
	history_synced(o, mark);
}

/*
 * What holds up a commit is told to who waits for it; to the other handles only where it is the object's
 * own, and not that of one that it is committed with.
 */
static void fsync_failed(struct sweep_obj *at, int err)
{
	at->heard = true;
	if (!at->tied && err_class(err) != ERR_NOMEM && err != -ERR_LATCHED)
		at->owed = true;
}

static void fsync_end(struct op *op, int err)
{
	struct sweep_obj *at = &op->s->at[op->step->i];
	struct sweep_obj *other = op->step->what == STEP_FSYNC_ALL ? &op->s->at[op->step->j] : NULL;

	if (err < 0) {
		fsync_failed(at, err);
		if (other)
			fsync_failed(other, err);
		return;
	}
	MUST(!op->late, "an fsync answered OK by an engine that is latched");
	at->tied = false;
	op_synced(op, op_obj(op), op->marks[0]);
	if (other) {
		other->tied = false;
		op_synced(op, op_other(op), op->marks[1]);
	}
}

/* A fault has made it fail: what it would have done may be found after a power cut. */
/* For want of space in the store: nothing has been written.  Where it is the device that has none, a power
 * cut may show what failed. */
static bool is_refused(const struct op *op, int err)
{
	return err_class(err) == ERR_NOSPC && op->s->plan.kind != FAULT_ENOSPC;
}

static void made_end(struct op *op, struct history_obj *o, int err)
{
	if (err == 0) {
		o->life = HISTORY_THERE;
		op->s->durables++;
	} else if (is_refused(op, err)) {
		history_end(o);
	}
}

/* A copy of one object, or of both. */
static void copied_end(struct op *op, int err)
{
	struct sweep *s = op->s;
	const struct step *step = op->step;

	if (step->what == STEP_GROUP) {
		made_end(op, &s->history.objs[step->i + 4], err);
		made_end(op, &s->history.objs[step->j + 4], err);
		if (err == 0)
			op_synced(op, op_other(op), op->marks[1]);
	} else {
		made_end(op, op_other(op), err);
	}
	if (err == 0)
		op_synced(op, op_obj(op), op->marks[0]);
}

/*
 * What replaces content is durable when answered.  Where it failed the object is as before, but a power
 * cut may show the content all the same: until something is committed over it.
 */
static void replaced_end(struct op *op, int err)
{
	struct history_obj *o = op_obj(op);
	struct history_step back = o->steps[o->n - 2];
	struct history_obj old = {.steps = &back, .n = 1};

	if (err == 0 || is_refused(op, err)) {
		history_answered(&op->s->history, o, err == 0);
		if (err == 0)
			op_synced(op, o, history_mark(o));
		return;
	}
	old.bytes = oom_calloc(1, HISTORY_BYTES);
	memcpy(old.bytes, o->bytes, HISTORY_BYTES);
	memcpy(old.bytes + o->kept, o->before + o->kept, o->kept_end - o->kept);
	history_answered(&op->s->history, o, true);
	history_become(o, &old);
	history_answered(&op->s->history, o, true);
	free(old.bytes);
}

static void removed_end(struct op *op, int err)
{
	if (err == 0) {
		history_end(op_obj(op));
		op->s->durables++;
	}
}

static void op_end(struct op *op, int err)
{
	switch (op->step->what) {
	case STEP_WRITE:
	case STEP_DIRECT:
	case STEP_WRITEV:
	case STEP_ZERO:
	case STEP_TRIM:
	case STEP_RESIZE:
		history_answered(&op->s->history, op_obj(op), err == 0);
		break;
	case STEP_WRITE_ALL:
		history_unit_answered(&op->s->history, op->unit, err == 0);
		break;
	case STEP_FSYNC:
	case STEP_FSYNC_ALL:
		fsync_end(op, err);
		break;
	case STEP_CREATE:
		made_end(op, op_obj(op), err);
		break;
	case STEP_CLONE:
	case STEP_SNAP:
	case STEP_GROUP:
		copied_end(op, err);
		break;
	case STEP_SHARE:
	case STEP_RESET:
		replaced_end(op, err);
		break;
	case STEP_REMOVE:
		removed_end(op, err);
		break;
	default:
		break;
	}
}

/* Until an fsync of each. */
static void tie(struct op *op)
{
	op->s->at[op->step->i].tied = true;
	op->s->at[op->step->j].tied = true;
}

/* ---- content --------------------------------------------------------------------------------- */

/* Bytes that are written nowhere else, into the pages of a vector and into the history. */
static void fill(struct op *op, struct history_obj *o, uint64_t off, uint64_t len,
		 struct pagevec *pvs, uint32_t v)
{
	uint8_t *bytes = oom_calloc(1, len);
	const uint8_t *p = bytes;

	rnd_fill(bytes, len, ++op->s->content);
	history_write(o, off, bytes, len);
	for (uint32_t k = 0; k < pvs[v].npages; k++) {
		struct page *page = pagevecs_page(objects_pages(op->s->objs), pvs, v, k);
		uint32_t at;
		uint32_t n;

		MUST(page, "memory");
		pagevec_span(&pvs[v], k, &at, &n);
		memcpy(page->data + at, p, n);
		p += n;
	}
	free(bytes);
}

static void begin_write(struct op *op)
{
	const struct step *step = op->step;
	struct handle *handle = op->s->at[step->i].handles[0];
	struct pagevec pv;

	MUST(pagevec_init(&pv, (uint32_t)(step->off % BLK_BYTES), step->len) == 0, "memory");
	fill(op, op_obj(op), step->off, step->len, &pv, 0);
	(void)fault_arm(true);
	if (step->what == STEP_DIRECT)
		object_write_direct(handle, step->off, &pv, op_done, op);
	else
		object_write(handle, step->off, &pv, op_done, op);
}

/* The ranges of a write of several, of step->len each. */
static void ranges_of(const struct step *step, struct object_range *ranges)
{
	for (uint32_t r = 0; r < RANGES; r++) {
		ranges[r].off_bytes = step->off + r * (step->len + BLK_BYTES + BLK_BYTES / 2);
		ranges[r].len_bytes = step->len;
	}
}

static void begin_writev(struct op *op)
{
	struct object_range ranges[RANGES];
	struct pagevec *pvs;
	uint64_t npages;

	ranges_of(op->step, ranges);
	MUST(object_payload(ranges, RANGES, &pvs, &npages) == 0, "memory");
	for (uint32_t r = 0; r < RANGES; r++)
		fill(op, op_obj(op), ranges[r].off_bytes, ranges[r].len_bytes, pvs, r);
	(void)fault_arm(true);
	object_writev(op->s->at[op->step->i].handles[0], ranges, pvs, RANGES, NULL, op_changed, op);
	(void)fault_arm(false);
	free(pvs);
}

static void begin_write_all(struct op *op)
{
	const struct step *step = op->step;
	struct object_range ranges[RANGES];
	struct object_part parts[2] = {
	    {.handle = op->s->at[step->i].handles[0], .ranges = ranges, .nranges = RANGES},
	    {.handle = op->s->at[step->j].handles[0], .ranges = ranges, .nranges = RANGES}};
	struct pagevec *pvs;
	uint64_t npages;
	uint32_t npvs;

	ranges_of(step, ranges);
	MUST(object_payload_all(parts, 2, &pvs, &npvs, &npages) == 0, "memory");
	for (uint32_t v = 0; v < 2 * RANGES; v++) {
		const struct object_range *range = &ranges[v % RANGES];

		fill(op, v < RANGES ? op_obj(op) : op_other(op), range->off_bytes, range->len_bytes,
		     pvs, v);
	}
	op->unit = history_unit(&op->s->history, 1u << step->i | 1u << step->j);
	MUST(op->unit, "so many changes of several objects");
	tie(op);
	(void)fault_arm(true);
	object_write_all(parts, 2, pvs, op_all, op);
	(void)fault_arm(false);
	free(pvs);
}

/* Only whole blocks are trimmed, and the last one of the object counts as one. */
static void begin_zero(struct op *op)
{
	const struct step *step = op->step;
	bool whole = step->what == STEP_TRIM;
	uint64_t from = step->off;
	uint64_t end = step->off + step->len;

	if (whole) {
		from = (from + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
		if (end < history_size(op_obj(op)))
			end &= ~(uint64_t)(BLK_BYTES - 1);
	}
	history_zero(op_obj(op), from, end - from);
	(void)fault_arm(true);
	object_zero(op->s->at[step->i].handles[0], step->off, step->len, whole, op_done, op);
}

static void begin_resize(struct op *op)
{
	const struct step *step = op->step;

	history_resize(op_obj(op), step->len);
	(void)fault_arm(true);
	object_resize(op->s->at[step->i].handles[0], step->len, true, op_done, op);
}

static void op_read(void *ctx, int err, struct pagevec *pv)
{
	struct op *op = ctx;
	const struct history_obj *o = op_obj(op);
	uint64_t size = history_size(o);
	uint64_t want = op->step->off < size ? size - op->step->off : 0;
	const uint8_t *p = o->bytes + op->step->off;

	if (want > op->step->len)
		want = op->step->len;
	if (err == 0)
		MUST(pv->len == want, "%s: a read of another length", o->spec);
	for (uint32_t k = 0; err == 0 && k < pv->npages; k++) {
		uint32_t at;
		uint32_t n;

		pagevec_span(pv, k, &at, &n);
		MUST(memcmp(pv->pages[k]->data + at, p, n) == 0, "%s: wrong bytes", o->spec);
		p += n;
	}
	op_done(op, err);
}

static void begin_read(struct op *op)
{
	(void)fault_arm(true);
	object_read(op->s->at[op->step->i].handles[0], op->step->off, op->step->len, op_read, op);
}

/* ---- durability ------------------------------------------------------------------------------ */

static void begin_fsync(struct op *op)
{
	op->marks[0] = history_mark(op_obj(op));
	(void)fault_arm(true);
	object_fsync(op->s->at[op->step->i].handles[0], op_done, op);
}

static void begin_fsync_all(struct op *op)
{
	struct handle *const handles[2] = {op->s->at[op->step->i].handles[0],
					   op->s->at[op->step->j].handles[0]};

	op->marks[0] = history_mark(op_obj(op));
	op->marks[1] = history_mark(op_other(op));
	tie(op);
	(void)fault_arm(true);
	object_fsync_all(handles, 2, op_done, op);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void name_of(char *spec, size_t len, unsigned int i)
{
	(void)snprintf(spec, len, "o%u", i);
}

static void begin_create(struct op *op)
{
	char spec[24];

	name_of(spec, sizeof(spec), op->step->i);
	op_obj(op)->version = false;
	history_begin(&op->s->history, op_obj(op), spec, NULL, op->step->len);
	(void)fault_arm(true);
	object_create(op->s->objs, spec, op->step->len, NULL, op_info, op);
}

/* The first handle, and in the same turn the other one. */
static void begin_open(struct op *op)
{
	unsigned int flags = op_obj(op)->version ? OBJECT_READONLY : 0;

	(void)fault_arm(true);
	object_open(op->s->objs, op_obj(op)->spec, flags, "sweep", op_opened, op);
}

/* The history of a version of object i, in place v. */
static struct history_obj *begin_version(struct sweep *s, unsigned int i, unsigned int v)
{
	struct history_obj *dst = &s->history.objs[v];
	char spec[24];

	(void)snprintf(spec, sizeof(spec), "o%u@v%u", i, v);
	dst->version = true;
	dst->parent = i;
	history_begin(&s->history, dst, spec, &s->history.objs[i], 0);
	return dst;
}

static void begin_copy(struct op *op)
{
	struct objects *objs = op->s->objs;
	struct history_obj *dst = op_other(op);
	char spec[24];

	op->marks[0] = history_mark(op_obj(op));
	if (op->step->what == STEP_SNAP) {
		dst = begin_version(op->s, op->step->i, op->step->j);
		(void)fault_arm(true);
		object_snapshot(objs, dst->spec, NULL, op_info, op);
		return;
	}
	name_of(spec, sizeof(spec), op->step->j);
	dst->version = false;
	history_begin(&op->s->history, dst, spec, op_obj(op), 0);
	(void)fault_arm(true);
	object_clone(objs, op_obj(op)->spec, spec, NULL, op_info, op);
}

/* Versions of both objects, of one point in time: four places behind each. */
static void begin_group(struct op *op)
{
	const struct step *step = op->step;
	struct sweep *s = op->s;
	static struct object_pair pairs[2]; /* as long as it is under way */

	op->marks[0] = history_mark(op_obj(op));
	op->marks[1] = history_mark(op_other(op));
	pairs[0].src = op_obj(op)->spec;
	pairs[0].dst = begin_version(s, step->i, step->i + 4)->spec;
	pairs[1].src = op_other(op)->spec;
	pairs[1].dst = begin_version(s, step->j, step->j + 4)->spec;
	tie(op);
	(void)fault_arm(true);
	object_clone_all(s->objs, pairs, 2, NULL, op_pairs, op);
}

static void begin_share(struct op *op)
{
	const struct step *step = op->step;

	history_write(op_obj(op), step->off, op_other(op)->bytes + step->src_off, step->len);
	(void)fault_arm(true);
	object_share(op->s->at[step->i].handles[0], step->off, op->s->at[step->j].handles[0],
		     step->src_off, step->len, op_shared, op);
}

static void begin_unshare(struct op *op)
{
	(void)fault_arm(true);
	object_unshare(op->s->at[op->step->i].handles[0], 0, HISTORY_BYTES, op_unshared, op);
}

static void begin_reset(struct op *op)
{
	history_become(op_obj(op), op_other(op));
	(void)fault_arm(true);
	object_reset(op->s->objs, op_other(op)->spec, op_info, op);
}

static void begin_remove(struct op *op)
{
	op_obj(op)->life = HISTORY_GOING;
	(void)fault_arm(true);
	object_remove(op->s->objs, op_obj(op)->spec, false, op_done, op);
}

static void begin_reap(struct op *op)
{
	(void)fault_arm(true);
	object_reaping(op->s->objs, op_reaping, op);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static void (*const begins[STEP_NWHATS])(struct op *op) = {
    [STEP_CREATE] = begin_create,	[STEP_OPEN] = begin_open,
    [STEP_WRITE] = begin_write,		[STEP_DIRECT] = begin_write,
    [STEP_WRITEV] = begin_writev,	[STEP_WRITE_ALL] = begin_write_all,
    [STEP_ZERO] = begin_zero,		[STEP_TRIM] = begin_zero,
    [STEP_RESIZE] = begin_resize,	[STEP_FSYNC] = begin_fsync,
    [STEP_FSYNC_ALL] = begin_fsync_all, [STEP_CLONE] = begin_copy,
    [STEP_SNAP] = begin_copy,		[STEP_GROUP] = begin_group,
    [STEP_SHARE] = begin_share,		[STEP_UNSHARE] = begin_unshare,
    [STEP_RESET] = begin_reset,		[STEP_REMOVE] = begin_remove,
    [STEP_READ] = begin_read,		[STEP_REAP] = begin_reap,
};

static bool is_there(const struct sweep *s, unsigned int i)
{
	return s->history.objs[i].life == HISTORY_THERE;
}

/* What the step works on, as far as a fault can have kept it from being made. */
static bool step_can(const struct sweep *s, const struct step *step)
{
	bool open = s->at[step->i].handles[0] != NULL;

	switch (step->what) {
	case STEP_CREATE:
	case STEP_REAP:
		return true;
	case STEP_OPEN:
	case STEP_CLONE:
	case STEP_SNAP:
		return is_there(s, step->i);
	case STEP_REMOVE:
		return is_there(s, step->i) || s->history.objs[step->i].life == HISTORY_GOING;
	case STEP_GROUP:
	case STEP_RESET:
		return is_there(s, step->i) && is_there(s, step->j);
	case STEP_WRITE_ALL:
	case STEP_FSYNC_ALL:
	case STEP_SHARE:
		return open && s->at[step->j].handles[0];
	default:
		return open;
	}
}

bool sweep_begin(struct sweep *s, const struct step *step, unsigned int attempt)
{
	struct op *op = &s->ops[s->nops];

	if (!step_can(s, step))
		return false;
	MUST(s->nops < OPS_MAX, "so many operations");
	s->nops++;
	*op = (struct op){.s = s, .step = step, .attempt = attempt, .late = s->latched};
	op_tell(op, "begins", 0);
	s->under_way++;
	begins[step->what](op);
	(void)fault_arm(false);
	return true;
}
