/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pattern.h: a name with a number in it: "vm%d", or with zeros before it "vm%03d".  Pure; a struct
 * pattern points into the text.
 */
#ifndef CLIENT_PATTERN_H
#define CLIENT_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

struct pattern {
	const char *head; /* head_len bytes */
	size_t head_len;
	const char *tail;
	int width; /* least number of digits */
};

/* -ERR_INVAL: it has not exactly one "%d" or "%0Nd", where N is 1 to 18. */
int pattern_parse(const char *text, struct pattern *pattern) MUST_CHECK;

/* The name with that number, to be freed with free(); NULL when out of memory. */
char *pattern_name(const struct pattern *pattern, uint64_t number);

#endif
