/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command that shows what an object is made of: map.  The report comes in parts, each of one
 * moment; what of two parts belongs together is shown as one.
 */
#include "client/cmd.h"

#include <stdlib.h>

#include "client/out.h"

#define MAP_ASK 1024u /* entries of one request */

enum map_column { MAP_OFFSET, MAP_LENGTH, MAP_KIND, MAP_STATE, MAP_PHYSICAL };

const struct out_column cmd_map_columns[CMD_MAP_COLUMNS] = {
    [MAP_OFFSET] = {"offset", "OFFSET", OUT_NUMBER},
    [MAP_LENGTH] = {"length", "LENGTH", OUT_NUMBER},
    [MAP_KIND] = {"kind", "KIND", OUT_TEXT},
    [MAP_STATE] = {"state", "STATE", OUT_TEXT},
    [MAP_PHYSICAL] = {"physical", "PHYSICAL", OUT_ID},
};

/* Each byte counts in one, but for size, which is their sum. */
enum map_total { TOTAL_SIZE, TOTAL_HOLE, TOTAL_ZERO, TOTAL_DIRTY, TOTAL_SHARED, TOTAL_EXCLUSIVE };

const struct out_column cmd_map_totals_columns[CMD_MAP_TOTALS_COLUMNS] = {
    [TOTAL_SIZE] = {"size", "SIZE", OUT_SIZE},
    [TOTAL_HOLE] = {"hole", "HOLE", OUT_SIZE},
    [TOTAL_ZERO] = {"zero", "ZERO", OUT_SIZE},
    [TOTAL_DIRTY] = {"dirty", "DIRTY", OUT_SIZE},
    [TOTAL_SHARED] = {"shared", "SHARED", OUT_SIZE},
    [TOTAL_EXCLUSIVE] = {"exclusive", "EXCLUSIVE", OUT_SIZE},
};

struct map {
	struct cow_extent *ext;
	size_t n;
	size_t cap;
};

/* ---- asking ---------------------------------------------------------------------------------- */

static bool map_go_on(const struct cow_extent *last, const struct cow_extent *ext)
{
	return last->kind == ext->kind && last->flags == ext->flags &&
	       ext->physical == (last->physical ? last->physical + last->len : 0);
}

/* Room for another MAP_ASK entries. */
static int map_reserve(const struct ctl *ctl, struct map *map)
{
	size_t cap = 2 * map->cap > map->n + MAP_ASK ? 2 * map->cap : map->n + MAP_ASK;
	struct cow_extent *ext;

	if (map->cap - map->n >= MAP_ASK)
		return 0;
	ext = realloc(map->ext, cap * sizeof(*ext));
	if (!ext)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	map->ext = ext;
	map->cap = cap;
	return 0;
}

/* Gets all of [offset, end). */
static int map_get(const struct ctl *ctl, cow_object_t *obj, uint64_t offset, uint64_t end,
		   struct map *map)
{
	ssize_t n = 1;

	while (offset < end && n > 0) {
		struct cow_extent *got;
		int err = map_reserve(ctl, map);

		if (err != 0)
			return err;
		got = map->ext + map->n;
		n = cow_map(obj, offset, end - offset, got, MAP_ASK);
		if (n < 0)
			return ctl_fail_cow(ctl, (int)n, ctl->args.operands[0]);
		for (ssize_t i = 0; i < n; i++) {
			struct cow_extent next = got[i];
			struct cow_extent *last = map->n > 0 ? &map->ext[map->n - 1] : NULL;

			offset = next.offset + next.len;
			if (last && map_go_on(last, &next))
				last->len += next.len;
			else
				map->ext[map->n++] = next;
		}
	}
	return 0;
}

/* ---- showing --------------------------------------------------------------------------------- */

static const char *map_kind(const struct cow_extent *ext)
{
	if (ext->kind == COW_EXTENT_HOLE)
		return "hole";
	return ext->kind == COW_EXTENT_ZERO ? "zero" : "data";
}

/* A hole has none. */
static enum map_total map_total(const struct cow_extent *ext)
{
	if (ext->kind != COW_EXTENT_DATA)
		return ext->kind == COW_EXTENT_ZERO ? TOTAL_ZERO : TOTAL_HOLE;
	if (ext->flags & COW_EXTENT_DIRTY)
		return TOTAL_DIRTY;
	return ext->flags & COW_EXTENT_SHARED ? TOTAL_SHARED : TOTAL_EXCLUSIVE;
}

static const char *map_state(const struct cow_extent *ext)
{
	if (ext->kind == COW_EXTENT_HOLE)
		return NULL;
	return ext->kind == COW_EXTENT_ZERO ? "dirty" : cmd_map_totals_columns[map_total(ext)].name;
}

static void map_fill(const struct map *map, union out_value *rows,
		     union out_value totals[CMD_MAP_TOTALS_COLUMNS])
{
	for (size_t i = 0; i < CMD_MAP_TOTALS_COLUMNS; i++)
		totals[i].number = 0;
	for (size_t i = 0; i < map->n; i++, rows += CMD_MAP_COLUMNS) {
		const struct cow_extent *ext = &map->ext[i];

		rows[MAP_OFFSET].number = ext->offset;
		rows[MAP_LENGTH].number = ext->len;
		rows[MAP_KIND].text = map_kind(ext);
		rows[MAP_STATE].text = map_state(ext);
		rows[MAP_PHYSICAL].number = ext->physical;
		totals[TOTAL_SIZE].number += ext->len;
		totals[map_total(ext)].number += ext->len;
	}
}

/* With the rows, unless only the totals were asked for. */
static int map_json(const struct ctl *ctl, const struct out_choice *choice,
		    const union out_value *rows, size_t n, const union out_value *totals)
{
	bool summary = args_has(&ctl->args, ARGS_SUMMARY);
	struct out_choice all;
	json_object *array;
	json_object *obj;
	int err = out_choose(ctl, cmd_map_totals_columns, CMD_MAP_TOTALS_COLUMNS, NULL, &all);

	if (err != 0)
		return err;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(ctl->args.operands[0]));
	array = summary ? NULL : json_object_new_array();
	for (size_t i = 0; array && i < n; i++)
		(void)json_object_array_add(array,
					    out_json_record(choice, rows + i * CMD_MAP_COLUMNS));
	if (array)
		out_json_add(obj, "extents", array);
	out_json_add(obj, "totals", out_json_record(summary ? choice : &all, totals));
	return out_json_print(ctl, obj);
}

static int map_show(const struct ctl *ctl, const struct out_choice *choice, const struct map *map)
{
	union out_value totals[CMD_MAP_TOTALS_COLUMNS];
	union out_value *rows = calloc(map->n + 1, CMD_MAP_COLUMNS * sizeof(*rows));
	bool bare = args_has(&ctl->args, ARGS_NO_HEADER);
	int err;

	if (!rows)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	map_fill(map, rows, totals);
	if (ctl->json)
		err = map_json(ctl, choice, rows, map->n, totals);
	else if (args_has(&ctl->args, ARGS_SUMMARY))
		err = out_table(ctl, choice, totals, 1, bare);
	else
		err = out_table(ctl, choice, rows, map->n, bare);
	free(rows);
	return err;
}

static int map_choose(const struct ctl *ctl, struct out_choice *choice)
{
	const char *fields = ctl->args.values[ARGS_FIELDS];

	if (args_has(&ctl->args, ARGS_SUMMARY))
		return out_choose(ctl, cmd_map_totals_columns, CMD_MAP_TOTALS_COLUMNS, fields,
				  choice);
	return out_choose(ctl, cmd_map_columns, CMD_MAP_COLUMNS, fields, choice);
}

int cmd_map(struct ctl *ctl)
{
	const char *spec = ctl->args.operands[0];
	struct map map = {.n = 0};
	struct out_choice choice;
	cow_object_t *obj;
	uint64_t offset, len;
	int status = ctl_get_size(ctl, ARGS_OFFSET, 0, &offset);
	int err;

	if (status == 0)
		status = ctl_get_size(ctl, ARGS_LENGTH, UINT64_MAX, &len);
	if (status == 0)
		status = map_choose(ctl, &choice);
	if (status == 0)
		status = ctl_connect(ctl);
	if (status != 0)
		return status;
	err = cow_open(ctl->cow, spec, COW_OPEN_READONLY, &obj);
	if (err < 0)
		return ctl_fail_cow(ctl, err, spec);
	status =
	    map_get(ctl, obj, offset, len < UINT64_MAX - offset ? offset + len : UINT64_MAX, &map);
	if (status == 0)
		status = map_show(ctl, &choice, &map);
	free(map.ext);
	err = cow_close(obj);
	if (status == 0 && err < 0)
		status = ctl_fail_cow(ctl, err, spec);
	return status;
}
