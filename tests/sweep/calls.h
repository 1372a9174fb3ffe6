/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calls.h: the C library's calls on the files of a store, in place of the library's own: those on
 * "data" go to the simulated device, those on "map" and its lock to the files, and any of them fails as
 * the plan says (fault.h).  Of the map it is known what is durable: what was there at the last sync that
 * succeeded, and what was written durably since.
 */
#ifndef TESTS_SWEEP_CALLS_H
#define TESTS_SWEEP_CALLS_H

#include <stdbool.h>

#include "tests/lib/rnd.h"
#include "tests/sim/mapfile.h"
#include "tests/sim/simdev.h"

/* From now on these are the files; the map is there, and durable. */
void calls_begin(const char *data_path, const char *map_path, struct simdev *sd);

/* Whether calls of the device are under way: those that began before a fault was lifted may fail. */
bool calls_under_way(void);

/* What a power cut now may leave of the map. */
void calls_cut(struct rnd *rnd, struct mapfile *left);

#endif
