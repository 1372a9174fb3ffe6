/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recovery: how long a start takes: with a journal full of committed records of each kind, and with
 * an empty one on an empty store and on a store in a million pieces.
 *
 *	bench/recovery                                     half a minute
 *	bench/recovery journal=256M fragments=1000000      as accepted; minutes
 *
 * The records are put into the journal as the commit thread does it, and none of them is in the map.
 * Where data is written beside them the device reads as zeros, and that is what they say.  Bound: a
 * start with an empty journal takes at most 2x as long on the store in pieces as on the empty one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "bench/lib/samples.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/record.h"

#define EPOCH_BLKS  8192u /* the most of one epoch */
#define OBJECT_BITS 21	  /* blocks: 8 GiB */
#define SYNC_EACH   64u	  /* records between syncs: the last of them are not known durable */
#define STARTS	    5

/* ---- filling the journal --------------------------------------------------------------------- */

struct filler {
	struct rig *rig;
	struct journal *journal;
	struct record record;
	uint64_t next_oid;
	uint64_t oid; /* what is written to */
	uint64_t next_dst;
	uint64_t records;
	struct change_extent extents[EPOCH_BLKS];
	uint32_t csums[EPOCH_BLKS];
	uint8_t *zeros; /* a block */
};

/* One kind of record: the change of the i-th. */
struct kind {
	const char *name;
	bool real_data;
	void (*make)(struct filler *f, uint64_t i, struct change *change);
};

static void make_epoch(struct filler *f, struct change *change, uint32_t nextents, uint32_t nblks)
{
	*change = (struct change){.kind = CHANGE_EPOCH,
				  .oid = f->oid,
				  .size_bytes = UINT64_C(1) << (OBJECT_BITS + BLK_SHIFT),
				  .time_ns = 1,
				  .extents = f->extents,
				  .nextents = nextents,
				  .nblks = nblks,
				  .csums = f->csums};
	f->next_dst += nblks;
}

/* A block written and fsynced, at random. */
static void make_inlined(struct filler *f, uint64_t i, struct change *change)
{
	uint64_t blk = figures_shuffle(i & ((UINT64_C(1) << OBJECT_BITS) - 1), OBJECT_BITS);

	f->extents[0] = (struct change_extent){lblk(blk), pblk(f->next_dst), 1};
	make_epoch(f, change, 1, 1);
	change->inlined = true;
}

/* A full epoch of consecutive blocks. */
static void make_sequential(struct filler *f, uint64_t i, struct change *change)
{
	uint64_t blk = (i * EPOCH_BLKS) & ((UINT64_C(1) << OBJECT_BITS) - 1);

	f->extents[0] = (struct change_extent){lblk(blk), pblk(f->next_dst), EPOCH_BLKS};
	make_epoch(f, change, 1, EPOCH_BLKS);
}

/* A full epoch of blocks that lie as far from each other as the object allows. */
static void make_random(struct filler *f, uint64_t i, struct change *change)
{
	uint64_t gap = (UINT64_C(1) << OBJECT_BITS) / EPOCH_BLKS;

	for (uint32_t e = 0; e < EPOCH_BLKS; e++)
		f->extents[e] = (struct change_extent){lblk(e * gap + (i * 37) % gap),
						       pblk(f->next_dst + e), 1};
	make_epoch(f, change, EPOCH_BLKS, EPOCH_BLKS);
}

static void make_name(struct filler *f, uint64_t i, struct change *change)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "object-%" PRIu64, i);
	*change = (struct change){.kind = CHANGE_CLONE,
				  .oid = f->next_oid++,
				  .other = f->oid,
				  .time_ns = 1,
				  .name = name};
}

static const struct kind kinds[] = {
    {"a block inlined", true, make_inlined},
    {"8192 in sequence", false, make_sequential},
    {"8192 at random", false, make_random},
    {"a clone", false, make_name},
};

/* False: the journal is full. */
static bool append(struct filler *f, const struct change *change)
{
	struct iovec iov = {f->zeros, BLK_BYTES};
	uint64_t nblks;

	record_clear(&f->record);
	MUST(record_add(&f->record, change) == 0, "memory");
	MUST(f->record.ndata <= 1, "more data than there are buffers");
	nblks = journal_record_nblks(f->record.len, f->record.ndata);
	if (!journal_has_room(f->journal, nblks))
		return false;
	MUST(journal_append(f->journal, f->record.bytes, f->record.len, &iov, f->record.ndata) == 0,
	     "append");
	if (++f->records % SYNC_EACH == 0)
		MUST(journal_sync(f->journal) == 0, "sync");
	return true;
}

static void fill_journal(struct filler *f, const struct kind *kind)
{
	struct journal_region region = recover_region(f->rig->map);
	struct change change = {.kind = CHANGE_CREATE, .oid = 1, .name = "a", .time_ns = 1};

	thread_set_role(THREAD_COMMIT);
	MUST(journal_open(&f->rig->dev->dev, &region, f->rig->recovered.journal_key,
			  f->rig->recovered.head, &f->journal) == 0,
	     "journal");
	f->oid = 1;
	f->next_oid = 2;
	f->next_dst = 1 + map_geometry(f->rig->map)->journal_nblks;
	for (uint32_t i = 0; i < EPOCH_BLKS; i++)
		f->csums[i] = rig_zero_csum();
	MUST(append(f, &change), "room");
	for (uint64_t i = 0;; i++) {
		kind->make(f, i, &change);
		if (!append(f, &change))
			break;
	}
	MUST(journal_sync(f->journal) == 0, "sync");
	journal_close(f->journal);
	thread_set_role(THREAD_LOOP);
}

static void run_kind(const struct kind *kind, const struct rig_config *base)
{
	struct filler *f = calloc(1, sizeof(*f));
	struct rig_config config = *base;
	struct rig rig;
	uint64_t since;
	double s;

	MUST(f, "memory");
	f->zeros = aligned_alloc(BLK_BYTES, BLK_BYTES);
	MUST(f->zeros, "memory");
	memset(f->zeros, 0, BLK_BYTES);
	config.real_data = kind->real_data;
	config.data_bytes = kind->real_data ? config.journal_bytes : UINT64_C(4) << 40;
	rig_make(&rig, &config);
	rig_open(&rig);
	rig_recover(&rig);
	f->rig = &rig;
	fill_journal(f, kind);
	rig_close(&rig);
	rig_open(&rig);
	since = clock_now_ns();
	rig_recover(&rig);
	s = (double)(clock_now_ns() - since) / 1e9;
	MUST(rig.recovered.records == f->records, "%" PRIu64 " of %" PRIu64 " records",
	     rig.recovered.records, f->records);
	printf("%-18s %9" PRIu64 " %10" PRIu64 " %8.2f %11.0f %11.0f %9.1f\n", kind->name,
	       rig.recovered.records, rig.recovered.nblks, s, (double)rig.recovered.records / s,
	       (double)rig.recovered.nblks / s, (double)(config.journal_bytes >> 20) / s);
	rig_close(&rig);
	rig_remove(&rig);
	record_fini(&f->record);
	free(f->zeros);
	free(f);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Every other block of the device is mapped: as many extents as free pieces. */
static void make_pieces(struct rig *rig, uint64_t n)
{
	struct rig_fill fill;
	uint64_t oid;

	rig_open(rig);
	rig_fill_begin(&fill, rig);
	oid = rig_fill_create(&fill, "a", n << BLK_SHIFT);
	for (uint64_t i = 0; i < n; i++)
		rig_fill_map(&fill, oid, i, fill.next_dst + 2 * i, 1);
	rig_fill_end(&fill);
	rig_close(rig);
}

/* The median of several starts, in ms. */
static double run_starts(const char *what, const struct rig_config *base, uint64_t pieces)
{
	struct samples open = {0}, recover = {0}, load = {0}, all = {0};
	struct rig_config config = *base;
	struct rig rig;
	double ms;

	config.data_bytes = (2 * pieces + 1024) << BLK_SHIFT;
	rig_make(&rig, &config);
	make_pieces(&rig, pieces);
	for (int i = 0; i < STARTS; i++) {
		uint64_t t[4];

		t[0] = clock_now_ns();
		rig_open(&rig);
		t[1] = clock_now_ns();
		rig_recover(&rig);
		t[2] = clock_now_ns();
		rig_load(&rig);
		t[3] = clock_now_ns();
		samples_add(&open, t[1] - t[0]);
		samples_add(&recover, t[2] - t[1]);
		samples_add(&load, t[3] - t[2]);
		samples_add(&all, t[3] - t[0]);
		rig_stop(&rig);
	}
	ms = (double)samples_at(&all, 500) / 1e6;
	printf("%-24s %9.2f %9.2f %9.2f %9.2f\n", what, (double)samples_at(&open, 500) / 1e6,
	       (double)samples_at(&recover, 500) / 1e6, (double)samples_at(&load, 500) / 1e6, ms);
	samples_fini(&open);
	samples_fini(&recover);
	samples_fini(&load);
	samples_fini(&all);
	rig_remove(&rig);
	return ms;
}

int main(int argc, char **argv)
{
	uint64_t journal = UINT64_C(32) << 20, fragments = 100000, meta = UINT64_C(1) << 30;
	const struct figures_option options[] = {
	    {"journal", &journal, "its size"},
	    {"fragments", &fragments, "of the store in pieces"},
	    {"meta", &meta, "size of the map's file"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.cache_bytes = UINT64_C(64) << 20, .writeback_ms = 5000};
	double empty, pieces;
	char what[40];

	figures_options(argc, argv, options, "recovery of a full journal, and starts without one");
	config.journal_bytes = journal;
	config.meta_bytes = meta;
	printf("%-18s %9s %10s %8s %11s %11s %9s\n", "each record", "records", "blocks", "seconds",
	       "records/s", "blocks/s", "MiB/s");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		run_kind(&kinds[i], &config);
	printf("%-24s %9s %9s %9s %9s\n", "start, ms", "open", "recover", "load", "all");
	empty = run_starts("empty", &config, 1);
	(void)snprintf(what, sizeof(what), "%" PRIu64 " pieces", fragments);
	pieces = run_starts(what, &config, fragments);
	figures_at_most(pieces / empty, 2.0, "start of the store in pieces over the empty one");
	return figures_verdict();
}
