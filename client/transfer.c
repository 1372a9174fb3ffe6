/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing.  A transfer that is longer than the server's payload limit is cut into
 * requests of that limit, of which up to TRANSFER_WINDOW are in flight.
 */
#include "client/cow.h"

#include <limits.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

#define TRANSFER_WINDOW 4u

_Static_assert(MSG_IO_DIRECT == COW_IO_DIRECT, "flags go out as they are");

/* The calls are a ring: submitted and awaited in order of offset. */
struct transfer {
	cow_object_t *obj;
	enum wire_op op;
	uint8_t *buf; /* written to by reads only */
	size_t len;
	uint64_t offset;
	uint32_t flags;
	size_t chunk;	   /* bytes of a request */
	size_t submitted;  /* bytes */
	size_t done;	   /* bytes, without a gap from the start */
	unsigned int head; /* the oldest call in flight */
	unsigned int flight;
	struct call calls[TRANSFER_WINDOW];
};

static int transfer_encode(const struct transfer *t, struct call *call, size_t len)
{
	uint64_t offset = t->offset + t->submitted;
	struct msg_read read = {.flags = t->flags, .offset = offset, .len = (uint32_t)len};
	struct msg_write write = {.flags = t->flags, .offset = offset};

	if (t->op == WIRE_OP_READ) {
		call->req.into = t->buf + t->submitted;
		call->req.into_len = (uint32_t)len;
		return msg_read_encode(call_body(call), CHAN_BODY_MAX, &read);
	}
	call->req.payload = t->buf + t->submitted;
	call->req.payload_len = (uint32_t)len;
	return msg_write_encode(call_body(call), CHAN_BODY_MAX, &write);
}

static void transfer_submit(struct transfer *t)
{
	struct call *call = &t->calls[(t->head + t->flight) % TRANSFER_WINDOW];
	size_t left = t->len - t->submitted;
	size_t len = left < t->chunk ? left : t->chunk;

	call_init(call, t->op);
	call_bind(call, t->obj, 0);
	call_start(t->obj->cow, call, transfer_encode(t, call, len));
	t->submitted += len;
	t->flight++;
}

/* Awaits the oldest.  1: go on; 0: a read met the object's end; negative: it failed. */
static int transfer_await(struct transfer *t)
{
	struct call *call = &t->calls[t->head];
	int err = call_wait(t->obj->cow, call);

	t->head = (t->head + 1) % TRANSFER_WINDOW;
	t->flight--;
	if (err < 0)
		return err;
	if (t->op == WIRE_OP_WRITE) {
		t->done += call->req.payload_len;
		return 1;
	}
	t->done += call->payload_len;
	return call->payload_len == call->req.into_len;
}

/* The buffers are in use until the last call has ended; the first failure is the one told. */
static void transfer_drain(struct transfer *t)
{
	while (t->flight > 0) {
		call_wait_only(t->obj->cow, &t->calls[t->head]);
		t->head = (t->head + 1) % TRANSFER_WINDOW;
		t->flight--;
	}
}

static ssize_t transfer_run(struct transfer *t)
{
	int more = 1;

	while (more > 0 && (t->submitted < t->len || t->flight > 0)) {
		while (t->submitted < t->len && t->flight < TRANSFER_WINDOW)
			transfer_submit(t);
		more = transfer_await(t);
	}
	transfer_drain(t);
	return more < 0 ? more : (ssize_t)t->done;
}

static int transfer_check(cow_object_t *obj, size_t len, uint64_t offset, unsigned int flags)
{
	if (len > SSIZE_MAX || offset > UINT64_MAX - len)
		return errors_set(obj->cow, -ERR_INVAL, "the range is too large");
	if (flags & ~COW_IO_DIRECT)
		return errors_set(obj->cow, -ERR_INVAL, "unknown flags");
	return 0;
}

static ssize_t transfer(cow_object_t *obj, enum wire_op op, void *buf, size_t len, uint64_t offset,
			unsigned int flags)
{
	struct transfer t;
	int err = transfer_check(obj, len, offset, flags);

	if (err < 0)
		return err;
	/* the calls are initialized one by one: a small transfer uses only the first */
	t.obj = obj;
	t.op = op;
	t.buf = buf;
	t.len = len;
	t.offset = offset;
	t.flags = flags;
	t.chunk = call_payload_max(obj->cow);
	t.submitted = 0;
	t.done = 0;
	t.head = 0;
	t.flight = 0;
	return transfer_run(&t);
}

ssize_t cow_pread_with(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		       unsigned int flags)
{
	return transfer(obj, WIRE_OP_READ, buf, len, offset, flags);
}

ssize_t cow_pwrite_with(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
			unsigned int flags)
{
	/* a write only reads it */
	return transfer(obj, WIRE_OP_WRITE, (void *)(uintptr_t)buf, len, offset, flags);
}

ssize_t cow_pread(cow_object_t *obj, void *buf, size_t len, uint64_t offset)
{
	return cow_pread_with(obj, buf, len, offset, 0);
}

ssize_t cow_pwrite(cow_object_t *obj, const void *buf, size_t len, uint64_t offset)
{
	return cow_pwrite_with(obj, buf, len, offset, 0);
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

/* All requests are under way at once: the channel keeps to what the server takes. */
static int64_t transfer_finish_read(struct aio *aio)
{
	int64_t done = 0;

	for (size_t i = 0; i < aio->nparts; i++) {
		done += aio->parts[i].payload_len;
		if (aio->parts[i].payload_len < aio->parts[i].req.into_len)
			break; /* the object's end */
	}
	return done;
}

static int64_t transfer_finish_write(struct aio *aio)
{
	int64_t done = 0;

	for (size_t i = 0; i < aio->nparts; i++)
		done += aio->parts[i].req.payload_len;
	return done;
}

static void transfer_prepare_read(struct call *call, uint8_t *buf, size_t len, uint64_t offset,
				  uint32_t flags)
{
	struct msg_read m = {.flags = flags, .offset = offset, .len = (uint32_t)len};

	call->req.into = buf;
	call->req.into_len = (uint32_t)len;
	call->req.body_len = (uint32_t)msg_read_encode(call_body(call), CHAN_BODY_MAX, &m);
}

static void transfer_prepare_write(struct call *call, const uint8_t *buf, size_t len,
				   uint64_t offset, uint32_t flags)
{
	struct msg_write m = {.flags = flags, .offset = offset};

	call->req.payload = buf;
	call->req.payload_len = (uint32_t)len;
	call->req.body_len = (uint32_t)msg_write_encode(call_body(call), CHAN_BODY_MAX, &m);
}

static int transfer_submit_aio(cow_object_t *obj, const struct aio_kind *kind, uint8_t *buf,
			       size_t len, uint64_t offset, unsigned int flags,
			       const struct cow_aio *how, uint64_t *id)
{
	size_t chunk = call_payload_max(obj->cow);
	size_t nparts = len > 0 ? (len - 1) / chunk + 1 : 1;
	struct aio *aio;
	int err = transfer_check(obj, len, offset, flags);

	if (err < 0)
		return err;
	err = aio_new_parts(obj, kind, how, nparts, &aio);
	if (err < 0)
		return err;
	for (size_t i = 0; i < nparts; i++) {
		size_t from = i * chunk;
		size_t n = len - from < chunk ? len - from : chunk;

		if (kind->op == WIRE_OP_READ)
			transfer_prepare_read(&aio->parts[i], buf + from, n, offset + from, flags);
		else
			transfer_prepare_write(&aio->parts[i], buf + from, n, offset + from, flags);
	}
	return aio_submit_parts(aio, id);
}

int cow_aio_pread_with(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		       unsigned int flags, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_READ, .finish = transfer_finish_read};

	return transfer_submit_aio(obj, &kind, buf, len, offset, flags, how, id);
}

int cow_aio_pwrite_with(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
			unsigned int flags, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_WRITE, .finish = transfer_finish_write};

	/* a write only reads it */
	return transfer_submit_aio(obj, &kind, (uint8_t *)(uintptr_t)buf, len, offset, flags, how,
				   id);
}

int cow_aio_pread(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		  const struct cow_aio *how, uint64_t *id)
{
	return cow_aio_pread_with(obj, buf, len, offset, 0, how, id);
}

int cow_aio_pwrite(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		   const struct cow_aio *how, uint64_t *id)
{
	return cow_aio_pwrite_with(obj, buf, len, offset, 0, how, id);
}
