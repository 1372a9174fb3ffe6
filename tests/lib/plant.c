/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant FAULT DIR: plants a fault in the map of a store that nobody serves, as of its last checkpoint,
 * for the integration tests of the repair.
 *
 *	counts	no reference counts, and a damaged one	sums	mapped blocks, and all counters
 *	free	free space that is mapped, and none	orphan	a node that nothing refers to
 *	links	neither child nor ttl			queue	a tree to release that is not there
 *	name	a name of nothing			leaf	the first leaf is damaged
 *	journal	a leaf maps what the journal has
 */
#include <stdio.h>
#include <string.h>

#include "common/cursor.h"
#include "common/thread.h"
#include "server/check_priv.h"
#include "server/map_priv.h"
#include "server/recover.h"
#include "server/store.h"
#include "tests/lib/must.h"

struct plant {
	struct store store;
	struct kv_txn *kv;
	uint64_t blk; /* that the journal maps */
};

/* All entries of a table go. */
static void clear(struct plant *p, enum kv_table table)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf key;
	struct kv_buf val;

	while (kv_find(p->kv, table, KV_GE, check_pos_key(&pos), &key, &val) == 0) {
		memcpy(pos.bytes, key.data, key.len);
		pos.len = key.len;
		kv_del(p->kv, table, check_pos_key(&pos));
	}
}

static void plant_counts(struct plant *p)
{
	struct disk_counts bad = {.crc = {1}, .width = 1};

	clear(p, KV_NREF);
	clear(p, KV_XREF);
	kv_put(p->kv, KV_XREF, (struct kv_buf){.data = "\0\0\0\0\0\0\0\7", .len = 8},
	       (struct kv_buf){.data = &bad, .len = sizeof(bad)});
}

static void plant_free(struct plant *p)
{
	const struct map_geometry *geo = map_geometry(p->store.map);
	struct disk_free disk = {0};

	clear(p, KV_FREE);
	le64_put(disk.nblks, 100);
	map_num_put(p->kv, KV_FREE, 1 + geo->journal_nblks, &disk, sizeof(disk));
}

static void plant_links(struct plant *p)
{
	clear(p, KV_CHILD);
	clear(p, KV_TTL);
}

static void plant_name(struct plant *p)
{
	map_name_put(p->kv, 0, "stray", 4000);
}

static void plant_queue(struct plant *p)
{
	struct disk_reap disk = {0};

	le64_put(disk.node, 123456);
	map_num_put(p->kv, KV_REAP, 1000, &disk, sizeof(disk));
}

/* The first node of this kind, and what it is. */
static struct map_node node_of(struct plant *p, bool leaf)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct map_node node = {0};
	struct map_node_view view;
	struct kv_buf key;
	struct kv_buf val;

	for (;;) {
		MUST(kv_find(p->kv, KV_NODE, KV_GT, check_pos_key(&pos), &key, &val) == 0,
		     "no such node");
		memcpy(pos.bytes, key.data, key.len);
		pos.len = key.len;
		MUST(map_node_parse(val, be64_get(pos.bytes), &view) == 0, "a node");
		if ((view.level == 0) == leaf)
			break;
	}
	map_node_decode(&view, &node);
	return node;
}

static void node_put(struct plant *p, const struct map_node *node)
{
	uint8_t bytes[MAP_VALUE_MAX];

	map_num_put(p->kv, KV_NODE, node->id, bytes, map_node_encode(node, bytes));
}

static void plant_orphan(struct plant *p)
{
	struct map_node node = node_of(p, true);

	node.id = 54321;
	node_put(p, &node);
}

static void plant_sums(struct plant *p)
{
	struct map_node node = node_of(p, false);
	struct map_state counters;

	node.mapped += 5;
	node_put(p, &node);
	MUST(map_state_read(p->kv, &counters) == 0, "the counters");
	counters.objects = 0;
	counters.mapped_nblks = 7;
	counters.free_nblks = 7;
	counters.next_node = 2;
	map_state_write(p->kv, &counters);
}

static void plant_leaf(struct plant *p)
{
	struct map_key key = map_key(node_of(p, true).id);
	uint8_t bytes[MAP_VALUE_MAX];
	struct kv_buf val;
	size_t len;

	MUST(kv_get(p->kv, KV_NODE, map_key_buf(&key), &val) == 0, "the leaf");
	len = val.len;
	memcpy(bytes, val.data, len);
	bytes[len - 1] ^= 1;
	kv_put(p->kv, KV_NODE, map_key_buf(&key), (struct kv_buf){.data = bytes, .len = len});
}

static void see_block(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct plant *p = ctx;

	(void)nblks;
	p->blk = blk.n;
}

static void plant_journal(struct plant *p)
{
	struct map_node node = node_of(p, true);
	unsigned int slot = 0;

	MUST(p->blk > 0, "the journal maps nothing");
	while (node.u.leaf.blk[slot] == 0)
		slot++;
	node.u.leaf.blk[slot] = p->blk;
	node_put(p, &node);
}

static const struct {
	const char *name;
	void (*plant)(struct plant *p);
} faults[] = {
    {"counts", plant_counts}, {"sums", plant_sums},   {"free", plant_free},
    {"orphan", plant_orphan}, {"links", plant_links}, {"queue", plant_queue},
    {"name", plant_name},     {"leaf", plant_leaf},   {"journal", plant_journal},
};

int main(int argc, char **argv)
{
	struct store_config config = {.dir = argc == 3 ? argv[2] : "."};
	struct plant p = {.store = {.lock_fd = -1}};
	char why[512] = "";
	size_t i = 0;

	MUST(argc == 3, "usage: plant FAULT DIR");
	while (i < ARRAY_LEN(faults) && strcmp(faults[i].name, argv[1]) != 0)
		i++;
	MUST(i < ARRAY_LEN(faults), "no fault %s", argv[1]);
	thread_set_role(THREAD_MAP);
	MUST(store_open(&config, &p.store, why, sizeof(why)) == 0, "%s", why);
	MUST(recover_scan(p.store.map, p.store.dev, see_block, &p) == 0, "the journal");
	MUST(kv_write_begin(p.store.map->kv, &p.kv) == 0, "a transaction");
	faults[i].plant(&p);
	MUST(kv_write_commit(p.kv) == 0, "the commit");
	store_close(&p.store);
	return 0;
}
