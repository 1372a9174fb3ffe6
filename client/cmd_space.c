/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that show space: that of the store (df), and what objects use of it (du). */
#include "client/cmd.h"

#include <stdlib.h>

#include "client/out.h"
#include "client/specs.h"

/* ---- df -------------------------------------------------------------------------------------- */

const struct out_column cmd_df_columns[CMD_DF_COLUMNS] = {
    {"total", "TOTAL", OUT_SIZE},
    {"used", "USED", OUT_SIZE},
    {"free", "FREE", OUT_SIZE},
    {"reserved", "RESERVED", OUT_SIZE},
    {"withheld", "WITHHELD", OUT_SIZE},
    {"mapped", "MAPPED", OUT_SIZE},
    {"shared", "SHARED", OUT_SIZE},
    {"objects", "OBJECTS", OUT_NUMBER},
    {"meta_total", "META-TOTAL", OUT_SIZE},
    {"meta_used", "META-USED", OUT_SIZE},
    {"block_size", "BLOCK-SIZE", OUT_SIZE},
    {"versions", "VERSIONS", OUT_NUMBER},
    {"reaping", "REAPING", OUT_SIZE},
    {"staged", "STAGED", OUT_SIZE},
    {"journal", "JOURNAL", OUT_SIZE},
    {"journal_used", "JOURNAL-USED", OUT_SIZE},
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
	int err =
	    out_choose(ctl, cmd_df_columns, CMD_DF_COLUMNS, ctl->args.values[ARGS_FIELDS], &choice);

	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = cow_get_statfs(ctl->cow, &st);
	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	used = df_minus(df_minus(df_minus(st.total, st.free), st.reserved), st.withheld);

	const union out_value values[] = {
	    {.number = st.total},
	    {.number = used},
	    {.number = st.free},
	    {.number = st.reserved},
	    {.number = st.withheld},
	    {.number = st.mapped},
	    /* what the objects map beyond the space in use, they map together */
	    {.number = df_minus(st.mapped, used)},
	    {.number = st.objects},
	    {.number = st.meta_total},
	    {.number = st.meta_used},
	    {.number = st.block_size},
	    {.number = st.versions},
	    {.number = st.reaping},
	    {.number = st.staged},
	    {.number = st.journal},
	    {.number = st.journal_used},
	};
	return df_show(ctl, &choice, values);
}

/* ---- du -------------------------------------------------------------------------------------- */

enum du_column { DU_NAME, DU_MAPPED, DU_EXCLUSIVE, DU_SHARED, DU_COLUMNS };

_Static_assert((int)DU_COLUMNS == CMD_DU_COLUMNS, "all of them");

const struct out_column cmd_du_columns[CMD_DU_COLUMNS] = {
    [DU_NAME] = {"name", "NAME", OUT_TEXT},
    [DU_MAPPED] = {"mapped", "MAPPED", OUT_SIZE},
    [DU_EXCLUSIVE] = {"exclusive", "EXCLUSIVE", OUT_SIZE},
    [DU_SHARED] = {"shared", "SHARED", OUT_SIZE},
};

/* A row for each object or version, then the total, then that of their removal. */
struct du {
	struct out_choice choice;
	union out_value (*rows)[DU_COLUMNS];
	size_t n;
	struct cow_usage total;
	bool with_removal;
	struct specs_usage removal;
};

static void du_fill(union out_value row[DU_COLUMNS], const char *name,
		    const struct cow_usage *usage)
{
	row[DU_NAME].text = name;
	row[DU_MAPPED].number = usage->mapped;
	row[DU_EXCLUSIVE].number = usage->exclusive;
	row[DU_SHARED].number = df_minus(usage->mapped, usage->exclusive);
}

/* What is known of those that exist; the first failure gives the exit status. */
static int du_get(struct ctl *ctl, const struct specs *specs, struct du *du)
{
	int status = CTL_OK;

	for (size_t i = 0; i < specs->n; i++) {
		const char *name = specs->names[i];
		struct cow_usage usage;
		int err = cow_get_usage(ctl->cow, &name, 1, &usage);

		if (err < 0) {
			int failed = ctl_fail_cow(ctl, err, name);

			status = status == CTL_OK ? failed : status;
			continue;
		}
		du_fill(du->rows[du->n++], name, &usage);
		du->total.mapped += usage.mapped;
		du->total.exclusive += usage.exclusive;
	}
	return status;
}

static json_object *du_json_sum(const struct du *du, const struct cow_usage *usage)
{
	union out_value row[DU_COLUMNS];
	json_object *obj;

	du_fill(row, NULL, usage);
	obj = out_json_record(&du->choice, row);
	json_object_object_del(obj, cmd_du_columns[DU_NAME].name);
	return obj;
}

static int du_print_json(const struct ctl *ctl, const struct du *du)
{
	json_object *obj = out_json_new();
	json_object *rows = json_object_new_array();
	json_object *removal;

	for (size_t i = 0; i < du->n; i++)
		(void)json_object_array_add(rows, out_json_record(&du->choice, du->rows[i]));
	out_json_add(obj, "objects", rows);
	out_json_add(obj, "total", du_json_sum(du, &du->total));
	if (du->with_removal) {
		removal = json_object_new_object();
		out_json_add(removal, "free", json_object_new_uint64(du->removal.usage.exclusive));
		out_json_add(removal, "exact", json_object_new_boolean(du->removal.exact));
		out_json_add(obj, "if_deleted", removal);
	}
	return out_json_print(ctl, obj);
}

/* There is room for two more rows. */
static int du_print(const struct ctl *ctl, struct du *du)
{
	if (ctl->json)
		return du_print_json(ctl, du);
	if (du->n > 1)
		du_fill(du->rows[du->n++], "total", &du->total);
	if (du->with_removal)
		du_fill(du->rows[du->n++],
			du->removal.exact ? "if deleted" : "if deleted, at least",
			&du->removal.usage);
	return out_table(ctl, &du->choice, du->rows[0], du->n,
			 args_has(&ctl->args, ARGS_NO_HEADER));
}

static int du_run(struct ctl *ctl, const struct specs *specs, struct du *du)
{
	int status;
	int printed;

	du->rows = calloc(specs->n + 2, sizeof(*du->rows));
	if (!du->rows)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	status = du_get(ctl, specs, du);
	if (status == CTL_OK && args_has(&ctl->args, ARGS_IF_DELETED)) {
		status = specs_get_usage(ctl, specs, &du->removal);
		du->with_removal = status == CTL_OK;
	}
	if (du->n == 0)
		return status;
	printed = du_print(ctl, du);
	return status != CTL_OK ? status : printed;
}

int cmd_du(struct ctl *ctl)
{
	struct du du = {.n = 0};
	struct specs specs = {.n = 0};
	int status =
	    out_choose(ctl, cmd_du_columns, DU_COLUMNS, ctl->args.values[ARGS_FIELDS], &du.choice);
	int found;

	if (status == CTL_OK)
		status = ctl_connect_patiently(ctl, SPECS_PATIENCE_SEC);
	if (status != CTL_OK)
		return status;
	found = specs_collect(
	    ctl, args_has(&ctl->args, ARGS_RECURSIVE) ? SPECS_WITH_VERSIONS : SPECS_NAMED, &specs);
	status = specs.n > 0 ? du_run(ctl, &specs, &du) : CTL_OK;
	free(du.rows);
	specs_clear(&specs);
	return found != CTL_OK ? found : status;
}
