/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diffread.h: a difference stream as a source of copy.h: its records as pieces, each verified before
 * anybody sees it, and no end but behind a good end record.  It owns the file.  One thread at a time.
 */
#ifndef CLIENT_DIFFREAD_H
#define CLIENT_DIFFREAD_H

#include <stdbool.h>

#include "client/copy.h"
#include "client/diffstream.h"
#include "common/annot.h"

struct diffread {
	struct copy_source source; /* buffers have DIFFSTREAM_DATA_MAX bytes */
	const char *name;	   /* the caller's */
	int fd;
	struct diffstream ds;
	struct diffstream_head head; /* after diffread_open() */
};

/* A file, or with NULL standard input, up to behind its head.  On -1 nothing is open. */
int diffread_open(struct diffread *in, const char *path, struct copy_error *error) MUST_CHECK;
void diffread_close(struct diffread *in);

#endif
