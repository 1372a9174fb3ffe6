/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "common/err.h"
#include "tests/sim/ops_priv.h"

/* One that does not exist; HISTORY_OBJS: there is none. */
static unsigned int pick_unused(const struct run *run)
{
	unsigned int i = 0;

	while (i < HISTORY_OBJS && (run->history->objs[i].life != HISTORY_NONE || run->at[i].busy))
		i++;
	return i;
}

void op_names_failed(struct run *run, int err)
{
	if (err < 0 && !op_lacks_space(err))
		run->latched = true;
}

static void made_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	run->at[op->j].busy = false;
	op_names_failed(run, err);
	if (err == 0) {
		op_other(op)->life = HISTORY_THERE;
		if (op->i != op->j)
			history_synced(op_obj(op), op->mark);
		if (!op_other(op)->version)
			ops_open(run, op->j);
	} else if (!run->latched) {
		history_end(op_other(op));
	}
}

/* Blocks that an object may have reserved: often none, and now and then more than it can have. */
static uint64_t pick_reserved(struct run *run)
{
	return op_below(run, 2) * op_below(run, 2 * blk_count(HISTORY_BYTES));
}

static void reserve_answered(struct op *op, int err)
{
	op->run->at[op->i].busy = false;
	op_names_failed(op->run, err);
}

void begin_reserve(struct run *run, unsigned int i)
{
	const struct object_edit edit = {.set_reserved = true,
					 .reserved_nblks = pick_reserved(run)};
	struct op *op = op_busy(run, i, reserve_answered);

	object_set(run->objs, op_obj(op)->spec, &edit, op_info_done, op);
}

void begin_create(struct run *run)
{
	const struct object_attrs attrs = {.reserved_nblks = pick_reserved(run)};
	unsigned int j = pick_unused(run);
	struct history_obj *o = &run->history->objs[j];
	char spec[24];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	(void)snprintf(spec, sizeof(spec), "o%u", j);
	o->version = false;
	history_begin(run->history, o, spec, NULL, op_below(run, HISTORY_BYTES + 1));
	op = op_busy(run, j, made_answered);
	object_create(run->objs, spec, history_size(o), &attrs, op_info_done, op);
}

void begin_clone(struct run *run, unsigned int i)
{
	unsigned int j = pick_unused(run);
	struct history_obj *src = &run->history->objs[i];
	struct history_obj *dst = &run->history->objs[j];
	char spec[24];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	dst->version = !src->version && op_below(run, 2);
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

void op_replaced(struct op *op, int err)
{
	op->run->at[op->j].busy = false;
	op->run->at[op->i].busy = false;
	op_names_failed(op->run, err);
	if (op->run->latched)
		return;
	history_answered(op->run->history, op_obj(op), err == 0);
	if (err == 0)
		history_synced(op_obj(op), history_mark(op_obj(op)));
}

void begin_reset(struct run *run, unsigned int i)
{
	unsigned int v = pick_version(run, i, true);
	struct op *op;

	if (v == HISTORY_OBJS || run->at[i].light > 0 || history_is_tied(run->history, i))
		return; /* of one that is tied it is not in the order of the others */
	op = op_busy(run, i, op_replaced);
	run->at[v].busy = true;
	op->j = v;
	history_become(op_obj(op), op_other(op));
	object_reset(run->objs, op_other(op)->spec, op_info_done, op);
}

static void remove_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	op_names_failed(run, err);
	if (err == 0)
		history_end(op_obj(op));
	else if (!run->latched)
		op_obj(op)->life = HISTORY_THERE;
}

void begin_remove(struct run *run, unsigned int i)
{
	struct op *op;

	if (pick_version(run, i, false) < HISTORY_OBJS || run->at[i].light > 0)
		return;
	if (run->at[i].handle)
		(void)object_close(run->at[i].handle);
	run->at[i].handle = NULL;
	op = op_busy(run, i, remove_answered);
	op_obj(op)->life = HISTORY_GOING;
	object_remove(run->objs, op_obj(op)->spec, false, op_done, op);
}
