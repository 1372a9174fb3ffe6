/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h: what the objects of a small store are, as plain arrays: a model of the map, for tests that
 * compare the two.  Content is known by its checksums.  Pure but for the comparison; one thread.
 */
#ifndef TESTS_LIB_WORLD_H
#define TESTS_LIB_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "server/change.h"
#include "server/map.h"

#define WORLD_OBJS 12u
#define WORLD_BLKS 300u /* of an object; more than a leaf's */

struct world_obj {
	uint64_t id; /* 0: none */
	uint64_t parent;
	uint64_t size_bytes;
	uint64_t mtime_ns;
	uint64_t expires_ns;
	bool readonly;
	char name[16]; /* of a version the part behind '@' */
	char label[24];
	uint32_t csums[WORLD_BLKS]; /* 0: a hole */
};

struct world {
	struct world_obj objs[WORLD_OBJS];
};

/* The object of this id, or NULL; an unused one, or NULL. */
struct world_obj *world_find(struct world *w, uint64_t id);
struct world_obj *world_unused(struct world *w);

/* Whether an object, or a version of the parent, has this name. */
bool world_has(const struct world *w, uint64_t parent, const char *name);
unsigned int world_nversions(const struct world *w, uint64_t id);

/* What a change makes of it.  "csums": of its blocks.  The change is one that can be made. */
void world_apply(struct world *w, const struct change *change, const uint32_t *csums);

/* Whether a view shows just this. */
bool world_matches(const struct world *w, struct map_view *view);

#endif
