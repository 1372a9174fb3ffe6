/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paths: a long stream through the cache and past it, beside a set of blocks that is read again and
 * again: the time of the stream, and what of the set has to be read from the device for it.
 *
 *	bench/paths                                        half a minute
 *	bench/paths cache=256M                             as accepted
 *
 * The set is a quarter of the cache, the stream four times the cache.  Bound: what goes past the cache
 * costs the set nothing (1 % of its reads).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "common/clock.h"

#define PIECE	 256u /* blocks of a read or write */
#define STEP	 16u  /* pieces of the stream, and then as many of the set */
#define SET_PART 4u
#define STREAM	 4u
#define WARM	 3u /* rounds over the set before it begins */

struct bench {
	struct rig rig;
	uint64_t set;	 /* pieces */
	uint64_t stream; /* pieces */
};

struct range {
	uint64_t first;
	uint64_t modulus;
};

static uint64_t place(void *ctx, uint64_t i)
{
	const struct range *range = ctx;

	return (range->first + i) % range->modulus * PIECE;
}

static void run_pieces(struct bench *b, struct handle *handle, bool write, uint64_t first,
		       uint64_t n, uint64_t modulus)
{
	struct range range = {first, modulus};
	struct rig_run run = {.handle = handle,
			      .write = write,
			      .n = n,
			      .nblks = PIECE,
			      .depth = 4,
			      .at = place,
			      .ctx = &range};

	rig_run(&b->rig, &run);
}

static uint64_t read_nblks(const struct bench *b)
{
	return atomic_load(&b->rig.dev->regions[REGION_DATA].read_nblks);
}

/* One stream beside the set; the share of the set's reads that went to the device. */
static double run_path(struct bench *b, bool write, unsigned int flags)
{
	struct handle *set;
	struct handle *stream;
	uint64_t nblks = b->stream * PIECE;
	uint64_t spent = 0;
	uint64_t before;
	double share;

	rig_start(&b->rig);
	set = rig_open_object(&b->rig, "set");
	stream = rig_open_object_as(&b->rig, "stream", flags);
	run_pieces(b, set, false, 0, WARM * b->set, b->set);
	before = read_nblks(b);
	for (uint64_t at = 0; at < b->stream; at += STEP) {
		uint64_t since = clock_now_ns();

		run_pieces(b, stream, write, at, STEP, b->stream);
		spent += clock_now_ns() - since;
		run_pieces(b, set, false, at, STEP, b->set);
	}
	if (write) {
		uint64_t since = clock_now_ns();

		rig_fsync(&b->rig, stream);
		spent += clock_now_ns() - since;
	}
	share = (double)(read_nblks(b) - before - (write ? 0 : nblks)) / (double)nblks;
	printf("%-10s %-10s %10.0f %12.2f\n", write ? "write" : "read",
	       flags & OBJECT_DIRECT ? "direct" : "buffered",
	       (double)nblks / 256 / ((double)spent / 1e9), 100 * share);
	MUST(object_close(set) == 0 && object_close(stream) == 0, "close");
	rig_flush(&b->rig);
	rig_stop(&b->rig);
	return share;
}

static void make_objects(struct bench *b)
{
	struct handle *handle;

	rig_start(&b->rig);
	rig_create(&b->rig, "set", b->set * PIECE << BLK_SHIFT);
	rig_create(&b->rig, "stream", b->stream * PIECE << BLK_SHIFT);
	handle = rig_open_object(&b->rig, "set");
	run_pieces(b, handle, true, 0, b->set, b->set);
	MUST(object_close(handle) == 0, "close");
	handle = rig_open_object(&b->rig, "stream");
	run_pieces(b, handle, true, 0, b->stream, b->stream);
	MUST(object_close(handle) == 0, "close");
	rig_flush(&b->rig);
	rig_stop(&b->rig);
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	uint64_t cache = UINT64_C(64) << 20;
	double direct = 0;
	const struct figures_option options[] = {
	    {"cache", &cache, "of the server"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.journal_bytes = UINT64_C(64) << 20,
				    .meta_bytes = UINT64_C(1) << 30,
				    .real_data = true,
				    .writeback_ms = 1000};

	figures_options(argc, argv, options, "a long stream beside what is read often");
	b.set = cache / SET_PART / (PIECE << BLK_SHIFT);
	b.stream = STREAM * cache / (PIECE << BLK_SHIFT) / STEP * STEP;
	MUST(b.set > 0 && b.stream > 0, "too small a cache");
	config.data_bytes = 3 * STREAM * cache;
	config.cache_bytes = cache;
	rig_make(&b.rig, &config);
	make_objects(&b);
	printf("%-10s %-10s %10s %12s\n", "stream", "path", "MiB/s", "set missed %");
	for (int write = 0; write <= 1; write++) {
		(void)run_path(&b, write, 0);
		direct += run_path(&b, write, OBJECT_DIRECT);
	}
	rig_remove(&b.rig);
	figures_at_most(100 * direct, 1.0, "%% of the set's reads that direct streams cost it");
	return figures_verdict();
}
