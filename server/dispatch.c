/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/dispatch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/name.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/object.h"

struct dispatch_row {
	uint16_t op;
	enum session_state state; /* the only one in which it is allowed */
	bool payload;		  /* the request may carry one */
	int (*decode)(struct request *req, const uint8_t *body, size_t len);
	int (*prepare)(struct request *req); /* refuses, or sets slot, payload, promise; or NULL */
	void (*run)(struct request *req);
};

/* Space for "text: about", where about is two escaped names and some words. */
#define ABOUT_BYTES 480u

static struct request *request_of(void *ctx)
{
	struct request *req = ctx;

	assert(req->magic == REQUEST_MAGIC);
	return req;
}

/* ---- replies --------------------------------------------------------------------------------- */

static uint32_t payload_crc(const struct pagevec *pv)
{
	uint32_t crc = 0;

	for (uint32_t i = 0; i < pv->npages; i++) {
		uint32_t off;
		uint32_t len;

		pagevec_span(pv, i, &off, &len);
		crc = crc32c(crc, pv->pages[i]->data + off, len);
	}
	return crc;
}

static void dispatch_close_now(struct request *req, struct session_slot *slot);

/* Ends the request with this reply, and with it a CLOSE that waited for it. */
static void dispatch_finish(struct request *req, int err, const void *body, size_t body_len,
			    struct pagevec *payload)
{
	struct session *session = req->session;
	struct session_slot *slot = req->slot;
	struct session_reply reply = {
	    .header = {.magic = WIRE_MAGIC_REPLY,
		       .op = req->header.op,
		       .id = req->header.id,
		       .status = (uint32_t)err_class(err)},
	    .body = body,
	    .body_len = (uint32_t)body_len,
	    .payload = payload,
	};

	if (payload) {
		reply.header.payload_len = (uint32_t)payload->len;
		if (session->features & WIRE_FEATURE_PAYLOAD_CRC)
			reply.header.payload_crc = payload_crc(payload);
	}
	session_request_end(req);
	session->reply(session, &reply);
	if (slot && slot->users == 0 && slot->closing)
		dispatch_close_now(slot->closing, slot);
}

/* The body of an error reply; returns its length. */
static size_t dispatch_error_body(uint8_t *buf, size_t len, int err, const char *about)
{
	struct msg_error msg;
	int n;

	if (about && about[0] != '\0')
		snprintf(msg.text, sizeof(msg.text), "%s: %s", err_text(err), about);
	else
		snprintf(msg.text, sizeof(msg.text), "%s", err_text(err));
	n = msg_error_encode(buf, len, &msg);
	assert(n > 0);
	return (size_t)n;
}

static void dispatch_error(struct request *req, int err, const char *about)
{
	uint8_t body[WIRE_TEXT_MAX + 16];
	size_t n = dispatch_error_body(body, sizeof(body), err, about);

	log_event(LOG_DEBUG, "request-refused", "op=%u id=%llu error=%s", req->header.op,
		  (unsigned long long)req->header.id, err_name(err));
	dispatch_finish(req, err, body, n, NULL);
}

/* As dispatch_error(), about an object's name. */
static void dispatch_error_name(struct request *req, int err, const char *name)
{
	char safe[ABOUT_BYTES - 64];
	char about[ABOUT_BYTES];
	const char *problem = err == -ERR_BAD_NAME ? name_problem(name) : NULL;

	session_escape(safe, sizeof(safe), name);
	snprintf(about, sizeof(about), "%s%s%s", safe, problem ? " " : "", problem ? problem : "");
	dispatch_error(req, err, about);
}

/* Ends a request that answers nothing but success or an error about its object. */
static void dispatch_answer(struct request *req, int err, const char *name)
{
	if (err < 0)
		dispatch_error_name(req, err, name);
	else
		dispatch_finish(req, 0, NULL, 0, NULL);
}

static void info_to_msg(struct msg_info *msg, const struct map_obj *obj)
{
	*msg = (struct msg_info){
	    .id = obj->id,
	    .size_bytes = obj->size_bytes,
	    .mapped_bytes = obj->mapped_nblks << BLK_SHIFT,
	    .generation = obj->generation,
	    .ctime_ns = obj->ctime_ns,
	    .mtime_ns = obj->mtime_ns,
	    .origin = obj->origin,
	};
	snprintf(msg->name, sizeof(msg->name), "%s", obj->name);
}

static void dispatch_answer_info(struct request *req, const struct map_obj *obj)
{
	uint8_t body[sizeof(struct msg_info)];
	struct msg_info msg;
	int n;

	info_to_msg(&msg, obj);
	n = msg_info_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL);
}

/* ---- handshake, ping ------------------------------------------------------------------------- */

static void hello_run(struct request *req)
{
	const struct session_host *host = req->session->host;
	const struct msg_hello *hello = &req->m.hello;
	uint8_t body[sizeof(struct msg_hello_reply)];
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
	dispatch_finish(req, 0, body, (size_t)n, NULL);
}

static void ping_run(struct request *req)
{
	dispatch_finish(req, 0, NULL, 0, NULL);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void create_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = request_of(ctx);

	(void)info;
	dispatch_answer(req, err, req->m.create.name);
}

static void create_run(struct request *req)
{
	const struct msg_create *m = &req->m.create;

	object_create(req->session->host->objs, m->name, m->size_bytes, create_cb, req);
}

static void clone_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = request_of(ctx);
	const struct msg_clone *m = &req->m.clone;
	bool about_dst = err == -ERR_EXIST || (err == -ERR_BAD_NAME && name_problem(m->dst));

	if (err < 0)
		dispatch_error_name(req, err, about_dst ? m->dst : m->src);
	else
		dispatch_answer_info(req, info);
}

static void clone_run(struct request *req)
{
	const struct msg_clone *m = &req->m.clone;

	object_clone(req->session->host->objs, m->src, m->dst, clone_cb, req);
}

static void remove_cb(void *ctx, int err)
{
	struct request *req = request_of(ctx);
	const char *name = req->m.name.name;
	const char *holder = NULL;
	char about[ABOUT_BYTES];
	char safe[NAME_MAX_BYTES + 1];

	if (err < 0 && err_class(err) == ERR_BUSY)
		holder = object_holder(req->session->host->objs, name);
	if (!holder) {
		dispatch_answer(req, err, name);
		return;
	}
	snprintf(about, sizeof(about), "%s is held open by %s",
		 session_escape(safe, sizeof(safe), name), holder);
	dispatch_error(req, err, about);
}

static void remove_run(struct request *req)
{
	object_remove(req->session->host->objs, req->m.name.name, remove_cb, req);
}

static void info_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = request_of(ctx);

	if (err < 0)
		dispatch_error_name(req, err, req->m.name.name);
	else
		dispatch_answer_info(req, info);
}

static void info_run(struct request *req)
{
	object_info(req->session->host->objs, req->m.name.name, info_cb, req);
}

static void list_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct request *req = request_of(ctx);
	uint8_t *body = err < 0 ? NULL : malloc(WIRE_BODY_MAX);
	size_t used = MSG_LIST_HEAD_BYTES;
	uint32_t i;

	if (!body) {
		dispatch_error_name(req, err < 0 ? err : -ERR_NOMEM, req->m.list.prefix);
		return;
	}
	for (i = 0; i < n; i++) {
		struct msg_info msg;

		info_to_msg(&msg, &objs[i]);
		if (msg_list_add(body, WIRE_BODY_MAX, &used, &msg) < 0)
			break;
	}
	msg_list_finish(body, i, more || i < n);
	dispatch_finish(req, 0, body, used, NULL);
	free(body);
}

static int list_prepare(struct request *req)
{
	session_promise(req, WIRE_BODY_MAX);
	return 0;
}

static void list_run(struct request *req)
{
	const struct msg_list *m = &req->m.list;
	uint32_t max = m->max == 0 || m->max > MSG_LIST_MAX ? MSG_LIST_MAX : m->max;

	object_list(req->session->host->objs, m->prefix, m->after, max, list_cb, req);
}

static void statfs_cb(void *ctx, int err, const struct object_space *space)
{
	struct request *req = request_of(ctx);
	uint8_t body[sizeof(struct msg_statfs_reply)];
	struct msg_statfs_reply msg;
	int n;

	if (err < 0) {
		dispatch_error(req, err, NULL);
		return;
	}
	msg = (struct msg_statfs_reply){
	    .block_bytes = BLK_BYTES,
	    .total_bytes = space->total_nblks << BLK_SHIFT,
	    .free_bytes = space->free_nblks << BLK_SHIFT,
	    .reserved_bytes = space->reserved_nblks << BLK_SHIFT,
	    .mapped_bytes = space->map.mapped_nblks << BLK_SHIFT,
	    .meta_total_bytes = space->map.meta_total_bytes,
	    .meta_used_bytes = space->map.meta_used_bytes,
	    .objects = space->map.objects,
	};
	n = msg_statfs_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL);
}

static void statfs_run(struct request *req)
{
	object_statfs(req->session->host->objs, statfs_cb, req);
}

/* ---- handles --------------------------------------------------------------------------------- */

static int slot_pin(struct request *req, uint32_t number)
{
	struct session_slot *slot = session_slot_find(req->session, number);

	if (!slot)
		return -ERR_BAD_HANDLE;
	req->slot = slot;
	slot->users++;
	return 0;
}

static void open_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct request *req = request_of(ctx);
	struct session_slot *slot = req->slot;
	uint8_t body[sizeof(struct msg_open_reply)];
	struct msg_open_reply msg;
	int n;

	if (err < 0) {
		req->slot = NULL;
		slot->users--;
		(void)session_slot_drop(req->session, slot); /* nothing is open on it yet */
		dispatch_error_name(req, err, req->m.open.name);
		return;
	}
	slot->handle = handle;
	msg.handle = slot->number;
	info_to_msg(&msg.info, info);
	n = msg_open_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL);
}

static void open_run(struct request *req)
{
	struct session *session = req->session;
	const struct msg_open *m = &req->m.open;
	int err = session_slot_new(session, m->name, &req->slot);

	if (err < 0) {
		dispatch_error(req, err, "open handles of one connection");
		return;
	}
	req->slot->users++;
	object_open(session->host->objs, m->name, m->flags & MSG_OPEN_READONLY, session->holder,
		    open_cb, req);
}

static void dispatch_close_now(struct request *req, struct session_slot *slot)
{
	char name[MSG_NAME_BYTES];

	memcpy(name, slot->name, sizeof(name));
	dispatch_answer(req, session_slot_drop(req->session, slot), name);
}

static void close_run(struct request *req)
{
	struct session_slot *slot = session_slot_find(req->session, req->m.handle.handle);

	if (!slot) {
		dispatch_error(req, -ERR_BAD_HANDLE, NULL);
		return;
	}
	slot->closing = req;
	if (slot->users == 0)
		dispatch_close_now(req, slot);
}

static int read_prepare(struct request *req)
{
	int err = slot_pin(req, req->m.read.handle);

	if (err == 0)
		session_promise(req, req->m.read.len);
	return err;
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	struct request *req = request_of(ctx);

	if (err < 0)
		dispatch_error_name(req, err, req->slot->name);
	else
		dispatch_finish(req, 0, NULL, 0, pv);
}

static void read_run(struct request *req)
{
	const struct msg_read *m = &req->m.read;

	if (m->len == 0 || m->offset >= WIRE_OBJECT_SIZE_MAX)
		dispatch_finish(req, 0, NULL, 0, NULL); /* past the end of any object */
	else
		object_read(req->slot->handle, m->offset, m->len, read_cb, req);
}

static int write_prepare(struct request *req)
{
	const struct msg_write *m = &req->m.write;
	uint32_t len = req->header.payload_len;
	int err = slot_pin(req, m->handle);

	if (err < 0)
		return err;
	if (m->offset > WIRE_OBJECT_SIZE_MAX || len > WIRE_OBJECT_SIZE_MAX - m->offset)
		return -ERR_TOO_LARGE;
	return pagevec_init(&req->payload, m->offset % BLK_BYTES, len);
}

/* Ends a request whose only answer is success or an error about the open object. */
static void slot_cb(void *ctx, int err)
{
	struct request *req = request_of(ctx);

	dispatch_answer(req, err, req->slot->name);
}

static void write_run(struct request *req)
{
	if (req->payload.len == 0)
		dispatch_finish(req, 0, NULL, 0, NULL);
	else
		object_write(req->slot->handle, req->m.write.offset, &req->payload, slot_cb, req);
}

static int fsync_prepare(struct request *req)
{
	return slot_pin(req, req->m.handle.handle);
}

static void fsync_run(struct request *req)
{
	object_fsync(req->slot->handle, slot_cb, req);
}

static int resize_prepare(struct request *req)
{
	return slot_pin(req, req->m.resize.handle);
}

static void resize_run(struct request *req)
{
	const struct msg_resize *m = &req->m.resize;

	object_resize(req->slot->handle, m->size_bytes, m->flags & MSG_RESIZE_SHRINK, slot_cb, req);
}

static int extents_prepare(struct request *req)
{
	int err = slot_pin(req, req->m.extents.handle);

	if (err == 0)
		session_promise(req, WIRE_BODY_MAX);
	return err;
}

static void extents_cb(void *ctx, int err, const struct object_run *runs, uint32_t n)
{
	struct request *req = request_of(ctx);
	size_t body_bytes = sizeof(uint32_t) + (size_t)n * MSG_EXTENT_BYTES;
	struct msg_extent *ext = calloc((size_t)n + 1, sizeof(*ext));
	uint8_t *body = malloc(body_bytes);
	int len = err;

	if (err == 0 && (!ext || !body))
		len = -ERR_NOMEM;
	for (uint32_t i = 0; len == 0 && i < n; i++) {
		ext[i].len = runs[i].len_bytes;
		ext[i].kind = runs[i].data ? MSG_EXTENT_DATA : MSG_EXTENT_HOLE;
	}
	if (len == 0)
		len = msg_extents_reply_encode(body, body_bytes, ext, n);
	if (len < 0)
		dispatch_error_name(req, len, req->slot->name);
	else
		dispatch_finish(req, 0, body, (size_t)len, NULL);
	free(ext);
	free(body);
}

static void extents_run(struct request *req)
{
	const struct msg_extents *m = &req->m.extents;
	uint32_t max = m->max == 0 || m->max > MSG_EXTENTS_MAX ? MSG_EXTENTS_MAX : m->max;
	uint64_t room;

	if (m->len == 0 || m->offset >= WIRE_OBJECT_SIZE_MAX) {
		extents_cb(req, 0, NULL, 0);
		return;
	}
	room = WIRE_OBJECT_SIZE_MAX - m->offset;
	object_extents(req->slot->handle, m->offset, m->len < room ? m->len : room, max, extents_cb,
		       req);
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
DECODER(name)
DECODER(list)
DECODER(clone)
DECODER(read)
DECODER(write)
DECODER(resize)
DECODER(extents)

static int empty_decode(struct request *req, const uint8_t *body, size_t len)
{
	(void)req;
	(void)body;
	return len == 0 ? 0 : -ERR_FRAME_BODY;
}

static const struct dispatch_row rows[] = {
    {WIRE_OP_HELLO, SESSION_NEW, false, hello_decode, NULL, hello_run},
    {WIRE_OP_PING, SESSION_READY, false, empty_decode, NULL, ping_run},
    {WIRE_OP_CREATE, SESSION_READY, false, create_decode, NULL, create_run},
    {WIRE_OP_OPEN, SESSION_READY, false, open_decode, NULL, open_run},
    {WIRE_OP_CLOSE, SESSION_READY, false, handle_decode, NULL, close_run},
    {WIRE_OP_INFO, SESSION_READY, false, name_decode, NULL, info_run},
    {WIRE_OP_LIST, SESSION_READY, false, list_decode, list_prepare, list_run},
    {WIRE_OP_CLONE, SESSION_READY, false, clone_decode, NULL, clone_run},
    {WIRE_OP_READ, SESSION_READY, false, read_decode, read_prepare, read_run},
    {WIRE_OP_WRITE, SESSION_READY, true, write_decode, write_prepare, write_run},
    {WIRE_OP_FSYNC, SESSION_READY, false, handle_decode, fsync_prepare, fsync_run},
    {WIRE_OP_RESIZE, SESSION_READY, false, resize_decode, resize_prepare, resize_run},
    {WIRE_OP_REMOVE, SESSION_READY, false, name_decode, NULL, remove_run},
    {WIRE_OP_EXTENTS, SESSION_READY, false, extents_decode, extents_prepare, extents_run},
    {WIRE_OP_STATFS, SESSION_READY, false, empty_decode, NULL, statfs_run},
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

	if (!row)
		return -ERR_FRAME_OP;
	if (row->decode(req, body, req->header.body_len) < 0)
		return -ERR_FRAME_BODY;
	return row->prepare ? row->prepare(req) : 0;
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
		dispatch_error_name(req, req->err, req->slot->name);
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
