/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: range clones, and copies of its own of what an object shares. */
#include "client/cow.h"

#include <stdbool.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "common/err.h"

/* ---- range clones ---------------------------------------------------------------------------- */

static int share_decode_clone_range(void *ctx, const uint8_t *body, size_t len)
{
	return msg_clone_range_reply_decode(body, len, ctx);
}

static bool share_clone_range_fits(const cow_object_t *src, const cow_object_t *dst)
{
	return src->cow == dst->cow;
}

/* The first is the one that is changed. */
static void share_bind_clone_range(struct call *call, cow_object_t *src, cow_object_t *dst)
{
	call->nbound = 0;
	call_bind(call, dst, 4);
	call_bind(call, src, 0);
}

static const char share_cloned_nothing[] = "the server cloned nothing";

/* Goes on behind what one request made. */
static int share_clone_range_on(struct msg_clone_range *m,
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

	if (!share_clone_range_fits(src, dst))
		return errors_set(dst->cow, -ERR_INVAL, "the objects are not of one connection");
	while (more > 0) {
		call_init(&call, WIRE_OP_CLONE_RANGE);
		share_bind_clone_range(&call, src, dst);
		call.decode = share_decode_clone_range;
		call.ctx = &reply;
		err = call_run(dst->cow, &call,
			       msg_clone_range_encode(call_body(&call), CHAN_BODY_MAX, &m));
		if (err < 0)
			return err;
		more = share_clone_range_on(&m, &reply);
	}
	return more < 0 ? errors_set(dst->cow, more, share_cloned_nothing) : 0;
}

/* ---- unsharing ------------------------------------------------------------------------------- */

struct share_unshare {
	struct msg_unshare_reply reply;
	uint64_t copied; /* by all requests that were answered */
};

static int share_decode_unshare(void *ctx, const uint8_t *body, size_t len)
{
	struct share_unshare *got = ctx;
	int err = msg_unshare_reply_decode(body, len, &got->reply);

	if (err == 0)
		got->copied += got->reply.copied;
	return err;
}

/* Goes on behind what one request did. */
static int share_unshare_on(struct msg_unshare *m, const struct msg_unshare_reply *reply)
{
	if (reply->len == 0 && reply->left > 0)
		return -ERR_PROTO;
	m->offset += reply->len;
	m->len = reply->left;
	return reply->left > 0;
}

static const char share_unshared_nothing[] = "the server unshared nothing";

static int share_run_unshare(cow_object_t *obj, struct msg_unshare *m, struct share_unshare *got)
{
	struct call call;
	int more = 1;

	while (more > 0) {
		int err;

		call_init(&call, WIRE_OP_UNSHARE);
		call_bind(&call, obj, 0);
		call.decode = share_decode_unshare;
		call.ctx = got;
		err = call_run(obj->cow, &call,
			       msg_unshare_encode(call_body(&call), CHAN_BODY_MAX, m));
		if (err < 0)
			return err;
		more = share_unshare_on(m, &got->reply);
	}
	return more < 0 ? errors_set(obj->cow, more, share_unshared_nothing) : 0;
}

int cow_unshare(cow_object_t *obj, uint64_t offset, uint64_t len, uint64_t *copied)
{
	struct msg_unshare m = {.offset = offset, .len = len};
	struct share_unshare got = {.copied = 0};
	int err = share_run_unshare(obj, &m, &got);

	if (copied)
		*copied = got.copied;
	return err;
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

struct share_clone_range_aio {
	struct msg_clone_range_reply reply; /* first: the decoder's ctx */
	struct msg_clone_range m;
};

static int share_more_clone_range(struct aio *aio)
{
	struct share_clone_range_aio *st = aio->state;
	int more = share_clone_range_on(&st->m, &st->reply);

	aio->text = share_cloned_nothing;
	if (more > 0)
		aio->body_len = msg_clone_range_encode(aio_body(aio), CHAN_BODY_MAX, &st->m);
	return more;
}

int cow_aio_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
			uint64_t dst_offset, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_CLONE_RANGE,
					     .decode = share_decode_clone_range,
					     .state_bytes = sizeof(struct share_clone_range_aio),
					     .more = share_more_clone_range};
	struct share_clone_range_aio *st;
	struct aio *aio;
	int err;

	if (!share_clone_range_fits(src, dst))
		return errors_set(dst->cow, -ERR_INVAL, "the objects are not of one connection");
	err = aio_new(dst->cow, dst, &kind, how, &aio);
	if (err < 0)
		return err;
	share_bind_clone_range(&aio->parts[0], src, dst);
	st = aio->state;
	st->m = (struct msg_clone_range){
	    .src_offset = src_offset, .dst_offset = dst_offset, .len = len};
	return aio_submit(aio, msg_clone_range_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}

struct share_unshare_aio {
	struct share_unshare got; /* first: the decoder's ctx */
	struct msg_unshare m;
};

static int share_more_unshare(struct aio *aio)
{
	struct share_unshare_aio *st = aio->state;
	int more = share_unshare_on(&st->m, &st->got.reply);

	aio->text = share_unshared_nothing;
	if (more > 0)
		aio->body_len = msg_unshare_encode(aio_body(aio), CHAN_BODY_MAX, &st->m);
	return more;
}

/* What was copied is told after an error, too. */
static void share_drop_unshare(struct aio *aio)
{
	const struct share_unshare_aio *st = aio->state;

	if (aio->out)
		*(uint64_t *)aio->out = st->got.copied;
}

static int64_t share_finish_unshare(struct aio *aio)
{
	share_drop_unshare(aio);
	return 0;
}

int cow_aio_unshare(cow_object_t *obj, uint64_t offset, uint64_t len, uint64_t *copied,
		    const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_UNSHARE,
					     .decode = share_decode_unshare,
					     .state_bytes = sizeof(struct share_unshare_aio),
					     .more = share_more_unshare,
					     .finish = share_finish_unshare,
					     .drop = share_drop_unshare};
	struct share_unshare_aio *st;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->m = (struct msg_unshare){.offset = offset, .len = len};
	aio->out = copied;
	return aio_submit(aio, msg_unshare_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}
