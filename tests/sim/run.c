/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/run.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "server/recover.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sim/sched.h"

#define CACHE_BYTES   (UINT64_C(512) << 10)
#define UNDER_WAY     6u
#define TURNS_AT_REST 400000u /* without an answer: it hangs */

static struct mapplace place;

static LOOP_FN void run_latched(void *ctx)
{
	struct run *run = ctx;

	MUST(run->faults, "latched without a fault");
	run->latched = true;
	run->stats->latches++;
}

/* From now on things fail, in a run with faults. */
static void run_arm(struct run *run)
{
	if (!run->faults)
		return;
	run->sd->fail_one_in[SIMDEV_READ] = 400;
	run->sd->fail_one_in[SIMDEV_WRITE] = 200;
	run->sd->fail_one_in[SIMDEV_SYNC] = 30;
	mapfile_fail(&run->sd->rnd, 20);
	oom_fail(&run->sd->rnd, 2000);
}

struct run *run_start(const struct left *left, const char *path, struct history *history,
		      uint64_t seed, bool faults, struct run_stats *stats)
{
	struct objects_config config = {
	    .cache_bytes = CACHE_BYTES, .nworkers = 2, .writeback_ms = 50};
	struct run *run = oom_calloc(1, sizeof(*run));
	struct recover_result recovered;

	sched_start(seed);
	run->rnd = (struct rnd){sched_random()};
	run->history = history;
	run->stats = stats;
	run->path = path;
	run->faults = faults;
	run->tells = stats->tells;
	run->ooms = oom_failed();
	(void)snprintf(run->verify_path, sizeof(run->verify_path), "%s.verify", path);
	run->sd = simdev_new(&left->image, sched_random());
	mapplace_put(&place, &left->map, path);
	run->loop = loop_new();
	MUST(run->loop && map_open(path, &run->map) == 0, "the map");
	MUST(recover_run(run->map, &run->sd->dev, &recovered) == 0, "recovery");
	run->sd->yields = true;
	run->sd->dev.mapped = rnd_one_in(&run->rnd, 4);
	config.journal_key = recovered.journal_key;
	config.journal_head = recovered.head;
	config.loop = run->loop;
	config.map = run->map;
	config.dev = &run->sd->dev;
	MUST(objects_new(&config, &run->objs) == 0, "the engine");
	objects_on_latch(run->objs, run_latched, run);
	run_arm(run);
	return run;
}

static void run_take(struct run *run, struct left *left)
{
	*left = (struct left){0};
	simdev_cut(run->sd, &run->rnd, &left->image);
	mapplace_take(&place, &left->map);
}

static void run_verify(struct run *run, struct left *left, struct verify_found *found)
{
	unsigned int states = verify(left, run->verify_path, run->history, &run->rnd, found);

	run->stats->states += states;
	run_stats_note(run->stats, states);
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		run_stats_note(run->stats,
			       crc32c(found[i].there, &found[i].state, sizeof(found[i].state)));
}

/* A power cut would leave what the last one has left: only the history may have gone on. */
static bool run_is_judged(const struct run *run)
{
	return run->judged.still && run->judged.moves == run->sd->moves &&
	       run->judged.commits == mapfile_commits();
}

/* The power is cut here, and all goes on as if it had not been. */
static void run_judge(struct run *run)
{
	struct left left;

	if (run_is_judged(run)) {
		verify_again(run->history, run->judged.found);
		return;
	}
	run_take(run, &left);
	mapfile_fail(NULL, 0);
	oom_fail(NULL, 0);
	run_verify(run, &left, run->judged.found);
	run_arm(run);
	left_fini(&left);
	run->judged.still = simdev_is_still(run->sd);
	run->judged.moves = run->sd->moves;
	run->judged.commits = mapfile_commits();
}

static void run_settle(struct run *run, const struct left *left, const struct verify_found *found)
{
	static uint8_t bytes[HISTORY_BYTES];

	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		struct history_obj *o = &run->history->objs[i];

		if (!found[i].there) {
			history_end(o);
			continue;
		}
		verify_bytes(left, &found[i], bytes);
		history_settle(run->history, o, &found[i].state, bytes);
		o->attrs = found[i].attrs;
		o->attrs_sent = found[i].attrs;
	}
}

/* The store lies where it is, and so does all memory of the run: it never goes on. */
static void run_end(struct run *run, struct left *left)
{
	struct verify_found found[HISTORY_OBJS];

	run_take(run, left);
	mapfile_fail(NULL, 0);
	oom_fail(NULL, 0);
	run_verify(run, left, found);
	run->stats->faults += run->sd->failed + oom_failed() - run->ooms;
	run_settle(run, left, found);
}

static void run_ops(struct run *run, unsigned int nops, unsigned int nstates)
{
	uint64_t end = run->stats->ops + nops;
	uint64_t ops = run->stats->ops;
	unsigned int at_rest = 0;

	while (run->stats->ops < end && !run->latched) {
		oom_arm(true);
		if (run->under_way < UNDER_WAY && rnd_one_in(&run->rnd, 3))
			ops_begin(run);
		sched_turn(run->loop);
		oom_arm(false);
		run->stats->turns++;
		at_rest = run->stats->ops == ops ? at_rest + 1 : 0;
		ops = run->stats->ops;
		MUST(at_rest < TURNS_AT_REST, "an operation does not end");
		if (rnd_one_in(&run->rnd, 8 * nops / nstates + 1))
			run_judge(run);
	}
}

void run_go(struct run *run, unsigned int nops, unsigned int nstates, struct left *left)
{
	if (!sched_aborts())
		run_ops(run, nops, nstates);
	else
		MUST(run->faults, "it ends itself without a fault");
	oom_arm(false);
	run_end(run, left);
}
