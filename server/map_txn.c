/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transactions.  One keeps the objects and nodes that it has looked at, decoded, until it ends;
 * those that it changed are put at the commit, and so is the free space.  Counts, names and the reap
 * queue are changed in the tables at once: they are a stage transaction's (kv.h).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

static int node_cmp(const struct map_node *a, const struct map_node *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

static int object_cmp(const struct map_object *a, const struct map_object *b)
{
	return a->pub.id < b->pub.id ? -1 : a->pub.id > b->pub.id;
}

RB_GENERATE_INTERNAL(map_nodes, map_node, entry, node_cmp, static __attribute__((unused)))
RB_GENERATE_INTERNAL(map_objects, map_object, entry, object_cmp, static __attribute__((unused)))

/* ---- counters -------------------------------------------------------------------------------- */

static struct kv_buf state_key(void)
{
	return (struct kv_buf){.data = MAP_KEY_STATE, .len = sizeof(MAP_KEY_STATE) - 1};
}

int map_state_read(struct kv_txn *kv, struct map_state *state)
{
	const struct disk_state *disk;
	struct kv_buf val;
	int err = map_value_get(kv, KV_META, state_key(), sizeof(*disk), &val);

	if (err)
		return err == -ERR_NOENT ? map_value_bad(KV_META, state_key(), "missing") : err;
	disk = val.data;
	state->next_node = le64_get(disk->next_node);
	state->next_object = le64_get(disk->next_object);
	state->incarnation = le64_get(disk->incarnation);
	state->journal_seq = le64_get(disk->journal_seq);
	state->journal_blk = le64_get(disk->journal_blk);
	state->journal_key = le64_get(disk->journal_key);
	state->objects = le64_get(disk->objects);
	state->versions = le64_get(disk->versions);
	state->mapped_nblks = le64_get(disk->mapped_nblks);
	state->free_nblks = le64_get(disk->free_nblks);
	state->reap_nblks = le64_get(disk->reap_nblks);
	state->reserved_nblks = le64_get(disk->reserved_nblks);
	state->promised_nblks = le64_get(disk->promised_nblks);
	return 0;
}

void map_state_write(struct kv_txn *kv, const struct map_state *state)
{
	struct disk_state disk = {0};

	le64_put(disk.next_node, state->next_node);
	le64_put(disk.next_object, state->next_object);
	le64_put(disk.incarnation, state->incarnation);
	le64_put(disk.journal_seq, state->journal_seq);
	le64_put(disk.journal_blk, state->journal_blk);
	le64_put(disk.journal_key, state->journal_key);
	le64_put(disk.objects, state->objects);
	le64_put(disk.versions, state->versions);
	le64_put(disk.mapped_nblks, state->mapped_nblks);
	le64_put(disk.free_nblks, state->free_nblks);
	le64_put(disk.reap_nblks, state->reap_nblks);
	le64_put(disk.reserved_nblks, state->reserved_nblks);
	le64_put(disk.promised_nblks, state->promised_nblks);
	map_value_put(kv, KV_META, state_key(), &disk, sizeof(disk));
}

int map_txn_next_incarnation(struct map_txn *txn, uint64_t journal_key, uint64_t *incarnation)
{
	ASSERT_MAP();
	if (kv_error(txn->kv))
		return kv_error(txn->kv);
	txn->state_dirty = true;
	txn->state.journal_key = journal_key;
	*incarnation = ++txn->state.incarnation;
	return 0;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct map_node *node_insert(struct map_txn *txn, uint64_t id)
{
	struct map_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->id = id;
	RB_INSERT(map_nodes, &txn->nodes, node);
	return node;
}

int map_node_get(struct map_txn *txn, uint64_t id, struct map_node **node)
{
	struct map_node key = {.id = id};
	struct map_node *n = RB_FIND(map_nodes, &txn->nodes, &key);
	struct map_node_view view;
	int err;

	if (!n) {
		err = map_node_read(txn->kv, id, &view);
		if (err)
			return err;
		n = node_insert(txn, id);
		if (!n)
			return -ERR_NOMEM;
		map_node_decode(&view, n);
	}
	*node = n;
	return 0;
}

int map_node_mapped(struct map_txn *txn, uint64_t id, uint64_t *nblks)
{
	struct map_node key = {.id = id};
	const struct map_node *node = RB_FIND(map_nodes, &txn->nodes, &key);
	struct map_node_view view;
	int err = node ? 0 : map_node_read(txn->kv, id, &view);

	if (!err)
		*nblks = node ? node->mapped : view.mapped;
	return err;
}

int map_node_new(struct map_txn *txn, unsigned int level, struct map_node **node)
{
	struct map_node *n = node_insert(txn, txn->state.next_node);

	if (!n)
		return -ERR_NOMEM;
	txn->state.next_node++;
	txn->state_dirty = true;
	n->level = level;
	n->dirty = true;
	n->fresh = true;
	*node = n;
	return 0;
}

void map_node_delete(struct map_txn *txn, struct map_node *node)
{
	if (!node->fresh)
		map_num_del(txn->kv, KV_NODE, node->id);
	RB_REMOVE(map_nodes, &txn->nodes, node);
	free(node);
}

static void node_flush(struct map_txn *txn)
{
	uint8_t bytes[MAP_VALUE_MAX];
	struct map_node *node;

	RB_FOREACH (node, map_nodes, &txn->nodes) {
		if (!node->dirty)
			continue;
		map_num_put(txn->kv, KV_NODE, node->id, bytes, map_node_encode(node, bytes));
	}
}

/* ---- objects --------------------------------------------------------------------------------- */

int map_object_get(struct map_txn *txn, uint64_t oid, struct map_object **obj)
{
	struct map_object key = {.pub = {.id = oid}};
	struct map_object *o = RB_FIND(map_objects, &txn->objects, &key);
	int err;

	if (!o) {
		o = calloc(1, sizeof(*o));
		if (!o)
			return -ERR_NOMEM;
		err = map_object_read(txn->kv, oid, o);
		if (err) {
			free(o);
			return err;
		}
		o->counted_reserved = o->pub.reserved_nblks;
		o->counted_promised = map_obj_promised(&o->pub);
		RB_INSERT(map_objects, &txn->objects, o);
	}
	*obj = o;
	return 0;
}

int map_object_new(struct map_txn *txn, uint64_t oid, struct map_object **obj)
{
	struct map_object *o = calloc(1, sizeof(*o));

	if (!o)
		return -ERR_NOMEM;
	o->pub.id = oid;
	if (txn->state.next_object <= oid)
		map_txn_state(txn)->next_object = oid + 1;
	o->dirty = true;
	o->fresh = true;
	RB_INSERT(map_objects, &txn->objects, o);
	*obj = o;
	return 0;
}

void map_object_own(struct map_object *obj, uint64_t gained, uint64_t lost)
{
	struct map_obj *pub = &obj->pub;

	if (gained == lost)
		return;
	obj->dirty = true;
	if (lost <= pub->owned_nblks + gained) {
		pub->owned_nblks += gained - lost;
		return;
	}
	pub->owned_nblks = 0;
	pub->owned_seq++;
}

void map_object_disown(struct map_object *obj)
{
	obj->pub.owned_nblks = 0;
	obj->pub.owned_seq++;
	obj->dirty = true;
}

/* Puts its parts of the counters right. */
static void object_count(struct map_txn *txn, struct map_object *obj, uint64_t reserved,
			 uint64_t promised)
{
	if (obj->counted_reserved == reserved && obj->counted_promised == promised)
		return;
	map_txn_state(txn)->reserved_nblks += reserved - obj->counted_reserved;
	map_txn_state(txn)->promised_nblks += promised - obj->counted_promised;
	obj->counted_reserved = reserved;
	obj->counted_promised = promised;
}

void map_object_delete(struct map_txn *txn, struct map_object *obj)
{
	object_count(txn, obj, 0, 0);
	if (!obj->fresh)
		map_num_del(txn->kv, KV_OBJ, obj->pub.id);
	RB_REMOVE(map_objects, &txn->objects, obj);
	free(obj);
}

static void object_flush(struct map_txn *txn)
{
	struct map_object *obj;

	RB_FOREACH (obj, map_objects, &txn->objects) {
		if (!obj->dirty)
			continue;
		object_count(txn, obj, obj->pub.reserved_nblks, map_obj_promised(&obj->pub));
		map_object_write(txn->kv, obj);
	}
}

/* ---- begin and end --------------------------------------------------------------------------- */

int map_txn_begin(struct map *map, struct map_txn **txn)
{
	struct map_txn *t;
	int err;

	ASSERT_MAP();
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ERR_NOMEM;
	t->map = map;
	t->nref_turn = 1;
	RB_INIT(&t->nodes);
	RB_INIT(&t->objects);
	err = kv_stage_begin(map->kv, &t->kv);
	if (err)
		goto fail_free;
	err = map_state_read(t->kv, &t->state);
	if (err)
		goto fail_abort;
	*txn = t;
	return 0;
fail_abort:
	kv_stage_abort(t->kv);
fail_free:
	free(t);
	return err;
}

static void txn_free(struct map_txn *txn)
{
	struct map_object *obj;
	struct map_object *next_obj;
	struct map_node *node;
	struct map_node *next_node;

	RB_FOREACH_SAFE (node, map_nodes, &txn->nodes, next_node) {
		RB_REMOVE(map_nodes, &txn->nodes, node);
		free(node);
	}
	RB_FOREACH_SAFE (obj, map_objects, &txn->objects, next_obj) {
		RB_REMOVE(map_objects, &txn->objects, obj);
		free(obj);
	}
	free(txn->notes.notes);
	free(txn->freed.ranges);
	free(txn);
}

int map_txn_result(struct map_txn *txn, int err)
{
	if (err == 0 || err == -ERR_NOENT || err == -ERR_EXIST || err == -ERR_BUSY ||
	    err == -ERR_PERM)
		return err;
	return kv_latch(txn->kv, err);
}

int map_txn_has_room(struct map_txn *txn, bool *some)
{
	int err = map_space_settle(txn);

	if (!err)
		*some = kv_stage_has_room(txn->kv);
	return err;
}

int map_txn_commit(struct map_txn *txn, struct map_freed *freed)
{
	int err;

	ASSERT_MAP();
	if (map_space_settle(txn) == 0) {
		object_flush(txn);
		node_flush(txn);
		if (txn->state_dirty)
			map_state_write(txn->kv, &txn->state);
	}
	err = kv_stage_commit(txn->kv);
	if (!err) {
		*freed = txn->freed;
		txn->freed = (struct map_freed){0};
	}
	txn_free(txn);
	return err;
}

void map_txn_abort(struct map_txn *txn)
{
	ASSERT_MAP();
	if (!txn)
		return;
	kv_stage_abort(txn->kv);
	txn_free(txn);
}
