/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diffstream.h: the records of a difference stream (docs/diff-stream.md): structs to bytes and back, the
 * checksums, and the rules of what may follow what.  Pure; a struct diffstream belongs to one thread at a
 * time.
 *
 *	begun --HEAD--> open --DATA, ZERO, in ascending order--> open --END--> ended
 *
 * Each checksum covers all bytes of the stream before it but for the other checksums: so a record fits
 * only behind those that it was written behind.
 */
#ifndef CLIENT_DIFFSTREAM_H
#define CLIENT_DIFFSTREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/name.h"

#define DIFFSTREAM_MAGIC	"cowdiff1"
#define DIFFSTREAM_MAGIC_BYTES	8u
#define DIFFSTREAM_RECORD_BYTES 28u /* with its checksum */
#define DIFFSTREAM_CRC_BYTES	4u  /* behind a payload */
#define DIFFSTREAM_DATA_MAX	(1u << 20)
#define DIFFSTREAM_HEAD_MAX	512u
#define DIFFSTREAM_END_BYTES	24u
#define DIFFSTREAM_ID_BYTES	64u

enum diffstream_type {
	DIFFSTREAM_HEAD = 1,
	DIFFSTREAM_DATA = 2,
	DIFFSTREAM_ZERO = 3,
	DIFFSTREAM_END = 4,
};

/* The payload of the first record. */
struct diffstream_head {
	uint64_t size;			   /* of the object at the end */
	uint64_t begin;			   /* nothing before it is in the stream */
	char from_id[DIFFSTREAM_ID_BYTES]; /* "": from nothing */
	char to_id[DIFFSTREAM_ID_BYTES];
	char from[NAME_VERSION_MAX + 1]; /* names of versions; "": none */
	char to[NAME_VERSION_MAX + 1];
	char object[NAME_OBJECT_MAX + 1]; /* for people */
};

struct diffstream_record {
	enum diffstream_type type;
	uint32_t payload_len;
	uint64_t offset;
	uint64_t len;
};

/* What has been written or read so far; diffstream_begin() starts it. */
struct diffstream {
	uint32_t crc;
	enum diffstream_type last; /* 0: none yet */
	uint64_t records;
	uint64_t data_bytes;
	uint64_t zero_bytes;
	uint64_t next; /* where the next DATA or ZERO may begin */
	uint64_t size;
};

void diffstream_begin(struct diffstream *ds);

/* ---- writing --------------------------------------------------------------------------------- */

/* A record without its payload. */
void diffstream_put(struct diffstream *ds, const struct diffstream_record *rec,
		    uint8_t out[DIFFSTREAM_RECORD_BYTES]);

/* The checksum behind a payload. */
void diffstream_put_crc(struct diffstream *ds, const void *payload, size_t len,
			uint8_t out[DIFFSTREAM_CRC_BYTES]);

/* The payloads of HEAD and END; the length of the first. */
size_t diffstream_put_head(const struct diffstream_head *head, uint8_t out[DIFFSTREAM_HEAD_MAX]);
void diffstream_put_end(const struct diffstream *ds, uint8_t out[DIFFSTREAM_END_BYTES]);

/* ---- reading --------------------------------------------------------------------------------- */

/* These return NULL, or what is wrong, as the end of a sentence about the stream; outputs only then. */
const char *diffstream_get(struct diffstream *ds, const uint8_t in[DIFFSTREAM_RECORD_BYTES],
			   struct diffstream_record *rec) MUST_CHECK;
const char *diffstream_get_crc(struct diffstream *ds, const void *payload, size_t len,
			       const uint8_t in[DIFFSTREAM_CRC_BYTES]) MUST_CHECK;
const char *diffstream_get_head(struct diffstream *ds, const uint8_t *payload, size_t len,
				struct diffstream_head *head) MUST_CHECK;
const char *diffstream_get_end(const struct diffstream *ds,
			       const uint8_t payload[DIFFSTREAM_END_BYTES]) MUST_CHECK;

#endif
