/* SPDX-License-Identifier: BSD-2-Clause */
/* The command diff: where objects and versions differ. */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/out.h"

enum diff_column { DIFF_OFFSET, DIFF_LENGTH, DIFF_KIND, DIFF_COLUMNS };

_Static_assert((int)DIFF_COLUMNS == CMD_DIFF_COLUMNS, "all of them");

const struct out_column cmd_diff_columns[CMD_DIFF_COLUMNS] = {
    [DIFF_OFFSET] = {"offset", "OFFSET", OUT_NUMBER},
    [DIFF_LENGTH] = {"length", "LENGTH", OUT_NUMBER},
    [DIFF_KIND] = {"kind", "KIND", OUT_TEXT},
};

#define DIFF_EXTENTS 1024u

struct diff {
	struct ctl *ctl;
	const char *newer;
	const char *older; /* NULL: known by its id only */
	char *found;	   /* owned: the name of an older one that was not given */
	uint64_t older_id;
	struct out_choice choice;

	struct cow_diff sizes;
	uint64_t bytes;
	uint64_t nodes;
	union out_value (*rows)[DIFF_COLUMNS];
	size_t n;
	size_t cap;
};

/* ---- with what ------------------------------------------------------------------------------- */

/* Of the versions of "object" that one which was made last, before the one with the id "before". */
static int diff_find_version(struct diff *d, const char *object, uint64_t before)
{
	struct cow_info *infos;
	size_t count;
	int err = cow_list_versions(d->ctl->cow, object, &infos, &count);

	if (err < 0)
		return ctl_fail_cow(d->ctl, err, object);
	for (size_t i = 0; i < count; i++) {
		if (infos[i].id >= before || infos[i].id <= d->older_id)
			continue;
		d->older_id = infos[i].id;
		free(d->found);
		d->found = strdup(infos[i].name);
		d->older = d->found;
	}
	cow_list_free(infos, count);
	return 0;
}

/* Its latest version, or of a version the one before it; or else what the object was cloned from. */
static int diff_find_older(struct diff *d)
{
	char *object = strndup(d->newer, strcspn(d->newer, "@"));
	struct cow_info info;
	int status;
	int err;

	if (!object)
		return ctl_fail(d->ctl, CTL_ERROR, NULL, "out of memory");
	err = cow_get_info(d->ctl->cow, d->newer, &info);
	status = err < 0 ? ctl_fail_cow(d->ctl, err, d->newer) : 0;
	if (err == 0) {
		status = diff_find_version(d, object, info.parent ? info.id : UINT64_MAX);
		cow_info_clear(&info);
	}
	if (status == 0 && d->older_id == 0) {
		err = cow_get_info(d->ctl->cow, object, &info);
		status = err < 0 ? ctl_fail_cow(d->ctl, err, object) : 0;
		d->older_id = err < 0 ? 0 : info.origin;
		if (err == 0)
			cow_info_clear(&info);
	}
	if (status == 0 && d->older_id == 0)
		status =
		    ctl_fail(d->ctl, CTL_USAGE, d->newer,
			     "there is no version before it and it was not cloned: name what to "
			     "compare it with");
	free(object);
	return status;
}

static int diff_get_older(struct diff *d)
{
	struct cow_info info;
	int err;

	if (!d->older)
		return diff_find_older(d);
	err = cow_get_info(d->ctl->cow, d->older, &info);
	if (err < 0)
		return ctl_fail_cow(d->ctl, err, d->older);
	d->older_id = info.id;
	cow_info_clear(&info);
	return 0;
}

/* ---- where ----------------------------------------------------------------------------------- */

static int diff_add(struct diff *d, const struct cow_extent *ext)
{
	const char *kind = ext->kind == COW_EXTENT_DATA ? "data" : "hole";
	union out_value *last = d->n > 0 ? d->rows[d->n - 1] : NULL;

	if (ext->kind == COW_EXTENT_SAME)
		return 0;
	d->bytes += ext->len;
	if (last && last[DIFF_KIND].text == kind &&
	    last[DIFF_OFFSET].number + last[DIFF_LENGTH].number == ext->offset) {
		last[DIFF_LENGTH].number += ext->len;
		return 0;
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : DIFF_EXTENTS;
		void *rows = realloc(d->rows, cap * sizeof(*d->rows));

		if (!rows)
			return ctl_fail(d->ctl, CTL_ERROR, NULL, "out of memory");
		d->rows = rows;
		d->cap = cap;
	}
	d->rows[d->n][DIFF_OFFSET].number = ext->offset;
	d->rows[d->n][DIFF_LENGTH].number = ext->len;
	d->rows[d->n++][DIFF_KIND].text = kind;
	return 0;
}

static int diff_fail(const struct diff *d, int err)
{
	if (err != -COW_ENOENT)
		return ctl_fail_cow(d->ctl, err, d->newer);
	return ctl_fail(d->ctl, CTL_NOT_FOUND, d->newer, "%s is gone",
			d->older ? d->older : "what it was cloned from");
}

static int diff_walk(struct diff *d, cow_object_t *obj)
{
	struct cow_extent *ext = calloc(DIFF_EXTENTS, sizeof(*ext));
	int status = ext ? 0 : ctl_fail(d->ctl, CTL_ERROR, NULL, "out of memory");
	uint64_t pos = 0;
	ssize_t n = 1;

	while (status == 0 && n > 0) {
		n = cow_diff(obj, d->older_id, pos, UINT64_MAX, ext, DIFF_EXTENTS, &d->sizes);
		if (n < 0)
			status = diff_fail(d, (int)n);
		d->nodes += status == 0 ? d->sizes.nodes : 0;
		for (ssize_t i = 0; i < n && status == 0; i++) {
			status = diff_add(d, &ext[i]);
			pos = ext[i].offset + ext[i].len;
		}
		if (n > 0 && pos >= d->sizes.size)
			break;
	}
	free(ext);
	return status;
}

/* ---- what is printed ------------------------------------------------------------------------- */

static int diff_print_json(const struct diff *d)
{
	json_object *ranges = json_object_new_array();
	json_object *obj = out_json_new();

	for (size_t i = 0; i < d->n; i++)
		(void)json_object_array_add(ranges, out_json_record(&d->choice, d->rows[i]));
	out_json_add(obj, "older", d->older ? out_json_text(d->older) : NULL);
	out_json_add(obj, "older_id", json_object_new_uint64(d->older_id));
	out_json_add(obj, "older_size", json_object_new_uint64(d->sizes.older_size));
	out_json_add(obj, "newer", out_json_text(d->newer));
	out_json_add(obj, "newer_size", json_object_new_uint64(d->sizes.size));
	out_json_add(obj, "bytes", json_object_new_uint64(d->bytes));
	out_json_add(obj, "nodes", json_object_new_uint64(d->nodes));
	out_json_add(obj, "ranges", ranges);
	return out_json_print(d->ctl, obj);
}

static int diff_run(struct diff *d)
{
	cow_object_t *obj;
	int status = diff_get_older(d);
	int err;

	if (status != 0)
		return status;
	err = cow_open(d->ctl->cow, d->newer, COW_OPEN_READONLY, &obj);
	if (err < 0)
		return ctl_fail_cow(d->ctl, err, d->newer);
	status = diff_walk(d, obj);
	(void)cow_close(obj); /* nothing was written through it */
	if (status != 0)
		return status;
	if (d->ctl->json)
		return diff_print_json(d);
	ctl_remark(d->ctl, "%" PRIu64 " bytes in %zu ranges; %" PRIu64 " nodes were read", d->bytes,
		   d->n, d->nodes);
	return out_table(d->ctl, &d->choice, d->rows ? d->rows[0] : NULL, d->n,
			 args_has(&d->ctl->args, ARGS_NO_HEADER));
}

int cmd_diff(struct ctl *ctl)
{
	struct diff d = {.ctl = ctl, .newer = ctl->args.operands[0]};
	int status = out_choose(ctl, cmd_diff_columns, DIFF_COLUMNS, ctl->args.values[ARGS_FIELDS],
				&d.choice);

	if (ctl->args.noperands > 1) {
		d.older = ctl->args.operands[0];
		d.newer = ctl->args.operands[1];
	}
	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = diff_run(&d);
	free(d.rows);
	free(d.found);
	return status;
}
