/* SPDX-License-Identifier: BSD-2-Clause */
#include "proto/wire.h"

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"

#define WIRE_CRC_OFFSET (WIRE_HEADER_BYTES - 4u)

#define X(name, num) _Static_assert((num) < WIRE_OP_END, "the numbers have no gap");
WIRE_OPS(X)
#undef X

void wire_header_encode(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *h)
{
	struct cursor c = cursor_over(out, WIRE_HEADER_BYTES);

	cursor_put_u32(&c, h->magic);
	cursor_put_u16(&c, h->op);
	cursor_put_u16(&c, h->flags);
	cursor_put_u64(&c, h->id);
	cursor_put_u32(&c, h->status);
	cursor_put_u32(&c, h->body_len);
	cursor_put_u32(&c, h->payload_len);
	cursor_put_u32(&c, h->body_crc);
	cursor_put_u32(&c, h->payload_crc);
	cursor_put_u32(&c, crc32c(0, out, WIRE_CRC_OFFSET));
}

int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES], uint32_t magic, uint32_t body_max,
		       uint32_t payload_max, struct wire_header *h)
{
	struct cursor c = cursor_over(in, WIRE_HEADER_BYTES);

	if (cursor_u32(&c) != magic)
		return -ERR_FRAME_MAGIC;
	h->magic = magic;
	h->op = cursor_u16(&c);
	h->flags = cursor_u16(&c);
	h->id = cursor_u64(&c);
	h->status = cursor_u32(&c);
	h->body_len = cursor_u32(&c);
	h->payload_len = cursor_u32(&c);
	h->body_crc = cursor_u32(&c);
	h->payload_crc = cursor_u32(&c);
	if (cursor_u32(&c) != crc32c(0, in, WIRE_CRC_OFFSET))
		return -ERR_FRAME_CRC;
	if (h->body_len > body_max || h->payload_len > payload_max)
		return -ERR_FRAME_LEN;
	return 0;
}

const char *wire_op_name(uint32_t op)
{
	switch (op) {
#define X(name, num)         \
	case WIRE_OP_##name: \
		return #name;
		WIRE_OPS(X)
#undef X
	default:
		return NULL;
	}
}
