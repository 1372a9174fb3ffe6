/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that make or change one object as a whole: create, mv, resize. */
#include "client/cmd.h"

#include <string.h>

#include "client/attrs.h"
#include "client/out.h"

/* What a command that changed one object says in JSON. */
static int names_report(const struct ctl *ctl, const char *name, const char *what, uint64_t number)
{
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(name));
	if (what)
		out_json_add(obj, what, json_object_new_uint64(number));
	return out_json_print(ctl, obj);
}

/* What --reserve says. */
static int create_reserve(const struct ctl *ctl, uint64_t size, uint64_t *reserved)
{
	const char *text = ctl->args.values[ARGS_RESERVE];

	if (text && text[0] != '\0')
		return ctl_parse_size(ctl, text, reserved);
	*reserved = text ? size : 0;
	return 0;
}

int cmd_create(struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];
	struct attrs attrs;
	uint64_t size;
	int err = ctl_parse_size(ctl, ctl->args.operands[1], &size);

	if (err == 0)
		err = attrs_get(ctl, &attrs);
	if (err == 0)
		err = create_reserve(ctl, size, &attrs.cow.reserved);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_create_with(ctl->cow, name, size, &attrs.cow);
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	return names_report(ctl, name, "size", size);
}

/* ---- mv -------------------------------------------------------------------------------------- */

/* Names the one name that the error is about: of two to be swapped, either may be missing. */
static int mv_fail(const struct ctl *ctl, int err, bool exchange)
{
	const char *from = ctl->args.operands[0];
	const char *to = ctl->args.operands[1];
	struct cow_info info;

	if (err == -COW_EINVAL)
		return ctl_fail_cow(ctl, err, ctl_bad_name(from, to));
	if (err == -COW_EEXIST)
		return ctl_fail_cow(ctl, err, to);
	if (err != -COW_ENOENT || !exchange)
		return ctl_fail_cow(ctl, err, from);
	if (cow_get_info(ctl->cow, from, &info) < 0)
		return ctl_fail_cow(ctl, err, from);
	cow_info_clear(&info);
	return ctl_fail_cow(ctl, err, to);
}

int cmd_mv(struct ctl *ctl)
{
	const char *from = ctl->args.operands[0];
	const char *to = ctl->args.operands[1];
	bool exchange = args_has(&ctl->args, ARGS_EXCHANGE);
	json_object *obj;
	int err;

	if (strcmp(from, to) == 0)
		return ctl_fail(ctl, CTL_USAGE, from, "both names are the same");
	err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_rename(ctl->cow, from, to, exchange ? COW_RENAME_EXCHANGE : 0);
	if (err < 0)
		return mv_fail(ctl, err, exchange);
	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "from", out_json_text(from));
	out_json_add(obj, "to", out_json_text(to));
	out_json_add(obj, "exchanged", json_object_new_boolean(exchange));
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
