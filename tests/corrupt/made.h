/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * made.h: a really small store that has one of everything: written and partial blocks, holes, versions,
 * a clone, a range that is shared, labels, a time to live, an empty object, a tree in the reap queue; as
 * it was stopped, and as a crash left it later, with records in the journal whose blocks are nowhere else.
 * What the engine writes is known by its bytes.
 */
#ifndef TESTS_CORRUPT_MADE_H
#define TESTS_CORRUPT_MADE_H

#include "tests/corrupt/image.h"

enum made_moment {
	MADE_CLOSED,	/* stopped */
	MADE_EARLIER,	/* a run behind that, in the middle of it */
	MADE_CRASHED,	/* later in the same run */
	MADE_FOLDED,	/* started on that: behind a checkpoint */
	MADE_ONCE_MORE, /* behind two more in the same run */
	MADE_BEHIND,	/* with records behind the last of them */
	MADE_LATER,	/* stopped */
	MADE_NMOMENTS,
};

struct made {
	struct image images[MADE_NMOMENTS];
	struct image other; /* another store of the same size */
};

/* Makes them in dir, which is there and stays. */
void made_init(struct made *made, const char *dir);
void made_fini(struct made *made);

/* The byte that each block of "disk" is full of at MADE_CLOSED; 0: a hole. */
unsigned int made_disk_byte(unsigned int blk);

#endif
