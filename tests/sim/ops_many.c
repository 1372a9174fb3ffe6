/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sim/ops_priv.h"

#define PARTS_MAX 3u

/* ---- several objects ------------------------------------------------------------------------- */

static void write_all_answered(struct op *op, int err)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (op->all & (1u << i)) {
			op->run->at[i].busy = false;
			MUST(err < 0 || !op->run->history->objs[i].attrs.readonly,
			     "what is read-only is written");
		}
	history_unit_answered(op->run->history, op->unit, err == 0);
}

static void op_written_all(void *ctx, int err, uint32_t at, const uint64_t *generations)
{
	(void)at;
	(void)generations;
	op_done(ctx, err);
}

/* Those that nothing keeps from being written, in bits; at most PARTS_MAX. */
static uint32_t pick_parts(struct run *run, unsigned int i)
{
	uint32_t objs = 1u << i;
	unsigned int n = 1;

	for (unsigned int k = 0; k < HISTORY_OBJS && n < PARTS_MAX; k++) {
		if (k == i || !run->at[k].handle || run->at[k].busy || op_below(run, 2))
			continue;
		objs |= 1u << k;
		n++;
	}
	return objs;
}

void begin_write_all(struct run *run, unsigned int i)
{
	struct op *op = op_new(run, i, write_all_answered);
	uint64_t generations[PARTS_MAX];
	struct object_range ranges[PARTS_MAX][RANGES_MAX];
	struct object_part parts[PARTS_MAX];
	unsigned int of[PARTS_MAX];
	struct pagevec *pvs;
	uint64_t npages;
	uint32_t npvs;
	uint32_t n = 0;
	uint32_t v = 0;

	op->all = pick_parts(run, i);
	for (unsigned int k = 0; k < HISTORY_OBJS; k++) {
		if (!(op->all & (1u << k)))
			continue;
		run->at[k].busy = true;
		of[n] = k;
		parts[n] =
		    (struct object_part){.handle = run->at[k].handle,
					 .ranges = ranges[n],
					 .nranges = op_pick_ranges(run, ranges[n]),
					 .if_generation = op_condition(op, k, &generations[n])};
		n++;
	}
	op->promised = op_is_promised(run, op->all);
	oom_arm(false);
	MUST(object_payload_all(parts, n, &pvs, &npvs, &npages) == 0, "memory");
	for (uint32_t p = 0; p < n; p++)
		for (uint32_t r = 0; r < parts[p].nranges; r++)
			op_fill_range(run, &run->history->objs[of[p]], &ranges[p][r], pvs, v++);
	oom_arm(true);
	op->unit = history_unit(run->history, op->all);
	MUST(op->unit, "so many changes of several objects");
	object_write_all(parts, n, pvs, op_written_all, op);
	free(pvs);
}

/* ---- two objects ----------------------------------------------------------------------------- */
static void fsync_all_answered(struct op *op, int err)
{
	op->run->at[op->j].light--;
	if (err == 0)
		history_synced(op_other(op), op->other_mark);
	op_fsynced(op, err);
}

unsigned int op_pick_other(struct run *run, unsigned int i)
{
	unsigned int k = (unsigned int)op_below(run, HISTORY_OBJS);

	for (unsigned int n = 0; n < HISTORY_OBJS; n++, k = (k + 1) % HISTORY_OBJS)
		if (k != i && run->at[k].handle && !run->at[k].busy)
			return k;
	return HISTORY_OBJS;
}

void begin_fsync_all(struct run *run, unsigned int i)
{
	unsigned int j = op_pick_other(run, i);
	struct handle *handles[2];
	struct op *op;

	if (j == HISTORY_OBJS)
		return;
	op = op_new(run, i, fsync_all_answered);
	op->j = j;
	run->at[i].light++;
	run->at[j].light++;
	op->mark = history_mark(op_obj(op));
	op->other_mark = history_mark(op_other(op));
	handles[0] = run->at[i].handle;
	handles[1] = run->at[j].handle;
	object_fsync_all(handles, 2, op_done, op);
}

static void op_shared(void *ctx, int err, uint64_t len, uint64_t left)
{
	struct op *op = ctx;

	MUST(err < 0 || (len == op->len && left == 0), "a range clone in part");
	op_done(op, err);
}

/* A range clone; between objects, or within one. */
void begin_share(struct run *run, unsigned int i)
{
	unsigned int j = op_below(run, 4) == 0 ? i : op_pick_other(run, i);
	uint64_t size = j < HISTORY_OBJS ? history_size(&run->history->objs[j]) : 0;
	uint64_t src_off;
	uint64_t dst_off;
	struct op *op;
	uint64_t len;

	if (size == 0 || history_is_tied(run->history, i))
		return;
	src_off = op_below(run, size);
	len = 1 + op_below(run, size - src_off);
	dst_off = (op_below(run, HISTORY_BLKS) << BLK_SHIFT) + src_off % BLK_BYTES;
	if (len > HISTORY_BYTES - dst_off)
		len = HISTORY_BYTES - dst_off;
	if (i == j && src_off < dst_off + len && dst_off < src_off + len)
		return;
	op = op_busy(run, i, op_replaced);
	run->at[j].busy = true;
	op->j = j;
	op->len = len;
	history_write(op_obj(op), dst_off, op_other(op)->bytes + src_off, len);
	object_share(run->at[i].handle, dst_off, run->at[j].handle, src_off, len, op_shared, op);
}

static void ops_tie(struct handle *const *handles)
{
	oom_arm(false);
	MUST(object_tie(handles, 2) == 0, "objects can be tied");
	oom_arm(true);
}

/* From now on the two are committed in one order. */
void begin_tie(struct run *run, unsigned int i)
{
	unsigned int j = op_pick_other(run, i);
	struct handle *handles[2] = {run->at[i].handle,
				     j < HISTORY_OBJS ? run->at[j].handle : NULL};

	if (j < HISTORY_OBJS && history_tie(run->history, i, j))
		ops_tie(handles);
	if (run->tells && j < HISTORY_OBJS)
		(void)printf("%llu tie o%u o%u\n", (unsigned long long)run->history->seq, i, j);
}
