/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands on the versions of objects: snap add, snap rename, reset. */
#include "client/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attrs.h"
#include "client/out.h"

static int snap_report(const struct ctl *ctl, const char *name, const char *what, const char *value)
{
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(name));
	if (what)
		out_json_add(obj, what, out_json_text(value));
	return out_json_print(ctl, obj);
}

/* Whether the operand names a version; if not, it is printed that it must. */
static int snap_check(const struct ctl *ctl, const char *spec)
{
	if (strchr(spec, '@'))
		return 0;
	return ctl_fail(ctl, CTL_USAGE, spec, "not a version (OBJ@VERSION)");
}

/* What is missing is the object. */
static int snap_add_fail(const struct ctl *ctl, int err, const char *spec)
{
	char *object = err == -COW_ENOENT ? strndup(spec, strcspn(spec, "@")) : NULL;
	int status = ctl_fail_cow(ctl, err, object ? object : spec);

	free(object);
	return status;
}

int cmd_snap_add(struct ctl *ctl)
{
	const char *spec = ctl->args.operands[0];
	struct attrs attrs;
	int err = 0;

	for (size_t i = 0; i < ctl->args.noperands && err == 0; i++)
		err = snap_check(ctl, ctl->args.operands[i]);
	if (err == 0 && ctl->args.noperands > 1)
		return cmd_snap_add_all(ctl);
	if (err == 0)
		err = attrs_get(ctl, &attrs);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_snap_with(ctl->cow, spec, &attrs.cow);
	if (err < 0)
		return snap_add_fail(ctl, err, spec);
	return snap_report(ctl, spec, NULL, NULL);
}

/*
 * "OBJ@VERSION" of the object that "spec" is of and of what was given for the version: its name, with
 * or without '@', or all of it.  To be freed; NULL: out of memory.
 */
static char *snap_join(const char *spec, const char *version)
{
	int object_len = (int)strcspn(spec, "@");
	char *joined;

	if (version[0] == '@')
		version++;
	else if (strchr(version, '@'))
		return strdup(version);
	return asprintf(&joined, "%.*s@%s", object_len, spec, version) < 0 ? NULL : joined;
}

/* The one name that the error is about; NULL: it is about both. */
static const char *snap_culprit(int err, const char *from, const char *to)
{
	if (err == -COW_EINVAL)
		return ctl_bad_name(from, to);
	return err == -COW_EEXIST ? to : from;
}

static int snap_rename(struct ctl *ctl, const char *from, const char *to)
{
	int err;

	if (strcmp(from, to) == 0)
		return ctl_fail(ctl, CTL_USAGE, from, "both names are the same");
	err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_rename(ctl->cow, from, to, 0);
	if (err < 0)
		return ctl_fail_cow(ctl, err, snap_culprit(err, from, to));
	return snap_report(ctl, from, "to", to);
}

int cmd_snap_rename(struct ctl *ctl)
{
	const char *from = ctl->args.operands[0];
	char *to;
	int err = snap_check(ctl, from);

	if (err != 0)
		return err;
	to = snap_join(from, ctl->args.operands[1]);
	if (!to)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	err = snap_rename(ctl, from, to);
	free(to);
	return err;
}

/* ---- reset ----------------------------------------------------------------------------------- */

static const struct cow_info *reset_newest_of(const struct cow_info *infos, size_t n)
{
	const struct cow_info *newest = &infos[0];

	for (size_t i = 1; i < n; i++)
		if (infos[i].ctime_ns > newest->ctime_ns ||
		    (infos[i].ctime_ns == newest->ctime_ns && infos[i].id > newest->id))
			newest = &infos[i];
	return newest;
}

/* The version that was made last.  0 or an exit status, printed. */
static int reset_find_newest(struct ctl *ctl, const char *name, char **spec)
{
	struct cow_info *infos;
	size_t n;
	int err = cow_list_versions(ctl->cow, name, &infos, &n);

	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	*spec = n > 0 ? strdup(reset_newest_of(infos, n)->name) : NULL;
	cow_list_free(infos, n);
	if (n == 0)
		return ctl_fail(ctl, CTL_NOT_FOUND, name,
				"it has no versions (cowctl snap add makes one)");
	return *spec ? 0 : ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
}

/* The version that the operands name.  As reset_find_newest(). */
static int reset_find(struct ctl *ctl, char **spec)
{
	const char *name = ctl->args.operands[0];
	bool has_version = strchr(name, '@') != NULL;

	if (ctl->args.noperands == 1 && !has_version)
		return reset_find_newest(ctl, name, spec);
	*spec = ctl->args.noperands == 1 ? strdup(name) : snap_join(name, ctl->args.operands[1]);
	return *spec ? 0 : ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
}

static int reset_to(struct ctl *ctl, const char *spec)
{
	int object_len = (int)strcspn(spec, "@");
	struct cow_info info;
	json_object *obj;
	int err;

	if (!ctl_confirm(ctl, "give %.*s back the content of %s, and lose what it has now",
			 object_len, spec, spec))
		return ctl_fail(ctl, CTL_ERROR, NULL, "nothing was changed");
	err = cow_reset(ctl->cow, spec, &info);
	if (err < 0)
		return ctl_fail_cow(ctl, err, spec);
	ctl_remark(ctl, "%s has the content of %s", info.name, spec);
	err = CTL_OK;
	if (ctl->json) {
		obj = out_json_new();
		out_json_add(obj, "name", out_json_text(info.name));
		out_json_add(obj, "version", out_json_text(spec));
		out_json_add(obj, "size", json_object_new_uint64(info.size));
		err = out_json_print(ctl, obj);
	}
	cow_info_clear(&info);
	return err;
}

int cmd_reset(struct ctl *ctl)
{
	char *spec = NULL;
	int err = 0;

	if (ctl->args.noperands == 2 && strchr(ctl->args.operands[0], '@'))
		err = ctl_fail(ctl, CTL_USAGE, NULL, "%s names a version already",
			       ctl->args.operands[0]);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err == 0)
		err = reset_find(ctl, &spec);
	if (err == 0)
		err = reset_to(ctl, spec);
	free(spec);
	return err;
}
