/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal.c: appending to the journal.
 *
 * Records that were taken back, by a rewind or because their write failed, may nevertheless have
 * reached the device.  Followed by records of the history that replaced them they would be taken for
 * a part of it: one begins where the next is looked for, has the number that is looked for, and
 * perhaps nobody knows the CRC before it any more.  So the blocks that they may lie in are wiped
 * before the next record is written, and the sync that makes that record durable does so for the
 * wiping too.
 */
#include "server/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/journal_format.h"

#define WIPE_NBLKS 256u /* in one write */

/* Where a history ends, and what a record that goes on with it has as its chain. */
struct journal_end {
	struct journal_pos pos;
	uint32_t chain;
};

struct journal {
	struct dev *dev;
	struct journal_region region;
	uint64_t key;
	struct journal_pos tail;
	struct journal_end synced;
	struct journal_end head;
	uint64_t stale_nblks; /* from synced on: here may lie records that were taken back */
	bool wiped;	      /* what of these lies behind the head has been written since */
	bool unknown;	      /* a sync has failed, and nothing was rewound */
	uint8_t *buf;	      /* aligned to BLK_BYTES */
	uint64_t buf_nblks;
	struct iovec *iov;
	size_t iov_cap;
};

int journal_open(struct dev *dev, const struct journal_region *region, uint64_t key,
		 struct journal_pos head, struct journal **journal)
{
	struct journal *j = calloc(1, sizeof(*j));

	assert(region->nblks >= JOURNAL_MIN_BLKS && head.blk < region->nblks && head.seq > 0);
	if (!j)
		return -ERR_NOMEM;
	j->dev = dev;
	j->region = *region;
	j->key = key;
	j->tail = head;
	j->synced = (struct journal_end){.pos = head};
	j->head = j->synced;
	*journal = j;
	return 0;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	free(journal->buf);
	free(journal->iov);
	free(journal);
}

struct journal_pos journal_head(const struct journal *journal)
{
	return journal->head.pos;
}

uint64_t journal_record_nblks(size_t body_len, uint32_t ndata)
{
	return blk_count(sizeof(struct disk_record) + body_len) + ndata;
}

/* The blocks from one position to another, onward through the end of the region. */
static uint64_t journal_distance(const struct journal *j, uint64_t from, uint64_t to)
{
	return to >= from ? to - from : to + j->region.nblks - from;
}

/* The blocks left out at the end of the region by a record at the head. */
static uint64_t journal_skip(const struct journal *j, uint64_t nblks)
{
	uint64_t left = j->region.nblks - j->head.pos.blk;

	return nblks > left ? left : 0;
}

bool journal_has_room(const struct journal *journal, uint64_t nblks)
{
	uint64_t used = journal_used_nblks(journal);

	/* a head that has caught up with the tail would look like an empty journal */
	return nblks < journal->region.nblks &&
	       used + journal_skip(journal, nblks) + nblks < journal->region.nblks;
}

uint64_t journal_used_nblks(const struct journal *journal)
{
	return journal_distance(journal, journal->tail.blk, journal->head.pos.blk);
}

/* The blocks of what was appended since the last sync. */
static uint64_t journal_unsynced_nblks(const struct journal *j)
{
	return journal_distance(j, j->synced.pos.blk, j->head.pos.blk);
}

static int journal_reserve_buf(struct journal *j, uint64_t nblks)
{
	uint64_t want = nblks > 2 * j->buf_nblks ? nblks : 2 * j->buf_nblks;
	uint8_t *buf;

	if (nblks <= j->buf_nblks)
		return 0;
	buf = aligned_alloc(BLK_BYTES, want << BLK_SHIFT);
	if (!buf)
		return -ERR_NOMEM;
	free(j->buf);
	j->buf = buf;
	j->buf_nblks = want;
	return 0;
}

static int journal_reserve_iov(struct journal *j, size_t n)
{
	struct iovec *iov;

	if (n <= j->iov_cap)
		return 0;
	iov = reallocarray(j->iov, 2 * n, sizeof(*iov));
	if (!iov)
		return -ERR_NOMEM;
	j->iov = iov;
	j->iov_cap = 2 * n;
	return 0;
}

/* Overwrites with zeros what lies behind the head and may hold records that were taken back. */
static int journal_wipe(struct journal *j)
{
	uint64_t kept = journal_unsynced_nblks(j);
	uint64_t blk = j->head.pos.blk;
	int err;

	if (j->stale_nblks <= kept || j->wiped)
		return 0;
	err = journal_reserve_buf(j, WIPE_NBLKS);
	if (err < 0)
		return err;
	memset(j->buf, 0, WIPE_NBLKS << BLK_SHIFT);
	for (uint64_t left = j->stale_nblks - kept; left > 0;) {
		uint64_t end = j->region.nblks - blk;
		uint64_t most = left < end ? left : end;
		uint64_t n = most < WIPE_NBLKS ? most : WIPE_NBLKS;
		struct iovec iov = {j->buf, n << BLK_SHIFT};

		err = dev_write(j->dev, pblk(j->region.first.n + blk), &iov, 1);
		if (err < 0)
			return err;
		left -= n;
		blk = (blk + n) % j->region.nblks;
	}
	j->wiped = true;
	return 0;
}

/* The record's header and body, padded with zeros, into the buffer.  Returns its CRC. */
static uint32_t journal_encode(struct journal *j, const uint8_t *body, uint32_t body_len,
			       uint32_t ndata)
{
	struct disk_record *d = (struct disk_record *)j->buf;
	size_t len = sizeof(*d) + body_len;
	uint32_t crc;

	le64_put(d->magic, JOURNAL_MAGIC);
	le32_put(d->version, JOURNAL_VERSION);
	le32_put(d->chain, j->head.chain);
	le64_put(d->key, j->key);
	le64_put(d->seq, j->head.pos.seq);
	le64_put(d->durable_seq, j->synced.pos.seq - 1);
	le64_put(d->nblks, journal_record_nblks(body_len, ndata));
	le32_put(d->body_len, body_len);
	le32_put(d->ndata, ndata);
	le32_put(d->zero, 0);
	if (body_len > 0)
		memcpy(j->buf + sizeof(*d), body, body_len);
	memset(j->buf + len, 0, (blk_count(len) << BLK_SHIFT) - len);
	crc = journal_record_crc(j->buf, body_len);
	le32_put(d->crc, crc);
	return crc;
}

/* How many of the buffers make ndata blocks. */
static size_t journal_count_iov(const struct iovec *data, uint32_t ndata)
{
	uint64_t nblks = 0;
	size_t n = 0;

	while (nblks < ndata) {
		assert(data[n].iov_len > 0 && (data[n].iov_len & (BLK_BYTES - 1)) == 0);
		nblks += data[n++].iov_len >> BLK_SHIFT;
	}
	assert(nblks == ndata);
	return n;
}

int journal_append(struct journal *journal, const uint8_t *body, size_t body_len,
		   const struct iovec *data, uint32_t ndata)
{
	struct journal *j = journal;
	uint64_t nblks = journal_record_nblks(body_len, ndata);
	uint64_t skip = journal_skip(j, nblks);
	uint64_t blk = (j->head.pos.blk + skip) % j->region.nblks;
	size_t niov = journal_count_iov(data, ndata);
	uint32_t chain;
	int err;

	ASSERT_COMMIT();
	assert(body_len <= JOURNAL_BODY_MAX && body_len <= (j->region.nblks << BLK_SHIFT) / 4);
	assert(journal_has_room(j, nblks) && !j->unknown);
	err = journal_reserve_buf(j, nblks - ndata);
	if (err == 0)
		err = journal_reserve_iov(j, niov + 1);
	if (err == 0)
		err = journal_wipe(j);
	if (err < 0)
		return err;
	chain = journal_encode(j, body, (uint32_t)body_len, ndata);
	j->iov[0] = (struct iovec){j->buf, (nblks - ndata) << BLK_SHIFT};
	for (size_t i = 0; i < niov; i++)
		j->iov[i + 1] = data[i];
	err = dev_write(j->dev, pblk(j->region.first.n + blk), j->iov, (int)niov + 1);
	if (err < 0) {
		uint64_t end = journal_unsynced_nblks(j) + skip + nblks;

		j->stale_nblks = end > j->stale_nblks ? end : j->stale_nblks;
		j->wiped = false;
		return err;
	}
	j->head.pos.seq++;
	j->head.pos.blk = (blk + nblks) % j->region.nblks;
	j->head.chain = chain;
	return 0;
}

int journal_sync(struct journal *journal)
{
	uint64_t kept = journal_unsynced_nblks(journal);
	int err;

	ASSERT_COMMIT();
	assert(!journal->unknown);
	err = dev_sync(journal->dev);
	if (err < 0) {
		journal->unknown = true;
		return err;
	}
	if (journal->wiped || journal->stale_nblks <= kept)
		journal->stale_nblks = 0;
	else
		journal->stale_nblks -= kept;
	journal->synced = journal->head;
	return 0;
}

void journal_rewind(struct journal *journal)
{
	uint64_t end = journal_unsynced_nblks(journal);

	ASSERT_COMMIT();
	if (end > journal->stale_nblks)
		journal->stale_nblks = end;
	journal->wiped = false;
	journal->unknown = false;
	journal->head = journal->synced;
}

void journal_release(struct journal *journal, struct journal_pos tail)
{
	const struct journal *j = journal;

	ASSERT_COMMIT();
	assert(tail.blk < j->region.nblks);
	assert(tail.seq >= j->tail.seq && tail.seq <= j->synced.pos.seq);
	assert(journal_distance(j, j->tail.blk, tail.blk) <=
	       journal_distance(j, j->tail.blk, j->synced.pos.blk));
	journal->tail = tail;
}
