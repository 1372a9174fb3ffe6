/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/model_world.h"

#include <string.h>

#include "tests/lib/ctl.h"

void world_close_handles(struct world *w, struct file *f)
{
	for (size_t c = 0; c < CONNECTIONS; c++) {
		if (f->handles[c])
			OK(cow_close(f->handles[c]));
		f->handles[c] = NULL;
	}
}

void world_forget(struct file *f)
{
	model_fini(&f->model);
	for (size_t i = 0; i < VERSIONS; i++) {
		model_fini(&f->versions[i].model);
		f->versions[i].live = false;
	}
	f->label[0] = '\0';
	f->reserved = 0;
	f->live = false;
}

void world_compare_info(struct world *w, struct file *f)
{
	struct cow_info info;

	OK(cow_get_info(any_cow(w), f->name, &info));
	MUST(info.size == f->model.size && strcmp(info.name, f->name) == 0, "%s", f->name);
	MUST(info.nlabels == (f->label[0] != '\0') && !info.readonly, "attributes of %s", f->name);
	MUST(info.nlabels == 0 || strcmp(info.labels[0].value, f->label) == 0, "%s", f->name);
	MUST(info.reserved == f->reserved && info.withheld <= f->reserved,
	     "%s has reserved %" PRIu64 ", and withheld %" PRIu64, f->name, info.reserved,
	     info.withheld);
	cow_info_clear(&info);
}

/* ---- restarts -------------------------------------------------------------------------------- */

void world_connect(struct world *w)
{
	for (size_t c = 0; c < CONNECTIONS; c++)
		w->cow[c] = daemon_connect(&w->d, w->kinds[c]);
}

void world_disconnect(struct world *w)
{
	for (size_t i = 0; i < OBJECTS; i++)
		world_close_handles(w, &w->files[i]);
	for (size_t c = 0; c < CONNECTIONS; c++)
		cow_free(w->cow[c]);
}

/*
 * All that is there by "cowctl cat", and of a sparse object each window and the holes' edges.  That is a
 * process each: of all objects and versions, or a share of them where the operations are a share.
 */
static void compare_content(struct world *w, const char *name, const struct model *model)
{
	const char *uri = w->d.uri[w->kinds[0]];
	uint64_t off = 0, len = 0;

	if (!rnd_one_in(&w->rnd, rnd_share()))
		return;
	if (model->size <= DENSE_MAX + WRITE_MAX) {
		ctl_compare(uri, name, model, 0, model->size);
		return;
	}
	while (model_next_run(model, &off, &len)) {
		ctl_compare(uri, name, model, off, len + 5000);
		off += len;
	}
	ctl_compare(uri, name, model, model->size - 1, 2);
}

/* Its time to live is that which it was made with, through all that its object went through. */
static void compare_version(struct world *w, const struct file *f, const struct version *v)
{
	struct spec spec = spec_of(f, v);
	struct cow_info info;

	compare_content(w, spec.text, &v->model);
	OK(cow_get_info(any_cow(w), spec.text, &info));
	MUST((info.expires_ns > 0) == v->mortal, "%s expires at %llu", spec.text,
	     (unsigned long long)info.expires_ns);
	cow_info_clear(&info);
}

static void compare_file(struct world *w, struct file *f)
{
	struct cow_info *infos;
	size_t count, live = 0;

	world_compare_info(w, f);
	compare_content(w, f->name, &f->model);
	OK(cow_list_versions(w->cow[0], f->name, &infos, &count));
	for (size_t i = 0; i < VERSIONS; i++) {
		const struct version *v = &f->versions[i];

		if (!v->live)
			continue;
		live++;
		compare_version(w, f, v);
	}
	MUST(count == live, "%s has %zu versions, not %zu", f->name, count, live);
	cow_list_free(infos, count);
}

static void compare_all(struct world *w)
{
	struct cow_info *infos;
	size_t count, live = 0;

	OK(cow_list(w->cow[0], "dir/", &infos, &count));
	for (size_t i = 0; i < OBJECTS; i++) {
		if (!w->files[i].live)
			continue;
		live++;
		compare_file(w, &w->files[i]);
	}
	MUST(count == live, "%zu objects, not %zu", count, live);
	cow_list_free(infos, count);
}

void world_restart(struct world *w)
{
	world_disconnect(w);
	daemon_stop(&w->d);
	daemon_check(&w->d);
	if (w->remaps)
		w->d.config.device = w->d.config.device[0] ? "" : "dax:";
	daemon_start(&w->d);
	world_connect(w);
	compare_all(w);
}

/* What was removed is free again in the end: all but what the store had when it was new. */
void world_remove_all(struct world *w, uint64_t free_bytes)
{
	struct cow_statfs st = {.free = 0};

	for (size_t i = 0; i < OBJECTS; i++) {
		struct file *f = &w->files[i];

		if (!f->live)
			continue;
		world_close_handles(w, f);
		OK(cow_remove_with(w->cow[0], f->name, COW_REMOVE_VERSIONS));
		world_forget(f);
	}
	while (st.free != free_bytes)
		OK(cow_get_statfs(w->cow[0], &st));
	MUST(st.objects == 0 && st.mapped == 0, "something is left");
}
