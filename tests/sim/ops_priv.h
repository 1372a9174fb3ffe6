/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ops_priv.h: what the files of the operations share.
 */
#ifndef TESTS_SIM_OPS_PRIV_H
#define TESTS_SIM_OPS_PRIV_H

#include "tests/sim/ops.h"

#define RANGES_MAX  4u
#define RANGE_BYTES (2 * BLK_BYTES)

struct op {
	struct run *run;
	unsigned int i; /* the object */
	unsigned int j; /* the other one: of a clone, the new one */
	uint32_t mark;	/* of an fsync */
	uint32_t other_mark;
	uint64_t off;
	uint64_t len;
	struct history_unit *unit; /* of a write to several objects, which are these bits */
	uint32_t all;
	bool promised;		    /* the space for it is: a write that is within reservations */
	bool refused;		    /* it has to be: what it depends on is not so */
	struct history_attrs attrs; /* of the answer */
	const char *kind;
	void (*answered)(struct op *op, int err);
};

static inline uint64_t op_below(struct run *run, uint64_t n)
{
	return rnd_below(&run->rnd, n);
}

static inline struct history_obj *op_obj(struct op *op)
{
	return &op->run->history->objs[op->i];
}

static inline struct history_obj *op_other(struct op *op)
{
	return &op->run->history->objs[op->j];
}

/* Another operation; the same, of one that keeps others from the object. */
struct op *op_new(struct run *run, unsigned int i, void (*answered)(struct op *op, int err));
struct op *op_busy(struct run *run, unsigned int i, void (*answered)(struct op *op, int err));

/* Callbacks: the answer is judged, and "answered" of the operation called. */
void op_done(void *ctx, int err);
void op_info_done(void *ctx, int err, const struct map_obj *info);

bool op_lacks_space(int err);

/* The objects that it changes, in bits, can have all of their blocks: they have them reserved. */
bool op_is_promised(const struct run *run, uint32_t objs);

/*
 * Of a write under a condition: the generation that the object is to have; or NULL.  Often it is not the one
 * that it has: then the operation has to be refused.
 */
const uint64_t *op_condition(struct op *op, unsigned int i, uint64_t *generation);

/* Up to RANGES_MAX ranges, some of one block; fills in vector v, of such a range of an object. */
uint32_t op_pick_ranges(struct run *run, struct object_range *ranges);
void op_fill_range(struct run *run, struct history_obj *o, const struct object_range *range,
		   struct pagevec *pvs, uint32_t v);

/* An fsync of the object is answered. */
void op_fsynced(struct op *op, int err);

/* An operation on names failed by a fault: whether it comes to be after all is seen at the next start. */
void op_names_failed(struct run *run, int err);

/* What replaces content of the first object by that of the other is answered: it is durable. */
void op_replaced(struct op *op, int err);

/* ops_names.c */
void begin_create(struct run *run);
void begin_clone(struct run *run, unsigned int i);
void begin_reset(struct run *run, unsigned int i);
void begin_remove(struct run *run, unsigned int i);

/* ops_attrs.c */
uint64_t op_pick_reserved(struct run *run);
void begin_reserve(struct run *run, unsigned int i);
void begin_readonly(struct run *run, unsigned int i);
void begin_look_for(struct run *run, unsigned int i);

/* ops_look.c: reports */
void begin_extents(struct run *run, unsigned int i);
void begin_diff(struct run *run, unsigned int i);

/* Another open object, on which nothing is going on; HISTORY_OBJS: there is none. */
unsigned int op_pick_other(struct run *run, unsigned int i);

/* ops_many.c: of several objects */
void begin_write_all(struct run *run, unsigned int i);
void begin_fsync_all(struct run *run, unsigned int i);
void begin_share(struct run *run, unsigned int i);
void begin_tie(struct run *run, unsigned int i);

#endif
