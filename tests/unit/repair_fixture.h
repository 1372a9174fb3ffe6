/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * repair_fixture.h: what the tests of the repair share: what objects read, all tables byte by byte, and
 * what is free, before it and behind it.
 */
#ifndef TESTS_UNIT_REPAIR_FIXTURE_H
#define TESTS_UNIT_REPAIR_FIXTURE_H

#include "common/crc32c.h"
#include "server/repair.h"
#include "tests/unit/check_fixture.h"

#define FIXTURE_BLKS 1000u /* of an object, and of the device */

/* Maps are made in memory where that can be: it is not the syncs that are tested. */
static inline void repair_in_memory(void)
{
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
}

/* All tables: each entry's lengths, key and value. */
struct dump {
	uint8_t *bytes;
	size_t len;
	size_t cap;
};

static inline void dump_add(struct dump *d, const void *bytes, size_t len)
{
	if (d->len + len > d->cap) {
		d->cap = 2 * d->cap + len + 65536;
		d->bytes = realloc(d->bytes, d->cap);
		assert_non_null(d->bytes);
	}
	memcpy(d->bytes + d->len, bytes, len);
	d->len += len;
}

static inline void dump_table(struct dump *d, struct kv_txn *kv, enum kv_table table)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf key;
	struct kv_buf val;

	while (kv_find(kv, table, KV_GT, check_pos_key(&pos), &key, &val) == 0) {
		size_t head[3] = {(size_t)table, key.len, val.len};

		assert_false(val.staged);
		dump_add(d, head, sizeof(head));
		dump_add(d, key.data, key.len);
		dump_add(d, val.data, val.len);
		memcpy(pos.bytes, key.data, key.len);
		pos.len = key.len;
	}
}

static inline struct dump dump_map(struct map *map)
{
	struct map_view *view;
	struct dump d = {0};

	assert_int_equal(map_view_begin(map, &view), 0);
	for (int t = 0; t < KV_NTABLES; t++)
		dump_table(&d, view->kv, (enum kv_table)t);
	map_view_end(view);
	return d;
}

static inline bool dump_same(const struct dump *a, const struct dump *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static inline void dump_fini(struct dump *d)
{
	free(d->bytes);
	*d = (struct dump){0};
}

/* What an object is: a sum over where its blocks are and their checksums, its size, name and labels. */
struct reading {
	int err;
	uint32_t sum;
};

static inline uint32_t reading_add(uint32_t sum, const void *bytes, size_t len)
{
	return crc32c(sum, bytes, len);
}

static inline int read_blks(struct map_view *view, uint64_t oid, uint32_t *sum)
{
	uint32_t csums[FIXTURE_BLKS];
	struct map_lookup l;
	uint64_t blk = 0;

	for (; blk < FIXTURE_BLKS; blk += l.nblks) {
		int err =
		    map_begin(view, oid, lblk(blk), FIXTURE_BLKS - blk, MAP_FOR_READ, &l, csums);

		if (err)
			return err;
		*sum = reading_add(*sum, &l.src.kind, sizeof(l.src.kind));
		*sum = reading_add(*sum, &l.nblks, sizeof(l.nblks));
		if (l.src.kind != MAP_MAPPED)
			continue;
		*sum = reading_add(*sum, &l.src.blk.n, sizeof(l.src.blk.n));
		*sum = reading_add(*sum, csums, l.nblks * sizeof(csums[0]));
	}
	return 0;
}

static inline struct reading read_object(struct map *map, uint64_t oid)
{
	struct reading reading = {0};
	struct map_object obj = {0};
	struct map_view *view;

	assert_int_equal(map_view_begin(map, &view), 0);
	reading.err = map_object_read(view->kv, oid, &obj);
	if (!reading.err)
		reading.err = read_blks(view, oid, &reading.sum);
	if (!reading.err) {
		reading.sum = reading_add(reading.sum, obj.pub.name, strlen(obj.pub.name));
		reading.sum = reading_add(reading.sum, obj.pub.labels, obj.pub.labels_len);
		reading.sum = reading_add(reading.sum, &obj.pub.size_bytes, sizeof(uint64_t));
		reading.sum = reading_add(reading.sum, &obj.pub.generation, sizeof(uint64_t));
	}
	map_view_end(view);
	return reading;
}

#define READINGS 64u

/* Of objects 1 to READINGS. */
struct readings {
	struct reading of[READINGS];
};

static inline struct readings read_objects(struct map *map)
{
	struct readings r;

	for (uint64_t i = 0; i < READINGS; i++)
		r.of[i] = read_object(map, i + 1);
	return r;
}

/* As they were before. */
static inline void assert_same_readings(struct map *map, const struct readings *before)
{
	struct readings now = read_objects(map);

	for (size_t i = 0; i < READINGS; i++)
		if (before->of[i].err != now.of[i].err || before->of[i].sum != now.of[i].sum)
			fail_msg("object %zu: %s, %08x before, %s, %08x behind", i + 1,
				 err_name(before->of[i].err), before->of[i].sum,
				 err_name(now.of[i].err), now.of[i].sum);
}

/* The repair must come to its end. */
static inline struct repair_result repair(struct map *map, struct fix_report *report)
{
	struct repair_result result = {0};

	*report = (struct fix_report){0};
	assert_int_equal(repair_map(map, NULL, fix_report, report, &result), 0);
	return result;
}

/* A repair behind a repair finds nothing to do: what the first has left, and that alone. */
static inline void assert_repaired(struct map *map, uint64_t left)
{
	struct dump before = dump_map(map);
	struct fix_report report;
	struct repair_result again = repair(map, &report);
	struct dump behind = dump_map(map);

	if (again.mended != 0 || again.left != left)
		fail_msg("again: %d mended, %d left, not %d:\n%s", (int)again.mended,
			 (int)again.left, (int)left, report.text);
	assert_true(dump_same(&before, &behind));
	dump_fini(&before);
	dump_fini(&behind);
}

/* ---- living on ------------------------------------------------------------------------------- */

static inline int first_free(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct map_range *range = ctx;

	*range = (struct map_range){blk, nblks};
	return 1;
}

/* Takes each free block into an object, in pieces, so that none turns out to be somebody's. */
static inline void live_fill(struct fix *fix)
{
	struct map_txn *txn = fix_begin(fix);
	uint64_t oid = fix_create(txn, "filler", 5000);
	uint64_t blk = 0;

	fix_commit(txn);
	for (;;) {
		struct map_range range = {0};
		struct map_view *view = fix_view(fix);
		uint64_t n;

		assert_int_equal(map_each_free(view, pblk(0), first_free, &range), 0);
		map_view_end(view);
		if (range.nblks == 0)
			break;
		n = range.nblks < 200 ? range.nblks : 200;
		txn = fix_begin(fix);
		fix_remap(txn, oid, blk, range.blk.n, n);
		fix_commit(txn);
		blk += n + 1;
	}
	txn = fix_begin(fix);
	assert_int_equal(map_txn_remove(txn, oid), 0);
	fix_commit(txn);
}

/* The store is used until there is nothing in it any more. */
static inline void repair_live_on(struct fix *fix)
{
	struct map_txn *txn;

	live_fill(fix);
	fix_reap_all(fix, 3);
	(void)fix_check(fix);
	txn = fix_begin(fix);
	(void)fix_clone(txn, OID_A, "another");
	assert_int_equal(map_txn_unmap(txn, OID_C, lblk(100), 50), 0);
	fix_remap(txn, OID_A, 20, 700, 3);
	assert_int_equal(map_txn_remove(txn, OID_V), 0);
	fix_commit(txn);
	fix_reap_all(fix, 3);
	(void)fix_check(fix);
	txn = fix_begin(fix);
	assert_int_equal(map_txn_remove(txn, OID_W), 0);
	assert_int_equal(map_txn_remove(txn, OID_A), 0);
	assert_int_equal(map_txn_remove(txn, OID_C), 0);
	fix_commit(txn);
	fix_reap_all(fix, 64);
	(void)fix_check(fix);
	fix_reopen(fix);
	(void)fix_check(fix);
}

#endif
