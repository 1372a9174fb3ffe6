/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/writeback.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"

#define WRITE_MAX_BLKS 256u /* 1 MiB: what one worker writes in one call */
#define MAX_ATTEMPTS   2u   /* the second to other extents */

/* A physically contiguous piece of a batch, written by one worker. */
struct writeback_write {
	struct worker_job job;
	SLIST_ENTRY(writeback_write) link; /* of the batch, once it has ended */
	struct writeback_batch *batch;
	pblk_t dst;
	uint32_t first; /* index of its first block in the batch */
	uint32_t nblks;
	bool again; /* to the places of these blocks, which are the batch's as before */
	int err;
};

static void writeback_attempt(struct writeback_batch *batch);

/* The device may take the data elsewhere; what the memory or the journal refuse, they refuse again.
 * Nothing was wrong with what is innocent. */
static bool writeback_worth_another(const struct writeback_batch *batch, int err)
{
	return (!batch->commit.change.inlined || batch->commit.innocent) &&
	       batch->attempts < MAX_ATTEMPTS && err_class(err) == ERR_IO && err != -ERR_LATCHED &&
	       err != -ERR_JOURNAL_FULL;
}

static LOOP_FN void writeback_ended(struct loop_msg *msg)
{
	struct writeback_batch *batch = CONTAINER_OF(msg, struct writeback_batch, ended);

	batch->done(batch, batch->err);
}

/* By way of the loop, so that an owner never hears of the end before it has begun. */
static void writeback_end(struct writeback_batch *batch, int err)
{
	batch->err = err;
	batch->ended.fn = writeback_ended;
	loop_post(batch->wb->loop, &batch->ended);
}

void writeback_give_back(struct writeback *wb, pblk_t blk, uint64_t nblks)
{
	ASSERT_LOOP();
	if (alloc_add(wb->alloc, blk, nblks) < 0)
		log_event(LOG_WARN, "free-blocks-lost-until-restart",
			  "physical=%" PRIu64 " blocks=%" PRIu64, blk.n, nblks);
}

/* How many blocks from that one on lie one behind the other on the device. */
static uint32_t writeback_placed_run(const struct writeback_batch *batch, uint32_t at)
{
	const struct writeback_blk *blks = batch->blks + at;
	uint32_t n = 0;

	while (at + n < batch->nblks && blks[n].placed.n != 0 &&
	       blks[n].placed.n == blks[0].placed.n + n)
		n++;
	return n;
}

/* How many from that one on are not placed. */
static uint32_t writeback_unplaced_run(const struct writeback_batch *batch, uint32_t at)
{
	uint32_t n = 0;

	while (at + n < batch->nblks && batch->blks[at + n].placed.n == 0)
		n++;
	return n;
}

/* Forgets the places; they become allocatable again, or stay in quarantine. */
static void writeback_unplace(struct writeback_batch *batch, bool give_back)
{
	for (uint32_t at = 0; batch->nplaced > 0 && at < batch->nblks;) {
		uint32_t n = writeback_placed_run(batch, at);

		if (n == 0) {
			at++;
			continue;
		}
		if (give_back)
			writeback_give_back(batch->wb, batch->blks[at].placed, n);
		for (uint32_t i = 0; i < n; i++)
			batch->blks[at + i].placed = pblk(0);
		batch->nplaced -= n;
		at += n;
	}
}

/* A write to places has ended: where it failed they are quarantined. */
static void writeback_forget_again(struct writeback_batch *batch, const struct writeback_write *w)
{
	for (uint32_t i = 0; w->err < 0 && i < w->nblks; i++) {
		batch->blks[w->first + i].placed = pblk(0);
		batch->nplaced--;
		batch->nlacking++;
	}
}

/*
 * Forgets the writes of an attempt.  Where nothing refers to what they wrote (give_back) the
 * extents become allocatable again, but for those whose write failed: they are quarantined.
 */
static void writeback_forget(struct writeback_batch *batch, bool give_back)
{
	struct writeback_write *w;

	for (uint32_t i = 0; batch->holds && give_back && i < batch->commit.change.nextents; i++) {
		const struct change_extent *ext = &batch->extents[i];

		batch->wb->on_reuse(batch->wb->ctx, ext->dst, ext->nblks);
		writeback_give_back(batch->wb, ext->dst, ext->nblks);
	}
	batch->holds = false;
	while ((w = SLIST_FIRST(&batch->ended_writes))) {
		SLIST_REMOVE_HEAD(&batch->ended_writes, link);
		if (w->again)
			writeback_forget_again(batch, w);
		else if (give_back && w->err == 0)
			writeback_give_back(batch->wb, w->dst, w->nblks);
		free(w);
	}
}

/* Where the attempt has written the blocks is where they are placed from now on. */
static void writeback_keep_places(struct writeback_batch *batch)
{
	uint32_t at = 0;

	for (uint32_t e = 0; e < batch->commit.change.nextents; e++) {
		const struct change_extent *ext = &batch->extents[e];

		for (uint32_t i = 0; i < ext->nblks; i++, at++) {
			batch->blks[at].placed = pblk(ext->dst.n + i);
			batch->blks[at].csum = batch->csums[at];
		}
	}
	assert(at == batch->nblks);
	batch->nplaced = at;
	batch->placed_gen = batch->commit.sync_gen;
	writeback_forget(batch, false); /* the places have them */
}

/* Has no sync failed since the first of its places was written? */
static bool writeback_places_are_good(const struct writeback_batch *batch)
{
	return batch->nplaced == 0 || batch->placed_gen == commit_sync_gen(batch->wb->commit);
}

/* Has suspect places quarantined, and their blocks promised anew.  False: there is no space for it. */
static bool writeback_renew(struct writeback_batch *batch)
{
	uint32_t n = batch->nplaced;

	if (writeback_places_are_good(batch))
		return true;
	if (alloc_reserve_due(batch->wb->alloc, n) < 0)
		return false;
	writeback_unplace(batch, false);
	batch->nreserved += n;
	return true;
}

/* Has blocks promised that are neither placed nor promised. */
static int writeback_promise(struct writeback_batch *batch)
{
	const struct alloc *al = batch->wb->alloc;
	uint64_t left = alloc_free_nblks(al) - alloc_reserved_nblks(al);
	uint32_t lacking = batch->nblks - batch->nplaced - batch->nreserved;
	uint32_t n = left < lacking ? (uint32_t)left : lacking;

	if (alloc_reserve_due(batch->wb->alloc, n) == 0)
		batch->nreserved += n;
	batch->nlacking = lacking - n;
	return n < lacking ? -ERR_NOSPC : 0;
}

int writeback_reserve(struct writeback_batch *batch)
{
	int err;

	ASSERT_LOOP();
	err = writeback_promise(batch);
	return writeback_renew(batch) ? err : -ERR_NOSPC;
}

uint64_t writeback_held_nblks(const struct writeback_batch *batch)
{
	ASSERT_LOOP();
	return batch->nblks - batch->nlacking;
}

/*
 * After a failed sync, or an unknown outcome, all that an attempt wrote is suspect.  A record that was
 * not written, or for which there was no room, says nothing of the data; of what is inlined nothing
 * was written.
 */
static bool writeback_is_suspect(const struct writeback_batch *batch, int err)
{
	if (err == -ERR_LATCHED)
		return true;
	return (err == -ERR_WRITEBACK || err == -ERR_JOURNAL_FULL) &&
	       !batch->commit.change.inlined &&
	       commit_sync_gen(batch->wb->commit) != batch->commit.sync_gen;
}

/* An attempt failed. */
static void writeback_fail(struct writeback_batch *batch, int err)
{
	bool suspect = writeback_is_suspect(batch, err);

	log_event(LOG_ERROR, "writeback-failed",
		  "object=%" PRIu64 " blocks=%" PRIu32 " attempt=%" PRIu32 " error=%s",
		  batch->commit.change.oid, batch->nblks, batch->attempts, err_name(err));
	if (suspect && err != -ERR_LATCHED) {
		writeback_keep_places(batch); /* all has been written */
	} else {
		writeback_forget(batch, !suspect);
		if (suspect)
			writeback_unplace(batch, false);
	}
	/* in the same turn, or a writer that waits for space gets what acknowledged data needs */
	if (writeback_reserve(batch) < 0)
		log_event(LOG_WARN, "writeback-lacks-space",
			  "object=%" PRIu64 " blocks=%" PRIu32 " in-place=%" PRIu32,
			  batch->commit.change.oid,
			  batch->nblks - batch->nplaced - batch->nreserved,
			  writeback_places_are_good(batch) ? 0 : batch->nplaced);
	if (writeback_worth_another(batch, err))
		writeback_attempt(batch);
	else
		writeback_end(batch, err);
}

static WORKER_FN void writeback_write_run(struct worker_job *job)
{
	struct writeback_write *w = CONTAINER_OF(job, struct writeback_write, job);
	struct iovec iov[WRITE_MAX_BLKS];

	ASSERT_WORKER();
	for (uint32_t i = 0; i < w->nblks; i++) {
		uint8_t *data = w->batch->blks[w->first + i].page->data;

		iov[i] = (struct iovec){data, BLK_BYTES};
		w->batch->csums[w->first + i] = crc32c(0, data, BLK_BYTES);
	}
	w->err = dev_write(w->batch->wb->dev, w->dst, iov, (int)w->nblks);
}

/* All writes of an attempt have ended. */
static LOOP_FN void writeback_written(struct writeback_batch *batch)
{
	if (batch->err < 0) {
		writeback_fail(batch, batch->err);
		return;
	}
	if (batch->again)
		batch->placed_gen = batch->commit.sync_gen;
	batch->written(batch);
}

static LOOP_FN void writeback_write_done(struct worker_job *job)
{
	struct writeback_write *w = CONTAINER_OF(job, struct writeback_write, job);
	struct writeback_batch *batch = w->batch;

	if (w->err < 0)
		batch->err = w->err;
	SLIST_INSERT_HEAD(&batch->ended_writes, w, link);
	if (--batch->writes_left == 0)
		writeback_written(batch);
}

static int writeback_submit(struct writeback_batch *batch, uint32_t first, pblk_t dst,
			    uint32_t nblks, bool again)
{
	struct writeback_write *w = calloc(1, sizeof(*w));

	if (!w)
		return -ERR_NOMEM;
	w->batch = batch;
	w->dst = dst;
	w->first = first;
	w->nblks = nblks;
	w->again = again;
	w->job.run = writeback_write_run;
	w->job.done = writeback_write_done;
	batch->writes_left++;
	worker_submit(batch->wb->pool, &w->job);
	return 0;
}

static int writeback_add_extent(struct writeback_batch *batch, struct change_extent ext)
{
	struct change *change = &batch->commit.change;

	if (change->nextents == batch->nextents_cap) {
		uint32_t cap = batch->nextents_cap ? batch->nextents_cap * 2 : 8;
		struct change_extent *bigger =
		    realloc(batch->extents, cap * sizeof(struct change_extent));

		if (!bigger)
			return -ERR_NOMEM;
		batch->extents = bigger;
		batch->nextents_cap = cap;
	}
	batch->extents[change->nextents++] = ext;
	change->extents = batch->extents;
	return 0;
}

/* Records which blocks of the object the piece [first, first + n) of the batch holds. */
static int writeback_map_piece(struct writeback_batch *batch, uint32_t first, pblk_t dst,
			       uint32_t nblks)
{
	uint32_t at = 0;
	int err = 0;

	while (at < nblks && err == 0) {
		lblk_t blk = batch->blks[first + at].blk;
		uint32_t n = 1;

		while (at + n < nblks && batch->blks[first + at + n].blk.n == blk.n + n)
			n++;
		err = writeback_add_extent(batch, (struct change_extent){blk, pblk(dst.n + at), n});
		at += n;
	}
	return err;
}

/* What was taken and is not written: free again, and promised to the batch as before. */
static void writeback_put_back(struct writeback_batch *batch, pblk_t dst, uint32_t nblks)
{
	writeback_give_back(batch->wb, dst, nblks);
	if (alloc_reserve_due(batch->wb->alloc, nblks) == 0)
		return;
	batch->nreserved -= nblks; /* they were lost */
	batch->nlacking += nblks;
}

/* Writes a piece of the batch to its places. */
static void writeback_write_again(struct writeback_batch *batch, uint32_t at, uint32_t nblks)
{
	uint32_t n;

	for (uint32_t end = at + nblks; at < end && batch->err == 0; at += n) {
		n = end - at < WRITE_MAX_BLKS ? end - at : WRITE_MAX_BLKS;
		batch->err = writeback_submit(batch, at, batch->blks[at].placed, n, true);
	}
}

/* A piece that lies where the batch's places are: nothing is to be written, unless they are suspect.
 * Returns its length. */
static uint32_t writeback_add_placed(struct writeback_batch *batch, uint32_t at)
{
	uint32_t n = writeback_placed_run(batch, at);

	if (n > 0)
		batch->err = writeback_map_piece(batch, at, batch->blks[at].placed, n);
	for (uint32_t i = at; i < at + n; i++)
		batch->csums[i] = batch->blks[i].csum;
	if (batch->again)
		writeback_write_again(batch, at, n);
	return n;
}

/* Allocates a piece and submits it; returns how much of it. */
static uint32_t writeback_add_piece(struct writeback_batch *batch, uint32_t at)
{
	uint32_t nextents = batch->commit.change.nextents;
	uint32_t first = at;
	uint32_t end;
	uint64_t got;
	pblk_t dst;

	alloc_take(batch->wb->alloc, writeback_unplaced_run(batch, at), &dst, &got);
	batch->err = writeback_map_piece(batch, at, dst, (uint32_t)got);
	if (batch->err < 0)
		batch->commit.change.nextents = nextents;
	end = at + (uint32_t)got;
	if (batch->commit.change.inlined && batch->err == 0)
		at = end; /* the record takes it */
	while (at < end && batch->err == 0) {
		uint32_t n = end - at < WRITE_MAX_BLKS ? end - at : WRITE_MAX_BLKS;

		batch->err = writeback_submit(batch, at, dst, n, false);
		if (batch->err < 0)
			break;
		dst.n += n;
		at += n;
	}
	batch->nreserved -= at - first;
	if (at < end)
		writeback_put_back(batch, dst, end - at);
	return at - first;
}

/*
 * Allocates and submits everything.  An error in the middle is met after the writes that were
 * submitted have ended: writes_left holds one for this function itself.
 */
static void writeback_submit_all(struct writeback_batch *batch)
{
	uint32_t at = 0;

	batch->writes_left = 1;
	while (at < batch->nblks && batch->err == 0) {
		uint32_t n = writeback_add_placed(batch, at);

		if (n == 0)
			n = writeback_add_piece(batch, at);
		at += n;
	}
	batch->holds = batch->commit.change.inlined;
	if (--batch->writes_left == 0)
		writeback_written(batch);
}

/* What the journal needs of an inlined batch: a buffer for each block. */
static int writeback_inline(struct writeback_batch *batch)
{
	batch->commit.change.inlined = batch->nblks > 0 && batch->nblks <= WRITEBACK_INLINE_BLKS &&
				       !batch->outlined && batch->nplaced == 0 &&
				       !batch->only_places;
	if (!batch->commit.change.inlined || batch->iov)
		return 0;
	batch->iov = calloc(batch->nblks, sizeof(*batch->iov));
	if (!batch->iov)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < batch->nblks; i++)
		batch->iov[i] = (struct iovec){batch->blks[i].page->data, BLK_BYTES};
	return 0;
}

static int writeback_prepare(struct writeback_batch *batch)
{
	int err = writeback_promise(batch);

	if (err < 0)
		return err;
	batch->again = !writeback_renew(batch);
	if (!batch->csums && batch->nblks > 0) {
		batch->csums = calloc(batch->nblks, sizeof(uint32_t));
		if (!batch->csums)
			return -ERR_NOMEM;
	}
	return writeback_inline(batch);
}

static void writeback_attempt(struct writeback_batch *batch)
{
	unsigned int gen = commit_sync_gen(batch->wb->commit);
	int err;

	batch->attempts++;
	batch->err = 0;
	batch->commit.change.nextents = 0;
	if (batch->wb->stopping) {
		writeback_end(batch, -ERR_WRITEBACK);
		return;
	}
	err = writeback_prepare(batch);
	if (err < 0) {
		writeback_end(batch, err);
		return;
	}
	batch->commit.sync_gen = gen;
	batch->commit.csums = batch->csums;
	batch->commit.data = batch->iov;
	batch->commit.change.csums = batch->csums;
	batch->commit.change.nblks = batch->nblks;
	writeback_submit_all(batch);
}

void writeback_start(struct writeback *wb, struct writeback_batch *batch)
{
	ASSERT_LOOP();
	for (uint32_t i = 0; !batch->wb && i < batch->nblks; i++) {
		batch->nplaced += batch->blks[i].placed.n != 0;
		batch->nreserved += batch->blks[i].placed.n == 0; /* since it became dirty */
	}
	batch->wb = wb;
	batch->attempts = 0;
	writeback_attempt(batch);
}

static LOOP_FN void writeback_committed(struct commit_req *req)
{
	struct writeback_batch *batch = CONTAINER_OF(req, struct writeback_batch, commit);

	if (req->err < 0) {
		writeback_fail(batch, req->err);
		return;
	}
	writeback_forget(batch, false); /* the extents are the map's */
	batch->nplaced = 0;
	batch->done(batch, 0);
}

void writeback_note_places(struct writeback_batch *batch)
{
	ASSERT_LOOP();
	assert(batch->only_places && batch->nplaced == 0);
	writeback_keep_places(batch);
}

pblk_t writeback_take_place(struct writeback_batch *batch, uint32_t i)
{
	pblk_t at = batch->blks[i].placed;

	ASSERT_LOOP();
	assert(at.n != 0);
	batch->blks[i].placed = pblk(0);
	batch->nplaced--;
	return at;
}

static LOOP_FN void writeback_durable(struct commit_req *req)
{
	struct writeback_batch *batch = CONTAINER_OF(req, struct writeback_batch, commit);

	batch->durable(batch);
}

void writeback_commit(struct writeback_batch *batch, struct commit_list *unit)
{
	ASSERT_LOOP();
	/* from now on somebody may find them in the map */
	for (uint32_t i = 0; batch->commit.change.inlined && i < batch->commit.change.nextents; i++)
		batch->wb->on_inline(batch->wb->ctx, batch->extents[i].dst,
				     batch->extents[i].nblks);
	batch->commit.change.kind = CHANGE_EPOCH;
	batch->commit.durable = writeback_durable;
	batch->commit.done = writeback_committed;
	STAILQ_INSERT_TAIL(unit, &batch->commit, link);
}

void writeback_batch_fini(struct writeback_batch *batch)
{
	ASSERT_LOOP();
	assert(batch->wb);
	alloc_unreserve(batch->wb->alloc, batch->nreserved);
	writeback_forget(batch, true);
	writeback_unplace(batch, batch->wb->stopping || writeback_places_are_good(batch));
	for (uint32_t i = 0; i < batch->nblks; i++)
		page_put(batch->blks[i].page);
	free(batch->blks);
	free(batch->csums);
	free(batch->extents);
	free(batch->iov);
}

/* Freed blocks on their way back to the allocator. */
struct writeback_freed {
	struct fetch_entry entry;
	struct loop_msg msg;
	struct writeback *wb;
	size_t n;
	size_t
	    reused; /* so many of them the allocator has, and perhaps of the next the beginning */
	struct map_range ranges[];
};

/* Gives back the first blocks of a piece; the rest of it is what is left. */
static void writeback_reuse_part(struct writeback *wb, struct map_range *range, uint64_t nblks)
{
	wb->on_reuse(wb->ctx, range->blk, nblks);
	writeback_give_back(wb, range->blk, nblks);
	wb->releasing_nblks -= nblks;
	range->blk.n += nblks;
	range->nblks -= nblks;
}

/* A checkpoint may free a million pieces at once, and large ones: others have their turn between. */
static LOOP_FN void writeback_reuse(struct loop_msg *msg)
{
	struct writeback_freed *freed = CONTAINER_OF(msg, struct writeback_freed, msg);
	struct writeback *wb = freed->wb;
	uint64_t left = WRITEBACK_REUSE_BLKS;

	for (size_t i = 0; i < WRITEBACK_REUSE_RANGES && freed->reused < freed->n && left > 0;
	     i++) {
		struct map_range *range = &freed->ranges[freed->reused];
		uint64_t nblks = range->nblks < left ? range->nblks : left;

		writeback_reuse_part(wb, range, nblks);
		left -= nblks;
		freed->reused += range->nblks == 0;
	}
	if (freed->reused < freed->n) {
		loop_post(wb->loop, &freed->msg);
	} else {
		free(freed);
		wb->releasing--;
	}
	wb->on_space(wb->ctx);
}

static LOOP_FN void writeback_reusable(struct fetch_entry *entry)
{
	struct writeback_freed *freed = CONTAINER_OF(entry, struct writeback_freed, entry);

	freed->msg.fn = writeback_reuse;
	writeback_reuse(&freed->msg);
}

void writeback_release(struct writeback *wb, const struct map_freed *freed)
{
	struct writeback_freed *held;

	ASSERT_LOOP();
	if (freed->n == 0)
		return;
	held = malloc(sizeof(*held) + freed->n * sizeof(freed->ranges[0]));
	if (!held) {
		log_event(LOG_WARN, "free-blocks-lost-until-restart", "ranges=%zu", freed->n);
		return;
	}
	held->wb = wb;
	held->n = freed->n;
	held->reused = 0;
	memcpy(held->ranges, freed->ranges, freed->n * sizeof(freed->ranges[0]));
	wb->releasing++;
	for (size_t i = 0; i < freed->n; i++)
		wb->releasing_nblks += freed->ranges[i].nblks;
	fetch_barrier(wb->fetcher, &held->entry, writeback_reusable);
}
