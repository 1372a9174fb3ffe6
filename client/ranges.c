/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several ranges in one request, and what is done only at a certain generation.
 *
 * A request has one payload, so the data of several ranges passes through a buffer of its own; that
 * of a single one does not.
 */
#include "client/cow.h"

#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

_Static_assert(WIRE_RANGES_MAX == COW_RANGES_MAX, "as many as the server takes");

/* A request of ranges, as the application has them, and what its reply says. */
struct ranges {
	uint8_t *data; /* of all, one after the other */
	bool own;      /* it is to be freed */
	uint32_t len;  /* of all together */
	uint64_t generation;
	uint32_t *lens; /* of each, as read */
	uint8_t *body;
	uint32_t count;
	struct cow_range app[];
};

static uint32_t ranges_payload_max(struct cow *cow)
{
	uint32_t max = WIRE_PAYLOAD_MAX;

	(void)pthread_mutex_lock(&cow->lock);
	if (cow->link.state == LINK_READY && cow->chan.payload_max < max)
		max = cow->chan.payload_max;
	(void)pthread_mutex_unlock(&cow->lock);
	return max;
}

static void ranges_fini(struct ranges *r)
{
	if (r->own)
		free(r->data);
}

static void ranges_free(struct ranges *r)
{
	ranges_fini(r);
	free(r);
}

#define RANGES_BODY_BYTES(count) \
	(MSG_RANGES_BYTES_MAX - (WIRE_RANGES_MAX - (count)) * MSG_RANGE_BYTES)

/* One piece of memory: the ranges, the lengths, the body. */
static struct ranges *ranges_alloc(const struct cow_range *ranges, uint32_t count)
{
	size_t app_bytes = count * sizeof(ranges[0]);
	size_t lens_bytes = count * sizeof(uint32_t);
	struct ranges *r = malloc(sizeof(*r) + app_bytes + lens_bytes + RANGES_BODY_BYTES(count));

	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	memcpy(r->app, ranges, app_bytes);
	r->count = count;
	r->lens = (uint32_t *)(r->app + count);
	r->body = (uint8_t *)(r->lens + count);
	return r;
}

/* Where their data is together: that of a single one where the application has it. */
static int ranges_gather_room(struct cow *cow, struct ranges *r)
{
	uint32_t max = ranges_payload_max(cow);

	for (uint32_t i = 0; i < r->count; i++) {
		if (r->app[i].len > max - r->len)
			return errors_set(cow, -ERR_INVAL,
					  "the ranges are longer than one request may be");
		r->len += (uint32_t)r->app[i].len;
	}
	r->own = r->count > 1;
	r->data = r->own ? malloc((size_t)r->len + 1) : r->app[0].buf;
	return r->own && !r->data ? errors_set(cow, -ERR_NOMEM, "") : 0;
}

/* NULL: it cannot be one request, and the error is set. */
static struct ranges *ranges_new(struct cow *cow, const struct cow_range *ranges, size_t count,
				 int *err)
{
	struct ranges *r;

	if (count == 0 || count > COW_RANGES_MAX) {
		*err = errors_set(cow, -ERR_INVAL, "a request is of 1 to 1024 ranges");
		return NULL;
	}
	r = ranges_alloc(ranges, (uint32_t)count);
	*err = r ? ranges_gather_room(cow, r) : errors_set(cow, -ERR_NOMEM, "");
	if (r && *err < 0) {
		ranges_free(r);
		return NULL;
	}
	return r;
}

static void ranges_call_init(struct call *call, enum wire_op op, cow_object_t *obj)
{
	call_init(call, op);
	call_bind(call, obj, 0);
}

static void ranges_fill_msg(const struct ranges *r, struct msg_range *msg)
{
	for (uint32_t i = 0; i < r->count; i++)
		msg[i] = (struct msg_range){r->app[i].offset, (uint32_t)r->app[i].len};
}

/* ---- reading --------------------------------------------------------------------------------- */

static int ranges_decode_readv(void *ctx, const uint8_t *body, size_t len)
{
	struct ranges *r = ctx;
	struct msg_readv_reply reply;
	int err = msg_readv_reply_decode(body, len, &reply);

	if (err == 0 && reply.count != r->count)
		err = -ERR_PROTO;
	if (err == 0)
		memcpy(r->lens, reply.lens, r->count * sizeof(r->lens[0]));
	return err;
}

/* Returns the length of the body, or a negative error. */
static int ranges_prepare_readv(const struct ranges *r, struct call *call)
{
	struct msg_readv m;

	m.handle = 0;
	m.count = r->count;
	ranges_fill_msg(r, m.ranges);
	call->req.body = r->body;
	call->req.into = r->data;
	call->req.into_len = r->len;
	return msg_readv_encode(r->body, RANGES_BODY_BYTES(r->count), &m);
}

static const char ranges_misfit[] = "the server sent other ranges";

/* Whether the reply is of these ranges, and of as many bytes as came. */
static bool ranges_fit(const struct ranges *r, uint32_t len)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->count; i++) {
		if (r->lens[i] > r->app[i].len)
			return false;
		sum += r->lens[i];
	}
	return sum == len;
}

/* Gives each range its data.  Returns the bytes of all. */
static ssize_t ranges_scatter(const struct ranges *r, size_t *got)
{
	const uint8_t *from = r->data;
	ssize_t total = 0;

	for (uint32_t i = 0; i < r->count; i++) {
		if (r->own && r->lens[i] > 0)
			memcpy(r->app[i].buf, from, r->lens[i]);
		from += r->lens[i];
		total += r->lens[i];
		if (got)
			got[i] = r->lens[i];
	}
	return total;
}

static ssize_t ranges_run_readv(cow_object_t *obj, struct ranges *r, size_t *got)
{
	struct call call;
	int err;

	ranges_call_init(&call, WIRE_OP_READV, obj);
	call.decode = ranges_decode_readv;
	call.ctx = r;
	err = call_run(obj->cow, &call, ranges_prepare_readv(r, &call));
	if (err < 0)
		return err;
	if (!ranges_fit(r, call.payload_len))
		return errors_set(obj->cow, -ERR_PROTO, ranges_misfit);
	return ranges_scatter(r, got);
}

ssize_t cow_readv(cow_object_t *obj, const struct cow_range *ranges, size_t count, size_t *got)
{
	int err;
	struct ranges *r = ranges_new(obj->cow, ranges, count, &err);
	ssize_t result;

	if (!r)
		return err;
	result = ranges_run_readv(obj, r, got);
	ranges_free(r);
	return result;
}

/* ---- writing, generations -------------------------------------------------------------------- */

static int ranges_decode_generation(void *ctx, const uint8_t *body, size_t len)
{
	return msg_generation_decode(body, len, ctx);
}

static int ranges_decode_writev(void *ctx, const uint8_t *body, size_t len)
{
	struct ranges *r = ctx;
	struct msg_generation reply;
	int err = msg_generation_decode(body, len, &reply);

	if (err == 0)
		r->generation = reply.generation;
	return err;
}

static void ranges_gather(struct ranges *r)
{
	uint8_t *to = r->data;

	for (uint32_t i = 0; r->own && i < r->count; i++) {
		if (r->app[i].len > 0)
			memcpy(to, r->app[i].buf, r->app[i].len);
		to += r->app[i].len;
	}
}

/* Returns the length of the body, or a negative error. */
static int ranges_prepare_writev(struct ranges *r, const uint64_t *if_generation, struct call *call)
{
	struct msg_writev m;

	ranges_gather(r);
	m.handle = 0;
	m.flags = if_generation ? MSG_IF_GENERATION : 0;
	m.generation = if_generation ? *if_generation : 0;
	m.count = r->count;
	ranges_fill_msg(r, m.ranges);
	call->once = if_generation != NULL; /* the first would have changed the generation */
	call->req.body = r->body;
	call->req.payload = r->data;
	call->req.payload_len = r->len;
	return msg_writev_encode(r->body, RANGES_BODY_BYTES(r->count), &m);
}

int cow_writev(cow_object_t *obj, const struct cow_range *ranges, size_t count,
	       const uint64_t *if_generation, uint64_t *generation)
{
	struct call call;
	int err;
	struct ranges *r = ranges_new(obj->cow, ranges, count, &err);

	if (!r)
		return err;
	ranges_call_init(&call, WIRE_OP_WRITEV, obj);
	call.decode = ranges_decode_writev;
	call.ctx = r;
	err = call_run(obj->cow, &call, ranges_prepare_writev(r, if_generation, &call));
	if (err == 0 && generation)
		*generation = r->generation;
	ranges_free(r);
	return err;
}

int cow_write_if(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		 uint64_t if_generation, uint64_t *generation)
{
	/* a write only reads it */
	struct cow_range range = {offset, (void *)(uintptr_t)buf, len};

	return cow_writev(obj, &range, 1, &if_generation, generation);
}

static int ranges_encode_fsync_if(const uint64_t *if_generation, uint8_t *body)
{
	const struct msg_fsync_if m = {
	    .flags = if_generation ? MSG_IF_GENERATION : 0,
	    .generation = if_generation ? *if_generation : 0,
	};

	return msg_fsync_if_encode(body, CHAN_BODY_MAX, &m);
}

int cow_fsync_if(cow_object_t *obj, const uint64_t *if_generation, uint64_t *generation)
{
	struct msg_generation reply;
	struct call call;
	int err;

	ranges_call_init(&call, WIRE_OP_FSYNC_IF, obj);
	call.decode = ranges_decode_generation;
	call.ctx = &reply;
	err = call_run(obj->cow, &call, ranges_encode_fsync_if(if_generation, call_body(&call)));
	if (err == 0 && generation)
		*generation = reply.generation;
	return err;
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

static void ranges_drop(struct aio *aio)
{
	ranges_fini(aio->state);
}

/* Makes one whose state are the ranges. */
static int ranges_new_aio(cow_object_t *obj, const struct cow_range *ranges, size_t count,
			  const struct aio_kind *kind, const struct cow_aio *how, struct aio **aio)
{
	int err;
	struct ranges *r = ranges_new(obj->cow, ranges, count, &err);

	if (!r)
		return err;
	err = aio_new(obj->cow, obj, kind, how, aio);
	if (err < 0) {
		ranges_free(r);
		return err;
	}
	(*aio)->state = r;
	(*aio)->parts[0].ctx = r;
	return 0;
}

static int64_t ranges_finish_readv(struct aio *aio)
{
	struct ranges *r = aio->state;
	int64_t result = -ERR_PROTO;

	if (ranges_fit(r, aio->parts[0].payload_len))
		result = ranges_scatter(r, aio->out);
	else
		aio->text = ranges_misfit;
	ranges_fini(r);
	return result;
}

int cow_aio_readv(cow_object_t *obj, const struct cow_range *ranges, size_t count, size_t *got,
		  const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_READV,
					     .decode = ranges_decode_readv,
					     .finish = ranges_finish_readv,
					     .drop = ranges_drop};
	struct aio *aio;
	int err = ranges_new_aio(obj, ranges, count, &kind, how, &aio);

	if (err < 0)
		return err;
	aio->out = got;
	return aio_submit(aio, ranges_prepare_readv(aio->state, &aio->parts[0]), id);
}

static int64_t ranges_finish_writev(struct aio *aio)
{
	struct ranges *r = aio->state;

	if (aio->out)
		*(uint64_t *)aio->out = r->generation;
	ranges_fini(r);
	return 0;
}

int cow_aio_writev(cow_object_t *obj, const struct cow_range *ranges, size_t count,
		   const uint64_t *if_generation, uint64_t *generation, const struct cow_aio *how,
		   uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_WRITEV,
					     .decode = ranges_decode_writev,
					     .finish = ranges_finish_writev,
					     .drop = ranges_drop};
	struct aio *aio;
	int err = ranges_new_aio(obj, ranges, count, &kind, how, &aio);

	if (err < 0)
		return err;
	aio->out = generation;
	return aio_submit(aio, ranges_prepare_writev(aio->state, if_generation, &aio->parts[0]),
			  id);
}

int cow_aio_write_if(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		     uint64_t if_generation, uint64_t *generation, const struct cow_aio *how,
		     uint64_t *id)
{
	/* a write only reads it */
	const struct cow_range range = {offset, (void *)(uintptr_t)buf, len};

	return cow_aio_writev(obj, &range, 1, &if_generation, generation, how, id);
}

static int64_t ranges_finish_fsync_if(struct aio *aio)
{
	const struct msg_generation *reply = aio->state;

	if (aio->out)
		*(uint64_t *)aio->out = reply->generation;
	return 0;
}

int cow_aio_fsync_if(cow_object_t *obj, const uint64_t *if_generation, uint64_t *generation,
		     const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_FSYNC_IF,
					     .decode = ranges_decode_generation,
					     .state_bytes = sizeof(struct msg_generation),
					     .finish = ranges_finish_fsync_if};
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	aio->out = generation;
	return aio_submit(aio, ranges_encode_fsync_if(if_generation, aio_body(aio)), id);
}
