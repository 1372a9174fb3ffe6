/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * label.h: the labels of an object: "key=value" strings, one after the other, each with its
 * terminator, in ascending order of their keys, no key twice.  A key has 1 to 63 of the characters
 * A-Z a-z 0-9 . _ / and -, a value up to 255 bytes of valid UTF-8 without control characters.
 * Pure; any thread.
 */
#ifndef COMMON_LABEL_H
#define COMMON_LABEL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/annot.h"

#define LABEL_KEY_MAX	 63
#define LABEL_VALUE_MAX	 255
#define LABEL_MAX_BYTES	 (LABEL_KEY_MAX + 1 + LABEL_VALUE_MAX)
#define LABELS_MAX_BYTES 1024 /* of all of them, terminators included */

/* Why these bytes are no such labels, as the end of a sentence; NULL for good ones. */
const char *label_problem(const char *labels, size_t len);

/* 0 or -ERR_INVAL. */
int label_check(const char *labels, size_t len) MUST_CHECK;

/* Whether one of these labels, which are good, has the key "wanted", or is that "key=value". */
bool label_match(const char *labels, size_t len, const char *wanted);

#endif
