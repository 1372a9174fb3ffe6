/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mapfile.h: the map's file as it was at some moment between LMDB's commits, in memory, and on a file
 * system in memory.
 */
#ifndef TESTS_SIM_MAPFILE_H
#define TESTS_SIM_MAPFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/rnd.h"
#include "tests/sim/image.h"

/* Zeroed: none yet. */
struct mapfile {
	struct image pages;
};

/* Takes what is there in place of what it has. */
void mapfile_take(struct mapfile *mf, const char *path);

/* Makes the file anew. */
void mapfile_put(const struct mapfile *mf, const char *path);

/* In place of what dst has. */
void mapfile_copy(struct mapfile *dst, const struct mapfile *src);
void mapfile_fini(struct mapfile *mf);

/*
 * A file that one state after the other is put into and taken from.  It stays mapped, so that only what
 * differs is copied.  Zeroed: none yet.
 */
struct mapplace {
	char path[128];
	struct mapfile has;
	uint8_t *mem;
	uint64_t commits; /* LMDB's, as of when "has" was found to be true */
};

/* The file may be open meanwhile only if it is not used any more. */
void mapplace_put(struct mapplace *place, const struct mapfile *mf, const char *path);
void mapplace_take(struct mapplace *place, struct mapfile *mf);
void mapplace_fini(struct mapplace *place);

/* LMDB's commits so far, of whatever environment. */
uint64_t mapfile_commits(void);

/* Of LMDB's commits one in n fails: half of these have been made nevertheless.  NULL: none fails. */
void mapfile_fail(struct rnd *rnd, uint32_t one_in);

#endif
