/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image.h: what is on a device, as blocks that many images share, and pieces of such blocks that they
 * share, too: a copy costs a few pointers.  One thread at a time.
 */
#ifndef TESTS_SIM_IMAGE_H
#define TESTS_SIM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/blk.h"

#define IMAGE_SECTOR_BYTES 512u
#define IMAGE_SECTORS	   (BLK_BYTES / IMAGE_SECTOR_BYTES)
#define IMAGE_ALL	   UINT32_C(0xff) /* the sectors of a block */

/* With references; its bytes never change. */
struct image_blk {
	uint32_t refs;
	uint32_t csum; /* once it has been asked for */
	bool summed;
	uint8_t *bytes;
	struct image_blk *next; /* where it is not in use */
};

struct image_piece;

struct image {
	uint64_t nblks;
	struct image_piece **pieces; /* NULL: zeros */
};

/* NULL: zeros. */
struct image_blk *image_blk_new(const uint8_t *bytes);
struct image_blk *image_blk_get(struct image_blk *blk);
void image_blk_put(struct image_blk *blk);

void image_init(struct image *image, uint64_t nblks);
void image_fini(struct image *image);

/* dst was not initialized. */
void image_copy(struct image *dst, const struct image *src);

void image_read(const struct image *image, uint64_t blk, uint8_t *bytes);

/* NULL: zeros. */
struct image_blk *image_at(const struct image *image, uint64_t blk);

/* The CRC-32C of a block. */
uint32_t image_csum(const struct image *image, uint64_t blk);
uint32_t image_zeros_csum(void);

/* These sectors (bits) of a block become those of "from". */
void image_put(struct image *image, uint64_t blk, struct image_blk *from, uint32_t sectors);

/* A block becomes that one, or zeros (NULL). */
void image_set(struct image *image, uint64_t blk, struct image_blk *to);

/* One past the last block that is not known to be zeros. */
uint64_t image_end(const struct image *image);

#endif
