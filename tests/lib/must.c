/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/must.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*failure_fn)(void);

void must_on_failure(void (*fn)(void))
{
	failure_fn = fn;
}

void must_end_within(unsigned int seconds)
{
	(void)alarm(seconds);
}

void must_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	(void)fprintf(stderr, "%s:%d: not so: %s: ", file, line, cond);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, " (errno: %s)\n", strerror(saved));
	if (failure_fn)
		failure_fn();
	_exit(1);
}
