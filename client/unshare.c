/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow: copies of its own of what an object shares.
 */
#include "client/cow.h"

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"
#include "proto/msg.h"

static int unshare_decode(void *ctx, const uint8_t *body, size_t len)
{
	return msg_unshare_reply_decode(body, len, ctx);
}

int cow_unshare(cow_object_t *obj, uint64_t offset, uint64_t len, uint64_t *copied)
{
	struct msg_unshare m = {.offset = offset, .len = len};
	struct msg_unshare_reply reply = {.left = 1};
	struct call call;
	uint64_t sum = 0;
	int err = 0;

	while (err == 0 && reply.left > 0) {
		call_init(&call, WIRE_OP_UNSHARE);
		call_bind(&call, obj, 0);
		call.decode = unshare_decode;
		call.ctx = &reply;
		err = call_run(obj->cow, &call,
			       msg_unshare_encode(call_body(&call), CHAN_BODY_MAX, &m));
		if (err < 0)
			break;
		if (reply.len == 0 && reply.left > 0)
			err = errors_set(obj->cow, -ERR_PROTO, "the server unshared nothing");
		sum += reply.copied;
		m.offset += reply.len;
		m.len = reply.left;
	}
	if (copied)
		*copied = sum;
	return err;
}
