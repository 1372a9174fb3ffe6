/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/engine.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/thread.h"
#include "server/check.h"
#include "server/dev.h"
#include "server/loop.h"
#include "server/object_state.h"
#include "server/recover.h"

/* ---- the engine, synchronously --------------------------------------------------------------- */

void engine_done_cb(void *ctx, int err)
{
	struct result *res = ctx;

	res->err = err;
	res->done = true;
}

void engine_info_cb(void *ctx, int err, const struct map_obj *info)
{
	struct result *res = ctx;

	if (err == 0 && info)
		res->info = *info;
	engine_done_cb(ctx, err);
}

static void engine_open_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct result *res = ctx;

	res->handle = handle;
	engine_info_cb(ctx, err, info);
}

void engine_read_cb(void *ctx, int err, struct pagevec *pv)
{
	struct result *res = ctx;

	res->pv = *pv;
	*pv = (struct pagevec){0};
	engine_done_cb(ctx, err);
}

static void engine_space_cb(void *ctx, int err, const struct object_space *space)
{
	struct result *res = ctx;

	if (err == 0)
		res->space = *space;
	engine_done_cb(ctx, err);
}

static void engine_extents_cb(void *ctx, int err, const struct object_run *runs, uint32_t n)
{
	struct result *res = ctx;

	assert_true(n <= ENGINE_RUNS_MAX);
	if (n > 0)
		memcpy(res->runs, runs, n * sizeof(*runs));
	res->nruns = n;
	engine_done_cb(ctx, err);
}

void engine_turn(struct engine *e)
{
	assert_int_equal(event_base_loop(loop_base(e->loop), EVLOOP_ONCE), 0);
}

int engine_wait(struct engine *e, struct result *res)
{
	while (!res->done)
		engine_turn(e);
	return res->err;
}

void engine_settle(struct engine *e)
{
	for (int i = 0; i < 8; i++)
		(void)engine_free_nblks(e);
}

void engine_wait_calls(struct engine *e, enum gate_op op, uint64_t n)
{
	while (gate_dev_calls(e->gate, op) < n)
		(void)engine_free_nblks(e);
}

void engine_wait_clone(struct engine *e, const struct handle *h)
{
	while (h->obj->renewing_nblks == 0)
		engine_turn(e);
}

static int engine_open_dev(const struct engine *e, struct dev **dev)
{
	return (e->mapped ? dev_mapped_open : dev_file_open)(e->dev_path,
							     map_geometry(e->map)->uuid, dev);
}

void engine_start(struct engine *e)
{
	struct objects_config config = {.cache_bytes = e->cache_bytes,
					.nworkers = e->nworkers,
					.writeback_ms = e->writeback_ms,
					.verify_rate = e->verify_rate};
	struct recover_result recovered;
	struct dev *dev;

	thread_set_role(THREAD_LOOP);
	e->loop = loop_new();
	assert_non_null(e->loop);
	assert_int_equal(map_open(e->map_path, &e->map), 0);
	assert_int_equal(engine_open_dev(e, &dev), 0);
	assert_int_equal(recover_run(e->map, dev, &recovered), 0);
	config.journal_key = recovered.journal_key;
	config.journal_head = recovered.head;
	e->gate = gate_dev_new(dev);
	config.loop = e->loop;
	config.map = e->map;
	config.dev = &e->gate->dev;
	assert_int_equal(objects_new(&config, &e->objs), 0);
}

void engine_stop(struct engine *e)
{
	objects_free(e->objs);
	dev_close(&e->gate->dev);
	map_close(e->map);
	loop_free(e->loop);
}

static void report_difference(void *ctx, const char *text)
{
	(void)ctx;
	print_error("difference: %s\n", text);
}

static int read_recovered(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	return recover_read(ctx, blk, nblks, buf);
}

void engine_check(struct engine *e)
{
	struct recover_preview *preview;
	struct recover_result recovered;
	struct check_totals totals;
	struct dev *dev;

	assert_int_equal(map_open(e->map_path, &e->map), 0);
	assert_int_equal(engine_open_dev(e, &dev), 0);
	assert_int_equal(check_map(e->map, report_difference, NULL, &totals), 0);
	assert_int_equal(recover_preview(e->map, dev, &recovered, &preview), 0);
	assert_int_equal(check_map(e->map, report_difference, NULL, &totals), 0);
	assert_int_equal(check_data(e->map, read_recovered, report_difference, preview, &totals),
			 0);
	recover_preview_free(preview);
	dev_close(dev);
	map_close(e->map);
}

void engine_flush(struct engine *e)
{
	struct result res = {0};

	objects_flush(e->objs, engine_done_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
}

void engine_restart(struct engine *e)
{
	engine_flush(e);
	engine_stop(e);
	engine_start(e);
}

int engine_create(struct engine *e, const char *name, uint64_t size)
{
	struct result res = {0};

	object_create(e->objs, name, size, NULL, engine_info_cb, &res);
	return engine_wait(e, &res);
}

int engine_clone(struct engine *e, const char *src, const char *dst)
{
	struct result res = {0};

	object_clone(e->objs, src, dst, NULL, engine_info_cb, &res);
	return engine_wait(e, &res);
}

int engine_remove(struct engine *e, const char *name)
{
	struct result res = {0};

	object_remove(e->objs, name, false, engine_done_cb, &res);
	return engine_wait(e, &res);
}

struct handle *engine_open_as(struct engine *e, const char *name, unsigned int flags)
{
	struct result res = {0};

	object_open(e->objs, name, flags, "test", engine_open_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.handle;
}

struct handle *engine_open(struct engine *e, const char *name)
{
	return engine_open_as(e, name, 0);
}

struct handle *engine_create_open(struct engine *e, const char *name, uint64_t size)
{
	assert_int_equal(engine_create(e, name, size), 0);
	return engine_open(e, name);
}

struct pagevec engine_payload(struct engine *e, uint64_t off, const uint8_t *data, uint64_t len)
{
	struct pagevec pv;

	assert_int_equal(pagevec_init(&pv, (uint32_t)(off % BLK_BYTES), len), 0);
	for (uint32_t i = 0; i < pv.npages; i++) {
		uint32_t at;
		uint32_t n;

		pv.pages[i] = page_new(objects_pages(e->objs));
		assert_non_null(pv.pages[i]);
		memset(pv.pages[i]->data, 0xee,
		       BLK_BYTES); /* what is not payload must not matter */
		pagevec_span(&pv, i, &at, &n);
		memcpy(pv.pages[i]->data + at, data, n);
		data += n;
	}
	return pv;
}

void engine_fill(struct engine *e, struct pagevec *pvs, uint32_t n, uint8_t byte)
{
	for (uint32_t v = 0; v < n; v++) {
		for (uint32_t i = 0; i < pvs[v].npages; i++) {
			struct page *page = pagevecs_page(objects_pages(e->objs), pvs, v, i);
			uint32_t off;
			uint32_t len;

			assert_non_null(page);
			pagevec_span(&pvs[v], i, &off, &len);
			memset(page->data + off, byte, len);
		}
	}
}

int engine_write(struct engine *e, struct handle *h, uint64_t off, const uint8_t *data,
		 uint64_t len)
{
	struct pagevec pv = engine_payload(e, off, data, len);
	struct result res = {0};

	object_write(h, off, &pv, engine_done_cb, &res);
	return engine_wait(e, &res);
}

int engine_write_blk(struct engine *e, struct handle *h, uint64_t blk, uint8_t byte)
{
	uint8_t bytes[BLK_BYTES];

	memset(bytes, byte, sizeof(bytes));
	return engine_write(e, h, blk * BLK_BYTES, bytes, BLK_BYTES);
}

int engine_write_blks(struct engine *e, struct handle *h, uint64_t blk, uint64_t n, uint8_t byte)
{
	uint8_t *bytes = malloc(n * BLK_BYTES);
	int err;

	assert_non_null(bytes);
	memset(bytes, byte, n * BLK_BYTES);
	err = engine_write(e, h, blk * BLK_BYTES, bytes, n * BLK_BYTES);
	free(bytes);
	return err;
}

int engine_fsync(struct engine *e, struct handle *h)
{
	struct result res = {0};

	object_fsync(h, engine_done_cb, &res);
	return engine_wait(e, &res);
}

int engine_resize(struct engine *e, struct handle *h, uint64_t size, bool shrink)
{
	struct result res = {0};

	object_resize(h, size, shrink, engine_done_cb, &res);
	return engine_wait(e, &res);
}

int engine_zero(struct engine *e, struct handle *h, uint64_t off, uint64_t len, bool whole)
{
	struct result res = {0};

	object_zero(h, off, len, whole, engine_done_cb, &res);
	return engine_wait(e, &res);
}

int64_t engine_read(struct engine *e, struct handle *h, uint64_t off, uint8_t *buf, uint64_t len)
{
	struct result res = {0};
	uint64_t got;

	object_read(h, off, len, engine_read_cb, &res);
	if (engine_wait(e, &res) < 0)
		return res.err;
	got = res.pv.len;
	for (uint32_t i = 0; i < res.pv.npages; i++) {
		uint32_t at;
		uint32_t n;

		pagevec_span(&res.pv, i, &at, &n);
		memcpy(buf, res.pv.pages[i]->data + at, n);
		buf += n;
	}
	pagevec_fini(&res.pv);
	return (int64_t)got;
}

uint8_t engine_blk_byte(struct engine *e, struct handle *h, uint64_t blk)
{
	uint8_t bytes[BLK_BYTES];

	assert_int_equal(engine_read(e, h, blk * BLK_BYTES, bytes, BLK_BYTES), BLK_BYTES);
	return bytes[0];
}

uint64_t engine_free_nblks(struct engine *e)
{
	struct result res = {0};

	object_statfs(e->objs, engine_space_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
	return res.space.free_nblks;
}

static bool engine_mapped;

void engine_map_devices(bool mapped)
{
	engine_mapped = mapped;
}

static int engine_make(void **state, uint64_t cache_bytes, uint64_t dev_bytes, uint64_t meta_bytes)
{
	struct engine *e = calloc(1, sizeof(*e));
	struct map_geometry geo = {.dev_nblks = dev_bytes / BLK_BYTES,
				   .journal_nblks = 4 * MIB / BLK_BYTES,
				   .meta_bytes = meta_bytes};

	memset(geo.uuid, 7, sizeof(geo.uuid));
	e->cache_bytes = cache_bytes;
	e->writeback_ms = 200;
	e->nworkers = 4;
	e->mapped = engine_mapped;
	(void)snprintf(e->dir, sizeof(e->dir), "/tmp/cowd-object.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	(void)snprintf(e->map_path, sizeof(e->map_path), "%s/map", e->dir);
	(void)snprintf(e->dev_path, sizeof(e->dev_path), "%s/data", e->dir);
	assert_int_equal(map_create(e->map_path, &geo), 0);
	assert_int_equal(
	    dev_file_create(e->dev_path, geo.dev_nblks << BLK_SHIFT, geo.journal_nblks, geo.uuid),
	    0);
	engine_start(e);
	*state = e;
	return 0;
}

int engine_setup(void **state)
{
	return engine_make(state, 16 * MIB, 100 * MIB, 64 * MIB);
}

int engine_setup_tiny(void **state)
{
	return engine_make(state, MIB, 100 * MIB, 64 * MIB);
}

int engine_setup_sized(void **state, uint64_t dev_bytes, uint64_t meta_bytes)
{
	return engine_make(state, 16 * MIB, dev_bytes, meta_bytes);
}

int engine_teardown(void **state)
{
	struct engine *e = *state;
	char path[128];

	for (enum gate_op op = 0; op < GATE_NOPS; op++) /* where the test failed at a closed one */
		gate_dev_open(e->gate, op);
	engine_stop(e);
	engine_check(e);
	(void)unlink(e->dev_path);
	(void)unlink(e->map_path);
	(void)snprintf(path, sizeof(path), "%s-lock", e->map_path);
	(void)unlink(path);
	assert_int_equal(rmdir(e->dir), 0);
	free(e);
	return 0;
}

struct engine_first {
	struct result res;
	char name[NAME_MAX_BYTES + 1];
};

static void engine_first_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct engine_first *first = ctx;

	(void)more;
	if (err == 0 && n > 0)
		memcpy(first->name, objs[0].name, sizeof(first->name));
	engine_done_cb(&first->res, err);
}

void engine_remove_all(struct engine *e)
{
	for (;;) {
		struct engine_first first = {0};
		struct result res = {0};

		object_list(e->objs, "", "", "", 1, engine_first_cb, &first);
		assert_int_equal(engine_wait(e, &first.res), 0);
		if (first.name[0] == '\0')
			return;
		object_remove(e->objs, first.name, true, engine_done_cb, &res);
		assert_int_equal(engine_wait(e, &res), 0);
	}
}

static void engine_check_cb(void *ctx, int err, const struct object_check *check)
{
	for (uint32_t i = 0; err == 0 && i < check->ntexts; i++)
		print_error("difference: %s\n", check->texts[i]);
	engine_done_cb(ctx, err < 0 ? err : (int)check->differences);
}

void engine_check_online(struct engine *e)
{
	struct result res = {0};

	object_check(e->objs, engine_check_cb, &res);
	assert_int_equal(engine_wait(e, &res), 0);
}

static void engine_reaping_cb(void *ctx, int err, uint64_t nblks)
{
	struct result *res = ctx;

	res->space.free_nblks = nblks;
	engine_done_cb(ctx, err);
}

void engine_reap(struct engine *e)
{
	struct result res;

	do {
		res.done = false;
		object_reaping(e->objs, engine_reaping_cb, &res);
		assert_int_equal(engine_wait(e, &res), 0);
	} while (res.space.free_nblks > 0);
}

int engine_extents(struct engine *e, struct handle *h, uint64_t off, uint64_t len,
		   struct result *res)
{
	res->done = false;
	object_extents(h, off, len, ENGINE_RUNS_MAX, false, engine_extents_cb, res);
	return engine_wait(e, res);
}

int engine_map(struct engine *e, struct handle *h, uint64_t off, uint64_t len, struct result *res)
{
	res->done = false;
	object_extents(h, off, len, ENGINE_RUNS_MAX, true, engine_extents_cb, res);
	return engine_wait(e, res);
}
