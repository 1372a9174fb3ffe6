/* SPDX-License-Identifier: BSD-2-Clause */
/* What follows from objects and nodes in themselves: sums, what leads to objects, what nothing needs. */
#include "common/cursor.h"
#include "common/err.h"
#include "server/repair_priv.h"

/* ---- the queue, and what nothing refers to --------------------------------------------------- */

/* All of it: its trees are then such that nothing refers to them. */
int repair_queue(struct repair *r)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	int err;

	if (!r->drop_queue)
		return 0;
	while (!(err = repair_next(r, KV_REAP, &pos, &val))) {
		err = repair_drop(r, KV_REAP, &pos);
		if (err)
			return err;
	}
	map_txn_state(r->txn)->reap_nblks = 0;
	return err == -ERR_NOENT ? 0 : err;
}

int repair_orphans(struct repair *r)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	int err;

	if (r->torn)
		return 0;
	while (!(err = repair_next(r, KV_NODE, &pos, &val))) {
		if (pos.len == sizeof(struct map_key) &&
		    check_node_find(&r->c, be64_get(pos.bytes)))
			continue;
		err = repair_drop(r, KV_NODE, &pos);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Of a node that can be read with all that is below. */
static int node_sum(struct repair *r, const struct check_node *found)
{
	uint8_t bytes[MAP_VALUE_MAX];
	struct map_node_view view;
	struct map_node node = {0};
	int err = map_node_read(r->txn->kv, found->id, &view);

	if (err || view.mapped == found->mapped)
		return err;
	map_node_decode(&view, &node);
	node.mapped = found->mapped;
	map_num_put(r->txn->kv, KV_NODE, node.id, bytes, map_node_encode(&node, bytes));
	return repair_step(r);
}

int repair_sums(struct repair *r)
{
	struct check_node *node = check_node_from(&r->c, 0);
	int err = 0;

	if (r->faults[CHECK_SUM] == 0)
		return 0;
	for (; node && !err; node = check_node_next(node))
		if (!node->bad && node->level > 0)
			err = node_sum(r, node);
	return err;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* True where it says something else. */
static bool object_sum(struct repair *r, struct map_object *obj)
{
	const struct check_node *root = obj->root ? check_node_find(&r->c, obj->root) : NULL;
	uint64_t mapped = root ? root->mapped : 0;

	if ((root && root->bad) || obj->pub.mapped_nblks == mapped)
		return false;
	obj->pub.mapped_nblks = mapped;
	return true;
}

/* The count of what it has is exact.  What the journal says of the one before it is void then, as after
 * every count that was set: owned_seq. */
static bool object_owns(struct repair *r, struct map_object *obj, const struct check_owner *owner)
{
	uint64_t found = obj->root && owner ? owner->found : 0;
	uint64_t promised = map_obj_promised(&obj->pub);

	if (r->torn || obj->pub.owned_nblks <= found)
		return false;
	obj->pub.owned_nblks = found;
	obj->pub.owned_seq++;
	r->promised_nblks += map_obj_promised(&obj->pub) - promised;
	return true;
}

static int object_versions(struct repair *r, struct map_object *obj, bool *changed)
{
	uint64_t n;
	int err = check_count_versions(r->txn->kv, obj->pub.id, &n);

	if (err || r->faults[CHECK_NAME] || obj->pub.nversions == n)
		return err;
	obj->pub.nversions = (uint32_t)n;
	*changed = true;
	return 0;
}

/* One that is damaged counts as missing, unless it may be more than that. */
static int object_link(struct repair *r, enum kv_table table, struct map_pair pair)
{
	int err = map_pair_get(r->txn->kv, table, pair);

	if (err == -ERR_NODE && r->torn)
		return 0;
	if (err != -ERR_NOENT && err != -ERR_NODE)
		return err;
	map_pair_put(r->txn->kv, table, pair);
	return repair_step(r);
}

static int object_mend(struct repair *r, struct map_object *obj, const struct check_owner *owner)
{
	bool changed = object_sum(r, obj);
	int err;

	changed |= object_owns(r, obj, owner);
	err = object_versions(r, obj, &changed);
	if (!err && changed) {
		map_object_write(r->txn->kv, obj);
		err = repair_step(r);
	}
	if (!err && map_is_child(&obj->pub))
		err = object_link(r, KV_CHILD, (struct map_pair){obj->pub.origin, obj->pub.id});
	if (!err && obj->pub.expires_ns)
		err = object_link(r, KV_TTL, (struct map_pair){obj->pub.expires_ns, obj->pub.id});
	return err;
}

/* Those who own something were noted in the order of ids. */
int repair_objects(struct repair *r)
{
	const struct check_owner *owner = STAILQ_FIRST(&r->c.owners);
	struct check_pos pos = CHECK_POS_FIRST;
	struct map_object obj;
	struct kv_buf val;
	int err;

	while (!(err = repair_next(r, KV_OBJ, &pos, &val))) {
		if (map_object_found(check_pos_key(&pos), val, &obj))
			continue; /* it cannot be read: not touched */
		while (owner && owner->oid < obj.pub.id)
			owner = STAILQ_NEXT(owner, link);
		err = object_mend(r, &obj, owner && owner->oid == obj.pub.id ? owner : NULL);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* ---- what leads to objects ------------------------------------------------------------------- */

static bool link_is_right(enum kv_table table, struct map_pair pair, const struct map_obj *obj)
{
	if (table == KV_TTL)
		return obj->expires_ns == pair.a;
	return map_is_child(obj) && obj->origin == pair.a;
}

/* *stays: it is right, or not to be touched; what is damaged and right has been put anew before. */
static int link_judge(struct repair *r, enum kv_table table, const struct check_pos *pos,
		      struct kv_buf val, bool *stays)
{
	struct map_object obj;
	struct map_pair pair;
	int err;

	*stays = r->torn != NULL;
	if (pos->len != sizeof(struct map_pair_key) ||
	    (r->torn && map_value_check(table, check_pos_key(pos), val, sizeof(struct disk_mark))))
		return 0;
	pair = (struct map_pair){be64_get(pos->bytes), be64_get(pos->bytes + 8)};
	err = map_object_read(r->txn->kv, pair.b, &obj);
	if (err == -ERR_NOENT)
		return 0;
	*stays = err == -ERR_NODE || (!err && link_is_right(table, pair, &obj.pub));
	return err == -ERR_NODE ? 0 : err;
}

static int links_mend(struct repair *r, enum kv_table table)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	int err;

	while (!(err = repair_next(r, table, &pos, &val))) {
		bool stays;

		err = link_judge(r, table, &pos, val, &stays);
		if (!err && !stays)
			err = repair_drop(r, table, &pos);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

int repair_links(struct repair *r)
{
	int err = links_mend(r, KV_CHILD);

	return err ? err : links_mend(r, KV_TTL);
}
