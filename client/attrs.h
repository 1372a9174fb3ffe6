/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attrs.h: what cowctl's --ttl and --label say, for libcow.  Main thread only; a struct attrs points
 * into the command line, which is cut apart at the labels' "=".
 */
#ifndef CLIENT_ATTRS_H
#define CLIENT_ATTRS_H

#include <stdint.h>

#include "client/ctl.h"
#include "common/annot.h"

/* The keys that are no labels for cowctl. */
#define ATTRS_TTL	  "ttl"
#define ATTRS_READONLY	  "readonly"
#define ATTRS_RESERVATION "reservation"

struct attrs {
	struct cow_attrs cow; /* points to labels */
	struct cow_label labels[ARGS_LABELS_MAX];
};

/* A time as "30s", "15m", "2h" or "7d", at least a second, in milliseconds.  0 or -ERR_INVAL. */
int attrs_parse_ttl(const char *text, uint64_t *ms) MUST_CHECK;

/* Of the command line.  0 or CTL_USAGE, the error printed. */
int attrs_get(const struct ctl *ctl, struct attrs *attrs) MUST_CHECK;

#endif
