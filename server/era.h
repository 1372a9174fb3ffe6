/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * era.h: which start of the server, and which state of the map, the data device has seen, so that a map is
 * never used with data of another time: with one of them restored from a copy, what is read would be old, or
 * of others.  Owns nothing; used by recover.c, before and after the threads, and by the checkpoint.
 *
 * Each start has a number, the incarnation, and one of two blocks of the device in turn, its place:
 *
 *	prepared  written and synced before the map has the number: nothing was committed under it yet
 *	begun	  written and synced when the map has it, before anything is committed under it
 *	closed	  the server was stopped, and the map has all that the journal's records before tail_seq say
 *
 * One more has a mark: how far the map is about to be, written behind all that it needs and before the sync
 * that goes before a fold.  Tails of a run grow, and a sector is written whole or not at all: so whenever the
 * power goes, the mark, or before the first one the place of the start, says the tail that the map has, or one
 * further on.
 *
 *	the map says n		the device may say
 *	nothing more recent	n begun or closed; n prepared, where a start was cut off; a tail as far as the map's
 *	a start was cut off	n, and n + 1 prepared
 *	a fold was cut off	n, and a mark further on
 *	an older copy		n + 1 begun or closed; n closed with a tail further on; what is beyond
 *	the data is older	n missing, or with no tail as far as the map's; what is before
 *
 * A map that is older than the data by less than a run is let in: the journal leads on from there, or a record
 * is missing.
 *
 * A place that is damaged says nothing, which is logged: so a write that failed or was torn, in starts one
 * after the other, or a bit that was turned keeps nobody out.  One that is empty has not been written: each
 * that has a start is at the first or second one.
 */
#ifndef SERVER_ERA_H
#define SERVER_ERA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/dev.h"

#define ERA_NSTARTS 2u
#define ERA_NBLKS   (ERA_NSTARTS + 1u) /* and the mark */

enum era_state { ERA_PREPARED = 1, ERA_BEGUN, ERA_CLOSED };

/*
 * Does the device, whose places begin at "first", fit a map that says this?  *closed: the last run was closed,
 * and neither a start nor a fold was cut off since, so that nothing can be left half written.  -ERR_MAP_OLD,
 * -ERR_DATA_OLD; -ERR_IO: no start can be read; -ERR_NOMEM.
 */
int era_check(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq,
	      bool *closed) MUST_CHECK;

/* Writes the place of a start, with the map's tail; durable with the next sync. */
int era_write(struct dev *dev, pblk_t first, uint64_t incarnation, enum era_state state,
	      uint64_t tail_seq) MUST_CHECK;

/* Writes the mark: the map is about to have this tail.  Durable with the next sync. */
int era_mark(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq) MUST_CHECK;

#endif
