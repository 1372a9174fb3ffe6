/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker.h: a pool of threads for what may block: device reads and writes, map look-ups.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "common/annot.h"
#include "server/loop.h"

struct worker_pool;

/* A job, embedded in the request that it is part of. */
struct worker_job {
	struct loop_msg msg;		   /* private */
	void (*run)(struct worker_job *);  /* WORKER_FN: touches only what the request owns */
	void (*done)(struct worker_job *); /* LOOP_FN: after run; may free the request */
};

/* Starts nthreads threads that report to loop.  NULL: they could not be started. */
struct worker_pool *worker_pool_new(struct loop *loop, unsigned int nthreads);

/* Finishes the queued jobs, joins the threads.  Completions not yet run stay in the loop. */
void worker_pool_free(struct worker_pool *pool);

/* Queues a job; job->done runs in the loop afterwards.  First in, first out.  LOOP_FN. */
void worker_submit(struct worker_pool *pool, struct worker_job *job) LOOP_FN;

#endif
