/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep_run.c: the engine from its start to its stop, and time in between.
 */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "server/recover.h"
#include "tests/lib/must.h"
#include "tests/sim/sched.h"
#include "tests/sweep/calls.h"
#include "tests/sweep/sweep.h"

#define MS UINT64_C(1000000)
#define DELAY_NS \
	(7000 * MS) /* longer than any timer but those of what has failed again and again */
#define HANGS_NS    (200000 * MS) /* so long without an answer */
#define CACHE_BYTES (UINT64_C(512) << 10)
#define CUTS_MAX    4u /* behind what is durable, after the fault */

/* ---- time ------------------------------------------------------------------------------------ */

void sweep_turn(struct sweep *s)
{
	(void)fault_arm(true);
	sched_turn(s->loop);
	(void)fault_arm(false);
	if (fault_is_delayed() && sched_now_ns() - s->answered_ns > DELAY_NS) {
		fault_release();
		s->answered_ns = sched_now_ns();
	}
}

void sweep_wait(struct sweep *s)
{
	s->answered_ns = sched_now_ns();
	while (s->under_way > 0) {
		MUST(sched_now_ns() - s->answered_ns < HANGS_NS, "%u operations do not end",
		     s->under_way);
		sweep_turn(s);
	}
}

void sweep_rest(struct sweep *s, uint64_t ms)
{
	uint64_t end = sched_now_ns() + ms * MS;

	while (sched_now_ns() < end && !s->latched)
		sweep_turn(s);
}

/* ---- the power ------------------------------------------------------------------------------- */

void sweep_cut(struct sweep *s)
{
	struct verify_found found[HISTORY_OBJS];
	struct left left = {0};

	simdev_cut(s->sd, &s->rnd, &left.image);
	calls_cut(&s->rnd, &left.map);
	s->states += verify(&left, s->verify_path, &s->history, &s->rnd, found);
	left_fini(&left);
}

/* ---- starting -------------------------------------------------------------------------------- */

static LOOP_FN void sweep_latched(void *ctx)
{
	struct sweep *s = ctx;

	MUST(!s->latched, "latched twice");
	MUST(fault_hits() > 0 && s->plan.point >= FAULT_MAP_OPEN,
	     "latched, though neither the map nor memory has failed");
	s->latched = true;
}

/* Everything that a start has opened, in the order in which the daemon closes it. */
static void sweep_close_store(struct sweep *s)
{
	map_close(s->map);
	dev_close(s->dev);
	loop_free(s->loop);
	s->map = NULL;
	s->dev = NULL;
	s->loop = NULL;
}

static int sweep_open_store(struct sweep *s, struct recover_result *recovered)
{
	static const uint8_t uuid[16] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
	int err;

	s->loop = loop_new();
	if (!s->loop)
		return -ERR_NOMEM;
	err = map_open(s->map_path, &s->map);
	if (err == 0)
		err = dev_file_open(s->data_path, uuid, &s->dev);
	if (err == 0)
		err = recover_run(s->map, s->dev, recovered);
	return err;
}

static int sweep_start_engine(struct sweep *s, const struct recover_result *recovered)
{
	struct objects_config config = {
	    .loop = s->loop,
	    .map = s->map,
	    .dev = s->dev,
	    .journal_key = recovered->journal_key,
	    .journal_head = recovered->head,
	    .cache_bytes = CACHE_BYTES,
	    .nworkers = 2,
	    .writeback_ms = 50,
	};

	s->sd->yields = true;
	s->dev->mapped = s->work->mapped;
	return objects_new(&config, &s->objs);
}

int sweep_start(struct sweep *s)
{
	struct recover_result recovered;
	int err;

	(void)fault_arm(s->work->start);
	err = sweep_open_store(s, &recovered);
	if (err == 0)
		err = sweep_start_engine(s, &recovered);
	(void)fault_arm(false);
	s->sd->yields = err == 0;
	if (err < 0) {
		sweep_close_store(s);
		return err;
	}
	objects_on_latch(s->objs, sweep_latched, s);
	fault_allow_delay(true);
	return 0;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What a single fault has made fail is begun once more: nothing is wrong any more. */
static void sweep_again(struct sweep *s, uint32_t from)
{
	uint32_t end = s->nops;

	if (s->plan.span != FAULT_ONCE)
		return;
	for (uint32_t k = from; k < end && !s->latched; k++) {
		const struct op *op = &s->ops[k];
		const struct op *again = &s->ops[s->nops];

		if (op->err == 0 || !sweep_begin(s, op->step, 2))
			continue;
		sweep_wait(s);
		MUST(again->err == 0 || s->latched || (s->work->full && again->err == -ERR_NOSPC),
		     "%s failed, though nothing is wrong any more: %s", step_text(op->step->what),
		     err_name(again->err));
	}
}

/*
 * Some states after the fault are judged, where something is durable; without one all of them, but in the
 * run that counts: recovery takes random numbers, and what is behind it would be another run.
 */
static void sweep_judge(struct sweep *s, uint32_t *durables, unsigned int *cuts)
{
	bool judged =
	    s->plan.n == 0 ? s->plan.span == FAULT_ALWAYS : fault_hits() > 0 && *cuts < CUTS_MAX;
	bool fresh = s->durables != *durables;

	*durables = s->durables;
	if (!fresh || !judged)
		return;
	++*cuts;
	sweep_cut(s);
}

static void sweep_step(struct sweep *s, const struct step *step)
{
	if (step->what == STEP_REST) {
		sweep_rest(s, step->len);
		return;
	}
	if (step->what == STEP_CLOSE || step->what == STEP_REMOVE)
		sweep_close(s, step->i);
	if (step->what == STEP_CLOSE)
		return;
	if (step->what == STEP_OPEN)
		(void)sweep_begin(s, step, 1);
	(void)sweep_begin(s, step, 1);
}

void sweep_steps(struct sweep *s, const struct step *steps, uint32_t n)
{
	uint32_t durables = s->durables;
	uint32_t from = s->nops;
	unsigned int cuts = 0;

	for (uint32_t k = 0; k < n && !s->latched; k++) {
		sweep_step(s, &steps[k]);
		if (steps[k].beside)
			continue;
		sweep_wait(s);
		sweep_again(s, from);
		sweep_judge(s, &durables, &cuts);
		from = s->nops;
	}
	sweep_wait(s);
	while (fault_is_delayed())
		sweep_turn(s);
}

/* ---- stopping -------------------------------------------------------------------------------- */

struct flush {
	bool done;
	int err;
};

static LOOP_FN void sweep_flushed(void *ctx, int err)
{
	struct flush *flush = ctx;

	MUST(!flush->done, "a flush is answered twice");
	flush->done = true;
	flush->err = err;
}

int sweep_stop(struct sweep *s)
{
	uint64_t since = sched_now_ns();
	struct flush flush = {0};

	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		sweep_close(s, i);
	(void)fault_arm(true);
	objects_flush(s->objs, sweep_flushed, &flush);
	while (!flush.done || fault_is_delayed()) {
		MUST(sched_now_ns() - since < HANGS_NS, "the flush does not end");
		sweep_turn(s);
	}
	fault_allow_delay(false);
	if (s->latched) /* the process ends as it is */
		return flush.err;
	(void)fault_arm(true);
	objects_free(s->objs);
	(void)fault_arm(false);
	sweep_close_store(s);
	return flush.err;
}
