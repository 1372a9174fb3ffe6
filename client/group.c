/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow's calls on several objects at once. */
#include "client/cow.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_GROUP_MAX == COW_GROUP_MAX, "the server takes as many");
_Static_assert(CHAN_BODY_MAX >= 2 + MSG_GROUP_MAX * 4, "handles fit a request");

static int group_check_count(cow_t *cow, size_t count)
{
	if (count > 0 && count <= MSG_GROUP_MAX)
		return 0;
	return errors_set(cow, -ERR_INVAL, "a group is 1 to 128 of them");
}

/* ---- open objects ---------------------------------------------------------------------------- */

/* Where the body has the number of a handle: they go in when it goes out. */
#define GROUP_HANDLE_AT(i) (2 + 4 * (uint32_t)(i))

static int group_fill_bound(cow_object_t *const *objs, size_t count, struct call_object *bound)
{
	cow_t *cow = objs[0]->cow;
	int err = group_check_count(cow, count);

	for (size_t i = 0; err == 0 && i < count; i++) {
		if (objs[i]->cow != cow)
			return errors_set(cow, -ERR_INVAL, "they are not of one connection");
		bound[i] = (struct call_object){.obj = objs[i], .handle_at = GROUP_HANDLE_AT(i)};
	}
	return err;
}

static int group_encode_handles(uint8_t *body, size_t count)
{
	const struct msg_handles m = {.count = (uint32_t)count};

	return msg_handles_encode(body, CHAN_BODY_MAX, &m);
}

static int group_run(cow_object_t *const *objs, size_t count, enum wire_op op)
{
	struct call_object bound[MSG_GROUP_MAX];
	struct call call;
	int err;

	if (count == 0)
		return 0;
	err = group_fill_bound(objs, count, bound);
	if (err < 0)
		return err;
	call_init(&call, op);
	call_bind_all(&call, bound, (uint32_t)count);
	return call_run(objs[0]->cow, &call, group_encode_handles(call_body(&call), count));
}

int cow_group_tie(cow_object_t *const *objs, size_t count)
{
	return group_run(objs, count, WIRE_OP_TIE);
}

int cow_group_fsync(cow_object_t *const *objs, size_t count)
{
	return group_run(objs, count, WIRE_OP_FSYNC_ALL);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int group_check_pairs(cow_t *cow, const struct cow_pair *pairs, size_t count,
			     struct msg_pair *out)
{
	char copy[MSG_NAME_BYTES];
	char which[64];
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		(void)snprintf(which, sizeof(which), "source %zu of %zu", i + 1, count);
		err = names_copy_spec_as(cow, which, pairs[i].spec, copy);
		if (err < 0)
			break;
		(void)snprintf(which, sizeof(which), "name %zu of %zu", i + 1, count);
		err = names_copy_spec_as(cow, which, pairs[i].name, copy);
		out[i] = (struct msg_pair){pairs[i].spec, pairs[i].name};
	}
	return err;
}

/* Encodes the request into WIRE_BODY_MAX bytes.  Its length, or a negative error with the message set. */
static int group_encode_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
			      const struct cow_attrs *attrs, uint8_t *body)
{
	struct msg_clone_all m = {.count = (uint16_t)count};
	struct msg_pair msg_pairs[MSG_GROUP_MAX];
	int err = group_check_count(cow, count);

	if (err == 0)
		err = group_check_pairs(cow, pairs, count, msg_pairs);
	if (err == 0)
		err = names_copy_attrs(cow, attrs, &m.ttl_ms, &m.labels);
	if (err < 0)
		return err;
	err = msg_clone_all_encode(body, call_body_max(cow), &m, msg_pairs);
	return err < 0 ? errors_set(cow, -ERR_INVAL, "the request is too long") : err;
}

int cow_group_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
		    const struct cow_attrs *attrs)
{
	uint8_t *body = malloc(WIRE_BODY_MAX);
	struct call call;
	int n;

	if (!body)
		return errors_set(cow, -ERR_NOMEM, "");
	n = group_encode_clone(cow, pairs, count, attrs, body);
	if (n >= 0) {
		call_init(&call, WIRE_OP_CLONE_ALL);
		call.req.body = body;
		n = call_run(cow, &call, n);
	}
	free(body);
	return n;
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

struct group_objects_aio {
	struct call_object bound[MSG_GROUP_MAX];
};

/* Of no objects nobody knows on which connection the callback should come. */
static int group_submit(cow_object_t *const *objs, size_t count, const struct aio_kind *kind,
			const struct cow_aio *how, uint64_t *id)
{
	struct group_objects_aio *st;
	struct aio *aio;
	int err;

	if (count == 0)
		return -COW_EINVAL;
	err = aio_new(objs[0]->cow, NULL, kind, how, &aio);
	if (err < 0)
		return err;
	st = aio->state;
	err = group_fill_bound(objs, count, st->bound);
	if (err < 0) {
		aio_discard(aio);
		return err;
	}
	call_bind_all(&aio->parts[0], st->bound, (uint32_t)count);
	return aio_submit(aio, group_encode_handles(aio_body(aio), count), id);
}

int cow_aio_group_fsync(cow_object_t *const *objs, size_t count, const struct cow_aio *how,
			uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_FSYNC_ALL,
					     .state_bytes = sizeof(struct group_objects_aio)};

	return group_submit(objs, count, &kind, how, id);
}

int cow_aio_group_tie(cow_object_t *const *objs, size_t count, const struct cow_aio *how,
		      uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_TIE,
					     .state_bytes = sizeof(struct group_objects_aio)};

	return group_submit(objs, count, &kind, how, id);
}

int cow_aio_group_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
			const struct cow_attrs *attrs, const struct cow_aio *how, uint64_t *id)
{
	/* the state is the body, which may be too long to lie within the call */
	static const struct aio_kind kind = {.op = WIRE_OP_CLONE_ALL, .state_bytes = WIRE_BODY_MAX};
	struct aio *aio;
	int n = aio_new(cow, NULL, &kind, how, &aio);

	if (n < 0)
		return n;
	n = group_encode_clone(cow, pairs, count, attrs, aio->state);
	if (n < 0) {
		aio_discard(aio);
		return n;
	}
	aio->parts[0].req.body = aio->state;
	return aio_submit(aio, n, id);
}
