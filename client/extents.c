/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow: where the data and the holes of an object are. */
#include "client/cow.h"

#include <stdbool.h>
#include <stdlib.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "common/err.h"

_Static_assert((int)MSG_EXTENT_HOLE == COW_EXTENT_HOLE, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_DATA == COW_EXTENT_DATA, "kinds come in as they are");
_Static_assert((int)MSG_EXTENT_ZERO == COW_EXTENT_ZERO, "kinds come in as they are");
_Static_assert(MSG_EXTENT_SHARED == COW_EXTENT_SHARED, "flags come in as they are");
_Static_assert(MSG_EXTENT_DIRTY == COW_EXTENT_DIRTY, "flags come in as they are");

/* ---- one request ------------------------------------------------------------------------------ */

struct extents {
	struct msg_extent *ext;
	uint32_t max;
	uint32_t count;
};

static int extents_decode(void *ctx, const uint8_t *body, size_t len)
{
	struct extents *got = ctx;

	return msg_extents_reply_decode(body, len, got->ext, got->max, &got->count);
}

/* Whether they lie one after the other in the range that was asked for. */
static bool extents_fit(const struct extents *got, uint64_t len)
{
	for (uint32_t i = 0; i < got->count; i++) {
		if (got->ext[i].len == 0 || got->ext[i].len > len)
			return false;
		len -= got->ext[i].len;
	}
	return true;
}

static int extents_get(cow_object_t *obj, const struct msg_extents *m, struct extents *got)
{
	struct call call;
	int err;

	call_init(&call, WIRE_OP_EXTENTS);
	call_bind(&call, obj, 0);
	call.decode = extents_decode;
	call.ctx = got;
	err = call_run(obj->cow, &call, msg_extents_encode(call_body(&call), CHAN_BODY_MAX, m));
	if (err == 0 && !extents_fit(got, m->len))
		return errors_set(obj->cow, -ERR_PROTO, "the server sent extents out of range");
	return err;
}

static void extents_fill(const struct extents *got, uint64_t offset, struct cow_extent *ext)
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
static int extents_prepare(cow_object_t *obj, size_t max, struct msg_extents *m,
			   struct extents *got)
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

static ssize_t extents_run(cow_object_t *obj, uint32_t flags, uint64_t offset, uint64_t len,
			   struct cow_extent *ext, size_t max)
{
	struct extents got = {0};
	struct msg_extents m = {.flags = flags, .offset = offset, .len = len};
	int err = extents_prepare(obj, max, &m, &got);

	if (err < 0)
		return err;
	err = extents_get(obj, &m, &got);
	if (err == 0)
		extents_fill(&got, offset, ext);
	free(got.ext);
	return err < 0 ? err : (ssize_t)got.count;
}

ssize_t cow_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max)
{
	return extents_run(obj, 0, offset, len, ext, max);
}

ssize_t cow_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max)
{
	return extents_run(obj, MSG_EXTENTS_DETAILS, offset, len, ext, max);
}

/* ---- seeking --------------------------------------------------------------------------------- */

#define SEEK_EXTENTS 64u

/* The first byte of this kind; *end: where the object ends, as far as it was looked at. */
static int64_t extents_seek(cow_object_t *obj, uint64_t offset, int kind, uint64_t *end)
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

	return extents_seek(obj, offset, COW_EXTENT_DATA, &end);
}

int64_t cow_seek_hole(cow_object_t *obj, uint64_t offset)
{
	uint64_t end;
	int64_t at = extents_seek(obj, offset, COW_EXTENT_HOLE, &end);

	return at == -COW_ENOENT && end > offset ? (int64_t)end : at;
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

struct extents_aio {
	struct extents got; /* first: the decoder's ctx */
	struct msg_extents m;
};

static void extents_drop(struct aio *aio)
{
	struct extents_aio *st = aio->state;

	free(st->got.ext);
}

static int64_t extents_finish(struct aio *aio)
{
	struct extents_aio *st = aio->state;
	int64_t result = st->got.count;

	if (extents_fit(&st->got, st->m.len))
		extents_fill(&st->got, st->m.offset, aio->out);
	else
		result = -ERR_PROTO;
	extents_drop(aio);
	return result;
}

static int extents_submit(cow_object_t *obj, const struct msg_extents *m, struct cow_extent *ext,
			  size_t max, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_EXTENTS,
					     .decode = extents_decode,
					     .state_bytes = sizeof(struct extents_aio),
					     .finish = extents_finish,
					     .drop = extents_drop};
	struct extents_aio *st;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->m = *m;
	err = extents_prepare(obj, max, &st->m, &st->got);
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

	return extents_submit(obj, &m, ext, max, how, id);
}

int cow_aio_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max, const struct cow_aio *how, uint64_t *id)
{
	struct msg_extents m = {.flags = MSG_EXTENTS_DETAILS, .offset = offset, .len = len};

	return extents_submit(obj, &m, ext, max, how, id);
}
