/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: where an object differs from another. */
#include "client/cow.h"

#include <stdbool.h>
#include <stdlib.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
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

static const char diff_misfit[] = "the server sent extents out of range";

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

static void diff_fill(const struct diff *got, uint64_t offset, struct cow_extent *ext,
		      struct cow_diff *diff)
{
	for (uint32_t i = 0; i < got->head.count; i++) {
		ext[i] = (struct cow_extent){
		    .offset = offset, .len = got->runs[i].len, .kind = (int)got->runs[i].kind};
		offset += got->runs[i].len;
	}
	if (diff)
		*diff =
		    (struct cow_diff){got->head.size_bytes, got->head.older_bytes, got->head.nodes};
}

/* Finishes the request, which has a range, and makes room for its reply, to be freed. */
static int diff_prepare(cow_object_t *obj, size_t max, struct msg_diff *m, struct diff *got)
{
	if (max == 0)
		return errors_set(obj->cow, -ERR_INVAL, "no room for any extent");
	got->max = max < MSG_DIFF_MAX ? (uint32_t)max : MSG_DIFF_MAX;
	got->runs = calloc(got->max, sizeof(*got->runs));
	if (!got->runs)
		return errors_set(obj->cow, -ERR_NOMEM, "");
	m->max = got->max;
	if (m->len > UINT64_MAX - m->offset)
		m->len = UINT64_MAX - m->offset;
	return 0;
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
		return errors_set(obj->cow, -ERR_PROTO, diff_misfit);
	return err;
}

ssize_t cow_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff)
{
	struct msg_diff m = {.older = older, .offset = offset, .len = len};
	struct diff got = {0};
	int err = diff_prepare(obj, max, &m, &got);

	if (err < 0)
		return err;
	err = diff_get(obj, &m, &got);
	if (err == 0)
		diff_fill(&got, offset, ext, diff);
	free(got.runs);
	return err < 0 ? err : (ssize_t)got.head.count;
}

/* ---- the asynchronous twin ------------------------------------------------------------------- */

struct diff_aio {
	struct diff got; /* first: the decoder's ctx */
	struct msg_diff m;
};

static void diff_drop(struct aio *aio)
{
	struct diff_aio *st = aio->state;

	free(st->got.runs);
}

static int64_t diff_finish(struct aio *aio)
{
	struct diff_aio *st = aio->state;
	int64_t result = st->got.head.count;

	if (diff_fit(&st->got, st->m.len)) {
		diff_fill(&st->got, st->m.offset, aio->out, aio->out2);
	} else {
		result = -ERR_PROTO;
		aio->text = diff_misfit;
	}
	diff_drop(aio);
	return result;
}

int cow_aio_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff,
		 const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_DIFF,
					     .decode = diff_decode,
					     .state_bytes = sizeof(struct diff_aio),
					     .finish = diff_finish,
					     .drop = diff_drop};
	struct diff_aio *st;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->m = (struct msg_diff){.older = older, .offset = offset, .len = len};
	err = diff_prepare(obj, max, &st->m, &st->got);
	if (err < 0) {
		aio_discard(aio);
		return err;
	}
	aio->out = ext;
	aio->out2 = diff;
	return aio_submit(aio, msg_diff_encode(aio_body(aio), CHAN_BODY_MAX, &st->m), id);
}
