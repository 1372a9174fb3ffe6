/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * size.h: sizes of memory within bounds, and as people write them.  "4096", "64k", "64K", "64KiB",
 * "1M", "1MiB", ... "T", "TiB" are powers of 1024; "kB", "MB", "GB", "TB" of 1000.  Pure; any thread.
 */
#ifndef COMMON_SIZE_H
#define COMMON_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

/* The nearest to bytes from min to max. */
static inline uint64_t size_within(uint64_t bytes, uint64_t min, uint64_t max)
{
	if (bytes < min)
		return min;
	return bytes > max ? max : bytes;
}

/*
 * Parses a whole, non-negative number of bytes.  -ERR_INVAL when the text is not a size or has
 * anything after it; -ERR_TOO_LARGE when it does not fit in 63 bits.
 */
int size_parse(const char *text, uint64_t *bytes) MUST_CHECK;

#define SIZE_TEXT_MAX 32

/* Writes "1.5 GiB", "512 B": at most three significant digits.  Returns buf. */
const char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes);

#endif
