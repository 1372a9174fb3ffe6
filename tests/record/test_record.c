/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_record.c: a real cowd is recorded while it works, and the power is cut wherever that may have
 * happened: between any two calls that change or sync a file, with any part of what was not synced.  What
 * is left is recovered from and judged as in the simulation; of a sample a real cowd is started on it.
 *
 * The recording is judged itself: all of it makes the files as they are.
 *
 * $TEST_RECORDED states, $TEST_STARTED of them by a cowd, $TEST_SEED.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/thread.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/record/replay.h"
#include "tests/record/work.h"

#define OPS	 400u
#define RECORDED 2000u
#define STARTED	 100u

struct recording {
	struct daemon d;
	struct work work;
	char trace_path[96];
	char env[128];
	char paths[TRACE_NFILES][112];
	struct replay first; /* before the first entry */
	uint64_t nentries;
	struct daemon other; /* is started on what is left */
	bool other_made;
};

static void path_of(const struct daemon *d, const char *name, char *path, size_t len)
{
	(void)snprintf(path, len, "%s/%s", d->store, name);
}

/* ---- recording ------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct daemon_config config = {.size = "16M", .cache = "16M", .writeback_ms = "20"};
	const char *paths[TRACE_NFILES];
	struct recording *rec = calloc(1, sizeof(*rec));

	MUST(rec, "memory");
	daemon_init(&rec->d, &config);
	daemon_start(&rec->d); /* makes the store */
	daemon_stop(&rec->d);
	path_of(&rec->d, "data", rec->paths[TRACE_DATA], sizeof(rec->paths[0]));
	path_of(&rec->d, "map", rec->paths[TRACE_MAP], sizeof(rec->paths[0]));
	(void)snprintf(rec->trace_path, sizeof(rec->trace_path), "%s/record", rec->d.dir);
	(void)snprintf(rec->env, sizeof(rec->env), "%s=%s", TRACE_ENV, rec->trace_path);
	rec->work.trace = trace_make(rec->trace_path);
	MUST(rec->work.trace, "%s", rec->trace_path);
	for (int f = 0; f < TRACE_NFILES; f++)
		paths[f] = rec->paths[f];
	replay_init(&rec->first, rec->work.trace, paths);
	rec->d.config.program = "COWD_RECORDER";
	rec->d.config.env[0] = rec->env;
	daemon_start(&rec->d);
	rec->work.cow = daemon_connect(&rec->d, DAEMON_UNIX);
	rec->work.rnd = rnd_stream(1);
	rec->work.ops = calloc(WORK_OPS_MAX, sizeof(*rec->work.ops));
	MUST(rec->work.ops, "memory");
	history_init(&rec->work.history);
	work_run(&rec->work, OPS);
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (rec->work.handles[i])
			(void)cow_close(rec->work.handles[i]);
	cow_free(rec->work.cow);
	daemon_stop(&rec->d);
	for (const struct trace_entry *e = trace_at(rec->work.trace, 0); e;
	     e = trace_at(rec->work.trace,
			  (uint64_t)((const uint8_t *)e - (const uint8_t *)rec->work.trace) +
			      e->bytes))
		rec->nentries++;
	*state = rec;
	return 0;
}

static int teardown(void **state)
{
	struct recording *rec = *state;

	replay_fini(&rec->first);
	daemon_fini(&rec->d);
	if (rec->other_made)
		daemon_fini(&rec->other);
	history_fini(&rec->work.history);
	free(rec->work.ops);
	free(rec);
	return 0;
}

/* ---- a real cowd on what is left ------------------------------------------------------------- */

static void put_image(const struct image *image, const char *path)
{
	FILE *file = fopen(path, "w");

	MUST(file && ftruncate(fileno(file), (off_t)(image->nblks * BLK_BYTES)) == 0, "%s", path);
	for (uint64_t b = 0; b < image->nblks; b++) {
		const struct image_blk *blk = image_at(image, b);

		MUST(!blk || pwrite(fileno(file), blk->bytes, BLK_BYTES, (off_t)(b * BLK_BYTES)) ==
				 BLK_BYTES,
		     "%s", path);
	}
	(void)fclose(file);
}

static void judge_object(cow_t *cow, const char *spec, const struct history_state *state)
{
	static uint8_t bytes[HISTORY_BYTES];
	cow_object_t *obj;
	ssize_t n;

	MUST(cow_open(cow, spec, COW_OPEN_READONLY, &obj) == 0, "%s", cow_error(cow));
	memset(bytes, 0, sizeof(bytes));
	n = cow_pread(obj, bytes, sizeof(bytes), 0);
	MUST(n == (ssize_t)state->size, "%s: %zd bytes", spec, n);
	for (uint32_t b = 0; b < HISTORY_BLKS; b++)
		MUST(history_csum(bytes + (size_t)b * BLK_BYTES) == state->csums[b],
		     "%s: block %u is another", spec, b);
	(void)cow_close(obj);
}

/* It shows what the judge has found, takes a write, and is sound after it was killed. */
static void start_on(struct recording *rec, const struct left *left, const struct history *h,
		     const struct verify_found *found)
{
	struct daemon *d = &rec->other;
	char path[112];
	cow_t *cow;

	if (!rec->other_made) {
		struct daemon_config config = {.cache = "16M"};

		daemon_init(d, &config);
		MUST(mkdir(d->store, 0700) == 0, "%s", d->store);
		d->made = true;
		rec->other_made = true;
	}
	path_of(d, "data", path, sizeof(path));
	put_image(&left->image, path);
	path_of(d, "map", path, sizeof(path));
	mapfile_put(&left->map, path);
	path_of(d, "lock", path, sizeof(path));
	(void)fclose(fopen(path, "w"));
	daemon_start(d);
	cow = daemon_connect(d, DAEMON_UNIX);
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (found[i].there)
			judge_object(cow, h->objs[i].spec, &found[i].state);
	MUST(cow_create(cow, "afterwards", 4096) == 0, "%s", cow_error(cow));
	cow_free(cow);
	daemon_kill(d);
	daemon_check(d);
}

/* ---- the cases ------------------------------------------------------------------------------- */

static void test_recording_makes_the_files_as_they_are(void **state)
{
	struct recording *rec = *state;
	const char *paths[TRACE_NFILES] = {rec->paths[TRACE_DATA], rec->paths[TRACE_MAP]};
	uint64_t marks = 0;
	const struct trace_entry *e;
	struct replay r;

	replay_again(&r, &rec->first);
	while ((e = replay_step(&r)))
		marks += e->kind == TRACE_MARK;
	assert_int_equal(marks, 2 * OPS);
	for (int f = 0; f < TRACE_NFILES; f++) {
		assert_true(r.files[f].nwrites > 20 && r.files[f].nsyncs > 10);
		assert_true(replay_equals(&r, (enum trace_file)f, paths[f]));
		(void)printf("%s: %" PRIu64 " writes, %" PRIu64 " syncs\n", paths[f],
			     r.files[f].nwrites, r.files[f].nsyncs);
	}
	replay_fini(&r);
}

static void judge(struct recording *rec, const struct replay *r, struct history *h, struct rnd *rnd,
		  bool start, uint64_t *states)
{
	struct verify_found found[HISTORY_OBJS];
	struct left left = {0};
	struct left before = {0};
	char path[112];

	(void)snprintf(path, sizeof(path), "%s/judged", rec->d.dir);
	replay_cut(r, rnd, &left);
	if (start) {
		image_copy(&before.image, &left.image);
		mapfile_copy(&before.map, &left.map);
	}
	*states += verify(&left, path, h, rnd, found);
	if (start)
		start_on(rec, &before, h, found);
	left_fini(&left);
	left_fini(&before);
}

/* So many states are to come from the entry of this number that all together are as many as wanted. */
static uint64_t share_of_entry(const struct recording *rec, uint64_t number, uint64_t want)
{
	return (number + 1) * want / rec->nentries - number * want / rec->nentries;
}

static void test_power_cut_anywhere(void **state)
{
	struct recording *rec = *state;
	uint64_t want = rnd_count("TEST_RECORDED", RECORDED);
	uint64_t nstarts = rnd_count("TEST_STARTED", STARTED);
	struct rnd rnd = rnd_stream(2);
	const struct trace_entry *e;
	uint64_t number = 0;
	uint64_t states = 0;
	uint64_t starts = 0;
	uint64_t cuts = 0;
	struct history h;
	struct replay r;

	thread_set_role(THREAD_LOOP);
	history_init(&h);
	replay_again(&r, &rec->first);
	while ((e = replay_step(&r))) {
		if (e->kind == TRACE_MARK)
			work_replay(&rec->work, &h, e);
		for (uint64_t n = share_of_entry(rec, number++, want); n > 0; n--) {
			bool start = starts < nstarts && starts * want <= cuts++ * nstarts;

			judge(rec, &r, &h, &rnd, start, &states);
			starts += start;
		}
	}
	replay_fini(&r);
	history_fini(&h);
	(void)printf("%" PRIu64 " states, a cowd started on %" PRIu64 "\n", states, starts);
	assert_true(states >= want - want / 10);
	assert_true(starts >= nstarts - nstarts / 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_recording_makes_the_files_as_they_are),
	    cmocka_unit_test(test_power_cut_anywhere),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, setup, teardown);
}
