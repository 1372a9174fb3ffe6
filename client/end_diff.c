/* SPDX-License-Identifier: BSD-2-Clause */
/* What an object has that another one has not, as a source of a copy. */
#include "client/end.h"

#include "client/ctl.h"

static struct end_source *diff_source(struct copy_source *src)
{
	return CONTAINER_OF(src, struct end_source, source);
}

/* Gets more extents when those at hand are used up; none is at hand only at the object's end. */
static int diff_load(struct end_source *end, struct copy_error *error)
{
	struct cow_diff diff;
	ssize_t n;

	if (end->next < end->next_ext)
		return 0;
	n = cow_diff(end->obj, end->older, end->pos, UINT64_MAX, end->ext, END_EXTENTS, &diff);
	if (n < 0)
		return end_fail_cow(error, end->cow, (int)n, end->name);
	if (n == 0 && end->pos < end->size)
		return copy_fail(error, CTL_ERROR, end->name,
				 "it became shorter while it was read");
	end->next = 0;
	end->next_ext = (size_t)n;
	end->nodes += diff.nodes;
	return 0;
}

static int diff_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct end_source *end = diff_source(src);
	struct cow_extent *ext;

	do {
		piece->len = 0; /* of what is the same */
		if (end->pos >= end->size)
			return 0;
		if (diff_load(end, error) < 0)
			return -1;
		if (end->next == end->next_ext)
			return 0;
		ext = &end->ext[end->next];
		piece->offset = end->pos;
		piece->hole = ext->kind == COW_EXTENT_HOLE;
		piece->len = ext->len;
		if (ext->kind == COW_EXTENT_DATA && piece->len > piece->buf_len)
			piece->len = piece->buf_len;
		end->pos += piece->len;
		ext->len -= piece->len;
		if (ext->len == 0)
			end->next++;
	} while (ext->kind == COW_EXTENT_SAME);
	return 0;
}

int end_open_diff_source(struct end_source *end, cow_t *cow, const char *name, uint64_t older,
			 uint64_t offset, struct copy_error *error)
{
	if (end_open_object_source(end, cow, name, 0, 0, UINT64_MAX, error) < 0)
		return -1;
	end->source.next = diff_next;
	end->older = older;
	end->pos = offset;
	return 0;
}
