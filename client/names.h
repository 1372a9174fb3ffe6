/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names.h: object names on their way into requests.  Only libcow's own files use it; any thread.
 */
#ifndef CLIENT_NAMES_H
#define CLIENT_NAMES_H

#include "client/cow.h"
#include "common/annot.h"
#include "proto/msg.h"

/* Checks and copies.  0 or -COW_EINVAL, with the message set. */
int names_copy(cow_t *cow, const char *name, char out[MSG_NAME_BYTES]) MUST_CHECK;

#endif
