/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * infos.h: what the server says of an object, on its way out of replies.  Only libcow's own files
 * use it; any thread.
 */
#ifndef CLIENT_INFOS_H
#define CLIENT_INFOS_H

#include <stddef.h>
#include <stdint.h>

#include "client/cow.h"
#include "common/annot.h"
#include "proto/msg.h"

/* A decoder of call.h: the body is an info.  ctx is a struct msg_info, or NULL to only check. */
int infos_decode(void *ctx, const uint8_t *body, size_t len) MUST_CHECK;

/* Fills in *info, which then owns memory: cow_info_clear().  0 or -ERR_NOMEM. */
int infos_fill(const struct msg_info *m, struct cow_info *info) MUST_CHECK;

#endif
