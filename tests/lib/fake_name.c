/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_name.c: what the engine in memory does to objects and versions by name.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/label.h"
#include "common/name.h"
#include "server/blk.h"
#include "tests/lib/fake_priv.h"

#define NS_PER_MS UINT64_C(1000000)

struct fake *fake_find(const struct objects *objs, const char *spec)
{
	struct fake *f;

	TAILQ_FOREACH (f, &objs->fakes, link)
		if (strcmp(f->info.name, spec) == 0)
			return f;
	return NULL;
}

/* The object of which spec names a version; NULL: it names none, or there is no such object. */
static struct fake *fake_find_parent(const struct objects *objs, const char *spec)
{
	char name[NAME_MAX_BYTES + 1];
	size_t len = strcspn(spec, "@");

	if (spec[len] != '@')
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)len, spec);
	return fake_find(objs, name);
}

static bool fake_is_version_of(const struct fake *f, const struct fake *parent)
{
	return f->info.parent != 0 && f->info.parent == parent->info.id;
}

int fake_resize(struct fake *f, uint64_t size)
{
	uint8_t *data;

	if (size > f->size_max)
		return -ERR_TOO_LARGE;
	data = realloc(f->data, size ? size : 1);
	assert(data);
	if (size > f->info.size_bytes)
		memset(data + f->info.size_bytes, 0, size - f->info.size_bytes);
	f->data = data;
	f->info.size_bytes = size;
	return 0;
}

void fake_free(struct objects *objs, struct fake *f)
{
	TAILQ_REMOVE(&objs->fakes, f, link);
	free(f->data);
	free(f);
}

/* Puts it where its name belongs. */
static void fake_insert(struct objects *objs, struct fake *f)
{
	struct fake *next;

	TAILQ_FOREACH (next, &objs->fakes, link)
		if (strcmp(next->info.name, f->info.name) > 0)
			break;
	if (next)
		TAILQ_INSERT_BEFORE(next, f, link);
	else
		TAILQ_INSERT_TAIL(&objs->fakes, f, link);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void fake_set_attrs(struct fake *f, const struct object_attrs *attrs)
{
	if (!attrs)
		return;
	f->info.expires_ns = attrs->ttl_ms * NS_PER_MS;
	f->info.reserved_nblks = attrs->reserved_nblks;
	f->info.labels_len = attrs->labels_len;
	if (attrs->labels_len > 0)
		memcpy(f->info.labels, attrs->labels, attrs->labels_len);
}

static int fake_make(struct objects *objs, const char *spec, uint64_t size,
		     const struct object_attrs *attrs, struct fake **out)
{
	struct fake *f;
	int err = fake_failure(objs);

	if (err == 0 && fake_find(objs, spec))
		err = -ERR_EXIST;
	if (err < 0)
		return err;
	f = calloc(1, sizeof(*f));
	assert(f);
	f->size_max = objs->size_max;
	f->info.id = ++objs->next_id;
	snprintf(f->info.name, sizeof(f->info.name), "%s", spec);
	err = fake_resize(f, size);
	if (err < 0) {
		free(f);
		return err;
	}
	fake_set_attrs(f, attrs);
	fake_insert(objs, f);
	*out = f;
	return 0;
}

static int fake_copy(struct objects *objs, const struct fake *from, const char *spec,
		     const struct object_attrs *attrs, struct fake **out)
{
	int err = fake_make(objs, spec, from->info.size_bytes, attrs, out);

	if (err == 0) {
		memcpy((*out)->data, from->data, from->info.size_bytes);
		(*out)->info.origin = from->info.id;
	}
	return err;
}

void object_create(struct objects *objs, const char *name, uint64_t size_bytes,
		   const struct object_attrs *attrs, object_info_cb cb, void *ctx)
{
	struct fake *f = NULL;
	int err = name_check(name);

	if (err == 0)
		err = fake_make(objs, name, size_bytes, attrs, &f);
	fake_answer_info(objs, cb, ctx, err, f);
}

void object_clone(struct objects *objs, const char *src, const char *dst,
		  const struct object_attrs *attrs, object_info_cb cb, void *ctx)
{
	const struct fake *from = fake_find(objs, src);
	struct fake *parent = strchr(dst, '@') ? fake_find_parent(objs, dst) : NULL;
	struct fake *f = NULL;
	int err = name_spec_problem(dst) ? -ERR_BAD_NAME : 0;

	if (err == 0 && from && strchr(dst, '@') && !parent)
		err = -ERR_NO_PARENT;
	if (err == 0)
		err = from ? fake_copy(objs, from, dst, attrs, &f) : -ERR_NOENT;
	if (err == 0 && parent) {
		f->info.parent = parent->info.id;
		parent->info.nversions++;
	}
	fake_answer_info(objs, cb, ctx, err, f);
}

void object_snapshot(struct objects *objs, const char *spec, const struct object_attrs *attrs,
		     object_info_cb cb, void *ctx)
{
	struct fake *parent = fake_find_parent(objs, spec);
	struct fake *f = NULL;
	int err = name_spec_problem(spec) ? -ERR_BAD_NAME : 0;

	if (err == 0 && !strchr(spec, '@'))
		err = -ERR_INVAL;
	if (err == 0)
		err = parent ? fake_copy(objs, parent, spec, attrs, &f) : -ERR_NOENT;
	if (err == 0) {
		f->info.parent = parent->info.id;
		parent->info.nversions++;
	}
	fake_answer_info(objs, cb, ctx, err, f);
}

static int fake_check_pair(struct objects *objs, const struct object_pair *pair)
{
	size_t len = strlen(pair->src);
	bool version = strchr(pair->dst, '@') != NULL;

	if (name_spec_problem(pair->src) || name_spec_problem(pair->dst))
		return -ERR_BAD_NAME;
	if (version && (strncmp(pair->src, pair->dst, len) != 0 || pair->dst[len] != '@'))
		return -ERR_INVAL;
	if (!fake_find(objs, pair->src))
		return -ERR_NOENT;
	return fake_find(objs, pair->dst) ? -ERR_EXIST : 0;
}

/* Of pairs that do not name each other's. */
void object_clone_all(struct objects *objs, const struct object_pair *pairs, uint32_t n,
		      const struct object_attrs *attrs, object_pairs_cb cb, void *ctx)
{
	int err = fake_failure(objs);
	uint32_t at = err < 0 ? n : 0;

	while (at < n && err == 0) {
		err = fake_check_pair(objs, &pairs[at]);
		at += err == 0;
	}
	for (uint32_t i = 0; i < n && err == 0; i++) {
		struct fake *from = fake_find(objs, pairs[i].src);
		struct fake *f;

		err = fake_copy(objs, from, pairs[i].dst, attrs, &f);
		assert(err == 0);
		f->info.parent = strchr(pairs[i].dst, '@') ? from->info.id : 0;
		from->info.nversions += f->info.parent != 0;
	}
	fake_answer_pairs(objs, cb, ctx, err, at);
}

/* ---- changing -------------------------------------------------------------------------------- */

static void fake_set_name(struct objects *objs, struct fake *f, const char *spec)
{
	TAILQ_REMOVE(&objs->fakes, f, link);
	snprintf(f->info.name, sizeof(f->info.name), "%s", spec);
	fake_insert(objs, f);
}

/* Only between objects without versions, or between versions: enough for tests of what is above. */
void object_rename(struct objects *objs, const char *from, const char *to, bool exchange,
		   object_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, from);
	struct fake *g = fake_find(objs, to);
	char name[NAME_MAX_BYTES + 1];
	int err = fake_failure(objs);

	if (err == 0 && (name_spec_problem(from) || name_spec_problem(to)))
		err = -ERR_BAD_NAME;
	if (err == 0 && strcmp(from, to) == 0)
		err = -ERR_SAME_NAME;
	if (err == 0 && fake_find_parent(objs, from) != fake_find_parent(objs, to))
		err = -ERR_INVAL;
	if (err == 0 && (!f || (exchange && !g)))
		err = -ERR_NOENT;
	if (err == 0 && g && !exchange)
		err = -ERR_EXIST;
	if (err == 0) {
		assert(f->info.nversions == 0);
		memcpy(name, f->info.name, sizeof(name));
		fake_set_name(objs, f, to);
		if (g)
			fake_set_name(objs, g, name);
	}
	fake_answer(objs, cb, ctx, err);
}

void object_reset(struct objects *objs, const char *spec, object_info_cb cb, void *ctx)
{
	const struct fake *version = fake_find(objs, spec);
	struct fake *f = fake_find_parent(objs, spec);
	int err = strchr(spec, '@') ? fake_failure(objs) : -ERR_INVAL;

	if (err == 0 && !version)
		err = -ERR_NOENT;
	if (err == 0)
		err = fake_resize(f, version->info.size_bytes);
	if (err == 0)
		memcpy(f->data, version->data, version->info.size_bytes);
	fake_answer_info(objs, cb, ctx, err, f);
}

#define FAKE_RESERVED_MAX 1000u /* there are no more */

static int fake_set(struct fake *f, const struct object_edit *edit)
{
	char labels[LABELS_MAX_BYTES];
	size_t len;
	int err;

	if (f->info.parent && (edit->set_readonly || edit->set_reserved))
		return -ERR_PERM;
	if (edit->set_reserved && edit->reserved_nblks > FAKE_RESERVED_MAX)
		return -ERR_NOSPC;
	if (!label_hold(f->info.labels, f->info.labels_len, edit->expected, edit->expected_len))
		return -ERR_LABELS_OTHER;
	err = label_edit(f->info.labels, edit->replace ? 0 : f->info.labels_len, edit->edits,
			 edit->edits_len, labels, &len);
	if (err < 0)
		return err;
	memcpy(f->info.labels, labels, len);
	f->info.labels_len = (uint32_t)len;
	if (edit->set_ttl)
		f->info.expires_ns = edit->ttl_ms * NS_PER_MS;
	if (edit->set_readonly)
		f->info.readonly = edit->readonly;
	if (edit->set_reserved)
		f->info.reserved_nblks = edit->reserved_nblks;
	return 0;
}

void object_set(struct objects *objs, const char *spec, const struct object_edit *edit,
		object_info_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, spec);
	int err = f ? fake_failure(objs) : -ERR_NOENT;

	if (err == 0)
		err = fake_set(f, edit);
	fake_answer_info(objs, cb, ctx, err, f);
}

static void fake_remove(struct objects *objs, struct fake *f)
{
	struct fake *other;
	struct fake *next;

	TAILQ_FOREACH_SAFE (other, &objs->fakes, link, next) {
		if (fake_is_version_of(other, f))
			fake_free(objs, other);
		else if (fake_is_version_of(f, other))
			other->info.nversions--;
	}
	fake_free(objs, f);
}

void object_remove(struct objects *objs, const char *spec, bool versions, object_cb cb, void *ctx)
{
	struct fake *f = fake_find(objs, spec);
	const char *held;
	int err = f ? fake_failure(objs) : -ERR_NOENT;

	if (err == 0 && object_holder(objs, spec, &held))
		err = -ERR_BUSY;
	if (err == 0 && f->info.nversions > 0 && !versions)
		err = -ERR_HAS_VERSIONS;
	if (err == 0)
		fake_remove(objs, f);
	fake_answer(objs, cb, ctx, err);
}

/* ---- looking --------------------------------------------------------------------------------- */

void object_info(struct objects *objs, const char *spec, object_info_cb cb, void *ctx)
{
	const struct fake *f = fake_find(objs, spec);

	fake_answer_info(objs, cb, ctx, f ? fake_failure(objs) : -ERR_NOENT, f);
}

/* What a list is to hold. */
struct wanted {
	const char *prefix;
	const char *after;
	const char *label;
	const struct fake *parent; /* versions of it, else objects */
	uint64_t origin;	   /* or 0 */
	uint64_t after_id;
};

static bool is_wanted(const struct wanted *w, const struct map_obj *info)
{
	if (w->parent) {
		const char *version = strchr(info->name, '@');

		return info->parent == w->parent->info.id && strcmp(version + 1, w->after) > 0;
	}
	if (info->parent != 0)
		return false;
	if (w->origin != 0)
		return info->origin == w->origin && info->id > w->after_id;
	return strncmp(info->name, w->prefix, strlen(w->prefix)) == 0 &&
	       strcmp(info->name, w->after) > 0 &&
	       (w->label[0] == '\0' || label_match(info->labels, info->labels_len, w->label));
}

static int order_of_ids(const void *a, const void *b)
{
	const struct map_obj *one = a;
	const struct map_obj *other = b;

	return (one->id > other->id) - (one->id < other->id);
}

static void fire_list(struct due *due)
{
	due->cb.list(due->ctx, due->err, due->list, due->at, due->more);
	free(due->list);
}

static void fake_list(struct objects *objs, const struct wanted *w, uint32_t max, object_list_cb cb,
		      void *ctx)
{
	struct map_obj *found = NULL;
	const struct fake *f;
	struct due *due;
	uint32_t n = 0;

	TAILQ_FOREACH (f, &objs->fakes, link) {
		if (!is_wanted(w, &f->info))
			continue;
		found = realloc(found, (n + 1) * sizeof(*found));
		assert(found);
		found[n++] = f->info;
	}
	if (w->origin != 0 && n > 0)
		qsort(found, n, sizeof(*found), order_of_ids);
	due = due_new(fire_list, fake_failure(objs), ctx);
	due->cb.list = cb;
	due->list = found;
	due->at = n < max ? n : max;
	due->more = n > max;
	due_run(objs, due);
}

void object_list(struct objects *objs, const char *prefix, const char *after, const char *label,
		 uint32_t max, object_list_cb cb, void *ctx)
{
	struct wanted w = {.prefix = prefix, .after = after, .label = label};

	fake_list(objs, &w, max, cb, ctx);
}

void object_versions(struct objects *objs, const char *name, const char *after, uint32_t max,
		     object_list_cb cb, void *ctx)
{
	struct wanted w = {.parent = fake_find(objs, name), .after = after};

	if (w.parent)
		fake_list(objs, &w, max, cb, ctx);
	else
		cb(ctx, -ERR_NOENT, NULL, 0, false);
}

void object_children(struct objects *objs, const char *spec, uint64_t after, uint32_t max,
		     object_list_cb cb, void *ctx)
{
	const struct fake *f = fake_find(objs, spec);
	struct wanted w = {.origin = f ? f->info.id : 0, .after_id = after};

	if (f)
		fake_list(objs, &w, max, cb, ctx);
	else
		cb(ctx, -ERR_NOENT, NULL, 0, false);
}

const char *object_holder(struct objects *objs, const char *spec, const char **held)
{
	const struct fake *f = fake_find(objs, spec);
	const struct handle *h;

	LIST_FOREACH (h, &objs->handles, link) {
		if (f && (h->fake == f || fake_is_version_of(h->fake, f))) {
			*held = h->fake->info.name;
			return h->holder;
		}
	}
	return NULL;
}

/* ---- the store as a whole -------------------------------------------------------------------- */

void object_statfs(struct objects *objs, object_space_cb cb, void *ctx)
{
	struct object_space space = {
	    .total_nblks = 1000,
	    .free_nblks = 900,
	    .reserved_nblks = 7,
	    .withheld_nblks = 5,
	    .kept_nblks = 3,
	    .staged_bytes = 11,
	    .journal_bytes = 12,
	    .journal_used_bytes = 13,
	    .map = {.objects = objs->next_id, .versions = 14, .reap_nblks = 15},
	};

	cb(ctx, fake_failure(objs), &space);
}

/* Every block of an object is mapped, and every fourth its own. */
void object_usage(struct objects *objs, const char *const *specs, uint32_t n, object_usage_cb cb,
		  void *ctx)
{
	struct object_usage usage = {0};
	int err = fake_failure(objs);

	for (uint32_t i = 0; i < n && err == 0; i++) {
		const struct fake *f = fake_find(objs, specs[i]);

		if (f)
			usage.mapped_nblks += f->info.size_bytes / BLK_BYTES;
		else
			err = -ERR_NOENT;
	}
	usage.exclusive_nblks = usage.mapped_nblks / 4;
	cb(ctx, err, err < 0 ? NULL : &usage);
}

void object_reaping(struct objects *objs, object_reaping_cb cb, void *ctx)
{
	cb(ctx, fake_failure(objs), 15);
}

void object_check(struct objects *objs, object_check_cb cb, void *ctx)
{
	static char texts[OBJECT_CHECK_TEXTS_MAX][OBJECT_CHECK_TEXT_BYTES];
	struct object_check check = {
	    .totals = {.objects = 1,
		       .versions = 6,
		       .nodes = 2,
		       .mapped_nblks = 3,
		       .shared_nblks = 4,
		       .free_nblks = 5},
	    .differences = 100,
	    .ntexts = OBJECT_CHECK_TEXTS_MAX,
	    .texts = texts,
	};
	int err = fake_failure(objs);

	snprintf(texts[0], sizeof(texts[0]), "node 7: count 2,\x1b found 3");
	memset(texts[OBJECT_CHECK_TEXTS_MAX - 1], 'x', OBJECT_CHECK_TEXT_BYTES - 1);
	cb(ctx, err, err < 0 ? NULL : &check);
}
