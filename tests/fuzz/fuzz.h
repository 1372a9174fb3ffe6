/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h: what libFuzzer and driver.c call in a fuzz target.  Test code only.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Runs one input; 0.  A property that does not hold ends the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Writes an input that the target accepts, and returns its length, 1 to max: what driver.c begins
 * with.  A random number decides on all of it.
 */
size_t fuzz_input(uint64_t number, uint8_t *bytes, size_t max);

#endif
