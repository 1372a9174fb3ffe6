/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/worker.h"

#include <pthread.h>
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/thread.h"

STAILQ_HEAD(worker_queue, loop_msg);

struct worker_pool {
	struct loop *loop;
	pthread_mutex_t lock; /* guards queue and stopping */
	pthread_cond_t work;
	struct worker_queue queue; /* of worker_job.msg */
	bool stopping;
	unsigned int nthreads;
	pthread_t threads[];
};

static void worker_done(struct loop_msg *msg)
{
	struct worker_job *job = CONTAINER_OF(msg, struct worker_job, msg);

	job->done(job);
}

/* The next job, or NULL when the pool stops and none is left. */
static struct worker_job *worker_next(struct worker_pool *pool)
{
	struct loop_msg *msg;

	pthread_mutex_lock(&pool->lock);
	while (STAILQ_EMPTY(&pool->queue) && !pool->stopping)
		pthread_cond_wait(&pool->work, &pool->lock);
	msg = STAILQ_FIRST(&pool->queue);
	if (msg)
		STAILQ_REMOVE_HEAD(&pool->queue, link);
	pthread_mutex_unlock(&pool->lock);
	return msg ? CONTAINER_OF(msg, struct worker_job, msg) : NULL;
}

static void *worker_main(void *arg)
{
	struct worker_pool *pool = arg;
	struct worker_job *job;

	thread_set_role(THREAD_WORKER);
	pthread_setname_np(pthread_self(), "worker");
	while ((job = worker_next(pool))) {
		job->run(job);
		job->msg.fn = worker_done;
		loop_post(pool->loop, &job->msg);
	}
	return NULL;
}

struct worker_pool *worker_pool_new(struct loop *loop, unsigned int nthreads)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool) + nthreads * sizeof(pthread_t));

	if (!pool)
		return NULL;
	pool->loop = loop;
	STAILQ_INIT(&pool->queue);
	if (pthread_mutex_init(&pool->lock, NULL) != 0)
		goto fail_free;
	if (pthread_cond_init(&pool->work, NULL) != 0)
		goto fail_destroy_lock;
	for (unsigned int i = 0; i < nthreads; i++) {
		if (pthread_create(&pool->threads[i], NULL, worker_main, pool) != 0) {
			worker_pool_free(pool);
			return NULL;
		}
		pool->nthreads++;
	}
	return pool;

fail_destroy_lock:
	pthread_mutex_destroy(&pool->lock);
fail_free:
	free(pool);
	return NULL;
}

void worker_pool_free(struct worker_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->nthreads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void worker_submit(struct worker_pool *pool, struct worker_job *job)
{
	ASSERT_LOOP();
	pthread_mutex_lock(&pool->lock);
	STAILQ_INSERT_TAIL(&pool->queue, &job->msg, link);
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}
