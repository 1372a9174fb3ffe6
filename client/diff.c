/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: where an object differs from another. */
#include "client/cow.h"

#include <stdbool.h>
#include <stdlib.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

_Static_assert((int)MSG_DIFF_SAME == COW_EXTENT_SAME, "kinds come in as they are");

struct diff {
	struct msg_diff_reply head;
	struct msg_diff_run *runs;
	uint32_t max;
};

static int diff_decode(void *ctx, const uint8_t *body, size_t len)
{
	struct diff *got = ctx;

	return msg_diff_reply_decode(body, len, &got->head, got->runs, got->max);
}

/* Whether they lie one after the other in the range that was asked for. */
static bool diff_fit(const struct diff *got, uint64_t len)
{
	for (uint32_t i = 0; i < got->head.count; i++) {
		if (got->runs[i].len == 0 || got->runs[i].len > len)
			return false;
		len -= got->runs[i].len;
	}
	return true;
}

static int diff_get(cow_object_t *obj, const struct msg_diff *m, struct diff *got)
{
	struct call call;
	int err;

	call_init(&call, WIRE_OP_DIFF);
	call_bind(&call, obj, 0);
	call.decode = diff_decode;
	call.ctx = got;
	err = call_run(obj->cow, &call, msg_diff_encode(call_body(&call), CHAN_BODY_MAX, m));
	if (err == 0 && !diff_fit(got, m->len))
		return errors_set(obj->cow, -ERR_PROTO, "the server sent extents out of range");
	return err;
}

ssize_t cow_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff)
{
	struct diff got = {.max = max < MSG_DIFF_MAX ? (uint32_t)max : MSG_DIFF_MAX};
	struct msg_diff m = {.older = older, .offset = offset, .len = len, .max = got.max};
	int err;

	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any extent");
	if (m.len > UINT64_MAX - offset)
		m.len = UINT64_MAX - offset;
	got.runs = calloc(got.max, sizeof(*got.runs));
	if (!got.runs)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	err = diff_get(obj, &m, &got);
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
