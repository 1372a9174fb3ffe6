/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: what an object has on the server's device, compared with its checksums. */
#include "client/cow.h"

#include <stdbool.h>
#include <stdlib.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "common/err.h"

_Static_assert((int)MSG_DAMAGE_CHECKSUM == COW_DAMAGE_CHECKSUM &&
		   (int)MSG_DAMAGE_READ == COW_DAMAGE_READ &&
		   (int)MSG_DAMAGE_METADATA == COW_DAMAGE_METADATA,
	       "kinds come in as they are");

#define VERIFY_BLOCK UINT64_C(4096) /* damages are of whole blocks of at least this */

static int verify_decode(void *ctx, const uint8_t *body, size_t len)
{
	return msg_verify_reply_decode(body, len, ctx);
}

static const char verify_misfit[] = "the server sent damages out of range";
static const char verify_nothing[] = "the server verified nothing";

/* Whether they lie one after the other in what was done of the range. */
static bool verify_fits(const struct msg_verify *m, const struct msg_verify_reply *reply)
{
	uint64_t pos = m->offset - m->offset % VERIFY_BLOCK;
	uint64_t end = m->offset + reply->len;

	if (reply->count > m->max || reply->len > m->len)
		return false;
	for (uint32_t i = 0; i < reply->count; i++) {
		const struct msg_damage *d = &reply->damages[i];

		if (d->offset < pos || d->offset >= end || d->len > UINT64_MAX - d->offset)
			return false;
		pos = d->offset + d->len;
	}
	return pos <= end || pos - end < VERIFY_BLOCK;
}

/* NULL, or what is wrong with the reply. */
static const char *verify_problem(const struct msg_verify *m, const struct msg_verify_reply *reply)
{
	if (reply->len == 0 && reply->left > 0)
		return verify_nothing;
	return verify_fits(m, reply) ? NULL : verify_misfit;
}

static void verify_fill(const struct msg_verify_reply *reply, struct cow_damage *damages,
			struct cow_verified *verified)
{
	for (uint32_t i = 0; i < reply->count; i++) {
		const struct msg_damage *d = &reply->damages[i];

		damages[i] = (struct cow_damage){d->offset, d->len, d->physical, (int)d->kind};
	}
	*verified = (struct cow_verified){reply->len, reply->left, reply->read, reply->pending};
}

static int verify_ask(cow_object_t *obj, struct msg_verify *m, size_t max)
{
	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any damage");
	if (m->rate > 0 && m->rate < MSG_VERIFY_RATE_MIN)
		return errors_set(obj->cow, -ERR_INVAL, "the least rate is 4096 bytes a second");
	m->max = max < MSG_VERIFY_MAX ? (uint32_t)max : MSG_VERIFY_MAX;
	if (m->len > UINT64_MAX - m->offset)
		m->len = UINT64_MAX - m->offset;
	return 0;
}

static int verify_get(cow_object_t *obj, const struct msg_verify *m, struct msg_verify_reply *reply)
{
	const char *problem;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_VERIFY);
	call_bind(&call, obj, 0);
	call.decode = verify_decode;
	call.ctx = reply;
	err = call_run(obj->cow, &call, msg_verify_encode(call_body(&call), CHAN_BODY_MAX, m));
	problem = err == 0 ? verify_problem(m, reply) : NULL;
	return problem ? errors_set(obj->cow, -ERR_PROTO, problem) : err;
}

ssize_t cow_verify(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len, uint64_t rate,
		   struct cow_damage *damages, size_t max, struct cow_verified *verified)
{
	struct msg_verify m = {.older = older, .offset = offset, .len = len, .rate = rate};
	struct msg_verify_reply *reply;
	ssize_t result = verify_ask(obj, &m, max);

	if (result < 0)
		return result;
	reply = malloc(sizeof(*reply));
	if (!reply)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	result = verify_get(obj, &m, reply);
	if (result == 0) {
		verify_fill(reply, damages, verified);
		result = (ssize_t)reply->count;
	}
	free(reply);
	return result;
}

/* ---- the asynchronous twin ------------------------------------------------------------------- */

struct verify_aio {
	struct msg_verify_reply reply; /* first: the decoder's ctx */
	struct msg_verify m;
};

static int64_t verify_finish(struct aio *aio)
{
	const struct verify_aio *st = aio->state;

	aio->text = verify_problem(&st->m, &st->reply);
	if (aio->text)
		return -ERR_PROTO;
	aio->text = "";
	verify_fill(&st->reply, aio->out, aio->out2);
	return (int64_t)st->reply.count;
}

int cow_aio_verify(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len, uint64_t rate,
		   struct cow_damage *damages, size_t max, struct cow_verified *verified,
		   const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_VERIFY,
					     .decode = verify_decode,
					     .state_bytes = sizeof(struct verify_aio),
					     .finish = verify_finish};
	struct verify_aio *st;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->m = (struct msg_verify){.older = older, .offset = offset, .len = len, .rate = rate};
	err = verify_ask(obj, &st->m, max);
	if (err < 0) {
		aio_discard(aio);
		return err;
	}
	aio->out = damages;
	aio->out2 = verified;
	return aio_submit(aio, msg_verify_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}
