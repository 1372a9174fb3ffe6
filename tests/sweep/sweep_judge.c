/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep_judge.c: what must be true when a workload is over.
 */
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sweep/sweep.h"

/* Steps that are begun here are on behalf of all objects, one after the other. */
static const struct op *judge_step(struct sweep *s, struct step step)
{
	static struct step steps[OPS_MAX];
	const struct op *op = &s->ops[s->nops];

	steps[s->nops] = step;
	if (!sweep_begin(s, &steps[s->nops], 1))
		return NULL;
	sweep_wait(s);
	return op;
}

static bool judge_may_fail(const struct sweep *s)
{
	return s->plan.n > 0 && !s->lifted;
}

/* Objects that a fault has kept from being opened are opened now. */
static void judge_open(struct sweep *s, unsigned int i)
{
	for (unsigned int h = 0; h < HANDLES && !s->latched; h++)
		if (!s->at[i].handles[h])
			(void)judge_step(s, (struct step){.what = STEP_OPEN, .i = i});
}

void sweep_read_all(struct sweep *s)
{
	const struct op *op;

	for (unsigned int i = 0; i < HISTORY_OBJS && !s->latched; i++) {
		if (s->history.objs[i].life != HISTORY_THERE)
			continue;
		judge_open(s, i);
		op = judge_step(s, (struct step){.what = STEP_READ, .i = i, .len = HISTORY_BYTES});
		MUST(judge_may_fail(s) || s->latched || (op && op->err == 0),
		     "%s cannot be read: %s", s->history.objs[i].spec,
		     op ? err_name(op->err) : "not open");
	}
}

/* ---- who has been told ----------------------------------------------------------------------- */

/* What the two handles have been told just now, of all that failed since they were asked last. */
static void judge_told(struct sweep *s, unsigned int i, int first, int other)
{
	struct sweep_obj *at = &s->at[i];
	const char *spec = s->history.objs[i].spec;

	if (s->latched || at->failing)
		return;
	MUST(!(at->owed || first == -ERR_WRITEBACK) || other < 0,
	     "%s: a failure was not told to a handle that was open", spec);
	MUST(other != -ERR_WRITEBACK || at->heard || first < 0,
	     "%s: of two handles one was told of a failure", spec);
	at->owed = false;
	at->heard = false;
}

void sweep_close(struct sweep *s, unsigned int i)
{
	struct sweep_obj *at = &s->at[i];
	int told[HANDLES] = {0};

	if (!at->handles[0] || s->latched)
		return;
	for (unsigned int h = 0; h < HANDLES; h++)
		if (at->handles[h])
			told[h] = object_close(at->handles[h]);
	if (at->handles[1])
		judge_told(s, i, told[0], told[1]);
	memset(at, 0, sizeof(*at));
}

/* The first handle's place is taken by the other one for a moment. */
static int judge_fsync(struct sweep *s, unsigned int i, unsigned int h)
{
	struct sweep_obj *at = &s->at[i];
	struct handle *first = at->handles[0];
	bool owed = at->owed;
	bool heard = at->heard;
	const struct op *op;

	at->handles[0] = at->handles[h];
	op = judge_step(s, (struct step){.what = STEP_FSYNC, .i = i});
	at->handles[0] = first;
	at->owed = owed;
	at->heard = heard;
	return op ? op->err : 0;
}

static void judge_ask(struct sweep *s, unsigned int i)
{
	int first = judge_fsync(s, i, 0);
	int other = judge_fsync(s, i, 1);

	judge_told(s, i, first, other);
	for (unsigned int h = 0; h < HANDLES && !s->latched; h++) {
		int again = judge_fsync(s, i, h);

		if (s->work->full && again == -ERR_NOSPC) {
			s->at[i].failing = true;
			continue;
		}
		MUST(again == 0 || s->latched || judge_may_fail(s),
		     "%s: a handle is told twice: %s", s->history.objs[i].spec, err_name(again));
	}
}

void sweep_ask_all(struct sweep *s)
{
	if (judge_may_fail(s) && fault_hits() > 0)
		return; /* whoever asks may make it fail once more */
	for (unsigned int i = 0; i < HISTORY_OBJS && !s->latched; i++)
		if (s->at[i].handles[0] && s->at[i].handles[1] && !s->history.objs[i].version)
			judge_ask(s, i);
}

/* ---- refused --------------------------------------------------------------------------------- */

void sweep_refused(struct sweep *s)
{
	static const enum step_what whats[] = {STEP_WRITE, STEP_DIRECT, STEP_FSYNC, STEP_RESIZE};
	const struct op *op;

	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		if (!s->at[i].handles[0] || s->history.objs[i].version)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(whats); k++) {
			op = judge_step(s,
					(struct step){.what = whats[k], .i = i, .len = BLK_BYTES});
			MUST(op && op->err < 0, "%s by an engine that is latched",
			     step_text(whats[k]));
		}
		break;
	}
	op = judge_step(s, (struct step){.what = STEP_CREATE, .i = HISTORY_OBJS - 1});
	MUST(op && op->err < 0, "a creation by an engine that is latched");
}
