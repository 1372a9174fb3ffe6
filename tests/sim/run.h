/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run.h: one run of the engine on a simulated device and in simulated time: it starts on what a power
 * cut has left, gets random operations, and is given up at the next power cut.  Its states in between
 * are judged by verify.h.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/ops.h"
#include "tests/sim/verify.h"

/* A run that begins with "left", all of whose objects are settled in the history. */
struct run *run_start(const struct left *left, const char *path, struct history *history,
		      uint64_t seed, bool faults, struct run_stats *stats);

/* Operations and judged states, then a power cut: "left" and the history are what is left. */
void run_go(struct run *run, unsigned int nops, unsigned int nstates, struct left *left);

#endif
