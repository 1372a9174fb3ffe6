/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_status.c: BLOCK_STATUS: for each context a request of the dispatch, and of its answer a chunk.
 */
#include "server/nbd_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define STATUS_EXTENTS_MAX 2048u

static_assert(STATUS_EXTENTS_MAX <= MSG_EXTENTS_MAX && STATUS_EXTENTS_MAX <= MSG_DIFF_MAX,
	      "a reply has as many");

/* The context that is told next. */
static uint32_t status_context(const struct nbd_cmd *cmd)
{
	uint32_t i = 0;

	while (!(cmd->contexts & 1u << i))
		i++;
	return i;
}

uint32_t nbd_status_filter(const struct nbd *nbd, const uint8_t *data, struct nbd_cmd *cmd)
{
	struct nbd_status_filter m;

	if (nbd_status_filter_decode(data, (size_t)cmd->in.len, &m) < 0)
		return NBD_EINVAL;
	cmd->in.len = m.len;
	cmd->contexts = 0;
	for (uint32_t i = 0; i < m.n; i++) {
		if (m.ids[i] >= nbd->ncontexts)
			return NBD_EINVAL;
		cmd->contexts |= 1u << m.ids[i];
	}
	return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int extents_begin(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t max, uint32_t flags,
			 struct request **req)
{
	struct msg_extents m = {.handle = nbd->handle,
				.flags = flags,
				.offset = cmd->in.offset,
				.len = cmd->in.len,
				.max = max};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_EXTENTS, body,
			     msg_extents_encode(body, sizeof(body), &m), 0, req);
}

static int diff_begin(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t max, uint64_t older,
		      struct request **req)
{
	struct msg_diff m = {.handle = nbd->handle,
			     .older = older,
			     .offset = cmd->in.offset,
			     .len = cmd->in.len,
			     .max = max};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_DIFF, body, msg_diff_encode(body, sizeof(body), &m),
			     0, req);
}

int nbd_status_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	const struct nbd_context *context = &nbd->contexts[status_context(cmd)];
	uint32_t max = cmd->in.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : STATUS_EXTENTS_MAX;

	if (context->kind == NBD_BITMAP)
		return diff_begin(nbd, cmd, max, context->older, req);
	return extents_begin(nbd, cmd, max, context->kind == NBD_SHARED ? MSG_EXTENTS_DETAILS : 0,
			     req);
}

/* ---- answering ------------------------------------------------------------------------------- */

/* Room for what an answer has, and how much of it is filled. */
struct status_runs {
	uint32_t n;
	uint64_t len;
	struct nbd_extent runs[STATUS_EXTENTS_MAX];
};

static void status_add(struct status_runs *s, uint64_t len, uint32_t flags)
{
	s->len += len;
	if (s->n > 0 && s->runs[s->n - 1].flags == flags)
		s->runs[s->n - 1].len += len;
	else
		s->runs[s->n++] = (struct nbd_extent){len, flags};
}

static uint32_t extent_flags(enum nbd_kind kind, const struct msg_extent *ext)
{
	if (kind == NBD_SHARED)
		return ext->flags & MSG_EXTENT_SHARED ? NBD_STATE_SHARED : 0;
	return ext->kind == MSG_EXTENT_DATA ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;
}

static int status_of_extents(const struct session_reply *reply, enum nbd_kind kind,
			     struct status_runs *s)
{
	struct msg_extent *ext = calloc(STATUS_EXTENTS_MAX, sizeof(*ext));
	uint32_t n = 0;
	int err = -ERR_NOMEM;

	if (ext)
		err = msg_extents_reply_decode(reply->body, reply->body_len, ext,
					       STATUS_EXTENTS_MAX, &n);
	for (uint32_t i = 0; err == 0 && i < n; i++)
		status_add(s, ext[i].len, extent_flags(kind, &ext[i]));
	free(ext);
	return err;
}

static int status_of_diff(const struct session_reply *reply, struct status_runs *s)
{
	struct msg_diff_run *runs = calloc(STATUS_EXTENTS_MAX, sizeof(*runs));
	struct msg_diff_reply m = {0};
	int err = -ERR_NOMEM;

	if (runs)
		err = msg_diff_reply_decode(reply->body, reply->body_len, &m, runs,
					    STATUS_EXTENTS_MAX);
	for (uint32_t i = 0; err == 0 && i < m.count; i++)
		status_add(s, runs[i].len, runs[i].kind == MSG_DIFF_SAME ? 0 : NBD_STATE_DIRTY);
	free(runs);
	return err;
}

/* Where the object ends before the export does, which it may since, the rest is a hole, and the version that
 * a bitmap is against may have had data there. */
static void status_add_rest(struct status_runs *s, enum nbd_kind kind, const struct nbd_cmd *cmd)
{
	static const uint32_t flags[] = {
	    [NBD_ALLOCATION] = NBD_STATE_HOLE | NBD_STATE_ZERO, [NBD_BITMAP] = NBD_STATE_DIRTY};

	if (s->n == 0)
		status_add(s, cmd->in.len, flags[kind]);
}

static int status_send(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t id,
		       const struct status_runs *s)
{
	size_t len = nbd_status_bytes(nbd->extended, s->n);
	uint8_t *body = malloc(len);
	int n = -ERR_NOMEM;

	if (body)
		n = nbd_status_encode(body, len, nbd->extended, id, s->runs, s->n);
	if (n >= 0) {
		nbd_send_chunk(nbd, cmd, cmd->contexts == 0 ? NBD_REPLY_FLAG_DONE : 0,
			       nbd->extended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT
					     : NBD_REPLY_TYPE_BLOCK_STATUS,
			       (uint32_t)n);
		nbd_send(nbd, body, (size_t)n);
	}
	free(body);
	return n < 0 ? n : 0;
}

/* The chunk of one context. */
static int status_tell(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t id,
		       const struct session_reply *reply)
{
	enum nbd_kind kind = nbd->contexts[id].kind;
	struct status_runs *s = calloc(1, sizeof(*s));
	int err = -ERR_NOMEM;

	if (s)
		err = kind == NBD_BITMAP ? status_of_diff(reply, s)
					 : status_of_extents(reply, kind, s);
	if (err == 0) {
		status_add_rest(s, kind, cmd);
		err = status_send(nbd, cmd, id, s);
	}
	free(s);
	return err;
}

void nbd_status_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	uint32_t id = status_context(cmd);
	int err;

	cmd->contexts &= ~(1u << id);
	err = status_tell(nbd, cmd, id, reply);
	if (err < 0)
		nbd_cmd_error(nbd, cmd, nbd_errno(err), err_text(err));
	else if (cmd->contexts == 0)
		nbd_cmd_end(nbd, cmd);
	else
		nbd_cmd_again(nbd, cmd);
}
