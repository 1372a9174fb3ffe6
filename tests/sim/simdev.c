/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/simdev.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sim/sched.h"

static void simdev_yield(const struct simdev *sd)
{
	if (sd->yields)
		sched_yield_here();
}

static bool simdev_fails(struct simdev *sd, enum simdev_op op)
{
	uint32_t n = sd->fail_one_in[op];

	if (n == 0 || !rnd_one_in(&sd->rnd, n))
		return false;
	sd->failed++;
	return true;
}

static int simdev_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct simdev *sd = CONTAINER_OF(dev, struct simdev, dev);
	uint64_t at = blk.n;

	simdev_yield(sd);
	if (simdev_fails(sd, SIMDEV_READ))
		return -ERR_IO;
	for (int i = 0; i < iovcnt; i++) {
		uint8_t *p = iov[i].iov_base;

		MUST(iov[i].iov_len % BLK_BYTES == 0, "whole blocks");
		for (size_t off = 0; off < iov[i].iov_len; off += BLK_BYTES)
			image_read(&sd->now, at++, p + off);
	}
	simdev_yield(sd);
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* One block of a call, into the volatile cache. */
static void simdev_write_blk(struct simdev *sd, uint64_t call, uint64_t blk, const uint8_t *bytes)
{
	struct simdev_write *w = oom_calloc(1, sizeof(*w));

	MUST(blk > 0 && blk < sd->now.nblks, "no such block to be written");
	w->blk = blk;
	w->call = call;
	w->bytes = image_blk_new(bytes);
	image_put(&sd->now, blk, w->bytes, IMAGE_ALL);
	TAILQ_INSERT_TAIL(&sd->writes, w, link);
	sd->moves++;
}

/* What fails, or has the power go meanwhile, may do some of it. */
static bool simdev_does(struct simdev *sd, uint64_t call, bool fails)
{
	if (sd->off && call != sd->off_at)
		return false;
	return !fails || rnd_one_in(&sd->rnd, 2);
}

static int simdev_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct simdev *sd = CONTAINER_OF(dev, struct simdev, dev);
	uint64_t call = ++sd->changes;
	bool fails = simdev_fails(sd, SIMDEV_WRITE);
	struct simdev_write *w;
	uint64_t at = blk.n;

	sd->off = sd->off || call == sd->off_at;
	simdev_yield(sd);
	for (int i = 0; i < iovcnt; i++) {
		const uint8_t *p = iov[i].iov_base;

		MUST(iov[i].iov_len % BLK_BYTES == 0, "whole blocks");
		for (size_t off = 0; off < iov[i].iov_len; off += BLK_BYTES, at++) {
			if (simdev_does(sd, call, fails || sd->off))
				simdev_write_blk(sd, call, at, p + off);
			if (rnd_one_in(&sd->rnd, 4))
				simdev_yield(sd);
		}
	}
	TAILQ_FOREACH (w, &sd->writes, link)
		w->whole = w->whole || w->call == call;
	simdev_yield(sd);
	return fails || sd->off ? -ERR_IO : 0;
}

/* ---- syncing --------------------------------------------------------------------------------- */

/* Brings a write to the durable copy, or these sectors of it. */
static void simdev_land(struct simdev *sd, struct simdev_write *w, uint32_t sectors)
{
	image_put(&sd->durable, w->blk, w->bytes, sectors);
	TAILQ_REMOVE(&sd->writes, w, link);
	image_blk_put(w->bytes);
	free(w);
	sd->moves++;
}

static uint32_t simdev_some_sectors(struct rnd *rnd)
{
	return (uint32_t)rnd_below(rnd, IMAGE_ALL + 1);
}

static int simdev_sync(struct dev *dev)
{
	struct simdev *sd = CONTAINER_OF(dev, struct simdev, dev);
	uint64_t call = ++sd->changes;
	bool fails = simdev_fails(sd, SIMDEV_SYNC);
	struct simdev_write *w;
	struct simdev_write *next;

	sd->off = sd->off || call == sd->off_at;
	if (sd->off)
		return -ERR_IO;
	TAILQ_FOREACH (w, &sd->writes, link)
		w->covered = w->whole;
	simdev_yield(sd); /* what has landed by now a power cut decides */
	simdev_yield(sd);
	TAILQ_FOREACH_SAFE (w, &sd->writes, link, next)
		if (w->covered)
			simdev_land(sd, w, fails ? simdev_some_sectors(&sd->rnd) : IMAGE_ALL);
	simdev_yield(sd);
	return fails ? -ERR_IO : 0;
}

/* ---- the device ------------------------------------------------------------------------------ */

static void simdev_close(struct dev *dev)
{
	struct simdev *sd = CONTAINER_OF(dev, struct simdev, dev);
	struct simdev_write *w;

	while ((w = TAILQ_FIRST(&sd->writes)))
		simdev_land(sd, w, 0);
	image_fini(&sd->now);
	image_fini(&sd->durable);
	free(sd);
}

static const struct dev_ops simdev_ops = {
    .read = simdev_read,
    .write = simdev_write,
    .sync = simdev_sync,
    .close = simdev_close,
};

struct simdev *simdev_new(const struct image *image, uint64_t seed)
{
	struct simdev *sd = oom_calloc(1, sizeof(*sd));

	sd->dev.ops = &simdev_ops;
	sd->dev.nblks = image->nblks;
	image_copy(&sd->now, image);
	image_copy(&sd->durable, image);
	TAILQ_INIT(&sd->writes);
	sd->rnd = (struct rnd){seed};
	return sd;
}

bool simdev_is_still(const struct simdev *sd)
{
	return TAILQ_EMPTY(&sd->writes);
}

void simdev_cut(const struct simdev *sd, struct rnd *rnd, struct image *left)
{
	uint64_t way = rnd_below(rnd, 5); /* none, all, torn, whole ones, up to one of them */
	uint64_t upto = 0;
	struct simdev_write *w;

	image_copy(left, &sd->durable);
	if (way == 4)
		upto = rnd_below(rnd, 64);
	TAILQ_FOREACH (w, &sd->writes, link) {
		uint32_t sectors = 0;

		if (way == 1 || (way == 3 && rnd_one_in(rnd, 2)) || (way == 4 && upto-- > 0))
			sectors = IMAGE_ALL;
		else if (way == 2)
			sectors = simdev_some_sectors(rnd);
		else if (way == 4)
			break;
		if (sectors > 0)
			image_put(left, w->blk, w->bytes, sectors);
	}
}
