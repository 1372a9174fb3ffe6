/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * figures.h: what the benchmarks have in common that is no server: their options, bounds and
 * the verdict, what the process has written, and what they cannot go on without.  One thread.
 */
#ifndef BENCH_LIB_FIGURES_H
#define BENCH_LIB_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

/* MUST(condition, "format", ...): goes on, or says where and why not, and ends the program. */
#define MUST(cond, ...)                                                         \
	do {                                                                    \
		if (!(cond))                                                    \
			figures_failed(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

NORETURN void figures_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* ---- options --------------------------------------------------------------------------------- */

/* NAME=VALUE on the command line; a value is a number or a size ("64M"). */
struct figures_option {
	const char *name; /* NULL: the last */
	uint64_t *value;  /* its default */
	const char *help;
};

/* Sets what is given; "help" prints them and ends the program. */
void figures_options(int argc, char **argv, const struct figures_option *options,
		     const char *about);

/* ---- verdict --------------------------------------------------------------------------------- */

/* Prints what was found against its bound, and remembers a miss. */
void figures_at_most(double value, double bound, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The exit status: 0 where every bound was kept. */
int figures_verdict(void);

/* ---- this process ---------------------------------------------------------------------------- */

/* The bytes that it has handed to write calls so far, those of LMDB and of the device included. */
uint64_t figures_written_bytes(void);

/* The memory that it has resident. */
uint64_t figures_rss_bytes(void);

/* ---- order ----------------------------------------------------------------------------------- */

/* The largest power of two that is not above n, as its exponent. */
unsigned int figures_bits(uint64_t n);

/* The i-th number of a fixed random order of all numbers of so many bits. */
uint64_t figures_shuffle(uint64_t i, unsigned int bits);

#endif
