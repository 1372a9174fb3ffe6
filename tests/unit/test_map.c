/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map but for its trees: making and opening, names and lists, transactions and views.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "common/cursor.h"
#include "server/map_priv.h"
#include "tests/unit/map_fixture.h"

/* ---- making and opening ---------------------------------------------------------------------- */

static void test_geometry_survives_reopening(void **state)
{
	struct fix fix;
	struct stat st;
	uint64_t used;
	uint64_t total;

	(void)state;
	fix_open(&fix, 12345, FIX_META_BYTES);
	for (int i = 0; i < 2; i++) {
		const struct map_geometry *geo = map_geometry(fix.map);

		assert_memory_equal(geo->uuid, "0123456789abcdef", 16);
		assert_int_equal(geo->dev_nblks, 12345);
		assert_int_equal(geo->meta_bytes, FIX_META_BYTES);
		map_meta_usage(fix.map, &used, &total);
		/* folds have a half of a small map */
		assert_int_equal(total, FIX_META_BYTES / 2);
		assert_true(used > 0 && used < 100 * 4096);
		fix_check_empty(&fix);
		fix_reopen(&fix);
	}
	/* all of it allocated, so that a full file system cannot break a commit */
	assert_int_equal(stat(fix.path, &st), 0);
	assert_int_equal(st.st_size, FIX_META_BYTES);
	assert_true((uint64_t)st.st_blocks * 512 >= FIX_META_BYTES);
	fix_close(&fix);
}

static void test_create_refuses_what_is_there(void **state)
{
	struct map_geometry geo = {.dev_nblks = 100, .meta_bytes = FIX_META_BYTES};
	struct fix fix;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	assert_int_equal(map_create(fix.path, &geo), -ERR_EXIST);
	geo.dev_nblks = 1;
	assert_int_equal(map_create("/nonexistent/map", &geo), -ERR_INVAL);
	geo.dev_nblks = 2;
	assert_int_equal(map_create("/nonexistent/map", &geo), -ERR_MAP);
	geo.dev_nblks = 66;
	geo.journal_nblks = 65; /* and no block for data */
	assert_int_equal(map_create("/nonexistent/map", &geo), -ERR_INVAL);
	geo.journal_nblks = UINT64_MAX;
	assert_int_equal(map_create("/nonexistent/map", &geo), -ERR_INVAL);
	geo.journal_nblks = 64;
	assert_int_equal(map_create("/nonexistent/map", &geo), -ERR_MAP);
	fix_check_empty(&fix);
	fix_close(&fix);
}

/* What the header and the journal have is not free, and the checker knows it. */
static void test_journal_is_not_free(void **state)
{
	struct map_geometry geo = {
	    .dev_nblks = 100, .journal_nblks = 64, .meta_bytes = FIX_META_BYTES};
	uint64_t ranges[2] = {0, 0};
	uint32_t csum = 0;
	struct map_txn *txn;
	struct map_view *view;
	struct map_tail tail;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_dir(&fix);
	assert_int_equal(map_create(fix.path, &geo), 0);
	assert_int_equal(map_open(fix.path, &fix.map), 0);
	assert_int_equal(map_geometry(fix.map)->journal_nblks, 64);
	view = fix_view(&fix);
	assert_int_equal(map_each_free(view, pblk(0), fix_sum_free, ranges), 0);
	assert_int_equal(ranges[0], 1);
	assert_int_equal(ranges[1], 35);
	assert_int_equal(map_get_tail(view, &tail), 0);
	assert_int_equal(tail.seq, 1);
	assert_int_equal(tail.blk, 0);
	map_view_end(view);
	assert_int_equal(fix_check(&fix).free_nblks, 35);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 9);
	fix_remap(txn, oid, 0, 65, 1);
	assert_int_equal(map_txn_remap(txn, oid, lblk(1), pblk(64), 1, &csum), 0);
	assert_int_equal(map_txn_commit(txn, &(struct map_freed){0}), -ERR_NODE);
	fix_close(&fix);
}

/* A stop in the middle of making one leaves files that do not disturb the next try. */
static void test_create_after_interrupted_create(void **state)
{
	struct map_geometry geo = {.dev_nblks = 100, .meta_bytes = FIX_META_BYTES};
	char tmp[310];
	struct fix fix;
	FILE *f;

	(void)state;
	fix_dir(&fix);
	fix.dev_nblks = 100;
	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", fix.path);
	f = fopen(tmp, "w");
	assert_non_null(f);
	assert_true(fputs("half a map", f) > 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(map_open(fix.path, &fix.map), -ERR_NOENT);
	assert_int_equal(map_create(fix.path, &geo), 0);
	assert_int_equal(access(tmp, F_OK), -1);
	assert_int_equal(map_open(fix.path, &fix.map), 0);
	fix_check_empty(&fix);
	fix_close(&fix);
}

static void test_create_too_small(void **state)
{
	struct map_geometry geo = {.dev_nblks = 100, .meta_bytes = 5 * 4096};
	struct map *map;
	struct fix fix;

	(void)state;
	fix_dir(&fix);
	assert_int_equal(map_create(fix.path, &geo), -ERR_NOSPC_META);
	assert_int_equal(map_open(fix.path, &map), -ERR_NOENT);
	fix_close(&fix);
}

static void write_file(const char *path, const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void test_open_refuses_other_files(void **state)
{
	char junk[8192];
	struct map *map;
	struct fix fix;

	(void)state;
	fix_dir(&fix);
	assert_int_equal(map_open(fix.path, &map), -ERR_NOENT);
	assert_int_equal(map_open(fix.dir, &map), -ERR_FORMAT_OTHER);
	write_file(fix.path, "", 0);
	assert_int_equal(map_open(fix.path, &map), -ERR_FORMAT_OTHER);
	write_file(fix.path, "text", 4);
	assert_int_equal(map_open(fix.path, &map), -ERR_FORMAT_OTHER);
	memset(junk, 'x', sizeof(junk));
	write_file(fix.path, junk, sizeof(junk));
	assert_int_equal(map_open(fix.path, &map), -ERR_FORMAT_OTHER);
	fix_close(&fix);
}

static void test_open_refuses_cut_file(void **state)
{
	struct fix fix;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	map_close(fix.map);
	assert_int_equal(truncate(fix.path, FIX_META_BYTES - 4096), 0);
	assert_int_equal(map_open(fix.path, &fix.map), -ERR_FORMAT_SIZE);
	assert_int_equal(truncate(fix.path, FIX_META_BYTES), 0);
	assert_int_equal(map_open(fix.path, &fix.map), 0);
	fix_close(&fix);
}

/* Opens a store whose description was changed at "off" and has a CRC that fits. */
static void reopen_with_store(struct fix *fix, size_t off, uint8_t value, int want)
{
	struct kv_buf key = {.data = MAP_KEY_STORE, .len = strlen(MAP_KEY_STORE)};
	struct disk_store store;
	struct kv_env *env;
	struct kv_txn *kv;
	struct kv_buf val;
	uint8_t old;

	map_close(fix->map);
	fix->map = NULL;
	assert_int_equal(kv_open(fix->path, NULL, &env), 0);
	assert_int_equal(kv_write_begin(env, &kv), 0);
	assert_int_equal(map_value_get(kv, KV_META, key, sizeof(store), &val), 0);
	memcpy(&store, val.data, sizeof(store));
	old = ((uint8_t *)&store)[off];
	((uint8_t *)&store)[off] = value;
	map_value_put(kv, KV_META, key, &store, sizeof(store));
	assert_int_equal(kv_write_commit(kv), 0);
	kv_close(env);

	assert_int_equal(map_open(fix->path, &fix->map), want);
	if (want)
		return;
	map_close(fix->map);
	fix->map = NULL;
	assert_int_equal(kv_open(fix->path, NULL, &env), 0);
	assert_int_equal(kv_write_begin(env, &kv), 0);
	((uint8_t *)&store)[off] = old;
	map_value_put(kv, KV_META, key, &store, sizeof(store));
	assert_int_equal(kv_write_commit(kv), 0);
	kv_close(env);
	assert_int_equal(map_open(fix->path, &fix->map), 0);
}

static void store_refused(size_t off, uint8_t value, int err)
{
	struct fix fix;

	fix_open(&fix, 100, FIX_META_BYTES);
	reopen_with_store(&fix, off, value, err);
	fix_close(&fix);
}

static void test_open_refuses_other_formats(void **state)
{
	struct fix fix;

	(void)state;
	store_refused(offsetof(struct disk_store, magic), 'C', -ERR_FORMAT_OTHER);
	store_refused(offsetof(struct disk_store, version), MAP_VERSION + 1, -ERR_FORMAT_VERSION);
	store_refused(offsetof(struct disk_store, block_bytes), 1, -ERR_FORMAT_VERSION);
	store_refused(offsetof(struct disk_store, meta_bytes), 1, -ERR_FORMAT_SIZE);
	store_refused(offsetof(struct disk_store, features_incompat) + 7, 0x80,
		      -ERR_FORMAT_FEATURE);
	store_refused(offsetof(struct disk_store, features_ro), 0x01, -ERR_FORMAT_FEATURE);
	/* a feature that may be ignored is */
	fix_open(&fix, 100, FIX_META_BYTES);
	reopen_with_store(&fix, offsetof(struct disk_store, features_compat), 0x40, 0);
	fix_check_empty(&fix);
	fix_close(&fix);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_names(void **state)
{
	char longest[NAME_OBJECT_MAX + 2];
	struct map_txn *txn;
	struct map_view *view;
	struct map_obj obj;
	struct fix fix;
	uint64_t a;
	uint64_t b;

	(void)state;
	memset(longest, 'n', sizeof(longest));
	longest[NAME_OBJECT_MAX] = '\0';
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	a = fix_create(txn, "a", 3);
	b = fix_create(txn, longest, 4);
	assert_true(a != 0 && b > a);
	/* refused without harm to the transaction */
	assert_int_equal(fix_try_create(txn, "a", 1, &obj), -ERR_EXIST);
	assert_int_equal(fix_try_clone(txn, b, "a", &obj), -ERR_EXIST);
	assert_int_equal(fix_try_clone(txn, 999, "c", &obj), -ERR_NOENT);
	assert_int_equal(map_txn_remove(txn, 999), -ERR_NOENT);
	assert_int_equal(map_txn_obj(txn, 999, &obj), -ERR_NOENT);
	assert_int_equal(map_txn_obj_by_name(txn, "none", &obj), -ERR_NOENT);
	assert_int_equal(map_txn_obj_by_name(txn, longest, &obj), 0);
	assert_int_equal(obj.id, b);
	fix_commit(txn);

	view = fix_view(&fix);
	assert_int_equal(map_obj_by_name(view, longest, &obj), 0);
	assert_int_equal(obj.id, b);
	assert_string_equal(obj.name, longest);
	assert_int_equal(map_obj_by_name(view, "a", &obj), 0);
	assert_int_equal(obj.id, a);
	assert_int_equal(obj.size_bytes, 3 * BLK_BYTES);
	assert_int_equal(map_obj_by_name(view, "aa", &obj), -ERR_NOENT);
	assert_int_equal(map_obj_by_name(view, "", &obj), -ERR_NOENT);
	longest[NAME_OBJECT_MAX] = 'n';
	longest[NAME_OBJECT_MAX + 1] = '\0';
	assert_int_equal(map_obj_by_name(view, longest, &obj), -ERR_NOENT);
	map_view_end(view);

	/* a name that was freed can be used again, the id is new */
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remove(txn, a), 0);
	assert_int_equal(map_txn_obj(txn, a, &obj), -ERR_NOENT);
	assert_true(fix_create(txn, "a", 1) > b);
	fix_commit(txn);
	fix_check(&fix);

	txn = fix_begin(&fix);
	assert_int_equal(fix_try_create(txn, longest, 1, &obj), -ERR_BAD_NAME);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	assert_int_equal(fix_try_create(txn, "", 1, &obj), -ERR_BAD_NAME);
	/* it can only be aborted now, and a commit does that */
	assert_int_equal(fix_try_create(txn, "fine", 1, &obj), -ERR_BAD_NAME);
	assert_int_equal(map_txn_commit(txn, &(struct map_freed){0}), -ERR_BAD_NAME);
	fix_close(&fix);
}

static void test_update_and_incarnation(void **state)
{
	struct map_txn *txn;
	struct map_view *view;
	struct map_obj obj;
	struct map_obj clone;
	struct fix fix;
	uint64_t oid;
	uint64_t first;
	uint64_t next;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 0);
	assert_int_equal(map_txn_update(txn, oid, 4097, 77, 1, &obj), 0);
	assert_int_equal(obj.generation, 1);
	assert_int_equal(map_txn_update(txn, oid, 4099, 78, 2, &obj), 0);
	assert_int_equal(map_txn_update(txn, 99, 1, 1, 3, &obj), -ERR_NOENT);
	assert_int_equal(fix_try_clone(txn, oid, "b", &clone), 0);
	assert_int_equal(map_txn_next_incarnation(txn, 77, &first), 0);
	fix_commit(txn);
	fix_reopen(&fix);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_next_incarnation(txn, 77, &next), 0);
	assert_int_equal(next, first + 1);
	fix_commit(txn);
	view = fix_view(&fix);
	assert_int_equal(map_obj_by_name(view, "a", &obj), 0);
	assert_int_equal(obj.size_bytes, 4099);
	assert_int_equal(obj.generation, 2);
	assert_int_equal(obj.mtime_ns, 78);
	assert_int_equal(obj.ctime_ns, 1);
	assert_int_equal(obj.origin, 0);
	assert_int_equal(map_obj_by_name(view, "b", &clone), 0);
	assert_int_equal(clone.size_bytes, 4099);
	assert_int_equal(clone.mtime_ns, 78);
	assert_int_equal(clone.ctime_ns, 2);
	assert_int_equal(clone.origin, oid);
	map_view_end(view);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_update(txn, oid, BLK_OBJECT_MAX * BLK_BYTES + 1, 1, 4, &obj),
			 -ERR_TOO_LARGE);
	map_txn_abort(txn);
	txn = fix_begin(&fix);
	assert_int_equal(fix_try_create(txn, "c", UINT64_MAX, &obj), -ERR_TOO_LARGE);
	map_txn_abort(txn);
	fix_close(&fix);
}

struct listing {
	char text[256];
	int stop_after;
	int result;
};

static int list_cb(void *ctx, const struct map_obj *obj)
{
	struct listing *l = ctx;
	size_t len = strlen(l->text);

	(void)snprintf(l->text + len, sizeof(l->text) - len, "%s ", obj->name);
	return --l->stop_after == 0 ? l->result : 0;
}

static void list_is(struct map_view *view, const char *prefix, const char *after, const char *want)
{
	struct listing l = {.text = ""};

	assert_int_equal(map_list(view, prefix, after, list_cb, &l), 0);
	assert_string_equal(l.text, want);
}

static void test_list(void **state)
{
	static const char *const names[] = {"b", "a", "img/2", "img/10", "img", "imgx", "\xc3\xa9"};
	struct listing l = {.text = "", .stop_after = 2, .result = 1};
	struct map_txn *txn;
	struct map_view *view;
	struct map_space space;
	struct fix fix;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	view = fix_view(&fix);
	list_is(view, "", "", "");
	map_view_end(view);
	txn = fix_begin(&fix);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		fix_remap(txn, fix_create(txn, names[i], 9), i, 10 * (i + 1), i + 1);
	fix_commit(txn);
	view = fix_view(&fix);
	list_is(view, "", "", "a b img img/10 img/2 imgx \xc3\xa9 ");
	list_is(view, "img", "", "img img/10 img/2 imgx ");
	list_is(view, "img/", "", "img/10 img/2 ");
	list_is(view, "img", "img", "img/10 img/2 imgx ");
	list_is(view, "img", "a", "img img/10 img/2 imgx ");
	list_is(view, "img/", "img/1", "img/10 img/2 ");
	list_is(view, "img/", "img/2", "");
	list_is(view, "img", "z", "");
	list_is(view, "", "img/2", "imgx \xc3\xa9 ");
	list_is(view, "none", "", "");
	list_is(view, "\xc3", "", "\xc3\xa9 ");
	assert_int_equal(map_list(view, "", "", list_cb, &l), 0);
	assert_string_equal(l.text, "a b ");
	l = (struct listing){.stop_after = 1, .result = -ERR_NOENT};
	assert_int_equal(map_list(view, "", "", list_cb, &l), -ERR_NOENT);

	assert_int_equal(map_get_space(view, &space), 0);
	assert_int_equal(space.objects, ARRAY_LEN(names));
	assert_int_equal(space.versions, 0);
	assert_int_equal(space.mapped_nblks, 1 + 2 + 3 + 4 + 5 + 6 + 7);
	assert_int_equal(space.free_nblks, 99 - space.mapped_nblks);
	assert_int_equal(space.reap_nblks, 0);
	assert_int_equal(space.meta_total_bytes, FIX_META_BYTES / 2);
	assert_true(space.meta_used_bytes > 0);
	map_view_end(view);
	fix_close(&fix);
}

/* ---- transactions and views ------------------------------------------------------------------ */

/* Blocks that are not all free are refused when the transaction ends, which then did nothing. */
static void remap_to_busy(struct fix *fix, uint64_t oid, uint64_t dst, uint64_t nblks)
{
	uint32_t csums[8] = {0};
	struct map_txn *txn = fix_begin(fix);

	assert_int_equal(map_txn_remap(txn, oid, lblk(20), pblk(dst), nblks, csums), 0);
	assert_int_equal(map_txn_commit(txn, &(struct map_freed){0}), -ERR_NODE);
}

static void test_remap_wants_free_blocks(void **state)
{
	uint32_t csums[8] = {0};
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 50);
	fix_remap(txn, oid, 0, 10, 8);
	fix_commit(txn);
	for (uint64_t dst = 3; dst < 18; dst++)
		remap_to_busy(&fix, oid, dst, 8);
	remap_to_busy(&fix, oid, 0, 1);
	remap_to_busy(&fix, oid, 96, 8);
	txn = fix_begin(&fix);
	assert_int_equal(map_txn_remap(txn, 77, lblk(20), pblk(50), 8, csums), -ERR_NOENT);
	fix_remap(txn, oid, 20, 2, 8);
	fix_remap(txn, oid, 28, 18, 8);
	fix_remap(txn, oid, 36, 92, 8);
	fix_commit(txn);
	fix_check(&fix);
	fix_close(&fix);
}

static void test_freed_is_reported_once(void **state)
{
	struct map_freed freed = {0};
	struct map_txn *txn;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 500);
	fix_remap(txn, oid, 0, 100, 200);
	assert_int_equal(map_txn_commit(txn, &freed), 0);
	assert_int_equal(freed.n, 0);
	txn = fix_begin(&fix);
	fix_remap(txn, oid, 100, 400, 60);
	assert_int_equal(map_txn_commit(txn, &freed), 0);
	assert_int_equal(freed.n, 1);
	assert_int_equal(freed.ranges[0].blk.n, 200);
	assert_int_equal(freed.ranges[0].nblks, 60);
	free(freed.ranges);
	fix_check(&fix);
	fix_close(&fix);
}

static void assert_maps(struct map_view *view, uint64_t oid, uint64_t dst, uint64_t nblks)
{
	struct map_lookup l;

	assert_int_equal(map_begin(view, oid, lblk(2), 8, MAP_FOR_READ, &l, NULL), 0);
	assert_int_equal(l.src.blk.n, dst);
	assert_int_equal(l.nblks, nblks);
}

/* Views see what is committed, and nothing before; snapshots what is folded. */
static void test_what_is_seen_when(void **state)
{
	struct map_txn *txn;
	struct map_view *old;
	struct map_view *view;
	struct map_lookup l;
	struct map_obj obj;
	struct fix fix;
	uint64_t oid;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	oid = fix_create(txn, "a", 50);
	fix_remap(txn, oid, 0, 10, 8);
	fix_commit(txn);
	fix_fold(&fix);
	assert_int_equal(map_snapshot_begin(fix.map, &old), 0);
	txn = fix_begin(&fix);
	fix_remap(txn, oid, 2, 30, 2);
	view = fix_view(&fix);
	assert_maps(view, oid, 12, 6);
	map_view_end(view);
	fix_commit(txn);
	view = fix_view(&fix);
	assert_maps(view, oid, 30, 2);
	assert_int_equal(map_begin(view, 99, lblk(2), 8, MAP_FOR_READ, &l, NULL), -ERR_NOENT);
	assert_int_equal(map_obj_by_id(view, 99, &obj), -ERR_NOENT);
	map_view_end(view);
	fix_fold(&fix);
	assert_maps(old, oid, 12, 6);
	assert_false(map_snapshot_is_late(old));
	map_view_end(old);
	assert_int_equal(map_snapshot_begin(fix.map, &old), 0);
	assert_maps(old, oid, 30, 2);
	map_view_end(old);
	fix_close(&fix);
}

/* What survives a crash is what was folded, with the position in the journal that it stands for. */
static void test_cut_is_what_the_fold_makes_durable(void **state)
{
	struct map_tail tail = {.seq = 7, .blk = 70};
	struct map_staged staged;
	struct map_txn *txn;
	struct map_view *view;
	struct map_obj obj;
	struct fix fix;

	(void)state;
	fix_open(&fix, 100, FIX_META_BYTES);
	txn = fix_begin(&fix);
	fix_create(txn, "before", 1);
	fix_commit(txn);
	map_get_staged(fix.map, &staged);
	assert_true(staged.entries > 0 && staged.bytes > staged.entries);
	assert_int_equal(map_cut(fix.map, tail), 0);
	txn = fix_begin(&fix);
	fix_create(txn, "after", 1);
	fix_commit(txn);
	assert_int_equal(map_fold(fix.map), 0);
	assert_int_equal(map_fold(fix.map), 0); /* nothing is frozen */
	map_close(fix.map);
	assert_int_equal(map_open(fix.path, &fix.map), 0);
	map_get_staged(fix.map, &staged);
	assert_int_equal(staged.entries, 0);
	view = fix_view(&fix);
	assert_int_equal(map_obj_by_name(view, "before", &obj), 0);
	assert_int_equal(map_obj_by_name(view, "after", &obj), -ERR_NOENT);
	assert_int_equal(map_get_tail(view, &tail), 0);
	assert_int_equal(tail.seq, 7);
	assert_int_equal(tail.blk, 70);
	map_view_end(view);
	txn = fix_begin(&fix);
	assert_int_equal(fix_create(txn, "after", 1), obj.id + 1);
	fix_commit(txn);
	fix_check(&fix);
	fix_close(&fix);
}

struct readers {
	struct map *map;
	uint64_t oid;
	atomic_bool stop;
	atomic_uint lookups;
};

/* Blocks 0 and 5000 are always mapped by one transaction: 5000 to the block behind that of 0. */
static void *reader_main(void *arg)
{
	struct readers *r = arg;
	uintptr_t bad = 0;

	while (!atomic_load(&r->stop)) {
		struct map_view *view;
		struct map_lookup a;
		struct map_lookup b;

		if (map_view_begin(r->map, &view))
			return (void *)1;
		if (map_begin(view, r->oid, lblk(0), 1, MAP_FOR_READ, &a, NULL) ||
		    map_begin(view, r->oid, lblk(5000), 1, MAP_FOR_READ, &b, NULL) ||
		    b.src.blk.n != a.src.blk.n + 1)
			bad = 1;
		map_view_end(view);
		atomic_fetch_add(&r->lookups, 1);
	}
	return (void *)bad;
}

static void test_views_beside_commits(void **state)
{
	enum { THREADS = 3, COMMITS = 60 };
	pthread_t threads[THREADS];
	struct readers r = {0};
	struct map_txn *txn;
	struct fix fix;

	(void)state;
	fix_open(&fix, 1000, FIX_META_BYTES);
	txn = fix_begin(&fix);
	r.oid = fix_create(txn, "a", 6000);
	r.map = fix.map;
	fix_remap(txn, r.oid, 0, 1, 1);
	fix_remap(txn, r.oid, 5000, 2, 1);
	fix_commit(txn);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &r), 0);
	for (uint64_t i = 1; i < COMMITS || atomic_load(&r.lookups) < 500; i++) {
		txn = fix_begin(&fix);
		fix_remap(txn, r.oid, 0, 1 + 2 * (i % 400), 1);
		fix_remap(txn, r.oid, 5000, 2 + 2 * (i % 400), 1);
		fix_commit(txn);
		if (i % 7 == 0)
			fix_fold(&fix);
	}
	atomic_store(&r.stop, true);
	for (int i = 0; i < THREADS; i++) {
		void *bad;

		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
	fix_check(&fix);
	fix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_geometry_survives_reopening),
	    cmocka_unit_test(test_create_refuses_what_is_there),
	    cmocka_unit_test(test_journal_is_not_free),
	    cmocka_unit_test(test_create_after_interrupted_create),
	    cmocka_unit_test(test_create_too_small),
	    cmocka_unit_test(test_open_refuses_other_files),
	    cmocka_unit_test(test_open_refuses_cut_file),
	    cmocka_unit_test(test_open_refuses_other_formats),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_update_and_incarnation),
	    cmocka_unit_test(test_list),
	    cmocka_unit_test(test_remap_wants_free_blocks),
	    cmocka_unit_test(test_freed_is_reported_once),
	    cmocka_unit_test(test_what_is_seen_when),
	    cmocka_unit_test(test_cut_is_what_the_fold_makes_durable),
	    cmocka_unit_test(test_views_beside_commits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
