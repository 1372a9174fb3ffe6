/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/worker.h"

#include <pthread.h>
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"

STAILQ_HEAD(worker_queue, loop_msg);

/*
 * Each waits on a condition of its own: where several threads wait on one, glibc before 2.41 may lose a signal
 * (its bug 25847), and a job would lie there until the next one comes.
 */
struct worker {
	struct worker_pool *pool;
	pthread_t thread;
	pthread_cond_t work;
	SLIST_ENTRY(worker) idle_link;
	bool idle; /* it is in the list, and waits */
};

struct worker_pool {
	struct loop *loop;
	pthread_mutex_t lock;	   /* guards what follows, but for the number of workers */
	struct worker_queue queue; /* of worker_job.msg */
	SLIST_HEAD(, worker) idle; /* the one that was busy last is the first */
	bool stopping;
	unsigned int nworkers;
	struct worker workers[];
};

static void worker_done(struct loop_msg *msg)
{
	struct worker_job *job = CONTAINER_OF(msg, struct worker_job, msg);

	job->done(job);
}

/* Wakes the one that was busy last, if any is idle.  Under the lock. */
static bool worker_wake(struct worker_pool *pool)
{
	struct worker *worker = SLIST_FIRST(&pool->idle);

	if (!worker)
		return false;
	SLIST_REMOVE_HEAD(&pool->idle, idle_link);
	worker->idle = false;
	pthread_cond_signal(&worker->work);
	return true;
}

/* The next job, or NULL when the pool stops and none is left. */
static struct worker_job *worker_next(struct worker *worker)
{
	struct worker_pool *pool = worker->pool;
	struct loop_msg *msg;

	pthread_mutex_lock(&pool->lock);
	while (STAILQ_EMPTY(&pool->queue) && !pool->stopping) {
		SLIST_INSERT_HEAD(&pool->idle, worker, idle_link);
		worker->idle = true;
		while (worker->idle)
			pthread_cond_wait(&worker->work, &pool->lock);
	}
	msg = STAILQ_FIRST(&pool->queue);
	if (msg)
		STAILQ_REMOVE_HEAD(&pool->queue, link);
	pthread_mutex_unlock(&pool->lock);
	return msg ? CONTAINER_OF(msg, struct worker_job, msg) : NULL;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct worker_job *job;

	thread_set_role(THREAD_WORKER);
	pthread_setname_np(pthread_self(), "worker");
	while ((job = worker_next(worker))) {
		job->run(job);
		job->msg.fn = worker_done;
		loop_post(worker->pool->loop, &job->msg);
	}
	return NULL;
}

/* Starts the next one of the pool. */
static int worker_start(struct worker_pool *pool)
{
	struct worker *worker = &pool->workers[pool->nworkers];

	worker->pool = pool;
	if (pthread_cond_init(&worker->work, NULL) != 0)
		return -ERR_NOMEM;
	if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
		pthread_cond_destroy(&worker->work);
		return -ERR_NOMEM;
	}
	pool->nworkers++;
	return 0;
}

struct worker_pool *worker_pool_new(struct loop *loop, unsigned int nthreads)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool) + nthreads * sizeof(pool->workers[0]));

	if (!pool)
		return NULL;
	pool->loop = loop;
	STAILQ_INIT(&pool->queue);
	SLIST_INIT(&pool->idle);
	if (pthread_mutex_init(&pool->lock, NULL) != 0) {
		free(pool);
		return NULL;
	}
	while (pool->nworkers < nthreads)
		if (worker_start(pool) < 0) {
			worker_pool_free(pool);
			return NULL;
		}
	return pool;
}

void worker_pool_free(struct worker_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	while (worker_wake(pool))
		;
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->nworkers; i++) {
		pthread_join(pool->workers[i].thread, NULL);
		pthread_cond_destroy(&pool->workers[i].work);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void worker_submit(struct worker_pool *pool, struct worker_job *job)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&pool->lock);
	STAILQ_INSERT_TAIL(&pool->queue, &job->msg, link);
	(void)worker_wake(pool);
	pthread_mutex_unlock(&pool->lock);
}
