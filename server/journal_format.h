/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal_format.h: the header of a journal record as it is on disk, byte by byte.  All integers are
 * little-endian.  Owns nothing; used by the files of the journal and by their tests only.
 *
 *	header, body, zeros up to a whole block | data blocks
 *
 * The CRC-32C covers the header before it and the body; what it says of the data is the body's.
 */
#ifndef SERVER_JOURNAL_FORMAT_H
#define SERVER_JOURNAL_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/crc32c.h"

#define JOURNAL_MAGIC	UINT64_C(0x6c6e6a2d64776f63) /* "cowd-jnl" */
#define JOURNAL_VERSION 1u

struct disk_record {
	uint8_t magic[8];
	uint8_t version[4];
	uint8_t chain[4]; /* the CRC of the record before; of the first of a key 0 */
	uint8_t key[8];
	uint8_t seq[8];
	uint8_t durable_seq[8]; /* those up to here were known durable; less than seq */
	uint8_t nblks[8];	/* of the whole record */
	uint8_t body_len[4];
	uint8_t ndata[4];
	uint8_t zero[4];
	uint8_t crc[4];
};

static_assert(sizeof(struct disk_record) == 64, "layout");
static_assert(offsetof(struct disk_record, crc) == 60, "the CRC is last");

/* The CRC of a record whose body follows its header in memory. */
static inline uint32_t journal_record_crc(const uint8_t *record, uint32_t body_len)
{
	uint32_t crc = crc32c(0, record, offsetof(struct disk_record, crc));

	return crc32c(crc, record + sizeof(struct disk_record), body_len);
}

#endif
