/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * must.h: what a test cannot go on without.  Unlike cmocka's assertions it may fail in any thread,
 * and it ends the program: what the test left on disk stays for whoever looks into it.
 */
#ifndef TESTS_LIB_MUST_H
#define TESTS_LIB_MUST_H

#include "common/annot.h"

/* MUST(condition, "format", ...): goes on, or says where and why not, and ends the program. */
#define MUST(cond, ...)                                                      \
	do {                                                                 \
		if (!(cond))                                                 \
			must_failed(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

NORETURN void must_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* fn is called at a failure, after the message: to show what helps to understand it. */
void must_on_failure(void (*fn)(void));

/* The time after which the program is ended by SIGALRM: nothing waits for ever. */
void must_end_within(unsigned int seconds);

#endif
