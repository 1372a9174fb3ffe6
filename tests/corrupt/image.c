/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/corrupt/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/must.h"

const char *image_name(enum image_file file)
{
	return file == IMAGE_MAP ? "map" : "data";
}

static int image_open(const char *dir, enum image_file file, int flags)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, image_name(file));
	fd = open(path, flags | O_CLOEXEC, 0600);
	MUST(fd >= 0, "%s", path);
	return fd;
}

/* The end of the last page that is not all zeros. */
static size_t used_len(const uint8_t *bytes, size_t len)
{
	while (len >= IMAGE_PAGE && bytes[len - IMAGE_PAGE] == 0 &&
	       memcmp(bytes + len - IMAGE_PAGE, bytes + len - IMAGE_PAGE + 1, IMAGE_PAGE - 1) == 0)
		len -= IMAGE_PAGE;
	return len;
}

static void file_take(struct image_bytes *f, int fd)
{
	struct stat st;

	MUST(fstat(fd, &st) == 0, "the size");
	f->file_bytes = (uint64_t)st.st_size;
	f->bytes = malloc(f->file_bytes);
	MUST(f->bytes && pread(fd, f->bytes, f->file_bytes, 0) == st.st_size, "a file");
	f->len = used_len(f->bytes, f->file_bytes);
	f->bytes = realloc(f->bytes, f->len);
	MUST(f->bytes, "memory");
}

void image_take(struct image *image, const char *dir)
{
	for (int f = 0; f < IMAGE_NFILES; f++) {
		int fd = image_open(dir, (enum image_file)f, O_RDONLY);

		file_take(&image->files[f], fd);
		(void)close(fd);
	}
}

void image_copy(struct image *dst, const struct image *src)
{
	*dst = *src;
	for (int f = 0; f < IMAGE_NFILES; f++) {
		dst->files[f].bytes = malloc(src->files[f].len);
		MUST(dst->files[f].bytes, "memory");
		memcpy(dst->files[f].bytes, src->files[f].bytes, src->files[f].len);
	}
}

void image_fini(struct image *image)
{
	for (int f = 0; f < IMAGE_NFILES; f++)
		free(image->files[f].bytes);
	*image = (struct image){0};
}

void image_put(const struct image *image, const char *dir)
{
	for (int f = 0; f < IMAGE_NFILES; f++) {
		const struct image_bytes *from = &image->files[f];
		int fd = image_open(dir, (enum image_file)f, O_RDWR | O_CREAT | O_TRUNC);
		size_t len = from->len < from->file_bytes ? from->len : from->file_bytes;

		MUST(pwrite(fd, from->bytes, len, 0) == (ssize_t)len &&
			 ftruncate(fd, (off_t)from->file_bytes) == 0,
		     "%s/%s", dir, image_name((enum image_file)f));
		(void)close(fd);
	}
}
