/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reap queue: trees that nothing refers to any more but the queue itself.  They are released
 * bit by bit; an entry goes and what stands for it comes (counts lowered, children queued, blocks
 * freed) in one transaction, so that a crash between two leaves nothing behind.
 *
 * The last one in is the first one out: a tree is taken apart depth first, so that the queue holds
 * at most the children of one path, whatever the size of the tree.
 */
#include <assert.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/cpu.h"
#include "server/map_priv.h"

/* A leaf gives up between 1 and MAP_FANOUT pieces of the device, each of which takes as long as a
 * whole compact leaf: a transaction ends after so many. */
#define REAP_RUNS 128u

/* The last entry.  -ERR_NOENT: the queue is empty. */
static int reap_last(struct kv_txn *kv, uint64_t *seq, uint64_t *node)
{
	struct kv_buf val;
	int err = map_num_find(kv, KV_REAP, KV_LE, UINT64_MAX, sizeof(struct disk_reap), seq, &val);

	if (!err)
		*node = le64_get(((const struct disk_reap *)val.data)->node);
	return err;
}

static int reap_push(struct map_txn *txn, uint64_t node)
{
	struct disk_reap val = {0};
	uint64_t last_node;
	uint64_t seq;
	int err = reap_last(txn->kv, &seq, &last_node);

	if (err && err != -ERR_NOENT)
		return err;
	le64_put(val.node, node);
	map_num_put(txn->kv, KV_REAP, err ? 1 : seq + 1, &val, sizeof(val));
	return kv_error(txn->kv);
}

int map_reap_add(struct map_txn *txn, uint64_t node, uint64_t nblks)
{
	bool last;
	int err = map_nref_dec(txn->kv, node, &last);

	if (!err && last)
		err = reap_push(txn, node);
	if (!err && last)
		map_txn_state(txn)->reap_nblks += nblks;
	return err;
}

/* A tree leaves the queue that others still refer to. */
static int reap_leave(struct map_txn *txn, uint64_t node)
{
	uint64_t nblks;
	int err = map_node_mapped(txn, node, &nblks);

	if (!err)
		map_txn_state(txn)->reap_nblks -= nblks;
	return err;
}

/*
 * A child of a released node takes its place in the queue, and its part of reap_nblks, or leaves.
 */
static int reap_child(struct map_txn *txn, uint64_t node)
{
	bool last;
	int err = map_nref_dec(txn->kv, node, &last);

	if (err)
		return err;
	return last ? reap_push(txn, node) : reap_leave(txn, node);
}

/* Releases a node that has no reference left; *runs is raised by the pieces of the device that it
 * gave up. */
static int reap_node(struct map_txn *txn, struct map_node *node, size_t *runs)
{
	int err = 0;

	if (node->level > 0) {
		for (unsigned int s = MAP_FANOUT; s-- > 0 && !err;)
			if (node->u.child[s])
				err = reap_child(txn, node->u.child[s]);
	} else {
		unsigned int n;

		for (unsigned int s = 0; s < MAP_FANOUT && !err; s += n) {
			n = map_leaf_run_len(node, s, MAP_FANOUT);
			if (node->u.leaf.blk[s] == 0)
				continue;
			err = map_xref_dec(txn, node->u.leaf.blk[s], n);
			(*runs)++;
			cpu_give_way();
		}
		map_txn_state(txn)->reap_nblks -= node->mapped;
	}
	if (err)
		return err;
	map_node_delete(txn, node);
	return kv_error(txn->kv);
}

/* Takes the last entry out of the queue and does what it asks for.  -ERR_NOENT: there is none. */
static int reap_step(struct map_txn *txn, size_t *runs)
{
	struct map_node *node;
	uint64_t seq;
	uint64_t id;
	bool last;
	int err = reap_last(txn->kv, &seq, &id);

	if (err)
		return err;
	err = map_nref_dec(txn->kv, id, &last);
	if (!err && !last)
		err = reap_leave(txn, id);
	if (!err && last)
		err = map_node_get(txn, id, &node);
	if (!err && last)
		err = reap_node(txn, node, runs);
	if (err)
		return err;
	map_num_del(txn->kv, KV_REAP, seq);
	return kv_error(txn->kv);
}

int map_txn_reap(struct map_txn *txn, size_t max_nodes, bool *more)
{
	uint64_t seq;
	uint64_t node;
	bool room = true;
	size_t runs = 0;
	int err = 0;

	ASSERT_MAP();
	/* where the map is almost full, one node at a time: what it frees makes room for more */
	for (size_t i = 0; i < max_nodes && runs < REAP_RUNS && room && !err; i++) {
		err = reap_step(txn, &runs);
		cpu_give_way();
		if (!err)
			err = map_txn_has_room(txn, &room);
	}
	if (!err)
		err = reap_last(txn->kv, &seq, &node);
	if (err && err != -ERR_NOENT)
		return map_txn_result(txn, err);
	*more = err == 0;
	return 0;
}
