/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <string.h>

#include "common/bits.h"
#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

#define BLK48_MAX ((UINT64_C(1) << 48) - 1)

static const struct disk_node *node_head(const struct map_node_view *view)
{
	return (const struct disk_node *)view->bytes;
}

static const struct disk_inner *node_inner(const struct map_node_view *view)
{
	return (const struct disk_inner *)view->bytes;
}

static const struct disk_extent *node_extent(const struct map_node_view *view, unsigned int i)
{
	return (const struct disk_extent *)(view->bytes + sizeof(struct disk_node)) + i;
}

/* Those of 64 slots from "first" on, a multiple of that, that have a child. */
static uint64_t inner_present(const struct disk_inner *inner, unsigned int first)
{
	return le64_get(inner->present + first / 8);
}

static unsigned int inner_nchildren(const struct disk_inner *inner)
{
	unsigned int n = 0;

	for (unsigned int first = 0; first < MAP_FANOUT; first += 64)
		n += bits_count64(inner_present(inner, first));
	return n;
}

static inline struct map_leaf_run node_run(const struct map_node_view *view, unsigned int i)
{
	uint64_t word = le64_get(node_extent(view, i));

	return (struct map_leaf_run){
	    .slot = word & 0xff, .nblks = (word >> 8 & 0xff) + 1u, .blk = word >> 16};
}

/* The extents are in order, apart, not empty and within the leaf, and the length fits them. */
static const char *leaf_problem(const struct map_node_view *view, size_t len)
{
	size_t fixed = sizeof(struct disk_node) + view->nextents * sizeof(struct disk_extent);
	unsigned int next = 0;
	unsigned int mapped = 0;

	if (view->nextents == 0 || view->nextents > MAP_FANOUT || fixed > len)
		return "number of extents";
	for (unsigned int i = 0; i < view->nextents; i++) {
		struct map_leaf_run run = node_run(view, i);

		if (run.slot < next || run.slot + run.nblks > MAP_FANOUT || run.blk == 0)
			return "extent";
		next = run.slot + run.nblks;
		mapped += run.nblks;
	}
	if (mapped != view->mapped)
		return "mapped blocks";
	return fixed + mapped * sizeof(uint32_t) == len ? NULL : "length";
}

static const char *inner_problem(const struct map_node_view *view, size_t len)
{
	unsigned int n;

	if (len < sizeof(struct disk_inner) || view->nextents != 0)
		return "length";
	n = inner_nchildren(node_inner(view));
	if (n == 0 || len != sizeof(struct disk_inner) + n * sizeof(uint64_t))
		return "length";
	for (size_t at = sizeof(struct disk_inner); at < len; at += sizeof(uint64_t))
		if (le64_get(view->bytes + at) == 0)
			return "child";
	return view->mapped > 0 ? NULL : "mapped blocks";
}

int map_node_parse(struct kv_buf val, uint64_t id, struct map_node_view *view)
{
	struct map_node_view v = {.bytes = val.data};
	const struct disk_node *head = node_head(&v);
	const char *problem;

	if (val.len < sizeof(*head))
		return map_num_bad(KV_NODE, id, "length");
	v.id = le64_get(head->id);
	v.mapped = le64_get(head->mapped_nblks);
	v.level = head->level;
	v.nextents = head->nextents;
	if (v.id != id || v.level >= MAP_HEIGHT_MAX)
		return map_num_bad(KV_NODE, id, "id or level");
	problem = v.level == 0 ? leaf_problem(&v, val.len) : inner_problem(&v, val.len);
	if (problem)
		return map_num_bad(KV_NODE, id, problem);
	*view = v;
	return 0;
}

int map_node_read(struct kv_txn *kv, uint64_t id, struct map_node_view *view)
{
	struct map_key key = map_key(id);
	struct kv_buf val;
	int err = map_value_get(kv, KV_NODE, map_key_buf(&key), sizeof(struct disk_node), &val);

	if (err == -ERR_NOENT)
		return map_num_bad(KV_NODE, id, "missing");
	return err ? err : map_node_parse(val, id, view);
}

bool map_node_has_child(const struct map_node_view *view, unsigned int slot)
{
	return node_inner(view)->present[slot / 8] & 1u << (slot % 8);
}

uint64_t map_node_child(const struct map_node_view *view, unsigned int slot)
{
	const struct disk_inner *inner = node_inner(view);
	const uint8_t *child = view->bytes + sizeof(*inner);
	uint64_t before = (UINT64_C(1) << slot % 64) - 1;
	unsigned int rank = 0;

	if (!map_node_has_child(view, slot))
		return 0;
	for (unsigned int first = 0; first + 64 <= slot; first += 64)
		rank += bits_count64(inner_present(inner, first));
	rank += bits_count64(inner_present(inner, slot / 64 * 64) & before);
	return le64_get(child + rank * sizeof(uint64_t));
}

struct map_leaf_run map_node_run(const struct map_node_view *view, unsigned int i)
{
	return node_run(view, i);
}

struct map_leaf_run map_node_run_at(const struct map_node_view *view, unsigned int slot)
{
	const uint8_t *csums = (const uint8_t *)node_extent(view, view->nextents);
	struct map_leaf_run hole = {.slot = slot, .nblks = MAP_FANOUT - slot};

	for (unsigned int i = 0; i < view->nextents; i++) {
		struct map_leaf_run run = node_run(view, i);

		if (slot < run.slot) {
			hole.nblks = run.slot - slot;
			return hole;
		}
		if (slot < run.slot + run.nblks) {
			unsigned int skip = slot - run.slot;

			run.slot = slot;
			run.nblks -= skip;
			run.blk += skip;
			run.csums = csums + skip * sizeof(uint32_t);
			return run;
		}
		csums += run.nblks * sizeof(uint32_t);
	}
	return hole;
}

/* Makes slots [slot, end) of a leaf holes. */
static void leaf_clear(struct map_node *node, unsigned int slot, unsigned int end)
{
	memset(&node->u.leaf.blk[slot], 0, (end - slot) * sizeof(node->u.leaf.blk[0]));
	memset(&node->u.leaf.csum[slot], 0, (end - slot) * sizeof(node->u.leaf.csum[0]));
}

static void leaf_decode(const struct map_node_view *view, struct map_node *node)
{
	const uint8_t *csum = (const uint8_t *)node_extent(view, view->nextents);
	unsigned int next = 0;

	for (unsigned int i = 0; i < view->nextents; i++) {
		struct map_leaf_run run = node_run(view, i);
		uint64_t *blk = &node->u.leaf.blk[run.slot];
		uint32_t *to = &node->u.leaf.csum[run.slot];

		if (next < run.slot)
			leaf_clear(node, next, run.slot);
		for (unsigned int b = 0; b < run.nblks; b++, csum += sizeof(uint32_t)) {
			blk[b] = run.blk + b;
			to[b] = le32_get(csum);
		}
		next = run.slot + run.nblks;
	}
	if (next < MAP_FANOUT)
		leaf_clear(node, next, MAP_FANOUT);
}

static void inner_decode(const struct map_node_view *view, struct map_node *node)
{
	const struct disk_inner *inner = node_inner(view);
	const uint8_t *child = view->bytes + sizeof(*inner);

	memset(node->u.child, 0, sizeof(node->u.child));
	for (unsigned int first = 0; first < MAP_FANOUT; first += 64) {
		uint64_t bits = inner_present(inner, first);

		for (; bits; bits &= bits - 1, child += sizeof(uint64_t))
			node->u.child[first + (unsigned int)__builtin_ctzll(bits)] =
			    le64_get(child);
	}
}

void map_node_decode(const struct map_node_view *view, struct map_node *node)
{
	node->id = view->id;
	node->mapped = view->mapped;
	node->level = view->level;
	if (view->level == 0)
		leaf_decode(view, node);
	else
		inner_decode(view, node);
}

unsigned int map_leaf_run_len(const struct map_node *leaf, unsigned int slot, unsigned int end)
{
	const uint64_t *blk = leaf->u.leaf.blk;
	unsigned int n = 1;

	while (slot + n < end && blk[slot + n] == (blk[slot] ? blk[slot] + n : 0))
		n++;
	return n;
}

/* An extent as one number. */
static uint64_t extent_word(unsigned int slot, uint64_t blk)
{
	assert(blk <= BLK48_MAX);
	return slot | blk << 16;
}

/* Writes the extents of a leaf; returns their number. */
static unsigned int leaf_encode_extents(const struct map_node *node, struct disk_extent *ext)
{
	unsigned int nextents = 0;
	uint64_t expected = 0; /* as the next block of the last extent */
	uint64_t word = 0;

	for (unsigned int s = 0; s < MAP_FANOUT; s++) {
		uint64_t blk = node->u.leaf.blk[s];

		if (blk == 0) {
			expected = 0;
			continue;
		}
		if (blk == expected) {
			word += 1u << 8;
		} else {
			word = extent_word(s, blk);
			nextents++;
		}
		le64_put(&ext[nextents - 1], word);
		expected = blk + 1;
	}
	return nextents;
}

/* All but the CRC; returns the length. */
static size_t leaf_encode(const struct map_node *node, uint8_t *bytes)
{
	struct disk_node *head = (struct disk_node *)bytes;
	struct disk_extent *ext = (struct disk_extent *)(head + 1);
	uint8_t *at;

	head->nextents = (uint8_t)leaf_encode_extents(node, ext);
	at = (uint8_t *)(ext + head->nextents);
	for (unsigned int s = 0; s < MAP_FANOUT; s++) {
		le32_put(at, node->u.leaf.csum[s]); /* what is a hole's the next one covers */
		at += node->u.leaf.blk[s] ? sizeof(uint32_t) : 0;
	}
	return (size_t)(at - bytes);
}

static size_t inner_encode(const struct map_node *node, uint8_t *bytes)
{
	struct disk_inner *inner = (struct disk_inner *)bytes;
	uint8_t *at = (uint8_t *)(inner + 1);

	memset(inner->present, 0, sizeof(inner->present));
	for (unsigned int s = 0; s < MAP_FANOUT; s++) {
		if (node->u.child[s] == 0)
			continue;
		inner->present[s / 8] |= (uint8_t)(1u << (s % 8));
		le64_put(at, node->u.child[s]);
		at += sizeof(uint64_t);
	}
	return (size_t)(at - bytes);
}

size_t map_node_encode(const struct map_node *node, uint8_t bytes[MAP_VALUE_MAX])
{
	struct disk_node *head = (struct disk_node *)bytes;

	*head = (struct disk_node){.level = (uint8_t)node->level};
	le64_put(head->id, node->id);
	le64_put(head->mapped_nblks, node->mapped);
	return node->level == 0 ? leaf_encode(node, bytes) : inner_encode(node, bytes);
}
