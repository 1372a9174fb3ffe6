/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/check_extents.h"

#include <inttypes.h>

#include "common/annot.h"
#include "tests/lib/must.h"

static void check_extent(const struct cow_extent *e, uint64_t at, const struct model *model,
			 const struct model *older)
{
	MUST(e->offset == at && e->len > 0 && at + e->len <= model->size, "at %" PRIu64, at);
	MUST(e->kind != COW_EXTENT_HOLE || model_is_zero(model, at, e->len),
	     "data in a hole at %" PRIu64, at);
	MUST(e->kind != COW_EXTENT_SAME || model_is_same(model, older, at, e->len),
	     "a difference in what is the same at %" PRIu64, at);
}

void check_diff(cow_object_t *obj, const struct model *model, uint64_t older_id,
		const struct model *older)
{
	struct cow_extent ext[5];

	for (uint64_t at = 0; at < model->size;) {
		ssize_t n = cow_diff(obj, older_id, at, UINT64_MAX, ext, ARRAY_LEN(ext), NULL);

		MUST(n > 0, "%zd at %" PRIu64, n, at);
		for (ssize_t i = 0; i < n; at += ext[i++].len)
			check_extent(&ext[i], at, model, older);
	}
}

void check_seek(cow_object_t *obj, const struct model *model, uint64_t off)
{
	int64_t data = cow_seek_data(obj, off);
	int64_t hole = cow_seek_hole(obj, off);
	uint64_t size = model->size;

	if (off >= size) {
		MUST(data == -COW_ENOENT && hole == -COW_ENOENT, "beyond the end");
		return;
	}
	MUST(hole >= (int64_t)off && hole <= (int64_t)size, "the hole behind %" PRIu64, off);
	if (data == -COW_ENOENT)
		data = (int64_t)size;
	MUST(data >= (int64_t)off && data <= (int64_t)size, "the data behind %" PRIu64, off);
	MUST(model_is_zero(model, off, (uint64_t)data - off),
	     "data between %" PRIu64 " and %" PRId64, off, data);
	MUST(data == (int64_t)off || hole == (int64_t)off || size == off,
	     "at %" PRIu64 " there is neither data nor a hole", off);
}
