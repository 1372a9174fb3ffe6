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

/*
 * Edits of labels, and what is expected of them, are written as labels are, but for keys that may
 * stand alone: that edit takes the label away, and it is expected not to be there.
 */
const char *label_edits_problem(const char *edits, size_t len);

/* Whether these labels are as expected; both are good. */
bool label_hold(const char *labels, size_t len, const char *expected, size_t expected_len);

/*
 * What the edits make of the labels, both good, into out, which is apart from them.
 * -ERR_LABELS_LONG: more bytes than labels may have.
 */
int label_edit(const char *labels, size_t len, const char *edits, size_t edits_len,
	       char out[LABELS_MAX_BYTES], size_t *out_len) MUST_CHECK;

#endif
