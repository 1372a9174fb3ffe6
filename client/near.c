/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/near.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t near_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Row i of the distances between prefixes, from the two rows before it. */
static void near_row(const char *a, const char *b, size_t i, size_t nb,
		     size_t rows[3][NEAR_WORD_MAX + 1])
{
	size_t *row = rows[i % 3];
	const size_t *up = rows[(i + 2) % 3];
	const size_t *up2 = rows[(i + 1) % 3];

	row[0] = i;
	for (size_t j = 1; j <= nb; j++) {
		row[j] = near_min(up[j], row[j - 1]) + 1;
		row[j] = near_min(row[j], up[j - 1] + (a[i - 1] != b[j - 1]));
		if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
			row[j] = near_min(row[j], up2[j - 2] + 1);
	}
}

size_t near_distance(const char *a, const char *b)
{
	size_t rows[3][NEAR_WORD_MAX + 1] = {{0}};
	size_t na = strlen(a);
	size_t nb = strlen(b);

	if (na > NEAR_WORD_MAX || nb > NEAR_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= na; i++)
		near_row(a, b, i, nb, rows);
	return rows[na % 3][nb];
}

const char *near_find(const char *text, const char *const *words, size_t n)
{
	size_t len = strlen(text);
	size_t best = len / 3 > 1 ? len / 3 : 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t distance;

		if (!words[i])
			continue;
		distance = len >= 2 && strncmp(words[i], text, len) == 0
			       ? 0
			       : near_distance(text, words[i]);
		if (distance < best || (distance == best && !found)) {
			best = distance;
			found = words[i];
		}
	}
	return found;
}
