/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * near.h: "did you mean": the word of a list that is nearest to a mistyped one.  Pure; any thread.
 */
#ifndef CLIENT_NEAR_H
#define CLIENT_NEAR_H

#include <stddef.h>

/* Words longer than this are near to nothing. */
#define NEAR_WORD_MAX 32

/*
 * The number of insertions, deletions, replacements and swaps of neighbours that make b of a;
 * SIZE_MAX when either is too long.
 */
size_t near_distance(const char *a, const char *b);

/*
 * The nearest of n words, of which a word may be NULL: one that begins with the text (two
 * characters or more), or at most a third of the text's letters (but at least one) away.  NULL: no
 * word is near.
 */
const char *near_find(const char *text, const char *const *words, size_t n);

#endif
