/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_store.c: looking at the store: lists, labels, children, what expires, what is used by
 * whom, what becomes free again, and the checker beside all other work.
 */
#include <event2/event.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "server/object_walk.h"
#include "tests/unit/object_fixture.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static int make_labelled(struct engine *e, const char *name, const char *labels, uint32_t len)
{
	const struct object_attrs attrs = {.labels = labels, .labels_len = len};
	struct result res = {0};

	object_create(e->objs, name, 0, &attrs, engine_info_cb, &res);
	return engine_wait(e, &res);
}

static struct found list(struct engine *e, const char *prefix, const char *after, const char *label,
			 uint32_t max)
{
	struct found found = {0};

	object_list(e->objs, prefix, after, label, max, listed_cb, &found);
	assert_int_equal(found_wait(e, &found), 0);
	return found;
}

static void objects_are_listed_by_label(void **state)
{
	struct engine *e = *state;
	struct found found;

	assert_int_equal(make_labelled(e, "a", "env=prod\0os=linux", 18), 0);
	assert_int_equal(make_labelled(e, "b", "env=test", 9), 0);
	assert_int_equal(make_labelled(e, "c", "env=prod", 9), 0);
	assert_int_equal(engine_create(e, "d", 0), 0);
	assert_int_equal(snapshot(e, "a@env"), 0);
	found = list(e, "", "", "env=prod", 8);
	assert_int_equal(found.n, 2);
	assert_string_equal(found.objs[0].name, "a");
	assert_string_equal(found.objs[1].name, "c");
	assert_int_equal(found.objs[0].labels_len, 18);
	found = list(e, "", "", "env", 8);
	assert_int_equal(found.n, 3);
	found = list(e, "", "", "env=prod", 1);
	assert_int_equal(found.n, 1);
	assert_true(found.more);
	found = list(e, "", "a", "env=prod", 1);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.objs[0].name, "c");
	assert_false(found.more);
	found = list(e, "", "", "en", 8);
	assert_int_equal(found.n, 0);
	assert_int_equal(make_labelled(e, "e", "no sign", 8), -ERR_INVAL);
}

static void labels_survive_a_crash(void **state)
{
	struct engine *e = *state;

	assert_int_equal(make_labelled(e, "a", "env=prod", 9), 0);
	crash(e);
	assert_int_equal(list(e, "", "", "env=prod", 8).n, 1);
}

static void a_list_knows_prefix_and_place(void **state)
{
	static const char *const names[] = {"a", "ab", "abc", "b", "ba"};
	struct engine *e = *state;
	struct found found;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(engine_create(e, names[i], i), 0);
	assert_int_equal(snapshot(e, "ab@v"), 0);
	found = list(e, "", "", "", 8);
	assert_int_equal(found.n, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_string_equal(found.objs[i].name, names[i]);
	found = list(e, "ab", "", "", 8);
	assert_int_equal(found.n, 2);
	assert_false(found.more);
	found = list(e, "a", "ab", "", 8);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.objs[0].name, "abc");
	found = list(e, "", "", "", 5);
	assert_false(found.more);
	found = list(e, "", "", "", 4);
	assert_true(found.more);
}

/* What is not committed yet is known too. */
static void a_list_shows_the_size_of_now(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct map_obj info;

	assert_int_equal(engine_write_blk(e, h, 4, 1), 0);
	assert_int_equal(list(e, "", "", "", 8).objs[0].size_bytes, 5 * BLK_BYTES);
	assert_int_equal(info_of(e, "a", &info), 0);
	assert_int_equal(info.size_bytes, 5 * BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

static struct found children(struct engine *e, const char *spec, uint64_t after, uint32_t max)
{
	struct found found = {0};

	object_children(e->objs, spec, after, max, listed_cb, &found);
	(void)found_wait(e, &found);
	return found;
}

static void children_are_those_of_just_this(void **state)
{
	struct engine *e = *state;
	struct found found;

	make(e, "a", 1, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_clone(e, "a", "c2"), 0);
	assert_int_equal(engine_clone(e, "a", "c1"), 0);
	assert_int_equal(engine_clone(e, "a@v", "d"), 0);
	assert_int_equal(engine_clone(e, "c1", "grandchild"), 0);
	found = children(e, "a", 0, 8);
	assert_int_equal(found.n, 2);
	assert_string_equal(found.objs[0].name, "c2"); /* the older */
	assert_string_equal(found.objs[1].name, "c1");
	assert_int_equal(children(e, "a", 0, 1).n, 1);
	assert_true(children(e, "a", 0, 1).more);
	assert_int_equal(children(e, "a", found.objs[0].id, 8).n, 1);
	found = children(e, "a@v", 0, 8);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.objs[0].name, "d");
	assert_int_equal(children(e, "d", 0, 8).n, 0);
	assert_int_equal(children(e, "e", 0, 8).err, -ERR_NOENT);
	assert_int_equal(rename_to(e, "a", "b"), 0);
	assert_int_equal(children(e, "b", 0, 8).n, 2);
}

/* ---- what expires ---------------------------------------------------------------------------- */

static void what_has_expired_goes_with_its_versions(void **state)
{
	struct engine *e = *state;

	(void)make_mortal(e, "later", UINT64_C(3600) * 1000);
	assert_int_equal(engine_create(e, "never", 0), 0);
	(void)make_mortal(e, "a", 1);
	(void)snapshot(e, "a@v"); /* if it is still there */
	(void)make_mortal(e, "b", 1);
	while (exists(e, "a") || exists(e, "b"))
		;
	assert_true(exists(e, "later") && exists(e, "never"));
	assert_false(exists(e, "a@v"));
}

static void what_is_open_expires_when_it_is_closed(void **state)
{
	struct engine *e = *state;
	struct handle *h;
	uint64_t ttl_ms = make_mortal_open(e, "a", &h);

	(void)make_mortal(e, "b", ttl_ms); /* behind it, and not in its way */
	while (exists(e, "b"))
		;
	assert_true(exists(e, "a"));
	assert_int_equal(engine_write_blk(e, h, 0, 1), 0);
	assert_int_equal(engine_blk_byte(e, h, 0), 1);
	assert_int_equal(object_close(h), 0);
	while (exists(e, "a"))
		;
}

static void it_expires_after_a_restart_too(void **state)
{
	struct engine *e = *state;

	e->writeback_ms = ENGINE_NO_TIMER;
	engine_restart(e);
	(void)make_mortal(e, "a", 1);
	e->writeback_ms = 1;
	crash(e);
	while (exists(e, "a"))
		;
}

/* Nobody asks for it and nobody waits for it: it ends with the engine, wherever it is. */
static void the_engine_stops_in_the_middle_of_an_expiry(void **state)
{
	struct engine *e = *state;

	for (unsigned int round = 0; round < 30; round++) {
		struct handle *h;

		(void)make_mortal_open(e, "a", &h);
		for (char c = '0'; c < '4'; c++) {
			char spec[] = {'a', '@', c, '\0'};

			(void)engine_write_blk(e, h, (uint64_t)(c - '0'), 1);
			(void)snapshot(e, spec);
		}
		(void)engine_write_blk(e, h, 9, 1);
		(void)make_mortal(e, "clock", 1);
		while (exists(e, "clock"))
			;
		assert_int_equal(object_close(h), 0);
		while (exists(e, "a@0"))
			;
		for (unsigned int i = 0; i < round; i++)
			engine_turn(e);
		crash(e);
		while (exists(e, "a"))
			;
	}
}

/* The name of what has expired is given to another before it is removed: that one stays. */
static void what_got_an_expired_name_stays(void **state)
{
	struct engine *e = *state;
	struct result swap = {0};
	struct handle *h;
	uint64_t before;
	uint64_t ttl_ms;

	make(e, "keep", 1, 1);
	ttl_ms = make_mortal_open(e, "a", &h); /* so that it is not removed at once */
	(void)make_mortal(e, "clock", ttl_ms);
	while (exists(e, "clock") || e->objs->expiring)
		engine_turn(e);
	before = gate_dev_calls(e->gate, GATE_SYNC);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_rename(e->objs, "a", "keep", true, engine_done_cb, &swap);
	engine_wait_calls(e, GATE_SYNC, before + 1);
	assert_int_equal(object_close(h), 0);
	while (TAILQ_EMPTY(&e->objs->claims)) /* until it is to be removed, by the name it had */
		engine_turn(e);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &swap), 0);
	while (exists(e, "keep"))
		;
	assert_int_equal(byte_of(e, "a", 0), 1);
}

/* ---- usage ----------------------------------------------------------------------------------- */

struct usage {
	struct result res;
	struct object_usage usage;
};

static void usage_cb(void *ctx, int err, const struct object_usage *usage)
{
	struct usage *u = ctx;

	if (err == 0)
		u->usage = *usage;
	engine_done_cb(&u->res, err);
}

static int usage_of(struct engine *e, const char *const *specs, uint32_t n,
		    struct object_usage *usage)
{
	struct usage u = {0};

	object_usage(e->objs, specs, n, usage_cb, &u);
	(void)engine_wait(e, &u.res);
	*usage = u.usage;
	return u.res.err;
}

static void usage_is(struct engine *e, const char *a, const char *b, uint64_t mapped,
		     uint64_t exclusive)
{
	const char *const specs[] = {a, b};
	struct object_usage usage;

	assert_int_equal(usage_of(e, specs, b ? 2 : 1, &usage), 0);
	assert_int_equal(usage.mapped_nblks, mapped);
	assert_int_equal(usage.exclusive_nblks, exclusive);
}

static void usage_tells_what_would_become_free(void **state)
{
	static const char *const missing[] = {"a", "c"};
	static const char *const mixed[] = {"b", "a", "b", "a", "b"};
	struct engine *e = *state;
	struct object_usage usage;
	struct handle *h;

	make(e, "a", 40, 1);
	usage_is(e, "a", NULL, 40, 40);
	usage_is(e, "a", "a", 40, 40);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	usage_is(e, "a", NULL, 40, 0);
	usage_is(e, "a", "b", 80, 40);
	assert_int_equal(usage_of(e, mixed, 5, &usage), 0);
	assert_int_equal(usage.mapped_nblks, 80);
	h = engine_open(e, "b");
	assert_int_equal(engine_write_blk(e, h, 7, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	usage_is(e, "a", NULL, 40, 1);
	usage_is(e, "b", NULL, 40, 1);
	usage_is(e, "a", "b", 80, 41);
	assert_int_equal(snapshot(e, "b@v"), 0);
	usage_is(e, "b", NULL, 40, 0);
	usage_is(e, "b", "b@v", 80, 1);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(usage_of(e, missing, 2, &usage), -ERR_NOENT);
	assert_int_equal(usage_of(e, missing, 0, &usage), 0);
	assert_int_equal(usage.mapped_nblks, 0);
}

/* ---- long walks ------------------------------------------------------------------------------- */

/* A walk that takes until the test lets it go. */
struct held {
	struct object_walk walk;
	struct result res;
	atomic_bool begun;
	sem_t go;
};

static int held_run(struct object_walk *walk, struct map_view *view)
{
	struct held *held = CONTAINER_OF(walk, struct held, walk);

	(void)view;
	atomic_store(&held->begun, true);
	(void)sem_wait(&held->go);
	return 0;
}

static void held_ended(struct object_walk *walk, int err)
{
	engine_done_cb(&CONTAINER_OF(walk, struct held, walk)->res, err);
}

static void held_start(struct engine *e, struct held *held)
{
	*held = (struct held){.walk = {.run = held_run, .ended = held_ended}};
	assert_int_equal(sem_init(&held->go, 0, 0), 0);
	object_walk_start(e->objs, &held->walk);
}

static void held_wait_begun(struct engine *e, const struct held *held)
{
	while (!atomic_load(&held->begun))
		(void)event_base_loop(loop_base(e->loop), EVLOOP_NONBLOCK);
}

static void restart_with_workers(struct engine *e, unsigned int nworkers)
{
	e->nworkers = nworkers;
	engine_restart(e);
}

static void cold_reads_pass_long_walks(void **state)
{
	static const char *const specs[] = {"a"};
	struct engine *e = *state;
	struct usage usage = {0};
	struct held held[3];
	struct handle *h;

	make(e, "a", 4, 7);
	restart_with_workers(e, 2);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		held_start(e, &held[i]);
	object_usage(e->objs, specs, 1, usage_cb, &usage);
	held_wait_begun(e, &held[0]);
	h = engine_open(e, "a");
	assert_int_equal(engine_blk_byte(e, h, 3), 7);
	assert_int_equal(object_close(h), 0);
	engine_settle(e);
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		assert_int_equal(atomic_load(&held[i].begun), i == 0);
		assert_false(held[i].res.done);
	}
	assert_false(usage.res.done);
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		(void)sem_post(&held[i].go);
		assert_int_equal(engine_wait(e, &held[i].res), 0);
	}
	assert_int_equal(engine_wait(e, &usage.res), 0);
	assert_int_equal(usage.usage.mapped_nblks, 4);
}

struct settled {
	struct objects_settle settle;
	struct result res;
};

static void settled_ready(struct objects_settle *settle, int err)
{
	engine_done_cb(&CONTAINER_OF(settle, struct settled, settle)->res, err);
}

/* Even where it takes all workers. */
static void a_fold_passes_a_long_walk(void **state)
{
	struct engine *e = *state;
	struct settled settled = {.settle = {.ready = settled_ready}};
	struct handle *h;
	struct held held;

	restart_with_workers(e, 1);
	h = engine_create_open(e, "a", 0);
	held_start(e, &held);
	held_wait_begun(e, &held);
	assert_int_equal(engine_resize(e, h, 5, false), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	objects_settle(e->objs, &settled.settle);
	assert_int_equal(engine_wait(e, &settled.res), 0);
	assert_false(held.res.done);
	(void)sem_post(&held.go);
	assert_int_equal(engine_wait(e, &held.res), 0);
	assert_int_equal(object_close(h), 0);
}

static void walks_that_wait_end_with_the_engine(void **state)
{
	static const char *const specs[] = {"a"};
	struct engine *e = *state;
	struct usage usage = {0};
	struct held held;

	assert_int_equal(engine_create(e, "a", 0), 0);
	held_start(e, &held);
	object_usage(e->objs, specs, 1, usage_cb, &usage);
	held_wait_begun(e, &held);
	(void)sem_post(&held.go);
	crash(e);
	assert_true(held.res.done && usage.res.done);
	assert_int_equal(held.res.err, 0);
	assert_int_equal(usage.res.err, -ERR_SHUTDOWN);
}

/* What they hold while they wait for each other is bounded, also of clients that have gone. */
static void usages_that_wait_are_not_too_many(void **state)
{
	enum { NSPECS = 4096, NUSAGES = 16 };
	static const char *specs[NSPECS];
	struct engine *e = *state;
	struct usage usage[NUSAGES] = {0};
	char name[NAME_MAX_BYTES + 1];
	unsigned int refused = 0;
	struct held held;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i < NSPECS; i++)
		specs[i] = name;
	held_start(e, &held);
	for (size_t i = 0; i < NUSAGES; i++)
		object_usage(e->objs, specs, NSPECS, usage_cb, &usage[i]);
	held_wait_begun(e, &held);
	for (size_t i = 0; i < NUSAGES; i++)
		refused += usage[i].res.done;
	assert_true(refused > 0 && refused < NUSAGES);
	for (size_t i = 0; i < refused; i++)
		assert_int_equal(usage[NUSAGES - 1 - i].res.err, -ERR_USAGES);
	(void)sem_post(&held.go);
	for (size_t i = 0; i < NUSAGES - refused; i++)
		assert_int_equal(engine_wait(e, &usage[i].res), -ERR_NOENT);
	assert_int_equal(usage_of(e, specs, NSPECS, &usage[0].usage), -ERR_NOENT);
	assert_int_equal(engine_wait(e, &held.res), 0);
}

/* Nor are reservations that wait until it is counted what their objects own. */
static void reservations_that_wait_are_not_too_many(void **state)
{
	enum { NSETS = 1024 };
	const struct object_edit edit = {.set_reserved = true, .reserved_nblks = 1};
	struct engine *e = *state;
	struct result *res = calloc(NSETS + 1, sizeof(*res));
	struct held held;

	assert_non_null(res);
	held_start(e, &held);
	for (size_t i = 0; i <= NSETS; i++)
		object_set(e->objs, "none", &edit, engine_info_cb, &res[i]);
	held_wait_begun(e, &held);
	assert_false(res[0].done || res[NSETS - 1].done);
	assert_true(res[NSETS].done);
	assert_int_equal(res[NSETS].err, -ERR_COUNTS);
	(void)sem_post(&held.go);
	for (size_t i = 0; i < NSETS; i++)
		assert_int_equal(engine_wait(e, &res[i]), -ERR_NOENT);
	res[0] = (struct result){0};
	object_set(e->objs, "none", &edit, engine_info_cb, &res[0]);
	assert_int_equal(engine_wait(e, &res[0]), -ERR_NOENT);
	assert_int_equal(engine_wait(e, &held.res), 0);
	free(res);
}

/* What it waits for, of which a fold is a part, may come when no worker is left. */
static void a_walk_that_has_not_begun_ends_with_the_engine(void **state)
{
	static const char *const specs[] = {"a"};
	struct engine *e = *state;

	assert_int_equal(engine_create(e, "a", 0), 0);
	for (int turns = 0; turns < 40; turns++) {
		struct handle *h = engine_open(e, "a");
		struct usage usage = {0};

		assert_int_equal(engine_write_blk(e, h, (uint64_t)turns, 1), 0);
		assert_int_equal(engine_fsync(e, h), 0);
		assert_int_equal(object_close(h), 0);
		object_usage(e->objs, specs, 1, usage_cb, &usage);
		for (int i = 0; i < turns / 4 && !usage.res.done; i++)
			engine_turn(e);
		crash(e);
		assert_true(usage.res.done);
		assert_true(usage.res.err == 0 || usage.res.err == -ERR_SHUTDOWN);
	}
}

/* ---- the checker ----------------------------------------------------------------------------- */

struct checked {
	struct result res;
	struct object_check check;
};

static void check_cb(void *ctx, int err, const struct object_check *check)
{
	struct checked *c = ctx;

	if (err == 0) {
		c->check = *check;
		for (uint32_t i = 0; i < check->ntexts; i++)
			print_error("difference: %s\n", check->texts[i]);
	}
	engine_done_cb(&c->res, err);
}

static void a_check_finds_all_well(void **state)
{
	struct engine *e = *state;
	struct checked c = {0};

	make(e, "a", 40, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	object_check(e->objs, check_cb, &c);
	assert_int_equal(engine_wait(e, &c.res), 0);
	assert_int_equal(c.check.differences, 0);
	assert_int_equal(c.check.totals.objects, 2);
	assert_int_equal(c.check.totals.versions, 1);
	assert_int_equal(c.check.totals.mapped_nblks, 40);
}

static void a_check_runs_beside_all_other_work(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	unsigned int checks = 0;

	for (uint64_t round = 0; checks < 10; round++) {
		struct checked c = {0};
		struct checked second = {0};

		object_check(e->objs, check_cb, &c);
		object_check(e->objs, check_cb, &second);
		assert_int_equal(engine_wait(e, &second.res), -ERR_CHECKING);
		while (!c.res.done) {
			assert_int_equal(engine_write_blk(e, h, round++ % 50, 1), 0);
			assert_int_equal(engine_fsync(e, h), 0);
			if (round % 5 == 0 && engine_clone(e, "a", "b") != 0)
				assert_int_equal(engine_remove(e, "b"), 0);
		}
		assert_int_equal(c.res.err, 0);
		assert_int_equal(c.check.differences, 0);
		checks++;
	}
	assert_int_equal(object_close(h), 0);
}

/* ---- space ----------------------------------------------------------------------------------- */

static void wait_reaped(struct engine *e)
{
	while (reaping(e) > 0)
		;
}

static void all_space_comes_back(void **state)
{
	struct engine *e = *state;
	uint64_t before = engine_free_nblks(e);
	struct handle *h;

	make(e, "a", 60, 1);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	h = engine_open(e, "b");
	for (uint64_t i = 0; i < 60; i += 3)
		assert_int_equal(engine_write_blk(e, h, i, 2), 0);
	assert_int_equal(engine_fsync(e, h), 0);
	assert_int_equal(object_close(h), 0);
	assert_int_equal(engine_free_nblks(e), before - 80);
	assert_int_equal(engine_remove(e, "b"), 0);
	assert_true(reaping(e) > 0);
	wait_reaped(e);
	assert_int_equal(engine_free_nblks(e), before - 60);
	assert_int_equal(remove_all(e, "a"), 0);
	wait_reaped(e);
	assert_int_equal(engine_free_nblks(e), before);
	assert_int_equal(space_of(e).map.mapped_nblks, 0);
}

static void a_reset_gives_space_back(void **state)
{
	struct engine *e = *state;
	uint64_t before;
	struct handle *h;

	make(e, "a", 30, 1);
	assert_int_equal(snapshot(e, "a@v"), 0);
	wait_reaped(e);
	before = engine_free_nblks(e);
	h = engine_open(e, "a");
	for (uint64_t i = 0; i < 50; i++)
		assert_int_equal(engine_write_blk(e, h, i, 2), 0);
	assert_int_equal(reset(e, "a@v"), 0);
	wait_reaped(e);
	assert_int_equal(engine_free_nblks(e), before);
	assert_int_equal(space_of(e).reserved_nblks, 0);
	assert_int_equal(object_close(h), 0);
}

/* Reaping goes on where a crash has cut it short. */
static void after_a_crash_all_space_comes_back(void **state)
{
	struct engine *e = *state;
	uint64_t before = engine_free_nblks(e);

	make(e, "a", 60, 1);
	assert_int_equal(engine_remove(e, "a"), 0);
	crash(e);
	wait_reaped(e);
	assert_int_equal(engine_free_nblks(e), before);
}

#define TEST(name)	   cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)
#define TEST_TICKING(name) cmocka_unit_test_setup_teardown(name, setup_ticking, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(objects_are_listed_by_label),
	    TEST(labels_survive_a_crash),
	    TEST(a_list_knows_prefix_and_place),
	    TEST(a_list_shows_the_size_of_now),
	    TEST(children_are_those_of_just_this),
	    TEST_TICKING(what_has_expired_goes_with_its_versions),
	    TEST_TICKING(what_is_open_expires_when_it_is_closed),
	    TEST_TICKING(it_expires_after_a_restart_too),
	    TEST_TICKING(the_engine_stops_in_the_middle_of_an_expiry),
	    TEST_TICKING(what_got_an_expired_name_stays),
	    TEST(usage_tells_what_would_become_free),
	    TEST(cold_reads_pass_long_walks),
	    TEST(a_fold_passes_a_long_walk),
	    TEST(walks_that_wait_end_with_the_engine),
	    TEST(usages_that_wait_are_not_too_many),
	    TEST(reservations_that_wait_are_not_too_many),
	    TEST(a_walk_that_has_not_begun_ends_with_the_engine),
	    TEST(a_check_finds_all_well),
	    TEST(a_check_runs_beside_all_other_work),
	    TEST(all_space_comes_back),
	    TEST(a_reset_gives_space_back),
	    TEST(after_a_crash_all_space_comes_back),
	};

	if (cmocka_run_group_tests_name("object store", tests, NULL, NULL) != 0)
		return EXIT_FAILURE;
	engine_map_devices(true);
	return cmocka_run_group_tests_name("object store, mapped", tests, NULL, NULL);
}
