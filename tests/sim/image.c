/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/image.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/sim/oom.h"

struct image_blk *image_blk_new(const uint8_t *bytes)
{
	struct image_blk *blk = oom_calloc(1, sizeof(*blk));

	blk->refs = 1;
	if (bytes)
		memcpy(blk->bytes, bytes, BLK_BYTES);
	return blk;
}

struct image_blk *image_blk_get(struct image_blk *blk)
{
	if (blk)
		blk->refs++;
	return blk;
}

void image_blk_put(struct image_blk *blk)
{
	if (blk && --blk->refs == 0)
		free(blk);
}

void image_init(struct image *image, uint64_t nblks)
{
	image->nblks = nblks;
	image->blks = oom_calloc(nblks, sizeof(*image->blks));
}

void image_fini(struct image *image)
{
	for (uint64_t i = 0; i < image->nblks; i++)
		image_blk_put(image->blks[i]);
	free(image->blks);
	*image = (struct image){0};
}

void image_copy(struct image *dst, const struct image *src)
{
	image_init(dst, src->nblks);
	for (uint64_t i = 0; i < src->nblks; i++)
		dst->blks[i] = image_blk_get(src->blks[i]);
}

void image_read(const struct image *image, uint64_t blk, uint8_t *bytes)
{
	MUST(blk < image->nblks, "beyond the end of the device");
	if (image->blks[blk])
		memcpy(bytes, image->blks[blk]->bytes, BLK_BYTES);
	else
		memset(bytes, 0, BLK_BYTES);
}

void image_put(struct image *image, uint64_t blk, struct image_blk *from, uint32_t sectors)
{
	struct image_blk *old = image->blks[blk];
	struct image_blk *new;

	MUST(blk < image->nblks, "beyond the end of the device");
	if (sectors == IMAGE_ALL) {
		image->blks[blk] = image_blk_get(from);
		image_blk_put(old);
		return;
	}
	new = image_blk_new(old ? old->bytes : NULL);
	for (uint32_t s = 0; s < IMAGE_SECTORS; s++)
		if (sectors & (1u << s))
			memcpy(new->bytes + (size_t)s *IMAGE_SECTOR_BYTES,
			       from->bytes + (size_t)s * IMAGE_SECTOR_BYTES, IMAGE_SECTOR_BYTES);
	image->blks[blk] = new;
	image_blk_put(old);
}
