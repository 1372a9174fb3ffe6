/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal_replay.c: reading the journal after a start.
 *
 * Two passes over the chain of records.  The first finds its end, and the highest sequence number
 * that any record of the region says to be durable: those behind the end are looked for at every
 * block, since nothing else says where they begin.  The second hands the records out, each with
 * what is known of it by then.
 */
#include "server/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/journal_format.h"

#define WINDOW_NBLKS 256u /* read at once, unless a record is longer */

/* What the header of a record says. */
struct replay_head {
	uint64_t seq;
	uint64_t durable_seq;
	uint64_t nblks;
	uint32_t body_len;
	uint32_t ndata;
	uint32_t chain;
	uint32_t crc;
};

struct replay {
	struct dev *dev;
	struct journal_region region;
	uint64_t key;
	bool with_data;	 /* records are read whole, not only header and body */
	uint8_t *window; /* these blocks of the region */
	uint64_t window_blk;
	uint64_t window_nblks;
	uint64_t window_cap;
};

/* Where a walk along the chain is. */
struct replay_walk {
	struct journal_pos pos;
	uint32_t chain; /* what the record here has to have, unless it is the first */
	bool first;
};

/* Blocks of the region, valid until the next call. */
static int replay_read(struct replay *rp, uint64_t blk, uint64_t nblks, const uint8_t **bytes)
{
	uint64_t want = nblks > WINDOW_NBLKS ? nblks : WINDOW_NBLKS;
	struct iovec iov;
	int err;

	if (blk < rp->window_blk || blk + nblks > rp->window_blk + rp->window_nblks) {
		if (want > rp->region.nblks - blk)
			want = rp->region.nblks - blk;
		rp->window_nblks = 0;
		if (want > rp->window_cap) {
			free(rp->window);
			rp->window = aligned_alloc(BLK_BYTES, want << BLK_SHIFT);
			rp->window_cap = rp->window ? want : 0;
		}
		if (!rp->window)
			return -ERR_NOMEM;
		iov = (struct iovec){rp->window, want << BLK_SHIFT};
		err = dev_read(rp->dev, pblk(rp->region.first.n + blk), &iov, 1);
		if (err < 0)
			return err;
		rp->window_blk = blk;
		rp->window_nblks = want;
	}
	*bytes = rp->window + ((blk - rp->window_blk) << BLK_SHIFT);
	return 0;
}

/* Whether a block can be the first of a record of this key, by its header alone. */
static bool replay_parse(const struct replay *rp, uint64_t blk, const uint8_t *bytes,
			 struct replay_head *head)
{
	const struct disk_record *d = (const struct disk_record *)bytes;

	if (le64_get(d->magic) != JOURNAL_MAGIC || le32_get(d->version) != JOURNAL_VERSION ||
	    le64_get(d->key) != rp->key || le32_get(d->zero) != 0)
		return false;
	*head = (struct replay_head){
	    .seq = le64_get(d->seq),
	    .durable_seq = le64_get(d->durable_seq),
	    .nblks = le64_get(d->nblks),
	    .body_len = le32_get(d->body_len),
	    .ndata = le32_get(d->ndata),
	    .chain = le32_get(d->chain),
	    .crc = le32_get(d->crc),
	};
	return head->durable_seq < head->seq && head->body_len <= JOURNAL_BODY_MAX &&
	       head->body_len <= (rp->region.nblks << BLK_SHIFT) / 4 &&
	       head->nblks == journal_record_nblks(head->body_len, head->ndata) &&
	       head->nblks <= rp->region.nblks - blk;
}

/* 1 where a well-formed record with one of these sequence numbers begins, 0 where none does. */
static int replay_look(struct replay *rp, uint64_t blk, uint64_t seq_min, uint64_t seq_max,
		       struct replay_head *head)
{
	const uint8_t *bytes;
	int err = replay_read(rp, blk, 1, &bytes);

	if (err < 0)
		return err;
	if (!replay_parse(rp, blk, bytes, head) || head->seq < seq_min || head->seq > seq_max)
		return 0;
	err = replay_read(rp, blk, head->nblks - (rp->with_data ? 0 : head->ndata), &bytes);
	if (err < 0)
		return err;
	return journal_record_crc(bytes, head->body_len) == head->crc;
}

/* Looks for the next record of the chain, here and at the region's start: 1, with its place, or 0. */
static int replay_next(struct replay *rp, const struct replay_walk *walk, struct replay_head *head,
		       uint64_t *blk)
{
	const uint64_t places[] = {walk->pos.blk, 0};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		int rc = replay_look(rp, places[i], walk->pos.seq, walk->pos.seq, head);

		if (rc < 0)
			return rc;
		if (rc > 0 && (walk->first || head->chain == walk->chain)) {
			*blk = places[i];
			return 1;
		}
	}
	return 0;
}

static void replay_step(const struct replay *rp, struct replay_walk *walk,
			const struct replay_head *head, uint64_t blk)
{
	walk->pos.seq++;
	walk->pos.blk = (blk + head->nblks) % rp->region.nblks;
	walk->chain = head->crc;
	walk->first = false;
}

static void replay_cut(struct journal_pos pos, const char *reason)
{
	log_event(LOG_WARN, "journal-cut", "seq=%" PRIu64 " block=%" PRIu64 " reason=%s", pos.seq,
		  pos.blk, reason);
}

/*
 * The chain ends here, and what is no record of it looks like one: two of three marks are a record's.  It
 * was being written when the power went, or it is damaged: nobody can tell, as it was not known durable.
 */
static int replay_note_end(struct replay *rp, const struct replay_walk *walk)
{
	const uint64_t places[] = {walk->pos.blk, 0};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const struct disk_record *d;
		struct replay_head head;
		const uint8_t *bytes;
		int rc = replay_look(rp, places[i], 0, UINT64_MAX, &head);

		if (rc == 0)
			rc = replay_read(rp, places[i], 1, &bytes);
		else if (rc > 0)
			continue; /* of another time, and whole */
		if (rc < 0)
			return rc;
		d = (const struct disk_record *)bytes;
		if ((le64_get(d->magic) == JOURNAL_MAGIC) + (le64_get(d->key) == rp->key) +
			(le64_get(d->seq) == walk->pos.seq) >=
		    2)
			replay_cut(walk->pos, "torn");
	}
	return 0;
}

static int replay_damaged(struct journal_pos pos, const char *reason)
{
	log_event(LOG_ERROR, "journal-damaged", "seq=%" PRIu64 " block=%" PRIu64 " reason=%s",
		  pos.seq, pos.blk, reason);
	return -ERR_JOURNAL;
}

/* The first pass: where the chain ends, and up to where it is known durable. */
static int replay_survey(struct replay *rp, struct journal_pos tail, struct journal_pos *end,
			 uint64_t *durable_seq)
{
	struct replay_walk walk = {.pos = tail, .first = true};
	struct replay_head head;
	uint64_t durable = 0;
	uint64_t blk;
	int rc;

	while ((rc = replay_next(rp, &walk, &head, &blk)) > 0) {
		replay_step(rp, &walk, &head, blk);
		durable = head.durable_seq > durable ? head.durable_seq : durable;
	}
	for (blk = 0; rc == 0 && blk < rp->region.nblks; blk++) {
		rc = replay_look(rp, blk, walk.pos.seq + 1, UINT64_MAX, &head);
		if (rc > 0 && head.durable_seq > durable)
			durable = head.durable_seq;
		rc = rc < 0 ? rc : 0;
	}
	if (rc < 0)
		return rc;
	if (durable >= walk.pos.seq)
		return replay_damaged(walk.pos, "missing");
	rc = replay_note_end(rp, &walk);
	if (rc < 0)
		return rc;
	*end = walk.pos;
	*durable_seq = durable;
	return 0;
}

/* Hands out one record, with its data; what fn returned. */
static int replay_hand_out(struct replay *rp, const struct replay_walk *walk,
			   const struct replay_head *head, uint64_t blk, bool durable,
			   int (*fn)(void *ctx, const struct journal_found *found), void *ctx)
{
	uint64_t body_nblks = head->nblks - head->ndata;
	struct replay_walk next = *walk;
	struct journal_found found;
	const uint8_t *bytes;
	int err = replay_read(rp, blk, head->nblks, &bytes); /* from what was checked just now */

	if (err < 0)
		return err;
	replay_step(rp, &next, head, blk);
	found = (struct journal_found){
	    .pos = {.seq = head->seq, .blk = blk},
	    .body = bytes + sizeof(struct disk_record),
	    .body_len = head->body_len,
	    .data = bytes + (body_nblks << BLK_SHIFT),
	    .ndata = head->ndata,
	    .data_blk = pblk(rp->region.first.n + blk + body_nblks),
	    .durable = durable,
	    .next = next.pos,
	};
	err = fn(ctx, &found);
	return err > 0 && durable ? replay_damaged(found.pos, "data") : err;
}

/* The second pass, up to the end that the first has found or the first record that does not fit. */
static int replay_records(struct replay *rp, struct journal_pos tail, uint64_t durable_seq,
			  int (*fn)(void *ctx, const struct journal_found *found), void *ctx,
			  struct journal_pos *end)
{
	struct replay_walk walk = {.pos = tail, .first = true};
	struct replay_head head;
	uint64_t blk;
	int rc;

	rp->with_data = true;
	while (walk.pos.seq < end->seq) {
		rc = replay_next(rp, &walk, &head, &blk);
		if (rc == 0)
			return replay_damaged(walk.pos, "unstable");
		if (rc > 0)
			rc = replay_hand_out(rp, &walk, &head, blk, head.seq <= durable_seq, fn,
					     ctx);
		if (rc < 0)
			return rc;
		if (rc > 0) {
			replay_cut(walk.pos, "data");
			break;
		}
		replay_step(rp, &walk, &head, blk);
	}
	*end = walk.pos;
	return 0;
}

int journal_replay(struct dev *dev, const struct journal_region *region, uint64_t key,
		   struct journal_pos tail, int (*fn)(void *ctx, const struct journal_found *found),
		   void *ctx, struct journal_pos *end)
{
	struct replay rp = {.dev = dev, .region = *region, .key = key};
	struct journal_pos last;
	uint64_t durable_seq;
	int err;

	assert(region->nblks >= JOURNAL_MIN_BLKS);
	if (tail.seq == 0 || tail.blk >= region->nblks)
		return replay_damaged(tail, "tail");
	err = replay_survey(&rp, tail, &last, &durable_seq);
	if (err == 0)
		err = replay_records(&rp, tail, durable_seq, fn, ctx, &last);
	free(rp.window);
	if (err == 0)
		*end = last;
	return err;
}
