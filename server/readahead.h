/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * readahead.h: when to read ahead for an open object, and what: the pure part, without any I/O.
 *
 * As Linux's on-demand readahead: nothing happens while reads jump about or find everything in
 * memory.  A second read in sequence that had to wait begins a window behind it; when the reader
 * has come into the window, the next one is begun, twice as large, up to a limit.  A jump ends it,
 * and so does a window of which nothing was missing.
 *
 *	  read   read   window           next window
 *	|------|------|----------------|--------------------------------|
 *	               ^ reading from here on begins the next one
 *
 * The struct belongs to who reads (a handle); zeroed is its beginning.
 */
#ifndef SERVER_READAHEAD_H
#define SERVER_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "server/blk.h"

#define READAHEAD_MAX_BLKS 512u /* 2 MiB */
#define READAHEAD_MIN_BLKS 32u	/* of the first window */

struct readahead {
	uint64_t next;	/* block behind the last read */
	uint64_t begin; /* of the window asked for last */
	uint64_t nblks; /* of it; 0: there is none */
};

struct readahead_window {
	lblk_t blk;
	uint32_t nblks;
};

/*
 * Notes a read of [blk, blk + nblks); "waited": some of it was not in memory.  True: *window, which
 * ends at end or earlier and has at most max_blks blocks, is to be read ahead now.
 */
bool readahead_note(struct readahead *ra, lblk_t blk, uint64_t nblks, bool waited, uint64_t end,
		    uint32_t max_blks, struct readahead_window *window);

/* Nothing of the window was missing, or it could not be read. */
void readahead_stop(struct readahead *ra);

#endif
