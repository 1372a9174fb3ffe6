/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rnd.h: random numbers from a seed, so that a run can be repeated.  A struct rnd is its user's
 * own; one thread at a time.
 *
 * The seed of a program is that of $TEST_SEED, else one from the clock; it is printed.
 */
#ifndef TESTS_LIB_RND_H
#define TESTS_LIB_RND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rnd {
	uint64_t state;
};

/* The program's seed, printed the first time. */
uint64_t rnd_seed(void);

/* A sequence of its own for every number, all from the program's seed. */
struct rnd rnd_stream(uint64_t number);

uint64_t rnd_u64(struct rnd *r);

/* 0 to n - 1. */
uint64_t rnd_below(struct rnd *r, uint64_t n);

/* True once in n. */
bool rnd_one_in(struct rnd *r, uint64_t n);

/* 1 to max, every power of two as likely as the next. */
uint64_t rnd_log(struct rnd *r, uint64_t max);

/* Bytes that depend on the number only. */
void rnd_fill(void *buf, size_t len, uint64_t number);

/* The number in the environment variable, else the default. */
uint64_t rnd_env(const char *name, uint64_t def);

/*
 * How much a random test does: the number in the environment variable, else the default, or where
 * $TEST_SHARE is n an n-th of it, as in builds that are many times slower.
 */
uint64_t rnd_count(const char *name, uint64_t def);

/* That n, or 1. */
uint64_t rnd_share(void);

#endif
