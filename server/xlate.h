/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xlate.h: where the blocks of objects are on the device, as far as it is known in memory.
 *
 * It owns what it remembers, within a budget of bytes, and may forget any of it at any time: least
 * recently used first, or for want of memory.  Only the loop is here.
 *
 * What it knows of a block is what the map says, or is of no account because the block is dirty or
 * staged in cache.c: who changes the map tells it.
 */
#ifndef SERVER_XLATE_H
#define SERVER_XLATE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"

struct xlate;
struct xlate_leaf;

RB_HEAD(xlate_leaves, xlate_leaf);

/* One object's part, embedded in what belongs to the object. */
struct xlate_object {
	struct xlate *xlate;
	struct xlate_leaves leaves;
	struct xlate_leaf *last; /* the one asked for last, or NULL */
};

enum xlate_kind { XLATE_UNKNOWN, XLATE_HOLE, XLATE_MAPPED };

/* NULL: out of memory. */
struct xlate *xlate_new(size_t budget_bytes);
/* Every object has been forgotten; NULL is allowed. */
void xlate_free(struct xlate *xlate);

/* What it takes now. */
size_t xlate_bytes(const struct xlate *xlate);

void xlate_object_init(struct xlate_object *xo, struct xlate *xlate) LOOP_FN;

/* *at: where the block is, if it is XLATE_MAPPED. */
enum xlate_kind xlate_find(struct xlate_object *xo, lblk_t blk, pblk_t *at) LOOP_FN;

/* The blocks [blk, blk + nblks) are in one piece at "at", or with pblk(0) a hole. */
void xlate_set(struct xlate_object *xo, lblk_t blk, uint64_t nblks, pblk_t at) LOOP_FN;

/*
 * Forgets [blk, blk + nblks).  Where that is so much that it would take the loop's time, all of the object is
 * forgotten at once, and its memory given back by and by: with what is asked and learned from then on.
 */
void xlate_forget(struct xlate_object *xo, lblk_t blk, uint64_t nblks) LOOP_FN;

#endif
