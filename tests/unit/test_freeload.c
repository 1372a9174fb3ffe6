/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_freeload.c: the free space comes whole and once, however much of it, and the store is served
 * before.
 */
#include "server/freeload.h"

#include <event2/event.h>
#include <pthread.h>

#include "common/crc32c.h"
#include "server/loop.h"
#include "server/worker.h"
#include "tests/lib/engine.h"
#include "tests/unit/map_fixture.h"

#define NFRAGS 20000u /* every second block is free */
#define NBLKS  (2 * NFRAGS)
#define NFEWER 10000u /* still more than are loaded at once */

/* A job that a worker hangs in. */
struct hold {
	struct worker_job job;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
};

struct fixture {
	struct fix fix;
	struct loop *loop;
	struct worker_pool *pool; /* of one thread */
	struct alloc *alloc;
	struct freeload *fl;
	struct hold hold;
	unsigned int pieces;
	uint64_t nfree; /* in the map */
};

static void hold_run(struct worker_job *job)
{
	struct hold *hold = CONTAINER_OF(job, struct hold, job);

	pthread_mutex_lock(&hold->lock);
	while (!hold->open)
		pthread_cond_wait(&hold->changed, &hold->lock);
	pthread_mutex_unlock(&hold->lock);
}

static void hold_done(struct worker_job *job)
{
	(void)job;
}

static void hold_worker(struct fixture *fx)
{
	fx->hold = (struct hold){.job = {.run = hold_run, .done = hold_done},
				 .lock = PTHREAD_MUTEX_INITIALIZER,
				 .changed = PTHREAD_COND_INITIALIZER};
	worker_submit(fx->pool, &fx->hold.job);
}

static void hold_release(struct fixture *fx)
{
	pthread_mutex_lock(&fx->hold.lock);
	fx->hold.open = true;
	pthread_cond_signal(&fx->hold.changed);
	pthread_mutex_unlock(&fx->hold.lock);
}

static void fx_progress(void *ctx)
{
	struct fixture *fx = ctx;

	fx->pieces++;
}

static void fx_open(struct fixture *fx, uint64_t dev_nblks, uint64_t meta_bytes)
{
	*fx = (struct fixture){0};
	fix_open(&fx->fix, dev_nblks, meta_bytes);
	fx->nfree = dev_nblks - 1;
	fx->loop = loop_new();
	fx->pool = worker_pool_new(fx->loop, 1);
	fx->alloc = alloc_new();
	assert_true(fx->loop && fx->pool && fx->alloc);
	thread_set_role(THREAD_LOOP);
}

/* Joins the worker first, as the engine does. */
static void fx_close(struct fixture *fx)
{
	hold_release(fx);
	if (fx->fl)
		freeload_stop(fx->fl);
	worker_pool_free(fx->pool);
	loop_finish(fx->loop);
	freeload_free(fx->fl);
	alloc_free(fx->alloc);
	loop_free(fx->loop);
	fix_close(&fx->fix);
}

/* Takes the blocks 2, 4, ... out of the map's free space: nfrags ranges of one block, and the rest. */
static void plant_frags(struct fixture *fx, uint64_t nfrags)
{
	struct map_state state;
	struct kv_txn *kv;

	assert_int_equal(kv_write_begin(fx->fix.map->kv, &kv), 0);
	for (uint64_t i = 1; i <= nfrags; i++)
		assert_int_equal(map_free_take(kv, 2 * i, 1), 0);
	assert_int_equal(map_state_read(kv, &state), 0);
	state.free_nblks -= nfrags;
	map_state_write(kv, &state);
	assert_int_equal(kv_write_commit(kv), 0);
	fx->nfree -= nfrags;
}

/* Loads the first ranges; the worker is held before the others. */
static void fx_begin(struct fixture *fx)
{
	assert_int_equal(freeload_new(fx->fix.map, fx->alloc, &fx->fl), 0);
	hold_worker(fx);
	freeload_start(fx->fl, fx->pool, fx_progress, fx);
}

static void fx_finish(struct fixture *fx)
{
	hold_release(fx);
	while (freeload_is_busy(fx->fl))
		assert_int_equal(event_base_loop(loop_base(fx->loop), EVLOOP_ONCE), 0);
}

static uint64_t take_one(struct fixture *fx)
{
	uint64_t got;
	pblk_t blk;

	assert_int_equal(alloc_reserve(fx->alloc, 1), 0);
	alloc_take(fx->alloc, 1, &blk, &got);
	return blk.n;
}

static void few_ranges_are_loaded_at_once(void **state)
{
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, FREELOAD_FIRST - 1); /* and the rest is one */
	fx_begin(&fx);
	assert_false(freeload_is_busy(fx.fl));
	assert_int_equal(freeload_left_nblks(fx.fl), 0);
	assert_int_equal(alloc_free_nblks(fx.alloc), fx.nfree);
	fx_close(&fx);
}

/* What is allocated and freed meanwhile does not collide with what is still to come. */
static void many_ranges_come_whole_and_once(void **state)
{
	bool *seen = calloc(NBLKS, sizeof(bool));
	struct fixture fx;

	(void)state;
	assert_non_null(seen);
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, NFRAGS - 1);
	fx_begin(&fx);
	assert_true(freeload_is_busy(fx.fl));
	assert_int_equal(alloc_free_nblks(fx.alloc), FREELOAD_FIRST);
	assert_int_equal(freeload_left_nblks(fx.fl), fx.nfree - FREELOAD_FIRST);
	assert_int_equal(take_one(&fx), 1);
	assert_int_equal(take_one(&fx), 3);
	/* freed by a checkpoint: one that was allocated, and some among what is not loaded */
	assert_int_equal(alloc_add(fx.alloc, pblk(3), 1), 0);
	for (uint64_t b = NFRAGS; b < NFRAGS + 100; b += 2)
		assert_int_equal(alloc_add(fx.alloc, pblk(b), 1), 0);
	fx_finish(&fx);
	assert_int_equal(fx.pieces,
			 (NFRAGS - FREELOAD_FIRST + FREELOAD_CHUNK - 1) / FREELOAD_CHUNK);
	assert_int_equal(freeload_left_nblks(fx.fl), 0);
	assert_int_equal(alloc_free_nblks(fx.alloc), fx.nfree - 1 + 50);
	while (alloc_free_nblks(fx.alloc) > 0) {
		uint64_t blk = take_one(&fx);

		assert_in_range(blk, 2, NBLKS - 1);
		assert_false(seen[blk]);
		assert_true(blk % 2 == 1 || (blk >= NFRAGS && blk < NFRAGS + 100));
		seen[blk] = true;
	}
	fx_close(&fx);
	free(seen);
}

static void a_stop_ends_it_with_the_piece_under_way(void **state)
{
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, NFRAGS - 1);
	fx_begin(&fx);
	freeload_stop(fx.fl);
	hold_release(&fx);
	while (fx.pieces == 0)
		assert_int_equal(event_base_loop(loop_base(fx.loop), EVLOOP_ONCE), 0);
	assert_false(freeload_is_busy(fx.fl));
	assert_int_equal(alloc_free_nblks(fx.alloc), FREELOAD_FIRST + FREELOAD_CHUNK);
	fx_close(&fx);
}

static void what_was_never_started_is_freed(void **state)
{
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, NFRAGS - 1);
	assert_int_equal(freeload_new(fx.fix.map, fx.alloc, &fx.fl), 0);
	fx_close(&fx);
}

static void plant_damage(struct fixture *fx, uint64_t blk)
{
	struct map_key key = map_key(blk);
	struct kv_txn *kv;

	assert_int_equal(kv_write_begin(fx->fix.map->kv, &kv), 0);
	kv_put(kv, KV_FREE, map_key_buf(&key), (struct kv_buf){.data = "0123456789ab", .len = 12});
	assert_int_equal(kv_write_commit(kv), 0);
}

static void damage_among_the_first_ranges_is_an_error(void **state)
{
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, 100);
	plant_damage(&fx, 51);
	assert_int_equal(freeload_new(fx.fix.map, fx.alloc, &fx.fl), -ERR_NODE);
	fx_close(&fx);
}

/* What comes before it can be used. */
static void damage_behind_them_ends_the_loading(void **state)
{
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, FIX_META_BYTES);
	plant_frags(&fx, NFRAGS - 1);
	plant_damage(&fx, 20001);
	fx_begin(&fx);
	fx_finish(&fx);
	assert_int_equal(freeload_left_nblks(fx.fl), 0);
	assert_int_equal(alloc_free_nblks(fx.alloc), 10000);
	fx_close(&fx);
}

/* Commits and folds until a snapshot of before is in the way. */
static void make_late(struct fixture *fx, const struct map_view *probe)
{
	uint64_t ids[100];
	struct map_txn *txn;

	thread_set_role(THREAD_MAP);
	txn = fix_begin(&fx->fix);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "object%zu", i);
		ids[i] = fix_create(txn, name, 1);
	}
	fix_commit(txn);
	fix_fold(&fx->fix);
	for (uint64_t n = 0; n < 1000 && !map_snapshot_is_late(probe); n++) {
		txn = fix_begin(&fx->fix);
		for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
			struct map_obj obj;

			assert_int_equal(map_txn_update(txn, ids[i], n, n, n, &obj), 0);
		}
		fix_commit(txn);
		fix_fold(&fx->fix);
	}
	thread_set_role(THREAD_LOOP);
	assert_true(map_snapshot_is_late(probe));
}

static void what_is_in_the_way_of_folds_is_read_to_its_end(void **state)
{
	struct map_view *probe;
	struct fixture fx;

	(void)state;
	fx_open(&fx, NBLKS, UINT64_C(4) << 20);
	plant_frags(&fx, FREELOAD_FIRST + 5 * FREELOAD_CHUNK);
	assert_int_equal(map_snapshot_begin(fx.fix.map, &probe), 0);
	fx_begin(&fx);
	make_late(&fx, probe);
	map_view_end(probe);
	fx_finish(&fx);
	assert_int_equal(fx.pieces, 1);
	assert_int_equal(alloc_free_nblks(fx.alloc), fx.nfree);
	fx_close(&fx);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	struct result *res = ctx;

	res->pv = *pv;
	*pv = (struct pagevec){0};
	engine_done_cb(ctx, err);
}

/* An object "a" that maps every second block of the store behind the journal, of zeros. */
static void map_frags(struct engine *e, uint64_t nfrags)
{
	uint64_t first = 1 + map_geometry(e->map)->journal_nblks;
	static const uint8_t zeros[BLK_BYTES];
	uint32_t csum = crc32c(0, zeros, BLK_BYTES);
	struct map_freed freed = {0};
	struct map_txn *txn;
	struct map_view *view;
	struct map_tail tail;
	struct map_obj obj;
	uint64_t oid;

	assert_int_equal(map_view_begin(e->map, &view), 0);
	assert_int_equal(map_obj_by_name(view, "a", &obj), 0);
	assert_int_equal(map_get_tail(view, &tail), 0);
	map_view_end(view);
	oid = obj.id;
	thread_set_role(THREAD_MAP);
	for (uint64_t i = 0; i < nfrags;) {
		assert_int_equal(map_txn_begin(e->map, &txn), 0);
		for (uint64_t end = i + 5000; i < end; i++)
			assert_int_equal(
			    map_txn_remap(txn, oid, lblk(i), pblk(first + 2 * i), 1, &csum), 0);
		assert_int_equal(map_txn_update(txn, oid, i * BLK_BYTES, 1, i, &obj), 0);
		assert_int_equal(map_txn_commit(txn, &freed), 0);
		assert_int_equal(map_cut(e->map, tail), 0);
		assert_int_equal(map_fold(e->map), 0);
	}
	free(freed.ranges);
	thread_set_role(THREAD_LOOP);
}

/* A store of so many fragments; one worker, so that its jobs run one after the other. */
static int setup_frags(void **state, uint64_t nfrags)
{
	struct engine *e;

	assert_int_equal(
	    engine_setup_sized(state, 4 * MIB + (2 * nfrags + 1) * BLK_BYTES, 512 * MIB), 0);
	e = *state;
	e->cache_bytes = 512 * MIB;
	e->nworkers = 1;
	e->writeback_ms = ENGINE_NO_TIMER;
	assert_int_equal(engine_create(e, "a", 0), 0);
	assert_int_equal(engine_create(e, "b", 0), 0);
	engine_flush(e);
	engine_stop(e);
	assert_int_equal(map_open(e->map_path, &e->map), 0);
	map_frags(e, nfrags);
	map_close(e->map);
	engine_start(e);
	return 0;
}

static int setup_engine(void **state)
{
	return setup_frags(state, NFRAGS);
}

static int setup_fewer(void **state)
{
	return setup_frags(state, NFEWER);
}

static void write_start(struct engine *e, struct handle *h, uint64_t blk, uint64_t nblks,
			struct result *res)
{
	uint8_t *zeros = calloc(nblks, BLK_BYTES);
	struct pagevec pv;

	assert_non_null(zeros);
	pv = engine_payload(e, blk * BLK_BYTES, zeros, nblks * BLK_BYTES);
	*res = (struct result){0};
	object_write(h, blk * BLK_BYTES, &pv, engine_done_cb, res);
	free(zeros);
}

/* What is loaded when the worker is held is more than one block, and less than two large writes. */
static void a_store_is_served_before_all_is_loaded(void **state)
{
	const uint64_t large = 8000;
	struct engine *e = *state;
	struct handle *a = engine_open(e, "a");
	struct handle *b = engine_open(e, "b");
	struct result read = {0};
	struct result write[3];

	assert_int_equal(engine_free_nblks(e), NFRAGS);
	gate_dev_hold(e->gate, GATE_READ);
	object_read(a, 0, BLK_BYTES, read_cb, &read);
	while (gate_dev_calls(e->gate, GATE_READ) == 0)
		(void)event_base_loop(loop_base(e->loop), EVLOOP_NONBLOCK);
	write_start(e, b, 0, 1, &write[0]);
	assert_true(write[0].done);
	assert_int_equal(write[0].err, 0);
	write_start(e, b, 1, large, &write[1]);
	write_start(e, b, 1 + large, large, &write[2]);
	assert_false(write[2].done); /* it waits, and is not refused */
	gate_dev_open(e->gate, GATE_READ);
	assert_int_equal(engine_wait(e, &read), 0);
	pagevec_fini(&read.pv);
	assert_int_equal(engine_wait(e, &write[2]), 0);
	assert_true(write[1].done);
	assert_int_equal(write[1].err, 0);
	assert_int_equal(engine_fsync(e, b), 0);
	assert_int_equal(engine_free_nblks(e), NFRAGS - 2 * large - 1);
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
}

static void what_is_freed_meanwhile_is_counted_once(void **state)
{
	struct engine *e = *state;

	assert_int_equal(engine_remove(e, "a"), 0);
	engine_flush(e);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), 2 * NFRAGS);
}

static void a_write_that_does_not_fit_is_refused_when_all_is_loaded(void **state)
{
	struct engine *e = *state;
	struct handle *b = engine_open(e, "b");
	struct result write;

	for (uint64_t at = 0; at < NFEWER; at += NFEWER / 2) {
		write_start(e, b, at, NFEWER / 2, &write);
		assert_int_equal(engine_wait(e, &write), 0);
	}
	write_start(e, b, NFEWER, 1, &write);
	assert_int_equal(engine_wait(e, &write), -ERR_NOSPC);
	assert_int_equal(engine_free_nblks(e), 0);
	assert_int_equal(object_close(b), 0);
}

static void a_store_is_stopped_while_it_loads(void **state)
{
	struct engine *e = *state;

	engine_stop(e);
	engine_start(e);
	assert_int_equal(engine_free_nblks(e), NFRAGS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(few_ranges_are_loaded_at_once),
	    cmocka_unit_test(many_ranges_come_whole_and_once),
	    cmocka_unit_test(a_stop_ends_it_with_the_piece_under_way),
	    cmocka_unit_test(what_was_never_started_is_freed),
	    cmocka_unit_test(damage_among_the_first_ranges_is_an_error),
	    cmocka_unit_test(damage_behind_them_ends_the_loading),
	    cmocka_unit_test(what_is_in_the_way_of_folds_is_read_to_its_end),
	    cmocka_unit_test_setup_teardown(a_store_is_served_before_all_is_loaded, setup_engine,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(what_is_freed_meanwhile_is_counted_once, setup_engine,
					    engine_teardown),
	    cmocka_unit_test_setup_teardown(a_write_that_does_not_fit_is_refused_when_all_is_loaded,
					    setup_fewer, engine_teardown),
	    cmocka_unit_test_setup_teardown(a_store_is_stopped_while_it_loads, setup_engine,
					    engine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
