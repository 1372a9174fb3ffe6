/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cowd --check --repair on a store that was not stopped: the journal is applied to a map that has been
 * mended before, or is left where that cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/offline.h"
#include "server/map_priv.h"
#include "server/recover.h"
#include "tests/lib/commits.h"

#define AT(n) pblk(COMMITS_DATA + (n))

static int setup(void **state)
{
	*state = commits_new(COMMITS_META_BYTES);
	commits_start(*state);
	return 0;
}

static void map_block(struct commits *fx, uint64_t oid, uint64_t blk, unsigned int at)
{
	struct commits_req r;

	commits_epoch_init(fx, &r, oid, lblk(blk), AT(at));
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
}

static uint64_t clone_of(struct commits *fx, uint64_t oid, const char *name)
{
	struct commits_req r;

	commits_named_init(fx, &r, CHANGE_CLONE, name);
	r.req.change.other = oid;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	return r.req.change.oid;
}

static uint64_t where(struct commits *fx, uint64_t oid, uint64_t blk)
{
	return test_store_where(fx->ts, oid, lblk(blk), NULL).n;
}

/* What is staged is gone. */
static void reopen(struct commits *fx)
{
	map_close(fx->ts->map);
	assert_int_equal(map_open(fx->ts->path, &fx->ts->map), 0);
}

static void end(struct commits *fx)
{
	commits_kill(fx);
	test_store_crash(fx->ts);
}

static struct kv_txn *write_begin(struct commits *fx)
{
	struct kv_txn *kv;

	assert_int_equal(kv_write_begin(fx->ts->map->kv, &kv), 0);
	return kv;
}

static int mend(struct commits *fx)
{
	struct store store = {.lock_fd = -1, .map = fx->ts->map, .dev = &fx->ts->fdev->dev};

	return offline_repair(&store);
}

/* As the checker finds it, and not more. */
static int look(struct commits *fx)
{
	struct store store = {.lock_fd = -1, .map = fx->ts->map, .dev = &fx->ts->fdev->dev};
	int n = offline_check(&store);

	reopen(fx);
	return n;
}

static uint64_t records(struct commits *fx)
{
	struct recover_preview *preview;
	struct recover_result result;

	assert_int_equal(recover_preview(fx->ts->map, &fx->ts->fdev->dev, &result, &preview), 0);
	recover_preview_free(preview);
	reopen(fx);
	return result.records;
}

/* ---- applied --------------------------------------------------------------------------------- */

/* Were the record applied first, it would write into the leaf that the clone has, too. */
static void counts_are_mended_before_the_journal_is_applied(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");
	struct map_object obj;
	struct kv_txn *kv;
	uint64_t b;

	map_block(fx, a, 0, 0);
	b = clone_of(fx, a, "b");
	commits_fold(fx);
	map_block(fx, a, 0, 5);
	end(fx);
	kv = write_begin(fx);
	assert_int_equal(map_object_read(kv, a, &obj), 0);
	map_num_del(kv, KV_NREF, obj.root / MAP_COUNTS);
	assert_int_equal(kv_write_commit(kv), 0);
	assert_int_equal(mend(fx), 0);
	assert_int_equal(where(fx, a, 0), AT(5).n);
	assert_int_equal(where(fx, b, 0), AT(0).n);
	assert_int_equal(records(fx), 0);
}

/* A record that says of an object that it owns what it does not have. */
static void what_the_journal_brings_is_mended(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");
	struct commits_req r;
	struct map_obj obj;

	map_block(fx, a, 0, 0);
	commits_fold(fx);
	assert_true(test_store_obj(fx->ts, a, &obj));
	commits_req_init(fx, &r, CHANGE_SET);
	r.req.change.oid = a;
	r.req.change.regained_nblks = 50;
	r.req.change.owned_seq = obj.owned_seq;
	commits_run(&r);
	assert_int_equal(r.req.err, 0);
	end(fx);
	assert_int_equal(look(fx), 1);
	assert_int_equal(mend(fx), 0);
	assert_true(test_store_obj(fx->ts, a, &obj));
	assert_int_equal(obj.owned_nblks, 1);
	reopen(fx);
	assert_int_equal(look(fx), 0);
}

/* ---- left ------------------------------------------------------------------------------------ */

static void plant_name(struct commits *fx, bool there)
{
	struct kv_txn *kv = write_begin(fx);

	if (there)
		map_name_put(kv, 0, "stray", 4000);
	else
		map_name_del(kv, 0, "stray");
	assert_int_equal(kv_write_commit(kv), 0);
}

static void it_is_not_applied_to_what_is_not_whole(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");

	commits_fold(fx);
	map_block(fx, a, 0, 0);
	end(fx);
	plant_name(fx, true);
	assert_int_equal(mend(fx), 1);
	reopen(fx);
	assert_int_equal(where(fx, a, 0), 0);
	assert_int_equal(records(fx), 1);
	plant_name(fx, false);
	assert_int_equal(mend(fx), 0);
	assert_int_equal(where(fx, a, 0), AT(0).n);
}

/* The first block of "a" is where the second one is to be. */
static void claim(struct commits *fx, uint64_t oid, uint64_t blk)
{
	uint8_t bytes[MAP_VALUE_MAX];
	struct map_node_view view;
	struct map_object obj;
	struct map_node leaf = {0};
	struct kv_txn *kv = write_begin(fx);

	assert_int_equal(map_object_read(kv, oid, &obj), 0);
	assert_int_equal(map_node_read(kv, obj.root, &view), 0);
	map_node_decode(&view, &leaf);
	leaf.u.leaf.blk[0] = blk;
	map_num_put(kv, KV_NODE, leaf.id, bytes, map_node_encode(&leaf, bytes));
	assert_int_equal(kv_write_commit(kv), 0);
}

static bool is_free(struct commits *fx, uint64_t blk)
{
	struct map_view *view;
	struct kv_buf val;
	uint64_t at;
	bool in;

	assert_int_equal(map_view_begin(fx->ts->map, &view), 0);
	in =
	    map_num_find(view->kv, KV_FREE, KV_LE, blk, sizeof(struct disk_free), &at, &val) == 0 &&
	    blk - at < le64_get(((const struct disk_free *)val.data)->nblks);
	map_view_end(view);
	return in;
}

/* Taken out of the free space the block could not be mapped by the record any more. */
static void nothing_is_touched_that_the_journal_needs(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");

	map_block(fx, a, 0, 0);
	commits_fold(fx);
	map_block(fx, a, 1, 1);
	end(fx);
	claim(fx, a, AT(1).n);
	assert_true(mend(fx) > 0);
	reopen(fx);
	assert_true(is_free(fx, AT(1).n));
	assert_false(is_free(fx, AT(0).n));
	assert_int_equal(records(fx), 1); /* and it can be applied */
	claim(fx, a, AT(0).n);
	assert_int_equal(mend(fx), 0);
	assert_int_equal(where(fx, a, 1), AT(1).n);
}

static void nothing_is_touched_beside_a_damaged_journal(void **state)
{
	struct commits *fx = *state;
	uint64_t a = commits_create(fx, "a");
	struct kv_txn *kv;

	commits_fold(fx);
	for (unsigned int i = 0; i < 4; i++)
		map_block(fx, a, i, i);
	end(fx);
	kv = write_begin(fx);
	map_pair_put(kv, KV_TTL, (struct map_pair){7, a});
	assert_int_equal(kv_write_commit(kv), 0);
	/* the first record was that of the object, a block each */
	fake_dev_flip(fx->ts->fdev, pblk(fx->region.first.n + 2), 100);
	assert_int_equal(mend(fx), 1);
	reopen(fx);
	kv = write_begin(fx);
	assert_int_equal(map_pair_get(kv, KV_TTL, (struct map_pair){7, a}), 0);
	map_pair_del(kv, KV_TTL, (struct map_pair){7, a});
	assert_int_equal(kv_write_commit(kv), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(counts_are_mended_before_the_journal_is_applied, setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(what_the_journal_brings_is_mended, setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(it_is_not_applied_to_what_is_not_whole, setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_touched_that_the_journal_needs, setup,
					    commits_teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_touched_beside_a_damaged_journal, setup,
					    commits_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
