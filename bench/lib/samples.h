/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * samples.h: numbers, latencies mostly, of which the median and others are wanted.  Owned by who
 * fills them; one thread at a time.
 */
#ifndef BENCH_LIB_SAMPLES_H
#define BENCH_LIB_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed to begin with. */
struct samples {
	uint64_t *values;
	size_t n;
	size_t cap;
};

void samples_add(struct samples *s, uint64_t value);
/* The smallest value that so many of a thousand are not above; 1000: the largest.  Sorts. */
uint64_t samples_at(struct samples *s, unsigned int permille);
void samples_fini(struct samples *s);

#endif
