/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_promise.h"

#include <assert.h>

#include "common/err.h"
#include "common/thread.h"

/* ---- what is withheld ------------------------------------------------------------------------ */

/* Blocks of it that are not in the map and have their space. */
static uint64_t object_busy_nblks(const struct object *obj)
{
	uint64_t nblks = obj->cache.ndirty + obj->nheld;
	const struct epoch *epoch;

	TAILQ_FOREACH (epoch, &obj->closed, link)
		if (epoch->data)
			nblks += writeback_held_nblks(&epoch->data->batch);
	return nblks;
}

static uint64_t object_reserved_nblks(const struct object *obj)
{
	return obj->asked_nblks > obj->info.reserved_nblks ? obj->asked_nblks
							   : obj->info.reserved_nblks;
}

/* Where blocks are about to be shared those in memory may be among them. */
static uint64_t object_withheld_nblks(const struct object *obj)
{
	uint64_t reserved = object_reserved_nblks(obj);
	uint64_t wanted = reserved + obj->renewing_nblks;
	uint64_t has;

	if (reserved == 0)
		return 0;
	has = obj->info.owned_nblks + object_busy_nblks(obj);
	if (has >= wanted)
		return 0;
	return wanted - has < reserved ? wanted - has : reserved;
}

void object_promise_update(struct object *obj)
{
	uint64_t withheld = object_withheld_nblks(obj);

	ASSERT_LOOP();
	if (withheld == obj->withheld_nblks)
		return;
	alloc_withhold(obj->objs->alloc, obj->withheld_nblks, withheld);
	obj->withheld_nblks = withheld;
}

/* ---- using it -------------------------------------------------------------------------------- */

/*
 * While it is being renewed what is withheld does not become less with what is written: that may be shared
 * by then, and the promise is needed in full.  So until then what is written is not of it.
 */
static uint64_t object_usable_nblks(const struct object *obj)
{
	return obj->renewing_nblks > 0 ? 0 : obj->withheld_nblks;
}

bool object_is_promised(const struct object *obj, uint64_t nblks)
{
	ASSERT_LOOP();
	return nblks <= object_usable_nblks(obj);
}

bool object_is_renewing(const struct object *obj)
{
	ASSERT_LOOP();
	return obj->renewing_nblks > 0 && object_reserved_nblks(obj) > 0;
}

/*
 * An object that is not larger than its reservation writes over its own when nothing is withheld for it
 * any more: as many blocks come back, so it may use what is kept back for that.
 */
static bool object_returns(const struct object *obj, uint64_t end)
{
	uint64_t nblks = blk_count(obj->size_bytes);

	return (nblks > end ? nblks : end) <= obj->info.reserved_nblks;
}

int object_reserve(struct object *obj, uint64_t nblks, uint64_t end)
{
	struct alloc *al = obj->objs->alloc;
	int err;

	ASSERT_LOOP();
	if (object_is_promised(obj, nblks))
		err = alloc_reserve_due(al, nblks);
	else
		err = alloc_reserve_beyond(al, nblks, object_usable_nblks(obj),
					   object_returns(obj, end));
	if (err == 0)
		object_hold(obj, nblks);
	return err;
}

void object_hold(struct object *obj, uint64_t nblks)
{
	ASSERT_LOOP();
	obj->nheld += nblks;
	object_promise_update(obj);
}

void object_unhold(struct object *obj, uint64_t nblks)
{
	ASSERT_LOOP();
	assert(nblks <= obj->nheld);
	obj->nheld -= nblks;
	object_promise_update(obj);
}

/* ---- giving it ------------------------------------------------------------------------------- */

/* What one change may make dirty of an object: 32 MiB, at any offset. */
#define PROMISE_KEEP_MAX (EPOCH_MAX_BLKS + 1)

/* It is kept back while anything is reserved. */
static void promise_set_slack(struct objects *objs)
{
	alloc_keep_back(objs->alloc, objs->reserved_nblks < PROMISE_KEEP_MAX ? objs->reserved_nblks
									     : PROMISE_KEEP_MAX);
}

/* Is there as much as is withheld, and kept back?  What is sure to become free counts. */
static bool promise_fits(const struct objects *objs)
{
	uint64_t coming = prepare_held_nblks(objs->prepare) + freeload_left_nblks(objs->freeload) +
			  checkpoint_freed_nblks(objs->checkpoint) + objs->wb.releasing_nblks;

	return alloc_keeps(objs->alloc, coming);
}

int object_renew(struct object *obj, uint64_t nblks)
{
	uint64_t before = obj->withheld_nblks;

	ASSERT_LOOP();
	obj->renewing_nblks += nblks;
	object_promise_update(obj);
	if (obj->withheld_nblks <= before || promise_fits(obj->objs))
		return 0;
	object_renewed(obj, nblks);
	return -ERR_NOSPC;
}

void object_renewed(struct object *obj, uint64_t nblks)
{
	ASSERT_LOOP();
	assert(nblks <= obj->renewing_nblks);
	obj->renewing_nblks -= nblks;
	object_promise_update(obj);
}

void object_set_owned(struct object *obj, uint64_t owned_nblks)
{
	ASSERT_LOOP();
	obj->info.owned_nblks = owned_nblks;
	object_promise_update(obj);
}

int promise_take(struct objects *objs, uint64_t reserved_nblks)
{
	ASSERT_LOOP();
	if (reserved_nblks == 0)
		return 0;
	objs->reserved_nblks += reserved_nblks;
	alloc_withhold(objs->alloc, 0, reserved_nblks);
	promise_set_slack(objs);
	if (promise_fits(objs))
		return 0;
	promise_drop(objs, reserved_nblks);
	return -ERR_NOSPC;
}

void promise_drop(struct objects *objs, uint64_t reserved_nblks)
{
	ASSERT_LOOP();
	objs->reserved_nblks -= reserved_nblks;
	alloc_withhold(objs->alloc, reserved_nblks, 0);
	promise_set_slack(objs);
}

/* The sum follows what the object has reserved, or asks for. */
static void object_count_reserved(struct object *obj)
{
	obj->objs->reserved_nblks += object_reserved_nblks(obj) - obj->counted_nblks;
	obj->counted_nblks = object_reserved_nblks(obj);
	promise_set_slack(obj->objs);
	object_promise_update(obj);
}

int object_promise(struct object *obj, uint64_t reserved_nblks)
{
	ASSERT_LOOP();
	obj->asked_nblks = reserved_nblks;
	object_count_reserved(obj);
	if (reserved_nblks <= obj->info.reserved_nblks || promise_fits(obj->objs))
		return 0;
	object_promised(obj);
	return -ERR_NOSPC;
}

void object_promised(struct object *obj)
{
	ASSERT_LOOP();
	obj->asked_nblks = 0;
	object_count_reserved(obj);
}

void object_tell_promise(const struct object *obj, struct map_obj *info)
{
	ASSERT_LOOP();
	if (info->reserved_nblks > obj->withheld_nblks)
		info->owned_nblks = info->reserved_nblks - obj->withheld_nblks;
	else
		info->owned_nblks = 0;
}

void object_promise_end(struct object *obj)
{
	ASSERT_LOOP();
	obj->info.reserved_nblks = 0;
	object_promised(obj);
}

void promise_begin(struct objects *objs, const struct map_space *space)
{
	objs->reserved_nblks = space->reserved_nblks;
	alloc_withhold(objs->alloc, 0, space->promised_nblks);
	promise_set_slack(objs);
}
