/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outq.h: what a connection has to send, in order: bytes that are copied into pages of the queue's own,
 * and pages that it only refers to.  Owns a reference on each, until its bytes are sent.  Loop thread only.
 *
 * Nobody changes what waits here: of pages of others the reference sees to that (page.h), and of its
 * own only the bytes behind those that wait are ever written.
 */
#ifndef SERVER_OUTQ_H
#define SERVER_OUTQ_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/page.h"

struct iovec;

#define OUTQ_KEPT_PIECES 512u /* room that an empty queue keeps */

struct outq_piece {
	struct page *page;
	const uint8_t *data; /* in it */
	size_t len;
};

struct outq {
	struct page_pool *pool;
	struct outq_piece *pieces; /* a ring of cap, which is a power of two or 0 */
	uint32_t cap;
	uint32_t first;
	uint32_t n;
	uint32_t copied;   /* bytes of copy */
	struct page *copy; /* what is copied next goes behind them; NULL: into a new one */
	size_t bytes;
};

void outq_init(struct outq *q, struct page_pool *pool);

/* Gives everything back, sent or not. */
void outq_fini(struct outq *q) LOOP_FN;

static inline size_t outq_bytes(const struct outq *q)
{
	return q->bytes;
}

/* Appends a copy.  -ERR_NOMEM: some of it may be there. */
int outq_add(struct outq *q, const void *data, size_t len) LOOP_FN MUST_CHECK;

/* Appends len bytes of a page from off on, and takes over the caller's reference.  -ERR_NOMEM: not that. */
int outq_add_page(struct outq *q, struct page *page, uint32_t off, uint32_t len) LOOP_FN MUST_CHECK;

/* Describes what is first, in at most max entries, each of bytes that are in a row in memory.  How many. */
int outq_peek(const struct outq *q, struct iovec *iov, int max);

/* Drops the first len bytes, of which there are as many at least. */
void outq_drop(struct outq *q, size_t len) LOOP_FN;

#endif
