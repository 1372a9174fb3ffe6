/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGKILL at random moments under load.  After each of them every object must hold a prefix of
 * what was sent to it, with all that was acknowledged before its last fsync; a clone what its
 * source held; a name that was made must be there and one that was removed must not; and the
 * checker must find nothing.  $TEST_SEED and $TEST_KILLS.
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
#include "tests/lib/oracle.h"
#include "tests/lib/rnd.h"
#include "tests/lib/writers.h"

#define KILLS_DEFAULT 20u
#define KILLS_PART    4u    /* of them for a path that shares all but the data's way with others */
#define ANSWERS_MAX   1500u /* before a kill */

struct crash {
	struct daemon d;
	struct rnd rnd;
	atomic_uint answers;   /* since the start */
	unsigned int deadline; /* the number of answers at which it is killed */
	bool by_writer;	       /* at once, by the thread that got the answer */
	atomic_bool killed;
	sem_t due;
	atomic_uint_fast64_t numbers; /* of contents and of times */
};

static uint64_t next_number(struct crash *c)
{
	return atomic_fetch_add(&c->numbers, 1) + 1;
}

/* Counts an answer; the one that makes the number full ends the daemon or has it ended. */
static void answered(struct crash *c)
{
	if (atomic_fetch_add(&c->answers, 1) + 1 != c->deadline)
		return;
	atomic_store(&c->killed, true);
	if (c->by_writer)
		(void)kill(c->d.pid, SIGKILL);
	(void)sem_post(&c->due);
}

/* True if it was answered; an error is allowed only of a daemon that was killed. */
static bool is_answered(struct crash *c, cow_t *cow, ssize_t result)
{
	if (result >= 0) {
		answered(c);
		return true;
	}
	MUST(atomic_load(&c->killed), "%s, seed %" PRIu64, cow_error(cow), rnd_seed());
	return false;
}

/* ---- kills ----------------------------------------------------------------------------------- */

/* Ends it at the chosen moment; all writers are at work. */
static void crash_once(struct crash *c)
{
	while (sem_wait(&c->due) != 0)
		;
	daemon_kill(&c->d);
}

/* Before the threads start. */
static void choose_moment(struct crash *c)
{
	atomic_store(&c->answers, 0);
	atomic_store(&c->killed, false);
	c->deadline = (unsigned int)(rnd_one_in(&c->rnd, 2) ? rnd_log(&c->rnd, ANSWERS_MAX)
							    : 1 + rnd_below(&c->rnd, ANSWERS_MAX));
	c->by_writer = rnd_one_in(&c->rnd, 2);
}

/* Another way of writing back each time, and sometimes a crash in the middle of the start. */
static void restart(struct crash *c)
{
	static const char *const cache[] = {NULL, "16M"};
	static const char *const writeback_ms[] = {"1", "30", NULL};

	daemon_check(&c->d);
	c->d.config.cache = cache[rnd_below(&c->rnd, ARRAY_LEN(cache))];
	c->d.config.writeback_ms = writeback_ms[rnd_below(&c->rnd, ARRAY_LEN(writeback_ms))];
	if (rnd_one_in(&c->rnd, 3)) {
		daemon_spawn(&c->d);
		daemon_kill(&c->d);
	}
	daemon_start(&c->d);
}

static void crash_init(struct crash *c, const struct daemon_config *config, uint64_t stream)
{
	memset(c, 0, sizeof(*c));
	must_end_within(800);
	c->rnd = rnd_stream(stream);
	MUST(sem_init(&c->due, 0, 0) == 0, "semaphore");
	daemon_init(&c->d, config);
	daemon_start(&c->d);
}

static void crash_fini(struct crash *c)
{
	daemon_stop(&c->d);
	daemon_check(&c->d);
	daemon_fini(&c->d);
	(void)sem_destroy(&c->due);
}

static void on_answer(void *ctx)
{
	answered(ctx);
}

static bool on_failure(void *ctx, const struct writer *w, int err, unsigned int n)
{
	struct crash *c = ctx;

	(void)err;
	(void)n;
	MUST(atomic_load(&c->killed), "%s, seed %" PRIu64, cow_error(w->cow), rnd_seed());
	return false;
}

static void kill_writers(const struct daemon_config *config, bool direct, uint64_t stream,
			 uint64_t kills)
{
	static struct writers writers;
	struct crash c;
	struct writers_hooks hooks = {.answered = on_answer, .failed = on_failure, .ctx = &c};

	crash_init(&c, config, stream);
	writers_init(&writers, &c.d, direct, &hooks);
	writers_connect(&writers);
	for (uint64_t n = 0; n < kills; n++) {
		choose_moment(&c);
		writers_start(&writers);
		crash_once(&c);
		writers_join(&writers);
		writers_disconnect(&writers);
		restart(&c);
		writers_connect(&writers);
		writers_verify(&writers, 0);
	}
	writers_fini(&writers);
	crash_fini(&c);
}

static uint64_t kill_count(void)
{
	return rnd_count("TEST_KILLS", KILLS_DEFAULT);
}

static void test_kill_writers(void **state)
{
	(void)state;
	kill_writers(NULL, false, 1, kill_count());
}

/* Of what is written to the device and in no record yet nothing may show. */
static void test_kill_direct_writers(void **state)
{
	(void)state;
	kill_writers(NULL, true, 3, kill_count() / KILLS_PART);
}

static void test_kill_writers_of_a_mapped_device(void **state)
{
	struct daemon_config config = {.device = "dax:"};

	(void)state;
	kill_writers(&config, false, 4, kill_count() / KILLS_PART);
}

/* ---- several writers of one object ----------------------------------------------------------- */

/*
 * Each writes its own region of the object, all over one connection.  Of two writes in different
 * regions the order is known when one was answered before the other was sent.
 */
#define REGIONS	     4
#define REGION_BYTES (ORACLE_BYTES / REGIONS)
#define KILLS_SHARED 8u

struct region {
	struct crash *c;
	pthread_t thread;
	struct rnd rnd;
	cow_object_t *handle; /* all have the same */
	cow_t *cow;
	uint32_t off;
	uint64_t synced; /* the time at which the last fsync that was answered was sent */
	struct oracle oracle;
	size_t found; /* how many of its writes are there */
};

static bool region_write(struct region *r)
{
	/* long enough that no two contents are the same */
	uint32_t len = 8 + (uint32_t)rnd_log(&r->rnd, REGION_BYTES / 4);
	uint32_t off = (uint32_t)rnd_below(&r->rnd, REGION_BYTES - len);
	const uint8_t *data = oracle_write(&r->oracle, off, len, next_number(r->c));
	struct oracle_op *op = &r->oracle.ops[r->oracle.nops - 1];

	op->sent = next_number(r->c);
	if (!is_answered(r->c, r->cow, cow_pwrite(r->handle, data, len, r->off + off)))
		return false;
	op->acked = next_number(r->c);
	oracle_acked(&r->oracle);
	return true;
}

static bool region_fsync(struct region *r)
{
	uint64_t sent = next_number(r->c);

	if (!is_answered(r->c, r->cow, cow_fsync(r->handle)))
		return false;
	oracle_synced(&r->oracle);
	r->synced = sent;
	return true;
}

static void *region_main(void *arg)
{
	struct region *r = arg;

	while (rnd_one_in(&r->rnd, 40) ? region_fsync(r) : region_write(r))
		;
	return NULL;
}

static void match_regions(struct region *regions, const struct oracle_state *s)
{
	for (size_t i = 0; i < REGIONS; i++) {
		struct region *r = &regions[i];
		struct oracle_state part = {.size = REGION_BYTES, .bytes = calloc(1, ORACLE_BYTES)};

		MUST(part.bytes, "memory");
		memcpy(part.bytes, s->bytes + r->off, REGION_BYTES);
		MUST(oracle_match(&r->oracle, &part, &r->found),
		     "region %zu is no prefix: %zu sent, %zu answered, %zu fsynced, seed %" PRIu64,
		     i, r->oracle.nops, r->oracle.nacked, r->oracle.nsynced, rnd_seed());
		free(part.bytes);
	}
}

/* What is there was not sent after something was answered that is not there. */
static void verify_order(const struct region *regions)
{
	uint64_t last_sent = 0, synced = 0, first_lost = UINT64_MAX;

	for (size_t i = 0; i < REGIONS; i++) {
		const struct region *r = &regions[i];

		if (r->synced > synced)
			synced = r->synced;
		if (r->found > 0 && r->oracle.ops[r->found - 1].sent > last_sent)
			last_sent = r->oracle.ops[r->found - 1].sent;
		if (r->found < r->oracle.nacked && r->oracle.ops[r->found].acked < first_lost)
			first_lost = r->oracle.ops[r->found].acked;
	}
	MUST(last_sent < first_lost,
	     "a later write is there and an earlier one is not, seed %" PRIu64, rnd_seed());
	MUST(synced < first_lost, "a write before a fsync is not there, seed %" PRIu64, rnd_seed());
}

static void shared_round(struct crash *c, struct region *regions)
{
	cow_t *cow = daemon_connect(&c->d, DAEMON_UNIX);
	cow_object_t *handle;
	struct oracle_state s;

	choose_moment(c);
	MUST(cow_open(cow, "shared", 0, &handle) == 0, "%s", cow_error(cow));
	for (size_t i = 0; i < REGIONS; i++) {
		regions[i].cow = cow;
		regions[i].handle = handle;
		regions[i].synced = 0;
		MUST(pthread_create(&regions[i].thread, NULL, region_main, &regions[i]) == 0,
		     "thread");
	}
	crash_once(c);
	for (size_t i = 0; i < REGIONS; i++)
		MUST(pthread_join(regions[i].thread, NULL) == 0, "join");
	(void)cow_close(handle);
	cow_free(cow);
	restart(c);
	cow = daemon_connect(&c->d, DAEMON_TCP);
	MUST(writers_read(cow, "shared", &s) == 0, "%s", cow_error(cow));
	cow_free(cow);
	match_regions(regions, &s);
	verify_order(regions);
	free(s.bytes);
	for (size_t i = 0; i < REGIONS; i++)
		oracle_settle(&regions[i].oracle, regions[i].found);
}

static void test_kill_shared_object(void **state)
{
	static struct region regions[REGIONS];
	struct crash c;
	cow_t *cow;

	(void)state;
	crash_init(&c, NULL, 2);
	cow = daemon_connect(&c.d, DAEMON_UNIX);
	MUST(cow_create(cow, "shared", ORACLE_BYTES) == 0, "%s", cow_error(cow));
	cow_free(cow);
	for (size_t i = 0; i < REGIONS; i++) {
		regions[i] = (struct region){.c = &c, .off = (uint32_t)i * REGION_BYTES};
		regions[i].rnd = rnd_stream(200 + i);
		oracle_init(&regions[i].oracle, REGION_BYTES);
	}
	for (unsigned int n = 0; n < KILLS_SHARED; n++)
		shared_round(&c, regions);
	for (size_t i = 0; i < REGIONS; i++)
		oracle_fini(&regions[i].oracle);
	crash_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kill_writers),
	    cmocka_unit_test(test_kill_direct_writers),
	    cmocka_unit_test(test_kill_writers_of_a_mapped_device),
	    cmocka_unit_test(test_kill_shared_object),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
