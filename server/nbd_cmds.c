/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_cmds.c: the commands of transmission: a row of the table for each says what it may have and of
 * which requests it is made.
 *
 * A command has one request under way at a time.  The one after it is run as soon as that is answered
 * where there are few of them; one that comes in many pieces waits for the step of CONN_HEADER, so that
 * others have their turn, of this connection too, and the budgets hold for each piece.
 */
#include "server/nbd_priv.h"

#include <assert.h>
#include <string.h>

#include "common/err.h"
#include "server/dispatch.h"
#include "server/page.h"

#define ZEROS_BYTES	(128u << 10) /* written at once */
#define CACHE_BYTES	(1u << 20)   /* read at once, of */
#define CACHE_BYTES_MAX (32u << 20)  /* so many at most: the rest of the hint is not taken */

/* A cmd's place is its request's id. */
static_assert(ARRAY_LEN(((struct nbd *)0)->cmds) == WIRE_INFLIGHT_MAX, "one for each request");

struct nbd_cmd_row {
	uint32_t flags;	 /* that it may have, beside FUA */
	bool writes;	 /* not of a read-only export */
	uint32_t beyond; /* the error of a range that is not in the export; 0: it has no range */
	/* Makes its next request. */
	int (*begin)(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req);
	/* A request of it has been answered with success. */
	void (*answered)(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply);
};

/* ---- life of a command ----------------------------------------------------------------------- */

void nbd_cmds_init(struct nbd *nbd)
{
	TAILQ_INIT(&nbd->free);
	TAILQ_INIT(&nbd->again);
	for (size_t i = 0; i < ARRAY_LEN(nbd->cmds); i++)
		TAILQ_INSERT_TAIL(&nbd->free, &nbd->cmds[i], link);
}

static struct nbd_cmd *nbd_cmd_new(struct nbd *nbd, const struct nbd_request *in)
{
	struct nbd_cmd *cmd = TAILQ_FIRST(&nbd->free);

	assert(cmd); /* as many as requests may be under way */
	TAILQ_REMOVE(&nbd->free, cmd, link);
	*cmd = (struct nbd_cmd){.in = *in, .contexts = (1u << nbd->ncontexts) - 1};
	nbd->ncmds++;
	return cmd;
}

void nbd_cmd_end(struct nbd *nbd, struct nbd_cmd *cmd)
{
	TAILQ_INSERT_HEAD(&nbd->free, cmd, link);
	nbd->ncmds--;
}

int nbd_cmd_begin(struct nbd *nbd, const struct nbd_cmd *cmd, uint16_t op, const uint8_t *body,
		  int n, uint32_t payload_len, struct request **req)
{
	struct wire_header header = {.op = op,
				     .id = (uint64_t)(cmd - nbd->cmds) + 1,
				     .body_len = (uint32_t)n,
				     .payload_len = payload_len};

	return n < 0 ? n : dispatch_begin(&nbd->conn->session, &header, body, req);
}

void nbd_cmd_follow(struct nbd *nbd, struct nbd_cmd *cmd,
		    int (*begin)(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req))
{
	struct request *req;
	int err = begin(nbd, cmd, &req);

	if (err < 0)
		nbd_cmd_error(nbd, cmd, nbd_errno(err), err_text(err));
	else
		dispatch_run(req);
}

void nbd_cmd_again(struct nbd *nbd, struct nbd_cmd *cmd)
{
	if (nbd->conn->state >= CONN_FINISHING) {
		nbd_cmd_error(nbd, cmd, NBD_ESHUTDOWN, err_text(-ERR_SHUTDOWN));
		return;
	}
	TAILQ_INSERT_TAIL(&nbd->again, cmd, link);
}

/* ---- what they are made of ------------------------------------------------------------------- */

static int read_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	struct msg_read m = {
	    .handle = nbd->handle, .offset = cmd->in.offset, .len = (uint32_t)cmd->in.len};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_READ, body, msg_read_encode(body, sizeof(body), &m),
			     0, req);
}

static void read_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	nbd_cmd_data(nbd, cmd, reply->npayload > 0 ? reply->payload : NULL);
}

static int write_begin_at(struct nbd *nbd, struct nbd_cmd *cmd, uint64_t offset, uint32_t len,
			  struct request **req)
{
	struct msg_write m = {.handle = nbd->handle, .offset = offset};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_WRITE, body,
			     msg_write_encode(body, sizeof(body), &m), len, req);
}

static int write_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	return write_begin_at(nbd, cmd, cmd->in.offset, (uint32_t)cmd->in.len, req);
}

static int fsync_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	struct msg_handle m = {nbd->handle};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_FSYNC, body,
			     msg_handle_encode(body, sizeof(body), &m), 0, req);
}

static int zero_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	struct msg_zero m = {.handle = nbd->handle,
			     .flags = cmd->in.type == NBD_CMD_TRIM ? MSG_ZERO_WHOLE : 0,
			     .offset = cmd->in.offset,
			     .len = cmd->in.len};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_ZERO, body, msg_zero_encode(body, sizeof(body), &m),
			     0, req);
}

/* What has changed something is answered when that is as durable as it was asked to be. */
static void change_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	(void)reply;
	if (!(cmd->in.flags & NBD_CMD_FLAG_FUA) || cmd->syncing) {
		nbd_cmd_ok(nbd, cmd);
		return;
	}
	cmd->syncing = true;
	nbd_cmd_follow(nbd, cmd, fsync_begin);
}

static void plain_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	(void)reply;
	nbd_cmd_ok(nbd, cmd);
}

/* ---- zeros that take space ------------------------------------------------------------------- */

/* Fills the payload of a write with zeros. */
static void zeros_fill(struct nbd *nbd, struct request *req)
{
	struct page_pool *pool = objects_pages(nbd->conn->set->config.host->objs);

	for (uint32_t i = 0; req->err == 0 && i < req->payload->npages; i++) {
		struct page *page = pagevecs_page(pool, req->payload, 0, i);

		if (page) {
			memset(page->data, 0, BLK_BYTES);
			continue;
		}
		req->err = -ERR_NOMEM;
		session_drop_payload(req);
	}
}

/* A piece ends where a block does, but for the last. */
static uint32_t zeros_len(const struct nbd_cmd *cmd)
{
	uint64_t at = cmd->in.offset + cmd->done;
	uint64_t left = cmd->in.len - cmd->done;
	uint32_t room = ZEROS_BYTES - (uint32_t)(at % BLK_BYTES);

	return left < room ? (uint32_t)left : room;
}

static int write_zeroes_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	int err;

	if (!(cmd->in.flags & NBD_CMD_FLAG_NO_HOLE))
		return zero_begin(nbd, cmd, req);
	err = write_begin_at(nbd, cmd, cmd->in.offset + cmd->done, zeros_len(cmd), req);
	if (err == 0)
		zeros_fill(nbd, *req);
	return err;
}

static void write_zeroes_answered(struct nbd *nbd, struct nbd_cmd *cmd,
				  const struct session_reply *reply)
{
	if ((cmd->in.flags & NBD_CMD_FLAG_NO_HOLE) && !cmd->syncing) {
		cmd->done += zeros_len(cmd);
		if (cmd->done < cmd->in.len) {
			nbd_cmd_again(nbd, cmd);
			return;
		}
	}
	change_answered(nbd, cmd, reply);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Its offset is the size that is asked for. */
static int resize_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	struct msg_resize m = {
	    .handle = nbd->handle, .flags = MSG_RESIZE_SHRINK, .size_bytes = cmd->in.offset};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_RESIZE, body,
			     msg_resize_encode(body, sizeof(body), &m), 0, req);
}

static void resize_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	if (!cmd->syncing) {
		nbd->old_bytes = nbd->size_bytes;
		nbd->size_bytes = cmd->in.offset;
	}
	change_answered(nbd, cmd, reply);
}

/* ---- reading ahead --------------------------------------------------------------------------- */

static uint32_t cache_len(const struct nbd_cmd *cmd)
{
	uint64_t left = cmd->in.len - cmd->done;

	return left < CACHE_BYTES ? (uint32_t)left : CACHE_BYTES;
}

static int cache_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req)
{
	struct msg_read m = {
	    .handle = nbd->handle, .offset = cmd->in.offset + cmd->done, .len = cache_len(cmd)};
	uint8_t body[sizeof(m)];

	return nbd_cmd_begin(nbd, cmd, WIRE_OP_READ, body, msg_read_encode(body, sizeof(body), &m),
			     0, req);
}

/* What was read stays in the cache, and is not sent. */
static void cache_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	(void)reply;
	cmd->done += cache_len(cmd);
	if (cmd->done < cmd->in.len && cmd->done < CACHE_BYTES_MAX)
		nbd_cmd_again(nbd, cmd);
	else
		nbd_cmd_ok(nbd, cmd);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct nbd_cmd_row rows[] = {
    [NBD_CMD_READ] = {NBD_CMD_FLAG_DF, false, NBD_EINVAL, read_begin, read_answered},
    [NBD_CMD_WRITE] = {0, true, NBD_ENOSPC, write_begin, change_answered},
    [NBD_CMD_FLUSH] = {0, false, 0, fsync_begin, plain_answered},
    [NBD_CMD_TRIM] = {0, true, NBD_EINVAL, zero_begin, change_answered},
    [NBD_CMD_CACHE] = {0, false, NBD_EINVAL, cache_begin, cache_answered},
    [NBD_CMD_WRITE_ZEROES] = {NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, true, NBD_ENOSPC,
			      write_zeroes_begin, write_zeroes_answered},
    [NBD_CMD_BLOCK_STATUS] = {NBD_CMD_FLAG_REQ_ONE, false, NBD_EINVAL, nbd_status_begin,
			      nbd_status_answered},
    [NBD_CMD_RESIZE] = {0, true, 0, resize_begin, resize_answered},
};

void nbd_cmd_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply)
{
	struct msg_error error;

	if (reply->header.status == 0) {
		rows[cmd->in.type].answered(nbd, cmd, reply);
		return;
	}
	if (msg_error_decode(reply->body, reply->body_len, &error) < 0)
		error.text[0] = '\0';
	nbd_cmd_error(nbd, cmd, nbd_errno((int)reply->header.status), error.text);
}

/* One that asks the engine for nothing: it is refused, or has no length. */
static void nbd_cmd_nothing(struct nbd *nbd, struct nbd_cmd *cmd)
{
	if (cmd->error != 0)
		nbd_cmd_error(nbd, cmd, cmd->error, cmd->why);
	else if (cmd->in.type == NBD_CMD_READ)
		nbd_cmd_data(nbd, cmd, NULL);
	else
		nbd_cmd_ok(nbd, cmd);
}

enum conn_step nbd_cmd_run(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;
	struct request *req = conn_take(conn);
	struct nbd_cmd *cmd = &nbd->cmds[req->header.id - 1];

	if (req->header.op == WIRE_OP_PING) {
		session_request_end(req);
		nbd_cmd_nothing(nbd, cmd);
	} else {
		dispatch_run(req);
	}
	conn_account(conn);
	return STEP_ON;
}

/* ---- what is wrong with a command ------------------------------------------------------------ */

static bool nbd_flags_are_good(const struct nbd *nbd, const struct nbd_request *in)
{
	uint32_t known = NBD_CMD_FLAG_FUA | rows[in->type].flags;

	if (!nbd_has_chunks(nbd))
		known &= ~NBD_CMD_FLAG_DF;
	if (nbd->extended &&
	    (in->type == NBD_CMD_WRITE ||
	     (in->type == NBD_CMD_BLOCK_STATUS && (nbd->flags & NBD_FLAG_BLOCK_STATUS_PAYLOAD))))
		known |= NBD_CMD_FLAG_PAYLOAD_LEN;
	return !(in->flags & ~known);
}

/* What only some commands have, and what is read all at once. */
static uint32_t nbd_judge_special(const struct nbd *nbd, const struct nbd_request *in,
				  const char **why)
{
	bool fast = in->flags & NBD_CMD_FLAG_FAST_ZERO;

	if (in->type == NBD_CMD_READ && in->len > NBD_PAYLOAD_MAX) {
		*why = "longer than the largest payload";
		return nbd_has_chunks(nbd) ? NBD_EOVERFLOW : NBD_EINVAL;
	}
	if (in->type == NBD_CMD_BLOCK_STATUS && (nbd->ncontexts == 0 || in->len == 0)) {
		*why = nbd->ncontexts == 0 ? "no context was negotiated" : "the range is empty";
		return NBD_EINVAL;
	}
	if (in->type == NBD_CMD_RESIZE && in->offset > WIRE_OBJECT_SIZE_MAX) {
		*why = err_text(-ERR_TOO_LARGE);
		return NBD_ENOSPC;
	}
	if (fast && (in->flags & NBD_CMD_FLAG_NO_HOLE)) {
		*why = "zeros that take space are written like data";
		return NBD_ENOTSUP;
	}
	return 0;
}

static bool nbd_is_within(const struct nbd_request *in, uint64_t end)
{
	return in->offset <= end && in->len <= end - in->offset;
}

/* 0, or an error number. */
static uint32_t nbd_judge(const struct nbd *nbd, const struct nbd_request *in, const char **why)
{
	const struct nbd_cmd_row *row;

	*why = "no such command";
	if (in->type >= NBD_CMD_END || !rows[in->type].begin)
		return NBD_EINVAL;
	row = &rows[in->type];
	*why = "a flag that this command has not";
	if (!nbd_flags_are_good(nbd, in))
		return NBD_EINVAL;
	*why = "this export is read-only";
	if (row->writes && (nbd->flags & NBD_FLAG_READ_ONLY))
		return NBD_EPERM;
	*why = "a range where none belongs";
	if (row->beyond == 0 && (in->len != 0 || (in->offset != 0 && in->type != NBD_CMD_RESIZE)))
		return NBD_EINVAL;
	*why = "beyond the end of the export";
	if (row->beyond != 0 && !nbd_is_within(in, nbd->size_bytes))
		return nbd_is_within(in, nbd->old_bytes) ? NBD_ENOSPC : row->beyond;
	return nbd_judge_special(nbd, in, why);
}

/* ---- what comes in --------------------------------------------------------------------------- */

/* Bytes behind the header. */
static uint64_t nbd_payload_of(const struct nbd *nbd, const struct nbd_request *in)
{
	if (nbd->extended)
		return in->flags & NBD_CMD_FLAG_PAYLOAD_LEN ? in->len : 0;
	return in->type == NBD_CMD_WRITE ? in->len : 0;
}

/*
 * Answers with an error, or with nothing where that is 0, once what follows it has been thrown away.  It has
 * a request all the same, so that its answer is within the budgets.
 */
static enum conn_step nbd_cmd_refuse(struct nbd *nbd, const struct nbd_request *in, uint32_t error,
				     const char *why, uint32_t payload)
{
	struct conn *conn = nbd->conn;
	struct nbd_cmd *cmd = nbd_cmd_new(nbd, in);
	struct request *req;

	cmd->error = error;
	cmd->why = why;
	if (nbd_cmd_begin(nbd, cmd, WIRE_OP_PING, NULL, 0, 0, &req) < 0) {
		conn_kill(conn);
		return STEP_WAIT;
	}
	conn_begun(conn, req, payload);
	return STEP_ON;
}

/* Its first request, or the next one of a command that goes on. */
static enum conn_step nbd_cmd_go(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t payload)
{
	struct request *req;

	if (rows[cmd->in.type].begin(nbd, cmd, &req) < 0) {
		conn_kill(nbd->conn);
		return STEP_WAIT;
	}
	conn_begun(nbd->conn, req, payload);
	return STEP_ON;
}

/* The header is taken, and the command is to be judged. */
static enum conn_step nbd_cmd_take(struct nbd *nbd, struct nbd_request *in)
{
	uint64_t payload = nbd_payload_of(nbd, in);
	const char *why = "a write without payload";
	uint32_t error;

	if (in->type == NBD_CMD_DISC) {
		nbd->phase = NBD_LEAVING;
		return STEP_ON;
	}
	if (payload > NBD_PAYLOAD_MAX) /* a client that still sends would not see an answer */
		return nbd_refuse(nbd, -ERR_FRAME_LEN);
	if (nbd->extended && in->type == NBD_CMD_WRITE && payload == 0 && in->len > 0)
		return nbd_cmd_refuse(nbd, in, NBD_EINVAL, why, 0);
	if (payload > 0 && in->type != NBD_CMD_WRITE)
		return nbd_cmd_refuse(nbd, in, NBD_EINVAL, "a payload where none belongs",
				      (uint32_t)payload);
	error = nbd_judge(nbd, in, &why);
	if (error != 0)
		return nbd_cmd_refuse(nbd, in, error, why, (uint32_t)payload);
	if (in->len == 0 && rows[in->type].beyond != 0)
		return nbd_cmd_refuse(nbd, in, 0, NULL, 0);
	return nbd_cmd_go(nbd, nbd_cmd_new(nbd, in), (uint32_t)payload);
}

/* The payload of a BLOCK_STATUS says what its range and contexts are. */
static enum conn_step nbd_cmd_filtered(struct nbd *nbd, struct nbd_request *in)
{
	struct conn *conn = nbd->conn;
	struct nbd_cmd found = {.in = *in};
	const uint8_t *payload = conn->in + conn->in_pos + NBD_EXTENDED_REQUEST_BYTES;
	uint32_t len = (uint32_t)in->len;
	const char *why = "malformed payload, or a context that was not negotiated";
	uint32_t error;
	struct nbd_cmd *cmd;

	if (conn_in_avail(conn) < NBD_EXTENDED_REQUEST_BYTES + len)
		return STEP_MORE;
	conn->in_pos += NBD_EXTENDED_REQUEST_BYTES + len;
	error = nbd_status_filter(nbd, payload, &found);
	if (error == 0)
		error = nbd_judge(nbd, &found.in, &why);
	if (error != 0)
		return nbd_cmd_refuse(nbd, in, error, why, 0);
	cmd = nbd_cmd_new(nbd, &found.in);
	cmd->contexts = found.contexts;
	return nbd_cmd_go(nbd, cmd, 0);
}

static bool nbd_is_filtered(const struct nbd *nbd, const struct nbd_request *in)
{
	return nbd->extended && in->type == NBD_CMD_BLOCK_STATUS &&
	       (in->flags & NBD_CMD_FLAG_PAYLOAD_LEN) && in->len <= NBD_STATUS_FILTER_BYTES_MAX;
}

/* The next of the commands that go on, if there is one. */
static struct nbd_cmd *nbd_cmd_next(struct nbd *nbd)
{
	struct nbd_cmd *cmd = TAILQ_FIRST(&nbd->again);

	if (cmd)
		TAILQ_REMOVE(&nbd->again, cmd, link);
	return cmd;
}

/* Is it the turn of one that goes on?  They and those that come take turns. */
static bool nbd_cmd_is_due(struct nbd *nbd)
{
	bool due = !TAILQ_EMPTY(&nbd->again) && (!nbd->went_on || TAILQ_EMPTY(&nbd->free));

	nbd->went_on = due;
	return due;
}

void nbd_cmds_finish(struct nbd *nbd)
{
	const struct conn *conn = nbd->conn;
	struct nbd_cmd *cmd;

	/* one that is there as a whole, and waits for room */
	if (conn->req && conn->req->header.id != 0 && conn->payload_have == conn->payload_len)
		nbd_cmd_error(nbd, &nbd->cmds[conn->req->header.id - 1], NBD_ESHUTDOWN,
			      err_text(-ERR_SHUTDOWN));
	while ((cmd = nbd_cmd_next(nbd)) != NULL)
		nbd_cmd_error(nbd, cmd, NBD_ESHUTDOWN, err_text(-ERR_SHUTDOWN));
}

enum conn_step nbd_cmd_leaving(struct nbd *nbd)
{
	struct nbd_cmd *again = nbd_cmd_next(nbd);

	if (again)
		return nbd_cmd_go(nbd, again, 0);
	nbd->conn->waiting = nbd->ncmds > 0;
	if (nbd->ncmds == 0)
		conn_finish(nbd->conn);
	return STEP_WAIT;
}

enum conn_step nbd_cmd_header(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;
	uint32_t len = nbd->extended ? NBD_EXTENDED_REQUEST_BYTES : NBD_REQUEST_BYTES;
	struct nbd_request in;

	if (nbd_cmd_is_due(nbd))
		return nbd_cmd_go(nbd, nbd_cmd_next(nbd), 0);
	if (!TAILQ_EMPTY(&nbd->again))
		conn_wake(conn); /* it goes on though nothing else may come */
	if (conn_in_avail(conn) < len)
		return STEP_MORE;
	if (nbd_request_decode(conn->in + conn->in_pos, nbd->extended, &in) < 0)
		return nbd_refuse(nbd, -ERR_FRAME_MAGIC);
	if (nbd_is_filtered(nbd, &in))
		return nbd_cmd_filtered(nbd, &in);
	conn->in_pos += len;
	return nbd_cmd_take(nbd, &in);
}
