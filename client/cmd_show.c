/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that show objects and versions: ls, info, children, snap ls. */
#include "client/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/out.h"
#include "client/show.h"

/* ---- lists ----------------------------------------------------------------------------------- */

#define LIST_FIELDS "name,size,mapped,versions,origin,expires,labels"

/* Gets a list, as those of libcow. */
typedef int (*list_get_fn)(const struct ctl *ctl, struct cow_info **infos, size_t *n);

/* Names alone, or a table. */
static int list_show(struct ctl *ctl, list_get_fn get)
{
	const char *subject = ctl->args.noperands > 0 ? ctl->args.operands[0] : NULL;
	const char *fields = ctl->args.values[ARGS_FIELDS];
	bool is_long = args_has(&ctl->args, ARGS_LONG);
	bool names_only = !fields && !is_long && !ctl->json;
	struct out_choice choice;
	struct cow_info *infos;
	size_t n;
	int err;

	if (names_only)
		fields = "name";
	else if (!fields && !ctl->json)
		fields = LIST_FIELDS;
	err = show_choose(ctl, fields, &choice);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = get(ctl, &infos, &n);
	if (err == -COW_ENOMEM)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	if (err < 0)
		return ctl_fail_cow(ctl, err, subject);
	err = show_objects(ctl, &choice, infos, n, names_only ? SHOW_NAMES : SHOW_TABLE);
	cow_list_free(infos, n);
	return err;
}

static int ls_get(const struct ctl *ctl, struct cow_info **infos, size_t *n)
{
	const char *prefix = ctl->args.noperands > 0 ? ctl->args.operands[0] : NULL;

	return cow_list_labelled(ctl->cow, prefix, ctl->args.values[ARGS_LABEL], infos, n);
}

int cmd_ls(struct ctl *ctl)
{
	const char *label = ctl->args.values[ARGS_LABEL];

	if (ctl->args.nlabels > 1)
		return ctl_fail(ctl, CTL_USAGE, NULL, "only one --label can be asked for");
	if (label && (!label[0] || label[0] == '='))
		return ctl_fail(ctl, CTL_USAGE, label, "not a label (KEY or KEY=VALUE)");
	return list_show(ctl, ls_get);
}

/* ---- children -------------------------------------------------------------------------------- */

static int children_by_id(const void *a, const void *b)
{
	const struct cow_info *x = a;
	const struct cow_info *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* A list that grows; it owns its infos. */
struct children {
	struct cow_info *infos;
	size_t n;
};

/* Adds those of an object or version.  As libcow. */
static int children_add(const struct ctl *ctl, struct children *all, const char *spec)
{
	struct cow_info *infos;
	struct cow_info *grown;
	size_t n;
	int err = cow_list_children(ctl->cow, spec, &infos, &n);

	if (err < 0)
		return err;
	grown = realloc(all->infos, (all->n + n + 1) * sizeof(*grown));
	if (!grown) {
		cow_list_free(infos, n);
		return -COW_ENOMEM;
	}
	all->infos = grown;
	for (size_t i = 0; i < n; i++)
		grown[all->n++] = infos[i];
	free(infos);
	return 0;
}

/* Of each version; one that was removed meanwhile has none to show. */
static int children_add_versions(const struct ctl *ctl, struct children *all, const char *name)
{
	struct cow_info *versions;
	size_t n;
	int err = cow_list_versions(ctl->cow, name, &versions, &n);

	if (err < 0)
		return err;
	for (size_t i = 0; err == 0 && i < n; i++) {
		err = children_add(ctl, all, versions[i].name);
		if (err == -COW_ENOENT)
			err = 0;
	}
	cow_list_free(versions, n);
	return err;
}

static int children_get(const struct ctl *ctl, struct cow_info **infos, size_t *n)
{
	const char *spec = ctl->args.operands[0];
	struct children all = {.n = 0};
	int err = children_add(ctl, &all, spec);

	if (err == 0 && args_has(&ctl->args, ARGS_RECURSIVE) && !strchr(spec, '@'))
		err = children_add_versions(ctl, &all, spec);
	if (err < 0) {
		cow_list_free(all.infos, all.n);
		return err;
	}
	qsort(all.infos, all.n, sizeof(*all.infos), children_by_id);
	*infos = all.infos;
	*n = all.n;
	return 0;
}

int cmd_children(struct ctl *ctl)
{
	return list_show(ctl, children_get);
}

/* ---- versions -------------------------------------------------------------------------------- */

static int snap_ls_get(const struct ctl *ctl, struct cow_info **infos, size_t *n)
{
	return cow_list_versions(ctl->cow, ctl->args.operands[0], infos, n);
}

int cmd_snap_ls(struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];

	if (strchr(name, '@'))
		return ctl_fail(ctl, CTL_USAGE, name, "names a version; snap ls takes an object");
	return list_show(ctl, snap_ls_get);
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
	int err = show_choose(ctl, ctl->args.values[ARGS_FIELDS], &choice);

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
