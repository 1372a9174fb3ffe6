/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command tree.  Every object and version is a node; a version hangs under its object, a clone
 * under what it was cloned from, if that is still there.
 */
#include "client/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "client/out.h"

/* What is deeper is shown at this depth, so that a line has an end. */
#define TREE_DEPTH_MAX 256u

struct node {
	struct cow_info info;
	struct node *parent;
	struct node *child; /* the first, by name */
	struct node *next;  /* of the same parent, or root */

	const struct node *under; /* what it is shown under: the parent, or one above */
	unsigned int depth;	  /* as it is shown */
	size_t row;
};

struct tree {
	struct node *nodes;
	size_t n;
	struct node *first; /* root */
};

enum tree_column {
	TREE_NAME,
	TREE_PARENT,
	TREE_SIZE,
	TREE_MAPPED,
	TREE_CREATED,
	TREE_ID,
	TREE_LABELS,
	TREE_COLUMNS,
};

_Static_assert((int)TREE_COLUMNS == CMD_TREE_COLUMNS, "all of them");

const struct out_column cmd_tree_columns[CMD_TREE_COLUMNS] = {
    [TREE_NAME] = {"name", "NAME", OUT_TEXT},
    [TREE_PARENT] = {"parent", "PARENT", OUT_TEXT},
    [TREE_SIZE] = {"size", "SIZE", OUT_SIZE},
    [TREE_MAPPED] = {"mapped", "MAPPED", OUT_SIZE},
    [TREE_CREATED] = {"created", "CREATED", OUT_TIME},
    [TREE_ID] = {"id", "ID", OUT_ID},
    [TREE_LABELS] = {"labels", "LABELS", OUT_LABELS},
};

/* ---- getting --------------------------------------------------------------------------------- */

/* Takes over what the infos own. */
static int tree_add(const struct ctl *ctl, struct tree *tree, struct cow_info *infos, size_t n)
{
	struct node *nodes = realloc(tree->nodes, (tree->n + n + 1) * sizeof(*nodes));

	if (!nodes) {
		cow_list_free(infos, n);
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	}
	tree->nodes = nodes;
	for (size_t i = 0; i < n; i++)
		nodes[tree->n++] = (struct node){.info = infos[i]};
	free(infos);
	return CTL_OK;
}

/* An object that was removed meanwhile has no versions to show. */
static int tree_add_versions(const struct ctl *ctl, struct tree *tree, const char *name)
{
	struct cow_info *infos;
	size_t n;
	int err = cow_list_versions(ctl->cow, name, &infos, &n);

	if (err == -COW_ENOENT)
		return CTL_OK;
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	return tree_add(ctl, tree, infos, n);
}

static int tree_get(const struct ctl *ctl, struct tree *tree)
{
	struct cow_info *infos;
	size_t nobjects;
	int err = cow_list(ctl->cow, NULL, &infos, &nobjects);

	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	err = tree_add(ctl, tree, infos, nobjects);
	for (size_t i = 0; err == 0 && i < nobjects; i++)
		if (tree->nodes[i].info.nversions > 0)
			err = tree_add_versions(ctl, tree, tree->nodes[i].info.name);
	return err;
}

static void tree_clear(struct tree *tree)
{
	for (size_t i = 0; i < tree->n; i++)
		cow_info_clear(&tree->nodes[i].info);
	free(tree->nodes);
}

/* ---- linking --------------------------------------------------------------------------------- */

static int tree_by_id(const void *a, const void *b)
{
	const struct node *x = a;
	const struct node *y = b;

	return (x->info.id > y->info.id) - (x->info.id < y->info.id);
}

static int tree_by_name_down(const void *a, const void *b)
{
	const struct node *const *x = a;
	const struct node *const *y = b;

	return strcmp((*y)->info.name, (*x)->info.name);
}

/* Ids only go up, so that what hangs under something is younger: there is no circle. */
static struct node *tree_find_parent(const struct tree *tree, const struct node *node)
{
	const struct cow_info *info = &node->info;
	struct node wanted = {.info = {.id = info->parent != 0 ? info->parent : info->origin}};

	if (wanted.info.id == 0 || wanted.info.id >= info->id)
		return NULL;
	return bsearch(&wanted, tree->nodes, tree->n, sizeof(wanted), tree_by_id);
}

/* Each goes to the front of its brothers, so that the first in the order of names is first there. */
static int tree_link(const struct ctl *ctl, struct tree *tree)
{
	struct node **sorted = calloc(tree->n + 1, sizeof(*sorted));

	if (!sorted)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	qsort(tree->nodes, tree->n, sizeof(*tree->nodes), tree_by_id);
	for (size_t i = 0; i < tree->n; i++)
		sorted[i] = &tree->nodes[i];
	qsort(sorted, tree->n, sizeof(*sorted), tree_by_name_down);
	for (size_t i = 0; i < tree->n; i++) {
		struct node *node = sorted[i];
		struct node **first;

		node->parent = tree_find_parent(tree, node);
		first = node->parent ? &node->parent->child : &tree->first;
		node->next = *first;
		*first = node;
	}
	free(sorted);
	return CTL_OK;
}

/* From here on it is the tree of one node only. */
static int tree_choose(const struct ctl *ctl, struct tree *tree, const char *spec)
{
	char text[CTL_MESSAGE_MAX];

	for (size_t i = 0; i < tree->n; i++) {
		struct node *node = &tree->nodes[i];

		if (strcmp(node->info.name, spec) != 0)
			continue;
		node->parent = NULL;
		node->next = NULL;
		tree->first = node;
		return CTL_OK;
	}
	return ctl_fail(ctl, CTL_NOT_FOUND, spec, "%s", ctl_missing_message(text, spec));
}

/* The next one in the order of the tree: its children, then its brothers, then its parent's. */
static struct node *tree_next(struct node *node)
{
	if (node->child)
		return node->child;
	while (node && !node->next)
		node = node->parent;
	return node ? node->next : NULL;
}

/* ---- showing --------------------------------------------------------------------------------- */

struct rows {
	union out_value (*values)[TREE_COLUMNS];
	size_t *parents;
	size_t n;
};

static void rows_add(struct rows *rows, struct node *node)
{
	union out_value *values = rows->values[rows->n];
	const struct node *under = node->parent;

	if (under && under->depth == TREE_DEPTH_MAX)
		under = under->under;
	node->under = under;
	node->depth = under ? under->depth + 1 : 0;
	node->row = rows->n;
	values[TREE_NAME].text = node->info.name;
	values[TREE_PARENT].text = node->parent ? node->parent->info.name : NULL;
	values[TREE_SIZE].number = node->info.size;
	values[TREE_MAPPED].number = node->info.mapped;
	values[TREE_CREATED].number = node->info.ctime_ns;
	values[TREE_ID].number = node->info.id;
	values[TREE_LABELS].labels = &node->info;
	rows->parents[rows->n++] = under ? under->row : OUT_ROOT;
}

static int rows_print(const struct ctl *ctl, const struct out_choice *choice,
		      const struct rows *rows)
{
	json_object *obj;
	json_object *array;

	if (rows->n == 0 && !ctl->json)
		return CTL_OK;
	if (!ctl->json && args_has(&ctl->args, ARGS_NO_HEADER))
		return out_table(ctl, choice, rows->values[0], rows->n, true);
	if (!ctl->json)
		return out_tree(ctl, choice, rows->values[0], rows->n, rows->parents);
	obj = out_json_new();
	array = json_object_new_array();
	for (size_t i = 0; i < rows->n; i++)
		(void)json_object_array_add(array, out_json_record(choice, rows->values[i]));
	out_json_add(obj, "objects", array);
	return out_json_print(ctl, obj);
}

static int tree_show(const struct ctl *ctl, const struct out_choice *choice,
		     const struct tree *tree)
{
	struct rows rows = {
	    .values = calloc(tree->n + 1, sizeof(*rows.values)),
	    .parents = calloc(tree->n + 1, sizeof(*rows.parents)),
	};
	int err;

	if (rows.values && rows.parents) {
		for (struct node *node = tree->first; node; node = tree_next(node))
			rows_add(&rows, node);
		err = rows_print(ctl, choice, &rows);
	} else {
		err = ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	}
	free(rows.values);
	free(rows.parents);
	return err;
}

int cmd_tree(struct ctl *ctl)
{
	const char *fields = ctl->args.values[ARGS_FIELDS];
	struct tree tree = {.n = 0};
	struct out_choice choice;
	int err;

	if (!fields && !ctl->json)
		fields = args_has(&ctl->args, ARGS_NO_HEADER) ? "name,parent,size,mapped,created"
							      : "name,size,mapped,created";
	err = out_choose(ctl, cmd_tree_columns, TREE_COLUMNS, fields, &choice);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	err = tree_get(ctl, &tree);
	if (err == 0)
		err = tree_link(ctl, &tree);
	if (err == 0 && ctl->args.noperands > 0)
		err = tree_choose(ctl, &tree, ctl->args.operands[0]);
	if (err == 0)
		err = tree_show(ctl, &choice, &tree);
	tree_clear(&tree);
	return err;
}
