/* SPDX-License-Identifier: BSD-2-Clause */
#include "proto/msg.h"

#include "common/cursor.h"
#include "common/err.h"

/*
 * Each message has a put and a get over a cursor, which latches the first overrun, so neither
 * checks anything but the values that must be refused.  MSG_DEFINE makes the public pair of them.
 */
#define MSG_DEFINE(type)                                                  \
	int type##_encode(uint8_t *buf, size_t len, const struct type *m) \
	{                                                                 \
		struct cursor c = cursor_over(buf, len);                  \
                                                                          \
		type##_put(&c, m);                                        \
		return c.bad ? -ERR_LIMIT : (int)c.pos;                   \
	}                                                                 \
                                                                          \
	int type##_decode(const uint8_t *buf, size_t len, struct type *m) \
	{                                                                 \
		struct cursor c = cursor_over(buf, len);                  \
		struct type got = {0};                                    \
                                                                          \
		type##_get(&c, &got);                                     \
		if (!msg_at_end(&c))                                      \
			return -ERR_FRAME_BODY;                           \
		*m = got;                                                 \
		return 0;                                                 \
	}

static bool msg_at_end(const struct cursor *c)
{
	return !c->bad && c->pos == c->len;
}

/* Flags of which none but "known" may be set. */
static uint32_t msg_get_flags(struct cursor *c, uint32_t known)
{
	uint32_t flags = cursor_u32(c);

	if (flags & ~known)
		c->bad = true;
	return flags;
}

static void msg_hello_put(struct cursor *c, const struct msg_hello *m)
{
	cursor_put_u32(c, m->version_min);
	cursor_put_u32(c, m->version_max);
	cursor_put_u64(c, m->features);
	cursor_put_str(c, m->agent);
}

static void msg_hello_get(struct cursor *c, struct msg_hello *m)
{
	m->version_min = cursor_u32(c);
	m->version_max = cursor_u32(c);
	m->features = cursor_u64(c);
	cursor_get_str(c, m->agent, sizeof(m->agent));
}

static void msg_hello_reply_put(struct cursor *c, const struct msg_hello_reply *m)
{
	cursor_put_u32(c, m->version);
	cursor_put_u32(c, m->block_bytes);
	cursor_put_u64(c, m->features);
	cursor_put_u32(c, m->body_max);
	cursor_put_u32(c, m->payload_max);
	cursor_put_u32(c, m->inflight_max);
	cursor_put_u64(c, m->incarnation);
	cursor_put_bytes(c, m->store_uuid, sizeof(m->store_uuid));
	cursor_put_str(c, m->agent);
}

static void msg_hello_reply_get(struct cursor *c, struct msg_hello_reply *m)
{
	m->version = cursor_u32(c);
	m->block_bytes = cursor_u32(c);
	m->features = cursor_u64(c);
	m->body_max = cursor_u32(c);
	m->payload_max = cursor_u32(c);
	m->inflight_max = cursor_u32(c);
	m->incarnation = cursor_u64(c);
	cursor_get_bytes(c, m->store_uuid, sizeof(m->store_uuid));
	cursor_get_str(c, m->agent, sizeof(m->agent));
}

static void msg_error_put(struct cursor *c, const struct msg_error *m)
{
	cursor_put_str(c, m->text);
}

static void msg_error_get(struct cursor *c, struct msg_error *m)
{
	cursor_get_str(c, m->text, sizeof(m->text));
}

static void msg_info_put(struct cursor *c, const struct msg_info *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u64(c, m->id);
	cursor_put_u64(c, m->size_bytes);
	cursor_put_u64(c, m->mapped_bytes);
	cursor_put_u64(c, m->generation);
	cursor_put_u64(c, m->ctime_ns);
	cursor_put_u64(c, m->mtime_ns);
	cursor_put_u64(c, m->origin);
}

static void msg_info_get(struct cursor *c, struct msg_info *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->id = cursor_u64(c);
	m->size_bytes = cursor_u64(c);
	m->mapped_bytes = cursor_u64(c);
	m->generation = cursor_u64(c);
	m->ctime_ns = cursor_u64(c);
	m->mtime_ns = cursor_u64(c);
	m->origin = cursor_u64(c);
}

static void msg_name_put(struct cursor *c, const struct msg_name *m)
{
	cursor_put_str(c, m->name);
}

static void msg_name_get(struct cursor *c, struct msg_name *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
}

static void msg_create_put(struct cursor *c, const struct msg_create *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u64(c, m->size_bytes);
}

static void msg_create_get(struct cursor *c, struct msg_create *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->size_bytes = cursor_u64(c);
}

static void msg_open_put(struct cursor *c, const struct msg_open *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u32(c, m->flags);
}

static void msg_open_get(struct cursor *c, struct msg_open *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->flags = msg_get_flags(c, MSG_OPEN_READONLY);
}

static void msg_open_reply_put(struct cursor *c, const struct msg_open_reply *m)
{
	cursor_put_u32(c, m->handle);
	msg_info_put(c, &m->info);
}

static void msg_open_reply_get(struct cursor *c, struct msg_open_reply *m)
{
	m->handle = cursor_u32(c);
	msg_info_get(c, &m->info);
}

static void msg_handle_put(struct cursor *c, const struct msg_handle *m)
{
	cursor_put_u32(c, m->handle);
}

static void msg_handle_get(struct cursor *c, struct msg_handle *m)
{
	m->handle = cursor_u32(c);
}

static void msg_list_put(struct cursor *c, const struct msg_list *m)
{
	cursor_put_str(c, m->prefix);
	cursor_put_str(c, m->after);
	cursor_put_u32(c, m->max);
}

static void msg_list_get(struct cursor *c, struct msg_list *m)
{
	cursor_get_str(c, m->prefix, sizeof(m->prefix));
	cursor_get_str(c, m->after, sizeof(m->after));
	m->max = cursor_u32(c);
}

static void msg_clone_put(struct cursor *c, const struct msg_clone *m)
{
	cursor_put_str(c, m->src);
	cursor_put_str(c, m->dst);
}

static void msg_clone_get(struct cursor *c, struct msg_clone *m)
{
	cursor_get_str(c, m->src, sizeof(m->src));
	cursor_get_str(c, m->dst, sizeof(m->dst));
}

static void msg_read_put(struct cursor *c, const struct msg_read *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u64(c, m->offset);
	cursor_put_u32(c, m->len);
}

static void msg_read_get(struct cursor *c, struct msg_read *m)
{
	m->handle = cursor_u32(c);
	m->offset = cursor_u64(c);
	m->len = cursor_u32(c);
	if (m->len > WIRE_PAYLOAD_MAX)
		c->bad = true;
}

static void msg_write_put(struct cursor *c, const struct msg_write *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u64(c, m->offset);
}

static void msg_write_get(struct cursor *c, struct msg_write *m)
{
	m->handle = cursor_u32(c);
	m->offset = cursor_u64(c);
}

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

static void msg_extents_put(struct cursor *c, const struct msg_extents *m)
{
	cursor_put_u32(c, m->handle);
	cursor_put_u64(c, m->offset);
	cursor_put_u64(c, m->len);
	cursor_put_u32(c, m->max);
}

static void msg_extents_get(struct cursor *c, struct msg_extents *m)
{
	m->handle = cursor_u32(c);
	m->offset = cursor_u64(c);
	m->len = cursor_u64(c);
	m->max = cursor_u32(c);
}

static void msg_statfs_reply_put(struct cursor *c, const struct msg_statfs_reply *m)
{
	cursor_put_u64(c, m->block_bytes);
	cursor_put_u64(c, m->total_bytes);
	cursor_put_u64(c, m->free_bytes);
	cursor_put_u64(c, m->reserved_bytes);
	cursor_put_u64(c, m->mapped_bytes);
	cursor_put_u64(c, m->meta_total_bytes);
	cursor_put_u64(c, m->meta_used_bytes);
	cursor_put_u64(c, m->objects);
}

static void msg_statfs_reply_get(struct cursor *c, struct msg_statfs_reply *m)
{
	m->block_bytes = cursor_u64(c);
	m->total_bytes = cursor_u64(c);
	m->free_bytes = cursor_u64(c);
	m->reserved_bytes = cursor_u64(c);
	m->mapped_bytes = cursor_u64(c);
	m->meta_total_bytes = cursor_u64(c);
	m->meta_used_bytes = cursor_u64(c);
	m->objects = cursor_u64(c);
}

MSG_DEFINE(msg_hello)
MSG_DEFINE(msg_hello_reply)
MSG_DEFINE(msg_error)
MSG_DEFINE(msg_info)
MSG_DEFINE(msg_name)
MSG_DEFINE(msg_create)
MSG_DEFINE(msg_open)
MSG_DEFINE(msg_open_reply)
MSG_DEFINE(msg_handle)
MSG_DEFINE(msg_list)
MSG_DEFINE(msg_clone)
MSG_DEFINE(msg_read)
MSG_DEFINE(msg_write)
MSG_DEFINE(msg_resize)
MSG_DEFINE(msg_extents)
MSG_DEFINE(msg_statfs_reply)

int msg_list_add(uint8_t *buf, size_t len, size_t *used, const struct msg_info *info)
{
	int n = msg_info_encode(buf + *used, len - *used, info);

	if (n < 0)
		return n;
	*used += (size_t)n;
	return 0;
}

void msg_list_finish(uint8_t *buf, uint32_t count, bool more)
{
	struct cursor c = cursor_over(buf, MSG_LIST_HEAD_BYTES);

	cursor_put_u32(&c, count);
	cursor_put_u8(&c, more);
}

/* The entries of a list reply; infos may be NULL, to see only whether they are well formed. */
static bool msg_list_get_infos(struct cursor c, struct msg_info *infos, uint32_t count)
{
	struct msg_info info;

	for (uint32_t i = 0; i < count && !c.bad; i++)
		msg_info_get(&c, infos ? &infos[i] : &info);
	return msg_at_end(&c);
}

int msg_list_reply_decode(const uint8_t *buf, size_t len, struct msg_info *infos, uint32_t max,
			  uint32_t *count, bool *more)
{
	struct cursor c = cursor_over(buf, len);
	uint32_t n = cursor_u32(&c);
	uint8_t flag = cursor_u8(&c);

	if (c.bad || n > max || n > MSG_LIST_MAX || flag > 1)
		return -ERR_FRAME_BODY;
	/* a first pass, so that a malformed reply leaves infos alone */
	if (!msg_list_get_infos(c, NULL, n) || !msg_list_get_infos(c, infos, n))
		return -ERR_FRAME_BODY;
	*count = n;
	*more = flag;
	return 0;
}

int msg_extents_reply_encode(uint8_t *buf, size_t len, const struct msg_extent *ext, uint32_t count)
{
	struct cursor c = cursor_over(buf, len);

	cursor_put_u32(&c, count);
	for (uint32_t i = 0; i < count && !c.bad; i++) {
		cursor_put_u64(&c, ext[i].len);
		cursor_put_u32(&c, ext[i].kind);
	}
	return c.bad || count > MSG_EXTENTS_MAX ? -ERR_LIMIT : (int)c.pos;
}

static bool msg_extents_are_known(struct cursor c, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		(void)cursor_u64(&c);
		if (cursor_u32(&c) > MSG_EXTENT_DATA)
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
	for (uint32_t i = 0; i < n; i++) {
		ext[i].len = cursor_u64(&c);
		ext[i].kind = cursor_u32(&c);
	}
	*count = n;
	return 0;
}
