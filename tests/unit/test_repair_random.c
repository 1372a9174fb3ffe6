/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores from a seed, with objects, clones, versions, shared ranges and trees half taken apart, of which
 * much is made wrong: what is computed is mended all, at whatever change the repair is cut off; where a
 * node or an object is damaged, too, nothing is given back.
 */
#include "common/log.h"
#include "tests/lib/rnd.h"
#include "tests/unit/repair_fixture.h"

#define DEV_NBLKS  1500u
#define META_BYTES (UINT64_C(2) << 20)
#define OPS	   150u
#define OIDS_MAX   24u
#define NODES_MAX  4096u
#define CUT_RUNS   20u
#define TORN_RUNS  20u

struct store {
	struct fix fix;
	struct rnd rnd;
	struct kv_txn *kv;
};

/* ---- the repair is cut off ------------------------------------------------------------------- */

/* A fold before which, or behind which, the power goes; 0: none. */
static unsigned int cut_at;
static bool cut_behind;
static unsigned int folds;
static bool small_steps; /* most changes have a fold of their own */
static bool every_step;	 /* all */
static struct rnd step_rnd;

int __real_map_fold(struct map *map);
int __wrap_map_fold(struct map *map);
int __real_map_txn_has_room(const struct map_txn *txn, bool *some);
int __wrap_map_txn_has_room(const struct map_txn *txn, bool *some);

int __wrap_map_fold(struct map *map)
{
	int err;

	if (++folds != cut_at)
		return __real_map_fold(map);
	err = cut_behind ? __real_map_fold(map) : 0;
	return err ? err : -ERR_MAP;
}

int __wrap_map_txn_has_room(const struct map_txn *txn, bool *some)
{
	int err = __real_map_txn_has_room(txn, some);

	if (!err && small_steps && (every_step || rnd_below(&step_rnd, 4) != 0))
		*some = false;
	return err;
}

/* ---- a store --------------------------------------------------------------------------------- */

static bool find_object(struct store *s, uint64_t *oid)
{
	struct map_view *view = fix_view(&s->fix);
	uint64_t found[READINGS];
	size_t n = 0;
	struct map_obj obj;

	for (uint64_t id = 1; id <= READINGS; id++)
		if (map_obj_by_id(view, id, &obj) == 0)
			found[n++] = id;
	map_view_end(view);
	if (n > 0)
		*oid = found[rnd_below(&s->rnd, n)];
	return n > 0;
}

/* Up to n free blocks, from a place at random. */
static bool find_free(struct store *s, uint64_t n, struct map_range *range)
{
	uint64_t from = rnd_below(&s->rnd, DEV_NBLKS);
	struct map_view *view = fix_view(&s->fix);

	*range = (struct map_range){0};
	assert_int_equal(map_each_free(view, pblk(from), first_free, range), 0);
	if (range->nblks == 0)
		assert_int_equal(map_each_free(view, pblk(0), first_free, range), 0);
	map_view_end(view);
	if (range->nblks > 2 * n && rnd_below(&s->rnd, 2)) {
		uint64_t skip = rnd_below(&s->rnd, range->nblks - n);

		*range = (struct map_range){pblk(range->blk.n + skip), n};
	}
	if (range->nblks > n)
		range->nblks = n;
	return range->nblks > 0;
}

static void op_remap(struct store *s, struct map_txn *txn, uint64_t oid)
{
	uint64_t n = 1 + rnd_below(&s->rnd, 30);
	uint64_t blk = rnd_below(&s->rnd, FIXTURE_BLKS - 30);
	struct map_range range;
	struct map_obj obj;

	assert_int_equal(map_txn_obj(txn, oid, &obj), 0);
	if (!obj.parent && find_free(s, n, &range))
		fix_remap(txn, oid, blk, range.blk.n, range.nblks);
}

static void op_share(struct store *s, struct map_txn *txn, uint64_t oid)
{
	uint64_t n = 1 + rnd_below(&s->rnd, 300);
	uint64_t from = rnd_below(&s->rnd, 3) * 128;
	uint64_t to = rnd_below(&s->rnd, 2) ? from + 384 : rnd_below(&s->rnd, 700);
	uint64_t src;
	int err;

	if (!find_object(s, &src))
		return;
	err = map_txn_share(txn, oid, lblk(to), src, lblk(from), n);
	assert_true(err == 0 || err == -ERR_PERM || err == -ERR_INVAL || err == -ERR_NOENT);
}

static void op_new(struct store *s, struct map_txn *txn, uint64_t oid)
{
	uint64_t id = txn->state.next_object;
	char name[32];
	struct map_new new;
	struct map_obj obj;

	if (id > OIDS_MAX)
		return;
	(void)snprintf(name, sizeof(name), "n%u", (unsigned int)id);
	new = fix_new(txn, name, 0, id);
	new.expires_ns = rnd_below(&s->rnd, 2) * id;
	if (rnd_below(&s->rnd, 3) == 0)
		new.parent = oid;
	if (map_txn_clone(txn, oid, &new, &obj))
		assert_int_equal(new.parent, oid); /* which is a version */
}

static void op_create(struct store *s, struct map_txn *txn)
{
	uint64_t id = txn->state.next_object;
	char name[32];
	struct map_new new;
	struct map_obj obj;

	if (id > OIDS_MAX)
		return;
	(void)snprintf(name, sizeof(name), "o%u", (unsigned int)id);
	new = fix_new(txn, name, FIXTURE_BLKS * BLK_BYTES, id);
	new.reserved_nblks = 30 * rnd_below(&s->rnd, 2);
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
}

/* -ERR_PERM and the like are for versions. */
static void op_object(struct store *s, struct map_txn *txn, uint64_t oid)
{
	bool more;
	int err = 0;

	switch (rnd_below(&s->rnd, 12)) {
	case 0:
		err = map_txn_remove(txn, oid);
		break;
	case 1:
		err = map_txn_unmap(txn, oid, lblk(rnd_below(&s->rnd, 900)), 90);
		break;
	case 2:
	case 3:
		op_new(s, txn, oid);
		break;
	case 4:
		assert_int_equal(map_txn_reap(txn, 1, &more), 0);
		break;
	case 5:
		op_share(s, txn, oid);
		break;
	default:
		op_remap(s, txn, oid);
		break;
	}
	assert_true(err == 0 || err == -ERR_PERM || err == -ERR_BUSY);
}

static void op(struct store *s)
{
	bool any = rnd_below(&s->rnd, 12) != 0;
	uint64_t oid;
	struct map_txn *txn;

	any = any && find_object(s, &oid);
	txn = fix_begin(&s->fix);
	if (any)
		op_object(s, txn, oid);
	else
		op_create(s, txn);
	if (kv_error(txn->kv))
		map_txn_abort(txn); /* it shared a range with itself */
	else
		fix_commit(txn);
}

static void store_make(struct store *s, uint64_t number)
{
	*s = (struct store){.rnd = rnd_stream(number)};
	cut_at = 0;
	small_steps = false;
	fix_open(&s->fix, DEV_NBLKS, META_BYTES);
	for (unsigned int i = 0; i < OPS; i++)
		op(s);
	fix_fold(&s->fix);
	(void)fix_check(&s->fix);
}

/* ---- faults ---------------------------------------------------------------------------------- */

struct entry {
	uint8_t key[KV_KEY_MAX];
	uint8_t val[MAP_VALUE_MAX];
	size_t key_len;
	size_t val_len;
};

/* An entry at random. */
static bool find_entry(struct store *s, enum kv_table table, struct entry *entry)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf key;
	struct kv_buf val;
	uint64_t n = 0;

	while (kv_find(s->kv, table, KV_GT, check_pos_key(&pos), &key, &val) == 0) {
		memcpy(pos.bytes, key.data, key.len);
		pos.len = key.len;
		if (rnd_below(&s->rnd, ++n) != 0)
			continue;
		memcpy(entry->key, key.data, key.len);
		memcpy(entry->val, val.data, val.len);
		entry->key_len = key.len;
		entry->val_len = val.len;
	}
	return n > 0;
}

static struct kv_buf entry_key(const struct entry *entry)
{
	return (struct kv_buf){.data = entry->key, .len = entry->key_len};
}

static void entry_put(struct store *s, enum kv_table table, struct entry *entry, bool sealed)
{
	if (sealed)
		map_value_seal(table, entry_key(entry), entry->val, entry->val_len);
	kv_put(s->kv, table, entry_key(entry),
	       (struct kv_buf){.data = entry->val, .len = entry->val_len});
}

static void entry_flip(struct store *s, enum kv_table table, struct entry *entry, bool sealed)
{
	size_t from = sealed ? sizeof(uint32_t) : 0;

	if (entry->val_len == from)
		return;
	entry->val[from + rnd_below(&s->rnd, entry->val_len - from)] ^=
	    (uint8_t)(1u << rnd_below(&s->rnd, 8));
	entry_put(s, table, entry, sealed);
}

/* Moves it to a key nearby, not below none; of a pair the first number, so that the object is there. */
static void entry_move(struct store *s, enum kv_table table, struct entry *entry)
{
	uint64_t old = be64_get(entry->key);
	uint64_t key = old + rnd_below(&s->rnd, 9) - (old < 4 ? old : 4);

	if (rnd_below(&s->rnd, 2))
		kv_del(s->kv, table, entry_key(entry));
	be64_put(entry->key, key);
	if (rnd_below(&s->rnd, 8) == 0)
		entry->key_len -= 1 + rnd_below(&s->rnd, 5);
	entry_put(s, table, entry, true);
}

/* In a table all of which is computed from others. */
static void plant_entry(struct store *s)
{
	static const enum kv_table tables[] = {KV_NREF, KV_XREF,  KV_FREE,
					       KV_REAP, KV_CHILD, KV_TTL};
	enum kv_table table = tables[rnd_below(&s->rnd, ARRAY_LEN(tables))];
	struct entry entry;

	if (!find_entry(s, table, &entry) || entry.key_len < 8)
		return;
	switch (rnd_below(&s->rnd, 4)) {
	case 0:
		kv_del(s->kv, table, entry_key(&entry));
		break;
	case 1:
		entry_flip(s, table, &entry, false);
		break;
	case 2:
		entry_flip(s, table, &entry, true);
		break;
	default:
		entry_move(s, table, &entry);
		break;
	}
}

/* No more objects than there are: that would be a hint at one that is lost. */
static void plant_counters(struct store *s)
{
	struct map_state counters;
	uint64_t *const any[] = {&counters.mapped_nblks,   &counters.free_nblks,
				 &counters.reap_nblks,	   &counters.reserved_nblks,
				 &counters.promised_nblks, &counters.next_node};

	assert_int_equal(map_state_read(s->kv, &counters), 0);
	*any[rnd_below(&s->rnd, ARRAY_LEN(any))] = rnd_below(&s->rnd, 100);
	counters.objects -= counters.objects > 0;
	map_state_write(s->kv, &counters);
}

static void plant_object(struct store *s)
{
	struct map_object obj;
	struct entry entry;

	if (!find_entry(s, KV_OBJ, &entry))
		return;
	assert_int_equal(map_object_read(s->kv, be64_get(entry.key), &obj), 0);
	if (rnd_below(&s->rnd, 2))
		obj.pub.mapped_nblks += 1 + rnd_below(&s->rnd, 9);
	if (rnd_below(&s->rnd, 2))
		obj.pub.owned_nblks += 1 + rnd_below(&s->rnd, 300);
	if (rnd_below(&s->rnd, 2))
		obj.pub.nversions += 1;
	map_object_write(s->kv, &obj);
}

/* Of inner nodes the sum; and what nothing refers to. */
static void plant_node(struct store *s)
{
	struct entry entry;

	if (!find_entry(s, KV_NODE, &entry))
		return;
	if (((struct disk_node *)entry.val)->level > 0 && rnd_below(&s->rnd, 2)) {
		struct disk_node *node = (struct disk_node *)entry.val;

		le64_put(node->mapped_nblks, le64_get(node->mapped_nblks) + 1);
	} else {
		uint64_t id = 3000 + rnd_below(&s->rnd, 1000);

		be64_put(entry.key, id);
		le64_put(((struct disk_node *)entry.val)->id, id);
	}
	entry_put(s, KV_NODE, &entry, true);
}

static void plant_some(struct store *s)
{
	size_t n = 1 + rnd_below(&s->rnd, 25);

	assert_int_equal(kv_write_begin(s->fix.map->kv, &s->kv), 0);
	for (size_t i = 0; i < n; i++) {
		void (*const plants[])(struct store * s) = {plant_entry,  plant_entry,
							    plant_entry,  plant_counters,
							    plant_object, plant_node};

		plants[rnd_below(&s->rnd, ARRAY_LEN(plants))](s);
	}
	assert_int_equal(kv_write_commit(s->kv), 0);
}

/* A node or an object that cannot be read; it may be the reap queue's. */
static void plant_damage(struct store *s)
{
	enum kv_table table = rnd_below(&s->rnd, 4) == 0 ? KV_OBJ : KV_NODE;
	struct entry entry;

	assert_int_equal(kv_write_begin(s->fix.map->kv, &s->kv), 0);
	if (find_entry(s, table, &entry)) {
		if (table == KV_NODE && rnd_below(&s->rnd, 2))
			kv_del(s->kv, table, entry_key(&entry));
		else
			entry_flip(s, table, &entry, false);
	}
	assert_int_equal(kv_write_commit(s->kv), 0);
}

/* ---- what a server could be misled by -------------------------------------------------------- */

/* For each block, how often it is free and what xref says; for each node, what nref says. */
struct tables {
	uint8_t nfree[DEV_NBLKS];
	uint64_t xref[DEV_NBLKS];
	uint64_t nref[NODES_MAX];
	bool node[NODES_MAX];
	/* what the trees say, the queue's with them */
	uint32_t slots[DEV_NBLKS];
	uint64_t refs[NODES_MAX];
};

static void say_nothing(struct check *c, enum check_fault fault, const char *text)
{
	(void)c;
	(void)fault;
	(void)text;
}

/* A chunk that cannot be read misleads nobody: it counts as more than there is. */
static void tables_counts(struct kv_txn *kv, enum kv_table table, uint64_t *counts, uint64_t n)
{
	for (uint64_t chunk = 0; chunk * MAP_COUNTS < n; chunk++) {
		struct map_counts c = map_counts_of(kv, table);
		uint64_t same;
		uint64_t count;

		for (uint64_t i = chunk * MAP_COUNTS; i < (chunk + 1) * MAP_COUNTS && i < n; i++)
			counts[i] = map_counts_get(&c, i, 1, &same, &count) ? UINT64_MAX : count;
	}
}

static void tables_free(struct kv_txn *kv, uint8_t nfree[DEV_NBLKS])
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf key;
	struct kv_buf val;

	while (kv_find(kv, KV_FREE, KV_GT, check_pos_key(&pos), &key, &val) == 0) {
		uint64_t n;

		memcpy(pos.bytes, key.data, key.len);
		pos.len = key.len;
		if (map_value_check(KV_FREE, key, val, sizeof(struct disk_free)) || key.len != 8)
			continue;
		n = le64_get(((const struct disk_free *)val.data)->nblks);
		for (uint64_t blk = be64_get(pos.bytes); blk < DEV_NBLKS && n > 0; blk++, n--)
			nfree[blk]++;
	}
}

static struct tables *tables_read(struct map *map)
{
	struct tables *t = calloc(1, sizeof(*t));
	struct check c = {.judge = say_nothing};
	struct map_view *view = NULL;
	struct check_node *node;

	assert_non_null(t);
	assert_int_equal(map_view_begin(map, &view), 0);
	tables_counts(view->kv, KV_XREF, t->xref, DEV_NBLKS);
	tables_counts(view->kv, KV_NREF, t->nref, NODES_MAX);
	tables_free(view->kv, t->nfree);
	for (uint64_t id = 0; id < NODES_MAX; id++) {
		struct map_key key = map_key(id);
		struct kv_buf val;

		t->node[id] = kv_get(view->kv, KV_NODE, map_key_buf(&key), &val) == 0;
	}
	assert_int_equal(check_run(&c, view), 0);
	memcpy(t->slots, c.counts, c.dev_nblks * sizeof(t->slots[0]));
	for (node = check_node_from(&c, 0); node; node = check_node_next(node))
		if (node->id < NODES_MAX)
			t->refs[node->id] = node->refs;
	check_fini(&c);
	map_view_end(view);
	return t;
}

/* Nothing is taken for free, or for the last one of a kind, that was not before. */
static void assert_no_worse(const struct tables *before, const struct tables *now)
{
	for (uint64_t b = 0; b < DEV_NBLKS; b++) {
		if (now->nfree[b] > 1 && before->nfree[b] <= 1)
			fail_msg("block %d is in two free ranges", (int)b);
		if (now->nfree[b] && now->slots[b] && !(before->nfree[b] && before->slots[b]))
			fail_msg("block %d is free, and mapped", (int)b);
		if (now->xref[b] < now->slots[b] && before->xref[b] >= before->slots[b])
			fail_msg("block %d is mapped by %d slots, xref says %d", (int)b,
				 (int)now->slots[b], (int)now->xref[b]);
	}
	for (uint64_t id = 0; id < NODES_MAX; id++)
		if (now->nref[id] < now->refs[id] && before->nref[id] >= before->refs[id])
			fail_msg("node %d has %d references, nref says %d", (int)id,
				 (int)now->refs[id], (int)now->nref[id]);
}

/* Nor is anything gone. */
static void assert_nothing_given_back(const struct tables *before, const struct tables *now)
{
	for (uint64_t b = 0; b < DEV_NBLKS; b++) {
		assert_true(now->nfree[b] <= before->nfree[b]);
		assert_true(now->xref[b] >= before->xref[b]);
	}
	for (uint64_t id = 0; id < NODES_MAX; id++) {
		assert_true(now->node[id] || !before->node[id]);
		assert_true(now->nref[id] >= before->nref[id]);
	}
}

/* ---- mending --------------------------------------------------------------------------------- */

/* Whole; and when all is removed there is nothing left in it. */
static void assert_whole(struct store *s)
{
	uint64_t oid;

	small_steps = false;
	(void)fix_check(&s->fix);
	while (find_object(s, &oid)) {
		struct map_txn *txn = fix_begin(&s->fix);
		int err = map_txn_remove(txn, oid);

		assert_true(err == 0 || err == -ERR_BUSY);
		fix_commit(txn);
	}
	fix_reap_all(&s->fix, 64);
	fix_check_empty(&s->fix);
}

static void reopen(struct store *s)
{
	map_close(s->fix.map);
	assert_int_equal(map_open(s->fix.path, &s->fix.map), 0);
}

/* Cut off once, anywhere, then to the end. */
static void mend_cut(struct store *s)
{
	struct tables *before = tables_read(s->fix.map);
	struct readings readings = read_objects(s->fix.map);
	struct repair_result result = {0};
	struct fix_report report = {0};
	struct tables *now;
	int err;

	folds = 0;
	cut_at = 1 + (unsigned int)rnd_log(&s->rnd, 40);
	cut_behind = rnd_below(&s->rnd, 2);
	small_steps = true;
	step_rnd = rnd_stream(rnd_u64(&s->rnd));
	err = repair_map(s->fix.map, NULL, fix_report, &report, &result);
	assert_int_equal(err, folds >= cut_at ? -ERR_MAP : 0);
	cut_at = 0;
	reopen(s);
	now = tables_read(s->fix.map);
	assert_no_worse(before, now);
	assert_same_readings(s->fix.map, &readings);
	result = repair(s->fix.map, &report);
	if (result.left)
		fail_msg("%d left:\n%s", (int)result.left, report.text);
	assert_same_readings(s->fix.map, &readings);
	assert_repaired(s->fix.map, 0);
	free(before);
	free(now);
	assert_whole(s);
}

static void test_cut_off_anywhere(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < CUT_RUNS; i++) {
		struct store s;

		print_message("# run %d\n", (int)i);
		store_make(&s, i);
		plant_some(&s);
		mend_cut(&s);
		fix_close(&s.fix);
	}
}

/* ---- at every fold --------------------------------------------------------------------------- */

/* Free ranges, the first of which is missing and has one inside; a tree in the queue that refers to one
 * of "a"; all counts high. */
static void plant_order(struct world *w)
{
	struct map_node node = {.id = 900, .level = 2, .mapped = 302};

	map_num_del(w->kv, KV_FREE, 1);
	put_free(w, 50, 10);
	node.u.child[0] = w->root_a;
	node.u.child[1] = 901; /* which is missing */
	store_node(w, &node);
	put_reap(w, 2, 900);
	put_nref(w, w->root_a, 3);
	put_nref(w, w->shared, 5);
	put_xref(w, 100, 10, 7);
}

/* Cuts the k-th fold off; false: there are not so many. */
static bool cut_one(unsigned int k, bool behind)
{
	struct repair_result result = {0};
	struct fix_report report = {0};
	struct readings readings;
	struct tables *before;
	struct tables *now;
	struct world w;
	int err;

	cut_at = 0;
	small_steps = false;
	world_open(&w);
	plant_order(&w);
	assert_int_equal(kv_write_commit(w.kv), 0);
	readings = read_objects(w.fix.map);
	before = tables_read(w.fix.map);
	folds = 0;
	cut_at = k;
	cut_behind = behind;
	small_steps = true;
	every_step = true;
	err = repair_map(w.fix.map, NULL, fix_report, &report, &result);
	every_step = false;
	cut_at = 0;
	map_close(w.fix.map);
	assert_int_equal(map_open(w.fix.path, &w.fix.map), 0);
	now = tables_read(w.fix.map);
	assert_no_worse(before, now);
	assert_same_readings(w.fix.map, &readings);
	assert_int_equal(repair(w.fix.map, &report).left, 0);
	(void)fix_check(&w.fix);
	free(before);
	free(now);
	fix_close(&w.fix);
	return err != 0;
}

static void test_cut_off_at_every_fold(void **state)
{
	unsigned int k = 1;

	(void)state;
	while (cut_one(k, false) && cut_one(k, true))
		k++;
	assert_true(k > 8); /* each change has had one */
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void mend_torn(struct store *s)
{
	struct tables *before = tables_read(s->fix.map);
	struct readings readings = read_objects(s->fix.map);
	struct repair_result result;
	struct fix_report report;
	struct tables *now;

	result = repair(s->fix.map, &report);
	now = tables_read(s->fix.map);
	assert_same_readings(s->fix.map, &readings);
	assert_repaired(s->fix.map, result.left);
	if (result.left > 0)
		assert_nothing_given_back(before, now);
	else
		assert_whole(s);
	free(before);
	free(now);
}

static void test_damaged_trees(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < TORN_RUNS; i++) {
		struct store s;

		print_message("# run %d\n", (int)i);
		store_make(&s, 1000 + i);
		plant_some(&s);
		plant_damage(&s);
		mend_torn(&s);
		fix_close(&s.fix);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut_off_anywhere),
	    cmocka_unit_test(test_cut_off_at_every_fold),
	    cmocka_unit_test(test_damaged_trees),
	};

	log_set_level(LOG_ERROR);
	repair_in_memory();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
