/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking up: from the object's root down to a leaf or a hole, in LMDB's own memory: nothing is
 * copied or allocated, every node on the way is checked.
 */
#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

/* The number of consecutive slots without a child, from "slot" on, as blocks. */
static uint64_t hole_nblks(const struct map_node_view *node, unsigned int slot)
{
	unsigned int end = slot + 1;

	while (end < MAP_FANOUT && !map_node_has_child(node, end))
		end++;
	return (end - slot) * map_slot_nblks(node->level);
}

/* What there is at a block and behind it, as far as one node can tell. */
struct tree_run {
	uint64_t blk;	/* 0: a hole */
	uint64_t nblks; /* set on -ERR_NODE, too: what is below the value that is damaged */
	const uint8_t *csums;
};

/* A node is shared if it, or one above it, has several references: *shared is true from there on. */
static int tree_note_shared(struct kv_txn *kv, uint64_t id, bool *shared)
{
	uint64_t count = 1;
	int err = shared && !*shared ? map_nref_get(kv, id, &count) : 0;

	if (!err && count > 1)
		*shared = true;
	return err;
}

/* From a block to the end of what a node at this level covers. */
static uint64_t node_rest_nblks(uint64_t blk, unsigned int level)
{
	uint64_t span = map_slot_nblks(level + 1);

	return span - (blk & (span - 1));
}

/* shared: begins false, and becomes true where a node on the way is; or NULL, not to ask. */
static int tree_look_up(struct kv_txn *kv, const struct map_object *obj, uint64_t blk,
			struct tree_run *run, bool *shared)
{
	uint64_t id = obj->root;

	if (id == 0 || blk >= map_slot_nblks(obj->height)) {
		*run = (struct tree_run){.nblks = UINT64_MAX};
		return 0;
	}
	for (unsigned int level = obj->height; level-- > 0;) {
		unsigned int slot = map_slot(blk, level);
		struct map_node_view node;
		int err = map_node_read(kv, id, &node);

		if (!err && node.level != level)
			err = map_num_bad(KV_NODE, id, "level");
		if (!err)
			err = tree_note_shared(kv, id, shared);
		if (err) {
			run->nblks = node_rest_nblks(blk, level);
			return err;
		}
		if (level == 0) {
			struct map_leaf_run leaf = map_node_run_at(&node, slot);

			*run = (struct tree_run){leaf.blk, leaf.nblks, leaf.csums};
			return 0;
		}
		id = map_node_child(&node, slot);
		if (id == 0) {
			uint64_t skip = blk & (map_slot_nblks(level) - 1);

			*run = (struct tree_run){.nblks = hole_nblks(&node, slot) - skip};
			return 0;
		}
	}
	return map_num_bad(KV_OBJ, obj->pub.id, "height");
}

static int object_look_up(struct map_view *view, uint64_t oid, uint64_t blk, struct tree_run *run)
{
	struct map_object obj;
	int err = map_object_read(view->kv, oid, &obj);

	*run = (struct tree_run){.nblks = UINT64_MAX};
	return err ? err : tree_look_up(view->kv, &obj, blk, run, NULL);
}

/* What was found, cut to what was asked for. */
static struct map_lookup run_to_lookup(const struct tree_run *run, lblk_t blk, uint64_t nblks,
				       uint32_t *csums)
{
	struct map_lookup found = {.blk = blk, .nblks = run->nblks < nblks ? run->nblks : nblks};

	if (run->blk) {
		found.src = (struct map_extent){.kind = MAP_MAPPED, .blk = pblk(run->blk)};
		for (uint64_t i = 0; csums && i < found.nblks; i++)
			csums[i] = le32_get(run->csums + i * sizeof(uint32_t));
	}
	return found;
}

int map_begin(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
	      enum map_intent intent, struct map_lookup *lookup, uint32_t *csums)
{
	struct tree_run run;
	struct map_lookup found;
	int err = object_look_up(view, oid, blk.n, &run);

	if (err)
		return err;
	found = run_to_lookup(&run, blk, nblks, csums);
	found.dst = found.src;
	if (intent == MAP_FOR_WRITE)
		found.dst = (struct map_extent){.kind = MAP_DELALLOC};
	*lookup = found;
	return 0;
}

int map_begin_shared(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
		     struct map_lookup *lookup, bool *shared)
{
	struct map_object obj;
	struct tree_run run = {0};
	struct map_lookup found = {.blk = blk};
	bool above = false;
	uint64_t count = 1;
	int err = map_object_read(view->kv, oid, &obj);

	if (!err)
		err = tree_look_up(view->kv, &obj, blk.n, &run, &above);
	if (err)
		return err;
	found.nblks = run.nblks < nblks ? run.nblks : nblks;
	if (run.blk)
		found.src = (struct map_extent){.kind = MAP_MAPPED, .blk = pblk(run.blk)};
	if (run.blk && !above)
		err = map_xref_get(view->kv, run.blk, found.nblks, &found.nblks, &count);
	if (err)
		return err;
	found.dst = found.src;
	*lookup = found;
	*shared = run.blk && (above || count > 1);
	return 0;
}

int map_begin_past(struct map_view *view, uint64_t oid, lblk_t blk, uint64_t nblks,
		   struct map_lookup *lookup, uint32_t *csums)
{
	struct tree_run run;
	int err = object_look_up(view, oid, blk.n, &run);

	if (err && err != -ERR_NODE)
		return err;
	run.blk = err ? 0 : run.blk;
	*lookup = run_to_lookup(&run, blk, nblks, csums);
	if (err)
		lookup->src.kind = MAP_LOST;
	lookup->dst = lookup->src;
	return 0;
}
