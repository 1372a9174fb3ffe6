/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bed.h: a test bed of the journal: one on a fake device, with records that can be told apart and
 * that say which record they were written after.  So what a replay finds is judged without looking
 * into the journal.  For unit tests: what must hold is asserted.  Owns all that it points to; the
 * test's thread acts as the commit thread.
 */
#ifndef TESTS_LIB_BED_H
#define TESTS_LIB_BED_H

#include <stdbool.h>
#include <stdint.h>

#include "server/journal.h"
#include "tests/lib/fake_dev.h"

#define BED_FIRST   3u	   /* the region's first block on the device */
#define BED_SEQ_MAX 20000u /* of the records of one bed */

#define BED_LARGE_NBLKS 2048u

/* A record that was tried, known by its number (from 1), whether or not that succeeded. */
struct bed_record {
	uint64_t before; /* the record that it was to follow; 0: none */
	uint64_t seq;
	uint32_t body_len;
	uint32_t ndata;
};

/* What a sequence number stands for. */
struct bed_place {
	uint64_t id;
	struct journal_pos pos;
	struct journal_pos next;
	bool durable;
};

struct bed {
	struct fake_dev *fd;
	struct journal_region region;
	uint64_t key;
	struct journal *journal; /* NULL after a crash */
	struct journal_pos tail; /* as the map would know it */
	uint64_t synced_seq;
	struct bed_record *records;
	uint64_t nrecords;
	struct bed_place *places; /* by sequence number: of the running journal */
	struct bed_place *found;  /* and of the last replay */
	uint64_t nfound;
};

/* An empty journal of nblks blocks, the first record at block "head". */
struct bed *bed_new(uint64_t nblks, uint64_t head);
void bed_free(struct bed *bed);

#define BED_NBLKS 64u

/* cmocka's: *state is a bed of BED_NBLKS blocks, or of BED_LARGE_NBLKS. */
int bed_setup(void **state);
int bed_setup_large(void **state);
int bed_teardown(void **state);

/* A record with a body of at least so many bytes, and so many blocks of data. */
int bed_append(struct bed *bed, uint32_t body_len, uint32_t ndata);

/* The same; it succeeds. */
void bed_add(struct bed *bed, uint32_t body_len, uint32_t ndata);
int bed_sync(struct bed *bed);

/* A record of so many blocks, one of them header and body; it succeeds, and in the second a sync. */
void bed_put(struct bed *bed, uint32_t nblks);
void bed_put_synced(struct bed *bed, uint32_t nblks);

void bed_rewind(struct bed *bed);

/* All records up to and with seq have been folded into the map. */
void bed_release(struct bed *bed, uint64_t seq);

/* The last record appended, and how much room there is for another. */
uint64_t bed_last_seq(const struct bed *bed);
bool bed_has_room(const struct bed *bed, uint32_t body_len, uint32_t ndata);

/*
 * A power cut, of which those sectors survive that were written since the last sync and for which
 * survives() is true; NULL: none.  The journal is gone, its records are what a replay finds.
 */
void bed_crash(struct bed *bed, bool (*survives)(void *ctx, uint64_t sector), void *ctx);

/* Replays into bed->found, and checks each record; what journal_replay() returned. */
int bed_replay(struct bed *bed, struct journal_pos *end);

/* Replays and checks that the records are a prefix of a history with all that was synced. */
void bed_check(struct bed *bed);

/* The same, and so many are found. */
void bed_check_finds(struct bed *bed, uint64_t n);

/* Goes on behind what bed_check() finds, as the next run, with an empty journal. */
void bed_restart(struct bed *bed);

/* The first block of the record with this sequence number, on the device. */
pblk_t bed_blk(const struct bed *bed, uint64_t seq);

#endif
