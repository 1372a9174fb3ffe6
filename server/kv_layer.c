/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/kv_layer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"

/* Of an entry on a page: LMDB's head of a node and its place in the page's index. */
#define PAGE_ENTRY_OVERHEAD 10

/* Of an entry in memory: what the allocator adds, and its share of a leaf, about. */
#define MEM_ENTRY_OVERHEAD 40

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

	if (key.len >= PREFIX_BYTES)
		return be64_get(bytes);
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

/* That of a key to an entry of a leaf. */
static inline int slot_cmp(uint64_t prefix, struct kv_buf key, const struct kv_leaf *leaf,
			   unsigned int at)
{
	if (prefix != leaf->prefixes[at])
		return prefix < leaf->prefixes[at] ? -1 : 1;
	return entry_key_cmp(prefix, key, leaf->entries[at]);
}

static int leaf_cmp(const struct kv_leaf *a, const struct kv_leaf *b)
{
	return entry_cmp(a->entries[0], b->entries[0]);
}

static int run_cmp(const struct kv_run *a, const struct kv_run *b)
{
	return entry_cmp(a->lo, b->lo);
}

RB_GENERATE_INTERNAL(kv_leaves, kv_leaf, link, leaf_cmp, static __attribute__((unused)))
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

static struct kv_count entry_count(const struct kv_entry *entry)
{
	uint64_t bytes = kv_page_bytes_of(entry->key_len, entry->val_len);
	bool grows = bytes > entry->base_bytes;

	if (entry->dead)
		return (struct kv_count){.dels = 1};
	return (struct kv_count){.puts = 1,
				 .put_bytes = bytes,
				 .base_bytes = entry->base_bytes,
				 .grows = grows,
				 .grow_bytes = grows ? bytes : 0};
}

static void layer_count(struct kv_layer *layer, enum kv_table table, const struct kv_entry *entry)
{
	struct kv_count *sum = &layer->counts[table];
	struct kv_count count = entry_count(entry);

	sum->puts += count.puts;
	sum->dels += count.dels;
	sum->put_bytes += count.put_bytes;
	sum->base_bytes += count.base_bytes;
	sum->grows += count.grows;
	sum->grow_bytes += count.grow_bytes;
	layer->nentries++;
	layer->mem_bytes += entry_mem_bytes(entry);
}

static void layer_uncount(struct kv_layer *layer, enum kv_table table, const struct kv_entry *entry)
{
	struct kv_count *sum = &layer->counts[table];
	struct kv_count count = entry_count(entry);

	sum->puts -= count.puts;
	sum->dels -= count.dels;
	sum->put_bytes -= count.put_bytes;
	sum->base_bytes -= count.base_bytes;
	sum->grows -= count.grows;
	sum->grow_bytes -= count.grow_bytes;
	layer->nentries--;
	layer->mem_bytes -= entry_mem_bytes(entry);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* The last leaf whose lowest key is not above this one, or NULL. */
static struct kv_leaf *leaf_of(struct kv_leaves *leaves, uint64_t prefix, struct kv_buf key)
{
	struct kv_leaf *at = RB_ROOT(leaves);
	struct kv_leaf *best = NULL;

	while (at) {
		if (slot_cmp(prefix, key, at, 0) >= 0) {
			best = at;
			at = RB_RIGHT(at, link);
		} else {
			at = RB_LEFT(at, link);
		}
	}
	return best;
}

/*
 * Where the key is, or else where it would be put, which may be behind the last of a leaf; the leaf is
 * NULL where the table is empty.  True: it is there.
 */
static bool spot_of(struct kv_layer *layer, enum kv_table table, struct kv_buf key,
		    struct kv_spot *spot)
{
	struct kv_leaves *leaves = &layer->leaves[table];
	uint64_t prefix;
	unsigned int end;

	*spot = (struct kv_spot){.leaf = NULL};
	if (RB_EMPTY(leaves))
		return false;
	prefix = key_prefix(key);
	spot->leaf = leaf_of(leaves, prefix, key);
	if (!spot->leaf) {
		spot->leaf = RB_MIN(kv_leaves, leaves);
		return false;
	}
	end = spot->leaf->n;
	while (spot->at < end) {
		unsigned int mid = (spot->at + end) / 2;
		int order = slot_cmp(prefix, key, spot->leaf, mid);

		if (order > 0)
			spot->at = mid + 1;
		else
			end = mid;
		if (order == 0) {
			spot->at = mid;
			return true;
		}
	}
	return false;
}

static struct kv_entry *spot_entry(const struct kv_spot *spot)
{
	return spot->leaf ? spot->leaf->entries[spot->at] : NULL;
}

static void spare_add(struct kv_layer *layer, struct kv_leaf *leaf)
{
	leaf->next = layer->spares;
	layer->spares = leaf;
	layer->nspares++;
}

static struct kv_leaf *spare_take(struct kv_layer *layer)
{
	struct kv_leaf *leaf = layer->spares;

	assert(leaf);
	layer->spares = leaf->next;
	layer->nspares--;
	leaf->n = 0;
	return leaf;
}

/* The leaf has its first entry. */
static void leaf_add(struct kv_layer *layer, enum kv_table table, struct kv_leaf *leaf)
{
	RB_INSERT(kv_leaves, &layer->leaves[table], leaf);
	layer->nleaves++;
}

static void leaf_drop(struct kv_layer *layer, enum kv_table table, struct kv_leaf *leaf)
{
	RB_REMOVE(kv_leaves, &layer->leaves[table], leaf);
	layer->nleaves--;
	spare_add(layer, leaf);
}

/* Appends the entries of a leaf, from one on, to another. */
static void leaf_move(struct kv_leaf *to, struct kv_leaf *from, unsigned int first)
{
	unsigned int n = from->n - first;

	memcpy(to->prefixes + to->n, from->prefixes + first, n * sizeof(to->prefixes[0]));
	memcpy(to->entries + to->n, from->entries + first, n * sizeof(to->entries[0]));
	to->n += n;
	from->n = first;
}

static void leaf_shift(struct kv_leaf *leaf, unsigned int to, unsigned int from)
{
	unsigned int n = leaf->n - from;

	memmove(leaf->prefixes + to, leaf->prefixes + from, n * sizeof(leaf->prefixes[0]));
	memmove(leaf->entries + to, leaf->entries + from, n * sizeof(leaf->entries[0]));
	leaf->n = to + n;
}

/* The spot stays that of its key. */
static void leaf_split(struct kv_layer *layer, enum kv_table table, struct kv_spot *spot)
{
	struct kv_leaf *leaf = spot->leaf;
	struct kv_leaf *upper = spare_take(layer);

	leaf_move(upper, leaf, KV_LEAF_MAX / 2);
	leaf_add(layer, table, upper);
	if (spot->at > leaf->n)
		*spot = (struct kv_spot){.leaf = upper, .at = spot->at - leaf->n};
}

/* spot is that of its key, which is not there. */
static void leaf_insert(struct kv_layer *layer, enum kv_table table, struct kv_spot *spot,
			struct kv_entry *entry)
{
	bool first = !spot->leaf;

	if (first)
		*spot = (struct kv_spot){.leaf = spare_take(layer)};
	else if (spot->leaf->n == KV_LEAF_MAX)
		leaf_split(layer, table, spot);
	leaf_shift(spot->leaf, spot->at + 1, spot->at);
	spot->leaf->prefixes[spot->at] = entry->prefix;
	spot->leaf->entries[spot->at] = entry;
	if (first)
		leaf_add(layer, table, spot->leaf);
}

/* Two neighbours become one if that is no more than what a split leaves. */
static bool leaf_join(struct kv_layer *layer, enum kv_table table, struct kv_leaf *a,
		      struct kv_leaf *b)
{
	if (!a || !b || a->n + b->n > KV_LEAF_MAX / 2)
		return false;
	leaf_drop(layer, table, b);
	leaf_move(a, b, 0);
	return true;
}

static void leaf_remove(struct kv_layer *layer, enum kv_table table, const struct kv_spot *spot)
{
	struct kv_leaf *leaf = spot->leaf;

	leaf_shift(leaf, spot->at, spot->at + 1);
	if (leaf->n == 0)
		leaf_drop(layer, table, leaf);
	else if (leaf->n < KV_LEAF_MAX / 4 &&
		 !leaf_join(layer, table, leaf, RB_NEXT(kv_leaves, NULL, leaf)))
		(void)leaf_join(layer, table, RB_PREV(kv_leaves, NULL, leaf), leaf);
}

/*
 * How many leaves n entries may take: none takes more than one.  And each leaf that is there now can
 * be full and be split at once; but one that was split or joined since is half empty, so that it needs
 * as many entries before it is split again.  A table that is empty takes one.
 */
static uint64_t leaves_for(const struct kv_layer *layer, uint64_t n)
{
	uint64_t most = layer->nleaves + n / (KV_LEAF_MAX / 2 - 1) + KV_NTABLES;

	return n < most ? n : most;
}

bool kv_layer_reserve(struct kv_layer *layer, uint64_t n)
{
	uint64_t need = leaves_for(layer, n);

	while (layer->nspares < need) {
		struct kv_leaf *leaf = malloc(sizeof(*leaf));

		if (!leaf)
			return false;
		spare_add(layer, leaf);
	}
	return true;
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
	struct kv_buf key = kv_entry_key(entry);
	struct kv_entry *lo;
	struct kv_entry *hi;
	struct kv_spot spot;

	if (!run)
		return;
	lo = run->lo;
	hi = run->hi;
	run_free(layer, table, run);
	if (lo != entry)
		run_add(layer, table, lo, kv_layer_find(layer, table, KV_LT, key, &spot));
	if (hi != entry)
		run_add(layer, table, kv_layer_find(layer, table, KV_GT, key, &spot), hi);
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
		RB_INIT(&layer->leaves[t]);
		RB_INIT(&layer->runs[t]);
	}
	return layer;
}

void kv_layer_free(struct kv_layer *layer)
{
	if (!layer)
		return;
	for (int t = 0; t < KV_NTABLES; t++) {
		struct kv_leaf *leaf;
		struct kv_run *run;

		while ((run = RB_ROOT(&layer->runs[t])))
			run_free(layer, (enum kv_table)t, run);
		while ((leaf = RB_ROOT(&layer->leaves[t]))) {
			for (unsigned int i = 0; i < leaf->n; i++)
				free(leaf->entries[i]);
			leaf_drop(layer, (enum kv_table)t, leaf);
		}
	}
	while (layer->spares)
		free(spare_take(layer));
	free(layer);
}

struct kv_entry *kv_layer_next(struct kv_spot *spot)
{
	if (spot->at + 1 < spot->leaf->n)
		spot->at++;
	else
		*spot = (struct kv_spot){.leaf = RB_NEXT(kv_leaves, NULL, spot->leaf)};
	return spot_entry(spot);
}

struct kv_entry *kv_layer_prev(struct kv_spot *spot)
{
	if (spot->at == 0) {
		spot->leaf = RB_PREV(kv_leaves, NULL, spot->leaf);
		spot->at = spot->leaf ? spot->leaf->n : 1;
	}
	spot->at--;
	return spot_entry(spot);
}

struct kv_entry *kv_layer_find(struct kv_layer *layer, enum kv_table table, enum kv_rel rel,
			       struct kv_buf key, struct kv_spot *spot)
{
	bool equal = spot_of(layer, table, key, spot);

	if (!spot->leaf)
		return NULL;
	if (rel == KV_LT || (rel == KV_LE && !equal))
		return kv_layer_prev(spot);
	if ((rel == KV_GT && equal) || spot->at == spot->leaf->n)
		return kv_layer_next(spot);
	return spot_entry(spot);
}

struct kv_entry *kv_layer_get(struct kv_layer *layer, enum kv_table table, struct kv_buf key)
{
	struct kv_spot spot;

	return spot_of(layer, table, key, &spot) ? spot_entry(&spot) : NULL;
}

struct kv_entry *kv_layer_first(struct kv_layer *layer, enum kv_table table, struct kv_spot *spot)
{
	*spot = (struct kv_spot){.leaf = RB_MIN(kv_leaves, &layer->leaves[table])};
	return spot_entry(spot);
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

/* Takes the place of an entry of its key, unless that can stay. */
static void entry_replace(struct kv_layer *layer, enum kv_table table, const struct kv_spot *spot,
			  struct kv_entry *entry)
{
	struct kv_entry *old = spot_entry(spot);

	if (old->dead && entry->dead) {
		free(entry);
		return;
	}
	if (entry_write_over(old, entry))
		return;
	if (old->dead)
		run_split(layer, table, old);
	layer_uncount(layer, table, old);
	spot->leaf->entries[spot->at] = entry;
	free(old);
	layer_count(layer, table, entry);
}

void kv_layer_set(struct kv_layer *layer, enum kv_table table, struct kv_entry *entry)
{
	struct kv_spot spot;

	if (spot_of(layer, table, kv_entry_key(entry), &spot)) {
		entry_replace(layer, table, &spot, entry);
		return;
	}
	leaf_insert(layer, table, &spot, entry);
	if (!entry->dead)
		run_split(layer, table, entry);
	layer_count(layer, table, entry);
}

static void layer_remove_at(struct kv_layer *layer, enum kv_table table, const struct kv_spot *spot)
{
	struct kv_entry *entry = spot_entry(spot);

	assert(!entry->dead);
	layer_uncount(layer, table, entry);
	leaf_remove(layer, table, spot);
	free(entry);
}

void kv_layer_remove(struct kv_layer *layer, enum kv_table table, struct kv_buf key)
{
	struct kv_spot spot;

	if (spot_of(layer, table, key, &spot))
		layer_remove_at(layer, table, &spot);
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
	kv_layer_remove(layer, table, kv_entry_key(entry));
	free(entry);
}

static void table_absorb(struct kv_layer *layer, enum kv_table table, struct kv_leaves *leaves)
{
	struct kv_leaf *leaf;

	RB_FOREACH (leaf, kv_leaves, leaves)
		for (unsigned int i = 0; i < leaf->n; i++)
			layer_absorb(layer, table, leaf->entries[i]);
}

void kv_layer_merge(struct kv_layer *upper, struct kv_layer *lower)
{
	for (int t = 0; t < KV_NTABLES; t++) {
		enum kv_table table = (enum kv_table)t;
		struct kv_leaf *leaf;

		table_absorb(lower, table, &upper->leaves[t]);
		while ((leaf = RB_ROOT(&upper->leaves[t])))
			leaf_drop(upper, table, leaf);
	}
	memset(upper->counts, 0, sizeof(upper->counts));
	upper->nentries = 0;
	upper->mem_bytes = 0;
}
