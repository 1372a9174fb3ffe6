/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * show.h: objects and versions as rows of what cowctl prints.  Main thread only.
 */
#ifndef CLIENT_SHOW_H
#define CLIENT_SHOW_H

#include <stddef.h>

#include "client/ctl.h"
#include "client/out.h"
#include "common/annot.h"

/* The columns of an object, in the order of their description. */
enum show_column {
	SHOW_NAME,
	SHOW_SIZE,
	SHOW_MAPPED,
	SHOW_VERSIONS,
	SHOW_GENERATION,
	SHOW_CREATED,
	SHOW_MODIFIED,
	SHOW_ID,
	SHOW_ORIGIN,
	SHOW_PARENT,
	SHOW_EXPIRES,
	SHOW_READONLY,
	SHOW_RESERVED,
	SHOW_WITHHELD,
	SHOW_LABELS,
	SHOW_COLUMNS,
};

extern const struct out_column show_columns[SHOW_COLUMNS];

/* out_choose() of these columns. */
int show_choose(const struct ctl *ctl, const char *fields, struct out_choice *choice) MUST_CHECK;

/* The values of one row; they point into *info. */
void show_fill(union out_value values[SHOW_COLUMNS], const struct cow_info *info);

/* How rows are to be shown: without a header, as a table, or a line for each column. */
enum show_as { SHOW_NAMES, SHOW_TABLE, SHOW_RECORDS };

/* Shows them, or prints them as the member "objects" of JSON.  0 or CTL_ERROR, printed. */
int show_objects(const struct ctl *ctl, const struct out_choice *choice,
		 const struct cow_info *infos, size_t n, enum show_as as) MUST_CHECK;

#endif
