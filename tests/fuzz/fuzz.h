/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h: what libFuzzer and driver.c call in a fuzz target.  Test code only.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What driver.c is to know of a target. */
struct fuzz_target {
	uint64_t runs;		     /* of a test run, without $TEST_RUNS */
	unsigned int mutate_one_in;  /* inputs: it makes wrong ones itself; 0: all */
	void (*report)(void);	     /* prints what has been reached; or NULL */
	const char *(*missed)(void); /* what no run of a test run has reached, or NULL; or NULL */
};

extern const struct fuzz_target fuzz_target;

/* Runs one input; 0.  A property that does not hold ends the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Writes an input that the target accepts, and returns its length, 1 to max: what driver.c begins
 * with.  A random number decides on all of it.
 */
size_t fuzz_input(uint64_t number, uint8_t *bytes, size_t max);

#endif
