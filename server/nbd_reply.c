/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_reply.c: what is sent to an NBD client: replies to options and to commands.
 */
#include "server/nbd_priv.h"

#include <string.h>

#include "common/err.h"

#define HOLE_MIN_BLKS 4u /* fewer are not worth the chunks */

void nbd_send(struct nbd *nbd, const void *data, size_t len)
{
	if (nbd->conn->state != CONN_DEAD && conn_add(nbd->conn, data, len) < 0)
		conn_kill(nbd->conn);
}

/* ---- options --------------------------------------------------------------------------------- */

void nbd_opt_reply(struct nbd *nbd, uint32_t type, const void *data, int n)
{
	uint8_t head[NBD_OPTREPLY_BYTES];

	if (n < 0) {
		conn_kill(nbd->conn);
		return;
	}
	nbd_optreply_encode(head, nbd->opt.option, type, (uint32_t)n);
	nbd_send(nbd, head, sizeof(head));
	if (n > 0)
		nbd_send(nbd, data, (size_t)n);
}

static enum conn_step nbd_opt_over(struct nbd *nbd)
{
	nbd_opt_end(nbd);
	nbd->phase = NBD_OPTION;
	return STEP_ON;
}

enum conn_step nbd_opt_ack(struct nbd *nbd)
{
	nbd_opt_reply(nbd, NBD_REP_ACK, NULL, 0);
	return nbd_opt_over(nbd);
}

enum conn_step nbd_opt_error(struct nbd *nbd, uint32_t type, const char *why)
{
	nbd_opt_reply(nbd, type, why, (int)strlen(why));
	return nbd_opt_over(nbd);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void nbd_send_head(struct nbd *nbd, const struct nbd_request *in, uint16_t flags,
			  uint16_t type, uint32_t len)
{
	const struct nbd_chunk chunk = {.extended = nbd->extended,
					.flags = flags,
					.type = type,
					.cookie = in->cookie,
					.offset = in->offset,
					.len = len};
	uint8_t head[NBD_EXTENDED_REPLY_BYTES];

	nbd_send(nbd, head, nbd_chunk_encode(head, &chunk));
}

void nbd_send_chunk(struct nbd *nbd, const struct nbd_cmd *cmd, uint16_t flags, uint16_t type,
		    uint32_t len)
{
	nbd_send_head(nbd, &cmd->in, flags, type, len);
}

static void nbd_send_simple(struct nbd *nbd, const struct nbd_request *in, uint32_t error)
{
	uint8_t head[NBD_SIMPLE_REPLY_BYTES];

	nbd_simple_reply_encode(head, error, in->cookie);
	nbd_send(nbd, head, sizeof(head));
}

void nbd_cmd_error(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t error, const char *why)
{
	uint8_t body[WIRE_TEXT_MAX + 8];
	int n = nbd_error_encode(body, sizeof(body), error, why);

	if (!nbd_has_chunks(nbd)) {
		nbd_send_simple(nbd, &cmd->in, error);
	} else if (n < 0) {
		conn_kill(nbd->conn);
	} else {
		nbd_send_head(nbd, &cmd->in, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR,
			      (uint32_t)n);
		nbd_send(nbd, body, (size_t)n);
	}
	nbd_cmd_end(nbd, cmd);
}

void nbd_cmd_ok(struct nbd *nbd, struct nbd_cmd *cmd)
{
	if (nbd->extended)
		nbd_send_head(nbd, &cmd->in, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_NONE, 0);
	else
		nbd_send_simple(nbd, &cmd->in, 0);
	nbd_cmd_end(nbd, cmd);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void nbd_send_zeros(struct nbd *nbd, uint64_t len)
{
	static const uint8_t zeros[BLK_BYTES];

	for (; len > 0 && nbd->conn->state != CONN_DEAD;) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		nbd_send(nbd, zeros, n);
		len -= n;
	}
}

static void nbd_send_pages(struct nbd *nbd, struct pagevec *pv)
{
	if (pv->len > 0 && nbd->conn->state != CONN_DEAD && conn_add_pages(nbd->conn, pv) < 0)
		conn_kill(nbd->conn);
}

/* A chunk, or what of it comes before the data. */
static void nbd_send_content(struct nbd *nbd, const struct nbd_cmd *cmd, uint16_t type, bool last,
			     const uint8_t *body, int n, uint64_t data)
{
	const struct nbd_chunk chunk = {.extended = nbd->extended,
					.flags = last ? NBD_REPLY_FLAG_DONE : 0,
					.type = type,
					.cookie = cmd->in.cookie,
					.offset = cmd->in.offset,
					.len = (uint32_t)((uint64_t)n + data)};
	uint8_t head[NBD_EXTENDED_REPLY_BYTES + NBD_HOLE_BYTES];
	size_t len = nbd_chunk_encode(head, &chunk);

	memcpy(head + len, body, (size_t)n);
	nbd_send(nbd, head, len + (size_t)n);
}

static void nbd_send_data(struct nbd *nbd, const struct nbd_cmd *cmd, uint64_t offset, bool last,
			  struct pagevec *pv, uint64_t zeros)
{
	uint8_t body[NBD_OFFSET_BYTES];
	int n = nbd_offset_encode(body, sizeof(body), offset);

	nbd_send_content(nbd, cmd, NBD_REPLY_TYPE_OFFSET_DATA, last, body, n, pv->len + zeros);
	nbd_send_pages(nbd, pv);
	nbd_send_zeros(nbd, zeros);
}

static void nbd_send_hole(struct nbd *nbd, const struct nbd_cmd *cmd, uint64_t offset, bool last,
			  uint64_t len)
{
	uint8_t body[NBD_HOLE_BYTES];
	int n = nbd_hole_encode(body, sizeof(body), offset, (uint32_t)len);

	nbd_send_content(nbd, cmd, NBD_REPLY_TYPE_OFFSET_HOLE, last, body, n, 0);
}

/* How many pages from i on are, or are not, those that stand for a hole. */
static uint32_t nbd_run_of(const struct pagevec *pv, uint32_t i, bool *hole)
{
	uint32_t n = i;

	*hole = page_is_zero(pv->pages[i]);
	while (n < pv->npages && page_is_zero(pv->pages[n]) == *hole)
		n++;
	return n - i;
}

/* Pages from i on that go into one chunk; holes that are short are sent as data. */
static uint32_t nbd_piece_of(const struct pagevec *pv, uint32_t i, bool *hole)
{
	uint32_t n = nbd_run_of(pv, i, hole);

	if (*hole && (n >= HOLE_MIN_BLKS || n == pv->npages))
		return n;
	*hole = false;
	while (i + n < pv->npages) {
		bool next;
		uint32_t more = nbd_run_of(pv, i + n, &next);

		if (next && more >= HOLE_MIN_BLKS)
			break;
		n += more;
	}
	return n;
}

/* The pages [i, i + n) of a vector, which share its array. */
static struct pagevec nbd_part_of(const struct pagevec *pv, uint32_t i, uint32_t n)
{
	struct pagevec part = {.pages = pv->pages + i, .npages = n, .head = i == 0 ? pv->head : 0};

	for (uint32_t j = i; j < i + n; j++) {
		uint32_t off;
		uint32_t len;

		pagevec_span(pv, j, &off, &len);
		part.len += len;
	}
	return part;
}

/* In chunks of data and of holes, then so many zeros. */
static void nbd_send_pieces(struct nbd *nbd, const struct nbd_cmd *cmd, struct pagevec *pv,
			    uint64_t zeros)
{
	uint64_t offset = cmd->in.offset;
	uint32_t i = 0;

	while (i < pv->npages) {
		bool hole;
		uint32_t n = nbd_piece_of(pv, i, &hole);
		struct pagevec part = nbd_part_of(pv, i, n);
		bool last = i + n == pv->npages && zeros == 0;

		if (hole)
			nbd_send_hole(nbd, cmd, offset, last, part.len);
		else
			nbd_send_data(nbd, cmd, offset, last, &part, 0);
		offset += part.len;
		i += n;
	}
	if (zeros > 0)
		nbd_send_hole(nbd, cmd, offset, true, zeros);
}

/* Everything is there, so the last chunk of the content can be that of the reply. */
void nbd_cmd_data(struct nbd *nbd, struct nbd_cmd *cmd, struct pagevec *pv)
{
	struct pagevec none = {0};
	/* the object may have become shorter than it was when the client saw its size */
	uint64_t zeros = cmd->in.len - (pv ? pv->len : 0);

	if (!pv)
		pv = &none;
	if (!nbd_has_chunks(nbd)) {
		nbd_send_simple(nbd, &cmd->in, 0);
		nbd_send_pages(nbd, pv);
		nbd_send_zeros(nbd, zeros);
	} else if (cmd->in.len == 0) {
		nbd_send_head(nbd, &cmd->in, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_NONE, 0);
	} else if (cmd->in.flags & NBD_CMD_FLAG_DF) {
		nbd_send_data(nbd, cmd, cmd->in.offset, true, pv, zeros);
	} else {
		nbd_send_pieces(nbd, cmd, pv, zeros);
	}
	nbd_cmd_end(nbd, cmd);
}
