/* SPDX-License-Identifier: BSD-2-Clause */
/* msg_data.c: the bodies of operations on open objects. */
#include "proto/msg.h"

#include "common/cursor.h"
#include "common/err.h"
#include "proto/msg_priv.h"

static void msg_read_put(struct cursor *c, const struct msg_read *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->offset);
	cursor_put_u32(c, m->len);
}

static void msg_read_get(struct cursor *c, struct msg_read *m)
{
	m->handle = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_IO_DIRECT);
	m->offset = cursor_u64(c);
	m->len = cursor_u32(c);
	if (m->len > WIRE_PAYLOAD_MAX)
		c->bad = true;
}

static void msg_write_put(struct cursor *c, const struct msg_write *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->offset);
}

static void msg_write_get(struct cursor *c, struct msg_write *m)
{
	m->handle = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_IO_DIRECT);
	m->offset = cursor_u64(c);
}

/* ---- several ranges -------------------------------------------------------------------------- */

static void msg_put_ranges(struct cursor *c, const struct msg_range *ranges, uint32_t count)
{
	cursor_put_u32(c, count);
	if (count == 0 || count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < count && !c->bad; i++) {
		cursor_put_u64(c, ranges[i].offset);
		cursor_put_u32(c, ranges[i].len);
	}
}

/* Not more bytes than a payload has. */
static uint32_t msg_get_ranges(struct cursor *c, struct msg_range *ranges)
{
	uint32_t count = cursor_u32(c);
	uint64_t sum = 0;

	if (count == 0 || count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < count && !c->bad; i++) {
		ranges[i].offset = cursor_u64(c);
		ranges[i].len = cursor_u32(c);
		sum += ranges[i].len;
		if (sum > WIRE_PAYLOAD_MAX)
			c->bad = true;
	}
	return count;
}

static void msg_readv_put(struct cursor *c, const struct msg_readv *m)
{
	cursor_put_u32(c, m->handle);
	msg_put_ranges(c, m->ranges, m->count);
}

static void msg_readv_get(struct cursor *c, struct msg_readv *m)
{
	m->handle = cursor_u32(c);
	m->count = msg_get_ranges(c, m->ranges);
}

static void msg_readv_reply_put(struct cursor *c, const struct msg_readv_reply *m)
{
	cursor_put_u32(c, m->count);
	if (m->count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++)
		cursor_put_u32(c, m->lens[i]);
}

static void msg_readv_reply_get(struct cursor *c, struct msg_readv_reply *m)
{
	m->count = cursor_u32(c);
	if (m->count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++)
		m->lens[i] = cursor_u32(c);
}

static void msg_writev_put(struct cursor *c, const struct msg_writev *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->generation);
	msg_put_ranges(c, m->ranges, m->count);
}

/* A generation without its flag means nothing: it is refused, as a flag that is not known. */
void msg_get_condition(struct cursor *c, uint32_t *flags, uint64_t *generation)
{
	*flags = msg_get_flags(c, MSG_IF_GENERATION);
	*generation = cursor_u64(c);
	if (*flags == 0 && *generation != 0)
		c->bad = true;
}

static void msg_writev_get(struct cursor *c, struct msg_writev *m)
{
	m->handle = cursor_u32(c);
	msg_get_condition(c, &m->flags, &m->generation);
	m->count = msg_get_ranges(c, m->ranges);
}

static void msg_fsync_if_put(struct cursor *c, const struct msg_fsync_if *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->generation);
}

static void msg_fsync_if_get(struct cursor *c, struct msg_fsync_if *m)
{
	m->handle = cursor_u32(c);
	msg_get_condition(c, &m->flags, &m->generation);
}

static void msg_generation_put(struct cursor *c, const struct msg_generation *m)
{
	cursor_put_u64(c, m->generation);
}

static void msg_generation_get(struct cursor *c, struct msg_generation *m)
{
	m->generation = cursor_u64(c);
}

/* ---- sizes and extents ----------------------------------------------------------------------- */

static void msg_resize_put(struct cursor *c, const struct msg_resize *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->size_bytes);
}

static void msg_resize_get(struct cursor *c, struct msg_resize *m)
{
	m->handle = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_RESIZE_SHRINK);
	m->size_bytes = cursor_u64(c);
}

static void msg_zero_put(struct cursor *c, const struct msg_zero *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
}

static void msg_zero_get(struct cursor *c, struct msg_zero *m)
{
	m->handle = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_ZERO_WHOLE);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
}

static void msg_clone_range_put(struct cursor *c, const struct msg_clone_range *m)
{
	cursor_put_u32(c, m->src);
	cursor_put_u32(c, m->dst);
	cursor_put_u64(c, m->src_offset);
	cursor_put_u64(c, m->dst_offset);
	cursor_put_u64(c, m->len);
}

static void msg_clone_range_get(struct cursor *c, struct msg_clone_range *m)
{
	m->src = cursor_u32(c);
	m->dst = cursor_u32(c);
	m->src_offset = cursor_u64(c);
	m->dst_offset = cursor_u64(c);
	m->len = cursor_u64(c);
}

static void msg_clone_range_reply_put(struct cursor *c, const struct msg_clone_range_reply *m)
{
	cursor_put_u64(c, m->len);
	cursor_put_u64(c, m->left);
}

static void msg_clone_range_reply_get(struct cursor *c, struct msg_clone_range_reply *m)
{
	m->len = cursor_u64(c);
	m->left = cursor_u64(c);
}

static void msg_unshare_put(struct cursor *c, const struct msg_unshare *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
}

static void msg_unshare_get(struct cursor *c, struct msg_unshare *m)
{
	m->handle = cursor_u32(c);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
}

static void msg_unshare_reply_put(struct cursor *c, const struct msg_unshare_reply *m)
{
	cursor_put_u64(c, m->len);
	cursor_put_u64(c, m->left);
	cursor_put_u64(c, m->copied);
}

static void msg_unshare_reply_get(struct cursor *c, struct msg_unshare_reply *m)
{
	m->len = cursor_u64(c);
	m->left = cursor_u64(c);
	m->copied = cursor_u64(c);
}

static void msg_extents_put(struct cursor *c, const struct msg_extents *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
	cursor_put_u32(c, m->max);
}

static void msg_extents_get(struct cursor *c, struct msg_extents *m)
{
	m->handle = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_EXTENTS_DETAILS);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
	m->max = cursor_u32(c);
}

static void msg_diff_put(struct cursor *c, const struct msg_diff *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u64(c, m->older);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
	cursor_put_u32(c, m->max);
}

static void msg_diff_get(struct cursor *c, struct msg_diff *m)
{
	m->handle = cursor_u32(c);
	m->older = cursor_u64(c);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
	m->max = cursor_u32(c);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void msg_verify_put(struct cursor *c, const struct msg_verify *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u32(c, m->max);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
	cursor_put_u64(c, m->older);
	cursor_put_u64(c, m->rate);
}

static void msg_verify_get(struct cursor *c, struct msg_verify *m)
{
	m->handle = cursor_u32(c);
	m->max = cursor_u32(c);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
	m->older = cursor_u64(c);
	m->rate = cursor_u64(c);
	if (m->rate > 0 && m->rate < MSG_VERIFY_RATE_MIN)
		c->bad = true;
}

static void msg_verify_reply_put(struct cursor *c, const struct msg_verify_reply *m)
{
	cursor_put_u64(c, m->len);
	cursor_put_u64(c, m->left);
	cursor_put_u64(c, m->read);
	cursor_put_u64(c, m->pending);
	cursor_put_u32(c, m->count);
	if (m->count > MSG_VERIFY_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++) {
		cursor_put_u64(c, m->damages[i].offset);
		cursor_put_u64(c, m->damages[i].len);
		cursor_put_u64(c, m->damages[i].physical);
		cursor_put_u32(c, m->damages[i].kind);
	}
}

static void msg_damage_get(struct cursor *c, struct msg_damage *m)
{
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
	m->physical = cursor_u64(c);
	m->kind = cursor_u32(c);
	if (m->len == 0 || m->kind < MSG_DAMAGE_CHECKSUM || m->kind > MSG_DAMAGE_METADATA)
		c->bad = true;
}

static void msg_verify_reply_get(struct cursor *c, struct msg_verify_reply *m)
{
	m->len = cursor_u64(c);
	m->left = cursor_u64(c);
	m->read = cursor_u64(c);
	m->pending = cursor_u64(c);
	m->count = cursor_u32(c);
	if (m->count > MSG_VERIFY_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++)
		msg_damage_get(c, &m->damages[i]);
}

MSG_DEFINE(msg_read)
MSG_DEFINE(msg_write)
MSG_DEFINE(msg_readv)
MSG_DEFINE(msg_readv_reply)
MSG_DEFINE(msg_writev)
MSG_DEFINE(msg_fsync_if)
MSG_DEFINE(msg_generation)
MSG_DEFINE(msg_resize)
MSG_DEFINE(msg_zero)
MSG_DEFINE(msg_clone_range)
MSG_DEFINE(msg_clone_range_reply)
MSG_DEFINE(msg_verify)
MSG_DEFINE(msg_verify_reply)
MSG_DEFINE(msg_unshare)
MSG_DEFINE(msg_unshare_reply)
MSG_DEFINE(msg_extents)
MSG_DEFINE(msg_diff)

int msg_extents_reply_encode(uint8_t *buf, size_t len, const struct msg_extent *ext, uint32_t count)
{
	struct cursor c = cursor_over(buf, len);

	cursor_put_u32(&c, count);
	for (uint32_t i = 0; i < count && !c.bad; i++) {
		cursor_put_u64(&c, ext[i].len);
		cursor_put_u64(&c, ext[i].physical);
		cursor_put_u16(&c, ext[i].kind);
		cursor_put_u16(&c, ext[i].flags);
	}
	return c.bad || count > MSG_EXTENTS_MAX ? -ERR_LIMIT : (int)c.pos;
}

static struct msg_extent msg_extent_get(struct cursor *c)
{
	struct msg_extent ext;

	ext.len = cursor_u64(c);
	ext.physical = cursor_u64(c);
	ext.kind = cursor_u16(c);
	ext.flags = cursor_u16(c);
	return ext;
}

static bool msg_extents_are_known(struct cursor c, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct msg_extent ext = msg_extent_get(&c);

		if (ext.kind > MSG_EXTENT_ZERO || ext.flags > MSG_EXTENT_DIRTY)
			return false;
	}
	return true;
}

int msg_extents_reply_decode(const uint8_t *buf, size_t len, struct msg_extent *ext, uint32_t max,
			     uint32_t *count)
{
	struct cursor c = cursor_over(buf, len);
	uint32_t n = cursor_u32(&c);

	if (c.bad || n > max || n > MSG_EXTENTS_MAX)
		return -ERR_FRAME_BODY;
	if (cursor_left(&c) != (size_t)n * MSG_EXTENT_BYTES || !msg_extents_are_known(c, n))
		return -ERR_FRAME_BODY;
	for (uint32_t i = 0; i < n; i++)
		ext[i] = msg_extent_get(&c);
	*count = n;
	return 0;
}

int msg_diff_reply_encode(uint8_t *buf, size_t len, const struct msg_diff_reply *m,
			  const struct msg_diff_run *runs)
{
	struct cursor c = cursor_over(buf, len);

	cursor_put_u32(&c, m->count);
	cursor_put_u32(&c, m->nodes);
	cursor_put_u64(&c, m->size_bytes);
	cursor_put_u64(&c, m->older_bytes);
	for (uint32_t i = 0; i < m->count && !c.bad; i++) {
		cursor_put_u64(&c, runs[i].len);
		cursor_put_u32(&c, runs[i].kind);
	}
	return c.bad || m->count > MSG_DIFF_MAX ? -ERR_LIMIT : (int)c.pos;
}

static bool msg_diff_kind_is_known(uint32_t kind)
{
	return kind == MSG_DIFF_HOLE || kind == MSG_DIFF_DATA || kind == MSG_DIFF_SAME;
}

static bool msg_diff_runs_are_known(struct cursor c, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		(void)cursor_u64(&c);
		if (!msg_diff_kind_is_known(cursor_u32(&c)))
			return false;
	}
	return true;
}

int msg_diff_reply_decode(const uint8_t *buf, size_t len, struct msg_diff_reply *m,
			  struct msg_diff_run *runs, uint32_t max)
{
	struct cursor c = cursor_over(buf, len);
	struct msg_diff_reply head;

	head.count = cursor_u32(&c);
	head.nodes = cursor_u32(&c);
	head.size_bytes = cursor_u64(&c);
	head.older_bytes = cursor_u64(&c);
	if (c.bad || head.count > max || head.count > MSG_DIFF_MAX)
		return -ERR_FRAME_BODY;
	if (cursor_left(&c) != (size_t)head.count * MSG_DIFF_RUN_BYTES ||
	    !msg_diff_runs_are_known(c, head.count))
		return -ERR_FRAME_BODY;
	for (uint32_t i = 0; i < head.count; i++) {
		runs[i].len = cursor_u64(&c);
		runs[i].kind = cursor_u32(&c);
	}
	*m = head;
	return 0;
}
