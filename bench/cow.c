/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow: what the first random 4 KiB writes into a clone of a fully written object cost in bytes, by
 * where they go: the data area, the journal, the map.
 *
 *	bench/cow                                          some seconds
 *	bench/cow bytes=1G writes=25600                    as accepted; 3 GiB of disk
 *
 * On a real file, all of it.  Once with 32 writes under way and a closing fsync, once with an fsync
 * after each write; the checkpoint that ends each is counted too.  Bound: 1.05 bytes in the data area
 * for each byte sent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "common/clock.h"
#include "common/err.h"

#define PIECE 256u /* blocks of a write in sequence */

struct counts {
	uint64_t data;
	uint64_t journal;
	uint64_t map;
	uint64_t reads;
	uint64_t syncs;
};

static struct counts count(const struct rig *rig)
{
	const struct region_dev *rd = rig->dev;
	struct counts c = {
	    .data = atomic_load(&rd->regions[REGION_DATA].written_nblks) << BLK_SHIFT,
	    .journal = atomic_load(&rd->regions[REGION_JOURNAL].written_nblks) << BLK_SHIFT,
	    .reads = atomic_load(&rd->regions[REGION_DATA].read_nblks) << BLK_SHIFT,
	    .syncs = atomic_load(&rd->syncs)};

	c.map = figures_written_bytes() - (atomic_load(&rd->passed_nblks) << BLK_SHIFT);
	return c;
}

static uint64_t sequential(void *ctx, uint64_t i)
{
	(void)ctx;
	return i * PIECE;
}

static uint64_t shuffled(void *ctx, uint64_t i)
{
	return figures_shuffle(i, *(const unsigned int *)ctx);
}

static void write_base(struct rig *rig, uint64_t nblks)
{
	struct rig_run run = {
	    .write = true, .n = nblks / PIECE, .nblks = PIECE, .depth = 8, .at = sequential};

	rig_create(rig, "base", nblks << BLK_SHIFT);
	run.handle = rig_open_object(rig, "base");
	rig_run(rig, &run);
	MUST(object_close(run.handle) == 0, "close");
	rig_flush(rig);
}

static void measure(struct rig *rig, const char *name, unsigned int bits, uint64_t n, bool fsyncs)
{
	struct rig_run run = {.write = true,
			      .n = n,
			      .nblks = 1,
			      .depth = fsyncs ? 1 : 32,
			      .fsync_each = fsyncs,
			      .at = shuffled,
			      .ctx = &bits};
	double sent = (double)(n << BLK_SHIFT);
	struct counts was, is;
	uint64_t since;
	double s;

	rig_clone(rig, "base", name);
	run.handle = rig_open_object(rig, name);
	rig_flush(rig);
	was = count(rig);
	since = clock_now_ns();
	rig_run(rig, &run);
	rig_fsync(rig, run.handle);
	s = (double)(clock_now_ns() - since) / 1e9;
	rig_flush(rig);
	is = count(rig);
	MUST(object_close(run.handle) == 0, "close");
	printf("%-18s %8" PRIu64 " %8.0f %8.3f %8.3f %8.3f %8" PRIu64 " %8" PRIu64 "\n", name, n,
	       (double)n / s, (double)(is.data - was.data) / sent,
	       (double)(is.journal - was.journal) / sent, (double)(is.map - was.map) / sent,
	       (is.reads - was.reads) >> BLK_SHIFT, is.syncs - was.syncs);
	figures_at_most((double)(is.data - was.data) / sent, 1.05,
			"%s: bytes in the data area for each byte sent", name);
}

int main(int argc, char **argv)
{
	uint64_t bytes = UINT64_C(256) << 20, writes = 8192, synced = 2048;
	const struct figures_option options[] = {
	    {"bytes", &bytes, "of the object"},
	    {"writes", &writes, "with one fsync"},
	    {"synced", &synced, "with an fsync after each"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.journal_bytes = UINT64_C(64) << 20,
				    .meta_bytes = UINT64_C(1) << 30,
				    .real_data = true,
				    .cache_bytes = UINT64_C(128) << 20,
				    .writeback_ms = 5000};
	struct rig rig;
	unsigned int bits;

	figures_options(argc, argv, options, "first writes into a clone: bytes by where they go");
	bits = figures_bits(bytes >> BLK_SHIFT);
	MUST(writes <= UINT64_C(1) << bits && synced <= UINT64_C(1) << bits, "too many writes");
	config.data_bytes = (UINT64_C(1) << (bits + BLK_SHIFT)) * 2;
	rig_make(&rig, &config);
	rig_start(&rig);
	write_base(&rig, UINT64_C(1) << bits);
	printf("%-18s %8s %8s %8s %8s %8s %8s %8s\n", "", "writes", "per s", "data", "journal",
	       "map", "reads", "syncs");
	measure(&rig, "32-under-way", bits, writes, false);
	measure(&rig, "fsync-each", bits, synced, true);
	rig_stop(&rig);
	rig_remove(&rig);
	return figures_verdict();
}
