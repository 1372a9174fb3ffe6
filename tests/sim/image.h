/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image.h: what is on a device, as blocks that many images share: a copy costs an array of pointers.
 * One thread at a time.
 */
#ifndef TESTS_SIM_IMAGE_H
#define TESTS_SIM_IMAGE_H

#include <stdint.h>

#include "server/blk.h"

#define IMAGE_SECTOR_BYTES 512u
#define IMAGE_SECTORS	   (BLK_BYTES / IMAGE_SECTOR_BYTES)
#define IMAGE_ALL	   UINT32_C(0xff) /* the sectors of a block */

/* With references; never changed while there are two. */
struct image_blk {
	uint32_t refs;
	uint8_t bytes[BLK_BYTES];
};

struct image {
	uint64_t nblks;
	struct image_blk **blks; /* NULL: zeros */
};

struct image_blk *image_blk_new(const uint8_t *bytes);
struct image_blk *image_blk_get(struct image_blk *blk);
void image_blk_put(struct image_blk *blk);

void image_init(struct image *image, uint64_t nblks);
void image_fini(struct image *image);

/* dst was not initialized. */
void image_copy(struct image *dst, const struct image *src);

void image_read(const struct image *image, uint64_t blk, uint8_t *bytes);

/* These sectors (bits) of a block become those of "from". */
void image_put(struct image *image, uint64_t blk, struct image_blk *from, uint32_t sectors);

#endif
