/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/apply.h"

#include <assert.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/cpu.h"

static int apply_epoch(struct map_txn *txn, const struct change *change, struct map_obj *obj)
{
	const uint32_t *csums = change->csums;
	int err = 0;

	for (uint32_t i = 0; i < change->nholes && !err; i++) {
		err = map_txn_unmap(txn, change->oid, change->holes[i].blk, change->holes[i].nblks);
		cpu_give_way();
	}
	for (uint32_t i = 0; i < change->nshares && !err; i++) {
		const struct change_share *share = &change->shares[i];

		err = map_txn_share(txn, change->oid, share->blk, share->src, share->src_blk,
				    share->nblks);
		cpu_give_way();
	}
	for (uint32_t i = 0; i < change->nextents && !err; i++) {
		const struct change_extent *ext = &change->extents[i];

		err = map_txn_remap(txn, change->oid, ext->blk, ext->dst, ext->nblks, csums);
		csums += ext->nblks;
		cpu_give_way();
	}
	if (err)
		return err;
	return map_txn_update(txn, change->oid, change->size_bytes, change->time_ns,
			      change->generation, obj);
}

static struct map_new apply_new(const struct change *change)
{
	return (struct map_new){
	    .oid = change->oid,
	    .name = change->name,
	    .parent = change->parent,
	    .size_bytes = change->size_bytes,
	    .time_ns = change->time_ns,
	    .expires_ns = change->expires_ns,
	    .reserved_nblks = change->reserved_nblks,
	    .labels = change->labels,
	    .labels_len = change->labels_len,
	};
}

static int apply_remove(struct map_txn *txn, const struct change *change, struct map_obj *obj)
{
	int err = map_txn_remove(txn, change->oid);

	if (!err)
		*obj = (struct map_obj){0};
	return err;
}

static int apply_set(struct map_txn *txn, const struct change *change, struct map_obj *obj)
{
	const struct map_attrs attrs = {
	    .expires_ns = change->expires_ns,
	    .readonly = change->readonly,
	    .labels = change->labels,
	    .labels_len = change->labels_len,
	    .reserved_nblks = change->reserved_nblks,
	    .regained_nblks = change->regained_nblks,
	    .owned_seq = change->owned_seq,
	};

	return map_txn_set(txn, change->oid, &attrs, obj);
}

int apply_source_owned(struct map_txn *txn, const struct change *change, uint64_t *nblks)
{
	ASSERT_MAP();
	*nblks = 0;
	if (change->kind == CHANGE_CLONE)
		return map_txn_owned(txn, change->other, nblks);
	if (change->kind == CHANGE_EPOCH && change->nshares > 0)
		return map_txn_owned(txn, change->shares[change->nshares - 1].src, nblks);
	return 0;
}

int apply_change(struct map_txn *txn, const struct change *change, struct map_obj *obj)
{
	struct map_new new = apply_new(change);
	int err;

	ASSERT_MAP();
	switch (change->kind) {
	case CHANGE_EPOCH:
		return apply_epoch(txn, change, obj);
	case CHANGE_CREATE:
		return map_txn_create(txn, &new, obj);
	case CHANGE_CLONE:
		return map_txn_clone(txn, change->other, &new, obj);
	case CHANGE_REMOVE:
		return apply_remove(txn, change, obj);
	case CHANGE_RENAME:
		err = map_txn_rename(txn, change->oid, change->name);
		return err ? err : map_txn_obj(txn, change->oid, obj);
	case CHANGE_EXCHANGE:
		err = map_txn_exchange(txn, change->oid, change->other);
		return err ? err : map_txn_obj(txn, change->oid, obj);
	case CHANGE_RESET:
		return map_txn_reset(txn, change->oid, change->other, change->time_ns,
				     change->generation, obj);
	case CHANGE_SET:
		return apply_set(txn, change, obj);
	}
	return -ERR_INVAL;
}
