/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/outq.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "common/err.h"
#include "common/thread.h"

#define OUTQ_FIRST_PIECES 16u

void outq_init(struct outq *q, struct page_pool *pool)
{
	*q = (struct outq){.pool = pool};
}

static struct outq_piece *outq_piece(const struct outq *q, uint32_t i)
{
	return &q->pieces[(q->first + i) & (q->cap - 1)];
}

static int outq_grow(struct outq *q)
{
	uint32_t cap = q->cap > 0 ? q->cap * 2 : OUTQ_FIRST_PIECES;
	struct outq_piece *pieces = malloc(cap * sizeof(*pieces));

	if (!pieces)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		pieces[i] = *outq_piece(q, i);
	free(q->pieces);
	q->pieces = pieces;
	q->cap = cap;
	q->first = 0;
	return 0;
}

/* Takes over a reference on the page. */
static int outq_append(struct outq *q, struct page *page, const uint8_t *data, size_t len)
{
	int err = q->n == q->cap ? outq_grow(q) : 0;

	if (err < 0)
		return err;
	*outq_piece(q, q->n++) = (struct outq_piece){page, data, len};
	q->bytes += len;
	return 0;
}

/* Bytes that have been copied behind those of the last piece lengthen it. */
static int outq_append_copy(struct outq *q, const uint8_t *data, size_t len)
{
	struct outq_piece *last = q->n > 0 ? outq_piece(q, q->n - 1) : NULL;
	int err;

	if (last && last->page == q->copy) {
		last->len += len;
		q->bytes += len;
		return 0;
	}
	err = outq_append(q, q->copy, data, len);
	if (err == 0)
		page_get(q->copy);
	return err;
}

static void outq_drop_copy(struct outq *q)
{
	page_put(q->copy);
	q->copy = NULL;
	q->copied = 0;
}

int outq_add(struct outq *q, const void *data, size_t len)
{
	const uint8_t *from = data;

	ASSERT_LOOP();
	while (len > 0) {
		size_t part = BLK_BYTES - q->copied;

		if (!q->copy)
			q->copy = page_new(q->pool);
		if (!q->copy)
			return -ERR_NOMEM;
		if (part > len)
			part = len;
		memcpy(q->copy->data + q->copied, from, part);
		if (outq_append_copy(q, q->copy->data + q->copied, part) < 0)
			return -ERR_NOMEM;
		q->copied += (uint32_t)part;
		from += part;
		len -= part;
		if (q->copied == BLK_BYTES)
			outq_drop_copy(q);
	}
	return 0;
}

int outq_add_page(struct outq *q, struct page *page, uint32_t off, uint32_t len)
{
	ASSERT_LOOP();
	assert(len > 0 && off + len <= BLK_BYTES);
	return outq_append(q, page, page->data + off, len);
}

int outq_peek(const struct outq *q, struct iovec *iov, int max)
{
	const uint8_t *end = NULL;
	int n = 0;

	for (uint32_t i = 0; i < q->n; i++) {
		const struct outq_piece *piece = outq_piece(q, i);

		if (n > 0 && piece->data == end)
			iov[n - 1].iov_len += piece->len;
		else if (n == max)
			break;
		else
			iov[n++] = (struct iovec){(void *)(uintptr_t)piece->data, piece->len};
		end = piece->data + piece->len;
	}
	return n;
}

/* An empty queue keeps no page, and no more room than most need. */
static void outq_rest(struct outq *q)
{
	outq_drop_copy(q);
	q->first = 0;
	if (q->cap <= OUTQ_KEPT_PIECES)
		return;
	free(q->pieces);
	q->pieces = NULL;
	q->cap = 0;
}

void outq_drop(struct outq *q, size_t len)
{
	ASSERT_LOOP();
	assert(len <= q->bytes);
	q->bytes -= len;
	while (len > 0) {
		struct outq_piece *piece = outq_piece(q, 0);

		if (len < piece->len) {
			piece->data += len;
			piece->len -= len;
			break;
		}
		len -= piece->len;
		page_put(piece->page);
		q->first = (q->first + 1) & (q->cap - 1);
		q->n--;
	}
	if (q->n == 0)
		outq_rest(q);
}

void outq_fini(struct outq *q)
{
	outq_drop(q, q->bytes);
	free(q->pieces);
	q->pieces = NULL;
	q->cap = 0;
}
