/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/model.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

/* The index of the first chunk whose number is not smaller. */
static size_t model_find(const struct model *m, uint64_t number)
{
	size_t lo = 0, hi = m->nchunks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->chunks[mid]->number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct model_chunk *model_at(const struct model *m, uint64_t number)
{
	size_t i = model_find(m, number);

	return i < m->nchunks && m->chunks[i]->number == number ? m->chunks[i] : NULL;
}

/* The chunk, made if there is none. */
static struct model_chunk *model_get(struct model *m, uint64_t number)
{
	size_t i = model_find(m, number);
	struct model_chunk *c;

	if (i < m->nchunks && m->chunks[i]->number == number)
		return m->chunks[i];
	if (m->nchunks == m->max) {
		m->max = m->max ? m->max * 2 : 16;
		m->chunks = realloc(m->chunks, m->max * sizeof(struct model_chunk *));
		MUST(m->chunks, "memory");
	}
	c = calloc(1, sizeof(*c));
	MUST(c, "memory");
	c->number = number;
	memmove(&m->chunks[i + 1], &m->chunks[i], (m->nchunks - i) * sizeof(struct model_chunk *));
	m->chunks[i] = c;
	m->nchunks++;
	return c;
}

void model_fini(struct model *m)
{
	for (size_t i = 0; i < m->nchunks; i++)
		free(m->chunks[i]);
	free(m->chunks);
	memset(m, 0, sizeof(*m));
}

void model_copy(struct model *dst, const struct model *src)
{
	for (size_t i = 0; i < src->nchunks; i++)
		*model_get(dst, src->chunks[i]->number) = *src->chunks[i];
	dst->size = src->size;
}

/* How many of len bytes from off on lie in the chunk of off. */
static size_t model_piece(uint64_t off, uint64_t len)
{
	uint64_t room = MODEL_CHUNK - off % MODEL_CHUNK;

	return (size_t)(len < room ? len : room);
}

void model_write(struct model *m, uint64_t off, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	if (len > 0 && off + len > m->size)
		m->size = off + len;
	while (len > 0) {
		size_t n = model_piece(off, len);

		memcpy(model_get(m, off / MODEL_CHUNK)->bytes + off % MODEL_CHUNK, p, n);
		p += n;
		off += n;
		len -= n;
	}
}

void model_resize(struct model *m, uint64_t size)
{
	uint64_t keep = size / MODEL_CHUNK + (size % MODEL_CHUNK != 0);

	while (m->nchunks > 0 && m->chunks[m->nchunks - 1]->number >= keep)
		free(m->chunks[--m->nchunks]);
	if (size < m->size && size % MODEL_CHUNK != 0 && model_at(m, size / MODEL_CHUNK)) {
		size_t head = size % MODEL_CHUNK;

		memset(model_get(m, size / MODEL_CHUNK)->bytes + head, 0, MODEL_CHUNK - head);
	}
	m->size = size;
}

void model_zero(struct model *m, uint64_t off, uint64_t len)
{
	if (off >= m->size)
		return;
	if (len > m->size - off)
		len = m->size - off;
	while (len > 0) {
		size_t n = model_piece(off, len);

		if (model_at(m, off / MODEL_CHUNK))
			memset(model_get(m, off / MODEL_CHUNK)->bytes + off % MODEL_CHUNK, 0, n);
		off += n;
		len -= n;
	}
}

size_t model_read(const struct model *m, uint64_t off, void *buf, size_t len)
{
	uint8_t *p = buf;
	size_t left;

	if (off >= m->size)
		return 0;
	if (len > m->size - off)
		len = (size_t)(m->size - off);
	for (left = len; left > 0;) {
		const struct model_chunk *c = model_at(m, off / MODEL_CHUNK);
		size_t n = model_piece(off, left);

		if (c)
			memcpy(p, c->bytes + off % MODEL_CHUNK, n);
		else
			memset(p, 0, n);
		p += n;
		off += n;
		left -= n;
	}
	return len;
}

bool model_is_zero(const struct model *m, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[MODEL_CHUNK];
	uint64_t end = off + len;
	size_t i = model_find(m, off / MODEL_CHUNK);

	for (; i < m->nchunks && m->chunks[i]->number * MODEL_CHUNK < end; i++) {
		uint64_t begin = m->chunks[i]->number * MODEL_CHUNK;
		uint64_t from = off > begin ? off : begin;
		uint64_t to = end < begin + MODEL_CHUNK ? end : begin + MODEL_CHUNK;

		if (memcmp(m->chunks[i]->bytes + (from - begin), zeros, (size_t)(to - from)) != 0)
			return false;
	}
	return true;
}

/* Whether the chunks that m has in the range are in the other one too, or zeros there. */
static bool model_is_within(const struct model *m, const struct model *other, uint64_t off,
			    uint64_t len)
{
	uint64_t end = off + len;
	size_t i = model_find(m, off / MODEL_CHUNK);

	for (; i < m->nchunks && m->chunks[i]->number * MODEL_CHUNK < end; i++) {
		uint64_t begin = m->chunks[i]->number * MODEL_CHUNK;
		uint64_t from = off > begin ? off : begin;
		uint64_t to = end < begin + MODEL_CHUNK ? end : begin + MODEL_CHUNK;
		const struct model_chunk *c = model_at(other, m->chunks[i]->number);
		const uint8_t *bytes = m->chunks[i]->bytes + (from - begin);

		if (c ? memcmp(bytes, c->bytes + (from - begin), (size_t)(to - from)) != 0
		      : !model_is_zero(m, from, to - from))
			return false;
	}
	return true;
}

bool model_is_same(const struct model *a, const struct model *b, uint64_t off, uint64_t len)
{
	return model_is_within(a, b, off, len) && model_is_within(b, a, off, len);
}

bool model_next_run(const struct model *m, uint64_t *off, uint64_t *len)
{
	size_t i = model_find(m, *off / MODEL_CHUNK + (*off % MODEL_CHUNK != 0));
	size_t j = i + 1;
	uint64_t begin, end;

	if (i >= m->nchunks)
		return false;
	while (j < m->nchunks && m->chunks[j]->number == m->chunks[j - 1]->number + 1)
		j++;
	begin = m->chunks[i]->number * MODEL_CHUNK;
	end = (m->chunks[j - 1]->number + 1) * MODEL_CHUNK;
	*off = begin;
	*len = (end < m->size ? end : m->size) - begin;
	return true;
}
