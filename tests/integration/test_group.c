/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A consistency group of 16 objects under load.  Several writers, each on a connection of its own,
 * number their writes, each of them to one object or another or, as one, to several, and note in each
 * which writes of the others had been acknowledged when it began.  Meanwhile others make clones and versions
 * of all 16, fsync some or all, and write large data beside.  Then the daemon is killed.  What is found,
 * in the objects after the kill and in each group of copies, must never have a write to several objects in
 * one of them and not in another; nor, but in rounds in which the objects are not tied, a write without all
 * those before it: those of its writer, and those that it has noted.  All of a group's copies are there or
 * none, and what was answered is there.
 *
 * $TEST_SEED and $TEST_KILLS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cow.h"
#include "common/annot.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define OBJECTS	      16
#define WRITERS	      4
#define WRITES_MAX    2048u /* of a writer, in a round */
#define COPIES_MAX    64u   /* groups of copies of a round */
#define LARGE_MAX     (300u << 10)
#define KILLS_DEFAULT 12u
#define ANSWERS_MAX   3000u /* of all, before a kill */

/* What a write leaves at its place, which is its own: so all that is there can be seen. */
struct record {
	uint64_t round;
	uint64_t number;	/* of its writer, from 1 */
	uint64_t objects;	/* a bit for each that it was written to */
	uint64_t seen[WRITERS]; /* of each: so many had been acknowledged when it began */
	uint64_t check;
};

#define LARGE_OFFSET ((uint64_t)WRITERS * WRITES_MAX * sizeof(struct record))

/* What is found of the records of 16 objects: for each writer, how many. */
struct state {
	uint64_t count[WRITERS];
};

struct copies {
	bool clones; /* else versions */
	bool answered;
	uint64_t least[WRITERS]; /* had been acknowledged before it was asked for */
};

struct group {
	struct daemon d;
	struct rnd rnd;
	uint64_t round;
	unsigned int deadline; /* the answers at which it is killed */
	atomic_uint answers;
	atomic_bool killed;
	sem_t due; /* posted by who kills it */
	bool tied;
	bool quiet; /* nothing is done for all at once: what is tied is all that keeps the order */
	atomic_uint_fast64_t acked[WRITERS];
	uint64_t synced[WRITERS]; /* what an fsync of all has covered */
	struct copies copies[COPIES_MAX];
	unsigned int ncopies;
	uint64_t nwritten; /* over all rounds: that this was a test */
	uint64_t nlost;
	uint64_t ncopied;
	uint64_t nwide; /* writes to several objects that were found */
};

struct worker {
	struct group *g;
	pthread_t thread;
	struct rnd rnd;
	unsigned int number;
	cow_t *cow;
	cow_object_t *objs[OBJECTS];
};

static void object_of(const struct group *g, unsigned int i, char name[32])
{
	(void)snprintf(name, 32, "g%" PRIu64 "-%u", g->round, i);
}

static void copy_of(const struct group *g, unsigned int k, unsigned int i, char name[32])
{
	(void)snprintf(name, 32, g->copies[k].clones ? "g%" PRIu64 "-%u-%u" : "g%" PRIu64 "-%u@%u",
		       g->round, i, k);
}

/* False: the daemon was killed.  Any other error ends the test. */
static bool answered(struct group *g, cow_t *cow, ssize_t result)
{
	if (result >= 0) {
		if (atomic_fetch_add(&g->answers, 1) + 1 == g->deadline) {
			atomic_store(&g->killed, true);
			(void)kill(g->d.pid, SIGKILL);
			(void)sem_post(&g->due);
		}
		return true;
	}
	MUST(atomic_load(&g->killed), "%s, seed %" PRIu64, cow_error(cow), rnd_seed());
	return false;
}

static void seen_now(struct group *g, uint64_t seen[WRITERS])
{
	for (unsigned int w = 0; w < WRITERS; w++)
		seen[w] = atomic_load(&g->acked[w]);
}

static uint64_t place_of(unsigned int writer, uint64_t number)
{
	return (writer * (uint64_t)WRITES_MAX + number - 1) * sizeof(struct record);
}

static uint64_t record_check(const struct record *r)
{
	uint64_t sum = (r->round * 31 + r->number) * 65599 + r->objects;

	for (unsigned int w = 0; w < WRITERS; w++)
		sum = sum * 1000003 + r->seen[w];
	return sum ^ UINT64_C(0x5bd1e995a5a5a5a5);
}

/* ---- under load ------------------------------------------------------------------------------ */

static bool open_all(struct worker *w)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		char name[32];

		object_of(w->g, i, name);
		if (!answered(w->g, w->cow, cow_open(w->cow, name, 0, &w->objs[i])))
			return false;
	}
	return true;
}

static void close_all(struct worker *w)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		if (w->objs[i])
			(void)cow_close(w->objs[i]);
		w->objs[i] = NULL;
	}
}

/* Something large beside the records, which makes epochs that are not inlined. */
static bool write_large(struct worker *w, cow_object_t *obj)
{
	static const uint8_t bytes[LARGE_MAX];
	uint64_t len = rnd_log(&w->rnd, LARGE_MAX);

	return answered(w->g, w->cow,
			cow_pwrite(obj, bytes, len, LARGE_OFFSET + rnd_below(&w->rnd, LARGE_MAX)));
}

/* The same bytes, at the same place of each. */
static ssize_t write_wide(struct worker *w, struct record *r, uint64_t at)
{
	const struct cow_range range = {at, r, sizeof(*r)};
	struct cow_write writes[OBJECTS];
	size_t n = 0;

	for (unsigned int i = 0; i < OBJECTS; i++)
		if (r->objects >> i & 1)
			writes[n++] =
			    (struct cow_write){.obj = w->objs[i], .ranges = &range, .count = 1};
	return cow_write_all(writes, n);
}

static bool write_record(struct worker *w, uint64_t number)
{
	struct record r = {.round = w->g->round, .number = number};
	uint64_t at = place_of(w->number, number);
	unsigned int i = (unsigned int)rnd_below(&w->rnd, OBJECTS);
	bool wide = rnd_one_in(&w->rnd, 3);

	r.objects = UINT64_C(1) << i;
	if (wide)
		r.objects |= rnd_u64(&w->rnd) & rnd_u64(&w->rnd) & ((1u << OBJECTS) - 1);
	seen_now(w->g, r.seen);
	r.check = record_check(&r);
	if (!answered(w->g, w->cow,
		      wide ? write_wide(w, &r, at) : cow_pwrite(w->objs[i], &r, sizeof(r), at)))
		return false;
	atomic_store(&w->g->acked[w->number], number);
	return true;
}

static void *writer_main(void *arg)
{
	struct worker *w = arg;
	bool on = open_all(w);

	for (uint64_t number = 1; on && number <= WRITES_MAX; number++) {
		on = write_record(w, number);
		if (on && rnd_one_in(&w->rnd, 20))
			on = write_large(w, w->objs[rnd_below(&w->rnd, OBJECTS)]);
		if (on && rnd_one_in(&w->rnd, 30))
			on =
			    answered(w->g, w->cow, cow_fsync(w->objs[rnd_below(&w->rnd, OBJECTS)]));
	}
	while (on)
		on = write_large(w, w->objs[0]);
	close_all(w);
	return NULL;
}

/* An fsync of some is one of all where they are tied. */
static bool sync_some(struct worker *w)
{
	unsigned int first = (unsigned int)rnd_below(&w->rnd, OBJECTS);
	size_t n = first == 0 ? OBJECTS : 1 + rnd_below(&w->rnd, OBJECTS - first);
	uint64_t seen[WRITERS];

	seen_now(w->g, seen);
	if (!answered(w->g, w->cow, cow_group_fsync(&w->objs[first], n)))
		return false;
	if (n == OBJECTS)
		memcpy(w->g->synced, seen, sizeof(seen));
	return true;
}

static bool copy_all(struct worker *w)
{
	struct group *g = w->g;
	struct copies *copies = &g->copies[g->ncopies];
	struct cow_pair pairs[OBJECTS];
	char names[OBJECTS][2][32];

	copies->clones = rnd_one_in(&w->rnd, 3);
	copies->answered = false;
	for (unsigned int i = 0; i < OBJECTS; i++) {
		object_of(g, i, names[i][0]);
		copy_of(g, g->ncopies, i, names[i][1]);
		pairs[i] = (struct cow_pair){names[i][0], names[i][1]};
	}
	seen_now(g, copies->least);
	g->ncopies++;
	copies->answered = answered(g, w->cow, cow_group_clone(w->cow, pairs, OBJECTS, NULL));
	return copies->answered;
}

/* Has tied them, or not, and in every other round makes copies and fsyncs. */
static void *keeper_main(void *arg)
{
	struct worker *w = arg;
	bool on = true;

	while (w->g->quiet && sem_wait(&w->g->due) != 0)
		;
	while (on && !w->g->quiet) {
		if (w->g->ncopies < COPIES_MAX && rnd_one_in(&w->rnd, 3))
			on = copy_all(w);
		else
			on = sync_some(w);
	}
	close_all(w);
	return NULL;
}

/* ---- what is found --------------------------------------------------------------------------- */

struct found {
	struct record records[WRITERS][WRITES_MAX];
	uint64_t objects[WRITERS][WRITES_MAX]; /* that have it */
};

/* Adds what is there of the records in one object, or copy of one. */
static void read_object(cow_t *cow, const char *name, unsigned int number, struct found *found,
			uint64_t round)
{
	static struct record all[WRITERS * WRITES_MAX];
	cow_object_t *obj;

	memset(all, 0, sizeof(all));
	MUST(cow_open(cow, name, COW_OPEN_READONLY, &obj) == 0, "%s: %s", name, cow_error(cow));
	MUST(cow_pread(obj, all, sizeof(all), 0) >= 0, "%s: %s", name, cow_error(cow));
	(void)cow_close(obj);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const struct record *r = &all[i];

		if (r->number == 0)
			continue;
		MUST(r->round == round && r->check == record_check(r) &&
			 r->number == i % WRITES_MAX + 1,
		     "%s has a torn record %zu, seed %" PRIu64, name, i, rnd_seed());
		found->records[i / WRITES_MAX][i % WRITES_MAX] = *r;
		found->objects[i / WRITES_MAX][i % WRITES_MAX] |= UINT64_C(1) << number;
	}
}

/* No write is there in part. */
static void check_wide(struct group *g, const struct found *found, const char *what)
{
	for (unsigned int w = 0; w < WRITERS; w++)
		for (uint64_t n = 0; n < WRITES_MAX; n++) {
			const struct record *r = &found->records[w][n];

			MUST(found->objects[w][n] == r->objects,
			     "%s: %" PRIu64 " of writer %u is in the objects %" PRIx64
			     " and not in %" PRIx64 ", seed %" PRIu64,
			     what, n + 1, w, found->objects[w][n], r->objects, rnd_seed());
			g->nwide += (r->objects & (r->objects - 1)) != 0;
		}
}

/* Nothing without all before it, where they are tied. */
static struct state check_found(struct group *g, const struct found *found, const char *what)
{
	struct state state = {{0}};

	check_wide(g, found, what);
	for (unsigned int w = 0; w < WRITERS; w++)
		while (state.count[w] < WRITES_MAX && found->records[w][state.count[w]].number != 0)
			state.count[w]++;
	for (unsigned int w = 0; g->tied && w < WRITERS; w++)
		for (uint64_t n = 0; n < WRITES_MAX; n++) {
			const struct record *r = &found->records[w][n];

			MUST(r->number == 0 || n < state.count[w],
			     "%s: writer %u has %" PRIu64 " and not %" PRIu64 ", seed %" PRIu64,
			     what, w, r->number, state.count[w] + 1, rnd_seed());
			for (unsigned int v = 0; r->number != 0 && v < WRITERS; v++)
				MUST(r->seen[v] <= state.count[v],
				     "%s: %" PRIu64 " of writer %u came after %" PRIu64
				     " of writer %u, of whom %" PRIu64 " are there, seed %" PRIu64,
				     what, r->number, w, r->seen[v], v, state.count[v], rnd_seed());
		}
	return state;
}

static void check_least(const struct state *state, const uint64_t least[WRITERS], const char *what)
{
	for (unsigned int w = 0; w < WRITERS; w++)
		MUST(state->count[w] >= least[w],
		     "%s: %" PRIu64 " of writer %u, and %" PRIu64 " were sure, seed %" PRIu64, what,
		     state->count[w], w, least[w], rnd_seed());
}

static void check_objects(struct group *g, cow_t *cow)
{
	struct found *found = calloc(1, sizeof(*found));
	struct state state;
	char name[32];

	MUST(found, "memory");
	for (unsigned int i = 0; i < OBJECTS; i++) {
		object_of(g, i, name);
		read_object(cow, name, i, found, g->round);
	}
	state = check_found(g, found, "after the kill");
	check_least(&state, g->synced, "after the kill");
	for (unsigned int w = 0; w < WRITERS; w++) {
		uint64_t acked = atomic_load(&g->acked[w]);

		g->nwritten += acked;
		g->nlost += acked > state.count[w] ? acked - state.count[w] : 0;
	}
	free(found);
}

/* How many of a group's copies there are. */
static unsigned int count_copies(const struct group *g, cow_t *cow, unsigned int k)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < OBJECTS; i++) {
		struct cow_info info;
		char name[32];
		int err;

		copy_of(g, k, i, name);
		err = cow_get_info(cow, name, &info);
		MUST(err == 0 || err == -COW_ENOENT, "%s: %s", name, cow_error(cow));
		if (err == 0)
			cow_info_clear(&info);
		n += err == 0;
	}
	return n;
}

static void check_copies(struct group *g, cow_t *cow, unsigned int k)
{
	unsigned int n = count_copies(g, cow, k);
	struct found *found = calloc(1, sizeof(*found));
	struct state state;
	char what[64];

	MUST(found, "memory");
	MUST(n == OBJECTS || (n == 0 && !g->copies[k].answered),
	     "%u of the copies %u are there, seed %" PRIu64, n, k, rnd_seed());
	(void)snprintf(what, sizeof(what), "copies %u of %s", k,
		       g->copies[k].clones ? "clones" : "versions");
	for (unsigned int i = 0; i < n; i++) {
		char name[32];

		copy_of(g, k, i, name);
		read_object(cow, name, i, found, g->round);
	}
	if (n > 0) {
		state = check_found(g, found, what);
		check_least(&state, g->copies[k].least, what);
		g->ncopied++;
	}
	free(found);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void round_init(struct group *g, struct worker *keeper)
{
	g->round++;
	g->ncopies = 0;
	memset(g->synced, 0, sizeof(g->synced));
	for (unsigned int w = 0; w < WRITERS; w++)
		atomic_store(&g->acked[w], 0);
	atomic_store(&g->killed, false);
	atomic_store(&g->answers, 0);
	g->deadline = UINT32_MAX;
	g->quiet = !g->quiet;
	g->tied = !rnd_one_in(&g->rnd, 3);
	MUST(sem_init(&g->due, 0, 0) == 0, "semaphore");
	for (unsigned int i = 0; i < OBJECTS; i++) {
		char name[32];

		object_of(g, i, name);
		MUST(cow_create(keeper->cow, name, 0) == 0, "%s", cow_error(keeper->cow));
	}
	MUST(open_all(keeper), "open");
	if (g->tied)
		MUST(cow_group_tie(keeper->objs, OBJECTS) == 0, "%s", cow_error(keeper->cow));
	atomic_store(&g->answers, 0);
	g->deadline = WRITERS * OBJECTS + 1 + (unsigned int)rnd_below(&g->rnd, ANSWERS_MAX);
}

static void round_fini(struct group *g, cow_t *cow)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		char name[32];

		object_of(g, i, name);
		MUST(cow_remove_with(cow, name, COW_REMOVE_VERSIONS) == 0, "%s", cow_error(cow));
		for (unsigned int k = 0; k < g->ncopies; k++) {
			int err = 0;

			copy_of(g, k, i, name);
			if (g->copies[k].clones)
				err = cow_remove(cow, name);
			MUST(err == 0 || err == -COW_ENOENT, "%s", cow_error(cow));
		}
	}
}

static void run_round(struct group *g, struct worker *workers)
{
	for (unsigned int w = 0; w <= WRITERS; w++) {
		if (w < WRITERS)
			workers[w].cow = daemon_connect(&g->d, w % 2 ? DAEMON_TCP : DAEMON_UNIX);
		MUST(pthread_create(&workers[w].thread, NULL,
				    w < WRITERS ? writer_main : keeper_main, &workers[w]) == 0,
		     "thread");
	}
	for (unsigned int w = 0; w <= WRITERS; w++) {
		MUST(pthread_join(workers[w].thread, NULL) == 0, "join");
		cow_free(workers[w].cow);
	}
	(void)sem_destroy(&g->due);
	daemon_kill(&g->d);
}

static void restart(struct group *g)
{
	static const char *const writeback_ms[] = {"1", "30", NULL};

	daemon_check(&g->d);
	g->d.config.writeback_ms = writeback_ms[rnd_below(&g->rnd, ARRAY_LEN(writeback_ms))];
	daemon_start(&g->d);
}

/* What a run is worth nothing without; a share of the rounds may be too few for it. */
static bool has_seen_all(const struct group *g)
{
	return g->nwritten > 0 && g->nlost > 0 && g->ncopied > 0 && g->nwide > 0;
}

static void no_write_is_there_without_those_before_it(void **state)
{
	static struct group g;
	static struct worker workers[WRITERS + 1];
	uint64_t kills = rnd_count("TEST_KILLS", KILLS_DEFAULT);
	cow_t *cow;

	(void)state;
	must_end_within(7000);
	g.rnd = rnd_stream(1);
	daemon_init(&g.d, NULL);
	daemon_start(&g.d);
	for (unsigned int w = 0; w <= WRITERS; w++)
		workers[w] = (struct worker){.g = &g, .number = w, .rnd = rnd_stream(100 + w)};
	for (uint64_t n = 0; n < kills || (n < KILLS_DEFAULT && !has_seen_all(&g)); n++) {
		workers[WRITERS].cow = daemon_connect(&g.d, DAEMON_UNIX);
		round_init(&g, &workers[WRITERS]);
		run_round(&g, workers);
		restart(&g);
		cow = daemon_connect(&g.d, DAEMON_UNIX);
		check_objects(&g, cow);
		for (unsigned int k = 0; k < g.ncopies; k++)
			check_copies(&g, cow, k);
		round_fini(&g, cow);
		cow_free(cow);
	}
	print_message("%" PRIu64 " writes, %" PRIu64 " of them lost; %" PRIu64
		      " groups of copies; %" PRIu64 " writes to several were found\n",
		      g.nwritten, g.nlost, g.ncopied, g.nwide);
	MUST(has_seen_all(&g), "nothing was tested");
	daemon_stop(&g.d);
	daemon_check(&g.d);
	daemon_fini(&g.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_write_is_there_without_those_before_it),
	};

	return cmocka_run_group_tests_name("a consistency group", tests, NULL, NULL);
}
