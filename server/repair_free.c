/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free space: becomes the complement of what the leaves map; or, where some leaf may not be known, loses
 * what one of them maps.
 */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/repair_priv.h"

/* ---- the complement -------------------------------------------------------------------------- */

/* The first run of blocks from blk on that nothing maps; at the end it is empty. */
static struct map_run free_next(const struct check *c, uint64_t blk)
{
	while (blk < c->dev_nblks && c->counts[blk] > 0)
		blk += check_same_count(c, blk, c->dev_nblks);
	return (struct map_run){
	    .at = blk, .n = blk < c->dev_nblks ? check_same_count(c, blk, c->dev_nblks) : 0};
}

/* All entries behind pos go, but those from "end" on, where there is an end. */
static int free_drop(struct repair *r, struct check_pos pos, const uint64_t *end)
{
	struct map_key key = map_key(end ? *end : 0);
	struct kv_buf val;
	int err;

	while (!(err = repair_next(r, KV_FREE, &pos, &val))) {
		/* who has a key of another length is not to stay, wherever it is */
		if (end && pos.len == sizeof(key.bytes) &&
		    memcmp(pos.bytes, key.bytes, sizeof(key.bytes)) >= 0)
			break;
		err = repair_drop(r, KV_FREE, &pos);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

static int free_put(struct repair *r, const struct map_run *run)
{
	struct disk_free disk = {0};
	struct kv_buf val;
	int err = map_num_get(r->txn->kv, KV_FREE, run->at, sizeof(disk), &val);

	if (!err && le64_get(((const struct disk_free *)val.data)->nblks) == run->n)
		return 0;
	if (err && err != -ERR_NOENT && err != -ERR_NODE)
		return err;
	le64_put(disk.nblks, run->n);
	map_num_put(r->txn->kv, KV_FREE, run->at, &disk, sizeof(disk));
	return repair_step(r);
}

static struct check_pos free_pos(uint64_t blk)
{
	struct map_key key = map_key(blk);
	struct check_pos pos = {.len = sizeof(key.bytes)};

	memcpy(pos.bytes, key.bytes, sizeof(key.bytes));
	return pos;
}

/* In the order of the device, and what lies in a range goes before it is put: wherever it ends in
 * between, no block is in two ranges. */
static int free_rebuild(struct repair *r)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct map_run run = free_next(&r->c, r->c.first_blk);
	int err = 0;

	for (; run.n > 0 && !err; run = free_next(&r->c, run.at + run.n)) {
		uint64_t end = run.at + run.n;

		err = free_drop(r, pos, &run.at);
		pos = free_pos(run.at);
		if (!err)
			err = free_drop(r, pos, &end);
		if (!err)
			err = free_put(r, &run);
		r->free_nblks += run.n;
	}
	return err ? err : free_drop(r, pos, NULL);
}

/* ---- or less --------------------------------------------------------------------------------- */

/* Takes out what is mapped of one range. */
static int free_take(struct repair *r, uint64_t blk, uint64_t end)
{
	uint64_t n;
	int err = 0;

	for (; blk < end && !err; blk += n) {
		n = check_same_count(&r->c, blk, end);
		if (r->c.counts[blk] == 0)
			continue;
		err = map_free_take(r->txn->kv, blk, n);
		if (err)
			break;
		map_txn_state(r->txn)->free_nblks -= n;
		err = repair_step(r);
	}
	return err;
}

static int free_lose(struct repair *r)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	int err;

	while (!(err = repair_next(r, KV_FREE, &pos, &val))) {
		uint64_t blk = be64_get(pos.bytes);

		err =
		    free_take(r, blk, blk + le64_get(((const struct disk_free *)val.data)->nblks));
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

int repair_free(struct repair *r)
{
	if (!r->torn)
		return free_rebuild(r);
	if (r->faults[CHECK_FREE_VALUE] || r->faults[CHECK_FREE_SHAPE])
		return 0;
	return free_lose(r);
}
