/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names.h: names and attributes on their way into requests.  Only libcow's own files use it; any
 * thread.
 */
#ifndef CLIENT_NAMES_H
#define CLIENT_NAMES_H

#include "client/cow.h"
#include "common/annot.h"
#include "proto/msg.h"

/*
 * Check and copy: the name of an object, and that of an object or a version.  0 or -COW_EINVAL, with
 * the message set.
 */
int names_copy(cow_t *cow, const char *name, char out[MSG_NAME_BYTES]) MUST_CHECK;
int names_copy_spec(cow_t *cow, const char *spec, char out[MSG_NAME_BYTES]) MUST_CHECK;

/* The same for one of several; the message says which it is ("the new name"). */
int names_copy_spec_as(cow_t *cow, const char *which, const char *spec,
		       char out[MSG_NAME_BYTES]) MUST_CHECK;

/* Sorts and checks labels.  As names_copy(). */
int names_copy_labels(cow_t *cow, const struct cow_label *labels, size_t nlabels,
		      struct msg_labels *out) MUST_CHECK;

/* The same, but a key whose value is NULL stands alone; "which" they are, for the message. */
int names_copy_edits(cow_t *cow, const char *which, const struct cow_label *labels, size_t nlabels,
		     struct msg_labels *out) MUST_CHECK;

/* What a new object is given, but for a reservation; attrs may be NULL.  As names_copy(). */
int names_copy_attrs(cow_t *cow, const struct cow_attrs *attrs, uint64_t *ttl_ms,
		     struct msg_labels *labels) MUST_CHECK;

/* A clone's request, all of it.  As names_copy(). */
int names_fill_clone(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs,
		     struct msg_clone *m) MUST_CHECK;

#endif
