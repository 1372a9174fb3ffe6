/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/show.h"

#include <stdio.h>
#include <stdlib.h>

const struct out_column show_columns[SHOW_COLUMNS] = {
    [SHOW_NAME] = {"name", "NAME", OUT_TEXT},
    [SHOW_SIZE] = {"size", "SIZE", OUT_SIZE},
    [SHOW_MAPPED] = {"mapped", "MAPPED", OUT_SIZE},
    [SHOW_VERSIONS] = {"versions", "VERSIONS", OUT_NUMBER},
    [SHOW_GENERATION] = {"generation", "GENERATION", OUT_NUMBER},
    [SHOW_CREATED] = {"created", "CREATED", OUT_TIME},
    [SHOW_MODIFIED] = {"modified", "MODIFIED", OUT_TIME},
    [SHOW_ID] = {"id", "ID", OUT_ID},
    [SHOW_ORIGIN] = {"origin", "ORIGIN", OUT_ID},
    [SHOW_PARENT] = {"parent", "PARENT", OUT_ID},
    [SHOW_EXPIRES] = {"expires", "EXPIRES", OUT_TIME},
    [SHOW_READONLY] = {"readonly", "READONLY", OUT_FLAG},
    [SHOW_RESERVED] = {"reserved", "RESERVED", OUT_SIZE},
    [SHOW_WITHHELD] = {"withheld", "WITHHELD", OUT_SIZE},
    [SHOW_LABELS] = {"labels", "LABELS", OUT_LABELS},
};

int show_choose(const struct ctl *ctl, const char *fields, struct out_choice *choice)
{
	return out_choose(ctl, show_columns, SHOW_COLUMNS, fields, choice);
}

void show_fill(union out_value values[SHOW_COLUMNS], const struct cow_info *info)
{
	values[SHOW_NAME].text = info->name;
	values[SHOW_SIZE].number = info->size;
	values[SHOW_MAPPED].number = info->mapped;
	values[SHOW_VERSIONS].number = info->nversions;
	values[SHOW_GENERATION].number = info->generation;
	values[SHOW_CREATED].number = info->ctime_ns;
	values[SHOW_MODIFIED].number = info->mtime_ns;
	values[SHOW_ID].number = info->id;
	values[SHOW_ORIGIN].number = info->origin;
	values[SHOW_PARENT].number = info->parent;
	values[SHOW_EXPIRES].number = info->expires_ns;
	values[SHOW_READONLY].number = info->readonly != 0;
	values[SHOW_RESERVED].number = info->reserved;
	values[SHOW_WITHHELD].number = info->withheld;
	values[SHOW_LABELS].labels = info;
}

static int show_json(const struct ctl *ctl, const struct out_choice *choice,
		     const union out_value *values, size_t n)
{
	json_object *obj = out_json_new();
	json_object *rows = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		(void)json_object_array_add(rows,
					    out_json_record(choice, values + i * choice->ncolumns));
	out_json_add(obj, "objects", rows);
	return out_json_print(ctl, obj);
}

static int show_records(const struct ctl *ctl, const struct out_choice *choice,
			const union out_value *values, size_t n)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++) {
		if (i > 0)
			(void)putchar('\n');
		err = out_record(ctl, choice, values + i * choice->ncolumns);
	}
	return err;
}

static int show_rows(const struct ctl *ctl, const struct out_choice *choice,
		     const union out_value *values, size_t n, enum show_as as)
{
	bool bare = args_has(&ctl->args, ARGS_NO_HEADER);

	if (ctl->json)
		return show_json(ctl, choice, values, n);
	if (as == SHOW_RECORDS && !bare)
		return show_records(ctl, choice, values, n);
	return out_table(ctl, choice, values, n, bare || as == SHOW_NAMES);
}

int show_objects(const struct ctl *ctl, const struct out_choice *choice,
		 const struct cow_info *infos, size_t n, enum show_as as)
{
	union out_value *values = calloc(n > 0 ? n : 1, SHOW_COLUMNS * sizeof(*values));
	int err;

	if (!values)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		show_fill(values + i * SHOW_COLUMNS, &infos[i]);
	err = show_rows(ctl, choice, values, n, as);
	free(values);
	return err;
}
