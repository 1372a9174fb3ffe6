/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd.h: the NBD protocol on the wire, as doc/proto.md of the NBD project has it, with its extension of
 * extended headers: numbers, and bytes to structs and back.  docs/nbd.md says what of it is served.
 *
 * Everything is big-endian.  Encoders write into a caller's buffer and return the length, or -ERR_LIMIT
 * where it is too small.  Decoders of an option's data take exactly the data (anything left over is an
 * error); every length is bounded before it is used.  Texts that a decoder found are pointed to where they
 * lie.  Pure; any thread.
 */
#ifndef PROTO_NBD_H
#define PROTO_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

/* ---- the handshake --------------------------------------------------------------------------- */

#define NBD_MAGIC	   UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_MAGIC_OPTION   UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_MAGIC_OPTREPLY UINT64_C(0x0003e889045565a9)

#define NBD_GREETING_BYTES	18u
#define NBD_CLIENT_FLAGS_BYTES	4u
#define NBD_OPTION_BYTES	16u
#define NBD_OPTREPLY_BYTES	20u
#define NBD_EXPORT_REPLY_BYTES	10u
#define NBD_EXPORT_REPLY_ZEROES 124u
#define NBD_STRING_MAX		4096u /* of every string of the protocol */

/* Of the greeting, and of the answer to it. */
#define NBD_FLAG_FIXED_NEWSTYLE 1u
#define NBD_FLAG_NO_ZEROES	2u

/* X(name, number): options. */
#define NBD_OPTS(X)             \
	X(EXPORT_NAME, 1)       \
	X(ABORT, 2)             \
	X(LIST, 3)              \
	X(STARTTLS, 5)          \
	X(INFO, 6)              \
	X(GO, 7)                \
	X(STRUCTURED_REPLY, 8)  \
	X(LIST_META_CONTEXT, 9) \
	X(SET_META_CONTEXT, 10) \
	X(EXTENDED_HEADERS, 11)

enum nbd_opt {
#define X(name, num) NBD_OPT_##name = num,
	NBD_OPTS(X)
#undef X
};

#define NBD_REP_ACK	     1u
#define NBD_REP_SERVER	     2u
#define NBD_REP_INFO	     3u
#define NBD_REP_META_CONTEXT 4u

#define NBD_REP_ERR(n)		    (0x80000000u + (n))
#define NBD_REP_ERR_UNSUP	    NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY	    NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID	    NBD_REP_ERR(3)
#define NBD_REP_ERR_PLATFORM	    NBD_REP_ERR(4)
#define NBD_REP_ERR_TLS_REQD	    NBD_REP_ERR(5)
#define NBD_REP_ERR_UNKNOWN	    NBD_REP_ERR(6)
#define NBD_REP_ERR_SHUTDOWN	    NBD_REP_ERR(7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD NBD_REP_ERR(8)
#define NBD_REP_ERR_TOO_BIG	    NBD_REP_ERR(9)
#define NBD_REP_ERR_EXT_HEADER_REQD NBD_REP_ERR(10)

#define NBD_INFO_EXPORT	     0u
#define NBD_INFO_NAME	     1u
#define NBD_INFO_DESCRIPTION 2u
#define NBD_INFO_BLOCK_SIZE  3u

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS	      (1u << 0)
#define NBD_FLAG_READ_ONLY	      (1u << 1)
#define NBD_FLAG_SEND_FLUSH	      (1u << 2)
#define NBD_FLAG_SEND_FUA	      (1u << 3)
#define NBD_FLAG_SEND_TRIM	      (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES    (1u << 6)
#define NBD_FLAG_SEND_DF	      (1u << 7)
#define NBD_FLAG_SEND_RESIZE	      (1u << 9)
#define NBD_FLAG_CAN_MULTI_CONN	      (1u << 8)
#define NBD_FLAG_SEND_CACHE	      (1u << 10)
#define NBD_FLAG_SEND_FAST_ZERO	      (1u << 11)
#define NBD_FLAG_BLOCK_STATUS_PAYLOAD (1u << 12)

/* Bytes of a message, where they lie; no terminator. */
struct nbd_text {
	const char *p;
	uint32_t len;
};

struct nbd_option {
	uint32_t option;
	uint32_t len; /* of its data */
};

/* The data of INFO and GO. */
struct nbd_info_request {
	struct nbd_text name;
	uint32_t asked; /* bit n: information n; what is not known is left out */
};

/* The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
struct nbd_meta_request {
	struct nbd_text name;
	uint32_t nqueries;
	const uint8_t *queries; /* well-formed: to be read with nbd_meta_query() */
};

void nbd_greeting_encode(uint8_t out[NBD_GREETING_BYTES], uint16_t flags);
uint32_t nbd_client_flags_decode(const uint8_t in[NBD_CLIENT_FLAGS_BYTES]);

/* -ERR_FRAME_MAGIC. */
int nbd_option_decode(const uint8_t in[NBD_OPTION_BYTES], struct nbd_option *opt) MUST_CHECK;

/* The whole data of an option is a string: -ERR_FRAME_BODY where it is none. */
int nbd_name_decode(const uint8_t *buf, size_t len, struct nbd_text *name) MUST_CHECK;

/* -ERR_FRAME_BODY, also where an information is asked for twice. */
int nbd_info_request_decode(const uint8_t *buf, size_t len, struct nbd_info_request *m) MUST_CHECK;
int nbd_meta_request_decode(const uint8_t *buf, size_t len, struct nbd_meta_request *m) MUST_CHECK;

/* The query at *at, which goes on behind it. */
struct nbd_text nbd_meta_query(const uint8_t **at);

/* The head of a reply to an option; its data follows. */
void nbd_optreply_encode(uint8_t out[NBD_OPTREPLY_BYTES], uint32_t option, uint32_t type,
			 uint32_t len);

/* The data of replies; what is "text" has no terminator on the wire. */
int nbd_server_encode(uint8_t *buf, size_t len, const char *name, const char *text) MUST_CHECK;
int nbd_info_export_encode(uint8_t *buf, size_t len, uint64_t size, uint16_t flags) MUST_CHECK;
int nbd_info_text_encode(uint8_t *buf, size_t len, uint16_t info, const char *text) MUST_CHECK;
int nbd_info_block_size_encode(uint8_t *buf, size_t len, uint32_t min, uint32_t preferred,
			       uint32_t max) MUST_CHECK;
int nbd_meta_context_encode(uint8_t *buf, size_t len, uint32_t id, const char *name) MUST_CHECK;

/* The answer to EXPORT_NAME, with or without zeroes behind it. */
int nbd_export_reply_encode(uint8_t *buf, size_t len, uint64_t size, uint16_t flags,
			    bool zeroes) MUST_CHECK;

/* ---- transmission ---------------------------------------------------------------------------- */

#define NBD_MAGIC_REQUEST	   0x25609513u
#define NBD_MAGIC_SIMPLE_REPLY	   0x67446698u
#define NBD_MAGIC_STRUCTURED_REPLY 0x668e33efu
#define NBD_MAGIC_EXTENDED_REQUEST 0x21e41c71u
#define NBD_MAGIC_EXTENDED_REPLY   0x6e8a278cu

#define NBD_REQUEST_BYTES	   28u
#define NBD_EXTENDED_REQUEST_BYTES 32u
#define NBD_SIMPLE_REPLY_BYTES	   16u
#define NBD_STRUCTURED_REPLY_BYTES 20u
#define NBD_EXTENDED_REPLY_BYTES   32u
#define NBD_OFFSET_BYTES	   8u  /* before the data of OFFSET_DATA */
#define NBD_HOLE_BYTES		   12u /* of OFFSET_HOLE */
#define NBD_PAYLOAD_MAX		   33554432u

/* X(name, number): commands. */
#define NBD_CMDS(X)        \
	X(READ, 0)         \
	X(WRITE, 1)        \
	X(DISC, 2)         \
	X(FLUSH, 3)        \
	X(TRIM, 4)         \
	X(CACHE, 5)        \
	X(WRITE_ZEROES, 6) \
	X(BLOCK_STATUS, 7) \
	X(RESIZE, 8)

enum nbd_cmd_type {
#define X(name, num) NBD_CMD_##name = num,
	NBD_CMDS(X)
#undef X
#define X(name, num) +1
	    NBD_CMD_END = 0 NBD_CMDS(X)
#undef X
};

#define NBD_CMD_FLAG_FUA	 (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE	 (1u << 1)
#define NBD_CMD_FLAG_DF		 (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE	 (1u << 3)
#define NBD_CMD_FLAG_FAST_ZERO	 (1u << 4)
#define NBD_CMD_FLAG_PAYLOAD_LEN (1u << 5)

#define NBD_REPLY_FLAG_DONE 1u

#define NBD_REPLY_TYPE_NONE		0u
#define NBD_REPLY_TYPE_OFFSET_DATA	1u
#define NBD_REPLY_TYPE_OFFSET_HOLE	2u
#define NBD_REPLY_TYPE_BLOCK_STATUS	5u
#define NBD_REPLY_TYPE_BLOCK_STATUS_EXT 6u
#define NBD_REPLY_TYPE_ERROR		0x8001u

#define NBD_STATE_HOLE	 1u /* of base:allocation */
#define NBD_STATE_ZERO	 2u
#define NBD_STATE_DIRTY	 1u /* of qemu:dirty-bitmap:... */
#define NBD_STATE_SHARED 1u /* of cowd:shared */

/* Error numbers. */
#define NBD_EPERM     1u
#define NBD_EIO	      5u
#define NBD_ENOMEM    12u
#define NBD_EINVAL    22u
#define NBD_ENOSPC    28u
#define NBD_EOVERFLOW 75u
#define NBD_ENOTSUP   95u
#define NBD_ESHUTDOWN 108u

struct nbd_request {
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint64_t len;
};

/* A simple reply, or the head of a chunk. */
struct nbd_chunk {
	bool extended; /* with extended headers */
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset; /* of the request; with extended headers only */
	uint32_t len;	 /* of its payload */
};

/* The payload of a BLOCK_STATUS with extended headers: which contexts are asked for. */
#define NBD_CONTEXTS_MAX 16u

struct nbd_status_filter {
	uint64_t len; /* of the range, in place of the header's */
	uint32_t n;
	uint32_t ids[NBD_CONTEXTS_MAX];
};

#define NBD_STATUS_FILTER_BYTES_MAX (8u + 4u * NBD_CONTEXTS_MAX)

/* Of both kinds; "in" has as many bytes as requests of it have.  -ERR_FRAME_MAGIC. */
int nbd_request_decode(const uint8_t *in, bool extended, struct nbd_request *m) MUST_CHECK;

void nbd_simple_reply_encode(uint8_t out[NBD_SIMPLE_REPLY_BYTES], uint32_t error, uint64_t cookie);

/* Writes 20 or 32 bytes, and returns how many. */
size_t nbd_chunk_encode(uint8_t out[NBD_EXTENDED_REPLY_BYTES], const struct nbd_chunk *m);

/* The payloads of chunks: of OFFSET_DATA what comes before the data. */
int nbd_offset_encode(uint8_t *buf, size_t len, uint64_t offset) MUST_CHECK;
int nbd_hole_encode(uint8_t *buf, size_t len, uint64_t offset, uint32_t bytes) MUST_CHECK;
int nbd_error_encode(uint8_t *buf, size_t len, uint32_t error, const char *text) MUST_CHECK;

/* A chunk of BLOCK_STATUS, or of BLOCK_STATUS_EXT where it is extended. */
struct nbd_extent {
	uint64_t len;
	uint32_t flags;
};

size_t nbd_status_bytes(bool extended, uint32_t n);
int nbd_status_encode(uint8_t *buf, size_t len, bool extended, uint32_t id,
		      const struct nbd_extent *extents, uint32_t n) MUST_CHECK;

/* -ERR_FRAME_BODY: no such payload, one with no context, or one that names a context twice. */
int nbd_status_filter_decode(const uint8_t *buf, size_t len,
			     struct nbd_status_filter *m) MUST_CHECK;

/* The error number that a client gets for one of ours, negative or positive; 0 for 0. */
uint32_t nbd_errno(int err);

/* The same of replies to options. */
uint32_t nbd_rep_err(int err);

/* "READ" and so on; NULL for a number that is none. */
const char *nbd_cmd_name(uint32_t cmd);
const char *nbd_opt_name(uint32_t option);

#endif
