/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls on open objects, but for reading and writing (transfer.c).
 */
#include "client/cow.h"

#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/flight.h"
#include "client/link.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_OPEN_READONLY == COW_OPEN_READONLY, "flags go out as they are");
_Static_assert(MSG_OPEN_DIRECT == COW_OPEN_DIRECT, "flags go out as they are");
_Static_assert(MSG_RESIZE_SHRINK == COW_RESIZE_SHRINK, "flags go out as they are");
_Static_assert((int)MSG_EXTENT_HOLE == COW_EXTENT_HOLE, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_DATA == COW_EXTENT_DATA, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_ZERO == COW_EXTENT_ZERO, "kinds come in as they are");
_Static_assert(MSG_EXTENT_SHARED == COW_EXTENT_SHARED, "flags come in as they are");
_Static_assert(MSG_EXTENT_DIRTY == COW_EXTENT_DIRTY, "flags come in as they are");
_Static_assert((int)MSG_DIFF_SAME == COW_EXTENT_SAME, "kinds come in as they are");

static void object_call_init(struct call *call, enum wire_op op, cow_object_t *obj)
{
	call_init(call, op);
	call_bind(call, obj, 0);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* The object is known to its connection from the reply on, which may be the last thing it brings. */
static int object_decode_open(void *ctx, const uint8_t *body, size_t len)
{
	struct msg_open_reply reply;
	int err = msg_open_reply_decode(body, len, &reply);

	if (err == 0)
		flight_object_opened(ctx, &reply);
	return err;
}

/* What is to be opened, not yet known to anybody. */
static int object_make(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj)
{
	struct cow_object *made;
	char copy[MSG_NAME_BYTES];
	int err = names_copy_spec(cow, spec, copy);

	if (err < 0)
		return err;
	if (flags & ~(COW_OPEN_READONLY | COW_OPEN_DIRECT))
		return errors_set(cow, -ERR_INVAL, "unknown flags");
	made = calloc(1, sizeof(*made));
	if (!made)
		return errors_set(cow, -ERR_NOMEM, "");
	made->cow = cow;
	made->flags = flags;
	made->refs = 1;
	memcpy(made->spec, copy, sizeof(copy));
	*obj = made;
	return 0;
}

static int object_encode_open(const struct cow_object *obj, uint8_t *body)
{
	struct msg_open m = {.flags = obj->flags};

	memcpy(m.name, obj->spec, sizeof(m.name));
	return msg_open_encode(body, CHAN_BODY_MAX, &m);
}

int cow_open(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj)
{
	struct cow_object *made;
	struct call call;
	int err = object_make(cow, spec, flags, &made);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_OPEN);
	call.decode = object_decode_open;
	call.ctx = made;
	err = call_run(cow, &call, object_encode_open(made, call_body(&call)));
	if (err < 0) {
		free(made);
		return err;
	}
	*obj = made;
	return 0;
}

/* It ends with its call, whatever that comes to; the application has given it up. */
static void object_end(struct cow *cow, struct cow_object *obj)
{
	(void)pthread_mutex_lock(&cow->lock);
	flight_object_closed(obj);
	link_settle(cow);
	(void)pthread_mutex_unlock(&cow->lock);
}

/* An operation whose request is the handle alone and whose reply is empty. */
static int object_run_plain(cow_object_t *obj, enum wire_op op)
{
	struct msg_handle m = {.handle = 0};
	struct call call;

	object_call_init(&call, op, obj);
	return call_run(obj->cow, &call, msg_handle_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_close(cow_object_t *obj)
{
	cow_t *cow;
	int err;

	if (!obj)
		return 0;
	cow = obj->cow;
	err = object_run_plain(obj, WIRE_OP_CLOSE);
	object_end(cow, obj);
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

static void object_set_size(cow_object_t *obj, uint64_t size)
{
	(void)pthread_mutex_lock(&obj->cow->lock);
	obj->size = size;
	(void)pthread_mutex_unlock(&obj->cow->lock);
}

int cow_resize(cow_object_t *obj, uint64_t size, unsigned int flags)
{
	struct msg_resize m = {.flags = flags, .size_bytes = size};
	struct call call;
	int err;

	if (flags & ~COW_RESIZE_SHRINK)
		return errors_set(obj->cow, -ERR_INVAL, "unknown flags");
	object_call_init(&call, WIRE_OP_RESIZE, obj);
	err = call_run(obj->cow, &call, msg_resize_encode(call_body(&call), CHAN_BODY_MAX, &m));
	if (err == 0)
		object_set_size(obj, size);
	return err;
}

static int object_zero(cow_object_t *obj, uint32_t flags, uint64_t offset, uint64_t len)
{
	struct msg_zero m = {.flags = flags, .offset = offset, .len = len};
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

static bool object_clone_range_fits(const cow_object_t *src, const cow_object_t *dst)
{
	return src->cow == dst->cow;
}

/* The first is the one that is changed. */
static void object_bind_clone_range(struct call *call, cow_object_t *src, cow_object_t *dst)
{
	call->nbound = 0;
	call_bind(call, dst, 4);
	call_bind(call, src, 0);
}

/* Goes on behind what one request made. */
static int object_clone_range_on(struct msg_clone_range *m,
				 const struct msg_clone_range_reply *reply)
{
	if (reply->len == 0 && reply->left > 0)
		return -ERR_PROTO;
	m->src_offset += reply->len;
	m->dst_offset += reply->len;
	m->len = reply->left;
	return reply->left > 0;
}

int cow_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
		    uint64_t dst_offset)
{
	struct msg_clone_range m = {.src_offset = src_offset, .dst_offset = dst_offset, .len = len};
	struct msg_clone_range_reply reply;
	struct call call;
	int more = 1;
	int err;

	if (!object_clone_range_fits(src, dst))
		return errors_set(dst->cow, -ERR_INVAL, "the objects are not of one connection");
	while (more > 0) {
		call_init(&call, WIRE_OP_CLONE_RANGE);
		object_bind_clone_range(&call, src, dst);
		call.decode = object_decode_clone_range;
		call.ctx = &reply;
		err = call_run(dst->cow, &call,
			       msg_clone_range_encode(call_body(&call), CHAN_BODY_MAX, &m));
		if (err < 0)
			return err;
		more = object_clone_range_on(&m, &reply);
	}
	return more < 0 ? errors_set(dst->cow, more, "the server cloned nothing") : 0;
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

static void object_fill_extents(const struct object_extents *got, uint64_t offset,
				struct cow_extent *ext)
{
	for (uint32_t i = 0; i < got->count; i++) {
		ext[i] = (struct cow_extent){.offset = offset,
					     .len = got->ext[i].len,
					     .physical = got->ext[i].physical,
					     .kind = got->ext[i].kind,
					     .flags = got->ext[i].flags};
		offset += got->ext[i].len;
	}
}

/* Finishes the request, which has a range, and makes room for its reply, to be freed. */
static int object_prepare_extents(cow_object_t *obj, size_t max, struct msg_extents *m,
				  struct object_extents *got)
{
	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any extent");
	got->max = max < MSG_EXTENTS_MAX ? (uint32_t)max : MSG_EXTENTS_MAX;
	got->ext = calloc(got->max, sizeof(*got->ext));
	if (!got->ext)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	m->max = got->max;
	if (m->len > UINT64_MAX - m->offset)
		m->len = UINT64_MAX - m->offset;
	return 0;
}

static ssize_t object_extents(cow_object_t *obj, uint32_t flags, uint64_t offset, uint64_t len,
			      struct cow_extent *ext, size_t max)
{
	struct object_extents got = {0};
	struct msg_extents m = {.flags = flags, .offset = offset, .len = len};
	int err = object_prepare_extents(obj, max, &m, &got);

	if (err < 0)
		return err;
	err = object_get_extents(obj, &m, &got);
	if (err == 0)
		object_fill_extents(&got, offset, ext);
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

/* ---- differences ----------------------------------------------------------------------------- */

struct object_diff {
	struct msg_diff_reply head;
	struct msg_diff_run *runs;
	uint32_t max;
};

static int object_decode_diff(void *ctx, const uint8_t *body, size_t len)
{
	struct object_diff *got = ctx;

	return msg_diff_reply_decode(body, len, &got->head, got->runs, got->max);
}

/* Whether they lie one after the other in the range that was asked for. */
static bool object_diff_fits(const struct object_diff *got, uint64_t len)
{
	for (uint32_t i = 0; i < got->head.count; i++) {
		if (got->runs[i].len == 0 || got->runs[i].len > len)
			return false;
		len -= got->runs[i].len;
	}
	return true;
}

static int object_get_diff(cow_object_t *obj, const struct msg_diff *m, struct object_diff *got)
{
	struct call call;
	int err;

	object_call_init(&call, WIRE_OP_DIFF, obj);
	call.decode = object_decode_diff;
	call.ctx = got;
	err = call_run(obj->cow, &call, msg_diff_encode(call_body(&call), CHAN_BODY_MAX, m));
	if (err == 0 && !object_diff_fits(got, m->len))
		return errors_set(obj->cow, -ERR_PROTO, "the server sent extents out of range");
	return err;
}

ssize_t cow_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff)
{
	struct object_diff got = {.max = max < MSG_DIFF_MAX ? (uint32_t)max : MSG_DIFF_MAX};
	struct msg_diff m = {.older = older, .offset = offset, .len = len, .max = got.max};
	int err;

	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any extent");
	if (m.len > UINT64_MAX - offset)
		m.len = UINT64_MAX - offset;
	got.runs = calloc(got.max, sizeof(*got.runs));
	if (!got.runs)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	err = object_get_diff(obj, &m, &got);
	for (uint32_t i = 0; err == 0 && i < got.head.count; i++) {
		ext[i] = (struct cow_extent){
		    .offset = offset, .len = got.runs[i].len, .kind = (int)got.runs[i].kind};
		offset += got.runs[i].len;
	}
	if (err == 0 && diff)
		*diff =
		    (struct cow_diff){got.head.size_bytes, got.head.older_bytes, got.head.nodes};
	free(got.runs);
	return err < 0 ? err : (ssize_t)got.head.count;
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

/* ---- asynchronous twins ---------------------------------------------------------------------- */

static int64_t object_finish_open(struct aio *aio)
{
	*(cow_object_t **)aio->out = aio->parts[0].ctx;
	return 0;
}

/* It may have been opened and nobody wants it any more. */
static void object_drop_open(struct aio *aio)
{
	object_end(aio->cow, aio->parts[0].ctx);
}

int cow_aio_open(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj,
		 const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_OPEN,
					     .decode = object_decode_open,
					     .finish = object_finish_open,
					     .drop = object_drop_open};
	struct cow_object *made;
	struct aio *aio;
	int err = object_make(cow, spec, flags, &made);

	if (err < 0)
		return err;
	err = aio_new(cow, NULL, &kind, how, &aio);
	if (err < 0) {
		free(made);
		return err;
	}
	aio->parts[0].ctx = made;
	aio->out = obj;
	return aio_submit(aio, object_encode_open(made, aio_body(aio)), id);
}

static int object_submit_plain(cow_object_t *obj, const struct aio_kind *kind,
			       const struct cow_aio *how, uint64_t *id)
{
	struct msg_handle m = {.handle = 0};
	struct aio *aio;
	int err = aio_new(obj->cow, obj, kind, how, &aio);

	return err < 0 ? err
		       : aio_submit(aio, msg_handle_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

static int64_t object_finish_close(struct aio *aio)
{
	object_end(aio->cow, aio->obj);
	return 0;
}

static void object_drop_close(struct aio *aio)
{
	object_end(aio->cow, aio->obj);
}

int cow_aio_close(cow_object_t *obj, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {
	    .op = WIRE_OP_CLOSE, .finish = object_finish_close, .drop = object_drop_close};

	return object_submit_plain(obj, &kind, how, id);
}

int cow_aio_fsync(cow_object_t *obj, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_FSYNC};

	return object_submit_plain(obj, &kind, how, id);
}

static int64_t object_finish_resize(struct aio *aio)
{
	const uint64_t *size = aio->state;

	object_set_size(aio->obj, *size);
	return 0;
}

int cow_aio_resize(cow_object_t *obj, uint64_t size, unsigned int flags, const struct cow_aio *how,
		   uint64_t *id)
{
	static const struct aio_kind kind = {
	    .op = WIRE_OP_RESIZE, .state_bytes = sizeof(uint64_t), .finish = object_finish_resize};
	struct msg_resize m = {.flags = flags, .size_bytes = size};
	struct aio *aio;
	int err;

	if (flags & ~COW_RESIZE_SHRINK)
		return errors_set(obj->cow, -ERR_INVAL, "unknown flags");
	err = aio_new(obj->cow, obj, &kind, how, &aio);
	if (err < 0)
		return err;
	*(uint64_t *)aio->state = size;
	return aio_submit(aio, msg_resize_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

static int object_submit_zero(cow_object_t *obj, const struct msg_zero *m,
			      const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_ZERO};
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	return err < 0 ? err
		       : aio_submit(aio, msg_zero_encode(aio_body(aio), CHAN_BODY_MAX, m), id);
}

int cow_aio_zero(cow_object_t *obj, uint64_t offset, uint64_t len, const struct cow_aio *how,
		 uint64_t *id)
{
	struct msg_zero m = {.offset = offset, .len = len};

	return object_submit_zero(obj, &m, how, id);
}

int cow_aio_trim(cow_object_t *obj, uint64_t offset, uint64_t len, const struct cow_aio *how,
		 uint64_t *id)
{
	struct msg_zero m = {.flags = MSG_ZERO_WHOLE, .offset = offset, .len = len};

	return object_submit_zero(obj, &m, how, id);
}

struct object_extents_aio {
	struct object_extents got; /* first: the decoder's ctx */
	struct msg_extents m;
};

static void object_drop_extents(struct aio *aio)
{
	struct object_extents_aio *st = aio->state;

	free(st->got.ext);
}

static int64_t object_finish_extents(struct aio *aio)
{
	struct object_extents_aio *st = aio->state;
	int64_t result = st->got.count;

	if (object_extents_fit(&st->got, st->m.len))
		object_fill_extents(&st->got, st->m.offset, aio->out);
	else
		result = -ERR_PROTO;
	object_drop_extents(aio);
	return result;
}

static int object_submit_extents(cow_object_t *obj, const struct msg_extents *m,
				 struct cow_extent *ext, size_t max, const struct cow_aio *how,
				 uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_EXTENTS,
					     .decode = object_decode_extents,
					     .state_bytes = sizeof(struct object_extents_aio),
					     .finish = object_finish_extents,
					     .drop = object_drop_extents};
	struct object_extents_aio *st;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->m = *m;
	err = object_prepare_extents(obj, max, &st->m, &st->got);
	if (err < 0) {
		aio_discard(aio);
		return err;
	}
	aio->out = ext;
	return aio_submit(aio, msg_extents_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}

int cow_aio_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max, const struct cow_aio *how, uint64_t *id)
{
	struct msg_extents m = {.offset = offset, .len = len};

	return object_submit_extents(obj, &m, ext, max, how, id);
}

int cow_aio_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max, const struct cow_aio *how, uint64_t *id)
{
	struct msg_extents m = {.flags = MSG_EXTENTS_DETAILS, .offset = offset, .len = len};

	return object_submit_extents(obj, &m, ext, max, how, id);
}

struct object_clone_range_aio {
	struct msg_clone_range_reply reply; /* first: the decoder's ctx */
	struct msg_clone_range m;
};

static int object_more_clone_range(struct aio *aio)
{
	struct object_clone_range_aio *st = aio->state;
	int more = object_clone_range_on(&st->m, &st->reply);

	if (more > 0)
		aio->body_len = msg_clone_range_encode(aio_body(aio), CHAN_BODY_MAX, &st->m);
	return more;
}

/* The source is the application's to keep open, as a buffer is its to keep. */
int cow_aio_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
			uint64_t dst_offset, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_CLONE_RANGE,
					     .decode = object_decode_clone_range,
					     .state_bytes = sizeof(struct object_clone_range_aio),
					     .more = object_more_clone_range};
	struct object_clone_range_aio *st;
	struct aio *aio;
	int err;

	if (!object_clone_range_fits(src, dst))
		return errors_set(dst->cow, -ERR_INVAL, "the objects are not of one connection");
	err = aio_new(dst->cow, dst, &kind, how, &aio);
	if (err < 0)
		return err;
	object_bind_clone_range(&aio->parts[0], src, dst);
	st = aio->state;
	st->m = (struct msg_clone_range){
	    .src_offset = src_offset, .dst_offset = dst_offset, .len = len};
	return aio_submit(aio, msg_clone_range_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}
