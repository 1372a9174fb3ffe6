/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/dispatch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

struct dispatch_row {
	uint16_t op;
	enum session_state state; /* the only one in which it is allowed */
	bool payload;		  /* the request may carry one */
	int (*decode)(struct request *req, const uint8_t *body, size_t len);
	int (*prepare)(struct request *req); /* refuses, or sets slot, payload, promise; or NULL */
	void (*run)(struct request *req);
};

/* ---- handshake, ping ------------------------------------------------------------------------- */

static void hello_run(struct request *req)
{
	const struct session_host *host = req->session->host;
	const struct msg_hello *hello = &req->m.hello;
	uint8_t body[sizeof(struct msg_hello_reply) + 2];
	struct msg_hello_reply msg = {
	    .version = WIRE_VERSION,
	    .block_bytes = BLK_BYTES,
	    .features = hello->features & WIRE_FEATURES,
	    .body_max = WIRE_BODY_MAX,
	    .payload_max = WIRE_PAYLOAD_MAX,
	    .inflight_max = WIRE_INFLIGHT_MAX,
	    .incarnation = host->incarnation,
	};
	int n;

	if (req->session->refusal[0] != '\0') {
		req->session->state = SESSION_OVER;
		dispatch_error(req, -ERR_PERM, req->session->refusal);
		return;
	}
	if (hello->version_min > WIRE_VERSION || hello->version_max < WIRE_VERSION) {
		dispatch_error(req, -ERR_VERSION, "this server speaks version 1");
		return;
	}
	memcpy(msg.store_uuid, host->store_uuid, sizeof(msg.store_uuid));
	snprintf(msg.agent, sizeof(msg.agent), "%s", host->agent);
	session_set_ready(req->session, hello->agent, msg.features);
	log_event(LOG_DEBUG, "session", "client=\"%s\"", req->session->holder);
	n = msg_hello_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

static void ping_run(struct request *req)
{
	dispatch_finish(req, 0, NULL, 0, NULL, 0);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define DECODER(field)                                                                  \
	static int field##_decode(struct request *req, const uint8_t *body, size_t len) \
	{                                                                               \
		return msg_##field##_decode(body, len, &req->m.field);                  \
	}

DECODER(hello)
DECODER(create)
DECODER(open)
DECODER(handle)
DECODER(handles)
DECODER(name)
DECODER(list)
DECODER(clone)
DECODER(read)
DECODER(write)
DECODER(resize)
DECODER(zero)
DECODER(clone_range)
DECODER(unshare)
DECODER(extents)
DECODER(diff)
DECODER(verify)
DECODER(snap)
DECODER(remove)
DECODER(versions)
DECODER(children)
DECODER(rename)
DECODER(set)
DECODER(fsync_if)

static int empty_decode(struct request *req, const uint8_t *body, size_t len)
{
	(void)req;
	(void)body;
	return len == 0 ? 0 : -ERR_FRAME_BODY;
}

static const struct dispatch_row rows[] = {
    {WIRE_OP_HELLO, SESSION_NEW, false, hello_decode, NULL, hello_run},
    {WIRE_OP_PING, SESSION_READY, false, empty_decode, NULL, ping_run},
    {WIRE_OP_CREATE, SESSION_READY, false, create_decode, NULL, dispatch_create},
    {WIRE_OP_OPEN, SESSION_READY, false, open_decode, NULL, dispatch_open},
    {WIRE_OP_CLOSE, SESSION_READY, false, handle_decode, NULL, dispatch_close},
    {WIRE_OP_INFO, SESSION_READY, false, name_decode, NULL, dispatch_info},
    {WIRE_OP_LIST, SESSION_READY, false, list_decode, dispatch_prepare_large, dispatch_list},
    {WIRE_OP_CLONE, SESSION_READY, false, clone_decode, NULL, dispatch_clone},
    {WIRE_OP_READ, SESSION_READY, false, read_decode, dispatch_prepare_read, dispatch_read},
    {WIRE_OP_WRITE, SESSION_READY, true, write_decode, dispatch_prepare_write, dispatch_write},
    {WIRE_OP_FSYNC, SESSION_READY, false, handle_decode, dispatch_prepare_fsync, dispatch_fsync},
    {WIRE_OP_RESIZE, SESSION_READY, false, resize_decode, dispatch_prepare_resize, dispatch_resize},
    {WIRE_OP_REMOVE, SESSION_READY, false, remove_decode, NULL, dispatch_remove},
    {WIRE_OP_EXTENTS, SESSION_READY, false, extents_decode, dispatch_prepare_extents,
     dispatch_extents},
    {WIRE_OP_STATFS, SESSION_READY, false, empty_decode, NULL, dispatch_statfs},
    {WIRE_OP_SNAP, SESSION_READY, false, snap_decode, NULL, dispatch_snap},
    {WIRE_OP_VERSIONS, SESSION_READY, false, versions_decode, dispatch_prepare_large,
     dispatch_versions},
    {WIRE_OP_CHILDREN, SESSION_READY, false, children_decode, dispatch_prepare_large,
     dispatch_children},
    {WIRE_OP_RENAME, SESSION_READY, false, rename_decode, NULL, dispatch_rename},
    {WIRE_OP_RESET, SESSION_READY, false, name_decode, NULL, dispatch_reset},
    {WIRE_OP_USAGE, SESSION_READY, false, dispatch_decode_usage, NULL, dispatch_usage},
    {WIRE_OP_REAPING, SESSION_READY, false, empty_decode, NULL, dispatch_reaping},
    {WIRE_OP_CHECK, SESSION_READY, false, empty_decode, dispatch_prepare_large,
     dispatch_check_store},
    {WIRE_OP_ZERO, SESSION_READY, false, zero_decode, dispatch_prepare_zero, dispatch_zero},
    {WIRE_OP_CLONE_RANGE, SESSION_READY, false, clone_range_decode, dispatch_prepare_clone_range,
     dispatch_clone_range},
    {WIRE_OP_SET, SESSION_READY, false, set_decode, NULL, dispatch_set},
    {WIRE_OP_READV, SESSION_READY, false, dispatch_decode_readv, dispatch_prepare_readv,
     dispatch_readv},
    {WIRE_OP_WRITEV, SESSION_READY, true, dispatch_decode_writev, dispatch_prepare_writev,
     dispatch_writev},
    {WIRE_OP_FSYNC_IF, SESSION_READY, false, fsync_if_decode, dispatch_prepare_fsync_if,
     dispatch_fsync_if},
    {WIRE_OP_DIFF, SESSION_READY, false, diff_decode, dispatch_prepare_diff, dispatch_diff},
    {WIRE_OP_TIE, SESSION_READY, false, handles_decode, dispatch_prepare_handles, dispatch_tie},
    {WIRE_OP_FSYNC_ALL, SESSION_READY, false, handles_decode, dispatch_prepare_handles,
     dispatch_fsync_all},
    {WIRE_OP_CLONE_ALL, SESSION_READY, false, dispatch_decode_clone_all, NULL, dispatch_clone_all},
    {WIRE_OP_UNSHARE, SESSION_READY, false, unshare_decode, dispatch_prepare_unshare,
     dispatch_unshare},
    {WIRE_OP_WRITE_ALL, SESSION_READY, true, dispatch_decode_write_all, dispatch_prepare_write_all,
     dispatch_write_all},
    {WIRE_OP_VERIFY, SESSION_READY, false, verify_decode, dispatch_prepare_verify, dispatch_verify},
    {WIRE_OP_SERVER, SESSION_READY, false, empty_decode, dispatch_prepare_large, dispatch_server},
};

_Static_assert(ARRAY_LEN(rows) == WIRE_OP_END - 1, "every operation has a row");

static const struct dispatch_row *row_of(uint16_t op)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].op == op)
			return &rows[i];
	return NULL;
}

/* ---- for the front end ----------------------------------------------------------------------- */

int dispatch_check(const struct session *session, const struct wire_header *h)
{
	const struct dispatch_row *row = row_of(h->op);
	/* an operation of a later version is answered like any other, but not before HELLO */
	enum session_state needs = row ? row->state : SESSION_READY;

	if (h->flags != 0 || h->status != 0)
		return -ERR_PROTO;
	if (session->state != needs)
		return -ERR_FRAME_STATE;
	if (session_has_request(session, h->id))
		return -ERR_FRAME_ID;
	if (row && !row->payload && h->payload_len != 0)
		return -ERR_FRAME_LEN;
	return 0;
}

/* 0, or why the request is refused. */
static int dispatch_prepare(struct request *req, const uint8_t *body)
{
	const struct dispatch_row *row = req->row;
	int err;

	if (!row)
		return -ERR_FRAME_OP;
	err = row->decode(req, body, req->header.body_len);
	if (err == 0 && row->prepare)
		err = row->prepare(req);
	return err;
}

int dispatch_begin(struct session *session, const struct wire_header *h, const uint8_t *body,
		   struct request **req)
{
	struct request *r = session_request_new(session, h);

	if (!r)
		return -ERR_NOMEM;
	r->row = row_of(h->op);
	r->err = dispatch_prepare(r, body);
	*req = r;
	return 0;
}

void dispatch_run(struct request *req)
{
	char number[16];

	if (req->err == 0) {
		req->row->run(req);
	} else if (req->slot) {
		dispatch_error_name(req, req->err, object_name(req->slot->handle));
	} else if (req->row) {
		dispatch_error(req, req->err, wire_op_name(req->header.op));
	} else {
		snprintf(number, sizeof(number), "%u", req->header.op);
		dispatch_error(req, req->err, number);
	}
}

void dispatch_fault(struct session *session, const struct wire_header *h, int err,
		    const char *about)
{
	uint8_t body[WIRE_TEXT_MAX + 16];
	struct session_reply reply = {
	    .header = {.magic = WIRE_MAGIC_REPLY,
		       .op = h->op,
		       .id = h->id,
		       .status = (uint32_t)err_class(err)},
	    .body = body,
	};

	reply.body_len = (uint32_t)dispatch_error_body(body, sizeof(body), err, about);
	session->reply(session, &reply);
}
