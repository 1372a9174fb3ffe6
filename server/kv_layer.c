/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/kv_layer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Of an entry on a page: LMDB's head of a node and its place in the page's index. */
#define PAGE_ENTRY_OVERHEAD 10

/* Of an entry in memory: what the allocator adds, about. */
#define MEM_ENTRY_OVERHEAD 16

#define PREFIX_BYTES 8

/* ---- keys ------------------------------------------------------------------------------------ */

int kv_key_cmp(struct kv_buf a, struct kv_buf b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n > 0 ? memcmp(a.data, b.data, n) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Where the prefixes of two keys differ they are in the order of the keys. */
static uint64_t key_prefix(struct kv_buf key)
{
	const uint8_t *bytes = key.data;
	uint64_t prefix = 0;

	for (size_t i = 0; i < PREFIX_BYTES; i++)
		prefix = prefix << 8 | (i < key.len ? bytes[i] : 0);
	return prefix;
}

static int entry_key_cmp(uint64_t prefix, struct kv_buf key, const struct kv_entry *entry)
{
	if (prefix != entry->prefix)
		return prefix < entry->prefix ? -1 : 1;
	if (key.len <= PREFIX_BYTES && entry->key_len <= PREFIX_BYTES)
		return (key.len > entry->key_len) - (key.len < entry->key_len);
	return kv_key_cmp(key, kv_entry_key(entry));
}

static int entry_cmp(const struct kv_entry *a, const struct kv_entry *b)
{
	return entry_key_cmp(a->prefix, kv_entry_key(a), b);
}

static int run_cmp(const struct kv_run *a, const struct kv_run *b)
{
	return entry_cmp(a->lo, b->lo);
}

RB_GENERATE_INTERNAL(kv_entries, kv_entry, link, entry_cmp, static __attribute__((unused)))
RB_GENERATE_INTERNAL(kv_runs, kv_run, link, run_cmp, static __attribute__((unused)))

/* ---- entries --------------------------------------------------------------------------------- */

uint32_t kv_page_bytes_of(size_t key_len, size_t val_len)
{
	return (uint32_t)(key_len + val_len + PAGE_ENTRY_OVERHEAD);
}

struct kv_entry *kv_entry_new(struct kv_buf key, const struct kv_buf *val, uint32_t base_bytes)
{
	size_t val_len = val ? val->len : 0;
	struct kv_entry *entry = malloc(sizeof(*entry) + key.len + val_len);

	if (!entry)
		return NULL;
	*entry = (struct kv_entry){.prefix = key_prefix(key),
				   .key_len = (uint32_t)key.len,
				   .val_len = (uint32_t)val_len,
				   .base_bytes = base_bytes,
				   .dead = !val};
	memcpy(entry->bytes, key.data, key.len);
	if (val_len > 0)
		memcpy(entry->bytes + key.len, val->data, val_len);
	return entry;
}

static uint64_t entry_mem_bytes(const struct kv_entry *entry)
{
	return sizeof(*entry) + entry->key_len + entry->val_len + MEM_ENTRY_OVERHEAD;
}

static void layer_count(struct kv_layer *layer, enum kv_table table, const struct kv_entry *entry)
{
	struct kv_count *count = &layer->counts[table];

	if (entry->dead) {
		count->dels++;
	} else {
		count->puts++;
		count->put_bytes += kv_page_bytes_of(entry->key_len, entry->val_len);
		count->base_bytes += entry->base_bytes;
	}
	layer->nentries++;
	layer->mem_bytes += entry_mem_bytes(entry);
}

static void layer_uncount(struct kv_layer *layer, enum kv_table table, const struct kv_entry *entry)
{
	struct kv_count *count = &layer->counts[table];

	if (entry->dead) {
		count->dels--;
	} else {
		count->puts--;
		count->put_bytes -= kv_page_bytes_of(entry->key_len, entry->val_len);
		count->base_bytes -= entry->base_bytes;
	}
	layer->nentries--;
	layer->mem_bytes -= entry_mem_bytes(entry);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* The run that an entry of the layer lies in, or NULL. */
static struct kv_run *run_of(struct kv_layer *layer, enum kv_table table,
			     const struct kv_entry *entry)
{
	struct kv_run *run = RB_ROOT(&layer->runs[table]);
	struct kv_run *best = NULL;

	while (run) {
		if (entry_cmp(run->lo, entry) <= 0) {
			best = run;
			run = RB_RIGHT(run, link);
		} else {
			run = RB_LEFT(run, link);
		}
	}
	return best && entry_cmp(best->hi, entry) >= 0 ? best : NULL;
}

static void run_free(struct kv_layer *layer, enum kv_table table, struct kv_run *run)
{
	RB_REMOVE(kv_runs, &layer->runs[table], run);
	free(run);
}

/* Without memory there is no run, and searches take more steps. */
static void run_add(struct kv_layer *layer, enum kv_table table, struct kv_entry *lo,
		    struct kv_entry *hi)
{
	struct kv_run *run = lo != hi ? malloc(sizeof(*run)) : NULL;

	if (!run)
		return;
	*run = (struct kv_run){.lo = lo, .hi = hi};
	RB_INSERT(kv_runs, &layer->runs[table], run);
}

void kv_layer_join(struct kv_layer *layer, enum kv_table table, struct kv_entry *a,
		   struct kv_entry *b)
{
	struct kv_run *before = run_of(layer, table, a);
	struct kv_run *after = run_of(layer, table, b);

	assert(a->dead && b->dead && entry_cmp(a, b) < 0);
	if (before && after) {
		before->hi = after->hi;
		run_free(layer, table, after);
	} else if (before) {
		before->hi = b;
	} else if (after) {
		after->lo = a; /* no other run begins between them: the order stays */
	} else {
		run_add(layer, table, a, b);
	}
}

/* Takes an entry, of the tree, out of the run that it lies in. */
static void run_split(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry)
{
	struct kv_run *run = run_of(layer, table, entry);
	struct kv_entry *lo;
	struct kv_entry *hi;

	if (!run)
		return;
	lo = run->lo;
	hi = run->hi;
	run_free(layer, table, run);
	if (lo != entry)
		run_add(layer, table, lo, RB_PREV(kv_entries, &layer->entries[table], entry));
	if (hi != entry)
		run_add(layer, table, RB_NEXT(kv_entries, &layer->entries[table], entry), hi);
}

struct kv_entry *kv_layer_run_end(struct kv_layer *layer, enum kv_table table,
				  struct kv_entry *entry, bool highest)
{
	struct kv_run *run = run_of(layer, table, entry);

	if (!run)
		return entry;
	return highest ? run->hi : run->lo;
}

/* ---- layers ---------------------------------------------------------------------------------- */

struct kv_layer *kv_layer_new(void)
{
	struct kv_layer *layer = calloc(1, sizeof(*layer));

	if (!layer)
		return NULL;
	for (int t = 0; t < KV_NTABLES; t++) {
		RB_INIT(&layer->entries[t]);
		RB_INIT(&layer->runs[t]);
	}
	return layer;
}

void kv_layer_free(struct kv_layer *layer)
{
	if (!layer)
		return;
	for (int t = 0; t < KV_NTABLES; t++) {
		struct kv_entry *entry;
		struct kv_run *run;

		while ((run = RB_ROOT(&layer->runs[t])))
			run_free(layer, (enum kv_table)t, run);
		while ((entry = RB_ROOT(&layer->entries[t]))) {
			RB_REMOVE(kv_entries, &layer->entries[t], entry);
			free(entry);
		}
	}
	free(layer);
}

struct kv_entry *kv_layer_find(struct kv_layer *layer, enum kv_table table, enum kv_rel rel,
			       struct kv_buf key)
{
	struct kv_entry *at = RB_ROOT(&layer->entries[table]);
	uint64_t prefix = key_prefix(key);
	struct kv_entry *less = NULL;
	struct kv_entry *greater = NULL;

	while (at) {
		int order = entry_key_cmp(prefix, key, at);

		if (order == 0 && (rel == KV_GE || rel == KV_LE))
			return at;
		/* an equal one is on the side that is not looked for */
		if (order > 0 || (order == 0 && rel == KV_GT)) {
			less = at;
			at = RB_RIGHT(at, link);
		} else {
			greater = at;
			at = RB_LEFT(at, link);
		}
	}
	return rel == KV_LT || rel == KV_LE ? less : greater;
}

struct kv_entry *kv_layer_get(struct kv_layer *layer, enum kv_table table, struct kv_buf key)
{
	struct kv_entry *at = RB_ROOT(&layer->entries[table]);
	uint64_t prefix = key_prefix(key);

	while (at) {
		int order = entry_key_cmp(prefix, key, at);

		if (order == 0)
			break;
		at = order > 0 ? RB_RIGHT(at, link) : RB_LEFT(at, link);
	}
	return at;
}

struct kv_entry *kv_layer_first(struct kv_layer *layer, enum kv_table table)
{
	return RB_MIN(kv_entries, &layer->entries[table]);
}

struct kv_entry *kv_layer_next(struct kv_entry *entry)
{
	return RB_NEXT(kv_entries, NULL, entry);
}

struct kv_entry *kv_layer_prev(struct kv_entry *entry)
{
	return RB_PREV(kv_entries, NULL, entry);
}

/* Where both are alive and of one length, takes the value of the newer and frees it. */
static bool entry_write_over(struct kv_entry *old, struct kv_entry *entry)
{
	if (old->dead || entry->dead || old->val_len != entry->val_len)
		return false;
	memcpy(old->bytes + old->key_len, entry->bytes + entry->key_len, entry->val_len);
	free(entry);
	return true;
}

void kv_layer_set(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry)
{
	struct kv_entries *entries = &layer->entries[table];
	struct kv_entry *old = RB_INSERT(kv_entries, entries, entry);

	if (old && old->dead && entry->dead) {
		free(entry);
		return;
	}
	if (old && entry_write_over(old, entry))
		return;
	if (old) {
		if (old->dead)
			run_split(layer, table, old);
		layer_uncount(layer, table, old);
		RB_REMOVE(kv_entries, entries, old);
		free(old);
		RB_INSERT(kv_entries, entries, entry);
	} else if (!entry->dead) {
		run_split(layer, table, entry);
	}
	layer_count(layer, table, entry);
}

void kv_layer_remove(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry)
{
	assert(!entry->dead);
	layer_uncount(layer, table, entry);
	RB_REMOVE(kv_entries, &layer->entries[table], entry);
	free(entry);
}

/* A dead entry is kept only where there is something for it to hide. */
static void layer_absorb(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry)
{
	struct kv_entry *old = entry->below;

	if (old && entry_write_over(old, entry))
		return;
	entry->below = NULL;
	if (!entry->dead || entry->base_bytes > 0) {
		kv_layer_set(layer, table, entry);
		return;
	}
	old = kv_layer_get(layer, table, kv_entry_key(entry));
	if (old)
		kv_layer_remove(layer, table, old);
	free(entry);
}

/*
 * Empties a tree: its entries in their order, each with the next on its right.  As in the first half
 * of Day, Stout and Warren's balancing: rotates until nothing is on the left of anything.
 */
static struct kv_entry *entries_unlink(struct kv_entries *entries)
{
	struct kv_entry **tail = &RB_ROOT(entries);
	struct kv_entry *first;

	while (*tail) {
		struct kv_entry *at = *tail;
		struct kv_entry *left = RB_LEFT(at, link);

		if (!left) {
			tail = &RB_RIGHT(at, link);
			continue;
		}
		RB_LEFT(at, link) = RB_RIGHT(left, link);
		RB_RIGHT(left, link) = at;
		*tail = left;
	}
	first = RB_ROOT(entries);
	RB_INIT(entries);
	return first;
}

void kv_layer_merge(struct kv_layer *upper, struct kv_layer *lower)
{
	for (int t = 0; t < KV_NTABLES; t++) {
		struct kv_entry *next = entries_unlink(&upper->entries[t]);
		struct kv_entry *entry;

		while ((entry = next)) {
			next = RB_RIGHT(entry, link);
			layer_absorb(lower, (enum kv_table)t, entry);
		}
	}
	memset(upper->counts, 0, sizeof(upper->counts));
	upper->nentries = 0;
	upper->mem_bytes = 0;
}
