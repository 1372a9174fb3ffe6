/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

uint64_t fake_store_tick(struct fake_store *st)
{
	return st->now_ns += UINT64_C(1000000000);
}

/* ---- entries --------------------------------------------------------------------------------- */

struct fake_store *fake_store_new(void)
{
	struct fake_store *st = calloc(1, sizeof(*st));

	MUST(st, "calloc");
	MUST(pthread_mutex_init(&st->lock, NULL) == 0, "mutex");
	st->now_ns = UINT64_C(1767225600000000000); /* 2026-01-01 */
	st->clone_batch = 1;
	return st;
}

void fake_store_free(struct fake_store *st)
{
	while (st->count > 0)
		free(st->entries[--st->count]);
	while (st->all_blocks) {
		struct fake_block *block = st->all_blocks;

		st->all_blocks = block->next;
		free(block);
	}
	free(st->entries);
	(void)pthread_mutex_destroy(&st->lock);
	free(st);
}

void fake_store_lock(struct fake_store *st)
{
	MUST(pthread_mutex_lock(&st->lock) == 0, "lock");
}

void fake_store_unlock(struct fake_store *st)
{
	MUST(pthread_mutex_unlock(&st->lock) == 0, "unlock");
}

struct fake_entry *fake_store_find(const struct fake_store *st, const char *spec)
{
	for (size_t i = 0; i < st->count; i++)
		if (strcmp(st->entries[i]->info.name, spec) == 0)
			return st->entries[i];
	return NULL;
}

/* Kept in the order of names, which is that of the lists. */
static int by_name(const void *a, const void *b)
{
	const struct fake_entry *const *x = a;
	const struct fake_entry *const *y = b;

	return strcmp((*x)->info.name, (*y)->info.name);
}

void fake_store_sort(struct fake_store *st)
{
	qsort(st->entries, st->count, sizeof(struct fake_entry *), by_name);
}

struct fake_entry *fake_store_make(struct fake_store *st, const char *name,
				   const struct fake_entry *src)
{
	struct fake_entry *e = calloc(1, sizeof(*e));
	void *entries = realloc(st->entries, (st->count + 1) * sizeof(struct fake_entry *));

	MUST(e && entries, "memory");
	st->entries = entries;
	st->entries[st->count++] = e;
	(void)snprintf(e->info.name, sizeof(e->info.name), "%s", name);
	if (src) {
		memcpy(e->blocks, src->blocks, sizeof(e->blocks));
		e->info.size_bytes = src->info.size_bytes;
	}
	e->info.id = ++st->last_id;
	e->info.ctime_ns = fake_store_tick(st);
	e->info.mtime_ns = e->info.ctime_ns;
	e->info.generation = 1;
	fake_store_sort(st);
	return e;
}

void fake_store_drop(struct fake_store *st, const struct fake_entry *e)
{
	size_t i = 0;

	while (st->entries[i] != e)
		i++;
	free(st->entries[i]);
	memmove(&st->entries[i], &st->entries[i + 1],
		(--st->count - i) * sizeof(struct fake_entry *));
}

uint64_t fake_store_mapped(const struct fake_entry *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < FAKE_BLOCKS; i++)
		n += e->blocks[i] != NULL;
	return n * FAKE_BLOCK_BYTES;
}

/* What LIST and INFO say: the figures as of now. */
struct msg_info fake_store_info(const struct fake_store *st, const struct fake_entry *e)
{
	struct msg_info info = e->info;

	info.mapped_bytes = fake_store_mapped(e);
	if (info.reserved_bytes > info.mapped_bytes)
		info.withheld_bytes = info.reserved_bytes - info.mapped_bytes;
	for (size_t i = 0; i < st->count; i++)
		info.nversions += st->entries[i]->info.parent == e->info.id;
	return info;
}

void fake_store_write_block(struct fake_store *st, struct fake_entry *e, size_t i, size_t at,
			    const uint8_t *data, size_t len)
{
	struct fake_block *block = calloc(1, sizeof(*block));

	MUST(block && i < FAKE_BLOCKS, "block %zu", i);
	if (e->blocks[i])
		memcpy(block->data, e->blocks[i]->data, sizeof(block->data));
	memcpy(block->data + at, data, len);
	block->next = st->all_blocks;
	st->all_blocks = block;
	e->blocks[i] = block;
}

void fake_store_write(struct fake_store *st, struct fake_entry *e, uint64_t at, const uint8_t *data,
		      size_t len)
{
	while (len > 0) {
		size_t room = FAKE_BLOCK_BYTES - at % FAKE_BLOCK_BYTES;
		size_t n = len < room ? len : room;

		fake_store_write_block(st, e, at / FAKE_BLOCK_BYTES, at % FAKE_BLOCK_BYTES, data,
				       n);
		at += n;
		data += n;
		len -= n;
	}
	if (at > e->info.size_bytes)
		e->info.size_bytes = at;
}

void fake_store_add(struct fake_store *st, const char *name, uint64_t size_bytes)
{
	fake_store_lock(st);
	fake_store_make(st, name, NULL)->info.size_bytes = size_bytes;
	fake_store_unlock(st);
}

void fake_store_fill(struct fake_store *st, const char *spec, size_t n)
{
	static const uint8_t byte = 'x';

	fake_store_lock(st);
	for (size_t i = 0; i < n; i++)
		fake_store_write_block(st, fake_store_find(st, spec), i, 0, &byte, 1);
	fake_store_unlock(st);
}
