/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/test_store.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/check.h"

#define HANG_SECONDS 600 /* far beyond what any test takes, under a sanitizer too */
#define WORKERS	     2

static const char lock_suffix[] = "-lock";

/* A test that cannot be set up has failed. */
static void store_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "test store: %s\n", what);
	abort();
}

struct test_store *test_store_open(uint64_t nblks, uint64_t meta_bytes)
{
	return test_store_open_journal(nblks, meta_bytes, 0);
}

struct test_store *test_store_open_journal(uint64_t nblks, uint64_t meta_bytes,
					   uint64_t journal_nblks)
{
	struct map_geometry geo = {.uuid = {1},
				   .dev_nblks = nblks,
				   .journal_nblks = journal_nblks,
				   .meta_bytes = meta_bytes};
	struct test_store *ts = calloc(1, sizeof(*ts));
	const char *tmp = getenv("TMPDIR");

	store_must(ts != NULL, "memory");
	snprintf(ts->dir, sizeof(ts->dir), "%s/cowd-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	store_must(mkdtemp(ts->dir) != NULL, "temporary directory");
	snprintf(ts->path, sizeof(ts->path), "%s/map", ts->dir);
	store_must(map_create(ts->path, &geo) == 0, "map_create");
	store_must(map_open(ts->path, &ts->map) == 0, "map_open");
	ts->fdev = fake_dev_new(nblks);
	ts->loop = loop_new();
	store_must(ts->loop != NULL, "loop_new");
	ts->workers = worker_pool_new(ts->loop, WORKERS);
	store_must(ts->workers != NULL, "worker_pool_new");
	ts->pages = page_pool_new();
	store_must(ts->pages != NULL, "page_pool_new");
	thread_set_role(THREAD_LOOP);
	alarm(HANG_SECONDS);
	return ts;
}

void test_store_crash(struct test_store *ts)
{
	map_close(ts->map);
	fake_dev_cut(ts->fdev);
	store_must(map_open(ts->path, &ts->map) == 0, "map_open");
}

static void store_report(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "map: %s\n", text);
}

void test_store_close(struct test_store *ts)
{
	struct check_totals totals;
	char lock[sizeof(ts->path) + sizeof(lock_suffix)];

	worker_pool_free(ts->workers);
	loop_finish(ts->loop);
	store_must(check_map(ts->map, store_report, NULL, &totals) == 0, "check_map");
	store_must(page_pool_used(ts->pages) == 0, "pages are still in use");
	page_pool_free(ts->pages);
	loop_free(ts->loop);
	dev_close(&ts->fdev->dev);
	map_close(ts->map);
	snprintf(lock, sizeof(lock), "%s%s", ts->path, lock_suffix);
	unlink(ts->path);
	unlink(lock);
	store_must(rmdir(ts->dir) == 0, "rmdir");
	free(ts);
	alarm(0);
}

void test_store_turn(struct test_store *ts)
{
	store_must(event_base_loop(loop_base(ts->loop), EVLOOP_ONCE) == 0, "loop");
}

void test_store_run_until(struct test_store *ts, bool (*done)(void *ctx), void *ctx)
{
	while (!done(ctx))
		test_store_turn(ts);
}

static bool store_flag_is_set(void *ctx)
{
	return **(const bool **)ctx;
}

void test_store_run_flag(struct test_store *ts, const bool *flag)
{
	test_store_run_until(ts, store_flag_is_set, &flag);
}

struct store_count {
	const unsigned int *count;
	unsigned int n;
};

static bool store_count_reached(void *ctx)
{
	const struct store_count *want = ctx;

	return *want->count >= want->n;
}

void test_store_run_count(struct test_store *ts, const unsigned int *count, unsigned int n)
{
	struct store_count want = {count, n};

	test_store_run_until(ts, store_count_reached, &want);
}

/* ---- the map, directly ----------------------------------------------------------------------- */

static struct map_txn *store_txn_begin(struct test_store *ts)
{
	struct map_txn *txn;

	thread_set_role(THREAD_MAP);
	store_must(map_txn_begin(ts->map, &txn) == 0, "map_txn_begin");
	return txn;
}

static void store_txn_commit(struct map_txn *txn)
{
	struct map_freed freed = {0};

	store_must(map_txn_commit(txn, &freed) == 0, "map_txn_commit");
	free(freed.ranges);
	thread_set_role(THREAD_LOOP);
}

static uint64_t store_next_oid(struct test_store *ts)
{
	struct map_view *view = NULL;
	uint64_t oid = 0;

	store_must(map_view_begin(ts->map, &view) == 0, "map_view_begin");
	store_must(map_next_object(view, &oid) == 0, "map_next_object");
	map_view_end(view);
	return oid;
}

uint64_t test_store_create(struct test_store *ts, const char *name, uint64_t size_bytes)
{
	struct map_new new = {
	    .oid = store_next_oid(ts), .name = name, .size_bytes = size_bytes, .time_ns = 1};
	struct map_txn *txn = store_txn_begin(ts);
	struct map_obj obj;

	store_must(map_txn_create(txn, &new, &obj) == 0, "map_txn_create");
	store_txn_commit(txn);
	return obj.id;
}

uint64_t test_store_clone(struct test_store *ts, uint64_t oid, const char *name)
{
	struct map_new new = {.oid = store_next_oid(ts), .name = name, .time_ns = 1};
	struct map_txn *txn = store_txn_begin(ts);
	struct map_obj obj;

	store_must(map_txn_clone(txn, oid, &new, &obj) == 0, "map_txn_clone");
	store_txn_commit(txn);
	return obj.id;
}

void test_store_remove(struct test_store *ts, uint64_t oid)
{
	struct map_txn *txn = store_txn_begin(ts);

	store_must(map_txn_remove(txn, oid) == 0, "map_txn_remove");
	store_txn_commit(txn);
}

void test_store_map(struct test_store *ts, uint64_t oid, lblk_t blk, pblk_t dst, uint32_t nblks,
		    unsigned int seed)
{
	uint32_t *csums = calloc(nblks, sizeof(*csums));
	struct map_txn *txn = store_txn_begin(ts);
	uint8_t buf[BLK_BYTES];

	store_must(csums != NULL, "memory");
	for (uint32_t i = 0; i < nblks; i++) {
		test_pattern(buf, seed, lblk(blk.n + i));
		fake_dev_put(ts->fdev, pblk(dst.n + i), buf);
		csums[i] = crc32c(0, buf, BLK_BYTES);
	}
	store_must(map_txn_remap(txn, oid, blk, dst, nblks, csums) == 0, "map_txn_remap");
	store_txn_commit(txn);
	free(csums);
}

void test_pattern(uint8_t buf[BLK_BYTES], unsigned int seed, lblk_t blk)
{
	memset(buf, (int)(seed & 0xff), BLK_BYTES);
	for (uint32_t at = 0; at < BLK_BYTES; at += 512) {
		le64_put(buf + at, blk.n);
		le32_put(buf + at + 8, seed);
		le32_put(buf + at + 12, at);
	}
}

struct page *test_page(struct test_store *ts, unsigned int seed, lblk_t blk)
{
	struct page *page = page_new(ts->pages);

	store_must(page != NULL, "page_new");
	test_pattern(page->data, seed, blk);
	return page;
}

pblk_t test_store_where(struct test_store *ts, uint64_t oid, lblk_t blk, uint32_t *csum)
{
	struct map_lookup found;
	struct map_view *view;
	uint32_t have;

	store_must(map_view_begin(ts->map, &view) == 0, "map_view_begin");
	store_must(map_begin(view, oid, blk, 1, MAP_FOR_READ, &found, &have) == 0, "map_begin");
	map_view_end(view);
	if (found.src.kind != MAP_MAPPED)
		return pblk(0);
	if (csum)
		*csum = have;
	return found.src.blk;
}

bool test_store_obj(struct test_store *ts, uint64_t oid, struct map_obj *obj)
{
	struct map_view *view;
	int err;

	store_must(map_view_begin(ts->map, &view) == 0, "map_view_begin");
	err = map_obj_by_id(view, oid, obj);
	map_view_end(view);
	store_must(err == 0 || err == -ERR_NOENT, "map_obj_by_id");
	return err == 0;
}
