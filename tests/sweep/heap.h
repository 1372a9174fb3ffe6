/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * heap.h: all memory that the process allocates, libraries included, as far as it is the code under
 * test's: what fails of it, and what of it was not freed.  In place of the C library's functions; what
 * the test itself needs it takes by those of tests/sim/oom.h, which are not counted and never fail.
 */
#ifndef TESTS_SWEEP_HEAP_H
#define TESTS_SWEEP_HEAP_H

#include <stdint.h>

/* From now on what is allocated is noted. */
void heap_begin(void);

/* How much of it is left; says where each was allocated. */
uint64_t heap_leaks(void);

#endif
