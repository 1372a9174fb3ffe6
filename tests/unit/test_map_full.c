/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map that is filled to where the engine stops, in several ways, and emptied again: each
 * transaction succeeds and each fold fits, in a small file too.
 */
#include "server/map_priv.h"
#include "tests/lib/rnd.h"
#include "tests/unit/map_fixture.h"

#define DEV_NBLKS  (UINT64_C(1) << 21)
#define MIB	   (UINT64_C(1) << 20)
#define SPAN_NBLKS (UINT64_C(1) << 21)

struct full {
	struct fix fix;
	uint64_t rng;
	uint64_t next_dst;
	unsigned int names;
	uint64_t source; /* what is cloned */
	size_t ops;	 /* of a transaction */
	bool frozen;
	unsigned int folds;
};

/* As the engine does: cuts when it has to, and folds when it has to again. */
static void keep_room(struct full *f)
{
	while (map_must_fold(f->fix.map)) {
		if (f->frozen) {
			assert_int_equal(map_fold(f->fix.map), 0);
			f->folds++;
		} else {
			assert_int_equal(map_cut(f->fix.map, (struct map_tail){.seq = 1}), 0);
		}
		f->frozen = !f->frozen;
	}
}

static void fold_all(struct full *f)
{
	assert_int_equal(map_fold(f->fix.map), 0);
	f->frozen = false;
	fix_fold(&f->fix);
}

static struct map_txn *begin(struct full *f)
{
	struct map_txn *txn = NULL;

	keep_room(f);
	assert_int_equal(map_txn_begin(f->fix.map, &txn), 0);
	return txn;
}

/* object_write.c stops here. */
static bool is_full(const struct full *f)
{
	uint64_t used;
	uint64_t total;

	map_meta_usage(f->fix.map, &used, &total);
	return used > total - total / 5;
}

static uint64_t create(struct full *f, struct map_txn *txn)
{
	char name[200];

	(void)snprintf(name, sizeof(name), "%0150u", f->names++);
	return fix_create(txn, name, SPAN_NBLKS);
}

static uint64_t make_clone(struct full *f, struct map_txn *txn, uint64_t src)
{
	char name[200];

	(void)snprintf(name, sizeof(name), "%0150u", f->names++);
	return fix_clone(txn, src, name);
}

/* One block, with one left free behind it, so that the free space is in as many pieces. */
static void remap(struct full *f, struct map_txn *txn, uint64_t oid, uint64_t blk)
{
	fix_remap(txn, oid, blk, f->next_dst, 1);
	f->next_dst += 2;
	assert_true(f->next_dst < DEV_NBLKS);
}

/* ---- filling --------------------------------------------------------------------------------- */

static void fill_with_objects(struct full *f)
{
	struct map_txn *txn = begin(f);

	for (size_t i = 0; i < f->ops; i++)
		remap(f, txn, create(f, txn), 0);
	fix_commit(txn);
}

/* Each block of a large object takes a leaf. */
static void fill_with_leaves(struct full *f)
{
	struct map_txn *txn = begin(f);
	uint64_t oid = create(f, txn);

	for (size_t i = 0; i < f->ops; i++)
		remap(f, txn, oid, fix_rand(&f->rng, SPAN_NBLKS));
	fix_commit(txn);
}

/* Leaves in almost as many pieces as they have blocks. */
static void fill_with_pieces(struct full *f)
{
	struct map_txn *txn = begin(f);

	f->source = create(f, txn);
	for (size_t i = 0; i < f->ops; i++)
		remap(f, txn, f->source, fix_rand(&f->rng, 2 * f->ops));
	fix_commit(txn);
}

/* Clones of an object in pieces, each with changes of its own: copies of its leaves, and counts. */
static void fill_with_clones(struct full *f)
{
	struct map_txn *txn;
	uint64_t oid;

	if (f->source == 0)
		fill_with_pieces(f);
	txn = begin(f);
	oid = make_clone(f, txn, f->source);
	for (size_t i = 0; i < f->ops / 32; i++)
		remap(f, txn, oid, fix_rand(&f->rng, 2 * f->ops));
	fix_commit(txn);
}

/* ---- emptying -------------------------------------------------------------------------------- */

struct oids {
	uint64_t *ids;
	size_t n;
};

static int oid_cb(void *ctx, const struct map_obj *obj)
{
	struct oids *oids = ctx;

	oids->ids = reallocarray(oids->ids, oids->n + 1, sizeof(*oids->ids));
	assert_non_null(oids->ids);
	oids->ids[oids->n++] = obj->id;
	return 0;
}

static void remove_all(struct full *f)
{
	struct map_view *view = fix_view(&f->fix);
	struct oids oids = {0};

	assert_int_equal(map_list(view, "", "", oid_cb, &oids), 0);
	map_view_end(view);
	for (size_t i = 0; i < oids.n; i++) {
		struct map_txn *txn = begin(f);

		assert_int_equal(map_txn_remove(txn, oids.ids[i]), 0);
		fix_commit(txn);
	}
	free(oids.ids);
}

static void reap_all(struct full *f)
{
	bool more = true;

	while (more) {
		struct map_txn *txn = begin(f);

		assert_int_equal(map_txn_reap(txn, 256, &more), 0);
		fix_commit(txn);
	}
}

static void fill_and_empty(uint64_t meta_bytes, size_t ops, void (*fill)(struct full *f))
{
	struct full f = {.rng = 3, .next_dst = 1, .ops = ops};
	uint64_t before;
	uint64_t filled;
	uint64_t after;
	uint64_t total;

	fix_open(&f.fix, DEV_NBLKS, meta_bytes);
	map_meta_usage(f.fix.map, &before, &total);
	for (int round = 0; round < (meta_bytes > MIB ? 1 : 2); round++) {
		f.next_dst = 1;
		f.names = 0;
		f.source = 0;
		do {
			while (!is_full(&f))
				fill(&f);
			fold_all(&f); /* what is left of the estimate */
		} while (!is_full(&f));
		map_meta_usage(f.fix.map, &filled, &total);
		fix_check(&f.fix);
		remove_all(&f);
		reap_all(&f);
		fold_all(&f);
		fix_check_empty(&f.fix);
		map_meta_usage(f.fix.map, &after, &total);
		print_message("%llu MiB: filled to %llu of %llu KiB, emptied to %llu, folds: %u\n",
			      (unsigned long long)meta_bytes >> 20,
			      (unsigned long long)filled >> 10, (unsigned long long)total >> 10,
			      (unsigned long long)after >> 10, f.folds);
		assert_true(after <= before + total / 16);
	}
	fix_close(&f.fix);
}

/* A file of a MiB, and a larger one; with so many operations a transaction, of each MiB. */
static void fill_and_empty_both(size_t small_ops, size_t ops, void (*fill)(struct full *f))
{
	uint64_t mib = rnd_count("TEST_META_MIB", 16);

	fill_and_empty(MIB, small_ops, fill);
	fill_and_empty(mib * MIB, mib * ops, fill);
}

static void test_small_objects(void **state)
{
	(void)state;
	fill_and_empty_both(4, 8, fill_with_objects);
}

static void test_scattered_leaves(void **state)
{
	(void)state;
	fill_and_empty_both(10, 16, fill_with_leaves);
}

static void test_leaves_in_pieces(void **state)
{
	(void)state;
	fill_and_empty_both(40, 32, fill_with_pieces);
}

static void test_clones(void **state)
{
	(void)state;
	fill_and_empty_both(20, 16, fill_with_clones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small_objects),
	    cmocka_unit_test(test_scattered_leaves),
	    cmocka_unit_test(test_leaves_in_pieces),
	    cmocka_unit_test(test_clones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
