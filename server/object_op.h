/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_op.h: what operations on names have in common: claim, look up, perhaps make room for
 * metadata, perhaps wait for an object's epoch, commit, answer.  object_name.c makes and renames,
 * object_remove.c removes and resets, object_set.c changes attributes.
 */
#ifndef SERVER_OBJECT_OP_H
#define SERVER_OBJECT_OP_H

#include "common/label.h"
#include "server/object_claim.h"
#include "server/object_epoch.h"
#include "server/object_table.h"

/* One operation; the members that it uses depend on what it is. */
struct name_op {
	struct objects *objs;
	struct object_claim claim;
	struct claim_name names[CLAIM_NAMES_MAX]; /* of the claim, unless it has others */
	struct object_lookup lookup;
	struct object *obj; /* referenced */
	struct epoch_waiter waiter;
	struct gate_waiter gate;
	struct objects_settle settle;
	struct commit_req commit;
	char spec[NAME_MAX_BYTES + 1];
	char other[NAME_MAX_BYTES + 1]; /* "": only one is looked up */
	char labels[LABELS_MAX_BYTES];
	uint64_t renewing_nblks; /* object_renewed() follows at the end */
	bool flag;		 /* exchange; with the versions */
	/* LOOP_FN: the names are claimed and looked up: results in "lookup" */
	void (*found)(struct name_op *op, int err);
	object_info_cb info_cb; /* or cb */
	object_cb cb;
	void *ctx;
};

/* NULL: out of memory; then the callback has been called. */
struct name_op *name_new(struct objects *objs, object_info_cb info_cb, object_cb cb,
			 void *ctx) LOOP_FN;

/* The same for an operation that embeds this one, zeroed, as its first member. */
void name_init(struct name_op *op, struct objects *objs, object_info_cb info_cb, object_cb cb,
	       void *ctx) LOOP_FN;

/* Copies what a new object begins with into op->commit.change.  -ERR_INVAL. */
int name_set_attrs(struct name_op *op, const struct object_attrs *attrs) LOOP_FN MUST_CHECK;

/* Answers, gives back what is claimed and referenced, and frees the operation. */
void name_finish(struct name_op *op, int err, const struct map_obj *info) LOOP_FN;

/* Takes the spec of a version as op->other, and its object's name as op->spec.  False: it is none, and
 * that has been answered. */
bool name_take_version(struct name_op *op, const char *spec) LOOP_FN;

/*
 * Claims what was added to op->claim, looks up op->spec and op->other, and goes on with op->found.
 * "grows": the metadata grows, and there must be room for that.
 */
void name_begin(struct name_op *op, bool grows) LOOP_FN;

/* Looks op->spec and op->other up, once more where op->lookup may have become old, and goes on with
 * op->found.  The names are claimed. */
void name_look_up(struct name_op *op) LOOP_FN;

/* Loads what "info" describes into op->obj. */
int name_load(struct name_op *op, const struct map_obj *info) LOOP_FN MUST_CHECK;

/* When what lives for ttl_ms from now on expires; 0: never.  -ERR_INVAL: beyond all clocks. */
int name_expiry(uint64_t ttl_ms, uint64_t *expires_ns) MUST_CHECK;

/* Commits op->commit.change. */
void name_submit(struct name_op *op, enum change_kind kind,
		 void (*done)(struct commit_req *req)) LOOP_FN;

/* For name_submit(): answers with what was committed. */
void name_committed(struct commit_req *req) LOOP_FN;

/* All that op->obj maps is about to be shared, or replaced by what is: what it has reserved is promised
 * anew until the end.  -ERR_NOSPC. */
int name_renew(struct name_op *op) LOOP_FN MUST_CHECK;

#endif
