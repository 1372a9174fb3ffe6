/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * oom.h: memory that runs out, for the code under test: its allocations come here by the linker's
 * --wrap.  What the simulation itself needs it takes by the functions below.
 */
#ifndef TESTS_SIM_OOM_H
#define TESTS_SIM_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/rnd.h"

/* One allocation in n fails, while that is armed; 0: none does. */
void oom_fail(struct rnd *rnd, uint32_t one_in);

/* By the loop's thread: code under test is about to run, or the simulation's own. */
void oom_arm(bool on);

/* Allocations that failed so far. */
uint64_t oom_failed(void);

/* These never fail: they end the program. */
void *oom_calloc(size_t n, size_t bytes);
void *oom_reallocarray(void *old, size_t n, size_t bytes);

#endif
