/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * repair_priv.h: what the files of the repair share: repair.c looks, judges and keeps the transactions,
 * repair_tree.c mends objects, nodes, what leads to objects and the reap queue, repair_count.c the
 * counts, repair_free.c the free space.
 *
 * Each function that mends a part goes through its tables once, by the transaction, and asks
 * repair_step() after each entry that it has changed.  There another transaction may begin: so what has
 * been done up to there must be safe to start a server on.
 */
#ifndef SERVER_REPAIR_PRIV_H
#define SERVER_REPAIR_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/check_priv.h"
#include "server/map_priv.h"
#include "server/repair.h"

struct repair {
	struct map *map;
	check_report_fn report;
	void *ctx;
	struct repair_result *result;
	struct check c; /* what is there; where the queue is dropped, without it */

	/* what the first look has shown */
	const char *refused; /* why nothing at all is touched, or NULL */
	const char *torn;    /* why nothing is given back, or NULL */
	uint64_t faults[CHECK_NFAULTS];
	bool drop_queue;

	struct map_tail tail; /* of the journal: it stays */
	struct map_txn *txn;
	uint64_t free_nblks; /* as they will be */
	uint64_t promised_nblks;
};

/* The next entry of a table; -ERR_NOENT at the end. */
int repair_next(struct repair *r, enum kv_table table, struct check_pos *pos,
		struct kv_buf *val) MUST_CHECK;

/* After a change. */
int repair_step(struct repair *r) MUST_CHECK;

/* Removes the entry at pos. */
int repair_drop(struct repair *r, enum kv_table table, const struct check_pos *pos) MUST_CHECK;

/* ---- repair_tree.c --------------------------------------------------------------------------- */

int repair_queue(struct repair *r) MUST_CHECK;
int repair_sums(struct repair *r) MUST_CHECK;
int repair_objects(struct repair *r) MUST_CHECK;
int repair_links(struct repair *r) MUST_CHECK;
int repair_orphans(struct repair *r) MUST_CHECK;

/* ---- repair_count.c -------------------------------------------------------------------------- */

int repair_nref(struct repair *r) MUST_CHECK;
int repair_xref(struct repair *r) MUST_CHECK;

/* ---- repair_free.c --------------------------------------------------------------------------- */

int repair_free(struct repair *r) MUST_CHECK;

#endif
