/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/out.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/near.h"
#include "common/label.h"
#include "common/size.h"
#include "common/utf8.h"

/* The longest is that of labels, of which the server sends so much, ends included. */
#define OUT_CELL_MAX LABELS_MAX_BYTES

static void *out_must(void *p)
{
	if (!p) {
		(void)fprintf(stderr, "cowctl: out of memory\n");
		exit(CTL_ERROR);
	}
	return p;
}

/* ---- columns --------------------------------------------------------------------------------- */

const char *out_names(char buf[OUT_NAMES_MAX], const struct out_column *columns, size_t ncolumns)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ncolumns && n < OUT_NAMES_MAX; i++)
		n += (size_t)snprintf(buf + n, OUT_NAMES_MAX - n, "%s%s", i > 0 ? ", " : "",
				      columns[i].name);
	return buf;
}

static int out_choose_one(const struct ctl *ctl, const char *field, struct out_choice *choice)
{
	const char *names[OUT_COLUMNS_MAX] = {NULL};
	char all[OUT_NAMES_MAX];
	const char *near;

	for (size_t i = 0; i < choice->ncolumns; i++) {
		names[i] = choice->columns[i].name;
		if (strcmp(names[i], field) != 0)
			continue;
		if (choice->nchosen == OUT_COLUMNS_MAX)
			return ctl_fail(ctl, CTL_USAGE, field, "too many fields");
		choice->chosen[choice->nchosen++] = i;
		return 0;
	}
	near = near_find(field, names, choice->ncolumns);
	if (near)
		return ctl_fail(ctl, CTL_USAGE, field, "no such field; did you mean %s?", near);
	return ctl_fail(ctl, CTL_USAGE, field, "no such field (there are %s)",
			out_names(all, choice->columns, choice->ncolumns));
}

int out_choose(const struct ctl *ctl, const struct out_column *columns, size_t ncolumns,
	       const char *fields, struct out_choice *choice)
{
	struct out_choice made = {.columns = columns, .ncolumns = ncolumns};
	char *copy;
	char *rest;
	int status = 0;

	if (!fields) {
		for (size_t i = 0; i < ncolumns; i++)
			made.chosen[made.nchosen++] = i;
		*choice = made;
		return 0;
	}
	copy = out_must(strdup(fields));
	rest = copy;
	for (char *field; status == 0 && (field = strsep(&rest, ",")) != NULL;)
		status = out_choose_one(ctl, field, &made);
	free(copy);
	if (status == 0)
		*choice = made;
	return status;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* UTC; whole seconds for people, all digits for programs. */
static void out_time(char buf[OUT_CELL_MAX], uint64_t ns, bool exact)
{
	time_t sec = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&sec, &tm)) {
		(void)snprintf(buf, OUT_CELL_MAX, "-");
		return;
	}
	n = strftime(buf, OUT_CELL_MAX, exact ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
	if (exact)
		(void)snprintf(buf + n, OUT_CELL_MAX - n, ".%09uZ",
			       (unsigned int)(ns % 1000000000u));
}

/* "key=value,key=value" */
static void out_labels(char buf[OUT_CELL_MAX], const struct cow_info *info)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < info->nlabels && n < OUT_CELL_MAX; i++)
		n += (size_t)snprintf(buf + n, OUT_CELL_MAX - n, "%s%s=%s", i > 0 ? "," : "",
				      info->labels[i].key, info->labels[i].value);
}

/* The text of a cell; it may be in buf.  "plain" is for scripts. */
static const char *out_cell(char buf[OUT_CELL_MAX], enum out_type type, union out_value value,
			    bool plain)
{
	switch (type) {
	case OUT_TEXT:
		return value.text ? value.text : "-";
	case OUT_TIME:
		if (value.number == 0)
			return "-";
		out_time(buf, value.number, plain);
		return buf;
	case OUT_LABELS:
		out_labels(buf, value.labels);
		return buf[0] ? buf : "-";
	case OUT_FLAG:
		return value.number ? "yes" : "no";
	case OUT_SIZE:
		if (!plain)
			return size_format(buf, value.number);
		break;
	case OUT_ID:
		if (value.number == 0)
			return "-";
		break;
	case OUT_NUMBER:
		break;
	}
	(void)snprintf(buf, OUT_CELL_MAX, "%" PRIu64, value.number);
	return buf;
}

json_object *out_json_text(const char *text)
{
	static const char instead[] = "\xef\xbf\xbd";
	json_object *string;
	char *copy = NULL;
	size_t len;
	FILE *out = out_must(open_memstream(&copy, &len));

	while (*text) {
		uint32_t cp;
		size_t n = utf8_next(text, &cp);

		(void)fwrite(n > 0 ? text : instead, 1, n > 0 ? n : sizeof(instead) - 1, out);
		text += n > 0 ? n : 1;
	}
	if (fclose(out) != 0)
		(void)out_must(NULL);
	string = out_must(json_object_new_string(copy));
	free(copy);
	return string;
}

static json_object *out_json_labels(const struct cow_info *info)
{
	json_object *obj = out_must(json_object_new_object());

	for (size_t i = 0; i < info->nlabels; i++)
		out_json_add(obj, info->labels[i].key, out_json_text(info->labels[i].value));
	return obj;
}

static json_object *out_json_value(enum out_type type, union out_value value)
{
	char buf[OUT_CELL_MAX];

	switch (type) {
	case OUT_TEXT:
		return value.text ? out_json_text(value.text) : NULL;
	case OUT_LABELS:
		return out_json_labels(value.labels);
	case OUT_TIME:
		if (value.number == 0)
			return NULL;
		out_time(buf, value.number, true);
		return out_json_text(buf);
	case OUT_FLAG:
		return out_must(json_object_new_boolean(value.number != 0));
	case OUT_ID:
		if (value.number == 0)
			return NULL;
		break;
	case OUT_SIZE:
	case OUT_NUMBER:
		break;
	}
	return out_must(json_object_new_uint64(value.number));
}

/* ---- for people ------------------------------------------------------------------------------ */

static void out_fill_columns(struct libscols_table *tb, const struct out_choice *choice, bool tree)
{
	for (size_t c = 0; c < choice->nchosen; c++) {
		const struct out_column *col = &choice->columns[choice->chosen[c]];
		int flags = SCOLS_FL_RIGHT;

		if (col->type == OUT_TEXT || col->type == OUT_TIME || col->type == OUT_LABELS ||
		    col->type == OUT_FLAG)
			flags = 0;
		if (tree && choice->chosen[c] == 0)
			flags = SCOLS_FL_TREE;
		(void)out_must(scols_table_new_column(tb, col->head, 0, flags));
	}
}

static struct libscols_line *out_fill_line(struct libscols_table *tb, struct libscols_line *parent,
					   const struct out_choice *choice,
					   const union out_value *values)
{
	struct libscols_line *line = out_must(scols_table_new_line(tb, parent));
	char buf[OUT_CELL_MAX];

	for (size_t c = 0; c < choice->nchosen; c++) {
		size_t i = choice->chosen[c];
		const char *text = out_cell(buf, choice->columns[i].type, values[i], false);

		if (scols_line_set_data(line, c, text) != 0)
			(void)out_must(NULL);
	}
	return line;
}

/* The smartcols table of the rows, a tree if there are parents; exits when out of memory. */
static struct libscols_table *out_fill(const struct out_choice *choice,
				       const union out_value *values, size_t nrows,
				       const size_t *parents)
{
	struct libscols_line **lines = out_must(calloc(nrows, sizeof(*lines)));
	struct libscols_table *tb = out_must(scols_new_table());

	out_fill_columns(tb, choice, parents != NULL);
	for (size_t r = 0; r < nrows; r++) {
		bool root = !parents || parents[r] == OUT_ROOT;

		lines[r] = out_fill_line(tb, root ? NULL : lines[parents[r]], choice,
					 values + r * choice->ncolumns);
	}
	free(lines);
	return tb;
}

static int out_print(const struct ctl *ctl, struct libscols_table *tb)
{
	int err;

	(void)scols_table_set_stream(tb, stdout);
	err = scols_print_table(tb);
	scols_unref_table(tb);
	return err == 0 ? 0 : ctl_fail(ctl, CTL_ERROR, NULL, "the table cannot be printed");
}

static void out_bare(const struct out_choice *choice, const union out_value *values, size_t nrows)
{
	char buf[OUT_CELL_MAX];

	for (size_t r = 0; r < nrows; r++, values += choice->ncolumns) {
		for (size_t c = 0; c < choice->nchosen; c++) {
			size_t i = choice->chosen[c];

			(void)printf("%s%s", c > 0 ? "\t" : "",
				     out_cell(buf, choice->columns[i].type, values[i], true));
		}
		(void)putchar('\n');
	}
}

int out_table(const struct ctl *ctl, const struct out_choice *choice, const union out_value *values,
	      size_t nrows, bool bare)
{
	if (bare) {
		out_bare(choice, values, nrows);
		return 0;
	}
	if (nrows == 0)
		return 0;
	return out_print(ctl, out_fill(choice, values, nrows, NULL));
}

int out_tree(const struct ctl *ctl, const struct out_choice *choice, const union out_value *values,
	     size_t nrows, const size_t *parents)
{
	return nrows > 0 ? out_print(ctl, out_fill(choice, values, nrows, parents)) : 0;
}

int out_record(const struct ctl *ctl, const struct out_choice *choice,
	       const union out_value *values)
{
	struct libscols_table *tb = out_must(scols_new_table());
	char buf[OUT_CELL_MAX];

	(void)scols_table_enable_noheadings(tb, 1);
	(void)out_must(scols_table_new_column(tb, "FIELD", 0, 0));
	(void)out_must(scols_table_new_column(tb, "VALUE", 0, 0));
	for (size_t c = 0; c < choice->nchosen; c++) {
		size_t i = choice->chosen[c];
		struct libscols_line *line = out_must(scols_table_new_line(tb, NULL));

		if (scols_line_set_data(line, 0, choice->columns[i].name) != 0 ||
		    scols_line_set_data(
			line, 1, out_cell(buf, choice->columns[i].type, values[i], false)) != 0)
			(void)out_must(NULL);
	}
	return out_print(ctl, tb);
}

/* ---- for programs ---------------------------------------------------------------------------- */

json_object *out_json_record(const struct out_choice *choice, const union out_value *values)
{
	json_object *obj = out_must(json_object_new_object());

	for (size_t c = 0; c < choice->nchosen; c++) {
		size_t i = choice->chosen[c];

		out_json_add(obj, choice->columns[i].name,
			     out_json_value(choice->columns[i].type, values[i]));
	}
	return obj;
}

json_object *out_json_new(void)
{
	json_object *obj = out_must(json_object_new_object());

	out_json_add(obj, "output_version", json_object_new_int(OUT_VERSION));
	return obj;
}

void out_json_add(json_object *obj, const char *name, json_object *value)
{
	if (json_object_object_add(obj, name, value) != 0)
		(void)out_must(NULL);
}

int out_json_print(const struct ctl *ctl, json_object *obj)
{
	const char *text =
	    json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						    JSON_C_TO_STRING_NOSLASHESCAPE);

	(void)puts(out_must((char *)(uintptr_t)text));
	(void)json_object_put(obj);
	return out_finish(ctl);
}

int out_finish(const struct ctl *ctl)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return ctl_fail(ctl, CTL_ERROR, "standard output", "%s",
			errno ? strerror(errno) : "write error");
}

const char *out_uuid(char text[OUT_UUID_MAX], const uint8_t uuid[16])
{
	size_t pos = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[pos++] = '-';
		(void)snprintf(text + pos, OUT_UUID_MAX - pos, "%02x", uuid[i]);
		pos += 2;
	}
	return text;
}
