/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal.h: the commit journal: records in a circular region of the data device, whose blocks have
 * all been written before, so that a record and a sync cost one device flush.
 *
 * Owns the region, not the device.  One thread: who starts the store replays, then the commit thread
 * appends.  It does not know what is in a record (record.h).
 *
 *	          tail             synced          head
 *	  ---------|=================|==============|----------------
 *	   free    | durable records | appended     | free
 *
 * A record is a header and a body, padded to whole blocks, and then blocks of data.  It lies in one
 * piece: one that does not fit before the end of the region begins at its start.  Records have
 * consecutive sequence numbers, from the tail on, and the key of the run that wrote them: each start
 * of the server draws a new one and leaves the journal empty, so a stale record is never taken for a
 * new one; and since clients cannot know it, nothing that they write (inlined blocks lie in the
 * region) is ever taken for a record.
 *
 * Each record says up to which sequence number those before it were known durable when it was
 * written.  No flush is needed between data and record: recovery accepts a record whose own CRC fits
 * and, unless it is known durable, only if the data that it refers to fits too (the caller's
 * judgement).  The first record that does not ends the journal.  A record that is missing or bad
 * though a later one says that it was durable is an error (-ERR_JOURNAL), not an end.
 */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/annot.h"
#include "server/blk.h"
#include "server/dev.h"

/* A record's body is at most this long, and at most a quarter of the region. */
#define JOURNAL_BODY_MAX (UINT32_C(4) << 20)

/* Where a record is, or will be. */
struct journal_pos {
	uint64_t seq; /* of the record; the first is 1 */
	uint64_t blk; /* its first block, counted from the region's first */
};

struct journal_region {
	pblk_t first;
	uint64_t nblks; /* at least JOURNAL_MIN_BLKS */
};

#define JOURNAL_MIN_BLKS 61u

struct journal;

/* A record as it is found: valid during the call. */
struct journal_found {
	struct journal_pos pos;
	const uint8_t *body;
	uint32_t body_len;
	const uint8_t *data; /* ndata blocks */
	uint32_t ndata;
	pblk_t data_blk;	 /* where they lie on the device */
	bool durable;		 /* known so: whatever does not fit is damage */
	struct journal_pos next; /* the position behind it */
};

/*
 * Calls fn for each record from tail on that has this key, in order.  fn returns 0 to go on,
 * 1 where the record does not fit (it and what follows never happened; never for a durable one), or
 * a negative error.  *end: where the next record goes.  -ERR_NOMEM, -ERR_IO, -ERR_JOURNAL, or what fn
 * returned.  Reads only.
 */
int journal_replay(struct dev *dev, const struct journal_region *region, uint64_t key,
		   struct journal_pos tail, int (*fn)(void *ctx, const struct journal_found *found),
		   void *ctx, struct journal_pos *end) MUST_CHECK;

/* An empty journal whose first record goes to "head".  -ERR_NOMEM. */
int journal_open(struct dev *dev, const struct journal_region *region, uint64_t key,
		 struct journal_pos head, struct journal **journal) MUST_CHECK;
void journal_close(struct journal *journal);

/* Where the next record goes. */
struct journal_pos journal_head(const struct journal *journal);

/* The blocks that a record takes. */
uint64_t journal_record_nblks(size_t body_len, uint32_t ndata);

/* True if a record of so many blocks can be appended now. */
bool journal_has_room(const struct journal *journal, uint64_t nblks);

/* The blocks between tail and head, those skipped at the end of the region included. */
uint64_t journal_used_nblks(const struct journal *journal);

/*
 * Writes a record at the head.  "data" are whole blocks, aligned to BLK_BYTES.  There is room.  After
 * an error nothing was appended.  -ERR_IO, -ERR_SHORT_IO, -ERR_NOMEM.
 */
int journal_append(struct journal *journal, const uint8_t *body, size_t body_len,
		   const struct iovec *data, uint32_t ndata) MUST_CHECK;

/*
 * Syncs the device: every record appended, and every write to the device that had completed, is
 * durable.  After an error nothing is known of them: journal_rewind() takes the records back, and
 * those that are appended next overwrite them.
 */
int journal_sync(struct journal *journal) MUST_CHECK;
void journal_rewind(struct journal *journal);

/* The records before tail are not needed any more. */
void journal_release(struct journal *journal, struct journal_pos tail);

#endif
