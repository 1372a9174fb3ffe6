/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many blocks an object owns, as transactions count it, against what a pass over all mappings finds;
 * and what is promised to objects that have reserved more.
 */
#include "tests/unit/map_fixture.h"

enum { DEV_NBLKS = 4000, NOBJS = 5, SPAN = 700 };

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static struct map_obj obj_of(struct fix *fix, uint64_t oid)
{
	struct map_view *view = fix_view(fix);
	struct map_obj obj;

	assert_int_equal(map_obj_by_id(view, oid, &obj), 0);
	map_view_end(view);
	return obj;
}

static struct map_owned owned_of(struct fix *fix, const char *spec)
{
	struct map_view *view = fix_view(fix);
	struct map_owned owned;

	assert_int_equal(map_owned(view, spec, never, NULL, &owned), 0);
	map_view_end(view);
	return owned;
}

static struct map_space space_of(struct fix *fix)
{
	struct map_view *view = fix_view(fix);
	struct map_space space;

	assert_int_equal(map_get_space(view, &space), 0);
	map_view_end(view);
	return space;
}

/* Gives the object these attributes, and nothing else. */
static struct map_obj set(struct fix *fix, uint64_t oid, uint64_t reserved, uint64_t regained,
			  uint64_t owned_seq)
{
	const struct map_attrs attrs = {
	    .reserved_nblks = reserved, .regained_nblks = regained, .owned_seq = owned_seq};
	struct map_txn *txn = fix_begin(fix);
	struct map_obj obj;

	assert_int_equal(map_txn_set(txn, oid, &attrs, &obj), 0);
	fix_commit(txn);
	return obj;
}

struct space_wanted {
	uint64_t n;
	uint64_t blk;
};

static int space_take(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct space_wanted *want = ctx;

	if (nblks < want->n)
		return 0;
	want->blk = blk.n;
	return 1;
}

/* Writes n blocks to free space; false: there is none in one piece. */
static bool write_blks(struct fix *fix, uint64_t oid, uint64_t blk, uint64_t n)
{
	struct space_wanted want = {.n = n};
	struct map_view *view = fix_view(fix);
	struct map_txn *txn;

	assert_int_equal(map_each_free(view, pblk(0), space_take, &want), 0);
	map_view_end(view);
	if (want.blk == 0)
		return false;
	txn = fix_begin(fix);
	fix_remap(txn, oid, blk, want.blk, n);
	fix_commit(txn);
	return true;
}

static void unmap(struct fix *fix, uint64_t oid, uint64_t blk, uint64_t n)
{
	struct map_txn *txn = fix_begin(fix);

	assert_int_equal(map_txn_unmap(txn, oid, lblk(blk), n), 0);
	fix_commit(txn);
}

static void share(struct fix *fix, uint64_t to, uint64_t blk, uint64_t from, uint64_t src,
		  uint64_t n)
{
	struct map_txn *txn = fix_begin(fix);

	assert_int_equal(map_txn_share(txn, to, lblk(blk), from, lblk(src), n), 0);
	fix_commit(txn);
}

/* Adds one for each time that the object maps a physical block. */
static void count_blks(struct fix *fix, uint64_t oid, uint32_t *counts)
{
	struct map_view *view = fix_view(fix);

	for (uint64_t blk = 0; blk < 2 * SPAN;) {
		struct map_lookup l;

		assert_int_equal(
		    map_begin(view, oid, lblk(blk), 2 * SPAN - blk, MAP_FOR_READ, &l, NULL), 0);
		for (uint64_t i = 0; l.src.kind == MAP_MAPPED && i < l.nblks; i++)
			counts[l.src.blk.n + i]++;
		blk += l.nblks;
	}
	map_view_end(view);
}

/* The blocks that this one maps, once, and no other of all does. */
static uint64_t alone(struct fix *fix, const uint64_t *oids, size_t n, size_t which)
{
	uint32_t all[DEV_NBLKS] = {0};
	uint32_t own[DEV_NBLKS] = {0};
	uint64_t found = 0;

	for (size_t i = 0; i < n; i++)
		if (oids[i])
			count_blks(fix, oids[i], all);
	count_blks(fix, oids[which], own);
	for (size_t b = 0; b < DEV_NBLKS; b++)
		found += own[b] == 1 && all[b] == 1;
	return found;
}

static void test_all_blocks_are_owned_where_nothing_was_ever_shared(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t rng = 4;
	uint64_t oid;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 2 * SPAN);
	fix_commit(txn);
	for (int i = 0; i < 400; i++) {
		uint64_t blk = fix_rand(&rng, SPAN);
		uint64_t n = 1 + fix_rand(&rng, SPAN);
		struct map_obj obj;

		if (fix_rand(&rng, 3) > 0)
			(void)write_blks(&fix, oid, blk, n);
		else
			unmap(&fix, oid, blk, i % 8 == 0 ? BLK_OBJECT_MAX - blk : n);
		if (i % 5 == 0)
			fix_reap_all(&fix, 100);
		obj = obj_of(&fix, oid);
		assert_int_equal(obj.owned_nblks, obj.mapped_nblks);
		assert_int_equal(obj.owned_seq, 0);
		fix_check(&fix);
	}
	fix_close(&fix);
}

struct family {
	uint64_t oids[2 * NOBJS]; /* objects, then a version of each; 0: none */
	uint64_t rng;
	struct fix fix;
};

static const char *family_name(size_t i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), i < NOBJS ? "o%zu" : "o%zu@v", i % NOBJS);
	return name;
}

/* Makes object i, as a clone of another, or its version. */
static void family_add(struct family *f, size_t i, uint64_t src)
{
	struct map_txn *txn = fix_begin(&f->fix);

	if (i >= NOBJS)
		f->oids[i] = fix_version(txn, f->oids[i - NOBJS], "v");
	else
		f->oids[i] = src ? fix_clone(txn, src, family_name(i))
				 : fix_create(txn, family_name(i), 2 * SPAN);
	fix_commit(txn);
}

static void family_remove(struct family *f, size_t i)
{
	struct map_txn *txn = fix_begin(&f->fix);

	if (i < NOBJS && f->oids[i + NOBJS]) {
		assert_int_equal(map_txn_remove(txn, f->oids[i + NOBJS]), 0);
		f->oids[i + NOBJS] = 0;
	}
	assert_int_equal(map_txn_remove(txn, f->oids[i]), 0);
	f->oids[i] = 0;
	fix_commit(txn);
}

static void family_reset(struct family *f, size_t i)
{
	struct map_txn *txn = fix_begin(&f->fix);
	struct map_obj obj;

	if (f->oids[i + NOBJS])
		assert_int_equal(map_txn_reset(txn, f->oids[i], f->oids[i + NOBJS], 1, 2, &obj), 0);
	fix_commit(txn);
}

/* Changes the object in one of the ways in which that can be done. */
static void family_change(struct family *f, size_t i)
{
	uint64_t blk = fix_rand(&f->rng, SPAN);
	uint64_t n = 1 + fix_rand(&f->rng, SPAN / 3);
	uint64_t other = f->oids[fix_rand(&f->rng, 2 * NOBJS)];

	switch (fix_rand(&f->rng, 8)) {
	case 0:
		unmap(&f->fix, f->oids[i], blk, n);
		break;
	case 1:
		unmap(&f->fix, f->oids[i], blk, BLK_OBJECT_MAX - blk);
		break;
	case 2: /* by nodes, or block by block; from itself, too */
		if (other && (other != f->oids[i] || blk + n <= SPAN))
			share(&f->fix, f->oids[i], SPAN + blk % 2, other, blk % 128 == 0 ? 0 : blk,
			      n);
		break;
	case 3:
		if (!f->oids[i + NOBJS])
			family_add(f, i + NOBJS, 0);
		else if (blk % 2)
			family_remove(f, i + NOBJS);
		break;
	case 4:
		family_reset(f, i);
		break;
	default:
		(void)write_blks(&f->fix, f->oids[i], blk, n);
	}
}

static void family_step(struct family *f)
{
	size_t i = fix_rand(&f->rng, NOBJS);
	uint64_t src = f->oids[fix_rand(&f->rng, 2 * NOBJS)];

	if (!f->oids[i])
		family_add(f, i, src);
	else if (fix_rand(&f->rng, 12) == 0)
		family_remove(f, i);
	else
		family_change(f, i);
}

/* Puts the counts of all right, as one does who has counted. */
static void family_regain(struct family *f)
{
	for (size_t i = 0; i < NOBJS; i++) {
		struct map_owned owned;

		if (!f->oids[i])
			continue;
		owned = owned_of(&f->fix, family_name(i));
		assert_true(owned.nblks >= owned.obj.owned_nblks);
		(void)set(&f->fix, f->oids[i], fix_rand(&f->rng, SPAN),
			  owned.nblks - owned.obj.owned_nblks, owned.obj.owned_seq);
		assert_int_equal(obj_of(&f->fix, f->oids[i]).owned_nblks, owned.nblks);
	}
}

static void family_compare(struct family *f)
{
	uint64_t promised = 0;

	for (size_t i = 0; i < NOBJS; i++) {
		struct map_obj obj;
		uint64_t found;

		if (!f->oids[i])
			continue;
		obj = obj_of(&f->fix, f->oids[i]);
		found = alone(&f->fix, f->oids, 2 * NOBJS, i);
		assert_true(obj.owned_nblks <= found);
		assert_int_equal(owned_of(&f->fix, family_name(i)).nblks, found);
		promised += map_obj_promised(&obj);
	}
	assert_int_equal(space_of(&f->fix).promised_nblks, promised);
}

static void test_what_is_owned_is_never_more_than_what_is_alone(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct family f = {.rng = seed};

		fix_open(&f.fix, DEV_NBLKS, FIX_META_BYTES);
		for (int i = 0; i < 300; i++) {
			family_step(&f);
			fix_check(&f.fix);
			if (i % 10 == 0) {
				fix_reap_all(&f.fix, 100);
				family_compare(&f);
			}
			if (i % 30 == 0)
				family_regain(&f);
		}
		fix_check(&f.fix);
		fix_close(&f.fix);
	}
}

/* What counting brings is added to what has come and gone since; unless blocks may have become shared. */
static void test_regained_blocks_count_until_something_is_shared(void **state)
{
	struct map_owned owned;
	struct map_txn *txn;
	struct map_obj obj;
	uint64_t clone;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 2 * SPAN);
	fix_remap(txn, oid, 0, 1, 300);
	clone = fix_clone(txn, oid, "b");
	assert_int_equal(map_txn_remove(txn, clone), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 10);
	owned = owned_of(&fix, "a");
	assert_int_equal(owned.nblks, 300);
	assert_int_equal(owned.obj.owned_nblks, 0);

	assert_true(write_blks(&fix, oid, 290, 30)); /* 10 of its own go, though it is not known */
	obj = set(&fix, oid, 400, 300, owned.obj.owned_seq);
	assert_int_equal(obj.owned_nblks, 320);
	assert_int_equal(map_obj_promised(&obj), 80);
	obj = set(&fix, oid, 400, 300, owned.obj.owned_seq); /* another who has counted the same */
	assert_int_equal(obj.owned_nblks, 320);

	txn = fix_begin(&fix);
	clone = fix_clone(txn, oid, "b");
	assert_int_equal(map_txn_remove(txn, clone), 0);
	fix_commit(txn);
	assert_int_equal(obj_of(&fix, oid).owned_nblks, 0);
	owned = owned_of(&fix, "a");
	txn = fix_begin(&fix);
	clone = fix_clone(txn, oid, "b");
	fix_commit(txn);
	obj = set(&fix, oid, 400, owned.nblks, owned.obj.owned_seq);
	assert_int_equal(obj.owned_nblks, 0);
	assert_int_equal(map_obj_promised(&obj), 400);
	fix_check(&fix);
	fix_close(&fix);
}

/* Where more is given up than was known to be owned, what others have counted before is void. */
static void test_giving_up_more_than_is_known_begins_anew(void **state)
{
	struct map_owned owned;
	struct map_txn *txn;
	uint64_t clone;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 2 * SPAN);
	fix_remap(txn, oid, 0, 1, 300);
	clone = fix_clone(txn, oid, "b");
	assert_int_equal(map_txn_remove(txn, clone), 0);
	fix_commit(txn);
	owned = owned_of(&fix, "a");
	unmap(&fix, oid, 0, 200);
	assert_int_equal(obj_of(&fix, oid).owned_nblks, 0);
	assert_int_equal(set(&fix, oid, 0, owned.nblks, owned.obj.owned_seq).owned_nblks, 0);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_the_sums_follow_every_object(void **state)
{
	struct map_new new;
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	new = fix_new(txn, "a", SPAN * BLK_BYTES, 1);
	new.reserved_nblks = 50;
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
	fix_remap(txn, obj.id, 0, 1, 20);
	fix_commit(txn);
	fix_reopen(&fix);
	assert_int_equal(space_of(&fix).reserved_nblks, 50);
	assert_int_equal(space_of(&fix).promised_nblks, 30);
	unmap(&fix, obj.id, 5, 10);
	assert_int_equal(space_of(&fix).promised_nblks, 40);
	assert_true(write_blks(&fix, obj.id, 0, 90)); /* more than it has reserved */
	assert_int_equal(space_of(&fix).promised_nblks, 0);
	txn = fix_begin(&fix);
	(void)fix_version(txn, obj.id, "v");
	fix_commit(txn);
	assert_int_equal(space_of(&fix).promised_nblks, 50);
	txn = fix_begin(&fix);
	(void)fix_clone(txn, obj.id, "b"); /* which has reserved nothing */
	fix_commit(txn);
	assert_int_equal(space_of(&fix).reserved_nblks, 50);
	fix_check(&fix);
	(void)set(&fix, obj.id, 7, 0, 0);
	assert_int_equal(space_of(&fix).reserved_nblks, 7);
	assert_int_equal(space_of(&fix).promised_nblks, 7);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_obj_by_name(txn, "a@v", &obj), 0);
	assert_int_equal(map_txn_remove(txn, obj.id), 0);
	assert_int_equal(map_txn_remove(txn, obj.parent), 0);
	fix_commit(txn);
	assert_int_equal(space_of(&fix).reserved_nblks, 0);
	assert_int_equal(space_of(&fix).promised_nblks, 0);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_reservations_that_cannot_be(void **state)
{
	struct map_attrs attrs = {.reserved_nblks = 1};
	struct map_new new;
	struct map_txn *txn;
	struct map_obj obj;
	uint64_t version;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, DEV_NBLKS, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 10);
	version = fix_version(txn, oid, "v");
	assert_int_equal(map_txn_set(txn, version, &attrs, &obj), -ERR_PERM);
	fix_commit(txn);
	txn = fix_begin(&fix);
	attrs.reserved_nblks = BLK_OBJECT_MAX + 1;
	assert_int_equal(map_txn_set(txn, oid, &attrs, &obj), -ERR_TOO_LARGE);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	new = fix_new(txn, "b", 0, 1);
	new.reserved_nblks = BLK_OBJECT_MAX + 1;
	assert_int_equal(map_txn_create(txn, &new, &obj), -ERR_TOO_LARGE);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	new = fix_new(txn, "b", 0, 1);
	new.reserved_nblks = 1;
	assert_int_equal(map_txn_clone(txn, oid, &new, &obj), -ERR_INVAL);
	map_txn_abort(txn);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_blocks_are_owned_where_nothing_was_ever_shared),
	    cmocka_unit_test(test_what_is_owned_is_never_more_than_what_is_alone),
	    cmocka_unit_test(test_regained_blocks_count_until_something_is_shared),
	    cmocka_unit_test(test_giving_up_more_than_is_known_begins_anew),
	    cmocka_unit_test(test_the_sums_follow_every_object),
	    cmocka_unit_test(test_reservations_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
