/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writeback_fixture.h: writeback on a store and a device in memory, and batches that remember what
 * became of them.  Owns all of it; the test's thread is the loop's.  For the tests of this folder.
 */
#ifndef TESTS_UNIT_WRITEBACK_FIXTURE_H
#define TESTS_UNIT_WRITEBACK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "server/recover.h"
#include "server/writeback.h"
#include "tests/lib/test_store.h"

#define DEV_NBLKS     4096u
#define JOURNAL_NBLKS 64u /* the tests' space lies behind it */
#define META_BYTES    (UINT64_C(4) << 20)

struct fixture {
	struct test_store *ts;
	struct alloc *alloc;
	struct fetcher fetcher;
	struct commit *commit;
	struct writeback wb;
	uint64_t oid;
	unsigned int nspace; /* calls of on_space */
	uint64_t nreused;    /* blocks told of by on_reuse; how many were free when it was called */
	uint64_t free_then;
	uint64_t ninlined;	   /* blocks told of by on_inline */
	unsigned int nurgent;	   /* commits that wait for room in the journal */
	unsigned int nlatched;	   /* calls of on_latched */
	uint64_t calls[FAKE_NOPS]; /* of the device, before the test */
};

/* A batch and what became of it. */
struct epoch {
	struct writeback_batch batch;
	struct fixture *fx;
	unsigned int seed;
	bool starting; /* within writeback_start() */
	bool wait;     /* written batches are not committed by themselves */
	unsigned int nwritten;
	unsigned int ndurable;
	unsigned int ndone;
	int err;
};

static inline void on_freed(void *ctx, const struct map_freed *freed)
{
	struct fixture *fx = ctx;

	writeback_release(&fx->wb, freed);
}

static inline void on_progress(void *ctx, bool changed, bool urgent)
{
	struct fixture *fx = ctx;

	(void)changed;
	fx->nurgent += urgent;
}

static inline void on_latched(void *ctx)
{
	struct fixture *fx = ctx;

	fx->nlatched++;
}

static inline void on_inline(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct fixture *fx = ctx;

	assert_true(blk.n > JOURNAL_NBLKS);
	fx->ninlined += nblks;
}

static inline void on_reuse(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct fixture *fx = ctx;

	assert_true(blk.n > 0);
	fx->free_then = alloc_free_nblks(fx->alloc);
	fx->nreused += nblks;
}

static inline void on_space(void *ctx)
{
	struct fixture *fx = ctx;

	fx->nspace++;
}

static inline struct commit *start_commit(struct fixture *fx)
{
	struct commit_config config = {.loop = fx->ts->loop,
				       .map = fx->ts->map,
				       .dev = &fx->ts->fdev->dev,
				       .region = recover_region(fx->ts->map),
				       .freed = on_freed,
				       .progress = on_progress,
				       .latched = on_latched,
				       .ctx = fx};
	struct recover_result recovered;

	if (recover_run(fx->ts->map, &fx->ts->fdev->dev, &recovered) < 0)
		return NULL;
	config.journal_key = recovered.journal_key;
	config.head = recovered.head;
	return commit_new(&config);
}

static inline int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	if (!fx)
		return -1;
	fx->ts = test_store_open_journal(DEV_NBLKS, META_BYTES, JOURNAL_NBLKS);
	fx->oid = test_store_create(fx->ts, "object", 0);
	fx->alloc = alloc_new();
	fetcher_init(&fx->fetcher, fx->ts->map, &fx->ts->fdev->dev, fx->ts->workers);
	fx->commit = start_commit(fx);
	if (!fx->alloc || !fx->commit)
		return -1;
	fx->wb = (struct writeback){.loop = fx->ts->loop,
				    .alloc = fx->alloc,
				    .dev = &fx->ts->fdev->dev,
				    .pool = fx->ts->workers,
				    .fetcher = &fx->fetcher,
				    .commit = fx->commit,
				    .on_inline = on_inline,
				    .on_reuse = on_reuse,
				    .on_space = on_space,
				    .ctx = fx};
	for (enum fake_op op = 0; op < FAKE_NOPS; op++)
		fx->calls[op] = fake_dev_calls(fx->ts->fdev, op);
	*state = fx;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fx = *state;

	commit_free(fx->commit);
	test_store_close(fx->ts);
	assert_int_equal(fx->wb.releasing, 0);
	assert_int_equal(alloc_reserved_nblks(fx->alloc), 0);
	alloc_free(fx->alloc);
	free(fx);
	return 0;
}

/* Calls of the device in the test so far. */
static inline uint64_t calls(const struct fixture *fx, enum fake_op op)
{
	return fake_dev_calls(fx->ts->fdev, op) - fx->calls[op];
}

static inline void give_space(struct fixture *fx, uint64_t blk, uint64_t nblks)
{
	assert_int_equal(alloc_add(fx->alloc, pblk(blk), nblks), 0);
}

static inline void assert_space(const struct fixture *fx, uint64_t free_nblks,
				uint64_t reserved_nblks)
{
	assert_int_equal(alloc_free_nblks(fx->alloc), free_nblks);
	assert_int_equal(alloc_reserved_nblks(fx->alloc), reserved_nblks);
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Submits a written batch alone. */
static inline void batch_commit(struct writeback_batch *batch)
{
	struct commit_list unit = STAILQ_HEAD_INITIALIZER(unit);

	writeback_commit(batch, &unit);
	commit_submit_unit(batch->wb->commit, &unit);
}

static inline void epoch_written(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	epoch->nwritten++;
	assert_int_equal(epoch->ndone, 0);
	if (!epoch->wait)
		batch_commit(batch);
}

static inline void epoch_durable(struct writeback_batch *batch)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	assert_int_equal(epoch->ndone, 0);
	epoch->ndurable++;
}

static inline void epoch_done(struct writeback_batch *batch, int err)
{
	struct epoch *epoch = CONTAINER_OF(batch, struct epoch, batch);

	assert_false(epoch->starting);
	assert_int_equal(epoch->ndone, 0);
	assert_true(err < 0 || epoch->ndurable == 1);
	epoch->ndone++;
	epoch->err = err;
}

/* A batch of the blocks lblks[0..n), reserved, with the pattern of the seed. */
static inline void epoch_init(struct fixture *fx, struct epoch *epoch, unsigned int seed,
			      const uint64_t *lblks, uint32_t n)
{
	*epoch = (struct epoch){.fx = fx, .seed = seed};
	epoch->batch.commit.change.oid = fx->oid;
	epoch->batch.commit.change.time_ns = 9;
	epoch->batch.written = epoch_written;
	epoch->batch.durable = epoch_durable;
	epoch->batch.done = epoch_done;
	epoch->batch.nblks = n;
	if (n == 0)
		return;
	epoch->batch.commit.change.size_bytes = (lblks[n - 1] + 1) << BLK_SHIFT;
	assert_int_equal(alloc_reserve(fx->alloc, n), 0);
	epoch->batch.blks = calloc(n, sizeof(epoch->batch.blks[0]));
	assert_non_null(epoch->batch.blks);
	for (uint32_t i = 0; i < n; i++) {
		lblk_t blk = lblk(lblks[i]);

		epoch->batch.blks[i] =
		    (struct writeback_blk){.blk = blk, .page = test_page(fx->ts, seed, blk)};
	}
}

/* The same for the n blocks from "first". */
static inline void epoch_init_run(struct fixture *fx, struct epoch *epoch, unsigned int seed,
				  uint64_t first, uint32_t n)
{
	uint64_t *lblks = calloc(n, sizeof(*lblks));

	assert_non_null(lblks);
	for (uint32_t i = 0; i < n; i++)
		lblks[i] = first + i;
	epoch_init(fx, epoch, seed, lblks, n);
	free(lblks);
}

static inline void epoch_start(struct epoch *epoch)
{
	epoch->ndone = 0;
	epoch->starting = true;
	writeback_start(&epoch->fx->wb, &epoch->batch);
	epoch->starting = false;
}

static inline int epoch_run(struct epoch *epoch)
{
	epoch_start(epoch);
	test_store_run_count(epoch->fx->ts, &epoch->ndone, 1);
	return epoch->err;
}

/* Every block of the batch is in the map, with its checksum. */
static inline void assert_mapped(const struct epoch *epoch, pblk_t *where)
{
	uint8_t want[BLK_BYTES];
	uint32_t csum = 0;

	for (uint32_t i = 0; i < epoch->batch.nblks; i++) {
		lblk_t blk = epoch->batch.blks[i].blk;

		where[i] = test_store_where(epoch->fx->ts, epoch->fx->oid, blk, &csum);
		assert_int_not_equal(where[i].n, 0);
		test_pattern(want, epoch->seed, blk);
		assert_memory_equal(epoch->batch.blks[i].page->data, want, BLK_BYTES);
		assert_int_equal(csum, crc32c(0, want, BLK_BYTES));
	}
}

/* And on the device, durable. */
static inline void assert_committed(const struct epoch *epoch)
{
	pblk_t *where = calloc(epoch->batch.nblks, sizeof(*where));
	uint8_t want[BLK_BYTES];

	assert_non_null(where);
	assert_mapped(epoch, where);
	for (uint32_t i = 0; i < epoch->batch.nblks; i++) {
		test_pattern(want, epoch->seed, epoch->batch.blks[i].blk);
		assert_true(fake_dev_durable(epoch->fx->ts->fdev, where[i], want));
	}
	free(where);
}

static inline void assert_not_committed(const struct epoch *epoch)
{
	for (uint32_t i = 0; i < epoch->batch.nblks; i++)
		assert_int_equal(
		    test_store_where(epoch->fx->ts, epoch->fx->oid, epoch->batch.blks[i].blk, NULL)
			.n,
		    0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
