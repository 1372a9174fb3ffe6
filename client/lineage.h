/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lineage.h: which version is a copy of which, in whatever store.  A version never changes, so its store
 * and its id there say what it holds.  One that an import has made holds what the one holds that was
 * exported, and has that one's identity as a label.  Pure; any thread.
 */
#ifndef CLIENT_LINEAGE_H
#define CLIENT_LINEAGE_H

#include <stdbool.h>

#include "client/cow.h"
#include "client/diffstream.h"

/* The label of a version that an import has made. */
#define LINEAGE_LABEL "cow.source"

/* The identity of what a version holds: "STORE/ID", its own or that in its label. */
void lineage_of(const struct cow_server *server, const struct cow_info *version,
		char id[DIFFSTREAM_ID_BYTES]);

/* The value of a label; NULL: there is none. */
const char *lineage_label(const struct cow_info *info, const char *key);

#endif
