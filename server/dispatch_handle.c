/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_handle.c: the operations on open objects, and opening and closing them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

/* An encoded reply: no field takes more bytes than its member and the length of a string. */
#define OPEN_REPLY_BYTES_MAX (sizeof(struct msg_open_reply) + 2)

static_assert(MSG_OPEN_READONLY == OBJECT_READONLY && MSG_OPEN_DIRECT == OBJECT_DIRECT &&
		  MSG_OPEN_FIXED == OBJECT_FIXED,
	      "flags come in as they are");

int dispatch_pin(struct request *req, uint32_t number)
{
	struct session_slot *slot = session_slot_find(req->session, number);

	if (!slot)
		return -ERR_BAD_HANDLE;
	req->slot = slot;
	slot->users++;
	return 0;
}

static void open_error(struct request *req, int err)
{
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];

	if (err != -ERR_PERM) {
		dispatch_error_name(req, err, req->m.open.name);
		return;
	}
	snprintf(about, sizeof(about), "%s is a version, which is read-only",
		 session_escape(safe, sizeof(safe), req->m.open.name));
	dispatch_error(req, err, about);
}

static void open_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);
	struct session_slot *slot = req->slot;
	uint8_t body[OPEN_REPLY_BYTES_MAX];
	struct msg_open_reply msg;
	int n;

	if (err < 0) {
		req->slot = NULL;
		slot->users--;
		(void)session_slot_drop(req->session, slot); /* nothing is open on it yet */
		open_error(req, err);
		return;
	}
	slot->handle = handle;
	msg.handle = slot->number;
	dispatch_info_to_msg(&msg.info, info);
	n = msg_open_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_open(struct request *req)
{
	struct session *session = req->session;
	const struct msg_open *m = &req->m.open;
	int err = session_slot_new(session, &req->slot);

	if (err < 0) {
		dispatch_error(req, err, "open handles of one connection");
		return;
	}
	req->slot->users++;
	object_open(session->host->objs, m->name, m->flags, session->holder, open_cb, req);
}

void dispatch_close_now(struct request *req, struct session_slot *slot)
{
	char name[MSG_NAME_BYTES];

	snprintf(name, sizeof(name), "%s", object_name(slot->handle));
	dispatch_answer(req, session_slot_drop(req->session, slot), name);
}

void dispatch_close(struct request *req)
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

int dispatch_prepare_read(struct request *req)
{
	int err = dispatch_pin(req, req->m.read.handle);

	if (err == 0)
		session_promise(req, req->m.read.len);
	return err;
}

static void read_cb(void *ctx, int err, struct pagevec *pv)
{
	struct request *req = dispatch_request_of(ctx);

	if (err < 0)
		dispatch_error_name(req, err, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, NULL, 0, pv, 1);
}

void dispatch_read(struct request *req)
{
	const struct msg_read *m = &req->m.read;

	if (m->len == 0 || m->offset >= WIRE_OBJECT_SIZE_MAX)
		dispatch_finish(req, 0, NULL, 0, NULL, 0); /* past the end of any object */
	else if (m->flags & MSG_IO_DIRECT)
		object_read_direct(req->slot->handle, m->offset, m->len, read_cb, req);
	else
		object_read(req->slot->handle, m->offset, m->len, read_cb, req);
}

int dispatch_prepare_write(struct request *req)
{
	const struct msg_write *m = &req->m.write;
	uint32_t len = req->header.payload_len;
	int err = dispatch_pin(req, m->handle);

	if (err < 0)
		return err;
	if (m->offset > WIRE_OBJECT_SIZE_MAX || len > WIRE_OBJECT_SIZE_MAX - m->offset)
		return -ERR_TOO_LARGE;
	if (len == 0)
		return 0;
	err = pagevec_init(&req->whole, m->offset % BLK_BYTES, len);
	if (err < 0)
		return err;
	req->payload = &req->whole;
	req->npayload = 1;
	req->payload_bytes = len;
	return 0;
}

/* Ends a request whose only answer is success or an error about the open object. */
static void slot_cb(void *ctx, int err)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer(req, err, object_name(req->slot->handle));
}

void dispatch_write(struct request *req)
{
	const struct msg_write *m = &req->m.write;

	if (!req->payload)
		dispatch_finish(req, 0, NULL, 0, NULL, 0);
	else if (m->flags & MSG_IO_DIRECT)
		object_write_direct(req->slot->handle, m->offset, req->payload, slot_cb, req);
	else
		object_write(req->slot->handle, m->offset, req->payload, slot_cb, req);
}

int dispatch_prepare_fsync(struct request *req)
{
	return dispatch_pin(req, req->m.handle.handle);
}

void dispatch_fsync(struct request *req)
{
	object_fsync(req->slot->handle, slot_cb, req);
}

/* ---- several ranges, generations --------------------------------------------------------------- */

/* Decodes into memory beside the request. */
#define DECODER_BESIDE(name)                                                             \
	int dispatch_decode_##name(struct request *req, const uint8_t *body, size_t len) \
	{                                                                                \
		req->beside = malloc(sizeof(struct msg_##name));                         \
		if (!req->beside)                                                        \
			return -ERR_NOMEM;                                               \
		return msg_##name##_decode(body, len, req->beside);                      \
	}

DECODER_BESIDE(readv)
DECODER_BESIDE(writev)

static void ranges_of(const struct msg_range *msg, uint32_t n, struct object_range *ranges)
{
	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (struct object_range){msg[i].offset, msg[i].len};
}

/* A page of each block is held until the reply is on its way, however few of its bytes are asked
 * for. */
static uint64_t readv_bytes(const struct msg_readv *m)
{
	uint64_t nblks = 0;

	for (uint32_t i = 0; i < m->count; i++)
		nblks += blk_count(m->ranges[i].offset % BLK_BYTES + m->ranges[i].len);
	return nblks << BLK_SHIFT;
}

int dispatch_prepare_readv(struct request *req)
{
	const struct msg_readv *m = req->beside;
	int err = dispatch_pin(req, m->handle);

	if (err == 0)
		session_promise(req, sizeof(struct msg_readv_reply) + readv_bytes(m));
	return err;
}

static void readv_cb(void *ctx, int err, struct pagevec *pvs)
{
	struct request *req = dispatch_request_of(ctx);
	const struct msg_readv *m = req->beside;
	struct msg_readv_reply reply = {.count = m->count};
	uint8_t body[sizeof(reply)];
	int n;

	if (err < 0) {
		dispatch_error_name(req, err, object_name(req->slot->handle));
		return;
	}
	for (uint32_t i = 0; i < m->count; i++)
		reply.lens[i] = (uint32_t)pvs[i].len;
	n = msg_readv_reply_encode(body, sizeof(body), &reply);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, pvs, reply.count);
}

void dispatch_readv(struct request *req)
{
	const struct msg_readv *m = req->beside;
	struct object_range ranges[WIRE_RANGES_MAX];

	ranges_of(m->ranges, m->count, ranges);
	object_readv(req->slot->handle, ranges, m->count, readv_cb, req);
}

int dispatch_prepare_writev(struct request *req)
{
	const struct msg_writev *m = req->beside;
	struct object_range ranges[WIRE_RANGES_MAX];
	uint64_t npages;
	uint64_t len = 0;
	int err = dispatch_pin(req, m->handle);

	if (err < 0)
		return err;
	for (uint32_t i = 0; i < m->count; i++)
		len += m->ranges[i].len;
	if (len != req->header.payload_len)
		return -ERR_PAYLOAD;
	ranges_of(m->ranges, m->count, ranges);
	err = object_payload(ranges, m->count, &req->payload, &npages);
	if (err < 0)
		return err;
	req->npayload = m->count;
	req->payload_bytes = npages << BLK_SHIFT;
	return 0;
}

/* Ends a request that answers with a generation. */
static void generation_cb(void *ctx, int err, uint64_t generation)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_generation reply = {generation};
	uint8_t body[sizeof(reply)];
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];
	int n;

	if (err == -ERR_CHANGED) {
		session_escape(safe, sizeof(safe), object_name(req->slot->handle));
		snprintf(about, sizeof(about), "%s is at generation %" PRIu64, safe, generation);
		dispatch_error(req, err, about);
	} else if (err < 0) {
		dispatch_error_name(req, err, object_name(req->slot->handle));
	} else {
		n = msg_generation_encode(body, sizeof(body), &reply);
		assert(n > 0);
		dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
	}
}

void dispatch_writev(struct request *req)
{
	const struct msg_writev *m = req->beside;
	struct object_range ranges[WIRE_RANGES_MAX];

	ranges_of(m->ranges, m->count, ranges);
	object_writev(req->slot->handle, ranges, req->payload, m->count,
		      m->flags & MSG_IF_GENERATION ? &m->generation : NULL, generation_cb, req);
}

int dispatch_prepare_fsync_if(struct request *req)
{
	return dispatch_pin(req, req->m.fsync_if.handle);
}

void dispatch_fsync_if(struct request *req)
{
	const struct msg_fsync_if *m = &req->m.fsync_if;

	object_fsync_if(req->slot->handle, m->flags & MSG_IF_GENERATION ? &m->generation : NULL,
			generation_cb, req);
}

/* ---- sizes, holes ------------------------------------------------------------------------------ */

int dispatch_prepare_resize(struct request *req)
{
	return dispatch_pin(req, req->m.resize.handle);
}

void dispatch_resize(struct request *req)
{
	const struct msg_resize *m = &req->m.resize;

	object_resize(req->slot->handle, m->size_bytes, m->flags & MSG_RESIZE_SHRINK, slot_cb, req);
}

int dispatch_prepare_zero(struct request *req)
{
	return dispatch_pin(req, req->m.zero.handle);
}

void dispatch_zero(struct request *req)
{
	const struct msg_zero *m = &req->m.zero;

	object_zero(req->slot->handle, m->offset, m->len, m->flags & MSG_ZERO_WHOLE, slot_cb, req);
}

int dispatch_prepare_clone_range(struct request *req)
{
	return dispatch_pin(req, req->m.clone_range.dst);
}

static void clone_range_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_clone_range_reply msg = {.len = len_bytes, .left = left_bytes};
	uint8_t body[sizeof(msg)];
	int n = err;

	if (err == 0)
		n = msg_clone_range_reply_encode(body, sizeof(body), &msg);
	if (n < 0)
		dispatch_error_name(req, n, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

/* The engine keeps the source's object, so its handle may be closed meanwhile. */
void dispatch_clone_range(struct request *req)
{
	const struct msg_clone_range *m = &req->m.clone_range;
	const struct session_slot *src = session_slot_find(req->session, m->src);

	if (!src)
		dispatch_error(req, -ERR_BAD_HANDLE, NULL);
	else
		object_share(req->slot->handle, m->dst_offset, src->handle, m->src_offset, m->len,
			     clone_range_cb, req);
}

int dispatch_prepare_unshare(struct request *req)
{
	return dispatch_pin(req, req->m.unshare.handle);
}

static void unshare_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes,
		       uint64_t copied_nblks)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_unshare_reply msg = {
	    .len = len_bytes, .left = left_bytes, .copied = copied_nblks << BLK_SHIFT};
	uint8_t body[sizeof(msg)];
	int n = err;

	if (err == 0)
		n = msg_unshare_reply_encode(body, sizeof(body), &msg);
	if (n < 0)
		dispatch_error_name(req, n, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_unshare(struct request *req)
{
	const struct msg_unshare *m = &req->m.unshare;

	object_unshare(req->slot->handle, m->offset, m->len, unshare_cb, req);
}
