/* SPDX-License-Identifier: BSD-2-Clause */
/* What an object is beside its content: space that is reserved, read-only, expired. */
#include "tests/sim/ops_priv.h"

/* Blocks that an object may have reserved: often none, and now and then more than it can have. */
uint64_t op_pick_reserved(struct run *run)
{
	if (op_below(run, 2) == 0)
		return 0;
	if (run->history->fits)
		return HISTORY_BLKS + op_below(run, 4);
	return op_below(run, 2 * HISTORY_BLKS);
}

static void set_answered(struct op *op, int err)
{
	struct history_obj *o = op_obj(op);

	op->run->at[op->i].busy = false;
	op_names_failed(op->run, err);
	if (op->run->latched)
		return; /* either is true */
	if (err == 0)
		o->attrs = o->attrs_sent;
	o->attrs_sent = o->attrs;
	if (err == 0 && o->attrs.readonly)
		history_synced(o, op->mark);
}

static void begin_set(struct run *run, unsigned int i, const struct object_edit *edit)
{
	struct op *op = op_busy(run, i, set_answered);

	op->mark = history_mark(op_obj(op));
	object_set(run->objs, op_obj(op)->spec, edit, op_info_done, op);
}

void begin_reserve(struct run *run, unsigned int i)
{
	const struct object_edit edit = {.set_reserved = true,
					 .reserved_nblks = op_pick_reserved(run)};

	run->history->objs[i].attrs_sent.reserved_nblks = edit.reserved_nblks;
	begin_set(run, i, &edit);
}

/* What was acknowledged is durable when it has become so. */
void begin_readonly(struct run *run, unsigned int i)
{
	struct history_obj *o = &run->history->objs[i];
	const struct object_edit edit = {.set_readonly = true, .readonly = !o->attrs.readonly};

	o->attrs_sent.readonly = edit.readonly;
	begin_set(run, i, &edit);
}

static void looked_for(struct op *op, int err)
{
	(void)err;
	op->run->at[op->i].busy = false;
}

/*
 * A version that has expired may be found or not.  Not to be found is not to be gone: its removal need not be
 * durable.  It is when another removal says that there is nothing to remove.
 */
void begin_look_for(struct run *run, unsigned int i)
{
	struct op *op;

	if (op_below(run, 4) == 0) {
		begin_remove(run, i);
		return;
	}
	op = op_busy(run, i, looked_for);
	object_info(run->objs, op_obj(op)->spec, op_info_done, op);
}
