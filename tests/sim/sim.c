/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sim.c: crash states of the whole engine, by simulation.  A seed is a run: the operations, which of the
 * threads goes on when, which calls of the device and commits of LMDB fail, where the power is cut and
 * what that leaves, and how recovery is cut off in its turn.  Each state is judged by verify.h.
 *
 *	sim		each case (cases.h), then $TEST_STATES states, from the seed $TEST_SEED on
 *	sim SEED	the run of this seed alone, saying what it does
 *	sim SEED N	those of N seeds: the digest says whether another time the same has happened
 *	sim SEED N CASE	what this case draws from them
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/dev.h"
#include "server/map.h"
#include "tests/lib/must.h"
#include "tests/sim/cases.h"
#include "tests/sim/run.h"
#include "tests/sim/sched.h"

#define DEV_NBLKS_MIN 256u
#define DEV_NBLKS_MAX 1024u
#define DEV_FITS_MIN  176u /* where objects fit their reservations: some of these fill it */
#define DEV_FITS_MAX  336u
#define JOURNAL_NBLKS 64u
#define META_BYTES    (UINT64_C(4) << 20)
#define ROUNDS	      8u
#define OPS	      120u
#define STATES	      50u
#define JOBS_MIN      2u
#define JOBS_MAX      64u
#define PROGRESS_S    60
#define CASE_SEEDS    2u

#define STATES_ALL 20000u

static char dir[64];

/* ---- a new store ----------------------------------------------------------------------------- */

static void make_empty(uint64_t nblks, const char *path, struct left *left)
{
	struct map_geometry geo = {
	    .dev_nblks = nblks, .journal_nblks = JOURNAL_NBLKS, .meta_bytes = META_BYTES};

	memset(geo.uuid, 7, sizeof(geo.uuid));
	MUST(map_create(path, &geo) == 0, "a new map");
	mapfile_take(&left->map, path);
	image_init(&left->image, geo.dev_nblks);
	(void)unlink(path);
}

/* ---- one seed -------------------------------------------------------------------------------- */

/* The map's, and that of states to be judged; LMDB has one more beside each. */
static void path_of(char *path, size_t len, uint64_t seed)
{
	(void)snprintf(path, len, "%s/map-%" PRIu64, dir, seed);
}

static void remove_files(uint64_t seed)
{
	static const char *const ends[] = {"", "-lock", ".verify", ".verify-lock"};
	char path[96];
	char file[128];

	path_of(path, sizeof(path), seed);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		(void)snprintf(file, sizeof(file), "%s%s", path, ends[i]);
		(void)unlink(file);
	}
}

static uint64_t draw_nblks(struct rnd *rnd, const struct sim_draws *draws, bool fits)
{
	if (draws->dev_nblks > 0)
		return draws->dev_nblks;
	return fits ? DEV_FITS_MIN + rnd_below(rnd, DEV_FITS_MAX - DEV_FITS_MIN)
		    : DEV_NBLKS_MIN + rnd_below(rnd, DEV_NBLKS_MAX - DEV_NBLKS_MIN);
}

static void run_seed(uint64_t seed, const struct sim_case *c, struct run_stats *stats)
{
	struct sim_draws draws = {.faults_one_in = 3, .fits_one_in = 2};
	struct left left = {0};
	struct history history;
	struct rnd rnd = {seed};
	char path[96];

	path_of(path, sizeof(path), seed);
	case_begin(c, &draws);
	sched_start(seed);
	history_init(&history);
	history.fits = draws.fits_one_in > 0 && rnd_one_in(&rnd, draws.fits_one_in);
	make_empty(draw_nblks(&rnd, &draws, history.fits), path, &left);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		bool faults = draws.faults_one_in > 0 && rnd_one_in(&rnd, draws.faults_one_in);
		struct run *run = run_start(&left, path, &history, rnd_u64(&rnd), faults, stats);

		left_fini(&left);
		run_go(run, OPS, STATES, &left);
	}
}

/* ---- many ------------------------------------------------------------------------------------ */

struct job {
	pid_t pid; /* 0: none */
	uint64_t seed;
	struct run_stats *stats; /* shared with the process */
};

static void job_init(struct job *job)
{
	job->stats = mmap(NULL, sizeof(*job->stats), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(job->stats != MAP_FAILED, "memory");
}

/* In a process of its own, since a run leaves its engines as they are. */
static void job_start(struct job *job, uint64_t seed, const struct sim_case *c, bool tells)
{
	*job->stats = (struct run_stats){.tells = tells};
	job->seed = seed;
	(void)fflush(stdout); /* or the process would write it again */
	job->pid = fork();
	MUST(job->pid >= 0, "a process");
	if (job->pid > 0)
		return;
	run_seed(seed, c, job->stats);
	(void)fflush(stdout);
	_exit(0);
}

/* Waits for one of them, adds what it has done, and says which seed failed. */
static bool job_end(struct job *jobs, unsigned int n, const struct sim_case *c,
		    struct run_stats *sum)
{
	int status;
	pid_t pid = wait(&status);
	unsigned int j = 0;

	while (j < n && jobs[j].pid != pid)
		j++;
	MUST(j < n, "a process of nobody");
	jobs[j].pid = 0;
	remove_files(jobs[j].seed);
	sum->states += jobs[j].stats->states;
	sum->ops += jobs[j].stats->ops;
	sum->refused += jobs[j].stats->refused;
	sum->faults += jobs[j].stats->faults;
	sum->latches += jobs[j].stats->latches;
	sum->turns += jobs[j].stats->turns;
	sum->digest += jobs[j].stats->digest;
	if (status != 0)
		(void)printf("FAILED: sim %" PRIu64 "%s%s (status %d)\n", jobs[j].seed,
			     c->name[0] ? " 1 " : "", c->name, status);
	return status == 0;
}

static struct job *job_free(struct job *jobs, unsigned int n)
{
	for (unsigned int j = 0; j < n; j++)
		if (jobs[j].pid == 0)
			return &jobs[j];
	return NULL;
}

/* What is to be run: seeds one after the other, until there are so many, or so many states. */
struct plan {
	struct sim_case c;
	uint64_t seed;
	uint64_t seeds;
	uint64_t states;
	bool tells;
};

/* As many processes as processors. */
static unsigned int jobs_wanted(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < (long)JOBS_MIN)
		return JOBS_MIN;
	return n < (long)JOBS_MAX ? (unsigned int)n : JOBS_MAX;
}

/* Each minute: how far it is, and how many states a second there were in this minute.  By the real clock:
 * the simulated one stands still here. */
static void tell_progress(const struct run_stats *sum)
{
	static time_t begun;
	static time_t told;
	static uint64_t states;
	time_t now = time(NULL);

	if (begun == 0)
		begun = told = now;
	if (now - told < PROGRESS_S)
		return;
	(void)printf("%" PRIu64 " states in %lld s, %" PRIu64 " a second\n", sum->states,
		     (long long)(now - begun), (sum->states - states) / (uint64_t)(now - told));
	(void)fflush(stdout);
	told = now;
	states = sum->states;
}

/* Until one fails. */
static bool run_plan(struct plan plan, struct run_stats *sum)
{
	struct job jobs[JOBS_MAX] = {0};
	unsigned int njobs = jobs_wanted();
	unsigned int running = 0;
	bool good = true;

	for (unsigned int j = 0; j < njobs; j++)
		job_init(&jobs[j]);
	for (;;) {
		bool more = good && plan.seeds > 0 && sum->states < plan.states;
		struct job *job = more ? job_free(jobs, njobs) : NULL;

		if (job) {
			job_start(job, plan.seed++, &plan.c, plan.tells);
			plan.seeds--;
			running++;
		} else if (running == 0) {
			break;
		} else {
			good = job_end(jobs, njobs, &plan.c, sum) && good;
			running--;
			tell_progress(sum);
		}
	}
	return good;
}

/*
 * What is large, and mostly never touched, is to come from the kernel, which has zeros at no cost: LMDB
 * takes 2 MiB of them for each environment.  So no piece as large is kept.
 */
static void tune_memory(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, 384 << 10);
	(void)mallopt(M_TRIM_THRESHOLD, 512 << 10);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

static unsigned int load_cases(struct sim_case cases[CASES_MAX])
{
	const char *srcdir = getenv("srcdir");
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/tests/sim/cases.txt", srcdir ? srcdir : ".");
	return cases_load(path, cases);
}

/* Some seeds of each case. */
static bool run_cases(uint64_t seed, struct run_stats *sum)
{
	static struct sim_case cases[CASES_MAX];
	unsigned int n = load_cases(cases);
	bool good = true;

	for (unsigned int i = 0; i < n && good; i++)
		good = run_plan(
		    (struct plan){
			.c = cases[i], .seed = seed, .seeds = CASE_SEEDS, .states = UINT64_MAX},
		    sum);
	(void)printf("%u cases\n", n);
	return good;
}

/* As the arguments say. */
static bool run_asked(int argc, char **argv, struct run_stats *sum)
{
	static struct sim_case cases[CASES_MAX];
	struct plan plan = {.seed = strtoull(argv[1], NULL, 10),
			    .seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
			    .states = UINT64_MAX};

	plan.tells = plan.seeds == 1;
	if (argc > 3) {
		const struct sim_case *c = cases_find(cases, load_cases(cases), argv[3]);

		MUST(c, "there is no case %s", argv[3]);
		plan.c = *c;
	}
	if (plan.tells) {
		log_set_level(LOG_DEBUG);
		(void)setvbuf(stdout, NULL, _IOLBF, 0); /* up to where it fails */
	}
	return run_plan(plan, sum);
}

static bool run_all(struct run_stats *sum)
{
	struct plan plan = {
	    .seed = rnd_env("TEST_SEED", (uint64_t)getpid() * 1000003u + (uint64_t)time(NULL)),
	    .seeds = UINT64_MAX,
	    .states = rnd_count("TEST_STATES", STATES_ALL)};

	(void)printf("seed=%" PRIu64 "\n", plan.seed);
	(void)fflush(stdout);
	return run_cases(plan.seed, sum) && run_plan(plan, sum);
}

int main(int argc, char **argv)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	struct run_stats sum = {0};
	bool good;

	tune_memory();
	thread_set_role(THREAD_LOOP);
	log_set_level(LOG_ERROR);
	(void)snprintf(dir, sizeof(dir), "%s/cowd-sim.%d", tmp, (int)getpid());
	MUST(mkdir(dir, 0700) == 0, "%s", dir);
	good = argc > 1 ? run_asked(argc, argv, &sum) : run_all(&sum);
	(void)printf("%" PRIu64 " states, %" PRIu64 " operations (%" PRIu64 " refused), %" PRIu64
		     " faults, %" PRIu64 " latched, %" PRIu64 " turns, digest %016" PRIx64 "\n",
		     sum.states, sum.ops, sum.refused, sum.faults, sum.latches, sum.turns,
		     sum.digest);
	(void)rmdir(dir);
	return good ? 0 : 1;
}
