/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * out.h: what cowctl prints: tables for people, tab-separated lines for scripts, JSON for programs,
 * of one description of columns.  Main thread only.
 */
#ifndef CLIENT_OUT_H
#define CLIENT_OUT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ctl.h"
#include "common/annot.h"

/* Of the JSON: raised when a member changes its meaning or goes away. */
#define OUT_VERSION 1

enum out_type {
	OUT_TEXT,   /* NULL is none */
	OUT_SIZE,   /* bytes */
	OUT_NUMBER, /* a count */
	OUT_ID,	    /* 0 is none */
	OUT_TIME,   /* nanoseconds since 1970; 0 is none */
	OUT_LABELS, /* of an object */
	OUT_FLAG,   /* 0 or 1: no, yes */
};

struct out_column {
	const char *name; /* in -o and in JSON */
	const char *head; /* in tables */
	enum out_type type;
};

union out_value {
	const char *text;
	uint64_t number;
	const struct cow_info *labels;
};

#define OUT_COLUMNS_MAX 16

/* "name, size, mapped".  Returns buf. */
#define OUT_NAMES_MAX 256
const char *out_names(char buf[OUT_NAMES_MAX], const struct out_column *columns, size_t ncolumns);

/* Which columns, in which order. */
struct out_choice {
	const struct out_column *columns;
	size_t ncolumns;
	size_t chosen[OUT_COLUMNS_MAX];
	size_t nchosen;
};

/*
 * The columns that the fields name ("name,size"), or with NULL all.  0 or CTL_USAGE, the error
 * printed.
 */
int out_choose(const struct ctl *ctl, const struct out_column *columns, size_t ncolumns,
	       const char *fields, struct out_choice *choice) MUST_CHECK;

/*
 * Rows of values, ncolumns each, as a table (bare: without header, tabs between the columns, plain
 * numbers).  0 or CTL_ERROR, printed.
 */
int out_table(const struct ctl *ctl, const struct out_choice *choice, const union out_value *values,
	      size_t nrows, bool bare) MUST_CHECK;

/*
 * The same, as a tree in the first column of the description, if that is chosen: parents[i] is the
 * row that row i hangs under, which comes before it, or OUT_ROOT.
 */
#define OUT_ROOT SIZE_MAX
int out_tree(const struct ctl *ctl, const struct out_choice *choice, const union out_value *values,
	     size_t nrows, const size_t *parents) MUST_CHECK;

/* One row, a line for each column. */
int out_record(const struct ctl *ctl, const struct out_choice *choice,
	       const union out_value *values) MUST_CHECK;

/*
 * A JSON string of any bytes, those of an operand too: what is no UTF-8 becomes U+FFFD, a character
 * for each byte.  Exits the program when out of memory.
 */
json_object *out_json_text(const char *text);

/* One row as a JSON object.  Exits the program when out of memory. */
json_object *out_json_record(const struct out_choice *choice, const union out_value *values);

/* A new JSON object with "output_version" in it; adds a member (taken over); prints and frees. */
json_object *out_json_new(void);
void out_json_add(json_object *obj, const char *name, json_object *value);
int out_json_print(const struct ctl *ctl, json_object *obj) MUST_CHECK;

/* "00112233-4455-6677-8899-aabbccddeeff".  Returns text. */
#define OUT_UUID_MAX 37
const char *out_uuid(char text[OUT_UUID_MAX], const uint8_t uuid[16]);

/* Flushes stdout.  0, or CTL_ERROR when not all could be written, printed. */
int out_finish(const struct ctl *ctl) MUST_CHECK;

#endif
