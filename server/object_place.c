/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_place.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_io.h"

struct place_blk {
	bool partial;
	struct page
	    *base; /* partial: the block as it was when its page was completed; a reference */
};

struct place {
	struct writeback_batch batch;
	struct object *obj;
	struct place_blk *blks; /* beside those of the batch */
	uint32_t last;		/* found last: they are asked for in order */
	bool started;
	bool written;
	void (*done)(void *ctx, int err);
	void *ctx;
};

struct place *place_new(struct object *obj, uint32_t max)
{
	struct place *place = calloc(1, sizeof(*place));

	ASSERT_LOOP();
	if (!place)
		return NULL;
	place->obj = obj;
	place->blks = calloc(max, sizeof(*place->blks));
	place->batch.blks = calloc(max, sizeof(*place->batch.blks));
	if (!place->blks || !place->batch.blks) {
		place_free(place);
		return NULL;
	}
	place->batch.only_places = true;
	place->batch.commit.change.oid = obj->id;
	return place;
}

void place_add(struct place *place, lblk_t blk, struct page *page, bool partial)
{
	uint32_t i = place->batch.nblks++;

	ASSERT_LOOP();
	place->batch.blks[i] = (struct writeback_blk){.blk = blk, .page = page_get(page)};
	place->blks[i].partial = partial;
}

uint32_t place_count(const struct place *place)
{
	ASSERT_LOOP();
	return place->batch.nblks;
}

/* ---- writing --------------------------------------------------------------------------------- */

static LOOP_FN void place_written(struct writeback_batch *batch)
{
	struct place *place = CONTAINER_OF(batch, struct place, batch);

	writeback_note_places(batch);
	place->written = true;
	place->done(place->ctx, 0);
}

static LOOP_FN void place_failed(struct writeback_batch *batch, int err)
{
	struct place *place = CONTAINER_OF(batch, struct place, batch);

	place->done(place->ctx, err);
}

int place_start(struct place *place, void (*done)(void *ctx, int err), void *ctx)
{
	struct object *obj = place->obj;

	ASSERT_LOOP();
	for (uint32_t i = 0; i < place->batch.nblks; i++) {
		lblk_t blk = place->batch.blks[i].blk;
		struct page *base = place->blks[i].partial ? object_page(obj, blk) : NULL;

		if (cache_make_places(&obj->cache, blk, 1) < 0)
			return -ERR_NOMEM;
		place->blks[i].base = base ? page_get(base) : NULL;
	}
	place->done = done;
	place->ctx = ctx;
	place->started = true;
	place->batch.written = place_written;
	place->batch.done = place_failed;
	prepare_pause(obj->objs->prepare);
	writeback_start(&obj->objs->wb, &place->batch);
	return 0;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* The index of a block; false: it is not one of these. */
static bool place_find(struct place *place, lblk_t blk, uint32_t *i)
{
	const struct writeback_blk *blks = place->batch.blks;
	uint32_t lo = place->last;
	uint32_t hi = place->batch.nblks;

	if (lo >= hi || blks[lo].blk.n > blk.n)
		lo = 0;
	else if (lo + 1 < hi && blks[lo + 1].blk.n == blk.n)
		lo++;
	while (lo < hi && blks[lo].blk.n < blk.n) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (blks[mid].blk.n < blk.n)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo >= place->batch.nblks || blks[lo].blk.n != blk.n)
		return false;
	place->last = lo;
	*i = lo;
	return true;
}

bool place_has(struct place *place, lblk_t blk)
{
	uint32_t i;

	ASSERT_LOOP();
	return place_find(place, blk, &i);
}

/* Is what was written of that block what it would be now? */
static bool place_is_true(const struct place *place, uint32_t i)
{
	/* a page does not change, and is no other one while somebody refers to it */
	return !place->blks[i].partial ||
	       object_page(place->obj, place->batch.blks[i].blk) == place->blks[i].base;
}

bool place_holds(struct place *place, lblk_t blk)
{
	uint32_t i;

	ASSERT_LOOP();
	return place->written && place_find(place, blk, &i) && place->batch.blks[i].placed.n != 0 &&
	       place_is_true(place, i);
}

uint64_t place_drop_stale(struct place *place)
{
	struct writeback_batch *batch = &place->batch;
	uint64_t n = 0;

	ASSERT_LOOP();
	for (uint32_t i = 0; place->written && i < batch->nblks; i++) {
		if (batch->blks[i].placed.n == 0 || place_is_true(place, i))
			continue;
		writeback_give_back(batch->wb, writeback_take_place(batch, i), 1);
		n++;
	}
	return n;
}

void place_take(struct place *place, lblk_t blk, struct page *page)
{
	const struct writeback_batch *batch = &place->batch;
	uint32_t i = 0;

	ASSERT_LOOP();
	(void)place_find(place, blk, &i);
	assert(batch->blks[i].blk.n == blk.n && batch->blks[i].page == page);
	epoch_note_placed(place->obj, batch->commit.sync_gen);
	cache_place(&place->obj->cache, blk, page, writeback_take_place(&place->batch, i),
		    batch->blks[i].csum);
}

void place_free(struct place *place)
{
	ASSERT_LOOP();
	if (!place)
		return;
	for (uint32_t i = 0; i < place->batch.nblks; i++)
		page_put(place->blks[i].base);
	free(place->blks);
	if (place->started) {
		writeback_batch_fini(&place->batch);
	} else {
		for (uint32_t i = 0; i < place->batch.nblks; i++)
			page_put(place->batch.blks[i].page);
		free(place->batch.blks);
	}
	free(place);
}
