/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Differences of trees against a comparison block by block: random trees of every height, shared and
 * not, in pieces bounded by runs and by nodes; and how many nodes a small difference takes.
 */
#include "tests/unit/map_fixture.h"

#include <inttypes.h>

/* Objects are mapped in windows that lie far apart, so that trees of every height come up. */
#define WINDOW_NBLKS 300
#define NWINDOWS     5
#define MODEL_NBLKS  (WINDOW_NBLKS * NWINDOWS)
#define NOBJS	     8
#define DEV_NBLKS    (UINT64_C(1) << 24)

static const uint64_t windows[NWINDOWS] = {
    0, 16384 - 150, UINT64_C(2097152) - 65, UINT64_C(1) << 28, BLK_OBJECT_MAX - WINDOW_NBLKS,
};

struct world {
	struct fix fix;
	uint64_t oid[NOBJS];		  /* the last is never written */
	uint64_t blk[NOBJS][MODEL_NBLKS]; /* physical, 0: hole */
	uint64_t next_dst;
	uint64_t rng;
};

static uint64_t model_lblk(uint64_t i)
{
	return windows[i / WINDOW_NBLKS] + i % WINDOW_NBLKS;
}

/* ---- making objects -------------------------------------------------------------------------- */

static void change_object(struct world *w, struct map_txn *txn, unsigned int o, bool hole)
{
	uint64_t at = fix_rand(&w->rng, MODEL_NBLKS);
	uint64_t room = WINDOW_NBLKS - at % WINDOW_NBLKS;
	uint64_t n = 1 + fix_rand(&w->rng, room < 150 ? room : 150);

	if (hole)
		assert_int_equal(map_txn_unmap(txn, w->oid[o], lblk(model_lblk(at)), n), 0);
	else
		fix_remap(txn, w->oid[o], model_lblk(at), w->next_dst, n);
	for (uint64_t i = 0; i < n; i++)
		w->blk[o][at + i] = hole ? 0 : w->next_dst + i;
	if (!hole)
		w->next_dst += n;
}

static void replace_object(struct world *w, struct map_txn *txn, unsigned int o, unsigned int src)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "o%" PRIu64, fix_rand(&w->rng, UINT64_C(1) << 30));
	assert_int_equal(map_txn_remove(txn, w->oid[o]), 0);
	w->oid[o] = fix_clone(txn, w->oid[src], name);
	memcpy(w->blk[o], w->blk[src], sizeof(w->blk[o]));
}

static void world_step(struct world *w)
{
	struct map_txn *txn = fix_begin(&w->fix);
	unsigned int o = (unsigned int)fix_rand(&w->rng, NOBJS - 1);
	unsigned int src = (unsigned int)fix_rand(&w->rng, NOBJS);
	uint64_t what = fix_rand(&w->rng, 10);

	if (what < 2 && src != o)
		replace_object(w, txn, o, src);
	else
		change_object(w, txn, o, what < 5);
	fix_commit(txn);
}

static void world_open(struct world *w)
{
	struct map_txn *txn;

	memset(w, 0, sizeof(*w));
	fix_open(&w->fix, DEV_NBLKS, FIX_META_BYTES);
	w->next_dst = 1;
	w->rng = 77;
	txn = fix_begin(&w->fix);
	for (unsigned int o = 0; o < NOBJS; o++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "first-%u", o);
		w->oid[o] = fix_create(txn, name, BLK_OBJECT_MAX);
	}
	fix_commit(txn);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static enum map_diff_kind expected(const uint64_t *older, const uint64_t *newer, uint64_t i)
{
	uint64_t was = older ? older[i] : 0;

	if (was == newer[i])
		return MAP_DIFF_SAME;
	return newer[i] ? MAP_DIFF_DATA : MAP_DIFF_HOLE;
}

/* The run holds for all blocks of windows in it; between windows all is the same. */
static void check_run(const uint64_t *older, const uint64_t *newer, uint64_t blk,
		      const struct map_diff_run *run)
{
	uint64_t inside = 0;

	for (uint64_t i = 0; i < MODEL_NBLKS; i++) {
		uint64_t at = model_lblk(i);

		if (at < blk || at - blk >= run->nblks)
			continue;
		inside++;
		assert_int_equal(run->kind, expected(older, newer, i));
	}
	if (run->kind != MAP_DIFF_SAME)
		assert_int_equal(inside, run->nblks);
}

/* One piece from blk on; returns where it ends. */
static uint64_t check_piece(struct world *w, struct map_view *view, int older, int newer,
			    uint64_t blk, uint64_t end)
{
	struct map_diff_run runs[64];
	struct map_diff diff = {.blk = lblk(blk),
				.nblks = end - blk,
				.max_runs = 1 + (uint32_t)fix_rand(&w->rng, ARRAY_LEN(runs)),
				.max_nodes = 1 + (uint32_t)fix_rand(&w->rng, 40),
				.runs = runs};
	const uint64_t *was = older < 0 ? NULL : w->blk[older];

	assert_int_equal(map_diff(view, older < 0 ? 0 : w->oid[older], w->oid[newer], &diff), 0);
	assert_in_range(diff.nruns, 1, diff.max_runs);
	/* the bound, and what was begun when it was reached: the way down, on both sides */
	assert_true(diff.nodes <= diff.max_nodes + 2 * MAP_HEIGHT_MAX);
	for (uint32_t i = 0; i < diff.nruns; i++) {
		if (i > 0)
			assert_true(runs[i].kind != runs[i - 1].kind);
		assert_true(runs[i].nblks > 0 && runs[i].nblks <= end - blk);
		check_run(was, w->blk[newer], blk, &runs[i]);
		blk += runs[i].nblks;
	}
	return blk;
}

/* older -1: nothing at all. */
static void check_pair(struct world *w, int older, int newer)
{
	struct map_view *view = fix_view(&w->fix);
	uint64_t from = fix_rand(&w->rng, 4) ? 0 : model_lblk(fix_rand(&w->rng, MODEL_NBLKS));
	uint64_t end = BLK_OBJECT_MAX;

	if (fix_rand(&w->rng, 4) == 0)
		end = 1 + model_lblk(fix_rand(&w->rng, MODEL_NBLKS));
	while (from < end)
		from = check_piece(w, view, older, newer, from, end);
	map_view_end(view);
}

static void any_two_trees_against_a_comparison_of_blocks(void **state)
{
	static struct world w;

	(void)state;
	world_open(&w);
	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 5; i++)
			world_step(&w);
		for (int a = -1; a < NOBJS; a++)
			for (int b = 0; b < NOBJS; b++)
				check_pair(&w, a, b);
	}
	fix_check(&w.fix);
	fix_close(&w.fix);
}

static void what_does_not_exist_is_refused(void **state)
{
	struct map_diff_run runs[4];
	struct map_diff diff = {.nblks = 1, .max_runs = 4, .max_nodes = 10, .runs = runs};
	struct map_view *view;
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 10);
	fix_commit(txn);
	view = fix_view(&fix);
	assert_int_equal(map_diff(view, oid, oid + 100, &diff), -ERR_NOENT);
	assert_int_equal(map_diff(view, oid + 100, oid, &diff), -ERR_NOENT);
	assert_int_equal(map_diff(view, 0, oid, &diff), 0);
	assert_int_equal(diff.nruns, 1);
	assert_int_equal(diff.nodes, 0);
	map_view_end(view);
	fix_close(&fix);
}

/* ---- the cost -------------------------------------------------------------------------------- */

#define COST_NBLKS   (UINT64_C(1) << 24) /* 64 GiB */
#define COST_CHANGES 1000u
#define COST_TXN     2048u

/* An object of 64 GiB, of which one block in each leaf is mapped: no leaf is missing. */
static uint64_t cost_object(struct fix *fix)
{
	struct map_txn *txn = fix_begin(fix);
	uint64_t oid = fix_create(txn, "parent", COST_NBLKS);

	for (uint64_t i = 0; i < COST_NBLKS / MAP_FANOUT; i++) {
		if (i > 0 && i % COST_TXN == 0) {
			fix_commit(txn);
			txn = fix_begin(fix);
		}
		fix_remap(txn, oid, i * MAP_FANOUT, 1 + i, 1);
	}
	fix_commit(txn);
	return oid;
}

/* A clone in which so many blocks, one in so many leaves, are other ones. */
static uint64_t cost_sibling(struct fix *fix, uint64_t parent, const char *name, uint64_t first,
			     uint64_t changes)
{
	uint64_t leaves = COST_NBLKS / MAP_FANOUT;
	struct map_txn *txn = fix_begin(fix);
	uint64_t oid = fix_clone(txn, parent, name);

	for (uint64_t i = 0; i < changes; i++) {
		uint64_t leaf = (first + i) * 48271 % leaves; /* odd: each is another */

		fix_remap(txn, oid, leaf * MAP_FANOUT + i % MAP_FANOUT, leaves + first + i + 1, 1);
	}
	fix_commit(txn);
	return oid;
}

static void cost_of(struct fix *fix, uint64_t older, uint64_t newer, uint64_t *nodes,
		    uint64_t *changed)
{
	struct map_diff_run runs[128];
	struct map_diff diff = {
	    .nblks = COST_NBLKS, .max_runs = ARRAY_LEN(runs), .max_nodes = 1024, .runs = runs};
	struct map_view *view = fix_view(fix);

	*nodes = *changed = 0;
	while (diff.nblks > 0) {
		assert_int_equal(map_diff(view, older, newer, &diff), 0);
		*nodes += diff.nodes;
		for (uint32_t i = 0; i < diff.nruns; i++) {
			*changed += runs[i].kind == MAP_DIFF_SAME ? 0 : runs[i].nblks;
			diff.blk.n += runs[i].nblks;
			diff.nblks -= runs[i].nblks;
		}
	}
	map_view_end(view);
}

static void the_nodes_read_are_proportional_to_the_difference(void **state)
{
	struct fix fix;
	uint64_t parent, a, b, nodes, changed;

	(void)state;
	fix_open(&fix, COST_NBLKS, UINT64_C(256) << 20);
	parent = cost_object(&fix);
	a = cost_sibling(&fix, parent, "a", 0, COST_CHANGES / 2);
	b = cost_sibling(&fix, parent, "b", COST_CHANGES / 2, COST_CHANGES / 2);
	fix_fold(&fix);
	cost_of(&fix, a, b, &nodes, &changed);
	print_message("%u changed blocks of %" PRIu64 ": %" PRIu64 " nodes read of %" PRIu64 "\n",
		      COST_CHANGES, COST_NBLKS, nodes, 2 * (COST_NBLKS / MAP_FANOUT + 1024 + 9));
	/* the block of one side is changed, that of the other may have moved within the leaf */
	assert_in_range(changed, COST_CHANGES, 2 * COST_CHANGES);
	assert_true(nodes <= 5 * COST_CHANGES);
	cost_of(&fix, parent, a, &nodes, &changed);
	assert_in_range(changed, COST_CHANGES / 2, COST_CHANGES);
	assert_true(nodes <= 5 * COST_CHANGES / 2);
	cost_of(&fix, a, a, &nodes, &changed);
	assert_int_equal(nodes + changed, 0);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_two_trees_against_a_comparison_of_blocks),
	    cmocka_unit_test(what_does_not_exist_is_refused),
	    cmocka_unit_test(the_nodes_read_are_proportional_to_the_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
