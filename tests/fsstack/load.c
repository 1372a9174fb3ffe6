/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load.c: a cowd with clients on a file system that loses its power, fails or is full.
 *
 *	load STACK_SH DIR cuts ROUNDS PATH	power cuts at random moments
 *	load STACK_SH DIR errors ROUNDS PATH	before them a time in which writes fail
 *	load STACK_SH DIR reads ROUNDS PATH	a time in which all reads fail
 *	load STACK_SH DIR full ROUNDS PATH	the file system becomes full under it
 *	load STACK_SH DIR make ROUNDS PATH	power cuts while a store is made
 *
 * PATH: "store", data in the store's directory, every other handle direct; or "device", a file beside
 * it, mapped at every other start; or a block device in its place.  $TEST_SEED.  Says what it has seen in
 * its last line.
 */
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/cow.h"
#include "common/annot.h"
#include "tests/fsstack/stack.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
#include "tests/lib/writers.h"

#define ANSWERS_MAX   400u
#define FAILURES_MAX  20u      /* operations, before writes succeed again */
#define PATIENCE      1000u    /* failures of one operation while they do, */
#define PAUSE_NS      20000000 /* so much apart */
#define ROUND_SECONDS 120u     /* what takes longer hangs */
#define START_MS_MAX  60u
#define MANY	      4000u  /* objects, so that the map is more than what is read ahead of it */
#define STORE_SIZE    "176M" /* places that have failed are not used again */

/* What is the matter with the disk. */
enum phase {
	PHASE_WELL,
	PHASE_FAILING, /* writes */
	PHASE_HEALED,  /* they were; what a handle is told now may be of then */
	PHASE_READING, /* all reads fail */
	PHASE_OVER     /* the daemon has no disk any more, or ended, or gave up */
};

struct load {
	struct stack stack;
	struct daemon d;
	long log_from; /* what the daemon that runs has said */
	struct writers writers;
	struct rnd rnd;
	bool device;
	bool errors;	    /* this kind of rounds */
	bool full;	    /* or this one */
	size_t others;	    /* objects beside those of the writers */
	unsigned int least; /* answers before the end */
	atomic_int phase;
	atomic_uint answers;
	atomic_uint failures;
	unsigned int fail_at; /* the number of answers; 0: never */
	unsigned int heal_at; /* of answers, or failures, whatever is first; 0: never */
	unsigned int fails;   /* of these */
	unsigned int well;    /* answers between that and the end */
	atomic_uint over_at;  /* of answers */
	uint64_t how;	      /* the power is cut */
	bool cuts;	      /* it is; else the daemon alone is killed */
	atomic_bool ended;    /* by itself */
	atomic_bool stuck;    /* a writer has lost patience */
	sem_t due;
	/* what was seen */
	unsigned int nends, ndead, nhealed, nfull, nreads, nunread, nmade, nfound;
};

/* ---- while the writers are at work ----------------------------------------------------------- */

/* True for the one that changes it. */
static bool turn(struct load *l, int from, int to)
{
	return atomic_compare_exchange_strong(&l->phase, &from, to);
}

/* The round is over, whatever phase it is in; true for the one that says so. */
static bool finish(struct load *l)
{
	return atomic_exchange(&l->phase, PHASE_OVER) != PHASE_OVER;
}

static void crash(struct load *l)
{
	if (!finish(l))
		return;
	if (l->cuts)
		stack_cut(&l->stack, l->how);
	else
		(void)kill(l->d.pid, SIGKILL);
	(void)sem_post(&l->due);
}

static void heal(struct load *l)
{
	if (!turn(l, PHASE_FAILING, PHASE_HEALED))
		return;
	stack_fail_writes(&l->stack, false);
	atomic_store(&l->over_at, atomic_load(&l->answers) + l->well);
}

static void on_answer(void *ctx)
{
	struct load *l = ctx;
	unsigned int n = atomic_fetch_add(&l->answers, 1) + 1;

	if (n == l->fail_at && l->full) {
		stack_fill(&l->stack);
		atomic_store(&l->over_at, atomic_load(&l->answers) + l->well);
	} else if (n == l->fail_at && turn(l, PHASE_WELL, PHASE_FAILING)) {
		stack_fail_writes(&l->stack, true);
	}
	if (n == l->heal_at)
		heal(l);
	if (n >= atomic_load(&l->over_at))
		crash(l);
}

static bool give_up(struct load *l, atomic_bool *why)
{
	if (finish(l)) {
		atomic_store(why, true);
		(void)sem_post(&l->due);
	}
	return false;
}

/* So long, or until the daemon ends. */
static void wait_up_to(const struct daemon *d, struct timespec time)
{
	struct pollfd pfd = {.fd = (int)syscall(SYS_pidfd_open, d->pid, 0), .events = POLLIN};

	MUST(pfd.fd >= 0, "pidfd_open");
	(void)ppoll(&pfd, 1, &time, NULL);
	(void)close(pfd.fd);
}

static bool on_failure(void *ctx, const struct writer *w, int err, unsigned int n)
{
	struct load *l = ctx;
	int phase = atomic_load(&l->phase);

	if (phase == PHASE_OVER)
		return false;
	if (phase == PHASE_READING) {
		MUST(err == COW_EIO || err == COW_ECONN || err == COW_ESHUTDOWN, "%s",
		     cow_error(w->cow));
		l->nunread += err == COW_EIO;
		atomic_store(&l->ended, err != COW_EIO);
		return false;
	}
	MUST(phase != PHASE_WELL, "%s, seed %" PRIu64, cow_error(w->cow), rnd_seed());
	if (err == COW_ECONN || err == COW_ESHUTDOWN)
		return give_up(l, &l->ended);
	MUST(err == COW_EIO || err == COW_ENOSPC, "%s, seed %" PRIu64, cow_error(w->cow),
	     rnd_seed());
	if (atomic_fetch_add(&l->failures, 1) + 1 == l->fails)
		(l->heal_at > 0 ? heal : crash)(l);
	if (phase != PHASE_HEALED)
		return true;
	if (n > PATIENCE)
		return give_up(l, &l->stuck);
	/* a checkpoint that has failed, and has the space, is tried again after a second */
	wait_up_to(&l->d, (struct timespec){.tv_nsec = PAUSE_NS});
	return true;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void choose_way(struct load *l)
{
	static const char *const cache[] = {NULL, "16M"};
	static const char *const writeback_ms[] = {"1", "30", NULL};

	l->d.config.cache = cache[rnd_below(&l->rnd, ARRAY_LEN(cache))];
	l->d.config.writeback_ms = writeback_ms[rnd_below(&l->rnd, ARRAY_LEN(writeback_ms))];
	if (l->device && !l->stack.bare)
		l->d.config.device = rnd_one_in(&l->rnd, 2) ? "dax:" : "";
}

static void power_on(struct load *l)
{
	static const unsigned int rates[] = {2, 10, 30, 100};

	stack_again(&l->stack, rnd_one_in(&l->rnd, 2),
		    l->errors ? rates[rnd_below(&l->rnd, ARRAY_LEN(rates))] : 0);
}

static void serve(struct load *l)
{
	struct stat st;

	l->log_from = stat(l->d.log, &st) == 0 ? (long)st.st_size : 0;
	daemon_start(&l->d);
}

/* Sometimes the power goes while it recovers. */
static void start(struct load *l)
{
	daemon_check(&l->d);
	choose_way(l);
	if (rnd_one_in(&l->rnd, 3)) {
		struct timespec time = {.tv_nsec =
					    (long)rnd_below(&l->rnd, START_MS_MAX) * 1000000};

		daemon_spawn(&l->d);
		wait_up_to(&l->d, time);
		stack_cut(&l->stack, rnd_u64(&l->rnd));
		(void)kill(l->d.pid, SIGKILL);
		(void)daemon_wait(&l->d);
		power_on(l);
		daemon_check(&l->d);
	}
	serve(l);
}

/* A time of them, behind which it goes on; or the end comes in that time. */
static void choose_errors(struct load *l)
{
	l->fail_at = 1 + (unsigned int)rnd_below(&l->rnd, ANSWERS_MAX / 2);
	l->fails = 1 + (unsigned int)rnd_below(&l->rnd, FAILURES_MAX);
	if (rnd_one_in(&l->rnd, 3)) {
		atomic_store(&l->over_at, l->fail_at + l->well);
		return;
	}
	l->heal_at = l->fail_at + ANSWERS_MAX;
	atomic_store(&l->over_at, UINT32_MAX);
}

static void choose_moments(struct load *l)
{
	atomic_store(&l->phase, PHASE_WELL);
	atomic_store(&l->answers, 0);
	atomic_store(&l->failures, 0);
	atomic_store(&l->ended, false);
	atomic_store(&l->stuck, false);
	l->fail_at = l->heal_at = 0;
	l->well = 1 + l->least +
		  (unsigned int)(rnd_one_in(&l->rnd, 2) ? rnd_log(&l->rnd, ANSWERS_MAX)
							: rnd_below(&l->rnd, ANSWERS_MAX));
	atomic_store(&l->over_at, l->well);
	l->how = rnd_u64(&l->rnd);
	l->cuts = !l->errors || rnd_below(&l->rnd, 4) != 0;
	if (l->errors)
		choose_errors(l);
	if (l->full) {
		l->fail_at = 1 + (unsigned int)rnd_below(&l->rnd, ANSWERS_MAX / 2);
		atomic_store(&l->over_at, UINT32_MAX);
	}
}

/* Since it was started. */
static bool has_logged(const struct load *l, const char *text)
{
	FILE *f = fopen(l->d.log, "re");
	bool found = false;
	char line[1024];

	MUST(f && fseek(f, l->log_from, SEEK_SET) == 0, "%s", l->d.log);
	while (fgets(line, sizeof(line), f))
		found = found || strstr(line, text);
	(void)fclose(f);
	return found;
}

/* By itself, by a signal that lets it try to make all durable, or at once. */
static void end_daemon(struct load *l)
{
	bool stop = rnd_one_in(&l->rnd, 2);
	int status;

	if (!atomic_load(&l->ended))
		(void)kill(l->d.pid, stop ? SIGTERM : SIGKILL);
	status = daemon_wait(&l->d);
	MUST(status == 1 || (!atomic_load(&l->ended) && (status == 137 || (stop && status == 0))),
	     "the daemon ended with %d, seed %" PRIu64, status, rnd_seed());
	if (status == 0)
		writers_synced(&l->writers);
}

/* Errors that stay, on a disk that is well: it has latched, and ends; or what it does not use any more
 * after errors is all that there was. */
static void judge_stuck(struct load *l)
{
	bool latched = has_logged(l, "event=latched");

	MUST(latched || has_logged(l, "event=writeback-lacks-space"),
	     "it does not go on though it could, seed %" PRIu64, rnd_seed());
	atomic_store(&l->ended, latched);
	l->nfull += !latched;
}

/* After the writers' end. */
static void judge_end(struct load *l)
{
	bool dead = l->errors && stack_is_dead(&l->stack);

	if (atomic_load(&l->stuck) && !dead)
		judge_stuck(l);
	l->nends += atomic_load(&l->ended);
	l->ndead += dead && !l->cuts;
	l->nhealed += l->heal_at > 0 && atomic_load(&l->failures) > 0 && !atomic_load(&l->ended) &&
		      !atomic_load(&l->stuck) && !dead;
	writers_disconnect(&l->writers);
	end_daemon(l);
	if (l->cuts || dead || rnd_one_in(&l->rnd, 2))
		power_on(l);
	else
		stack_fail_writes(&l->stack, false);
}

static void run_round(struct load *l)
{
	must_end_within(ROUND_SECONDS);
	choose_moments(l);
	writers_start(&l->writers);
	while (sem_wait(&l->due) != 0)
		;
	writers_join(&l->writers);
	judge_end(l);
	if (l->full)
		stack_fill(&l->stack); /* what of it a power cut has taken */
	start(l);
	writers_connect(&l->writers);
	writers_verify(&l->writers, l->others);
}

static void begin(struct load *l)
{
	static const struct writers_hooks hooks = {.answered = on_answer, .failed = on_failure};
	struct daemon_config config = {.size = STORE_SIZE, .at = l->stack.at};
	struct writers_hooks mine = hooks;

	must_end_within(ROUND_SECONDS);
	mine.ctx = l;
	if (l->device)
		config.device = "";
	MUST(sem_init(&l->due, 0, 0) == 0, "semaphore");
	daemon_init(&l->d, &config);
	serve(l);
	writers_init(&l->writers, &l->d, !l->device, &mine);
	writers_connect(&l->writers);
}

static void end(struct load *l)
{
	must_end_within(ROUND_SECONDS);
	writers_fini(&l->writers);
	daemon_stop(&l->d);
	daemon_check(&l->d);
	daemon_fini(&l->d);
	(void)sem_destroy(&l->due);
}

static void run_cuts(struct load *l, uint64_t rounds)
{
	begin(l);
	for (uint64_t i = 0; i < rounds; i++)
		run_round(l);
	end(l);
	printf("%" PRIu64 " rounds", rounds);
	if (l->errors)
		printf("; it went on after errors in %u, ended by itself in %u, had no space left "
		       "in %u; "
		       "the file system gave up in %u",
		       l->nhealed, l->nends, l->nfull, l->ndead);
	printf("\n");
}

/* ---- reads that fail ------------------------------------------------------------------------- */

/* So many objects that the map is more than what is read ahead of it at a start. */
static void make_many(struct load *l)
{
	static char names[MANY][16];
	static const char *list[MANY];
	static int results[MANY];
	cow_t *cow = l->writers.writer[0].cow;

	for (size_t i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "m%zu", i);
		list[i] = names[i];
	}
	MUST(cow_create(cow, "many", 4096) == 0, "%s", cow_error(cow));
	MUST(cow_clone_many(cow, "many", list, MANY, NULL, results) == 0, "%s", cow_error(cow));
	l->others = MANY + 1;
}

static void look_at_many(struct load *l)
{
	struct writer *w = &l->writers.writer[0];
	struct cow_info info;
	char name[16];
	int err = 0;

	for (unsigned int i = 0; i < MANY / 8 && err != -COW_ECONN; i++) {
		(void)snprintf(name, sizeof(name), "m%u", (unsigned int)rnd_below(&l->rnd, MANY));
		err = cow_get_info(w->cow, name, &info);
		if (err == 0)
			cow_info_clear(&info);
		else
			(void)on_failure(l, w, -err, 1);
	}
}

/* So that it is reads of data that fail. */
static void bring_map_in(struct load *l)
{
	cow_t *cow = l->writers.writer[0].cow;
	struct cow_report report;

	MUST(cow_check(cow, &report) == 0, "%s", cow_error(cow));
	cow_report_clear(&report);
}

/* After another start: a mapped device has ended the daemon, or what the file system itself could not
 * read has shut it down. */
static void read_again(struct load *l, bool dead)
{
	writers_disconnect(&l->writers);
	end_daemon(l);
	MUST(!atomic_load(&l->ended) || has_logged(l, "SIGBUS") ||
		 (dead && has_logged(l, "event=latched")),
	     "how it ended");
	l->nends += atomic_load(&l->ended);
	l->ndead += dead;
	if (dead)
		power_on(l);
	start(l);
	writers_connect(&l->writers);
}

/* With nothing in memory; what could not be read can be when the disk is well, or after another start. */
static void read_round(struct load *l)
{
	bool dead;

	must_end_within(ROUND_SECONDS);
	writers_disconnect(&l->writers);
	daemon_stop(&l->d);
	power_on(l);
	choose_way(l);
	serve(l);
	writers_connect(&l->writers);
	if (rnd_one_in(&l->rnd, 2))
		bring_map_in(l);
	atomic_store(&l->phase, PHASE_READING);
	atomic_store(&l->ended, false);
	stack_fail_reads(&l->stack, true);
	l->nreads += writers_look(&l->writers);
	look_at_many(l);
	stack_fail_reads(&l->stack, false);
	atomic_store(&l->phase, PHASE_WELL);
	dead = stack_is_dead(&l->stack);
	if (atomic_load(&l->ended) || dead)
		read_again(l, dead);
	writers_verify(&l->writers, l->others);
}

static void run_reads(struct load *l, uint64_t rounds)
{
	begin(l);
	make_many(l);
	l->least = ANSWERS_MAX;
	run_round(l);
	for (uint64_t i = 0; i < rounds; i++)
		read_round(l);
	end(l);
	MUST(l->nunread + l->nends > 0, "nothing has failed");
	printf("%" PRIu64 " rounds: %u objects were read all the same, %u answers were errors, it "
	       "ended by itself in %u; the file system gave up in %u\n",
	       rounds, l->nreads, l->nunread, l->nends, l->ndead);
}

/* ---- making a store -------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	MUST(fd >= 0 && fsync(fd) == 0, "%s", path);
	(void)close(fd);
}

static void remove_store(struct load *l)
{
	MUST(nftw(l->d.store, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "%s", l->d.store);
	if (l->device)
		(void)unlink(l->d.device);
	l->d.made = false;
	sync_directory(l->stack.at); /* else the next cut brings it back */
}

static int make(struct daemon *d)
{
	daemon_make(d);
	return daemon_wait(d);
}

/* After the cut: it is there, whole, or it is not there. */
static bool is_made(struct daemon *d, int said)
{
	char text[1024];
	int status = daemon_check_status(d, text, sizeof(text));

	MUST(status == 0 || (status == 3 && said != 0), "made: %d, checked: %d, %s", said, status,
	     text);
	return status == 0;
}

/* What was left does not stand in the way, but for a device file elsewhere, which may be anybody's. */
static void make_anew(struct load *l)
{
	struct daemon *d = &l->d;
	int status = make(d);

	if (status == 4 && l->device && unlink(d->device) == 0)
		status = make(d);
	MUST(status == 0, "made anew: %d", status);
	daemon_check(d);
}

/* Nothing lies beside the store but its device. */
static void must_be_alone(const struct load *l)
{
	glob_t found;
	char pattern[STACK_PATH_MAX + 8];

	MUST(snprintf(pattern, sizeof(pattern), "%s/s*.new-*", l->stack.at) < (int)sizeof(pattern),
	     "%s", l->stack.at);
	MUST(glob(pattern, 0, NULL, &found) == GLOB_NOMATCH, "%s", pattern);
}

/* A path for it; its directory is short. */
static void name_it(char *buf, size_t len, const char *at, char kind, uint64_t number)
{
	MUST(snprintf(buf, len, "%s/%c%" PRIu64, at, kind, number) < (int)len, "%s", at);
}

static void make_round(struct load *l, uint64_t number, uint64_t ns)
{
	struct daemon *d = &l->d;
	uint64_t at = rnd_below(&l->rnd, ns + ns / 4);
	struct timespec time = {.tv_sec = (time_t)(at / 1000000000u),
				.tv_nsec = (long)(at % 1000000000u)};
	int said;

	must_end_within(ROUND_SECONDS);
	name_it(d->store, sizeof(d->store), l->stack.at, 's', number);
	name_it(d->device, sizeof(d->device), l->stack.at, 'd', number);
	daemon_make(d);
	wait_up_to(d, time);
	stack_cut(&l->stack, rnd_u64(&l->rnd));
	said = daemon_wait(d);
	power_on(l);
	l->nmade += said == 0;
	l->nfound += said != 0 && is_made(d, said);
	if (!is_made(d, said))
		make_anew(l);
	must_be_alone(l);
	d->made = true;
	daemon_start(d);
	daemon_stop(d);
	remove_store(l);
}

static void run_makes(struct load *l, uint64_t rounds)
{
	struct daemon_config config = {.size = "16M", .at = l->stack.at};
	uint64_t begin_ns, ns;

	must_end_within(ROUND_SECONDS);
	if (l->device)
		config.device = "";
	daemon_init(&l->d, &config);
	begin_ns = now_ns();
	MUST(make(&l->d) == 0, "making one");
	ns = now_ns() - begin_ns;
	remove_store(l);
	for (uint64_t i = 0; i < rounds; i++)
		make_round(l, i, ns);
	daemon_fini(&l->d);
	printf("%" PRIu64 " rounds: it was made in %u, and there in %u others\n", rounds, l->nmade,
	       l->nfound);
}

static const struct {
	const char *name;
	void (*run)(struct load *l, uint64_t rounds);
} kinds[] = {
    {"cuts", run_cuts},	  {"errors", run_cuts}, {"full", run_cuts},
    {"reads", run_reads}, {"make", run_makes},
};

int main(int argc, char **argv)
{
	static struct load l;

	MUST(argc == 6, "load STACK_SH DIR KIND ROUNDS PATH");
	stack_init(&l.stack, argv[1], argv[2]);
	l.device = strcmp(argv[5], "device") == 0;
	l.rnd = rnd_stream(1);
	l.errors = strcmp(argv[3], "errors") == 0;
	l.full = strcmp(argv[3], "full") == 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(argv[3], kinds[i].name) == 0) {
			kinds[i].run(&l, strtoull(argv[4], NULL, 10));
			return 0;
		}
	}
	MUST(false, "%s?", argv[3]);
	return 1;
}
