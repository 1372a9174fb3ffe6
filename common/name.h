/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * name.h: what an object and its versions may be called, for the server and its clients alike.
 * Pure; any thread.
 *
 * A spec is "object", or "object@version" for a version of it.  The object's part has 1 to 191
 * bytes, the version's 1 to 63.  Both are valid UTF-8 without control characters and without '@',
 * '%' and '?' (URI), and begin with none of '-', '+', '.' and '/'.  The object's does not end in
 * '/' and has no "//" in it; the version's has no '/' at all.
 */
#ifndef COMMON_NAME_H
#define COMMON_NAME_H

#include "common/annot.h"

#define NAME_OBJECT_MAX	 191
#define NAME_VERSION_MAX 63
#define NAME_MAX_BYTES	 (NAME_OBJECT_MAX + 1 + NAME_VERSION_MAX) /* of a spec */

/* An object's name, a version's own: 0 or -ERR_BAD_NAME. */
int name_check(const char *name) MUST_CHECK;
int name_check_version(const char *version) MUST_CHECK;

/* The parts of a spec; version is "" where there is none.  -ERR_BAD_NAME. */
int name_split(const char *spec, char object[NAME_OBJECT_MAX + 1],
	       char version[NAME_VERSION_MAX + 1]) MUST_CHECK;

/*
 * Why an object's name, or a spec, was refused, as the end of a sentence; NULL for a good one.
 * Static storage.
 */
const char *name_problem(const char *name);
const char *name_spec_problem(const char *spec);

#endif
