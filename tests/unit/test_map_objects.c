/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects and what leads to them: versions, names that change, labels, expiry, clones, counters. */
#include "tests/unit/map_fixture.h"

struct listing {
	char text[512];
	int stop_after;
};

static int list_cb(void *ctx, const struct map_obj *obj)
{
	struct listing *l = ctx;
	size_t len = strlen(l->text);

	(void)snprintf(l->text + len, sizeof(l->text) - len, "%s ", obj->name);
	return --l->stop_after == 0;
}

static void names_are(struct fix *fix, const char *want)
{
	struct map_view *view = fix_view(fix);
	struct listing l = {.text = ""};

	assert_int_equal(map_list(view, "", "", list_cb, &l), 0);
	map_view_end(view);
	assert_string_equal(l.text, want);
}

static void versions_are(struct fix *fix, uint64_t oid, const char *after, const char *want)
{
	struct map_view *view = fix_view(fix);
	struct listing l = {.text = ""};

	assert_int_equal(map_list_versions(view, oid, after, list_cb, &l), 0);
	map_view_end(view);
	assert_string_equal(l.text, want);
}

static void children_are(struct fix *fix, uint64_t oid, uint64_t after, const char *want)
{
	struct map_view *view = fix_view(fix);
	struct listing l = {.text = ""};

	assert_int_equal(map_list_children(view, oid, after, list_cb, &l), 0);
	map_view_end(view);
	assert_string_equal(l.text, want);
}

static struct map_obj by_name(struct fix *fix, const char *spec)
{
	struct map_view *view = fix_view(fix);
	struct map_obj obj = {0};
	struct map_obj same = {0};

	assert_int_equal(map_obj_by_name(view, spec, &obj), 0);
	assert_string_equal(obj.name, spec);
	assert_int_equal(map_obj_by_id(view, obj.id, &same), 0);
	assert_string_equal(same.name, spec);
	map_view_end(view);
	return obj;
}

static void no_name(struct fix *fix, const char *spec)
{
	struct map_view *view = fix_view(fix);
	struct map_obj obj;

	assert_int_equal(map_obj_by_name(view, spec, &obj), -ERR_NOENT);
	map_view_end(view);
}

/* The physical block of block 0, or 0. */
static uint64_t first_block(struct fix *fix, uint64_t oid)
{
	struct map_view *view = fix_view(fix);
	struct map_lookup l;

	assert_int_equal(map_begin(view, oid, lblk(0), 1, MAP_FOR_READ, &l, NULL), 0);
	map_view_end(view);
	return l.src.kind == MAP_MAPPED ? l.src.blk.n : 0;
}

static struct map_space space_of(struct fix *fix)
{
	struct map_view *view = fix_view(fix);
	struct map_space space;

	assert_int_equal(map_get_space(view, &space), 0);
	map_view_end(view);
	return space;
}

/* ---- versions -------------------------------------------------------------------------------- */

static void test_version_keeps_what_was(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t v;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	fix_remap(txn, a, 0, 100, 10);
	v = fix_version(txn, a, "v1");
	fix_remap(txn, a, 0, 200, 1);
	assert_int_equal(map_txn_update(txn, a, BLK_BYTES * 20, 9, 1, &obj), 0);
	fix_commit(txn);
	fix_check(&fix);
	assert_int_equal(first_block(&fix, a), 200);
	assert_int_equal(first_block(&fix, v), 100);
	obj = by_name(&fix, "a@v1");
	assert_int_equal(obj.id, v);
	assert_int_equal(obj.parent, a);
	assert_int_equal(obj.origin, a);
	assert_int_equal(obj.nversions, 0);
	assert_int_equal(obj.size_bytes, BLK_BYTES * 10);
	assert_int_equal(obj.mapped_nblks, 10);
	assert_int_equal(obj.ctime_ns, 3);
	assert_int_equal(obj.mtime_ns, 1);
	obj = by_name(&fix, "a");
	assert_int_equal(obj.parent, 0);
	assert_int_equal(obj.nversions, 1);
	no_name(&fix, "v1");
	no_name(&fix, "a@v2");
	no_name(&fix, "b@v1");
	no_name(&fix, "a@");
	fix_close(&fix);
}

/* What it is made from may be another object: it is the parent's all the same. */
static void test_version_of_other_content(void **state)
{
	struct map_txn *txn;
	struct map_new new;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t b;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	b = fix_create(txn, "b", 20);
	fix_remap(txn, b, 0, 100, 20);
	new = fix_new(txn, "v", 0, 1);
	new.parent = a;
	new.expires_ns = 9;
	assert_int_equal(map_txn_clone(txn, b, &new, &obj), 0);
	fix_commit(txn);
	fix_check(&fix);
	obj = by_name(&fix, "a@v");
	assert_int_equal(obj.origin, a);
	assert_int_equal(obj.expires_ns, 9);
	assert_int_equal(obj.mapped_nblks, 20);
	assert_int_equal(first_block(&fix, obj.id), 100);
	children_are(&fix, a, 0, "");
	children_are(&fix, b, 0, "");
	fix_close(&fix);
}

static void test_version_is_not_written(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct map_new new;
	struct fix fix;
	uint32_t csum = 0;
	uint64_t a;
	uint64_t v;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	fix_remap(txn, a, 0, 100, 10);
	v = fix_version(txn, a, "v1");
	assert_int_equal(map_txn_remap(txn, v, lblk(0), pblk(300), 1, &csum), -ERR_PERM);
	assert_int_equal(map_txn_unmap(txn, v, lblk(0), BLK_OBJECT_MAX - 0), -ERR_PERM);
	assert_int_equal(map_txn_update(txn, v, 1, 1, 1, &obj), -ERR_PERM);
	assert_int_equal(map_txn_reset(txn, v, a, 1, 2, &obj), -ERR_PERM);
	assert_int_equal(map_txn_exchange(txn, v, a), -ERR_PERM);
	assert_int_equal(map_txn_exchange(txn, a, v), -ERR_PERM);
	/* nor has it versions of its own */
	new = fix_new(txn, "w", 0, 1);
	new.parent = v;
	assert_int_equal(map_txn_clone(txn, a, &new, &obj), -ERR_PERM);
	fix_commit(txn);
	fix_check(&fix);
	assert_int_equal(first_block(&fix, v), 100);
	fix_close(&fix);
}

static void test_object_stays_while_it_has_versions(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t a;
	uint64_t v;
	uint64_t w;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	fix_remap(txn, a, 0, 100, 10);
	v = fix_version(txn, a, "v");
	w = fix_version(txn, a, "w");
	assert_int_equal(map_txn_remove(txn, a), -ERR_BUSY);
	assert_int_equal(map_txn_remove(txn, v), 0);
	assert_int_equal(map_txn_remove(txn, a), -ERR_BUSY);
	fix_commit(txn);
	fix_check(&fix);
	versions_are(&fix, a, "", "a@w ");
	no_name(&fix, "a@v");
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, w), 0);
	assert_int_equal(map_txn_remove(txn, a), 0);
	fix_commit(txn);
	fix_reap_all(&fix, 10);
	fix_check_empty(&fix);
	fix_close(&fix);
}

static void test_versions_are_listed_apart(void **state)
{
	struct listing l = {.stop_after = 2};
	struct map_txn *txn;
	struct map_view *view;
	struct fix fix;
	uint64_t a;
	uint64_t b;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	b = fix_create(txn, "b", 10);
	fix_version(txn, a, "2");
	fix_version(txn, a, "10");
	fix_version(txn, b, "1");
	fix_version(txn, a, "1");
	fix_commit(txn);
	names_are(&fix, "a b ");
	versions_are(&fix, a, "", "a@1 a@10 a@2 ");
	versions_are(&fix, a, "1", "a@10 a@2 ");
	versions_are(&fix, a, "2", "");
	versions_are(&fix, b, "", "b@1 ");
	view = fix_view(&fix);
	assert_int_equal(map_list_versions(view, a, "", list_cb, &l), 0);
	assert_string_equal(l.text, "a@1 a@10 ");
	assert_int_equal(map_list_versions(view, 99, "", list_cb, &l), -ERR_NOENT);
	map_view_end(view);
	fix_close(&fix);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_rename(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t v;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	fix_create(txn, "b", 10);
	v = fix_version(txn, a, "v");
	fix_version(txn, a, "w");
	assert_int_equal(map_txn_rename(txn, a, "b"), -ERR_EXIST);
	assert_int_equal(map_txn_rename(txn, v, "w"), -ERR_EXIST);
	assert_int_equal(map_txn_rename(txn, 99, "c"), -ERR_NOENT);
	assert_int_equal(map_txn_rename(txn, a, "c"), 0);
	assert_int_equal(map_txn_rename(txn, v, "x"), 0);
	assert_int_equal(map_txn_obj(txn, v, &obj), 0);
	assert_string_equal(obj.name, "c@x");
	assert_int_equal(map_txn_obj_by_name(txn, "c@w", &obj), 0);
	assert_int_equal(map_txn_obj_by_name(txn, "a@w", &obj), -ERR_NOENT);
	fix_commit(txn);
	fix_check(&fix);
	names_are(&fix, "b c ");
	versions_are(&fix, a, "", "c@w c@x ");
	assert_int_equal(by_name(&fix, "c@x").id, v);
	no_name(&fix, "a");
	no_name(&fix, "a@x");
	/* the old name is free */
	txn = fix_begin(&fix);
	fix_create(txn, "a", 1);
	fix_commit(txn);
	fix_check(&fix);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_rename(txn, v, "x/y"), -ERR_BAD_NAME);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_rename(txn, a, "x@y"), -ERR_BAD_NAME);
	map_txn_abort(txn);
	fix_close(&fix);
}

static void test_exchange(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t a;
	uint64_t b;
	uint64_t v;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 1);
	b = fix_create(txn, "b", 2);
	v = fix_version(txn, a, "v");
	assert_int_equal(map_txn_exchange(txn, a, 99), -ERR_NOENT);
	assert_int_equal(map_txn_exchange(txn, a, b), 0);
	fix_commit(txn);
	fix_check(&fix);
	assert_int_equal(by_name(&fix, "a").id, b);
	assert_int_equal(by_name(&fix, "b").id, a);
	assert_int_equal(by_name(&fix, "b@v").id, v);
	no_name(&fix, "a@v");
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_exchange(txn, a, a), 0);
	fix_commit(txn);
	assert_int_equal(by_name(&fix, "b").id, a);
	fix_check(&fix);
	fix_close(&fix);
}

/* ---- content --------------------------------------------------------------------------------- */

static void test_reset_to_version(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t v;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	fix_remap(txn, a, 0, 100, 10);
	v = fix_version(txn, a, "v");
	assert_int_equal(map_txn_update(txn, a, BLK_BYTES * 400, 5, 1, &obj), 0);
	fix_remap(txn, a, 0, 200, 300);
	fix_commit(txn);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_reset(txn, 99, v, 7, 2, &obj), -ERR_NOENT);
	assert_int_equal(map_txn_reset(txn, a, 99, 7, 2, &obj), -ERR_NOENT);
	assert_int_equal(map_txn_reset(txn, a, v, 7, 2, &obj), 0);
	assert_int_equal(obj.size_bytes, BLK_BYTES * 10);
	assert_int_equal(obj.mapped_nblks, 10);
	assert_int_equal(obj.mtime_ns, 7);
	assert_int_equal(obj.generation, 2);
	assert_int_equal(obj.nversions, 1);
	fix_commit(txn);
	assert_int_equal(space_of(&fix).reap_nblks, 300);
	fix_check(&fix);
	assert_int_equal(first_block(&fix, a), 100);
	/* both are written apart again */
	txn = fix_begin(&fix);
	fix_remap(txn, a, 0, 600, 1);
	fix_commit(txn);
	fix_reap_all(&fix, 1);
	assert_int_equal(fix_check(&fix).mapped_nblks, 11);
	assert_int_equal(first_block(&fix, v), 100);
	fix_close(&fix);
}

static void test_reset_to_what_it_is(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t v;
	uint64_t e;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 10);
	e = fix_create(txn, "empty", 3);
	fix_remap(txn, a, 0, 100, 10);
	assert_int_equal(map_txn_reset(txn, a, a, 7, 2, &obj), 0);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).mapped_nblks, 10);
	txn = fix_begin(&fix);
	v = fix_version(txn, a, "v");
	assert_int_equal(map_txn_reset(txn, a, v, 7, 2, &obj), 0);
	fix_commit(txn);
	assert_int_equal(fix_check(&fix).mapped_nblks, 10);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_reset(txn, a, e, 7, 2, &obj), 0);
	fix_commit(txn);
	fix_check(&fix);
	assert_int_equal(first_block(&fix, a), 0);
	assert_int_equal(first_block(&fix, v), 100);
	fix_close(&fix);
}

/* ---- labels, expiry, clones ------------------------------------------------------------------ */

#define SOME_LABELS "owner=me\0purpose=tests"

static void test_labels_are_kept(void **state)
{
	struct map_txn *txn;
	struct map_new new;
	struct map_obj obj;
	struct fix fix;
	char most[MAP_LABELS_MAX];
	char name[NAME_OBJECT_MAX + 1];

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	new = fix_new(txn, "a", 5, 1);
	new.labels = SOME_LABELS;
	new.labels_len = sizeof(SOME_LABELS);
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
	assert_int_equal(map_txn_rename(txn, obj.id, "b"), 0);
	/* a clone has its own */
	fix_clone(txn, obj.id, "c");
	memset(most, 'v', sizeof(most));
	for (size_t i = 0; i < sizeof(most); i += sizeof(most) / 8) {
		most[i] = (char)('a' + i / 128);
		most[i + 1] = '=';
		most[i + 127] = '\0';
	}
	memset(name, 'n', sizeof(name));
	name[NAME_OBJECT_MAX] = '\0';
	new = fix_new(txn, name, 5, 1);
	new.labels = most;
	new.labels_len = sizeof(most);
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
	fix_commit(txn);
	fix_reopen(&fix);
	fix_check(&fix);
	obj = by_name(&fix, "b");
	assert_int_equal(obj.labels_len, sizeof(SOME_LABELS));
	assert_memory_equal(obj.labels, SOME_LABELS, sizeof(SOME_LABELS));
	assert_int_equal(by_name(&fix, "c").labels_len, 0);
	obj = by_name(&fix, name);
	assert_int_equal(obj.labels_len, sizeof(most));
	assert_memory_equal(obj.labels, most, sizeof(most));
	txn = fix_begin(&fix);
	new = fix_new(txn, "d", 5, 1);
	new.labels = "x";
	new.labels_len = 2;
	assert_int_equal(map_txn_create(txn, &new, &obj), -ERR_INVAL);
	map_txn_abort(txn);
	fix_close(&fix);
}

static void expiry_is(struct fix *fix, uint64_t want_ns, uint64_t want_oid)
{
	struct map_view *view = fix_view(fix);
	uint64_t expires_ns = 0;
	uint64_t oid = 0;

	assert_int_equal(map_next_expiry(view, &expires_ns, &oid), want_oid ? 0 : -ERR_NOENT);
	map_view_end(view);
	if (!want_oid)
		return;
	assert_int_equal(expires_ns, want_ns);
	assert_int_equal(oid, want_oid);
}

static uint64_t create_expiring(struct map_txn *txn, const char *name, uint64_t expires_ns)
{
	struct map_new new = fix_new(txn, name, 5, 1);
	struct map_obj obj;

	new.expires_ns = expires_ns;
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
	assert_int_equal(obj.expires_ns, expires_ns);
	return obj.id;
}

/* Of the only one that does. */
static void set_expiry(struct fix *fix, uint64_t oid, uint64_t expires_ns)
{
	const struct map_attrs attrs = {.expires_ns = expires_ns};
	struct map_txn *txn = fix_begin(fix);
	struct map_obj obj;

	assert_int_equal(map_txn_set(txn, oid, &attrs, &obj), 0);
	fix_commit(txn);
	expiry_is(fix, expires_ns, expires_ns ? oid : 0);
}

static void test_what_expires_first(void **state)
{
	struct map_txn *txn;
	struct fix fix;
	uint64_t late;
	uint64_t soon;
	uint64_t same;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	expiry_is(&fix, 0, 0);
	txn = fix_begin(&fix);
	fix_create(txn, "forever", 1);
	late = create_expiring(txn, "late", UINT64_C(5000000000));
	soon = create_expiring(txn, "soon", 300);
	same = create_expiring(txn, "same", 300);
	fix_commit(txn);
	fix_check(&fix);
	expiry_is(&fix, 300, soon);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, soon), 0);
	fix_commit(txn);
	expiry_is(&fix, 300, same);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, same), 0);
	fix_commit(txn);
	expiry_is(&fix, UINT64_C(5000000000), late);
	set_expiry(&fix, late, 300);
	set_expiry(&fix, late, 900);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, late), 0);
	fix_commit(txn);
	expiry_is(&fix, 0, 0);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_children(void **state)
{
	struct map_txn *txn;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t v;
	uint64_t c;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 1);
	v = fix_version(txn, a, "v");
	c = fix_clone(txn, a, "c");
	fix_clone(txn, v, "of-v");
	fix_clone(txn, a, "b");
	fix_clone(txn, c, "of-c");
	fix_commit(txn);
	fix_check(&fix);
	children_are(&fix, a, 0, "c b "); /* by id; its version is none */
	children_are(&fix, a, c, "b ");
	children_are(&fix, v, 0, "of-v ");
	children_are(&fix, 99, 0, "");
	assert_int_equal(by_name(&fix, "of-v").origin, v);
	/* they stay what they are when it goes, and go when they go */
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, v), 0);
	assert_int_equal(map_txn_remove(txn, a), 0);
	assert_int_equal(map_txn_remove(txn, c), 0);
	assert_int_equal(map_txn_obj(txn, a, &obj), -ERR_NOENT);
	fix_commit(txn);
	fix_check(&fix);
	children_are(&fix, a, 0, "b ");
	children_are(&fix, v, 0, "of-v ");
	children_are(&fix, c, 0, "of-c ");
	fix_close(&fix);
}

/* ---- ids and counters ------------------------------------------------------------------------ */

static uint64_t next_object(struct fix *fix)
{
	struct map_view *view = fix_view(fix);
	uint64_t oid;

	assert_int_equal(map_next_object(view, &oid), 0);
	map_view_end(view);
	return oid;
}

static void test_ids_are_given(void **state)
{
	struct map_txn *txn;
	struct map_new new;
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	assert_int_equal(next_object(&fix), 1);
	txn = fix_begin(&fix);
	new = (struct map_new){.oid = 40, .name = "a", .time_ns = 1};
	assert_int_equal(map_txn_create(txn, &new, &obj), 0);
	assert_int_equal(obj.id, 40);
	new = (struct map_new){.oid = 17, .name = "b", .time_ns = 1};
	assert_int_equal(map_txn_clone(txn, 40, &new, &obj), 0);
	assert_int_equal(obj.id, 17);
	new.name = "c";
	assert_int_equal(map_txn_create(txn, &new, &obj), -ERR_EXIST);
	assert_int_equal(map_txn_clone(txn, 40, &new, &obj), -ERR_EXIST);
	fix_commit(txn);
	assert_int_equal(next_object(&fix), 41);
	fix_reopen(&fix);
	assert_int_equal(next_object(&fix), 41);
	fix_check(&fix);
	txn = fix_begin(&fix);
	new.oid = 0;
	assert_int_equal(map_txn_create(txn, &new, &obj), -ERR_INVAL);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	new = (struct map_new){.oid = 50, .name = "v", .parent = 40};
	assert_int_equal(map_txn_create(txn, &new, &obj), -ERR_INVAL);
	map_txn_abort(txn);
	fix_close(&fix);
}

static void test_counters(void **state)
{
	struct map_space space;
	struct map_txn *txn;
	struct fix fix;
	uint64_t reaped = UINT64_MAX;
	uint64_t a;
	bool more = true;

	(void)state;
	fix_open(&fix, 50000, FIX_META_BYTES);
	assert_int_equal(space_of(&fix).free_nblks, 49999);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 20000);
	fix_remap(txn, a, 0, 100, 20000);
	fix_version(txn, a, "v");
	fix_version(txn, a, "w");
	fix_clone(txn, a, "c");
	fix_commit(txn);
	space = space_of(&fix);
	assert_int_equal(space.objects, 2);
	assert_int_equal(space.versions, 2);
	assert_int_equal(space.mapped_nblks, 80000);
	assert_int_equal(space.free_nblks, 29999);
	assert_int_equal(space.reap_nblks, 0);
	txn = fix_begin(&fix);
	fix_remap(txn, a, 0, 30000, 10000);
	assert_int_equal(map_txn_unmap(txn, a, lblk(15000), BLK_OBJECT_MAX - 15000), 0);
	fix_commit(txn);
	fix_check(&fix);
	assert_int_equal(space_of(&fix).mapped_nblks, 75000);
	assert_int_equal(space_of(&fix).free_nblks, 19999);
	/* a part of a's tree is still that of others: reaping it never grows the figure */
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_unmap(txn, a, lblk(0), BLK_OBJECT_MAX - 0), 0);
	fix_commit(txn);
	assert_int_equal(space_of(&fix).reap_nblks, 15000);
	while (more) {
		txn = fix_begin(&fix);
		assert_int_equal(map_txn_reap(txn, 1, &more), 0);
		fix_commit(txn);
		space = space_of(&fix);
		assert_true(space.reap_nblks <= reaped);
		reaped = space.reap_nblks;
		fix_check(&fix);
	}
	assert_int_equal(reaped, 0);
	assert_int_equal(space.free_nblks, 29999);
	assert_int_equal(space.mapped_nblks, 60000);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_version_keeps_what_was),
	    cmocka_unit_test(test_version_of_other_content),
	    cmocka_unit_test(test_version_is_not_written),
	    cmocka_unit_test(test_object_stays_while_it_has_versions),
	    cmocka_unit_test(test_versions_are_listed_apart),
	    cmocka_unit_test(test_rename),
	    cmocka_unit_test(test_exchange),
	    cmocka_unit_test(test_reset_to_version),
	    cmocka_unit_test(test_reset_to_what_it_is),
	    cmocka_unit_test(test_labels_are_kept),
	    cmocka_unit_test(test_what_expires_first),
	    cmocka_unit_test(test_children),
	    cmocka_unit_test(test_ids_are_given),
	    cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
