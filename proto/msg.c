/* SPDX-License-Identifier: BSD-2-Clause */
#include "proto/msg.h"

#include "common/cursor.h"
#include "common/err.h"
#include "proto/msg_priv.h"

uint64_t msg_get_ttl(struct cursor *c)
{
	uint64_t ttl_ms = cursor_u64(c);

	if (ttl_ms > MSG_TTL_MAX_MS)
		c->bad = true;
	return ttl_ms;
}

void msg_labels_put(struct cursor *c, const struct msg_labels *m)
{
	if (m->len > sizeof(m->bytes)) {
		c->bad = true;
		return;
	}
	cursor_put_u16(c, m->len);
	cursor_put_bytes(c, m->bytes, m->len);
}

/* Whether these bytes are strings, each with a zero behind it, and none of them empty. */
static bool msg_labels_are_strings(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] == 0 && (i == 0 || p[i - 1] == 0))
			return false;
	return len == 0 || p[len - 1] == 0;
}

void msg_labels_get(struct cursor *c, struct msg_labels *m)
{
	uint16_t len = cursor_u16(c);
	const uint8_t *p = len <= sizeof(m->bytes) ? cursor_take(c, len) : NULL;

	if (!p || !msg_labels_are_strings(p, len)) {
		c->bad = true;
		return;
	}
	m->len = len;
	memcpy(m->bytes, p, len);
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
	cursor_put_u64(c, m->parent);
	cursor_put_u64(c, m->expires_ns);
	cursor_put_u64(c, m->reserved_bytes);
	cursor_put_u64(c, m->withheld_bytes);
	cursor_put_u32(c, m->nversions);
	cursor_put_u32(c, m->flags);
	msg_labels_put(c, &m->labels);
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
	m->parent = cursor_u64(c);
	m->expires_ns = cursor_u64(c);
	m->reserved_bytes = cursor_u64(c);
	m->withheld_bytes = cursor_u64(c);
	m->nversions = cursor_u32(c);
	m->flags = msg_get_flags(c, MSG_INFO_READONLY);
	msg_labels_get(c, &m->labels);
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
	cursor_put_u64(c, m->ttl_ms);
	cursor_put_u64(c, m->reserved_bytes);
	msg_labels_put(c, &m->labels);
}

static void msg_create_get(struct cursor *c, struct msg_create *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->size_bytes = cursor_u64(c);
	m->ttl_ms = msg_get_ttl(c);
	m->reserved_bytes = cursor_u64(c);
	msg_labels_get(c, &m->labels);
}

static void msg_open_put(struct cursor *c, const struct msg_open *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u32(c, m->flags);
}

static void msg_open_get(struct cursor *c, struct msg_open *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->flags = msg_get_flags(c, MSG_OPEN_READONLY | MSG_OPEN_DIRECT | MSG_OPEN_FIXED);
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
	cursor_put_str(c, m->label);
	cursor_put_u32(c, m->max);
}

static void msg_list_get(struct cursor *c, struct msg_list *m)
{
	cursor_get_str(c, m->prefix, sizeof(m->prefix));
	cursor_get_str(c, m->after, sizeof(m->after));
	cursor_get_str(c, m->label, sizeof(m->label));
	m->max = cursor_u32(c);
}

static void msg_clone_put(struct cursor *c, const struct msg_clone *m)
{
	cursor_put_str(c, m->src);
	cursor_put_str(c, m->dst);
	cursor_put_u64(c, m->ttl_ms);
	msg_labels_put(c, &m->labels);
}

static void msg_clone_get(struct cursor *c, struct msg_clone *m)
{
	cursor_get_str(c, m->src, sizeof(m->src));
	cursor_get_str(c, m->dst, sizeof(m->dst));
	m->ttl_ms = msg_get_ttl(c);
	msg_labels_get(c, &m->labels);
}

static void msg_snap_put(struct cursor *c, const struct msg_snap *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u64(c, m->ttl_ms);
	msg_labels_put(c, &m->labels);
}

static void msg_snap_get(struct cursor *c, struct msg_snap *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->ttl_ms = msg_get_ttl(c);
	msg_labels_get(c, &m->labels);
}

static void msg_remove_put(struct cursor *c, const struct msg_remove *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u32(c, m->flags);
}

static void msg_remove_get(struct cursor *c, struct msg_remove *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->flags = msg_get_flags(c, MSG_REMOVE_VERSIONS);
}

static void msg_versions_put(struct cursor *c, const struct msg_versions *m)
{
	cursor_put_str(c, m->name);
	cursor_put_str(c, m->after);
	cursor_put_u32(c, m->max);
}

static void msg_versions_get(struct cursor *c, struct msg_versions *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	cursor_get_str(c, m->after, sizeof(m->after));
	m->max = cursor_u32(c);
}

static void msg_children_put(struct cursor *c, const struct msg_children *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u64(c, m->after);
	cursor_put_u32(c, m->max);
}

static void msg_children_get(struct cursor *c, struct msg_children *m)
{
	cursor_get_str(c, m->name, sizeof(m->name));
	m->after = cursor_u64(c);
	m->max = cursor_u32(c);
}

static void msg_rename_put(struct cursor *c, const struct msg_rename *m)
{
	cursor_put_str(c, m->from);
	cursor_put_str(c, m->to);
	cursor_put_u32(c, m->flags);
}

static void msg_rename_get(struct cursor *c, struct msg_rename *m)
{
	cursor_get_str(c, m->from, sizeof(m->from));
	cursor_get_str(c, m->to, sizeof(m->to));
	m->flags = msg_get_flags(c, MSG_RENAME_EXCHANGE);
}

static void msg_set_put(struct cursor *c, const struct msg_set *m)
{
	cursor_put_str(c, m->name);
	cursor_put_u32(c, m->flags);
	cursor_put_u64(c, m->ttl_ms);
	cursor_put_u64(c, m->reserved_bytes);
	msg_labels_put(c, &m->edits);
	msg_labels_put(c, &m->expect);
}

static void msg_set_get(struct cursor *c, struct msg_set *m)
{
	const uint32_t both = MSG_SET_READONLY | MSG_SET_WRITABLE;

	cursor_get_str(c, m->name, sizeof(m->name));
	m->flags = msg_get_flags(c, MSG_SET_TTL | both | MSG_SET_REPLACE | MSG_SET_RESERVED);
	m->ttl_ms = msg_get_ttl(c);
	m->reserved_bytes = cursor_u64(c);
	if (m->reserved_bytes > 0 && !(m->flags & MSG_SET_RESERVED))
		c->bad = true;
	if ((m->flags & both) == both || (m->ttl_ms > 0 && !(m->flags & MSG_SET_TTL)))
		c->bad = true;
	msg_labels_get(c, &m->edits);
	msg_labels_get(c, &m->expect);
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
MSG_DEFINE(msg_snap)
MSG_DEFINE(msg_remove)
MSG_DEFINE(msg_versions)
MSG_DEFINE(msg_children)
MSG_DEFINE(msg_rename)
MSG_DEFINE(msg_set)

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
