/* SPDX-License-Identifier: BSD-2-Clause */
/* What commands do with several objects at one point in time: fsync, snap add, clone-all. */
#include "client/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "client/attrs.h"
#include "client/out.h"

/* Every step-th operand, from first on: "names", or of a single operand the "name". */
static int group_report(const struct ctl *ctl, size_t first, size_t step)
{
	json_object *names;
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	if (ctl->args.noperands == 1) {
		out_json_add(obj, "name", out_json_text(ctl->args.operands[0]));
		return out_json_print(ctl, obj);
	}
	names = json_object_new_array();
	for (size_t i = first; i < ctl->args.noperands; i += step)
		(void)json_object_array_add(names, out_json_text(ctl->args.operands[i]));
	out_json_add(obj, "names", names);
	return out_json_print(ctl, obj);
}

static int group_check_count(const struct ctl *ctl, size_t count)
{
	if (count <= COW_GROUP_MAX)
		return 0;
	return ctl_fail(ctl, CTL_USAGE, NULL, "at most %d of one point in time", COW_GROUP_MAX);
}

/* ---- fsync ----------------------------------------------------------------------------------- */

/* Opens what the operands name; *n: how many are open.  0 or an exit status, printed. */
static int fsync_open_all(struct ctl *ctl, cow_object_t **objs, size_t *n)
{
	for (*n = 0; *n < ctl->args.noperands; (*n)++) {
		const char *name = ctl->args.operands[*n];
		int err = cow_open(ctl->cow, name, 0, &objs[*n]);

		if (err < 0)
			return ctl_fail_cow(ctl, err, name);
	}
	return 0;
}

/* An error of closing counts when there was none before. */
static int fsync_close_all(struct ctl *ctl, cow_object_t **objs, size_t n, int status)
{
	for (size_t i = 0; i < n; i++) {
		int err = cow_close(objs[i]);

		if (err < 0 && status == 0)
			status = ctl_fail_cow(ctl, err, ctl->args.operands[i]);
	}
	return status;
}

int cmd_fsync(struct ctl *ctl)
{
	cow_object_t *objs[COW_GROUP_MAX];
	size_t n = 0;
	int status = group_check_count(ctl, ctl->args.noperands);
	int err;

	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = fsync_open_all(ctl, objs, &n);
	if (status == 0) {
		err = cow_group_fsync(objs, n);
		if (err < 0)
			status = ctl_fail_cow(ctl, err, n == 1 ? ctl->args.operands[0] : NULL);
	}
	status = fsync_close_all(ctl, objs, n, status);
	return status != 0 ? status : group_report(ctl, 0, 1);
}

/* ---- clones and versions --------------------------------------------------------------------- */

/* The one name that the error is about, as far as that can be told; the message has it. */
static int group_make(struct ctl *ctl, const struct cow_pair *pairs, size_t n)
{
	struct attrs attrs;
	int err = attrs_get(ctl, &attrs);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_group_clone(ctl->cow, pairs, n, &attrs.cow);
	return err < 0 ? ctl_fail_cow(ctl, err, NULL) : 0;
}

int cmd_clone_all(struct ctl *ctl)
{
	struct cow_pair pairs[COW_GROUP_MAX];
	size_t n = ctl->args.noperands / 2;
	int err = group_check_count(ctl, n);

	if (err == 0 && ctl->args.noperands % 2 != 0)
		err =
		    ctl_fail(ctl, CTL_USAGE, NULL, "%s is given no DST", ctl->args.operands[2 * n]);
	if (err != 0)
		return err;
	for (size_t i = 0; i < n; i++)
		pairs[i] =
		    (struct cow_pair){ctl->args.operands[2 * i], ctl->args.operands[2 * i + 1]};
	err = group_make(ctl, pairs, n);
	return err != 0 ? err : group_report(ctl, 1, 2);
}

/* The objects of versions, each to be freed. */
static int snap_objects(struct ctl *ctl, struct cow_pair *pairs, char **objects)
{
	for (size_t i = 0; i < ctl->args.noperands; i++) {
		const char *spec = ctl->args.operands[i];

		objects[i] = strndup(spec, strcspn(spec, "@"));
		if (!objects[i])
			return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
		pairs[i] = (struct cow_pair){objects[i], spec};
	}
	return 0;
}

int cmd_snap_add_all(struct ctl *ctl)
{
	struct cow_pair pairs[COW_GROUP_MAX];
	char *objects[COW_GROUP_MAX] = {NULL};
	int err = group_check_count(ctl, ctl->args.noperands);

	if (err != 0)
		return err;
	err = snap_objects(ctl, pairs, objects);
	if (err == 0)
		err = group_make(ctl, pairs, ctl->args.noperands);
	for (size_t i = 0; i < ctl->args.noperands; i++)
		free(objects[i]);
	return err != 0 ? err : group_report(ctl, 0, 1);
}
