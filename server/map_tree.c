/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing trees.
 *
 * Who wants to change a node must hold the only reference to it.  Going down from the root, a node
 * that has others is copied: the copy's children then have one reference more (so that each of them
 * shows, when its turn comes, that it is shared), and the original has one less.
 *
 *	object A --+                       object A -----> [1]
 *	           +--> [1] --> [2] [3]                     |  \
 *	object B --+                       object B -> [1'] |   \
 *	                                                |  \|    \
 *	nref: 1:2                                      [2'] [2]   [3]   nref: 3:2
 *	                                  after a write by B below [2]
 *
 * Nodes that have one reference are changed in place: the transaction makes that safe.
 */
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

/* ---- owning ---------------------------------------------------------------------------------- */

/* One reference more to all that a node refers to. */
static int tree_share_slots(struct map_txn *txn, const struct map_node *node)
{
	struct map_run runs[MAP_FANOUT];
	size_t nruns = 0;
	unsigned int n = 1;

	for (unsigned int s = 0; s < MAP_FANOUT; s += n) {
		uint64_t at = node->u.child[s];

		if (node->level == 0) {
			n = map_leaf_run_len(node, s, MAP_FANOUT);
			at = node->u.leaf.blk[s];
		}
		if (at)
			runs[nruns++] = (struct map_run){at, n};
	}
	return map_refs_inc(txn->kv, node->level == 0 ? KV_XREF : KV_NREF, runs, nruns);
}

/* Gives *ref, one of several references to node, a copy of its own. */
static int tree_copy(struct map_txn *txn, uint64_t *ref, const struct map_node *node,
		     struct map_node **copy)
{
	struct map_node *c;
	bool last;
	int err = map_node_new(txn, node->level, &c);

	if (err)
		return err;
	c->mapped = node->mapped;
	c->u = node->u;
	err = tree_share_slots(txn, node);
	if (!err)
		err = map_nref_dec(txn->kv, node->id, &last);
	if (err)
		return err;
	*ref = c->id;
	*copy = c;
	return 0;
}

/* The node of a reference; its level must be the one that its place in the tree asks for. */
static int tree_node(struct map_txn *txn, uint64_t id, unsigned int level, struct map_node **node)
{
	struct map_node *n;
	int err = map_node_get(txn, id, &n);

	if (!err && n->level != level)
		err = map_num_bad(KV_NODE, id, "level");
	if (!err)
		*node = n;
	return err;
}

/*
 * The node of *ref to change: the one there, a copy of it, or a new one.  *ref is in an object or
 * node that is itself being changed.
 */
static int tree_own(struct map_txn *txn, uint64_t *ref, unsigned int level, struct map_node **node)
{
	struct map_node *n;
	uint64_t count;
	int err;

	if (*ref == 0) {
		err = map_node_new(txn, level, &n);
		if (err)
			return err;
		*ref = n->id;
		*node = n;
		return 0;
	}
	err = tree_node(txn, *ref, level, &n);
	if (!err)
		err = map_nref_get(txn->kv, *ref, &count);
	if (!err && count > 1)
		err = tree_copy(txn, ref, n, &n);
	if (err)
		return err;
	n->dirty = true;
	*node = n;
	return 0;
}

/* ---- mapping --------------------------------------------------------------------------------- */

/* Puts roots above the root until the tree covers "nblks" blocks. */
static int tree_grow(struct map_txn *txn, struct map_object *obj, uint64_t nblks)
{
	while (obj->height == 0 || map_slot_nblks(obj->height) < nblks) {
		struct map_node *root;
		int err;

		if (obj->root) {
			err = map_node_new(txn, obj->height, &root);
			if (err)
				return err;
			root->u.child[0] = obj->root;
			root->mapped = obj->pub.mapped_nblks;
			obj->root = root->id;
		}
		obj->height++;
	}
	return 0;
}

/* Drops what slots [slot, end) of a leaf map; the slots themselves are left as they are. */
static int leaf_drop(struct map_txn *txn, const struct map_node *leaf, unsigned int slot,
		     unsigned int end, uint64_t *dropped)
{
	unsigned int n;

	for (; slot < end; slot += n) {
		uint64_t blk = leaf->u.leaf.blk[slot];
		int err;

		n = map_leaf_run_len(leaf, slot, end);
		if (blk == 0)
			continue;
		err = map_xref_dec(txn, blk, n);
		if (err)
			return err;
		*dropped += n;
	}
	return 0;
}

/* Maps n blocks, all in one leaf. */
static int tree_map_leaf(struct map_txn *txn, struct map_object *obj, uint64_t blk, uint64_t dst,
			 unsigned int n, const uint32_t *csums)
{
	struct map_node *path[MAP_HEIGHT_MAX] = {0};
	unsigned int slot = map_slot(blk, 0);
	uint64_t *ref = &obj->root;
	uint64_t dropped = 0;
	int err;

	for (unsigned int level = obj->height; level-- > 0;) {
		err = tree_own(txn, ref, level, &path[level]);
		if (err)
			return err;
		if (level > 0)
			ref = &path[level]->u.child[map_slot(blk, level)];
	}
	err = leaf_drop(txn, path[0], slot, slot + n, &dropped);
	if (err)
		return err;
	for (unsigned int i = 0; i < n; i++) {
		path[0]->u.leaf.blk[slot + i] = dst + i;
		path[0]->u.leaf.csum[slot + i] = csums[i];
	}
	for (unsigned int level = 0; level < obj->height; level++)
		path[level]->mapped += n - dropped;
	obj->pub.mapped_nblks += n - dropped;
	map_txn_state(txn)->mapped_nblks += n - dropped;
	return 0;
}

static int tree_map(struct map_txn *txn, struct map_object *obj, uint64_t blk, uint64_t dst,
		    uint64_t nblks, const uint32_t *csums)
{
	int err = tree_grow(txn, obj, blk + nblks);

	while (!err && nblks > 0) {
		uint64_t n = MAP_FANOUT - map_slot(blk, 0);

		if (n > nblks)
			n = nblks;
		err = tree_map_leaf(txn, obj, blk, dst, (unsigned int)n, csums);
		blk += n;
		dst += n;
		csums += n;
		nblks -= n;
	}
	return err;
}

int map_txn_remap(struct map_txn *txn, uint64_t oid, lblk_t blk, pblk_t dst, uint64_t nblks,
		  const uint32_t *csums)
{
	struct map_object *obj;
	int err;

	ASSERT_MAP();
	if (nblks == 0 || nblks > BLK_OBJECT_MAX || blk.n > BLK_OBJECT_MAX - nblks)
		return map_txn_result(txn, nblks == 0 ? -ERR_INVAL : -ERR_TOO_LARGE);
	err = map_object_get(txn, oid, &obj);
	if (!err && obj->pub.parent)
		err = -ERR_PERM;
	if (!err)
		err = map_free_take(txn->kv, dst.n, nblks);
	if (err)
		return map_txn_result(txn, err);
	map_txn_state(txn)->free_nblks -= nblks;
	obj->dirty = true;
	return map_txn_result(txn, tree_map(txn, obj, blk.n, dst.n, nblks, csums));
}

/* ---- unmapping ------------------------------------------------------------------------------- */

/* The part of slot s of a node that [from, end) covers; both count from the node's first block, and
 * so do lo and hi from the slot's.  True: the whole slot. */
static bool tree_clip(unsigned int s, unsigned int level, uint64_t from, uint64_t end, uint64_t *lo,
		      uint64_t *hi)
{
	uint64_t nblks = map_slot_nblks(level);
	uint64_t first = s * nblks;

	*lo = from > first ? from - first : 0;
	*hi = end - first < nblks ? end - first : nblks;
	return *lo == 0 && *hi == nblks;
}

/* Is anything mapped in [from, end) of this subtree?  Recursive, as deep as the tree is high. */
static int tree_any_in(struct map_txn *txn, uint64_t id, unsigned int level, uint64_t from,
		       uint64_t end, bool *any)
{
	unsigned int last = map_slot(end - 1, level);
	struct map_node *node;
	int err = tree_node(txn, id, level, &node);

	*any = false;
	for (unsigned int s = map_slot(from, level); s <= last && !err && !*any; s++) {
		uint64_t lo;
		uint64_t hi;

		if (level == 0)
			*any = node->u.leaf.blk[s] != 0;
		else if (node->u.child[s] == 0)
			continue;
		else if (tree_clip(s, level, from, end, &lo, &hi))
			*any = true;
		else
			err = tree_any_in(txn, node->u.child[s], level - 1, lo, hi, any);
	}
	return err;
}

/* Gives up the whole subtree of *ref. */
static int tree_drop(struct map_txn *txn, uint64_t *ref, unsigned int level, uint64_t *dropped)
{
	struct map_node *node;
	int err = tree_node(txn, *ref, level, &node);

	if (err)
		return err;
	*dropped += node->mapped;
	err = map_reap_add(txn, *ref, node->mapped);
	if (!err)
		*ref = 0;
	return err;
}

static int tree_punch_leaf(struct map_txn *txn, struct map_node *leaf, unsigned int slot,
			   unsigned int end, uint64_t *dropped)
{
	int err = leaf_drop(txn, leaf, slot, end, dropped);

	if (err)
		return err;
	for (; slot < end; slot++) {
		leaf->u.leaf.blk[slot] = 0;
		leaf->u.leaf.csum[slot] = 0;
	}
	return 0;
}

static int tree_punch(struct map_txn *txn, uint64_t *ref, unsigned int level, uint64_t from,
		      uint64_t end, uint64_t *dropped);

/* In the slots of an inner node. */
static int tree_punch_slots(struct map_txn *txn, struct map_node *node, uint64_t from, uint64_t end,
			    uint64_t *dropped)
{
	unsigned int last = map_slot(end - 1, node->level);
	int err = 0;

	for (unsigned int s = map_slot(from, node->level); s <= last && !err; s++) {
		uint64_t lo;
		uint64_t hi;

		(void)tree_clip(s, node->level, from, end, &lo, &hi);
		err = tree_punch(txn, &node->u.child[s], node->level - 1, lo, hi, dropped);
	}
	return err;
}

/*
 * Makes [from, end) of the subtree of *ref a hole; *dropped is raised by the number of blocks that
 * were mapped there.  Recursive, as deep as the tree is high.
 */
static int tree_punch(struct map_txn *txn, uint64_t *ref, unsigned int level, uint64_t from,
		      uint64_t end, uint64_t *dropped)
{
	struct map_node *node;
	uint64_t before = *dropped;
	bool any;
	int err;

	if (*ref == 0)
		return 0;
	if (from == 0 && end == map_slot_nblks(level + 1))
		return tree_drop(txn, ref, level, dropped);
	err = tree_any_in(txn, *ref, level, from, end, &any);
	if (err || !any)
		return err;
	err = tree_own(txn, ref, level, &node);
	if (err)
		return err;
	if (level == 0)
		err = tree_punch_leaf(txn, node, (unsigned int)from, (unsigned int)end, dropped);
	else
		err = tree_punch_slots(txn, node, from, end, dropped);
	if (err)
		return err;
	node->mapped -= *dropped - before;
	if (node->mapped == 0) {
		map_node_delete(txn, node);
		*ref = 0;
	}
	return 0;
}

int map_txn_unmap(struct map_txn *txn, uint64_t oid, lblk_t blk, uint64_t nblks)
{
	struct map_object *obj;
	uint64_t dropped = 0;
	uint64_t end;
	int err;

	ASSERT_MAP();
	err = map_object_get(txn, oid, &obj);
	if (!err && obj->pub.parent)
		err = -ERR_PERM;
	if (err)
		return map_txn_result(txn, err);
	if (nblks == 0 || obj->root == 0 || blk.n >= map_slot_nblks(obj->height))
		return 0;
	end = map_slot_nblks(obj->height);
	if (nblks < end - blk.n)
		end = blk.n + nblks;
	err = tree_punch(txn, &obj->root, obj->height - 1, blk.n, end, &dropped);
	if (err)
		return map_txn_result(txn, err);
	if (dropped > 0) {
		obj->pub.mapped_nblks -= dropped;
		map_txn_state(txn)->mapped_nblks -= dropped;
		obj->dirty = true;
	}
	if (obj->root == 0)
		obj->height = 0;
	return 0;
}
