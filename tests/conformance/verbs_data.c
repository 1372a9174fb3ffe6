/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verbs_data.c: operations on open objects.
 */
#include "tests/conformance/verbs_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

#define EXTENTS_MAX 64u
#define RANGES_MAX  64u
#define READ_MAX    (64u << 20)

/* ---- open objects ---------------------------------------------------------------------------- */

int verbs_call_open(struct verbs_run *run, unsigned int number, struct verbs_args *a,
		    struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"readonly", COW_OPEN_READONLY},
						  {"direct", COW_OPEN_DIRECT},
						  {"fixed", COW_OPEN_FIXED},
						  {NULL, 0}};
	struct verbs_handle h = {.conn = number};
	cow_t *cow = verbs_conn(run, number);
	int code = (int)VERBS_CALL(cow, cow_open, cow_aio_open, cow, verbs_text(a, "name"),
				   verbs_flags(a, known), &h.obj);

	MUST(strlen(verbs_text(a, "as")) < sizeof(h.name), "a long name");
	memcpy(h.name, verbs_text(a, "as"), strlen(verbs_text(a, "as")));
	if (code < 0)
		return code;
	run->handles = realloc(run->handles, (run->nhandles + 1) * sizeof(h));
	MUST(run->handles, "out of memory");
	run->handles[run->nhandles++] = h;
	verbs_has_number(r, "size_bytes", cow_object_size(h.obj));
	return 0;
}

int verbs_call_close(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	(void)cow;
	(void)r;
	return verbs_handle_close(run, verbs_handle_find(run, a, "handle"));
}

static const struct verbs_flag io_flags[] = {{"direct", COW_IO_DIRECT}, {NULL, 0}};

int verbs_call_read(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	uint64_t len = verbs_number(a, "len");
	struct verbs_value *v;
	char *buf = malloc(len + 1);
	ssize_t n;

	MUST(len <= READ_MAX && buf, "%llu bytes", (unsigned long long)len);
	n = VERBS_CALL(cow, cow_pread_with, cow_aio_pread_with, verbs_object(run, a), buf, len,
		       verbs_number(a, "offset"), verbs_flags(a, io_flags));
	if (n < 0) {
		free(buf);
		return (int)n;
	}
	v = verbs_value_add(r, "data", VERBS_DATA);
	v->text = buf;
	v->number = (uint64_t)n;
	verbs_has_number(r, "len", (uint64_t)n);
	return 0;
}

int verbs_call_write(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	size_t len;
	uint8_t *data = script_data(a->vars, verbs_text(a, "data"), &len);
	ssize_t n = VERBS_CALL(cow, cow_pwrite_with, cow_aio_pwrite_with, verbs_object(run, a),
			       data, len, verbs_number(a, "offset"), verbs_flags(a, io_flags));

	(void)r;
	free(data);
	MUST(n < 0 || (size_t)n == len, "a part was written");
	return n < 0 ? (int)n : 0;
}

int verbs_call_fsync(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	(void)r;
	return (int)VERBS_CALL(cow, cow_fsync, cow_aio_fsync, verbs_object(run, a));
}

int verbs_call_resize(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"shrink", COW_RESIZE_SHRINK}, {NULL, 0}};

	(void)r;
	return (int)VERBS_CALL(cow, cow_resize, cow_aio_resize, verbs_object(run, a),
			       verbs_number(a, "size_bytes"), verbs_flags(a, known));
}

int verbs_call_zero(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"blocks", 1}, {NULL, 0}};
	uint64_t off = verbs_number(a, "offset"), len = verbs_number(a, "len");

	(void)r;
	if (verbs_flags(a, known))
		return (int)VERBS_CALL(cow, cow_trim, cow_aio_trim, verbs_object(run, a), off, len);
	return (int)VERBS_CALL(cow, cow_zero, cow_aio_zero, verbs_object(run, a), off, len);
}

int verbs_call_clone_range(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			   struct verbs_result *r)
{
	cow_object_t *src = verbs_handle_find(run, a, "src")->obj,
		     *dst = verbs_handle_find(run, a, "dst")->obj;
	uint64_t off = verbs_number(a, "src_offset"), len = verbs_number(a, "len");
	int code = (int)VERBS_CALL(cow, cow_clone_range, cow_aio_clone_range, src, off, len, dst,
				   verbs_number(a, "dst_offset"));

	/* libcow asks until all is cloned, or fails */
	verbs_has_number(r, "len", len ? len : cow_object_size(src) - off);
	return code;
}

int verbs_call_unshare(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r)
{
	cow_object_t *obj = verbs_object(run, a);
	uint64_t off = verbs_number(a, "offset"), len = verbs_number(a, "len");
	uint64_t copied = 0;
	int code = (int)VERBS_CALL(cow, cow_unshare, cow_aio_unshare, obj, off, len, &copied);

	verbs_has_number(r, "copied", copied);
	return code;
}

#define DAMAGES_MAX 8u

struct verified {
	struct cow_verified sum; /* of all calls; len is the last one's */
	char text[512];
	size_t text_len;
	uint64_t physical; /* of the first damage */
	uint64_t count;
};

static void verified_add(struct verified *v, const struct cow_damage *damages, ssize_t n,
			 const struct cow_verified *one)
{
	static const char *const kinds[] = {"", "checksum", "read", "metadata"};

	for (ssize_t i = 0; i < n; i++) {
		int len =
		    snprintf(v->text + v->text_len, sizeof(v->text) - v->text_len, "%s%llu:%llu:%s",
			     v->text_len ? "," : "", (unsigned long long)damages[i].offset,
			     (unsigned long long)damages[i].len, kinds[damages[i].kind]);

		MUST(len > 0 && (size_t)len < sizeof(v->text) - v->text_len, "many damages");
		v->text_len += (size_t)len;
		if (v->count++ == 0)
			v->physical = damages[i].physical;
	}
	v->sum.len += one->len;
	v->sum.read += one->read;
	v->sum.pending += one->pending;
}

/* Asks until all is done. */
int verbs_call_verify(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	cow_object_t *obj = verbs_object(run, a);
	uint64_t off = verbs_number(a, "offset"), len = verbs_number(a, "len");
	uint64_t older = verbs_number(a, "older"), rate = verbs_number(a, "rate");
	uint64_t max = verbs_number(a, "max");
	struct cow_damage damages[DAMAGES_MAX];
	struct cow_verified one = {.left = 1};
	struct verified v = {.count = 0};

	while (one.left > 0) {
		ssize_t n = VERBS_CALL(cow, cow_verify, cow_aio_verify, obj, older, off, len, rate,
				       damages, max ? max : DAMAGES_MAX, &one);

		if (n < 0)
			return (int)n;
		verified_add(&v, damages, n, &one);
		off += one.len;
		len = one.left;
	}
	verbs_has_number(r, "len", v.sum.len);
	verbs_has_number(r, "read", v.sum.read);
	verbs_has_number(r, "pending", v.sum.pending);
	verbs_has_number(r, "physical", v.physical);
	verbs_has_number(r, "count", v.count);
	verbs_has_text(r, "damages", v.text);
	return 0;
}

/* ---- several ranges -------------------------------------------------------------------------- */

struct ranges {
	struct cow_range v[RANGES_MAX];
	size_t n;
	uint64_t sum;
};

/* OFFSET:LENGTH between commas; where their bytes are follows. */
static void ranges_get(struct verbs_args *a, struct ranges *ranges)
{
	char *text = strdup(verbs_text(a, "ranges"));
	char *save = NULL;

	MUST(text, "out of memory");
	ranges->n = 0;
	ranges->sum = 0;
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(p, ':');
		struct cow_range *range = &ranges->v[ranges->n++];

		MUST(colon && ranges->n < RANGES_MAX, "ranges");
		*colon = '\0';
		range->offset = script_number(a->vars, p);
		range->len = script_number(a->vars, colon + 1);
		ranges->sum += range->len;
	}
	free(text);
}

static void ranges_place(struct ranges *ranges, uint8_t *at)
{
	for (size_t i = 0; i < ranges->n; i++) {
		ranges->v[i].buf = at;
		at += ranges->v[i].len;
	}
}

/* The bytes that each range got, pushed together. */
static uint64_t ranges_squeeze(const struct ranges *ranges, const size_t *got, char *buf)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ranges->n; i++) {
		memmove(buf + n, ranges->v[i].buf, got[i]);
		n += got[i];
	}
	return n;
}

int verbs_call_readv(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	struct ranges ranges;
	size_t got[RANGES_MAX];
	struct verbs_value *v;
	char *buf;
	ssize_t n;

	ranges_get(a, &ranges);
	buf = malloc(ranges.sum + 1);
	MUST(buf && ranges.sum <= READ_MAX, "%llu bytes", (unsigned long long)ranges.sum);
	ranges_place(&ranges, (uint8_t *)buf);
	n = VERBS_CALL(cow, cow_readv, cow_aio_readv, verbs_object(run, a), ranges.v, ranges.n,
		       got);
	v = verbs_value_add(r, "data", VERBS_DATA);
	v->text = buf;
	if (n < 0)
		return (int)n;
	v->number = ranges_squeeze(&ranges, got, buf);
	MUST(v->number == (uint64_t)n, "another sum");
	verbs_has_number(r, "len", v->number);
	verbs_has_list(r, "lens", got, ranges.n);
	return 0;
}

/* The generation that the words name with flags=at, or NULL. */
static const uint64_t *condition(struct verbs_args *a, uint64_t *generation)
{
	static const struct verbs_flag known[] = {{"at", 1}, {NULL, 0}};

	*generation = verbs_number(a, "generation");
	return verbs_flags(a, known) ? generation : NULL;
}

int verbs_call_writev(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	uint64_t generation, now = 0;
	const uint64_t *only = condition(a, &generation);
	struct ranges ranges;
	uint8_t *data;
	size_t len;
	int code;

	ranges_get(a, &ranges);
	data = script_data(a->vars, verbs_text(a, "data"), &len);
	MUST(len == ranges.sum, "%zu bytes for %llu", len, (unsigned long long)ranges.sum);
	ranges_place(&ranges, data);
	code = (int)VERBS_CALL(cow, cow_writev, cow_aio_writev, verbs_object(run, a), ranges.v,
			       ranges.n, only, &now);
	free(data);
	verbs_has_number(r, "generation", now);
	return code;
}

/* HANDLE:OFFSET:LENGTH, perhaps with a GENERATION behind it, between commas; ranges of one handle that
 * follow each other are of one write. */
struct writes {
	struct cow_write v[RANGES_MAX];
	uint64_t only[RANGES_MAX];
	struct ranges ranges;
	size_t n;
};

static void writes_add(struct verbs_run *run, struct verbs_args *a, char *text, struct writes *w)
{
	char *save = NULL;
	cow_object_t *obj = verbs_handle_named(run, strtok_r(text, ":", &save))->obj;
	struct cow_range *range = &w->ranges.v[w->ranges.n++];
	const char *only;

	MUST(w->ranges.n < RANGES_MAX, "writes");
	range->offset = script_number(a->vars, strtok_r(NULL, ":", &save));
	range->len = script_number(a->vars, strtok_r(NULL, ":", &save));
	w->ranges.sum += range->len;
	only = strtok_r(NULL, ":", &save);
	if (w->n == 0 || w->v[w->n - 1].obj != obj)
		w->v[w->n++] = (struct cow_write){.obj = obj, .ranges = range};
	w->v[w->n - 1].count++;
	if (!only)
		return;
	w->only[w->n - 1] = script_number(a->vars, only);
	w->v[w->n - 1].if_generation = &w->only[w->n - 1];
}

int verbs_call_write_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r)
{
	static const char *const keys[] = {"generation0", "generation1", "generation2"};
	char *copy, *v[VERBS_ITEMS_MAX];
	size_t n = verbs_items(a, "writes", &copy, v), len;
	struct writes w = {.n = 0};
	uint8_t *data;
	int code;

	(void)cow;
	for (size_t i = 0; i < n; i++)
		writes_add(run, a, v[i], &w);
	free(copy);
	data = script_data(a->vars, verbs_text(a, "data"), &len);
	MUST(len == w.ranges.sum, "%zu bytes for %llu", len, (unsigned long long)w.ranges.sum);
	ranges_place(&w.ranges, data);
	code = cow_write_all(w.v, w.n);
	free(data);
	for (size_t i = 0; i < w.n && i < sizeof(keys) / sizeof(keys[0]); i++)
		verbs_has_number(r, keys[i], w.v[i].generation);
	return code;
}

int verbs_call_fsync_if(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r)
{
	uint64_t generation, upto = 0;
	const uint64_t *only = condition(a, &generation);
	int code =
	    (int)VERBS_CALL(cow, cow_fsync_if, cow_aio_fsync_if, verbs_object(run, a), only, &upto);

	verbs_has_number(r, "generation", upto);
	return code;
}

/* ---- extents --------------------------------------------------------------------------------- */

static const char *const kinds[] = {"hole", "data", "zero", "same"};

/* Its flags as text; what an entry may not be ends the test. */
static void extent_flag(const struct cow_extent *e, bool details, const char **flag)
{
	bool dirty = e->flags == COW_EXTENT_DIRTY, shared = e->flags == COW_EXTENT_SHARED;

	MUST(e->kind >= COW_EXTENT_HOLE && e->kind <= COW_EXTENT_ZERO, "kind %d", e->kind);
	MUST(details || (e->kind != COW_EXTENT_ZERO && e->flags == 0), "a detail");
	MUST(dirty || shared || e->flags == 0, "flags %u", e->flags);
	MUST((e->physical != 0) == (details && e->kind == COW_EXTENT_DATA && !dirty), "physical");
	MUST(!shared || e->kind == COW_EXTENT_DATA, "a shared %s", kinds[e->kind]);
	*flag = dirty ? ":dirty" : shared ? ":shared" : "";
}

struct extents {
	char *text;
	size_t len;
	FILE *out;
	struct cow_extent last; /* with what has been joined to it; len 0: none */
	const char *flag;
	uint64_t physical; /* the first that is not 0 */
};

static void extents_put(struct extents *x)
{
	if (x->last.len > 0)
		(void)fprintf(x->out, "%s:%llu%s,", kinds[x->last.kind],
			      (unsigned long long)x->last.len, x->flag);
}

static void extents_join(struct extents *x, const struct cow_extent *e, const char *flag)
{
	if (x->last.len > 0 && x->last.kind == e->kind && strcmp(x->flag, flag) == 0) {
		x->last.len += e->len;
		return;
	}
	extents_put(x);
	x->last = *e;
	x->flag = flag;
}

static void extents_add(struct extents *x, const struct cow_extent *e, bool details)
{
	const char *flag;

	extent_flag(e, details, &flag);
	if (x->physical == 0)
		x->physical = e->physical;
	extents_join(x, e, flag);
}

/* All of a range, piece by piece. */
static ssize_t extents_all(cow_t *cow, cow_object_t *obj, uint64_t off, uint64_t len, bool details,
			   struct extents *x)
{
	struct cow_extent e[EXTENTS_MAX];
	ssize_t n = 1;

	while (n > 0 && len > 0) {
		n = details ? VERBS_CALL(cow, cow_map, cow_aio_map, obj, off, len, e, EXTENTS_MAX)
			    : VERBS_CALL(cow, cow_get_extents, cow_aio_get_extents, obj, off, len,
					 e, EXTENTS_MAX);
		for (ssize_t i = 0; i < n; i++) {
			MUST(e[i].offset == off && e[i].len > 0 && e[i].len <= len, "a gap");
			extents_add(x, &e[i], details);
			off += e[i].len;
			len -= e[i].len;
		}
	}
	return n;
}

int verbs_call_extents(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"details", 1}, {NULL, 0}};
	struct extents x = {.flag = ""};
	ssize_t n;

	x.out = open_memstream(&x.text, &x.len);
	MUST(x.out, "out of memory");
	n = extents_all(cow, verbs_object(run, a), verbs_number(a, "offset"),
			verbs_number(a, "len"), verbs_flags(a, known) != 0, &x);
	extents_put(&x);
	(void)fclose(x.out);
	verbs_value_add(r, "extents", VERBS_EXTENTS)->text = x.text;
	verbs_has_number(r, "physical", x.physical);
	return n < 0 ? (int)n : 0;
}

/* ---- differences ----------------------------------------------------------------------------- */

int verbs_call_diff(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	uint64_t older = verbs_number(a, "older"), off = verbs_number(a, "offset");
	uint64_t len = verbs_number(a, "len");
	cow_object_t *obj = verbs_object(run, a);
	struct extents x = {.flag = ""};
	struct cow_extent e[EXTENTS_MAX];
	struct cow_diff diff = {.size = 0};
	ssize_t n = 1;

	x.out = open_memstream(&x.text, &x.len);
	MUST(x.out, "out of memory");
	while (n > 0 && len > 0) {
		n = VERBS_CALL(cow, cow_diff, cow_aio_diff, obj, older, off, len, e, EXTENTS_MAX,
			       &diff);
		for (ssize_t i = 0; i < n; i++) {
			MUST(e[i].offset == off && e[i].len > 0 && e[i].len <= len, "a gap");
			MUST(e[i].kind != COW_EXTENT_ZERO, "a zero");
			extents_join(&x, &e[i], "");
			off += e[i].len;
			len -= e[i].len;
		}
	}
	extents_put(&x);
	(void)fclose(x.out);
	verbs_value_add(r, "extents", VERBS_EXTENTS)->text = x.text;
	verbs_has_number(r, "size_bytes", diff.size);
	verbs_has_number(r, "older_bytes", diff.older_size);
	return n < 0 ? (int)n : 0;
}

/* ---- several objects ------------------------------------------------------------------------- */

static size_t group_objects(struct verbs_run *run, struct verbs_args *a,
			    cow_object_t *objs[VERBS_ITEMS_MAX])
{
	char *copy, *v[VERBS_ITEMS_MAX];
	size_t n = verbs_items(a, "handles", &copy, v);

	for (size_t i = 0; i < n; i++)
		objs[i] = verbs_handle_named(run, v[i])->obj;
	free(copy);
	return n;
}

int verbs_call_tie(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	cow_object_t *objs[VERBS_ITEMS_MAX];
	size_t n = group_objects(run, a, objs);

	(void)r;
	return (int)VERBS_CALL(cow, cow_group_tie, cow_aio_group_tie, objs, n);
}

int verbs_call_fsync_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r)
{
	cow_object_t *objs[VERBS_ITEMS_MAX];
	size_t n = group_objects(run, a, objs);

	(void)r;
	return (int)VERBS_CALL(cow, cow_group_fsync, cow_aio_group_fsync, objs, n);
}
