/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share: many clones of one object read the same bytes: how much memory that takes, and what of it is
 * read from the device.
 *
 *	bench/share                                        some seconds
 *	bench/share bytes=256M clones=1000                 as accepted; minutes
 *
 * The cache would hold two copies.  All clones stay open.  Bounds: the pages in use are those of one
 * copy (2 % for what is around them), and the readers after the first read nothing from the device.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "common/clock.h"
#include "common/err.h"

#define PIECE 256u /* blocks of a read or write */

struct bench {
	struct rig rig;
	uint64_t nblks;
	uint64_t clones;
	struct handle **handles;
	uint64_t first_nblks; /* read from the device by the first reader */
};

static uint64_t sequential(void *ctx, uint64_t i)
{
	(void)ctx;
	return i * PIECE;
}

static void run_all(struct bench *b, struct handle *handle, bool write)
{
	struct rig_run run = {.handle = handle,
			      .write = write,
			      .n = b->nblks / PIECE,
			      .nblks = PIECE,
			      .depth = 4,
			      .at = sequential};

	rig_run(&b->rig, &run);
}

static void make_clones(struct bench *b)
{
	struct handle *handle;

	rig_create(&b->rig, "base", b->nblks << BLK_SHIFT);
	handle = rig_open_object(&b->rig, "base");
	run_all(b, handle, true);
	MUST(object_close(handle) == 0, "close");
	rig_flush(&b->rig);
	for (uint64_t i = 0; i < b->clones; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "clone%" PRIu64, i);
		rig_clone(&b->rig, "base", name);
	}
	rig_flush(&b->rig);
}

static uint64_t read_nblks(const struct bench *b)
{
	return atomic_load(&b->rig.dev->regions[REGION_DATA].read_nblks);
}

static void print_reader(const struct bench *b, uint64_t reader, uint64_t since_ns)
{
	double s = (double)(clock_now_ns() - since_ns) / 1e9;

	printf("%8" PRIu64 " %12.1f %12.1f %14.1f %12.0f\n", reader,
	       (double)page_pool_used(objects_pages(b->rig.objs)) / 256,
	       (double)figures_rss_bytes() / 1048576, (double)read_nblks(b) / 256,
	       (double)b->nblks / 256 / s);
}

static void read_all(struct bench *b)
{
	printf("%8s %12s %12s %14s %12s\n", "reader", "pages MiB", "process MiB", "from dev. MiB",
	       "MiB/s");
	for (uint64_t i = 0, next = 1; i < b->clones; i++) {
		uint64_t since = clock_now_ns();
		char name[32];

		(void)snprintf(name, sizeof(name), "clone%" PRIu64, i);
		b->handles[i] = rig_open_object(&b->rig, name);
		run_all(b, b->handles[i], false);
		if (i == 0)
			b->first_nblks = read_nblks(b);
		if (i + 1 != next && i + 1 != b->clones)
			continue;
		print_reader(b, i + 1, since);
		next *= 10;
	}
}

static void judge(const struct bench *b)
{
	double pages = (double)page_pool_used(objects_pages(b->rig.objs));

	figures_at_most((double)b->nblks / (double)b->first_nblks, 1.0,
			"blocks of the object for each that the first reader has from the device");
	figures_at_most(pages / (double)b->nblks, 1.02, "copies in memory after the last reader");
	figures_at_most((double)(read_nblks(b) - b->first_nblks), 0,
			"blocks that later readers have from the device");
}

int main(int argc, char **argv)
{
	struct bench b = {.clones = 100};
	uint64_t bytes = UINT64_C(64) << 20;
	const struct figures_option options[] = {
	    {"bytes", &bytes, "of the object"},
	    {"clones", &b.clones, "that read it"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.journal_bytes = UINT64_C(64) << 20,
				    .meta_bytes = UINT64_C(1) << 30,
				    .real_data = true,
				    .writeback_ms = 5000};

	figures_options(argc, argv, options, "clones that read the same bytes");
	b.nblks = bytes / (PIECE << BLK_SHIFT) * PIECE;
	MUST(b.nblks > 0 && b.clones > 0, "nothing to read");
	b.handles = calloc(b.clones, sizeof(struct handle *));
	MUST(b.handles, "memory");
	config.data_bytes = bytes + bytes / 4;
	config.cache_bytes = 2 * bytes;
	rig_make(&b.rig, &config);
	rig_start(&b.rig);
	make_clones(&b);
	rig_stop(&b.rig);
	rig_start(&b.rig);
	read_all(&b);
	judge(&b);
	for (uint64_t i = 0; i < b.clones; i++)
		MUST(object_close(b.handles[i]) == 0, "close");
	rig_stop(&b.rig);
	rig_remove(&b.rig);
	free(b.handles);
	return figures_verdict();
}
