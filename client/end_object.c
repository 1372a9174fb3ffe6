/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects as ends of a copy. */
#include "client/end.h"

#include <inttypes.h>

#include "client/ctl.h"

static struct end_source *object_source(struct copy_source *src)
{
	return CONTAINER_OF(src, struct end_source, source);
}

static struct end_sink *object_sink(struct copy_sink *sink)
{
	return CONTAINER_OF(sink, struct end_sink, sink);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int object_shrank(const struct end_source *end, struct copy_error *error)
{
	return copy_fail(error, CTL_ERROR, end->name, "it became shorter while it was read");
}

/* Gets more extents when those at hand are used up.  At least one is then at hand. */
static int object_load_extents(struct end_source *end, struct copy_error *error)
{
	ssize_t n;

	if (end->next < end->next_ext)
		return 0;
	n = cow_get_extents(end->obj, end->base + end->pos, end->size - end->pos, end->ext,
			    END_EXTENTS);
	if (n < 0)
		return end_fail_cow(error, end->cow, (int)n, end->name);
	if (n == 0)
		return object_shrank(end, error);
	end->next = 0;
	end->next_ext = (size_t)n;
	return 0;
}

static int object_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct end_source *end = object_source(src);
	struct cow_extent *ext;

	if (end->pos == end->size)
		return 0;
	if (object_load_extents(end, error) < 0)
		return -1;
	ext = &end->ext[end->next];
	piece->offset = end->pos;
	piece->hole = ext->kind == COW_EXTENT_HOLE;
	piece->len = ext->len;
	if (!piece->hole && piece->len > piece->buf_len)
		piece->len = piece->buf_len;
	ext->len -= piece->len;
	if (ext->len == 0)
		end->next++;
	end->pos += piece->len;
	return 0;
}

static int object_fetch(struct copy_source *src, const struct copy_piece *piece,
			struct copy_error *error)
{
	struct end_source *end = object_source(src);
	ssize_t n = cow_pread(end->obj, piece->buf, piece->len, end->base + piece->offset);

	if (n < 0)
		return end_fail_cow(error, end->cow, (int)n, end->name);
	return (uint64_t)n == piece->len ? 0 : object_shrank(end, error);
}

int end_open_object_source(struct end_source *end, cow_t *cow, const char *name, unsigned int flags,
			   uint64_t offset, uint64_t len, struct copy_error *error)
{
	uint64_t size;
	int err;

	*end = (struct end_source){
	    .source = {.next = object_next, .fetch = object_fetch},
	    .kind = END_OBJECT,
	    .name = name,
	    .size_known = true,
	    .cow = cow,
	    .base = offset,
	    .fd = -1,
	};
	err = cow_open(cow, name, flags | COW_OPEN_READONLY, &end->obj);
	if (err < 0)
		return end_fail_cow(error, cow, err, name);
	size = cow_object_size(end->obj);
	size = offset < size ? size - offset : 0;
	end->size = len < size ? len : size;
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int object_write(struct end_sink *end, const uint8_t *buf, size_t len, uint64_t offset,
			struct copy_error *error)
{
	ssize_t n = cow_pwrite(end->obj, buf, len, end->base + offset);

	return n < 0 ? end_fail_cow(error, end->cow, (int)n, end->name) : 0;
}

/* Where nothing is put a fresh object has a hole. */
static int object_put_sparse(struct end_sink *end, const struct copy_piece *piece,
			     struct copy_error *error)
{
	size_t from = 0;
	size_t len;

	if (piece->hole)
		return 0;
	while ((len = copy_next_data(piece, &from)) > 0) {
		if (object_write(end, piece->buf + from, len, piece->offset + from, error) < 0)
			return -1;
		from += len;
	}
	return 0;
}

/* What is written to in place takes pieces of streams only: they have no holes. */
static int object_put(struct copy_sink *sink, const struct copy_piece *piece,
		      struct copy_error *error)
{
	struct end_sink *end = object_sink(sink);

	if (end->fresh)
		return object_put_sparse(end, piece, error);
	return object_write(end, piece->buf, (size_t)piece->len, piece->offset, error);
}

static void object_init_sink(struct end_sink *end, cow_t *cow, const char *name)
{
	*end = (struct end_sink){
	    .sink = {.put = object_put},
	    .kind = END_OBJECT,
	    .name = name,
	    .cow = cow,
	    .fd = -1,
	};
}

int end_open_object_sink(struct end_sink *end, cow_t *cow, const char *name, unsigned int flags,
			 uint64_t offset, struct copy_error *error)
{
	int err;

	object_init_sink(end, cow, name);
	end->base = offset;
	err = cow_open(cow, name, flags, &end->obj);
	return err < 0 ? end_fail_cow(error, cow, err, name) : 0;
}

/* Makes an existing object one hole of the size. */
static int object_empty(struct end_sink *end, uint64_t size)
{
	int err = cow_resize(end->obj, 0, COW_RESIZE_SHRINK);

	return err < 0 ? err : cow_resize(end->obj, size, 0);
}

int end_create_object_sink(struct end_sink *end, cow_t *cow, const char *name, unsigned int flags,
			   uint64_t size, bool force, struct copy_error *error)
{
	int err;

	object_init_sink(end, cow, name);
	end->fresh = true;
	err = cow_create(cow, name, size);
	end->created = err == 0;
	if (err == -COW_EEXIST && !force)
		return copy_fail(error, CTL_EXISTS, name,
				 "the name exists already (-f overwrites it)");
	if (err < 0 && err != -COW_EEXIST)
		return end_fail_cow(error, cow, err, name);
	err = cow_open(cow, name, flags, &end->obj);
	if (err == 0 && !end->created)
		err = object_empty(end, size);
	return err < 0 ? end_fail_cow(error, cow, err, name) : 0;
}
