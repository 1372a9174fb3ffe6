/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands on the attributes of what there is: set, get, unset.  Every KEY is a label, but for three:
 * "ttl", how long it still lives, "readonly", and "reservation", the space that is reserved for it.
 */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attrs.h"
#include "client/out.h"
#include "client/show.h"
#include "client/specs.h"
#include "common/clock.h"

#define NS_PER_SEC UINT64_C(1000000000)

/* What the command line asks for. */
struct edit {
	struct cow_edit cow; /* points to the others */
	struct cow_label *labels;
	struct cow_label expect[2];
};

const struct out_column cmd_get_columns[CMD_GET_COLUMNS] = {
    {"key", "KEY", OUT_TEXT},
    {"value", "VALUE", OUT_TEXT},
};

/* ---- what is to change ----------------------------------------------------------------------- */

static int edit_ttl(const struct ctl *ctl, struct edit *edit, const char *value)
{
	if (edit->cow.flags & COW_SET_TTL)
		return ctl_fail(ctl, CTL_USAGE, ATTRS_TTL, "given twice");
	edit->cow.flags |= COW_SET_TTL;
	if (value && attrs_parse_ttl(value, &edit->cow.ttl_ms) < 0)
		return ctl_fail(ctl, CTL_USAGE, value, "not a time (such as 30s, 15m, 2h, 7d)");
	return 0;
}

static int edit_readonly(const struct ctl *ctl, struct edit *edit, const char *value)
{
	bool yes = value && strcmp(value, "yes") == 0;

	if (edit->cow.flags & (COW_SET_READONLY | COW_SET_WRITABLE))
		return ctl_fail(ctl, CTL_USAGE, ATTRS_READONLY, "given twice");
	if (value && !yes && strcmp(value, "no") != 0)
		return ctl_fail(ctl, CTL_USAGE, value, "neither yes nor no");
	edit->cow.flags |= yes ? COW_SET_READONLY : COW_SET_WRITABLE;
	return 0;
}

static int edit_reservation(const struct ctl *ctl, struct edit *edit, const char *value)
{
	if (edit->cow.flags & COW_SET_RESERVED)
		return ctl_fail(ctl, CTL_USAGE, ATTRS_RESERVATION, "given twice");
	edit->cow.flags |= COW_SET_RESERVED;
	return value ? ctl_parse_size(ctl, value, &edit->cow.reserved) : 0;
}

/* value NULL: unset. */
static int edit_add(const struct ctl *ctl, struct edit *edit, const char *key, const char *value)
{
	if (strcmp(key, ATTRS_TTL) == 0)
		return edit_ttl(ctl, edit, value);
	if (strcmp(key, ATTRS_READONLY) == 0)
		return edit_readonly(ctl, edit, value);
	if (strcmp(key, ATTRS_RESERVATION) == 0)
		return edit_reservation(ctl, edit, value);
	edit->labels[edit->cow.nlabels++] = (struct cow_label){key, value};
	return 0;
}

/* What --if and --unless say. */
static int edit_expect(const struct ctl *ctl, struct edit *edit)
{
	const char *unless = ctl->args.values[ARGS_UNLESS];
	/* the command line is ours to cut apart */
	char *given = (char *)(uintptr_t)ctl->args.values[ARGS_IF];
	char *equals = given ? strchr(given, '=') : NULL;

	if (given && !equals)
		return ctl_fail(ctl, CTL_USAGE, given, "not a label (KEY=VALUE)");
	if (given) {
		*equals = '\0';
		edit->expect[edit->cow.nexpect++] = (struct cow_label){given, equals + 1};
	}
	if (unless && strchr(unless, '='))
		return ctl_fail(ctl, CTL_USAGE, unless, "not the key of a label");
	if (unless)
		edit->expect[edit->cow.nexpect++] = (struct cow_label){unless, NULL};
	return 0;
}

/* All operands behind the first; "set": with values. */
static int edit_fill(const struct ctl *ctl, struct edit *edit, bool set)
{
	int status = edit_expect(ctl, edit);

	for (size_t i = 1; status == 0 && i < ctl->args.noperands; i++) {
		char *key = ctl->args.operands[i];
		char *equals = strchr(key, '=');

		if (set && !equals)
			return ctl_fail(ctl, CTL_USAGE, key, "no value (KEY=VALUE)");
		if (!set && equals)
			return ctl_fail(ctl, CTL_USAGE, key, "a value; unset takes keys alone");
		if (equals)
			*equals = '\0';
		status = edit_add(ctl, edit, key, equals ? equals + 1 : NULL);
	}
	return status;
}

/* ---- what it is then ------------------------------------------------------------------------- */

/* Whole seconds that are left, the last one begun; false: it lives on. */
static bool info_ttl(const struct cow_info *info, uint64_t *sec)
{
	uint64_t now_ns = clock_wall_ns();

	if (info->expires_ns == 0)
		return false;
	*sec = info->expires_ns > now_ns ? (info->expires_ns - now_ns + NS_PER_SEC - 1) / NS_PER_SEC
					 : 0;
	return true;
}

static int info_json(const struct ctl *ctl, const struct cow_info *info)
{
	union out_value values[SHOW_COLUMNS];
	struct out_choice choice;
	json_object *attributes;
	json_object *obj;
	uint64_t sec;
	int err = show_choose(ctl, "readonly,expires,reserved,withheld,labels", &choice);

	if (err != 0)
		return err;
	show_fill(values, info);
	attributes = out_json_record(&choice, values);
	out_json_add(attributes, ATTRS_TTL,
		     info_ttl(info, &sec) ? json_object_new_uint64(sec) : NULL);
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(info->name));
	out_json_add(obj, "attributes", attributes);
	return out_json_print(ctl, obj);
}

static int edit_run(struct ctl *ctl, struct edit *edit)
{
	const char *spec = ctl->args.operands[0];
	struct cow_info info;
	/* for a reservation the server may have to count */
	int status = edit->cow.reserved > 0 ? ctl_connect_patiently(ctl, SPECS_PATIENCE_SEC)
					    : ctl_connect(ctl);
	int err;

	if (status != 0)
		return status;
	err = cow_set(ctl->cow, spec, &edit->cow, &info);
	if (err < 0)
		return ctl_fail_cow(ctl, err, spec);
	status = ctl->json ? info_json(ctl, &info) : CTL_OK;
	cow_info_clear(&info);
	return status;
}

static int edit_command(struct ctl *ctl, bool set)
{
	struct edit edit = {.labels = calloc(ctl->args.noperands, sizeof(*edit.labels))};
	int status;

	if (!edit.labels)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	edit.cow.labels = edit.labels;
	edit.cow.expect = edit.expect;
	status = edit_fill(ctl, &edit, set);
	if (status == 0)
		status = edit_run(ctl, &edit);
	free(edit.labels);
	return status;
}

int cmd_set(struct ctl *ctl)
{
	return edit_command(ctl, true);
}

int cmd_unset(struct ctl *ctl)
{
	return edit_command(ctl, false);
}

/* ---- get ------------------------------------------------------------------------------------- */

/* A time or size that "set" takes. */
#define GET_VALUE_MAX 24

/* The value of a key, which may be in buf; NULL: it has none. */
static const char *get_value(const struct cow_info *info, const char *key, char buf[GET_VALUE_MAX])
{
	uint64_t sec;

	if (strcmp(key, ATTRS_READONLY) == 0)
		return info->readonly ? "yes" : "no";
	if (strcmp(key, ATTRS_TTL) == 0) {
		if (!info_ttl(info, &sec))
			return NULL;
		(void)snprintf(buf, GET_VALUE_MAX, "%" PRIu64 "s", sec);
		return buf;
	}
	if (strcmp(key, ATTRS_RESERVATION) == 0) {
		(void)snprintf(buf, GET_VALUE_MAX, "%" PRIu64, info->reserved);
		return info->reserved > 0 ? buf : NULL;
	}
	for (size_t i = 0; i < info->nlabels; i++)
		if (strcmp(info->labels[i].key, key) == 0)
			return info->labels[i].value;
	return NULL;
}

static int get_one(const struct ctl *ctl, const struct cow_info *info, const char *key)
{
	char buf[GET_VALUE_MAX];
	const char *value = get_value(info, key, buf);
	json_object *obj;

	if (!value)
		return ctl_fail(ctl, CTL_NOT_FOUND, info->name, "has no %s", key);
	if (!ctl->json) {
		(void)puts(value);
		return out_finish(ctl);
	}
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(info->name));
	out_json_add(obj, "key", out_json_text(key));
	out_json_add(obj, "value", out_json_text(value));
	return out_json_print(ctl, obj);
}

/* A row for each attribute that there is, and for each label. */
static int get_all(const struct ctl *ctl, const struct cow_info *info,
		   const struct out_choice *choice)
{
	static const char *const attributes[] = {ATTRS_READONLY, ATTRS_TTL, ATTRS_RESERVATION};
	char bufs[ARRAY_LEN(attributes)][GET_VALUE_MAX];
	union out_value *values =
	    calloc(info->nlabels + ARRAY_LEN(attributes), CMD_GET_COLUMNS * sizeof(*values));
	size_t n = 0;
	int err;

	if (!values)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		const char *value = get_value(info, attributes[i], bufs[i]);

		if (!value)
			continue;
		values[n++].text = attributes[i];
		values[n++].text = value;
	}
	for (size_t i = 0; i < info->nlabels; i++) {
		values[n++].text = info->labels[i].key;
		values[n++].text = info->labels[i].value;
	}
	err = out_table(ctl, choice, values, n / CMD_GET_COLUMNS,
			args_has(&ctl->args, ARGS_NO_HEADER));
	free(values);
	return err;
}

int cmd_get(struct ctl *ctl)
{
	const char *spec = ctl->args.operands[0];
	const char *key = ctl->args.noperands > 1 ? ctl->args.operands[1] : NULL;
	struct out_choice choice;
	struct cow_info info;
	int status = out_choose(ctl, cmd_get_columns, CMD_GET_COLUMNS,
				ctl->args.values[ARGS_FIELDS], &choice);
	int err;

	if (status == 0)
		status = ctl_connect(ctl);
	if (status != 0)
		return status;
	err = cow_get_info(ctl->cow, spec, &info);
	if (err < 0)
		return ctl_fail_cow(ctl, err, spec);
	if (key)
		status = get_one(ctl, &info, key);
	else if (ctl->json)
		status = info_json(ctl, &info);
	else
		status = get_all(ctl, &info, &choice);
	cow_info_clear(&info);
	return status;
}
