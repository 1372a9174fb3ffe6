/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bytes.h: what the bytes of a small store are to a start: read one by one, alike under one checksum, or
 * not read at all.  Pure.
 */
#ifndef TESTS_CORRUPT_BYTES_H
#define TESTS_CORRUPT_BYTES_H

#include <stdint.h>

#include "tests/corrupt/image.h"

#define BYTES_ALIKE  16u
#define BYTES_RARELY 96u

/* How many of the kind of this byte are worth one case: 1, ALIKE, or, of what is not read, RARELY. */
uint64_t bytes_one_in(enum image_file file, const uint8_t *page, uint64_t n, uint64_t off);

#endif
