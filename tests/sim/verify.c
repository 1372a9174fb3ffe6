/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/check.h"
#include "server/recover.h"
#include "tests/lib/must.h"
#include "tests/sim/sched.h"
#include "tests/sim/simdev.h"

#define RECRASHES   2u
#define DATA_CHECKS 16u

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
static void verify_found_blks(const struct image *image, const struct map_lookup *blks,
			      const uint32_t *csums, struct verify_found *f, uint64_t at)
{
	for (uint64_t i = 0; i < blks->nblks; i++) {
		MUST(image_csum(image, blks->src.blk.n + i) == csums[i],
		     "block %llu of the device is not what is mapped there",
		     (unsigned long long)(blks->src.blk.n + i));
		f->state.csums[at + i] = csums[i] == image_zeros_csum() ? 0 : csums[i];
		f->at[at + i] = blks->src.blk.n + i;
	}
}

static void verify_state(struct map_view *view, const struct image *image,
			 const struct map_obj *info, struct verify_found *f)
{
	uint64_t mapped = 0;
	uint64_t blk = 0;

	f->state.size = info->size_bytes;
	while (blk < HISTORY_BLKS) {
		uint32_t csums[HISTORY_BLKS];
		struct map_lookup found;

		MUST(map_begin(view, info->id, lblk(blk), HISTORY_BLKS - blk, MAP_FOR_READ, &found,
			       csums) == 0,
		     "look-up");
		if (found.src.kind == MAP_MAPPED) {
			verify_found_blks(image, &found, csums, f, blk);
			mapped += found.nblks;
		}
		blk += found.nblks;
	}
	MUST(mapped == info->mapped_nblks, "%s has blocks where none can be", info->name);
}

static void verify_obj(struct map_view *view, const struct image *image,
		       const struct history_obj *o, struct verify_found *f)
{
	struct map_obj info;
	uint32_t k;
	int err;

	*f = (struct verify_found){0};
	if (o->life == HISTORY_NONE)
		return;
	err = map_obj_by_name(view, o->spec, &info);
	MUST(err == 0 || (err == -ERR_NOENT && o->life != HISTORY_THERE), "%s: %s", o->spec,
	     err_name(err));
	if (err < 0)
		return;
	f->there = true;
	verify_state(view, image, &info, f);
	MUST(history_allows(o, &f->state, &k), "%s is as it never was: size %llu", o->spec,
	     (unsigned long long)f->state.size);
}

static void verify_objs(struct map *map, const struct image *image, const struct history *history,
			struct verify_found *found)
{
	const struct history_state *states[HISTORY_OBJS];
	struct map_space space;
	struct map_view *view;
	uint64_t n = 0;

	MUST(map_view_begin(map, &view) == 0, "a view");
	for (unsigned int i = 0; i < HISTORY_OBJS; i++) {
		verify_obj(view, image, &history->objs[i], &found[i]);
		n += found[i].there;
		states[i] = found[i].there ? &found[i].state : NULL;
	}
	MUST(history_allows_units(history, states), "a change of several objects is there in part");
	MUST(history_allows_tied(history, states), "objects that are tied show different moments");
	MUST(map_get_space(view, &space) == 0 && space.objects + space.versions == n,
	     "objects that nobody has made");
	map_view_end(view);
}

/*
 * The checker's own walk through the data, which reads each block and computes its checksum, is made of
 * one state in DATA_CHECKS: verify_objs() compares the same.
 */
static void verify_map(struct map *map, struct dev *dev)
{
	static unsigned int states;
	struct check_totals totals;

	MUST(check_map(map, verify_report, NULL, &totals) == 0, "the checker");
	if (states++ % DATA_CHECKS > 0)
		return;
	MUST(check_data(map, verify_read, verify_report, dev, &totals) == 0, "checksums of data");
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
	if (!sd->off) {
		verify_map(map, &sd->dev);
		verify_objs(map, &sd->now, history, found);
	}
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
