/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One write to several objects.
 *
 * A request has one payload, so the data of all ranges passes through a buffer of its own; that of a
 * single one does not.
 */
#include "client/cow.h"

#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

_Static_assert(MSG_PARTS_MAX == COW_WRITES_MAX, "as many as the server takes");

/* What such a request needs beside its call.  Zeros at first. */
struct write_all {
	struct msg_generations reply; /* first: the decoder's ctx of an asynchronous one */
	uint8_t body[MSG_WRITE_ALL_BYTES_MAX];
	struct call_object bound[WIRE_RANGES_MAX]; /* one for each range */
	struct msg_write_all m;
	uint32_t nobjs;
	bool conditional;
	uint8_t *data;
	uint32_t len; /* of all together */
	bool own;     /* data is to be freed */
};

/* Where the body has the number of a range's handle. */
#define WRITE_ALL_HANDLE_AT(i) (4 + MSG_OBJECT_RANGE_BYTES * (i))

static int write_all_decode(void *ctx, const uint8_t *body, size_t len)
{
	return msg_generations_decode(body, len, ctx);
}

/* ---- making one ------------------------------------------------------------------------------ */

/* The number that a handle stands for only to tell it from its neighbours: the real ones go in when
 * the request goes out. */
static int write_all_add(struct write_all *all, const struct cow_write *write, size_t at,
			 uint32_t max)
{
	cow_t *cow = write->obj->cow;

	if (write->count == 0 || write->count > COW_RANGES_MAX - all->m.count)
		return errors_set(cow, -ERR_INVAL, "a write is of 1 to 1024 ranges in all");
	for (size_t i = 0; i < write->count; i++) {
		const struct cow_range *range = &write->ranges[i];
		bool first = i == 0 && write->if_generation;

		if (range->len > max - all->len)
			return errors_set(cow, -ERR_INVAL,
					  "the ranges are longer than one request may be");
		all->bound[all->m.count] = (struct call_object){
		    .obj = write->obj, .handle_at = WRITE_ALL_HANDLE_AT(all->m.count)};
		all->m.ranges[all->m.count++] = (struct msg_object_range){
		    .handle = (uint32_t)at,
		    .flags = first ? MSG_IF_GENERATION : 0,
		    .generation = first ? *write->if_generation : 0,
		    .offset = range->offset,
		    .len = (uint32_t)range->len,
		};
		all->len += (uint32_t)range->len;
	}
	all->conditional = all->conditional || write->if_generation;
	all->nobjs++;
	return 0;
}

static void write_all_gather(struct write_all *all, const struct cow_write *writes)
{
	uint8_t *to = all->data;

	for (uint32_t i = 0; i < all->nobjs; i++) {
		for (size_t k = 0; k < writes[i].count; k++) {
			const struct cow_range *range = &writes[i].ranges[k];

			if (range->len > 0)
				memcpy(to, range->buf, range->len);
			to += range->len;
		}
	}
}

/* Beside itself: on the wire it would be one object with more ranges.  Elsewhere the server sees it. */
static bool write_all_is_same(const struct cow_write *writes, size_t i)
{
	return i > 0 && writes[i].obj == writes[i - 1].obj;
}

/* Fills in all but the numbers of the handles.  An error: it is set, and there is nothing to free. */
static int write_all_fill(struct write_all *all, const struct cow_write *writes, size_t count)
{
	cow_t *cow = writes[0].obj->cow;
	uint32_t max = (uint32_t)call_payload_max(cow);
	int err = count <= COW_WRITES_MAX
		      ? 0
		      : errors_set(cow, -ERR_INVAL, "a write is to 1 to 512 objects");

	for (size_t i = 0; err == 0 && i < count; i++) {
		if (writes[i].obj->cow != cow)
			err = errors_set(cow, -ERR_INVAL, "they are not of one connection");
		else if (write_all_is_same(writes, i))
			err = errors_set(cow, -ERR_SAME_OBJECT, "");
		else
			err = write_all_add(all, &writes[i], i, max);
	}
	if (err < 0)
		return err;
	if (all->m.count == 1) {
		all->data = writes[0].ranges[0].buf; /* it is only read */
		return 0;
	}
	all->own = true;
	all->data = malloc((size_t)all->len + 1);
	if (!all->data)
		return errors_set(cow, -ERR_NOMEM, "");
	write_all_gather(all, writes);
	return 0;
}

/* Into a call; the length of its body. */
static int write_all_encode(struct write_all *all, struct call *call)
{
	call_bind_all(call, all->bound, all->m.count);
	call->once = all->conditional; /* the first would have changed the generation */
	call->req.body = all->body;
	call->req.payload = all->data;
	call->req.payload_len = all->len;
	return msg_write_all_encode(all->body, sizeof(all->body), &all->m);
}

static int write_all_finish(const struct write_all *all, struct cow_write *writes)
{
	if (all->reply.count != all->nobjs)
		return -ERR_PROTO;
	for (uint32_t i = 0; i < all->nobjs; i++)
		writes[i].generation = all->reply.generations[i];
	return 0;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static const char write_all_misfit[] = "the server answered for other objects";

static int write_all_run(struct write_all *all, struct cow_write *writes, size_t count)
{
	cow_t *cow = writes[0].obj->cow;
	struct call call;
	int err = write_all_fill(all, writes, count);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_WRITE_ALL);
	call.decode = write_all_decode;
	call.ctx = &all->reply;
	err = call_run(cow, &call, write_all_encode(all, &call));
	if (err == 0 && write_all_finish(all, writes) < 0)
		err = errors_set(cow, -ERR_PROTO, write_all_misfit);
	return err;
}

int cow_write_all(struct cow_write *writes, size_t count)
{
	struct write_all *all;
	int err;

	if (count == 0)
		return 0;
	all = calloc(1, sizeof(*all));
	if (!all)
		return errors_set(writes[0].obj->cow, -ERR_NOMEM, "");
	err = write_all_run(all, writes, count);
	if (all->own)
		free(all->data);
	free(all);
	return err;
}

static void write_all_drop(struct aio *aio)
{
	struct write_all *all = aio->state;

	if (all->own)
		free(all->data);
}

static int64_t write_all_finish_aio(struct aio *aio)
{
	int err = write_all_finish(aio->state, aio->out);

	aio->text = write_all_misfit;
	write_all_drop(aio);
	return err;
}

int cow_aio_write_all(struct cow_write *writes, size_t count, const struct cow_aio *how,
		      uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_WRITE_ALL,
					     .decode = write_all_decode,
					     .state_bytes = sizeof(struct write_all),
					     .finish = write_all_finish_aio,
					     .drop = write_all_drop};
	struct write_all *all;
	struct aio *aio;
	cow_t *cow;
	int err;

	if (count == 0)
		return -COW_EINVAL; /* there is no handle that could call back */
	cow = writes[0].obj->cow;
	err = aio_new(cow, NULL, &kind, how, &aio);
	if (err < 0)
		return err;
	all = aio->state;
	aio->out = writes;
	err = write_all_fill(all, writes, count);
	if (err < 0) {
		aio_discard(aio);
		return err;
	}
	return aio_submit(aio, write_all_encode(all, &aio->parts[0]), id);
}
