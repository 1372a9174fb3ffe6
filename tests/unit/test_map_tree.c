/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trees against a model: random remaps, clones of clones, versions, resets, truncations and
 * removals in any order, committed or aborted, with the checker after every round.
 */
#include "tests/unit/map_fixture.h"

/* Objects are mapped in windows that lie far apart, so that trees of every height come up. */
#define WINDOW_NBLKS 700
#define NWINDOWS     6
#define MODEL_NBLKS  (WINDOW_NBLKS * NWINDOWS)
#define MODEL_NOBJS  12
#define DEV_NBLKS    30000

static const uint64_t windows[NWINDOWS] = {
    0,
    16384 - 300,
    UINT64_C(2097152) - 65,
    UINT64_C(1) << 28,
    (UINT64_C(1) << 35) - 350,
    BLK_OBJECT_MAX - WINDOW_NBLKS,
};

struct model_obj {
	uint64_t oid; /* 0: does not exist */
	struct model_obj *parent;
	unsigned int nversions;
	uint64_t blk[MODEL_NBLKS];
};

struct model {
	struct model_obj objs[MODEL_NOBJS];
	bool busy[DEV_NBLKS];
	unsigned int names; /* given so far: each is new */
	uint64_t next_dst;
};

struct world {
	struct fix fix;
	struct model now;
	struct model before; /* this transaction */
	uint64_t rng;
};

static uint64_t model_lblk(uint64_t i)
{
	return windows[i / WINDOW_NBLKS] + i % WINDOW_NBLKS;
}

/* The checksum that goes with a physical block. */
static uint32_t csum_of(uint64_t blk)
{
	return (uint32_t)(blk * 2654435761u);
}

static struct model_obj *pick(struct world *w, bool exists)
{
	uint64_t first = fix_rand(&w->rng, MODEL_NOBJS);

	for (uint64_t i = 0; i < MODEL_NOBJS; i++) {
		struct model_obj *obj = &w->now.objs[(first + i) % MODEL_NOBJS];

		if ((obj->oid != 0) == exists)
			return obj;
	}
	return NULL;
}

static void new_name(struct world *w, char name[32])
{
	(void)snprintf(name, 32, "object-%u", w->now.names++);
}

/* n physical blocks in one piece that are not in use; 0: there are none. */
static uint64_t find_dst(struct world *w, uint64_t n)
{
	uint64_t run = 0;

	for (uint64_t i = 0; i < 2 * DEV_NBLKS; i++) {
		uint64_t b = (w->now.next_dst + i) % DEV_NBLKS;

		run = b == 0 ? 0 : w->now.busy[b] ? 0 : run + 1;
		if (run == n) {
			w->now.next_dst = b + 1;
			return b + 1 - n;
		}
	}
	return 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void do_create(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, false);
	struct map_obj got;
	char name[32];

	if (!obj)
		return;
	new_name(w, name);
	memset(obj, 0, sizeof(*obj));
	assert_int_equal(fix_try_create(txn, name, BLK_OBJECT_MAX << BLK_SHIFT, &got), 0);
	obj->oid = got.id;
}

static void do_clone(struct world *w, struct map_txn *txn)
{
	struct model_obj *src = pick(w, true);
	struct model_obj *dst = pick(w, false);
	struct map_obj got;
	char name[32];

	if (!src || !dst)
		return;
	new_name(w, name);
	*dst = *src;
	assert_int_equal(fix_try_clone(txn, src->oid, name, &got), 0);
	assert_int_equal(got.origin, src->oid);
	dst->oid = got.id;
	dst->parent = NULL;
	dst->nversions = 0;
}

static void do_version(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	struct model_obj *dst = pick(w, false);
	char name[32];

	if (!obj || !dst || obj->parent)
		return;
	new_name(w, name);
	*dst = *obj;
	dst->oid = fix_version(txn, obj->oid, name);
	dst->parent = obj;
	dst->nversions = 0;
	obj->nversions++;
}

/* To any version or object. */
static void do_reset(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	struct model_obj *src = pick(w, true);
	struct map_obj got;

	if (!obj)
		return;
	assert_int_equal(map_txn_reset(txn, obj->oid, src->oid, 1, 1, &got),
			 obj->parent ? -ERR_PERM : 0);
	if (!obj->parent)
		memmove(obj->blk, src->blk, sizeof(obj->blk));
}

static void do_names(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	struct model_obj *other = pick(w, true);
	char name[32];

	if (!obj)
		return;
	new_name(w, name);
	assert_int_equal(map_txn_rename(txn, obj->oid, name), 0);
	assert_int_equal(map_txn_exchange(txn, obj->oid, other->oid),
			 obj->parent || other->parent ? -ERR_PERM : 0);
}

static void do_remove(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);

	if (!obj)
		return;
	assert_int_equal(map_txn_remove(txn, obj->oid), obj->nversions > 0 ? -ERR_BUSY : 0);
	if (obj->nversions > 0)
		return;
	if (obj->parent)
		obj->parent->nversions--;
	obj->oid = 0;
}

static void do_remap(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	uint64_t n = 1 + fix_rand(&w->rng, fix_rand(&w->rng, 4) ? 6 : 300);
	uint64_t at = fix_rand(&w->rng, MODEL_NBLKS);
	uint64_t dst = find_dst(w, n);
	uint32_t csums[300];

	if (!obj || !dst || obj->parent)
		return;
	if (at % WINDOW_NBLKS + n > WINDOW_NBLKS)
		at -= at % WINDOW_NBLKS + n - WINDOW_NBLKS;
	for (uint64_t i = 0; i < n; i++) {
		obj->blk[at + i] = dst + i;
		w->now.busy[dst + i] = true;
		csums[i] = csum_of(dst + i);
	}
	assert_int_equal(map_txn_remap(txn, obj->oid, lblk(model_lblk(at)), pblk(dst), n, csums),
			 0);
}

static void do_unmap(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	uint64_t at = fix_rand(&w->rng, MODEL_NBLKS);
	uint64_t end = at + 1 + fix_rand(&w->rng, MODEL_NBLKS - at);
	lblk_t blk;

	if (!obj || obj->parent)
		return;
	if (fix_rand(&w->rng, 8) == 0)
		at = 0;
	if (fix_rand(&w->rng, 2) == 0)
		end = at + 1 + fix_rand(&w->rng, end - at);
	blk = lblk(model_lblk(at));
	assert_int_equal(map_txn_unmap(txn, obj->oid, blk,
				       end < MODEL_NBLKS ? model_lblk(end - 1) + 1 - blk.n
							 : BLK_OBJECT_MAX - blk.n),
			 0);
	for (; at < end; at++)
		obj->blk[at] = 0;
}

/* From one window to the same one of another object, at the same place, or a leaf or less away. */
static void do_share(struct world *w, struct map_txn *txn)
{
	static const uint64_t steps[] = {0, 128, 1, 256, 77};
	struct model_obj *obj = pick(w, true);
	struct model_obj *src = pick(w, true);
	uint64_t n = 1 + fix_rand(&w->rng, fix_rand(&w->rng, 2) ? 20 : WINDOW_NBLKS);
	uint64_t at = fix_rand(&w->rng, WINDOW_NBLKS - n + 1);
	uint64_t to = at + steps[fix_rand(&w->rng, 5)];
	uint64_t window = fix_rand(&w->rng, NWINDOWS) * WINDOW_NBLKS;
	uint64_t step;

	if (!obj || obj->parent || to + n > WINDOW_NBLKS)
		return;
	if (fix_rand(&w->rng, 2) == 0) {
		uint64_t swap = at;

		at = to;
		to = swap;
	}
	step = at > to ? at - to : to - at;
	if (obj == src && step < n)
		return;
	assert_int_equal(map_txn_share(txn, obj->oid, lblk(model_lblk(window + to)), src->oid,
				       lblk(model_lblk(window + at)), n),
			 0);
	memmove(obj->blk + window + to, src->blk + window + at, n * sizeof(obj->blk[0]));
}

/* Whole nodes of two levels, and what is on both sides of them. */
static void do_share_much(struct world *w, struct map_txn *txn)
{
	struct model_obj *obj = pick(w, true);
	struct model_obj *src = pick(w, true);
	uint64_t at = fix_rand(&w->rng, WINDOW_NBLKS);
	uint64_t end = WINDOW_NBLKS + fix_rand(&w->rng, MODEL_NBLKS - WINDOW_NBLKS);

	if (!obj || obj->parent || obj == src)
		return;
	assert_int_equal(map_txn_share(txn, obj->oid, lblk(model_lblk(at)), src->oid,
				       lblk(model_lblk(at)),
				       model_lblk(end - 1) + 1 - model_lblk(at)),
			 0);
	memcpy(obj->blk + at, src->blk + at, (end - at) * sizeof(obj->blk[0]));
}

static void do_reap(struct world *w, struct map_txn *txn)
{
	bool more;

	assert_int_equal(map_txn_reap(txn, 1 + fix_rand(&w->rng, 20), &more), 0);
}

static void do_something(struct world *w, struct map_txn *txn)
{
	uint64_t dice = fix_rand(&w->rng, 50);

	if (dice < 2)
		do_create(w, txn);
	else if (dice < 5)
		do_clone(w, txn);
	else if (dice < 7)
		do_remove(w, txn);
	else if (dice < 9)
		do_unmap(w, txn);
	else if (dice < 12)
		do_reap(w, txn);
	else if (dice < 15)
		do_version(w, txn);
	else if (dice < 17)
		do_reset(w, txn);
	else if (dice < 18)
		do_names(w, txn);
	else if (dice < 22)
		do_share(w, txn);
	else if (dice < 24)
		do_share_much(w, txn);
	else
		do_remap(w, txn);
}

static void commit(struct world *w, struct map_txn *txn)
{
	struct map_freed freed = {0};

	assert_int_equal(map_txn_commit(txn, &freed), 0);
	for (size_t i = 0; i < freed.n; i++)
		for (uint64_t b = 0; b < freed.ranges[i].nblks; b++) {
			uint64_t blk = freed.ranges[i].blk.n + b;

			assert_true(blk < DEV_NBLKS && w->now.busy[blk]);
			w->now.busy[blk] = false;
		}
	free(freed.ranges);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static int mark_free(void *ctx, pblk_t blk, uint64_t nblks)
{
	bool *is_free = ctx;

	for (uint64_t i = 0; i < nblks; i++)
		is_free[blk.n + i] = true;
	return 0;
}

static void compare_free(struct world *w)
{
	static bool is_free[DEV_NBLKS];
	struct map_view *view = fix_view(&w->fix);

	memset(is_free, 0, sizeof(is_free));
	assert_int_equal(map_each_free(view, pblk(0), mark_free, is_free), 0);
	map_view_end(view);
	for (uint64_t b = 1; b < DEV_NBLKS; b++)
		assert_int_equal(is_free[b], !w->now.busy[b]);
}

/* One look-up of up to "ask" blocks; returns how many it told about. */
static uint64_t compare_at(struct map_view *view, const struct model_obj *obj, uint64_t at,
			   uint64_t ask)
{
	uint32_t csums[WINDOW_NBLKS];
	struct map_lookup l;

	assert_int_equal(
	    map_begin(view, obj->oid, lblk(model_lblk(at)), ask, MAP_FOR_READ, &l, csums), 0);
	assert_int_equal(l.blk.n, model_lblk(at));
	assert_true(l.nblks >= 1 && l.nblks <= ask);
	assert_int_equal(l.dst.kind, l.src.kind);
	for (uint64_t i = 0; i < l.nblks; i++) {
		uint64_t want = obj->blk[at + i];

		assert_int_equal(l.src.kind, want ? MAP_MAPPED : MAP_HOLE);
		if (want) {
			assert_int_equal(l.src.blk.n + i, want);
			assert_int_equal(csums[i], csum_of(want));
		}
	}
	return l.nblks;
}

/* The whole object, hole between windows included. */
static void compare_object(struct world *w, const struct model_obj *obj)
{
	struct map_view *view = fix_view(&w->fix);
	struct map_lookup l;
	struct map_obj info;
	uint64_t mapped = 0;

	for (uint64_t win = 0; win < NWINDOWS; win++)
		for (uint64_t at = 0; at < WINDOW_NBLKS;)
			at += compare_at(view, obj, win * WINDOW_NBLKS + at, WINDOW_NBLKS - at);
	for (uint64_t win = 0; win + 1 < NWINDOWS; win++) {
		uint64_t blk = windows[win] + WINDOW_NBLKS;

		for (; blk < windows[win + 1]; blk += l.nblks) {
			assert_int_equal(map_begin(view, obj->oid, lblk(blk),
						   windows[win + 1] - blk, MAP_FOR_WRITE, &l, NULL),
					 0);
			assert_int_equal(l.src.kind, MAP_HOLE);
			assert_int_equal(l.dst.kind, MAP_DELALLOC);
		}
	}
	for (uint64_t i = 0; i < MODEL_NBLKS; i++)
		mapped += obj->blk[i] != 0;
	assert_int_equal(map_obj_by_id(view, obj->oid, &info), 0);
	assert_int_equal(info.mapped_nblks, mapped);
	map_view_end(view);
}

static void compare(struct world *w)
{
	for (int i = 0; i < MODEL_NOBJS; i++)
		if (w->now.objs[i].oid)
			compare_object(w, &w->now.objs[i]);
	compare_free(w);
	fix_check(&w->fix);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void one_round(struct world *w)
{
	for (uint64_t i = 1 + fix_rand(&w->rng, 6); i > 0; i--) {
		struct map_txn *txn = fix_begin(&w->fix);

		w->before = w->now;
		for (uint64_t op = fix_rand(&w->rng, 30); op > 0; op--)
			do_something(w, txn);
		if (fix_rand(&w->rng, 5) == 0) {
			map_txn_abort(txn);
			w->now = w->before;
		} else {
			commit(w, txn);
		}
	}
}

static void delete_all(struct world *w)
{
	struct map_txn *txn = fix_begin(&w->fix);
	struct model_obj *obj;

	for (int versions = 1; versions >= 0; versions--) {
		for (obj = w->now.objs; obj < w->now.objs + MODEL_NOBJS; obj++) {
			if (obj->oid == 0 || (obj->parent != NULL) < versions)
				continue;
			assert_int_equal(map_txn_remove(txn, obj->oid), 0);
			obj->oid = 0;
		}
	}
	fix_commit(txn);
}

static void random_world(uint64_t seed, int rounds)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->rng = seed;
	fix_open(&w->fix, DEV_NBLKS, FIX_META_BYTES);
	for (int i = 0; i < rounds; i++) {
		one_round(w);
		compare(w);
		if (i % 16 == 15)
			fix_reopen(&w->fix);
	}
	delete_all(w);
	fix_check(&w->fix);
	fix_reap_all(&w->fix, 1);
	fix_check_empty(&w->fix);
	fix_close(&w->fix);
	free(w);
}

static void test_random_operations_match_a_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++)
		random_world(seed, 40);
}

/* Each generation is a clone of the one before, with one block changed; the one before is removed.
 * A look-up visits as many nodes after 1,000 of them as after none. */
static void test_thousand_generations(void **state)
{
	struct map_txn *txn;
	struct map_lookup l;
	struct fix fix;
	uint64_t oid;
	struct check_totals first;
	struct check_totals last;
	char name[32];

	(void)state;
	fix_open(&fix, 100000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "generation-0", 40000);
	fix_remap(txn, oid, 0, 1000, 40000);
	fix_commit(txn);
	first = fix_check(&fix);
	for (uint64_t gen = 1; gen <= 1000;) {
		txn = fix_begin(&fix);
		for (int i = 0; i < 20; i++, gen++) {
			uint64_t clone;

			(void)snprintf(name, sizeof(name), "generation-%u", (unsigned int)gen);
			clone = fix_clone(txn, oid, name);
			fix_remap(txn, clone, gen * 39, 50000 + gen, 1);
			assert_int_equal(map_txn_remove(txn, oid), 0);
			oid = clone;
		}
		fix_commit(txn);
	}
	fix_reap_all(&fix, 64);
	last = fix_check(&fix);
	assert_int_equal(last.nodes, first.nodes);
	assert_int_equal(last.shared_nodes, 0);
	assert_int_equal(last.shared_nblks, 0);
	assert_int_equal(last.mapped_nblks, 40000);
	struct map_view *view = fix_view(&fix);

	for (uint64_t gen = 1; gen <= 1000; gen++) {
		assert_int_equal(map_begin(view, oid, lblk(gen * 39), 10, MAP_FOR_READ, &l, NULL),
				 0);
		assert_int_equal(l.src.blk.n, 50000 + gen);
		assert_int_equal(l.nblks, 1);
	}
	map_view_end(view);
	fix_close(&fix);
}

static void test_last_block_of_largest_object(void **state)
{
	struct map_txn *txn;
	struct map_lookup l;
	struct map_view *view;
	struct map_obj obj;
	struct fix fix;
	uint32_t csum = 7;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	assert_int_equal(fix_try_create(txn, "largest", BLK_OBJECT_MAX * BLK_BYTES, &obj), 0);
	oid = obj.id;
	fix_remap(txn, oid, 0, 5, 1);
	fix_remap(txn, oid, BLK_OBJECT_MAX - 1, 6, 1);
	fix_commit(txn);
	fix_check(&fix);
	view = fix_view(&fix);
	assert_int_equal(map_begin(view, oid, lblk(1), BLK_OBJECT_MAX, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.src.kind, MAP_HOLE);
	assert_int_equal(l.nblks, 127);
	assert_int_equal(map_begin(view, oid, lblk(BLK_OBJECT_MAX - 1), 9, MAP_FOR_READ, &l, NULL),
			 0);
	assert_int_equal(l.src.blk.n, 6);
	assert_int_equal(l.nblks, 1);
	map_view_end(view);

	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remap(txn, oid, lblk(BLK_OBJECT_MAX), pblk(9), 1, &csum),
			 -ERR_TOO_LARGE);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, oid), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 3);
	fix_check_empty(&fix);
	fix_close(&fix);
}

/* How much of an object in pieces, or in one, a transaction without a limit of nodes releases. */
static uint64_t reaped_at_once(bool pieces)
{
	const uint64_t nblks = 20 * MAP_FANOUT;
	struct map_space space;
	struct map_view *view;
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;
	bool more;

	fix_open(&fix, 2 * nblks + 1, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", nblks);
	for (uint64_t i = 0; i < nblks; i++)
		fix_remap(txn, oid, i, pieces ? 1 + 2 * i : 1 + i, 1);
	assert_int_equal(map_txn_remove(txn, oid), 0);
	fix_commit(txn);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_reap(txn, SIZE_MAX, &more), 0);
	fix_commit(txn);
	view = fix_view(&fix);
	assert_int_equal(map_get_space(view, &space), 0);
	map_view_end(view);
	assert_int_equal(more, space.reap_nblks > 0);
	fix_reap_all(&fix, 1);
	assert_int_equal(fix_check(&fix).mapped_nblks, 0);
	fix_close(&fix);
	return nblks - space.reap_nblks;
}

/* Other changes wait behind a transaction: what takes long in one leaf is done for few. */
static void test_reaping_of_pieces_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(reaped_at_once(false), 20 * MAP_FANOUT);
	assert_in_range(reaped_at_once(true), MAP_FANOUT, 8 * MAP_FANOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_operations_match_a_model),
	    cmocka_unit_test(test_thousand_generations),
	    cmocka_unit_test(test_last_block_of_largest_object),
	    cmocka_unit_test(test_reaping_of_pieces_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
