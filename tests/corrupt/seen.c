/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/corrupt/seen.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/check.h"
#include "server/loop.h"
#include "server/object.h"
#include "server/recover.h"
#include "server/store.h"
#include "tests/lib/caught.h"
#include "tests/lib/must.h"

#define CACHE_BYTES (UINT64_C(1) << 20)
#define NO_TIMER_MS 3600000u

const char *const seen_specs[SEEN_OBJS] = {"disk", "disk@v1", "disk@v2", "copy",
					   "gone", "nothing", "other",	 "late"};

/* ---- the engine, one operation after the other ----------------------------------------------- */

struct look {
	struct store store;
	struct loop *loop;
	struct objects *objs;
	struct seen *seen;
	/* of the operation */
	bool done;
	int err;
	struct map_obj info;
	struct handle *handle;
	struct pagevec pv;
};

static void look_wait(struct look *look)
{
	while (!look->done)
		MUST(event_base_loop(loop_base(look->loop), EVLOOP_ONCE) == 0, "the loop");
	look->done = false;
}

static void on_info(void *ctx, int err, const struct map_obj *info)
{
	struct look *look = ctx;

	look->err = err;
	if (err == 0)
		look->info = *info;
	look->done = true;
}

static void on_open(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	((struct look *)ctx)->handle = handle;
	on_info(ctx, err, info);
}

static void on_read(void *ctx, int err, struct pagevec *pv)
{
	struct look *look = ctx;

	look->err = err;
	look->pv = *pv;
	*pv = (struct pagevec){0};
	look->done = true;
}

static void on_list(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct look *look = ctx;

	(void)objs;
	MUST(!more, "a long list");
	look->seen->list_err = err;
	look->seen->nlisted = n;
	look->done = true;
}

static void on_space(void *ctx, int err, const struct object_space *space)
{
	struct look *look = ctx;

	look->seen->space_err = err;
	if (err == 0)
		look->seen->space = space->map;
	look->done = true;
}

static void on_latch(void *ctx)
{
	((struct seen *)ctx)->latched = true;
}

/* ---- an object ------------------------------------------------------------------------------- */

/* What stands in the log of an error: of which object and where, or what of the map is bad. */
static bool is_named(const struct map_obj *info, uint64_t off, int err)
{
	char object[40];
	char offset[40];

	if (err != -ERR_CSUM)
		return caught_has("event=map-value", "key=") ||
		       caught_has("event=read-failed", "offset=");
	(void)snprintf(object, sizeof(object), "object=%" PRIu64 " ", info->id);
	(void)snprintf(offset, sizeof(offset), " offset=%" PRIu64 " ", off);
	return caught_has(object, offset);
}

static void look_read(struct look *look, struct seen_obj *o, uint64_t blk, uint64_t nblks)
{
	uint8_t *to = o->bytes + blk * BLK_BYTES;
	uint64_t off = blk * BLK_BYTES;

	object_read(look->handle, off, nblks * BLK_BYTES, on_read, look);
	look_wait(look);
	for (uint64_t b = 0; b < nblks; b++)
		o->errs[blk + b] = look->err;
	if (look->err < 0) {
		look->seen->named &= nblks > 1 || is_named(&o->info, off, look->err);
		return;
	}
	for (uint32_t i = 0; i < look->pv.npages; i++) {
		uint32_t at;
		uint32_t n;

		pagevec_span(&look->pv, i, &at, &n);
		memcpy(to, look->pv.pages[i]->data + at, n);
		to += n;
	}
	pagevec_fini(&look->pv);
}

/* Where all of it cannot be read, one block after the other. */
static void look_object(struct look *look, const char *spec, struct seen_obj *o)
{
	uint64_t nblks;

	object_info(look->objs, spec, on_info, look);
	look_wait(look);
	o->err = look->err;
	if (o->err < 0)
		return;
	o->info = look->info;
	nblks = blk_count(o->info.size_bytes);
	if (nblks > SEEN_BLKS)
		return; /* it has another size, and is wrong by that */
	object_open(look->objs, spec, OBJECT_READONLY, "test", on_open, look);
	look_wait(look);
	o->err = look->err;
	if (o->err < 0)
		return;
	if (nblks > 0)
		look_read(look, o, 0, nblks);
	if (nblks > 0 && o->errs[0] < 0)
		for (uint64_t b = 0; b < nblks; b++)
			look_read(look, o, b, 1);
	(void)object_close(look->handle);
}

/* ---- the store ------------------------------------------------------------------------------- */

static void on_difference(void *ctx, const char *text)
{
	(void)ctx;
	(void)fprintf(stderr, "difference: %s\n", text);
}

static int on_check_read(void *ctx, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct iovec iov = {buf, nblks * BLK_BYTES};

	return dev_read(ctx, blk, &iov, 1);
}

/* A check that could not be finished has found something. */
static void look_check(struct look *look)
{
	struct check_totals totals;
	int map = check_map(look->store.map, on_difference, NULL, &totals);
	int data =
	    check_data(look->store.map, on_check_read, on_difference, look->store.dev, &totals);

	look->seen->differences = (uint64_t)(map < 0 ? 1 : map) + (uint64_t)(data < 0 ? 1 : data);
}

static void look_objects(struct look *look)
{
	struct seen *seen = look->seen;

	object_list(look->objs, "", "", "", 100, on_list, look);
	look_wait(look);
	object_statfs(look->objs, on_space, look);
	look_wait(look);
	for (unsigned int i = 0; i < SEEN_OBJS; i++)
		look_object(look, seen_specs[i], &seen->objs[i]);
}

static int look_start(struct look *look)
{
	struct objects_config config = {
	    .cache_bytes = CACHE_BYTES, .nworkers = 1, .writeback_ms = NO_TIMER_MS};
	struct recover_result recovered;
	int err = recover_run(look->store.map, look->store.dev, &recovered);

	if (err < 0)
		return err;
	look->seen->cut = caught_has("event=journal-cut", NULL);
	look_check(look);
	thread_set_role(THREAD_LOOP);
	look->loop = loop_new();
	MUST(look->loop, "memory");
	config.loop = look->loop;
	config.map = look->store.map;
	config.dev = look->store.dev;
	config.journal_key = recovered.journal_key;
	config.journal_head = recovered.head;
	err = objects_new(&config, &look->objs);
	if (err < 0)
		loop_free(look->loop);
	else
		objects_on_latch(look->objs, on_latch, look->seen);
	return err;
}

void seen_look(const char *dir, struct seen *seen)
{
	struct store_config config = {.dir = dir};
	struct look look = {.seen = seen, .store.lock_fd = -1};

	memset(seen, 0, sizeof(*seen));
	seen->named = true;
	seen->err = store_open(&config, &look.store, seen->why, sizeof(seen->why));
	if (seen->err == 0)
		seen->err = look_start(&look);
	seen->refused = seen->err < 0;
	if (!seen->refused) {
		look_objects(&look);
		if (seen->latched)
			return; /* the engine is not at rest: who has called ends, too */
		objects_free(look.objs);
		loop_free(look.loop);
	}
	if (look.store.map)
		store_close(&look.store);
}

/* ---- a server that stays --------------------------------------------------------------------- */

struct seen_engine {
	struct look look;
	struct seen seen;
	struct handle *handles[SEEN_OBJS];
	uint64_t ids[SEEN_OBJS];
};

struct seen_engine *seen_start(const char *dir)
{
	struct seen_engine *e = calloc(1, sizeof(*e));
	struct store_config config = {.dir = dir};

	MUST(e, "memory");
	e->look.seen = &e->seen;
	MUST(store_open(&config, &e->look.store, e->seen.why, sizeof(e->seen.why)) == 0 &&
		 look_start(&e->look) == 0,
	     "%s", e->seen.why);
	for (unsigned int i = 0; i < SEEN_OBJS; i++) {
		object_open(e->look.objs, seen_specs[i], OBJECT_READONLY, "test", on_open,
			    &e->look);
		look_wait(&e->look);
		if (e->look.err == 0) {
			e->handles[i] = e->look.handle;
			e->ids[i] = e->look.info.id;
		}
	}
	return e;
}

void seen_stop(struct seen_engine *engine)
{
	for (unsigned int i = 0; i < SEEN_OBJS; i++)
		if (engine->handles[i])
			(void)object_close(engine->handles[i]);
	objects_free(engine->look.objs);
	loop_free(engine->look.loop);
	store_close(&engine->look.store);
	free(engine);
}

uint64_t seen_where(struct seen_engine *engine, unsigned int obj, uint64_t blk)
{
	struct map_lookup found;
	struct map_view *view;

	MUST(map_view_begin(engine->look.store.map, &view) == 0 &&
		 map_begin(view, engine->ids[obj], lblk(blk), 1, MAP_FOR_READ, &found, NULL) == 0,
	     "look-up");
	map_view_end(view);
	return found.src.kind == MAP_MAPPED ? found.src.blk.n : 0;
}

bool seen_read_fails(struct seen_engine *engine, unsigned int obj, uint64_t blk)
{
	struct look *look = &engine->look;
	struct map_obj info = {.id = engine->ids[obj]};

	caught_clear();
	object_read_direct(engine->handles[obj], blk * BLK_BYTES, BLK_BYTES, on_read, look);
	look_wait(look);
	if (look->err == 0)
		pagevec_fini(&look->pv);
	return look->err == -ERR_CSUM && is_named(&info, blk * BLK_BYTES, look->err);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool info_equals(const struct map_obj *a, const struct map_obj *b)
{
	return a->id == b->id && a->size_bytes == b->size_bytes &&
	       a->mapped_nblks == b->mapped_nblks && a->generation == b->generation &&
	       a->ctime_ns == b->ctime_ns && a->mtime_ns == b->mtime_ns && a->origin == b->origin &&
	       a->parent == b->parent && a->expires_ns == b->expires_ns &&
	       a->nversions == b->nversions && a->readonly == b->readonly &&
	       a->reserved_nblks == b->reserved_nblks && a->labels_len == b->labels_len &&
	       memcmp(a->labels, b->labels, a->labels_len) == 0 && strcmp(a->name, b->name) == 0;
}

/* *errors: there are some in place of what there was. */
static const char *obj_problem(const struct seen_obj *o, const struct seen_obj *was, bool *errors)
{
	uint64_t nblks = blk_count(was->info.size_bytes);

	if (o->err == -ERR_NOENT && was->err == -ERR_NOENT)
		return NULL;
	if (o->err < 0) {
		*errors = true;
		return NULL;
	}
	if (was->err < 0)
		return "an object that there was not";
	if (!info_equals(&o->info, &was->info))
		return "another size, label, number of versions...";
	for (uint64_t b = 0; b < nblks; b++) {
		if (o->errs[b] < 0)
			*errors = true;
		else if (memcmp(o->bytes + b * BLK_BYTES, was->bytes + b * BLK_BYTES, BLK_BYTES) !=
			 0)
			return "other bytes";
	}
	return NULL;
}

static const char *store_problem(const struct seen *seen, const struct seen *was, bool *errors)
{
	if (seen->list_err < 0 || seen->space_err < 0)
		*errors = true;
	if (seen->list_err == 0 && seen->nlisted != was->nlisted)
		return "another number of objects in the list";
	if (seen->space_err == 0 && (seen->space.objects != was->space.objects ||
				     seen->space.versions != was->space.versions ||
				     seen->space.mapped_nblks != was->space.mapped_nblks))
		return "other counters";
	return NULL;
}

enum seen_verdict seen_compare(const struct seen *seen, const struct seen *was, const char **what)
{
	bool errors = seen->latched;

	*what = NULL;
	if (seen->refused) {
		*what = seen->err == -ERR_IO ? "refused for no reason that is said" : NULL;
		return *what ? SEEN_WRONG : SEEN_REFUSED;
	}
	*what = store_problem(seen, was, &errors);
	for (unsigned int i = 0; i < SEEN_OBJS && !*what; i++)
		*what = obj_problem(&seen->objs[i], &was->objs[i], &errors);
	if (!*what && errors && !seen->named)
		*what = "an error of a read without object and offset in the log";
	if (!*what && errors && seen->differences == 0)
		*what = "errors, and the checker finds no difference";
	if (*what)
		return SEEN_WRONG;
	return errors ? SEEN_REPORTED : SEEN_EXACT;
}

bool seen_is_exact(const struct seen *seen, const struct seen *was)
{
	const char *what;

	return seen_compare(seen, was, &what) == SEEN_EXACT;
}
