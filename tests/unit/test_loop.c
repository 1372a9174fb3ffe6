/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_loop.c: messages to the loop from other threads, and the pool whose jobs end there.
 */
#include "server/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/thread.h"
#include "server/worker.h"

#define HANG_SECONDS 120
#define POSTERS	     4u
#define POSTS	     2000u
#define JOBS	     200u
#define ECHOES	     1000u

static int setup(void **state)
{
	alarm(HANG_SECONDS);
	thread_set_role(THREAD_LOOP);
	*state = loop_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(*state);
	alarm(0);
	return 0;
}

/* ---- posting --------------------------------------------------------------------------------- */

struct poster {
	struct loop *loop;
	struct count *total;
	pthread_t thread;
	unsigned int next; /* number expected by the loop */
	bool in_order;
	struct posted {
		struct loop_msg msg;
		struct poster *poster;
		unsigned int number;
	} posts[POSTS];
};

struct count {
	struct loop *loop;
	unsigned int n;
	unsigned int want;
};

static void posted_run(struct loop_msg *msg)
{
	struct posted *post = CONTAINER_OF(msg, struct posted, msg);
	struct poster *poster = post->poster;

	if (post->number != poster->next || thread_role() != THREAD_LOOP)
		poster->in_order = false;
	poster->next++;
	if (++poster->total->n == poster->total->want)
		loop_stop(poster->loop);
}

static void *poster_main(void *arg)
{
	struct poster *poster = arg;

	for (unsigned int i = 0; i < POSTS; i++) {
		poster->posts[i].poster = poster;
		poster->posts[i].number = i;
		poster->posts[i].msg.fn = posted_run;
		loop_post(poster->loop, &poster->posts[i].msg);
	}
	return NULL;
}

static void test_each_thread_is_heard_in_order(void **state)
{
	struct count total = {.want = POSTERS * POSTS};
	struct poster *posters = calloc(POSTERS, sizeof(*posters));

	assert_non_null(posters);
	for (unsigned int i = 0; i < POSTERS; i++) {
		posters[i].loop = *state;
		posters[i].total = &total;
		posters[i].in_order = true;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]),
				 0);
	}
	thread_set_role(THREAD_NONE);
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(thread_role(), THREAD_LOOP);
	for (unsigned int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_true(posters[i].in_order);
		assert_int_equal(posters[i].next, POSTS);
	}
	free(posters);
}

struct note {
	struct loop_msg msg;
	struct count *count;
	struct note *then; /* posted by this one */
	unsigned int turn; /* when it ran, from 1; 0: not yet */
};

static void note_run(struct loop_msg *msg)
{
	struct note *note = CONTAINER_OF(msg, struct note, msg);

	note->turn = ++note->count->n;
	if (note->then)
		loop_post(note->count->loop, &note->then->msg);
}

static void note_init(struct note *note, struct count *count)
{
	*note = (struct note){.msg.fn = note_run, .count = count};
}

static void test_one_wake_up_suffices(void **state)
{
	struct count count = {.loop = *state};
	struct note notes[100];

	for (size_t round = 0; round < 3; round++) {
		count.n = 0;
		for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
			note_init(&notes[i], &count);
			loop_post(*state, &notes[i].msg);
		}
		assert_int_equal(event_base_loop(loop_base(*state), EVLOOP_ONCE), 0);
		assert_int_equal(count.n, ARRAY_LEN(notes));
		for (size_t i = 0; i < ARRAY_LEN(notes); i++)
			assert_int_equal(notes[i].turn, i + 1);
	}
	/* and no wake-up is left over */
	assert_int_equal(event_base_loop(loop_base(*state), EVLOOP_NONBLOCK), 0);
	assert_int_equal(count.n, ARRAY_LEN(notes));
}

static void test_post_from_a_message_runs_later(void **state)
{
	struct count count = {.loop = *state};
	struct note notes[3];

	for (size_t i = 0; i < ARRAY_LEN(notes); i++)
		note_init(&notes[i], &count);
	notes[0].then = &notes[2];
	loop_post(*state, &notes[0].msg);
	loop_post(*state, &notes[1].msg);
	while (count.n < 3)
		assert_int_equal(event_base_loop(loop_base(*state), EVLOOP_ONCE), 0);
	assert_int_equal(notes[0].turn, 1);
	assert_int_equal(notes[1].turn, 2);
	assert_int_equal(notes[2].turn, 3);
}

struct heap_note {
	struct loop_msg msg;
	unsigned int *freed;
};

static void heap_note_run(struct loop_msg *msg)
{
	struct heap_note *note = CONTAINER_OF(msg, struct heap_note, msg);

	(*note->freed)++;
	free(note);
}

static void test_message_may_free_itself(void **state)
{
	unsigned int freed = 0;

	for (int i = 0; i < 10; i++) {
		struct heap_note *note = calloc(1, sizeof(*note));

		assert_non_null(note);
		note->msg.fn = heap_note_run;
		note->freed = &freed;
		loop_post(*state, &note->msg);
	}
	assert_int_equal(event_base_loop(loop_base(*state), EVLOOP_ONCE), 0);
	assert_int_equal(freed, 10);
}

static void test_finish_runs_what_is_left(void **state)
{
	struct count count = {.loop = *state};
	struct note notes[4];

	for (size_t i = 0; i < ARRAY_LEN(notes); i++)
		note_init(&notes[i], &count);
	notes[1].then = &notes[2];
	notes[2].then = &notes[3];
	loop_post(*state, &notes[0].msg);
	loop_post(*state, &notes[1].msg);
	loop_finish(*state);
	assert_int_equal(count.n, 4);
	assert_int_equal(notes[3].turn, 4);
	loop_finish(*state);
	assert_int_equal(count.n, 4);
}

static void stop_run(struct loop_msg *msg)
{
	struct note *note = CONTAINER_OF(msg, struct note, msg);

	loop_stop(note->count->loop);
}

static void test_stopped_loop_can_run_again(void **state)
{
	struct count count = {.loop = *state};
	struct note stop;
	struct note before;

	for (unsigned int i = 1; i <= 2; i++) {
		note_init(&before, &count);
		note_init(&stop, &count);
		stop.msg.fn = stop_run;
		loop_post(*state, &before.msg);
		loop_post(*state, &stop.msg);
		assert_int_equal(loop_run(*state), 0);
		assert_int_equal(count.n, i);
	}
}

/* ---- sleeping -------------------------------------------------------------------------------- */

/* A thread that answers the loop after a while: at once, while the loop looks, or when it sleeps. */
struct echo {
	struct loop *loop;
	struct loop_msg msg;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	unsigned int nasked;
	unsigned int nheard; /* the loop's */
	struct event *busy;  /* or NULL: added when the loop has slept */
};

static void echo_heard(struct loop_msg *msg)
{
	struct echo *echo = CONTAINER_OF(msg, struct echo, msg);

	if (echo->nheard == 1 && echo->busy)
		(void)event_add(echo->busy, NULL);
	if (++echo->nheard == ECHOES) {
		loop_stop(echo->loop);
		return;
	}
	pthread_mutex_lock(&echo->lock);
	echo->nasked++;
	pthread_cond_signal(&echo->asked);
	pthread_mutex_unlock(&echo->lock);
}

static void *echo_main(void *arg)
{
	struct echo *echo = arg;

	for (unsigned int i = 0; i < ECHOES; i++) {
		const struct timespec wait = {.tv_nsec = (long)(i % 20) * 10000};

		pthread_mutex_lock(&echo->lock);
		while (echo->nasked < i)
			pthread_cond_wait(&echo->asked, &echo->lock);
		pthread_mutex_unlock(&echo->lock);
		(void)nanosleep(&wait, NULL);
		loop_post(echo->loop, &echo->msg);
	}
	return NULL;
}

static void test_no_wake_up_is_lost(void **state)
{
	struct echo echo = {.loop = *state, .msg.fn = echo_heard};
	pthread_t thread;

	assert_int_equal(pthread_mutex_init(&echo.lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&echo.asked, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, echo_main, &echo), 0);
	assert_int_equal(loop_run(*state), 0);
	pthread_join(thread, NULL);
	assert_int_equal(echo.nheard, ECHOES);
	pthread_cond_destroy(&echo.asked);
	pthread_mutex_destroy(&echo.lock);
}

/* A descriptor that is always ready, as a busy client's is. */
static void busy_ready(evutil_socket_t fd, short what, void *ctx)
{
	unsigned int *n = ctx;

	(void)fd;
	(void)what;
	(*n)++;
}

static void test_a_busy_descriptor_holds_up_no_message(void **state)
{
	struct echo echo = {.loop = *state, .msg.fn = echo_heard};
	unsigned int nready = 0;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "", 1), 1);
	echo.busy = event_new(loop_base(*state), fds[0], EV_READ | EV_PERSIST, busy_ready, &nready);
	assert_non_null(echo.busy);
	assert_int_equal(pthread_mutex_init(&echo.lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&echo.asked, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, echo_main, &echo), 0);
	assert_int_equal(loop_run(*state), 0);
	pthread_join(thread, NULL);
	assert_int_equal(echo.nheard, ECHOES);
	assert_true(nready > 0);
	pthread_cond_destroy(&echo.asked);
	pthread_mutex_destroy(&echo.lock);
	event_free(echo.busy);
	close(fds[0]);
	close(fds[1]);
}

static void timer_fired(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	loop_stop(ctx);
}

static void test_timers_of_a_loop_that_sleeps(void **state)
{
	struct event *timer = evtimer_new(loop_base(*state), timer_fired, *state);

	assert_non_null(timer);
	assert_int_equal(event_add(timer, &(struct timeval){.tv_usec = 20000}), 0);
	assert_int_equal(loop_run(*state), 0);
	assert_false(event_pending(timer, EV_TIMEOUT, NULL));
	event_free(timer);
}

/* ---- the pool -------------------------------------------------------------------------------- */

struct job {
	struct worker_job job;
	struct jobs *jobs;
	unsigned int number;
};

struct jobs {
	struct loop *loop;
	struct worker_pool *pool;
	pthread_t loop_thread;
	unsigned int nrun; /* of the one worker, while the pool lives */
	unsigned int ndone;
	unsigned int want;
	bool wrong;
	struct job each[JOBS];
};

static void job_run(struct worker_job *wj)
{
	struct job *job = CONTAINER_OF(wj, struct job, job);

	if (job->number != job->jobs->nrun++ || thread_role() != THREAD_WORKER)
		job->jobs->wrong = true;
}

static void job_done(struct worker_job *wj)
{
	struct job *job = CONTAINER_OF(wj, struct job, job);
	struct jobs *jobs = job->jobs;

	if (job->number != jobs->ndone || !pthread_equal(pthread_self(), jobs->loop_thread))
		jobs->wrong = true;
	if (++jobs->ndone == jobs->want)
		loop_stop(jobs->loop);
}

static struct jobs *jobs_new(struct loop *loop)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));

	assert_non_null(jobs);
	jobs->loop = loop;
	jobs->loop_thread = pthread_self();
	jobs->pool = worker_pool_new(loop, 1);
	assert_non_null(jobs->pool);
	for (unsigned int i = 0; i < JOBS; i++) {
		jobs->each[i].jobs = jobs;
		jobs->each[i].number = i;
		jobs->each[i].job.run = job_run;
		jobs->each[i].job.done = job_done;
	}
	return jobs;
}

static void test_first_in_first_out(void **state)
{
	struct jobs *jobs = jobs_new(*state);

	jobs->want = JOBS;
	for (unsigned int i = 0; i < JOBS; i++)
		worker_submit(jobs->pool, &jobs->each[i].job);
	assert_int_equal(loop_run(*state), 0);
	worker_pool_free(jobs->pool);
	assert_false(jobs->wrong);
	assert_int_equal(jobs->nrun, JOBS);
	assert_int_equal(jobs->ndone, JOBS);
	free(jobs);
}

static void test_free_finishes_what_is_queued(void **state)
{
	struct jobs *jobs = jobs_new(*state);

	for (unsigned int i = 0; i < JOBS; i++)
		worker_submit(jobs->pool, &jobs->each[i].job);
	worker_pool_free(jobs->pool);
	assert_int_equal(jobs->nrun, JOBS);
	assert_int_equal(jobs->ndone, 0);
	loop_finish(*state);
	assert_int_equal(jobs->ndone, JOBS);
	assert_false(jobs->wrong);
	free(jobs);
}

/* Two jobs that wait for each other end only where two threads run them. */
struct meeting {
	struct worker_job job;
	struct loop *loop;
	pthread_barrier_t *barrier;
	unsigned int *ndone;
};

static void meeting_run(struct worker_job *wj)
{
	pthread_barrier_wait(CONTAINER_OF(wj, struct meeting, job)->barrier);
}

static void meeting_done(struct worker_job *wj)
{
	struct meeting *meeting = CONTAINER_OF(wj, struct meeting, job);

	if (++*meeting->ndone == 2)
		loop_stop(meeting->loop);
}

static void test_threads_work_side_by_side(void **state)
{
	struct worker_pool *pool = worker_pool_new(*state, 2);
	pthread_barrier_t barrier;
	struct meeting meetings[2];
	unsigned int ndone = 0;

	assert_non_null(pool);
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++) {
		meetings[i] = (struct meeting){.job.run = meeting_run,
					       .job.done = meeting_done,
					       .loop = *state,
					       .barrier = &barrier,
					       .ndone = &ndone};
		worker_submit(pool, &meetings[i].job);
	}
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(ndone, 2);
	worker_pool_free(pool);
	pthread_barrier_destroy(&barrier);
}

/* Each job's end submits the next one and frees itself. */
struct chain {
	struct worker_job job;
	struct loop *loop;
	struct worker_pool *pool;
	atomic_uint *nrun;
	unsigned int left;
};

static void chain_run(struct worker_job *wj)
{
	atomic_fetch_add(CONTAINER_OF(wj, struct chain, job)->nrun, 1);
}

static void chain_done(struct worker_job *wj)
{
	struct chain *chain = CONTAINER_OF(wj, struct chain, job);
	struct chain *next;

	if (chain->left == 0) {
		loop_stop(chain->loop);
		free(chain);
		return;
	}
	next = malloc(sizeof(*next));
	assert_non_null(next);
	*next = *chain;
	next->left--;
	worker_submit(next->pool, &next->job);
	free(chain);
}

static void test_done_may_submit_and_free(void **state)
{
	struct worker_pool *pool = worker_pool_new(*state, 2);
	struct chain *first = calloc(1, sizeof(*first));
	atomic_uint nrun = 0;

	assert_non_null(pool);
	assert_non_null(first);
	*first = (struct chain){.job.run = chain_run,
				.job.done = chain_done,
				.loop = *state,
				.pool = pool,
				.nrun = &nrun,
				.left = 99};
	worker_submit(pool, &first->job);
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(atomic_load(&nrun), 100);
	worker_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_each_thread_is_heard_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_wake_up_suffices, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_post_from_a_message_runs_later, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_message_may_free_itself, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_finish_runs_what_is_left, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stopped_loop_can_run_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_wake_up_is_lost, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_busy_descriptor_holds_up_no_message, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_timers_of_a_loop_that_sleeps, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_first_in_first_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_free_finishes_what_is_queued, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_threads_work_side_by_side, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_done_may_submit_and_free, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
