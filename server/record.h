/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record.h: changes as the bytes of a journal record's body, and back.  Pure; any thread.
 *
 * A body is a sequence of entries, each a change.  All integers are little-endian; the layout is in
 * record.c, byte by byte.  The data of inlined changes follows the body, in the order of the entries
 * and within an entry in the order of its extents.
 */
#ifndef SERVER_RECORD_H
#define SERVER_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/change.h"

/* The most bytes of labels of one object. */
#define RECORD_LABELS_MAX 1024u

/* A body being built; zeroed to begin with.  The memory is kept for the next. */
struct record {
	uint8_t *bytes;
	size_t len;
	size_t cap;
	uint32_t ndata; /* blocks of inlined changes */
};

/* The bytes that a change takes. */
size_t record_change_len(const struct change *change);

/* -ERR_NOMEM: nothing was added. */
int record_add(struct record *record, const struct change *change) MUST_CHECK;
void record_clear(struct record *record);
void record_fini(struct record *record);

/* Reading one: begins zeroed but for bytes and len; record_reader_fini() frees what it took. */
struct record_reader {
	const uint8_t *bytes;
	size_t len;
	size_t pos;
	uint32_t ndata; /* inlined blocks before "change" */
	struct change change;
	struct change_hole *holes; /* private from here on */
	struct change_share *shares;
	struct change_extent *extents;
	uint32_t *csums;
	size_t holes_cap;
	size_t shares_cap;
	size_t extents_cap;
	size_t csums_cap;
	char name[256];
};

/*
 * The next change, into reader->change: 1, or 0 at the end.  It is valid until the next call.
 * -ERR_JOURNAL: the bytes are not well-formed; every count and length is checked before it is used,
 * extents are not empty, ascending and within an object, shares within objects and apart, names and labels have no stray zero bytes.
 * -ERR_NOMEM.
 */
int record_next(struct record_reader *reader) MUST_CHECK;
void record_reader_fini(struct record_reader *reader);

#endif
