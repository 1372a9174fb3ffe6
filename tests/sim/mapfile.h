/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mapfile.h: the map's file as it was at some moment between LMDB's commits, in memory, and on a file
 * system in memory.
 */
#ifndef TESTS_SIM_MAPFILE_H
#define TESTS_SIM_MAPFILE_H

#include <stddef.h>
#include <stdint.h>

#include "tests/lib/rnd.h"

struct mapfile {
	uint8_t *bytes; /* without the zeros at its end */
	size_t len;
	size_t cap;
	uint64_t file_bytes;
};

/* Zeroed before the first time; takes what is there in place of what it has. */
void mapfile_take(struct mapfile *mf, const char *path);
void mapfile_put(const struct mapfile *mf, const char *path);
void mapfile_copy(struct mapfile *dst, const struct mapfile *src);
void mapfile_fini(struct mapfile *mf);

/* Of LMDB's commits one in n fails: half of these have been made nevertheless.  NULL: none fails. */
void mapfile_fail(struct rnd *rnd, uint32_t one_in);

#endif
