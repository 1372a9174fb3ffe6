/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire.h: the frame of protocol version 1, as docs/protocol.md has it byte by byte.
 *
 * A frame is a header of 40 bytes, a body of body_len bytes (msg.h) and a payload of payload_len
 * bytes (the data of a read or a write).  Pure: bytes to structs and back, no socket; any thread.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

#define WIRE_VERSION 1u

#define WIRE_MAGIC_REQUEST 0x51574f43u /* "COWQ" */
#define WIRE_MAGIC_REPLY   0x52574f43u /* "COWR" */

#define WIRE_HEADER_BYTES    40u
#define WIRE_BODY_MAX	     65536u		 /* after the handshake */
#define WIRE_BODY_HELLO_MAX  4096u		 /* before it */
#define WIRE_PAYLOAD_MAX     33554432u		 /* 32 MiB: one read or write */
#define WIRE_INFLIGHT_MAX    128u		 /* requests of one connection without a reply */
#define WIRE_TEXT_MAX	     512u		 /* bytes of an error text */
#define WIRE_RANGES_MAX	     1024u		 /* of one READV, WRITEV or WRITE_ALL */
#define WIRE_OBJECT_SIZE_MAX (UINT64_C(1) << 50) /* 1 PiB */

/* Features, negotiated in HELLO: the reply has those that both sides have. */
#define WIRE_FEATURE_PAYLOAD_CRC UINT64_C(1) /* payload_crc is filled in and checked */

#define WIRE_FEATURES WIRE_FEATURE_PAYLOAD_CRC

/* X(name, number): operations.  Numbers are never reused. */
#define WIRE_OPS(X)        \
	X(HELLO, 1)        \
	X(PING, 2)         \
	X(CREATE, 3)       \
	X(OPEN, 4)         \
	X(CLOSE, 5)        \
	X(INFO, 6)         \
	X(LIST, 7)         \
	X(CLONE, 8)        \
	X(READ, 9)         \
	X(WRITE, 10)       \
	X(FSYNC, 11)       \
	X(RESIZE, 12)      \
	X(REMOVE, 13)      \
	X(EXTENTS, 14)     \
	X(STATFS, 15)      \
	X(SNAP, 16)        \
	X(VERSIONS, 17)    \
	X(CHILDREN, 18)    \
	X(RENAME, 19)      \
	X(RESET, 20)       \
	X(USAGE, 21)       \
	X(REAPING, 22)     \
	X(CHECK, 23)       \
	X(ZERO, 24)        \
	X(CLONE_RANGE, 25) \
	X(SET, 26)         \
	X(READV, 27)       \
	X(WRITEV, 28)      \
	X(FSYNC_IF, 29)    \
	X(DIFF, 30)        \
	X(TIE, 31)         \
	X(FSYNC_ALL, 32)   \
	X(CLONE_ALL, 33)   \
	X(UNSHARE, 34)     \
	X(WRITE_ALL, 35)   \
	X(VERIFY, 36)      \
	X(SERVER, 37)

enum wire_op {
#define X(name, num) WIRE_OP_##name = num,
	WIRE_OPS(X)
#undef X
#define X(name, num) +1
	    WIRE_OP_END = 1 WIRE_OPS(X)
#undef X
};

/*
 * A frame's header.  status is a class of common/err.h (0: success) in a reply and 0 in a request.
 * body_crc and payload_crc are CRC-32C; payload_crc is 0 unless WIRE_FEATURE_PAYLOAD_CRC was
 * negotiated.  header_crc covers the 36 bytes before it and exists only on the wire.
 */
struct wire_header {
	uint32_t magic;
	uint16_t op;
	uint16_t flags; /* none defined: 0 */
	uint64_t id;	/* chosen by the client, unique among its requests in flight */
	uint32_t status;
	uint32_t body_len;
	uint32_t payload_len;
	uint32_t body_crc;
	uint32_t payload_crc;
};

/* Writes the header and its CRC. */
void wire_header_encode(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *h);

/*
 * Reads a header and checks, in this order: the magic against "magic" (-ERR_FRAME_MAGIC), the CRC
 * (-ERR_FRAME_CRC), the lengths against the given maxima (-ERR_FRAME_LEN).  After a CRC or length
 * error *h is filled in all the same, so that an answer can name op and id; after -ERR_FRAME_MAGIC
 * it is not.  Op, flags and status are the caller's to judge.
 */
int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES], uint32_t magic, uint32_t body_max,
		       uint32_t payload_max, struct wire_header *h) MUST_CHECK;

/* "HELLO" and so on; NULL for a number that is no operation. */
const char *wire_op_name(uint32_t op);

#endif
