/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that change objects as wholes: create, clone, resize, fsync, rm. */
#include "client/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/out.h"

/* What a command that changed one object says in JSON. */
static int names_report(const struct ctl *ctl, const char *name, const char *what, uint64_t number)
{
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", json_object_new_string(name));
	if (what)
		out_json_add(obj, what, json_object_new_uint64(number));
	return out_json_print(ctl, obj);
}

int cmd_create(struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];
	uint64_t size;
	int err = ctl_parse_size(ctl, ctl->args.operands[1], &size);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_create(ctl->cow, name, size);
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	return names_report(ctl, name, "size", size);
}

/* The one name that the error is about. */
static const char *names_culprit(int err, const char *src, const char *dst)
{
	if (err == -COW_EEXIST)
		return dst;
	return src;
}

int cmd_clone(struct ctl *ctl)
{
	const char *src = ctl->args.operands[0];
	const char *dst = ctl->args.operands[1];
	json_object *obj;
	int err = ctl_connect(ctl);

	if (err != 0)
		return err;
	err = cow_clone(ctl->cow, src, dst);
	if (err < 0)
		return ctl_fail_cow(ctl, err, names_culprit(err, src, dst));
	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", json_object_new_string(dst));
	out_json_add(obj, "origin", json_object_new_string(src));
	return out_json_print(ctl, obj);
}

/* ---- resize ---------------------------------------------------------------------------------- */

/* What "[+|-]SIZE" makes of the size of now. */
static int resize_target(const struct ctl *ctl, uint64_t now, uint64_t *target)
{
	const char *text = ctl->args.operands[1];
	char sign = text[0];
	uint64_t by;
	int err = ctl_parse_size(ctl, sign == '+' || sign == '-' ? text + 1 : text, &by);

	if (err != 0)
		return err;
	if (sign == '-' && by > now)
		return ctl_fail(ctl, CTL_USAGE, text, "the object is smaller than that");
	if (sign == '+' && by > UINT64_MAX - now)
		return ctl_fail(ctl, CTL_USAGE, text, "the size is too large");
	*target = sign == '+' ? now + by : sign == '-' ? now - by : by;
	return 0;
}

static int resize_open(const struct ctl *ctl, cow_object_t *obj, uint64_t *size)
{
	const char *name = ctl->args.operands[0];
	uint64_t now = cow_object_size(obj);
	bool shrink = args_has(&ctl->args, ARGS_SHRINK);
	uint64_t target = now;
	int err = resize_target(ctl, now, &target);

	if (err != 0)
		return err;
	if (target < now && !shrink)
		return ctl_fail(ctl, CTL_ERROR, name,
				"that would cut off data (--shrink allows it)");
	err = cow_resize(obj, target, shrink ? COW_RESIZE_SHRINK : 0);
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	*size = target;
	return 0;
}

/* Runs fn on the object; an error of closing it counts when there was none before. */
static int names_with_object(struct ctl *ctl, const char *name,
			     int (*fn)(const struct ctl *ctl, cow_object_t *obj, uint64_t *size),
			     uint64_t *size)
{
	cow_object_t *obj;
	int status = ctl_connect(ctl);
	int err;

	if (status != 0)
		return status;
	err = cow_open(ctl->cow, name, 0, &obj);
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	status = fn(ctl, obj, size);
	err = cow_close(obj);
	if (status == 0 && err < 0)
		status = ctl_fail_cow(ctl, err, name);
	return status;
}

int cmd_resize(struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];
	uint64_t size = 0;
	int err = names_with_object(ctl, name, resize_open, &size);

	return err != 0 ? err : names_report(ctl, name, "size", size);
}

static int fsync_open(const struct ctl *ctl, cow_object_t *obj, uint64_t *size)
{
	int err = cow_fsync(obj);

	*size = cow_object_size(obj);
	return err < 0 ? ctl_fail_cow(ctl, err, ctl->args.operands[0]) : 0;
}

int cmd_fsync(struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];
	uint64_t size = 0;
	int err = names_with_object(ctl, name, fsync_open, &size);

	return err != 0 ? err : names_report(ctl, name, NULL, 0);
}

/* ---- rm -------------------------------------------------------------------------------------- */

/* Asks on a terminal only: a script is never left waiting. */
static bool rm_is_wanted(const struct ctl *ctl)
{
	char *line = NULL;
	size_t len = 0;
	bool yes;

	if (args_has(&ctl->args, ARGS_YES) || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	(void)fprintf(stderr, "remove");
	for (size_t i = 0; i < ctl->args.noperands; i++)
		(void)fprintf(stderr, " %s", ctl->args.operands[i]);
	(void)fprintf(stderr, "? [y/N] ");
	yes = getline(&line, &len, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
	free(line);
	return yes;
}

/* Each of them; the first failure gives the exit status. */
static int rm_all(struct ctl *ctl, json_object *removed)
{
	int status = CTL_OK;

	for (size_t i = 0; i < ctl->args.noperands; i++) {
		const char *name = ctl->args.operands[i];
		int err = cow_remove(ctl->cow, name);

		if (err == 0 && removed)
			(void)json_object_array_add(removed, json_object_new_string(name));
		if (err < 0) {
			int failed = ctl_fail_cow(ctl, err, name);

			status = status == CTL_OK ? failed : status;
		}
	}
	return status;
}

int cmd_rm(struct ctl *ctl)
{
	json_object *obj = NULL;
	json_object *removed = NULL;
	int printed = CTL_OK;
	int status = ctl_connect(ctl);

	if (status != 0)
		return status;
	if (!rm_is_wanted(ctl))
		return ctl_fail(ctl, CTL_ERROR, NULL, "nothing was removed");
	if (ctl->json) {
		obj = out_json_new();
		removed = json_object_new_array();
		out_json_add(obj, "removed", removed);
	}
	status = rm_all(ctl, removed);
	if (obj)
		printed = out_json_print(ctl, obj);
	return status != CTL_OK ? status : printed;
}
