/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib/samples.h"

#include <stdlib.h>

#include "bench/lib/figures.h"

void samples_add(struct samples *s, uint64_t value)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 1024;
		s->values = reallocarray(s->values, s->cap, sizeof(*s->values));
		MUST(s->values, "memory");
	}
	s->values[s->n++] = value;
}

static int values_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t samples_at(struct samples *s, unsigned int permille)
{
	size_t at = (s->n * permille + 999) / 1000;

	MUST(s->n > 0, "no samples");
	qsort(s->values, s->n, sizeof(*s->values), values_cmp);
	return s->values[at > 0 ? at - 1 : 0];
}

void samples_fini(struct samples *s)
{
	free(s->values);
	*s = (struct samples){0};
}
