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
#include <assert.h>
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
	txn->nref_turn++;
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
	uint64_t count = 1;
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
	if (!err && n->owned_turn != txn->nref_turn)
		err = map_nref_get(txn->kv, *ref, &count);
	if (!err && count > 1)
		err = tree_copy(txn, ref, n, &n);
	if (err)
		return err;
	n->owned_turn = txn->nref_turn;
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
	uint64_t before;
	int err;

	ASSERT_MAP();
	if (nblks == 0 || nblks > BLK_OBJECT_MAX || blk.n > BLK_OBJECT_MAX - nblks)
		return map_txn_result(txn, nblks == 0 ? -ERR_INVAL : -ERR_TOO_LARGE);
	err = map_object_get(txn, oid, &obj);
	if (!err && obj->pub.parent)
		err = -ERR_PERM;
	if (!err)
		err = map_space_note(txn, (struct map_run){dst.n, nblks}, false);
	if (err)
		return map_txn_result(txn, err);
	map_txn_state(txn)->free_nblks -= nblks;
	obj->dirty = true;
	before = map_txn_given_up(txn);
	err = tree_map(txn, obj, blk.n, dst.n, nblks, csums);
	if (!err)
		map_object_own(obj, nblks, map_txn_given_up(txn) - before);
	return map_txn_result(txn, err);
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
	uint64_t before = map_txn_given_up(txn);
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
		/* of a tree that goes as a whole others may have a part, which then was not its own */
		map_object_own(obj, 0, map_txn_given_up(txn) - before);
	}
	if (obj->root == 0)
		obj->height = 0;
	return 0;
}

/* ---- sharing a range ------------------------------------------------------------------------- */

struct tree_share {
	struct map_txn *txn;
	struct map_object *to;
	uint64_t delta; /* of a block in "to" from that in the source, modulo 2^64 */
	struct map_node *path[MAP_HEIGHT_MAX]; /* to block "at", from the root down to "bottom" */
	uint64_t at;
	unsigned int bottom;
	uint64_t nblks; /* that were shared */
};

/* The reference to the node at this level on the way to blk; the nodes above it are owned. */
static int share_way(struct tree_share *s, uint64_t blk, unsigned int level, uint64_t **ref)
{
	uint64_t *r = &s->to->root;
	int err = 0;

	for (unsigned int l = s->to->height; --l > level && !err;) {
		bool same = l >= s->bottom && (blk ^ s->at) < map_slot_nblks(l + 1);

		if (!same) {
			err = tree_own(s->txn, r, l, &s->path[l]);
			s->bottom = l;
		}
		if (!err)
			r = &s->path[l]->u.child[map_slot(blk, l)];
	}
	s->at = blk;
	*ref = r;
	return err;
}

/* So many blocks more are mapped below the nodes on the way, down to this level. */
static void share_count(struct tree_share *s, unsigned int level, uint64_t nblks)
{
	for (; level < s->to->height; level++)
		s->path[level]->mapped += nblks;
	s->nblks += nblks;
	s->to->pub.mapped_nblks += nblks;
	map_txn_state(s->txn)->mapped_nblks += nblks;
}

/* A whole subtree; blk is its first block in "to". */
static int share_node(struct tree_share *s, uint64_t id, unsigned int level, uint64_t blk)
{
	uint64_t *ref;
	uint64_t nblks;
	int err = map_node_mapped(s->txn, id, &nblks);

	if (!err)
		err = share_way(s, blk, level, &ref);
	if (err)
		return err;
	assert(*ref == 0);
	*ref = id;
	share_count(s, level + 1, nblks);
	return map_nref_inc(s->txn, id);
}

/* n blocks from slot on, which lie in one piece on the device and go to one leaf. */
static int share_run(struct tree_share *s, const struct map_node *leaf, unsigned int slot,
		     unsigned int n, uint64_t blk)
{
	unsigned int to = map_slot(blk, 0);
	uint64_t *ref;
	int err = share_way(s, blk, 0, &ref);

	if (!err)
		err = tree_own(s->txn, ref, 0, &s->path[0]);
	if (err)
		return err;
	s->bottom = 0;
	for (unsigned int i = 0; i < n; i++) {
		s->path[0]->u.leaf.blk[to + i] = leaf->u.leaf.blk[slot + i];
		s->path[0]->u.leaf.csum[to + i] = leaf->u.leaf.csum[slot + i];
	}
	share_count(s, 0, n);
	return 0;
}

/* Slots [slot, end) of a leaf; blk is where slot 0 would be in "to". */
static int share_slots(struct tree_share *s, const struct map_node *leaf, unsigned int slot,
		       unsigned int end, uint64_t blk)
{
	struct map_run runs[MAP_FANOUT];
	size_t nruns = 0;
	int err = 0;

	for (unsigned int n; slot < end && !err; slot += n) {
		unsigned int room = MAP_FANOUT - map_slot(blk + slot, 0);

		n = map_leaf_run_len(leaf, slot, end);
		if (leaf->u.leaf.blk[slot] == 0)
			continue;
		if (n > room)
			n = room;
		runs[nruns++] = (struct map_run){leaf->u.leaf.blk[slot], n};
		err = share_run(s, leaf, slot, n, blk + slot);
	}
	return err ? err : map_refs_inc(s->txn->kv, KV_XREF, runs, nruns);
}

/*
 * Shares [from, end) of a subtree whose first block is "first".  What lies alike in both, as a whole,
 * is shared as a node.  The nodes above what is shared are either the source's alone, or "to" has
 * copied them by the time that it changes them: so the source's is read as it was, even in the same
 * tree.  Recursive, as deep as the tree is high.
 */
static int share_range(struct tree_share *s, uint64_t id, unsigned int level, uint64_t first,
		       uint64_t from, uint64_t end)
{
	uint64_t whole = map_slot_nblks(level + 1);
	unsigned int last = map_slot(end - 1, level);
	struct map_node *node;
	int err;

	if (id == 0)
		return 0;
	if (from == 0 && end == whole && ((first + s->delta) & (whole - 1)) == 0)
		return share_node(s, id, level, first + s->delta);
	err = tree_node(s->txn, id, level, &node);
	if (err)
		return err;
	if (level == 0)
		return share_slots(s, node, (unsigned int)from, (unsigned int)end,
				   first + s->delta);
	for (unsigned int slot = map_slot(from, level); slot <= last && !err; slot++) {
		uint64_t lo;
		uint64_t hi;

		(void)tree_clip(slot, level, from, end, &lo, &hi);
		err = share_range(s, node->u.child[slot], level - 1,
				  first + slot * map_slot_nblks(level), lo, hi);
	}
	return err;
}

/* The range is a hole of "to". */
static int tree_share(struct map_txn *txn, struct map_object *to, uint64_t blk,
		      struct map_object *from, uint64_t src_blk, uint64_t nblks)
{
	struct tree_share s = {
	    .txn = txn, .to = to, .delta = blk - src_blk, .bottom = MAP_HEIGHT_MAX};
	uint64_t end = map_slot_nblks(from->height);
	bool any;
	int err;

	if (from->root == 0 || src_blk >= end)
		return 0;
	if (nblks < end - src_blk)
		end = src_blk + nblks;
	err = tree_any_in(txn, from->root, from->height - 1, src_blk, end, &any);
	if (err || !any)
		return err;
	to->dirty = true;
	err = tree_grow(txn, to, blk + (end - src_blk));
	if (!err)
		err = share_range(&s, from->root, from->height - 1, 0, src_blk, end);
	if (!err && !from->pub.parent)
		map_object_own(from, 0, s.nblks);
	return err;
}

/* Do two ranges of n blocks have one in common? */
static bool ranges_meet(uint64_t a, uint64_t b, uint64_t n)
{
	return a < b ? b - a < n : a - b < n;
}

int map_txn_share(struct map_txn *txn, uint64_t oid, lblk_t blk, uint64_t src, lblk_t src_blk,
		  uint64_t nblks)
{
	struct map_object *from;
	struct map_object *to;
	int err = 0;

	ASSERT_MAP();
	if (nblks == 0 || (oid == src && ranges_meet(blk.n, src_blk.n, nblks)))
		err = -ERR_INVAL;
	else if (nblks > BLK_OBJECT_MAX || blk.n > BLK_OBJECT_MAX - nblks ||
		 src_blk.n > BLK_OBJECT_MAX - nblks)
		err = -ERR_TOO_LARGE;
	if (!err)
		err = map_object_get(txn, src, &from);
	if (!err)
		err = map_txn_unmap(txn, oid, blk, nblks);
	if (!err)
		err = map_object_get(txn, oid, &to);
	if (!err)
		err = tree_share(txn, to, blk.n, from, src_blk.n, nblks);
	return map_txn_result(txn, err);
}
