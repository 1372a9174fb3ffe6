/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "common/err.h"
#include "tests/lib/must.h"
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
	if (err < 0 && !op_lacks_space(err) && err != -ERR_NOENT && err != -ERR_READONLY)
		run->latched = true;
}

static void made_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	run->at[op->j].busy = false;
	op_names_failed(run, err);
	if (err == 0) {
		MUST(history_allows_attrs(op_other(op), &op->attrs), "%s has other attributes",
		     op_other(op)->spec);
		op_other(op)->life = HISTORY_THERE;
		op_other(op)->attrs = op->attrs;
		op_other(op)->attrs_sent = op->attrs;
		if (op->i != op->j)
			history_synced(op_obj(op), op->mark);
		if (!op_other(op)->version)
			ops_open(run, op->j);
	} else if (!run->latched) {
		history_end(op_other(op));
	}
}

/* Versions often expire while the run goes on. */
static struct object_attrs version_attrs(struct run *run)
{
	return (struct object_attrs){.ttl_ms = op_below(run, 2) * (1 + op_below(run, 500))};
}

void begin_create(struct run *run)
{
	const struct object_attrs attrs = {.reserved_nblks = op_pick_reserved(run)};
	unsigned int j = pick_unused(run);
	struct history_obj *o = &run->history->objs[j];
	char spec[24];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	(void)snprintf(spec, sizeof(spec), "o%u", j);
	o->version = false;
	history_begin(run->history, o, spec, NULL, op_below(run, HISTORY_BYTES + 1));
	o->attrs_sent.reserved_nblks = attrs.reserved_nblks;
	o->attrs = o->attrs_sent;
	op = op_busy(run, j, made_answered);
	object_create(run->objs, spec, history_size(o), &attrs, op_info_done, op);
}

void begin_clone(struct run *run, unsigned int i)
{
	unsigned int j = pick_unused(run);
	struct history_obj *src = &run->history->objs[i];
	struct history_obj *dst = &run->history->objs[j];
	struct object_attrs attrs = {0};
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
	if (dst->version)
		attrs = version_attrs(run);
	dst->attrs_sent.expires_ns = attrs.ttl_ms;
	op = op_busy(run, i, made_answered);
	run->at[j].busy = true;
	op->j = j;
	op->mark = history_mark(src);
	if (dst->version)
		object_snapshot(run->objs, spec, &attrs, op_info_done, op);
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
	MUST(err < 0 || !op_obj(op)->attrs.readonly, "what is read-only is replaced");
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
	if (err == 0 || err == -ERR_NOENT) {
		history_end(op_obj(op));
	} else if (!run->latched) {
		op_obj(op)->life = HISTORY_THERE;
		history_tie_ended(run->history, op->i);
	}
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
