/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command verify: has the server read what objects have on its device, and compare it with the
 * checksums.
 *
 * What it does for all objects begins with those that were made first, so that of copies which share data
 * the first one is read, and of each other only where it differs from one that was: a version never
 * changes, and of an object that may its generation says whether it has.
 */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/out.h"
#include "client/progress.h"
#include "common/clock.h"
#include "common/size.h"

#define VERIFY_PATIENCE_SEC 600u /* many may verify at once */
#define VERIFY_DAMAGES	    256u
#define VERIFY_BLOCK	    4096u

/* An object or a version. */
struct verify_target {
	char *name;
	uint64_t id;
	uint64_t group;	 /* id of the object that it is, or is a version of */
	uint64_t origin; /* what that was cloned from */
	uint64_t size;
	bool is_version;
	bool is_done;	     /* all of it has been looked at */
	uint64_t generation; /* from before that */
};

struct verify {
	struct ctl *ctl;
	bool all;
	uint64_t offset;
	uint64_t len;
	uint64_t rate;
	int progress_fd; /* -1: none given */
	struct progress progress;
	uint64_t passed; /* bytes, holes included */
	struct verify_target *targets;
	size_t n;

	uint64_t ndone;
	uint64_t read;
	uint64_t pending;
	uint64_t ndamages;
	uint64_t damaged; /* bytes */
	json_object *list;
	const char *stopped; /* in this one an interrupt came, at this offset */
	uint64_t stopped_at;
};

/* ---- damages --------------------------------------------------------------------------------- */

static const char *verify_kind(int kind)
{
	static const char *const names[] = {[COW_DAMAGE_CHECKSUM] = "checksum",
					    [COW_DAMAGE_READ] = "read",
					    [COW_DAMAGE_METADATA] = "metadata"};

	return names[kind];
}

static void verify_add_json(struct verify *v, const char *name, const struct cow_damage *d)
{
	bool placed = d->kind != COW_DAMAGE_METADATA;
	json_object *obj = json_object_new_object();

	out_json_add(obj, "object", out_json_text(name));
	out_json_add(obj, "offset", json_object_new_uint64(d->offset));
	out_json_add(obj, "length", json_object_new_uint64(d->len));
	out_json_add(obj, "kind", out_json_text(verify_kind(d->kind)));
	out_json_add(obj, "physical", placed ? json_object_new_uint64(d->physical) : NULL);
	out_json_add(obj, "block",
		     placed ? json_object_new_uint64(d->physical / VERIFY_BLOCK) : NULL);
	(void)json_object_array_add(v->list, obj);
}

/* At once: it may take long until all is done. */
static void verify_print(const char *name, const struct cow_damage *d)
{
	uint64_t block = d->physical / VERIFY_BLOCK;
	uint64_t n = d->len / VERIFY_BLOCK;

	(void)printf("%s offset %" PRIu64 ": ", name, d->offset);
	if (d->kind == COW_DAMAGE_METADATA)
		(void)printf("the metadata of %" PRIu64 " block%s is damaged", n,
			     n == 1 ? "" : "s");
	else if (n == 1)
		(void)printf("block %" PRIu64 " of the device ", block);
	else
		(void)printf("%" PRIu64 " blocks from block %" PRIu64 " of the device on ", n,
			     block);
	if (d->kind == COW_DAMAGE_CHECKSUM)
		(void)printf("%s checksum", n == 1 ? "does not fit its" : "do not fit their");
	else if (d->kind == COW_DAMAGE_READ)
		(void)printf("cannot be read");
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void verify_add(struct verify *v, const char *name, const struct cow_damage *damages,
		       ssize_t n)
{
	for (ssize_t i = 0; i < n; i++) {
		v->ndamages++;
		v->damaged += damages[i].len;
		if (v->ctl->json)
			verify_add_json(v, name, &damages[i]);
		else
			verify_print(name, &damages[i]);
	}
}

/* ---- one object ------------------------------------------------------------------------------ */

/* Until all of the range is done, or an interrupt comes; 0 or a code. */
static int verify_range(struct verify *v, cow_object_t *obj, const char *name, uint64_t older)
{
	struct cow_damage damages[VERIFY_DAMAGES];
	struct cow_verified got = {.left = v->len};
	uint64_t pos = v->offset;

	do {
		ssize_t n =
		    cow_verify(obj, older, pos, got.left, v->rate, damages, VERIFY_DAMAGES, &got);

		if (n < 0)
			return (int)n;
		verify_add(v, name, damages, n);
		v->read += got.read;
		v->pending += got.pending;
		v->passed += got.len;
		pos += got.len;
		progress_update(&v->progress, v->passed, clock_now_ns());
	} while (got.left > 0 && ctl_interrupted() == 0);
	if (got.left > 0) {
		v->stopped = name;
		v->stopped_at = pos;
	}
	return 0;
}

/* What is gone by now was there when all were listed: that is no error. */
static int verify_object(struct verify *v, const char *name, uint64_t older)
{
	cow_object_t *obj;
	int err = cow_open(v->ctl->cow, name, COW_OPEN_READONLY, &obj);

	if (err == -COW_ENOENT && v->all)
		return 0;
	if (err < 0)
		return err;
	err = verify_range(v, obj, name, older);
	if (err < 0)
		(void)cow_close(obj);
	else
		err = cow_close(obj);
	if (err == 0 && !v->stopped)
		v->ndone++;
	return err;
}

/* ---- all objects ----------------------------------------------------------------------------- */

/* The content, where it may change. */
static uint64_t verify_generation(const struct verify *v, const struct verify_target *t)
{
	struct cow_info info;
	uint64_t generation = UINT64_MAX;

	if (t->is_version)
		return t->generation;
	if (cow_get_info(v->ctl->cow, t->name, &info) == 0) {
		generation = info.id == t->id ? info.generation : UINT64_MAX;
		cow_info_clear(&info);
	}
	return generation;
}

/* One that was verified and still is as it was then. */
static bool verify_is_base(const struct verify *v, const struct verify_target *t)
{
	return t->is_done && verify_generation(v, t) == t->generation;
}

/* What the i-th one was copied from, or has been before; NULL: nothing that was verified. */
static const struct verify_target *verify_base(const struct verify *v, size_t i)
{
	const struct verify_target *t = &v->targets[i];

	if (i > 0 && t[-1].group == t->group && verify_is_base(v, &t[-1]))
		return &t[-1];
	for (size_t k = 0; t->origin && k < i; k++)
		if (v->targets[k].id == t->origin)
			return verify_is_base(v, &v->targets[k]) ? &v->targets[k] : NULL;
	return NULL;
}

/* If the base has changed meanwhile nobody knows what was left out. */
static int verify_target(struct verify *v, size_t i)
{
	struct verify_target *t = &v->targets[i];
	const struct verify_target *base = verify_base(v, i);
	uint64_t before = v->ndone;
	int err;

	t->generation = verify_generation(v, t);
	err = verify_object(v, t->name, base ? base->id : 0);
	if (err == 0 && base && !v->stopped && !verify_is_base(v, base)) {
		v->passed -= t->size < v->passed ? t->size : v->passed;
		v->ndone = before;
		err = verify_object(v, t->name, 0);
	}
	t->is_done = v->ndone > before;
	return err;
}

/* Versions in the order of their making, then their object; and so the objects. */
static int verify_by_group(const void *a, const void *b)
{
	const struct verify_target *x = a;
	const struct verify_target *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (x->is_version != y->is_version)
		return x->is_version ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static int verify_add_target(struct verify *v, const struct cow_info *info, uint64_t origin)
{
	struct verify_target *targets = reallocarray(v->targets, v->n + 1, sizeof(*targets));
	char *name = strdup(info->name);

	if (targets)
		v->targets = targets;
	if (!targets || !name) {
		free(name);
		return ctl_fail(v->ctl, CTL_ERROR, NULL, "out of memory");
	}
	targets[v->n++] = (struct verify_target){.name = name,
						 .id = info->id,
						 .group = info->parent ? info->parent : info->id,
						 .origin = origin,
						 .size = info->size,
						 .is_version = info->parent != 0};
	return CTL_OK;
}

static int verify_add_versions(struct verify *v, const struct cow_info *object)
{
	struct cow_info *infos;
	int status = CTL_OK;
	size_t n;
	int err = cow_list_versions(v->ctl->cow, object->name, &infos, &n);

	if (err == -COW_ENOENT)
		return CTL_OK;
	if (err < 0)
		return ctl_fail_cow(v->ctl, err, object->name);
	for (size_t i = 0; status == CTL_OK && i < n; i++)
		status = verify_add_target(v, &infos[i], object->origin);
	cow_list_free(infos, n);
	return status;
}

static int verify_list(struct verify *v)
{
	struct cow_info *infos;
	int status = CTL_OK;
	size_t n;
	int err = cow_list(v->ctl->cow, NULL, &infos, &n);

	if (err < 0)
		return ctl_fail_cow(v->ctl, err, NULL);
	for (size_t i = 0; status == CTL_OK && i < n; i++) {
		status = verify_add_target(v, &infos[i], infos[i].origin);
		if (status == CTL_OK && infos[i].nversions > 0)
			status = verify_add_versions(v, &infos[i]);
	}
	cow_list_free(infos, n);
	if (v->n > 0)
		qsort(v->targets, v->n, sizeof(v->targets[0]), verify_by_group);
	return status;
}

/* ---- those that are named -------------------------------------------------------------------- */

static int verify_add_named(struct verify *v, const char *name)
{
	struct cow_info info;
	int status;
	int err = cow_get_info(v->ctl->cow, name, &info);

	if (err < 0)
		return ctl_fail_cow(v->ctl, err, name);
	status = verify_add_target(v, &info, 0);
	cow_info_clear(&info);
	return status;
}

/* ---- the command ----------------------------------------------------------------------------- */

static uint64_t verify_total(const struct verify *v)
{
	uint64_t total = 0;

	for (size_t i = 0; i < v->n; i++) {
		uint64_t size = v->targets[i].size;
		uint64_t most = v->offset < size ? size - v->offset : 0;

		total += v->len < most ? v->len : most;
	}
	return total;
}

/* One that fails is told of, and the others are done; but not without a server. */
static int verify_run(struct verify *v)
{
	int status = CTL_OK;
	int err = 0;

	progress_start(&v->progress, progress_choose(v->progress_fd, v->ctl->quiet), v->progress_fd,
		       NULL, verify_total(v), clock_now_ns());
	for (size_t i = 0; i < v->n && !v->stopped && ctl_exit_code(err) != CTL_UNREACHABLE; i++) {
		err = v->all ? verify_target(v, i) : verify_object(v, v->targets[i].name, 0);
		if (err < 0 && status == CTL_OK)
			status = ctl_fail_cow(v->ctl, err, v->targets[i].name);
		else if (err < 0)
			(void)ctl_fail_cow(v->ctl, err, v->targets[i].name);
	}
	progress_end(&v->progress, status == CTL_OK && !v->stopped);
	return status;
}

static int verify_json(struct verify *v, bool complete)
{
	json_object *obj = out_json_new();

	out_json_add(obj, "complete", json_object_new_boolean(complete));
	out_json_add(obj, "objects", json_object_new_uint64(v->ndone));
	out_json_add(obj, "read", json_object_new_uint64(v->read));
	out_json_add(obj, "pending", json_object_new_uint64(v->pending));
	out_json_add(obj, "damaged", json_object_new_uint64(v->damaged));
	out_json_add(obj, "damages", v->list);
	out_json_add(obj, "stopped_in", v->stopped ? out_json_text(v->stopped) : NULL);
	out_json_add(obj, "stopped_at", v->stopped ? json_object_new_uint64(v->stopped_at) : NULL);
	return out_json_print(v->ctl, obj);
}

static void verify_summary(const struct verify *v)
{
	char read[SIZE_TEXT_MAX];

	if (!v->ctl->quiet && v->ndamages == 0)
		(void)printf("all is well: %" PRIu64 " object%s or version%s, %s read\n", v->ndone,
			     v->ndone == 1 ? "" : "s", v->ndone == 1 ? "" : "s",
			     size_format(read, v->read));
}

static int verify_report(struct verify *v, int status)
{
	char bytes[SIZE_TEXT_MAX];
	int printed = CTL_OK;

	if (v->ctl->json)
		printed = verify_json(v, status == CTL_OK && !v->stopped);
	else if (status == CTL_OK && !v->stopped)
		verify_summary(v);
	if (v->ndamages > 0)
		status = ctl_fail(v->ctl, CTL_INTEGRITY, NULL, "%s in %" PRIu64 " place%s damaged",
				  size_format(bytes, v->damaged), v->ndamages,
				  v->ndamages == 1 ? " is" : "s are");
	if (v->stopped)
		(void)ctl_fail(v->ctl, CTL_ERROR, v->stopped,
			       "interrupted: --offset %" PRIu64 " goes on in it", v->stopped_at);
	return status == CTL_OK ? printed : status;
}

static int verify_begin(struct verify *v)
{
	const struct args *args = &v->ctl->args;
	int status = ctl_connect_patiently(v->ctl, VERIFY_PATIENCE_SEC);

	if (status == CTL_OK && v->all)
		status = verify_list(v);
	for (size_t i = 0; status == CTL_OK && i < args->noperands; i++)
		status = verify_add_named(v, args->operands[i]);
	if (status == CTL_OK && ctl_catch_interrupts() < 0)
		status = ctl_fail(v->ctl, CTL_ERROR, NULL, "cannot catch signals");
	return status;
}

static int verify_options(struct verify *v)
{
	const struct ctl *ctl = v->ctl;
	const struct args *args = &ctl->args;
	const char *fd = args->values[ARGS_PROGRESS];
	int status = ctl_get_size(ctl, ARGS_OFFSET, 0, &v->offset);

	if (status == 0)
		status = ctl_get_size(ctl, ARGS_LENGTH, UINT64_MAX, &v->len);
	if (status == 0)
		status = ctl_get_size(ctl, ARGS_RATE, 0, &v->rate);
	if (status == 0 && args_has(args, ARGS_RATE) && v->rate < VERIFY_BLOCK)
		status = ctl_fail(ctl, CTL_USAGE, args->values[ARGS_RATE],
				  "the least rate is 4K a second");
	if (status == 0 && fd && progress_parse_fd(fd, &v->progress_fd) < 0)
		status = ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	if (status == 0 && v->all == (args->noperands > 0))
		status = ctl_fail(ctl, CTL_USAGE, NULL, "name objects, or give --all");
	if (status == 0 && (args_has(args, ARGS_OFFSET) || args_has(args, ARGS_LENGTH)) &&
	    args->noperands != 1)
		status = ctl_fail(ctl, CTL_USAGE, NULL, "a range is of one object");
	return status;
}

int cmd_verify(struct ctl *ctl)
{
	struct verify v = {.ctl = ctl, .all = args_has(&ctl->args, ARGS_ALL), .progress_fd = -1};
	int status = verify_options(&v);

	if (status == CTL_OK)
		status = verify_begin(&v);
	if (status == CTL_OK) {
		v.list = ctl->json ? json_object_new_array() : NULL;
		status = verify_report(&v, verify_run(&v));
	}
	for (size_t i = 0; i < v.n; i++)
		free(v.targets[i].name);
	free(v.targets);
	ctl_die_of_interrupt();
	return status;
}
