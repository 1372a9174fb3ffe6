/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sched.h: threads, locks and clocks of one process, decided by a seed.
 *
 * The program is linked so that the pthread calls of the code under test come here.  A thread is a
 * context of its own on the one thread of the process, and gives way only where it would take a lock,
 * wait, or call sched_yield_here(): there the seed says who goes on.  So a run is the same each time.
 * What libraries do with their own locks is not changed; no thread gives way within them.
 *
 * The clocks are simulated: time passes with each turn, and in leaps where nobody can go on.
 *
 * The thread that calls sched_start() is the loop's.
 */
#ifndef TESTS_SIM_SCHED_H
#define TESTS_SIM_SCHED_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/loop.h"

/* Begins: everything else is forgotten, threads of before never run again.  Their memory stays. */
void sched_start(uint64_t seed);

/* Lets some other thread go on, or none. */
void sched_yield_here(void);

/* From the loop's thread: one turn of the loop, and some of each of the others. */
void sched_turn(struct loop *loop);

/*
 * Of the loop's thread: where abort() is called, by any of them, that is the end of all, and this
 * returns once more, with true.
 */
#define sched_aborts() (setjmp(*sched_abort_mark()) != 0)
jmp_buf *sched_abort_mark(void);

/* While off, nobody gives way: for a check in the middle of a run. */
void sched_pause(bool off);

/* Of the clocks, in nanoseconds. */
uint64_t sched_now_ns(void);

/* A number of the run's, so that it is part of the seed. */
uint64_t sched_random(void);

#endif
