/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of the device: what the leaves map against what xref and free say.
 */
#include <inttypes.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/check_priv.h"

/* Whoever shares a block has its checksum, too: where two differ, one of them is of another block. */
static void claim_blk(struct check *c, const struct map_node_view *leaf, uint64_t blk,
		      uint32_t csum)
{
	if (c->counts[blk] == 0)
		c->csums[blk] = csum;
	else if (c->csums[blk] != csum)
		check_differ(c, check_queued(c, CHECK_CLAIM),
			     "leaf %" PRIu64 " maps physical block %" PRIu64
			     " with checksum %08" PRIx32 ", another with %08" PRIx32,
			     leaf->id, blk, csum, c->csums[blk]);
}

static void claim_run(struct check *c, const struct map_node_view *leaf,
		      const struct map_leaf_run *run)
{
	const uint8_t *csums = map_node_run_at(leaf, run->slot).csums;

	for (unsigned int b = 0; b < run->nblks; b++) {
		claim_blk(c, leaf, run->blk + b, le32_get(csums + b * sizeof(uint32_t)));
		c->counts[run->blk + b]++;
	}
}

/* Each slot counts, as in the definition of xref. */
void check_count_leaf(struct check *c, const struct map_node_view *leaf)
{
	for (unsigned int i = 0; i < leaf->nextents; i++) {
		struct map_leaf_run run = map_node_run(leaf, i);

		if (run.blk + run.nblks > c->dev_nblks) {
			check_differ(c, check_queued(c, CHECK_LEAF),
				     "leaf %" PRIu64 " maps physical block %" PRIu64
				     ", beyond the end of the device",
				     leaf->id, run.blk + run.nblks - 1);
			continue;
		}
		if (run.blk < c->first_blk)
			check_differ(c, check_queued(c, CHECK_LEAF),
				     "leaf %" PRIu64 " maps physical block %" PRIu64
				     ", which is the journal's",
				     leaf->id, run.blk);
		if (c->claims)
			claim_run(c, leaf, &run);
		for (unsigned int b = 0; b < run.nblks && !c->claims; b++)
			c->counts[run.blk + b]++;
	}
}

void check_share_leaf(struct check *c, const struct map_node_view *leaf)
{
	for (unsigned int i = 0; i < leaf->nextents; i++) {
		struct map_leaf_run run = map_node_run(leaf, i);

		if (run.blk + run.nblks > c->dev_nblks)
			continue;
		for (unsigned int b = 0; b < run.nblks; b++)
			c->totals.shared_nblks += c->counts[run.blk + b] == 1;
	}
}

uint64_t check_single_blks(const struct check *c, const struct map_node_view *leaf)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < leaf->nextents; i++) {
		struct map_leaf_run run = map_node_run(leaf, i);

		if (run.blk + run.nblks > c->dev_nblks)
			continue;
		for (unsigned int b = 0; b < run.nblks; b++)
			n += c->counts[run.blk + b] == 1;
	}
	return n;
}

uint64_t check_same_count(const struct check *c, uint64_t blk, uint64_t end)
{
	uint64_t n = 1;

	while (blk + n < end && c->counts[blk + n] == c->counts[blk])
		n++;
	return n;
}

/* A range must begin behind the one before and end within the device. */
static bool range_fits(struct check *c, uint64_t pos, uint64_t blk, uint64_t nblks)
{
	if (nblks > 0 && blk >= pos && blk < c->dev_nblks && nblks <= c->dev_nblks - blk)
		return true;
	check_differ(c, CHECK_FREE_SHAPE,
		     "free range %" PRIu64 "+%" PRIu64
		     " is empty, overlaps the one before or is not on the device",
		     blk, nblks);
	return false;
}

/* xref says, by saying nothing, that [pos, end) is mapped once or not at all. */
static void xref_gap(struct check *c, uint64_t pos, uint64_t end)
{
	uint64_t n;

	for (; pos < end; pos += n) {
		n = check_same_count(c, pos, end);
		if (c->counts[pos] > 1)
			check_differ(c, CHECK_XREF_LOW,
				     "xref has no count of blocks %" PRIu64 "+%" PRIu64
				     ", which %" PRIu32 " slots map",
				     pos, n, c->counts[pos]);
	}
}

static void xref_range(struct check *c, uint64_t pos, uint64_t end, uint64_t count)
{
	uint64_t n;

	for (; pos < end; pos += n) {
		n = check_same_count(c, pos, end);
		if (c->counts[pos] != count)
			check_differ(c, count < c->counts[pos] ? CHECK_XREF_LOW : CHECK_XREF_HIGH,
				     "xref says %" PRIu64 " slots map blocks %" PRIu64 "+%" PRIu64
				     ", there are %" PRIu32,
				     count, pos, n, c->counts[pos]);
	}
}

static void xref_chunk(struct check *c, uint64_t chunk, const uint64_t counts[MAP_COUNTS])
{
	uint64_t first = chunk * MAP_COUNTS;
	unsigned int end = MAP_COUNTS;
	unsigned int n;

	if (first >= c->dev_nblks)
		end = 0;
	else if (c->dev_nblks - first < MAP_COUNTS)
		end = (unsigned int)(c->dev_nblks - first);
	for (unsigned int s = end; s < MAP_COUNTS; s++)
		if (counts[s] > 1)
			check_differ(c, CHECK_XREF_HIGH,
				     "xref has a count of block %" PRIu64
				     ", which is not on the device",
				     first + s);
	if (end == 0)
		return;
	xref_gap(c, c->pos, first);
	for (unsigned int s = 0; s < end; s += n) {
		for (n = 1; s + n < end && counts[s + n] == counts[s]; n++)
			;
		if (counts[s] > 1)
			xref_range(c, first + s, first + s + n, counts[s]);
		else
			xref_gap(c, first + s, first + s + n);
	}
	c->pos = first + end;
}

int check_xref_table(struct check *c)
{
	int err;

	c->pos = 0;
	err = check_counts(c, KV_XREF, xref_chunk);
	if (!err)
		xref_gap(c, c->pos, c->dev_nblks);
	return err;
}

/* [pos, end) is not free. */
static void free_gap(struct check *c, uint64_t pos, uint64_t end)
{
	uint64_t n;

	for (; pos < end; pos += n) {
		n = check_same_count(c, pos, end);
		if (c->counts[pos] == 0)
			check_differ(c, CHECK_FREE_LEAK,
				     "blocks %" PRIu64 "+%" PRIu64 " are neither mapped nor free",
				     pos, n);
		else
			c->totals.mapped_nblks += n;
		if (c->counts[pos] > 1)
			c->totals.shared_nblks += n;
	}
}

static void free_range(struct check *c, uint64_t pos, uint64_t end)
{
	uint64_t n;

	for (; pos < end; pos += n) {
		n = check_same_count(c, pos, end);
		if (c->counts[pos] > 0)
			check_differ(c, CHECK_FREE_MAPPED,
				     "blocks %" PRIu64 "+%" PRIu64 " are free, but %" PRIu32
				     " slots map them",
				     pos, n, c->counts[pos]);
	}
}

static int free_entry(struct check *c, uint64_t blk, struct kv_buf val)
{
	uint64_t nblks = le64_get(((const struct disk_free *)val.data)->nblks);

	if (!range_fits(c, c->pos, blk, nblks))
		return 0;
	if (blk == c->pos && c->pos_joins)
		check_differ(c, CHECK_FREE_SHAPE,
			     "free range %" PRIu64 "+%" PRIu64 " is not one with its neighbour",
			     blk, nblks);
	free_gap(c, c->pos, blk);
	free_range(c, blk, blk + nblks);
	c->totals.free_nblks += nblks;
	c->pos = blk + nblks;
	c->pos_joins = true;
	return 0;
}

int check_free_table(struct check *c)
{
	int err;

	c->pos = c->first_blk;
	c->pos_joins = false;
	err = check_each(c, KV_FREE, sizeof(struct disk_free), free_entry);
	if (!err)
		free_gap(c, c->pos, c->dev_nblks);
	return err;
}
