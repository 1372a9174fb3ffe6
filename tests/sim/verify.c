/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/check.h"
#include "server/map_priv.h"
#include "server/recover.h"
#include "tests/lib/must.h"
#include "tests/sim/sched.h"
#include "tests/sim/simdev.h"

#define RECRASHES 2u
#define THOROUGH  16u

static struct mapplace place;

void left_fini(struct left *left)
{
	image_fini(&left->image);
	mapfile_fini(&left->map);
}

static void verify_report(void *ctx, const char *text)
{
	(void)ctx;
	(void)fprintf(stderr, "difference: %s\n", text);
}

static int verify_read(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct iovec iov = {buf, nblks * BLK_BYTES};

	return dev_read(ctx, blk, &iov, 1);
}

/* ---- what is there --------------------------------------------------------------------------- */

/* Each of the blocks has its checksum; here the sum of a block is computed once for all states. */
static void verify_run(const struct image *image, const struct map_leaf_run *run,
		       struct verify_found *f)
{
	for (unsigned int i = 0; i < run->nblks; i++) {
		uint32_t csum = le32_get(run->csums + (size_t)i * sizeof(csum));
		uint64_t at = run->blk + i;

		MUST(image_csum(image, at) == csum,
		     "block %llu of the device is not what is mapped there",
		     (unsigned long long)at);
		f->state.csums[run->slot + i] = csum == image_zeros_csum() ? 0 : csum;
		f->at[run->slot + i] = at;
	}
}

/* Of the first leaf, which has all blocks of any object. */
static uint64_t verify_leaf(const struct map_node_view *leaf, const struct image *image,
			    struct verify_found *f)
{
	uint64_t mapped = 0;

	for (unsigned int s = 0; s < HISTORY_BLKS;) {
		struct map_leaf_run run = map_node_run_at(leaf, s);

		s += run.nblks;
		if (run.blk == 0)
			continue;
		MUST(s <= HISTORY_BLKS, "blocks where none can be");
		verify_run(image, &run, f);
		mapped += run.nblks;
	}
	return mapped;
}

static void verify_state(struct map_view *view, const struct image *image, uint64_t oid,
			 struct verify_found *f)
{
	struct map_object obj;
	struct map_node_view node;
	uint64_t mapped = 0;
	uint64_t id;

	MUST(map_object_read(view->kv, oid, &obj) == 0, "an object");
	f->state.size = obj.pub.size_bytes;
	id = obj.root;
	for (unsigned int level = obj.height; id > 0 && level-- > 0;) {
		MUST(map_node_read(view->kv, id, &node) == 0 && node.level == level, "a node");
		if (level == 0)
			mapped = verify_leaf(&node, image, f);
		else
			id = map_node_child(&node, 0);
	}
	MUST(mapped == obj.pub.mapped_nblks, "blocks where none can be");
}

/* By the look-ups that the engine makes it is the same. */
static void verify_look_ups(struct map_view *view, uint64_t oid, const struct verify_found *f)
{
	struct map_lookup found;

	for (uint64_t b = 0; b < HISTORY_BLKS; b += found.nblks) {
		MUST(map_begin(view, oid, lblk(b), HISTORY_BLKS - b, MAP_FOR_READ, &found, NULL) ==
			 0,
		     "look-up");
		for (uint64_t i = 0; i < found.nblks; i++)
			MUST(f->at[b + i] ==
				 (found.src.kind == MAP_MAPPED ? found.src.blk.n + i : 0),
			     "a look-up finds another block");
	}
}

static void verify_obj(struct map_view *view, const struct image *image,
		       const struct history_obj *o, bool thorough, struct verify_found *f)
{
	struct map_obj info;
	int err;

	*f = (struct verify_found){0};
	if (o->life == HISTORY_NONE)
		return;
	err = map_obj_by_name(view, o->spec, &info);
	MUST(err == 0 || err == -ERR_NOENT, "%s: %s", o->spec, err_name(err));
	if (err < 0)
		return;
	f->there = true;
	f->attrs = (struct history_attrs){.reserved_nblks = info.reserved_nblks,
					  .expires_ns = info.expires_ns,
					  .readonly = info.readonly};
	verify_state(view, image, info.id, f);
	if (thorough)
		verify_look_ups(view, info.id, f);
}

static void verify_obj_again(const struct history_obj *o, const struct verify_found *f)
{
	uint32_t k;

	MUST(!f->there || o->life != HISTORY_NONE, "%s is there again", o->spec);
	MUST(f->there || o->life != HISTORY_THERE || history_is_late(o, sched_now_ns()),
	     "%s is gone", o->spec);
	MUST(!f->there || history_allows_attrs(o, &f->attrs), "%s has attributes that it never had",
	     o->spec);
	MUST(!f->there || history_allows(o, &f->state, &k), "%s is as it never was: size %llu",
	     o->spec, (unsigned long long)f->state.size);
}

void verify_again(const struct history *history, const struct verify_found *found)
{
	const struct history_state *states[HISTORY_OBJS];

	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		verify_obj_again(&history->objs[i], &found[i]);
		states[i] = found[i].there ? &found[i].state : NULL;
	}
	MUST(history_allows_units(history, states), "a change of several objects is there in part");
	MUST(history_allows_tied(history, states), "objects that are tied show different moments");
}

static void verify_objs(struct map *map, const struct image *image, const struct history *history,
			bool thorough, struct verify_found *found)
{
	struct map_space space;
	struct map_view *view;
	uint64_t n = 0;

	MUST(map_view_begin(map, &view) == 0, "a view");
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		verify_obj(view, image, &history->objs[i], thorough, &found[i]);
		n += found[i].there;
	}
	verify_again(history, found);
	MUST(map_get_space(view, &space) == 0 && space.objects + space.versions == n,
	     "objects that nobody has made");
	map_view_end(view);
}

static void verify_map(struct map *map, struct dev *dev, bool thorough)
{
	struct check_totals totals;

	MUST(check_map(map, verify_report, NULL, &totals) == 0, "the checker");
	MUST(!thorough || check_data(map, verify_read, verify_report, dev, &totals) == 0,
	     "checksums of data");
}

/*
 * One state in THOROUGH is judged in two ways: by the checker's own walk through the data, which reads
 * each block and computes its checksum, and by the engine's look-ups.
 */
static void verify_all(struct map *map, struct simdev *sd, const struct history *history,
		       struct verify_found *found)
{
	static unsigned int states;
	bool thorough = states++ % THOROUGH == 0;

	verify_map(map, &sd->dev, thorough);
	verify_objs(map, &sd->now, history, thorough, found);
}

/* ---- recovering ------------------------------------------------------------------------------ */

/* One attempt; false: the power has gone in the middle. */
static bool verify_recover(struct left *left, const char *path, struct rnd *rnd, bool cut,
			   const struct history *history, struct verify_found *found)
{
	struct simdev *sd = simdev_new(&left->image, rnd_u64(rnd));
	struct recover_result result;
	struct map *map;
	int err;

	mapplace_put(&place, &left->map, path);
	MUST(map_open(path, &map) == 0, "the map");
	sd->off_at = cut ? 1 + rnd_below(rnd, 6) : 0;
	err = recover_run(map, &sd->dev, &result);
	MUST(err == 0 || sd->off, "recovery: %s", err_name(err));
	if (!sd->off)
		verify_all(map, sd, history, found);
	map_close(map);
	mapplace_take(&place, &left->map);
	image_fini(&left->image);
	simdev_cut(sd, rnd, &left->image);
	cut = sd->off;
	dev_close(&sd->dev);
	return !cut;
}

unsigned int verify(struct left *left, const char *path, const struct history *history,
		    struct rnd *rnd, struct verify_found *found)
{
	enum thread_role role = thread_role();
	unsigned int n = 1;

	sched_pause(true);
	while (
	    !verify_recover(left, path, rnd, n <= RECRASHES && rnd_one_in(rnd, 4), history, found))
		n++;
	sched_pause(false);
	thread_set_role(role);
	return n;
}

void verify_bytes(const struct left *left, const struct verify_found *found, uint8_t *bytes)
{
	memset(bytes, 0, HISTORY_BYTES);
	for (unsigned int b = 0; b < HISTORY_BLKS; b++)
		if (found->at[b] > 0)
			image_read(&left->image, found->at[b], bytes + (size_t)b * BLK_BYTES);
}
