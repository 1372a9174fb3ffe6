/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "tests/lib/rnd.h"

/* A body: the record's number, that of the one before, the CRC of each data block, and filling. */
#define BODY_FIXED 16u

#define GUARD_NBLKS 2u /* behind the region */

static void *bed_alloc(size_t len)
{
	void *mem = aligned_alloc(BLK_BYTES, blk_count(len + 1) << BLK_SHIFT);

	assert_non_null(mem);
	memset(mem, 0, len);
	return mem;
}

struct bed *bed_new(uint64_t nblks, uint64_t head)
{
	struct bed *bed = bed_alloc(sizeof(*bed));

	thread_set_role(THREAD_COMMIT);
	bed->fd = fake_dev_new(BED_FIRST + nblks + GUARD_NBLKS);
	bed->region = (struct journal_region){.first = pblk(BED_FIRST), .nblks = nblks};
	bed->key = 7;
	bed->tail = (struct journal_pos){.seq = 1, .blk = head};
	bed->places = bed_alloc((BED_SEQ_MAX + 1) * sizeof(*bed->places));
	bed->found = bed_alloc((BED_SEQ_MAX + 1) * sizeof(*bed->found));
	assert_int_equal(
	    journal_open(&bed->fd->dev, &bed->region, bed->key, bed->tail, &bed->journal), 0);
	return bed;
}

/* Nobody has written outside of the region. */
static void bed_check_guards(struct bed *bed)
{
	static const uint8_t zeros[BLK_BYTES];

	for (uint64_t b = 1; b < BED_FIRST; b++)
		assert_true(fake_dev_holds(bed->fd, pblk(b), zeros));
	for (uint64_t b = 0; b < GUARD_NBLKS; b++)
		assert_true(
		    fake_dev_holds(bed->fd, pblk(BED_FIRST + bed->region.nblks + b), zeros));
}

void bed_free(struct bed *bed)
{
	bed_check_guards(bed);
	journal_close(bed->journal);
	dev_close(&bed->fd->dev);
	free(bed->records);
	free(bed->places);
	free(bed->found);
	free(bed);
}

int bed_setup(void **state)
{
	*state = bed_new(BED_NBLKS, 0);
	return 0;
}

int bed_setup_large(void **state)
{
	*state = bed_new(BED_LARGE_NBLKS, 0);
	return 0;
}

int bed_teardown(void **state)
{
	bed_free(*state);
	return 0;
}

static void bed_fill_data(uint8_t *blk, uint64_t id, uint32_t number)
{
	rnd_fill(blk, BLK_BYTES, id << 20 | number);
}

/* The bytes of a record's body, to be freed. */
static uint8_t *bed_body(uint64_t id, const struct bed_record *rec)
{
	uint8_t *body = bed_alloc(rec->body_len);
	uint8_t *blk = bed_alloc(BLK_BYTES);
	uint32_t at = BODY_FIXED;

	le64_put(body, id);
	le64_put(body + 8, rec->before);
	for (uint32_t i = 0; i < rec->ndata; i++, at += 4) {
		bed_fill_data(blk, id, i);
		le32_put(body + at, crc32c(0, blk, BLK_BYTES));
	}
	rnd_fill(body + at, rec->body_len - at, id << 20 | UINT32_C(0xfffff));
	free(blk);
	return body;
}

static uint32_t bed_body_len(uint32_t body_len, uint32_t ndata)
{
	uint32_t least = BODY_FIXED + 4 * ndata;

	return body_len > least ? body_len : least;
}

static uint64_t bed_add_record(struct bed *bed, uint32_t body_len, uint32_t ndata)
{
	struct journal_pos head = journal_head(bed->journal);
	struct bed_record *rec;

	assert_true(head.seq < BED_SEQ_MAX);
	bed->records = reallocarray(bed->records, bed->nrecords + 1, sizeof(*bed->records));
	assert_non_null(bed->records);
	rec = &bed->records[bed->nrecords++];
	rec->before = bed->places[head.seq - 1].id;
	rec->seq = head.seq;
	rec->body_len = bed_body_len(body_len, ndata);
	rec->ndata = ndata;
	return bed->nrecords;
}

/* The data of a record as buffers of one block, but the last of two where there are as many. */
static uint32_t bed_data(uint64_t id, uint8_t *mem, uint32_t ndata, struct iovec *iov)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ndata; i++) {
		bed_fill_data(mem + (size_t)i * BLK_BYTES, id, i);
		if (i > 0 && i + 1 == ndata)
			iov[n - 1].iov_len += BLK_BYTES;
		else
			iov[n++] = (struct iovec){mem + (size_t)i * BLK_BYTES, BLK_BYTES};
	}
	return n;
}

int bed_append(struct bed *bed, uint32_t body_len, uint32_t ndata)
{
	uint64_t id = bed_add_record(bed, body_len, ndata);
	const struct bed_record *rec = &bed->records[id - 1];
	uint8_t *body = bed_body(id, rec);
	uint8_t *mem = bed_alloc((size_t)ndata * BLK_BYTES);
	struct iovec *iov = bed_alloc(ndata * sizeof(*iov));
	struct bed_place *place = &bed->places[rec->seq];
	uint64_t nblks = journal_record_nblks(rec->body_len, ndata);
	int err;

	(void)bed_data(id, mem, ndata, iov);
	err = journal_append(bed->journal, body, rec->body_len, iov, ndata);
	if (err == 0) {
		struct journal_pos next = journal_head(bed->journal);
		uint64_t end = next.blk ? next.blk : bed->region.nblks;

		*place = (struct bed_place){
		    .id = id, .pos = {.seq = rec->seq, .blk = end - nblks}, .next = next};
		assert_int_equal(next.seq, rec->seq + 1);
	}
	free(body);
	free(mem);
	free(iov);
	return err;
}

void bed_add(struct bed *bed, uint32_t body_len, uint32_t ndata)
{
	assert_int_equal(bed_append(bed, body_len, ndata), 0);
}

int bed_sync(struct bed *bed)
{
	int err = journal_sync(bed->journal);

	if (err == 0)
		bed->synced_seq = bed_last_seq(bed);
	return err;
}

void bed_put(struct bed *bed, uint32_t nblks)
{
	assert_int_equal(bed_append(bed, 0, nblks - 1), 0);
}

void bed_put_synced(struct bed *bed, uint32_t nblks)
{
	bed_put(bed, nblks);
	assert_int_equal(bed_sync(bed), 0);
}

void bed_rewind(struct bed *bed)
{
	journal_rewind(bed->journal);
	assert_int_equal(bed_last_seq(bed), bed->synced_seq);
}

void bed_release(struct bed *bed, uint64_t seq)
{
	assert_true(seq <= bed->synced_seq);
	if (seq < bed->tail.seq)
		return;
	bed->tail = bed->places[seq].next;
	journal_release(bed->journal, bed->tail);
}

uint64_t bed_last_seq(const struct bed *bed)
{
	return journal_head(bed->journal).seq - 1;
}

bool bed_has_room(const struct bed *bed, uint32_t body_len, uint32_t ndata)
{
	return journal_has_room(bed->journal,
				journal_record_nblks(bed_body_len(body_len, ndata), ndata));
}

void bed_crash(struct bed *bed, bool (*survives)(void *ctx, uint64_t sector), void *ctx)
{
	if (survives)
		fake_dev_land(bed->fd, survives, ctx);
	fake_dev_cut(bed->fd);
	journal_close(bed->journal);
	bed->journal = NULL;
}

static bool bed_data_fits(const struct journal_found *found)
{
	for (uint32_t i = 0; i < found->ndata; i++)
		if (crc32c(0, found->data + (size_t)i * BLK_BYTES, BLK_BYTES) !=
		    le32_get(found->body + BODY_FIXED + (size_t)i * 4))
			return false;
	return true;
}

static void bed_check_position(const struct bed *bed, const struct journal_found *found)
{
	uint64_t nblks = journal_record_nblks(found->body_len, found->ndata);
	uint64_t data_blk = BED_FIRST + found->pos.blk + nblks - found->ndata;

	assert_true(found->pos.blk + nblks <= bed->region.nblks);
	assert_int_equal(found->next.blk, (found->pos.blk + nblks) % bed->region.nblks);
	assert_int_equal(found->next.seq, found->pos.seq + 1);
	assert_int_equal(found->data_blk.n, data_blk);
}

static int bed_found(void *ctx, const struct journal_found *found)
{
	struct bed *bed = ctx;
	uint64_t seq = found->pos.seq;
	uint64_t last = bed->nfound ? bed->found[seq - 1].id : bed->places[seq - 1].id;
	uint64_t id = le64_get(found->body);
	const struct bed_record *rec;
	uint8_t *body;

	assert_true(id > 0 && id <= bed->nrecords);
	rec = &bed->records[id - 1];
	assert_int_equal(seq, bed->tail.seq + bed->nfound);
	assert_int_equal(rec->seq, seq);
	assert_int_equal(rec->before, last);
	assert_int_equal(rec->body_len, found->body_len);
	assert_int_equal(rec->ndata, found->ndata);
	body = bed_body(id, rec);
	assert_memory_equal(body, found->body, rec->body_len);
	free(body);
	bed_check_position(bed, found);
	if (seq <= bed->synced_seq)
		assert_int_equal(id, bed->places[seq].id);
	else
		assert_false(found->durable);
	if (!bed_data_fits(found))
		return 1;
	bed->found[seq] = (struct bed_place){
	    .id = id, .pos = found->pos, .next = found->next, .durable = found->durable};
	bed->nfound++;
	return 0;
}

int bed_replay(struct bed *bed, struct journal_pos *end)
{
	bed->nfound = 0;
	return journal_replay(&bed->fd->dev, &bed->region, bed->key, bed->tail, bed_found, bed,
			      end);
}

/* A check that also tells where the journal ends. */
static struct journal_pos bed_check_end(struct bed *bed)
{
	struct journal_pos end = {0};

	assert_int_equal(bed_replay(bed, &end), 0);
	assert_int_equal(end.seq, bed->tail.seq + bed->nfound);
	assert_int_equal(end.blk, bed->nfound ? bed->found[end.seq - 1].next.blk : bed->tail.blk);
	assert_true(end.seq > bed->synced_seq);
	return end;
}

void bed_check(struct bed *bed)
{
	(void)bed_check_end(bed);
}

void bed_check_finds(struct bed *bed, uint64_t n)
{
	bed_check(bed);
	assert_int_equal(bed->nfound, n);
}

void bed_restart(struct bed *bed)
{
	struct journal_pos end = bed_check_end(bed);

	for (uint64_t seq = bed->tail.seq; seq < end.seq; seq++)
		bed->places[seq] = bed->found[seq];
	bed->synced_seq = end.seq - 1;
	bed->tail = end;
	bed->key++;
	journal_close(bed->journal);
	assert_int_equal(journal_open(&bed->fd->dev, &bed->region, bed->key, end, &bed->journal),
			 0);
}

pblk_t bed_blk(const struct bed *bed, uint64_t seq)
{
	return pblk(bed->region.first.n + bed->places[seq].pos.blk);
}
