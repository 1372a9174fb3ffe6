/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls on open objects, but for reading and writing (transfer.c).
 */
#include "client/cow.h"

#include <stdlib.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_OPEN_READONLY == COW_OPEN_READONLY, "flags go out as they are");
_Static_assert(MSG_RESIZE_SHRINK == COW_RESIZE_SHRINK, "flags go out as they are");
_Static_assert((int)MSG_EXTENT_HOLE == COW_EXTENT_HOLE, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_DATA == COW_EXTENT_DATA, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_ZERO == COW_EXTENT_ZERO, "kinds come in as they are");
_Static_assert(MSG_EXTENT_SHARED == COW_EXTENT_SHARED, "flags come in as they are");
_Static_assert(MSG_EXTENT_DIRTY == COW_EXTENT_DIRTY, "flags come in as they are");

static void object_call_init(struct call *call, enum wire_op op, const struct cow_object *obj)
{
	call_init(call, op);
	call->session = obj->session;
}

static int object_decode_open(void *ctx, const uint8_t *body, size_t len)
{
	return msg_open_reply_decode(body, len, ctx);
}

static uint64_t object_session(struct cow *cow)
{
	uint64_t session;

	(void)pthread_mutex_lock(&cow->lock);
	session = cow->session;
	(void)pthread_mutex_unlock(&cow->lock);
	return session;
}

/* The handle in the reply is of this session: the call fails if another one began. */
static int object_open(cow_t *cow, const struct msg_open *m, struct cow_object *obj)
{
	struct msg_open_reply reply;
	struct call call;
	int err;

	obj->cow = cow;
	obj->session = object_session(cow);
	object_call_init(&call, WIRE_OP_OPEN, obj);
	call.decode = object_decode_open;
	call.ctx = &reply;
	err = call_run(cow, &call, msg_open_encode(call_body(&call), CHAN_BODY_MAX, m));
	if (err < 0)
		return err;
	obj->handle = reply.handle;
	obj->size = reply.info.size_bytes;
	return 0;
}

int cow_open(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj)
{
	struct msg_open m = {.flags = flags};
	struct cow_object *made;
	int err = names_copy_spec(cow, spec, m.name);

	if (err < 0)
		return err;
	if (flags & ~COW_OPEN_READONLY)
		return errors_set(cow, -ERR_INVAL, "unknown flags");
	made = calloc(1, sizeof(*made));
	if (!made)
		return errors_set(cow, -ERR_NOMEM, "");
	err = object_open(cow, &m, made);
	if (err < 0) {
		free(made);
		return err;
	}
	*obj = made;
	return 0;
}

/* An operation whose request is the handle alone and whose reply is empty. */
static int object_run_plain(cow_object_t *obj, enum wire_op op)
{
	struct msg_handle m = {.handle = obj->handle};
	struct call call;

	object_call_init(&call, op, obj);
	return call_run(obj->cow, &call, msg_handle_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_close(cow_object_t *obj)
{
	int err;

	if (!obj)
		return 0;
	err = object_run_plain(obj, WIRE_OP_CLOSE);
	free(obj);
	return err;
}

int cow_fsync(cow_object_t *obj)
{
	return object_run_plain(obj, WIRE_OP_FSYNC);
}

uint64_t cow_object_size(const cow_object_t *obj)
{
	uint64_t size;

	(void)pthread_mutex_lock(&obj->cow->lock);
	size = obj->size;
	(void)pthread_mutex_unlock(&obj->cow->lock);
	return size;
}

int cow_resize(cow_object_t *obj, uint64_t size, unsigned int flags)
{
	struct msg_resize m = {.handle = obj->handle, .flags = flags, .size_bytes = size};
	struct call call;
	int err;

	if (flags & ~COW_RESIZE_SHRINK)
		return errors_set(obj->cow, -ERR_INVAL, "unknown flags");
	object_call_init(&call, WIRE_OP_RESIZE, obj);
	err = call_run(obj->cow, &call, msg_resize_encode(call_body(&call), CHAN_BODY_MAX, &m));
	if (err < 0)
		return err;
	(void)pthread_mutex_lock(&obj->cow->lock);
	obj->size = size;
	(void)pthread_mutex_unlock(&obj->cow->lock);
	return 0;
}

static int object_zero(cow_object_t *obj, uint32_t flags, uint64_t offset, uint64_t len)
{
	struct msg_zero m = {.handle = obj->handle, .flags = flags, .offset = offset, .len = len};
	struct call call;

	object_call_init(&call, WIRE_OP_ZERO, obj);
	return call_run(obj->cow, &call, msg_zero_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_zero(cow_object_t *obj, uint64_t offset, uint64_t len)
{
	return object_zero(obj, 0, offset, len);
}

int cow_trim(cow_object_t *obj, uint64_t offset, uint64_t len)
{
	return object_zero(obj, MSG_ZERO_WHOLE, offset, len);
}

/* ---- range clones ---------------------------------------------------------------------------- */

static int object_decode_clone_range(void *ctx, const uint8_t *body, size_t len)
{
	return msg_clone_range_reply_decode(body, len, ctx);
}

int cow_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
		    uint64_t dst_offset)
{
	struct msg_clone_range m = {.src = src->handle,
				    .dst = dst->handle,
				    .src_offset = src_offset,
				    .dst_offset = dst_offset,
				    .len = len};
	struct msg_clone_range_reply reply = {.left = 1};
	struct call call;
	int err = 0;

	if (src->cow != dst->cow || src->session != dst->session)
		return errors_set(dst->cow, -ERR_INVAL, "the objects are not of one connection");
	while (err == 0 && reply.left > 0) {
		object_call_init(&call, WIRE_OP_CLONE_RANGE, dst);
		call.decode = object_decode_clone_range;
		call.ctx = &reply;
		err = call_run(dst->cow, &call,
			       msg_clone_range_encode(call_body(&call), CHAN_BODY_MAX, &m));
		if (err == 0 && reply.len == 0 && reply.left > 0)
			err = errors_set(dst->cow, -ERR_PROTO, "the server cloned nothing");
		m.src_offset += reply.len;
		m.dst_offset += reply.len;
		m.len = reply.left;
	}
	return err;
}

/* ---- extents --------------------------------------------------------------------------------- */

struct object_extents {
	struct msg_extent *ext;
	uint32_t max;
	uint32_t count;
};

static int object_decode_extents(void *ctx, const uint8_t *body, size_t len)
{
	struct object_extents *got = ctx;

	return msg_extents_reply_decode(body, len, got->ext, got->max, &got->count);
}

/* Whether they lie one after the other in the range that was asked for. */
static bool object_extents_fit(const struct object_extents *got, uint64_t len)
{
	for (uint32_t i = 0; i < got->count; i++) {
		if (got->ext[i].len == 0 || got->ext[i].len > len)
			return false;
		len -= got->ext[i].len;
	}
	return true;
}

static int object_get_extents(cow_object_t *obj, const struct msg_extents *m,
			      struct object_extents *got)
{
	struct call call;
	int err;

	object_call_init(&call, WIRE_OP_EXTENTS, obj);
	call.decode = object_decode_extents;
	call.ctx = got;
	err = call_run(obj->cow, &call, msg_extents_encode(call_body(&call), CHAN_BODY_MAX, m));
	if (err == 0 && !object_extents_fit(got, m->len))
		return errors_set(obj->cow, -ERR_PROTO, "the server sent extents out of range");
	return err;
}

static ssize_t object_extents(cow_object_t *obj, uint32_t flags, uint64_t offset, uint64_t len,
			      struct cow_extent *ext, size_t max)
{
	struct object_extents got = {.max =
					 max < MSG_EXTENTS_MAX ? (uint32_t)max : MSG_EXTENTS_MAX};
	struct msg_extents m = {
	    .handle = obj->handle, .flags = flags, .offset = offset, .max = got.max};
	int err;

	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any extent");
	m.len = len < UINT64_MAX - offset ? len : UINT64_MAX - offset;
	got.ext = calloc(got.max, sizeof(*got.ext));
	if (!got.ext)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	err = object_get_extents(obj, &m, &got);
	for (uint32_t i = 0; err == 0 && i < got.count; i++) {
		ext[i] = (struct cow_extent){.offset = offset,
					     .len = got.ext[i].len,
					     .physical = got.ext[i].physical,
					     .kind = got.ext[i].kind,
					     .flags = got.ext[i].flags};
		offset += got.ext[i].len;
	}
	free(got.ext);
	return err < 0 ? err : (ssize_t)got.count;
}

ssize_t cow_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max)
{
	return object_extents(obj, 0, offset, len, ext, max);
}

ssize_t cow_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max)
{
	return object_extents(obj, MSG_EXTENTS_DETAILS, offset, len, ext, max);
}

/* ---- seeking --------------------------------------------------------------------------------- */

#define SEEK_EXTENTS 64u

/* The first byte of this kind; *end: where the object ends, as far as it was looked at. */
static int64_t object_seek(cow_object_t *obj, uint64_t offset, int kind, uint64_t *end)
{
	struct cow_extent ext[SEEK_EXTENTS];
	ssize_t n;

	for (*end = offset;; *end = ext[n - 1].offset + ext[n - 1].len) {
		n = cow_get_extents(obj, *end, UINT64_MAX, ext, SEEK_EXTENTS);
		if (n < 0)
			return n;
		if (n == 0)
			return errors_set(obj->cow, -ERR_NOENT,
					  *end == offset ? "behind the end of the object"
							 : "no more data in the object");
		for (ssize_t i = 0; i < n; i++)
			if (ext[i].kind == kind)
				return (int64_t)ext[i].offset;
	}
}

int64_t cow_seek_data(cow_object_t *obj, uint64_t offset)
{
	uint64_t end;

	return object_seek(obj, offset, COW_EXTENT_DATA, &end);
}

int64_t cow_seek_hole(cow_object_t *obj, uint64_t offset)
{
	uint64_t end;
	int64_t at = object_seek(obj, offset, COW_EXTENT_HOLE, &end);

	return at == -COW_ENOENT && end > offset ? (int64_t)end : at;
}
