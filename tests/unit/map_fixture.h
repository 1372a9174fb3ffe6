/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map_fixture.h: a map in a directory of its own, for the unit tests of the map and the checker.
 */
#ifndef TESTS_UNIT_MAP_FIXTURE_H
#define TESTS_UNIT_MAP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/check.h"
#include "server/map.h"
#include "server/map_priv.h"

struct fix {
	char dir[256];
	char path[300];
	struct map *map;
	uint64_t dev_nblks;
};

#define FIX_META_BYTES (UINT64_C(64) << 20)

static inline void fix_dir(struct fix *fix)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(fix->dir, sizeof(fix->dir), "%s/map-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(fix->dir));
	(void)snprintf(fix->path, sizeof(fix->path), "%s/map", fix->dir);
	fix->map = NULL;
	thread_set_role(THREAD_MAP);
}

/* A new and empty map, open. */
static inline void fix_open(struct fix *fix, uint64_t dev_nblks, uint64_t meta_bytes)
{
	struct map_geometry geo = {.dev_nblks = dev_nblks, .meta_bytes = meta_bytes};

	fix_dir(fix);
	fix->dev_nblks = dev_nblks;
	memcpy(geo.uuid, "0123456789abcdef", sizeof(geo.uuid));
	assert_int_equal(map_create(fix->path, &geo), 0);
	assert_int_equal(map_open(fix->path, &fix->map), 0);
}

/* Makes what is committed durable. */
static inline void fix_fold(struct fix *fix)
{
	assert_int_equal(map_cut(fix->map, (struct map_tail){.seq = 1}), 0);
	assert_int_equal(map_fold(fix->map), 0);
}

static inline void fix_reopen(struct fix *fix)
{
	fix_fold(fix);
	map_close(fix->map);
	assert_int_equal(map_open(fix->path, &fix->map), 0);
}

static inline void fix_close(struct fix *fix)
{
	char lock[320];

	map_close(fix->map);
	(void)snprintf(lock, sizeof(lock), "%s-lock", fix->path);
	unlink(fix->path);
	unlink(lock);
	assert_int_equal(rmdir(fix->dir), 0);
}

static inline struct map_txn *fix_begin(struct fix *fix)
{
	struct map_txn *txn = NULL;

	if (map_must_fold(fix->map))
		fix_fold(fix);
	assert_int_equal(map_txn_begin(fix->map, &txn), 0);
	return txn;
}

/* Commits, in memory, and forgets what became free. */
static inline void fix_commit(struct map_txn *txn)
{
	struct map_freed freed = {0};

	assert_int_equal(map_txn_commit(txn, &freed), 0);
	free(freed.ranges);
}

static inline struct map_view *fix_view(struct fix *fix)
{
	struct map_view *view = NULL;

	assert_int_equal(map_view_begin(fix->map, &view), 0);
	return view;
}

/* A description of a new object, with the next id. */
static inline struct map_new fix_new(struct map_txn *txn, const char *name, uint64_t size_bytes,
				     uint64_t time_ns)
{
	return (struct map_new){.oid = txn->state.next_object,
				.name = name,
				.size_bytes = size_bytes,
				.time_ns = time_ns};
}

static inline int fix_try_create(struct map_txn *txn, const char *name, uint64_t size_bytes,
				 struct map_obj *obj)
{
	struct map_new new = fix_new(txn, name, size_bytes, 1);

	return map_txn_create(txn, &new, obj);
}

static inline int fix_try_clone(struct map_txn *txn, uint64_t src, const char *name,
				struct map_obj *obj)
{
	struct map_new new = fix_new(txn, name, 0, 2);

	return map_txn_clone(txn, src, &new, obj);
}

static inline uint64_t fix_create(struct map_txn *txn, const char *name, uint64_t nblks)
{
	struct map_obj obj;

	assert_int_equal(fix_try_create(txn, name, nblks * BLK_BYTES, &obj), 0);
	return obj.id;
}

static inline uint64_t fix_clone(struct map_txn *txn, uint64_t src, const char *name)
{
	struct map_obj obj;

	assert_int_equal(fix_try_clone(txn, src, name, &obj), 0);
	return obj.id;
}

/* A version of the object, as it is now. */
static inline uint64_t fix_version(struct map_txn *txn, uint64_t oid, const char *name)
{
	struct map_new new = fix_new(txn, name, 0, 3);
	struct map_obj obj;

	new.parent = oid;
	assert_int_equal(map_txn_clone(txn, oid, &new, &obj), 0);
	return obj.id;
}

/* Maps n blocks, whose checksums are their physical numbers. */
static inline void fix_remap(struct map_txn *txn, uint64_t oid, uint64_t blk, uint64_t dst,
			     uint64_t n)
{
	uint32_t *csums = calloc(n, sizeof(*csums));

	assert_non_null(csums);
	for (uint64_t i = 0; i < n; i++)
		csums[i] = (uint32_t)(dst + i);
	assert_int_equal(map_txn_remap(txn, oid, lblk(blk), pblk(dst), n, csums), 0);
	free(csums);
}

/* Releases all that is queued. */
static inline void fix_reap_all(struct fix *fix, size_t budget)
{
	bool more = true;

	while (more) {
		struct map_txn *txn = fix_begin(fix);

		for (int i = 0; i < 500 && more; i++)
			assert_int_equal(map_txn_reap(txn, budget, &more), 0);
		fix_commit(txn);
	}
}

/* What the checker said, one sentence a line. */
struct fix_report {
	char text[16384];
	size_t len;
};

static inline void fix_report(void *ctx, const char *text)
{
	struct fix_report *report = ctx;
	int n =
	    snprintf(report->text + report->len, sizeof(report->text) - report->len, "%s\n", text);

	if (n > 0 && (size_t)n < sizeof(report->text) - report->len)
		report->len += (size_t)n;
}

/* The checker finds nothing. */
static inline struct check_totals fix_check(struct fix *fix)
{
	struct check_totals totals = {0};
	struct fix_report report = {0};
	int n = check_map(fix->map, fix_report, &report, &totals);

	if (n != 0)
		fail_msg("check_map: %d\n%s", n, report.text);
	return totals;
}

static inline int fix_sum_free(void *ctx, pblk_t blk, uint64_t nblks)
{
	uint64_t *ranges = ctx;

	assert_true(blk.n > 0);
	ranges[0]++;
	ranges[1] += nblks;
	return 0;
}

/* Everything has been deleted and released: the map is as it was when made. */
static inline void fix_check_empty(struct fix *fix)
{
	struct check_totals totals = fix_check(fix);
	struct map_view *view = fix_view(fix);
	uint64_t ranges[2] = {0, 0};

	assert_int_equal(map_each_free(view, pblk(0), fix_sum_free, ranges), 0);
	map_view_end(view);
	assert_int_equal(ranges[0], 1);
	assert_int_equal(ranges[1], fix->dev_nblks - 1);
	assert_int_equal(totals.objects, 0);
	assert_int_equal(totals.nodes, 0);
	assert_int_equal(totals.shared_nblks, 0);
	assert_int_equal(totals.reap_entries, 0);
	assert_int_equal(totals.free_nblks, fix->dev_nblks - 1);
}

/* A small generator, so that a run can be repeated from its seed. */
static inline uint64_t fix_rand(uint64_t *state, uint64_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % below;
}

#endif
