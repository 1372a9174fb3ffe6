/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_group.c: what the model test does to several objects at once, and to what is said of them.
 */
#include <string.h>

#include "tests/integration/model_world.h"
#include "tests/lib/must.h"

#define GROUP_MAX   4u
#define RESERVE_MAX (4u << 20)
#define BLOCK_BYTES 4096u

struct group {
	struct file *files[GROUP_MAX];
	cow_object_t *handles[GROUP_MAX];
	size_t n;
};

/* f and some of those behind it, each once, with handles of one connection. */
static struct group pick_group(struct world *w, struct file *f)
{
	size_t first = (size_t)(f - w->files);
	size_t c = rnd_below(&w->rnd, CONNECTIONS);
	struct group g = {.n = 0};

	for (size_t i = 0; i < OBJECTS && g.n < GROUP_MAX; i++) {
		struct file *other = &w->files[(first + i) % OBJECTS];

		if (!other->live || (g.n > 0 && rnd_one_in(&w->rnd, 3)))
			continue;
		if (!other->handles[c])
			OK(cow_open(w->cow[c], other->name, w->flags[c], &other->handles[c]));
		g.files[g.n] = other;
		g.handles[g.n++] = other->handles[c];
	}
	return g;
}

static struct version *unused_version(struct file *f)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (!f->versions[i].live)
			return &f->versions[i];
	return NULL;
}

/* A version of each that has room for one, all of them in one request. */
static void group_snap(struct world *w, const struct group *g)
{
	struct spec specs[2 * GROUP_MAX];
	const struct cow_attrs attrs = {.ttl_ms = rnd_one_in(&w->rnd, 2) ? TTL_MS : 0};
	struct cow_pair pairs[GROUP_MAX];
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		struct version *v = unused_version(g->files[i]);

		if (!v)
			continue;
		(void)snprintf(v->name, sizeof(v->name), "v%u", w->names++);
		model_copy(&v->model, &g->files[i]->model);
		v->live = true;
		v->mortal = attrs.ttl_ms > 0;
		specs[2 * n] = spec_of(g->files[i], NULL);
		specs[2 * n + 1] = spec_of(g->files[i], v);
		pairs[n] = (struct cow_pair){specs[2 * n].text, specs[2 * n + 1].text};
		n++;
	}
	if (n > 0)
		OK(cow_group_clone(any_cow(w), pairs, n, &attrs));
}

#define GROUP_RANGES 3u /* of one object */

/* Ascending ranges of one object, somewhere in what it has or a little behind. */
static size_t group_ranges(struct world *w, const struct file *f, struct cow_range *ranges)
{
	size_t n = 1 + rnd_below(&w->rnd, GROUP_RANGES);
	uint64_t span = f->model.size < WINDOW_MAX ? f->model.size : WINDOW_MAX;
	uint64_t at = rnd_below(&w->rnd, span + 1);

	if (rnd_one_in(&w->rnd, 3))
		at -= at % 4096;
	for (size_t i = 0; i < n; i++) {
		ranges[i].len = 1 + rnd_log(&w->rnd, WRITE_MAX / (GROUP_MAX * GROUP_RANGES) - 1);
		ranges[i].offset = at;
		ranges[i].buf = w->data + rnd_below(&w->rnd, WRITE_MAX - ranges[i].len);
		at += ranges[i].len + (rnd_one_in(&w->rnd, 2) ? rnd_log(&w->rnd, 100000) : 0);
	}
	return n;
}

static uint64_t generation_of(struct world *w, const struct file *f)
{
	struct cow_info info;
	uint64_t generation;

	OK(cow_get_info(any_cow(w), f->name, &info));
	generation = info.generation;
	cow_info_clear(&info);
	return generation;
}

/* One write to all of them, some at the generation that they have; then one that must not be made,
 * because one of them has another. */
static void group_write(struct world *w, const struct group *g)
{
	struct cow_range ranges[GROUP_MAX][GROUP_RANGES];
	struct cow_write writes[GROUP_MAX];
	uint64_t old[GROUP_MAX];
	size_t other = rnd_below(&w->rnd, g->n);

	for (size_t i = 0; i < g->n; i++) {
		old[i] = generation_of(w, g->files[i]);
		writes[i] = (struct cow_write){
		    .obj = g->handles[i],
		    .ranges = ranges[i],
		    .count = group_ranges(w, g->files[i], ranges[i]),
		    .if_generation = rnd_one_in(&w->rnd, 2) ? &old[i] : NULL,
		};
	}
	OK(cow_write_all(writes, g->n));
	for (size_t i = 0; i < g->n; i++) {
		MUST(writes[i].generation > old[i], "%s", g->files[i]->name);
		for (size_t k = 0; k < writes[i].count; k++)
			model_write(&g->files[i]->model, ranges[i][k].offset, ranges[i][k].buf,
				    ranges[i][k].len);
		for (size_t k = 0; k < writes[i].count; k++)
			ranges[i][k].buf = w->data;
		writes[i].if_generation = NULL;
	}
	writes[other].if_generation = &old[other];
	MUST(cow_write_all(writes, g->n) == -COW_ECHANGED, "%s", g->files[other]->name);
}

void world_group(struct world *w, struct file *f)
{
	struct group g = pick_group(w, f);

	switch (rnd_below(&w->rnd, 5)) {
	case 0:
		OK(cow_group_fsync(g.handles, g.n));
		break;
	case 1:
		OK(cow_group_tie(g.handles, g.n));
		break;
	case 2:
		group_snap(w, &g);
		break;
	default:
		group_write(w, &g);
		break;
	}
}

/* Space for it, as much as there is always beside what is done here; and then more than there can be. */
static void set_reserved(struct world *w, struct file *f)
{
	cow_t *cow = any_cow(w);
	uint64_t bytes = rnd_one_in(&w->rnd, 4) ? 0 : rnd_log(&w->rnd, RESERVE_MAX);

	OK(cow_set_reserved(cow, f->name, bytes));
	f->reserved = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	MUST(cow_set_reserved(cow, f->name, UINT64_C(1) << 50) == -COW_ENOSPC, "%s", f->name);
}

/* A label that says how often, and now and then no writes for a moment. */
void world_set(struct world *w, struct file *f)
{
	cow_t *cow = any_cow(w);

	if (rnd_one_in(&w->rnd, 2)) {
		set_reserved(w, f);
		return;
	}
	(void)snprintf(f->label, sizeof(f->label), "%u", w->names++);
	OK(cow_set_label(cow, f->name, "times", f->label));
	if (!rnd_one_in(&w->rnd, 4))
		return;
	OK(cow_set_readonly(cow, f->name, 1));
	for (size_t c = 0; c < CONNECTIONS; c++)
		if (f->handles[c])
			MUST(cow_pwrite(f->handles[c], "x", 1, 0) == -COW_EPERM, "%s", f->name);
	OK(cow_set_readonly(cow, f->name, 0));
}
