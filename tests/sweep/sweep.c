/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep.c: each workload (works.c) is run once without a fault, which counts its calls by their points,
 * and then once for each of these calls and each kind of fault.  Behind each:
 *
 *	- every operation has been answered, once, and nothing was refused that the fault is no reason for;
 *	- what was acknowledged is read back, and is there after a power cut if an fsync covered it;
 *	- what failed has been told to each handle that was open, once;
 *	- the engine has latched where it must, and nowhere else;
 *	- when it is stopped no memory and no descriptor is left.
 *
 *	sweep			the first workload; $TEST_SWEEP: another one, or "all" of them; where
 *				$TEST_SHARE is n every n-th call of each row, from $TEST_SEED
 *	sweep WORKLOAD PLAN	one case (fault.h), saying what it does
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "server/map.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
#include "tests/sim/oom.h"
#include "tests/sim/sched.h"
#include "tests/sweep/calls.h"
#include "tests/sweep/heap.h"
#include "tests/sweep/sweep.h"

#define CALM_TURNS    100u /* without a call to the device: nothing is under way any more */
#define SEED	      1u
#define JOURNAL_NBLKS 64u
#define META_BYTES    (UINT64_C(4) << 20)
#define JOBS	      2u
#define FDS	      256
#define CUTS	      2u /* at the end */

static char dir[64];

/* What all cases of a workload begin with. */
struct base {
	struct left left;
	struct history history;
	char data_path[96]; /* of the size of the device; nobody looks into it */
};

/* What a case leaves, in memory that processes share. */
struct outcome {
	uint64_t counts[FAULT_NPOINTS];
	enum sweep_end end;
	uint64_t states;
};

/* ---- before ---------------------------------------------------------------------------------- */

static void make_store(const struct work *work, const char *map_path, struct base *base)
{
	struct map_geometry geo = {
	    .dev_nblks = work->dev_nblks, .journal_nblks = JOURNAL_NBLKS, .meta_bytes = META_BYTES};
	uint8_t header[BLK_BYTES];
	struct image_blk *blk;
	int fd;

	memset(geo.uuid, 7, sizeof(geo.uuid));
	MUST(map_create(map_path, &geo) == 0, "a new map");
	MUST(dev_file_create(base->data_path, work->dev_nblks << BLK_SHIFT, 0, geo.uuid) == 0,
	     "a new device");
	fd = open(base->data_path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && read(fd, header, BLK_BYTES) == BLK_BYTES, "%s", base->data_path);
	(void)close(fd);
	image_init(&base->left.image, work->dev_nblks);
	blk = image_blk_new(header);
	image_set(&base->left.image, 0, blk);
	image_blk_put(blk);
	mapfile_take(&base->left.map, map_path);
}

static struct sweep *sweep_new(const struct work *work, const struct base *base,
			       const struct fault_plan *plan, unsigned int job)
{
	struct sweep *s = oom_calloc(1, sizeof(*s));
	char lock[128];

	sched_start(SEED);
	s->work = work;
	s->plan = *plan;
	s->rnd = (struct rnd){SEED};
	s->content = plan->n; /* whatever it is: it is another in each */
	(void)snprintf(s->map_path, sizeof(s->map_path), "%s/map-%u", dir, job);
	(void)snprintf(s->verify_path, sizeof(s->verify_path), "%s.verify", s->map_path);
	(void)snprintf(s->data_path, sizeof(s->data_path), "%s", base->data_path);
	(void)snprintf(lock, sizeof(lock), "%s-lock", s->map_path);
	(void)unlink(lock);
	s->sd = simdev_new(&base->left.image, SEED);
	s->history = base->history;
	mapfile_put(&base->left.map, s->map_path);
	calls_begin(s->data_path, s->map_path, s->sd);
	fault_set(plan);
	return s;
}

/* Everything that was acknowledged is durable. */
static void all_is_durable(struct sweep *s)
{
	for (unsigned int i = 0; i < HISTORY_OBJS; i++)
		if (s->history.objs[i].life != HISTORY_NONE)
			history_synced(&s->history.objs[i], history_mark(&s->history.objs[i]));
}

/* Runs what comes before, without a fault. */
static void prepare(const struct work *work, struct base *base)
{
	const struct fault_plan none = {0};
	char map_path[96];
	struct sweep *s;

	(void)snprintf(map_path, sizeof(map_path), "%s/%s.map", dir, work->name);
	(void)snprintf(base->data_path, sizeof(base->data_path), "%s/%s.data", dir, work->name);
	make_store(work, map_path, base);
	history_init(&base->history);
	s = sweep_new(work, base, &none, JOBS);
	MUST(sweep_start(s) == 0, "a start");
	sweep_steps(s, work->before, work->nbefore);
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		const struct history_obj *o = &s->history.objs[i];

		MUST(o->life == HISTORY_NONE || o->synced == history_mark(o),
		     "%s: what comes before ends with fsyncs", o->spec);
	}
	if (!work->crash)
		MUST(sweep_stop(s) == 0, "a stop");
	left_fini(&base->left);
	simdev_cut(s->sd, &s->rnd, &base->left.image);
	calls_cut(&s->rnd, &base->left.map);
	base->history = s->history;
}

/* ---- one case -------------------------------------------------------------------------------- */

static enum sweep_end case_latched(struct sweep *s)
{
	sweep_refused(s);
	return SWEEP_LATCHED;
}

static enum sweep_end case_go(struct sweep *s)
{
	int err;

	if (sched_aborts()) {
		MUST(s->plan.point == FAULT_MEMORY && fault_hits() > 0, "it ends itself");
		(void)fault_arm(false);
		return SWEEP_DIED;
	}
	err = sweep_start(s);
	if (err < 0) {
		MUST(sweep_may_fail(s, err), "it does not start: %s", err_name(err));
		return SWEEP_REFUSED;
	}
	sweep_steps(s, s->work->steps, s->work->nsteps);
	s->lifted = s->plan.span != FAULT_ALWAYS && fault_hits() > 0;
	if (s->lifted)
		fault_lift();
	/* what has failed is told behind that, and may be tried once more */
	for (unsigned int calm = 0; s->lifted && calm < CALM_TURNS;
	     calm = calls_under_way() ? 0 : calm + 1)
		sweep_turn(s);
	sweep_read_all(s);
	sweep_ask_all(s);
	if (s->latched)
		return case_latched(s);
	sweep_cut(s);
	err = sweep_stop(s);
	if (s->latched)
		return SWEEP_LATCHED;
	MUST(err == 0 || (s->work->full && err == -ERR_NOSPC) ||
		 (!s->lifted && sweep_may_fail(s, err)),
	     "the flush failed: %s", err_name(err));
	if (err == 0)
		all_is_durable(s);
	return SWEEP_STOPPED;
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < FDS; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* LMDB's commit has failed, or opening it. */
static bool must_latch(const struct fault_plan *plan)
{
	return plan->n > 0 && plan->point >= FAULT_MAP_OPEN && plan->point != FAULT_MEMORY &&
	       plan->kind != FAULT_EINTR && plan->kind != FAULT_DELAY;
}

static void case_run(const struct work *work, const struct base *base,
		     const struct fault_plan *plan, unsigned int job, bool tells,
		     struct outcome *outcome)
{
	unsigned int nfds = count_fds();
	struct sweep *s;

	heap_begin();
	s = sweep_new(work, base, plan, job);
	s->tells = tells;
	outcome->end = case_go(s);
	for (unsigned int p = 0; p < FAULT_NPOINTS; p++)
		outcome->counts[p] = fault_count((enum fault_point)p);
	MUST(plan->n == 0 || fault_hits() > 0, "so many calls there were not");
	MUST(!must_latch(plan) || outcome->end != SWEEP_STOPPED, "the map has failed: it goes on");
	if (outcome->end == SWEEP_STOPPED || outcome->end == SWEEP_REFUSED) {
		MUST(heap_leaks() == 0, "memory is left");
		MUST(count_fds() == nfds, "a descriptor is left");
	}
	fault_lift();
	for (unsigned int k = 0; k < CUTS; k++)
		sweep_cut(s);
	outcome->states = s->states;
}

/* ---- many ------------------------------------------------------------------------------------ */

struct job {
	pid_t pid; /* 0: none */
	struct fault_plan plan;
	struct outcome *outcome;
};

/* Cases of one point and kind. */
struct row {
	const struct work *work;
	const struct base *base;
	uint64_t cases;
	uint64_t failed;
	uint64_t ends[SWEEP_NENDS];
	uint64_t states;
};

static void quiet(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	MUST(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0, "/dev/null");
	(void)close(fd);
}

/* In a process of its own: it leaves what it likes. */
static void job_start(struct job *job, unsigned int number, const struct row *row,
		      const struct fault_plan *plan, bool tells)
{
	memset(job->outcome, 0, sizeof(*job->outcome));
	job->plan = *plan;
	(void)fflush(stdout);
	job->pid = fork();
	MUST(job->pid >= 0, "a process");
	if (job->pid > 0)
		return;
	if (!tells)
		quiet();
	log_set_level(tells ? LOG_DEBUG : LOG_ERROR);
	case_run(row->work, row->base, plan, number, tells, job->outcome);
	(void)fflush(stdout);
	_exit(0);
}

static void job_init(struct job *job)
{
	job->outcome = mmap(NULL, sizeof(*job->outcome), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(job->outcome != MAP_FAILED, "memory");
}

/* A case that failed is run once more, saying what it does. */
static void job_failed(struct job *job, const struct row *row, int status)
{
	char text[64];

	fault_print(&job->plan, text, sizeof(text));
	(void)printf("# FAILED: tests/sweep/sweep %s %s (status %d)\n", row->work->name, text,
		     status);
	if (row->failed > 0)
		return;
	job_start(job, JOBS, row, &job->plan, true);
	MUST(waitpid(job->pid, &status, 0) == job->pid, "a process");
}

static void job_end(struct job *jobs, struct row *row)
{
	int status;
	pid_t pid = wait(&status);
	unsigned int j = 0;

	while (j < JOBS && jobs[j].pid != pid)
		j++;
	MUST(j < JOBS, "a process of nobody");
	row->cases++;
	if (status == 0)
		row->ends[jobs[j].outcome->end]++;
	row->states += jobs[j].outcome->states;
	if (status != 0)
		job_failed(&jobs[j], row, status);
	row->failed += status != 0;
	jobs[j].pid = 0;
}

/* ---- what is run ----------------------------------------------------------------------------- */

static const struct fault_plan rows[] = {
    {FAULT_DATA_READ, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_DATA_READ, FAULT_EIO, FAULT_ON, 0},
    {FAULT_DATA_READ, FAULT_EIO, FAULT_ALWAYS, 0},
    {FAULT_DATA_READ, FAULT_EINTR, FAULT_ONCE, 0},
    {FAULT_DATA_READ, FAULT_SHORT, FAULT_ONCE, 0},
    {FAULT_DATA_READ, FAULT_SHORT, FAULT_ON, 0},
    {FAULT_DATA_READ, FAULT_SHORT_EIO, FAULT_ONCE, 0},
    {FAULT_DATA_READ, FAULT_DELAY, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_EIO, FAULT_ON, 0},
    {FAULT_DATA_WRITE, FAULT_EIO, FAULT_ALWAYS, 0},
    {FAULT_DATA_WRITE, FAULT_EIO_DONE, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_ENOSPC, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_ENOSPC, FAULT_ON, 0},
    {FAULT_DATA_WRITE, FAULT_EINTR, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_SHORT, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_SHORT, FAULT_ON, 0},
    {FAULT_DATA_WRITE, FAULT_SHORT_EIO, FAULT_ONCE, 0},
    {FAULT_DATA_WRITE, FAULT_SHORT_EIO, FAULT_ON, 0},
    {FAULT_DATA_WRITE, FAULT_DELAY, FAULT_ONCE, 0},
    {FAULT_DATA_SYNC, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_DATA_SYNC, FAULT_EIO, FAULT_ON, 0},
    {FAULT_DATA_SYNC, FAULT_EIO, FAULT_ALWAYS, 0},
    {FAULT_DATA_SYNC, FAULT_EIO_DONE, FAULT_ONCE, 0},
    {FAULT_DATA_SYNC, FAULT_ENOSPC, FAULT_ONCE, 0},
    {FAULT_DATA_SYNC, FAULT_DELAY, FAULT_ONCE, 0},
    {FAULT_MAP_OPEN, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_READ, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_READ, FAULT_SHORT, FAULT_ONCE, 0},
    {FAULT_MAP_SEEK, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_EIO, FAULT_ON, 0},
    {FAULT_MAP_WRITE, FAULT_EIO_DONE, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_ENOSPC, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_EINTR, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_SHORT, FAULT_ONCE, 0},
    {FAULT_MAP_WRITE, FAULT_DELAY, FAULT_ONCE, 0},
    {FAULT_MAP_SYNC, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_SYNC, FAULT_EIO, FAULT_ON, 0},
    {FAULT_MAP_SYNC, FAULT_EIO_DONE, FAULT_ONCE, 0},
    {FAULT_MAP_SYNC, FAULT_ENOSPC, FAULT_ONCE, 0},
    {FAULT_MAP_SYNC, FAULT_DELAY, FAULT_ONCE, 0},
    {FAULT_MAP_SIZE, FAULT_EIO, FAULT_ONCE, 0},
    {FAULT_MAP_SIZE, FAULT_ENOSPC, FAULT_ONCE, 0},
    {FAULT_MAP_MMAP, FAULT_NOMEM, FAULT_ONCE, 0},
    {FAULT_MEMORY, FAULT_NOMEM, FAULT_ONCE, 0},
    {FAULT_MEMORY, FAULT_NOMEM, FAULT_ON, 0},
};

/* The one that the cases of a row begin before: any of a share, where they are a share of all calls. */
static uint64_t row_begin(uint64_t ncalls)
{
	static struct rnd rnd;
	uint64_t share = rnd_share();

	if (share == 1)
		return 0;
	if (rnd.state == 0)
		rnd = rnd_stream(1);
	return rnd_below(&rnd, share < ncalls ? share : ncalls);
}

/* Of all calls that there are of its point, or a share of them, one after the other. */
static void row_run(struct job *jobs, const struct fault_plan *kind, uint64_t ncalls,
		    struct row *row)
{
	uint64_t next = row_begin(ncalls) + 1;
	struct fault_plan plan = *kind;
	unsigned int running = 0;

	while (running > 0 || next <= ncalls) {
		struct job *job = NULL;

		for (unsigned int j = 0; j < JOBS && next <= ncalls; j++)
			if (jobs[j].pid == 0)
				job = &jobs[j];
		if (job) {
			plan.n = next;
			next += rnd_share();
			job_start(job, (unsigned int)(job - jobs), row, &plan, false);
			running++;
		} else {
			job_end(jobs, row);
			running--;
		}
	}
}

static void row_print(const struct row *row, const struct fault_plan *kind, unsigned int number)
{
	(void)printf("%sok %u - %s %s %s %s: %" PRIu64 " cases", row->failed > 0 ? "not " : "",
		     number, row->work->name, fault_point_text(kind->point),
		     fault_kind_text(kind->kind), fault_span_text(kind->span), row->cases);
	if (row->ends[SWEEP_LATCHED] > 0)
		(void)printf(", %" PRIu64 " latched", row->ends[SWEEP_LATCHED]);
	if (row->ends[SWEEP_REFUSED] > 0)
		(void)printf(", %" PRIu64 " not started", row->ends[SWEEP_REFUSED]);
	if (row->ends[SWEEP_DIED] > 0)
		(void)printf(", %" PRIu64 " ended", row->ends[SWEEP_DIED]);
	(void)printf("\n");
}

struct sum {
	unsigned int rows;
	uint64_t cases;
	uint64_t failed;
	uint64_t states;
};

static void work_sweep(const struct work *work, const struct base *base, struct job *jobs,
		       struct sum *sum)
{
	struct row none = {.work = work, .base = base};
	const struct fault_plan counting = {.span = FAULT_ONCE};
	const struct fault_plan judging = {.span = FAULT_ALWAYS};
	uint64_t counts[FAULT_NPOINTS];

	job_start(&jobs[0], 0, &none, &counting, false);
	job_end(jobs, &none);
	memcpy(counts, jobs[0].outcome->counts, sizeof(counts));
	job_start(&jobs[0], 0, &none, &judging, false);
	job_end(jobs, &none);
	row_print(&none, &judging, ++sum->rows);
	sum->failed += none.failed;
	for (size_t r = 0; r < ARRAY_LEN(rows) && none.failed == 0; r++) {
		struct row row = {.work = work, .base = base};

		if (counts[rows[r].point] == 0)
			continue;
		row_run(jobs, &rows[r], counts[rows[r].point], &row);
		row_print(&row, &rows[r], ++sum->rows);
		sum->cases += row.cases;
		sum->failed += row.failed;
		sum->states += row.states;
	}
}

static void remove_files(void)
{
	static const char *const ends[] = {"", "-lock", ".verify", ".verify-lock"};
	char file[160];

	for (unsigned int j = 0; j <= JOBS; j++) {
		for (size_t e = 0; e < ARRAY_LEN(ends); e++) {
			(void)snprintf(file, sizeof(file), "%s/map-%u%s", dir, j, ends[e]);
			(void)unlink(file);
		}
	}
	for (unsigned int w = 0; w < nworks; w++) {
		(void)snprintf(file, sizeof(file), "%s/%s.map", dir, works[w].name);
		(void)unlink(file);
		(void)snprintf(file, sizeof(file), "%s/%s.data", dir, works[w].name);
		(void)unlink(file);
	}
	(void)rmdir(dir);
}

static int sweep_many(const char *wanted, struct job *jobs)
{
	struct sum sum = {0};
	struct timespec begin;
	struct timespec end;

	(void)timespec_get(&begin, TIME_UTC);
	for (unsigned int w = 0; w < nworks; w++) {
		struct base base = {0};

		if (wanted ? strcmp(wanted, "all") != 0 && strcmp(wanted, works[w].name) != 0
			   : w > 0)
			continue;
		prepare(&works[w], &base);
		work_sweep(&works[w], &base, jobs, &sum);
	}
	(void)timespec_get(&end, TIME_UTC);
	(void)printf("1..%u\n# %" PRIu64 " cases, %" PRIu64 " failed, %" PRIu64 " states\n",
		     sum.rows, sum.cases, sum.failed, sum.states);
	return sum.failed == 0 && sum.rows > 0 ? 0 : 1;
}

static int sweep_one(const char *name, const char *text, struct job *jobs)
{
	struct fault_plan plan = {0};
	struct base base = {0};
	struct row row = {.base = &base};
	unsigned int w = 0;

	while (w < nworks && strcmp(name, works[w].name) != 0)
		w++;
	if (w == nworks || (text && !fault_parse(text, &plan))) {
		(void)fprintf(stderr, "sweep: no such workload or plan\n");
		return 1;
	}
	row.work = &works[w];
	prepare(&works[w], &base);
	job_start(&jobs[0], 0, &row, &plan, true);
	job_end(jobs, &row);
	for (unsigned int p = 0; p < FAULT_NPOINTS; p++)
		(void)printf("%s: %" PRIu64 " calls\n", fault_point_text((enum fault_point)p),
			     jobs[0].outcome->counts[p]);
	return row.failed == 0 ? 0 : 1;
}

/* What the C library allocates at its first use and keeps. */
static void warm_up(void)
{
	static char buf[1 << 12];
	const time_t now = 0;
	struct tm tm;

	(void)setvbuf(stdout, buf, _IOLBF, sizeof(buf));
	(void)gmtime_r(&now, &tm);
	(void)strerror(EIO);
}

int main(int argc, char **argv)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	struct job jobs[JOBS] = {0};
	int status;

	warm_up();
	thread_set_role(THREAD_LOOP);
	log_set_level(LOG_ERROR);
	(void)snprintf(dir, sizeof(dir), "%s/cowd-sweep.%d", tmp, (int)getpid());
	MUST(mkdir(dir, 0700) == 0, "%s", dir);
	for (unsigned int j = 0; j < JOBS; j++)
		job_init(&jobs[j]);
	if (argc > 1)
		status = sweep_one(argv[1], argc > 2 ? argv[2] : NULL, jobs);
	else
		status = sweep_many(getenv("TEST_SWEEP"), jobs);
	remove_files();
	(void)fflush(stdout);
	_exit(status); /* the engines that ran before the workloads lie where they are */
}
