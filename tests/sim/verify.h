/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verify.h: recovers from what a power cut has left, and judges what is there then: the checker finds no
 * difference, each mapped block has its checksum, and each object is as its history allows.
 */
#ifndef TESTS_SIM_VERIFY_H
#define TESTS_SIM_VERIFY_H

#include "tests/lib/rnd.h"
#include "tests/sim/history.h"
#include "tests/sim/image.h"
#include "tests/sim/mapfile.h"

/* What a power cut has left; changed by who recovers from it. */
struct left {
	struct image image;
	struct mapfile map;
};

void left_fini(struct left *left);

/* What was found of one object. */
struct verify_found {
	bool there;
	struct history_state state;
	struct history_attrs attrs;
	uint64_t at[HISTORY_BLKS]; /* where its blocks are on the device; 0: nowhere */
};

/*
 * Recovers, in up to three attempts of which each but the last is cut off by another power cut, and
 * judges.  "left" holds what recovery has made of it.  "found" has HISTORY_OBJS places.  "path": for the
 * map.  Ends the program where something is wrong.  Returns how many states were recovered from.
 */
unsigned int verify(struct left *left, const char *path, const struct history *history,
		    struct rnd *rnd, struct verify_found *found);

/* Judges again what was found, by what the history is meanwhile: as verify() does. */
void verify_again(const struct history *history, const struct verify_found *found);

/* The bytes of an object, HISTORY_BYTES, of the state that was verified last. */
void verify_bytes(const struct left *left, const struct verify_found *found, uint8_t *bytes);

#endif
