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

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

_Static_assert(WIRE_RANGES_MAX == COW_RANGES_MAX, "as many as the server takes");

/* What a request of ranges needs beside its call. */
struct ranges {
	uint8_t body[MSG_RANGES_BYTES_MAX];
	struct msg_range msg[WIRE_RANGES_MAX];
	uint32_t count;
	uint32_t len; /* of all together */
	uint8_t *data;
	bool own; /* data is to be freed */
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

static void ranges_free(struct ranges *r)
{
	if (r && r->own)
		free(r->data);
	free(r);
}

static int ranges_add(struct ranges *r, const struct cow_range *range, uint32_t max)
{
	if (range->len > max - r->len)
		return -ERR_INVAL;
	r->msg[r->count++] = (struct msg_range){range->offset, (uint32_t)range->len};
	r->len += (uint32_t)range->len;
	return 0;
}

/* NULL: it cannot be one request, and the error is set. */
static struct ranges *ranges_new(struct cow *cow, const struct cow_range *ranges, size_t count,
				 int *err)
{
	uint32_t max = ranges_payload_max(cow);
	struct ranges *r = NULL;

	*err = count == 0 || count > COW_RANGES_MAX
		   ? errors_set(cow, -ERR_INVAL, "a request is of 1 to 1024 ranges")
		   : 0;
	if (*err == 0) {
		r = calloc(1, sizeof(*r));
		*err = r ? 0 : errors_set(cow, -ERR_NOMEM, "");
	}
	for (size_t i = 0; *err == 0 && i < count; i++)
		if (ranges_add(r, &ranges[i], max) < 0)
			*err = errors_set(cow, -ERR_INVAL,
					  "the ranges are longer than one request may be");
	if (*err == 0 && count == 1) {
		r->data = ranges[0].buf;
	} else if (*err == 0) {
		r->own = true;
		r->data = malloc((size_t)r->len + 1);
		*err = r->data ? 0 : errors_set(cow, -ERR_NOMEM, "");
	}
	if (*err == 0)
		return r;
	ranges_free(r);
	return NULL;
}

static void ranges_call_init(struct call *call, enum wire_op op, cow_object_t *obj)
{
	call_init(call, op);
	call_bind(call, obj, 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int ranges_decode_readv(void *ctx, const uint8_t *body, size_t len)
{
	return msg_readv_reply_decode(body, len, ctx);
}

/* Whether the reply is of these ranges, and of as many bytes as came. */
static bool ranges_fit(const struct ranges *r, const struct msg_readv_reply *reply, uint32_t len)
{
	uint64_t sum = 0;

	if (reply->count != r->count)
		return false;
	for (uint32_t i = 0; i < r->count; i++) {
		if (reply->lens[i] > r->msg[i].len)
			return false;
		sum += reply->lens[i];
	}
	return sum == len;
}

static void ranges_scatter(const struct ranges *r, const struct msg_readv_reply *reply,
			   const struct cow_range *ranges, size_t *got)
{
	const uint8_t *from = r->data;

	for (uint32_t i = 0; i < r->count; i++) {
		if (r->own && reply->lens[i] > 0)
			memcpy(ranges[i].buf, from, reply->lens[i]);
		from += reply->lens[i];
		if (got)
			got[i] = reply->lens[i];
	}
}

static int ranges_run_readv(cow_object_t *obj, struct ranges *r, struct msg_readv *m,
			    struct msg_readv_reply *reply)
{
	struct call call;
	int err;

	m->handle = 0;
	m->count = r->count;
	memcpy(m->ranges, r->msg, sizeof(m->ranges));
	ranges_call_init(&call, WIRE_OP_READV, obj);
	call.req.body = r->body;
	call.req.into = r->data;
	call.req.into_len = r->len;
	call.decode = ranges_decode_readv;
	call.ctx = reply;
	err = call_run(obj->cow, &call, msg_readv_encode(r->body, sizeof(r->body), m));
	if (err == 0 && !ranges_fit(r, reply, call.payload_len))
		return errors_set(obj->cow, -ERR_PROTO, "the server sent other ranges");
	return err;
}

ssize_t cow_readv(cow_object_t *obj, const struct cow_range *ranges, size_t count, size_t *got)
{
	struct msg_readv_reply reply;
	struct msg_readv m;
	ssize_t total = 0;
	int err;
	struct ranges *r = ranges_new(obj->cow, ranges, count, &err);

	if (!r)
		return err;
	err = ranges_run_readv(obj, r, &m, &reply);
	if (err == 0) {
		ranges_scatter(r, &reply, ranges, got);
		for (uint32_t i = 0; i < r->count; i++)
			total += reply.lens[i];
	}
	ranges_free(r);
	return err < 0 ? err : total;
}

/* ---- writing, generations -------------------------------------------------------------------- */

static int ranges_decode_generation(void *ctx, const uint8_t *body, size_t len)
{
	return msg_generation_decode(body, len, ctx);
}

/* Runs a call that answers with a generation. */
static int ranges_run(cow_object_t *obj, struct call *call, int body_len, uint64_t *generation)
{
	struct msg_generation reply;
	int err;

	call->decode = ranges_decode_generation;
	call->ctx = &reply;
	err = call_run(obj->cow, call, body_len);
	if (err == 0 && generation)
		*generation = reply.generation;
	return err;
}

static void ranges_gather(struct ranges *r, const struct cow_range *ranges)
{
	uint8_t *to = r->data;

	for (uint32_t i = 0; r->own && i < r->count; i++) {
		if (ranges[i].len > 0)
			memcpy(to, ranges[i].buf, ranges[i].len);
		to += ranges[i].len;
	}
}

int cow_writev(cow_object_t *obj, const struct cow_range *ranges, size_t count,
	       const uint64_t *if_generation, uint64_t *generation)
{
	struct msg_writev m;
	struct call call;
	int err;
	struct ranges *r = ranges_new(obj->cow, ranges, count, &err);

	if (!r)
		return err;
	ranges_gather(r, ranges);
	m.handle = 0;
	m.flags = if_generation ? MSG_IF_GENERATION : 0;
	m.generation = if_generation ? *if_generation : 0;
	m.count = r->count;
	memcpy(m.ranges, r->msg, sizeof(m.ranges));
	ranges_call_init(&call, WIRE_OP_WRITEV, obj);
	call.once = if_generation != NULL; /* the first would have changed the generation */
	call.req.body = r->body;
	call.req.payload = r->data;
	call.req.payload_len = r->len;
	err = ranges_run(obj, &call, msg_writev_encode(r->body, sizeof(r->body), &m), generation);
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

int cow_fsync_if(cow_object_t *obj, const uint64_t *if_generation, uint64_t *generation)
{
	struct msg_fsync_if m = {
	    .flags = if_generation ? MSG_IF_GENERATION : 0,
	    .generation = if_generation ? *if_generation : 0,
	};
	struct call call;

	ranges_call_init(&call, WIRE_OP_FSYNC_IF, obj);
	return ranges_run(obj, &call, msg_fsync_if_encode(call_body(&call), CHAN_BODY_MAX, &m),
			  generation);
}
