/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offline.h: what cowd does with a store that it does not serve: "--check", and with "--repair".
 * Both print what they find on standard output.  One thread; the store is open and its lock held.
 */
#ifndef SERVER_OFFLINE_H
#define SERVER_OFFLINE_H

#include "common/annot.h"
#include "server/store.h"

/* The store as the next start would find it; nothing is written.  The number of differences, or a
 * negative error. */
int offline_check(struct store *store) MUST_CHECK;

/*
 * Mends the map as the last checkpoint left it; where all of it is right then, applies the journal, as
 * a start does, and mends what comes of that.  Then checks.  Returns what that finds, as offline_check().
 */
int offline_repair(struct store *store) MUST_CHECK;

#endif
