/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls on open objects, but for reading and writing (transfer.c, ranges.c) and what they
 * are made of (extents.c, diff.c, share.c).
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
_Static_assert(MSG_OPEN_FIXED == COW_OPEN_FIXED, "flags go out as they are");
_Static_assert(MSG_RESIZE_SHRINK == COW_RESIZE_SHRINK, "flags go out as they are");

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
	if (flags & ~(COW_OPEN_READONLY | COW_OPEN_DIRECT | COW_OPEN_FIXED))
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
