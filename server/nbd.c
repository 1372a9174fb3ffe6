/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/nbd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "server/dispatch.h"
#include "server/nbd_priv.h"

#define NBD_HANDSHAKE_ID 0u /* of requests; a command has its place and one more */

const struct nbd_config *nbd_config(const struct nbd *nbd)
{
	static const struct nbd_config none = {0};
	const struct nbd_config *config = nbd->conn->set->config.nbd;

	return config ? config : &none;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The server speaks first. */
static int nbd_open(struct conn *conn)
{
	uint8_t greeting[NBD_GREETING_BYTES];
	struct nbd *nbd = calloc(1, sizeof(*nbd));

	if (!nbd)
		return -ERR_NOMEM;
	conn->own = nbd;
	nbd->conn = conn;
	nbd_cmds_init(nbd);
	nbd_greeting_encode(greeting, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	return conn_add(conn, greeting, sizeof(greeting));
}

static void nbd_close(struct conn *conn)
{
	struct nbd *nbd = nbd_of(conn);

	nbd_opt_end(nbd);
	free(nbd);
}

/* An option that waits for the engine when the server stops has an answer, too. */
static void nbd_finish(struct conn *conn)
{
	struct nbd *nbd = nbd_of(conn);

	nbd_cmds_finish(nbd);
	if (conn->set->stopping && nbd->phase == NBD_WORK && nbd->opt.option != NBD_OPT_EXPORT_NAME)
		(void)nbd_opt_error(nbd, NBD_REP_ERR_SHUTDOWN, err_text(-ERR_SHUTDOWN));
}

static bool nbd_end(struct conn *conn)
{
	return nbd_export_end(nbd_of(conn));
}

enum conn_step nbd_refuse(struct nbd *nbd, int err)
{
	conn_refuse(nbd->conn, err);
	return STEP_WAIT;
}

/* ---- asking the engine ----------------------------------------------------------------------- */

enum conn_step nbd_ask(struct nbd *nbd, uint16_t op, const uint8_t *body, int n,
		       void (*answered)(struct nbd *nbd, const struct session_reply *reply),
		       enum conn_step (*work)(struct nbd *nbd))
{
	struct conn *conn = nbd->conn;
	struct wire_header header = {.op = op, .id = NBD_HANDSHAKE_ID, .body_len = (uint32_t)n};
	struct request *req;

	if (n < 0 || dispatch_begin(&conn->session, &header, body, &req) < 0) {
		conn_kill(conn);
		return STEP_WAIT;
	}
	nbd->phase = NBD_WORK;
	nbd->answered = answered;
	nbd->work = work;
	nbd->failed = 0;
	nbd->status = 0;
	conn->waiting = true;
	conn_begun(conn, req, 0);
	return STEP_ON;
}

static void nbd_handshake_answered(struct nbd *nbd, const struct session_reply *reply)
{
	struct msg_error error;

	nbd->conn->waiting = false;
	/* the option is answered, or never will be */
	if (nbd->conn->state >= CONN_FINISHING)
		return;
	if (reply->header.status == 0) {
		nbd->answered(nbd, reply);
		return;
	}
	nbd->status = reply->header.status;
	nbd->failed = nbd_rep_err((int)reply->header.status);
	if (msg_error_decode(reply->body, reply->body_len, &error) < 0)
		error.text[0] = '\0';
	snprintf(nbd->why, sizeof(nbd->why), "%s", error.text);
}

/* ---- what comes in --------------------------------------------------------------------------- */

static enum conn_step nbd_step_flags(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;
	uint32_t flags;

	if (conn_in_avail(conn) < NBD_CLIENT_FLAGS_BYTES)
		return STEP_MORE;
	flags = nbd_client_flags_decode(conn->in + conn->in_pos);
	conn->in_pos += NBD_CLIENT_FLAGS_BYTES;
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return nbd_refuse(nbd, -ERR_PROTO);
	nbd->fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
	nbd->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	session_set_ready(&conn->session, "NBD", 0);
	nbd->phase = NBD_OPTION;
	return STEP_ON;
}

static enum conn_step nbd_step_option(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;

	if (conn_in_avail(conn) < NBD_OPTION_BYTES)
		return STEP_MORE;
	if (nbd_option_decode(conn->in + conn->in_pos, &nbd->opt) < 0)
		return nbd_refuse(nbd, -ERR_FRAME_MAGIC);
	conn->in_pos += NBD_OPTION_BYTES;
	conn->turn_requests--;
	if (++nbd->noptions > NBD_OPTIONS_MAX)
		return nbd_refuse(nbd, -ERR_LIMIT);
	if (nbd->opt.len > NBD_OPTION_SKIP_MAX)
		return nbd_refuse(nbd, -ERR_FRAME_LEN);
	nbd->skip = nbd->opt.len;
	nbd->phase = nbd->opt.len > NBD_OPTION_DATA_MAX ? NBD_SKIP : NBD_DATA;
	return STEP_ON;
}

static enum conn_step nbd_step_data(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;
	const uint8_t *data;

	if (conn_in_avail(conn) < nbd->opt.len)
		return STEP_MORE;
	data = conn->in + conn->in_pos;
	conn->in_pos += nbd->opt.len;
	return nbd_opt_run(nbd, data);
}

static enum conn_step nbd_step_skip(struct nbd *nbd)
{
	struct conn *conn = nbd->conn;
	uint32_t n = conn_in_avail(conn) < nbd->skip ? conn_in_avail(conn) : nbd->skip;

	conn->in_pos += n;
	nbd->skip -= n;
	if (nbd->skip > 0)
		return STEP_MORE;
	return nbd_opt_run(nbd, NULL);
}

static enum conn_step nbd_step_work(struct nbd *nbd)
{
	return nbd->conn->waiting ? STEP_WAIT : nbd->work(nbd);
}

static enum conn_step nbd_header(struct conn *conn)
{
	static enum conn_step (*const steps[])(struct nbd * nbd) = {
	    [NBD_FLAGS] = nbd_step_flags,    [NBD_OPTION] = nbd_step_option,
	    [NBD_DATA] = nbd_step_data,	     [NBD_SKIP] = nbd_step_skip,
	    [NBD_WORK] = nbd_step_work,	     [NBD_TRANSMIT] = nbd_cmd_header,
	    [NBD_LEAVING] = nbd_cmd_leaving,
	};
	struct nbd *nbd = nbd_of(conn);

	return steps[nbd->phase](nbd);
}

static enum conn_step nbd_run(struct conn *conn)
{
	struct nbd *nbd = nbd_of(conn);

	if (conn->req->header.id != NBD_HANDSHAKE_ID)
		return nbd_cmd_run(nbd);
	dispatch_run(conn_take(conn));
	conn_account(conn);
	return STEP_ON;
}

static int nbd_reply(struct conn *conn, const struct session_reply *reply)
{
	struct nbd *nbd = nbd_of(conn);

	if (reply->header.id == NBD_HANDSHAKE_ID)
		nbd_handshake_answered(nbd, reply);
	else
		nbd_cmd_answered(nbd, &nbd->cmds[reply->header.id - 1], reply);
	return 0;
}

const struct conn_proto conn_nbd = {
    .open = nbd_open,
    .close = nbd_close,
    .finish = nbd_finish,
    .end = nbd_end,
    .header = nbd_header,
    .run = nbd_run,
    .reply = nbd_reply,
};
