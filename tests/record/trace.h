/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * trace.h: what a store's files are told to do, and what clients were answered, in one order: a file that
 * the daemon and the test have mapped.  Any thread of either.
 *
 * A write or a sync has an entry before the call and one behind it: what is between the two has perhaps
 * been done.
 */
#ifndef TESTS_RECORD_TRACE_H
#define TESTS_RECORD_TRACE_H

#include <stddef.h>
#include <stdint.h>

#define TRACE_BYTES (UINT64_C(1) << 30) /* of a sparse file */
#define TRACE_ENV   "COWD_RECORD"	/* names it, for the daemon */

enum trace_kind {
	TRACE_WRITE = 1, /* begins: the bytes follow */
	TRACE_WRITE_END, /* of the entry "of"; result: what the call returned */
	TRACE_SYNC,	 /* begins */
	TRACE_SYNC_END,	 /* likewise */
	TRACE_OTHER,	 /* what is not understood: a truncation, a rename */
	TRACE_MARK,	 /* of the test */
};

enum trace_file { TRACE_DATA, TRACE_MAP, TRACE_NFILES };

struct trace_entry {
	uint64_t bytes; /* of all of it; 0: there is none yet */
	uint32_t kind;
	uint32_t file;
	uint64_t off;
	uint64_t len;
	uint64_t of;	/* where that entry is */
	int64_t result; /* of a mark: what it says */
	uint32_t now;	/* a write: it is durable when the call returns */
	uint32_t pad;
};

struct trace_head {
	uint64_t used; /* atomic */
};

/* Makes it, or opens it.  NULL: it cannot be. */
struct trace_head *trace_make(const char *path);
struct trace_head *trace_open(const char *path);

/* Adds an entry with entry->len bytes where data is not NULL; returns where it is. */
uint64_t trace_add(struct trace_head *trace, const struct trace_entry *entry, const void *data);

/* Entries in order: from 0 on; NULL behind the last. */
const struct trace_entry *trace_at(const struct trace_head *trace, uint64_t at);

#endif
