/* SPDX-License-Identifier: BSD-2-Clause */
/* Reference counts: each chunk becomes what the trees say of its nodes or blocks. */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/repair_priv.h"

/* One of the two tables. */
struct counting {
	enum kv_table table;
	enum check_fault unusable;
	/* the counts of a chunk, which are 1 before */
	void (*fill)(struct check *c, uint64_t chunk, uint64_t counts[MAP_COUNTS]);
	/* the first chunk from there on with a count of 2 or more */
	bool (*next)(struct check *c, uint64_t *chunk);
};

/* ---- what they are --------------------------------------------------------------------------- */

static void nref_fill(struct check *c, uint64_t chunk, uint64_t counts[MAP_COUNTS])
{
	const uint64_t first = chunk * MAP_COUNTS;
	struct check_node *node = check_node_from(c, first);

	for (; node && node->id - first < MAP_COUNTS; node = check_node_next(node))
		if (node->refs > 1)
			counts[node->id - first] = node->refs;
}

static bool nref_next(struct check *c, uint64_t *chunk)
{
	struct check_node *node = check_node_from(c, *chunk * MAP_COUNTS);

	while (node && node->refs <= 1)
		node = check_node_next(node);
	if (node)
		*chunk = node->id / MAP_COUNTS;
	return node;
}

static void xref_fill(struct check *c, uint64_t chunk, uint64_t counts[MAP_COUNTS])
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++) {
		uint64_t blk = chunk * MAP_COUNTS + s;

		if (blk < c->dev_nblks && c->counts[blk] > 1)
			counts[s] = c->counts[blk];
	}
}

static bool xref_next(struct check *c, uint64_t *chunk)
{
	uint64_t blk = *chunk * MAP_COUNTS;

	while (blk < c->dev_nblks && c->counts[blk] <= 1)
		blk += check_same_count(c, blk, c->dev_nblks);
	*chunk = blk / MAP_COUNTS;
	return blk < c->dev_nblks;
}

static const struct counting nref = {KV_NREF, CHECK_NREF_VALUE, nref_fill, nref_next};
static const struct counting xref = {KV_XREF, CHECK_XREF_VALUE, xref_fill, xref_next};

/* ---- making them so -------------------------------------------------------------------------- */

static void counts_expect(struct repair *r, const struct counting *t, uint64_t chunk,
			  uint64_t counts[MAP_COUNTS])
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		counts[s] = 1;
	t->fill(&r->c, chunk, counts);
}

/* old_len: of the value that is there, or 0. */
static int counts_put(struct repair *r, const struct counting *t, uint64_t chunk, size_t old_len,
		      const uint64_t counts[MAP_COUNTS])
{
	struct map_counts c = map_counts_of(r->txn->kv, t->table);
	int err;

	c.chunk = chunk;
	c.stored_len = old_len;
	c.dirty = true;
	memcpy(c.counts, counts, sizeof(c.counts));
	err = map_counts_store(&c);
	return err ? err : repair_step(r);
}

/* A chunk that is there; where nothing is given back no count becomes less. */
static int chunk_mend(struct repair *r, const struct counting *t, uint64_t chunk, struct kv_buf val)
{
	struct map_key key = map_key(chunk);
	uint64_t counts[MAP_COUNTS];
	uint64_t old[MAP_COUNTS] = {0};
	bool good =
	    map_value_check(t->table, map_key_buf(&key), val, sizeof(struct disk_counts)) == 0 &&
	    map_counts_parse(t->table, chunk, val, old) == 0;

	counts_expect(r, t, chunk, counts);
	for (unsigned int s = 0; r->torn && s < MAP_COUNTS; s++)
		counts[s] = old[s] > counts[s] ? old[s] : counts[s];
	if (good && memcmp(old, counts, sizeof(old)) == 0)
		return 0;
	return counts_put(r, t, chunk, val.len > 0 ? val.len : 1, counts);
}

static int chunks_mend(struct repair *r, const struct counting *t)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	int err;

	while (!(err = repair_next(r, t->table, &pos, &val))) {
		bool of_chunk = pos.len == sizeof(struct map_key) &&
				be64_get(pos.bytes) <= UINT64_MAX / MAP_COUNTS;

		err = of_chunk ? chunk_mend(r, t, be64_get(pos.bytes), val)
			       : repair_drop(r, t->table, &pos);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

static int chunks_add(struct repair *r, const struct counting *t)
{
	uint64_t counts[MAP_COUNTS];
	int err = 0;

	for (uint64_t chunk = 0; !err && t->next(&r->c, &chunk); chunk++) {
		struct map_key key = map_key(chunk);
		struct kv_buf val;

		err = kv_get(r->txn->kv, t->table, map_key_buf(&key), &val);
		if (err != -ERR_NOENT)
			continue;
		counts_expect(r, t, chunk, counts);
		err = counts_put(r, t, chunk, 0, counts);
	}
	return err;
}

/* What cannot be read may have been more than what is seen. */
static int counts_mend(struct repair *r, const struct counting *t)
{
	int err;

	if (r->torn && r->faults[t->unusable])
		return 0;
	err = chunks_mend(r, t);
	return err ? err : chunks_add(r, t);
}

int repair_nref(struct repair *r)
{
	return counts_mend(r, &nref);
}

int repair_xref(struct repair *r)
{
	return counts_mend(r, &xref);
}
