/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where two trees differ.  Both are walked side by side, from the roots down: where the two nodes
 * are one and the same, or there is none on either side, all below is the same, and is not read.  So
 * the nodes that are read are those that one of the trees does not share with the other, and their
 * counterparts.
 *
 * The lower of two trees stands in the first slot of a node that does not exist, as often as it takes
 * to be as high as the other: growing hangs an old root there, so it is found to be shared.
 *
 *	done     all of the range before "next" is told of, in order and without a gap
 *	stopped  by the room for runs or the bound on nodes; the next call begins at "next" and reads the
 *		 way down to it again
 */
#include "common/err.h"
#include "server/map_priv.h"

/* A subtree of one of the two: a node and its level.  id 0: a hole. */
struct diff_side {
	uint64_t id;
	unsigned int level;
};

struct diff_walk {
	struct kv_txn *kv;
	struct map_diff *diff;
	uint64_t next;
	uint64_t end;
};

/* All from "next" up to a block is of this kind; > 0: there is no room for that. */
static int diff_note(struct diff_walk *w, uint64_t until, enum map_diff_kind kind)
{
	struct map_diff *diff = w->diff;
	struct map_diff_run *last = diff->nruns > 0 ? &diff->runs[diff->nruns - 1] : NULL;

	if (until > w->end)
		until = w->end;
	if (until <= w->next)
		return 0;
	if (!last || last->kind != kind) {
		if (diff->nruns == diff->max_runs)
			return 1;
		last = &diff->runs[diff->nruns++];
		*last = (struct map_diff_run){.kind = kind};
	}
	last->nblks += until - w->next;
	w->next = until;
	return 0;
}

static int diff_read(struct diff_walk *w, struct diff_side side, struct map_node_view *node)
{
	int err = map_node_read(w->kv, side.id, node);

	if (!err && node->level != side.level)
		err = map_num_bad(KV_NODE, side.id, "level");
	w->diff->nodes++;
	return err;
}

/* What hangs in a slot of a node at this level, which is NULL where the side is a hole or lower. */
static struct diff_side diff_child(struct diff_side side, const struct map_node_view *node,
				   unsigned int level, unsigned int slot)
{
	if (node)
		return (struct diff_side){map_node_child(node, slot), level - 1};
	return slot == 0 ? side : (struct diff_side){.id = 0};
}

static struct map_leaf_run diff_run_at(const struct map_node_view *leaf, unsigned int slot)
{
	if (leaf)
		return map_node_run_at(leaf, slot);
	return (struct map_leaf_run){.slot = slot, .nblks = MAP_FANOUT - slot};
}

static int diff_leaves(struct diff_walk *w, const struct map_node_view *older,
		       const struct map_node_view *newer, uint64_t first)
{
	unsigned int n;
	int err = 0;

	for (unsigned int s = 0; s < MAP_FANOUT && err == 0; s += n) {
		struct map_leaf_run a = diff_run_at(older, s);
		struct map_leaf_run b = diff_run_at(newer, s);
		enum map_diff_kind kind = b.blk ? MAP_DIFF_DATA : MAP_DIFF_HOLE;

		n = a.nblks < b.nblks ? a.nblks : b.nblks;
		err = diff_note(w, first + s + n, a.blk == b.blk ? MAP_DIFF_SAME : kind);
	}
	return err;
}

/* The subtrees at "level", from block "first" on.  Recursive, as deep as the trees are high. */
static int diff_walk(struct diff_walk *w, struct diff_side older, struct diff_side newer,
		     unsigned int level, uint64_t first)
{
	struct map_node_view nodes[2];
	struct map_node_view *a = older.id && older.level == level ? &nodes[0] : NULL;
	struct map_node_view *b = newer.id && newer.level == level ? &nodes[1] : NULL;
	uint64_t end = first + map_slot_nblks(level + 1);
	int err = 0;

	if (first >= w->end || end <= w->next)
		return 0;
	if (older.id == newer.id)
		return diff_note(w, end, MAP_DIFF_SAME);
	if (w->diff->nodes >= w->diff->max_nodes && w->next > w->diff->blk.n)
		return 1;
	if (a)
		err = diff_read(w, older, a);
	if (!err && b)
		err = diff_read(w, newer, b);
	if (err || level == 0)
		return err ? err : diff_leaves(w, a, b, first);
	for (unsigned int s = 0; s < MAP_FANOUT && err == 0; s++)
		err = diff_walk(w, diff_child(older, a, level, s), diff_child(newer, b, level, s),
				level - 1, first + s * map_slot_nblks(level));
	return err;
}

/* The tree of an object; with an id of 0 none. */
static int diff_root(struct map_view *view, uint64_t oid, struct diff_side *side,
		     unsigned int *height)
{
	struct map_object obj;
	int err;

	*side = (struct diff_side){.id = 0};
	if (oid == 0)
		return 0;
	err = map_object_read(view->kv, oid, &obj);
	if (err || obj.root == 0)
		return err;
	*side = (struct diff_side){obj.root, obj.height - 1};
	if (obj.height > *height)
		*height = obj.height;
	return 0;
}

int map_diff(struct map_view *view, uint64_t older, uint64_t newer, struct map_diff *diff)
{
	struct diff_walk w = {
	    .kv = view->kv, .diff = diff, .next = diff->blk.n, .end = diff->blk.n + diff->nblks};
	struct diff_side a;
	struct diff_side b;
	unsigned int height = 0;
	int err = diff_root(view, older, &a, &height);

	diff->nruns = 0;
	diff->nodes = 0;
	if (!err)
		err = diff_root(view, newer, &b, &height);
	if (!err && height > 0)
		err = diff_walk(&w, a, b, height - 1, 0);
	if (err == 0)
		err = diff_note(&w, w.end, MAP_DIFF_SAME);
	return err < 0 ? err : 0;
}
