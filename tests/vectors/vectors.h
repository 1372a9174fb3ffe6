/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vectors.h: reads tests/vectors/protocol.txt, whose head describes its lines.  Test code only: a
 * file that is missing or malformed ends the program with a message.
 */
#ifndef TESTS_VECTORS_VECTORS_H
#define TESTS_VECTORS_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector {
	char *verb; /* "msg", "frame", "badmsg", "badframe" */
	char *name;
	uint8_t *bytes; /* allocated to exactly len, so that a sanitizer sees a read past it */
	size_t len;
	char *words; /* the KEY=VALUE words after the bytes */
};

struct vectors {
	struct vector *v;
	size_t n;
	char *text;
};

/* From the top source directory that the environment's "srcdir" names ("." without it). */
struct vectors *vectors_load(void);
void vectors_free(struct vectors *vectors);

/* Calls fn for each word of a vector; fn may not change them. */
void vector_each_word(const struct vector *v,
		      void (*fn)(void *ctx, const char *key, const char *value), void *ctx);

/* The value of a word, to be freed; NULL: there is none of this key. */
char *vector_word(const struct vector *v, const char *key);

/* Reads exactly n bytes from 2 n hexadecimal digits; false: they are not that. */
bool hex_decode(uint8_t *dst, size_t n, const char *hex);

#endif
