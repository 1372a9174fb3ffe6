/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metadata: the bytes of the map in use for each byte of data, of an object written in sequence and
 * of one written in blocks of 4 KiB in random order; and of the latter overwritten once more.
 *
 *	bench/metadata                                     some seconds
 *	bench/metadata seq=64G random=64G meta=2G          as accepted; some minutes
 *
 * The data device drops what is written.  Bounds: 0.2 % in sequence, 1 % at random.  A tree that is
 * only partly written costs more for each block, since a leaf stands for 128 of them: the table shows
 * it on the way.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/size.h"

#define PIECE 256u /* blocks of a write in sequence */

struct order {
	unsigned int bits;
	uint64_t from;
};

static uint64_t sequential(void *ctx, uint64_t i)
{
	(void)ctx;
	return i * PIECE;
}

static uint64_t shuffled(void *ctx, uint64_t i)
{
	const struct order *order = ctx;

	return figures_shuffle(order->from + i, order->bits);
}

/* Prints a line, and returns the map's bytes for each of data. */
static double report(struct rig *rig, const char *what, uint64_t nblks, uint64_t since)
{
	uint64_t bytes = nblks << BLK_SHIFT;
	char data[SIZE_TEXT_MAX], map[SIZE_TEXT_MAX];
	uint64_t used;
	double share;

	rig_flush(rig);
	used = rig_meta_bytes(rig);
	share = (double)used / (double)bytes;
	printf("%-24s %10s %10s %8.4f %% %8.1f s\n", what, size_format(data, bytes),
	       size_format(map, used), 100 * share, (double)(clock_now_ms() - since) / 1000);
	return share;
}

static void write_blks(struct rig *rig, struct handle *handle, uint64_t n, uint32_t nblks,
		       uint64_t (*at)(void *ctx, uint64_t i), void *ctx)
{
	struct rig_run run = {.handle = handle,
			      .write = true,
			      .n = n,
			      .nblks = nblks,
			      .depth = 32,
			      .at = at,
			      .ctx = ctx};

	rig_run(rig, &run);
	rig_fsync(rig, handle);
}

static void run_sequential(struct rig *rig, uint64_t nblks)
{
	uint64_t since = clock_now_ms();
	struct handle *handle;

	rig_create(rig, "a", nblks << BLK_SHIFT);
	handle = rig_open_object(rig, "a");
	write_blks(rig, handle, nblks / PIECE, PIECE, sequential, NULL);
	figures_at_most(100 * report(rig, "in sequence", nblks, since), 0.2,
			"in sequence, per cent of the data");
	MUST(object_close(handle) == 0, "close");
}

static void run_random(struct rig *rig, unsigned int bits)
{
	static const unsigned int tenths[] = {1, 2, 5, 10};
	uint64_t nblks = UINT64_C(1) << bits;
	uint64_t since = clock_now_ms();
	struct order order = {.bits = bits};
	struct handle *handle;
	double share = 0;

	rig_create(rig, "a", nblks << BLK_SHIFT);
	handle = rig_open_object(rig, "a");
	for (size_t i = 0; i < ARRAY_LEN(tenths); i++) {
		uint64_t upto = nblks * tenths[i] / 10;
		char what[32];

		(void)snprintf(what, sizeof(what), "at random, %u %%", tenths[i] * 10);
		write_blks(rig, handle, upto - order.from, 1, shuffled, &order);
		order.from = upto;
		share = report(rig, what, upto, since);
	}
	figures_at_most(100 * share, 1.0, "at random, per cent of the data");
	order.from = 0;
	write_blks(rig, handle, nblks, 1, shuffled, &order);
	(void)report(rig, "at random, once more", nblks, since);
	MUST(object_close(handle) == 0, "close");
}

/* Each in a store of its own. */
static void rig_begin(struct rig *rig, uint64_t data_bytes, uint64_t meta)
{
	struct rig_config config = {.data_bytes = data_bytes,
				    .journal_bytes = UINT64_C(64) << 20,
				    .meta_bytes = meta,
				    .cache_bytes = UINT64_C(256) << 20,
				    .writeback_ms = 5000};

	rig_make(rig, &config);
	rig_start(rig);
}

static void rig_end(struct rig *rig)
{
	rig_stop(rig);
	rig_remove(rig);
}

int main(int argc, char **argv)
{
	uint64_t seq = UINT64_C(2) << 30, random = UINT64_C(512) << 20, meta = UINT64_C(1) << 30;
	const struct figures_option options[] = {
	    {"seq", &seq, "bytes written in sequence"},
	    {"random", &random, "bytes written in random blocks"},
	    {"meta", &meta, "size of the map's file"},
	    {NULL, NULL, NULL},
	};
	struct rig rig;
	unsigned int bits;

	figures_options(argc, argv, options, "the map's size against the data's");
	printf("%-24s %10s %10s %10s %10s\n", "written", "data", "map", "share", "after");
	rig_begin(&rig, seq + seq / 4 + (UINT64_C(256) << 20), meta);
	run_sequential(&rig, seq >> BLK_SHIFT);
	rig_end(&rig);
	bits = figures_bits(random >> BLK_SHIFT);
	rig_begin(&rig, 2 * (UINT64_C(1) << (bits + BLK_SHIFT)) + (UINT64_C(256) << 20), meta);
	run_random(&rig, bits);
	rig_end(&rig);
	return figures_verdict();
}
