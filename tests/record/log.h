/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h: what a store's files are told to do, and what clients were answered, in one order: a file that
 * the daemon and the test have mapped.  Any thread of either.
 *
 * A write or a sync has an entry before the call and one behind it: what is between the two has perhaps
 * been done.
 */
#ifndef TESTS_RECORD_LOG_H
#define TESTS_RECORD_LOG_H

#include <stddef.h>
#include <stdint.h>

#define LOG_BYTES (UINT64_C(1) << 30) /* of a sparse file */
#define LOG_ENV	  "COWD_RECORD"	      /* names it, for the daemon */

enum log_kind {
	LOG_WRITE = 1, /* begins: the bytes follow */
	LOG_WRITE_END, /* of the entry "of"; result: what the call returned */
	LOG_SYNC,      /* begins */
	LOG_SYNC_END,  /* likewise */
	LOG_OTHER,     /* what is not understood: a truncation, a rename */
	LOG_MARK,      /* of the test */
};

enum log_file { LOG_DATA, LOG_MAP, LOG_NFILES };

struct log_entry {
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

struct log_head {
	uint64_t used; /* atomic */
};

/* Makes it, or opens it.  NULL: it cannot be. */
struct log_head *log_make(const char *path);
struct log_head *log_open(const char *path);

/* Adds an entry with entry->len bytes where data is not NULL; returns where it is. */
uint64_t log_add(struct log_head *log, const struct log_entry *entry, const void *data);

/* Entries in order: from 0 on; NULL behind the last. */
const struct log_entry *log_at(const struct log_head *log, uint64_t at);

#endif
