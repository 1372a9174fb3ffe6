/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apply.h: applies a change to the map, in a transaction of the caller's.  Owns nothing; the map
 * thread and recovery call it.  The same changes in the same order on the same map give the same
 * map: all that is decided stands in the change.
 */
#ifndef SERVER_APPLY_H
#define SERVER_APPLY_H

#include "common/annot.h"
#include "server/change.h"
#include "server/map.h"

/*
 * *obj: what was made or changed, as it is then; of an exchange the one that the change calls oid;
 * all zeros after a removal.  Errors are those of map_txn_*(): after -ERR_NOENT, -ERR_EXIST,
 * -ERR_BUSY and -ERR_PERM the transaction goes on, but an epoch may have been applied in part.
 * -ERR_INVAL: no such kind.
 */
int apply_change(struct map_txn *txn, const struct change *change,
		 struct map_obj *obj) MAP_FN MUST_CHECK;

/* Once it has been applied: what the object owns that all or a part was cloned from; 0: from none. */
int apply_source_owned(struct map_txn *txn, const struct change *change,
		       uint64_t *nblks) MAP_FN MUST_CHECK;

#endif
