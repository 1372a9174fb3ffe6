/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simdev.h: a data device in memory with a volatile write cache.  A write is seen at once and durable
 * with a sync that began after it; until then a power cut may leave any of its sectors, and of several
 * writes any.  Its calls give way to other threads (sched.h), so that they overlap.
 *
 * A write that fails leaves any part of what it should have written.  A sync that fails brings any part
 * of what was written to the durable copy, and the rest never: as a kernel that has dropped the pages it
 * could not write.
 */
#ifndef TESTS_SIM_SIMDEV_H
#define TESTS_SIM_SIMDEV_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/dev.h"
#include "tests/lib/rnd.h"
#include "tests/sim/image.h"

struct simdev_write {
	TAILQ_ENTRY(simdev_write) link;
	uint64_t blk;
	struct image_blk *bytes;
	uint64_t call; /* that it is part of */
	bool whole;    /* which has ended */
	bool covered;  /* by the sync under way */
};

TAILQ_HEAD(simdev_writes, simdev_write);

struct simdev {
	struct dev dev;
	struct image now;	     /* what a read returns */
	struct image durable;	     /* what a power cut leaves for sure */
	struct simdev_writes writes; /* that are in neither, in order */
	struct rnd rnd;
	bool yields;
	uint32_t fail_one_in[3]; /* reads, writes, syncs; 0: none fails */
	uint64_t changes;	 /* calls of write and sync so far */
	uint64_t off_at;	 /* the power goes in that one; 0: in none */
	bool off;
	uint64_t failed; /* calls so far */
	uint64_t moves;	 /* of blocks: into the cache, and from there to the durable copy */
};

enum simdev_op { SIMDEV_READ, SIMDEV_WRITE, SIMDEV_SYNC };

/* Begins with this content, all of it durable. */
struct simdev *simdev_new(const struct image *image, uint64_t seed);

/* Nothing is in the volatile cache alone. */
bool simdev_is_still(const struct simdev *sd);

/* A state that a power cut now may leave, into "left", which was not initialized. */
void simdev_cut(const struct simdev *sd, struct rnd *rnd, struct image *left);

#endif
