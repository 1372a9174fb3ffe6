/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/record/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "tests/lib/must.h"

#define WRITE_MAX (UINT64_C(32) << BLK_SHIFT)

/* ---- what an operation makes of a history ----------------------------------------------------- */

static void work_spec(const struct history *h, const struct work_op *op, char *spec, size_t len)
{
	if (op->kind == WORK_SNAP)
		(void)snprintf(spec, len, "%s@v%llu", h->objs[op->i].spec,
			       (unsigned long long)op->number);
	else
		(void)snprintf(spec, len, "o%llu", (unsigned long long)op->number);
}

static void op_is_sent(struct history *h, struct work_op *op)
{
	struct history_obj *o = &h->objs[op->i];
	struct history_obj *other = &h->objs[op->j];
	static uint8_t bytes[WRITE_MAX];
	char spec[24];

	op->mark = op->kind == WORK_CREATE ? 0 : history_mark(o);
	switch (op->kind) {
	case WORK_WRITE:
	case WORK_DIRECT:
		rnd_fill(bytes, op->len, op->number);
		history_write(o, op->off, bytes, op->len);
		break;
	case WORK_ZERO:
		history_zero(o, op->off, op->len);
		break;
	case WORK_RESIZE:
		history_resize(o, op->off);
		break;
	case WORK_FSYNC:
	case WORK_REAP:
		break;
	case WORK_CREATE:
		work_spec(h, op, spec, sizeof(spec));
		history_begin(h, o, spec, NULL, op->off);
		o->version = false;
		break;
	case WORK_CLONE:
	case WORK_SNAP:
		work_spec(h, op, spec, sizeof(spec));
		history_begin(h, other, spec, o, 0);
		other->version = op->kind == WORK_SNAP;
		other->parent = op->i;
		break;
	case WORK_RESET:
		history_become(o, other);
		break;
	case WORK_REMOVE:
		o->life = HISTORY_GOING;
		break;
	}
}

static void op_is_answered(struct history *h, const struct work_op *op)
{
	struct history_obj *o = &h->objs[op->i];

	switch (op->kind) {
	case WORK_WRITE:
	case WORK_DIRECT:
	case WORK_ZERO:
	case WORK_RESIZE:
		history_answered(h, o, true);
		break;
	case WORK_FSYNC:
		history_synced(o, op->mark);
		break;
	case WORK_CREATE:
		o->life = HISTORY_THERE;
		break;
	case WORK_CLONE:
	case WORK_SNAP:
		h->objs[op->j].life = HISTORY_THERE;
		history_synced(o, op->mark);
		break;
	case WORK_RESET:
		history_answered(h, o, true);
		history_synced(o, history_mark(o));
		break;
	case WORK_REMOVE:
		history_end(o);
		break;
	case WORK_REAP:
		break;
	}
}

void work_replay(struct work *work, struct history *history, const struct trace_entry *mark)
{
	struct work_op *op = &work->ops[mark->of];

	if (mark->result == 0)
		op_is_sent(history, op);
	else
		op_is_answered(history, op);
}

/* ---- doing one ------------------------------------------------------------------------------- */

static void work_mark(struct work *work, bool answered)
{
	struct trace_entry entry = {.kind = TRACE_MARK, .of = work->n, .result = answered};

	(void)trace_add(work->trace, &entry, NULL);
}

static int do_write(struct work *work, const struct work_op *op)
{
	cow_object_t *obj = work->handles[op->i];
	const uint8_t *bytes = work->history.objs[op->i].bytes + op->off;
	ssize_t n = op->kind == WORK_DIRECT
			? cow_pwrite_with(obj, bytes, op->len, op->off, COW_IO_DIRECT)
			: cow_pwrite(obj, bytes, op->len, op->off);

	return n == (ssize_t)op->len ? 0 : -1;
}

static int do_remove(struct work *work, const struct work_op *op)
{
	if (work->handles[op->i])
		(void)cow_close(work->handles[op->i]);
	work->handles[op->i] = NULL;
	return cow_remove(work->cow, work->history.objs[op->i].spec);
}

static int do_op(struct work *work, const struct work_op *op)
{
	const struct history_obj *o = &work->history.objs[op->i];
	const struct history_obj *other = &work->history.objs[op->j];
	uint64_t reaping;

	switch (op->kind) {
	case WORK_WRITE:
	case WORK_DIRECT:
		return do_write(work, op);
	case WORK_ZERO:
		return cow_zero(work->handles[op->i], op->off, op->len);
	case WORK_RESIZE:
		return cow_resize(work->handles[op->i], op->off, COW_RESIZE_SHRINK);
	case WORK_FSYNC:
		return cow_fsync(work->handles[op->i]);
	case WORK_CREATE:
		return cow_create(work->cow, o->spec, op->off);
	case WORK_CLONE:
		return cow_clone(work->cow, o->spec, other->spec);
	case WORK_SNAP:
		return cow_snap(work->cow, other->spec, NULL, 0);
	case WORK_RESET:
		return cow_reset(work->cow, other->spec, NULL);
	case WORK_REMOVE:
		return do_remove(work, op);
	case WORK_REAP:
		return cow_get_reaping(work->cow, &reaping);
	}
	return -1;
}

static void work_do(struct work *work)
{
	struct work_op *op = &work->ops[work->n];

	op_is_sent(&work->history, op);
	work_mark(work, false);
	MUST(do_op(work, op) == 0, "%s", cow_error(work->cow));
	work_mark(work, true);
	op_is_answered(&work->history, op);
	work->n++;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static unsigned int pick_unused(const struct work *work)
{
	unsigned int i = 0;

	while (i < HISTORY_OBJS && work->history.objs[i].life != HISTORY_NONE)
		i++;
	return i;
}

static unsigned int pick_version(const struct work *work, unsigned int i)
{
	unsigned int v = 0;

	while (v < HISTORY_OBJS &&
	       !(work->history.objs[v].life != HISTORY_NONE && work->history.objs[v].version &&
		 work->history.objs[v].parent == i))
		v++;
	return v;
}

/* On a range of the object, often of whole blocks. */
static void pick_range(struct work *work, struct work_op *op, uint64_t max)
{
	op->off = rnd_below(&work->rnd, HISTORY_BYTES);
	op->len = rnd_log(&work->rnd, max);
	if (rnd_one_in(&work->rnd, 2)) {
		op->off &= ~(uint64_t)(BLK_BYTES - 1);
		op->len = (op->len + BLK_BYTES - 1) & ~(uint64_t)(BLK_BYTES - 1);
	}
	if (op->len > HISTORY_BYTES - op->off)
		op->len = HISTORY_BYTES - op->off;
}

/* False: nothing of that kind can be done. */
static bool pick_op(struct work *work, struct work_op *op)
{
	static const enum work_kind kinds[] = {
	    WORK_WRITE, WORK_WRITE,  WORK_WRITE, WORK_WRITE, WORK_DIRECT, WORK_ZERO,   WORK_FSYNC,
	    WORK_FSYNC, WORK_RESIZE, WORK_CLONE, WORK_SNAP,  WORK_RESET,  WORK_REMOVE, WORK_REAP};
	const struct history_obj *o = &work->history.objs[op->i];

	op->kind = kinds[rnd_below(&work->rnd, ARRAY_LEN(kinds))];
	if (op->kind == WORK_RESIZE)
		op->off = rnd_below(&work->rnd, HISTORY_BYTES + 1);
	else
		pick_range(work, op, op->kind == WORK_ZERO ? HISTORY_BYTES : WRITE_MAX);
	if (op->kind == WORK_CLONE || op->kind == WORK_SNAP) {
		op->j = pick_unused(work);
		return op->j < HISTORY_OBJS && !(o->version && op->kind == WORK_SNAP);
	}
	if (op->kind == WORK_RESET)
		op->j = pick_version(work, op->i);
	if (op->kind == WORK_REMOVE)
		return pick_version(work, op->i) == HISTORY_OBJS && rnd_one_in(&work->rnd, 2);
	return !o->version && op->j < HISTORY_OBJS;
}

/* Those that can be written to are open. */
static void work_open(struct work *work)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		const struct history_obj *o = &work->history.objs[i];

		if (o->life == HISTORY_THERE && !o->version && !work->handles[i])
			MUST(cow_open(work->cow, o->spec, 0, &work->handles[i]) == 0, "%s",
			     cow_error(work->cow));
	}
}

void work_run(struct work *work, uint32_t nops)
{
	MUST(work->n + nops <= WORK_OPS_MAX, "so many operations");
	for (uint32_t end = work->n + nops; work->n < end;) {
		struct work_op *op = &work->ops[work->n];
		unsigned int i = (unsigned int)rnd_below(&work->rnd, HISTORY_OBJS);

		*op = (struct work_op){.i = i, .j = i, .number = rnd_u64(&work->rnd) >> 32};
		if (work->history.objs[i].life == HISTORY_NONE && rnd_one_in(&work->rnd, 3)) {
			op->kind = WORK_CREATE;
			op->off = rnd_below(&work->rnd, HISTORY_BYTES + 1);
		} else if (work->history.objs[i].life != HISTORY_THERE || !pick_op(work, op)) {
			continue;
		}
		work_do(work);
		work_open(work);
	}
}
