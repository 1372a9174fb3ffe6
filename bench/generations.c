/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * generations: what a random read costs after 0, 10, 100 and 1,000 generations of clones of clones,
 * each with some writes.
 *
 *	bench/generations                                  half a minute
 *	bench/generations bytes=4G writes=256 rounds=35    as accepted; five minutes
 *	bench/generations real=1 ...                       with data on a real device
 *
 * Each measurement starts the engine anew, so that no block is in memory, and reads each block at
 * most once; all of them are made in turn, several times, each round from another one on: what counts
 * is the median of the ratios to the object without ancestors in the same round.  Many short rounds
 * say more than a few long ones, because what else the machine does changes within seconds.
 *
 * On the device that has no data what is measured is the whole cost of the server but for the
 * device's own time, in time of processors: a bound that is kept there is kept by any device.
 * Bound: 10 %.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "bench/lib/samples.h"
#include "common/clock.h"
#include "common/err.h"

static const unsigned int marks[] = {0, 10, 100, 1000};
static const unsigned int depths[] = {1, 32};

struct bench {
	struct rig rig;
	uint64_t nblks;
	unsigned int bits;
	uint64_t writes;
	uint64_t reads;
	uint64_t shift; /* of the order of reads or writes */
	struct cost {
		struct samples wall_ns; /* of one read */
		struct samples cpu_ns;
		struct samples wall_ratio; /* to the first in the same round, in thousandths */
		struct samples cpu_ratio;
	} costs[ARRAY_LEN(marks)][ARRAY_LEN(depths)];
};

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0, "clock");
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t random_blk(void *ctx, uint64_t i)
{
	const struct bench *b = ctx;

	return figures_shuffle((i + b->shift) & (b->nblks - 1), b->bits);
}

static uint64_t next_piece(void *ctx, uint64_t i)
{
	(void)ctx;
	return i * 256;
}

static void name_of(char *name, size_t len, unsigned int generation)
{
	(void)snprintf(name, len, "gen%u", generation);
}

static void write_base(struct bench *b)
{
	struct rig_run run = {
	    .write = true, .n = b->nblks / 256, .nblks = 256, .depth = 8, .at = next_piece};

	rig_create(&b->rig, "gen0", b->nblks << BLK_SHIFT);
	run.handle = rig_open_object(&b->rig, "gen0");
	rig_run(&b->rig, &run);
	rig_fsync(&b->rig, run.handle);
	MUST(object_close(run.handle) == 0, "close");
}

static void add_generation(struct bench *b, unsigned int generation)
{
	struct rig_run run = {
	    .write = true, .n = b->writes, .nblks = 1, .depth = 32, .at = random_blk, .ctx = b};
	char from[32], to[32];

	name_of(from, sizeof(from), generation - 1);
	name_of(to, sizeof(to), generation);
	rig_clone(&b->rig, from, to);
	run.handle = rig_open_object(&b->rig, to);
	b->shift = generation * b->writes;
	rig_run(&b->rig, &run);
	rig_fsync(&b->rig, run.handle);
	MUST(object_close(run.handle) == 0, "close");
}

/* What one read has cost. */
static void measure(struct bench *b, unsigned int generation, unsigned int depth, uint64_t round,
		    uint64_t *wall_ns, uint64_t *cpu_ns)
{
	struct rig_run run = {
	    .n = b->reads, .nblks = 1, .depth = depth, .at = random_blk, .ctx = b};
	uint64_t wall, cpu;
	char name[32];

	rig_start(&b->rig);
	name_of(name, sizeof(name), generation);
	run.handle = rig_open_object(&b->rig, name);
	b->shift = round * b->reads;
	wall = clock_now_ns();
	cpu = cpu_now_ns();
	rig_run(&b->rig, &run);
	*cpu_ns = (cpu_now_ns() - cpu) / b->reads;
	*wall_ns = (clock_now_ns() - wall) / b->reads;
	MUST(object_close(run.handle) == 0, "close");
	rig_stop(&b->rig);
}

/* Every object once. */
static void measure_round(struct bench *b, size_t d, uint64_t round)
{
	uint64_t wall[ARRAY_LEN(marks)], cpu[ARRAY_LEN(marks)];

	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		size_t m = (i + round) % ARRAY_LEN(marks);

		measure(b, marks[m], depths[d], round, &wall[m], &cpu[m]);
	}
	for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
		struct cost *cost = &b->costs[m][d];

		samples_add(&cost->wall_ns, wall[m]);
		samples_add(&cost->cpu_ns, cpu[m]);
		samples_add(&cost->wall_ratio, wall[m] * 1000 / wall[0]);
		samples_add(&cost->cpu_ratio, cpu[m] * 1000 / cpu[0]);
	}
}

static void measure_all(struct bench *b, uint64_t rounds)
{
	for (uint64_t r = 0; r < rounds; r++)
		for (size_t d = 0; d < ARRAY_LEN(depths); d++)
			measure_round(b, d, r);
}

static void report(struct bench *b)
{
	printf("nanoseconds for a read of 4 KiB, by the clock and of processors: medians\n");
	printf("%12s", "generations");
	for (size_t d = 0; d < ARRAY_LEN(depths); d++)
		printf("   depth %-3u  (ratio)     cpu  (ratio)", depths[d]);
	printf("\n");
	for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
		printf("%12u", marks[m]);
		for (size_t d = 0; d < ARRAY_LEN(depths); d++) {
			struct cost *cost = &b->costs[m][d];

			printf(" %11" PRIu64 "  (%.3f) %7" PRIu64 "  (%.3f)",
			       samples_at(&cost->wall_ns, 500),
			       (double)samples_at(&cost->wall_ratio, 500) / 1000,
			       samples_at(&cost->cpu_ns, 500),
			       (double)samples_at(&cost->cpu_ratio, 500) / 1000);
		}
		printf("\n");
	}
}

/* Where no device is waited for, time is processor time, but for what else the machine does. */
static void judge(struct bench *b, bool real_data)
{
	for (size_t m = 1; m < ARRAY_LEN(marks); m++) {
		for (size_t d = 0; d < ARRAY_LEN(depths); d++) {
			struct cost *cost = &b->costs[m][d];
			struct samples *s = real_data ? &cost->wall_ratio : &cost->cpu_ratio;

			figures_at_most((double)samples_at(s, 500) / 1000, 1.10,
					"%u generations, depth %u: cost over none", marks[m],
					depths[d]);
		}
	}
}

static void build(struct bench *b)
{
	uint64_t since = clock_now_ms();

	rig_start(&b->rig);
	write_base(b);
	for (unsigned int g = 1; g <= marks[ARRAY_LEN(marks) - 1]; g++)
		add_generation(b, g);
	rig_flush(&b->rig);
	printf("made in %" PRIu64 " ms; map: %" PRIu64 " MiB\n", clock_now_ms() - since,
	       rig_meta_bytes(&b->rig) >> 20);
	rig_stop(&b->rig);
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint64_t bytes = UINT64_C(1) << 30, rounds = 7, real = 0, meta = UINT64_C(2) << 30;
	const struct figures_option options[] = {
	    {"bytes", &bytes, "of the object"},
	    {"writes", &b.writes, "of each generation, 4 KiB each"},
	    {"reads", &b.reads, "of one measurement"},
	    {"rounds", &rounds, "of measurements"},
	    {"meta", &meta, "size of the map's file"},
	    {"real", &real, "1: data is written, and read from the device"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.journal_bytes = UINT64_C(64) << 20,
				    .cache_bytes = UINT64_C(64) << 20,
				    .writeback_ms = 5000};

	b.writes = 64;
	b.reads = 20000;
	figures_options(argc, argv, options, "random reads after generations of clones");
	b.bits = figures_bits(bytes >> BLK_SHIFT);
	b.nblks = UINT64_C(1) << b.bits;
	MUST(b.reads <= b.nblks && b.nblks >= 256, "more reads than blocks");
	config.data_bytes = (b.nblks + marks[ARRAY_LEN(marks) - 1] * b.writes * 2) << BLK_SHIFT;
	config.meta_bytes = meta;
	config.real_data = real != 0;
	rig_make(&b.rig, &config);
	build(&b);
	measure_all(&b, rounds);
	report(&b);
	judge(&b, config.real_data);
	rig_remove(&b.rig);
	return figures_verdict();
}
