/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * name.h: what an object may be called, for the server and its clients alike.  Pure; any thread.
 *
 * A name has 1 to 255 bytes of valid UTF-8, no control character, and none of '@' (it separates a
 * version), '%' and '?' (URI).  It does not begin with '-', '+', '.' or '/', does not end in '/',
 * and has no "//" in it.
 */
#ifndef COMMON_NAME_H
#define COMMON_NAME_H

#include "common/annot.h"

#define NAME_MAX_BYTES 255

/* 0 or -ERR_BAD_NAME. */
int name_check(const char *name) MUST_CHECK;

/* Why a name was refused, as the end of a sentence; NULL for a good one.  Static storage. */
const char *name_problem(const char *name);

#endif
