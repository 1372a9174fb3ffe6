/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model.h: what an object is: a size, and bytes that are zero where nothing was written.  Keeps
 * only chunks that were written to, so that it may be as large as an object.  One thread at a time.
 */
#ifndef TESTS_LIB_MODEL_H
#define TESTS_LIB_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_CHUNK 65536u

struct model_chunk {
	uint64_t number; /* offset / MODEL_CHUNK */
	uint8_t bytes[MODEL_CHUNK];
};

/* Zeroed: an empty object. */
struct model {
	uint64_t size;
	struct model_chunk **chunks; /* in order of number */
	size_t nchunks;
	size_t max;
};

void model_fini(struct model *m);

/* Makes dst, which is empty, equal to src. */
void model_copy(struct model *dst, const struct model *src);

/* Grows it where needed. */
void model_write(struct model *m, uint64_t off, const void *buf, size_t len);

void model_resize(struct model *m, uint64_t size);

/* As far as it goes. */
void model_zero(struct model *m, uint64_t off, uint64_t len);

/* How many bytes there are from off on, at most len; buf gets them. */
size_t model_read(const struct model *m, uint64_t off, void *buf, size_t len);

/* Whether all the bytes of the range are zero. */
bool model_is_zero(const struct model *m, uint64_t off, uint64_t len);

/* Whether they have the same bytes in the range; behind their ends are zeros. */
bool model_is_same(const struct model *a, const struct model *b, uint64_t off, uint64_t len);

/*
 * The first run of neighbouring chunks at or after *off, cut to the size: false if there is none.
 * Writes where it begins and how long it is.
 */
bool model_next_run(const struct model *m, uint64_t *off, uint64_t *len);

#endif
