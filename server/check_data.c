/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data: each block that some object maps, read once, against its checksum in the leaf.  The
 * walk goes from the objects down, so that what is wrong can be said of an object and an offset; a
 * leaf that several objects share is read for the first of them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/check_priv.h"

struct check_data {
	struct check c;
	check_read_fn read;
	uint8_t *buf; /* of a leaf's blocks */
	uint64_t oid; /* of the object that the walk is in */
	char name[4 * NAME_MAX_BYTES + 3];
};

/* A run of a leaf whose first slot is block "first" of the object. */
static void data_run(struct check_data *d, uint64_t first, const struct map_leaf_run *run)
{
	uint64_t offset = (first + run->slot) << BLK_SHIFT;
	int err = d->read(d->c.ctx, pblk(run->blk), run->nblks, d->buf);

	if (err) {
		check_differ(&d->c, CHECK_DATA,
			     "object %" PRIu64 " %s offset %" PRIu64 ": %u blocks at block %" PRIu64
			     " of the device cannot be read: %s",
			     d->oid, d->name, offset, run->nblks, run->blk, err_text(err));
		return;
	}
	for (unsigned int i = 0; i < run->nblks; i++) {
		uint32_t want = le32_get(run->csums + i * sizeof(uint32_t));
		uint32_t have = crc32c(0, d->buf + (size_t)i * BLK_BYTES, BLK_BYTES);

		if (want != have)
			check_differ(&d->c, CHECK_DATA,
				     "object %" PRIu64 " %s offset %" PRIu64 ": block %" PRIu64
				     " of the device has checksum %08" PRIx32
				     " instead of %08" PRIx32,
				     d->oid, d->name, offset + i * (uint64_t)BLK_BYTES,
				     run->blk + i, have, want);
		d->c.totals.verified_nblks++;
	}
}

static void data_leaf(struct check_data *d, uint64_t first, const struct map_node_view *leaf)
{
	for (unsigned int s = 0; s < MAP_FANOUT;) {
		struct map_leaf_run run = map_node_run_at(leaf, s);

		if (run.blk)
			data_run(d, first, &run);
		s += run.nblks;
	}
}

/*
 * The subtree that begins at block "first" of the object.  What is damaged is for check_map() to
 * report.  Recursive, as deep as the tree is high.
 */
static int data_node(struct check_data *d, uint64_t id, unsigned int level, uint64_t first)
{
	struct map_node_view node;
	bool fresh;
	int err = check_see(&d->c, id, &fresh);

	if (err || !fresh)
		return err;
	err = map_node_read(d->c.view->kv, id, &node);
	if (err == -ERR_NODE || (!err && node.level != level))
		return 0;
	if (err)
		return err;
	if (level == 0) {
		data_leaf(d, first, &node);
		return 0;
	}
	for (unsigned int s = 0; s < MAP_FANOUT && !err; s++)
		if (map_node_has_child(&node, s))
			err = data_node(d, map_node_child(&node, s), level - 1,
					first + s * map_slot_nblks(level));
	return err;
}

static int data_object(struct check *c, uint64_t oid, struct kv_buf val)
{
	struct check_data *d = CONTAINER_OF(c, struct check_data, c);
	struct map_key key = map_key(oid);
	struct map_object obj;

	if (map_object_found(map_key_buf(&key), val, &obj) || obj.root == 0)
		return 0;
	d->oid = oid;
	log_quote(d->name, sizeof(d->name), obj.pub.name);
	return data_node(d, obj.root, obj.height - 1, 0);
}

int check_data(struct map *map, check_read_fn read, check_report_fn report, void *ctx,
	       struct check_totals *totals)
{
	struct check_data d = {.c = {.report = report,
				     .ctx = ctx,
				     .owners = STAILQ_HEAD_INITIALIZER(d.c.owners),
				     .nodes = RB_INITIALIZER(0)},
			       .read = read};
	int err;

	if (posix_memalign((void **)&d.buf, BLK_BYTES, (size_t)MAP_FANOUT * BLK_BYTES))
		return -ERR_NOMEM;
	err = map_view_begin(map, &d.c.view);
	if (!err) {
		err = check_each(&d.c, KV_OBJ, sizeof(struct disk_obj), data_object);
		map_view_end(d.c.view);
	}
	check_nodes_free(&d.c);
	free(d.buf);
	if (err)
		return err;
	*totals = (struct check_totals){.verified_nblks = d.c.totals.verified_nblks};
	return check_result(&d.c, 0);
}
