/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the repair does where what it believes in is not whole: it gives nothing back, however often it
 * is run; and where only the reap queue is not, it does.  Single faults: test_repair_planted.c.
 */
#include "tests/lib/rnd.h"
#include "tests/unit/check_planted.h"
#include "tests/unit/repair_fixture.h"

struct repaired {
	struct world w;
	struct readings before;
	struct fix_report report;
	struct repair_result result;
};

/* Plants, in this order, and mends; the objects are as they were. */
static void mend_all(struct repaired *r, void (*const plants[])(struct world *w), size_t n)
{
	world_open(&r->w);
	for (size_t i = 0; i < n; i++)
		plants[i](&r->w);
	assert_int_equal(kv_write_commit(r->w.kv), 0);
	r->before = read_objects(r->w.fix.map);
	r->result = repair(r->w.fix.map, &r->report);
	assert_same_readings(r->w.fix.map, &r->before);
	assert_repaired(r->w.fix.map, r->result.left);
}

#define MEND(r, ...)                                                      \
	do {                                                              \
		void (*const plants[])(struct world * w) = {__VA_ARGS__}; \
		mend_all(r, plants, ARRAY_LEN(plants));                   \
	} while (0)

static void assert_says(const struct repaired *r, const char *words)
{
	if (!strstr(r->report.text, words))
		fail_msg("no \"%s\" in:\n%s", words, r->report.text);
}

static void assert_all_mended(struct repaired *r)
{
	if (r->result.left != 0 || r->result.mended == 0)
		fail_msg("%d left:\n%s", (int)r->result.left, r->report.text);
	(void)fix_check(&r->w.fix);
	repair_live_on(&r->w.fix);
	fix_close(&r->w.fix);
}

static bool is_free(struct repaired *r, uint64_t blk)
{
	struct map_view *view = fix_view(&r->w.fix);
	uint64_t found;
	struct kv_buf val;
	int err =
	    map_num_find(view->kv, KV_FREE, KV_LE, blk, sizeof(struct disk_free), &found, &val);
	bool in = err == 0 && blk - found < le64_get(((const struct disk_free *)val.data)->nblks);

	map_view_end(view);
	return in;
}

static uint64_t free_count(struct repaired *r)
{
	struct map_view *view = fix_view(&r->w.fix);
	struct map_state counters;

	assert_int_equal(map_state_read(view->kv, &counters), 0);
	map_view_end(view);
	return counters.free_nblks;
}

static uint64_t count_of(struct repaired *r, enum kv_table table, uint64_t at)
{
	struct map_view *view = fix_view(&r->w.fix);
	struct map_counts counts = map_counts_of(view->kv, table);
	uint64_t count = 0;
	uint64_t same;

	assert_int_equal(map_counts_get(&counts, at, 1, &same, &count), 0);
	map_view_end(view);
	return count;
}

static bool has_node(struct repaired *r, uint64_t id)
{
	struct map_view *view = fix_view(&r->w.fix);
	struct map_key key = map_key(id);
	struct kv_buf val;
	int err = kv_get(view->kv, KV_NODE, map_key_buf(&key), &val);

	map_view_end(view);
	return err == 0;
}

/* ---- a node below an object ------------------------------------------------------------------ */

/* The first leaf of "c", which nothing else has. */
static void damage_leaf_c(struct world *w)
{
	struct map_key key = map_key(w->leaf_c - 1);

	damage(w, KV_NODE, key.bytes, sizeof(key.bytes));
}

/* The second leaf of "a", "c" and a version. */
static void damage_shared(struct world *w)
{
	struct map_key key = map_key(w->shared - 1);

	damage(w, KV_NODE, key.bytes, sizeof(key.bytes));
}

static void free_more(struct world *w)
{
	put_free(w, 601, 390);
}

static void test_counts_are_raised_and_not_lowered(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, nref_missing, xref_extra, free_mapped, damage_leaf_c);
	assert_says(&r, "nref has no count of node 3, which has 2 references: mended");
	assert_says(&r, "xref says 2 slots map blocks 600+1, there are 0: not touched: a node");
	assert_int_equal(count_of(&r, KV_NREF, r.w.shared), 2);
	assert_int_equal(count_of(&r, KV_XREF, 600), 2);
	assert_int_equal(free_count(&r), 695); /* what was taken out is not counted any more */
	assert_false(is_free(&r, 500));	       /* in the queue */
	assert_true(is_free(&r, 499));
	assert_false(is_free(&r, 600)); /* the leaf has it, which nobody can read */
	fix_close(&r.w.fix);
}

static void test_nothing_is_given_back_below_a_shared_tree(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, free_more, node_unreachable, reap_of_nothing, damage_shared);
	assert_says(&r,
		    "node 3, to which node 1 refers, is missing or damaged: not touched: what it");
	assert_says(&r, "nothing refers to node 65535: not touched: a node below");
	assert_says(&r,
		    "node 4321, to which reap entry 2 refers, is missing or damaged: not touched");
	assert_true(has_node(&r, 0xffff));
	assert_true(has_node(&r, r.w.root_b));
	for (uint64_t blk = 228; blk < 400; blk++) /* what the leaf had */
		assert_false(is_free(&r, blk));
	for (uint64_t blk = 991; blk < 1000; blk++)
		assert_false(is_free(&r, blk));
	assert_true(is_free(&r, 990));
	fix_close(&r.w.fix);
}

/* Neither the table of free blocks nor that of counts is written where what it said is not known. */
static void test_damaged_tables_stay(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, nref_missing, bad_nref, free_mapped, free_overlaps, leaf_missing);
	assert_int_equal(r.result.mended, 0);
	fix_close(&r.w.fix);
}

/* An object of whose tree nothing is known, and links that may be its. */
static void test_a_damaged_object_keeps_all(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, ttl_of_nothing, child_is_version, reap_missing, bad_obj);
	assert_says(&r, "under time 60, which is missing or damaged: not touched: an object");
	assert_says(&r, "which is no clone of that: mended");
	assert_int_equal(r.result.mended, 1);
	fix_close(&r.w.fix);
}

/* ---- an object that is gone ------------------------------------------------------------------ */

/* All of "c" but its name; its tree is what nothing refers to. */
static void lose_c(struct world *w)
{
	map_num_del(w->kv, KV_OBJ, OID_C);
}

static void lose_name_c(struct world *w)
{
	map_name_del(w->kv, 0, "c");
}

static void lose_links_c(struct world *w)
{
	map_pair_del(w->kv, KV_CHILD, (struct map_pair){OID_A, OID_C});
	map_pair_del(w->kv, KV_TTL, (struct map_pair){70, OID_C});
}

static void assert_c_is_kept(struct repaired *r)
{
	assert_says(r, "an object is missing, and what nothing refers to may be what is left");
	assert_true(has_node(r, r->w.root_c));
	assert_true(has_node(r, r->w.leaf_c));
	assert_false(is_free(r, 600));
	assert_int_equal(count_of(r, KV_NREF, r->w.shared), 2);
	assert_true(r->result.left > 0);
	fix_close(&r->w.fix);
}

static void test_a_lost_object_keeps_its_tree(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, lose_c);
	assert_c_is_kept(&r);
	MEND(&r, lose_c, lose_name_c); /* child and ttl know of it */
	assert_c_is_kept(&r);
	MEND(&r, lose_c, lose_links_c);
	assert_c_is_kept(&r);
	MEND(&r, lose_c, lose_name_c, lose_links_c); /* there is one more by the counter */
	assert_c_is_kept(&r);
}

static void count_without_c(struct world *w)
{
	struct map_state counters = load_state(w);

	counters.objects--;
	map_state_write(w->kv, &counters);
}

/* Nothing speaks of it any more. */
static void test_a_removed_object_gives_back(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, lose_c, lose_name_c, lose_links_c, count_without_c);
	assert_int_equal(r.result.left, 0);
	assert_false(has_node(&r, r.w.root_c));
	assert_false(has_node(&r, r.w.leaf_c));
	assert_true(is_free(&r, 600));
	assert_int_equal(count_of(&r, KV_NREF, r.w.shared), 1);
	(void)fix_check(&r.w.fix);
	fix_close(&r.w.fix);
}

/* ---- two claims ------------------------------------------------------------------------------ */

static void test_a_block_with_two_checksums(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, mapped_twice);
	assert_says(&r,
		    "another with 00000163: not touched: which of the two is right is not known");
	assert_says(&r, "xref has no count of blocks 600+1, which 2 slots map: mended");
	assert_says(&r, "blocks 355+1 are neither mapped nor free: not touched: a block is mapped");
	assert_int_equal(count_of(&r, KV_XREF, 600), 2);
	assert_false(is_free(&r, 355));
	fix_close(&r.w.fix);
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* A queued node that "a" and the queue have: what it had alone is given back, what "a" has stays. */
static void queue_damaged_parent(struct world *w)
{
	struct map_node node = {.id = 900, .level = 2, .mapped = 302};

	node.u.child[0] = w->root_a;
	node.u.child[1] = 901; /* which is missing */
	store_node(w, &node);
	put_reap(w, 2, 900);
	put_nref(w, w->root_a, 3);
}

static void test_a_damaged_tree_in_the_queue(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, queue_damaged_parent);
	assert_says(&r, "node 901, to which node 900 refers, is missing or damaged: mended");
	assert_int_equal(count_of(&r, KV_NREF, r.w.root_a), 2);
	assert_false(has_node(&r, 900));
	assert_true(is_free(&r, 500));
	assert_all_mended(&r);
}

static void test_faults_in_all_that_is_computed(void **state)
{
	struct repaired r;

	(void)state;
	MEND(&r, bad_nref, bad_xref, bad_free, bad_child, bad_ttl, count_versions, obj_mapped,
	     node_sum, node_unreachable, bad_reap);
	assert_all_mended(&r);
}

/* ---- what objects own ------------------------------------------------------------------------ */

static void owns_too_much(struct world *w)
{
	struct map_object obj = load_obj(w, OID_C);
	struct map_state counters = load_state(w);

	obj.pub.owned_nblks = 5;
	obj.pub.reserved_nblks = 7;
	obj.pub.owned_seq = 3;
	map_object_write(w->kv, &obj);
	obj = load_obj(w, OID_W);
	obj.pub.owned_nblks = 2;
	map_object_write(w->kv, &obj);
	counters.reserved_nblks = 7;
	counters.promised_nblks = 2;
	map_state_write(w->kv, &counters);
}

static void test_what_objects_own(void **state)
{
	struct map_state counters;
	struct map_object obj;
	struct repaired r;
	struct map_view *view;

	(void)state;
	MEND(&r, owns_too_much);
	assert_says(&r, "object 5 says it owns 5 blocks, of its own are 1: mended");
	assert_says(&r, "object 3 says it owns 2 blocks, it has none: mended");
	view = fix_view(&r.w.fix);
	assert_int_equal(map_object_read(view->kv, OID_C, &obj), 0);
	assert_int_equal(obj.pub.owned_nblks, 1);
	assert_int_equal(obj.pub.owned_seq, 4); /* what was counted before is void */
	assert_int_equal(map_state_read(view->kv, &counters), 0);
	assert_int_equal(counters.promised_nblks, 6);
	map_view_end(view);
	assert_all_mended(&r);
}

/* ---- several of them ------------------------------------------------------------------------- */

#define COMBINATIONS 60u
#define PLANTS_MAX   6u

/* Up to so many that do not lie in one place; those that damage what others look at come last. */
static size_t draw(struct rnd *rnd, const struct planted *drawn[PLANTS_MAX])
{
	size_t n = 2 + rnd_below(rnd, PLANTS_MAX - 1);
	unsigned int places = 0;
	size_t have = 0;

	for (int tries = 0; have < n && tries < 50; tries++) {
		const struct planted *p = &planted[rnd_below(rnd, ARRAY_LEN(planted))];

		if (p->places & places)
			continue;
		places |= p->places;
		drawn[have++] = p;
	}
	for (size_t i = 1; i < have; i++)
		for (size_t j = i; j > 0 && drawn[j - 1]->places > drawn[j]->places; j--) {
			const struct planted *p = drawn[j];

			drawn[j] = drawn[j - 1];
			drawn[j - 1] = p;
		}
	return have;
}

/* A hint at an object that is not there, and nodes that may be what is left of it. */
static bool may_be_lost(const struct planted *const drawn[], size_t n)
{
	bool orphans = false;
	bool hint = false;

	for (size_t i = 0; i < n; i++) {
		void (*plant)(struct world * w) = drawn[i]->plant;

		hint = hint || plant == ttl_of_nothing || plant == child_of_nothing ||
		       plant == count_objects;
		orphans = orphans || plant == node_unreachable || plant == reap_missing ||
			  plant == bad_reap;
	}
	return hint && orphans;
}

static void test_combinations(void **state)
{
	struct rnd rnd = rnd_stream(1);

	(void)state;
	for (unsigned int i = 0; i < COMBINATIONS; i++) {
		const struct planted *drawn[PLANTS_MAX];
		void (*plants[PLANTS_MAX])(struct world * w);
		size_t n = draw(&rnd, drawn);
		bool mended = !may_be_lost(drawn, n);
		struct repaired r;

		for (size_t j = 0; j < n; j++) {
			plants[j] = drawn[j]->plant;
			mended = mended && drawn[j]->outcome == MENDED;
			print_message("%s%s", j ? " " : "# ", drawn[j]->name);
		}
		print_message("\n");
		mend_all(&r, plants, n);
		if (mended)
			assert_all_mended(&r);
		else
			fix_close(&r.w.fix);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counts_are_raised_and_not_lowered),
	    cmocka_unit_test(test_nothing_is_given_back_below_a_shared_tree),
	    cmocka_unit_test(test_damaged_tables_stay),
	    cmocka_unit_test(test_a_damaged_object_keeps_all),
	    cmocka_unit_test(test_a_lost_object_keeps_its_tree),
	    cmocka_unit_test(test_a_removed_object_gives_back),
	    cmocka_unit_test(test_a_block_with_two_checksums),
	    cmocka_unit_test(test_a_damaged_tree_in_the_queue),
	    cmocka_unit_test(test_faults_in_all_that_is_computed),
	    cmocka_unit_test(test_what_objects_own),
	    cmocka_unit_test(test_combinations),
	};

	repair_in_memory();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
