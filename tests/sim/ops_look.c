/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports of what objects are made of, compared with their history. */
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/ops_priv.h"

#define RUNS_MAX 16u

static bool is_zero(const uint8_t *p, uint64_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static void look_answered(struct op *op, int err)
{
	struct run *run = op->run;

	run->at[op->i].busy = false;
	run->at[op->j].busy = false;
	if (err < 0 || op->i == op->j)
		return; /* before two are compared both are made durable */
	history_synced(op_obj(op), op->mark);
	history_synced(op_other(op), op->other_mark);
}

static void op_extents(void *ctx, int err, const struct object_run *runs, uint32_t n)
{
	struct op *op = ctx;
	const struct history_obj *o = op_obj(op);
	uint64_t end = op->off + op->len < history_size(o) ? op->off + op->len : history_size(o);
	uint64_t at = op->off;

	for (uint32_t r = 0; err == 0 && r < n; at += runs[r++].len_bytes) {
		MUST(runs[r].len_bytes > 0 && runs[r].len_bytes <= end - at,
		     "%s: a report beyond the range", o->spec);
		MUST(runs[r].data || is_zero(o->bytes + at, runs[r].len_bytes),
		     "%s: data is said to be a hole", o->spec);
	}
	MUST(err < 0 || n > 0 || op->off >= end, "%s: a report of nothing", o->spec);
	op_done(op, err);
}

void begin_extents(struct run *run, unsigned int i)
{
	struct op *op = op_busy(run, i, look_answered);
	bool details = op_below(run, 2);

	op->off = op_below(run, HISTORY_BYTES);
	op->len = 1 + op_below(run, HISTORY_BYTES - op->off);
	object_extents(run->at[i].handle, op->off, op->len, RUNS_MAX, details, op_extents, op);
}

static void op_differs(void *ctx, int err, const struct object_diff *diff)
{
	struct op *op = ctx;
	const struct history_obj *o = op_obj(op);
	const uint8_t *older = op_other(op)->bytes;
	uint64_t at = op->off;

	for (uint32_t r = 0; err == 0 && r < diff->n; at += diff->runs[r++].len_bytes) {
		const struct object_diff_run *run = &diff->runs[r];

		MUST(run->len_bytes > 0 && run->len_bytes <= HISTORY_BYTES - at,
		     "%s: a difference beyond the range", o->spec);
		MUST(run->kind != MAP_DIFF_SAME ||
			 memcmp(o->bytes + at, older + at, run->len_bytes) == 0,
		     "%s: what differs is said to be the same", o->spec);
		MUST(run->kind != MAP_DIFF_HOLE || is_zero(o->bytes + at, run->len_bytes),
		     "%s: data is said to be a hole", o->spec);
	}
	MUST(err < 0 || (diff->size_bytes == history_size(o) &&
			 diff->older_bytes == history_size(op_other(op))),
	     "%s: other sizes", o->spec);
	op_done(op, err);
}

void begin_diff(struct run *run, unsigned int i)
{
	unsigned int j = op_pick_other(run, i);
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	op = op_busy(run, i, look_answered);
	run->at[j].busy = true;
	op->j = j;
	op->mark = history_mark(op_obj(op));
	op->other_mark = history_mark(op_other(op));
	op->off = op_below(run, HISTORY_BYTES) & ~(uint64_t)(BLK_BYTES - 1);
	op->len = HISTORY_BYTES - op->off;
	object_diff(run->at[i].handle, run->at[j].id, op->off, op->len, RUNS_MAX, op_differs, op);
}
