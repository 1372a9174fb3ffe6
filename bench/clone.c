/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clone: what a durable clone, snapshot and reset cost against the size of the object and its number
 * of extents, at rest and while somebody writes 4 KiB and fsyncs on the source.
 *
 *	bench/clone                                             some seconds
 *	bench/clone max-bytes=1T max-extents=1000000 meta=4G    as accepted; a minute, 4 GiB of disk
 *
 * All objects are in one store, made in the map directly, on a device that drops data and has a
 * journal that is a real file; rounds go over all of them, so that what disturbs one disturbs all.
 * Bounds, at rest and with the writer: median 1 ms; the medians of an operation within 2x of each
 * other; what a clone writes to the map the same for all.  Between rounds all that is left to do in
 * the background is waited for.  Beside each operation at rest stands what the disk takes for a block
 * and its sync: an operation cannot be faster or steadier than that.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/figures.h"
#include "bench/lib/rig.h"
#include "bench/lib/samples.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/size.h"

#define ROWS_MAX     24
#define EXTENTS_SPAN 2	/* in an object of many extents neighbours lie apart, in pairs */
#define SINGLE	     11 /* clones that are folded one by one */

enum op { OP_CLONE, OP_SNAPSHOT, OP_RESET, OP_COUNT };
static const char *const op_names[OP_COUNT] = {"clone", "snapshot", "reset"};

/* An object, and what was measured with it; [1]: with a writer. */
struct row {
	char name[32];
	uint64_t nblks;
	uint64_t nextents;
	uint64_t oid;
	unsigned int made;    /* clones and snapshots */
	struct handle *reset; /* open on the object that is reset */
	struct samples ops[OP_COUNT][2];
	struct samples writes;
	struct samples entries; /* staged by a clone */
	struct samples pages;	/* written to the map by the fold of one */
};

struct bench {
	struct rig rig;
	struct row rows[ROWS_MAX];
	unsigned int nrows;
	struct row victim; /* is removed in the end */
	struct samples reaping;
	int floor_fd;
	struct samples floor;
};

/* ---- the objects ----------------------------------------------------------------------------- */

static void add_row(struct bench *b, uint64_t nblks, uint64_t nextents)
{
	struct row *row = &b->rows[b->nrows++];

	MUST(b->nrows <= ROWS_MAX, "rows");
	row->nblks = nblks;
	row->nextents = nextents;
	(void)snprintf(row->name, sizeof(row->name), "src%u", b->nrows);
}

static void choose_rows(struct bench *b, uint64_t max_bytes, uint64_t max_extents)
{
	for (uint64_t bytes = 1 << 20; bytes <= max_bytes; bytes <<= 4)
		add_row(b, bytes >> BLK_SHIFT, 1);
	for (uint64_t n = 10; n <= max_extents; n *= 10)
		add_row(b, n, n);
	b->victim = (struct row){.name = "victim", .nblks = max_extents, .nextents = max_extents};
}

static void fill_compact(struct rig_fill *fill, const struct row *row)
{
	uint32_t n;

	for (uint64_t at = 0; at < row->nblks; at += n) {
		n = row->nblks - at < 8192 ? (uint32_t)(row->nblks - at) : 8192;
		rig_fill_map(fill, row->oid, at, fill->next_dst + at, n);
	}
	fill->next_dst += row->nblks;
}

/* Each block is an extent of its own, anywhere on the device. */
static void fill_scattered(struct rig_fill *fill, const struct row *row)
{
	unsigned int bits = figures_bits(row->nblks) + 1;

	for (uint64_t at = 0; at < row->nblks; at++)
		rig_fill_map(fill, row->oid, at, fill->next_dst + figures_shuffle(at, bits), 1);
	fill->next_dst += UINT64_C(1) << bits;
}

static void fill_row(struct rig_fill *fill, struct row *row)
{
	row->oid = rig_fill_create(fill, row->name, row->nblks << BLK_SHIFT);
	if (row->nextents == 1)
		fill_compact(fill, row);
	else
		fill_scattered(fill, row);
}

static void fill_rows(struct bench *b)
{
	struct rig_fill fill;

	rig_open(&b->rig);
	rig_fill_begin(&fill, &b->rig);
	for (unsigned int i = 0; i < b->nrows; i++)
		fill_row(&fill, &b->rows[i]);
	fill_row(&fill, &b->victim);
	rig_fill_end(&fill);
	rig_close(&b->rig);
}

/* For each a clone that is reset to its version. */
static void make_resets(struct bench *b)
{
	rig_create(&b->rig, "settle", 0);
	for (unsigned int i = 0; i < b->nrows; i++) {
		char name[48], spec[64];

		(void)snprintf(name, sizeof(name), "reset-%s", b->rows[i].name);
		(void)snprintf(spec, sizeof(spec), "%s@v", name);
		rig_clone(&b->rig, b->rows[i].name, name);
		rig_snapshot(&b->rig, spec);
		b->rows[i].reset = rig_open_object(&b->rig, name);
	}
}

/* ---- the writer ------------------------------------------------------------------------------ */

struct writer {
	struct rig *rig;
	struct row *row;
	struct handle *handle;
	uint64_t count;
	uint64_t since_ns;
	bool stop;
	bool ended;
};

static void writer_next(struct writer *w);

static void writer_synced(void *ctx, int err)
{
	struct writer *w = ctx;

	MUST(err == 0, "fsync: %s", err_text(err));
	samples_add(&w->row->writes, clock_now_ns() - w->since_ns);
	writer_next(w);
}

static void writer_written(void *ctx, int err)
{
	struct writer *w = ctx;

	MUST(err == 0, "write: %s", err_text(err));
	object_fsync(w->handle, writer_synced, w);
}

static void writer_next(struct writer *w)
{
	uint64_t blk = figures_shuffle(w->count++, 40) % w->row->nblks;
	struct pagevec pv;

	if (w->stop) {
		w->ended = true;
		return;
	}
	pv = rig_zeros(w->rig, blk << BLK_SHIFT, 1);
	w->since_ns = clock_now_ns();
	object_write(w->handle, blk << BLK_SHIFT, &pv, writer_written, w);
}

static void writer_begin(struct writer *w, struct rig *rig, struct row *row)
{
	*w = (struct writer){.rig = rig, .row = row, .handle = rig_open_object(rig, row->name)};
	w->count = row->writes.n;
	writer_next(w);
}

static void writer_end(struct writer *w)
{
	w->stop = true;
	while (!w->ended)
		rig_turn(w->rig);
	MUST(object_close(w->handle) == 0, "close");
}

/* ---- the disk's own time --------------------------------------------------------------------- */

#define FLOOR_BLOCKS 256

/* A file of written blocks beside the store's; it has no name. */
static void floor_open(struct bench *b)
{
	static const char zeros[FLOOR_BLOCKS << BLK_SHIFT];
	char path[192];

	(void)snprintf(path, sizeof(path), "%s/floor", b->rig.dir);
	b->floor_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(b->floor_fd >= 0 && unlink(path) == 0, "%s", path);
	MUST(write(b->floor_fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros), "%s", path);
	MUST(fsync(b->floor_fd) == 0, "%s", path);
}

/* A block written in place, and synced. */
static void floor_sample(struct bench *b)
{
	static const char zeros[1 << BLK_SHIFT];
	off_t at = (off_t)(b->floor.n % FLOOR_BLOCKS) << BLK_SHIFT;
	uint64_t since = clock_now_ns();

	MUST(pwrite(b->floor_fd, zeros, sizeof(zeros), at) == (ssize_t)sizeof(zeros), "write");
	MUST(fdatasync(b->floor_fd) == 0, "sync");
	samples_add(&b->floor, clock_now_ns() - since);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* All that was committed before is in the map. */
static void settle(struct rig *rig)
{
	struct rig_result there = {0}, back = {0};

	object_rename(rig->objs, "settle", "settled", false, rig_done_cb, &there);
	rig_wait(rig, &there);
	object_rename(rig->objs, "settled", "settle", false, rig_done_cb, &back);
	rig_wait(rig, &back);
}

static void reaping_cb(void *ctx, int err, uint64_t nblks)
{
	struct rig_result *res = ctx;

	res->space.map.reap_nblks = nblks;
	rig_done_cb(ctx, err);
}

/* The blocks that were given up and cannot be used again yet. */
static uint64_t reaping(struct rig *rig)
{
	struct rig_result res = {0};

	object_reaping(rig->objs, reaping_cb, &res);
	rig_wait(rig, &res);
	return res.space.map.reap_nblks;
}

static bool reaper_has_work(struct rig *rig)
{
	struct map_space space;
	struct map_view *view;
	int err = map_view_begin(rig->map, &view);

	MUST(err == 0, "map: %s", err_text(err));
	err = map_get_space(view, &space);
	map_view_end(view);
	MUST(err == 0, "map: %s", err_text(err));
	return space.reap_nblks > 0;
}

/* Nothing of what was measured before is left to be done. */
static void drain(struct rig *rig)
{
	do
		settle(rig);
	while (reaper_has_work(rig));
}

/* Gives the object that is reset something to lose. */
static void touch(struct rig *rig, struct row *row)
{
	uint64_t blk = figures_shuffle(row->made, 40) % row->nblks;
	struct pagevec pv = rig_zeros(rig, blk << BLK_SHIFT, 1);
	struct rig_result res = {0};

	object_write(row->reset, blk << BLK_SHIFT, &pv, rig_done_cb, &res);
	rig_wait(rig, &res);
	rig_fsync(rig, row->reset);
	drain(rig);
}

static uint64_t run_op(struct rig *rig, struct row *row, enum op op)
{
	struct rig_result res = {0};
	uint64_t since;
	char other[64];

	if (op == OP_RESET)
		touch(rig, row);
	row->made++;
	if (op == OP_RESET)
		(void)snprintf(other, sizeof(other), "reset-%s@v", row->name);
	else
		(void)snprintf(other, sizeof(other), "%s%c%u", row->name,
			       op == OP_SNAPSHOT ? '@' : '-', row->made);
	since = clock_now_ns();
	if (op == OP_CLONE)
		object_clone(rig->objs, row->name, other, NULL, rig_info_cb, &res);
	else if (op == OP_SNAPSHOT)
		object_snapshot(rig->objs, other, NULL, rig_info_cb, &res);
	else
		object_reset(rig->objs, other, rig_info_cb, &res);
	rig_wait(rig, &res);
	return clock_now_ns() - since;
}

static void run_ops(struct bench *b, struct row *row, bool with_writer, uint64_t n)
{
	for (enum op op = 0; op < OP_COUNT; op++)
		for (uint64_t i = 0; i < n; i++)
			samples_add(&row->ops[op][with_writer], run_op(&b->rig, row, op));
}

/* One of each kind on each object in turn. */
static void round_at_rest(struct bench *b, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		for (unsigned int r = 0; r < b->nrows; r++) {
			drain(&b->rig);
			floor_sample(b);
			run_ops(b, &b->rows[r], false, 1);
		}
	}
}

static void round_with_writer(struct bench *b, uint64_t n)
{
	for (unsigned int r = 0; r < b->nrows; r++) {
		struct writer writer;

		drain(&b->rig);
		writer_begin(&writer, &b->rig, &b->rows[r]);
		run_ops(b, &b->rows[r], true, n);
		writer_end(&writer);
	}
}

static uint64_t map_written_bytes(const struct rig *rig)
{
	return figures_written_bytes() - (atomic_load(&rig->dev->passed_nblks) << BLK_SHIFT);
}

/* A clone that is folded alone: what it stages, and what reaches the map's file. */
static void run_single(struct bench *b, struct row *row)
{
	struct map_staged before, after;
	uint64_t written;

	rig_flush(&b->rig);
	map_get_staged(b->rig.map, &before);
	written = map_written_bytes(&b->rig);
	(void)run_op(&b->rig, row, OP_CLONE);
	map_get_staged(b->rig.map, &after);
	rig_flush(&b->rig);
	samples_add(&row->entries, after.entries - before.entries);
	samples_add(&row->pages, (map_written_bytes(&b->rig) - written) >> BLK_SHIFT);
}

/* Removes the victim, and clones as long as its space is not back. */
static void run_reaping(struct bench *b)
{
	struct rig_result res = {0};

	drain(&b->rig);
	object_remove(b->rig.objs, b->victim.name, false, rig_done_cb, &res);
	rig_wait(&b->rig, &res);
	do
		samples_add(&b->reaping, run_op(&b->rig, &b->rows[0], OP_CLONE));
	while (reaping(&b->rig) > 0);
}

/* ---- figures --------------------------------------------------------------------------------- */

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static void print_row(struct row *row)
{
	char size[SIZE_TEXT_MAX];

	printf("%10s %9" PRIu64, size_format(size, row->nblks << BLK_SHIFT), row->nextents);
	for (enum op op = 0; op < OP_COUNT; op++)
		for (int w = 0; w < 2; w++)
			printf(" %6.0f/%-6.0f", us(samples_at(&row->ops[op][w], 500)),
			       us(samples_at(&row->ops[op][w], 990)));
	printf(" %5.0f/%6.0f/%7.0f", us(samples_at(&row->writes, 500)),
	       us(samples_at(&row->writes, 990)), us(samples_at(&row->writes, 1000)));
	printf(" %7" PRIu64 " %5" PRIu64 "\n", samples_at(&row->entries, 500),
	       samples_at(&row->pages, 500));
}

static void print_rows(struct bench *b)
{
	printf("microseconds, median/p99: at rest, then with a writer on the source\n");
	printf("%10s %9s %13s %13s %13s %13s %13s %13s %20s %7s %5s\n", "mapped", "extents",
	       "clone", "+writer", "snapshot", "+writer", "reset", "+writer", "write+fsync/worst",
	       "entries", "pages");
	for (unsigned int i = 0; i < b->nrows; i++)
		print_row(&b->rows[i]);
	printf("clones of the first while an object of %" PRIu64 " extents is taken apart: %zu, "
	       "%.0f/%.0f/%.0f\n",
	       b->victim.nextents, b->reaping.n, us(samples_at(&b->reaping, 500)),
	       us(samples_at(&b->reaping, 990)), us(samples_at(&b->reaping, 1000)));
	printf("the disk's own time for a block and its sync, at rest: %.0f/%.0f/%.0f\n",
	       us(samples_at(&b->floor, 500)), us(samples_at(&b->floor, 990)),
	       us(samples_at(&b->floor, 1000)));
}

/* The least and the largest of the rows' medians. */
static void medians(struct bench *b, enum op op, bool with_writer, uint64_t *least, uint64_t *most)
{
	*least = UINT64_MAX;
	*most = 0;
	for (unsigned int i = 0; i < b->nrows; i++) {
		uint64_t median = samples_at(&b->rows[i].ops[op][with_writer], 500);

		*least = median < *least ? median : *least;
		*most = median > *most ? median : *most;
	}
}

static void judge(struct bench *b, enum op op, bool with_writer)
{
	const char *when = with_writer ? " with a writer" : "";
	uint64_t least;
	uint64_t most;

	medians(b, op, with_writer, &least, &most);
	figures_at_most((double)most / 1e6, 1.0, "%s%s: the largest median, ms", op_names[op],
			when);
	figures_at_most((double)most / (double)least, 2.0, "%s%s: largest over smallest median",
			op_names[op], when);
}

static void tell_worst_write(struct bench *b)
{
	uint64_t worst = 0;

	for (unsigned int i = 0; i < b->nrows; i++) {
		uint64_t row_worst = samples_at(&b->rows[i].writes, 1000);

		worst = row_worst > worst ? row_worst : worst;
	}
	printf("the worst write and fsync on the source meanwhile: %.0f us\n", us(worst));
}

static void judge_all(struct bench *b)
{
	uint64_t entries = samples_at(&b->rows[0].entries, 500);
	uint64_t least = UINT64_MAX;
	uint64_t most = 0;
	uint64_t differ = 0;

	tell_worst_write(b);
	for (enum op op = 0; op < OP_COUNT; op++)
		for (int w = 0; w < 2; w++)
			judge(b, op, w);
	for (unsigned int i = 0; i < b->nrows; i++) {
		uint64_t pages = samples_at(&b->rows[i].pages, 500);

		least = pages < least ? pages : least;
		most = pages > most ? pages : most;
		differ += samples_at(&b->rows[i].entries, 500) != entries;
	}
	figures_at_most((double)differ, 0,
			"objects whose clone stages other than %" PRIu64 " entries", entries);
	figures_at_most((double)most / (double)least, 1.5,
			"pages written to the map by one clone, largest over smallest");
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint64_t max_bytes = UINT64_C(16) << 30, max_extents = 100000;
	uint64_t meta = UINT64_C(1) << 30, rounds = 10, batch = 10;
	const struct figures_option options[] = {
	    {"max-bytes", &max_bytes, "the largest object"},
	    {"max-extents", &max_extents, "the most extents"},
	    {"meta", &meta, "size of the map's file"},
	    {"rounds", &rounds, "over all objects"},
	    {"batch", &batch, "operations of a kind in a round"},
	    {NULL, NULL, NULL},
	};
	struct rig_config config = {.journal_bytes = UINT64_C(256) << 20,
				    .cache_bytes = UINT64_C(64) << 20,
				    .writeback_ms = 5000};
	uint64_t since = clock_now_ms();

	figures_options(argc, argv, options, "clone, snapshot, reset against size and extents");
	choose_rows(&b, max_bytes, max_extents);
	config.data_bytes = 2 * max_bytes + (max_extents << (BLK_SHIFT + 3));
	config.meta_bytes = meta;
	rig_make(&b.rig, &config);
	fill_rows(&b);
	floor_open(&b);
	rig_start(&b.rig);
	printf("made in %" PRIu64 " ms; map: %" PRIu64 " MiB\n", clock_now_ms() - since,
	       rig_meta_bytes(&b.rig) >> 20);
	make_resets(&b);
	for (uint64_t r = 0; r < rounds; r++) {
		round_at_rest(&b, batch);
		round_with_writer(&b, batch);
	}
	for (unsigned int r = 0; r < SINGLE; r++)
		for (unsigned int i = 0; i < b.nrows; i++)
			run_single(&b, &b.rows[i]);
	run_reaping(&b);
	print_rows(&b);
	judge_all(&b);
	for (unsigned int i = 0; i < b.nrows; i++)
		MUST(object_close(b.rows[i].reset) == 0, "close");
	rig_stop(&b.rig);
	MUST(close(b.floor_fd) == 0, "close");
	rig_remove(&b.rig);
	return figures_verdict();
}
