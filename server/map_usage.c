/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a set of objects uses alone.  Their removal is played through: a reference to each root
 * goes; a node whose last reference goes gives up those that it has.  Of nodes and blocks that are
 * referred to once, that is all; for the others it is remembered how many references are gone.
 *
 * A node or block with a reference from outside, the reap queue included, stays.
 *
 * What an object owns (map.h) is less: a block that it maps twice would become free with it, but not
 * when it is overwritten once.  So of that all that has several references stays.
 */
#include <stdlib.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/err.h"
#include "server/map_priv.h"

/* Blocks with several references lie together: those of an aligned chunk share an entry. */
#define CHUNK_SHIFT 4
#define CHUNK_NBLKS (1u << CHUNK_SHIFT)

struct usage_node {
	uint64_t id;
	uint64_t gone;
	UT_hash_handle hh;
};

struct usage_chunk {
	uint64_t first;
	uint32_t gone[CHUNK_NBLKS];
	UT_hash_handle hh;
};

struct usage {
	struct kv_txn *kv;
	bool (*stop)(void *ctx);
	void *ctx;
	bool owned; /* what has several references stays */
	struct usage_node *nodes;
	struct usage_chunk *chunks;
	struct map_usage sum;
};

/* ---- what is gone ---------------------------------------------------------------------------- */

/* One more reference to a node is gone; *last: of "count" none is left. */
static int usage_drop_node(struct usage *u, uint64_t id, uint64_t count, bool *last)
{
	struct usage_node *node;

	if (count == 1 || u->owned) {
		*last = count == 1;
		return 0;
	}
	HASH_FIND(hh, u->nodes, &id, sizeof(id), node);
	if (!node) {
		node = calloc(1, sizeof(*node));
		if (!node)
			return -ERR_NOMEM;
		node->id = id;
		HASH_ADD(hh, u->nodes, id, sizeof(id), node);
		if (!node->hh.tbl) {
			free(node);
			return -ERR_NOMEM;
		}
	}
	*last = ++node->gone == count;
	return 0;
}

static struct usage_chunk *usage_chunk(struct usage *u, uint64_t first)
{
	struct usage_chunk *chunk;

	HASH_FIND(hh, u->chunks, &first, sizeof(first), chunk);
	if (chunk)
		return chunk;
	chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		return NULL;
	chunk->first = first;
	HASH_ADD(hh, u->chunks, first, sizeof(first), chunk);
	if (!chunk->hh.tbl) {
		free(chunk);
		return NULL;
	}
	return chunk;
}

/* One slot less maps these blocks, which "count" slots map. */
static int usage_drop_shared(struct usage *u, uint64_t blk, uint64_t nblks, uint64_t count)
{
	struct usage_chunk *chunk = NULL;

	for (uint64_t b = blk; b < blk + nblks; b++) {
		unsigned int at = (unsigned int)(b & (CHUNK_NBLKS - 1));

		if (!chunk || at == 0)
			chunk = usage_chunk(u, b - at);
		if (!chunk)
			return -ERR_NOMEM;
		u->sum.exclusive_nblks += ++chunk->gone[at] == count;
	}
	return 0;
}

static int usage_drop_blocks(struct usage *u, uint64_t blk, uint64_t nblks)
{
	uint64_t same;
	uint64_t count;

	for (; nblks > 0; blk += same, nblks -= same) {
		int err = map_xref_get(u->kv, blk, nblks, &same, &count);

		if (!err && count > 1 && !u->owned)
			err = usage_drop_shared(u, blk, same, count);
		if (err)
			return err;
		if (count == 1)
			u->sum.exclusive_nblks += same;
	}
	return 0;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int usage_drop_ref(struct usage *u, uint64_t id, unsigned int level);

/* All that a node refers to has a reference less. */
static int usage_release(struct usage *u, const struct map_node_view *node)
{
	int err = 0;

	if (node->level > 0) {
		for (unsigned int s = 0; s < MAP_FANOUT && !err; s++)
			if (map_node_has_child(node, s))
				err = usage_drop_ref(u, map_node_child(node, s), node->level - 1);
		return err;
	}
	for (unsigned int i = 0; i < node->nextents && !err; i++) {
		struct map_leaf_run run = map_node_run(node, i);

		err = usage_drop_blocks(u, run.blk, run.nblks);
	}
	return err;
}

/* A reference to a node is gone.  Recursive, as deep as a tree is high. */
static int usage_drop_ref(struct usage *u, uint64_t id, unsigned int level)
{
	struct map_node_view node;
	uint64_t count;
	bool last;
	int err;

	if (u->stop(u->ctx))
		return -ERR_SHUTDOWN;
	err = map_nref_get(u->kv, id, &count);
	if (!err)
		err = usage_drop_node(u, id, count, &last);
	if (err || !last)
		return err;
	err = map_node_read(u->kv, id, &node);
	if (!err && node.level != level)
		err = map_num_bad(KV_NODE, id, "level");
	return err ? err : usage_release(u, &node);
}

static int usage_object(struct usage *u, uint64_t oid)
{
	struct map_object obj;
	int err = map_object_read(u->kv, oid, &obj);

	if (err)
		return err;
	u->sum.mapped_nblks += obj.pub.mapped_nblks;
	return obj.root ? usage_drop_ref(u, obj.root, obj.height - 1) : 0;
}

static void usage_fini(struct usage *u)
{
	struct usage_chunk *chunk;
	struct usage_chunk *next_chunk;
	struct usage_node *node;
	struct usage_node *next_node;

	HASH_ITER(hh, u->nodes, node, next_node)
	{
		HASH_DEL(u->nodes, node);
		free(node);
	}
	HASH_ITER(hh, u->chunks, chunk, next_chunk)
	{
		HASH_DEL(u->chunks, chunk);
		free(chunk);
	}
}

static bool usage_is_repeated(const uint64_t *oids, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (oids[j] == oids[i])
			return true;
	return false;
}

int map_usage(struct map_view *view, const uint64_t *oids, size_t n, bool (*stop)(void *ctx),
	      void *ctx, struct map_usage *usage)
{
	struct usage u = {.kv = view->kv, .stop = stop, .ctx = ctx};
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		if (!usage_is_repeated(oids, i))
			err = usage_object(&u, oids[i]);
	usage_fini(&u);
	if (!err)
		*usage = u.sum;
	return err;
}

int map_owned(struct map_view *view, const char *spec, bool (*stop)(void *ctx), void *ctx,
	      struct map_owned *owned)
{
	struct usage u = {.kv = view->kv, .stop = stop, .ctx = ctx, .owned = true};
	int err = map_obj_by_name(view, spec, &owned->obj);

	if (err)
		return err;
	owned->nblks = owned->obj.owned_nblks;
	if (owned->nblks == owned->obj.mapped_nblks)
		return 0;
	err = usage_object(&u, owned->obj.id);
	if (!err)
		owned->nblks = u.sum.exclusive_nblks;
	return err;
}
