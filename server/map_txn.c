/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transactions.  One keeps the objects and nodes that it has looked at, decoded, until it ends;
 * those that it changed are written at the commit, in the order of their keys.  Counts, free space,
 * names and the reap queue are changed in the tables at once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

/*
 * Headroom: a transaction that deletes writes new pages before it can free any, and what it frees
 * can be used again only two commits later.  So the rest of the map is never given away:
 *
 *	in use before + what the transaction writes + headroom <= size of the map
 *
 * holds for all that grows.  A transaction that begins while what the last one replaced stands in
 * the way has an empty commit made before it.
 */
#define HEADROOM_SHIFT	   4 /* a 16th */
#define HEADROOM_MIN_BYTES (UINT64_C(64) * 4096)

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
	return 0;
}

void map_state_write(struct kv_txn *kv, const struct map_state *state)
{
	struct disk_state disk = {0};

	le64_put(disk.next_node, state->next_node);
	le64_put(disk.next_object, state->next_object);
	le64_put(disk.incarnation, state->incarnation);
	map_value_put(kv, KV_META, state_key(), &disk, sizeof(disk));
}

int map_txn_next_incarnation(struct map_txn *txn, uint64_t *incarnation)
{
	ASSERT_COMMIT();
	if (kv_error(txn->kv))
		return kv_error(txn->kv);
	txn->state_dirty = true;
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

/* In ascending order: what is new comes last, and behind all nodes on disk. */
static void node_flush(struct map_txn *txn)
{
	uint8_t bytes[MAP_VALUE_MAX];
	struct map_node *node;

	RB_FOREACH (node, map_nodes, &txn->nodes) {
		size_t len = node->dirty ? map_node_encode(node, bytes) : 0;

		if (node->fresh)
			map_num_append(txn->kv, KV_NODE, node->id, bytes, len);
		else if (node->dirty)
			map_num_put(txn->kv, KV_NODE, node->id, bytes, len);
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
		RB_INSERT(map_objects, &txn->objects, o);
	}
	*obj = o;
	return 0;
}

int map_object_new(struct map_txn *txn, struct map_object **obj)
{
	struct map_object *o = calloc(1, sizeof(*o));

	if (!o)
		return -ERR_NOMEM;
	o->pub.id = txn->state.next_object++;
	txn->state_dirty = true;
	o->dirty = true;
	o->fresh = true;
	RB_INSERT(map_objects, &txn->objects, o);
	*obj = o;
	return 0;
}

void map_object_delete(struct map_txn *txn, struct map_object *obj)
{
	if (!obj->fresh)
		map_num_del(txn->kv, KV_OBJ, obj->pub.id);
	RB_REMOVE(map_objects, &txn->objects, obj);
	free(obj);
}

static void object_flush(struct map_txn *txn)
{
	struct map_object *obj;

	RB_FOREACH (obj, map_objects, &txn->objects)
		if (obj->dirty)
			map_object_write(txn->kv, obj);
}

/* ---- room ------------------------------------------------------------------------------------ */

static uint64_t headroom_bytes(const struct map *map)
{
	uint64_t share = kv_map_bytes(map->kv) >> HEADROOM_SHIFT;

	return share < HEADROOM_MIN_BYTES ? HEADROOM_MIN_BYTES : share;
}

static int txn_check_headroom(struct map_txn *txn)
{
	struct map *map = txn->map;
	uint64_t dirty;
	int err = kv_dirty_bytes(txn->kv, &dirty);

	if (err)
		return err;
	dirty += atomic_load(&map->used_bytes) + headroom_bytes(map);
	return dirty <= kv_map_bytes(map->kv) ? 0 : -ERR_NOSPC_META;
}

int map_txn_grow(struct map_txn *txn)
{
	txn->grows = true;
	return txn_check_headroom(txn);
}

int map_txn_has_room(struct map_txn *txn, bool *some)
{
	struct map *map = txn->map;
	uint64_t dirty;
	int err = kv_dirty_bytes(txn->kv, &dirty);

	if (err)
		return err;
	/* what the last commit replaced cannot be used by this one */
	dirty += atomic_load(&map->used_bytes) + map->replaced_bytes + headroom_bytes(map) / 2;
	*some = dirty <= kv_map_bytes(map->kv);
	return 0;
}

/* An empty commit, after which the pages that the last one replaced can be used. */
static int map_turn(struct map *map)
{
	struct map_state state;
	struct kv_txn *kv;
	int err = kv_write_begin(map->kv, &kv);

	if (err)
		return err;
	err = map_state_read(kv, &state);
	if (err)
		kv_latch(kv, err);
	else
		map_state_write(kv, &state);
	err = kv_write_commit(kv);
	if (!err)
		map->replaced_bytes = 0;
	return err;
}

/* Would a transaction as large as the last one fit beside what that one replaced? */
static int map_turn_if_full(struct map *map)
{
	uint64_t used = atomic_load(&map->used_bytes);
	int err = 0;

	if (map->replaced_bytes > 0 &&
	    used + 2 * map->replaced_bytes + headroom_bytes(map) > kv_map_bytes(map->kv))
		err = map_turn(map);
	return err == -ERR_NOSPC_META ? 0 : err;
}

/* ---- begin and end --------------------------------------------------------------------------- */

int map_txn_begin(struct map *map, struct map_txn **txn)
{
	struct map_txn *t;
	int err;

	ASSERT_COMMIT();
	err = map_turn_if_full(map);
	if (err)
		return err;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ERR_NOMEM;
	t->map = map;
	RB_INIT(&t->nodes);
	RB_INIT(&t->objects);
	err = kv_write_begin(map->kv, &t->kv);
	if (err)
		goto fail_free;
	err = map_state_read(t->kv, &t->state);
	if (err)
		goto fail_abort;
	*txn = t;
	return 0;
fail_abort:
	kv_write_abort(t->kv);
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
	free(txn->freed.ranges);
	free(txn);
}

int map_txn_result(struct map_txn *txn, int err)
{
	if (err == 0 || err == -ERR_NOENT || err == -ERR_EXIST || err == -ERR_BUSY)
		return err;
	return kv_latch(txn->kv, err);
}

int map_txn_commit(struct map_txn *txn, struct map_freed *freed)
{
	struct map *map = txn->map;
	uint64_t used = 0;
	uint64_t dirty = 0;
	int err;

	ASSERT_COMMIT();
	object_flush(txn);
	node_flush(txn);
	if (txn->state_dirty)
		map_state_write(txn->kv, &txn->state);
	err = kv_used_bytes(txn->kv, &used);
	if (!err)
		err = kv_dirty_bytes(txn->kv, &dirty);
	if (!err && txn->grows)
		err = txn_check_headroom(txn);
	if (err)
		kv_latch(txn->kv, err);
	err = kv_write_commit(txn->kv);
	if (!err) {
		atomic_store(&map->used_bytes, used);
		map->replaced_bytes = dirty;
		*freed = txn->freed;
		txn->freed = (struct map_freed){0};
	}
	txn_free(txn);
	return err;
}

void map_txn_abort(struct map_txn *txn)
{
	ASSERT_COMMIT();
	if (!txn)
		return;
	kv_write_abort(txn->kv);
	txn_free(txn);
}
