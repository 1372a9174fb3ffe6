/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <string.h>

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

static unsigned int count_bits(uint8_t byte)
{
	return (unsigned int)__builtin_popcount(byte);
}

static unsigned int inner_nchildren(const struct disk_inner *inner)
{
	unsigned int n = 0;

	for (size_t i = 0; i < sizeof(inner->present); i++)
		n += count_bits(inner->present[i]);
	return n;
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
		const struct disk_extent *ext = node_extent(view, i);
		unsigned int nblks = ext->last + 1u;

		if (ext->slot < next || ext->slot + nblks > MAP_FANOUT || !le48_get(ext->blk))
			return "extent";
		next = ext->slot + nblks;
		mapped += nblks;
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
	uint8_t bit = (uint8_t)(1u << (slot % 8));
	unsigned int rank = 0;

	if (!map_node_has_child(view, slot))
		return 0;
	for (unsigned int i = 0; i < slot / 8; i++)
		rank += count_bits(inner->present[i]);
	rank += count_bits(inner->present[slot / 8] & (uint8_t)(bit - 1));
	return le64_get(child + rank * sizeof(uint64_t));
}

struct map_leaf_run map_node_run(const struct map_node_view *view, unsigned int i)
{
	const struct disk_extent *ext = node_extent(view, i);

	return (struct map_leaf_run){
	    .slot = ext->slot, .nblks = ext->last + 1u, .blk = le48_get(ext->blk)};
}

struct map_leaf_run map_node_run_at(const struct map_node_view *view, unsigned int slot)
{
	const uint8_t *csums = (const uint8_t *)node_extent(view, view->nextents);
	struct map_leaf_run hole = {.slot = slot, .nblks = MAP_FANOUT - slot};

	for (unsigned int i = 0; i < view->nextents; i++) {
		struct map_leaf_run run = map_node_run(view, i);

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

static void leaf_decode(const struct map_node_view *view, struct map_node *node)
{
	const uint8_t *csum = (const uint8_t *)node_extent(view, view->nextents);

	for (unsigned int i = 0; i < view->nextents; i++) {
		struct map_leaf_run run = map_node_run(view, i);

		for (unsigned int b = 0; b < run.nblks; b++) {
			node->u.leaf.blk[run.slot + b] = run.blk + b;
			node->u.leaf.csum[run.slot + b] = le32_get(csum);
			csum += sizeof(uint32_t);
		}
	}
}

void map_node_decode(const struct map_node_view *view, struct map_node *node)
{
	node->id = view->id;
	node->mapped = view->mapped;
	node->level = view->level;
	memset(&node->u, 0, sizeof(node->u));
	if (view->level == 0) {
		leaf_decode(view, node);
		return;
	}
	for (unsigned int s = 0; s < MAP_FANOUT; s++)
		node->u.child[s] = map_node_child(view, s);
}

unsigned int map_leaf_run_len(const struct map_node *leaf, unsigned int slot, unsigned int end)
{
	const uint64_t *blk = leaf->u.leaf.blk;
	unsigned int n = 1;

	while (slot + n < end && blk[slot + n] == (blk[slot] ? blk[slot] + n : 0))
		n++;
	return n;
}

/* Writes what follows the head. */
static unsigned int leaf_encode(const struct map_node *node, struct cursor *c)
{
	unsigned int nextents = 0;
	unsigned int n;

	for (unsigned int s = 0; s < MAP_FANOUT; s += n) {
		struct disk_extent ext = {.slot = (uint8_t)s};

		n = map_leaf_run_len(node, s, MAP_FANOUT);
		if (node->u.leaf.blk[s] == 0)
			continue;
		assert(node->u.leaf.blk[s] + n - 1 <= BLK48_MAX);
		ext.last = (uint8_t)(n - 1);
		le48_put(ext.blk, node->u.leaf.blk[s]);
		cursor_put_bytes(c, &ext, sizeof(ext));
		nextents++;
	}
	for (unsigned int s = 0; s < MAP_FANOUT; s++)
		if (node->u.leaf.blk[s])
			cursor_put_u32(c, node->u.leaf.csum[s]);
	return nextents;
}

static void inner_encode(const struct map_node *node, struct cursor *c)
{
	uint8_t present[MAP_FANOUT / 8] = {0};

	for (unsigned int s = 0; s < MAP_FANOUT; s++)
		if (node->u.child[s])
			present[s / 8] |= (uint8_t)(1u << (s % 8));
	cursor_put_bytes(c, present, sizeof(present));
	for (unsigned int s = 0; s < MAP_FANOUT; s++)
		if (node->u.child[s])
			cursor_put_u64(c, node->u.child[s]);
}

size_t map_node_encode(const struct map_node *node, uint8_t bytes[MAP_VALUE_MAX])
{
	struct disk_node head = {.level = (uint8_t)node->level};
	struct cursor c = cursor_over(bytes, MAP_VALUE_MAX);

	le64_put(head.id, node->id);
	le64_put(head.mapped_nblks, node->mapped);
	(void)cursor_take(&c, sizeof(head));
	if (node->level == 0)
		head.nextents = (uint8_t)leaf_encode(node, &c);
	else
		inner_encode(node, &c);
	assert(!c.bad);
	memcpy(bytes, &head, sizeof(head));
	return c.pos;
}
