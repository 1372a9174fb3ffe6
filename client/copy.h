/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * copy.h: moves data from a source to a sink by a few threads, each with a buffer: while one reads,
 * others write.  It owns the threads and the buffers for the time of copy_run(); source and sink
 * (end.h) are the caller's.
 *
 * A source hands out pieces in order, one thread at a time; the data of a piece is fetched, and put
 * into the sink, by several threads at once, in any order unless the sink says otherwise.
 */
#ifndef CLIENT_COPY_H
#define CLIENT_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/progress.h"
#include "common/annot.h"

#define COPY_CHUNK_BYTES (4u << 20)
#define COPY_WRITE_BYTES (8u << 20) /* of "cowctl write" */
#define COPY_THREADS	 4u
#define COPY_TEXT_MAX	 768

/* What went wrong: an exit status of cowctl, on what, and a sentence. */
struct copy_error {
	int status;
	const char *subject;
	char text[COPY_TEXT_MAX];
};

struct copy_piece {
	uint64_t offset; /* from the start of what is copied */
	uint64_t len;
	bool hole;    /* zeros: there is no data, and len may exceed the buffer */
	uint8_t *buf; /* of the size that copy_run() was told */
	size_t buf_len;
};

/* The functions return 0 or, with *error filled in, -1. */
struct copy_source {
	/* The next piece; len 0 at the end.  One thread at a time. */
	int (*next)(struct copy_source *src, struct copy_piece *piece, struct copy_error *error);
	/* Its data into its buffer; NULL where next() has done so.  Several threads. */
	int (*fetch)(struct copy_source *src, const struct copy_piece *piece,
		     struct copy_error *error);
};

struct copy_sink {
	/* Several threads; in order and one at a time if "ordered". */
	int (*put)(struct copy_sink *sink, const struct copy_piece *piece,
		   struct copy_error *error);
	bool ordered;
};

struct copy_result {
	uint64_t total_bytes; /* what the source had, holes included */
	uint64_t data_bytes;  /* without what it said to be holes */
};

/*
 * Copies until the source ends, with nthreads buffers of buf_len bytes.  0, or -1 with the first
 * error; threads and pieces under way have ended either way.  An interrupt (ctl.h) is an error.  An ordered sink
 * has then been given all that comes before the error.
 */
int copy_run(struct copy_source *src, struct copy_sink *sink, unsigned int nthreads, size_t buf_len,
	     struct progress *progress, struct copy_result *result,
	     struct copy_error *error) MUST_CHECK;

/* Fills in *error and returns -1. */
int copy_fail(struct copy_error *error, int status, const char *subject, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Whether all is zero. */
bool copy_is_zero(const uint8_t *buf, size_t len);

#define COPY_RUN_BYTES 65536u

/*
 * The next range of buf that has something else than zeros in it, in units of COPY_RUN_BYTES of the
 * copied offset: *from is where to look, and then where the range begins; returns its length, 0
 * when there is none left.
 */
size_t copy_next_data(const struct copy_piece *piece, size_t *from);

#endif
