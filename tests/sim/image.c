/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/image.h"

#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "tests/lib/must.h"
#include "tests/sim/oom.h"

#define PIECE_BLKS 64u
#define SLAB_BLKS  64u

/* The blocks of a piece of the device; never changed while there are two references. */
struct image_piece {
	uint32_t refs;
	struct image_blk *blks[PIECE_BLKS];
};

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct image_blk *unused;

/* Headers and bytes apart, so that a reference is not a line of memory for each block. */
static void blks_make(void)
{
	struct image_blk *blks = oom_calloc(SLAB_BLKS, sizeof(*blks));
	uint8_t *bytes = oom_calloc(SLAB_BLKS, BLK_BYTES);

	for (unsigned int i = 0; i < SLAB_BLKS; i++) {
		blks[i].bytes = bytes + (size_t)i * BLK_BYTES;
		blks[i].next = unused;
		unused = &blks[i];
	}
}

struct image_blk *image_blk_new(const uint8_t *bytes)
{
	struct image_blk *blk;

	if (!unused)
		blks_make();
	blk = unused;
	unused = blk->next;
	blk->refs = 1;
	blk->summed = false;
	if (bytes)
		memcpy(blk->bytes, bytes, BLK_BYTES);
	else
		memset(blk->bytes, 0, BLK_BYTES);
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
	if (!blk || --blk->refs > 0)
		return;
	blk->next = unused;
	unused = blk;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void piece_put(struct image_piece *piece)
{
	if (!piece || --piece->refs > 0)
		return;
	for (unsigned int i = 0; i < PIECE_BLKS; i++)
		image_blk_put(piece->blks[i]);
	free(piece);
}

/* The piece that a block is in, which is the image's own from now on. */
static struct image_piece *piece_own(struct image *image, uint64_t blk)
{
	struct image_piece **at = &image->pieces[blk / PIECE_BLKS];
	struct image_piece *old = *at;

	if (old && old->refs == 1)
		return old;
	*at = oom_calloc(1, sizeof(**at));
	(*at)->refs = 1;
	for (unsigned int i = 0; old && i < PIECE_BLKS; i++)
		(*at)->blks[i] = image_blk_get(old->blks[i]);
	piece_put(old);
	return *at;
}

/* ---- images ---------------------------------------------------------------------------------- */

static uint64_t image_npieces(const struct image *image)
{
	return (image->nblks + PIECE_BLKS - 1) / PIECE_BLKS;
}

void image_init(struct image *image, uint64_t nblks)
{
	image->nblks = nblks;
	image->pieces = oom_calloc(image_npieces(image), sizeof(struct image_piece *));
}

void image_fini(struct image *image)
{
	for (uint64_t p = 0; p < image_npieces(image); p++)
		piece_put(image->pieces[p]);
	free(image->pieces);
	*image = (struct image){0};
}

void image_copy(struct image *dst, const struct image *src)
{
	image_init(dst, src->nblks);
	for (uint64_t p = 0; p < image_npieces(src); p++) {
		dst->pieces[p] = src->pieces[p];
		if (dst->pieces[p])
			dst->pieces[p]->refs++;
	}
}

struct image_blk *image_at(const struct image *image, uint64_t blk)
{
	const struct image_piece *piece;

	MUST(blk < image->nblks, "beyond the end of the device");
	piece = image->pieces[blk / PIECE_BLKS];
	return piece ? piece->blks[blk % PIECE_BLKS] : NULL;
}

void image_read(const struct image *image, uint64_t blk, uint8_t *bytes)
{
	const struct image_blk *b = image_at(image, blk);

	if (b)
		memcpy(bytes, b->bytes, BLK_BYTES);
	else
		memset(bytes, 0, BLK_BYTES);
}

uint32_t image_zeros_csum(void)
{
	static const uint8_t zeros[BLK_BYTES];
	static uint32_t csum;

	if (csum == 0)
		csum = crc32c(0, zeros, BLK_BYTES);
	return csum;
}

uint32_t image_csum(const struct image *image, uint64_t blk)
{
	struct image_blk *b = image_at(image, blk);

	if (!b)
		return image_zeros_csum();
	if (!b->summed)
		b->csum = crc32c(0, b->bytes, BLK_BYTES);
	b->summed = true;
	return b->csum;
}

void image_set(struct image *image, uint64_t blk, struct image_blk *to)
{
	struct image_blk *old = image_at(image, blk);

	if (old == to)
		return;
	piece_own(image, blk)->blks[blk % PIECE_BLKS] = image_blk_get(to);
	image_blk_put(old);
}

void image_put(struct image *image, uint64_t blk, struct image_blk *from, uint32_t sectors)
{
	const struct image_blk *old = image_at(image, blk);
	struct image_blk *new;

	if (sectors == IMAGE_ALL) {
		image_set(image, blk, from);
		return;
	}
	new = image_blk_new(old ? old->bytes : NULL);
	for (uint32_t s = 0; s < IMAGE_SECTORS; s++)
		if (sectors & (1u << s))
			memcpy(new->bytes + (size_t)s *IMAGE_SECTOR_BYTES,
			       from->bytes + (size_t)s * IMAGE_SECTOR_BYTES, IMAGE_SECTOR_BYTES);
	image_set(image, blk, new);
	image_blk_put(new);
}

uint64_t image_end(const struct image *image)
{
	uint64_t p = image_npieces(image);
	unsigned int i = PIECE_BLKS;

	while (p > 0 && !image->pieces[p - 1])
		p--;
	while (p > 0 && i > 0 && !image->pieces[p - 1]->blks[i - 1])
		i--;
	return p > 0 ? (p - 1) * PIECE_BLKS + i : 0;
}
