/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image.h: the two files of a small store, in memory: made by the engine, put on a file system in memory
 * for each case.  Owns its bytes.  One thread.
 */
#ifndef TESTS_CORRUPT_IMAGE_H
#define TESTS_CORRUPT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_PAGE 4096u

enum image_file { IMAGE_MAP, IMAGE_DATA, IMAGE_NFILES };

struct image_bytes {
	uint8_t *bytes;
	size_t len;	     /* without the zeros at its end, in whole pages */
	uint64_t file_bytes; /* as the file system has it */
};

struct image {
	struct image_bytes files[IMAGE_NFILES];
};

const char *image_name(enum image_file file);

/* Of the store in dir, which nobody uses. */
void image_take(struct image *image, const char *dir);
void image_copy(struct image *dst, const struct image *src);
void image_fini(struct image *image);

/* Makes the files of dir what they are here. */
void image_put(const struct image *image, const char *dir);

#endif
