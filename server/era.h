/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * era.h: which start of the server the data device has seen, so that a map is never used with data of
 * another time: with one of them restored from a copy, what is read would be old, or of others.  Owns
 * nothing; used by recover.c, before and after the threads.
 *
 * Each start has a number, the incarnation, and one of two blocks of the device in turn, its place:
 *
 *	prepared  written and synced before the map has the number: nothing was committed under it yet
 *	begun	  written and synced when the map has it, before anything is committed under it
 *	closed	  the server was stopped, and the map has all that the journal's records before tail_seq say
 *
 *	the map says n		the device may say
 *	nothing more recent	n begun or closed; n prepared, where a start was cut off
 *	a start was cut off	n, and n + 1 prepared
 *	an older copy		n + 1 begun or closed; n closed with a tail further on; what is beyond
 *	the data is older	n missing; n closed with a tail not as far; what is before; but of the same
 *				run it may say n begun, as the newer does
 *
 * A place that is damaged says nothing, which is logged: so a write that failed or was torn, in starts one
 * after the other, or a bit that was turned keeps nobody out.  One that is empty has not been written: each is
 * at the first or second start.
 */
#ifndef SERVER_ERA_H
#define SERVER_ERA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/dev.h"

#define ERA_NBLKS 2u

enum era_state { ERA_PREPARED = 1, ERA_BEGUN, ERA_CLOSED };

/*
 * Does the device, whose places begin at "first", fit a map that says this?  *closed: the last run was closed,
 * so that nothing can be left half written.  -ERR_MAP_OLD, -ERR_DATA_OLD, -ERR_IO: neither place can be read;
 * -ERR_NOMEM.
 */
int era_check(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq,
	      bool *closed) MUST_CHECK;

/* Writes a place; durable with the next sync.  tail_seq: of ERA_CLOSED, else 0. */
int era_write(struct dev *dev, pblk_t first, uint64_t incarnation, enum era_state state,
	      uint64_t tail_seq) MUST_CHECK;

#endif
