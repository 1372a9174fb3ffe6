/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command import-diff: docs/diff-stream.md.
 *
 * Nothing is seen of a stream in the object before all of it has been verified.  It goes into an object
 * of its own, the partial one; what that holds is then made a version of the object, and the object is
 * reset to it.  Each step is whole or not at all, and each can be done again:
 *
 *	OBJ.partial, from nothing or a clone of OBJ@FROM	import_make()
 *	OBJ.partial@at-N: all before N is there			import_mark()
 *	OBJ@TO, a clone of it; OBJ is as it was			import_publish()
 *	OBJ reset to OBJ@TO; OBJ.partial removed		import_settle()
 *
 * or, of an object that was not there, OBJ.partial@TO, and OBJ.partial gets its name.  Where it ends
 * between two of them, the same command goes on, with --resume while only the partial object is there.
 *
 * A mark has as labels what the stream leads from and to: only a stream between the same two versions
 * goes on with it, so that what is written twice is the same.
 */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/diffread.h"
#include "client/end.h"
#include "client/lineage.h"
#include "client/out.h"
#include "common/clock.h"
#include "common/size.h"

struct import {
	struct copy_sink sink;
	struct ctl *ctl;
	cow_t *cow;
	struct diffread in;
	const char *name;		  /* of the object */
	char partial[NAME_MAX_BYTES + 1]; /* of the partial one */
	bool resume;
	int progress_fd; /* -1: none given */

	bool exists;
	char base[NAME_MAX_BYTES + 1]; /* the version that the stream begins at; "": none */
	uint64_t base_id;
	uint64_t base_size;
	char done[NAME_MAX_BYTES + 1]; /* the version that it leads to; "": not yet there */
	bool already;		       /* it was there before */
	bool taken;		       /* its name is that of another version */
	char stale[NAME_MAX_BYTES +
		   1]; /* a mark, of when the object was the partial one; "": none */

	bool made; /* the partial object, by this command */
	cow_object_t *obj;
	uint64_t position; /* all before it is in the partial object */
	bool is_marked;
	uint64_t marked;   /* the position that is noted there */
	uint64_t unmarked; /* bytes put since */
	struct copy_error error;
};

static int import_fail(struct import *im, const char *subject, int err)
{
	return end_fail_cow(&im->error, im->cow, err, subject);
}

/* ---- what there is --------------------------------------------------------------------------- */

#define MARK_PREFIX "at-"
#define MARK_FROM   "cow.import.from"
#define MARK_TO	    "cow.import.to"

/* Whether a version is a mark of an import of this stream. */
static bool mark_is_ours(const struct import *im, const struct cow_info *version)
{
	const char *from = lineage_label(version, MARK_FROM);
	const char *to = lineage_label(version, MARK_TO);

	return from && to && strcmp(from, im->in.head.from_id) == 0 &&
	       strcmp(to, im->in.head.to_id) == 0;
}

/* Of the versions of the object: that which the stream begins at, and that which it leads to. */
static void import_judge(struct import *im, const struct cow_server *server,
			 const struct cow_info *version)
{
	char id[DIFFSTREAM_ID_BYTES];

	lineage_of(server, version, id);
	if (strcmp(id, im->in.head.from_id) == 0) {
		(void)snprintf(im->base, sizeof(im->base), "%s", version->name);
		im->base_id = version->id;
		im->base_size = version->size;
	}
	if (strcmp(id, im->in.head.to_id) == 0)
		(void)snprintf(im->done, sizeof(im->done), "%s", version->name);
	else if (strcmp(strchr(version->name, '@') + 1, im->in.head.to) == 0)
		im->taken = true;
	if (mark_is_ours(im, version))
		(void)snprintf(im->stale, sizeof(im->stale), "%s", version->name);
}

static int import_look(struct import *im)
{
	struct cow_server server;
	struct cow_info *infos;
	size_t count;
	int err = cow_get_server(im->cow, &server);

	if (err == 0)
		err = cow_list_versions(im->cow, im->name, &infos, &count);
	if (err == -COW_ENOENT && im->in.head.from_id[0] == '\0')
		return 0;
	if (err < 0)
		return import_fail(im, im->name, err);
	im->exists = true;
	for (size_t i = 0; i < count; i++)
		import_judge(im, &server, &infos[i]);
	cow_list_free(infos, count);
	return 0;
}

/* Whether the object is as the version that the stream begins at. */
static int import_is_at_base(struct import *im, bool *same)
{
	struct copy_piece piece = {.buf_len = DIFFSTREAM_DATA_MAX};
	struct end_source src;
	int err;

	if (end_open_diff_source(&src, im->cow, im->name, im->base_id, 0, &im->error) < 0)
		return -1;
	err = src.source.next(&src.source, &piece, &im->error);
	*same = err == 0 && piece.len == 0 && src.size == im->base_size;
	end_close_source(&src);
	return err;
}

/* The object may be brought to what the stream leads to. */
static int import_check(struct import *im)
{
	const struct diffstream_head *head = &im->in.head;
	bool same = true;

	if (im->exists && head->from_id[0] == '\0')
		return copy_fail(&im->error, CTL_EXISTS, im->name,
				 "the name exists already, and the stream is a whole object");
	if (!im->exists)
		return 0;
	if (im->base[0] == '\0')
		return copy_fail(&im->error, CTL_FALSE, im->name,
				 "it has no copy of %s@%s, which the stream begins at",
				 head->object, head->from);
	if (import_is_at_base(im, &same) < 0)
		return -1;
	if (same && im->taken)
		return copy_fail(&im->error, CTL_EXISTS, im->name,
				 "it has another version %s (cowctl snap rename gives that another "
				 "name)",
				 head->to);
	return same ? 0
		    : copy_fail(&im->error, CTL_FALSE, im->name,
				"it has changed since %s (cowctl reset %s gives it that back)",
				im->base, im->base);
}

/* ---- the partial object ---------------------------------------------------------------------- */

#define MARK_BYTES	  (UINT64_C(256) << 20) /* so much may be sent again after a crash */
#define IMPORT_SPEC_BYTES (2 * NAME_MAX_BYTES)

static void mark_spec(const struct import *im, uint64_t position, char spec[IMPORT_SPEC_BYTES])
{
	(void)snprintf(spec, IMPORT_SPEC_BYTES, "%s@" MARK_PREFIX "%" PRIu64, im->partial,
		       position);
}

/* Notes how far the partial object is; the mark before that goes. */
static int import_mark(struct import *im)
{
	const struct cow_label labels[] = {{MARK_FROM, im->in.head.from_id},
					   {MARK_TO, im->in.head.to_id}};
	char spec[IMPORT_SPEC_BYTES];
	int err;

	mark_spec(im, im->position, spec);
	err = cow_snap(im->cow, spec, labels, ARRAY_LEN(labels));
	if (err == 0 && im->is_marked) {
		mark_spec(im, im->marked, spec);
		err = cow_remove(im->cow, spec);
	}
	if (err < 0)
		return err;
	im->is_marked = true;
	im->marked = im->position;
	return 0;
}

/* A new one, at 0. */
static int import_make(struct import *im)
{
	int err;

	if (im->in.head.begin > 0)
		return copy_fail(&im->error, CTL_FALSE, im->in.name,
				 "the stream begins at %" PRIu64
				 ": it goes on with an import that was cut (--resume)",
				 im->in.head.begin);
	if (im->base[0])
		err = cow_clone(im->cow, im->base, im->partial);
	else
		err = cow_create(im->cow, im->partial, im->in.head.size);
	if (err == -COW_EEXIST)
		return copy_fail(
		    &im->error, CTL_EXISTS, im->partial,
		    "it is there from an import that was cut: --resume goes on with it; "
		    "to begin again: cowctl rm -r %s",
		    im->partial);
	if (err < 0)
		return import_fail(im, im->partial, err);
	im->made = true;
	err = import_mark(im);
	return err < 0 ? import_fail(im, im->partial, err) : 0;
}

/* The greatest mark of this stream. */
static void import_take_mark(struct import *im, const struct cow_info *version)
{
	const char *name = strchr(version->name, '@') + 1;
	char *end;
	uint64_t at;

	if (!mark_is_ours(im, version) || strncmp(name, MARK_PREFIX, strlen(MARK_PREFIX)) != 0)
		return;
	at = strtoull(name + strlen(MARK_PREFIX), &end, 10);
	if (*end != '\0' || (im->is_marked && at < im->marked))
		return;
	im->is_marked = true;
	im->position = im->marked = at;
}

static int import_resume(struct import *im)
{
	struct cow_info *infos;
	size_t count;
	int err = cow_list_versions(im->cow, im->partial, &infos, &count);

	if (err < 0)
		return import_fail(im, im->partial, err);
	for (size_t i = 0; i < count; i++)
		import_take_mark(im, &infos[i]);
	cow_list_free(infos, count);
	if (!im->is_marked)
		return copy_fail(&im->error, CTL_FALSE, im->partial,
				 "it is not of an import of this stream");
	if (im->in.head.begin > im->position)
		return copy_fail(&im->error, CTL_FALSE, im->in.name,
				 "the stream begins at %" PRIu64 ", and %s has only what is before "
				 "%" PRIu64 " (export-diff --skip-to=%" PRIu64 ")",
				 im->in.head.begin, im->partial, im->position, im->position);
	return 0;
}

static int import_open(struct import *im)
{
	int err = im->resume ? import_resume(im) : import_make(im);

	if (err < 0)
		return err;
	err = cow_open(im->cow, im->partial, 0, &im->obj);
	if (err == 0 && cow_object_size(im->obj) != im->in.head.size)
		err = cow_resize(im->obj, im->in.head.size, COW_RESIZE_SHRINK);
	return err < 0 ? import_fail(im, im->partial, err) : 0;
}

/* ---- the records ----------------------------------------------------------------------------- */

/* In order, one at a time: all before im->position is there. */
static int import_put(struct copy_sink *sink, const struct copy_piece *piece,
		      struct copy_error *error)
{
	struct import *im = CONTAINER_OF(sink, struct import, sink);
	uint64_t end = piece->offset + piece->len;
	ssize_t err;

	if (end <= im->position)
		return 0; /* before it was cut */
	err = piece->hole ? cow_zero(im->obj, piece->offset, piece->len)
			  : cow_pwrite(im->obj, piece->buf, piece->len, piece->offset);
	if (err >= 0) {
		im->position = end;
		im->unmarked += piece->hole ? 0 : piece->len;
		err = im->unmarked >= MARK_BYTES ? import_mark(im) : 0;
	}
	if (err < 0)
		return end_fail_cow(error, im->cow, (int)err, im->partial);
	if (im->unmarked >= MARK_BYTES)
		im->unmarked = 0;
	return 0;
}

/*
 * What has been put stays and is marked, so that the rest is enough; a new partial object in which
 * nothing was put goes away.
 */
static void import_keep(struct import *im)
{
	char *text = im->error.text;
	size_t len = strlen(text);

	if (im->obj)
		(void)cow_close(im->obj);
	im->obj = NULL;
	if (im->made && im->position == 0) {
		(void)cow_remove_with(im->cow, im->partial, COW_REMOVE_VERSIONS);
		return;
	}
	if (im->position > im->marked && import_mark(im) < 0)
		return;
	(void)snprintf(text + len, sizeof(im->error.text) - len,
		       "; %s has what comes before %" PRIu64
		       ": go on with --resume, and export-diff --skip-to=%" PRIu64 " or all of it",
		       im->partial, im->marked, im->marked);
}

static int import_copy(struct import *im)
{
	struct progress progress;
	struct copy_result result;
	int err = import_open(im);

	progress_start(&progress, progress_choose(im->progress_fd, im->ctl->quiet), im->progress_fd,
		       NULL, PROGRESS_UNKNOWN, clock_now_ns());
	if (err == 0)
		err = copy_run(&im->in.source, &im->sink, COPY_THREADS, DIFFSTREAM_DATA_MAX,
			       &progress, &result, &im->error);
	progress_end(&progress, err == 0);
	if (err < 0 && (im->made || im->obj))
		import_keep(im);
	if (err < 0)
		return err;
	err = cow_close(im->obj);
	im->obj = NULL;
	return err < 0 ? import_fail(im, im->partial, err) : 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* An object that was not there: the partial one gets the version, and then the name. */
static int import_name(struct import *im)
{
	const struct cow_label label = {LINEAGE_LABEL, im->in.head.to_id};
	char spec[IMPORT_SPEC_BYTES];
	int err;

	(void)snprintf(spec, sizeof(spec), "%s@%s", im->partial, im->in.head.to);
	err = cow_snap(im->cow, spec, &label, 1);
	if (err == -COW_EEXIST && im->resume)
		err = 0; /* it had come as far as this */
	if (err == 0)
		err = cow_rename(im->cow, im->partial, im->name, 0);
	if (err == 0) {
		(void)snprintf(spec, sizeof(spec), "%s@" MARK_PREFIX "%" PRIu64, im->name,
			       im->marked);
		err = cow_remove(im->cow, spec);
	}
	return err < 0 ? import_fail(im, err == -COW_EEXIST ? im->name : im->partial, err) : 0;
}

static int import_publish(struct import *im)
{
	const struct cow_label label = {LINEAGE_LABEL, im->in.head.to_id};
	const struct cow_attrs attrs = {.labels = &label, .nlabels = 1};
	int err = import_check(im);

	if (err < 0)
		return err;
	(void)snprintf(im->done, sizeof(im->done), "%s@%s", im->name, im->in.head.to);
	err = cow_clone_with(im->cow, im->partial, im->done, &attrs);
	return err < 0 ? import_fail(im, im->done, err) : 0;
}

/* The partial object of this stream goes; that of another one stays. */
static int import_drop(struct import *im)
{
	struct cow_info *infos;
	bool ours = false;
	size_t count;
	int err = cow_list_versions(im->cow, im->partial, &infos, &count);

	if (err == -COW_ENOENT)
		return 0;
	if (err == 0) {
		for (size_t i = 0; i < count; i++)
			ours = ours || mark_is_ours(im, &infos[i]);
		cow_list_free(infos, count);
	}
	if (err == 0 && ours)
		err = cow_remove_with(im->cow, im->partial, COW_REMOVE_VERSIONS);
	return err < 0 ? import_fail(im, im->partial, err) : 0;
}

/* The version is there: the object becomes what it holds, unless it has moved on. */
static int import_settle(struct import *im)
{
	bool same = false;
	int err = 0;

	if (im->base[0] && import_is_at_base(im, &same) < 0)
		return -1;
	if (same)
		err = cow_reset(im->cow, im->done, NULL);
	if (err == 0 && im->stale[0])
		err = cow_remove(im->cow, im->stale);
	if (err < 0)
		return import_fail(im, im->done, err);
	return im->base[0] ? import_drop(im) : 0;
}

static int import_run(struct import *im)
{
	int err = import_look(im);

	if (err < 0)
		return err;
	if (im->done[0]) {
		im->already = true;
		return import_settle(im);
	}
	err = import_check(im);
	if (err == 0)
		err = import_copy(im);
	if (err < 0)
		return err;
	if (!im->exists)
		return import_name(im);
	err = import_publish(im);
	return err < 0 ? err : import_settle(im);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int import_report(const struct import *im)
{
	const struct ctl *ctl = im->ctl;
	char spec[IMPORT_SPEC_BYTES];
	char data[SIZE_TEXT_MAX];
	json_object *obj;

	(void)snprintf(spec, sizeof(spec), "%s@%s", im->name, im->in.head.to);
	if (im->already)
		ctl_remark(ctl, "%s had been imported before", im->done);
	else
		ctl_remark(ctl, "%s of data", size_format(data, im->in.ds.data_bytes));
	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(im->name));
	out_json_add(obj, "version", out_json_text(im->done[0] ? im->done : spec));
	out_json_add(obj, "from", im->base[0] ? out_json_text(im->base) : NULL);
	out_json_add(obj, "data_bytes", json_object_new_uint64(im->in.ds.data_bytes));
	out_json_add(obj, "zero_bytes", json_object_new_uint64(im->in.ds.zero_bytes));
	out_json_add(obj, "already", json_object_new_boolean(im->already));
	return out_json_print(ctl, obj);
}

static int import_parse(struct import *im)
{
	const char *name = im->ctl->args.operands[1];
	const char *fd = im->ctl->args.values[ARGS_PROGRESS];

	if (strchr(name, '@'))
		return ctl_fail(im->ctl, CTL_USAGE, name, "not an object");
	if (fd && progress_parse_fd(fd, &im->progress_fd) < 0)
		return ctl_fail(im->ctl, CTL_USAGE, fd, "not an open descriptor");
	(void)snprintf(im->partial, sizeof(im->partial), "%s.partial", name);
	im->name = name;
	im->resume = args_has(&im->ctl->args, ARGS_RESUME);
	if (name_check(name) == 0 && name_check(im->partial) < 0)
		return ctl_fail(im->ctl, CTL_USAGE, name, "the name is too long for %s.partial",
				name);
	return 0;
}

int cmd_import_diff(struct ctl *ctl)
{
	const char *from = ctl->args.operands[0];
	struct import im = {
	    .sink = {.put = import_put, .ordered = true}, .ctl = ctl, .progress_fd = -1};
	int status = import_parse(&im);
	int err;

	if (status == 0)
		status = ctl_connect(ctl);
	if (status != 0)
		return status;
	if (ctl_catch_interrupts() < 0)
		return ctl_fail(ctl, CTL_ERROR, NULL, "signals cannot be caught");
	im.cow = ctl->cow;
	err = diffread_open(&im.in, strcmp(from, "-") == 0 ? NULL : from, &im.error);
	if (err == 0) {
		err = import_run(&im);
		diffread_close(&im.in);
	}
	if (err == 0)
		return import_report(&im);
	(void)ctl_fail(ctl, im.error.status, im.error.subject, "%s", im.error.text);
	ctl_die_of_interrupt();
	return im.error.status;
}
