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

static const char extents_misfit[] = "the server sent extents out of range";

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
		return errors_set(obj->cow, -ERR_PROTO, extents_misfit);
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

struct extents_seek {
	struct extents got; /* first: the decoder's ctx */
	struct msg_extents m;
	int kind;
	uint64_t from;
	uint64_t found;
	struct msg_extent ext[SEEK_EXTENTS];
};

static void extents_seek_init(struct extents_seek *seek, uint64_t offset, int kind)
{
	seek->got = (struct extents){.ext = seek->ext, .max = SEEK_EXTENTS};
	seek->m =
	    (struct msg_extents){.offset = offset, .len = UINT64_MAX - offset, .max = SEEK_EXTENTS};
	seek->kind = kind;
	seek->from = offset;
}

/* Looks through one reply.  1: the next is to be asked for; 0: found; or -ERR_NOENT. */
static int extents_seek_on(struct extents_seek *seek)
{
	struct msg_extents *m = &seek->m;

	for (uint32_t i = 0; i < seek->got.count; i++) {
		seek->found = m->offset;
		if (seek->ext[i].kind == seek->kind)
			return 0;
		m->offset += seek->ext[i].len;
	}
	m->len = UINT64_MAX - m->offset;
	if (seek->got.count > 0)
		return 1;
	/* the end of the object counts as a hole */
	seek->found = m->offset;
	return seek->kind == COW_EXTENT_HOLE && m->offset > seek->from ? 0 : -ERR_NOENT;
}

static const char *extents_seek_text(const struct extents_seek *seek)
{
	return seek->m.offset == seek->from ? "behind the end of the object"
					    : "no more data in the object";
}

static int64_t extents_seek(cow_object_t *obj, uint64_t offset, int kind)
{
	struct extents_seek seek;
	int more = 1;

	extents_seek_init(&seek, offset, kind);
	while (more > 0) {
		int err = extents_get(obj, &seek.m, &seek.got);

		if (err < 0)
			return err;
		more = extents_seek_on(&seek);
	}
	return more < 0 ? errors_set(obj->cow, more, extents_seek_text(&seek))
			: (int64_t)seek.found;
}

int64_t cow_seek_data(cow_object_t *obj, uint64_t offset)
{
	return extents_seek(obj, offset, COW_EXTENT_DATA);
}

int64_t cow_seek_hole(cow_object_t *obj, uint64_t offset)
{
	return extents_seek(obj, offset, COW_EXTENT_HOLE);
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

	if (extents_fit(&st->got, st->m.len)) {
		extents_fill(&st->got, st->m.offset, aio->out);
	} else {
		result = -ERR_PROTO;
		aio->text = extents_misfit;
	}
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

static int extents_more_seek(struct aio *aio)
{
	struct extents_seek *seek = aio->state;
	int more = -ERR_PROTO;

	aio->text = extents_misfit;
	if (extents_fit(&seek->got, seek->m.len))
		more = extents_seek_on(seek);
	if (more == -ERR_NOENT)
		aio->text = extents_seek_text(seek);
	if (more > 0)
		aio->body_len = msg_extents_encode(aio_body(aio), CHAN_BODY_MAX, &seek->m);
	return more;
}

static int64_t extents_finish_seek(struct aio *aio)
{
	const struct extents_seek *seek = aio->state;

	return (int64_t)seek->found;
}

static int extents_submit_seek(cow_object_t *obj, uint64_t offset, int extent_kind,
			       const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_EXTENTS,
					     .decode = extents_decode,
					     .state_bytes = sizeof(struct extents_seek),
					     .more = extents_more_seek,
					     .finish = extents_finish_seek};
	struct extents_seek *seek;
	struct aio *aio;
	int err = aio_new(obj->cow, obj, &kind, how, &aio);

	if (err < 0)
		return err;
	seek = aio->state;
	extents_seek_init(seek, offset, extent_kind);
	return aio_submit(aio, msg_extents_encode(aio_body(aio), CHAN_BODY_MAX, &seek->m), id);
}

int cow_aio_seek_data(cow_object_t *obj, uint64_t offset, const struct cow_aio *how, uint64_t *id)
{
	return extents_submit_seek(obj, offset, COW_EXTENT_DATA, how, id);
}

int cow_aio_seek_hole(cow_object_t *obj, uint64_t offset, const struct cow_aio *how, uint64_t *id)
{
	return extents_submit_seek(obj, offset, COW_EXTENT_HOLE, how, id);
}
