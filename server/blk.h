/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blk.h: blocks, the unit of mapping, checksums and space.  Logical blocks (of an object) and
 * physical blocks (of the data device) are different types, so that neither passes for the other.
 */
#ifndef SERVER_BLK_H
#define SERVER_BLK_H

#include <stdint.h>

#define BLK_SHIFT 12
#define BLK_BYTES (1u << BLK_SHIFT)

/* Block number within an object. */
typedef struct {
	uint64_t n;
} lblk_t;

/* Block number on the data device.  Block 0 is the device's own header, so 0 is never mapped. */
typedef struct {
	uint64_t n;
} pblk_t;

/* The most blocks of an object (1 PiB). */
#define BLK_OBJECT_MAX (UINT64_C(1) << (50 - BLK_SHIFT))

static inline lblk_t lblk(uint64_t n)
{
	return (lblk_t){n};
}

static inline pblk_t pblk(uint64_t n)
{
	return (pblk_t){n};
}

/* The block that holds byte "off". */
static inline lblk_t blk_of(uint64_t off_bytes)
{
	return (lblk_t){off_bytes >> BLK_SHIFT};
}

/* The blocks that "len" bytes from a block's start need. */
static inline uint64_t blk_count(uint64_t len_bytes)
{
	return (len_bytes >> BLK_SHIFT) + ((len_bytes & (BLK_BYTES - 1)) != 0);
}

#endif
