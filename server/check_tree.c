/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdlib.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/check_priv.h"

static int node_cmp(const struct check_node *a, const struct check_node *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE_INTERNAL(check_nodes, check_node, entry, node_cmp, static __attribute__((unused)))

struct check_node *check_node_find(struct check *c, uint64_t id)
{
	struct check_node key = {.id = id};

	return RB_FIND(check_nodes, &c->nodes, &key);
}

struct check_node *check_node_from(struct check *c, uint64_t id)
{
	struct check_node key = {.id = id};

	return RB_NFIND(check_nodes, &c->nodes, &key);
}

struct check_node *check_node_next(struct check_node *node)
{
	return RB_NEXT(check_nodes, NULL, node);
}

void check_nodes_free(struct check *c)
{
	struct check_owner *owner;
	struct check_node *node;

	while ((node = RB_ROOT(&c->nodes))) {
		RB_REMOVE(check_nodes, &c->nodes, node);
		free(node);
	}
	while ((owner = STAILQ_FIRST(&c->owners))) {
		STAILQ_REMOVE_HEAD(&c->owners, link);
		free(owner);
	}
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* Sums up the children.  Goes down one level for each recursion, and so at most as deep as a node's
 * level may be. */
static int walk_inner(struct check *c, const struct map_node_view *view, struct check_node *node)
{
	uint64_t mapped = 0;

	for (unsigned int s = 0; s < MAP_FANOUT; s++) {
		uint64_t id = map_node_child(view, s);
		struct check_node *child;
		int err;

		if (id == 0)
			continue;
		err = check_ref(c, id, (int)view->level - 1, "node", view->id, &child);
		if (err)
			return err;
		if (!child->up && node->level > child->level)
			child->up = node;
		node->bad |= child->bad;
		mapped += child->mapped;
		node->end = s * map_slot_nblks(view->level) + child->end;
	}
	if (!node->bad && mapped != view->mapped)
		check_differ(c, CHECK_SUM,
			     "node %" PRIu64 " says %" PRIu64
			     " blocks are mapped, there are %" PRIu64,
			     view->id, view->mapped, mapped);
	node->mapped = mapped;
	return 0;
}

static void walk_leaf(struct check *c, const struct map_node_view *view, struct check_node *node)
{
	struct map_leaf_run last = map_node_run(view, view->nextents - 1);

	check_count_leaf(c, view);
	node->mapped = view->mapped;
	node->end = last.slot + last.nblks;
}

static int walk_node(struct check *c, struct check_node *node, int level, const char *by,
		     uint64_t by_id)
{
	struct map_node_view view;
	int err = map_node_read(c->view->kv, node->id, &view);

	if (err == -ERR_NODE) {
		node->bad = true;
		check_differ(c, check_queued(c, CHECK_NODE),
			     "node %" PRIu64 ", to which %s %" PRIu64
			     " refers, is missing or damaged",
			     node->id, by, by_id);
		return 0;
	}
	if (err)
		return err;
	node->level = view.level;
	if (level != CHECK_ANY_LEVEL && view.level != (unsigned int)level) {
		node->bad = true;
		return 0;
	}
	if (view.level > 0)
		return walk_inner(c, &view, node);
	walk_leaf(c, &view, node);
	return 0;
}

int check_ref(struct check *c, uint64_t id, int level, const char *by, uint64_t by_id,
	      struct check_node **node)
{
	struct check_node *n = check_node_find(c, id);
	int err = 0;

	if (!n) {
		if (map_snapshot_is_late(c->view))
			return -ERR_LATE;
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ERR_NOMEM;
		n->id = id;
		n->queued = c->in_queue;
		n->level = level == CHECK_ANY_LEVEL ? 0 : (unsigned int)level;
		RB_INSERT(check_nodes, &c->nodes, n);
		err = walk_node(c, n, level, by, by_id);
	}
	if (err)
		return err;
	n->refs++;
	if (level != CHECK_ANY_LEVEL && n->level != (unsigned int)level)
		check_differ(c, check_queued(c, CHECK_NODE),
			     "node %" PRIu64 " is of level %u, %s %" PRIu64
			     " refers to it as level %d",
			     id, n->level, by, by_id, level);
	*node = n;
	return 0;
}

int check_own(struct check *c, struct check_node *root, const struct map_obj *obj)
{
	struct check_owner *owner;

	if (obj->owned_nblks == 0)
		return 0;
	owner = calloc(1, sizeof(*owner));
	if (!owner)
		return -ERR_NOMEM;
	owner->oid = obj->id;
	owner->says = obj->owned_nblks;
	root->owner = owner;
	STAILQ_INSERT_TAIL(&c->owners, owner, link);
	return 0;
}

void check_owners(struct check *c)
{
	const struct check_owner *owner;

	STAILQ_FOREACH (owner, &c->owners, link)
		if (owner->found < owner->says && !c->unsure)
			check_differ(c, CHECK_OWNED,
				     "object %" PRIu64 " says it owns %" PRIu64
				     " blocks, of its own are %" PRIu64,
				     owner->oid, owner->says, owner->found);
}

int check_see(struct check *c, uint64_t id, bool *first)
{
	struct check_node *n = check_node_find(c, id);

	*first = !n;
	if (n)
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ERR_NOMEM;
	n->id = id;
	RB_INSERT(check_nodes, &c->nodes, n);
	return 0;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* By several references to it, or to a node above. */
static bool node_is_shared(const struct check_node *node)
{
	while (node && node->refs <= 1)
		node = node->up;
	return node;
}

/* The object that has all of the node to itself; NULL: none that says it owns anything. */
static struct check_owner *node_owner(const struct check_node *node)
{
	while (node->refs == 1 && node->up)
		node = node->up;
	return node->refs == 1 ? node->owner : NULL;
}

/* A leaf, whose blocks have been counted. */
static void leaf_entry(struct check *c, const struct check_node *node,
		       const struct map_node_view *view)
{
	struct check_owner *owner = node_owner(node);

	if (owner)
		owner->found += check_single_blks(c, view);
	if (node_is_shared(node))
		check_share_leaf(c, view);
}

static int node_entry(struct check *c, uint64_t id, struct kv_buf val)
{
	struct check_node *node = check_node_find(c, id);
	struct map_node_view view;

	if (c->state_known && id >= c->state.next_node)
		check_differ(c, CHECK_ID, "node %" PRIu64 " has an id that was not given out yet",
			     id);
	c->totals.nodes++;
	c->last_node = id > c->last_node ? id : c->last_node;
	if (!node) {
		check_differ(c, CHECK_ORPHAN, "nothing refers to node %" PRIu64, id);
		return 0;
	}
	c->totals.shared_nodes += node->refs > 1;
	if (node->level == 0 && map_node_parse(val, id, &view) == 0)
		leaf_entry(c, node, &view);
	return 0;
}

int check_node_table(struct check *c)
{
	return check_each(c, KV_NODE, sizeof(struct disk_node), node_entry);
}

static void nref_chunk(struct check *c, uint64_t chunk, const uint64_t counts[MAP_COUNTS])
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++) {
		uint64_t id = chunk * MAP_COUNTS + s;
		struct check_node *node = counts[s] > 1 ? check_node_find(c, id) : NULL;
		uint64_t refs = node ? node->refs : 0;

		if (node)
			node->counted = true;
		if (counts[s] > 1 && counts[s] != refs)
			check_differ(c, counts[s] < refs ? CHECK_NREF_LOW : CHECK_NREF_HIGH,
				     "nref says %" PRIu64 " references to node %" PRIu64
				     ", there are %" PRIu64,
				     counts[s], id, refs);
	}
}

int check_nref_table(struct check *c)
{
	struct check_node *node;
	int err = check_counts(c, KV_NREF, nref_chunk);

	if (err)
		return err;
	RB_FOREACH (node, check_nodes, &c->nodes)
		if (node->refs > 1 && !node->counted)
			check_differ(c, CHECK_NREF_LOW,
				     "nref has no count of node %" PRIu64 ", which has %" PRIu64
				     " references",
				     node->id, node->refs);
	return 0;
}
