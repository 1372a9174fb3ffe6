/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing.  A transfer that is longer than the server's payload limit is cut into
 * requests of that limit, of which up to TRANSFER_WINDOW are in flight.
 */
#include "client/cow.h"

#include <limits.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "common/err.h"

#define TRANSFER_WINDOW 4u

/* The calls are a ring: submitted and awaited in order of offset. */
struct transfer {
	cow_object_t *obj;
	enum wire_op op;
	uint8_t *buf; /* written to by reads only */
	size_t len;
	uint64_t offset;
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
	struct msg_read read = {t->obj->handle, offset, (uint32_t)len};
	struct msg_write write = {t->obj->handle, offset};

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
	call->session = t->obj->session;
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

static size_t transfer_chunk(struct cow *cow)
{
	size_t chunk;

	(void)pthread_mutex_lock(&cow->lock);
	chunk = cow->chan.payload_max;
	(void)pthread_mutex_unlock(&cow->lock);
	return chunk > 0 ? chunk : WIRE_PAYLOAD_MAX;
}

static ssize_t transfer(cow_object_t *obj, enum wire_op op, void *buf, size_t len, uint64_t offset)
{
	struct transfer t;

	if (len > SSIZE_MAX || offset > UINT64_MAX - len)
		return errors_set(obj->cow, -ERR_INVAL, "the range is too large");
	/* the calls are initialized one by one: a small transfer uses only the first */
	t.obj = obj;
	t.op = op;
	t.buf = buf;
	t.len = len;
	t.offset = offset;
	t.chunk = transfer_chunk(obj->cow);
	t.submitted = 0;
	t.done = 0;
	t.head = 0;
	t.flight = 0;
	return transfer_run(&t);
}

ssize_t cow_pread(cow_object_t *obj, void *buf, size_t len, uint64_t offset)
{
	return transfer(obj, WIRE_OP_READ, buf, len, offset);
}

ssize_t cow_pwrite(cow_object_t *obj, const void *buf, size_t len, uint64_t offset)
{
	/* a write only reads it */
	return transfer(obj, WIRE_OP_WRITE, (void *)(uintptr_t)buf, len, offset);
}
