/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that show objects and the store: ls, info, df. */
#include "client/cmd.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/out.h"

enum {
	COL_NAME,
	COL_SIZE,
	COL_MAPPED,
	COL_GENERATION,
	COL_CREATED,
	COL_MODIFIED,
	COL_ID,
	COL_ORIGIN
};

static const struct out_column object_columns[] = {
    [COL_NAME] = {"name", "NAME", OUT_TEXT},
    [COL_SIZE] = {"size", "SIZE", OUT_SIZE},
    [COL_MAPPED] = {"mapped", "MAPPED", OUT_SIZE},
    [COL_GENERATION] = {"generation", "GENERATION", OUT_NUMBER},
    [COL_CREATED] = {"created", "CREATED", OUT_TIME},
    [COL_MODIFIED] = {"modified", "MODIFIED", OUT_TIME},
    [COL_ID] = {"id", "ID", OUT_ID},
    [COL_ORIGIN] = {"origin", "ORIGIN", OUT_ID},
};

#define OBJECT_COLUMNS ARRAY_LEN(object_columns)

static void show_fill(union out_value values[OBJECT_COLUMNS], const struct cow_info *info)
{
	values[COL_NAME].text = info->name;
	values[COL_SIZE].number = info->size;
	values[COL_MAPPED].number = info->mapped;
	values[COL_GENERATION].number = info->generation;
	values[COL_CREATED].number = info->ctime_ns;
	values[COL_MODIFIED].number = info->mtime_ns;
	values[COL_ID].number = info->id;
	values[COL_ORIGIN].number = info->origin;
}

/* How rows of objects are to be shown. */
enum show_as { SHOW_NAMES, SHOW_TABLE, SHOW_RECORDS };

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

static int show_objects(const struct ctl *ctl, const struct out_choice *choice,
			const struct cow_info *infos, size_t n, enum show_as as)
{
	union out_value *values = calloc(n > 0 ? n : 1, OBJECT_COLUMNS * sizeof(*values));
	int err;

	if (!values)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		show_fill(values + i * OBJECT_COLUMNS, &infos[i]);
	err = show_rows(ctl, choice, values, n, as);
	free(values);
	return err;
}

/* ---- ls -------------------------------------------------------------------------------------- */

int cmd_ls(struct ctl *ctl)
{
	const char *prefix = ctl->args.noperands > 0 ? ctl->args.operands[0] : NULL;
	const char *fields = ctl->args.values[ARGS_FIELDS];
	bool names_only = !fields && !args_has(&ctl->args, ARGS_LONG) && !ctl->json;
	struct out_choice choice;
	struct cow_info *infos;
	size_t n;
	int err =
	    out_choose(ctl, object_columns, OBJECT_COLUMNS, names_only ? "name" : fields, &choice);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_list(ctl->cow, prefix, &infos, &n);
	if (err < 0)
		return ctl_fail_cow(ctl, err, prefix);
	err = show_objects(ctl, &choice, infos, n, names_only ? SHOW_NAMES : SHOW_TABLE);
	cow_list_free(infos, n);
	return err;
}

/* ---- info ------------------------------------------------------------------------------------ */

/* What is known of all operands that exist; the first failure gives the exit status. */
static int info_get(struct ctl *ctl, struct cow_info *infos, size_t *n)
{
	int status = CTL_OK;

	for (size_t i = 0; i < ctl->args.noperands; i++) {
		int err = cow_get_info(ctl->cow, ctl->args.operands[i], &infos[*n]);

		if (err < 0) {
			int failed = ctl_fail_cow(ctl, err, ctl->args.operands[i]);

			status = status == CTL_OK ? failed : status;
		} else {
			(*n)++;
		}
	}
	return status;
}

int cmd_info(struct ctl *ctl)
{
	bool table = args_has(&ctl->args, ARGS_FIELDS);
	struct out_choice choice;
	struct cow_info *infos;
	size_t n = 0;
	int shown = CTL_OK;
	int err =
	    out_choose(ctl, object_columns, OBJECT_COLUMNS, ctl->args.values[ARGS_FIELDS], &choice);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	infos = calloc(ctl->args.noperands, sizeof(*infos));
	if (!infos)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	err = info_get(ctl, infos, &n);
	if (n > 0)
		shown = show_objects(ctl, &choice, infos, n, table ? SHOW_TABLE : SHOW_RECORDS);
	cow_list_free(infos, n);
	return err != CTL_OK ? err : shown;
}

/* ---- df -------------------------------------------------------------------------------------- */

static const struct out_column df_columns[] = {
    {"total", "TOTAL", OUT_SIZE},	  {"used", "USED", OUT_SIZE},
    {"free", "FREE", OUT_SIZE},		  {"reserved", "RESERVED", OUT_SIZE},
    {"mapped", "MAPPED", OUT_SIZE},	  {"shared", "SHARED", OUT_SIZE},
    {"objects", "OBJECTS", OUT_NUMBER},	  {"meta_total", "META-TOTAL", OUT_SIZE},
    {"meta_used", "META-USED", OUT_SIZE}, {"block_size", "BLOCK-SIZE", OUT_SIZE},
};

static uint64_t df_minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static int df_show(const struct ctl *ctl, const struct out_choice *choice,
		   const union out_value *values)
{
	json_object *obj;
	json_object *record;

	if (ctl->json) {
		obj = out_json_new();
		record = out_json_record(choice, values);
		out_json_add(obj, "store", record);
		return out_json_print(ctl, obj);
	}
	if (args_has(&ctl->args, ARGS_FIELDS) || args_has(&ctl->args, ARGS_NO_HEADER))
		return out_table(ctl, choice, values, 1, args_has(&ctl->args, ARGS_NO_HEADER));
	return out_record(ctl, choice, values);
}

int cmd_df(struct ctl *ctl)
{
	struct out_choice choice;
	struct cow_statfs st;
	uint64_t used;
	int err = out_choose(ctl, df_columns, ARRAY_LEN(df_columns), ctl->args.values[ARGS_FIELDS],
			     &choice);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_get_statfs(ctl->cow, &st);
	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	used = df_minus(df_minus(st.total, st.free), st.reserved);

	const union out_value values[] = {
	    {.number = st.total},
	    {.number = used},
	    {.number = st.free},
	    {.number = st.reserved},
	    {.number = st.mapped},
	    /* what the objects map beyond the space in use, they map together */
	    {.number = df_minus(st.mapped, used)},
	    {.number = st.objects},
	    {.number = st.meta_total},
	    {.number = st.meta_used},
	    {.number = st.block_size},
	};
	return df_show(ctl, &choice, values);
}
